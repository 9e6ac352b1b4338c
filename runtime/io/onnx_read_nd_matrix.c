/* Softmax over any axis, products of matrices. */
#include "io/onnx_nd.h"
#include "ops/nd_matrix.h"

#include <string.h>

/* Before version 13 everything from the axis on is one row. */
static fv_status read_softmax(fv_onnx_reader *r, const FvOnnx__Node *n) {
    fv_value x;
    int32_t axis;
    FV_FORWARD(fv_onnx_value(r, n, 0, &x));
    const int32_t rank = fv_onnx_shape(r, x)->rank;
    const bool one = r->opset >= 13;
    FV_FORWARD(fv_nd_axis(fv_onnx_node_name(n), fv_onnx_attribute_int(n, "axis", one ? -1 : 1), rank, !one, &axis));
    const int32_t kind = n->op_type[0] == 'S' ? FV_ND_SOFTMAX : n->op_type[0] == 'L' ? FV_ND_LOG_SOFTMAX : FV_ND_HARDMAX;
    const fv_attributes attr = {.nd = {.kind = kind, .mode = axis, .count = one ? 1 : rank - axis}};
    return fv_onnx_done(r, n, fv_graph_node(r->graph, &fv_op_nd_softmax, fv_onnx_node_name(n), &x, 1, 1, &attr));
}

static fv_value matmul(fv_onnx_reader *r, fv_value a, fv_value b, int32_t mode, const char *name) {
    const fv_value in[2] = {a, b};
    const fv_attributes attr = {.nd = {.mode = mode}};
    return fv_graph_node(r->graph, &fv_op_nd_matmul, name, in, 2, 1, &attr);
}

static fv_status read_matmul(fv_onnx_reader *r, const FvOnnx__Node *n) {
    fv_value a, b;
    FV_FORWARD(fv_onnx_value(r, n, 0, &a));
    FV_FORWARD(fv_onnx_value(r, n, 1, &b));
    return fv_onnx_done(r, n, matmul(r, a, b, 0, fv_onnx_node_name(n)));
}

static fv_value scaled(fv_onnx_reader *r, fv_value x, float factor) {
    return factor == 1 || x == FV_NONE ? x : fv_onnx_unary(r, FV_ND_LINEAR, x, factor, 0, NULL);
}

static fv_status read_gemm(fv_onnx_reader *r, const FvOnnx__Node *n) {
    const int32_t mode = (fv_onnx_attribute_int(n, "transA", 0) != 0) | (fv_onnx_attribute_int(n, "transB", 0) != 0) << 1;
    const float alpha = fv_onnx_attribute_float(n, "alpha", 1), beta = fv_onnx_attribute_float(n, "beta", 1);
    fv_value a, b, c;
    FV_FORWARD(fv_onnx_value(r, n, 0, &a));
    FV_FORWARD(fv_onnx_value(r, n, 1, &b));
    FV_FORWARD(fv_onnx_optional(r, n, 2, &c));
    FV_ONNX_REFUSE_IF(fv_onnx_shape(r, a)->rank != 2 || fv_onnx_shape(r, b)->rank != 2, n, "factors of rank %d and %d; it takes matrices",
                      fv_onnx_shape(r, a)->rank, fv_onnx_shape(r, b)->rank);
    if (beta == 0) c = FV_NONE;
    const bool plain = c == FV_NONE && alpha == 1;
    fv_value y = scaled(r, matmul(r, a, b, mode, plain ? fv_onnx_node_name(n) : NULL), alpha);
    if (c != FV_NONE) y = fv_onnx_binary(r, FV_ND_ADD, y, scaled(r, c, beta), 0, fv_onnx_node_name(n));
    return fv_onnx_done(r, n, y);
}

/* Whole numbers less their zero points, as int32; one zero point a row of a or a column of b. */
static fv_status centred(fv_onnx_reader *r, const FvOnnx__Node *n, size_t i, size_t zero, int32_t trailing, fv_value *out) {
    fv_value x, point;
    FV_FORWARD(fv_onnx_value(r, n, i, &x));
    FV_FORWARD(fv_onnx_optional(r, n, zero, &point));
    FV_FORWARD(fv_onnx_check_point(r, n, x, point));
    *out = fv_onnx_cast(r, x, FV_I32, NULL);
    if (point == FV_NONE) return fv_graph_status(r->graph);
    if (fv_onnx_shape(r, point)->rank != 1 || fv_onnx_shape(r, point)->dim[0] == 1) trailing = 0;
    *out = fv_onnx_binary(r, FV_ND_SUB, *out, fv_onnx_cast(r, point, FV_I32, NULL), trailing, NULL);
    return fv_graph_status(r->graph);
}

static fv_status read_matmul_integer(fv_onnx_reader *r, const FvOnnx__Node *n) {
    fv_value a, b;
    FV_FORWARD(centred(r, n, 0, 2, 1, &a));
    FV_FORWARD(centred(r, n, 1, 3, 0, &b));
    return fv_onnx_done(r, n, matmul(r, a, b, 0, fv_onnx_node_name(n)));
}

const fv_onnx_read_row fv_onnx_read_nd_matrix[] = {
    {"Softmax", read_softmax}, {"LogSoftmax", read_softmax}, {"Hardmax", read_softmax},
    {"MatMul", read_matmul},   {"Gemm", read_gemm},          {"MatMulInteger", read_matmul_integer},
    {NULL, NULL},
};
