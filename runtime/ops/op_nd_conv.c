/* nd_conv, nd_conv_transpose and the gradient of their weights over 1 to 3 spatial axes. float32 convolution is the
 * product of kernels/conv.h: maps are turned channels last into the workspace and back. Everything else: plain loops, a
 * map a piece. */
#include "ops/nd_pointwise.h"
#include "ops/nd_window.h"

#include <math.h>
#include <stdlib.h>

void fv_nd_window_put(const fv_nd_window *w, fv_nd_attr *attr) {
    attr->count = w->axes;
    for (int32_t i = 0; i < w->axes; i++) {
        attr->a[i] = w->kernel[i];
        attr->b[i] = w->stride[i];
        attr->c[i] = w->dilation[i];
        attr->a[4 + i] = w->before[i];
        attr->b[4 + i] = w->after[i];
    }
}

fv_nd_window fv_nd_window_get(const fv_nd_attr *attr) {
    fv_nd_window w = {.axes = attr->count};
    for (int32_t i = 0; i < FV_ND_SPATIAL; i++) {
        const bool real = i < attr->count;
        w.kernel[i] = real ? attr->a[i] : 1;
        w.stride[i] = real ? attr->b[i] : 1;
        w.dilation[i] = real ? attr->c[i] : 1;
        w.before[i] = real ? attr->a[4 + i] : 0;
        w.after[i] = real ? attr->b[4 + i] : 0;
    }
    return w;
}

fv_status fv_nd_window_size(const char *node, const fv_nd_window *w, int32_t axis, int64_t in, bool up, int64_t *out) {
    const int64_t k = w->kernel[axis], s = w->stride[axis], d = w->dilation[axis], before = w->before[axis],
                  after = w->after[axis];
    FV_RETURN_IF(k < 1 || s < 1 || d < 1 || k > INT32_MAX || s > INT32_MAX || d > INT32_MAX ||
                     llabs(before) > INT32_MAX || llabs(after) > INT32_MAX,
                 FV_ERR_SHAPE, "node \"%s\": a window of %lld, stride %lld, dilation %lld, padding %lld and %lld", node,
                 (long long)k, (long long)s, (long long)d, (long long)before, (long long)after);
    const int64_t span = in + before + after - d * (k - 1) - 1;
    FV_RETURN_IF(span < 0, FV_ERR_SHAPE, "node \"%s\": a window of %lld does not fit into %lld", node,
                 (long long)(d * (k - 1) + 1), (long long)(in + before + after));
    *out = (up ? (span + s - 1) / s : span / s) + 1;
    if (up && (*out - 1) * s >= in + before) --*out;
    return FV_OK;
}

/* Sizes of one image: channels of input and output, and three spatial axes. */
typedef struct geometry {
    fv_nd_window w;
    size_t images, in_channels, out_channels, groups, taps, in_pixels, out_pixels;
    int64_t in[FV_ND_SPATIAL], out[FV_ND_SPATIAL];
} geometry;

/* small: the shape of what the convolution gives (its input in a transposed one), large: of what it takes. */
static geometry geometry_of(const fv_nd_attr *attr, const fv_shape *large, const fv_shape *small) {
    geometry g = {.w = fv_nd_window_get(attr),
                  .images = (size_t)large->dim[0],
                  .in_channels = (size_t)large->dim[1],
                  .out_channels = (size_t)small->dim[1],
                  .groups = (size_t)attr->kind,
                  .taps = 1,
                  .in_pixels = 1,
                  .out_pixels = 1};
    for (int32_t i = 0; i < FV_ND_SPATIAL; i++) {
        g.in[i] = i < attr->count ? large->dim[2 + i] : 1;
        g.out[i] = i < attr->count ? small->dim[2 + i] : 1;
        g.taps *= (size_t)g.w.kernel[i];
        g.in_pixels *= (size_t)g.in[i];
        g.out_pixels *= (size_t)g.out[i];
    }
    return g;
}

/* Where tap t of output o lies on each axis; false: in the padding. */
static inline bool place_of(const geometry *g, const int64_t o[3], size_t t, size_t *at) {
    const size_t yx = (size_t)(g->w.kernel[1] * g->w.kernel[2]), x = (size_t)g->w.kernel[2];
    const int64_t tap[3] = {(int64_t)(t / yx), (int64_t)(t % yx / x), (int64_t)(t % x)};
    *at = 0;
    for (int32_t i = 0; i < 3; i++) {
        const int64_t p = o[i] * g->w.stride[i] - g->w.before[i] + tap[i] * g->w.dilation[i];
        if (p < 0 || p >= g->in[i]) return false;
        *at = *at * (size_t)g->in[i] + (size_t)p;
    }
    return true;
}

