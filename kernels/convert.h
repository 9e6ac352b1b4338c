/* Layout and type conversion. */
#ifndef FV_KERNELS_CONVERT_H
#define FV_KERNELS_CONVERT_H

#include "kernels/base.h"

/* y[c*y_pitch + r] = x[r*x_pitch + c] for r in rows, c in [0, columns): a matrix transposed, pitches in elements.
 * NHWC -> NCHW is rows = pixels, columns = channels of one image; NCHW -> NHWC the other way round. No overlap. */
typedef void (*fv_transpose_fn)(const fv_real *x, ptrdiff_t x_pitch, fv_real *y, ptrdiff_t y_pitch, size_t columns,
                                fv_range rows);
/* y[p*channels + c] = (fv_real)x[p*channels + c] * scale[c] + shift[c]; uint8 pixels to numbers. */
typedef void (*fv_u8_to_real_fn)(const uint8_t *x, fv_real *y, size_t pixels, size_t channels, const fv_real *scale,
                                 const fv_real *shift);

typedef struct fv_convert_kernels {
    fv_transpose_fn transpose;
    fv_u8_to_real_fn u8_to_real;
} fv_convert_kernels;

#endif
