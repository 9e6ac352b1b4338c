#include "io/onnx_emit.h"

#include <string.h>

fv_status fv_onnx_optional(const fv_onnx_reader *r, const FvOnnx__Node *n, size_t i, fv_value *out) {
    *out = FV_NONE;
    return i < n->n_input && *n->input[i] ? fv_onnx_value(r, n, i, out) : FV_OK;
}

fv_value fv_onnx_binary(fv_onnx_reader *r, fv_nd_binary kind, fv_value a, fv_value b, int32_t trailing, const char *name) {
    const fv_value in[2] = {a, b};
    const fv_attributes attr = {.nd = {.kind = kind, .mode = trailing}};
    return a == FV_NONE || b == FV_NONE ? FV_NONE : fv_graph_node(r->graph, &fv_op_nd_binary, name, in, 2, 1, &attr);
}

fv_value fv_onnx_unary(fv_onnx_reader *r, fv_nd_unary kind, fv_value x, double alpha, double beta, const char *name) {
    const fv_attributes attr = {.nd = {.kind = kind, .alpha = alpha, .beta = beta}};
    return x == FV_NONE ? FV_NONE : fv_graph_node(r->graph, kind >= FV_ND_IS_NAN ? &fv_op_nd_test : &fv_op_nd_unary, name, &x, 1, 1, &attr);
}

fv_value fv_onnx_cast(fv_onnx_reader *r, fv_value x, fv_dtype to, const char *name) {
    const fv_attributes attr = {.nd = {.dtype = to}};
    if (x == FV_NONE || (!name && fv_onnx_dtype_of(r, x) == to)) return x;
    return fv_graph_node(r->graph, &fv_op_nd_cast, name, &x, 1, 1, &attr);
}

bool fv_onnx_attribute_is(const FvOnnx__Node *n, const char *name, const char *text, bool otherwise) {
    const FvOnnx__Attribute *a = fv_onnx_attribute(n, name);
    return a ? a->s.len == strlen(text) && memcmp(a->s.data, text, a->s.len) == 0 : otherwise;
}

fv_status fv_onnx_type_named(const FvOnnx__Node *n, int64_t type, fv_dtype *out) {
    static const struct {
        int64_t onnx;
        fv_dtype dtype;
    } rows[] = {{1, FV_F32}, {2, FV_U8},   {3, FV_I8},  {4, FV_U16}, {5, FV_I16},  {6, FV_I32},
                {7, FV_I64}, {9, FV_BOOL}, {10, FV_F16}, {11, FV_F64}, {12, FV_U32}, {13, FV_U64}};
    for (size_t i = 0; i < FV_ARRAY_SIZE(rows); i++)
        if (rows[i].onnx == type) {
            *out = rows[i].dtype;
            return FV_OK;
        }
    return fv_fail(FV_ERR_UNSUPPORTED, "node \"%.100s\" (%.60s): ONNX data type %lld is not computed with", n->name ? n->name : "", n->op_type,
                   (long long)type);
}

fv_status fv_onnx_whole_list(const FvOnnx__Node *n, const char *name, size_t count, int64_t *out) {
    const FvOnnx__Attribute *a = fv_onnx_attribute(n, name);
    FV_RETURN_IF(a && a->n_ints != count, FV_ERR_SHAPE, "node \"%.100s\" (%.60s): %s has %zu values, not %zu", n->name ? n->name : "", n->op_type,
                 name, a->n_ints, count);
    if (a) memcpy(out, a->ints, count * sizeof *out);
    return FV_OK;
}

fv_status fv_onnx_list(const FvOnnx__Node *n, const char *name, size_t most, size_t *count, int64_t *out) {
    const FvOnnx__Attribute *a = fv_onnx_attribute(n, name);
    *count = a ? a->n_ints : 0;
    FV_RETURN_IF(*count > most, FV_ERR_SHAPE, "node \"%.100s\" (%.60s): %s has %zu values, %zu are the most", n->name ? n->name : "", n->op_type,
                 name, *count, most);
    if (*count) memcpy(out, a->ints, *count * sizeof *out);
    return FV_OK;
}
