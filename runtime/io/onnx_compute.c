/* Constants computed while reading: a node that depends on nothing else is read into a graph of its own, planned for
 * one thread and run; so what exporters write to compute shapes is gone before the network is planned, by the
 * operators' one implementation. */
#include "io/onnx_scope.h"
#include "ops/nd_pointwise.h"
#include "ops/nd_window.h"
#include "ops/window.h"

#include <string.h>

static const size_t most_bytes = (size_t)1 << 28; /* of one computed constant */

static bool is_computable(const fv_onnx_reader *r, const FvOnnx__Node *n) {
    size_t given = 0;
    for (size_t i = 0; i < n->n_input; i++) {
        if (!*n->input[i]) continue;
        const fv_onnx_name *entry = fv_onnx_find(r, n->input[i]);
        if (!entry || (!entry->constant && !entry->absent)) return false;
        given += entry->constant;
    }
    return given > 0;
}

/* One thread, so that no team is made for every node. */
static fv_status serial_context(fv_onnx_reader *r) {
    fv_context *c;
    if (r->serial) return FV_OK;
    FV_FORWARD(fv_onnx_take_bytes(r->memory, sizeof *c, (void **)&c));
    memcpy(c, r->context, sizeof *c);
    c->settings.backend = FV_BACKEND_SERIAL;
    c->settings.threads = 1;
    atomic_init(&c->references, 1); /* this one, which nobody gives back */
    r->serial = c;
    return FV_OK;
}

static fv_status take_inputs(fv_onnx_reader *inner, const fv_onnx_reader *r, const FvOnnx__Node *n) {
    for (size_t i = 0; i < n->n_input; i++) {
        const fv_onnx_name *known = *n->input[i] ? fv_onnx_find(r, n->input[i]) : NULL;
        if (!known || fv_onnx_find(inner, n->input[i])) continue;
        fv_onnx_name entry = {.name = n->input[i],
                              .constant = known->constant,
                              .absent = known->absent,
                              .tensor = known->tensor,
                              .value = FV_NONE,
                              .made = true};
        FV_FORWARD(fv_onnx_define(inner, &entry));
    }
    return FV_OK;
}

static bool is_learned(const fv_onnx_reader *r, const FvOnnx__Node *n) {
    bool learned = false;
    for (size_t i = 0; i < n->n_input; i++) {
        const fv_onnx_name *known = *n->input[i] ? fv_onnx_find(r, n->input[i]) : NULL;
        learned = learned || (known && known->learned);
    }
    return learned;
}

static fv_status run(fv_graph *g, void **data) {
    fv_run_info nothing = {0};
    const fv_plan_settings settings = {.bind_outputs = true, .run = &nothing};
    fv_plan *plan;
    FV_FORWARD(fv_plan_create(g, &settings, &plan));
    for (size_t i = 0; i < g->output_count; i++) fv_plan_bind(plan, g->outputs[i], data[i]);
    fv_plan_run(plan);
    fv_plan_free(plan);
    return FV_OK;
}

