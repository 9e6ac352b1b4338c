#include "graph/graph.h"

#include "ops/window.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* ---- life ---- */

fv_status fv_graph_create(fv_context *c, fv_graph **out) {
    FV_RETURN_IF(!c || !out, FV_ERR_ARGUMENT, "fv_graph_create needs a context and a place for the graph");
    fv_graph *g = NULL;
    FV_FORWARD(fv_alloc_zero(c, sizeof *g, "a graph", (void **)&g));
    g->context = fv_context_retain(c);
    *out = g;
    return FV_OK;
}

static void free_node(const fv_context *c, fv_node *n) {
    fv_release(c, n->name);
    fv_release(c, n->in);
    fv_release(c, n->out);
}

static void free_value(const fv_graph *g, fv_value_info *v) {
    fv_release(g->context, v->name);
    if (!g->borrowed && !v->shared) fv_release(g->context, v->data);
    if (!g->borrowed) fv_release(g->context, v->edges);
}

void fv_graph_free(fv_graph *g) {
    if (!g) return;
    fv_context *c = g->context;
    for (size_t i = 0; i < g->value_count; i++) free_value(g, &g->values[i]);
    for (size_t i = 0; i < g->node_count; i++) free_node(c, &g->nodes[i]);
    fv_release(c, g->values);
    fv_release(c, g->nodes);
    fv_release(c, g->inputs);
    fv_release(c, g->outputs);
    fv_release(c, g->names);
    fv_release(c, g);
    fv_context_free(c);
}

fv_status fv_graph_status(const fv_graph *g) {
    FV_RETURN_IF(!g, FV_ERR_ARGUMENT, "the graph is NULL");
    return g->status == FV_OK ? FV_OK : fv_fail(g->status, "%s", g->error);
}

fv_value fv_graph_fail(fv_graph *g, fv_status status, const char *format, ...) {
    if (g->status != FV_OK) return FV_NONE;
    g->status = status;
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(g->error, sizeof g->error, format, arguments);
    va_end(arguments);
    fv_fail(status, "%s", g->error);
    return FV_NONE;
}

fv_value fv_build_keep_error(fv_graph *g, fv_status status) {
    char sentence[512];
    snprintf(sentence, sizeof sentence, "%s", fv_last_error());
    return fv_graph_fail(g, status, "%s", sentence);
}

/* ---- going back ---- */

fv_graph_mark fv_graph_marked(const fv_graph *g) {
    return (fv_graph_mark){g->value_count, g->node_count, g->input_count, g->output_count};
}

void fv_graph_rewind(fv_graph *g, fv_graph_mark m) {
    while (g->node_count > m.nodes) free_node(g->context, &g->nodes[--g->node_count]);
    while (g->value_count > m.values) {
        fv_value_info *v = &g->values[g->value_count - 1];
        if (v->twin != FV_NONE && (size_t)v->twin < m.values) g->values[v->twin].twin = FV_NONE;
        free_value(g, v);
        g->value_count--;
    }
    g->indexed = fv_min_size(g->indexed, g->value_count);
    g->input_count = m.inputs;
    g->output_count = m.outputs;
    g->status = FV_OK;
    g->error[0] = '\0';
}

/* ---- names ---- */

static size_t name_slot(const fv_graph *g, const char *name) {
    uint64_t h = 1469598103934665603u;
    for (const char *c = name; *c; c++) h = (h ^ (unsigned char)*c) * 1099511628211u;
    return (size_t)(h ^ h >> 32) & (g->name_capacity - 1);
}

/* Whether a slot still holds what it was filled with: values are renamed, and go when a graph is rewound. */
static bool slot_is(const fv_graph *g, fv_value slot, const char *name) {
    return (size_t)slot <= g->value_count && g->values[slot - 1].name && strcmp(g->values[slot - 1].name, name) == 0;
}

