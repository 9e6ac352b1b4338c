/* conv_transpose: x (N,C,H,W), weight (C,K/groups,kh,kw), [bias (K)] -> y (N,K,H',W'): the transpose of the convolution that
 * takes y's maps to x's (SPEC section 2). So everything here is that convolution's: forward is its data gradient, the gradient by
 * x its forward pass, the gradient by the weight its own with x and dy exchanged. */
#include "ops/conv_plan.h"
#include "ops/pieces.h"

#include <math.h>

static fv_status check_channels(const fv_node *n, const fv_shape *x, const fv_shape *w) {
    const int32_t groups = n->attr.conv.groups;
    FV_RETURN_IF(groups < 1, FV_ERR_ARGUMENT, "node \"%s\": %d groups", n->name, groups);
    FV_RETURN_IF(x->dim[1] % groups, FV_ERR_SHAPE, "node \"%s\": %d groups do not divide %lld input channels", n->name, groups,
                 (long long)x->dim[1]);
    FV_RETURN_IF(w->dim[0] != x->dim[1] || w->dim[1] < 1 || w->dim[1] > INT32_MAX / groups, FV_ERR_SHAPE,
                 "node \"%s\": its weight %s does not fit the %lld channels of its input %s and %d groups", n->name,
                 fv_shape_print(w).text, (long long)x->dim[1], fv_shape_print(x).text, groups);
    return FV_OK;
}

/* SAME: the output is the input times the stride; what is over is cut off as padding, the larger half after (SAME_UPPER) or
 * before. */
static fv_status resolve_padding(const fv_node *n, fv_window_attr *w, int a, int64_t extent) {
    if (w->padding == FV_PAD_EXPLICIT) return FV_OK;
    w->pad_before[a] = w->pad_after[a] = 0;
    if (w->padding == FV_PAD_VALID) return FV_OK;
    const int64_t total = extent + w->output_padding[a] - w->stride[a];
    FV_RETURN_IF(total < 0, FV_ERR_SHAPE,
                 "node \"%s\": a window of %lld cannot fill a stride of %d; SAME needs output padding %lld", n->name,
                 (long long)extent, w->stride[a], (long long)(w->stride[a] - extent));
    const int64_t smaller = total / 2, larger = total - smaller;
    w->pad_before[a] = (int32_t)(w->padding == FV_PAD_SAME_LOWER ? larger : smaller);
    w->pad_after[a] = (int32_t)(w->padding == FV_PAD_SAME_LOWER ? smaller : larger);
    return FV_OK;
}

static fv_status axis_size(const fv_node *n, fv_window_attr *w, int a, int64_t in, int64_t *out) {
    FV_RETURN_IF(w->kernel[a] < 1 || w->stride[a] < 1 || w->dilation[a] < 1, FV_ERR_ARGUMENT,
                 "node \"%s\": kernel %d, stride %d, dilation %d; each must be 1 or more", n->name, w->kernel[a], w->stride[a],
                 w->dilation[a]);
    FV_RETURN_IF(in < 1 || in > INT32_MAX / 4, FV_ERR_SHAPE, "node \"%s\": its input has a side of %lld", n->name, (long long)in);
    FV_RETURN_IF(w->output_padding[a] < 0 || (w->output_padding[a] >= w->stride[a] && w->output_padding[a] >= w->dilation[a]),
                 FV_ERR_ARGUMENT,
                 "node \"%s\": output padding %d; it must be below its stride %d or its dilation %d, and not negative", n->name,
                 w->output_padding[a], w->stride[a], w->dilation[a]);
    const int64_t extent = (int64_t)w->dilation[a] * (w->kernel[a] - 1) + 1;
    FV_RETURN_IF(extent > INT32_MAX / 4, FV_ERR_LIMIT, "node \"%s\": a window of %lld is too large", n->name, (long long)extent);
    FV_FORWARD(resolve_padding(n, w, a, extent));
    FV_RETURN_IF(w->pad_before[a] < 0 || w->pad_after[a] < 0, FV_ERR_ARGUMENT, "node \"%s\": negative padding (%d, %d)", n->name,
                 w->pad_before[a], w->pad_after[a]);
    *out = (in - 1) * w->stride[a] - w->pad_before[a] - w->pad_after[a] + extent + w->output_padding[a];
    FV_RETURN_IF(*out < 1, FV_ERR_SHAPE, "node \"%s\": padding (%d, %d) leaves nothing of an output side of %lld", n->name,
                 w->pad_before[a], w->pad_after[a], (long long)(*out + w->pad_before[a] + w->pad_after[a]));
    FV_RETURN_IF(*out > INT32_MAX / 4, FV_ERR_LIMIT, "node \"%s\": an output side of %lld is too large", n->name,
                 (long long)*out);
    return FV_OK;
}

