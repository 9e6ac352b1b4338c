/* Walking pooling windows: the taps of an output pixel that lie inside the input, and the windows an input pixel lies in. */
#ifndef FV_KERNELS_POOL_CURSOR_H
#define FV_KERNELS_POOL_CURSOR_H

#include "kernels/pool.h"

typedef struct fv_pool_pixel {
    int32_t image, at[3];
} fv_pool_pixel;

static inline fv_pool_pixel fv_pool_split(const int32_t size[3], size_t p) {
    fv_pool_pixel o;
    o.at[2] = (int32_t)(p % (size_t)size[2]);
    p /= (size_t)size[2];
    o.at[1] = (int32_t)(p % (size_t)size[1]);
    p /= (size_t)size[1];
    o.at[0] = (int32_t)(p % (size_t)size[0]);
    o.image = (int32_t)(p / (size_t)size[0]);
    return o;
}

static inline fv_pool_pixel fv_pool_out_pixel(const fv_pool_desc *d, size_t p) { return fv_pool_split(d->out, p); }
static inline fv_pool_pixel fv_pool_in_pixel(const fv_pool_desc *d, size_t p) { return fv_pool_split(d->in, p); }

/* From a row's pixel to the first of the next row. */
static inline void fv_pool_next_row(const int32_t size[3], fv_pool_pixel *o) {
    o->at[2] = 0;
    if (++o->at[1] < size[1]) return;
    o->at[1] = 0;
    if (++o->at[0] < size[0]) return;
    o->at[0] = 0;
    o->image++;
}

static inline ptrdiff_t fv_pool_offset(const ptrdiff_t pitch[4], const fv_pool_pixel *p) {
    return p->image * pitch[0] + p->at[0] * pitch[1] + p->at[1] * pitch[2] + p->at[2] * pitch[3];
}

/* ---- taps of an output pixel ---- */

typedef struct fv_pool_tap {
    int32_t low[3], high[3], at[3]; /* window positions inside the input */
} fv_pool_tap;

static inline fv_pool_tap fv_pool_first_tap(const fv_pool_desc *d, const fv_pool_pixel *o) {
    fv_pool_tap t;
    bool none = false;
    for (int a = 0; a < 3; a++) {
        const int32_t start = o->at[a] * d->stride[a] - d->pad[a], step = d->dilation[a];
        const int32_t last = d->in[a] - 1 - start;
        t.low[a] = start >= 0 ? 0 : step == 1 ? -start : (-start + step - 1) / step;
        t.high[a] = last < 0 ? 0 : (step == 1 ? last : last / step) + 1;
        if (t.high[a] > d->window[a]) t.high[a] = d->window[a];
        t.at[a] = t.low[a];
        if (t.low[a] >= t.high[a]) none = true;
    }
    if (none) t.at[0] = t.high[0] = 0;
    return t;
}

static inline bool fv_pool_has_tap(const fv_pool_tap *t) { return t->at[0] < t->high[0]; }

static inline void fv_pool_next_tap(const fv_pool_desc *d, fv_pool_tap *t) {
    (void)d;
    if (++t->at[2] < t->high[2]) return;
    t->at[2] = t->low[2];
    if (++t->at[1] < t->high[1]) return;
    t->at[1] = t->low[1];
    ++t->at[0];
}

static inline ptrdiff_t fv_pool_tap_offset(const fv_pool_desc *d, const fv_pool_pixel *o, const fv_pool_tap *t) {
    ptrdiff_t offset = o->image * d->in_pitch[0];
    for (int a = 0; a < 3; a++)
        offset += (o->at[a] * d->stride[a] - d->pad[a] + t->at[a] * d->dilation[a]) * d->in_pitch[a + 1];
    return offset;
}

static inline int32_t fv_pool_tap_index(const fv_pool_desc *d, const fv_pool_tap *t) {
    return (t->at[0] * d->window[1] + t->at[1]) * d->window[2] + t->at[2];
}

static inline int32_t fv_pool_place(const fv_pool_desc *d, const int32_t at[3]) { return (at[0] * d->in[1] + at[1]) * d->in[2] + at[2]; }

/* How max pooling names a tap. */
static inline int32_t fv_pool_tap_name(const fv_pool_desc *d, const fv_pool_pixel *o, const fv_pool_tap *t) {
    int32_t at[3];
    if (!d->places) return fv_pool_tap_index(d, t);
    for (int a = 0; a < 3; a++) at[a] = o->at[a] * d->stride[a] - d->pad[a] + t->at[a] * d->dilation[a];
    return fv_pool_place(d, at);
}

