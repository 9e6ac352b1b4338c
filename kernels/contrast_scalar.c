#include "kernels/kernels.h"
#include "kernels/scalar_math.h"

#include <math.h>

/* ---- blur ---- */

/* What column `at` of the run holds after the pass along y. */
static fv_real down(const fv_contrast_desc *d, const fv_real *x, bool squares, int32_t y, size_t at) {
    const size_t width = (size_t)d->in[1] * (size_t)d->channels;
    fv_real sum = 0;
    for (int32_t t = 0; t < d->taps[0]; t++) {
        const int32_t row = y + t - d->before[0];
        if (row < 0 || row >= d->in[0]) continue;
        const fv_real v = x[(size_t)(row % d->ring) * width + at];
        sum += d->weight[0][t] * d->norm[0][d->transposed ? row : y] * (squares ? v * v : v);
    }
    return sum;
}

static void blur(const fv_contrast_desc *d, const fv_real *x, fv_real *y, fv_range rows, fv_real *column,
                 fv_blur kind) {
    const size_t channels = (size_t)d->channels, width = (size_t)d->in[1] * channels;
    for (size_t r = rows.begin; r < rows.end; r++, y += width) {
        for (size_t i = 0; i < width; i++)
            column[i] =
                down(d, x, kind == FV_BLUR_SIGMA, (int32_t)r, i) * (d->transposed ? d->norm[1][i / channels] : 1);
        for (size_t i = 0; i < width; i++) {
            const int32_t at = (int32_t)(i / channels);
            fv_real sum = 0;
            for (int32_t t = 0; t < d->taps[1]; t++) {
                const int32_t from = at + t - d->before[1];
                if (from >= 0 && from < d->in[1])
                    sum += d->weight[1][t] * column[(size_t)from * channels + i % channels];
            }
            if (!d->transposed) sum *= d->norm[1][at];
            if (kind == FV_BLUR_SUBTRACT) sum = x[r % (size_t)d->ring * width + i] - sum;
            y[i] = kind == FV_BLUR_ROOT || kind == FV_BLUR_SIGMA ? fv_sqrt(sum) : sum;
        }
    }
}

static void blur_plain_scalar(const fv_contrast_desc *d, const fv_real *x, fv_real *y, fv_range rows, void *scratch) {
    blur(d, x, y, rows, scratch, FV_BLUR_PLAIN);
}
static void blur_subtract_scalar(const fv_contrast_desc *d, const fv_real *x, fv_real *y, fv_range rows,
                                 void *scratch) {
    blur(d, x, y, rows, scratch, FV_BLUR_SUBTRACT);
}
static void blur_root_scalar(const fv_contrast_desc *d, const fv_real *x, fv_real *y, fv_range rows, void *scratch) {
    blur(d, x, y, rows, scratch, FV_BLUR_ROOT);
}
static void blur_sigma_scalar(const fv_contrast_desc *d, const fv_real *x, fv_real *y, fv_range rows, void *scratch) {
    blur(d, x, y, rows, scratch, FV_BLUR_SIGMA);
}

/* ---- over the maps of a pixel ---- */

static void map_sum_scalar(const fv_real *x1, const fv_real *x2, fv_real *y, size_t channels, size_t pixels,
                           fv_real scale) {
    (void)x2;
    for (size_t p = 0; p < pixels; p++, x1 += channels) {
        fv_real sum = 0;
        for (size_t c = 0; c < channels; c++) sum += x1[c];
        y[p] = scale * sum;
    }
}

static void map_dot_scalar(const fv_real *x1, const fv_real *x2, fv_real *y, size_t channels, size_t pixels,
                           fv_real scale) {
    for (size_t p = 0; p < pixels; p++, x1 += channels, x2 += channels) {
        fv_real sum = 0;
        for (size_t c = 0; c < channels; c++) sum += x1[c] * x2[c];
        y[p] = scale * sum;
    }
}

static void map_squares_scalar(const fv_real *x1, const fv_real *x2, fv_real *y, size_t channels, size_t pixels,
                               fv_real scale) {
    (void)x2;
    map_dot_scalar(x1, x1, y, channels, pixels, scale);
}

static void shift_scalar(const fv_real *x, const fv_real *a, fv_real *y, size_t channels, size_t pixels) {
    for (size_t i = 0; i < pixels * channels; i++) y[i] = x[i] - a[i / channels];
}

static void scale_scalar(const fv_real *x1, const fv_real *a, const fv_real *x2, const fv_real *b, fv_real *y,
                         size_t channels, size_t pixels) {
    for (size_t i = 0; i < pixels * channels; i++)
        y[i] = x2 ? x1[i] * a[i / channels] + x2[i] * b[i / channels] : x1[i] * a[i / channels];
}

/* ---- division by max(c, sigma) ---- */

static fv_real c_at(const fv_sigma *s, const fv_real *c, size_t i) { return c[s->single ? 0 : i % s->channels]; }

static fv_real largest_at(const fv_sigma *s, size_t i) {
    const fv_real sigma = s->sigma[i], c = c_at(s, s->c, i);
    return c > sigma || c != c ? c : sigma;
}

static void divide_scalar(const fv_sigma *s, const fv_real *x, fv_real *y) {
    for (size_t i = 0; i < s->pixels * s->channels; i++) {
        const fv_real largest = largest_at(s, i);
        y[i] = largest == 0 ? 0 : (x ? x[i] : 1) / largest;
    }
}

