/* The pooled gradients over a vector wrapper; included by (isa)/conv_pooled_(isa).c.
 *
 * What an output pixel reads of an input row, kernel[1]*channels values, lies together: `vectors` vectors, the last one reading or
 * adding past the run where it is not full. A tile is `vectors` vectors of `rows` kernel rows of one or two maps, at most 12
 * accumulators, named one by one (gcc 12 spills arrays of them). Each needs one load a multiply-add: two a cycle.
 *
 * Weight gradient: a tile stays in registers over the windows of a block whose input fits L1. Input gradient: the maps whose
 * value came from one place of a window are added up in registers first, then go to that place's pixels in one pass. */
#include "kernels/conv_pooled.h"

#include <string.h>

enum {
    MOST_ACCUMULATORS = 12,
    MOST_ROWS = 5,
    BLOCK_ELEMENTS = 6 << 10, /* of the input that a block of windows reads: three quarters of L1 */
    MOST_BOX = 64 << 10,      /* elements of an image with its padding, and of all weights: they stay in L2 */
    MASK_MAPS = 64            /* bits of a word */
};

typedef struct pooled_plan {
    const fv_conv_pooled_desc *d;
    bool padded;
    size_t extent[2];              /* of the image as it is read: with padding, or as it lies */
    ptrdiff_t row_pitch, image;    /* elements of a row and an image of it */
    size_t vectors;                /* of a kernel row */
    size_t windows, places, group; /* windows of an image, places of a window, images read together */
    size_t block;                  /* windows that a tile goes over at once */
    ptrdiff_t place[FV_CONV_POOLED_WINDOW];
} pooled_plan;

static void make_plan(const fv_conv_pooled_desc *d, pooled_plan *p) {
    *p = (pooled_plan){.d = d, .windows = (size_t)d->pooled[0] * (size_t)d->pooled[1], .places = (size_t)(d->window[0] * d->window[1])};
    size_t reach[2];
    for (int i = 0; i < 2; i++) {
        reach[i] = (size_t)(d->pooled[i] * d->window[i] - 1) * (size_t)d->stride[i] + (size_t)(d->kernel[i] - 1) * (size_t)d->dilation[i] + 1;
        p->padded = p->padded || d->pad[i] > 0 || reach[i] > (size_t)d->in[i];
    }
    for (int i = 0; i < 2; i++) p->extent[i] = p->padded ? reach[i] : (size_t)d->in[i];
    p->row_pitch = (ptrdiff_t)p->extent[1] * d->channels;
    p->image = (ptrdiff_t)p->extent[0] * p->row_pitch;
    p->vectors = fv_div_up((size_t)d->kernel[1] * (size_t)d->channels, VW);
    p->group = fv_max_size(1, fv_min_size((size_t)d->images, BLOCK_ELEMENTS / (size_t)p->image));
    const size_t window_rows = (size_t)(d->window[0] * d->stride[0]), more = (size_t)(d->kernel[0] - 1) * (size_t)d->dilation[0];
    const size_t rows = BLOCK_ELEMENTS / (size_t)p->row_pitch, fit = rows > more ? (rows - more) / window_rows : 0;
    p->block = p->group > 1 ? p->group * p->windows : fv_max_size(1, fit) * (size_t)d->pooled[1];
    for (size_t a = 0; a < p->places; a++) {
        const ptrdiff_t y = (ptrdiff_t)a / d->window[1], x = (ptrdiff_t)a % d->window[1];
        p->place[a] = y * d->stride[0] * p->row_pitch + x * d->stride[1] * d->channels;
    }
}

static bool suits(const fv_conv_pooled_desc *d) {
    const int32_t places = d->window[0] * d->window[1];
    if (d->dilation[1] != 1 || places < 2 || places > FV_CONV_POOLED_WINDOW) return false;
    if (d->images < 1 || d->pooled[0] < 1 || d->pooled[1] < 1 || d->channels < 1 || d->maps < 1) return false;
    pooled_plan p;
    make_plan(d, &p);
    return p.image <= MOST_BOX && p.vectors * VW * (size_t)d->kernel[0] * (size_t)d->maps <= MOST_BOX;
}

