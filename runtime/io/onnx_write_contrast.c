/* Contrast normalization: brightness is ONNX's LRN, the others are functions of domain "fovea". */
#include "io/onnx_function.h"

#include <math.h>

/* ---- pieces of bodies ---- */

/* One pass of the window over maps (N,1,H,W). */
static void pass(fv_onnx_writer *w, FvOnnx__Function *f, const fv_contrast_attr *a, bool down,
                 const char *in_and_weight, const char *out) {
    const int32_t before = (a->window - 1) / 2, after = a->window / 2;
    const int32_t pads[4] = {down ? before : 0, down ? 0 : before, down ? after : 0, down ? 0 : after};
    fv_onnx_make_ints(w, fv_onnx_body(w, f, "Conv", in_and_weight, out), "pads", 4, pads);
}

static void body_weights(fv_onnx_writer *w, FvOnnx__Function *f, const fv_contrast_attr *a) {
    const size_t count = (size_t)a->window;
    const int64_t down[4] = {1, 1, a->window, 1}, along[4] = {1, 1, 1, a->window};
    fv_real weight[FV_CONTRAST_WINDOW];
    float *values = fv_onnx_take(w, count * sizeof *values);
    if (!values) return;
    fv_contrast_weights(a->window, a->box ? (fv_real)INFINITY : a->sigma, weight);
    for (size_t i = 0; i < count; i++) values[i] = (float)weight[i];
    fv_onnx_body_tensor(w, f, "down", 4, down, FV_ONNX_FLOAT, values, count * sizeof *values);
    fv_onnx_body_tensor(w, f, "along", 4, along, FV_ONNX_FLOAT, values, count * sizeof *values);
}

/* "mean", the window's mean of "values" (N,1,H,W): the weighted sum over the sum of the weights inside. */
static void body_blur(fv_onnx_writer *w, FvOnnx__Function *f, const fv_contrast_attr *a) {
    static const float one = 1;
    const int64_t single = 1;
    body_weights(w, f, a);
    fv_onnx_body(w, f, "Shape", "values", "shape");
    FvOnnx__Attribute *value =
        fv_onnx_make_attribute(w, fv_onnx_body(w, f, "ConstantOfShape", "shape", "ones"), "value", FV_ONNX_ATTR_TENSOR);
    if (value) value->t = fv_onnx_new_tensor(w, NULL, 1, &single, FV_ONNX_FLOAT, &one, sizeof one);
    pass(w, f, a, true, "values down", "summed_down");
    pass(w, f, a, false, "summed_down along", "summed");
    pass(w, f, a, true, "ones down", "inside_down");
    pass(w, f, a, false, "inside_down along", "inside");
    fv_onnx_body(w, f, "Div", "summed inside", "mean");
}

static void body_mean(fv_onnx_writer *w, FvOnnx__Function *f, const char *in, const char *out, size_t count,
                      const int32_t *axes) {
    fv_onnx_body_reduce(w, f, "ReduceMean", in, out, count, axes);
}

/* "values" (N,1,H,W) of x (N,C,H,W): the mean over maps, or the maps as images of their own. */
static void body_values(fv_onnx_writer *w, FvOnnx__Function *f, const fv_contrast_attr *a, const char *x) {
    static const int32_t maps[1] = {1};
    static const int64_t images[2] = {-1, 1};
    if (a->across) {
        body_mean(w, f, x, "values", 1, maps);
        return;
    }
    fv_onnx_make_int(w, fv_onnx_body(w, f, "Shape", "x", "size"), "start", 2);
    fv_onnx_body_ints(w, f, "images", 2, images);
    fv_onnx_make_int(w, fv_onnx_body(w, f, "Concat", "images size", "single"), "axis", 0);
    char *inputs = fv_onnx_text(w, "%s single", x, 0);
    if (inputs) fv_onnx_body(w, f, "Reshape", inputs, "values");
}

