#include "check/model_check.h"

#include "check/model_shapes.h"
#include "kernels/check/engine.h"
#include "ops/window.h"

#include <math.h>

static const double node_tolerance = 1e-4;

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
    fv_check_print(o, "%s", fv_last_error());
    return FV_CHECK_NO_MEMORY;
}

fv_check_result fv_model_check_shapes(const fv_model *m, const fv_check_options *options, fv_check_report *report) {
    fv_graph *g = NULL;
    if (report) *report = (fv_check_report){0};
    if (prepared(m, true, &g) != FV_OK) return failed(options);
    fv_model_shapes s = {.options = options, .graph = g};
    fv_check_result result = FV_CHECK_NOTHING;
    if (fv_model_shapes_collect(&s) != FV_OK) {
        result = failed(options);
    } else if (s.count > 0) {
        fv_check_options o = *options;
        o.given = s.list;
        o.given_count = s.count;
        result = fv_check_run(&o, report);
    }
    fv_model_shapes_free(&s);
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
        fv_check_print(o, "%-8s node %-24s %-10s %9zu values  differ from scalar by at most %.2g of the largest  %s", isa,
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
