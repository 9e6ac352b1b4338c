/* Loops of reductions: every element of the result (kept) and, for each, the elements that make it (gone). */
#ifndef FV_OPS_ND_REDUCE_H
#define FV_OPS_ND_REDUCE_H

#include "ops/nd.h"

typedef struct fv_nd_lines {
    fv_nd_loop kept; /* operands: y, x */
    fv_nd_loop gone; /* operand: x */
} fv_nd_lines;

/* axes: bit a is set where axis a of x is reduced; y has x's axes with those gone (or 1, with keep). */
void fv_nd_lines_make(fv_nd_lines *l, const fv_value_info *x, const fv_value_info *y, unsigned axes, bool keep);
/* The shape of y. */
fv_shape fv_nd_reduced(const fv_shape *x, unsigned axes, bool keep);
/* The strides of y, one an axis of x; 0 on reduced axes. */
void fv_nd_reduced_strides(const fv_shape *x, const fv_value_info *y, unsigned axes, bool keep, ptrdiff_t stride[FV_MAX_RANK]);
/* attr.nd: count axes in a (negative ones allowed), none: all of them, or with flag none. FV_ERR_SHAPE names the node. */
fv_status fv_nd_axes(const fv_node *n, int32_t rank, unsigned *axes);

#endif
