/* ONNX in: what the file says becomes a graph, one reader call a node (onnx_ops.c). */
#include "io/onnx_scope.h"
#include "ops/window.h"

#include <stdio.h>
#include <string.h>

/* ---- attributes ---- */

const FvOnnx__Attribute *fv_onnx_attribute(const FvOnnx__Node *n, const char *name) {
    for (size_t i = 0; i < n->n_attribute; i++)
        if (n->attribute[i]->name && strcmp(n->attribute[i]->name, name) == 0) return n->attribute[i];
    return NULL;
}

int64_t fv_onnx_attribute_int(const FvOnnx__Node *n, const char *name, int64_t otherwise) {
    const FvOnnx__Attribute *a = fv_onnx_attribute(n, name);
    return a && a->has_i ? a->i : otherwise;
}

float fv_onnx_attribute_float(const FvOnnx__Node *n, const char *name, float otherwise) {
    const FvOnnx__Attribute *a = fv_onnx_attribute(n, name);
    return a && a->has_f ? a->f : otherwise;
}

/* ---- constants and inputs ---- */

fv_status fv_onnx_read_initializers(fv_onnx_reader *r, const FvOnnx__Graph *g) {
    for (size_t i = 0; i < g->n_initializer; i++) {
        const FvOnnx__Tensor *t = g->initializer[i];
        fv_onnx_name entry = {.name = t->name, .constant = true, .value = FV_NONE};
        FV_RETURN_IF(!t->name || !*t->name, FV_ERR_FORMAT, "initializer %zu has no name", i);
        FV_FORWARD(fv_onnx_tensor_view(t, r->file, r->files, &entry.tensor));
        entry.learned = entry.tensor.type == fv_onnx_type_of(FV_F32) && entry.tensor.count > 1;
        FV_FORWARD(fv_onnx_define(r, &entry));
    }
    return FV_OK;
}

static const FvOnnx__Shape *shape_of(const FvOnnx__ValueInfo *info) {
    return info->type && info->type->tensor_type ? info->type->tensor_type->shape : NULL;
}

/* Exporters write an unknown size as -1, too. */
static bool is_given(const FvOnnx__Dimension *d) { return d->has_dim_value && d->dim_value != -1; }

/* For every batch: its first axis is open, or has the size that it has in every input. */
static fv_status open_input(fv_onnx_reader *r, const FvOnnx__ValueInfo *info, int64_t *batch) {
    const FvOnnx__Shape *given = shape_of(info);
    FV_RETURN_IF(!given, FV_ERR_UNSUPPORTED, "input \"%.200s\" has no tensor shape", info->name);
    const int32_t type = info->type->tensor_type->elem_type;
    const size_t rank = given->n_dim;
    const bool indices = type == FV_ONNX_INT64 && rank == 4;
    FV_RETURN_IF(type != FV_ONNX_FLOAT && !indices, FV_ERR_UNSUPPORTED,
                 "input \"%.200s\" has ONNX data type %d, only float (1) and indices of pooling are read", info->name,
                 type);
    FV_RETURN_IF(rank < 1 || rank > FV_MAX_RANK, FV_ERR_UNSUPPORTED, "input \"%.200s\" has rank %zu", info->name, rank);
    int64_t shape[FV_MAX_RANK];
    for (size_t i = 0; i < rank; i++) {
        const FvOnnx__Dimension *d = given->dim[i];
        shape[i] = is_given(d) ? d->dim_value : 0;
        FV_RETURN_IF(i > 0 && shape[i] < 1, FV_ERR_UNSUPPORTED,
                     "input \"%.200s\" has no fixed size on axis %zu; only the batch may be open", info->name, i);
        FV_RETURN_IF(shape[i] < 0, FV_ERR_SHAPE, "input \"%.200s\" has a negative size", info->name);
    }
    FV_RETURN_IF(*batch >= 0 && *batch != shape[0], FV_ERR_UNSUPPORTED,
                 "input \"%.200s\" has another first size than the one before it", info->name);
    *batch = shape[0];
    shape[0] = 0; /* any batch */
    const fv_value v = indices ? fv_graph_input_indices(r->graph, info->name, shape)
                               : fv_graph_input(r->graph, info->name, (int32_t)rank, shape);
    FV_FORWARD(fv_graph_status(r->graph));
    return fv_onnx_define(r, &(fv_onnx_name){.name = info->name, .value = v, .input = r->graph->input_count});
}

