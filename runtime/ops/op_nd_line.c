/* What goes along the lines of one axis, a[0] of every attr.nd here; each line is one thread's.
 * arg: x -> index int64 of the largest (kind 0) or smallest (1), the first of equal ones or with flag the last; NaN counts as
 * both; keep. top_k: x -> the b[0] largest (kind 0) or smallest (1) in order, index int64; of equal ones the first. cumsum: x ->
 * sums of what comes before, this element with it, or with keep (exclusive) without; flag: from the end. reverse_sequence: x,
 * lengths -> the first lengths[b] of each line reversed; the batch is axis b[0]. */
#include "ops/nd_copy.h"
#include "ops/nd_heap.h"
#include "ops/nd_reduce.h"
#include "ops/nd_type.h"

typedef struct line {
    fv_nd_loop outer; /* operands: y, x; length and step of a row are those of one line's neighbours */
    fv_nd_cut cut;
    const fv_buffer *x, *y, *other; /* other: indices, lengths */
    size_t count;                   /* along a line of x */
    ptrdiff_t x_step, y_step;
    fv_dtype type, other_type;
    int32_t kind;
    bool flag, keep;
    size_t k;
} line;

typedef void (*line_fn)(const line *s, ptrdiff_t x, ptrdiff_t y, void *scratch);

/* Lines of x along `axis` and where each begins in y, whose axis of that number may be missing (not kept). */
static void lay_lines(line *s, const fv_plan_op *p, int32_t axis, bool kept) {
    const fv_value_info *x = &p->values[p->node->in[0]], *y = &p->values[p->node->out[0]];
    ptrdiff_t stride[2][FV_MAX_RANK] = {{0}}, own[FV_MAX_RANK] = {0};
    int32_t order[FV_MAX_RANK], at = 0;
    fv_shape outer = x->shape;
    fv_nd_strides(&y->shape, y->layout, own);
    fv_nd_strides(&x->shape, x->layout, stride[1]);
    for (int32_t i = 0; i < outer.rank; i++) {
        stride[0][i] = i == axis && !kept ? 0 : own[at];
        at += i != axis || kept;
    }
    *s = (line){.x = fv_plan_buffer(p, p->node->in[0]),
                .y = fv_plan_buffer(p, p->node->out[0]),
                .count = (size_t)outer.dim[axis],
                .x_step = stride[1][axis],
                .y_step = stride[0][axis],
                .type = x->dtype,
                .kind = p->node->attr.nd.kind,
                .flag = p->node->attr.nd.flag,
                .keep = p->node->attr.nd.keep};
    outer.dim[axis] = 1;
    fv_nd_order(outer.rank, x->layout, order);
    fv_nd_loop_make(&s->outer, &outer, 2, stride, order);
    s->cut = fv_nd_cut_make(&s->outer);
    s->cut.rows_per_piece = fv_rows_per_piece(s->outer.length * fv_max_size(s->count, 1));
    s->cut.pieces = s->outer.length ? fv_div_up(s->outer.rows, s->cut.rows_per_piece) * s->cut.pieces_per_row : 0;
}

static void over_lines(const line *s, size_t piece, void *scratch, line_fn each) {
    const fv_nd_piece at = fv_nd_piece_of(&s->outer, &s->cut, piece);
    for (size_t row = at.first_row; row < at.end_row; row++) {
        ptrdiff_t o[FV_ND_OPERANDS];
        fv_nd_row(&s->outer, row, o);
        for (size_t i = at.columns.begin; i < at.columns.end; i++)
            each(s, o[1] + (ptrdiff_t)i * s->outer.step[1], o[0] + (ptrdiff_t)i * s->outer.step[0], scratch);
    }
}

static fv_status axis_of(const fv_node *n, const fv_shape *x, int32_t *axis) {
    return fv_nd_axis(n->name, n->attr.nd.a[0], x->rank, false, axis);
}

/* ---- arg ---- */

