/* Planning depthwise convolution (kernels/depthwise.h) and its gradients, for the convolutions that are one: conv_plan.c asks. */
#ifndef FV_OPS_DEPTHWISE_PLAN_H
#define FV_OPS_DEPTHWISE_PLAN_H

#include "ops/conv_plan.h"

/* Groups of one channel in and one out, more than one, of 2-D maps. A function of the shape alone. */
bool fv_depthwise_fits(const fv_conv_geometry *g);
/* Without a clamp. */
void fv_depthwise_describe(const fv_conv_geometry *g, fv_depthwise_desc *d);

/* As fv_conv_plan_forward_op, fv_conv_plan_input_grad, fv_conv_plan_weight_grad. */
fv_status fv_depthwise_plan_forward(fv_plan_op *p, const fv_conv_geometry *g, fv_value x, fv_value weight, fv_value bias,
                                    fv_value residual, fv_value y);
fv_status fv_depthwise_plan_input_grad(fv_plan_op *p, const fv_conv_geometry *g, fv_value dy, fv_value weight,
                                       const fv_conv_end *end, fv_value dx);
fv_status fv_depthwise_plan_weight_grad(fv_plan_op *p, const fv_conv_geometry *g, fv_value dy, fv_value x, fv_value dw,
                                        fv_value db);

#endif