/* The sizes given for input k, or the file's own: 1, or the batch, where those are open. */
static fv_status input_shape(const fv_onnx_reader *r, const FvOnnx__ValueInfo *info, size_t k, fv_dtype dtype,
                             fv_shape *out) {
    const FvOnnx__Shape *own = shape_of(info);
    const fv_tensor *given = r->wanted->inputs ? &r->wanted->inputs[k] : NULL;
    *out = (fv_shape){.rank = given ? given->rank : own ? (int32_t)own->n_dim : 0};
    FV_RETURN_IF(!given && !own, FV_ERR_UNSUPPORTED,
                 "input \"%.200s\" has no shape in the file: give it in settings.inputs", info->name);
    FV_RETURN_IF(own && own->n_dim > FV_MAX_RANK, FV_ERR_UNSUPPORTED, "input \"%.200s\" has rank %zu", info->name,
                 own->n_dim);
    FV_RETURN_IF(given && given->dtype != dtype, FV_ERR_ARGUMENT, "input \"%.200s\" is %s, not %s", info->name,
                 fv_dtype_name(dtype), fv_dtype_name(given->dtype));
    FV_RETURN_IF(given && own && (size_t)given->rank != own->n_dim, FV_ERR_SHAPE,
                 "input \"%.200s\" has rank %zu, not %d", info->name, own->n_dim, given->rank);
    for (int32_t i = 0; i < out->rank; i++) {
        const bool fixed = own && is_given(own->dim[i]);
        FV_RETURN_IF(fixed && own->dim[i]->dim_value < 0, FV_ERR_SHAPE,
                     "input \"%.200s\" has a negative size", info->name);
        const int64_t size = fixed ? own->dim[i]->dim_value : i == 0 ? r->wanted->batch : 1;
        out->dim[i] = given ? given->shape[i] : size;
        FV_RETURN_IF(given && fixed && i > 0 && given->shape[i] != size, FV_ERR_SHAPE,
                     "input \"%.200s\" has size %lld on axis %d, not %lld", info->name, (long long)size, i,
                     (long long)given->shape[i]);
        FV_RETURN_IF(out->dim[i] > INT32_MAX, FV_ERR_SHAPE, "input \"%.200s\" has size %lld on axis %d", info->name,
                     (long long)out->dim[i], i);
    }
    return FV_OK;
}

static fv_status fixed_input(fv_onnx_reader *r, const FvOnnx__ValueInfo *info) {
    const size_t k = r->graph->input_count;
    char what[260];
    fv_dtype dtype;
    fv_shape shape;
    size_t count;
    snprintf(what, sizeof what, "input \"%.200s\"", info->name);
    FV_RETURN_IF(!info->type || !info->type->tensor_type, FV_ERR_UNSUPPORTED, "%s is no tensor", what);
    FV_RETURN_IF(r->wanted->inputs && k >= r->wanted->input_count, FV_ERR_ARGUMENT,
                 "%zu inputs were given, the model has more", r->wanted->input_count);
    FV_FORWARD(fv_onnx_dtype(info->type->tensor_type->elem_type, what, &dtype));
    FV_FORWARD(input_shape(r, info, k, dtype, &shape));
    fv_tensor sized = {.dtype = dtype, .rank = shape.rank};
    memcpy(sized.shape, shape.dim, sizeof shape.dim);
    FV_FORWARD(fv_tensor_count(&sized, &count));
    const fv_value v = fv_graph_any_input(r->graph, info->name, dtype, &shape);
    FV_FORWARD(fv_graph_status(r->graph));
    fv_onnx_name entry = {.name = info->name, .value = v, .input = k + 1};
    if (r->pinned[k]) {
        entry.constant = entry.made = true;
        entry.value = FV_NONE;
        entry.tensor = (fv_onnx_tensor){
            .shape = shape, .count = count, .type = fv_onnx_type_of(dtype), .data = r->wanted->inputs[k].data};
    }
    return fv_onnx_define(r, &entry);
}

