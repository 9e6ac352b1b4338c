/* conv.pack, conv.forward, conv.weight_grad against nested loops in double over the contract's formula. */
#include "kernels/check/engine.h"

#include <stdio.h>

typedef struct geometry {
    fv_conv_desc d;
    const char *kind;
    size_t x_size, y_size, residual_size; /* elements of the whole tensors */
    size_t y_base;                        /* where the output lattice begins inside y (a phase of a data gradient) */
    int32_t source_taps;                  /* taps of the source weights */
    bool padded;                          /* some tap of some pixel lies outside */
} geometry;

typedef struct axis {
    int32_t kernel, stride, dilation, pad, in, out, phase;
} axis;

static int32_t out_size(const axis *a) {
    const int32_t room = a->in + 2 * a->pad - a->dilation * (a->kernel - 1) - 1;
    return room < 0 ? 0 : room / a->stride + 1;
}

enum { LARGEST = 64, MOST_VALUES = 500000 }; /* of a map's side, of a tensor */

/* kinds of geometry */
enum { FORWARD, DATA_GRADIENT, FREE, ROWS, NO_TAPS, WHOLE_MAP, KINDS };
static const char *const kind_name[KINDS] = {"forward", "data gradient", "free lattice",
                                             "rows",    "no taps",       "whole map"};

static axis draw_axis(fv_check_random *r, int kind, bool used, int32_t most) {
    axis a = {1, 1, 1, 0, 1, 1, 0};
    if (!used) return a;
    do {
        a.in = check_between(r, 1, most);
        a.kernel = kind == WHOLE_MAP ? a.in : check_chance(r, 0.5) ? 3 : check_between(r, 1, 7);
        a.stride = kind == WHOLE_MAP || check_chance(r, 0.5) ? 1 : check_between(r, 1, 3);
        a.dilation = check_chance(r, 0.75) ? 1 : check_between(r, 2, 3);
        a.pad = kind == WHOLE_MAP || check_chance(r, 0.4) ? 0 : check_between(r, 0, a.kernel);
        if (kind == WHOLE_MAP) a.dilation = 1;
        a.out = out_size(&a);
    } while (a.out < 1);
    if (kind == DATA_GRADIENT) a.phase = check_between(r, 0, fv_min_size((size_t)a.stride, (size_t)a.in) - 1);
    return a;
}

/* Offsets along one axis that the lattice reads, with the source index of each; returns how many. */
static int32_t axis_taps(fv_check_random *r, int kind, const axis *a, int32_t *offset, int32_t *source) {
    int32_t n = 0;
    for (int32_t k = 0; k < a->kernel; k++) {
        if (kind == DATA_GRADIENT) {
            const int32_t from = a->phase + a->pad - k * a->dilation;
            if (from % a->stride != 0) continue;
            offset[n] = from / a->stride;
        } else {
            offset[n] = k * a->dilation - a->pad;
            if (kind == FREE) offset[n] = (n ? offset[n - 1] : -2) + check_between(r, 1, 3);
        }
        source[n++] = k;
    }
    return n;
}

static void make_taps(fv_case *c, geometry *g, int kind, const axis a[3]) {
    int32_t offset[3][LARGEST], source[3][LARGEST], n[3], *list;
    for (int i = 0; i < 3; i++) n[i] = axis_taps(&c->random, kind, &a[i], offset[i], source[i]);
    fv_conv_desc *d = &g->d;
    d->taps = kind == NO_TAPS ? 0 : n[0] * n[1] * n[2];
    g->source_taps = a[0].kernel * a[1].kernel * a[2].kernel;
    int32_t(*tap)[3] = fv_check_place(c, "tap", (size_t)d->taps * sizeof *tap, sizeof(int32_t), true);
    list = fv_check_place(c, "weight_tap", (size_t)d->taps * sizeof *list, sizeof(int32_t), true);
    d->tap = (const int32_t(*)[3])tap;
    d->weight_tap = list;
    if (kind == FORWARD && check_chance(&c->random, 0.5)) d->weight_tap = NULL;
    for (int32_t t = 0; t < d->taps; t++) {
        const int32_t at[3] = {t / (n[1] * n[2]), t / n[2] % n[1], t % n[2]};
        for (int i = 0; i < 3; i++) tap[t][i] = offset[i][at[i]];
        list[t] = (source[0][at[0]] * a[1].kernel + source[1][at[1]]) * a[2].kernel + source[2][at[2]];
    }
}

