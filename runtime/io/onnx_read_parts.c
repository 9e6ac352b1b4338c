/* Values joined and cut. */
#include "io/onnx_internal.h"

#include <string.h>

/* An axis counted from the front. */
static fv_status read_axis(const FvOnnx__Node *n, int64_t axis, const fv_shape *s, int32_t *out) {
    FV_RETURN_IF(axis < -s->rank || axis >= s->rank, FV_ERR_SHAPE,
                 "node \"%.100s\" (%.60s): axis %lld of a tensor of rank %d", n->name ? n->name : "", n->op_type,
                 (long long)axis, s->rank);
    *out = (int32_t)(axis < 0 ? axis + s->rank : axis);
    return FV_OK;
}

static fv_status read_concat(fv_onnx_reader *r, const FvOnnx__Node *n) {
    fv_value parts[FV_MOST_PARTS];
    int32_t axis;
    if (n->n_input < 1 || n->n_input > FV_MOST_PARTS) return fv_onnx_refuse(n, "only 1 to 32 values are joined");
    for (size_t i = 0; i < n->n_input; i++) FV_FORWARD(fv_onnx_value(r, n, i, &parts[i]));
    FV_RETURN_IF(!fv_onnx_attribute(n, "axis"), FV_ERR_FORMAT, "node \"%.100s\" (Concat) has no axis",
                 n->name ? n->name : "");
    FV_FORWARD(read_axis(n, fv_onnx_attribute_int(n, "axis", 1), &fv_emit_info(r->graph, parts[0])->shape, &axis));
    if (axis == 0) return fv_onnx_refuse(n, "batches are not joined");
    return fv_onnx_done(r, n, fv_graph_concat(r->graph, parts, (int32_t)n->n_input, axis, fv_onnx_node_name(n)));
}

/* Sizes from input 1, the attribute "split", or equal ones of which the last may be smaller. */
static fv_status read_sizes(const fv_onnx_reader *r, const FvOnnx__Node *n, int64_t whole, int32_t *sizes) {
    const fv_onnx_tensor *t;
    const FvOnnx__Attribute *a = fv_onnx_attribute(n, "split");
    FV_FORWARD(fv_onnx_constant(r, n, 1, &t));
    const size_t given = t ? t->count : a ? a->n_ints : n->n_output;
    FV_RETURN_IF(given != n->n_output, FV_ERR_SHAPE, "node \"%.100s\" (Split): %zu sizes for %zu outputs",
                 n->name ? n->name : "", given, n->n_output);
    const int64_t each = (whole + (int64_t)given - 1) / (int64_t)given;
    for (size_t i = 0; i < given; i++) {
        const int64_t rest = whole - (int64_t)i * each;
        const int64_t size = t ? fv_onnx_tensor_int(t, i) : a ? a->ints[i] : rest < each ? rest : each;
        if (size == 0 || (!t && !a && rest < each && r->opset < 18)) return fv_onnx_refuse(n, "parts of no size and uneven ones");
        FV_RETURN_IF(size < 1 || size > whole, FV_ERR_SHAPE, "node \"%.100s\" (Split): part %zu has size %lld of %lld",
                     n->name ? n->name : "", i, (long long)size, (long long)whole);
        sizes[i] = (int32_t)size;
    }
    return FV_OK;
}

static fv_status read_split(fv_onnx_reader *r, const FvOnnx__Node *n) {
    fv_value x, parts[FV_MOST_PARTS];
    int32_t axis, sizes[FV_MOST_PARTS];
    FV_FORWARD(fv_onnx_value(r, n, 0, &x));
    const fv_shape shape = fv_emit_info(r->graph, x)->shape;
    FV_FORWARD(read_axis(n, fv_onnx_attribute_int(n, "axis", 0), &shape, &axis));
    if (axis == 0) return fv_onnx_refuse(n, "batches are not cut");
    if (n->n_output < 1 || n->n_output > FV_MOST_PARTS) return fv_onnx_refuse(n, "only 1 to 32 parts are made");
    FV_FORWARD(read_sizes(r, n, shape.dim[axis], sizes));
    FV_FORWARD(fv_graph_split(r->graph, x, axis, (int32_t)n->n_output, sizes, parts, fv_onnx_node_name(n)));
    return fv_onnx_done_all(r, n, parts, n->n_output);
}

/* ---- slices ---- */

typedef struct cut {
    int32_t axis;
    int64_t begin, end, step; /* within the axis */
} cut;

static int64_t clamp(int64_t v, int64_t size) {
    if (v < 0) v += size;
    return v < 0 ? 0 : v > size ? size : v;
}

static fv_status read_cut(const fv_onnx_reader *r, const FvOnnx__Node *n, size_t i, const fv_shape *shape, cut *c) {
    const fv_onnx_tensor *list[4] = {NULL}; /* starts, ends, axes, steps */
    for (size_t k = 0; k < 4; k++) FV_FORWARD(fv_onnx_constant(r, n, 1 + k, &list[k]));
    if (!list[0] || !list[1]) return fv_onnx_refuse(n, "starts and ends must be constants");
    for (size_t k = 1; k < 4; k++)
        FV_RETURN_IF(list[k] && list[k]->count != list[0]->count, FV_ERR_SHAPE,
                     "node \"%.100s\" (Slice): its lists differ in length", n->name ? n->name : "");
    FV_FORWARD(read_axis(n, list[2] ? fv_onnx_tensor_int(list[2], i) : (int64_t)i, shape, &c->axis));
    if (c->axis == 0) return fv_onnx_refuse(n, "batches are not cut");
    c->begin = clamp(fv_onnx_tensor_int(list[0], i), shape->dim[c->axis]);
    c->end = clamp(fv_onnx_tensor_int(list[1], i), shape->dim[c->axis]);
    c->step = list[3] ? fv_onnx_tensor_int(list[3], i) : 1;
    FV_RETURN_IF(c->step == 0, FV_ERR_SHAPE, "node \"%.100s\" (Slice): a step of 0", n->name ? n->name : "");
    if (c->step < 0 || c->step > INT32_MAX) return fv_onnx_refuse(n, "only steps forward are read");
    if (c->begin >= c->end) return fv_onnx_refuse(n, "an empty slice");
    return FV_OK;
}