static inline void pixel_of(const geometry *g, size_t pixel, int64_t o[3]) {
    o[2] = (int64_t)pixel % g->out[2];
    o[1] = (int64_t)pixel / g->out[2] % g->out[1];
    o[0] = (int64_t)pixel / (g->out[2] * g->out[1]);
}

typedef struct conv conv;
typedef void (*piece_fn)(const conv *s, size_t piece);
struct conv {
    const fv_kernels *kernels;
    const fv_buffer *x, *w, *bias, *y, *packed, *in, *out;
    geometry g;
    size_t chunk, chunks, panels;
    fv_conv_desc desc;
    int32_t (*tap)[3];
    piece_fn run;
};

static void run_piece(void *arg, size_t piece, void *scratch) {
    (void)scratch;
    const conv *s = arg;
    s->run(s, piece);
}

/* ---- convolution ---- */

static fv_status check_conv(const fv_node *n, const fv_value_info *values, const fv_shape *x, const fv_shape *w,
                            int64_t inputs, int64_t outputs) {
    const int64_t groups = n->attr.nd.kind;
    FV_RETURN_IF(n->attr.nd.count < 1 || n->attr.nd.count > FV_ND_SPATIAL || x->rank != n->attr.nd.count + 2 ||
                     w->rank != x->rank,
                 FV_ERR_SHAPE, "node \"%s\": a convolution of %s with %s", n->name, fv_shape_print(x).text,
                 fv_shape_print(w).text);
    FV_RETURN_IF(groups < 1 || inputs != x->dim[1] || outputs % groups || x->dim[1] % groups, FV_ERR_SHAPE,
                 "node \"%s\": weights %s in %lld groups do not fit %s", n->name, fv_shape_print(w).text,
                 (long long)groups, fv_shape_print(x).text);
    FV_RETURN_IF(values[n->in[0]].dtype != values[n->in[1]].dtype, FV_ERR_SHAPE,
                 "node \"%s\": its inputs are %s and %s", n->name, fv_dtype_name(values[n->in[0]].dtype),
                 fv_dtype_name(values[n->in[1]].dtype));
    FV_RETURN_IF(n->in_count > 2 && n->in[2] != FV_NONE &&
                     (values[n->in[2]].shape.rank != 1 || values[n->in[2]].shape.dim[0] != outputs),
                 FV_ERR_SHAPE, "node \"%s\": a bias %s for %lld channels", n->name,
                 fv_shape_print(&values[n->in[2]].shape).text, (long long)outputs);
    const fv_dtype t = values[n->in[0]].dtype;
    FV_RETURN_IF(t != FV_F32 && t != FV_F64 && t != FV_I32, FV_ERR_UNSUPPORTED, "node \"%s\": a convolution of %s",
                 n->name, fv_dtype_name(t));
    return FV_OK;
}

static fv_status conv_infer(fv_node *n, fv_value_info *values) {
    const fv_shape x = values[n->in[0]].shape, w = values[n->in[1]].shape;
    const fv_nd_window window = fv_nd_window_get(&n->attr.nd);
    FV_FORWARD(check_conv(n, values, &x, &w, w.rank > 1 ? w.dim[1] * n->attr.nd.kind : -1, w.rank > 1 ? w.dim[0] : 0));
    fv_shape y = {x.rank, {x.dim[0], w.dim[0]}};
    for (int32_t i = 0; i < window.axes; i++) {
        FV_RETURN_IF(w.dim[2 + i] != window.kernel[i], FV_ERR_SHAPE,
                     "node \"%s\": its kernel is not that of the weights", n->name);
        FV_FORWARD(fv_nd_window_size(n->name, &window, i, x.dim[2 + i], false, &y.dim[2 + i]));
    }
    fv_nd_infer(&values[n->out[0]], values[n->in[0]].dtype, &y);
    return FV_OK;
}

