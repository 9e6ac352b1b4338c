/* conv_pooled.pack, weight_grad, input_grad against the contract's sums in double. */
#include "kernels/check/engine.h"

#include <stdio.h>

typedef struct pooled_case {
    fv_conv_pooled_desc d;
    size_t x_size, g_size, weights; /* elements; weights: of one map */
    const float *g;
    const int32_t *at;
} pooled_case;

/* One axis: a convolution whose output holds at least one window. */
static void draw_axis(fv_check_random *r, fv_conv_pooled_desc *d, int i, int32_t most) {
    int32_t out;
    do {
        d->in[i] = check_between(r, 1, most);
        d->kernel[i] = check_chance(r, 0.5) ? 3 : check_between(r, 1, 7);
        d->stride[i] = check_chance(r, 0.7) ? 1 : check_between(r, 2, 3);
        d->dilation[i] = i == 1 || check_chance(r, 0.8) ? 1 : 2;
        d->pad[i] = check_chance(r, 0.5) ? 0 : check_between(r, 0, d->kernel[i]);
        d->window[i] = check_chance(r, 0.7) ? 2 : check_between(r, 1, 4);
        const int32_t room = d->in[i] + 2 * d->pad[i] - d->dilation[i] * (d->kernel[i] - 1) - 1;
        out = room < 0 ? 0 : room / d->stride[i] + 1;
    } while (out < d->window[i]);
    d->pooled[i] = out / d->window[i];
}

/* A shape that the candidate says it suits; scalar takes all of them. */
static void draw_desc(fv_case *c, pooled_case *p) {
    fv_check_random *r = &c->random;
    const size_t budget = check_chance(r, 0.05) ? 400000 : 20000;
    int32_t most = 20;
    size_t channels = 40, products;
    fv_conv_pooled_desc *d = &p->d;
    do {
        *d = (fv_conv_pooled_desc){.images = check_between(r, 1, 4), .true_convolution = check_chance(r, 0.3)};
        draw_axis(r, d, 0, most);
        draw_axis(r, d, 1, most);
        d->channels = check_chance(r, 0.3) ? 1 : (int32_t)fv_check_length(r, channels);
        d->maps = (int32_t)fv_check_length(r, check_chance(r, 0.1) ? 150 : channels);
        products = (size_t)d->images * (size_t)(d->pooled[0] * d->pooled[1] * d->maps) *
                   (size_t)(fv_conv_pooled_taps(d) * d->channels);
        if (most > 6) most--;
        if (channels > 4) channels = channels * 7 / 8;
    } while (products > budget || !c->candidate->conv_pooled.suits(d));
}

static void draw_case(fv_case *c, pooled_case *p) {
    fv_check_finite_only(c); /* a non-finite gradient may spread, a padded one is multiplied */
    if (c->given)
        p->d = c->given->pooled;
    else
        draw_desc(c, p);
    if (!c->candidate->conv_pooled.suits(&p->d)) c->candidate = c->reference; /* a given shape */
    const fv_conv_pooled_desc *d = &p->d;
    p->g_size = (size_t)d->images * (size_t)d->pooled[0] * (size_t)d->pooled[1] * (size_t)d->maps;
    p->x_size = (size_t)d->images * (size_t)d->in[0] * (size_t)d->in[1] * (size_t)d->channels;
    p->weights = (size_t)fv_conv_pooled_taps(d) * (size_t)d->channels;
    int32_t *at = fv_check_place(c, "at", p->g_size * sizeof *at, sizeof *at, true);
    for (size_t i = 0; i < p->g_size; i++) at[i] = check_between(&c->random, 0, d->window[0] * d->window[1] - 1);
    p->at = at;
    p->g = fv_check_input(c, "g", p->g_size);
    fv_check_shape(
        c, "%s n%d C%d K%d in %dx%d kernel %dx%d stride %dx%d dilation %dx%d pad %dx%d pooled %dx%d window %dx%d%s",
        c->given ? c->given->name : "random", d->images, d->channels, d->maps, d->in[0], d->in[1], d->kernel[0],
        d->kernel[1], d->stride[0], d->stride[1], d->dilation[0], d->dilation[1], d->pad[0], d->pad[1], d->pooled[0],
        d->pooled[1], d->window[0], d->window[1], d->true_convolution ? " true convolution" : "");
}

