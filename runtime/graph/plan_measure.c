/* Timing the algorithms of a convolution: for each a graph of that node alone, planned as the network would plan it, on
 * as many threads; rounds are interleaved and the best of each counts. */
#include "graph/choices.h"
#include "graph/model.h"
#include "ops/conv_choice.h"
#include "ops/window.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

enum { ROUNDS = 7 };

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static fv_choice_key key_of(const fv_plan_op *p, int threads) {
    const fv_conv_attr *a = &p->node->attr.conv;
    const fv_shape *x = &p->values[p->node->in[0]].shape, *w = &p->values[p->node->in[1]].shape;
    fv_choice_key key;
    char cpu[64] = "unknown";
    fv_cpu_info info;
    if (fv_context_info(p->context, &info) == FV_OK && *info.name) snprintf(cpu, sizeof cpu, "%s", info.name);
    for (char *c = cpu; *c; c++)
        if (*c == '|' || *c == '\n') *c = '/';
    snprintf(key.text, sizeof key.text,
             "%s | %s | %d | %s | N%lld C%lld %lldx%lld K%lld %lldx%lld pads %d,%d,%d,%d groups %d%s%s", cpu,
             p->context->settings.isa, threads, FV_VERSION, (long long)x->dim[0], (long long)x->dim[1],
             (long long)x->dim[2], (long long)x->dim[3], (long long)w->dim[0], (long long)w->dim[2],
             (long long)w->dim[3], a->window.pad_before[1], a->window.pad_before[2], a->window.pad_after[1],
             a->window.pad_after[2], a->groups, a->residual ? " + map" : "", a->untied ? " + untied" : "");
    return key;
}

/* ---- one candidate ---- */

typedef struct candidate {
    fv_graph *graph;
    fv_packed_cache *packed;
    fv_plan *plan;
} candidate;

static void drop(candidate *c) {
    fv_plan_free(c->plan);
    fv_packed_free(c->packed);
    fv_graph_free(c->graph);
    *c = (candidate){0};
}

/* An input in the node's own graph: maps as they lie inside; weights share their numbers. */
static fv_value take(fv_graph *g, const fv_value_info *from) {
    const bool constant = from->kind == FV_VALUE_PARAMETER && from->data;
    const fv_value v =
        fv_graph_new_value(g, constant ? FV_VALUE_PARAMETER : FV_VALUE_INPUT, NULL, from->dtype, &from->shape);
    if (v == FV_NONE) return v;
    g->values[v].layout = from->layout;
    g->values[v].data = constant ? from->data : NULL;
    g->values[v].shared = true;
    return v;
}

static fv_status make(fv_plan_op *p, const fv_plan_settings *s, int32_t m, candidate *c) {
    const fv_node *n = p->node;
    fv_value in[4] = {FV_NONE, FV_NONE, FV_NONE, FV_NONE};
    FV_FORWARD(fv_graph_create((fv_context *)(uintptr_t)p->context, &c->graph));
    for (int32_t i = 0; i < n->in_count; i++)
        if (n->in[i] != FV_NONE) in[i] = take(c->graph, &p->values[n->in[i]]);
    const fv_value y = fv_graph_node(c->graph, &fv_op_conv, n->name, in, n->in_count, 1, &n->attr);
    FV_FORWARD(fv_graph_output(c->graph, y, NULL));
    FV_FORWARD(fv_graph_status(c->graph));
    FV_FORWARD(fv_packed_create(p->context, &c->packed));
    fv_plan_settings alone = {
        .packed = c->packed, .run = s->run, .threads = s->threads, .team = s->team, .forced = true, .forced_m = m};
    return fv_plan_create(c->graph, &alone, &c->plan);
}

/* Memory for the inputs, as large as the largest, of numbers that are 0. */
static fv_status make_inputs(const fv_plan_op *p, void **out) {
    size_t most = 0;
    for (int32_t i = 0; i < p->node->in_count; i++) {
        const fv_value_info *v = p->node->in[i] == FV_NONE ? NULL : &p->values[p->node->in[i]];
        if (v) most = fv_max_size(most, fv_shape_count(&v->shape) * fv_dtype_bytes(v->dtype));
    }
    return fv_alloc_zero(p->context, most, "an input to measure with", out);
}

static void bind(const candidate *c, void *input) {
    for (size_t i = 0; i < c->graph->value_count; i++)
        if (c->graph->values[i].kind == FV_VALUE_INPUT) fv_plan_bind(c->plan, (fv_value)i, input);
}

static void time_all(const candidate *c, size_t count, double *seconds) {
    for (size_t i = 0; i < count; i++) fv_plan_run(c[i].plan);
    for (int round = 0; round < ROUNDS; round++)
        for (size_t i = 0; i < count; i++) {
            const double began = now();
            fv_plan_run(c[i].plan);
            const double took = now() - began;
            if (round == 0 || took < seconds[i]) seconds[i] = took;
        }
}

static fv_status measure(fv_plan_op *p, const fv_plan_settings *s, const int32_t *m, size_t count, double *seconds) {
    candidate c[FV_CONV_ALGORITHMS] = {{0}};
    void *input = NULL;
    fv_status status = make_inputs(p, &input);
    for (size_t i = 0; i < count && status == FV_OK; i++) {
        status = make(p, s, m[i], &c[i]);
        if (status == FV_OK) bind(&c[i], input);
    }
    if (status == FV_OK) time_all(c, count, seconds);
    for (size_t i = 0; i < count; i++) drop(&c[i]);
    fv_release(p->context, input);
    return status;
}

fv_status fv_plan_measure(fv_plan_op *p, const fv_plan_settings *s, const int32_t *m, size_t count, int32_t *out) {
    const double worth_an_error = 0.9; /* as fv_conv_choose: larger tiles round more */
    const int threads = s->team ? fv_parallel_threads(s->team) : fv_parallel_count(p->context, s->threads);
    const fv_choice_key key = key_of(p, threads);
    double seconds[FV_CONV_ALGORITHMS];
    size_t best = 0;
    *out = fv_choices_find(s->choices, &key);
    for (size_t i = 0; i < count; i++)
        if (m[i] == *out) return FV_OK;
    FV_FORWARD(measure(p, s, m, count, seconds));
    for (size_t i = 1; i < count; i++)
        if (seconds[i] < worth_an_error * seconds[best]) best = i;
    *out = m[best];
    return fv_choices_add(s->choices, &key, m, seconds, count, best);
}