static void divide_add_scalar(const fv_sigma *s, const fv_real *x1, const fv_real *x2, const fv_real *e, fv_real *y) {
    for (size_t i = 0; i < s->pixels * s->channels; i++) {
        const fv_real largest = largest_at(s, i);
        y[i] = largest == 0 ? 0 : x1[i] / largest + x2[i] * e[i];
    }
}

static void below_dot_scalar(const fv_sigma *s, const fv_real *x1, const fv_real *x2, fv_real *y) {
    for (size_t c = 0; c < s->channels; c++) {
        fv_real sum = 0;
        for (size_t i = c; i < s->pixels * s->channels; i += s->channels)
            if (!(s->sigma[i] > c_at(s, s->c, i))) sum += x2 ? x1[i] * x2[i] : x1[i];
        y[c] = sum;
    }
}

static void sigma_grad_scalar(const fv_sigma *s, const fv_real *x1, const fv_real *x2, const fv_real *k, fv_real scale,
                              fv_real *y) {
    for (size_t i = 0; i < s->pixels * s->channels; i++) {
        const fv_real sigma = s->sigma[i], product = x2 ? x1[i] * x2[i] : x1[i];
        const fv_real above = sigma > c_at(s, s->c, i) ? product / sigma / sigma : 0;
        y[i] = sigma == 0 ? 0 : scale * ((c_at(s, k, i) - above) / sigma);
    }
}

/* ---- brightness ---- */

static fv_real power(fv_real x, fv_real mu) {
    if (mu == 1) return 1 / x;
    if (mu == (fv_real)0.5) return 1 / fv_sqrt(x);
    if (mu == (fv_real)0.75) return 1 / (fv_sqrt(x) * fv_sqrt(fv_sqrt(x)));
    return fv_exp(-mu * fv_log(x));
}

static void power_scalar(const fv_brightness *d, const fv_real *q, fv_real *a, size_t n) {
    for (size_t i = 0; i < n; i++) a[i] = power(d->kappa + q[i], d->mu);
}

static void power_grad_scalar(const fv_brightness *d, const fv_real *q, const fv_real *s, fv_real *a, fv_real *b,
                              size_t n) {
    for (size_t i = 0; i < n; i++) {
        a[i] = power(d->kappa + q[i], d->mu);
        b[i] = -2 * d->lambda * d->mu * s[i] * (a[i] / (d->kappa + q[i]));
    }
}

static fv_real neighbours(const fv_real *x, int32_t c, int32_t before, int32_t after, int32_t channels, bool squares) {
    fv_real sum = 0;
    for (int32_t k = c - before; k <= c + after; k++)
        if (k >= 0 && k < channels) sum += squares ? x[k] * x[k] : x[k];
    return sum;
}

static void local_scalar(const fv_brightness *d, const fv_real *x, fv_real *y, fv_range pixels, void *scratch) {
    (void)scratch;
    for (size_t p = pixels.begin; p < pixels.end; p++) {
        const size_t at = p * (size_t)d->channels;
        for (int32_t c = 0; c < d->channels; c++) {
            const fv_real q = d->lambda * neighbours(x + at, c, d->before, d->after, d->channels, true);
            y[at + (size_t)c] = x[at + (size_t)c] * power(d->kappa + q, d->mu);
        }
    }
}

static void local_grad_scalar(const fv_brightness *d, const fv_real *x, const fv_real *dy, fv_real *dx, fv_range pixels,
                              void *scratch) {
    fv_real *b = scratch;
    for (size_t p = pixels.begin; p < pixels.end; p++) {
        const size_t at = p * (size_t)d->channels;
        for (int32_t c = 0; c < d->channels; c++) {
            const size_t i = at + (size_t)c;
            const fv_real q = d->kappa + d->lambda * neighbours(x + at, c, d->before, d->after, d->channels, true);
            const fv_real a = power(q, d->mu);
            b[c] = -2 * d->lambda * d->mu * (dy[i] * x[i]) * (a / q);
            dx[i] = dy[i] * a;
        }
        for (int32_t c = 0; c < d->channels; c++)
            dx[at + (size_t)c] += x[at + (size_t)c] * neighbours(b, c, d->after, d->before, d->channels, false);
    }
}

void fv_contrast_weights(int32_t window, fv_real sigma, fv_real *weight) {
    for (int32_t i = 0; i < window; i++) {
        const fv_real u = (fv_real)(i - (window - 1) / 2) / sigma;
        weight[i] = fv_exp(-(u * u) / 2);
    }
}

void fv_contrast_init_scalar(fv_contrast_kernels *k) {
    *k = (fv_contrast_kernels){
        .blur = {blur_plain_scalar, blur_subtract_scalar, blur_root_scalar, blur_sigma_scalar},
        .sum = {map_sum_scalar, map_squares_scalar, map_dot_scalar},
        .shift = shift_scalar,
        .scale = scale_scalar,
        .divide = divide_scalar,
        .divide_add = divide_add_scalar,
        .below_dot = below_dot_scalar,
        .sigma_grad = sigma_grad_scalar,
        .power = power_scalar,
        .power_grad = power_grad_scalar,
        .local = local_scalar,
        .local_grad = local_grad_scalar,
    };
}
