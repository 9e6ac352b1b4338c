/* ONNX out: the model's graph as it was built, opset 17, streamed through a file written beside and renamed. Everything
 * the messages point to lives in one bump arena, freed at the end. */
#include "core/file.h"
#include "io/onnx_internal.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct block {
    struct block *next;
} block;

typedef struct onnx_writer {
    const fv_context *context;
    const fv_graph *graph;
    block *blocks;
    FvOnnx__Node **nodes;
    FvOnnx__Tensor **tensors;
    size_t node_count, node_capacity, tensor_count, tensor_capacity;
    fv_status status; /* first failure */
} onnx_writer;

/* ---- making messages ---- */

static void *take(onnx_writer *w, size_t bytes) {
    void *memory = NULL;
    if (w->status == FV_OK) w->status = fv_alloc_zero(w->context, sizeof(block) + bytes, "the model file", &memory);
    if (w->status != FV_OK) return NULL;
    block *b = memory;
    b->next = w->blocks;
    w->blocks = b;
    return b + 1;
}

static char *text(onnx_writer *w, const char *format, const char *a, int64_t number) {
    char buffer[1200];
    const int length = snprintf(buffer, sizeof buffer, format, a, (long long)number);
    char *copy = take(w, length < 0 ? 1 : (size_t)length + 1);
    if (copy) memcpy(copy, buffer, fv_min_size((size_t)(length < 0 ? 0 : length), sizeof buffer - 1));
    return copy;
}

static bool is_taken(const fv_graph *g, const char *name) {
    for (size_t i = 0; i < g->value_count; i++)
        if (g->values[i].name && strcmp(g->values[i].name, name) == 0) return true;
    return false;
}

/* A value's name in the file: its own, or one that tells its number. */
static char *value_name(onnx_writer *w, fv_value v) {
    const fv_value_info *info = &w->graph->values[v];
    if (info->name) return info->name;
    char *name = text(w, "%sv%lld", "", v);
    while (name && is_taken(w->graph, name)) name = text(w, "%s_", name, 0);
    return name;
}

static FvOnnx__Attribute *attribute(onnx_writer *w, FvOnnx__Node *n, const char *name, int32_t type) {
    FvOnnx__Attribute *a = take(w, sizeof *a);
    FvOnnx__Attribute **grown = take(w, (n ? n->n_attribute + 1 : 1) * sizeof *grown);
    if (!a || !grown || !n) return NULL;
    fv_onnx__attribute__init(a);
    a->name = (char *)name;
    a->has_type = true;
    a->type = type;
    if (n->n_attribute) memcpy(grown, n->attribute, n->n_attribute * sizeof *grown);
    grown[n->n_attribute++] = a;
    n->attribute = grown;
    return a;
}

static void attribute_int(onnx_writer *w, FvOnnx__Node *n, const char *name, int64_t value) {
    FvOnnx__Attribute *a = attribute(w, n, name, FV_ONNX_ATTR_INT);
    if (a) a->has_i = true, a->i = value;
}

static void attribute_ints(onnx_writer *w, FvOnnx__Node *n, const char *name, size_t count, const int32_t *values) {
    FvOnnx__Attribute *a = attribute(w, n, name, FV_ONNX_ATTR_INTS);
    int64_t *copy = take(w, count * sizeof *copy);
    if (!a || !copy) return;
    for (size_t i = 0; i < count; i++) copy[i] = values[i];
    a->n_ints = count;
    a->ints = copy;
}

/* A node with one output and room for `inputs` names, to be filled in. */
static FvOnnx__Node *node(onnx_writer *w, const char *op, char *name, size_t inputs, char *output) {
    FvOnnx__Node *n = take(w, sizeof *n);
    char **names = take(w, (inputs + 1) * sizeof *names);
    if (!n || !names) return NULL;
    w->status = fv_grow(w->context, (void **)&w->nodes, &w->node_capacity, w->node_count + 1, sizeof *w->nodes,
                        "the model file");
    if (w->status != FV_OK) return NULL;
    fv_onnx__node__init(n);
    n->op_type = (char *)op;
    n->name = name;
    n->n_input = inputs;
    n->input = names;
    n->n_output = 1;
    n->output = names + inputs;
    n->output[0] = output;
    w->nodes[w->node_count++] = n;
    return n;
}

