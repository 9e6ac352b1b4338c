/* Depthwise convolution over a vector wrapper; included by (isa)/depthwise_(isa).c.
 *
 * A tile is up to 8 neighbouring pixels of an output row, one vector of channels each, its sums in registers. For 3 and 5 kernel
 * columns of neighbouring pixels (steps 1 and 2) a kernel row's weights are in registers too and an input pixel is loaded once
 * for all sums of the tile; at a row's ends such a tile leaves out the input columns that are padding, up to half a kernel. Other
 * kernels load an input a multiply-add in tiles that are all inside. What neither takes are pixels by themselves with the kernel
 * columns that are inside. Kernel rows are cut to those inside for a whole row.
 *
 * The data gradient is the same walk over dy: of dx's columns and rows those of one phase modulo the stride read a regular
 * lattice. */
#include "kernels/depthwise_walk.h"

/* ---- sums ---- */

typedef struct tile {
    const float *x;                     /* of the first pixel, at the first kernel row and column that count */
    ptrdiff_t x_row, x_column, x_pixel; /* between kernel rows, kernel columns, neighbouring pixels */
    const float *w;                     /* of the first vector there */
    ptrdiff_t w_row, w_column, w_vector;
    int32_t rows, columns;
    size_t vectors, tail;         /* whole ones, and channels after them: less than a vector */
    const float *bias, *residual; /* of the first pixel, or NULL */
    float *y;
    ptrdiff_t y_pixel;
    float low, high;
} tile;

FV_ALWAYS_INLINE vf first_of(const tile *t, size_t channel, size_t n) { return t->bias ? load(t->bias + channel, n) : v_zero(); }

FV_ALWAYS_INLINE vf clamped(const tile *t, vf sum) { return v_at_most(v_at_least(sum, v_set(t->low)), v_set(t->high)); }

#define BEGIN(p) vf s##p = begin;
#define ADD_RESIDUAL(p)                                                                                                          \
    if (p < pixels) s##p = v_add(s##p, load(residual + p * t->y_pixel, n));
