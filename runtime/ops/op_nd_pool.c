/* nd_pool, its gradient, and nd_unpool over 1 to 3 spatial axes, any type they are defined for: plain loops, a map a
 * piece. */
#include "kernels/half.h"
#include "kernels/math64.h"
#include "ops/nd_pointwise.h"
#include "ops/nd_window.h"

#include <string.h>

typedef struct pool {
    const fv_buffer *x, *y, *index, *dy;
    fv_nd_window w;
    int64_t in[FV_ND_SPATIAL], out[FV_ND_SPATIAL];
    size_t in_pixels, out_pixels;
    int32_t kind;
    bool padding, columns_first;
    double p;
    fv_dtype dtype;
} pool;

static fv_status pool_infer(fv_node *n, fv_value_info *values) {
    const fv_value_info x = values[n->in[0]];
    const fv_nd_window w = fv_nd_window_get(&n->attr.nd);
    FV_RETURN_IF(n->attr.nd.count < 1 || n->attr.nd.count > FV_ND_SPATIAL || x.shape.rank != n->attr.nd.count + 2,
                 FV_ERR_SHAPE, "node \"%s\": pooling of %s by a window of %d axes", n->name,
                 fv_shape_print(&x.shape).text, n->attr.nd.count);
    const bool bytes = n->attr.nd.kind == FV_ND_POOL_MAX && (x.dtype == FV_U8 || x.dtype == FV_I8);
    FV_RETURN_IF(!fv_nd_is_floating(x.dtype) && !bytes, FV_ERR_UNSUPPORTED, "node \"%s\": pooling of %s", n->name,
                 fv_dtype_name(x.dtype));
    fv_shape y = x.shape;
    for (int32_t i = 0; i < w.axes; i++)
        FV_FORWARD(fv_nd_window_size(n->name, &w, i, x.shape.dim[2 + i], n->attr.nd.keep, &y.dim[2 + i]));
    fv_nd_infer(&values[n->out[0]], x.dtype, &y);
    if (n->out[1] != FV_NONE) fv_nd_infer(&values[n->out[1]], FV_I64, &y);
    return FV_OK;
}

static double load(fv_dtype t, const void *data, size_t i) {
    return t == FV_F32   ? ((const float *)data)[i]
           : t == FV_F64 ? ((const double *)data)[i]
           : t == FV_F16 ? fv_half_to_float(((const uint16_t *)data)[i])
           : t == FV_I8  ? ((const int8_t *)data)[i]
                         : ((const uint8_t *)data)[i];
}
static void store(fv_dtype t, void *data, size_t i, double v) {
    if (t == FV_F32)
        ((float *)data)[i] = (float)v;
    else if (t == FV_F64)
        ((double *)data)[i] = v;
    else if (t == FV_F16)
        ((uint16_t *)data)[i] = fv_half_from_double(v);
    else
        ((uint8_t *)data)[i] = (uint8_t)(int)v;
}

/* The window of an output pixel: begin, count and end on each axis, in padded coordinates; how many places averages
 * count. */
typedef struct reach {
    int64_t first[3], counted;
} reach;

static reach reach_of(const pool *s, size_t pixel) {
    const int64_t o[3] = {(int64_t)pixel / (s->out[2] * s->out[1]), (int64_t)pixel / s->out[2] % s->out[1],
                          (int64_t)pixel % s->out[2]};
    reach r = {.counted = 1};
    for (int32_t i = 0; i < 3; i++) {
        int64_t places = 0;
        r.first[i] = o[i] * s->w.stride[i] - s->w.before[i];
        for (int64_t k = 0; k < s->w.kernel[i]; k++) {
            const int64_t at = r.first[i] + k * s->w.dilation[i];
            places += s->padding ? at < s->in[i] + s->w.after[i] : at >= 0 && at < s->in[i];
        }
        r.counted *= places;
    }
    return r;
}

