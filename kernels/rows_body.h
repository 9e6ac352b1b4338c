/* Rows at a pitch over a vector wrapper; included by (isa)/rows_(isa).c. */
#include "kernels/vec_math.h"

static void copy_row(const float *x, float *y, size_t width) {
    size_t i = 0;
    for (; i + 4 * VW <= width; i += 4 * VW)
        for (int k = 0; k < 4; k++) v_store(y + i + k * VW, x ? v_load(x + i + k * VW) : v_zero());
    for (; i < width; i += VW) v_store_next(y + i, x ? v_load_next(x + i, width - i) : v_zero(), width - i);
}

static void copy(const float *x, ptrdiff_t x_pitch, float *y, ptrdiff_t y_pitch, size_t width, size_t rows) {
    if (y_pitch == (ptrdiff_t)width && (!x || x_pitch == y_pitch)) width *= rows, rows = width ? 1 : 0;
    for (size_t r = 0; r < rows; r++) copy_row(x ? x + (ptrdiff_t)r * x_pitch : NULL, y + (ptrdiff_t)r * y_pitch, width);
}

static void scale(const float *x, const float *factor, float *y, ptrdiff_t pitch, size_t width, size_t rows) {
    for (size_t r = 0; r < rows; r++, x += pitch, y += pitch) {
        const vf f = v_set(factor[r]);
        size_t i = 0;
        for (; i + VW <= width; i += VW) v_store(y + i, v_mul(v_load(x + i), f));
        if (i < width) v_store_part(y + i, v_mul(v_load_part(x + i, width - i), f), width - i);
    }
}

static void inner(const float *x1, const float *x2, ptrdiff_t pitch, float *y, size_t width, size_t rows) {
    for (size_t r = 0; r < rows; r++, x1 += pitch, x2 += pitch) {
        vf s[2] = {v_zero(), v_zero()};
        size_t i = 0;
        for (; i + 2 * VW <= width; i += 2 * VW)
            for (int k = 0; k < 2; k++) s[k] = v_fma(v_load(x1 + i + k * VW), v_load(x2 + i + k * VW), s[k]);
        for (; i < width; i += VW) s[0] = v_fma(v_load_next(x1 + i, width - i), v_load_next(x2 + i, width - i), s[0]);
        y[r] = v_sum(v_add(s[0], s[1]));
    }
}

static void init_rows(fv_rows_kernels *k) { *k = (fv_rows_kernels){copy, scale, inner}; }
