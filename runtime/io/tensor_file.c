/* Tensors in files of their own: npy, or ONNX's TensorProto. */
#include "io/onnx_internal.h"
#include "io/onnx_protobuf.h"
#include "io/onnx_walk.h"

#include <string.h>

static bool ends_in(const char *path, const char *ending) {
    const size_t length = strlen(path), tail = strlen(ending);
    return length > tail && strcmp(path + length - tail, ending) == 0;
}

/* ---- TensorProto ---- */

static fv_status take_values(fv_context *c, const fv_mapping *file, const FvOnnx__Tensor *from, fv_tensor *out) {
    fv_onnx_tensor view;
    fv_tensor t = {.layout = FV_PLAIN};
    FV_FORWARD(fv_onnx_tensor_view(from, file, NULL, &view));
    FV_FORWARD(fv_onnx_dtype(view.type, "the tensor", &t.dtype));
    t.rank = view.shape.rank;
    memcpy(t.shape, view.shape.dim, sizeof t.shape);
    FV_FORWARD(fv_alloc(c, fv_max_size(view.count * fv_dtype_bytes(t.dtype), 1), "a tensor", &t.data));
    fv_onnx_tensor_copy(&view, t.data);
    *out = t;
    return FV_OK;
}

static fv_status read_proto(fv_context *c, const fv_mapping *file, fv_tensor *out) {
    fv_onnx_parsed parsed = {c, "a tensor's structure", FV_OK};
    ProtobufCAllocator allocator = fv_onnx_parse_memory(&parsed);
    fv_onnx_skeleton skeleton = {0};
    FV_FORWARD(fv_onnx_walk_tensor(c, file, &skeleton));
    FvOnnx__Tensor *from = fv_onnx__tensor__unpack(&allocator, skeleton.bytes, skeleton.data);
    fv_release(c, skeleton.data);
    FV_FORWARD(parsed.status);
    FV_RETURN_IF(!from, FV_ERR_FORMAT, "not an ONNX tensor: a field has the wrong type");
    const fv_status status = take_values(c, file, from, out);
    fv_onnx__tensor__free_unpacked(from, &allocator);
    return status;
}

void fv_tensor_free(fv_context *c, fv_tensor *t) { fv_npy_free(c, t); }

fv_status fv_tensor_load(fv_context *c, const char *path, fv_tensor *t) {
    FV_RETURN_IF(!c || !path || !t, FV_ERR_ARGUMENT, "fv_tensor_load needs a context, a path and a place for the tensor");
    if (ends_in(path, ".npy")) return fv_npy_read(c, path, t);
    FV_RETURN_IF(!ends_in(path, ".pb"), FV_ERR_UNSUPPORTED, "%s: a tensor's file ends in .npy or .pb", path);
    fv_mapping file;
    FV_FORWARD(fv_map_file(path, &file));
    fv_tensor read;
    fv_status status = read_proto(c, &file, &read);
    if (status == FV_OK && (status = fv_check_mapping(&file, "the file")) != FV_OK) fv_tensor_free(c, &read);
    if (status == FV_OK) *t = read;
    fv_unmap_file(&file);
    return status == FV_OK ? FV_OK : fv_fail_within(status, "%s", path);
}

/* ---- writing ---- */

static fv_status write_proto(fv_context *c, const char *path, const char *name, const fv_tensor *t, size_t count) {
    FvOnnx__Tensor out = FV_ONNX__TENSOR__INIT;
    out.n_dims = (size_t)t->rank;
    out.dims = (int64_t *)(uintptr_t)t->shape;
    out.has_data_type = true;
    out.data_type = fv_onnx_type_of(t->dtype);
    out.name = (char *)(uintptr_t)name;
    out.has_raw_data = true;
    out.raw_data = (ProtobufCBinaryData){count * fv_dtype_bytes(t->dtype), t->data};
    return fv_onnx_write_message(c, &out.base, path);
}

fv_status fv_tensor_save(fv_context *c, const char *path, const char *name, const fv_tensor *t) {
    size_t count;
    FV_RETURN_IF(!c || !path || !t, FV_ERR_ARGUMENT, "fv_tensor_save needs a context, a path and a tensor");
    if (ends_in(path, ".npy")) return fv_npy_write(c, path, t);
    FV_RETURN_IF(!ends_in(path, ".pb"), FV_ERR_UNSUPPORTED, "%s: a tensor's file ends in .npy or .pb", path);
    FV_FORWARD(fv_tensor_count(t, &count));
    FV_RETURN_IF(t->layout != FV_PLAIN, FV_ERR_UNSUPPORTED, "%s: tensors are written in plain layout", path);
    FV_RETURN_IF(count && !t->data, FV_ERR_ARGUMENT, "%s: the tensor has no data", path);
    return write_proto(c, path, name, t, count);
}
