/* The thin vector wrapper of NEON: four floats. The same names as kernels/avx2/vec_avx2.h. */
#ifndef FV_KERNELS_VEC_NEON_H
#define FV_KERNELS_VEC_NEON_H

#include "kernels/base.h"

#include <arm_neon.h>
#include <string.h>

enum { VW = 4 };
typedef float32x4_t vf;
typedef uint32x4_t vm;
typedef int32x4_t vi;

static inline vf v_load(const float *p) { return vld1q_f32(p); }
static inline void v_store(float *p, vf a) { vst1q_f32(p, a); }
static inline vf v_load_part(const float *p, size_t n) {
    vf a = vdupq_n_f32(0);
    if (n > 0) a = vld1q_lane_f32(p, a, 0);
    if (n > 1) a = vld1q_lane_f32(p + 1, a, 1);
    if (n > 2) a = vld1q_lane_f32(p + 2, a, 2);
    if (n > 3) a = vld1q_lane_f32(p + 3, a, 3);
    return a;
}
static inline void v_store_part(float *p, vf a, size_t n) {
    if (n > 0) vst1q_lane_f32(p, a, 0);
    if (n > 1) vst1q_lane_f32(p + 1, a, 1);
    if (n > 2) vst1q_lane_f32(p + 2, a, 2);
    if (n > 3) vst1q_lane_f32(p + 3, a, 3);
}
static inline vf v_keep(vf a, size_t n, vf rest) {
    static const uint32_t lane[4] = {0, 1, 2, 3};
    return vbslq_f32(vcltq_u32(vld1q_u32(lane), vdupq_n_u32((uint32_t)n)), a, rest);
}
static inline vf v_held(vf a) { return a; }
static inline vf v_set(float x) { return vdupq_n_f32(x); }
static inline vf v_zero(void) { return vdupq_n_f32(0); }
static inline vf v_add(vf a, vf b) { return vaddq_f32(a, b); }
static inline vf v_sub(vf a, vf b) { return vsubq_f32(a, b); }
static inline vf v_mul(vf a, vf b) { return vmulq_f32(a, b); }
static inline vf v_div(vf a, vf b) { return vdivq_f32(a, b); }
static inline vf v_fma(vf a, vf b, vf c) { return vfmaq_f32(c, a, b); }
static inline vf v_sqrt(vf a) { return vsqrtq_f32(a); }
static inline vf v_at_least(vf x, vf low) { return vbslq_f32(vcltq_f32(x, low), low, x); }
static inline vf v_at_most(vf x, vf high) { return vbslq_f32(vcgtq_f32(x, high), high, x); }
static inline vf v_abs(vf a) { return vabsq_f32(a); }
static inline vf v_sign(vf a) {
    return vreinterpretq_f32_u32(vandq_u32(vreinterpretq_u32_f32(a), vdupq_n_u32(0x80000000u)));
}
static inline vf v_or(vf a, vf b) {
    return vreinterpretq_f32_u32(vorrq_u32(vreinterpretq_u32_f32(a), vreinterpretq_u32_f32(b)));
}
static inline vm v_lt(vf a, vf b) { return vcltq_f32(a, b); }
static inline vm v_not_below(vf a, vf b) { return vcgeq_f32(a, b); }
static inline vm v_gt(vf a, vf b) { return vcgtq_f32(a, b); }
static inline vm v_eq(vf a, vf b) { return vceqq_f32(a, b); }
/* a > b, or a is NaN and b is not. */
static inline vm v_beats(vf a, vf b) { return vbicq_u32(vceqq_f32(b, b), vcleq_f32(a, b)); }
static inline vm v_both(vm a, vm b) { return vandq_u32(a, b); }
static inline vm v_either(vm a, vm b) { return vorrq_u32(a, b); }
static inline vf v_select(vm m, vf yes, vf no) { return vbslq_f32(m, yes, no); }
/* Lane i as bit i. */
static inline unsigned v_lanes(vm m) {
    static const uint32_t bit[4] = {1, 2, 4, 8};
    return vaddvq_u32(vandq_u32(m, vld1q_u32(bit)));
}
static inline vf v_where(vm m, vf a) { return vreinterpretq_f32_u32(vandq_u32(m, vreinterpretq_u32_f32(a))); }

