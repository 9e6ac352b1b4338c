/* The thin vector wrapper of AVX2: eight floats. The bodies kernels/(family)_body.h are written over these names. */
#ifndef FV_KERNELS_VEC_AVX2_H
#define FV_KERNELS_VEC_AVX2_H

#include "kernels/base.h"

#include <immintrin.h>

enum { VW = 8 };
typedef __m256 vf;  /* floats */
typedef __m256 vm;  /* mask: all bits of a lane */
typedef __m256i vi; /* 32-bit integers */

static inline vi v_first(size_t n) { /* mask of the first n <= VW lanes */
    static const _Alignas(64) int32_t ones[16] = {-1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0, 0, 0, 0, 0, 0};
    return _mm256_loadu_si256((const __m256i *)(const void *)(ones + 8 - n));
}

static inline vf v_load(const float *p) { return _mm256_loadu_ps(p); }
static inline void v_store(float *p, vf a) { _mm256_storeu_ps(p, a); }
/* The first n <= VW lanes; the rest 0, and no byte outside touched. */
static inline vf v_load_part(const float *p, size_t n) { return _mm256_maskload_ps(p, v_first(n)); }
static inline void v_store_part(float *p, vf a, size_t n) { /* a masked store takes 12 cycles on Zen */
    __m128 rest = _mm256_castps256_ps128(a);
    if (n == VW) _mm256_storeu_ps(p, a);
    if (n & 4) {
        _mm_storeu_ps(p, rest);
        rest = _mm256_extractf128_ps(a, 1);
        p += 4;
    }
    if (n & 2) {
        _mm_storel_pi((__m64 *)(void *)p, rest);
        rest = _mm_movehl_ps(rest, rest);
        p += 2;
    }
    if (n & 1) _mm_store_ss(p, rest);
}
/* The first n lanes of a, the others of rest. */
static inline vf v_keep(vf a, size_t n, vf rest) { return _mm256_blendv_ps(rest, a, _mm256_castsi256_ps(v_first(n))); }
static inline vf v_held(vf a) { /* in a register, not loaded again by each use */
    __asm__("" : "+x"(a));
    return a;
}
static inline vf v_set(float x) { return _mm256_set1_ps(x); }
static inline vf v_zero(void) { return _mm256_setzero_ps(); }
static inline vf v_add(vf a, vf b) { return _mm256_add_ps(a, b); }
static inline vf v_sub(vf a, vf b) { return _mm256_sub_ps(a, b); }
static inline vf v_mul(vf a, vf b) { return _mm256_mul_ps(a, b); }
static inline vf v_div(vf a, vf b) { return _mm256_div_ps(a, b); }
static inline vf v_fma(vf a, vf b, vf c) { return _mm256_fmadd_ps(a, b, c); } /* a*b + c */
static inline vf v_sqrt(vf a) { return _mm256_sqrt_ps(a); }
/* x where x is NaN: the instruction gives its second operand. */
static inline vf v_at_least(vf x, vf low) { return _mm256_max_ps(low, x); }
static inline vf v_at_most(vf x, vf high) { return _mm256_min_ps(high, x); }
static inline vf v_abs(vf a) { return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), a); }
static inline vf v_sign(vf a) { return _mm256_and_ps(_mm256_set1_ps(-0.0f), a); }
static inline vf v_or(vf a, vf b) { return _mm256_or_ps(a, b); }
static inline vm v_lt(vf a, vf b) { return _mm256_cmp_ps(a, b, _CMP_LT_OQ); }
static inline vm v_not_below(vf a, vf b) { return _mm256_cmp_ps(a, b, _CMP_GE_OQ); } /* false of NaN */
static inline vm v_gt(vf a, vf b) { return _mm256_cmp_ps(a, b, _CMP_GT_OQ); }
static inline vm v_eq(vf a, vf b) { return _mm256_cmp_ps(a, b, _CMP_EQ_OQ); }
/* a > b, or a is NaN and b is not. */
static inline vm v_beats(vf a, vf b) { return _mm256_and_ps(_mm256_cmp_ps(a, b, _CMP_NLE_UQ), _mm256_cmp_ps(b, b, _CMP_ORD_Q)); }
static inline vm v_both(vm a, vm b) { return _mm256_and_ps(a, b); }
static inline vm v_either(vm a, vm b) { return _mm256_or_ps(a, b); }
static inline vf v_select(vm m, vf yes, vf no) { return _mm256_blendv_ps(no, yes, m); }
/* Lane i as bit i. */
static inline unsigned v_lanes(vm m) { return (unsigned)_mm256_movemask_ps(m); }
static inline vf v_where(vm m, vf a) { return _mm256_and_ps(m, a); } /* a or +0 */

