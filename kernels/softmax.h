/* Softmax and losses (SPEC section 8) over rows of `classes` contiguous values. Ranges are rows. */
#ifndef FV_KERNELS_SOFTMAX_H
#define FV_KERNELS_SOFTMAX_H

#include "kernels/base.h"

/* y[r][c] = exp(x[r][c] - max_r) / sum. Rows are dense. y == x is allowed. */
typedef void (*fv_softmax_fn)(const fv_real *x, fv_real *y, size_t classes, fv_range rows);
/* dx = y * (dy - sum_c dy*y). dx == dy is allowed. */
typedef void (*fv_softmax_grad_fn)(const fv_real *y, const fv_real *dy, fv_real *dx, size_t classes, fv_range rows);
/* Softmax with cross-entropy, stable for logits of any size. Target of row r: (1-smoothing)*onehot(label[r]) +
 * smoothing/classes. loss[r] = -sum_c target*log_softmax (unscaled). dx (may be NULL) = (softmax - target) * scale.
 * label in 0..classes-1 (checked by the caller). dx == x is allowed. */
typedef void (*fv_softmax_cross_entropy_fn)(const fv_real *x, const int32_t *label, fv_real *loss, fv_real *dx,
                                            size_t classes, fv_real smoothing, fv_real scale, fv_range rows);
/* Sum of squares: loss[r] = 1/2 sum_c (x-t)^2, dx (may be NULL) = (x-t)*scale. */
typedef void (*fv_squared_error_fn)(const fv_real *x, const fv_real *target, fv_real *loss, fv_real *dx, size_t classes,
                                    fv_real scale, fv_range rows);

typedef struct fv_softmax_kernels {
    fv_softmax_fn softmax;
    fv_softmax_grad_fn softmax_grad;
    fv_softmax_cross_entropy_fn cross_entropy;
    fv_squared_error_fn squared_error;
} fv_softmax_kernels;

#endif
