/* Sliding windows over 1 to 3 spatial axes of general tensors (N, C, spatial...), in the plain layout. Maps of rank 4
 * in float have layers of their own; these are the other ranks and types. attr.nd holds the window: */
#ifndef FV_OPS_ND_WINDOW_H
#define FV_OPS_ND_WINDOW_H

#include "ops/nd.h"

enum { FV_ND_SPATIAL = 3 };

typedef struct fv_nd_window {
    int32_t axes;
    int64_t kernel[FV_ND_SPATIAL], stride[FV_ND_SPATIAL], dilation[FV_ND_SPATIAL], before[FV_ND_SPATIAL],
        after[FV_ND_SPATIAL];
} fv_nd_window;

/* a: kernel, b: stride, c: dilation in places 0.. of 8; before in a and after in b from place 4 on. */
void fv_nd_window_put(const fv_nd_window *w, fv_nd_attr *attr);
fv_nd_window fv_nd_window_get(const fv_nd_attr *attr);
/* Sizes that an axis of `in` elements gives; `up`: the last, partial window too, when it begins inside. FV_ERR_SHAPE
 * names the node. */
fv_status fv_nd_window_size(const char *node, const fv_nd_window *w, int32_t axis, int64_t in, bool up, int64_t *out);

typedef enum fv_nd_pool { FV_ND_POOL_MAX, FV_ND_POOL_AVERAGE, FV_ND_POOL_LP } fv_nd_pool;

/* x (N,C,...), w (K,C/groups,...), [bias (K)] -> y; attr.nd: the window, kind: groups. Sums in the tensor's own type.
 */
extern const fv_op fv_op_nd_conv;
/* x (N,C,...), w (C,K/groups,...), [bias (K)] -> y; attr.nd: the window, kind: groups; c from place 4 on: the output's
 * sizes. */
extern const fv_op fv_op_nd_conv_transpose;
extern const fv_op fv_op_nd_conv_grad_weight; /* dy, x, w (for its shape) -> dw of nd_conv; of nd_conv_transpose with dy
                                                 and x exchanged */
/* x -> y, [indices int64 into all of x]; attr.nd: the window, kind, keep: sizes rounded up, flag: average counts
 * padding, mode: indices of columns first, alpha: p of Lp. */
extern const fv_op fv_op_nd_pool;
extern const fv_op fv_op_nd_pool_grad; /* dy, x -> dx */
/* x, indices int64 -> zeros of shape attr.nd.a (count axes) with x's elements at the indices, which are places in a
 * tensor of shape attr.nd.b. For files: c: kernel, and stride from place 3 on; a from place 5 on: pads, both sides */
extern const fv_op fv_op_nd_unpool;
extern const fv_op fv_op_nd_unpool_grad; /* dy, indices -> dx */

#endif
