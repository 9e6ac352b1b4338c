/* Contrast normalization: the contract's formulas in double, errors carried along (engine.h). */
#include "kernels/check/engine.h"

/* ---- blur ---- */

typedef struct blur_case {
    fv_contrast_desc d;
    fv_blur kind;
    const float *x;
    fv_range rows;
    size_t width;
} blur_case;

/* Weights and norms: small integers and 1 in an exact case. */
static void draw_axis(fv_case *c, fv_contrast_desc *d, int a) {
    fv_check_random *r = &c->random;
    if (c->given) {
        d->in[a] = c->given->contrast.in[a];
        d->before[a] = c->given->contrast.before[a];
        d->taps[a] = c->given->contrast.taps[a];
    } else {
        d->in[a] = (int32_t)fv_check_length(r, 14);
        const int32_t window = check_between(r, 1, 9);
        d->before[a] = (int32_t)fv_min_size(check_below(r, (size_t)window), (size_t)d->in[a] - 1);
        const int32_t after =
            (int32_t)fv_min_size((size_t)window - 1 - check_below(r, (size_t)window), (size_t)d->in[a] - 1);
        d->taps[a] = d->before[a] + after + 1;
    }
    float *weight = fv_check_place(c, "weight", (size_t)d->taps[a] * sizeof *weight, sizeof *weight, true);
    float *norm = fv_check_place(c, "norm", (size_t)d->in[a] * sizeof *norm, sizeof *norm, true);
    for (int32_t i = 0; i < d->taps[a]; i++)
        weight[i] = c->values == FV_VALUES_INTEGER ? (float)check_between(r, 1, 3) : check_uniform(r, 0.1f, 1);
    for (int32_t i = 0; i < d->in[a]; i++) norm[i] = c->values == FV_VALUES_INTEGER ? 1 : check_uniform(r, 0.1f, 1);
    d->weight[a] = weight;
    d->norm[a] = norm;
}

/* Sums of squares have no sign to lose. */
static void only_positive(float *x, size_t n) {
    for (size_t i = 0; i < n; i++) x[i] = fabsf(x[i]);
}

static blur_case draw_blur(fv_case *c) {
    blur_case b = {.kind = (fv_blur)c->argument};
    if (b.kind == FV_BLUR_ROOT || b.kind == FV_BLUR_SIGMA) fv_check_inexact(c);
    for (int a = 0; a < 2; a++) draw_axis(c, &b.d, a);
    b.d.channels = c->given ? c->given->contrast.channels : (int32_t)fv_check_length(&c->random, 40);
    b.d.transposed = check_chance(&c->random, 0.5);
    b.width = (size_t)(b.d.in[1] * b.d.channels);
    b.rows = (fv_range){0, (size_t)b.d.in[0]};
    b.d.ring = b.d.in[0];
    if (check_chance(&c->random, 0.4)) { /* a row or two, from the rows that their taps reach */
        b.rows.begin = check_below(&c->random, (size_t)b.d.in[0]);
        b.rows.end = fv_min_size(b.rows.begin + 1 + check_below(&c->random, 2), (size_t)b.d.in[0]);
        const size_t reached = (size_t)b.d.taps[0] + b.rows.end - b.rows.begin - 1;
        b.d.ring = (int32_t)fv_min_size(reached + check_below(&c->random, 2), (size_t)b.d.in[0]);
    }
    float *x = fv_check_input(c, "x", (size_t)b.d.ring * b.width);
    if (b.kind == FV_BLUR_ROOT) only_positive(x, (size_t)b.d.ring * b.width);
    b.x = x;
    fv_check_shape(c, "%dx%d C%d taps %dx%d before %d,%d rows %zu-%zu of %d%s", b.d.in[0], b.d.in[1], b.d.channels,
                   b.d.taps[0], b.d.taps[1], b.d.before[0], b.d.before[1], b.rows.begin, b.rows.end, b.d.ring,
                   b.d.transposed ? " transposed" : "");
    fv_check_freeze(c);
    return b;
}

