/* gather: data, indices -> y, slices of data along axis a[0]. gather_elements: data, indices -> y of the indices' shape, an index
 * an element along axis a[0]. gather_nd: data, indices (..., k) -> y, an index tuple of k axes after a[0] batch axes. Indices are
 * int32 or int64, negative ones count from the end; constant ones are checked, those of a run go to the nearest end when they lie
 * outside. gather_grad: dy, indices, data (shape only) -> ddata; the others' gradients are the scatters. */
#include "ops/nd_scatter.h"
#include "ops/nd_type.h"

fv_status fv_nd_check_indices(const fv_node *n, const fv_value_info *indices, int64_t size) {
    const size_t count = fv_shape_count(&indices->shape);
    const void *data = fv_nd_constant(indices);
    FV_RETURN_IF(!fv_nd_is_index(indices->dtype), FV_ERR_ARGUMENT, "node \"%s\": indices of %s; int32 and int64 are", n->name,
                 fv_dtype_name(indices->dtype));
    FV_RETURN_IF(size == 0 && count, FV_ERR_SHAPE, "node \"%s\": %zu indices into an axis of size 0", n->name, count);
    for (size_t i = 0; data && i < count; i++) {
        const int64_t at = fv_nd_integer(indices->dtype, data, (ptrdiff_t)i);
        FV_RETURN_IF(at < -size || at >= size, FV_ERR_SHAPE, "node \"%s\": index %lld into an axis of size %lld", n->name,
                     (long long)at, (long long)size);
    }
    return FV_OK;
}

/* ---- slices along an axis ---- */

typedef struct gather {
    const fv_buffer *data, *indices, *y; /* the gradient: data is ddata, y is dy */
    fv_dtype index_type;
    int64_t size;
    size_t outer, count, width; /* width: bytes of a slice, or its elements in the gradient */
    size_t rows_per_piece;
} gather;

static fv_status gather_infer(fv_node *n, fv_value_info *values) {
    const fv_value_info *data = &values[n->in[0]], *indices = &values[n->in[1]];
    int32_t axis;
    FV_FORWARD(fv_nd_axis(n->name, n->attr.nd.a[0], data->shape.rank, false, &axis));
    FV_FORWARD(fv_nd_check_indices(n, indices, data->shape.dim[axis]));
    fv_shape y = {.rank = data->shape.rank - 1 + indices->shape.rank};
    FV_RETURN_IF(y.rank > FV_MAX_RANK, FV_ERR_LIMIT, "node \"%s\": a result of rank %d", n->name, y.rank);
    int32_t at = 0;
    for (int32_t i = 0; i < axis; i++) y.dim[at++] = data->shape.dim[i];
    for (int32_t i = 0; i < indices->shape.rank; i++) y.dim[at++] = indices->shape.dim[i];
    for (int32_t i = axis + 1; i < data->shape.rank; i++) y.dim[at++] = data->shape.dim[i];
    fv_nd_infer(&values[n->out[0]], data->dtype, &y);
    return FV_OK;
}

static void run_gather(void *arg, size_t piece, void *scratch) {
    (void)scratch;
    const gather *s = arg;
    const size_t end = fv_min_size((piece + 1) * s->rows_per_piece, s->outer * s->count);
    for (size_t row = piece * s->rows_per_piece; row < end; row++) {
        const size_t at = (size_t)fv_nd_index(s->index_type, s->indices->data, (ptrdiff_t)(row % s->count), s->size);
        memcpy((char *)s->y->data + row * s->width,
               (const char *)s->data->data + (row / s->count * (size_t)s->size + at) * s->width, s->width);
    }
}

static fv_status describe(const fv_plan_op *p, fv_value data, fv_value indices, gather *s) {
    const fv_shape *shape = &p->values[data].shape;
    int32_t axis;
    FV_FORWARD(fv_nd_axis(p->node->name, p->node->attr.nd.a[0], shape->rank, false, &axis));
    *s = (gather){.index_type = p->values[indices].dtype,
                  .indices = fv_plan_buffer(p, indices),
                  .size = shape->dim[axis],
                  .outer = 1,
                  .width = 1,
                  .count = fv_shape_count(&p->values[indices].shape)};
    for (int32_t i = 0; i < axis; i++) s->outer *= (size_t)shape->dim[i];
    for (int32_t i = axis + 1; i < shape->rank; i++) s->width *= (size_t)shape->dim[i];
    return FV_OK;
}

