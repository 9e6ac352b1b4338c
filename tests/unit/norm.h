/* Shared by the tests of normalization: one layer both ways as a training step plans it, and nested loops in double. */
#ifndef FV_TESTS_NORM_H
#define FV_TESTS_NORM_H

#include "unit.h"

#include "graph/graph.h"
#include "ops/window.h"
#include "train/autodiff.h"

#include <math.h>

enum { norm_most = 1 << 15 }; /* values of a tensor here */

/* One layer between an input and its gradient. Maps are channels-last inside, plain outside. */
typedef struct layer_run {
    fv_graph *g;
    fv_plan *plan;
    fv_run_info run;
    fv_value x, seed, kept[4]; /* y, dx, dscale, dbias */
    int64_t n, c, pixels;
    float inside[2][norm_most];
} layer_run;

/* The layer on x; scale and bias are parameters. */
typedef fv_value (*layer_fn)(fv_graph *g, fv_value x, fv_value scale, fv_value bias, const void *arg);

static inline fv_value add_seed(fv_graph *g, fv_value y) {
    const fv_shape shape = g->values[y].shape;
    const fv_value v = fv_graph_new_value(g, FV_VALUE_INPUT, NULL, FV_REAL_DTYPE, &shape);
    ok(fv_graph_status(g));
    ok(fv_grow(g->context, (void **)&g->inputs, &g->input_capacity, g->input_count + 1, sizeof *g->inputs, "a graph"));
    g->inputs[g->input_count++] = v;
    return v;
}

static inline void layer_enter(layer_run *r, fv_context *c, layer_fn layer, const void *arg, int32_t rank, const int64_t *shape,
                               const float *scale, const float *bias) {
    int64_t open[4];
    fv_value gradients[64];
    memset(r, 0, sizeof *r);
    memcpy(open, shape, (size_t)rank * sizeof *open);
    open[0] = 0;
    r->n = shape[0];
    r->c = shape[1];
    r->pixels = rank == 4 ? shape[2] * shape[3] : 1;
    ck_assert_int_le(r->n * r->c * r->pixels, norm_most);
    ok(fv_graph_create(c, &r->g));
    r->x = fv_graph_input(r->g, "x", rank, open);
    const fv_value s = fv_graph_parameter(r->g, "scale", 1, &shape[1], scale, FV_INIT_ONES, true);
    const fv_value b = fv_graph_parameter(r->g, "bias", 1, &shape[1], bias, FV_INIT_ZEROS, true);
    ok(fv_graph_output(r->g, layer(r->g, r->x, s, b, arg), NULL));
    ok(fv_graph_prepare(r->g, true, FV_NHWC, FV_NHWC));
    const fv_value y = r->g->outputs[0], wanted[3] = {r->x, s, b};
    r->seed = add_seed(r->g, y);
    ck_assert_uint_lt(r->g->value_count, 64);
    ok(fv_autodiff(r->g, &y, &r->seed, 1, wanted, 3, r->g->value_count, gradients));
    r->kept[0] = y;
    for (int i = 0; i < 3; i++) ok(fv_graph_output(r->g, r->kept[i + 1] = gradients[wanted[i]], NULL));
    ok(fv_graph_set_batch(r->g, shape[0]));
    const fv_plan_settings planned = {.training = true, .run = &r->run};
    ok(fv_plan_create(r->g, &planned, &r->plan));
}

static inline void to_inside(const layer_run *r, const float *from, float *to) {
    for (int64_t i = 0; i < r->n * r->c * r->pixels; i++)
        to[(i / (r->c * r->pixels) * r->pixels + i % r->pixels) * r->c + i / r->pixels % r->c] = from[i];
}

static inline void to_outside(const layer_run *r, const float *from, float *to) {
    for (int64_t i = 0; i < r->n * r->c * r->pixels; i++)
        to[i] = from[(i / (r->c * r->pixels) * r->pixels + i % r->pixels) * r->c + i / r->pixels % r->c];
}

