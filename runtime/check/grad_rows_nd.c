/* General tensors: shapes, axes, joins and cuts, reductions, gathers and scatters. */
#include "check/grad_draw.h"
#include "graph/graph.h"
#include "ops/nd_resize.h"

static fv_value node(fv_grad_draw *d, const fv_op *op, const fv_value *in, int32_t count, const fv_nd_attr *a) {
    const fv_attributes attr = {.nd = *a};
    return fv_graph_node(fv_grad_graph(d), op, NULL, in, count, 1, &attr);
}

/* A tensor of rank 2 to 5; axis 0 is the batch. */
static fv_value tensor(fv_grad_draw *d, fv_grad_values values, int32_t least_rank, int64_t shape[5], int32_t *rank) {
    *rank = between(d, least_rank, 5);
    shape[0] = 0;
    for (int32_t i = 1; i < *rank; i++) shape[i] = between(d, 1, 5);
    return fv_grad_input(d, values, 2, *rank, shape);
}

ROW(reshape) {
    int64_t shape[5];
    int32_t rank;
    const fv_value x = tensor(d, FV_GRAD_UNIFORM, 2, shape, &rank);
    fv_nd_attr a = {.count = between(d, 2, 4), .a = {0, 1, 1, 1}};
    a.a[between(d, 1, a.count - 1)] = -1;
    fv_grad_output(d, node(d, &fv_op_reshape, &x, 1, &a));
}

/* Turned, and turned again as maps. */
ROW(transpose) {
    int64_t shape[5];
    int32_t rank;
    const fv_value x = tensor(d, FV_GRAD_UNIFORM, 2, shape, &rank);
    fv_nd_attr a = {.count = rank};
    for (int32_t i = 0; i < rank; i++) {
        const int32_t k = between(d, 0, i);
        a.a[i] = a.a[k];
        a.a[k] = i;
    }
    const fv_value y = fv_graph_tanh(fv_grad_graph(d), node(d, &fv_op_transpose, &x, 1, &a), NULL);
    fv_grad_output(d, chance(d, 0.5) ? y : node(d, &fv_op_transpose, &y, 1, &a));
}

ROW(blocks) {
    const int64_t b = between(d, 1, 3), shape[4] = {0, b * b * between(d, 1, 4), b * between(d, 1, 3), b * between(d, 1, 3)};
    const fv_value x = fv_grad_input(d, FV_GRAD_UNIFORM, 2, 4, shape);
    const fv_nd_attr a = {.kind = chance(d, 0.5), .a = {b}};
    fv_grad_output(d, node(d, chance(d, 0.5) ? &fv_op_depth_to_space : &fv_op_space_to_depth, &x, 1, &a));
}

ROW(slice) {
    int64_t shape[5];
    int32_t rank;
    const fv_value x = tensor(d, FV_GRAD_UNIFORM, 2, shape, &rank);
    fv_nd_attr a = {.count = rank, .c = {-1}};
    for (int32_t i = 1; i < rank; i++) {
        const int32_t step = between(d, 1, 2), size = (int32_t)shape[i], count = between(d, 1, (size - 1) / step + 1);
        const int32_t first = between(d, 0, size - 1 - (count - 1) * step);
        const bool back = chance(d, 0.4);
        a.a[i] = back ? first + (count - 1) * step : first;
        a.b[i] = back ? -step : step;
        a.c[i] = chance(d, 0.3) ? -1 : count;
    }
    fv_grad_output(d, node(d, &fv_op_nd_slice, &x, 1, &a));
}

ROW(join) {
    fv_value parts[3];
    int64_t shape[5];
    int32_t rank;
    parts[0] = tensor(d, FV_GRAD_UNIFORM, 2, shape, &rank);
    const int32_t axis = between(d, 1, rank - 1);
    shape[axis] = between(d, 1, 5);
    parts[1] = fv_grad_input(d, FV_GRAD_UNIFORM, 2, rank, shape);
    parts[2] = chance(d, 0.5) ? parts[0] : parts[1];
    const fv_nd_attr a = {.a = {axis}};
    fv_grad_output(d, node(d, &fv_op_nd_concat, parts, between(d, 2, 3), &a));
}

ROW(expand) {
    int64_t shape[4] = {0};
    const int32_t rank = between(d, 1, 4), more = between(d, 0, 5 - rank);
    fv_nd_attr a = {.count = rank + more};
    for (int32_t i = 0; i < more; i++) a.a[i] = between(d, 1, 3);
    a.a[more] = 1;
    for (int32_t i = 1; i < rank; i++) {
        shape[i] = chance(d, 0.5) ? 1 : between(d, 1, 4);
        a.a[more + i] = chance(d, 0.5) ? 1 : shape[i] > 1 ? shape[i] : between(d, 1, 4);
    }
    const fv_value x = fv_grad_input(d, FV_GRAD_UNIFORM, 2, rank, shape);
    fv_grad_output(d, node(d, &fv_op_expand, &x, 1, &a));
}

