/* Elementary functions in double, our own, for operators on general tensors: no libm transcendental reaches stored
 * bits. Results in float are these, rounded once: at most 0.501 ULP of float. In double the bounds stand beside each
 * function, in units of the last place of the result. sqrt, floor, rint, fmod, ldexp and frexp of the C library are
 * exact and may be used. */
#ifndef FV_KERNELS_MATH64_H
#define FV_KERNELS_MATH64_H

#include "kernels/base.h"

#include <math.h>
#include <string.h>

/* 2 ULP where the result is normal. */
static inline double fv_exp64(double x) {
    if (!(x < 709.782712893384)) return x > 0 ? INFINITY : x;
    if (x < -745.2) return 0;
    const double n = rint(x * 1.4426950408889634);
    double r = (x - n * 6.93145751953125e-1) - n * 1.42860682030941723212e-6;
    const double z = r * r;
    const double q =
        ((3.00198505138664455042e-6 * z + 2.52448340349684104192e-3) * z + 2.27265548208155028766e-1) * z + 2.0;
    r *= (1.26177193074810590878e-4 * z + 3.02994407707441961300e-2) * z + 1.0;
    return ldexp(1.0 + 2.0 * (r / (q - r)), (int)n);
}

/* 1 ULP. */
static inline double fv_log64(double x) {
    if (!(x > 0)) return x == 0 ? -INFINITY : NAN;
    if (x == INFINITY) return x;
    int k;
    double f = frexp(x, &k);
    if (f < 0.70710678118654752) f *= 2, k--;
    f -= 1.0;
    const double s = f / (2.0 + f), z = s * s, half = 0.5 * f * f;
    double r = 1.479819860511658591e-01;
    r = r * z + 1.531383769920937332e-01;
    r = r * z + 1.818357216161805012e-01;
    r = r * z + 2.222219843214978396e-01;
    r = r * z + 2.857142874366239149e-01;
    r = r * z + 3.999999999940941908e-01;
    r = (r * z + 6.666666666666735130e-01) * z;
    return k * 6.93147180369123816490e-01 - ((half - (s * (half + r) + k * 1.90821492927058770002e-10)) - f);
}

/* log(1 + x) and e^x - 1 by the rounding of 1 + x and e^x (Kahan): 4 ULP. */
static inline double fv_log1p64(double x) {
    const double u = 1.0 + x;
    return u == 1.0 ? x : u == INFINITY || !(u > 0) ? fv_log64(u) : fv_log64(u) * (x / (u - 1.0));
}
static inline double fv_expm1_64(double x) {
    if (fabs(x) > 1) return fv_exp64(x) - 1.0;
    const double u = fv_exp64(x);
    return u == 1.0 ? x : (u - 1.0) * (x / fv_log64(u));
}

/* 4 ULP. */
static inline double fv_tanh64(double x) {
    if (!(fabs(x) < 20)) return x > 0 ? 1 : x < 0 ? -1 : x;
    const double t = fv_expm1_64(2 * fabs(x));
    return copysign(t / (t + 2), x);
}

/* Relative error 2e-16 (1 + |x|). */
static inline double fv_sigmoid64(double x) {
    const double e = fv_exp64(-fabs(x));
    return (x < 0 ? e : 1.0) / (1.0 + e);
}

/* ---- circular functions ---- */

/* 2/pi in 64-bit words, behind one of zeros. */
static const uint64_t fv_two_over_pi[20] = {
    0x0000000000000000u, 0xa2f9836e4e441529u, 0xfc2757d1f534ddc0u, 0xdb6295993c439041u, 0xfe5163abdebbc561u,
    0xb7246e3a424dd2e0u, 0x06492eea09d1921cu, 0xfe1deb1cb129a73eu, 0xe88235f52ebb4484u, 0xe99c7026b45f7e41u,
    0x3991d639835339f4u, 0x9c845f8bbdf9283bu, 0x1ff897ffde05980fu, 0xef2f118b5a0a6d1fu, 0x6d367ecf27cb09b7u,
    0x4f463f669e5fea2du, 0x7527bac7ebe5f17bu, 0x3d0739f78a5292eau, 0x6bfb5fb11f8d5d08u, 0x56033046fc7b6babu};

