/* Pooling, forwards and backwards (SPEC section 5): max, average, Lp, weighted, and unpooling. Channels-last, any window.
 * Vectorized along channels; a call does a range of pixels and all channels. Outputs overlap no input. */
#ifndef FV_KERNELS_POOL_H
#define FV_KERNELS_POOL_H

#include "kernels/base.h"

typedef struct fv_pool_desc {
    int32_t images, channels;
    int32_t in[3], out[3];                            /* z, y, x */
    int32_t window[3], stride[3], dilation[3], pad[3]; /* pad: before; after follows from out */
    bool count_padding; /* average: divide by the whole window, clipped to in + pads (ONNX count_include_pad) */
    int32_t pad_after[3]; /* used by count_padding: a window position beyond in + pad_after is never counted (ceil mode) */
    ptrdiff_t in_pitch[4], out_pitch[4]; /* image, z, y, x, in elements */
    bool places; /* max: an index is the place in the map, (z*in[1] + y)*in[2] + x, not the one in the window */
} fv_pool_desc;

/* y = largest in the window; NaN wins; ties: the first in row-major order. index (may be NULL) gets the window
 * position (wz*window[1] + wy)*window[2] + wx, dense [out pixel][channels]. A window wholly in padding gives -INFINITY and index -1.
 * pixels: range of images*out. */
typedef void (*fv_pool_max_fn)(const fv_pool_desc *d, const fv_real *x, fv_real *y, int32_t *index, fv_range pixels);
/* dx = sum over the windows that contain the pixel and whose index names it, of dy. Gather form: every dx pixel of the
 * range is written exactly once, windows added in row-major order. pixels: range of images*in. */
typedef void (*fv_pool_max_grad_fn)(const fv_pool_desc *d, const int32_t *index, const fv_real *dy, fv_real *dx,
                                    fv_range pixels);
/* y = sum over the window's pixels inside the input, in row-major order, times 1/n; n: how many they are (or as
 * count_padding says). pixels: range of images*out. */
typedef void (*fv_pool_average_fn)(const fv_pool_desc *d, const fv_real *x, fv_real *y, fv_range pixels);
/* dx = sum over the windows containing the pixel of dy * 1/n. pixels: range of images*in. */
typedef void (*fv_pool_average_grad_fn)(const fv_pool_desc *d, const fv_real *dy, fv_real *dx, fv_range pixels);

/* y = (sum of |x|^p over the window's pixels inside the input)^(1/p), p >= 1. p = 1 and p = 2 as they stand, by sums of |x| and of
 * squares. p = 3: cbrt(sum (|x| k)^3) / k, k the power of two that brings the largest |x| into [1, 2). Any other p:
 * m (sum (|x|/m)^p)^(1/p) with m the largest |x| and r^p = exp(p log r). Neither overflows before y does; y = m where m is 0, infinite
 * or NaN. pixels: range of images*out. */
typedef void (*fv_pool_lp_fn)(const fv_pool_desc *d, fv_real p, const fv_real *x, fv_real *y, fv_range pixels);
/* dx = sum over the windows containing the pixel of dy sgn(x) (|x|/y)^(p-1), by products where p is 1, 2 or 3, 0 where y = 0; sgn is 0
 * at 0 and, for p = 1, at NaN. x and dx lie alike, y and dy too. pixels: range of images*in. */
typedef void (*fv_pool_lp_grad_fn)(const fv_pool_desc *d, fv_real p, const fv_real *x, const fv_real *y, const fv_real *dy, fv_real *dx,
                                   fv_range pixels);
/* y = sum over the window's pixels inside the input of weight[window position] * x; padding counts as 0. weight: one a position, z, y, x.
 * pixels: range of images*out. */
typedef void (*fv_pool_weighted_fn)(const fv_pool_desc *d, const fv_real *weight, const fv_real *x, fv_real *y, fv_range pixels);
/* dx = sum over the windows containing the pixel of weight[its position there] * dy. pixels: range of images*in. */
typedef void (*fv_pool_weighted_grad_fn)(const fv_pool_desc *d, const fv_real *weight, const fv_real *dy, fv_real *dx, fv_range pixels);

/* Maps of `pooled` pixels whose values go back to places of maps of `pixels`, both dense channels-last, one image. */
typedef struct fv_unpool_desc {
    size_t pooled, pixels, channels;
    size_t pooled_width, width; /* of the maps' rows; 0: not known. For speed alone, y does not depend on them */
} fv_unpool_desc;
enum { FV_UNPOOL_CHANNELS = 16 }; /* at most so many a call */

/* y = 0 but y[place[i]] = x[i], map by map; of values with one place the last stays; a place outside the map keeps nothing. All pixels of
 * channels.begin to channels.end (at most FV_UNPOOL_CHANNELS). */
typedef void (*fv_unpool_fn)(const fv_unpool_desc *d, const fv_real *x, const int32_t *place, fv_real *y, fv_range channels);
/* dx[i] = dy[place[i]] for the value that stayed there, else 0. scratch: two bytes a pixel of y. */
typedef void (*fv_unpool_grad_fn)(const fv_unpool_desc *d, const int32_t *place, const fv_real *dy, fv_real *dx, fv_range channels,
                                  void *scratch);

typedef struct fv_pool_kernels {
    fv_pool_max_fn max;
    fv_pool_max_grad_fn max_grad;
    fv_pool_average_fn average;
    fv_pool_average_grad_fn average_grad;
    fv_pool_lp_fn lp;
    fv_pool_lp_grad_fn lp_grad;
    fv_pool_weighted_fn weighted;
    fv_pool_weighted_grad_fn weighted_grad;
    fv_unpool_fn unpool;
    fv_unpool_grad_fn unpool_grad;
} fv_pool_kernels;

#endif