/* Calls body with `at`, the place of each element of the window inside the map. */
#define EACH_PLACE(s, r, at, ...)                                                                                      \
    for (int64_t z_ = 0; z_ < (s)->w.kernel[0]; z_++) {                                                                \
        const int64_t a_ = (r).first[0] + z_ * (s)->w.dilation[0];                                                     \
        if (a_ < 0 || a_ >= (s)->in[0]) continue;                                                                      \
        for (int64_t y_ = 0; y_ < (s)->w.kernel[1]; y_++) {                                                            \
            const int64_t b_ = (r).first[1] + y_ * (s)->w.dilation[1];                                                 \
            if (b_ < 0 || b_ >= (s)->in[1]) continue;                                                                  \
            for (int64_t x_ = 0; x_ < (s)->w.kernel[2]; x_++) {                                                        \
                const int64_t c_ = (r).first[2] + x_ * (s)->w.dilation[2];                                             \
                if (c_ < 0 || c_ >= (s)->in[2]) continue;                                                              \
                const size_t at = (size_t)((a_ * (s)->in[1] + b_) * (s)->in[2] + c_);                                  \
                __VA_ARGS__                                                                                            \
            }                                                                                                          \
        }                                                                                                              \
    }

static size_t largest_of(const pool *s, const reach *r, size_t map, double *most) {
    size_t best = SIZE_MAX;
    EACH_PLACE(s, *r, at, {
        const double v = load(s->dtype, s->x->data, map + at);
        if (best == SIZE_MAX || v > *most || (v != v && *most == *most)) *most = v, best = at;
    })
    return best;
}

/* A place with the first axis fastest: axes lie at the front, the sizes behind them are 1. */
static size_t turned(const pool *s, size_t at) {
    const size_t z = (size_t)s->in[0], y = (size_t)s->in[1], x = (size_t)s->in[2];
    return at / (y * x) + z * (at / x % y + y * (at % x));
}

static void run_pool(void *arg, size_t piece, void *scratch) {
    (void)scratch;
    const pool *s = arg;
    const size_t map = piece * s->in_pixels, to = piece * s->out_pixels;
    for (size_t pixel = 0; pixel < s->out_pixels; pixel++) {
        const reach r = reach_of(s, pixel);
        double value = 0;
        if (s->kind == FV_ND_POOL_MAX) {
            const size_t best = largest_of(s, &r, map, &value);
            if (s->index)
                ((int64_t *)s->index->data)[to + pixel] =
                    best == SIZE_MAX ? -1 : (int64_t)(map + (s->columns_first ? turned(s, best) : best));
            if (best == SIZE_MAX) value = s->dtype == FV_U8 ? 0 : s->dtype == FV_I8 ? INT8_MIN : -INFINITY;
        } else if (s->kind == FV_ND_POOL_AVERAGE) {
            EACH_PLACE(s, r, at, value += load(s->dtype, s->x->data, map + at);)
            value /= (double)r.counted;
        } else {
            EACH_PLACE(s, r, at, value += fv_pow64(fabs(load(s->dtype, s->x->data, map + at)), s->p);)
            value = s->p == 2 ? sqrt(value) : s->p == 1 ? value : fv_pow64(value, 1 / s->p);
        }
        store(s->dtype, s->y->data, to + pixel, value);
    }
}

static fv_status make(fv_plan_op *p, fv_value x, fv_value y, pool **out) {
    const fv_nd_attr *attr = &p->node->attr.nd;
    const fv_shape *in = &p->values[x].shape, *to = &p->values[y].shape;
    pool *s;
    FV_FORWARD(fv_plan_state(p, sizeof *s, (void **)&s));
    *s = (pool){.x = fv_plan_buffer(p, x),
                .w = fv_nd_window_get(attr),
                .in_pixels = 1,
                .out_pixels = 1,
                .kind = attr->kind,
                .padding = attr->flag,
                .columns_first = attr->mode != 0,
                .p = attr->alpha,
                .dtype = p->values[x].dtype};
    for (int32_t i = 0; i < FV_ND_SPATIAL; i++) {
        s->in[i] = i < attr->count ? in->dim[2 + i] : 1;
        s->out[i] = i < attr->count ? to->dim[2 + i] : 1;
        s->in_pixels *= (size_t)s->in[i];
        s->out_pixels *= (size_t)s->out[i];
    }
    p->algorithm = "loops";
    p->flops = (double)fv_shape_count(to) * (double)(s->w.kernel[0] * s->w.kernel[1] * s->w.kernel[2]);
    *out = s;
    return FV_OK;
}

