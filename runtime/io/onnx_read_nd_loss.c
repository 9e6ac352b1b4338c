/* Losses over classes along axis 1. */
#include "io/onnx_nd.h"
#include "ops/nd_loss.h"
#include "ops/nd_matrix.h"

static fv_status nll_of(fv_onnx_reader *r, const FvOnnx__Node *n, fv_value x, fv_value *loss) {
    fv_value in[3] = {x, FV_NONE, FV_NONE};
    FV_FORWARD(fv_onnx_value(r, n, 1, &in[1]));
    FV_FORWARD(fv_onnx_optional(r, n, 2, &in[2]));
    const FvOnnx__Attribute *ignored = fv_onnx_attribute(n, "ignore_index");
    const bool none = fv_onnx_text_is(n, "reduction", "none", false),
               sum = fv_onnx_text_is(n, "reduction", "sum", false);
    FV_RETURN_IF(!none && !sum && !fv_onnx_text_is(n, "reduction", "mean", true), FV_ERR_FORMAT,
                 "node \"%.100s\" (%.60s): unknown reduction", n->name ? n->name : "", n->op_type);
    const fv_attributes attr = {.nd = {.mode = none  ? FV_ND_LOSS_NONE
                                               : sum ? FV_ND_LOSS_SUM
                                                     : FV_ND_LOSS_MEAN,
                                       .flag = ignored != NULL,
                                       .a = {ignored && ignored->has_i ? ignored->i : 0}}};
    *loss = fv_graph_node(r->graph, &fv_op_nd_nll, fv_onnx_node_name(n), in, in[2] == FV_NONE ? 2 : 3, 1, &attr);
    return fv_graph_status(r->graph);
}

static fv_status read_nll(fv_onnx_reader *r, const FvOnnx__Node *n) {
    fv_value x, loss;
    FV_FORWARD(fv_onnx_value(r, n, 0, &x));
    FV_FORWARD(nll_of(r, n, x, &loss));
    return fv_onnx_done(r, n, loss);
}

static fv_status read_cross_entropy(fv_onnx_reader *r, const FvOnnx__Node *n) {
    const fv_attributes attr = {.nd = {.kind = FV_ND_LOG_SOFTMAX, .mode = 1, .count = 1}};
    fv_value x, y[2];
    FV_FORWARD(fv_onnx_value(r, n, 0, &x));
    y[1] = fv_graph_node(r->graph, &fv_op_nd_softmax, NULL, &x, 1, 1, &attr);
    FV_FORWARD(fv_graph_status(r->graph));
    FV_FORWARD(nll_of(r, n, y[1], &y[0]));
    return fv_onnx_done_all(r, n, y, 2);
}

const fv_onnx_read_row fv_onnx_read_nd_loss[] = {
    {"NegativeLogLikelihoodLoss", read_nll},
    {"SoftmaxCrossEntropyLoss", read_cross_entropy},
    {NULL, NULL},
};
