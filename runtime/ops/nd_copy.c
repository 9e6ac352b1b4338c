#include "ops/nd_copy.h"

#include <string.h>

void fv_nd_order(int32_t rank, fv_layout layout, int32_t order[FV_MAX_RANK]) {
    const bool last = layout == FV_NHWC && rank > 2;
    int32_t count = 0;
    for (int32_t i = 0; i < rank; i++)
        if (!last || i != 1) order[count++] = i;
    if (last) order[count] = 1;
}

#define FV_COPY_STEPS(type)                                                                                                      \
    do {                                                                                                                         \
        const type *from = (const type *)in;                                                                                     \
        type *to = (type *)out;                                                                                                  \
        for (size_t i = 0; i < n; i++) to[(ptrdiff_t)i * out_step] = from[(ptrdiff_t)i * in_step];                               \
    } while (0)

void fv_nd_copy_row(const char *in, ptrdiff_t in_step, char *out, ptrdiff_t out_step, size_t n, size_t element) {
    if (in_step == 1 && out_step == 1) {
        memcpy(out, in, n * element);
        return;
    }
    switch (element) {
    case 1:
        FV_COPY_STEPS(uint8_t);
        break;
    case 2:
        FV_COPY_STEPS(uint16_t);
        break;
    case 4:
        FV_COPY_STEPS(uint32_t);
        break;
    default:
        FV_COPY_STEPS(uint64_t);
        break;
    }
}

/* ---- by strides ---- */

typedef struct copy {
    fv_nd_loop loop; /* operands: out, in */
    fv_nd_cut cut;
    const fv_kernels *kernels;
    const fv_buffer *in, *out;
    ptrdiff_t in_at, out_at;
    size_t element;
    size_t columns, chunk, chunks; /* a matrix transposed: the loop's row has a pitch in `in`, these columns one in `out` */
    ptrdiff_t column_pitch;
} copy;

static void run_rows(void *arg, size_t piece, void *scratch) {
    (void)scratch;
    const copy *s = arg;
    const fv_nd_piece at = fv_nd_piece_of(&s->loop, &s->cut, piece);
    const ptrdiff_t element = (ptrdiff_t)s->element, begin = (ptrdiff_t)at.columns.begin;
    const size_t n = at.columns.end - at.columns.begin;
    for (size_t row = at.first_row; row < at.end_row; row++) {
        ptrdiff_t offset[FV_ND_OPERANDS];
        fv_nd_row(&s->loop, row, offset);
        char *out = (char *)s->out->data + (s->out_at + offset[0] + begin * s->loop.step[0]) * element;
        fv_nd_copy_row((const char *)s->in->data + (s->in_at + offset[1] + begin * s->loop.step[1]) * element, s->loop.step[1],
                       out, s->loop.step[0], n, s->element);
    }
}

static void run_zero_rows(void *arg, size_t piece, void *scratch) {
    (void)scratch;
    static const uint64_t zero = 0;
    const copy *s = arg;
    const fv_nd_piece at = fv_nd_piece_of(&s->loop, &s->cut, piece);
    const ptrdiff_t begin = (ptrdiff_t)at.columns.begin;
    for (size_t row = at.first_row; row < at.end_row; row++) {
        ptrdiff_t offset[FV_ND_OPERANDS];
        fv_nd_row(&s->loop, row, offset);
        char *out = (char *)s->out->data + (s->out_at + offset[0] + begin * s->loop.step[0]) * (ptrdiff_t)s->element;
        fv_nd_copy_row((const char *)&zero, 0, out, s->loop.step[0], at.columns.end - at.columns.begin, s->element);
    }
}

static void run_matrices(void *arg, size_t piece, void *scratch) {
    (void)scratch;
    const copy *s = arg;
    const size_t chunk = piece % s->chunks;
    const fv_range rows = {chunk * s->chunk, fv_min_size((chunk + 1) * s->chunk, s->loop.length)};
    ptrdiff_t offset[FV_ND_OPERANDS];
    fv_nd_row(&s->loop, piece / s->chunks, offset);
    s->kernels->convert.transpose((const fv_real *)s->in->data + s->in_at + offset[1], s->loop.step[1],
                                  (fv_real *)s->out->data + s->out_at + offset[0], s->column_pitch, s->columns, rows);
}

