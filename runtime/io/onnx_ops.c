/* One reader a operator: ONNX nodes to the builder's calls. */
#include "io/onnx_internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Input i of a node: NULL when left out. */
static fv_status input(const fv_onnx_reader *r, const FvOnnx__Node *n, size_t i, const fv_onnx_name **out) {
    *out = NULL;
    if (i >= n->n_input || !*n->input[i]) return FV_OK;
    *out = fv_onnx_find(r, n->input[i]);
    FV_RETURN_IF(!*out, FV_ERR_FORMAT, "node \"%.100s\" (%.60s) uses \"%.200s\", which nothing before it makes",
                 n->name ? n->name : "", n->op_type, n->input[i]);
    return FV_OK;
}

/* A constant as a parameter of the graph, made at its first use with the given shape. */
static fv_status parameter(fv_onnx_reader *r, const fv_onnx_name *entry, int32_t rank, const int64_t *shape,
                           fv_value *out) {
    fv_onnx_name *mine = (fv_onnx_name *)entry; /* the reader owns the table */
    if (entry->value == FV_NONE) {
        float *values;
        FV_FORWARD(fv_alloc_array(r->context, entry->tensor.count ? entry->tensor.count : 1, sizeof *values,
                                  entry->name, (void **)&values));
        for (size_t i = 0; i < entry->tensor.count; i++) values[i] = fv_onnx_tensor_float(&entry->tensor, i);
        mine->value = fv_graph_parameter(r->graph, entry->name, rank, shape, values, FV_INIT_ZEROS, true);
        fv_release(r->context, values);
    }
    FV_RETURN_IF(entry->turned, FV_ERR_UNSUPPORTED, "\"%.200s\" is used by two nodes in different ways", entry->name);
    *out = entry->value;
    return fv_graph_status(r->graph);
}

/* Input i as a value computed by the graph. */
static fv_status value(const fv_onnx_reader *r, const FvOnnx__Node *n, size_t i, fv_value *out) {
    const fv_onnx_name *entry;
    FV_FORWARD(input(r, n, i, &entry));
    FV_RETURN_IF(!entry, FV_ERR_FORMAT, "node \"%.100s\" (%.60s) lacks input %zu", n->name ? n->name : "", n->op_type,
                 i);
    FV_RETURN_IF(entry->constant, FV_ERR_UNSUPPORTED, "node \"%.100s\" (%.60s) takes the constant \"%.100s\" as data",
                 n->name ? n->name : "", n->op_type, entry->name);
    FV_RETURN_IF(entry->value == FV_NONE, FV_ERR_UNSUPPORTED,
                 "node \"%.100s\" (%.60s) needs what an unsupported node makes", n->name ? n->name : "", n->op_type);
    *out = entry->value;
    return FV_OK;
}

/* Input i as a constant; NULL when left out. */
static fv_status constant(const fv_onnx_reader *r, const FvOnnx__Node *n, size_t i, const fv_onnx_tensor **out) {
    const fv_onnx_name *entry;
    *out = NULL;
    FV_FORWARD(input(r, n, i, &entry));
    if (!entry) return FV_OK;
    FV_RETURN_IF(!entry->constant, FV_ERR_UNSUPPORTED, "node \"%.100s\" (%.60s) needs input %zu to be a constant",
                 n->name ? n->name : "", n->op_type, i);
    *out = &entry->tensor;
    return FV_OK;
}

static fv_status done(fv_onnx_reader *r, const FvOnnx__Node *n, fv_value v) {
    FV_FORWARD(fv_graph_status(r->graph));
    FV_RETURN_IF(n->n_output < 1 || !*n->output[0], FV_ERR_FORMAT, "node \"%.100s\" (%.60s) has no output",
                 n->name ? n->name : "", n->op_type);
    for (size_t i = 1; i < n->n_output; i++)
        FV_RETURN_IF(*n->output[i], FV_ERR_UNSUPPORTED, "node \"%.100s\" (%.60s) has a second output \"%.100s\"",
                     n->name ? n->name : "", n->op_type, n->output[i]);
    FV_FORWARD(fv_graph_name_value(r->graph, v, n->output[0], false));
    return fv_onnx_define(r, &(fv_onnx_name){.name = n->output[0], .value = v});
}

