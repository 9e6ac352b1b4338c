#include "io/onnx_internal.h"
#include "io/onnx_walk.h"

#include <string.h>

static size_t type_bytes(int32_t type) {
    switch (type) {
    case FV_ONNX_FLOAT:
    case FV_ONNX_INT32:
        return 4;
    case FV_ONNX_INT64:
    case FV_ONNX_DOUBLE:
        return 8;
    default:
        return 0;
    }
}

static fv_status read_shape(const FvOnnx__Tensor *t, const char *name, fv_onnx_tensor *out) {
    FV_RETURN_IF(t->n_dims > FV_MAX_RANK, FV_ERR_LIMIT, "tensor \"%.200s\" has rank %zu, at most %d are read", name,
                 t->n_dims, FV_MAX_RANK);
    out->shape.rank = (int32_t)t->n_dims;
    out->count = 1;
    for (size_t i = 0; i < t->n_dims; i++) {
        FV_RETURN_IF(t->dims[i] < 0, FV_ERR_SHAPE, "tensor \"%.200s\" has a negative size %lld", name,
                     (long long)t->dims[i]);
        FV_RETURN_IF(!fv_mul_size(out->count, (size_t)t->dims[i], &out->count) || out->count > SIZE_MAX / 16,
                     FV_ERR_LIMIT, "tensor \"%.200s\" has too many elements", name);
        out->shape.dim[i] = t->dims[i];
    }
    return FV_OK;
}

static fv_status read_raw(const FvOnnx__Tensor *t, const char *name, const uint8_t *file, size_t bytes,
                          fv_onnx_tensor *out) {
    fv_onnx_place place;
    FV_RETURN_IF(t->raw_data.len != sizeof place, FV_ERR_FORMAT, "tensor \"%.200s\" is not a whole message", name);
    memcpy(&place, t->raw_data.data, sizeof place);
    const size_t want = out->count * type_bytes(out->type);
    FV_RETURN_IF(place.offset > bytes || place.bytes > bytes - place.offset, FV_ERR_FORMAT,
                 "tensor \"%.200s\" lies outside the file", name);
    FV_RETURN_IF(place.bytes != want, FV_ERR_FORMAT, "tensor \"%.200s\" needs %zu bytes for its shape, but has %llu",
                 name, want, (unsigned long long)place.bytes);
    out->data = file + place.offset;
    out->raw = true;
    return FV_OK;
}

fv_status fv_onnx_tensor_view(const FvOnnx__Tensor *t, const uint8_t *file, size_t bytes, fv_onnx_tensor *out) {
    const char *name = t->name ? t->name : "";
    *out = (fv_onnx_tensor){.type = t->data_type};
    FV_RETURN_IF(t->data_location == 1 || t->n_external_data, FV_ERR_UNSUPPORTED,
                 "tensor \"%.200s\" keeps its values in another file, which fovea does not read", name);
    FV_RETURN_IF(type_bytes(t->data_type) == 0, FV_ERR_UNSUPPORTED,
                 "tensor \"%.200s\" has ONNX data type %d; float (1), int32 (6), int64 (7) and double (11) are read",
                 name, t->data_type);
    FV_FORWARD(read_shape(t, name, out));
    const size_t typed = t->n_float_data + t->n_int32_data + t->n_int64_data + t->n_double_data;
    FV_RETURN_IF(t->has_raw_data && typed, FV_ERR_FORMAT, "tensor \"%.200s\" has its values twice", name);
    if (t->has_raw_data) return read_raw(t, name, file, bytes, out);
    size_t have = 0;
    switch (t->data_type) {
    case FV_ONNX_FLOAT:
        out->data = t->float_data, have = t->n_float_data;
        break;
    case FV_ONNX_INT32:
        out->data = t->int32_data, have = t->n_int32_data;
        break;
    case FV_ONNX_INT64:
        out->data = t->int64_data, have = t->n_int64_data;
        break;
    default:
        out->data = t->double_data, have = t->n_double_data;
        break;
    }
    FV_RETURN_IF(have != typed || have != out->count, FV_ERR_FORMAT,
                 "tensor \"%.200s\" has %zu values of its type for a shape of %zu", name, have, out->count);
    return FV_OK;
}

float fv_onnx_tensor_float(const fv_onnx_tensor *t, size_t i) {
    if (t->type == FV_ONNX_FLOAT) {
        float value;
        memcpy(&value, (const char *)t->data + 4 * i, sizeof value);
        return value;
    }
    if (t->type == FV_ONNX_DOUBLE) {
        double value;
        memcpy(&value, (const char *)t->data + 8 * i, sizeof value);
        return (float)value;
    }
    return (float)fv_onnx_tensor_int(t, i);
}

int64_t fv_onnx_tensor_int(const fv_onnx_tensor *t, size_t i) {
    if (t->type == FV_ONNX_INT64) {
        int64_t value;
        memcpy(&value, (const char *)t->data + 8 * i, sizeof value);
        return value;
    }
    if (t->type == FV_ONNX_INT32) {
        int32_t value;
        memcpy(&value, (const char *)t->data + 4 * i, sizeof value);
        return value;
    }
    const float value = fv_onnx_tensor_float(t, i);
    return value >= -0x1p62f && value <= 0x1p62f ? (int64_t)value : 0;
}
