/* Lp and weighted pooling, forwards and backwards, and unpooling, against nested loops in double. */
#include "kernels/check/pooling.h"

/* p or a table of weights: one of the two. */
typedef struct kind {
    float p; /* 0: weighted */
    const float *weight;
} kind;

static kind draw_kind(fv_case *c, const fv_check_pooling *g) {
    static const float often[4] = {1, 2, 2, 3};
    kind k = {0};
    if (c->argument)
        k.p = check_chance(&c->random, 0.7) ? often[check_below(&c->random, 4)] : check_uniform(&c->random, 1.25f, 6);
    else
        k.weight = fv_check_input(c, "weight", (size_t)fv_check_pool_window(&g->d));
    return k;
}

static fv_approx power(fv_approx r, double p, double eps) {
    return r.value == 0 ? approx(0) : approx_exp(approx_mul(approx_log(r, eps), approx(p), eps), eps);
}

/* m (sum (|x|/m)^p)^(1/p), as the contract says it; the terms are at most 1 but for rounding, and so is the exponent's
 * sign. */
static fv_approx norm(const double *x, size_t n, double p, double eps) {
    fv_approx_sum sum = {0};
    double m = 0;
    for (size_t i = 0; i < n; i++)
        if (fabs(x[i]) > m || (x[i] != x[i] && m == m)) m = fabs(x[i]);
    if (p != 1 && p != 2 && !(m > 0 && m < INFINITY)) return approx(m);
    for (size_t i = 0; i < n; i++) {
        const fv_approx v = approx(fabs(x[i]));
        approx_sum_add(&sum, p == 1   ? v
                             : p == 2 ? approx_mul(v, v, eps)
                             : p == 3 ? approx_mul(v, approx_mul(v, v, 0), 2 * eps)
                                      : power(approx_div(v, approx(m), eps), p, eps));
    }
    const fv_approx total = approx_sum(&sum, eps);
    if (p == 1) return total;
    if (p == 2) return approx_sqrt(total, eps);
    if (p == 3)
        return approx_round(cbrt(total.value), total.error / (3 * pow(total.value, 2.0 / 3)),
                            4 * eps); /* a cube root of 1.5 ULP */
    const fv_approx root = approx_div(approx_log(total, eps), approx(p), eps);
    const double value = exp(root.value);
    return approx_mul(approx(m), approx_round(value, value * expm1(root.error), 1.1 * eps), eps);
}

/* Squares must not overflow or vanish in float: the double would not know. */
static float *draw_values(fv_case *c, const char *name, size_t n) {
    float *x = fv_check_place(c, name, n * sizeof *x, sizeof *x, true);
    fv_check_fill(c, x, n);
    for (size_t i = 0; i < n; i++)
        if (isfinite(x[i]) && (fabsf(x[i]) > 1e6f || fabsf(x[i]) < 1e-6f))
            x[i] = copysignf(x[i] == 0 ? 0 : 0.75f, x[i]);
    return x;
}

static void forward(fv_case *c, const fv_kernels *k, const fv_check_pooling *g, const kind *f, const float *x, float *y,
                    bool whole) {
    const fv_range all = {0, g->out_pixels};
    fv_check_cut cut = {.part = {all}, .parts = 1};
    if (!whole) cut = fv_check_cut_range(c, all);
    for (size_t i = 0; i < cut.parts; i++)
        if (f->weight)
            k->pool.weighted(&g->d, f->weight, x, y, cut.part[i]);
        else
            k->pool.lp(&g->d, f->p, x, y, cut.part[i]);
}

static fv_approx expect_window(fv_case *c, const fv_check_pooling *g, const kind *f, const float *x,
                               const fv_check_pixel *o, int32_t channel) {
    static _Thread_local double inside[1024];
    fv_approx_sum sum = {0};
    size_t n = 0;
    for (int32_t k = 0; k < fv_check_pool_window(&g->d); k++) {
        bool counted;
        const ptrdiff_t from = fv_check_pool_source(&g->d, o, k, &counted);
        if (from < 0) continue;
        if (f->weight)
            approx_sum_add(&sum, approx((double)f->weight[k] * x[from + channel]));
        else if (n < FV_ARRAY_SIZE(inside))
            inside[n++] = x[from + channel];
    }
    return f->weight ? approx_sum(&sum, c->eps) : norm(inside, n, f->p, c->eps);
}

