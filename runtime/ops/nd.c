#include "ops/nd.h"

void fv_nd_strides(const fv_shape *shape, fv_layout layout, ptrdiff_t stride[FV_MAX_RANK]) {
    const bool last = layout == FV_NHWC && shape->rank > 2;
    ptrdiff_t next = 1;
    if (last) {
        stride[1] = 1;
        next = (ptrdiff_t)shape->dim[1];
    }
    for (int32_t i = shape->rank; i-- > 0;) {
        if (last && i == 1) continue;
        stride[i] = next;
        next *= (ptrdiff_t)shape->dim[i];
    }
}

fv_status fv_nd_broadcast(const char *node, const fv_shape *a, const fv_shape *b, fv_shape *out) {
    const int32_t rank = a->rank > b->rank ? a->rank : b->rank;
    fv_shape made = {.rank = rank};
    for (int32_t i = 1; i <= rank; i++) {
        const int64_t x = i <= a->rank ? a->dim[a->rank - i] : 1, y = i <= b->rank ? b->dim[b->rank - i] : 1;
        FV_RETURN_IF(x != y && x != 1 && y != 1, FV_ERR_SHAPE,
                     "node \"%s\": its inputs %s and %s do not broadcast to one shape", node, fv_shape_print(a).text,
                     fv_shape_print(b).text);
        made.dim[rank - i] = x == 1 ? y : x;
    }
    *out = made;
    return FV_OK;
}

fv_status fv_nd_axis(const char *node, int64_t axis, int32_t rank, bool beyond, int32_t *out) {
    const int32_t limit = beyond ? rank + 1 : rank;
    FV_RETURN_IF(axis < -limit || axis >= limit, FV_ERR_SHAPE, "node \"%s\": axis %lld of a tensor of rank %d", node,
                 (long long)axis, rank);
    *out = (int32_t)(axis < 0 ? axis + limit : axis);
    return FV_OK;
}

void fv_nd_operand(const fv_shape *shape, const fv_value_info *value, ptrdiff_t stride[FV_MAX_RANK]) {
    ptrdiff_t own[FV_MAX_RANK] = {0};
    const int32_t before = shape->rank - value->shape.rank;
    fv_nd_strides(&value->shape, value->layout, own);
    for (int32_t i = 0; i < shape->rank; i++)
        stride[i] = i < before || value->shape.dim[i - before] == 1 ? 0 : own[i - before];
}

/* Whether axis `outer` continues the loop's current innermost axis `inner` in every operand. */
static bool continues(int32_t operands, ptrdiff_t stride[][FV_MAX_RANK], int32_t outer, int32_t inner,
                      int64_t inner_size) {
    for (int32_t k = 0; k < operands; k++)
        if (stride[k][outer] != stride[k][inner] * inner_size) return false;
    return true;
}

void fv_nd_loop_make(fv_nd_loop *l, const fv_shape *shape, int32_t operands, ptrdiff_t stride[][FV_MAX_RANK],
                     const int32_t *order) {
    *l = (fv_nd_loop){.operands = operands, .rows = 1, .length = 1};
    int32_t axis[FV_MAX_RANK], count = 0; /* the loop's axes, outermost first: each the innermost of those joined */
    int64_t size[FV_MAX_RANK];
    for (int32_t i = 0; i < shape->rank; i++) {
        const int32_t a = order ? order[i] : i;
        if (shape->dim[a] == 1) continue;
        if (count && continues(operands, stride, axis[count - 1], a, shape->dim[a])) {
            size[count - 1] *= shape->dim[a];
            axis[count - 1] = a;
            continue;
        }
        axis[count] = a;
        size[count++] = shape->dim[a];
    }
    if (count) {
        l->length = (size_t)size[count - 1];
        for (int32_t k = 0; k < operands; k++) l->step[k] = stride[k][axis[count - 1]];
    }
    l->rank = count ? count - 1 : 0;
    for (int32_t i = 0; i < l->rank; i++) {
        l->dim[i] = (size_t)size[i];
        l->rows *= l->dim[i];
        for (int32_t k = 0; k < operands; k++) l->stride[k][i] = stride[k][axis[i]];
    }
}

void fv_nd_row(const fv_nd_loop *l, size_t row, ptrdiff_t offset[FV_ND_OPERANDS]) {
    for (int32_t k = 0; k < l->operands; k++) offset[k] = 0;
    for (int32_t i = l->rank; i-- > 0;) {
        const ptrdiff_t at = (ptrdiff_t)(row % l->dim[i]);
        row /= l->dim[i];
        for (int32_t k = 0; k < l->operands; k++) offset[k] += at * l->stride[k][i];
    }
}

fv_nd_cut fv_nd_cut_make(const fv_nd_loop *l) {
    fv_nd_cut c = {.rows_per_piece = fv_rows_per_piece(l->length),
                   .pieces_per_row = fv_max_size(1, fv_run_pieces(l->length))};
    c.pieces = l->length == 0 ? 0 : fv_div_up(l->rows, c.rows_per_piece) * c.pieces_per_row;
    return c;
}

fv_nd_piece fv_nd_piece_of(const fv_nd_loop *l, const fv_nd_cut *c, size_t piece) {
    const size_t block = piece / c->pieces_per_row;
    return (fv_nd_piece){block * c->rows_per_piece, fv_min_size((block + 1) * c->rows_per_piece, l->rows),
                         fv_run_of(piece % c->pieces_per_row, l->length)};
}
