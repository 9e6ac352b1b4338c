/* What a model's plan computes with, node by node. */
#include "check/model_shapes.h"

#include "kernels/check/engine.h"
#include "ops/conv_choice.h"
#include "ops/conv_plan.h"
#include "ops/depthwise_plan.h"
#include "ops/window.h"

#include <math.h>
#include <string.h>

static const double most_products = 1e9;

static fv_status make_taps(fv_model_shapes *s, const fv_conv_geometry *g, fv_conv_taps *taps) {
    const fv_context *c = s->graph->context;
    const size_t n = (size_t)fv_conv_kernel_taps(g);
    FV_FORWARD(fv_grow(c, (void **)&s->taps, &s->tap_capacity, s->tap_count + 2, sizeof *s->taps, "a check"));
    FV_FORWARD(fv_alloc_array(c, n, sizeof *taps->tap, "a check", (void **)&taps->tap));
    s->taps[s->tap_count++] = taps->tap;
    FV_FORWARD(fv_alloc_array(c, n, sizeof *taps->weight_tap, "a check", (void **)&taps->weight_tap));
    s->taps[s->tap_count++] = taps->weight_tap;
    return FV_OK;
}

static fv_status add(fv_model_shapes *s, const fv_check_given *given) {
    FV_FORWARD(fv_grow(s->graph->context, (void **)&s->list, &s->capacity, s->count + 1, sizeof *s->list, "a check"));
    s->list[s->count++] = *given;
    return FV_OK;
}

/* x, y and the weight fit the check. */
static bool fits(const fv_model_shapes *s, const fv_node *n, fv_value weight, double products) {
    size_t most = fv_max_size(fv_shape_count(&s->graph->values[n->in[0]].shape),
                              fv_shape_count(&s->graph->values[n->out[0]].shape));
    if (weight != FV_NONE) most = fv_max_size(most, fv_shape_count(&s->graph->values[weight].shape));
    if (most <= FV_CHECK_MOST_GIVEN && products <= most_products) return true;
    fv_check_print(s->options, "node %s is too large to be checked: %zu elements, %.3g multiply-adds",
                   n->name ? n->name : n->op->name, most, products);
    return false;
}

/* The tiles of Winograd that a plan takes at some batch, with weights packed before or in the run. */
static fv_status add_winograd(fv_model_shapes *s, const fv_check_given *product) {
    static const char *const slots[] = {"winograd.pack", "winograd.input", "winograd.output"};
    static const int32_t batches[] = {1, 8, 64};
    const size_t most_packed = FV_CHECK_BUFFER_BYTES / sizeof(fv_real) - 1024;
    int32_t done = 0; /* bits */
    for (int i = 0; i < 6; i++) {
        fv_conv_desc d = product->conv;
        d.images = batches[i / 2];
        const int32_t m = fv_conv_choose(&s->kernels, &d, i % 2, true)->m;
        if (m == 0 || done >> m & 1) continue;
        done |= 1 << m;
        if ((size_t)((m + 2) * (m + 2)) * (size_t)d.in_channels * fv_round_up((size_t)d.out_channels, 32) >
            most_packed) {
            fv_check_print(s->options, "node %s: its weights are too large for a check of Winograd F(%d,3)",
                           product->name, m);
            continue;
        }
        fv_check_given given = *product;
        given.m = m;
        for (size_t k = 0; k < FV_ARRAY_SIZE(slots); k++) {
            given.slot = slots[k];
            FV_FORWARD(add(s, &given));
        }
    }
    return FV_OK;
}

/* A product with packed weights, and the other ways it may be planned. */
static fv_status add_forward(fv_model_shapes *s, fv_check_given *given) {
    given->slot = "conv.forward";
    FV_FORWARD(add(s, given));
    return given->y_base == 0 ? add_winograd(s, given) : FV_OK;
}

static fv_status add_input_grad(fv_model_shapes *s, const fv_conv_geometry *g, bool linear, fv_check_given given,
                                size_t x_size) {
    const int32_t phases = linear ? 1 : fv_conv_phases(g);
    given.y_size = x_size;
    for (int32_t p = 0; p < phases; p++) {
        fv_conv_geometry flat = *g;
        fv_conv_taps taps;
        ptrdiff_t offset = 0;
        FV_FORWARD(make_taps(s, g, &taps));
        if (linear) { /* as it is planned: one product from O to taps*C channels */
            flat.in_channels = g->out_channels;
            flat.out_channels = g->in_channels * fv_conv_kernel_taps(g);
            for (int a = 0; a < 3; a++) flat.in[a] = flat.out[a] = flat.kernel[a] = 1;
            fv_conv_forward_desc(&flat, taps, &given.conv);
        } else if (!fv_conv_input_grad_desc(g, p, taps, &given.conv, &offset)) {
            continue;
        }
        given.source_taps = fv_conv_kernel_taps(&flat);
        given.y_base = (size_t)offset;
        FV_FORWARD(add_forward(s, &given));
    }
    return FV_OK;
}