/* One pass along axis a for place `at`; value i steps from from[0]. */
static fv_approx pass(const fv_case *c, const blur_case *b, int a, int32_t at, const fv_approx *from,
                      const size_t *place) {
    const fv_contrast_desc *d = &b->d;
    fv_approx_sum sum = {0};
    for (int32_t t = 0; t < d->taps[a]; t++) {
        const int32_t k = at + t - d->before[a];
        if (k < 0 || k >= d->in[a]) continue;
        const fv_approx w = approx_mul(approx(d->weight[a][t]), approx(d->norm[a][d->transposed ? k : at]), c->eps);
        approx_sum_add(&sum, approx_mul(w, from[place[k]], c->eps));
    }
    return approx_sum(&sum, c->eps);
}

static void expect_row(const fv_case *c, const blur_case *b, size_t row, fv_approx *x, fv_approx *column, size_t *place,
                       fv_approx *y) {
    const fv_contrast_desc *d = &b->d;
    for (size_t i = 0; i < (size_t)d->ring * b->width; i++)
        x[i] = b->kind == FV_BLUR_SIGMA ? approx_mul(approx(b->x[i]), approx(b->x[i]), c->eps) : approx(b->x[i]);
    for (size_t i = 0; i < b->width; i++) {
        for (int32_t k = 0; k < d->in[0]; k++) place[k] = (size_t)(k % d->ring) * b->width + i;
        column[i] = pass(c, b, 0, (int32_t)row, x, place);
    }
    for (size_t i = 0; i < b->width; i++) {
        const size_t channels = (size_t)d->channels;
        for (int32_t k = 0; k < d->in[1]; k++) place[k] = (size_t)k * channels + i % channels;
        y[i] = pass(c, b, 1, (int32_t)(i / channels), column, place);
        if (b->kind == FV_BLUR_SUBTRACT)
            y[i] = approx_sub(approx(b->x[row % (size_t)d->ring * b->width + i]), y[i], c->eps);
        if (b->kind == FV_BLUR_ROOT || b->kind == FV_BLUR_SIGMA) y[i] = approx_sqrt(y[i], c->eps);
    }
}

void fv_check_blur(fv_case *c) {
    const blur_case b = draw_blur(c);
    const size_t rows = b.rows.end - b.rows.begin, n = rows * b.width;
    fv_approx *x = fv_check_plain(c, (size_t)b.d.ring * b.width * sizeof *x),
              *column = fv_check_plain(c, b.width * sizeof *x);
    size_t *place = fv_check_plain(c, (size_t)(b.d.in[0] + b.d.in[1]) * sizeof *place);
    fv_approx *expected = fv_check_expected(c, n);
    for (size_t r = 0; r < rows; r++) expect_row(c, &b, b.rows.begin + r, x, column, place, expected + r * b.width);
    float *y[3];
    void *scratch = fv_check_scratch(c, fv_blur_scratch(&b.d));
    for (int i = 0; i < 3; i++) y[i] = fv_check_output(c, "y", n);
    c->candidate->contrast.blur[b.kind](&b.d, b.x, y[0], b.rows, scratch);
    c->reference->contrast.blur[b.kind](&b.d, b.x, y[1], b.rows, scratch);
    fv_check_compare(c, "y", y[0], y[1], expected, n);
    const fv_check_cut cut = fv_check_cut_range(c, b.rows);
    for (size_t i = 0; i < cut.parts; i++)
        c->candidate->contrast.blur[b.kind](&b.d, b.x, y[2] + (cut.part[i].begin - b.rows.begin) * b.width, cut.part[i],
                                            scratch);
    fv_check_same_bits(c, "y cut into ranges", y[2], y[0], n);
}

/* ---- over the maps of a pixel ---- */

