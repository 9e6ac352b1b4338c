/* What readers of operators on general tensors share. */
#ifndef FV_IO_ONNX_ND_H
#define FV_IO_ONNX_ND_H

#include "io/onnx_internal.h"
#include "ops/nd_pointwise.h"

/* Integers from an attribute, or from a constant input since some version. */
typedef struct fv_onnx_list {
    bool given;
    int32_t count; /* at most 2 * FV_MAX_RANK */
    int64_t value[2 * FV_MAX_RANK];
} fv_onnx_list;
/* Attribute `name` where the node has it, else input i (0: none). */
fv_status fv_onnx_list_of(const fv_onnx_reader *r, const FvOnnx__Node *n, const char *name, size_t i,
                          fv_onnx_list *out);
/* ... of axes of a tensor of `rank`, each once, counted from the front. */
fv_status fv_onnx_axes(const fv_onnx_reader *r, const FvOnnx__Node *n, const char *name, size_t i, int32_t rank,
                       fv_onnx_list *out);
/* An attribute that is an axis of x, or with `beyond` may follow its last. */
fv_status fv_onnx_axis(const FvOnnx__Node *n, const char *name, int64_t otherwise, int32_t rank, bool beyond,
                       int32_t *out);
/* Whether an attribute holds this text; `otherwise` where it is left out. */
bool fv_onnx_text_is(const FvOnnx__Node *n, const char *name, const char *text, bool otherwise);
/* Input i, FV_NONE where it is left out. */
fv_status fv_onnx_optional(const fv_onnx_reader *r, const FvOnnx__Node *n, size_t i, fv_value *out);
/* The type of an ONNX data type; FV_ERR_UNSUPPORTED names the node. */
fv_status fv_onnx_type_named(const FvOnnx__Node *n, int64_t type, fv_dtype *out);
/* An attribute of just `count` integers; out untouched without it. FV_ERR_SHAPE names the node. (fv_onnx_ints is for
 * layers of maps: it refuses other counts, so that a reader of any rank is asked next, and holds 32 bits.) */
fv_status fv_onnx_whole_list(const FvOnnx__Node *n, const char *name, size_t count, int64_t *out);
/* A node of one output over inputs 0 .. count-1 of n (left-out ones FV_NONE), defined as its output. */
fv_status fv_onnx_node_over(fv_onnx_reader *r, const FvOnnx__Node *n, const fv_op *op, int32_t count,
                            const fv_attributes *attr);
/* ... over x. */
fv_status fv_onnx_node_of(fv_onnx_reader *r, const FvOnnx__Node *n, const fv_op *op, fv_value x,
                          const fv_attributes *attr);
/* ... over x, with the list in input 1 as its sizes; `what` names them in the sentence of a refusal. */
fv_status fv_onnx_node_sized(fv_onnx_reader *r, const FvOnnx__Node *n, const fv_op *op, const char *what);

/* ---- readers that make one operator of several nodes: the last takes the name of the file's node ---- */

/* Nodes of one output; FV_NONE goes through, the graph holds the error. name NULL: one of its own. */
fv_value fv_onnx_binary(fv_onnx_reader *r, fv_nd_binary kind, fv_value a, fv_value b, int32_t trailing,
                        const char *name);
fv_value fv_onnx_unary(fv_onnx_reader *r, fv_nd_unary kind, fv_value x, double alpha, double beta, const char *name);
/* x itself where it has the type and no name is given. */
fv_value fv_onnx_cast(fv_onnx_reader *r, fv_value x, fv_dtype to, const char *name);
/* Refuses quantized numbers that are no integers of at most 32 bits, and a zero point (FV_NONE: none) of another type
 * (onnx_read_nd_quantize.c). */
fv_status fv_onnx_check_point(const fv_onnx_reader *r, const FvOnnx__Node *n, fv_value x, fv_value zero);
/* The window and groups of a convolution of x with weights (onnx_read_nd_window.c). */
fv_status fv_onnx_conv_window(const fv_onnx_reader *r, const FvOnnx__Node *n, fv_value x, fv_value weights,
                              fv_attributes *attr);

static inline fv_dtype fv_onnx_dtype_of(const fv_onnx_reader *r, fv_value v) {
    return fv_emit_info(r->graph, v)->dtype;
}
static inline const fv_shape *fv_onnx_shape(const fv_onnx_reader *r, fv_value v) {
    return &fv_emit_info(r->graph, v)->shape;
}
/* A reader's message about the node. */
#define FV_ONNX_REFUSE_IF(condition, n, ...)                                                                           \
    do {                                                                                                               \
        if (condition) {                                                                                               \
            const fv_status fv_refused = fv_fail(FV_ERR_SHAPE, __VA_ARGS__);                                           \
            return fv_fail_within(fv_refused, "node \"%.100s\" (%.60s)", (n)->name ? (n)->name : "", (n)->op_type);    \
        }                                                                                                              \
    } while (0)

#endif