static void build_reduce(fv_grad_draw *d, int32_t kind) {
    int64_t shape[5];
    int32_t rank;
    const bool positive = kind == FV_ND_LOG_SUM || kind == FV_ND_PROD;
    fv_value x = tensor(d, FV_GRAD_SPACED, 2, shape, &rank);
    if (positive) x = fv_graph_sigmoid(fv_grad_graph(d), x, NULL);
    fv_nd_attr a = {.kind = kind, .keep = chance(d, 0.5)};
    for (int32_t i = 1; i < rank; i++)
        if (chance(d, 0.5)) a.a[a.count++] = chance(d, 0.5) ? i : i - rank;
    if (a.count == 0) a.a[a.count++] = 1;
    fv_grad_output(d, node(d, &fv_op_reduce, &x, 1, &a));
}
ROW(reduce_sum) { build_reduce(d, FV_ND_SUM); }
ROW(reduce_mean) { build_reduce(d, FV_ND_MEAN); }
ROW(reduce_max) { build_reduce(d, FV_ND_MAX); }
ROW(reduce_min) { build_reduce(d, FV_ND_MIN); }
ROW(reduce_prod) { build_reduce(d, FV_ND_PROD); }
ROW(reduce_l1) { build_reduce(d, FV_ND_L1); }
ROW(reduce_l2) { build_reduce(d, FV_ND_L2); }
ROW(reduce_log_sum) { build_reduce(d, FV_ND_LOG_SUM); }
ROW(reduce_log_sum_exp) { build_reduce(d, FV_ND_LOG_SUM_EXP); }
ROW(reduce_sum_square) { build_reduce(d, FV_ND_SUM_SQUARE); }

/* Indices into an axis of `size`, some of them negative. */
static fv_value indices(fv_grad_draw *d, int32_t size, int32_t rank, const int64_t *dims) {
    int64_t data[64];
    fv_shape shape = {.rank = rank};
    int64_t count = 1;
    for (int32_t i = 0; i < rank; i++) count *= shape.dim[i] = dims[i];
    for (int64_t i = 0; i < count && i < 64; i++) data[i] = between(d, -size, size - 1);
    return fv_graph_constant(fv_grad_graph(d), NULL, FV_I64, &shape, data);
}

ROW(gather) {
    int64_t shape[5];
    int32_t rank;
    const fv_value x = tensor(d, FV_GRAD_UNIFORM, 2, shape, &rank);
    const int32_t axis = between(d, 1, rank - 1), wide = between(d, 0, 2);
    const int64_t dims[2] = {between(d, 1, 4), between(d, 1, 4)};
    const fv_value in[2] = {x, indices(d, (int32_t)shape[axis], wide, dims)};
    const fv_nd_attr a = {.a = {axis}};
    fv_grad_output(d, node(d, &fv_op_gather, in, 2, &a));
}

/* Indices are constant, the batch is not: the batch is summed up first. */
static fv_value summed(fv_grad_draw *d, int64_t shape[3]) {
    const fv_nd_attr sum = {.kind = FV_ND_SUM, .keep = true, .count = 1, .a = {0}};
    for (int32_t i = 0; i < 3; i++) shape[i] = i ? between(d, 2, 4) : 0;
    const fv_value x = fv_grad_input(d, FV_GRAD_UNIFORM, 2, 3, shape);
    shape[0] = 1;
    return node(d, &fv_op_reduce, &x, 1, &sum);
}

ROW(gather_elements) {
    int64_t shape[3];
    fv_value in[2] = {summed(d, shape)};
    const int64_t dims[3] = {1, between(d, 1, (int32_t)shape[1]), between(d, 1, 5)};
    const fv_nd_attr a = {.a = {2}};
    in[1] = indices(d, (int32_t)shape[2], 3, dims);
    fv_grad_output(d, node(d, &fv_op_gather_elements, in, 2, &a));
}

/* Updates that replace have places of their own. */
ROW(scatter_elements) {
    int64_t shape[3], data[4] = {0, 1, 2, 3};
    fv_value in[3] = {summed(d, shape)};
    const fv_shape places = {3, {1, 1, between(d, 1, (int32_t)shape[2] - 1)}};
    const fv_nd_attr a = {.a = {2}, .kind = chance(d, 0.5) ? FV_SCATTER_ADD : FV_SCATTER_SET};
    const int64_t update[3] = {0, 1, places.dim[2]};
    const fv_nd_attr sum = {.kind = FV_ND_SUM, .keep = true, .count = 1, .a = {0}};
    const fv_value u = fv_grad_input(d, FV_GRAD_UNIFORM, 2, 3, update);
    in[1] = fv_graph_constant(fv_grad_graph(d), NULL, FV_I64, &places, data);
    in[2] = node(d, &fv_op_reduce, &u, 1, &sum);
    fv_grad_output(d, node(d, &fv_op_scatter_elements, in, 3, &a));
}

