/* Max and average pooling, forwards and backwards (SPEC section 5). Channels-last, any window.
 * Vectorized along channels; a call does a range of pixels and all channels. */
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
} fv_pool_desc;

/* y = largest in the window; NaN wins; ties: the first in row-major order. index (may be NULL) gets the window
 * position (wz*window[1] + wy)*window[2] + wx, dense [out pixel][channels]. A window wholly in padding gives -INFINITY and index -1.
 * pixels: range of images*out. */
typedef void (*fv_pool_max_fn)(const fv_pool_desc *d, const fv_real *x, fv_real *y, int32_t *index, fv_range pixels);
/* dx = sum over the windows that contain the pixel and whose index names it, of dy. Gather form: every dx pixel of the
 * range is written exactly once, windows added in row-major order. pixels: range of images*in. */
typedef void (*fv_pool_max_grad_fn)(const fv_pool_desc *d, const int32_t *index, const fv_real *dy, fv_real *dx,
                                    fv_range pixels);
/* y = mean over the window's pixels inside the input (or as count_padding says). pixels: range of images*out. */
typedef void (*fv_pool_average_fn)(const fv_pool_desc *d, const fv_real *x, fv_real *y, fv_range pixels);
/* dx = sum over the windows containing the pixel of dy / n. pixels: range of images*in. */
typedef void (*fv_pool_average_grad_fn)(const fv_pool_desc *d, const fv_real *dy, fv_real *dx, fv_range pixels);

typedef struct fv_pool_kernels {
    fv_pool_max_fn max;
    fv_pool_max_grad_fn max_grad;
    fv_pool_average_fn average;
    fv_pool_average_grad_fn average_grad;
} fv_pool_kernels;

#endif