static fv_status gather_plan(fv_plan_op *p) {
    gather *s;
    FV_FORWARD(fv_plan_state(p, sizeof *s, (void **)&s));
    FV_FORWARD(describe(p, p->node->in[0], p->node->in[1], s));
    s->data = fv_plan_buffer(p, p->node->in[0]);
    s->y = fv_plan_buffer(p, p->node->out[0]);
    s->rows_per_piece = fv_rows_per_piece(s->width);
    s->width *= fv_dtype_bytes(p->values[p->node->in[0]].dtype);
    p->algorithm = "copy";
    return s->width ? fv_plan_phase(p, false, run_gather, s, fv_div_up(s->outer * s->count, s->rows_per_piece)) : FV_OK;
}

static fv_status gather_backward(fv_backward *b) {
    const fv_value in[3] = {b->dout[0], b->node->in[1], b->node->in[0]};
    b->din[0] = fv_emit_node(b->graph, &fv_op_gather_grad, in, 3, 1, &b->node->attr);
    return FV_OK;
}

const fv_op fv_op_gather = {"gather", 2, 2, 1, FV_OP_PLAIN, gather_infer, gather_plan, gather_backward};

static fv_status gather_grad_infer(fv_node *n, fv_value_info *values) {
    const fv_value_info x = values[n->in[2]];
    fv_nd_infer(&values[n->out[0]], x.dtype, &x.shape);
    return FV_OK;
}

enum { COLUMNS = 1024 }; /* of a slice: so many to a piece, which adds every slice's */

static void run_gather_grad(void *arg, size_t piece, void *scratch) {
    (void)scratch;
    const gather *s = arg;
    const size_t blocks = fv_div_up(s->width, COLUMNS), outer = piece / blocks, first = piece % blocks * COLUMNS;
    const size_t n = fv_min_size(COLUMNS, s->width - first);
    fv_real *dx = (fv_real *)s->data->data + outer * (size_t)s->size * s->width + first;
    for (int64_t i = 0; i < s->size; i++) memset(dx + (size_t)i * s->width, 0, n * sizeof *dx);
    for (size_t i = 0; i < s->count; i++) {
        fv_real *to = dx + (size_t)fv_nd_index(s->index_type, s->indices->data, (ptrdiff_t)i, s->size) * s->width;
        const fv_real *dy = (const fv_real *)s->y->data + (outer * s->count + i) * s->width + first;
        for (size_t c = 0; c < n; c++) to[c] += dy[c];
    }
}

static fv_status gather_grad_plan(fv_plan_op *p) {
    gather *s;
    FV_FORWARD(fv_plan_state(p, sizeof *s, (void **)&s));
    FV_FORWARD(describe(p, p->node->in[2], p->node->in[1], s));
    s->data = fv_plan_buffer(p, p->node->out[0]);
    s->y = fv_plan_buffer(p, p->node->in[0]);
    p->algorithm = "add rows";
    return fv_plan_phase(p, false, run_gather_grad, s, s->outer * fv_div_up(s->width, COLUMNS));
}

const fv_op fv_op_gather_grad = {"gather_grad", 3, 3, 1, FV_OP_PLAIN, gather_grad_infer, gather_grad_plan, NULL};

/* ---- elements ---- */

