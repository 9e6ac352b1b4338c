/* Separable linear maps of general tensors: y's element on an axis is a weighted sum of x's on that axis. Interpolation, and the
 * gradients of everything that takes its values axis by axis. */
#ifndef FV_OPS_ND_TAPS_H
#define FV_OPS_ND_TAPS_H

#include "ops/nd_copy.h"

/* Of one axis: element o is the sum over t in [first[o], first[o+1]) of weight[t] x[index[t]]. NULL first: the axis as it is. */
typedef struct fv_nd_taps {
    int32_t *first, *index;
    fv_real *weight;
} fv_nd_taps;

/* Room for `out` elements of `taps` taps together, in the plan. */
fv_status fv_nd_taps_make(fv_plan_op *p, int64_t out, size_t taps, fv_nd_taps *t);
/* The transposed of t: from `out` elements to `in`. */
fv_status fv_nd_taps_transpose(fv_plan_op *p, const fv_nd_taps *t, int64_t out, int64_t in, fv_nd_taps *back);
/* A table (nd_copy.h) as taps; entries of -1 have none. */
fv_status fv_nd_taps_of_map(fv_plan_op *p, const int32_t *table, int64_t out, fv_nd_taps *t);
/* x -> y in fv_real, axis by axis. */
fv_status fv_nd_taps_plan(fv_plan_op *p, fv_value x, fv_value y, const fv_nd_taps taps[FV_MAX_RANK]);

#endif