static fv_status read_inputs(fv_onnx_reader *r) {
    const FvOnnx__Graph *g = r->model->graph;
    int64_t batch = -1;
    for (size_t i = 0; i < g->n_input; i++) {
        FV_RETURN_IF(!g->input[i]->name || !*g->input[i]->name, FV_ERR_FORMAT, "an input of the graph has no name");
        const fv_onnx_name *known = fv_onnx_find(r, g->input[i]->name);
        if (known && known->constant && !known->input) continue; /* IR version 3: initializers are inputs too */
        FV_FORWARD(r->wanted ? fixed_input(r, g->input[i]) : open_input(r, g->input[i], &batch));
    }
    FV_RETURN_IF(r->wanted && r->wanted->inputs && r->wanted->input_count != r->graph->input_count, FV_ERR_ARGUMENT,
                 "%zu inputs were given; the model has %zu", r->wanted->input_count, r->graph->input_count);
    return FV_OK;
}

/* ---- nodes ---- */

typedef struct refused {
    char list[400], first[400];
    size_t count, used;
} refused;

static void add_refused(refused *l, const FvOnnx__Node *n) {
    if (l->count++ == 0) snprintf(l->first, sizeof l->first, "%s", fv_last_error());
    if (l->used < sizeof l->list - 1)
        l->used += (size_t)snprintf(l->list + l->used, sizeof l->list - l->used, "%s%.60s \"%.60s\"",
                                    l->count > 1 ? ", " : "", n->op_type, n->name ? n->name : "");
}

static fv_status say_refused(const refused *l) {
    if (l->count == 1) return fv_fail(FV_ERR_UNSUPPORTED, "%s", l->first);
    FV_RETURN_IF(l->count, FV_ERR_UNSUPPORTED, "%zu nodes cannot run: %s; the first: %s", l->count, l->list, l->first);
    return FV_OK;
}

/* It needs what a node makes that was refused itself. */
static bool follows_refused(const fv_onnx_reader *r, const FvOnnx__Node *n) {
    for (size_t i = 0; i < n->n_input; i++) {
        const fv_onnx_name *known = *n->input[i] ? fv_onnx_find(r, n->input[i]) : NULL;
        if (known && !known->constant && !known->absent && known->value == FV_NONE) return true;
    }
    return false;
}

fv_status fv_onnx_read_nodes(fv_onnx_reader *r, FvOnnx__Node **nodes, size_t count) {
    refused l = {.count = 0};
    for (size_t i = 0; i < count; i++) {
        const fv_status status = fv_onnx_read_node(r, nodes[i]);
        if (status == FV_OK) continue;
        if (status != FV_ERR_UNSUPPORTED || r->again || r->graph->status != FV_OK) return status;
        if (!follows_refused(r, nodes[i])) add_refused(&l, nodes[i]);
        for (size_t k = 0; k < nodes[i]->n_output; k++)
            if (*nodes[i]->output[k] && !fv_onnx_find(r, nodes[i]->output[k]))
                FV_FORWARD(fv_onnx_define(r, &(fv_onnx_name){.name = nodes[i]->output[k], .value = FV_NONE}));
    }
    return say_refused(&l);
}

fv_status fv_onnx_check_operators(const FvOnnx__Model *model) {
    refused l = {.count = 0};
    for (size_t i = 0; i < model->graph->n_node; i++) {
        const FvOnnx__Node *n = model->graph->node[i];
        FV_RETURN_IF(!n->op_type, FV_ERR_FORMAT, "a node has no operator");
        bool known = fv_onnx_is_known(n) || strcmp(n->op_type, "If") == 0;
        for (size_t k = 0; k < model->n_functions && !known; k++)
            known = model->functions[k]->name && strcmp(model->functions[k]->name, n->op_type) == 0;
        if (known) continue;
        fv_fail(FV_ERR_UNSUPPORTED, "node \"%.100s\": operator %.60s is not supported", n->name ? n->name : "",
                n->op_type);
        add_refused(&l, n);
    }
    return say_refused(&l);
}

/* Entries about what is no parameter, or no more, say nothing. */
static void read_constants(fv_onnx_reader *r) {
    const size_t length = strlen(FV_ONNX_CONSTANT);
    for (size_t i = 0; i < r->model->n_metadata_props; i++) {
        const char *key = r->model->metadata_props[i]->key;
        if (!key || strncmp(key, FV_ONNX_CONSTANT, length) != 0) continue;
        const fv_onnx_name *known = fv_onnx_find(r, key + length);
        if (known && known->constant && known->value != FV_NONE) r->graph->values[known->value].trainable = false;
        if (known && known->constant && known->plain > 0) r->graph->values[known->plain].trainable = false;
    }
}

