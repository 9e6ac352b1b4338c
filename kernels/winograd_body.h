/* Winograd over a vector wrapper, around the register tiles of an ISA; included by (isa)/winograd_(isa).c after
 *
 *   enum { TILE_ROWS = .. };  static const product_tile product_tiles[TILE_ROWS];    product_tiles[r - 1]: a tile of r rows
 *                             static const sum_tile sum_tiles[TILE_ROWS];            the same of the weight gradient
 *
 * Frequencies v: [frequency][tile][pitch]. Products: [frequency][panel][tile][2*VW]. Weights: [frequency][panel][C][2*VW]. The
 * pitch and the frequencies' strides are odd numbers of cache lines, so that a column of each spreads over the sets of L1. Input
 * and output transforms go over two passes of one dimension each, a vector of channels at a time. */
#include "kernels/winograd.h"

#include <string.h>

enum { NR = 2 * VW, LINE = 16, PRODUCT_ELEMENTS = 128 << 10 };

static size_t side(int32_t m) { return (size_t)m + 2; }
static size_t odd_lines(size_t n) { return (fv_div_up(n, LINE) | 1) * LINE; }
static size_t v_pitch(const fv_conv_desc *d) { return odd_lines((size_t)d->in_channels); }
static size_t v_stride(const fv_conv_desc *d, size_t tiles) { return odd_lines(tiles * v_pitch(d)); }
static size_t all_panels(const fv_conv_desc *d) { return fv_div_up((size_t)d->out_channels, NR); }

/* Panels whose products are in memory at once. */
static size_t panel_group(const fv_conv_desc *d, int32_t m, size_t tiles) {
    const size_t fit = PRODUCT_ELEMENTS / (side(m) * side(m) * tiles * NR), all = all_panels(d);
    return fv_div_up(all, fv_div_up(all, fv_max_size(fit, 1)));
}

static size_t packed_stride(const fv_conv_desc *d) { return odd_lines(all_panels(d) * (size_t)d->in_channels * NR); }
static size_t packed_size(const fv_conv_desc *d, int32_t m) { return side(m) * side(m) * packed_stride(d); }

static size_t input_size(const fv_conv_desc *d, int32_t m, size_t tiles) { return side(m) * side(m) * v_stride(d, tiles); }

/* Smaller blocks take larger groups, within PRODUCT_ELEMENTS. */
static size_t output_scratch(const fv_conv_desc *d, int32_t m, size_t tiles) {
    const size_t frequencies = side(m) * side(m), most = fv_max_size(PRODUCT_ELEMENTS / (frequencies * NR), tiles);
    return frequencies * odd_lines(fv_min_size(most, all_panels(d) * tiles) * NR) * sizeof(float);
}

/* ---- one dimension ---- */

/* t = B^T d */
FV_ALWAYS_INLINE void input_line(const int32_t m, const vf *d, vf *t) {
    if (m == 2) {
        t[0] = v_sub(d[0], d[2]);
        t[1] = v_add(d[1], d[2]);
        t[2] = v_sub(d[2], d[1]);
        t[3] = v_sub(d[3], d[1]);
    } else if (m == 4) {
        const vf even_1 = v_fma(v_set(-2.25f), d[2], d[4]), odd_1 = v_fma(v_set(-2.25f), d[1], d[3]);
        const vf even_2 = v_fma(v_set(-0.390625f), d[2], d[4]), odd_2 = v_fma(v_set(-0.390625f), d[1], d[3]);
        t[0] = v_fma(v_set(0.87890625f), d[0], v_fma(v_set(-2.640625f), d[2], d[4]));
        t[1] = v_fma(v_set(0.625f), odd_1, even_1);
        t[2] = v_fma(v_set(-0.625f), odd_1, even_1);
        t[3] = v_fma(v_set(1.5f), odd_2, even_2);
        t[4] = v_fma(v_set(-1.5f), odd_2, even_2);
        t[5] = v_fma(v_set(0.87890625f), d[1], v_fma(v_set(-2.640625f), d[3], d[5]));
    } else {
        const vf even_1 = v_fma(v_set(-4.25f), d[4], v_add(d[2], d[6])), odd_1 = v_fma(v_set(-4.25f), d[3], v_add(d[1], d[5]));
        const vf even_2 = v_fma(v_set(-1.25f), d[4], v_fma(v_set(0.25f), d[2], d[6]));
        const vf odd_2 = v_fma(v_set(-1.25f), d[3], v_fma(v_set(0.25f), d[1], d[5]));
        const vf even_half = v_fma(v_set(-5), d[4], v_fma(v_set(4), d[2], d[6]));
        const vf odd_half = v_fma(v_set(-5), d[3], v_fma(v_set(4), d[1], d[5]));
        t[0] = v_fma(v_set(5.25f), v_sub(d[4], d[2]), v_sub(d[0], d[6]));
        t[1] = v_add(even_1, odd_1);
        t[2] = v_sub(even_1, odd_1);
        t[3] = v_fma(v_set(2), odd_2, even_2);
        t[4] = v_fma(v_set(-2), odd_2, even_2);
        t[5] = v_fma(v_set(0.5f), odd_half, even_half);
        t[6] = v_fma(v_set(-0.5f), odd_half, even_half);
        t[7] = v_fma(v_set(5.25f), v_sub(d[3], d[5]), v_sub(d[7], d[1]));
    }
}

