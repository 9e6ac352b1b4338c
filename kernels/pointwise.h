/* Element-wise layers (SPEC section 3), both ways, on contiguous runs of n elements. In-place (y == x, dx == dy) is
 * allowed everywhere; no other overlap. Element i's bits depend on element i alone: a call on a part gives the part's
 * bits.
 *
 * exp, tanh, sigmoid and log are our own: no libm transcendental reaches stored bits. Bounds on every ISA against the
 * exact result, in units of its last place, where it is normal: exp 1.1, tanh 1.4, sigmoid 2.5, log 0.9. Where the
 * result of exp or sigmoid is subnormal: 0.8. Two ISAs differ by at most twice that. Everything else rounds as the
 * scalar definition does, so every ISA gives the same bits (NaN's payload aside). */
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
    FV_UNARY_COUNT
} fv_unary;

typedef enum fv_binary { FV_BINARY_ADD, FV_BINARY_SUB, FV_BINARY_MUL, FV_BINARY_COUNT } fv_binary;

/* y = f(x). a, b: parameters of CLAMP and LINEAR, else ignored. */
typedef void (*fv_unary_fn)(const fv_real *x, fv_real *y, size_t n, fv_real a, fv_real b);
/* dx = dy * f'(x), written in terms of what the forward pass kept: `kept` is the OUTPUT y for every kind of this table.
 * RELU: [y > 0]. CLAMP: [a < y < b]. SIGMOID y(1-y). TANH 1-y^2. EXP y. LINEAR a (kept may be NULL). */
typedef void (*fv_unary_grad_fn)(const fv_real *kept, const fv_real *dy, fv_real *dx, size_t n, fv_real a, fv_real b);
typedef void (*fv_binary_fn)(const fv_real *x1, const fv_real *x2, fv_real *y, size_t n);
/* Per channel: y[p*pitch_y + c] = x[p*pitch_x + c] * gain[c] + shift[c]; shift may be NULL. `pixels` rows. */
typedef void (*fv_gain_fn)(const fv_real *x, ptrdiff_t x_pitch, const fv_real *gain, const fv_real *shift, fv_real *y,
                           ptrdiff_t y_pitch, size_t channels, size_t pixels);
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
    fv_dropout_fn dropout;
} fv_pointwise_kernels;

#endif
