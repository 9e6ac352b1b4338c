/* General tensors: element-wise operators with broadcasting, softmax, products, moments, windows of any rank. */
#include "check/grad_draw.h"
#include "graph/graph.h"
#include "ops/nd_loss.h"
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
    const fv_value x = input(d, FV_GRAD_SPACED, 4, a, b, c),
                   y = input(d, FV_GRAD_SPACED, 4, chance(d, 0.5) ? a : 1, narrow ? 1 : b, narrow ? 1 : c);
    const fv_nd_attr attr = {.kind = kinds[between(d, 0, 5)]};
    fv_grad_output(d, node(d, &fv_op_nd_binary, first ? x : y, first ? y : x, &attr));
}

/* Of numbers of at least 1, where quotients and powers are smooth. */
ROW(quotient) {
    const fv_nd_attr raise = {.kind = FV_ND_LINEAR, .alpha = 0.125, .beta = 2},
                     attr = {.kind = chance(d, 0.5) ? FV_ND_DIV : FV_ND_POW};
    const int64_t a = between(d, 1, 9), b = between(d, 1, 5);
    const fv_value x = node(d, &fv_op_nd_unary, input(d, FV_GRAD_UNIFORM, 3, a, b, 0), FV_NONE, &raise);
    const fv_value y =
        node(d, &fv_op_nd_unary, input(d, FV_GRAD_UNIFORM, 3, chance(d, 0.5) ? a : 1, b, 0), FV_NONE, &raise);
    fv_grad_output(d, node(d, &fv_op_nd_binary, x, y, &attr));
}

ROW(unary) {
    static const int32_t kinds[] = {FV_ND_NEG,  FV_ND_EXP,  FV_ND_SIN,       FV_ND_COS,   FV_ND_ATAN,    FV_ND_SINH,
                                    FV_ND_COSH, FV_ND_TANH, FV_ND_ASINH,     FV_ND_ERF,   FV_ND_SIGMOID, FV_ND_SOFTPLUS,
                                    FV_ND_MISH, FV_ND_GELU, FV_ND_GELU_TANH, FV_ND_LINEAR};
    const fv_nd_attr attr = {.kind = kinds[between(d, 0, 15)], .alpha = 0.75, .beta = 0.5};
    fv_grad_output(d, node(d, &fv_op_nd_unary, maps_or_vector(d, FV_GRAD_UNIFORM), FV_NONE, &attr));
}

ROW(softmax) {
    const fv_nd_attr attr = {
        .kind = chance(d, 0.5) ? FV_ND_SOFTMAX : FV_ND_LOG_SOFTMAX, .mode = between(d, 1, 2), .count = 1};
    fv_grad_output(d, node(d, &fv_op_nd_softmax,
                           input(d, FV_GRAD_UNIFORM, 4, between(d, 2, 9), between(d, 2, 5), between(d, 1, 5)), FV_NONE,
                           &attr));
}

ROW(matmul) {
    const int64_t m = between(d, 1, 9), k = between(d, 1, 9), n = between(d, 1, 9);
    const int32_t mode = between(d, 0, 3);
    const fv_nd_attr attr = {.mode = mode};
    const fv_value a = input(d, FV_GRAD_UNIFORM, 3, mode & 1 ? k : m, mode & 1 ? m : k, 0);
    const fv_value b = input(d, FV_GRAD_UNIFORM, 3, mode & 2 ? n : k, mode & 2 ? k : n, 0);
    fv_grad_output(d, node(d, &fv_op_nd_matmul, a, b, &attr));
}

/* A vector on either side, of which the batch was summed to one, and matrices (N,k,n) or (N,m,k) on the other. */
ROW(matvec) {
    const bool left = chance(d, 0.5);
    const int64_t k = between(d, 1, 9), n = between(d, 1, 9);
    const fv_attributes attr = {.nd = {0}}, sum = {.nd = {.kind = FV_ND_SUM, .count = 1, .a = {0}}};
    const fv_value v = input(d, FV_GRAD_UNIFORM, 2, k, 0, 0),
                   m = input(d, FV_GRAD_UNIFORM, 3, left ? k : n, left ? n : k, 0);
    const fv_value vector = fv_graph_node(fv_grad_graph(d), &fv_op_reduce, NULL, &v, 1, 1, &sum),
                   in[2] = {left ? vector : m, left ? m : vector};
    fv_grad_output(d, fv_graph_node(fv_grad_graph(d), &fv_op_nd_matmul, NULL, in, 2, 1, &attr));
}

