/* ONNX out: the model's graph as it was built, opset 17 or the first that has all its operators, streamed through a file
 * written beside and renamed. Everything the messages point to lives in one bump arena, freed at the end. */
#include "io/onnx_function.h"
#include "io/onnx_protobuf.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const fv_onnx_write_row *const families[] = {
    fv_onnx_write_conv,  fv_onnx_write_pointwise,   fv_onnx_write_rest,     fv_onnx_write_norm,
    fv_onnx_write_local, fv_onnx_write_activations, fv_onnx_write_contrast, fv_onnx_write_conv_transpose,
    fv_onnx_write_pool,  fv_onnx_write_parts,       fv_onnx_write_nd,
    fv_onnx_write_nd_pointwise, fv_onnx_write_nd_matrix, fv_onnx_write_nd_window, fv_onnx_write_nd_select,
    fv_onnx_write_nd_resize, fv_onnx_write_nd_functions, fv_onnx_write_nd_recurrent,
};

static fv_status write_node(fv_onnx_writer *w, const fv_node *source) {
    if (source->op == &fv_op_layout && !fv_graph_is_output(w->graph, source->out[0])) return FV_OK; /* a file knows one layout */
    for (size_t k = 0; k < FV_ARRAY_SIZE(families); k++)
        for (const fv_onnx_write_row *row = families[k]; row->op; row++)
            if (row->op == source->op) {
                row->write(w, source);
                return w->status;
            }
    return fv_fail(FV_ERR_UNSUPPORTED, "node \"%.100s\": operator %s has no ONNX form",
                   source->name ? source->name : "", source->op->name);
}

/* ---- the file ---- */

static FvOnnx__ValueInfo *value_info(fv_onnx_writer *w, fv_value v) {
    const fv_shape *shape = &w->graph->values[v].shape;
    FvOnnx__ValueInfo *info = fv_onnx_take(w, sizeof *info);
    FvOnnx__Type *type = fv_onnx_take(w, sizeof *type);
    FvOnnx__TensorType *tensor_type = fv_onnx_take(w, sizeof *tensor_type);
    FvOnnx__Shape *out = fv_onnx_take(w, sizeof *out);
    FvOnnx__Dimension **dims = fv_onnx_take(w, (size_t)shape->rank * sizeof *dims);
    if (!info || !type || !tensor_type || !out || !dims) return NULL;
    fv_onnx__value_info__init(info);
    fv_onnx__type__init(type);
    fv_onnx__tensor_type__init(tensor_type);
    fv_onnx__shape__init(out);
    for (int32_t i = 0; i < shape->rank; i++) {
        FvOnnx__Dimension *d = fv_onnx_take(w, sizeof *d);
        if (!d) return NULL;
        fv_onnx__dimension__init(d);
        if (i == 0 && shape->dim[0] == 0)
            d->dim_param = (char *)"N";
        else
            d->has_dim_value = true, d->dim_value = shape->dim[i];
        dims[i] = d;
    }
    out->n_dim = (size_t)shape->rank;
    out->dim = dims;
    tensor_type->has_elem_type = true;
    tensor_type->elem_type = fv_onnx_type_of(w->graph->values[v].dtype);
    tensor_type->shape = out;
    type->tensor_type = tensor_type;
    info->name = fv_onnx_value_name(w, v);
    info->type = type;
    return info;
}

static FvOnnx__ValueInfo **value_infos(fv_onnx_writer *w, const fv_value *values, size_t count) {
    FvOnnx__ValueInfo **infos = fv_onnx_take(w, (count ? count : 1) * sizeof *infos);
    for (size_t i = 0; infos && i < count; i++)
        if (!(infos[i] = value_info(w, values[i]))) return NULL;
    return infos;
}

