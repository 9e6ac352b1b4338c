/* What writers of operators on general tensors share. Each writes what its reader (onnx_read_nd_*.c) makes the same
 * graph of again. A node that has no form is refused by name. */
#ifndef FV_IO_ONNX_WRITE_ND_H
#define FV_IO_ONNX_WRITE_ND_H

#include "io/onnx_writer.h"

/* A value's name, "" for FV_NONE; a constant is written in its own type and shape where it is first used. */
char *fv_onnx_operand(fv_onnx_writer *w, fv_value v);
/* ... as a tensor with `trailing` axes of size 1 behind its own, for the node that makes `made`. */
char *fv_onnx_operand_before(fv_onnx_writer *w, fv_value v, int32_t trailing, const char *made);
/* A node of the layer's name with its outputs and, in the first `inputs` places, its inputs. Outputs that nothing reads
 * are left out. */
FvOnnx__Node *fv_onnx_begin(fv_onnx_writer *w, const fv_node *source, const char *op, size_t inputs);
/* One of several nodes of a layer, over one or two names (b NULL: one), called after the layer and its output with the
 * suffix. The output's name. */
char *fv_onnx_step(fv_onnx_writer *w, const fv_node *source, const char *op, char *a, char *b, const char *suffix);
/* Input i, or an attribute, a list of int64. */
void fv_onnx_list_input(fv_onnx_writer *w, FvOnnx__Node *n, size_t i, const char *suffix, int32_t count,
                        const int64_t *values);
void fv_onnx_list_attribute(fv_onnx_writer *w, FvOnnx__Node *n, const char *name, int32_t count, const int64_t *values);
/* Input i, a scalar of int64, or a constant of any type whose values are copied. */
void fv_onnx_integer_input(fv_onnx_writer *w, FvOnnx__Node *n, size_t i, const char *suffix, int64_t value);
char *fv_onnx_made_tensor(fv_onnx_writer *w, const char *made, const char *suffix, int32_t rank, const int64_t *shape,
                          fv_dtype type, const void *data);
/* A unary operator that ONNX does not have (onnx_nd_function.c). */
void fv_onnx_write_function(fv_onnx_writer *w, const fv_node *source);
/* The node has no ONNX form; the first failure stays. */
void fv_onnx_cannot(fv_onnx_writer *w, const fv_node *source, const char *why);

#endif
