/* nd_unary: x -> f(x) for floats of every width, and what of it means something for whole numbers and bool.
 * nd_unary_grad: x, dy -> dx. nd_test: x -> bool. */
#include "kernels/half.h"
#include "kernels/math64.h"
#include "ops/nd_pointwise.h"

enum { BLOCK = 256 }; /* elements turned into doubles at a time */

/* y[i] of x[i]: one function over n numbers. x and y may be one. */
typedef void (*function)(const double *in, double *out, size_t n, double a, double b);

#define ROW(name, expression)                                                                                          \
    static void name(const double *in, double *out, size_t n, double a, double b) {                                    \
        (void)a, (void)b;                                                                                              \
        for (size_t i = 0; i < n; i++) {                                                                               \
            const double x = in[i];                                                                                    \
            (void)x;                                                                                                   \
            out[i] = expression;                                                                                       \
        }                                                                                                              \
    }
#define FUNCTION(name, value, slope) ROW(name, value) ROW(name##_slope, slope)

static inline double softplus64(double x) { return (x > 0 ? x : 0) + fv_log1p64(fv_exp64(-fabs(x))); }
static inline double normal64(double x) { return 0.5 * (1 + fv_erf64(x * 0.70710678118654752440)); }
static inline double gelu_inner(double x) { return fv_tanh64(0.79788456080286535588 * (x + 0.044715 * x * x * x)); }
static inline double sign64(double x) { return x > 0 ? 1 : x < 0 ? -1 : x; }
static inline double unit_clamp(double x) { return x < 0 ? 0 : x > 1 ? 1 : x; }
static double mish_slope_of(double x) {
    const double t = fv_tanh64(softplus64(x));
    return t + x * (1 - t * t) * fv_sigmoid64(x);
}
static double gelu_tanh_slope_of(double x) {
    const double t = gelu_inner(x);
    return 0.5 * (1 + t) + 0.5 * x * (1 - t * t) * 0.79788456080286535588 * (1 + 3 * 0.044715 * x * x);
}

FUNCTION(neg, -x, -1)
FUNCTION(absolute, fabs(x), x > 0 ? 1 : x < 0 ? -1 : 0)
FUNCTION(sign, sign64(x), 0)
FUNCTION(relu, x<0 ? 0 : x, x> 0)
FUNCTION(reciprocal, 1 / x, -1 / (x * x))
FUNCTION(root, sqrt(x), 0.5 / sqrt(x))
FUNCTION(down, floor(x), 0)
FUNCTION(up, ceil(x), 0)
FUNCTION(nearest, rint(x), 0)
FUNCTION(exponential, fv_exp64(x), fv_exp64(x))
FUNCTION(logarithm, fv_log64(x), 1 / x)
FUNCTION(sine, fv_sin64(x), fv_cos64(x))
FUNCTION(cosine, fv_cos64(x), -fv_sin64(x))
FUNCTION(tangent, fv_tan64(x), 1 + fv_tan64(x) * fv_tan64(x))
FUNCTION(arc_sine, fv_asin64(x), 1 / sqrt((1 - x) * (1 + x)))
FUNCTION(arc_cosine, fv_acos64(x), -1 / sqrt((1 - x) * (1 + x)))
FUNCTION(arc_tangent, fv_atan64(x), 1 / (1 + x * x))
FUNCTION(hyperbolic_sine, fv_sinh64(x), fv_cosh64(x))
FUNCTION(hyperbolic_cosine, fv_cosh64(x), fv_sinh64(x))
FUNCTION(hyperbolic_tangent, fv_tanh64(x), 1 - fv_tanh64(x) * fv_tanh64(x))
FUNCTION(area_sine, fv_asinh64(x), 1 / sqrt(1 + x * x))
FUNCTION(area_cosine, fv_acosh64(x), 1 / sqrt(x * x - 1))
FUNCTION(area_tangent, fv_atanh64(x), 1 / ((1 - x) * (1 + x)))
FUNCTION(error_function, fv_erf64(x), 1.12837916709551257390 * fv_exp64(-x * x))
FUNCTION(sigmoid, fv_sigmoid64(x), fv_sigmoid64(x) * fv_sigmoid64(-x))
FUNCTION(softplus, softplus64(x), fv_sigmoid64(x))
FUNCTION(softsign, x / (1 + fabs(x)), 1 / ((1 + fabs(x)) * (1 + fabs(x))))
FUNCTION(hard_sigmoid, unit_clamp(a *x + b), a *x + b > 0 && a * x + b < 1 ? a : 0)
FUNCTION(hard_swish, x *unit_clamp(x / 6 + 0.5), x > -3 ? x < 3 ? x / 3 + 0.5 : 1 : 0)
FUNCTION(mish, x *fv_tanh64(softplus64(x)), mish_slope_of(x))
FUNCTION(gelu, x *normal64(x), normal64(x) + x * 0.39894228040143267794 * fv_exp64(-0.5 * x * x))
FUNCTION(gelu_tanh, 0.5 * x * (1 + gelu_inner(x)), gelu_tanh_slope_of(x))
FUNCTION(leaky_relu, x < 0 ? a * x : x, x < 0 ? a : 1)
FUNCTION(elu, x < 0 ? b * a * fv_expm1_64(x) : b * x, x < 0 ? b * a * fv_exp64(x) : b)
FUNCTION(celu, x < 0 ? a * fv_expm1_64(x / a) : x, x < 0 ? fv_exp64(x / a) : 1)
FUNCTION(thresholded, x > a ? x : x != x ? x : 0, x > a)
FUNCTION(shrink, x<-a ? x + b : x> a ? x - b : x != x ? x : 0, x<-a || x> a)
FUNCTION(linear, a *x + b, a)
FUNCTION(inverse_root, 1 / sqrt(x + a), -0.5 / ((x + a) * sqrt(x + a)))

