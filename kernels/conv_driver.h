/* The indirect matrix product around its register tiles, the same for every vector ISA: everything of conv.h but the
 * arithmetic. An ISA file includes this, provides two tile shapes (fv_conv_shape: wide and narrow) in one
 *
 *   static const fv_conv_isa isa = { .wide = {rows, columns, forward tiles, gradient tiles}, .narrow = {...} };
 *
 * and includes conv_table.h, whose functions pass &isa to fv_conv_drive_*. isa being a compile-time constant, the
 * compiler sees through it.
 *
 * Weights are packed in panels of wide.columns output channels, [t*C + c][columns], zeros past K. The last panel of a
 * group is narrow.columns wide where its remainder fits: its tiles then have narrow.rows rows and waste fewer products.
 *
 * Work goes by blocks of output pixels. Where padding exists the input a block reads is copied once into a
 * zero-padded box of scratch (a box costs about 1/(8 * taps * panels) of the products it feeds), so that every pixel
 * is an interior one: x + pixel[p] + tap offset + c, with one list of tap offsets for the whole call. Taps that follow
 * each other in memory are merged into runs: a kernel row in a box, a whole kernel that covers its map.
 */
#ifndef FV_KERNELS_CONV_DRIVER_H
#define FV_KERNELS_CONV_DRIVER_H

#include "kernels/conv.h"
#include <string.h>

/* Bounds on a block: its input stays in L2 beside the panel; a gradient block's dy panel (64 bytes a pixel) and the
 * lines of one row tile stay in L1. They set speed alone: no bit depends on them. */
enum { FV_CONV_BOX_ELEMENTS = 48 << 10, FV_CONV_FORWARD_PIXELS = 1024, FV_CONV_GRAD_ELEMENTS = 7 << 10 };
/* Most elements of a panel brought in during one tile. */
enum { FV_CONV_AHEAD_ELEMENTS = 1024 };
/* Fewest images of a block that goes by position (a tile has so many pixels), and largest image, in elements. */
enum { FV_CONV_POSITION_IMAGES = 6, FV_CONV_POSITION_ELEMENTS = 32 << 10 };
/* A pixel pitch that is a multiple of this many elements maps the pixels of a gradient tile to few sets of L1. */
enum { FV_CONV_ALIASING_PITCH = 64, FV_CONV_SKEW = 16, FV_CONV_MAX_TILE_ROWS = 16 };

/* Consecutive values of the sum, contiguous in memory for every pixel: k = t*C + c from `k` on, at x offset `x`. */
typedef struct fv_conv_run {
    ptrdiff_t x;
    size_t k, length;
} fv_conv_run;

/* What will be read soon, brought into L2 a little with every tile. */
typedef struct fv_conv_ahead {
    const char *at, *end;
    size_t per_tile;
    size_t per_k; /* of the next panel: bytes a value of the sum, for tiles that bring it themselves */
} fv_conv_ahead;

/* Forward: y[y_pixel[r] + column] for r < rows of the tile function called. Values are added over run[j < runs],
 * i < run[j].length, in this order: x[pixel[r] + run[j].x + i] * panel[(run[j].k + i)*shape columns + column].
 * Then bias[column] (if not NULL), residual[residual_pixel[r] + column] (if not NULL), then the clamp, NaN passing. */
typedef struct fv_conv_forward_args {
    const fv_real *x;
    const ptrdiff_t *pixel;
    const fv_conv_run *run;
    size_t runs;
    const fv_real *panel;
    const fv_real *bias, *residual;
    const ptrdiff_t *residual_pixel;
    fv_real *y;
    const ptrdiff_t *y_pixel;
    size_t columns; /* 1 .. shape columns: none past it is read (bias, residual) or written */
    ptrdiff_t panel_pitch; /* of a row of panels */
    fv_real low, high;
    fv_conv_ahead ahead[2]; /* pixels; the next panel, which is the tile's business. at is never NULL there */
} fv_conv_forward_args;
/* So many tiles, one behind the other in the tables; a is left behind the last. Fewer rows than the shape has: one tile. */
typedef void (*fv_conv_forward_tile)(fv_conv_forward_args *a, size_t tiles);

static inline void fv_conv_prefetch(fv_conv_ahead *ahead) {
    const char *stop = (size_t)(ahead->end - ahead->at) > ahead->per_tile ? ahead->at + ahead->per_tile : ahead->end;
    for (; ahead->at < stop; ahead->at += 64) __builtin_prefetch(ahead->at, 0, 2);
    ahead->at = stop;
}

/* Around the arithmetic of every tile: before it, what comes later is brought near, the outputs and residuals of the next tile
 * into L1 (their lines lie apart, which no processor foresees); after it, a moves on. */
static inline void fv_conv_begin_tile(fv_conv_forward_args *a, size_t rows, bool last) {
    fv_conv_prefetch(&a->ahead[0]);
    if (last) return;
    for (size_t r = rows; r < 2 * rows; r++) __builtin_prefetch(a->y + a->y_pixel[r], 1, 3);
    if (a->residual)
        for (size_t r = rows; r < 2 * rows; r++) __builtin_prefetch(a->residual + a->residual_pixel[r], 0, 3);
}

static inline void fv_conv_end_tile(fv_conv_forward_args *a, size_t rows) {
    a->pixel += rows;
    a->y_pixel += rows;
    a->residual_pixel += rows;
}

/* The tile function of a body `tile(fv_conv_forward_args *, size_t rows)` that inlines into it. Tiles of most rows come one
 * behind the other, and what they share stays in registers; of others there is one. */