static fv_status refuse(const FvOnnx__Node *n, const char *what) {
    return fv_fail(FV_ERR_UNSUPPORTED, "node \"%.100s\" (%.60s): %s", n->name ? n->name : "", n->op_type, what);
}

static const char *name_of(const FvOnnx__Node *n) {
    return n->name && *n->name ? n->name : n->n_output ? n->output[0] : NULL;
}

/* ---- windows ---- */

static fv_status ints(const FvOnnx__Node *n, const char *name, size_t count, int32_t *out) {
    const FvOnnx__Attribute *a = fv_onnx_attribute(n, name);
    if (!a) return FV_OK;
    if (a->n_ints != count) return refuse(n, "only 2-D windows are read");
    for (size_t i = 0; i < count; i++) {
        FV_RETURN_IF(a->ints[i] < INT32_MIN || a->ints[i] > INT32_MAX, FV_ERR_LIMIT,
                     "node \"%.100s\" (%.60s): %s holds %lld", n->name ? n->name : "", n->op_type, name,
                     (long long)a->ints[i]);
        out[i] = (int32_t)a->ints[i];
    }
    return FV_OK;
}

static fv_status padding(const FvOnnx__Node *n, fv_padding *mode, int32_t before[2], int32_t after[2]) {
    static const char *const names[] = {"NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER"};
    static const fv_padding modes[] = {FV_PAD_EXPLICIT, FV_PAD_VALID, FV_PAD_SAME_UPPER, FV_PAD_SAME_LOWER};
    int32_t pads[4] = {0};
    FV_FORWARD(ints(n, "pads", 4, pads));
    memcpy(before, pads, 2 * sizeof *pads);
    memcpy(after, pads + 2, 2 * sizeof *pads);
    *mode = FV_PAD_EXPLICIT;
    const FvOnnx__Attribute *a = fv_onnx_attribute(n, "auto_pad");
    if (!a) return FV_OK;
    size_t i = 0;
    while (i < FV_ARRAY_SIZE(names) && (a->s.len != strlen(names[i]) || memcmp(a->s.data, names[i], a->s.len) != 0)) i++;
    FV_RETURN_IF(i == FV_ARRAY_SIZE(names), FV_ERR_FORMAT, "node \"%.100s\" (%.60s): unknown auto_pad",
                 n->name ? n->name : "", n->op_type);
    *mode = modes[i];
    FV_RETURN_IF(*mode != FV_PAD_EXPLICIT && (pads[0] || pads[1] || pads[2] || pads[3]), FV_ERR_FORMAT,
                 "node \"%.100s\" (%.60s): auto_pad %s and pads exclude each other", n->name ? n->name : "", n->op_type,
                 names[i]);
    return FV_OK;
}

static fv_status read_conv(fv_onnx_reader *r, const FvOnnx__Node *n) {
    const fv_onnx_name *weight, *bias;
    fv_conv_settings s;
    fv_value x, w, b = FV_NONE;
    fv_conv_settings_default(&s);
    FV_FORWARD(value(r, n, 0, &x));
    FV_FORWARD(input(r, n, 1, &weight));
    FV_FORWARD(input(r, n, 2, &bias));
    if (!weight || !weight->constant || weight->tensor.shape.rank != 4)
        return refuse(n, "the weight must be a constant of rank 4");
    if (bias && (!bias->constant || bias->tensor.shape.rank != 1))
        return refuse(n, "the bias must be a constant of rank 1");
    FV_FORWARD(ints(n, "strides", 2, s.stride));
    FV_FORWARD(ints(n, "dilations", 2, s.dilation));
    FV_FORWARD(padding(n, &s.padding, s.pad_before, s.pad_after));
    int32_t kernel[2] = {0, 0};
    FV_FORWARD(ints(n, "kernel_shape", 2, kernel));
    for (int i = 0; i < 2 && fv_onnx_attribute(n, "kernel_shape"); i++)
        FV_RETURN_IF(kernel[i] != weight->tensor.shape.dim[2 + i], FV_ERR_SHAPE,
                     "node \"%.100s\" (Conv): kernel_shape disagrees with its weight", n->name ? n->name : "");
    const int64_t groups = fv_onnx_attribute_int(n, "group", 1);
    FV_RETURN_IF(groups < 1 || groups > INT32_MAX, FV_ERR_ARGUMENT, "node \"%.100s\" (Conv): group is %lld",
                 n->name ? n->name : "", (long long)groups);
    s.groups = (int32_t)groups;
    FV_FORWARD(parameter(r, weight, 4, weight->tensor.shape.dim, &w));
    if (bias) FV_FORWARD(parameter(r, bias, 1, bias->tensor.shape.dim, &b));
    return done(r, n, fv_graph_conv_with(r->graph, x, w, b, &s, name_of(n)));
}

