/* Pooling and its inverse. */
#include "graph/graph.h"

#include "ops/window.h"

void fv_pool_settings_default(fv_pool_settings *s) {
    if (!s) return;
    *s = (fv_pool_settings){.kind = FV_POOL_MAX, .window = {2, 2}, .stride = {2, 2}, .dilation = {1, 1}, .p = 2};
}

static bool fill(fv_graph *g, const fv_pool_settings *s, fv_attributes *attr) {
    if (!s || (int)s->kind < FV_POOL_MAX || s->kind > FV_POOL_STRIDE) {
        fv_graph_fail(g, FV_ERR_ARGUMENT, "pooling needs settings of a known kind");
        return false;
    }
    if (s->global && s->kind > FV_POOL_LP) {
        fv_graph_fail(g, FV_ERR_ARGUMENT, "weighted pooling and a stride alone have no global form");
        return false;
    }
    const float side = (float)(s->window[0] > s->window[1] ? s->window[0] : s->window[1]);
    attr->pool = (fv_pool_attr){
        .kind = s->kind, .ceil_mode = s->ceil_mode, .count_padding = s->count_padding, .global = s->global};
    if (s->kind == FV_POOL_LP) attr->pool.p = s->p;
    if (s->kind == FV_POOL_WEIGHTED) attr->pool.sigma = s->sigma == 0 ? side / 4 : s->sigma;
    if (s->kind == FV_POOL_STRIDE) {
        const int32_t one[2] = {1, 1}, none[2] = {0, 0};
        attr->pool.ceil_mode = false;
        fv_build_window(&attr->pool.window, one, s->stride, one, none, none, FV_PAD_EXPLICIT);
        return true;
    }
    fv_build_window(&attr->pool.window, s->window, s->stride, s->dilation, s->pad_before, s->pad_after,
                    s->global ? FV_PAD_EXPLICIT : s->padding);
    return true;
}

fv_value fv_graph_pool(fv_graph *g, fv_value x, const fv_pool_settings *s, const char *name) {
    fv_attributes attr;
    if (!fv_build_usable(g) || !fill(g, s, &attr) || !fv_build_valid(g, x, "a pooling layer's input")) return FV_NONE;
    if (s->kind == FV_POOL_STRIDE && s->stride[0] == 1 && s->stride[1] == 1) return x;
    return fv_graph_node(g, &fv_op_pool, fv_build_name(g, name, "pool").text, &x, 1, 1, &attr);
}

fv_value fv_graph_max_pool_indices(fv_graph *g, fv_value x, const fv_pool_settings *s, fv_value *indices,
                                   const char *name) {
    fv_attributes attr;
    if (indices) *indices = FV_NONE;
    if (!fv_build_usable(g) || !fill(g, s, &attr) || !fv_build_valid(g, x, "a pooling layer's input")) return FV_NONE;
    if (s->kind != FV_POOL_MAX || !indices)
        return fv_graph_fail(g, FV_ERR_ARGUMENT, "max pooling alone has indices, and they need a place");
    const fv_layer_name n = fv_build_name(g, name, "pool");
    attr.pool.places = true;
    const fv_value y = fv_graph_node(g, &fv_op_pool, n.text, &x, 1, 2, &attr);
    if (y == FV_NONE) return y;
    const fv_shape *in = &g->values[x].shape;
    const fv_attributes map = {.map = {(int32_t)in->dim[2], (int32_t)in->dim[3]}};
    const fv_value positions = y + 1;
    *indices = fv_graph_node(g, &fv_op_indices, fv_build_name(g, NULL, "indices").text, &positions, 1, 1, &map);
    return *indices == FV_NONE ? FV_NONE : y;
}

/* Indices that max pooling over maps of this size made need no way through the border. */
static fv_value positions_of(fv_graph *g, fv_value indices, const fv_attributes *map) {
    const int32_t producer = g->values[indices].producer;
    const fv_node *n = producer < 0 ? NULL : &g->nodes[producer];
    if (n && n->op == &fv_op_indices && n->attr.map.height == map->map.height && n->attr.map.width == map->map.width)
        return n->in[0];
    return fv_graph_node(g, &fv_op_positions, fv_build_name(g, NULL, "positions").text, &indices, 1, 1, map);
}

fv_value fv_graph_max_unpool(fv_graph *g, fv_value x, fv_value indices, int32_t height, int32_t width,
                             const char *name) {
    if (!fv_build_usable(g) || !fv_build_valid(g, x, "an unpooling's input") ||
        !fv_build_valid(g, indices, "an unpooling's indices"))
        return FV_NONE;
    const fv_attributes map = {.map = {height, width}};
    const fv_value in[2] = {x, positions_of(g, indices, &map)};
    if (in[1] == FV_NONE) return FV_NONE;
    return fv_graph_node(g, &fv_op_unpool, fv_build_name(g, name, "unpool").text, in, 2, 1, &map);
}

fv_value fv_graph_input_indices(fv_graph *g, const char *name, const int64_t shape[4]) {
    const fv_value v = fv_graph_input(g, name, 4, shape);
    if (v == FV_NONE) return v;
    g->values[v].dtype = FV_I64;
    g->values[v].layout = FV_PLAIN;
    return v;
}
