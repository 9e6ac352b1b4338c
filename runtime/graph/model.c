#include "graph/model.h"

#include "core/rng.h"
#include "ops/window.h"

#include <math.h>
#include <string.h>

/* ---- initialization: every number a function of seed, parameter and place ---- */

static void fill(const fv_value_info *v, uint64_t seed, uint64_t stream, fv_real *data) {
    const size_t count = fv_shape_count(&v->shape);
    double limit = 0;
    switch (v->init) {
    case FV_INIT_HE: limit = sqrt(6.0 / (double)v->fan_in); break;
    case FV_INIT_XAVIER: limit = sqrt(6.0 / ((double)v->fan_in + (double)v->fan_out)); break;
    case FV_INIT_LECUN: limit = sqrt(3.0 / (double)v->fan_in); break;
    case FV_INIT_ZEROS:
    case FV_INIT_ONES: break;
    }
    for (size_t i = 0; i < count; i++)
        data[i] = v->init == FV_INIT_ONES    ? 1
                  : v->init == FV_INIT_ZEROS ? 0
                                             : (fv_real)((2 * fv_rng_uniform(seed, FV_PURPOSE_INIT, stream, i) - 1) * limit);
}

/* Weights that a connection table leaves out. */
static void disconnect(const fv_value_info *v, fv_real *data) {
    const size_t kernels = (size_t)(v->shape.dim[0] * v->shape.dim[1]), taps = fv_shape_count(&v->shape) / kernels;
    for (size_t i = 0; i < kernels; i++)
        if (!v->edges[i]) memset(data + i * taps, 0, taps * sizeof *data);
}

static fv_status initialize(fv_graph *g, uint64_t seed) {
    uint64_t stream = 0;
    for (size_t i = 0; i < g->value_count; i++) {
        fv_value_info *v = &g->values[i];
        if (v->kind != FV_VALUE_PARAMETER) continue;
        stream++;
        if (v->data) continue;
        FV_FORWARD(fv_alloc(g->context, fv_shape_count(&v->shape) * sizeof(fv_real), v->name, &v->data));
        fill(v, seed, stream, v->data);
        if (v->edges) disconnect(v, v->data);
    }
    return FV_OK;
}

/* ---- life ---- */

static fv_status check_graph(const fv_graph *g) {
    FV_FORWARD(fv_graph_status(g));
    FV_RETURN_IF(g->input_count == 0, FV_ERR_ARGUMENT, "the graph has no input");
    FV_RETURN_IF(g->output_count == 0, FV_ERR_ARGUMENT, "the graph has no output");
    return FV_OK;
}

static fv_status adopt(fv_graph *g, uint64_t seed, fv_model **out) {
    fv_model *m = NULL;
    FV_FORWARD(check_graph(g));
    FV_FORWARD(initialize(g, seed));
    FV_FORWARD(fv_alloc_zero(g->context, sizeof *m, "a model", (void **)&m));
    const fv_status status = fv_packed_create(g->context, &m->packed);
    if (status != FV_OK) {
        fv_release(g->context, m);
        return status;
    }
    m->graph = g;
    atomic_init(&m->references, 1);
    atomic_init(&m->sessions, 0);
    *out = m;
    return FV_OK;
}

fv_status fv_model_adopt(fv_graph *g, uint64_t seed, fv_model **out) {
    const fv_status status = adopt(g, seed, out);
    if (status != FV_OK) fv_graph_free(g);
    return status;
}

static fv_status without_source(fv_graph *g, const fv_model_source *source, fv_status status) {
    if (g) fv_graph_free(g);
    source->free(source->self);
    return status;
}

fv_status fv_model_adopt_source(fv_graph *g, const fv_model_source *source, fv_model **out) {
    fv_model *m = NULL;
    fv_status status = fv_alloc_zero(g->context, sizeof *m, "a model", (void **)&m);
    if (status != FV_OK) return without_source(g, source, status);
    status = fv_packed_create(g->context, &m->packed);
    if (status != FV_OK) {
        fv_release(g->context, m);
        return without_source(g, source, status);
    }
    m->graph = g;
    m->source = *source;
    atomic_init(&m->references, 1);
    atomic_init(&m->sessions, 0);
    *out = m;
    return FV_OK;
}

fv_status fv_model_check_weights(const fv_model *m, const char *what) {
    for (size_t i = 0; i < m->graph->value_count; i++)
        FV_RETURN_IF(m->graph->values[i].away, FV_ERR_STATE,
                     "%s needs the model's weights; they were packed for a session of FV_PLAN_LEAN and freed: load it again",
                     what);
    return FV_OK;
}

size_t fv_model_plain_bytes(const fv_model *m) {
    size_t bytes = fv_packed_plain_bytes(m->packed);
    for (size_t i = 0; i < m->graph->value_count; i++) {
        const fv_value_info *v = &m->graph->values[i];
        if (v->data && !v->shared) bytes += fv_shape_count(&v->shape) * fv_dtype_bytes(v->dtype);
    }
    return bytes;
}