/* Rows gathered at a pitch, while another axis lies beside itself in the input: that axis leaves the loop. */
static bool find_matrix(copy *s) {
    fv_nd_loop *l = &s->loop;
    if (s->element != sizeof(fv_real) || l->step[0] != 1 || l->step[1] < 2) return false;
    for (int32_t i = l->rank; i-- > 0;) {
        if (l->stride[1][i] != 1 || l->stride[0][i] < 1) continue;
        s->columns = l->dim[i];
        s->column_pitch = l->stride[0][i];
        l->rows /= l->dim[i];
        for (int32_t k = i; k + 1 < l->rank; k++) {
            l->dim[k] = l->dim[k + 1];
            for (int32_t o = 0; o < 2; o++) l->stride[o][k] = l->stride[o][k + 1];
        }
        l->rank--;
        s->chunk = fv_round_up(fv_rows_per_piece(s->columns), 8);
        s->chunks = fv_div_up(l->length, s->chunk);
        return true;
    }
    return false;
}

fv_status fv_nd_copy_plan(fv_plan_op *p, const fv_nd_copy *c) {
    ptrdiff_t stride[2][FV_MAX_RANK];
    int32_t order[FV_MAX_RANK];
    copy *s;
    if (fv_shape_count(&c->shape) == 0) return FV_OK;
    FV_FORWARD(fv_plan_state(p, sizeof *s, (void **)&s));
    *s = (copy){.kernels = p->kernels, .in = c->in, .out = c->out, .in_at = c->in_at, .out_at = c->out_at, .element = c->element};
    memcpy(stride[0], c->out_stride, sizeof stride[0]);
    memcpy(stride[1], c->in_stride, sizeof stride[1]);
    if (!c->in) memcpy(stride[1], c->out_stride, sizeof stride[1]);
    fv_nd_order(c->shape.rank, c->layout, order);
    fv_nd_loop_make(&s->loop, &c->shape, 2, stride, order);
    if (!p->algorithm) p->algorithm = "copy";
    if (c->in && find_matrix(s)) {
        p->algorithm = "transpose";
        return fv_plan_phase(p, false, run_matrices, s, s->loop.rows * s->chunks);
    }
    s->cut = fv_nd_cut_make(&s->loop);
    return fv_plan_phase(p, false, c->in ? run_rows : run_zero_rows, s, s->cut.pieces);
}

/* ---- zeros ---- */

typedef struct zero {
    const fv_buffer *out;
    size_t bytes;
} zero;

static void run_zero(void *arg, size_t piece, void *scratch) {
    (void)scratch;
    const zero *s = arg;
    const fv_range r = fv_run_of(piece, s->bytes);
    memset((char *)s->out->data + r.begin, 0, r.end - r.begin);
}

fv_nd_copy fv_nd_copy_of_node(const fv_plan_op *p) {
    const fv_value_info *y = &p->values[p->node->out[0]];
    fv_nd_copy c = {.in = fv_plan_buffer(p, p->node->in[0]),
                    .out = fv_plan_buffer(p, p->node->out[0]),
                    .shape = y->shape,
                    .layout = y->layout,
                    .element = fv_dtype_bytes(y->dtype)};
    fv_nd_strides(&y->shape, y->layout, c.out_stride);
    return c;
}

fv_status fv_nd_infer_back(fv_node *n, fv_value_info *values) {
    const fv_value_info dy = values[n->in[0]], x = values[n->in[1]];
    fv_nd_infer_maps(&values[n->out[0]], x.dtype, &x.shape, dy.layout);
    return FV_OK;
}

fv_status fv_nd_zero_plan(fv_plan_op *p, fv_value v) {
    const fv_value_info *info = &p->values[v];
    zero *s;
    FV_FORWARD(fv_plan_state(p, sizeof *s, (void **)&s));
    *s = (zero){fv_plan_buffer(p, v), fv_shape_count(&info->shape) * fv_dtype_bytes(info->dtype)};
    return fv_plan_phase(p, false, run_zero, s, fv_run_pieces(s->bytes));
}

/* ---- by tables ---- */

typedef struct mapped {
    fv_nd_map map;
    const fv_buffer *in, *out, *fill; /* fill NULL: zero */
    int32_t rank, axis[FV_MAX_RANK];  /* of the output from outermost to innermost */
    size_t dim[FV_MAX_RANK], rows, rows_per_piece, element;
    ptrdiff_t in_stride[FV_MAX_RANK]; /* by axis */
} mapped;