/* Ranges one after the other, and every r-th row and t-th column of what they leave. */
static fv_status read_slice(fv_onnx_reader *r, const FvOnnx__Node *n) {
    fv_value x;
    fv_pool_settings stride;
    const fv_onnx_tensor *starts;
    fv_pool_settings_default(&stride);
    stride.kind = FV_POOL_STRIDE;
    stride.stride[0] = stride.stride[1] = 1;
    FV_FORWARD(fv_onnx_value(r, n, 0, &x));
    FV_FORWARD(fv_onnx_constant(r, n, 1, &starts));
    const fv_value whole = x;
    for (size_t i = 0; starts && i < starts->count; i++) {
        const fv_shape shape = fv_emit_info(r->graph, x)->shape;
        cut c = {0};
        FV_FORWARD(read_cut(r, n, i, &shape, &c));
        if (c.step > 1 && (shape.rank != 4 || c.axis < 2))
            return fv_onnx_refuse(n, "steps are read along the rows and columns of maps");
        if (c.step > 1) stride.stride[c.axis - 2] = (int32_t)c.step;
        if (c.end - c.begin < shape.dim[c.axis]) {
            x = fv_graph_slice(r->graph, x, c.axis, (int32_t)c.begin, (int32_t)(c.end - c.begin),
                               x == whole ? fv_onnx_node_name(n) : NULL);
            FV_FORWARD(fv_graph_status(r->graph));
        }
    }
    if (stride.stride[0] > 1 || stride.stride[1] > 1)
        x = fv_graph_pool(r->graph, x, &stride, x == whole ? fv_onnx_node_name(n) : NULL);
    if (!starts) return fv_onnx_refuse(n, "starts must be a constant input");
    return fv_onnx_done(r, n, x);
}

/* ---- factors (N,C) as (N,C,1,1): what scales maps ---- */

static bool scales_only(const fv_onnx_reader *r, const char *name) {
    const FvOnnx__Graph *g = r->model->graph;
    if (r->depth > 0) return false;
    for (size_t i = 0; i < g->n_output; i++)
        if (g->output[i]->name && strcmp(g->output[i]->name, name) == 0) return false;
    for (size_t i = 0; i < g->n_node; i++)
        for (size_t k = 0; k < g->node[i]->n_input; k++)
            if (strcmp(g->node[i]->input[k], name) == 0 && (!g->node[i]->op_type || strcmp(g->node[i]->op_type, "Mul") != 0)) return false;
    return true;
}

fv_status fv_onnx_done_as_maps(fv_onnx_reader *r, const FvOnnx__Node *n, fv_value x) {
    FV_RETURN_IF(n->n_output != 1 || !*n->output[0], FV_ERR_FORMAT, "node \"%.100s\" (%.60s) has no output",
                 n->name ? n->name : "", n->op_type);
    if (!scales_only(r, n->output[0])) return fv_onnx_refuse(n, "maps (N,C,1,1) only scale other maps");
    return fv_onnx_define(r, &(fv_onnx_name){.name = n->output[0], .value = x, .as_maps = true});
}

bool fv_onnx_is_as_maps(const fv_shape *x, const fv_onnx_tensor *shape) {
    if (x->rank != 2 || shape->count != 4 || fv_onnx_tensor_int(shape, 2) != 1 || fv_onnx_tensor_int(shape, 3) != 1)
        return false;
    const int64_t rows = fv_onnx_tensor_int(shape, 0), maps = fv_onnx_tensor_int(shape, 1);
    return (maps == x->dim[1] && (rows == 0 || rows == -1)) || ((maps == -1 || maps == 0) && rows == 0);
}

static fv_status read_unsqueeze(fv_onnx_reader *r, const FvOnnx__Node *n) {
    fv_value x;
    const fv_onnx_tensor *t;
    const FvOnnx__Attribute *a = fv_onnx_attribute(n, "axes");
    int64_t axes[2] = {0, 0};
    FV_FORWARD(fv_onnx_value(r, n, 0, &x));
    FV_FORWARD(fv_onnx_constant(r, n, 1, &t));
    const size_t count = t ? t->count : a ? a->n_ints : 0;
    for (size_t i = 0; i < count && i < 2; i++) {
        axes[i] = t ? fv_onnx_tensor_int(t, i) : a->ints[i];
        if (axes[i] < 0 && axes[i] >= -4) axes[i] += 4;
    }
    if (count != 2 || axes[0] != 2 || axes[1] != 3 || fv_emit_info(r->graph, x)->shape.rank != 2)
        return fv_onnx_refuse(n, "only (N,C) to (N,C,1,1) is read");
    return fv_onnx_done_as_maps(r, n, x);
}

const fv_onnx_read_row fv_onnx_read_parts[] = {
    {"Concat", read_concat}, {"Split", read_split}, {"Slice", read_slice}, {"Unsqueeze", read_unsqueeze}, {NULL, NULL},
};
