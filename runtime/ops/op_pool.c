/* pool: x (N,C,H,W) -> y, [index]. pool_grad: dy, x (its shape), [index] -> dx. SPEC section 5. */
#include "ops/pieces.h"

typedef struct pool {
    const fv_kernels *kernels;
    fv_pool_desc desc;
    const fv_buffer *in, *out, *index;
    fv_pool_kind kind;
    size_t pixels, chunk;
} pool;

static fv_status pool_infer(fv_node *n, fv_value_info *values) {
    const fv_shape *x = &values[n->in[0]].shape;
    fv_pool_attr *a = &n->attr.pool;
    FV_RETURN_IF(x->rank != 4, FV_ERR_SHAPE, "node \"%s\": pooling takes maps (N,C,H,W), got %s", n->name, fv_shape_print(x).text);
    int64_t in[3];
    int32_t out[3];
    fv_map_size(x, in);
    for (int i = 0; i < 3 && a->global; i++) {
        FV_RETURN_IF(in[i] > INT32_MAX, FV_ERR_LIMIT, "node \"%s\": maps %s are too large", n->name, fv_shape_print(x).text);
        a->window.kernel[i] = a->window.stride[i] = (int32_t)in[i];
        a->window.dilation[i] = 1;
        a->window.pad_before[i] = a->window.pad_after[i] = 0;
    }
    FV_FORWARD(fv_window_resolve(n->name, &a->window, in, a->ceil_mode, out));
    for (int i = 0; i < 3; i++) {
        const int64_t extent = (int64_t)a->window.dilation[i] * (a->window.kernel[i] - 1) + 1;
        FV_RETURN_IF(a->window.pad_before[i] >= extent || a->window.pad_after[i] >= extent, FV_ERR_ARGUMENT,
                     "node \"%s\": padding (%d, %d) is not less than the window's extent %lld", n->name, a->window.pad_before[i],
                     a->window.pad_after[i], (long long)extent);
        FV_RETURN_IF(a->kind == FV_POOL_AVERAGE && a->window.dilation[i] != 1, FV_ERR_UNSUPPORTED, "node \"%s\": average pooling with dilation",
                     n->name);
    }
    const fv_shape y = {4, {x->dim[0], x->dim[1], out[1], out[2]}};
    fv_infer_shape(&values[n->out[0]], FV_REAL_DTYPE, &y);
    if (n->out_count > 1 && n->out[1] != FV_NONE) fv_infer_shape(&values[n->out[1]], FV_I32, &y);
    return FV_OK;
}

void fv_pool_describe(const fv_pool_attr *a, const fv_shape *x, const fv_shape *y, fv_pool_desc *d) {
    int64_t in[3], out[3];
    fv_map_size(x, in);
    fv_map_size(y, out);
    *d = (fv_pool_desc){.images = (int32_t)x->dim[0], .channels = (int32_t)x->dim[1], .count_padding = a->count_padding};
    for (int i = 0; i < 3; i++) {
        d->in[i] = (int32_t)in[i];
        d->out[i] = (int32_t)out[i];
        d->window[i] = a->window.kernel[i];
        d->stride[i] = a->window.stride[i];
        d->dilation[i] = a->window.dilation[i];
        d->pad[i] = a->window.pad_before[i];
        d->pad_after[i] = a->window.pad_after[i];
    }
    fv_map_pitch(in, x->dim[1], d->in_pitch);
    fv_map_pitch(out, x->dim[1], d->out_pitch);
}

static fv_range pixels_of(const pool *s, size_t piece) {
    return (fv_range){piece * s->chunk, fv_min_size((piece + 1) * s->chunk, s->pixels)};
}

static void run_pool(void *arg, size_t piece, void *scratch) {
    (void)scratch;
    const pool *s = arg;
    if (s->kind == FV_POOL_MAX)
        s->kernels->pool.max(&s->desc, s->in->data, s->out->data, s->index ? s->index->data : NULL, pixels_of(s, piece));
    else
        s->kernels->pool.average(&s->desc, s->in->data, s->out->data, pixels_of(s, piece));
}

static fv_status make(fv_plan_op *p, const fv_shape *x, const fv_shape *y, fv_piece_fn run, bool over_input, pool **out) {
    pool *s;
    FV_FORWARD(fv_plan_state(p, sizeof *s, (void **)&s));
    fv_pool_describe(&p->node->attr.pool, x, y, &s->desc);
    s->kernels = p->kernels;
    s->kind = p->node->attr.pool.kind;
    const fv_shape *walked = over_input ? x : y;
    const size_t channels = (size_t)walked->dim[1];
    s->pixels = channels ? fv_shape_count(walked) / channels : 0;
    const size_t window = (size_t)s->desc.window[1] * (size_t)s->desc.window[2];
    s->chunk = over_input ? fv_rows_per_piece(channels) : fv_max_size(1, fv_rows_per_piece(channels) / window);
    p->algorithm = s->kind == FV_POOL_MAX ? "max" : "average";
    p->flops = (double)fv_shape_count(y) * (double)window;
    *out = s;
    return fv_plan_phase(p, false, run, s, fv_div_up(s->pixels, s->chunk));
}

static fv_status pool_plan(fv_plan_op *p) {
    const fv_node *n = p->node;
    pool *s;
    FV_FORWARD(make(p, &p->values[n->in[0]].shape, &p->values[n->out[0]].shape, run_pool, false, &s));
    s->in = fv_plan_buffer(p, n->in[0]);
    s->out = fv_plan_buffer(p, n->out[0]);
    s->index = n->out_count > 1 ? fv_plan_buffer(p, n->out[1]) : NULL;
    return FV_OK;
}

static fv_status pool_backward(fv_backward *b) {
    const fv_node *n = b->node;
    const bool max = n->attr.pool.kind == FV_POOL_MAX;
    const fv_value in[3] = {b->dout[0], n->in[0], max ? n->out[1] : FV_NONE};
    FV_RETURN_IF(max && n->out[1] == FV_NONE, FV_ERR_STATE, "node \"%s\": max pooling was planned without its index", n->name);
    b->din[0] = fv_emit_node(b->graph, &fv_op_pool_grad, in, max ? 3 : 2, 1, &n->attr);
    return FV_OK;
}

const fv_op fv_op_pool = {"pool", 1, 1, 2, 0, pool_infer, pool_plan, pool_backward};

static fv_status pool_grad_infer(fv_node *n, fv_value_info *values) {
    fv_infer_like(&values[n->out[0]], &values[n->in[1]]);
    return FV_OK;
}

static void run_pool_grad(void *arg, size_t piece, void *scratch) {
    (void)scratch;
    const pool *s = arg;
    if (s->kind == FV_POOL_MAX)
        s->kernels->pool.max_grad(&s->desc, s->index->data, s->in->data, s->out->data, pixels_of(s, piece));
    else
        s->kernels->pool.average_grad(&s->desc, s->in->data, s->out->data, pixels_of(s, piece));
}

static fv_status pool_grad_plan(fv_plan_op *p) {
    const fv_node *n = p->node;
    pool *s;
    FV_FORWARD(make(p, &p->values[n->in[1]].shape, &p->values[n->in[0]].shape, run_pool_grad, true, &s));
    s->in = fv_plan_buffer(p, n->in[0]);
    s->out = fv_plan_buffer(p, n->out[0]);
    s->index = n->in_count > 2 ? fv_plan_buffer(p, n->in[2]) : NULL;
    return FV_OK;
}

const fv_op fv_op_pool_grad = {"pool_grad", 2, 3, 1, 0, pool_grad_infer, pool_grad_plan, NULL};
