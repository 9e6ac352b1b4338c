/* Shapes and rows. */
#include "io/onnx_writer.h"

static void write_flatten(fv_onnx_writer *w, const fv_node *source) {
    FvOnnx__Node *n = fv_onnx_make_node(w, "Flatten", source->name, 1, fv_onnx_value_name(w, source->out[0]));
    if (!n) return;
    n->input[0] = fv_onnx_value_name(w, source->in[0]);
    fv_onnx_make_int(w, n, "axis", 1);
}

static void write_dropout(fv_onnx_writer *w, const fv_node *source) {
    FvOnnx__Node *n = fv_onnx_make_node(w, "Dropout", source->name, 2, fv_onnx_value_name(w, source->out[0]));
    if (!n) return;
    n->input[0] = fv_onnx_value_name(w, source->in[0]);
    n->input[1] = fv_onnx_make_scalar(w, n->output[0], "ratio", (float)source->attr.dropout.ratio);
}

static void write_softmax(fv_onnx_writer *w, const fv_node *source) {
    FvOnnx__Node *n = fv_onnx_make_node(w, "Softmax", source->name, 1, fv_onnx_value_name(w, source->out[0]));
    if (!n) return;
    n->input[0] = fv_onnx_value_name(w, source->in[0]);
    fv_onnx_make_int(w, n, "axis", 1);
}

const fv_onnx_write_row fv_onnx_write_rest[] = {
    {&fv_op_flatten, write_flatten},
    {&fv_op_dropout, write_dropout},
    {&fv_op_softmax, write_softmax},
    {NULL, NULL},
};
