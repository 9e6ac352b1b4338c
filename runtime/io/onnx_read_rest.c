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

static fv_status read_flatten(fv_onnx_reader *r, const FvOnnx__Node *n) {
    fv_value x;
    FV_FORWARD(fv_onnx_value(r, n, 0, &x));
    if (fv_onnx_attribute_int(n, "axis", 1) != 1) return fv_onnx_refuse(n, "only axis 1 is read");
    if (fv_emit_info(r->graph, x)->shape.rank == 2) return fv_onnx_done(r, n, x);
    return fv_onnx_done(r, n, fv_graph_flatten(r->graph, x, fv_onnx_node_name(n)));
}

/* Reshape to (N, rest): a flatten in other words. */
static fv_status read_reshape(fv_onnx_reader *r, const FvOnnx__Node *n) {
    fv_value x;
    const fv_onnx_tensor *t;
    FV_FORWARD(fv_onnx_value(r, n, 0, &x));
    FV_FORWARD(fv_onnx_constant(r, n, 1, &t));
    const fv_shape *shape = &fv_emit_info(r->graph, x)->shape;
    if (t && fv_onnx_is_as_maps(shape, t)) return fv_onnx_done_as_maps(r, n, x);
    if (!t || t->count != 2) return fv_onnx_refuse(n, "only a reshape to (N, features) is read");
    int64_t rest = 1;
    for (int32_t i = 1; i < shape->rank; i++) rest *= shape->dim[i];
    const int64_t rows = fv_onnx_tensor_int(t, 0), columns = fv_onnx_tensor_int(t, 1);
    if ((columns != rest && columns != -1) || (columns == -1 && rows == -1) || (columns == -1 && rows > 1))
        return fv_onnx_refuse(n, "only a reshape to (N, features) is read");
    if (shape->rank == 2) return fv_onnx_done(r, n, x);
    return fv_onnx_done(r, n, fv_graph_flatten(r->graph, x, fv_onnx_node_name(n)));
}

const fv_onnx_read_row fv_onnx_read_rest[] = {
    {"Softmax", read_softmax},
    {"Dropout", read_dropout},
    {"Flatten", read_flatten},
    {"Reshape", read_reshape},
    {NULL, NULL},
};