static fv_status read_pool(fv_onnx_reader *r, const FvOnnx__Node *n, fv_pool_kind kind, bool global) {
    fv_pool_settings s;
    fv_value x;
    fv_pool_settings_default(&s);
    s.kind = kind;
    s.global = global;
    s.stride[0] = s.stride[1] = 1; /* ONNX's default */
    FV_FORWARD(value(r, n, 0, &x));
    if (!global) {
        if (!fv_onnx_attribute(n, "kernel_shape")) return refuse(n, "kernel_shape is missing");
        FV_FORWARD(ints(n, "kernel_shape", 2, s.window));
        FV_FORWARD(ints(n, "strides", 2, s.stride));
        FV_FORWARD(ints(n, "dilations", 2, s.dilation));
        if (kind == FV_POOL_AVERAGE && (s.dilation[0] != 1 || s.dilation[1] != 1)) return refuse(n, "dilations are not read");
        FV_FORWARD(padding(n, &s.padding, s.pad_before, s.pad_after));
        s.ceil_mode = fv_onnx_attribute_int(n, "ceil_mode", 0) != 0;
        s.count_padding = fv_onnx_attribute_int(n, "count_include_pad", 0) != 0;
    }
    return done(r, n, fv_graph_pool(r->graph, x, &s, name_of(n)));
}

static fv_status read_conv_node(fv_onnx_reader *r, const FvOnnx__Node *n) { return read_conv(r, n); }
static fv_status read_max_pool(fv_onnx_reader *r, const FvOnnx__Node *n) { return read_pool(r, n, FV_POOL_MAX, false); }
static fv_status read_average_pool(fv_onnx_reader *r, const FvOnnx__Node *n) {
    return read_pool(r, n, FV_POOL_AVERAGE, false);
}
static fv_status read_global_max(fv_onnx_reader *r, const FvOnnx__Node *n) {
    return read_pool(r, n, FV_POOL_MAX, true);
}
static fv_status read_global_average(fv_onnx_reader *r, const FvOnnx__Node *n) {
    return read_pool(r, n, FV_POOL_AVERAGE, true);
}

/* ---- fully connected ---- */

/* The weight (O,F) of a linear layer from a constant matrix, transposed when the file has (F,O). */
static fv_status linear_weight(fv_onnx_reader *r, const FvOnnx__Node *n, const fv_onnx_name *entry, bool transposed,
                               float alpha, fv_value *out) {
    if (!entry || !entry->constant || entry->tensor.shape.rank != 2)
        return refuse(n, "the weight must be a constant matrix");
    if (transposed && alpha == 1.0f) return parameter(r, entry, 2, entry->tensor.shape.dim, out);
    if (entry->value != FV_NONE) return refuse(n, "the weight is used by another node in another way");
    const int64_t rows = entry->tensor.shape.dim[0], columns = entry->tensor.shape.dim[1];
    const int64_t shape[2] = {transposed ? rows : columns, transposed ? columns : rows};
    float *values;
    FV_FORWARD(fv_alloc_array(r->context, entry->tensor.count ? entry->tensor.count : 1, sizeof *values, entry->name,
                              (void **)&values));
    for (int64_t i = 0; i < rows; i++)
        for (int64_t j = 0; j < columns; j++)
            values[transposed ? i * columns + j : j * rows + i] =
                alpha * fv_onnx_tensor_float(&entry->tensor, (size_t)(i * columns + j));
    fv_onnx_name *mine = (fv_onnx_name *)entry; /* the reader owns the table */
    *out = mine->value = fv_graph_parameter(r->graph, entry->name, 2, shape, values, FV_INIT_ZEROS, true);
    mine->turned = true;
    fv_release(r->context, values);
    return fv_graph_status(r->graph);
}