/* Positions of window o along an axis that an average counts. */
static inline int32_t fv_pool_counted(const fv_pool_desc *d, int a, int32_t o) {
    const int32_t start = o * d->stride[a] - d->pad[a], step = d->dilation[a];
    const int32_t last = d->in[a] + (d->count_padding ? d->pad_after[a] : 0) - 1 - start;
    int32_t high = last < 0 ? 0 : step == 1 ? last + 1 : last / step + 1;
    if (high > d->window[a]) high = d->window[a];
    const int32_t low = d->count_padding || start >= 0 ? 0 : (-start + step - 1) / step;
    return high > low ? high - low : 0;
}

/* What an average divides by. */
static inline int32_t fv_pool_divisor(const fv_pool_desc *d, const fv_pool_pixel *o) {
    return fv_pool_counted(d, 0, o->at[0]) * fv_pool_counted(d, 1, o->at[1]) * fv_pool_counted(d, 2, o->at[2]);
}

/* ---- windows an input pixel lies in ---- */

typedef struct fv_pool_window {
    int32_t low[3], high[3], at[3]; /* output pixels */
    int32_t tap[3];                 /* the input pixel's position in window `at`, by fv_pool_window_taps */
} fv_pool_window;

/* Output pixels along an axis whose windows reach over input pixel `at`. */
static inline void fv_pool_window_range(const fv_pool_desc *d, int a, int32_t at, int32_t *low, int32_t *high) {
    const int32_t reach = at + d->pad[a], first = reach - (d->window[a] - 1) * d->dilation[a];
    *low = first <= 0 ? 0 : (first + d->stride[a] - 1) / d->stride[a];
    *high = reach / d->stride[a] + 1;
    if (*high > d->out[a]) *high = d->out[a];
}

static inline fv_pool_window fv_pool_first_window(const fv_pool_desc *d, const fv_pool_pixel *i) {
    fv_pool_window w = {{0}, {0}, {0}, {0}};
    bool none = false;
    for (int a = 0; a < 3; a++) {
        fv_pool_window_range(d, a, i->at[a], &w.low[a], &w.high[a]);
        w.at[a] = w.low[a];
        if (w.low[a] >= w.high[a]) none = true;
    }
    if (none) w.at[0] = w.high[0] = 0;
    return w;
}

static inline bool fv_pool_has_window(const fv_pool_window *w) { return w->at[0] < w->high[0]; }

static inline void fv_pool_next_window(const fv_pool_desc *d, fv_pool_window *w) {
    (void)d;
    if (++w->at[2] < w->high[2]) return;
    w->at[2] = w->low[2];
    if (++w->at[1] < w->high[1]) return;
    w->at[1] = w->low[1];
    ++w->at[0];
}

/* false: the dilated window steps over the pixel. */
static inline bool fv_pool_window_taps(const fv_pool_desc *d, const fv_pool_pixel *i, fv_pool_window *w) {
    for (int a = 0; a < 3; a++) {
        const int32_t reach = i->at[a] + d->pad[a] - w->at[a] * d->stride[a];
        if (reach % d->dilation[a] != 0) return false;
        w->tap[a] = reach / d->dilation[a];
    }
    return true;
}

static inline size_t fv_pool_window_pixel(const fv_pool_desc *d, const fv_pool_pixel *i, const fv_pool_window *w) {
    return (((size_t)i->image * (size_t)d->out[0] + (size_t)w->at[0]) * (size_t)d->out[1] + (size_t)w->at[1]) *
               (size_t)d->out[2] + (size_t)w->at[2];
}

static inline ptrdiff_t fv_pool_window_offset(const fv_pool_desc *d, const fv_pool_pixel *i, const fv_pool_window *w) {
    return i->image * d->out_pitch[0] + w->at[0] * d->out_pitch[1] + w->at[1] * d->out_pitch[2] + w->at[2] * d->out_pitch[3];
}

static inline int32_t fv_pool_window_index(const fv_pool_desc *d, const fv_pool_window *w) {
    return (w->tap[0] * d->window[1] + w->tap[1]) * d->window[2] + w->tap[2];
}

/* How max pooling names pixel i in window w. */
static inline int32_t fv_pool_window_name(const fv_pool_desc *d, const fv_pool_pixel *i, const fv_pool_window *w) {
    return d->places ? fv_pool_place(d, i->at) : fv_pool_window_index(d, w);
}

#endif
