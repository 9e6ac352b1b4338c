/* Unary element-wise slots. Those the contract pins to the bit (relu, clamp, linear, softsign, ...) are expected as the float
 * operations themselves; the others within the bounds that kernels/pointwise.h states, of the formula in double. */
#include "kernels/check/engine.h"

enum { MOST = 400 };

static const char *const unary_name[FV_UNARY_COUNT] = {
    "relu",       "sigmoid", "tanh", "exp",  "clamp",     "linear", "softplus", "smooth abs",   "relu surrogate", "abs",
    "leaky relu", "elu",     "erf",  "gelu", "gelu tanh", "silu",   "mish",     "hard sigmoid", "hard swish",     "softsign"};

/* Where a kind bends: inputs are drawn up to there. 0: anywhere. With k: of k*x. */
static const float reaches[FV_UNARY_COUNT] = {
    [FV_UNARY_SIGMOID] = 100,    [FV_UNARY_TANH] = 12,       [FV_UNARY_EXP] = 110,
    [FV_UNARY_SOFTPLUS] = 100,   [FV_UNARY_SMOOTH_ABS] = 30, [FV_UNARY_RELU_SURROGATE] = 100,
    [FV_UNARY_ELU] = 24,         [FV_UNARY_ERF] = 5,         [FV_UNARY_GELU] = 8,
    [FV_UNARY_GELU_TANH] = 8,    [FV_UNARY_SILU] = 110,      [FV_UNARY_MISH] = 110,
    [FV_UNARY_HARD_SIGMOID] = 4, [FV_UNARY_HARD_SWISH] = 4};

static bool has_k(fv_unary kind) { return kind >= FV_UNARY_SOFTPLUS && kind <= FV_UNARY_RELU_SURROGATE; }

/* Half a unit in the last place of 1. */
static const double half_ulp = 0x1p-24;

/* A unit in the last place of |v|; a result past FLT_MAX counts as if the exponents went on. */
static double ulp_at(double v) {
    int exponent;
    frexp(v, &exponent);
    return ldexp(1, (exponent < -125 ? -125 : exponent) - 24);
}

static float limited(float x, float low, float high) { return x < low ? low : x > high ? high : x; }

/* What the contract leaves to nobody: the operations of the formula, each rounded to float. */
static bool exact_unary(fv_unary kind, float x, float a, float b, float *y) {
    const volatile float product = kind == FV_UNARY_HARD_SWISH ? x * (float)(1.0 / 6) : x * a;
    switch (kind) {
    case FV_UNARY_RELU:
    case FV_UNARY_RELU_SURROGATE:
        return *y = x < 0 ? 0 : x, true;
    case FV_UNARY_CLAMP:
        return *y = limited(x, a, b), true;
    case FV_UNARY_LINEAR:
        return *y = product + b, true;
    case FV_UNARY_ABS:
        return *y = fabsf(x), true;
    case FV_UNARY_LEAKY_RELU:
        return *y = x > 0 ? x : product, true;
    case FV_UNARY_HARD_SIGMOID:
        return *y = limited(product + b, 0, 1), true;
    case FV_UNARY_HARD_SWISH:
        return *y = x * limited(product + 0.5f, 0, 1), true;
    case FV_UNARY_SOFTSIGN:
        return *y = x / (1 + fabsf(x)), true;
    default:
        return false;
    }
}

static double logistic(double x) { return 1 / (1 + exp(-x)); }

/* What one rounding of t can move log1p(e^-|t|). */
static double argument_rounding(double t) { return fabs(t) < 200 ? fabs(t) * half_ulp * exp(-fabs(t)) : 0; }

/* Smooth rectification is 2/k of ln cosh(kx/2), whose two terms cancel near zero. */
static double log_cosh(double z) {
    const double t = fabs(z);
    return t < 0.01 ? t * t / 2 - t * t * t * t / 12 : t + log1p(expm1(-2 * t) / 2);
}

