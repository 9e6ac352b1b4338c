/* exp, log, tanh, sigmoid, expm1, log1p and erf as plain C. In float they are our own, so that the C library and its CPU
 * dispatch never reach stored bits; the algorithms are those of Moshier's Cephes (single precision). The double build takes libm: it
 * is a reference, its bits are not kept. */
#ifndef FV_KERNELS_SCALAR_MATH_H
#define FV_KERNELS_SCALAR_MATH_H

#include "kernels/base.h"

#include <math.h>
#include <string.h>

#ifdef FV_REAL_F64

static inline fv_real fv_exp(fv_real x) { return exp(x); }
static inline fv_real fv_log(fv_real x) { return log(x); }
static inline fv_real fv_tanh(fv_real x) { return tanh(x); }
static inline fv_real fv_sigmoid(fv_real x) { return x >= 0 ? 1 / (1 + exp(-x)) : exp(x) / (1 + exp(x)); }
static inline fv_real fv_expm1_below(fv_real x) { return expm1(x); }
static inline fv_real fv_log1p_unit(fv_real x) { return log1p(x); }
static inline fv_real fv_log_mean(fv_real x) { return log1p(expm1(x) / 2); }
static inline fv_real fv_erf(fv_real x) { return erf(x); }
static inline fv_real fv_sqrt(fv_real x) { return sqrt(x); }
static inline fv_real fv_abs(fv_real x) { return fabs(x); }
static inline fv_real fv_cbrt(fv_real x) { return cbrt(x); }
static inline fv_real fv_scale_of(fv_real x) { return ldexp(1, -(ilogb(x) < -1022 ? -1022 : ilogb(x))); }

#else

