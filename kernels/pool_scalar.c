#include "kernels/kernels.h"
#include "kernels/pool_cursor.h"

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
                if (at < 0 || v > best || (v != v && best == best)) best = v, at = fv_pool_tap_index(d, &t);
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
                if (index[o * (size_t)d->channels + (size_t)c] == fv_pool_window_index(d, &w))
                    sum += dy[fv_pool_window_offset(d, &i, &w) + c];
            }
            out[c] = sum;
        }
    }
}

static void average_scalar(const fv_pool_desc *d, const fv_real *x, fv_real *y, fv_range pixels) {
    for (size_t p = pixels.begin; p < pixels.end; p++) {
        const fv_pool_pixel o = fv_pool_out_pixel(d, p);
        const fv_real n = (fv_real)fv_pool_divisor(d, &o);
        fv_real *out = y + fv_pool_offset(d->out_pitch, &o);
        for (int32_t c = 0; c < d->channels; c++) {
            fv_real sum = 0;
            for (fv_pool_tap t = fv_pool_first_tap(d, &o); fv_pool_has_tap(&t); fv_pool_next_tap(d, &t))
                sum += x[fv_pool_tap_offset(d, &o, &t) + c];
            out[c] = sum / n;
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
                sum += dy[fv_pool_window_offset(d, &i, &w) + c] / (fv_real)fv_pool_divisor(d, &o);
            }
            out[c] = sum;
        }
    }
}

void fv_pool_init_scalar(fv_pool_kernels *k) {
    *k = (fv_pool_kernels){max_scalar, max_grad_scalar, average_scalar, average_grad_scalar};
}
