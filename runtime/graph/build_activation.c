/* Pointwise layers of SPEC section 3 besides those of build.c. */
#include "graph/graph.h"

#include "ops/window.h"

#include <stdio.h>

static fv_value unary(fv_graph *g, fv_value x, fv_unary kind, float a, float b, const char *name, const char *word) {
    if (!fv_build_usable(g) || !fv_build_valid(g, x, "a layer's input")) return FV_NONE;
    const fv_attributes attr = {.pointwise = {kind, a, b}};
    return fv_graph_node(g, &fv_op_unary, fv_build_name(g, name, word).text, &x, 1, 1, &attr);
}

fv_value fv_graph_softplus(fv_graph *g, fv_value x, float k, const char *name) {
    return unary(g, x, FV_UNARY_SOFTPLUS, k, 0, name, "softplus");
}
fv_value fv_graph_smooth_abs(fv_graph *g, fv_value x, float k, const char *name) {
    return unary(g, x, FV_UNARY_SMOOTH_ABS, k, 0, name, "smooth_abs");
}
fv_value fv_graph_relu_surrogate(fv_graph *g, fv_value x, float k, const char *name) {
    return unary(g, x, FV_UNARY_RELU_SURROGATE, k, 0, name, "relu_surrogate");
}
fv_value fv_graph_abs(fv_graph *g, fv_value x, const char *name) { return unary(g, x, FV_UNARY_ABS, 0, 0, name, "abs"); }
fv_value fv_graph_leaky_relu(fv_graph *g, fv_value x, float slope, const char *name) {
    return unary(g, x, FV_UNARY_LEAKY_RELU, slope, 0, name, "leaky_relu");
}
fv_value fv_graph_elu(fv_graph *g, fv_value x, float alpha, const char *name) {
    return unary(g, x, FV_UNARY_ELU, alpha, 1, name, "elu");
}
fv_value fv_graph_selu(fv_graph *g, fv_value x, const char *name) {
    return unary(g, x, FV_UNARY_ELU, FV_SELU_ALPHA, FV_SELU_GAMMA, name, "selu");
}
fv_value fv_graph_selu_with(fv_graph *g, fv_value x, float alpha, float gamma, const char *name) {
    return unary(g, x, FV_UNARY_ELU, alpha, gamma, name, "selu");
}
fv_value fv_graph_gelu(fv_graph *g, fv_value x, bool by_tanh, const char *name) {
    return unary(g, x, by_tanh ? FV_UNARY_GELU_TANH : FV_UNARY_GELU, 0, 0, name, "gelu");
}
fv_value fv_graph_silu(fv_graph *g, fv_value x, const char *name) { return unary(g, x, FV_UNARY_SILU, 0, 0, name, "silu"); }
fv_value fv_graph_mish(fv_graph *g, fv_value x, const char *name) { return unary(g, x, FV_UNARY_MISH, 0, 0, name, "mish"); }
fv_value fv_graph_hard_sigmoid(fv_graph *g, fv_value x, float a, float b, const char *name) {
    return unary(g, x, FV_UNARY_HARD_SIGMOID, a, b, name, "hard_sigmoid");
}
fv_value fv_graph_hard_swish(fv_graph *g, fv_value x, const char *name) {
    return unary(g, x, FV_UNARY_HARD_SWISH, 0, 0, name, "hard_swish");
}
fv_value fv_graph_softsign(fv_graph *g, fv_value x, const char *name) {
    return unary(g, x, FV_UNARY_SOFTSIGN, 0, 0, name, "softsign");
}
fv_value fv_graph_erf(fv_graph *g, fv_value x, const char *name) { return unary(g, x, FV_UNARY_ERF, 0, 0, name, "erf"); }

fv_value fv_graph_prelu_with(fv_graph *g, fv_value x, fv_value slope, const char *name) {
    if (!fv_build_usable(g) || !fv_build_valid(g, x, "a PReLU's input") || !fv_build_valid(g, slope, "a PReLU's slopes"))
        return FV_NONE;
    const fv_value in[2] = {x, slope};
    return fv_graph_node(g, &fv_op_prelu, fv_build_name(g, name, "prelu").text, in, 2, 1, NULL);
}

fv_value fv_graph_prelu(fv_graph *g, fv_value x, bool one_a_map, const char *name) {
    enum { most = 1 << 20 };
    if (!fv_build_usable(g) || !fv_build_valid(g, x, "a PReLU's input")) return FV_NONE;
    const fv_layer_name n = fv_build_name(g, name, "prelu");
    const int64_t maps = g->values[x].shape.rank > 1 ? g->values[x].shape.dim[1] : 0, slopes = one_a_map ? maps : 1;
    if (slopes < 1 || slopes > most)
        return fv_graph_fail(g, FV_ERR_SHAPE, "node \"%s\": an input of %s has no maps", n.text,
                             fv_shape_print(&g->values[x].shape).text);
    char full[sizeof n.text + 8];
    snprintf(full, sizeof full, "%s.slope", n.text);
    float *quarter = NULL;
    if (fv_alloc_array(g->context, (size_t)slopes, sizeof *quarter, full, (void **)&quarter) != FV_OK)
        return fv_graph_fail(g, FV_ERR_MEMORY, "out of memory for \"%s\"", full);
    for (int64_t i = 0; i < slopes; i++) quarter[i] = 0.25f;
    const fv_value slope = fv_graph_parameter(g, full, 1, &slopes, quarter, FV_INIT_ZEROS, true);
    fv_release(g->context, quarter);
    return fv_graph_prelu_with(g, x, slope, n.text);
}

fv_value fv_graph_log_softmax(fv_graph *g, fv_value x, const char *name) {
    if (!fv_build_usable(g) || !fv_build_valid(g, x, "a log-softmax's input")) return FV_NONE;
    return fv_graph_node(g, &fv_op_log_softmax, fv_build_name(g, name, "log_softmax").text, &x, 1, 1, NULL);
}