static fv_status pool_plan(fv_plan_op *p) {
    const fv_node *n = p->node;
    const fv_shape *x = &p->values[n->in[0]].shape;
    pool *s;
    FV_FORWARD(make(p, n->in[0], n->out[0], &s));
    s->y = fv_plan_buffer(p, n->out[0]);
    s->index = fv_plan_buffer(p, n->out[1]);
    return fv_plan_phase(p, false, run_pool, s, (size_t)(x->dim[0] * x->dim[1]));
}

static fv_status pool_backward(fv_backward *b) {
    const fv_value in[2] = {b->dout[0], b->node->in[0]};
    b->din[0] = fv_emit_node(b->graph, &fv_op_nd_pool_grad, in, 2, 1, &b->node->attr);
    return FV_OK;
}

const fv_op fv_op_nd_pool = {"nd_pool", 1, 1, 2, FV_OP_PLAIN, pool_infer, pool_plan, pool_backward};

/* ---- gradient ---- */

static fv_status pool_grad_infer(fv_node *n, fv_value_info *values) {
    fv_nd_infer(&values[n->out[0]], values[n->in[0]].dtype, &values[n->in[1]].shape);
    return FV_OK;
}

/* Of Lp: |x|^(p-1) sgn(x) y^(1-p). */
static double lp_slope(const pool *s, double x, double sum) {
    if (sum == 0) return 0;
    const double y = fv_pow64(sum, 1 / s->p);
    return fv_pow64(fabs(x) / y, s->p - 1) * (x > 0 ? 1 : x < 0 ? -1 : 0);
}

static void run_pool_grad(void *arg, size_t piece, void *scratch) {
    (void)scratch;
    const pool *s = arg;
    const size_t map = piece * s->in_pixels;
    const fv_real *dy = (const fv_real *)s->dy->data + piece * s->out_pixels, *x = (const fv_real *)s->x->data + map;
    fv_real *dx = (fv_real *)s->y->data + map;
    memset(dx, 0, s->in_pixels * sizeof *dx);
    for (size_t pixel = 0; pixel < s->out_pixels; pixel++) {
        const reach r = reach_of(s, pixel);
        double value = 0;
        if (s->kind == FV_ND_POOL_MAX) {
            const size_t best = largest_of(s, &r, map, &value);
            if (best != SIZE_MAX) dx[best] += dy[pixel];
        } else if (s->kind == FV_ND_POOL_AVERAGE) {
            EACH_PLACE(s, r, at, dx[at] += dy[pixel] / (fv_real)r.counted;)
        } else {
            EACH_PLACE(s, r, at, value += fv_pow64(fabs((double)x[at]), s->p);)
            EACH_PLACE(s, r, at, dx[at] += (fv_real)(dy[pixel] * lp_slope(s, x[at], value));)
        }
    }
}

static fv_status pool_grad_plan(fv_plan_op *p) {
    const fv_node *n = p->node;
    const fv_shape *x = &p->values[n->in[1]].shape;
    pool *s;
    FV_FORWARD(make(p, n->in[1], n->in[0], &s));
    s->dy = fv_plan_buffer(p, n->in[0]);
    s->y = fv_plan_buffer(p, n->out[0]);
    return fv_plan_phase(p, false, run_pool_grad, s, (size_t)(x->dim[0] * x->dim[1]));
}

const fv_op fv_op_nd_pool_grad = {"nd_pool_grad", 2, 2, 1, FV_OP_PLAIN, pool_grad_infer, pool_grad_plan, NULL};

/* ---- unpooling: one piece, as indices may point anywhere ---- */

typedef struct unpool {
    const fv_buffer *x, *index, *y;
    size_t count, total, element, known; /* known: places that indices may name */
    fv_shape from, to;
} unpool;

static fv_status unpool_infer(fv_node *n, fv_value_info *values) {
    const fv_value_info *x = &values[n->in[0]], *index = &values[n->in[1]];
    FV_RETURN_IF(index->dtype != FV_I64 || !fv_shape_same(&x->shape, &index->shape), FV_ERR_SHAPE,
                 "node \"%s\": indices %s of %s", n->name, fv_shape_print(&index->shape).text,
                 fv_shape_print(&x->shape).text);
    fv_shape y = {.rank = n->attr.nd.count};
    for (int32_t i = 0; i < y.rank; i++) {
        y.dim[i] = n->attr.nd.a[i];
        FV_RETURN_IF(n->attr.nd.b[i] < 0, FV_ERR_SHAPE, "node \"%s\": a window that gives size %lld", n->name,
                     (long long)n->attr.nd.b[i]);
    }
    fv_nd_infer(&values[n->out[0]], x->dtype, &y);
    return FV_OK;
}