static void index_name(fv_graph *g, fv_value v) {
    size_t i = name_slot(g, g->values[v].name);
    while (g->names[i]) i = (i + 1) & (g->name_capacity - 1);
    g->names[i] = v + 1;
    g->name_count++;
}

/* Room for every name at half load, and all of them in. */
static fv_status index_names(fv_graph *g) {
    if (2 * (g->name_count + g->value_count - g->indexed + 1) > g->name_capacity) {
        size_t capacity = 64;
        while (capacity < 4 * (g->value_count + 1)) capacity *= 2;
        fv_release(g->context, g->names);
        g->names = NULL;
        g->name_capacity = g->name_count = g->indexed = 0;
        FV_FORWARD(fv_alloc_array(g->context, capacity, sizeof *g->names, "a graph", (void **)&g->names));
        g->name_capacity = capacity;
    }
    for (; g->indexed < g->value_count; g->indexed++)
        if (g->values[g->indexed].name) index_name(g, (fv_value)g->indexed);
    return FV_OK;
}

fv_value fv_graph_find_name(fv_graph *g, const char *name) {
    const fv_status status = index_names(g);
    if (status != FV_OK) return fv_build_keep_error(g, status);
    for (size_t i = name_slot(g, name); g->names[i]; i = (i + 1) & (g->name_capacity - 1))
        if (slot_is(g, g->names[i], name)) return g->names[i] - 1;
    return FV_NONE;
}

/* ---- values ---- */

fv_value fv_graph_new_value(fv_graph *g, fv_value_kind kind, const char *name, fv_dtype dtype, const fv_shape *shape) {
    if (g->status != FV_OK) return FV_NONE;
    if (g->value_count >= INT32_MAX / 2) return fv_graph_fail(g, FV_ERR_LIMIT, "the graph has too many values");
    const fv_shape wanted = shape ? *shape : (fv_shape){0}; /* it may be another value's, and those move */
    fv_status status =
        fv_grow(g->context, (void **)&g->values, &g->value_capacity, g->value_count + 1, sizeof *g->values, "a graph");
    if (status != FV_OK) return fv_build_keep_error(g, status);
    fv_value_info *v = &g->values[g->value_count];
    *v = (fv_value_info){.kind = kind, .dtype = dtype, .producer = -1, .twin = FV_NONE};
    v->shape = wanted;
    v->layout = kind != FV_VALUE_PARAMETER && kind != FV_VALUE_STATE && v->shape.rank == 4 ? FV_NHWC : FV_PLAIN;
    if (name && (status = fv_strdup(g->context, name, &v->name)) != FV_OK) return fv_build_keep_error(g, status);
    return (fv_value)g->value_count++;
}

fv_value fv_graph_any_input(fv_graph *g, const char *name, fv_dtype dtype, const fv_shape *shape) {
    if (fv_graph_find_name(g, name) != FV_NONE)
        return fv_graph_fail(g, FV_ERR_ARGUMENT, "two inputs are called \"%.200s\"", name);
    const fv_status status =
        fv_grow(g->context, (void **)&g->inputs, &g->input_capacity, g->input_count + 1, sizeof *g->inputs, "a graph");
    if (status != FV_OK) return fv_build_keep_error(g, status);
    const fv_value v = fv_graph_new_value(g, FV_VALUE_INPUT, name, dtype, shape);
    if (v == FV_NONE) return v;
    if (dtype != FV_REAL_DTYPE) g->values[v].layout = FV_PLAIN;
    g->inputs[g->input_count++] = v;
    return v;
}

