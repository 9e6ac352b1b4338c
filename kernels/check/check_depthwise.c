/* depthwise.pack, forward, data_grad, weight_grad against the contract's sums in double. */
#include "kernels/check/engine.h"

#include <stdio.h>

typedef struct depthwise_case {
    fv_depthwise_desc d;
    size_t x_size, y_size, weights; /* elements */
} depthwise_case;

/* One axis: half of the time a kernel that has a body of its own. */
static void draw_axis(fv_check_random *r, fv_depthwise_desc *d, int i, int32_t most) {
    static const int32_t usual[3][2] = {{3, 1}, {3, 2}, {5, 1}};
    const int32_t *own = check_chance(r, 0.6) ? usual[check_below(r, 3)] : NULL;
    do {
        d->in[i] = check_between(r, 1, most);
        d->kernel[i] = own ? own[0] : check_between(r, 1, 7);
        d->stride[i] = own ? own[1] : check_chance(r, 0.5) ? 1 : check_between(r, 2, 4);
        d->dilation[i] = own || check_chance(r, 0.6) ? 1 : check_between(r, 2, 4);
        d->pad[i] = check_chance(r, 0.3) ? 0 : check_between(r, 0, d->kernel[i] + 1);
        const int32_t more = check_chance(r, 0.7) ? d->pad[i] : check_between(r, 0, d->kernel[i]); /* padding after */
        const int32_t room = d->in[i] + d->pad[i] + more - d->dilation[i] * (d->kernel[i] - 1) - 1;
        d->out[i] = room < 0 ? 0 : room / d->stride[i] + 1;
    } while (d->out[i] < 1);
}

static size_t map_size(const int32_t size[2]) { return (size_t)size[0] * (size_t)size[1]; }

static bool reads_padding(const fv_depthwise_desc *d) {
    for (int i = 0; i < 2; i++)
        if (d->pad[i] > 0 || (d->out[i] - 1) * d->stride[i] + d->dilation[i] * (d->kernel[i] - 1) >= d->in[i]) return true;
    return false;
}

static void set_sizes(depthwise_case *p) {
    const fv_depthwise_desc *d = &p->d;
    p->weights = (size_t)fv_depthwise_taps(d) * (size_t)d->channels;
    p->x_size = (size_t)d->images * map_size(d->in) * (size_t)d->channels;
    p->y_size = (size_t)d->images * map_size(d->out) * (size_t)d->channels;
}

/* An image larger than L2 at a stride of two. */
static void draw_large(fv_check_random *r, depthwise_case *p) {
    fv_depthwise_desc *d = &p->d;
    *d = (fv_depthwise_desc){.images = 1,
                             .channels = check_between(r, 90, 170),
                             .kernel = {3, 3},
                             .stride = {2, 2},
                             .dilation = {1, 1},
                             .act_low = -INFINITY,
                             .act_high = INFINITY};
    for (int i = 0; i < 2; i++) {
        d->in[i] = check_between(r, 45, 60);
        d->pad[i] = check_between(r, 0, 3);
        d->out[i] = (d->in[i] + d->pad[i] + check_between(r, 0, 3) - 3) / 2 + 1;
    }
    set_sizes(p);
}

static void draw_shape(fv_case *c, depthwise_case *p) {
    fv_check_random *r = &c->random;
    if (check_chance(r, 0.01)) {
        draw_large(r, p);
        return;
    }
    const bool wide = check_chance(r, 0.03); /* pixels a power of two apart */
    const size_t budget = wide || check_chance(r, 0.05) ? 400000 : 30000;
    int32_t most = wide ? 12 : 40;
    size_t channels = 80;
    fv_depthwise_desc *d = &p->d;
    do {
        *d = (fv_depthwise_desc){.images = check_between(r, 1, 3),
                                 .true_convolution = check_chance(r, 0.3),
                                 .act_low = -INFINITY,
                                 .act_high = INFINITY};
        draw_axis(r, d, 0, most);
        draw_axis(r, d, 1, most);
        d->channels = wide ? 512 : (int32_t)fv_check_length(r, check_chance(r, 0.1) ? 700 : channels);
        set_sizes(p);
        if (most > 7) most--;
        if (channels > 4) channels = channels * 7 / 8;
    } while (p->y_size * (size_t)fv_depthwise_taps(d) > budget || p->x_size > budget);
}

