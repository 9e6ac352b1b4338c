/* What every vector wrapper shares; included after vec_(isa).h. Parts of a vector, and exp, log, tanh and sigmoid: the
 * algorithms of scalar_math.h with fused steps. */
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

static inline vf v_exp(vf x) {
    const vf magic = v_set(12582912.0f);
    const vf c = v_at_most(v_at_least(x, v_set(-104.0f)), v_set(89.0f));
    const vf t = v_fma(c, v_set(1.44269504f), magic);
    const vf n = v_sub(t, magic);
    const vf r = v_fma(n, v_set(2.12194440e-4f), v_fma(n, v_set(-0.693359375f), c));
    vf p = v_set(1.9875691500e-4f);
    p = v_fma(p, r, v_set(1.3981999507e-3f));
    p = v_fma(p, r, v_set(8.3334519073e-3f));
    p = v_fma(p, r, v_set(4.1665795894e-2f));
    p = v_fma(p, r, v_set(1.6666665459e-1f));
    p = v_fma(p, r, v_set(5.0000001201e-1f));
    p = v_add(v_fma(p, v_mul(r, r), r), v_set(1.0f));
    const vi exponent = vi_sub(v_bits(t), v_bits(magic));
    const vi half = vi_half(exponent);
    return v_mul(v_mul(p, vi_power_of_two(half)), vi_power_of_two(vi_sub(exponent, half)));
}

static inline vf v_log(vf x) {
    const vm subnormal = v_lt(x, v_set(0x1p-126f));
    const vi bits = v_bits(v_select(subnormal, v_mul(x, v_set(0x1p23f)), x));
    const vf half_to_one = vi_floats(vi_or(vi_and(bits, vi_set(0x007fffff)), vi_set(0x3f000000)));
    const vm low = v_lt(half_to_one, v_set(0.707106781f));
    vf e = vi_to_float(vi_sub(vi_exponent(bits), vi_set(126)));
    e = v_sub(v_sub(e, v_where(subnormal, v_set(23.0f))), v_where(low, v_set(1.0f)));
    const vf m = v_sub(v_add(half_to_one, v_where(low, half_to_one)), v_set(1.0f));
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
    const vf result = v_fma(e, v_set(0.693359375f), v_add(m, p));
    const vf not_positive = v_select(v_eq(x, v_zero()), v_set(-INFINITY), v_set(NAN));
    return v_select(v_gt(x, v_zero()), v_select(v_lt(x, v_set(INFINITY)), result, x), not_positive);
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

static inline vf v_sigmoid(vf x) {
    const vf one = v_set(1.0f), e = v_exp(v_or(x, v_set(-0.0f))); /* e^-|x| */
    return v_div(v_select(v_lt(x, v_zero()), e, one), v_add(one, e));
}

#endif
