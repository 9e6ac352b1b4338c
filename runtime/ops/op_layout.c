/* layout: x -> the same maps in the other layout. flatten: maps (N,C,H,W) -> (N,C*H*W), map by map; flatten_grad back.
 * All three are a matrix of pixels x channels transposed an image at a time, or nothing where one of the two is 1. */
#include "ops/pieces.h"

#include <string.h>

typedef struct layout {
    const fv_kernels *kernels;
    const fv_buffer *in, *out;
    size_t images, rows, columns; /* of one image as it lies in the input */
    size_t chunk, chunks;         /* rows a piece */
} layout;

static void run_layout(void *arg, size_t piece, void *scratch) {
    (void)scratch;
    const layout *s = arg;
    const size_t image = piece / s->chunks, chunk = piece % s->chunks, size = s->rows * s->columns;
    const fv_range rows = {chunk * s->chunk, fv_min_size((chunk + 1) * s->chunk, s->rows)};
    const fv_real *in = (const fv_real *)s->in->data + image * size;
    fv_real *out = (fv_real *)s->out->data + image * size;
    s->kernels->convert.transpose(in, (ptrdiff_t)s->columns, out, (ptrdiff_t)s->rows, s->columns, rows);
}

static void run_copy(void *arg, size_t piece, void *scratch) {
    (void)scratch;
    const layout *s = arg;
    const fv_range r = fv_run_of(piece, s->columns);
    if (s->in->data == s->out->data) return;
    memcpy((char *)s->out->data + r.begin, (const char *)s->in->data + r.begin, r.end - r.begin);
}

static fv_status plan_copy(fv_plan_op *p, layout *s, size_t bytes) {
    s->images = s->rows = 1;
    s->columns = bytes;
    p->algorithm = "copy";
    return fv_plan_phase(p, false, run_copy, s, fv_run_pieces(bytes));
}

/* channels_last: how the input lies. */
static fv_status plan(fv_plan_op *p, const fv_shape *maps, bool channels_last) {
    size_t pixels = 1;
    for (int32_t i = 2; i < maps->rank; i++) pixels *= (size_t)maps->dim[i];
    const size_t channels = maps->rank < 2 ? 1 : (size_t)maps->dim[1];
    layout *s;
    FV_FORWARD(fv_plan_state(p, sizeof *s, (void **)&s));
    *s = (layout){.kernels = p->kernels,
                  .in = fv_plan_buffer(p, p->node->in[0]),
                  .out = fv_plan_buffer(p, p->node->out[0]),
                  .images = maps->rank ? (size_t)maps->dim[0] : 1,
                  .rows = channels_last ? pixels : channels,
                  .columns = channels_last ? channels : pixels};
    const bool same =
        p->values[p->node->in[0]].layout == p->values[p->node->out[0]].layout && p->node->op == &fv_op_layout;
    if (maps->rank < 3 || fv_shape_count(maps) == 0 || pixels == 1 || channels == 1 || same)
        return plan_copy(p, s, fv_shape_count(maps) * fv_dtype_bytes(p->values[p->node->in[0]].dtype));
    p->algorithm = "transpose";
    s->chunk = fv_round_up(fv_rows_per_piece(s->columns), 8);
    s->chunks = fv_div_up(s->rows, s->chunk);
    return fv_plan_phase(p, false, run_layout, s, s->images * s->chunks);
}

static fv_status layout_infer(fv_node *n, fv_value_info *values) {
    const fv_layout kept = values[n->out[0]].layout;
    fv_infer_like(&values[n->out[0]], &values[n->in[0]]);
    values[n->out[0]].layout = kept;
    return FV_OK;
}

static fv_status layout_plan(fv_plan_op *p) {
    return plan(p, &p->values[p->node->in[0]].shape, p->values[p->node->in[0]].layout == FV_NHWC);
}

static fv_status layout_backward(fv_backward *b) {
    b->din[0] = fv_emit_in_layout(b->graph, b->dout[0], fv_emit_info(b->graph, b->node->in[0])->layout);
    return FV_OK;
}

const fv_op fv_op_layout = {"layout", 1, 1, 1, FV_OP_ANY_LAYOUT, layout_infer, layout_plan, layout_backward};

static fv_status flatten_infer(fv_node *n, fv_value_info *values) {
    const fv_shape *x = &values[n->in[0]].shape;
    FV_RETURN_IF(x->rank != 4, FV_ERR_SHAPE, "node \"%s\": flatten takes maps (N,C,H,W), got %s", n->name,
                 fv_shape_print(x).text);
    const fv_shape y = {2, {x->dim[0], x->dim[1] * x->dim[2] * x->dim[3]}};
    fv_infer_shape(&values[n->out[0]], FV_REAL_DTYPE, &y);
    return FV_OK;
}

static fv_status flatten_plan(fv_plan_op *p) { return plan(p, &p->values[p->node->in[0]].shape, true); }

static fv_status flatten_backward(fv_backward *b) {
    const fv_value in[2] = {b->dout[0], b->node->in[0]};
    b->din[0] = fv_emit_node(b->graph, &fv_op_flatten_grad, in, 2, 1, &b->node->attr);
    return FV_OK;
}

const fv_op fv_op_flatten = {"flatten", 1, 1, 1, 0, flatten_infer, flatten_plan, flatten_backward};

static fv_status flatten_grad_infer(fv_node *n, fv_value_info *values) {
    fv_infer_like(&values[n->out[0]], &values[n->in[1]]);
    return FV_OK;
}

static fv_status flatten_grad_plan(fv_plan_op *p) { return plan(p, &p->values[p->node->in[1]].shape, false); }

const fv_op fv_op_flatten_grad = {"flatten_grad", 2, 2, 1, 0, flatten_grad_infer, flatten_grad_plan, NULL};
