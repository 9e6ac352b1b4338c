#include "io/onnx_nd.h"

#include <string.h>

fv_status fv_onnx_list_of(const fv_onnx_reader *r, const FvOnnx__Node *n, const char *name, size_t i,
                          fv_onnx_list *out) {
    const FvOnnx__Attribute *a = name ? fv_onnx_attribute(n, name) : NULL;
    const fv_onnx_tensor *t = NULL;
    *out = (fv_onnx_list){0};
    if (!a && i) FV_FORWARD(fv_onnx_constant(r, n, i, &t));
    if (!a && !t) return FV_OK;
    const size_t count = a ? a->n_ints : t->count;
    FV_ONNX_REFUSE_IF(count > FV_ARRAY_SIZE(out->value), n, "a list of %zu numbers; tensors have at most %d axes",
                      count, FV_MAX_RANK);
    FV_ONNX_REFUSE_IF(t && t->type != FV_ONNX_INT64 && t->type != FV_ONNX_INT32, n,
                      "input %zu is a list of type %d; int64 is", i, t->type);
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

fv_status fv_onnx_axis(const FvOnnx__Node *n, const char *name, int64_t otherwise, int32_t rank, bool beyond,
                       int32_t *out) {
    return fv_nd_axis(fv_onnx_node_name(n), fv_onnx_attribute_int(n, name, otherwise), rank, beyond, out);
}

bool fv_onnx_text_is(const FvOnnx__Node *n, const char *name, const char *text, bool otherwise) {
    const FvOnnx__Attribute *a = fv_onnx_attribute(n, name);
    return a ? a->s.len == strlen(text) && memcmp(a->s.data, text, a->s.len) == 0 : otherwise;
}

fv_status fv_onnx_optional(const fv_onnx_reader *r, const FvOnnx__Node *n, size_t i, fv_value *out) {
    *out = FV_NONE;
    return i < n->n_input && *n->input[i] ? fv_onnx_value(r, n, i, out) : FV_OK;
}

fv_status fv_onnx_type_named(const FvOnnx__Node *n, int64_t type, fv_dtype *out) {
    static const struct {
        int64_t onnx;
        fv_dtype dtype;
    } rows[] = {{1, FV_F32}, {2, FV_U8},   {3, FV_I8},   {4, FV_U16},  {5, FV_I16},  {6, FV_I32},
                {7, FV_I64}, {9, FV_BOOL}, {10, FV_F16}, {11, FV_F64}, {12, FV_U32}, {13, FV_U64}};
    for (size_t i = 0; i < FV_ARRAY_SIZE(rows); i++)
        if (rows[i].onnx == type) {
            *out = rows[i].dtype;
            return FV_OK;
        }
    return fv_fail(FV_ERR_UNSUPPORTED, "node \"%.100s\" (%.60s): ONNX data type %lld is not computed with",
                   n->name ? n->name : "", n->op_type, (long long)type);
}

fv_status fv_onnx_whole_list(const FvOnnx__Node *n, const char *name, size_t count, int64_t *out) {
    const FvOnnx__Attribute *a = fv_onnx_attribute(n, name);
    FV_RETURN_IF(a && a->n_ints != count, FV_ERR_SHAPE, "node \"%.100s\" (%.60s): %s has %zu values, not %zu",
                 n->name ? n->name : "", n->op_type, name, a->n_ints, count);
    if (a) memcpy(out, a->ints, count * sizeof *out);
    return FV_OK;
}

fv_status fv_onnx_node_over(fv_onnx_reader *r, const FvOnnx__Node *n, const fv_op *op, int32_t count,
                            const fv_attributes *attr) {
    enum { most = 8 };
    fv_value in[most];
    for (int32_t i = 0; i < count && i < most; i++)
        FV_FORWARD(i < op->in_min ? fv_onnx_value(r, n, (size_t)i, &in[i]) : fv_onnx_optional(r, n, (size_t)i, &in[i]));
    return fv_onnx_done(r, n, fv_graph_node(r->graph, op, fv_onnx_node_name(n), in, count, 1, attr));
}

fv_status fv_onnx_node_of(fv_onnx_reader *r, const FvOnnx__Node *n, const fv_op *op, fv_value x,
                          const fv_attributes *attr) {
    return fv_onnx_done(r, n, fv_graph_node(r->graph, op, fv_onnx_node_name(n), &x, 1, 1, attr));
}

fv_status fv_onnx_node_sized(fv_onnx_reader *r, const FvOnnx__Node *n, const fv_op *op, const char *what) {
    fv_value x;
    fv_onnx_list sizes;
    FV_FORWARD(fv_onnx_value(r, n, 0, &x));
    FV_FORWARD(fv_onnx_list_of(r, n, NULL, 1, &sizes));
    FV_ONNX_REFUSE_IF(!sizes.given || sizes.count > FV_MAX_RANK, n, "it needs %s of at most %d axes", what,
                      FV_MAX_RANK);
    fv_attributes attr = {.nd = {.count = sizes.count}};
    memcpy(attr.nd.a, sizes.value, sizeof attr.nd.a);
    return fv_onnx_node_of(r, n, op, x, &attr);
}

/* ---- nodes of one output ---- */

fv_value fv_onnx_binary(fv_onnx_reader *r, fv_nd_binary kind, fv_value a, fv_value b, int32_t trailing,
                        const char *name) {
    const fv_value in[2] = {a, b};
    const fv_attributes attr = {.nd = {.kind = kind, .mode = trailing}};
    return a == FV_NONE || b == FV_NONE ? FV_NONE : fv_graph_node(r->graph, &fv_op_nd_binary, name, in, 2, 1, &attr);
}

fv_value fv_onnx_unary(fv_onnx_reader *r, fv_nd_unary kind, fv_value x, double alpha, double beta, const char *name) {
    const fv_attributes attr = {.nd = {.kind = kind, .alpha = alpha, .beta = beta}};
    return x == FV_NONE ? FV_NONE
                        : fv_graph_node(r->graph, kind >= FV_ND_IS_NAN ? &fv_op_nd_test : &fv_op_nd_unary, name, &x, 1,
                                        1, &attr);
}

fv_value fv_onnx_cast(fv_onnx_reader *r, fv_value x, fv_dtype to, const char *name) {
    const fv_attributes attr = {.nd = {.dtype = to}};
    if (x == FV_NONE || (!name && fv_onnx_dtype_of(r, x) == to)) return x;
    return fv_graph_node(r->graph, &fv_op_nd_cast, name, &x, 1, 1, &attr);
}
