/* Shapes changed, axes moved, values joined and cut: general tensors. */
#include "io/onnx_nd.h"

#include <string.h>

static fv_status reshaped(fv_onnx_reader *r, const FvOnnx__Node *n, fv_value x, const fv_shape *y) {
    fv_attributes attr = {.nd = {.count = y->rank}};
    memcpy(attr.nd.a, y->dim, sizeof y->dim);
    for (int32_t i = 1; i < y->rank; i++) attr.nd.flag = attr.nd.flag || y->dim[i] == 0; /* an empty first axis is x's */
    return fv_onnx_node_of(r, n, &fv_op_reshape, x, &attr);
}

static fv_status read_reshape(fv_onnx_reader *r, const FvOnnx__Node *n) {
    fv_value x;
    fv_onnx_list shape;
    FV_FORWARD(fv_onnx_value(r, n, 0, &x));
    FV_FORWARD(fv_onnx_list_of(r, n, r->opset < 5 ? "shape" : NULL, 1, &shape));
    FV_ONNX_REFUSE_IF(!shape.given || shape.count > FV_MAX_RANK, n, "it needs a shape of at most %d axes", FV_MAX_RANK);
    fv_attributes attr = {.nd = {.count = shape.count, .flag = fv_onnx_attribute_int(n, "allowzero", 0) != 0}};
    memcpy(attr.nd.a, shape.value, sizeof attr.nd.a);
    return fv_onnx_node_of(r, n, &fv_op_reshape, x, &attr);
}

static fv_status read_flatten(fv_onnx_reader *r, const FvOnnx__Node *n) {
    fv_value x;
    FV_FORWARD(fv_onnx_value(r, n, 0, &x));
    const fv_value_info *info = fv_emit_info(r->graph, x);
    const fv_shape shape = info->shape;
    const bool layer = info->dtype == FV_REAL_DTYPE && info->kind != FV_VALUE_PARAMETER;
    const int64_t given = fv_onnx_attribute_int(n, "axis", 1);
    FV_ONNX_REFUSE_IF(given < -shape.rank || given > shape.rank, n, "axis %lld of a tensor of rank %d", (long long)given,
                      shape.rank);
    const int32_t axis = (int32_t)(given < 0 ? given + shape.rank : given);
    if (axis == 1 && shape.rank == 2) return fv_onnx_done(r, n, x);
    if (axis == 1 && shape.rank == 4 && layer) return fv_onnx_done(r, n, fv_graph_flatten(r->graph, x, fv_onnx_node_name(n)));
    fv_shape y = {2, {1, 1}};
    for (int32_t i = 0; i < shape.rank; i++) y.dim[i >= axis] *= shape.dim[i];
    return reshaped(r, n, x, &y);
}

static fv_status read_squeeze(fv_onnx_reader *r, const FvOnnx__Node *n) {
    fv_value x;
    fv_onnx_list axes;
    FV_FORWARD(fv_onnx_value(r, n, 0, &x));
    const fv_shape shape = *fv_onnx_shape(r, x);
    FV_FORWARD(fv_onnx_axes(r, n, "axes", 1, shape.rank, &axes));
    unsigned gone = 0;
    for (int32_t i = 0; i < axes.count; i++) gone |= 1u << axes.value[i];
    fv_shape y = {0};
    for (int32_t i = 0; i < shape.rank; i++) {
        const bool drop = axes.given ? gone >> i & 1 : shape.dim[i] == 1;
        FV_ONNX_REFUSE_IF(drop && shape.dim[i] != 1, n, "axis %d has size %lld", i, (long long)shape.dim[i]);
        if (!drop) y.dim[y.rank++] = shape.dim[i];
    }
    return reshaped(r, n, x, &y);
}

static fv_status read_unsqueeze(fv_onnx_reader *r, const FvOnnx__Node *n) {
    fv_value x;
    fv_onnx_list axes;
    unsigned fresh = 0;
    FV_FORWARD(fv_onnx_value(r, n, 0, &x));
    FV_FORWARD(fv_onnx_list_of(r, n, "axes", 1, &axes));
    const fv_shape shape = *fv_onnx_shape(r, x);
    fv_shape y = {.rank = shape.rank + axes.count};
    FV_ONNX_REFUSE_IF(!axes.given || y.rank > FV_MAX_RANK, n, "a tensor of rank %d", y.rank);
    FV_FORWARD(fv_onnx_axes(r, n, "axes", 1, y.rank, &axes));
    for (int32_t i = 0; i < axes.count; i++) fresh |= 1u << axes.value[i];
    for (int32_t i = 0, at = 0; i < y.rank; i++) y.dim[i] = fresh >> i & 1 ? 1 : shape.dim[at++];
    return reshaped(r, n, x, &y);
}

