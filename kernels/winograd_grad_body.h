/* The weight gradient of Winograd convolution over a vector wrapper, included by winograd_body.h.
 *
 * Frequencies of x as there, of dy u: [frequency][panel][tile][2*VW], sums: [frequency][panel][channel][2*VW]. A
 * block's frequencies are an outer product over its tiles, added to sums that stay in L2 as far as the range of
 * channels and panels allows. */

enum {
    GRAD_BLOCK =
        64 /* tiles: their columns of v and a panel of u stay in L1, and sums are read and written once for them */
};

static size_t u_stride(size_t panels, size_t tiles) { return odd_lines(panels * tiles * NR); }
static size_t sum_stride(size_t channels, size_t panels) { return odd_lines(channels * panels * NR); }

static fv_conv_desc of_channels(const fv_conv_desc *d, size_t channels) {
    fv_conv_desc part = *d;
    part.in_channels = (int32_t)channels;
    return part;
}

static size_t weight_grad_scratch(const fv_conv_desc *d, int32_t m, size_t channels, size_t panels) {
    const fv_conv_desc part = of_channels(d, channels);
    return side(m) * side(m) *
           (sum_stride(channels, panels) + v_stride(&part, GRAD_BLOCK) + u_stride(panels, GRAD_BLOCK)) * sizeof(float);
}

/* u = A y */
FV_ALWAYS_INLINE void gradient_line(const int32_t m, const vf *y, vf *u) {
    u[0] = y[0];
    u[m + 1] = y[m - 1];
    if (m == 2) {
        u[1] = v_add(y[0], y[1]);
        u[2] = v_sub(y[0], y[1]);
    } else if (m == 4) {
        const vf even_1 = v_fma(v_set(0.390625f), y[2], y[0]), odd_1 = v_fma(v_set(0.390625f), y[3], y[1]);
        const vf even_2 = v_fma(v_set(2.25f), y[2], y[0]), odd_2 = v_fma(v_set(2.25f), y[3], y[1]);
        u[1] = v_fma(v_set(0.625f), odd_1, even_1);
        u[2] = v_fma(v_set(-0.625f), odd_1, even_1);
        u[3] = v_fma(v_set(1.5f), odd_2, even_2);
        u[4] = v_fma(v_set(-1.5f), odd_2, even_2);
    } else {
        const vf even_1 = v_add(v_add(y[0], y[2]), y[4]), odd_1 = v_add(v_add(y[1], y[3]), y[5]);
        const vf even_2 = v_fma(v_set(16), y[4], v_fma(v_set(4), y[2], y[0]));
        const vf odd_2 = v_fma(v_set(16), y[5], v_fma(v_set(4), y[3], y[1]));
        const vf even_half = v_fma(v_set(0.0625f), y[4], v_fma(v_set(0.25f), y[2], y[0]));
        const vf odd_half = v_fma(v_set(0.0625f), y[5], v_fma(v_set(0.25f), y[3], y[1]));
        u[1] = v_add(even_1, odd_1);
        u[2] = v_sub(even_1, odd_1);
        u[3] = v_fma(v_set(2), odd_2, even_2);
        u[4] = v_fma(v_set(-2), odd_2, even_2);
        u[5] = v_fma(v_set(0.5f), odd_half, even_half);
        u[6] = v_fma(v_set(-0.5f), odd_half, even_half);
    }
}

/* g = G^T u */
FV_ALWAYS_INLINE void taps_line(const int32_t m, const vf *u, vf *g) {
    const vf sum_1 = v_add(u[1], u[2]), difference_1 = v_sub(u[1], u[2]);
    if (m == 2) {
        const vf half = v_mul(v_set(0.5f), sum_1);
        g[0] = v_add(u[0], half);
        g[1] = v_mul(v_set(0.5f), difference_1);
        g[2] = v_add(half, u[3]);
    } else if (m == 4) {
        const vf sum_2 = v_add(u[3], u[4]), difference_2 = v_sub(u[3], u[4]);
        g[0] = v_fma(v_set(256.0f / 225), u[0], v_fma(v_set(128.0f / 1071), sum_2, v_mul(v_set(-2048.0f / 2975), sum_1)));
        g[1] = v_fma(v_set(192.0f / 1071), difference_2, v_mul(v_set(-1280.0f / 2975), difference_1));
        g[2] = v_add(v_fma(v_set(288.0f / 1071), sum_2, v_mul(v_set(-800.0f / 2975), sum_1)), u[5]);
    } else {
        const vf sum_2 = v_add(u[3], u[4]), difference_2 = v_sub(u[3], u[4]);
        const vf sum_half = v_add(u[5], u[6]), difference_half = v_sub(u[5], u[6]);
        const vf ones = v_mul(v_set(-2.0f / 9), sum_1);
        g[0] = v_fma(v_set(32.0f / 45), sum_half, v_fma(v_set(1.0f / 90), sum_2, v_add(u[0], ones)));
        g[1] = v_fma(v_set(16.0f / 45), difference_half,
                     v_fma(v_set(1.0f / 45), difference_2, v_mul(v_set(-2.0f / 9), difference_1)));
        g[2] = v_fma(v_set(8.0f / 45), sum_half, v_fma(v_set(2.0f / 45), sum_2, v_add(ones, u[7])));
    }
}

