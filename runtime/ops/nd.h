/* General tensors: any rank up to FV_MAX_RANK, any type, by strides. What operators on them share: a loop over up to
 * FV_ND_OPERANDS tensors of one (broadcast) shape, coalesced so that its rows are as long as can be, and cut by shape
 * alone. */
#ifndef FV_OPS_ND_H
#define FV_OPS_ND_H

#include "ops/pieces.h"

enum { FV_ND_OPERANDS = 4 };

/* Strides in elements of a value's axes, as it lies (FV_PLAIN row-major; FV_NHWC: axis 1 innermost). */
void fv_nd_strides(const fv_shape *shape, fv_layout layout, ptrdiff_t stride[FV_MAX_RANK]);

/* The shape that a and b broadcast to (aligned at the last axis; 1 stretches). FV_ERR_SHAPE names the node. */
fv_status fv_nd_broadcast(const char *node, const fv_shape *a, const fv_shape *b, fv_shape *out);

/* An axis that may be negative, of 0..rank-1 (with `beyond` 0..rank). FV_ERR_SHAPE names the node. */
fv_status fv_nd_axis(const char *node, int64_t axis, int32_t rank, bool beyond, int32_t *out);

/* Output rank with explicit layout: what operators with FV_OP_PLAIN set. */
static inline void fv_nd_infer(fv_value_info *out, fv_dtype dtype, const fv_shape *shape) {
    out->shape = *shape;
    out->dtype = dtype;
    out->layout = FV_PLAIN;
}

/* Rows of `length` elements; operand k moves step[k] elements within a row. Axes with one element are gone, neighbours
 * that are one run in every operand are joined, and the innermost axis is the row. */
typedef struct fv_nd_loop {
    int32_t rank, operands; /* rank: axes outside the row */
    size_t dim[FV_MAX_RANK], rows, length;
    ptrdiff_t stride[FV_ND_OPERANDS][FV_MAX_RANK], step[FV_ND_OPERANDS];
} fv_nd_loop;

/* Over `shape`; operand k has stride[k][axis], 0 where it is stretched. `order`: axes from outermost to innermost,
 * NULL: as they are numbered (row-major). */
void fv_nd_loop_make(fv_nd_loop *l, const fv_shape *shape, int32_t operands, ptrdiff_t stride[][FV_MAX_RANK],
                     const int32_t *order);
/* A value's strides as an operand of a loop over `shape`: aligned at the last axis, 0 where it is stretched. */
void fv_nd_operand(const fv_shape *shape, const fv_value_info *value, ptrdiff_t stride[FV_MAX_RANK]);
/* Offsets in elements of every operand at the start of row `row`. */
void fv_nd_row(const fv_nd_loop *l, size_t row, ptrdiff_t offset[FV_ND_OPERANDS]);

/* The loop in pieces of about FV_RUN elements: piece p is elements [begin, end) of row `row` .. last row; rows shorter
 * than a run go several to a piece. */
typedef struct fv_nd_cut {
    size_t rows_per_piece, pieces_per_row, pieces;
} fv_nd_cut;
fv_nd_cut fv_nd_cut_make(const fv_nd_loop *l);
typedef struct fv_nd_piece {
    size_t first_row, end_row; /* rows */
    fv_range columns;          /* of each of these rows */
} fv_nd_piece;
fv_nd_piece fv_nd_piece_of(const fv_nd_loop *l, const fv_nd_cut *c, size_t piece);

#endif