static void draw_case(fv_case *c, depthwise_case *p) {
    fv_check_random *r = &c->random;
    fv_depthwise_desc *d = &p->d;
    if (c->given)
        *d = c->given->depthwise, set_sizes(p);
    else
        draw_shape(c, p);
    if (reads_padding(d)) fv_check_finite_only(c); /* a padding's product may be left out */
    if (check_chance(r, 0.4)) d->act_low = check_chance(r, 0.5) ? 0 : -2;
    if (check_chance(r, 0.4)) d->act_high = check_chance(r, 0.5) ? 6 : 1;
    fv_check_shape(c, "%s n%d C%d in %dx%d out %dx%d kernel %dx%d stride %dx%d dilation %dx%d pad %dx%d clamp %g..%g%s",
                   c->given ? c->given->name : "random", d->images, d->channels, d->in[0], d->in[1], d->out[0], d->out[1],
                   d->kernel[0], d->kernel[1], d->stride[0], d->stride[1], d->dilation[0], d->dilation[1], d->pad[0], d->pad[1],
                   (double)d->act_low, (double)d->act_high, d->true_convolution ? " true convolution" : "");
}

/* ---- the contract ---- */

/* Element of x, channel 0, that output pixel o (over all images) reads at kernel position t; -1: padding. */
static ptrdiff_t source(const fv_depthwise_desc *d, size_t o, int32_t t) {
    const int32_t u[2] = {t / d->kernel[1], t % d->kernel[1]};
    const int32_t at[2] = {(int32_t)(o / (size_t)d->out[1] % (size_t)d->out[0]), (int32_t)(o % (size_t)d->out[1])};
    int32_t i[2];
    for (int a = 0; a < 2; a++) {
        i[a] = at[a] * d->stride[a] + u[a] * d->dilation[a] - d->pad[a];
        if (i[a] < 0 || i[a] >= d->in[a]) return -1;
    }
    return (((ptrdiff_t)(o / map_size(d->out)) * d->in[0] + i[0]) * d->in[1] + i[1]) * d->channels;
}

static float weight_at(const fv_depthwise_desc *d, const fv_conv_weights *w, int32_t t, size_t channel) {
    return w->data[(ptrdiff_t)channel * w->group + (d->true_convolution ? fv_depthwise_taps(d) - 1 - t : t) * w->tap];
}

/* What a sum becomes: with residual (or NULL), clamped. The error stays: a clamp moves values no farther apart. */
static fv_approx finished(const fv_case *c, const fv_depthwise_desc *d, const fv_approx_sum *terms, const float *residual) {
    fv_approx sum = approx_sum(terms, c->eps);
    if (residual) sum = approx_add(sum, approx(*residual), c->eps);
    if (sum.value < (double)d->act_low) sum.value = (double)d->act_low;
    if (sum.value > (double)d->act_high) sum.value = (double)d->act_high;
    return sum;
}

static fv_approx *expect_forward(fv_case *c, const depthwise_case *p, const fv_conv_weights *w, const float *x, const float *bias,
                                 const float *residual) {
    fv_approx *e = fv_check_expected(c, p->y_size);
    for (size_t i = 0; i < p->y_size; i++) {
        const size_t channel = i % (size_t)p->d.channels;
        fv_approx_sum sum = {0};
        if (bias) approx_sum_add(&sum, approx(bias[channel]));
        for (int32_t t = 0; t < fv_depthwise_taps(&p->d); t++) {
            const ptrdiff_t from = source(&p->d, i / (size_t)p->d.channels, t);
            if (from >= 0) approx_sum_add(&sum, approx((double)x[from + (ptrdiff_t)channel] * weight_at(&p->d, w, t, channel)));
        }
        e[i] = finished(c, &p->d, &sum, residual ? residual + i : NULL);
    }
    return e;
}