static const char *name_of(const fv_node *n) { return n->name ? n->name : n->op->name; }

static fv_status add_depthwise(fv_model_shapes *s, const fv_node *n, const fv_conv_geometry *g) {
    static const char *const slots[] = {"depthwise.pack", "depthwise.forward", "depthwise.data_grad",
                                        "depthwise.weight_grad"};
    fv_check_given given = {.name = name_of(n)};
    fv_depthwise_describe(g, &given.depthwise);
    given.depthwise.act_low = g->act_low;
    given.depthwise.act_high = g->act_high;
    for (size_t i = 0; i < FV_ARRAY_SIZE(slots); i++) {
        given.slot = slots[i];
        FV_FORWARD(add(s, &given));
    }
    return FV_OK;
}

/* A convolution from x to y with its gradients: a transposed one has the same, from its output to its input. */
static fv_status add_product(fv_model_shapes *s, const fv_node *n, fv_value x, fv_value y) {
    const fv_value_info *v = s->graph->values;
    const fv_conv_geometry g = fv_conv_geometry_of(&n->attr.conv, &v[x].shape, &v[n->in[1]].shape, &v[y].shape);
    const double products = (double)fv_shape_count(&v[y].shape) * g.in_channels * fv_conv_kernel_taps(&g);
    fv_check_given given = {.name = name_of(n), .source_taps = fv_conv_kernel_taps(&g)};
    fv_conv_taps taps;
    if (!fits(s, n, n->in[1], products)) return FV_OK;
    if (fv_depthwise_fits(&g) && !n->attr.conv.untied) return add_depthwise(s, n, &g);
    given.y_size = fv_shape_count(&v[y].shape);
    FV_FORWARD(make_taps(s, &g, &taps));
    fv_conv_forward_desc(&g, taps, &given.conv);
    given.slot = "conv.pack";
    FV_FORWARD(add(s, &given));
    FV_FORWARD(add_forward(s, &given));
    FV_FORWARD(make_taps(s, &g, &taps));
    fv_conv_weight_grad_desc(&g, taps, &given.conv);
    given.slot = "conv.weight_grad";
    FV_FORWARD(add(s, &given));
    return add_input_grad(s, &g, n->op == &fv_op_linear, given, fv_shape_count(&v[x].shape));
}

/* ---- locally connected layers: the first, the middle and the last place of each axis ---- */

enum { PLACES = 9 };

static size_t place_of(const int32_t size[3], int i, int32_t at[2]) {
    for (int a = 0; a < 2; a++) {
        const int32_t part = a ? i % 3 : i / 3;
        at[a] = part == 0 ? 0 : part == 1 ? size[a + 1] / 2 : size[a + 1] - 1;
    }
    return (size_t)at[0] * (size_t)size[2] + (size_t)at[1];
}

/* The convolution with one output pixel that a position is. */
static fv_status add_position(fv_model_shapes *s, const fv_conv_geometry *g, fv_check_given given, int i) {
    fv_conv_geometry one = *g;
    fv_conv_taps taps;
    int32_t at[2];
    given.y_base = place_of(g->out, i, at) * (size_t)g->out_channels;
    for (int a = 0; a < 2; a++) {
        one.out[a + 1] = 1;
        one.pad[a + 1] = g->pad[a + 1] - at[a] * g->stride[a + 1];
    }
    FV_FORWARD(make_taps(s, g, &taps));
    fv_conv_forward_desc(&one, taps, &given.conv);
    given.slot = "conv.pack";
    FV_FORWARD(add(s, &given));
    given.slot = "conv.forward";
    FV_FORWARD(add(s, &given));
    FV_FORWARD(make_taps(s, g, &taps));
    fv_conv_weight_grad_desc(&one, taps, &given.conv);
    given.slot = "conv.weight_grad";
    return add(s, &given);
}

/* The product over dy that an input pixel's gradient is: every place has weights of its own, of which the check needs a
 * kernel's worth. */