static const struct {
    function value, slope;
} functions[FV_ND_UNARY_COUNT] = {
    [FV_ND_NEG] = {neg, neg_slope},
    [FV_ND_ABS] = {absolute, absolute_slope},
    [FV_ND_SIGN] = {sign, sign_slope},
    [FV_ND_RELU] = {relu, relu_slope},
    [FV_ND_RECIPROCAL] = {reciprocal, reciprocal_slope},
    [FV_ND_SQRT] = {root, root_slope},
    [FV_ND_FLOOR] = {down, down_slope},
    [FV_ND_CEIL] = {up, up_slope},
    [FV_ND_ROUND] = {nearest, nearest_slope},
    [FV_ND_EXP] = {exponential, exponential_slope},
    [FV_ND_LOG] = {logarithm, logarithm_slope},
    [FV_ND_SIN] = {sine, sine_slope},
    [FV_ND_COS] = {cosine, cosine_slope},
    [FV_ND_TAN] = {tangent, tangent_slope},
    [FV_ND_ASIN] = {arc_sine, arc_sine_slope},
    [FV_ND_ACOS] = {arc_cosine, arc_cosine_slope},
    [FV_ND_ATAN] = {arc_tangent, arc_tangent_slope},
    [FV_ND_SINH] = {hyperbolic_sine, hyperbolic_sine_slope},
    [FV_ND_COSH] = {hyperbolic_cosine, hyperbolic_cosine_slope},
    [FV_ND_TANH] = {hyperbolic_tangent, hyperbolic_tangent_slope},
    [FV_ND_ASINH] = {area_sine, area_sine_slope},
    [FV_ND_ACOSH] = {area_cosine, area_cosine_slope},
    [FV_ND_ATANH] = {area_tangent, area_tangent_slope},
    [FV_ND_ERF] = {error_function, error_function_slope},
    [FV_ND_SIGMOID] = {sigmoid, sigmoid_slope},
    [FV_ND_SOFTPLUS] = {softplus, softplus_slope},
    [FV_ND_SOFTSIGN] = {softsign, softsign_slope},
    [FV_ND_HARD_SIGMOID] = {hard_sigmoid, hard_sigmoid_slope},
    [FV_ND_HARD_SWISH] = {hard_swish, hard_swish_slope},
    [FV_ND_MISH] = {mish, mish_slope},
    [FV_ND_GELU] = {gelu, gelu_slope},
    [FV_ND_GELU_TANH] = {gelu_tanh, gelu_tanh_slope},
    [FV_ND_LEAKY_RELU] = {leaky_relu, leaky_relu_slope},
    [FV_ND_ELU] = {elu, elu_slope},
    [FV_ND_CELU] = {celu, celu_slope},
    [FV_ND_THRESHOLDED] = {thresholded, thresholded_slope},
    [FV_ND_SHRINK] = {shrink, shrink_slope},
    [FV_ND_LINEAR] = {linear, linear_slope},
    [FV_ND_RSQRT] = {inverse_root, inverse_root_slope},
};

