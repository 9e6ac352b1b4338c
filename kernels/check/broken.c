/* Kernels broken on purpose, each around a good table. The self-test fails if the check passes one of them. */
#include "kernels/check/engine.h"
#include "kernels/pool_cursor.h"

/* The table underneath: kernels carry no context. One self-test runs at a time. */
static const fv_kernels *good;
static volatile float sink;

/* ---- convolution ---- */

static size_t panels_of(const fv_conv_desc *d) {
    return (size_t)d->groups * fv_div_up((size_t)d->out_channels, (size_t)good->conv.nr);
}

static float *last_pixel(const fv_conv_desc *d, float *y) {
    return y + (d->images - 1) * d->out_pitch[0] + (d->out[0] - 1) * d->out_pitch[1] +
           (d->out[1] - 1) * d->out_pitch[2] + (d->out[2] - 1) * d->out_pitch[3];
}

static void forward_channel_tail(const fv_conv_desc *d, const float *x, const float *packed, const float *bias,
                                 const float *residual, float *y, fv_range pixels, fv_range panels, void *scratch) {
    good->conv.forward(d, x, packed, bias, residual, y, pixels, panels, scratch);
    if (d->out_channels % good->conv.nr && panels.end == panels_of(d) && pixels.end == fv_conv_out_pixels(d))
        last_pixel(d, y)[d->groups * d->out_channels - 1] *= 1.01f;
}

/* Around scalar, whose plan has no boxes: the last tap of the first pixel falls into padding. */
static void forward_lost_tap(const fv_conv_desc *d, const float *x, const float *packed, const float *bias,
                             const float *residual, float *y, fv_range pixels, fv_range panels, void *scratch) {
    fv_kernels scalar;
    fv_kernels_init_scalar(&scalar);
    int32_t tap[2048][3];
    if (pixels.begin == 0 && pixels.end > 0 && d->taps > 0 && d->taps <= 2048) {
        fv_conv_desc other = *d;
        memcpy(tap, d->tap, (size_t)d->taps * sizeof tap[0]);
        tap[d->taps - 1][2] = -1000000;
        other.tap = (const int32_t(*)[3])tap;
        scalar.conv.forward(&other, x, packed, bias, residual, y, (fv_range){0, 1}, panels, scratch);
        pixels.begin = 1;
    }
    scalar.conv.forward(d, x, packed, bias, residual, y, pixels, panels, scratch);
}

static void forward_last_bias(const fv_conv_desc *d, const float *x, const float *packed, const float *bias,
                              const float *residual, float *y, fv_range pixels, fv_range panels, void *scratch) {
    const size_t last = panels_of(d) - 1;
    if (bias && last > 0 && d->groups == 1 && panels.end == last + 1) {
        good->conv.forward(d, x, packed, bias - good->conv.nr, residual, y, pixels, (fv_range){last, last + 1},
                           scratch);
        panels.end = last;
    }
    if (panels.begin < panels.end) good->conv.forward(d, x, packed, bias, residual, y, pixels, panels, scratch);
}

static void forward_no_residual(const fv_conv_desc *d, const float *x, const float *packed, const float *bias,
                                const float *residual, float *y, fv_range pixels, fv_range panels, void *scratch) {
    (void)residual;
    good->conv.forward(d, x, packed, bias, NULL, y, pixels, panels, scratch);
}

static void forward_no_clamp(const fv_conv_desc *d, const float *x, const float *packed, const float *bias,
                             const float *residual, float *y, fv_range pixels, fv_range panels, void *scratch) {
    fv_conv_desc other = *d;
    other.act_high = INFINITY;
    good->conv.forward(&other, x, packed, bias, residual, y, pixels, panels, scratch);
}

static void forward_reads_on(const fv_conv_desc *d, const float *x, const float *packed, const float *bias,
                             const float *residual, float *y, fv_range pixels, fv_range panels, void *scratch) {
    good->conv.forward(d, x, packed, bias, residual, y, pixels, panels, scratch);
    if (bias) sink = bias[d->groups * d->out_channels];
}

