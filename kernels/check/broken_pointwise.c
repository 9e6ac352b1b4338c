/* Broken element-wise kernels, losses, sums, updates and changes of layout. */
#include "kernels/check/broken.h"

static volatile float sink;

/* ---- element-wise ---- */

static void relu_no_nan(const float *x, float *y, size_t n, float a, float b) {
    (void)a, (void)b;
    for (size_t i = 0; i < n; i++) y[i] = x[i] > 0 ? x[i] : 0;
}

static void relu_grad_reads_on(const float *y, const float *dy, float *dx, size_t n, float a, float b) {
    sink = dy[n];
    fv_check_good->pointwise.unary_grad[FV_UNARY_RELU](y, dy, dx, n, a, b);
}

static void tanh_rough(const float *x, float *y, size_t n, float a, float b) {
    fv_check_good->pointwise.unary[FV_UNARY_TANH](x, y, n, a, b);
    for (size_t i = 0; i < n; i++) y[i] *= 1.0000004f;
}

static void softplus_overflows(const float *x, float *y, size_t n, float k, float b) {
    (void)b;
    for (size_t i = 0; i < n; i++) y[i] = logf(1 + expf(k * x[i])) / k;
}

static void gelu_by_tanh(const float *x, float *y, size_t n, float a, float b) {
    fv_check_good->pointwise.unary[FV_UNARY_GELU_TANH](x, y, n, a, b);
}

static void erf_rough(const float *x, float *y, size_t n, float a, float b) {
    fv_check_good->pointwise.unary[FV_UNARY_ERF](x, y, n, a, b);
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
    fv_check_good->pointwise.unary[FV_UNARY_SIGMOID](x, dx, n, a, b);
    fv_check_good->pointwise.binary[FV_BINARY_MUL](dx, dy, dx, n);
}

static void prelu_grad_all(const float *x, const float *slope, const float *dy, float *dx, float *dslope,
                           ptrdiff_t pitch, size_t channels, size_t pixels) {
    fv_check_good->reduce.dot_rows(x, pitch, dy, pitch, pixels, channels, dslope);
    float sum[512];
    if (channels <= 512) fv_check_good->pointwise.prelu_grad(x, slope, dy, dx, sum, pitch, channels, pixels);
}

static void linear_fused(const float *x, float *y, size_t n, float a, float b) {
    for (size_t i = 0; i < n; i++) y[i] = (float)((double)x[i] * a + b);
}

static void add_writes_on(const float *x1, const float *x2, float *y, size_t n) {
    fv_check_good->pointwise.binary[FV_BINARY_ADD](x1, x2, y, n);
    y[n] = 0;
}

static void mul_writes_input(const float *x1, const float *x2, float *y, size_t n) {
    fv_check_good->pointwise.binary[FV_BINARY_MUL](x1, x2, y, n);
    if (x2 != y) ((float *)x2)[0] = y[0];
}

static void gain_fills_gap(const float *x, ptrdiff_t x_pitch, const float *gain, const float *shift, float *y,
                           ptrdiff_t y_pitch, size_t channels, size_t pixels) {
    fv_check_good->pointwise.gain(x, x_pitch, gain, shift, y, y_pitch, channels, pixels);
    if (pixels > 1 && y_pitch > (ptrdiff_t)channels) y[channels] = 0;
}

static void dropout_cut(const float *x, float *y, size_t n, uint64_t first, const uint32_t key[2],
                        const uint32_t stream[2], float ratio) {
    fv_check_good->pointwise.dropout(x, y, n, first / 4 * 4, key, stream, ratio);
}

static void dropout_carry(const float *x, float *y, size_t n, uint64_t first, const uint32_t key[2],
                          const uint32_t stream[2], float ratio) {
    fv_check_good->pointwise.dropout(x, y, n, first & (((uint64_t)1 << 34) - 1), key, stream, ratio);
}

/* ---- losses, sums, updates, layout ---- */

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
    fv_check_good->softmax.cross_entropy(x, label, loss, dx, classes, 0, scale, rows);
}

static void log_softmax_no_max(const float *x, float *y, size_t classes, fv_range rows) {
    fv_check_good->softmax.softmax(x, y, classes, rows);
    for (size_t i = rows.begin * classes; i < rows.end * classes; i++) y[i] = logf(y[i]);
}

static void soft_cross_entropy_weight(const float *x, const float *target, float *loss, float *dx, size_t classes,
                                      float smoothing, float scale, fv_range rows) {
    fv_check_good->softmax.soft_cross_entropy(x, target, loss, dx, classes, smoothing, scale, rows);
    if (!dx) return;
    fv_check_good->softmax.softmax(x, dx, classes, rows);
    for (size_t i = rows.begin * classes; i < rows.end * classes; i++) dx[i] = (dx[i] - target[i]) * scale;
}

static void entropy_of_zero(const float *y, const int32_t *label, const float *target, float *loss, float *dx,
                            size_t classes, float smoothing, float scale, fv_range rows) {
    fv_check_good->softmax.entropy(y, label, target, loss, dx, classes, smoothing, scale, rows);
    for (size_t r = rows.begin; label && smoothing == 0 && r < rows.end; r++)
        if (y != dx) loss[r] = -logf(y[r * classes + (size_t)label[r]]);
}

static float sum_loses_tail(const float *x, size_t n) { return fv_check_good->reduce.sum(x, n > 64 ? n - n % 8 : n); }

static void sum_rows_backwards(const float *x, ptrdiff_t pitch, size_t pixels, size_t channels, float *y) {
    if (pixels == 0)
        fv_check_good->reduce.sum_rows(x, pitch, pixels, channels, y);
    else
        fv_check_good->reduce.sum_rows(x + (ptrdiff_t)(pixels - 1) * pitch, -pitch, pixels, channels, y);
}

static void adam_no_correction(const fv_update *u, const float *g, float *w, float *m, float *v, size_t n) {
    fv_update other = *u;
    other.correction1 = other.correction2 = 1;
    fv_check_good->optimizer.adam(&other, g, w, m, v, n);
}

static void sgd_no_decay(const fv_update *u, const float *g, float *w, float *m, float *v, size_t n) {
    fv_update other = *u;
    other.weight_decay = 0;
    fv_check_good->optimizer.sgd(&other, g, w, m, v, n);
}

static void nesterov_as_momentum(const fv_update *u, const float *g, float *w, float *m, float *v, size_t n) {
    fv_check_good->optimizer.momentum(u, g, w, m, v, n);
}

static void transpose_tail(const float *x, ptrdiff_t x_pitch, float *y, ptrdiff_t y_pitch, size_t columns,
                           fv_range rows) {
    fv_check_good->convert.transpose(x, x_pitch, y, y_pitch, columns, rows);
    if (rows.end % 8 && columns % 8) y[(ptrdiff_t)(columns - 1) * y_pitch + (ptrdiff_t)rows.end - 1] = x[0];
}

static void u8_signed(const uint8_t *x, float *y, size_t pixels, size_t channels, const float *scale,
                      const float *shift) {
    for (size_t i = 0; i < pixels * channels; i++)
        y[i] = (float)(int8_t)x[i] * scale[i % channels] + shift[i % channels];
}

/* ---- the list ---- */

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
INSTALL(sgd_no_decay, optimizer.sgd)
INSTALL(nesterov_as_momentum, optimizer.nesterov)
INSTALL(adam_no_correction, optimizer.adam)
INSTALL(transpose_tail, convert.transpose)
INSTALL(u8_signed, convert.u8_to_real)

const fv_check_fault fv_check_broken_pointwise[] = {
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
    {NULL, NULL, NULL},
};
