/* What exporters write beside a layer, taken into it: padding before a convolution, transposes there and back. */
#include "graph/graph.h"
#include "ops/nd_window.h"

#include <string.h>

/* ---- padding ---- */

/* The node that pads v with zeros, on the axes after the first two alone and cutting nothing, or NULL. */
static const fv_node *zero_padding(const fv_graph *g, fv_value v) {
    static const uint64_t zero;
    const int32_t producer = g->values[v].producer;
    const fv_node *n = producer < 0 ? NULL : &g->nodes[producer];
    if (!n || n->op != &fv_op_pad || n->attr.nd.kind != FV_ND_PAD_CONSTANT) return NULL;
    const fv_value_info *fill = n->in_count > 1 && n->in[1] != FV_NONE ? &g->values[n->in[1]] : NULL;
    if (fill && (fill->kind != FV_VALUE_PARAMETER || fill->trainable || !fill->data)) return NULL;
    if (fill && memcmp(fill->data, &zero, fv_dtype_bytes(fill->dtype)) != 0) return NULL;
    for (int32_t k = 0; k < n->attr.nd.count; k++) {
        const int64_t before = n->attr.nd.a[k], after = n->attr.nd.b[k];
        if (k < 2 ? before != 0 || after != 0 : before < 0 || after < 0 || before > INT16_MAX || after > INT16_MAX)
            return NULL;
    }
    return g->values[n->in[0]].layout == g->values[v].layout ? n : NULL;
}

static void pad_maps(fv_window_attr *w, const fv_nd_attr *pad) {
    w->padding = FV_PAD_EXPLICIT;
    for (int32_t k = 2; k < pad->count; k++) {
        w->pad_before[k - 1] += (int32_t)pad->a[k];
        w->pad_after[k - 1] += (int32_t)pad->b[k];
    }
}

static void pad_window(fv_nd_attr *conv, const fv_nd_attr *pad) {
    fv_nd_window w = fv_nd_window_get(conv);
    for (int32_t i = 0; i < w.axes; i++) {
        w.before[i] += pad->a[2 + i];
        w.after[i] += pad->b[2 + i];
    }
    fv_nd_window_put(&w, conv);
}

/* A window that follows from the input's size would follow from another one. */
static bool follows_size(const fv_window_attr *w) {
    return w->padding == FV_PAD_SAME_UPPER || w->padding == FV_PAD_SAME_LOWER;
}

fv_status fv_pass_pad(fv_graph *g) {
    for (size_t i = 0; i < g->node_count; i++) {
        fv_node *n = &g->nodes[i];
        const bool layer = n->op == &fv_op_conv && !follows_size(&n->attr.conv.window),
                   general = n->op == &fv_op_nd_conv;
        const fv_node *pad = layer || general ? zero_padding(g, n->in[0]) : NULL;
        if (!pad || (layer && pad->attr.nd.count != 4)) continue;
        if (layer) pad_maps(&n->attr.conv.window, &pad->attr.nd);
        if (general) pad_window(&n->attr.nd, &pad->attr.nd);
        n->in[0] = pad->in[0];
    }
    return fv_pass_dead(g);
}

/* ---- transposes ---- */

/* Node n puts every axis back to where it was before the transpose that it reads. */
static bool turns_back(const fv_graph *g, const fv_node *n) {
    const int32_t producer = n->op == &fv_op_transpose ? g->values[n->in[0]].producer : -1;
    if (producer < 0 || g->nodes[producer].op != &fv_op_transpose) return false;
    const fv_nd_attr *second = &n->attr.nd, *first = &g->nodes[producer].attr.nd;
    for (int32_t k = 0; k < second->count; k++)
        if (first->a[second->a[k]] != k) return false;
    return true;
}

fv_status fv_pass_transpose(fv_graph *g) {
    for (size_t i = 0; i < g->node_count; i++) {
        fv_node *n = &g->nodes[i];
        if (!turns_back(g, n)) continue;
        const fv_value x = g->nodes[g->values[n->in[0]].producer].in[0], y = n->out[0];
        if (g->values[x].layout == g->values[y].layout && !fv_graph_is_output(g, y)) {
            fv_graph_replace(g, y, x);
            continue;
        }
        n->op = &fv_op_layout; /* a copy, or the one layout to the other */
        n->in[0] = x;
    }
    return fv_pass_dead(g);
}
