/* Convolution, pooling and unpooling of 1 to 3 spatial axes. */
#include "io/onnx_write_nd.h"
#include "ops/nd_pointwise.h"
#include "ops/nd_window.h"

#include <string.h>

static void make_steps(fv_onnx_writer *w, FvOnnx__Node *n, const fv_nd_window *at, bool dilations) {
    int64_t pads[2 * FV_ND_SPATIAL];
    for (int32_t i = 0; i < at->axes; i++) {
        pads[i] = at->before[i];
        pads[at->axes + i] = at->after[i];
    }
    fv_onnx_list_attribute(w, n, "kernel_shape", at->axes, at->kernel);
    fv_onnx_list_attribute(w, n, "strides", at->axes, at->stride);
    if (dilations) fv_onnx_list_attribute(w, n, "dilations", at->axes, at->dilation);
    fv_onnx_list_attribute(w, n, "pads", 2 * at->axes, pads);
}

static bool is_dilated(const fv_nd_window *at) {
    for (int32_t i = 0; i < at->axes; i++)
        if (at->dilation[i] != 1) return true;
    return false;
}

/* ---- convolution of whole numbers ---- */

/* v = x of 8 bits as int32, less its zero point (FV_NONE: none). */
typedef struct centred {
    fv_value x, zero;
} centred;

static const fv_node *maker(const fv_graph *g, fv_value v, const fv_op *op) {
    const int32_t producer = g->values[v].producer;
    return producer >= 0 && g->nodes[producer].op == op ? &g->nodes[producer] : NULL;
}

static bool small_of(const fv_graph *g, fv_value v, fv_value *x) {
    const fv_node *cast = maker(g, v, &fv_op_nd_cast);
    if (!cast) return false;
    *x = cast->in[0];
    return g->values[*x].dtype == FV_U8 || g->values[*x].dtype == FV_I8;
}

/* zeros: zero points that one tensor may have, one, or one for each of its first axis. */
static bool centred_of(const fv_graph *g, fv_value v, bool several, centred *out) {
    const fv_node *difference = maker(g, v, &fv_op_nd_binary);
    *out = (centred){FV_NONE, FV_NONE};
    if (!difference) return small_of(g, v, &out->x);
    if (difference->attr.nd.kind != FV_ND_SUB || !small_of(g, difference->in[0], &out->x)) return false;
    if (!small_of(g, difference->in[1], &out->zero) || g->values[out->x].dtype != g->values[out->zero].dtype)
        return false;
    const fv_shape *x = &g->values[out->x].shape, *zero = &g->values[out->zero].shape;
    const bool single = zero->rank == 0 || (zero->rank == 1 && zero->dim[0] == 1);
    return single || (several && zero->rank == 1 && difference->attr.nd.mode == x->rank - 1);
}

/* ONNX has no convolution of int32: it is one of 8 bits with zero points, and a sum with the bias. */
static void write_conv_integer(fv_onnx_writer *w, const fv_node *source, const fv_nd_window *at) {
    const bool bias = source->in_count > 2 && source->in[2] != FV_NONE;
    char *out = fv_onnx_value_name(w, source->out[0]), *sum = bias ? fv_onnx_text(w, "%s.sum", out, 0) : out;
    centred x, weights;
    if (!centred_of(w->graph, source->in[0], false, &x) || !centred_of(w->graph, source->in[1], true, &weights)) {
        fv_onnx_cannot(w, source, "a convolution of int32 that does not come from 8 bits");
        return;
    }
    w->absorbed = true;
    char *names[4] = {fv_onnx_operand(w, x.x), fv_onnx_operand(w, weights.x), fv_onnx_operand(w, x.zero),
                      fv_onnx_operand(w, weights.zero)};
    FvOnnx__Node *n = fv_onnx_make_node(w, "ConvInteger", bias ? sum : source->name, 4, sum);
    if (!n) return;
    memcpy(n->input, names, sizeof names);
    make_steps(w, n, at, true);
    fv_onnx_make_int(w, n, "group", source->attr.nd.kind);
    if (bias) fv_onnx_step(w, source, "Add", sum, fv_onnx_operand_before(w, source->in[2], at->axes, out), NULL);
}

static void write_conv(fv_onnx_writer *w, const fv_node *source) {
    const fv_nd_window at = fv_nd_window_get(&source->attr.nd);
    if (w->graph->values[source->in[0]].dtype == FV_I32) {
        write_conv_integer(w, source, &at);
        return;
    }
    FvOnnx__Node *n = fv_onnx_begin(w, source, "Conv", (size_t)source->in_count);
    if (!n) return;
    make_steps(w, n, &at, true);
    fv_onnx_make_int(w, n, "group", source->attr.nd.kind);
}

