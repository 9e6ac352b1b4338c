/* nd_slice: x -> y, y's element i of axis k is x's a[k] + i*b[k], c[k] of them (-1: the whole axis). nd_slice_grad: dy,
 * x (shape only) -> dx, zero beside the slice. nd_concat: parts of one type -> y along axis a[0]; empty parts are
 * allowed. expand: x -> y of the shape that x's and a (count) broadcast to. */
#include "ops/nd_copy.h"

#include <string.h>

/* ---- slice ---- */

static fv_status slice_infer(fv_node *n, fv_value_info *values) {
    const fv_nd_attr *a = &n->attr.nd;
    const fv_value_info x = values[n->in[0]];
    fv_shape y = x.shape;
    FV_RETURN_IF(a->count != x.shape.rank, FV_ERR_SHAPE, "node \"%s\": a slice of %d axes of %s", n->name, a->count,
                 fv_shape_print(&x.shape).text);
    for (int32_t k = 0; k < a->count; k++) {
        if (a->c[k] == -1) continue;
        y.dim[k] = a->c[k];
        const int64_t size = x.shape.dim[k], last = a->a[k] + (a->c[k] - 1) * a->b[k];
        FV_RETURN_IF(a->c[k] < 0 || a->c[k] > INT32_MAX || a->b[k] < -INT32_MAX || a->b[k] > INT32_MAX ||
                         (a->c[k] > 0 && (a->a[k] < 0 || a->a[k] >= size || last < 0 || last >= size)),
                     FV_ERR_SHAPE, "node \"%s\": axis %d of %s is cut from %lld by %lld, %lld of them", n->name, k,
                     fv_shape_print(&x.shape).text, (long long)a->a[k], (long long)a->b[k], (long long)a->c[k]);
    }
    fv_nd_infer_maps(&values[n->out[0]], x.dtype, &y, x.layout);
    return FV_OK;
}

/* The slice of `whole` copied to `part`, or back. */
static fv_status plan_cut(fv_plan_op *p, fv_value whole, fv_value part, bool back) {
    const fv_nd_attr *a = &p->node->attr.nd;
    const fv_value_info *w = &p->values[whole], *y = &p->values[part];
    ptrdiff_t own[FV_MAX_RANK] = {0}, cut[FV_MAX_RANK] = {0}, dense[FV_MAX_RANK] = {0}, at = 0;
    fv_nd_strides(&w->shape, w->layout, own);
    fv_nd_strides(&y->shape, y->layout, dense);
    for (int32_t k = 0; k < a->count; k++) {
        at += a->c[k] < 0 ? 0 : (ptrdiff_t)a->a[k] * own[k];
        cut[k] = a->c[k] < 0 ? own[k] : (ptrdiff_t)a->b[k] * own[k];
    }
    fv_nd_copy c = {.in = fv_plan_buffer(p, back ? part : whole),
                    .out = fv_plan_buffer(p, back ? whole : part),
                    .in_at = back ? 0 : at,
                    .out_at = back ? at : 0,
                    .shape = y->shape,
                    .layout = back ? w->layout : y->layout,
                    .element = fv_dtype_bytes(y->dtype)};
    memcpy(c.in_stride, back ? dense : cut, sizeof dense);
    memcpy(c.out_stride, back ? cut : dense, sizeof dense);
    return fv_nd_copy_plan(p, &c);
}

static fv_status slice_plan(fv_plan_op *p) { return plan_cut(p, p->node->in[0], p->node->out[0], false); }

static fv_status slice_backward(fv_backward *b) {
    const fv_value in[2] = {b->dout[0], b->node->in[0]};
    b->din[0] = fv_emit_node(b->graph, &fv_op_nd_slice_grad, in, 2, 1, &b->node->attr);
    return FV_OK;
}

const fv_op fv_op_nd_slice = {"nd_slice", 1, 1, 1, FV_OP_ANY_LAYOUT, slice_infer, slice_plan, slice_backward};

static fv_status slice_grad_infer(fv_node *n, fv_value_info *values) {
    fv_infer_like(&values[n->out[0]], &values[n->in[1]]);
    return FV_OK;
}

static fv_status slice_grad_plan(fv_plan_op *p) {
    FV_FORWARD(fv_nd_zero_plan(p, p->node->out[0]));
    return plan_cut(p, p->node->out[0], p->node->in[0], true);
}

const fv_op fv_op_nd_slice_grad = {"nd_slice_grad", 2, 2, 1, FV_OP_ANY_LAYOUT, slice_grad_infer, slice_grad_plan, NULL};

/* ---- concat ---- */

