/* pad: x, [value: one element] -> y with a[k] elements before axis k and b[k] after (negative ones cut), kind: fv_nd_pad.
 * tile: x -> y, x a[k] times along axis k. map_grad: dy, x (shape only) -> dx of either: what flows to all the places a value
 * went. */
#include "ops/nd_taps.h"
#include "ops/nd_type.h"

static fv_status pad_infer(fv_node *n, fv_value_info *values) {
    const fv_nd_attr *a = &n->attr.nd;
    const fv_value_info x = values[n->in[0]];
    fv_shape y = x.shape;
    FV_RETURN_IF(a->count != y.rank, FV_ERR_SHAPE, "node \"%s\": pads of %d axes for %s", n->name, a->count,
                 fv_shape_print(&y).text);
    for (int32_t k = 0; k < y.rank; k++) {
        const int64_t size = y.dim[k], before = a->a[k], after = a->b[k];
        FV_RETURN_IF(before < -INT32_MAX || before > INT32_MAX || after < -INT32_MAX || after > INT32_MAX, FV_ERR_LIMIT,
                     "node \"%s\": pads %lld and %lld on axis %d", n->name, (long long)before, (long long)after, k);
        y.dim[k] = size + before + after;
        FV_RETURN_IF(y.dim[k] < 0, FV_ERR_SHAPE, "node \"%s\": pads %lld and %lld leave nothing of axis %d of %s", n->name,
                     (long long)before, (long long)after, k, fv_shape_print(&x.shape).text);
        const int64_t reach = a->kind == FV_ND_PAD_REFLECT ? size - 1 : INT64_MAX;
        FV_RETURN_IF(a->kind != FV_ND_PAD_CONSTANT && (before > 0 || after > 0) && (size == 0 || before > reach || after > reach),
                     FV_ERR_SHAPE, "node \"%s\": pads %lld and %lld reach beyond axis %d of %s", n->name, (long long)before,
                     (long long)after, k, fv_shape_print(&x.shape).text);
    }
    const fv_value_info *fill = n->in_count > 1 && n->in[1] != FV_NONE ? &values[n->in[1]] : NULL;
    FV_RETURN_IF(fill && (fill->dtype != x.dtype || fv_shape_count(&fill->shape) != 1), FV_ERR_SHAPE,
                 "node \"%s\": it pads with %s of %s", n->name, fv_shape_print(&fill->shape).text, fv_dtype_name(fill->dtype));
    fv_nd_infer_maps(&values[n->out[0]], x.dtype, &y, x.layout);
    return FV_OK;
}

static int32_t padded_place(int32_t kind, int64_t i, int64_t size) {
    if (i >= 0 && i < size) return (int32_t)i;
    switch (kind) {
    case FV_ND_PAD_REFLECT:
        return (int32_t)(i < 0 ? -i : 2 * (size - 1) - i);
    case FV_ND_PAD_EDGE:
        return (int32_t)(i < 0 ? 0 : size - 1);
    case FV_ND_PAD_WRAP:
        return (int32_t)((i % size + size) % size);
    default:
        return -1;
    }
}

static fv_status make_map(fv_plan_op *p, const fv_shape *x, const fv_shape *y, fv_nd_map *map) {
    const fv_nd_attr *a = &p->node->attr.nd;
    FV_FORWARD(fv_nd_map_make(p, y, map));
    for (int32_t k = 0; k < y->rank; k++)
        for (int64_t i = 0; i < y->dim[k]; i++)
            map->table[k][i] = a->kind == FV_ND_TILE ? (int32_t)(i % x->dim[k]) : padded_place(a->kind, i - a->a[k], x->dim[k]);
    return FV_OK;
}

static fv_status map_plan(fv_plan_op *p) {
    const fv_node *n = p->node;
    const fv_value fill = n->in_count > 1 ? n->in[1] : FV_NONE;
    fv_nd_map map = {{NULL}};
    FV_FORWARD(make_map(p, &p->values[n->in[0]].shape, &p->values[n->out[0]].shape, &map));
    return fv_nd_map_plan(p, n->in[0], n->out[0], &map, fv_plan_buffer(p, fill));
}

static fv_status map_backward(fv_backward *b) {
    const fv_value in[2] = {b->dout[0], b->node->in[0]};
    FV_RETURN_IF(b->node->in_count > 1 && b->wanted[1], FV_ERR_UNSUPPORTED, "node \"%s\": its padding value has no gradient",
                 b->node->name);
    b->din[0] = fv_emit_node(b->graph, &fv_op_map_grad, in, 2, 1, &b->node->attr);
    return FV_OK;
}

const fv_op fv_op_pad = {"pad", 1, 2, 1, FV_OP_ANY_LAYOUT, pad_infer, map_plan, map_backward};

static fv_status tile_infer(fv_node *n, fv_value_info *values) {
    const fv_nd_attr *a = &n->attr.nd;
    const fv_value_info x = values[n->in[0]];
    fv_shape y = x.shape;
    FV_RETURN_IF(a->count != y.rank, FV_ERR_SHAPE, "node \"%s\": repeats of %d axes for %s", n->name, a->count,
                 fv_shape_print(&y).text);
    for (int32_t k = 0; k < y.rank; k++) {
        FV_RETURN_IF(a->a[k] < 0 || a->a[k] > INT32_MAX, FV_ERR_SHAPE, "node \"%s\": axis %d %lld times", n->name, k,
                     (long long)a->a[k]);
        y.dim[k] *= a->a[k];
        FV_RETURN_IF(y.dim[k] > INT32_MAX, FV_ERR_LIMIT, "node \"%s\": axis %d becomes %lld", n->name, k, (long long)y.dim[k]);
    }
    n->attr.nd.kind = FV_ND_TILE;
    fv_nd_infer_maps(&values[n->out[0]], x.dtype, &y, x.layout);
    return FV_OK;
}

const fv_op fv_op_tile = {"tile", 1, 1, 1, FV_OP_ANY_LAYOUT, tile_infer, map_plan, map_backward};

static fv_status map_grad_plan(fv_plan_op *p) {
    const fv_shape *y = &p->values[p->node->in[0]].shape, *x = &p->values[p->node->in[1]].shape;
    fv_nd_map map = {{NULL}};
    fv_nd_taps taps[FV_MAX_RANK] = {{0}};
    FV_FORWARD(make_map(p, x, y, &map));
    for (int32_t k = 0; k < x->rank; k++) {
        bool same = x->dim[k] == y->dim[k];
        for (int64_t i = 0; i < y->dim[k] && same; i++) same = map.table[k][i] == i;
        if (same) continue;
        fv_nd_taps forward;
        FV_FORWARD(fv_nd_taps_of_map(p, map.table[k], y->dim[k], &forward));
        FV_FORWARD(fv_nd_taps_transpose(p, &forward, y->dim[k], x->dim[k], &taps[k]));
    }
    return fv_nd_taps_plan(p, p->node->in[0], p->node->out[0], taps);
}

const fv_op fv_op_map_grad = {"map_grad", 2, 2, 1, FV_OP_ANY_LAYOUT, fv_nd_infer_back, map_grad_plan, NULL};
