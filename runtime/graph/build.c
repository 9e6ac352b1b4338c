/* The builder of fovea.h: each call checks its arguments, makes parameters where it owns them, and adds one node. */
#include "graph/graph.h"

#include "ops/window.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

bool fv_build_usable(const fv_graph *g) { return g && g->status == FV_OK; }

bool fv_build_valid(fv_graph *g, fv_value v, const char *what) {
    if (v >= 0 && (size_t)v < g->value_count) return true;
    fv_graph_fail(g, FV_ERR_ARGUMENT, "%s is not a value of this graph", what);
    return false;
}

static bool name_taken(fv_graph *g, const char *name) { return fv_graph_find_name(g, name) != FV_NONE; }

static bool shape_of(fv_graph *g, const char *name, int32_t rank, const int64_t *shape, bool batch, fv_shape *out) {
    *out = (fv_shape){.rank = rank};
    if (rank < 1 || rank > FV_MAX_RANK || !shape) {
        fv_graph_fail(g, FV_ERR_SHAPE, "\"%s\" has rank %d; allowed are 1 to %d", name, rank, FV_MAX_RANK);
        return false;
    }
    size_t count = sizeof(double);
    for (int32_t i = 0; i < rank; i++) {
        const bool open = batch && i == 0;
        if (shape[i] < (open ? 0 : 1) || shape[i] > INT32_MAX ||
            !fv_mul_size(count, (size_t)(shape[i] ? shape[i] : 1), &count) || count > PTRDIFF_MAX / 4) {
            fv_graph_fail(g, FV_ERR_SHAPE, "\"%s\" has size %lld on axis %d, or too many elements", name,
                          (long long)shape[i], i);
            return false;
        }
        out->dim[i] = shape[i];
    }
    return true;
}

fv_value fv_graph_input(fv_graph *g, const char *name, int32_t rank, const int64_t *shape) {
    fv_shape s;
    if (!fv_build_usable(g)) return FV_NONE;
    if (!name || !*name || name_taken(g, name))
        return fv_graph_fail(g, FV_ERR_ARGUMENT, "an input needs a name of its own, got \"%.200s\"", name ? name : "");
    if (!shape_of(g, name, rank, shape, true, &s)) return FV_NONE;
    const fv_value v = fv_graph_new_value(g, FV_VALUE_INPUT, name, FV_REAL_DTYPE, &s);
    if (v == FV_NONE) return v;
    if (fv_grow(g->context, (void **)&g->inputs, &g->input_capacity, g->input_count + 1, sizeof *g->inputs,
                "a graph") != FV_OK)
        return fv_graph_fail(g, FV_ERR_MEMORY, "out of memory for input \"%s\"", name);
    g->inputs[g->input_count++] = v;
    return v;
}

fv_status fv_graph_output(fv_graph *g, fv_value v, const char *name) {
    FV_RETURN_IF(!g, FV_ERR_ARGUMENT, "the graph is NULL");
    FV_FORWARD(fv_graph_status(g));
    if (!fv_build_valid(g, v, "an output")) return fv_graph_status(g);
    if (name && *name && !g->values[v].name) {
        if (name_taken(g, name))
            (void)fv_graph_fail(g, FV_ERR_ARGUMENT, "an output needs a name of its own, got \"%.200s\"", name);
        FV_FORWARD(fv_graph_status(g));
        FV_FORWARD(fv_graph_name_value(g, v, name, false));
    }
    FV_FORWARD(fv_grow(g->context, (void **)&g->outputs, &g->output_capacity, g->output_count + 1, sizeof *g->outputs,
                       "a graph"));
    g->outputs[g->output_count++] = v;
    return FV_OK;
}