/* Tuples of one index, and the same number of batch axes as there are images. */
ROW(gather_nd) {
    int64_t shape[3], data[4];
    fv_value in[2] = {summed(d, shape)};
    const fv_shape places = {3, {1, between(d, 1, 3), 1}};
    for (int i = 0; i < 4; i++) data[i] = between(d, -(int32_t)shape[1], (int32_t)shape[1] - 1);
    const fv_nd_attr a = {.a = {1}};
    in[1] = fv_graph_constant(fv_grad_graph(d), NULL, FV_I64, &places, data);
    fv_grad_output(d, node(d, &fv_op_gather_nd, in, 2, &a));
}

ROW(scatter_nd) {
    int64_t shape[3];
    fv_value in[3] = {summed(d, shape)};
    const int64_t place[2] = {0, between(d, -(int32_t)shape[1], (int32_t)shape[1] - 1)}, update[2] = {0, shape[2]};
    const fv_shape places = {2, {1, 2}};
    const fv_nd_attr a = {.kind = chance(d, 0.5) ? FV_SCATTER_ADD : FV_SCATTER_SET};
    const fv_nd_attr sum = {.kind = FV_ND_SUM, .keep = true, .count = 1, .a = {0}};
    const fv_value u = fv_grad_input(d, FV_GRAD_UNIFORM, 2, 2, update);
    in[1] = fv_graph_constant(fv_grad_graph(d), NULL, FV_I64, &places, place);
    in[2] = node(d, &fv_op_reduce, &u, 1, &sum);
    fv_grad_output(d, node(d, &fv_op_scatter_nd, in, 3, &a));
}

ROW(pad) {
    int64_t shape[5];
    int32_t rank;
    const fv_value x = tensor(d, FV_GRAD_UNIFORM, 2, shape, &rank);
    fv_nd_attr a = {.count = rank, .kind = between(d, 0, 3)};
    for (int32_t i = 1; i < rank; i++) {
        const int32_t most = a.kind == FV_ND_PAD_REFLECT ? (int32_t)shape[i] - 1 : 3;
        a.a[i] = chance(d, 0.5) ? between(d, 0, most) : 0;
        a.b[i] = chance(d, 0.2) && shape[i] > 1 ? -1 : between(d, 0, most);
    }
    fv_grad_output(d, node(d, &fv_op_pad, &x, 1, &a));
}

ROW(tile) {
    int64_t shape[5];
    int32_t rank;
    const fv_value x = tensor(d, FV_GRAD_UNIFORM, 2, shape, &rank);
    fv_nd_attr a = {.count = rank};
    for (int32_t i = 0; i < rank; i++) a.a[i] = between(d, 1, 3);
    fv_grad_output(d, node(d, &fv_op_tile, &x, 1, &a));
}

ROW(resize) {
    int64_t shape[5];
    int32_t rank;
    const fv_value x = tensor(d, FV_GRAD_UNIFORM, 3, shape, &rank);
    const float region[2] = {check_uniform(fv_grad_random(d), 0, 0.3f), check_uniform(fv_grad_random(d), 0.6f, 1)};
    fv_nd_attr a = {.count = rank, .kind = between(d, 0, 2), .flag = chance(d, 0.4), .keep = chance(d, 0.4), .alpha = -0.75};
    /* the last two move the batch too */
    a.mode = between(d, 0, FV_RESIZE_ASYMMETRIC) + 16 * between(d, 0, FV_RESIZE_SIMPLE);
    for (int32_t i = 0; i < rank; i++) {
        const bool same = i == 0 || chance(d, 0.3);
        a.a[i] = i == 0 ? 0 : same ? shape[i] : between(d, 1, 2 * (int32_t)shape[i]);
        fv_resize_set_scale(&a, i, same ? 1 : (double)a.a[i] / (double)shape[i]);
        fv_resize_set_region(&a, i, region);
    }
    fv_grad_output(d, node(d, &fv_op_resize, &x, 1, &a));
}

ROW(top_k) {
    int64_t shape[5];
    int32_t rank;
    const fv_value x = tensor(d, FV_GRAD_SPACED, 2, shape, &rank);
    const int32_t axis = between(d, 1, rank - 1);
    const fv_attributes attr = {.nd = {.kind = chance(d, 0.5), .a = {axis}, .b = {between(d, 1, (int32_t)shape[axis])}}};
    fv_grad_output(d, fv_graph_node(fv_grad_graph(d), &fv_op_top_k, NULL, &x, 1, 2, &attr));
}

