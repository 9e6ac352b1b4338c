#include "graph/planned.h"

#include "core/process.h"
#include "graph/model.h"
#include "ops/window.h"

#include <string.h>
#include <time.h>

struct fv_session {
    fv_model *model;
    fv_planned *planned; /* the current one first, then those kept */
    uint64_t asked;
    fv_session_settings settings;
    char *choices;     /* settings' */
    fv_parallel *team; /* somebody's, NULL: every plan has its own */
    atomic_flag busy;
    pid_t process; /* that made it */
};

enum { default_plan_cache = 8 };

void fv_session_settings_default(fv_session_settings *s) {
    if (s) *s = (fv_session_settings){.batch = 1, .plan_cache = default_plan_cache};
}

static fv_status check_inputs(const fv_tensor *inputs, size_t count) {
    for (size_t i = 0; i < count; i++) {
        size_t elements;
        FV_FORWARD(fv_tensor_count(&inputs[i], &elements));
    }
    return FV_OK;
}

static fv_status check_settings(const fv_session_settings *s) {
    FV_RETURN_IF(s->batch < 1 || s->batch > INT32_MAX, FV_ERR_ARGUMENT, "a session of batch %lld; it must be 1 or more",
                 (long long)s->batch);
    FV_RETURN_IF((s->input_layout != FV_PLAIN && s->input_layout != FV_NHWC) ||
                     (s->output_layout != FV_PLAIN && s->output_layout != FV_NHWC),
                 FV_ERR_ARGUMENT, "a session's layouts are FV_PLAIN or FV_NHWC");
    FV_RETURN_IF(s->threads < 0 || s->threads > 1024, FV_ERR_ARGUMENT,
                 "a session of %d threads; allowed are 0 (the context's count) to 1024", s->threads);
    FV_RETURN_IF(s->plan_cache < 1 || s->plan_cache > 1024, FV_ERR_ARGUMENT, "a session keeps 1 to 1024 plans, not %d",
                 s->plan_cache);
    FV_RETURN_IF(s->plan != FV_PLAN_FAST && s->plan != FV_PLAN_LEAN && s->plan != FV_PLAN_MEASURE, FV_ERR_ARGUMENT,
                 "a session's plan is FV_PLAN_FAST, FV_PLAN_LEAN or FV_PLAN_MEASURE, not %d", (int)s->plan);
    FV_RETURN_IF(s->choices && s->plan != FV_PLAN_MEASURE, FV_ERR_ARGUMENT,
                 "a session's file of choices is FV_PLAN_MEASURE's alone");
    FV_RETURN_IF(!s->inputs && s->input_count, FV_ERR_ARGUMENT, "a session's inputs are missing");
    return check_inputs(s->inputs, s->input_count);
}

fv_status fv_session_bytes(const fv_model *m, const fv_session_settings *s, size_t *out) {
    fv_session_settings wanted;
    FV_RETURN_IF(!m || !out, FV_ERR_ARGUMENT, "fv_session_bytes needs a model and a place for the answer");
    fv_session_settings_default(&wanted);
    if (s) wanted = *s;
    if (wanted.plan_cache == 0) wanted.plan_cache = default_plan_cache;
    FV_FORWARD(check_settings(&wanted));
    return fv_planned_bytes(m, &wanted, out);
}

/* ---- life ---- */

static bool enter(fv_session *s) { return !atomic_flag_test_and_set_explicit(&s->busy, memory_order_acquire); }
static void leave(fv_session *s) { atomic_flag_clear_explicit(&s->busy, memory_order_release); }

fv_status fv_session_create_on(const fv_model *m, const fv_session_settings *s, fv_parallel *team, fv_session **out) {
    fv_session *made = NULL;
    FV_FORWARD(fv_alloc_zero(m->graph->context, sizeof *made, "a session", (void **)&made));
    made->model = fv_model_retain(m);
    atomic_fetch_add(&made->model->sessions, 1);
    made->team = team;
    fv_session_settings_default(&made->settings);
    if (s) made->settings = *s;
    if (made->settings.plan_cache == 0) made->settings.plan_cache = default_plan_cache;
    atomic_flag_clear(&made->busy);
    made->process = fv_process();
    fv_status status = check_settings(&made->settings);
    if (status == FV_OK && made->settings.choices) {
        status = fv_strdup(m->graph->context, made->settings.choices, &made->choices);
        made->settings.choices = made->choices;
    }
    if (status == FV_OK)
        status = fv_planned_create(m, &made->settings, made->settings.inputs, made->settings.input_count, team,
                                   &made->planned);
    made->settings.inputs = NULL; /* the caller's */
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
    while (fv_process() == s->process && !enter(s)) /* a forked child lacks the thread that runs it */
        nanosleep(&(struct timespec){0, 100000}, NULL);
    fv_model *m = s->model;
    for (fv_planned *p = s->planned, *next; p; p = next) {
        next = p->next;
        fv_planned_free(p);
    }
    fv_release(m->graph->context, s->choices);
    fv_release(m->graph->context, s);
    atomic_fetch_sub(&m->sessions, 1);
    fv_model_free(m);
}