#define FV_CONV_FORWARD_TILES(name, tile, rows, most)                                                                  \
    static void name(fv_conv_forward_args *a, size_t tiles) {                                                          \
        if (rows < most) {                                                                                             \
            fv_conv_begin_tile(a, rows, true);                                                                         \
            tile(a, rows);                                                                                             \
            fv_conv_end_tile(a, rows);                                                                                 \
            return;                                                                                                    \
        }                                                                                                              \
        fv_conv_forward_args t = *a;                                                                                   \
        for (size_t i = 0; i < tiles; i++) {                                                                           \
            fv_conv_begin_tile(&t, rows, i + 1 == tiles);                                                              \
            tile(&t, rows);                                                                                            \
            fv_conv_end_tile(&t, rows);                                                                                \
        }                                                                                                              \
        *a = t;                                                                                                        \
    }

/* Weight gradient: dw[r*dw_pitch + k] (+)= sum_{p < pixels} row[r][pixel[p]] * dy[p*shape columns + k], one chain in
 * the order of p that begins with dw where accumulate is set, with 0 otherwise; r < rows, k < columns. */
typedef struct fv_conv_grad_args {
    const fv_real *row[FV_CONV_MAX_TILE_ROWS];
    const ptrdiff_t *pixel;
    const fv_real *dy; /* packed, zeros past columns */
    size_t pixels;
    fv_real *dw;
    ptrdiff_t dw_pitch;
    size_t columns;
    bool accumulate;
} fv_conv_grad_args;
typedef void (*fv_conv_grad_tile)(const fv_conv_grad_args *a);

typedef struct fv_conv_shape {
    size_t rows, columns;                                /* rows <= FV_CONV_MAX_TILE_ROWS */
    fv_conv_forward_tile forward[FV_CONV_MAX_TILE_ROWS]; /* forward[r - 1]: a tile of r pixels */
    fv_conv_grad_tile grad[FV_CONV_MAX_TILE_ROWS];       /* grad[r - 1]: a tile of r weight rows */
} fv_conv_shape;

/* A single pixel has too few chains in one panel to hide the latency of the additions: several panels at once, the next one
 * panel_pitch elements behind the one before. */
enum { FV_CONV_ROW_PANELS = 4 };

typedef struct fv_conv_isa {
    fv_conv_shape wide, narrow; /* narrow.columns < wide.columns */
    /* row[n - 1]: one pixel of n whole wide panels. NULL: panel by panel */
    void (*row[FV_CONV_ROW_PANELS])(const fv_conv_forward_args *a);
} fv_conv_isa;

static inline const fv_conv_shape *fv_conv_shape_of(const fv_conv_isa *isa, size_t columns) {
    return columns <= isa->narrow.columns ? &isa->narrow : &isa->wide;
}

/* Axes here are 0..3: image, z, y, x. */
typedef struct fv_conv_plan {
    const fv_conv_desc *d;
    size_t size[4];                      /* output lattice */
    ptrdiff_t step[4], low[4], reach[4]; /* input step of an output; smallest tap offset; largest - smallest + 1 */
    bool boxed;                          /* x is read from a box, not from the tensor */
    ptrdiff_t gap[4];                    /* input positions from one position of a box to the next */
    /* A block is up to `units` indices of `axis`, all of the axes inside it, one index of each axis outside it. */
    int axis;
    size_t units, inner;  /* inner: pixels of one unit */
    ptrdiff_t x_pitch[4]; /* of what is read: the tensor or the box */
    size_t box;           /* elements; 0: not boxed */
    size_t images;        /* of a block that goes by position; 0: none does */
} fv_conv_plan;

static inline size_t fv_conv_block_pixels(const fv_conv_plan *p) { return p->units * p->inner; }

/* Input positions that n outputs along an axis read. */
static inline size_t fv_conv_extent(const fv_conv_plan *p, int axis, size_t n) {
    return (n - 1) * (size_t)p->step[axis] + (size_t)p->reach[axis];
}

static inline void fv_conv_plan_geometry(fv_conv_plan *p, const fv_conv_desc *d) {
    *p = (fv_conv_plan){.d = d, .size = {(size_t)d->images}, .step = {1}, .reach = {1}, .gap = {1, 1, 1, 1}};
    for (int i = 0; i < 3; i++) {
        int32_t low = d->taps ? d->tap[0][i] : 0, high = low;
        for (int32_t t = 1; t < d->taps; t++) {
            if (d->tap[t][i] < low) low = d->tap[t][i];
            if (d->tap[t][i] > high) high = d->tap[t][i];
        }
        p->size[i + 1] = (size_t)d->out[i];
        p->step[i + 1] = d->step[i];
        p->low[i + 1] = low;
        p->reach[i + 1] = (ptrdiff_t)high - low + 1;
    }
}

static inline bool fv_conv_has_padding(const fv_conv_plan *p) {
    if (p->d->taps == 0) return false;
    for (int axis = 1; axis < 4; axis++) {
        const ptrdiff_t last = ((ptrdiff_t)p->size[axis] - 1) * p->step[axis] + p->low[axis] + p->reach[axis];
        if (p->low[axis] < 0 || last > p->d->in[axis - 1]) return true;
    }
    return false;
}