/* Element of x that entry i of g, through place at[i], reads at kernel position t; -1: padding. */
static ptrdiff_t source(const pooled_case *p, size_t i, int32_t t) {
    const fv_conv_pooled_desc *d = &p->d;
    const size_t window = i / (size_t)d->maps, image = window / (size_t)(d->pooled[0] * d->pooled[1]);
    const int32_t inside = (int32_t)(window % (size_t)(d->pooled[0] * d->pooled[1]));
    const int32_t o[2] = {inside / d->pooled[1], inside % d->pooled[1]},
                  a[2] = {p->at[i] / d->window[1], p->at[i] % d->window[1]};
    const int32_t u[2] = {t / d->kernel[1], t % d->kernel[1]};
    ptrdiff_t at[2];
    for (int k = 0; k < 2; k++) {
        at[k] = (ptrdiff_t)(o[k] * d->window[k] + a[k]) * d->stride[k] + u[k] * d->dilation[k] - d->pad[k];
        if (at[k] < 0 || at[k] >= d->in[k]) return -1;
    }
    return (((ptrdiff_t)image * d->in[0] + at[0]) * d->in[1] + at[1]) * d->channels;
}

static size_t weight_row(const pooled_case *p, int32_t t) {
    const int32_t taps = fv_conv_pooled_taps(&p->d);
    return (size_t)(p->d.true_convolution ? taps - 1 - t : t) * (size_t)p->d.channels;
}

static fv_approx *sums_to_expected(fv_case *c, const fv_approx_sum *sum, size_t n) {
    fv_approx *e = fv_check_expected(c, n);
    for (size_t i = 0; i < n; i++) e[i] = approx_sum(&sum[i], c->eps);
    return e;
}

/* ---- weight gradient: dw is [taps*channels][pitch] ---- */

typedef struct columns {
    ptrdiff_t pitch;
    size_t size;
    fv_range images;
} columns;

static fv_approx *expect_weights(fv_case *c, const pooled_case *p, const float *x, const columns *w) {
    const size_t maps = (size_t)p->d.maps, per_image = p->g_size / (size_t)p->d.images;
    fv_approx_sum *sum = fv_check_plain(c, p->weights * maps * sizeof *sum);
    for (size_t i = w->images.begin * per_image; i < w->images.end * per_image; i++)
        for (int32_t t = 0; t < fv_conv_pooled_taps(&p->d); t++) {
            const ptrdiff_t from = source(p, i, t);
            for (int32_t k = 0; k < p->d.channels && from >= 0; k++)
                approx_sum_add(&sum[(weight_row(p, t) + (size_t)k) * maps + i % maps],
                               approx((double)x[from + k] * p->g[i]));
        }
    fv_approx *e = fv_check_expected(c, w->size);
    for (size_t i = 0; i < p->weights * maps; i++)
        e[(ptrdiff_t)(i / maps) * w->pitch + (ptrdiff_t)(i % maps)] = approx_sum(&sum[i], c->eps);
    return e;
}

static float *weight_gradient(fv_case *c, const fv_conv_pooled_kernels *k, const pooled_case *p, const float *x,
                              const columns *w, bool whole) {
    float *dw = fv_check_output(c, "dw", w->size);
    void *scratch = fv_check_scratch(c, k->weight_grad_scratch(&p->d));
    const fv_range maps = {0, (size_t)p->d.maps};
    fv_check_cut cut = {.part = {maps}, .parts = 1};
    if (!whole) cut = fv_check_cut_range(c, maps);
    for (size_t i = 0; i < cut.parts; i++)
        k->weight_grad(&p->d, x, p->g, p->at, dw, w->pitch, w->images, cut.part[i], scratch);
    return dw;
}

void fv_check_conv_pooled_weight_grad(fv_case *c) {
    pooled_case p;
    draw_case(c, &p);
    const float *x = fv_check_input(c, "x", p.x_size);
    columns w = {.pitch = p.d.maps + check_between(&c->random, 0, 3)};
    w.size = (p.weights - 1) * (size_t)w.pitch + (size_t)p.d.maps;
    w.images.begin = check_below(&c->random, (size_t)p.d.images);
    w.images.end = w.images.begin + 1 + check_below(&c->random, (size_t)p.d.images - w.images.begin);
    fv_check_freeze(c);
    const float *whole = weight_gradient(c, &c->candidate->conv_pooled, &p, x, &w, true);
    const float *scalar =
        c->reference == c->candidate ? NULL : weight_gradient(c, &c->reference->conv_pooled, &p, x, &w, true);
    fv_check_compare(c, "dw", whole, scalar, expect_weights(c, &p, x, &w), w.size);
    fv_check_same_bits(c, "dw cut into maps", weight_gradient(c, &c->candidate->conv_pooled, &p, x, &w, false), whole,
                       w.size);
}

