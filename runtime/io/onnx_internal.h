/* Shared by the ONNX reader and writer. */
#ifndef FV_IO_ONNX_INTERNAL_H
#define FV_IO_ONNX_INTERNAL_H

#include "graph/graph.h"
#include "onnx.pb-c.h"

enum { FV_ONNX_IR_VERSION = 8, FV_ONNX_OPSET = 17, FV_ONNX_DOMAIN_VERSION = 1 };
#define FV_ONNX_DOMAIN "fovea" /* of the model-local functions (onnx_function.h) */
/* Metadata of the file, one entry a parameter that training leaves alone: this key and its initializer's name. ONNX has no such flag. */
#define FV_ONNX_CONSTANT "fovea.constant:"
enum {
    FV_ONNX_FLOAT = 1,
    FV_ONNX_UINT8 = 2,
    FV_ONNX_INT8 = 3,
    FV_ONNX_UINT16 = 4,
    FV_ONNX_INT16 = 5,
    FV_ONNX_INT32 = 6,
    FV_ONNX_INT64 = 7,
    FV_ONNX_BOOL = 9,
    FV_ONNX_FLOAT16 = 10,
    FV_ONNX_DOUBLE = 11,
    FV_ONNX_UINT32 = 12,
    FV_ONNX_UINT64 = 13
};
enum {
    FV_ONNX_ATTR_FLOAT = 1,
    FV_ONNX_ATTR_INT = 2,
    FV_ONNX_ATTR_STRING = 3,
    FV_ONNX_ATTR_TENSOR = 4,
    FV_ONNX_ATTR_FLOATS = 6,
    FV_ONNX_ATTR_INTS = 7
};

/* A tensor: where its values lie, checked against its shape. */
typedef struct fv_onnx_tensor {
    fv_shape shape;
    size_t count;
    int32_t type;     /* FV_ONNX_FLOAT, ... */
    const void *data; /* in a mapping (raw, while loading), in the parsed message, or made by the reader; of any alignment */
    bool mapped;      /* in a mapping */
    bool wide;        /* a small type, each element in an int32_t of the message */
} fv_onnx_tensor;

/* The file and what lies beside it. */
typedef struct fv_onnx_files fv_onnx_files;

/* The element type, and back; FV_ERR_UNSUPPORTED for strings, complex and other types that are not read (`what` is in the sentence). */
fv_status fv_onnx_dtype(int32_t type, const char *what, fv_dtype *out);
int32_t fv_onnx_type_of(fv_dtype t);
/* Errors name the tensor.
 * @param file that the places in raw_data mean; NULL: raw_data are the values themselves
 * @param external where its values are found when they lie in another file; NULL: such tensors are refused */
fv_status fv_onnx_tensor_view(const FvOnnx__Tensor *t, const uint8_t *file, size_t bytes, fv_onnx_files *external, fv_onnx_tensor *out);
/* Value i as a float or an integer (truncated). */
float fv_onnx_tensor_float(const fv_onnx_tensor *t, size_t i);
int64_t fv_onnx_tensor_int(const fv_onnx_tensor *t, size_t i);
/* All values, dense, in their own type. */
void fv_onnx_tensor_copy(const fv_onnx_tensor *t, void *out);

typedef struct fv_onnx_names fv_onnx_names;

/* What a reader of one operator sees. */
typedef struct fv_onnx_reader {
    const fv_context *context;
    const uint8_t *file;
    size_t file_bytes;
    fv_onnx_files *files;
    const FvOnnx__Model *model;
    fv_graph *graph;
    int64_t opset;
    fv_onnx_names *names;      /* the scope: the graph's, a function's body, a branch */
    const FvOnnx__Node *node;  /* being read */
    struct fv_onnx_source *source; /* NULL: parameters belong to the graph */
    struct fv_onnx_memory *memory; /* of everything that lasts as long as this reading */
    const fv_lowering *wanted; /* NULL: first axes are open, and no size of 0 is a size */
    bool *pinned;              /* [inputs]: their data are constants */
    const struct fv_onnx_frame *frame; /* the function calls this is inside of */
    const fv_context *serial;  /* for constants computed on the spot */
    int32_t depth;             /* of bodies and branches */
    size_t *budget;            /* nodes that may still be read, bodies and branches counted each time */
    bool narrow;               /* a reader of float maps and rows is asked, which takes no other type and no constant as data */
    bool folded;               /* a layer was made of several nodes, whose other values nobody may need */
    bool last;                 /* no other reader of the node is asked after this one */
    bool missing;              /* an input's values are needed and were not given */
    bool again;                /* more inputs became constants: the file is to be read again */
} fv_onnx_reader;

