/* Tensors of a file as their values lie there, and their values. */
#include "io/onnx_scope.h"
#include "core/file.h"
#include "io/onnx_walk.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static const struct {
    int32_t type;
    fv_dtype dtype;
} types[] = {
    {FV_ONNX_FLOAT, FV_F32}, {FV_ONNX_UINT8, FV_U8},   {FV_ONNX_INT8, FV_I8},     {FV_ONNX_UINT16, FV_U16},
    {FV_ONNX_INT16, FV_I16}, {FV_ONNX_INT32, FV_I32},  {FV_ONNX_INT64, FV_I64},   {FV_ONNX_BOOL, FV_BOOL},
    {FV_ONNX_FLOAT16, FV_F16}, {FV_ONNX_DOUBLE, FV_F64}, {FV_ONNX_UINT32, FV_U32}, {FV_ONNX_UINT64, FV_U64},
};

enum { few = 1024 };

static size_t place_of(const fv_onnx_tensor *t) { return (size_t)((const uint8_t *)t->data - t->map->data); }

static size_t type_bytes(int32_t type) {
    for (size_t i = 0; i < FV_ARRAY_SIZE(types); i++)
        if (types[i].type == type) return fv_dtype_bytes(types[i].dtype);
    return 0;
}

fv_status fv_onnx_dtype(int32_t type, const char *what, fv_dtype *out) {
    for (size_t i = 0; i < FV_ARRAY_SIZE(types); i++)
        if (types[i].type == type) {
            *out = types[i].dtype;
            return FV_OK;
        }
    return fv_fail(FV_ERR_UNSUPPORTED, "%.200s has ONNX data type %d%s; numbers of 8 to 64 bits, float16 and bool are read", what, type,
                   type == 8 ? " (string)" : type == 14 || type == 15 ? " (complex)" : type == 16 ? " (bfloat16)" : "");
}