fv_value fv_graph_parameter(fv_graph *g, const char *name, int32_t rank, const int64_t *shape, const float *data,
                            fv_init init, bool trainable) {
    fv_shape s;
    if (!fv_build_usable(g)) return FV_NONE;
    if (!name || !*name || name_taken(g, name))
        return fv_graph_fail(g, FV_ERR_ARGUMENT, "a parameter needs a name of its own, got \"%.200s\"",
                             name ? name : "");
    if ((int)init < FV_INIT_HE || init > FV_INIT_ONES)
        return fv_graph_fail(g, FV_ERR_ARGUMENT, "\"%s\": unknown initialization %d", name, (int)init);
    if (!shape_of(g, name, rank, shape, false, &s)) return FV_NONE;
    const fv_value v = fv_graph_new_value(g, FV_VALUE_PARAMETER, name, FV_REAL_DTYPE, &s);
    if (v == FV_NONE) return v;
    fv_value_info *info = &g->values[v];
    info->trainable = trainable;
    info->init = init;
    info->fan_in = info->fan_out = 1;
    for (int32_t i = 1; i < rank; i++) info->fan_in *= s.dim[i]; /* shape may be another value's, and those move */
    for (int32_t i = 0; i < rank; i++) info->fan_out *= i == 1 ? 1 : s.dim[i];
    if (!data) return v;
    const size_t count = fv_shape_count(&s);
    if (fv_alloc(g->context, count * sizeof(fv_real), name, &info->data) != FV_OK)
        return fv_graph_fail(g, FV_ERR_MEMORY, "out of memory for parameter \"%s\"", name);
    for (size_t i = 0; i < count; i++) ((fv_real *)info->data)[i] = data[i];
    return v;
}

fv_value fv_build_owned(fv_graph *g, const char *name, const char *suffix, int32_t rank, const int64_t *shape,
                        fv_init init, bool trainable) {
    char full[512];
    if (snprintf(full, sizeof full, "%s.%s", name, suffix) >= (int)sizeof full)
        return fv_graph_fail(g, FV_ERR_LIMIT, "a layer's name has more than %zu characters", sizeof full);
    return fv_graph_parameter(g, full, rank, shape, NULL, init, trainable);
}

fv_layer_name fv_build_name(const fv_graph *g, const char *name, const char *kind) {
    fv_layer_name n;
    if (name && *name)
        snprintf(n.text, sizeof n.text, "%s", name);
    else
        snprintf(n.text, sizeof n.text, "%s%zu", kind, g->node_count);
    return n;
}

/* ---- convolution and fully connected ---- */

void fv_conv_settings_default(fv_conv_settings *s) {
    if (!s) return;
    *s = (fv_conv_settings){.out_channels = 1,
                            .kernel = {3, 3},
                            .stride = {1, 1},
                            .dilation = {1, 1},
                            .groups = 1,
                            .bias = FV_BIAS_TIED,
                            .init = FV_INIT_HE};
}

void fv_build_window(fv_window_attr *w, const int32_t kernel[2], const int32_t stride[2], const int32_t dilation[2],
                     const int32_t before[2], const int32_t after[2], fv_padding padding) {
    *w = (fv_window_attr){.kernel = {1}, .stride = {1}, .dilation = {1}, .padding = padding};
    for (int i = 0; i < 2; i++) {
        w->kernel[i + 1] = kernel[i];
        w->stride[i + 1] = stride[i];
        w->dilation[i + 1] = dilation[i];
        w->pad_before[i + 1] = before[i];
        w->pad_after[i + 1] = after[i];
    }
}

/* What is wrong with entry i of a table for weight w, NULL: nothing. */
static const char *edge_error(const fv_value_info *w, const uint8_t *table, size_t i, size_t taps) {
    const fv_real *kernel = w->data ? (const fv_real *)w->data + i * taps : NULL;
    if (table[i] > 1) return "is neither 0 nor 1";
    if (w->edges && w->edges[i] != table[i]) return "is not what another node's is";
    for (size_t t = 0; kernel && !table[i] && t < taps; t++)
        if (kernel[t] != 0) return "is 0, but its kernel is not";
    return NULL;
}

