/* General tensors: shapes, axes, joins and cuts, reductions, gathers. */
#include "io/onnx_write_nd.h"
#include "ops/window.h"

#include <stdio.h>
#include <string.h>

static size_t bytes_of(const fv_value_info *v) { return fv_shape_count(&v->shape) * fv_dtype_bytes(v->dtype); }

/* A constant under its name, or one of another shape under a name of its own. */
static char *constant(fv_onnx_writer *w, fv_value v, int32_t rank, const int64_t *shape) {
    const fv_value_info *info = &w->graph->values[v];
    char *name = fv_onnx_value_name(w, v);
    for (size_t k = 0; name && k < w->tensor_count; k++) {
        if (strcmp(w->tensors[k]->name, name) != 0) continue;
        if (w->tensors[k]->n_dims == (size_t)rank) return name;
        name = fv_onnx_text(w, "%s.%lld", name, rank);
        k = (size_t)-1; /* it may be there as well */
    }
    if (name) fv_onnx_make_tensor(w, name, rank, shape, fv_onnx_type_of(info->dtype), info->data, bytes_of(info));
    return name;
}

char *fv_onnx_operand(fv_onnx_writer *w, fv_value v) {
    v = fv_onnx_through_layouts(w->graph, v);
    if (v == FV_NONE) return (char *)"";
    const fv_value_info *info = &w->graph->values[v];
    if (info->kind != FV_VALUE_PARAMETER || !info->data) return fv_onnx_value_name(w, v);
    return constant(w, v, info->shape.rank, info->shape.dim);
}

char *fv_onnx_operand_before(fv_onnx_writer *w, fv_value v, int32_t trailing, const char *made) {
    v = fv_onnx_through_layouts(w->graph, v);
    const fv_value_info *info = &w->graph->values[v];
    fv_shape shape = info->shape;
    if (trailing == 0) return fv_onnx_operand(w, v);
    for (int32_t i = 0; i < trailing && shape.rank < FV_MAX_RANK; i++) shape.dim[shape.rank++] = 1;
    if (info->kind == FV_VALUE_PARAMETER && info->data) return constant(w, v, shape.rank, shape.dim);
    char *name = fv_onnx_text(w, "%s.operand", made ? made : "", 0);
    FvOnnx__Node *n = fv_onnx_make_node(w, "Reshape", name, 2, name);
    if (!n) return NULL;
    n->input[0] = fv_onnx_value_name(w, v);
    fv_onnx_list_input(w, n, 1, "shape", shape.rank, shape.dim);
    return name;
}

FvOnnx__Node *fv_onnx_begin(fv_onnx_writer *w, const fv_node *source, const char *op, size_t inputs) {
    FvOnnx__Node *n = fv_onnx_make_node(w, op, source->name, inputs, fv_onnx_value_name(w, source->out[0]));
    int32_t outputs = source->out_count;
    for (size_t i = 0; n && i < inputs; i++)
        n->input[i] = i < (size_t)source->in_count ? fv_onnx_operand(w, source->in[i]) : (char *)"";
    while (outputs > 1 && (source->out[outputs - 1] == FV_NONE || !fv_graph_uses(w->graph, source->out[outputs - 1])))
        outputs--;
    for (int32_t i = 1; n && i < outputs; i++) {
        const bool left_out = source->out[i] == FV_NONE || !fv_graph_uses(w->graph, source->out[i]);
        fv_onnx_make_output(w, n, left_out ? (char *)"" : fv_onnx_value_name(w, source->out[i]));
    }
    return n;
}

char *fv_onnx_step(fv_onnx_writer *w, const fv_node *source, const char *op, char *a, char *b, const char *suffix) {
    char *out = fv_onnx_value_name(w, source->out[0]), *name = source->name, format[32];
    if (suffix && out) {
        snprintf(format, sizeof format, "%%s.%s", suffix);
        out = fv_onnx_text(w, format, out, 0);
        name = fv_onnx_text(w, format, name, 0);
    }
    FvOnnx__Node *n = out && name ? fv_onnx_make_node(w, op, name, b ? 2 : 1, out) : NULL;
    if (!n) return NULL;
    n->input[0] = a;
    if (b) n->input[1] = b;
    return out;
}

void fv_onnx_list_input(fv_onnx_writer *w, FvOnnx__Node *n, size_t i, const char *suffix, int32_t count,
                        const int64_t *values) {
    if (n) n->input[i] = fv_onnx_make_list(w, n->output[0], suffix, (size_t)count, values);
}

