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

/* ---- kinds whose gradient reads the input ---- */

static void softplus_scalar(const fv_real *x, fv_real *y, size_t n, fv_real k, fv_real b) {
    (void)b;
    for (size_t i = 0; i < n; i++) y[i] = (x[i] < 0 ? 0 : x[i]) + fv_log1p_unit(fv_exp(-fv_abs(k * x[i]))) / k;
}

static void smooth_abs_scalar(const fv_real *x, fv_real *y, size_t n, fv_real k, fv_real b) {
    (void)b;
    for (size_t i = 0; i < n; i++) y[i] = fv_abs(x[i]) + fv_log_mean(-fv_abs(k * x[i])) * (2 / k);
}

static void abs_scalar(const fv_real *x, fv_real *y, size_t n, fv_real a, fv_real b) {
    (void)a, (void)b;
    for (size_t i = 0; i < n; i++) y[i] = fv_abs(x[i]);
}

static void leaky_relu_scalar(const fv_real *x, fv_real *y, size_t n, fv_real a, fv_real b) {
    (void)b;
    for (size_t i = 0; i < n; i++) y[i] = x[i] > 0 ? x[i] : a * x[i];
}

static void elu_scalar(const fv_real *x, fv_real *y, size_t n, fv_real a, fv_real b) {
    for (size_t i = 0; i < n; i++) y[i] = b * (x[i] > 0 ? x[i] : a * fv_expm1_below(x[i]));
}

static void erf_scalar(const fv_real *x, fv_real *y, size_t n, fv_real a, fv_real b) {
    (void)a, (void)b;
    for (size_t i = 0; i < n; i++) y[i] = fv_erf(x[i]);
}

/* Half of 1 + erf(x/sqrt 2): the normal distribution. */
static fv_real normal(fv_real x) { return (fv_real)0.5 + (fv_real)0.5 * fv_erf(x * (fv_real)0.707106781186547524); }

static void gelu_scalar(const fv_real *x, fv_real *y, size_t n, fv_real a, fv_real b) {
    (void)a, (void)b;
    for (size_t i = 0; i < n; i++) y[i] = x[i] * normal(x[i]);
}

/* 1/2 (1 + tanh w) = sigmoid(2w): 2 sqrt(2/pi) is taken in. */
static const fv_real gelu_scale = (fv_real)1.59576912160573071, gelu_cube = (fv_real)0.044715;

static fv_real gelu_tanh_argument(fv_real x) { return gelu_scale * (x + gelu_cube * (x * (x * x))); }

static void gelu_tanh_scalar(const fv_real *x, fv_real *y, size_t n, fv_real a, fv_real b) {
    (void)a, (void)b;
    for (size_t i = 0; i < n; i++) y[i] = x[i] * fv_sigmoid(gelu_tanh_argument(x[i]));
}

static void silu_scalar(const fv_real *x, fv_real *y, size_t n, fv_real a, fv_real b) {
    (void)a, (void)b;
    for (size_t i = 0; i < n; i++) y[i] = x[i] * fv_sigmoid(x[i]);
}

/* tanh(ln(1+e^x)) = over/(over + rest) without cancellation or overflow, of e = e^-|x|. */
typedef struct mish_parts {
    fv_real e, over, rest;
} mish_parts;

static mish_parts mish_of(fv_real x) {
    const fv_real e = fv_exp(-fv_abs(x));
    return (mish_parts){e, x < 0 ? e * (e + 2) : e + e + 1, x < 0 ? 2 : 2 * (e * e)};
}

static void mish_scalar(const fv_real *x, fv_real *y, size_t n, fv_real a, fv_real b) {
    (void)a, (void)b;
    for (size_t i = 0; i < n; i++) {
        const mish_parts m = mish_of(x[i]);
        y[i] = x[i] * (m.over / (m.over + m.rest));
    }
}

static fv_real clamped(fv_real x, fv_real low, fv_real high) { return x < low ? low : x > high ? high : x; }

static void hard_sigmoid_scalar(const fv_real *x, fv_real *y, size_t n, fv_real a, fv_real b) {
    for (size_t i = 0; i < n; i++) y[i] = clamped(a * x[i] + b, 0, 1);
}

