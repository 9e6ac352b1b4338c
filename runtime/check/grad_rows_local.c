/* Untied bias, connection tables. */
#include "check/grad_draw.h"

/* Behind a convolution, where it is part of the product, and a clamp after both. */
ROW(conv_untied) {
    fv_graph *g = fv_grad_graph(d);
    fv_conv_settings s;
    fv_conv_settings_default(&s);
    s.bias = FV_BIAS_UNTIED;
    s.groups = chance(d, 0.7) ? 1 : 2;
    s.out_channels = s.groups * between(d, 1, 10);
    int64_t shape[4] = {0, s.groups * between(d, 1, 5), 1, 1};
    for (int i = 0; i < 2; i++) {
        s.kernel[i] = between(d, 1, 3);
        s.stride[i] = between(d, 1, 2);
        s.pad_before[i] = between(d, 0, s.kernel[i] - 1);
        shape[2 + i] = between(d, s.kernel[i], 7);
    }
    const fv_value y = fv_graph_conv(g, fv_grad_input(d, FV_GRAD_UNIFORM, 1, 4, shape), &s, "conv");
    fv_grad_output(d, chance(d, 0.5) ? fv_graph_relu(g, y, NULL) : y);
}

ROW(untied_bias) { fv_grad_output(d, fv_graph_untied_bias(fv_grad_graph(d), maps_or_vector(d, FV_GRAD_UNIFORM), "untied")); }

/* One bias for two layers. */
ROW(untied_shared) {
    fv_graph *g = fv_grad_graph(d);
    const fv_value x = maps(d, FV_GRAD_UNIFORM, 20);
    const fv_value first = fv_graph_untied_bias(g, x, "first");
    const int64_t shape[4] = {0, 2, 3, 4};
    fv_conv_settings s;
    fv_conv_settings_default(&s);
    s.bias = FV_BIAS_NONE;
    s.kernel[0] = s.kernel[1] = 1;
    s.out_channels = between(d, 2, 9);
    const int64_t bias_shape[3] = {s.out_channels, 3, 4};
    const fv_value b = fv_graph_parameter(g, "b", 3, bias_shape, NULL, FV_INIT_HE, true);
    const fv_value maps = fv_graph_conv(g, fv_grad_input(d, FV_GRAD_UNIFORM, 1, 4, shape), &s, "conv");
    const fv_value once = fv_graph_tanh(g, fv_graph_untied_bias_with(g, maps, b, "second"), NULL);
    fv_grad_output(d, fv_graph_untied_bias_with(g, once, b, "third"));
    fv_grad_output(d, first);
}

/* Some edges absent, one there; in a third of the cases behind a max pooling that the gradients go through. */
ROW(conv_table) {
    fv_graph *g = fv_grad_graph(d);
    fv_conv_settings s;
    fv_pool_settings pool;
    uint8_t table[20 * 6];
    fv_conv_settings_default(&s);
    fv_pool_settings_default(&pool);
    s.out_channels = between(d, 1, 20);
    s.bias = (fv_bias)between(d, FV_BIAS_NONE, FV_BIAS_UNTIED);
    s.true_convolution = chance(d, 0.3);
    s.connections = table;
    const int64_t shape[4] = {0, between(d, 1, 6), between(d, 4, 8), between(d, 4, 8)};
    const int32_t edges = s.out_channels * (int32_t)shape[1];
    for (int32_t i = 0; i < edges; i++) table[i] = chance(d, 0.6);
    table[between(d, 0, edges - 1)] = 1;
    fv_value y = fv_graph_conv(g, fv_grad_input(d, FV_GRAD_UNIFORM, 1, 4, shape), &s, "conv");
    if (chance(d, 0.3)) y = fv_graph_pool(g, y, &pool, NULL);
    fv_grad_output(d, y);
}

const fv_grad_row fv_grad_rows_local[] = {
    {"conv.untied", build_conv_untied},
    {"conv.table", build_conv_table},
    {"untied_bias", build_untied_bias},
    {"untied_bias.shared", build_untied_shared},
    {NULL, NULL},
};
