/* Pooling over a vector wrapper, vectorized along channels; included by (isa)/pool_(isa).c. Windows that neither overlap nor reach
 * into padding (stride = window, dilation 1, whole windows) take rows at a time; all others walk their taps. */
#include "kernels/pool_cursor.h"

#include <math.h>

/* Largest so far and its place. NaN wins and stays; a tie leaves the first. */
static inline void max_step(vf v, int32_t tap, vf *best, vi *at) {
    const vm better = v_beats(v, *best);
    *best = v_select(better, v, *best);
    *at = vi_select(better, vi_set(tap), *at);
}

static inline void max_store(float *y, int32_t *index, vf best, vi at, size_t n) {
    if (n == VW) {
        v_store(y, best);
        if (index) vi_store(index, at);
    } else {
        v_store_part(y, best, n);
        if (index) vi_store_part(index, at, n);
    }
}

static inline vf load_channels(const float *p, size_t n) { return n == VW ? v_load(p) : v_load_part(p, n); }

static void max_walk(const fv_pool_desc *d, const float *x, const fv_pool_pixel *o, float *y, int32_t *index) {
    const size_t channels = (size_t)d->channels;
    for (size_t c = 0; c < channels; c += VW) {
        const size_t n = fv_min_size(channels - c, VW);
        vf best = v_set(-INFINITY);
        vi at = vi_set(-1);
        bool first = true;
        for (fv_pool_tap t = fv_pool_first_tap(d, o); fv_pool_has_tap(&t); fv_pool_next_tap(d, &t)) {
            const vf v = load_channels(x + fv_pool_tap_offset(d, o, &t) + c, n);
            const int32_t tap = fv_pool_tap_index(d, &t);
            if (first)
                best = v, at = vi_set(tap), first = false;
            else
                max_step(v, tap, &best, &at);
        }
        max_store(y + c, index ? index + c : NULL, best, at, n);
    }
}

static bool apart(const fv_pool_desc *d) {
    for (int a = 0; a < 3; a++)
        if (d->stride[a] != d->window[a] || d->dilation[a] != 1 || d->pad[a] != 0 || d->out[a] * d->window[a] > d->in[a])
            return false;
    return true;
}

/* Windows side by side that lie inside the input. */
typedef struct max_windows {
    const float *x;
    float *y;
    int32_t *index; /* or NULL */
    size_t count;
    /* Elements from x and from y on that whole vectors may read and write, the latter in ascending order. */
    size_t readable, writable;
} max_windows;

/* The taps of such a window stand at fixed distances. The first is taken as it is (also -inf). */
FV_ALWAYS_INLINE void max_inside(const fv_pool_desc *d, const max_windows *w, const int32_t depth, const int32_t height,
                                 const int32_t width, const bool placed) {
    const size_t channels = (size_t)d->channels, step = (size_t)(d->stride[2] * d->in_pitch[3]);
    const size_t last = (size_t)((depth - 1) * d->in_pitch[1] + (height - 1) * d->in_pitch[2] + (width - 1) * d->in_pitch[3]);
    for (size_t i = 0; i < w->count; i++)
        for (size_t c = 0; c < channels; c += VW) {
            const size_t in = i * step + c, out = i * (size_t)d->out_pitch[3] + c;
            const bool whole = in + last + VW <= w->readable && out + VW <= w->writable;
            const size_t n = whole ? VW : fv_min_size(channels - c, VW);
            vf best = load_channels(w->x + in, n);
            vi at = vi_set(0);
            int32_t tap = 1;
            for (int32_t z = 0; z < depth; z++)
                for (int32_t v = 0; v < height; v++)
                    for (int32_t u = z + v == 0; u < width; u++, tap++) {
                        const float *value = w->x + in + z * d->in_pitch[1] + v * d->in_pitch[2] + u * d->in_pitch[3];
                        max_step(load_channels(value, n), tap, &best, &at);
                    }
            max_store(w->y + out, placed ? w->index + i * channels + c : NULL, best, at, n);
        }
}

static void max_inside_any(const fv_pool_desc *d, const max_windows *w) {
    const bool flat_2x2 = d->window[0] == 1 && d->window[1] == 2 && d->window[2] == 2;
    if (flat_2x2 && w->index)
        max_inside(d, w, 1, 2, 2, true);
    else if (flat_2x2)
        max_inside(d, w, 1, 2, 2, false);
    else
        max_inside(d, w, d->window[0], d->window[1], d->window[2], w->index != NULL);
}