/* Chooses axis and units: as many pixels as fit max_pixels and, at `pitch` elements a pixel, FV_CONV_BOX_ELEMENTS. */
static inline void fv_conv_plan_blocks(fv_conv_plan *p, size_t pitch, size_t max_pixels) {
    size_t inner = 1, elements = pitch;
    for (int axis = 3; axis >= 0; axis--) {
        const size_t extent = FV_CONV_BOX_ELEMENTS / elements, reach = (size_t)p->reach[axis];
        size_t fit = extent < reach ? 0 : (extent - reach) / (size_t)p->step[axis] + 1;
        fit = fv_min_size(fv_min_size(fit, max_pixels / inner), p->size[axis]);
        if (fit == 0 && axis < 3) return;
        fit = fv_max_size(fit, 1);
        p->axis = axis;
        p->units = fv_div_up(p->size[axis], fv_div_up(p->size[axis], fit));
        p->inner = inner;
        if (fit < p->size[axis]) return;
        inner *= p->size[axis];
        elements *= fv_conv_extent(p, axis, p->size[axis]);
    }
}

/* Pitches of what is read: of the tensor, or of a box that is dense at `pitch` elements a pixel. */
static inline void fv_conv_plan_source(fv_conv_plan *p, size_t pitch) {
    if (!p->boxed) {
        memcpy(p->x_pitch, p->d->in_pitch, sizeof(p->x_pitch));
        return;
    }
    p->box = pitch;
    for (int axis = 3; axis >= 0; axis--) {
        p->x_pitch[axis] = (ptrdiff_t)p->box;
        const size_t n = axis > p->axis ? p->size[axis] : axis == p->axis ? p->units : 1;
        p->box *= fv_conv_extent(p, axis, n);
    }
}

/* A box holds only what is read: of an axis with one tap the positions of its outputs, side by side. */
static inline void fv_conv_close_gaps(fv_conv_plan *p) {
    for (int axis = 1; axis < 4; axis++)
        if (p->reach[axis] == 1) {
            p->gap[axis] = p->step[axis];
            p->step[axis] = 1;
        }
}

static inline bool fv_conv_is_empty(const fv_conv_desc *d) { return fv_conv_out_pixels(d) == 0; }

/* Outputs along an axis whose tap offset `tap` falls inside the input. */
static inline size_t fv_conv_inside_count(const fv_conv_plan *p, int axis, ptrdiff_t tap) {
    const ptrdiff_t step = p->step[axis], room = p->d->in[axis - 1] - 1 - tap;
    const ptrdiff_t first = tap < 0 ? (-tap + step - 1) / step : 0;
    const ptrdiff_t end = room < 0 ? 0 : fv_min_size((size_t)(room / step) + 1, p->size[axis]);
    return end > first ? (size_t)(end - first) : 0;
}

/* Is a tenth or more of the products, over all positions of an image, padding? */
static inline bool fv_conv_is_wasteful(const fv_conv_plan *p) {
    size_t inside = 0, all = (size_t)p->d->taps * p->size[1] * p->size[2] * p->size[3];
    for (int32_t t = 0; t < p->d->taps; t++) {
        size_t n = 1;
        for (int axis = 1; axis < 4; axis++) n *= fv_conv_inside_count(p, axis, p->d->tap[t][axis - 1]);
        inside += n;
    }
    return inside <= all - all / 10;
}

static inline size_t fv_conv_position_images(const fv_conv_plan *p) {
    const size_t elements = (size_t)p->d->in[0] * (size_t)p->d->in[1] * (size_t)p->d->in[2] * (size_t)p->d->in_channels;
    if (p->size[0] < FV_CONV_POSITION_IMAGES || elements > FV_CONV_POSITION_ELEMENTS) return 0;
    if (!fv_conv_has_padding(p) || !fv_conv_is_wasteful(p)) return 0;
    const size_t fit = 2 * FV_CONV_BOX_ELEMENTS / elements;
    return fv_min_size(fv_max_size(fit, FV_CONV_POSITION_IMAGES), p->size[0]);
}

/* Boxed where there is padding, and where the small channel runs of a tensor with other channels between them could
 * be merged. Blocks of whole small images go by position where that leaves out enough padding. */
static inline void fv_conv_plan_forward(fv_conv_plan *p, const fv_conv_desc *d) {
    fv_conv_plan_geometry(p, d);
    if (fv_conv_is_empty(d)) return;
    const size_t channels = (size_t)d->in_channels;
    p->boxed = fv_conv_has_padding(p) || (channels < 8 && p->reach[3] > 1 && d->in_pitch[3] != d->in_channels);
    fv_conv_plan_blocks(p, channels, FV_CONV_FORWARD_PIXELS);
    fv_conv_plan_source(p, channels);
    p->images = fv_conv_position_images(p);
}

/* Boxed where there is padding, and where the tensor's pixel pitch would make a tile's pixels evict each other. */
static inline void fv_conv_plan_grad(fv_conv_plan *p, const fv_conv_isa *isa, const fv_conv_desc *d) {
    fv_conv_plan_geometry(p, d);
    if (fv_conv_is_empty(d)) return;
    const size_t dy_columns = fv_conv_shape_of(isa, (size_t)d->out_channels)->columns;
    const size_t pixels = FV_CONV_GRAD_ELEMENTS / (dy_columns + fv_min_size((size_t)d->in_channels, 16));
    size_t pitch = (size_t)d->in_channels;
    if (pitch % FV_CONV_ALIASING_PITCH == 0) pitch += FV_CONV_SKEW;
    p->boxed = fv_conv_has_padding(p) || d->in_pitch[3] % FV_CONV_ALIASING_PITCH == 0;
    if (p->boxed) fv_conv_close_gaps(p);
    fv_conv_plan_blocks(p, pitch, pixels);
    fv_conv_plan_source(p, pitch);
}

/* A block of a range: pixels [begin, begin + count), the first at position `first`. */
typedef struct fv_conv_block {
    size_t begin, count;
    size_t first[4];
} fv_conv_block;