static void forward_scratch_overrun(const fv_conv_desc *d, const float *x, const float *packed, const float *bias,
                                    const float *residual, float *y, fv_range pixels, fv_range panels, void *scratch) {
    good->conv.forward(d, x, packed, bias, residual, y, pixels, panels, scratch);
    if (scratch) ((unsigned char *)scratch)[good->conv.forward_scratch(d)] = 0;
}

static void pack_overrun(const fv_conv_desc *d, const fv_conv_weights *w, float *packed, fv_range panels) {
    good->conv.pack(d, w, packed, panels);
    packed[good->conv.packed_size(d)] = 0;
}

static void pack_tap_order(const fv_conv_desc *d, const fv_conv_weights *w, float *packed, fv_range panels) {
    fv_conv_desc other = *d;
    other.weight_tap = NULL;
    good->conv.pack(&other, w, packed, panels);
}

static void pack_parts(const fv_conv_desc *d, const fv_conv_weights *w, float *packed, fv_range panels) {
    if (panels.begin > 0 && panels.end < panels_of(d)) panels.end--;
    if (panels.begin < panels.end) good->conv.pack(d, w, packed, panels);
}

static void weight_grad_last_pixel(const fv_conv_desc *d, const float *x, const float *dy, float *dw, ptrdiff_t pitch,
                                   fv_range pixels, fv_range rows, void *scratch) {
    if (pixels.end > pixels.begin) pixels.end--;
    good->conv.weight_grad(d, x, dy, dw, pitch, pixels, rows, scratch);
}

static void weight_grad_cut(const fv_conv_desc *d, const float *x, const float *dy, float *dw, ptrdiff_t pitch,
                            fv_range pixels, fv_range rows, void *scratch) {
    good->conv.weight_grad(d, x, dy, dw, pitch, pixels, rows, scratch);
    if (rows.begin % 4 && rows.end > rows.begin) dw[(ptrdiff_t)rows.begin * pitch] += dw[(ptrdiff_t)rows.begin * pitch];
}

/* ---- convolution through max pooling ---- */

static void pooled_pack_unturned(const fv_conv_pooled_desc *d, const fv_conv_weights *w, float *packed, fv_range maps) {
    fv_conv_pooled_desc other = *d;
    other.true_convolution = false;
    good->conv_pooled.pack(&other, w, packed, maps);
}

static void pooled_weight_grad_last_image(const fv_conv_pooled_desc *d, const float *x, const float *g, const int32_t *at, float *dw,
                                          ptrdiff_t pitch, fv_range images, fv_range maps, void *scratch) {
    if (images.end - images.begin > 1) images.end--;
    good->conv_pooled.weight_grad(d, x, g, at, dw, pitch, images, maps, scratch);
}

static void pooled_input_grad_last_value(const fv_conv_pooled_desc *d, const float *packed, const float *g, const int32_t *at, float *dx,
                                         fv_range images, void *scratch) {
    good->conv_pooled.input_grad(d, packed, g, at, dx, images, scratch);
    dx[images.end * (size_t)d->in[0] * (size_t)d->in[1] * (size_t)d->channels - 1] *= 1.01f;
}

/* ---- pooling ---- */

static void max_last_tie(const fv_pool_desc *d, const float *x, float *y, int32_t *index, fv_range pixels) {
    good->pool.max(d, x, y, index, pixels);
    for (size_t p = pixels.begin; index && p < pixels.end; p++) {
        const fv_pool_pixel o = fv_pool_out_pixel(d, p);
        for (fv_pool_tap t = fv_pool_first_tap(d, &o); fv_pool_has_tap(&t); fv_pool_next_tap(d, &t))
            for (int32_t c = 0; c < d->channels; c++)
                if (x[fv_pool_tap_offset(d, &o, &t) + c] == y[fv_pool_offset(d->out_pitch, &o) + c])
                    index[p * (size_t)d->channels + (size_t)c] = fv_pool_tap_index(d, &t);
    }
}