/* Elements of a tensor without gaps; 0 where there are gaps. */
static size_t dense_size(const ptrdiff_t pitch[4], const int32_t size[3], int32_t images, int32_t channels) {
    ptrdiff_t dense = channels;
    for (int a = 3; a >= 1; a--) {
        if (pitch[a] != dense) return 0;
        dense *= size[a - 1];
    }
    return pitch[0] == dense ? (size_t)(images * dense) : 0;
}

static void max_apart(const fv_pool_desc *d, const float *x, float *y, int32_t *index, fv_range pixels) {
    const size_t channels = (size_t)d->channels;
    const size_t readable = dense_size(d->in_pitch, d->in, d->images, d->channels);
    const size_t writable = dense_size(d->out_pitch, d->out, d->images, d->channels) ? pixels.end * channels : 0;
    for (size_t p = pixels.begin; p < pixels.end;) {
        const fv_pool_pixel o = fv_pool_out_pixel(d, p);
        const fv_pool_pixel i = {o.image, {o.at[0] * d->stride[0], o.at[1] * d->stride[1], o.at[2] * d->stride[2]}};
        const ptrdiff_t in = fv_pool_offset(d->in_pitch, &i), out = fv_pool_offset(d->out_pitch, &o);
        const size_t count = fv_min_size((size_t)(d->out[2] - o.at[2]), pixels.end - p);
        max_inside_any(d, &(max_windows){x + in, y + out, index ? index + p * channels : NULL, count,
                                         readable ? readable - (size_t)in : 0, writable ? writable - (size_t)out : 0});
        p += count;
    }
}

static void pool_max(const fv_pool_desc *d, const float *x, float *y, int32_t *index, fv_range pixels) {
    if (apart(d)) {
        max_apart(d, x, y, index, pixels);
        return;
    }
    fv_pool_pixel o = fv_pool_out_pixel(d, pixels.begin);
    for (size_t p = pixels.begin; p < pixels.end; p++) {
        max_walk(d, x, &o, y + fv_pool_offset(d->out_pitch, &o), index ? index + p * (size_t)d->channels : NULL);
        if (++o.at[2] == d->out[2]) o = fv_pool_out_pixel(d, p + 1);
    }
}

static inline void store_channels(float *p, vf v, size_t n) {
    if (n == VW)
        v_store(p, v);
    else
        v_store_part(p, v, n);
}

/* The pixel lies in one window, as its tap `tap`. */
static inline void max_grad_apart(const int32_t *index, const float *dy, float *dx, size_t channels, int32_t tap) {
    for (size_t c = 0; c < channels; c += VW) {
        const size_t n = fv_min_size(channels - c, VW);
        const vi at = n == VW ? vi_load(index + c) : vi_load_part(index + c, n);
        store_channels(dx + c, v_where(vi_eq(at, vi_set(tap)), load_channels(dy + c, n)), n);
    }
}

static inline void zero_channels(float *dx, size_t channels) {
    for (size_t c = 0; c < channels; c += VW) store_channels(dx + c, v_zero(), fv_min_size(channels - c, VW));
}

static void max_grad_walk(const fv_pool_desc *d, const int32_t *index, const float *dy, const fv_pool_pixel *i, float *dx) {
    const size_t channels = (size_t)d->channels;
    for (size_t c = 0; c < channels; c += VW) {
        const size_t n = fv_min_size(channels - c, VW);
        vf sum = v_zero();
        for (fv_pool_window w = fv_pool_first_window(d, i); fv_pool_has_window(&w); fv_pool_next_window(d, &w)) {
            if (!fv_pool_window_taps(d, i, &w)) continue;
            const int32_t *places = index + fv_pool_window_pixel(d, i, &w) * channels + c;
            const vi at = n == VW ? vi_load(places) : vi_load_part(places, n);
            const vf grad = load_channels(dy + fv_pool_window_offset(d, i, &w) + c, n);
            sum = v_add(sum, v_where(vi_eq(at, vi_set(fv_pool_window_index(d, &w))), grad));
        }
        store_channels(dx + c, sum, n);
    }
}

/* The one window of a pixel when windows lie apart: false where no window covers it. */
static inline bool only_window(const fv_pool_desc *d, const fv_pool_pixel *i, fv_pool_pixel *o, int32_t *tap) {
    *tap = 0;
    o->image = i->image;
    for (int a = 0; a < 3; a++) {
        o->at[a] = i->at[a] / d->stride[a];
        if (o->at[a] >= d->out[a]) return false;
        *tap = *tap * d->window[a] + (i->at[a] - o->at[a] * d->stride[a]);
    }
    return true;
}

