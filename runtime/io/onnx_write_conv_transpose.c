/* ConvTranspose: the weight is ONNX's as it is, that of a true convolution turned. */
#include "io/onnx_writer.h"

static void write_conv_transpose(fv_onnx_writer *w, const fv_node *source) {
    const bool bias = source->in_count > 2 && source->in[2] != FV_NONE;
    const fv_value_info *weight = &w->graph->values[source->in[1]];
    FvOnnx__Node *n = fv_onnx_make_node(w, "ConvTranspose", source->name, bias ? 3 : 2, fv_onnx_value_name(w, source->out[0]));
    if (!n) return;
    const int32_t kernel[3] = {1, (int32_t)weight->shape.dim[2], (int32_t)weight->shape.dim[3]};
    fv_onnx_make_window(w, n, &source->attr.conv.window, kernel);
    fv_onnx_make_ints(w, n, "output_padding", 2, source->attr.conv.window.output_padding + 1);
    fv_onnx_make_int(w, n, "group", source->attr.conv.groups);
    n->input[0] = fv_onnx_value_name(w, source->in[0]);
    fv_onnx_make_parameter(w, n, 1, source->in[1], 4, weight->shape.dim, source->attr.conv.true_convolution);
    if (bias) fv_onnx_make_parameter(w, n, 2, source->in[2], 1, w->graph->values[source->in[2]].shape.dim, false);
}

const fv_onnx_write_row fv_onnx_write_conv_transpose[] = {{&fv_op_conv_transpose, write_conv_transpose}, {NULL, NULL}};
