/* Pooling and unpooling. */
#include "io/onnx_function.h"
#include "ops/pool_plan.h"

/* The name that the places of a max pooling have in the file: of the indices made from them, or of what they were made
 * from. */
static char *indices_name(fv_onnx_writer *w, fv_value positions) {
    const fv_graph *g = w->graph;
    const int32_t producer = g->values[positions].producer;
    if (producer >= 0 && g->nodes[producer].op == &fv_op_positions)
        return fv_onnx_value_name(w, g->nodes[producer].in[0]);
    for (size_t i = 0; i < g->node_count; i++)
        if (g->nodes[i].op == &fv_op_indices && g->nodes[i].in[0] == positions)
            return fv_onnx_value_name(w, g->nodes[i].out[0]);
    return fv_onnx_value_name(w, positions);
}

/* Explicit padding under which sizes rounded down are what they are rounded up: padding that counts as zero may grow.
 */
static fv_window_attr explicit_window(const fv_onnx_writer *w, const fv_node *source) {
    const fv_shape *x = &w->graph->values[source->in[0]].shape, *y = &w->graph->values[source->out[0]].shape;
    fv_window_attr a = source->attr.pool.window;
    a.padding = FV_PAD_EXPLICIT;
    for (int i = 1; i < 3 && source->attr.pool.ceil_mode; i++) {
        const int64_t extent = (int64_t)a.dilation[i] * (a.kernel[i] - 1) + 1;
        const int64_t after = (y->dim[1 + i] - 1) * a.stride[i] + extent - x->dim[1 + i] - a.pad_before[i];
        a.pad_after[i] = after > 0 ? (int32_t)after : 0;
    }
    return a;
}

static bool is_dilated(const fv_window_attr *a) { return a->dilation[1] != 1 || a->dilation[2] != 1; }

/* Sizes rounded up that come out larger for it. */
static bool needs_ceil(const fv_onnx_writer *w, const fv_node *source) {
    const fv_shape *x = &w->graph->values[source->in[0]].shape, *y = &w->graph->values[source->out[0]].shape;
    const fv_window_attr *a = &source->attr.pool.window;
    bool needed = false;
    for (int i = 1; i < 3 && source->attr.pool.ceil_mode; i++) {
        const int64_t extent = (int64_t)a->dilation[i] * (a->kernel[i] - 1) + 1;
        needed = needed || (x->dim[1 + i] + a->pad_before[i] + a->pad_after[i] - extent) / a->stride[i] + 1 != y->dim[1 + i];
    }
    return needed;
}

static void write_lp(fv_onnx_writer *w, FvOnnx__Node *n, const fv_node *source) {
    const fv_pool_attr *a = &source->attr.pool;
    const fv_window_attr window = a->ceil_mode ? explicit_window(w, source) : a->window;
    const int64_t p = (int64_t)a->p;
    const bool dilated = !a->global && is_dilated(&window);
    if ((fv_real)p != a->p) {
        w->status = fv_fail(FV_ERR_UNSUPPORTED, "node \"%.100s\": ONNX has no Lp pooling with p = %g", source->name,
                            (double)a->p);
        return;
    }
    if (dilated) fv_onnx_need(w, 18);
    fv_onnx_make_int(w, n, "p", p);
    if (a->global) return;
    fv_onnx_make_ints(w, n, "kernel_shape", 2, window.kernel + 1);
    fv_onnx_make_steps(w, n, &window, dilated);
}

/* A depthwise convolution whose weights are the window's. */
static void write_weighted(fv_onnx_writer *w, const fv_node *source) {
    const fv_window_attr a = explicit_window(w, source);
    const int64_t maps = w->graph->values[source->in[0]].shape.dim[1], count = (int64_t)a.kernel[1] * a.kernel[2];
    FvOnnx__Node *n = fv_onnx_make_call(w, "weighted_pool", source->name, 1, fv_onnx_value_name(w, source->out[0]));
    if (!n) return;
    n->input[0] = fv_onnx_value_name(w, source->in[0]);
    fv_onnx_make_window(w, n, &a, a.kernel);
    fv_onnx_make_float(w, n, "sigma", (float)source->attr.pool.sigma);
    fv_onnx_make_int(w, n, "maps", maps);
    FvOnnx__Function *f = fv_onnx_define_function(w, n, "x", "y", true);
    fv_real *weights = f ? fv_onnx_take(w, (size_t)(count + a.kernel[1] + a.kernel[2]) * sizeof *weights) : NULL;
    float *values = weights ? fv_onnx_take(w, (size_t)count * sizeof *values) : NULL;
    if (!values) return;
    fv_pool_weights(&w->context->kernels, &source->attr.pool, weights, weights + count, weights + count + a.kernel[1]);
    for (int64_t i = 0; i < count; i++) values[i] = (float)weights[i];
    const int64_t window[4] = {1, 1, a.kernel[1], a.kernel[2]}, repeat[4] = {maps, 1, 1, 1};
    fv_onnx_body_tensor(w, f, "window", 4, window, FV_ONNX_FLOAT, values, (size_t)count * sizeof *values);
    fv_onnx_body_ints(w, f, "repeat", 4, repeat);
    fv_onnx_body(w, f, "Expand", "window repeat", "weight");
    FvOnnx__Node *conv = fv_onnx_body(w, f, "Conv", "x weight", "y");
    if (!conv) return;
    fv_onnx_make_window(w, conv, &a, a.kernel);
    fv_onnx_make_int(w, conv, "group", maps);
}

