/* Depthwise convolution over a vector wrapper; included by (isa)/depthwise_(isa).c.
 *
 * A tile is up to 8 neighbouring pixels of an output row, one vector of channels each, its sums in registers. For 3 and 5 kernel
 * columns of neighbouring pixels (steps 1 and 2) a kernel row's weights are in registers too and an input pixel is loaded once for all
 * sums of the tile; at a row's ends such a tile leaves out the input columns that are padding, up to half a kernel. Other kernels load
 * an input a multiply-add in tiles that are all inside. What neither takes are pixels by themselves with the kernel columns that are
 * inside. Kernel rows are cut to those inside for a whole row.
 *
 * The data gradient is the same walk over dy: of dx's columns and rows those of one phase modulo the stride read a regular lattice. */
#include "kernels/depthwise.h"

enum {
    TILE = 8,              /* pixels */
    L1_ELEMENTS = 6 << 10, /* of the input rows that an output row reads: three quarters of L1 */
    LEAST_RUN = 128        /* channels taken together: shorter runs of memory cost more than reading from L2 once a kernel row */
};

/* Along one axis: output o reads inputs o*step + first + i*gap, i < taps, with the kernel positions weight + i*weight_step. */
typedef struct lattice_axis {
    int32_t step, first, gap, taps, in, weight, weight_step;
} lattice_axis;

static lattice_axis forward_axis(const fv_depthwise_desc *d, int i) {
    return (lattice_axis){d->stride[i], -d->pad[i], d->dilation[i], d->kernel[i], d->in[i], 0, 1};
}

static int32_t common_divisor(int32_t a, int32_t b) {
    while (b) {
        const int32_t rest = a % b;
        a = b;
        b = rest;
    }
    return a;
}

/* Inputs stride*j + phase were read by the outputs j + (phase + pad - u*dilation)/stride. */
static lattice_axis gradient_axis(const fv_depthwise_desc *d, int i, int32_t phase) {
    const int32_t s = d->stride[i], dilation = d->dilation[i], divisor = common_divisor(s, dilation), period = s / divisor;
    lattice_axis a = {.step = 1, .gap = dilation / divisor, .in = d->out[i], .weight_step = -period};
    int32_t u = 0;
    while (u < period && u < d->kernel[i] && (phase + d->pad[i] - u * dilation) % s != 0) u++;
    if (u >= period || u >= d->kernel[i]) return a;
    a.taps = (d->kernel[i] - 1 - u) / period + 1;
    a.weight = u + (a.taps - 1) * period;
    a.first = (phase + d->pad[i] - a.weight * dilation) / s;
    return a;
}

static int32_t least(int32_t a, int32_t b) { return a < b ? a : b; }
static int32_t most(int32_t a, int32_t b) { return a > b ? a : b; }

typedef struct taps_inside {
    int32_t begin, end;
} taps_inside;

static taps_inside inside(const lattice_axis *a, int32_t o) {
    const int32_t base = o * a->step + a->first;
    taps_inside t = {base < 0 ? least(a->taps, (-base + a->gap - 1) / a->gap) : 0, base < a->in ? (a->in - 1 - base) / a->gap + 1 : 0};
    t.end = most(t.begin, least(t.end, a->taps));
    return t;
}

/* The outputs of [0, count) all of whose taps are inside. */
static taps_inside interior(const lattice_axis *a, int32_t count) {
    const int32_t last = a->in - 1 - (a->taps - 1) * a->gap - a->first;
    taps_inside t = {a->first < 0 ? least(count, (-a->first + a->step - 1) / a->step) : 0, last < 0 ? 0 : least(count, last / a->step + 1)};
    t.end = most(t.begin, t.end);
    return t;
}

/* ---- sums ---- */

typedef struct tile {
    const float *x; /* of the first pixel, at the first kernel row and column that count */
    ptrdiff_t x_row, x_column, x_pixel; /* between kernel rows, kernel columns, neighbouring pixels */
    const float *w;                     /* of the first vector there */
    ptrdiff_t w_row, w_column, w_vector;
    int32_t rows, columns;
    int32_t count;        /* tiles side by side */
    int32_t left, right;  /* sliding tiles: input columns at the ends that are padding, at most half a kernel */
    size_t vectors, tail; /* whole ones, and channels after them: less than a vector */
    const float *bias, *residual; /* of the first pixel, or NULL */
    float *y;
    ptrdiff_t y_pixel;
    float low, high;
} tile;

