#include "ops/op.h"

#include <string.h>

const fv_op *const fv_op_registry[] = {
    &fv_op_conv,             &fv_op_linear,           &fv_op_pool,
    &fv_op_unary,            &fv_op_binary,           &fv_op_gain,
    &fv_op_flatten,          &fv_op_layout,           &fv_op_dropout,
    &fv_op_softmax,          &fv_op_cross_entropy,    &fv_op_squared_error,
    &fv_op_conv_grad_input,  &fv_op_conv_grad_weight, &fv_op_linear_grad_input,
    &fv_op_linear_grad_weight, &fv_op_pool_grad,      &fv_op_unary_grad,
    &fv_op_gain_grad,        &fv_op_flatten_grad,     &fv_op_softmax_grad,
    &fv_op_grad_norm,        &fv_op_update,           &fv_op_conv_pooled_grad_input,
    &fv_op_conv_pooled_grad_weight,
    &fv_op_subtractive_norm, &fv_op_divisive_norm,    &fv_op_brightness_norm,
    &fv_op_subtractive_norm_grad, &fv_op_divisive_norm_grad, &fv_op_brightness_norm_grad,
    &fv_op_conv_pooled_grad_weight, &fv_op_untied_bias, &fv_op_untied_bias_grad,
    &fv_op_conv_pooled_grad_weight, &fv_op_prelu,            &fv_op_prelu_grad,
    &fv_op_log_softmax,      &fv_op_log_softmax_grad,
    &fv_op_local, &fv_op_local_grad_input, &fv_op_local_grad_weight,
    NULL,
    &fv_op_conv_pooled_grad_weight,
    &fv_op_batch_norm,       &fv_op_batch_norm_grad,  &fv_op_group_norm,
    &fv_op_group_norm_grad,  NULL,
    &fv_op_conv_pooled_grad_weight,
    &fv_op_conv_transpose, &fv_op_conv_transpose_grad_input, &fv_op_conv_transpose_grad_weight,
    NULL,
    &fv_op_conv_pooled_grad_weight, &fv_op_unpool,            &fv_op_unpool_grad,
    &fv_op_indices,          &fv_op_positions,        &fv_op_concat,
    &fv_op_split,            &fv_op_slice,            &fv_op_slice_grad,
    &fv_op_scale_maps,       &fv_op_scale_maps_grad,  &fv_op_scale_pixels,
    &fv_op_scale_pixels_grad, NULL,
    &fv_op_conv_pooled_grad_weight, &fv_op_untied_bias, &fv_op_untied_bias_grad,
    NULL,
};

const fv_op *fv_op_find(const char *name) {
    for (size_t i = 0; fv_op_registry[i]; i++)
        if (strcmp(fv_op_registry[i]->name, name) == 0) return fv_op_registry[i];
    return NULL;
}