static fv_approx within(double value, double ulps, double absolute) {
    return (fv_approx){value, (fabs(value) < FLT_MIN ? fmin(ulps, 0.8) : ulps) * ulp_at(value) + absolute};
}

/* Tables of kernels/pointwise.h. */
static fv_approx expect_unary(fv_unary kind, float x_, float a, float b) {
    const double x = x_, k = a, above = log1p(exp(-fabs(k * x)));
    float y;
    if (exact_unary(kind, x_, a, b, &y)) return approx(y);
    switch (kind) {
    case FV_UNARY_SIGMOID:
        return within(logistic(x), 2.5, 0);
    case FV_UNARY_TANH:
        return within(tanh(x), 1.4, 0);
    case FV_UNARY_EXP:
        return within(exp(x), 1.1, 0);
    case FV_UNARY_SOFTPLUS:
        return within((x < 0 ? 0 : x) + above / k, 2.5, (argument_rounding(k * x) + FLT_MIN) / k);
    case FV_UNARY_SMOOTH_ABS:
        return (fv_approx){2 / k * log_cosh(k * x / 2), 3 * 0x1p-23 * fabs(x) + 2 * FLT_MIN / k};
    case FV_UNARY_ELU:
        return within(b * (x > 0 ? x : a * expm1(x)), a == 1 && b == 1 ? 2 : 3.5, FLT_MIN * (1 + fabs(b)));
    case FV_UNARY_ERF:
        return within(erf(x), 1.5, FLT_MIN);
    case FV_UNARY_GELU:
        return (fv_approx){x / 2 * erfc(-x * sqrt(0.5)), 0x1p-23 * fabs(x) + FLT_MIN};
    case FV_UNARY_GELU_TANH:
        return (fv_approx){x / 2 * (1 + tanh(sqrt(2 / acos(-1)) * (x + 0.044715 * x * x * x))), 3 * 0x1p-24 * fabs(x) + FLT_MIN};
    case FV_UNARY_SILU:
        return within(x * logistic(x), 3.5, fabs(x) * FLT_MIN);
    default:
        return within(x * tanh(log1p(exp(x))), 4.5, fabs(x) * FLT_MIN);
    }
}

static void fill_bends(fv_case *c, fv_unary kind, float *x, size_t n, float k) {
    if (reaches[kind] == 0) return;
    fv_check_random *r = &c->random;
    const float reach = reaches[kind] / (has_k(kind) ? k : 1), near = 2 / (has_k(kind) ? k : 1);
    for (size_t i = 0; i < n; i++)
        if (isfinite(x[i]) && check_chance(r, 0.7)) x[i] = check_uniform(r, -1, 1) * (check_chance(r, 0.5) ? reach : near);
}

typedef struct parameters {
    float a, b;
} parameters;

/* forward: the bounds of clamp lie among its inputs, not its outputs. */
static parameters draw_parameters(fv_case *c, fv_unary kind, bool forward) {
    fv_check_random *r = &c->random;
    parameters p = {check_uniform(r, -3, 1), check_uniform(r, 1, 3)};
    if (!forward) p = (parameters){check_uniform(r, -1, 0), check_uniform(r, 0, 1)};
    if (c->values == FV_VALUES_INTEGER) p = (parameters){-2, 3};
    if (has_k(kind)) p.a = check_chance(r, 0.4) ? 1 : (float)exp(check_uniform(r, -7, 9.2f));
    if (kind == FV_UNARY_ELU) p = (parameters){check_uniform(r, 0.1f, 2), check_uniform(r, 0.5f, 2)};
    if (kind == FV_UNARY_ELU && check_chance(r, 0.5)) p = (parameters){1, 1};
    if (kind == FV_UNARY_HARD_SIGMOID) p = (parameters){check_uniform(r, -1, 1), check_uniform(r, 0, 1)};
    if (kind == FV_UNARY_HARD_SIGMOID && check_chance(r, 0.5)) p = (parameters){0.2f, 0.5f};
    return p;
}