/* From the first pixel to the end of the last. */
static size_t extent(const ptrdiff_t pitch[4], int32_t images, const int32_t size[3], int32_t channels) {
    return (size_t)((images - 1) * pitch[0] + (size[0] - 1) * pitch[1] + (size[1] - 1) * pitch[2] +
                    (size[2] - 1) * pitch[3] + channels);
}

/* Pitches with gaps now and then; returns the elements from the first pixel to the end of the last. */
static size_t make_pitches(fv_check_random *r, ptrdiff_t pitch[4], int32_t images, const int32_t size[3],
                           int32_t channels) {
    const bool dense = check_chance(r, 0.4);
    pitch[3] = channels + (dense ? 0 : check_between(r, 0, 5));
    pitch[2] = pitch[3] * size[2] + (dense ? 0 : check_between(r, 0, 3));
    pitch[1] = pitch[2] * size[1] + (dense ? 0 : check_between(r, 0, 3));
    pitch[0] = pitch[1] * size[0] + (dense ? 0 : check_between(r, 0, 3));
    return extent(pitch, images, size, channels);
}

static void set_sizes(fv_check_random *r, geometry *g, int kind, const axis a[3], int32_t output[3]) {
    for (int i = 0; i < 3; i++) {
        const bool gradient = kind == DATA_GRADIENT;
        g->d.in[i] = gradient ? a[i].out : a[i].in;
        output[i] = gradient ? a[i].in : a[i].out;
        g->d.out[i] = gradient ? (a[i].in - a[i].phase + a[i].stride - 1) / a[i].stride : a[i].out;
        g->d.step[i] = gradient ? 1 : a[i].stride;
        if (kind == FREE && g->d.out[i] > 1) g->d.out[i] = output[i] = check_between(r, 1, g->d.out[i] + 2);
    }
}

static size_t products(const geometry *g) {
    return fv_conv_out_pixels(&g->d) * (size_t)g->d.groups * (size_t)g->d.out_channels * (size_t)g->d.in_channels *
           (size_t)(g->d.taps > 0 ? g->d.taps : 1);
}

static bool too_large(const geometry *g) {
    const size_t weights =
        (size_t)g->source_taps * (size_t)g->d.in_channels * (size_t)(g->d.groups * g->d.out_channels);
    return fv_max_size(fv_max_size(g->x_size, g->y_size), fv_max_size(g->residual_size, weights)) > MOST_VALUES;
}

static void draw_channels(fv_check_random *r, fv_conv_desc *d, size_t most) {
    d->groups = check_chance(r, 0.75) ? 1 : check_between(r, 2, 5);
    d->in_channels = check_chance(r, 0.3) ? (check_chance(r, 0.5) ? 1 : 3) : (int32_t)fv_check_length(r, most);
    d->out_channels = (int32_t)fv_check_length(r, most);
    if (check_chance(r, 0.05)) { /* depthwise */
        d->groups = (int32_t)fv_check_length(r, most);
        d->in_channels = 1;
        d->out_channels = check_between(r, 1, 2);
    }
}

static bool is_padded(const fv_conv_desc *d) {
    for (int32_t t = 0; t < d->taps; t++)
        for (int i = 0; i < 3; i++)
            if (d->tap[t][i] < 0 || (d->out[i] - 1) * d->step[i] + d->tap[t][i] >= d->in[i]) return true;
    return false;
}

static void take_geometry(fv_case *c, geometry *g) {
    const fv_check_given *given = c->given;
    *g = (geometry){.d = given->conv, .kind = given->name, .source_taps = given->source_taps};
    fv_conv_desc *d = &g->d;
    const size_t taps = (size_t)d->taps;
    int32_t(*tap)[3] = fv_check_place(c, "tap", taps * sizeof *tap, sizeof(int32_t), true);
    int32_t *list = fv_check_place(c, "weight_tap", taps * sizeof *list, sizeof(int32_t), true);
    memcpy(tap, given->conv.tap, taps * sizeof *tap);
    for (size_t t = 0; t < taps; t++) list[t] = given->conv.weight_tap ? given->conv.weight_tap[t] : (int32_t)t;
    d->tap = (const int32_t(*)[3])tap;
    d->weight_tap = list;
    const int32_t outs = d->groups * d->out_channels;
    d->residual_pitch[3] = outs;
    for (int i = 2; i >= 0; i--) d->residual_pitch[i] = d->residual_pitch[i + 1] * d->out[i];
    g->residual_size = extent(d->residual_pitch, d->images, d->out, outs);
    g->x_size = extent(d->in_pitch, d->images, d->in, d->groups * d->in_channels);
    g->y_base = given->y_base;
    g->y_size = given->y_size;
    g->padded = is_padded(d);
    if (g->padded) fv_check_finite_only(c);
}