int32_t fv_onnx_type_of(fv_dtype t) {
    for (size_t i = 0; i < FV_ARRAY_SIZE(types); i++)
        if (types[i].dtype == t) return types[i].type;
    return 0;
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

static fv_status read_raw(const FvOnnx__Tensor *t, const char *name, const fv_mapping *file, fv_onnx_tensor *out) {
    fv_onnx_place place = {0, t->raw_data.len};
    const size_t want = out->count * type_bytes(out->type);
    FV_RETURN_IF(file && t->raw_data.len != sizeof place, FV_ERR_FORMAT, "tensor \"%.200s\" is not a whole message", name);
    if (file) memcpy(&place, t->raw_data.data, sizeof place);
    FV_RETURN_IF(file && (place.offset > file->bytes || place.bytes > file->bytes - place.offset), FV_ERR_FORMAT,
                 "tensor \"%.200s\" lies outside the file", name);
    FV_RETURN_IF(place.bytes != want, FV_ERR_FORMAT, "tensor \"%.200s\" needs %zu bytes for its shape, but has %llu",
                 name, want, (unsigned long long)place.bytes);
    out->map = file;
    out->data = file ? file->data + place.offset : t->raw_data.data;
    return FV_OK;
}

/* Values in the message's own arrays: small types and float16 bits stand in int32_data, one a number; both unsigned ones in uint64_data. */
static size_t read_typed(const FvOnnx__Tensor *t, fv_onnx_tensor *out) {
    switch (t->data_type) {
    case FV_ONNX_FLOAT:
        out->data = t->float_data;
        return t->n_float_data;
    case FV_ONNX_INT64:
        out->data = t->int64_data;
        return t->n_int64_data;
    case FV_ONNX_DOUBLE:
        out->data = t->double_data;
        return t->n_double_data;
    case FV_ONNX_UINT32:
    case FV_ONNX_UINT64:
        out->data = t->uint64_data;
        out->wide = t->data_type == FV_ONNX_UINT32;
        return t->n_uint64_data;
    default:
        out->data = t->int32_data;
        out->wide = t->data_type != FV_ONNX_INT32;
        return t->n_int32_data;
    }
}

void fv_onnx_tensor_need(fv_onnx_tensor *t) {
    if (t->map) (void)fv_map_need(t->map, place_of(t), t->count * type_bytes(t->type));
    t->map = NULL;
}

/* Values of a few are read at once: they shape what follows. */
static fv_status settle(fv_status status, fv_onnx_tensor *t) {
    if (status == FV_OK && t->map && (!t->map->have || t->count <= few)) fv_onnx_tensor_need(t);
    return status;
}

fv_status fv_onnx_tensor_view(const FvOnnx__Tensor *t, const fv_mapping *file, fv_onnx_files *external, fv_onnx_tensor *out) {
    const char *name = t->name ? t->name : "";
    char what[260];
    fv_dtype dtype;
    *out = (fv_onnx_tensor){.type = t->data_type};
    snprintf(what, sizeof what, "tensor \"%.200s\"", name);
    FV_FORWARD(fv_onnx_dtype(t->data_type, what, &dtype));
    FV_FORWARD(read_shape(t, name, out));
    const size_t typed = t->n_float_data + t->n_int32_data + t->n_int64_data + t->n_double_data + t->n_uint64_data;
    const bool elsewhere = t->data_location == 1 || t->n_external_data;
    FV_RETURN_IF((t->has_raw_data != 0) + (typed > 0) + elsewhere > 1, FV_ERR_FORMAT, "tensor \"%.200s\" has its values twice", name);
    if (elsewhere) {
        FV_RETURN_IF(!external, FV_ERR_UNSUPPORTED, "tensor \"%.200s\" keeps its values in another file, which is not read here", name);
        return settle(fv_onnx_files_place(external, t, out->count * type_bytes(out->type), &out->data, &out->map), out);
    }
    if (t->has_raw_data) return settle(read_raw(t, name, file, out), out);
    const size_t have = read_typed(t, out);
    FV_RETURN_IF(typed != have || have != out->count, FV_ERR_FORMAT,
                 "tensor \"%.200s\" has %zu values of its type for a shape of %zu", name, have, out->count);
    return FV_OK;
}

/* ---- values ---- */

static float half_value(uint16_t h) {
    const uint32_t exponent = h >> 10 & 31, fraction = h & 1023;
    float value;
    if (exponent == 0)
        value = (float)fraction * 0x1p-24f;
    else if (exponent == 31)
        value = fraction ? NAN : INFINITY;
    else
        value = ldexpf((float)(1024 + fraction), (int)exponent - 25);
    return h & 0x8000 ? -value : value;
}

/* The bits of element i, zero-extended. */
static uint64_t bits_of(const fv_onnx_tensor *t, size_t i) {
    const size_t bytes = type_bytes(t->type), stride = !t->wide ? bytes : t->type == FV_ONNX_UINT32 ? 8 : 4;
    if (t->map) (void)fv_map_need(t->map, place_of(t) + stride * i, bytes);
    uint64_t bits = 0;
    memcpy(&bits, (const char *)t->data + stride * i, bytes); /* little-endian: the low bytes come first */
    return bits;
}

float fv_onnx_tensor_float(const fv_onnx_tensor *t, size_t i) {
    const uint64_t bits = bits_of(t, i);
    if (t->type == FV_ONNX_FLOAT) {
        float value;
        const uint32_t low = (uint32_t)bits;
        memcpy(&value, &low, sizeof value);
        return value;
    }
    if (t->type == FV_ONNX_DOUBLE) {
        double value;
        memcpy(&value, &bits, sizeof value);
        return (float)value;
    }
    if (t->type == FV_ONNX_FLOAT16) return half_value((uint16_t)bits);
    if (t->type == FV_ONNX_UINT64) return (float)bits;
    return (float)fv_onnx_tensor_int(t, i);
}

int64_t fv_onnx_tensor_int(const fv_onnx_tensor *t, size_t i) {
    const uint64_t bits = bits_of(t, i);
    switch (t->type) {
    case FV_ONNX_INT8: return (int8_t)bits;
    case FV_ONNX_INT16: return (int16_t)bits;
    case FV_ONNX_INT32: return (int32_t)bits;
    case FV_ONNX_FLOAT:
    case FV_ONNX_FLOAT16:
    case FV_ONNX_DOUBLE: {
        const float value = fv_onnx_tensor_float(t, i);
        return value >= -0x1p62f && value <= 0x1p62f ? (int64_t)value : 0;
    }
    default: return (int64_t)bits;
    }
}

void fv_onnx_tensor_copy(const fv_onnx_tensor *t, void *out) {
    const size_t bytes = type_bytes(t->type);
    if (t->map)
        fv_map_read(t->map, place_of(t), t->count * bytes, out);
    else if (!t->wide && t->count)
        memcpy(out, t->data, t->count * bytes);
    for (size_t i = 0; t->wide && i < t->count; i++) {
        const uint64_t bits = bits_of(t, i);
        memcpy((char *)out + i * bytes, &bits, bytes);
    }
}