/* ---- outputs ---- */

/* A value that can be an output by itself: made by a node, and no output yet. */
static fv_status own_value(fv_onnx_reader *r, const FvOnnx__Node *n, fv_value *out) {
    fv_graph *g = r->graph;
    r->narrow = false;
    FV_FORWARD(fv_onnx_value(r, n, 0, out));
    bool taken = g->values[*out].kind != FV_VALUE_ACTIVATION;
    for (size_t k = 0; k < g->output_count; k++) taken = taken || g->outputs[k] == *out;
    if (!taken) return FV_OK;
    const fv_layout layout = g->values[*out].layout;
    if (g->values[*out].kind == FV_VALUE_PARAMETER && g->values[*out].name && strcmp(g->values[*out].name, n->name) == 0) {
        fv_release(r->context, g->values[*out].name); /* the output is called so */
        g->values[*out].name = NULL;
    }
    const fv_value made = fv_graph_node(g, &fv_op_layout, NULL, out, 1, 1, NULL);
    FV_FORWARD(fv_graph_status(g));
    g->values[made].layout = layout;
    *out = made;
    return FV_OK;
}

static fv_status read_outputs(fv_onnx_reader *r) {
    const FvOnnx__Graph *g = r->model->graph;
    FV_RETURN_IF(g->n_output == 0, FV_ERR_FORMAT, "the model has no output");
    for (size_t i = 0; i < g->n_output; i++) {
        char *name = g->output[i]->name ? g->output[i]->name : (char *)"";
        const fv_onnx_name *known = fv_onnx_find(r, name);
        FvOnnx__Node end = {.op_type = (char *)"output", .name = name, .n_input = 1, .input = &name};
        fv_value v;
        FV_RETURN_IF(!known, FV_ERR_FORMAT, "nothing makes the output \"%.200s\"", name);
        FV_RETURN_IF(known->as_maps, FV_ERR_UNSUPPORTED, "output \"%.200s\" is a reshape to maps (N,C,1,1)", name);
        FV_FORWARD(own_value(r, &end, &v));
        FV_FORWARD(fv_graph_name_value(r->graph, v, name, true)); /* not the one it had before an Identity */
        FV_FORWARD(fv_graph_output(r->graph, v, NULL));
    }
    return FV_OK;
}

static fv_status read_versions(fv_onnx_reader *r) {
    bool training = false, standard = false;
    FV_RETURN_IF(r->model->ir_version < 3 || r->model->ir_version > 14, FV_ERR_UNSUPPORTED,
                 "the model has ONNX IR version %lld; 3 to 14 are read", (long long)r->model->ir_version);
    for (size_t i = 0; i < r->model->n_opset_import; i++) {
        const FvOnnx__OperatorSetId *o = r->model->opset_import[i];
        FV_RETURN_IF(o->domain && strcmp(o->domain, FV_ONNX_DOMAIN) == 0 && o->version != FV_ONNX_DOMAIN_VERSION,
                     FV_ERR_UNSUPPORTED, "the model uses version %lld of fovea's functions; %d is read",
                     (long long)o->version, FV_ONNX_DOMAIN_VERSION);
        training = training || (o->domain && strcmp(o->domain, "ai.onnx.preview.training") == 0);
        if (o->domain && *o->domain && strcmp(o->domain, "ai.onnx") != 0) continue;
        FV_RETURN_IF(standard, FV_ERR_FORMAT, "the model imports the standard operator set twice");
        standard = true;
        r->opset = o->version;
    }
    if (!standard && training) r->opset = FV_ONNX_OPSET; /* of nothing but optimizers */
    FV_RETURN_IF(r->model->n_opset_import == 0, FV_ERR_FORMAT, "the model imports no operator set");
    FV_RETURN_IF(!standard && !training, FV_ERR_UNSUPPORTED, "the model does not import the standard operator set");
    FV_RETURN_IF(r->opset < 1 || r->opset > 28, FV_ERR_UNSUPPORTED,
                 "the model uses operator set %lld; 1 to 28 are read", (long long)r->opset);
    return FV_OK;
}

/* ---- the whole ---- */