typedef struct unary unary;
typedef void (*run_fn)(const unary *s, fv_range r);
struct unary {
    const fv_buffer *x, *dy, *y;
    size_t count, x_bytes;
    int32_t kind, mode;
    double a, b;
    function function; /* what `run` maps with, where it maps */
    run_fn run;
};

#define MAPPED(name, T, load, store)                                                                                   \
    static void name(const unary *s, fv_range r) {                                                                     \
        const T *x = s->x->data;                                                                                       \
        T *y = s->y->data;                                                                                             \
        for (size_t first = r.begin; first < r.end; first += BLOCK) {                                                  \
            const size_t n = fv_min_size(BLOCK, r.end - first);                                                        \
            double block[BLOCK];                                                                                       \
            for (size_t i = 0; i < n; i++) block[i] = load(x[first + i]);                                              \
            s->function(block, block, n, s->a, s->b);                                                                  \
            for (size_t i = 0; i < n; i++) y[first + i] = store(block[i]);                                             \
        }                                                                                                              \
    }
#define AS_IS(x) (x)
#define AS_FLOAT(x) (float)(x)
MAPPED(map_f32, float, AS_IS, AS_FLOAT)
MAPPED(map_f64, double, AS_IS, AS_IS)
MAPPED(map_f16, uint16_t, fv_half_to_float, fv_half_from_double)

/* Cheap ones in float, where turning to double would cost more than they do; each is one correctly rounded operation.
 */
#define CHEAP(name, expression)                                                                                        \
    static void name(const unary *s, fv_range r) {                                                                     \
        const float *data = s->x->data;                                                                                \
        float *y = s->y->data;                                                                                         \
        for (size_t i = r.begin; i < r.end; i++) {                                                                     \
            const float x = data[i];                                                                                   \
            y[i] = expression;                                                                                         \
        }                                                                                                              \
    }
CHEAP(neg_f32, -x)
CHEAP(reciprocal_f32, 1.0f / x)
CHEAP(sqrt_f32, sqrtf(x))
CHEAP(floor_f32, floorf(x))
CHEAP(ceil_f32, ceilf(x))
CHEAP(round_f32, rintf(x))

#define WHOLE(name, T)                                                                                                 \
    static void name(const unary *s, fv_range r) {                                                                     \
        const T *data = s->x->data;                                                                                    \
        T *y = s->y->data;                                                                                             \
        const int32_t kind = s->kind;                                                                                  \
        for (size_t i = r.begin; i < r.end; i++) {                                                                     \
            const T x = data[i];                                                                                       \
            const T minus = (T)(0 - (uint64_t)x);                                                                      \
            y[i] = kind == FV_ND_NEG    ? minus                                                                        \
                   : kind == FV_ND_ABS  ? (x > 0 || (T)-1 > (T)0 ? x : minus)                                          \
                   : kind == FV_ND_SIGN ? (T)(x == 0  ? 0                                                              \
                                              : x > 0 ? 1                                                              \
                                                      : -1)                                                            \
                   : kind == FV_ND_RELU ? (x > 0 ? x : 0)                                                              \
                                        : (T)~x;                                                                       \
        }                                                                                                              \
    }