void fv_check_map_sum(fv_case *c) {
    const fv_map_sum kind = (fv_map_sum)c->argument;
    const size_t channels = fv_check_size(c, 0, 90), pixels = fv_check_size(c, 1, 30),
                 n = channels * pixels;
    const float *x1 = fv_check_input(c, "x1", n), *x2 = kind == FV_MAP_DOT ? fv_check_input(c, "x2", n) : NULL;
    const float scale = c->values == FV_VALUES_INTEGER ? 2 : check_uniform(&c->random, 0.01f, 2);
    fv_check_shape(c, "pixels %zu channels %zu", pixels, channels);
    fv_check_freeze(c);
    fv_approx *expected = fv_check_expected(c, pixels);
    for (size_t p = 0; p < pixels; p++) {
        fv_approx_sum sum = {0};
        for (size_t i = p * channels; i < (p + 1) * channels; i++)
            approx_sum_add(&sum, approx((double)x1[i] * (kind == FV_MAP_SUM       ? 1
                                                         : kind == FV_MAP_SQUARES ? x1[i]
                                                                                  : x2[i])));
        expected[p] = approx_mul(approx_sum(&sum, c->eps), approx(scale), c->eps);
    }
    float *y[3];
    for (int i = 0; i < 3; i++) y[i] = fv_check_output(c, "y", pixels);
    c->candidate->contrast.sum[kind](x1, x2, y[0], channels, pixels, scale);
    c->reference->contrast.sum[kind](x1, x2, y[1], channels, pixels, scale);
    fv_check_compare(c, "y", y[0], y[1], expected, pixels);
    const fv_check_cut cut = fv_check_cut_range(c, (fv_range){0, pixels});
    for (size_t i = 0; i < cut.parts; i++) {
        const fv_range p = cut.part[i];
        c->candidate->contrast.sum[kind](x1 + p.begin * channels, x2 ? x2 + p.begin * channels : NULL, y[2] + p.begin,
                                         channels, p.end - p.begin, scale);
    }
    fv_check_same_bits(c, "y cut into ranges", y[2], y[0], pixels);
}

/* argument 0: shift, 1: scale. */
void fv_check_map_apply(fv_case *c) {
    const size_t channels = fv_check_size(c, 0, 90), pixels = fv_check_size(c, 1, 30),
                 n = channels * pixels;
    const bool moves = c->argument == 0, in_place = check_chance(&c->random, 0.3);
    const float *x1 = fv_check_input(c, "x1", n), *a = fv_check_input(c, "a", pixels);
    const bool two = !moves && check_chance(&c->random, 0.5);
    const float *x2 = two ? fv_check_input(c, "x2", n) : NULL, *b = two ? fv_check_input(c, "b", pixels) : NULL;
    fv_check_shape(c, "pixels %zu channels %zu%s%s", pixels, channels, two ? " two" : "", in_place ? " in place" : "");
    fv_check_freeze(c);
    fv_approx *expected = fv_check_expected(c, n);
    for (size_t i = 0; i < n; i++) {
        const fv_approx x = approx(x1[i]), by = approx(a[i / channels]);
        expected[i] = moves ? approx_sub(x, by, c->eps) : approx_mul(x, by, c->eps);
        if (two)
            expected[i] = approx_add(expected[i], approx_mul(approx(x2[i]), approx(b[i / channels]), c->eps), c->eps);
    }
    float *y[2];
    for (int i = 0; i < 2; i++) {
        const fv_contrast_kernels *k = i ? &c->reference->contrast : &c->candidate->contrast;
        y[i] = in_place ? fv_check_copy(c, "y", x1, n) : fv_check_output(c, "y", n);
        if (moves)
            k->shift(in_place ? y[i] : x1, a, y[i], channels, pixels);
        else
            k->scale(in_place ? y[i] : x1, a, x2, b, y[i], channels, pixels);
    }
    fv_check_compare(c, "y", y[0], y[1], expected, n);
}

/* ---- division by max(c, sigma) ---- */

typedef struct sigma_case {
    fv_sigma s;
    const float *x1, *x2, *e;
    size_t n;
} sigma_case;

