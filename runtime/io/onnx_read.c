/* ONNX in: map, walk, parse, then one reader call a node (onnx_ops.c). */
#include "core/file.h"
#include "io/onnx_internal.h"
#include "io/onnx_walk.h"

#include <stdio.h>
#include <string.h>

/* ---- names: open addressing, grown with the file's counts ---- */

struct fv_onnx_names {
    fv_onnx_name *slots;
    size_t size; /* a power of two, at most half full */
};

static uint64_t hash(const char *text) {
    uint64_t h = 1469598103934665603u;
    for (; *text; text++) h = (h ^ (unsigned char)*text) * 1099511628211u;
    return h;
}

static fv_onnx_name *slot_of(const struct fv_onnx_names *names, const char *name) {
    size_t i = (size_t)hash(name) & (names->size - 1);
    while (names->slots[i].name && strcmp(names->slots[i].name, name) != 0) i = (i + 1) & (names->size - 1);
    return &names->slots[i];
}

const fv_onnx_name *fv_onnx_find(const fv_onnx_reader *r, const char *name) {
    const fv_onnx_name *slot = slot_of(r->names, name);
    return slot->name ? slot : NULL;
}

fv_status fv_onnx_define(fv_onnx_reader *r, const fv_onnx_name *entry) {
    fv_onnx_name *slot = slot_of(r->names, entry->name);
    FV_RETURN_IF(slot->name, FV_ERR_FORMAT, "the name \"%.200s\" is given to two values", entry->name);
    *slot = *entry;
    return FV_OK;
}

static fv_status make_names(fv_onnx_reader *r) {
    const FvOnnx__Graph *g = r->model->graph;
    size_t count = g->n_initializer + g->n_input;
    for (size_t i = 0; i < g->n_node; i++) count += g->node[i]->n_output;
    r->names->size = 16;
    while (r->names->size < 2 * count + 2) r->names->size *= 2;
    return fv_alloc_array(r->context, r->names->size, sizeof *r->names->slots, "the model's names",
                          (void **)&r->names->slots);
}

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

/* ---- the graph ---- */

static fv_status read_initializers(fv_onnx_reader *r) {
    const FvOnnx__Graph *g = r->model->graph;
    for (size_t i = 0; i < g->n_initializer; i++) {
        const FvOnnx__Tensor *t = g->initializer[i];
        fv_onnx_name entry = {.name = t->name, .constant = true, .value = FV_NONE};
        FV_RETURN_IF(!t->name || !*t->name, FV_ERR_FORMAT, "initializer %zu has no name", i);
        FV_FORWARD(fv_onnx_tensor_view(t, r->file, r->file_bytes, &entry.tensor));
        FV_FORWARD(fv_onnx_define(r, &entry));
    }
    return FV_OK;
}

static fv_status read_input(fv_onnx_reader *r, const FvOnnx__ValueInfo *info) {
    FV_RETURN_IF(!info->name || !*info->name, FV_ERR_FORMAT, "an input of the graph has no name");
    const fv_onnx_name *known = fv_onnx_find(r, info->name);
    if (known && known->constant) return FV_OK; /* IR version 3: initializers are inputs too */
    const FvOnnx__TensorType *type = info->type ? info->type->tensor_type : NULL;
    FV_RETURN_IF(!type || !type->shape, FV_ERR_UNSUPPORTED, "input \"%.200s\" has no tensor shape", info->name);
    const size_t rank = type->shape->n_dim;
    const bool indices = type->elem_type == FV_ONNX_INT64 && rank == 4;
    FV_RETURN_IF(type->elem_type != FV_ONNX_FLOAT && !indices, FV_ERR_UNSUPPORTED,
                 "input \"%.200s\" has ONNX data type %d, only float (1) and indices of pooling are read", info->name, type->elem_type);
    FV_RETURN_IF(rank < 1 || rank > FV_MAX_RANK, FV_ERR_UNSUPPORTED, "input \"%.200s\" has rank %zu", info->name, rank);
    int64_t shape[FV_MAX_RANK];
    for (size_t i = 0; i < rank; i++) {
        const FvOnnx__Dimension *d = type->shape->dim[i];
        shape[i] = d->has_dim_value ? d->dim_value : 0;
        FV_RETURN_IF(i > 0 && shape[i] < 1, FV_ERR_UNSUPPORTED,
                     "input \"%.200s\" has no fixed size on axis %zu; only the batch may be open", info->name, i);
        FV_RETURN_IF(shape[i] < 0, FV_ERR_SHAPE, "input \"%.200s\" has a negative size", info->name);
    }
    shape[0] = 0; /* any batch */
    const fv_value v = indices ? fv_graph_input_indices(r->graph, info->name, shape) : fv_graph_input(r->graph, info->name, (int32_t)rank, shape);
    FV_FORWARD(fv_graph_status(r->graph));
    return fv_onnx_define(r, &(fv_onnx_name){.name = info->name, .value = v});
}