/* One output map. */
#define CONV_LOOPS(name, T, S)                                                                                         \
    static void name(const conv *s, size_t piece) {                                                                    \
        const geometry *g = &s->g;                                                                                     \
        const size_t image = piece / g->out_channels, k = piece % g->out_channels,                                     \
                     inputs = g->in_channels / g->groups;                                                              \
        const size_t first = k / (g->out_channels / g->groups) * inputs;                                               \
        const T *x = (const T *)s->x->data + (image * g->in_channels + first) * g->in_pixels;                          \
        const T *w = (const T *)s->w->data + k * inputs * g->taps;                                                     \
        T *y = (T *)s->y->data + piece * g->out_pixels;                                                                \
        for (size_t pixel = 0; pixel < g->out_pixels; pixel++) {                                                       \
            int64_t o[3];                                                                                              \
            S sum = s->bias ? (S)((const T *)s->bias->data)[k] : 0;                                                    \
            pixel_of(g, pixel, o);                                                                                     \
            for (size_t t = 0; t < g->taps; t++) {                                                                     \
                size_t at;                                                                                             \
                if (!place_of(g, o, t, &at)) continue;                                                                 \
                for (size_t c = 0; c < inputs; c++) sum += (S)x[c * g->in_pixels + at] * (S)w[c * g->taps + t];        \
            }                                                                                                          \
            y[pixel] = (T)sum;                                                                                         \
        }                                                                                                              \
    }
CONV_LOOPS(conv_f32, float, float)
CONV_LOOPS(conv_f64, double, double)
CONV_LOOPS(conv_i32, int32_t, uint32_t)

/* Channels of an image to channels last, and back: an image a piece. */
static void run_in(void *arg, size_t image, void *scratch) {
    (void)scratch;
    const conv *s = arg;
    const size_t at = image * s->g.in_channels * s->g.in_pixels;
    s->kernels->convert.transpose((const fv_real *)s->x->data + at, (ptrdiff_t)s->g.in_pixels,
                                  (fv_real *)s->in->data + at, (ptrdiff_t)s->g.in_channels, s->g.in_pixels,
                                  (fv_range){0, s->g.in_channels});
}

static void run_out(void *arg, size_t image, void *scratch) {
    (void)scratch;
    const conv *s = arg;
    const size_t at = image * s->g.out_channels * s->g.out_pixels;
    s->kernels->convert.transpose((const fv_real *)s->out->data + at, (ptrdiff_t)s->g.out_channels,
                                  (fv_real *)s->y->data + at, (ptrdiff_t)s->g.out_pixels, s->g.out_channels,
                                  (fv_range){0, s->g.out_pixels});
}

static void run_pack(void *arg, size_t panel, void *scratch) {
    (void)scratch;
    const conv *s = arg;
    const ptrdiff_t taps = (ptrdiff_t)s->g.taps, inputs = (ptrdiff_t)(s->g.in_channels / s->g.groups);
    const fv_conv_weights w = {s->w->data, inputs * taps * (ptrdiff_t)(s->g.out_channels / s->g.groups), 1, taps,
                               inputs * taps};
    s->kernels->conv.pack(&s->desc, &w, s->packed->data, (fv_range){panel, panel + 1});
}

static void run_product(void *arg, size_t piece, void *scratch) {
    const conv *s = arg;
    const size_t pixels = s->g.images * s->g.out_pixels;
    s->kernels->conv.forward(&s->desc, s->in->data, s->packed->data, s->bias ? s->bias->data : NULL, NULL, s->out->data,
                             (fv_range){piece * s->chunk, fv_min_size((piece + 1) * s->chunk, pixels)},
                             (fv_range){0, s->panels}, scratch);
}

static void describe(conv *s) {
    const geometry *g = &s->g;
    const ptrdiff_t c = (ptrdiff_t)g->in_channels, k = (ptrdiff_t)g->out_channels;
    s->desc = (fv_conv_desc){
        .images = (int32_t)g->images,
        .taps = (int32_t)g->taps,
        .tap = (const int32_t(*)[3])s->tap,
        .in_channels = (int32_t)(g->in_channels / g->groups),
        .out_channels = (int32_t)(g->out_channels / g->groups),
        .groups = (int32_t)g->groups,
        .act_low = -INFINITY,
        .act_high = INFINITY,
        .in_pitch = {c * g->in[0] * g->in[1] * g->in[2], c * g->in[1] * g->in[2], c * g->in[2], c},
        .out_pitch = {k * g->out[0] * g->out[1] * g->out[2], k * g->out[1] * g->out[2], k * g->out[2], k}};
    for (int32_t i = 0; i < 3; i++) {
        s->desc.in[i] = (int32_t)g->in[i];
        s->desc.out[i] = (int32_t)g->out[i];
        s->desc.step[i] = (int32_t)g->w.stride[i];
    }
    const size_t yx = (size_t)(g->w.kernel[1] * g->w.kernel[2]), x = (size_t)g->w.kernel[2];
    for (size_t t = 0; t < g->taps; t++) {
        const int64_t place[3] = {(int64_t)(t / yx), (int64_t)(t % yx / x), (int64_t)(t % x)};
        for (int32_t i = 0; i < 3; i++) s->tap[t][i] = (int32_t)(place[i] * g->w.dilation[i] - g->w.before[i]);
    }
}