static fv_status read_gemm(fv_onnx_reader *r, const FvOnnx__Node *n) {
    const fv_onnx_name *weight, *bias;
    fv_value x, w, b = FV_NONE;
    FV_FORWARD(value(r, n, 0, &x));
    FV_FORWARD(input(r, n, 1, &weight));
    FV_FORWARD(input(r, n, 2, &bias));
    if (fv_onnx_attribute_int(n, "transA", 0)) return refuse(n, "transA is not read");
    if (bias && fv_onnx_attribute_float(n, "beta", 1) != 1) return refuse(n, "beta other than 1 is not read");
    FV_FORWARD(linear_weight(r, n, weight, fv_onnx_attribute_int(n, "transB", 0) != 0,
                             fv_onnx_attribute_float(n, "alpha", 1), &w));
    if (bias) {
        const int64_t out = fv_emit_info(r->graph, w)->shape.dim[0];
        if (!bias->constant || (int64_t)bias->tensor.count != out)
            return refuse(n, "C must be a constant with one value an output");
        FV_FORWARD(parameter(r, bias, 1, &out, &b));
    }
    return done(r, n, fv_graph_linear_with(r->graph, x, w, b, name_of(n)));
}

static fv_status read_matmul(fv_onnx_reader *r, const FvOnnx__Node *n) {
    const fv_onnx_name *weight;
    fv_value x, w;
    FV_FORWARD(value(r, n, 0, &x));
    FV_FORWARD(input(r, n, 1, &weight));
    FV_FORWARD(linear_weight(r, n, weight, false, 1.0f, &w));
    if (fv_emit_info(r->graph, x)->shape.rank != 2) return refuse(n, "only matrices are multiplied");
    return done(r, n, fv_graph_linear_with(r->graph, x, w, FV_NONE, name_of(n)));
}

/* ---- pointwise ---- */

static fv_status read_unary(fv_onnx_reader *r, const FvOnnx__Node *n) {
    fv_value x;
    FV_FORWARD(value(r, n, 0, &x));
    if (strcmp(n->op_type, "Relu") == 0) return done(r, n, fv_graph_relu(r->graph, x, name_of(n)));
    if (strcmp(n->op_type, "Sigmoid") == 0) return done(r, n, fv_graph_sigmoid(r->graph, x, name_of(n)));
    if (strcmp(n->op_type, "Tanh") == 0) return done(r, n, fv_graph_tanh(r->graph, x, name_of(n)));
    return done(r, n, fv_graph_exp(r->graph, x, name_of(n)));
}

static fv_status read_clip(fv_onnx_reader *r, const FvOnnx__Node *n) {
    fv_value x;
    float low = fv_onnx_attribute_float(n, "min", -INFINITY), high = fv_onnx_attribute_float(n, "max", INFINITY);
    FV_FORWARD(value(r, n, 0, &x));
    for (size_t i = 1; i <= 2; i++) {
        const fv_onnx_tensor *t;
        FV_FORWARD(constant(r, n, i, &t));
        if (!t) continue;
        FV_RETURN_IF(t->count != 1, FV_ERR_SHAPE, "node \"%.100s\" (Clip): a bound has %zu values",
                     n->name ? n->name : "", t->count);
        *(i == 1 ? &low : &high) = fv_onnx_tensor_float(t, 0);
    }
    return done(r, n, fv_graph_clip(r->graph, x, low, high, name_of(n)));
}

