/* nd_softmax: softmax, its logarithm, or the one-hot of the largest, over neighbouring axes of a general tensor.
 * nd_softmax_grad: y, dy -> dx. A tensor is outer x classes x inner; where inner is 1 the rows are dense and the
 * softmax kernels do them. */
#include "kernels/half.h"
#include "kernels/math64.h"
#include "ops/nd_matrix.h"
#include "ops/nd_pointwise.h"

#include <string.h>

typedef struct softmax {
    const fv_kernels *kernels;
    const fv_buffer *x, *dy, *y;
    size_t outer, classes, inner, rows, chunk; /* rows = outer * inner; chunk: of them in a piece */
    int32_t kind;
    fv_dtype dtype;
} softmax;

static fv_status softmax_infer(fv_node *n, fv_value_info *values) {
    const fv_value_info x = values[n->in[0]];
    const int32_t axis = n->attr.nd.mode;
    FV_RETURN_IF(!fv_nd_is_floating(x.dtype), FV_ERR_UNSUPPORTED, "node \"%s\": softmax of %s", n->name,
                 fv_dtype_name(x.dtype));
    FV_RETURN_IF(axis < 0 || n->attr.nd.count < 0 || axis + n->attr.nd.count > x.shape.rank, FV_ERR_SHAPE,
                 "node \"%s\": axis %d of %s", n->name, axis, fv_shape_print(&x.shape).text);
    fv_nd_infer(&values[n->out[0]], x.dtype, &x.shape);
    return FV_OK;
}

/* One row in double, elements `step` apart. */
static void one_row(const softmax *s, size_t at, size_t step) {
    const void *x = s->x->data;
    size_t largest = 0;
    double most = -INFINITY, sum = 0;
    for (size_t c = 0; c < s->classes; c++) {
        const double v = fv_nd_floating(s->dtype, x, (ptrdiff_t)(at + c * step));
        if (v > most || v != v) most = v, largest = c;
        if (v != v) break;
    }
    if (s->kind == FV_ND_HARDMAX) {
        for (size_t c = 0; c < s->classes; c++)
            fv_nd_set_floating(s->dtype, s->y->data, (ptrdiff_t)(at + c * step), c == largest);
        return;
    }
    for (size_t c = 0; c < s->classes; c++)
        sum += fv_exp64(fv_nd_floating(s->dtype, x, (ptrdiff_t)(at + c * step)) - most);
    const double log_sum = s->kind == FV_ND_LOG_SOFTMAX ? fv_log64(sum) : 0;
    for (size_t c = 0; c < s->classes; c++) {
        const double v = fv_nd_floating(s->dtype, x, (ptrdiff_t)(at + c * step)) - most;
        fv_nd_set_floating(s->dtype, s->y->data, (ptrdiff_t)(at + c * step),
                           s->kind == FV_ND_LOG_SOFTMAX ? v - log_sum : fv_exp64(v) / sum);
    }
}

static fv_range rows_of(const softmax *s, size_t piece) {
    return (fv_range){piece * s->chunk, fv_min_size((piece + 1) * s->chunk, s->rows)};
}

static void run_softmax(void *arg, size_t piece, void *scratch) {
    (void)scratch;
    const softmax *s = arg;
    const fv_range r = rows_of(s, piece);
    if (s->dtype == FV_REAL_DTYPE && s->inner == 1 && s->kind == FV_ND_SOFTMAX) {
        s->kernels->softmax.softmax(s->x->data, s->y->data, s->classes, r);
        return;
    }
    if (s->dtype == FV_REAL_DTYPE && s->inner == 1 && s->kind == FV_ND_LOG_SOFTMAX) {
        s->kernels->softmax.log_softmax(s->x->data, s->y->data, s->classes, r);
        return;
    }
    for (size_t i = r.begin; i < r.end; i++) one_row(s, i / s->inner * s->classes * s->inner + i % s->inner, s->inner);
}

static fv_status make(fv_plan_op *p, fv_value x, fv_value dy, fv_piece_fn run) {
    const fv_nd_attr *attr = &p->node->attr.nd;
    const fv_shape *shape = &p->values[x].shape;
    softmax *s;
    FV_FORWARD(fv_plan_state(p, sizeof *s, (void **)&s));
    *s = (softmax){.kernels = p->kernels,
                   .x = fv_plan_buffer(p, x),
                   .dy = fv_plan_buffer(p, dy),
                   .y = fv_plan_buffer(p, p->node->out[0]),
                   .outer = 1,
                   .classes = 1,
                   .inner = 1,
                   .kind = attr->kind,
                   .dtype = p->values[x].dtype};
    for (int32_t i = 0; i < shape->rank; i++)
        *(i < attr->mode ? &s->outer : i < attr->mode + attr->count ? &s->classes : &s->inner) *= (size_t)shape->dim[i];
    s->rows = s->classes ? s->outer * s->inner : 0;
    s->chunk = fv_rows_per_piece(s->classes);
    p->algorithm = s->inner == 1 ? "rows" : "strided";
    p->flops = 4 * (double)fv_shape_count(shape);
    return fv_plan_phase(p, false, run, s, fv_div_up(s->rows, s->chunk));
}

static fv_status softmax_plan(fv_plan_op *p) { return make(p, p->node->in[0], FV_NONE, run_softmax); }

static fv_status softmax_backward(fv_backward *b) {
    const fv_value in[2] = {b->node->out[0], b->dout[0]};
    if (b->node->attr.nd.kind == FV_ND_HARDMAX) return FV_OK; /* constant between its jumps */
    b->din[0] = fv_emit_node(b->graph, &fv_op_nd_softmax_grad, in, 2, 1, &b->node->attr);
    return FV_OK;
}

const fv_op fv_op_nd_softmax = {"nd_softmax", 1, 1, 1, FV_OP_PLAIN, softmax_infer, softmax_plan, softmax_backward};

/* softmax: y (dy - sum dy y); log-softmax: dy - e^y sum dy. */
static void run_softmax_grad(void *arg, size_t piece, void *scratch) {
    (void)scratch;
    const softmax *s = arg;
    const fv_range r = rows_of(s, piece);
    const fv_real *y = s->x->data, *dy = s->dy->data;
    fv_real *dx = s->y->data;
    const bool logarithm = s->kind == FV_ND_LOG_SOFTMAX;
    if (s->inner == 1) {
        (logarithm ? s->kernels->softmax.log_softmax_grad : s->kernels->softmax.softmax_grad)(y, dy, dx, s->classes, r);
        return;
    }
    for (size_t i = r.begin; i < r.end; i++) {
        const size_t at = i / s->inner * s->classes * s->inner + i % s->inner;
        double sum = 0;
        for (size_t c = 0; c < s->classes; c++)
            sum += (double)dy[at + c * s->inner] * (logarithm ? 1 : (double)y[at + c * s->inner]);
        for (size_t c = 0; c < s->classes; c++) {
            const size_t k = at + c * s->inner;
            dx[k] = (fv_real)(logarithm ? dy[k] - fv_exp64(y[k]) * sum : y[k] * (dy[k] - sum));
        }
    }
}

static fv_status softmax_grad_plan(fv_plan_op *p) { return make(p, p->node->in[0], p->node->in[1], run_softmax_grad); }

const fv_op fv_op_nd_softmax_grad = {"nd_softmax_grad", 2, 2, 1, FV_OP_PLAIN, softmax_infer, softmax_grad_plan, NULL};