static void draw_geometry(fv_case *c, geometry *g) {
    if (c->given) {
        take_geometry(c, g);
        return;
    }
    fv_check_random *r = &c->random;
    const bool thin = check_chance(r, 0.1); /* many pixels of few channels: several blocks of a gradient */
    const size_t budget = check_chance(r, 0.01) ? 4000000 : thin || check_chance(r, 0.1) ? 100000 : 15000;
    const int mark = c->memory->used;
    const int kind = (int)(check_chance(r, 0.5) ? FORWARD : check_below(r, KINDS));
    const int rank = kind == ROWS ? 0 : check_chance(r, 0.7) ? 2 : check_chance(r, 0.5) ? 1 : 3;
    int32_t most = thin || budget > 100000 ? LARGEST : 18, output[3];
    size_t channels = thin ? 6 : budget > 100000 ? 300 : 80;
    do {
        axis a[3];
        c->memory->used = mark;
        *g = (geometry){.kind = kind_name[kind]};
        for (int i = 0; i < 3; i++) a[i] = draw_axis(r, kind, i >= 3 - rank, rank == 3 && most > 6 ? 6 : most);
        if (kind == ROWS) a[2].in = a[2].out = (int32_t)fv_check_length(r, 100);
        g->d.images = check_chance(r, 0.6) ? 1 : check_between(r, 1, 4);
        draw_channels(r, &g->d, channels);
        set_sizes(r, g, kind, a, output);
        make_taps(c, g, kind, a);
        const int32_t all_in = g->d.groups * g->d.in_channels, all_out = g->d.groups * g->d.out_channels;
        g->x_size = make_pitches(r, g->d.in_pitch, g->d.images, g->d.in, all_in);
        g->y_size = make_pitches(r, g->d.out_pitch, g->d.images, output, all_out);
        g->residual_size = make_pitches(r, g->d.residual_pitch, g->d.images, g->d.out, all_out);
        if (check_chance(r, 0.1)) { /* one residual for every image */
            g->d.residual_pitch[0] = 0;
            g->residual_size = extent(g->d.residual_pitch, g->d.images, g->d.out, all_out);
        }
        if (kind == DATA_GRADIENT)
            for (int i = 0; i < 3; i++) {
                g->y_base += (size_t)(a[i].phase * g->d.out_pitch[i + 1]);
                g->d.out_pitch[i + 1] *= a[i].stride;
            }
        if (most > 4) most -= 2;
        if (channels > 4) channels = channels * 3 / 4;
    } while (products(g) > budget || too_large(g));
    g->padded = is_padded(&g->d);
    if (g->padded) fv_check_finite_only(c);
}

static const fv_real inf = INFINITY;

static void draw_clamp(fv_check_random *r, fv_conv_desc *d) {
    d->act_low = check_chance(r, 0.5) ? -inf : check_chance(r, 0.7) ? 0 : -3;
    d->act_high = check_chance(r, 0.7) ? inf : 6;
}

static void describe(fv_case *c, const geometry *g, const char *more) {
    const fv_conv_desc *d = &g->d;
    fv_check_shape(c,
                   "%s n%d in %dx%dx%d out %dx%dx%d step %dx%dx%d taps %d groups %d C%d K%d in pitch %d,%d,%d out "
                   "pitch %d,%d,%d%s",
                   g->kind, d->images, d->in[0], d->in[1], d->in[2], d->out[0], d->out[1], d->out[2], d->step[0],
                   d->step[1], d->step[2], d->taps, d->groups, d->in_channels, d->out_channels, (int)d->in_pitch[1],
                   (int)d->in_pitch[2], (int)d->in_pitch[3], (int)d->out_pitch[1], (int)d->out_pitch[2],
                   (int)d->out_pitch[3], more);
}

