/* pool_grad: dy, x (Lp alone reads it), [index, or Lp: y] -> dx. SPEC section 5. */
#include "ops/pool_plan.h"

static fv_status pool_grad_infer(fv_node *n, fv_value_info *values) {
    fv_infer_like(&values[n->out[0]], &values[n->in[1]]);
    return FV_OK;
}

static void run_pool_grad(void *arg, size_t piece, void *scratch) {
    (void)scratch;
    const fv_pool_plan *s = arg;
    const fv_range pixels = {piece * s->chunk, fv_min_size((piece + 1) * s->chunk, s->pixels)};
    const fv_pool_kernels *k = &s->kernels->pool;
    if (s->kind == FV_POOL_MAX)
        k->max_grad(&s->desc, s->index->data, s->in->data, s->out->data, pixels);
    else if (s->kind == FV_POOL_AVERAGE)
        k->average_grad(&s->desc, s->in->data, s->out->data, pixels);
    else if (s->kind == FV_POOL_LP)
        k->lp_grad(&s->desc, s->p, s->x->data, s->y->data, s->in->data, s->out->data, pixels);
    else
        k->weighted_grad(&s->desc, s->weight, s->in->data, s->out->data, pixels);
}

/* Rows of the input: zero, but for every t-th pixel of every r-th row. */
static void run_stride_grad(void *arg, size_t piece, void *scratch) {
    (void)scratch;
    const fv_pool_plan *s = arg;
    const fv_pool_desc *d = &s->desc;
    const fv_rows_kernels *k = &s->kernels->rows;
    const size_t end = fv_min_size((piece + 1) * s->chunk, s->pixels), width = (size_t)d->channels;
    for (size_t row = piece * s->chunk; row < end; row++) {
        const ptrdiff_t image = (ptrdiff_t)(row / (size_t)d->in[1]), y = (ptrdiff_t)(row % (size_t)d->in[1]);
        fv_real *dx = (fv_real *)s->out->data + (ptrdiff_t)row * d->in_pitch[2];
        const fv_real *dy = (const fv_real *)s->in->data + image * d->out_pitch[0] + y / d->stride[1] * d->out_pitch[2];
        k->copy(NULL, 0, dx, d->in_pitch[2], (size_t)d->in_pitch[2], 1);
        if (y % d->stride[1] == 0)
            k->copy(dy, d->out_pitch[3], dx, d->stride[2] * d->in_pitch[3], width, (size_t)d->out[2]);
    }
}

static void run_back_y(void *arg, size_t piece, void *scratch) {
    (void)scratch;
    const fv_pool_plan *s = arg;
    fv_pool_run_pass(s, &s->along_y, s->weight_y, true, s->in->data, s->between->data, piece);
}

static void run_back_x(void *arg, size_t piece, void *scratch) {
    (void)scratch;
    const fv_pool_plan *s = arg;
    fv_pool_run_pass(s, &s->along_x, s->weight_x, true, s->between->data, s->out->data, piece);
}

static fv_status pool_grad_plan(fv_plan_op *p) {
    const fv_node *n = p->node;
    const fv_shape *x = &p->values[n->in[1]].shape;
    fv_pool_plan *s;
    FV_FORWARD(fv_pool_plan_make(p, x, &p->values[n->in[0]].shape, &s));
    const fv_buffer *third = n->in_count > 2 ? fv_plan_buffer(p, n->in[2]) : NULL;
    s->in = fv_plan_buffer(p, n->in[0]);
    s->out = fv_plan_buffer(p, n->out[0]);
    s->x = fv_plan_buffer(p, n->in[1]);
    s->index = s->y = third;
    if (s->separable) {
        FV_FORWARD(fv_plan_phase(p, false, run_back_y, s, fv_pool_pass_pieces(&s->along_y, true)));
        return fv_plan_phase(p, false, run_back_x, s, fv_pool_pass_pieces(&s->along_x, true));
    }
    const bool stride = s->kind == FV_POOL_STRIDE;
    const size_t channels = (size_t)x->dim[1], count = fv_shape_count(x),
                 row = channels * (stride ? (size_t)x->dim[3] : 1);
    s->pixels = row ? count / row : 0;
    s->chunk = fv_rows_per_piece(row);
    return fv_plan_phase(p, false, stride ? run_stride_grad : run_pool_grad, s, fv_div_up(s->pixels, s->chunk));
}

const fv_op fv_op_pool_grad = {"pool_grad", 2, 3, 1, 0, pool_grad_infer, pool_grad_plan, NULL};
