/* resize: x -> y of the sizes a, by nearest neighbours (any type), linearly or cubically (real), axis by axis: attr.nd as
 * nd_resize.h says. resize_grad: dy, x (shape only) -> dx. */
#include "ops/nd_resize.h"
#include "ops/nd_taps.h"
#include "ops/nd_type.h"

#include <math.h>

/* ---- coordinates ---- */

/* Where element i of `out` lies on an axis of `in`. */
static double place_of(const fv_nd_attr *a, int32_t axis, int64_t i, int64_t in, int64_t out) {
    const double scale = fv_resize_scale(a, axis), width = scale * (double)in, x = (double)i;
    float region[2];
    switch (a->mode & 15) {
    case FV_RESIZE_HALF_PIXEL:
        return (x + 0.5) / scale - 0.5;
    case FV_RESIZE_HALF_PIXEL_SYMMETRIC:
        return (double)in / 2 * (1 - (double)out / width) + (x + 0.5) / scale - 0.5;
    case FV_RESIZE_PYTORCH_HALF_PIXEL:
        return out > 1 ? (x + 0.5) / scale - 0.5 : 0;
    case FV_RESIZE_ALIGN_CORNERS:
        return width == 1 || out == 1 ? 0 : x * (double)(in - 1) / (width - 1);
    case FV_RESIZE_ASYMMETRIC:
        return x / scale;
    case FV_RESIZE_TF_HALF_PIXEL_FOR_NN:
        return (x + 0.5) / scale;
    default:
        fv_resize_region(a, axis, region);
        if (out == 1) return 0.5 * ((double)region[0] + (double)region[1]) * (double)(in - 1);
        return ((double)region[0] + x * ((double)region[1] - (double)region[0]) / (double)(out - 1)) * (double)(in - 1);
    }
}

static bool is_outside(const fv_nd_attr *a, double x, int64_t in) {
    return (a->mode & 15) == FV_RESIZE_TF_CROP_AND_RESIZE && (x < 0 || x > (double)(in - 1));
}

static int64_t clamp(double x, int64_t size) { return !(x > 0) ? 0 : x > (double)(size - 1) ? size - 1 : (int64_t)x; }

static int32_t nearest(const fv_nd_attr *a, int32_t axis, double x, int64_t in) {
    const double low = floor(x), high = ceil(x);
    double at;
    switch (a->mode >> 4) {
    case FV_RESIZE_ROUND_PREFER_FLOOR:
        at = x - low > 0.5 ? high : low;
        break;
    case FV_RESIZE_ROUND_PREFER_CEIL:
        at = x - low < 0.5 ? low : low + 1;
        break;
    case FV_RESIZE_FLOOR:
        at = low;
        break;
    case FV_RESIZE_CEIL:
        at = high;
        break;
    default:
        at = fv_resize_scale(a, axis) < 1 ? high : low;
        break;
    }
    return (int32_t)clamp(at, in);
}

/* ---- weights ---- */

static double weight(const fv_nd_attr *a, double distance) {
    const double x = fabs(distance), k = a->alpha;
    if (a->kind == FV_RESIZE_LINEAR) return x < 1 ? 1 - x : 0;
    if (x <= 1) return ((k + 2) * x - (k + 3)) * x * x + 1;
    return x < 2 ? ((k * x - 5 * k) * x + 8 * k) * x - 4 * k : 0;
}

/* The taps of element i, at most `most`; returns how many. */
static int32_t element_taps(const fv_nd_attr *a, int32_t axis, int64_t i, int64_t in, int64_t out, int32_t *index,
                            fv_real *weights) {
    const double x = place_of(a, axis, i, in, out),
                 scale = a->flag && fv_resize_scale(a, axis) < 1 ? fv_resize_scale(a, axis) : 1;
    const double reach = (a->kind == FV_RESIZE_LINEAR ? 1 : 2) / scale;
    double sum = 0;
    int32_t count = 0;
    if (is_outside(a, x, in)) return 0;
    for (double j = ceil(x - reach); j <= floor(x + reach); j++)
        if (!a->keep || (j >= 0 && j < (double)in)) sum += weight(a, (j - x) * scale);
    if (!a->keep && !a->flag) sum = 1;
    for (double j = ceil(x - reach); j <= floor(x + reach); j++) {
        const double w = weight(a, (j - x) * scale);
        if (w == 0 || (a->keep && (j < 0 || j >= (double)in))) continue;
        index[count] = (int32_t)clamp(j, in);
        weights[count++] = (fv_real)(sum != 0 ? w / sum : 0);
    }
    return count;
}

