/* The graph of one training step: the model's own nodes, a loss, their gradients, and updates in place. */
#include "train/build_step.h"

#include "train/autodiff.h"

#include "ops/untied_bias.h"
#include "ops/window.h"

#include <string.h>

static void taps_from_plain(const fv_real *plain, fv_real *taps_last_out, size_t out, size_t in, size_t taps) {
    for (size_t o = 0; o < out; o++)
        for (size_t i = 0; i < in; i++)
            for (size_t t = 0; t < taps; t++) taps_last_out[(t * in + i) * out + o] = plain[(o * in + i) * taps + t];
}

void fv_taps_to_plain(const fv_real *taps_last_out, fv_real *plain, size_t out, size_t in, size_t taps) {
    for (size_t o = 0; o < out; o++)
        for (size_t i = 0; i < in; i++)
            for (size_t t = 0; t < taps; t++) plain[(o * in + i) * taps + t] = taps_last_out[(t * in + i) * out + o];
}

/* ---- weights as gradients write them and packing reads them ---- */

/* Positions of a weight or untied bias that is input k of node n, 0 where it is neither. */
static int64_t taps_of(const fv_graph *g, const fv_node *n, int32_t k) {
    const fv_shape *w = k < n->in_count && n->in[k] != FV_NONE ? &g->values[n->in[k]].shape : NULL;
    if (!w) return 0;
    if ((n->op == &fv_op_untied_bias && k == 1) || (n->op == &fv_op_conv && k == 3 && n->attr.conv.untied))
        return fv_untied_positions(w);
    if (k != 1) return 0;
    if (n->op == &fv_op_conv) return w->dim[2] * w->dim[3];
    if (n->op == &fv_op_local) return w->dim[2] * w->dim[3] * w->dim[4] * w->dim[5];
    if (n->op != &fv_op_linear) return 0;
    const fv_shape *x = &g->values[n->in[0]].shape;
    return x->rank == 4 ? x->dim[2] * x->dim[3] : 1;
}

/* A weight that two nodes read in different ways, or that something else reads, stays plain. */
static bool only_so(const fv_graph *g, fv_value weight, int64_t taps) {
    for (size_t i = 0; i < g->node_count; i++)
        for (int32_t k = 0; k < g->nodes[i].in_count; k++)
            if (g->nodes[i].in[k] == weight && taps_of(g, &g->nodes[i], k) != taps) return false;
    for (size_t i = 0; i < g->output_count; i++)
        if (g->outputs[i] == weight) return false;
    return true;
}

static fv_status relayout(fv_graph *g, fv_value weight, int64_t taps) {
    fv_value_info *w = &g->values[weight];
    if (w->kind != FV_VALUE_PARAMETER || w->layout != FV_PLAIN || !only_so(g, weight, taps)) return FV_OK;
    const size_t count = fv_shape_count(&w->shape), out = (size_t)w->shape.dim[0], in = count / out / (size_t)taps;
    fv_real *fresh = NULL;
    FV_FORWARD(fv_alloc(g->context, count * sizeof *fresh, w->name, (void **)&fresh));
    taps_from_plain(w->data, fresh, out, in, (size_t)taps);
    fv_release(g->context, w->data);
    w->data = fresh;
    w->layout = FV_TAPS_LAST_OUT;
    w->taps = (int32_t)taps;
    return FV_OK;
}

fv_status fv_relayout_weights(fv_graph *g) {
    for (size_t i = 0; i < g->node_count; i++)
        for (int32_t k = 1; k < g->nodes[i].in_count; k++) {
            const int64_t taps = taps_of(g, &g->nodes[i], k);
            if (taps > 0) FV_FORWARD(relayout(g, g->nodes[i].in[k], taps));
        }
    return FV_OK;
}

/* ---- loss ---- */

/* Cross-entropy takes logits: a softmax at the end is part of it. */
static fv_value logits_of(const fv_graph *g) {
    const fv_value y = g->outputs[0];
    const int32_t producer = g->values[y].producer;
    return producer >= 0 && g->nodes[producer].op == &fv_op_softmax ? g->nodes[producer].in[0] : y;
}

