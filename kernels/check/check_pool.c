/* Pooling against nested loops over every window position, in double. Maxima and indices are exact. */
#include "kernels/check/pooling.h"

fv_check_pixel fv_check_pixel_at(const int32_t size[3], size_t p) {
    fv_check_pixel o;
    for (int i = 2; i >= 0; i--) {
        o.at[i] = (int32_t)(p % (size_t)size[i]);
        p /= (size_t)size[i];
    }
    o.image = (int32_t)p;
    return o;
}

ptrdiff_t fv_check_pixel_offset(const ptrdiff_t pitch[4], const fv_check_pixel *p) {
    return p->image * pitch[0] + p->at[0] * pitch[1] + p->at[1] * pitch[2] + p->at[2] * pitch[3];
}

/* Half of all dense, as graphs have them: kernels write whole vectors there that reach into the pixels behind. */
static size_t make_pitches(fv_check_random *r, ptrdiff_t pitch[4], int32_t images, const int32_t size[3],
                           int32_t channels) {
    const int32_t room = check_chance(r, 0.5) ? 0 : 2;
    pitch[3] = channels + (check_chance(r, 0.5) ? 0 : check_between(r, 0, 2 * room));
    pitch[2] = pitch[3] * size[2] + check_between(r, 0, room);
    pitch[1] = pitch[2] * size[1] + check_between(r, 0, room);
    pitch[0] = pitch[1] * size[0] + check_between(r, 0, room);
    return (size_t)((images - 1) * pitch[0] + (size[0] - 1) * pitch[1] + (size[1] - 1) * pitch[2] +
                    (size[2] - 1) * pitch[3] + channels);
}

/* Sizes rounded down or up; in the latter the last window begins inside the input or its left padding. */
static void draw_axis(fv_check_random *r, fv_pool_desc *d, int i, bool used, int32_t most, bool ceil_mode) {
    d->in[i] = d->window[i] = d->stride[i] = d->dilation[i] = d->out[i] = 1;
    if (!used) return;
    do {
        d->in[i] = check_between(r, 1, most);
        d->window[i] = check_chance(r, 0.1) ? d->in[i] : check_between(r, 1, 4);
        d->stride[i] = check_between(r, 1, 3);
        d->dilation[i] = check_chance(r, 0.8) ? 1 : 2;
        d->pad[i] = check_between(r, 0, d->window[i] - 1);
        d->pad_after[i] = check_between(r, 0, d->window[i] - 1);
        const int32_t room = d->in[i] + d->pad[i] + d->pad_after[i] - d->dilation[i] * (d->window[i] - 1) - 1;
        d->out[i] = room < 0 ? 0 : room / d->stride[i] + 1;
        if (ceil_mode && room > 0 && room % d->stride[i] && d->out[i] * d->stride[i] < d->in[i] + d->pad[i])
            d->out[i]++;
    } while (d->out[i] < 1);
}

/* Offset of window position k of output o; -1: padding. counted: whether an average with padding counts it. */
ptrdiff_t fv_check_pool_source(const fv_pool_desc *d, const fv_check_pixel *o, int32_t k, bool *counted) {
    const int32_t at[3] = {k / (d->window[1] * d->window[2]), k / d->window[2] % d->window[1], k % d->window[2]};
    fv_check_pixel in = {.image = o->image};
    bool inside = true;
    *counted = true;
    for (int i = 0; i < 3; i++) {
        in.at[i] = o->at[i] * d->stride[i] - d->pad[i] + at[i] * d->dilation[i];
        if (in.at[i] < 0 || in.at[i] >= d->in[i]) inside = false;
        if (in.at[i] >= d->in[i] + d->pad_after[i]) *counted = false;
    }
    return inside ? fv_check_pixel_offset(d->in_pitch, &in) : -1;
}

int32_t fv_check_pool_window(const fv_pool_desc *d) { return d->window[0] * d->window[1] * d->window[2]; }

static int32_t divisor(const fv_pool_desc *d, const fv_check_pixel *o) {
    int32_t n = 0;
    for (int32_t k = 0; k < fv_check_pool_window(d); k++) {
        bool counted;
        const bool inside = fv_check_pool_source(d, o, k, &counted) >= 0;
        n += d->count_padding ? counted : inside;
    }
    return n;
}

