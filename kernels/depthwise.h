/* Depthwise convolution of maps (groups = channels, one output map an input map), its data gradient, its weight and bias
 * gradient:
 *
 *   y[n,oy,ox,c] = act( bias[c] + sum_{u,v} x[n, oy*s0 + u*d0 - p0, ox*s1 + v*d1 - p1, c] * w[u,v,c] + residual[n,oy,ox,c] )
 *
 * u, v are kernel positions; w[u,v] is weight number u*kernel[1] + v, in a true convolution number taps - 1 - (u*kernel[1] + v).
 * Maps are channels-last and dense: x and dx (images, in y, in x, channels), y and dy (images, out y, out x, channels).
 *
 * A sum is one chain from the bias, or +0, over the positions that lie inside, in the order of the pixels read, row by row;
 * positions in padding are left out, so that 0 x inf does not arise there. An ISA's bits do not depend on how rows and channels
 * are cut. Non-finite values stay in the sums that read them.
 *
 * channels: a range that begins at a multiple of `block` and ends at one or at the last channel; calls whose ranges of rows or of
 * channels are disjoint write disjoint memory. Nothing but residual = y may overlap. Element alignment suffices. */
#ifndef FV_KERNELS_DEPTHWISE_H
#define FV_KERNELS_DEPTHWISE_H

#include "kernels/conv.h"

typedef struct fv_depthwise_desc { /* axes are y, x */
    int32_t images, channels;
    int32_t in[2], out[2], kernel[2], stride[2], dilation[2], pad[2];
    bool true_convolution;
    fv_real act_low, act_high; /* clamp after bias and residual; -INFINITY, INFINITY: none. NaN passes */
} fv_depthwise_desc;

/* Elements of the packed weights (FV_ALIGNMENT-aligned). Opaque format, the same for y and for dx. */
typedef size_t (*fv_depthwise_size_fn)(const fv_depthwise_desc *d);
/* w's strides as in conv.h: channel c's weight number t is data[c*group + t*tap]. */
typedef void (*fv_depthwise_pack_fn)(const fv_depthwise_desc *d, const fv_conv_weights *w, fv_real *packed, fv_range channels);
/* y for rows [begin, end) of images*out y. bias (channels), residual (as y): or NULL. */
typedef void (*fv_depthwise_forward_fn)(const fv_depthwise_desc *d, const fv_real *x, const fv_real *packed, const fv_real *bias,
                                        const fv_real *residual, fv_real *y, fv_range rows, fv_range channels);
/* dx for rows of images*in y: act( bias[c] + the sum over every y[n,oy,ox] that reads the pixel of dy * w ). Pixels that no
 * output reads get act(bias). bias or NULL: a transposed convolution has one. */
typedef void (*fv_depthwise_data_grad_fn)(const fv_depthwise_desc *d, const fv_real *dy, const fv_real *packed,
                                          const fv_real *bias, fv_real *dx, fv_range rows, fv_range channels);
/* Over the rows of images*out y in the range: dw[t*dw_pitch + c] (t counts weights), and unless db is NULL db[c] = the sum of dy.
 * Overwrites; added in the order of the output pixels, one chain a value. Padding contributes nothing. */
typedef void (*fv_depthwise_weight_grad_fn)(const fv_depthwise_desc *d, const fv_real *x, const fv_real *dy, fv_real *dw,
                                            ptrdiff_t dw_pitch, fv_real *db, fv_range rows, fv_range channels);

typedef struct fv_depthwise_kernels {
    int32_t block;
    fv_depthwise_size_fn packed_size;
    fv_depthwise_pack_fn pack;
    fv_depthwise_forward_fn forward;
    fv_depthwise_data_grad_fn data_grad;
    fv_depthwise_weight_grad_fn weight_grad;
} fv_depthwise_kernels;

static inline int32_t fv_depthwise_taps(const fv_depthwise_desc *d) { return d->kernel[0] * d->kernel[1]; }

#endif
