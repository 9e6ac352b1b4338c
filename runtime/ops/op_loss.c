/* cross_entropy: x (N,F), labels int32 (N) or targets (N,F) -> loss (N), dx, correct int32 (N). squared_error: x, target -> loss (N), dx. SPEC section 8.
 * loss is one value a row; dx is the gradient of the reduced loss. */
#include "ops/pieces.h"

typedef struct loss {
    const fv_kernels *kernels;
    const fv_buffer *x, *target, *loss, *dx, *correct;
    size_t rows, classes, chunk;
    fv_real smoothing, scale;
    bool labels, probabilities; /* cross-entropy: of labels, not targets; x is probabilities, not logits */
} loss;

static void infer_rows(fv_node *n, fv_value_info *values, int64_t rows) {
    const fv_shape per_row = {1, {rows}};
    fv_infer_shape(&values[n->out[0]], FV_REAL_DTYPE, &per_row);
    fv_infer_like(&values[n->out[1]], &values[n->in[0]]);
    if (n->out_count > 2) fv_infer_shape(&values[n->out[2]], FV_I32, &per_row);
}

static fv_status cross_entropy_infer(fv_node *n, fv_value_info *values) {
    const fv_value_info *x = &values[n->in[0]], *t = &values[n->in[1]];
    FV_RETURN_IF(x->shape.rank != 2 || x->shape.dim[1] < 1, FV_ERR_SHAPE, "cross-entropy takes (N,classes), but the model's output is %s",
                 fv_shape_print(&x->shape).text);
    const bool labels = t->dtype == FV_I32 && t->shape.rank == 1 && t->shape.dim[0] == x->shape.dim[0];
    FV_RETURN_IF(!labels && !(t->dtype == FV_REAL_DTYPE && fv_shape_same(&t->shape, &x->shape)), FV_ERR_SHAPE,
                 "cross-entropy takes one int32 label a row, or targets like the output, got %s for %s", fv_shape_print(&t->shape).text, fv_shape_print(&x->shape).text);
    infer_rows(n, values, x->shape.dim[0]);
    return FV_OK;
}

static fv_status squared_error_infer(fv_node *n, fv_value_info *values) {
    const fv_shape *x = &values[n->in[0]].shape, *t = &values[n->in[1]].shape;
    FV_RETURN_IF(!fv_shape_same(x, t) || x->rank < 1, FV_ERR_SHAPE, "squared error takes a target like the output %s, got %s",
                 fv_shape_print(x).text, fv_shape_print(t).text);
    infer_rows(n, values, x->dim[0]);
    return FV_OK;
}

static fv_status make(fv_plan_op *p, fv_piece_fn run) {
    const fv_node *n = p->node;
    const fv_shape *x = &p->values[n->in[0]].shape;
    loss *s;
    FV_FORWARD(fv_plan_state(p, sizeof *s, (void **)&s));
    *s = (loss){.kernels = p->kernels, .x = fv_plan_buffer(p, n->in[0]), .target = fv_plan_buffer(p, n->in[1]),
                .loss = fv_plan_buffer(p, n->out[0]), .dx = fv_plan_buffer(p, n->out[1]),
                .correct = n->out_count > 2 ? fv_plan_buffer(p, n->out[2]) : NULL, .rows = (size_t)x->dim[0],
                .smoothing = n->attr.loss.smoothing, .labels = p->values[n->in[1]].dtype == FV_I32,
                .probabilities = n->attr.loss.probabilities};
    s->classes = s->rows ? fv_shape_count(x) / s->rows : 1;
    s->scale = n->attr.loss.reduction == FV_REDUCTION_MEAN && s->rows ? 1 / (fv_real)s->rows : 1;
    s->chunk = fv_rows_per_piece(8 * s->classes);
    p->algorithm = "rows";
    p->flops = 12.0 * (double)fv_shape_count(x);
    return fv_plan_phase(p, false, run, s, fv_div_up(s->rows, s->chunk));
}

static fv_range rows_of(const loss *s, size_t piece) {
    return (fv_range){piece * s->chunk, fv_min_size((piece + 1) * s->chunk, s->rows)};
}

static size_t largest(const fv_real *x, size_t n) {
    size_t best = 0;
    for (size_t c = 1; c < n; c++)
        if (x[c] > x[best]) best = c;
    return best;
}

static void count_correct(const loss *s, fv_range rows) {
    int32_t *correct = s->correct->data;
    for (size_t r = rows.begin; r < rows.end; r++) {
        const size_t best = largest((const fv_real *)s->x->data + r * s->classes, s->classes);
        const size_t wanted = s->labels ? (size_t)((const int32_t *)s->target->data)[r]
                                        : largest((const fv_real *)s->target->data + r * s->classes, s->classes);
        correct[r] = best == wanted;
    }
}

static void run_cross_entropy(void *arg, size_t piece, void *scratch) {
    (void)scratch;
    const loss *s = arg;
    const fv_softmax_kernels *k = &s->kernels->softmax;
    const fv_range rows = rows_of(s, piece);
    const void *target = s->target->data;
    fv_real *loss = s->loss->data, *dx = s->dx->data;
    if (s->correct) count_correct(s, rows); /* before dx, which may take x's place */
    if (s->probabilities)
        k->entropy(s->x->data, s->labels ? target : NULL, s->labels ? NULL : target, loss, dx, s->classes, s->smoothing, s->scale, rows);
    else if (s->labels)
        k->cross_entropy(s->x->data, target, loss, dx, s->classes, s->smoothing, s->scale, rows);
    else
        k->soft_cross_entropy(s->x->data, target, loss, dx, s->classes, s->smoothing, s->scale, rows);
}

static fv_status cross_entropy_plan(fv_plan_op *p) { return make(p, run_cross_entropy); }

const fv_op fv_op_cross_entropy = {"cross_entropy", 2, 2, 3, 0, cross_entropy_infer, cross_entropy_plan, NULL};

static void run_squared_error(void *arg, size_t piece, void *scratch) {
    (void)scratch;
    const loss *s = arg;
    s->kernels->softmax.squared_error(s->x->data, s->target->data, s->loss->data, s->dx->data, s->classes, s->scale, rows_of(s, piece));
}

static fv_status squared_error_plan(fv_plan_op *p) { return make(p, run_squared_error); }

const fv_op fv_op_squared_error = {"squared_error", 2, 2, 2, 0, squared_error_infer, squared_error_plan, NULL};