fv_status fv_model_check_open(const fv_model *m, const char *what) {
    FV_RETURN_IF(m->source.lower, FV_ERR_UNSUPPORTED,
                 "%s takes models whose batch alone is open; this one is planned anew for the shapes of each session", what);
    return FV_OK;
}

fv_status fv_model_create(const fv_graph *g, uint64_t seed, fv_model **out) {
    FV_RETURN_IF(!g || !out, FV_ERR_ARGUMENT, "fv_model_create needs a graph and a place for the model");
    FV_FORWARD(check_graph(g));
    fv_graph *copy = NULL;
    FV_FORWARD(fv_graph_copy(g, false, &copy));
    return fv_model_adopt(copy, seed, out);
}

fv_model *fv_model_retain(const fv_model *m) {
    fv_model *mine = (fv_model *)(uintptr_t)m;
    atomic_fetch_add_explicit(&mine->references, 1, memory_order_relaxed);
    return mine;
}

void fv_model_free(fv_model *m) {
    if (!m || atomic_fetch_sub_explicit(&m->references, 1, memory_order_acq_rel) != 1) return;
    fv_context *c = fv_context_retain(m->graph->context);
    fv_packed_free(m->packed);
    fv_choices_free(m->choices);
    fv_graph_free(m->graph);
    if (m->source.free) m->source.free(m->source.self);
    fv_release(c, m);
    fv_context_free(c);
}

/* ---- what there is ---- */

size_t fv_model_input_count(const fv_model *m) { return m ? m->graph->input_count : 0; }
size_t fv_model_output_count(const fv_model *m) { return m ? m->graph->output_count : 0; }
size_t fv_model_node_count(const fv_model *m) { return m ? m->graph->node_count : 0; }

static void view(const fv_value_info *v, const char **name, fv_tensor *out) {
    if (name) *name = v->name ? v->name : "";
    if (!out) return;
    *out = (fv_tensor){.dtype = v->dtype, .layout = FV_PLAIN, .rank = v->shape.rank, .data = v->data};
    memcpy(out->shape, v->shape.dim, sizeof out->shape);
}

fv_status fv_model_input(const fv_model *m, size_t i, const char **name, fv_tensor *shape) {
    FV_RETURN_IF(!m || i >= m->graph->input_count, FV_ERR_ARGUMENT, "the model has no input %zu", i);
    view(&m->graph->values[m->graph->inputs[i]], name, shape);
    return FV_OK;
}

fv_status fv_model_output(const fv_model *m, size_t i, const char **name, fv_tensor *shape) {
    FV_RETURN_IF(!m || i >= m->graph->output_count, FV_ERR_ARGUMENT, "the model has no output %zu", i);
    view(&m->graph->values[m->graph->outputs[i]], name, shape);
    if (shape) shape->data = NULL;
    return FV_OK;
}

bool fv_model_gives_probabilities(const fv_model *m) {
    if (!m) return false;
    const int32_t producer = m->graph->output_count ? m->graph->values[m->graph->outputs[0]].producer : -1;
    return producer >= 0 && m->graph->nodes[producer].op == &fv_op_softmax;
}

size_t fv_model_parameter_count(const fv_model *m) {
    size_t count = 0;
    for (size_t i = 0; m && i < m->graph->value_count; i++) count += m->graph->values[i].kind == FV_VALUE_PARAMETER;
    return count;
}

size_t fv_model_weight_count(const fv_model *m) {
    size_t count = 0;
    for (size_t i = 0; m && i < m->graph->value_count; i++) {
        const fv_value_info *v = &m->graph->values[i];
        if (v->kind != FV_VALUE_PARAMETER || !v->trainable) continue;
        const size_t n = fv_shape_count(&v->shape), kernels = v->edges ? (size_t)(v->shape.dim[0] * v->shape.dim[1]) : 0;
        count += n;
        for (size_t k = 0; k < kernels; k++) count -= v->edges[k] ? 0 : n / kernels;
    }
    return count;
}

fv_status fv_model_parameter(const fv_model *m, size_t i, const char **name, fv_tensor *out, bool *trainable) {
    FV_RETURN_IF(!m, FV_ERR_ARGUMENT, "the model is NULL");
    for (size_t k = 0, at = 0; k < m->graph->value_count; k++) {
        const fv_value_info *v = &m->graph->values[k];
        if (v->kind != FV_VALUE_PARAMETER || at++ != i) continue;
        FV_FORWARD(fv_model_check_weights(m, "fv_model_parameter"));
        view(v, name, out);
        if (trainable) *trainable = v->trainable;
        return FV_OK;
    }
    return fv_fail(FV_ERR_ARGUMENT, "the model has no parameter %zu", i);
}
