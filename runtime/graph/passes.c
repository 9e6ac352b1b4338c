/* Rewrites that keep what a graph computes. */
#include "graph/graph.h"
#include "ops/window.h"

#include <math.h>
#include <string.h>

static fv_status marks(const fv_graph *g, bool **out) {
    return fv_alloc_array(g->context, g->node_count + 1, sizeof **out, "a graph pass", (void **)out);
}

fv_status fv_pass_dead(fv_graph *g) {
    bool *dead = NULL, *needed = NULL;
    FV_FORWARD(marks(g, &dead));
    const fv_status status =
        fv_alloc_array(g->context, g->value_count + 1, sizeof *needed, "a graph pass", (void **)&needed);
    if (status != FV_OK) {
        fv_release(g->context, dead);
        return status;
    }
    for (size_t i = 0; i < g->output_count; i++) needed[g->outputs[i]] = true;
    for (size_t i = g->node_count; i-- > 0;) {
        const fv_node *n = &g->nodes[i];
        dead[i] = !(n->op->flags & FV_OP_EFFECT);
        for (int32_t k = 0; k < n->out_count; k++)
            if (n->out[k] != FV_NONE && needed[n->out[k]]) dead[i] = false;
        for (int32_t k = 0; k < n->in_count && !dead[i]; k++)
            if (n->in[k] != FV_NONE) needed[n->in[k]] = true;
    }
    fv_graph_remove(g, dead);
    fv_release(g->context, needed);
    fv_release(g->context, dead);
    return FV_OK;
}

bool fv_graph_is_output(const fv_graph *g, fv_value v) {
    for (size_t i = 0; i < g->output_count; i++)
        if (g->outputs[i] == v) return true;
    return false;
}

fv_status fv_pass_inference(fv_graph *g) {
    for (size_t i = 0; i < g->node_count; i++) {
        fv_node *n = &g->nodes[i];
        if (n->op == &fv_op_unary && n->attr.pointwise.kind == FV_UNARY_RELU_SURROGATE)
            n->attr.pointwise.kind = FV_UNARY_RELU;
        if (n->op == &fv_op_dropout && !fv_graph_is_output(g, n->out[0])) fv_graph_replace(g, n->out[0], n->in[0]);
    }
    return fv_pass_dead(g);
}

fv_status fv_pass_flatten_linear(fv_graph *g) {
    for (size_t i = 0; i < g->node_count; i++) {
        fv_node *n = &g->nodes[i];
        const int32_t producer = n->op == &fv_op_linear ? g->values[n->in[0]].producer : -1;
        if (producer >= 0 && g->nodes[producer].op == &fv_op_flatten) n->in[0] = g->nodes[producer].in[0];
    }
    return fv_pass_dead(g);
}

/* ---- fusion into convolution and fully connected ---- */

/* Transposed convolutions take a clamp, but no residual. */
static bool is_product(const fv_node *n) {
    return n->op == &fv_op_conv || n->op == &fv_op_linear || n->op == &fv_op_conv_transpose;
}

static bool clamp_bounds(const fv_node *n, fv_real *low, fv_real *high) {
    if (n->op != &fv_op_unary) return false;
    *low = n->attr.pointwise.kind == FV_UNARY_RELU ? 0 : n->attr.pointwise.a;
    *high = n->attr.pointwise.kind == FV_UNARY_RELU ? (fv_real)INFINITY : n->attr.pointwise.b;
    return n->attr.pointwise.kind == FV_UNARY_RELU || n->attr.pointwise.kind == FV_UNARY_CLAMP;
}

/* The product that alone feeds value v and has no clamp yet, or NULL. */
static fv_node *open_product(fv_graph *g, fv_value v) {
    const int32_t producer = g->values[v].producer;
    if (producer < 0 || !is_product(&g->nodes[producer]) || fv_graph_uses(g, v) != 1) return NULL;
    fv_node *n = &g->nodes[producer];
    return isinf(n->attr.conv.act_low) && isinf(n->attr.conv.act_high) ? n : NULL;
}

/* As open_product, of a normalization. */
static fv_node *open_norm(fv_graph *g, fv_value v) {
    const int32_t producer = g->values[v].producer;
    fv_node *n = producer < 0 ? NULL : &g->nodes[producer];
    if (!n || (n->op != &fv_op_batch_norm && n->op != &fv_op_group_norm) || fv_graph_uses(g, v) != 1) return NULL;
    return isinf(n->attr.norm.act_low) && isinf(n->attr.norm.act_high) ? n : NULL;
}

