/* nd_nll: x (N,C,...) logarithms of probabilities, target (N,...) int32 or int64, [weight (C)] -> loss: -weight[t]
 * x[n,t,...], nothing where the target is the ignored one or no class. attr.nd: mode: fv_nd_reduced_loss, flag: a
 * target is ignored, a[0]: it. The mean is over the weights. nd_nll_grad: dy, x, target, [weight] -> dx. */
#include "ops/nd_loss.h"

#include <string.h>

typedef struct nll {
    const fv_buffer *x, *target, *weight, *dy, *y;
    fv_dtype type; /* of the targets */
    size_t rows, classes, inner;
    int32_t mode;
    bool ignores;
    int64_t ignored;
} nll;

static fv_status check(const fv_node *n, const fv_value_info *values, int32_t first) {
    const fv_value_info *x = &values[n->in[first]], *target = &values[n->in[first + 1]];
    const fv_value weight = n->in_count > first + 2 ? n->in[first + 2] : FV_NONE;
    bool fits = x->shape.rank >= 2 && target->shape.rank == x->shape.rank - 1;
    for (int32_t i = 0; fits && i < target->shape.rank; i++) fits = target->shape.dim[i] == x->shape.dim[i ? i + 1 : 0];
    FV_RETURN_IF(!fits, FV_ERR_SHAPE, "node \"%s\": targets %s do not fit %s", n->name,
                 fv_shape_print(&target->shape).text, fv_shape_print(&x->shape).text);
    FV_RETURN_IF(target->dtype != FV_I32 && target->dtype != FV_I64, FV_ERR_SHAPE, "node \"%s\": its targets are %s",
                 n->name, fv_dtype_name(target->dtype));
    FV_RETURN_IF(x->dtype != FV_REAL_DTYPE, FV_ERR_UNSUPPORTED, "node \"%s\": a loss of %s", n->name,
                 fv_dtype_name(x->dtype));
    FV_RETURN_IF(weight != FV_NONE &&
                     (values[weight].shape.rank != 1 || values[weight].shape.dim[0] != x->shape.dim[1] ||
                      values[weight].dtype != x->dtype),
                 FV_ERR_SHAPE, "node \"%s\": its weights %s are not one a class", n->name,
                 fv_shape_print(&values[weight].shape).text);
    return FV_OK;
}

static fv_status nll_infer(fv_node *n, fv_value_info *values) {
    const fv_shape single = {0};
    FV_FORWARD(check(n, values, 0));
    fv_nd_infer(&values[n->out[0]], FV_REAL_DTYPE,
                n->attr.nd.mode == FV_ND_LOSS_NONE ? &values[n->in[1]].shape : &single);
    return FV_OK;
}

/* The class of a row, or SIZE_MAX. */
static size_t class_of(const nll *s, size_t row) {
    const int64_t t =
        s->type == FV_I32 ? ((const int32_t *)s->target->data)[row] : ((const int64_t *)s->target->data)[row];
    return (s->ignores && t == s->ignored) || t < 0 || (uint64_t)t >= s->classes ? SIZE_MAX : (size_t)t;
}
static double weight_of(const nll *s, size_t class) {
    return s->weight ? ((const fv_real *)s->weight->data)[class] : 1;
}
static size_t place_of(const nll *s, size_t row, size_t class) {
    return (row / s->inner * s->classes + class) * s->inner + row % s->inner;
}

static double total_weight(const nll *s) {
    double total = 0;
    for (size_t row = 0; row < s->rows; row++) {
        const size_t class = class_of(s, row);
        if (class != SIZE_MAX) total += weight_of(s, class);
    }
    return total;
}

static void run_each(void *arg, size_t piece, void *scratch) {
    (void)scratch;
    const nll *s = arg;
    const fv_range r = fv_run_of(piece, s->rows);
    for (size_t row = r.begin; row < r.end; row++) {
        const size_t class = class_of(s, row);
        ((fv_real *)s->y->data)[row] =
            class == SIZE_MAX
                ? 0
                : (fv_real)(-weight_of(s, class) * ((const fv_real *)s->x->data)[place_of(s, row, class)]);
    }
}