#define STORE(p)                                                                                                                 \
    if (p < pixels) store(y + p * t->y_pixel, clamped(t, s##p), n);
#define FINISH                                                                                                                   \
    if (t->residual) {                                                                                                           \
        const float *residual = t->residual + vector * VW;                                                                       \
        PIXELS(ADD_RESIDUAL)                                                                                                     \
    }                                                                                                                            \
    float *y = t->y + vector * VW;                                                                                               \
    PIXELS(STORE)

/* Every third column or pixel has a pointer, so that a few of them and two distances address all: a register each would not
 * fit. */
typedef struct thirds {
    const float *at[6];
} thirds;
FV_ALWAYS_INLINE thirds thirds_of(const float *x, ptrdiff_t three) {
    return (thirds){{x, x + three, x + three + three, x + three + three + three, x + 4 * three, x + 5 * three}};
}

/* `columns` kernel columns side by side, `step` input pixels an output pixel, from output ox of the row on; ends: input columns
 * that are padding, at most half a kernel. columns, step and pixels are constants after inlining. ahead: NULL, or two rows of
 * input that the next tile reads, whole pixels of them. */
FV_ALWAYS_INLINE void sliding_vectors(const tile *t, const span *ends, int32_t ox, size_t vector, const int columns,
                                      const int step, const int pixels, const float *ahead) {
    const ptrdiff_t column = t->x_column, y_pixel = t->y_pixel, w_column = t->w_column;
    const ptrdiff_t two = 2 * column, three = 3 * column, y_two = 2 * y_pixel, y_three = 3 * y_pixel;
    const float *first = t->x + ox * t->x_pixel + vector * VW, *w_first = t->w + (ptrdiff_t)vector * t->w_vector;
    const float *bias = t->bias ? t->bias + vector * VW : NULL;
    const float *residual = t->residual ? t->residual + ox * y_pixel + vector * VW : NULL;
    float *y = t->y + ox * y_pixel + vector * VW;
    for (; vector < t->vectors; vector++, first += VW, w_first += t->w_vector, y += VW) {
        const float *x = first, *w = w_first;
        const vf begin = bias ? v_load(bias) : v_zero();
        if (bias) bias += VW;
        PIXELS(BEGIN)
        for (int32_t u = 0; u < t->rows; u++, x += t->x_row, w += t->w_row) {
            const thirds from = thirds_of(x, three);
            const vf w0 = v_load(w), w1 = v_load(w + w_column), w2 = v_load(w + 2 * w_column);
            const vf w3 = columns > 3 ? v_load(w + 3 * w_column) : w0, w4 = columns > 4 ? v_load(w + 4 * w_column) : w0;
#define WEIGHT(i) ((i) == 0 ? w0 : (i) == 1 ? w1 : (i) == 2 ? w2 : (i) == 3 ? w3 : w4)
#define ADD(j, p)                                                                                                                \
    if (TAP(j, p) >= 0) s##p = v_fma(in, WEIGHT(TAP(j, p)), s##p);
#define COLUMN(j)                                                                                                                \
    if (COLUMN_INSIDE(j)) {                                                                                                      \
        vf in = v_load(from.at[j / 3] + (j % 3 == 0 ? 0 : j % 3 == 1 ? column : two));                                           \
        if (step == 2 && j % 2 == 0) in = v_once(in); /* two sums take it */                                                     \
        EVERY(ADD, j)                                                                                                            \
    }
            COLUMNS(COLUMN)
#undef COLUMN
#undef ADD
#undef WEIGHT
        }
        if (ahead) {
            for (int i = 0; i < step * pixels * VW; i += FV_ALIGNMENT / (int)sizeof *ahead) {
                __builtin_prefetch(ahead + i);
                __builtin_prefetch(ahead + t->x_row + i);
            }
            ahead += step * pixels * VW;
        }
        if (residual) {
#define ADD_RESIDUAL_THIRD(p)                                                                                                    \
    if (p < pixels) s##p = v_add(s##p, v_load(residual + p / 3 * y_three + (p % 3 == 0 ? 0 : p % 3 == 1 ? y_pixel : y_two)));
            PIXELS(ADD_RESIDUAL_THIRD)
#undef ADD_RESIDUAL_THIRD
            residual += VW;
        }
        float *const to[3] = {y, y + y_three, y + y_three + y_three};
#define STORE_THIRD(p)                                                                                                           \
    if (p < pixels) v_store(to[p / 3] + (p % 3 == 0 ? 0 : p % 3 == 1 ? y_pixel : y_two), clamped(t, s##p));
        PIXELS(STORE_THIRD)
#undef STORE_THIRD
    }
}

/* t, at output 0 and kernel column 0, moves to output ox with the kernel columns v. */
static void move_tile(tile *t, int32_t ox, taps_inside v) {
    t->x += (ptrdiff_t)ox * t->x_pixel + v.begin * t->x_column;
    t->w += v.begin * t->w_column;
    t->columns = v.end - v.begin;
    t->y += ox * t->y_pixel;
    if (t->residual) t->residual += ox * t->y_pixel;
}

/* Moves to the next tile of the row. */
FV_ALWAYS_INLINE void next_tile(tile *t, const int pixels) {
    t->x += pixels * t->x_pixel;
    t->y += pixels * t->y_pixel;
    if (t->residual) t->residual += pixels * t->y_pixel;
}

FV_ALWAYS_INLINE void sliding_tiles(const tile *given, const span *given_span, const int columns, const int step,
                                    const int pixels) {
    const tile t = *given; /* stores of vectors may change anything but what is our own */
    const span s = *given_span;
    for (int32_t i = 0; i < s.count; i++) sliding_vectors(&t, &s, s.begin + i * pixels, 0, columns, step, pixels, NULL);
}

#define PAIR_PIXELS(M) M(0) M(1) M(2) M(3)
#define PAIR_COLUMNS(M) M(0) M(1) M(2) M(3) M(4) M(5) M(6) M(7) M(8)

/* Three kernel columns, up to four pixels, two vectors at a time: what pixels a power of two apart need, whose lines push each
 * other out of L1 before a second vector reads them. */
FV_ALWAYS_INLINE void pair_tiles(const tile *given, const span *ends, const int step, const int pixels) {
    const int columns = 3;
    tile copy = *given, *const t = &copy;
    move_tile(t, ends->begin, (taps_inside){0, t->columns});
    for (int32_t i = 0; i < ends->count; i++, next_tile(t, pixels)) {
        size_t vector = 0;
        for (; vector + 2 <= t->vectors; vector += 2) {
            const float *x = t->x + vector * VW, *w = t->w + (ptrdiff_t)vector * t->w_vector;
            const vf begin_a = first_of(t, vector * VW, VW), begin_b = first_of(t, vector * VW + VW, VW);
#define BEGIN_PAIR(p) vf a##p = begin_a, b##p = begin_b;
            PAIR_PIXELS(BEGIN_PAIR)
#undef BEGIN_PAIR
            for (int32_t u = 0; u < t->rows; u++, x += t->x_row, w += t->w_row) {
                const float *other = w + t->w_vector;
                const vf wa0 = v_load(w), wa1 = v_load(w + t->w_column), wa2 = v_load(w + 2 * t->w_column);
                const vf wb0 = v_load(other), wb1 = v_load(other + t->w_column), wb2 = v_load(other + 2 * t->w_column);
#define ADD_PAIR(j, p)                                                                                                           \
    if (TAP(j, p) >= 0) {                                                                                                        \
        a##p = v_fma(in_a, TAP(j, p) == 0 ? wa0 : TAP(j, p) == 1 ? wa1 : wa2, a##p);                                             \
        b##p = v_fma(in_b, TAP(j, p) == 0 ? wb0 : TAP(j, p) == 1 ? wb1 : wb2, b##p);                                             \
    }
#define COLUMN(j)                                                                                                                \
    if (COLUMN_INSIDE(j)) {                                                                                                      \
        const vf in_a = v_load(x + j * t->x_column), in_b = v_load(x + j * t->x_column + VW);                                    \
        ADD_PAIR(j, 0) ADD_PAIR(j, 1) ADD_PAIR(j, 2) ADD_PAIR(j, 3)                                                              \
    }
                PAIR_COLUMNS(COLUMN)
#undef COLUMN
#undef ADD_PAIR
            }
#define FINISH_PAIR(p)                                                                                                           \
    if (p < pixels) {                                                                                                            \
        const ptrdiff_t at = (ptrdiff_t)(vector * VW) + p * t->y_pixel;                                                          \
        if (t->residual) a##p = v_add(a##p, v_load(t->residual + at)), b##p = v_add(b##p, v_load(t->residual + at + VW));        \
        v_store(t->y + at, clamped(t, a##p));                                                                                    \
        v_store(t->y + at + VW, clamped(t, b##p));                                                                               \
    }
            PAIR_PIXELS(FINISH_PAIR)
#undef FINISH_PAIR
        }
        sliding_vectors(t, ends, 0, vector, columns, step, pixels, NULL);
    }
}

/* Any kernel: one vector, or its first n channels. */
FV_ALWAYS_INLINE void any_vector(const tile *t, size_t vector, const int pixels, size_t n) {
    const float *row = t->x + vector * VW, *w_row = t->w + (ptrdiff_t)vector * t->w_vector;
    const vf begin = first_of(t, vector * VW, n);
    PIXELS(BEGIN)
    for (int32_t u = 0; u < t->rows; u++, row += t->x_row, w_row += t->w_row) {
        const float *x = row, *w = w_row;
        for (int32_t v = 0; v < t->columns; v++, x += t->x_column, w += t->w_column) {
            const vf weight = v_load(w);
#define ADD(p)                                                                                                                   \
    if (p < pixels) s##p = v_fma(load(x + p * t->x_pixel, n), weight, s##p);
            PIXELS(ADD)
#undef ADD
        }
    }
    FINISH
}

FV_ALWAYS_INLINE void any_tiles(const tile *given, const span *s, const int pixels) {
    tile t = *given;
    move_tile(&t, s->begin, (taps_inside){0, t.columns});
    for (int32_t i = 0; i < s->count; i++, next_tile(&t, pixels))
        for (size_t vector = 0; vector < t.vectors; vector++) any_vector(&t, vector, pixels, VW);
}

static void tail_vector(const tile *given) {
    const tile t = *given;
    any_vector(&t, t.vectors, 1, t.tail);
}

/* One pixel, four vectors at a time. */
static void border_pixel(const tile *given) {
    const tile t = *given;
    size_t vector = 0;
    for (; vector + 4 <= t.vectors; vector += 4) {
        const float *row = t.x + vector * VW, *w_row = t.w + (ptrdiff_t)vector * t.w_vector;
        const size_t at = vector * VW;
        vf s0 = first_of(&t, at, VW), s1 = first_of(&t, at + VW, VW), s2 = first_of(&t, at + 2 * VW, VW),
           s3 = first_of(&t, at + 3 * VW, VW);
        for (int32_t u = 0; u < t.rows; u++, row += t.x_row, w_row += t.w_row) {
            const float *x = row, *w = w_row;
            for (int32_t v = 0; v < t.columns; v++, x += t.x_column, w += t.w_column) {
                s0 = v_fma(v_load(x), v_load(w), s0);
                s1 = v_fma(v_load(x + VW), v_load(w + t.w_vector), s1);
                s2 = v_fma(v_load(x + 2 * VW), v_load(w + 2 * t.w_vector), s2);
                s3 = v_fma(v_load(x + 3 * VW), v_load(w + 3 * t.w_vector), s3);
            }
        }
        if (t.residual) {
            s0 = v_add(s0, v_load(t.residual + at));
            s1 = v_add(s1, v_load(t.residual + at + VW));
            s2 = v_add(s2, v_load(t.residual + at + 2 * VW));
            s3 = v_add(s3, v_load(t.residual + at + 3 * VW));
        }
        v_store(t.y + at, clamped(&t, s0));
        v_store(t.y + at + VW, clamped(&t, s1));
        v_store(t.y + at + 2 * VW, clamped(&t, s2));
        v_store(t.y + at + 3 * VW, clamped(&t, s3));
    }
    for (; vector < t.vectors; vector++) any_vector(&t, vector, 1, VW);
}

#define DEFINE(p)                                                                                                                \
    static void tile_3_s1_##p(const tile *t, const span *s) { sliding_tiles(t, s, 3, 1, p); }                                    \
    static void tile_3_s2_##p(const tile *t, const span *s) { sliding_tiles(t, s, 3, 2, p); }                                    \
    static void tile_5_s1_##p(const tile *t, const span *s) { sliding_tiles(t, s, 5, 1, p); }                                    \
    static void tile_any_##p(const tile *t, const span *s) { any_tiles(t, s, p); }
SIZES(DEFINE)
#undef DEFINE

#define PAIR_SIZES(M) M(1) M(2) M(3) M(4)
#define DEFINE(p)                                                                                                                \
    static void pair_s1_##p(const tile *t, const span *s) { pair_tiles(t, s, 1, p); }                                            \
    static void pair_s2_##p(const tile *t, const span *s) { pair_tiles(t, s, 2, p); }
PAIR_SIZES(DEFINE)
#undef DEFINE

typedef void (*tile_fn)(const tile *t, const span *s);
#define ROW_PAIR_S1(p) pair_s1_##p,
#define ROW_PAIR_S2(p) pair_s2_##p,
#define ROW_3_S1(p) tile_3_s1_##p,
#define ROW_3_S2(p) tile_3_s2_##p,
#define ROW_5_S1(p) tile_5_s1_##p,
#define ROW_ANY(p) tile_any_##p,
static const tile_fn tiles[][TILE] = {{SIZES(ROW_ANY)},  {SIZES(ROW_3_S1)},         {SIZES(ROW_3_S2)},
                                      {SIZES(ROW_5_S1)}, {PAIR_SIZES(ROW_PAIR_S1)}, {PAIR_SIZES(ROW_PAIR_S2)}};
#undef ROW_PAIR_S1
#undef ROW_PAIR_S2
#undef ROW_3_S1
#undef ROW_3_S2
#undef ROW_5_S1
#undef ROW_ANY

static void run_span(const void *row, const span *s, int kind) { tiles[kind][s->size - 1](row, s); }

static void run_border(const void *row, int32_t ox, taps_inside v) {
    tile t = *(const tile *)row;
    move_tile(&t, ox, v);
    border_pixel(&t);
}

static void run_tail(const void *row, int32_t ox, taps_inside v) {
    tile t = *(const tile *)row;
    move_tile(&t, ox, v);
    tail_vector(&t);
}

/* t: x at kernel row 0 of output row oy and input column `x.first`, w at vector 0 and position (0, 0), rows not yet cut. */
static void cut_rows(const walk *k, tile *t, int32_t oy) {
    const taps_inside u = inside(&k->y, oy);
    t->x += u.begin * t->x_row;
    t->w += u.begin * t->w_row;
    t->rows = u.end - u.begin;
    t->columns = k->x.taps;
}

static void run_row(const walk *k, const tile *row, int32_t oy) {
    tile t = *row;
    cut_rows(k, &t, oy);
    walk_row(k, &t, &(row_calls){run_span, t.vectors ? run_border : NULL, t.tail ? run_tail : NULL});
}

static tile begin_tile(const fv_depthwise_desc *d, const walk *k, const float *packed, const float *bias, fv_range channels) {
    const size_t n = channels.end - channels.begin;
    return (tile){.x_row = (ptrdiff_t)k->y.gap * k->x.in * k->x_pixel,
                  .x_column = k->x.gap * k->x_pixel,
                  .x_pixel = k->x.step * k->x_pixel,
                  .w = packed + (ptrdiff_t)(channels.begin / VW) * k->w_block +
                       ((ptrdiff_t)k->y.weight * k->kernel_columns + k->x.weight) * VW,
                  .w_row = (ptrdiff_t)k->y.weight_step * k->kernel_columns * VW,
                  .w_column = k->x.weight_step * VW,
                  .w_vector = k->w_block,
                  .vectors = n / VW,
                  .tail = n % VW,
                  .bias = bias ? bias + channels.begin : NULL,
                  .y_pixel = k->y_pixel,
                  .low = d->act_low,
                  .high = d->act_high};
}

/* Moves t to an output row whose image begins at x. */
static void place_row(const walk *k, tile *t, const float *x, int32_t oy) {
    t->x = x + ((ptrdiff_t)(oy * k->y.step + k->y.first) * k->x.in + k->x.first) * k->x_pixel;
}

static size_t packed_size(const fv_depthwise_desc *d) {
    return fv_round_up((size_t)d->channels, VW) * (size_t)fv_depthwise_taps(d);
}

/* [vector of channels][kernel position][VW], zeros past the channels. */
static void pack(const fv_depthwise_desc *d, const fv_conv_weights *w, float *packed, fv_range channels) {
    const int32_t taps = fv_depthwise_taps(d);
    for (size_t first = channels.begin; first < channels.end; first += VW)
        for (int32_t t = 0; t < taps; t++) {
            const float *from = w->data + (d->true_convolution ? taps - 1 - t : t) * w->tap;
            float *to = packed + first * (size_t)taps + (size_t)t * VW;
            for (size_t i = 0; i < VW; i++) to[i] = first + i < (size_t)d->channels ? from[(ptrdiff_t)(first + i) * w->group] : 0;
        }
}

typedef struct maps {
    const fv_depthwise_desc *d;
    const float *x, *residual;
    float *y;
} maps;

/* Moves t to channel c of output row `row` of all images; gives its number in its image. */
static int32_t place_forward(const maps *m, const walk *k, tile *t, size_t row, size_t c) {
    const fv_depthwise_desc *d = m->d;
    const size_t height = (size_t)d->out[0], channels = (size_t)d->channels;
    const size_t image = (size_t)d->in[0] * (size_t)d->in[1] * channels, y_row = (size_t)d->out[1] * channels;
    const int32_t oy = (int32_t)(row % height);
    place_row(k, t, m->x + row / height * image + c, oy);
    t->y = m->y + row * y_row + c;
    t->residual = m->residual ? m->residual + row * y_row + c : NULL;
    return oy;
}

/* One tile a row; rows whose kernel is all inside go on from the one above. */
FV_ALWAYS_INLINE void strip_rows(const maps *m, const walk *k, const tile *given, const span *given_span, fv_range rows,
                                 const int pixels) {
    const span s = *given_span;
    const ptrdiff_t y_row = (ptrdiff_t)k->columns * k->y_pixel;
    const int32_t height = (k->y.in - 3 - k->y.first) / 2 + 1; /* rows after it reach into padding */
    for (size_t row = rows.begin; row < rows.end;) {
        tile t = *given; /* and what is so in every strip, said once more for the compiler */
        t.y_pixel = t.x_column, t.w_column = VW, t.w_row = 3 * VW, t.w_vector = 9 * VW;
        int32_t oy = place_forward(m, k, &t, row, 0);
        const float *ahead = t.x + 3 * t.x_row + s.begin * t.x_pixel + t.x_column;
        cut_rows(k, &t, oy);
        for (bool next = true; next; oy++, row++) {
            next = row + 1 < rows.end && oy + 1 < height && oy + 1 < m->d->out[0];
            if (t.rows == 3 && s.left == 0 && s.right == 0) {
                t.rows = 3;
                sliding_vectors(&t, &(const span){0}, s.begin, 0, 3, 2, pixels, next ? ahead : NULL);
            } else {
                sliding_vectors(&t, &s, s.begin, 0, 3, 2, pixels, next && s.right == 0 ? ahead : NULL);
            }
            ahead += 2 * t.x_row;
            t.x += 2 * t.x_row;
            t.y += y_row;
            if (t.residual) t.residual += y_row;
            if (t.rows < 3) next = false;
        }
    }
}

#define STRIP_SIZES(M) M(1) M(2) M(3) M(4) M(5)
#define DEFINE(p)                                                                                                                \
    static void strip_##p(const maps *m, const walk *k, const tile *t, const span *s, fv_range rows) {                           \
        strip_rows(m, k, t, s, rows, p);                                                                                         \
    }
STRIP_SIZES(DEFINE)
#undef DEFINE

/* The tiles of all rows, a strip of them after the other. */
static void forward_strips(const maps *m, const walk *k, const tile *t, fv_range rows) {
#define ROW_STRIP(p) strip_##p,
    static void (*const strips[])(const maps *, const walk *, const tile *, const span *, fv_range) = {STRIP_SIZES(ROW_STRIP)};
#undef ROW_STRIP
    for (int32_t i = 0; i < k->span_count; i++)
        for (int32_t j = 0; j < k->spans[i].count; j++) {
            span one = k->spans[i];
            one.begin += j * one.size;
            one.count = 1;
            strips[one.size - 1](m, k, t, &one, rows);
        }
}

static void forward(const fv_depthwise_desc *d, const float *x, const float *packed, const float *bias, const float *residual,
                    float *y, fv_range rows, fv_range channels) {
    const int32_t strip = strip_pixels(d, channels.end - channels.begin);
    const maps m = {d, x, residual, y};
    walk k = begin_walk(d, forward_axis(d, 0), forward_axis(d, 1), d->out[1], 1, true, strip);
    size_t chunk = chunk_of((size_t)d->kernel[0], (size_t)d->in[1], channels.end - channels.begin);
    if (strip) {
        const tile t = begin_tile(d, &k, packed, bias, channels);
        forward_strips(&m, &k, &t, rows);
        chunk = channels.end - channels.begin;
        k.span_count = 0; /* what is left are the ends of rows and of vectors */
    }
    for (size_t c = channels.begin; c < channels.end; c += chunk) {
        tile t = begin_tile(d, &k, packed, bias, (fv_range){c, fv_min_size(c + chunk, channels.end)});
        for (size_t row = rows.begin; row < rows.end; row++) {
            const int32_t oy = place_forward(&m, &k, &t, row, c);
            run_row(&k, &t, oy);
        }
    }
}

static void data_grad(const fv_depthwise_desc *d, const float *dy, const float *packed, const float *bias, float *dx,
                      fv_range rows, fv_range channels) {
    const size_t image = (size_t)d->out[0] * (size_t)d->out[1] * (size_t)d->channels,
                 dx_row = (size_t)d->in[1] * (size_t)d->channels;
    const size_t read = ((size_t)d->kernel[0] + (size_t)d->stride[0] - 1) / (size_t)d->stride[0];
    const size_t chunk =
        chunk_of(read, (size_t)d->out[1] + (size_t)d->in[1] / (size_t)(2 * d->stride[0]), channels.end - channels.begin);
    for (size_t c = channels.begin; c < channels.end; c += chunk)
        for (size_t row = rows.begin; row < rows.end; row++) {
            const int32_t iy = (int32_t)(row % (size_t)d->in[0]), oy = iy / d->stride[0];
            const lattice_axis y = gradient_axis(d, 0, iy % d->stride[0]);
            for (int32_t phase = 0; phase < least(d->stride[1], d->in[1]); phase++) {
                const int32_t columns = (d->in[1] - phase + d->stride[1] - 1) / d->stride[1];
                const walk k = begin_walk(d, y, gradient_axis(d, 1, phase), columns, d->stride[1], true, 0);
                tile t = begin_tile(d, &k, packed, bias, (fv_range){c, fv_min_size(c + chunk, channels.end)});
                place_row(&k, &t, dy + row / (size_t)d->in[0] * image + c, oy);
                t.y = dx + row * dx_row + (size_t)phase * (size_t)d->channels + c;
                run_row(&k, &t, oy);
            }
        }
}

#include "kernels/depthwise_weight_body.h"

static void init_depthwise(fv_depthwise_kernels *k) {
    *k = (fv_depthwise_kernels){VW, packed_size, pack, forward, data_grad, weight_grad};
}
