/* Convolution, fully connected. */
#include "io/onnx_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static fv_status read_conv(fv_onnx_reader *r, const FvOnnx__Node *n, const uint8_t *table) {
    const fv_onnx_name *weight, *bias;
    fv_conv_settings s;
    fv_value x, w, b = FV_NONE;
    fv_conv_settings_default(&s);
    s.connections = table;
    FV_FORWARD(fv_onnx_value(r, n, 0, &x));
    FV_FORWARD(fv_onnx_input(r, n, 1, &weight));
    FV_FORWARD(fv_onnx_input(r, n, 2, &bias));
    if (!weight || !weight->constant || weight->tensor.shape.rank != 4)
        return fv_onnx_refuse(n, "the weight must be a constant of rank 4");
    if (bias && (!bias->constant || bias->tensor.shape.rank != 1))
        return fv_onnx_refuse(n, "the bias must be a constant of rank 1");
    FV_FORWARD(fv_onnx_ints(n, "strides", 2, s.stride));
    FV_FORWARD(fv_onnx_ints(n, "dilations", 2, s.dilation));
    FV_FORWARD(fv_onnx_padding(n, &s.padding, s.pad_before, s.pad_after));
    int32_t kernel[2] = {0, 0};
    FV_FORWARD(fv_onnx_ints(n, "kernel_shape", 2, kernel));
    for (int i = 0; i < 2 && fv_onnx_attribute(n, "kernel_shape"); i++)
        FV_RETURN_IF(kernel[i] != weight->tensor.shape.dim[2 + i], FV_ERR_SHAPE,
                     "node \"%.100s\" (Conv): kernel_shape disagrees with its weight", n->name ? n->name : "");
    const int64_t groups = fv_onnx_attribute_int(n, "group", 1);
    FV_RETURN_IF(groups < 1 || groups > INT32_MAX, FV_ERR_ARGUMENT, "node \"%.100s\" (Conv): group is %lld",
                 n->name ? n->name : "", (long long)groups);
    s.groups = (int32_t)groups;
    FV_FORWARD(fv_onnx_parameter(r, weight, 4, weight->tensor.shape.dim, &w));
    if (bias) FV_FORWARD(fv_onnx_parameter(r, bias, 1, bias->tensor.shape.dim, &b));
    return fv_onnx_done(r, n, fv_graph_conv_with(r->graph, x, w, b, &s, fv_onnx_node_name(n)));
}

static fv_status read_conv_node(fv_onnx_reader *r, const FvOnnx__Node *n) { return read_conv(r, n, NULL); }

/* Domain fovea: a convolution and its connection table. */
static fv_status read_conv_table(fv_onnx_reader *r, const FvOnnx__Node *n) {
    const FvOnnx__Attribute *a = fv_onnx_attribute(n, "table");
    const fv_onnx_name *weight;
    uint8_t *table = NULL;
    FV_FORWARD(fv_onnx_input(r, n, 1, &weight));
    const fv_shape *shape = weight && weight->constant && weight->tensor.shape.rank == 4 ? &weight->tensor.shape : NULL;
    if (!a || !shape || (int64_t)a->n_ints != shape->dim[0] * shape->dim[1])
        return fv_onnx_refuse(n, "its table must have an entry for every kernel of a constant weight");
    FV_FORWARD(fv_alloc_array(r->context, a->n_ints + 1, sizeof *table, "a connection table", (void **)&table));
    for (size_t i = 0; i < a->n_ints; i++) table[i] = a->ints[i] == 0 || a->ints[i] == 1 ? (uint8_t)a->ints[i] : 2;
    const fv_status status = read_conv(r, n, table);
    fv_release(r->context, table);
    return status;
}

/* ---- fully connected ---- */

typedef struct turn {
    bool transposed;
    float alpha;
} turn;

