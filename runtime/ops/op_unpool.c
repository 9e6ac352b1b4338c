/* unpool: x (N,C,h,w), positions -> y (N,C,H,W), the partial inverse of max pooling; unpool_grad: dy, positions -> dx.
 * indices and positions: places in the whole tensor as ONNX counts them, and back to places in one map, which do not
 * depend on the batch. SPEC section 5. */
#include "ops/pieces.h"

typedef struct unpool {
    const fv_kernels *kernels;
    fv_unpool_desc desc;
    const fv_buffer *in, *positions, *out;
    size_t blocks;   /* of channels, an image */
    size_t channels; /* of indices and positions */
} unpool;

static fv_status check_map(const fv_node *n) {
    FV_RETURN_IF(n->attr.map.height < 1 || n->attr.map.width < 1 ||
                     (int64_t)n->attr.map.height * n->attr.map.width > INT32_MAX,
                 FV_ERR_SHAPE, "node \"%s\": maps of %dx%d", n->name, n->attr.map.height, n->attr.map.width);
    return FV_OK;
}

static fv_status unpool_infer(fv_node *n, fv_value_info *values) {
    const fv_value_info *x = &values[n->in[0]], *at = &values[n->in[1]];
    FV_RETURN_IF(x->shape.rank != 4 || x->dtype != FV_REAL_DTYPE, FV_ERR_SHAPE,
                 "node \"%s\": unpooling takes maps (N,C,H,W), got %s", n->name, fv_shape_print(&x->shape).text);
    FV_RETURN_IF(at->dtype != FV_I32 || !fv_shape_same(&at->shape, &x->shape), FV_ERR_SHAPE,
                 "node \"%s\": indices %s do not fit the maps %s", n->name, fv_shape_print(&at->shape).text,
                 fv_shape_print(&x->shape).text);
    FV_FORWARD(check_map(n));
    const fv_shape y = {4, {x->shape.dim[0], x->shape.dim[1], n->attr.map.height, n->attr.map.width}};
    fv_infer_shape(&values[n->out[0]], FV_REAL_DTYPE, &y);
    return FV_OK;
}

static void run_unpool_grad(void *arg, size_t piece, void *scratch) {
    const unpool *s = arg;
    const fv_unpool_desc *d = &s->desc;
    const size_t image = piece / s->blocks, first = piece % s->blocks * FV_UNPOOL_CHANNELS;
    const size_t small = image * d->pooled * d->channels, large = image * d->pixels * d->channels;
    const fv_range channels = {first, fv_min_size(first + FV_UNPOOL_CHANNELS, d->channels)};
    const int32_t *positions = (const int32_t *)s->positions->data + small;
    s->kernels->pool.unpool_grad(d, positions, (const fv_real *)s->in->data + large, (fv_real *)s->out->data + small,
                                 channels, scratch);
}

static void run_unpool(void *arg, size_t piece, void *scratch) {
    (void)scratch;
    const unpool *s = arg;
    const fv_unpool_desc *d = &s->desc;
    const size_t image = piece / s->blocks, first = piece % s->blocks * FV_UNPOOL_CHANNELS;
    const size_t small = image * d->pooled * d->channels, large = image * d->pixels * d->channels;
    const fv_range channels = {first, fv_min_size(first + FV_UNPOOL_CHANNELS, d->channels)};
    s->kernels->pool.unpool(d, (const fv_real *)s->in->data + small, (const int32_t *)s->positions->data + small,
                            (fv_real *)s->out->data + large, channels);
}

static fv_status plan(fv_plan_op *p, fv_piece_fn run, size_t map) {
    const fv_node *n = p->node;
    const fv_shape *pooled = &p->values[n->in[1]].shape;
    unpool *s;
    FV_FORWARD(fv_plan_state(p, sizeof *s, (void **)&s));
    s->kernels = p->kernels;
    s->desc = (fv_unpool_desc){(size_t)(pooled->dim[2] * pooled->dim[3]), map, (size_t)pooled->dim[1],
                               (size_t)pooled->dim[3], (size_t)n->attr.map.width};
    s->in = fv_plan_buffer(p, n->in[0]);
    s->positions = fv_plan_buffer(p, n->in[1]);
    s->out = fv_plan_buffer(p, n->out[0]);
    s->blocks = fv_div_up(s->desc.channels, FV_UNPOOL_CHANNELS);
    p->algorithm = "scatter";
    return fv_plan_phase(p, false, run, s, (size_t)pooled->dim[0] * s->blocks);
}

static fv_status unpool_plan(fv_plan_op *p) {
    return plan(p, run_unpool, (size_t)p->node->attr.map.height * (size_t)p->node->attr.map.width);
}

