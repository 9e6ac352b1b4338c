/* Values taken from places and put to places. */
#include "io/onnx_nd.h"

#include <string.h>

static fv_status data_axis(fv_onnx_reader *r, const FvOnnx__Node *n, fv_attributes *attr) {
    fv_value data;
    int32_t axis;
    FV_FORWARD(fv_onnx_value(r, n, 0, &data));
    FV_FORWARD(fv_onnx_axis(n, "axis", 0, fv_onnx_shape(r, data)->rank, false, &axis));
    attr->nd.a[0] = axis;
    return FV_OK;
}

static fv_status read_gather(fv_onnx_reader *r, const FvOnnx__Node *n) {
    fv_attributes attr = {0};
    FV_FORWARD(data_axis(r, n, &attr));
    return fv_onnx_node_over(r, n, strcmp(n->op_type, "Gather") == 0 ? &fv_op_gather : &fv_op_gather_elements, 2, &attr);
}

static fv_status read_gather_nd(fv_onnx_reader *r, const FvOnnx__Node *n) {
    const fv_attributes attr = {.nd = {.a = {fv_onnx_attribute_int(n, "batch_dims", 0)}}};
    return fv_onnx_node_over(r, n, &fv_op_gather_nd, 2, &attr);
}

static fv_status reduction(const FvOnnx__Node *n, int32_t *kind) {
    static const char *const names[] = {"none", "add", "mul", "max", "min"};
    if (!fv_onnx_attribute(n, "reduction")) return FV_OK;
    for (int32_t i = 0; i < (int32_t)FV_ARRAY_SIZE(names); i++) {
        if (!fv_onnx_text_is(n, "reduction", names[i], false)) continue;
        *kind = i;
        return FV_OK;
    }
    return fv_onnx_refuse(n, "an unknown reduction");
}

static fv_status read_scatter_elements(fv_onnx_reader *r, const FvOnnx__Node *n) {
    fv_attributes attr = {.nd = {.kind = FV_SCATTER_SET}};
    FV_FORWARD(data_axis(r, n, &attr));
    FV_FORWARD(reduction(n, &attr.nd.kind));
    return fv_onnx_node_over(r, n, &fv_op_scatter_elements, 3, &attr);
}

static fv_status read_scatter_nd(fv_onnx_reader *r, const FvOnnx__Node *n) {
    fv_attributes attr = {.nd = {.kind = FV_SCATTER_SET}};
    FV_FORWARD(reduction(n, &attr.nd.kind));
    return fv_onnx_node_over(r, n, &fv_op_scatter_nd, 3, &attr);
}

const fv_onnx_read_row fv_onnx_read_nd_gather[] = {
    {"Gather", read_gather},           {"GatherElements", read_gather},           {"GatherND", read_gather_nd},
    {"Scatter", read_scatter_elements}, {"ScatterElements", read_scatter_elements}, {"ScatterND", read_scatter_nd},
    {NULL, NULL},
};