void fv_check_unary(fv_case *c) {
    const fv_unary kind = (fv_unary)c->argument;
    const size_t n = check_chance(&c->random, 0.01) && !c->given ? 0 : fv_check_size(c, 0, MOST);
    float *x = fv_check_input(c, "x", n);
    const parameters drawn = draw_parameters(c, kind, true);
    const float a = drawn.a, b = drawn.b;
    float ignored;
    fill_bends(c, kind, x, n, a);
    const float *in_place = check_chance(&c->random, 0.4) ? x : NULL;
    fv_check_shape(c, "%s n%zu a %.9g b %.9g%s", unary_name[kind], n, (double)a, (double)b, in_place ? " in place" : "");
    c->same_as_scalar = exact_unary(kind, 0, a, b, &ignored);
    fv_check_freeze(c);
    fv_approx *expected = fv_check_expected(c, n);
    for (size_t i = 0; i < n; i++) expected[i] = expect_unary(kind, x[i], a, b);
    float *y = fv_check_start(c, "y", in_place, n), *scalar = fv_check_start(c, "y", in_place, n);
    float *parts = fv_check_start(c, "y", in_place, n);
    c->candidate->pointwise.unary[kind](in_place ? y : x, y, n, a, b);
    c->reference->pointwise.unary[kind](in_place ? scalar : x, scalar, n, a, b);
    fv_check_compare(c, "y", y, scalar, expected, n);
    FV_EACH_PART(c, n, p)
    c->candidate->pointwise.unary[kind]((in_place ? parts : x) + p->begin, parts + p->begin, p->end - p->begin, a, b);
    fv_check_same_values(c, "y in parts", parts, y, n);
}

/* ---- unary gradients ---- */

static bool exact_grad(fv_unary kind, float kept, float dy, float a, float b, float *dx) {
    const volatile float product = dy * a, third = kept * (float)(1.0 / 3), square = (1 + fabsf(kept)) * (1 + fabsf(kept));
    switch (kind) {
    case FV_UNARY_RELU:
        return *dx = kept > 0 ? dy : 0, true;
    case FV_UNARY_CLAMP:
        return *dx = kept > a && kept < b ? dy : 0, true;
    case FV_UNARY_LINEAR:
        return *dx = product, true;
    case FV_UNARY_EXP:
        return *dx = dy * kept, true;
    case FV_UNARY_ABS:
        return *dx = kept > 0 ? dy : kept < 0 ? -dy : 0, true;
    case FV_UNARY_LEAKY_RELU:
        return *dx = kept > 0 ? dy : product, true;
    case FV_UNARY_HARD_SIGMOID:
        return *dx = kept > 0 && kept < 1 ? product : 0, true;
    case FV_UNARY_HARD_SWISH:
        return *dx = dy * (kept > -3 ? kept < 3 ? third + 0.5f : 1 : 0), true;
    case FV_UNARY_SOFTSIGN:
        return *dx = dy / square, true;
    default:
        return false;
    }
}