/* ---- other shapes ---- */

static void drop_oldest(fv_session *s) {
    fv_planned **oldest = &s->planned->next;
    for (fv_planned **at = oldest; *at; at = &(*at)->next)
        if ((*at)->used < (*oldest)->used) oldest = at;
    fv_planned *gone = *oldest;
    *oldest = gone->next;
    fv_planned_free(gone);
}

static fv_status prepare(fv_session *s, const fv_tensor *inputs, size_t count) {
    size_t kept = 0;
    for (fv_planned **at = &s->planned; *at; at = &(*at)->next, kept++) {
        fv_planned *p = *at;
        if (!fv_planned_serves(p, inputs, count)) continue;
        *at = p->next;
        p->next = s->planned;
        s->planned = p;
        p->used = ++s->asked;
        return FV_OK;
    }
    fv_planned *fresh;
    FV_FORWARD(fv_planned_create(s->model, &s->settings, inputs, count, s->team, &fresh));
    fresh->next = s->planned;
    fresh->used = ++s->asked;
    s->planned = fresh;
    if (kept + 1 > (size_t)s->settings.plan_cache) drop_oldest(s);
    return FV_OK;
}

fv_status fv_session_prepare(fv_session *s, const fv_tensor *inputs, size_t input_count) {
    FV_RETURN_IF(!s || !inputs, FV_ERR_ARGUMENT, "fv_session_prepare needs a session and inputs");
    FV_FORWARD(check_inputs(inputs, input_count));
    FV_RETURN_IF(!enter(s), FV_ERR_BUSY, "the session is running on another thread; use one session per thread");
    const fv_status status = prepare(s, inputs, input_count);
    leave(s);
    return status;
}

/* ---- running ---- */

/* Layouts that are the same bytes are interchangeable. */
static bool layout_fits(const fv_value_info *v, fv_layout layout) {
    return v->shape.rank != 4 || v->layout == layout || v->shape.dim[1] == 1 || v->shape.dim[2] * v->shape.dim[3] == 1;
}

static fv_status check_tensor(const fv_value_info *v, const fv_tensor *t, const char *what) {
    const char *name = v->name ? v->name : "";
    fv_shape given = {.rank = t->rank};
    FV_RETURN_IF(!t->data && fv_shape_count(&v->shape), FV_ERR_ARGUMENT, "%s \"%s\" has no data", what, name);
    FV_RETURN_IF(t->dtype != v->dtype, FV_ERR_ARGUMENT, "%s \"%s\" has another element type than planned", what, name);
    FV_RETURN_IF(t->rank < 0 || t->rank > FV_MAX_RANK, FV_ERR_SHAPE, "%s \"%s\" has rank %d", what, name, t->rank);
    memcpy(given.dim, t->shape, sizeof given.dim);
    FV_RETURN_IF(!fv_shape_same(&given, &v->shape), FV_ERR_SHAPE,
                 "%s \"%s\" has shape %s, but the session was planned for %s", what, name, fv_shape_print(&given).text,
                 fv_shape_print(&v->shape).text);
    FV_RETURN_IF(!layout_fits(v, t->layout), FV_ERR_SHAPE,
                 "%s \"%s\" has another layout than the session was planned for", what, name);
    FV_RETURN_IF((uintptr_t)t->data % fv_dtype_bytes(t->dtype), FV_ERR_ARGUMENT,
                 "%s \"%s\" is not aligned to its elements", what, name);
    return FV_OK;
}