/* The output's sizes as what is added at its end, or where that is no padding, as they are. */
static void write_conv_transpose(fv_onnx_writer *w, const fv_node *source) {
    fv_nd_window at = fv_nd_window_get(&source->attr.nd);
    const fv_shape *x = &w->graph->values[source->in[0]].shape;
    int64_t more[FV_ND_SPATIAL];
    bool padding = true, lower = false;
    FvOnnx__Node *n = fv_onnx_begin(w, source, "ConvTranspose", (size_t)source->in_count);
    if (!n) return;
    for (int32_t i = 0; i < at.axes; i++) {
        const int64_t reach = (x->dim[2 + i] - 1) * at.stride[i] + at.dilation[i] * (at.kernel[i] - 1) + 1;
        more[i] = source->attr.nd.c[4 + i] - (reach - at.before[i] - at.after[i]);
        padding = padding && more[i] >= 0 && (more[i] == 0 || more[i] < at.stride[i] || more[i] < at.dilation[i]);
        lower = lower || at.before[i] > at.after[i];
    }
    if (padding) {
        make_steps(w, n, &at, true);
        fv_onnx_list_attribute(w, n, "output_padding", at.axes, more);
    } else {
        fv_onnx_list_attribute(w, n, "kernel_shape", at.axes, at.kernel);
        fv_onnx_list_attribute(w, n, "strides", at.axes, at.stride);
        fv_onnx_list_attribute(w, n, "dilations", at.axes, at.dilation);
        fv_onnx_list_attribute(w, n, "output_shape", at.axes, source->attr.nd.c + 4);
        if (lower) fv_onnx_make_text(w, n, "auto_pad", "SAME_LOWER");
    }
    fv_onnx_make_int(w, n, "group", source->attr.nd.kind);
}

/* ---- pooling ---- */

/* Sizes rounded up that come out larger for it. */
static bool needs_ceil(const fv_onnx_writer *w, const fv_node *source, const fv_nd_window *at) {
    const fv_shape *x = &w->graph->values[source->in[0]].shape, *y = &w->graph->values[source->out[0]].shape;
    bool needed = false;
    for (int32_t i = 0; i < at->axes && source->attr.nd.keep; i++) {
        const int64_t room = x->dim[2 + i] + at->before[i] + at->after[i] - at->dilation[i] * (at->kernel[i] - 1) - 1;
        needed = needed || room / at->stride[i] + 1 != y->dim[2 + i];
    }
    return needed;
}

static void write_pool(fv_onnx_writer *w, const fv_node *source) {
    static const char *const names[] = {"MaxPool", "AveragePool", "LpPool"};
    const fv_nd_attr *a = &source->attr.nd;
    const fv_nd_window at = fv_nd_window_get(a);
    const bool largest = a->kind == FV_ND_POOL_MAX, dilated = is_dilated(&at), up = needs_ceil(w, source, &at);
    const int64_t p = (int64_t)a->alpha;
    if (a->kind == FV_ND_POOL_AVERAGE && dilated) fv_onnx_need(w, 19);
    if (a->kind == FV_ND_POOL_LP && (dilated || up)) fv_onnx_need(w, 18);
    if (a->kind == FV_ND_POOL_LP && (double)p != a->alpha) fv_onnx_cannot(w, source, "a p that is no whole number");
    FvOnnx__Node *n = fv_onnx_begin(w, source, names[a->kind], 1);
    if (!n) return;
    make_steps(w, n, &at, dilated || largest);
    if (up) fv_onnx_make_int(w, n, "ceil_mode", 1);
    if (largest && a->mode) fv_onnx_make_int(w, n, "storage_order", a->mode);
    if (a->kind == FV_ND_POOL_AVERAGE && a->flag) fv_onnx_make_int(w, n, "count_include_pad", 1);
    if (a->kind == FV_ND_POOL_LP) fv_onnx_make_int(w, n, "p", p);
}

static void write_unpool(fv_onnx_writer *w, const fv_node *source) {
    const fv_nd_attr *a = &source->attr.nd;
    const int32_t axes = a->count - 2;
    int64_t pads[2 * FV_ND_SPATIAL] = {0};
    FvOnnx__Node *n = fv_onnx_begin(w, source, "MaxUnpool", 3);
    if (!n) return;
    for (int32_t i = 0; i < axes; i++) pads[axes + i] = a->a[5 + i];
    fv_onnx_list_input(w, n, 2, "sizes", a->count, a->a);
    fv_onnx_list_attribute(w, n, "kernel_shape", axes, a->c);
    fv_onnx_list_attribute(w, n, "strides", axes, a->c + 3);
    fv_onnx_list_attribute(w, n, "pads", 2 * axes, pads);
}

const fv_onnx_write_row fv_onnx_write_nd_window[] = {
    {&fv_op_nd_conv, write_conv},
    {&fv_op_nd_conv_transpose, write_conv_transpose},
    {&fv_op_nd_pool, write_pool},
    {&fv_op_nd_unpool, write_unpool},
    {NULL, NULL},
};
