/* The other kinds of pooling, unpooling, values joined and cut, attention. */
#include "check/grad_draw.h"

/* Sizes that a window of up to 3 (or `most`) fits by a few steps. */
static void draw_windows(fv_grad_draw *d, fv_pool_settings *s, int64_t shape[4], int32_t most) {
    shape[0] = 0;
    shape[1] = between(d, 1, 12);
    s->ceil_mode = chance(d, 0.4);
    s->padding = chance(d, 0.7) ? FV_PAD_EXPLICIT : (fv_padding)between(d, FV_PAD_VALID, FV_PAD_SAME_LOWER);
    for (int i = 0; i < 2; i++) {
        s->window[i] = between(d, 1, most);
        s->stride[i] = between(d, 1, 3);
        if (chance(d, 0.5)) s->pad_before[i] = between(d, 0, s->window[i] - 1);
        if (chance(d, 0.5)) s->pad_after[i] = between(d, 0, s->window[i] - 1);
        shape[2 + i] = s->window[i] + between(d, 0, 4);
    }
}

static void build_lp(fv_grad_draw *d, float p, bool global) {
    fv_pool_settings s;
    int64_t shape[4];
    fv_pool_settings_default(&s);
    draw_windows(d, &s, shape, 3);
    s.kind = FV_POOL_LP;
    s.global = global;
    s.p = p;
    fv_grad_output(d, fv_graph_pool(fv_grad_graph(d), fv_grad_input(d, FV_GRAD_SPACED, 2, 4, shape), &s, NULL));
}

ROW(pool_lp) { build_lp(d, (float)between(d, 1, 3), false); }
ROW(pool_lp_fraction) { build_lp(d, check_uniform(fv_grad_random(d), 1.5f, 4), chance(d, 0.2)); } /* ONNX's p is whole */
ROW(pool_lp_global) { build_lp(d, (float)between(d, 1, 3), true); }

/* Large windows go in two passes. */
ROW(pool_weighted) {
    fv_pool_settings s;
    int64_t shape[4];
    fv_pool_settings_default(&s);
    draw_windows(d, &s, shape, chance(d, 0.5) ? 3 : 6);
    s.kind = FV_POOL_WEIGHTED;
    s.sigma = chance(d, 0.5) ? 0 : check_uniform(fv_grad_random(d), 0.5f, 3);
    fv_grad_output(d, fv_graph_pool(fv_grad_graph(d), fv_grad_input(d, FV_GRAD_UNIFORM, 2, 4, shape), &s, NULL));
}

ROW(pool_stride) {
    fv_pool_settings s;
    fv_pool_settings_default(&s);
    const int64_t shape[4] = {0, between(d, 1, 12), between(d, 1, 8), between(d, 1, 8)};
    s.kind = FV_POOL_STRIDE;
    for (int i = 0; i < 2; i++) s.stride[i] = between(d, 1, 4);
    if (s.stride[0] == 1 && s.stride[1] == 1) s.stride[1] = 2; /* 1x1 is the input itself */
    fv_grad_output(d, fv_graph_pool(fv_grad_graph(d), fv_grad_input(d, FV_GRAD_UNIFORM, 2, 4, shape), &s, NULL));
}

/* Pooled, changed, and put back: windows may overlap, and then values share a place. */
ROW(unpool) {
    fv_graph *g = fv_grad_graph(d);
    fv_pool_settings s;
    fv_value indices;
    int64_t shape[4];
    fv_pool_settings_default(&s);
    draw_windows(d, &s, shape, 3);
    const fv_value x = fv_grad_input(d, FV_GRAD_SPACED, 2, 4, shape);
    const fv_value y = fv_graph_tanh(g, fv_graph_max_pool_indices(g, x, &s, &indices, NULL), NULL);
    fv_grad_output(d, fv_graph_max_unpool(g, y, indices, (int32_t)shape[2], (int32_t)shape[3], NULL));
}