/* Node i is part of another, whose reading of `other` stays. */
static void note_fused(fv_graph *g, size_t i, fv_pass_kind kind, fv_value other) {
    const fv_value_info *v = other == FV_NONE ? NULL : &g->values[other];
    const double stays = v ? (double)fv_shape_count(&v->shape) * (double)fv_dtype_bytes(v->dtype) : 0;
    fv_pass_note(g, kind, 1, 1, fv_graph_node_traffic(g, &g->nodes[i]) - stays);
}

static void fuse_clamp(fv_graph *g, size_t i, bool *dead) {
    fv_node *n = &g->nodes[i];
    fv_real low, high;
    if (!clamp_bounds(n, &low, &high)) return;
    fv_node *product = open_product(g, n->in[0]), *norm = open_norm(g, n->in[0]);
    if (!product && !norm) return;
    if (product) {
        product->attr.conv.act_low = low;
        product->attr.conv.act_high = high;
    } else {
        norm->attr.norm.act_low = low;
        norm->attr.norm.act_high = high;
    }
    g->values[n->out[0]].producer = g->values[n->in[0]].producer;
    (product ? product : norm)->out[0] = n->out[0];
    note_fused(g, i, FV_PASS_ACTIVATION, FV_NONE);
    dead[i] = true;
}

/* Node i, which adds `other` to the product's output, becomes the product's last input. */
static fv_status attach(fv_graph *g, size_t i, fv_node *product, fv_value other, bool *dead) {
    const fv_node *n = &g->nodes[i];
    fv_value *in = NULL;
    FV_FORWARD(fv_alloc_array(g->context, 5, sizeof *in, "a node", (void **)&in));
    for (int32_t k = 0; k < 3; k++) in[k] = k < product->in_count ? product->in[k] : FV_NONE;
    in[3] = other;
    fv_release(g->context, product->in);
    product->in = in;
    product->in_count = 4;
    product->attr.conv.residual = true;
    g->values[n->out[0]].producer = g->values[product->out[0]].producer;
    product->out[0] = n->out[0];
    note_fused(g, i, n->op == &fv_op_untied_bias ? FV_PASS_BIAS : FV_PASS_RESIDUAL, other);
    dead[i] = true;
    return FV_OK;
}

static fv_status fuse_untied(fv_graph *g, size_t i, bool *dead) {
    const fv_node *n = &g->nodes[i];
    fv_node *product = n->op == &fv_op_untied_bias ? open_product(g, n->in[0]) : NULL;
    if (!product || product->op != &fv_op_conv || product->attr.conv.residual || g->values[n->in[1]].producer >= 0)
        return FV_OK;
    product->attr.conv.untied = true;
    return attach(g, i, product, n->in[1], dead);
}

/* product + other, where other is there before the product runs. */
static fv_status fuse_add(fv_graph *g, size_t i, bool *dead) {
    fv_node *n = &g->nodes[i];
    if (n->op != &fv_op_binary || n->attr.pointwise.kind != FV_BINARY_ADD || n->in[0] == n->in[1]) return FV_OK;
    for (int side = 0; side < 2; side++) {
        fv_node *product = open_product(g, n->in[side]);
        const fv_value other = n->in[1 - side];
        if (!product || product->op == &fv_op_conv_transpose || product->attr.conv.residual ||
            g->values[other].producer >= g->values[n->in[side]].producer)
            continue;
        return attach(g, i, product, other, dead);
    }
    return FV_OK;
}

fv_status fv_pass_fuse(fv_graph *g, bool training) {
    bool *dead = NULL;
    FV_FORWARD(marks(g, &dead));
    fv_status status = FV_OK;
    for (size_t i = 0; i < g->node_count && status == FV_OK; i++) {
        status = fuse_untied(g, i, dead);
        if (!training && status == FV_OK && !dead[i]) status = fuse_add(g, i, dead);
        if (!dead[i]) fuse_clamp(g, i, dead);
    }
    fv_graph_remove(g, dead);
    fv_release(g->context, dead);
    return status;
}

fv_status fv_pass_pool_index(fv_graph *g) {
    for (size_t i = 0; i < g->node_count; i++) {
        fv_node *n = &g->nodes[i];
        if (n->op != &fv_op_pool || n->attr.pool.kind != FV_POOL_MAX || n->out[1] != FV_NONE) continue;
        const fv_value index = fv_graph_new_value(g, FV_VALUE_ACTIVATION, NULL, FV_I32, &g->values[n->out[0]].shape);
        FV_FORWARD(fv_graph_status(g));
        n->out[1] = index;
        g->values[index].producer = (int32_t)i;
    }
    return FV_OK;
}

/* ---- layout at the borders ---- */

/* Both layouts of the maps are the same bytes. */
static bool layouts_agree(const fv_shape *s) { return s->rank != 4 || s->dim[1] == 1 || s->dim[2] * s->dim[3] == 1; }