fv_value fv_graph_constant(fv_graph *g, const char *name, fv_dtype dtype, const fv_shape *shape, const void *data) {
    const fv_value v = fv_graph_new_value(g, FV_VALUE_PARAMETER, name, dtype, shape);
    if (v == FV_NONE) return v;
    size_t count = 1, bytes;
    for (int32_t i = 0; i < shape->rank; i++)
        if (!fv_mul_size(count, (size_t)shape->dim[i], &count))
            return fv_graph_fail(g, FV_ERR_LIMIT, "a constant has too many elements");
    if (!fv_mul_size(count, fv_dtype_bytes(dtype), &bytes))
        return fv_graph_fail(g, FV_ERR_LIMIT, "a constant has too many bytes");
    void *copy = NULL;
    const fv_status status = fv_alloc(g->context, fv_max_size(bytes, 1), name ? name : "a constant", &copy);
    if (status != FV_OK) return fv_build_keep_error(g, status);
    if (bytes) memcpy(copy, data, bytes);
    g->values[v].data = copy;
    return v;
}

fv_status fv_graph_name_value(fv_graph *g, fv_value v, const char *name, bool again) {
    fv_value_info *info = &g->values[v];
    char *copy;
    if (info->name && (!again || strcmp(info->name, name) == 0)) return FV_OK;
    FV_RETURN_IF(info->kind != FV_VALUE_ACTIVATION, FV_ERR_UNSUPPORTED, "\"%.200s\" is only another name of \"%.200s\"",
                 name, info->name ? info->name : "");
    FV_FORWARD(fv_strdup(g->context, name, &copy));
    fv_release(g->context, info->name);
    info->name = copy;
    if ((size_t)v >= g->indexed || !g->names) return FV_OK;
    FV_FORWARD(index_names(g)); /* room for one more */
    index_name(g, v);
    return FV_OK;
}

static fv_status check_count(const char *what, const char *name, const fv_shape *s) {
    size_t count = sizeof(double);
    for (int32_t i = 0; i < s->rank; i++) {
        FV_RETURN_IF(s->dim[i] < 0 || s->dim[i] > INT32_MAX, FV_ERR_LIMIT, "%s \"%s\" has size %lld on axis %d", what,
                     name, (long long)s->dim[i], i);
        FV_RETURN_IF(!fv_mul_size(count, (size_t)s->dim[i], &count) || count > PTRDIFF_MAX / 4, FV_ERR_LIMIT,
                     "%s \"%s\" has too many elements", what, name);
    }
    return FV_OK;
}

/* ---- nodes ---- */

static fv_status fill_node(fv_graph *g, fv_node *n, const fv_op *op, const char *name, const fv_value *in,
                           int32_t in_count, int32_t outs) {
    char made[64];
    if (!name) {
        snprintf(made, sizeof made, "%s%zu", op->name, g->node_count);
        name = made;
    }
    n->op = op;
    n->in_count = in_count;
    n->out_count = outs > op->out_count ? outs : op->out_count;
    FV_FORWARD(fv_strdup(g->context, name, &n->name));
    FV_FORWARD(fv_alloc_array(g->context, (size_t)in_count + 1, sizeof *n->in, "a node", (void **)&n->in));
    FV_FORWARD(fv_alloc_array(g->context, (size_t)n->out_count + 1, sizeof *n->out, "a node", (void **)&n->out));
    for (int32_t i = 0; i < in_count; i++) {
        n->in[i] = in[i];
        FV_RETURN_IF(in[i] != FV_NONE && (in[i] < 0 || (size_t)in[i] >= g->value_count), FV_ERR_ARGUMENT,
                     "node \"%s\": input %d is not a value of this graph", name, i);
        FV_RETURN_IF(in[i] == FV_NONE && i < op->in_min && op != &fv_op_pool_grad, FV_ERR_ARGUMENT,
                     "node \"%s\": input %d is missing", name, i);
    }
    FV_RETURN_IF(in_count < op->in_min || in_count > op->in_max, FV_ERR_ARGUMENT, "node \"%s\": %d inputs", name,
                 in_count);
    for (int32_t i = 0; i < n->out_count; i++) n->out[i] = FV_NONE;
    for (int32_t i = 0; i < outs; i++) {
        n->out[i] = fv_graph_new_value(g, FV_VALUE_ACTIVATION, NULL, FV_REAL_DTYPE, NULL);
        if (n->out[i] == FV_NONE) return g->status;
    }
    return FV_OK;
}