static fv_status check_bias(const fv_node *n, const fv_value_info *values, int64_t channels) {
    if (n->in_count < 3 || n->in[2] == FV_NONE) return FV_OK;
    const fv_shape *b = &values[n->in[2]].shape;
    FV_RETURN_IF(b->rank != 1 || b->dim[0] != channels, FV_ERR_SHAPE,
                 "node \"%s\": its bias %s does not fit %lld output channels", n->name, fv_shape_print(b).text,
                 (long long)channels);
    return FV_OK;
}

static fv_status transpose_infer(fv_node *n, fv_value_info *values) {
    const fv_shape *x = &values[n->in[0]].shape, *w = &values[n->in[1]].shape;
    FV_RETURN_IF(x->rank != 4 || w->rank != 4, FV_ERR_SHAPE,
                 "node \"%s\": a transposed convolution takes maps (N,C,H,W) and a weight (C,K,kh,kw), got %s and %s", n->name,
                 fv_shape_print(x).text, fv_shape_print(w).text);
    FV_FORWARD(check_channels(n, x, w));
    fv_window_attr *window = &n->attr.conv.window;
    FV_RETURN_IF((int)window->padding < FV_PAD_EXPLICIT || window->padding > FV_PAD_SAME_LOWER, FV_ERR_ARGUMENT,
                 "node \"%s\": unknown padding %d", n->name, (int)window->padding);
    fv_shape y = {4, {x->dim[0], w->dim[1] * n->attr.conv.groups}};
    FV_FORWARD(check_bias(n, values, y.dim[1]));
    for (int a = 1; a < 3; a++) {
        const int64_t kernel = w->dim[1 + a];
        FV_RETURN_IF(kernel < 1 || kernel > INT32_MAX / 4, FV_ERR_SHAPE, "node \"%s\": its weight is %s", n->name,
                     fv_shape_print(w).text);
        window->kernel[a] = (int32_t)kernel;
        FV_FORWARD(axis_size(n, window, a, x->dim[1 + a], &y.dim[1 + a]));
    }
    size_t elements = sizeof(double);
    for (int i = 0; i < 4; i++)
        FV_RETURN_IF(!fv_mul_size(elements, (size_t)(y.dim[i] ? y.dim[i] : 1), &elements) || elements > PTRDIFF_MAX / 4,
                     FV_ERR_LIMIT, "node \"%s\": its output %s is too large", n->name, fv_shape_print(&y).text);
    fv_infer_shape(&values[n->out[0]], FV_REAL_DTYPE, &y);
    return FV_OK;
}

static fv_conv_geometry geometry_of(const fv_plan_op *p, fv_value x, fv_value weight, fv_value y) {
    return fv_conv_geometry_of(&p->node->attr.conv, &p->values[y].shape, &p->values[weight].shape, &p->values[x].shape);
}

static fv_status transpose_plan(fv_plan_op *p) {
    const fv_node *n = p->node;
    const fv_conv_geometry g = geometry_of(p, n->in[0], n->in[1], n->out[0]);
    const fv_conv_end end = {n->in_count > 2 ? n->in[2] : FV_NONE, n->attr.conv.act_low, n->attr.conv.act_high};
    return fv_conv_plan_input_grad(p, &g, n->in[0], n->in[1], &end, n->out[0]);
}

static fv_status transpose_backward(fv_backward *b) {
    const fv_node *n = b->node;
    const fv_value dy = fv_conv_undo_clamp(b);
    if (b->wanted[0]) {
        const fv_value in[3] = {dy, n->in[1], n->in[0]};
        b->din[0] = fv_emit_node(b->graph, &fv_op_conv_transpose_grad_input, in, 3, 1, &n->attr);
    }
    const bool bias = n->in_count > 2 && n->in[2] != FV_NONE && b->wanted[2];
    if (!b->wanted[1] && !bias) return FV_OK;
    const fv_value in[3] = {dy, n->in[0], n->in[1]};
    const fv_value dw = fv_emit_node(b->graph, &fv_op_conv_transpose_grad_weight, in, 3, bias ? 2 : 1, &n->attr);
    b->din[1] = dw;
    if (bias) b->din[2] = dw + 1;
    return FV_OK;
}

