/* The definition of Winograd convolution: its matrices and plain loops over tiles, frequencies and channels. */
#include "kernels/kernels.h"

enum { SIDE = FV_WINOGRAD_MOST_SIDE };

/* a = m + 2: input is B^T (a x a), weight G (a x 3), output A^T (m x a). */
typedef struct matrices {
    double input[SIDE][SIDE], weight[SIDE][3], output[FV_WINOGRAD_MOST][SIDE];
} matrices;

static const matrices of_2 = {
    {{1, 0, -1, 0}, {0, 1, 1, 0}, {0, -1, 1, 0}, {0, -1, 0, 1}},
    {{1, 0, 0}, {1.0 / 2, 1.0 / 2, 1.0 / 2}, {1.0 / 2, -1.0 / 2, 1.0 / 2}, {0, 0, 1}},
    {{1, 1, 1, 0}, {0, 1, -1, 1}},
};

static const matrices of_4 = {
    {{0.87890625, 0, -2.640625, 0, 1, 0},
     {0, -1.40625, -2.25, 0.625, 1, 0},
     {0, 1.40625, -2.25, -0.625, 1, 0},
     {0, -0.5859375, -0.390625, 1.5, 1, 0},
     {0, 0.5859375, -0.390625, -1.5, 1, 0},
     {0, 0.87890625, 0, -2.640625, 0, 1}},
    {{256.0 / 225, 0, 0},
     {-2048.0 / 2975, -1280.0 / 2975, -800.0 / 2975},
     {-2048.0 / 2975, 1280.0 / 2975, -800.0 / 2975},
     {128.0 / 1071, 192.0 / 1071, 288.0 / 1071},
     {128.0 / 1071, -192.0 / 1071, 288.0 / 1071},
     {0, 0, 1}},
    {{1, 1, 1, 1, 1, 0},
     {0, 0.625, -0.625, 1.5, -1.5, 0},
     {0, 0.390625, 0.390625, 2.25, 2.25, 0},
     {0, 0.244140625, -0.244140625, 3.375, -3.375, 1}},
};

static const matrices of_6 = {
    {{1, 0, -5.25, 0, 5.25, 0, -1, 0},
     {0, 1, 1, -4.25, -4.25, 1, 1, 0},
     {0, -1, 1, 4.25, -4.25, -1, 1, 0},
     {0, 0.5, 0.25, -2.5, -1.25, 2, 1, 0},
     {0, -0.5, 0.25, 2.5, -1.25, -2, 1, 0},
     {0, 2, 4, -2.5, -5, 0.5, 1, 0},
     {0, -2, 4, 2.5, -5, -0.5, 1, 0},
     {0, -1, 0, 5.25, 0, -5.25, 0, 1}},
    {{1, 0, 0},
     {-2.0 / 9, -2.0 / 9, -2.0 / 9},
     {-2.0 / 9, 2.0 / 9, -2.0 / 9},
     {1.0 / 90, 1.0 / 45, 2.0 / 45},
     {1.0 / 90, -1.0 / 45, 2.0 / 45},
     {32.0 / 45, 16.0 / 45, 8.0 / 45},
     {32.0 / 45, -16.0 / 45, 8.0 / 45},
     {0, 0, 1}},
    {{1, 1, 1, 1, 1, 1, 1, 0},
     {0, 1, -1, 2, -2, 1.0 / 2, -1.0 / 2, 0},
     {0, 1, 1, 4, 4, 1.0 / 4, 1.0 / 4, 0},
     {0, 1, -1, 8, -8, 1.0 / 8, -1.0 / 8, 0},
     {0, 1, 1, 16, 16, 1.0 / 16, 1.0 / 16, 0},
     {0, 1, -1, 32, -32, 1.0 / 32, -1.0 / 32, 1}},
};

static const matrices *matrices_of(int32_t m) { return m == 2 ? &of_2 : m == 4 ? &of_4 : &of_6; }

static size_t side(int32_t m) { return (size_t)m + 2; }

/* out (rows x rows) = t in t^T, t being rows x columns with `pitch` elements a row. */
static void transform(const double *t, size_t pitch, size_t rows, size_t columns, fv_real in[SIDE][SIDE],
                      fv_real out[SIDE][SIDE]) {
    fv_real half[SIDE][SIDE];
    for (size_t i = 0; i < columns; i++)
        for (size_t j = 0; j < rows; j++) {
            fv_real sum = 0;
            for (size_t k = 0; k < columns; k++) sum += (fv_real)t[j * pitch + k] * in[i][k];
            half[i][j] = sum;
        }
    for (size_t i = 0; i < rows; i++)
        for (size_t j = 0; j < rows; j++) {
            fv_real sum = 0;
            for (size_t k = 0; k < columns; k++) sum += (fv_real)t[i * pitch + k] * half[k][j];
            out[i][j] = sum;
        }
}

/* Packed weights: [output channel][frequency][input channel]; a panel is one output channel. Frequencies v: [tile][frequency][C].
 */
static size_t winograd_packed_size_scalar(const fv_conv_desc *d, int32_t m) {
    return (size_t)d->out_channels * side(m) * side(m) * (size_t)d->in_channels;
}