static void hard_swish_scalar(const fv_real *x, fv_real *y, size_t n, fv_real a, fv_real b) {
    (void)a, (void)b;
    for (size_t i = 0; i < n; i++) y[i] = x[i] * clamped(x[i] * (fv_real)(1.0 / 6) + (fv_real)0.5, 0, 1);
}

static void softsign_scalar(const fv_real *x, fv_real *y, size_t n, fv_real a, fv_real b) {
    (void)a, (void)b;
    for (size_t i = 0; i < n; i++) y[i] = x[i] / (1 + fv_abs(x[i]));
}

static void softplus_grad_scalar(const fv_real *x, const fv_real *dy, fv_real *dx, size_t n, fv_real k, fv_real b) {
    (void)b;
    for (size_t i = 0; i < n; i++) dx[i] = dy[i] * fv_sigmoid(k * x[i]);
}

static void smooth_abs_grad_scalar(const fv_real *x, const fv_real *dy, fv_real *dx, size_t n, fv_real k, fv_real b) {
    (void)b;
    for (size_t i = 0; i < n; i++) dx[i] = dy[i] * fv_tanh(k * (fv_real)0.5 * x[i]);
}

static void abs_grad_scalar(const fv_real *x, const fv_real *dy, fv_real *dx, size_t n, fv_real a, fv_real b) {
    (void)a, (void)b;
    for (size_t i = 0; i < n; i++) dx[i] = x[i] > 0 ? dy[i] : x[i] < 0 ? -dy[i] : 0;
}

static void leaky_relu_grad_scalar(const fv_real *x, const fv_real *dy, fv_real *dx, size_t n, fv_real a, fv_real b) {
    (void)b;
    for (size_t i = 0; i < n; i++) dx[i] = x[i] > 0 ? dy[i] : a * dy[i];
}

static void elu_grad_scalar(const fv_real *x, const fv_real *dy, fv_real *dx, size_t n, fv_real a, fv_real b) {
    for (size_t i = 0; i < n; i++) dx[i] = dy[i] * (b * (x[i] > 0 ? 1 : a * fv_exp(x[i])));
}

static void erf_grad_scalar(const fv_real *x, const fv_real *dy, fv_real *dx, size_t n, fv_real a, fv_real b) {
    (void)a, (void)b;
    for (size_t i = 0; i < n; i++) dx[i] = dy[i] * ((fv_real)1.12837916709551257 * fv_exp(-(x[i] * x[i])));
}

/* Past +-20 every one of these slopes is 0 or 1 in float. */
static fv_real near(fv_real x) { return clamped(x, -20, 20); }

static void gelu_grad_scalar(const fv_real *x, const fv_real *dy, fv_real *dx, size_t n, fv_real a, fv_real b) {
    (void)a, (void)b;
    for (size_t i = 0; i < n; i++) {
        const fv_real v = near(x[i]), density = (fv_real)0.398942280401432678 * fv_exp((fv_real)-0.5 * (v * v));
        dx[i] = dy[i] * (normal(v) + v * density);
    }
}

static void gelu_tanh_grad_scalar(const fv_real *x, const fv_real *dy, fv_real *dx, size_t n, fv_real a, fv_real b) {
    (void)a, (void)b;
    for (size_t i = 0; i < n; i++) {
        const fv_real v = near(x[i]), w = gelu_tanh_argument(v), e = fv_exp(-fv_abs(w)), s = 1 + e;
        const fv_real inner = gelu_scale * (3 * gelu_cube * (v * v) + 1);
        dx[i] = dy[i] * ((w < 0 ? e : 1) / s + v * (e / (s * s) * inner));
    }
}

static void silu_grad_scalar(const fv_real *x, const fv_real *dy, fv_real *dx, size_t n, fv_real a, fv_real b) {
    (void)a, (void)b;
    for (size_t i = 0; i < n; i++) {
        const fv_real v = clamped(x[i], -100, 100), e = fv_exp(-fv_abs(v)), s = 1 + e;
        dx[i] = dy[i] * ((v < 0 ? e : 1) / s + v * (e / (s * s)));
    }
}

