/* Pooling over a vector wrapper, vectorized along channels; included by (isa)/pool_(isa).c. What a window has inside
 * the input is a box of values at fixed distances. Output pixels go by rows: the box's height is worked out once a row,
 * its width at the row's two ends alone, and between them windows stand side by side. */
#include "kernels/pool_cursor.h"
#include "kernels/vec_math.h"

typedef enum pool_step { MAX, MAX_PLACED, SUM, SUM_ABS, SUM_SQUARES, LP, WEIGHTED } pool_step;

/* Windows side by side with boxes of one shape. */
typedef struct pool_run {
    const float *x; /* the first value of the first window */
    float *y;
    int32_t *index;
    const float *weight;      /* of the first value's position in the window */
    float p, divisor, factor; /* factor: 1 over a divisor that is a power of two, which is exact; else 0 */
    size_t channels, windows;
    ptrdiff_t x_step, y_step; /* from window to window */
    int32_t count[3], name, name_step[3],
        names_apart; /* name: what max pooling calls the first value; names_apart: from window to window */
    int32_t weight_step[3];
    ptrdiff_t step[3];
    /* Elements from x and from y on that whole vectors may read and write, the latter in ascending order. */
    size_t readable, writable;
} pool_run;

static inline vf load_channels(const float *p, size_t n) { return n == VW ? v_load(p) : v_load_part(p, n); }

static inline void store_channels(float *p, vf v, size_t n) {
    if (n == VW)
        v_store(p, v);
    else
        v_store_part(p, v, n);
}

/* Largest so far and its name. NaN wins and stays; a tie leaves the first. */
static inline void max_step(vf v, int32_t name, vf *best, vi *at) {
    const vm better = v_beats(v, *best);
    *best = v_select(better, v, *best);
    *at = vi_select(better, vi_set(name), *at);
}

static inline vf v_power(vf r, vf p) { return v_exp(v_mul(p, v_log(r))); } /* of r >= 0: log 0 is -inf, exp of it 0 */

/* The general Lp of one vector of channels (pool.h). */
static vf lp_of(const pool_run *r, const float *x, size_t n) {
    vf m = v_zero(), sum = v_zero();
    vi at = vi_set(0);
    for (int pass = 0; pass < 2; pass++)
        for (int32_t z = 0; z < r->count[0]; z++)
            for (int32_t v = 0; v < r->count[1]; v++)
                for (int32_t u = 0; u < r->count[2]; u++) {
                    const vf value = v_abs(load_channels(x + z * r->step[0] + v * r->step[1] + u * r->step[2], n));
                    if (pass == 0)
                        max_step(value, 0, &m, &at);
                    else
                        sum = v_add(sum, v_power(v_div(value, m), v_set(r->p)));
                }
    const vf root = v_mul(m, v_exp(v_div(v_log(sum), v_set(r->p))));
    return v_select(v_both(v_gt(m, v_zero()), v_lt(m, v_set(INFINITY))), root, m);
}

/* The box of one window, `vectors` vectors of channels at once (one of n lanes, or several whole ones). */
FV_ALWAYS_INLINE void take_window(const pool_step step, const pool_run *r, const float *x, float *y, int32_t *index,
                                  int32_t first_name, const int32_t depth, const int32_t height, const int32_t width,
                                  const size_t vectors, const size_t n) {
    vf acc[4];
    vi at[4];
    for (size_t k = 0; k < vectors; k++) {
        acc[k] = step <= MAX_PLACED ? load_channels(x + k * VW, n) : v_zero(); /* also -inf is taken as it is */
        at[k] = vi_set(first_name);
    }
    for (int32_t z = 0; z < depth; z++)
        for (int32_t v = 0; v < height; v++) {
            const float *row = x + z * r->step[0] + v * r->step[1];
            const int32_t name = first_name + z * r->name_step[0] + v * r->name_step[1];
            const float *weight = step == WEIGHTED ? r->weight + z * r->weight_step[0] + v * r->weight_step[1] : NULL;
            for (int32_t u = step <= MAX_PLACED && z + v == 0; u < width; u++)
                for (size_t k = 0; k < vectors; k++) {
                    const vf value = load_channels(row + u * r->step[2] + (ptrdiff_t)(k * VW), n);
                    if (step == MAX) acc[k] = v_select(v_beats(value, acc[k]), value, acc[k]);
                    if (step == MAX_PLACED) max_step(value, name + u * r->name_step[2], &acc[k], &at[k]);
                    if (step == SUM) acc[k] = v_add(acc[k], value);
                    if (step == SUM_ABS) acc[k] = v_add(acc[k], v_abs(value));
                    if (step == SUM_SQUARES) acc[k] = v_fma(value, value, acc[k]);
                    if (step == WEIGHTED) acc[k] = v_fma(v_set(weight[u]), value, acc[k]);
                }
        }
    for (size_t k = 0; k < vectors; k++) {
        if (step == SUM) acc[k] = r->factor != 0 ? v_mul(acc[k], v_set(r->factor)) : v_div(acc[k], v_set(r->divisor));
        if (step == SUM_SQUARES) acc[k] = v_sqrt(acc[k]);
        store_channels(y + k * VW, acc[k], n);
        if (step == MAX_PLACED && n == VW) vi_store(index + k * VW, at[k]);
        if (step == MAX_PLACED && n < VW) vi_store_part(index + k * VW, at[k], n);
    }
}