WHOLE(whole_i8, int8_t)
WHOLE(whole_i16, int16_t)
WHOLE(whole_i32, int32_t)
WHOLE(whole_i64, int64_t)
WHOLE(whole_u8, uint8_t)
WHOLE(whole_u16, uint16_t)
WHOLE(whole_u32, uint32_t)
WHOLE(whole_u64, uint64_t)

static void not_bool(const unary *s, fv_range r) {
    const uint8_t *x = s->x->data;
    uint8_t *y = s->y->data;
    for (size_t i = r.begin; i < r.end; i++) y[i] = !x[i];
}

#define TEST(name, T, load)                                                                                            \
    static void name(const unary *s, fv_range r) {                                                                     \
        const T *data = s->x->data;                                                                                    \
        uint8_t *y = s->y->data;                                                                                       \
        const bool nan = s->kind == FV_ND_IS_NAN, above = s->mode & 1, below = s->mode & 2;                            \
        for (size_t i = r.begin; i < r.end; i++) {                                                                     \
            const double x = load(data[i]);                                                                            \
            y[i] = nan ? x != x : (x == INFINITY && above) || (x == -INFINITY && below);                               \
        }                                                                                                              \
    }
TEST(test_f32, float, AS_IS)
TEST(test_f64, double, AS_IS)
TEST(test_f16, uint16_t, fv_half_to_float)

static run_fn cheap_of(int32_t kind) {
    switch (kind) {
    case FV_ND_NEG:
        return neg_f32;
    case FV_ND_RECIPROCAL:
        return reciprocal_f32;
    case FV_ND_SQRT:
        return sqrt_f32;
    case FV_ND_FLOOR:
        return floor_f32;
    case FV_ND_CEIL:
        return ceil_f32;
    case FV_ND_ROUND:
        return round_f32;
    default:
        return map_f32;
    }
}

/* NULL: the function does not take the type. */
static run_fn run_of(int32_t kind, fv_dtype type) {
    static const run_fn whole[12] = {
        [FV_I8] = whole_i8, [FV_I16] = whole_i16, [FV_I32] = whole_i32, [FV_I64] = whole_i64,
        [FV_U8] = whole_u8, [FV_U16] = whole_u16, [FV_U32] = whole_u32, [FV_U64] = whole_u64};
    if (kind == FV_ND_BIT_NOT && type == FV_BOOL) return not_bool;
    if (!fv_nd_is_floating(type)) return kind <= FV_ND_BIT_NOT ? whole[type] : NULL;
    if (kind == FV_ND_BIT_NOT) return NULL;
    if (kind >= FV_ND_IS_NAN) return type == FV_F32 ? test_f32 : type == FV_F64 ? test_f64 : test_f16;
    return type == FV_F32 ? cheap_of(kind) : type == FV_F64 ? map_f64 : map_f16;
}

static fv_status unary_infer(fv_node *n, fv_value_info *values) {
    const fv_value_info x = values[n->in[0]];
    const int32_t kind = n->attr.nd.kind;
    FV_RETURN_IF(kind < 0 || kind >= FV_ND_IS_NAN, FV_ERR_ARGUMENT, "node \"%s\": unknown function %d", n->name, kind);
    FV_RETURN_IF(!run_of(kind, x.dtype), FV_ERR_UNSUPPORTED, "node \"%s\": this function does not take %s", n->name,
                 fv_dtype_name(x.dtype));
    FV_RETURN_IF(kind == FV_ND_CELU && n->attr.nd.alpha == 0, FV_ERR_ARGUMENT, "node \"%s\": alpha is 0", n->name);
    fv_infer_like(&values[n->out[0]], &x);
    return FV_OK;
}

