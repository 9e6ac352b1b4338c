/* Normalization. */
#include "io/onnx_internal.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* Input i: a constant of one value a channel. */
static fv_status channel_values(const fv_onnx_reader *r, const FvOnnx__Node *n, size_t i, const char *what,
                                int64_t channels, const fv_onnx_name **out) {
    FV_FORWARD(fv_onnx_input(r, n, i, out));
    FV_RETURN_IF(!*out, FV_ERR_FORMAT, "node \"%.100s\" (%.60s) lacks its %s", n->name ? n->name : "", n->op_type,
                 what);
    FV_RETURN_IF(!(*out)->constant, FV_ERR_UNSUPPORTED, "node \"%.100s\" (%.60s): the %s must be a constant",
                 n->name ? n->name : "", n->op_type, what);
    FV_RETURN_IF((int64_t)(*out)->tensor.count != channels, FV_ERR_SHAPE,
                 "node \"%.100s\" (%.60s): the %s has %zu values for %lld channels", n->name ? n->name : "", n->op_type,
                 what, (*out)->tensor.count, (long long)channels);
    return FV_OK;
}

/* x, of 2 or 4 axes, and how many channels it has. */
static fv_status normalized(const fv_onnx_reader *r, const FvOnnx__Node *n, fv_value *x, int64_t *channels) {
    *channels = 0;
    FV_FORWARD(fv_onnx_value(r, n, 0, x));
    const fv_shape *shape = &fv_emit_info(r->graph, *x)->shape;
    if (shape->rank != 2 && shape->rank != 4) return fv_onnx_refuse(n, "only (N,F) and (N,C,H,W) are normalized");
    *channels = shape->dim[1];
    return FV_OK;
}

static fv_status affine(fv_onnx_reader *r, const FvOnnx__Node *n, int64_t channels, fv_value out[2]) {
    static const char *const what[2] = {"scale", "bias"};
    for (size_t i = 0; i < 2; i++) {
        const fv_onnx_name *entry;
        FV_FORWARD(channel_values(r, n, 1 + i, what[i], channels, &entry));
        FV_FORWARD(fv_onnx_parameter(r, entry, 1, &channels, &out[i]));
    }
    return FV_OK;
}

/* ---- batch normalization ---- */

static size_t uses_of(const fv_onnx_reader *r, const char *name) {
    size_t uses = 0;
    const FvOnnx__Graph *g = r->model->graph;
    for (size_t i = 0; i < g->n_node; i++)
        for (size_t k = 0; k < g->node[i]->n_input; k++) uses += strcmp(g->node[i]->input[k], name) == 0;
    return uses;
}

/* Training writes running moments: a constant that other inputs read as well (exporters merge equal ones) is copied. */
static fv_status running(fv_onnx_reader *r, const FvOnnx__Node *n, const fv_onnx_name *entry, const char *suffix,
                         int64_t channels, fv_value *out) {
    if (uses_of(r, entry->name) == 1) return fv_onnx_parameter(r, entry, 1, &channels, out);
    char name[512];
    float *values;
    FV_RETURN_IF(snprintf(name, sizeof name, "%s.%s", fv_onnx_node_name(n) ? fv_onnx_node_name(n) : "", suffix) >=
                     (int)sizeof name,
                 FV_ERR_LIMIT, "node \"%.100s\" (%.60s): its name is too long", n->name ? n->name : "", n->op_type);
    FV_FORWARD(fv_alloc_array(r->context, entry->tensor.count + 1, sizeof *values, entry->name, (void **)&values));
    for (size_t i = 0; i < entry->tensor.count; i++) values[i] = fv_onnx_tensor_float(&entry->tensor, i);
    *out = fv_graph_parameter(r->graph, name, 1, &channels, values, FV_INIT_ZEROS, false);
    fv_release(r->context, values);
    return fv_graph_status(r->graph);
}

/* Outputs besides the first, which training files have: nothing may read them. */
static fv_status moments_unread(const fv_onnx_reader *r, const FvOnnx__Node *n) {
    const FvOnnx__Graph *g = r->model->graph;
    for (size_t i = 1; i < n->n_output; i++) {
        bool read = uses_of(r, n->output[i]) > 0;
        for (size_t k = 0; k < g->n_output; k++)
            read = read || (g->output[k]->name && strcmp(g->output[k]->name, n->output[i]) == 0);
        FV_RETURN_IF(*n->output[i] && read, FV_ERR_UNSUPPORTED,
                     "node \"%.100s\" (%.60s): its moments \"%.100s\" are read, which fovea keeps to itself",
                     n->name ? n->name : "", n->op_type, n->output[i]);
    }
    return FV_OK;
}

fv_status fv_onnx_check_variance(const FvOnnx__Node *n, const fv_onnx_tensor *t, float epsilon) {
    FV_RETURN_IF(!(epsilon >= 0) || isinf(epsilon), FV_ERR_ARGUMENT, "node \"%.100s\" (%.60s): epsilon is %g",
                 n->name ? n->name : "", n->op_type, (double)epsilon);
    for (size_t i = 0; i < t->count; i++)
        FV_RETURN_IF(fv_onnx_tensor_float(t, i) + epsilon <= 0, FV_ERR_FORMAT,
                     "node \"%.100s\" (%.60s): the variance of channel %zu is %g, with epsilon %g not above 0",
                     n->name ? n->name : "", n->op_type, i, (double)fv_onnx_tensor_float(t, i), (double)epsilon);
    return FV_OK;
}

