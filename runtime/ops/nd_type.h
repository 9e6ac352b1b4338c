/* Elements of general tensors by their type: what operators of many types share where speed does not ask for a loop of its own.
 */
#ifndef FV_OPS_ND_TYPE_H
#define FV_OPS_ND_TYPE_H

#include "ops/nd.h"

#include <string.h>

static inline bool fv_nd_is_float(fv_dtype t) { return t == FV_F32 || t == FV_F64; }
/* Types that are computed with: all but bool and float16. */
static inline bool fv_nd_is_number(fv_dtype t) { return t != FV_BOOL && t != FV_F16; }

/* An integer (unsigned 64-bit ones as their bits), or a condition. */
static inline int64_t fv_nd_integer(fv_dtype t, const void *data, ptrdiff_t i) {
    switch (t) {
    case FV_I32:
        return ((const int32_t *)data)[i];
    case FV_U8:
    case FV_BOOL:
        return ((const uint8_t *)data)[i];
    case FV_I8:
        return ((const int8_t *)data)[i];
    case FV_I16:
        return ((const int16_t *)data)[i];
    case FV_U16:
        return ((const uint16_t *)data)[i];
    case FV_U32:
        return ((const uint32_t *)data)[i];
    default:
        return ((const int64_t *)data)[i];
    }
}

static inline double fv_nd_number(fv_dtype t, const void *data, ptrdiff_t i) {
    if (t == FV_F32) return (double)((const float *)data)[i];
    if (t == FV_F64) return ((const double *)data)[i];
    if (t == FV_U64) return (double)((const uint64_t *)data)[i];
    return (double)fv_nd_integer(t, data, i);
}

/* Wraps to the type. */
static inline void fv_nd_set_integer(fv_dtype t, void *data, ptrdiff_t i, int64_t v) {
    switch (t) {
    case FV_I32:
    case FV_U32:
        ((uint32_t *)data)[i] = (uint32_t)v;
        break;
    case FV_U8:
    case FV_I8:
    case FV_BOOL:
        ((uint8_t *)data)[i] = (uint8_t)v;
        break;
    case FV_I16:
    case FV_U16:
        ((uint16_t *)data)[i] = (uint16_t)v;
        break;
    default:
        ((uint64_t *)data)[i] = (uint64_t)v;
        break;
    }
}

/* Nearest integer toward zero for integer types; 0 for what is none. */
static inline void fv_nd_set_number(fv_dtype t, void *data, ptrdiff_t i, double v) {
    if (t == FV_F32)
        ((float *)data)[i] = (float)v;
    else if (t == FV_F64)
        ((double *)data)[i] = v;
    else
        fv_nd_set_integer(t, data, i, v > -9.2e18 && v < 9.2e18 ? (int64_t)v : 0);
}

/* An integer in the order of the type's values: NaN above all else, -0 as 0. */
static inline int64_t fv_nd_key(fv_dtype t, const void *data, ptrdiff_t i) {
    if (t == FV_U64) return (int64_t)(((const uint64_t *)data)[i] ^ (uint64_t)1 << 63);
    if (!fv_nd_is_float(t)) return fv_nd_integer(t, data, i);
    const double v = fv_nd_number(t, data, i);
    int64_t bits;
    if (v != v) return INT64_MAX;
    if (v == 0) return 0;
    memcpy(&bits, &v, sizeof bits);
    return bits >= 0 ? bits : INT64_MIN - bits; /* of -x: minus the key of x */
}

/* An index read in the run: int32 or int64; negative ones count from the end, those outside go to the nearest end. size > 0. */
static inline ptrdiff_t fv_nd_index(fv_dtype t, const void *data, ptrdiff_t i, int64_t size) {
    int64_t at = fv_nd_integer(t, data, i);
    if (at < 0) at = at < -size ? 0 : at + size;
    return (ptrdiff_t)(at >= size ? size - 1 : at);
}

static inline bool fv_nd_is_index(fv_dtype t) { return t == FV_I32 || t == FV_I64; }

/* Data of a constant, NULL for what a run gives. */
static inline const void *fv_nd_constant(const fv_value_info *v) {
    return v->kind == FV_VALUE_PARAMETER && !v->trainable ? v->data : NULL;
}

#endif