/* weights: the gradient of y. */
static inline void layer_step(layer_run *r, const float *x, const float *weights) {
    to_inside(r, x, r->inside[0]);
    to_inside(r, weights, r->inside[1]);
    fv_plan_bind(r->plan, r->x, r->inside[0]);
    fv_plan_bind(r->plan, r->seed, r->inside[1]);
    fv_plan_run(r->plan);
}

/* 0: y, 1: dx, 2: dscale, 3: dbias. */
static inline void layer_result(const layer_run *r, int which, float *to) {
    const float *from = fv_plan_data(r->plan, r->kept[which]);
    if (which < 2)
        to_outside(r, from, to);
    else
        memcpy(to, from, (size_t)r->c * sizeof *to);
}

static inline const float *layer_parameter(const layer_run *r, const char *name) {
    for (size_t i = 0; i < r->g->value_count; i++)
        if (r->g->values[i].name && strcmp(r->g->values[i].name, name) == 0) return r->g->values[i].data;
    ck_abort_msg("no parameter %s", name);
    return NULL;
}

static inline void layer_leave(layer_run *r) {
    fv_plan_free(r->plan);
    fv_graph_free(r->g);
}

static inline void close_to(const float *got, const float *want, size_t n, double tolerance, const char *what) {
    double most = 1e-3;
    for (size_t i = 0; i < n; i++) most = fmax(most, fabs((double)want[i]));
    for (size_t i = 0; i < n; i++)
        ck_assert_msg(fabs((double)got[i] - (double)want[i]) <= tolerance * most, "%s[%zu]: %.9g instead of %.9g", what, i,
                      (double)got[i], (double)want[i]);
}

/* ---- layers ---- */

static inline fv_value batch_layer(fv_graph *g, fv_value x, fv_value scale, fv_value bias, const void *arg) {
    const int64_t channels = fv_emit_info(g, scale)->shape.dim[0];
    const fv_value mean = fv_graph_parameter(g, "mean", 1, &channels, NULL, FV_INIT_ZEROS, true);
    const fv_value variance = fv_graph_parameter(g, "variance", 1, &channels, NULL, FV_INIT_ONES, true);
    for (int i = 0; i < 2; i++) { /* no model gives them values here */
        fv_value_info *v = &g->values[i ? variance : mean];
        ok(fv_alloc_zero(g->context, (size_t)channels * sizeof(float), "a test", &v->data));
        for (int64_t k = 0; k < channels; k++) ((float *)v->data)[k] = (float)i;
    }
    return fv_graph_batch_norm_with(g, x, scale, bias, mean, variance, arg, "norm");
}

static inline fv_value group_layer(fv_graph *g, fv_value x, fv_value scale, fv_value bias, const void *arg) {
    return fv_graph_group_norm_with(g, x, scale, bias, *(const int32_t *)arg, 1e-5f, "norm");
}

/* The definition: of images [n0, n1) the channels [c0, c1). */
static inline void normalize(const float *x, int64_t c, int64_t pixels, int64_t n0, int64_t n1, int64_t c0, int64_t c1,
                             const float *scale, const float *bias, float *y) {
    double sum = 0, squares = 0;
    const double values = (double)((n1 - n0) * (c1 - c0) * pixels);
    for (int64_t n = n0; n < n1; n++)
        for (int64_t i = c0 * pixels; i < c1 * pixels; i++) sum += (double)x[n * c * pixels + i];
    const double mean = sum / values;
    for (int64_t n = n0; n < n1; n++)
        for (int64_t i = c0 * pixels; i < c1 * pixels; i++)
            squares += ((double)x[n * c * pixels + i] - mean) * ((double)x[n * c * pixels + i] - mean);
    const double deviation = sqrt(squares / values + (double)1e-5f);
    for (int64_t n = n0; n < n1; n++)
        for (int64_t k = c0; k < c1; k++)
            for (int64_t i = 0; i < pixels; i++) {
                const int64_t at = (n * c + k) * pixels + i;
                y[at] = (float)(((double)x[at] - mean) / deviation * (double)scale[k] + (double)bias[k]);
            }
}

#endif