/* f'(x) of the kinds that keep their input. */
static fv_approx expect_slope(fv_unary kind, double x, double a, double b) {
    const double pi = acos(-1), v = x < -200 ? -200 : x > 200 ? 200 : x, t = a * x; /* the limits stand at 200 already */
    switch (kind) {
    case FV_UNARY_SOFTPLUS:
    case FV_UNARY_RELU_SURROGATE:
        return within(logistic(t), 2.5, argument_rounding(t) + FLT_MIN);
    case FV_UNARY_SMOOTH_ABS:
        return within(tanh(t / 2), 1.4, 2 * argument_rounding(t) + FLT_MIN);
    case FV_UNARY_ELU:
        return within(b * (x > 0 ? 1 : a * exp(x)), 2.5, 2 * FLT_MIN * (1 + fabs(b)));
    case FV_UNARY_ERF:
        return within(2 / sqrt(pi) * exp(-v * v), 2.5, v * v * half_ulp * exp(-v * v) + 2 * FLT_MIN);
    case FV_UNARY_GELU:
        return (fv_approx){erfc(-v * sqrt(0.5)) / 2 + v * exp(-v * v / 2) / sqrt(2 * pi), 0x1p-22};
    case FV_UNARY_GELU_TANH: {
        const double w = sqrt(2 / pi), s = tanh(w * (v + 0.044715 * v * v * v));
        return (fv_approx){(1 + s) / 2 + v / 2 * (1 - s * s) * w * (1 + 3 * 0.044715 * v * v), 0x1p-22};
    }
    case FV_UNARY_SILU:
        return (fv_approx){logistic(v) + v * logistic(v) * logistic(-v), 0x1p-22};
    default: {
        const double s = tanh(log1p(exp(v)));
        return (fv_approx){s + v * (1 - s * s) * logistic(v), 0x1p-22};
    }
    }
}

static fv_approx expect_grad(fv_unary kind, float kept, float dy_, float a, float b, double eps) {
    const fv_approx y = approx(kept), dy = approx(dy_), one = approx(1);
    float dx;
    if (exact_grad(kind, kept, dy_, a, b, &dx)) return approx(dx);
    if (kind == FV_UNARY_SIGMOID) return approx_mul(dy, approx_mul(y, approx_sub(one, y, eps), eps), eps);
    if (kind == FV_UNARY_TANH) return approx_mul(dy, approx_sub(one, approx_mul(y, y, eps), eps), eps);
    return approx_mul(dy, expect_slope(kind, kept, a, b), FLT_EPSILON);
}

void fv_check_unary_grad(fv_case *c) {
    const fv_unary kind = (fv_unary)c->argument;
    const size_t n = fv_check_size(c, 0, MOST);
    const bool kept = kind != FV_UNARY_LINEAR || check_chance(&c->random, 0.5);
    const bool input = fv_unary_keeps_input(kind);
    float *y = kept ? fv_check_input(c, input ? "x" : "y", n) : NULL, ignored;
    float *dy = fv_check_input(c, "dy", n);
    const parameters drawn = draw_parameters(c, kind, false);
    const float a = drawn.a, b = drawn.b;
    if (input) fill_bends(c, kind, y, n, a);
    for (size_t i = 0; input && i < n; i++) /* an infinity times a slope that is 0 in float alone is nobody's contract */
        if (isinf(dy[i]) && !exact_grad(kind, 0, 0, a, b, &ignored)) dy[i] = NAN;
    const float *in_place = check_chance(&c->random, 0.4) ? dy : NULL;
    fv_check_shape(c, "%s gradient n%zu a %.9g b %.9g%s", unary_name[kind], n, (double)a, (double)b, in_place ? " in place" : "");
    c->same_as_scalar = !input || exact_grad(kind, 0, 0, a, b, &ignored);
    fv_check_freeze(c);
    fv_approx *expected = fv_check_expected(c, n);
    for (size_t i = 0; i < n; i++) expected[i] = expect_grad(kind, kept ? y[i] : 0, dy[i], a, b, c->eps);
    float *dx = fv_check_start(c, "dx", in_place, n), *scalar = fv_check_start(c, "dx", in_place, n);
    float *parts = fv_check_start(c, "dx", in_place, n);
    c->candidate->pointwise.unary_grad[kind](y, in_place ? dx : dy, dx, n, a, b);
    c->reference->pointwise.unary_grad[kind](y, in_place ? scalar : dy, scalar, n, a, b);
    fv_check_compare(c, "dx", dx, scalar, expected, n);
    FV_EACH_PART(c, n, p)
    c->candidate->pointwise.unary_grad[kind](kept ? y + p->begin : NULL, (in_place ? parts : dy) + p->begin, parts + p->begin,
                                             p->end - p->begin, a, b);
    fv_check_same_values(c, "dx in parts", parts, dx, n);
}