const fv_op fv_op_conv_transpose = {"conv_transpose", 2, 3, 1, 0, transpose_infer, transpose_plan, transpose_backward};

/* ---- gradients: dy, weight, x (its shape) -> dx; dy, x, weight (its shape) -> dw, [db] ---- */

static fv_status grad_input_infer(fv_node *n, fv_value_info *values) {
    fv_infer_like(&values[n->out[0]], &values[n->in[2]]);
    return FV_OK;
}

static fv_status grad_input_plan(fv_plan_op *p) {
    const fv_node *n = p->node;
    fv_conv_geometry g = geometry_of(p, n->in[2], n->in[1], n->in[0]);
    g.act_low = -(fv_real)INFINITY; /* the clamp was the forward pass's */
    g.act_high = (fv_real)INFINITY;
    return fv_conv_plan_forward_op(p, &g, n->in[0], n->in[1], FV_NONE, FV_NONE, n->out[0]);
}

static fv_status grad_weight_infer(fv_node *n, fv_value_info *values) {
    fv_infer_like(&values[n->out[0]], &values[n->in[2]]);
    if (n->out_count < 2 || n->out[1] == FV_NONE) return FV_OK;
    const fv_shape db = {1, {values[n->in[0]].shape.dim[1]}};
    fv_infer_shape(&values[n->out[1]], FV_REAL_DTYPE, &db);
    return FV_OK;
}

/* db: dy summed over its pixels, in chunks of a fixed number of them. */
typedef struct bias_grad {
    const fv_kernels *kernels;
    const fv_buffer *dy, *db, *parts;
    size_t pixels, channels, chunk, chunks;
} bias_grad;

static void run_sum(void *arg, size_t piece, void *scratch) {
    (void)scratch;
    const bias_grad *b = arg;
    const size_t begin = piece * b->chunk, end = fv_min_size(begin + b->chunk, b->pixels);
    fv_real *out = (fv_real *)(b->parts ? b->parts->data : b->db->data) + piece * b->channels;
    b->kernels->reduce.sum_rows((const fv_real *)b->dy->data + begin * b->channels, (ptrdiff_t)b->channels, end - begin,
                                b->channels, out);
}

static void run_add(void *arg, size_t piece, void *scratch) {
    (void)piece, (void)scratch;
    const bias_grad *b = arg;
    b->kernels->reduce.add_parts(b->parts->data, b->channels, b->chunks, b->db->data, b->channels);
}

static fv_status plan_bias(fv_plan_op *p, fv_value dy, fv_value db) {
    enum { chunk_pixels = 1024, most_chunks = 16 };
    bias_grad *b;
    const fv_shape *s = &p->values[dy].shape;
    FV_FORWARD(fv_plan_state(p, sizeof *b, (void **)&b));
    b->kernels = p->kernels;
    b->dy = fv_plan_buffer(p, dy);
    b->db = fv_plan_buffer(p, db);
    b->channels = (size_t)s->dim[1];
    b->pixels = fv_shape_count(s) / b->channels;
    b->chunk = fv_max_size(1, fv_div_up(b->pixels, fv_max_size(1, fv_min_size(most_chunks, b->pixels / chunk_pixels))));
    b->chunks = fv_max_size(1, fv_div_up(b->pixels, b->chunk));
    fv_buffer *parts = NULL;
    if (b->chunks > 1) FV_FORWARD(fv_plan_workspace(p, b->chunks * b->channels * sizeof(fv_real), &parts));
    b->parts = parts;
    FV_FORWARD(fv_plan_phase(p, false, run_sum, b, b->chunks));
    return parts ? fv_plan_phase(p, false, run_add, b, 1) : FV_OK;
}

static fv_status grad_weight_plan(fv_plan_op *p) {
    const fv_node *n = p->node;
    const fv_conv_geometry g = geometry_of(p, n->in[1], n->in[2], n->in[0]);
    FV_FORWARD(fv_conv_plan_weight_grad(p, &g, n->in[1], n->in[0], n->out[0], FV_NONE, NULL));
    return n->out_count > 1 && n->out[1] != FV_NONE ? plan_bias(p, n->in[0], n->out[1]) : FV_OK;
}

const fv_op fv_op_conv_transpose_grad_input = {"conv_transpose_grad_input", 3, 3, 1, 0, grad_input_infer, grad_input_plan, NULL};
const fv_op fv_op_conv_transpose_grad_weight = {
    "conv_transpose_grad_weight", 3, 3, 2, 0, grad_weight_infer, grad_weight_plan, NULL};