/* y = A^T p */
FV_ALWAYS_INLINE void output_line(const int32_t m, const vf *p, vf *y) {
    const vf even_1 = v_add(p[1], p[2]), odd_1 = v_sub(p[1], p[2]);
    if (m == 2) {
        y[0] = v_add(p[0], even_1);
        y[1] = v_add(p[3], odd_1);
    } else if (m == 4) {
        const vf even_2 = v_add(p[3], p[4]), odd_2 = v_sub(p[3], p[4]);
        y[0] = v_add(v_add(p[0], even_1), even_2);
        y[1] = v_fma(v_set(1.5f), odd_2, v_mul(v_set(0.625f), odd_1));
        y[2] = v_fma(v_set(2.25f), even_2, v_mul(v_set(0.390625f), even_1));
        y[3] = v_fma(v_set(3.375f), odd_2, v_fma(v_set(0.244140625f), odd_1, p[5]));
    } else {
        const vf even_2 = v_add(p[3], p[4]), odd_2 = v_sub(p[3], p[4]), even_half = v_add(p[5], p[6]),
                 odd_half = v_sub(p[5], p[6]);
        y[0] = v_add(v_add(p[0], even_1), v_add(even_2, even_half));
        y[1] = v_fma(v_set(0.5f), odd_half, v_fma(v_set(2), odd_2, odd_1));
        y[2] = v_fma(v_set(0.25f), even_half, v_fma(v_set(4), even_2, even_1));
        y[3] = v_fma(v_set(0.125f), odd_half, v_fma(v_set(8), odd_2, odd_1));
        y[4] = v_fma(v_set(0.0625f), even_half, v_fma(v_set(16), even_2, even_1));
        y[5] = v_fma(v_set(0.03125f), odd_half, v_fma(v_set(32), odd_2, v_add(p[7], odd_1)));
    }
}

/* Both weights of a pair of points: scale * (even +- odd). */
FV_ALWAYS_INLINE void weight_pair(vf even, vf odd, float scale, vf *u) {
    u[0] = v_mul(v_set(scale), v_add(even, odd));
    u[1] = v_mul(v_set(scale), v_sub(even, odd));
}

/* u = G g */
FV_ALWAYS_INLINE void weight_line(const int32_t m, const vf *g, vf *u) {
    const vf sum = v_add(g[0], g[2]);
    if (m == 2) {
        u[0] = g[0];
        weight_pair(sum, g[1], 0.5f, u + 1);
    } else if (m == 4) {
        u[0] = v_mul(v_set(256.0f / 225), g[0]);
        weight_pair(v_fma(v_set(0.390625f), g[2], g[0]), v_mul(v_set(0.625f), g[1]), -2048.0f / 2975, u + 1);
        weight_pair(v_fma(v_set(2.25f), g[2], g[0]), v_mul(v_set(1.5f), g[1]), 128.0f / 1071, u + 3);
    } else {
        u[0] = g[0];
        weight_pair(sum, g[1], -2.0f / 9, u + 1);
        weight_pair(v_fma(v_set(4), g[2], g[0]), v_add(g[1], g[1]), 1.0f / 90, u + 3);
        weight_pair(v_fma(v_set(0.25f), g[2], g[0]), v_mul(v_set(0.5f), g[1]), 32.0f / 45, u + 5);
    }
    u[m + 1] = g[2];
}

/* ---- weights ---- */