static void max_index_off(const fv_pool_desc *d, const float *x, float *y, int32_t *index, fv_range pixels) {
    good->pool.max(d, x, y, index, pixels);
    if (index && pixels.end > pixels.begin) index[pixels.end * (size_t)d->channels - 1]++;
}

static void average_padding(const fv_pool_desc *d, const float *x, float *y, fv_range pixels) {
    fv_pool_desc other = *d;
    other.count_padding = true;
    good->pool.average(&other, x, y, pixels);
}

static void max_grad_one_window(const fv_pool_desc *d, const int32_t *index, const float *dy, float *dx,
                                fv_range pixels) {
    fv_pool_desc other = *d;
    if (other.out[2] > 1) other.out[2]--; /* the last column of windows is forgotten; d's pitches hold */
    if (d->out[2] == 1 || d->images * d->out[0] * d->out[1] > 1)
        good->pool.max_grad(d, index, dy, dx, pixels);
    else
        good->pool.max_grad(&other, index, dy, dx, pixels);
}

static void average_grad_no_edge(const fv_pool_desc *d, const float *dy, float *dx, fv_range pixels) {
    fv_pool_desc other = *d;
    other.count_padding = true;
    for (int i = 0; i < 3; i++) other.pad_after[i] = d->window[i] * d->dilation[i];
    good->pool.average_grad(&other, dy, dx, pixels);
}

/* ---- element-wise ---- */

static void relu_no_nan(const float *x, float *y, size_t n, float a, float b) {
    (void)a, (void)b;
    for (size_t i = 0; i < n; i++) y[i] = x[i] > 0 ? x[i] : 0;
}

static void relu_grad_reads_on(const float *y, const float *dy, float *dx, size_t n, float a, float b) {
    sink = dy[n];
    good->pointwise.unary_grad[FV_UNARY_RELU](y, dy, dx, n, a, b);
}

static void tanh_rough(const float *x, float *y, size_t n, float a, float b) {
    good->pointwise.unary[FV_UNARY_TANH](x, y, n, a, b);
    for (size_t i = 0; i < n; i++) y[i] *= 1.0000004f;
}

static void softplus_overflows(const float *x, float *y, size_t n, float k, float b) {
    (void)b;
    for (size_t i = 0; i < n; i++) y[i] = logf(1 + expf(k * x[i])) / k;
}

static void gelu_by_tanh(const float *x, float *y, size_t n, float a, float b) {
    good->pointwise.unary[FV_UNARY_GELU_TANH](x, y, n, a, b);
}

static void erf_rough(const float *x, float *y, size_t n, float a, float b) {
    good->pointwise.unary[FV_UNARY_ERF](x, y, n, a, b);
    for (size_t i = 0; i < n; i++) y[i] *= 1.0000004f;
}

static void elu_cancels(const float *x, float *y, size_t n, float a, float b) {
    for (size_t i = 0; i < n; i++) y[i] = b * (x[i] > 0 ? x[i] : a * (expf(x[i]) - 1));
}

static void abs_grad_at_zero(const float *x, const float *dy, float *dx, size_t n, float a, float b) {
    (void)a, (void)b;
    for (size_t i = 0; i < n; i++) dx[i] = x[i] >= 0 ? dy[i] : -dy[i];
}

static void silu_grad_short(const float *x, const float *dy, float *dx, size_t n, float a, float b) {
    good->pointwise.unary[FV_UNARY_SIGMOID](x, dx, n, a, b);
    good->pointwise.binary[FV_BINARY_MUL](dx, dy, dx, n);
}

static void prelu_grad_all(const float *x, const float *slope, const float *dy, float *dx, float *dslope, ptrdiff_t pitch,
                           size_t channels, size_t pixels) {
    good->reduce.dot_rows(x, pitch, dy, pitch, pixels, channels, dslope);
    float sum[512];
    if (channels <= 512) good->pointwise.prelu_grad(x, slope, dy, dx, sum, pitch, channels, pixels);
}