/* A named thing of the file: a constant, or a value of the graph being built. */
typedef struct fv_onnx_name {
    const char *name;
    bool constant;
    fv_onnx_tensor tensor; /* constant */
    fv_value value;        /* FV_NONE for a constant not yet used as a parameter */
    bool turned;           /* the parameter holds the tensor transposed or scaled */
    bool as_maps;          /* the value (N,C) stands for (N,C,1,1) */
    bool absent;           /* an input that the function's caller left out */
    bool made;             /* constant: computed in this reading, and gone with it */
    size_t input;          /* of an input of the graph: its number + 1 */
    const FvOnnx__Node *node; /* that gives it, in `scope` */
    fv_onnx_names *scope;
    bool learned;          /* constant: an initializer of several floats, or made of one: training may change it */
    fv_value plain;        /* constant: its tensor as a value in its own type, once used so; else 0 */
} fv_onnx_name;

const fv_onnx_name *fv_onnx_find(const fv_onnx_reader *r, const char *name);
fv_status fv_onnx_define(fv_onnx_reader *r, const fv_onnx_name *entry);
/* The name is a constant with these values, copied; what a reader that knows its output gives. */
fv_status fv_onnx_define_constant(fv_onnx_reader *r, const char *name, fv_dtype dtype, const fv_shape *shape, const void *data);
/* The name is what `of` is. */
fv_status fv_onnx_define_alias(fv_onnx_reader *r, const char *name, const fv_onnx_name *of);
/* No size of this value waits for the batch; else FV_ERR_UNSUPPORTED, and the model is read again for each shape. */
fv_status fv_onnx_known_shape(fv_onnx_reader *r, const FvOnnx__Node *n, const fv_shape *s);

const FvOnnx__Attribute *fv_onnx_attribute(const FvOnnx__Node *n, const char *name);
int64_t fv_onnx_attribute_int(const FvOnnx__Node *n, const char *name, int64_t otherwise);
float fv_onnx_attribute_float(const FvOnnx__Node *n, const char *name, float otherwise);

/* ---- one reader an operator, in a file a family ---- */

typedef struct fv_onnx_read_row {
    const char *op; /* NULL ends a family */
    fv_status (*read)(fv_onnx_reader *r, const FvOnnx__Node *n);
} fv_onnx_read_row;
extern const fv_onnx_read_row fv_onnx_read_conv_transpose[], fv_onnx_read_pool[], fv_onnx_read_parts[],
    fv_onnx_functions_pool[], fv_onnx_read_conv[], fv_onnx_read_pointwise[], fv_onnx_read_rest[], fv_onnx_read_contrast[],
    fv_onnx_read_contrast_functions[], fv_onnx_read_conv_functions[], fv_onnx_read_norm[], fv_onnx_read_norm_functions[],
    fv_onnx_read_local_functions[], fv_onnx_read_activation[], fv_onnx_read_activation_functions[], fv_onnx_read_shape[],
    fv_onnx_read_nd_pointwise[], fv_onnx_read_nd_matrix[], fv_onnx_read_nd_norm[], fv_onnx_read_nd_window[],
    fv_onnx_read_nd_quantize[], fv_onnx_read_nd_optimizer[], fv_onnx_read_nd_loss[], fv_onnx_read_nd_shape[],
    fv_onnx_read_nd_gather[], fv_onnx_read_nd_reduce[], fv_onnx_read_nd_resize[], fv_onnx_read_nd_select[],
    fv_onnx_read_nd_rest[], fv_onnx_read_nd_recurrent[];

