/* gain: x, gain (C) -> y = gain[c] * x, C on axis 1. gain_grad: dy, x, gain -> dx, dgain. SPEC section 3. */
#include "ops/pieces.h"

typedef struct gain {
    const fv_kernels *kernels;
    const fv_buffer *x, *gain, *y;         /* forward, and dx = gain * dy */
    const fv_buffer *dy, *dgain, *parts;
    size_t rows, channels, chunk, chunks;  /* rows of `channels` values */
} gain;

static fv_status gain_infer(fv_node *n, fv_value_info *values) {
    const fv_shape *x = &values[n->in[0]].shape, *g = &values[n->in[1]].shape;
    FV_RETURN_IF((x->rank != 2 && x->rank != 4) || g->rank != 1 || g->dim[0] != x->dim[1], FV_ERR_SHAPE,
                 "node \"%s\": a gain %s does not fit the maps of %s", n->name, fv_shape_print(g).text, fv_shape_print(x).text);
    fv_infer_like(&values[n->out[0]], &values[n->in[0]]);
    return FV_OK;
}

static void run_gain(void *arg, size_t piece, void *scratch) {
    (void)scratch;
    const gain *s = arg;
    const size_t begin = piece * s->chunk, end = fv_min_size(begin + s->chunk, s->rows);
    s->kernels->pointwise.gain((const fv_real *)s->x->data + begin * s->channels, (ptrdiff_t)s->channels, s->gain->data, NULL,
                               (fv_real *)s->y->data + begin * s->channels, (ptrdiff_t)s->channels, s->channels, end - begin);
}

static fv_status make(fv_plan_op *p, fv_value x, fv_value g, fv_value y, gain **out) {
    gain *s;
    FV_FORWARD(fv_plan_state(p, sizeof *s, (void **)&s));
    const fv_shape *shape = &p->values[x].shape;
    *s = (gain){.kernels = p->kernels, .x = fv_plan_buffer(p, x), .gain = fv_plan_buffer(p, g), .y = fv_plan_buffer(p, y)};
    s->channels = (size_t)shape->dim[1];
    s->rows = s->channels ? fv_shape_count(shape) / s->channels : 0;
    s->chunk = fv_rows_per_piece(s->channels);
    s->chunks = fv_div_up(s->rows, s->chunk);
    p->algorithm = "pointwise";
    p->flops = (double)fv_shape_count(shape);
    *out = s;
    return FV_OK;
}

static fv_status gain_plan(fv_plan_op *p) {
    gain *s;
    FV_FORWARD(make(p, p->node->in[0], p->node->in[1], p->node->out[0], &s));
    return fv_plan_phase(p, false, run_gain, s, s->chunks);
}

static fv_status gain_backward(fv_backward *b) {
    const fv_value in[3] = {b->dout[0], b->node->in[0], b->node->in[1]};
    const fv_value dx = fv_emit_node(b->graph, &fv_op_gain_grad, in, 3, 2, &b->node->attr);
    b->din[0] = dx;
    b->din[1] = dx == FV_NONE ? FV_NONE : dx + 1;
    return FV_OK;
}

const fv_op fv_op_gain = {"gain", 2, 2, 1, FV_OP_IN_PLACE, gain_infer, gain_plan, gain_backward};

static fv_status gain_grad_infer(fv_node *n, fv_value_info *values) {
    fv_infer_like(&values[n->out[0]], &values[n->in[1]]);
    fv_infer_like(&values[n->out[1]], &values[n->in[2]]);
    return FV_OK;
}

static void run_dots(void *arg, size_t piece, void *scratch) {
    (void)scratch;
    const gain *s = arg;
    const size_t begin = piece * s->chunk, end = fv_min_size(begin + s->chunk, s->rows), at = begin * s->channels;
    const fv_real *dy = s->x->data, *x = s->dy->data; /* `x` of the product gain*dy is dy */
    s->kernels->reduce.dot_rows(dy + at, (ptrdiff_t)s->channels, x + at, (ptrdiff_t)s->channels, end - begin, s->channels,
                                (fv_real *)s->parts->data + piece * s->channels);
}

static void run_sum(void *arg, size_t piece, void *scratch) {
    (void)piece, (void)scratch;
    const gain *s = arg;
    s->kernels->reduce.add_parts(s->parts->data, s->channels, s->chunks, s->dgain->data, s->channels);
}

static fv_status gain_grad_plan(fv_plan_op *p) {
    const fv_node *n = p->node;
    gain *s;
    fv_buffer *parts;
    FV_FORWARD(make(p, n->in[0], n->in[2], n->out[0], &s));
    s->dy = fv_plan_buffer(p, n->in[1]);
    s->dgain = fv_plan_buffer(p, n->out[1]);
    FV_FORWARD(fv_plan_workspace(p, s->chunks * s->channels * sizeof(fv_real), &parts));
    s->parts = parts;
    FV_FORWARD(fv_plan_phase(p, false, run_dots, s, s->chunks)); /* before dx, which may take dy's place */
    FV_FORWARD(fv_plan_phase(p, false, run_sum, s, 1));
    return fv_plan_phase(p, false, run_gain, s, s->chunks);
}

const fv_op fv_op_gain_grad = {"gain_grad", 3, 3, 2, FV_OP_IN_PLACE, gain_grad_infer, gain_grad_plan, NULL};
