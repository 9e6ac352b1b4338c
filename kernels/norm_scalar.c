#include "kernels/kernels.h"

static void moments_scalar(const fv_real *x, ptrdiff_t pitch, size_t pixels, size_t channels, fv_real *mean, fv_real *m2) {
    for (size_t c = 0; c < channels; c++) {
        const fv_real n = (fv_real)pixels;
        fv_real sum = 0, s1 = 0, s2 = 0;
        for (size_t p = 0; p < pixels; p++) sum += x[(ptrdiff_t)p * pitch + (ptrdiff_t)c];
        const fv_real near = sum / n;
        for (size_t p = 0; p < pixels; p++) {
            const fv_real d = x[(ptrdiff_t)p * pitch + (ptrdiff_t)c] - near;
            s1 += d;
            s2 += d * d;
        }
        mean[c] = near + s1 / n;
        m2[c] = s2 - s1 * (s1 / n);
    }
}

static void merge_scalar(const fv_real *mean, const fv_real *m2, ptrdiff_t part_pitch, size_t parts, size_t count, size_t last,
                         size_t channels, fv_real *out_mean, fv_real *out_m2) {
    for (size_t c = 0; c < channels; c++) {
        fv_real m = mean[c], s = m2[c];
        for (size_t k = 1; k < parts; k++) {
            const size_t n = k * count, more = k + 1 == parts ? last : count;
            const fv_real share = (fv_real)more / (fv_real)(n + more), weight = (fv_real)n * share;
            const fv_real delta = mean[(ptrdiff_t)k * part_pitch + (ptrdiff_t)c] - m;
            m = m + delta * share;
            s = s + (m2[(ptrdiff_t)k * part_pitch + (ptrdiff_t)c] + delta * delta * weight);
        }
        out_mean[c] = m;
        out_m2[c] = s;
    }
}

static void combine_scalar(const fv_real *mean, const fv_real *m2, size_t count, size_t channels, fv_real out[2]) {
    fv_real sum = 0, squares = 0;
    for (size_t c = 0; c < channels; c++) sum += mean[c];
    const fv_real middle = sum / (fv_real)channels, n = (fv_real)count;
    for (size_t c = 0; c < channels; c++) {
        const fv_real d = mean[c] - middle;
        squares += m2[c] + n * (d * d);
    }
    out[0] = middle;
    out[1] = squares;
}

static void apply_scalar(const fv_norm_map *m, const fv_real *x, ptrdiff_t x_pitch, fv_real *y, ptrdiff_t y_pitch,
                         size_t channels, size_t pixels) {
    for (size_t p = 0; p < pixels; p++, x += x_pitch, y += y_pitch)
        for (size_t c = 0; c < channels; c++) {
            const fv_real z = x[c] * m->gain[c] + m->shift[c], low = z < m->low ? m->low : z;
            y[c] = low > m->high ? m->high : low;
        }
}

/* What the clamp lets through of dy. */
static inline fv_real passed(const fv_norm_map *m, bool clamps, fv_real dy, fv_real x, size_t c) {
    if (!clamps) return dy;
    const fv_real z = x * m->gain[c] + m->shift[c];
    return z > m->low && z < m->high ? dy : 0;
}

static void grad_sums_scalar(const fv_norm_map *m, const fv_real *dy, ptrdiff_t dy_pitch, const fv_real *x, ptrdiff_t x_pitch,
                             size_t channels, size_t pixels, fv_real *sum, fv_real *dot) {
    const bool clamps = fv_norm_clamps(m);
    for (size_t c = 0; c < channels; c++) sum[c] = dot[c] = 0;
    for (size_t p = 0; p < pixels; p++, dy += dy_pitch, x += x_pitch)
        for (size_t c = 0; c < channels; c++) {
            const fv_real g = passed(m, clamps, dy[c], x[c], c);
            sum[c] += g;
            dot[c] += g * (x[c] - m->mean[c]);
        }
}

static void grad_input_scalar(const fv_norm_map *m, const fv_real *slope, const fv_real *offset, const fv_real *dy,
                              ptrdiff_t dy_pitch, const fv_real *x, ptrdiff_t x_pitch, fv_real *dx, ptrdiff_t dx_pitch,
                              size_t channels, size_t pixels) {
    const bool clamps = fv_norm_clamps(m);
    for (size_t p = 0; p < pixels; p++, dy += dy_pitch, x += x_pitch, dx += dx_pitch)
        for (size_t c = 0; c < channels; c++) {
            const fv_real g = passed(m, clamps, dy[c], x[c], c);
            dx[c] = g * m->gain[c] + ((x[c] - m->mean[c]) * slope[c] + offset[c]);
        }
}

void fv_norm_init_scalar(fv_norm_kernels *k) {
    *k = (fv_norm_kernels){moments_scalar, merge_scalar, combine_scalar, apply_scalar, grad_sums_scalar, grad_input_scalar};
}