static void linear_fused(const float *x, float *y, size_t n, float a, float b) {
    for (size_t i = 0; i < n; i++) y[i] = (float)((double)x[i] * a + b);
}

static void add_writes_on(const float *x1, const float *x2, float *y, size_t n) {
    good->pointwise.binary[FV_BINARY_ADD](x1, x2, y, n);
    y[n] = 0;
}

static void mul_writes_input(const float *x1, const float *x2, float *y, size_t n) {
    good->pointwise.binary[FV_BINARY_MUL](x1, x2, y, n);
    if (x2 != y) ((float *)x2)[0] = y[0];
}

static void gain_fills_gap(const float *x, ptrdiff_t x_pitch, const float *gain, const float *shift, float *y,
                           ptrdiff_t y_pitch, size_t channels, size_t pixels) {
    good->pointwise.gain(x, x_pitch, gain, shift, y, y_pitch, channels, pixels);
    if (pixels > 1 && y_pitch > (ptrdiff_t)channels) y[channels] = 0;
}

static void dropout_cut(const float *x, float *y, size_t n, uint64_t first, const uint32_t key[2],
                        const uint32_t stream[2], float ratio) {
    good->pointwise.dropout(x, y, n, first / 4 * 4, key, stream, ratio);
}

static void dropout_carry(const float *x, float *y, size_t n, uint64_t first, const uint32_t key[2],
                          const uint32_t stream[2], float ratio) {
    good->pointwise.dropout(x, y, n, first & (((uint64_t)1 << 34) - 1), key, stream, ratio);
}

/* ---- contrast normalization ---- */

static void blur_not_transposed(const fv_contrast_desc *d, const float *x, float *y, fv_range rows, void *scratch) {
    fv_contrast_desc other = *d;
    other.transposed = false;
    good->contrast.blur[FV_BLUR_PLAIN](&other, x, y, rows, scratch);
}

static void blur_no_ring(const fv_contrast_desc *d, const float *x, float *y, fv_range rows, void *scratch) {
    fv_contrast_desc other = *d;
    if (d->ring > 1) other.ring--;
    good->contrast.blur[FV_BLUR_SUBTRACT](&other, x, y, rows, scratch);
}

static void squares_last_map(const float *x1, const float *x2, float *y, size_t channels, size_t pixels, float scale) {
    good->contrast.sum[FV_MAP_SQUARES](x1, x2, y, channels, pixels, scale);
    y[pixels - 1] -= scale * x1[pixels * channels - 1] * x1[pixels * channels - 1];
}

static void scale_no_second(const float *x1, const float *a, const float *x2, const float *b, float *y, size_t channels,
                            size_t pixels) {
    (void)x2, (void)b;
    good->contrast.scale(x1, a, NULL, NULL, y, channels, pixels);
}

static void divide_by_sigma(const fv_sigma *s, const float *x, float *y) {
    for (size_t i = 0; i < s->pixels * s->channels; i++) y[i] = s->sigma[i] > 0 ? (x ? x[i] : 1) / s->sigma[i] : 0;
}

static void below_dot_tie(const fv_sigma *s, const float *x1, const float *x2, float *y) {
    for (size_t c = 0; c < s->channels; c++) y[c] = 0;
    for (size_t i = 0; i < s->pixels * s->channels; i++)
        if (s->sigma[i] < s->c[s->single ? 0 : i % s->channels]) y[i % s->channels] += x1[i] * (x2 ? x2[i] : 1);
}

static void local_window_turned(const fv_brightness *d, const float *x, float *y, fv_range pixels, void *scratch) {
    fv_brightness other = *d;
    other.before = d->after;
    other.after = d->before;
    good->contrast.local(&other, x, y, pixels, scratch);
}

static void local_grad_window(const fv_brightness *d, const float *x, const float *dy, float *dx, fv_range pixels, void *scratch) {
    fv_brightness other = *d;
    other.before = d->after;
    other.after = d->before;
    good->contrast.local_grad(&other, x, dy, dx, pixels, scratch);
}