static inline fv_conv_block fv_conv_block_at(const fv_conv_plan *p, size_t begin, size_t range_end) {
    fv_conv_block b = {.begin = begin};
    size_t rest = begin;
    for (int axis = 3; axis >= 1; axis--) {
        b.first[axis] = rest % p->size[axis];
        rest /= p->size[axis];
    }
    b.first[0] = rest;
    const size_t index = b.first[p->axis];
    const size_t left = fv_min_size(p->units, p->size[p->axis] - index) * p->inner - begin % p->inner;
    b.count = fv_min_size(left, range_end - begin);
    return b;
}

/* table[i] = offset of the block's pixel i for pitches per output position, relative to `origin`'s. */
static inline void fv_conv_fill_table(const fv_conv_plan *p, const fv_conv_block *b, const ptrdiff_t pitch[4],
                                      const size_t origin[4], ptrdiff_t *table) {
    size_t at[4];
    memcpy(at, b->first, sizeof(at));
    for (size_t done = 0; done < b->count;) {
        const size_t n = fv_min_size(p->size[3] - at[3], b->count - done);
        ptrdiff_t offset = 0;
        for (int axis = 0; axis < 4; axis++) offset += ((ptrdiff_t)at[axis] - (ptrdiff_t)origin[axis]) * pitch[axis];
        for (size_t i = 0; i < n; i++) table[done + i] = offset + (ptrdiff_t)i * pitch[3];
        done += n;
        at[3] = 0;
        for (int axis = 2; axis >= 0 && ++at[axis] == p->size[axis] && axis > 0; axis--) at[axis] = 0;
    }
}

static inline void fv_conv_fill_y_table(const fv_conv_plan *p, const fv_conv_block *b, const ptrdiff_t pitch[4],
                                        ptrdiff_t *table) {
    fv_conv_fill_table(p, b, pitch, (const size_t[4]){0}, table);
}

/* Where the box of a block begins: the axes inside the block's axis are whole. */
static inline void fv_conv_box_origin(const fv_conv_plan *p, const fv_conv_block *b, size_t origin[4]) {
    for (int axis = 0; axis < 4; axis++) origin[axis] = axis > p->axis ? 0 : b->first[axis];
}

/* Offsets of the block's pixels at tap offset `low` in a box, at tap offset 0 in the tensor. */
static inline void fv_conv_fill_x_table(const fv_conv_plan *p, const fv_conv_block *b, ptrdiff_t *table) {
    size_t origin[4] = {0};
    ptrdiff_t pitch[4];
    if (p->boxed) fv_conv_box_origin(p, b, origin);
    for (int axis = 0; axis < 4; axis++) pitch[axis] = p->x_pitch[axis] * p->step[axis];
    fv_conv_fill_table(p, b, pitch, origin, table);
}

static inline ptrdiff_t fv_conv_tap_offset(const fv_conv_plan *p, int32_t t) {
    ptrdiff_t offset = 0;
    for (int axis = 1; axis < 4; axis++)
        offset += (p->d->tap[t][axis - 1] - (p->boxed ? p->low[axis] : 0)) * p->x_pitch[axis];
    return offset;
}

/* Does tap t of output position `at` fall inside the input? */
static inline bool fv_conv_tap_inside(const fv_conv_plan *p, const size_t at[4], int32_t t) {
    bool inside = true;
    for (int axis = 1; axis < 4; axis++) {
        const ptrdiff_t i = (ptrdiff_t)at[axis] * p->step[axis] + p->d->tap[t][axis - 1];
        inside &= (size_t)i < (size_t)p->d->in[axis - 1]; /* a negative i is a large size_t */
    }
    return inside;
}

/* The runs of all taps, or of those that fall inside the input at a position; returns how many. */
static inline size_t fv_conv_make_runs(const fv_conv_plan *p, const size_t *at, fv_conv_run *run) {
    const size_t channels = (size_t)p->d->in_channels;
    size_t runs = 0;
    for (int32_t t = 0; t < p->d->taps; t++) {
        if (at && !fv_conv_tap_inside(p, at, t)) continue;
        const ptrdiff_t x = fv_conv_tap_offset(p, t);
        const size_t k = (size_t)t * channels;
        fv_conv_run *last = run + runs - 1;
        if (runs > 0 && last->k + last->length == k && last->x + (ptrdiff_t)last->length == x)
            last->length += channels;
        else
            run[runs++] = (fv_conv_run){x, k, channels};
    }
    return runs;
}

/* The channels of a pixel: a call of memcpy pays from some cache lines on. */
static inline void fv_conv_copy_pixel(fv_real *out, const fv_real *in, size_t channels) {
    if (channels >= 64)
        memcpy(out, in, channels * sizeof(*in));
    else
        for (size_t c = 0; c < channels; c++) out[c] = in[c];
}

/* One row of a box whose axis has gaps. */
static inline void fv_conv_fill_spread_row(const fv_conv_plan *p, const fv_real *x, ptrdiff_t first, size_t n, fv_real *box) {
    const ptrdiff_t in = p->d->in[2], pitch = p->x_pitch[3];
    const size_t channels = (size_t)p->d->in_channels;
    for (size_t i = 0; i < n; i++, box += pitch) {
        const ptrdiff_t at = first + (ptrdiff_t)i * p->gap[3];
        if (at >= 0 && at < in)
            fv_conv_copy_pixel(box, x + at * p->d->in_pitch[3], channels);
        else
            memset(box, 0, channels * sizeof(*box));
    }
}

