/* Contrast normalization over a vector wrapper; included by (isa)/contrast_(isa).c after vec_(isa).h. Rows are runs, so
 * a blur has one tail a row whatever the channels. */
#include "kernels/vec_math.h"

#include <string.h>

#include "kernels/brightness_body.h"

/* ---- blur ---- */

enum { BLUR_VECTORS = 8 }; /* chains of multiply-adds side by side: two a cycle, each four cycles after its last */

typedef struct blur_plan {
    const fv_contrast_desc *d;
    float *padded[2], *norm; /* two rows with zeros on both sides; norm[1] of every value of a row */
    size_t width;            /* values of a row */
    /* Taps along y of one row, or of two below each other, which share most of what they read. */
    const float **row;
    float *weight[2]; /* times the norm along y */
    size_t taps;
    bool first_alone, last_alone; /* the first tap is the upper row's alone, the last one the lower's */
} blur_plan;

static inline blur_plan plan_blur(const fv_contrast_desc *d, void *scratch) {
    const size_t channels = (size_t)d->channels, taps = (size_t)d->taps[0];
    blur_plan p = {.d = d, .width = (size_t)d->in[1] * channels};
    const size_t padded = fv_round_up(fv_blur_padded(d), 16), width = fv_round_up(p.width + FV_CONTRAST_SPARE, 16);
    p.padded[0] = scratch;
    p.padded[1] = p.padded[0] + padded;
    p.norm = p.padded[1] + padded;
    p.row = (const float **)(void *)(p.norm + width);
    p.weight[0] = (float *)(void *)(p.row + taps + 1);
    p.weight[1] = p.weight[0] + taps + 1;
    memset(scratch, 0, 2 * padded * sizeof(float));
    for (size_t x = 0, i = 0; x < (size_t)d->in[1]; x++)
        for (size_t c = 0; c < channels; c++) p.norm[i++] = d->norm[1][x];
    memset(p.norm + p.width, 0, FV_CONTRAST_SPARE * sizeof *p.norm);
    return p;
}

/* The taps of row r, and with `pair` of row r + 1. */
static inline void plan_taps(blur_plan *p, const float *x, int32_t r, bool pair) {
    const fv_contrast_desc *d = p->d;
    p->taps = 0;
    p->first_alone = p->last_alone = false;
    for (int32_t t = 0; t < d->taps[0] + pair; t++) {
        const int32_t row = r + t - d->before[0];
        if (row < 0 || row >= d->in[0]) continue;
        const bool upper = t < d->taps[0], lower = pair && t > 0;
        if (upper) p->weight[0][p->taps] = d->weight[0][t] * d->norm[0][d->transposed ? row : r];
        if (lower) p->weight[1][p->taps] = d->weight[0][t - 1] * d->norm[0][d->transposed ? row : r + 1];
        if (pair && !lower) p->first_alone = true;
        if (!upper) p->last_alone = true;
        p->row[p->taps++] = x + (size_t)row % (size_t)d->ring * p->width;
    }
}

FV_ALWAYS_INLINE void add_tap(const blur_plan *p, size_t t, size_t i, vf s[BLUR_VECTORS], const size_t vectors,
                              size_t n, const bool upper, const bool lower, const bool squares) {
    const float *x = p->row[t] + i;
    const vf w = v_set(upper ? p->weight[0][t] : 0), w_lower = v_set(lower ? p->weight[1][t] : 0);
    for (size_t k = 0; k < vectors; k++) {
        const vf read = vectors == 1 ? v_load_next(x, n) : v_load(x + k * VW), v = squares ? v_mul(read, read) : read;
        if (upper) s[k] = v_fma(v, w, s[k]);
        if (lower) s[BLUR_VECTORS / 2 + k] = v_fma(v, w_lower, s[BLUR_VECTORS / 2 + k]);
    }
}

/* So many vectors of the run from i on, n values of the last. */
FV_ALWAYS_INLINE void down(const blur_plan *p, size_t i, const size_t vectors, size_t n, const bool pair,
                           const bool squares) {
    vf s[BLUR_VECTORS];
    for (size_t k = 0; k < BLUR_VECTORS; k++) s[k] = v_zero();
    size_t t = 0, end = p->taps;
    if (pair && p->first_alone) add_tap(p, t++, i, s, vectors, n, true, false, squares);
    if (pair && p->last_alone) end--;
    for (; t < end; t++) add_tap(p, t, i, s, vectors, n, true, pair, squares);
    if (pair && p->last_alone) add_tap(p, t, i, s, vectors, n, false, true, squares);
    const size_t to = (size_t)p->d->before[1] * (size_t)p->d->channels + i;
    for (size_t r = 0; r < (pair ? 2 : 1); r++)
        for (size_t k = 0; k < vectors; k++) {
            const vf sum = s[r * (BLUR_VECTORS / 2) + k];
            v_store(p->padded[r] + to + k * VW, p->d->transposed ? v_mul(sum, v_load(p->norm + i + k * VW)) : sum);
        }
}