static inline uint32_t fv_bits(float x) {
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

static inline float fv_from_bits(uint32_t bits) {
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* e^r - 1 for |r| <= ln2/2. */
static inline float fv_expm1_reduced(float r) {
    float p = 1.9875691500e-4f;
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    return p * (r * r) + r;
}

/* exp(x) = 2^n e^r with |r| <= ln2/2. Adding 1.5*2^23 rounds to an integer that stands in the low bits. 2^n is applied
 * in two halves, so that results below 2^-126 and the step to infinity come out right. */
static inline float fv_exp(float x) {
    const float magic = 12582912.0f;
    const float c = x < -104.0f ? -104.0f : x > 89.0f ? 89.0f : x;
    const float t = c * 1.44269504f + magic;
    const float n = t - magic;
    const float r = (c - n * 0.693359375f) - n * -2.12194440e-4f;
    const float p = fv_expm1_reduced(r) + 1.0f;
    const int32_t exponent = (int32_t)(fv_bits(t) - fv_bits(magic));
    const int32_t half = exponent >> 1;
    return p * fv_from_bits((uint32_t)(half + 127) << 23) * fv_from_bits((uint32_t)(exponent - half + 127) << 23);
}

/* e^x - 1 for x <= 0: 2^n (e^r - 1) + (2^n - 1), 1.6 ULP. */
static inline float fv_expm1_below(float x) {
    const float magic = 12582912.0f;
    const float c = x < -20.0f ? -20.0f : x;
    const float t = c * 1.44269504f + magic;
    const float n = t - magic;
    const float r = (c - n * 0.693359375f) - n * -2.12194440e-4f;
    const float power = fv_from_bits((uint32_t)((int32_t)(fv_bits(t) - fv_bits(magic)) + 127) << 23);
    return power * fv_expm1_reduced(r) + (power - 1.0f);
}

/* log(1+m) + e ln2 for 1+m in [sqrt(1/2), sqrt(2)). */
static inline float fv_log_reduced(float m, float e) {
    const float z = m * m;
    float y = 7.0376836292e-2f;
    y = y * m - 1.1514610310e-1f;
    y = y * m + 1.1676998740e-1f;
    y = y * m - 1.2420140846e-1f;
    y = y * m + 1.4249322787e-1f;
    y = y * m - 1.6668057665e-1f;
    y = y * m + 2.0000714765e-1f;
    y = y * m - 2.4999993993e-1f;
    y = y * m + 3.3333331174e-1f;
    y = y * m * z;
    y += -2.12194440e-4f * e;
    y += -0.5f * z;
    return (m + y) + 0.693359375f * e;
}

/* log(1+x) for 0 <= x <= 1, as accurate as log: m is exact. */
static inline float fv_log1p_unit(float x) {
    return x < 0.41421356f ? fv_log_reduced(x, 0.0f) : fv_log_reduced((x - 1.0f) * 0.5f, 1.0f);
}

/* ln((1+e^x)/2) for x <= 0, as accurate near zero as x. */
static inline float fv_log_mean(float x) {
    const float q = fv_expm1_below(x), m = 0.5f * q;
    return m > -0.29289322f ? fv_log_reduced(m, 0.0f) : fv_log_reduced(1.0f + q, -1.0f);
}

static inline float fv_log(float x) {
    if (!(x > 0.0f)) return x == 0.0f ? -INFINITY : NAN;
    if (x == INFINITY) return x;
    int32_t e = 0;
    if (x < 1.17549435e-38f) x *= 8388608.0f, e = -23;
    const uint32_t bits = fv_bits(x);
    e += (int32_t)(bits >> 23) - 126;
    float m = fv_from_bits((bits & 0x007fffffu) | 0x3f000000u); /* in [0.5, 1) */
    if (m < 0.707106781f) {
        e--;
        m = m + m - 1.0f;
    } else {
        m = m - 1.0f;
    }
    return fv_log_reduced(m, (float)e);
}

static inline float fv_abs(float x) { return fv_from_bits(fv_bits(x) & 0x7fffffffu); }
static inline float fv_sqrt(float x) { return sqrtf(x); }

/* The power of two that brings a positive x into [1, 2): exactly reciprocal to one; at most 2^126, at least 2^-126. */
static inline float fv_scale_of(float x) {
    const uint32_t exponent = fv_bits(x) >> 23;
    return fv_from_bits((254u - (exponent < 1 ? 1 : exponent > 253 ? 253 : exponent)) << 23);
}

/* Of a positive normal x: r near x^(-1/3) by its bits (3.5 %), one step of the third order, then x r^2 with the next one.
 * 1.5 ULP. */
static inline float fv_cbrt(float x) {
    float r = fv_from_bits((uint32_t)(int32_t)(1419902976.0f - (float)(int32_t)fv_bits(x) * 0.333333343f));
    const float h = 1.0f - x * r * (r * r);
    r = r * h * (h * 0.222222224f + 0.333333343f) + r;
    const float y = x * (r * r), rest = 1.0f - y * r;
    return y * rest * (rest * 0.555555582f + 0.666666687f) + y;
}

static inline float fv_tanh(float x) {
    const float a = fv_abs(x);
    float y;
    if (a < 0.625f) {
        const float z = a * a;
        float p = -5.70498872745e-3f;
        p = p * z + 2.06390887954e-2f;
        p = p * z - 5.37397155531e-2f;
        p = p * z + 1.33314422036e-1f;
        p = p * z - 3.33332819422e-1f;
        y = p * z * a + a;
    } else {
        y = 1.0f - 2.0f / (fv_exp(2.0f * a) + 1.0f);
    }
    return fv_from_bits(fv_bits(y) | (fv_bits(x) & 0x80000000u));
}

/* x + x P(x^2) near zero, 1 - e^Q(|x|) beyond (coefficients: N. Juffa's erff). */
static inline float fv_erf(float x) {
    const float t = fv_abs(x), s = x * x;
    float r;
    if (t > 0.927734375f) {
        const float c = t > 5.0f ? 5.0f : t;
        r = -1.72853470e-5f * c + 3.83197126e-4f;
        r = r * (c * c) + (-3.88396438e-3f * c + 2.42546219e-2f);
        r = r * c - 1.06777877e-1f;
        r = r * c - 6.34846687e-1f;
        r = r * c - 1.28717512e-1f;
        r = 1.0f - fv_exp(r * c - c);
        return fv_from_bits(fv_bits(r) | (fv_bits(x) & 0x80000000u));
    }
    r = -5.96761703e-4f;
    r = r * s + 4.99119423e-3f;
    r = r * s - 2.67681349e-2f;
    r = r * s + 1.12819925e-1f;
    r = r * s - 3.76125336e-1f;
    r = r * s + 1.28379166e-1f;
    return r * x + x;
}

/* Of e^-|x|, which never overflows. */
static inline float fv_sigmoid(float x) {
    const float e = fv_exp(-fv_abs(x));
    return (x < 0 ? e : 1.0f) / (1.0f + e);
}

#endif
#endif