/* Elements go to one of two places each; the batch is summed up first, as indices are constant. */
ROW(unpool) {
    const int64_t a = between(d, 1, 3), b = between(d, 1, 9);
    const fv_shape shape = {3, {1, a, b}};
    const fv_attributes sum = {.nd = {.kind = FV_ND_SUM, .keep = true, .count = 1, .a = {0}}},
                        attr = {.nd = {.count = 3, .a = {1, a, 2 * b + 1}, .b = {1, a, 2 * b}}};
    int64_t index[27];
    for (int64_t i = 0; i < a * b; i++) index[i] = 2 * i + between(d, 0, 1);
    const fv_value x = input(d, FV_GRAD_UNIFORM, 3, a, b, 0);
    const fv_value in[2] = {fv_graph_node(fv_grad_graph(d), &fv_op_reduce, NULL, &x, 1, 1, &sum),
                            fv_graph_constant(fv_grad_graph(d), NULL, FV_I64, &shape, index)};
    fv_grad_output(d, fv_graph_node(fv_grad_graph(d), &fv_op_nd_unpool, NULL, in, 2, 1, &attr));
}

/* Mean and variance that leave their axes. */
ROW(moments) {
    const fv_attributes attr = {.nd = {.mode = between(d, 1, 3) << 1, .keep = chance(d, 0.3)}};
    const fv_value x = input(d, FV_GRAD_UNIFORM, 3, between(d, 2, 5), between(d, 2, 5), 0);
    const fv_value mean = fv_graph_node(fv_grad_graph(d), &fv_op_nd_moments, NULL, &x, 1, 2, &attr);
    fv_grad_output(d, mean);
    if (mean != FV_NONE) fv_grad_output(d, mean + 1);
}

/* x less its mean, over the deviation. */
ROW(normal) {
    const fv_nd_attr axes = {.mode = between(d, 0, 1) ? 12 : 8, .keep = true}, less = {.kind = FV_ND_SUB},
                     root = {.kind = FV_ND_RSQRT, .alpha = 0.1}, times = {.kind = FV_ND_MUL};
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
    fv_grad_output(
        d, node(d, &fv_op_nd_pool, input(d, FV_GRAD_SPACED, 3, between(d, 1, 4), between(d, 5, 9), 0), FV_NONE, &attr));
}

/* Layers over 1 to 3 axes, grouped or not, with weights and a bias of their own: out (C) and, of the transposed one,
 * its sizes. */
static void build_layer(fv_grad_draw *d, const fv_op *op) {
    const bool up = op == &fv_op_nd_conv_transpose;
    const int32_t axes = between(d, 1, 3), groups = between(d, 1, 2), in = groups * between(d, 1, 3),
                  out = groups * between(d, 1, 3);
    fv_nd_window w = {.axes = axes};
    fv_attributes attr = {.nd = {.kind = groups}};
    int64_t shape[5] = {0, in}, weights[5] = {up ? in : out, (up ? out : in) / groups}, bias[1] = {out};
    for (int32_t i = 0; i < axes; i++) {
        const int32_t kernel = between(d, 1, 3), dilation = between(d, 1, 2), reach = dilation * (kernel - 1) + 1;
        w.kernel[i] = weights[2 + i] = kernel;
        w.dilation[i] = dilation;
        w.stride[i] = between(d, 1, 2);
        w.before[i] = between(d, 0, reach / 2);
        w.after[i] = between(d, 0, reach / 2);
        shape[2 + i] = between(d, 1, 4) + (up ? 1 : reach - 1);
        attr.nd.c[4 + i] = up ? (shape[2 + i] - 1) * w.stride[i] + reach - w.before[i] - w.after[i] +
                                    between(d, 0, (int32_t)w.stride[i] - 1)
                              : 0;
    }
    fv_nd_window_put(&w, &attr.nd);
    fv_graph *g = fv_grad_graph(d);
    const int32_t inputs = between(d, 2, 3);
    const fv_value x[3] = {fv_grad_input(d, FV_GRAD_UNIFORM, 2, axes + 2, shape),
                           fv_graph_parameter(g, "layer.weight", axes + 2, weights, NULL, FV_INIT_HE, true),
                           inputs == 3 ? fv_graph_parameter(g, "layer.bias", 1, bias, NULL, FV_INIT_ZEROS, true)
                                       : FV_NONE};
    fv_grad_output(d, fv_graph_node(g, op, NULL, x, inputs, 1, &attr));
}
ROW(conv) { build_layer(d, &fv_op_nd_conv); }
ROW(conv_transpose) { build_layer(d, &fv_op_nd_conv_transpose); }

