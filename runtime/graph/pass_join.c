/* A concatenation along channels without copies: each of its convolutions writes its channels of the joined pixels. */
#include "graph/graph.h"
#include "ops/window.h"

/* Written by a convolution that can keep a distance between its pixels, and read by nobody but the concatenation. */
static bool can_lie_inside(const fv_graph *g, fv_value v) {
    const int32_t producer = v == FV_NONE ? -1 : g->values[v].producer;
    if (producer < 0 || g->nodes[producer].op != &fv_op_conv || g->nodes[producer].attr.conv.groups != 1) return false;
    return fv_graph_uses(g, v) == 1;
}

void fv_pass_join(fv_graph *g) {
    for (size_t i = 0; i < g->node_count; i++) {
        const fv_node *n = &g->nodes[i];
        if (n->op != &fv_op_concat || n->attr.parts.axis != 1 || fv_graph_is_output(g, n->out[0])) continue;
        const fv_value_info *whole = &g->values[n->out[0]];
        if (whole->shape.rank != 4 || whole->layout != FV_NHWC) continue;
        int64_t channel = 0;
        for (int32_t k = 0; k < n->in_count; k++) {
            if (can_lie_inside(g, n->in[k])) {
                fv_value_info *v = &g->values[n->in[k]];
                fv_pass_note(g, FV_PASS_JOIN, 1, 0,
                             2 * (double)fv_shape_count(&v->shape) * (double)fv_dtype_bytes(v->dtype));
                v->inside.is = true;
                v->inside.whole = n->out[0];
                v->inside.channel = channel;
            }
            channel += n->attr.parts.size[k];
        }
    }
}
