/* Element-wise operators on general tensors: every type, full broadcasting. Layers of fovea.h read the same operators
 * first where they are faster or have a gradient of their own (onnx_read_pointwise.c, onnx_read_activation.c). */
#include "io/onnx_nd.h"
#include "ops/window.h"

#include <string.h>

/* ---- two operands ---- */

typedef struct binary_row {
    const char *op;
    fv_nd_binary kind;
    bool swap;
} binary_row;

static const binary_row binaries[] = {
    {"Add", FV_ND_ADD, false},
    {"Sub", FV_ND_SUB, false},
    {"Mul", FV_ND_MUL, false},
    {"Div", FV_ND_DIV, false},
    {"PRelu", FV_ND_PRELU, false},
    {"And", FV_ND_BIT_AND, false},
    {"Or", FV_ND_BIT_OR, false},
    {"Xor", FV_ND_BIT_XOR, false},
    {"BitwiseAnd", FV_ND_BIT_AND, false},
    {"BitwiseOr", FV_ND_BIT_OR, false},
    {"BitwiseXor", FV_ND_BIT_XOR, false},
    {"Equal", FV_ND_EQUAL, false},
    {"Less", FV_ND_LESS, false},
    {"Greater", FV_ND_LESS, true},
    {"LessOrEqual", FV_ND_LESS_EQUAL, false},
    {"GreaterOrEqual", FV_ND_LESS_EQUAL, true},
};

/* Before version 7 the second operand had to say that it broadcasts, and from which axis. */
static fv_status trailing_axes(const fv_onnx_reader *r, const FvOnnx__Node *n, fv_value a, fv_value b, int32_t *out) {
    const int32_t left = fv_onnx_shape(r, a)->rank, right = fv_onnx_shape(r, b)->rank;
    *out = 0;
    if (strcmp(n->op_type, "PRelu") == 0 && r->opset < 9 && right == 1 &&
        left > 1) { /* slopes were those of the channels */
        *out = fv_onnx_shape(r, b)->dim[0] == fv_onnx_shape(r, a)->dim[1] ? left - 2 : 0;
        return FV_OK;
    }
    if (r->opset >= 7 || !fv_onnx_attribute(n, "axis") || !fv_onnx_attribute_int(n, "broadcast", 0)) return FV_OK;
    int64_t axis = fv_onnx_attribute_int(n, "axis", 0);
    if (axis < 0) axis += left;
    FV_RETURN_IF(axis < 0 || axis + right > left, FV_ERR_SHAPE,
                 "node \"%.100s\" (%.60s): axis %lld of a tensor of rank %d", n->name ? n->name : "", n->op_type,
                 (long long)axis, left);
    *out = (int32_t)(left - axis - right);
    return FV_OK;
}

static fv_status read_binary(fv_onnx_reader *r, const FvOnnx__Node *n) {
    const binary_row *row = binaries;
    int32_t trailing;
    fv_value a, b;
    while (strcmp(row->op, n->op_type) != 0) row++;
    FV_FORWARD(fv_onnx_value(r, n, 0, &a));
    FV_FORWARD(fv_onnx_value(r, n, 1, &b));
    FV_FORWARD(trailing_axes(r, n, a, b, &trailing));
    if (row->swap && trailing) return fv_onnx_refuse(n, "its axis is not read");
    return fv_onnx_done(
        r, n, fv_onnx_binary(r, row->kind, row->swap ? b : a, row->swap ? a : b, trailing, fv_onnx_node_name(n)));
}

/* The result has the base's type; a float among the two makes the computation one of floats. */
static fv_status read_pow(fv_onnx_reader *r, const FvOnnx__Node *n) {
    fv_value a, b;
    int32_t trailing;
    FV_FORWARD(fv_onnx_value(r, n, 0, &a));
    FV_FORWARD(fv_onnx_value(r, n, 1, &b));
    FV_FORWARD(trailing_axes(r, n, a, b, &trailing));
    const fv_dtype base = fv_onnx_dtype_of(r, a), exponent = fv_onnx_dtype_of(r, b);
    if (base == exponent || fv_nd_is_floating(base) || !fv_nd_is_floating(exponent)) {
        b = fv_onnx_cast(r, b, base, NULL);
        return fv_onnx_done(r, n, fv_onnx_binary(r, FV_ND_POW, a, b, trailing, fv_onnx_node_name(n)));
    }
    const fv_value y = fv_onnx_binary(r, FV_ND_POW, fv_onnx_cast(r, a, FV_F64, NULL), fv_onnx_cast(r, b, FV_F64, NULL),
                                      trailing, NULL);
    return fv_onnx_done(r, n, fv_onnx_cast(r, y, base, fv_onnx_node_name(n)));
}