static fv_status convert_input(fv_graph *g, size_t i) {
    const fv_value inside = g->inputs[i];
    if (g->values[inside].dtype != FV_REAL_DTYPE || layouts_agree(&g->values[inside].shape)) return FV_OK;
    const fv_shape shape = g->values[inside].shape;
    const fv_value outside = fv_graph_new_value(g, FV_VALUE_INPUT, g->values[inside].name, FV_REAL_DTYPE, &shape);
    FV_FORWARD(fv_graph_status(g));
    g->values[outside].layout = FV_PLAIN;
    const fv_value made = fv_graph_node(g, &fv_op_layout, NULL, &outside, 1, 1, NULL);
    FV_FORWARD(fv_graph_status(g));
    g->values[made].layout = FV_NHWC;
    fv_graph_replace(g, inside, made);
    g->nodes[g->node_count - 1].in[0] = outside;
    g->inputs[i] = outside;
    fv_graph_move_last(g, 0);
    return FV_OK;
}

/* Also where an output is an input, a parameter, or listed twice: it needs memory of its own. */
static fv_status convert_output(fv_graph *g, size_t i, fv_layout layout) {
    const fv_value v = g->outputs[i];
    const fv_value_info *info = &g->values[v];
    bool twice = false;
    for (size_t k = 0; k < i; k++) twice = twice || g->outputs[k] == v;
    const bool other =
        info->dtype == FV_REAL_DTYPE && info->shape.rank == 4 && layout != info->layout && !layouts_agree(&info->shape);
    if (!other && !twice && info->producer >= 0) return FV_OK;
    const fv_layout wanted = other ? layout : info->layout;
    const fv_value made = fv_graph_node(g, &fv_op_layout, NULL, &v, 1, 1, NULL);
    FV_FORWARD(fv_graph_status(g));
    g->values[made].layout = wanted;
    g->outputs[i] = made;
    return FV_OK;
}

fv_status fv_pass_layout(fv_graph *g, fv_layout input_layout, fv_layout output_layout) {
    for (size_t i = 0; i < g->input_count && input_layout == FV_PLAIN; i++) FV_FORWARD(convert_input(g, i));
    for (size_t i = 0; i < g->output_count; i++) FV_FORWARD(convert_output(g, i, output_layout));
    return FV_OK;
}

fv_status fv_pass_layout_cancel(fv_graph *g) {
    for (size_t i = 0; i < g->node_count; i++) {
        const fv_node *n = &g->nodes[i];
        const int32_t producer = n->op == &fv_op_layout ? g->values[n->in[0]].producer : -1;
        if (producer < 0 || g->nodes[producer].op != &fv_op_layout || fv_graph_is_output(g, n->out[0])) continue;
        const fv_value original = g->nodes[producer].in[0];
        if (g->values[original].layout == g->values[n->out[0]].layout) fv_graph_replace(g, n->out[0], original);
    }
    return fv_pass_dead(g);
}

static fv_status watched(fv_graph *g, fv_pass_kind kind, fv_status (*pass)(fv_graph *g)) {
    const fv_pass_watch before = fv_pass_begin(g);
    FV_FORWARD(pass(g));
    fv_pass_end(g, kind, before);
    return FV_OK;
}

static void note_layouts(fv_graph *g) {
    size_t left = 0;
    for (size_t i = 0; i < g->node_count; i++) left += g->nodes[i].op == &fv_op_layout;
    fv_pass_note(g, FV_PASS_LAYOUT, left, 0, 0);
}

fv_status fv_graph_prepare(fv_graph *g, bool training, fv_layout input_layout, fv_layout output_layout) {
    FV_FORWARD(watched(g, FV_PASS_DEAD, fv_pass_dead));
    if (!training) FV_FORWARD(watched(g, FV_PASS_TRAINING, fv_pass_inference));
    FV_FORWARD(watched(g, FV_PASS_PAD, fv_pass_pad));
    FV_FORWARD(watched(g, FV_PASS_TRANSPOSE, fv_pass_transpose));
    FV_FORWARD(watched(g, FV_PASS_FLATTEN, fv_pass_flatten_linear));
    FV_FORWARD(fv_pass_fuse(g, training));
    if (training) FV_FORWARD(fv_pass_pool_index(g));
    if (training) FV_FORWARD(fv_pass_norm_kept(g));
    FV_FORWARD(fv_pass_layout(g, input_layout, output_layout));
    FV_FORWARD(watched(g, FV_PASS_LAYOUT_CANCEL, fv_pass_layout_cancel));
    note_layouts(g);
    if (!training) fv_pass_join(g);
    return FV_OK;
}
