/* trilu: x -> y, zero above (kind 0: lower triangle) or below (kind 1: upper) diagonal a[0] of the last two axes.
 * one_hot: indices of any type, values (off, on) -> y with an axis a[0] of size b[0], on where it is the index, which counts from
 * the end when negative; all off where it lies outside. */
#include "ops/nd_copy.h"
#include "ops/nd_type.h"

typedef struct trilu {
    const fv_buffer *in, *out;
    size_t rows, columns, matrix_rows, rows_per_piece, element;
    int64_t diagonal;
    bool upper;
} trilu;

static fv_status trilu_infer(fv_node *n, fv_value_info *values) {
    const fv_value_info x = values[n->in[0]];
    FV_RETURN_IF(x.shape.rank < 2, FV_ERR_SHAPE, "node \"%s\": a triangle of %s", n->name, fv_shape_print(&x.shape).text);
    fv_nd_infer(&values[n->out[0]], x.dtype, &x.shape);
    return FV_OK;
}

static void run_trilu(void *arg, size_t piece, void *scratch) {
    (void)scratch;
    const trilu *s = arg;
    for (size_t row = piece * s->rows_per_piece, end = fv_min_size(row + s->rows_per_piece, s->rows); row < end; row++) {
        const int64_t edge = (int64_t)(row % s->matrix_rows) + s->diagonal + !s->upper, width = (int64_t)s->columns;
        const size_t at = edge < 0 ? 0 : edge > width ? s->columns : (size_t)edge, e = s->element;
        const size_t begin = s->upper ? at : 0, kept_end = s->upper ? s->columns : at;
        char *out = (char *)s->out->data + row * s->columns * e;
        memset(out, 0, begin * e);
        memcpy(out + begin * e, (const char *)s->in->data + (row * s->columns + begin) * e, (kept_end - begin) * e);
        memset(out + kept_end * e, 0, (s->columns - kept_end) * e);
    }
}

static fv_status trilu_plan(fv_plan_op *p) {
    const fv_value_info *x = &p->values[p->node->in[0]];
    const int32_t rank = x->shape.rank;
    const int64_t k = p->node->attr.nd.a[0], most = (int64_t)INT32_MAX + 1;
    trilu *s;
    FV_FORWARD(fv_plan_state(p, sizeof *s, (void **)&s));
    *s = (trilu){.in = fv_plan_buffer(p, p->node->in[0]),
                 .out = fv_plan_buffer(p, p->node->out[0]),
                 .columns = (size_t)x->shape.dim[rank - 1],
                 .matrix_rows = (size_t)x->shape.dim[rank - 2],
                 .element = fv_dtype_bytes(x->dtype),
                 .diagonal = k < -most  ? -most
                             : k > most ? most
                                        : k,
                 .upper = p->node->attr.nd.kind == 1};
    if (fv_shape_count(&x->shape) == 0) return FV_OK;
    s->rows = fv_shape_count(&x->shape) / s->columns;
    s->rows_per_piece = fv_rows_per_piece(s->columns);
    p->algorithm = "copy";
    return fv_plan_phase(p, false, run_trilu, s, fv_div_up(s->rows, s->rows_per_piece));
}

static fv_status trilu_backward(fv_backward *b) {
    b->din[0] = fv_emit_node(b->graph, &fv_op_trilu, b->dout, 1, 1, &b->node->attr);
    return FV_OK;
}

const fv_op fv_op_trilu = {"trilu", 1, 1, 1, FV_OP_PLAIN, trilu_infer, trilu_plan, trilu_backward};

/* ---- one hot ---- */

typedef struct one_hot {
    const fv_buffer *indices, *values, *out;
    fv_dtype index_type;
    size_t outer, depth, inner, element;
} one_hot;

static fv_status one_hot_infer(fv_node *n, fv_value_info *values) {
    const fv_value_info indices = values[n->in[0]], on_off = values[n->in[1]];
    const int64_t depth = n->attr.nd.b[0];
    int32_t axis;
    FV_FORWARD(fv_nd_axis(n->name, n->attr.nd.a[0], indices.shape.rank, true, &axis));
    FV_RETURN_IF(indices.shape.rank >= FV_MAX_RANK || depth < 0 || depth > INT32_MAX, FV_ERR_LIMIT,
                 "node \"%s\": %lld places of %s", n->name, (long long)depth, fv_shape_print(&indices.shape).text);
    FV_RETURN_IF(on_off.shape.rank != 1 || on_off.shape.dim[0] != 2 || indices.dtype == FV_F16, FV_ERR_SHAPE,
                 "node \"%s\": values %s", n->name, fv_shape_print(&on_off.shape).text);
    fv_shape y = {.rank = indices.shape.rank + 1};
    for (int32_t i = 0, at = 0; i < y.rank; i++) y.dim[i] = i == axis ? depth : indices.shape.dim[at++];
    fv_nd_infer(&values[n->out[0]], on_off.dtype, &y);
    return FV_OK;
}

static void run_one_hot(void *arg, size_t piece, void *scratch) {
    (void)scratch;
    const one_hot *s = arg;
    const size_t outer = piece / s->depth, place = piece % s->depth;
    const char *values = s->values->data;
    char *out = (char *)s->out->data + piece * s->inner * s->element;
    for (size_t i = 0; i < s->inner; i++) {
        const ptrdiff_t at = (ptrdiff_t)(outer * s->inner + i);
        const double number = fv_nd_is_float(s->index_type) ? fv_nd_number(s->index_type, s->indices->data, at) : 0;
        int64_t index = fv_nd_is_float(s->index_type) ? (number > -1e18 && number < 1e18 ? (int64_t)number : INT64_MAX)
                                                      : fv_nd_integer(s->index_type, s->indices->data, at);
        if (index < 0 && index >= -(int64_t)s->depth) index += (int64_t)s->depth;
        memcpy(out + i * s->element, values + (index == (int64_t)place) * s->element, s->element);
    }
}

static fv_status one_hot_plan(fv_plan_op *p) {
    const fv_value_info *indices = &p->values[p->node->in[0]];
    int32_t axis;
    one_hot *s;
    FV_FORWARD(fv_nd_axis(p->node->name, p->node->attr.nd.a[0], indices->shape.rank, true, &axis));
    FV_FORWARD(fv_plan_state(p, sizeof *s, (void **)&s));
    *s = (one_hot){fv_plan_buffer(p, p->node->in[0]),
                   fv_plan_buffer(p, p->node->in[1]),
                   fv_plan_buffer(p, p->node->out[0]),
                   indices->dtype,
                   1,
                   (size_t)p->node->attr.nd.b[0],
                   1,
                   fv_dtype_bytes(p->values[p->node->out[0]].dtype)};
    for (int32_t i = 0; i < indices->shape.rank; i++) *(i < axis ? &s->outer : &s->inner) *= (size_t)indices->shape.dim[i];
    p->algorithm = "fill";
    return s->inner ? fv_plan_phase(p, false, run_one_hot, s, s->outer * s->depth) : FV_OK;
}

const fv_op fv_op_one_hot = {"one_hot", 2, 2, 1, FV_OP_PLAIN | FV_OP_NO_GRADIENT, one_hot_infer, one_hot_plan, NULL};