static fv_status arg_infer(fv_node *n, fv_value_info *values) {
    const fv_value_info x = values[n->in[0]];
    int32_t axis;
    FV_FORWARD(axis_of(n, &x.shape, &axis));
    FV_RETURN_IF(!fv_nd_is_number(x.dtype), FV_ERR_UNSUPPORTED, "node \"%s\": the largest of %s", n->name,
                 fv_dtype_name(x.dtype));
    FV_RETURN_IF(x.shape.dim[axis] == 0, FV_ERR_SHAPE, "node \"%s\": the largest of none: axis %d of %s", n->name, axis,
                 fv_shape_print(&x.shape).text);
    const fv_shape y = fv_nd_reduced(&x.shape, 1u << axis, n->attr.nd.keep);
    fv_nd_infer(&values[n->out[0]], FV_I64, &y);
    return FV_OK;
}

static size_t arg_real(const fv_real *x, ptrdiff_t step, size_t n, bool least, bool last) {
    size_t best = 0;
    fv_real kept = x[0];
    for (size_t i = 1; i < n && kept == kept; i++) {
        const fv_real v = x[(ptrdiff_t)i * step];
        if ((least ? v < kept : v > kept) || v != v || (last && v == kept)) kept = v, best = i;
    }
    return best;
}

static void arg_line(const line *s, ptrdiff_t x, ptrdiff_t y, void *scratch) {
    (void)scratch;
    int64_t *out = (int64_t *)s->y->data + y;
    if (s->type == FV_REAL_DTYPE) {
        *out = (int64_t)arg_real((const fv_real *)s->x->data + x, s->x_step, s->count, s->kind == 1, s->flag);
        return;
    }
    size_t best = 0;
    int64_t kept = fv_nd_key(s->type, s->x->data, x);
    for (size_t i = 1; i < s->count; i++) {
        const int64_t v = fv_nd_key(s->type, s->x->data, x + (ptrdiff_t)i * s->x_step);
        if ((s->kind == 1 ? v < kept : v > kept) || (s->flag && v == kept)) kept = v, best = i;
    }
    *out = (int64_t)best;
}

static void run_arg(void *arg, size_t piece, void *scratch) { over_lines(arg, piece, scratch, arg_line); }

static fv_status arg_plan(fv_plan_op *p) {
    int32_t axis;
    line *s;
    FV_FORWARD(axis_of(p->node, &p->values[p->node->in[0]].shape, &axis));
    FV_FORWARD(fv_plan_state(p, sizeof *s, (void **)&s));
    lay_lines(s, p, axis, p->node->attr.nd.keep);
    p->algorithm = "search";
    return fv_plan_phase(p, false, run_arg, s, s->cut.pieces);
}

const fv_op fv_op_arg = {"arg", 1, 1, 1, FV_OP_ANY_LAYOUT | FV_OP_NO_GRADIENT, arg_infer, arg_plan, NULL};

/* ---- top k ---- */

static fv_status top_k_infer(fv_node *n, fv_value_info *values) {
    const fv_value_info x = values[n->in[0]];
    const int64_t k = n->attr.nd.b[0];
    int32_t axis;
    FV_FORWARD(axis_of(n, &x.shape, &axis));
    FV_RETURN_IF(!fv_nd_is_number(x.dtype), FV_ERR_UNSUPPORTED, "node \"%s\": the largest of %s", n->name,
                 fv_dtype_name(x.dtype));
    FV_RETURN_IF(k < 0 || k > x.shape.dim[axis], FV_ERR_SHAPE, "node \"%s\": the %lld largest on axis %d of %s", n->name,
                 (long long)k, axis, fv_shape_print(&x.shape).text);
    fv_shape y = x.shape;
    y.dim[axis] = k;
    fv_nd_infer(&values[n->out[0]], x.dtype, &y);
    if (n->out[1] != FV_NONE) fv_nd_infer(&values[n->out[1]], FV_I64, &y);
    return FV_OK;
}

static void top_k_line(const line *s, ptrdiff_t x, ptrdiff_t y, void *scratch) {
    fv_nd_place *heap = scratch;
    const ptrdiff_t element = (ptrdiff_t)fv_dtype_bytes(s->type);
    for (size_t i = 0; i < s->count; i++) {
        const int64_t key = fv_nd_key(s->type, s->x->data, x + (ptrdiff_t)i * s->x_step);
        heap[i] = (fv_nd_place){s->kind == 1 ? ~key : key, i};
    }
    fv_nd_heap_make(heap, s->count);
    for (size_t i = 0; i < s->k; i++) {
        const fv_nd_place first = fv_nd_heap_take(heap, s->count - i);
        const ptrdiff_t from = x + (ptrdiff_t)first.index * s->x_step, to = y + (ptrdiff_t)i * s->y_step;
        fv_nd_copy_row((const char *)s->x->data + from * element, 1, (char *)s->y->data + to * element, 1, 1, (size_t)element);
        if (s->other) ((int64_t *)s->other->data)[to] = (int64_t)first.index;
    }
}