fv_status fv_nd_lines_describe(const fv_node *n, const fv_value_info *data, const fv_value_info *indices,
                               fv_nd_element_lines *l) {
    const fv_shape *shape = &data->shape, *own = &indices->shape;
    ptrdiff_t data_stride[FV_MAX_RANK] = {0}, own_stride[FV_MAX_RANK] = {0};
    int32_t axis, at = 0;
    FV_FORWARD(fv_nd_axis(n->name, n->attr.nd.a[0], shape->rank, false, &axis));
    FV_RETURN_IF(own->rank != shape->rank, FV_ERR_SHAPE, "node \"%s\": indices %s for data %s", n->name, fv_shape_print(own).text,
                 fv_shape_print(shape).text);
    fv_nd_strides(shape, FV_PLAIN, data_stride);
    fv_nd_strides(own, FV_PLAIN, own_stride);
    *l = (fv_nd_element_lines){.size = shape->dim[axis],
                               .count = (size_t)own->dim[axis],
                               .lines = 1,
                               .data_step = data_stride[axis],
                               .step = own_stride[axis],
                               .index_type = indices->dtype};
    for (int32_t i = 0; i < shape->rank; i++) {
        if (i == axis) continue;
        FV_RETURN_IF(own->dim[i] > shape->dim[i], FV_ERR_SHAPE, "node \"%s\": indices %s reach beyond data %s", n->name,
                     fv_shape_print(own).text, fv_shape_print(shape).text);
        l->dim[at] = (size_t)own->dim[i];
        l->lines *= l->dim[at];
        l->data_stride[at] = data_stride[i];
        l->stride[at++] = own_stride[i];
    }
    l->rank = at;
    l->per_piece = fv_rows_per_piece(l->count);
    return FV_OK;
}

void fv_nd_line(const fv_nd_element_lines *l, size_t line, ptrdiff_t *data, ptrdiff_t *own) {
    *data = *own = 0;
    for (int32_t i = l->rank; i-- > 0;) {
        const ptrdiff_t at = (ptrdiff_t)(line % l->dim[i]);
        line /= l->dim[i];
        *data += at * l->data_stride[i];
        *own += at * l->stride[i];
    }
}

typedef struct elements elements;
struct elements {
    fv_nd_element_lines lines;
    const fv_buffer *data, *indices, *y;
    void (*take)(const elements *s, ptrdiff_t data, ptrdiff_t own); /* a line, of elements and indices of these widths */
};

static fv_status elements_infer(fv_node *n, fv_value_info *values) {
    const fv_value_info *data = &values[n->in[0]], *indices = &values[n->in[1]];
    fv_nd_element_lines l;
    FV_FORWARD(fv_nd_lines_describe(n, data, indices, &l));
    FV_FORWARD(fv_nd_check_indices(n, indices, l.size));
    const fv_shape y = indices->shape;
    fv_nd_infer(&values[n->out[0]], data->dtype, &y);
    return FV_OK;
}

#define TAKE(name, T, index)                                                                                           \
    static void name(const elements *s, ptrdiff_t data, ptrdiff_t own) {                                               \
        const T *from = (const T *)s->data->data + data;                                                               \
        const ptrdiff_t step = s->lines.data_step;                                                                     \
        for (size_t i = 0; i < s->lines.count; i++, own += s->lines.step)                                              \
            ((T *)s->y->data)[own] = from[fv_nd_index(index, s->indices->data, own, s->lines.size) * step];            \
    }
TAKE(take_8_by_32, uint8_t, FV_I32)
TAKE(take_16_by_32, uint16_t, FV_I32)
TAKE(take_32_by_32, uint32_t, FV_I32)
TAKE(take_64_by_32, uint64_t, FV_I32)
TAKE(take_8_by_64, uint8_t, FV_I64)
TAKE(take_16_by_64, uint16_t, FV_I64)
TAKE(take_32_by_64, uint32_t, FV_I64)
TAKE(take_64_by_64, uint64_t, FV_I64)

static void run_elements(void *arg, size_t piece, void *scratch) {
    (void)scratch;
    const elements *s = arg;
    const size_t end = fv_min_size((piece + 1) * s->lines.per_piece, s->lines.lines);
    for (size_t line = piece * s->lines.per_piece; line < end; line++) {
        ptrdiff_t data, own;
        fv_nd_line(&s->lines, line, &data, &own);
        s->take(s, data, own);
    }
}

static void choose_take(elements *s, size_t element) {
    const bool narrow = s->lines.index_type == FV_I32;
    switch (element) {
    case 1:
        s->take = narrow ? take_8_by_32 : take_8_by_64;
        break;
    case 2:
        s->take = narrow ? take_16_by_32 : take_16_by_64;
        break;
    case 4:
        s->take = narrow ? take_32_by_32 : take_32_by_64;
        break;
    default:
        s->take = narrow ? take_64_by_32 : take_64_by_64;
        break;
    }
}

