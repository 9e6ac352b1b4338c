/* How depthwise kernels walk over a map, and what their tiles share; included by depthwise_body.h. */
#ifndef FV_KERNELS_DEPTHWISE_WALK_H
#define FV_KERNELS_DEPTHWISE_WALK_H

#include "kernels/depthwise.h"

enum {
    TILE = 8,              /* pixels */
    L1_ELEMENTS = 6 << 10, /* of the input rows that an output row reads: three quarters of L1 */
    L1_STRIP = 7 << 10,    /* of what a strip reads, writes and reads ahead */
    L2_ELEMENTS = 1 << 18, /* of an image: where it is larger, strips read ahead */
    LEAST_RUN = 128        /* channels taken together: shorter runs of memory cost more than reading from L2 once a kernel row */
};

/* ---- along one axis ---- */

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
    taps_inside t = {base < 0 ? least(a->taps, (-base + a->gap - 1) / a->gap) : 0,
                     base < a->in ? (a->in - 1 - base) / a->gap + 1 : 0};
    t.end = most(t.begin, least(t.end, a->taps));
    return t;
}

/* The outputs of [0, count) all of whose taps are inside. */
static taps_inside interior(const lattice_axis *a, int32_t count) {
    const int32_t last = a->in - 1 - (a->taps - 1) * a->gap - a->first;
    taps_inside t = {a->first < 0 ? least(count, (-a->first + a->step - 1) / a->step) : 0,
                     last < 0 ? 0 : least(count, last / a->step + 1)};
    t.end = most(t.begin, t.end);
    return t;
}

/* ---- a row ---- */

enum { KIND_ANY, KIND_3_S1, KIND_3_S2, KIND_5_S1, KIND_PAIR_S1, KIND_PAIR_S2 }; /* of tiles; pairs are half as long */

static int kind_of(const lattice_axis *a) {
    if (a->gap != 1) return KIND_ANY;
    if (a->taps == 3) return a->step == 1 ? KIND_3_S1 : a->step == 2 ? KIND_3_S2 : KIND_ANY;
    return a->taps == 5 && a->step == 1 ? KIND_5_S1 : KIND_ANY;
}

/* Pixels so far apart that those of a tile fall into few sets of L1. */
static bool pixels_collide(ptrdiff_t x_pixel) { return x_pixel % 512 == 0; }

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

/* The run that begins at output `begin`: tiles of `size` up to `end`, the last one shorter; one tile where it reaches into
 * padding. */
static span next_span(const lattice_axis *a, int32_t begin, int32_t end, int32_t size) {
    span s = {.begin = begin, .size = least(size, end - begin), .count = 1};
    s.left = most(0, -(begin * a->step + a->first));
    s.right = most(0, (begin + s.size - 1) * a->step + a->first + (a->taps - 1) * a->gap + 1 - a->in);
    if (s.left || s.right) return s;
    const int32_t last = (a->in - 1 - (a->taps - 1) * a->gap - a->first) / a->step; /* output that is all inside */
    s.count = most(1, least(last + 1 - begin, end - begin) / s.size);
    return s;
}

enum { MOST_SPANS = 8 }; /* of a row: at most two reach into padding on either side */

/* The walk over the outputs of one phase (the only one of a forward pass). */
typedef struct walk {
    lattice_axis y, x;
    int32_t columns;            /* outputs of a row */
    ptrdiff_t x_pixel, w_block; /* elements of an input pixel, of a vector's weights */
    int32_t kernel_columns;
    ptrdiff_t y_pixel; /* between outputs of a row */
    /* The same in every row: */
    int kind;
    taps_inside middle; /* outputs that tiles take */
    span spans[MOST_SPANS];
    int32_t span_count;
} walk;

/* Even parts of n, each at most `tile`. */
static int32_t even_part(int32_t n, int32_t tile) {
    const int32_t parts = most(1, (n + tile - 1) / tile);
    return (n + parts - 1) / parts;
}

/* Of a tile. At a step of two one of eight reads 51 runs of memory, which with its results push each other out of L1: where a
 * row has more than one tile, shorter ones follow memory more closely. */
static int32_t most_pixels(int kind, int32_t outputs) {
    if (kind >= KIND_PAIR_S1) return TILE / 2;
    return kind != KIND_3_S2 || outputs <= TILE ? TILE : outputs <= 2 * TILE ? 5 : 4;
}

/* Pixels of a strip: tiles of one place in rows below each other, which keep the input row that two of them share in L1 and
 * read the next two rows ahead. 0: no strips. They pay where an image is larger than L2 and tiles of three or four fit L1. */