static void run_reduced(void *arg, size_t piece, void *scratch) {
    (void)scratch, (void)piece;
    const nll *s = arg;
    double sum = 0;
    for (size_t row = 0; row < s->rows; row++) {
        const size_t class = class_of(s, row);
        if (class != SIZE_MAX) sum -= weight_of(s, class) * ((const fv_real *)s->x->data)[place_of(s, row, class)];
    }
    *(fv_real *)s->y->data = (fv_real)(s->mode == FV_ND_LOSS_MEAN ? sum / total_weight(s) : sum);
}

static fv_status make(fv_plan_op *p, int32_t first, nll **out) {
    const fv_node *n = p->node;
    const fv_value x = n->in[first], target = n->in[first + 1];
    nll *s;
    FV_FORWARD(fv_plan_state(p, sizeof *s, (void **)&s));
    *s = (nll){.x = fv_plan_buffer(p, x),
               .target = fv_plan_buffer(p, target),
               .weight = n->in_count > first + 2 ? fv_plan_buffer(p, n->in[first + 2]) : NULL,
               .y = fv_plan_buffer(p, n->out[0]),
               .type = p->values[target].dtype,
               .rows = fv_shape_count(&p->values[target].shape),
               .classes = (size_t)p->values[x].shape.dim[1],
               .inner = 1,
               .mode = n->attr.nd.mode,
               .ignores = n->attr.nd.flag,
               .ignored = n->attr.nd.a[0]};
    for (int32_t i = 2; i < p->values[x].shape.rank; i++) s->inner *= (size_t)p->values[x].shape.dim[i];
    p->algorithm = "loops";
    p->flops = 2 * (double)s->rows;
    *out = s;
    return FV_OK;
}

static fv_status nll_plan(fv_plan_op *p) {
    nll *s;
    FV_FORWARD(make(p, 0, &s));
    const bool each = s->mode == FV_ND_LOSS_NONE;
    return fv_plan_phase(p, false, each ? run_each : run_reduced, s, each ? fv_run_pieces(s->rows) : 1);
}

static fv_status nll_backward(fv_backward *b) {
    const fv_node *n = b->node;
    const fv_value in[4] = {b->dout[0], n->in[0], n->in[1], n->in_count > 2 ? n->in[2] : FV_NONE};
    if (n->in_count > 2 && b->wanted[2])
        return fv_fail(FV_ERR_UNSUPPORTED, "node \"%s\": the weights of classes have no gradient", n->name);
    b->din[0] = fv_emit_node(b->graph, &fv_op_nd_nll_grad, in, 4, 1, &n->attr);
    return FV_OK;
}

const fv_op fv_op_nd_nll = {"nd_nll", 2, 3, 1, FV_OP_PLAIN, nll_infer, nll_plan, nll_backward};

static fv_status nll_grad_infer(fv_node *n, fv_value_info *values) {
    FV_FORWARD(check(n, values, 1));
    fv_nd_infer(&values[n->out[0]], FV_REAL_DTYPE, &values[n->in[1]].shape);
    return FV_OK;
}

static void run_nll_grad(void *arg, size_t piece, void *scratch) {
    (void)scratch, (void)piece;
    const nll *s = arg;
    const fv_real *dy = s->dy->data;
    const double scale = s->mode == FV_ND_LOSS_MEAN ? 1 / total_weight(s) : 1;
    memset(s->y->data, 0, s->rows * s->classes * sizeof(fv_real));
    for (size_t row = 0; row < s->rows; row++) {
        const size_t class = class_of(s, row);
        if (class == SIZE_MAX) continue;
        ((fv_real *)s->y->data)[place_of(s, row, class)] =
            (fv_real)(-weight_of(s, class) * scale * dy[s->mode == FV_ND_LOSS_NONE ? row : 0]);
    }
}

static fv_status nll_grad_plan(fv_plan_op *p) {
    nll *s;
    FV_FORWARD(make(p, 1, &s));
    s->dy = fv_plan_buffer(p, p->node->in[0]);
    return fv_plan_phase(p, false, run_nll_grad, s, s->rows * s->classes > 0);
}

const fv_op fv_op_nd_nll_grad = {"nd_nll_grad", 3, 4, 1, FV_OP_PLAIN, nll_grad_infer, nll_grad_plan, NULL};