/* Source weights in one of the orders in use: [K][C][taps], [taps][C][K], and both with C and K exchanged. */
static fv_conv_weights draw_weights(fv_case *c, const geometry *g) {
    const ptrdiff_t taps = g->source_taps, channels = g->d.in_channels, outs = g->d.out_channels, groups = g->d.groups;
    const size_t n = (size_t)(taps * channels * outs * groups);
    const float *data = fv_check_input(c, "weights", n);
    switch (check_below(&c->random, 4)) {
    case 0:
        return (fv_conv_weights){data, outs * channels * taps, 1, taps, channels * taps};
    case 1:
        return (fv_conv_weights){data, outs, channels * outs * groups, outs * groups, 1};
    case 2:
        return (fv_conv_weights){data, outs * channels * taps, 1, outs * taps, taps};
    default:
        return (fv_conv_weights){data, channels, channels * outs * groups, 1, channels * groups};
    }
}

typedef struct pixel {
    int32_t image, at[3];
} pixel;

static pixel pixel_at(const fv_conv_desc *d, size_t p) {
    pixel o;
    for (int i = 2; i >= 0; i--) {
        o.at[i] = (int32_t)(p % (size_t)d->out[i]);
        p /= (size_t)d->out[i];
    }
    o.image = (int32_t)p;
    return o;
}

static ptrdiff_t offset_of(const ptrdiff_t pitch[4], const pixel *p) {
    return p->image * pitch[0] + p->at[0] * pitch[1] + p->at[1] * pitch[2] + p->at[2] * pitch[3];
}

/* Offset of the input pixel read through tap t; -1: padding. */
static ptrdiff_t source_of(const fv_conv_desc *d, const pixel *o, int32_t t) {
    pixel in = {.image = o->image};
    for (int i = 0; i < 3; i++) {
        in.at[i] = o->at[i] * d->step[i] + d->tap[t][i];
        if (in.at[i] < 0 || in.at[i] >= d->in[i]) return -1;
    }
    return offset_of(d->in_pitch, &in);
}

static double clamp(double v, double low, double high) { return v < low ? low : v > high ? high : v; }

typedef struct tensors {
    const float *x, *bias, *residual;
    fv_conv_weights w;
} tensors;

static fv_approx expected_value(const fv_case *c, const fv_conv_desc *d, const tensors *t, const pixel *o,
                                int32_t group, int32_t k) {
    fv_approx_sum sum = {0};
    const float *w = t->w.data + group * t->w.group + k * t->w.out;
    for (int32_t tap = 0; tap < d->taps; tap++) {
        const ptrdiff_t from = source_of(d, o, tap);
        const ptrdiff_t source = (d->weight_tap ? d->weight_tap[tap] : tap) * t->w.tap;
        sum.terms += (size_t)d->in_channels;
        if (from < 0) continue;
        const float *x = t->x + from + group * d->in_channels;
        for (int32_t i = 0; i < d->in_channels; i++) {
            const double term = (double)x[i] * w[source + i * t->w.in];
            sum.value += term;
            sum.magnitude += fabs(term);
        }
    }
    const ptrdiff_t channel = group * d->out_channels + k;
    if (t->bias) approx_sum_add(&sum, approx(t->bias[channel]));
    if (t->residual) approx_sum_add(&sum, approx(t->residual[offset_of(d->residual_pitch, o) + channel]));
    fv_approx y = approx_sum(&sum, c->eps);
    y.value = clamp(y.value, d->act_low, d->act_high);
    return y;
}

static fv_approx *expect_forward(fv_case *c, const geometry *g, const tensors *t) {
    fv_approx *e = fv_check_expected(c, g->y_size);
    const fv_conv_desc *d = &g->d;
    for (size_t p = 0; p < fv_conv_out_pixels(d); p++) {
        const pixel o = pixel_at(d, p);
        for (int32_t group = 0; group < d->groups; group++)
            for (int32_t k = 0; k < d->out_channels; k++)
                e[(ptrdiff_t)g->y_base + offset_of(d->out_pitch, &o) + group * d->out_channels + k] =
                    expected_value(c, d, t, &o, group, k);
    }
    return e;
}

static size_t panels_of(const fv_conv_kernels *k, const fv_conv_desc *d) {
    return (size_t)d->groups * fv_div_up((size_t)d->out_channels, (size_t)k->nr);
}

