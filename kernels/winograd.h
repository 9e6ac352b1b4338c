/* Winograd convolution F(m x m, 3x3): 3x3, stride 1, dilation 1, one group, on descriptors of conv.h (its data gradient is one
 * too).
 *
 * An output is cut into tiles of m x m pixels (m = 2, 4, 6; the last row and column of tiles hang over the edge). A tile reads
 * a x a pixels, a = m + 2, and its a*a frequencies are products over channels of their own:
 *
 *   Y = A^T [ sum_c (G g_c G^T) . (B^T d_c B) ] A      then bias, residual and clamp as in conv.h
 *
 * with the points 0, +-1, inf (m = 2), 0, +-5/8, +-3/2, inf (m = 4), 0, +-1, +-2, +-1/2, inf (m = 6). Row p of B^T is the
 * polynomial prod_{q != p} (x - q), of A^T the powers of p, of G the powers over prod_{q != p} (p - q); infinity takes the
 * highest power.
 *
 * Of the (a/m)^2 / 9 products of the direct sum, 1/2.25, 1/4 and 1/5.06 are left. What that costs in accuracy: a rounding error
 * of a term may grow by max over outputs of (|A^T| (|G|1 . |B^T|1))^2 / 9: 7, 63, 509. Measured on 128 channels of normal
 * values, error over the largest output, worst of 6400 (root mean square): direct 1.1e-6 (1.5e-7), m = 2 3.4e-7 (8.9e-8), m =
 * 4 2.0e-6 (2.7e-7), m = 6 8.9e-6 (1.0e-6). Most of it is rounded in the sums over channels. Points +-1, +-2 for m = 4 give 256
 * and 8.1e-6 (5.7e-7): Inception-v3 is then 1.4e-4 off its largest output, and 8e-5 with these. The check holds every value to
 * (C + 30) epsilon * |A^T| [ sum_c (|G||g_c||G^T|) . (|B^T||d_c||B|) ] |A|, and where all terms are +-1 to 1/64 of one.
 *
 * Non-finite values spread over the tiles that read them. Every output is one chain of operations given by its tile alone: its
 * bits depend neither on how tiles and panels are cut nor on what else is computed.
 *
 * Work goes by blocks of tiles: input() fills the frequencies of a block, output() makes the products and the pixels of some
 * panels of output channels from them. Both may be cut over threads; fv_winograd_forward does one after the other.
 *
 * The weight gradient is the same sum read the other way:
 *
 *   dg_c = G^T [ sum over tiles (B^T d_c B) . (A dy A^T) ] G
 *
 * It costs (a/m)^2 / 9 of the direct sum, too, and rounds as much: a rounding error of a term may grow by max over taps of
 * (|G^T| (|B^T|1 . |A|1))^2 / m^2: 9, 50, 269. Measured on 1024 tiles of normal values, error over the largest tap (root mean
 * square), the direct sum's beside it: m = 2 1.0e-6 (2.4e-7) and 1.6e-6 (2.8e-7), m = 4 5.2e-6 (9.7e-7) and 3.5e-6 (7.2e-7),
 * m = 6 1.8e-5 (3.3e-6) and 3.6e-6 (9.2e-7). Every value is one chain over the tiles of the range in their order. The check holds
 * it to (tiles + 30) epsilon * |G^T| [ sum over tiles (|B^T||d_c||B|) . (|A||dy||A^T|) ] |G|. */
#ifndef FV_KERNELS_WINOGRAD_H
#define FV_KERNELS_WINOGRAD_H

#include "kernels/conv.h"

enum { FV_WINOGRAD_MOST = 6, FV_WINOGRAD_MOST_SIDE = FV_WINOGRAD_MOST + 2 };

