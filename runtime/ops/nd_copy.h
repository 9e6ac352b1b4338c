/* Copies between general tensors, of any element size: by strides (transposes, slices, parts, expansions) and by a table an axis
 * (padding, repetition, nearest neighbours). Bits as they are. */
#ifndef FV_OPS_ND_COPY_H
#define FV_OPS_ND_COPY_H

#include "ops/nd.h"

/* out[out_at + i.out_stride] = in[in_at + i.in_stride] for every index i of `shape`; in NULL: zeros. */
typedef struct fv_nd_copy {
    const fv_buffer *in, *out;
    ptrdiff_t in_at, out_at;
    ptrdiff_t in_stride[FV_MAX_RANK], out_stride[FV_MAX_RANK];
    fv_shape shape;
    fv_layout layout; /* the order of the loop: as `out` lies */
    size_t element;   /* bytes: 1, 2, 4 or 8 */
} fv_nd_copy;
fv_status fv_nd_copy_plan(fv_plan_op *p, const fv_nd_copy *c);
/* The node's first input to its output, every element of that; how the input is walked is for the caller to fill in. */
fv_nd_copy fv_nd_copy_of_node(const fv_plan_op *p);

/* The whole value v set to zero. */
fv_status fv_nd_zero_plan(fv_plan_op *p, fv_value v);

/* y takes x's axis a at table[a][i], which is -1 where the fill stands. Tables live in the plan. */
typedef struct fv_nd_map {
    int32_t *table[FV_MAX_RANK];
} fv_nd_map;
fv_status fv_nd_map_make(fv_plan_op *p, const fv_shape *out, fv_nd_map *map); /* identity; to be changed */
/* x -> y by the map; `fill`: one element's bytes, read in the run when fill_from is set. */
fv_status fv_nd_map_plan(fv_plan_op *p, fv_value x, fv_value y, const fv_nd_map *map, const fv_buffer *fill_from);

/* Maps keep their layout, everything else is plain. */
static inline void fv_nd_infer_maps(fv_value_info *out, fv_dtype dtype, const fv_shape *shape, fv_layout like) {
    fv_nd_infer(out, dtype, shape);
    if (like == FV_NHWC && shape->rank == 4 && dtype == FV_REAL_DTYPE) out->layout = FV_NHWC;
}

/* Inference of a gradient dy, x (shape only) -> dx: of x's shape, lying as dy does. */
fv_status fv_nd_infer_back(fv_node *n, fv_value_info *values);

/* Axes from outermost to innermost, as a value of this rank and layout lies. */
void fv_nd_order(int32_t rank, fv_layout layout, int32_t order[FV_MAX_RANK]);

/* n elements from one place to another, at steps in elements. */
void fv_nd_copy_row(const char *in, ptrdiff_t in_step, char *out, ptrdiff_t out_step, size_t n, size_t element);

#endif
