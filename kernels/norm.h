/* Normalization over channels-last maps: moments, the affine map they become, and its gradient (SPEC section 7). All slots
 * work along channels on a range of pixels; what belongs together over pixels is cut into ranges and added in their order.
 *
 * The method: with m0 near the mean of a range of pixels, s1 = sum d and s2 = sum d^2 of d = x - m0 give mean = m0 + s1/n and
 * M2 = s2 - s1^2/n: m0's own error cancels (the corrected two-pass sums of Chan, Golub and LeVeque 1983). m0 is the mean of the
 * range; or the mean of eight of its pixels, which saves a pass and is near enough where s1^2/n <= M2: else the pass is made
 * again about the mean that it gave. Ranges are joined by Chan's formula. With e the unit roundoff and
 * D = M2 + n*(n*e*mean|x|)^2, |error of M2| <= about 3n*e*D, which grows with mean/deviation in second order only. A value that
 * is not finite makes its channel's moments NaN. */
#ifndef FV_KERNELS_NORM_H
#define FV_KERNELS_NORM_H

#include "kernels/base.h"

/* mean[c] of x[p*pitch + c] over `pixels` >= 1 rows, and m2[c], the sum of (x - mean)^2. A channel's bits depend on its own
 * values alone. */
typedef void (*fv_moments_fn)(const fv_real *x, ptrdiff_t pitch, size_t pixels, size_t channels, fv_real *mean, fv_real *m2);
/* Moments of `parts` >= 1 ranges joined in order: range k's means at mean + k*part_pitch and its sums at m2 + k*part_pitch. Every
 * range has `count` values, the last one `last`. Joining n and k values with delta = mean_k - mean_n, every operation rounded:
 *   mean += delta * (k/(n+k)), m2 += m2_k + delta*delta * (n*(k/(n+k))). out may be part 0. The same bits on every ISA. */
typedef void (*fv_merge_moments_fn)(const fv_real *mean, const fv_real *m2, ptrdiff_t part_pitch, size_t parts, size_t count,
                                    size_t last, size_t channels, fv_real *out_mean, fv_real *out_m2);
/* Moments of all the values of `channels` >= 1 channels that have `count` values each: out[0] = sum mean / channels,
 * out[1] = sum (m2 + count * (mean - out[0])^2). Within an ISA the order is a function of `channels` alone. */
typedef void (*fv_combine_moments_fn)(const fv_real *mean, const fv_real *m2, size_t count, size_t channels, fv_real out[2]);

/* The map z = x * gain[c] + shift[c] (two roundings), y = min(max(z, low), high); NaN passes. low = -infinity and high =
 * infinity: no clamp. */
typedef struct fv_norm_map {
    const fv_real *mean, *gain, *shift; /* [channels] */
    fv_real low, high;
} fv_norm_map;

/* y = map(x); mean is not read. y may be x when the pitches are equal. The same bits on every ISA, in any cut. */
typedef void (*fv_norm_apply_fn)(const fv_norm_map *m, const fv_real *x, ptrdiff_t x_pitch, fv_real *y, ptrdiff_t y_pitch,
                                 size_t channels, size_t pixels);
/* With g = dy where the clamp passes z (low < z < high, or there is no clamp), else 0:
 * sum[c] = sum_p g, dot[c] = sum_p g * (x - mean[c]), overwritten, in the pixels' order. gain and shift are read with a clamp
 * only. */
typedef void (*fv_norm_grad_sums_fn)(const fv_norm_map *m, const fv_real *dy, ptrdiff_t dy_pitch, const fv_real *x,
                                     ptrdiff_t x_pitch, size_t channels, size_t pixels, fv_real *sum, fv_real *dot);
/* dx = g * gain[c] + ((x - mean[c]) * slope[c] + offset[c]), every operation rounded. dx may be dy when the pitches are equal.
 * The same bits on every ISA, in any cut. */
typedef void (*fv_norm_grad_input_fn)(const fv_norm_map *m, const fv_real *slope, const fv_real *offset, const fv_real *dy,
                                      ptrdiff_t dy_pitch, const fv_real *x, ptrdiff_t x_pitch, fv_real *dx, ptrdiff_t dx_pitch,
                                      size_t channels, size_t pixels);

typedef struct fv_norm_kernels {
    fv_moments_fn moments;
    fv_merge_moments_fn merge;
    fv_combine_moments_fn combine;
    fv_norm_apply_fn apply;
    fv_norm_grad_sums_fn grad_sums;
    fv_norm_grad_input_fn grad_input;
} fv_norm_kernels;

static inline bool fv_norm_clamps(const fv_norm_map *m) { return m->low >= -FV_REAL_MAX || m->high <= FV_REAL_MAX; }

#endif
