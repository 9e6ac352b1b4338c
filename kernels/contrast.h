/* Contrast normalization, forwards and backwards (SPEC section 4): the pieces that op_subtractive.c, op_divisive.c and
 * op_brightness.c of runtime/ops put together row by row, so that what one writes is in cache when the next reads it.
 *
 * The blur B of a map: B v(y,x) = sum g(a) g(b) v(y+a, x+b) / sum g(a) g(b), over the part of the window inside the
 * map. That part is a rectangle, so both sums are products of a sum over a and one over b: B is a pass along y, then
 * one along x, the border's rescaling included, for a Gaussian and a box alike. 2 * window multiply-adds a value
 * instead of window^2. The transpose divides first: B' v(j) = sum g v(i) / norm(i); it differs from B at borders alone.
 *
 * Tensors of C channels read or written, and the least possible (a map of one channel is not counted):
 *   subtractive, both ways               2 of 2   what is summed is subtracted from while it is in L2
 *   divisive across maps                 3 of 2   c is known after the whole image; 2 where an image fits L2
 *   divisive by map                      5 of 2   sigma is as large as x: written, read; 1 more beyond L2 for its mean
 *   divisive across maps, backwards      5 of 3   dy and x are read again once c's gradient is known
 *   divisive by map, backwards           7 of 4   dy, x and sigma are
 *   brightness                           2 of 2
 *   brightness, backwards                3 of 3
 * An image cut into strips has the rows around each summed twice: at most half of what is read more.
 *
 * Maps are channels-last and dense; a row is in[1] * channels values in one run, so both passes go along the run: along
 * channels where each map is taken by itself, along pixels for the one summed map. No slot writes where it reads,
 * unless it says so. Vector versions fuse multiply-adds; a value's bits depend on its row's arguments alone, so any cut
 * gives the bits of the whole. A non-finite value reaches what its window reaches, and nothing else. */
#ifndef FV_KERNELS_CONTRAST_H
#define FV_KERNELS_CONTRAST_H

#include "kernels/base.h"

typedef struct fv_contrast_desc {
    int32_t channels, in[2];  /* y, x; one image */
    int32_t taps[2];          /* of the window along an axis, at most 2 * in - 1 */
    int32_t before[2];        /* taps before the pixel itself, less than in */
    const fv_real *weight[2]; /* [taps] */
    const fv_real *norm[2];   /* [in]: 1 / sum of the weights inside, of the forward window in both directions */
    bool transposed;          /* norm is of the pixel read, not of the one written */
    int32_t ring;             /* rows that x has: row r of the image stands in its row r % ring */
} fv_contrast_desc;

typedef enum fv_blur { FV_BLUR_PLAIN, FV_BLUR_SUBTRACT, FV_BLUR_ROOT, FV_BLUR_SIGMA, FV_BLUR_COUNT } fv_blur;
typedef enum fv_map_sum { FV_MAP_SUM, FV_MAP_SQUARES, FV_MAP_DOT, FV_MAP_SUM_COUNT } fv_map_sum;

/* Rows of one image; y points to row rows.begin. PLAIN y = B x; SUBTRACT y = x - B x; ROOT y = sqrt(B x); SIGMA y =
 * sqrt(B x^2). The sum over y is made first, each sum in the order of the taps. scratch: fv_blur_scratch bytes. */
typedef void (*fv_blur_fn)(const fv_contrast_desc *d, const fv_real *x, fv_real *y, fv_range rows, void *scratch);
/* y[p] = scale * sum over channels of x1, x1^2 or x1*x2 (x2 is read by DOT alone). */
typedef void (*fv_map_sum_fn)(const fv_real *x1, const fv_real *x2, fv_real *y, size_t channels, size_t pixels,
                              fv_real scale);
/* y = x - a[p]. y == x is allowed here and in `scale`. */
typedef void (*fv_map_shift_fn)(const fv_real *x, const fv_real *a, fv_real *y, size_t channels, size_t pixels);
/* y = x1 * a[p] + x2 * b[p]; x2 NULL: y = x1 * a[p]. */
typedef void (*fv_map_scale_fn)(const fv_real *x1, const fv_real *a, const fv_real *x2, const fv_real *b, fv_real *y,
                                size_t channels, size_t pixels);

/* sigma of the same rows of `channels` values as x1 and x2; c one value a channel, or c[0] for all (`single`: the
 * summed map, seen as in[0] pixels of in[1] channels). `largest` is max(c, sigma), NaN if either is. */
typedef struct fv_sigma {
    const fv_real *sigma, *c;
    bool single;
    size_t channels, pixels;
} fv_sigma;
/* y = x / largest, 0 where largest is 0; x NULL: 1. With x2: y = x1 / largest + x2 * e, 0 where largest is 0. */
typedef void (*fv_divide_fn)(const fv_sigma *s, const fv_real *x, fv_real *y);
typedef void (*fv_divide_add_fn)(const fv_sigma *s, const fv_real *x1, const fv_real *x2, const fv_real *e, fv_real *y);
/* c's share: y[channel] = sum over pixels of x1 * x2 where not sigma > c; x2 NULL: 1. A tie is c's: one pixel alone is
 * its own mean. In the pixels' order, but for maps of which a vector holds several pixels: there every lane has its own
 * sums, a function of the shape. */
