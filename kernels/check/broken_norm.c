/* Broken normalization: contrast, brightness, batch and group. */
#include "kernels/check/broken.h"

/* ---- contrast normalization ---- */

static void blur_not_transposed(const fv_contrast_desc *d, const float *x, float *y, fv_range rows, void *scratch) {
    fv_contrast_desc other = *d;
    other.transposed = false;
    fv_check_good->contrast.blur[FV_BLUR_PLAIN](&other, x, y, rows, scratch);
}

static void blur_no_ring(const fv_contrast_desc *d, const float *x, float *y, fv_range rows, void *scratch) {
    fv_contrast_desc other = *d;
    if (d->ring > 1) other.ring--;
    fv_check_good->contrast.blur[FV_BLUR_SUBTRACT](&other, x, y, rows, scratch);
}

static void squares_last_map(const float *x1, const float *x2, float *y, size_t channels, size_t pixels, float scale) {
    fv_check_good->contrast.sum[FV_MAP_SQUARES](x1, x2, y, channels, pixels, scale);
    y[pixels - 1] -= scale * x1[pixels * channels - 1] * x1[pixels * channels - 1];
}

static void scale_no_second(const float *x1, const float *a, const float *x2, const float *b, float *y, size_t channels,
                            size_t pixels) {
    (void)x2, (void)b;
    fv_check_good->contrast.scale(x1, a, NULL, NULL, y, channels, pixels);
}

static void divide_by_sigma(const fv_sigma *s, const float *x, float *y) {
    for (size_t i = 0; i < s->pixels * s->channels; i++) y[i] = s->sigma[i] > 0 ? (x ? x[i] : 1) / s->sigma[i] : 0;
}

static void below_dot_tie(const fv_sigma *s, const float *x1, const float *x2, float *y) {
    for (size_t c = 0; c < s->channels; c++) y[c] = 0;
    for (size_t i = 0; i < s->pixels * s->channels; i++)
        if (s->sigma[i] < s->c[s->single ? 0 : i % s->channels]) y[i % s->channels] += x1[i] * (x2 ? x2[i] : 1);
}

static void local_window_turned(const fv_brightness *d, const float *x, float *y, fv_range pixels, void *scratch) {
    fv_brightness other = *d;
    other.before = d->after;
    other.after = d->before;
    fv_check_good->contrast.local(&other, x, y, pixels, scratch);
}

static void local_grad_window(const fv_brightness *d, const float *x, const float *dy, float *dx, fv_range pixels,
                              void *scratch) {
    fv_brightness other = *d;
    other.before = d->after;
    other.after = d->before;
    fv_check_good->contrast.local_grad(&other, x, dy, dx, pixels, scratch);
}

static void power_rough(const fv_brightness *d, const float *q, float *a, size_t n) {
    fv_check_good->contrast.power(d, q, a, n);
    a[n - 1] *= 1 + 0x1p-15f;
}

/* ---- normalization ---- */

/* One pass: sum of squares less the square of the sum. */
static void moments_one_pass(const float *x, ptrdiff_t pitch, size_t pixels, size_t channels, float *mean, float *m2) {
    for (size_t c = 0; c < channels; c++) {
        float sum = 0, squares = 0;
        for (size_t p = 0; p < pixels; p++) {
            const float v = x[(ptrdiff_t)p * pitch + (ptrdiff_t)c];
            sum += v;
            squares += v * v;
        }
        mean[c] = sum / (float)pixels;
        m2[c] = squares - sum * mean[c];
    }
}

static void merge_full_last(const float *mean, const float *m2, ptrdiff_t part_pitch, size_t parts, size_t count,
                            size_t last, size_t channels, float *out_mean, float *out_m2) {
    (void)last;
    fv_check_good->norm.merge(mean, m2, part_pitch, parts, count, count, channels, out_mean, out_m2);
}

static void combine_no_means(const float *mean, const float *m2, size_t count, size_t channels, float out[2]) {
    fv_check_good->norm.combine(mean, m2, count, channels, out);
    out[1] = fv_check_good->reduce.sum(m2, channels);
}

static void apply_no_clamp(const fv_norm_map *m, const float *x, ptrdiff_t x_pitch, float *y, ptrdiff_t y_pitch,
                           size_t channels, size_t pixels) {
    fv_check_good->pointwise.gain(x, x_pitch, m->gain, m->shift, y, y_pitch, channels, pixels);
}

static void norm_sums_no_mean(const fv_norm_map *m, const float *dy, ptrdiff_t dy_pitch, const float *x,
                              ptrdiff_t x_pitch, size_t channels, size_t pixels, float *sum, float *dot) {
    fv_check_good->norm.grad_sums(m, dy, dy_pitch, x, x_pitch, channels, pixels, sum, dot);
    fv_check_good->reduce.dot_rows(dy, dy_pitch, x, x_pitch, pixels, channels, dot);
}

static void norm_input_unmasked(const fv_norm_map *m, const float *slope, const float *offset, const float *dy,
                                ptrdiff_t dy_pitch, const float *x, ptrdiff_t x_pitch, float *dx, ptrdiff_t dx_pitch,
                                size_t channels, size_t pixels) {
    fv_norm_map other = *m;
    other.low = -INFINITY;
    fv_check_good->norm.grad_input(&other, slope, offset, dy, dy_pitch, x, x_pitch, dx, dx_pitch, channels, pixels);
}

/* ---- the list ---- */

INSTALL(blur_not_transposed, contrast.blur[FV_BLUR_PLAIN])
INSTALL(blur_no_ring, contrast.blur[FV_BLUR_SUBTRACT])
INSTALL(squares_last_map, contrast.sum[FV_MAP_SQUARES])
INSTALL(scale_no_second, contrast.scale)
INSTALL(divide_by_sigma, contrast.divide)
INSTALL(below_dot_tie, contrast.below_dot)
INSTALL(local_window_turned, contrast.local)
INSTALL(local_grad_window, contrast.local_grad)
INSTALL(power_rough, contrast.power)
INSTALL(moments_one_pass, norm.moments)
INSTALL(merge_full_last, norm.merge)
INSTALL(combine_no_means, norm.combine)
INSTALL(apply_no_clamp, norm.apply)
INSTALL(norm_sums_no_mean, norm.grad_sums)
INSTALL(norm_input_unmasked, norm.grad_input)

const fv_check_fault fv_check_broken_norm[] = {
    {"contrast.blur", "the transpose as the blur itself", install_blur_not_transposed},
    {"contrast.blur_subtract", "a row too few in the ring", install_blur_no_ring},
    {"contrast.squares", "last map of the last pixel missing", install_squares_last_map},
    {"contrast.scale", "second product missing", install_scale_no_second},
    {"contrast.divide", "c ignored", install_divide_by_sigma},
    {"contrast.below_dot", "ties left out", install_below_dot_tie},
    {"contrast.local", "window turned round", install_local_window_turned},
    {"contrast.local_grad", "window of the forward pass", install_local_grad_window},
    {"contrast.power", "worse than stated", install_power_rough},
    {"norm.moments", "squares less the square of the mean", install_moments_one_pass},
    {"norm.merge", "the last range counted as a whole one", install_merge_full_last},
    {"norm.combine", "the means' own spread left out", install_combine_no_means},
    {"norm.apply", "clamp ignored", install_apply_no_clamp},
    {"norm.grad_sums", "mean not subtracted", install_norm_sums_no_mean},
    {"norm.grad_input", "lower clamp ignored", install_norm_input_unmasked},
    {NULL, NULL, NULL},
};
