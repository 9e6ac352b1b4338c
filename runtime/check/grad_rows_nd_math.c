/* General tensors: element-wise operators with broadcasting, softmax, products, moments, windows of any rank. */
#include "check/grad_draw.h"
#include "graph/graph.h"
#include "ops/nd_matrix.h"
#include "ops/nd_pointwise.h"
#include "ops/nd_window.h"

static fv_value node(fv_grad_draw *d, const fv_op *op, fv_value x, fv_value y, const fv_nd_attr *a) {
    const fv_attributes attr = {.nd = *a};
    const fv_value in[2] = {x, y};
    return fv_graph_node(fv_grad_graph(d), op, NULL, in, y == FV_NONE ? 1 : 2, 1, &attr);
}

static fv_value input(fv_grad_draw *d, fv_grad_values values, int32_t rank, int64_t a, int64_t b, int64_t c) {
    const int64_t shape[4] = {0, a, b, c};
    return fv_grad_input(d, values, 2, rank, shape);
}

/* Either operand is stretched on its map or row axes, or has the other's shape. */
ROW(binary) {
    static const int32_t kinds[] = {FV_ND_ADD, FV_ND_SUB, FV_ND_MUL, FV_ND_LEAST, FV_ND_LARGEST, FV_ND_PRELU};
    const int64_t a = between(d, 1, 9), b = between(d, 1, 5), c = between(d, 1, 5);
    const bool first = chance(d, 0.5), narrow = chance(d, 0.6);
    const fv_value x = input(d, FV_GRAD_SPACED, 4, a, b, c), y = input(d, FV_GRAD_SPACED, 4, chance(d, 0.5) ? a : 1, narrow ? 1 : b, narrow ? 1 : c);
    const fv_nd_attr attr = {.kind = kinds[between(d, 0, 5)]};
    fv_grad_output(d, node(d, &fv_op_nd_binary, first ? x : y, first ? y : x, &attr));
}

/* Of numbers of at least 1, where quotients and powers are smooth. */
ROW(quotient) {
    const fv_nd_attr raise = {.kind = FV_ND_LINEAR, .alpha = 0.125, .beta = 2}, attr = {.kind = chance(d, 0.5) ? FV_ND_DIV : FV_ND_POW};
    const int64_t a = between(d, 1, 9), b = between(d, 1, 5);
    const fv_value x = node(d, &fv_op_nd_unary, input(d, FV_GRAD_UNIFORM, 3, a, b, 0), FV_NONE, &raise);
    const fv_value y = node(d, &fv_op_nd_unary, input(d, FV_GRAD_UNIFORM, 3, chance(d, 0.5) ? a : 1, b, 0), FV_NONE, &raise);
    fv_grad_output(d, node(d, &fv_op_nd_binary, x, y, &attr));
}

ROW(unary) {
    static const int32_t kinds[] = {FV_ND_NEG, FV_ND_EXP, FV_ND_SIN, FV_ND_COS, FV_ND_ATAN, FV_ND_SINH, FV_ND_COSH, FV_ND_TANH, FV_ND_ASINH,
                                    FV_ND_ERF, FV_ND_SIGMOID, FV_ND_SOFTPLUS, FV_ND_MISH, FV_ND_GELU, FV_ND_GELU_TANH, FV_ND_LINEAR};
    const fv_nd_attr attr = {.kind = kinds[between(d, 0, 15)], .alpha = 0.75, .beta = 0.5};
    fv_grad_output(d, node(d, &fv_op_nd_unary, maps_or_vector(d, FV_GRAD_UNIFORM), FV_NONE, &attr));
}

ROW(softmax) {
    const fv_nd_attr attr = {.kind = chance(d, 0.5) ? FV_ND_SOFTMAX : FV_ND_LOG_SOFTMAX, .mode = between(d, 1, 2), .count = 1};
    fv_grad_output(d, node(d, &fv_op_nd_softmax, input(d, FV_GRAD_UNIFORM, 4, between(d, 2, 9), between(d, 2, 5), between(d, 1, 5)), FV_NONE, &attr));
}

ROW(matmul) {
    const int64_t m = between(d, 1, 9), k = between(d, 1, 9), n = between(d, 1, 9);
    const int32_t mode = between(d, 0, 3);
    const fv_nd_attr attr = {.mode = mode};
    const fv_value a = input(d, FV_GRAD_UNIFORM, 3, mode & 1 ? k : m, mode & 1 ? m : k, 0);
    const fv_value b = input(d, FV_GRAD_UNIFORM, 3, mode & 2 ? n : k, mode & 2 ? k : n, 0);
    fv_grad_output(d, node(d, &fv_op_nd_matmul, a, b, &attr));
}

/* x less its mean, over the deviation. */
ROW(normal) {
    const fv_nd_attr axes = {.mode = between(d, 0, 1) ? 12 : 8, .keep = true}, less = {.kind = FV_ND_SUB}, root = {.kind = FV_ND_RSQRT, .alpha = 0.1},
                     times = {.kind = FV_ND_MUL};
    const fv_value x = input(d, FV_GRAD_UNIFORM, 4, between(d, 1, 9), between(d, 2, 5), between(d, 4, 6));
    const fv_attributes attr = {.nd = axes};
    const fv_value mean = fv_graph_node(fv_grad_graph(d), &fv_op_nd_moments, NULL, &x, 1, 2, &attr);
    const fv_value factor = node(d, &fv_op_nd_unary, mean == FV_NONE ? FV_NONE : mean + 1, FV_NONE, &root);
    fv_grad_output(d, node(d, &fv_op_nd_binary, node(d, &fv_op_nd_binary, x, mean, &less), factor, &times));
}

static fv_nd_window draw_window(fv_grad_draw *d) {
    fv_nd_window w = {.axes = 1};
    w.kernel[0] = between(d, 1, 3);
    w.stride[0] = between(d, 1, 2);
    w.dilation[0] = between(d, 1, 2);
    w.before[0] = between(d, 0, (int32_t)w.kernel[0] - 1);
    w.after[0] = between(d, 0, (int32_t)w.kernel[0] - 1);
    return w;
}

ROW(pool) {
    const fv_nd_window w = draw_window(d);
    fv_nd_attr attr = {.kind = between(d, 0, 2), .flag = chance(d, 0.5), .alpha = 2};
    fv_nd_window_put(&w, &attr);
    fv_grad_output(d, node(d, &fv_op_nd_pool, input(d, FV_GRAD_SPACED, 3, between(d, 1, 4), between(d, 5, 9), 0), FV_NONE, &attr));
}

const fv_grad_row fv_grad_rows_nd_math[] = {
    {"nd.binary", build_binary},   {"nd.quotient", build_quotient}, {"nd.unary", build_unary}, {"nd.softmax", build_softmax},
    {"nd.matmul", build_matmul},   {"nd.normal", build_normal},     {"nd.pool", build_pool},   {NULL, NULL},
};