static fv_approx *expect_data_grad(fv_case *c, const depthwise_case *p, const fv_conv_weights *w, const float *dy,
                                   const float *bias) {
    fv_approx_sum *sum = fv_check_plain(c, p->x_size * sizeof *sum);
    const size_t channels = (size_t)p->d.channels;
    for (size_t i = 0; i < p->y_size; i++)
        for (int32_t t = 0; t < fv_depthwise_taps(&p->d); t++) {
            const ptrdiff_t to = source(&p->d, i / channels, t);
            if (to >= 0)
                approx_sum_add(&sum[to + (ptrdiff_t)(i % channels)],
                               approx((double)dy[i] * weight_at(&p->d, w, t, i % channels)));
        }
    fv_approx *e = fv_check_expected(c, p->x_size);
    for (size_t i = 0; i < p->x_size; i++) {
        if (bias) approx_sum_add(&sum[i], approx(bias[i % channels]));
        e[i] = finished(c, &p->d, &sum[i], NULL);
    }
    return e;
}

/* ---- the candidate, whole or cut into ranges of rows or channels ---- */

typedef struct ranges {
    fv_check_cut rows, channels;
} ranges;

static ranges draw_ranges(fv_case *c, fv_range rows, int32_t channels, int32_t block, bool whole) {
    const fv_range blocks = {0, fv_div_up((size_t)channels, (size_t)block)};
    ranges r = {{.part = {rows}, .parts = 1}, {.part = {blocks}, .parts = 1}};
    if (!whole && check_chance(&c->random, 0.7)) r.rows = fv_check_cut_range(c, rows);
    if (!whole && check_chance(&c->random, 0.7)) r.channels = fv_check_cut_range(c, blocks);
    for (size_t i = 0; i < r.channels.parts; i++) {
        fv_range *part = &r.channels.part[i];
        *part = (fv_range){part->begin * (size_t)block, fv_min_size(part->end * (size_t)block, (size_t)channels)};
        if (part->begin > part->end) part->begin = part->end;
    }
    return r;
}

static const float *pack(fv_case *c, const fv_depthwise_kernels *k, const depthwise_case *p, const fv_conv_weights *w,
                         bool whole) {
    const size_t n = k->packed_size(&p->d);
    float *packed = fv_check_place(c, "packed weights", n * sizeof *packed, FV_ALIGNMENT, false);
    memset(packed, 0xff, n * sizeof *packed);
    const ranges r = draw_ranges(c, (fv_range){0, 1}, p->d.channels, k->block, whole);
    for (size_t i = 0; i < r.channels.parts; i++) k->pack(&p->d, w, packed, r.channels.part[i]);
    return packed;
}

static fv_conv_weights draw_weights(fv_case *c, const depthwise_case *p) {
    const float *data = fv_check_input(c, "weights", p->weights);
    if (check_chance(&c->random, 0.5)) return (fv_conv_weights){data, fv_depthwise_taps(&p->d), 1, 0, 0};
    return (fv_conv_weights){data, 1, p->d.channels, 0, 0};
}

typedef struct operands {
    const float *packed, *x, *bias, *residual;
} operands;

static float *forward(fv_case *c, const fv_depthwise_kernels *k, const depthwise_case *p, const operands *o, bool in_place,
                      bool whole) {
    float *y = in_place ? fv_check_copy(c, "y", o->residual, p->y_size) : fv_check_output(c, "y", p->y_size);
    const ranges r = draw_ranges(c, (fv_range){0, (size_t)(p->d.images * p->d.out[0])}, p->d.channels, k->block, whole);
    for (size_t i = 0; i < r.rows.parts; i++)
        for (size_t j = 0; j < r.channels.parts; j++)
            k->forward(&p->d, o->x, o->packed, o->bias, in_place ? y : o->residual, y, r.rows.part[i], r.channels.part[j]);
    return y;
}