/* data stays the caller's until the file is written. */
static void tensor(onnx_writer *w, char *name, int32_t rank, const int64_t *shape, int32_t type, const void *data,
                   size_t bytes) {
    FvOnnx__Tensor *t = take(w, sizeof *t);
    int64_t *dims = take(w, (size_t)(rank ? rank : 1) * sizeof *dims);
    if (!t || !dims) return;
    w->status = fv_grow(w->context, (void **)&w->tensors, &w->tensor_capacity, w->tensor_count + 1, sizeof *w->tensors,
                        "the model file");
    if (w->status != FV_OK) return;
    fv_onnx__tensor__init(t);
    if (rank) memcpy(dims, shape, (size_t)rank * sizeof *dims);
    t->n_dims = (size_t)rank;
    t->dims = dims;
    t->has_data_type = true;
    t->data_type = type;
    t->name = name;
    t->has_raw_data = true;
    t->raw_data = (ProtobufCBinaryData){bytes, (uint8_t *)(uintptr_t)data};
    w->tensors[w->tensor_count++] = t;
}

/* A scalar constant, named after the value it helps to make. */
static char *scalar(onnx_writer *w, const char *made, const char *suffix, float value) {
    char format[64];
    snprintf(format, sizeof format, "%%s.%s", suffix);
    char *name = text(w, format, made ? made : "", 0);
    float *copy = take(w, sizeof *copy);
    if (!copy) return name;
    *copy = value;
    tensor(w, name, 0, NULL, FV_ONNX_FLOAT, copy, sizeof *copy);
    return name;
}

/* ---- parameters ---- */

static void write_values(onnx_writer *w, char *name, int32_t rank, const int64_t *shape, const fv_value_info *v,
                         bool rotate) {
    size_t count = 1;
    for (int32_t i = 0; i < v->shape.rank; i++) count *= (size_t)v->shape.dim[i];
    const fv_real *data = v->data;
    if (!rotate && sizeof(fv_real) == sizeof(float)) {
        tensor(w, name, rank, shape, FV_ONNX_FLOAT, data, count * sizeof(float));
        return;
    }
    size_t taps = 1; /* of one kernel: rotating by 180 degrees reverses their order */
    for (int32_t i = 2; rotate && i < v->shape.rank; i++) taps *= (size_t)v->shape.dim[i];
    float *copy = take(w, count * sizeof *copy);
    if (!copy) return;
    for (size_t i = 0; i < count; i++) copy[i] = (float)data[i / taps * taps + (taps - 1 - i % taps)];
    if (taps == 1)
        for (size_t i = 0; i < count; i++) copy[i] = (float)data[i];
    tensor(w, name, rank, shape, FV_ONNX_FLOAT, copy, count * sizeof *copy);
}

/* Parameter v as input i of node n, in the shape ONNX wants. A parameter used twice is written once more for a use that
 * needs another form. */
static void parameter(onnx_writer *w, FvOnnx__Node *n, size_t i, fv_value v, int32_t rank, const int64_t *shape,
                      bool rotate) {
    if (!n || w->status != FV_OK) return;
    const fv_value_info *info = &w->graph->values[v];
    char *name = value_name(w, v);
    if (rotate && fv_graph_uses(w->graph, v) > 1) name = text(w, "%s.rotated", name, 0);
    for (size_t k = 0; name && k < w->tensor_count; k++)
        if (strcmp(w->tensors[k]->name, name) == 0) {
            if (w->tensors[k]->n_dims == (size_t)rank) {
                n->input[i] = name;
                return;
            }
            name = text(w, "%s.%lld", name, (int64_t)w->tensor_count);
            break;
        }
    n->input[i] = name;
    if (name) write_values(w, name, rank, shape, info, rotate);
}

/* ---- operators ---- */

static void write_window(onnx_writer *w, FvOnnx__Node *n, const fv_window_attr *a, const int32_t *kernel) {
    static const char *const auto_pads[] = {NULL, "VALID", "SAME_UPPER", "SAME_LOWER"};
    attribute_ints(w, n, "kernel_shape", 2, kernel + 1);
    attribute_ints(w, n, "strides", 2, a->stride + 1);
    attribute_ints(w, n, "dilations", 2, a->dilation + 1);
    if (a->padding == FV_PAD_EXPLICIT) {
        const int32_t pads[4] = {a->pad_before[1], a->pad_before[2], a->pad_after[1], a->pad_after[2]};
        attribute_ints(w, n, "pads", 4, pads);
        return;
    }
    FvOnnx__Attribute *text_attribute = attribute(w, n, "auto_pad", FV_ONNX_ATTR_STRING);
    if (!text_attribute) return;
    const char *name = auto_pads[a->padding];
    text_attribute->has_s = true;
    text_attribute->s = (ProtobufCBinaryData){strlen(name), (uint8_t *)(uintptr_t)name};
}

