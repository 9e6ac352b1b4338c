/* Pooling over a vector wrapper, vectorized along channels; included by (isa)/pool_(isa).c. What a window has inside
 * the input is a box of values at fixed distances. Output pixels go by rows: the box's height is worked out once a row,
 * its width at the row's two ends alone, and between them windows stand side by side. */
#include "kernels/pool_cursor.h"
#include "kernels/vec_math.h"

typedef enum pool_step { MAX, MAX_PLACED, SUM, SUM_ABS, SUM_SQUARES, CUBES, LP, WEIGHTED } pool_step;

/* fixed: of a shape that the compiler knows. */
typedef struct pool_box {
    int32_t depth, height, width;
    bool fixed;
} pool_box;

/* Windows side by side with boxes of one shape; of more than one row, whole rows of one map. */
typedef struct pool_run {
    const float *x; /* the first value of the first window */
    float *y;
    int32_t *index;
    const float *weight; /* of the first value's position in the window */
    float p, factor;     /* factor: 1 over what an average divides by */
    size_t channels, windows, rows;
    ptrdiff_t x_step, y_step, x_row, y_row; /* from window to window, from row to row */
    int32_t count[3], name, name_step[3];   /* name: what max pooling calls the first value */
    int32_t names_apart, names_row;         /* from window to window, from row to row */
    int32_t names[9];                       /* of the values of a fixed box, from the first value's on */
    int32_t weight_step[3];
    ptrdiff_t step[3];
    /* Elements from x and from y on that whole vectors may read and write, the latter in ascending order. */
    size_t readable, writable;
} pool_run;

/* p, not to be split into a pointer a load: they would not fit the registers. */
static inline const float *one_pointer(const float *p) {
    __asm__("" : "+r"(p));
    return p;
}

static inline vf load_channels(const float *p, size_t n) { return n == VW ? v_load(p) : v_load_part(p, n); }

static inline void store_channels(float *p, vf v, size_t n) {
    if (n == VW)
        v_store(p, v);
    else
        v_store_part(p, v, n);
}