static void turn_weight(const fv_onnx_tensor *t, const void *arg, fv_real *out) {
    const turn *how = arg;
    const int64_t rows = t->shape.dim[0], columns = t->shape.dim[1];
    for (int64_t i = 0; i < rows; i++)
        for (int64_t j = 0; j < columns; j++)
            out[how->transposed ? i * columns + j : j * rows + i] =
                how->alpha * fv_onnx_tensor_float(t, (size_t)(i * columns + j));
}

/* The weight (O,F) of a linear layer from a constant matrix, transposed when the file has (F,O). */
static fv_status linear_weight(fv_onnx_reader *r, const FvOnnx__Node *n, const fv_onnx_name *entry, bool transposed,
                               float alpha, fv_value *out) {
    if (!entry || !entry->constant || entry->tensor.shape.rank != 2)
        return fv_onnx_refuse(n, "the weight must be a constant matrix");
    if (transposed && alpha == 1.0f) return fv_onnx_parameter(r, entry, 2, entry->tensor.shape.dim, out);
    if (entry->value != FV_NONE) return fv_onnx_refuse(n, "the weight is used by another node in another way");
    const int64_t rows = entry->tensor.shape.dim[0], columns = entry->tensor.shape.dim[1];
    const int64_t shape[2] = {transposed ? rows : columns, transposed ? columns : rows};
    const turn t = {transposed, alpha};
    char kind[64];
    snprintf(kind, sizeof kind, "linear %d %a", transposed, (double)alpha);
    fv_onnx_name *mine = (fv_onnx_name *)entry; /* the reader owns the table */
    *out = mine->value = fv_onnx_made_parameter(r, entry, entry->name, 2, shape, kind, turn_weight, &t, true);
    mine->turned = true;
    return fv_graph_status(r->graph);
}

static fv_status read_gemm(fv_onnx_reader *r, const FvOnnx__Node *n) {
    const fv_onnx_name *weight, *bias;
    fv_value x, w, b = FV_NONE;
    FV_FORWARD(fv_onnx_value(r, n, 0, &x));
    FV_FORWARD(fv_onnx_input(r, n, 1, &weight));
    FV_FORWARD(fv_onnx_input(r, n, 2, &bias));
    if (fv_onnx_attribute_int(n, "transA", 0)) return fv_onnx_refuse(n, "transA is not read");
    if (bias && fv_onnx_attribute_float(n, "beta", 1) != 1) return fv_onnx_refuse(n, "beta other than 1 is not read");
    FV_FORWARD(linear_weight(r, n, weight, fv_onnx_attribute_int(n, "transB", 0) != 0,
                             fv_onnx_attribute_float(n, "alpha", 1), &w));
    if (bias) {
        const int64_t out = fv_emit_info(r->graph, w)->shape.dim[0];
        if (!bias->constant || (int64_t)bias->tensor.count != out)
            return fv_onnx_refuse(n, "C must be a constant with one value an output");
        FV_FORWARD(fv_onnx_parameter(r, bias, 1, &out, &b));
    }
    return fv_onnx_done(r, n, fv_graph_linear_with(r->graph, x, w, b, fv_onnx_node_name(n)));
}

static fv_status read_matmul(fv_onnx_reader *r, const FvOnnx__Node *n) {
    const fv_onnx_name *weight;
    fv_value x, w;
    FV_FORWARD(fv_onnx_value(r, n, 0, &x));
    FV_FORWARD(fv_onnx_input(r, n, 1, &weight));
    FV_FORWARD(linear_weight(r, n, weight, false, 1.0f, &w));
    if (fv_emit_info(r->graph, x)->shape.rank != 2) return fv_onnx_refuse(n, "only matrices are multiplied");
    return fv_onnx_done(r, n, fv_graph_linear_with(r->graph, x, w, FV_NONE, fv_onnx_node_name(n)));
}

const fv_onnx_read_row fv_onnx_read_conv[] = {
    {"Conv", read_conv_node},
    {"Gemm", read_gemm},
    {"MatMul", read_matmul},
    {NULL, NULL},
};

const fv_onnx_read_row fv_onnx_read_conv_functions[] = {
    {"conv_table", read_conv_table},
    {NULL, NULL},
};
