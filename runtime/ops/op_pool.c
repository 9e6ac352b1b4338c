/* pool: x (N,C,H,W) -> y, [index]. SPEC section 5. Its gradient: op_pool_grad.c. */
#include "ops/pool_plan.h"

static fv_status pool_infer(fv_node *n, fv_value_info *values) {
    const fv_shape *x = &values[n->in[0]].shape;
    fv_pool_attr *a = &n->attr.pool;
    FV_RETURN_IF(x->rank != 4, FV_ERR_SHAPE, "node \"%s\": pooling takes maps (N,C,H,W), got %s", n->name,
                 fv_shape_print(x).text);
    int64_t in[3];
    int32_t out[3];
    fv_map_size(x, in);
    for (int i = 0; i < 3 && a->global; i++) {
        FV_RETURN_IF(in[i] > INT32_MAX, FV_ERR_LIMIT, "node \"%s\": maps %s are too large", n->name,
                     fv_shape_print(x).text);
        a->window.kernel[i] = a->window.stride[i] = (int32_t)in[i];
        a->window.dilation[i] = 1;
        a->window.pad_before[i] = a->window.pad_after[i] = 0;
    }
    FV_RETURN_IF(a->kind == FV_POOL_LP && !(a->p >= 1 && a->p <= 1000), FV_ERR_ARGUMENT,
                 "node \"%s\": Lp pooling with p = %g, it must be 1 to 1000", n->name, (double)a->p);
    FV_RETURN_IF(a->kind == FV_POOL_WEIGHTED && !(a->sigma > 0 && a->sigma <= 1e6), FV_ERR_ARGUMENT,
                 "node \"%s\": weighted pooling with sigma %g, it must be positive", n->name, (double)a->sigma);
    FV_FORWARD(fv_window_resolve(n->name, &a->window, in, a->ceil_mode, out));
    for (int i = 0; i < 3; i++) {
        const int64_t extent = (int64_t)a->window.dilation[i] * (a->window.kernel[i] - 1) + 1;
        FV_RETURN_IF(a->window.pad_before[i] >= extent || a->window.pad_after[i] >= extent, FV_ERR_ARGUMENT,
                     "node \"%s\": padding (%d, %d) is not less than the window's extent %lld", n->name,
                     a->window.pad_before[i], a->window.pad_after[i], (long long)extent);
        FV_RETURN_IF(a->kind == FV_POOL_AVERAGE && a->window.dilation[i] != 1, FV_ERR_UNSUPPORTED,
                     "node \"%s\": average pooling with dilation", n->name);
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
    *d = (fv_pool_desc){.images = (int32_t)x->dim[0],
                        .channels = (int32_t)x->dim[1],
                        .count_padding = a->count_padding,
                        .places = a->places};
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

/* A Gaussian over the window along one axis, of sum 1. */
static void axis_weights(const fv_kernels *k, int32_t window, fv_real sigma, fv_real *w) {
    fv_real sum = 0;
    for (int32_t i = 0; i < window; i++) {
        const fv_real u = (fv_real)i - (fv_real)(window - 1) / 2;
        w[i] = -u * u / (2 * sigma * sigma);
    }
    k->pointwise.unary[FV_UNARY_EXP](w, w, (size_t)window, 0, 0);
    for (int32_t i = 0; i < window; i++) sum += w[i];
    for (int32_t i = 0; i < window; i++) w[i] /= sum;
}

void fv_pool_weights(const fv_kernels *k, const fv_pool_attr *a, fv_real *both, fv_real *y, fv_real *x) {
    axis_weights(k, a->window.kernel[1], a->sigma, y);
    axis_weights(k, a->window.kernel[2], a->sigma, x);
    for (int32_t i = 0; i < a->window.kernel[1] * a->window.kernel[2]; i++)
        both[i] = y[i / a->window.kernel[2]] * x[i % a->window.kernel[2]];
}

/* Two passes of one axis each cost less than half the products of one pass. Dilated windows stay whole: they are rare.
 */
static bool separable(const fv_pool_desc *d) {
    const int64_t rows = d->stride[1] < d->window[1] ? d->stride[1] : d->window[1];
    return (int64_t)d->window[1] * d->window[2] >= 2 * (d->window[2] * rows + d->window[1]);
}

static void one_axis(fv_pool_desc *d, int32_t axis, int32_t height_in, int32_t width_in, int32_t height_out,
                     int32_t width_out) {
    const int64_t in[3] = {1, height_in, width_in}, out[3] = {1, height_out, width_out};
    for (int a = 0; a < 3; a++) {
        d->in[a] = (int32_t)in[a];
        d->out[a] = (int32_t)out[a];
        if (a == axis) continue;
        d->window[a] = d->stride[a] = d->dilation[a] = 1;
        d->pad[a] = d->pad_after[a] = 0;
    }
    fv_map_pitch(in, d->channels, d->in_pitch);
    fv_map_pitch(out, d->channels, d->out_pitch);
}

static fv_status plan_weights(fv_plan_op *p, fv_pool_plan *s) {
    const fv_pool_attr *a = &p->node->attr.pool;
    const size_t height = (size_t)a->window.kernel[1], width = (size_t)a->window.kernel[2];
    size_t count, bytes;
    fv_real *w;
    FV_RETURN_IF(!fv_mul_size(height, width, &count) || !fv_mul_size(count + height + width, sizeof(fv_real), &bytes),
                 FV_ERR_LIMIT, "node \"%s\": the window is too large", p->node->name);
    FV_FORWARD(fv_plan_state(p, bytes, (void **)&w));
    fv_pool_weights(p->kernels, a, w, w + count, w + count + height);
    s->weight = w;
    s->weight_y = w + count;
    s->weight_x = w + count + height;
    s->separable = separable(&s->desc);
    p->algorithm = s->separable ? "weighted, two passes" : "weighted";
    if (!s->separable) return FV_OK;
    s->along_x = s->along_y = s->desc;
    one_axis(&s->along_x, 2, s->desc.in[1], s->desc.in[2], s->desc.in[1], s->desc.out[2]);
    one_axis(&s->along_y, 1, s->desc.in[1], s->desc.out[2], s->desc.out[1], s->desc.out[2]);
    fv_buffer *between;
    const size_t values =
        (size_t)s->desc.images * (size_t)s->desc.in[1] * (size_t)s->desc.out[2] * (size_t)s->desc.channels;
    FV_FORWARD(fv_plan_workspace(p, values * sizeof(fv_real), &between));
    s->between = between;
    p->flops = 2 * (double)values * (double)(width + height);
    return FV_OK;
}

fv_status fv_pool_plan_make(fv_plan_op *p, const fv_shape *x, const fv_shape *y, fv_pool_plan **out) {
    static const char *const names[] = {"max", "average", "lp", "weighted", "stride"};
    fv_pool_plan *s;
    FV_FORWARD(fv_plan_state(p, sizeof *s, (void **)&s));
    fv_pool_describe(&p->node->attr.pool, x, y, &s->desc);
    s->kernels = p->kernels;
    s->kind = p->node->attr.pool.kind;
    s->p = p->node->attr.pool.p;
    p->algorithm = names[s->kind];
    p->flops = (double)fv_shape_count(y) * s->desc.window[1] * s->desc.window[2];
    *out = s;
    return s->kind == FV_POOL_WEIGHTED ? plan_weights(p, s) : FV_OK;
}

/* Pixels of the output to pieces of about a run; of a window larger than one, the channels are cut too. */
static void cut_pieces(fv_pool_plan *s, bool by_channels) {
    const size_t channels = (size_t)s->desc.channels, window = (size_t)s->desc.window[1] * (size_t)s->desc.window[2];
    const size_t pixels = (size_t)s->desc.images * (size_t)s->desc.out[1] * (size_t)s->desc.out[2];
    s->pixels = pixels;
    s->chunk = fv_max_size(1, fv_rows_per_piece(channels) / window);
    s->block = by_channels ? fv_min_size(channels, fv_max_size(32, FV_RUN / window / 32 * 32)) : channels;
    s->blocks = fv_div_up(channels, fv_max_size(s->block, 1));
    s->pieces = fv_div_up(pixels, s->chunk) * s->blocks;
}

static void run_pool(void *arg, size_t piece, void *scratch) {
    (void)scratch;
    const fv_pool_plan *s = arg;
    const size_t at = piece / s->blocks, first = piece % s->blocks * s->block;
    const fv_range pixels = {at * s->chunk, fv_min_size((at + 1) * s->chunk, s->pixels)};
    const fv_real *x = (const fv_real *)s->in->data + first;
    fv_real *y = (fv_real *)s->out->data + first;
    fv_pool_desc d = s->desc;
    d.channels = (int32_t)fv_min_size(s->block, (size_t)d.channels - first);
    if (s->kind == FV_POOL_MAX)
        s->kernels->pool.max(&d, x, y, s->index ? s->index->data : NULL, pixels);
    else if (s->kind == FV_POOL_AVERAGE)
        s->kernels->pool.average(&d, x, y, pixels);
    else if (s->kind == FV_POOL_LP)
        s->kernels->pool.lp(&d, s->p, x, y, pixels);
    else
        s->kernels->pool.weighted(&d, s->weight, x, y, pixels);
}

/* Every r-th row: its columns are copied at a pitch. */
static void run_stride(void *arg, size_t piece, void *scratch) {
    (void)scratch;
    const fv_pool_plan *s = arg;
    const fv_pool_desc *d = &s->desc;
    const size_t end = fv_min_size((piece + 1) * s->chunk, s->pixels), width = (size_t)d->channels;
    for (size_t row = piece * s->chunk; row < end; row++) {
        const ptrdiff_t image = (ptrdiff_t)(row / (size_t)d->out[1]), y = (ptrdiff_t)(row % (size_t)d->out[1]);
        s->kernels->rows.copy((const fv_real *)s->in->data + image * d->in_pitch[0] + y * d->stride[1] * d->in_pitch[2],
                              d->stride[2] * d->in_pitch[3],
                              (fv_real *)s->out->data + image * d->out_pitch[0] + y * d->out_pitch[2], d->out_pitch[3],
                              width, (size_t)d->out[2]);
    }
}

void fv_pool_run_pass(const fv_pool_plan *s, const fv_pool_desc *d, const fv_real *weight, bool back, const void *from,
                      void *to, size_t piece) {
    const size_t rows = (size_t)d->images * (size_t)(back ? d->in[1] : d->out[1]),
                 width = (size_t)(back ? d->in[2] : d->out[2]);
    const size_t chunk = fv_rows_per_piece(width * (size_t)d->channels);
    const fv_range pixels = {piece * chunk * width, fv_min_size((piece + 1) * chunk, rows) * width};
    if (back)
        s->kernels->pool.weighted_grad(d, weight, from, to, pixels);
    else
        s->kernels->pool.weighted(d, weight, from, to, pixels);
}

size_t fv_pool_pass_pieces(const fv_pool_desc *d, bool back) {
    const size_t rows = (size_t)d->images * (size_t)(back ? d->in[1] : d->out[1]),
                 width = (size_t)(back ? d->in[2] : d->out[2]);
    return fv_div_up(rows, fv_rows_per_piece(width * (size_t)d->channels));
}

static void run_along_x(void *arg, size_t piece, void *scratch) {
    (void)scratch;
    const fv_pool_plan *s = arg;
    fv_pool_run_pass(s, &s->along_x, s->weight_x, false, s->in->data, s->between->data, piece);
}

static void run_along_y(void *arg, size_t piece, void *scratch) {
    (void)scratch;
    const fv_pool_plan *s = arg;
    fv_pool_run_pass(s, &s->along_y, s->weight_y, false, s->between->data, s->out->data, piece);
}

static fv_status pool_plan(fv_plan_op *p) {
    const fv_node *n = p->node;
    fv_pool_plan *s;
    FV_FORWARD(fv_pool_plan_make(p, &p->values[n->in[0]].shape, &p->values[n->out[0]].shape, &s));
    s->in = fv_plan_buffer(p, n->in[0]);
    s->out = fv_plan_buffer(p, n->out[0]);
    s->index = n->out_count > 1 ? fv_plan_buffer(p, n->out[1]) : NULL;
    if (s->separable) {
        FV_FORWARD(fv_plan_phase(p, false, run_along_x, s, fv_pool_pass_pieces(&s->along_x, false)));
        return fv_plan_phase(p, false, run_along_y, s, fv_pool_pass_pieces(&s->along_y, false));
    }
    if (s->kind == FV_POOL_STRIDE) {
        s->pixels = (size_t)s->desc.images * (size_t)s->desc.out[1];
        s->chunk = fv_rows_per_piece((size_t)s->desc.out[2] * (size_t)s->desc.channels);
        return fv_plan_phase(p, false, run_stride, s, fv_div_up(s->pixels, s->chunk));
    }
    cut_pieces(s, !s->index);
    return fv_plan_phase(p, false, run_pool, s, s->pieces);
}

static fv_status pool_backward(fv_backward *b) {
    const fv_node *n = b->node;
    const bool max = n->attr.pool.kind == FV_POOL_MAX, lp = n->attr.pool.kind == FV_POOL_LP;
    const fv_value in[3] = {b->dout[0], n->in[0], max ? n->out[1] : lp ? n->out[0] : FV_NONE};
    FV_RETURN_IF(max && n->out[1] == FV_NONE, FV_ERR_STATE, "node \"%s\": max pooling was planned without its index",
                 n->name);
    b->din[0] = fv_emit_node(b->graph, &fv_op_pool_grad, in, max || lp ? 3 : 2, 1, &n->attr);
    return FV_OK;
}

const fv_op fv_op_pool = {"pool", 1, 1, 2, 0, pool_infer, pool_plan, pool_backward};