static fv_status add_pixel(fv_model_shapes *s, const fv_conv_geometry *g, fv_check_given given, int i) {
    const int32_t kernel = fv_conv_kernel_taps(g);
    fv_conv_geometry back = *g;
    fv_conv_taps taps;
    int32_t at[2];
    const size_t pixel = place_of(g->in, i, at);
    FV_FORWARD(make_taps(s, g, &taps));
    back.in_channels = g->out_channels;
    back.out_channels = g->in_channels;
    for (int a = 0; a < 3; a++) {
        back.in[a] = g->out[a];
        back.out[a] = 1;
    }
    fv_conv_forward_desc(&back, taps, &given.conv);
    given.conv.taps = fv_local_readers(g, pixel, taps);
    for (int32_t t = 0; t < given.conv.taps; t++) taps.weight_tap[t] %= kernel;
    given.y_base = pixel * (size_t)g->in_channels;
    given.slot = "conv.forward";
    return add(s, &given);
}

static fv_status add_local(fv_model_shapes *s, const fv_node *n) {
    const fv_shape *x = &s->graph->values[n->in[0]].shape, *y = &s->graph->values[n->out[0]].shape;
    const fv_conv_geometry g =
        fv_conv_geometry_of(&n->attr.conv, x, y, y); /* any shape of rank 4 is that of a kernel */
    fv_check_given given = {.name = name_of(n), .source_taps = fv_conv_kernel_taps(&g), .y_size = fv_shape_count(y)};
    if (!fits(s, n, FV_NONE, (double)given.source_taps * g.in_channels * g.out_channels)) return FV_OK;
    for (int i = 0; i < PLACES; i++) FV_FORWARD(add_position(s, &g, given, i));
    given.y_size = fv_shape_count(x);
    for (int i = 0; i < PLACES; i++) FV_FORWARD(add_pixel(s, &g, given, i));
    return FV_OK;
}

/* ---- pooling ---- */

/* The convolution whose output, or its fused clamp's, is pooled; NULL: none. */
static const fv_node *pooled_convolution(const fv_graph *g, fv_value v) {
    for (int hops = 0; hops < 2; hops++) {
        const int32_t producer = g->values[v].producer;
        if (producer < 0) return NULL;
        const fv_node *n = &g->nodes[producer];
        if (n->op == &fv_op_conv) return n->attr.conv.groups == 1 ? n : NULL;
        const int32_t kind = n->attr.pointwise.kind;
        if (n->op != &fv_op_unary || (kind != FV_UNARY_RELU && kind != FV_UNARY_CLAMP)) return NULL;
        v = n->in[0];
    }
    return NULL;
}

/* Gradients of a convolution through the max pooling after it, where a training step takes them together. */
static fv_status add_pooled(fv_model_shapes *s, const fv_node *pool) {
    static const char *const slots[] = {"conv_pooled.pack", "conv_pooled.weight_grad", "conv_pooled.input_grad"};
    const fv_graph *g = s->graph;
    const fv_shape *in = &g->values[pool->in[0]].shape, *out = &g->values[pool->out[0]].shape;
    const fv_node *n = pooled_convolution(g, pool->in[0]);
    if (!n || !fv_pool_windows_lie_apart(&pool->attr.pool, in, out)) return FV_OK;
    const fv_conv_geometry geometry =
        fv_conv_geometry_of(&n->attr.conv, &g->values[n->in[0]].shape, &g->values[n->in[1]].shape, in);
    const fv_conv_pooled pooled = {.pooled = {(int32_t)out->dim[2], (int32_t)out->dim[3]},
                                   .window = {pool->attr.pool.window.kernel[1], pool->attr.pool.window.kernel[2]}};
    fv_check_given given = {.name = name_of(n)};
    fv_conv_pooled_describe(&geometry, &pooled, &given.pooled);
    if (!s->kernels.conv_pooled.suits(&given.pooled)) return FV_OK;
    const double products = (double)fv_shape_count(out) * geometry.in_channels * fv_conv_kernel_taps(&geometry);
    if (!fits(s, n, n->in[1], products)) return FV_OK;
    for (size_t i = 0; i < FV_ARRAY_SIZE(slots); i++) {
        given.slot = slots[i];
        FV_FORWARD(add(s, &given));
    }
    return FV_OK;
}