/* Every node that cannot be read is named, not only the first. */
static fv_status read_nodes(fv_onnx_reader *r) {
    const FvOnnx__Graph *g = r->model->graph;
    char list[400] = "";
    size_t refused = 0, used = 0;
    char first[400] = "";
    for (size_t i = 0; i < g->n_node; i++) {
        const fv_status status = fv_onnx_read_node(r, g->node[i]);
        if (status == FV_OK) continue;
        if (status != FV_ERR_UNSUPPORTED || r->graph->status != FV_OK) return status; /* the builder goes no further */
        if (refused++ == 0) snprintf(first, sizeof first, "%s", fv_last_error());
        if (used < sizeof list - 1)
            used += (size_t)snprintf(list + used, sizeof list - used, "%s%.60s \"%.60s\"", refused > 1 ? ", " : "",
                                     g->node[i]->op_type, g->node[i]->name ? g->node[i]->name : "");
        for (size_t k = 0; k < g->node[i]->n_output; k++) /* later nodes that use it fail for their own reasons only */
            if (*g->node[i]->output[k] && !fv_onnx_find(r, g->node[i]->output[k]))
                FV_FORWARD(fv_onnx_define(r, &(fv_onnx_name){.name = g->node[i]->output[k], .value = FV_NONE}));
    }
    if (refused == 1) return fv_fail(FV_ERR_UNSUPPORTED, "%s", first);
    FV_RETURN_IF(refused, FV_ERR_UNSUPPORTED, "%zu nodes cannot run: %s; the first: %s", refused, list, first);
    return FV_OK;
}

/* Entries about what is no parameter, or no more, say nothing. */
static void read_constants(fv_onnx_reader *r) {
    const size_t length = strlen(FV_ONNX_CONSTANT);
    for (size_t i = 0; i < r->model->n_metadata_props; i++) {
        const char *key = r->model->metadata_props[i]->key;
        if (!key || strncmp(key, FV_ONNX_CONSTANT, length) != 0) continue;
        const fv_onnx_name *known = fv_onnx_find(r, key + length);
        if (known && known->constant && known->value != FV_NONE) r->graph->values[known->value].trainable = false;
    }
}

static fv_status read_outputs(fv_onnx_reader *r) {
    const FvOnnx__Graph *g = r->model->graph;
    FV_RETURN_IF(g->n_output == 0, FV_ERR_FORMAT, "the model has no output");
    for (size_t i = 0; i < g->n_output; i++) {
        const char *name = g->output[i]->name ? g->output[i]->name : "";
        const fv_onnx_name *known = fv_onnx_find(r, name);
        FV_RETURN_IF(!known, FV_ERR_FORMAT, "nothing makes the output \"%.200s\"", name);
        FV_RETURN_IF(known->constant, FV_ERR_UNSUPPORTED, "output \"%.200s\" is a constant", name);
        FV_RETURN_IF(known->as_maps, FV_ERR_UNSUPPORTED, "output \"%.200s\" is a reshape to maps (N,C,1,1)", name);
        for (size_t k = 0; k < i; k++)
            FV_RETURN_IF(r->graph->outputs[k] == known->value, FV_ERR_UNSUPPORTED,
                         "output \"%.200s\" is the same value as output %zu", name, k);
        FV_FORWARD(fv_graph_name_value(r->graph, known->value, name, true)); /* not the one it had before an Identity */
        FV_FORWARD(fv_graph_output(r->graph, known->value, NULL));
    }
    return FV_OK;
}