FV_ALWAYS_INLINE void take_vectors(const pool_step step, const pool_run *r, const float *x, float *y, int32_t *index,
                                   int32_t name, const int32_t depth, const int32_t height, const int32_t width,
                                   const size_t vectors, const size_t n) {
    if (step == LP)
        store_channels(y, lp_of(r, x, n), n);
    else if (n == VW)
        take_window(step, r, x, y, index, name, depth, height, width, vectors, VW);
    else
        take_window(step, r, x, y, index, name, depth, height, width, vectors, n);
}

/* Of windows of fewer than VW channels, how many of the first may read and write a whole vector; last: from a window's
 * first value to its last. */
static inline size_t whole_windows(const pool_run *r, size_t last) {
    if (last + VW > r->readable || VW > r->writable) return 0;
    const size_t in = (r->readable - last - VW) / (size_t)r->x_step, out = (r->writable - VW) / (size_t)r->y_step;
    return fv_min_size(in, out) + 1;
}

FV_ALWAYS_INLINE void take_windows(const pool_step step, const pool_run *given, const int32_t depth,
                                   const int32_t height, const int32_t width) {
    const pool_run own = *given, *const r = &own; /* stores of vectors may change anything but what is our own */
    const size_t whole =
        whole_windows(r, (size_t)((depth - 1) * r->step[0] + (height - 1) * r->step[1] + (width - 1) * r->step[2]));
    for (size_t i = 0; i < r->windows; i++) {
        const float *x = r->x + (ptrdiff_t)i * r->x_step;
        float *y = r->y + (ptrdiff_t)i * r->y_step;
        int32_t *index = step == MAX_PLACED ? r->index + i * r->channels : NULL;
        const int32_t name = r->name + (int32_t)i * r->names_apart;
        if (r->channels < VW) {
            take_vectors(step, r, x, y, index, name, depth, height, width, 1, i < whole ? VW : r->channels);
            continue;
        }
        size_t c = 0;
        for (; step != LP && c + 4 * VW <= r->channels; c += 4 * VW)
            take_vectors(step, r, x + c, y + c, step == MAX_PLACED ? index + c : NULL, name, depth, height, width, 4,
                         VW);
        for (; c < r->channels; c += VW) {
            c = fv_min_size(c, r->channels - VW); /* the last vector overlaps the one before */
            take_vectors(step, r, x + c, y + c, step == MAX_PLACED ? index + c : NULL, name, depth, height, width, 1,
                         VW);
        }
    }
}

/* Windows of 2x2 and 3x3 have their loops unrolled. */
FV_ALWAYS_INLINE void take_shaped(const pool_step step, const pool_run *r) {
    const int32_t *n = r->count;
    if (n[0] == 1 && n[1] == 2 && n[2] == 2)
        take_windows(step, r, 1, 2, 2);
    else if (n[0] == 1 && n[1] == 3 && n[2] == 3)
        take_windows(step, r, 1, 3, 3);
    else
        take_windows(step, r, n[0], n[1], n[2]);
}

static void take_max(const pool_run *r) { take_shaped(MAX, r); }
static void take_max_placed(const pool_run *r) { take_shaped(MAX_PLACED, r); }
static void take_sum(const pool_run *r) { take_shaped(SUM, r); }
static void take_abs(const pool_run *r) { take_windows(SUM_ABS, r, r->count[0], r->count[1], r->count[2]); }
static void take_squares(const pool_run *r) { take_shaped(SUM_SQUARES, r); }
static void take_lp(const pool_run *r) { take_windows(LP, r, r->count[0], r->count[1], r->count[2]); }
static void take_weighted(const pool_run *r) { take_windows(WEIGHTED, r, r->count[0], r->count[1], r->count[2]); }