static void write_conv(onnx_writer *w, const fv_node *source) {
    const bool bias = source->in_count > 2 && source->in[2] != FV_NONE;
    const fv_value_info *weight = &w->graph->values[source->in[1]];
    FvOnnx__Node *n = node(w, "Conv", source->name, bias ? 3 : 2, value_name(w, source->out[0]));
    if (!n) return;
    const int32_t kernel[3] = {1, (int32_t)weight->shape.dim[2], (int32_t)weight->shape.dim[3]};
    write_window(w, n, &source->attr.conv.window, kernel);
    attribute_int(w, n, "group", source->attr.conv.groups);
    n->input[0] = value_name(w, source->in[0]);
    parameter(w, n, 1, source->in[1], 4, weight->shape.dim, source->attr.conv.true_convolution);
    if (bias) parameter(w, n, 2, source->in[2], 1, w->graph->values[source->in[2]].shape.dim, false);
}

static void write_linear(onnx_writer *w, const fv_node *source) {
    const bool bias = source->in_count > 2 && source->in[2] != FV_NONE;
    char *x = value_name(w, source->in[0]);
    if (w->graph->values[source->in[0]].shape.rank != 2) {
        char *out = value_name(w, source->out[0]), *flat = out ? text(w, "%s.flat", out, 0) : NULL;
        FvOnnx__Node *f = node(w, "Flatten", text(w, "%s.flatten", source->name, 0), 1, flat);
        if (!f) return;
        f->input[0] = x;
        attribute_int(w, f, "axis", 1);
        x = flat;
    }
    FvOnnx__Node *n = node(w, "Gemm", source->name, bias ? 3 : 2, value_name(w, source->out[0]));
    if (!n) return;
    attribute_int(w, n, "transB", 1);
    n->input[0] = x;
    parameter(w, n, 1, source->in[1], 2, w->graph->values[source->in[1]].shape.dim, false);
    if (bias) parameter(w, n, 2, source->in[2], 1, w->graph->values[source->in[2]].shape.dim, false);
}

static void write_pool(onnx_writer *w, const fv_node *source) {
    static const char *const names[2][2] = {{"MaxPool", "GlobalMaxPool"}, {"AveragePool", "GlobalAveragePool"}};
    const fv_pool_attr *a = &source->attr.pool;
    FvOnnx__Node *n =
        node(w, names[a->kind == FV_POOL_AVERAGE][a->global], source->name, 1, value_name(w, source->out[0]));
    if (!n) return;
    n->input[0] = value_name(w, source->in[0]);
    if (a->global) return;
    write_window(w, n, &a->window, a->window.kernel);
    attribute_int(w, n, "ceil_mode", a->ceil_mode);
    if (a->kind == FV_POOL_AVERAGE) attribute_int(w, n, "count_include_pad", a->count_padding);
}

static void write_clip(onnx_writer *w, const fv_node *source, float low, float high) {
    FvOnnx__Node *n = node(w, "Clip", source->name, 3, value_name(w, source->out[0]));
    if (!n) return;
    n->input[0] = value_name(w, source->in[0]);
    n->input[1] = isinf(low) ? (char *)"" : scalar(w, n->output[0], "min", low);
    n->input[2] = isinf(high) ? (char *)"" : scalar(w, n->output[0], "max", high);
}

/* a*x + b: Mul and Add, each left out where it does nothing (but one stays). */
static void write_scale(onnx_writer *w, const fv_node *source, float a, float b) {
    char *out = value_name(w, source->out[0]);
    char *x = value_name(w, source->in[0]);
    if (!out || !x) return;
    if (a != 1.0f || b == 0.0f) {
        char *product = b == 0.0f ? out : text(w, "%s.product", out, 0);
        FvOnnx__Node *n = node(w, "Mul", b == 0.0f ? source->name : text(w, "%s.mul", source->name, 0), 2, product);
        if (!n) return;
        n->input[0] = x;
        n->input[1] = scalar(w, product, "factor", a);
        x = product;
    }
    if (b == 0.0f) return;
    FvOnnx__Node *n = node(w, "Add", source->name, 2, out);
    if (!n) return;
    n->input[0] = x;
    n->input[1] = scalar(w, out, "addend", b);
}

static void write_unary(onnx_writer *w, const fv_node *source) {
    static const char *const names[FV_UNARY_COUNT] = {
        [FV_UNARY_RELU] = "Relu", [FV_UNARY_SIGMOID] = "Sigmoid", [FV_UNARY_TANH] = "Tanh", [FV_UNARY_EXP] = "Exp"};
    const float a = (float)source->attr.pointwise.a, b = (float)source->attr.pointwise.b;
    const int32_t kind = source->attr.pointwise.kind;
    if (kind == FV_UNARY_CLAMP) {
        write_clip(w, source, a, b);
    } else if (kind == FV_UNARY_LINEAR) {
        write_scale(w, source, a, b);
    } else {
        FvOnnx__Node *n = node(w, names[kind], source->name, 1, value_name(w, source->out[0]));
        if (n) n->input[0] = value_name(w, source->in[0]);
    }
}

