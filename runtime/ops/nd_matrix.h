/* Operators that see a general tensor as rows and columns, or multiply such. All take and give the plain layout. */
#ifndef FV_OPS_ND_MATRIX_H
#define FV_OPS_ND_MATRIX_H

#include "ops/nd.h"

typedef enum fv_nd_softmax {
    FV_ND_SOFTMAX,
    FV_ND_LOG_SOFTMAX,
    FV_ND_HARDMAX /* the first of the largest */
} fv_nd_softmax;

/* x -> y over axes mode .. mode + count - 1 taken as one; attr.nd: kind. float32, float64, float16. */
extern const fv_op fv_op_nd_softmax;
extern const fv_op fv_op_nd_softmax_grad; /* y, dy -> dx */

/* a, b -> y = op(a) op(b), as numpy.matmul: leading axes broadcast, a vector on the left is a row, on the right a
 * column. attr.nd: mode bit 0: a transposed, bit 1: b. Floats are summed in float32 (float64: in float64) along k,
 * whole numbers wrap. */
extern const fv_op fv_op_nd_matmul;

#endif
