#include "graph/planned.h"

#include "graph/model.h"
#include "ops/window.h"

#include <string.h>

static size_t bytes_of(const fv_value_info *v) { return fv_shape_count(&v->shape) * fv_dtype_bytes(v->dtype); }

/* ---- graphs ---- */

/* The batch of a graph that is open in it: what the inputs given have in common. */
static fv_status batch_of(const fv_graph *g, const fv_tensor *inputs, size_t count, int64_t *batch) {
    FV_RETURN_IF(count != g->input_count, FV_ERR_ARGUMENT, "%zu inputs were given; the model has %zu", count,
                 g->input_count);
    for (size_t i = 0; i < count; i++) {
        const fv_value_info *v = &g->values[g->inputs[i]];
        fv_shape given = {.rank = inputs[i].rank}, wanted = v->shape;
        FV_RETURN_IF(given.rank != wanted.rank || inputs[i].dtype != v->dtype, FV_ERR_SHAPE,
                     "input \"%.200s\" is %s of rank %d, not %s of rank %d", v->name, fv_dtype_name(v->dtype),
                     wanted.rank, fv_dtype_name(inputs[i].dtype), given.rank);
        memcpy(given.dim, inputs[i].shape, sizeof given.dim);
        if (i == 0 && wanted.dim[0] == 0) *batch = given.dim[0];
        if (wanted.dim[0] == 0) wanted.dim[0] = *batch;
        FV_RETURN_IF(!fv_shape_same(&given, &wanted), FV_ERR_SHAPE, "input \"%.200s\" has shape %s, the model takes %s",
                     v->name, fv_shape_print(&given).text, fv_shape_print(&wanted).text);
    }
    return FV_OK;
}

static fv_status lower(const fv_model *m, const fv_session_settings *s, const fv_tensor *inputs, size_t count,
                       fv_planned *p) {
    const size_t places = m->graph->input_count + 1;
    bool *pinned = NULL;
    const fv_lowering l = {inputs, count, s->batch};
    FV_FORWARD(fv_alloc_array(m->graph->context, places, sizeof *pinned, "a session", (void **)&pinned));
    fv_status status = m->source.lower(m->source.self, &l, &p->graph, pinned);
    for (size_t i = 0; i < count && status == FV_OK; i++) {
        const size_t bytes = pinned[i] ? bytes_of(&p->graph->values[p->graph->inputs[i]]) : 0;
        if (!pinned[i]) continue;
        status = fv_alloc(m->graph->context, fv_max_size(bytes, 1), "a pinned input", &p->pinned[i]);
        if (status == FV_OK && bytes) memcpy(p->pinned[i], inputs[i].data, bytes);
    }
    fv_release(m->graph->context, pinned);
    return status;
}

static fv_status simplify(const fv_model *m, const fv_session_settings *s, fv_graph *frees, fv_graph *g) {
    const fv_pass_watch before = fv_pass_begin(g);
    FV_FORWARD(fv_pass_fold_batch_norm(g, m->packed, frees));
    fv_pass_end(g, FV_PASS_BATCH_NORM, before);
    return fv_graph_prepare(g, false, s->input_layout, s->output_layout);
}

/* The model's graph at a batch. */
static fv_status at_batch(const fv_model *m, const fv_session_settings *s, fv_graph *frees, int64_t batch,
                          fv_graph **out) {
    FV_FORWARD(fv_graph_copy(m->graph, true, out));
    FV_FORWARD(fv_graph_set_batch(*out, batch));
    return simplify(m, s, frees, *out);
}

static bool has_own_batch(const fv_graph *g) {
    for (size_t i = 0; i < g->input_count; i++)
        if (g->values[g->inputs[i]].shape.dim[0] != 0) return true;
    return false;
}

/* Images a part. */
static fv_status choose_part(const fv_model *m, const fv_graph *whole, bool lean, int64_t batch, int64_t *images) {
    const bool invariant = m->graph->context->settings.batch_invariant,
               own = has_own_batch(m->graph) || m->source.lower;
    *images = batch;
    if (batch == 1) return FV_OK;
    FV_RETURN_IF(
        invariant && m->source.lower, FV_ERR_UNSUPPORTED,
        "the model is planned for a batch of %lld as a whole: with batch_invariant it runs in batches of one alone",
        (long long)batch);
    FV_RETURN_IF(invariant && own, FV_ERR_UNSUPPORTED,
                 "the model's own batch of %lld cannot be run with batch_invariant: export it with a free batch",
                 (long long)batch);
    const fv_node *joins = own ? NULL : fv_batch_joins(whole, batch);
    FV_RETURN_IF(invariant && joins, FV_ERR_UNSUPPORTED,
                 "node \"%s\" (%s) may read several images together: with batch_invariant this network runs in batches "
                 "of one alone",
                 joins->name, joins->op->name);
    if (invariant || (lean && !joins && !own))
        *images = 1;
    else if (!joins && !own)
        *images = fv_batch_part(whole, batch);
    return FV_OK;
}