/* average: every window must hold something to divide by. */
static bool usable(const fv_pool_desc *d, size_t pixels, bool average) {
    for (size_t p = 0; average && p < pixels; p++) {
        const fv_check_pixel o = fv_check_pixel_at(d->out, p);
        if (divisor(d, &o) == 0) return false;
    }
    return true;
}

static void count_pixels(fv_check_pooling *g) {
    const fv_pool_desc *d = &g->d;
    g->out_pixels = (size_t)(d->images * d->out[0] * d->out[1] * d->out[2]);
    g->in_pixels = (size_t)(d->images * d->in[0] * d->in[1] * d->in[2]);
}

/* 2x2 windows side by side of a few maps: rows of these have ways of their own, which end within a pixel's few channels. */
static void draw_cells(fv_check_random *r, fv_pool_desc *d) {
    for (int i = 1; i < 3; i++) {
        d->in[i] = check_between(r, 2, 24);
        d->window[i] = d->stride[i] = 2;
        d->dilation[i] = 1;
        d->pad[i] = d->pad_after[i] = 0;
        d->out[i] = d->in[i] / 2;
    }
    d->channels = check_between(r, 1, 20);
}

static void draw_random(fv_check_random *r, fv_check_pooling *g, bool average) {
    do {
        *g = (fv_check_pooling){.d = {.pad = {0}}};
        fv_pool_desc *d = &g->d;
        const int rank = check_chance(r, 0.75) ? 2 : check_chance(r, 0.5) ? 1 : 3;
        const bool ceil_mode = check_chance(r, 0.4);
        for (int i = 0; i < 3; i++) draw_axis(r, d, i, i >= 3 - rank, rank == 3 ? 5 : 11, ceil_mode);
        d->images = check_chance(r, 0.6) ? 1 : check_between(r, 1, 3);
        d->channels = (int32_t)fv_check_length(r, rank == 1 ? 150 : 40);
        if (rank == 2 && check_chance(r, 0.25)) draw_cells(r, d);
        d->count_padding = check_chance(r, 0.5);
        d->places = check_chance(r, 0.3);
        count_pixels(g);
        g->x_size = make_pitches(r, d->in_pitch, d->images, d->in, d->channels);
        g->y_size = make_pitches(r, d->out_pitch, d->images, d->out, d->channels);
    } while (!usable(&g->d, g->out_pixels, average));
}

void fv_check_draw_pooling(fv_case *c, fv_check_pooling *g, bool average) {
    if (c->given) { /* dense, as graphs have it */
        *g = (fv_check_pooling){.d = c->given->pool};
        count_pixels(g);
        g->x_size = g->in_pixels * (size_t)g->d.channels;
        g->y_size = g->out_pixels * (size_t)g->d.channels;
    } else {
        draw_random(&c->random, g, average);
    }
    const fv_pool_desc *d = &g->d;
    fv_check_shape(
        c,
        "%s n%d c%d in %dx%dx%d out %dx%dx%d window %dx%dx%d stride %dx%dx%d dilation %dx%dx%d pad %d,%d,%d after "
        "%d,%d,%d%s%s",
        c->given ? c->given->name : "random", d->images, d->channels, d->in[0], d->in[1], d->in[2], d->out[0], d->out[1],
        d->out[2], d->window[0], d->window[1], d->window[2], d->stride[0], d->stride[1], d->stride[2], d->dilation[0],
        d->dilation[1], d->dilation[2], d->pad[0], d->pad[1], d->pad[2], d->pad_after[0], d->pad_after[1],
        d->pad_after[2], d->count_padding ? " padding counted" : "", d->places ? " places" : "");
}

/* What the index calls window position k of output o. */
static int32_t name_of(const fv_pool_desc *d, const fv_check_pixel *o, int32_t k) {
    const int32_t at[3] = {k / (d->window[1] * d->window[2]), k / d->window[2] % d->window[1], k % d->window[2]};
    int32_t place = 0;
    for (int i = 0; i < 3; i++) place = place * d->in[i] + o->at[i] * d->stride[i] - d->pad[i] + at[i] * d->dilation[i];
    return d->places ? place : k;
}

static void expect_max(const fv_pool_desc *d, const float *x, const fv_check_pixel *o, int32_t channel, double *best,
                       int32_t *at) {
    *best = -INFINITY;
    *at = -1;
    for (int32_t k = 0; k < fv_check_pool_window(d); k++) {
        bool counted;
        const ptrdiff_t from = fv_check_pool_source(d, o, k, &counted);
        if (from < 0 || *best != *best) continue;
        const double v = x[from + channel];
        if (*at < 0 || v > *best || v != v) *best = v, *at = name_of(d, o, k);
    }
}

