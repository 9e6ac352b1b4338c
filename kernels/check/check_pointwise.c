/* Element-wise slots of two tensors or of channels. All give the scalar definition's bits on every ISA, prelu's sums apart. The
 * unary ones: check_unary.c. */
#include "kernels/check/engine.h"

enum { MOST = 400 };

/* ---- binary ---- */

void fv_check_binary(fv_case *c) {
    const fv_binary kind = (fv_binary)c->argument;
    const fv_binary_fn f = c->candidate->pointwise.binary[kind];
    const size_t n = fv_check_size(c, 0, MOST);
    const float *x1 = fv_check_input(c, "x1", n), *x2 = fv_check_input(c, "x2", n);
    const size_t in_place = check_below(&c->random, 4); /* 1: y is x1, 2: y is x2 */
    const float *start = in_place == 1 ? x1 : in_place == 2 ? x2 : NULL;
    fv_check_shape(c, "n%zu%s", n, in_place == 1 ? " in place of x1" : in_place == 2 ? " in place of x2" : "");
    c->same_as_scalar = true;
    fv_check_freeze(c);
    fv_approx *expected = fv_check_expected(c, n);
    for (size_t i = 0; i < n; i++)
        expected[i] = approx(kind == FV_BINARY_ADD   ? (double)(x1[i] + x2[i])
                             : kind == FV_BINARY_SUB ? (double)(x1[i] - x2[i])
                                                     : (double)(x1[i] * x2[i]));
    float *y = fv_check_start(c, "y", start, n), *scalar = fv_check_start(c, "y", start, n);
    float *parts = fv_check_start(c, "y", start, n);
    f(in_place == 1 ? y : x1, in_place == 2 ? y : x2, y, n);
    c->reference->pointwise.binary[kind](in_place == 1 ? scalar : x1, in_place == 2 ? scalar : x2, scalar, n);
    fv_check_compare(c, "y", y, scalar, expected, n);
    FV_EACH_PART(c, n, p)
    f((in_place == 1 ? parts : x1) + p->begin, (in_place == 2 ? parts : x2) + p->begin, parts + p->begin,
      p->end - p->begin);
    fv_check_same_bits(c, "y in parts", parts, y, n);
}

/* ---- gain ---- */

void fv_check_gain(fv_case *c) {
    fv_check_random *r = &c->random;
    const size_t channels = fv_check_size(c, 0, 100), pixels = fv_check_size(c, 1, 20);
    const bool same = check_chance(r, 0.3);
    const ptrdiff_t x_pitch = (ptrdiff_t)channels + check_between(r, 0, 4);
    const ptrdiff_t y_pitch = same ? x_pitch : (ptrdiff_t)channels + check_between(r, 0, 4);
    const size_t x_size = (pixels - 1) * (size_t)x_pitch + channels, y_size = (pixels - 1) * (size_t)y_pitch + channels;
    const float *x = fv_check_input(c, "x", x_size), *gain = fv_check_input(c, "gain", channels);
    const float *shift = check_chance(r, 0.5) ? fv_check_input(c, "shift", channels) : NULL;
    fv_check_shape(c, "pixels %zu channels %zu pitches %zd, %zd%s%s", pixels, channels, x_pitch, y_pitch,
                   shift ? " shift" : "", same ? " in place" : "");
    c->same_as_scalar = true;
    fv_check_freeze(c);
    fv_approx *expected = fv_check_expected(c, y_size);
    for (size_t i = 0; same && i < y_size; i++) expected[i] = approx(x[i]);
    for (size_t p = 0; p < pixels; p++)
        for (size_t i = 0; i < channels; i++) {
            const fv_approx product =
                approx_mul(approx(x[(ptrdiff_t)p * x_pitch + (ptrdiff_t)i]), approx(gain[i]), c->eps);
            expected[(ptrdiff_t)p * y_pitch + (ptrdiff_t)i] =
                shift ? approx_add(product, approx(shift[i]), c->eps) : product;
        }
    float *y = fv_check_start(c, "y", same ? x : NULL, y_size), *scalar = fv_check_start(c, "y", same ? x : NULL, y_size);
    float *parts = fv_check_start(c, "y", same ? x : NULL, y_size);
    c->candidate->pointwise.gain(same ? y : x, x_pitch, gain, shift, y, y_pitch, channels, pixels);
    c->reference->pointwise.gain(same ? scalar : x, x_pitch, gain, shift, scalar, y_pitch, channels, pixels);
    fv_check_compare(c, "y", y, scalar, expected, y_size);
    FV_EACH_PART(c, pixels, p)
    c->candidate->pointwise.gain((same ? parts : x) + (ptrdiff_t)p->begin * x_pitch, x_pitch, gain, shift,
                                 parts + (ptrdiff_t)p->begin * y_pitch, y_pitch, channels, p->end - p->begin);
    fv_check_same_bits(c, "y in parts", parts, y, y_size);
}

