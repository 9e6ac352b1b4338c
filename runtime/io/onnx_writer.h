/* Writing operators as ONNX nodes. Everything the messages point to lives in one bump arena, freed at the end; the
 * first failure sticks, and what is made after it is NULL. */
#ifndef FV_IO_ONNX_WRITER_H
#define FV_IO_ONNX_WRITER_H

#include "io/onnx_internal.h"

typedef struct fv_onnx_block {
    struct fv_onnx_block *next;
} fv_onnx_block;

typedef struct fv_onnx_definition fv_onnx_definition;

typedef struct fv_onnx_writer {
    const fv_context *context;
    const fv_graph *graph;
    fv_onnx_block *blocks;
    FvOnnx__Node **nodes;
    FvOnnx__Tensor **tensors;
    fv_onnx_definition **functions; /* onnx_function.h */
    size_t node_count, node_capacity, tensor_count, tensor_capacity, function_count, function_capacity;
    int32_t opset, needed; /* of this file; of the nodes written: where it is more, all is written again */
    bool absorbed;         /* nodes may be left that nothing reads */
    fv_status status;      /* first failure */
} fv_onnx_writer;

/* One writer an operator, in a file a family. */
typedef struct fv_onnx_write_row {
    const fv_op *op; /* NULL ends a family */
    void (*write)(fv_onnx_writer *w, const fv_node *source);
} fv_onnx_write_row;
extern const fv_onnx_write_row fv_onnx_write_activations[], fv_onnx_write_conv_transpose[], fv_onnx_write_pool[],
    fv_onnx_write_parts[], fv_onnx_write_conv[], fv_onnx_write_pointwise[], fv_onnx_write_rest[], fv_onnx_write_norm[],
    fv_onnx_write_local[], fv_onnx_write_contrast[], fv_onnx_write_nd[],
    fv_onnx_write_nd_pointwise[], fv_onnx_write_nd_matrix[], fv_onnx_write_nd_window[], fv_onnx_write_nd_select[],
    fv_onnx_write_nd_resize[], fv_onnx_write_nd_functions[], fv_onnx_write_nd_recurrent[];

/* A unary node of a kind that onnx_write_pointwise.c does not know. */
void fv_onnx_write_activation(fv_onnx_writer *w, const fv_node *source);

/* The file needs this operator set at least. */
void fv_onnx_need(fv_onnx_writer *w, int32_t opset);
void *fv_onnx_take(fv_onnx_writer *w, size_t bytes); /* zeroed */
/* A string; format takes a %s and then an %lld. */
char *fv_onnx_text(fv_onnx_writer *w, const char *format, const char *a, int64_t number);
/* The same values before conversions of their layout. */
fv_value fv_onnx_through_layouts(const fv_graph *g, fv_value v);
/* A value's name in the file: its own, or one that tells its number; a value in another layout is the one it was made of. */
char *fv_onnx_value_name(fv_onnx_writer *w, fv_value v);
/* A node with one output and room for `inputs` names, to be filled in. */
FvOnnx__Node *fv_onnx_make_node(fv_onnx_writer *w, const char *op, char *name, size_t inputs, char *output);
/* One more output. */
void fv_onnx_make_output(fv_onnx_writer *w, FvOnnx__Node *n, char *output);
FvOnnx__Attribute *fv_onnx_make_attribute(fv_onnx_writer *w, FvOnnx__Node *n, const char *name, int32_t type);
void fv_onnx_make_int(fv_onnx_writer *w, FvOnnx__Node *n, const char *name, int64_t value);
void fv_onnx_make_ints(fv_onnx_writer *w, FvOnnx__Node *n, const char *name, size_t count, const int32_t *values);
void fv_onnx_make_text(fv_onnx_writer *w, FvOnnx__Node *n, const char *name, const char *value);
void fv_onnx_make_float(fv_onnx_writer *w, FvOnnx__Node *n, const char *name, float value);
/* strides, dilations where the operator has them, and pads or auto_pad. */
void fv_onnx_make_steps(fv_onnx_writer *w, FvOnnx__Node *n, const fv_window_attr *a, bool dilations);
/* kernel_shape, strides, dilations and pads or auto_pad; kernel is z, y, x. */
void fv_onnx_make_window(fv_onnx_writer *w, FvOnnx__Node *n, const fv_window_attr *a, const int32_t *kernel);
/* data stays the caller's until the file is written. */
void fv_onnx_make_tensor(fv_onnx_writer *w, char *name, int32_t rank, const int64_t *shape, int32_t type,
                         const void *data, size_t bytes);
/* A tensor's message that is no initializer yet. */
FvOnnx__Tensor *fv_onnx_new_tensor(fv_onnx_writer *w, char *name, int32_t rank, const int64_t *shape, int32_t type,
                                   const void *data, size_t bytes);
/* A vector of int64 (axes, sizes), and a scalar constant, named after the value it helps to make. */
char *fv_onnx_make_list(fv_onnx_writer *w, const char *made, const char *suffix, size_t count, const int64_t *values);
char *fv_onnx_make_scalar(fv_onnx_writer *w, const char *made, const char *suffix, float value);
/* Parameter v as input i of node n, in the shape ONNX wants. */
void fv_onnx_make_parameter(fv_onnx_writer *w, FvOnnx__Node *n, size_t i, fv_value v, int32_t rank,
                            const int64_t *shape, bool rotate);
/* The file of all that was made, with the graph's inputs and outputs. */
fv_status fv_onnx_write_made(fv_onnx_writer *w, const char *path);
void fv_onnx_release(fv_onnx_writer *w);

#endif