/* For |x| >= 2^20: x * 2/pi mod 4 by an integer product with the 192 bits that matter. */
static inline int fv_reduce_large(double x, double *r) {
    int exponent;
    const uint64_t m = (uint64_t)ldexp(frexp(fabs(x), &exponent), 53);
    const int at = exponent - 53 - 1 + 64 - 1; /* the first bit whose product is below 4 */
    uint64_t w[3];
    for (int i = 0; i < 3; i++) {
        const int word = at / 64 + i, shift = at % 64;
        w[i] = shift ? fv_two_over_pi[word] << shift | fv_two_over_pi[word + 1] >> (64 - shift) : fv_two_over_pi[word];
    }
    uint64_t low[3], carry = 0;
    for (int i = 2; i >= 0; i--) {
        const unsigned __int128 p = (unsigned __int128)m * w[i] + carry;
        low[i] = (uint64_t)p;
        carry = (uint64_t)(p >> 64);
    }
    int quadrant = (int)(low[0] >> 62);
    uint64_t high = low[0] << 2 | low[1] >> 62, next = low[1] << 2 | low[2] >> 62;
    const bool above = high >> 63; /* nearer to the next multiple */
    if (above) quadrant++, high = ~high, next = ~next;
    double f = (ldexp((double)high, -64) + ldexp((double)next, -128)) * 1.57079632679489661923;
    if (above) f = -f;
    *r = x < 0 ? -f : f;
    return (x < 0 ? -quadrant : quadrant) & 3;
}

/* x = quadrant * pi/2 + r, |r| <= pi/4. */
static inline int fv_reduce(double x, double *r) {
    if (!(fabs(x) < 1048576.0)) {
        if (fabs(x) < INFINITY) return fv_reduce_large(x, r);
        *r = NAN;
        return 0;
    }
    const double n = rint(x * 6.36619772367581382433e-01);
    *r = ((x - n * 1.57079632673412561417e+00) - n * 6.07710050630396597660e-11) - n * 2.02226624879595063154e-21;
    return (int)n & 3;
}

static inline double fv_sin_reduced(double r) {
    const double z = r * r;
    double p = 1.58969099521155010221e-10;
    p = p * z - 2.50507602534068634195e-08;
    p = p * z + 2.75573137070700676789e-06;
    p = p * z - 1.98412698298579493134e-04;
    p = p * z + 8.33333333332248946124e-03;
    p = p * z - 1.66666666666666324348e-01;
    return r + r * z * p;
}
static inline double fv_cos_reduced(double r) {
    const double z = r * r;
    double p = -1.13596475577881948265e-11;
    p = p * z + 2.08757232129817482790e-09;
    p = p * z - 2.75573143513906633035e-07;
    p = p * z + 2.48015872894767294178e-05;
    p = p * z - 1.38888888888741095749e-03;
    p = p * z + 4.16666666666666019037e-02;
    const double h = 0.5 * z, w = 1.0 - h;
    return w + (((1.0 - w) - h) + z * z * p);
}

/* 3 ULP for any finite x but within 1e-10 of a zero; tan 4. */
static inline double fv_sin64(double x) {
    double r;
    const int q = fv_reduce(x, &r);
    const double y = q & 1 ? fv_cos_reduced(r) : fv_sin_reduced(r);
    return q & 2 ? -y : y;
}
static inline double fv_cos64(double x) {
    double r;
    const int q = fv_reduce(x, &r);
    const double y = q & 1 ? fv_sin_reduced(r) : fv_cos_reduced(r);
    return (q + 1) & 2 ? -y : y;
}
static inline double fv_tan64(double x) {
    double r;
    const int q = fv_reduce(x, &r);
    const double s = fv_sin_reduced(r), c = fv_cos_reduced(r);
    return q & 1 ? -c / s : s / c;
}

