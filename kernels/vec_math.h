/* What every vector wrapper shares; included after vec_(isa).h. Parts of a vector, and exp, log, tanh, sigmoid, expm1,
 * log1p and erf: the algorithms of scalar_math.h with fused steps. */
#ifndef FV_KERNELS_VEC_MATH_H
#define FV_KERNELS_VEC_MATH_H

#include <math.h>

/* The next vector of a run of which n >= 1 values are left: lanes past n are 0, and no byte past n is touched. */
static inline vf v_load_next(const float *p, size_t n) { return n < VW ? v_load_part(p, n) : v_load(p); }

static inline void v_store_next(float *p, vf a, size_t n) {
    if (n < VW)
        v_store_part(p, a, n);
    else
        v_store(p, a);
}

/* e^r - 1 for |r| <= ln2/2. */
static inline vf v_expm1_reduced(vf r) {
    vf p = v_set(1.9875691500e-4f);
    p = v_fma(p, r, v_set(1.3981999507e-3f));
    p = v_fma(p, r, v_set(8.3334519073e-3f));
    p = v_fma(p, r, v_set(4.1665795894e-2f));
    p = v_fma(p, r, v_set(1.6666665459e-1f));
    p = v_fma(p, r, v_set(5.0000001201e-1f));
    return v_fma(p, v_mul(r, r), r);
}

static inline vf v_exp(vf x) {
    const vf magic = v_set(12582912.0f);
    const vf c = v_at_most(v_at_least(x, v_set(-104.0f)), v_set(89.0f));
    const vf t = v_fma(c, v_set(1.44269504f), magic);
    const vf n = v_sub(t, magic);
    const vf r = v_fma(n, v_set(2.12194440e-4f), v_fma(n, v_set(-0.693359375f), c));
    const vf p = v_add(v_expm1_reduced(r), v_set(1.0f));
    const vi exponent = vi_sub(v_bits(t), v_bits(magic));
    const vi half = vi_half(exponent);
    return v_mul(v_mul(p, vi_power_of_two(half)), vi_power_of_two(vi_sub(exponent, half)));
}

/* x <= 0. */
static inline vf v_expm1_below(vf x) {
    const vf magic = v_set(12582912.0f);
    const vf c = v_at_least(x, v_set(-20.0f));
    const vf t = v_fma(c, v_set(1.44269504f), magic);
    const vf n = v_sub(t, magic);
    const vf r = v_fma(n, v_set(2.12194440e-4f), v_fma(n, v_set(-0.693359375f), c));
    const vf power = vi_power_of_two(vi_sub(v_bits(t), v_bits(magic)));
    return v_fma(power, v_expm1_reduced(r), v_sub(power, v_set(1.0f)));
}

/* log(1+m) + e ln2 for 1+m in [sqrt(1/2), sqrt(2)). */
static inline vf v_log_reduced(vf m, vf e) {
    const vf z = v_mul(m, m);
    vf p = v_set(7.0376836292e-2f);
    p = v_fma(p, m, v_set(-1.1514610310e-1f));
    p = v_fma(p, m, v_set(1.1676998740e-1f));
    p = v_fma(p, m, v_set(-1.2420140846e-1f));
    p = v_fma(p, m, v_set(1.4249322787e-1f));
    p = v_fma(p, m, v_set(-1.6668057665e-1f));
    p = v_fma(p, m, v_set(2.0000714765e-1f));
    p = v_fma(p, m, v_set(-2.4999993993e-1f));
    p = v_fma(p, m, v_set(3.3333331174e-1f));
    p = v_fma(e, v_set(-2.12194440e-4f), v_mul(v_mul(p, m), z));
    p = v_fma(z, v_set(-0.5f), p);
    return v_fma(e, v_set(0.693359375f), v_add(m, p));
}

/* 0 <= x <= 1. */
static inline vf v_log1p_unit(vf x) {
    const vm low = v_lt(x, v_set(0.41421356f));
    const vf one = v_set(1.0f);
    return v_log_reduced(v_select(low, x, v_mul(v_sub(x, one), v_set(0.5f))), v_select(low, v_zero(), one));
}

/* ln((1+e^x)/2) for x <= 0. */
static inline vf v_log_mean(vf x) {
    const vf q = v_expm1_below(x), m = v_mul(v_set(0.5f), q), one = v_set(1.0f);
    const vm near = v_gt(m, v_set(-0.29289322f));
    return v_log_reduced(v_select(near, m, v_add(one, q)), v_select(near, v_zero(), v_set(-1.0f)));
}