static fv_status make_taps(fv_plan_op *p, const fv_nd_attr *a, int32_t axis, int64_t in, int64_t out, fv_nd_taps *t) {
    const double scale = a->flag && fv_resize_scale(a, axis) < 1 ? fv_resize_scale(a, axis) : 1;
    const size_t most = (size_t)(4 / scale) + 3;
    size_t room;
    FV_RETURN_IF(!fv_mul_size(most, (size_t)out, &room) || room > INT32_MAX, FV_ERR_LIMIT, "node \"%s\": axis %d shrinks too far",
                 p->node->name, axis);
    FV_FORWARD(fv_nd_taps_make(p, out, room, t));
    for (int64_t i = 0; i < out; i++) {
        const int32_t at = t->first[i];
        if (a->kind != FV_RESIZE_NEAREST) {
            t->first[i + 1] = at + element_taps(a, axis, i, in, out, t->index + at, t->weight + at);
            continue;
        }
        const double x = place_of(a, axis, i, in, out);
        t->first[i + 1] = at + !is_outside(a, x, in);
        t->index[at] = nearest(a, axis, x, in);
        t->weight[at] = 1;
    }
    return FV_OK;
}

static bool stays(const fv_nd_attr *a, int32_t axis, int64_t in, int64_t out) {
    return in == out && fv_resize_scale(a, axis) == 1 && (a->mode & 15) != FV_RESIZE_TF_CROP_AND_RESIZE &&
           (a->mode & 15) != FV_RESIZE_TF_HALF_PIXEL_FOR_NN;
}

/* ---- what stands outside a cropped region ---- */

typedef struct fringe {
    const fv_buffer *y;
    uint8_t *outside[FV_MAX_RANK]; /* NULL: none on this axis */
    fv_shape shape;
    ptrdiff_t stride[FV_MAX_RANK];
    size_t rows, rows_per_piece;
    fv_real value;
} fringe;

static void run_fringe(void *arg, size_t piece, void *scratch) {
    (void)scratch;
    const fringe *s = arg;
    const int32_t last = s->shape.rank - 1;
    for (size_t row = piece * s->rows_per_piece, end = fv_min_size(row + s->rows_per_piece, s->rows); row < end; row++) {
        size_t rest = row;
        ptrdiff_t at = 0;
        bool outside = false;
        for (int32_t k = last; k-- > 0;) {
            const size_t i = rest % (size_t)s->shape.dim[k];
            rest /= (size_t)s->shape.dim[k];
            at += (ptrdiff_t)i * s->stride[k];
            outside = outside || (s->outside[k] && s->outside[k][i]);
        }
        for (int64_t i = 0; i < s->shape.dim[last]; i++)
            if (outside || (s->outside[last] && s->outside[last][i]))
                ((fv_real *)s->y->data)[at + i * s->stride[last]] = s->value;
    }
}

static fv_status plan_fringe(fv_plan_op *p, const fv_shape *x) {
    const fv_nd_attr *a = &p->node->attr.nd;
    const fv_value_info *y = &p->values[p->node->out[0]];
    fringe *s;
    if ((a->mode & 15) != FV_RESIZE_TF_CROP_AND_RESIZE || a->beta == 0 || y->dtype != FV_REAL_DTYPE) return FV_OK;
    if (y->shape.rank == 0 || fv_shape_count(&y->shape) == 0) return FV_OK;
    FV_FORWARD(fv_plan_state(p, sizeof *s, (void **)&s));
    *s = (fringe){.y = fv_plan_buffer(p, p->node->out[0]), .shape = y->shape, .rows = 1, .value = (fv_real)a->beta};
    fv_nd_strides(&y->shape, y->layout, s->stride);
    for (int32_t k = 0; k < y->shape.rank; k++) {
        if (k + 1 < y->shape.rank) s->rows *= (size_t)y->shape.dim[k];
        FV_FORWARD(fv_plan_state(p, (size_t)y->shape.dim[k], (void **)&s->outside[k]));
        for (int64_t i = 0; i < y->shape.dim[k]; i++)
            s->outside[k][i] = is_outside(a, place_of(a, k, i, x->dim[k], y->shape.dim[k]), x->dim[k]);
    }
    s->rows_per_piece = fv_rows_per_piece((size_t)y->shape.dim[y->shape.rank - 1]);
    return fv_plan_phase(p, false, run_fringe, s, fv_div_up(s->rows, s->rows_per_piece));
}

/* ---- the operator ---- */