/* Checks a table and gives it to a weight (K,C,kh,kw) whose values, if there are any, have zeros where it has. */
static bool connect(fv_graph *g, const char *name, fv_value weight, const uint8_t *table, int32_t groups) {
    fv_value_info *w = &g->values[weight];
    fv_status status = FV_OK;
    if (w->kind != FV_VALUE_PARAMETER || w->shape.rank != 4 || groups != 1) {
        fv_graph_fail(g, FV_ERR_ARGUMENT, "node \"%s\": a connection table needs a weight of its own and one group",
                      name);
        return false;
    }
    const size_t outs = (size_t)w->shape.dim[0], ins = (size_t)w->shape.dim[1];
    const size_t taps = (size_t)(w->shape.dim[2] * w->shape.dim[3]);
    size_t edges = 0;
    for (size_t i = 0; i < outs * ins; i++) {
        const char *wrong = edge_error(w, table, i, taps);
        if (wrong) {
            fv_graph_fail(g, FV_ERR_ARGUMENT, "node \"%s\": the connection table at map %zu from map %zu %s", name,
                          i / ins, i % ins, wrong);
            return false;
        }
        edges += table[i];
    }
    if (!w->edges) status = fv_graph_set_edges(g, w, table);
    if (status != FV_OK) fv_build_keep_error(g, status);
    w->fan_in = (int64_t)fv_max_size(1, edges * taps / outs); /* of a mean map */
    w->fan_out = (int64_t)fv_max_size(1, edges * taps / ins);
    return status == FV_OK;
}

fv_value fv_graph_conv_with(fv_graph *g, fv_value x, fv_value weight, fv_value bias, const fv_conv_settings *s,
                            const char *name) {
    if (!fv_build_usable(g)) return FV_NONE;
    if (!s) return fv_graph_fail(g, FV_ERR_ARGUMENT, "a convolution needs settings");
    if (!fv_build_valid(g, x, "a convolution's input") || !fv_build_valid(g, weight, "a convolution's weight"))
        return FV_NONE;
    fv_attributes attr = {.conv = {.groups = s->groups,
                                   .true_convolution = s->true_convolution,
                                   .act_low = -(fv_real)INFINITY,
                                   .act_high = (fv_real)INFINITY}};
    fv_build_window(&attr.conv.window, s->kernel, s->stride, s->dilation, s->pad_before, s->pad_after, s->padding);
    const fv_layer_name n = fv_build_name(g, name, "conv");
    if (s->connections && !connect(g, n.text, weight, s->connections, s->groups)) return FV_NONE;
    const bool untied = bias >= 0 && (size_t)bias < g->value_count && g->values[bias].shape.rank == 3;
    const fv_value in[3] = {x, weight, bias};
    const fv_value y = fv_graph_node(g, &fv_op_conv, n.text, in, bias == FV_NONE || untied ? 2 : 3, 1, &attr);
    return untied ? fv_build_untied(g, y, bias, n.text) : y;
}