/* A place of the known shape in the output; false: the output does not have it. */
static bool moved(const unpool *s, size_t index, size_t *at) {
    size_t stride = 1;
    *at = 0;
    for (int32_t i = s->to.rank; i-- > 0;) {
        const size_t k = index % (size_t)s->from.dim[i];
        index /= (size_t)s->from.dim[i];
        if (k >= (size_t)s->to.dim[i]) return false;
        *at += k * stride;
        stride *= (size_t)s->to.dim[i];
    }
    return true;
}

static void run_unpool(void *arg, size_t piece, void *scratch) {
    (void)scratch, (void)piece;
    const unpool *s = arg;
    memset(s->y->data, 0, s->total * s->element);
    for (size_t i = 0; i < s->count; i++) {
        const int64_t index = ((const int64_t *)s->index->data)[i];
        size_t at;
        if (index < 0 || (uint64_t)index >= s->known || !moved(s, (size_t)index, &at)) continue;
        memcpy((char *)s->y->data + at * s->element, (const char *)s->x->data + i * s->element, s->element);
    }
}

/* What flowed to the place of each. */
static void run_unpool_grad(void *arg, size_t piece, void *scratch) {
    (void)scratch;
    const unpool *s = arg;
    const size_t first = piece * FV_RUN, end = fv_min_size(first + FV_RUN, s->count);
    for (size_t i = first; i < end; i++) {
        const int64_t index = ((const int64_t *)s->index->data)[i];
        size_t at;
        const bool there = index >= 0 && (uint64_t)index < s->known && moved(s, (size_t)index, &at);
        ((fv_real *)s->x->data)[i] = there ? ((const fv_real *)s->y->data)[at] : 0;
    }
}

/* x: the pooled side; y: the large one. */
static fv_status describe(fv_plan_op *p, fv_value x, fv_value index, fv_value y, unpool **out) {
    const fv_shape *small = &p->values[x].shape, *large = &p->values[y].shape;
    unpool *s;
    FV_FORWARD(fv_plan_state(p, sizeof *s, (void **)&s));
    *s = (unpool){.x = fv_plan_buffer(p, x),
                  .index = fv_plan_buffer(p, index),
                  .y = fv_plan_buffer(p, y),
                  .count = fv_shape_count(small),
                  .total = fv_shape_count(large),
                  .element = fv_dtype_bytes(p->values[x].dtype),
                  .from = *large,
                  .to = *large};
    for (int32_t i = 0; i < large->rank; i++) s->from.dim[i] = p->node->attr.nd.b[i];
    s->known = fv_shape_count(&s->from);
    *out = s;
    return FV_OK;
}

static fv_status unpool_plan(fv_plan_op *p) {
    unpool *s;
    FV_FORWARD(describe(p, p->node->in[0], p->node->in[1], p->node->out[0], &s));
    p->algorithm = "scatter";
    return fv_plan_phase(p, false, run_unpool, s, s->total > 0);
}

static fv_status unpool_grad_infer(fv_node *n, fv_value_info *values) {
    fv_nd_infer(&values[n->out[0]], values[n->in[0]].dtype, &values[n->in[1]].shape);
    return FV_OK;
}

static fv_status unpool_grad_plan(fv_plan_op *p) {
    unpool *s;
    FV_FORWARD(describe(p, p->node->out[0], p->node->in[1], p->node->in[0], &s));
    p->algorithm = "gather";
    return fv_plan_phase(p, false, run_unpool_grad, s, fv_div_up(s->count, FV_RUN));
}

static fv_status unpool_backward(fv_backward *b) {
    const fv_value in[2] = {b->dout[0], b->node->in[1]};
    b->din[0] = fv_emit_node(b->graph, &fv_op_nd_unpool_grad, in, 2, 1, &b->node->attr);
    return FV_OK;
}

const fv_op fv_op_nd_unpool = {"nd_unpool", 2, 2, 1, FV_OP_PLAIN, unpool_infer, unpool_plan, unpool_backward};
const fv_op fv_op_nd_unpool_grad = {"nd_unpool_grad", 2, 2, 1, FV_OP_PLAIN, unpool_grad_infer, unpool_grad_plan, NULL};