static float *data_grad(fv_case *c, const fv_depthwise_kernels *k, const depthwise_case *p, const operands *o, bool whole) {
    float *dx = fv_check_output(c, "dx", p->x_size);
    const ranges r = draw_ranges(c, (fv_range){0, (size_t)(p->d.images * p->d.in[0])}, p->d.channels, k->block, whole);
    for (size_t i = 0; i < r.rows.parts; i++)
        for (size_t j = 0; j < r.channels.parts; j++)
            k->data_grad(&p->d, o->x, o->packed, o->bias, dx, r.rows.part[i], r.channels.part[j]);
    return dx;
}

void fv_check_depthwise_forward(fv_case *c) {
    depthwise_case p;
    draw_case(c, &p);
    const fv_depthwise_kernels *k = &c->candidate->depthwise;
    operands o = {.x = fv_check_input(c, "x", p.x_size)};
    if (check_chance(&c->random, 0.5)) o.bias = fv_check_input(c, "bias", (size_t)p.d.channels);
    if (check_chance(&c->random, 0.4)) o.residual = fv_check_input(c, "residual", p.y_size);
    const bool in_place = o.residual && check_chance(&c->random, 0.5);
    const fv_conv_weights w = draw_weights(c, &p);
    fv_check_freeze(c);
    operands scalar = o;
    o.packed = pack(c, k, &p, &w, true);
    const float *whole = forward(c, k, &p, &o, in_place, true), *want = NULL;
    if (c->reference != c->candidate) {
        scalar.packed = pack(c, &c->reference->depthwise, &p, &w, true);
        want = forward(c, &c->reference->depthwise, &p, &scalar, in_place, true);
    }
    fv_check_compare(c, "y", whole, want, expect_forward(c, &p, &w, o.x, o.bias, o.residual), p.y_size);
    fv_check_same_values(c, "y cut into ranges", forward(c, k, &p, &o, in_place, false), whole, p.y_size);
}

void fv_check_depthwise_data_grad(fv_case *c) {
    depthwise_case p;
    draw_case(c, &p);
    const fv_depthwise_kernels *k = &c->candidate->depthwise;
    operands o = {.x = fv_check_input(c, "dy", p.y_size)};
    if (check_chance(&c->random, 0.4)) o.bias = fv_check_input(c, "bias", (size_t)p.d.channels);
    const fv_conv_weights w = draw_weights(c, &p);
    fv_check_freeze(c);
    operands scalar = o;
    o.packed = pack(c, k, &p, &w, true);
    const float *whole = data_grad(c, k, &p, &o, true), *want = NULL;
    if (c->reference != c->candidate) {
        scalar.packed = pack(c, &c->reference->depthwise, &p, &w, true);
        want = data_grad(c, &c->reference->depthwise, &p, &scalar, true);
    }
    fv_check_compare(c, "dx", whole, want, expect_data_grad(c, &p, &w, o.x, o.bias), p.x_size);
    fv_check_same_values(c, "dx cut into ranges", data_grad(c, k, &p, &o, false), whole, p.x_size);
}

/* Packed in parts equals packed whole, and small integers find every weight in its place, for y and for dx. */
void fv_check_depthwise_pack(fv_case *c) {
    depthwise_case p;
    c->values = FV_VALUES_INTEGER;
    c->eps = 0;
    draw_case(c, &p);
    const fv_depthwise_kernels *k = &c->candidate->depthwise;
    operands o = {.x = fv_check_input(c, "x", p.x_size)}, back = {.x = fv_check_input(c, "dy", p.y_size)};
    const fv_conv_weights w = draw_weights(c, &p);
    fv_check_freeze(c);
    o.packed = back.packed = pack(c, k, &p, &w, true);
    fv_check_same_bits(c, "packed weights", pack(c, k, &p, &w, false), o.packed, k->packed_size(&p.d));
    fv_check_compare(c, "y", forward(c, k, &p, &o, false, true), NULL, expect_forward(c, &p, &w, o.x, NULL, NULL), p.y_size);
    fv_check_compare(c, "dx", data_grad(c, k, &p, &back, true), NULL, expect_data_grad(c, &p, &w, back.x, NULL), p.x_size);
}

/* ---- weight gradient ---- */

typedef struct gradient {
    const float *x, *dy;
    bool bias;
    ptrdiff_t pitch;
    size_t size; /* of dw */
    fv_range rows;
} gradient;