/* One row of input pixels from x0 to x1 whose windows lie apart: the row's place in its windows is worked out once. */
static void max_grad_row(const fv_pool_desc *d, const int32_t *index, const float *dy, float *dx, fv_pool_pixel i, int32_t end) {
    const size_t channels = (size_t)d->channels;
    fv_pool_pixel o, start = i;
    int32_t tap;
    start.at[2] = 0;
    const bool covered = only_window(d, &start, &o, &tap);
    const fv_pool_window row = {{0}, {0}, {o.at[0], covered ? o.at[1] : 0, 0}, {0}};
    const size_t first = covered ? fv_pool_window_pixel(d, &start, &row) : 0;
    const float *grads = covered ? dy + fv_pool_offset(d->out_pitch, &o) : dy;
    float *out = dx + fv_pool_offset(d->in_pitch, &i);
    int32_t window = i.at[2] / d->stride[2], inside = i.at[2] % d->stride[2];
    for (int32_t at = i.at[2]; at < end; at++, out += d->in_pitch[3]) {
        if (covered && window < d->out[2])
            max_grad_apart(index + (first + (size_t)window) * channels, grads + window * d->out_pitch[3], out, channels, tap + inside);
        else
            zero_channels(out, channels);
        if (++inside == d->stride[2]) inside = 0, window++;
    }
}

static void pool_max_grad(const fv_pool_desc *d, const int32_t *index, const float *dy, float *dx, fv_range pixels) {
    const bool simple = apart(d);
    for (size_t p = pixels.begin; p < pixels.end;) {
        const fv_pool_pixel i = fv_pool_in_pixel(d, p);
        if (!simple) {
            max_grad_walk(d, index, dy, &i, dx + fv_pool_offset(d->in_pitch, &i));
            p++;
            continue;
        }
        const size_t count = fv_min_size((size_t)(d->in[2] - i.at[2]), pixels.end - p);
        max_grad_row(d, index, dy, dx, i, i.at[2] + (int32_t)count);
        p += count;
    }
}

static void pool_average(const fv_pool_desc *d, const float *x, float *y, fv_range pixels) {
    const size_t channels = (size_t)d->channels;
    for (size_t p = pixels.begin; p < pixels.end; p++) {
        const fv_pool_pixel o = fv_pool_out_pixel(d, p);
        const vf count = v_set((float)fv_pool_divisor(d, &o));
        float *out = y + fv_pool_offset(d->out_pitch, &o);
        for (size_t c = 0; c < channels; c += VW) {
            const size_t n = fv_min_size(channels - c, VW);
            vf sum = v_zero();
            for (fv_pool_tap t = fv_pool_first_tap(d, &o); fv_pool_has_tap(&t); fv_pool_next_tap(d, &t))
                sum = v_add(sum, load_channels(x + fv_pool_tap_offset(d, &o, &t) + c, n));
            store_channels(out + c, v_div(sum, count), n);
        }
    }
}

static void pool_average_grad(const fv_pool_desc *d, const float *dy, float *dx, fv_range pixels) {
    const size_t channels = (size_t)d->channels;
    for (size_t p = pixels.begin; p < pixels.end; p++) {
        const fv_pool_pixel i = fv_pool_in_pixel(d, p);
        float *out = dx + fv_pool_offset(d->in_pitch, &i);
        for (size_t c = 0; c < channels; c += VW) {
            const size_t n = fv_min_size(channels - c, VW);
            vf sum = v_zero();
            for (fv_pool_window w = fv_pool_first_window(d, &i); fv_pool_has_window(&w); fv_pool_next_window(d, &w)) {
                if (!fv_pool_window_taps(d, &i, &w)) continue;
                const fv_pool_pixel o = {i.image, {w.at[0], w.at[1], w.at[2]}};
                const vf count = v_set((float)fv_pool_divisor(d, &o));
                sum = v_add(sum, v_div(load_channels(dy + fv_pool_window_offset(d, &i, &w) + c, n), count));
            }
            store_channels(out + c, sum, n);
        }
    }
}

static void init_pool(fv_pool_kernels *k) {
    *k = (fv_pool_kernels){pool_max, pool_max_grad, pool_average, pool_average_grad};
}