/* Value for value and node for node the graph and its part are the same. */
static fv_status make_part(const fv_model *m, const fv_session_settings *s, fv_graph *frees, int64_t batch,
                           fv_planned *p) {
    int64_t images;
    FV_FORWARD(choose_part(m, p->graph, s->plan == FV_PLAN_LEAN, batch, &images));
    p->parts = batch / images;
    return images < batch ? at_batch(m, s, frees, images, &p->part) : FV_OK;
}

static fv_status make_graph(const fv_model *m, const fv_session_settings *s, const fv_tensor *inputs, size_t count,
                            fv_graph *frees, fv_planned *p) {
    int64_t batch = s->batch;
    p->parts = 1;
    FV_FORWARD(fv_alloc_array(m->graph->context, m->graph->input_count + 1, sizeof *p->pinned, "a session",
                              (void **)&p->pinned));
    if (m->source.lower) {
        FV_FORWARD(lower(m, s, inputs, count, p));
        FV_FORWARD(simplify(m, s, NULL, p->graph));
        if (inputs && count && inputs[0].rank) batch = inputs[0].shape[0];
    } else {
        if (inputs) FV_FORWARD(batch_of(m->graph, inputs, count, &batch));
        FV_FORWARD(at_batch(m, s, frees, batch, &p->graph));
    }
    return make_part(m, s, frees, fv_max_size((size_t)batch, 1), p);
}

static fv_plan_settings plan_settings(const fv_model *m, const fv_session_settings *s, fv_parallel *team) {
    static fv_run_info nothing; /* inference reads no run info; never written */
    return (fv_plan_settings){.profile = s->profile,
                              .bind_outputs = true,
                              .packed = m->packed,
                              .mode = s->plan,
                              .choices = m->choices,
                              .arena = s->arena,
                              .arena_bytes = s->arena_bytes,
                              .run = &nothing,
                              .threads = s->threads,
                              .team = team};
}

/* ---- receptive fields: windows widen them, strides spread them ---- */

static void widen(const fv_window_attr *w, const fv_field *in, fv_field *out) {
    for (int a = 0; a < 2; a++) {
        out->size[a] = in->size[a] + (int64_t)w->dilation[a + 1] * (w->kernel[a + 1] - 1) * in->jump[a];
        out->jump[a] = in->jump[a] * w->stride[a + 1];
    }
}

/* What lies under a pixel of values joined pixel by pixel. */
static fv_field joined(const fv_field *a, const fv_field *b) {
    fv_field f = *a;
    for (int i = 0; i < 2; i++) {
        if (a->size[i] == 0 || b->size[i] == 0 || a->jump[i] != b->jump[i]) return (fv_field){{0}, {0}};
        f.size[i] = a->size[i] > b->size[i] ? a->size[i] : b->size[i];
    }
    return f;
}

static fv_status find_fields(fv_planned *s) {
    const fv_graph *g = s->graph;
    FV_FORWARD(fv_alloc_array(g->context, g->value_count + 1, sizeof *s->fields, "a session", (void **)&s->fields));
    for (size_t i = 0; i < g->input_count; i++) s->fields[g->inputs[i]] = (fv_field){{1, 1}, {1, 1}};
    for (size_t i = 0; i < g->node_count; i++) {
        const fv_node *n = &g->nodes[i];
        if (n->in_count < 1 || n->in[0] == FV_NONE || n->out_count < 1 || n->out[0] == FV_NONE ||
            g->values[n->out[0]].shape.rank != 4)
            continue;
        const fv_field *in = &s->fields[n->in[0]];
        fv_field *out = &s->fields[n->out[0]];
        *out = *in;
        if (in->size[0] == 0) continue;
        if (n->op == &fv_op_conv_transpose || n->op == &fv_op_unpool)
            *out = (fv_field){{0}, {0}}; /* neighbours may lie less than a pixel apart */
        if (n->op == &fv_op_conv || n->op == &fv_op_local) widen(&n->attr.conv.window, in, out);
        if (n->op == &fv_op_pool) widen(&n->attr.pool.window, in, out);
        for (int32_t k = 1; k < n->in_count; k++)
            if (n->in[k] != FV_NONE && g->values[n->in[k]].kind == FV_VALUE_ACTIVATION)
                *out = joined(out, &s->fields[n->in[k]]);
    }
    return FV_OK;
}

/* ---- life ---- */

