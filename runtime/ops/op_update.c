/* grad_norm: gradients... -> norm (1). update: w, dw, [m], [v], [norm] -> nothing, in place. SPEC section 10. */
#include "ops/pieces.h"

#include <math.h>

/* ---- global 2-norm: squares summed a run at a time, the runs' sums in order ---- */

typedef struct norm {
    const fv_kernels *kernels;
    const fv_buffer **grads;
    size_t *counts, *first; /* [n] elements; [n + 1] pieces before each gradient */
    size_t n;
    const fv_buffer *parts, *out;
} norm;

static fv_status grad_norm_infer(fv_node *n, fv_value_info *values) {
    const fv_shape one = {1, {1}};
    fv_infer_shape(&values[n->out[0]], FV_REAL_DTYPE, &one);
    return FV_OK;
}

static void run_squares(void *arg, size_t piece, void *scratch) {
    (void)scratch;
    const norm *s = arg;
    size_t i = 0;
    while (piece >= s->first[i + 1]) i++;
    const fv_range r = fv_run_of(piece - s->first[i], s->counts[i]);
    ((fv_real *)s->parts->data)[piece] =
        s->kernels->reduce.sum_squares((const fv_real *)s->grads[i]->data + r.begin, r.end - r.begin);
}

static void run_norm(void *arg, size_t piece, void *scratch) {
    (void)piece, (void)scratch;
    const norm *s = arg;
    const fv_real *parts = s->parts->data;
    double sum = 0;
    for (size_t i = 0; i < s->first[s->n]; i++) sum += (double)parts[i];
    *(fv_real *)s->out->data = (fv_real)sqrt(sum);
}

static fv_status grad_norm_plan(fv_plan_op *p) {
    const fv_node *n = p->node;
    norm *s;
    fv_buffer *parts;
    FV_FORWARD(fv_plan_state(p, sizeof *s, (void **)&s));
    s->n = (size_t)n->in_count;
    FV_FORWARD(fv_plan_state(p, s->n * sizeof *s->grads, (void **)&s->grads));
    FV_FORWARD(fv_plan_state(p, s->n * sizeof *s->counts, (void **)&s->counts));
    FV_FORWARD(fv_plan_state(p, (s->n + 1) * sizeof *s->first, (void **)&s->first));
    for (size_t i = 0; i < s->n; i++) {
        s->grads[i] = fv_plan_buffer(p, n->in[i]);
        s->counts[i] = fv_shape_count(&p->values[n->in[i]].shape);
        s->first[i + 1] = s->first[i] + fv_run_pieces(s->counts[i]);
    }
    FV_FORWARD(fv_plan_workspace(p, s->first[s->n] * sizeof(fv_real), &parts));
    s->kernels = p->kernels;
    s->parts = parts;
    s->out = fv_plan_buffer(p, n->out[0]);
    p->algorithm = "ordered sum";
    FV_FORWARD(fv_plan_phase(p, false, run_squares, s, s->first[s->n]));
    return fv_plan_phase(p, false, run_norm, s, 1);
}

const fv_op fv_op_grad_norm = {"grad_norm", 1, INT32_MAX, 1, FV_OP_ANY_LAYOUT, grad_norm_infer, grad_norm_plan, NULL};

/* ---- update ---- */

typedef struct update {
    fv_update_fn kernel;
    const fv_run_info *run;
    const fv_buffer *w, *dw, *m, *v, *norm;
    size_t count;
    bool decay;
} update;

static fv_status update_infer(fv_node *n, fv_value_info *values) {
    (void)n, (void)values;
    return FV_OK;
}

static void run_update(void *arg, size_t piece, void *scratch) {
    (void)scratch;
    const update *s = arg;
    const fv_run_info *run = s->run;
    const fv_range r = fv_run_of(piece, s->count);
    fv_update u = {.lr = run->lr,
                   .weight_decay = s->decay ? run->weight_decay : 0,
                   .momentum = run->momentum,
                   .beta2 = run->beta2,
                   .epsilon = run->epsilon,
                   .grad_scale = 1,
                   .correction1 = run->correction1,
                   .correction2 = run->correction2};
    if (s->norm) {
        const fv_real norm = *(const fv_real *)s->norm->data;
        if (norm > run->clip) u.grad_scale = run->clip / norm;
    }
    s->kernel(&u, (const fv_real *)s->dw->data + r.begin, (fv_real *)s->w->data + r.begin,
              s->m ? (fv_real *)s->m->data + r.begin : NULL, s->v ? (fv_real *)s->v->data + r.begin : NULL,
              r.end - r.begin);
}

static fv_update_fn kernel_of(const fv_optimizer_kernels *k, fv_optimizer optimizer) {
    const fv_update_fn table[] = {k->sgd, k->momentum, k->nesterov, k->adam, k->adamw};
    return table[optimizer];
}

static fv_status update_plan(fv_plan_op *p) {
    const fv_node *n = p->node;
    update *s;
    FV_FORWARD(fv_plan_state(p, sizeof *s, (void **)&s));
    const fv_buffer *optional[5] = {NULL};
    for (int32_t i = 2; i < n->in_count; i++) optional[i] = fv_plan_buffer(p, n->in[i]);
    *s = (update){kernel_of(&p->kernels->optimizer, n->attr.update.optimizer),
                  p->run,
                  fv_plan_buffer(p, n->in[0]),
                  fv_plan_buffer(p, n->in[1]),
                  optional[2],
                  optional[3],
                  optional[4],
                  fv_shape_count(&p->values[n->in[0]].shape),
                  n->attr.update.decay};
    p->algorithm = "in place";
    p->flops = 4.0 * (double)s->count;
    return fv_plan_phase(p, false, run_update, s, fv_run_pieces(s->count));
}

const fv_op fv_op_update = {"update", 2, 5, 0, FV_OP_EFFECT | FV_OP_ANY_LAYOUT, update_infer, update_plan, NULL};