/* The 9 weights of one input channel and a panel, [tap][NR], zeros past the last output channel. */
static void gather_weights(const fv_conv_desc *d, const fv_conv_weights *w, int32_t c, size_t panel, float g[9][NR]) {
    const size_t first = panel * NR, columns = fv_min_size(NR, (size_t)d->out_channels - first);
    if (columns < NR) memset(g, 0, 9 * sizeof *g);
    for (int32_t t = 0; t < 9; t++) {
        const float *in = w->data + (d->weight_tap ? d->weight_tap[t] : t) * w->tap + c * w->in + (ptrdiff_t)first * w->out;
        if (w->out == 1 && columns == NR)
            memcpy(g[t], in, sizeof g[t]);
        else
            for (size_t k = 0; k < columns; k++) g[t][k] = in[(ptrdiff_t)k * w->out];
    }
}

FV_ALWAYS_INLINE void pack_m(const fv_conv_desc *d, const int32_t m, const fv_conv_weights *w, float *packed, fv_range panels) {
    const size_t a = (size_t)m + 2, stride = packed_stride(d);
    float g[9][NR];
    for (size_t panel = panels.begin; panel < panels.end; panel++)
        for (int32_t c = 0; c < d->in_channels; c++) {
            float *out = packed + (panel * (size_t)d->in_channels + (size_t)c) * NR;
            gather_weights(d, w, c, panel, g);
            for (size_t k = 0; k < NR; k += VW) {
                vf lines[3][FV_WINOGRAD_MOST_SIDE], line[FV_WINOGRAD_MOST_SIDE];
                for (size_t i = 0; i < 3; i++) {
                    const vf row[3] = {v_load(g[3 * i] + k), v_load(g[3 * i + 1] + k), v_load(g[3 * i + 2] + k)};
                    weight_line(m, row, lines[i]);
                }
                for (size_t x = 0; x < a; x++) {
                    const vf column[3] = {lines[0][x], lines[1][x], lines[2][x]};
                    weight_line(m, column, line);
                    for (size_t y = 0; y < a; y++) v_store(out + (y * a + x) * stride + k, line[y]);
                }
            }
        }
}

static void pack(const fv_conv_desc *d, int32_t m, const fv_conv_weights *w, float *packed, fv_range panels) {
    if (m == 2)
        pack_m(d, 2, w, packed, panels);
    else if (m == 4)
        pack_m(d, 4, w, packed, panels);
    else
        pack_m(d, 6, w, packed, panels);
}

/* ---- input ---- */

/* The pixels of a tile: inside[i] bit x says that row i has pixel x; others are padding. */
typedef struct source {
    const float *row[FV_WINOGRAD_MOST_SIDE];
    unsigned inside[FV_WINOGRAD_MOST_SIDE];
    ptrdiff_t pitch;
    bool whole; /* no padding */
} source;

static source find_source(const fv_conv_desc *d, int32_t m, const float *x, size_t tile) {
    const fv_winograd_tile t = fv_winograd_tile_at(d, m, tile);
    const ptrdiff_t first_y = t.y + d->tap[0][1], first_x = t.x + d->tap[0][2], a = m + 2;
    source s = {.pitch = d->in_pitch[3], .whole = true};
    unsigned columns = 0;
    for (ptrdiff_t i = 0; i < a; i++) columns |= (unsigned)(first_x + i >= 0 && first_x + i < d->in[2]) << i;
    for (ptrdiff_t i = 0; i < a; i++) {
        const bool inside = first_y + i >= 0 && first_y + i < d->in[1];
        s.inside[i] = inside ? columns : 0;
        s.whole = s.whole && s.inside[i] == (1u << a) - 1;
        s.row[i] = x + t.image * d->in_pitch[0] + (inside ? (first_y + i) * d->in_pitch[2] + first_x * d->in_pitch[3] : 0);
    }
    return s;
}