FV_ALWAYS_INLINE void down_row(const blur_plan *p, const bool pair, const bool squares) {
    const size_t vectors = pair ? BLUR_VECTORS / 2 : BLUR_VECTORS;
    size_t i = 0;
    for (; i + vectors * VW <= p->width; i += vectors * VW) down(p, i, vectors, VW, pair, squares);
    for (; i < p->width; i += VW) down(p, i, 1, p->width - i, pair, squares);
}

FV_ALWAYS_INLINE void along(const blur_plan *p, const float *padded, const float *x, float *y, size_t i,
                            const size_t vectors, size_t n, const fv_blur kind) {
    vf s[BLUR_VECTORS];
    for (size_t k = 0; k < vectors; k++) s[k] = v_zero();
    const float *from = padded + i;
    for (int32_t t = 0; t < p->d->taps[1]; t++, from += p->d->channels) {
        const vf w = v_set(p->d->weight[1][t]);
        for (size_t k = 0; k < vectors; k++) s[k] = v_fma(v_load(from + k * VW), w, s[k]);
    }
    for (size_t k = 0; k < vectors; k++) {
        const size_t left = vectors == 1 ? n : VW, at = i + k * VW;
        if (!p->d->transposed) s[k] = v_mul(s[k], v_load(p->norm + at));
        if (kind == FV_BLUR_SUBTRACT) s[k] = v_sub(v_load_next(x + at, left), s[k]);
        if (kind == FV_BLUR_ROOT || kind == FV_BLUR_SIGMA) s[k] = v_sqrt(s[k]);
        v_store_next(y + at, s[k], left);
    }
}

FV_ALWAYS_INLINE void along_row(const blur_plan *p, const float *padded, const float *x, float *y, const fv_blur kind) {
    size_t i = 0;
    for (; i + BLUR_VECTORS * VW <= p->width; i += BLUR_VECTORS * VW) along(p, padded, x, y, i, BLUR_VECTORS, VW, kind);
    for (; i < p->width; i += VW) along(p, padded, x, y, i, 1, p->width - i, kind);
}

FV_ALWAYS_INLINE void blur(const fv_contrast_desc *d, const float *x, float *y, fv_range rows, void *scratch,
                           const fv_blur kind) {
    blur_plan p = plan_blur(d, scratch);
    for (size_t r = rows.begin; r < rows.end;) {
        const bool pair = r + 1 < rows.end;
        plan_taps(&p, x, (int32_t)r, pair);
        if (pair)
            down_row(&p, true, kind == FV_BLUR_SIGMA);
        else
            down_row(&p, false, kind == FV_BLUR_SIGMA);
        for (int k = 0; k <= pair; k++, r++, y += p.width)
            along_row(&p, p.padded[k], x + r % (size_t)d->ring * p.width, y, kind);
    }
}

static void blur_plain(const fv_contrast_desc *d, const float *x, float *y, fv_range rows, void *scratch) {
    blur(d, x, y, rows, scratch, FV_BLUR_PLAIN);
}
static void blur_subtract(const fv_contrast_desc *d, const float *x, float *y, fv_range rows, void *scratch) {
    blur(d, x, y, rows, scratch, FV_BLUR_SUBTRACT);
}
static void blur_root(const fv_contrast_desc *d, const float *x, float *y, fv_range rows, void *scratch) {
    blur(d, x, y, rows, scratch, FV_BLUR_ROOT);
}
static void blur_sigma(const fv_contrast_desc *d, const float *x, float *y, fv_range rows, void *scratch) {
    blur(d, x, y, rows, scratch, FV_BLUR_SIGMA);
}

/* ---- over the maps of a pixel ---- */

/* Terms of so many values added to s, or n of them. */
FV_ALWAYS_INLINE vf add_term(const float *x1, const float *x2, size_t n, vf s, const fv_map_sum kind) {
    const vf v = v_load_next(x1, n);
    if (kind == FV_MAP_SUM) return v_add(v, s);
    return v_fma(v, kind == FV_MAP_DOT ? v_load_next(x2, n) : v, s);
}