/* 2 ULP (Cephes). */
static inline double fv_atan64(double x) {
    double t = fabs(x), base = 0, more = 0;
    if (t > 2.41421356237309504880) {
        base = 1.57079632679489661923;
        more = 6.123233995736765886130e-17;
        t = -1.0 / t;
    } else if (t > 0.66) {
        base = 7.85398163397448309616e-1;
        more = 3.061616997868382943065e-17;
        t = (t - 1.0) / (t + 1.0);
    }
    double z = t * t;
    double p = -8.750608600031904122785e-1, q = z + 2.485846490142306297962e1;
    p = p * z - 1.615753718733365076637e1;
    p = p * z - 7.500855792314704667340e1;
    p = p * z - 1.228866684490136173410e2;
    p = p * z - 6.485021904942025371773e1;
    q = q * z + 1.650270098316988542046e2;
    q = q * z + 4.328810604912902668951e2;
    q = q * z + 4.853903996359136964868e2;
    q = q * z + 1.945506571482613964425e2;
    z = t * (z * p / q) + t;
    return copysign(base + (z + more), x);
}

/* 4 ULP. */
static inline double fv_asin64(double x) {
    return fabs(x) == 1 ? x * 1.57079632679489661923 : fv_atan64(x / sqrt((1.0 - x) * (1.0 + x)));
}
/* acos = 2 atan(sqrt((1-x)/(1+x))): 4 ULP. */
static inline double fv_acos64(double x) {
    return x == -1 ? 3.14159265358979323846 : 2.0 * fv_atan64(sqrt((1.0 - x) / (1.0 + x)));
}

/* ---- hyperbolic functions: 6 ULP ---- */

static inline double fv_sinh64(double x) {
    const double a = fabs(x);
    if (!(a < 40)) {
        const double half = fv_exp64(0.5 * a);
        return copysign(0.5 * half * half, x);
    }
    const double t = fv_expm1_64(a);
    return copysign(0.5 * (t + t / (t + 1.0)), x);
}
static inline double fv_cosh64(double x) {
    const double half = fv_exp64(0.5 * fabs(x)), e = half * half;
    return 0.5 * e + 0.5 / e;
}
static inline double fv_asinh64(double x) {
    const double a = fabs(x);
    if (!(a < 1e8)) return copysign(fv_log64(a) + 6.93147180559945309417e-1, x);
    return copysign(fv_log1p64(a + a * a / (1.0 + sqrt(a * a + 1.0))), x);
}
static inline double fv_acosh64(double x) {
    if (x > 1e8) return fv_log64(x) + 6.93147180559945309417e-1;
    const double t = x - 1.0;
    return fv_log1p64(t + sqrt(2.0 * t + t * t));
}
static inline double fv_atanh64(double x) {
    const double a = fabs(x);
    return copysign(0.5 * fv_log1p64(2.0 * a / (1.0 - a)), x);
}

/* erf by its series with e^(-x^2) taken out, whose terms are all positive: 40 ULP. */
static inline double fv_erf64(double x) {
    const double a = fabs(x);
    if (!(a < 6)) return a > 0 ? copysign(1.0, x) : x;
    double term = a, sum = a;
    for (int n = 1; n < 200 && term > sum * 1e-17; n++) {
        term *= 2.0 * a * a / (2 * n + 1);
        sum += term;
    }
    return copysign(1.12837916709551257390 * fv_exp64(-a * a) * sum, x);
}

/* x^y with the C standard's cases; whole |y| <= 64 by multiplication. Relative error 2e-16 (3 + |y ln x|), in the other
 * case 2e-16 |y|. */
static inline double fv_pow64(double x, double y) {
    if (y == 0 || x == 1) return 1;
    if (x != x || y != y) return NAN;
    const bool whole = rint(y) == y, odd = whole && fabs(y) < 9007199254740992.0 && fmod(y, 2) != 0;
    if (whole && fabs(y) <= 64 && x != 0) {
        double power = 1, square = x;
        for (int n = (int)fabs(y); n; n >>= 1, square *= square)
            if (n & 1) power *= square;
        return y < 0 ? 1 / power : power;
    }
    const double a = fabs(x);
    double r;
    if (a == 0 || a == INFINITY)
        r = (a == 0) == (y < 0) ? INFINITY : 0;
    else if (fabs(y) == INFINITY)
        return a == 1 ? 1 : (a > 1) == (y > 0) ? INFINITY : 0;
    else if (x < 0 && !whole)
        return NAN;
    else
        r = fv_exp64(y * fv_log64(a));
    return odd && (x < 0 || (x == 0 && signbit(x))) ? -r : r;
}

#endif