static void winograd_pack_scalar(const fv_conv_desc *d, int32_t m, const fv_conv_weights *w, fv_real *packed, fv_range panels) {
    const size_t a = side(m), channels = (size_t)d->in_channels;
    for (size_t k = panels.begin; k < panels.end; k++)
        for (size_t c = 0; c < channels; c++) {
            fv_real g[SIDE][SIDE], u[SIDE][SIDE];
            for (int32_t t = 0; t < 9; t++)
                g[t / 3][t % 3] =
                    w->data[(d->weight_tap ? d->weight_tap[t] : t) * w->tap + (ptrdiff_t)c * w->in + (ptrdiff_t)k * w->out];
            transform(matrices_of(m)->weight[0], 3, a, 3, g, u);
            for (size_t f = 0; f < a * a; f++) packed[(k * a * a + f) * channels + c] = u[f / a][f % a];
        }
}

static size_t winograd_input_size_scalar(const fv_conv_desc *d, int32_t m, size_t tiles) {
    return tiles * side(m) * side(m) * (size_t)d->in_channels;
}

static void winograd_input_scalar(const fv_conv_desc *d, int32_t m, const fv_real *x, fv_real *v, fv_range block,
                                  fv_range tiles) {
    const size_t a = side(m), channels = (size_t)d->in_channels;
    for (size_t tile = tiles.begin; tile < tiles.end; tile++) {
        const fv_winograd_tile at = fv_winograd_tile_at(d, m, tile);
        for (size_t c = 0; c < channels; c++) {
            fv_real in[SIDE][SIDE], out[SIDE][SIDE];
            for (size_t i = 0; i < a * a; i++) {
                const ptrdiff_t row = at.y + d->tap[0][1] + (ptrdiff_t)(i / a), column = at.x + d->tap[0][2] + (ptrdiff_t)(i % a);
                const bool inside = row >= 0 && row < d->in[1] && column >= 0 && column < d->in[2];
                in[i / a][i % a] =
                    inside ? x[at.image * d->in_pitch[0] + row * d->in_pitch[2] + column * d->in_pitch[3] + (ptrdiff_t)c] : 0;
            }
            transform(matrices_of(m)->input[0], SIDE, a, a, in, out);
            for (size_t f = 0; f < a * a; f++) v[((tile - block.begin) * a * a + f) * channels + c] = out[f / a][f % a];
        }
    }
}

static size_t winograd_output_scratch_scalar(const fv_conv_desc *d, int32_t m, size_t tiles) {
    (void)d, (void)m, (void)tiles;
    return 0;
}

/* A^T p A for the m x m outputs of a tile. */
static void inverse(int32_t m, fv_real p[SIDE][SIDE], fv_real y[SIDE][SIDE]) {
    const matrices *t = matrices_of(m);
    const size_t a = side(m);
    fv_real half[SIDE][SIDE];
    for (size_t i = 0; i < a; i++)
        for (int32_t j = 0; j < m; j++) {
            fv_real sum = 0;
            for (size_t k = 0; k < a; k++) sum += (fv_real)t->output[j][k] * p[i][k];
            half[i][j] = sum;
        }
    for (int32_t i = 0; i < m; i++)
        for (int32_t j = 0; j < m; j++) {
            fv_real sum = 0;
            for (size_t k = 0; k < a; k++) sum += (fv_real)t->output[i][k] * half[k][j];
            y[i][j] = sum;
        }
}

static fv_real clamp(fv_real value, fv_real low, fv_real high) {
    return value < low ? low : value > high ? high : value; /* NaN passes */
}

static void winograd_output_scalar(const fv_conv_desc *d, int32_t m, const fv_real *v, const fv_real *packed, const fv_real *bias,
                                   const fv_real *residual, fv_real *y, fv_range block, fv_range panels, void *scratch) {
    (void)scratch;
    const size_t a = side(m), channels = (size_t)d->in_channels;
    for (size_t tile = block.begin; tile < block.end; tile++) {
        const fv_winograd_tile at = fv_winograd_tile_at(d, m, tile);
        for (size_t k = panels.begin; k < panels.end; k++) {
            fv_real p[SIDE][SIDE], out[SIDE][SIDE];
            for (size_t f = 0; f < a * a; f++) {
                const fv_real *value = v + ((tile - block.begin) * a * a + f) * channels,
                              *u = packed + (k * a * a + f) * channels;
                fv_real sum = 0;
                for (size_t c = 0; c < channels; c++) sum += value[c] * u[c];
                p[f / a][f % a] = sum;
            }
            inverse(m, p, out);
            for (ptrdiff_t i = 0; i < m * m; i++) {
                const ptrdiff_t row = at.y + i / m, column = at.x + i % m;
                if (row >= d->out[1] || column >= d->out[2]) continue;
                fv_real value = out[i / m][i % m];
                if (bias) value += bias[k];
                if (residual)
                    value += residual[at.image * d->residual_pitch[0] + row * d->residual_pitch[2] +
                                      column * d->residual_pitch[3] + (ptrdiff_t)k];
                y[at.image * d->out_pitch[0] + row * d->out_pitch[2] + column * d->out_pitch[3] + (ptrdiff_t)k] =
                    clamp(value, d->act_low, d->act_high);
            }
        }
    }
}

