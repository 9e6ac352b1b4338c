/* Element-wise operators. */
#include "io/onnx_writer.h"

#include <math.h>

static void write_clip(fv_onnx_writer *w, const fv_node *source, float low, float high) {
    FvOnnx__Node *n = fv_onnx_make_node(w, "Clip", source->name, 3, fv_onnx_value_name(w, source->out[0]));
    if (!n) return;
    n->input[0] = fv_onnx_value_name(w, source->in[0]);
    n->input[1] = isinf(low) ? (char *)"" : fv_onnx_make_scalar(w, n->output[0], "min", low);
    n->input[2] = isinf(high) ? (char *)"" : fv_onnx_make_scalar(w, n->output[0], "max", high);
}

/* a*x + b: Mul and Add, each left out where it does nothing (but one stays). */
static void write_scale(fv_onnx_writer *w, const fv_node *source, float a, float b) {
    char *out = fv_onnx_value_name(w, source->out[0]);
    char *x = fv_onnx_value_name(w, source->in[0]);
    if (!out || !x) return;
    if (a != 1.0f || b == 0.0f) {
        char *product = b == 0.0f ? out : fv_onnx_text(w, "%s.product", out, 0);
        FvOnnx__Node *n = fv_onnx_make_node(w, "Mul", b == 0.0f ? source->name : fv_onnx_text(w, "%s.mul", source->name, 0), 2, product);
        if (!n) return;
        n->input[0] = x;
        n->input[1] = fv_onnx_make_scalar(w, product, "factor", a);
        x = product;
    }
    if (b == 0.0f) return;
    FvOnnx__Node *n = fv_onnx_make_node(w, "Add", source->name, 2, out);
    if (!n) return;
    n->input[0] = x;
    n->input[1] = fv_onnx_make_scalar(w, out, "addend", b);
}

static void write_unary(fv_onnx_writer *w, const fv_node *source) {
    static const char *const names[FV_UNARY_COUNT] = {
        [FV_UNARY_RELU] = "Relu", [FV_UNARY_SIGMOID] = "Sigmoid", [FV_UNARY_TANH] = "Tanh", [FV_UNARY_EXP] = "Exp"};
    const float a = (float)source->attr.pointwise.a, b = (float)source->attr.pointwise.b;
    const int32_t kind = source->attr.pointwise.kind;
    if (kind == FV_UNARY_CLAMP) {
        write_clip(w, source, a, b);
    } else if (kind == FV_UNARY_LINEAR) {
        write_scale(w, source, a, b);
    } else {
        FvOnnx__Node *n = fv_onnx_make_node(w, names[kind], source->name, 1, fv_onnx_value_name(w, source->out[0]));
        if (n) n->input[0] = fv_onnx_value_name(w, source->in[0]);
    }
}

static void write_binary(fv_onnx_writer *w, const fv_node *source) {
    static const char *const names[FV_BINARY_COUNT] = {
        [FV_BINARY_ADD] = "Add", [FV_BINARY_SUB] = "Sub", [FV_BINARY_MUL] = "Mul"};
    FvOnnx__Node *n = fv_onnx_make_node(w, names[source->attr.pointwise.kind], source->name, 2, fv_onnx_value_name(w, source->out[0]));
    if (!n) return;
    for (size_t i = 0; i < 2; i++) n->input[i] = fv_onnx_value_name(w, source->in[i]);
}

static void write_gain(fv_onnx_writer *w, const fv_node *source) {
    FvOnnx__Node *n = fv_onnx_make_node(w, "Mul", source->name, 2, fv_onnx_value_name(w, source->out[0]));
    const fv_shape *x = &w->graph->values[source->in[0]].shape;
    int64_t shape[FV_MAX_RANK] = {x->dim[1], 1, 1, 1, 1, 1, 1, 1};
    if (!n) return;
    n->input[0] = fv_onnx_value_name(w, source->in[0]);
    fv_onnx_make_parameter(w, n, 1, source->in[1], x->rank - 1, shape, false);
}

static void write_untied_bias(fv_onnx_writer *w, const fv_node *source) {
    FvOnnx__Node *n = fv_onnx_make_node(w, "Add", source->name, 2, fv_onnx_value_name(w, source->out[0]));
    fv_shape x = w->graph->values[source->in[0]].shape;
    if (!n) return;
    n->input[0] = fv_onnx_value_name(w, source->in[0]);
    x.dim[0] = 1;
    fv_onnx_make_parameter(w, n, 1, source->in[1], x.rank, x.dim, false);
}

const fv_onnx_write_row fv_onnx_write_pointwise[] = {
    {&fv_op_unary, write_unary},
    {&fv_op_binary, write_binary},
    {&fv_op_gain, write_gain},
    {&fv_op_untied_bias, write_untied_bias},
    {NULL, NULL},
};