static fv_status add_pool(fv_model_shapes *s, const fv_node *n) {
    const fv_shape *x = &s->graph->values[n->in[0]].shape, *y = &s->graph->values[n->out[0]].shape;
    static const char *const slots[][2] = {{"pool.max", "pool.max_grad"},
                                           {"pool.average", "pool.average_grad"},
                                           {"pool.lp", "pool.lp_grad"},
                                           {"pool.weighted", "pool.weighted_grad"}};
    if (n->attr.pool.kind == FV_POOL_STRIDE) return FV_OK;
    const char *const *slot = slots[n->attr.pool.kind];
    fv_check_given given = {.slot = slot[0], .name = n->name ? n->name : n->op->name};
    fv_pool_describe(&n->attr.pool, x, y, &given.pool);
    if (!fits(s, n, FV_NONE, (double)fv_shape_count(y) * given.pool.window[1] * given.pool.window[2])) return FV_OK;
    FV_FORWARD(add(s, &given));
    given.slot = slot[1];
    FV_FORWARD(add(s, &given));
    return n->attr.pool.kind == FV_POOL_MAX ? add_pooled(s, n) : FV_OK;
}

/* ---- what goes by values, or by channels and pixels ---- */

/* The slot of a check with an argument: of a unary function, ... */
static const char *slot_of(void (*run)(fv_case *c), int argument) {
    for (size_t i = 0; i < fv_check_slot_count; i++)
        if (fv_check_slots[i].run == run && fv_check_slots[i].argument == argument) return fv_check_slots[i].name;
    return NULL;
}

static fv_status add_sizes(fv_model_shapes *s, const fv_node *n, const char *const *slots, size_t channels,
                           size_t pixels) {
    for (; *slots; slots++) {
        const fv_check_given given = {.slot = *slots, .name = name_of(n), .size = {channels, pixels}};
        FV_FORWARD(add(s, &given));
    }
    return FV_OK;
}

static fv_status add_unary(fv_model_shapes *s, const fv_node *n, int32_t kind) {
    const char *const slots[] = {slot_of(fv_check_unary, kind), slot_of(fv_check_unary_grad, kind), NULL};
    return add_sizes(s, n, slots, fv_shape_count(&s->graph->values[n->out[0]].shape), 0);
}

/* Undone in a training step by the gradient of the function alone. */
static fv_status add_fused_clamp(fv_model_shapes *s, const fv_node *n) {
    const fv_conv_attr *a = &n->attr.conv;
    if (isinf(a->act_low) && isinf(a->act_high)) return FV_OK;
    const fv_unary kind = a->act_low == 0 && isinf(a->act_high) ? FV_UNARY_RELU : FV_UNARY_CLAMP;
    const char *const slots[] = {slot_of(fv_check_unary_grad, kind), NULL};
    return add_sizes(s, n, slots, fv_shape_count(&s->graph->values[n->out[0]].shape), 0);
}

static fv_status add_contrast(fv_model_shapes *s, const fv_node *n, size_t channels, size_t pixels) {
    enum { of_sigma = 5 }; /* of the slots across maps, from there on */
    static const char *const subtractive[2][4] = {{"contrast.blur_subtract", "contrast.blur"},
                                                  {"contrast.blur", "contrast.sum", "contrast.shift"}};
    static const char *const divisive[2][8] = {{"contrast.blur_sigma", "contrast.blur", "contrast.divide",
                                                "contrast.divide_add", "contrast.below_dot", "contrast.sigma_grad"},
                                               {"contrast.blur_root", "contrast.blur", "contrast.squares",
                                                "contrast.dot", "contrast.scale", "contrast.divide",
                                                "contrast.below_dot", "contrast.sigma_grad"}};
    const fv_contrast_attr *a = &n->attr.contrast;
    const fv_shape *x = &s->graph->values[n->in[0]].shape;
    const bool divides = n->op == &fv_op_divisive_norm;
    const char *const *slots = divides ? divisive[a->across] : subtractive[a->across];
    for (size_t i = 0; i < (divides ? 8 : 4) && slots[i]; i++) {
        fv_check_given given = {.slot = slots[i], .name = name_of(n), .size = {channels, pixels}};
        if (divides && a->across && i >= of_sigma) { /* a row is one pixel */
            given.size[0] = (size_t)x->dim[3];
            given.size[1] = (size_t)x->dim[2];
        }
        given.contrast.channels = a->across ? 1 : (int32_t)channels;
        for (int axis = 0; axis < 2; axis++) {
            const int32_t last = (int32_t)x->dim[2 + axis] - 1, before = (a->window - 1) / 2, after = a->window / 2;
            given.contrast.in[axis] = last + 1;
            given.contrast.before[axis] = before < last ? before : last;
            given.contrast.taps[axis] = given.contrast.before[axis] + (after < last ? after : last) + 1;
        }
        FV_FORWARD(add(s, &given));
    }
    return FV_OK;
}