/* Elements of one map's weights, kernel rows padded to whole vectors. */
static size_t map_size(const pooled_plan *p) { return (size_t)p->d->kernel[0] * p->vectors * VW; }

static size_t packed_size(const fv_conv_pooled_desc *d) {
    pooled_plan p;
    make_plan(d, &p);
    return map_size(&p) * (size_t)d->maps;
}

static int32_t weight_of(const fv_conv_pooled_desc *d, int32_t t) { return d->true_convolution ? fv_conv_pooled_taps(d) - 1 - t : t; }

/* [maps][kernel rows][vectors*VW], zeros past a row's values. */
static void pack(const fv_conv_pooled_desc *d, const fv_conv_weights *w, float *packed, fv_range maps) {
    pooled_plan p;
    make_plan(d, &p);
    memset(packed + maps.begin * map_size(&p), 0, (maps.end - maps.begin) * map_size(&p) * sizeof *packed);
    for (int32_t t = 0; t < fv_conv_pooled_taps(d); t++) {
        const float *from = w->data + weight_of(d, t) * w->tap;
        float *to = packed + (size_t)(t / d->kernel[1]) * p.vectors * VW + (size_t)(t % d->kernel[1]) * (size_t)d->channels;
        for (int32_t c = 0; c < d->channels; c++)
            for (size_t k = maps.begin; k < maps.end; k++) to[k * map_size(&p) + (size_t)c] = from[c * w->in + (ptrdiff_t)k * w->out];
    }
}

/* The next part of memory; NULL without memory. */
static void *carve(void *memory, size_t *bytes, size_t part) {
    void *at = memory ? (char *)memory + *bytes : NULL;
    *bytes += fv_round_up(part, FV_ALIGNMENT);
    return at;
}

typedef struct pooled_scratch {
    ptrdiff_t *base;  /* [group][windows] where a window's first pixel begins */
    float *box, *sum; /* images with padding, and a vector more; sums of the weight gradient, laid out as packed */
    uint64_t *mask;   /* [windows][places] maps whose value came from there */
    size_t bytes;
} pooled_scratch;

static pooled_scratch lay_out(const pooled_plan *p, bool weight, void *memory) {
    pooled_scratch s = {0};
    const size_t group = weight ? p->group : 1;
    s.base = carve(memory, &s.bytes, group * p->windows * sizeof *s.base);
    s.box = carve(memory, &s.bytes, (group * (size_t)p->image + VW) * sizeof *s.box);
    if (weight)
        s.sum = carve(memory, &s.bytes, map_size(p) * (size_t)p->d->maps * sizeof *s.sum);
    else
        s.mask = carve(memory, &s.bytes, p->windows * p->places * sizeof *s.mask);
    return s;
}

static size_t weight_grad_scratch(const fv_conv_pooled_desc *d) {
    pooled_plan p;
    make_plan(d, &p);
    return lay_out(&p, true, NULL).bytes;
}

static size_t input_grad_scratch(const fv_conv_pooled_desc *d) {
    pooled_plan p;
    make_plan(d, &p);
    return lay_out(&p, false, NULL).bytes;
}

static void fill_base(const pooled_plan *p, size_t images, ptrdiff_t *base) {
    const fv_conv_pooled_desc *d = p->d;
    const ptrdiff_t row = (ptrdiff_t)d->window[0] * d->stride[0] * p->row_pitch, column = (ptrdiff_t)d->window[1] * d->stride[1] * d->channels;
    for (size_t n = 0; n < images; n++)
        for (int32_t y = 0; y < d->pooled[0]; y++)
            for (int32_t x = 0; x < d->pooled[1]; x++) *base++ = (ptrdiff_t)n * p->image + y * row + x * column;
}

/* Rows and columns of the image that the box holds, and where they begin there. */
typedef struct inner {
    size_t rows, columns;
    ptrdiff_t first;
} inner;

