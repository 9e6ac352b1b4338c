/* softmax, log_softmax: x (N,F) -> y over axis 1. softmax_grad, log_softmax_grad: y, dy -> dx. */
#include "ops/pieces.h"

typedef struct softmax {
    const fv_kernels *kernels;
    const fv_buffer *a, *b, *out;
    size_t rows, classes, chunk;
} softmax;

static fv_status softmax_infer(fv_node *n, fv_value_info *values) {
    const fv_shape *x = &values[n->in[0]].shape;
    FV_RETURN_IF(x->rank != 2 || x->dim[1] < 1, FV_ERR_SHAPE, "node \"%s\": %s takes (N,F), got %s", n->name, n->op->name,
                 fv_shape_print(x).text);
    fv_infer_like(&values[n->out[0]], &values[n->in[0]]);
    return FV_OK;
}

static fv_status make(fv_plan_op *p, fv_piece_fn run) {
    const fv_node *n = p->node;
    const fv_shape *x = &p->values[n->in[0]].shape;
    softmax *s;
    FV_FORWARD(fv_plan_state(p, sizeof *s, (void **)&s));
    *s = (softmax){p->kernels, fv_plan_buffer(p, n->in[0]), n->in_count > 1 ? fv_plan_buffer(p, n->in[1]) : NULL,
                   fv_plan_buffer(p, n->out[0]), (size_t)x->dim[0], (size_t)x->dim[1], fv_rows_per_piece(8 * (size_t)x->dim[1])};
    p->algorithm = "rows";
    p->flops = 10.0 * (double)fv_shape_count(x);
    return fv_plan_phase(p, false, run, s, fv_div_up(s->rows, s->chunk));
}

static fv_range rows_of(const softmax *s, size_t piece) {
    return (fv_range){piece * s->chunk, fv_min_size((piece + 1) * s->chunk, s->rows)};
}

static void run_softmax(void *arg, size_t piece, void *scratch) {
    (void)scratch;
    const softmax *s = arg;
    s->kernels->softmax.softmax(s->a->data, s->out->data, s->classes, rows_of(s, piece));
}

static fv_status softmax_plan(fv_plan_op *p) { return make(p, run_softmax); }

static fv_status softmax_backward(fv_backward *b) {
    const fv_value in[2] = {b->node->out[0], b->dout[0]};
    b->din[0] = fv_emit_node(b->graph, &fv_op_softmax_grad, in, 2, 1, NULL);
    return FV_OK;
}

const fv_op fv_op_softmax = {"softmax", 1, 1, 1, FV_OP_IN_PLACE, softmax_infer, softmax_plan, softmax_backward};

static void run_softmax_grad(void *arg, size_t piece, void *scratch) {
    (void)scratch;
    const softmax *s = arg;
    s->kernels->softmax.softmax_grad(s->a->data, s->b->data, s->out->data, s->classes, rows_of(s, piece));
}

static fv_status softmax_grad_plan(fv_plan_op *p) { return make(p, run_softmax_grad); }

const fv_op fv_op_softmax_grad = {"softmax_grad", 2, 2, 1, FV_OP_IN_PLACE_SECOND, softmax_infer, softmax_grad_plan, NULL};

static void run_log_softmax(void *arg, size_t piece, void *scratch) {
    (void)scratch;
    const softmax *s = arg;
    s->kernels->softmax.log_softmax(s->a->data, s->out->data, s->classes, rows_of(s, piece));
}

static fv_status log_softmax_plan(fv_plan_op *p) { return make(p, run_log_softmax); }

static fv_status log_softmax_backward(fv_backward *b) {
    const fv_value in[2] = {b->node->out[0], b->dout[0]};
    b->din[0] = fv_emit_node(b->graph, &fv_op_log_softmax_grad, in, 2, 1, NULL);
    return FV_OK;
}

const fv_op fv_op_log_softmax = {"log_softmax", 1, 1, 1, FV_OP_IN_PLACE, softmax_infer, log_softmax_plan, log_softmax_backward};

static void run_log_softmax_grad(void *arg, size_t piece, void *scratch) {
    (void)scratch;
    const softmax *s = arg;
    s->kernels->softmax.log_softmax_grad(s->a->data, s->b->data, s->out->data, s->classes, rows_of(s, piece));
}

static fv_status log_softmax_grad_plan(fv_plan_op *p) { return make(p, run_log_softmax_grad); }

const fv_op fv_op_log_softmax_grad = {"log_softmax_grad", 2, 2, 1, FV_OP_IN_PLACE_SECOND, softmax_infer, log_softmax_grad_plan, NULL};