/* ---- packing and input gradient ---- */

static float *pack(fv_case *c, const fv_conv_pooled_kernels *k, const pooled_case *p, const fv_conv_weights *w,
                   bool whole) {
    const size_t n = k->packed_size(&p->d);
    float *packed = fv_check_place(c, "packed weights", n * sizeof *packed, FV_ALIGNMENT, false);
    memset(packed, 0xff, n * sizeof *packed);
    const fv_range maps = {0, (size_t)p->d.maps};
    fv_check_cut cut = {.part = {maps}, .parts = 1};
    if (!whole) cut = fv_check_cut_range(c, maps);
    for (size_t i = 0; i < cut.parts; i++) k->pack(&p->d, w, packed, cut.part[i]);
    return packed;
}

static fv_conv_weights draw_weights(fv_case *c, const pooled_case *p) {
    const float *data = fv_check_input(c, "weights", p->weights * (size_t)p->d.maps);
    const ptrdiff_t taps = fv_conv_pooled_taps(&p->d), channels = p->d.channels, maps = p->d.maps;
    if (check_chance(&c->random, 0.5)) return (fv_conv_weights){data, 0, 1, taps, channels * taps};
    return (fv_conv_weights){data, 0, channels * maps, maps, 1};
}

static fv_approx *expect_input(fv_case *c, const pooled_case *p, const fv_conv_weights *w) {
    fv_approx_sum *sum = fv_check_plain(c, p->x_size * sizeof *sum);
    for (size_t i = 0; i < p->g_size; i++)
        for (int32_t t = 0; t < fv_conv_pooled_taps(&p->d); t++) {
            const ptrdiff_t to = source(p, i, t);
            const float *row = w->data + (ptrdiff_t)(weight_row(p, t) / (size_t)p->d.channels) * w->tap;
            for (int32_t k = 0; k < p->d.channels && to >= 0; k++)
                approx_sum_add(&sum[to + k],
                               approx((double)row[k * w->in + (ptrdiff_t)(i % (size_t)p->d.maps) * w->out] * p->g[i]));
        }
    return sums_to_expected(c, sum, p->x_size);
}

static float *input_gradient(fv_case *c, const fv_conv_pooled_kernels *k, const pooled_case *p,
                             const fv_conv_weights *w, bool whole) {
    const float *packed = pack(c, k, p, w, whole);
    float *dx = fv_check_output(c, "dx", p->x_size);
    void *scratch = fv_check_scratch(c, k->input_grad_scratch(&p->d));
    const fv_range images = {0, (size_t)p->d.images};
    fv_check_cut cut = {.part = {images}, .parts = 1};
    if (!whole) cut = fv_check_cut_range(c, images);
    for (size_t i = 0; i < cut.parts; i++) k->input_grad(&p->d, packed, p->g, p->at, dx, cut.part[i], scratch);
    return dx;
}

void fv_check_conv_pooled_input_grad(fv_case *c) {
    pooled_case p;
    draw_case(c, &p);
    const fv_conv_weights w = draw_weights(c, &p);
    fv_check_freeze(c);
    const float *whole = input_gradient(c, &c->candidate->conv_pooled, &p, &w, true);
    const float *scalar =
        c->reference == c->candidate ? NULL : input_gradient(c, &c->reference->conv_pooled, &p, &w, true);
    fv_check_compare(c, "dx", whole, scalar, expect_input(c, &p, &w), p.x_size);
    fv_check_same_bits(c, "dx cut into images", input_gradient(c, &c->candidate->conv_pooled, &p, &w, false), whole,
                       p.x_size);
}

/* Packed in parts equals packed whole, and small integers find every weight in its place. */
void fv_check_conv_pooled_pack(fv_case *c) {
    pooled_case p;
    c->values = FV_VALUES_INTEGER;
    c->eps = 0;
    draw_case(c, &p);
    const fv_conv_weights w = draw_weights(c, &p);
    fv_check_freeze(c);
    const fv_conv_pooled_kernels *k = &c->candidate->conv_pooled;
    fv_check_same_bits(c, "packed weights", pack(c, k, &p, &w, false), pack(c, k, &p, &w, true), k->packed_size(&p.d));
    fv_check_compare(c, "dx", input_gradient(c, k, &p, &w, true), NULL, expect_input(c, &p, &w), p.x_size);
}