/* One factor or addend for the whole tensor, or one a map: count 1, or (C,1,1), (1,C,1,1), (C) for rank 2. */
static bool is_per_map(const fv_onnx_tensor *t, const fv_shape *x) {
    const int64_t channels = x->rank > 1 ? x->dim[1] : 0;
    if ((int64_t)t->count != channels) return false;
    const int32_t axis = t->shape.rank - (x->rank - 1); /* where the map axis lies when aligned to the right */
    return axis >= 0 && axis < t->shape.rank && t->shape.dim[axis] == channels;
}

static fv_status read_with_constant(fv_onnx_reader *r, const FvOnnx__Node *n, fv_value x, const fv_onnx_name *entry,
                                    bool first) {
    const char op = n->op_type[0]; /* Add, Sub, Mul */
    if (entry->tensor.count == 1) {
        const float k = fv_onnx_tensor_float(&entry->tensor, 0);
        if (op == 'M') return done(r, n, fv_graph_scale(r->graph, x, k, 0, name_of(n)));
        if (op == 'A') return done(r, n, fv_graph_scale(r->graph, x, 1, k, name_of(n)));
        return done(r, n, fv_graph_scale(r->graph, x, first ? -1.0f : 1.0f, first ? k : -k, name_of(n)));
    }
    if (op != 'M' || !is_per_map(&entry->tensor, &fv_emit_info(r->graph, x)->shape))
        return refuse(n, "only a factor a map, or one number, is combined with a constant");
    fv_value gain;
    const int64_t channels = (int64_t)entry->tensor.count;
    FV_FORWARD(parameter(r, entry, 1, &channels, &gain));
    return done(r, n, fv_graph_gain_with(r->graph, x, gain, name_of(n)));
}

static fv_status read_binary(fv_onnx_reader *r, const FvOnnx__Node *n) {
    const fv_onnx_name *a, *b;
    fv_value x, y;
    FV_FORWARD(input(r, n, 0, &a));
    FV_FORWARD(input(r, n, 1, &b));
    FV_RETURN_IF(!a || !b, FV_ERR_FORMAT, "node \"%.100s\" (%.60s) needs two inputs", n->name ? n->name : "",
                 n->op_type);
    if (a->constant || b->constant) {
        FV_FORWARD(value(r, n, a->constant ? 1 : 0, &x));
        return read_with_constant(r, n, x, a->constant ? a : b, a->constant);
    }
    FV_FORWARD(value(r, n, 0, &x));
    FV_FORWARD(value(r, n, 1, &y));
    if (n->op_type[0] == 'A') return done(r, n, fv_graph_add(r->graph, x, y, name_of(n)));
    if (n->op_type[0] == 'S') return done(r, n, fv_graph_subtract(r->graph, x, y, name_of(n)));
    return done(r, n, fv_graph_multiply(r->graph, x, y, name_of(n)));
}

/* ---- the rest ---- */

static fv_status read_softmax(fv_onnx_reader *r, const FvOnnx__Node *n) {
    fv_value x;
    FV_FORWARD(value(r, n, 0, &x));
    const int64_t axis = fv_onnx_attribute_int(n, "axis", r->opset < 13 ? 1 : -1);
    if (fv_emit_info(r->graph, x)->shape.rank != 2 || (axis != 1 && axis != -1))
        return refuse(n, "only axis 1 of (N,F) is read");
    return done(r, n, fv_graph_softmax(r->graph, x, name_of(n)));
}

static fv_status read_dropout(fv_onnx_reader *r, const FvOnnx__Node *n) {
    fv_value x;
    const fv_onnx_tensor *t;
    float ratio = fv_onnx_attribute_float(n, "ratio", 0.5f);
    FV_FORWARD(value(r, n, 0, &x));
    FV_FORWARD(constant(r, n, 1, &t));
    if (t && t->count == 1) ratio = fv_onnx_tensor_float(t, 0);
    return done(r, n, fv_graph_dropout(r->graph, x, ratio, name_of(n)));
}