static void power_rough(const fv_brightness *d, const float *q, float *a, size_t n) {
    good->contrast.power(d, q, a, n);
    a[n - 1] *= 1 + 0x1p-15f;
}

/* ---- rows, sums, updates, layout ---- */

static void softmax_no_max(const float *x, float *y, size_t classes, fv_range rows) {
    for (size_t r = rows.begin; r < rows.end; r++) {
        float sum = 0;
        for (size_t i = r * classes; i < (r + 1) * classes; i++) sum += y[i] = expf(x[i]);
        for (size_t i = r * classes; i < (r + 1) * classes; i++) y[i] /= sum;
    }
}

static void cross_entropy_no_smoothing(const float *x, const int32_t *label, float *loss, float *dx, size_t classes,
                                       float smoothing, float scale, fv_range rows) {
    (void)smoothing;
    good->softmax.cross_entropy(x, label, loss, dx, classes, 0, scale, rows);
}

static void log_softmax_no_max(const float *x, float *y, size_t classes, fv_range rows) {
    good->softmax.softmax(x, y, classes, rows);
    for (size_t i = rows.begin * classes; i < rows.end * classes; i++) y[i] = logf(y[i]);
}

static void soft_cross_entropy_weight(const float *x, const float *target, float *loss, float *dx, size_t classes, float smoothing,
                                      float scale, fv_range rows) {
    good->softmax.soft_cross_entropy(x, target, loss, dx, classes, smoothing, scale, rows);
    if (!dx) return;
    good->softmax.softmax(x, dx, classes, rows);
    for (size_t i = rows.begin * classes; i < rows.end * classes; i++) dx[i] = (dx[i] - target[i]) * scale;
}

static void entropy_of_zero(const float *y, const int32_t *label, const float *target, float *loss, float *dx, size_t classes,
                            float smoothing, float scale, fv_range rows) {
    good->softmax.entropy(y, label, target, loss, dx, classes, smoothing, scale, rows);
    for (size_t r = rows.begin; label && smoothing == 0 && r < rows.end; r++)
        if (y != dx) loss[r] = -logf(y[r * classes + (size_t)label[r]]);
}

static float sum_loses_tail(const float *x, size_t n) { return good->reduce.sum(x, n > 64 ? n - n % 8 : n); }

static void sum_rows_backwards(const float *x, ptrdiff_t pitch, size_t pixels, size_t channels, float *y) {
    if (pixels == 0)
        good->reduce.sum_rows(x, pitch, pixels, channels, y);
    else
        good->reduce.sum_rows(x + (ptrdiff_t)(pixels - 1) * pitch, -pitch, pixels, channels, y);
}

static void adam_no_correction(const fv_update *u, const float *g, float *w, float *m, float *v, size_t n) {
    fv_update other = *u;
    other.correction1 = other.correction2 = 1;
    good->optimizer.adam(&other, g, w, m, v, n);
}

static void sgd_no_decay(const fv_update *u, const float *g, float *w, float *m, float *v, size_t n) {
    fv_update other = *u;
    other.weight_decay = 0;
    good->optimizer.sgd(&other, g, w, m, v, n);
}

static void nesterov_as_momentum(const fv_update *u, const float *g, float *w, float *m, float *v, size_t n) {
    good->optimizer.momentum(u, g, w, m, v, n);
}

static void transpose_tail(const float *x, ptrdiff_t x_pitch, float *y, ptrdiff_t y_pitch, size_t columns,
                           fv_range rows) {
    good->convert.transpose(x, x_pitch, y, y_pitch, columns, rows);
    if (rows.end % 8 && columns % 8) y[(ptrdiff_t)(columns - 1) * y_pitch + (ptrdiff_t)rows.end - 1] = x[0];
}

static void u8_signed(const uint8_t *x, float *y, size_t pixels, size_t channels, const float *scale,
                      const float *shift) {
    for (size_t i = 0; i < pixels * channels; i++)
        y[i] = (float)(int8_t)x[i] * scale[i % channels] + shift[i % channels];
}

