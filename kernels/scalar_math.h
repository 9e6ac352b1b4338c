/* exp, log, tanh and sigmoid as plain C. In float they are our own, so that the C library and its CPU dispatch never
 * reach stored bits; the algorithms are those of Moshier's Cephes (single precision). The double build takes libm: it
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
static inline fv_real fv_sqrt(fv_real x) { return sqrt(x); }
static inline fv_real fv_abs(fv_real x) { return fabs(x); }

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

/* exp(x) = 2^n e^r with |r| <= ln2/2. Adding 1.5*2^23 rounds to an integer that stands in the low bits. 2^n is applied
 * in two halves, so that results below 2^-126 and the step to infinity come out right. */
static inline float fv_exp(float x) {
    const float magic = 12582912.0f;
    const float c = x < -104.0f ? -104.0f : x > 89.0f ? 89.0f : x;
    const float t = c * 1.44269504f + magic;
    const float n = t - magic;
    const float r = (c - n * 0.693359375f) - n * -2.12194440e-4f;
    float p = 1.9875691500e-4f;
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = (p * (r * r) + r) + 1.0f;
    const int32_t exponent = (int32_t)(fv_bits(t) - fv_bits(magic));
    const int32_t half = exponent >> 1;
    return p * fv_from_bits((uint32_t)(half + 127) << 23) * fv_from_bits((uint32_t)(exponent - half + 127) << 23);
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
    y += -2.12194440e-4f * (float)e;
    y += -0.5f * z;
    return (m + y) + 0.693359375f * (float)e;
}

static inline float fv_abs(float x) { return fv_from_bits(fv_bits(x) & 0x7fffffffu); }
static inline float fv_sqrt(float x) { return sqrtf(x); }

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

/* Of e^-|x|, which never overflows. */
static inline float fv_sigmoid(float x) {
    const float e = fv_exp(-fv_abs(x));
    return (x < 0 ? e : 1.0f) / (1.0f + e);
}

#endif
#endif
