/* Element-wise slots. Those the contract pins to the bit (relu, clamp, linear, add, ...) are expected as the float
 * operation itself; exp, tanh and sigmoid within their stated
 * ULP of libm's double result. Everything else gives the scalar definition's bits on every ISA. */
#include "kernels/check/engine.h"

enum { MOST = 400 };

/* n values in parts, each from pointers of its own. */
#define EACH_PART(c, n, part_)                                                                                         \
    const fv_check_cut cut = fv_check_cut_range(c, (fv_range){0, n});                                                  \
    for (const fv_range *part_ = cut.part; part_ < cut.part + cut.parts; part_++)

static float *start_output(fv_case *c, const char *name, const float *in_place, size_t n) {
    return in_place ? fv_check_copy(c, name, in_place, n) : fv_check_output(c, name, n);
}

/* ---- unary ---- */

static const double ulp_bound[FV_UNARY_COUNT] = {[FV_UNARY_SIGMOID] = 2.5, [FV_UNARY_TANH] = 1.4, [FV_UNARY_EXP] = 1.1};
static const char *const unary_name[FV_UNARY_COUNT] = {"relu", "sigmoid", "tanh", "exp", "clamp", "linear"};

/* What the contract leaves to nobody: the operations of the formula, each rounded to float. */
static float exact_unary(fv_unary kind, float x, float a, float b) {
    switch (kind) {
    case FV_UNARY_RELU:
        return x < 0 ? 0 : x;
    case FV_UNARY_CLAMP:
        return x < a ? a : x > b ? b : x;
    default: {
        const volatile float product = x * a;
        return product + b;
    }
    }
}

static double true_unary(fv_unary kind, double x) {
    switch (kind) {
    case FV_UNARY_SIGMOID:
        return 1 / (1 + exp(-x));
    case FV_UNARY_TANH:
        return tanh(x);
    default:
        return exp(x);
    }
}

/* A unit in the last place of |v|; a result past FLT_MAX counts as if the exponents went on. */
static double ulp_at(double v) {
    int exponent;
    frexp(v, &exponent);
    return ldexp(1, (exponent < -125 ? -125 : exponent) - 24);
}

static fv_approx expect_unary(fv_unary kind, float x, float a, float b) {
    if (ulp_bound[kind] == 0) return approx(exact_unary(kind, x, a, b));
    const double value = true_unary(kind, x);
    return (fv_approx){value, (fabs(value) < FLT_MIN ? 0.8 : ulp_bound[kind]) * ulp_at(value)};
}

static void fill_transcendental(fv_case *c, fv_unary kind, float *x, size_t n) {
    if (ulp_bound[kind] == 0) return;
    fv_check_random *r = &c->random;
    const float reach = kind == FV_UNARY_EXP ? 110 : kind == FV_UNARY_TANH ? 12 : 100;
    for (size_t i = 0; i < n; i++)
        if (isfinite(x[i]) && check_chance(r, 0.7)) x[i] = check_uniform(r, -1, 1) * (check_chance(r, 0.5) ? reach : 2);
}

void fv_check_unary(fv_case *c) {
    const fv_unary kind = (fv_unary)c->argument;
    const size_t n = check_chance(&c->random, 0.01) ? 0 : fv_check_length(&c->random, MOST);
    float *x = fv_check_input(c, "x", n);
    fill_transcendental(c, kind, x, n);
    float a = check_uniform(&c->random, -3, 1), b = check_uniform(&c->random, 1, 3);
    if (c->values == FV_VALUES_INTEGER) a = -2, b = 3;
    const float *in_place = check_chance(&c->random, 0.4) ? x : NULL;
    fv_check_shape(c, "%s n%zu a %.9g b %.9g%s", unary_name[kind], n, (double)a, (double)b,
                   in_place ? " in place" : "");
    c->same_as_scalar = ulp_bound[kind] == 0;
    fv_check_freeze(c);
    fv_approx *expected = fv_check_expected(c, n);
    for (size_t i = 0; i < n; i++) expected[i] = expect_unary(kind, x[i], a, b);
    float *y = start_output(c, "y", in_place, n), *scalar = start_output(c, "y", in_place, n);
    float *parts = start_output(c, "y", in_place, n);
    c->candidate->pointwise.unary[kind](in_place ? y : x, y, n, a, b);
    c->reference->pointwise.unary[kind](in_place ? scalar : x, scalar, n, a, b);
    fv_check_compare(c, "y", y, scalar, expected, n);
    EACH_PART(c, n, p)
    c->candidate->pointwise.unary[kind]((in_place ? parts : x) + p->begin, parts + p->begin, p->end - p->begin, a, b);
    fv_check_same_bits(c, "y in parts", parts, y, n);
}

/* ---- unary gradients ---- */

static fv_approx expect_grad(fv_unary kind, float y_, float dy_, float a, float b, double eps) {
    const fv_approx y = approx(y_), dy = approx(dy_), one = approx(1);
    switch (kind) {
    case FV_UNARY_RELU:
        return approx(y_ > 0 ? dy_ : 0);
    case FV_UNARY_CLAMP:
        return approx(y_ > a && y_ < b ? dy_ : 0);
    case FV_UNARY_LINEAR:
        return approx((double)(dy_ * a));
    case FV_UNARY_EXP:
        return approx((double)(dy_ * y_));
    case FV_UNARY_SIGMOID:
        return approx_mul(dy, approx_mul(y, approx_sub(one, y, eps), eps), eps);
    default:
        return approx_mul(dy, approx_sub(one, approx_mul(y, y, eps), eps), eps);
    }
}