static fv_status batch_norm(fv_onnx_reader *r, const FvOnnx__Node *n, bool unbiased) {
    const fv_onnx_name *mean, *variance;
    fv_value x, given[2], moments[2];
    int64_t channels;
    FV_FORWARD(normalized(r, n, &x, &channels));
    FV_FORWARD(moments_unread(r, n));
    if (fv_onnx_attribute_int(n, "spatial", 1) != 1) return fv_onnx_refuse(n, "spatial 0 is not read");
    const fv_norm_settings s = {.epsilon = fv_onnx_attribute_float(n, "epsilon", 1e-5f),
                                .momentum = 1 - fv_onnx_attribute_float(n, "momentum", 0.9f),
                                .unbiased_running_variance = unbiased,
                                .batch_moments = fv_onnx_attribute_int(n, "training_mode", 0) != 0};
    FV_FORWARD(affine(r, n, channels, given));
    FV_FORWARD(channel_values(r, n, 3, "mean", channels, &mean));
    FV_FORWARD(channel_values(r, n, 4, "variance", channels, &variance));
    FV_FORWARD(fv_onnx_check_variance(n, &variance->tensor, s.epsilon));
    FV_FORWARD(running(r, n, mean, "running_mean", channels, &moments[0]));
    FV_FORWARD(running(r, n, variance, "running_variance", channels, &moments[1]));
    FvOnnx__Node first = *n;
    first.n_output = fv_min_size(n->n_output, 1);
    return fv_onnx_done(
        r, &first,
        fv_graph_batch_norm_with(r->graph, x, given[0], given[1], moments[0], moments[1], &s, fv_onnx_node_name(n)));
}

static fv_status read_batch_norm(fv_onnx_reader *r, const FvOnnx__Node *n) { return batch_norm(r, n, false); }
static fv_status read_unbiased_batch_norm(fv_onnx_reader *r, const FvOnnx__Node *n) { return batch_norm(r, n, true); }

/* ---- groups ---- */

static fv_status group_norm(fv_onnx_reader *r, const FvOnnx__Node *n, fv_value x, const fv_value given[2],
                            int64_t groups) {
    FV_RETURN_IF(groups < 1 || groups > INT32_MAX, FV_ERR_ARGUMENT, "node \"%.100s\" (%.60s): %lld groups",
                 n->name ? n->name : "", n->op_type, (long long)groups);
    return fv_onnx_done(r, n,
                        fv_graph_group_norm_with(r->graph, x, given[0], given[1], (int32_t)groups,
                                                 fv_onnx_attribute_float(n, "epsilon", 1e-5f), fv_onnx_node_name(n)));
}

static fv_status read_instance_norm(fv_onnx_reader *r, const FvOnnx__Node *n) {
    fv_value x, given[2];
    int64_t channels;
    FV_FORWARD(normalized(r, n, &x, &channels));
    if (fv_emit_info(r->graph, x)->shape.rank != 4) return fv_onnx_refuse(n, "only maps (N,C,H,W) are read");
    FV_FORWARD(affine(r, n, channels, given));
    return group_norm(r, n, x, given, channels);
}

/* Also of domain "fovea". Before operator set 21 the standard one had a scale a group. */
static fv_status read_group_norm(fv_onnx_reader *r, const FvOnnx__Node *n) {
    fv_value x, given[2];
    int64_t channels;
    FV_FORWARD(normalized(r, n, &x, &channels));
    if (strcmp(n->op_type, "GroupNormalization") == 0 && r->opset < 21)
        return fv_onnx_refuse(n, "it is read from operator set 21 on");
    FV_FORWARD(affine(r, n, channels, given));
    return group_norm(r, n, x, given, fv_onnx_attribute_int(n, "num_groups", 0));
}

/* Of (N,F) over F, of maps over C, H and W with a scale (C,1,1); the bias may be missing. */
static fv_status read_layer_norm(fv_onnx_reader *r, const FvOnnx__Node *n) {
    const fv_onnx_name *bias, *scale;
    fv_value x, given[2];
    int64_t channels;
    char name[512];
    FV_FORWARD(normalized(r, n, &x, &channels));
    const int32_t rank = fv_emit_info(r->graph, x)->shape.rank;
    const int64_t axis = fv_onnx_attribute_int(n, "axis", -1);
    if ((axis < 0 ? axis + rank : axis) != 1)
        return fv_onnx_refuse(n, "only axis 1, everything but the batch, is read");
    FV_FORWARD(fv_onnx_input(r, n, 1, &scale));
    if (rank == 4 && scale && scale->constant &&
        (scale->tensor.shape.rank != 3 || scale->tensor.shape.dim[0] != (int64_t)scale->tensor.count))
        return fv_onnx_refuse(n, "only a scale (C,1,1), one a map, is read");
    FV_FORWARD(fv_onnx_input(r, n, 2, &bias));
    if (bias) {
        FV_FORWARD(affine(r, n, channels, given));
        return group_norm(r, n, x, given, 1);
    }
    FV_FORWARD(channel_values(r, n, 1, "scale", channels, &scale));
    FV_FORWARD(fv_onnx_parameter(r, scale, 1, &channels, &given[0]));
    snprintf(name, sizeof name, "%.480s.bias", fv_onnx_node_name(n) ? fv_onnx_node_name(n) : "");
    given[1] = fv_graph_parameter(r->graph, name, 1, &channels, NULL, FV_INIT_ZEROS, true);
    FV_FORWARD(fv_graph_status(r->graph));
    return group_norm(r, n, x, given, 1);
}

const fv_onnx_read_row fv_onnx_read_norm[] = {
    {"BatchNormalization", read_batch_norm},
    {"InstanceNormalization", read_instance_norm},
    {"GroupNormalization", read_group_norm},
    {"LayerNormalization", read_layer_norm},
    {NULL, NULL},
};

const fv_onnx_read_row fv_onnx_read_norm_functions[] = {
    {"batch_normalization_unbiased", read_unbiased_batch_norm},
    {"group_normalization", read_group_norm},
    {NULL, NULL},
};
