/* A bias of its own at every position (SPEC section 1, the lecture's B[i,y,x]), as kernels add it. */
#ifndef FV_OPS_UNTIED_BIAS_H
#define FV_OPS_UNTIED_BIAS_H

#include "ops/op.h"

/* Positions of a bias (C,H,W) or (F): 1 for (F). */
static inline int64_t fv_untied_positions(const fv_shape *bias) { return bias->rank == 3 ? bias->dim[1] * bias->dim[2] : 1; }
/* The bias channels-last: itself where it lies so, else a copy, made once with packed weights and in every run in training. */
fv_status fv_untied_bias_dense(fv_plan_op *p, fv_value bias, const fv_buffer **out);

#endif