static fv_status unpool_backward(fv_backward *b) {
    const fv_value in[2] = {b->dout[0], b->node->in[1]};
    b->din[0] = fv_emit_node(b->graph, &fv_op_unpool_grad, in, 2, 1, &b->node->attr);
    b->din[1] = FV_NONE;
    return FV_OK;
}

const fv_op fv_op_unpool = {"unpool", 2, 2, 1, 0, unpool_infer, unpool_plan, unpool_backward};

static fv_status unpool_grad_infer(fv_node *n, fv_value_info *values) {
    fv_infer_shape(&values[n->out[0]], FV_REAL_DTYPE, &values[n->in[1]].shape);
    return FV_OK;
}

static fv_status unpool_grad_plan(fv_plan_op *p) {
    const size_t map = (size_t)p->node->attr.map.height * (size_t)p->node->attr.map.width;
    fv_plan_scratch(p, 2 * map);
    return plan(p, run_unpool_grad, map);
}

const fv_op fv_op_unpool_grad = {"unpool_grad", 2, 2, 1, 0, unpool_grad_infer, unpool_grad_plan, NULL};

/* ---- indices at the borders ---- */

/* A piece is an image's map: (N,C) plain against channels-last. */
static void run_indices(void *arg, size_t piece, void *scratch) {
    (void)scratch;
    const unpool *s = arg;
    const size_t image = piece / s->channels, c = piece % s->channels, n = s->desc.pooled;
    const int32_t *from = (const int32_t *)s->in->data + image * n * s->channels + c;
    int64_t *to = (int64_t *)s->out->data + piece * n;
    for (size_t i = 0; i < n; i++, from += s->channels)
        to[i] = *from < 0 ? -1 : (int64_t)(piece * s->desc.pixels) + *from;
}

static void run_positions(void *arg, size_t piece, void *scratch) {
    (void)scratch;
    const unpool *s = arg;
    const size_t image = piece / s->channels, c = piece % s->channels, n = s->desc.pooled;
    const int64_t *from = (const int64_t *)s->in->data + piece * n, base = (int64_t)(piece * s->desc.pixels);
    int32_t *to = (int32_t *)s->out->data + image * n * s->channels + c;
    for (size_t i = 0; i < n; i++, to += s->channels)
        *to = from[i] < base || from[i] - base >= (int64_t)s->desc.pixels ? -1 : (int32_t)(from[i] - base);
}

static fv_status plan_border(fv_plan_op *p, fv_piece_fn run) {
    const fv_node *n = p->node;
    const fv_shape *shape = &p->values[n->in[0]].shape;
    unpool *s;
    FV_FORWARD(fv_plan_state(p, sizeof *s, (void **)&s));
    s->desc = (fv_unpool_desc){(size_t)(shape->dim[2] * shape->dim[3]),
                               (size_t)n->attr.map.height * (size_t)n->attr.map.width, 0, 0, 0};
    s->channels = (size_t)shape->dim[1];
    s->in = fv_plan_buffer(p, n->in[0]);
    s->out = fv_plan_buffer(p, n->out[0]);
    p->algorithm = "indices";
    return fv_plan_phase(p, false, run, s, (size_t)shape->dim[0] * s->channels);
}

static fv_status border_infer(fv_node *n, fv_value_info *values, fv_dtype from, fv_dtype to, fv_layout layout) {
    const fv_value_info *in = &values[n->in[0]];
    FV_RETURN_IF(in->dtype != from || in->shape.rank != 4, FV_ERR_ARGUMENT,
                 "node \"%s\": its input is no indices of max pooling", n->name);
    FV_FORWARD(check_map(n));
    const fv_shape shape = in->shape;
    fv_infer_shape(&values[n->out[0]], to, &shape);
    values[n->out[0]].layout = layout;
    return FV_OK;
}

static fv_status indices_infer(fv_node *n, fv_value_info *values) {
    return border_infer(n, values, FV_I32, FV_I64, FV_PLAIN);
}
static fv_status indices_plan(fv_plan_op *p) { return plan_border(p, run_indices); }
const fv_op fv_op_indices = {"indices", 1, 1, 1, 0, indices_infer, indices_plan, NULL};

static fv_status positions_infer(fv_node *n, fv_value_info *values) {
    return border_infer(n, values, FV_I64, FV_I32, FV_NHWC);
}
static fv_status positions_plan(fv_plan_op *p) { return plan_border(p, run_positions); }
const fv_op fv_op_positions = {"positions", 1, 1, 1, 0, positions_infer, positions_plan, NULL};
