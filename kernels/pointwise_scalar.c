#include "kernels/kernels.h"
#include "kernels/philox.h"
#include "kernels/scalar_math.h"

/* A comparison that NaN fails leaves NaN in its place: x < 0 ? 0 : x. */
static void relu_scalar(const fv_real *x, fv_real *y, size_t n, fv_real a, fv_real b) {
    (void)a, (void)b;
    for (size_t i = 0; i < n; i++) y[i] = x[i] < 0 ? 0 : x[i];
}

static void sigmoid_scalar(const fv_real *x, fv_real *y, size_t n, fv_real a, fv_real b) {
    (void)a, (void)b;
    for (size_t i = 0; i < n; i++) y[i] = fv_sigmoid(x[i]);
}

static void tanh_scalar(const fv_real *x, fv_real *y, size_t n, fv_real a, fv_real b) {
    (void)a, (void)b;
    for (size_t i = 0; i < n; i++) y[i] = fv_tanh(x[i]);
}

static void exp_scalar(const fv_real *x, fv_real *y, size_t n, fv_real a, fv_real b) {
    (void)a, (void)b;
    for (size_t i = 0; i < n; i++) y[i] = fv_exp(x[i]);
}

static void clamp_scalar(const fv_real *x, fv_real *y, size_t n, fv_real a, fv_real b) {
    for (size_t i = 0; i < n; i++) {
        const fv_real low = x[i] < a ? a : x[i];
        y[i] = low > b ? b : low;
    }
}

static void linear_scalar(const fv_real *x, fv_real *y, size_t n, fv_real a, fv_real b) {
    for (size_t i = 0; i < n; i++) y[i] = x[i] * a + b;
}

static void relu_grad_scalar(const fv_real *y, const fv_real *dy, fv_real *dx, size_t n, fv_real a, fv_real b) {
    (void)a, (void)b;
    for (size_t i = 0; i < n; i++) dx[i] = y[i] > 0 ? dy[i] : 0;
}

static void sigmoid_grad_scalar(const fv_real *y, const fv_real *dy, fv_real *dx, size_t n, fv_real a, fv_real b) {
    (void)a, (void)b;
    for (size_t i = 0; i < n; i++) dx[i] = dy[i] * (y[i] * (1 - y[i]));
}

static void tanh_grad_scalar(const fv_real *y, const fv_real *dy, fv_real *dx, size_t n, fv_real a, fv_real b) {
    (void)a, (void)b;
    for (size_t i = 0; i < n; i++) dx[i] = dy[i] * (1 - y[i] * y[i]);
}

static void exp_grad_scalar(const fv_real *y, const fv_real *dy, fv_real *dx, size_t n, fv_real a, fv_real b) {
    (void)a, (void)b;
    for (size_t i = 0; i < n; i++) dx[i] = dy[i] * y[i];
}

static void clamp_grad_scalar(const fv_real *y, const fv_real *dy, fv_real *dx, size_t n, fv_real a, fv_real b) {
    for (size_t i = 0; i < n; i++) dx[i] = y[i] > a && y[i] < b ? dy[i] : 0;
}

static void linear_grad_scalar(const fv_real *kept, const fv_real *dy, fv_real *dx, size_t n, fv_real a, fv_real b) {
    (void)kept, (void)b;
    for (size_t i = 0; i < n; i++) dx[i] = dy[i] * a;
}

static void add_scalar(const fv_real *x1, const fv_real *x2, fv_real *y, size_t n) {
    for (size_t i = 0; i < n; i++) y[i] = x1[i] + x2[i];
}

static void sub_scalar(const fv_real *x1, const fv_real *x2, fv_real *y, size_t n) {
    for (size_t i = 0; i < n; i++) y[i] = x1[i] - x2[i];
}

static void mul_scalar(const fv_real *x1, const fv_real *x2, fv_real *y, size_t n) {
    for (size_t i = 0; i < n; i++) y[i] = x1[i] * x2[i];
}

static void gain_scalar(const fv_real *x, ptrdiff_t x_pitch, const fv_real *gain, const fv_real *shift, fv_real *y,
                        ptrdiff_t y_pitch, size_t channels, size_t pixels) {
    for (size_t p = 0; p < pixels; p++, x += x_pitch, y += y_pitch)
        for (size_t c = 0; c < channels; c++) y[c] = shift ? x[c] * gain[c] + shift[c] : x[c] * gain[c];
}

static void dropout_scalar(const fv_real *x, fv_real *y, size_t n, uint64_t first, const uint32_t key[2],
                           const uint32_t stream[2], fv_real ratio) {
    const uint32_t threshold = (uint32_t)(ratio * 16777216);
    for (size_t i = 0; i < n; i++) {
        uint32_t words[4];
        fv_philox_block((first + i) / 4, stream, key, words);
        y[i] = words[(first + i) % 4] >> 8 >= threshold ? x[i] / (1 - ratio) : 0;
    }
}

void fv_pointwise_init_scalar(fv_pointwise_kernels *k) {
    *k = (fv_pointwise_kernels){
        .unary = {relu_scalar, sigmoid_scalar, tanh_scalar, exp_scalar, clamp_scalar, linear_scalar},
        .unary_grad = {relu_grad_scalar, sigmoid_grad_scalar, tanh_grad_scalar, exp_grad_scalar, clamp_grad_scalar,
                       linear_grad_scalar},
        .binary = {add_scalar, sub_scalar, mul_scalar},
        .gain = gain_scalar,
        .dropout = dropout_scalar,
    };
}
