/* How element-wise work is cut: runs of a fixed length, a function of the shape alone. */
#ifndef FV_OPS_PIECES_H
#define FV_OPS_PIECES_H

#include "ops/op.h"
#include "ops/window.h"

enum { FV_RUN = 16384 }; /* elements: 64 KiB, an L1 and some */

static inline size_t fv_run_pieces(size_t n) { return fv_div_up(n, FV_RUN); }
static inline fv_range fv_run_of(size_t piece, size_t n) {
    return (fv_range){piece * FV_RUN, fv_min_size((piece + 1) * FV_RUN, n)};
}

/* Rows of `width` elements: so many to a piece that it is about a run. */
static inline size_t fv_rows_per_piece(size_t width) { return fv_max_size(1, FV_RUN / fv_max_size(width, 1)); }

/* A value takes shape, type and layout of another. */
static inline void fv_infer_like(fv_value_info *out, const fv_value_info *like) {
    out->shape = like->shape;
    out->dtype = like->dtype;
    out->layout = like->layout;
    out->taps = like->taps;
}

/* Inference, the shape alone: layout plain for everything but maps. */
static inline void fv_infer_shape(fv_value_info *out, fv_dtype dtype, const fv_shape *shape) {
    out->shape = *shape;
    out->dtype = dtype;
    out->layout = shape->rank == 4 ? FV_NHWC : FV_PLAIN;
}

#endif
