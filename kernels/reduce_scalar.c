#include "kernels/kernels.h"

/* Blocks of 4096 are added up each by itself, so that the error stays small for long vectors. */
enum { block = 4096 };

static fv_real sum_scalar(const fv_real *x, size_t n) {
    fv_real total = 0;
    for (size_t i = 0; i < n; i += block) {
        fv_real part = 0;
        for (size_t k = i; k < n && k < i + block; k++) part += x[k];
        total += part;
    }
    return total;
}

static fv_real sum_squares_scalar(const fv_real *x, size_t n) {
    fv_real total = 0;
    for (size_t i = 0; i < n; i += block) {
        fv_real part = 0;
        for (size_t k = i; k < n && k < i + block; k++) part += x[k] * x[k];
        total += part;
    }
    return total;
}

static void sum_rows_scalar(const fv_real *x, ptrdiff_t pitch, size_t pixels, size_t channels, fv_real *y) {
    for (size_t c = 0; c < channels; c++) y[c] = 0;
    for (size_t p = 0; p < pixels; p++, x += pitch)
        for (size_t c = 0; c < channels; c++) y[c] += x[c];
}

static void dot_rows_scalar(const fv_real *x1, ptrdiff_t pitch1, const fv_real *x2, ptrdiff_t pitch2, size_t pixels,
                            size_t channels, fv_real *y) {
    for (size_t c = 0; c < channels; c++) y[c] = 0;
    for (size_t p = 0; p < pixels; p++, x1 += pitch1, x2 += pitch2)
        for (size_t c = 0; c < channels; c++) y[c] += x1[c] * x2[c];
}

static void add_parts_scalar(const fv_real *x, size_t part_pitch, size_t parts, fv_real *y, size_t n) {
    for (size_t i = 0; i < n; i++) {
        fv_real sum = 0;
        for (size_t k = 0; k < parts; k++) sum = k == 0 ? x[i] : sum + x[k * part_pitch + i];
        y[i] = sum;
    }
}

void fv_reduce_init_scalar(fv_reduce_kernels *k) {
    *k = (fv_reduce_kernels){sum_scalar, sum_squares_scalar, sum_rows_scalar, dot_rows_scalar, add_parts_scalar};
}