static bool overlap(const fv_tensor *a, size_t a_bytes, const fv_tensor *b, size_t b_bytes) {
    const uintptr_t x = (uintptr_t)a->data, y = (uintptr_t)b->data;
    return a_bytes && b_bytes && x < y + b_bytes && y < x + a_bytes;
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

fv_status fv_session_check(const fv_session *s, const fv_tensor *inputs, size_t input_count, const fv_tensor *outputs,
                           size_t output_count) {
    const fv_graph *g = s->planned->graph;
    FV_RETURN_IF(input_count != g->input_count || output_count != g->output_count, FV_ERR_ARGUMENT,
                 "%zu inputs and %zu outputs were given; the model has %zu and %zu", input_count, output_count,
                 g->input_count, g->output_count);
    for (size_t i = 0; i < input_count; i++) FV_FORWARD(check_tensor(&g->values[g->inputs[i]], &inputs[i], "input"));
    for (size_t i = 0; i < output_count; i++)
        FV_FORWARD(check_tensor(&g->values[g->outputs[i]], &outputs[i], "output"));
    FV_FORWARD(check_overlaps(g, inputs, outputs));
    for (size_t i = 0; i < input_count; i++)
        FV_RETURN_IF(!fv_planned_has(s->planned, i, inputs[i].data), FV_ERR_STATE,
                     "input \"%.200s\" has other values than the session was planned for; they decide shapes: call "
                     "fv_session_prepare first",
                     g->values[g->inputs[i]].name);
    return FV_OK;
}

static void *part_of(const fv_planned *p, fv_value v, const fv_tensor *t, size_t part) {
    return !t->data ? NULL : (char *)t->data + part * (bytes_of(&p->graph->values[v]) / (size_t)p->parts);
}

static fv_status run(fv_session *s, const fv_tensor *inputs, size_t input_count, const fv_tensor *outputs,
                     size_t output_count) {
    const fv_planned *p = s->planned;
    const fv_graph *g = p->graph;
    FV_FORWARD(fv_session_check(s, inputs, input_count, outputs, output_count));
    for (size_t part = 0; part < (size_t)p->parts; part++) {
        for (size_t i = 0; i < input_count; i++)
            fv_plan_bind(p->plan, g->inputs[i], part_of(p, g->inputs[i], &inputs[i], part));
        for (size_t i = 0; i < output_count; i++)
            fv_plan_bind(p->plan, g->outputs[i], part_of(p, g->outputs[i], &outputs[i], part));
        fv_plan_run(p->plan);
    }
    return FV_OK;
}

fv_status fv_session_run(fv_session *s, const fv_tensor *inputs, size_t input_count, const fv_tensor *outputs,
                         size_t output_count) {
    FV_RETURN_IF(!s || (!inputs && input_count) || !outputs, FV_ERR_ARGUMENT,
                 "fv_session_run needs a session, inputs and outputs");
    FV_RETURN_IF(!enter(s), FV_ERR_BUSY, "the session is running on another thread; use one session per thread");
    const fv_status status = run(s, inputs, input_count, outputs, output_count);
    leave(s);
    return status;
}

/* ---- what there is ---- */

size_t fv_session_node_count(const fv_session *s) { return s ? fv_plan_node_count(s->planned->plan) : 0; }
size_t fv_session_arena_bytes(const fv_session *s) { return s ? fv_plan_arena_bytes(s->planned->plan) : 0; }
size_t fv_session_packed_bytes(const fv_session *s) { return s ? fv_plan_packed_bytes(s->planned->plan) : 0; }

int fv_session_threads(const fv_session *s) { return s ? fv_plan_threads(s->planned->plan) : 0; }
int64_t fv_session_parts(const fv_session *s) { return s ? s->planned->parts : 0; }
const fv_graph *fv_session_graph(const fv_session *s) { return s->planned->graph; }

fv_status fv_session_memory(const fv_session *s, fv_memory *out) {
    FV_RETURN_IF(!s || !out, FV_ERR_ARGUMENT, "fv_session_memory needs a session and a place for the answer");
    *out = (fv_memory){fv_session_arena_bytes(s), fv_plan_scratch_bytes(s->planned->plan), fv_session_packed_bytes(s),
                       fv_model_plain_bytes(s->model)};
    return FV_OK;
}

fv_status fv_session_node(const fv_session *s, size_t i, fv_node_info *out) {
    FV_RETURN_IF(!s || !out || i >= s->planned->graph->node_count, FV_ERR_ARGUMENT, "the session has no node %zu", i);
    fv_plan_node(s->planned->plan, i, out);
    const fv_node *n = &s->planned->graph->nodes[i];
    const double parts = (double)s->planned->parts;
    out->flops *= parts;
    out->work *= parts;
    out->bytes *= parts;
    out->seconds *= parts;
    out->phases *= (size_t)s->planned->parts;
    out->pieces *= (size_t)s->planned->parts;
    if (n->out_count == 0 || n->out[0] == FV_NONE) return FV_OK;
    memcpy(out->shape, s->planned->graph->values[n->out[0]].shape.dim, sizeof out->shape);
    const fv_field *f = &s->planned->fields[n->out[0]];
    for (int a = 0; a < 2; a++) out->receptive_field[a] = f->size[a] > INT32_MAX ? INT32_MAX : (int32_t)f->size[a];
    return FV_OK;
}

static void describe(const fv_value_info *v, const char **name, fv_tensor *out) {
    if (name) *name = v->name ? v->name : "";
    if (!out) return;
    *out = (fv_tensor){.dtype = v->dtype, .layout = v->layout == FV_NHWC ? FV_NHWC : FV_PLAIN, .rank = v->shape.rank};
    memcpy(out->shape, v->shape.dim, sizeof out->shape);
}

size_t fv_session_input_count(const fv_session *s) { return s ? s->planned->graph->input_count : 0; }
size_t fv_session_output_count(const fv_session *s) { return s ? s->planned->graph->output_count : 0; }

fv_status fv_session_input(const fv_session *s, size_t i, const char **name, fv_tensor *shape) {
    FV_RETURN_IF(!s || i >= s->planned->graph->input_count, FV_ERR_ARGUMENT, "the session has no input %zu", i);
    describe(&s->planned->graph->values[s->planned->graph->inputs[i]], name, shape);
    return FV_OK;
}

fv_status fv_session_output(const fv_session *s, size_t i, const char **name, fv_tensor *shape) {
    FV_RETURN_IF(!s || i >= s->planned->graph->output_count, FV_ERR_ARGUMENT, "the session has no output %zu", i);
    describe(&s->planned->graph->values[s->planned->graph->outputs[i]], NULL, shape);
    return fv_model_output(s->model, i, name, NULL); /* a conversion at the border has no name of its own */
}
