#include "kernels/kernels.h"

#include <string.h>

static bool suits(const fv_conv_pooled_desc *d) { return d->window[0] * d->window[1] <= FV_CONV_POOLED_WINDOW; }

static size_t packed_size(const fv_conv_pooled_desc *d) {
    return (size_t)fv_conv_pooled_taps(d) * (size_t)d->channels * (size_t)d->maps;
}

static size_t no_scratch(const fv_conv_pooled_desc *d) {
    (void)d;
    return 0;
}

/* [maps][kernel position][channels] */
static void pack(const fv_conv_pooled_desc *d, const fv_conv_weights *w, fv_real *packed, fv_range maps) {
    const int32_t taps = fv_conv_pooled_taps(d);
    for (size_t k = maps.begin; k < maps.end; k++)
        for (int32_t t = 0; t < taps; t++)
            for (int32_t c = 0; c < d->channels; c++)
                packed[((ptrdiff_t)k * taps + t) * d->channels + c] =
                    w->data[(d->true_convolution ? taps - 1 - t : t) * w->tap + c * w->in + (ptrdiff_t)k * w->out];
}

/* Element offset inside the image of what window (oy,ox), place a, reads at kernel position t; -1: padding. */
static ptrdiff_t source(const fv_conv_pooled_desc *d, const int32_t o[2], int32_t a, int32_t t) {
    const int32_t place[2] = {a / d->window[1], a % d->window[1]}, u[2] = {t / d->kernel[1], t % d->kernel[1]};
    ptrdiff_t at[2];
    for (int i = 0; i < 2; i++) {
        at[i] = (ptrdiff_t)(o[i] * d->window[i] + place[i]) * d->stride[i] + u[i] * d->dilation[i] - d->pad[i];
        if (at[i] < 0 || at[i] >= d->in[i]) return -1;
    }
    return (at[0] * d->in[1] + at[1]) * d->channels;
}

static void add_weight(const fv_conv_pooled_desc *d, const fv_real *x, const int32_t o[2], int32_t a, fv_real g, fv_real *dw,
                       ptrdiff_t dw_pitch) {
    const int32_t taps = fv_conv_pooled_taps(d);
    for (int32_t t = 0; t < taps; t++) {
        const ptrdiff_t from = source(d, o, a, t);
        if (from < 0) continue;
        fv_real *row = dw + (ptrdiff_t)(d->true_convolution ? taps - 1 - t : t) * d->channels * dw_pitch;
        for (int32_t c = 0; c < d->channels; c++) row[c * dw_pitch] += x[from + c] * g;
    }
}

static void weight_grad(const fv_conv_pooled_desc *d, const fv_real *x, const fv_real *g, const int32_t *at, fv_real *dw,
                        ptrdiff_t dw_pitch, fv_range images, fv_range maps, void *scratch) {
    (void)scratch;
    const size_t image = (size_t)d->in[0] * (size_t)d->in[1] * (size_t)d->channels;
    for (ptrdiff_t row = 0; row < (ptrdiff_t)fv_conv_pooled_taps(d) * d->channels; row++)
        for (size_t k = maps.begin; k < maps.end; k++) dw[row * dw_pitch + (ptrdiff_t)k] = 0;
    for (size_t n = images.begin; n < images.end; n++)
        for (int32_t y = 0; y < d->pooled[0]; y++)
            for (int32_t z = 0; z < d->pooled[1]; z++) {
                const size_t first = ((n * (size_t)d->pooled[0] + (size_t)y) * (size_t)d->pooled[1] + (size_t)z) * (size_t)d->maps;
                for (size_t k = maps.begin; k < maps.end; k++)
                    add_weight(d, x + n * image, (const int32_t[2]){y, z}, at[first + k], g[first + k], dw + k, dw_pitch);
            }
}

static void add_input(const fv_conv_pooled_desc *d, const fv_real *w, const int32_t o[2], int32_t a, fv_real g, fv_real *dx) {
    for (int32_t t = 0; t < fv_conv_pooled_taps(d); t++) {
        const ptrdiff_t to = source(d, o, a, t);
        if (to < 0) continue;
        for (int32_t c = 0; c < d->channels; c++) dx[to + c] += w[t * d->channels + c] * g;
    }
}

static void input_grad(const fv_conv_pooled_desc *d, const fv_real *packed, const fv_real *g, const int32_t *at, fv_real *dx,
                       fv_range images, void *scratch) {
    (void)scratch;
    const size_t image = (size_t)d->in[0] * (size_t)d->in[1] * (size_t)d->channels, maps = (size_t)d->maps;
    const size_t weights = (size_t)fv_conv_pooled_taps(d) * (size_t)d->channels;
    for (size_t n = images.begin; n < images.end; n++) {
        memset(dx + n * image, 0, image * sizeof *dx);
        for (int32_t y = 0; y < d->pooled[0]; y++)
            for (int32_t z = 0; z < d->pooled[1]; z++) {
                const size_t first = ((n * (size_t)d->pooled[0] + (size_t)y) * (size_t)d->pooled[1] + (size_t)z) * maps;
                for (size_t k = 0; k < maps; k++)
                    add_input(d, packed + k * weights, (const int32_t[2]){y, z}, at[first + k], g[first + k], dx + n * image);
            }
    }
}

void fv_conv_pooled_init_scalar(fv_conv_pooled_kernels *k) {
    *k = (fv_conv_pooled_kernels){suits, packed_size, no_scratch, no_scratch, pack, weight_grad, input_grad};
}