/* Elements of the packed weights, panels of nr output channels for every frequency (FV_ALIGNMENT-aligned, opaque). */
typedef size_t (*fv_winograd_packed_size_fn)(const fv_conv_desc *d, int32_t m);
/* Transforms the weights of panels [begin, end) of ceil(K / nr). */
typedef void (*fv_winograd_pack_fn)(const fv_conv_desc *d, int32_t m, const fv_conv_weights *w, fv_real *packed, fv_range panels);
/* Elements of the frequencies of a block of at most so many tiles (FV_ALIGNMENT-aligned, opaque). */
typedef size_t (*fv_winograd_input_size_fn)(const fv_conv_desc *d, int32_t m, size_t tiles);
/* Frequencies of `tiles`, a part of `block`, into the block's v. Tiles count images, rows and columns in row-major order. */
typedef void (*fv_winograd_input_fn)(const fv_conv_desc *d, int32_t m, const fv_real *x, fv_real *v, fv_range block,
                                     fv_range tiles);
/* Bytes of scratch that output needs for blocks of at most so many tiles; FV_ALIGNMENT-aligned, its contents never matter. */
typedef size_t (*fv_winograd_scratch_fn)(const fv_conv_desc *d, int32_t m, size_t tiles);
/* The block's pixels x panels of output channels from its frequencies v; the other arguments as in conv.h's forward. */
typedef void (*fv_winograd_output_fn)(const fv_conv_desc *d, int32_t m, const fv_real *v, const fv_real *packed,
                                      const fv_real *bias, const fv_real *residual, fv_real *y, fv_range block, fv_range panels,
                                      void *scratch);

/* Bytes of scratch that weight_grad needs for so many input channels and panels at most; FV_ALIGNMENT-aligned. */
typedef size_t (*fv_winograd_grad_scratch_fn)(const fv_conv_desc *d, int32_t m, size_t channels, size_t panels);
/* dw[(weight_tap[t]*C + c)*dw_pitch + k] over the tiles of the range, for its input channels and panels; overwrites. x and dy as
 * the forward pass reads x and writes y (dy has the pitches out_pitch); a clamp is not looked at. */
typedef void (*fv_winograd_weight_grad_fn)(const fv_conv_desc *d, int32_t m, const fv_real *x, const fv_real *dy, fv_real *dw,
                                           ptrdiff_t dw_pitch, fv_range tiles, fv_range channels, fv_range panels, void *scratch);

typedef struct fv_winograd_kernels {
    int32_t mr, nr; /* register tile of the products: tiles x output channels */
    fv_winograd_packed_size_fn packed_size;
    fv_winograd_pack_fn pack;
    fv_winograd_input_size_fn input_size;
    fv_winograd_input_fn input;
    fv_winograd_scratch_fn output_scratch;
    fv_winograd_output_fn output;
    fv_winograd_grad_scratch_fn weight_grad_scratch;
    fv_winograd_weight_grad_fn weight_grad;
} fv_winograd_kernels;

/* The nine taps lie side by side in y and x, one input pixel an output pixel, one group, one plane. */
static inline bool fv_winograd_suits(const fv_conv_desc *d) {
    if (d->taps != 9 || d->groups != 1 || d->in[0] != 1 || d->out[0] != 1) return false;
    if (d->step[1] != 1 || d->step[2] != 1 || d->tap[0][0] != 0) return false;
    for (int32_t t = 0; t < 9; t++)
        if (d->tap[t][0] != 0 || d->tap[t][1] != d->tap[0][1] + t / 3 || d->tap[t][2] != d->tap[0][2] + t % 3) return false;
    return true;
}

static inline size_t fv_winograd_columns(const fv_conv_desc *d, int32_t m) { return fv_div_up((size_t)d->out[2], (size_t)m); }
static inline size_t fv_winograd_rows(const fv_conv_desc *d, int32_t m) { return fv_div_up((size_t)d->out[1], (size_t)m); }
static inline size_t fv_winograd_tiles(const fv_conv_desc *d, int32_t m) {
    return (size_t)d->images * fv_winograd_rows(d, m) * fv_winograd_columns(d, m);
}
static inline size_t fv_winograd_panels(const fv_winograd_kernels *k, const fv_conv_desc *d) {
    return fv_div_up((size_t)d->out_channels, (size_t)k->nr);
}

