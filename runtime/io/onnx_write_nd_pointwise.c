/* Element-wise operators on general tensors. What has no operator of its own is a function (onnx_nd_function.c). */
#include "io/onnx_write_nd.h"
#include "ops/nd_pointwise.h"

#include <string.h>

/* ---- one operand ---- */

typedef struct unary_row {
    const char *op, *a, *b; /* attributes that hold alpha and beta; NULL: none */
    int32_t since;          /* operator set; 0: any that is written */
} unary_row;

static const unary_row unaries[FV_ND_UNARY_COUNT] = {
    [FV_ND_NEG] = {"Neg", NULL, NULL, 0},
    [FV_ND_ABS] = {"Abs", NULL, NULL, 0},
    [FV_ND_SIGN] = {"Sign", NULL, NULL, 0},
    [FV_ND_RELU] = {"Relu", NULL, NULL, 0},
    [FV_ND_BIT_NOT] = {"BitwiseNot", NULL, NULL, 18},
    [FV_ND_RECIPROCAL] = {"Reciprocal", NULL, NULL, 0},
    [FV_ND_SQRT] = {"Sqrt", NULL, NULL, 0},
    [FV_ND_FLOOR] = {"Floor", NULL, NULL, 0},
    [FV_ND_CEIL] = {"Ceil", NULL, NULL, 0},
    [FV_ND_ROUND] = {"Round", NULL, NULL, 0},
    [FV_ND_EXP] = {"Exp", NULL, NULL, 0},
    [FV_ND_LOG] = {"Log", NULL, NULL, 0},
    [FV_ND_SIN] = {"Sin", NULL, NULL, 0},
    [FV_ND_COS] = {"Cos", NULL, NULL, 0},
    [FV_ND_TAN] = {"Tan", NULL, NULL, 0},
    [FV_ND_ASIN] = {"Asin", NULL, NULL, 0},
    [FV_ND_ACOS] = {"Acos", NULL, NULL, 0},
    [FV_ND_ATAN] = {"Atan", NULL, NULL, 0},
    [FV_ND_SINH] = {"Sinh", NULL, NULL, 0},
    [FV_ND_COSH] = {"Cosh", NULL, NULL, 0},
    [FV_ND_TANH] = {"Tanh", NULL, NULL, 0},
    [FV_ND_ASINH] = {"Asinh", NULL, NULL, 0},
    [FV_ND_ACOSH] = {"Acosh", NULL, NULL, 0},
    [FV_ND_ATANH] = {"Atanh", NULL, NULL, 0},
    [FV_ND_ERF] = {"Erf", NULL, NULL, 0},
    [FV_ND_SIGMOID] = {"Sigmoid", NULL, NULL, 0},
    [FV_ND_SOFTPLUS] = {"Softplus", NULL, NULL, 0},
    [FV_ND_SOFTSIGN] = {"Softsign", NULL, NULL, 0},
    [FV_ND_HARD_SIGMOID] = {"HardSigmoid", "alpha", "beta", 0},
    [FV_ND_HARD_SWISH] = {"HardSwish", NULL, NULL, 0},
    [FV_ND_MISH] = {"Mish", NULL, NULL, 18},
    [FV_ND_GELU] = {"Gelu", NULL, NULL, 20},
    [FV_ND_GELU_TANH] = {"Gelu", NULL, NULL, 20},
    [FV_ND_LEAKY_RELU] = {"LeakyRelu", "alpha", NULL, 0},
    [FV_ND_ELU] = {"Selu", "alpha", "gamma", 0},
    [FV_ND_CELU] = {"Celu", "alpha", NULL, 0},
    [FV_ND_THRESHOLDED] = {"ThresholdedRelu", "alpha", NULL, 0},
    [FV_ND_SHRINK] = {"Shrink", "lambd", "bias", 0},
    [FV_ND_IS_NAN] = {"IsNaN", NULL, NULL, 0},
    [FV_ND_IS_INF] = {"IsInf", NULL, NULL, 0},
};

static void write_unary(fv_onnx_writer *w, const fv_node *source) {
    const fv_nd_attr *a = &source->attr.nd;
    const bool logical = a->kind == FV_ND_BIT_NOT && w->graph->values[source->in[0]].dtype == FV_BOOL;
    const unary_row row = logical                                ? (unary_row){"Not", NULL, NULL, 0}
                          : a->kind == FV_ND_ELU && a->beta == 1 ? (unary_row){"Elu", "alpha", NULL, 0}
                                                                 : unaries[a->kind];
    if (!row.op) {
        fv_onnx_write_function(w, source);
        return;
    }
    const bool half = w->graph->values[source->in[0]].dtype == FV_F16;
    fv_onnx_need(w, a->kind == FV_ND_IS_INF && half ? 20 : row.since);
    FvOnnx__Node *n = fv_onnx_begin(w, source, row.op, 1);
    if (!n) return;
    if (row.a) fv_onnx_make_float(w, n, row.a, (float)a->alpha);
    if (row.b) fv_onnx_make_float(w, n, row.b, (float)a->beta);
    if (a->kind == FV_ND_GELU_TANH) fv_onnx_make_text(w, n, "approximate", "tanh");
    if (a->kind != FV_ND_IS_INF) return;
    if (!(a->mode & 1)) fv_onnx_make_int(w, n, "detect_positive", 0);
    if (!(a->mode & 2)) fv_onnx_make_int(w, n, "detect_negative", 0);
}

