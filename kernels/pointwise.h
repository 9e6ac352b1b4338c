/* Element-wise layers (SPEC section 3), both ways, on contiguous runs of n elements. In-place (y == x, dx == dy) is
 * allowed everywhere; no other overlap. Element i's bits depend on element i alone: a call on a part gives the part's
 * bits.
 *
 * exp, tanh, sigmoid and log are our own: no libm transcendental reaches stored bits. Bounds on every ISA against the
 * exact result, in units of its last place, where it is normal: exp 1.1, tanh 1.4, sigmoid 2.5, log 0.9. Where the
 * result of exp or sigmoid is subnormal: 0.8. Two ISAs differ by at most twice that. Everything else rounds as the
 * scalar definition does, so every ISA gives the same bits (NaN's payload aside).
 *
 * Bounds of the later kinds, likewise in the result's last place, f and then f' before it is multiplied by dy:
 *   softplus           2.5     2.5, each with what one rounding of k*x makes of it, and FLT_MIN/k
 *   smooth abs         3 * 2^-23 |x| + FLT_MIN/k, absolute   1.4, with one rounding of k*x
 *   relu surrogate     exact   2.5, with one rounding of k*x
 *   elu                2, with a or b other than 1 3.5      2.5
 *   erf                1.5     2.5, with one rounding of x^2
 *   gelu               2^-23 |x|, absolute                  2^-22, absolute
 *   gelu_tanh          3 * 2^-24 |x|, absolute              2^-22, absolute
 *   silu               3.5     2^-22, absolute
 *   mish               4.5     2^-22, absolute
 * No kind gives NaN for a finite x; of -inf gelu, silu, mish and hard swish are inf * 0. Their gradients at the
 * infinities are the limits 0 and 1. */
#ifndef FV_KERNELS_POINTWISE_H
#define FV_KERNELS_POINTWISE_H

#include "kernels/base.h"

typedef enum fv_unary {
    FV_UNARY_RELU, /* max(0,x); NaN passes */
    FV_UNARY_SIGMOID,
    FV_UNARY_TANH,
    FV_UNARY_EXP,
    FV_UNARY_CLAMP,  /* min(max(x, a), b); NaN passes */
    FV_UNARY_LINEAR, /* a*x + b, two roundings */
    /* k is a: a normal number > 0. */
    FV_UNARY_SOFTPLUS,       /* max(0,x) + log1p(e^{-k|x|})/k */
    FV_UNARY_SMOOTH_ABS,     /* |x| + (2/k)(log1p(e^{-k|x|}) - ln 2), the bracket as ln((1+e^{-k|x|})/2) */
    FV_UNARY_RELU_SURROGATE, /* RELU; its gradient is softplus(k)'s */
    FV_UNARY_ABS,
    FV_UNARY_LEAKY_RELU, /* x > 0 ? x : a*x */
    FV_UNARY_ELU,        /* x > 0 ? b*x : b*(a*(e^x - 1)); SELU is one of these */
    FV_UNARY_ERF,
    FV_UNARY_GELU,         /* x/2 (1 + erf(x/sqrt 2)) */
    FV_UNARY_GELU_TANH,    /* x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))), as x * sigmoid of twice that */
    FV_UNARY_SILU,         /* x * sigmoid(x) */
    FV_UNARY_MISH,         /* x * tanh(ln(1 + e^x)) */
    FV_UNARY_HARD_SIGMOID, /* min(max(a*x + b, 0), 1), every step rounded; NaN passes */
    FV_UNARY_HARD_SWISH,   /* x * min(max(x * (1/6) + 1/2, 0), 1), likewise */
    FV_UNARY_SOFTSIGN,     /* x / (1 + |x|), likewise */
    FV_UNARY_COUNT
} fv_unary;

/* Whether the gradient of a kind reads the input x of the forward pass; else it reads the output y. */
static inline bool fv_unary_keeps_input(fv_unary kind) {
    return kind >= FV_UNARY_SOFTPLUS && kind < FV_UNARY_COUNT && kind != FV_UNARY_HARD_SIGMOID;
}