static void run_max(fv_case *c, const fv_kernels *k, const fv_check_pooling *g, const float *x, float *y, int32_t *index,
                    bool whole) {
    const fv_range all = {0, g->out_pixels};
    fv_check_cut cut = {.part = {all}, .parts = 1};
    if (!whole) cut = fv_check_cut_range(c, all);
    for (size_t i = 0; i < cut.parts; i++) k->pool.max(&g->d, x, y, index, cut.part[i]);
}

void fv_check_pool_max(fv_case *c) {
    fv_check_pooling g;
    fv_check_draw_pooling(c, &g, false);
    const float *x = fv_check_input(c, "x", g.x_size);
    fv_check_freeze(c);
    const size_t indices = g.out_pixels * (size_t)g.d.channels;
    const bool indexed = check_chance(&c->random, 0.7);
    float *y = fv_check_output(c, "y", g.y_size), *y_parts = fv_check_output(c, "y", g.y_size);
    int32_t *index = indexed ? (int32_t *)fv_check_output(c, "index", indices) : NULL;
    int32_t *index_parts = indexed ? (int32_t *)fv_check_output(c, "index", indices) : NULL;
    run_max(c, c->candidate, &g, x, y, index, true);
    fv_approx *expected = fv_check_expected(c, g.y_size);
    for (size_t p = 0; p < g.out_pixels; p++) {
        const fv_check_pixel o = fv_check_pixel_at(g.d.out, p);
        for (int32_t channel = 0; channel < g.d.channels; channel++) {
            double best;
            int32_t at;
            expect_max(&g.d, x, &o, channel, &best, &at);
            expected[fv_check_pixel_offset(g.d.out_pitch, &o) + channel] = approx(best);
            const size_t i = p * (size_t)g.d.channels + (size_t)channel;
            if (indexed && index[i] != at) fv_check_fail(c, "index[%zu]: got %d, expected %d", i, index[i], at);
        }
    }
    fv_check_compare(c, "y", y, NULL, expected, g.y_size);
    run_max(c, c->candidate, &g, x, y_parts, index_parts, false);
    fv_check_same_bits(c, "y cut into ranges", y_parts, y, g.y_size);
    if (indexed) fv_check_same_bits(c, "index cut into ranges", index_parts, index, indices);
}

/* A gradient is gathered at every input pixel: dx[i] += dy[o] * share for every window o and position k that reads i.
 */
typedef struct sources {
    const float *dy;
    const int32_t *index; /* NULL: average */
} sources;

static float *run_grad(fv_case *c, const fv_kernels *k, const fv_check_pooling *g, const sources *s, bool whole) {
    float *dx = fv_check_output(c, "dx", g->x_size);
    const fv_range all = {0, g->in_pixels};
    fv_check_cut cut = {.part = {all}, .parts = 1};
    if (!whole) cut = fv_check_cut_range(c, all);
    for (size_t i = 0; i < cut.parts; i++)
        if (s->index)
            k->pool.max_grad(&g->d, s->index, s->dy, dx, cut.part[i]);
        else
            k->pool.average_grad(&g->d, s->dy, dx, cut.part[i]);
    return dx;
}

static fv_approx *expect_grad(fv_case *c, const fv_check_pooling *g, const sources *s) {
    const fv_pool_desc *d = &g->d;
    fv_approx_sum *sum = fv_check_plain(c, g->x_size * sizeof *sum);
    float *in_order = fv_check_plain(c, g->x_size * sizeof *in_order);
    for (size_t p = 0; p < g->out_pixels; p++) {
        const fv_check_pixel o = fv_check_pixel_at(d->out, p);
        const fv_approx share = approx_div(approx(1), approx(divisor(d, &o)), c->eps);
        for (int32_t k = 0; k < fv_check_pool_window(d); k++) {
            bool counted;
            const ptrdiff_t to = fv_check_pool_source(d, &o, k, &counted);
            for (int32_t channel = 0; to >= 0 && channel < d->channels; channel++) {
                const double dy = s->dy[fv_check_pixel_offset(d->out_pitch, &o) + channel];
                if (!s->index)
                    approx_sum_add(&sum[to + channel], approx_mul(approx(dy), share, c->eps));
                else if (s->index[p * (size_t)d->channels + (size_t)channel] == name_of(d, &o, k))
                    in_order[to + channel] += (float)dy;
            }
        }
    }
    fv_approx *e = fv_check_expected(c, g->x_size);
    for (size_t p = 0; p < g->in_pixels; p++) {
        const fv_check_pixel i = fv_check_pixel_at(d->in, p);
        const ptrdiff_t at = fv_check_pixel_offset(d->in_pitch, &i);
        for (ptrdiff_t k = at; k < at + d->channels; k++)
            e[k] = s->index ? approx(in_order[k]) : approx_sum(&sum[k], c->eps);
    }
    return e;
}