void fv_check_unary_grad(fv_case *c) {
    const fv_unary kind = (fv_unary)c->argument;
    const size_t n = fv_check_length(&c->random, MOST);
    const bool kept = kind != FV_UNARY_LINEAR || check_chance(&c->random, 0.5);
    const float *y = kept ? fv_check_input(c, "y", n) : NULL, *dy = fv_check_input(c, "dy", n);
    float a = check_uniform(&c->random, -1, 0), b = check_uniform(&c->random, 0, 1);
    if (c->values == FV_VALUES_INTEGER) a = -2, b = 3;
    const float *in_place = check_chance(&c->random, 0.4) ? dy : NULL;
    fv_check_shape(c, "%s gradient n%zu a %.9g b %.9g%s", unary_name[kind], n, (double)a, (double)b,
                   in_place ? " in place" : "");
    c->same_as_scalar = true;
    fv_check_freeze(c);
    fv_approx *expected = fv_check_expected(c, n);
    for (size_t i = 0; i < n; i++) expected[i] = expect_grad(kind, kept ? y[i] : 0, dy[i], a, b, c->eps);
    float *dx = start_output(c, "dx", in_place, n), *scalar = start_output(c, "dx", in_place, n);
    float *parts = start_output(c, "dx", in_place, n);
    c->candidate->pointwise.unary_grad[kind](y, in_place ? dx : dy, dx, n, a, b);
    c->reference->pointwise.unary_grad[kind](y, in_place ? scalar : dy, scalar, n, a, b);
    fv_check_compare(c, "dx", dx, scalar, expected, n);
    EACH_PART(c, n, p)
    c->candidate->pointwise.unary_grad[kind](kept ? y + p->begin : NULL, (in_place ? parts : dy) + p->begin,
                                             parts + p->begin, p->end - p->begin, a, b);
    fv_check_same_bits(c, "dx in parts", parts, dx, n);
}

/* ---- binary ---- */

void fv_check_binary(fv_case *c) {
    const fv_binary kind = (fv_binary)c->argument;
    const fv_binary_fn f = c->candidate->pointwise.binary[kind];
    const size_t n = fv_check_length(&c->random, MOST);
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
    float *y = start_output(c, "y", start, n), *scalar = start_output(c, "y", start, n);
    float *parts = start_output(c, "y", start, n);
    f(in_place == 1 ? y : x1, in_place == 2 ? y : x2, y, n);
    c->reference->pointwise.binary[kind](in_place == 1 ? scalar : x1, in_place == 2 ? scalar : x2, scalar, n);
    fv_check_compare(c, "y", y, scalar, expected, n);
    EACH_PART(c, n, p)
    f((in_place == 1 ? parts : x1) + p->begin, (in_place == 2 ? parts : x2) + p->begin, parts + p->begin,
      p->end - p->begin);
    fv_check_same_bits(c, "y in parts", parts, y, n);
}

/* ---- gain ---- */

void fv_check_gain(fv_case *c) {
    fv_check_random *r = &c->random;
    const size_t channels = fv_check_length(r, 100), pixels = fv_check_length(r, 20);
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
    float *y = start_output(c, "y", same ? x : NULL, y_size), *scalar = start_output(c, "y", same ? x : NULL, y_size);
    float *parts = start_output(c, "y", same ? x : NULL, y_size);
    c->candidate->pointwise.gain(same ? y : x, x_pitch, gain, shift, y, y_pitch, channels, pixels);
    c->reference->pointwise.gain(same ? scalar : x, x_pitch, gain, shift, scalar, y_pitch, channels, pixels);
    fv_check_compare(c, "y", y, scalar, expected, y_size);
    EACH_PART(c, pixels, p)
    c->candidate->pointwise.gain((same ? parts : x) + (ptrdiff_t)p->begin * x_pitch, x_pitch, gain, shift,
                                 parts + (ptrdiff_t)p->begin * y_pitch, y_pitch, channels, p->end - p->begin);
    fv_check_same_bits(c, "y in parts", parts, y, y_size);
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
    const size_t n = fv_check_length(r, MOST);
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
    float *y = start_output(c, "y", in_place, n), *scalar = start_output(c, "y", in_place, n);
    float *parts = start_output(c, "y", in_place, n);
    c->candidate->pointwise.dropout(in_place ? y : x, y, n, first, key, stream, ratio);
    c->reference->pointwise.dropout(in_place ? scalar : x, scalar, n, first, key, stream, ratio);
    fv_check_compare(c, "y", y, scalar, expected, n);
    EACH_PART(c, n, p)
    c->candidate->pointwise.dropout((in_place ? parts : x) + p->begin, parts + p->begin, p->end - p->begin,
                                    first + p->begin, key, stream, ratio);
    fv_check_same_bits(c, "y in parts", parts, y, n);
}
