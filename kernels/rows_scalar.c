#include "kernels/kernels.h"

static void copy_scalar(const fv_real *x, ptrdiff_t x_pitch, fv_real *y, ptrdiff_t y_pitch, size_t width, size_t rows) {
    for (size_t r = 0; r < rows; r++)
        for (size_t i = 0; i < width; i++) y[(ptrdiff_t)r * y_pitch + (ptrdiff_t)i] = x ? x[(ptrdiff_t)r * x_pitch + (ptrdiff_t)i] : 0;
}

static void scale_scalar(const fv_real *x, const fv_real *scale, fv_real *y, ptrdiff_t pitch, size_t width, size_t rows) {
    for (size_t r = 0; r < rows; r++, x += pitch, y += pitch)
        for (size_t i = 0; i < width; i++) y[i] = x[i] * scale[r];
}

static void inner_scalar(const fv_real *x1, const fv_real *x2, ptrdiff_t pitch, fv_real *y, size_t width, size_t rows) {
    for (size_t r = 0; r < rows; r++, x1 += pitch, x2 += pitch) {
        fv_real sum = 0;
        for (size_t i = 0; i < width; i++) sum += x1[i] * x2[i];
        y[r] = sum;
    }
}

void fv_rows_init_scalar(fv_rows_kernels *k) { *k = (fv_rows_kernels){copy_scalar, scale_scalar, inner_scalar}; }