/* One row of a box: n positions from x = first on, those outside [0, in) zero. */
static inline void fv_conv_fill_row(const fv_conv_plan *p, const fv_real *x, ptrdiff_t first, size_t n, fv_real *box) {
    const ptrdiff_t in = p->d->in[2], end = first + (ptrdiff_t)n, pitch = p->x_pitch[3], x_pitch = p->d->in_pitch[3];
    const size_t channels = (size_t)p->d->in_channels;
    if (p->gap[3] > 1) {
        fv_conv_fill_spread_row(p, x, first, n, box);
        return;
    }
    const ptrdiff_t from = first < 0 ? (end < 0 ? end : 0) : first;
    const ptrdiff_t to = end > in ? (from > in ? from : in) : end;
    memset(box, 0, (size_t)((from - first) * pitch) * sizeof(*box));
    fv_real *out = box + (from - first) * pitch;
    if (pitch == x_pitch && to > from) {
        memcpy(out, x + from * x_pitch, ((size_t)((to - from - 1) * pitch) + channels) * sizeof(*out));
    } else {
        for (ptrdiff_t i = from; i < to; i++) fv_conv_copy_pixel(out + (i - from) * pitch, x + i * x_pitch, channels);
    }
    memset(box + (to - first) * pitch, 0, (size_t)((end - to) * pitch) * sizeof(*box));
}

/* Copies what a block reads of one group into its box; x points at the group's first channel. */
static inline void fv_conv_fill_box(const fv_conv_plan *p, const fv_conv_block *b, const fv_real *x, fv_real *box) {
    size_t origin[4], n[4];
    ptrdiff_t first[4];
    fv_conv_box_origin(p, b, origin);
    const size_t last = (b->begin % (p->inner * p->size[p->axis]) + b->count - 1) / p->inner;
    for (int axis = 0; axis < 4; axis++) {
        const size_t outputs = axis > p->axis ? p->size[axis] : axis == p->axis ? last - origin[axis] + 1 : 1;
        n[axis] = fv_conv_extent(p, axis, outputs);
        first[axis] = (ptrdiff_t)origin[axis] * p->step[axis] * p->gap[axis] + p->low[axis];
    }
    const ptrdiff_t *pitch = p->d->in_pitch, *out = p->x_pitch;
    for (size_t i = 0; i < n[0]; i++)
        for (size_t z = 0; z < n[1]; z++)
            for (size_t y = 0; y < n[2]; y++) {
                const ptrdiff_t in_z = first[1] + (ptrdiff_t)z * p->gap[1], in_y = first[2] + (ptrdiff_t)y * p->gap[2];
                fv_real *row = box + (ptrdiff_t)i * out[0] + (ptrdiff_t)z * out[1] + (ptrdiff_t)y * out[2];
                if (in_z < 0 || in_z >= p->d->in[0] || in_y < 0 || in_y >= p->d->in[1])
                    memset(row, 0, n[3] * (size_t)out[3] * sizeof(*row));
                else
                    fv_conv_fill_row(p, x + (first[0] + (ptrdiff_t)i) * pitch[0] + in_z * pitch[1] + in_y * pitch[2],
                                     first[3], n[3], row);
            }
}

/* Packed weights. */

static inline size_t fv_conv_group_panels(const fv_conv_isa *isa, const fv_conv_desc *d) {
    return fv_div_up((size_t)d->out_channels, isa->wide.columns);
}

typedef struct fv_conv_panel {
    const fv_conv_shape *shape;
    size_t group, first, columns; /* output channels [first, first + columns) of the group */
    size_t offset;                /* in the packed weights */
} fv_conv_panel;

static inline size_t fv_conv_group_size(const fv_conv_isa *isa, const fv_conv_desc *d) {
    const size_t whole = (size_t)d->out_channels / isa->wide.columns,
                 rest = (size_t)d->out_channels % isa->wide.columns;
    const size_t columns = whole * isa->wide.columns + (rest ? fv_conv_shape_of(isa, rest)->columns : 0);
    return columns * (size_t)d->taps * (size_t)d->in_channels;
}

static inline fv_conv_panel fv_conv_panel_at(const fv_conv_isa *isa, const fv_conv_desc *d, size_t panel) {
    const size_t panels = fv_conv_group_panels(isa, d);
    fv_conv_panel p = {.group = panel / panels, .first = panel % panels * isa->wide.columns};
    p.columns = fv_min_size((size_t)d->out_channels - p.first, isa->wide.columns);
    p.shape = fv_conv_shape_of(isa, p.columns);
    p.offset = p.group * fv_conv_group_size(isa, d) + p.first * (size_t)d->taps * (size_t)d->in_channels;
    return p;
}

static inline size_t fv_conv_drive_packed_size(const fv_conv_isa *isa, const fv_conv_desc *d) {
    return (size_t)d->groups * fv_conv_group_size(isa, d);
}

static inline void fv_conv_drive_pack(const fv_conv_isa *isa, const fv_conv_desc *d, const fv_conv_weights *w,
                                      fv_real *packed, fv_range panels) {
    for (size_t i = panels.begin; i < panels.end; i++) {
        const fv_conv_panel p = fv_conv_panel_at(isa, d, i);
        fv_real *out = packed + p.offset;
        for (int32_t t = 0; t < d->taps; t++) {
            const fv_real *in = w->data + (ptrdiff_t)p.group * w->group + (ptrdiff_t)p.first * w->out +
                                (d->weight_tap ? d->weight_tap[t] : t) * w->tap;
            for (int32_t c = 0; c < d->in_channels; c++, in += w->in, out += p.shape->columns) {
                for (size_t k = 0; k < p.columns; k++) out[k] = in[(ptrdiff_t)k * w->out];
                for (size_t k = p.columns; k < p.shape->columns; k++) out[k] = 0;
            }
        }
    }
}

/* Scratch: the tables and the box, in this order, each FV_ALIGNMENT-aligned. */