/* Spreads as they come, with zeros and ties among them. Their quotients are in range. */
static sigma_case draw_sigma(fv_case *c, bool second, bool optional) {
    fv_check_random *r = &c->random;
    if (c->values == FV_VALUES_NASTY) c->values = FV_VALUES_FLOAT;
    fv_check_inexact(c);
    sigma_case k = {
        .s = {.channels = fv_check_size(c, 0, 60), .pixels = fv_check_size(c, 1, 12), .single = check_chance(r, 0.4)}};
    k.n = k.s.channels * k.s.pixels;
    const size_t means = k.s.single ? 1 : k.s.channels;
    float *sigma = fv_check_input(c, "sigma", k.n), *mean = fv_check_input(c, "c", means);
    for (size_t i = 0; i < k.n; i++) sigma[i] = fabsf(sigma[i]) < 0.01f || check_chance(r, 0.1) ? 0 : fabsf(sigma[i]);
    for (size_t i = 0; i < means; i++) {
        mean[i] = fabsf(mean[i]) < 0.01f || check_chance(r, 0.2) ? 0 : fabsf(mean[i]);
        if (check_chance(r, 0.2)) mean[i] = sigma[i]; /* a tie */
    }
    k.s.sigma = sigma;
    k.s.c = mean;
    k.x1 = fv_check_input(c, "x1", k.n);
    k.x2 = second && !(optional && check_chance(r, 0.4)) ? fv_check_input(c, "x2", k.n) : NULL;
    return k;
}

static void begin_sigma(fv_case *c, const sigma_case *k) {
    fv_check_shape(c, "pixels %zu channels %zu%s%s", k->s.pixels, k->s.channels, k->s.single ? " single" : "",
                   k->x2 ? "" : " one");
    fv_check_freeze(c);
}

static float mean_at(const sigma_case *k, const float *c, size_t i) { return c[k->s.single ? 0 : i % k->s.channels]; }

static float largest_at(const sigma_case *k, size_t i) {
    const float sigma = k->s.sigma[i], c = mean_at(k, k->s.c, i);
    return c != c || c > sigma ? c : sigma;
}

void fv_check_divide(fv_case *c) {
    sigma_case k = draw_sigma(c, false, false);
    if (check_chance(&c->random, 0.3)) k.x1 = NULL;
    begin_sigma(c, &k);
    fv_approx *expected = fv_check_expected(c, k.n);
    for (size_t i = 0; i < k.n; i++) {
        const float largest = largest_at(&k, i);
        expected[i] = largest == 0 ? approx(0) : approx_div(approx(k.x1 ? k.x1[i] : 1), approx(largest), c->eps);
    }
    float *y = fv_check_output(c, "y", k.n), *scalar = fv_check_output(c, "y", k.n);
    c->candidate->contrast.divide(&k.s, k.x1, y);
    c->reference->contrast.divide(&k.s, k.x1, scalar);
    fv_check_compare(c, "y", y, scalar, expected, k.n);
}

void fv_check_divide_add(fv_case *c) {
    sigma_case k = draw_sigma(c, true, false);
    k.e = fv_check_input(c, "e", k.n);
    begin_sigma(c, &k);
    fv_approx *expected = fv_check_expected(c, k.n);
    for (size_t i = 0; i < k.n; i++) {
        const float largest = largest_at(&k, i);
        const fv_approx product = approx_mul(approx(k.x2[i]), approx(k.e[i]), c->eps);
        expected[i] = largest == 0 ? approx(0)
                                   : approx_add(approx_div(approx(k.x1[i]), approx(largest), c->eps), product, c->eps);
    }
    float *y = fv_check_output(c, "y", k.n), *scalar = fv_check_output(c, "y", k.n);
    c->candidate->contrast.divide_add(&k.s, k.x1, k.x2, k.e, y);
    c->reference->contrast.divide_add(&k.s, k.x1, k.x2, k.e, scalar);
    fv_check_compare(c, "y", y, scalar, expected, k.n);
}

void fv_check_below_dot(fv_case *c) {
    const sigma_case k = draw_sigma(c, true, true);
    begin_sigma(c, &k);
    fv_approx *expected = fv_check_expected(c, k.s.channels);
    for (size_t m = 0; m < k.s.channels; m++) {
        fv_approx_sum sum = {0};
        for (size_t i = m; i < k.n; i += k.s.channels)
            if (!(k.s.sigma[i] > mean_at(&k, k.s.c, i)))
                approx_sum_add(&sum, approx((double)k.x1[i] * (k.x2 ? k.x2[i] : 1)));
        expected[m] = approx_sum(&sum, c->eps);
    }
    float *y = fv_check_output(c, "y", k.s.channels), *scalar = fv_check_output(c, "y", k.s.channels);
    c->candidate->contrast.below_dot(&k.s, k.x1, k.x2, y);
    c->reference->contrast.below_dot(&k.s, k.x1, k.x2, scalar);
    fv_check_compare(c, "y", y, scalar, expected, k.s.channels);
}