static inline void store_names(int32_t *p, vi a, size_t n) {
    if (n == VW)
        vi_store(p, a);
    else
        vi_store_part(p, a, n);
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

/* p = 3 (pool.h). A NaN makes the sum one, and an infinity makes it infinite: the sum is the answer then, as where all
 * is 0. */
FV_ALWAYS_INLINE vf cubes_of(const pool_run *r, const float *x, const pool_box b, size_t n) {
    vf m = v_zero(), sum = v_zero(), k = v_zero();
    for (int pass = 0; pass < 2; pass++) {
        for (int32_t z = 0; z < b.depth; z++)
            for (int32_t v = 0; v < b.height; v++)
                for (int32_t u = 0; u < b.width; u++) {
                    const vf value = v_abs(load_channels(x + z * r->step[0] + v * r->step[1] + u * r->step[2], n));
                    const vf scaled = v_mul(value, k);
                    if (pass == 0)
                        m = v_at_least(m, value);
                    else
                        sum = v_fma(v_mul(scaled, scaled), scaled, sum);
                }
        if (pass == 0) k = v_scale_of(m);
    }
    const vf root = v_mul(v_cbrt(sum), v_scale_of(k));
    return v_select(v_both(v_gt(m, v_zero()), v_lt(m, v_set(INFINITY))), root, sum);
}

/* The box of one window: its maxima and their names, by comparisons that tell NaN apart. For the few windows that may
 * hold one. */
static void take_exact_max(const pool_run *r, const float *x, float *y, int32_t *index, int32_t first_name, size_t n) {
    vf best = load_channels(x, n);
    vi at = vi_set(first_name);
    for (int32_t z = 0; z < r->count[0]; z++)
        for (int32_t v = 0; v < r->count[1]; v++)
            for (int32_t u = z + v == 0; u < r->count[2]; u++)
                max_step(load_channels(x + z * r->step[0] + v * r->step[1] + u * r->step[2], n),
                         first_name + z * r->name_step[0] + v * r->name_step[1] + u * r->name_step[2], &best, &at);
    store_channels(y, best, n);
    if (index) store_names(index, at, n);
}

/* Larger of two maxima and its name; no NaN. A tie leaves the first. */
FV_ALWAYS_INLINE void max_of_two(const pool_step step, vf v, vi name, vf *best, vi *at) {
    if (step == MAX) {
        *best = v_at_least(*best, v);
        return;
    }
    const vm better = v_gt(v, *best);
    *best = v_select(better, v, *best);
    *at = vi_select(better, name, *at);
}

/* The box of one window, `vectors` vectors of channels at once, `apart` from one to the next: one of n lanes, or
 * several whole ones. Each row has a maximum of its own, so that they do not wait for each other; names count from the
 * first value's as long as they are compared. A sum of the values tells whether a NaN is among them (or infinities of
 * both signs). */
FV_ALWAYS_INLINE void take_max_window(const pool_step step, const pool_run *r, const float *x, float *y, int32_t *index,
                                      int32_t first_name, const pool_box b, const size_t vectors, const size_t apart,
                                      const size_t n) {
    const vf one = v_set(1.0f);
    vf best[4] = {v_zero()}, total = v_zero();
    vi at[4] = {vi_set(0)};
    const int32_t *fixed_name = r->names;
    for (int32_t z = 0; z < b.depth; z++)
        for (int32_t v = 0; v < b.height; v++) {
            const float *from = x + z * r->step[0] + v * r->step[1];
            const int32_t named = z * r->name_step[0] + v * r->name_step[1];
            vf row_best[4] = {v_zero()}, sum[4] = {v_zero()};
            vi row_at[4] = {vi_set(0)};
            for (int32_t u = 0; u < b.width; u++, from = one_pointer(from + r->step[2]), fixed_name++) {
                const vi name = vi_set(b.fixed ? *fixed_name : named + u * r->name_step[2]);
                for (size_t k = 0; k < vectors; k++) {
                    const vf value = v_held(load_channels(from + k * apart, n));
                    if (u == 0) {
                        row_best[k] = sum[k] = value;
                        row_at[k] = name;
                    } else {
                        max_of_two(step, value, name, &row_best[k], &row_at[k]);
                        sum[k] =
                            step == MAX ? v_fma(value, one, sum[k]) : v_add(sum[k], value); /* on units that are free */
                    }
                }
            }
            for (size_t k = 0; k < vectors; k++) {
                if (z + v == 0)
                    best[k] = row_best[k], at[k] = row_at[k];
                else
                    max_of_two(step, row_best[k], row_at[k], &best[k], &at[k]);
                total = step == MAX ? v_fma(sum[k], one, total) : v_add(total, sum[k]);
            }
        }
    for (size_t k = 0; k < vectors; k++) {
        store_channels(y + k * apart, best[k], n);
        if (step == MAX_PLACED) store_names(index + k * apart, vi_add(at[k], vi_set(first_name)), n);
    }
    if (v_lanes(v_eq(total, total)) == (1u << VW) - 1) return;
    for (size_t k = 0; k < vectors; k++)
        take_exact_max(r, x + k * apart, y + k * apart, step == MAX_PLACED ? index + k * apart : NULL, first_name, n);
}

/* The same of sums. */
FV_ALWAYS_INLINE void take_window(const pool_step step, const pool_run *r, const float *x, float *y, const pool_box b,
                                  const size_t vectors, const size_t apart, const size_t n) {
    vf acc[4];
    for (size_t k = 0; k < vectors; k++) acc[k] = v_zero();
    for (int32_t z = 0; z < b.depth; z++)
        for (int32_t v = 0; v < b.height; v++) {
            const float *from = x + z * r->step[0] + v * r->step[1];
            const float *weight = step == WEIGHTED ? r->weight + z * r->weight_step[0] + v * r->weight_step[1] : NULL;
            for (int32_t u = 0; u < b.width; u++, from = one_pointer(from + r->step[2]))
                for (size_t k = 0; k < vectors; k++) {
                    const vf value = load_channels(from + k * apart, n);
                    if (step == SUM) acc[k] = v_add(acc[k], value);
                    if (step == SUM_ABS) acc[k] = v_add(acc[k], v_abs(value));
                    if (step == SUM_SQUARES) acc[k] = v_fma(value, value, acc[k]);
                    if (step == WEIGHTED) acc[k] = v_fma(v_set(weight[u]), value, acc[k]);
                }
        }
    for (size_t k = 0; k < vectors; k++) {
        if (step == SUM) acc[k] = v_mul(acc[k], v_set(r->factor));
        if (step == SUM_SQUARES) acc[k] = v_sqrt(acc[k]);
        store_channels(y + k * apart, acc[k], n);
    }
}

FV_ALWAYS_INLINE void take_vectors(const pool_step step, const pool_run *r, const float *x, float *y, int32_t *index,
                                   int32_t name, const pool_box b, const size_t vectors, const size_t apart,
                                   const size_t n) {
    if (step == LP)
        store_channels(y, lp_of(r, x, n), n);
    else if (step == CUBES)
        store_channels(y, cubes_of(r, x, b, n), n);
    else if (step <= MAX_PLACED)
        take_max_window(step, r, x, y, index, name, b, vectors, apart, n);
    else
        take_window(step, r, x, y, b, vectors, apart, n);
}

/* Of a row's windows of fewer than VW channels, how many of the first may read and write a whole vector. in: from r->x
 * to the last value of the row's first window; out: from r->y to its output. */
static inline size_t whole_windows(const pool_run *r, size_t in, size_t out) {
    in += VW, out += VW;
    if (in > r->readable || out > r->writable) return 0;
    const size_t others = r->windows - 1;
    if (in + others * (size_t)r->x_step <= r->readable && out + others * (size_t)r->y_step <= r->writable)
        return r->windows;
    return fv_min_size((r->readable - in) / (size_t)r->x_step, (r->writable - out) / (size_t)r->y_step) + 1;
}

/* All channels of a window. width_class: 1, one vector; 2, two that may overlap; 0, more, of which the last may overlap
 * the one before. */
FV_ALWAYS_INLINE void take_channels(const pool_step step, const pool_run *r, const float *x, float *y, int32_t *index,
                                    int32_t name, const pool_box b, const int width_class) {
    if (width_class == 1) {
        take_vectors(step, r, x, y, index, name, b, 1, 0, VW);
        return;
    }
    if (width_class == 2) {
        take_vectors(step, r, x, y, index, name, b, 2, r->channels - VW, VW);
        return;
    }
    size_t c = 0;
    const size_t group = step == LP || step == CUBES ? 1 : step == MAX_PLACED ? 2 : 4;
    for (; group > 1 && c + group * VW <= r->channels; c += group * VW)
        take_vectors(step, r, x + c, y + c, step == MAX_PLACED ? index + c : NULL, name, b, group, VW, VW);
    for (; c < r->channels; c += VW) {
        c = fv_min_size(c, r->channels - VW);
        take_vectors(step, r, x + c, y + c, step == MAX_PLACED ? index + c : NULL, name, b, 1, 0, VW);
    }
}

FV_ALWAYS_INLINE void take_windows(const pool_step step, const pool_run *given, const pool_box b,
                                   const int width_class) {
    const pool_run own = *given, *const r = &own; /* stores of vectors may change anything but what is our own */
    const size_t channels = r->channels;
    const ptrdiff_t last = (b.depth - 1) * r->step[0] + (b.height - 1) * r->step[1] + (b.width - 1) * r->step[2];
    int32_t *index = step == MAX_PLACED ? r->index : NULL;
    for (size_t j = 0; j < r->rows; j++) {
        const ptrdiff_t in = (ptrdiff_t)j * r->x_row, out = (ptrdiff_t)j * r->y_row;
        const float *x = r->x + in;
        float *y = r->y + out;
        int32_t name = r->name + (int32_t)j * r->names_row;
        size_t whole = r->windows, i = 0;
        if (width_class == 1 && channels < VW) whole = whole_windows(r, (size_t)(in + last), (size_t)out);
        for (; i < whole; i++) {
            take_channels(step, r, x, y, index, name, b, width_class);
            x += r->x_step, y += r->y_step, name += r->names_apart;
            if (step == MAX_PLACED) index += channels;
        }
        for (; i < r->windows; i++) {
            take_vectors(step, r, x, y, index, name, b, 1, 0, channels);
            x += r->x_step, y += r->y_step, name += r->names_apart;
            if (step == MAX_PLACED) index += channels;
        }
    }
}

FV_ALWAYS_INLINE void take_widths(const pool_step step, const pool_run *r, const pool_box b) {
    if (r->channels <= VW)
        take_windows(step, r, b, 1);
    else if (r->channels <= 2 * VW)
        take_windows(step, r, b, step == LP || step == CUBES ? 0 : 2);
    else
        take_windows(step, r, b, 0);
}

/* ---- sums of large windows: several values at once, all their channels, so that each is read in one stream ---- */

enum { STREAMS = 8, MANY = 16 }; /* values at once; from so many on it pays */

/* `count` values, `step` apart: y = (what stands there, or 0) + their sum in order, times factor. */
FV_ALWAYS_INLINE void add_streams(const float *x, ptrdiff_t step, const int count, float *y, size_t channels,
                                  bool first, float factor) {
    const vf scale = v_set(factor);
    for (size_t c = 0; c + VW <= channels; c += VW) {
        vf sum = first ? v_zero() : v_load(y + c);
        for (int k = 0; k < count; k++) sum = v_add(sum, v_load(x + k * step + (ptrdiff_t)c));
        v_store(y + c, v_mul(sum, scale));
    }
}

static void add_some_streams(const float *x, ptrdiff_t step, size_t count, float *y, size_t channels, bool first,
                             float factor) {
    switch (count) {
    case 8:
        add_streams(x, step, 8, y, channels, first, factor);
        break;
    case 7:
        add_streams(x, step, 7, y, channels, first, factor);
        break;
    case 4:
        add_streams(x, step, 4, y, channels, first, factor);
        break;
    default:
        for (size_t k = 0; k < count; k++, x += step, first = false)
            add_streams(x, step, 1, y, channels, first, k + 1 == count ? factor : 1.0f);
    }
}

/* The window of r's first output; whole vectors of channels. Rows without a gap between them are one. */
static void sum_large_window(const pool_run *r, const float *x, float *y) {
    const bool joined = r->count[0] == 1 && r->step[1] == r->count[2] * r->step[2];
    const size_t rows = joined ? 1 : (size_t)(r->count[0] * r->count[1]);
    const size_t width = joined ? (size_t)(r->count[1] * r->count[2]) : (size_t)r->count[2];
    for (size_t row = 0; row < rows; row++) {
        const size_t z = row / (size_t)r->count[1], v = row % (size_t)r->count[1];
        const float *from = x + (ptrdiff_t)z * r->step[0] + (ptrdiff_t)v * r->step[1];
        const size_t most = fv_div_up(width, fv_div_up(width, STREAMS)); /* runs of one length but for the last */
        for (size_t u = 0; u < width; u += most) {
            const size_t count = fv_min_size(most, width - u);
            const bool last = row + 1 == rows && u + count == width;
            add_some_streams(from + (ptrdiff_t)u * r->step[2], r->step[2], count, y, r->channels, row + u == 0,
                             last ? r->factor : 1.0f);
        }
    }
}

static bool sum_large_windows(const pool_run *r) {
    if (r->count[0] * r->count[1] * r->count[2] < MANY || r->channels < 4 * VW) return false;
    for (size_t j = 0; j < r->rows; j++)
        for (size_t i = 0; i < r->windows; i++) {
            const float *x = r->x + (ptrdiff_t)j * r->x_row + (ptrdiff_t)i * r->x_step;
            float *y = r->y + (ptrdiff_t)j * r->y_row + (ptrdiff_t)i * r->y_step;
            sum_large_window(r, x, y);
            const size_t rest = r->channels % VW, at = r->channels - VW;
            const pool_box box = {r->count[0], r->count[1], r->count[2], false};
            if (rest) take_window(SUM, r, x + at, y + at, box, 1, 0, VW);
        }
    return true;
}

/* Windows of 2x2 and 3x3 have their loops unrolled. */
FV_ALWAYS_INLINE void take_shaped(const pool_step step, const pool_run *r) {
    const int32_t *n = r->count;
    if (n[0] == 1 && n[1] == 2 && n[2] == 2)
        take_widths(step, r, (pool_box){1, 2, 2, true});
    else if (n[0] == 1 && n[1] == 3 && n[2] == 3)
        take_widths(step, r, (pool_box){1, 3, 3, true});
    else
        take_widths(step, r, (pool_box){n[0], n[1], n[2], false});
}

static void take_max(const pool_run *r) { take_shaped(MAX, r); }
static void take_max_placed(const pool_run *r) { take_shaped(MAX_PLACED, r); }
static void take_sum(const pool_run *r) {
    if (!sum_large_windows(r)) take_shaped(SUM, r);
}
static void take_abs(const pool_run *r) {
    take_widths(SUM_ABS, r, (pool_box){r->count[0], r->count[1], r->count[2], false});
}
static void take_squares(const pool_run *r) { take_shaped(SUM_SQUARES, r); }
static void take_cubes(const pool_run *r) { take_shaped(CUBES, r); }
static void take_lp(const pool_run *r) { take_widths(LP, r, (pool_box){r->count[0], r->count[1], r->count[2], false}); }
static void take_weighted(const pool_run *r) { take_shaped(WEIGHTED, r); }

/* Nothing of the window lies inside: what a maximum or a sum of nothing is. */
static void take_nothing(const pool_run *r, bool max, bool average) {
    for (size_t c = 0; c < r->channels; c += VW) {
        const size_t n = fv_min_size(r->channels - c, VW);
        store_channels(r->y + c, max ? v_set(-INFINITY) : average ? v_mul(v_zero(), v_set(r->factor)) : v_zero(), n);
        if (max && r->index) store_names(r->index + c, vi_set(-1), n);
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

/* Output pixels along an axis whose windows lie wholly inside the input. */
static void inner_pixels(const fv_pool_desc *d, int a, int32_t *begin, int32_t *end) {
    const int32_t room = d->in[a] - 1 + d->pad[a] - (d->window[a] - 1) * d->dilation[a];
    *begin = (d->pad[a] + d->stride[a] - 1) / d->stride[a];
    *end = room < 0 ? 0 : room / d->stride[a] + 1;
    if (*end > d->out[a]) *end = d->out[a];
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

/* `rows` rows of `windows` windows from output pixel o, the p-th, on, whose boxes are alike. */
static void run_windows(const pool_call *c, pool_run *r, const fv_pool_pixel *o, size_t p, size_t windows,
                        size_t rows) {
    const fv_pool_desc *d = c->d;
    const fv_pool_tap t = fv_pool_first_tap(d, o);
    const ptrdiff_t out = fv_pool_offset(d->out_pitch, o);
    for (int a = 0; a < 3; a++) r->count[a] = t.high[a] - t.low[a];
    r->y = c->y + out;
    r->index = c->index ? c->index + p * r->channels : NULL;
    r->windows = windows;
    r->rows = rows;
    for (int32_t k = 0; k < 9 && c->index && r->count[2] > 0; k++)
        r->names[k] = k / r->count[2] * r->name_step[1] + k % r->count[2] * r->name_step[2];
    if (c->average) r->factor = 1.0f / (float)fv_pool_divisor(d, o);
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
    int32_t begin[3], end[3];
    pool_run r = {.p = p,
                  .channels = (size_t)d->channels,
                  .x_step = d->stride[2] * d->in_pitch[3],
                  .y_step = d->out_pitch[3],
                  .x_row = d->stride[1] * d->in_pitch[2],
                  .y_row = d->out_pitch[2]};
    const int32_t places[3] = {d->in[1] * d->in[2], d->in[2], 1};
    for (int a = 0; a < 3; a++) {
        r.weight_step[a] = a == 0 ? d->window[1] * d->window[2] : a == 1 ? d->window[2] : 1;
        r.name_step[a] = d->places ? places[a] * d->dilation[a] : r.weight_step[a];
        r.step[a] = d->dilation[a] * d->in_pitch[a + 1];
        inner_pixels(d, a, &begin[a], &end[a]);
    }
    r.names_apart = d->places ? d->stride[2] : 0;
    r.names_row = d->places ? d->stride[1] * d->in[2] : 0;
    c->in_size = dense_size(d->in_pitch, d->in, d->images, d->channels);
    c->out_end = dense_size(d->out_pitch, d->out, d->images, d->channels) ? pixels.end * (size_t)d->channels : 0;
    const size_t width = (size_t)d->out[2];
    const bool whole_rows = begin[2] == 0 && end[2] == d->out[2];
    fv_pool_pixel o = fv_pool_out_pixel(d, pixels.begin);
    for (size_t i = pixels.begin; i < pixels.end; fv_pool_next_row(d->out, &o)) {
        if (whole_rows && o.at[2] == 0 && o.at[1] >= begin[1] && o.at[1] < end[1] && pixels.end - i >= width) {
            const size_t rows = fv_min_size((size_t)(end[1] - o.at[1]), (pixels.end - i) / width);
            run_windows(c, &r, &o, i, width, rows);
            i += rows * width;
            o.at[1] += (int32_t)rows - 1;
            continue;
        }
        const size_t stop = i + fv_min_size(width - (size_t)o.at[2], pixels.end - i);
        while (i < stop) {
            const bool inner = o.at[2] >= begin[2] && o.at[2] < end[2];
            const size_t windows = inner ? fv_min_size(stop - i, (size_t)(end[2] - o.at[2])) : 1;
            run_windows(c, &r, &o, i, windows, 1);
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
    pool_call c = {.d = d,
                   .x = x,
                   .y = y,
                   .take = p == 1   ? take_abs
                           : p == 2 ? take_squares
                           : p == 3 ? take_cubes
                                    : take_lp};
    pool(&c, p, pixels);
}

static void pool_weighted(const fv_pool_desc *d, const float *weight, const float *x, float *y, fv_range pixels) {
    pool_call c = {.d = d, .x = x, .y = y, .weight = weight, .take = take_weighted};
    pool(&c, 0, pixels);
}
