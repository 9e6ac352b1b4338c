/* Normalization: moments against two exact passes in double, joins and maps against their formulas, the clamp's mask decided by
 * the rounded z of the contract. */
#include "kernels/check/engine.h"

typedef struct matrix {
    size_t channels, pixels;
    ptrdiff_t pitch;
} matrix;

static matrix draw_matrix(fv_case *c, size_t most_channels, size_t most_pixels) {
    matrix m = {fv_check_size(c, 0, most_channels), fv_check_size(c, 1, most_pixels), 0};
    m.pitch = (ptrdiff_t)m.channels + check_between(&c->random, 0, 4);
    return m;
}

static size_t size_of(const matrix *m) { return (m->pixels - 1) * (size_t)m->pitch + m->channels; }

/* ---- moments ---- */

/* Of n values the mean is off by at most (n + 4) eps mean|x| in its first sum, and what is left of that after the correction is
 * rounding; m2 by (n + 8) eps D and what the correction term brings, D = M2 + n * (error of the first mean)^2. */
static void expect_moments(const float *x, ptrdiff_t pitch, size_t n, double eps, fv_approx *mean, fv_approx *m2) {
    double sum = 0, magnitude = 0, squares = 0;
    for (size_t p = 0; p < n; p++) {
        sum += (double)x[(ptrdiff_t)p * pitch];
        magnitude += fabs((double)x[(ptrdiff_t)p * pitch]);
    }
    const double count = (double)n, middle = sum / count, first = (count + 4) * eps * magnitude / count + FLT_MIN;
    for (size_t p = 0; p < n; p++)
        squares += ((double)x[(ptrdiff_t)p * pitch] - middle) * ((double)x[(ptrdiff_t)p * pitch] - middle);
    const double spread = squares + count * first * first;
    *mean = (fv_approx){middle, 2 * eps * fabs(middle) + (count + 4) * eps * sqrt(spread / count) + 4 * FLT_MIN};
    *m2 = (fv_approx){squares,
                      (count + 8) * eps * spread + 2 * first * (count + 4) * eps * sqrt(count * spread) + (count + 4) * FLT_MIN};
    if (!isfinite(magnitude)) mean->value = m2->value = NAN;
}

void fv_check_moments(fv_case *c) {
    const matrix m = draw_matrix(c, 120, check_chance(&c->random, 0.05) ? 3000 : 60);
    const float *x = fv_check_input(c, "x", size_of(&m));
    const float shift = check_chance(&c->random, 0.4) ? check_uniform(&c->random, -3000, 3000) : 0; /* mean over deviation */
    for (size_t i = 0; shift != 0 && i < size_of(&m); i++) ((float *)(uintptr_t)x)[i] += shift;
    fv_check_shape(c, "pixels %zu channels %zu pitch %zd shift %g", m.pixels, m.channels, m.pitch, (double)shift);
    fv_check_inexact(c);
    fv_check_freeze(c);
    fv_approx *mean = fv_check_expected(c, m.channels), *m2 = fv_check_expected(c, m.channels);
    for (size_t i = 0; i < m.channels; i++) expect_moments(x + i, m.pitch, m.pixels, c->eps, &mean[i], &m2[i]);
    float *got[3][2];
    for (int k = 0; k < 3; k++)
        for (int j = 0; j < 2; j++) got[k][j] = fv_check_output(c, j ? "m2" : "mean", m.channels);
    c->candidate->norm.moments(x, m.pitch, m.pixels, m.channels, got[0][0], got[0][1]);
    c->reference->norm.moments(x, m.pitch, m.pixels, m.channels, got[1][0], got[1][1]);
    fv_check_compare(c, "mean", got[0][0], got[1][0], mean, m.channels);
    fv_check_compare(c, "m2", got[0][1], got[1][1], m2, m.channels);
    const fv_check_cut cut = fv_check_cut_range(c, (fv_range){0, m.channels});
    for (size_t i = 0; i < cut.parts; i++) {
        const fv_range p = cut.part[i];
        c->candidate->norm.moments(x + p.begin, m.pitch, m.pixels, p.end - p.begin, got[2][0] + p.begin, got[2][1] + p.begin);
    }
    fv_check_same_values(c, "mean by parts of the channels", got[2][0], got[0][0], m.channels);
    fv_check_same_values(c, "m2 by parts of the channels", got[2][1], got[0][1], m.channels);
}

