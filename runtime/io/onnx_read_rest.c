/* Shapes, rows, constants. */
#include "io/onnx_internal.h"

static fv_status read_softmax(fv_onnx_reader *r, const FvOnnx__Node *n) {
    fv_value x;
    FV_FORWARD(fv_onnx_value(r, n, 0, &x));
    const int64_t axis = fv_onnx_attribute_int(n, "axis", r->opset < 13 ? 1 : -1);
    if (fv_emit_info(r->graph, x)->shape.rank != 2 || (axis != 1 && axis != -1))
        return fv_onnx_refuse(n, "only axis 1 of (N,F) is read");
    return fv_onnx_done(r, n, fv_graph_softmax(r->graph, x, fv_onnx_node_name(n)));
}

static fv_status read_dropout(fv_onnx_reader *r, const FvOnnx__Node *n) {
    fv_value x;
    const fv_onnx_tensor *t;
    float ratio = fv_onnx_attribute_float(n, "ratio", 0.5f);
    FV_FORWARD(fv_onnx_value(r, n, 0, &x));
    FV_FORWARD(fv_onnx_constant(r, n, 1, &t));
    if (t && t->count == 1) ratio = fv_onnx_tensor_float(t, 0);
    FV_FORWARD(fv_onnx_constant(r, n, 2, &t));
    if (t && t->count && fv_onnx_tensor_int(t, 0)) return fv_onnx_refuse(n, "training_mode draws random numbers");
    return fv_onnx_done(r, n, fv_graph_dropout(r->graph, x, ratio, fv_onnx_node_name(n)));
}

/* Maps to (N, rest): a flatten in other words. */
static bool is_flatten(const fv_value_info *x, const fv_onnx_tensor *t) {
    if (!t || t->count != 2 || x->shape.rank != 4 || x->dtype != FV_REAL_DTYPE || x->kind == FV_VALUE_PARAMETER)
        return false;
    const int64_t rest = x->shape.dim[1] * x->shape.dim[2] * x->shape.dim[3], rows = fv_onnx_tensor_int(t, 0),
                  columns = fv_onnx_tensor_int(t, 1);
    const bool all = rows == 0 || rows == x->shape.dim[0] || x->shape.dim[0] == 0; /* an open batch takes any number */
    return columns == rest ? rows == -1 || all : columns == -1 && rows != -1 && rows < 2 && all;
}

static fv_status read_reshape(fv_onnx_reader *r, const FvOnnx__Node *n) {
    fv_value x;
    const fv_onnx_tensor *t;
    FV_FORWARD(fv_onnx_value(r, n, 0, &x));
    FV_FORWARD(fv_onnx_constant(r, n, 1, &t));
    const fv_value_info *info = fv_emit_info(r->graph, x);
    const bool layer = info->dtype == FV_REAL_DTYPE && info->kind != FV_VALUE_PARAMETER;
    if (t && layer && fv_onnx_is_as_maps(&info->shape, t)) return fv_onnx_done_as_maps(r, n, x);
    if (is_flatten(info, t)) return fv_onnx_done(r, n, fv_graph_flatten(r->graph, x, fv_onnx_node_name(n)));
    return fv_onnx_refuse(n, "only maps to (N, features)");
}

const fv_onnx_read_row fv_onnx_read_rest[] = {
    {"Softmax", read_softmax},
    {"Dropout", read_dropout},
    {"Reshape", read_reshape},
    {NULL, NULL},
};
