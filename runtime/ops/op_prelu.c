/* prelu: x, slope (C) or (1) -> y = x > 0 ? x : slope[c] * x, C on axis 1. prelu_grad: dy, x, slope -> dx, dslope. SPEC
 * section 3. */
#include "ops/pieces.h"

typedef struct prelu {
    const fv_kernels *kernels;
    const fv_buffer *x, *slope, *y; /* forward */
    const fv_buffer *dy, *dx, *dslope,
        *parts;                           /* gradient: parts [chunks][channels], then their sums where one slope serves all */
    const fv_buffer *single;              /* the one slope, spread over `slope`; NULL: one a map */
    size_t rows, channels, chunk, chunks; /* rows of `channels` values */
} prelu;

static fv_status prelu_infer(fv_node *n, fv_value_info *values) {
    const fv_shape *x = &values[n->in[0]].shape, *slope = &values[n->in[1]].shape;
    FV_RETURN_IF((x->rank != 2 && x->rank != 4) || slope->rank != 1 || (slope->dim[0] != x->dim[1] && slope->dim[0] != 1),
                 FV_ERR_SHAPE, "node \"%s\": slopes %s do not fit the maps of %s", n->name, fv_shape_print(slope).text,
                 fv_shape_print(x).text);
    fv_infer_like(&values[n->out[0]], &values[n->in[0]]);
    return FV_OK;
}

static void run_spread(void *arg, size_t piece, void *scratch) {
    (void)piece, (void)scratch;
    const prelu *s = arg;
    fv_real *slope = s->slope->data;
    for (size_t c = 0; c < s->channels; c++) slope[c] = *(const fv_real *)s->single->data;
}

static fv_status make(fv_plan_op *p, fv_value x, fv_value slope, prelu **out) {
    prelu *s;
    FV_FORWARD(fv_plan_state(p, sizeof *s, (void **)&s));
    const fv_shape *shape = &p->values[x].shape;
    *s = (prelu){.kernels = p->kernels, .x = fv_plan_buffer(p, x), .slope = fv_plan_buffer(p, slope)};
    s->channels = (size_t)shape->dim[1];
    s->rows = s->channels ? fv_shape_count(shape) / s->channels : 0;
    s->chunk = fv_rows_per_piece(s->channels);
    s->chunks = fv_div_up(s->rows, s->chunk);
    p->algorithm = "pointwise";
    p->flops = (double)fv_shape_count(shape);
    *out = s;
    if (p->values[slope].shape.dim[0] == (int64_t)s->channels) return FV_OK;
    fv_buffer *spread;
    FV_FORWARD(fv_plan_workspace(p, s->channels * sizeof(fv_real), &spread));
    s->single = s->slope;
    s->slope = spread;
    return fv_plan_phase(p, false, run_spread, s, 1);
}

static fv_range rows_of(const prelu *s, size_t piece) {
    return (fv_range){piece * s->chunk, fv_min_size((piece + 1) * s->chunk, s->rows)};
}

static void run_prelu(void *arg, size_t piece, void *scratch) {
    (void)scratch;
    const prelu *s = arg;
    const fv_range r = rows_of(s, piece);
    const size_t at = r.begin * s->channels;
    s->kernels->pointwise.prelu((const fv_real *)s->x->data + at, (ptrdiff_t)s->channels, s->slope->data,
                                (fv_real *)s->y->data + at, (ptrdiff_t)s->channels, s->channels, r.end - r.begin);
}

static fv_status prelu_plan(fv_plan_op *p) {
    prelu *s;
    FV_FORWARD(make(p, p->node->in[0], p->node->in[1], &s));
    s->y = fv_plan_buffer(p, p->node->out[0]);
    return fv_plan_phase(p, false, run_prelu, s, s->chunks);
}

static fv_status prelu_backward(fv_backward *b) {
    const fv_value in[3] = {b->dout[0], b->node->in[0], b->node->in[1]};
    const fv_value dx = fv_emit_node(b->graph, &fv_op_prelu_grad, in, 3, 2, &b->node->attr);
    b->din[0] = dx;
    b->din[1] = dx == FV_NONE ? FV_NONE : dx + 1;
    return FV_OK;
}

const fv_op fv_op_prelu = {"prelu", 2, 2, 1, FV_OP_IN_PLACE, prelu_infer, prelu_plan, prelu_backward};

static fv_status prelu_grad_infer(fv_node *n, fv_value_info *values) {
    fv_infer_like(&values[n->out[0]], &values[n->in[1]]);
    fv_infer_like(&values[n->out[1]], &values[n->in[2]]);
    return FV_OK;
}

static void run_prelu_grad(void *arg, size_t piece, void *scratch) {
    (void)scratch;
    const prelu *s = arg;
    const fv_range r = rows_of(s, piece);
    const size_t at = r.begin * s->channels;
    s->kernels->pointwise.prelu_grad((const fv_real *)s->x->data + at, s->slope->data, (const fv_real *)s->dy->data + at,
                                     (fv_real *)s->dx->data + at, (fv_real *)s->parts->data + piece * s->channels,
                                     (ptrdiff_t)s->channels, s->channels, r.end - r.begin);
}

static void run_sum(void *arg, size_t piece, void *scratch) {
    (void)piece, (void)scratch;
    const prelu *s = arg;
    fv_real *sums = s->single ? s->parts->data : s->dslope->data;
    s->kernels->reduce.add_parts(s->parts->data, s->channels, s->chunks, sums, s->channels);
    if (s->single) *(fv_real *)s->dslope->data = s->kernels->reduce.sum(sums, s->channels);
}

static fv_status prelu_grad_plan(fv_plan_op *p) {
    const fv_node *n = p->node;
    prelu *s;
    fv_buffer *parts;
    FV_FORWARD(make(p, n->in[1], n->in[2], &s));
    s->dy = fv_plan_buffer(p, n->in[0]);
    s->dx = fv_plan_buffer(p, n->out[0]);
    s->dslope = fv_plan_buffer(p, n->out[1]);
    FV_FORWARD(fv_plan_workspace(p, s->chunks * s->channels * sizeof(fv_real), &parts));
    s->parts = parts;
    FV_FORWARD(fv_plan_phase(p, false, run_prelu_grad, s, s->chunks));
    return fv_plan_phase(p, false, run_sum, s, 1);
}

const fv_op fv_op_prelu_grad = {"prelu_grad", 3, 3, 2, FV_OP_IN_PLACE, prelu_grad_infer, prelu_grad_plan, NULL};
