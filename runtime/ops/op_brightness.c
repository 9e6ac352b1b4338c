/* brightness_norm: x (N,C,H,W) -> y = x / (kappa + lambda * sum of x^2 over all or neighbouring maps)^mu.
 * brightness_norm_grad: dy, x
 * -> dx. SPEC section 4. */
#include "ops/pieces.h"

#include <math.h>

typedef struct brightness {
    const fv_kernels *kernels;
    fv_brightness desc;
    bool all; /* one sum a pixel */
    const fv_buffer *dy, *x, *y;
    size_t pixels, chunk;
} brightness;

static fv_status brightness_infer(fv_node *n, fv_value_info *values) {
    const fv_shape *x = &values[n->in[0]].shape;
    const fv_brightness_attr *a = &n->attr.brightness;
    FV_RETURN_IF(x->rank != 4 || x->dim[1] < 1, FV_ERR_SHAPE,
                 "node \"%s\": brightness normalization takes maps (N,C,H,W), got %s", n->name, fv_shape_print(x).text);
    FV_RETURN_IF(a->maps < 0, FV_ERR_ARGUMENT, "node \"%s\": a window of %d maps", n->name, a->maps);
    FV_RETURN_IF(
        !(a->kappa > 0) || !(a->lambda >= 0) || !(a->mu >= 0) || isinf(a->kappa) || isinf(a->lambda) || isinf(a->mu),
        FV_ERR_ARGUMENT, "node \"%s\": kappa %g, lambda %g, mu %g; kappa is positive, the others are not negative",
        n->name, (double)a->kappa, (double)a->lambda, (double)a->mu);
    fv_infer_like(&values[n->out[0]], &values[n->in[0]]);
    return FV_OK;
}

static fv_range pixels_of(const brightness *s, size_t piece) {
    return (fv_range){piece * s->chunk, fv_min_size((piece + 1) * s->chunk, s->pixels)};
}

static void run_brightness(void *arg, size_t piece, void *scratch) {
    const brightness *s = arg;
    const fv_contrast_kernels *k = &s->kernels->contrast;
    const fv_range r = pixels_of(s, piece);
    if (!s->all) {
        k->local(&s->desc, s->x->data, s->y->data, r, scratch);
        return;
    }
    const size_t channels = (size_t)s->desc.channels, n = r.end - r.begin;
    const fv_real *x = (const fv_real *)s->x->data + r.begin * channels;
    fv_real *q = scratch, *a = q + s->chunk;
    k->sum[FV_MAP_SQUARES](x, NULL, q, channels, n, s->desc.lambda);
    k->power(&s->desc, q, a, n);
    k->scale(x, a, NULL, NULL, (fv_real *)s->y->data + r.begin * channels, channels, n);
}

static void run_brightness_grad(void *arg, size_t piece, void *scratch) {
    const brightness *s = arg;
    const fv_contrast_kernels *k = &s->kernels->contrast;
    const fv_range r = pixels_of(s, piece);
    if (!s->all) {
        k->local_grad(&s->desc, s->x->data, s->dy->data, s->y->data, r, scratch);
        return;
    }
    const size_t channels = (size_t)s->desc.channels, n = r.end - r.begin, at = r.begin * channels;
    const fv_real *x = (const fv_real *)s->x->data + at, *dy = (const fv_real *)s->dy->data + at;
    fv_real *q = scratch, *products = q + s->chunk, *a = products + s->chunk, *b = a + s->chunk;
    k->sum[FV_MAP_SQUARES](x, NULL, q, channels, n, s->desc.lambda);
    k->sum[FV_MAP_DOT](dy, x, products, channels, n, 1);
    k->power_grad(&s->desc, q, products, a, b, n);
    k->scale(dy, a, x, b, (fv_real *)s->y->data + at, channels, n);
}

static fv_status make(fv_plan_op *p, fv_value dy, fv_value x, fv_piece_fn run) {
    const fv_brightness_attr *a = &p->node->attr.brightness;
    const fv_shape *shape = &p->values[x].shape;
    const int32_t last = (int32_t)shape->dim[1] - 1, size = a->maps;
    brightness *s;
    FV_FORWARD(fv_plan_state(p, sizeof *s, (void **)&s));
    *s = (brightness){.kernels = p->kernels,
                      .dy = fv_plan_buffer(p, dy),
                      .x = fv_plan_buffer(p, x),
                      .y = fv_plan_buffer(p, p->node->out[0])};
    s->desc = (fv_brightness){a->kappa, a->lambda, a->mu, last + 1, last, last};
    if (size > 0) {
        s->desc.before = (size - 1) / 2 < last ? (size - 1) / 2 : last;
        s->desc.after = size / 2 < last ? size / 2 : last;
    }
    s->all = s->desc.before == last && s->desc.after == last;
    s->pixels = fv_shape_count(shape) / (size_t)shape->dim[1];
    s->chunk = fv_rows_per_piece((size_t)shape->dim[1]);
    p->algorithm = s->all ? "all maps" : "neighbouring maps";
    p->flops = (double)fv_shape_count(shape) * (s->all ? 3 : 4 + s->desc.before + s->desc.after);
    fv_plan_scratch(p, s->all ? 4 * s->chunk * sizeof(fv_real) : fv_local_scratch(&s->desc));
    return fv_plan_phase(p, false, run, s, fv_div_up(s->pixels, s->chunk));
}

static fv_status brightness_plan(fv_plan_op *p) { return make(p, FV_NONE, p->node->in[0], run_brightness); }
static fv_status brightness_grad_plan(fv_plan_op *p) {
    return make(p, p->node->in[0], p->node->in[1], run_brightness_grad);
}

static fv_status brightness_backward(fv_backward *b) {
    const fv_value in[2] = {b->dout[0], b->node->in[0]};
    b->din[0] = fv_emit_node(b->graph, &fv_op_brightness_norm_grad, in, 2, 1, &b->node->attr);
    return FV_OK;
}

const fv_op fv_op_brightness_norm = {"brightness_norm",  1, 1, 1, 0, brightness_infer, brightness_plan,
                                     brightness_backward};
const fv_op fv_op_brightness_norm_grad = {"brightness_norm_grad", 2,   2, 1, 0, brightness_infer,
                                          brightness_grad_plan,   NULL};