static float *pack(fv_case *c, const fv_conv_kernels *k, const geometry *g, const fv_conv_weights *w, bool in_parts) {
    const size_t n = k->packed_size(&g->d);
    float *packed = fv_check_place(c, "packed weights", n * sizeof *packed, FV_ALIGNMENT, false);
    memset(packed, 0xff, n * sizeof *packed);
    const fv_range all = {0, panels_of(k, &g->d)};
    if (!in_parts) {
        k->pack(&g->d, w, packed, all);
        return packed;
    }
    const fv_check_cut cut = fv_check_cut_range(c, all);
    for (size_t i = 0; i < cut.parts; i++) k->pack(&g->d, w, packed, cut.part[i]);
    return packed;
}

/* y begins as the residual (in place) or as canaries. */
static float *make_output(fv_case *c, const geometry *g, const float *start) {
    return start ? fv_check_copy(c, "y", start, g->y_size) : fv_check_output(c, "y", g->y_size);
}

static float *forward(fv_case *c, const fv_conv_kernels *k, const geometry *g, const tensors *t, const float *start,
                      bool whole) {
    const float *packed = pack(c, k, g, &t->w, !whole);
    float *y = make_output(c, g, start), *lattice = y + g->y_base;
    void *scratch = fv_check_scratch(c, k->forward_scratch(&g->d));
    const float *residual = start ? lattice : t->residual;
    const fv_range pixels = {0, fv_conv_out_pixels(&g->d)}, panels = {0, panels_of(k, &g->d)};
    if (whole) {
        k->forward(&g->d, t->x, packed, t->bias, residual, lattice, pixels, panels, scratch);
        return y;
    }
    const fv_check_cut rows = fv_check_cut_range(c, pixels), columns = fv_check_cut_range(c, panels);
    for (size_t i = 0; i < rows.parts; i++)
        for (size_t j = 0; j < columns.parts; j++)
            k->forward(&g->d, t->x, packed, t->bias, residual, lattice, rows.part[i], columns.part[j], scratch);
    return y;
}

/* In place the gaps of y hold the residual's: nothing may change there. */
static void expect_kept(fv_approx *e, const float *start, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (e[i].error < 0) e[i] = approx(start[i]);
}

void fv_check_conv_forward(fv_case *c) {
    geometry g;
    draw_geometry(c, &g);
    fv_check_random *r = &c->random;
    draw_clamp(r, &g.d);
    const size_t outs = (size_t)(g.d.groups * g.d.out_channels);
    const int residual = check_between(r, 0, 5); /* 1: a tensor of its own, 2: y itself */
    tensors t = {.x = fv_check_input(c, "x", g.x_size)};
    t.w = draw_weights(c, &g);
    if (check_chance(r, 0.6)) t.bias = fv_check_input(c, "bias", outs);
    const float *start = NULL;
    if (residual == 1) t.residual = fv_check_input(c, "residual", g.residual_size);
    if (residual == 2) {
        memcpy(g.d.residual_pitch, g.d.out_pitch, sizeof g.d.out_pitch);
        start = fv_check_input(c, "residual", g.y_size);
        t.residual = start + g.y_base;
    }
    describe(c, &g, residual == 1 ? " residual" : residual == 2 ? " residual in y" : "");
    fv_check_freeze(c);
    fv_approx *expected = expect_forward(c, &g, &t);
    if (start) expect_kept(expected, start, g.y_size);
    const float *whole = forward(c, &c->candidate->conv, &g, &t, start, true);
    const float *scalar = c->reference == c->candidate ? NULL : forward(c, &c->reference->conv, &g, &t, start, true);
    fv_check_compare(c, "y", whole, scalar, expected, g.y_size);
    const float *parts = forward(c, &c->candidate->conv, &g, &t, start, false);
    fv_check_same_values(c, "y cut into ranges", parts, whole, g.y_size);
}

/* Panels packed in parts equal the whole, and a product of small integers finds every weight in its place. */
void fv_check_conv_pack(fv_case *c) {
    geometry g;
    if (c->values == FV_VALUES_NONFINITE) c->values = FV_VALUES_INTEGER, c->eps = 0;
    draw_geometry(c, &g);
    draw_clamp(&c->random, &g.d);
    tensors t = {.x = fv_check_input(c, "x", g.x_size)};
    t.w = draw_weights(c, &g);
    describe(c, &g, "");
    fv_check_freeze(c);
    const fv_conv_kernels *k = &c->candidate->conv;
    const float *whole = pack(c, k, &g, &t.w, false), *parts = pack(c, k, &g, &t.w, true);
    fv_check_same_bits(c, "packed weights", parts, whole, k->packed_size(&g.d));
    fv_check_compare(c, "y", forward(c, k, &g, &t, NULL, true), NULL, expect_forward(c, &g, &t), g.y_size);
}