static void mish_grad_scalar(const fv_real *x, const fv_real *dy, fv_real *dx, size_t n, fv_real a, fv_real b) {
    (void)a, (void)b;
    for (size_t i = 0; i < n; i++) {
        const fv_real v = clamped(x[i], -100, 100);
        const mish_parts m = mish_of(v);
        const fv_real sum = m.over + m.rest, t = m.over / sum, sigmoid = (v < 0 ? m.e : 1) / (1 + m.e);
        dx[i] = dy[i] * (t + v * (m.rest / sum * (1 + t) * sigmoid));
    }
}

static void hard_sigmoid_grad_scalar(const fv_real *y, const fv_real *dy, fv_real *dx, size_t n, fv_real a, fv_real b) {
    (void)b;
    for (size_t i = 0; i < n; i++) dx[i] = y[i] > 0 && y[i] < 1 ? dy[i] * a : 0;
}

static void hard_swish_grad_scalar(const fv_real *x, const fv_real *dy, fv_real *dx, size_t n, fv_real a, fv_real b) {
    (void)a, (void)b;
    for (size_t i = 0; i < n; i++) {
        const fv_real inside = x[i] < 3 ? x[i] * (fv_real)(1.0 / 3) + (fv_real)0.5 : 1;
        dx[i] = dy[i] * (x[i] > -3 ? inside : 0);
    }
}

static void softsign_grad_scalar(const fv_real *x, const fv_real *dy, fv_real *dx, size_t n, fv_real a, fv_real b) {
    (void)a, (void)b;
    for (size_t i = 0; i < n; i++) {
        const fv_real s = 1 + fv_abs(x[i]);
        dx[i] = dy[i] / (s * s);
    }
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

static void prelu_scalar(const fv_real *x, ptrdiff_t x_pitch, const fv_real *slope, fv_real *y, ptrdiff_t y_pitch,
                         size_t channels, size_t pixels) {
    for (size_t p = 0; p < pixels; p++, x += x_pitch, y += y_pitch)
        for (size_t c = 0; c < channels; c++) y[c] = x[c] > 0 ? x[c] : slope[c] * x[c];
}

static void prelu_grad_scalar(const fv_real *x, const fv_real *slope, const fv_real *dy, fv_real *dx, fv_real *dslope,
                              ptrdiff_t pitch, size_t channels, size_t pixels) {
    for (size_t c = 0; c < channels; c++) dslope[c] = 0;
    for (size_t p = 0; p < pixels; p++, x += pitch, dy += pitch, dx += pitch)
        for (size_t c = 0; c < channels; c++) {
            const fv_real g = dy[c];
            if (!(x[c] > 0)) dslope[c] += x[c] * g;
            dx[c] = x[c] > 0 ? g : slope[c] * g;
        }
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
        .unary = {relu_scalar, sigmoid_scalar, tanh_scalar, exp_scalar, clamp_scalar, linear_scalar, softplus_scalar,
                  smooth_abs_scalar, relu_scalar, abs_scalar, leaky_relu_scalar, elu_scalar, erf_scalar, gelu_scalar,
                  gelu_tanh_scalar, silu_scalar, mish_scalar, hard_sigmoid_scalar, hard_swish_scalar, softsign_scalar},
        .unary_grad = {relu_grad_scalar, sigmoid_grad_scalar, tanh_grad_scalar, exp_grad_scalar, clamp_grad_scalar,
                       linear_grad_scalar, softplus_grad_scalar, smooth_abs_grad_scalar, softplus_grad_scalar,
                       abs_grad_scalar, leaky_relu_grad_scalar, elu_grad_scalar, erf_grad_scalar, gelu_grad_scalar,
                       gelu_tanh_grad_scalar, silu_grad_scalar, mish_grad_scalar, hard_sigmoid_grad_scalar,
                       hard_swish_grad_scalar, softsign_grad_scalar},
        .binary = {add_scalar, sub_scalar, mul_scalar},
        .gain = gain_scalar,
        .prelu = prelu_scalar,
        .prelu_grad = prelu_grad_scalar,
        .dropout = dropout_scalar,
    };
}