static fv_status read_mod(fv_onnx_reader *r, const FvOnnx__Node *n) {
    fv_value a, b;
    FV_FORWARD(fv_onnx_value(r, n, 0, &a));
    FV_FORWARD(fv_onnx_value(r, n, 1, &b));
    const bool dividend = fv_onnx_attribute_int(n, "fmod", 0) != 0;
    return fv_onnx_done(r, n, fv_onnx_binary(r, dividend ? FV_ND_FMOD : FV_ND_MOD, a, b, 0, fv_onnx_node_name(n)));
}

static fv_status read_shift(fv_onnx_reader *r, const FvOnnx__Node *n) {
    fv_value a, b;
    FV_FORWARD(fv_onnx_value(r, n, 0, &a));
    FV_FORWARD(fv_onnx_value(r, n, 1, &b));
    const bool left = fv_onnx_text_is(n, "direction", "LEFT", false);
    FV_RETURN_IF(!left && !fv_onnx_text_is(n, "direction", "RIGHT", false), FV_ERR_FORMAT,
                 "node \"%.100s\" (BitShift) has no direction", n->name ? n->name : "");
    return fv_onnx_done(r, n,
                        fv_onnx_binary(r, left ? FV_ND_SHIFT_LEFT : FV_ND_SHIFT_RIGHT, a, b, 0, fv_onnx_node_name(n)));
}

/* Sum, Mean, Min, Max of any number. */
static fv_status read_many(fv_onnx_reader *r, const FvOnnx__Node *n) {
    const bool mean = strcmp(n->op_type, "Mean") == 0;
    const fv_nd_binary kind = mean || strcmp(n->op_type, "Sum") == 0 ? FV_ND_ADD
                              : strcmp(n->op_type, "Min") == 0       ? FV_ND_LEAST
                                                                     : FV_ND_LARGEST;
    fv_value all, next;
    FvOnnx__Node add = *n;
    if (n->n_input == 2 && !mean && kind == FV_ND_ADD && r->opset >= 8) { /* a layer may know it as that */
        add.op_type = (char *)"Add";
        return fv_onnx_ask_readers(r, &add);
    }
    FV_FORWARD(fv_onnx_value(r, n, 0, &all));
    const fv_value first = all;
    for (size_t i = 1; i < n->n_input; i++) {
        FV_FORWARD(fv_onnx_value(r, n, i, &next));
        all = fv_onnx_binary(r, kind, all, next, 0, mean || i + 1 < n->n_input ? NULL : fv_onnx_node_name(n));
    }
    if (mean) all = fv_onnx_unary(r, FV_ND_LINEAR, all, 1 / (double)n->n_input, 0, fv_onnx_node_name(n));
    if (all == first && all != FV_NONE)
        all = fv_onnx_cast(r, all, fv_onnx_dtype_of(r, all), fv_onnx_node_name(n)); /* a value of its own */
    return fv_onnx_done(r, n, all);
}

/* ---- one operand ---- */

typedef struct unary_row {
    const char *op;
    fv_nd_unary kind;
    const char *a, *b; /* attributes; NULL: none */
    double a_default, b_default;
} unary_row;

static const unary_row unaries[] = {
    {"Neg", FV_ND_NEG, NULL, NULL, 0, 0},
    {"Abs", FV_ND_ABS, NULL, NULL, 0, 0},
    {"Sign", FV_ND_SIGN, NULL, NULL, 0, 0},
    {"Relu", FV_ND_RELU, NULL, NULL, 0, 0},
    {"Not", FV_ND_BIT_NOT, NULL, NULL, 0, 0},
    {"BitwiseNot", FV_ND_BIT_NOT, NULL, NULL, 0, 0},
    {"Reciprocal", FV_ND_RECIPROCAL, NULL, NULL, 0, 0},
    {"Sqrt", FV_ND_SQRT, NULL, NULL, 0, 0},
    {"Floor", FV_ND_FLOOR, NULL, NULL, 0, 0},
    {"Ceil", FV_ND_CEIL, NULL, NULL, 0, 0},
    {"Round", FV_ND_ROUND, NULL, NULL, 0, 0},
    {"Exp", FV_ND_EXP, NULL, NULL, 0, 0},
    {"Log", FV_ND_LOG, NULL, NULL, 0, 0},
    {"Sin", FV_ND_SIN, NULL, NULL, 0, 0},
    {"Cos", FV_ND_COS, NULL, NULL, 0, 0},
    {"Tan", FV_ND_TAN, NULL, NULL, 0, 0},
    {"Asin", FV_ND_ASIN, NULL, NULL, 0, 0},
    {"Acos", FV_ND_ACOS, NULL, NULL, 0, 0},
    {"Atan", FV_ND_ATAN, NULL, NULL, 0, 0},
    {"Sinh", FV_ND_SINH, NULL, NULL, 0, 0},
    {"Cosh", FV_ND_COSH, NULL, NULL, 0, 0},
    {"Tanh", FV_ND_TANH, NULL, NULL, 0, 0},
    {"Asinh", FV_ND_ASINH, NULL, NULL, 0, 0},
    {"Acosh", FV_ND_ACOSH, NULL, NULL, 0, 0},
    {"Atanh", FV_ND_ATANH, NULL, NULL, 0, 0},
    {"Erf", FV_ND_ERF, NULL, NULL, 0, 0},
    {"Sigmoid", FV_ND_SIGMOID, NULL, NULL, 0, 0},
    {"Softplus", FV_ND_SOFTPLUS, NULL, NULL, 0, 0},
    {"Softsign", FV_ND_SOFTSIGN, NULL, NULL, 0, 0},
    {"HardSigmoid", FV_ND_HARD_SIGMOID, "alpha", "beta", 0.2f, 0.5f},
    {"HardSwish", FV_ND_HARD_SWISH, NULL, NULL, 0, 0},
    {"Mish", FV_ND_MISH, NULL, NULL, 0, 0},
    {"LeakyRelu", FV_ND_LEAKY_RELU, "alpha", NULL, 0.01f, 0},
    {"Elu", FV_ND_ELU, "alpha", NULL, 1, 1},
    {"Selu", FV_ND_ELU, "alpha", "gamma", FV_SELU_ALPHA, FV_SELU_GAMMA},
    {"Celu", FV_ND_CELU, "alpha", NULL, 1, 0},
    {"ThresholdedRelu", FV_ND_THRESHOLDED, "alpha", NULL, 1, 0},
    {"Shrink", FV_ND_SHRINK, "lambd", "bias", 0.5, 0},
    {"IsNaN", FV_ND_IS_NAN, NULL, NULL, 0, 0},
};