static inline vi vi_set(int32_t x) { return vdupq_n_s32(x); }
static inline vi vi_load(const int32_t *p) { return vld1q_s32(p); }
static inline vi vi_load_part(const int32_t *p, size_t n) {
    vi a = vdupq_n_s32(0);
    if (n > 0) a = vld1q_lane_s32(p, a, 0);
    if (n > 1) a = vld1q_lane_s32(p + 1, a, 1);
    if (n > 2) a = vld1q_lane_s32(p + 2, a, 2);
    if (n > 3) a = vld1q_lane_s32(p + 3, a, 3);
    return a;
}
static inline void vi_store(int32_t *p, vi a) { vst1q_s32(p, a); }
static inline void vi_store_part(int32_t *p, vi a, size_t n) {
    if (n > 0) vst1q_lane_s32(p, a, 0);
    if (n > 1) vst1q_lane_s32(p + 1, a, 1);
    if (n > 2) vst1q_lane_s32(p + 2, a, 2);
    if (n > 3) vst1q_lane_s32(p + 3, a, 3);
}
static inline vi vi_add(vi a, vi b) { return vaddq_s32(a, b); }
static inline vi vi_sub(vi a, vi b) { return vsubq_s32(a, b); }
static inline vi vi_max(vi a, vi b) { return vmaxq_s32(a, b); }
static inline vi vi_xor(vi a, vi b) { return veorq_s32(a, b); }
static inline vi vi_and(vi a, vi b) { return vandq_s32(a, b); }
static inline vi vi_or(vi a, vi b) { return vorrq_s32(a, b); }
static inline vi vi_exponent(vi a) { return vshrq_n_s32(a, 23); } /* of bits without a sign */
static inline vi vi_half(vi a) { return vshrq_n_s32(a, 1); }
static inline vm vi_eq(vi a, vi b) { return vceqq_s32(a, b); }
static inline vi vi_select(vm m, vi yes, vi no) { return vbslq_s32(m, yes, no); }
static inline vi v_bits(vf a) { return vreinterpretq_s32_f32(a); }
static inline vf vi_floats(vi a) { return vreinterpretq_f32_s32(a); }
static inline vf vi_to_float(vi a) { return vcvtq_f32_s32(a); }
static inline vi v_to_int(vf a) { return vcvtq_s32_f32(a); } /* of whole numbers */
static inline vf vi_power_of_two(vi n) {
    return vreinterpretq_f32_s32(vshlq_n_s32(vaddq_s32(n, vdupq_n_s32(127)), 23));
}
static inline void vi_multiply(vi a, uint32_t k, vi *high, vi *low) {
    const uint32x4_t u = vreinterpretq_u32_s32(a);
    const uint64x2_t first = vmull_n_u32(vget_low_u32(u), k), second = vmull_n_u32(vget_high_u32(u), k);
    *low = vreinterpretq_s32_u32(vuzp1q_u32(vreinterpretq_u32_u64(first), vreinterpretq_u32_u64(second)));
    *high = vreinterpretq_s32_u32(vuzp2q_u32(vreinterpretq_u32_u64(first), vreinterpretq_u32_u64(second)));
}
static inline void vi_count(uint64_t first, vi *low, vi *high) {
    static const uint64_t lane[4] = {0, 1, 2, 3};
    const uint64x2_t from = vdupq_n_u64(first);
    const uint32x4_t a = vreinterpretq_u32_u64(vaddq_u64(from, vld1q_u64(lane)));
    const uint32x4_t b = vreinterpretq_u32_u64(vaddq_u64(from, vld1q_u64(lane + 2)));
    *low = vreinterpretq_s32_u32(vuzp1q_u32(a, b));
    *high = vreinterpretq_s32_u32(vuzp2q_u32(a, b));
}
static inline void vi_store_4(int32_t *p, vi a, vi b, vi c, vi d) {
    const int32x4x4_t words = {{a, b, c, d}};
    vst4q_s32(p, words);
}
static inline vm vi_keeps(vi words, uint32_t threshold) {
    return vcgeq_u32(vshrq_n_u32(vreinterpretq_u32_s32(words), 8), vdupq_n_u32(threshold));
}

/* Fixed order: lane k + lane k+2, then the pair. */
static inline float v_sum(vf a) {
    const float32x2_t two = vadd_f32(vget_low_f32(a), vget_high_f32(a));
    return vget_lane_f32(two, 0) + vget_lane_f32(two, 1);
}
static inline float v_largest(vf a) { return vmaxvq_f32(a); }
static inline vf v_from_u8(const uint8_t *p) {
    uint32_t four;
    memcpy(&four, p, sizeof four);
    const uint16x8_t wide = vmovl_u8(vreinterpret_u8_u32(vdup_n_u32(four)));
    return vcvtq_f32_u32(vmovl_u16(vget_low_u16(wide)));
}

#endif