/* Every r-th row and t-th column. */
static void write_stride(fv_onnx_writer *w, const fv_node *source) {
    const int64_t starts[2] = {0, 0}, ends[2] = {INT64_MAX, INT64_MAX}, axes[2] = {2, 3};
    const int64_t steps[2] = {source->attr.pool.window.stride[1], source->attr.pool.window.stride[2]};
    FvOnnx__Node *n = fv_onnx_make_node(w, "Slice", source->name, 5, fv_onnx_value_name(w, source->out[0]));
    if (!n) return;
    n->input[0] = fv_onnx_value_name(w, source->in[0]);
    n->input[1] = fv_onnx_make_list(w, n->output[0], "starts", 2, starts);
    n->input[2] = fv_onnx_make_list(w, n->output[0], "ends", 2, ends);
    n->input[3] = fv_onnx_make_list(w, n->output[0], "axes", 2, axes);
    n->input[4] = fv_onnx_make_list(w, n->output[0], "steps", 2, steps);
}

static void write_pool(fv_onnx_writer *w, const fv_node *source) {
    static const char *const names[3][2] = {
        {"MaxPool", "GlobalMaxPool"}, {"AveragePool", "GlobalAveragePool"}, {"LpPool", "GlobalLpPool"}};
    const fv_pool_attr *a = &source->attr.pool;
    if (a->kind == FV_POOL_WEIGHTED || a->kind == FV_POOL_STRIDE) {
        if (a->kind == FV_POOL_WEIGHTED) write_weighted(w, source);
        if (a->kind == FV_POOL_STRIDE) write_stride(w, source);
        return;
    }
    /* with indices also a global window is written out: GlobalMaxPool has none */
    FvOnnx__Node *n = fv_onnx_make_node(w, names[a->kind][a->global && !a->places], source->name, 1,
                                        fv_onnx_value_name(w, source->out[0]));
    if (!n) return;
    n->input[0] = fv_onnx_value_name(w, source->in[0]);
    if (a->kind == FV_POOL_LP) {
        write_lp(w, n, source);
        return;
    }
    if (a->places) fv_onnx_make_output(w, n, indices_name(w, source->out[1]));
    if (a->global && !a->places) return;
    fv_onnx_make_ints(w, n, "kernel_shape", 2, a->window.kernel + 1);
    if (a->kind == FV_POOL_AVERAGE && is_dilated(&a->window)) fv_onnx_need(w, 19);
    fv_onnx_make_steps(w, n, &a->window, a->kind == FV_POOL_MAX || is_dilated(&a->window));
    fv_onnx_make_int(w, n, "ceil_mode", needs_ceil(w, source));
    if (a->kind == FV_POOL_AVERAGE) fv_onnx_make_int(w, n, "count_include_pad", a->count_padding);
}

/* Attributes that make (h,w) to (height,width), so that the file needs no output_shape, which would fix the batch. */
static void write_unpool(fv_onnx_writer *w, const fv_node *source) {
    const fv_shape *x = &w->graph->values[source->in[0]].shape;
    const int32_t size[2] = {source->attr.map.height, source->attr.map.width};
    fv_window_attr a = {.padding = FV_PAD_EXPLICIT};
    FvOnnx__Node *n = fv_onnx_make_node(w, "MaxUnpool", source->name, 2, fv_onnx_value_name(w, source->out[0]));
    if (!n) return;
    n->input[0] = fv_onnx_value_name(w, source->in[0]);
    n->input[1] = indices_name(w, source->in[1]);
    for (int i = 0; i < 2; i++) {
        const int32_t pooled = (int32_t)x->dim[2 + i], stride = size[i] < pooled ? 1 : size[i] / pooled;
        const int32_t kernel = size[i] - (pooled - 1) * stride;
        a.stride[1 + i] = stride;
        a.kernel[1 + i] = kernel > 0 ? kernel : 1;
        a.pad_after[1 + i] = kernel > 0 ? 0 : 1 - kernel;
    }
    fv_onnx_make_ints(w, n, "kernel_shape", 2, a.kernel + 1);
    fv_onnx_make_steps(w, n, &a, false);
}

/* Indices are an output of the pooling, and an input of the unpooling, in the file. */
static void write_nothing(fv_onnx_writer *w, const fv_node *source) { (void)w, (void)source; }

const fv_onnx_write_row fv_onnx_write_pool[] = {
    {&fv_op_pool, write_pool},
    {&fv_op_unpool, write_unpool},
    {&fv_op_indices, write_nothing},
    {&fv_op_positions, write_nothing},
    {NULL, NULL},
};