static fv_status plan_product(fv_plan_op *p, conv *s) {
    const geometry *g = &s->g;
    const struct {
        char kind[8];
        int64_t sizes[4];
    } key = {"nd_conv", {(int64_t)g->taps, (int64_t)g->in_channels, (int64_t)g->out_channels, (int64_t)g->groups}};
    bool fresh, in_run;
    fv_buffer *packed, *in, *out;
    FV_FORWARD(fv_plan_state(p, g->taps * sizeof *s->tap, (void **)&s->tap));
    describe(s);
    s->panels = g->groups * fv_div_up(g->out_channels / g->groups, (size_t)s->kernels->conv.nr);
    const size_t bytes = s->kernels->conv.packed_size(&s->desc) * sizeof(fv_real);
    FV_FORWARD(fv_plan_packed(p, p->node->in[1], &key, sizeof key, bytes, &packed, &fresh, &in_run));
    FV_FORWARD(fv_plan_workspace(p, g->images * g->in_channels * g->in_pixels * sizeof(fv_real), &in));
    FV_FORWARD(fv_plan_workspace(p, g->images * g->out_channels * g->out_pixels * sizeof(fv_real), &out));
    s->packed = packed;
    s->in = in;
    s->out = out;
    if (fresh) FV_FORWARD(fv_plan_phase(p, !in_run, run_pack, s, s->panels));
    FV_FORWARD(fv_plan_phase(p, false, run_in, s, g->images));
    const size_t pixels = g->images * g->out_pixels;
    s->chunk = fv_round_up(fv_min_size(pixels, fv_max_size(1, 65536 / (g->in_channels + g->out_channels))),
                           (size_t)s->kernels->conv.mr);
    fv_plan_scratch(p, s->kernels->conv.forward_scratch(&s->desc));
    p->algorithm = "product";
    p->packed_bytes = bytes;
    FV_FORWARD(fv_plan_phase(p, false, run_product, s, fv_div_up(pixels, s->chunk)));
    return fv_plan_phase(p, false, run_out, s, g->images);
}

static fv_status conv_plan(fv_plan_op *p) {
    const fv_node *n = p->node;
    const fv_value_info *x = &p->values[n->in[0]], *y = &p->values[n->out[0]];
    conv *s;
    FV_FORWARD(fv_plan_state(p, sizeof *s, (void **)&s));
    *s = (conv){.kernels = p->kernels,
                .x = fv_plan_buffer(p, n->in[0]),
                .w = fv_plan_buffer(p, n->in[1]),
                .bias = n->in_count > 2 ? fv_plan_buffer(p, n->in[2]) : NULL,
                .y = fv_plan_buffer(p, n->out[0]),
                .g = geometry_of(&n->attr.nd, &x->shape, &y->shape)};
    const geometry *g = &s->g;
    const size_t count = fv_shape_count(&y->shape), inputs = g->in_channels / g->groups;
    p->flops = 2 * (double)count * (double)g->taps * (double)inputs;
    if (count == 0) return FV_OK;
    if (x->dtype == FV_REAL_DTYPE && inputs > 0 && count <= INT32_MAX && g->images * g->in_pixels <= INT32_MAX)
        return plan_product(p, s);
    s->run = x->dtype == FV_F32 ? conv_f32 : x->dtype == FV_F64 ? conv_f64 : conv_i32;
    p->algorithm = "loops";
    return fv_plan_phase(p, false, run_piece, s, g->images * g->out_channels);
}

static fv_value emit(fv_backward *b, const fv_op *op, fv_value x, fv_value y, fv_value z, const fv_attributes *attr) {
    const fv_value in[3] = {x, y, z};
    return fv_emit_node(b->graph, op, in, z == FV_NONE ? 2 : 3, 1, attr);
}