/* Lanes whose sum is the pixel's: even and odd vectors apart, then together. */
FV_ALWAYS_INLINE vf pixel_lanes(const float *x1, const float *x2, size_t channels, const fv_map_sum kind) {
    vf even = v_zero(), odd = v_zero();
    size_t c = 0;
    for (; c + 2 * VW <= channels; c += 2 * VW) {
        even = add_term(x1 + c, x2 + c, VW, even, kind);
        odd = add_term(x1 + c + VW, x2 + c + VW, VW, odd, kind);
    }
    if (c + VW <= channels) {
        even = add_term(x1 + c, x2 + c, VW, even, kind);
        c += VW;
        if (c < channels) odd = add_term(x1 + c, x2 + c, channels - c, odd, kind);
    } else if (c < channels) {
        even = add_term(x1 + c, x2 + c, channels - c, even, kind);
    }
    return v_add(even, odd);
}

/* A vector of pixels at a time, so that one store takes their sums. channels: known where a pixel is few vectors. */
FV_ALWAYS_INLINE void sum_pixels(const float *x1, const float *x2, float *y, const size_t channels, size_t pixels,
                                 float scale, const fv_map_sum kind) {
    const vf by = v_set(scale);
    const size_t step = kind == FV_MAP_DOT ? channels : 0;
    vf rows[VW];
    size_t p = 0;
    for (; p + VW <= pixels; p += VW, x1 += VW * channels, x2 += VW * step) {
        for (size_t k = 0; k < VW; k++) rows[k] = pixel_lanes(x1 + k * channels, x2 + k * step, channels, kind);
        v_store(y + p, v_mul(by, v_sums(rows)));
    }
    if (p == pixels) return;
    for (size_t k = 0; k < VW; k++)
        rows[k] = k < pixels - p ? pixel_lanes(x1 + k * channels, x2 + k * step, channels, kind) : v_zero();
    v_store_part(y + p, v_mul(by, v_sums(rows)), pixels - p);
}

FV_ALWAYS_INLINE void sum_over_maps(const float *x1, const float *x2, float *y, size_t channels, size_t pixels,
                                    float scale, const fv_map_sum kind) {
    for (size_t i = 0; i < pixels && channels == 1; i += VW) { /* nothing to add up */
        const vf v = v_load_next(x1 + i, pixels - i);
        const vf w = kind == FV_MAP_DOT ? v_load_next(x2 + i, pixels - i) : kind == FV_MAP_SQUARES ? v : v_set(1);
        v_store_next(y + i, v_mul(v_set(scale), v_mul(v, w)), pixels - i);
    }
    if (channels == 1) return;
    if (channels == 2 * VW)
        sum_pixels(x1, x2, y, 2 * VW, pixels, scale, kind);
    else if (channels == 4 * VW)
        sum_pixels(x1, x2, y, 4 * VW, pixels, scale, kind);
    else
        sum_pixels(x1, x2, y, channels, pixels, scale, kind);
}

static void map_sum(const float *x1, const float *x2, float *y, size_t channels, size_t pixels, float scale) {
    (void)x2;
    sum_over_maps(x1, x1, y, channels, pixels, scale, FV_MAP_SUM);
}
static void map_squares(const float *x1, const float *x2, float *y, size_t channels, size_t pixels, float scale) {
    (void)x2;
    sum_over_maps(x1, x1, y, channels, pixels, scale, FV_MAP_SQUARES);
}
static void map_dot(const float *x1, const float *x2, float *y, size_t channels, size_t pixels, float scale) {
    sum_over_maps(x1, x2, y, channels, pixels, scale, FV_MAP_DOT);
}

static void shift(const float *x, const float *a, float *y, size_t channels, size_t pixels) {
    for (size_t i = 0; i < pixels && channels == 1; i += VW)
        v_store_next(y + i, v_sub(v_load_next(x + i, pixels - i), v_load_next(a + i, pixels - i)), pixels - i);
    for (size_t p = 0; p < pixels && channels > 1; p++, x += channels, y += channels) {
        const vf by = v_set(a[p]);
        for (size_t c = 0; c < channels; c += VW)
            v_store_next(y + c, v_sub(v_load_next(x + c, channels - c), by), channels - c);
    }
}

