/* The messages of a model file being written. */
#include "io/onnx_writer.h"

#include <stdio.h>
#include <string.h>

void *fv_onnx_take(fv_onnx_writer *w, size_t bytes) {
    void *memory = NULL;
    if (w->status == FV_OK) w->status = fv_alloc_zero(w->context, sizeof(fv_onnx_block) + bytes, "the model file", &memory);
    if (w->status != FV_OK) return NULL;
    fv_onnx_block *b = memory;
    b->next = w->blocks;
    w->blocks = b;
    return b + 1;
}

void fv_onnx_need(fv_onnx_writer *w, int32_t opset) {
    if (w->needed < opset) w->needed = opset;
}

char *fv_onnx_text(fv_onnx_writer *w, const char *format, const char *a, int64_t number) {
    char buffer[1200];
    const int length = snprintf(buffer, sizeof buffer, format, a, (long long)number);
    char *copy = fv_onnx_take(w, length < 0 ? 1 : (size_t)length + 1);
    if (copy) memcpy(copy, buffer, fv_min_size((size_t)(length < 0 ? 0 : length), sizeof buffer - 1));
    return copy;
}

static bool is_taken(const fv_graph *g, const char *name) {
    for (size_t i = 0; i < g->value_count; i++)
        if (g->values[i].name && strcmp(g->values[i].name, name) == 0) return true;
    return false;
}

fv_value fv_onnx_through_layouts(const fv_graph *g, fv_value v) {
    while (v != FV_NONE && g->values[v].producer >= 0 && g->nodes[g->values[v].producer].op == &fv_op_layout &&
           !fv_graph_is_output(g, v))
        v = g->nodes[g->values[v].producer].in[0];
    return v;
}

char *fv_onnx_value_name(fv_onnx_writer *w, fv_value v) {
    v = fv_onnx_through_layouts(w->graph, v);
    const fv_value_info *info = &w->graph->values[v];
    if (info->name) return info->name;
    char *name = fv_onnx_text(w, "%sv%lld", "", v);
    while (name && is_taken(w->graph, name)) name = fv_onnx_text(w, "%s_", name, 0);
    return name;
}

