#include "kernels/kernels.h"
#include "kernels/pool_cursor.h"
#include "kernels/scalar_math.h"

#include <math.h>

static void max_scalar(const fv_pool_desc *d, const fv_real *x, fv_real *y, int32_t *index, fv_range pixels) {
    for (size_t p = pixels.begin; p < pixels.end; p++) {
        const fv_pool_pixel o = fv_pool_out_pixel(d, p);
        fv_real *out = y + fv_pool_offset(d->out_pitch, &o);
        for (int32_t c = 0; c < d->channels; c++) {
            fv_real best = -INFINITY;
            int32_t at = -1;
            for (fv_pool_tap t = fv_pool_first_tap(d, &o); fv_pool_has_tap(&t); fv_pool_next_tap(d, &t)) {
                const fv_real v = x[fv_pool_tap_offset(d, &o, &t) + c];
                if (at < 0 || v > best || (v != v && best == best)) best = v, at = fv_pool_tap_name(d, &o, &t);
            }
            out[c] = best;
            if (index) index[p * (size_t)d->channels + (size_t)c] = at;
        }
    }
}

static void max_grad_scalar(const fv_pool_desc *d, const int32_t *index, const fv_real *dy, fv_real *dx, fv_range pixels) {
    for (size_t p = pixels.begin; p < pixels.end; p++) {
        const fv_pool_pixel i = fv_pool_in_pixel(d, p);
        fv_real *out = dx + fv_pool_offset(d->in_pitch, &i);
        for (int32_t c = 0; c < d->channels; c++) {
            fv_real sum = 0;
            for (fv_pool_window w = fv_pool_first_window(d, &i); fv_pool_has_window(&w); fv_pool_next_window(d, &w)) {
                if (!fv_pool_window_taps(d, &i, &w)) continue;
                const size_t o = fv_pool_window_pixel(d, &i, &w);
                if (index[o * (size_t)d->channels + (size_t)c] == fv_pool_window_name(d, &i, &w))
                    sum += dy[fv_pool_window_offset(d, &i, &w) + c];
            }
            out[c] = sum;
        }
    }
}

static void average_scalar(const fv_pool_desc *d, const fv_real *x, fv_real *y, fv_range pixels) {
    for (size_t p = pixels.begin; p < pixels.end; p++) {
        const fv_pool_pixel o = fv_pool_out_pixel(d, p);
        const fv_real share = 1 / (fv_real)fv_pool_divisor(d, &o);
        fv_real *out = y + fv_pool_offset(d->out_pitch, &o);
        for (int32_t c = 0; c < d->channels; c++) {
            fv_real sum = 0;
            for (fv_pool_tap t = fv_pool_first_tap(d, &o); fv_pool_has_tap(&t); fv_pool_next_tap(d, &t))
                sum += x[fv_pool_tap_offset(d, &o, &t) + c];
            out[c] = sum * share;
        }
    }
}

static void average_grad_scalar(const fv_pool_desc *d, const fv_real *dy, fv_real *dx, fv_range pixels) {
    for (size_t p = pixels.begin; p < pixels.end; p++) {
        const fv_pool_pixel i = fv_pool_in_pixel(d, p);
        fv_real *out = dx + fv_pool_offset(d->in_pitch, &i);
        for (int32_t c = 0; c < d->channels; c++) {
            fv_real sum = 0;
            for (fv_pool_window w = fv_pool_first_window(d, &i); fv_pool_has_window(&w); fv_pool_next_window(d, &w)) {
                if (!fv_pool_window_taps(d, &i, &w)) continue;
                const fv_pool_pixel o = {i.image, {w.at[0], w.at[1], w.at[2]}};
                const fv_real share = 1 / (fv_real)fv_pool_divisor(d, &o);
                sum += dy[fv_pool_window_offset(d, &i, &w) + c] * share;
            }
            out[c] = sum;
        }
    }
}

/* ---- Lp ---- */

/* Of r >= 0. */
static fv_real power(fv_real r, fv_real p) { return r == 0 ? 0 : fv_exp(p * fv_log(r)); }

static fv_real largest(const fv_pool_desc *d, const fv_pool_pixel *o, const fv_real *x) {
    fv_real m = 0;
    for (fv_pool_tap t = fv_pool_first_tap(d, o); fv_pool_has_tap(&t); fv_pool_next_tap(d, &t)) {
        const fv_real v = fv_abs(x[fv_pool_tap_offset(d, o, &t)]);
        if (v > m || (v != v && m == m)) m = v;
    }
    return m;
}

static fv_real norm(const fv_pool_desc *d, const fv_pool_pixel *o, const fv_real *x, fv_real p) {
    const fv_real m = p == 1 || p == 2 ? 1 : largest(d, o, x);
    fv_real sum = 0;
    if (!(m > 0 && m < INFINITY)) return m;
    const fv_real k = fv_scale_of(m);
    for (fv_pool_tap t = fv_pool_first_tap(d, o); fv_pool_has_tap(&t); fv_pool_next_tap(d, &t)) {
        const fv_real v = fv_abs(x[fv_pool_tap_offset(d, o, &t)]);
        sum += p == 1 ? v : p == 2 ? v * v : p == 3 ? v * k * (v * k * (v * k)) : power(v / m, p);
    }
    if (p == 3) return fv_cbrt(sum) / k;
    return p == 1 ? sum : p == 2 ? fv_sqrt(sum) : m * fv_exp(fv_log(sum) / p);
}