/* ---- the list ---- */

typedef struct fault {
    const char *slot, *name;
    void (*install)(fv_kernels *k);
} fault;

#define INSTALL(fault_, member)                                                                                        \
    static void install_##fault_(fv_kernels *k) { k->member = fault_; }

INSTALL(forward_channel_tail, conv.forward)
INSTALL(forward_last_bias, conv.forward)
INSTALL(forward_no_residual, conv.forward)
INSTALL(forward_no_clamp, conv.forward)
INSTALL(forward_reads_on, conv.forward)
INSTALL(forward_scratch_overrun, conv.forward)
INSTALL(pack_overrun, conv.pack)
INSTALL(pack_tap_order, conv.pack)
INSTALL(pack_parts, conv.pack)
INSTALL(weight_grad_last_pixel, conv.weight_grad)
INSTALL(weight_grad_cut, conv.weight_grad)
INSTALL(pooled_pack_unturned, conv_pooled.pack)
INSTALL(pooled_weight_grad_last_image, conv_pooled.weight_grad)
INSTALL(pooled_input_grad_last_value, conv_pooled.input_grad)
INSTALL(max_last_tie, pool.max)
INSTALL(max_index_off, pool.max)
INSTALL(average_padding, pool.average)
INSTALL(max_grad_one_window, pool.max_grad)
INSTALL(average_grad_no_edge, pool.average_grad)
INSTALL(blur_not_transposed, contrast.blur[FV_BLUR_PLAIN])
INSTALL(blur_no_ring, contrast.blur[FV_BLUR_SUBTRACT])
INSTALL(squares_last_map, contrast.sum[FV_MAP_SQUARES])
INSTALL(scale_no_second, contrast.scale)
INSTALL(divide_by_sigma, contrast.divide)
INSTALL(below_dot_tie, contrast.below_dot)
INSTALL(local_window_turned, contrast.local)
INSTALL(local_grad_window, contrast.local_grad)
INSTALL(power_rough, contrast.power)
INSTALL(relu_no_nan, pointwise.unary[FV_UNARY_RELU])
INSTALL(relu_grad_reads_on, pointwise.unary_grad[FV_UNARY_RELU])
INSTALL(tanh_rough, pointwise.unary[FV_UNARY_TANH])
INSTALL(softplus_overflows, pointwise.unary[FV_UNARY_SOFTPLUS])
INSTALL(gelu_by_tanh, pointwise.unary[FV_UNARY_GELU])
INSTALL(erf_rough, pointwise.unary[FV_UNARY_ERF])
INSTALL(elu_cancels, pointwise.unary[FV_UNARY_ELU])
INSTALL(abs_grad_at_zero, pointwise.unary_grad[FV_UNARY_ABS])
INSTALL(silu_grad_short, pointwise.unary_grad[FV_UNARY_SILU])
INSTALL(prelu_grad_all, pointwise.prelu_grad)
INSTALL(log_softmax_no_max, softmax.log_softmax)
INSTALL(soft_cross_entropy_weight, softmax.soft_cross_entropy)
INSTALL(entropy_of_zero, softmax.entropy)
INSTALL(linear_fused, pointwise.unary[FV_UNARY_LINEAR])
INSTALL(add_writes_on, pointwise.binary[FV_BINARY_ADD])
INSTALL(mul_writes_input, pointwise.binary[FV_BINARY_MUL])
INSTALL(gain_fills_gap, pointwise.gain)
INSTALL(dropout_cut, pointwise.dropout)
INSTALL(dropout_carry, pointwise.dropout)
INSTALL(softmax_no_max, softmax.softmax)
INSTALL(cross_entropy_no_smoothing, softmax.cross_entropy)
INSTALL(sum_loses_tail, reduce.sum)
INSTALL(sum_rows_backwards, reduce.sum_rows)
INSTALL(adam_no_correction, optimizer.adam)
INSTALL(sgd_no_decay, optimizer.sgd)
INSTALL(nesterov_as_momentum, optimizer.nesterov)
INSTALL(transpose_tail, convert.transpose)
INSTALL(u8_signed, convert.u8_to_real)

