#include "graph/graph.h"

#include "ops/window.h"

#include <string.h>

typedef struct field {
    int64_t size[2], jump[2]; /* receptive field and distance of neighbours, in input pixels; size 0: unknown */
} field;

struct fv_session {
    fv_model *model;
    fv_graph *graph; /* prepared, batch set; its parameters are the model's */
    fv_graph *part;  /* the same for a part of the batch, which is what the plan runs; NULL: the whole batch at once */
    int64_t parts;
    fv_plan *plan;
    fv_session_settings settings;
    field *fields; /* [value_count] */
    atomic_flag busy;
};

void fv_session_settings_default(fv_session_settings *s) {
    if (s) *s = (fv_session_settings){.batch = 1};
}

static fv_status check_settings(const fv_session_settings *s) {
    FV_RETURN_IF(s->batch < 1 || s->batch > INT32_MAX, FV_ERR_ARGUMENT, "a session of batch %lld; it must be 1 or more", (long long)s->batch);
    FV_RETURN_IF((s->input_layout != FV_PLAIN && s->input_layout != FV_NHWC) || (s->output_layout != FV_PLAIN && s->output_layout != FV_NHWC),
                 FV_ERR_ARGUMENT, "a session's layouts are FV_PLAIN or FV_NHWC");
    FV_RETURN_IF(s->threads < 0 || s->threads > 1024, FV_ERR_ARGUMENT,
                 "a session of %d threads; allowed are 0 (the context's count) to 1024", s->threads);
    return FV_OK;
}

static fv_status prepared(const fv_model *m, const fv_session_settings *s, int64_t batch, fv_graph **out) {
    fv_graph *g = NULL;
    FV_FORWARD(fv_graph_copy(m->graph, true, &g));
    fv_status status = fv_graph_set_batch(g, batch);
    if (status == FV_OK) status = fv_pass_fold_batch_norm(g, m->packed);
    if (status == FV_OK) status = fv_graph_prepare(g, false, s->input_layout, s->output_layout);
    if (status == FV_OK)
        *out = g;
    else
        fv_graph_free(g);
    return status;
}

static bool has_own_batch(const fv_graph *g) {
    for (size_t i = 0; i < g->input_count; i++)
        if (g->values[g->inputs[i]].shape.dim[0] != 0) return true;
    return false;
}

/* Images a part. */
static fv_status choose_part(const fv_model *m, const fv_graph *whole, int64_t batch, int64_t *images) {
    const bool invariant = m->graph->context->settings.batch_invariant;
    *images = batch;
    if (batch == 1) return FV_OK;
    const fv_node *joins = fv_batch_joins(whole, batch);
    FV_RETURN_IF(invariant && has_own_batch(m->graph), FV_ERR_UNSUPPORTED,
                 "the model's own batch of %lld cannot be run with batch_invariant: export it with a free batch", (long long)batch);
    FV_RETURN_IF(invariant && joins, FV_ERR_UNSUPPORTED,
                 "node \"%s\" (%s) may read several images together: with batch_invariant this network runs in batches of one alone",
                 joins->name, joins->op->name);
    if (invariant)
        *images = 1;
    else if (!joins && !has_own_batch(m->graph))
        *images = fv_batch_part(whole, batch);
    return FV_OK;
}

/* *part NULL: the batch runs at once. Value for value and node for node the two graphs are the same. */
static fv_status prepared_parts(const fv_model *m, const fv_session_settings *s, fv_graph **whole, fv_graph **part) {
    int64_t images;
    FV_FORWARD(check_settings(s));
    FV_FORWARD(prepared(m, s, s->batch, whole));
    FV_FORWARD(choose_part(m, *whole, s->batch, &images));
    return images < s->batch ? prepared(m, s, images, part) : FV_OK;
}

static fv_plan_settings plan_settings(const fv_model *m, const fv_session_settings *s) {
    static fv_run_info nothing; /* inference reads no run info; never written */
    return (fv_plan_settings){.profile = s->profile, .bind_outputs = true, .packed = m->packed, .arena = s->arena,
                              .arena_bytes = s->arena_bytes, .run = &nothing, .threads = s->threads};
}