static fv_status read_flatten(fv_onnx_reader *r, const FvOnnx__Node *n) {
    fv_value x;
    FV_FORWARD(value(r, n, 0, &x));
    if (fv_onnx_attribute_int(n, "axis", 1) != 1) return refuse(n, "only axis 1 is read");
    if (fv_emit_info(r->graph, x)->shape.rank == 2) return done(r, n, x);
    return done(r, n, fv_graph_flatten(r->graph, x, name_of(n)));
}

/* Reshape to (N, rest): a flatten in other words. */
static fv_status read_reshape(fv_onnx_reader *r, const FvOnnx__Node *n) {
    fv_value x;
    const fv_onnx_tensor *t;
    FV_FORWARD(value(r, n, 0, &x));
    FV_FORWARD(constant(r, n, 1, &t));
    const fv_shape *shape = &fv_emit_info(r->graph, x)->shape;
    if (!t || t->count != 2) return refuse(n, "only a reshape to (N, features) is read");
    int64_t rest = 1;
    for (int32_t i = 1; i < shape->rank; i++) rest *= shape->dim[i];
    const int64_t rows = fv_onnx_tensor_int(t, 0), columns = fv_onnx_tensor_int(t, 1);
    if ((columns != rest && columns != -1) || (columns == -1 && rows == -1) || (columns == -1 && rows > 1))
        return refuse(n, "only a reshape to (N, features) is read");
    if (shape->rank == 2) return done(r, n, x);
    return done(r, n, fv_graph_flatten(r->graph, x, name_of(n)));
}

static fv_status read_identity(fv_onnx_reader *r, const FvOnnx__Node *n) {
    fv_value x;
    FV_FORWARD(value(r, n, 0, &x));
    return done(r, n, x);
}

static fv_status read_constant(fv_onnx_reader *r, const FvOnnx__Node *n) {
    const FvOnnx__Attribute *a = fv_onnx_attribute(n, "value");
    fv_onnx_name entry = {.constant = true, .value = FV_NONE};
    if (!a || !a->t) return refuse(n, "only a tensor in \"value\" is read");
    FV_RETURN_IF(n->n_output != 1 || !*n->output[0], FV_ERR_FORMAT, "a Constant node has no output");
    entry.name = n->output[0];
    FV_FORWARD(fv_onnx_tensor_view(a->t, r->file, r->file_bytes, &entry.tensor));
    return fv_onnx_define(r, &entry);
}

static const struct {
    const char *op;
    fv_status (*read)(fv_onnx_reader *r, const FvOnnx__Node *n);
} readers[] = {
    {"Conv", read_conv_node},
    {"Gemm", read_gemm},
    {"MatMul", read_matmul},
    {"MaxPool", read_max_pool},
    {"AveragePool", read_average_pool},
    {"GlobalMaxPool", read_global_max},
    {"GlobalAveragePool", read_global_average},
    {"Relu", read_unary},
    {"Sigmoid", read_unary},
    {"Tanh", read_unary},
    {"Exp", read_unary},
    {"Clip", read_clip},
    {"Add", read_binary},
    {"Sub", read_binary},
    {"Mul", read_binary},
    {"Softmax", read_softmax},
    {"Dropout", read_dropout},
    {"Flatten", read_flatten},
    {"Reshape", read_reshape},
    {"Identity", read_identity},
    {"Constant", read_constant},
};

fv_status fv_onnx_read_node(fv_onnx_reader *r, const FvOnnx__Node *n) {
    FV_RETURN_IF(!n->op_type, FV_ERR_FORMAT, "a node has no operator");
    const bool standard = !n->domain || !*n->domain || strcmp(n->domain, "ai.onnx") == 0;
    for (size_t i = 0; standard && i < FV_ARRAY_SIZE(readers); i++)
        if (strcmp(readers[i].op, n->op_type) == 0) return readers[i].read(r, n);
    return fv_fail(FV_ERR_UNSUPPORTED, "node \"%.100s\": operator %.60s%s%.60s is not supported",
                   n->name ? n->name : "", n->op_type, standard ? "" : " of domain ", standard ? "" : n->domain);
}
