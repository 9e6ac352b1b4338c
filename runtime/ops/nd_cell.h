/* What a recurrent layer and its gradient share: gates, activations and their slopes, in double. */
#ifndef FV_OPS_ND_CELL_H
#define FV_OPS_ND_CELL_H

#include "kernels/math64.h"
#include "ops/nd_recurrent.h"

static inline size_t fv_nd_cell_gates(int32_t kind) { return kind == FV_ND_RNN ? 1 : kind == FV_ND_GRU ? 3 : 4; }

static inline double fv_nd_activate(int32_t kind, double x) {
    switch (kind) {
    case FV_ND_ACT_SIGMOID:
        return fv_sigmoid64(x);
    case FV_ND_ACT_TANH:
        return fv_tanh64(x);
    case FV_ND_ACT_RELU:
        return x < 0 ? 0 : x;
    case FV_ND_ACT_LEAKY_RELU:
        return x < 0 ? 0.01f * x : x;
    case FV_ND_ACT_THRESHOLDED:
        return x > 1 ? x : 0;
    case FV_ND_ACT_HARD_SIGMOID:
        return x < -2.5 ? 0 : x > 2.5 ? 1 : 0.2f * x + 0.5;
    case FV_ND_ACT_ELU:
        return x < 0 ? fv_expm1_64(x) : x;
    case FV_ND_ACT_SOFTSIGN:
        return x / (1 + fabs(x));
    default: /* softplus */
        return (x > 0 ? x : 0) + fv_log1p64(fv_exp64(-fabs(x)));
    }
}

static inline double fv_nd_activation_slope(int32_t kind, double x) {
    switch (kind) {
    case FV_ND_ACT_SIGMOID:
        return fv_sigmoid64(x) * fv_sigmoid64(-x);
    case FV_ND_ACT_TANH:
        return 1 - fv_tanh64(x) * fv_tanh64(x);
    case FV_ND_ACT_RELU:
        return x > 0;
    case FV_ND_ACT_LEAKY_RELU:
        return x < 0 ? 0.01f : 1;
    case FV_ND_ACT_THRESHOLDED:
        return x > 1;
    case FV_ND_ACT_HARD_SIGMOID:
        return x > -2.5 && x < 2.5 ? 0.2f : 0;
    case FV_ND_ACT_ELU:
        return x < 0 ? fv_exp64(x) : 1;
    case FV_ND_ACT_SOFTSIGN:
        return 1 / ((1 + fabs(x)) * (1 + fabs(x)));
    default: /* softplus */
        return fv_sigmoid64(x);
    }
}

/* x held within +-clip; 0: as it is. */
static inline double fv_nd_clipped(double clip, double x) {
    return clip > 0 ? (x < -clip ? -clip : x > clip ? clip : x) : x;
}

static inline double fv_nd_dot(const fv_real *a, const fv_real *b, size_t n) {
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += (double)a[i] * b[i];
    return sum;
}

#endif