ROW(cumsum) {
    int64_t shape[5];
    int32_t rank;
    const fv_value x = tensor(d, FV_GRAD_UNIFORM, 2, shape, &rank);
    const int32_t axis = between(d, 1, rank - 1);
    const fv_nd_attr a = {.flag = chance(d, 0.5), .keep = shape[axis] > 1 && chance(d, 0.4), .a = {axis}};
    fv_grad_output(d, node(d, &fv_op_cumsum, &x, 1, &a));
}

ROW(reverse_sequence) {
    int64_t shape[3] = {0, between(d, 1, 4), between(d, 1, 4)}, lengths[4];
    const fv_value x = fv_grad_input(d, FV_GRAD_UNIFORM, 2, 3, shape);
    const fv_nd_attr turn = {.count = 3, .a = {2, 1, 0}}, a = {.a = {0}, .b = {1}};
    const fv_shape count = {1, {shape[1]}};
    for (int i = 0; i < 4; i++) lengths[i] = between(d, 0, (int32_t)shape[2]);
    const fv_value in[2] = {node(d, &fv_op_transpose, &x, 1, &turn),
                            fv_graph_constant(fv_grad_graph(d), NULL, FV_I64, &count, lengths)};
    fv_grad_output(d, node(d, &fv_op_reverse_sequence, in, 2, &a));
}

/* The whole of some rows stays. */
ROW(trilu) {
    const int64_t shape[3] = {0, between(d, 1, 5), between(d, 2, 5)};
    const fv_value x = fv_grad_input(d, FV_GRAD_UNIFORM, 2, 3, shape);
    const fv_nd_attr a = {.kind = chance(d, 0.5), .a = {between(d, 0, 1)}};
    fv_grad_output(d, node(d, &fv_op_trilu, &x, 1, &a));
}

/* Batched products, outer ones, and sums over either. */
ROW(einsum) {
    static const fv_nd_attr forms[] = {
        {.count = 3, .a = {'n', 'i', 'j'}, .b = {'n', 'j', 'k'}, .c = {'n', 'i', 'k'}},
        {.count = 4, .a = {'n', 'i', 'j'}, .b = {'n', 'k', 'j'}, .c = {'k', 'n', 'j', 'i'}},
        {.count = 1, .a = {'n', 'i', 'j'}, .b = {'n', 'j', 'i'}, .c = {'n'}},
    };
    const fv_nd_attr *a = &forms[between(d, 0, 2)];
    int64_t size[256] = {0};
    for (int k = 0; k < 3; k++) size[(int)"ijk"[k]] = between(d, 1, 4);
    const int64_t first[3] = {0, size[a->a[1]], size[a->a[2]]}, second[3] = {0, size[a->b[1]], size[a->b[2]]};
    const fv_value in[2] = {fv_grad_input(d, FV_GRAD_UNIFORM, 2, 3, first), fv_grad_input(d, FV_GRAD_UNIFORM, 2, 3, second)};
    fv_grad_output(d, node(d, &fv_op_einsum, in, 2, a));
}

const fv_grad_row fv_grad_rows_nd[] = {
    {"nd.reshape", build_reshape},
    {"nd.transpose", build_transpose},
    {"nd.blocks", build_blocks},
    {"nd.slice", build_slice},
    {"nd.concat", build_join},
    {"nd.expand", build_expand},
    {"nd.reduce.sum", build_reduce_sum},
    {"nd.reduce.mean", build_reduce_mean},
    {"nd.reduce.max", build_reduce_max},
    {"nd.reduce.min", build_reduce_min},
    {"nd.reduce.prod", build_reduce_prod},
    {"nd.reduce.l1", build_reduce_l1},
    {"nd.reduce.l2", build_reduce_l2},
    {"nd.reduce.log_sum", build_reduce_log_sum},
    {"nd.reduce.log_sum_exp", build_reduce_log_sum_exp},
    {"nd.reduce.sum_square", build_reduce_sum_square},
    {"nd.gather", build_gather},
    {"nd.gather_elements", build_gather_elements},
    {"nd.scatter_elements", build_scatter_elements},
    {"nd.gather_nd", build_gather_nd},
    {"nd.scatter_nd", build_scatter_nd},
    {"nd.pad", build_pad},
    {"nd.tile", build_tile},
    {"nd.resize", build_resize},
    {"nd.top_k", build_top_k},
    {"nd.cumsum", build_cumsum},
    {"nd.reverse_sequence", build_reverse_sequence},
    {"nd.trilu", build_trilu},
    {"nd.einsum", build_einsum},
    {NULL, NULL},
};
