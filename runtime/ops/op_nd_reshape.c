/* reshape: x -> the same elements in another shape. attr.nd: count and a: the sizes; -1 (one at most): what is left; 0: x's size
 * on that axis, with flag (ONNX's allowzero) an empty axis. */
#include "ops/nd_copy.h"

#include <string.h>

typedef struct reshape {
    const fv_buffer *in, *out;
    size_t bytes;
} reshape;

static void run_reshape(void *arg, size_t piece, void *scratch) {
    (void)scratch;
    const reshape *s = arg;
    const fv_range r = fv_run_of(piece, s->bytes);
    if (s->in->data == s->out->data) return;
    memcpy((char *)s->out->data + r.begin, (const char *)s->in->data + r.begin, r.end - r.begin);
}

static fv_status reshape_infer(fv_node *n, fv_value_info *values) {
    const fv_nd_attr *a = &n->attr.nd;
    const fv_value_info *x = &values[n->in[0]];
    fv_shape y = {.rank = a->count};
    int32_t left = -1;
    size_t known = 1;
    FV_RETURN_IF(a->count < 0 || a->count > FV_MAX_RANK, FV_ERR_LIMIT, "node \"%s\": reshape to rank %d", n->name, a->count);
    for (int32_t i = 0; i < a->count; i++) {
        int64_t size = a->a[i];
        FV_RETURN_IF(size < -1 || size > INT32_MAX, FV_ERR_SHAPE, "node \"%s\": reshape to size %lld on axis %d", n->name,
                     (long long)size, i);
        FV_RETURN_IF(size == -1 && left >= 0, FV_ERR_SHAPE, "node \"%s\": reshape with -1 on axes %d and %d", n->name, left, i);
        FV_RETURN_IF(size == 0 && !a->flag && i >= x->shape.rank, FV_ERR_SHAPE, "node \"%s\": reshape copies axis %d of %s",
                     n->name, i, fv_shape_print(&x->shape).text);
        if (size == 0 && !a->flag) size = x->shape.dim[i];
        if (size == -1) left = i;
        FV_RETURN_IF(size >= 0 && !fv_mul_size(known, (size_t)size, &known), FV_ERR_LIMIT,
                     "node \"%s\": reshape to too many elements", n->name);
        y.dim[i] = size;
    }
    const size_t count = fv_shape_count(&x->shape);
    FV_RETURN_IF(left >= 0 && known == 0 && a->flag, FV_ERR_SHAPE, "node \"%s\": reshape with both an empty axis and -1",
                 n->name);
    if (left >= 0) y.dim[left] = known == 0 ? 0 : (int64_t)(count / known);
    FV_RETURN_IF(fv_shape_count(&y) != count, FV_ERR_SHAPE, "node \"%s\": %s has %zu elements, which do not make %s", n->name,
                 fv_shape_print(&x->shape).text, count, fv_shape_print(&y).text);
    const bool maps = y.rank == 4 && (y.dim[1] == 1 || y.dim[2] * y.dim[3] == 1); /* in either layout the same */
    fv_nd_infer_maps(&values[n->out[0]], x->dtype, &y, maps ? FV_NHWC : FV_PLAIN);
    return FV_OK;
}

static fv_status reshape_plan(fv_plan_op *p) {
    const fv_value_info *x = &p->values[p->node->in[0]];
    reshape *s;
    FV_FORWARD(fv_plan_state(p, sizeof *s, (void **)&s));
    *s = (reshape){fv_plan_buffer(p, p->node->in[0]), fv_plan_buffer(p, p->node->out[0]),
                   fv_shape_count(&x->shape) * fv_dtype_bytes(x->dtype)};
    p->algorithm = "copy";
    return fv_plan_phase(p, false, run_reshape, s, fv_run_pieces(s->bytes));
}

fv_value fv_emit_reshape(fv_graph *g, fv_value x, const fv_shape *shape) {
    fv_attributes attr = {.nd = {.count = shape->rank, .flag = true}};
    if (x == FV_NONE) return x;
    for (int32_t i = 0; i < shape->rank; i++) attr.nd.a[i] = shape->dim[i];
    return fv_emit_node(g, &fv_op_reshape, &x, 1, 1, &attr);
}

static fv_status reshape_backward(fv_backward *b) {
    const fv_shape shape = fv_emit_info(b->graph, b->node->in[0])->shape;
    b->din[0] = fv_emit_reshape(b->graph, b->dout[0], &shape);
    return FV_OK;
}

const fv_op fv_op_reshape = {"reshape", 1, 1, 1, FV_OP_IN_PLACE | FV_OP_PLAIN, reshape_infer, reshape_plan, reshape_backward};