FV_ALWAYS_INLINE void scale_with(const float *x1, const float *a, const float *x2, const float *b, float *y,
                                 size_t channels, size_t pixels, const bool two) {
    for (size_t i = 0; i < pixels && channels == 1; i += VW) {
        const size_t n = pixels - i;
        const vf v = v_mul(v_load_next(x1 + i, n), v_load_next(a + i, n));
        v_store_next(y + i, two ? v_fma(v_load_next(x2 + i, n), v_load_next(b + i, n), v) : v, n);
    }
    for (size_t i = 0; i < pixels * channels && channels > 1; i += channels, a++, b++) {
        const vf by = v_set(*a), second = v_set(two ? *b : 0);
        for (size_t c = i; c < i + channels; c += VW) {
            const size_t n = i + channels - c;
            const vf v = v_mul(v_load_next(x1 + c, n), by);
            v_store_next(y + c, two ? v_fma(v_load_next(x2 + c, n), second, v) : v, n);
        }
    }
}

static void scale(const float *x1, const float *a, const float *x2, const float *b, float *y, size_t channels,
                  size_t pixels) {
    if (x2)
        scale_with(x1, a, x2, b, y, channels, pixels, true);
    else
        scale_with(x1, a, x1, a, y, channels, pixels, false);
}

/* ---- division by max(c, sigma) ---- */

static inline vf c_next(const fv_sigma *s, const float *c, size_t at, size_t n) {
    return s->single ? v_set(c[0]) : v_load_next(c + at, n);
}

static inline vf largest_next(const fv_sigma *s, const float *sigma, size_t at, size_t n) {
    const vf c = c_next(s, s->c, at, n);
    return v_select(v_eq(c, c), v_at_least(v_load_next(sigma + at, n), c), c);
}

static inline vf unless_zero(vf divisor, vf quotient) { return v_select(v_eq(divisor, v_zero()), v_zero(), quotient); }

/* One map by itself has one c, and its pixels lie in a run. */
static inline fv_sigma in_runs(const fv_sigma *s) {
    fv_sigma run = *s;
    if (s->channels == 1) run = (fv_sigma){s->sigma, s->c, true, s->pixels, 1};
    return run;
}

FV_ALWAYS_INLINE void divide_step(const fv_sigma *s, size_t i, size_t c, size_t n, const float *x, float *y,
                                  const bool ones) {
    const vf largest = largest_next(s, s->sigma + (i - c), c, n);
    v_store_next(y + i, unless_zero(largest, v_div(ones ? v_set(1) : v_load_next(x + i, n), largest)), n);
}

FV_ALWAYS_INLINE void divide_with(const fv_sigma *given, const float *x, float *y, const bool ones) {
    const fv_sigma run = in_runs(given), *const s = &run;
    for (size_t i = 0; i < s->pixels * s->channels; i += s->channels) {
        size_t c = 0;
        for (; c + VW <= s->channels; c += VW) divide_step(s, i + c, c, VW, x, y, ones);
        if (c < s->channels) divide_step(s, i + c, c, s->channels - c, x, y, ones);
    }
}

static void divide(const fv_sigma *s, const float *x, float *y) {
    if (x)
        divide_with(s, x, y, false);
    else
        divide_with(s, y, y, true);
}

static void divide_add(const fv_sigma *given, const float *x1, const float *x2, const float *e, float *y) {
    const fv_sigma run = in_runs(given), *const s = &run;
    for (size_t i = 0; i < s->pixels * s->channels; i += s->channels)
        for (size_t c = 0; c < s->channels; c += VW) {
            const size_t n = s->channels - c, at = i + c;
            const vf largest = largest_next(s, s->sigma + i, c, n);
            const vf first = v_div(v_load_next(x1 + at, n), largest);
            v_store_next(y + at, unless_zero(largest, v_fma(v_load_next(x2 + at, n), v_load_next(e + at, n), first)),
                         n);
        }
}

/* sum, and where sigma is not above the mean x1 * x2 more. */
FV_ALWAYS_INLINE vf below_more(const float *sigma, const float *x1, const float *x2, vf mean, vf sum, size_t n) {
    const vf v = v_load_next(x1, n), more = x2 ? v_fma(v, v_load_next(x2, n), sum) : v_add(v, sum);
    return v_select(v_gt(v_load_next(sigma, n), mean), sum, more);
}

enum { BELOW_SUMS = 4, BELOW_BLOCK = 8 }; /* sums of a lane side by side; pixels at a time, their lines still at hand */

