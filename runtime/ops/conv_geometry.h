/* From a convolution's attributes and shapes to the descriptors of kernels/conv.h: forward, data gradient by sub-pixel phases,
 * weight gradient. The kernels see lattices and taps, never padding or dilation. */
#ifndef FV_OPS_CONV_GEOMETRY_H
#define FV_OPS_CONV_GEOMETRY_H

#include "ops/op.h"

/* A convolution of maps; fully connected layers over maps are one whose kernel is the whole map. */
typedef struct fv_conv_geometry {
    int32_t images, in[3], out[3], kernel[3], stride[3], dilation[3], pad[3];
    int32_t in_channels, out_channels; /* of one group */
    int32_t groups;
    bool true_convolution;
    fv_real act_low, act_high;
} fv_conv_geometry;

/* A descriptor with the memory of its taps. */
typedef struct fv_conv_taps {
    int32_t (*tap)[3];
    int32_t *weight_tap;
} fv_conv_taps;

static inline int32_t fv_conv_kernel_taps(const fv_conv_geometry *g) { return g->kernel[0] * g->kernel[1] * g->kernel[2]; }
static inline int32_t fv_conv_phases(const fv_conv_geometry *g) { return g->stride[0] * g->stride[1] * g->stride[2]; }

/* taps: room for fv_conv_kernel_taps entries of each array. */
void fv_conv_forward_desc(const fv_conv_geometry *g, fv_conv_taps taps, fv_conv_desc *d);
/* Row t*C + c of the weight gradient is tap t of the weight itself. */
void fv_conv_weight_grad_desc(const fv_conv_geometry *g, fv_conv_taps taps, fv_conv_desc *d);
/* Phase p of the data gradient: the input pixels whose coordinates are, per axis, stride*i + phase; x of the product is dY, y is dX from
 * *offset on. false: no input pixel lies in that phase. */
bool fv_conv_input_grad_desc(const fv_conv_geometry *g, int32_t phase, fv_conv_taps taps, fv_conv_desc *d, ptrdiff_t *offset);

#endif
