/* The forward product of few channels on both sides (a first layer of grey or coloured images with a handful of maps):
 * vectors run along output pixels, so no lane is spent on maps that are not there. An ISA file that has such a tile
 * calls fv_conv_few_forward, and fv_conv_drive_forward where that returns false; packed weights are the same for both,
 * and so are the bits: every output is still one chain in the order of k.
 *
 * What a block of rows reads is copied into a box of planes, [channel][z][y][x], zero in the padding: the pixels of a
 * quad (four neighbours along x) then stand next to each other for every tap, and a quad that ends in mid-row reads on
 * into the next row, whose sums are not stored. A tile is FV_CONV_FEW_QUADS quads, anywhere in the box, and all maps.
 */
#ifndef FV_KERNELS_CONV_FEW_H
#define FV_KERNELS_CONV_FEW_H

#include "kernels/conv_driver.h"

/* FV_CONV_FEW_BOX: elements of a box that stays in L2 beside what it came from. Fewer products than FV_CONV_FEW_VALUES
 * a map do not pay for the copy. */
enum {
    FV_CONV_FEW_MAPS = 6,
    FV_CONV_FEW_CHANNELS = 4,
    FV_CONV_FEW_QUADS = 4,
    FV_CONV_FEW_BOX = 16 << 10,
    FV_CONV_FEW_VALUES = 9
};

/* y[q][i*y_pitch + m] for i < pixels[q], m < maps: the sum over k < values, in order, of x[q][offset[k] + i] *
 * panel[k*columns + m], then bias[m] (if not NULL), then the clamp, NaN passing. x[q] is readable for i < 4 also where
 * pixels[q] < 4. */
typedef struct fv_conv_few_args {
    const fv_real *x[FV_CONV_FEW_QUADS];
    fv_real *y[FV_CONV_FEW_QUADS];
    size_t pixels[FV_CONV_FEW_QUADS];
    const ptrdiff_t *offset;
    size_t values;
    const fv_real *panel; /* columns apart, zeros past maps */
    const fv_real *bias;
    ptrdiff_t y_pitch;
    size_t maps; /* 1 .. FV_CONV_FEW_MAPS */
    bool whole;  /* four pixels in every quad, FV_CONV_FEW_MAPS maps and y_pitch */
    fv_real low, high;
} fv_conv_few_args;
typedef void (*fv_conv_few_tile)(const fv_conv_few_args *a);

typedef struct fv_conv_few_plan {
    fv_conv_plan geometry;
    size_t rows;                         /* of outputs a block; 0: the product does not go this way */
    size_t values, width, plane[2], box; /* width of a box row, elements of [y][x] and of [z][y][x]; elements */
} fv_conv_few_plan;

static inline void fv_conv_few_plan_forward(fv_conv_few_plan *p, const fv_conv_desc *d) {
    *p = (fv_conv_few_plan){.values = (size_t)d->taps * (size_t)d->in_channels};
    const size_t lanes = fv_round_up((size_t)d->out[2], 4);
    if (d->out_channels > FV_CONV_FEW_MAPS || d->in_channels > FV_CONV_FEW_CHANNELS || d->step[2] != 1) return;
    if (p->values < FV_CONV_FEW_VALUES || fv_conv_is_empty(d) || lanes - (size_t)d->out[2] > lanes / 4) return;
    fv_conv_plan_geometry(&p->geometry, d);
    p->width = fv_conv_extent(&p->geometry, 3, (size_t)d->out[2]);
    /* Factor by factor: the whole product of a far-flung list of taps would overflow. */
    const size_t factors[3] = {(size_t)p->geometry.reach[2], (size_t)p->geometry.reach[1], (size_t)d->in_channels};
    size_t row = p->width;
    for (int i = 0; i < 3; i++) {
        if (row > FV_CONV_FEW_BOX || factors[i] > FV_CONV_FEW_BOX) return;
        row *= factors[i];
    }
    if (row > FV_CONV_FEW_BOX) return;
    const size_t line = row / (size_t)p->geometry.reach[2] * (size_t)d->step[1];
    const size_t fit = fv_min_size(1 + (FV_CONV_FEW_BOX - row) / line, (size_t)d->out[1]);
    p->rows = fv_div_up((size_t)d->out[1], fv_div_up((size_t)d->out[1], fit));
    p->plane[0] = p->width * fv_conv_extent(&p->geometry, 2, p->rows);
    p->plane[1] = p->plane[0] * (size_t)p->geometry.reach[1];
    p->box = p->plane[1] * (size_t)d->in_channels;
}