void fv_onnx_list_attribute(fv_onnx_writer *w, FvOnnx__Node *n, const char *name, int32_t count,
                            const int64_t *values) {
    int32_t small[2 * FV_MAX_RANK];
    for (int32_t i = 0; i < count; i++) small[i] = (int32_t)values[i];
    if (n) fv_onnx_make_ints(w, n, name, (size_t)count, small);
}

char *fv_onnx_made_tensor(fv_onnx_writer *w, const char *made, const char *suffix, int32_t rank, const int64_t *shape,
                          fv_dtype type, const void *data) {
    char format[64];
    size_t bytes = fv_dtype_bytes(type);
    snprintf(format, sizeof format, "%%s.%s", suffix);
    char *name = fv_onnx_text(w, format, made ? made : "", 0);
    for (int32_t i = 0; i < rank; i++) bytes *= (size_t)shape[i];
    void *copy = fv_onnx_take(w, bytes + 1);
    if (!name || !copy) return NULL;
    memcpy(copy, data, bytes);
    fv_onnx_make_tensor(w, name, rank, shape, fv_onnx_type_of(type), copy, bytes);
    return name;
}

void fv_onnx_integer_input(fv_onnx_writer *w, FvOnnx__Node *n, size_t i, const char *suffix, int64_t value) {
    if (n) n->input[i] = fv_onnx_made_tensor(w, n->output[0], suffix, 0, NULL, FV_I64, &value);
}

void fv_onnx_cannot(fv_onnx_writer *w, const fv_node *source, const char *why) {
    if (w->status == FV_OK)
        w->status = fv_fail(FV_ERR_UNSUPPORTED, "node \"%.100s\": operator %s has no ONNX form: %s", source->name,
                            source->op->name, why);
}

/* ---- rows ---- */

static void write_reshape(fv_onnx_writer *w, const fv_node *source) {
    FvOnnx__Node *n = fv_onnx_begin(w, source, "Reshape", 2);
    fv_onnx_list_input(w, n, 1, "shape", source->attr.nd.count, source->attr.nd.a);
    if (n && source->attr.nd.flag) fv_onnx_make_int(w, n, "allowzero", 1);
}

static void write_transpose(fv_onnx_writer *w, const fv_node *source) {
    fv_onnx_list_attribute(w, fv_onnx_begin(w, source, "Transpose", 1), "perm", source->attr.nd.count,
                           source->attr.nd.a);
}

static void write_blocks(fv_onnx_writer *w, const fv_node *source) {
    const bool deep = source->op == &fv_op_depth_to_space;
    FvOnnx__Node *n = fv_onnx_begin(w, source, deep ? "DepthToSpace" : "SpaceToDepth", 1);
    if (!deep && source->attr.nd.kind == 1) fv_onnx_cannot(w, source, "this order of its channels");
    if (!n) return;
    fv_onnx_make_int(w, n, "blocksize", source->attr.nd.a[0]);
    if (source->attr.nd.kind == 1) fv_onnx_make_text(w, n, "mode", "CRD");
}

static void write_slice(fv_onnx_writer *w, const fv_node *source) {
    const fv_nd_attr *a = &source->attr.nd;
    int64_t starts[FV_MAX_RANK], ends[FV_MAX_RANK], axes[FV_MAX_RANK], steps[FV_MAX_RANK];
    int32_t count = 0;
    for (int32_t k = 0; k < a->count; k++) {
        if (a->c[k] < 0) continue;
        const int64_t end = a->a[k] + a->c[k] * a->b[k];
        starts[count] = a->a[k];
        ends[count] = a->c[k] == 0 ? a->a[k] : end < 0 ? INT64_MIN : end;
        axes[count] = k;
        steps[count++] = a->b[k];
    }
    FvOnnx__Node *n = fv_onnx_begin(w, source, "Slice", 5);
    fv_onnx_list_input(w, n, 1, "starts", count, starts);
    fv_onnx_list_input(w, n, 2, "ends", count, ends);
    fv_onnx_list_input(w, n, 3, "axes", count, axes);
    fv_onnx_list_input(w, n, 4, "steps", count, steps);
}

static void write_concat(fv_onnx_writer *w, const fv_node *source) {
    FvOnnx__Node *n = fv_onnx_begin(w, source, "Concat", (size_t)source->in_count);
    if (n) fv_onnx_make_int(w, n, "axis", source->attr.nd.a[0]);
}