FV_ALWAYS_INLINE vf load(const float *p, size_t n) { return n == VW ? v_load(p) : v_load_part(p, n); }
FV_ALWAYS_INLINE void store(float *p, vf a, size_t n) {
    if (n == VW)
        v_store(p, a);
    else
        v_store_part(p, a, n);
}

FV_ALWAYS_INLINE vf first_of(const tile *t, size_t channel, size_t n) { return t->bias ? load(t->bias + channel, n) : v_zero(); }

FV_ALWAYS_INLINE vf clamped(const tile *t, vf sum) { return v_at_most(v_at_least(sum, v_set(t->low)), v_set(t->high)); }

#define PIXELS(M) M(0) M(1) M(2) M(3) M(4) M(5) M(6) M(7)
#define EVERY(M, j) M(j, 0) M(j, 1) M(j, 2) M(j, 3) M(j, 4) M(j, 5) M(j, 6) M(j, 7)
#define COLUMNS(M) M(0) M(1) M(2) M(3) M(4) M(5) M(6) M(7) M(8) M(9) M(10) M(11) M(12) M(13) M(14) M(15) M(16)
/* Whether a tile reads input column j: the first and last few may be padding, the rest is known to the compiler. */
#define COLUMN_INSIDE(j)                                                                                                           \
    ((j) < SPAN && ((j) >= columns / 2 || (j) >= t->left) && ((j) < SPAN - columns / 2 || (j) < SPAN - t->right))
#define SPAN ((pixels - 1) * step + columns)
/* The kernel column that pixel p of a tile takes at input column j, or -1. */
#define TAP(j, p) ((p) < pixels && (j) - (p) * step < columns ? (j) - (p) * step : -1)

#define BEGIN(p) vf s##p = begin;
#define ADD_RESIDUAL(p)                                                                                                            \
    if (p < pixels) s##p = v_add(s##p, load(residual + p * t->y_pixel, n));
#define STORE(p)                                                                                                                   \
    if (p < pixels) store(y + p * t->y_pixel, clamped(t, s##p), n);
#define FINISH                                                                                                                     \
    if (t->residual) {                                                                                                             \
        const float *residual = t->residual + vector * VW;                                                                         \
        PIXELS(ADD_RESIDUAL)                                                                                                       \
    }                                                                                                                              \
    float *y = t->y + vector * VW;                                                                                                 \
    PIXELS(STORE)

/* `columns` kernel columns side by side, `step` input pixels an output pixel; all but t are constants after inlining. */
FV_ALWAYS_INLINE void sliding_vectors(const tile *t, const int columns, const int step, const int pixels) {
    const size_t n = VW;
    for (size_t vector = 0; vector < t->vectors; vector++) {
        const float *x = t->x + vector * VW, *w = t->w + (ptrdiff_t)vector * t->w_vector;
        const vf begin = first_of(t, vector * VW, VW);
        PIXELS(BEGIN)
        for (int32_t u = 0; u < t->rows; u++, x += t->x_row, w += t->w_row) {
            const vf w0 = v_load(w), w1 = v_load(w + t->w_column), w2 = v_load(w + 2 * t->w_column);
            const vf w3 = columns > 3 ? v_load(w + 3 * t->w_column) : w0, w4 = columns > 4 ? v_load(w + 4 * t->w_column) : w0;
#define WEIGHT(i) ((i) == 0 ? w0 : (i) == 1 ? w1 : (i) == 2 ? w2 : (i) == 3 ? w3 : w4)
#define ADD(j, p)                                                                                                                  \
    if (TAP(j, p) >= 0) s##p = v_fma(in, WEIGHT(TAP(j, p)), s##p);
#define COLUMN(j)                                                                                                                  \
    if (COLUMN_INSIDE(j)) {                                                                                                        \
        const vf in = v_load(x + j * t->x_column);                                                                                 \
        EVERY(ADD, j)                                                                                                              \
    }
            COLUMNS(COLUMN)
#undef COLUMN
#undef ADD
#undef WEIGHT
        }
        FINISH
    }
}

/* Moves to the next tile of the row. */
FV_ALWAYS_INLINE void next_tile(tile *t, const int pixels) {
    t->x += pixels * t->x_pixel;
    t->y += pixels * t->y_pixel;
    if (t->residual) t->residual += pixels * t->y_pixel;
}

FV_ALWAYS_INLINE void sliding_tiles(const tile *given, const int columns, const int step, const int pixels) {
    tile t = *given;
    for (int32_t i = 0; i < t.count; i++, next_tile(&t, pixels)) sliding_vectors(&t, columns, step, pixels);
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
#define ADD(p)                                                                                                                     \
    if (p < pixels) s##p = v_fma(load(x + p * t->x_pixel, n), weight, s##p);
            PIXELS(ADD)
#undef ADD
        }
    }
    FINISH
}

