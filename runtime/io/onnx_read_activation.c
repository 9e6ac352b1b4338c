/* Pointwise layers besides those of onnx_read_pointwise.c, as operators and as functions of domain "fovea". */
#include "io/onnx_internal.h"

#include <string.h>

typedef fv_value (*plain_fn)(fv_graph *g, fv_value x, const char *name);

static fv_status read_plain(fv_onnx_reader *r, const FvOnnx__Node *n) {
    static const struct {
        const char *op;
        plain_fn build;
    } rows[] = {{"Abs", fv_graph_abs},           {"Erf", fv_graph_erf},
                {"Softsign", fv_graph_softsign}, {"HardSwish", fv_graph_hard_swish},
                {"Mish", fv_graph_mish},         {"LogSoftmax", fv_graph_log_softmax}};
    fv_value x;
    size_t i = 0;
    FV_FORWARD(fv_onnx_value(r, n, 0, &x));
    while (i + 1 < FV_ARRAY_SIZE(rows) && strcmp(rows[i].op, n->op_type) != 0) i++;
    return fv_onnx_done(r, n, rows[i].build(r->graph, x, fv_onnx_node_name(n)));
}

static fv_status read_log_softmax(fv_onnx_reader *r, const FvOnnx__Node *n) {
    fv_value x;
    FV_FORWARD(fv_onnx_value(r, n, 0, &x));
    const int64_t axis = fv_onnx_attribute_int(n, "axis", r->opset < 13 ? 1 : -1);
    if (fv_emit_info(r->graph, x)->shape.rank != 2 || (axis != 1 && axis != -1))
        return fv_onnx_refuse(n, "only axis 1 of (N,F) is read");
    return read_plain(r, n);
}

static fv_status read_parametrized(fv_onnx_reader *r, const FvOnnx__Node *n) {
    const char *name = fv_onnx_node_name(n);
    fv_graph *g = r->graph;
    fv_value x;
    FV_FORWARD(fv_onnx_value(r, n, 0, &x));
    if (strcmp(n->op_type, "LeakyRelu") == 0)
        return fv_onnx_done(r, n, fv_graph_leaky_relu(g, x, fv_onnx_attribute_float(n, "alpha", 0.01f), name));
    if (strcmp(n->op_type, "Elu") == 0)
        return fv_onnx_done(r, n, fv_graph_elu(g, x, fv_onnx_attribute_float(n, "alpha", 1), name));
    if (strcmp(n->op_type, "HardSigmoid") == 0)
        return fv_onnx_done(r, n,
                            fv_graph_hard_sigmoid(g, x, fv_onnx_attribute_float(n, "alpha", 0.2f),
                                                  fv_onnx_attribute_float(n, "beta", 0.5f), name));
    return fv_onnx_done(r, n,
                        fv_graph_selu_with(g, x, fv_onnx_attribute_float(n, "alpha", FV_SELU_ALPHA),
                                           fv_onnx_attribute_float(n, "gamma", FV_SELU_GAMMA), name));
}

static bool is_text(const FvOnnx__Attribute *a, const char *text) {
    return a->s.len == strlen(text) && memcmp(a->s.data, text, a->s.len) == 0;
}

static fv_status read_gelu(fv_onnx_reader *r, const FvOnnx__Node *n) {
    const FvOnnx__Attribute *form = fv_onnx_attribute(n, "approximate");
    const bool by_tanh = form && is_text(form, "tanh");
    fv_value x;
    FV_FORWARD(fv_onnx_value(r, n, 0, &x));
    FV_RETURN_IF(form && !by_tanh && !is_text(form, "none"), FV_ERR_FORMAT, "node \"%.100s\" (Gelu): unknown approximation",
                 n->name ? n->name : "");
    return fv_onnx_done(r, n, fv_graph_gelu(r->graph, x, by_tanh, fv_onnx_node_name(n)));
}

