/* What a model's file says, kept for as long as the model: parameters made of it once, and graphs lowered from it. */
#include "io/onnx_protobuf.h"
#include "io/onnx_scope.h"
#include "io/onnx_walk.h"
#include "ops/window.h"

#include <stdio.h>
#include <string.h>

/* ---- parameters made once ---- */

static size_t bucket_of(const void *of) { return ((uintptr_t)of >> 3) * 0x9E3779B97F4A7C15u >> 32 & (FV_ONNX_SHARED - 1); }

fv_status fv_onnx_share(fv_onnx_source *s, const void *of, const char *kind, size_t count, fv_dtype dtype, void **out, bool *fresh) {
    fv_onnx_shared **first = &s->shared[bucket_of(of)], *made = NULL;
    *fresh = false;
    pthread_mutex_lock(&s->lock);
    for (const fv_onnx_shared *at = *first; at; at = at->next)
        if (at->of == of && at->count == count && at->dtype == dtype && strcmp(at->kind, kind) == 0) {
            *out = at->data;
            return FV_OK;
        }
    void *data = NULL;
    char *name = NULL;
    fv_status status = fv_alloc_unset(s->context, fv_max_size(count, 1), fv_dtype_bytes(dtype), "a parameter", &data);
    if (status == FV_OK) status = fv_strdup(s->context, kind, &name);
    if (status == FV_OK) status = fv_alloc_zero(s->context, sizeof *made, "a parameter", (void **)&made);
    if (status != FV_OK) {
        fv_release(s->context, data);
        fv_release(s->context, name);
        pthread_mutex_unlock(&s->lock);
        return status;
    }
    *made = (fv_onnx_shared){*first, of, name, count, dtype, data};
    *first = made;
    *out = data;
    *fresh = true;
    return FV_OK;
}

void fv_onnx_share_end(fv_onnx_source *s) { pthread_mutex_unlock(&s->lock); }

void fv_onnx_source_free(void *source) {
    fv_onnx_source *s = source;
    fv_context *c = s->context;
    fv_onnx_parsed parsed = {.context = c};
    ProtobufCAllocator allocator = fv_onnx_parse_memory(&parsed);
    for (size_t i = 0; i < FV_ONNX_SHARED; i++)
        for (fv_onnx_shared *at = s->shared[i], *next; at; at = next) {
            next = at->next;
            fv_release(c, at->data);
            fv_release(c, (char *)(uintptr_t)at->kind);
            fv_release(c, at);
        }
    if (s->model) fv_onnx__model__free_unpacked(s->model, &allocator);
    fv_onnx_files_free(s->files);
    fv_unmap_file(&s->file);
    pthread_mutex_destroy(&s->lock);
    fv_release(c, s);
    fv_context_free(c);
}

/* ---- values kept ---- */

/* What was read so far stood in the files. */
static fv_status check_files(const fv_onnx_source *s) {
    FV_FORWARD(fv_check_mapping(&s->file, "the model"));
    return fv_onnx_files_check(s->files);
}

/* A deferred model holds none of its file: its tensors get memory of their own. */
static fv_status keep_tensor(fv_onnx_source *s, FvOnnx__Tensor *t) {
    fv_onnx_parsed parsed = {.context = s->context};
    ProtobufCAllocator allocator = fv_onnx_parse_memory(&parsed);
    fv_onnx_tensor view = {.data = NULL};
    fv_onnx_place place;
    fv_dtype dtype;
    void *own;
    if (t->has_raw_data) {
        FV_RETURN_IF(t->raw_data.len != sizeof place, FV_ERR_FORMAT, "tensor \"%.200s\" is not a whole message",
                     t->name ? t->name : "");
        memcpy(&place, t->raw_data.data, sizeof place);
        view.data = s->file.data + place.offset; /* within the file, as the walk found it */
        view.map = &s->file;
    } else {
        if (!t->n_external_data) return FV_OK;
        const fv_status status = fv_onnx_tensor_view(t, &s->file, s->files, &view);
        if (status != FV_OK) return status == FV_ERR_MEMORY ? status : FV_OK; /* else its reader says so */
        FV_FORWARD(fv_onnx_dtype(view.type, "a tensor", &dtype));
        place.bytes = view.count * fv_dtype_bytes(dtype);
    }
    FV_FORWARD(fv_alloc(s->context, (size_t)place.bytes, "a model's values", &own));
    if (view.map)
        fv_map_read(view.map, (size_t)((const uint8_t *)view.data - view.map->data), (size_t)place.bytes, own);
    else if (place.bytes)
        memcpy(own, view.data, (size_t)place.bytes);
    if (t->has_raw_data) {
        fv_release(s->context, t->raw_data.data);
    } else {
        for (size_t i = 0; i < t->n_external_data; i++) fv_onnx__string_entry__free_unpacked(t->external_data[i], &allocator);
        fv_release(s->context, t->external_data);
        t->external_data = NULL;
        t->n_external_data = 0;
        t->data_location = 0;
    }
    t->has_raw_data = true;
    t->raw_data = (ProtobufCBinaryData){(size_t)place.bytes, own};
    return FV_OK;
}