typedef struct fv_conv_scratch {
    fv_conv_run *run;                            /* [taps], forward */
    ptrdiff_t *tap_offset;                       /* [taps], gradient */
    ptrdiff_t *pixel, *y_pixel, *residual_pixel; /* [block pixels] */
    fv_real *box;
    fv_real *dy; /* [block pixels][wide.columns] */
    size_t bytes;
} fv_conv_scratch;

/* The next part of memory; NULL without memory. */
static inline void *fv_conv_carve(void *memory, size_t *bytes, size_t part) {
    void *at = memory ? (char *)memory + *bytes : NULL;
    *bytes += fv_round_up(part, FV_ALIGNMENT);
    return at;
}

/* dy_columns: 0 for forward. memory NULL: for its bytes alone. */
static inline fv_conv_scratch fv_conv_lay_out(const fv_conv_plan *p, size_t dy_columns, void *memory) {
    const size_t pixels = fv_max_size(fv_conv_block_pixels(p), p->images), table = pixels * sizeof(ptrdiff_t);
    fv_conv_scratch s = {0};
    if (dy_columns)
        s.tap_offset = fv_conv_carve(memory, &s.bytes, (size_t)p->d->taps * sizeof(*s.tap_offset));
    else
        s.run = fv_conv_carve(memory, &s.bytes, (size_t)p->d->taps * sizeof(*s.run));
    s.pixel = fv_conv_carve(memory, &s.bytes, table);
    s.y_pixel = fv_conv_carve(memory, &s.bytes, table);
    s.residual_pixel = fv_conv_carve(memory, &s.bytes, dy_columns ? 0 : table);
    s.box = fv_conv_carve(memory, &s.bytes, p->box * sizeof(fv_real));
    s.dy = fv_conv_carve(memory, &s.bytes, pixels * dy_columns * sizeof(fv_real));
    return s;
}

static inline size_t fv_conv_drive_forward_scratch(const fv_conv_desc *d) {
    fv_conv_plan p;
    fv_conv_plan_forward(&p, d);
    return fv_conv_lay_out(&p, 0, NULL).bytes;
}

static inline size_t fv_conv_drive_grad_scratch(const fv_conv_isa *isa, const fv_conv_desc *d) {
    fv_conv_plan p;
    fv_conv_plan_grad(&p, isa, d);
    return fv_conv_lay_out(&p, isa->wide.columns, NULL).bytes;
}

/* Rows of the next tile when `left` are left: the last two tiles are of even size, since a tile of one or two rows
 * has too few chains to hide the latency of the additions. */
static inline size_t fv_conv_tile_rows(size_t left, size_t most) {
    return left <= most ? left : left < 2 * most ? (left + 1) / 2 : most;
}

static inline fv_conv_ahead fv_conv_ahead_of(const fv_real *from, size_t elements, size_t tiles) {
    const char *at = (const char *)from;
    const size_t bytes = elements * sizeof(*from);
    return (fv_conv_ahead){at, at + bytes, fv_round_up(bytes / fv_max_size(tiles, 1) + 1, 64), 0};
}

/* All tiles of a block and a panel. */
static inline void fv_conv_forward_block(const fv_conv_shape *shape, const fv_conv_scratch *s, size_t pixels,
                                         fv_conv_forward_args *a) {
    a->pixel = s->pixel;
    a->y_pixel = s->y_pixel;
    a->residual_pixel = s->residual_pixel;
    for (size_t left = pixels; left > 0;) {
        const size_t rows = fv_conv_tile_rows(left, shape->rows);
        const size_t tiles = rows < shape->rows ? 1 : left % rows == 0 ? left / rows : fv_max_size(left / rows, 2) - 1;
        shape->forward[rows - 1](a, tiles);
        left -= tiles * rows;
    }
}

/* A block of whole images, a tile being one position of several images: all its pixels have the same padding, which
 * is left out. The tables hold one entry an image. plan is not boxed. */
static inline void fv_conv_forward_positions(const fv_conv_plan *p, const fv_conv_shape *shape,
                                             const fv_conv_scratch *s, size_t images, fv_conv_forward_args *a) {
    const fv_conv_desc *d = p->d;
    const fv_conv_forward_args base = *a;
    for (size_t z = 0; z < p->size[1]; z++)
        for (size_t y = 0; y < p->size[2]; y++)
            for (size_t x = 0; x < p->size[3]; x++) {
                const size_t at[4] = {0, z, y, x};
                ptrdiff_t in = 0, out = 0, residual = 0;
                for (int axis = 1; axis < 4; axis++) {
                    in += (ptrdiff_t)at[axis] * p->step[axis] * d->in_pitch[axis];
                    out += (ptrdiff_t)at[axis] * d->out_pitch[axis];
                    residual += (ptrdiff_t)at[axis] * d->residual_pitch[axis];
                }
                a->runs = fv_conv_make_runs(p, at, s->run);
                a->x = base.x + in;
                a->y = base.y + out;
                if (a->residual) a->residual = base.residual + residual;
                fv_conv_forward_block(shape, s, images, a);
            }
    *a = base;
}

static inline void fv_conv_fill_image_table(const fv_conv_block *b, size_t images, ptrdiff_t pitch, ptrdiff_t *table) {
    for (size_t i = 0; i < images; i++) table[i] = (ptrdiff_t)(b->first[0] + i) * pitch;
}