/* n channels of a tile's gradient; rows and columns: its pixels inside the map. */
FV_ALWAYS_INLINE void gradient_vector(const fv_conv_desc *d, const int32_t m, const float *dy, size_t rows,
                                      size_t columns, size_t n, const bool whole, float *u, size_t stride) {
    const size_t a = (size_t)m + 2;
    vf lines[FV_WINOGRAD_MOST][FV_WINOGRAD_MOST_SIDE];
    for (size_t i = 0; i < (size_t)m; i++) {
        vf pixel[FV_WINOGRAD_MOST];
        const float *row = dy + (ptrdiff_t)i * d->out_pitch[2];
        for (size_t x = 0; x < (size_t)m; x++) {
            const float *p = row + (ptrdiff_t)x * d->out_pitch[3];
            pixel[x] = whole                       ? v_load(p)
                       : i >= rows || x >= columns ? v_zero()
                       : n == VW                   ? v_load(p)
                                                   : v_load_part(p, n);
        }
        gradient_line(m, pixel, lines[i]);
        for (size_t x = 0; whole && x < (size_t)m; x++) /* the next tile's */
            __builtin_prefetch(row + (ptrdiff_t)(m + (int32_t)x) * d->out_pitch[3], 0, 3);
    }
    for (size_t x = 0; x < a; x++) {
        vf column[FV_WINOGRAD_MOST], out[FV_WINOGRAD_MOST_SIDE];
        for (size_t i = 0; i < (size_t)m; i++) column[i] = lines[i][x];
        gradient_line(m, column, out);
        for (size_t i = 0; i < a; i++) v_store(u + (i * a + x) * stride, out[i]);
    }
}

FV_ALWAYS_INLINE void gradient_m(const fv_conv_desc *d, const int32_t m, const float *dy, float *u, fv_range block,
                                 fv_range panels) {
    const size_t tiles = block.end - block.begin, stride = u_stride(panels.end - panels.begin, tiles);
    for (size_t tile = block.begin; tile < block.end; tile++) {
        const fv_winograd_tile at = fv_winograd_tile_at(d, m, tile);
        const size_t rows = fv_min_size((size_t)m, (size_t)(d->out[1] - at.y)),
                     columns = fv_min_size((size_t)m, (size_t)(d->out[2] - at.x));
        const float *from = dy + at.image * d->out_pitch[0] + at.y * d->out_pitch[2] + at.x * d->out_pitch[3];
        const bool whole = rows == (size_t)m && columns == (size_t)m;
        for (size_t panel = panels.begin; panel < panels.end; panel++) {
            float *to = u + ((panel - panels.begin) * tiles + tile - block.begin) * NR;
            for (size_t k = 0; k < NR; k += VW) {
                const size_t first = panel * NR + k,
                             left = (size_t)d->out_channels > first ? (size_t)d->out_channels - first : 0;
                if (whole && left >= VW)
                    gradient_vector(d, m, from + first, rows, columns, VW, true, to + k, stride);
                else
                    gradient_vector(d, m, from + fv_min_size(first, (size_t)d->out_channels), rows, columns,
                                    fv_min_size(left, VW), false, to + k, stride);
            }
        }
    }
}

/* Sums of all frequencies over the tiles of a block; sums begin at zero where accumulate is not set. */
static void add_block(int32_t m, const float *v, size_t pitch, size_t v_step, const float *u, size_t tiles,
                      size_t channels, size_t panels, bool accumulate, float *sums) {
    const size_t u_step = u_stride(panels, tiles), step = sum_stride(channels, panels);
    for (size_t f = 0; f < side(m) * side(m); f++)
        for (size_t panel = 0; panel < panels; panel++) {
            const float *gradient = u + f * u_step + panel * tiles * NR;
            float *sum = sums + f * step + panel * channels * NR;
            for (size_t c = 0; c < channels;) {
                const size_t left = channels - c, rows = left <= TILE_ROWS      ? left
                                                         : left < 2 * TILE_ROWS ? (left + 1) / 2
                                                                                : TILE_ROWS;
                sum_tiles[rows - 1](v + f * v_step + c, pitch, gradient, tiles, sum + c * NR, accumulate);
                c += rows;
            }
        }
}