static fv_status keep_graph(fv_onnx_source *s, const FvOnnx__Graph *g);

static fv_status keep_attributes(fv_onnx_source *s, FvOnnx__Attribute *const *attributes, size_t count) {
    for (size_t i = 0; i < count; i++) {
        if (attributes[i]->t) FV_FORWARD(keep_tensor(s, attributes[i]->t));
        if (attributes[i]->g) FV_FORWARD(keep_graph(s, attributes[i]->g));
    }
    return FV_OK;
}

static fv_status keep_nodes(fv_onnx_source *s, FvOnnx__Node *const *nodes, size_t count) {
    for (size_t i = 0; i < count; i++) FV_FORWARD(keep_attributes(s, nodes[i]->attribute, nodes[i]->n_attribute));
    return FV_OK;
}

static fv_status keep_graph(fv_onnx_source *s, const FvOnnx__Graph *g) { /* as deep as the walk allows */
    for (size_t i = 0; i < g->n_initializer; i++) FV_FORWARD(keep_tensor(s, g->initializer[i]));
    return keep_nodes(s, g->node, g->n_node);
}

static fv_status keep(fv_onnx_source *s) {
    FV_FORWARD(keep_graph(s, s->model->graph));
    for (size_t i = 0; i < s->model->n_functions; i++) {
        const FvOnnx__Function *f = s->model->functions[i];
        FV_FORWARD(keep_nodes(s, f->node, f->n_node));
        FV_FORWARD(keep_attributes(s, f->attribute_proto, f->n_attribute_proto));
    }
    FV_FORWARD(check_files(s));
    fv_unmap_file(&s->file);
    fv_onnx_files_end(s->files);
    return FV_OK;
}

/* ---- lowering ---- */

/* Inputs become constants one after the other, as readers ask for what follows from them. */
static fv_status lower(void *self, const fv_lowering *l, fv_graph **out, bool *pinned) {
    fv_onnx_source *s = self;
    bool again = true, missing;
    fv_status status = FV_OK;
    for (size_t i = 0; again && i <= s->model->graph->n_input; i++) status = fv_onnx_read_model(s, l, true, pinned, out, &again, &missing);
    return status;
}

/* ---- loading ---- */

/* The open graph holds for a batch of 2 as well: no reader took the size that stands for it as a size, nor is nothing left that
 * has one. */
static fv_status check_open(const fv_graph *g) {
    fv_graph *copy;
    bool used = false;
    for (size_t i = 0; i < g->input_count; i++) used = used || fv_graph_uses(g, g->inputs[i]);
    FV_RETURN_IF(!used, FV_ERR_UNSUPPORTED, "no output depends on an input");
    FV_FORWARD(fv_graph_copy(g, true, &copy));
    fv_status status = fv_graph_set_batch(copy, 2);
    for (size_t i = 0; i < copy->node_count && status == FV_OK; i++)
        for (int32_t k = 0; k < copy->nodes[i].out_count && status == FV_OK; k++) {
            const fv_value v = copy->nodes[i].out[k];
            if (v != FV_NONE && fv_shape_count(&copy->values[v].shape) == 0)
                status = fv_fail(FV_ERR_UNSUPPORTED, "node \"%.200s\" depends on the batch", copy->nodes[i].name);
        }
    fv_graph_free(copy);
    return status;
}

static bool has_open_sizes(const FvOnnx__Graph *g) {
    for (size_t i = 0; i < g->n_input; i++) {
        const FvOnnx__TensorType *t = g->input[i]->type ? g->input[i]->type->tensor_type : NULL;
        if (!t || !t->shape) return true;
        for (size_t a = 1; a < t->shape->n_dim; a++)
            if (!t->shape->dim[a]->has_dim_value || t->shape->dim[a]->dim_value == -1) return true; /* both say open */
    }
    return false;
}

/* A model that is made anew for each shape is its file: what was read of it, with the values of other files. */
static fv_status save(void *self, const char *path) {
    const fv_onnx_source *s = self;
    return fv_onnx_write_message(s->context, &s->model->base, path);
}

static bool is_one_size(const FvOnnx__Graph *g) {
    for (size_t i = 0; i < g->n_input; i++) {
        const FvOnnx__TensorType *t = g->input[i]->type ? g->input[i]->type->tensor_type : NULL;
        if (t && t->shape && t->shape->n_dim && !t->shape->dim[0]->has_dim_value) return false;
    }
    return !has_open_sizes(g);
}