/* What a panel of the forward pass reads and writes, x apart. */
static inline void fv_conv_set_panel(const fv_conv_desc *d, const fv_conv_panel *p, const fv_real *packed,
                                     const fv_real *bias, const fv_real *residual, fv_real *y,
                                     fv_conv_forward_args *a) {
    const size_t channel = p->group * (size_t)d->out_channels + p->first;
    a->panel = packed + p->offset;
    a->ahead[1] = fv_conv_ahead_of(a->panel, 0, 1);
    a->columns = p->columns;
    a->bias = bias ? bias + channel : NULL;
    a->residual = residual ? residual + channel : NULL;
    a->y = y + channel;
}

static inline void fv_conv_forward_row(const fv_conv_isa *isa, const fv_conv_desc *d, const fv_conv_scratch *s, size_t panels,
                                       fv_conv_forward_args *a) {
    a->pixel = s->pixel;
    a->y_pixel = s->y_pixel;
    a->residual_pixel = s->residual_pixel;
    a->panel_pitch = (ptrdiff_t)isa->wide.columns * d->taps * d->in_channels;
    isa->row[panels - 1](a);
}

/* Panels from panel i on that one call does for a block of one pixel: whole ones of one group. 0: none is done so. */
static inline size_t fv_conv_row_panels(const fv_conv_isa *isa, const fv_conv_desc *d, const fv_conv_panel *p, size_t panels) {
    const size_t whole = ((size_t)d->out_channels - p->first) / isa->wide.columns;
    const size_t n = fv_min_size(fv_min_size(whole, panels), FV_CONV_ROW_PANELS);
    return n > 1 && isa->row[n - 1] ? n : 0;
}

/* Images of the block by position that begins here; 0: it does not begin with enough whole images. */
static inline size_t fv_conv_whole_images(const fv_conv_plan *p, size_t begin, size_t range_end) {
    const size_t pixels = p->size[1] * p->size[2] * p->size[3], left = (range_end - begin) / pixels;
    if (p->images == 0 || begin % pixels != 0 || left < FV_CONV_POSITION_IMAGES) return 0;
    return fv_div_up(left, fv_div_up(left, p->images));
}

/* The pixels behind a block, as many as it has: the next block's, of this range or of the one after it. */
static inline fv_conv_ahead fv_conv_next_pixels(const fv_conv_plan *p, const fv_conv_block *b, const fv_real *last,
                                                size_t tiles) {
    const size_t left = p->size[0] * p->size[1] * p->size[2] * p->size[3] - b->begin - b->count;
    if (p->boxed || p->step[3] != 1 || left == 0) return (fv_conv_ahead){0};
    return fv_conv_ahead_of(last, fv_min_size(left, b->count) * (size_t)p->x_pitch[3], tiles);
}

/* Panels of many lines a tile are not brought between tiles: so many requests at once would hold up the tile. */
static inline fv_conv_ahead fv_conv_next_panel(const fv_conv_desc *d, const fv_conv_panel *next, const fv_real *packed,
                                               size_t tiles) {
    const size_t elements = next->shape->columns * (size_t)d->taps * (size_t)d->in_channels;
    const bool many = elements > tiles * FV_CONV_AHEAD_ELEMENTS;
    fv_conv_ahead a = fv_conv_ahead_of(packed + next->offset, many ? 0 : elements, tiles);
    a.per_k = fv_div_up(next->shape->columns * sizeof(*packed), fv_max_size(tiles, 1));
    return a;
}

static inline void fv_conv_drive_forward(const fv_conv_isa *isa, const fv_conv_desc *d, const fv_real *x,
                                         const fv_real *packed, const fv_real *bias, const fv_real *residual,
                                         fv_real *y, fv_range pixels, fv_range panels, void *scratch) {
    fv_conv_plan plan;
    fv_conv_plan_forward(&plan, d);
    fv_conv_plan direct = plan;
    direct.boxed = false;
    fv_conv_plan_source(&direct, 0);
    const fv_conv_scratch s = fv_conv_lay_out(&plan, 0, scratch);
    fv_conv_forward_args a = {.pixel = s.pixel, .run = s.run, .low = d->act_low, .high = d->act_high};
    const size_t image_pixels = plan.size[1] * plan.size[2] * plan.size[3];
    const size_t all_panels = (size_t)d->groups * fv_conv_group_panels(isa, d);
    for (size_t begin = pixels.begin; begin < pixels.end;) {
        fv_conv_block b = fv_conv_block_at(&plan, begin, pixels.end);
        const size_t images = fv_conv_whole_images(&plan, begin, pixels.end);
        if (images > 0) b.count = images * image_pixels;
        if (images > 0) {
            fv_conv_fill_image_table(&b, images, d->in_pitch[0], s.pixel);
            fv_conv_fill_image_table(&b, images, d->out_pitch[0], s.y_pixel);
            fv_conv_fill_image_table(&b, images, d->residual_pitch[0], s.residual_pixel);
        } else {
            a.runs = fv_conv_make_runs(&plan, NULL, s.run);
            fv_conv_fill_x_table(&plan, &b, s.pixel);
            fv_conv_fill_y_table(&plan, &b, d->out_pitch, s.y_pixel);
            if (residual) fv_conv_fill_y_table(&plan, &b, d->residual_pitch, s.residual_pixel);
        }
        a.ahead[0] = a.ahead[1] = (fv_conv_ahead){0};
        const size_t tiles = fv_div_up(b.count, isa->wide.rows);
        if (images == 0 && panels.end == all_panels)
            a.ahead[0] = fv_conv_next_pixels(&plan, &b, x + s.pixel[b.count - 1], tiles * (panels.end - panels.begin));
        size_t boxed_group = SIZE_MAX;
        for (size_t i = panels.begin; i < panels.end; i++) {
            const fv_conv_panel p = fv_conv_panel_at(isa, d, i);
            fv_conv_set_panel(d, &p, packed, bias, residual, y, &a);
            a.x = x + p.group * (size_t)d->in_channels;
            if (images > 0) {
                fv_conv_forward_positions(&direct, p.shape, &s, images, &a);
                continue;
            }
            if (plan.boxed) {
                if (boxed_group != p.group) fv_conv_fill_box(&plan, &b, a.x, s.box);
                boxed_group = p.group;
                a.x = s.box;
            }
            const size_t row = b.count == 1 ? fv_conv_row_panels(isa, d, &p, panels.end - i) : 0;
            if (row > 0) {
                fv_conv_forward_row(isa, d, &s, row, &a);
                i += row - 1;
                continue;
            }
            if (i + 1 < all_panels) {
                const fv_conv_panel next = fv_conv_panel_at(isa, d, i + 1);
                a.ahead[1] = fv_conv_next_panel(d, &next, packed, tiles);
            }
            fv_conv_forward_block(p.shape, &s, b.count, &a);
        }
        begin += b.count;
    }
}