static int by_name(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

/* Names are the file's only links: two things of one name would be wired to each other. */
static fv_status check_names(fv_onnx_writer *w, const FvOnnx__Graph *g) {
    size_t count = 0;
    size_t most = g->n_input + g->n_initializer + 1;
    for (size_t i = 0; i < g->n_node; i++) most += g->node[i]->n_output;
    char **names = fv_onnx_take(w, most * sizeof *names);
    FV_FORWARD(w->status);
    for (size_t i = 0; i < g->n_input; i++) names[count++] = g->input[i]->name;
    for (size_t i = 0; i < g->n_initializer; i++) names[count++] = g->initializer[i]->name;
    for (size_t i = 0; i < g->n_node; i++)
        for (size_t k = 0; k < g->node[i]->n_output; k++)
            if (*g->node[i]->output[k]) names[count++] = g->node[i]->output[k];
    qsort(names, count, sizeof *names, by_name);
    for (size_t i = 1; i < count; i++)
        FV_RETURN_IF(strcmp(names[i - 1], names[i]) == 0, FV_ERR_UNSUPPORTED,
                     "two values would be called \"%.200s\" in the file", names[i]);
    for (size_t i = 0; i < w->graph->output_count; i++)
        for (size_t k = 0; k < i; k++)
            FV_RETURN_IF(w->graph->outputs[i] == w->graph->outputs[k], FV_ERR_UNSUPPORTED,
                         "one value is output %zu and %zu, which ONNX does not allow", k, i);
    return FV_OK;
}

static FvOnnx__OperatorSetId opset_of(const char *domain, int64_t version) {
    FvOnnx__OperatorSetId opset = FV_ONNX__OPERATOR_SET_ID__INIT;
    opset.domain = (char *)domain;
    opset.has_version = true;
    opset.version = version;
    return opset;
}

static int by_key(const void *a, const void *b) {
    return strcmp((*(FvOnnx__StringEntry *const *)a)->key, (*(FvOnnx__StringEntry *const *)b)->key);
}

/* Parameters that training leaves alone, by their initializers' names, in the order of these. */
static void write_constants(fv_onnx_writer *w, FvOnnx__Model *model) {
    const fv_graph *g = w->graph;
    model->metadata_props = fv_onnx_take(w, (g->value_count + 1) * sizeof *model->metadata_props);
    for (size_t v = 0; model->metadata_props && v < g->value_count; v++) {
        if (g->values[v].kind != FV_VALUE_PARAMETER || g->values[v].trainable || !fv_graph_uses(g, (fv_value)v))
            continue;
        if (g->values[v].shape.rank == 0) continue; /* a single number is never trained */
        FvOnnx__StringEntry *entry = fv_onnx_take(w, sizeof *entry);
        if (!entry) return;
        fv_onnx__string_entry__init(entry);
        entry->key = fv_onnx_text(w, FV_ONNX_CONSTANT "%s", fv_onnx_value_name(w, (fv_value)v), 0);
        if (!entry->key) return;
        entry->value = (char *)"";
        model->metadata_props[model->n_metadata_props++] = entry;
    }
    if (w->status == FV_OK && model->n_metadata_props)
        qsort(model->metadata_props, model->n_metadata_props, sizeof *model->metadata_props, by_key);
}

fv_status fv_onnx_write_made(fv_onnx_writer *w, const char *path) {
    const fv_graph *g = w->graph;
    FvOnnx__Model model = FV_ONNX__MODEL__INIT;
    FvOnnx__Graph graph = FV_ONNX__GRAPH__INIT;
    FvOnnx__OperatorSetId sets[2] = {opset_of("", w->opset ? w->opset : FV_ONNX_OPSET),
                                     opset_of(FV_ONNX_DOMAIN, FV_ONNX_DOMAIN_VERSION)};
    FvOnnx__OperatorSetId *opsets[2] = {&sets[0], &sets[1]};
    graph.name = (char *)"fovea";
    graph.n_node = w->node_count;
    graph.node = w->nodes;
    graph.n_initializer = w->tensor_count;
    graph.initializer = w->tensors;
    graph.n_input = g->input_count;
    graph.input = value_infos(w, g->inputs, g->input_count);
    graph.n_output = g->output_count;
    graph.output = value_infos(w, g->outputs, g->output_count);
    model.functions = fv_onnx_take(w, (w->function_count + 1) * sizeof *model.functions);
    write_constants(w, &model);
    FV_FORWARD(w->status);
    FV_FORWARD(check_names(w, &graph));
    for (size_t i = 0; i < w->function_count; i++) model.functions[i] = &w->functions[i]->message;
    model.n_functions = w->function_count;
    model.has_ir_version = true;
    model.ir_version = w->opset > 18 ? FV_ONNX_IR_VERSION + 1 : FV_ONNX_IR_VERSION;
    model.producer_name = (char *)"fovea";
    model.producer_version = (char *)FV_VERSION;
    model.graph = &graph;
    model.n_opset_import = w->function_count ? 2 : 1;
    model.opset_import = opsets;
    return fv_onnx_write_message(w->context, &model.base, path);
}

/* ---- nodes that others took in ---- */

static bool is_read(char *const *names, size_t count, char *name) {
    return bsearch(&name, names, count, sizeof *names, by_name) != NULL;
}

/* Drops the nodes that nothing reads; whether there were any. */
static bool drop_unread(fv_onnx_writer *w) {
    const fv_graph *g = w->graph;
    size_t count = 0, most = g->output_count + 1, kept = 0;
    for (size_t i = 0; i < w->node_count; i++) most += w->nodes[i]->n_input;
    char **names = fv_onnx_take(w, most * sizeof *names);
    if (!names) return false;
    for (size_t i = 0; i < w->node_count; i++)
        for (size_t k = 0; k < w->nodes[i]->n_input; k++) names[count++] = w->nodes[i]->input[k];
    for (size_t i = 0; i < g->output_count; i++)
        if (!(names[count++] = fv_onnx_value_name(w, g->outputs[i]))) return false;
    qsort(names, count, sizeof *names, by_name);
    for (size_t i = 0; i < w->node_count; i++) {
        bool read = false;
        for (size_t k = 0; k < w->nodes[i]->n_output && !read; k++)
            read = *w->nodes[i]->output[k] && is_read(names, count, w->nodes[i]->output[k]);
        if (read) w->nodes[kept++] = w->nodes[i];
    }
    const bool dropped = kept < w->node_count;
    w->node_count = kept;
    return dropped;
}

/* In the operator set asked for; *needed: the one that holds every node. */
static fv_status write_graph(const fv_model *m, int32_t opset, const char *path, int32_t *needed) {
    fv_onnx_writer w = {.context = m->graph->context, .graph = m->graph, .opset = opset, .needed = opset};
    fv_status status = FV_OK;
    for (size_t i = 0; i < w.graph->node_count && status == FV_OK; i++) status = write_node(&w, &w.graph->nodes[i]);
    *needed = w.needed;
    while (status == FV_OK && w.absorbed && drop_unread(&w)) {}
    if (status == FV_OK) status = w.status;
    if (status == FV_OK && w.needed == opset) status = fv_onnx_write_made(&w, path);
    fv_onnx_release(&w);
    return status;
}

fv_status fv_model_save(const fv_model *m, const char *path) {
    FV_RETURN_IF(!m || !path, FV_ERR_ARGUMENT, "fv_model_save needs a model and a path");
    FV_FORWARD(fv_model_check_weights(m, "fv_model_save"));
    if (m->source.save) return m->source.save(m->source.self, path);
    int32_t opset = FV_ONNX_OPSET, needed;
    FV_FORWARD(write_graph(m, opset, path, &needed));
    return needed == opset ? FV_OK : write_graph(m, needed, path, &needed);
}