static fv_status read_graph(fv_onnx_reader *r) {
    FV_FORWARD(read_versions(r));
    FV_FORWARD(fv_onnx_read_initializers(r, r->model->graph));
    FV_FORWARD(read_inputs(r));
    FV_FORWARD(fv_onnx_read_nodes(r, r->model->graph->node, r->model->graph->n_node));
    read_constants(r);
    FV_FORWARD(read_outputs(r));
    FV_FORWARD(fv_onnx_fold(r));
    FV_FORWARD(fv_onnx_fold_constants(r));
    return fv_graph_status(r->graph);
}

fv_status fv_onnx_read_model(fv_onnx_source *s, const fv_lowering *wanted, bool share, bool *pinned, fv_graph **out,
                             bool *again, bool *missing) {
    fv_onnx_memory memory = {.context = s->context};
    size_t budget = (size_t)s->context->settings.model_nodes; /* once functions and branches are opened */
    fv_onnx_reader r = {.context = s->context,
                        .file = s->file.data ? &s->file : NULL,
                        .files = s->files,
                        .model = s->model,
                        .memory = &memory,
                        .wanted = wanted,
                        .source = share ? s : NULL,
                        .pinned = pinned,
                        .budget = &budget};
    *again = *missing = false;
    FV_FORWARD(fv_graph_create(s->context, &r.graph));
    fv_status status = fv_onnx_new_scope(&r, NULL, &r.names);
    if (status == FV_OK) status = read_graph(&r);
    *again = r.again;
    *missing = r.missing;
    fv_onnx_memory_free(&memory);
    if (status == FV_OK)
        *out = r.graph;
    else
        fv_graph_free(r.graph);
    return status;
}

/* ---- the interface alone ---- */

static fv_status declared(const FvOnnx__ValueInfo *info, fv_dtype *dtype, fv_shape *shape) {
    const FvOnnx__Shape *own = shape_of(info);
    char what[260];
    snprintf(what, sizeof what, "\"%.200s\"", info->name ? info->name : "");
    FV_RETURN_IF(!info->type || !info->type->tensor_type, FV_ERR_UNSUPPORTED, "%s is no tensor", what);
    FV_FORWARD(fv_onnx_dtype(info->type->tensor_type->elem_type, what, dtype));
    *shape = (fv_shape){.rank = own ? (int32_t)fv_min_size(own->n_dim, FV_MAX_RANK) : 0};
    for (int32_t i = 0; i < shape->rank; i++)
        shape->dim[i] = own->dim[i]->has_dim_value && own->dim[i]->dim_value > 0 ? own->dim[i]->dim_value : 0;
    return FV_OK;
}

static bool is_initializer(const FvOnnx__Graph *g, const char *name) {
    for (size_t i = 0; i < g->n_initializer; i++)
        if (g->initializer[i]->name && strcmp(g->initializer[i]->name, name) == 0) return true;
    return false;
}

static fv_status fill_interface(const FvOnnx__Graph *from, fv_graph *g) {
    fv_dtype dtype;
    fv_shape shape;
    for (size_t i = 0; i < from->n_input; i++) {
        FV_RETURN_IF(!from->input[i]->name || !*from->input[i]->name, FV_ERR_FORMAT,
                     "an input of the graph has no name");
        if (is_initializer(from, from->input[i]->name)) continue;
        FV_FORWARD(declared(from->input[i], &dtype, &shape));
        fv_graph_any_input(g, from->input[i]->name, dtype, &shape);
    }
    for (size_t i = 0; i < from->n_output; i++) {
        FV_RETURN_IF(!from->output[i]->name || !*from->output[i]->name, FV_ERR_FORMAT,
                     "an output of the graph has no name");
        FV_FORWARD(declared(from->output[i], &dtype, &shape));
        const fv_value v = fv_graph_new_value(g, FV_VALUE_ACTIVATION, from->output[i]->name, dtype, &shape);
        FV_FORWARD(fv_graph_output(g, v, NULL));
    }
    return fv_graph_status(g);
}

fv_status fv_onnx_read_interface(fv_onnx_source *s, fv_graph **out) {
    fv_graph *g;
    FV_FORWARD(fv_graph_create(s->context, &g));
    const fv_status status = fill_interface(s->model->graph, g);
    if (status == FV_OK)
        *out = g;
    else
        fv_graph_free(g);
    return status;
}