/* ---- layouts: an operator gets its activations as it wants them ---- */

static bool is_activation(const fv_value_info *v) {
    return v->kind == FV_VALUE_ACTIVATION || v->kind == FV_VALUE_INPUT;
}

static bool wants(const fv_op *op, const fv_value_info *v, fv_layout *layout) {
    if (op->flags & FV_OP_ANY_LAYOUT || op == &fv_op_layout || !is_activation(v)) return false;
    if (v->layout != FV_PLAIN && v->layout != FV_NHWC) return false;
    *layout = op->flags & FV_OP_PLAIN ? FV_PLAIN : FV_NHWC;
    if (*layout == FV_NHWC && (v->shape.rank != 4 || v->dtype != FV_REAL_DTYPE)) return false;
    return v->layout != *layout;
}

fv_value fv_graph_in_layout(fv_graph *g, fv_value v, fv_layout layout) {
    if (g->status != FV_OK || v == FV_NONE || g->values[v].layout == layout) return v;
    const fv_value known = g->values[v].twin;
    if (known != FV_NONE && g->values[known].layout == layout) return known;
    const fv_value made = fv_graph_node(g, &fv_op_layout, NULL, &v, 1, 1, NULL);
    if (made == FV_NONE) return made;
    g->values[made].layout = layout;
    g->values[v].twin = made;
    g->values[made].twin = v;
    return made;
}

static fv_status lay_inputs(fv_graph *g, fv_node *n) {
    fv_layout layout;
    if (n->op == &fv_op_binary && n->in[0] != FV_NONE && n->in[1] != FV_NONE && g->values[n->in[0]].shape.rank == 4)
        n->in[1] = fv_graph_in_layout(g, n->in[1], g->values[n->in[0]].layout);
    const bool all = n->op->flags & FV_OP_PLAIN || n->op == &fv_op_concat || n->op == &fv_op_scale_maps ||
                     n->op == &fv_op_scale_pixels;
    for (int32_t i = 0; i < (all ? n->in_count : 1) && i < n->in_count; i++) {
        if (n->in[i] == FV_NONE || !wants(n->op, &g->values[n->in[i]], &layout)) continue;
        n->in[i] = fv_graph_in_layout(g, n->in[i], layout);
        if (n->in[i] == FV_NONE) return g->status;
    }
    return FV_OK;
}

static fv_status infer_node(fv_graph *g, fv_node *n) {
    FV_FORWARD(n->op->infer(n, g->values));
    for (int32_t i = 0; i < n->out_count; i++)
        if (n->out[i] != FV_NONE) FV_FORWARD(check_count("the output of node", n->name, &g->values[n->out[i]].shape));
    return FV_OK;
}

fv_value fv_graph_node(fv_graph *g, const fv_op *op, const char *name, const fv_value *in, int32_t in_count,
                       int32_t outs, const fv_attributes *attr) {
    if (g->status != FV_OK) return FV_NONE;
    fv_node n = {0};
    if (attr) n.attr = *attr;
    fv_status status = fill_node(g, &n, op, name, in, in_count, outs);
    if (status == FV_OK) status = lay_inputs(g, &n); /* may add nodes before this one */
    if (status == FV_OK)
        status =
            fv_grow(g->context, (void **)&g->nodes, &g->node_capacity, g->node_count + 1, sizeof *g->nodes, "a graph");
    if (status == FV_OK) status = infer_node(g, &n);
    if (status != FV_OK) {
        free_node(g->context, &n);
        return fv_build_keep_error(g, status);
    }
    for (int32_t i = 0; i < n.out_count; i++)
        if (n.out[i] != FV_NONE) g->values[n.out[i]].producer = (int32_t)g->node_count;
    g->nodes[g->node_count++] = n;
    return outs > 0 ? n.out[0] : 0;
}

const fv_value_info *fv_emit_info(const fv_graph *g, fv_value v) { return &g->values[v]; }