/* n channels from c on of a tile; n == VW where padded is false. */
FV_ALWAYS_INLINE void input_vector(const int32_t m, const source *s, const bool padded, size_t c, size_t n, float *v,
                                   size_t stride) {
    const size_t a = (size_t)m + 2;
    vf lines[FV_WINOGRAD_MOST_SIDE][FV_WINOGRAD_MOST_SIDE];
    for (size_t i = 0; i < a; i++) {
        vf d[FV_WINOGRAD_MOST_SIDE];
        const float *row = s->row[i] + c;
        for (size_t x = 0; x < a; x++) {
            if (padded)
                d[x] = !(s->inside[i] >> x & 1) ? v_zero()
                       : n == VW                ? v_load(row + (ptrdiff_t)x * s->pitch)
                                                : v_load_part(row + (ptrdiff_t)x * s->pitch, n);
            else
                d[x] = v_load(row + (ptrdiff_t)x * s->pitch);
        }
        input_line(m, d, lines[i]);
        if (!padded && c % LINE == 0) /* the pixels of the next tile that this one lacks */
            for (size_t x = 0; x < (size_t)m; x++) __builtin_prefetch(row + (ptrdiff_t)(a + x) * s->pitch, 0, 3);
    }
    for (size_t x = 0; x < a; x++) {
        vf d[FV_WINOGRAD_MOST_SIDE], t[FV_WINOGRAD_MOST_SIDE];
        for (size_t i = 0; i < a; i++) d[i] = lines[i][x];
        input_line(m, d, t);
        for (size_t i = 0; i < a; i++) v_store(v + (i * a + x) * stride, t[i]);
    }
}

FV_ALWAYS_INLINE void input_m(const fv_conv_desc *d, const int32_t m, const float *x, float *v, fv_range block, fv_range tiles) {
    const size_t channels = (size_t)d->in_channels, pitch = v_pitch(d), stride = v_stride(d, block.end - block.begin);
    for (size_t tile = tiles.begin; tile < tiles.end; tile++) {
        const source s = find_source(d, m, x, tile);
        float *out = v + (tile - block.begin) * pitch;
        size_t c = 0;
        if (s.whole)
            for (; c + VW <= channels; c += VW) input_vector(m, &s, false, c, VW, out + c, stride);
        for (; c < channels; c += VW) input_vector(m, &s, true, c, fv_min_size(VW, channels - c), out + c, stride);
    }
}

static void input(const fv_conv_desc *d, int32_t m, const float *x, float *v, fv_range block, fv_range tiles) {
    if (m == 2)
        input_m(d, 2, x, v, block, tiles);
    else if (m == 4)
        input_m(d, 4, x, v, block, tiles);
    else
        input_m(d, 6, x, v, block, tiles);
}

/* ---- output ---- */

/* What a tile's pixels are made with and where they go, from one panel's first channel on. */
typedef struct target {
    const fv_conv_desc *d;
    const float *bias, *residual;
    float *y;
    size_t rows, columns; /* pixels of the tile inside the map */
} target;

/* n channels of all pixels of a tile. */
FV_ALWAYS_INLINE void output_vector(const int32_t m, const float *p, size_t stride, const target *t, size_t k, size_t n,
                                    const bool whole) {
    const size_t a = (size_t)m + 2;
    const fv_conv_desc *d = t->d;
    const vf bias = !t->bias ? v_zero() : whole ? v_load(t->bias + k) : v_load_part(t->bias + k, n);
    const vf low = v_set(d->act_low), high = v_set(d->act_high);
    vf lines[FV_WINOGRAD_MOST_SIDE][FV_WINOGRAD_MOST];
    for (size_t i = 0; i < a; i++) {
        vf line[FV_WINOGRAD_MOST_SIDE];
        for (size_t x = 0; x < a; x++) line[x] = v_load(p + (i * a + x) * stride);
        output_line(m, line, lines[i]);
    }
    for (size_t x = 0; x < t->columns; x++) {
        vf line[FV_WINOGRAD_MOST_SIDE], out[FV_WINOGRAD_MOST];
        for (size_t i = 0; i < a; i++) line[i] = lines[i][x];
        output_line(m, line, out);
        float *y = t->y + k + (ptrdiff_t)x * d->out_pitch[3];
        const float *residual = t->residual ? t->residual + k + (ptrdiff_t)x * d->residual_pitch[3] : NULL;
        for (size_t i = 0; i < (size_t)m; i++) {
            if (i >= t->rows) break;
            vf value = v_add(out[i], bias);
            if (residual) {
                const float *r = residual + (ptrdiff_t)i * d->residual_pitch[2];
                value = v_add(value, whole ? v_load(r) : v_load_part(r, n));
            }
            value = v_at_most(v_at_least(value, low), high);
            if (whole)
                v_store(y + (ptrdiff_t)i * d->out_pitch[2], value);
            else
                v_store_part(y + (ptrdiff_t)i * d->out_pitch[2], value, n);
        }
    }
}