FvOnnx__Attribute *fv_onnx_make_attribute(fv_onnx_writer *w, FvOnnx__Node *n, const char *name, int32_t type) {
    FvOnnx__Attribute *a = fv_onnx_take(w, sizeof *a);
    FvOnnx__Attribute **grown = fv_onnx_take(w, (n ? n->n_attribute + 1 : 1) * sizeof *grown);
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

void fv_onnx_make_int(fv_onnx_writer *w, FvOnnx__Node *n, const char *name, int64_t value) {
    FvOnnx__Attribute *a = fv_onnx_make_attribute(w, n, name, FV_ONNX_ATTR_INT);
    if (a) a->has_i = true, a->i = value;
}

void fv_onnx_make_float(fv_onnx_writer *w, FvOnnx__Node *n, const char *name, float value) {
    FvOnnx__Attribute *a = fv_onnx_make_attribute(w, n, name, FV_ONNX_ATTR_FLOAT);
    if (a) a->has_f = true, a->f = value;
}

void fv_onnx_make_text(fv_onnx_writer *w, FvOnnx__Node *n, const char *name, const char *value) {
    FvOnnx__Attribute *a = fv_onnx_make_attribute(w, n, name, FV_ONNX_ATTR_STRING);
    if (!a) return;
    a->has_s = true;
    a->s = (ProtobufCBinaryData){strlen(value), (uint8_t *)(uintptr_t)value};
}

void fv_onnx_make_ints(fv_onnx_writer *w, FvOnnx__Node *n, const char *name, size_t count, const int32_t *values) {
    FvOnnx__Attribute *a = fv_onnx_make_attribute(w, n, name, FV_ONNX_ATTR_INTS);
    int64_t *copy = fv_onnx_take(w, count * sizeof *copy);
    if (!a || !copy) return;
    for (size_t i = 0; i < count; i++) copy[i] = values[i];
    a->n_ints = count;
    a->ints = copy;
}

/* A node with one output and room for `inputs` names, to be filled in. */
FvOnnx__Node *fv_onnx_make_node(fv_onnx_writer *w, const char *op, char *name, size_t inputs, char *output) {
    FvOnnx__Node *n = fv_onnx_take(w, sizeof *n);
    char **names = fv_onnx_take(w, (inputs + 1) * sizeof *names);
    if (!n || !names) return NULL;
    w->status = fv_grow(w->context, (void **)&w->nodes, &w->node_capacity, w->node_count + 1, sizeof *w->nodes,
                        "the model file");
    if (w->status != FV_OK) return NULL;
    fv_onnx__node__init(n);
    n->op_type = (char *)op;
    n->name = name && *name ? name : output;
    n->n_input = inputs;
    n->input = names;
    n->n_output = 1;
    n->output = names + inputs;
    n->output[0] = output;
    w->nodes[w->node_count++] = n;
    return n;
}

FvOnnx__Tensor *fv_onnx_new_tensor(fv_onnx_writer *w, char *name, int32_t rank, const int64_t *shape, int32_t type, const void *data,
                                   size_t bytes) {
    FvOnnx__Tensor *t = fv_onnx_take(w, sizeof *t);
    int64_t *dims = fv_onnx_take(w, (size_t)(rank ? rank : 1) * sizeof *dims);
    if (!t || !dims) return NULL;
    fv_onnx__tensor__init(t);
    if (rank) memcpy(dims, shape, (size_t)rank * sizeof *dims);
    t->n_dims = (size_t)rank;
    t->dims = dims;
    t->has_data_type = true;
    t->data_type = type;
    t->name = name;
    t->has_raw_data = true;
    t->raw_data = (ProtobufCBinaryData){bytes, (uint8_t *)(uintptr_t)data};
    return t;
}

void fv_onnx_make_output(fv_onnx_writer *w, FvOnnx__Node *n, char *output) {
    char **names = fv_onnx_take(w, (n->n_output + 1) * sizeof *names);
    if (!names) return;
    memcpy(names, n->output, n->n_output * sizeof *names);
    names[n->n_output++] = output;
    n->output = names;
}

/* data stays the caller's until the file is written. */
void fv_onnx_make_tensor(fv_onnx_writer *w, char *name, int32_t rank, const int64_t *shape, int32_t type, const void *data,
                   size_t bytes) {
    FvOnnx__Tensor *t = fv_onnx_new_tensor(w, name, rank, shape, type, data, bytes);
    if (!t) return;
    w->status = fv_grow(w->context, (void **)&w->tensors, &w->tensor_capacity, w->tensor_count + 1, sizeof *w->tensors,
                        "the model file");
    if (w->status == FV_OK) w->tensors[w->tensor_count++] = t;
}

char *fv_onnx_make_list(fv_onnx_writer *w, const char *made, const char *suffix, size_t count, const int64_t *values) {
    char format[64];
    const int64_t shape = (int64_t)count;
    snprintf(format, sizeof format, "%%s.%s", suffix);
    char *name = fv_onnx_text(w, format, made ? made : "", 0);
    int64_t *copy = fv_onnx_take(w, (count + 1) * sizeof *copy);
    if (!copy) return name;
    memcpy(copy, values, count * sizeof *copy);
    fv_onnx_make_tensor(w, name, 1, &shape, FV_ONNX_INT64, copy, count * sizeof *copy);
    return name;
}

/* A scalar constant, named after the value it helps to make. */
char *fv_onnx_make_scalar(fv_onnx_writer *w, const char *made, const char *suffix, float value) {
    char format[64];
    snprintf(format, sizeof format, "%%s.%s", suffix);
    char *name = fv_onnx_text(w, format, made ? made : "", 0);
    float *copy = fv_onnx_take(w, sizeof *copy);
    if (!copy) return name;
    *copy = value;
    fv_onnx_make_tensor(w, name, 0, NULL, FV_ONNX_FLOAT, copy, sizeof *copy);
    return name;
}

static void write_values(fv_onnx_writer *w, char *name, int32_t rank, const int64_t *shape, const fv_value_info *v,
                         bool rotate) {
    size_t count = 1;
    for (int32_t i = 0; i < v->shape.rank; i++) count *= (size_t)v->shape.dim[i];
    const fv_real *data = v->data;
    if (!rotate && sizeof(fv_real) == sizeof(float)) {
        fv_onnx_make_tensor(w, name, rank, shape, FV_ONNX_FLOAT, data, count * sizeof(float));
        return;
    }
    size_t taps = 1; /* of one kernel: rotating by 180 degrees reverses their order */
    for (int32_t i = 2; rotate && i < v->shape.rank; i++) taps *= (size_t)v->shape.dim[i];
    float *copy = fv_onnx_take(w, count * sizeof *copy);
    if (!copy) return;
    for (size_t i = 0; i < count; i++) copy[i] = (float)data[i / taps * taps + (taps - 1 - i % taps)];
    if (taps == 1)
        for (size_t i = 0; i < count; i++) copy[i] = (float)data[i];
    fv_onnx_make_tensor(w, name, rank, shape, FV_ONNX_FLOAT, copy, count * sizeof *copy);
}

/* Parameter v as input i of node n, in the shape ONNX wants. A parameter used twice is written once more for a use that
 * needs another form. */
void fv_onnx_make_parameter(fv_onnx_writer *w, FvOnnx__Node *n, size_t i, fv_value v, int32_t rank, const int64_t *shape,
                      bool rotate) {
    if (!n || w->status != FV_OK) return;
    const fv_value_info *info = &w->graph->values[v];
    char *name = fv_onnx_value_name(w, v);
    if (rotate && fv_graph_uses(w->graph, v) > 1) name = fv_onnx_text(w, "%s.rotated", name, 0);
    for (size_t k = 0; name && k < w->tensor_count; k++)
        if (strcmp(w->tensors[k]->name, name) == 0) {
            if (w->tensors[k]->n_dims == (size_t)rank) {
                n->input[i] = name;
                return;
            }
            name = fv_onnx_text(w, "%s.%lld", name, (int64_t)w->tensor_count);
            break;
        }
    n->input[i] = name;
    if (name) write_values(w, name, rank, shape, info, rotate);
}

void fv_onnx_make_window(fv_onnx_writer *w, FvOnnx__Node *n, const fv_window_attr *a, const int32_t *kernel) {
    fv_onnx_make_ints(w, n, "kernel_shape", 2, kernel + 1);
    fv_onnx_make_steps(w, n, a, true);
}

void fv_onnx_make_steps(fv_onnx_writer *w, FvOnnx__Node *n, const fv_window_attr *a, bool dilations) {
    static const char *const auto_pads[] = {NULL, "VALID", "SAME_UPPER", "SAME_LOWER"};
    fv_onnx_make_ints(w, n, "strides", 2, a->stride + 1);
    if (dilations) fv_onnx_make_ints(w, n, "dilations", 2, a->dilation + 1);
    if (a->padding == FV_PAD_EXPLICIT) {
        const int32_t pads[4] = {a->pad_before[1], a->pad_before[2], a->pad_after[1], a->pad_after[2]};
        fv_onnx_make_ints(w, n, "pads", 4, pads);
        return;
    }
    fv_onnx_make_text(w, n, "auto_pad", auto_pads[a->padding]);
}

void fv_onnx_release(fv_onnx_writer *w) {
    for (fv_onnx_block *b = w->blocks, *next; b; b = next) {
        next = b->next;
        fv_release(w->context, b);
    }
    fv_release(w->context, w->nodes);
    fv_release(w->context, w->tensors);
    fv_release(w->context, w->functions);
}