static void expect_weights(fv_case *c, const depthwise_case *p, const gradient *w, fv_approx *dw, fv_approx *db) {
    const int32_t taps = fv_depthwise_taps(&p->d);
    const size_t channels = (size_t)p->d.channels, row = (size_t)p->d.out[1];
    fv_approx_sum *sum = fv_check_plain(c, (size_t)(taps + 1) * channels * sizeof *sum);
    for (size_t o = w->rows.begin * row; o < w->rows.end * row; o++)
        for (size_t k = 0; k < channels; k++) {
            const double dy = (double)w->dy[o * channels + k];
            approx_sum_add(&sum[(size_t)taps * channels + k], approx(dy));
            for (int32_t t = 0; t < taps; t++) {
                const ptrdiff_t from = source(&p->d, o, t);
                const int32_t number = p->d.true_convolution ? taps - 1 - t : t;
                if (from >= 0)
                    approx_sum_add(&sum[(size_t)number * channels + k], approx((double)w->x[from + (ptrdiff_t)k] * dy));
            }
        }
    for (size_t i = 0; i < (size_t)taps * channels; i++)
        dw[(ptrdiff_t)(i / channels) * w->pitch + (ptrdiff_t)(i % channels)] = approx_sum(&sum[i], c->eps);
    for (size_t k = 0; db && k < channels; k++) db[k] = approx_sum(&sum[(size_t)taps * channels + k], c->eps);
}

typedef struct result {
    float *dw, *db;
} result;

static result weight_gradient(fv_case *c, const fv_depthwise_kernels *k, const depthwise_case *p, const gradient *w, bool whole) {
    const result out = {fv_check_output(c, "dw", w->size), w->bias ? fv_check_output(c, "db", (size_t)p->d.channels) : NULL};
    const ranges r = draw_ranges(c, (fv_range){0, 1}, p->d.channels, k->block, whole);
    for (size_t i = 0; i < r.channels.parts; i++)
        if (r.channels.part[i].begin < r.channels.part[i].end)
            k->weight_grad(&p->d, w->x, w->dy, out.dw, w->pitch, out.db, w->rows, r.channels.part[i]);
    return out;
}

void fv_check_depthwise_weight_grad(fv_case *c) {
    depthwise_case p;
    draw_case(c, &p);
    gradient w = {
        .x = fv_check_input(c, "x", p.x_size), .dy = fv_check_input(c, "dy", p.y_size), .bias = check_chance(&c->random, 0.5)};
    w.pitch = p.d.channels + check_between(&c->random, 0, 3);
    w.size = (size_t)(fv_depthwise_taps(&p.d) - 1) * (size_t)w.pitch + (size_t)p.d.channels;
    w.rows = (fv_range){0, (size_t)(p.d.images * p.d.out[0])};
    if (check_chance(&c->random, 0.5)) {
        w.rows.begin = check_below(&c->random, w.rows.end);
        w.rows.end = w.rows.begin + 1 + check_below(&c->random, w.rows.end - w.rows.begin);
    }
    fv_check_freeze(c);
    fv_approx *dw = fv_check_expected(c, w.size), *db = w.bias ? fv_check_expected(c, (size_t)p.d.channels) : NULL;
    expect_weights(c, &p, &w, dw, db);
    const result whole = weight_gradient(c, &c->candidate->depthwise, &p, &w, true);
    result scalar = {NULL, NULL};
    if (c->reference != c->candidate) scalar = weight_gradient(c, &c->reference->depthwise, &p, &w, true);
    fv_check_compare(c, "dw", whole.dw, scalar.dw, dw, w.size);
    if (db) fv_check_compare(c, "db", whole.db, scalar.db, db, (size_t)p.d.channels);
    const result parts = weight_gradient(c, &c->candidate->depthwise, &p, &w, false);
    fv_check_same_values(c, "dw cut into channels", parts.dw, whole.dw, w.size);
    if (db) fv_check_same_values(c, "db cut into channels", parts.db, whole.db, (size_t)p.d.channels);
}
