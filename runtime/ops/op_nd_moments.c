/* nd_moments: x -> mean, variance (of the whole, not a sample) over the axes of attr.nd.mode, a bit each; keep: those
 * axes stay with size 1. Sums are taken in double, in the order of x's memory: the variance from the differences to the
 * mean. */
#include "kernels/half.h"
#include "ops/nd_pointwise.h"

typedef struct moments {
    fv_nd_rows kept; /* x, then the mean; the variance lies as the mean does */
    fv_nd_loop reduced;
    const fv_buffer *variance; /* NULL: nobody asks */
    size_t count;
    fv_dtype dtype;
} moments;

enum { COLUMNS = 64 };

static fv_status moments_infer(fv_node *n, fv_value_info *values) {
    const fv_value_info x = values[n->in[0]];
    FV_RETURN_IF(!fv_nd_is_floating(x.dtype), FV_ERR_UNSUPPORTED, "node \"%s\": moments of %s", n->name,
                 fv_dtype_name(x.dtype));
    fv_shape y = {0};
    for (int32_t i = 0; i < x.shape.rank; i++)
        if (!(n->attr.nd.mode >> i & 1))
            y.dim[y.rank++] = x.shape.dim[i];
        else if (n->attr.nd.keep)
            y.dim[y.rank++] = 1;
    for (int i = 0; i < 2; i++)
        if (n->out[i] != FV_NONE) {
            fv_nd_infer(&values[n->out[i]], x.dtype, &y);
            if (y.rank == x.shape.rank) values[n->out[i]].layout = x.layout;
        }
    return FV_OK;
}

/* sum[i] += of column i: the elements (mean NULL), or the squares of their differences to mean[i]. */
static void add_up(const moments *s, const char *x, size_t width, const double *mean, double *sum) {
    const fv_nd_loop *r = &s->reduced;
    const ptrdiff_t step = s->kept.loop.step[0];
    for (size_t row = 0; row < r->rows; row++) {
        ptrdiff_t offset[FV_ND_OPERANDS];
        fv_nd_row(r, row, offset);
        for (size_t k = 0; k < r->length; k++) {
            const ptrdiff_t at = offset[0] + (ptrdiff_t)k * r->step[0];
            for (size_t i = 0; i < width; i++) {
                const double v = fv_nd_floating(s->dtype, x, at + (ptrdiff_t)i * step) - (mean ? mean[i] : 0);
                sum[i] += mean ? v * v : v;
            }
        }
    }
}

static void run_moments(void *arg, size_t piece, void *scratch) {
    (void)scratch;
    const moments *s = arg;
    const ptrdiff_t size = (ptrdiff_t)s->kept.bytes[0];
    FV_ND_EACH_ROW(&s->kept, piece, at, count, {
        for (size_t first = 0; first < count; first += COLUMNS) {
            const size_t width = fv_min_size(COLUMNS, count - first);
            const char *x = at[0] + (ptrdiff_t)first * s->kept.loop.step[0] * size;
            const ptrdiff_t to = (at[1] - (char *)s->kept.buffer[1]->data) / size + (ptrdiff_t)first;
            double mean[COLUMNS] = {0}, square[COLUMNS] = {0};
            add_up(s, x, width, NULL, mean);
            for (size_t i = 0; i < width; i++) mean[i] /= (double)s->count;
            if (s->variance) add_up(s, x, width, mean, square);
            for (size_t i = 0; i < width; i++) {
                fv_nd_set_floating(s->dtype, s->kept.buffer[1]->data, to + (ptrdiff_t)i, mean[i]);
                if (s->variance)
                    fv_nd_set_floating(s->dtype, s->variance->data, to + (ptrdiff_t)i, square[i] / (double)s->count);
            }
        }
    });
}