static void run_top_k(void *arg, size_t piece, void *scratch) { over_lines(arg, piece, scratch, top_k_line); }

static fv_status top_k_plan(fv_plan_op *p) {
    int32_t axis;
    line *s;
    FV_FORWARD(axis_of(p->node, &p->values[p->node->in[0]].shape, &axis));
    FV_FORWARD(fv_plan_state(p, sizeof *s, (void **)&s));
    lay_lines(s, p, axis, true);
    s->other = fv_plan_buffer(p, p->node->out[1]);
    s->k = (size_t)p->node->attr.nd.b[0];
    fv_plan_scratch(p, (s->count + 1) * sizeof(fv_nd_place));
    p->algorithm = "heap";
    return s->k ? fv_plan_phase(p, false, run_top_k, s, s->cut.pieces) : FV_OK;
}

static fv_status top_k_backward(fv_backward *b) {
    const fv_value in[3] = {b->node->in[0], b->node->out[1], b->dout[0]};
    const fv_attributes attr = {.nd = {.kind = FV_SCATTER_ADD, .a = {b->node->attr.nd.a[0]}, .flag = true}};
    FV_RETURN_IF(in[1] == FV_NONE, FV_ERR_UNSUPPORTED, "node \"%s\": without its indices it has no gradient", b->node->name);
    b->din[0] = fv_emit_node(b->graph, &fv_op_scatter_elements, in, 3, 1, &attr);
    return FV_OK;
}

const fv_op fv_op_top_k = {"top_k", 1, 1, 2, FV_OP_PLAIN, top_k_infer, top_k_plan, top_k_backward};

/* ---- running sums ---- */

static fv_status cumsum_infer(fv_node *n, fv_value_info *values) {
    const fv_value_info x = values[n->in[0]];
    int32_t axis;
    FV_FORWARD(axis_of(n, &x.shape, &axis));
    FV_RETURN_IF(!fv_nd_is_number(x.dtype), FV_ERR_UNSUPPORTED, "node \"%s\": sums of %s", n->name, fv_dtype_name(x.dtype));
    fv_infer_like(&values[n->out[0]], &x);
    return FV_OK;
}

static void cumsum_line(const line *s, ptrdiff_t x, ptrdiff_t y, void *scratch) {
    (void)scratch;
    double sum = 0;
    uint64_t whole = 0;
    for (size_t i = 0; i < s->count; i++) {
        const ptrdiff_t at = (ptrdiff_t)(s->flag ? s->count - 1 - i : i), from = x + at * s->x_step, to = y + at * s->y_step;
        if (fv_nd_is_float(s->type)) {
            const double before = sum;
            sum += fv_nd_number(s->type, s->x->data, from);
            fv_nd_set_number(s->type, s->y->data, to, s->keep ? before : sum);
        } else {
            const uint64_t before = whole;
            whole += (uint64_t)fv_nd_integer(s->type, s->x->data, from);
            fv_nd_set_integer(s->type, s->y->data, to, (int64_t)(s->keep ? before : whole));
        }
    }
}

static void run_cumsum(void *arg, size_t piece, void *scratch) { over_lines(arg, piece, scratch, cumsum_line); }

static fv_status cumsum_plan(fv_plan_op *p) {
    int32_t axis;
    line *s;
    FV_FORWARD(axis_of(p->node, &p->values[p->node->in[0]].shape, &axis));
    FV_FORWARD(fv_plan_state(p, sizeof *s, (void **)&s));
    lay_lines(s, p, axis, true);
    p->algorithm = "scan";
    return fv_plan_phase(p, false, run_cumsum, s, s->cut.pieces);
}

static fv_status cumsum_backward(fv_backward *b) {
    fv_attributes attr = b->node->attr;
    attr.nd.flag = !attr.nd.flag;
    b->din[0] = fv_emit_node(b->graph, &fv_op_cumsum, b->dout, 1, 1, &attr);
    return FV_OK;
}