static void write_binary(onnx_writer *w, const fv_node *source) {
    static const char *const names[FV_BINARY_COUNT] = {
        [FV_BINARY_ADD] = "Add", [FV_BINARY_SUB] = "Sub", [FV_BINARY_MUL] = "Mul"};
    FvOnnx__Node *n = node(w, names[source->attr.pointwise.kind], source->name, 2, value_name(w, source->out[0]));
    if (!n) return;
    for (size_t i = 0; i < 2; i++) n->input[i] = value_name(w, source->in[i]);
}

static void write_gain(onnx_writer *w, const fv_node *source) {
    FvOnnx__Node *n = node(w, "Mul", source->name, 2, value_name(w, source->out[0]));
    const fv_shape *x = &w->graph->values[source->in[0]].shape;
    int64_t shape[FV_MAX_RANK] = {x->dim[1], 1, 1, 1, 1, 1, 1, 1};
    if (!n) return;
    n->input[0] = value_name(w, source->in[0]);
    parameter(w, n, 1, source->in[1], x->rank - 1, shape, false);
}

static void write_flatten(onnx_writer *w, const fv_node *source) {
    FvOnnx__Node *n = node(w, "Flatten", source->name, 1, value_name(w, source->out[0]));
    if (!n) return;
    n->input[0] = value_name(w, source->in[0]);
    attribute_int(w, n, "axis", 1);
}

static void write_dropout(onnx_writer *w, const fv_node *source) {
    FvOnnx__Node *n = node(w, "Dropout", source->name, 2, value_name(w, source->out[0]));
    if (!n) return;
    n->input[0] = value_name(w, source->in[0]);
    n->input[1] = scalar(w, n->output[0], "ratio", (float)source->attr.dropout.ratio);
}

static void write_softmax(onnx_writer *w, const fv_node *source) {
    FvOnnx__Node *n = node(w, "Softmax", source->name, 1, value_name(w, source->out[0]));
    if (!n) return;
    n->input[0] = value_name(w, source->in[0]);
    attribute_int(w, n, "axis", 1);
}

static const struct {
    const fv_op *op;
    void (*write)(onnx_writer *w, const fv_node *source);
} writers[] = {
    {&fv_op_conv, write_conv},       {&fv_op_linear, write_linear},   {&fv_op_pool, write_pool},
    {&fv_op_unary, write_unary},     {&fv_op_binary, write_binary},   {&fv_op_gain, write_gain},
    {&fv_op_flatten, write_flatten}, {&fv_op_dropout, write_dropout}, {&fv_op_softmax, write_softmax},
};

static fv_status write_node(onnx_writer *w, const fv_node *source) {
    for (size_t i = 0; i < FV_ARRAY_SIZE(writers); i++)
        if (writers[i].op == source->op) {
            writers[i].write(w, source);
            return w->status;
        }
    return fv_fail(FV_ERR_UNSUPPORTED, "node \"%.100s\": operator %s has no ONNX form",
                   source->name ? source->name : "", source->op->name);
}

/* ---- the file ---- */

static FvOnnx__ValueInfo *value_info(onnx_writer *w, fv_value v) {
    const fv_shape *shape = &w->graph->values[v].shape;
    FvOnnx__ValueInfo *info = take(w, sizeof *info);
    FvOnnx__Type *type = take(w, sizeof *type);
    FvOnnx__TensorType *tensor_type = take(w, sizeof *tensor_type);
    FvOnnx__Shape *out = take(w, sizeof *out);
    FvOnnx__Dimension **dims = take(w, (size_t)shape->rank * sizeof *dims);
    if (!info || !type || !tensor_type || !out || !dims) return NULL;
    fv_onnx__value_info__init(info);
    fv_onnx__type__init(type);
    fv_onnx__tensor_type__init(tensor_type);
    fv_onnx__shape__init(out);
    for (int32_t i = 0; i < shape->rank; i++) {
        FvOnnx__Dimension *d = take(w, sizeof *d);
        if (!d) return NULL;
        fv_onnx__dimension__init(d);
        if (i == 0)
            d->dim_param = (char *)"N";
        else
            d->has_dim_value = true, d->dim_value = shape->dim[i];
        dims[i] = d;
    }
    out->n_dim = (size_t)shape->rank;
    out->dim = dims;
    tensor_type->has_elem_type = true;
    tensor_type->elem_type = FV_ONNX_FLOAT;
    tensor_type->shape = out;
    type->tensor_type = tensor_type;
    info->name = value_name(w, v);
    info->type = type;
    return info;
}