/* The graph of the file's own sizes, for looking at; where those are open or inputs decide shapes, only what goes in and comes out. */
static fv_status look(fv_onnx_source *s, fv_graph **out) {
    const fv_lowering own = {NULL, 0, 1};
    bool *pinned = NULL, again = false, missing = false;
    FV_FORWARD(fv_alloc_array(s->context, s->model->graph->n_input + 1, sizeof *pinned, "a model", (void **)&pinned));
    fv_status status = fv_onnx_read_model(s, &own, true, pinned, out, &again, &missing);
    fv_release(s->context, pinned);
    if (status == FV_OK || status == FV_ERR_MEMORY) return status;
    if (!missing && !has_open_sizes(s->model->graph)) return status;
    FV_FORWARD(fv_onnx_check_operators(s->model));
    return fv_onnx_read_interface(s, out);
}

static fv_status load(fv_onnx_source *s, fv_model **out) {
    fv_graph *g = NULL;
    bool again, missing;
    fv_status status = fv_onnx_read_model(s, NULL, false, NULL, &g, &again, &missing);
    if (status == FV_OK && (status = g->input_count ? check_open(g) : FV_ERR_STATE) != FV_OK) { /* without inputs: sizes are fixed */
        fv_graph_free(g);
        g = NULL;
    }
    const fv_status whole = check_files(s);
    if (whole != FV_OK) {
        if (g) fv_graph_free(g);
        fv_onnx_source_free(s);
        return whole;
    }
    if (status == FV_OK) {
        fv_onnx_source_free(s);
        return fv_model_adopt(g, 0, out); /* owns the graph from here, also on failure */
    }
    if (status != FV_ERR_MEMORY && (status = keep(s)) == FV_OK) status = look(s, &g);
    if (status != FV_OK) {
        fv_onnx_source_free(s);
        return status;
    }
    const bool one = g->node_count > 0 && is_one_size(s->model->graph);
    return fv_model_adopt_source(g, &(fv_model_source){lower, fv_onnx_source_free, one ? NULL : save, s}, out);
}

/* ---- files ---- */

static fv_status parse(fv_onnx_source *s) {
    fv_onnx_parsed parsed = {s->context, "the model's structure", FV_OK};
    ProtobufCAllocator allocator = fv_onnx_parse_memory(&parsed);
    fv_onnx_skeleton skeleton = {0};
    FV_FORWARD(fv_onnx_walk(s->context, &s->file, &skeleton));
    s->model = fv_onnx__model__unpack(&allocator, skeleton.bytes, skeleton.data);
    fv_release(s->context, skeleton.data);
    FV_FORWARD(parsed.status);
    FV_RETURN_IF(!s->model, FV_ERR_FORMAT, "not an ONNX model: a field has the wrong type");
    FV_RETURN_IF(!s->model->graph, FV_ERR_FORMAT, "the model has no graph");
    return FV_OK;
}

static fv_status open_source(fv_context *c, const char *path, fv_onnx_source **out) {
    fv_onnx_source *s = NULL;
    FV_FORWARD(fv_alloc_zero(c, sizeof *s, "a model", (void **)&s));
    s->context = fv_context_retain(c);
    pthread_mutex_init(&s->lock, NULL);
    fv_status status = fv_map_lazy(path, &s->file);
    if (status == FV_OK) {
        status = fv_onnx_files_open(c, path, &s->files);
        if (status == FV_OK && (status = parse(s)) != FV_OK) { /* perhaps of what could not be read */
            const fv_status whole = fv_check_mapping(&s->file, "the model");
            if (whole != FV_OK) status = whole;
        }
        if (status != FV_OK) fv_fail_within(status, "%s", path);
    }
    if (status == FV_OK)
        *out = s;
    else
        fv_onnx_source_free(s);
    return status;
}

fv_status fv_model_load(fv_context *c, const char *path, fv_model **out) {
    FV_RETURN_IF(!c || !path || !out, FV_ERR_ARGUMENT,
                 "fv_model_load needs a context, a path and a place for the model");
    fv_onnx_source *s;
    FV_FORWARD(open_source(c, path, &s));
    const fv_status status = load(s, out);
    return status == FV_OK ? FV_OK : fv_fail_within(status, "%s", path);
}

fv_status fv_onnx_operators(fv_context *c, const char *path, char *text, size_t size) {
    FV_RETURN_IF(!c || !path || !text || !size, FV_ERR_ARGUMENT, "fv_onnx_operators needs a context, a path and a place for the answer");
    fv_onnx_source *s;
    size_t used = 0;
    FV_FORWARD(open_source(c, path, &s));
    text[0] = '\0';
    for (size_t i = 0; i < s->model->graph->n_node; i++) {
        const char *op = s->model->graph->node[i]->op_type ? s->model->graph->node[i]->op_type : "";
        bool known = !*op;
        for (size_t k = 0; k < i && !known; k++) known = s->model->graph->node[k]->op_type && strcmp(s->model->graph->node[k]->op_type, op) == 0;
        if (known || used + strlen(op) + 2 > size) continue;
        used += (size_t)snprintf(text + used, size - used, "%s%s", used ? " " : "", op);
    }
    fv_onnx_source_free(s);
    return FV_OK;
}