static fv_status read_transpose(fv_onnx_reader *r, const FvOnnx__Node *n) {
    fv_value x;
    const FvOnnx__Attribute *perm = fv_onnx_attribute(n, "perm");
    FV_FORWARD(fv_onnx_value(r, n, 0, &x));
    const int32_t rank = fv_onnx_shape(r, x)->rank;
    fv_attributes attr = {.nd = {.count = rank}};
    FV_ONNX_REFUSE_IF(perm && perm->n_ints != (size_t)rank, n, "%zu axes for a tensor of rank %d", perm->n_ints, rank);
    for (int32_t i = 0; i < rank; i++) attr.nd.a[i] = perm ? perm->ints[i] : rank - 1 - i;
    return fv_onnx_node_of(r, n, &fv_op_transpose, x, &attr);
}

/* ---- joins and cuts ---- */

static fv_status read_concat(fv_onnx_reader *r, const FvOnnx__Node *n) {
    fv_value *parts = NULL, x;
    int32_t axis = 0;
    FV_ONNX_REFUSE_IF(n->n_input < 1 || n->n_input > 65536, n, "%zu values to join", n->n_input);
    FV_FORWARD(fv_onnx_value(r, n, 0, &x));
    FV_FORWARD(fv_onnx_axis(n, "axis", r->opset < 4 ? 1 : 0, fv_onnx_shape(r, x)->rank, false, &axis));
    FV_FORWARD(fv_alloc_array(r->context, n->n_input, sizeof *parts, "a list of values", (void **)&parts));
    fv_status status = FV_OK;
    for (size_t i = 0; i < n->n_input && status == FV_OK; i++) status = fv_onnx_value(r, n, i, &parts[i]);
    const fv_attributes attr = {.nd = {.a = {axis}}};
    if (status == FV_OK)
        status = fv_onnx_done(
            r, n, fv_graph_node(r->graph, &fv_op_nd_concat, fv_onnx_node_name(n), parts, (int32_t)n->n_input, 1, &attr));
    fv_release(r->context, parts);
    return status;
}

/* Every axis as it is. */
static fv_attributes whole(const fv_shape *shape) {
    fv_attributes attr = {.nd = {.count = shape->rank}};
    for (int32_t i = 0; i < shape->rank; i++) attr.nd.c[i] = -1;
    return attr;
}

/* Part i of `count` along an axis of `size`: given, or equal ones of which the last may be smaller from operator set 18 on. */
static fv_status part_size(const fv_onnx_reader *r, const FvOnnx__Node *n, const fv_onnx_tensor *t, const FvOnnx__Attribute *a, size_t i,
                           int64_t size, int64_t left, int64_t *out) {
    const int64_t count = (int64_t)n->n_output, each = (size + count - 1) / count;
    FV_ONNX_REFUSE_IF(!t && !a && (r->opset < 18 ? size % count : size > 0 && (count - 1) * each >= size), n,
                      "an axis of size %lld is not cut into %lld equal parts", (long long)size, (long long)count);
    *out = t ? fv_onnx_tensor_int(t, i) : a ? a->ints[i] : each < left ? each : left;
    FV_ONNX_REFUSE_IF(*out < 0 || *out > left, n, "part %zu has size %lld of the %lld left of %lld", i, (long long)*out,
                      (long long)left, (long long)size);
    return FV_OK;
}

static fv_status read_split(fv_onnx_reader *r, const FvOnnx__Node *n) {
    fv_value x;
    int32_t axis;
    const fv_onnx_tensor *t;
    const FvOnnx__Attribute *a = r->opset < 13 ? fv_onnx_attribute(n, "split") : NULL;
    const int64_t outputs = fv_onnx_attribute_int(n, "num_outputs", (int64_t)n->n_output);
    FV_FORWARD(fv_onnx_value(r, n, 0, &x));
    FV_FORWARD(fv_onnx_constant(r, n, 1, &t));
    const fv_shape shape = *fv_onnx_shape(r, x);
    FV_FORWARD(fv_onnx_axis(n, "axis", 0, shape.rank, false, &axis));
    FV_ONNX_REFUSE_IF(n->n_output < 1 || outputs != (int64_t)n->n_output || (t && t->count != n->n_output) ||
                          (a && a->n_ints != n->n_output),
                      n, "%zu outputs do not agree with its sizes", n->n_output);
    int64_t at = 0;
    for (size_t i = 0; i < n->n_output; i++) {
        fv_attributes cut = whole(&shape);
        FV_FORWARD(part_size(r, n, t, a, i, shape.dim[axis], shape.dim[axis] - at, &cut.nd.c[axis]));
        cut.nd.a[axis] = at;
        cut.nd.b[axis] = 1;
        at += cut.nd.c[axis];
        if (!*n->output[i]) continue;
        const fv_value part = fv_graph_node(r->graph, &fv_op_nd_slice, n->output[i], &x, 1, 1, &cut);
        FV_FORWARD(fv_graph_status(r->graph));
        FV_FORWARD(fv_graph_name_value(r->graph, part, n->output[i], false));
        FV_FORWARD(fv_onnx_define(r, &(fv_onnx_name){.name = n->output[i], .value = part}));
    }
    FV_ONNX_REFUSE_IF(at != shape.dim[axis], n, "its parts have %lld together, axis %d has %lld", (long long)at, axis,
                      (long long)shape.dim[axis]);
    return FV_OK;
}

