/* Normalization, with the clamp that is fused into it or not, and behind convolutions. */
#include "check/grad_draw.h"

/* At least 3 values for each mean: of one nothing has a gradient, of two almost nothing. */
static fv_value norm_input(fv_grad_draw *d, int32_t channels) {
    const int64_t shape[4] = {0, channels, between(d, 1, 5), between(d, 3, 6)};
    return fv_grad_input(d, FV_GRAD_UNIFORM, 2, 4, shape);
}

/* Nothing, or a clamp. */
static fv_value after(fv_grad_draw *d, fv_value y) {
    fv_graph *g = fv_grad_graph(d);
    if (chance(d, 0.4)) return y;
    return chance(d, 0.6) ? fv_graph_relu(g, y, NULL) : fv_graph_clip(g, y, chance(d, 0.5) ? 0 : -1, 1.5f, NULL);
}

static fv_norm_settings draw_settings(fv_grad_draw *d) {
    fv_norm_settings s;
    fv_norm_settings_default(&s);
    s.epsilon = chance(d, 0.5) ? 1e-5f : 0.1f;
    return s;
}

ROW(batch_norm) {
    const fv_norm_settings s = draw_settings(d);
    fv_grad_output(d, after(d, fv_graph_batch_norm(fv_grad_graph(d), norm_input(d, between(d, 1, 70)), &s, "norm")));
}

/* Its file is a function of its own: ONNX's running variance is the biased one. */
ROW(batch_norm_unbiased) {
    fv_norm_settings s = draw_settings(d);
    s.unbiased_running_variance = true;
    fv_grad_output(d, after(d, fv_graph_batch_norm(fv_grad_graph(d), norm_input(d, between(d, 1, 70)), &s, "norm")));
}

ROW(conv_batch_norm) {
    fv_graph *g = fv_grad_graph(d);
    const fv_norm_settings s = draw_settings(d);
    fv_conv_settings conv;
    fv_conv_settings_default(&conv);
    conv.out_channels = between(d, 1, 12);
    conv.bias = false; /* the mean takes it away: it would have no gradient */
    conv.padding = FV_PAD_SAME_UPPER;
    const fv_value y = fv_graph_conv(g, norm_input(d, between(d, 1, 5)), &conv, "conv");
    fv_grad_output(d, after(d, fv_graph_batch_norm(g, y, &s, "norm")));
}

ROW(group_norm) {
    const int32_t groups = between(d, 1, 4), width = between(d, 1, 9);
    fv_grad_output(d, after(d, fv_graph_group_norm(fv_grad_graph(d), norm_input(d, groups * width), groups,
                                                   chance(d, 0.5) ? 1e-5f : 0.1f, "norm")));
}

static void build_layer_norm(fv_grad_draw *d, fv_value x) {
    fv_grad_output(d, after(d, fv_graph_layer_norm(fv_grad_graph(d), x, 1e-5f, "norm")));
}

ROW(layer_norm_maps) { build_layer_norm(d, norm_input(d, between(d, 1, 20))); }
ROW(layer_norm_vectors) { build_layer_norm(d, vector(d, FV_GRAD_UNIFORM, 4, 60)); }

ROW(instance_norm) {
    fv_grad_output(d,
                   after(d, fv_graph_instance_norm(fv_grad_graph(d), norm_input(d, between(d, 1, 20)), 1e-5f, "norm")));
}

const fv_grad_row fv_grad_rows_norm[] = {
    {"batch_norm", build_batch_norm},
    {"batch_norm.conv", build_conv_batch_norm},
    {"norm.group", build_group_norm},
    {"norm.layer.maps", build_layer_norm_maps},
    {"norm.layer.vectors", build_layer_norm_vectors},
    {"norm.instance", build_instance_norm},
    {"batch_norm.unbiased", build_batch_norm_unbiased},
    {NULL, NULL},
};