static fv_status elements_plan(fv_plan_op *p) {
    const fv_value *in = p->node->in;
    elements *s;
    FV_FORWARD(fv_plan_state(p, sizeof *s, (void **)&s));
    FV_FORWARD(fv_nd_lines_describe(p->node, &p->values[in[0]], &p->values[in[1]], &s->lines));
    s->data = fv_plan_buffer(p, in[0]);
    s->indices = fv_plan_buffer(p, in[1]);
    s->y = fv_plan_buffer(p, p->node->out[0]);
    choose_take(s, fv_dtype_bytes(p->values[in[0]].dtype));
    p->algorithm = "copy";
    return s->lines.count ? fv_plan_phase(p, false, run_elements, s, fv_div_up(s->lines.lines, s->lines.per_piece)) : FV_OK;
}

static fv_status elements_backward(fv_backward *b) {
    const fv_value in[3] = {b->node->in[0], b->node->in[1], b->dout[0]};
    fv_attributes attr = {.nd = {.kind = FV_SCATTER_ADD, .a = {b->node->attr.nd.a[0]}, .flag = true}};
    b->din[0] = fv_emit_node(b->graph, &fv_op_scatter_elements, in, 3, 1, &attr);
    return FV_OK;
}

const fv_op fv_op_gather_elements = {"gather_elements", 2, 2, 1, FV_OP_PLAIN, elements_infer, elements_plan, elements_backward};

/* ---- tuples ---- */

fv_status fv_nd_tuples_describe(const fv_node *n, const fv_value_info *data, const fv_value_info *indices, fv_nd_tuples *t) {
    const fv_shape *shape = &data->shape, *own = &indices->shape;
    const int64_t batch = n->attr.nd.a[0];
    FV_RETURN_IF(own->rank < 1 || batch < 0 || batch >= own->rank || batch + own->dim[own->rank - 1] > shape->rank, FV_ERR_SHAPE,
                 "node \"%s\": index tuples %s for data %s after %lld batch axes", n->name, fv_shape_print(own).text,
                 fv_shape_print(shape).text, (long long)batch);
    FV_RETURN_IF(!fv_nd_is_index(indices->dtype), FV_ERR_ARGUMENT, "node \"%s\": indices of %s; int32 and int64 are", n->name,
                 fv_dtype_name(indices->dtype));
    *t = (fv_nd_tuples){
        .batches = 1, .count = 1, .width = 1, .axes = (int32_t)own->dim[own->rank - 1], .index_type = indices->dtype};
    for (int32_t i = 0; i < batch; i++) {
        FV_RETURN_IF(own->dim[i] != shape->dim[i], FV_ERR_SHAPE, "node \"%s\": indices %s and data %s differ on batch axis %d",
                     n->name, fv_shape_print(own).text, fv_shape_print(shape).text, i);
        t->batches *= (size_t)shape->dim[i];
    }
    for (int32_t i = (int32_t)batch; i < own->rank - 1; i++) t->count *= (size_t)own->dim[i];
    for (int32_t i = 0; i < t->axes; i++) t->dim[i] = shape->dim[batch + i];
    for (int32_t i = (int32_t)batch + t->axes; i < shape->rank; i++) t->width *= (size_t)shape->dim[i];
    t->batch_size = t->width;
    const size_t tuples = t->batches * t->count;
    const void *constant = fv_nd_constant(indices);
    for (int32_t k = 0; k < t->axes; k++) {
        t->batch_size *= (size_t)t->dim[k];
        FV_RETURN_IF(t->dim[k] == 0 && tuples, FV_ERR_SHAPE, "node \"%s\": indices into an axis of size 0", n->name);
        for (size_t i = 0; constant && i < tuples; i++) {
            const int64_t at = fv_nd_integer(indices->dtype, constant, (ptrdiff_t)(i * (size_t)t->axes) + k);
            FV_RETURN_IF(at < -t->dim[k] || at >= t->dim[k], FV_ERR_SHAPE, "node \"%s\": index %lld into an axis of size %lld",
                         n->name, (long long)at, (long long)t->dim[k]);
        }
    }
    return FV_OK;
}

