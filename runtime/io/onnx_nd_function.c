/* General operators that ONNX has no operator for, written and read: a x + b and 1 / sqrt(x + a), rounded once, with a
 * and b in float64 whatever x is; and mean and variance in one. */
#include "io/onnx_function.h"
#include "io/onnx_nd.h"
#include "io/onnx_write_nd.h"

#include <string.h>

/* ---- attributes of float64 ---- */

static void make_double(fv_onnx_writer *w, FvOnnx__Node *n, const char *name, double value) {
    double *copy = fv_onnx_take(w, sizeof *copy);
    FvOnnx__Attribute *a = fv_onnx_make_attribute(w, n, name, FV_ONNX_ATTR_TENSOR);
    if (!copy || !a) return;
    *copy = value;
    a->t = fv_onnx_new_tensor(w, (char *)name, 0, NULL, FV_ONNX_DOUBLE, copy, sizeof *copy);
}

static fv_status double_of(const fv_onnx_reader *r, const FvOnnx__Node *n, const char *name, double *out) {
    const FvOnnx__Attribute *a = fv_onnx_attribute(n, name);
    fv_onnx_tensor t;
    if (!a || !a->t) return fv_onnx_refuse(n, "a parameter is missing");
    FV_FORWARD(fv_onnx_tensor_view(a->t, r->file, r->files, &t));
    if (t.type != FV_ONNX_DOUBLE || t.count != 1) return fv_onnx_refuse(n, "a parameter is not one number of float64");
    fv_onnx_tensor_copy(&t, out);
    return FV_OK;
}

/* ---- one operand ---- */

void fv_onnx_write_function(fv_onnx_writer *w, const fv_node *source) {
    const fv_nd_attr *a = &source->attr.nd;
    const bool linear = a->kind == FV_ND_LINEAR;
    char *x = fv_onnx_operand(w, source->in[0]);
    FvOnnx__Node *n = fv_onnx_make_call(w, linear ? "linear" : "inverse_root", source->name, 1,
                                        fv_onnx_value_name(w, source->out[0]));
    if (!n) return;
    n->input[0] = x;
    make_double(w, n, "a", a->alpha);
    if (linear) make_double(w, n, "b", a->beta);
    FvOnnx__Function *f = fv_onnx_define_function(w, n, "x", "y", false);
    if (!f) return;
    fv_onnx_body(w, f, "CastLike", "a x", "first");
    if (linear) {
        fv_onnx_body(w, f, "CastLike", "b x", "second");
        fv_onnx_body(w, f, "Mul", "x first", "product");
        fv_onnx_body(w, f, "Add", "product second", "y");
        return;
    }
    fv_onnx_body(w, f, "Add", "x first", "sum");
    fv_onnx_body(w, f, "Sqrt", "sum", "root");
    fv_onnx_body(w, f, "Reciprocal", "root", "y");
}

static fv_status read_unary(fv_onnx_reader *r, const FvOnnx__Node *n) {
    const bool linear = n->op_type[0] == 'l';
    double a, b = 0;
    fv_value x;
    FV_FORWARD(fv_onnx_value(r, n, 0, &x));
    FV_FORWARD(double_of(r, n, "a", &a));
    if (linear) FV_FORWARD(double_of(r, n, "b", &b));
    return fv_onnx_done(r, n, fv_onnx_unary(r, linear ? FV_ND_LINEAR : FV_ND_RSQRT, x, a, b, fv_onnx_node_name(n)));
}

/* ---- mean and variance ---- */

static void write_moments(fv_onnx_writer *w, const fv_node *source) {
    const fv_nd_attr *a = &source->attr.nd;
    const bool both = source->out_count > 1 && source->out[1] != FV_NONE && fv_graph_uses(w->graph, source->out[1]);
    int32_t axes[FV_MAX_RANK];
    size_t count = 0;
    FvOnnx__Node *n = fv_onnx_begin(w, source, "moments", 1);
    if (!n) return;
    n->domain = (char *)FV_ONNX_DOMAIN;
    for (int32_t i = 0; i < FV_MAX_RANK; i++)
        if (a->mode >> i & 1) axes[count++] = i;
    fv_onnx_make_ints(w, n, "axes", count, axes);
    fv_onnx_make_int(w, n, "keepdims", a->keep);
    FvOnnx__Function *f = fv_onnx_define_function(w, n, "x", both ? "mean variance" : "mean", true);
    if (!f) return;
    const char *const kept[2] = {a->keep ? "mean" : "kept_mean", a->keep ? "variance" : "kept_variance"};
    fv_onnx_body_reduce(w, f, "ReduceMean", "x", kept[0], count, axes);
    if (both) {
        fv_onnx_body(w, f, "Sub", a->keep ? "x mean" : "x kept_mean", "difference");
        fv_onnx_body(w, f, "Mul", "difference difference", "square");
        fv_onnx_body_reduce(w, f, "ReduceMean", "square", kept[1], count, axes);
    }
    if (a->keep) return;
    int64_t gone[FV_MAX_RANK];
    for (size_t i = 0; i < count; i++) gone[i] = axes[i];
    fv_onnx_body_ints(w, f, "gone", count, gone);
    fv_onnx_body(w, f, "Squeeze", "kept_mean gone", "mean");
    if (both) fv_onnx_body(w, f, "Squeeze", "kept_variance gone", "variance");
}

static fv_status read_moments(fv_onnx_reader *r, const FvOnnx__Node *n) {
    fv_value x;
    fv_onnx_list axes;
    fv_attributes attr = {.nd = {.keep = fv_onnx_attribute_int(n, "keepdims", 1) != 0}};
    FV_FORWARD(fv_onnx_value(r, n, 0, &x));
    FV_FORWARD(fv_onnx_axes(r, n, "axes", 0, fv_onnx_shape(r, x)->rank, &axes));
    for (int32_t i = 0; i < axes.count; i++) attr.nd.mode |= 1 << axes.value[i];
    const size_t outputs = n->n_output > 1 ? 2 : 1;
    const fv_value mean =
        fv_graph_node(r->graph, &fv_op_nd_moments, fv_onnx_node_name(n), &x, 1, (int32_t)outputs, &attr);
    const fv_value made[2] = {mean, mean == FV_NONE ? FV_NONE : mean + 1};
    return fv_onnx_done_all(r, n, made, outputs);
}

const fv_onnx_write_row fv_onnx_write_nd_functions[] = {
    {&fv_op_nd_moments, write_moments},
    {NULL, NULL},
};

const fv_onnx_read_row fv_onnx_read_nd_functions[] = {
    {"linear", read_unary},
    {"inverse_root", read_unary},
    {"moments", read_moments},
    {NULL, NULL},
};
