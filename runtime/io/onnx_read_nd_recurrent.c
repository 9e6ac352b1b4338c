/* RNN, GRU, LSTM. */
#include "io/onnx_nd.h"
#include "ops/nd_recurrent.h"

#include <string.h>
#include <strings.h>

static fv_status activation_named(const FvOnnx__Node *n, const ProtobufCBinaryData *text, int64_t *out) {
    static const struct {
        const char *name;
        fv_nd_activation kind;
    } rows[] = {{"Sigmoid", FV_ND_ACT_SIGMOID},
                {"Tanh", FV_ND_ACT_TANH},
                {"Relu", FV_ND_ACT_RELU},
                {"LeakyRelu", FV_ND_ACT_LEAKY_RELU},
                {"ThresholdedRelu", FV_ND_ACT_THRESHOLDED},
                {"HardSigmoid", FV_ND_ACT_HARD_SIGMOID},
                {"Elu", FV_ND_ACT_ELU},
                {"Softsign", FV_ND_ACT_SOFTSIGN},
                {"Softplus", FV_ND_ACT_SOFTPLUS}};
    for (size_t i = 0; i < FV_ARRAY_SIZE(rows); i++)
        if (text->len == strlen(rows[i].name) && strncasecmp((const char *)text->data, rows[i].name, text->len) == 0) {
            *out = rows[i].kind;
            return FV_OK;
        }
    return fv_onnx_refuse(n, "one of its activations is not read");
}

static fv_status activations_of(const FvOnnx__Node *n, fv_nd_attr *attr) {
    static const fv_nd_activation defaults[3][3] = {{FV_ND_ACT_TANH, FV_ND_ACT_TANH, FV_ND_ACT_TANH},
                                                    {FV_ND_ACT_SIGMOID, FV_ND_ACT_TANH, FV_ND_ACT_TANH},
                                                    {FV_ND_ACT_SIGMOID, FV_ND_ACT_TANH, FV_ND_ACT_TANH}};
    const FvOnnx__Attribute *a = fv_onnx_attribute(n, "activations");
    const size_t each = (size_t)attr->kind + 1, directions = attr->mode == 2 ? 2 : 1;
    if (fv_onnx_attribute(n, "activation_alpha") || fv_onnx_attribute(n, "activation_beta"))
        return fv_onnx_refuse(n, "parameters of activations are not read");
    FV_RETURN_IF(a && a->n_strings != each * directions, FV_ERR_FORMAT,
                 "node \"%.100s\" (%.60s): %zu activations, not %zu", n->name ? n->name : "", n->op_type, a->n_strings,
                 each * directions);
    for (size_t d = 0; d < 2; d++)
        for (size_t i = 0; i < 3; i++) {
            attr->a[3 * d + i] = defaults[attr->kind][i];
            if (a && i < each && d < directions)
                FV_FORWARD(activation_named(n, &a->strings[d * each + i], &attr->a[3 * d + i]));
        }
    return FV_OK;
}

static fv_status read_recurrent(fv_onnx_reader *r, const FvOnnx__Node *n) {
    fv_attributes attr = {.nd = {.kind = n->op_type[0] == 'R'   ? FV_ND_RNN
                                         : n->op_type[0] == 'G' ? FV_ND_GRU
                                                                : FV_ND_LSTM}};
    fv_value in[8] = {FV_NONE, FV_NONE, FV_NONE, FV_NONE, FV_NONE, FV_NONE, FV_NONE, FV_NONE}, y[3];
    for (size_t i = 0; i < 8 && i < n->n_input; i++)
        FV_FORWARD(i < 3 ? fv_onnx_value(r, n, i, &in[i]) : fv_onnx_optional(r, n, i, &in[i]));
    FV_RETURN_IF(in[2] == FV_NONE, FV_ERR_FORMAT, "node \"%.100s\" (%.60s) lacks its weights", n->name ? n->name : "",
                 n->op_type);
    const fv_shape weights = *fv_onnx_shape(r, in[2]);
    attr.nd.mode = fv_onnx_text_is(n, "direction", "reverse", false)         ? 1
                   : fv_onnx_text_is(n, "direction", "bidirectional", false) ? 2
                                                                             : 0;
    attr.nd.count = (int32_t)fv_onnx_attribute_int(n, "hidden_size", weights.rank == 3 ? weights.dim[2] : 0);
    attr.nd.keep = fv_onnx_attribute_int(n, "layout", 0) != 0;
    attr.nd.flag = fv_onnx_attribute_int(n, attr.nd.kind == FV_ND_GRU ? "linear_before_reset" : "input_forget", 0) != 0;
    attr.nd.alpha = fv_onnx_attribute_float(n, "clip", 0);
    FV_FORWARD(activations_of(n, &attr.nd));
    y[0] = fv_graph_node(r->graph, &fv_op_nd_recurrent, fv_onnx_node_name(n), in, 8, attr.nd.kind == FV_ND_LSTM ? 3 : 2,
                         &attr);
    for (int i = 1; i < 3; i++) y[i] = y[0] + i;
    return fv_onnx_done_all(r, n, y, attr.nd.kind == FV_ND_LSTM ? 3 : 2);
}

const fv_onnx_read_row fv_onnx_read_nd_recurrent[] = {
    {"RNN", read_recurrent},
    {"GRU", read_recurrent},
    {"LSTM", read_recurrent},
    {NULL, NULL},
};
