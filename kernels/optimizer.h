/* Parameter updates (SPEC section 10), element-wise, in place on w and its state. Element i depends on element i alone,
 * and every ISA gives the same bits (NaN's payload aside). */
#ifndef FV_KERNELS_OPTIMIZER_H
#define FV_KERNELS_OPTIMIZER_H

#include "kernels/base.h"

typedef struct fv_update {
    fv_real lr;
    fv_real weight_decay; /* sgd, momentum, nesterov, adam: g += wd*w. adamw: w -= lr*wd*w first */
    fv_real momentum;     /* or beta1 */
    fv_real beta2, epsilon;
    fv_real grad_scale;               /* g is multiplied by it first (clipping, mean) */
    fv_real correction1, correction2; /* adam: 1/(1 - beta1^t), 1/(1 - beta2^t), t from 1 */
} fv_update;

/* m, v: state of n values each, zeros before the first step; unused ones may be NULL.
 *   sgd:       w -= lr*g
 *   momentum:  m = momentum*m + g;  w -= lr*m
 *   nesterov:  m = momentum*m + g;  w -= lr*(g + momentum*m)
 *   adam(w):   m = b1*m + (1-b1)*g; v = b2*v + (1-b2)*g^2;  w -= lr * (m*c1) / (sqrt(v*c2) + epsilon)       */
typedef void (*fv_update_fn)(const fv_update *u, const fv_real *g, fv_real *w, fv_real *m, fv_real *v, size_t n);

typedef struct fv_optimizer_kernels {
    fv_update_fn sgd, momentum, nesterov, adam, adamw;
} fv_optimizer_kernels;

#endif