static fv_status test_infer(fv_node *n, fv_value_info *values) {
    const fv_value_info x = values[n->in[0]];
    const int32_t kind = n->attr.nd.kind;
    FV_RETURN_IF(kind < FV_ND_IS_NAN || kind >= FV_ND_UNARY_COUNT, FV_ERR_ARGUMENT, "node \"%s\": unknown test %d",
                 n->name, kind);
    FV_RETURN_IF(!run_of(kind, x.dtype), FV_ERR_UNSUPPORTED, "node \"%s\": this test does not take %s", n->name,
                 fv_dtype_name(x.dtype));
    fv_nd_infer(&values[n->out[0]], FV_BOOL, &x.shape);
    return FV_OK;
}

static void run_unary(void *arg, size_t piece, void *scratch) {
    (void)scratch;
    const unary *s = arg;
    s->run(s, fv_run_of(piece, s->count));
}

static fv_status make(fv_plan_op *p, fv_value x, fv_value dy, run_fn run, function f) {
    const fv_nd_attr *attr = &p->node->attr.nd;
    unary *s;
    FV_FORWARD(fv_plan_state(p, sizeof *s, (void **)&s));
    *s = (unary){.x = fv_plan_buffer(p, x),
                 .dy = fv_plan_buffer(p, dy),
                 .y = fv_plan_buffer(p, p->node->out[0]),
                 .count = fv_shape_count(&p->values[x].shape),
                 .kind = attr->kind,
                 .mode = attr->mode,
                 .a = attr->alpha,
                 .b = attr->beta,
                 .function = f,
                 .run = run};
    p->algorithm = "pointwise";
    p->flops = (double)s->count;
    return fv_plan_phase(p, false, run_unary, s, fv_run_pieces(s->count));
}

static fv_status unary_plan(fv_plan_op *p) {
    const fv_value x = p->node->in[0];
    return make(p, x, FV_NONE, run_of(p->node->attr.nd.kind, p->values[x].dtype),
                functions[p->node->attr.nd.kind].value);
}

static fv_status unary_backward(fv_backward *b) {
    const fv_value in[2] = {b->node->in[0], b->dout[0]};
    FV_RETURN_IF(!functions[b->node->attr.nd.kind].slope, FV_ERR_UNSUPPORTED,
                 "node \"%s\": this function has no gradient", b->node->name);
    b->din[0] = fv_emit_node(b->graph, &fv_op_nd_unary_grad, in, 2, 1, &b->node->attr);
    return FV_OK;
}

const fv_op fv_op_nd_unary = {"nd_unary", 1, 1, 1, FV_OP_ANY_LAYOUT, unary_infer, unary_plan, unary_backward};

const fv_op fv_op_nd_test = {"nd_test", 1, 1, 1, FV_OP_PLAIN | FV_OP_NO_GRADIENT, test_infer, unary_plan, NULL};

static fv_status unary_grad_infer(fv_node *n, fv_value_info *values) {
    FV_RETURN_IF(values[n->in[0]].layout != values[n->in[1]].layout && values[n->in[0]].kind == FV_VALUE_ACTIVATION,
                 FV_ERR_SHAPE, "node \"%s\": its inputs lie differently", n->name);
    fv_infer_like(&values[n->out[0]], &values[n->in[1]]);
    return FV_OK;
}

static void run_grad(const unary *s, fv_range r) {
    const fv_real *x = s->x->data, *dy = s->dy->data;
    fv_real *dx = s->y->data;
    for (size_t first = r.begin; first < r.end; first += BLOCK) {
        const size_t n = fv_min_size(BLOCK, r.end - first);
        double slope[BLOCK];
        for (size_t i = 0; i < n; i++) slope[i] = x[first + i];
        s->function(slope, slope, n, s->a, s->b);
        for (size_t i = 0; i < n; i++) dx[first + i] = (fv_real)(dy[first + i] * slope[i]);
    }
}

static fv_status unary_grad_plan(fv_plan_op *p) {
    return make(p, p->node->in[0], p->node->in[1], run_grad, functions[p->node->attr.nd.kind].slope);
}

const fv_op fv_op_nd_unary_grad = {
    "nd_unary_grad", 2, 2, 1, FV_OP_IN_PLACE_SECOND | FV_OP_ANY_LAYOUT, unary_grad_infer, unary_grad_plan, NULL};
