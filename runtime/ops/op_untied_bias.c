/* untied_bias: x (N,C,H,W) or (N,F), bias (C,H,W) or (F) -> y = x + bias in every image. untied_bias_grad: dy, bias (shape and layout)
 * -> dbias, the sum over the images in their order. SPEC section 1. Behind a convolution it is the residual of the product, with an
 * image pitch of 0 (graph/passes.c). */
#include "ops/untied_bias.h"

#include "ops/pieces.h"

/* ---- (C, positions) <-> (positions, C) ---- */

typedef struct turn {
    const fv_buffer *from, *to;
    size_t channels, positions;
    bool to_plain;
} turn;

enum { turn_rows = 64 }; /* positions of a piece */

static void run_turn(void *arg, size_t piece, void *scratch) {
    (void)scratch;
    const turn *t = arg;
    const fv_real *from = t->from->data;
    fv_real *to = t->to->data;
    const size_t end = fv_min_size((piece + 1) * turn_rows, t->positions);
    for (size_t p = piece * turn_rows; p < end; p++)
        for (size_t c = 0; c < t->channels; c++) {
            const size_t plain = c * t->positions + p, dense = p * t->channels + c;
            if (t->to_plain)
                to[plain] = from[dense];
            else
                to[dense] = from[plain];
        }
}

static fv_status plan_turn(fv_plan_op *p, const fv_shape *bias, const fv_buffer *from, const fv_buffer *to, bool to_plain, bool prepare) {
    turn *t;
    FV_FORWARD(fv_plan_state(p, sizeof *t, (void **)&t));
    *t = (turn){from, to, (size_t)bias->dim[0], (size_t)fv_untied_positions(bias), to_plain};
    return fv_plan_phase(p, prepare, run_turn, t, fv_div_up(t->positions, turn_rows));
}

static bool is_dense(const fv_value_info *bias) {
    return bias->layout == FV_TAPS_LAST_OUT || bias->shape.dim[0] == 1 || fv_untied_positions(&bias->shape) == 1;
}

fv_status fv_untied_bias_dense(fv_plan_op *p, fv_value bias, const fv_buffer **out) {
    static const char key[] = "untied";
    const fv_value_info *info = &p->values[bias];
    *out = fv_plan_buffer(p, bias);
    if (is_dense(info)) return FV_OK;
    const size_t bytes = fv_shape_count(&info->shape) * sizeof(fv_real);
    bool fresh, in_run;
    fv_buffer *dense;
    FV_FORWARD(fv_plan_packed(p, bias, key, sizeof key, bytes, &dense, &fresh, &in_run));
    if (fresh) FV_FORWARD(plan_turn(p, &info->shape, *out, dense, false, !in_run));
    *out = dense;
    return FV_OK;
}

/* ---- forward ---- */

typedef struct untied {
    const fv_kernels *kernels;
    const fv_buffer *x, *bias, *y; /* of the gradient: dy, nothing, dbias channels-last */
    size_t images, count, runs;    /* values and runs of an image */
} untied;

static fv_status make(fv_plan_op *p, fv_value x, untied **out) {
    untied *s;
    FV_FORWARD(fv_plan_state(p, sizeof *s, (void **)&s));
    const fv_shape *shape = &p->values[x].shape;
    s->kernels = p->kernels;
    s->x = fv_plan_buffer(p, x);
    s->images = (size_t)shape->dim[0];
    s->count = s->images ? fv_shape_count(shape) / s->images : 0;
    s->runs = fv_run_pieces(s->count);
    p->flops = (double)fv_shape_count(shape);
    *out = s;
    return FV_OK;
}

static fv_status untied_infer(fv_node *n, fv_value_info *values) {
    const fv_shape *x = &values[n->in[0]].shape, *b = &values[n->in[1]].shape;
    bool fits = (x->rank == 2 || x->rank == 4) && b->rank == x->rank - 1;
    for (int32_t i = 0; fits && i < b->rank; i++) fits = b->dim[i] == x->dim[i + 1];
    FV_RETURN_IF(!fits, FV_ERR_SHAPE, "node \"%s\": an untied bias %s does not fit the maps of %s", n->name, fv_shape_print(b).text,
                 fv_shape_print(x).text);
    fv_infer_like(&values[n->out[0]], &values[n->in[0]]);
    return FV_OK;
}

static void run_untied(void *arg, size_t piece, void *scratch) {
    (void)scratch;
    const untied *s = arg;
    const fv_range r = fv_run_of(piece % s->runs, s->count);
    const size_t at = piece / s->runs * s->count + r.begin;
    s->kernels->pointwise.binary[FV_BINARY_ADD]((const fv_real *)s->x->data + at, (const fv_real *)s->bias->data + r.begin,
                                                (fv_real *)s->y->data + at, r.end - r.begin);
}

static fv_status untied_plan(fv_plan_op *p) {
    untied *s;
    FV_FORWARD(make(p, p->node->in[0], &s));
    FV_FORWARD(fv_untied_bias_dense(p, p->node->in[1], &s->bias));
    s->y = fv_plan_buffer(p, p->node->out[0]);
    p->algorithm = "pointwise";
    return fv_plan_phase(p, false, run_untied, s, s->images * s->runs);
}

static fv_status untied_backward(fv_backward *b) {
    b->din[0] = b->dout[0];
    if (!b->wanted[1]) return FV_OK;
    const fv_value in[2] = {b->dout[0], b->node->in[1]};
    b->din[1] = fv_emit_node(b->graph, &fv_op_untied_bias_grad, in, 2, 1, NULL);
    return FV_OK;
}

const fv_op fv_op_untied_bias = {"untied_bias", 2, 2, 1, FV_OP_IN_PLACE, untied_infer, untied_plan, untied_backward};

/* ---- gradient ---- */

static fv_status untied_grad_infer(fv_node *n, fv_value_info *values) {
    fv_infer_like(&values[n->out[0]], &values[n->in[1]]);
    return FV_OK;
}

static void run_untied_grad(void *arg, size_t piece, void *scratch) {
    (void)scratch;
    const untied *s = arg;
    const fv_range r = fv_run_of(piece, s->count);
    s->kernels->reduce.add_parts((const fv_real *)s->x->data + r.begin, s->count, s->images, (fv_real *)s->y->data + r.begin, r.end - r.begin);
}

static fv_status untied_grad_plan(fv_plan_op *p) {
    const fv_value_info *db = &p->values[p->node->out[0]];
    untied *s;
    fv_buffer *sum;
    FV_FORWARD(make(p, p->node->in[0], &s));
    s->y = fv_plan_buffer(p, p->node->out[0]);
    p->algorithm = "ordered sum";
    if (is_dense(db)) return fv_plan_phase(p, false, run_untied_grad, s, s->runs);
    FV_FORWARD(fv_plan_workspace(p, s->count * sizeof(fv_real), &sum));
    const fv_buffer *plain = s->y;
    s->y = sum;
    FV_FORWARD(fv_plan_phase(p, false, run_untied_grad, s, s->runs));
    return plan_turn(p, &db->shape, sum, plain, true, false);
}

const fv_op fv_op_untied_bias_grad = {"untied_bias_grad", 2, 2, 1, 0, untied_grad_infer, untied_grad_plan, NULL};