/* Chosen by constants, rows or single elements; either choice is stretched on its axes or not. */
ROW(where) {
    const int64_t a = between(d, 2, 5), b = between(d, 2, 5);
    const fv_shape rows = {3, {1, a, chance(d, 0.5) ? b : 1}};
    uint8_t chosen[25];
    for (int i = 0; i < 25; i++) chosen[i] = i < 2 ? (uint8_t)i : chance(d, 0.5);
    const fv_value in[3] = {fv_graph_constant(fv_grad_graph(d), NULL, FV_BOOL, &rows, chosen),
                            input(d, FV_GRAD_UNIFORM, 3, a, b, 0),
                            input(d, FV_GRAD_UNIFORM, 3, chance(d, 0.5) ? a : 1, b, 0)};
    const fv_attributes attr = {.nd = {0}};
    fv_grad_output(d, fv_graph_node(fv_grad_graph(d), &fv_op_nd_where, NULL, in, 3, 1, &attr));
}

/* To the type that it has. */
ROW(cast) {
    const fv_nd_attr attr = {.dtype = FV_REAL_DTYPE};
    fv_grad_output(d, node(d, &fv_op_nd_cast, maps_or_vector(d, FV_GRAD_UNIFORM), FV_NONE, &attr));
}

/* Targets are constant, the batch is not: the batch is summed up first. One of the classes may be ignored, all may have
 * weights. */
ROW(nll) {
    const int64_t classes = between(d, 2, 5), size = between(d, 2, 6);
    const fv_shape places = {2, {1, size}}, each = {1, {classes}};
    const fv_attributes sum = {.nd = {.kind = FV_ND_SUM, .keep = true, .count = 1, .a = {0}}};
    const fv_attributes attr = {.nd = {.mode = between(d, 0, 2), .flag = chance(d, 0.5), .a = {classes - 1}}};
    int32_t target[6];
    fv_real weight[5];
    fv_graph *g = fv_grad_graph(d);
    for (int i = 0; i < 6; i++) target[i] = i == 0 ? 0 : between(d, 0, (int32_t)classes - 1);
    for (int i = 0; i < 5; i++) weight[i] = check_uniform(fv_grad_random(d), 0.5f, 2);
    const fv_value x = input(d, FV_GRAD_UNIFORM, 3, classes, size, 0);
    const fv_value in[3] = {fv_graph_node(g, &fv_op_reduce, NULL, &x, 1, 1, &sum),
                            fv_graph_constant(g, NULL, FV_I32, &places, target),
                            fv_graph_constant(g, NULL, FV_REAL_DTYPE, &each, weight)};
    fv_grad_output(d, fv_graph_node(g, &fv_op_nd_nll, NULL, in, between(d, 2, 3), 1, &attr));
}

const fv_grad_row fv_grad_rows_nd_math[] = {
    {"nd.binary", build_binary}, {"nd.quotient", build_quotient},
    {"nd.unary", build_unary},   {"nd.softmax", build_softmax},
    {"nd.matmul", build_matmul}, {"nd.matvec", build_matvec},
    {"nd.unpool", build_unpool}, {"nd.moments", build_moments},
    {"nd.normal", build_normal}, {"nd.pool", build_pool},
    {"nd.conv", build_conv},     {"nd.conv_transpose", build_conv_transpose},
    {"nd.where", build_where},   {"nd.cast", build_cast},
    {"nd.nll", build_nll},       {NULL, NULL},
};
