/* Reductions. The order of additions is a function of the arguments alone and fixed per ISA. */
#ifndef FV_KERNELS_REDUCE_H
#define FV_KERNELS_REDUCE_H

#include "kernels/base.h"

/* Sum of n contiguous values; sum of their squares. */
typedef fv_real (*fv_sum_fn)(const fv_real *x, size_t n);
/* y[c] = sum_{p < pixels} x[p*pitch + c], c < channels (bias gradient), overwrites. Added in the pixels' order per channel. */
typedef void (*fv_sum_rows_fn)(const fv_real *x, ptrdiff_t pitch, size_t pixels, size_t channels, fv_real *y);
/* y[c] = sum_p x1[p*pitch1 + c] * x2[p*pitch2 + c] (gain gradient), overwrites. */
typedef void (*fv_dot_rows_fn)(const fv_real *x1, ptrdiff_t pitch1, const fv_real *x2, ptrdiff_t pitch2, size_t pixels,
                               size_t channels, fv_real *y);
/* y[i] = sum_{k < parts} x[k*part_pitch + i] in the order of k, i in [0, n). y == x (part 0) is allowed. */
typedef void (*fv_add_parts_fn)(const fv_real *x, size_t part_pitch, size_t parts, fv_real *y, size_t n);

typedef struct fv_reduce_kernels {
    fv_sum_fn sum, sum_squares;
    fv_sum_rows_fn sum_rows;
    fv_dot_rows_fn dot_rows;
    fv_add_parts_fn add_parts;
} fv_reduce_kernels;

#endif