fv_status fv_session_bytes(const fv_model *m, const fv_session_settings *s, size_t *out) {
    fv_session_settings wanted;
    FV_RETURN_IF(!m || !out, FV_ERR_ARGUMENT, "fv_session_bytes needs a model and a place for the answer");
    fv_session_settings_default(&wanted);
    if (s) wanted = *s;
    fv_graph *whole = NULL, *part = NULL;
    fv_status status = prepared_parts(m, &wanted, &whole, &part);
    const fv_plan_settings planned = plan_settings(m, &wanted);
    if (status == FV_OK) status = fv_plan_size(part ? part : whole, &planned, out);
    fv_graph_free(part);
    fv_graph_free(whole);
    return status;
}

/* ---- receptive fields: windows widen them, strides spread them ---- */

static void widen(const fv_window_attr *w, const field *in, field *out) {
    for (int a = 0; a < 2; a++) {
        out->size[a] = in->size[a] + (int64_t)w->dilation[a + 1] * (w->kernel[a + 1] - 1) * in->jump[a];
        out->jump[a] = in->jump[a] * w->stride[a + 1];
    }
}

/* What lies under a pixel of values joined pixel by pixel. */
static field joined(const field *a, const field *b) {
    field f = *a;
    for (int i = 0; i < 2; i++) {
        if (a->size[i] == 0 || b->size[i] == 0 || a->jump[i] != b->jump[i]) return (field){{0}, {0}};
        f.size[i] = a->size[i] > b->size[i] ? a->size[i] : b->size[i];
    }
    return f;
}

static fv_status find_fields(fv_session *s) {
    const fv_graph *g = s->graph;
    FV_FORWARD(fv_alloc_array(g->context, g->value_count + 1, sizeof *s->fields, "a session", (void **)&s->fields));
    for (size_t i = 0; i < g->input_count; i++) s->fields[g->inputs[i]] = (field){{1, 1}, {1, 1}};
    for (size_t i = 0; i < g->node_count; i++) {
        const fv_node *n = &g->nodes[i];
        if (n->out_count < 1 || n->out[0] == FV_NONE || g->values[n->out[0]].shape.rank != 4) continue;
        const field *in = &s->fields[n->in[0]];
        field *out = &s->fields[n->out[0]];
        *out = *in;
        if (in->size[0] == 0) continue;
        if (n->op == &fv_op_conv_transpose || n->op == &fv_op_unpool)
            *out = (field){{0}, {0}}; /* neighbours may lie less than a pixel apart */
        if (n->op == &fv_op_conv || n->op == &fv_op_local) widen(&n->attr.conv.window, in, out);
        if (n->op == &fv_op_pool) widen(&n->attr.pool.window, in, out);
        for (int32_t k = 1; k < n->in_count; k++)
            if (n->in[k] != FV_NONE && g->values[n->in[k]].kind == FV_VALUE_ACTIVATION) *out = joined(out, &s->fields[n->in[k]]);
    }
    return FV_OK;
}

/* ---- life ---- */

static fv_status fill_session(fv_session *s, fv_parallel *team) {
    FV_FORWARD(prepared_parts(s->model, &s->settings, &s->graph, &s->part));
    s->parts = s->part ? s->settings.batch / s->part->values[s->part->inputs[0]].shape.dim[0] : 1;
    FV_FORWARD(find_fields(s));
    fv_plan_settings planned = plan_settings(s->model, &s->settings);
    planned.team = team;
    return fv_plan_create(s->part ? s->part : s->graph, &planned, &s->plan);
}

fv_status fv_session_create_on(const fv_model *m, const fv_session_settings *s, fv_parallel *team, fv_session **out) {
    fv_session *made = NULL;
    FV_FORWARD(fv_alloc_zero(m->graph->context, sizeof *made, "a session", (void **)&made));
    made->model = fv_model_retain(m);
    fv_session_settings_default(&made->settings);
    if (s) made->settings = *s;
    atomic_flag_clear(&made->busy);
    const fv_status status = fill_session(made, team);
    if (status == FV_OK)
        *out = made;
    else
        fv_session_free(made);
    return status;
}