static inner inner_of(const pooled_plan *p) {
    const fv_conv_pooled_desc *d = p->d;
    inner i = {.first = p->padded ? d->pad[0] * p->row_pitch + (ptrdiff_t)d->pad[1] * d->channels : 0};
    const size_t pad[2] = {p->padded ? (size_t)d->pad[0] : 0, p->padded ? (size_t)d->pad[1] : 0};
    i.rows = p->extent[0] > pad[0] ? fv_min_size((size_t)d->in[0], p->extent[0] - pad[0]) : 0;
    i.columns = p->extent[1] > pad[1] ? fv_min_size((size_t)d->in[1], p->extent[1] - pad[1]) : 0;
    return i;
}

static void fill_box(const pooled_plan *p, const float *x, size_t images, float *box) {
    const fv_conv_pooled_desc *d = p->d;
    const inner in = inner_of(p);
    const size_t row = (size_t)d->in[1] * (size_t)d->channels;
    memset(box, 0, (images * (size_t)p->image + VW) * sizeof *box);
    for (size_t n = 0; n < images; n++)
        for (size_t y = 0; y < in.rows; y++)
            memcpy(box + (ptrdiff_t)n * p->image + in.first + (ptrdiff_t)y * p->row_pitch, x + (n * (size_t)d->in[0] + y) * row,
                   in.columns * (size_t)d->channels * sizeof *box);
}

/* ---- tiles ---- */

#define ACCUMULATORS(M) M(0) M(1) M(2) M(3) M(4) M(5) M(6) M(7) M(8) M(9) M(10) M(11)

typedef struct grad_tile {
    const float *x; /* at the tile's first row and vector */
    const ptrdiff_t *base, *place;
    size_t windows;
    ptrdiff_t row_step; /* between kernel rows */
    const float *g;     /* at the first map */
    const int32_t *at;
    size_t maps; /* of a window in g and at */
    float *sum;  /* at the tile's first map, row and vector */
    ptrdiff_t sum_map, sum_row;
} grad_tile;

