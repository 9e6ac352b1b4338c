/* Planning shared by convolution and fully connected layers: products with packed weights, weight gradients, and how
 * they are cut. Cuts are functions of shape and ISA alone. */
#ifndef FV_OPS_CONV_PLAN_H
#define FV_OPS_CONV_PLAN_H

#include "ops/conv_geometry.h"

/* Geometry of a conv or linear node whose x, weight and y have these shapes. */
fv_conv_geometry fv_conv_geometry_of(const fv_conv_attr *a, const fv_shape *x, const fv_shape *weight,
                                     const fv_shape *y);

/* y = act(conv(x, w) + bias + residual); bias, residual may be FV_NONE. */
fv_status fv_conv_plan_forward_op(fv_plan_op *p, const fv_conv_geometry *g, fv_value x, fv_value weight, fv_value bias,
                                  fv_value residual, fv_value y);
/* What a transposed convolution does to its sums. */
typedef struct fv_conv_end {
    fv_value bias; /* one value a channel of dx, or FV_NONE */
    fv_real act_low, act_high;
} fv_conv_end;

/* end: NULL for a gradient. */
fv_status fv_conv_plan_input_grad(fv_plan_op *p, const fv_conv_geometry *g, fv_value dy, fv_value weight,
                                  const fv_conv_end *end, fv_value dx);

/* The convolution's output went through max pooling: dy is the pooled map's, `at` its places (kernels/conv_pooled.h).
 */
typedef struct fv_conv_pooled {
    fv_value at;
    int32_t pooled[2], window[2];
} fv_conv_pooled;

/* db may be FV_NONE. dw has the weight's layout. pooled: NULL where dy is the output's own gradient. */
fv_status fv_conv_plan_weight_grad(fv_plan_op *p, const fv_conv_geometry *g, fv_value dy, fv_value x, fv_value dw,
                                   fv_value db, const fv_conv_pooled *pooled);
void fv_conv_pooled_describe(const fv_conv_geometry *g, const fv_conv_pooled *pooled, fv_conv_pooled_desc *d);

/* Of a locally connected layer: the outputs that read an input pixel, as taps of a product over dy whose weights are
 * numbered (output position * kernel taps + tap). Returns how many, at most a kernel's taps. */
int32_t fv_local_readers(const fv_conv_geometry *g, size_t pixel, fv_conv_taps taps);

/* Of a backward pass: dy taken back through the fused clamp. */
fv_value fv_conv_undo_clamp(fv_backward *b);

/* Strides of a weight (O, I, taps) as w[g][t][c][k]. */
fv_conv_weights fv_conv_weight_strides(const fv_conv_geometry *g, const fv_value_info *w);

double fv_conv_flops(const fv_conv_geometry *g);

#endif
