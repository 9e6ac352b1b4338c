/* Locally connected layers, written and read: a function whose body takes the image apart with a convolution of kernels
 * that each pick one pixel, and sums with Einsum. */
#include "io/onnx_function.h"

#include <string.h>

/* Kernels (C*taps,1,kh,kw): that of map c and tap t picks the pixel which weight t multiplies. */
static void make_picks(fv_onnx_writer *w, FvOnnx__Function *f, int64_t channels, const int32_t *kernel, bool turned) {
    const int64_t taps = (int64_t)kernel[0] * kernel[1], shape[4] = {channels * taps, 1, kernel[0], kernel[1]};
    size_t count, bytes;
    if (!fv_mul_size((size_t)(channels * taps), (size_t)taps, &count) || !fv_mul_size(count, sizeof(float), &bytes)) {
        w->status = fv_fail(FV_ERR_LIMIT, "a locally connected layer is too large for a file");
        return;
    }
    float *picks = fv_onnx_take(w, bytes);
    for (size_t i = 0; picks && i < (size_t)(channels * taps); i++) {
        const size_t t = i % (size_t)taps;
        picks[i * (size_t)taps + (turned ? (size_t)taps - 1 - t : t)] = 1;
    }
    fv_onnx_body_tensor(w, f, "picks", 4, shape, FV_ONNX_FLOAT, picks, picks ? bytes : 0);
}

static void write_local(fv_onnx_writer *w, const fv_node *source) {
    const fv_shape *weight = &w->graph->values[source->in[1]].shape;
    const fv_window_attr *a = &source->attr.conv.window;
    const int32_t pads[4] = {a->pad_before[1], a->pad_before[2], a->pad_after[1], a->pad_after[2]};
    const int32_t out[2] = {(int32_t)weight->dim[2], (int32_t)weight->dim[3]};
    FvOnnx__Node *n = fv_onnx_make_call(w, "locally_connected", source->name, 2, fv_onnx_value_name(w, source->out[0]));
    if (!n) return;
    n->input[0] = fv_onnx_value_name(w, source->in[0]);
    fv_onnx_make_parameter(w, n, 1, source->in[1], 6, weight->dim, false);
    fv_onnx_make_ints(w, n, "kernel_shape", 2, a->kernel + 1);
    fv_onnx_make_ints(w, n, "strides", 2, a->stride + 1);
    fv_onnx_make_ints(w, n, "dilations", 2, a->dilation + 1);
    fv_onnx_make_ints(w, n, "pads", 4, pads);
    fv_onnx_make_int(w, n, "true_convolution", source->attr.conv.true_convolution);
    fv_onnx_make_int(w, n, "channels", weight->dim[1]);
    fv_onnx_make_ints(w, n, "output_size", 2, out);
    FvOnnx__Function *f = fv_onnx_define_function(w, n, "x w", "y", true);
    if (!f) return;
    const int64_t columns[5] = {0, weight->dim[1], weight->dim[4] * weight->dim[5], out[0], out[1]},
                  flat[5] = {0, 0, 0, 0, -1};
    static const char *const kept[] = {"kernel_shape", "strides", "dilations", "pads"};
    make_picks(w, f, weight->dim[1], a->kernel + 1, source->attr.conv.true_convolution);
    FvOnnx__Node *conv = fv_onnx_body(w, f, "Conv", "x picks", "picked");
    for (size_t i = 0; conv && i < FV_ARRAY_SIZE(kept); i++)
        fv_onnx_make_reference(w, conv, kept[i], FV_ONNX_ATTR_INTS, kept[i]);
    if (conv) fv_onnx_make_reference(w, conv, "group", FV_ONNX_ATTR_INT, "channels");
    fv_onnx_body_ints(w, f, "columns_shape", 5, columns);
    fv_onnx_body_ints(w, f, "flat_shape", 5, flat);
    fv_onnx_body(w, f, "Reshape", "picked columns_shape", "columns");
    fv_onnx_body(w, f, "Reshape", "w flat_shape", "kernels");
    FvOnnx__Node *sum = fv_onnx_body(w, f, "Einsum", "columns kernels", "y");
    if (sum) fv_onnx_make_text(w, sum, "equation", "nctyx,kcyxt->nkyx");
}

const fv_onnx_write_row fv_onnx_write_local[] = {
    {&fv_op_local, write_local},
    {NULL, NULL},
};

static fv_status read_local(fv_onnx_reader *r, const FvOnnx__Node *n) {
    const fv_onnx_name *weight;
    fv_conv_settings s;
    fv_value x, w;
    fv_conv_settings_default(&s);
    FV_FORWARD(fv_onnx_value(r, n, 0, &x));
    FV_FORWARD(fv_onnx_input(r, n, 1, &weight));
    if (!weight || !weight->constant || weight->tensor.shape.rank != 6)
        return fv_onnx_refuse(n, "the weight must be a constant of rank 6");
    FV_FORWARD(fv_onnx_ints(n, "strides", 2, s.stride));
    FV_FORWARD(fv_onnx_ints(n, "dilations", 2, s.dilation));
    FV_FORWARD(fv_onnx_padding(n, &s.padding, s.pad_before, s.pad_after));
    s.true_convolution = fv_onnx_attribute_int(n, "true_convolution", 0) != 0;
    FV_FORWARD(fv_onnx_parameter(r, weight, 6, weight->tensor.shape.dim, &w));
    return fv_onnx_done(r, n, fv_graph_local_with(r->graph, x, w, FV_NONE, &s, fv_onnx_node_name(n)));
}

const fv_onnx_read_row fv_onnx_read_local_functions[] = {
    {"locally_connected", read_local},
    {NULL, NULL},
};