void fv_check_sigma_grad(fv_case *c) {
    const sigma_case k = draw_sigma(c, true, true);
    const float *shift = fv_check_input(c, "k", k.s.single ? 1 : k.s.channels),
                factor = check_uniform(&c->random, 0.1f, 2);
    begin_sigma(c, &k);
    fv_approx *expected = fv_check_expected(c, k.n);
    for (size_t i = 0; i < k.n; i++) {
        const fv_approx sigma = approx(k.s.sigma[i]);
        fv_approx v = k.x2 ? approx_mul(approx(k.x1[i]), approx(k.x2[i]), c->eps) : approx(k.x1[i]);
        v = sigma.value > mean_at(&k, k.s.c, i) ? approx_div(approx_div(v, sigma, c->eps), sigma, c->eps) : approx(0);
        v = approx_div(approx_sub(approx(mean_at(&k, shift, i)), v, c->eps), sigma, c->eps);
        expected[i] = sigma.value == 0 ? approx(0) : approx_mul(v, approx(factor), c->eps);
    }
    float *y = fv_check_output(c, "y", k.n), *scalar = fv_check_output(c, "y", k.n);
    c->candidate->contrast.sigma_grad(&k.s, k.x1, k.x2, shift, factor, y);
    c->reference->contrast.sigma_grad(&k.s, k.x1, k.x2, shift, factor, scalar);
    fv_check_compare(c, "y", y, scalar, expected, k.n);
}

/* ---- brightness ---- */

static fv_brightness draw_brightness(fv_case *c) {
    static const float powers[] = {1, 0.5f, 0.75f, 0};
    fv_check_random *r = &c->random;
    fv_brightness d = {
        .kappa = check_uniform(r, 0.5f, 2), .lambda = check_uniform(r, 1e-4f, 1), .mu = powers[check_below(r, 4)]};
    fv_check_inexact(c);
    if (c->values == FV_VALUES_NASTY) c->values = FV_VALUES_FLOAT;
    if (d.mu == 0) d.mu = check_uniform(r, 0, 2);
    d.channels = (int32_t)fv_check_size(c, 0, 60);
    d.before = (int32_t)fv_min_size(check_below(r, 6), (size_t)d.channels - 1);
    d.after = (int32_t)fv_min_size(check_below(r, 6), (size_t)d.channels - 1);
    return d;
}

/* x^-mu as contrast.h bounds it, for an x with an error; both ways to reach it stay within. */
static fv_approx expect_power(const fv_brightness *d, fv_approx x, double eps) {
    const double mu = d->mu, value = pow(x.value, -mu), own = (1.2 + 1.5 * fabs(mu * log(x.value))) * eps;
    return (fv_approx){value, value * (fmax(own, 3 * eps) + mu * x.error / (x.value - x.error))};
}

/* -2 lambda mu x^(-mu-1). */
static fv_approx expect_slope(const fv_brightness *d, fv_approx x, double eps) {
    const fv_approx f = approx_div(expect_power(d, x, eps), x, eps);
    return approx_mul(f, approx_mul(approx(-2 * (double)d->lambda), approx(d->mu), eps), eps);
}

void fv_check_power(fv_case *c) {
    fv_brightness d = draw_brightness(c);
    const bool both = c->argument == 1;
    const size_t n = fv_check_size(c, 1, 300);
    float *q = fv_check_input(c, "q", n);
    const float *s = both ? fv_check_input(c, "s", n) : NULL;
    only_positive(q, n);
    for (size_t i = 0; i < n; i++) q[i] *= check_chance(&c->random, 0.3) ? 1e6f : 1;
    fv_check_shape(c, "n%zu mu %g", n, (double)d.mu);
    fv_check_freeze(c);
    fv_approx *a = fv_check_expected(c, n), *b = fv_check_expected(c, n);
    for (size_t i = 0; i < n; i++) {
        const fv_approx x = approx_add(approx(d.kappa), approx(q[i]), c->eps);
        a[i] = isinf(x.value) ? approx(d.mu == 0 ? 1 : 0) : expect_power(&d, x, c->eps);
        if (both)
            b[i] = isinf(x.value) ? approx(s[i] - s[i]) : approx_mul(expect_slope(&d, x, c->eps), approx(s[i]), c->eps);
    }
    float *got[2][2];
    for (int i = 0; i < 2; i++) {
        const fv_contrast_kernels *k = i ? &c->reference->contrast : &c->candidate->contrast;
        for (int m = 0; m < (both ? 2 : 1); m++) got[i][m] = fv_check_output(c, m ? "b" : "a", n);
        if (both)
            k->power_grad(&d, q, s, got[i][0], got[i][1], n);
        else
            k->power(&d, q, got[i][0], n);
    }
    fv_check_compare(c, "a", got[0][0], got[1][0], a, n);
    if (both) fv_check_compare(c, "b", got[0][1], got[1][1], b, n);
}

