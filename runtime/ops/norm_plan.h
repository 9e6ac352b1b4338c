/* Batch, instance, layer and group normalization are one computation: every image's channels in groups, the moments of each group
 * over its channels and pixels. Batch normalization is one image of all the pixels, with as many groups as channels. */
#ifndef FV_OPS_NORM_PLAN_H
#define FV_OPS_NORM_PLAN_H

#include "ops/op.h"

typedef struct fv_norm_shape {
    size_t images, pixels /* of an image */, channels, groups;
} fv_norm_shape;

/* in: x, scale (C), bias (C), [running mean, running variance (C): written in training]; out: y, [mean, inverse deviation (images * groups)].
 */
fv_status fv_norm_plan(fv_plan_op *p, const fv_norm_shape *shape);
/* in: dy, x, scale, bias, mean, inverse; out: dx, dscale, dbias. */
fv_status fv_norm_grad_plan(fv_plan_op *p, const fv_norm_shape *shape);
/* y = x * gain[c] + shift[c], clamped; coefficients: gain (C), then shift (C). */
fv_status fv_norm_apply_plan(fv_plan_op *p, size_t rows, size_t channels, const fv_buffer *coefficients);

/* Sizes of scale and bias, epsilon. */
fv_status fv_norm_check(const fv_node *n, const fv_value_info *values);
/* Shapes of dx, dscale, dbias. */
fv_status fv_norm_grad_infer(fv_node *n, fv_value_info *values);
/* Emits the gradient node `op`: what backward does. */
fv_status fv_norm_backward(fv_backward *b, const fv_op *op);

#endif
