/* New models from old ones: copies of the graph with one thing changed. */
#include "graph/graph.h"

#include "ops/window.h"

#include <fnmatch.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

static fv_status copy_of(const fv_model *m, fv_model **out, const char *function, fv_graph **g) {
    FV_RETURN_IF(!m || !out, FV_ERR_ARGUMENT, "%s needs a model and a place for the new one", function);
    FV_FORWARD(fv_model_check_open(m, function));
    FV_FORWARD(fv_model_check_weights(m, function));
    return fv_graph_copy(m->graph, false, g);
}

/* The edited graph as a model, or freed. */
static fv_status finish(fv_graph *g, fv_status status, uint64_t seed, fv_model **out) {
    if (status == FV_OK) return fv_model_adopt(g, seed, out);
    fv_graph_free(g);
    return status;
}

/* ---- every activation an output ---- */

/* By another value than `own`. */
static bool taken(const fv_graph *g, const char *name, fv_value own) {
    for (size_t i = 0; i < g->value_count; i++)
        if ((fv_value)i != own && g->values[i].name && strcmp(g->values[i].name, name) == 0) return true;
    return false;
}

static bool is_output(const fv_graph *g, fv_value v) {
    for (size_t i = 0; i < g->output_count; i++)
        if (g->outputs[i] == v) return true;
    return false;
}

static fv_status expose(fv_graph *g) {
    for (size_t i = 0; i < g->node_count; i++) {
        const fv_node *n = &g->nodes[i];
        char name[512];
        if (n->op == &fv_op_dropout || n->out_count < 1 || n->out[0] == FV_NONE || is_output(g, n->out[0])) continue;
        snprintf(name, sizeof name, "%s", n->name);
        for (int again = 1; taken(g, name, n->out[0]); again++) snprintf(name, sizeof name, "%.400s:%d", n->name, again);
        FV_FORWARD(fv_graph_name_value(g, n->out[0], name, true));
        FV_FORWARD(fv_graph_output(g, n->out[0], NULL));
    }
    return FV_OK;
}

fv_status fv_model_expose(const fv_model *m, fv_model **out) {
    fv_graph *g;
    FV_FORWARD(copy_of(m, out, "fv_model_expose", &g));
    return finish(g, expose(g), 0, out);
}

/* ---- constants ---- */

static fv_status freeze(fv_graph *g, const char *pattern, size_t *matched) {
    size_t count = 0;
    for (size_t i = 0; i < g->value_count; i++) {
        fv_value_info *v = &g->values[i];
        if (v->kind != FV_VALUE_PARAMETER || fnmatch(pattern, v->name ? v->name : "", 0) != 0) continue;
        v->trainable = false;
        count++;
    }
    FV_RETURN_IF(count == 0, FV_ERR_NOT_FOUND, "no parameter's name matches \"%.200s\"", pattern);
    if (matched) *matched = count;
    return FV_OK;
}

fv_status fv_model_freeze(const fv_model *m, const char *pattern, size_t *matched, fv_model **out) {
    fv_graph *g;
    FV_RETURN_IF(!pattern, FV_ERR_ARGUMENT, "fv_model_freeze needs a pattern");
    FV_FORWARD(copy_of(m, out, "fv_model_freeze", &g));
    return finish(g, freeze(g, pattern, matched), 0, out);
}

/* ---- another last layer ---- */

static fv_node *last_linear(fv_graph *g) {
    for (size_t i = g->node_count; i-- > 0;)
        if (g->nodes[i].op == &fv_op_linear) return &g->nodes[i];
    return NULL;
}

/* Rows of a parameter that this layer alone reads; its values are drawn again. */
static fv_status resize(fv_graph *g, const fv_node *n, fv_value v, int32_t rows, fv_init init) {
    fv_value_info *p = &g->values[v];
    FV_RETURN_IF(p->kind != FV_VALUE_PARAMETER || fv_graph_uses(g, v) != 1, FV_ERR_UNSUPPORTED,
                 "the last fully connected layer \"%s\" has weights that are computed, or used elsewhere", n->name);
    fv_release(g->context, p->data);
    p->data = NULL;
    p->shape.dim[0] = rows;
    p->init = init;
    p->trainable = true;
    p->fan_in = p->shape.rank > 1 ? p->shape.dim[1] : 1;
    p->fan_out = rows;
    return FV_OK;
}