/* kappa + lambda * the squares around channel m of a pixel. */
static fv_approx expect_sum(const fv_case *c, const fv_brightness *d, const float *x, int32_t m) {
    fv_approx_sum sum = {0};
    for (int32_t k = m - d->before; k <= m + d->after; k++)
        if (k >= 0 && k < d->channels) approx_sum_add(&sum, approx((double)x[k] * x[k]));
    return approx_add(approx(d->kappa), approx_mul(approx(d->lambda), approx_sum(&sum, c->eps), c->eps), c->eps);
}

static fv_approx expect_local_grad(const fv_case *c, const fv_brightness *d, const float *x, const float *dy,
                                   int32_t m) {
    fv_approx_sum sum = {0};
    for (int32_t k = m - d->after; k <= m + d->before; k++) {
        if (k < 0 || k >= d->channels) continue;
        const fv_approx slope = expect_slope(d, expect_sum(c, d, x, k), c->eps);
        approx_sum_add(&sum, approx_mul(slope, approx_mul(approx(dy[k]), approx(x[k]), c->eps), c->eps));
    }
    const fv_approx own = approx_mul(approx(dy[m]), expect_power(d, expect_sum(c, d, x, m), c->eps), c->eps);
    return approx_add(own, approx_mul(approx(x[m]), approx_sum(&sum, c->eps), c->eps), c->eps);
}

void fv_check_local(fv_case *c) {
    fv_check_finite_only(c);
    const bool gradient = c->argument == 1;
    const fv_brightness d = draw_brightness(c);
    const size_t channels = (size_t)d.channels, pixels = fv_check_size(c, 1, 12), n = channels * pixels;
    const float *x = fv_check_input(c, "x", n), *dy = gradient ? fv_check_input(c, "dy", n) : NULL;
    fv_check_shape(c, "pixels %zu channels %zu maps %d before, %d after, mu %g", pixels, channels, d.before, d.after,
                   (double)d.mu);
    fv_check_freeze(c);
    fv_approx *expected = fv_check_expected(c, n);
    for (size_t i = 0; i < n; i++) {
        const size_t at = i / channels * channels;
        const int32_t m = (int32_t)(i % channels);
        expected[i] = gradient
                          ? expect_local_grad(c, &d, x + at, dy + at, m)
                          : approx_mul(approx(x[i]), expect_power(&d, expect_sum(c, &d, x + at, m), c->eps), c->eps);
    }
    void *scratch = fv_check_scratch(c, fv_local_scratch(&d));
    float *y[3];
    const fv_check_cut cut = fv_check_cut_range(c, (fv_range){0, pixels});
    for (int i = 0; i < 3; i++) {
        const fv_contrast_kernels *k = i == 1 ? &c->reference->contrast : &c->candidate->contrast;
        y[i] = fv_check_output(c, gradient ? "dx" : "y", n);
        for (size_t part = 0; part < (i == 2 ? cut.parts : 1); part++) {
            const fv_range range = i == 2 ? cut.part[part] : (fv_range){0, pixels};
            if (gradient)
                k->local_grad(&d, x, dy, y[i], range, scratch);
            else
                k->local(&d, x, y[i], range, scratch);
        }
    }
    fv_check_compare(c, "y", y[0], y[1], expected, n);
    fv_check_same_bits(c, "y cut into ranges", y[2], y[0], n);
}