/* Outputs that are values of the inner graph are computed; those that its reader knew already are taken as they are. */
static fv_status compute_outputs(fv_onnx_reader *r, const fv_onnx_reader *inner, const FvOnnx__Node *n) {
    fv_graph *g = inner->graph;
    void **data;
    fv_onnx_name *made;
    FV_FORWARD(fv_onnx_take_bytes(r->memory, (n->n_output + 1) * sizeof *data, (void **)&data));
    FV_FORWARD(fv_onnx_take_bytes(r->memory, (n->n_output + 1) * sizeof *made, (void **)&made));
    for (size_t i = 0; i < n->n_output; i++) {
        const fv_onnx_name *known = *n->output[i] ? fv_onnx_find(inner, n->output[i]) : NULL;
        if (!known || known->constant) continue;
        FV_FORWARD(fv_graph_output(g, known->value, NULL));
    }
    if (g->output_count) FV_FORWARD(fv_graph_prepare(g, false, FV_PLAIN, FV_PLAIN));
    for (size_t i = 0, k = 0; i < n->n_output; i++) {
        const fv_onnx_name *known = *n->output[i] ? fv_onnx_find(inner, n->output[i]) : NULL;
        if (!known) continue;
        made[i] = *known;
        made[i].name = n->output[i];
        made[i].made = true;
        made[i].learned = is_learned(r, n);
        made[i].scope = NULL;
        made[i].node = NULL;
        if (known->constant) continue;
        const fv_value_info *v = &g->values[g->outputs[k]];
        const size_t count = fv_shape_count(&v->shape), bytes = count * fv_dtype_bytes(v->dtype);
        FV_RETURN_IF(bytes > most_bytes, FV_ERR_LIMIT, "node \"%.100s\" (%.60s): the constant it makes has %zu bytes",
                     n->name ? n->name : "", n->op_type, bytes);
        FV_FORWARD(fv_onnx_take_bytes(r->memory, bytes, &data[k]));
        made[i].constant = true;
        made[i].value = FV_NONE;
        made[i].tensor =
            (fv_onnx_tensor){.shape = v->shape, .count = count, .type = fv_onnx_type_of(v->dtype), .data = data[k++]};
    }
    if (g->output_count) FV_FORWARD(run(g, data));
    for (size_t i = 0; i < n->n_output; i++)
        if (made[i].name) FV_FORWARD(fv_onnx_define(r, &made[i]));
    return FV_OK;
}

/* CastLike is a Cast of its first input, whatever the other's values. */
static bool cast_of(const fv_onnx_reader *r, const FvOnnx__Node *n, int64_t *to) {
    if (strcmp(n->op_type, "CastLike") != 0 || (n->domain && *n->domain) || n->n_input != 2) return false;
    const fv_onnx_name *x = fv_onnx_find(r, n->input[0]), *like = fv_onnx_find(r, n->input[1]);
    if (!x || !x->constant || !like || like->absent || (!like->constant && like->value == FV_NONE)) return false;
    *to = like->constant ? like->tensor.type : fv_onnx_type_of(r->graph->values[like->value].dtype);
    return true;
}

static fv_status compute(fv_onnx_reader *r, const FvOnnx__Node *n) {
    static const fv_lowering fixed;
    FV_FORWARD(serial_context(r));
    fv_onnx_reader inner = *r;
    inner.source = NULL;
    inner.wanted = &fixed;
    FV_FORWARD(fv_graph_create((fv_context *)(uintptr_t)r->serial, &inner.graph));
    fv_status status = fv_onnx_new_scope(r, NULL, &inner.names);
    if (status == FV_OK) {
        status = take_inputs(&inner, r, n);
        if (status == FV_OK) status = fv_onnx_ask_readers(&inner, n);
        if (status == FV_OK) status = compute_outputs(r, &inner, n);
    }
    fv_graph_free(inner.graph);
    if (status == FV_OK) fv_pass_note(r->graph, FV_PASS_CONSTANTS, 1, 1, 0);
    return status;
}

fv_status fv_onnx_compute(fv_onnx_reader *r, const FvOnnx__Node *n, bool *done) {
    FvOnnx__Attribute to = FV_ONNX__ATTRIBUTE__INIT, *attributes = &to;
    *done = true;
    if (cast_of(r, n, &to.i)) {
        FvOnnx__Node cast = *n;
        to.name = (char *)"to";
        to.has_i = true;
        cast.op_type = (char *)"Cast";
        cast.n_input = 1;
        cast.n_attribute = 1;
        cast.attribute = &attributes;
        return compute(r, &cast);
    }
    *done = is_computable(r, n) && !(n->domain && strcmp(n->domain, FV_ONNX_DOMAIN) == 0);
    return *done ? compute(r, n) : FV_OK;
}

/* ---- nodes that readers made of constants alone ---- */

/* Numbers of a convolution of whole ones, which keeps 8 bits and their zero point apart. */
static bool feeds_conv(const fv_graph *g, fv_value v) {
    for (size_t i = 0; i < g->node_count; i++)
        for (int32_t k = 0; k < g->nodes[i].in_count; k++) {
            if (g->nodes[i].in[k] != v) continue;
            if (g->nodes[i].op == &fv_op_nd_conv) return true;
            if (g->nodes[i].op == &fv_op_nd_binary && feeds_conv(g, g->nodes[i].out[0])) return true;
        }
    return false;
}

