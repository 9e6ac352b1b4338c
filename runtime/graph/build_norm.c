/* Builders of normalization. */
#include "graph/graph.h"

#include <math.h>

void fv_norm_settings_default(fv_norm_settings *s) {
    if (s) *s = (fv_norm_settings){.epsilon = 1e-5f, .momentum = 0.1f};
}

static fv_attributes attributes_of(const fv_norm_settings *s, int32_t groups) {
    return (fv_attributes){.norm = {.epsilon = (fv_real)s->epsilon,
                                    .momentum = (fv_real)s->momentum,
                                    .act_low = -(fv_real)INFINITY,
                                    .act_high = (fv_real)INFINITY,
                                    .groups = groups,
                                    .unbiased = s->unbiased_running_variance,
                                    .batch_moments = s->batch_moments}};
}

static fv_norm_settings or_default(const fv_norm_settings *s) {
    fv_norm_settings settings;
    fv_norm_settings_default(&settings);
    return s ? *s : settings;
}

/* NAME.scale of ones and NAME.bias of zeros, one a channel. */
static bool make_affine(fv_graph *g, fv_value x, const char *name, fv_value out[2]) {
    if (!fv_build_valid(g, x, "a normalization's input")) return false;
    const int64_t channels = g->values[x].shape.rank > 1 ? g->values[x].shape.dim[1] : 0;
    out[0] = fv_build_owned(g, name, "scale", 1, &channels, FV_INIT_ONES, true);
    out[1] = fv_build_owned(g, name, "bias", 1, &channels, FV_INIT_ZEROS, true);
    return out[1] != FV_NONE;
}

fv_value fv_graph_batch_norm_with(fv_graph *g, fv_value x, fv_value scale, fv_value bias, fv_value running_mean,
                                  fv_value running_variance, const fv_norm_settings *s, const char *name) {
    static const char *const what[5] = {"a batch normalization's input", "a batch normalization's scale",
                                        "a batch normalization's bias", "a batch normalization's running mean",
                                        "a batch normalization's running variance"};
    const fv_value in[5] = {x, scale, bias, running_mean, running_variance};
    const fv_norm_settings settings = or_default(s);
    if (!fv_build_usable(g)) return FV_NONE;
    for (int i = 0; i < 5; i++)
        if (!fv_build_valid(g, in[i], what[i])) return FV_NONE;
    for (int i = 3; i < 5; i++)
        if (g->values[in[i]].kind == FV_VALUE_PARAMETER) g->values[in[i]].trainable = false;
    const fv_attributes attr = attributes_of(&settings, 0);
    return fv_graph_node(g, &fv_op_batch_norm, fv_build_name(g, name, "batch_norm").text, in, 5, 1, &attr);
}

fv_value fv_graph_batch_norm(fv_graph *g, fv_value x, const fv_norm_settings *s, const char *name) {
    fv_value affine[2];
    if (!fv_build_usable(g)) return FV_NONE;
    const fv_layer_name n = fv_build_name(g, name, "batch_norm");
    if (!make_affine(g, x, n.text, affine)) return FV_NONE;
    const int64_t channels = g->values[affine[0]].shape.dim[0];
    const fv_value mean = fv_build_owned(g, n.text, "running_mean", 1, &channels, FV_INIT_ZEROS, false);
    const fv_value variance = fv_build_owned(g, n.text, "running_variance", 1, &channels, FV_INIT_ONES, false);
    if (variance == FV_NONE) return FV_NONE;
    return fv_graph_batch_norm_with(g, x, affine[0], affine[1], mean, variance, s, n.text);
}

fv_value fv_graph_group_norm_with(fv_graph *g, fv_value x, fv_value scale, fv_value bias, int32_t groups, float epsilon,
                                  const char *name) {
    const fv_value in[3] = {x, scale, bias};
    fv_norm_settings s;
    if (!fv_build_usable(g)) return FV_NONE;
    if (!fv_build_valid(g, x, "a normalization's input") || !fv_build_valid(g, scale, "a normalization's scale") ||
        !fv_build_valid(g, bias, "a normalization's bias"))
        return FV_NONE;
    fv_norm_settings_default(&s);
    s.epsilon = epsilon;
    const fv_attributes attr = attributes_of(&s, groups);
    return fv_graph_node(g, &fv_op_group_norm, fv_build_name(g, name, "group_norm").text, in, 3, 1, &attr);
}

fv_value fv_graph_group_norm(fv_graph *g, fv_value x, int32_t groups, float epsilon, const char *name) {
    fv_value affine[2];
    if (!fv_build_usable(g)) return FV_NONE;
    const fv_layer_name n = fv_build_name(g, name, "group_norm");
    return make_affine(g, x, n.text, affine) ? fv_graph_group_norm_with(g, x, affine[0], affine[1], groups, epsilon, n.text)
                                             : FV_NONE;
}

fv_value fv_graph_layer_norm(fv_graph *g, fv_value x, float epsilon, const char *name) {
    if (!fv_build_usable(g)) return FV_NONE;
    return fv_graph_group_norm(g, x, 1, epsilon, fv_build_name(g, name, "layer_norm").text);
}

fv_value fv_graph_instance_norm(fv_graph *g, fv_value x, float epsilon, const char *name) {
    if (!fv_build_usable(g) || !fv_build_valid(g, x, "a normalization's input")) return FV_NONE;
    const fv_layer_name n = fv_build_name(g, name, "instance_norm");
    const fv_shape *shape = &g->values[x].shape;
    if (shape->rank != 4)
        return fv_graph_fail(g, FV_ERR_SHAPE, "node \"%s\": instance normalization takes maps (N,C,H,W)", n.text);
    return fv_graph_group_norm(g, x, (int32_t)shape->dim[1], epsilon, n.text);
}
