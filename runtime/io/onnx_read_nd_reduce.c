/* Reductions, searches and sums along axes. */
#include "io/onnx_nd.h"

#include <string.h>

static const struct {
    const char *op;
    fv_nd_reduction kind;
    int64_t moved; /* the version since which the axes are an input */
} reductions[] = {
    {"ReduceSum", FV_ND_SUM, 13},
    {"ReduceMean", FV_ND_MEAN, 18},
    {"ReduceMax", FV_ND_MAX, 18},
    {"ReduceMin", FV_ND_MIN, 18},
    {"ReduceProd", FV_ND_PROD, 18},
    {"ReduceL1", FV_ND_L1, 18},
    {"ReduceL2", FV_ND_L2, 18},
    {"ReduceLogSum", FV_ND_LOG_SUM, 18},
    {"ReduceLogSumExp", FV_ND_LOG_SUM_EXP, 18},
    {"ReduceSumSquare", FV_ND_SUM_SQUARE, 18},
};

static fv_status read_reduce(fv_onnx_reader *r, const FvOnnx__Node *n) {
    fv_value x;
    fv_onnx_list axes;
    size_t k = 0;
    while (strcmp(reductions[k].op, n->op_type) != 0) k++;
    FV_FORWARD(fv_onnx_value(r, n, 0, &x));
    FV_FORWARD(fv_onnx_axes(r, n, r->opset < reductions[k].moved ? "axes" : NULL, r->opset < reductions[k].moved ? 0 : 1,
                            fv_onnx_shape(r, x)->rank, &axes));
    const bool none = axes.count == 0 && fv_onnx_attribute_int(n, "noop_with_empty_axes", 0) != 0;
    fv_attributes attr = {
        .nd = {
            .kind = reductions[k].kind, .count = axes.count, .keep = fv_onnx_attribute_int(n, "keepdims", 1) != 0, .flag = none}};
    memcpy(attr.nd.a, axes.value, sizeof attr.nd.a);
    return fv_onnx_node_of(r, n, &fv_op_reduce, x, &attr);
}

static fv_status read_arg(fv_onnx_reader *r, const FvOnnx__Node *n) {
    fv_value x;
    int32_t axis;
    FV_FORWARD(fv_onnx_value(r, n, 0, &x));
    FV_FORWARD(fv_onnx_axis(n, "axis", 0, fv_onnx_shape(r, x)->rank, false, &axis));
    const fv_attributes attr = {.nd = {.kind = strcmp(n->op_type, "ArgMin") == 0,
                                       .keep = fv_onnx_attribute_int(n, "keepdims", 1) != 0,
                                       .flag = fv_onnx_attribute_int(n, "select_last_index", 0) != 0,
                                       .a = {axis}}};
    return fv_onnx_node_of(r, n, &fv_op_arg, x, &attr);
}

static fv_status read_top_k(fv_onnx_reader *r, const FvOnnx__Node *n) {
    fv_value x;
    fv_onnx_list k;
    int32_t axis;
    FV_FORWARD(fv_onnx_value(r, n, 0, &x));
    FV_FORWARD(fv_onnx_axis(n, "axis", -1, fv_onnx_shape(r, x)->rank, false, &axis));
    FV_FORWARD(fv_onnx_list_of(r, n, NULL, r->opset < 10 ? 0 : 1, &k));
    FV_ONNX_REFUSE_IF(r->opset >= 10 && k.count != 1, n, "k is %d numbers", k.count);
    const fv_attributes attr = {.nd = {.kind = fv_onnx_attribute_int(n, "largest", 1) == 0,
                                       .a = {axis},
                                       .b = {r->opset < 10 ? fv_onnx_attribute_int(n, "k", 0) : k.value[0]}}};
    const fv_value y = fv_graph_node(r->graph, &fv_op_top_k, fv_onnx_node_name(n), &x, 1, 2, &attr),
                   out[2] = {y, y == FV_NONE ? y : y + 1};
    return fv_onnx_done_all(r, n, out, 2);
}

static fv_status read_cumsum(fv_onnx_reader *r, const FvOnnx__Node *n) {
    fv_value x;
    fv_onnx_list axis;
    FV_FORWARD(fv_onnx_value(r, n, 0, &x));
    FV_FORWARD(fv_onnx_axes(r, n, NULL, 1, fv_onnx_shape(r, x)->rank, &axis));
    FV_ONNX_REFUSE_IF(axis.count != 1, n, "its axis is %d numbers", axis.count);
    const fv_attributes attr = {.nd = {.keep = fv_onnx_attribute_int(n, "exclusive", 0) != 0,
                                       .flag = fv_onnx_attribute_int(n, "reverse", 0) != 0,
                                       .a = {axis.value[0]}}};
    return fv_onnx_node_of(r, n, &fv_op_cumsum, x, &attr);
}

static fv_status read_reverse_sequence(fv_onnx_reader *r, const FvOnnx__Node *n) {
    const fv_attributes attr = {
        .nd = {.a = {fv_onnx_attribute_int(n, "time_axis", 0)}, .b = {fv_onnx_attribute_int(n, "batch_axis", 1)}}};
    return fv_onnx_node_over(r, n, &fv_op_reverse_sequence, 2, &attr);
}

const fv_onnx_read_row fv_onnx_read_nd_reduce[] = {
    {"ReduceSum", read_reduce},
    {"ReduceMean", read_reduce},
    {"ReduceMax", read_reduce},
    {"ReduceMin", read_reduce},
    {"ReduceProd", read_reduce},
    {"ReduceL1", read_reduce},
    {"ReduceL2", read_reduce},
    {"ReduceLogSum", read_reduce},
    {"ReduceLogSumExp", read_reduce},
    {"ReduceSumSquare", read_reduce},
    {"ArgMax", read_arg},
    {"ArgMin", read_arg},
    {"TopK", read_top_k},
    {"CumSum", read_cumsum},
    {"ReverseSequence", read_reverse_sequence},
    {NULL, NULL},
};