const fv_op fv_op_cumsum = {"cumsum", 1, 1, 1, FV_OP_ANY_LAYOUT, cumsum_infer, cumsum_plan, cumsum_backward};

/* ---- sequences reversed ---- */

static fv_status reverse_infer(fv_node *n, fv_value_info *values) {
    const fv_value_info x = values[n->in[0]], *lengths = &values[n->in[1]];
    const int64_t time = n->attr.nd.a[0], batch = n->attr.nd.b[0];
    FV_RETURN_IF(x.shape.rank < 2 || time < 0 || batch < 0 || time > 1 || batch > 1 || time == batch, FV_ERR_SHAPE,
                 "node \"%s\": time on axis %lld and batch on axis %lld of %s", n->name, (long long)time, (long long)batch,
                 fv_shape_print(&x.shape).text);
    FV_RETURN_IF(!fv_nd_is_index(lengths->dtype) || lengths->shape.rank != 1 || lengths->shape.dim[0] != x.shape.dim[batch],
                 FV_ERR_SHAPE, "node \"%s\": lengths %s for %s", n->name, fv_shape_print(&lengths->shape).text,
                 fv_shape_print(&x.shape).text);
    const void *constant = fv_nd_constant(lengths);
    for (int64_t i = 0; constant && i < lengths->shape.dim[0]; i++) {
        const int64_t length = fv_nd_integer(lengths->dtype, constant, (ptrdiff_t)i);
        FV_RETURN_IF(length < 0 || length > x.shape.dim[time], FV_ERR_SHAPE, "node \"%s\": length %lld of %lld", n->name,
                     (long long)length, (long long)x.shape.dim[time]);
    }
    fv_nd_infer(&values[n->out[0]], x.dtype, &x.shape);
    return FV_OK;
}

typedef struct reverse {
    const fv_buffer *x, *y, *lengths;
    fv_dtype length_type;
    size_t times, batches, bytes;
    bool time_first;
} reverse;

static void run_reverse(void *arg, size_t piece, void *scratch) {
    (void)scratch;
    const reverse *s = arg;
    const size_t time = s->time_first ? piece / s->batches : piece % s->times,
                 batch = s->time_first ? piece % s->batches : piece / s->times;
    const int64_t length = fv_nd_integer(s->length_type, s->lengths->data, (ptrdiff_t)batch);
    const size_t n = length < 0 ? 0 : fv_min_size((size_t)length, s->times); /* of a run: as much as there is */
    const size_t from = time < n ? n - 1 - time : time, at = s->time_first ? from * s->batches + batch : batch * s->times + from;
    memcpy((char *)s->y->data + piece * s->bytes, (const char *)s->x->data + at * s->bytes, s->bytes);
}

static fv_status reverse_plan(fv_plan_op *p) {
    const fv_value *in = p->node->in;
    const fv_shape *x = &p->values[in[0]].shape;
    reverse *s;
    FV_FORWARD(fv_plan_state(p, sizeof *s, (void **)&s));
    *s = (reverse){fv_plan_buffer(p, in[0]),
                   fv_plan_buffer(p, p->node->out[0]),
                   fv_plan_buffer(p, in[1]),
                   p->values[in[1]].dtype,
                   (size_t)x->dim[p->node->attr.nd.a[0]],
                   (size_t)x->dim[p->node->attr.nd.b[0]],
                   fv_dtype_bytes(p->values[in[0]].dtype),
                   p->node->attr.nd.a[0] == 0};
    for (int32_t i = 2; i < x->rank; i++) s->bytes *= (size_t)x->dim[i];
    p->algorithm = "copy";
    return s->bytes ? fv_plan_phase(p, false, run_reverse, s, s->times * s->batches) : FV_OK;
}

static fv_status reverse_backward(fv_backward *b) {
    const fv_value in[2] = {b->dout[0], b->node->in[1]};
    b->din[0] = fv_emit_node(b->graph, &fv_op_reverse_sequence, in, 2, 1, &b->node->attr);
    return FV_OK;
}

const fv_op fv_op_reverse_sequence = {"reverse_sequence", 2, 2, 1, FV_OP_PLAIN, reverse_infer, reverse_plan, reverse_backward};