static fv_status new_head(fv_graph *g, int32_t outputs) {
    const fv_node *n = last_linear(g);
    FV_RETURN_IF(outputs < 1, FV_ERR_ARGUMENT, "a layer of %d outputs; it must be 1 or more", outputs);
    FV_RETURN_IF(!n, FV_ERR_UNSUPPORTED, "the model has no fully connected layer to replace");
    FV_FORWARD(resize(g, n, n->in[1], outputs, FV_INIT_LECUN));
    if (n->in_count > 2 && n->in[2] != FV_NONE) FV_FORWARD(resize(g, n, n->in[2], outputs, FV_INIT_ZEROS));
    return fv_graph_infer(g);
}

fv_status fv_model_new_head(const fv_model *m, int32_t outputs, uint64_t seed, fv_model **out) {
    fv_graph *g;
    FV_FORWARD(copy_of(m, out, "fv_model_new_head", &g));
    return finish(g, new_head(g, outputs), seed, out);
}

/* ---- normalization of the input ---- */

static fv_status check_moments(const fv_graph *g, const float *mean, const float *deviation, int32_t channels) {
    const fv_shape *x = &g->values[g->inputs[0]].shape;
    FV_RETURN_IF(!mean || !deviation, FV_ERR_ARGUMENT, "fv_model_normalize needs means and deviations");
    FV_RETURN_IF(g->input_count != 1 || x->rank != 4 || x->dim[1] != channels, FV_ERR_SHAPE,
                 "means and deviations of %d channels do not fit the model's input %s", channels, fv_shape_print(x).text);
    for (int32_t c = 0; c < channels; c++)
        FV_RETURN_IF(!isfinite(mean[c] / deviation[c]) || !(deviation[c] > 0) || !isfinite(1 / deviation[c]), FV_ERR_ARGUMENT,
                     "channel %d has mean %g and deviation %g", c, (double)mean[c], (double)deviation[c]);
    FV_RETURN_IF(taken(g, "normalize.weight", FV_NONE), FV_ERR_STATE,
                 "the model normalizes its input already (\"normalize.weight\")");
    return FV_OK;
}

/* (x - mean) / deviation as a 1x1 convolution of each channel by itself: one standard operator, before all nodes. */
static fv_status normalize(fv_graph *g, const float *mean, const float *deviation, int32_t channels) {
    FV_FORWARD(check_moments(g, mean, deviation, channels));
    float *factors = NULL;
    FV_FORWARD(fv_alloc_array(g->context, 2 * (size_t)channels, sizeof *factors, "a normalization", (void **)&factors));
    for (int32_t c = 0; c < channels; c++) {
        factors[c] = 1 / deviation[c];
        factors[channels + c] = -mean[c] / deviation[c];
    }
    fv_conv_settings s;
    fv_conv_settings_default(&s);
    s.groups = channels;
    const int64_t weight[4] = {channels, 1, 1, 1};
    const fv_value w = fv_graph_parameter(g, "normalize.weight", 4, weight, factors, FV_INIT_ONES, false);
    const fv_value b = fv_graph_parameter(g, "normalize.bias", 1, weight, factors + channels, FV_INIT_ZEROS, false);
    fv_release(g->context, factors);
    const fv_value x = g->inputs[0], y = fv_graph_conv_with(g, x, w, b, &s, "normalize");
    FV_FORWARD(fv_graph_status(g));
    fv_graph_replace(g, x, y);
    g->nodes[g->node_count - 1].in[0] = x;
    fv_graph_move_last(g, 0);
    return FV_OK;
}

fv_status fv_model_normalize(const fv_model *m, const float *mean, const float *deviation, int32_t channels,
                             fv_model **out) {
    fv_graph *g;
    FV_FORWARD(copy_of(m, out, "fv_model_normalize", &g));
    return finish(g, normalize(g, mean, deviation, channels), 0, out);
}
