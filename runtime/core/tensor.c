#include "core/context.h"

static const struct {
    size_t bytes;
    const char *name;
} types[] = {
    [FV_F32] = {4, "float32"}, [FV_I32] = {4, "int32"},   [FV_U8] = {1, "uint8"},   [FV_F64] = {8, "float64"},
    [FV_I64] = {8, "int64"},   [FV_BOOL] = {1, "bool"},   [FV_I8] = {1, "int8"},    [FV_I16] = {2, "int16"},
    [FV_U16] = {2, "uint16"},  [FV_U32] = {4, "uint32"},  [FV_U64] = {8, "uint64"}, [FV_F16] = {2, "float16"},
};

static bool is_type(fv_dtype t) { return (int)t >= 0 && (size_t)t < sizeof types / sizeof *types; }

size_t fv_dtype_bytes(fv_dtype t) { return is_type(t) ? types[t].bytes : 0; }

const char *fv_dtype_name(fv_dtype t) { return is_type(t) ? types[t].name : "unknown"; }

fv_status fv_tensor_count(const fv_tensor *t, size_t *out) {
    FV_RETURN_IF(!t || !out, FV_ERR_ARGUMENT, "fv_tensor_count needs a tensor and a place for the count");
    FV_RETURN_IF(t->rank < 0 || t->rank > FV_MAX_RANK, FV_ERR_SHAPE, "a tensor has rank %d, allowed are 0 to %d", t->rank,
                 FV_MAX_RANK);
    const size_t element = fv_dtype_bytes(t->dtype);
    FV_RETURN_IF(element == 0, FV_ERR_ARGUMENT, "a tensor has the unknown type %d", (int)t->dtype);
    size_t count = 1, bytes;
    for (int32_t i = 0; i < t->rank; i++) {
        FV_RETURN_IF(t->shape[i] < 0, FV_ERR_SHAPE, "a tensor has size %lld on axis %d", (long long)t->shape[i], i);
        FV_RETURN_IF(!fv_mul_size(count, (size_t)t->shape[i], &count), FV_ERR_LIMIT, "a tensor has too many elements");
    }
    FV_RETURN_IF(!fv_mul_size(count, element, &bytes) || bytes > PTRDIFF_MAX, FV_ERR_LIMIT, "a tensor has too many bytes");
    *out = count;
    return FV_OK;
}
