/* What readers of operators on general tensors share. */
#ifndef FV_IO_ONNX_ND_H
#define FV_IO_ONNX_ND_H

#include "io/onnx_internal.h"
#include "ops/nd.h"

/* Integers from an attribute, or from a constant input since some version. */
typedef struct fv_onnx_list {
    bool given;
    int32_t count; /* at most 2 * FV_MAX_RANK */
    int64_t value[2 * FV_MAX_RANK];
} fv_onnx_list;
/* Attribute `name` where the node has it, else input i (0: none). */
fv_status fv_onnx_list_of(const fv_onnx_reader *r, const FvOnnx__Node *n, const char *name, size_t i, fv_onnx_list *out);
/* ... of axes of a tensor of `rank`, each once, counted from the front. */
fv_status fv_onnx_axes(const fv_onnx_reader *r, const FvOnnx__Node *n, const char *name, size_t i, int32_t rank,
                       fv_onnx_list *out);
/* An attribute that is an axis of x, or with `beyond` may follow its last. */
fv_status fv_onnx_axis(const FvOnnx__Node *n, const char *name, int64_t otherwise, int32_t rank, bool beyond, int32_t *out);
/* Whether an attribute holds this text; `otherwise` where it is left out. */
bool fv_onnx_text_is(const FvOnnx__Node *n, const char *name, const char *text, bool otherwise);
/* A node of one output over inputs 0 .. count-1 of n (left-out ones FV_NONE), defined as its output. */
fv_status fv_onnx_node_over(fv_onnx_reader *r, const FvOnnx__Node *n, const fv_op *op, int32_t count, const fv_attributes *attr);
/* ... over x. */
fv_status fv_onnx_node_of(fv_onnx_reader *r, const FvOnnx__Node *n, const fv_op *op, fv_value x, const fv_attributes *attr);
static inline const fv_shape *fv_onnx_shape(const fv_onnx_reader *r, fv_value v) { return &fv_emit_info(r->graph, v)->shape; }
/* A reader's message about the node. */
#define FV_ONNX_REFUSE_IF(condition, n, ...)                                                                                     \
    do {                                                                                                                         \
        if (condition) {                                                                                                         \
            const fv_status fv_refused = fv_fail(FV_ERR_SHAPE, __VA_ARGS__);                                                     \
            return fv_fail_within(fv_refused, "node \"%.100s\" (%.60s)", (n)->name ? (n)->name : "", (n)->op_type);              \
        }                                                                                                                        \
    } while (0)

#endif