/* ---- prelu ---- */

void fv_check_prelu(fv_case *c) {
    fv_check_random *r = &c->random;
    const size_t channels = fv_check_size(c, 0, 100), pixels = fv_check_size(c, 1, 20);
    const bool same = check_chance(r, 0.3);
    const ptrdiff_t x_pitch = (ptrdiff_t)channels + check_between(r, 0, 4);
    const ptrdiff_t y_pitch = same ? x_pitch : (ptrdiff_t)channels + check_between(r, 0, 4);
    const size_t x_size = (pixels - 1) * (size_t)x_pitch + channels, y_size = (pixels - 1) * (size_t)y_pitch + channels;
    const float *x = fv_check_input(c, "x", x_size), *slope = fv_check_input(c, "slope", channels);
    fv_check_shape(c, "pixels %zu channels %zu pitches %zd, %zd%s", pixels, channels, x_pitch, y_pitch, same ? " in place" : "");
    c->same_as_scalar = true;
    fv_check_freeze(c);
    fv_approx *expected = fv_check_expected(c, y_size);
    for (size_t i = 0; same && i < y_size; i++) expected[i] = approx(x[i]);
    for (size_t p = 0; p < pixels; p++)
        for (size_t i = 0; i < channels; i++) {
            const float v = x[p * (size_t)x_pitch + i], product = slope[i] * v;
            expected[p * (size_t)y_pitch + i] = approx(v > 0 ? v : product);
        }
    float *y[3];
    for (int i = 0; i < 3; i++) y[i] = fv_check_start(c, "y", same ? x : NULL, y_size);
    c->candidate->pointwise.prelu(same ? y[0] : x, x_pitch, slope, y[0], y_pitch, channels, pixels);
    c->reference->pointwise.prelu(same ? y[1] : x, x_pitch, slope, y[1], y_pitch, channels, pixels);
    fv_check_compare(c, "y", y[0], y[1], expected, y_size);
    FV_EACH_PART(c, pixels, p)
    c->candidate->pointwise.prelu((same ? y[2] : x) + (ptrdiff_t)p->begin * x_pitch, x_pitch, slope,
                                  y[2] + (ptrdiff_t)p->begin * y_pitch, y_pitch, channels, p->end - p->begin);
    fv_check_same_bits(c, "y in parts", y[2], y[0], y_size);
}

typedef struct prelu_out {
    float *dx, *dslope;
} prelu_out;

static prelu_out start_prelu(fv_case *c, const float *in_place, size_t size, size_t channels) {
    return (prelu_out){fv_check_start(c, "dx", in_place, size), fv_check_output(c, "dslope", channels)};
}

void fv_check_prelu_grad(fv_case *c) {
    const size_t channels = fv_check_size(c, 0, 100), pixels = fv_check_size(c, 1, 30), n = channels * pixels;
    const float *x = fv_check_input(c, "x", n), *slope = fv_check_input(c, "slope", channels), *dy = fv_check_input(c, "dy", n);
    const float *in_place = check_chance(&c->random, 0.4) ? dy : NULL;
    const ptrdiff_t pitch = (ptrdiff_t)channels;
    fv_check_shape(c, "pixels %zu channels %zu%s", pixels, channels, in_place ? " in place" : "");
    fv_check_freeze(c);
    fv_approx *dx = fv_check_expected(c, n), *dslope = fv_check_expected(c, channels);
    for (size_t i = 0; i < channels; i++) {
        fv_approx_sum sum = {0};
        for (size_t p = 0, at = i; p < pixels; p++, at += channels) {
            const float product = slope[i] * dy[at];
            if (!(x[at] > 0)) approx_sum_add(&sum, approx((double)x[at] * dy[at]));
            dx[at] = approx(x[at] > 0 ? dy[at] : product);
        }
        dslope[i] = approx_sum(&sum, c->eps);
    }
    const prelu_out y = start_prelu(c, in_place, n, channels), scalar = start_prelu(c, in_place, n, channels);
    const prelu_out parts = start_prelu(c, in_place, n, channels);
    c->candidate->pointwise.prelu_grad(x, slope, in_place ? y.dx : dy, y.dx, y.dslope, pitch, channels, pixels);
    c->reference->pointwise.prelu_grad(x, slope, in_place ? scalar.dx : dy, scalar.dx, scalar.dslope, pitch, channels, pixels);
    fv_check_compare(c, "dx", y.dx, scalar.dx, dx, n);
    fv_check_compare(c, "dslope", y.dslope, scalar.dslope, dslope, channels);
    FV_EACH_PART(c, channels, p)
    c->candidate->pointwise.prelu_grad(x + p->begin, slope + p->begin, (in_place ? parts.dx : dy) + p->begin, parts.dx + p->begin,
                                       parts.dslope + p->begin, pitch, p->end - p->begin, pixels);
    fv_check_same_bits(c, "dx by parts of the channels", parts.dx, y.dx, n);
    fv_check_same_bits(c, "dslope by parts of the channels", parts.dslope, y.dslope, channels);
}