static fv_status moments_plan(fv_plan_op *p) {
    const fv_node *n = p->node;
    const fv_value_info *x = &p->values[n->in[0]], *y = &p->values[n->out[0]];
    ptrdiff_t stride[FV_ND_OPERANDS][FV_MAX_RANK] = {{0}}, made[FV_MAX_RANK] = {0};
    int32_t order[FV_MAX_RANK];
    fv_shape kept = x->shape, reduced = x->shape;
    moments *s;
    FV_FORWARD(fv_plan_state(p, sizeof *s, (void **)&s));
    fv_nd_strides(&x->shape, x->layout, stride[0]);
    fv_nd_strides(&y->shape, y->layout, made);
    for (int32_t i = 0, k = 0; i < x->shape.rank; i++) {
        const bool goes = n->attr.nd.mode >> i & 1;
        *(goes ? &kept.dim[i] : &reduced.dim[i]) = 1;
        if (!goes || n->attr.nd.keep) stride[1][i] = made[k++];
    }
    fv_nd_order(x->shape.rank, y->layout, order);
    fv_nd_loop_make(&s->kept.loop, &kept, 2, stride, order);
    fv_nd_order(x->shape.rank, x->layout, order);
    fv_nd_loop_make(&s->reduced, &reduced, 1, stride, order);
    s->count = fv_shape_count(&reduced);
    s->kept.cut = fv_nd_cut_make(&s->kept.loop);
    if (s->kept.loop.length) { /* rows by what they read */
        const size_t work = s->kept.loop.length * fv_max_size(1, s->count);
        s->kept.cut =
            (fv_nd_cut){.rows_per_piece = fv_rows_per_piece(work), .pieces_per_row = s->kept.cut.pieces_per_row};
        s->kept.cut.pieces = fv_div_up(s->kept.loop.rows, s->kept.cut.rows_per_piece) * s->kept.cut.pieces_per_row;
    }
    s->kept.buffer[0] = fv_plan_buffer(p, n->in[0]);
    s->kept.buffer[1] = fv_plan_buffer(p, n->out[0]);
    s->kept.bytes[0] = s->kept.bytes[1] = fv_dtype_bytes(x->dtype);
    s->variance = fv_plan_buffer(p, n->out[1]);
    s->dtype = x->dtype;
    p->algorithm = "sums";
    p->flops = 4 * (double)fv_shape_count(&x->shape);
    return fv_plan_phase(p, false, run_moments, s, s->kept.cut.pieces);
}

static fv_value emit(fv_backward *b, const fv_op *op, int32_t kind, fv_value x, fv_value y, double alpha) {
    const fv_value in[2] = {x, y};
    const fv_attributes attr = {.nd = {.kind = kind, .alpha = alpha}};
    return x == FV_NONE ? FV_NONE : fv_emit_node(b->graph, op, in, y == FV_NONE ? 1 : 2, 1, &attr);
}

/* A moment with its axes, of size 1. */
static fv_value kept(fv_backward *b, fv_value v) {
    fv_shape shape = fv_emit_info(b->graph, b->node->in[0])->shape;
    for (int32_t i = 0; i < shape.rank; i++)
        if (b->node->attr.nd.mode >> i & 1) shape.dim[i] = 1;
    return b->node->attr.nd.keep ? v : fv_emit_reshape(b->graph, v, &shape);
}

/* dx = dmean / n + dvariance * 2 (x - mean) / n. */
static fv_status moments_backward(fv_backward *b) {
    const fv_node *n = b->node;
    const fv_shape x = fv_emit_info(b->graph, n->in[0])->shape;
    double count = 1;
    for (int32_t i = 0; i < x.rank; i++)
        if (n->attr.nd.mode >> i & 1) count *= (double)x.dim[i];
    FV_RETURN_IF(count == 0, FV_ERR_UNSUPPORTED,
                 "node \"%s\": moments over the open batch have no gradient; export it with a fixed batch", n->name);
    fv_value sum;
    if (b->dout[1] != FV_NONE) {
        const fv_value centred = emit(b, &fv_op_nd_binary, FV_ND_SUB, n->in[0], kept(b, n->out[0]), 0);
        sum = emit(b, &fv_op_nd_binary, FV_ND_MUL, centred,
                   emit(b, &fv_op_nd_unary, FV_ND_LINEAR, kept(b, b->dout[1]), FV_NONE, 2 / count), 0);
    } else {
        sum = emit(b, &fv_op_nd_binary, FV_ND_SUB, n->in[0], n->in[0], 0); /* zeros of x's shape */
    }
    if (b->dout[0] != FV_NONE)
        sum = emit(b, &fv_op_nd_binary, FV_ND_ADD, sum,
                   emit(b, &fv_op_nd_unary, FV_ND_LINEAR, kept(b, b->dout[0]), FV_NONE, 1 / count), 0);
    b->din[0] = sum;
    return FV_OK;
}

const fv_op fv_op_nd_moments = {"nd_moments", 1, 1, 2, FV_OP_ANY_LAYOUT, moments_infer, moments_plan, moments_backward};