/* Input i of a node: NULL when left out. */
fv_status fv_onnx_input(const fv_onnx_reader *r, const FvOnnx__Node *n, size_t i, const fv_onnx_name **out);
/* ... as a value of the graph; constants become parameters of their own type that training leaves alone. */
fv_status fv_onnx_value(const fv_onnx_reader *r, const FvOnnx__Node *n, size_t i, fv_value *out);
/* ... as a constant; NULL when left out. Values that follow from inputs whose data were given become constants. */
fv_status fv_onnx_constant(const fv_onnx_reader *r, const FvOnnx__Node *n, size_t i, const fv_onnx_tensor **out);
/* A constant as a parameter of the graph, made at its first use with the given shape. */
fv_status fv_onnx_parameter(fv_onnx_reader *r, const fv_onnx_name *entry, int32_t rank, const int64_t *shape, fv_value *out);
/* A parameter whose values are made from a constant once a model: `make` fills [count] reals. kind tells apart what it makes of one tensor. */
typedef void (*fv_onnx_make_fn)(const fv_onnx_tensor *t, const void *arg, fv_real *out);
fv_value fv_onnx_made_parameter(fv_onnx_reader *r, const fv_onnx_name *entry, const char *name, int32_t rank, const int64_t *shape,
                                const char *kind, fv_onnx_make_fn make, const void *arg, bool trainable);
/* A constant that is one number a map of x: (C,1,1), (1,C,1,1), (C) for rank 2. */
bool fv_onnx_is_per_map(const fv_onnx_tensor *t, const fv_shape *x);
/* v is what the node gives. */
fv_status fv_onnx_done(fv_onnx_reader *r, const FvOnnx__Node *n, fv_value v);
/* FV_ERR_FORMAT names the node and the first channel whose variance, with epsilon, has no root. */
fv_status fv_onnx_check_variance(const FvOnnx__Node *n, const fv_onnx_tensor *t, float epsilon);
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

/* Whether any reader knows the operator. */
bool fv_onnx_is_known(const FvOnnx__Node *n);
/* Asks the readers of n's operator one after the other. */
fv_status fv_onnx_ask_readers(fv_onnx_reader *r, const FvOnnx__Node *n);
/* A node all of whose inputs are constants is run here and now. *done false: it is not such a node. */
fv_status fv_onnx_compute(fv_onnx_reader *r, const FvOnnx__Node *n, bool *done);
fv_status fv_onnx_read_initializers(fv_onnx_reader *r, const FvOnnx__Graph *g);
/* Nodes in their order; each that cannot be read is named, not only the first. */
fv_status fv_onnx_read_nodes(fv_onnx_reader *r, FvOnnx__Node **nodes, size_t count);
/* A branch with a constant condition; a function's body (*done false: the file has no such function). */
fv_status fv_onnx_read_if(fv_onnx_reader *r, const FvOnnx__Node *n);
fv_status fv_onnx_inline(fv_onnx_reader *r, const FvOnnx__Node *n, bool *done);
/* Attributes of a function's body that refer to the call's become those: *n is a copy then. */
fv_status fv_onnx_resolve(fv_onnx_reader *r, const FvOnnx__Node **n);
/* Adds node n to the graph and defines its outputs. FV_ERR_UNSUPPORTED with a sentence when it cannot. */
fv_status fv_onnx_read_node(fv_onnx_reader *r, const FvOnnx__Node *n);

/* Nodes that together are one layer become one: GELU, SiLU, mish; x divided by `divisor` likewise, softsign, else FV_NONE. Once the
 * graph has its outputs, fv_onnx_fold drops what is left over. */
fv_status fv_onnx_fold(fv_onnx_reader *r);
fv_value fv_onnx_fold_division(fv_onnx_reader *r, fv_value x, fv_value divisor, const char *name);

#endif