void fv_check_pool_kind(fv_case *c) {
    fv_check_pooling g;
    fv_check_draw_pooling(c, &g, false);
    const kind f = draw_kind(c, &g);
    if (f.p > 1) fv_check_inexact(c);
    const float *x = draw_values(c, "x", g.x_size);
    fv_check_freeze(c);
    fv_approx *expected = fv_check_expected(c, g.y_size);
    for (size_t p = 0; p < g.out_pixels; p++) {
        const fv_check_pixel o = fv_check_pixel_at(g.d.out, p);
        for (int32_t channel = 0; channel < g.d.channels; channel++)
            expected[fv_check_pixel_offset(g.d.out_pitch, &o) + channel] = expect_window(c, &g, &f, x, &o, channel);
    }
    float *y[3];
    for (int i = 0; i < 3; i++) y[i] = fv_check_output(c, "y", g.y_size);
    forward(c, c->candidate, &g, &f, x, y[0], true);
    forward(c, c->reference, &g, &f, x, y[1], true);
    fv_check_compare(c, "y", y[0], y[1], expected, g.y_size);
    forward(c, c->candidate, &g, &f, x, y[2], false);
    fv_check_same_bits(c, "y cut into ranges", y[2], y[0], g.y_size);
}

/* ---- gradients ---- */

typedef struct sources {
    const float *x, *y, *dy;
} sources;

static void backward(fv_case *c, const fv_kernels *k, const fv_check_pooling *g, const kind *f, const sources *s,
                     float *dx, bool whole) {
    const fv_range all = {0, g->in_pixels};
    fv_check_cut cut = {.part = {all}, .parts = 1};
    if (!whole) cut = fv_check_cut_range(c, all);
    for (size_t i = 0; i < cut.parts; i++)
        if (f->weight)
            k->pool.weighted_grad(&g->d, f->weight, s->dy, dx, cut.part[i]);
        else
            k->pool.lp_grad(&g->d, f->p, s->x, s->y, s->dy, dx, cut.part[i]);
}

static fv_approx share(double x, double y, double p, double eps) {
    if (y == 0) return approx(0);
    if (p == 1) return approx((x > 0) - (x < 0));
    const fv_approx ratio = approx_div(approx(fabs(x)), approx(y), eps);
    fv_approx r = p == 2 ? ratio : p == 3 ? approx_mul(ratio, ratio, eps) : power(ratio, p - 1, eps);
    if (x < 0) r.value = -r.value;
    return r;
}

static fv_approx *expect_grad(fv_case *c, const fv_check_pooling *g, const kind *f, const sources *s) {
    const fv_pool_desc *d = &g->d;
    fv_approx_sum *sum = fv_check_plain(c, g->x_size * sizeof *sum);
    for (size_t p = 0; p < g->out_pixels; p++) {
        const fv_check_pixel o = fv_check_pixel_at(d->out, p);
        for (int32_t k = 0; k < fv_check_pool_window(d); k++) {
            bool counted;
            const ptrdiff_t to = fv_check_pool_source(d, &o, k, &counted),
                            from = fv_check_pixel_offset(d->out_pitch, &o);
            for (int32_t channel = 0; to >= 0 && channel < d->channels; channel++) {
                const double dy = s->dy[from + channel];
                const fv_approx w =
                    f->weight ? approx(f->weight[k]) : share(s->x[to + channel], s->y[from + channel], f->p, c->eps);
                approx_sum_add(&sum[to + channel], approx_mul(approx(dy), w, c->eps));
            }
        }
    }
    fv_approx *e = fv_check_expected(c, g->x_size);
    for (size_t p = 0; p < g->in_pixels; p++) {
        const fv_check_pixel i = fv_check_pixel_at(d->in, p);
        const ptrdiff_t at = fv_check_pixel_offset(d->in_pitch, &i);
        for (ptrdiff_t k = at; k < at + d->channels; k++) e[k] = approx_sum(&sum[k], c->eps);
    }
    return e;
}

/* y: what forward gives where that is finite, so that shares are at most 1. */
void fv_check_pool_kind_grad(fv_case *c) {
    fv_check_pooling g;
    fv_check_draw_pooling(c, &g, false);
    const kind f = draw_kind(c, &g);
    if (f.p > 1) fv_check_inexact(c);
    fv_check_finite_only(c);
    sources s = {.dy = fv_check_input(c, "dy", g.y_size)};
    if (!f.weight) {
        float *y = fv_check_place(c, "y", g.y_size * sizeof *y, sizeof *y, true);
        s.x = draw_values(c, "x", g.x_size);
        c->reference->pool.lp(&g.d, f.p, s.x, y, (fv_range){0, g.out_pixels});
        s.y = y;
    }
    fv_check_freeze(c);
    float *dx[3];
    for (int i = 0; i < 3; i++) dx[i] = fv_check_output(c, "dx", g.x_size);
    backward(c, c->candidate, &g, &f, &s, dx[0], true);
    backward(c, c->reference, &g, &f, &s, dx[1], true);
    fv_check_compare(c, "dx", dx[0], dx[1], expect_grad(c, &g, &f, &s), g.x_size);
    backward(c, c->candidate, &g, &f, &s, dx[2], false);
    fv_check_same_bits(c, "dx cut into ranges", dx[2], dx[0], g.x_size);
}