static void lp_scalar(const fv_pool_desc *d, fv_real p, const fv_real *x, fv_real *y, fv_range pixels) {
    for (size_t i = pixels.begin; i < pixels.end; i++) {
        const fv_pool_pixel o = fv_pool_out_pixel(d, i);
        for (int32_t c = 0; c < d->channels; c++) y[fv_pool_offset(d->out_pitch, &o) + c] = norm(d, &o, x + c, p);
    }
}

static fv_real lp_share(fv_real x, fv_real y, fv_real p) {
    if (y == 0) return 0;
    if (p == 1) return (fv_real)((x > 0) - (x < 0));
    if (p == 2) return x / y;
    if (p == 3) return x / y * fv_abs(x / y);
    const fv_real r = power(fv_abs(x) / y, p - 1);
    return x < 0 ? -r : r;
}

static void lp_grad_scalar(const fv_pool_desc *d, fv_real p, const fv_real *x, const fv_real *y, const fv_real *dy, fv_real *dx,
                           fv_range pixels) {
    for (size_t k = pixels.begin; k < pixels.end; k++) {
        const fv_pool_pixel i = fv_pool_in_pixel(d, k);
        const ptrdiff_t at = fv_pool_offset(d->in_pitch, &i);
        for (int32_t c = 0; c < d->channels; c++) {
            fv_real sum = 0;
            for (fv_pool_window w = fv_pool_first_window(d, &i); fv_pool_has_window(&w); fv_pool_next_window(d, &w)) {
                if (!fv_pool_window_taps(d, &i, &w)) continue;
                const ptrdiff_t o = fv_pool_window_offset(d, &i, &w) + c;
                sum += dy[o] * lp_share(x[at + c], y[o], p);
            }
            dx[at + c] = sum;
        }
    }
}

/* ---- weighted ---- */

static void weighted_scalar(const fv_pool_desc *d, const fv_real *weight, const fv_real *x, fv_real *y, fv_range pixels) {
    for (size_t p = pixels.begin; p < pixels.end; p++) {
        const fv_pool_pixel o = fv_pool_out_pixel(d, p);
        for (int32_t c = 0; c < d->channels; c++) {
            fv_real sum = 0;
            for (fv_pool_tap t = fv_pool_first_tap(d, &o); fv_pool_has_tap(&t); fv_pool_next_tap(d, &t))
                sum += weight[fv_pool_tap_index(d, &t)] * x[fv_pool_tap_offset(d, &o, &t) + c];
            y[fv_pool_offset(d->out_pitch, &o) + c] = sum;
        }
    }
}

static void weighted_grad_scalar(const fv_pool_desc *d, const fv_real *weight, const fv_real *dy, fv_real *dx, fv_range pixels) {
    for (size_t p = pixels.begin; p < pixels.end; p++) {
        const fv_pool_pixel i = fv_pool_in_pixel(d, p);
        for (int32_t c = 0; c < d->channels; c++) {
            fv_real sum = 0;
            for (fv_pool_window w = fv_pool_first_window(d, &i); fv_pool_has_window(&w); fv_pool_next_window(d, &w))
                if (fv_pool_window_taps(d, &i, &w)) sum += weight[fv_pool_window_index(d, &w)] * dy[fv_pool_window_offset(d, &i, &w) + c];
            dx[fv_pool_offset(d->in_pitch, &i) + c] = sum;
        }
    }
}

/* ---- unpooling ---- */

static bool inside(const fv_unpool_desc *d, int32_t place) { return place >= 0 && (size_t)place < d->pixels; }

static void unpool_scalar(const fv_unpool_desc *d, const fv_real *x, const int32_t *place, fv_real *y, fv_range channels) {
    for (size_t c = channels.begin; c < channels.end; c++) {
        for (size_t p = 0; p < d->pixels; p++) y[p * d->channels + c] = 0;
        for (size_t i = 0; i < d->pooled; i++) {
            const int32_t to = place[i * d->channels + c];
            if (inside(d, to)) y[(size_t)to * d->channels + c] = x[i * d->channels + c];
        }
    }
}

static void unpool_grad_scalar(const fv_unpool_desc *d, const int32_t *place, const fv_real *dy, fv_real *dx, fv_range channels,
                               void *scratch) {
    uint8_t *taken = scratch; /* by a later value */
    for (size_t c = channels.begin; c < channels.end; c++) {
        for (size_t p = 0; p < d->pixels; p++) taken[p] = 0;
        for (size_t i = d->pooled; i-- > 0;) {
            const int32_t to = place[i * d->channels + c];
            const bool stayed = inside(d, to) && !taken[to];
            dx[i * d->channels + c] = stayed ? dy[(size_t)to * d->channels + c] : 0;
            if (stayed) taken[to] = 1;
        }
    }
}

void fv_pool_init_scalar(fv_pool_kernels *k) {
    *k = (fv_pool_kernels){max_scalar,    max_grad_scalar, average_scalar,       average_grad_scalar, lp_scalar, lp_grad_scalar,
                           weighted_scalar, weighted_grad_scalar, unpool_scalar, unpool_grad_scalar};
}