/* Maps of which a vector holds several pixels: sums of each lane, in turns, then of the lanes that are one map's. */
static void below_lanes(const fv_sigma *s, const float *x1, const float *x2, float *y) {
    const size_t n = s->pixels * s->channels;
    float lane[VW];
    for (size_t k = 0; k < VW; k++) lane[k] = s->c[s->single ? 0 : k % s->channels];
    const vf mean = v_load(lane);
    vf sum[BELOW_SUMS];
    for (size_t k = 0; k < BELOW_SUMS; k++) sum[k] = v_zero();
    size_t i = 0;
    for (; i + BELOW_SUMS * VW <= n; i += BELOW_SUMS * VW)
        for (size_t k = 0; k < BELOW_SUMS; k++) {
            const size_t at = i + k * VW;
            sum[k] = below_more(s->sigma + at, x1 + at, x2 ? x2 + at : NULL, mean, sum[k], VW);
        }
    for (; i < n; i += VW) sum[0] = below_more(s->sigma + i, x1 + i, x2 ? x2 + i : NULL, mean, sum[0], n - i);
    v_store(lane, v_add(v_add(sum[0], sum[1]), v_add(sum[2], sum[3])));
    for (size_t c = 0; c < s->channels; c++) {
        y[c] = lane[c];
        for (size_t k = c + s->channels; k < VW; k += s->channels) y[c] += lane[k];
    }
}

static void below_dot(const fv_sigma *given, const float *x1, const float *x2, float *y) {
    const fv_sigma own = *given, *const s = &own; /* stores of vectors may change anything but what is our own */
    if (VW % s->channels == 0 && s->channels < VW) {
        below_lanes(s, x1, x2, y);
        return;
    }
    for (size_t c = 0; c < s->channels; c += VW) v_store_next(y + c, v_zero(), s->channels - c);
    for (size_t p = 0; p < s->pixels; p += BELOW_BLOCK) {
        const size_t begin = p * s->channels, end = fv_min_size(p + BELOW_BLOCK, s->pixels) * s->channels;
        for (size_t c = 0; c < s->channels; c += VW) {
            const size_t n = s->channels - c;
            const vf mean = c_next(s, s->c, c, n);
            vf sum = v_load_next(y + c, n);
            for (size_t i = begin + c; i < end; i += s->channels)
                sum = below_more(s->sigma + i, x1 + i, x2 ? x2 + i : NULL, mean, sum, n);
            v_store_next(y + c, sum, n);
        }
    }
}

/* One quotient: 1 / sigma. */
FV_ALWAYS_INLINE void sigma_grad_step(const fv_sigma *s, const float *x1, const float *x2, const float *k, vf factor,
                                      float *y, size_t i, size_t c, size_t n) {
    const vf sigma = v_load_next(s->sigma + i, n), inverse = v_div(v_set(1), sigma);
    vf v = v_load_next(x1 + i, n);
    if (x2) v = v_mul(v, v_load_next(x2 + i, n));
    v = v_where(v_gt(sigma, c_next(s, s->c, c, n)), v_mul(v_mul(v, inverse), inverse));
    v = v_mul(factor, v_mul(v_sub(c_next(s, k, c, n), v), inverse));
    v_store_next(y + i, unless_zero(sigma, v), n);
}

static void sigma_grad(const fv_sigma *given, const float *x1, const float *x2, const float *k, float factor,
                       float *y) {
    const fv_sigma run = in_runs(given), *const s = &run;
    const vf by = v_set(factor);
    for (size_t i = 0; i < s->pixels * s->channels; i += s->channels) {
        size_t c = 0;
        for (; c + VW <= s->channels; c += VW) sigma_grad_step(s, x1, x2, k, by, y, i + c, c, VW);
        if (c < s->channels) sigma_grad_step(s, x1, x2, k, by, y, i + c, c, s->channels - c);
    }
}

static void init_contrast(fv_contrast_kernels *k) {
    *k = (fv_contrast_kernels){
        .blur = {blur_plain, blur_subtract, blur_root, blur_sigma},
        .sum = {map_sum, map_squares, map_dot},
        .shift = shift,
        .scale = scale,
        .divide = divide,
        .divide_add = divide_add,
        .below_dot = below_dot,
        .sigma_grad = sigma_grad,
        .power = power,
        .power_grad = power_grad,
        .local = local,
        .local_grad = local_grad,
    };
}
