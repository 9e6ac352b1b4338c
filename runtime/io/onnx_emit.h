/* Pieces of readers that make one operator of several nodes. The last node of a reader takes the name of the file's node. */
#ifndef FV_IO_ONNX_EMIT_H
#define FV_IO_ONNX_EMIT_H

#include "io/onnx_internal.h"
#include "ops/nd_pointwise.h"

static inline fv_dtype fv_onnx_dtype_of(const fv_onnx_reader *r, fv_value v) { return fv_emit_info(r->graph, v)->dtype; }
static inline fv_shape fv_onnx_shape_of(const fv_onnx_reader *r, fv_value v) { return fv_emit_info(r->graph, v)->shape; }
/* Input i, FV_NONE where it is left out. */
fv_status fv_onnx_optional(const fv_onnx_reader *r, const FvOnnx__Node *n, size_t i, fv_value *out);
/* Nodes of one output; FV_NONE goes through, the graph holds the error. name NULL: one of its own. */
fv_value fv_onnx_binary(fv_onnx_reader *r, fv_nd_binary kind, fv_value a, fv_value b, int32_t trailing, const char *name);
fv_value fv_onnx_unary(fv_onnx_reader *r, fv_nd_unary kind, fv_value x, double alpha, double beta, const char *name);
fv_value fv_onnx_cast(fv_onnx_reader *r, fv_value x, fv_dtype to, const char *name); /* x itself where it has the type and no name is given */
bool fv_onnx_attribute_is(const FvOnnx__Node *n, const char *name, const char *text, bool otherwise);
/* The type of an ONNX data type; FV_ERR_UNSUPPORTED names the node. */
fv_status fv_onnx_type_named(const FvOnnx__Node *n, int64_t type, fv_dtype *out);
/* A list of at most `most` integers; *count 0 and out untouched without it. FV_ERR_SHAPE names the node. */
fv_status fv_onnx_list(const FvOnnx__Node *n, const char *name, size_t most, size_t *count, int64_t *out);
/* A list of just `count` integers; out untouched without it. FV_ERR_SHAPE names the node. */
fv_status fv_onnx_whole_list(const FvOnnx__Node *n, const char *name, size_t count, int64_t *out);
/* The window and groups of a convolution of x with weights (onnx_read_nd_window.c). */
fv_status fv_onnx_conv_window(const fv_onnx_reader *r, const FvOnnx__Node *n, fv_value x, fv_value weights, fv_attributes *attr);

#endif
