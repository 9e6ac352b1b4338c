/* Contrast normalization: LRN, and fovea's own functions by name. */
#include "io/onnx_internal.h"

static fv_status read_lrn(fv_onnx_reader *r, const FvOnnx__Node *n) {
    fv_brightness_settings s;
    fv_value x;
    const int64_t size = fv_onnx_attribute_int(n, "size", 0);
    FV_FORWARD(fv_onnx_value(r, n, 0, &x));
    if (size < 1 || size > INT32_MAX) return fv_onnx_refuse(n, "size is not a number of maps");
    fv_brightness_settings_default(&s);
    s.maps = (int32_t)size;
    s.lambda = fv_onnx_attribute_float(n, "alpha", 1e-4f) / (float)size;
    s.mu = fv_onnx_attribute_float(n, "beta", 0.75f);
    s.kappa = fv_onnx_attribute_float(n, "bias", 1);
    return fv_onnx_done(r, n, fv_graph_brightness_norm(r->graph, x, &s, fv_onnx_node_name(n)));
}

static fv_status read_contrast(fv_onnx_reader *r, const FvOnnx__Node *n) {
    fv_contrast_settings s;
    fv_value x;
    FV_FORWARD(fv_onnx_value(r, n, 0, &x));
    fv_contrast_settings_default(&s);
    const int64_t window = fv_onnx_attribute_int(n, "window", s.window);
    if (window < 1 || window > FV_CONTRAST_WINDOW) return fv_onnx_refuse(n, "window is not in 1..4095");
    s.window = (int32_t)window;
    s.sigma = fv_onnx_attribute_float(n, "sigma", 0);
    s.box = fv_onnx_attribute_int(n, "box", 0) != 0;
    s.across_maps = fv_onnx_attribute_int(n, "across_maps", 1) != 0;
    const bool subtractive = n->op_type[0] == 's';
    const fv_value y = subtractive ? fv_graph_subtractive_norm(r->graph, x, &s, fv_onnx_node_name(n))
                                   : fv_graph_divisive_norm(r->graph, x, &s, fv_onnx_node_name(n));
    return fv_onnx_done(r, n, y);
}

const fv_onnx_read_row fv_onnx_read_contrast[] = {
    {"LRN", read_lrn},
    {NULL, NULL},
};

const fv_onnx_read_row fv_onnx_read_contrast_functions[] = {
    {"subtractive_norm", read_contrast},
    {"divisive_norm", read_contrast},
    {NULL, NULL},
};
