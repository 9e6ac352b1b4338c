#include "graph/graph.h"

#include "ops/window.h"

#include <math.h>

void fv_conv_transpose_settings_default(fv_conv_transpose_settings *s) {
    if (!s) return;
    *s = (fv_conv_transpose_settings){
        .out_channels = 1, .kernel = {3, 3}, .stride = {1, 1}, .dilation = {1, 1}, .groups = 1, .bias = true, .init = FV_INIT_HE};
}

fv_value fv_graph_conv_transpose_with(fv_graph *g, fv_value x, fv_value weight, fv_value bias,
                                      const fv_conv_transpose_settings *s, const char *name) {
    if (!fv_build_usable(g)) return FV_NONE;
    if (!s) return fv_graph_fail(g, FV_ERR_ARGUMENT, "a transposed convolution needs settings");
    if (!fv_build_valid(g, x, "a transposed convolution's input") ||
        !fv_build_valid(g, weight, "a transposed convolution's weight"))
        return FV_NONE;
    fv_attributes attr = {.conv = {.groups = s->groups,
                                   .true_convolution = s->true_convolution,
                                   .act_low = -(fv_real)INFINITY,
                                   .act_high = (fv_real)INFINITY}};
    fv_build_window(&attr.conv.window, s->kernel, s->stride, s->dilation, s->pad_before, s->pad_after, s->padding);
    for (int i = 0; i < 2; i++) attr.conv.window.output_padding[i + 1] = s->output_padding[i];
    const fv_value in[3] = {x, weight, bias};
    return fv_graph_node(g, &fv_op_conv_transpose, fv_build_name(g, name, "conv_transpose").text, in, bias == FV_NONE ? 2 : 3, 1,
                         &attr);
}

/* A value of y is a sum over the input channels of its group and, of the kernel, one position in stride*stride. */
static void set_fans(fv_graph *g, fv_value weight, const fv_conv_transpose_settings *s) {
    if (weight == FV_NONE) return;
    fv_value_info *w = &g->values[weight];
    const int64_t positions = w->shape.dim[2] * w->shape.dim[3], strides = (int64_t)s->stride[0] * s->stride[1];
    const int64_t terms = w->shape.dim[0] / s->groups * positions;
    w->fan_in = strides > 0 && terms > strides ? terms / strides : 1;
    w->fan_out = w->shape.dim[1] * positions;
}

fv_value fv_graph_conv_transpose(fv_graph *g, fv_value x, const fv_conv_transpose_settings *s, const char *name) {
    if (!fv_build_usable(g)) return FV_NONE;
    if (!s) return fv_graph_fail(g, FV_ERR_ARGUMENT, "a transposed convolution needs settings");
    if (!fv_build_valid(g, x, "a transposed convolution's input")) return FV_NONE;
    const fv_layer_name n = fv_build_name(g, name, "conv_transpose");
    const fv_shape *in = &g->values[x].shape;
    if (in->rank != 4 || s->groups < 1 || in->dim[1] % s->groups || s->out_channels < 1 || s->out_channels % s->groups)
        return fv_graph_fail(g, FV_ERR_SHAPE, "node \"%s\": %d groups, %d output channels and an input of %s do not fit", n.text,
                             s->groups, s->out_channels, fv_shape_print(in).text);
    const int64_t shape[4] = {in->dim[1], s->out_channels / s->groups, s->kernel[0], s->kernel[1]}, channels = s->out_channels;
    const fv_value w = fv_build_owned(g, n.text, "weight", 4, shape, s->init, true);
    const fv_value b = s->bias ? fv_build_owned(g, n.text, "bias", 1, &channels, FV_INIT_ZEROS, true) : FV_NONE;
    set_fans(g, w, s);
    return fv_graph_conv_transpose_with(g, x, w, b, s, n.text);
}