/* The contract's rounding, one channel after the other. */
static void join(const float *mean, const float *m2, ptrdiff_t pitch, size_t parts, size_t count, size_t last, double out[2]) {
    float m = mean[0], s = m2[0];
    for (size_t k = 1; k < parts; k++) {
        const size_t more = k + 1 == parts ? last : count;
        const float share = (float)more / (float)(k * count + more), weight = (float)(k * count) * share;
        const float delta = mean[(ptrdiff_t)k * pitch] - m, step = delta * share, square = delta * delta;
        const float term = square * weight, added = m2[(ptrdiff_t)k * pitch] + term;
        m += step;
        s += added;
    }
    out[0] = (double)m;
    out[1] = (double)s;
}

void fv_check_merge_moments(fv_case *c) {
    fv_check_random *r = &c->random;
    const size_t channels = fv_check_size(c, 0, 100), parts = fv_check_length(r, 9), count = fv_check_length(r, 300);
    const size_t last = 1 + check_below(r, count);
    const ptrdiff_t pitch = 2 * (ptrdiff_t)channels + check_between(r, 0, 3); /* as the moments of ranges lie: means, then sums */
    const size_t size = (parts - 1) * (size_t)pitch + 2 * channels;
    const float *x = fv_check_input(c, "parts", size);
    const bool in_place = check_chance(r, 0.4);
    fv_check_shape(c, "channels %zu parts %zu of %zu, %zu%s", channels, parts, count, last, in_place ? " in place" : "");
    c->same_as_scalar = true;
    fv_check_freeze(c);
    const size_t out = in_place ? size : 2 * channels;
    fv_approx *expected = fv_check_expected(c, out);
    for (size_t i = 0; in_place && i < size; i++) expected[i] = approx(x[i]);
    for (size_t i = 0; i < channels; i++) {
        double values[2];
        join(x + i, x + channels + i, pitch, parts, count, last, values);
        for (size_t j = 0; j < 2; j++) expected[j * channels + i] = approx(values[j]);
    }
    float *y[3];
    for (int k = 0; k < 3; k++) y[k] = in_place ? fv_check_copy(c, "moments", x, size) : fv_check_output(c, "moments", out);
    for (int k = 0; k < 2; k++) {
        const fv_kernels *table = k ? c->reference : c->candidate;
        const float *from = in_place ? y[k] : x;
        table->norm.merge(from, from + channels, pitch, parts, count, last, channels, y[k], y[k] + channels);
    }
    fv_check_compare(c, "moments", y[0], y[1], expected, out);
    const fv_check_cut cut = fv_check_cut_range(c, (fv_range){0, channels});
    for (size_t i = 0; i < cut.parts; i++) {
        const fv_range p = cut.part[i];
        const float *from = (in_place ? y[2] : x) + p.begin;
        c->candidate->norm.merge(from, from + channels, pitch, parts, count, last, p.end - p.begin, y[2] + p.begin,
                                 y[2] + channels + p.begin);
    }
    fv_check_same_values(c, "moments in parts", y[2], y[0], out);
}

void fv_check_combine_moments(fv_case *c) {
    const size_t channels = fv_check_length(&c->random, 300), count = fv_check_length(&c->random, 1000);
    const float *mean = fv_check_input(c, "mean", channels), *m2 = fv_check_input(c, "m2", channels);
    fv_check_shape(c, "channels %zu of %zu", channels, count);
    fv_check_inexact(c);
    fv_check_freeze(c);
    fv_approx_sum sum = {0}, squares = {0};
    for (size_t i = 0; i < channels; i++) approx_sum_add(&sum, approx((double)mean[i]));
    const fv_approx middle = approx_div(approx_sum(&sum, c->eps), approx((double)channels), c->eps);
    for (size_t i = 0; i < channels; i++) {
        const fv_approx d = approx_sub(approx((double)mean[i]), middle, c->eps);
        const fv_approx square = approx_mul(approx((double)count), approx_mul(d, d, c->eps), c->eps);
        approx_sum_add(&squares, approx_add(approx((double)m2[i]), square, c->eps));
    }
    fv_approx *expected = fv_check_expected(c, 2);
    expected[0] = middle;
    expected[1] = approx_sum(&squares, c->eps);
    float *got = fv_check_output(c, "out", 2), *scalar = fv_check_output(c, "out", 2);
    c->candidate->norm.combine(mean, m2, count, channels, got);
    c->reference->norm.combine(mean, m2, count, channels, scalar);
    fv_check_compare(c, "out", got, scalar, expected, 2);
}

/* ---- the map and its gradient ---- */

static fv_norm_map draw_map(fv_case *c, size_t channels) {
    fv_norm_map m = {fv_check_input(c, "mean", channels), fv_check_input(c, "gain", channels),
                     fv_check_input(c, "shift", channels), -INFINITY, INFINITY};
    if (check_chance(&c->random, 0.6)) m.low = check_chance(&c->random, 0.5) ? 0 : -2;
    if (check_chance(&c->random, 0.3)) m.high = check_chance(&c->random, 0.5) ? 6 : 3;
    return m;
}

