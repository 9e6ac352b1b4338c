/* A TensorProto; what is read is written and read again. */
#include "fuzz.h"
#include "mutate.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    fv_context *c = fuzz_enter();
    fv_tensor t = {0}, again = {0};
    const char *path = fuzz_file("t.pb", data, size);
    if (fv_tensor_load(c, path, &t) == FV_OK) {
        size_t count, bytes;
        fuzz_check(fv_tensor_count(&t, &count) == FV_OK, "a tensor without size");
        bytes = count * fv_dtype_bytes(t.dtype);
        fuzz_check(fv_tensor_save(c, path, "t", &t) == FV_OK, "not written");
        fuzz_check(fv_tensor_load(c, path, &again) == FV_OK, "not read again");
        fuzz_check(bytes == 0 || memcmp(t.data, again.data, bytes) == 0, "other bytes");
        fv_tensor_free(c, &again);
        fv_tensor_free(c, &t);
    }
    fuzz_leave(c);
    return 0;
}
