#include "io/onnx_nd.h"

#include <string.h>

fv_status fv_onnx_list_of(const fv_onnx_reader *r, const FvOnnx__Node *n, const char *name, size_t i, fv_onnx_list *out) {
    const FvOnnx__Attribute *a = name ? fv_onnx_attribute(n, name) : NULL;
    const fv_onnx_tensor *t = NULL;
    *out = (fv_onnx_list){0};
    if (!a && i) FV_FORWARD(fv_onnx_constant(r, n, i, &t));
    if (!a && !t) return FV_OK;
    const size_t count = a ? a->n_ints : t->count;
    FV_ONNX_REFUSE_IF(count > FV_ARRAY_SIZE(out->value), n, "a list of %zu numbers; tensors have at most %d axes", count,
                      FV_MAX_RANK);
    FV_ONNX_REFUSE_IF(t && t->type != FV_ONNX_INT64 && t->type != FV_ONNX_INT32, n, "input %zu is a list of type %d; int64 is", i,
                      t->type);
    out->given = true;
    out->count = (int32_t)count;
    for (size_t k = 0; k < count; k++) out->value[k] = a ? a->ints[k] : fv_onnx_tensor_int(t, k);
    return FV_OK;
}

fv_status fv_onnx_axes(const fv_onnx_reader *r, const FvOnnx__Node *n, const char *name, size_t i, int32_t rank,
                       fv_onnx_list *out) {
    unsigned seen = 0;
    FV_FORWARD(fv_onnx_list_of(r, n, name, i, out));
    for (int32_t k = 0; k < out->count; k++) {
        const int64_t axis = out->value[k];
        FV_ONNX_REFUSE_IF(axis < -rank || axis >= rank, n, "axis %lld of a tensor of rank %d", (long long)axis, rank);
        out->value[k] = axis < 0 ? axis + rank : axis;
        FV_ONNX_REFUSE_IF(seen >> out->value[k] & 1, n, "axis %lld twice", (long long)axis);
        seen |= 1u << out->value[k];
    }
    return FV_OK;
}

fv_status fv_onnx_axis(const FvOnnx__Node *n, const char *name, int64_t otherwise, int32_t rank, bool beyond, int32_t *out) {
    return fv_nd_axis(fv_onnx_node_name(n), fv_onnx_attribute_int(n, name, otherwise), rank, beyond, out);
}

bool fv_onnx_text_is(const FvOnnx__Node *n, const char *name, const char *text, bool otherwise) {
    const FvOnnx__Attribute *a = fv_onnx_attribute(n, name);
    return a ? a->s.len == strlen(text) && memcmp(a->s.data, text, a->s.len) == 0 : otherwise;
}

fv_status fv_onnx_node_over(fv_onnx_reader *r, const FvOnnx__Node *n, const fv_op *op, int32_t count, const fv_attributes *attr) {
    enum { most = 8 };
    fv_value in[most];
    for (int32_t i = 0; i < count && i < most; i++) {
        const fv_onnx_name *entry;
        in[i] = FV_NONE;
        FV_FORWARD(fv_onnx_input(r, n, (size_t)i, &entry));
        if (entry || i < op->in_min) FV_FORWARD(fv_onnx_value(r, n, (size_t)i, &in[i]));
    }
    return fv_onnx_done(r, n, fv_graph_node(r->graph, op, fv_onnx_node_name(n), in, count, 1, attr));
}

fv_status fv_onnx_node_of(fv_onnx_reader *r, const FvOnnx__Node *n, const fv_op *op, fv_value x, const fv_attributes *attr) {
    return fv_onnx_done(r, n, fv_graph_node(r->graph, op, fv_onnx_node_name(n), &x, 1, 1, attr));
}