static fv_status concat_infer(fv_node *n, fv_value_info *values) {
    const fv_value_info first = values[n->in[0]];
    fv_layout layout = FV_PLAIN;
    fv_shape y = first.shape;
    const int64_t axis = n->attr.nd.a[0];
    FV_RETURN_IF(axis < 0 || axis >= y.rank, FV_ERR_SHAPE, "node \"%s\": axis %lld of %s", n->name, (long long)axis,
                 fv_shape_print(&y).text);
    y.dim[axis] = 0;
    for (int32_t k = 0; k < n->in_count; k++) {
        const fv_value_info *v = &values[n->in[k]];
        fv_shape like = v->shape;
        if (like.rank == y.rank) like.dim[axis] = first.shape.dim[axis];
        FV_RETURN_IF(v->dtype != first.dtype || !fv_shape_same(&like, &first.shape), FV_ERR_SHAPE,
                     "node \"%s\": inputs %s of %s and %s of %s do not join along axis %lld", n->name,
                     fv_shape_print(&first.shape).text, fv_dtype_name(first.dtype), fv_shape_print(&v->shape).text,
                     fv_dtype_name(v->dtype), (long long)axis);
        y.dim[axis] += v->shape.dim[axis];
        if (v->layout == FV_NHWC) layout = FV_NHWC;
    }
    fv_nd_infer_maps(&values[n->out[0]], first.dtype, &y, layout);
    return FV_OK;
}

static fv_status concat_plan(fv_plan_op *p) {
    const fv_value_info *y = &p->values[p->node->out[0]];
    const int64_t axis = p->node->attr.nd.a[0];
    ptrdiff_t at = 0;
    for (int32_t k = 0; k < p->node->in_count; k++) {
        const fv_value_info *x = &p->values[p->node->in[k]];
        fv_nd_copy c = {.in = fv_plan_buffer(p, p->node->in[k]),
                        .out = fv_plan_buffer(p, p->node->out[0]),
                        .shape = x->shape,
                        .layout = y->layout,
                        .element = fv_dtype_bytes(y->dtype)};
        fv_nd_strides(&x->shape, x->layout, c.in_stride);
        fv_nd_strides(&y->shape, y->layout, c.out_stride);
        c.out_at = at;
        at += (ptrdiff_t)x->shape.dim[axis] * c.out_stride[axis];
        FV_FORWARD(fv_nd_copy_plan(p, &c));
    }
    return FV_OK;
}

static fv_status concat_backward(fv_backward *b) {
    const int64_t axis = b->node->attr.nd.a[0];
    int64_t at = 0;
    for (int32_t k = 0; k < b->node->in_count; k++) {
        const fv_shape shape = fv_emit_info(b->graph, b->node->in[k])->shape;
        fv_attributes cut = {.nd = {.count = shape.rank}};
        FV_RETURN_IF(shape.dim[axis] == 0, FV_ERR_UNSUPPORTED,
                     "node \"%s\": a concatenation along the open batch has no gradient; export it with a fixed batch",
                     b->node->name);
        for (int32_t i = 0; i < shape.rank; i++) {
            cut.nd.a[i] = i == axis ? at : 0;
            cut.nd.b[i] = 1;
            cut.nd.c[i] = i == axis ? shape.dim[i] : -1;
        }
        at += shape.dim[axis];
        if (b->wanted[k]) b->din[k] = fv_emit_node(b->graph, &fv_op_nd_slice, b->dout, 1, 1, &cut);
    }
    return FV_OK;
}

const fv_op fv_op_nd_concat = {"nd_concat",  1,           INT32_MAX,      1, FV_OP_ANY_LAYOUT,
                               concat_infer, concat_plan, concat_backward};

/* ---- expand ---- */

static fv_status expand_infer(fv_node *n, fv_value_info *values) {
    const fv_nd_attr *a = &n->attr.nd;
    const fv_value_info x = values[n->in[0]];
    fv_shape wanted = {.rank = a->count}, y;
    for (int32_t i = 0; i < a->count; i++) {
        wanted.dim[i] = a->a[i];
        FV_RETURN_IF(a->a[i] < 0 || a->a[i] > INT32_MAX, FV_ERR_SHAPE, "node \"%s\": expand to size %lld", n->name,
                     (long long)a->a[i]);
    }
    FV_FORWARD(fv_nd_broadcast(n->name, &x.shape, &wanted, &y));
    fv_nd_infer_maps(&values[n->out[0]], x.dtype, &y, x.layout);
    return FV_OK;
}

static fv_status expand_plan(fv_plan_op *p) {
    const fv_value_info *x = &p->values[p->node->in[0]], *y = &p->values[p->node->out[0]];
    fv_nd_copy c = fv_nd_copy_of_node(p);
    fv_nd_operand(&y->shape, x, c.in_stride);
    return fv_nd_copy_plan(p, &c);
}

/* The sum over what was stretched. */
static fv_status expand_backward(fv_backward *b) {
    const fv_shape x = fv_emit_info(b->graph, b->node->in[0])->shape, y = fv_emit_info(b->graph, b->dout[0])->shape;
    fv_attributes sum = {.nd = {.kind = FV_ND_SUM, .keep = true}};
    for (int32_t i = 0; i < y.rank; i++)
        if (i < y.rank - x.rank || x.dim[i - (y.rank - x.rank)] != y.dim[i]) sum.nd.a[sum.nd.count++] = i;
    fv_value dx = b->dout[0];
    if (sum.nd.count) dx = fv_emit_node(b->graph, &fv_op_reduce, &dx, 1, 1, &sum);
    b->din[0] = fv_emit_reshape(b->graph, dx, &x);
    return FV_OK;
}

const fv_op fv_op_expand = {"expand", 1, 1, 1, FV_OP_ANY_LAYOUT, expand_infer, expand_plan, expand_backward};