/* What was made of "values", in a shape that fits x. */
static void body_back(fv_onnx_writer *w, FvOnnx__Function *f, const fv_contrast_attr *a, const char *in,
                      const char *out) {
    if (a->across) {
        fv_onnx_body(w, f, "Identity", in, out);
        return;
    }
    char *inputs = fv_onnx_text(w, "%s whole", in, 0);
    fv_onnx_body(w, f, "Shape", "x", "whole");
    if (inputs) fv_onnx_body(w, f, "Reshape", inputs, out);
}

static FvOnnx__Function *define(fv_onnx_writer *w, const fv_node *source, const char *name) {
    const fv_contrast_attr *a = &source->attr.contrast;
    FvOnnx__Node *n = fv_onnx_make_call(w, name, source->name, 1, fv_onnx_value_name(w, source->out[0]));
    if (!n) return NULL;
    n->input[0] = fv_onnx_value_name(w, source->in[0]);
    fv_onnx_make_int(w, n, "window", a->window);
    fv_onnx_make_float(w, n, "sigma", (float)a->sigma);
    fv_onnx_make_int(w, n, "box", a->box);
    fv_onnx_make_int(w, n, "across_maps", a->across);
    return fv_onnx_define_function(w, n, "x", "y", true);
}

static void write_subtractive(fv_onnx_writer *w, const fv_node *source) {
    const fv_contrast_attr *a = &source->attr.contrast;
    FvOnnx__Function *f = define(w, source, "subtractive_norm");
    if (!f) return;
    body_values(w, f, a, "x");
    body_blur(w, f, a);
    body_back(w, f, a, "mean", "means");
    fv_onnx_body(w, f, "Sub", "x means", "y");
}

static void write_divisive(fv_onnx_writer *w, const fv_node *source) {
    static const int32_t pixels[2] = {2, 3};
    const fv_contrast_attr *a = &source->attr.contrast;
    FvOnnx__Function *f = define(w, source, "divisive_norm");
    if (!f) return;
    fv_onnx_body(w, f, "Mul", "x x", "squares");
    body_values(w, f, a, "squares");
    body_blur(w, f, a);
    fv_onnx_body(w, f, "Sqrt", "mean", "spread");
    body_mean(w, f, "spread", "c", 2, pixels);
    fv_onnx_body(w, f, "Max", "spread c", "largest");
    body_back(w, f, a, "largest", "divisor");
    fv_onnx_body_float(w, f, "zero", 0);
    fv_onnx_body(w, f, "Div", "x divisor", "quotient");
    fv_onnx_body(w, f, "Equal", "divisor zero", "nothing");
    fv_onnx_body(w, f, "Where", "nothing zero quotient", "y");
}

/* ---- LRN ---- */

/* The alpha that a reader's division by the size turns into lambda again, where there is one: always for a power of two. */
static float alpha_of(float lambda, int64_t size) {
    const float alpha = lambda * (float)size, near[3] = {alpha, nextafterf(alpha, INFINITY), nextafterf(alpha, 0)};
    for (int i = 0; i < 3; i++)
        if (near[i] / (float)size == lambda) return near[i];
    return alpha;
}

static void write_brightness(fv_onnx_writer *w, const fv_node *source) {
    const fv_brightness_attr *a = &source->attr.brightness;
    const int64_t channels = w->graph->values[source->in[0]].shape.dim[1];
    int64_t size = a->maps ? a->maps : 1;
    while (!a->maps && size < 2 * channels - 1) size *= 2; /* all maps: every one is reached from every one */
    FvOnnx__Node *n = fv_onnx_make_node(w, "LRN", source->name, 1, fv_onnx_value_name(w, source->out[0]));
    if (!n) return;
    n->input[0] = fv_onnx_value_name(w, source->in[0]);
    fv_onnx_make_float(w, n, "alpha", alpha_of((float)a->lambda, size));
    fv_onnx_make_float(w, n, "beta", (float)a->mu);
    fv_onnx_make_float(w, n, "bias", (float)a->kappa);
    fv_onnx_make_int(w, n, "size", size);
}

const fv_onnx_write_row fv_onnx_write_contrast[] = {
    {&fv_op_subtractive_norm, write_subtractive},
    {&fv_op_divisive_norm, write_divisive},
    {&fv_op_brightness_norm, write_brightness},
    {NULL, NULL},
};
