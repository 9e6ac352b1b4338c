/* Gradients of a convolution whose output goes, clamped or not, into max pooling with windows that neither overlap nor reach
 * into padding (SPEC sections 1 and 5). One value of a window alone has a gradient, so the convolution's own dY is never made:
 *
 *   dY[n, oy*wy + a/wx, ox*wx + a%wx, k] = g[n,oy,ox,k] for a = at[n,oy,ox,k], 0 elsewhere
 *
 * feeds the sums as it is, with 1/(wy*wx) of the products of conv.h.
 *
 * Maps are channels-last and dense: x and dx (images, in y, in x, channels), g and at (images, pooled y, pooled x, maps);
 * 0 <= at < wy*wx, what pool.max wrote. One group. Axes are y, x. A non-finite g may spread to the channels beside its own sums. */
#ifndef FV_KERNELS_CONV_POOLED_H
#define FV_KERNELS_CONV_POOLED_H

#include "kernels/conv.h"

typedef struct fv_conv_pooled_desc {
    int32_t images, channels, maps;
    int32_t in[2], kernel[2], stride[2], dilation[2], pad[2];
    int32_t pooled[2], window[2]; /* the window is its own stride */
    bool true_convolution;        /* the weight of kernel position t is number taps - 1 - t */
} fv_conv_pooled_desc;

enum { FV_CONV_POOLED_WINDOW = 16 }; /* most values of a window */

/* Is this way open for the shape, and shorter than conv.h's? A function of the shape alone. */
typedef bool (*fv_conv_pooled_suits_fn)(const fv_conv_pooled_desc *d);
typedef size_t (*fv_conv_pooled_size_fn)(const fv_conv_pooled_desc *d);
/* Weight gradient over the images of a range, columns of the maps of a range:
 *   dw[(t*C + c)*dw_pitch + k] = sum_{n,oy,ox} x[n, pixel of (oy,ox,at) at tap t, c] * g[n,oy,ox,k]
 * t counts the weight's own positions (rows of conv.h's weight gradient). Overwrites; added in the order of n, oy, ox, one
 * chain a value. scratch: weight_grad_scratch bytes. */
typedef void (*fv_conv_pooled_weight_grad_fn)(const fv_conv_pooled_desc *d, const fv_real *x, const fv_real *g,
                                              const int32_t *at, fv_real *dw, ptrdiff_t dw_pitch, fv_range images,
                                              fv_range maps, void *scratch);
/* Packs the weights of maps [begin, end); w's strides as in conv.h, group unused. packed_size is in elements. */
typedef void (*fv_conv_pooled_pack_fn)(const fv_conv_pooled_desc *d, const fv_conv_weights *w, fv_real *packed,
                                       fv_range maps);
/* dx of the images of a range: sum over the windows, positions and maps that the pixel reached. The order of addition is a
 * function of the shape alone. scratch: input_grad_scratch bytes. */
typedef void (*fv_conv_pooled_input_grad_fn)(const fv_conv_pooled_desc *d, const fv_real *packed, const fv_real *g,
                                             const int32_t *at, fv_real *dx, fv_range images, void *scratch);

typedef struct fv_conv_pooled_kernels {
    fv_conv_pooled_suits_fn suits;
    fv_conv_pooled_size_fn packed_size, weight_grad_scratch, input_grad_scratch;
    fv_conv_pooled_pack_fn pack;
    fv_conv_pooled_weight_grad_fn weight_grad;
    fv_conv_pooled_input_grad_fn input_grad;
} fv_conv_pooled_kernels;

/* Kernel positions. */
static inline int32_t fv_conv_pooled_taps(const fv_conv_pooled_desc *d) { return d->kernel[0] * d->kernel[1]; }

#endif