static void check_grad(fv_case *c, const fv_check_pooling *g, const sources *s) {
    fv_check_freeze(c);
    const float *whole = run_grad(c, c->candidate, g, s, true);
    const float *scalar = c->reference == c->candidate ? NULL : run_grad(c, c->reference, g, s, true);
    fv_check_compare(c, "dx", whole, scalar, expect_grad(c, g, s), g->x_size);
    fv_check_same_bits(c, "dx cut into ranges", run_grad(c, c->candidate, g, s, false), whole, g->x_size);
}

void fv_check_pool_max_grad(fv_case *c) {
    fv_check_pooling g;
    fv_check_draw_pooling(c, &g, false);
    const size_t indices = g.out_pixels * (size_t)g.d.channels;
    int32_t *index = fv_check_place(c, "index", indices * sizeof *index, sizeof *index, true);
    const float *x = fv_check_input(c, "x", g.x_size);
    for (size_t i = 0; i < indices; i++) {
        const fv_check_pixel o = fv_check_pixel_at(g.d.out, i / (size_t)g.d.channels);
        double best;
        expect_max(&g.d, x, &o, (int32_t)(i % (size_t)g.d.channels), &best, &index[i]);
    }
    check_grad(c, &g, &(sources){fv_check_input(c, "dy", g.y_size), index});
}

void fv_check_pool_average_grad(fv_case *c) {
    fv_check_pooling g;
    fv_check_draw_pooling(c, &g, true);
    fv_check_inexact(c);
    check_grad(c, &g, &(sources){fv_check_input(c, "dy", g.y_size), NULL});
}

static float *run_average(fv_case *c, const fv_kernels *k, const fv_check_pooling *g, const float *x, bool whole) {
    float *y = fv_check_output(c, "y", g->y_size);
    const fv_range all = {0, g->out_pixels};
    fv_check_cut cut = {.part = {all}, .parts = 1};
    if (!whole) cut = fv_check_cut_range(c, all);
    for (size_t i = 0; i < cut.parts; i++) k->pool.average(&g->d, x, y, cut.part[i]);
    return y;
}

static fv_approx *expect_average(fv_case *c, const fv_check_pooling *g, const float *x) {
    const fv_pool_desc *d = &g->d;
    fv_approx *e = fv_check_expected(c, g->y_size);
    for (size_t p = 0; p < g->out_pixels; p++) {
        const fv_check_pixel o = fv_check_pixel_at(d->out, p);
        const fv_approx share = approx_div(approx(1), approx(divisor(d, &o)), c->eps);
        for (int32_t channel = 0; channel < d->channels; channel++) {
            fv_approx_sum sum = {0};
            for (int32_t k = 0; k < fv_check_pool_window(d); k++) {
                bool counted;
                const ptrdiff_t from = fv_check_pool_source(d, &o, k, &counted);
                if (from >= 0) approx_sum_add(&sum, approx(x[from + channel]));
            }
            e[fv_check_pixel_offset(d->out_pitch, &o) + channel] = approx_mul(approx_sum(&sum, c->eps), share, c->eps);
        }
    }
    return e;
}

void fv_check_pool_average(fv_case *c) {
    fv_check_pooling g;
    fv_check_draw_pooling(c, &g, true);
    fv_check_inexact(c);
    const float *x = fv_check_input(c, "x", g.x_size);
    fv_check_freeze(c);
    const float *whole = run_average(c, c->candidate, &g, x, true);
    const float *scalar = c->reference == c->candidate ? NULL : run_average(c, c->reference, &g, x, true);
    fv_check_compare(c, "y", whole, scalar, expect_average(c, &g, x), g.y_size);
    fv_check_same_bits(c, "y cut into ranges", run_average(c, c->candidate, &g, x, false), whole, g.y_size);
}
