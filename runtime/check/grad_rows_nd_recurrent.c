/* Recurrent layers: every kind, direction, option and optional input; of two steps or more, as one alone reads no
 * state. */
#include "check/grad_draw.h"
#include "graph/graph.h"
#include "ops/nd_recurrent.h"

static fv_value parameter(fv_grad_draw *d, const char *name, int32_t rank, int64_t a, int64_t b, int64_t c) {
    const int64_t shape[3] = {a, b, c};
    return fv_graph_parameter(fv_grad_graph(d), name, rank, shape, NULL, FV_INIT_HE, true);
}

/* x (N,T,I) as it is, or turned to (T,N,I). */
static fv_value sequence(fv_grad_draw *d, bool batch_first, int64_t steps, int64_t inputs) {
    const int64_t shape[3] = {0, steps, inputs};
    const fv_attributes turn = {.nd = {.count = 3, .a = {1, 0, 2}}};
    const fv_value x = fv_grad_input(d, FV_GRAD_UNIFORM, 2, 3, shape);
    return batch_first ? x : fv_graph_node(fv_grad_graph(d), &fv_op_transpose, NULL, &x, 1, 1, &turn);
}

/* A state (N,D,H), or (D,N,H). */
static fv_value state(fv_grad_draw *d, bool batch_first, int64_t directions, int64_t hidden) {
    return sequence(d, batch_first, directions, hidden);
}

static void build_cell(fv_grad_draw *d, fv_nd_cell kind) {
    static const fv_nd_activation smooth[] = {FV_ND_ACT_SIGMOID, FV_ND_ACT_TANH, FV_ND_ACT_SOFTSIGN,
                                              FV_ND_ACT_SOFTPLUS};
    const int64_t hidden = between(d, 1, 5), inputs = between(d, 1, 5), steps = between(d, 2, 4),
                  mode = between(d, 0, 2);
    const int64_t rows = (kind == FV_ND_RNN ? 1 : kind == FV_ND_GRU ? 3 : 4) * hidden, directions = mode == 2 ? 2 : 1;
    fv_attributes attr = {
        .nd = {.kind = kind, .mode = (int32_t)mode, .count = (int32_t)hidden, .flag = chance(d, 0.5)}};
    attr.nd.keep = chance(d, 0.5);
    for (int i = 0; i < 6; i++)
        attr.nd.a[i] = chance(d, 0.7) ? (i % 3 == 0 ? FV_ND_ACT_SIGMOID : FV_ND_ACT_TANH) : smooth[between(d, 0, 3)];
    const fv_value in[8] = {sequence(d, attr.nd.keep, steps, inputs),
                            parameter(d, "w", 3, directions, rows, inputs),
                            parameter(d, "r", 3, directions, rows, hidden),
                            chance(d, 0.7) ? parameter(d, "b", 2, directions, 2 * rows, 0) : FV_NONE,
                            FV_NONE,
                            chance(d, 0.5) ? state(d, attr.nd.keep, directions, hidden) : FV_NONE,
                            kind == FV_ND_LSTM && chance(d, 0.5) ? state(d, attr.nd.keep, directions, hidden) : FV_NONE,
                            kind == FV_ND_LSTM && chance(d, 0.5) ? parameter(d, "p", 2, directions, 3 * hidden, 0)
                                                                 : FV_NONE};
    const int32_t outs = kind == FV_ND_LSTM ? 3 : 2;
    const fv_value y = fv_graph_node(fv_grad_graph(d), &fv_op_nd_recurrent, NULL, in, 8, outs, &attr);
    const int32_t first = between(d, 0, outs - 1);
    for (int32_t i = 0; i < outs && y != FV_NONE; i++)
        if (i == first || chance(d, 0.5)) fv_grad_output(d, y + i);
}
ROW(rnn) { build_cell(d, FV_ND_RNN); }
ROW(gru) { build_cell(d, FV_ND_GRU); }
ROW(lstm) { build_cell(d, FV_ND_LSTM); }

/* Lengths are constant, the batch is not: the batch is summed up to one row. */
ROW(lengths) {
    const int64_t hidden = between(d, 1, 4), inputs = between(d, 1, 4), steps = between(d, 2, 5);
    const int32_t length = between(d, 2, (int32_t)steps);
    const fv_shape one = {1, {1}};
    const fv_attributes sum = {.nd = {.kind = FV_ND_SUM, .keep = true, .count = 1, .a = {0}}};
    const fv_attributes attr = {.nd = {.kind = FV_ND_GRU,
                                       .mode = between(d, 0, 2),
                                       .count = (int32_t)hidden,
                                       .keep = true,
                                       .a = {FV_ND_ACT_SIGMOID, FV_ND_ACT_TANH, 0, FV_ND_ACT_SIGMOID, FV_ND_ACT_TANH}}};
    const int64_t directions = attr.nd.mode == 2 ? 2 : 1;
    const fv_value x = sequence(d, true, steps, inputs);
    const fv_value in[5] = {fv_graph_node(fv_grad_graph(d), &fv_op_reduce, NULL, &x, 1, 1, &sum),
                            parameter(d, "w", 3, directions, 3 * hidden, inputs),
                            parameter(d, "r", 3, directions, 3 * hidden, hidden), FV_NONE,
                            fv_graph_constant(fv_grad_graph(d), NULL, FV_I32, &one, &length)};
    const fv_value y = fv_graph_node(fv_grad_graph(d), &fv_op_nd_recurrent, NULL, in, 5, 2, &attr);
    fv_grad_output(d, y);
    if (y != FV_NONE) fv_grad_output(d, y + 1);
}

const fv_grad_row fv_grad_rows_nd_recurrent[] = {
    {"nd.rnn", build_rnn}, {"nd.gru", build_gru}, {"nd.lstm", build_lstm}, {"nd.lengths", build_lengths}, {NULL, NULL},
};