/* ---- dropout ---- */

/* Philox4x32-10, written from the paper and not shared with the kernels. */
static uint32_t philox_word(const uint32_t key[2], const uint32_t stream[2], uint64_t element) {
    uint32_t k[2] = {key[0], key[1]};
    uint32_t x[4] = {(uint32_t)(element / 4), (uint32_t)(element / 4 >> 32), stream[0], stream[1]};
    for (int round = 0; round < 10; round++) {
        const uint64_t a = (uint64_t)0xD2511F53u * x[0], b = (uint64_t)0xCD9E8D57u * x[2];
        const uint32_t next[4] = {(uint32_t)(b >> 32) ^ x[1] ^ k[0], (uint32_t)b, (uint32_t)(a >> 32) ^ x[3] ^ k[1],
                                  (uint32_t)a};
        memcpy(x, next, sizeof x);
        k[0] += 0x9E3779B9u;
        k[1] += 0xBB67AE85u;
    }
    return x[element % 4];
}

/* Positions around the carry into the counter's upper word, too. */
static uint64_t draw_first(fv_check_random *r) {
    switch (check_below(r, 4)) {
    case 0:
        return 0;
    case 1:
        return check_below(r, 1000);
    case 2:
        return ((uint64_t)1 << 34) - check_below(r, 300);
    default:
        return check_bits(r) >> check_between(r, 3, 40);
    }
}

void fv_check_dropout(fv_case *c) {
    static const float ratios[] = {0, 0.25f, 0.5f, 0.1f, 0.999f};
    fv_check_random *r = &c->random;
    const size_t n = fv_check_size(c, 0, MOST);
    const float *x = fv_check_input(c, "x", n),
                ratio = check_chance(r, 0.5) ? ratios[check_below(r, 5)] : check_uniform(r, 0, 1);
    const uint32_t key[2] = {(uint32_t)check_bits(r), (uint32_t)check_bits(r)};
    const uint32_t stream[2] = {(uint32_t)check_bits(r), (uint32_t)check_bits(r)};
    const uint64_t first = draw_first(r);
    const float *in_place = check_chance(r, 0.4) ? x : NULL;
    fv_check_shape(c, "n%zu first %llu ratio %.9g%s", n, (unsigned long long)first, (double)ratio,
                   in_place ? " in place" : "");
    fv_check_inexact(c);
    c->same_as_scalar = true;
    fv_check_freeze(c);
    fv_approx *expected = fv_check_expected(c, n);
    const fv_approx keep = approx_sub(approx(1), approx(ratio), c->eps);
    for (size_t i = 0; i < n; i++) {
        const bool kept = philox_word(key, stream, first + i) >> 8 >= (uint32_t)((double)ratio * 16777216);
        const fv_approx scaled = approx_div(approx(x[i]), keep, c->eps);
        expected[i] = kept ? approx_round(scaled.value, scaled.error, c->eps) : approx(0);
    }
    float *y = fv_check_start(c, "y", in_place, n), *scalar = fv_check_start(c, "y", in_place, n);
    float *parts = fv_check_start(c, "y", in_place, n);
    c->candidate->pointwise.dropout(in_place ? y : x, y, n, first, key, stream, ratio);
    c->reference->pointwise.dropout(in_place ? scalar : x, scalar, n, first, key, stream, ratio);
    fv_check_compare(c, "y", y, scalar, expected, n);
    FV_EACH_PART(c, n, p)
    c->candidate->pointwise.dropout((in_place ? parts : x) + p->begin, parts + p->begin, p->end - p->begin,
                                    first + p->begin, key, stream, ratio);
    fv_check_same_bits(c, "y in parts", parts, y, n);
}