typedef enum fv_binary { FV_BINARY_ADD, FV_BINARY_SUB, FV_BINARY_MUL, FV_BINARY_COUNT } fv_binary;

/* y = f(x). a, b: parameters of the kinds that name them above, else ignored. */
typedef void (*fv_unary_fn)(const fv_real *x, fv_real *y, size_t n, fv_real a, fv_real b);
/* dx = dy * f'(x), written in terms of what the forward pass kept: fv_unary_keeps_input says which.
 * Output: RELU [y > 0]. CLAMP [a < y < b]. SIGMOID y(1-y). TANH 1-y^2. EXP y. LINEAR a (kept may be NULL). HARD_SIGMOID
 * a [0 < y < 1].
 * Input: SOFTPLUS and RELU_SURROGATE 1/(1+e^{-kx}). SMOOTH_ABS 2/(1+e^{-kx}) - 1 = tanh(kx/2). ABS sgn(x), 0 where x is
 * 0 or NaN. LEAKY_RELU x > 0 ? 1 : a. ELU x > 0 ? b : b*a*e^x. HARD_SWISH x > -3 ? x < 3 ? x/3 + 1/2 : 1 : 0. SOFTSIGN
 * dx = dy / (1+|x|)^2. The others as the formulas give. Steps without a transcendental round as the scalar definition
 * does. */
typedef void (*fv_unary_grad_fn)(const fv_real *kept, const fv_real *dy, fv_real *dx, size_t n, fv_real a, fv_real b);
typedef void (*fv_binary_fn)(const fv_real *x1, const fv_real *x2, fv_real *y, size_t n);
/* Per channel: y[p*pitch_y + c] = x[p*pitch_x + c] * gain[c] + shift[c]; shift may be NULL. `pixels` rows. */
typedef void (*fv_gain_fn)(const fv_real *x, ptrdiff_t x_pitch, const fv_real *gain, const fv_real *shift, fv_real *y,
                           ptrdiff_t y_pitch, size_t channels, size_t pixels);
/* Per channel, pitches as gain's: y = x > 0 ? x : slope[c] * x. */
typedef void (*fv_prelu_fn)(const fv_real *x, ptrdiff_t x_pitch, const fv_real *slope, fv_real *y, ptrdiff_t y_pitch,
                            size_t channels, size_t pixels);
/* Dense rows: dx = x > 0 ? dy : slope[c] * dy, and dslope[c] = sum over the pixels, in their order, of x > 0 ? 0 : x * dy,
 * overwritten. dx == dy is allowed. A cut of the channels gives the same bits: pitch is that of x, dy and dx. */
typedef void (*fv_prelu_grad_fn)(const fv_real *x, const fv_real *slope, const fv_real *dy, fv_real *dx, fv_real *dslope,
                                 ptrdiff_t pitch, size_t channels, size_t pixels);
/* y[i] = keep(i) ? x[i] / (1 - ratio) : 0. keep(i) from Philox4x32-10 with key (key[0], key[1]) and counter
 * {block low, block high, stream[0], stream[1]}, block = (first + i) / 4, word (first + i) % 4: kept when the word's
 * top 24 bits, as an integer, are >= (uint32_t)(ratio * 2^24). `first` is the position of x[0] in the whole tensor, so
 * any cut gives the same mask; the gradient is the same call on dy. 0 <= ratio < 1. */
typedef void (*fv_dropout_fn)(const fv_real *x, fv_real *y, size_t n, uint64_t first, const uint32_t key[2],
                              const uint32_t stream[2], fv_real ratio);

typedef struct fv_pointwise_kernels {
    fv_unary_fn unary[FV_UNARY_COUNT];
    fv_unary_grad_fn unary_grad[FV_UNARY_COUNT];
    fv_binary_fn binary[FV_BINARY_COUNT];
    fv_gain_fn gain;
    fv_prelu_fn prelu;
    fv_prelu_grad_fn prelu_grad;
    fv_dropout_fn dropout;
} fv_pointwise_kernels;

#endif