/* Of a bias: dy summed to (K). */
static void bias_gradient(fv_backward *b) {
    if (b->node->in_count > 2 && b->wanted[2])
        b->din[2] = fv_nd_sum_to(b->graph, b->dout[0], b->node->in[2], b->node->attr.nd.count);
}

static fv_status conv_backward(fv_backward *b) {
    const fv_value x = b->node->in[0], w = b->node->in[1], dy = b->dout[0];
    fv_attributes attr = b->node->attr;
    for (int32_t i = 0; i < attr.nd.count; i++) attr.nd.c[4 + i] = fv_emit_info(b->graph, x)->shape.dim[2 + i];
    if (b->wanted[0]) b->din[0] = emit(b, &fv_op_nd_conv_transpose, dy, w, FV_NONE, &attr);
    if (b->wanted[1]) b->din[1] = emit(b, &fv_op_nd_conv_grad_weight, dy, x, w, &attr);
    bias_gradient(b);
    return FV_OK;
}

const fv_op fv_op_nd_conv = {"nd_conv", 2, 3, 1, FV_OP_PLAIN, conv_infer, conv_plan, conv_backward};

/* ---- transposed: x is the small side ---- */

static fv_status transpose_infer(fv_node *n, fv_value_info *values) {
    const fv_shape x = values[n->in[0]].shape, w = values[n->in[1]].shape;
    FV_FORWARD(check_conv(n, values, &x, &w, w.dim[0], w.rank > 1 ? w.dim[1] * n->attr.nd.kind : 0));
    fv_shape y = {x.rank, {x.dim[0], w.dim[1] * n->attr.nd.kind}};
    for (int32_t i = 0; i < n->attr.nd.count; i++) {
        y.dim[2 + i] = n->attr.nd.c[4 + i];
        FV_RETURN_IF(w.dim[2 + i] != n->attr.nd.a[i] || y.dim[2 + i] < 0 || n->attr.nd.b[i] < 1 || n->attr.nd.c[i] < 1,
                     FV_ERR_SHAPE, "node \"%s\": its window does not fit the weights %s", n->name,
                     fv_shape_print(&w).text);
    }
    fv_nd_infer(&values[n->out[0]], values[n->in[0]].dtype, &y);
    return FV_OK;
}

/* One output map: every input pixel spreads over it. */
#define TRANSPOSE_LOOPS(name, T)                                                                                       \
    static void name(const conv *s, size_t piece) {                                                                    \
        const geometry *g = &s->g;                                                                                     \
        const size_t image = piece / g->in_channels, k = piece % g->in_channels, outputs = g->in_channels / g->groups; \
        const size_t inputs = g->out_channels / g->groups, first = k / outputs * inputs;                               \
        T *y = (T *)s->y->data + piece * g->in_pixels;                                                                 \
        for (size_t i = 0; i < g->in_pixels; i++) y[i] = s->bias ? ((const T *)s->bias->data)[k] : 0;                  \
        for (size_t c = first; c < first + inputs; c++) {                                                              \
            const T *x = (const T *)s->x->data + (image * g->out_channels + c) * g->out_pixels;                        \
            const T *w = (const T *)s->w->data + (c * outputs + k % outputs) * g->taps;                                \
            for (size_t pixel = 0; pixel < g->out_pixels; pixel++) {                                                   \
                int64_t o[3];                                                                                          \
                pixel_of(g, pixel, o);                                                                                 \
                for (size_t t = 0; t < g->taps; t++) {                                                                 \
                    size_t at;                                                                                         \
                    if (place_of(g, o, t, &at)) y[at] += x[pixel] * w[t];                                              \
                }                                                                                                      \
            }                                                                                                          \
        }                                                                                                              \
    }
TRANSPOSE_LOOPS(transpose_f32, float)
TRANSPOSE_LOOPS(transpose_f64, double)

