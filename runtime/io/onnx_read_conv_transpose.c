/* ConvTranspose. */
#include "io/onnx_internal.h"

static fv_status read_weights(fv_onnx_reader *r, const FvOnnx__Node *n, const fv_onnx_name **weight, const fv_onnx_name **bias) {
    FV_FORWARD(fv_onnx_input(r, n, 1, weight));
    FV_FORWARD(fv_onnx_input(r, n, 2, bias));
    if (!*weight || !(*weight)->constant || (*weight)->tensor.shape.rank != 4)
        return fv_onnx_refuse(n, "the weight must be a constant of rank 4");
    if (*bias && (!(*bias)->constant || (*bias)->tensor.shape.rank != 1))
        return fv_onnx_refuse(n, "the bias must be a constant of rank 1");
    const int64_t *dim = (*weight)->tensor.shape.dim;
    int32_t kernel[2] = {0, 0};
    FV_FORWARD(fv_onnx_ints(n, "kernel_shape", 2, kernel));
    for (int i = 0; i < 2 && fv_onnx_attribute(n, "kernel_shape"); i++)
        FV_RETURN_IF(kernel[i] != dim[2 + i], FV_ERR_SHAPE,
                     "node \"%.100s\" (ConvTranspose): kernel_shape disagrees with its weight", n->name ? n->name : "");
    return FV_OK;
}

/* output_shape: what is over is cut off, the larger half at the end with SAME_UPPER, else at the beginning. */
static fv_status pads_of_output_shape(const FvOnnx__Node *n, const fv_shape *x, const fv_shape *weight,
                                      fv_conv_transpose_settings *s) {
    int32_t wanted[2];
    if (!fv_onnx_attribute(n, "output_shape")) return FV_OK;
    const FvOnnx__Attribute *a = fv_onnx_attribute(n, "output_shape");
    if (x->rank != 4 || a->n_ints != 2) return fv_onnx_refuse(n, "output_shape must be the two sides of a map");
    FV_FORWARD(fv_onnx_ints(n, "output_shape", 2, wanted));
    const bool upper = s->padding == FV_PAD_SAME_UPPER;
    s->padding = FV_PAD_EXPLICIT;
    for (int i = 0; i < 2; i++) {
        /* each factor is at most 2^31: no overflow */
        const int64_t full =
            (x->dim[2 + i] - 1) * s->stride[i] + (weight->dim[2 + i] - 1) * s->dilation[i] + 1 + s->output_padding[i];
        const int64_t over = full - wanted[i];
        FV_RETURN_IF(wanted[i] < 1 || over < 0 || over > INT32_MAX, FV_ERR_SHAPE,
                     "node \"%.100s\" (ConvTranspose): output_shape holds %d, possible are 1 to %lld", n->name ? n->name : "",
                     wanted[i], (long long)full);
        s->pad_before[i] = (int32_t)(upper ? over / 2 : over - over / 2);
        s->pad_after[i] = (int32_t)(over - s->pad_before[i]);
    }
    return FV_OK;
}

static fv_status read_conv_transpose(fv_onnx_reader *r, const FvOnnx__Node *n) {
    const fv_onnx_name *weight, *bias;
    fv_conv_transpose_settings s;
    fv_value x, w, b = FV_NONE;
    fv_conv_transpose_settings_default(&s);
    FV_FORWARD(fv_onnx_value(r, n, 0, &x));
    FV_FORWARD(read_weights(r, n, &weight, &bias));
    FV_FORWARD(fv_onnx_ints(n, "strides", 2, s.stride));
    FV_FORWARD(fv_onnx_ints(n, "dilations", 2, s.dilation));
    FV_FORWARD(fv_onnx_ints(n, "output_padding", 2, s.output_padding));
    FV_FORWARD(fv_onnx_padding(n, &s.padding, s.pad_before, s.pad_after));
    FV_FORWARD(pads_of_output_shape(n, &fv_emit_info(r->graph, x)->shape, &weight->tensor.shape, &s));
    const int64_t groups = fv_onnx_attribute_int(n, "group", 1);
    FV_RETURN_IF(groups < 1 || groups > INT32_MAX, FV_ERR_ARGUMENT, "node \"%.100s\" (ConvTranspose): group is %lld",
                 n->name ? n->name : "", (long long)groups);
    s.groups = (int32_t)groups;
    FV_FORWARD(fv_onnx_parameter(r, weight, 4, weight->tensor.shape.dim, &w));
    if (bias) FV_FORWARD(fv_onnx_parameter(r, bias, 1, bias->tensor.shape.dim, &b));
    return fv_onnx_done(r, n, fv_graph_conv_transpose_with(r->graph, x, w, b, &s, fv_onnx_node_name(n)));
}

const fv_onnx_read_row fv_onnx_read_conv_transpose[] = {{"ConvTranspose", read_conv_transpose}, {NULL, NULL}};
