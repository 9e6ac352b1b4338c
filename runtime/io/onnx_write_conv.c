/* Convolution, fully connected. */
#include "io/onnx_function.h"

/* A convolution whose weight has a connection table: the table is an attribute, the absent kernels are zeros of the weight. */
static void write_table(fv_onnx_writer *w, FvOnnx__Node *n, const fv_value_info *weight) {
    const size_t count = (size_t)(weight->shape.dim[0] * weight->shape.dim[1]);
    int32_t *table = fv_onnx_take(w, count * sizeof *table);
    for (size_t i = 0; table && i < count; i++) table[i] = weight->edges[i];
    if (table) fv_onnx_make_ints(w, n, "table", count, table);
    const bool bias = n->n_input > 2;
    FvOnnx__Function *f = fv_onnx_define_function(w, n, bias ? "x w b" : "x w", "y", false);
    FvOnnx__Node *conv = f ? fv_onnx_body(w, f, "Conv", bias ? "x w b" : "x w", "y") : NULL;
    for (size_t i = 0; conv && i + 1 < n->n_attribute; i++) /* all but the table */
        fv_onnx_make_reference(w, conv, n->attribute[i]->name, n->attribute[i]->type, n->attribute[i]->name);
}

static void write_conv(fv_onnx_writer *w, const fv_node *source) {
    const bool bias = source->in_count > 2 && source->in[2] != FV_NONE;
    const fv_value_info *weight = &w->graph->values[source->in[1]];
    char *out = fv_onnx_value_name(w, source->out[0]);
    FvOnnx__Node *n = weight->edges ? fv_onnx_make_call(w, "conv_table", source->name, bias ? 3 : 2, out)
                                    : fv_onnx_make_node(w, "Conv", source->name, bias ? 3 : 2, out);
    if (!n) return;
    const int32_t kernel[3] = {1, (int32_t)weight->shape.dim[2], (int32_t)weight->shape.dim[3]};
    fv_onnx_make_window(w, n, &source->attr.conv.window, kernel);
    fv_onnx_make_int(w, n, "group", source->attr.conv.groups);
    n->input[0] = fv_onnx_value_name(w, source->in[0]);
    fv_onnx_make_parameter(w, n, 1, source->in[1], 4, weight->shape.dim, source->attr.conv.true_convolution);
    if (bias) fv_onnx_make_parameter(w, n, 2, source->in[2], 1, w->graph->values[source->in[2]].shape.dim, false);
    if (weight->edges) write_table(w, n, weight);
}

static void write_linear(fv_onnx_writer *w, const fv_node *source) {
    const bool bias = source->in_count > 2 && source->in[2] != FV_NONE;
    char *x = fv_onnx_value_name(w, source->in[0]);
    if (w->graph->values[source->in[0]].shape.rank != 2) {
        char *out = fv_onnx_value_name(w, source->out[0]), *flat = out ? fv_onnx_text(w, "%s.flat", out, 0) : NULL;
        FvOnnx__Node *f = fv_onnx_make_node(w, "Flatten", fv_onnx_text(w, "%s.flatten", source->name, 0), 1, flat);
        if (!f) return;
        f->input[0] = x;
        fv_onnx_make_int(w, f, "axis", 1);
        x = flat;
    }
    FvOnnx__Node *n = fv_onnx_make_node(w, "Gemm", source->name, bias ? 3 : 2, fv_onnx_value_name(w, source->out[0]));
    if (!n) return;
    fv_onnx_make_int(w, n, "transB", 1);
    n->input[0] = x;
    fv_onnx_make_parameter(w, n, 1, source->in[1], 2, w->graph->values[source->in[1]].shape.dim, false);
    if (bias) fv_onnx_make_parameter(w, n, 2, source->in[2], 1, w->graph->values[source->in[2]].shape.dim, false);
}

const fv_onnx_write_row fv_onnx_write_conv[] = {
    {&fv_op_conv, write_conv},
    {&fv_op_linear, write_linear},
    {NULL, NULL},
};