fv_value fv_graph_conv(fv_graph *g, fv_value x, const fv_conv_settings *s, const char *name) {
    if (!fv_build_usable(g)) return FV_NONE;
    if (!s) return fv_graph_fail(g, FV_ERR_ARGUMENT, "a convolution needs settings");
    if (!fv_build_valid(g, x, "a convolution's input")) return FV_NONE;
    const fv_layer_name n = fv_build_name(g, name, "conv");
    const fv_shape *in = &g->values[x].shape;
    if ((int)s->bias < FV_BIAS_NONE || s->bias > FV_BIAS_UNTIED)
        return fv_graph_fail(g, FV_ERR_ARGUMENT, "node \"%s\": unknown kind of bias %d", n.text, (int)s->bias);
    if (in->rank != 4 || s->groups < 1 || in->dim[1] % s->groups || s->out_channels < 1 || s->out_channels % s->groups)
        return fv_graph_fail(g, FV_ERR_SHAPE,
                             "node \"%s\": %d groups, %d output channels and an input of %s do not fit", n.text,
                             s->groups, s->out_channels, fv_shape_print(in).text);
    const int64_t shape[4] = {s->out_channels, in->dim[1] / s->groups, s->kernel[0], s->kernel[1]};
    const fv_value w = fv_build_owned(g, n.text, "weight", 4, shape, s->init, true);
    const fv_value b =
        s->bias == FV_BIAS_TIED ? fv_build_owned(g, n.text, "bias", 1, shape, FV_INIT_ZEROS, true) : FV_NONE;
    const fv_value y = fv_graph_conv_with(g, x, w, b, s, n.text);
    if (s->bias != FV_BIAS_UNTIED || y == FV_NONE) return y;
    return fv_build_untied(g, y, fv_build_owned(g, n.text, "bias", 3, g->values[y].shape.dim + 1, FV_INIT_ZEROS, true),
                           n.text);
}

fv_value fv_graph_linear_with(fv_graph *g, fv_value x, fv_value weight, fv_value bias, const char *name) {
    if (!fv_build_usable(g)) return FV_NONE;
    if (!fv_build_valid(g, x, "a fully connected layer's input") ||
        !fv_build_valid(g, weight, "a fully connected layer's weight"))
        return FV_NONE;
    const fv_attributes attr = {.conv = {.groups = 1, .act_low = -(fv_real)INFINITY, .act_high = (fv_real)INFINITY}};
    const fv_value in[3] = {x, weight, bias};
    return fv_graph_node(g, &fv_op_linear, fv_build_name(g, name, "linear").text, in, bias == FV_NONE ? 2 : 3, 1,
                         &attr);
}

fv_value fv_graph_linear(fv_graph *g, fv_value x, int32_t out_features, bool bias, fv_init init, const char *name) {
    if (!fv_build_usable(g)) return FV_NONE;
    if (!fv_build_valid(g, x, "a fully connected layer's input")) return FV_NONE;
    const fv_layer_name n = fv_build_name(g, name, "linear");
    const fv_shape *in = &g->values[x].shape;
    int64_t features = in->rank > 1 ? in->dim[1] : 0;
    if (in->rank == 4) features *= in->dim[2] * in->dim[3];
    const int64_t shape[2] = {out_features, features};
    const fv_value w = fv_build_owned(g, n.text, "weight", 2, shape, init, true);
    const fv_value b = bias ? fv_build_owned(g, n.text, "bias", 1, shape, FV_INIT_ZEROS, true) : FV_NONE;
    return fv_graph_linear_with(g, x, w, b, n.text);
}

/* ---- pointwise and the rest ---- */

static fv_value unary(fv_graph *g, fv_value x, fv_unary kind, float a, float b, const char *name, const char *word) {
    if (!fv_build_usable(g) || !fv_build_valid(g, x, "a layer's input")) return FV_NONE;
    const fv_attributes attr = {.pointwise = {kind, a, b}};
    return fv_graph_node(g, &fv_op_unary, fv_build_name(g, name, word).text, &x, 1, 1, &attr);
}

fv_value fv_graph_relu(fv_graph *g, fv_value x, const char *name) {
    return unary(g, x, FV_UNARY_RELU, 0, 0, name, "relu");
}
fv_value fv_graph_sigmoid(fv_graph *g, fv_value x, const char *name) {
    return unary(g, x, FV_UNARY_SIGMOID, 0, 0, name, "sigmoid");
}
fv_value fv_graph_tanh(fv_graph *g, fv_value x, const char *name) {
    return unary(g, x, FV_UNARY_TANH, 0, 0, name, "tanh");
}
fv_value fv_graph_exp(fv_graph *g, fv_value x, const char *name) {
    return unary(g, x, FV_UNARY_EXP, 0, 0, name, "exp");
}
fv_value fv_graph_clip(fv_graph *g, fv_value x, float low, float high, const char *name) {
    return unary(g, x, FV_UNARY_CLAMP, low, high, name, "clip");
}
fv_value fv_graph_scale(fv_graph *g, fv_value x, float a, float b, const char *name) {
    return unary(g, x, FV_UNARY_LINEAR, a, b, name, "scale");
}

