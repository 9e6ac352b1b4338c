/* Pointwise layers besides those of onnx_write_pointwise.c. What opset 17 has no operator for is written as its nodes, which
 * onnx_fold.c recognizes when read (GELU, SiLU, mish), or as a function (k other than 1). */
#include "io/onnx_function.h"
#include "io/onnx_write_nd.h"

/* ---- layers that are several standard nodes ---- */

static char *number(fv_onnx_writer *w, const fv_node *source, const char *suffix, float value) {
    return fv_onnx_make_scalar(w, fv_onnx_value_name(w, source->out[0]), suffix, value);
}

/* As PyTorch exports it. */
static void write_gelu(fv_onnx_writer *w, const fv_node *source, char *x) {
    char *t = fv_onnx_step(w, source, "Div", x, number(w, source, "root2", 1.41421356237309505f), "div");
    t = fv_onnx_step(w, source, "Erf", t, NULL, "erf");
    t = fv_onnx_step(w, source, "Add", t, number(w, source, "one", 1), "add");
    t = fv_onnx_step(w, source, "Mul", x, t, "mul");
    fv_onnx_step(w, source, "Mul", t, number(w, source, "half", 0.5f), NULL);
}

static void write_gelu_tanh(fv_onnx_writer *w, const fv_node *source, char *x) {
    char *t = fv_onnx_step(w, source, "Mul", fv_onnx_step(w, source, "Mul", x, x, "square"), x, "cube");
    t = fv_onnx_step(w, source, "Mul", t, number(w, source, "share", 0.044715f), "small");
    t = fv_onnx_step(w, source, "Add", x, t, "add");
    t = fv_onnx_step(w, source, "Mul", t, number(w, source, "scale", 0.797884560802865356f), "scaled");
    t = fv_onnx_step(w, source, "Tanh", t, NULL, "tanh");
    t = fv_onnx_step(w, source, "Add", t, number(w, source, "one", 1), "sum");
    t = fv_onnx_step(w, source, "Mul", x, t, "mul");
    fv_onnx_step(w, source, "Mul", t, number(w, source, "half", 0.5f), NULL);
}

static void write_silu(fv_onnx_writer *w, const fv_node *source, char *x) {
    fv_onnx_step(w, source, "Mul", x, fv_onnx_step(w, source, "Sigmoid", x, NULL, "sigmoid"), NULL);
}

static void write_mish(fv_onnx_writer *w, const fv_node *source, char *x) {
    char *t = fv_onnx_step(w, source, "Softplus", x, NULL, "softplus");
    fv_onnx_step(w, source, "Mul", x, fv_onnx_step(w, source, "Tanh", t, NULL, "tanh"), NULL);
}

/* ---- functions of k ---- */

static FvOnnx__Function *call_with_k(fv_onnx_writer *w, const fv_node *source, const char *function, char *x) {
    FvOnnx__Node *n = fv_onnx_make_call(w, function, source->name, 1, fv_onnx_value_name(w, source->out[0]));
    if (!n) return NULL;
    n->input[0] = x;
    fv_onnx_make_float(w, n, "k", (float)source->attr.pointwise.a);
    return fv_onnx_define_function(w, n, "x", "y", false);
}

static void write_softplus_k(fv_onnx_writer *w, const fv_node *source, char *x) {
    FvOnnx__Function *f = call_with_k(w, source, "softplus", x);
    if (!f) return;
    fv_onnx_body(w, f, "Mul", "x k", "scaled");
    fv_onnx_body(w, f, "Softplus", "scaled", "above");
    fv_onnx_body(w, f, "Div", "above k", "y");
}

/* Softplus of -k|x| is log1p(e^{-k|x|}). */
static void write_smooth_abs(fv_onnx_writer *w, const fv_node *source, char *x) {
    FvOnnx__Function *f = call_with_k(w, source, "smooth_rectification", x);
    if (!f) return;
    fv_onnx_body_float(w, f, "ln2", 0.693147180559945309f);
    fv_onnx_body_float(w, f, "two", 2);
    fv_onnx_body(w, f, "Abs", "x", "size");
    fv_onnx_body(w, f, "Mul", "size k", "scaled");
    fv_onnx_body(w, f, "Neg", "scaled", "minus");
    fv_onnx_body(w, f, "Softplus", "minus", "log");
    fv_onnx_body(w, f, "Sub", "log ln2", "difference");
    fv_onnx_body(w, f, "Div", "two k", "factor");
    fv_onnx_body(w, f, "Mul", "difference factor", "bend");
    fv_onnx_body(w, f, "Add", "size bend", "y");
}

