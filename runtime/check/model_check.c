#include "check/model_check.h"

#include "graph/graph.h"
#include "kernels/check/random.h"
#include "ops/conv_plan.h"
#include "ops/window.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const double most_products = 1e9, node_tolerance = 1e-4;

static void say(const fv_check_options *o, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void say(const fv_check_options *o, const char *format, ...) {
    char line[512];
    va_list list;
    if (!o->print) return;
    va_start(list, format);
    vsnprintf(line, sizeof line, format, list);
    va_end(list);
    o->print(o->user, line);
}

/* ---- shapes ---- */

typedef struct shapes {
    const fv_check_options *o;
    const fv_graph *graph;
    fv_check_given *list;
    size_t count, capacity;
    void **taps; /* to be freed */
    size_t tap_count, tap_capacity;
} shapes;

static fv_status make_taps(shapes *s, const fv_conv_geometry *g, fv_conv_taps *taps) {
    const fv_context *c = s->graph->context;
    const size_t n = (size_t)fv_conv_kernel_taps(g);
    FV_FORWARD(fv_grow(c, (void **)&s->taps, &s->tap_capacity, s->tap_count + 2, sizeof *s->taps, "a check"));
    FV_FORWARD(fv_alloc_array(c, n, sizeof *taps->tap, "a check", (void **)&taps->tap));
    s->taps[s->tap_count++] = taps->tap;
    FV_FORWARD(fv_alloc_array(c, n, sizeof *taps->weight_tap, "a check", (void **)&taps->weight_tap));
    s->taps[s->tap_count++] = taps->weight_tap;
    return FV_OK;
}

static fv_status add(shapes *s, const fv_check_given *given) {
    FV_FORWARD(fv_grow(s->graph->context, (void **)&s->list, &s->capacity, s->count + 1, sizeof *s->list, "a check"));
    s->list[s->count++] = *given;
    return FV_OK;
}

/* x, y and the weight fit the check. */
static bool fits(const shapes *s, const fv_node *n, fv_value weight, double products) {
    size_t most = fv_max_size(fv_shape_count(&s->graph->values[n->in[0]].shape),
                              fv_shape_count(&s->graph->values[n->out[0]].shape));
    if (weight != FV_NONE) most = fv_max_size(most, fv_shape_count(&s->graph->values[weight].shape));
    if (most <= FV_CHECK_MOST_GIVEN && products <= most_products) return true;
    say(s->o, "node %s is too large to be checked: %zu elements, %.3g multiply-adds", n->name ? n->name : n->op->name,
        most, products);
    return false;
}

static fv_status add_input_grad(shapes *s, const fv_conv_geometry *g, bool linear, fv_check_given given,
                                size_t x_size) {
    const int32_t phases = linear ? 1 : fv_conv_phases(g);
    given.slot = "conv.forward";
    given.y_size = x_size;
    for (int32_t p = 0; p < phases; p++) {
        fv_conv_geometry flat = *g;
        fv_conv_taps taps;
        ptrdiff_t offset = 0;
        FV_FORWARD(make_taps(s, g, &taps));
        if (linear) { /* as it is planned: one product from O to taps*C channels */
            flat.in_channels = g->out_channels;
            flat.out_channels = g->in_channels * fv_conv_kernel_taps(g);
            for (int a = 0; a < 3; a++) flat.in[a] = flat.out[a] = flat.kernel[a] = 1;
            fv_conv_forward_desc(&flat, taps, &given.conv);
        } else if (!fv_conv_input_grad_desc(g, p, taps, &given.conv, &offset)) {
            continue;
        }
        given.source_taps = fv_conv_kernel_taps(&flat);
        given.y_base = (size_t)offset;
        FV_FORWARD(add(s, &given));
    }
    return FV_OK;
}

static fv_status add_product(shapes *s, const fv_node *n) {
    const fv_value_info *v = s->graph->values;
    const fv_shape *x = &v[n->in[0]].shape, *y = &v[n->out[0]].shape;
    const fv_conv_geometry g = fv_conv_geometry_of(&n->attr.conv, x, &v[n->in[1]].shape, y);
    const double products = (double)fv_shape_count(y) * g.in_channels * fv_conv_kernel_taps(&g);
    fv_check_given given = {.name = n->name ? n->name : n->op->name, .source_taps = fv_conv_kernel_taps(&g)};
    fv_conv_taps taps;
    if (!fits(s, n, n->in[1], products)) return FV_OK;
    given.y_size = fv_shape_count(y);
    FV_FORWARD(make_taps(s, &g, &taps));
    fv_conv_forward_desc(&g, taps, &given.conv);
    given.slot = "conv.pack";
    FV_FORWARD(add(s, &given));
    given.slot = "conv.forward";
    FV_FORWARD(add(s, &given));
    FV_FORWARD(make_taps(s, &g, &taps));
    fv_conv_weight_grad_desc(&g, taps, &given.conv);
    given.slot = "conv.weight_grad";
    FV_FORWARD(add(s, &given));
    return add_input_grad(s, &g, n->op == &fv_op_linear, given, fv_shape_count(x));
}

static fv_status add_pool(shapes *s, const fv_node *n) {
    const fv_shape *x = &s->graph->values[n->in[0]].shape, *y = &s->graph->values[n->out[0]].shape;
    static const char *const slots[][2] = {{"pool.max", "pool.max_grad"}, {"pool.average", "pool.average_grad"}, {"pool.lp", "pool.lp_grad"},
                                           {"pool.weighted", "pool.weighted_grad"}};
    if (n->attr.pool.kind == FV_POOL_STRIDE) return FV_OK;
    const char *const *slot = slots[n->attr.pool.kind];
    fv_check_given given = {.slot = slot[0], .name = n->name ? n->name : n->op->name};
    fv_pool_describe(&n->attr.pool, x, y, &given.pool);
    if (!fits(s, n, FV_NONE, (double)fv_shape_count(y) * given.pool.window[1] * given.pool.window[2])) return FV_OK;
    FV_FORWARD(add(s, &given));
    given.slot = slot[1];
    return add(s, &given);
}

static fv_status collect(shapes *s) {
    for (size_t i = 0; i < s->graph->node_count; i++) {
        const fv_node *n = &s->graph->nodes[i];
        if (n->op == &fv_op_conv || n->op == &fv_op_linear) FV_FORWARD(add_product(s, n));
        if (n->op == &fv_op_pool) FV_FORWARD(add_pool(s, n));
    }
    return FV_OK;
}

static fv_status prepared(const fv_model *m, bool training, fv_graph **out) {
    fv_graph *g = NULL;
    FV_FORWARD(fv_graph_copy(m->graph, true, &g));
    fv_status status = fv_graph_set_batch(g, 1);
    if (status == FV_OK) status = fv_graph_prepare(g, training, FV_PLAIN, FV_NHWC);
    if (status == FV_OK)
        *out = g;
    else
        fv_graph_free(g);
    return status;
}

static fv_check_result failed(const fv_check_options *o) {
    say(o, "%s", fv_last_error());
    return FV_CHECK_NO_MEMORY;
}

fv_check_result fv_model_check_shapes(const fv_model *m, const fv_check_options *options, fv_check_report *report) {
    fv_graph *g = NULL;
    if (report) *report = (fv_check_report){0};
    if (prepared(m, true, &g) != FV_OK) return failed(options);
    shapes s = {.o = options, .graph = g};
    fv_check_result result = FV_CHECK_NOTHING;
    if (collect(&s) != FV_OK) {
        result = failed(options);
    } else if (s.count > 0) {
        fv_check_options o = *options;
        o.given = s.list;
        o.given_count = s.count;
        result = fv_check_run(&o, report);
    }
    for (size_t i = 0; i < s.tap_count; i++) fv_release(g->context, s.taps[i]);
    fv_release(g->context, s.taps);
    fv_release(g->context, s.list);
    fv_graph_free(g);
    return result;
}

/* ---- nodes ---- */

typedef struct side {
    fv_graph *graph;
    fv_plan *plan;
} side;

/* Every node's first output is kept. */
static fv_status open_side(const fv_model *m, side *s) {
    static fv_run_info nothing;
    FV_FORWARD(prepared(m, false, &s->graph));
    fv_graph *g = s->graph;
    const fv_plan_settings settings = {.run = &nothing};
    FV_FORWARD(fv_grow(g->context, (void **)&g->outputs, &g->output_capacity, g->output_count + g->node_count,
                       sizeof *g->outputs, "a check"));
    for (size_t i = 0; i < g->node_count; i++)
        if (g->nodes[i].out_count && g->nodes[i].out[0] != FV_NONE) g->outputs[g->output_count++] = g->nodes[i].out[0];
    return fv_plan_create(g, &settings, &s->plan);
}

static void close_side(side *s) {
    fv_plan_free(s->plan);
    fv_graph_free(s->graph);
}

static fv_status run_both(side both[2], uint64_t seed, float **inputs) {
    fv_check_random r = {seed};
    for (size_t i = 0; i < both[0].graph->input_count; i++) {
        const fv_value_info *v = &both[0].graph->values[both[0].graph->inputs[i]];
        const size_t n = fv_shape_count(&v->shape);
        FV_FORWARD(fv_alloc(both[0].graph->context, n * sizeof **inputs, "a check", (void **)&inputs[i]));
        for (size_t k = 0; k < n; k++) inputs[i][k] = check_uniform(&r, 0, 1);
        for (int k = 0; k < 2; k++) fv_plan_bind(both[k].plan, both[k].graph->inputs[i], inputs[i]);
    }
    for (int k = 0; k < 2; k++) fv_plan_run(both[k].plan);
    return FV_OK;
}

static bool compare_node(const side both[2], size_t i, const char *isa, const fv_check_options *o) {
    const fv_node *n = &both[0].graph->nodes[i];
    const float *got = fv_plan_data(both[0].plan, n->out[0]),
                *want = fv_plan_data(both[1].plan, both[1].graph->nodes[i].out[0]);
    const size_t count = fv_shape_count(&both[0].graph->values[n->out[0]].shape);
    double most = 0, difference = 0;
    bool same = true; /* where one is not finite */
    for (size_t k = 0; k < count; k++) {
        if (!isfinite(got[k]) || !isfinite(want[k])) {
            same = same && (got[k] == want[k] || (isnan(got[k]) && isnan(want[k])));
            continue;
        }
        most = fmax(most, fabs((double)want[k]));
        difference = fmax(difference, fabs((double)got[k] - (double)want[k]));
    }
    const bool agrees = same && difference <= node_tolerance * most;
    if (!o->quiet || !agrees)
        say(o, "%-8s node %-24s %-10s %9zu values  differ from scalar by at most %.2g of the largest  %s", isa,
            n->name ? n->name : "", n->op->name, count, most > 0 ? difference / most : difference,
            agrees ? "ok" : "MISMATCH");
    return agrees;
}

fv_check_result fv_model_check_nodes(const fv_model *fast, const fv_model *scalar, const char *isa,
                                     const fv_check_options *options, fv_check_report *report) {
    side both[2] = {{0}};
    float **inputs = NULL;
    fv_check_report r = {0};
    fv_status status = open_side(fast, &both[0]);
    if (status == FV_OK) status = open_side(scalar, &both[1]);
    const size_t input_count = fv_model_input_count(fast);
    if (status == FV_OK)
        status = fv_alloc_array(fast->graph->context, input_count, sizeof *inputs, "a check", (void **)&inputs);
    if (status == FV_OK) status = run_both(both, options->seed, inputs);
    for (size_t i = 0; status == FV_OK && i < both[0].graph->node_count; i++) {
        r.slots++;
        r.cases++;
        r.mismatches += !compare_node(both, i, isa, options);
    }
    for (size_t i = 0; inputs && i < input_count; i++) fv_release(fast->graph->context, inputs[i]);
    fv_release(fast->graph->context, inputs);
    close_side(&both[0]);
    close_side(&both[1]);
    if (report) *report = r;
    if (status != FV_OK) return failed(options);
    return r.mismatches ? FV_CHECK_MISMATCH : r.cases ? FV_CHECK_AGREE : FV_CHECK_NOTHING;
}