typedef struct gradient {
    const float *x, *dy;
    ptrdiff_t pitch;
    fv_range pixels, rows;
    size_t size;
} gradient;

static fv_approx *expect_gradient(fv_case *c, const geometry *g, const gradient *w) {
    const fv_conv_desc *d = &g->d;
    fv_approx *e = fv_check_expected(c, w->size);
    const size_t sums = (size_t)(d->groups * d->out_channels) * sizeof(fv_approx_sum);
    fv_approx_sum *sum = fv_check_plain(c, sums);
    for (size_t row = w->rows.begin; row < w->rows.end; row++) {
        const int32_t t = (int32_t)(row / (size_t)d->in_channels), channel = (int32_t)(row % (size_t)d->in_channels);
        memset(sum, 0, sums);
        for (size_t p = w->pixels.begin; p < w->pixels.end; p++) {
            const pixel o = pixel_at(d, p);
            const ptrdiff_t from = source_of(d, &o, t);
            if (from < 0) continue;
            const float *dy = w->dy + offset_of(d->out_pitch, &o);
            for (int32_t k = 0; k < d->groups * d->out_channels; k++)
                approx_sum_add(&sum[k],
                               approx((double)w->x[from + k / d->out_channels * d->in_channels + channel] * dy[k]));
        }
        for (int32_t k = 0; k < d->groups * d->out_channels; k++)
            e[(ptrdiff_t)row * w->pitch + k] = approx_sum(&sum[k], c->eps);
    }
    return e;
}

static float *weight_gradient(fv_case *c, const fv_conv_kernels *k, const geometry *g, const gradient *w, bool whole) {
    float *dw = fv_check_output(c, "dw", w->size);
    void *scratch = fv_check_scratch(c, k->weight_grad_scratch(&g->d));
    fv_check_cut cut = {.part = {w->rows}, .parts = 1};
    if (!whole) cut = fv_check_cut_range(c, w->rows);
    for (size_t i = 0; i < cut.parts; i++)
        k->weight_grad(&g->d, w->x, w->dy, dw, w->pitch, w->pixels, cut.part[i], scratch);
    return dw;
}

static fv_range draw_range(fv_check_random *r, size_t n) {
    if (n == 0 || check_chance(r, 0.4)) return (fv_range){0, n};
    const size_t begin = check_below(r, n);
    return (fv_range){begin, begin + 1 + check_below(r, n - begin)};
}

void fv_check_conv_weight_grad(fv_case *c) {
    geometry g;
    draw_geometry(c, &g);
    g.d.act_low = -inf;
    g.d.act_high = inf;
    const size_t rows = (size_t)(g.d.taps * g.d.in_channels), outs = (size_t)(g.d.groups * g.d.out_channels);
    gradient w = {.x = fv_check_input(c, "x", g.x_size)};
    w.dy = fv_check_input(c, "dy", g.y_size) + g.y_base;
    w.pitch = (ptrdiff_t)outs + check_between(&c->random, 0, 3);
    w.size = rows ? (rows - 1) * (size_t)w.pitch + outs : 0;
    w.pixels = draw_range(&c->random, fv_conv_out_pixels(&g.d));
    w.rows = draw_range(&c->random, rows);
    char more[96];
    snprintf(more, sizeof more, " pixels %zu..%zu rows %zu..%zu", w.pixels.begin, w.pixels.end, w.rows.begin,
             w.rows.end);
    describe(c, &g, more);
    fv_check_freeze(c);
    const float *whole = weight_gradient(c, &c->candidate->conv, &g, &w, true);
    const float *scalar = c->reference == c->candidate ? NULL : weight_gradient(c, &c->reference->conv, &g, &w, true);
    fv_check_compare(c, "dw", whole, scalar, expect_gradient(c, &g, &w), w.size);
    const float *parts = weight_gradient(c, &c->candidate->conv, &g, &w, false);
    fv_check_same_values(c, "dw cut into rows", parts, whole, w.size);
}