fv_status fv_nd_map_make(fv_plan_op *p, const fv_shape *out, fv_nd_map *map) {
    size_t total = 1;
    int32_t *table;
    for (int32_t a = 0; a < out->rank; a++) total += (size_t)out->dim[a];
    FV_FORWARD(fv_plan_state(p, total * sizeof *table, (void **)&table));
    for (int32_t a = 0; a < out->rank; a++) {
        map->table[a] = table;
        for (int64_t i = 0; i < out->dim[a]; i++) table[i] = (int32_t)i;
        table += out->dim[a];
    }
    return FV_OK;
}

/* Runs of neighbours go at once. */
static void map_row(const mapped *s, const char *in, char *out, const char *fill) {
    const int32_t axis = s->axis[s->rank - 1], *table = s->map.table[axis];
    const size_t n = s->dim[s->rank - 1], element = s->element;
    const ptrdiff_t stride = s->in_stride[axis];
    for (size_t i = 0; i < n;) {
        size_t end = i + 1;
        if (!in || table[i] < 0) {
            while (end < n && (!in || table[end] < 0)) end++;
            fv_nd_copy_row(fill, 0, out + i * element, 1, end - i, element);
        } else {
            const ptrdiff_t step = end < n && table[end] >= 0 ? table[end] - table[i] : 0;
            while (end < n && table[end] >= 0 && table[end] - table[end - 1] == step) end++;
            fv_nd_copy_row(in + table[i] * stride * (ptrdiff_t)element, step * stride, out + i * element, 1, end - i, element);
        }
        i = end;
    }
}

static void run_mapped(void *arg, size_t piece, void *scratch) {
    (void)scratch;
    static const uint64_t zero_fill = 0;
    const mapped *s = arg;
    const char *fill = s->fill ? s->fill->data : (const char *)&zero_fill;
    const size_t end = fv_min_size((piece + 1) * s->rows_per_piece, s->rows), width = s->dim[s->rank - 1] * s->element;
    for (size_t row = piece * s->rows_per_piece; row < end; row++) {
        size_t rest = row;
        ptrdiff_t at = 0;
        bool outside = false;
        for (int32_t k = s->rank - 1; k-- > 0;) {
            const int32_t from = s->map.table[s->axis[k]][rest % s->dim[k]];
            rest /= s->dim[k];
            outside = outside || from < 0;
            at += from * s->in_stride[s->axis[k]];
        }
        map_row(s, outside ? NULL : (const char *)s->in->data + at * (ptrdiff_t)s->element, (char *)s->out->data + row * width,
                fill);
    }
}

fv_status fv_nd_map_plan(fv_plan_op *p, fv_value x, fv_value y, const fv_nd_map *map, const fv_buffer *fill_from) {
    static int32_t only_zero[1] = {0};
    const fv_value_info *in = &p->values[x], *out = &p->values[y];
    mapped *s;
    if (fv_shape_count(&out->shape) == 0) return FV_OK;
    FV_FORWARD(fv_plan_state(p, sizeof *s, (void **)&s));
    *s = (mapped){.map = *map,
                  .in = fv_plan_buffer(p, x),
                  .out = fv_plan_buffer(p, y),
                  .fill = fill_from,
                  .rank = out->shape.rank,
                  .rows = 1,
                  .element = fv_dtype_bytes(out->dtype)};
    fv_nd_strides(&in->shape, in->layout, s->in_stride);
    fv_nd_order(s->rank, out->layout, s->axis);
    for (int32_t k = 0; k < s->rank; k++) s->dim[k] = (size_t)out->shape.dim[s->axis[k]];
    if (s->rank == 0) s->rank = 1, s->dim[0] = 1, s->map.table[0] = only_zero;
    for (int32_t k = 0; k + 1 < s->rank; k++) s->rows *= s->dim[k];
    s->rows_per_piece = fv_rows_per_piece(s->dim[s->rank - 1]);
    if (!p->algorithm) p->algorithm = "copy by axis";
    return fv_plan_phase(p, false, run_mapped, s, fv_div_up(s->rows, s->rows_per_piece));
}