/* Channels [first, ...) of a map. */
static fv_norm_map map_from(const fv_norm_map *m, size_t first) {
    return (fv_norm_map){m->mean + first, m->gain + first, m->shift + first, m->low, m->high};
}

void fv_check_norm_apply(fv_case *c) {
    const matrix m = draw_matrix(c, 100, 20);
    const fv_norm_map map = draw_map(c, m.channels);
    const bool same = check_chance(&c->random, 0.3);
    const ptrdiff_t y_pitch = same ? m.pitch : (ptrdiff_t)m.channels + check_between(&c->random, 0, 4);
    const size_t y_size = (m.pixels - 1) * (size_t)y_pitch + m.channels;
    const float *x = fv_check_input(c, "x", size_of(&m));
    fv_check_shape(c, "pixels %zu channels %zu pitches %zd, %zd clamp %g, %g%s", m.pixels, m.channels, m.pitch, y_pitch,
                   (double)map.low, (double)map.high, same ? " in place" : "");
    c->same_as_scalar = true;
    fv_check_freeze(c);
    fv_approx *expected = fv_check_expected(c, y_size);
    for (size_t i = 0; same && i < y_size; i++) expected[i] = approx((double)x[i]);
    for (size_t p = 0; p < m.pixels; p++)
        for (size_t i = 0; i < m.channels; i++) {
            const fv_approx product = approx_mul(approx((double)x[p * (size_t)m.pitch + i]), approx((double)map.gain[i]), c->eps);
            fv_approx z = approx_add(product, approx((double)map.shift[i]), c->eps);
            if (z.value < (double)map.low) z.value = (double)map.low;
            if (z.value > (double)map.high) z.value = (double)map.high;
            expected[p * (size_t)y_pitch + i] = z;
        }
    float *y[3];
    for (int k = 0; k < 3; k++) y[k] = same ? fv_check_copy(c, "y", x, y_size) : fv_check_output(c, "y", y_size);
    c->candidate->norm.apply(&map, same ? y[0] : x, m.pitch, y[0], y_pitch, m.channels, m.pixels);
    c->reference->norm.apply(&map, same ? y[1] : x, m.pitch, y[1], y_pitch, m.channels, m.pixels);
    fv_check_compare(c, "y", y[0], y[1], expected, y_size);
    const fv_check_cut cut = fv_check_cut_range(c, (fv_range){0, m.pixels});
    for (size_t i = 0; i < cut.parts; i++) {
        const fv_range p = cut.part[i];
        c->candidate->norm.apply(&map, (same ? y[2] : x) + (ptrdiff_t)p.begin * m.pitch, m.pitch,
                                 y[2] + (ptrdiff_t)p.begin * y_pitch, y_pitch, m.channels, p.end - p.begin);
    }
    fv_check_same_values(c, "y in parts", y[2], y[0], y_size);
}

static float passed(const fv_norm_map *m, float dy, float x, size_t i) {
    const float product = x * m->gain[i], z = product + m->shift[i];
    if (isinf(m->low) && isinf(m->high)) return dy;
    return z > m->low && z < m->high ? dy : 0;
}

void fv_check_norm_grad_sums(fv_case *c) {
    const matrix m = draw_matrix(c, 120, 60);
    const fv_norm_map map = draw_map(c, m.channels);
    const ptrdiff_t dy_pitch = (ptrdiff_t)m.channels + check_between(&c->random, 0, 4);
    const float *x = fv_check_input(c, "x", size_of(&m));
    const float *dy = fv_check_input(c, "dy", (m.pixels - 1) * (size_t)dy_pitch + m.channels);
    fv_check_shape(c, "pixels %zu channels %zu pitches %zd, %zd clamp %g, %g", m.pixels, m.channels, dy_pitch, m.pitch,
                   (double)map.low, (double)map.high);
    fv_check_freeze(c);
    fv_approx *sum = fv_check_expected(c, m.channels), *dot = fv_check_expected(c, m.channels);
    for (size_t i = 0; i < m.channels; i++) {
        fv_approx_sum s = {0}, d = {0};
        for (size_t p = 0; p < m.pixels; p++) {
            const float value = x[p * (size_t)m.pitch + i], g = passed(&map, dy[p * (size_t)dy_pitch + i], value, i);
            approx_sum_add(&s, approx((double)g));
            approx_sum_add(&d, approx_mul(approx((double)g),
                                          approx_sub(approx((double)value), approx((double)map.mean[i]), c->eps), c->eps));
        }
        sum[i] = approx_sum(&s, c->eps);
        dot[i] = approx_sum(&d, c->eps);
    }
    float *got[3][2];
    for (int k = 0; k < 3; k++)
        for (int j = 0; j < 2; j++) got[k][j] = fv_check_output(c, j ? "dot" : "sum", m.channels);
    c->candidate->norm.grad_sums(&map, dy, dy_pitch, x, m.pitch, m.channels, m.pixels, got[0][0], got[0][1]);
    c->reference->norm.grad_sums(&map, dy, dy_pitch, x, m.pitch, m.channels, m.pixels, got[1][0], got[1][1]);
    fv_check_compare(c, "sum", got[0][0], got[1][0], sum, m.channels);
    fv_check_compare(c, "dot", got[0][1], got[1][1], dot, m.channels);
    const fv_check_cut cut = fv_check_cut_range(c, (fv_range){0, m.channels});
    for (size_t i = 0; i < cut.parts; i++) {
        const size_t at = cut.part[i].begin, count = cut.part[i].end - at;
        const fv_norm_map part = map_from(&map, at);
        c->candidate->norm.grad_sums(&part, dy + at, dy_pitch, x + at, m.pitch, count, m.pixels, got[2][0] + at, got[2][1] + at);
    }
    fv_check_same_values(c, "sum by parts of the channels", got[2][0], got[0][0], m.channels);
    fv_check_same_values(c, "dot by parts of the channels", got[2][1], got[0][1], m.channels);
}