/* ---- unpooling: argument 0 forwards, 1 backwards ---- */

/* Places of which some are far outside, and some named several times. */
static int32_t draw_place(fv_check_random *r, size_t pixels) {
    static const int32_t far[4] = {-1, INT32_MIN, INT32_MAX, -1000};
    if (check_chance(r, 0.05)) return far[check_below(r, 4)];
    return check_chance(r, 0.05) ? (int32_t)pixels : (int32_t)check_below(r, pixels);
}

/* Any numbers of pixels, or a pooled map and one of windows side by side. */
static fv_unpool_desc draw_unpool(fv_check_random *r) {
    fv_unpool_desc d = {fv_check_length(r, 30), fv_check_length(r, 90), fv_check_length(r, 40), 0, 0};
    if (check_chance(r, 0.4)) return d;
    const size_t height = 1 + check_below(r, 4), width = 1 + check_below(r, 5);
    d.pooled_width = width;
    d.pooled = height * width;
    d.width = width * (1 + check_below(r, 3)) + check_chance(r, 0.1);
    d.pixels = d.width * (height * (1 + check_below(r, 3)) + check_chance(r, 0.1));
    return d;
}

/* Mostly every value to a pixel of its own window, as pooling leaves them. */
static void draw_places(fv_check_random *r, const fv_unpool_desc *d, int32_t *place) {
    const bool own = d->width && check_chance(r, 0.7);
    const double strays = check_chance(r, 0.7) ? 0 : 0.02;
    for (size_t i = 0; i < d->pooled * d->channels; i++) {
        const size_t at = i / d->channels;
        if (!own || check_chance(r, strays)) {
            place[i] = draw_place(r, d->pixels);
            continue;
        }
        const size_t rows = d->pixels / d->width / (d->pooled / d->pooled_width), columns = d->width / d->pooled_width;
        const size_t y = at / d->pooled_width * rows + check_below(r, rows),
                     x = at % d->pooled_width * columns + check_below(r, columns);
        place[i] = (int32_t)(y * d->width + x);
    }
}

void fv_check_unpool(fv_case *c) {
    fv_check_random *r = &c->random;
    const fv_unpool_desc d = draw_unpool(r);
    const bool back = c->argument;
    const size_t small = d.pooled * d.channels, large = d.pixels * d.channels, from_size = back ? large : small,
                 to_size = back ? small : large;
    int32_t *place = fv_check_place(c, "place", small * sizeof *place, sizeof *place, true);
    draw_places(r, &d, place);
    const float *from = fv_check_input(c, back ? "dy" : "x", from_size);
    const size_t first = check_below(r, d.channels);
    const fv_range channels = {first, first + 1 + check_below(r, fv_min_size(d.channels - first, FV_UNPOOL_CHANNELS))};
    fv_check_shape(c, "pooled %zu (rows of %zu) pixels %zu (of %zu) channels %zu: %zu to %zu", d.pooled, d.pooled_width,
                   d.pixels, d.width, d.channels, channels.begin, channels.end);
    fv_check_freeze(c);
    fv_approx *e = fv_check_expected(c, to_size);
    for (size_t k = channels.begin; k < channels.end; k++) {
        for (size_t p = 0; p < (back ? d.pooled : d.pixels); p++) e[p * d.channels + k] = approx(0);
        for (size_t i = 0; i < d.pooled; i++) {
            const int32_t to = place[i * d.channels + k];
            bool stays = to >= 0 && (size_t)to < d.pixels;
            for (size_t later = i + 1; stays && later < d.pooled; later++) stays = place[later * d.channels + k] != to;
            if (!stays) continue;
            const size_t outside = (size_t)to * d.channels + k, inside = i * d.channels + k;
            e[back ? inside : outside] = approx(from[back ? outside : inside]);
        }
    }
    float *y[2];
    for (int i = 0; i < 2; i++) {
        const fv_kernels *k = i ? c->reference : c->candidate;
        y[i] = fv_check_output(c, back ? "dx" : "y", to_size);
        if (back)
            k->pool.unpool_grad(&d, place, from, y[i], channels, fv_check_scratch(c, 2 * d.pixels));
        else
            k->pool.unpool(&d, from, place, y[i], channels);
    }
    fv_check_compare(c, back ? "dx" : "y", y[0], y[1], e, to_size);
}
