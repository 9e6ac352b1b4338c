#include "core/context.h"

size_t fv_dtype_bytes(fv_dtype t) {
    switch (t) {
    case FV_U8: return 1;
    case FV_F32:
    case FV_I32: return 4;
    case FV_F64:
    case FV_I64: return 8;
    }
    return 0;
}

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
