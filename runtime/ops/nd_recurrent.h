/* Recurrent layers (op_nd_recurrent.c). */
#ifndef FV_OPS_ND_RECURRENT_H
#define FV_OPS_ND_RECURRENT_H

#include "ops/nd.h"

typedef enum fv_nd_cell { FV_ND_RNN, FV_ND_GRU, FV_ND_LSTM } fv_nd_cell;
typedef enum fv_nd_activation {
    FV_ND_ACT_SIGMOID,
    FV_ND_ACT_TANH,
    FV_ND_ACT_RELU,
    FV_ND_ACT_LEAKY_RELU,
    FV_ND_ACT_THRESHOLDED,
    FV_ND_ACT_HARD_SIGMOID,
    FV_ND_ACT_ELU,
    FV_ND_ACT_SOFTSIGN,
    FV_ND_ACT_SOFTPLUS
} fv_nd_activation;

/* x (T,N,I), w (D,G*H,I), r (D,G*H,H), [b (D,2*G*H)], [lengths int32 (N)], [h0 (D,N,H)], [c0 (D,N,H)], [p (D,3*H)] -> y
 * (T,D,N,H), last h (D,N,H), last c (D,N,H): all in ONNX's order of gates. attr.nd: kind: fv_nd_cell, mode: 0 forward,
 * 1 reverse, 2 both; count: H; keep: batch first, x (N,T,I), y (N,T,D,H), states (N,D,H); flag: GRU
 * linear_before_reset, LSTM input_forget; a: an activation of each gate and direction (3 a direction); alpha: clip, 0:
 * none. Activations have ONNX's default parameters. */
extern const fv_op fv_op_nd_recurrent;
/* nd_recurrent's inputs (left-out ones FV_NONE), then the gradients of y, last h and last c (FV_NONE: 0) -> dx, dw, dr,
 * db, dh0, dc0, dp, the shapes of left-out inputs as they would be. */
extern const fv_op fv_op_nd_recurrent_grad;

#endif