static bool is_constant(const fv_graph *g, const fv_node *n) {
    bool given = false;
    for (int32_t k = 0; k < n->in_count; k++) {
        if (n->in[k] == FV_NONE) continue;
        const fv_value_info *v = &g->values[n->in[k]];
        if (v->kind != FV_VALUE_PARAMETER || v->trainable || !v->data || v->layout != FV_PLAIN) return false;
        given = true;
    }
    for (int32_t k = 0; k < n->out_count; k++) {
        if (n->out[k] == FV_NONE) continue;
        const fv_value_info *v = &g->values[n->out[k]];
        if (v->layout != FV_PLAIN || fv_graph_is_output(g, n->out[k])) return false;
        if (fv_shape_count(&v->shape) > most_bytes / fv_dtype_bytes(v->dtype)) return false;
        if (v->dtype == FV_I32 && feeds_conv(g, n->out[k])) return false;
    }
    return given && !(n->op->flags & FV_OP_EFFECT);
}

/* The node alone in a graph of its own, run; data[k] of its outputs. */
static fv_status run_alone(const fv_graph *g, fv_graph *alone, const fv_node *n, int32_t outs, void **data) {
    fv_value in[FV_ND_OPERANDS];
    for (int32_t k = 0; k < n->in_count; k++) {
        const fv_value_info *v = n->in[k] == FV_NONE ? NULL : &g->values[n->in[k]];
        in[k] = v ? fv_graph_constant(alone, NULL, v->dtype, &v->shape, v->data) : FV_NONE;
    }
    const fv_value first = fv_graph_node(alone, n->op, n->name, in, n->in_count, outs, &n->attr);
    FV_FORWARD(fv_graph_status(alone));
    for (int32_t k = 0; k < outs; k++) FV_FORWARD(fv_graph_output(alone, first + k, NULL));
    FV_FORWARD(fv_graph_prepare(alone, false, FV_PLAIN, FV_PLAIN));
    return run(alone, data);
}

/* Its outputs become parameters. */
static fv_status make_constant(fv_onnx_reader *r, const fv_node *n) {
    void *data[3] = {NULL};
    fv_graph *g = r->graph, *alone;
    int32_t outs = 0;
    FV_FORWARD(serial_context(r));
    FV_FORWARD(fv_graph_create((fv_context *)(uintptr_t)r->serial, &alone));
    fv_status status = FV_OK;
    while (status == FV_OK && outs < n->out_count && outs < 3 && n->out[outs] != FV_NONE) {
        const fv_value_info *v = &g->values[n->out[outs]];
        status = fv_alloc_array(r->context, fv_max_size(fv_shape_count(&v->shape), 1), fv_dtype_bytes(v->dtype),
                                n->name, &data[outs]);
        outs += status == FV_OK;
    }
    if (status == FV_OK) status = run_alone(g, alone, n, outs, data);
    fv_graph_free(alone);
    for (int32_t k = 0; k < outs; k++) {
        if (status != FV_OK) {
            fv_release(r->context, data[k]);
            continue;
        }
        fv_value_info *v = &g->values[n->out[k]];
        v->kind = FV_VALUE_PARAMETER;
        v->producer = -1;
        v->data = data[k];
    }
    return status;
}

fv_status fv_onnx_fold_constants(fv_onnx_reader *r) {
    fv_graph *g = r->graph;
    bool *dead, any = false;
    FV_FORWARD(fv_onnx_take_bytes(r->memory, g->node_count + 1, (void **)&dead));
    for (size_t i = 0; i < g->node_count; i++) {
        if (!is_constant(g, &g->nodes[i]) || g->nodes[i].in_count > FV_ND_OPERANDS) continue;
        FV_FORWARD(make_constant(r, &g->nodes[i]));
        dead[i] = any = true;
    }
    if (any) fv_graph_remove(g, dead);
    return FV_OK;
}
