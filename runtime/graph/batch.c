/* A session's batch in parts: the network runs over a few images at a time, so that what its layers hand on stays in
 * the cache. */
#include "graph/graph.h"
#include "ops/window.h"

#include <math.h>

/* Each image of the output comes from that image of the inputs alone. */
static bool keeps_images_apart(const fv_node *n) {
    static const fv_op *const apart[] = {&fv_op_conv,           &fv_op_linear,          &fv_op_pool,
                                         &fv_op_unary,          &fv_op_binary,          &fv_op_gain,
                                         &fv_op_flatten,        &fv_op_layout,          &fv_op_dropout,
                                         &fv_op_softmax,        &fv_op_log_softmax,     &fv_op_subtractive_norm,
                                         &fv_op_divisive_norm,  &fv_op_brightness_norm, &fv_op_untied_bias,
                                         &fv_op_prelu,          &fv_op_local,           &fv_op_group_norm,
                                         &fv_op_conv_transpose, &fv_op_concat,          &fv_op_split,
                                         &fv_op_slice,          &fv_op_scale_maps,      &fv_op_scale_pixels};
    if (n->op == &fv_op_batch_norm) return !n->attr.norm.batch_moments;
    for (size_t i = 0; i < FV_ARRAY_SIZE(apart); i++)
        if (n->op == apart[i]) return true;
    return false;
}

static bool is_batch_of(const fv_value_info *v, int64_t batch) {
    return (v->shape.rank == 2 || v->shape.rank == 4) && v->shape.dim[0] == batch && v->dtype == FV_REAL_DTYPE;
}

static bool is_parameter(const fv_value_info *v) { return v->kind == FV_VALUE_PARAMETER || v->kind == FV_VALUE_STATE; }

static bool node_runs_in_parts(const fv_graph *g, const fv_node *n, int64_t batch) {
    if (!keeps_images_apart(n)) return false;
    for (int32_t k = 0; k < n->in_count; k++) {
        const fv_value_info *v = n->in[k] == FV_NONE ? NULL : &g->values[n->in[k]];
        if (v && (is_parameter(v) ? n->op == &fv_op_binary : !is_batch_of(v, batch))) return false;
    }
    for (int32_t k = 0; k < n->out_count; k++)
        if (n->out[k] != FV_NONE && !is_batch_of(&g->values[n->out[k]], batch)) return false;
    return true;
}

const fv_node *fv_batch_joins(const fv_graph *g, int64_t batch) {
    for (size_t i = 0; i < g->node_count; i++)
        if (!node_runs_in_parts(g, &g->nodes[i], batch)) return &g->nodes[i];
    return NULL;
}

static double bytes_of(const fv_value_info *v) {
    return (double)fv_shape_count(&v->shape) * (double)fv_dtype_bytes(v->dtype);
}

/* Multiply-adds of the whole batch, twice. */
static double work_of(const fv_graph *g, const fv_node *n) {
    if (n->op != &fv_op_conv && n->op != &fv_op_linear) return 0;
    const fv_shape *w = &g->values[n->in[1]].shape;
    return 2 * (double)fv_shape_count(&g->values[n->out[0]].shape) * (double)fv_shape_count(w) / (double)w->dim[0];
}

int64_t fv_batch_part(const fv_graph *g, int64_t batch) {
    /* What a layer reads and writes for one part; arithmetic hides the reading of layers with more work than that a
     * byte. */
    const double part_bytes = 16 << 20, busy = 10;
    double maps = 0, weights = 0, largest = 0;
    for (size_t i = 0; i < g->node_count; i++) {
        const fv_node *n = &g->nodes[i];
        double bytes = 0;
        for (int32_t k = 0; k < n->in_count; k++) {
            if (n->in[k] == FV_NONE) continue;
            const fv_value_info *v = &g->values[n->in[k]];
            *(is_parameter(v) ? &weights : &bytes) += bytes_of(v);
        }
        for (int32_t k = 0; k < n->out_count; k++)
            if (n->out[k] != FV_NONE) bytes += bytes_of(&g->values[n->out[k]]);
        maps += bytes;
        if (work_of(g, n) < busy * bytes) largest = fmax(largest, bytes);
    }
    const double images = (double)batch, fits = images * part_bytes / fmax(largest, 1),
                 worth = images * weights / fmax(maps, 1);
    const double wanted = fmin(images, fmax(1, fmax(fits, worth)));
    int64_t part = (int64_t)wanted;
    while (batch % part) part--;
    return 2 * (double)part > wanted ? part : batch;
}