static fv_status transpose_plan(fv_plan_op *p) {
    const fv_node *n = p->node;
    const fv_value_info *x = &p->values[n->in[0]], *y = &p->values[n->out[0]];
    conv *s;
    FV_RETURN_IF(x->dtype == FV_I32, FV_ERR_UNSUPPORTED, "node \"%s\": a transposed convolution of int32", n->name);
    FV_FORWARD(fv_plan_state(p, sizeof *s, (void **)&s));
    *s = (conv){.x = fv_plan_buffer(p, n->in[0]),
                .w = fv_plan_buffer(p, n->in[1]),
                .bias = n->in_count > 2 ? fv_plan_buffer(p, n->in[2]) : NULL,
                .y = fv_plan_buffer(p, n->out[0]),
                .g = geometry_of(&n->attr.nd, &y->shape, &x->shape),
                .run = x->dtype == FV_F32 ? transpose_f32 : transpose_f64};
    p->algorithm = "loops";
    p->flops = 2 * (double)fv_shape_count(&x->shape) * (double)s->g.taps * (double)(s->g.in_channels / s->g.groups);
    return fv_plan_phase(p, false, run_piece, s, s->g.images * s->g.in_channels);
}

static fv_status transpose_backward(fv_backward *b) {
    const fv_value x = b->node->in[0], w = b->node->in[1], dy = b->dout[0];
    if (b->wanted[0]) { /* the convolution that gives just x's sizes: padding behind makes them so */
        fv_attributes attr = b->node->attr;
        for (int32_t i = 0; i < attr.nd.count; i++) {
            const int64_t small = fv_emit_info(b->graph, x)->shape.dim[2 + i], large = attr.nd.c[4 + i];
            attr.nd.b[4 + i] =
                (small - 1) * attr.nd.b[i] + attr.nd.c[i] * (attr.nd.a[i] - 1) + 1 - large - attr.nd.a[4 + i];
        }
        b->din[0] = emit(b, &fv_op_nd_conv, dy, w, FV_NONE, &attr);
    }
    if (b->wanted[1]) b->din[1] = emit(b, &fv_op_nd_conv_grad_weight, x, dy, w, &b->node->attr);
    bias_gradient(b);
    return FV_OK;
}

const fv_op fv_op_nd_conv_transpose = {"nd_conv_transpose", 2, 3, 1, FV_OP_PLAIN, transpose_infer, transpose_plan,
                                       transpose_backward};

/* ---- the gradient of the weights: small side, large side, weights ---- */

static fv_status weight_infer(fv_node *n, fv_value_info *values) {
    fv_nd_infer(&values[n->out[0]], values[n->in[0]].dtype, &values[n->in[2]].shape);
    return FV_OK;
}

/* One kernel of the weights: taps of one pair of maps. */
static void weight_piece(const conv *s, size_t piece) {
    const geometry *g = &s->g;
    const size_t inputs = g->in_channels / g->groups, k = piece / inputs,
                 c = k / (g->out_channels / g->groups) * inputs + piece % inputs;
    for (size_t t = 0; t < g->taps; t++) {
        double sum = 0;
        for (size_t image = 0; image < g->images; image++) {
            const fv_real *dy = (const fv_real *)s->y->data + (image * g->out_channels + k) * g->out_pixels;
            const fv_real *x = (const fv_real *)s->x->data + (image * g->in_channels + c) * g->in_pixels;
            for (size_t pixel = 0; pixel < g->out_pixels; pixel++) {
                int64_t o[3];
                size_t at;
                pixel_of(g, pixel, o);
                if (place_of(g, o, t, &at)) sum += (double)dy[pixel] * x[at];
            }
        }
        ((fv_real *)s->w->data)[piece * g->taps + t] = (fv_real)sum;
    }
}

static fv_status weight_plan(fv_plan_op *p) {
    const fv_node *n = p->node;
    conv *s;
    FV_FORWARD(fv_plan_state(p, sizeof *s, (void **)&s));
    *s = (conv){.y = fv_plan_buffer(p, n->in[0]),
                .x = fv_plan_buffer(p, n->in[1]),
                .w = fv_plan_buffer(p, n->out[0]),
                .g = geometry_of(&n->attr.nd, &p->values[n->in[1]].shape, &p->values[n->in[0]].shape),
                .run = weight_piece};
    p->algorithm = "loops";
    p->flops = 2 * (double)fv_shape_count(&p->values[n->in[0]].shape) * (double)s->g.taps *
               (double)(s->g.in_channels / s->g.groups);
    return fv_plan_phase(p, false, run_piece, s, s->g.out_channels * (s->g.in_channels / s->g.groups));
}

const fv_op fv_op_nd_conv_grad_weight = {"nd_conv_grad_weight", 3, 3, 1, FV_OP_PLAIN, weight_infer, weight_plan, NULL};