static inline vf v_log(vf x) {
    const vm subnormal = v_lt(x, v_set(0x1p-126f));
    const vi bits = v_bits(v_select(subnormal, v_mul(x, v_set(0x1p23f)), x));
    const vf half_to_one = vi_floats(vi_or(vi_and(bits, vi_set(0x007fffff)), vi_set(0x3f000000)));
    const vm low = v_lt(half_to_one, v_set(0.707106781f));
    vf e = vi_to_float(vi_sub(vi_exponent(bits), vi_set(126)));
    e = v_sub(v_sub(e, v_where(subnormal, v_set(23.0f))), v_where(low, v_set(1.0f)));
    const vf m = v_sub(v_add(half_to_one, v_where(low, half_to_one)), v_set(1.0f));
    const vf result = v_log_reduced(m, e);
    const vf not_positive = v_select(v_eq(x, v_zero()), v_set(-INFINITY), v_set(NAN));
    return v_select(v_gt(x, v_zero()), v_select(v_lt(x, v_set(INFINITY)), result, x), not_positive);
}

static inline vf v_scale_of(vf x) {
    const vi exponent = vi_max(vi_exponent(v_bits(x)), vi_set(1));
    return vi_power_of_two(vi_max(vi_sub(vi_set(127), exponent), vi_set(-126)));
}

static inline vf v_cbrt(vf x) {
    const vf one = v_set(1.0f);
    vf r = vi_floats(v_to_int(v_sub(v_set(1419902976.0f), v_mul(vi_to_float(v_bits(x)), v_set(0.333333343f)))));
    const vf h = v_fma(v_sub(v_zero(), v_mul(x, r)), v_mul(r, r), one);
    r = v_fma(v_mul(r, h), v_fma(h, v_set(0.222222224f), v_set(0.333333343f)), r);
    const vf y = v_mul(x, v_mul(r, r)), rest = v_fma(v_sub(v_zero(), y), r, one);
    return v_fma(v_mul(y, rest), v_fma(rest, v_set(0.555555582f), v_set(0.666666687f)), y);
}

static inline vf v_tanh(vf x) {
    const vf a = v_abs(x), z = v_mul(a, a), one = v_set(1.0f);
    vf p = v_set(-5.70498872745e-3f);
    p = v_fma(p, z, v_set(2.06390887954e-2f));
    p = v_fma(p, z, v_set(-5.37397155531e-2f));
    p = v_fma(p, z, v_set(1.33314422036e-1f));
    p = v_fma(p, z, v_set(-3.33332819422e-1f));
    const vf small = v_fma(v_mul(p, z), a, a);
    const vf large = v_sub(one, v_div(v_set(2.0f), v_add(v_exp(v_add(a, a)), one)));
    return v_or(v_select(v_lt(a, v_set(0.625f)), small, large), v_sign(x));
}

static inline vf v_erf(vf x) {
    const vf t = v_abs(x), s = v_mul(x, x), c = v_at_most(t, v_set(5.0f));
    vf near = v_set(-5.96761703e-4f), far = v_fma(v_set(-1.72853470e-5f), c, v_set(3.83197126e-4f));
    near = v_fma(near, s, v_set(4.99119423e-3f));
    near = v_fma(near, s, v_set(-2.67681349e-2f));
    near = v_fma(near, s, v_set(1.12819925e-1f));
    near = v_fma(near, s, v_set(-3.76125336e-1f));
    near = v_fma(near, s, v_set(1.28379166e-1f));
    near = v_fma(near, x, x);
    far = v_fma(far, v_mul(c, c), v_fma(v_set(-3.88396438e-3f), c, v_set(2.42546219e-2f)));
    far = v_fma(far, c, v_set(-1.06777877e-1f));
    far = v_fma(far, c, v_set(-6.34846687e-1f));
    far = v_fma(far, c, v_set(-1.28717512e-1f));
    far = v_sub(v_set(1.0f), v_exp(v_fma(far, c, v_sub(v_zero(), c))));
    return v_select(v_gt(t, v_set(0.927734375f)), v_or(far, v_sign(x)), near);
}

static inline vf v_sigmoid(vf x) {
    const vf one = v_set(1.0f), e = v_exp(v_or(x, v_set(-0.0f))); /* e^-|x| */
    return v_div(v_select(v_lt(x, v_zero()), e, one), v_add(one, e));
}

#endif