/* n <= 16 elements, by two overlapping moves: a loop would become a call of memcpy for each pixel. */
static inline void fv_conv_copy_few(fv_real *out, const fv_real *in, size_t n) {
    if (n >= 8) {
        memcpy(out, in, 8 * sizeof(*in));
        memcpy(out + n - 8, in + n - 8, 8 * sizeof(*in));
    } else if (n >= 4) {
        memcpy(out, in, 4 * sizeof(*in));
        memcpy(out + n - 4, in + n - 4, 4 * sizeof(*in));
    } else {
        if (n & 2) memcpy(out, in, 2 * sizeof(*in));
        if (n & 1) out[n - 1] = in[n - 1];
    }
}

/* dy of a block and a panel, dense: the tiles read it taps * C / rows times. */
static inline void fv_conv_pack_dy(const fv_real *dy, const ptrdiff_t *pixel, size_t pixels, size_t columns,
                                   size_t shape_columns, fv_real *out) {
    if (columns < shape_columns) memset(out, 0, pixels * shape_columns * sizeof(*out));
    for (size_t i = 0; i < pixels; i++) fv_conv_copy_few(out + i * shape_columns, dy + pixel[i], columns);
}

/* All row tiles of a block and a panel; x points at the group's first channel, a->dw at row rows.begin. */
static inline void fv_conv_grad_block(const fv_conv_shape *shape, const fv_conv_desc *d, const ptrdiff_t *tap_offset,
                                      const fv_real *x, fv_range rows, fv_conv_grad_args *a) {
    const size_t channels = (size_t)d->in_channels;
    size_t t = rows.begin / channels, c = rows.begin % channels;
    for (size_t row = rows.begin; row < rows.end;) {
        const size_t n = fv_conv_tile_rows(rows.end - row, shape->rows);
        for (size_t r = 0; r < n; r++) {
            a->row[r] = x + tap_offset[t] + c;
            if (++c == channels) {
                c = 0;
                t++;
            }
        }
        shape->grad[n - 1](a);
        a->dw += (ptrdiff_t)n * a->dw_pitch;
        row += n;
    }
}

static inline void fv_conv_zero_grad(const fv_conv_desc *d, fv_real *dw, ptrdiff_t dw_pitch, fv_range rows) {
    for (size_t row = rows.begin; row < rows.end; row++)
        memset(dw + (ptrdiff_t)row * dw_pitch, 0, (size_t)d->groups * (size_t)d->out_channels * sizeof(*dw));
}

static inline void fv_conv_drive_weight_grad(const fv_conv_isa *isa, const fv_conv_desc *d, const fv_real *x,
                                             const fv_real *dy, fv_real *dw, ptrdiff_t dw_pitch, fv_range pixels,
                                             fv_range rows, void *scratch) {
    fv_conv_plan plan;
    fv_conv_grad_args a = {.dw_pitch = dw_pitch};
    if (pixels.begin >= pixels.end) {
        fv_conv_zero_grad(d, dw, dw_pitch, rows);
        return;
    }
    fv_conv_plan_grad(&plan, isa, d);
    const fv_conv_scratch s = fv_conv_lay_out(&plan, isa->wide.columns, scratch);
    for (int32_t t = 0; t < d->taps; t++) s.tap_offset[t] = fv_conv_tap_offset(&plan, t);
    for (size_t begin = pixels.begin; begin < pixels.end;) {
        const fv_conv_block b = fv_conv_block_at(&plan, begin, pixels.end);
        fv_conv_fill_x_table(&plan, &b, s.pixel);
        fv_conv_fill_y_table(&plan, &b, d->out_pitch, s.y_pixel);
        a.pixel = s.pixel;
        a.dy = s.dy;
        a.pixels = b.count;
        a.accumulate = begin != pixels.begin;
        for (size_t i = 0; i < (size_t)d->groups * fv_conv_group_panels(isa, d); i++) {
            const fv_conv_panel p = fv_conv_panel_at(isa, d, i);
            const size_t channel = p.group * (size_t)d->out_channels + p.first;
            const fv_real *group_x = x + p.group * (size_t)d->in_channels;
            if (plan.boxed && p.first == 0) fv_conv_fill_box(&plan, &b, group_x, s.box);
            fv_conv_pack_dy(dy + channel, s.y_pixel, b.count, p.columns, p.shape->columns, s.dy);
            a.columns = p.columns;
            a.dw = dw + (ptrdiff_t)rows.begin * dw_pitch + (ptrdiff_t)channel;
            fv_conv_grad_block(p.shape, d, s.tap_offset, plan.boxed ? s.box : group_x, rows, &a);
        }
        begin += b.count;
    }
}

#endif
