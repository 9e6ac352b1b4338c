/* The indirect matrix product: convolution forward, its data gradient, its weight gradient.
 *
 * One descriptor serves all of them. The kernel sees a lattice of output pixels and a list of taps;
 * it never sees kernel sizes, padding or dilation:
 *
 *   forward:  y[n,o,g*K+k] = act( bias[g*K+k] + residual[n,o,g*K+k]
 *                            + sum_{t<taps} sum_{c<C} x[n, o*step + tap[t], g*C+c] * w[g][t][c][k] )
 *
 * o = (z,y,x) runs over out[3]; a pixel o*step+tap[t] outside 0..in[3]-1 is padding: a zero that is
 * multiplied (so 0 x inf is NaN; kernels may skip padding pixels only where SPEC's note on
 * non-finite values still holds for the finite case: a check compares non-finite values only on
 * shapes without padding). C = in_channels and K = out_channels of ONE group.
 *
 * Data gradient: the same product with x = dY, y = dX, weights packed with source strides of C and K
 * exchanged, one call per sub-pixel phase (z,y,x modulo the stride); runtime/ops/conv_geometry.c builds the
 * descriptors. A phase no output touched has taps == 0 and writes zeros (plus bias/act as given).
 * Fully connected: taps = 1 over one row of N pixels. Layout: channels-last, element alignment only.
 *
 * Every output is one chain of additions in the order k = 0..taps*C-1 (k = t*C + c), whatever the tile, the
 * range or the position: an ISA's bits do not depend on how the work is cut, the sign and payload of a NaN aside.
 */
#ifndef FV_KERNELS_CONV_H
#define FV_KERNELS_CONV_H

#include "kernels/base.h"

typedef struct fv_conv_desc {
    int32_t images;
    int32_t out[3], in[3]; /* z, y, x sizes; 2-D has z = 1 */
    int32_t step[3];       /* input pixels per output pixel */
    int32_t taps;
    const int32_t (*tap)[3];   /* [taps] input offset of a tap: z, y, x; x fastest. Outlives the desc */
    const int32_t *weight_tap; /* [taps] index of a tap in the source weights; NULL: t itself */
    int32_t in_channels, out_channels, groups;
    /* Pitches in elements: image, z, y, x. Channels are contiguous; pitch[3] >= groups * channels. */
    ptrdiff_t in_pitch[4], out_pitch[4], residual_pitch[4];
    fv_real act_low, act_high; /* clamp after bias and residual; -INFINITY, INFINITY: none. NaN passes */
} fv_conv_desc;

/* Where the weights lie before packing: w[g][t][c][k] = data[g*group + weight_tap[t]*tap + c*in + k*out]. */
typedef struct fv_conv_weights {
    const fv_real *data;
    ptrdiff_t group, tap, in, out;
} fv_conv_weights;

static inline size_t fv_conv_out_pixels(const fv_conv_desc *d) {
    return (size_t)d->images * (size_t)d->out[0] * (size_t)d->out[1] * (size_t)d->out[2];
}

/* Elements of the packed weights of all groups (to be allocated FV_ALIGNMENT-aligned). Opaque format. */
typedef size_t (*fv_conv_packed_size_fn)(const fv_conv_desc *d);
/* Packs panels [panels.begin, panels.end) of groups * ceil(K / nr): panel p is group p / ceil(K/nr). */
typedef void (*fv_conv_pack_fn)(const fv_conv_desc *d, const fv_conv_weights *w, fv_real *packed, fv_range panels);
/* Bytes of per-thread scratch `forward` needs, 0 if none. FV_ALIGNMENT-aligned. Contents never matter. */
typedef size_t (*fv_conv_scratch_fn)(const fv_conv_desc *d);
/* Output pixels [pixels.begin, pixels.end) of images*z*y*x in row-major order, x panels of weights.
 * bias [groups*K] or NULL; residual (pitches residual_pitch) or NULL, may equal y; y overlaps nothing else.
 * Reads and writes no byte outside the tensors' pixels. */
typedef void (*fv_conv_forward_fn)(const fv_conv_desc *d, const fv_real *x, const fv_real *packed, const fv_real *bias,
                                   const fv_real *residual, fv_real *y, fv_range pixels, fv_range panels, void *scratch);
/* Weight gradient over the output pixels of the range:
 *   dw[(t*C + c)*dw_pitch + g*K + k] = sum_{pixels} x[n, o*step + tap[t], g*C+c] * dy[n,o,g*K+k]
 * (overwrites; the order of addition is the pixels' order). dw is [taps][C][groups*K] with row pitch dw_pitch >= groups*K.
 * rows: range of (t*C + c) computed by this call, any bounds; every group. dy has the pitches out_pitch.
 * Padding contributes nothing. scratch: weight_grad_scratch bytes. */
typedef void (*fv_conv_weight_grad_fn)(const fv_conv_desc *d, const fv_real *x, const fv_real *dy, fv_real *dw,
                                       ptrdiff_t dw_pitch, fv_range pixels, fv_range rows, void *scratch);

typedef struct fv_conv_kernels {
    int32_t mr, nr;      /* register tile: pixels x output channels. Cut pixels at multiples of mr, panels are nr wide */
    int32_t grad_rows;   /* cut weight gradient rows at multiples of this */
    fv_conv_packed_size_fn packed_size;
    fv_conv_pack_fn pack;
    fv_conv_scratch_fn forward_scratch, weight_grad_scratch;
    fv_conv_forward_fn forward;
    fv_conv_weight_grad_fn weight_grad;
} fv_conv_kernels;

#endif