/* Accumulator i is map i / (rows*vectors), row i / vectors % rows, vector i % vectors; all constants after inlining. */
FV_ALWAYS_INLINE void weight_tile(const grad_tile *tile, const size_t maps, const size_t rows, const size_t vectors) {
    const grad_tile t = *tile; /* a copy: no store changes it */
    const size_t count = maps * rows * vectors;
    const ptrdiff_t row_step = t.row_step;
#define SUM(i) (t.sum + (ptrdiff_t)(i / (rows * vectors)) * t.sum_map + (ptrdiff_t)(i / vectors % rows) * t.sum_row + i % vectors * VW)
#define LOAD(i) vf s##i = i < count ? v_load(SUM(i)) : v_zero();
    ACCUMULATORS(LOAD)
#undef LOAD
    const float *g = t.g;
    const int32_t *at = t.at;
    for (const ptrdiff_t *base = t.base, *end = base + t.windows; base < end; base++, g += t.maps, at += t.maps) {
        const float *x0 = t.x + *base + t.place[at[0]], *x1 = maps > 1 ? t.x + *base + t.place[at[1]] : x0;
        const vf g0 = v_set(g[0]), g1 = maps > 1 ? v_set(g[1]) : g0;
#define ADD(i)                                                                                                                     \
    if (i < count)                                                                                                                 \
        s##i = v_fma(v_load((i < rows * vectors ? x0 : x1) + (ptrdiff_t)(i / vectors % rows) * row_step + i % vectors * VW),         \
                     i < rows * vectors ? g0 : g1, s##i);
        ACCUMULATORS(ADD)
#undef ADD
    }
#define STORE(i)                                                                                                                   \
    if (i < count) v_store(SUM(i), s##i);
    ACCUMULATORS(STORE)
#undef STORE
#undef SUM
}

typedef struct input_tile {
    float *dx; /* at the tile's first row and vector */
    const ptrdiff_t *base, *place;
    size_t windows, places;
    ptrdiff_t row_step;
    const float *g; /* at the first map of the masks */
    size_t maps;
    const uint64_t *mask;
    const float *w; /* at the first map of the masks, the tile's first row and vector */
    ptrdiff_t w_map, w_row;
} input_tile;

FV_ALWAYS_INLINE void input_tile_run(const input_tile *tile, const size_t rows, const size_t vectors) {
    const input_tile t = *tile;
    const size_t count = rows * vectors;
    const uint64_t *mask = t.mask;
    const float *g = t.g;
    const ptrdiff_t w_row = t.w_row, row_step = t.row_step;
    for (size_t p = 0; p < t.windows; p++, g += t.maps)
        for (size_t a = 0; a < t.places; a++) {
            uint64_t left = *mask++;
            if (left == 0) continue;
#define ZERO(i) vf s##i = v_zero();
            ACCUMULATORS(ZERO)
#undef ZERO
            do {
                const int k = __builtin_ctzll(left);
                const float *w = t.w + k * t.w_map;
                const vf gradient = v_set(g[k]);
#define ADD(i)                                                                                                                     \
    if (i < count) s##i = v_fma(v_load(w + (ptrdiff_t)(i / vectors) * w_row + i % vectors * VW), gradient, s##i);
                ACCUMULATORS(ADD)
#undef ADD
                left &= left - 1;
            } while (left);
            float *dx = t.dx + t.base[p] + t.place[a];
#define TO(i) (dx + (ptrdiff_t)(i / vectors) * row_step + i % vectors * VW)
#define STORE(i)                                                                                                                   \
    if (i < count) v_store(TO(i), v_add(v_load(TO(i)), s##i));
            ACCUMULATORS(STORE)
#undef STORE
#undef TO
        }
}

#define EVERY_TILE(M)                                                                                                              \
    M(1, 1) M(1, 2) M(1, 3) M(1, 4) M(1, 5) M(1, 6) M(1, 7) M(1, 8) M(1, 9) M(1, 10) M(1, 11) M(1, 12) M(2, 1) M(2, 2) M(2, 3)       \
        M(2, 4) M(2, 5) M(2, 6) M(3, 1) M(3, 2) M(3, 3) M(3, 4) M(4, 1) M(4, 2) M(4, 3) M(5, 1) M(5, 2)
#define PAIR_TILE(M) M(1, 1) M(1, 2) M(1, 3) M(1, 4) M(1, 5) M(1, 6) M(2, 1) M(2, 2) M(2, 3) M(3, 1) M(3, 2) M(4, 1) M(5, 1)

#define DEFINE(r, v)                                                                                                               \
    static void weight_tile_1_##r##x##v(const grad_tile *t) { weight_tile(t, 1, r, v); }                                            \
    static void input_tile_##r##x##v(const input_tile *t) { input_tile_run(t, r, v); }
EVERY_TILE(DEFINE)
#undef DEFINE
#define DEFINE(r, v)                                                                                                               \
    static void weight_tile_2_##r##x##v(const grad_tile *t) { weight_tile(t, 2, r, v); }
PAIR_TILE(DEFINE)
#undef DEFINE

#define WEIGHT(r, v) [r][v] = weight_tile_1_##r##x##v,
#define PAIR(r, v) [r][v] = weight_tile_2_##r##x##v,
#define INPUT(r, v) [r][v] = input_tile_##r##x##v,
static void (*const weight_tiles[MOST_ROWS + 1][MOST_ACCUMULATORS + 1])(const grad_tile *) = {EVERY_TILE(WEIGHT)};
static void (*const pair_tiles[MOST_ROWS + 1][MOST_ACCUMULATORS + 1])(const grad_tile *) = {PAIR_TILE(PAIR)};
static void (*const input_tiles[MOST_ROWS + 1][MOST_ACCUMULATORS + 1])(const input_tile *) = {EVERY_TILE(INPUT)};
#undef WEIGHT
#undef PAIR
#undef INPUT

/* Even parts of n, each at most `most`. */
static size_t even_part(size_t n, size_t most) { return fv_div_up(n, fv_div_up(n, most)); }

typedef struct tile_size {
    size_t rows, vectors;
} tile_size;

static tile_size tile_of(const pooled_plan *p) {
    const size_t vectors = even_part(p->vectors, MOST_ACCUMULATORS);
    return (tile_size){even_part((size_t)p->d->kernel[0], fv_min_size(MOST_ROWS, MOST_ACCUMULATORS / vectors)), vectors};
}

/* ---- weight gradient ---- */

/* One tile over the maps of a range, two at a time where two fit. */
static void weight_maps(grad_tile t, fv_range maps, size_t rows, size_t vectors) {
    const float *const g = t.g;
    const int32_t *const at = t.at;
    float *const sum = t.sum;
    for (size_t k = maps.begin; k < maps.end;) {
        const bool pair = 2 * rows * vectors <= MOST_ACCUMULATORS && k + 1 < maps.end;
        t.g = g + k;
        t.at = at + k;
        t.sum = sum + (ptrdiff_t)k * t.sum_map;
        (pair ? pair_tiles : weight_tiles)[rows][vectors](&t);
        k += pair ? 2 : 1;
    }
}

/* All tiles over one block of windows. */
static void weight_block(const pooled_plan *p, const grad_tile *block, fv_range maps) {
    const tile_size size = tile_of(p);
    for (size_t row = 0; row < (size_t)p->d->kernel[0]; row += size.rows)
        for (size_t v = 0; v < p->vectors; v += size.vectors) {
            grad_tile t = *block;
            t.x += (ptrdiff_t)row * t.row_step + (ptrdiff_t)(v * VW);
            t.sum += (ptrdiff_t)row * t.sum_row + (ptrdiff_t)(v * VW);
            weight_maps(t, maps, fv_min_size(size.rows, (size_t)p->d->kernel[0] - row), fv_min_size(size.vectors, p->vectors - v));
        }
}

static void store_weights(const pooled_plan *p, const float *sum, float *dw, ptrdiff_t dw_pitch, fv_range maps) {
    const fv_conv_pooled_desc *d = p->d;
    for (int32_t t = 0; t < fv_conv_pooled_taps(d); t++) {
        const float *from = sum + (size_t)(t / d->kernel[1]) * p->vectors * VW + (size_t)(t % d->kernel[1]) * (size_t)d->channels;
        float *row = dw + (ptrdiff_t)weight_of(d, t) * d->channels * dw_pitch;
        for (int32_t c = 0; c < d->channels; c++, row += dw_pitch)
            for (size_t k = maps.begin; k < maps.end; k++) row[k] = from[k * map_size(p) + (size_t)c];
    }
}

static void weight_grad(const fv_conv_pooled_desc *d, const float *x, const float *g, const int32_t *at, float *dw,
                        ptrdiff_t dw_pitch, fv_range images, fv_range maps, void *scratch) {
    pooled_plan p;
    make_plan(d, &p);
    const pooled_scratch s = lay_out(&p, true, scratch);
    const size_t image = (size_t)d->in[0] * (size_t)d->in[1] * (size_t)d->channels;
    const bool spills = p.vectors * VW > (size_t)d->kernel[1] * (size_t)d->channels; /* the last vector reads on */
    memset(s.sum + maps.begin * map_size(&p), 0, (maps.end - maps.begin) * map_size(&p) * sizeof *s.sum);
    fill_base(&p, fv_min_size(p.group, images.end - images.begin), s.base);
    for (size_t n = images.begin; n < images.end; n += p.group) {
        const size_t count = fv_min_size(p.group, images.end - n), windows = count * p.windows;
        const bool boxed = p.padded || (spills && n + count == (size_t)d->images);
        if (boxed) fill_box(&p, x + n * image, count, s.box);
        for (size_t w = 0; w < windows; w += p.block) {
            const size_t first = (n * p.windows + w) * (size_t)d->maps;
            const grad_tile t = {.x = boxed ? s.box : x + n * image, .base = s.base + w, .place = p.place,
                                 .windows = fv_min_size(p.block, windows - w), .row_step = d->dilation[0] * p.row_pitch,
                                 .g = g + first, .at = at + first, .maps = (size_t)d->maps, .sum = s.sum,
                                 .sum_map = (ptrdiff_t)map_size(&p), .sum_row = (ptrdiff_t)(p.vectors * VW)};
            weight_block(&p, &t, maps);
        }
    }
    store_weights(&p, s.sum, dw, dw_pitch, maps);
}

/* ---- input gradient ---- */

/* The maps [0, count), count <= MASK_MAPS, whose value came from place a. */
static uint64_t maps_at(const int32_t *at, size_t count, int32_t a) {
    uint64_t mask = 0;
    for (size_t k = 0; k < count; k += VW) {
        const size_t n = fv_min_size(count - k, VW);
        const vi v = n == VW ? vi_load(at + k) : vi_load_part(at + k, n);
        mask |= ((uint64_t)v_lanes(vi_eq(v, vi_set(a))) & (((uint64_t)1 << n) - 1)) << k;
    }
    return mask;
}

static void input_image(const pooled_plan *p, const pooled_scratch *s, const float *packed, const float *g, const int32_t *at) {
    const fv_conv_pooled_desc *d = p->d;
    const tile_size size = tile_of(p);
    const size_t maps = (size_t)d->maps, kernel_rows = (size_t)d->kernel[0];
    memset(s->box, 0, ((size_t)p->image + VW) * sizeof *s->box);
    for (size_t k = 0; k < maps; k += MASK_MAPS) {
        uint64_t *mask = s->mask;
        for (size_t w = 0; w < p->windows; w++)
            for (size_t a = 0; a < p->places; a++) *mask++ = maps_at(at + w * maps + k, fv_min_size(maps - k, MASK_MAPS), (int32_t)a);
        for (size_t row = 0; row < kernel_rows; row += size.rows)
            for (size_t v = 0; v < p->vectors; v += size.vectors) {
                const ptrdiff_t row_step = d->dilation[0] * p->row_pitch, w_row = (ptrdiff_t)(p->vectors * VW);
                const input_tile t = {.dx = s->box + (ptrdiff_t)row * row_step + (ptrdiff_t)(v * VW), .base = s->base, .place = p->place,
                                      .windows = p->windows, .places = p->places, .row_step = row_step, .g = g + k, .maps = maps,
                                      .mask = s->mask, .w = packed + k * map_size(p) + row * (size_t)w_row + v * VW,
                                      .w_map = (ptrdiff_t)map_size(p), .w_row = w_row};
                input_tiles[fv_min_size(size.rows, kernel_rows - row)][fv_min_size(size.vectors, p->vectors - v)](&t);
            }
    }
}

/* The box without its padding; pixels that no window reached get 0. */
static void store_image(const pooled_plan *p, const float *box, float *dx) {
    const fv_conv_pooled_desc *d = p->d;
    const inner in = inner_of(p);
    const size_t row = (size_t)d->in[1] * (size_t)d->channels, filled = in.columns * (size_t)d->channels;
    for (size_t y = 0; y < in.rows; y++) {
        memcpy(dx + y * row, box + in.first + (ptrdiff_t)y * p->row_pitch, filled * sizeof *dx);
        memset(dx + y * row + filled, 0, (row - filled) * sizeof *dx);
    }
    memset(dx + in.rows * row, 0, ((size_t)d->in[0] - in.rows) * row * sizeof *dx);
}

static void input_grad(const fv_conv_pooled_desc *d, const float *packed, const float *g, const int32_t *at, float *dx, fv_range images,
                       void *scratch) {
    pooled_plan p;
    make_plan(d, &p);
    const pooled_scratch s = lay_out(&p, false, scratch);
    const size_t image = (size_t)d->in[0] * (size_t)d->in[1] * (size_t)d->channels;
    fill_base(&p, 1, s.base);
    for (size_t n = images.begin; n < images.end; n++) {
        const size_t first = n * p.windows * (size_t)d->maps;
        input_image(&p, &s, packed, g + first, at + first);
        store_image(&p, s.box, dx + n * image);
    }
}

static void init_conv_pooled(fv_conv_pooled_kernels *k) {
    *k = (fv_conv_pooled_kernels){suits, packed_size, weight_grad_scratch, input_grad_scratch, pack, weight_grad, input_grad};
}