static void install_forward_lost_tap(fv_kernels *k) {
    fv_conv_init_scalar(&k->conv);
    k->conv.forward = forward_lost_tap;
}

static const fault faults[] = {
    {"conv.forward", "last channel of a partial panel wrong in one pixel", install_forward_channel_tail},
    {"conv.forward", "one tap dropped for one pixel", install_forward_lost_tap},
    {"conv.forward", "last panel takes another panel's bias", install_forward_last_bias},
    {"conv.forward", "residual ignored", install_forward_no_residual},
    {"conv.forward", "upper clamp ignored", install_forward_no_clamp},
    {"conv.forward", "reads one value past the bias", install_forward_reads_on},
    {"conv.forward", "writes one byte past the scratch", install_forward_scratch_overrun},
    {"conv.pack", "writes one value past the packed weights", install_pack_overrun},
    {"conv.pack", "weight_tap ignored", install_pack_tap_order},
    {"conv.pack", "a part in the middle forgets its last panel", install_pack_parts},
    {"conv.weight_grad", "last pixel missing", install_weight_grad_last_pixel},
    {"conv.weight_grad", "first row doubled where the range begins off a tile", install_weight_grad_cut},
    {"conv_pooled.pack", "kernel of a true convolution not turned", install_pooled_pack_unturned},
    {"conv_pooled.weight_grad", "last of several images missing", install_pooled_weight_grad_last_image},
    {"conv_pooled.input_grad", "last value wrong", install_pooled_input_grad_last_value},
    {"pool.max", "ties go to the last", install_max_last_tie},
    {"pool.max", "index off by one", install_max_index_off},
    {"pool.max_grad", "last window of a row missing", install_max_grad_one_window},
    {"pool.average", "padding counted", install_average_padding},
    {"pool.average_grad", "divides by the whole window at the edge", install_average_grad_no_edge},
    {"contrast.blur", "the transpose as the blur itself", install_blur_not_transposed},
    {"contrast.blur_subtract", "a row too few in the ring", install_blur_no_ring},
    {"contrast.squares", "last map of the last pixel missing", install_squares_last_map},
    {"contrast.scale", "second product missing", install_scale_no_second},
    {"contrast.divide", "c ignored", install_divide_by_sigma},
    {"contrast.below_dot", "ties left out", install_below_dot_tie},
    {"contrast.local", "window turned round", install_local_window_turned},
    {"contrast.local_grad", "window of the forward pass", install_local_grad_window},
    {"contrast.power", "worse than stated", install_power_rough},
    {"pointwise.relu", "NaN swallowed", install_relu_no_nan},
    {"pointwise.relu_grad", "reads one value past the end", install_relu_grad_reads_on},
    {"pointwise.tanh", "a few ULP worse than stated", install_tanh_rough},
    {"pointwise.softplus", "overflows", install_softplus_overflows},
    {"pointwise.gelu", "tanh's approximation", install_gelu_by_tanh},
    {"pointwise.erf", "a few ULP worse than stated", install_erf_rough},
    {"pointwise.elu", "cancels near zero", install_elu_cancels},
    {"pointwise.abs_grad", "1 at zero", install_abs_grad_at_zero},
    {"pointwise.silu_grad", "second term missing", install_silu_grad_short},
    {"pointwise.prelu_grad", "slope's gradient counts positive inputs", install_prelu_grad_all},
    {"softmax.log_softmax", "logarithm of a softmax that is 0", install_log_softmax_no_max},
    {"softmax.soft_cross_entropy", "targets taken to sum to 1", install_soft_cross_entropy_weight},
    {"softmax.entropy", "infinite where a probability is 0", install_entropy_of_zero},
    {"pointwise.linear", "one rounding instead of two", install_linear_fused},
    {"pointwise.add", "writes one value past the end", install_add_writes_on},
    {"pointwise.mul", "writes its input", install_mul_writes_input},
    {"pointwise.gain", "writes between the pixels", install_gain_fills_gap},
    {"pointwise.dropout", "mask depends on where the call begins", install_dropout_cut},
    {"pointwise.dropout", "carry into the counter's upper word lost", install_dropout_carry},
    {"softmax.softmax", "maximum not subtracted", install_softmax_no_max},
    {"softmax.cross_entropy", "smoothing ignored", install_cross_entropy_no_smoothing},
    {"reduce.sum", "the last terms of a long sum lost", install_sum_loses_tail},
    {"reduce.sum_rows", "added from the last pixel to the first", install_sum_rows_backwards},
    {"optimizer.sgd", "weight decay ignored", install_sgd_no_decay},
    {"optimizer.nesterov", "plain momentum", install_nesterov_as_momentum},
    {"optimizer.adam", "bias correction missing", install_adam_no_correction},
    {"convert.transpose", "last value of a tail wrong", install_transpose_tail},
    {"convert.u8_to_real", "bytes taken as signed", install_u8_signed},
};