static fv_status read_versions(fv_onnx_reader *r) {
    FV_RETURN_IF(r->model->ir_version < 3 || r->model->ir_version > 13, FV_ERR_UNSUPPORTED,
                 "the model has ONNX IR version %lld; 3 to 13 are read", (long long)r->model->ir_version);
    for (size_t i = 0; i < r->model->n_opset_import; i++) {
        const FvOnnx__OperatorSetId *o = r->model->opset_import[i];
        FV_RETURN_IF(o->domain && strcmp(o->domain, FV_ONNX_DOMAIN) == 0 && o->version != FV_ONNX_DOMAIN_VERSION, FV_ERR_UNSUPPORTED,
                     "the model uses version %lld of fovea's functions; %d is read", (long long)o->version, FV_ONNX_DOMAIN_VERSION);
        if (o->domain && *o->domain && strcmp(o->domain, "ai.onnx") != 0) continue;
        FV_RETURN_IF(r->opset, FV_ERR_FORMAT, "the model imports the standard operator set twice");
        r->opset = o->version;
    }
    FV_RETURN_IF(r->opset == 0, FV_ERR_FORMAT, "the model imports no operator set");
    FV_RETURN_IF(r->opset < 6 || r->opset > 22, FV_ERR_UNSUPPORTED,
                 "the model uses operator set %lld; 6 to 22 are read", (long long)r->opset);
    return FV_OK;
}

static fv_status read_graph(fv_onnx_reader *r) {
    const FvOnnx__Graph *g = r->model->graph;
    FV_RETURN_IF(!g, FV_ERR_FORMAT, "the model has no graph");
    FV_FORWARD(read_versions(r));
    FV_FORWARD(make_names(r));
    FV_FORWARD(read_initializers(r));
    for (size_t i = 0; i < g->n_input; i++) FV_FORWARD(read_input(r, g->input[i]));
    FV_FORWARD(read_nodes(r));
    read_constants(r);
    FV_FORWARD(read_outputs(r));
    FV_FORWARD(fv_onnx_fold(r));
    return fv_graph_status(r->graph);
}

static fv_status read_parsed(fv_context *c, const fv_mapping *file, const FvOnnx__Model *model, fv_model **out) {
    struct fv_onnx_names names = {0};
    fv_onnx_reader r = {.context = c, .file = file->data, .file_bytes = file->bytes, .model = model, .names = &names};
    FV_FORWARD(fv_graph_create(c, &r.graph));
    fv_status status = read_graph(&r);
    if (status == FV_OK)
        status = fv_model_adopt(r.graph, 0, out); /* owns the graph from here, also on failure */
    else
        fv_graph_free(r.graph);
    fv_release(c, names.slots);
    return status;
}

/* protobuf-c tells a refused allocation and a wrong field alike. */
typedef struct structure {
    const fv_context *context;
    fv_status status;
} structure;

static void *protobuf_alloc(void *user, size_t bytes) {
    structure *s = user;
    void *memory = NULL;
    if (s->status == FV_OK) s->status = fv_alloc(s->context, bytes, "the model's structure", &memory);
    return memory;
}

static void protobuf_free(void *user, void *memory) { fv_release(((structure *)user)->context, memory); }

static fv_status parse(structure *s, const fv_onnx_skeleton *skeleton, FvOnnx__Model **out) {
    ProtobufCAllocator allocator = {protobuf_alloc, protobuf_free, s};
    *out = fv_onnx__model__unpack(&allocator, skeleton->bytes, skeleton->data);
    FV_FORWARD(s->status);
    FV_RETURN_IF(!*out, FV_ERR_FORMAT, "not an ONNX model: a field has the wrong type");
    return FV_OK;
}

fv_status fv_model_load(fv_context *c, const char *path, fv_model **out) {
    FV_RETURN_IF(!c || !path || !out, FV_ERR_ARGUMENT,
                 "fv_model_load needs a context, a path and a place for the model");
    fv_mapping file;
    FV_FORWARD(fv_map_file(path, &file));
    fv_onnx_skeleton skeleton = {0};
    FvOnnx__Model *model = NULL;
    structure parsed = {c, FV_OK};
    ProtobufCAllocator allocator = {protobuf_alloc, protobuf_free, &parsed};
    fv_status status = fv_onnx_walk(c, file.data, file.bytes, &skeleton);
    if (status == FV_OK) status = parse(&parsed, &skeleton, &model);
    if (status == FV_OK) status = read_parsed(c, &file, model, out);
    if (status != FV_OK) fv_fail_within(status, "%s", path);
    if (model) fv_onnx__model__free_unpacked(model, &allocator);
    fv_release(c, skeleton.data);
    fv_unmap_file(&file);
    return status;
}