static FvOnnx__ValueInfo **value_infos(onnx_writer *w, const fv_value *values, size_t count) {
    FvOnnx__ValueInfo **infos = take(w, (count ? count : 1) * sizeof *infos);
    for (size_t i = 0; infos && i < count; i++)
        if (!(infos[i] = value_info(w, values[i]))) return NULL;
    return infos;
}

typedef struct stream {
    ProtobufCBuffer base;
    fv_writer *file;
    fv_status status;
} stream;

static void append(ProtobufCBuffer *buffer, size_t bytes, const uint8_t *data) {
    stream *s = (stream *)buffer;
    if (s->status == FV_OK) s->status = fv_writer_write(s->file, data, bytes);
}

static fv_status write_file(onnx_writer *w, const FvOnnx__Model *model, const char *path) {
    stream s = {.base = {append}};
    FV_FORWARD(fv_writer_open(w->context, path, &s.file));
    fv_onnx__model__pack_to_buffer(model, &s.base);
    if (s.status == FV_OK) return fv_writer_commit(s.file);
    fv_writer_abandon(s.file);
    return s.status;
}

static int by_name(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

/* Names are the file's only links: two things of one name would be wired to each other. */
static fv_status check_names(onnx_writer *w, const FvOnnx__Graph *g) {
    size_t count = 0;
    char **names = take(w, (g->n_input + g->n_initializer + g->n_node + 1) * sizeof *names);
    FV_FORWARD(w->status);
    for (size_t i = 0; i < g->n_input; i++) names[count++] = g->input[i]->name;
    for (size_t i = 0; i < g->n_initializer; i++) names[count++] = g->initializer[i]->name;
    for (size_t i = 0; i < g->n_node; i++) names[count++] = g->node[i]->output[0];
    qsort(names, count, sizeof *names, by_name);
    for (size_t i = 1; i < count; i++)
        FV_RETURN_IF(strcmp(names[i - 1], names[i]) == 0, FV_ERR_UNSUPPORTED, "two values would be called \"%.200s\" in the file",
                     names[i]);
    for (size_t i = 0; i < w->graph->output_count; i++)
        for (size_t k = 0; k < i; k++)
            FV_RETURN_IF(w->graph->outputs[i] == w->graph->outputs[k], FV_ERR_UNSUPPORTED,
                         "one value is output %zu and %zu, which ONNX does not allow", k, i);
    return FV_OK;
}

static fv_status write_graph(onnx_writer *w, const char *path) {
    const fv_graph *g = w->graph;
    FvOnnx__Model model = FV_ONNX__MODEL__INIT;
    FvOnnx__Graph graph = FV_ONNX__GRAPH__INIT;
    FvOnnx__OperatorSetId opset = FV_ONNX__OPERATOR_SET_ID__INIT, *opsets = &opset;
    for (size_t i = 0; i < g->node_count; i++) FV_FORWARD(write_node(w, &g->nodes[i]));
    graph.name = (char *)"fovea";
    graph.n_node = w->node_count;
    graph.node = w->nodes;
    graph.n_initializer = w->tensor_count;
    graph.initializer = w->tensors;
    graph.n_input = g->input_count;
    graph.input = value_infos(w, g->inputs, g->input_count);
    graph.n_output = g->output_count;
    graph.output = value_infos(w, g->outputs, g->output_count);
    FV_FORWARD(w->status);
    FV_FORWARD(check_names(w, &graph));
    opset.domain = (char *)"";
    opset.has_version = true;
    opset.version = FV_ONNX_OPSET;
    model.has_ir_version = true;
    model.ir_version = FV_ONNX_IR_VERSION;
    model.producer_name = (char *)"fovea";
    model.producer_version = (char *)FV_VERSION;
    model.graph = &graph;
    model.n_opset_import = 1;
    model.opset_import = &opsets;
    return write_file(w, &model, path);
}

fv_status fv_model_save(const fv_model *m, const char *path) {
    FV_RETURN_IF(!m || !path, FV_ERR_ARGUMENT, "fv_model_save needs a model and a path");
    onnx_writer w = {.context = m->graph->context, .graph = m->graph};
    const fv_status status = write_graph(&w, path);
    for (block *b = w.blocks, *next; b; b = next) {
        next = b->next;
        fv_release(w.context, b);
    }
    fv_release(w.context, w.nodes);
    fv_release(w.context, w.tensors);
    return status;
}
