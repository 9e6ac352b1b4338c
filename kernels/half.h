/* IEEE binary16 in a uint16_t: to float exactly, from float and double rounded once, to nearest and even. */
#ifndef FV_KERNELS_HALF_H
#define FV_KERNELS_HALF_H

#include "kernels/base.h"

#include <string.h>

static inline float fv_half_to_float(uint16_t h) {
    const uint32_t sign = (uint32_t)(h & 0x8000u) << 16, magnitude = h & 0x7fffu;
    uint32_t bits;
    float f;
    if (magnitude >= 0x7c00u) {
        bits = sign | 0x7f800000u | (magnitude & 0x3ffu) << 13;
    } else if (magnitude >= 0x400u) {
        bits = sign | ((magnitude << 13) + 0x38000000u);
    } else {
        f = (float)magnitude * 0x1p-24f;
        return sign ? -f : f;
    }
    memcpy(&f, &bits, sizeof f);
    return f;
}

static inline uint16_t fv_half_from_float(float f) {
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    const uint16_t sign = (uint16_t)(bits >> 16 & 0x8000u);
    bits &= 0x7fffffffu;
    if (bits > 0x7f800000u) return sign | 0x7e00u;
    if (bits >= 0x477ff000u) return sign | 0x7c00u; /* 65520 and above */
    uint32_t value, drop;
    if (bits >= 0x38800000u) {
        value = bits - 0x38000000u;
        drop = 13;
    } else { /* subnormal: units of 2^-24 */
        if (bits < 0x33000000u) return sign;
        value = (bits & 0x7fffffu) | 0x800000u;
        drop = 126 - (bits >> 23);
    }
    const uint32_t half = 1u << (drop - 1), rest = value & ((1u << drop) - 1);
    value >>= drop;
    if (rest > half || (rest == half && (value & 1))) value++;
    return sign | (uint16_t)value;
}

/* Through float rounded to odd, which keeps what decides the second rounding. */
static inline uint16_t fv_half_from_double(double d) {
    float f = (float)d;
    if ((double)f != d && f == f) {
        uint32_t bits;
        memcpy(&bits, &f, sizeof bits);
        if ((f < 0 ? -(double)f : (double)f) > (d < 0 ? -d : d)) bits--;
        bits |= 1;
        memcpy(&f, &bits, sizeof f);
    }
    return fv_half_from_float(f);
}

#endif