static fv_check_job make_job(const fv_check_options *o, const char *slot, const fv_kernels *k,
                             const fv_kernels *scalar) {
    fv_check_job job = {.isa = "broken", .candidate = k, .reference = scalar, .cases = o->cases, .stop_at = 1};
    for (size_t i = 0; i < fv_check_slot_count; i++)
        if (strcmp(fv_check_slots[i].name, slot) == 0) job.slot = &fv_check_slots[i];
    return job;
}

/* Caught, and the good kernel is not: else the catch proves nothing. */
static bool is_caught(const fv_check_options *o, const fault *f, const fv_kernels *scalar, fv_check_memory *memory,
                      uint64_t *cases) {
    fv_check_options silent = *o;
    silent.print = NULL;
    fv_kernels broken = *good;
    f->install(&broken);
    fv_check_job bad = make_job(o, f->slot, &broken, scalar), sound = make_job(o, f->slot, good, scalar);
    fv_check_do_job(&silent, &bad, memory);
    sound.cases = bad.done;
    fv_check_do_job(&silent, &sound, memory);
    *cases += bad.done;
    const bool caught = bad.failures > 0 && sound.failures == 0;
    if (caught && o->quiet) return true;
    fv_check_print(o, "%-22s %-52s %s %llu", f->slot, f->name,
                   caught           ? "caught in case"
                   : sound.failures ? "PROVES NOTHING: the good kernel fails in case"
                                    : "NOT CAUGHT in cases",
                   (unsigned long long)(caught           ? bad.done - 1
                                        : sound.failures ? sound.done - 1
                                                         : bad.done));
    return caught;
}

fv_check_result fv_check_self_test(const fv_check_options *options, fv_check_report *report) {
    fv_kernels table, scalar;
    fv_check_memory *memory;
    fv_check_report r = {0};
    if (report) *report = r;
    fv_kernels_init_scalar(&scalar);
    if (!fv_kernels_for(options->isa ? options->isa : fv_isa_best(), &table)) return FV_CHECK_NOTHING;
    if (!fv_check_memory_create(&memory)) return FV_CHECK_NO_MEMORY;
    good = &table;
    fv_check_signals_begin();
    for (size_t i = 0; i < FV_ARRAY_SIZE(faults); i++) {
        const fv_check_slot named = {.name = faults[i].slot};
        if (!fv_check_slot_matches(&named, options->op)) continue;
        r.slots++;
        if (options->progress) options->progress(options->user, (double)i / (double)FV_ARRAY_SIZE(faults));
        r.mismatches += !is_caught(options, &faults[i], &scalar, memory, &r.cases);
    }
    fv_check_signals_end();
    good = NULL;
    fv_check_memory_free(memory);
    if (report) *report = r;
    return r.mismatches ? FV_CHECK_MISMATCH : r.cases == 0 ? FV_CHECK_NOTHING : FV_CHECK_AGREE;
}