void fv_check_norm_grad_input(fv_case *c) {
    const matrix m = draw_matrix(c, 100, 20);
    const fv_norm_map map = draw_map(c, m.channels);
    const float *slope = fv_check_input(c, "slope", m.channels), *offset = fv_check_input(c, "offset", m.channels);
    const bool same = check_chance(&c->random, 0.4);
    const ptrdiff_t dy_pitch = (ptrdiff_t)m.channels + check_between(&c->random, 0, 4);
    const ptrdiff_t dx_pitch = same ? dy_pitch : (ptrdiff_t)m.channels + check_between(&c->random, 0, 4);
    const size_t dx_size = (m.pixels - 1) * (size_t)dx_pitch + m.channels;
    const float *x = fv_check_input(c, "x", size_of(&m));
    const float *dy = fv_check_input(c, "dy", (m.pixels - 1) * (size_t)dy_pitch + m.channels);
    fv_check_shape(c, "pixels %zu channels %zu pitches %zd, %zd, %zd clamp %g, %g%s", m.pixels, m.channels, dy_pitch, m.pitch,
                   dx_pitch, (double)map.low, (double)map.high, same ? " in place" : "");
    c->same_as_scalar = true;
    fv_check_freeze(c);
    fv_approx *expected = fv_check_expected(c, dx_size);
    for (size_t i = 0; same && i < dx_size; i++) expected[i] = approx((double)dy[i]);
    for (size_t p = 0; p < m.pixels; p++)
        for (size_t i = 0; i < m.channels; i++) {
            const float value = x[p * (size_t)m.pitch + i], g = passed(&map, dy[p * (size_t)dy_pitch + i], value, i);
            const fv_approx d = approx_sub(approx((double)value), approx((double)map.mean[i]), c->eps);
            const fv_approx line = approx_add(approx_mul(d, approx((double)slope[i]), c->eps), approx((double)offset[i]), c->eps);
            const fv_approx product = approx_mul(approx((double)g), approx((double)map.gain[i]), c->eps);
            expected[p * (size_t)dx_pitch + i] = approx_add(product, line, c->eps);
        }
    float *dx[3];
    for (int k = 0; k < 3; k++) dx[k] = same ? fv_check_copy(c, "dx", dy, dx_size) : fv_check_output(c, "dx", dx_size);
    c->candidate->norm.grad_input(&map, slope, offset, same ? dx[0] : dy, dy_pitch, x, m.pitch, dx[0], dx_pitch, m.channels,
                                  m.pixels);
    c->reference->norm.grad_input(&map, slope, offset, same ? dx[1] : dy, dy_pitch, x, m.pitch, dx[1], dx_pitch, m.channels,
                                  m.pixels);
    fv_check_compare(c, "dx", dx[0], dx[1], expected, dx_size);
    const fv_check_cut cut = fv_check_cut_range(c, (fv_range){0, m.pixels});
    for (size_t i = 0; i < cut.parts; i++) {
        const fv_range p = cut.part[i];
        const ptrdiff_t at = (ptrdiff_t)p.begin;
        c->candidate->norm.grad_input(&map, slope, offset, (same ? dx[2] : dy) + at * dy_pitch, dy_pitch, x + at * m.pitch,
                                      m.pitch, dx[2] + at * dx_pitch, dx_pitch, m.channels, p.end - p.begin);
    }
    fv_check_same_values(c, "dx in parts", dx[2], dx[0], dx_size);
}
