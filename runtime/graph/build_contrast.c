/* The builder's contrast normalizations (SPEC section 4). */
#include "graph/graph.h"

void fv_contrast_settings_default(fv_contrast_settings *s) {
    if (s) *s = (fv_contrast_settings){.window = 9, .across_maps = true};
}

static fv_value contrast(fv_graph *g, fv_value x, const fv_contrast_settings *s, const fv_op *op, int32_t outs,
                         const char *name) {
    if (!fv_build_usable(g)) return FV_NONE;
    if (!s) return fv_graph_fail(g, FV_ERR_ARGUMENT, "contrast normalization needs settings");
    if (!fv_build_valid(g, x, "contrast normalization's input")) return FV_NONE;
    const float sigma = s->box ? 1 : s->sigma == 0 ? (float)s->window / 4 : s->sigma;
    const fv_attributes attr = {
        .contrast = {.window = s->window, .sigma = sigma, .across = s->across_maps, .box = s->box}};
    return fv_graph_node(g, op, fv_build_name(g, name, op->name).text, &x, 1, outs, &attr);
}

fv_value fv_graph_subtractive_norm(fv_graph *g, fv_value x, const fv_contrast_settings *s, const char *name) {
    return contrast(g, x, s, &fv_op_subtractive_norm, 1, name);
}

fv_value fv_graph_divisive_norm(fv_graph *g, fv_value x, const fv_contrast_settings *s, const char *name) {
    return contrast(g, x, s, &fv_op_divisive_norm, 3, name);
}

void fv_brightness_settings_default(fv_brightness_settings *s) {
    if (s) *s = (fv_brightness_settings){.kappa = 1, .lambda = 1e-4f, .mu = 0.75f};
}

fv_value fv_graph_brightness_norm(fv_graph *g, fv_value x, const fv_brightness_settings *s, const char *name) {
    if (!fv_build_usable(g)) return FV_NONE;
    if (!s) return fv_graph_fail(g, FV_ERR_ARGUMENT, "brightness normalization needs settings");
    if (!fv_build_valid(g, x, "brightness normalization's input")) return FV_NONE;
    const fv_attributes attr = {.brightness = {.maps = s->maps, .kappa = s->kappa, .lambda = s->lambda, .mu = s->mu}};
    return fv_graph_node(g, &fv_op_brightness_norm, fv_build_name(g, name, "brightness_norm").text, &x, 1, 1, &attr);
}
