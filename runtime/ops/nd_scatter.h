/* Where the indices of gathers and scatters point. */
#ifndef FV_OPS_ND_SCATTER_H
#define FV_OPS_ND_SCATTER_H

#include "ops/nd_copy.h"

/* Type of the indices, and their values where they are constant, against an axis of `size`. */
fv_status fv_nd_check_indices(const fv_node *n, const fv_value_info *indices, int64_t size);

/* Lines of an index tensor along axis a[0] of the data: one line of indices meets one line of data. */
typedef struct fv_nd_element_lines {
    int64_t size;       /* of the data's axis */
    size_t count, lines; /* indices a line */
    ptrdiff_t data_step, step; /* along a line */
    int32_t rank;
    size_t dim[FV_MAX_RANK];
    ptrdiff_t data_stride[FV_MAX_RANK], stride[FV_MAX_RANK];
    fv_dtype index_type;
    size_t per_piece;
} fv_nd_element_lines;
fv_status fv_nd_lines_describe(const fv_node *n, const fv_value_info *data, const fv_value_info *indices, fv_nd_element_lines *l);
/* Offsets of a line's first elements. */
void fv_nd_line(const fv_nd_element_lines *l, size_t line, ptrdiff_t *data, ptrdiff_t *own);

/* Index tuples (batch..., ..., axes), each of which names a slice of `width` elements. */
typedef struct fv_nd_tuples {
    size_t batches, count, width, batch_size; /* count: tuples of a batch */
    int32_t axes;
    int64_t dim[FV_MAX_RANK];
    fv_dtype index_type;
} fv_nd_tuples;
fv_status fv_nd_tuples_describe(const fv_node *n, const fv_value_info *data, const fv_value_info *indices, fv_nd_tuples *t);
/* The element of the data at which a tuple's slice begins. */
size_t fv_nd_tuple(const fv_nd_tuples *t, const void *indices, size_t tuple);
/* The shape of what the tuples name. */
fv_status fv_nd_tuples_shape(const fv_node *n, const fv_value_info *data, const fv_value_info *indices, fv_shape *out);

#endif
