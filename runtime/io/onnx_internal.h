/* Shared by the ONNX reader and writer. */
#ifndef FV_IO_ONNX_INTERNAL_H
#define FV_IO_ONNX_INTERNAL_H

#include "graph/graph.h"
#include "onnx.pb-c.h"

enum { FV_ONNX_IR_VERSION = 8, FV_ONNX_OPSET = 17, FV_ONNX_DOMAIN_VERSION = 1 };
#define FV_ONNX_DOMAIN "fovea" /* of the model-local functions (onnx_function.h) */
/* Metadata of the file, one entry a parameter that training leaves alone: this key and its initializer's name. ONNX has no such flag. */
#define FV_ONNX_CONSTANT "fovea.constant:"
enum { FV_ONNX_FLOAT = 1, FV_ONNX_INT32 = 6, FV_ONNX_INT64 = 7, FV_ONNX_DOUBLE = 11 };
enum {
    FV_ONNX_ATTR_FLOAT = 1,
    FV_ONNX_ATTR_INT = 2,
    FV_ONNX_ATTR_STRING = 3,
    FV_ONNX_ATTR_TENSOR = 4,
    FV_ONNX_ATTR_FLOATS = 6,
    FV_ONNX_ATTR_INTS = 7
};

/* A tensor of the file: where its values lie, checked against its shape. */
typedef struct fv_onnx_tensor {
    fv_shape shape;
    size_t count;
    int32_t type;     /* FV_ONNX_FLOAT, ... */
    const void *data; /* in the mapping (raw) or in the parsed message */
    bool raw;         /* little-endian bytes of any alignment */
} fv_onnx_tensor;

/* @param file the mapping raw_data places point into. Errors name the tensor. */
fv_status fv_onnx_tensor_view(const FvOnnx__Tensor *t, const uint8_t *file, size_t bytes, fv_onnx_tensor *out);
/* Value i as a float or an integer (truncated). */
float fv_onnx_tensor_float(const fv_onnx_tensor *t, size_t i);
int64_t fv_onnx_tensor_int(const fv_onnx_tensor *t, size_t i);

/* What a reader of one operator sees. */
typedef struct fv_onnx_reader {
    const fv_context *context;
    const uint8_t *file;
    size_t file_bytes;
    const FvOnnx__Model *model;
    fv_graph *graph;
    int64_t opset;
    struct fv_onnx_names *names;
    bool folded; /* a layer was made of several nodes, whose other values nobody may need */
} fv_onnx_reader;

/* A named thing of the file: a constant, or a value of the graph being built. */
typedef struct fv_onnx_name {
    const char *name;
    bool constant;
    fv_onnx_tensor tensor; /* constant */
    fv_value value;        /* FV_NONE for a constant not yet used as a parameter */
    bool turned;           /* the parameter holds the tensor transposed or scaled */
    bool as_maps;          /* the value (N,C) stands for (N,C,1,1) */
} fv_onnx_name;

const fv_onnx_name *fv_onnx_find(const fv_onnx_reader *r, const char *name);
fv_status fv_onnx_define(fv_onnx_reader *r, const fv_onnx_name *entry);

const FvOnnx__Attribute *fv_onnx_attribute(const FvOnnx__Node *n, const char *name);
int64_t fv_onnx_attribute_int(const FvOnnx__Node *n, const char *name, int64_t otherwise);
float fv_onnx_attribute_float(const FvOnnx__Node *n, const char *name, float otherwise);

/* ---- one reader an operator, in a file a family ---- */

typedef struct fv_onnx_read_row {
    const char *op; /* NULL ends a family */
    fv_status (*read)(fv_onnx_reader *r, const FvOnnx__Node *n);
} fv_onnx_read_row;
extern const fv_onnx_read_row fv_onnx_read_conv_transpose[], fv_onnx_read_pool[], fv_onnx_read_parts[], fv_onnx_functions_pool[],
    fv_onnx_read_conv[], fv_onnx_read_pointwise[], fv_onnx_read_rest[], fv_onnx_read_contrast[],
    fv_onnx_read_contrast_functions[], fv_onnx_read_conv_functions[], fv_onnx_read_norm[], fv_onnx_read_norm_functions[],
    fv_onnx_read_local_functions[], fv_onnx_read_activation[], fv_onnx_read_activation_functions[];
extern const fv_onnx_read_row fv_onnx_read_nd_shape[], fv_onnx_read_nd_gather[], fv_onnx_read_nd_reduce[],
    fv_onnx_read_nd_resize[];

/* Input i of a node: NULL when left out. */
fv_status fv_onnx_input(const fv_onnx_reader *r, const FvOnnx__Node *n, size_t i, const fv_onnx_name **out);
/* ... as a value computed by the graph. */
fv_status fv_onnx_value(const fv_onnx_reader *r, const FvOnnx__Node *n, size_t i, fv_value *out);
/* ... as a constant; NULL when left out. */
fv_status fv_onnx_constant(const fv_onnx_reader *r, const FvOnnx__Node *n, size_t i, const fv_onnx_tensor **out);
/* A constant as a parameter of the graph, made at its first use with the given shape. */
fv_status fv_onnx_parameter(fv_onnx_reader *r, const fv_onnx_name *entry, int32_t rank, const int64_t *shape, fv_value *out);
/* A constant that is one number a map of x: (C,1,1), (1,C,1,1), (C) for rank 2. */
bool fv_onnx_is_per_map(const fv_onnx_tensor *t, const fv_shape *x);
/* v is what the node gives. */
fv_status fv_onnx_done(fv_onnx_reader *r, const FvOnnx__Node *n, fv_value v);
/* ... of several outputs: those with a name. */
fv_status fv_onnx_done_all(fv_onnx_reader *r, const FvOnnx__Node *n, const fv_value *v, size_t count);
/* The node gives x (N,C) as (N,C,1,1), for factors of maps; whether a reshape to `shape` does that. */
fv_status fv_onnx_done_as_maps(fv_onnx_reader *r, const FvOnnx__Node *n, fv_value x);
bool fv_onnx_is_as_maps(const fv_shape *x, const fv_onnx_tensor *shape);
fv_status fv_onnx_refuse(const FvOnnx__Node *n, const char *what);
const char *fv_onnx_node_name(const FvOnnx__Node *n); /* its own, or its output's */
/* An attribute of `count` integers; left out, *out stays. */
fv_status fv_onnx_ints(const FvOnnx__Node *n, const char *name, size_t count, int32_t *out);
/* pads and auto_pad of a 2-D window. */
fv_status fv_onnx_padding(const FvOnnx__Node *n, fv_padding *mode, int32_t before[2], int32_t after[2]);

/* Adds node n to the graph and defines its outputs. FV_ERR_UNSUPPORTED with a sentence when it cannot. */
fv_status fv_onnx_read_node(fv_onnx_reader *r, const FvOnnx__Node *n);

/* Nodes that together are one layer become one: GELU, SiLU, mish; x divided by `divisor` likewise, softsign, else FV_NONE. Once the
 * graph has its outputs, fv_onnx_fold drops what is left over. */
fv_status fv_onnx_fold(fv_onnx_reader *r);
fv_value fv_onnx_fold_division(fv_onnx_reader *r, fv_value x, fv_value divisor, const char *name);

#endif