static int32_t strip_pixels(const fv_depthwise_desc *d, size_t channels) {
    const lattice_axis y = forward_axis(d, 0), x = forward_axis(d, 1);
    const size_t all = (size_t)d->channels;
    if (kind_of(&y) != KIND_3_S2 || kind_of(&x) != KIND_3_S2 || channels != all || channels < VW) return 0;
    if ((size_t)d->in[0] * (size_t)d->in[1] * all <= L2_ELEMENTS || pixels_collide(d->channels)) return 0;
    for (size_t pixels = 4; pixels >= 3; pixels--) /* three rows of 2*pixels + 1, two of 2*pixels, results, nine weights */
        if ((11 * pixels + 12) * all <= L1_STRIP) return (int32_t)pixels;
    return 0;
}

/* pairs: tiles of two vectors are there to be taken; strip: pixels of one, or 0. */
static walk begin_walk(const fv_depthwise_desc *d, lattice_axis y, lattice_axis x, int32_t columns, int32_t spread, bool pairs,
                       int32_t strip) {
    walk k = {.y = y,
              .x = x,
              .columns = columns,
              .x_pixel = d->channels,
              .w_block = (ptrdiff_t)fv_depthwise_taps(d) * VW,
              .kernel_columns = d->kernel[1],
              .y_pixel = (ptrdiff_t)spread * d->channels,
              .kind = kind_of(&x),
              .middle = tiled(&x, columns)};
    if (pairs && pixels_collide(k.x_pixel))
        k.kind = k.kind == KIND_3_S1 ? KIND_PAIR_S1 : k.kind == KIND_3_S2 ? KIND_PAIR_S2 : k.kind;
    const int32_t outputs = k.middle.end - k.middle.begin;
    const int32_t size = even_part(outputs, strip ? strip : most_pixels(k.kind, outputs));
    for (int32_t at = k.middle.begin; at < k.middle.end && k.span_count < MOST_SPANS;) {
        const bool longer = strip && at == k.middle.begin && outputs % size == 1; /* spares a strip of one pixel */
        const span s = next_span(&x, at, k.middle.end, longer ? size + 1 : size);
        k.spans[k.span_count++] = s;
        at += s.size * s.count;
        if (k.span_count == MOST_SPANS) k.middle.end = at; /* what is left goes by pixels */
    }
    return k;
}

/* What a row is made of: runs of tiles; of whole vectors single pixels with the kernel columns that are inside; of the
 * channels after them every pixel. The last two NULL: there are none. */
typedef struct row_calls {
    void (*tiles)(const void *row, const span *s, int kind);
    void (*pixel)(const void *row, int32_t ox, taps_inside v);
    void (*tail)(const void *row, int32_t ox, taps_inside v);
} row_calls;

static void walk_row(const walk *k, const void *row, const row_calls *c) {
    for (int32_t ox = 0; c->tail && ox < k->columns; ox++) c->tail(row, ox, inside(&k->x, ox));
    if (!c->pixel) return;
    for (int32_t ox = 0; ox < k->middle.begin; ox++) c->pixel(row, ox, inside(&k->x, ox));
    for (int32_t i = 0; i < k->span_count; i++) c->tiles(row, &k->spans[i], k->kind);
    for (int32_t ox = k->middle.end; ox < k->columns; ox++) c->pixel(row, ox, inside(&k->x, ox));
}

/* Channels taken through all rows of a call together. */
static size_t chunk_of(size_t rows_read, size_t row_pixels, size_t channels) {
    const size_t fit = L1_ELEMENTS / fv_max_size(1, rows_read * row_pixels) / VW * VW;
    return fit * 2 > channels || fit < (rows_read < 5 ? LEAST_RUN : LEAST_RUN / 4) ? channels : fit;
}

/* ---- tiles ---- */

FV_ALWAYS_INLINE vf load(const float *p, size_t n) { return n == VW ? v_load(p) : v_load_part(p, n); }
FV_ALWAYS_INLINE void store(float *p, vf a, size_t n) {
    if (n == VW)
        v_store(p, a);
    else
        v_store_part(p, a, n);
}

#define PIXELS(M) M(0) M(1) M(2) M(3) M(4) M(5) M(6) M(7)
#define EVERY(M, j) M(j, 0) M(j, 1) M(j, 2) M(j, 3) M(j, 4) M(j, 5) M(j, 6) M(j, 7)
#define COLUMNS(M) M(0) M(1) M(2) M(3) M(4) M(5) M(6) M(7) M(8) M(9) M(10) M(11) M(12) M(13) M(14) M(15) M(16)
/* Whether a tile reads input column j: the first and last few may be padding, the rest is known to the compiler. */
#define COLUMN_INSIDE(j)                                                                                                         \
    ((j) < SPAN && ((j) >= columns / 2 || (j) >= ends->left) && ((j) < SPAN - columns / 2 || (j) < SPAN - ends->right))
#define SPAN ((pixels - 1) * step + columns)
/* The kernel column that pixel p of a tile takes at input column j, or -1. */
#define TAP(j, p) ((p) < pixels && (j) - (p)*step < columns ? (j) - (p)*step : -1)

#define SIZES(M) M(1) M(2) M(3) M(4) M(5) M(6) M(7) M(8)

#endif