/* ---- two operands ---- */

static const char *const binaries[FV_ND_BINARY_COUNT] = {
    [FV_ND_ADD] = "Add",
    [FV_ND_SUB] = "Sub",
    [FV_ND_MUL] = "Mul",
    [FV_ND_DIV] = "Div",
    [FV_ND_POW] = "Pow",
    [FV_ND_LEAST] = "Min",
    [FV_ND_LARGEST] = "Max",
    [FV_ND_MOD] = "Mod",
    [FV_ND_FMOD] = "Mod",
    [FV_ND_PRELU] = "PRelu",
    [FV_ND_BIT_AND] = "BitwiseAnd",
    [FV_ND_BIT_OR] = "BitwiseOr",
    [FV_ND_BIT_XOR] = "BitwiseXor",
    [FV_ND_SHIFT_LEFT] = "BitShift",
    [FV_ND_SHIFT_RIGHT] = "BitShift",
    [FV_ND_EQUAL] = "Equal",
    [FV_ND_LESS] = "Less",
    [FV_ND_LESS_EQUAL] = "LessOrEqual",
};

static void write_binary(fv_onnx_writer *w, const fv_node *source) {
    const fv_nd_attr *a = &source->attr.nd;
    const bool bits = a->kind >= FV_ND_BIT_AND && a->kind <= FV_ND_BIT_XOR;
    const bool logical = bits && w->graph->values[source->in[0]].dtype == FV_BOOL;
    const char *op = binaries[a->kind];
    if (logical) op = a->kind == FV_ND_BIT_AND ? "And" : a->kind == FV_ND_BIT_OR ? "Or" : "Xor";
    if (bits && !logical) fv_onnx_need(w, 18);
    char *left = fv_onnx_operand(w, source->in[0]);
    char *right = fv_onnx_operand_before(w, source->in[1], a->mode, fv_onnx_value_name(w, source->out[0]));
    FvOnnx__Node *n = fv_onnx_make_node(w, op, source->name, 2, fv_onnx_value_name(w, source->out[0]));
    if (!n) return;
    n->input[0] = left;
    n->input[1] = right;
    if (a->kind == FV_ND_FMOD) fv_onnx_make_int(w, n, "fmod", 1);
    if (a->kind == FV_ND_SHIFT_LEFT) fv_onnx_make_text(w, n, "direction", "LEFT");
    if (a->kind == FV_ND_SHIFT_RIGHT) fv_onnx_make_text(w, n, "direction", "RIGHT");
}

/* ---- choices, types ---- */

static void write_where(fv_onnx_writer *w, const fv_node *source) {
    if (source->in_count < 3 || source->in[1] == FV_NONE || source->in[2] == FV_NONE)
        fv_onnx_cannot(w, source, "an absent operand");
    fv_onnx_begin(w, source, "Where", 3);
}

/* The bounds of a type of at most 16 bits. */
static bool bounds_of(fv_dtype to, double bounds[2]) {
    const double lows[] = {0, -128, 0, -32768}, highs[] = {255, 127, 65535, 32767};
    const fv_dtype types[] = {FV_U8, FV_I8, FV_U16, FV_I16};
    for (size_t i = 0; i < FV_ARRAY_SIZE(types); i++) {
        if (types[i] != to) continue;
        bounds[0] = lows[i];
        bounds[1] = highs[i];
        return true;
    }
    return false;
}

/* A number as a constant scalar of a floating type. */
static char *floating(fv_onnx_writer *w, const char *made, const char *suffix, fv_dtype type, double value) {
    uint64_t bits = 0;
    fv_nd_set_floating(type, &bits, 0, value);
    return fv_onnx_made_tensor(w, made, suffix, 0, NULL, type, &bits);
}

/* ONNX leaves open what a number outside the type becomes: what quantization makes is held within it first. */
static void write_cast(fv_onnx_writer *w, const fv_node *source) {
    const fv_nd_attr *a = &source->attr.nd;
    const fv_dtype from = w->graph->values[source->in[0]].dtype;
    char *x = fv_onnx_operand(w, source->in[0]), *out = fv_onnx_value_name(w, source->out[0]);
    double bounds[2];
    if (a->flag && fv_nd_is_floating(from) && bounds_of(a->dtype, bounds)) {
        if (from == FV_F16 && bounds[1] > 65504) bounds[1] = 65504;
        x = fv_onnx_step(w, source, "Max", x, floating(w, out, "lowest", from, bounds[0]), "low");
        x = fv_onnx_step(w, source, "Min", x, floating(w, out, "highest", from, bounds[1]), "high");
    }
    FvOnnx__Node *n = fv_onnx_make_node(w, "Cast", source->name, 1, out);
    if (!n) return;
    n->input[0] = x;
    fv_onnx_make_int(w, n, "to", fv_onnx_type_of(a->dtype));
}

const fv_onnx_write_row fv_onnx_write_nd_pointwise[] = {
    {&fv_op_nd_unary, write_unary}, {&fv_op_nd_test, write_unary}, {&fv_op_nd_binary, write_binary},
    {&fv_op_nd_where, write_where}, {&fv_op_nd_cast, write_cast},  {NULL, NULL},
};