fv_value fv_emit_in_layout(fv_graph *g, fv_value v, fv_layout layout) { return fv_graph_in_layout(g, v, layout); }

fv_value fv_emit_node(fv_graph *g, const fv_op *op, const fv_value *in, int32_t in_count, int32_t outs,
                      const fv_attributes *attr) {
    return fv_graph_node(g, op, NULL, in, in_count, outs, attr);
}

/* ---- copies and shapes ---- */

fv_status fv_graph_set_edges(const fv_graph *g, fv_value_info *weight, const uint8_t *edges) {
    const size_t count = (size_t)(weight->shape.dim[0] * weight->shape.dim[1]);
    FV_FORWARD(fv_alloc(g->context, count, "a connection table", (void **)&weight->edges));
    memcpy(weight->edges, edges, count);
    return FV_OK;
}

static fv_status copy_value(fv_graph *to, const fv_value_info *from, bool share_data) {
    fv_value_info *v = &to->values[to->value_count];
    *v = *from;
    v->name = NULL;
    v->data = NULL;
    v->edges = NULL;
    v->shared = false;
    v->away = share_data && from->away;
    to->value_count++;
    if (from->name) FV_FORWARD(fv_strdup(to->context, from->name, &v->name));
    if (share_data) v->data = from->data, v->edges = from->edges;
    if (from->edges && !share_data) FV_FORWARD(fv_graph_set_edges(to, v, from->edges));
    if (!from->data || share_data) return FV_OK;
    const size_t bytes = fv_shape_count(&from->shape) * fv_dtype_bytes(from->dtype);
    FV_FORWARD(fv_alloc(to->context, bytes, from->name ? from->name : "a parameter", &v->data));
    memcpy(v->data, from->data, bytes);
    return FV_OK;
}

static fv_status copy_node(fv_graph *to, const fv_node *from) {
    fv_node *n = &to->nodes[to->node_count++];
    *n = *from;
    n->name = NULL;
    n->in = n->out = NULL;
    FV_FORWARD(fv_strdup(to->context, from->name, &n->name));
    FV_FORWARD(fv_alloc_array(to->context, (size_t)n->in_count + 1, sizeof *n->in, "a node", (void **)&n->in));
    FV_FORWARD(fv_alloc_array(to->context, (size_t)n->out_count + 1, sizeof *n->out, "a node", (void **)&n->out));
    if (n->in_count) memcpy(n->in, from->in, (size_t)n->in_count * sizeof *n->in);
    if (n->out_count) memcpy(n->out, from->out, (size_t)n->out_count * sizeof *n->out);
    return FV_OK;
}

static fv_status copy_list(fv_graph *to, const fv_value *from, size_t count, fv_value **list, size_t *capacity,
                           size_t *copied) {
    FV_FORWARD(fv_grow(to->context, (void **)list, capacity, count, sizeof **list, "a graph"));
    if (count) memcpy(*list, from, count * sizeof **list);
    *copied = count;
    return FV_OK;
}

static fv_status copy_into(fv_graph *to, const fv_graph *from, bool share_data) {
    to->borrowed = share_data;
    FV_FORWARD(fv_grow(to->context, (void **)&to->values, &to->value_capacity, from->value_count, sizeof *to->values,
                       "a graph"));
    FV_FORWARD(
        fv_grow(to->context, (void **)&to->nodes, &to->node_capacity, from->node_count, sizeof *to->nodes, "a graph"));
    for (size_t i = 0; i < from->value_count; i++) FV_FORWARD(copy_value(to, &from->values[i], share_data));
    for (size_t i = 0; i < from->node_count; i++) FV_FORWARD(copy_node(to, &from->nodes[i]));
    FV_FORWARD(copy_list(to, from->inputs, from->input_count, &to->inputs, &to->input_capacity, &to->input_count));
    return copy_list(to, from->outputs, from->output_count, &to->outputs, &to->output_capacity, &to->output_count);
}

