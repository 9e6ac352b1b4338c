/* Constants computed while reading: a node that depends on nothing else is read into a graph of its own, planned for
 * one thread and run; so what exporters write to compute shapes is gone before the network is planned, by the
 * operators' one implementation. */
#include "io/onnx_scope.h"
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

fv_status fv_onnx_compute(fv_onnx_reader *r, const FvOnnx__Node *n, bool *done) {
    static const fv_lowering fixed;
    *done = is_computable(r, n);
    if (!*done) return FV_OK;
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