static void write_relu_surrogate(fv_onnx_writer *w, const fv_node *source, char *x) {
    FvOnnx__Function *f = call_with_k(w, source, "relu_surrogate", x);
    if (f) fv_onnx_body(w, f, "Relu", "x", "y");
}

/* ---- one operator ---- */

typedef struct standard_op {
    const char *op, *a, *b; /* names of the attributes that hold the parameters; NULL: none */
} standard_op;

static standard_op standard_of(const fv_node *source) {
    switch (source->attr.pointwise.kind) {
    case FV_UNARY_SOFTPLUS:
        return (standard_op){"Softplus", NULL, NULL};
    case FV_UNARY_ABS:
        return (standard_op){"Abs", NULL, NULL};
    case FV_UNARY_LEAKY_RELU:
        return (standard_op){"LeakyRelu", "alpha", NULL};
    case FV_UNARY_ELU:
        return source->attr.pointwise.b == 1 ? (standard_op){"Elu", "alpha", NULL} : (standard_op){"Selu", "alpha", "gamma"};
    case FV_UNARY_ERF:
        return (standard_op){"Erf", NULL, NULL};
    case FV_UNARY_HARD_SIGMOID:
        return (standard_op){"HardSigmoid", "alpha", "beta"};
    case FV_UNARY_HARD_SWISH:
        return (standard_op){"HardSwish", NULL, NULL};
    default:
        return (standard_op){"Softsign", NULL, NULL};
    }
}

static void write_standard(fv_onnx_writer *w, const fv_node *source, char *x) {
    const standard_op s = standard_of(source);
    FvOnnx__Node *n = fv_onnx_make_node(w, s.op, source->name, 1, fv_onnx_value_name(w, source->out[0]));
    if (!n) return;
    n->input[0] = x;
    if (s.a) fv_onnx_make_float(w, n, s.a, (float)source->attr.pointwise.a);
    if (s.b) fv_onnx_make_float(w, n, s.b, (float)source->attr.pointwise.b);
}

void fv_onnx_write_activation(fv_onnx_writer *w, const fv_node *source) {
    char *x = fv_onnx_value_name(w, source->in[0]);
    const int32_t kind = source->attr.pointwise.kind;
    if (!x) return;
    if (kind == FV_UNARY_GELU)
        write_gelu(w, source, x);
    else if (kind == FV_UNARY_GELU_TANH)
        write_gelu_tanh(w, source, x);
    else if (kind == FV_UNARY_SILU)
        write_silu(w, source, x);
    else if (kind == FV_UNARY_MISH)
        write_mish(w, source, x);
    else if (kind == FV_UNARY_SOFTPLUS && source->attr.pointwise.a != 1)
        write_softplus_k(w, source, x);
    else if (kind == FV_UNARY_SMOOTH_ABS)
        write_smooth_abs(w, source, x);
    else if (kind == FV_UNARY_RELU_SURROGATE)
        write_relu_surrogate(w, source, x);
    else
        write_standard(w, source, x);
}

/* ---- operators of their own ---- */

static void write_prelu(fv_onnx_writer *w, const fv_node *source) {
    FvOnnx__Node *n = fv_onnx_make_node(w, "PRelu", source->name, 2, fv_onnx_value_name(w, source->out[0]));
    const fv_shape *x = &w->graph->values[source->in[0]].shape;
    const int64_t slopes = w->graph->values[source->in[1]].shape.dim[0];
    const int64_t shape[FV_MAX_RANK] = {slopes, 1, 1, 1, 1, 1, 1, 1};
    if (!n) return;
    n->input[0] = fv_onnx_value_name(w, source->in[0]);
    fv_onnx_make_parameter(w, n, 1, source->in[1], slopes == 1 ? 1 : x->rank - 1, shape, false);
}

static void write_log_softmax(fv_onnx_writer *w, const fv_node *source) {
    FvOnnx__Node *n = fv_onnx_make_node(w, "LogSoftmax", source->name, 1, fv_onnx_value_name(w, source->out[0]));
    if (!n) return;
    n->input[0] = fv_onnx_value_name(w, source->in[0]);
    fv_onnx_make_int(w, n, "axis", 1);
}

const fv_onnx_write_row fv_onnx_write_activations[] = {
    {&fv_op_prelu, write_prelu},
    {&fv_op_log_softmax, write_log_softmax},
    {NULL, NULL},
};
