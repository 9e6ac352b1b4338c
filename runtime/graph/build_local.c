/* Builder: untied bias, locally connected layers. SPEC section 1. */
#include "graph/graph.h"

#include "ops/window.h"

#include <math.h>
#include <stdio.h>

fv_value fv_graph_untied_bias_with(fv_graph *g, fv_value x, fv_value bias, const char *name) {
    if (!fv_build_usable(g) || !fv_build_valid(g, x, "an untied bias's input") ||
        !fv_build_valid(g, bias, "an untied bias"))
        return FV_NONE;
    const fv_value in[2] = {x, bias};
    return fv_graph_node(g, &fv_op_untied_bias, fv_build_name(g, name, "untied").text, in, 2, 1, NULL);
}

fv_value fv_graph_untied_bias(fv_graph *g, fv_value x, const char *name) {
    if (!fv_build_usable(g) || !fv_build_valid(g, x, "an untied bias's input")) return FV_NONE;
    const fv_layer_name n = fv_build_name(g, name, "untied");
    const fv_shape shape = g->values[x].shape;
    return fv_graph_untied_bias_with(
        g, x, fv_build_owned(g, n.text, "bias", shape.rank - 1, shape.dim + 1, FV_INIT_ZEROS, true), n.text);
}

fv_value fv_build_untied(fv_graph *g, fv_value x, fv_value bias, const char *layer) {
    char name[520];
    snprintf(name, sizeof name, "%s.untied", layer);
    if (x == FV_NONE || bias == FV_NONE) return FV_NONE;
    return fv_graph_untied_bias_with(g, x, bias, name);
}

/* ---- locally connected ---- */

static fv_attributes local_attr(const fv_conv_settings *s) {
    fv_attributes attr = {.conv = {.groups = s->groups,
                                   .true_convolution = s->true_convolution,
                                   .act_low = -(fv_real)INFINITY,
                                   .act_high = (fv_real)INFINITY}};
    fv_build_window(&attr.conv.window, s->kernel, s->stride, s->dilation, s->pad_before, s->pad_after, s->padding);
    return attr;
}

fv_value fv_graph_local_with(fv_graph *g, fv_value x, fv_value weight, fv_value bias, const fv_conv_settings *s,
                             const char *name) {
    if (!fv_build_usable(g)) return FV_NONE;
    if (!s) return fv_graph_fail(g, FV_ERR_ARGUMENT, "a locally connected layer needs settings");
    if (!fv_build_valid(g, x, "a locally connected layer's input") ||
        !fv_build_valid(g, weight, "a locally connected layer's weight"))
        return FV_NONE;
    const fv_layer_name n = fv_build_name(g, name, "local");
    if (s->connections)
        return fv_graph_fail(g, FV_ERR_ARGUMENT, "node \"%s\": a locally connected layer takes no connection table",
                             n.text);
    const fv_attributes attr = local_attr(s);
    const fv_value in[2] = {x, weight}, y = fv_graph_node(g, &fv_op_local, n.text, in, 2, 1, &attr);
    return bias == FV_NONE || y == FV_NONE ? y : fv_build_untied(g, y, bias, n.text);
}

fv_value fv_graph_local(fv_graph *g, fv_value x, const fv_conv_settings *s, const char *name) {
    if (!fv_build_usable(g)) return FV_NONE;
    if (!s) return fv_graph_fail(g, FV_ERR_ARGUMENT, "a locally connected layer needs settings");
    if (!fv_build_valid(g, x, "a locally connected layer's input")) return FV_NONE;
    const fv_layer_name n = fv_build_name(g, name, "local");
    const fv_shape in = g->values[x].shape;
    if (in.rank != 4 || s->out_channels < 1)
        return fv_graph_fail(g, FV_ERR_SHAPE, "node \"%s\": %d output channels and an input of %s do not fit", n.text,
                             s->out_channels, fv_shape_print(&in).text);
    fv_attributes attr = local_attr(s);
    const int64_t size[3] = {1, in.dim[2], in.dim[3]};
    int32_t out[3];
    const fv_status status = fv_window_resolve(n.text, &attr.conv.window, size, false, out);
    if (status != FV_OK) return fv_build_keep_error(g, status);
    const int64_t shape[6] = {s->out_channels, in.dim[1], out[1], out[2], s->kernel[0], s->kernel[1]},
                  bias[3] = {shape[0], out[1], out[2]};
    const fv_value w = fv_build_owned(g, n.text, "weight", 6, shape, s->init, true);
    if (w == FV_NONE) return FV_NONE;
    g->values[w].fan_in /= (int64_t)out[1] * out[2]; /* of one position */
    g->values[w].fan_out = shape[0] * shape[4] * shape[5];
    const fv_value b =
        s->bias == FV_BIAS_NONE ? FV_NONE : fv_build_owned(g, n.text, "bias", 3, bias, FV_INIT_ZEROS, true);
    return fv_graph_local_with(g, x, w, b, s, n.text);
}