fv_status fv_session_create(const fv_model *m, const fv_session_settings *s, fv_session **out) {
    FV_RETURN_IF(!m || !out, FV_ERR_ARGUMENT, "fv_session_create needs a model and a place for the session");
    return fv_session_create_on(m, s, NULL, out);
}

void fv_session_free(fv_session *s) {
    if (!s) return;
    fv_model *m = s->model;
    fv_plan_free(s->plan);
    if (s->fields) fv_release(m->graph->context, s->fields);
    fv_graph_free(s->part);
    fv_graph_free(s->graph);
    fv_release(m->graph->context, s);
    fv_model_free(m);
}

/* ---- running ---- */

/* Layouts that are the same bytes are interchangeable. */
static bool layout_fits(const fv_value_info *v, fv_layout layout) {
    return v->shape.rank != 4 || v->layout == layout || v->shape.dim[1] == 1 || v->shape.dim[2] * v->shape.dim[3] == 1;
}

static fv_status check_tensor(const fv_value_info *v, const fv_tensor *t, const char *what) {
    const char *name = v->name ? v->name : "";
    fv_shape given = {.rank = t->rank};
    FV_RETURN_IF(!t->data, FV_ERR_ARGUMENT, "%s \"%s\" has no data", what, name);
    FV_RETURN_IF(t->dtype != v->dtype, FV_ERR_ARGUMENT, "%s \"%s\" has another element type than planned", what, name);
    FV_RETURN_IF(t->rank < 0 || t->rank > FV_MAX_RANK, FV_ERR_SHAPE, "%s \"%s\" has rank %d", what, name, t->rank);
    memcpy(given.dim, t->shape, sizeof given.dim);
    FV_RETURN_IF(!fv_shape_same(&given, &v->shape), FV_ERR_SHAPE, "%s \"%s\" has shape %s, but the session was planned for %s", what, name,
                 fv_shape_print(&given).text, fv_shape_print(&v->shape).text);
    FV_RETURN_IF(!layout_fits(v, t->layout), FV_ERR_SHAPE, "%s \"%s\" has another layout than the session was planned for", what, name);
    FV_RETURN_IF((uintptr_t)t->data % fv_dtype_bytes(t->dtype), FV_ERR_ARGUMENT, "%s \"%s\" is not aligned to its elements", what, name);
    return FV_OK;
}

static bool overlap(const fv_tensor *a, size_t a_bytes, const fv_tensor *b, size_t b_bytes) {
    const uintptr_t x = (uintptr_t)a->data, y = (uintptr_t)b->data;
    return x < y + b_bytes && y < x + a_bytes;
}

static size_t bytes_of(const fv_value_info *v) { return fv_shape_count(&v->shape) * fv_dtype_bytes(v->dtype); }

static fv_status check_overlaps(const fv_graph *g, const fv_tensor *inputs, const fv_tensor *outputs) {
    for (size_t i = 0; i < g->output_count; i++) {
        const size_t bytes = bytes_of(&g->values[g->outputs[i]]);
        for (size_t k = 0; k < g->input_count; k++)
            FV_RETURN_IF(overlap(&outputs[i], bytes, &inputs[k], bytes_of(&g->values[g->inputs[k]])), FV_ERR_ARGUMENT,
                         "output %zu overlaps input %zu", i, k);
        for (size_t k = 0; k < i; k++)
            FV_RETURN_IF(overlap(&outputs[i], bytes, &outputs[k], bytes_of(&g->values[g->outputs[k]])), FV_ERR_ARGUMENT,
                         "output %zu overlaps output %zu", i, k);
    }
    return FV_OK;
}

