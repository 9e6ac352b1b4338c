/* General tensors: shapes, axes, joins and cuts, reductions, gathers. */
#include "io/onnx_writer.h"

#include <string.h>

/* A value's name; a constant is written in its own type where it is first used. */
static char *operand(fv_onnx_writer *w, fv_value v) {
    const fv_value_info *info = &w->graph->values[v];
    char *name = fv_onnx_value_name(w, v);
    if (info->kind != FV_VALUE_PARAMETER || !info->data || !name) return name;
    for (size_t k = 0; k < w->tensor_count; k++)
        if (strcmp(w->tensors[k]->name, name) == 0) return name;
    size_t bytes = fv_dtype_bytes(info->dtype);
    for (int32_t i = 0; i < info->shape.rank; i++) bytes *= (size_t)info->shape.dim[i];
    fv_onnx_make_tensor(w, name, info->shape.rank, info->shape.dim, fv_onnx_type_of(info->dtype), info->data, bytes);
    return name;
}

static FvOnnx__Node *begin(fv_onnx_writer *w, const fv_node *source, const char *op, size_t inputs) {
    FvOnnx__Node *n = fv_onnx_make_node(w, op, source->name, inputs, fv_onnx_value_name(w, source->out[0]));
    for (size_t i = 0; n && i < inputs && i < (size_t)source->in_count; i++) n->input[i] = operand(w, source->in[i]);
    return n;
}

static void list_input(fv_onnx_writer *w, FvOnnx__Node *n, size_t i, const char *suffix, int32_t count, const int64_t *values) {
    if (n) n->input[i] = fv_onnx_make_list(w, n->output[0], suffix, (size_t)count, values);
}

static void list_attribute(fv_onnx_writer *w, FvOnnx__Node *n, const char *name, int32_t count, const int64_t *values) {
    int32_t small[2 * FV_MAX_RANK];
    for (int32_t i = 0; i < count; i++) small[i] = (int32_t)values[i];
    if (n) fv_onnx_make_ints(w, n, name, (size_t)count, small);
}

static void write_reshape(fv_onnx_writer *w, const fv_node *source) {
    FvOnnx__Node *n = begin(w, source, "Reshape", 2);
    list_input(w, n, 1, "shape", source->attr.nd.count, source->attr.nd.a);
    if (n && source->attr.nd.flag) fv_onnx_make_int(w, n, "allowzero", 1);
}

static void write_transpose(fv_onnx_writer *w, const fv_node *source) {
    list_attribute(w, begin(w, source, "Transpose", 1), "perm", source->attr.nd.count, source->attr.nd.a);
}

static void write_blocks(fv_onnx_writer *w, const fv_node *source) {
    const bool deep = source->op == &fv_op_depth_to_space;
    FvOnnx__Node *n = begin(w, source, deep ? "DepthToSpace" : "SpaceToDepth", 1);
    if (!deep && source->attr.nd.kind == 1 && w->status == FV_OK)
        w->status = fv_fail(FV_ERR_UNSUPPORTED, "node \"%.100s\": ONNX has no such order of SpaceToDepth", source->name);
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
    FvOnnx__Node *n = begin(w, source, "Slice", 5);
    list_input(w, n, 1, "starts", count, starts);
    list_input(w, n, 2, "ends", count, ends);
    list_input(w, n, 3, "axes", count, axes);
    list_input(w, n, 4, "steps", count, steps);
}

static void write_concat(fv_onnx_writer *w, const fv_node *source) {
    FvOnnx__Node *n = begin(w, source, "Concat", (size_t)source->in_count);
    if (n) fv_onnx_make_int(w, n, "axis", source->attr.nd.a[0]);
}

static void write_expand(fv_onnx_writer *w, const fv_node *source) {
    FvOnnx__Node *n = begin(w, source, source->op == &fv_op_tile ? "Tile" : "Expand", 2);
    list_input(w, n, 1, source->op == &fv_op_tile ? "repeats" : "shape", source->attr.nd.count, source->attr.nd.a);
}

static void write_reduce(fv_onnx_writer *w, const fv_node *source) {
    static const char *const names[] = {"ReduceSum", "ReduceMean", "ReduceMax",    "ReduceMin",       "ReduceProd",
                                        "ReduceL1",  "ReduceL2",   "ReduceLogSum", "ReduceLogSumExp", "ReduceSumSquare"};
    const fv_nd_attr *a = &source->attr.nd;
    const bool none = a->count == 0 && a->flag; /* each element alone: only the sum can say so */
    const bool input = a->kind == FV_ND_SUM && a->count > 0;
    if (none && a->kind != FV_ND_SUM && w->status == FV_OK)
        w->status = fv_fail(FV_ERR_UNSUPPORTED, "node \"%.100s\": a reduction over no axis has no ONNX form", source->name);
    FvOnnx__Node *n = begin(w, source, names[a->kind], input ? 2 : 1);
    if (!n) return;
    if (input) list_input(w, n, 1, "axes", a->count, a->a);
    if (!input && a->count) list_attribute(w, n, "axes", a->count, a->a);
    if (none) fv_onnx_make_int(w, n, "noop_with_empty_axes", 1);
    if (!a->keep) fv_onnx_make_int(w, n, "keepdims", 0);
}

static void write_gather(fv_onnx_writer *w, const fv_node *source) {
    const bool by_tuple = source->op == &fv_op_gather_nd;
    FvOnnx__Node *n = begin(w, source, by_tuple ? "GatherND" : source->op == &fv_op_gather ? "Gather" : "GatherElements", 2);
    if (n) fv_onnx_make_int(w, n, by_tuple ? "batch_dims" : "axis", source->attr.nd.a[0]);
}

static void write_pad(fv_onnx_writer *w, const fv_node *source) {
    static const char *const modes[] = {"constant", "reflect", "edge", NULL};
    const fv_nd_attr *a = &source->attr.nd;
    int64_t pads[2 * FV_MAX_RANK];
    memcpy(pads, a->a, (size_t)a->count * sizeof *pads);
    memcpy(pads + a->count, a->b, (size_t)a->count * sizeof *pads);
    if (a->kind == FV_ND_PAD_WRAP && w->status == FV_OK)
        w->status =
            fv_fail(FV_ERR_UNSUPPORTED, "node \"%.100s\": operator set %d does not pad by wrapping", source->name, FV_ONNX_OPSET);
    const bool value = source->in_count > 1 && source->in[1] != FV_NONE;
    FvOnnx__Node *n = begin(w, source, "Pad", value ? 3 : 2);
    if (!n) return;
    if (value) n->input[2] = operand(w, source->in[1]);
    list_input(w, n, 1, "pads", 2 * a->count, pads);
    if (modes[a->kind]) fv_onnx_make_text(w, n, "mode", modes[a->kind]);
}

static void write_arg(fv_onnx_writer *w, const fv_node *source) {
    const fv_nd_attr *a = &source->attr.nd;
    FvOnnx__Node *n = begin(w, source, a->kind == 1 ? "ArgMin" : "ArgMax", 1);
    if (!n) return;
    fv_onnx_make_int(w, n, "axis", a->a[0]);
    fv_onnx_make_int(w, n, "keepdims", a->keep);
    if (a->flag) fv_onnx_make_int(w, n, "select_last_index", 1);
}

/* The same values: the file knows one layout. */
static void write_layout(fv_onnx_writer *w, const fv_node *source) { begin(w, source, "Identity", 1); }

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