/* Targets as the loss reads them: maps lie as the output does. */
static fv_value inside_layout(fv_graph *g, fv_value target, fv_layout given) {
    const fv_shape *s = &g->values[target].shape;
    if (s->rank != 4) return target;
    g->values[target].layout = given;
    if (given == FV_NHWC || s->dim[1] == 1 || s->dim[2] * s->dim[3] == 1) return target;
    const fv_value made = fv_graph_node(g, &fv_op_layout, NULL, &target, 1, 1, NULL);
    if (made != FV_NONE) g->values[made].layout = FV_NHWC;
    return made;
}

static fv_value target_input(fv_graph *g, const fv_shape *output, bool labels) {
    const fv_shape rows = {1, {output->dim[0]}};
    const fv_value v =
        fv_graph_new_value(g, FV_VALUE_INPUT, NULL, labels ? FV_I32 : FV_REAL_DTYPE, labels ? &rows : output);
    if (v == FV_NONE) return v;
    if (fv_grow(g->context, (void **)&g->inputs, &g->input_capacity, g->input_count + 1, sizeof *g->inputs,
                "a graph") != FV_OK)
        return FV_NONE;
    g->inputs[g->input_count++] = v;
    return v;
}

/* The gradient of the loss by the output; sets t's target, loss and correct. */
static fv_status add_loss(fv_trainer *t, fv_value *output, fv_value *seed) {
    fv_graph *g = t->graph;
    const bool cross_entropy = t->settings.loss == FV_LOSS_CROSS_ENTROPY;
    const bool probabilities = t->settings.loss_input == FV_LOSS_FROM_PROBABILITIES;
    const fv_attributes attr = {.loss = {(fv_real)t->settings.label_smoothing, t->settings.reduction, probabilities}};
    *output = cross_entropy && !probabilities ? logits_of(g) : g->outputs[0];
    const fv_shape shape = g->values[*output].shape;
    FV_RETURN_IF(cross_entropy && shape.rank != 2, FV_ERR_UNSUPPORTED,
                 "the model's output %s is not one row of values an image, which cross-entropy needs",
                 fv_shape_print(&shape).text);
    t->classes = shape.rank == 2 ? shape.dim[1] : 0;
    t->target = target_input(g, &shape, cross_entropy && !t->settings.soft_targets);
    FV_FORWARD(fv_graph_status(g));
    const fv_value in[2] = {*output, inside_layout(g, t->target, t->settings.input_layout)};
    FV_FORWARD(fv_graph_status(g));
    t->loss = fv_graph_node(g, cross_entropy ? &fv_op_cross_entropy : &fv_op_squared_error, "loss", in, 2,
                            cross_entropy ? 3 : 2, &attr);
    FV_FORWARD(fv_graph_status(g));
    *seed = t->loss + 1;
    t->correct = cross_entropy ? t->loss + 2 : FV_NONE;
    return FV_OK;
}

/* ---- updates ---- */

typedef struct learned {
    fv_value *parameters, *gradients; /* [count] */
    size_t count;
} learned;

static fv_value add_state(fv_graph *g, fv_value parameter) {
    const fv_shape shape = g->values[parameter].shape;
    const fv_value v = fv_graph_new_value(g, FV_VALUE_STATE, NULL, FV_REAL_DTYPE, &shape);
    if (v == FV_NONE) return v;
    g->values[v].layout = g->values[parameter].layout;
    g->values[v].taps = g->values[parameter].taps;
    const fv_status status =
        fv_alloc_zero(g->context, fv_shape_count(&shape) * sizeof(fv_real), "optimizer state", &g->values[v].data);
    return status == FV_OK ? v : fv_graph_fail(g, status, "out of memory for optimizer state");
}

static bool is_untied_bias(const fv_graph *g, fv_value v) {
    for (size_t i = 0; i < g->node_count; i++) {
        const fv_node *n = &g->nodes[i];
        if (n->op == &fv_op_untied_bias && n->in[1] == v) return true;
        if (n->op == &fv_op_conv && n->attr.conv.untied && n->in[3] == v) return true;
    }
    return false;
}