static fv_status read_unary(fv_onnx_reader *r, const FvOnnx__Node *n) {
    const unary_row *row = unaries;
    fv_value x;
    while (strcmp(row->op, n->op_type) != 0) row++;
    FV_FORWARD(fv_onnx_value(r, n, 0, &x));
    const double a = row->a ? fv_onnx_attribute_float(n, row->a, (float)row->a_default) : row->a_default;
    const double b = row->b ? fv_onnx_attribute_float(n, row->b, (float)row->b_default) : row->b_default;
    return fv_onnx_done(r, n, fv_onnx_unary(r, row->kind, x, a, b, fv_onnx_node_name(n)));
}

static fv_status read_gelu(fv_onnx_reader *r, const FvOnnx__Node *n) {
    fv_value x;
    FV_FORWARD(fv_onnx_value(r, n, 0, &x));
    const bool by_tanh = fv_onnx_text_is(n, "approximate", "tanh", false);
    FV_RETURN_IF(!by_tanh && !fv_onnx_text_is(n, "approximate", "none", true), FV_ERR_FORMAT,
                 "node \"%.100s\" (Gelu): unknown approximation", n->name ? n->name : "");
    return fv_onnx_done(r, n, fv_onnx_unary(r, by_tanh ? FV_ND_GELU_TANH : FV_ND_GELU, x, 0, 0, fv_onnx_node_name(n)));
}

static fv_status read_is_inf(fv_onnx_reader *r, const FvOnnx__Node *n) {
    const bool positive = fv_onnx_attribute_int(n, "detect_positive", 1),
               negative = fv_onnx_attribute_int(n, "detect_negative", 1);
    const fv_attributes attr = {.nd = {.kind = FV_ND_IS_INF, .mode = positive | negative << 1}};
    fv_value x;
    FV_FORWARD(fv_onnx_value(r, n, 0, &x));
    return fv_onnx_done(r, n, fv_graph_node(r->graph, &fv_op_nd_test, fv_onnx_node_name(n), &x, 1, 1, &attr));
}

/* ---- bounds, choices, types ---- */

static fv_value scalar_of(fv_onnx_reader *r, const FvOnnx__Node *n, const char *attribute) {
    const float f = fv_onnx_attribute_float(n, attribute, 0);
    const double d = f;
    const fv_shape shape = {0};
    fv_value x;
    if (fv_onnx_value(r, n, 0, &x) != FV_OK) return FV_NONE;
    if (fv_onnx_dtype_of(r, x) == FV_F32) return fv_graph_constant(r->graph, NULL, FV_F32, &shape, &f);
    return fv_onnx_cast(r, fv_graph_constant(r->graph, NULL, FV_F64, &shape, &d), fv_onnx_dtype_of(r, x), NULL);
}