/* Scratch: the offsets, then the box and what the last quad reads beyond it. */
static inline size_t fv_conv_few_offset_bytes(const fv_conv_few_plan *p) {
    return fv_round_up(p->values * sizeof(ptrdiff_t), FV_ALIGNMENT);
}

static inline size_t fv_conv_few_scratch(const fv_conv_desc *d) {
    fv_conv_few_plan p;
    fv_conv_few_plan_forward(&p, d);
    return p.rows ? fv_conv_few_offset_bytes(&p) + (p.box + 4) * sizeof(fv_real) : 0;
}

/* n values of one channel, `pitch` apart. */
static inline void fv_conv_few_copy(fv_real *out, const fv_real *in, size_t n, ptrdiff_t pitch) {
    if (pitch == 1 && n >= 8) {
        for (size_t i = 0; i + 8 < n; i += 8) memcpy(out + i, in + i, 8 * sizeof(*in));
        memcpy(out + n - 8, in + n - 8, 8 * sizeof(*in));
    } else {
        for (size_t i = 0; i < n; i++) out[i] = in[(ptrdiff_t)i * pitch];
    }
}

/* What output rows [y, y + rows) of plane z read; x is the first channel of the group in the image. Padding left and
 * right of a line is the same for every block: it is zero already. */
static inline void fv_conv_few_fill(const fv_conv_few_plan *p, const fv_real *x, size_t z, size_t y, size_t rows,
                                    fv_real *box) {
    const fv_conv_desc *d = p->geometry.d;
    const ptrdiff_t *low = p->geometry.low, in = d->in[2], left = low[3];
    const ptrdiff_t first_z = (ptrdiff_t)z * d->step[0] + low[1], first_y = (ptrdiff_t)y * d->step[1] + low[2];
    const size_t lines = fv_conv_extent(&p->geometry, 2, rows), width = p->width;
    const size_t from = left >= 0 ? 0 : fv_min_size((size_t)-left, width);
    const size_t to = fv_max_size(from, in <= left ? 0 : fv_min_size((size_t)(in - left), width));
    for (size_t c = 0; c < (size_t)d->in_channels; c++)
        for (size_t i = 0; i < (size_t)p->geometry.reach[1]; i++)
            for (size_t j = 0; j < lines; j++) {
                fv_real *out = box + c * p->plane[1] + i * p->plane[0] + j * width;
                const ptrdiff_t in_z = first_z + (ptrdiff_t)i, in_y = first_y + (ptrdiff_t)j;
                if (in_z < 0 || in_z >= d->in[0] || in_y < 0 || in_y >= d->in[1]) {
                    memset(out, 0, width * sizeof(*out));
                    continue;
                }
                const fv_real *line = x + (ptrdiff_t)c + in_z * d->in_pitch[1] + in_y * d->in_pitch[2];
                if (to > from)
                    fv_conv_few_copy(out + from, line + ((ptrdiff_t)from + left) * d->in_pitch[3], to - from,
                                     d->in_pitch[3]);
            }
}

/* All quads of pixels [begin, begin + count), which begin `first` pixels into the block's first row at box row 0; y at
 * column 0 of it. */