fv_status fv_graph_copy(const fv_graph *g, bool share_data, fv_graph **out) {
    fv_graph *copy = NULL;
    FV_FORWARD(fv_graph_create(g->context, &copy));
    const fv_status status = copy_into(copy, g, share_data);
    memcpy(copy->passes, g->passes, sizeof copy->passes);
    if (status == FV_OK)
        *out = copy;
    else
        fv_graph_free(copy);
    return status;
}

fv_status fv_graph_set_batch(fv_graph *g, int64_t batch) {
    FV_RETURN_IF(batch < 1 || batch > INT32_MAX, FV_ERR_ARGUMENT, "a batch of %lld; it must be 1 or more",
                 (long long)batch);
    for (size_t i = 0; i < g->input_count; i++) {
        fv_value_info *v = &g->values[g->inputs[i]];
        FV_RETURN_IF(v->shape.dim[0] != 0 && v->shape.dim[0] != batch, FV_ERR_SHAPE,
                     "input \"%s\" has a fixed batch of %lld, not %lld", v->name ? v->name : "",
                     (long long)v->shape.dim[0], (long long)batch);
        v->shape.dim[0] = batch;
        FV_FORWARD(check_count("input", v->name ? v->name : "", &v->shape));
    }
    return fv_graph_infer(g);
}

fv_status fv_graph_infer(fv_graph *g) {
    for (size_t i = 0; i < g->node_count; i++) FV_FORWARD(infer_node(g, &g->nodes[i]));
    return FV_OK;
}

/* ---- editing ---- */

void fv_graph_move_last(fv_graph *g, size_t at) {
    const fv_node last = g->nodes[g->node_count - 1];
    memmove(g->nodes + at + 1, g->nodes + at, (g->node_count - 1 - at) * sizeof *g->nodes);
    g->nodes[at] = last;
    fv_graph_relink(g);
}

void fv_graph_relink(fv_graph *g) {
    for (size_t i = 0; i < g->value_count; i++)
        g->values[i].producer = -1, g->values[i].twin = FV_NONE; /* a twin may be gone */
    for (size_t i = 0; i < g->node_count; i++)
        for (int32_t k = 0; k < g->nodes[i].out_count; k++)
            if (g->nodes[i].out[k] != FV_NONE) g->values[g->nodes[i].out[k]].producer = (int32_t)i;
}

void fv_graph_replace(fv_graph *g, fv_value old, fv_value fresh) {
    for (size_t i = 0; i < g->node_count; i++)
        for (int32_t k = 0; k < g->nodes[i].in_count; k++)
            if (g->nodes[i].in[k] == old) g->nodes[i].in[k] = fresh;
    for (size_t i = 0; i < g->output_count; i++)
        if (g->outputs[i] == old) g->outputs[i] = fresh;
}

size_t fv_graph_uses(const fv_graph *g, fv_value v) {
    size_t uses = 0;
    for (size_t i = 0; i < g->node_count; i++)
        for (int32_t k = 0; k < g->nodes[i].in_count; k++) uses += g->nodes[i].in[k] == v;
    for (size_t i = 0; i < g->output_count; i++) uses += g->outputs[i] == v;
    return uses;
}

size_t fv_graph_readers(const fv_graph *g, const void *data) {
    size_t count = 0;
    for (size_t i = 0; i < g->node_count; i++)
        for (int32_t k = 0; k < g->nodes[i].in_count; k++)
            count += g->nodes[i].in[k] != FV_NONE && g->values[g->nodes[i].in[k]].data == data;
    for (size_t i = 0; i < g->output_count; i++) count += g->values[g->outputs[i]].data == data;
    return count;
}

void fv_graph_remove(fv_graph *g, const bool *dead) {
    size_t kept = 0;
    for (size_t i = 0; i < g->node_count; i++) {
        if (dead[i])
            free_node(g->context, &g->nodes[i]);
        else
            g->nodes[kept++] = g->nodes[i];
    }
    g->node_count = kept;
    fv_graph_relink(g);
}
