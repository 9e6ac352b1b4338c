/* Normalization. ONNX's running variance is the biased one, and GroupNormalization came after operator set 17: the others are
 * functions. */
#include "io/onnx_function.h"

static void inputs_of(fv_onnx_writer *w, FvOnnx__Node *n, const fv_node *source) {
    n->input[0] = fv_onnx_value_name(w, source->in[0]);
    for (int32_t i = 1; i < source->in_count; i++)
        fv_onnx_make_parameter(w, n, (size_t)i, source->in[i], 1, w->graph->values[source->in[i]].shape.dim, false);
    fv_onnx_make_float(w, n, "epsilon", (float)source->attr.norm.epsilon);
}

/* The outputs that training_mode has. */
static void add_moments(fv_onnx_writer *w, FvOnnx__Node *n) {
    char **outputs = fv_onnx_take(w, 3 * sizeof *outputs);
    if (!outputs) return;
    outputs[0] = n->output[0];
    outputs[1] = fv_onnx_text(w, "%s.running_mean", n->output[0], 0);
    outputs[2] = fv_onnx_text(w, "%s.running_variance", n->output[0], 0);
    n->output = outputs;
    n->n_output = 3;
}

static void write_batch_norm(fv_onnx_writer *w, const fv_node *source) {
    const bool unbiased = source->attr.norm.unbiased;
    char *out = fv_onnx_value_name(w, source->out[0]);
    FvOnnx__Node *n = unbiased ? fv_onnx_make_call(w, "batch_normalization_unbiased", source->name, 5, out)
                               : fv_onnx_make_node(w, "BatchNormalization", source->name, 5, out);
    if (!n) return;
    inputs_of(w, n, source);
    fv_onnx_make_float(w, n, "momentum", 1 - (float)source->attr.norm.momentum);
    if (source->attr.norm.batch_moments) fv_onnx_make_int(w, n, "training_mode", 1);
    if (source->attr.norm.batch_moments && !unbiased) add_moments(w, n);
    FvOnnx__Function *f = unbiased ? fv_onnx_define_function(w, n, "x scale bias mean variance", "y", false) : NULL;
    if (!f) return;
    FvOnnx__Node *body = fv_onnx_body(w, f, "BatchNormalization", "x scale bias mean variance",
                                      source->attr.norm.batch_moments ? "y moved_mean moved_variance" : "y");
    fv_onnx_make_reference(w, body, "epsilon", FV_ONNX_ATTR_FLOAT, "epsilon");
    fv_onnx_make_reference(w, body, "momentum", FV_ONNX_ATTR_FLOAT, "momentum");
    if (source->attr.norm.batch_moments) fv_onnx_make_reference(w, body, "training_mode", FV_ONNX_ATTR_INT, "training_mode");
}

/* Each group as one map of an image: instance normalization without scale, then scale and bias a channel. */
static void define_group_norm(fv_onnx_writer *w, FvOnnx__Node *call, int32_t groups, float epsilon, bool maps) {
    FvOnnx__Function *f = fv_onnx_define_function(w, call, "x scale bias", maps ? "y" : "rows", true);
    float *ones = fv_onnx_take(w, 2 * (size_t)groups * sizeof *ones);
    if (!f || !ones) return;
    const char *y = maps ? "y" : "rows";
    const int64_t split[3] = {0, groups, -1}, map[3] = {-1, 1, 1}, count = groups;
    for (int32_t i = 0; i < groups; i++) ones[i] = 1;
    fv_onnx_body_ints(w, f, "split", 3, split);
    fv_onnx_body_ints(w, f, "map", maps ? 3 : 1, map);
    fv_onnx_body_tensor(w, f, "one", 1, &count, FV_ONNX_FLOAT, ones, (size_t)groups * sizeof *ones);
    fv_onnx_body_tensor(w, f, "zero", 1, &count, FV_ONNX_FLOAT, ones + groups, (size_t)groups * sizeof *ones);
    fv_onnx_body(w, f, "Reshape", "x split", "grouped");
    fv_onnx_make_float(w, fv_onnx_body(w, f, "InstanceNormalization", "grouped one zero", "normal"), "epsilon", epsilon);
    fv_onnx_body(w, f, "Shape", "x", "shape");
    fv_onnx_body(w, f, "Reshape", "normal shape", "normalized");
    fv_onnx_body(w, f, "Reshape", "scale map", "factors");
    fv_onnx_body(w, f, "Reshape", "bias map", "addends");
    fv_onnx_body(w, f, "Mul", "normalized factors", "scaled");
    fv_onnx_body(w, f, "Add", "scaled addends", y);
}

static void write_group_norm(fv_onnx_writer *w, const fv_node *source) {
    const fv_shape *x = &w->graph->values[source->in[0]].shape;
    const int32_t groups = source->attr.norm.groups;
    const bool maps = x->rank == 4, instance = maps && groups == x->dim[1], layer = !maps && groups == 1;
    char *out = fv_onnx_value_name(w, source->out[0]);
    FvOnnx__Node *n = instance || layer
                          ? fv_onnx_make_node(w, instance ? "InstanceNormalization" : "LayerNormalization", source->name, 3, out)
                          : fv_onnx_make_call(w, "group_normalization", source->name, 3, out);
    if (!n) return;
    inputs_of(w, n, source);
    if (layer) fv_onnx_make_int(w, n, "axis", 1);
    if (instance || layer) return;
    fv_onnx_make_int(w, n, "num_groups", groups);
    define_group_norm(w, n, groups, (float)source->attr.norm.epsilon, maps);
}

const fv_onnx_write_row fv_onnx_write_norm[] = {
    {&fv_op_batch_norm, write_batch_norm},
    {&fv_op_group_norm, write_group_norm},
    {NULL, NULL},
};
