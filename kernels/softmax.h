/* Softmax and losses (SPEC section 8) over rows of `classes` contiguous values. Ranges are rows. */
#ifndef FV_KERNELS_SOFTMAX_H
#define FV_KERNELS_SOFTMAX_H

#include "kernels/base.h"

/* y[r][c] = exp(x[r][c] - max_r) / sum. Rows are dense. y == x is allowed. */
typedef void (*fv_softmax_fn)(const fv_real *x, fv_real *y, size_t classes, fv_range rows);
/* dx = y * (dy - sum_c dy*y). dx == dy is allowed. */
typedef void (*fv_softmax_grad_fn)(const fv_real *y, const fv_real *dy, fv_real *dx, size_t classes, fv_range rows);
/* y[r][c] = (x[r][c] - max_r) - log(sum of exp(x - max_r)). y == x is allowed. */
typedef void (*fv_log_softmax_fn)(const fv_real *x, fv_real *y, size_t classes, fv_range rows);
/* Of y, the log-softmax: dx = dy - exp(y) * sum_c dy. dx == dy is allowed. */
typedef void (*fv_log_softmax_grad_fn)(const fv_real *y, const fv_real *dy, fv_real *dx, size_t classes, fv_range rows);
/* Softmax with cross-entropy, stable for logits of any size. Target of row r: (1-smoothing)*onehot(label[r]) +
 * smoothing/classes. loss[r] = -sum_c target*log_softmax (unscaled). dx (may be NULL) = (softmax - target) * scale.
 * label in 0..classes-1 (checked by the caller). dx == x is allowed. */
typedef void (*fv_softmax_cross_entropy_fn)(const fv_real *x, const int32_t *label, fv_real *loss, fv_real *dx,
                                            size_t classes, fv_real smoothing, fv_real scale, fv_range rows);
/* The same for soft targets, rows of `classes` values >= 0: t = (1-smoothing)*target + smoothing/classes.
 * loss[r] = -sum_c t*log_softmax, dx (may be NULL) = (softmax * sum_c t - t) * scale. dx == x is allowed. */
typedef void (*fv_soft_cross_entropy_fn)(const fv_real *x, const fv_real *target, fv_real *loss, fv_real *dx, size_t classes,
                                         fv_real smoothing, fv_real scale, fv_range rows);
/* Cross-entropy of values y > 0 that are probabilities already, of labels (target NULL) or of soft targets (label NULL), t as
 * above. loss[r] = -sum_c t*ln(y), dx (may be NULL) = -(t/y) * scale; a y below FV_LEAST_PROBABILITY counts as that, NaN passes.
 * dx == y is allowed. */
typedef void (*fv_entropy_fn)(const fv_real *y, const int32_t *label, const fv_real *target, fv_real *loss, fv_real *dx,
                              size_t classes, fv_real smoothing, fv_real scale, fv_range rows);
#define FV_LEAST_PROBABILITY ((fv_real)1.17549435e-38)
/* Sum of squares: loss[r] = 1/2 sum_c (x-t)^2, dx (may be NULL) = (x-t)*scale. */
typedef void (*fv_squared_error_fn)(const fv_real *x, const fv_real *target, fv_real *loss, fv_real *dx, size_t classes,
                                    fv_real scale, fv_range rows);

typedef struct fv_softmax_kernels {
    fv_softmax_fn softmax;
    fv_softmax_grad_fn softmax_grad;
    fv_softmax_cross_entropy_fn cross_entropy;
    fv_squared_error_fn squared_error;
    fv_log_softmax_fn log_softmax;
    fv_log_softmax_grad_fn log_softmax_grad;
    fv_soft_cross_entropy_fn soft_cross_entropy;
    fv_entropy_fn entropy;
} fv_softmax_kernels;

#endif