/* out (columns x columns) = t^T in t, t being rows x columns with `pitch` elements a row. */
static void transform_back(const double *t, size_t pitch, size_t rows, size_t columns, fv_real in[SIDE][SIDE],
                           fv_real out[SIDE][SIDE]) {
    fv_real half[SIDE][SIDE];
    for (size_t i = 0; i < rows; i++)
        for (size_t j = 0; j < columns; j++) {
            fv_real sum = 0;
            for (size_t k = 0; k < rows; k++) sum += in[i][k] * (fv_real)t[k * pitch + j];
            half[i][j] = sum;
        }
    for (size_t i = 0; i < columns; i++)
        for (size_t j = 0; j < columns; j++) {
            fv_real sum = 0;
            for (size_t k = 0; k < rows; k++) sum += (fv_real)t[k * pitch + i] * half[k][j];
            out[i][j] = sum;
        }
}

/* Frequencies of a tile's gradient, [frequency][K]; pixels past the edge of the map are zero. */
static void gradient_frequencies(const fv_conv_desc *d, int32_t m, const fv_real *dy, size_t tile, fv_range maps, fv_real *u) {
    const fv_winograd_tile at = fv_winograd_tile_at(d, m, tile);
    const size_t a = side(m), count = maps.end - maps.begin;
    for (size_t k = maps.begin; k < maps.end; k++) {
        fv_real in[SIDE][SIDE], out[SIDE][SIDE];
        for (ptrdiff_t i = 0; i < m * m; i++) {
            const ptrdiff_t row = at.y + i / m, column = at.x + i % m;
            const bool inside = row < d->out[1] && column < d->out[2];
            in[i / m][i % m] =
                inside ? dy[at.image * d->out_pitch[0] + row * d->out_pitch[2] + column * d->out_pitch[3] + (ptrdiff_t)k] : 0;
        }
        transform_back(matrices_of(m)->output[0], SIDE, (size_t)m, a, in, out);
        for (size_t f = 0; f < a * a; f++) u[f * count + k - maps.begin] = out[f / a][f % a];
    }
}

/* Scratch: sums [channel][map][frequency], a tile's frequencies of x, then of dy. */
static size_t winograd_grad_scratch_scalar(const fv_conv_desc *d, int32_t m, size_t channels, size_t panels) {
    (void)d;
    return side(m) * side(m) * (channels * panels + channels + panels) * sizeof(fv_real);
}

static void winograd_weight_grad_scalar(const fv_conv_desc *d, int32_t m, const fv_real *x, const fv_real *dy, fv_real *dw,
                                        ptrdiff_t dw_pitch, fv_range tiles, fv_range channels, fv_range panels, void *scratch) {
    const size_t a = side(m), some = channels.end - channels.begin, maps = panels.end - panels.begin;
    fv_real *sums = scratch, *v = sums + a * a * some * maps, *u = v + a * a * some;
    fv_conv_desc part = *d;
    part.in_channels = (int32_t)some;
    for (size_t i = 0; i < a * a * some * maps; i++) sums[i] = 0;
    for (size_t tile = tiles.begin; tile < tiles.end; tile++) {
        const fv_range one = {tile, tile + 1};
        winograd_input_scalar(&part, m, x + channels.begin, v, one, one);
        gradient_frequencies(d, m, dy, tile, panels, u);
        for (size_t c = 0; c < some; c++)
            for (size_t k = 0; k < maps; k++)
                for (size_t f = 0; f < a * a; f++) sums[(c * maps + k) * a * a + f] += v[f * some + c] * u[f * maps + k];
    }
    for (size_t c = 0; c < some; c++)
        for (size_t k = 0; k < maps; k++) {
            fv_real in[SIDE][SIDE], out[SIDE][SIDE];
            for (size_t f = 0; f < a * a; f++) in[f / a][f % a] = sums[(c * maps + k) * a * a + f];
            transform_back(matrices_of(m)->weight[0], 3, a, 3, in, out);
            for (int32_t t = 0; t < 9; t++) {
                const ptrdiff_t tap = d->weight_tap ? d->weight_tap[t] : t;
                const ptrdiff_t row = tap * d->in_channels + (ptrdiff_t)(channels.begin + c);
                dw[row * dw_pitch + (ptrdiff_t)(panels.begin + k)] = out[t / 3][t % 3];
            }
        }
}

void fv_winograd_init_scalar(fv_winograd_kernels *k) {
    *k = (fv_winograd_kernels){
        .mr = 1,
        .nr = 1,
        .packed_size = winograd_packed_size_scalar,
        .pack = winograd_pack_scalar,
        .input_size = winograd_input_size_scalar,
        .input = winograd_input_scalar,
        .output_scratch = winograd_output_scratch_scalar,
        .output = winograd_output_scalar,
        .weight_grad_scratch = winograd_grad_scratch_scalar,
        .weight_grad = winograd_weight_grad_scalar,
    };
}