/* A tile's image, and its first output pixel. */
typedef struct fv_winograd_tile {
    ptrdiff_t image, y, x;
} fv_winograd_tile;

static inline fv_winograd_tile fv_winograd_tile_at(const fv_conv_desc *d, int32_t m, size_t tile) {
    const size_t columns = fv_winograd_columns(d, m), rows = fv_winograd_rows(d, m);
    return (fv_winograd_tile){(ptrdiff_t)(tile / columns / rows), (ptrdiff_t)(tile / columns % rows) * m,
                              (ptrdiff_t)(tile % columns) * m};
}

/* Blocks of at most `most` tiles, as even as may be. */
static inline size_t fv_winograd_even(size_t tiles, size_t most) { return fv_div_up(tiles, fv_div_up(tiles, most)); }

/* Tiles of a block among `tiles`, their frequencies made apart from the products: they stay in L2 as far as register tiles enough
 * remain to pay for the weights of all frequencies, which every block reads from L3, or, where they are many, from memory. Speed
 * alone depends on it. */
static inline size_t fv_winograd_block(const fv_winograd_kernels *k, const fv_conv_desc *d, int32_t m, size_t tiles) {
    enum { ELEMENTS = 160 << 10, LEAST = 48, LEAST_MANY = 66, MANY_WEIGHTS = 128 << 10 };
    const size_t a = (size_t)m + 2, channels = (size_t)d->in_channels, mr = (size_t)k->mr;
    const size_t least = channels * (size_t)d->out_channels > MANY_WEIGHTS ? LEAST_MANY : LEAST;
    return fv_winograd_even(tiles, fv_round_up(fv_max_size(ELEMENTS / (a * a * channels), least), mr));
}

/* Most tiles of a block of fv_winograd_forward: smaller, since weights that fit L3 come ahead of the tiles that use them, but
 * frequencies that have left L2 cost each panel a read (64 maps of 32x32: 11 % faster than with the blocks above, 128 of 28x28:
 * 4 %). */
static inline size_t fv_winograd_most_at_once(const fv_winograd_kernels *k, const fv_conv_desc *d, int32_t m) {
    enum { ELEMENTS = 48 << 10, LEAST = 18, LEAST_MANY = 66, MANY_WEIGHTS = 128 << 10 };
    const size_t a = (size_t)m + 2, channels = (size_t)d->in_channels;
    const size_t least = channels * (size_t)d->out_channels > MANY_WEIGHTS ? LEAST_MANY : LEAST;
    return fv_round_up(fv_max_size(ELEMENTS / (a * a * channels), least), (size_t)k->mr);
}

/* Elements of scratch, FV_ALIGNMENT-aligned, for fv_winograd_forward over ranges of at most so many tiles. */
static inline size_t fv_winograd_forward_scratch(const fv_winograd_kernels *k, const fv_conv_desc *d, int32_t m, size_t tiles) {
    const size_t block = fv_min_size(fv_winograd_most_at_once(k, d, m), fv_max_size(tiles, 1));
    return fv_round_up(k->input_size(d, m, block), FV_ALIGNMENT) + fv_div_up(k->output_scratch(d, m, block), sizeof(fv_real));
}

static inline void fv_winograd_forward(const fv_winograd_kernels *k, const fv_conv_desc *d, int32_t m, const fv_real *x,
                                       const fv_real *packed, const fv_real *bias, const fv_real *residual, fv_real *y,
                                       fv_range tiles, fv_range panels, fv_real *scratch) {
    if (tiles.begin >= tiles.end) return;
    const size_t size = fv_winograd_even(tiles.end - tiles.begin, fv_winograd_most_at_once(k, d, m));
    fv_real *rest = scratch + fv_round_up(k->input_size(d, m, size), FV_ALIGNMENT);
    for (size_t begin = tiles.begin; begin < tiles.end; begin += size) {
        const fv_range block = {begin, fv_min_size(begin + size, tiles.end)};
        k->input(d, m, x, scratch, block, block);
        k->output(d, m, scratch, packed, bias, residual, y, block, panels, rest);
    }
}

#endif