/* start, end and step as numpy has them, on an axis of `size`. */
static void cut_axis(fv_nd_attr *a, int32_t axis, int64_t size, int64_t start, int64_t end, int64_t step) {
    const int64_t low = step > 0 ? 0 : -1, high = step > 0 ? size : size - 1;
    if (start < 0) start = start < -size ? -1 : start + size;
    if (end < 0) end = end < -size ? -1 : end + size;
    start = start < 0 ? (step > 0 ? 0 : -1) : start > high ? high : start;
    end = end < low ? low : end > high ? high : end;
    const uint64_t length = step > 0 ? (start < end ? (uint64_t)(end - start) : 0) : (start > end ? (uint64_t)(start - end) : 0);
    const uint64_t stride = step > 0 ? (uint64_t)step : (uint64_t)0 - (uint64_t)step;
    a->c[axis] = length ? (int64_t)((length - 1) / stride + 1) : 0;
    a->a[axis] = start;
    a->b[axis] = a->c[axis] > 1 ? step : 1;
}

static fv_status read_slice(fv_onnx_reader *r, const FvOnnx__Node *n) {
    fv_value x;
    fv_onnx_list starts, ends, axes, steps;
    const bool old = r->opset < 10;
    FV_FORWARD(fv_onnx_value(r, n, 0, &x));
    const fv_shape shape = *fv_onnx_shape(r, x);
    FV_FORWARD(fv_onnx_list_of(r, n, old ? "starts" : NULL, 1, &starts));
    FV_FORWARD(fv_onnx_list_of(r, n, old ? "ends" : NULL, 2, &ends));
    FV_FORWARD(fv_onnx_axes(r, n, old ? "axes" : NULL, 3, shape.rank, &axes));
    FV_FORWARD(fv_onnx_list_of(r, n, NULL, 4, &steps));
    FV_ONNX_REFUSE_IF(!starts.given || !ends.given || starts.count != ends.count || (axes.given && axes.count != starts.count) ||
                          (steps.given && steps.count != starts.count) || starts.count > shape.rank,
                      n, "its lists differ in length");
    fv_attributes cut = whole(&shape);
    for (int32_t i = 0; i < starts.count; i++) {
        const int32_t axis = axes.given ? (int32_t)axes.value[i] : i;
        const int64_t step = steps.given ? steps.value[i] : 1;
        FV_ONNX_REFUSE_IF(step == 0, n, "a step of 0");
        cut_axis(&cut.nd, axis, shape.dim[axis], starts.value[i], ends.value[i], step);
    }
    return fv_onnx_node_of(r, n, &fv_op_nd_slice, x, &cut);
}

static fv_status read_expand(fv_onnx_reader *r, const FvOnnx__Node *n) {
    return fv_onnx_node_sized(r, n, &fv_op_expand, "a shape");
}

static fv_status read_blocks(fv_onnx_reader *r, const FvOnnx__Node *n) {
    const bool deep = strcmp(n->op_type, "DepthToSpace") == 0;
    fv_attributes attr = {
        .nd = {.kind = fv_onnx_text_is(n, "mode", "CRD", false), .a = {fv_onnx_attribute_int(n, "blocksize", 0)}}};
    return fv_onnx_node_over(r, n, deep ? &fv_op_depth_to_space : &fv_op_space_to_depth, 1, &attr);
}

const fv_onnx_read_row fv_onnx_read_nd_shape[] = {
    {"Reshape", read_reshape}, {"Concat", read_concat},       {"Split", read_split},         {"Slice", read_slice},
    {"Flatten", read_flatten}, {"Squeeze", read_squeeze},     {"Unsqueeze", read_unsqueeze}, {"Transpose", read_transpose},
    {"Expand", read_expand},   {"DepthToSpace", read_blocks}, {"SpaceToDepth", read_blocks}, {NULL, NULL},
};