static fv_status read_clip(fv_onnx_reader *r, const FvOnnx__Node *n) {
    static const char *const names[2] = {"min", "max"};
    fv_value x, y, bound;
    FV_FORWARD(fv_onnx_value(r, n, 0, &x));
    y = x;
    for (size_t i = 0; i < 2; i++) {
        FV_FORWARD(fv_onnx_optional(r, n, 1 + i, &bound));
        FV_RETURN_IF(bound != FV_NONE && fv_shape_count(&fv_emit_info(r->graph, bound)->shape) != 1, FV_ERR_SHAPE,
                     "node \"%.100s\" (Clip): its %s is %s, not one number", n->name ? n->name : "", names[i],
                     fv_shape_print(&fv_emit_info(r->graph, bound)->shape).text);
        if (bound == FV_NONE && fv_onnx_attribute(n, names[i])) bound = scalar_of(r, n, names[i]);
        FV_FORWARD(fv_graph_status(r->graph));
        if (bound != FV_NONE) y = fv_onnx_binary(r, i ? FV_ND_LEAST : FV_ND_LARGEST, y, bound, 0, NULL);
    }
    if (y == x && y != FV_NONE) y = fv_onnx_cast(r, y, fv_onnx_dtype_of(r, y), fv_onnx_node_name(n));
    return fv_onnx_done(r, n, y);
}

static fv_status read_where(fv_onnx_reader *r, const FvOnnx__Node *n) {
    const fv_attributes attr = {0};
    fv_value in[3];
    for (size_t i = 0; i < 3; i++) FV_FORWARD(fv_onnx_value(r, n, i, &in[i]));
    return fv_onnx_done(r, n, fv_graph_node(r->graph, &fv_op_nd_where, fv_onnx_node_name(n), in, 3, 1, &attr));
}

static fv_status read_cast(fv_onnx_reader *r, const FvOnnx__Node *n) {
    fv_dtype to;
    fv_value x;
    FV_FORWARD(fv_onnx_value(r, n, 0, &x));
    FV_FORWARD(fv_onnx_type_named(n, fv_onnx_attribute_int(n, "to", 0), &to));
    return fv_onnx_done(r, n, fv_onnx_cast(r, x, to, fv_onnx_node_name(n)));
}

static fv_status read_cast_like(fv_onnx_reader *r, const FvOnnx__Node *n) {
    fv_value x, like;
    FV_FORWARD(fv_onnx_value(r, n, 0, &x));
    FV_FORWARD(fv_onnx_value(r, n, 1, &like));
    return fv_onnx_done(r, n, fv_onnx_cast(r, x, fv_onnx_dtype_of(r, like), fv_onnx_node_name(n)));
}

const fv_onnx_read_row fv_onnx_read_nd_pointwise[] = {
    {"Add", read_binary},
    {"Sub", read_binary},
    {"Mul", read_binary},
    {"Div", read_binary},
    {"PRelu", read_binary},
    {"And", read_binary},
    {"Or", read_binary},
    {"Xor", read_binary},
    {"BitwiseAnd", read_binary},
    {"BitwiseOr", read_binary},
    {"BitwiseXor", read_binary},
    {"Equal", read_binary},
    {"Less", read_binary},
    {"Greater", read_binary},
    {"LessOrEqual", read_binary},
    {"GreaterOrEqual", read_binary},
    {"Pow", read_pow},
    {"Mod", read_mod},
    {"BitShift", read_shift},
    {"Sum", read_many},
    {"Mean", read_many},
    {"Min", read_many},
    {"Max", read_many},
    {"Neg", read_unary},
    {"Abs", read_unary},
    {"Sign", read_unary},
    {"Relu", read_unary},
    {"Not", read_unary},
    {"BitwiseNot", read_unary},
    {"Reciprocal", read_unary},
    {"Sqrt", read_unary},
    {"Floor", read_unary},
    {"Ceil", read_unary},
    {"Round", read_unary},
    {"Exp", read_unary},
    {"Log", read_unary},
    {"Sin", read_unary},
    {"Cos", read_unary},
    {"Tan", read_unary},
    {"Asin", read_unary},
    {"Acos", read_unary},
    {"Atan", read_unary},
    {"Sinh", read_unary},
    {"Cosh", read_unary},
    {"Tanh", read_unary},
    {"Asinh", read_unary},
    {"Acosh", read_unary},
    {"Atanh", read_unary},
    {"Erf", read_unary},
    {"Sigmoid", read_unary},
    {"Softplus", read_unary},
    {"Softsign", read_unary},
    {"HardSigmoid", read_unary},
    {"HardSwish", read_unary},
    {"Mish", read_unary},
    {"LeakyRelu", read_unary},
    {"Elu", read_unary},
    {"Selu", read_unary},
    {"Celu", read_unary},
    {"ThresholdedRelu", read_unary},
    {"Shrink", read_unary},
    {"IsNaN", read_unary},
    {"IsInf", read_is_inf},
    {"Gelu", read_gelu},
    {"Clip", read_clip},
    {"Where", read_where},
    {"Cast", read_cast},
    {"CastLike", read_cast_like},
    {NULL, NULL},
};