static fv_status resize_infer(fv_node *n, fv_value_info *values) {
    const fv_nd_attr *a = &n->attr.nd;
    const fv_value_info x = values[n->in[0]];
    fv_shape y = x.shape;
    FV_RETURN_IF(a->count != y.rank, FV_ERR_SHAPE, "node \"%s\": %d sizes for %s", n->name, a->count, fv_shape_print(&y).text);
    FV_RETURN_IF(a->kind != FV_RESIZE_NEAREST && x.dtype != FV_REAL_DTYPE, FV_ERR_UNSUPPORTED,
                 "node \"%s\": %s is interpolated; only float32 is", n->name, fv_dtype_name(x.dtype));
    for (int32_t k = 0; k < y.rank; k++) {
        const double scale = fv_resize_scale(a, k);
        float region[2];
        fv_resize_region(a, k, region);
        FV_RETURN_IF(!(scale > 1e-9 && scale < 1e9) || a->a[k] < 0 || a->a[k] > INT32_MAX || !isfinite(region[0]) ||
                         !isfinite(region[1]),
                     FV_ERR_SHAPE, "node \"%s\": axis %d of %s scaled by %g to %lld", n->name, k, fv_shape_print(&x.shape).text,
                     scale, (long long)a->a[k]);
        FV_RETURN_IF(y.dim[k] == 0 && a->a[k] > 0 && k > 0, FV_ERR_SHAPE, "node \"%s\": axis %d of %s has nothing to enlarge",
                     n->name, k, fv_shape_print(&x.shape).text);
        if (!(stays(a, k, 1, 1) && (a->a[k] == 0 || a->a[k] == y.dim[k]))) y.dim[k] = a->a[k];
    }
    fv_nd_infer_maps(&values[n->out[0]], x.dtype, &y, x.layout);
    return FV_OK;
}

static fv_status resize_plan(fv_plan_op *p) {
    const fv_nd_attr *a = &p->node->attr.nd;
    const fv_value in = p->node->in[0], out = p->node->out[0];
    const fv_shape *x = &p->values[in].shape, *y = &p->values[out].shape;
    fv_nd_taps taps[FV_MAX_RANK] = {{0}};
    fv_nd_map map = {{NULL}};
    for (int32_t k = 0; k < x->rank && a->kind != FV_RESIZE_NEAREST; k++)
        if (!stays(a, k, x->dim[k], y->dim[k])) FV_FORWARD(make_taps(p, a, k, x->dim[k], y->dim[k], &taps[k]));
    if (a->kind != FV_RESIZE_NEAREST) {
        FV_FORWARD(fv_nd_taps_plan(p, in, out, taps));
        return plan_fringe(p, x);
    }
    FV_FORWARD(fv_nd_map_make(p, y, &map));
    for (int32_t k = 0; k < x->rank; k++)
        for (int64_t i = 0; i < y->dim[k] && !stays(a, k, x->dim[k], y->dim[k]); i++) {
            const double at = place_of(a, k, i, x->dim[k], y->dim[k]);
            map.table[k][i] = is_outside(a, at, x->dim[k]) ? -1 : nearest(a, k, at, x->dim[k]);
        }
    FV_FORWARD(fv_nd_map_plan(p, in, out, &map, NULL));
    return plan_fringe(p, x);
}

static fv_status resize_backward(fv_backward *b) {
    const fv_value in[2] = {b->dout[0], b->node->in[0]};
    b->din[0] = fv_emit_node(b->graph, &fv_op_resize_grad, in, 2, 1, &b->node->attr);
    return FV_OK;
}

const fv_op fv_op_resize = {"resize", 1, 1, 1, FV_OP_ANY_LAYOUT, resize_infer, resize_plan, resize_backward};

static fv_status resize_grad_plan(fv_plan_op *p) {
    const fv_nd_attr *a = &p->node->attr.nd;
    const fv_shape *y = &p->values[p->node->in[0]].shape, *x = &p->values[p->node->in[1]].shape;
    fv_nd_taps taps[FV_MAX_RANK] = {{0}};
    for (int32_t k = 0; k < x->rank; k++) {
        fv_nd_taps forward;
        if (stays(a, k, x->dim[k], y->dim[k])) continue;
        FV_FORWARD(make_taps(p, a, k, x->dim[k], y->dim[k], &forward));
        FV_FORWARD(fv_nd_taps_transpose(p, &forward, y->dim[k], x->dim[k], &taps[k]));
    }
    return fv_nd_taps_plan(p, p->node->in[0], p->node->out[0], taps);
}

const fv_op fv_op_resize_grad = {"resize_grad", 2, 2, 1, FV_OP_ANY_LAYOUT, fv_nd_infer_back, resize_grad_plan, NULL};