static fv_status add_updates(fv_trainer *t, const learned *l) {
    fv_graph *g = t->graph;
    const fv_optimizer kind = t->settings.optimizer;
    t->norm = FV_NONE;
    if (t->settings.clip > 0)
        t->norm = fv_graph_node(g, &fv_op_grad_norm, "grad_norm", l->gradients, (int32_t)l->count, 1, NULL);
    for (size_t i = 0; i < l->count; i++) {
        const fv_value w = l->parameters[i];
        const fv_value m = kind == FV_SGD ? FV_NONE : add_state(g, w);
        const fv_value v = kind == FV_ADAM || kind == FV_ADAMW ? add_state(g, w) : FV_NONE;
        const fv_attributes attr = {.update = {kind, g->values[w].shape.rank >= 2 && !is_untied_bias(g, w)}};
        const fv_value in[5] = {w, l->gradients[i], m, v, t->norm};
        FV_FORWARD(fv_graph_status(g));
        (void)fv_graph_node(g, &fv_op_update, NULL, in, 5, 0, &attr);
        FV_FORWARD(fv_graph_status(g));
    }
    return FV_OK;
}

/* Trainable parameters that the loss depends on, with their gradients. */
static fv_status add_gradients(fv_trainer *t, fv_value output, fv_value seed, learned *l) {
    fv_graph *g = t->graph;
    const size_t values = g->value_count;
    size_t wanted = 0;
    fv_value *gradients = NULL;
    FV_FORWARD(fv_alloc_array(g->context, values + 1, sizeof *l->parameters, "training", (void **)&l->parameters));
    FV_FORWARD(fv_alloc_array(g->context, values + 1, sizeof *l->gradients, "training", (void **)&l->gradients));
    for (size_t v = 0; v < values; v++)
        if (g->values[v].kind == FV_VALUE_PARAMETER && g->values[v].trainable) l->parameters[wanted++] = (fv_value)v;
    FV_FORWARD(fv_alloc_array(g->context, values + 1, sizeof *gradients, "training", (void **)&gradients));
    const fv_status status = fv_autodiff(g, &output, &seed, 1, l->parameters, wanted, values, gradients);
    for (size_t i = 0; i < wanted && status == FV_OK; i++) {
        if (gradients[l->parameters[i]] == FV_NONE) continue;
        l->gradients[l->count] = gradients[l->parameters[i]];
        l->parameters[l->count++] = l->parameters[i];
    }
    fv_release(g->context, gradients);
    FV_RETURN_IF(status == FV_OK && l->count == 0, FV_ERR_UNSUPPORTED,
                 "the model has no parameter that training could change");
    return status;
}

static fv_status set_outputs(fv_trainer *t) {
    fv_graph *g = t->graph;
    const fv_value kept[3] = {t->loss, t->correct, t->norm};
    FV_FORWARD(fv_grow(g->context, (void **)&g->outputs, &g->output_capacity, 3, sizeof *g->outputs, "a graph"));
    g->output_count = 0;
    for (int i = 0; i < 3; i++)
        if (kept[i] != FV_NONE) g->outputs[g->output_count++] = kept[i];
    return fv_pass_dead(g);
}

fv_status fv_build_step(fv_trainer *t) {
    fv_graph *g = t->graph;
    learned l = {0};
    fv_value output = FV_NONE, seed = FV_NONE;
    FV_RETURN_IF(g->input_count != 1, FV_ERR_UNSUPPORTED, "the model has %zu inputs; training takes models with one",
                 g->input_count);
    for (size_t i = 0; i < g->output_count; i++) /* cross-entropy must see the softmax */
        FV_RETURN_IF(g->values[g->outputs[i]].producer < 0, FV_ERR_UNSUPPORTED,
                     "the model's output is not computed by any node");
    FV_FORWARD(fv_graph_prepare(g, true, t->settings.input_layout, FV_NHWC));
    t->input = g->inputs[0];
    FV_FORWARD(fv_relayout_weights(g));
    fv_status status = add_loss(t, &output, &seed);
    if (status == FV_OK) status = add_gradients(t, output, seed, &l);
    if (status == FV_OK) status = add_updates(t, &l);
    if (status == FV_OK) status = set_outputs(t);
    if (status == FV_OK) status = fv_pass_pooled_gradients(g);
    fv_release(g->context, l.parameters);
    fv_release(g->context, l.gradients);
    return status;
}
