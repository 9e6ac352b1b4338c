/* The negative log likelihood of classes along axis 1 (op_nd_nll.c). */
#ifndef FV_OPS_ND_LOSS_H
#define FV_OPS_ND_LOSS_H

#include "ops/nd.h"

typedef enum fv_nd_reduced_loss { FV_ND_LOSS_NONE, FV_ND_LOSS_MEAN, FV_ND_LOSS_SUM } fv_nd_reduced_loss;

extern const fv_op fv_op_nd_nll;      /* x, target, [weight] -> loss */
extern const fv_op fv_op_nd_nll_grad; /* dy, x, target, [weight] -> dx */

#endif