static fv_status add_brightness(fv_model_shapes *s, const fv_node *n, size_t channels, size_t pixels) {
    static const char *const all[] = {"contrast.squares",    "contrast.dot",   "contrast.power",
                                      "contrast.power_grad", "contrast.scale", NULL};
    static const char *const neighbours[] = {"contrast.local", "contrast.local_grad", NULL};
    return add_sizes(s, n, n->attr.brightness.maps == 0 ? all : neighbours, channels, pixels);
}

/* Nodes whose kernels take channels and pixels of their input. */
static fv_status add_channels(fv_model_shapes *s, const fv_node *n) {
    static const char *const gain[] = {"pointwise.gain", NULL},
                             *const prelu[] = {"pointwise.prelu", "pointwise.prelu_grad", NULL},
                             *const softmax[] = {"softmax.softmax", "softmax.softmax_grad", NULL},
                             *const log_softmax[] = {"softmax.log_softmax", "softmax.log_softmax_grad", NULL},
                             *const norm[] = {"norm.moments",   "norm.merge",      "norm.apply",
                                              "norm.grad_sums", "norm.grad_input", NULL};
    const fv_shape *x = &s->graph->values[n->in[0]].shape;
    const size_t channels = (size_t)x->dim[1], pixels = fv_shape_count(x) / fv_max_size(channels, 1);
    if (!fits(s, n, FV_NONE, 0)) return FV_OK;
    if (n->op == &fv_op_gain || n->op == &fv_op_scale_maps) return add_sizes(s, n, gain, channels, pixels);
    if (n->op == &fv_op_prelu) return add_sizes(s, n, prelu, channels, pixels);
    if (n->op == &fv_op_softmax) return add_sizes(s, n, softmax, channels, pixels);
    if (n->op == &fv_op_log_softmax) return add_sizes(s, n, log_softmax, channels, pixels);
    if (n->op == &fv_op_brightness_norm) return add_brightness(s, n, channels, pixels);
    if (n->op == &fv_op_batch_norm || n->op == &fv_op_group_norm) return add_sizes(s, n, norm, channels, pixels);
    return n->op == &fv_op_subtractive_norm || n->op == &fv_op_divisive_norm ? add_contrast(s, n, channels, pixels)
                                                                             : FV_OK;
}

static fv_status add_values(fv_model_shapes *s, const fv_node *n) {
    static const char *const dropout[] = {"pointwise.dropout", NULL};
    const bool counted = n->op == &fv_op_unary || n->op == &fv_op_binary || n->op == &fv_op_dropout;
    if (!counted || !fits(s, n, FV_NONE, 0)) return FV_OK;
    if (n->op == &fv_op_unary) return add_unary(s, n, n->attr.pointwise.kind);
    const char *const binary[] = {slot_of(fv_check_binary, n->attr.pointwise.kind), NULL};
    return add_sizes(s, n, n->op == &fv_op_binary ? binary : dropout,
                     fv_shape_count(&s->graph->values[n->out[0]].shape), 0);
}

/* ---- all ---- */

fv_status fv_model_shapes_collect(fv_model_shapes *s) {
    const char *isa = s->options->isa ? s->options->isa : fv_isa_best();
    if (!fv_kernels_for(isa, &s->kernels))
        s->kernels = s->graph->context->kernels; /* nothing will be checked on an ISA that is not here */
    for (size_t i = 0; i < s->graph->node_count; i++) {
        const fv_node *n = &s->graph->nodes[i];
        if (n->op == &fv_op_conv || n->op == &fv_op_linear) FV_FORWARD(add_product(s, n, n->in[0], n->out[0]));
        if (n->op == &fv_op_conv_transpose) FV_FORWARD(add_product(s, n, n->out[0], n->in[0]));
        if (n->op == &fv_op_conv || n->op == &fv_op_linear || n->op == &fv_op_conv_transpose)
            FV_FORWARD(add_fused_clamp(s, n));
        if (n->op == &fv_op_local) FV_FORWARD(add_local(s, n));
        if (n->op == &fv_op_pool) FV_FORWARD(add_pool(s, n));
        FV_FORWARD(add_values(s, n));
        FV_FORWARD(add_channels(s, n));
    }
    return FV_OK;
}

void fv_model_shapes_free(fv_model_shapes *s) {
    for (size_t i = 0; i < s->tap_count; i++) fv_release(s->graph->context, s->taps[i]);
    fv_release(s->graph->context, s->taps);
    fv_release(s->graph->context, s->list);
}
