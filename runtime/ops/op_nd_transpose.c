/* transpose: x -> y, y's axis i is x's axis a[i]; where the bytes of the result are those of maps channels last, it is that.
 * depth_to_space: x (N,C,H,W) -> (N,C/b^2,H*b,W*b), a[0] = b; kind 0 (DCR): channel (dy*b + dx)*C' + c goes to pixel (dy, dx) of
 * channel c; kind 1 (CRD): channel c*b^2 + dy*b + dx. space_to_depth: the other way. */
#include "ops/nd_copy.h"

#include <string.h>

static bool is_permutation(const fv_nd_attr *a) {
    unsigned seen = 0;
    for (int32_t i = 0; i < a->count; i++) {
        if (a->a[i] < 0 || a->a[i] >= a->count || seen >> a->a[i] & 1) return false;
        seen |= 1u << a->a[i];
    }
    return true;
}

/* The strides of x in the order of y's axes. */
static void turned(const fv_value_info *x, const fv_nd_attr *a, ptrdiff_t stride[FV_MAX_RANK]) {
    ptrdiff_t own[FV_MAX_RANK] = {0};
    fv_nd_strides(&x->shape, x->layout, own);
    for (int32_t i = 0; i < a->count; i++) stride[i] = own[a->a[i]];
}

static fv_status transpose_infer(fv_node *n, fv_value_info *values) {
    const fv_nd_attr *a = &n->attr.nd;
    const fv_value_info *x = &values[n->in[0]];
    FV_RETURN_IF(a->count != x->shape.rank || !is_permutation(a), FV_ERR_SHAPE,
                 "node \"%s\": its axes are no permutation of those of %s", n->name, fv_shape_print(&x->shape).text);
    fv_shape y = {.rank = a->count};
    for (int32_t i = 0; i < a->count; i++) y.dim[i] = x->shape.dim[a->a[i]];
    const bool last = a->count == 4 && x->layout == FV_PLAIN && a->a[0] == 0 && a->a[1] == 3 && a->a[2] == 1;
    fv_nd_infer_maps(&values[n->out[0]], x->dtype, &y, last ? FV_NHWC : FV_PLAIN);
    return FV_OK;
}

static fv_status transpose_plan(fv_plan_op *p) {
    const fv_value_info *x = &p->values[p->node->in[0]];
    fv_nd_copy c = fv_nd_copy_of_node(p);
    turned(x, &p->node->attr.nd, c.in_stride);
    return fv_nd_copy_plan(p, &c);
}

static fv_status transpose_backward(fv_backward *b) {
    const fv_nd_attr *a = &b->node->attr.nd;
    fv_attributes back = {.nd = {.count = a->count}};
    for (int32_t i = 0; i < a->count; i++) back.nd.a[a->a[i]] = i;
    b->din[0] = fv_emit_node(b->graph, &fv_op_transpose, b->dout, 1, 1, &back);
    return FV_OK;
}

const fv_op fv_op_transpose = {"transpose", 1, 1, 1, FV_OP_ANY_LAYOUT, transpose_infer, transpose_plan, transpose_backward};

/* ---- blocks ---- */

static fv_status block_infer(fv_node *n, fv_value_info *values) {
    const fv_value_info x = values[n->in[0]];
    const int64_t b = n->attr.nd.a[0];
    const bool deep = n->op == &fv_op_depth_to_space;
    fv_shape y = x.shape;
    FV_RETURN_IF(x.shape.rank != 4 || b < 1 || b > 32767, FV_ERR_SHAPE, "node \"%s\": blocks of %lld of %s", n->name,
                 (long long)b, fv_shape_print(&x.shape).text);
    FV_RETURN_IF(deep ? x.shape.dim[1] % (b * b) : x.shape.dim[2] % b || x.shape.dim[3] % b, FV_ERR_SHAPE,
                 "node \"%s\": %s does not divide into blocks of %lld", n->name, fv_shape_print(&x.shape).text, (long long)b);
    y.dim[1] = deep ? y.dim[1] / (b * b) : y.dim[1] * b * b;
    for (int i = 2; i < 4; i++) y.dim[i] = deep ? y.dim[i] * b : y.dim[i] / b;
    fv_nd_infer_maps(&values[n->out[0]], x.dtype, &y, x.layout);
    return FV_OK;
}

static fv_status block_plan(fv_plan_op *p) {
    const bool to_space = p->node->op == &fv_op_depth_to_space;
    const fv_value_info *x = &p->values[p->node->in[0]], *y = &p->values[p->node->out[0]];
    const fv_value_info *deep = to_space ? x : y, *wide = to_space ? y : x;
    const ptrdiff_t b = (ptrdiff_t)p->node->attr.nd.a[0], maps = (ptrdiff_t)wide->shape.dim[1];
    const bool by_map = p->node->attr.nd.kind == 1;
    ptrdiff_t d[FV_MAX_RANK], w[FV_MAX_RANK];
    fv_nd_strides(&deep->shape, deep->layout, d);
    fv_nd_strides(&wide->shape, wide->layout, w);
    const ptrdiff_t deep_stride[6] = {d[0], by_map ? d[1] * b * b : d[1], d[2], by_map ? d[1] * b : d[1] * maps * b,
                                      d[3], by_map ? d[1] : d[1] * maps};
    const ptrdiff_t wide_stride[6] = {w[0], w[1], w[2] * b, w[2], w[3] * b, w[3]};
    fv_nd_copy c = {.in = fv_plan_buffer(p, p->node->in[0]),
                    .out = fv_plan_buffer(p, p->node->out[0]),
                    .layout = y->layout,
                    .shape = {6, {wide->shape.dim[0], maps, deep->shape.dim[2], b, deep->shape.dim[3], b}},
                    .element = fv_dtype_bytes(y->dtype)};
    memcpy(c.in_stride, to_space ? deep_stride : wide_stride, sizeof deep_stride);
    memcpy(c.out_stride, to_space ? wide_stride : deep_stride, sizeof deep_stride);
    return fv_nd_copy_plan(p, &c);
}

static fv_status block_backward(fv_backward *b) {
    const fv_op *back = b->node->op == &fv_op_depth_to_space ? &fv_op_space_to_depth : &fv_op_depth_to_space;
    b->din[0] = fv_emit_node(b->graph, back, b->dout, 1, 1, &b->node->attr);
    return FV_OK;
}

const fv_op fv_op_depth_to_space = {"depth_to_space", 1, 1, 1, FV_OP_ANY_LAYOUT, block_infer, block_plan, block_backward};
const fv_op fv_op_space_to_depth = {"space_to_depth", 1, 1, 1, FV_OP_ANY_LAYOUT, block_infer, block_plan, block_backward};