FV_ALWAYS_INLINE void any_tiles(const tile *given, const int pixels) {
    tile t = *given;
    for (int32_t i = 0; i < t.count; i++, next_tile(&t, pixels))
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
        vf s0 = first_of(&t, at, VW), s1 = first_of(&t, at + VW, VW), s2 = first_of(&t, at + 2 * VW, VW), s3 = first_of(&t, at + 3 * VW, VW);
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

#define SIZES(M) M(1) M(2) M(3) M(4) M(5) M(6) M(7) M(8)
#define DEFINE(p)                                                                                                                  \
    static void tile_3_s1_##p(const tile *t) { sliding_tiles(t, 3, 1, p); }                                                         \
    static void tile_3_s2_##p(const tile *t) { sliding_tiles(t, 3, 2, p); }                                                         \
    static void tile_5_s1_##p(const tile *t) { sliding_tiles(t, 5, 1, p); }                                                         \
    static void tile_any_##p(const tile *t) { any_tiles(t, p); }
SIZES(DEFINE)
#undef DEFINE

typedef void (*tile_fn)(const tile *t);
#define ROW_3_S1(p) tile_3_s1_##p,
#define ROW_3_S2(p) tile_3_s2_##p,
#define ROW_5_S1(p) tile_5_s1_##p,
#define ROW_ANY(p) tile_any_##p,
enum { KIND_ANY, KIND_3_S1, KIND_3_S2, KIND_5_S1 };
static const tile_fn tiles[][TILE] = {{SIZES(ROW_ANY)}, {SIZES(ROW_3_S1)}, {SIZES(ROW_3_S2)}, {SIZES(ROW_5_S1)}};
#undef ROW_3_S1
#undef ROW_3_S2
#undef ROW_5_S1
#undef ROW_ANY

static int kind_of(const lattice_axis *a) {
    if (a->gap != 1) return KIND_ANY;
    if (a->taps == 3) return a->step == 1 ? KIND_3_S1 : a->step == 2 ? KIND_3_S2 : KIND_ANY;
    return a->taps == 5 && a->step == 1 ? KIND_5_S1 : KIND_ANY;
}

/* A run of tiles of one size in a row. */
typedef struct span {
    int32_t begin, size, count, left, right;
} span;

/* The outputs that tiles can take: all taps inside, for sliding ones all but half a kernel at the row's ends. */
static taps_inside tiled(const lattice_axis *a, int32_t count) {
    lattice_axis wider = *a;
    if (kind_of(a) == KIND_ANY) return interior(a, count);
    wider.first += a->taps / 2;
    wider.in += a->taps / 2 * 2;
    return interior(&wider, count);
}

/* The run that begins at output `begin`: tiles of `size` up to `end`, the last one shorter; one tile where it reaches into padding. */
static span next_span(const lattice_axis *a, int32_t begin, int32_t end, int32_t size) {
    span s = {.begin = begin, .size = least(size, end - begin), .count = 1};
    s.left = most(0, -(begin * a->step + a->first));
    s.right = most(0, (begin + s.size - 1) * a->step + a->first + (a->taps - 1) * a->gap + 1 - a->in);
    if (s.left || s.right) return s;
    const int32_t last = (a->in - 1 - (a->taps - 1) * a->gap - a->first) / a->step; /* output that is all inside */
    s.count = most(1, least(last + 1 - begin, end - begin) / s.size);
    return s;
}

/* ---- rows ---- */

/* The walk over the outputs of one phase (the only one of a forward pass). */
typedef struct walk {
    lattice_axis y, x;
    int32_t columns;            /* outputs of a row */
    ptrdiff_t x_pixel, w_block; /* elements of an input pixel, of a vector's weights */
    int32_t kernel_columns;
    ptrdiff_t y_pixel; /* between outputs of a row */
} walk;

/* Even parts of n, each at most a tile. */
static int32_t even_part(int32_t n) {
    const int32_t parts = most(1, (n + TILE - 1) / TILE);
    return (n + parts - 1) / parts;
}

/* t, at output 0 and kernel column 0, moves to output ox with the kernel columns v. */
static void move_tile(const walk *k, tile *t, int32_t ox, taps_inside v) {
    t->x += (ptrdiff_t)ox * t->x_pixel + v.begin * t->x_column;
    t->w += v.begin * t->w_column;
    t->columns = v.end - v.begin;
    t->y += ox * k->y_pixel;
    if (t->residual) t->residual += ox * k->y_pixel;
}

static void run_span(const walk *k, const tile *row, const span *s, tile_fn run) {
    tile t = *row;
    move_tile(k, &t, s->begin, (taps_inside){0, k->x.taps});
    t.count = s->count;
    t.left = s->left;
    t.right = s->right;
    run(&t);
}

static void run_pixel(const walk *k, const tile *row, int32_t ox, tile_fn run) {
    tile t = *row;
    move_tile(k, &t, ox, inside(&k->x, ox));
    run(&t);
}

/* row: x at kernel row 0 of the output row and input column `x.first`, w at vector 0 and position (0, 0), rows not yet cut. */
static void run_row(const walk *k, const tile *row, int32_t oy) {
    tile t = *row;
    const taps_inside u = inside(&k->y, oy), middle = tiled(&k->x, k->columns);
    t.x += u.begin * t.x_row;
    t.w += u.begin * t.w_row;
    t.rows = u.end - u.begin;
    for (int32_t ox = 0; ox < k->columns && t.tail; ox++) run_pixel(k, &t, ox, tail_vector);
    if (t.vectors == 0) return;
    for (int32_t ox = 0; ox < middle.begin; ox++) run_pixel(k, &t, ox, border_pixel);
    const int32_t size = even_part(middle.end - middle.begin);
    for (span s = {.begin = middle.begin}; s.begin < middle.end; s.begin += s.size * s.count) {
        s = next_span(&k->x, s.begin, middle.end, size);
        run_span(k, &t, &s, tiles[kind_of(&k->x)][s.size - 1]);
    }
    for (int32_t ox = middle.end; ox < k->columns; ox++) run_pixel(k, &t, ox, border_pixel);
}

/* Channels taken through all rows of a call together. */
static size_t chunk_of(size_t rows_read, size_t row_pixels, size_t channels) {
    const size_t fit = L1_ELEMENTS / fv_max_size(1, rows_read * row_pixels) / VW * VW;
    return fit * 2 > channels || fit < (rows_read < 5 ? LEAST_RUN : LEAST_RUN / 4) ? channels : fit;
}

static tile begin_tile(const fv_depthwise_desc *d, const walk *k, const float *packed, const float *bias, fv_range channels) {
    const size_t n = channels.end - channels.begin;
    return (tile){.x_row = (ptrdiff_t)k->y.gap * k->x.in * k->x_pixel,
                  .x_column = k->x.gap * k->x_pixel,
                  .x_pixel = k->x.step * k->x_pixel,
                  .w = packed + (ptrdiff_t)(channels.begin / VW) * k->w_block + ((ptrdiff_t)k->y.weight * k->kernel_columns + k->x.weight) * VW,
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

static walk begin_walk(const fv_depthwise_desc *d, lattice_axis y, lattice_axis x, int32_t columns, int32_t spread) {
    return (walk){.y = y, .x = x, .columns = columns, .x_pixel = d->channels, .w_block = (ptrdiff_t)fv_depthwise_taps(d) * VW,
                  .kernel_columns = d->kernel[1], .y_pixel = (ptrdiff_t)spread * d->channels};
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

static void forward(const fv_depthwise_desc *d, const float *x, const float *packed, const float *bias, const float *residual, float *y,
                    fv_range rows, fv_range channels) {
    const walk k = begin_walk(d, forward_axis(d, 0), forward_axis(d, 1), d->out[1], 1);
    const size_t image = (size_t)d->in[0] * (size_t)d->in[1] * (size_t)d->channels, y_row = (size_t)d->out[1] * (size_t)d->channels;
    const size_t chunk = chunk_of((size_t)d->kernel[0], (size_t)d->in[1], channels.end - channels.begin);
    for (size_t c = channels.begin; c < channels.end; c += chunk) {
        tile t = begin_tile(d, &k, packed, bias, (fv_range){c, fv_min_size(c + chunk, channels.end)});
        for (size_t row = rows.begin; row < rows.end; row++) {
            const int32_t oy = (int32_t)(row % (size_t)d->out[0]);
            place_row(&k, &t, x + row / (size_t)d->out[0] * image + c, oy);
            t.y = y + row * y_row + c;
            t.residual = residual ? residual + row * y_row + c : NULL;
            run_row(&k, &t, oy);
        }
    }
}

static void data_grad(const fv_depthwise_desc *d, const float *dy, const float *packed, const float *bias, float *dx, fv_range rows,
                      fv_range channels) {
    const size_t image = (size_t)d->out[0] * (size_t)d->out[1] * (size_t)d->channels, dx_row = (size_t)d->in[1] * (size_t)d->channels;
    const size_t read = ((size_t)d->kernel[0] + (size_t)d->stride[0] - 1) / (size_t)d->stride[0];
    const size_t chunk = chunk_of(read, (size_t)d->out[1] + (size_t)d->in[1] / (size_t)(2 * d->stride[0]), channels.end - channels.begin);
    for (size_t c = channels.begin; c < channels.end; c += chunk)
        for (size_t row = rows.begin; row < rows.end; row++) {
            const int32_t iy = (int32_t)(row % (size_t)d->in[0]), oy = iy / d->stride[0];
            const lattice_axis y = gradient_axis(d, 0, iy % d->stride[0]);
            for (int32_t phase = 0; phase < least(d->stride[1], d->in[1]); phase++) {
                const int32_t columns = (d->in[1] - phase + d->stride[1] - 1) / d->stride[1];
                const walk k = begin_walk(d, y, gradient_axis(d, 1, phase), columns, d->stride[1]);
                tile t = begin_tile(d, &k, packed, bias, (fv_range){c, fv_min_size(c + chunk, channels.end)});
                place_row(&k, &t, dy + row / (size_t)d->in[0] * image + c, oy);
                t.y = dx + row * dx_row + (size_t)phase * (size_t)d->channels + c;
                run_row(&k, &t, oy);
            }
        }
}

/* ---- weight gradient: sums in memory, a tile's pixels added in registers ---- */

typedef struct grad_tile {
    const float *x, *dy; /* of the first pixel; x at the first kernel row and column that count */
    ptrdiff_t x_row, x_column, x_pixel, dy_pixel;
    float *dw; /* of the first channel, there */
    ptrdiff_t dw_row, dw_column;
    float *db; /* or NULL */
    int32_t rows, columns, count, left, right;
    size_t vectors, tail;
} grad_tile;

#define LOAD_DY(p)                                                                                                                 \
    const vf g##p = p < pixels ? load(t->dy + vector * VW + p * t->dy_pixel, n) : v_zero();
#define ADD_BIAS(p)                                                                                                                \
    if (p < pixels) sum = v_add(sum, g##p);
#define BIAS                                                                                                                       \
    if (t->db) {                                                                                                                   \
        vf sum = load(t->db + vector * VW, n);                                                                                     \
        PIXELS(ADD_BIAS)                                                                                                           \
        store(t->db + vector * VW, sum, n);                                                                                        \
    }

FV_ALWAYS_INLINE void any_grad_vector(const grad_tile *t, size_t vector, const int pixels, size_t n) {
    PIXELS(LOAD_DY)
    BIAS
    const float *row = t->x + vector * VW;
    float *dw_row = t->dw + vector * VW;
    for (int32_t u = 0; u < t->rows; u++, row += t->x_row, dw_row += t->dw_row) {
        const float *x = row;
        float *dw = dw_row;
        for (int32_t v = 0; v < t->columns; v++, x += t->x_column, dw += t->dw_column) {
            vf sum = load(dw, n);
#define ADD(p)                                                                                                                     \
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
    for (size_t vector = 0; vector < t->vectors; vector++) {
        PIXELS(LOAD_DY)
        BIAS
        const float *x = t->x + vector * VW;
        float *dw = t->dw + vector * VW;
        for (int32_t u = 0; u < t->rows; u++, x += t->x_row, dw += t->dw_row) {
            vf s0 = v_load(dw), s1 = v_load(dw + t->dw_column), s2 = v_load(dw + 2 * t->dw_column);
            vf s3 = columns > 3 ? v_load(dw + 3 * t->dw_column) : s0, s4 = columns > 4 ? v_load(dw + 4 * t->dw_column) : s0;
#define ADD_TO(j, p, i)                                                                                                            \
    if (TAP(j, p) == i) s##i = v_fma(in, g##p, s##i);
#define ADD(j, p) ADD_TO(j, p, 0) ADD_TO(j, p, 1) ADD_TO(j, p, 2) ADD_TO(j, p, 3) ADD_TO(j, p, 4)
#define COLUMN(j)                                                                                                                  \
    if (COLUMN_INSIDE(j)) {                                                                                                        \
        const vf in = v_load(x + j * t->x_column);                                                                                 \
        EVERY(ADD, j)                                                                                                              \
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

#define DEFINE(p)                                                                                                                  \
    static void grad_3_s1_##p(const grad_tile *t) { sliding_grad_tiles(t, 3, 1, p); }                                               \
    static void grad_3_s2_##p(const grad_tile *t) { sliding_grad_tiles(t, 3, 2, p); }                                               \
    static void grad_5_s1_##p(const grad_tile *t) { sliding_grad_tiles(t, 5, 1, p); }                                               \
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

static void run_grad_span(const walk *k, const grad_tile *row, const span *s, grad_tile_fn run) {
    grad_tile t = *row;
    move_grad_tile(&t, s->begin, (taps_inside){0, k->x.taps});
    t.count = s->count;
    t.left = s->left;
    t.right = s->right;
    run(&t);
}

static void run_grad_pixel(const walk *k, const grad_tile *row, int32_t ox, grad_tile_fn run) {
    grad_tile t = *row;
    move_grad_tile(&t, ox, inside(&k->x, ox));
    t.count = 1;
    run(&t);
}

static void run_grad_row(const walk *k, const grad_tile *row, int32_t oy) {
    grad_tile t = *row;
    const taps_inside u = inside(&k->y, oy), middle = tiled(&k->x, k->columns);
    t.x += u.begin * t.x_row;
    t.dw += u.begin * t.dw_row;
    t.rows = u.end - u.begin;
    for (int32_t ox = 0; ox < k->columns && t.tail; ox++) run_grad_pixel(k, &t, ox, tail_grad_vector);
    if (t.vectors == 0) return;
    for (int32_t ox = 0; ox < middle.begin; ox++) run_grad_pixel(k, &t, ox, grad_any_1);
    const int32_t size = even_part(middle.end - middle.begin);
    for (span s = {.begin = middle.begin}; s.begin < middle.end; s.begin += s.size * s.count) {
        s = next_span(&k->x, s.begin, middle.end, size);
        run_grad_span(k, &t, &s, grad_tiles[kind_of(&k->x)][s.size - 1]);
    }
    for (int32_t ox = middle.end; ox < k->columns; ox++) run_grad_pixel(k, &t, ox, grad_any_1);
}

static void clear(float *row, fv_range channels) {
    for (size_t c = channels.begin; c < channels.end; c++) row[c] = 0;
}

static void weight_grad(const fv_depthwise_desc *d, const float *x, const float *dy, float *dw, ptrdiff_t dw_pitch, float *db, fv_range rows,
                        fv_range channels) {
    const walk k = begin_walk(d, forward_axis(d, 0), forward_axis(d, 1), d->out[1], 1);
    const size_t image = (size_t)d->in[0] * (size_t)d->in[1] * (size_t)d->channels, dy_row = (size_t)d->out[1] * (size_t)d->channels;
    const size_t chunk = chunk_of((size_t)d->kernel[0], (size_t)d->in[1], channels.end - channels.begin);
    const int32_t taps = fv_depthwise_taps(d);
    const ptrdiff_t step = d->true_convolution ? -dw_pitch : dw_pitch;
    for (int32_t t = 0; t < taps; t++) clear(dw + t * dw_pitch, channels);
    if (db) clear(db, channels);
    for (size_t c = channels.begin; c < channels.end; c += chunk) {
        const size_t n = fv_min_size(chunk, channels.end - c);
        grad_tile t = {.x_row = (ptrdiff_t)k.y.gap * k.x.in * k.x_pixel, .x_column = k.x.gap * k.x_pixel, .x_pixel = k.x.step * k.x_pixel,
                       .dy_pixel = k.y_pixel, .dw = dw + (d->true_convolution ? (taps - 1) * dw_pitch : 0) + c,
                       .dw_row = d->kernel[1] * step, .dw_column = step, .db = db ? db + c : NULL, .vectors = n / VW, .tail = n % VW};
        for (size_t row = rows.begin; row < rows.end; row++) {
            const int32_t oy = (int32_t)(row % (size_t)d->out[0]);
            t.x = x + row / (size_t)d->out[0] * image + c + ((ptrdiff_t)(oy * k.y.step + k.y.first) * k.x.in + k.x.first) * k.x_pixel;
            t.dy = dy + row * dy_row + c;
            run_grad_row(&k, &t, oy);
        }
    }
}

static void init_depthwise(fv_depthwise_kernels *k) {
    *k = (fv_depthwise_kernels){VW, packed_size, pack, forward, data_grad, weight_grad};
}
