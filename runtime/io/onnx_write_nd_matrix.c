/* Softmax over any axes, products of matrices, sums of products, losses of classes. */
#include "io/onnx_write_nd.h"
#include "ops/nd_loss.h"
#include "ops/nd_matrix.h"

#include <string.h>

/* x with its axes from `mode` on as one. */
static char *write_rows(fv_onnx_writer *w, const fv_node *source, char *in) {
    const fv_nd_attr *a = &source->attr.nd;
    const fv_value_info *x = &w->graph->values[source->in[0]];
    int64_t shape[FV_MAX_RANK + 1];
    if (a->count == 0 || a->mode + a->count != x->shape.rank) fv_onnx_cannot(w, source, "axes in the middle as one");
    for (int32_t i = 0; i < a->mode; i++) shape[i] = x->shape.dim[i];
    shape[a->mode] = -1;
    if (a->mode == 1 && x->shape.rank == 4 && x->dtype == FV_REAL_DTYPE) { /* a layer */
        char *out = fv_onnx_step(w, source, "Flatten", in, NULL, "flatten");
        if (out) fv_onnx_make_int(w, w->nodes[w->node_count - 1], "axis", 1);
        return out;
    }
    char *made = fv_onnx_value_name(w, source->out[0]);
    return fv_onnx_step(w, source, "Reshape", in, fv_onnx_make_list(w, made, "flat", (size_t)a->mode + 1, shape),
                        "flatten");
}

/* Several axes as one: the rows are made and taken apart again. */
static void write_softmax(fv_onnx_writer *w, const fv_node *source) {
    static const char *const names[] = {"Softmax", "LogSoftmax", "Hardmax"};
    const fv_nd_attr *a = &source->attr.nd;
    const fv_shape *x = &w->graph->values[source->in[0]].shape;
    char *in = fv_onnx_operand(w, source->in[0]), *out = fv_onnx_value_name(w, source->out[0]);
    char *rows = a->count == 1 ? out : fv_onnx_text(w, "%s.rows", out, 0);
    if (!rows) return;
    if (a->count != 1) in = write_rows(w, source, in);
    FvOnnx__Node *n = fv_onnx_make_node(w, names[a->kind], a->count == 1 ? source->name : rows, 1, rows);
    if (!n) return;
    n->input[0] = in;
    fv_onnx_make_int(w, n, "axis", a->mode);
    if (a->count != 1)
        fv_onnx_step(w, source, "Reshape", rows, fv_onnx_make_list(w, out, "shape", (size_t)x->rank, x->dim), NULL);
}

static void write_matmul(fv_onnx_writer *w, const fv_node *source) {
    const int32_t mode = source->attr.nd.mode;
    FvOnnx__Node *n = fv_onnx_begin(w, source, mode ? "Gemm" : "MatMul", 2);
    if (!n) return;
    if (mode & 1) fv_onnx_make_int(w, n, "transA", 1);
    if (mode & 2) fv_onnx_make_int(w, n, "transB", 1);
}

/* ---- Einsum ---- */

/* Labels are letters, and from 256 on those of an ellipsis: these stand together, falling to 256, or get letters. */
static char *put_labels(char *text, const int64_t *labels, int32_t count) {
    for (int32_t i = 0; i < count; i++) {
        if (labels[i] < 256) {
            *text++ = (char)labels[i];
            continue;
        }
        if (i == 0 || labels[i - 1] < 256) text = (char *)memcpy(text, "...", 3) + 3;
    }
    return text;
}

static bool is_plain(const int64_t *labels, int32_t count) {
    bool seen = false;
    for (int32_t i = 0; i < count; i++) {
        if (labels[i] < 256) continue;
        const bool begins = i == 0 || labels[i - 1] < 256, ends = i + 1 == count || labels[i + 1] < 256;
        if ((begins && seen) || (!begins && labels[i] != labels[i - 1] - 1) || (ends && labels[i] != 256)) return false;
        seen = true;
    }
    return true;
}

static void write_einsum(fv_onnx_writer *w, const fv_node *source) {
    const fv_nd_attr *a = &source->attr.nd;
    const int32_t ranks[2] = {w->graph->values[source->in[0]].shape.rank,
                              source->in_count > 1 ? w->graph->values[source->in[1]].shape.rank : 0};
    char *equation = fv_onnx_take(w, 6 * FV_MAX_RANK + 16), *at = equation;
    if (!is_plain(a->a, ranks[0]) || !is_plain(a->b, ranks[1]) || !is_plain(a->c, a->count))
        fv_onnx_cannot(w, source, "an ellipsis in parts");
    FvOnnx__Node *n = fv_onnx_begin(w, source, "Einsum", (size_t)source->in_count);
    if (!n || !equation) return;
    at = put_labels(at, a->a, ranks[0]);
    if (source->in_count > 1) {
        *at++ = ',';
        at = put_labels(at, a->b, ranks[1]);
    }
    memcpy(at, "->", 2);
    put_labels(at + 2, a->c, a->count);
    fv_onnx_make_text(w, n, "equation", equation);
}

static void write_det(fv_onnx_writer *w, const fv_node *source) { fv_onnx_begin(w, source, "Det", 1); }

static void write_nll(fv_onnx_writer *w, const fv_node *source) {
    static const char *const reductions[] = {"none", "mean", "sum"};
    const fv_nd_attr *a = &source->attr.nd;
    FvOnnx__Node *n = fv_onnx_begin(w, source, "NegativeLogLikelihoodLoss", (size_t)source->in_count);
    if (!n) return;
    fv_onnx_make_text(w, n, "reduction", reductions[a->mode]);
    if (a->flag) fv_onnx_make_int(w, n, "ignore_index", a->a[0]);
}

const fv_onnx_write_row fv_onnx_write_nd_matrix[] = {
    {&fv_op_nd_softmax, write_softmax}, {&fv_op_nd_matmul, write_matmul},
    {&fv_op_einsum, write_einsum},      {&fv_op_det, write_det},
    {&fv_op_nd_nll, write_nll},         {NULL, NULL},
};
