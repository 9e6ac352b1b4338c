/* Contrast normalization (SPEC section 4). */
#include "check/grad_draw.h"

/* Windows smaller and larger than the maps, and inside them. A map of one pixel less its mean, or over its spread, has
 * no gradient. */
static fv_value draw_maps(fv_grad_draw *d, bool across, fv_contrast_settings *s) {
    fv_contrast_settings_default(s);
    s->window = chance(d, 0.2) ? 9 : between(d, 2, 5);
    if (chance(d, 0.6)) s->sigma = check_uniform(fv_grad_random(d), 0.5f, 3);
    s->box = chance(d, 0.3);
    s->across_maps = across;
    const int64_t shape[4] = {0, between(d, 1, 8), between(d, 1, 9), between(d, 2, 9)};
    return fv_grad_input(d, FV_GRAD_UNIFORM, 2, 4, shape);
}

static void build_subtractive(fv_grad_draw *d, bool across) {
    fv_contrast_settings s;
    const fv_value x = draw_maps(d, across, &s);
    fv_grad_output(d, fv_graph_subtractive_norm(fv_grad_graph(d), x, &s, NULL));
}

ROW(subtractive_across) { build_subtractive(d, true); }
ROW(subtractive_by_map) { build_subtractive(d, false); }

/* Steps over sigma = c are drawn again. */
static void build_divisive(fv_grad_draw *d, bool across) {
    fv_contrast_settings s;
    const fv_value x = draw_maps(d, across, &s);
    fv_grad_output(d, fv_graph_divisive_norm(fv_grad_graph(d), x, &s, NULL));
}

ROW(divisive_across) { build_divisive(d, true); }
ROW(divisive_by_map) { build_divisive(d, false); }

static void build_brightness(fv_grad_draw *d, bool all) {
    static const float powers[] = {1, 0.5f, 0.75f};
    fv_brightness_settings s;
    fv_brightness_settings_default(&s);
    s.kappa = check_uniform(fv_grad_random(d), 0.5f, 2);
    s.lambda = check_uniform(fv_grad_random(d), 0.05f, 1);
    s.mu = chance(d, 0.6) ? powers[between(d, 0, 2)] : check_uniform(fv_grad_random(d), 0.2f, 1.5f);
    s.maps = all ? 0 : between(d, 1, 7);
    if (!all) s.lambda /= (float)s.maps; /* as ONNX has it; not every lambda is a quotient, and a file could not keep it */
    fv_grad_output(d, fv_graph_brightness_norm(fv_grad_graph(d), maps(d, FV_GRAD_UNIFORM, 20), &s, NULL));
}

ROW(brightness_all) { build_brightness(d, true); }
ROW(brightness_window) { build_brightness(d, false); }

const fv_grad_row fv_grad_rows_contrast[] = {
    {"contrast.subtractive.across", build_subtractive_across},
    {"contrast.subtractive.by_map", build_subtractive_by_map},
    {"contrast.divisive.across", build_divisive_across},
    {"contrast.divisive.by_map", build_divisive_by_map},
    {"contrast.brightness.all", build_brightness_all},
    {"contrast.brightness.window", build_brightness_window},
    {NULL, NULL},
};