static fv_status begin(const fv_model *m, const fv_session_settings *s, const fv_tensor *inputs, size_t count,
                       fv_graph *frees, fv_planned **out) {
    fv_planned *p = NULL;
    FV_FORWARD(fv_alloc_zero(m->graph->context, sizeof *p, "a session", (void **)&p));
    const fv_status status = make_graph(m, s, inputs, count, frees, p);
    if (status == FV_OK) {
        *out = p;
        return FV_OK;
    }
    if (!p->graph && p->pinned) fv_release(m->graph->context, p->pinned);
    if (p->graph)
        fv_planned_free(p);
    else
        fv_release(m->graph->context, p);
    return status;
}

/* What sessions of the model have measured, and what the file says. */
static fv_status load_choices(const fv_model *model, const fv_session_settings *s) {
    fv_model *m = (fv_model *)(uintptr_t)model; /* as its reference count */
    if (s->plan != FV_PLAN_MEASURE) return FV_OK;
    if (!m->choices) FV_FORWARD(fv_choices_create(m->graph->context, &m->choices));
    return s->choices ? fv_choices_read(m->choices, s->choices) : FV_OK;
}

/* The model's graph where a lean session is its only one. */
static fv_graph *weights_to_free(const fv_model *m, const fv_session_settings *s) {
    const bool may = s->plan == FV_PLAN_LEAN && !m->source.lower && atomic_load(&m->sessions) == 1;
    return may ? m->graph : NULL;
}

static fv_status create(const fv_model *m, const fv_session_settings *s, const fv_tensor *inputs, size_t count,
                        fv_parallel *team, fv_planned **out) {
    fv_planned *p;
    fv_graph *frees = weights_to_free(m, s);
    FV_FORWARD(load_choices(m, s));
    FV_FORWARD(begin(m, s, inputs, count, frees, &p));
    fv_plan_settings planned = plan_settings(m, s, team);
    planned.frees = frees;
    fv_status status = find_fields(p);
    if (status == FV_OK) status = fv_plan_create(p->part ? p->part : p->graph, &planned, &p->plan);
    if (status == FV_OK) p->graph->passes[FV_PASS_IN_PLACE] = fv_plan_in_place(p->plan);
    if (status == FV_OK && s->choices) status = fv_choices_write(m->choices, s->choices);
    if (status == FV_OK)
        *out = p;
    else
        fv_planned_free(p);
    return status;
}

fv_status fv_planned_create(const fv_model *m, const fv_session_settings *s, const fv_tensor *inputs, size_t count,
                            fv_parallel *team, fv_planned **out) {
    fv_planning_enter(m->packed);
    const fv_status status = create(m, s, inputs, count, team, out);
    fv_planning_leave(m->packed);
    return status;
}

static fv_status bytes(const fv_model *m, const fv_session_settings *s, size_t *out) {
    fv_planned *p;
    FV_FORWARD(load_choices(m, s));
    FV_FORWARD(begin(m, s, s->inputs, s->input_count, NULL, &p));
    const fv_plan_settings planned = plan_settings(m, s, NULL);
    const fv_status status = fv_plan_size(p->part ? p->part : p->graph, &planned, out);
    fv_planned_free(p);
    return status;
}

fv_status fv_planned_bytes(const fv_model *m, const fv_session_settings *s, size_t *out) {
    fv_planning_enter(m->packed);
    const fv_status status = bytes(m, s, out);
    fv_planning_leave(m->packed);
    return status;
}

void fv_planned_free(fv_planned *p) {
    if (!p) return;
    fv_context *c = fv_context_retain(p->graph->context);
    for (size_t i = 0; i < p->graph->input_count; i++) fv_release(c, p->pinned[i]);
    fv_plan_free(p->plan);
    fv_release(c, p->pinned);
    fv_release(c, p->fields);
    fv_graph_free(p->part);
    fv_graph_free(p->graph);
    fv_release(c, p);
    fv_context_free(c);
}

/* ---- what it serves ---- */

bool fv_planned_has(const fv_planned *p, size_t i, const void *data) {
    return !p->pinned[i] || memcmp(p->pinned[i], data, bytes_of(&p->graph->values[p->graph->inputs[i]])) == 0;
}

bool fv_planned_serves(const fv_planned *p, const fv_tensor *inputs, size_t count) {
    if (count != p->graph->input_count) return false;
    for (size_t i = 0; i < count; i++) {
        const fv_value_info *v = &p->graph->values[p->graph->inputs[i]];
        if (inputs[i].rank != v->shape.rank || inputs[i].dtype != v->dtype) return false;
        for (int32_t a = 0; a < v->shape.rank; a++)
            if (inputs[i].shape[a] != v->shape.dim[a]) return false;
        if (p->pinned[i] && (!inputs[i].data || !fv_planned_has(p, i, inputs[i].data))) return false;
    }
    return true;
}