/* Products of frequency f and a panel for every tile of a block; the next panel is brought into L2 meanwhile. */
static void multiply(const fv_conv_desc *d, const float *v, size_t tiles, const float *panel, const float *next, float *product) {
    const size_t channels = (size_t)d->in_channels, pitch = v_pitch(d), runs = fv_div_up(tiles, TILE_ROWS);
    ahead a = {(const char *)next, fv_div_up(NR * sizeof(float), runs)};
    for (size_t i = 0; i < tiles;) {
        const size_t left = tiles - i, rows = left <= TILE_ROWS ? left : left < 2 * TILE_ROWS ? (left + 1) / 2 : TILE_ROWS;
        product_tiles[rows - 1](v + i * pitch, pitch, panel, channels, product + i * NR, a);
        a.at += channels * a.step;
        i += rows;
    }
}

FV_ALWAYS_INLINE void finish_m(const fv_conv_desc *d, const int32_t m, const float *product, size_t stride, const float *bias,
                               const float *residual, float *y, fv_range block, fv_range panels) {
    const size_t tiles = block.end - block.begin;
    for (size_t tile = 0; tile < tiles; tile++) {
        const fv_winograd_tile at = fv_winograd_tile_at(d, m, block.begin + tile);
        target t = {.d = d,
                    .rows = fv_min_size((size_t)m, (size_t)(d->out[1] - at.y)),
                    .columns = fv_min_size((size_t)m, (size_t)(d->out[2] - at.x))};
        for (size_t panel = panels.begin; panel < panels.end; panel++) {
            const size_t first = panel * NR, columns = fv_min_size(NR, (size_t)d->out_channels - first);
            const float *p = product + ((panel - panels.begin) * tiles + tile) * NR;
            t.bias = bias ? bias + first : NULL;
            t.y = y + at.image * d->out_pitch[0] + at.y * d->out_pitch[2] + at.x * d->out_pitch[3] + (ptrdiff_t)first;
            t.residual = !residual ? NULL
                                   : residual + at.image * d->residual_pitch[0] + at.y * d->residual_pitch[2] +
                                         at.x * d->residual_pitch[3] + (ptrdiff_t)first;
            for (size_t k = 0; k < columns; k += VW) {
                if (columns - k >= VW)
                    output_vector(m, p + k, stride, &t, k, VW, true);
                else
                    output_vector(m, p + k, stride, &t, k, columns - k, false);
            }
        }
    }
}

static void finish(const fv_conv_desc *d, int32_t m, const float *product, size_t stride, const float *bias,
                   const float *residual, float *y, fv_range block, fv_range panels) {
    if (m == 2)
        finish_m(d, 2, product, stride, bias, residual, y, block, panels);
    else if (m == 4)
        finish_m(d, 4, product, stride, bias, residual, y, block, panels);
    else
        finish_m(d, 6, product, stride, bias, residual, y, block, panels);
}

static void output(const fv_conv_desc *d, int32_t m, const float *v, const float *packed, const float *bias,
                   const float *residual, float *y, fv_range block, fv_range panels, void *scratch) {
    const size_t tiles = block.end - block.begin, frequencies = side(m) * side(m), u_step = packed_stride(d);
    const size_t group = panel_group(d, m, tiles), panel_size = (size_t)d->in_channels * NR;
    const size_t v_step = v_stride(d, tiles), stride = odd_lines(group * tiles * NR);
    float *product = scratch;
    for (size_t begin = panels.begin; begin < panels.end; begin += group) {
        const fv_range some = {begin, fv_min_size(begin + group, panels.end)};
        for (size_t f = 0; f < frequencies; f++) {
            const float *weights = packed + f * u_step;
            for (size_t p = some.begin; p < some.end; p++) {
                const float *panel = weights + p * panel_size;
                const float *next =
                    p + 1 < some.end || f + 1 == frequencies ? panel + panel_size : weights + u_step + some.begin * panel_size;
                multiply(d, v + f * v_step, tiles, panel, next, product + f * stride + (p - some.begin) * tiles * NR);
            }
        }
        finish(d, m, product, stride, bias, residual, y, block, some);
    }
}

#include "kernels/winograd_grad_body.h"

static void init_winograd(fv_winograd_kernels *k) {
    *k = (fv_winograd_kernels){.mr = TILE_ROWS,
                               .nr = NR,
                               .packed_size = packed_size,
                               .pack = pack,
                               .input_size = input_size,
                               .input = input,
                               .output_scratch = output_scratch,
                               .output = output,
                               .weight_grad_scratch = weight_grad_scratch,
                               .weight_grad = weight_grad};
}
