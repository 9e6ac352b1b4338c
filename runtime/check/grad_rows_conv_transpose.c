/* Depthwise and transposed convolution. */
#include "check/grad_draw.h"

/* ---- depthwise: kernels and strides that have bodies of their own, and any others ---- */

ROW(depthwise_own) {
    fv_graph *g = fv_grad_graph(d);
    fv_conv_settings s;
    fv_conv_settings_default(&s);
    const int64_t shape[4] = {0, between(d, 2, 20), between(d, 5, 11), between(d, 5, 11)};
    const bool large = chance(d, 0.3);
    s.groups = s.out_channels = (int32_t)shape[1];
    s.bias = chance(d, 0.7);
    s.true_convolution = chance(d, 0.3);
    for (int i = 0; i < 2; i++) {
        s.kernel[i] = large ? 5 : 3;
        s.stride[i] = large || chance(d, 0.5) ? 1 : 2;
        s.pad_before[i] = between(d, 0, s.kernel[i] / 2);
        s.pad_after[i] = between(d, 0, s.kernel[i] / 2);
    }
    const fv_value y = fv_graph_conv(g, fv_grad_input(d, FV_GRAD_UNIFORM, 1, 4, shape), &s, "conv");
    fv_grad_output(d, chance(d, 0.5) ? y : fv_graph_clip(g, y, -0.5f, 0.75f, NULL));
}

/* ---- transposed ---- */

/* Draws one axis; some output inside the padding is reached by the input, else no weight has a gradient. */
static int32_t draw_axis(fv_grad_draw *d, fv_conv_transpose_settings *s, int i) {
    const int32_t size = between(d, 1, 5);
    s->kernel[i] = between(d, 1, 4);
    s->stride[i] = chance(d, 0.4) ? 1 : between(d, 2, 3);
    s->dilation[i] = chance(d, 0.6) ? 1 : between(d, 2, 3);
    const int32_t extent = s->dilation[i] * (s->kernel[i] - 1) + 1,
                  larger = s->stride[i] > s->dilation[i] ? s->stride[i] : s->dilation[i];
    s->output_padding[i] = chance(d, 0.5) ? 0 : between(d, 0, larger - 1);
    if (s->padding != FV_PAD_EXPLICIT) {
        s->dilation[i] = 1;
        s->kernel[i] = s->stride[i] + between(d, 0, 2);
        s->output_padding[i] = 0;
        return size;
    }
    /* the outputs from 0 to (size - 1)*stride at steps of the stride are reached by kernel position 0: one of them stays */
    s->pad_before[i] = between(d, 0, (size - 1) * s->stride[i] < extent ? (size - 1) * s->stride[i] : extent);
    s->pad_after[i] = between(d, 0, extent - 1);
    return size;
}

static fv_value draw_transposed(fv_grad_draw *d, bool depthwise) {
    fv_conv_transpose_settings s;
    int64_t shape[4] = {0, 1, 1, 1};
    fv_conv_transpose_settings_default(&s);
    s.groups = chance(d, 0.6) ? 1 : between(d, 2, 4);
    shape[1] = s.groups * between(d, 1, s.groups > 1 ? 3 : 9);
    s.out_channels = s.groups * between(d, 1, s.groups > 1 ? 4 : 18);
    if (depthwise) shape[1] = s.groups = s.out_channels = between(d, 2, 20);
    s.bias = chance(d, 0.7);
    s.true_convolution = chance(d, 0.3);
    s.padding = chance(d, 0.7) ? FV_PAD_EXPLICIT : (fv_padding)between(d, FV_PAD_VALID, FV_PAD_SAME_LOWER);
    for (int i = 0; i < 2; i++) shape[2 + i] = draw_axis(d, &s, i);
    return fv_graph_conv_transpose(fv_grad_graph(d), fv_grad_input(d, FV_GRAD_UNIFORM, 1, 4, shape), &s, "up");
}

ROW(transposed) { fv_grad_output(d, draw_transposed(d, false)); }

ROW(transposed_depthwise) { fv_grad_output(d, draw_transposed(d, true)); }

ROW(transposed_clamp) {
    fv_graph *g = fv_grad_graph(d);
    const fv_value y = draw_transposed(d, chance(d, 0.3));
    fv_grad_output(d, chance(d, 0.5) ? fv_graph_relu(g, y, NULL) : fv_graph_clip(g, y, -0.5f, 0.75f, NULL));
}

/* Down and up again with one weight: the transposed layer's weight is the convolution's. */
ROW(transposed_tied) {
    fv_graph *g = fv_grad_graph(d);
    fv_conv_settings down;
    fv_conv_transpose_settings up;
    fv_conv_settings_default(&down);
    fv_conv_transpose_settings_default(&up);
    const int64_t maps_in = between(d, 1, 4), maps_out = between(d, 1, 9), size = 2 * between(d, 2, 3);
    const int64_t shape[4] = {0, maps_in, size, size}, weight[4] = {maps_out, maps_in, 4, 4};
    for (int i = 0; i < 2; i++) {
        down.stride[i] = up.stride[i] = 2;
        down.pad_before[i] = down.pad_after[i] = up.pad_before[i] = up.pad_after[i] = 1;
    }
    const fv_value w = fv_graph_parameter(g, "w", 4, weight, NULL, FV_INIT_HE, true);
    const fv_value x =
        fv_graph_tanh(g, fv_graph_conv_with(g, fv_grad_input(d, FV_GRAD_UNIFORM, 1, 4, shape), w, FV_NONE, &down, "down"), NULL);
    fv_grad_output(d, fv_graph_conv_transpose_with(g, x, w, FV_NONE, &up, "up"));
}

const fv_grad_row fv_grad_rows_conv_transpose[] = {
    {"conv.depthwise_own", build_depthwise_own},
    {"conv_transpose", build_transposed},
    {"conv_transpose.depthwise", build_transposed_depthwise},
    {"conv_transpose.clamp", build_transposed_clamp},
    {"conv_transpose.tied", build_transposed_tied},
    {NULL, NULL},
};