static void write_expand(fv_onnx_writer *w, const fv_node *source) {
    FvOnnx__Node *n = fv_onnx_begin(w, source, source->op == &fv_op_tile ? "Tile" : "Expand", 2);
    fv_onnx_list_input(w, n, 1, source->op == &fv_op_tile ? "repeats" : "shape", source->attr.nd.count,
                       source->attr.nd.a);
}

static void write_reduce(fv_onnx_writer *w, const fv_node *source) {
    static const char *const names[] = {"ReduceSum",       "ReduceMean",     "ReduceMax", "ReduceMin",
                                        "ReduceProd",      "ReduceL1",       "ReduceL2",  "ReduceLogSum",
                                        "ReduceLogSumExp", "ReduceSumSquare"};
    const fv_nd_attr *a = &source->attr.nd;
    const bool none = a->count == 0 && a->flag; /* each element alone: before operator set 18 only the sum can say so */
    if (none && a->kind != FV_ND_SUM) fv_onnx_need(w, 18);
    const bool input = (a->kind == FV_ND_SUM || w->opset >= 18) && a->count > 0;
    FvOnnx__Node *n = fv_onnx_begin(w, source, names[a->kind], input ? 2 : 1);
    if (!n) return;
    if (input) fv_onnx_list_input(w, n, 1, "axes", a->count, a->a);
    if (!input && a->count) fv_onnx_list_attribute(w, n, "axes", a->count, a->a);
    if (none) fv_onnx_make_int(w, n, "noop_with_empty_axes", 1);
    if (!a->keep) fv_onnx_make_int(w, n, "keepdims", 0);
}

static void write_gather(fv_onnx_writer *w, const fv_node *source) {
    const bool by_tuple = source->op == &fv_op_gather_nd;
    FvOnnx__Node *n = fv_onnx_begin(w, source,
                                    by_tuple                      ? "GatherND"
                                    : source->op == &fv_op_gather ? "Gather"
                                                                  : "GatherElements",
                                    2);
    if (n) fv_onnx_make_int(w, n, by_tuple ? "batch_dims" : "axis", source->attr.nd.a[0]);
}

static void write_pad(fv_onnx_writer *w, const fv_node *source) {
    static const char *const modes[] = {"constant", "reflect", "edge", "wrap"};
    const fv_nd_attr *a = &source->attr.nd;
    int64_t pads[2 * FV_MAX_RANK];
    memcpy(pads, a->a, (size_t)a->count * sizeof *pads);
    memcpy(pads + a->count, a->b, (size_t)a->count * sizeof *pads);
    if (a->kind == FV_ND_PAD_WRAP) fv_onnx_need(w, 19);
    const bool value = source->in_count > 1 && source->in[1] != FV_NONE;
    FvOnnx__Node *n = fv_onnx_begin(w, source, "Pad", value ? 3 : 2);
    if (!n) return;
    if (value) n->input[2] = n->input[1];
    fv_onnx_list_input(w, n, 1, "pads", 2 * a->count, pads);
    fv_onnx_make_text(w, n, "mode", modes[a->kind]);
}

static void write_arg(fv_onnx_writer *w, const fv_node *source) {
    const fv_nd_attr *a = &source->attr.nd;
    FvOnnx__Node *n = fv_onnx_begin(w, source, a->kind == 1 ? "ArgMin" : "ArgMax", 1);
    if (!n) return;
    fv_onnx_make_int(w, n, "axis", a->a[0]);
    fv_onnx_make_int(w, n, "keepdims", a->keep);
    if (a->flag) fv_onnx_make_int(w, n, "select_last_index", 1);
}

/* The same values: the file knows one layout. */
static void write_layout(fv_onnx_writer *w, const fv_node *source) { fv_onnx_begin(w, source, "Identity", 1); }

const fv_onnx_write_row fv_onnx_write_nd[] = {
    {&fv_op_reshape, write_reshape},
    {&fv_op_transpose, write_transpose},
    {&fv_op_depth_to_space, write_blocks},
    {&fv_op_space_to_depth, write_blocks},
    {&fv_op_nd_slice, write_slice},
    {&fv_op_nd_concat, write_concat},
    {&fv_op_expand, write_expand},
    {&fv_op_tile, write_expand},
    {&fv_op_reduce, write_reduce},
    {&fv_op_gather, write_gather},
    {&fv_op_gather_elements, write_gather},
    {&fv_op_gather_nd, write_gather},
    {&fv_op_pad, write_pad},
    {&fv_op_arg, write_arg},
    {&fv_op_layout, write_layout},
    {NULL, NULL},
};