typedef void (*fv_below_dot_fn)(const fv_sigma *s, const fv_real *x1, const fv_real *x2, fv_real *y);
/* sigma's share, divided by sigma as its root asks: y = scale * ((sigma > c ? -x1*x2/sigma^2 : 0) + k) / sigma, 0 where
 * sigma is 0; x2 NULL: 1; k as c. Vector versions multiply by 1 / sigma. */
typedef void (*fv_sigma_grad_fn)(const fv_sigma *s, const fv_real *x1, const fv_real *x2, const fv_real *k,
                                 fv_real scale, fv_real *y);

typedef struct fv_brightness {
    fv_real kappa, lambda, mu; /* kappa > 0, lambda >= 0 */
    int32_t channels;
    int32_t before, after; /* neighbouring maps counted, each less than channels */
} fv_brightness;
/* a[i] = (kappa + q[i])^-mu. 1/x for mu = 1; to 1.3 and 3.5 units of the last place for mu = 1/2 and 3/4; else to
 * 1.2 + 1.5 |mu log x| units where the result is normal. Within an ISA by one and the same steps wherever x stands. With s: b[i] = -2 lambda mu s[i] a[i] /
 * (kappa + q[i]). */
typedef void (*fv_power_fn)(const fv_brightness *d, const fv_real *q, fv_real *a, size_t n);
typedef void (*fv_power_grad_fn)(const fv_brightness *d, const fv_real *q, const fv_real *s, fv_real *a, fv_real *b,
                                 size_t n);
/* y = x * (kappa + lambda * sum of x^2 over channels c - before .. c + after)^-mu. scratch: fv_local_scratch bytes. */
typedef void (*fv_local_fn)(const fv_brightness *d, const fv_real *x, fv_real *y, fv_range pixels, void *scratch);
/* dx = dy * a + x * sum of b over channels c - after .. c + before, with a and b as power_grad's for s = dy * x. */
typedef void (*fv_local_grad_fn)(const fv_brightness *d, const fv_real *x, const fv_real *dy, fv_real *dx,
                                 fv_range pixels, void *scratch);

typedef struct fv_contrast_kernels {
    fv_blur_fn blur[FV_BLUR_COUNT];
    fv_map_sum_fn sum[FV_MAP_SUM_COUNT];
    fv_map_shift_fn shift;
    fv_map_scale_fn scale;
    fv_divide_fn divide;
    fv_divide_add_fn divide_add;
    fv_below_dot_fn below_dot;
    fv_sigma_grad_fn sigma_grad;
    fv_power_fn power;
    fv_power_grad_fn power_grad;
    fv_local_fn local;
    fv_local_grad_fn local_grad;
} fv_contrast_kernels;

/* The weights of a window along an axis, exp(-u^2/(2 sigma^2)) with u = 0 at (window - 1) / 2, not scaled; an infinite
 * sigma makes a box. No slot: the same on every ISA. */
void fv_contrast_weights(int32_t window, fv_real sigma, fv_real *weight);

enum { FV_CONTRAST_SPARE = 16 }; /* values behind a padded row that whole vectors may read */

/* Values of a row with its padding before and behind. */
static inline size_t fv_blur_padded(const fv_contrast_desc *d) {
    return ((size_t)d->in[1] + (size_t)d->taps[1] - 1) * (size_t)d->channels + FV_CONTRAST_SPARE;
}
/* Two padded rows, the norms along a row, and of each tap along y of two rows its weights and its row. */
static inline size_t fv_blur_scratch(const fv_contrast_desc *d) {
    const size_t row = (size_t)d->in[1] * (size_t)d->channels + FV_CONTRAST_SPARE, taps = (size_t)d->taps[0] + 1;
    const size_t values = 2 * fv_round_up(fv_blur_padded(d), 16) + fv_round_up(row, 16) + 2 * taps;
    return fv_round_up(values * sizeof(fv_real) + taps * sizeof(fv_real *), FV_ALIGNMENT);
}
enum {
    FV_LOCAL_BLOCK = 8
}; /* pixels whose sums are made before one is read: a load that straddles fresh stores waits for them */
/* Values of a pixel with padding on both sides. */
static inline size_t fv_local_row(const fv_brightness *d) {
    return (size_t)(d->channels + d->before + d->after + FV_CONTRAST_SPARE);
}
static inline size_t fv_local_scratch(const fv_brightness *d) {
    return 4 * FV_LOCAL_BLOCK * fv_local_row(d) * sizeof(fv_real);
}

#endif
