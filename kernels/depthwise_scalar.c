#include "kernels/kernels.h"

static size_t packed_size(const fv_depthwise_desc *d) { return (size_t)fv_depthwise_taps(d) * (size_t)d->channels; }

static int32_t weight_of(const fv_depthwise_desc *d, int32_t t) { return d->true_convolution ? fv_depthwise_taps(d) - 1 - t : t; }

/* [kernel position][channels] */
static void pack(const fv_depthwise_desc *d, const fv_conv_weights *w, fv_real *packed, fv_range channels) {
    for (int32_t t = 0; t < fv_depthwise_taps(d); t++)
        for (size_t c = channels.begin; c < channels.end; c++)
            packed[(size_t)t * (size_t)d->channels + c] = w->data[(ptrdiff_t)c * w->group + weight_of(d, t) * w->tap];
}

/* Pixel of x in its image that output o reads at kernel position t; -1: padding. */
static ptrdiff_t source(const fv_depthwise_desc *d, int32_t oy, int32_t ox, int32_t t) {
    const int64_t y = (int64_t)oy * d->stride[0] + (int64_t)(t / d->kernel[1]) * d->dilation[0] - d->pad[0];
    const int64_t x = (int64_t)ox * d->stride[1] + (int64_t)(t % d->kernel[1]) * d->dilation[1] - d->pad[1];
    return y < 0 || y >= d->in[0] || x < 0 || x >= d->in[1] ? -1 : (ptrdiff_t)(y * d->in[1] + x);
}

/* Output that reads input pixel i at kernel position t; -1: none. */
static ptrdiff_t reader(const fv_depthwise_desc *d, int32_t iy, int32_t ix, int32_t t) {
    const int64_t y = (int64_t)iy + d->pad[0] - (int64_t)(t / d->kernel[1]) * d->dilation[0];
    const int64_t x = (int64_t)ix + d->pad[1] - (int64_t)(t % d->kernel[1]) * d->dilation[1];
    if (y < 0 || x < 0 || y % d->stride[0] || x % d->stride[1]) return -1;
    const int64_t oy = y / d->stride[0], ox = x / d->stride[1];
    return oy >= d->out[0] || ox >= d->out[1] ? -1 : (ptrdiff_t)(oy * d->out[1] + ox);
}

static fv_real clamp(fv_real value, fv_real low, fv_real high) {
    return value < low ? low : value > high ? high : value; /* NaN passes */
}

static void forward(const fv_depthwise_desc *d, const fv_real *x, const fv_real *packed, const fv_real *bias,
                    const fv_real *residual, fv_real *y, fv_range rows, fv_range channels) {
    const size_t maps = (size_t)d->channels, image = (size_t)d->in[0] * (size_t)d->in[1] * maps;
    for (size_t row = rows.begin; row < rows.end; row++)
        for (int32_t ox = 0; ox < d->out[1]; ox++)
            for (size_t c = channels.begin; c < channels.end; c++) {
                const size_t n = row / (size_t)d->out[0], at = (row * (size_t)d->out[1] + (size_t)ox) * maps + c;
                fv_real sum = bias ? bias[c] : 0;
                for (int32_t t = 0; t < fv_depthwise_taps(d); t++) {
                    const ptrdiff_t from = source(d, (int32_t)(row % (size_t)d->out[0]), ox, t);
                    if (from >= 0) sum += x[n * image + (size_t)from * maps + c] * packed[(size_t)t * maps + c];
                }
                if (residual) sum += residual[at];
                y[at] = clamp(sum, d->act_low, d->act_high);
            }
}

static void data_grad(const fv_depthwise_desc *d, const fv_real *dy, const fv_real *packed, const fv_real *bias, fv_real *dx,
                      fv_range rows, fv_range channels) {
    const size_t maps = (size_t)d->channels, image = (size_t)d->out[0] * (size_t)d->out[1] * maps;
    for (size_t row = rows.begin; row < rows.end; row++)
        for (int32_t ix = 0; ix < d->in[1]; ix++)
            for (size_t c = channels.begin; c < channels.end; c++) {
                const size_t n = row / (size_t)d->in[0];
                fv_real sum = bias ? bias[c] : 0;
                for (int32_t t = fv_depthwise_taps(d) - 1; t >= 0; t--) {
                    const ptrdiff_t from = reader(d, (int32_t)(row % (size_t)d->in[0]), ix, t);
                    if (from >= 0) sum += dy[n * image + (size_t)from * maps + c] * packed[(size_t)t * maps + c];
                }
                dx[(row * (size_t)d->in[1] + (size_t)ix) * maps + c] = clamp(sum, d->act_low, d->act_high);
            }
}

static void add_pixel(const fv_depthwise_desc *d, const fv_real *x, const fv_real *dy, int32_t oy, int32_t ox, fv_real *dw,
                      ptrdiff_t dw_pitch, fv_range channels) {
    for (int32_t t = 0; t < fv_depthwise_taps(d); t++) {
        const ptrdiff_t from = source(d, oy, ox, t);
        for (size_t c = channels.begin; c < channels.end && from >= 0; c++)
            dw[weight_of(d, t) * dw_pitch + (ptrdiff_t)c] += x[from * d->channels + (ptrdiff_t)c] * dy[c];
    }
}

static void weight_grad(const fv_depthwise_desc *d, const fv_real *x, const fv_real *dy, fv_real *dw, ptrdiff_t dw_pitch,
                        fv_real *db, fv_range rows, fv_range channels) {
    const size_t maps = (size_t)d->channels, image = (size_t)d->in[0] * (size_t)d->in[1] * maps;
    for (size_t c = channels.begin; c < channels.end; c++) {
        for (int32_t t = 0; t < fv_depthwise_taps(d); t++) dw[t * dw_pitch + (ptrdiff_t)c] = 0;
        if (db) db[c] = 0;
    }
    for (size_t row = rows.begin; row < rows.end; row++)
        for (int32_t ox = 0; ox < d->out[1]; ox++) {
            const fv_real *pixel = dy + (row * (size_t)d->out[1] + (size_t)ox) * maps;
            add_pixel(d, x + row / (size_t)d->out[0] * image, pixel, (int32_t)(row % (size_t)d->out[0]), ox, dw, dw_pitch,
                      channels);
            for (size_t c = channels.begin; c < channels.end && db; c++) db[c] += pixel[c];
        }
}

void fv_depthwise_init_scalar(fv_depthwise_kernels *k) {
    *k = (fv_depthwise_kernels){1, packed_size, pack, forward, data_grad, weight_grad};
}