/* Nothing of the window lies inside: what a maximum or a sum of nothing is. */
static void take_nothing(const pool_run *r, bool max, bool average) {
    for (size_t c = 0; c < r->channels; c += VW) {
        const size_t n = fv_min_size(r->channels - c, VW);
        store_channels(r->y + c, max ? v_set(-INFINITY) : average ? v_div(v_zero(), v_set(r->divisor)) : v_zero(), n);
        if (max && r->index) {
            if (n == VW)
                vi_store(r->index + c, vi_set(-1));
            else
                vi_store_part(r->index + c, vi_set(-1), n);
        }
    }
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

/* Output columns whose windows have all their width inside the input. */
static void inner_columns(const fv_pool_desc *d, int32_t *begin, int32_t *end) {
    const int32_t room = d->in[2] - 1 + d->pad[2] - (d->window[2] - 1) * d->dilation[2];
    *begin = (d->pad[2] + d->stride[2] - 1) / d->stride[2];
    *end = room < 0 ? 0 : room / d->stride[2] + 1;
}

typedef struct pool_call {
    const fv_pool_desc *d;
    const float *x, *weight;
    float *y;
    int32_t *index;
    void (*take)(const pool_run *r);
    bool max, average;
    size_t in_size, out_end; /* of dense tensors, else 0 */
} pool_call;

/* `windows` windows from output pixel o, the p-th, on, whose boxes are alike. */
static void run_windows(const pool_call *c, pool_run *r, const fv_pool_pixel *o, size_t p, size_t windows) {
    const fv_pool_desc *d = c->d;
    const fv_pool_tap t = fv_pool_first_tap(d, o);
    const ptrdiff_t out = fv_pool_offset(d->out_pitch, o);
    for (int a = 0; a < 3; a++) r->count[a] = t.high[a] - t.low[a];
    r->y = c->y + out;
    r->index = c->index ? c->index + p * r->channels : NULL;
    r->windows = windows;
    if (c->average) {
        const int32_t divisor = fv_pool_divisor(d, o);
        r->divisor = (float)divisor;
        r->factor = divisor > 0 && (divisor & (divisor - 1)) == 0 ? 1.0f / r->divisor : 0;
    }
    if (!fv_pool_has_tap(&t)) {
        for (size_t i = 0; i < windows; i++, r->y += r->y_step, r->index += r->index ? r->channels : 0)
            take_nothing(r, c->max, c->average);
        return;
    }
    const ptrdiff_t in = fv_pool_tap_offset(d, o, &t);
    r->x = c->x + in;
    r->weight = c->weight ? c->weight + fv_pool_tap_index(d, &t) : NULL;
    r->name = fv_pool_tap_name(d, o, &t);
    r->readable = c->in_size ? c->in_size - (size_t)in : 0;
    r->writable = c->out_end ? c->out_end - (size_t)out : 0;
    c->take(r);
}

static void pool(pool_call *c, float p, fv_range pixels) {
    const fv_pool_desc *d = c->d;
    int32_t inner_begin, inner_end;
    pool_run r = {
        .p = p, .channels = (size_t)d->channels, .x_step = d->stride[2] * d->in_pitch[3], .y_step = d->out_pitch[3]};
    const int32_t places[3] = {d->in[1] * d->in[2], d->in[2], 1};
    for (int a = 0; a < 3; a++) {
        r.weight_step[a] = a == 0 ? d->window[1] * d->window[2] : a == 1 ? d->window[2] : 1;
        r.name_step[a] = d->places ? places[a] * d->dilation[a] : r.weight_step[a];
        r.step[a] = d->dilation[a] * d->in_pitch[a + 1];
    }
    r.names_apart = d->places ? d->stride[2] : 0;
    c->in_size = dense_size(d->in_pitch, d->in, d->images, d->channels);
    c->out_end = dense_size(d->out_pitch, d->out, d->images, d->channels) ? pixels.end * (size_t)d->channels : 0;
    inner_columns(d, &inner_begin, &inner_end);
    fv_pool_pixel o = fv_pool_out_pixel(d, pixels.begin);
    for (size_t i = pixels.begin; i < pixels.end; fv_pool_next_row(d->out, &o)) {
        const size_t stop = i + fv_min_size((size_t)(d->out[2] - o.at[2]), pixels.end - i);
        while (i < stop) {
            const bool inner = o.at[2] >= inner_begin && o.at[2] < inner_end;
            const size_t windows = inner ? fv_min_size(stop - i, (size_t)(inner_end - o.at[2])) : 1;
            run_windows(c, &r, &o, i, windows);
            i += windows;
            o.at[2] += (int32_t)windows;
        }
    }
}

static void pool_max(const fv_pool_desc *d, const float *x, float *y, int32_t *index, fv_range pixels) {
    pool_call c = {.d = d, .x = x, .y = y, .index = index, .take = index ? take_max_placed : take_max, .max = true};
    pool(&c, 0, pixels);
}

static void pool_average(const fv_pool_desc *d, const float *x, float *y, fv_range pixels) {
    pool_call c = {.d = d, .x = x, .y = y, .take = take_sum, .average = true};
    pool(&c, 0, pixels);
}

static void pool_lp(const fv_pool_desc *d, float p, const float *x, float *y, fv_range pixels) {
    pool_call c = {.d = d, .x = x, .y = y, .take = p == 1 ? take_abs : p == 2 ? take_squares : take_lp};
    pool(&c, p, pixels);
}

static void pool_weighted(const fv_pool_desc *d, const float *weight, const float *x, float *y, fv_range pixels) {
    pool_call c = {.d = d, .x = x, .y = y, .weight = weight, .take = take_weighted};
    pool(&c, 0, pixels);
}