fv_status fv_session_check(const fv_session *s, const fv_tensor *inputs, size_t input_count, const fv_tensor *outputs, size_t output_count) {
    const fv_graph *g = s->graph;
    FV_RETURN_IF(input_count != g->input_count || output_count != g->output_count, FV_ERR_ARGUMENT,
                 "%zu inputs and %zu outputs were given; the model has %zu and %zu", input_count, output_count, g->input_count,
                 g->output_count);
    for (size_t i = 0; i < input_count; i++) FV_FORWARD(check_tensor(&g->values[g->inputs[i]], &inputs[i], "input"));
    for (size_t i = 0; i < output_count; i++) FV_FORWARD(check_tensor(&g->values[g->outputs[i]], &outputs[i], "output"));
    return check_overlaps(g, inputs, outputs);
}

static void *part_of(const fv_session *s, fv_value v, const fv_tensor *t, size_t part) {
    return (char *)t->data + part * (bytes_of(&s->graph->values[v]) / (size_t)s->parts);
}

static fv_status run(fv_session *s, const fv_tensor *inputs, size_t input_count, const fv_tensor *outputs, size_t output_count) {
    const fv_graph *g = s->graph;
    FV_FORWARD(fv_session_check(s, inputs, input_count, outputs, output_count));
    for (size_t part = 0; part < (size_t)s->parts; part++) {
        for (size_t i = 0; i < input_count; i++) fv_plan_bind(s->plan, g->inputs[i], part_of(s, g->inputs[i], &inputs[i], part));
        for (size_t i = 0; i < output_count; i++) fv_plan_bind(s->plan, g->outputs[i], part_of(s, g->outputs[i], &outputs[i], part));
        fv_plan_run(s->plan);
    }
    return FV_OK;
}

fv_status fv_session_run(fv_session *s, const fv_tensor *inputs, size_t input_count, const fv_tensor *outputs, size_t output_count) {
    FV_RETURN_IF(!s || !inputs || !outputs, FV_ERR_ARGUMENT, "fv_session_run needs a session, inputs and outputs");
    FV_RETURN_IF(atomic_flag_test_and_set_explicit(&s->busy, memory_order_acquire), FV_ERR_BUSY,
                 "the session is running on another thread; use one session per thread");
    const fv_status status = run(s, inputs, input_count, outputs, output_count);
    atomic_flag_clear_explicit(&s->busy, memory_order_release);
    return status;
}

/* ---- what there is ---- */

size_t fv_session_node_count(const fv_session *s) { return s ? fv_plan_node_count(s->plan) : 0; }
size_t fv_session_arena_bytes(const fv_session *s) { return s ? fv_plan_arena_bytes(s->plan) : 0; }
size_t fv_session_packed_bytes(const fv_session *s) { return s ? fv_plan_packed_bytes(s->plan) : 0; }
int64_t fv_session_parts(const fv_session *s) { return s ? s->parts : 0; }
const fv_graph *fv_session_graph(const fv_session *s) { return s->graph; }

fv_status fv_session_memory(const fv_session *s, fv_memory *out) {
    FV_RETURN_IF(!s || !out, FV_ERR_ARGUMENT, "fv_session_memory needs a session and a place for the answer");
    *out = (fv_memory){fv_session_arena_bytes(s), fv_plan_scratch_bytes(s->plan), fv_session_packed_bytes(s)};
    return FV_OK;
}

fv_status fv_session_node(const fv_session *s, size_t i, fv_node_info *out) {
    FV_RETURN_IF(!s || !out || i >= s->graph->node_count, FV_ERR_ARGUMENT, "the session has no node %zu", i);
    fv_plan_node(s->plan, i, out);
    const fv_node *n = &s->graph->nodes[i];
    const double parts = (double)s->parts;
    out->flops *= parts;
    out->bytes *= parts;
    out->seconds *= parts;
    out->phases *= (size_t)s->parts;
    out->pieces *= (size_t)s->parts;
    if (n->out_count == 0 || n->out[0] == FV_NONE) return FV_OK;
    memcpy(out->shape, s->graph->values[n->out[0]].shape.dim, sizeof out->shape);
    const field *f = &s->fields[n->out[0]];
    for (int a = 0; a < 2; a++) out->receptive_field[a] = f->size[a] > INT32_MAX ? INT32_MAX : (int32_t)f->size[a];
    return FV_OK;
}