size_t fv_nd_tuple(const fv_nd_tuples *t, const void *indices, size_t tuple) {
    size_t at = 0;
    for (int32_t k = 0; k < t->axes; k++)
        at = at * (size_t)t->dim[k] +
             (size_t)fv_nd_index(t->index_type, indices, (ptrdiff_t)(tuple * (size_t)t->axes) + k, t->dim[k]);
    return tuple / t->count * t->batch_size + at * t->width;
}

fv_status fv_nd_tuples_shape(const fv_node *n, const fv_value_info *data, const fv_value_info *indices, fv_shape *out) {
    fv_shape y = {.rank = indices->shape.rank - 1};
    const int32_t first = (int32_t)(n->attr.nd.a[0] + indices->shape.dim[y.rank]);
    memcpy(y.dim, indices->shape.dim, sizeof y.dim);
    FV_RETURN_IF(y.rank + data->shape.rank - first > FV_MAX_RANK, FV_ERR_LIMIT, "node \"%s\": a result of rank %d", n->name,
                 y.rank + data->shape.rank - first);
    for (int32_t i = first; i < data->shape.rank; i++) y.dim[y.rank++] = data->shape.dim[i];
    *out = y;
    return FV_OK;
}

typedef struct gather_nd {
    fv_nd_tuples tuples;
    const fv_buffer *data, *indices, *y;
    size_t element, per_piece;
} gather_nd;

static fv_status gather_nd_infer(fv_node *n, fv_value_info *values) {
    const fv_value_info data = values[n->in[0]];
    fv_nd_tuples t;
    fv_shape y;
    FV_FORWARD(fv_nd_tuples_describe(n, &data, &values[n->in[1]], &t));
    FV_FORWARD(fv_nd_tuples_shape(n, &data, &values[n->in[1]], &y));
    fv_nd_infer(&values[n->out[0]], data.dtype, &y);
    return FV_OK;
}

static void run_gather_nd(void *arg, size_t piece, void *scratch) {
    (void)scratch;
    const gather_nd *s = arg;
    const size_t end = fv_min_size((piece + 1) * s->per_piece, s->tuples.batches * s->tuples.count),
                 bytes = s->tuples.width * s->element;
    for (size_t i = piece * s->per_piece; i < end; i++)
        memcpy((char *)s->y->data + i * bytes,
               (const char *)s->data->data + fv_nd_tuple(&s->tuples, s->indices->data, i) * s->element, bytes);
}

static fv_status gather_nd_plan(fv_plan_op *p) {
    const fv_value *in = p->node->in;
    gather_nd *s;
    FV_FORWARD(fv_plan_state(p, sizeof *s, (void **)&s));
    FV_FORWARD(fv_nd_tuples_describe(p->node, &p->values[in[0]], &p->values[in[1]], &s->tuples));
    s->data = fv_plan_buffer(p, in[0]);
    s->indices = fv_plan_buffer(p, in[1]);
    s->y = fv_plan_buffer(p, p->node->out[0]);
    s->element = fv_dtype_bytes(p->values[in[0]].dtype);
    s->per_piece = fv_rows_per_piece(s->tuples.width);
    p->algorithm = "copy";
    return s->tuples.width
               ? fv_plan_phase(p, false, run_gather_nd, s, fv_div_up(s->tuples.batches * s->tuples.count, s->per_piece))
               : FV_OK;
}

static fv_status gather_nd_backward(fv_backward *b) {
    const fv_value in[3] = {b->node->in[0], b->node->in[1], b->dout[0]};
    fv_attributes attr = {.nd = {.kind = FV_SCATTER_ADD, .a = {b->node->attr.nd.a[0]}, .flag = true}};
    b->din[0] = fv_emit_node(b->graph, &fv_op_scatter_nd, in, 3, 1, &attr);
    return FV_OK;
}

const fv_op fv_op_gather_nd = {"gather_nd", 2, 2, 1, FV_OP_PLAIN, gather_nd_infer, gather_nd_plan, gather_nd_backward};