static fv_status read_prelu(fv_onnx_reader *r, const FvOnnx__Node *n) {
    const fv_onnx_name *entry;
    fv_value x, slope;
    FV_FORWARD(fv_onnx_value(r, n, 0, &x));
    FV_FORWARD(fv_onnx_input(r, n, 1, &entry));
    if (!entry || !entry->constant) return fv_onnx_refuse(n, "the slopes must be a constant");
    if (entry->tensor.count != 1 && !fv_onnx_is_per_map(&entry->tensor, &fv_emit_info(r->graph, x)->shape))
        return fv_onnx_refuse(n, "only one slope, or a slope a map, is read");
    const int64_t slopes = (int64_t)entry->tensor.count;
    FV_FORWARD(fv_onnx_parameter(r, entry, 1, &slopes, &slope));
    return fv_onnx_done(r, n, fv_graph_prelu_with(r->graph, x, slope, fv_onnx_node_name(n)));
}

static fv_status read_softplus(fv_onnx_reader *r, const FvOnnx__Node *n) {
    fv_value x;
    FV_FORWARD(fv_onnx_value(r, n, 0, &x));
    return fv_onnx_done(r, n, fv_graph_softplus(r->graph, x, 1, fv_onnx_node_name(n)));
}

/* Divided by one number, or by 1 + |x|. */
static fv_status read_div(fv_onnx_reader *r, const FvOnnx__Node *n) {
    const fv_onnx_name *divisor;
    fv_value x;
    FV_FORWARD(fv_onnx_value(r, n, 0, &x));
    FV_FORWARD(fv_onnx_input(r, n, 1, &divisor));
    if (divisor && divisor->constant && divisor->tensor.count == 1)
        return fv_onnx_done(r, n,
                            fv_graph_scale(r->graph, x, 1 / fv_onnx_tensor_float(&divisor->tensor, 0), 0, fv_onnx_node_name(n)));
    const bool computed = divisor && !divisor->constant && divisor->value != FV_NONE;
    const fv_value y = computed ? fv_onnx_fold_division(r, x, divisor->value, fv_onnx_node_name(n)) : FV_NONE;
    FV_FORWARD(fv_graph_status(r->graph));
    if (y == FV_NONE) return fv_onnx_refuse(n, "only a division by one number is read");
    return fv_onnx_done(r, n, y);
}

const fv_onnx_read_row fv_onnx_read_activation[] = {
    {"Abs", read_plain},
    {"Erf", read_plain},
    {"Softsign", read_plain},
    {"HardSwish", read_plain},
    {"Mish", read_plain},
    {"LogSoftmax", read_log_softmax},
    {"LeakyRelu", read_parametrized},
    {"Elu", read_parametrized},
    {"Selu", read_parametrized},
    {"HardSigmoid", read_parametrized},
    {"Gelu", read_gelu},
    {"PRelu", read_prelu},
    {"Softplus", read_softplus},
    {"Div", read_div},
    {NULL, NULL},
};

/* ---- functions ---- */

typedef fv_value (*k_fn)(fv_graph *g, fv_value x, float k, const char *name);

static fv_status read_with_k(fv_onnx_reader *r, const FvOnnx__Node *n, k_fn build) {
    const FvOnnx__Attribute *k = fv_onnx_attribute(n, "k");
    fv_value x;
    FV_FORWARD(fv_onnx_value(r, n, 0, &x));
    if (!k || !k->has_f) return fv_onnx_refuse(n, "its k is missing");
    return fv_onnx_done(r, n, build(r->graph, x, k->f, fv_onnx_node_name(n)));
}

static fv_status read_softplus_k(fv_onnx_reader *r, const FvOnnx__Node *n) { return read_with_k(r, n, fv_graph_softplus); }
static fv_status read_smooth_abs(fv_onnx_reader *r, const FvOnnx__Node *n) { return read_with_k(r, n, fv_graph_smooth_abs); }
static fv_status read_surrogate(fv_onnx_reader *r, const FvOnnx__Node *n) { return read_with_k(r, n, fv_graph_relu_surrogate); }

const fv_onnx_read_row fv_onnx_read_activation_functions[] = {
    {"softplus", read_softplus_k},
    {"smooth_rectification", read_smooth_abs},
    {"relu_surrogate", read_surrogate},
    {NULL, NULL},
};