static inline void fv_conv_few_block(const fv_conv_few_plan *p, fv_conv_few_tile tile, const fv_real *box, fv_real *y,
                                     size_t first, size_t count, fv_conv_few_args *a) {
    const size_t columns = p->geometry.size[3], line = p->width * (size_t)p->geometry.step[2];
    const ptrdiff_t y_line = p->geometry.d->out_pitch[2];
    const bool dense = a->maps == FV_CONV_FEW_MAPS && a->y_pitch == FV_CONV_FEW_MAPS;
    size_t q = 0, pixels = 0;
    for (size_t left = count, at = first; left > 0; at = 0, box += line, y += y_line) {
        const size_t end = fv_min_size(columns, at + left);
        left -= end - at;
        for (; at < end; at += 4) {
            a->x[q] = box + at;
            a->y[q] = y + (ptrdiff_t)at * a->y_pitch;
            a->pixels[q] = fv_min_size(end - at, 4);
            pixels += a->pixels[q];
            if (++q < FV_CONV_FEW_QUADS) continue;
            a->whole = dense && pixels == 4 * FV_CONV_FEW_QUADS;
            tile(a);
            q = pixels = 0;
        }
    }
    if (q == 0) return;
    for (; q < FV_CONV_FEW_QUADS; q++) {
        a->x[q] = a->x[0];
        a->y[q] = a->y[0];
        a->pixels[q] = 0;
    }
    a->whole = false;
    tile(a);
}

static inline void fv_conv_few_offsets(const fv_conv_few_plan *p, ptrdiff_t *offset) {
    const fv_conv_desc *d = p->geometry.d;
    const ptrdiff_t *low = p->geometry.low;
    for (int32_t t = 0; t < d->taps; t++)
        for (int32_t c = 0; c < d->in_channels; c++)
            *offset++ = c * (ptrdiff_t)p->plane[1] + (d->tap[t][0] - low[1]) * (ptrdiff_t)p->plane[0] +
                        (d->tap[t][1] - low[2]) * (ptrdiff_t)p->width + d->tap[t][2] - low[3];
}

/* As fv_conv_forward_fn, without a residual; false, and nothing done, where the product does not go this way. */
static inline bool fv_conv_few_forward(const fv_conv_isa *isa, fv_conv_few_tile tile, const fv_conv_desc *d,
                                       const fv_real *x, const fv_real *packed, const fv_real *bias, fv_real *y,
                                       fv_range pixels, fv_range panels, void *scratch) {
    fv_conv_few_plan p;
    fv_conv_few_plan_forward(&p, d);
    if (p.rows == 0) return false;
    ptrdiff_t *offset = scratch;
    fv_real *box = (fv_real *)(void *)((char *)scratch + fv_conv_few_offset_bytes(&p));
    fv_conv_few_offsets(&p, offset);
    memset(box, 0, (p.box + 4) * sizeof(*box));
    fv_conv_few_args a = {.offset = offset,
                          .values = p.values,
                          .y_pitch = d->out_pitch[3],
                          .maps = (size_t)d->out_channels,
                          .low = d->act_low,
                          .high = d->act_high};
    const size_t *size = p.geometry.size;
    for (size_t begin = pixels.begin; begin < pixels.end;) {
        const size_t row = begin / size[3], first = begin % size[3];
        const size_t at[3] = {row / size[2] / size[1], row / size[2] % size[1], row % size[2]};
        const size_t rows = fv_min_size(p.rows, size[2] - at[2]),
                     count = fv_min_size(rows * size[3] - first, pixels.end - begin);
        fv_real *out = y + (ptrdiff_t)at[0] * d->out_pitch[0] + (ptrdiff_t)at[1] * d->out_pitch[1] +
                       (ptrdiff_t)at[2] * d->out_pitch[2];
        for (size_t group = panels.begin; group < panels.end; group++) {
            const size_t maps = group * (size_t)d->out_channels;
            fv_conv_few_fill(&p, x + (ptrdiff_t)at[0] * d->in_pitch[0] + group * (size_t)d->in_channels, at[1], at[2],
                             fv_div_up(first + count, size[3]), box);
            a.panel = packed + fv_conv_panel_at(isa, d, group).offset;
            a.bias = bias ? bias + maps : NULL;
            fv_conv_few_block(&p, tile, box, out + maps, first, count, &a);
        }
        begin += count;
    }
    return true;
}

#endif
