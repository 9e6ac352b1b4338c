/* Reductions, searches and sums along axes. */
#include "io/onnx_nd.h"

#include <string.h>

static const struct {
    const char *op;
    fv_nd_reduction kind;
    int64_t moved; /* the version since which the axes are an input */
} reductions[] = {
    {"ReduceSum", FV_ND_SUM, 13},         {"ReduceMean", FV_ND_MEAN, 18},
    {"ReduceMax", FV_ND_MAX, 18},         {"ReduceMin", FV_ND_MIN, 18},
    {"ReduceProd", FV_ND_PROD, 18},       {"ReduceL1", FV_ND_L1, 18},
    {"ReduceL2", FV_ND_L2, 18},           {"ReduceLogSum", FV_ND_LOG_SUM, 18},
    {"ReduceLogSumExp", FV_ND_LOG_SUM_EXP, 18}, {"ReduceSumSquare", FV_ND_SUM_SQUARE, 18},
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
    fv_attributes attr = {.nd = {.kind = reductions[k].kind, .count = axes.count, .keep = fv_onnx_attribute_int(n, "keepdims", 1) != 0, .flag = none}};
    memcpy(attr.nd.a, axes.value, sizeof attr.nd.a);
    return fv_onnx_node_of(r, n, &fv_op_reduce, x, &attr);
}

const fv_onnx_read_row fv_onnx_read_nd_reduce[] = {
    {"ReduceSum", read_reduce},       {"ReduceMean", read_reduce},     {"ReduceMax", read_reduce}, {"ReduceMin", read_reduce},
    {"ReduceProd", read_reduce},      {"ReduceL1", read_reduce},       {"ReduceL2", read_reduce},  {"ReduceLogSum", read_reduce},
    {"ReduceLogSumExp", read_reduce}, {"ReduceSumSquare", read_reduce}, {NULL, NULL},
};
