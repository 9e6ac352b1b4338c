/* Rows of values at a pitch: copied beside each other, scaled by one number a row, multiplied with each other. What concatenation,
 * splitting, slicing, strided sub-sampling and attention over pixels are made of (SPEC sections 5 and 7). */
#ifndef FV_KERNELS_ROWS_H
#define FV_KERNELS_ROWS_H

#include "kernels/base.h"

/* y[r*y_pitch + i] = x[r*x_pitch + i], i < width, r < rows; x NULL: zeros. Bits as they are. The two do not overlap. */
typedef void (*fv_rows_copy_fn)(const fv_real *x, ptrdiff_t x_pitch, fv_real *y, ptrdiff_t y_pitch, size_t width, size_t rows);
/* y[r*pitch + i] = x[r*pitch + i] * scale[r], i < width. y == x is allowed. */
typedef void (*fv_rows_scale_fn)(const fv_real *x, const fv_real *scale, fv_real *y, ptrdiff_t pitch, size_t width, size_t rows);
/* y[r] = sum_{i < width} x1[r*pitch + i] * x2[r*pitch + i]. The order of additions is a function of width alone. */
typedef void (*fv_rows_inner_fn)(const fv_real *x1, const fv_real *x2, ptrdiff_t pitch, fv_real *y, size_t width, size_t rows);

typedef struct fv_rows_kernels {
    fv_rows_copy_fn copy;
    fv_rows_scale_fn scale;
    fv_rows_inner_fn inner;
} fv_rows_kernels;

#endif
