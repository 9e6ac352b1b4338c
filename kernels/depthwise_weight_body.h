/* The weight gradient: sums in memory, a tile's pixels added in registers; included by depthwise_body.h. */
#include "kernels/depthwise_walk.h"

typedef struct grad_tile {
    const float *x, *dy; /* of the first pixel; x at the first kernel row and column that count */
    ptrdiff_t x_row, x_column, x_pixel, dy_pixel;
    float *dw; /* of the first channel, there */
    ptrdiff_t dw_row, dw_column;
    float *db; /* or NULL */
    int32_t rows, columns, count, left, right;
    size_t vectors, tail;
} grad_tile;

#define LOAD_DY(p) const vf g##p = p < pixels ? load(t->dy + vector * VW + p * t->dy_pixel, n) : v_zero();
#define ADD_BIAS(p)                                                                                                              \
    if (p < pixels) sum = v_add(sum, g##p);
#define BIAS                                                                                                                     \
    if (t->db) {                                                                                                                 \
        vf sum = load(t->db + vector * VW, n);                                                                                   \
        PIXELS(ADD_BIAS)                                                                                                         \
        store(t->db + vector * VW, sum, n);                                                                                      \
    }

FV_ALWAYS_INLINE void any_grad_vector(const grad_tile *t, size_t vector, const int pixels, size_t n) {
    PIXELS(LOAD_DY)
    BIAS const float *row = t->x + vector * VW;
    float *dw_row = t->dw + vector * VW;
    for (int32_t u = 0; u < t->rows; u++, row += t->x_row, dw_row += t->dw_row) {
        const float *x = row;
        float *dw = dw_row;
        for (int32_t v = 0; v < t->columns; v++, x += t->x_column, dw += t->dw_column) {
            vf sum = load(dw, n);
#define ADD(p)                                                                                                                   \
    if (p < pixels) sum = v_fma(load(x + p * t->x_pixel, n), g##p, sum);
            PIXELS(ADD)
#undef ADD
            store(dw, sum, n);
        }
    }
}

FV_ALWAYS_INLINE void next_grad_tile(grad_tile *t, const int pixels) {
    t->x += pixels * t->x_pixel;
    t->dy += pixels * t->dy_pixel;
}

FV_ALWAYS_INLINE void any_grad_tiles(const grad_tile *given, const int pixels) {
    grad_tile t = *given;
    for (int32_t i = 0; i < t.count; i++, next_grad_tile(&t, pixels))
        for (size_t vector = 0; vector < t.vectors; vector++) any_grad_vector(&t, vector, pixels, VW);
}

static void tail_grad_vector(const grad_tile *given) {
    const grad_tile t = *given;
    any_grad_vector(&t, t.vectors, 1, t.tail);
}

FV_ALWAYS_INLINE void sliding_grad_vectors(const grad_tile *t, const int columns, const int step, const int pixels) {
    const size_t n = VW;
    const grad_tile *const ends = t;
    for (size_t vector = 0; vector < t->vectors; vector++) {
        PIXELS(LOAD_DY)
        BIAS const float *x = t->x + vector * VW;
        float *dw = t->dw + vector * VW;
        for (int32_t u = 0; u < t->rows; u++, x += t->x_row, dw += t->dw_row) {
            vf s0 = v_load(dw), s1 = v_load(dw + t->dw_column), s2 = v_load(dw + 2 * t->dw_column);
            vf s3 = columns > 3 ? v_load(dw + 3 * t->dw_column) : s0, s4 = columns > 4 ? v_load(dw + 4 * t->dw_column) : s0;
#define ADD_TO(j, p, i)                                                                                                          \
    if (TAP(j, p) == i) s##i = v_fma(in, g##p, s##i);
#define ADD(j, p) ADD_TO(j, p, 0) ADD_TO(j, p, 1) ADD_TO(j, p, 2) ADD_TO(j, p, 3) ADD_TO(j, p, 4)
#define COLUMN(j)                                                                                                                \
    if (COLUMN_INSIDE(j)) {                                                                                                      \
        const vf in = v_load(x + j * t->x_column);                                                                               \
        EVERY(ADD, j)                                                                                                            \
    }
            COLUMNS(COLUMN)
#undef COLUMN
#undef ADD
#undef ADD_TO
            v_store(dw, s0);
            v_store(dw + t->dw_column, s1);
            v_store(dw + 2 * t->dw_column, s2);
            if (columns > 3) v_store(dw + 3 * t->dw_column, s3);
            if (columns > 4) v_store(dw + 4 * t->dw_column, s4);
        }
    }
}

FV_ALWAYS_INLINE void sliding_grad_tiles(const grad_tile *given, const int columns, const int step, const int pixels) {
    grad_tile t = *given;
    for (int32_t i = 0; i < t.count; i++, next_grad_tile(&t, pixels)) sliding_grad_vectors(&t, columns, step, pixels);
}

#define DEFINE(p)                                                                                                                \
    static void grad_3_s1_##p(const grad_tile *t) { sliding_grad_tiles(t, 3, 1, p); }                                            \
    static void grad_3_s2_##p(const grad_tile *t) { sliding_grad_tiles(t, 3, 2, p); }                                            \
    static void grad_5_s1_##p(const grad_tile *t) { sliding_grad_tiles(t, 5, 1, p); }                                            \
    static void grad_any_##p(const grad_tile *t) { any_grad_tiles(t, p); }
SIZES(DEFINE)
#undef DEFINE

typedef void (*grad_tile_fn)(const grad_tile *t);
#define ROW_3_S1(p) grad_3_s1_##p,
#define ROW_3_S2(p) grad_3_s2_##p,
#define ROW_5_S1(p) grad_5_s1_##p,
#define ROW_ANY(p) grad_any_##p,
static const grad_tile_fn grad_tiles[][TILE] = {{SIZES(ROW_ANY)}, {SIZES(ROW_3_S1)}, {SIZES(ROW_3_S2)}, {SIZES(ROW_5_S1)}};
#undef ROW_3_S1
#undef ROW_3_S2
#undef ROW_5_S1
#undef ROW_ANY

static void move_grad_tile(grad_tile *t, int32_t ox, taps_inside v) {
    t->x += (ptrdiff_t)ox * t->x_pixel + v.begin * t->x_column;
    t->dw += v.begin * t->dw_column;
    t->columns = v.end - v.begin;
    t->dy += ox * t->dy_pixel;
}

static void run_grad_span(const void *row, const span *s, int kind) {
    grad_tile t = *(const grad_tile *)row;
    move_grad_tile(&t, s->begin, (taps_inside){0, t.columns});
    t.count = s->count;
    t.left = s->left;
    t.right = s->right;
    grad_tiles[kind][s->size - 1](&t);
}

static void run_grad_border(const void *row, int32_t ox, taps_inside v) {
    grad_tile t = *(const grad_tile *)row;
    move_grad_tile(&t, ox, v);
    t.count = 1;
    grad_any_1(&t);
}

static void run_grad_tail(const void *row, int32_t ox, taps_inside v) {
    grad_tile t = *(const grad_tile *)row;
    move_grad_tile(&t, ox, v);
    tail_grad_vector(&t);
}

static void run_grad_row(const walk *k, const grad_tile *row, int32_t oy) {
    grad_tile t = *row;
    const taps_inside u = inside(&k->y, oy);
    t.x += u.begin * t.x_row;
    t.dw += u.begin * t.dw_row;
    t.rows = u.end - u.begin;
    t.columns = k->x.taps;
    walk_row(k, &t, &(row_calls){run_grad_span, t.vectors ? run_grad_border : NULL, t.tail ? run_grad_tail : NULL});
}

static void clear(float *row, fv_range channels) {
    for (size_t c = channels.begin; c < channels.end; c++) row[c] = 0;
}

static void weight_grad(const fv_depthwise_desc *d, const float *x, const float *dy, float *dw, ptrdiff_t dw_pitch, float *db,
                        fv_range rows, fv_range channels) {
    const walk k = begin_walk(d, forward_axis(d, 0), forward_axis(d, 1), d->out[1], 1, false, 0);
    const size_t image = (size_t)d->in[0] * (size_t)d->in[1] * (size_t)d->channels,
                 dy_row = (size_t)d->out[1] * (size_t)d->channels;
    const size_t chunk = chunk_of((size_t)d->kernel[0], (size_t)d->in[1], channels.end - channels.begin);
    const int32_t taps = fv_depthwise_taps(d);
    const ptrdiff_t step = d->true_convolution ? -dw_pitch : dw_pitch;
    for (int32_t t = 0; t < taps; t++) clear(dw + t * dw_pitch, channels);
    if (db) clear(db, channels);
    for (size_t c = channels.begin; c < channels.end; c += chunk) {
        const size_t n = fv_min_size(chunk, channels.end - c);
        grad_tile t = {.x_row = (ptrdiff_t)k.y.gap * k.x.in * k.x_pixel,
                       .x_column = k.x.gap * k.x_pixel,
                       .x_pixel = k.x.step * k.x_pixel,
                       .dy_pixel = k.y_pixel,
                       .dw = dw + (d->true_convolution ? (taps - 1) * dw_pitch : 0) + c,
                       .dw_row = d->kernel[1] * step,
                       .dw_column = step,
                       .db = db ? db + c : NULL,
                       .vectors = n / VW,
                       .tail = n % VW};
        for (size_t row = rows.begin; row < rows.end; row++) {
            const int32_t oy = (int32_t)(row % (size_t)d->out[0]);
            t.x = x + row / (size_t)d->out[0] * image + c +
                  ((ptrdiff_t)(oy * k.y.step + k.y.first) * k.x.in + k.x.first) * k.x_pixel;
            t.dy = dy + row * dy_row + c;
            run_grad_row(&k, &t, oy);
        }
    }
}
