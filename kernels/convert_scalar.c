#include "kernels/kernels.h"

static void transpose_scalar(const fv_real *x, ptrdiff_t x_pitch, fv_real *y, ptrdiff_t y_pitch, size_t columns,
                             fv_range rows) {
    for (size_t r = rows.begin; r < rows.end; r++)
        for (size_t c = 0; c < columns; c++) y[(ptrdiff_t)c * y_pitch + (ptrdiff_t)r] = x[(ptrdiff_t)r * x_pitch + (ptrdiff_t)c];
}

static void u8_to_real_scalar(const uint8_t *x, fv_real *y, size_t pixels, size_t channels, const fv_real *scale,
                              const fv_real *shift) {
    for (size_t p = 0; p < pixels; p++)
        for (size_t c = 0; c < channels; c++) y[p * channels + c] = (fv_real)x[p * channels + c] * scale[c] + shift[c];
}

void fv_convert_init_scalar(fv_convert_kernels *k) {
    *k = (fv_convert_kernels){transpose_scalar, u8_to_real_scalar};
}