/* From sums to the nine taps of n output channels; n == VW: a whole vector. */
FV_ALWAYS_INLINE void taps_vector(const int32_t m, const float *p, size_t step, float *const tap[9], ptrdiff_t at,
                                  size_t n) {
    const size_t a = (size_t)m + 2;
    vf lines[FV_WINOGRAD_MOST_SIDE][3];
    for (size_t i = 0; i < a; i++) {
        vf line[FV_WINOGRAD_MOST_SIDE];
        for (size_t x = 0; x < a; x++) line[x] = v_load(p + (i * a + x) * step);
        taps_line(m, line, lines[i]);
    }
    for (size_t x = 0; x < 3; x++) {
        vf column[FV_WINOGRAD_MOST_SIDE], out[3];
        for (size_t i = 0; i < a; i++) column[i] = lines[i][x];
        taps_line(m, column, out);
        for (size_t i = 0; i < 3; i++) {
            if (n == VW)
                v_store(tap[i * 3 + x] + at, out[i]);
            else
                v_store_part(tap[i * 3 + x] + at, out[i], n);
        }
    }
}

FV_ALWAYS_INLINE void finish_taps_m(const fv_conv_desc *d, const int32_t m, const float *sums, float *dw,
                                    ptrdiff_t dw_pitch, fv_range channels, fv_range panels) {
    const size_t count = channels.end - channels.begin, step = sum_stride(count, panels.end - panels.begin);
    float *tap[9];
    for (int32_t t = 0; t < 9; t++)
        tap[t] = dw + ((d->weight_tap ? d->weight_tap[t] : t) * (ptrdiff_t)d->in_channels + (ptrdiff_t)channels.begin) *
                          dw_pitch;
    for (size_t panel = panels.begin; panel < panels.end; panel++)
        for (size_t c = 0; c < count; c++) {
            const float *p = sums + ((panel - panels.begin) * count + c) * NR;
            for (size_t k = 0; k < NR && panel * NR + k < (size_t)d->out_channels; k += VW) {
                const size_t first = panel * NR + k, left = (size_t)d->out_channels - first;
                const ptrdiff_t at = (ptrdiff_t)c * dw_pitch + (ptrdiff_t)first;
                if (left >= VW)
                    taps_vector(m, p + k, step, tap, at, VW);
                else
                    taps_vector(m, p + k, step, tap, at, left);
            }
        }
}

static void gradient(const fv_conv_desc *d, int32_t m, const float *dy, float *u, fv_range block, fv_range panels) {
    if (m == 2)
        gradient_m(d, 2, dy, u, block, panels);
    else if (m == 4)
        gradient_m(d, 4, dy, u, block, panels);
    else
        gradient_m(d, 6, dy, u, block, panels);
}

static void finish_taps(const fv_conv_desc *d, int32_t m, const float *sums, float *dw, ptrdiff_t dw_pitch,
                        fv_range channels, fv_range panels) {
    if (m == 2)
        finish_taps_m(d, 2, sums, dw, dw_pitch, channels, panels);
    else if (m == 4)
        finish_taps_m(d, 4, sums, dw, dw_pitch, channels, panels);
    else
        finish_taps_m(d, 6, sums, dw, dw_pitch, channels, panels);
}

static void weight_grad(const fv_conv_desc *d, int32_t m, const float *x, const float *dy, float *dw,
                        ptrdiff_t dw_pitch, fv_range tiles, fv_range channels, fv_range panels, void *scratch) {
    const size_t count = channels.end - channels.begin, maps = panels.end - panels.begin,
                 frequencies = side(m) * side(m);
    if (count == 0 || maps == 0) return;
    const fv_conv_desc part = of_channels(d, count);
    float *sums = scratch, *v = sums + frequencies * sum_stride(count, maps),
          *u = v + frequencies * v_stride(&part, GRAD_BLOCK);
    const size_t all = tiles.end - tiles.begin, size = all ? fv_div_up(all, fv_div_up(all, GRAD_BLOCK)) : 1;
    if (all == 0) memset(sums, 0, frequencies * sum_stride(count, maps) * sizeof *sums);
    for (size_t begin = tiles.begin; begin < tiles.end; begin += size) {
        const fv_range block = {begin, fv_min_size(begin + size, tiles.end)};
        const size_t n = block.end - block.begin;
        input(&part, m, x + channels.begin, v, block, block);
        gradient(d, m, dy, u, block, panels);
        add_block(m, v, v_pitch(&part), v_stride(&part, n), u, n, count, maps, begin > tiles.begin, sums);
    }
    finish_taps(d, m, sums, dw, dw_pitch, channels, panels);
}
