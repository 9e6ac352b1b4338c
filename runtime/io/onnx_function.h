/* A layer of the lecture that ONNX has no operator for: a node of domain "fovea", and in the file a function of that
 * name whose body is standard operators, so that any runtime of IR version 8 runs it. fovea reads such nodes
 * by name (`functions` in onnx_ops.c) and looks at no body.
 *
 *     FvOnnx__Node *n = fv_onnx_make_call(w, "rectification", source->name, 1, out);
 *     n->input[0] = x;                                  (n may be NULL: return then)
 *     fv_onnx_make_float(w, n, "k", k);                 every attribute, before the definition
 *     FvOnnx__Function *f = fv_onnx_define_function(w, n, "x", "y", false);
 *     if (!f) return;                                   defined by an earlier node, or a failure that sticks in w
 *     fv_onnx_body(w, f, "Mul", "x k", "scaled");       "k": the attribute's value
 *     fv_onnx_body(w, f, "Abs", "scaled", "y");
 */
#ifndef FV_IO_ONNX_FUNCTION_H
#define FV_IO_ONNX_FUNCTION_H

#include "io/onnx_writer.h"

/* What a function was defined for, besides its message. */
struct fv_onnx_definition {
    FvOnnx__Function message;
    const char *base; /* the name the writer gave; message.name may have ".2", ".3", ... after it */
    const uint8_t *key;
    size_t key_bytes;
};

/* As fv_onnx_make_node, in domain "fovea". */
FvOnnx__Node *fv_onnx_make_call(fv_onnx_writer *w, const char *function, char *name, size_t inputs, char *output);
/* The function that call needs, to be filled with a body; NULL when the file has it already.
 * @param inputs, outputs names inside the body, separated by blanks: calls of other lists have another definition
 * @param by_value the body depends on the attributes' values: one definition (name, name.2, ...) for each set of
 * values. Else one for each set of attributes, which the body reaches by reference: every attribute of the call is a
 * value of its own name in the body (a scalar, or a vector for FLOATS and INTS), and fv_onnx_make_reference hands it
 * on. */
FvOnnx__Function *fv_onnx_define_function(fv_onnx_writer *w, FvOnnx__Node *call, const char *inputs,
                                          const char *outputs, bool by_value);
/* One node of a body; names separated by blanks. fv_onnx_make_int and the like add its attributes. */
FvOnnx__Node *fv_onnx_body(fv_onnx_writer *w, FvOnnx__Function *f, const char *op, const char *inputs,
                           const char *outputs);
/* Constants of a body: a scalar, a vector of int64 (shapes, axes, ranges), any tensor. What data points to is copied.
 */
void fv_onnx_body_float(fv_onnx_writer *w, FvOnnx__Function *f, const char *name, float value);
void fv_onnx_body_ints(fv_onnx_writer *w, FvOnnx__Function *f, const char *name, size_t count, const int64_t *values);
void fv_onnx_body_tensor(fv_onnx_writer *w, FvOnnx__Function *f, const char *name, int32_t rank, const int64_t *shape,
                         int32_t type, const void *data, size_t bytes);
/* A reduction of `in` over the axes, which stay with size 1. */
void fv_onnx_body_reduce(fv_onnx_writer *w, FvOnnx__Function *f, const char *op, const char *in, const char *out, size_t count,
                         const int32_t *axes);
/* Attribute `name` of a body's node is the call's attribute `attribute` of the given type. */
void fv_onnx_make_reference(fv_onnx_writer *w, FvOnnx__Node *n, const char *name, int32_t type, const char *attribute);

#endif