/* Parts of one value, each changed or left out, joined again. */
ROW(parts) {
    fv_graph *g = fv_grad_graph(d);
    int64_t shape[4] = {0, between(d, 1, 4), between(d, 1, 4), between(d, 1, 4)};
    const int32_t rank = chance(d, 0.7) ? 4 : 2, axis = rank == 2 || chance(d, 0.6) ? 1 : between(d, 2, 3),
                  count = between(d, 1, 4);
    int32_t sizes[4];
    fv_value parts[4], joined[5];
    shape[axis] = 0;
    for (int32_t i = 0; i < count; i++) shape[axis] += sizes[i] = between(d, 1, 9);
    const fv_value x = fv_grad_input(d, FV_GRAD_UNIFORM, 2, rank, shape);
    if (fv_graph_split(g, x, axis, count, sizes, parts, NULL) != FV_OK) return;
    int32_t kept = 0;
    for (int32_t i = 0; i < count; i++)
        if (i == 0 || chance(d, 0.8)) joined[kept++] = chance(d, 0.5) ? fv_graph_tanh(g, parts[i], NULL) : parts[i];
    if (chance(d, 0.9)) { /* few cases a row are to reach it */
        const int32_t size = between(d, 1, (int32_t)shape[axis]), begin = between(d, 0, (int32_t)shape[axis] - size);
        joined[kept++] = fv_graph_slice(g, fv_graph_sigmoid(g, x, NULL), axis, begin, size, NULL);
    }
    fv_grad_output(d, fv_graph_concat(g, joined, kept, axis, NULL));
}

ROW(scale_maps) {
    const int64_t shape[4] = {0, between(d, 1, 20), between(d, 1, 6), between(d, 1, 6)}, one[4] = {0, shape[1], 1, 1};
    const fv_value x = fv_grad_input(d, FV_GRAD_UNIFORM, 2, 4, shape);
    const fv_value s = fv_grad_input(d, FV_GRAD_UNIFORM, 2, chance(d, 0.5) ? 2 : 4, one);
    fv_grad_output(d, fv_graph_scale_maps(fv_grad_graph(d), x, s, NULL));
}

ROW(scale_pixels) {
    const int64_t shape[4] = {0, between(d, 1, 20), between(d, 1, 6), between(d, 1, 6)},
                  one[4] = {0, 1, shape[2], shape[3]};
    const fv_value x = fv_grad_input(d, FV_GRAD_UNIFORM, 2, 4, shape);
    fv_grad_output(d, fv_graph_scale_pixels(fv_grad_graph(d), x, fv_grad_input(d, FV_GRAD_UNIFORM, 2, 4, one), NULL));
}

/* Squeeze-and-excitation: the maps scale themselves. */
ROW(squeeze) {
    fv_graph *g = fv_grad_graph(d);
    fv_pool_settings pool;
    fv_pool_settings_default(&pool);
    pool.kind = FV_POOL_AVERAGE;
    pool.global = true;
    const int64_t shape[4] = {0, between(d, 2, 12), between(d, 1, 5), between(d, 1, 5)};
    const fv_value x = fv_grad_input(d, FV_GRAD_UNIFORM, 2, 4, shape);
    fv_value s =
        fv_graph_tanh(g, fv_graph_linear(g, fv_graph_pool(g, x, &pool, NULL), 3, true, FV_INIT_HE, "fc1"), NULL);
    s = fv_graph_sigmoid(g, fv_graph_linear(g, s, (int32_t)shape[1], true, FV_INIT_LECUN, "fc2"), NULL);
    fv_grad_output(d, fv_graph_scale_maps(g, x, s, NULL));
}

const fv_grad_row fv_grad_rows_pool[] = {
    {"pool.lp", build_pool_lp},
    {"pool.lp.fraction", build_pool_lp_fraction},
    {"pool.lp.global", build_pool_lp_global},
    {"pool.weighted", build_pool_weighted},
    {"pool.stride", build_pool_stride},
    {"unpool", build_unpool},
    {"parts", build_parts},
    {"attention.maps", build_scale_maps},
    {"attention.pixels", build_scale_pixels},
    {"attention.squeeze", build_squeeze},
    {NULL, NULL},
};