static fv_value binary(fv_graph *g, fv_value a, fv_value b, fv_binary kind, const char *name, const char *word) {
    if (!fv_build_usable(g) || !fv_build_valid(g, a, "a layer's first input") ||
        !fv_build_valid(g, b, "a layer's second input"))
        return FV_NONE;
    const fv_attributes attr = {.pointwise = {kind, 0, 0}};
    const fv_value in[2] = {a, b};
    return fv_graph_node(g, &fv_op_binary, fv_build_name(g, name, word).text, in, 2, 1, &attr);
}

fv_value fv_graph_add(fv_graph *g, fv_value a, fv_value b, const char *name) {
    return binary(g, a, b, FV_BINARY_ADD, name, "add");
}
fv_value fv_graph_subtract(fv_graph *g, fv_value a, fv_value b, const char *name) {
    return binary(g, a, b, FV_BINARY_SUB, name, "subtract");
}
fv_value fv_graph_multiply(fv_graph *g, fv_value a, fv_value b, const char *name) {
    return binary(g, a, b, FV_BINARY_MUL, name, "multiply");
}

fv_value fv_graph_gain_with(fv_graph *g, fv_value x, fv_value gain, const char *name) {
    if (!fv_build_usable(g) || !fv_build_valid(g, x, "a gain's input") || !fv_build_valid(g, gain, "a gain's factors"))
        return FV_NONE;
    const fv_value in[2] = {x, gain};
    return fv_graph_node(g, &fv_op_gain, fv_build_name(g, name, "gain").text, in, 2, 1, NULL);
}

fv_value fv_graph_gain(fv_graph *g, fv_value x, bool trainable, const char *name) {
    if (!fv_build_usable(g) || !fv_build_valid(g, x, "a gain's input")) return FV_NONE;
    const fv_layer_name n = fv_build_name(g, name, "gain");
    const int64_t channels = g->values[x].shape.rank > 1 ? g->values[x].shape.dim[1] : 0;
    const fv_value factors = fv_build_owned(g, n.text, "gain", 1, &channels, FV_INIT_ONES, trainable);
    return fv_graph_gain_with(g, x, factors, n.text);
}

fv_value fv_graph_flatten(fv_graph *g, fv_value x, const char *name) {
    if (!fv_build_usable(g) || !fv_build_valid(g, x, "a flatten's input")) return FV_NONE;
    return fv_graph_node(g, &fv_op_flatten, fv_build_name(g, name, "flatten").text, &x, 1, 1, NULL);
}

fv_value fv_graph_dropout(fv_graph *g, fv_value x, float ratio, const char *name) {
    if (!fv_build_usable(g) || !fv_build_valid(g, x, "a dropout's input")) return FV_NONE;
    fv_attributes attr = {.dropout = {ratio, 0}};
    for (size_t i = 0; i < g->node_count; i++) attr.dropout.stream += g->nodes[i].op == &fv_op_dropout;
    return fv_graph_node(g, &fv_op_dropout, fv_build_name(g, name, "dropout").text, &x, 1, 1, &attr);
}

fv_value fv_graph_softmax(fv_graph *g, fv_value x, const char *name) {
    if (!fv_build_usable(g) || !fv_build_valid(g, x, "a softmax's input")) return FV_NONE;
    return fv_graph_node(g, &fv_op_softmax, fv_build_name(g, name, "softmax").text, &x, 1, 1, NULL);
}