static inline vi vi_set(int32_t x) { return _mm256_set1_epi32(x); }
static inline vi vi_load(const int32_t *p) { return _mm256_loadu_si256((const __m256i *)(const void *)p); }
static inline vi vi_load_part(const int32_t *p, size_t n) { return _mm256_maskload_epi32(p, v_first(n)); }
static inline void vi_store(int32_t *p, vi a) { _mm256_storeu_si256((__m256i *)(void *)p, a); }
static inline void vi_store_part(int32_t *p, vi a, size_t n) {
    __m128i rest = _mm256_castsi256_si128(a);
    if (n == VW) vi_store(p, a);
    if (n & 4) {
        _mm_storeu_si128((__m128i *)(void *)p, rest);
        rest = _mm256_extracti128_si256(a, 1);
        p += 4;
    }
    if (n & 2) {
        _mm_storel_epi64((__m128i *)(void *)p, rest);
        rest = _mm_unpackhi_epi64(rest, rest);
        p += 2;
    }
    if (n & 1) *p = _mm_cvtsi128_si32(rest);
}
static inline vi vi_add(vi a, vi b) { return _mm256_add_epi32(a, b); }
static inline vi vi_sub(vi a, vi b) { return _mm256_sub_epi32(a, b); }
static inline vi vi_max(vi a, vi b) { return _mm256_max_epi32(a, b); }
static inline vi vi_xor(vi a, vi b) { return _mm256_xor_si256(a, b); }
static inline vi vi_and(vi a, vi b) { return _mm256_and_si256(a, b); }
static inline vi vi_or(vi a, vi b) { return _mm256_or_si256(a, b); }
static inline vi vi_exponent(vi a) { return _mm256_srli_epi32(a, 23); } /* of bits without a sign */
static inline vi vi_half(vi a) { return _mm256_srai_epi32(a, 1); }
static inline vm vi_eq(vi a, vi b) { return _mm256_castsi256_ps(_mm256_cmpeq_epi32(a, b)); }
static inline vi vi_select(vm m, vi yes, vi no) { return _mm256_blendv_epi8(no, yes, _mm256_castps_si256(m)); }
static inline vi v_bits(vf a) { return _mm256_castps_si256(a); }
static inline vf vi_floats(vi a) { return _mm256_castsi256_ps(a); } /* bits */
static inline vf vi_to_float(vi a) { return _mm256_cvtepi32_ps(a); }
static inline vi v_to_int(vf a) { return _mm256_cvtps_epi32(a); } /* of whole numbers */
static inline vf vi_power_of_two(vi n) {
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(n, _mm256_set1_epi32(127)), 23));
}
/* The 64-bit products of unsigned lanes with k: high and low halves. */
static inline void vi_multiply(vi a, uint32_t k, vi *high, vi *low) {
    const __m256i f = _mm256_set1_epi32((int32_t)k);
    const __m256i even = _mm256_mul_epu32(a, f), odd = _mm256_mul_epu32(_mm256_srli_epi64(a, 32), f);
    *low = _mm256_blend_epi32(even, _mm256_slli_epi64(odd, 32), 0xaa);
    *high = _mm256_blend_epi32(_mm256_srli_epi64(even, 32), odd, 0xaa);
}
/* Low and high words of the 64-bit numbers first, first + 1, ... */
static inline void vi_count(uint64_t first, vi *low, vi *high) {
    const __m256i from = _mm256_set1_epi64x((int64_t)first);
    const vf a = vi_floats(_mm256_add_epi64(from, _mm256_setr_epi64x(0, 1, 4, 5)));
    const vf b = vi_floats(_mm256_add_epi64(from, _mm256_setr_epi64x(2, 3, 6, 7)));
    *low = v_bits(_mm256_shuffle_ps(a, b, 0x88));
    *high = v_bits(_mm256_shuffle_ps(a, b, 0xdd));
}
/* p[4*i .. 4*i + 3] = lane i of a, b, c, d. */
static inline void vi_store_4(int32_t *p, vi a, vi b, vi c, vi d) {
    const vi ab_low = _mm256_unpacklo_epi32(a, b), ab_high = _mm256_unpackhi_epi32(a, b);
    const vi cd_low = _mm256_unpacklo_epi32(c, d), cd_high = _mm256_unpackhi_epi32(c, d);
    const vi lanes_04 = _mm256_unpacklo_epi64(ab_low, cd_low), lanes_15 = _mm256_unpackhi_epi64(ab_low, cd_low);
    const vi lanes_26 = _mm256_unpacklo_epi64(ab_high, cd_high), lanes_37 = _mm256_unpackhi_epi64(ab_high, cd_high);
    vi_store(p, _mm256_permute2x128_si256(lanes_04, lanes_15, 0x20));
    vi_store(p + 8, _mm256_permute2x128_si256(lanes_26, lanes_37, 0x20));
    vi_store(p + 16, _mm256_permute2x128_si256(lanes_04, lanes_15, 0x31));
    vi_store(p + 24, _mm256_permute2x128_si256(lanes_26, lanes_37, 0x31));
}
/* Lanes whose top 24 bits are >= threshold. */
static inline vm vi_keeps(vi words, uint32_t threshold) {
    return _mm256_castsi256_ps(
        _mm256_cmpgt_epi32(_mm256_srli_epi32(words, 8), _mm256_set1_epi32((int32_t)threshold - 1)));
}

/* Fixed order: lane k + lane k+4, then pairs. */
static inline float v_sum(vf a) {
    const __m128 four = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(two, _mm_shuffle_ps(two, two, 1)));
}
static inline float v_largest(vf a) { /* no NaN */
    const __m128 four = _mm_max_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    const __m128 two = _mm_max_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_max_ss(two, _mm_shuffle_ps(two, two, 1)));
}
static inline vf v_from_u8(const uint8_t *p) {
    return _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)(const void *)p)));
}

#endif
