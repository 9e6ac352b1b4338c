/* reduce: x -> y over axes a (count; none: all, with flag none), kept as 1 with keep; kind: fv_nd_reduction. Float sums go
 * through the kernels where the axes are one run, else through double; integers wrap. An empty set gives the operation's neutral
 * value. reduce_grad: dy, x, y -> dx. Equal extremes share their gradient. */
#include "kernels/scalar_math.h"
#include "ops/nd_copy.h"
#include "ops/nd_reduce.h"
#include "ops/nd_type.h"

enum { COLUMNS = 64 };

/* ---- loops ---- */

fv_shape fv_nd_reduced(const fv_shape *x, unsigned axes, bool keep) {
    fv_shape y = {0};
    for (int32_t i = 0; i < x->rank; i++) {
        if (axes >> i & 1 && !keep) continue;
        y.dim[y.rank++] = axes >> i & 1 ? 1 : x->dim[i];
    }
    return y;
}

void fv_nd_reduced_strides(const fv_shape *x, const fv_value_info *y, unsigned axes, bool keep, ptrdiff_t stride[FV_MAX_RANK]) {
    ptrdiff_t own[FV_MAX_RANK] = {0};
    int32_t at = 0;
    fv_nd_strides(&y->shape, y->layout, own);
    for (int32_t i = 0; i < x->rank; i++) {
        const bool gone = axes >> i & 1;
        stride[i] = gone ? 0 : own[at];
        at += !gone || keep;
    }
}

void fv_nd_lines_make(fv_nd_lines *l, const fv_value_info *x, const fv_value_info *y, unsigned axes, bool keep) {
    ptrdiff_t kept[2][FV_MAX_RANK] = {{0}}, gone[1][FV_MAX_RANK] = {{0}};
    int32_t order[FV_MAX_RANK];
    fv_shape outer = x->shape, inner = x->shape;
    fv_nd_reduced_strides(&x->shape, y, axes, keep, kept[0]);
    fv_nd_strides(&x->shape, x->layout, kept[1]);
    memcpy(gone[0], kept[1], sizeof gone[0]);
    for (int32_t i = 0; i < x->shape.rank; i++) *(axes >> i & 1 ? &outer.dim[i] : &inner.dim[i]) = 1;
    fv_nd_order(x->shape.rank, x->layout, order);
    fv_nd_loop_make(&l->kept, &outer, 2, kept, order);
    fv_nd_loop_make(&l->gone, &inner, 1, gone, order);
}

fv_status fv_nd_axes(const fv_node *n, int32_t rank, unsigned *axes) {
    const fv_nd_attr *a = &n->attr.nd;
    *axes = 0;
    for (int32_t i = 0; i < a->count; i++) {
        int32_t axis;
        FV_FORWARD(fv_nd_axis(n->name, a->a[i], rank, false, &axis));
        *axes |= 1u << axis;
    }
    if (a->count == 0 && !a->flag) *axes = (1u << rank) - 1;
    return FV_OK;
}

/* ---- forward ---- */

typedef struct reduce {
    fv_nd_lines lines;
    fv_nd_cut cut; /* of kept */
    const fv_kernels *kernels;
    const fv_buffer *x, *y, *dy, *dx; /* dy, dx: the gradient's */
    size_t number;                    /* elements that make one */
    fv_dtype type;
    int32_t kind;
    size_t columns;
} reduce;

/* One operation on an accumulator of ACC, over n elements a step apart. Four chains; `shift` is subtracted before exp. */
#define FV_FOLD(name, type, ACC, MAGNITUDE, LOWER, EXP)                                                                          \
    static ACC name(const type *x, ptrdiff_t step, size_t n, int32_t kind, ACC acc, ACC shift) {                                 \
        (void)shift;                                                                                                             \
        switch (kind) {                                                                                                          \
        case FV_ND_MAX:                                                                                                          \
            for (size_t i = 0; i < n; i++) {                                                                                     \
                const ACC v = (ACC)x[(ptrdiff_t)i * step];                                                                       \
                if (LOWER(acc, v) || v != v) acc = v;                                                                            \
            }                                                                                                                    \
            return acc;                                                                                                          \
        case FV_ND_MIN:                                                                                                          \
            for (size_t i = 0; i < n; i++) {                                                                                     \
                const ACC v = (ACC)x[(ptrdiff_t)i * step];                                                                       \
                if (LOWER(v, acc) || v != v) acc = v;                                                                            \
            }                                                                                                                    \
            return acc;                                                                                                          \
        case FV_ND_PROD:                                                                                                         \
            for (size_t i = 0; i < n; i++) acc *= (ACC)x[(ptrdiff_t)i * step];                                                   \
            return acc;                                                                                                          \
        case FV_ND_L1:                                                                                                           \
            for (size_t i = 0; i < n; i++) acc += MAGNITUDE((ACC)x[(ptrdiff_t)i * step]);                                        \
            return acc;                                                                                                          \
        case FV_ND_L2:                                                                                                           \
        case FV_ND_SUM_SQUARE:                                                                                                   \
            for (size_t i = 0; i < n; i++) acc += (ACC)x[(ptrdiff_t)i * step] * (ACC)x[(ptrdiff_t)i * step];                     \
            return acc;                                                                                                          \
        case FV_ND_LOG_SUM_EXP:                                                                                                  \
            for (size_t i = 0; i < n; i++) acc += EXP((ACC)x[(ptrdiff_t)i * step] - shift);                                      \
            return acc;                                                                                                          \
        default: {                                                                                                               \
            ACC part[4] = {0};                                                                                                   \
            size_t i = 0;                                                                                                        \
            for (; i + 4 <= n; i += 4)                                                                                           \
                for (size_t l = 0; l < 4; l++) part[l] += (ACC)x[(ptrdiff_t)(i + l) * step];                                     \
            for (; i < n; i++) acc += (ACC)x[(ptrdiff_t)i * step];                                                               \
            return acc + ((part[0] + part[1]) + (part[2] + part[3]));                                                            \
        }                                                                                                                        \
        }                                                                                                                        \
    }

#define FV_FLOAT_MAGNITUDE(v) ((v) < 0 ? -(v) : (v))
#define FV_FLOAT_LOWER(a, b) ((a) < (b))
#define FV_FLOAT_EXP(v) ((double)fv_exp((fv_real)(v)))
FV_FOLD(fold_f32, float, double, FV_FLOAT_MAGNITUDE, FV_FLOAT_LOWER, FV_FLOAT_EXP)
FV_FOLD(fold_f64, double, double, FV_FLOAT_MAGNITUDE, FV_FLOAT_LOWER, FV_FLOAT_EXP)
#define FV_INT_MAGNITUDE(v) ((int64_t)(v) < 0 ? (uint64_t)0 - (v) : (v))
#define FV_INT_LOWER(a, b) ((int64_t)(a) < (int64_t)(b))
#define FV_INT_EXP(v) ((uint64_t)(int64_t)fv_exp((fv_real)(int64_t)(v)))
#define FV_UNSIGNED_MAGNITUDE(v) (v)
#define FV_UNSIGNED_LOWER(a, b) ((a) < (b))
FV_FOLD(fold_i8, int8_t, uint64_t, FV_INT_MAGNITUDE, FV_INT_LOWER, FV_INT_EXP)
FV_FOLD(fold_u8, uint8_t, uint64_t, FV_INT_MAGNITUDE, FV_INT_LOWER, FV_INT_EXP)
FV_FOLD(fold_i16, int16_t, uint64_t, FV_INT_MAGNITUDE, FV_INT_LOWER, FV_INT_EXP)
FV_FOLD(fold_u16, uint16_t, uint64_t, FV_INT_MAGNITUDE, FV_INT_LOWER, FV_INT_EXP)
FV_FOLD(fold_i32, int32_t, uint64_t, FV_INT_MAGNITUDE, FV_INT_LOWER, FV_INT_EXP)
FV_FOLD(fold_u32, uint32_t, uint64_t, FV_INT_MAGNITUDE, FV_INT_LOWER, FV_INT_EXP)
FV_FOLD(fold_i64, int64_t, uint64_t, FV_INT_MAGNITUDE, FV_INT_LOWER, FV_INT_EXP)
FV_FOLD(fold_u64, uint64_t, uint64_t, FV_UNSIGNED_MAGNITUDE, FV_UNSIGNED_LOWER, FV_INT_EXP)

static double fold_float(fv_dtype t, const void *x, ptrdiff_t at, ptrdiff_t step, size_t n, int32_t kind, double acc,
                         double shift) {
    return t == FV_F32 ? fold_f32((const float *)x + at, step, n, kind, acc, shift)
                       : fold_f64((const double *)x + at, step, n, kind, acc, shift);
}

static uint64_t fold_integer(fv_dtype t, const void *x, ptrdiff_t at, ptrdiff_t step, size_t n, int32_t kind, uint64_t acc,
                             uint64_t shift) {
    switch (t) {
    case FV_I8:
        return fold_i8((const int8_t *)x + at, step, n, kind, acc, shift);
    case FV_U8:
    case FV_BOOL:
        return fold_u8((const uint8_t *)x + at, step, n, kind, acc, shift);
    case FV_I16:
        return fold_i16((const int16_t *)x + at, step, n, kind, acc, shift);
    case FV_U16:
        return fold_u16((const uint16_t *)x + at, step, n, kind, acc, shift);
    case FV_I32:
        return fold_i32((const int32_t *)x + at, step, n, kind, acc, shift);
    case FV_U32:
        return fold_u32((const uint32_t *)x + at, step, n, kind, acc, shift);
    case FV_U64:
        return fold_u64((const uint64_t *)x + at, step, n, kind, acc, shift);
    default:
        return fold_i64((const int64_t *)x + at, step, n, kind, acc, shift);
    }
}

static double float_start(int32_t kind) {
    return kind == FV_ND_MAX ? -INFINITY : kind == FV_ND_MIN ? INFINITY : kind == FV_ND_PROD ? 1 : 0;
}

static uint64_t integer_start(fv_dtype t, int32_t kind) {
    const bool is_unsigned = t == FV_U8 || t == FV_U16 || t == FV_U32 || t == FV_U64 || t == FV_BOOL;
    const int bits = t == FV_BOOL ? 1 : (int)fv_dtype_bytes(t) * 8;
    if (kind == FV_ND_PROD) return 1;
    if (kind == FV_ND_MAX) return is_unsigned ? 0 : (uint64_t)(-(INT64_MAX >> (64 - bits)) - 1);
    if (kind == FV_ND_MIN) return is_unsigned ? UINT64_MAX >> (64 - bits) : (uint64_t)(INT64_MAX >> (64 - bits));
    return 0;
}

static double float_end(int32_t kind, double acc, double shift, size_t n) {
    switch (kind) {
    case FV_ND_MEAN:
        return acc / (double)n;
    case FV_ND_L2:
        return sqrt(acc);
    case FV_ND_LOG_SUM:
        return (double)fv_log((fv_real)acc);
    case FV_ND_LOG_SUM_EXP:
        return shift == -INFINITY ? shift : (double)fv_log((fv_real)acc) + shift;
    default:
        return acc;
    }
}

static uint64_t integer_end(fv_dtype t, int32_t kind, uint64_t acc, uint64_t shift, size_t n) {
    if (kind == FV_ND_MEAN && n) return t == FV_U64 ? acc / n : (uint64_t)((int64_t)acc / (int64_t)n);
    if (kind == FV_ND_L2) return (uint64_t)sqrt((double)acc);
    if (kind == FV_ND_LOG_SUM) return (uint64_t)(acc ? (int64_t)fv_log((fv_real)acc) : 0);
    if (kind == FV_ND_LOG_SUM_EXP) return (uint64_t)(acc ? (int64_t)fv_log((fv_real)acc) : 0) + shift;
    return acc;
}

static double whole_float(const reduce *s, ptrdiff_t at, int32_t kind, double shift) {
    double acc = float_start(kind);
    for (size_t r = 0; r < s->lines.gone.rows && s->number; r++) {
        ptrdiff_t o[FV_ND_OPERANDS];
        fv_nd_row(&s->lines.gone, r, o);
        acc = fold_float(s->type, s->x->data, at + o[0], s->lines.gone.step[0], s->lines.gone.length, kind, acc, shift);
    }
    return acc;
}

static uint64_t whole_integer(const reduce *s, ptrdiff_t at, int32_t kind, uint64_t shift) {
    uint64_t acc = integer_start(s->type, kind);
    for (size_t r = 0; r < s->lines.gone.rows && s->number; r++) {
        ptrdiff_t o[FV_ND_OPERANDS];
        fv_nd_row(&s->lines.gone, r, o);
        acc = fold_integer(s->type, s->x->data, at + o[0], s->lines.gone.step[0], s->lines.gone.length, kind, acc, shift);
    }
    return acc;
}

/* one(s, from, to) of every result of a piece: where its first element of x is, and where it is in y. */
static inline void each_result(const reduce *s, size_t piece, void (*one)(const reduce *s, ptrdiff_t from, ptrdiff_t to)) {
    const fv_nd_piece at = fv_nd_piece_of(&s->lines.kept, &s->cut, piece);
    for (size_t row = at.first_row; row < at.end_row; row++) {
        ptrdiff_t o[FV_ND_OPERANDS];
        fv_nd_row(&s->lines.kept, row, o);
        for (size_t i = at.columns.begin; i < at.columns.end; i++)
            one(s, o[1] + (ptrdiff_t)i * s->lines.kept.step[1], o[0] + (ptrdiff_t)i * s->lines.kept.step[0]);
    }
}

static void reduce_one(const reduce *s, ptrdiff_t from, ptrdiff_t to) {
    const bool shifted = s->kind == FV_ND_LOG_SUM_EXP;
    const bool sum = s->kind == FV_ND_SUM || s->kind == FV_ND_MEAN || s->kind == FV_ND_LOG_SUM;
    if (!fv_nd_is_float(s->type)) {
        const uint64_t shift = shifted ? whole_integer(s, from, FV_ND_MAX, 0) : 0;
        const uint64_t acc = whole_integer(s, from, s->kind, shift);
        fv_nd_set_integer(s->type, s->y->data, to, (int64_t)integer_end(s->type, s->kind, acc, shift, s->number));
        return;
    }
    double shift = 0, acc;
    if (sum && s->type == FV_REAL_DTYPE && s->lines.gone.rows == 1 && s->lines.gone.step[0] == 1 && s->number) {
        acc = (double)s->kernels->reduce.sum((const fv_real *)s->x->data + from, s->number);
    } else {
        shift = shifted ? whole_float(s, from, FV_ND_MAX, 0) : 0;
        acc = whole_float(s, from, s->kind, isfinite(shift) ? shift : 0);
        if (shift == INFINITY) acc = 1;
    }
    fv_nd_set_number(s->type, s->y->data, to, float_end(s->kind, acc, shift, s->number));
}

static void run_reduce(void *arg, size_t piece, void *scratch) {
    (void)scratch;
    each_result(arg, piece, reduce_one);
}

/* Neighbours that are kept: rows of x added, compared or multiplied into up to COLUMNS results at a time. */
static void fold_columns(const reduce *s, const fv_real *x, size_t n, double *acc) {
    switch (s->kind) {
    case FV_ND_MAX:
        for (size_t c = 0; c < n; c++) acc[c] = x[c] > acc[c] || x[c] != x[c] ? (double)x[c] : acc[c];
        break;
    case FV_ND_MIN:
        for (size_t c = 0; c < n; c++) acc[c] = x[c] < acc[c] || x[c] != x[c] ? (double)x[c] : acc[c];
        break;
    case FV_ND_PROD:
        for (size_t c = 0; c < n; c++) acc[c] *= (double)x[c];
        break;
    case FV_ND_L1:
        for (size_t c = 0; c < n; c++) acc[c] += (double)(x[c] < 0 ? -x[c] : x[c]);
        break;
    case FV_ND_L2:
    case FV_ND_SUM_SQUARE:
        for (size_t c = 0; c < n; c++) acc[c] += (double)x[c] * (double)x[c];
        break;
    default:
        for (size_t c = 0; c < n; c++) acc[c] += (double)x[c];
        break;
    }
}

static void run_columns(void *arg, size_t piece, void *scratch) {
    (void)scratch;
    const reduce *s = arg;
    const fv_nd_loop *kept = &s->lines.kept, *gone = &s->lines.gone;
    const size_t blocks = fv_div_up(kept->length, s->columns), first = piece % blocks * s->columns;
    const size_t n = fv_min_size(s->columns, kept->length - first);
    double acc[COLUMNS];
    ptrdiff_t o[FV_ND_OPERANDS], r[FV_ND_OPERANDS];
    fv_nd_row(kept, piece / blocks, o);
    for (size_t c = 0; c < n; c++) acc[c] = float_start(s->kind);
    const fv_real *x = (const fv_real *)s->x->data + o[1] + first;
    fv_real *y = (fv_real *)s->y->data + o[0] + first;
    for (size_t row = 0; row < gone->rows && s->number; row++) {
        fv_nd_row(gone, row, r);
        for (size_t i = 0; i < gone->length; i++) fold_columns(s, x + r[0] + (ptrdiff_t)i * gone->step[0], n, acc);
    }
    for (size_t c = 0; c < n; c++) y[c] = (fv_real)float_end(s->kind, acc[c], 0, s->number);
}

static fv_status reduce_infer(fv_node *n, fv_value_info *values) {
    const fv_value_info x = values[n->in[0]];
    unsigned axes;
    FV_FORWARD(fv_nd_axes(n, x.shape.rank, &axes));
    FV_RETURN_IF(n->attr.nd.kind < 0 || n->attr.nd.kind >= FV_ND_REDUCTIONS, FV_ERR_ARGUMENT, "node \"%s\": unknown reduction",
                 n->name);
    const bool extreme = n->attr.nd.kind == FV_ND_MAX || n->attr.nd.kind == FV_ND_MIN;
    FV_RETURN_IF(!fv_nd_is_number(x.dtype) && !(extreme && x.dtype == FV_BOOL), FV_ERR_UNSUPPORTED,
                 "node \"%s\": a reduction of %s", n->name, fv_dtype_name(x.dtype));
    const fv_shape y = fv_nd_reduced(&x.shape, axes, n->attr.nd.keep);
    fv_nd_infer_maps(&values[n->out[0]], x.dtype, &y, x.layout);
    return FV_OK;
}

static fv_status reduce_plan(fv_plan_op *p) {
    const fv_value_info *x = &p->values[p->node->in[0]], *y = &p->values[p->node->out[0]];
    unsigned axes;
    reduce *s;
    FV_FORWARD(fv_nd_axes(p->node, x->shape.rank, &axes));
    FV_FORWARD(fv_plan_state(p, sizeof *s, (void **)&s));
    *s = (reduce){.kernels = p->kernels,
                  .x = fv_plan_buffer(p, p->node->in[0]),
                  .y = fv_plan_buffer(p, p->node->out[0]),
                  .type = x->dtype,
                  .kind = p->node->attr.nd.kind,
                  .columns = COLUMNS};
    fv_nd_lines_make(&s->lines, x, y, axes, p->node->attr.nd.keep);
    s->number = s->lines.gone.rows * s->lines.gone.length;
    p->algorithm = "reduce";
    p->flops = (double)fv_shape_count(&x->shape);
    const fv_nd_loop *kept = &s->lines.kept;
    if (fv_shape_count(&y->shape) == 0) return FV_OK;
    if (x->dtype == FV_REAL_DTYPE && kept->step[0] == 1 && kept->step[1] == 1 && kept->length > 1 &&
        s->kind != FV_ND_LOG_SUM_EXP) {
        p->algorithm = "reduce rows";
        return fv_plan_phase(p, false, run_columns, s, kept->rows * fv_div_up(kept->length, COLUMNS));
    }
    s->cut = fv_nd_cut_make(kept);
    s->cut.rows_per_piece = fv_rows_per_piece(kept->length * fv_max_size(s->number, 1));
    s->cut.pieces = fv_div_up(kept->rows, s->cut.rows_per_piece) * s->cut.pieces_per_row;
    return fv_plan_phase(p, false, run_reduce, s, s->cut.pieces);
}

/* ---- gradient ---- */

static fv_status reduce_backward(fv_backward *b) {
    const fv_value x = b->node->in[0];
    const fv_shape shape = fv_emit_info(b->graph, x)->shape;
    const int32_t kind = b->node->attr.nd.kind;
    unsigned axes;
    FV_FORWARD(fv_nd_axes(b->node, shape.rank, &axes));
    if (kind != FV_ND_SUM && kind != FV_ND_MEAN) {
        const fv_value in[3] = {b->dout[0], x, b->node->out[0]};
        b->din[0] = fv_emit_node(b->graph, &fv_op_reduce_grad, in, 3, 1, &b->node->attr);
        return FV_OK;
    }
    const fv_shape kept = fv_nd_reduced(&shape, axes, true);
    fv_attributes expand = {.nd = {.count = shape.rank}};
    size_t number = 1;
    for (int32_t i = 0; i < shape.rank; i++) {
        expand.nd.a[i] = axes >> i & 1 ? shape.dim[i] : 1;
        if (axes >> i & 1) number *= (size_t)shape.dim[i];
    }
    FV_RETURN_IF(number == 0, FV_ERR_UNSUPPORTED,
                 "node \"%s\": a sum or mean over the open batch has no gradient; export it with a fixed batch",
                 b->node->name);
    fv_value dx = fv_emit_reshape(b->graph, b->dout[0], &kept);
    const fv_attributes scale = {.pointwise = {FV_UNARY_LINEAR, (fv_real)1 / (fv_real)fv_max_size(number, 1), 0}};
    if (kind == FV_ND_MEAN) dx = fv_emit_node(b->graph, &fv_op_unary, &dx, 1, 1, &scale);
    b->din[0] = fv_emit_node(b->graph, &fv_op_expand, &dx, 1, 1, &expand);
    return FV_OK;
}

const fv_op fv_op_reduce = {"reduce", 1, 1, 1, FV_OP_ANY_LAYOUT, reduce_infer, reduce_plan, reduce_backward};

static fv_status reduce_grad_infer(fv_node *n, fv_value_info *values) {
    fv_infer_like(&values[n->out[0]], &values[n->in[1]]);
    return FV_OK;
}

/* The elements equal to y; the product of all but element `skip`. */
static double over_set(const reduce *s, ptrdiff_t at, fv_real y, ptrdiff_t skip, bool product) {
    double acc = product ? 1 : 0;
    const fv_real *x = (const fv_real *)s->x->data + at;
    for (size_t r = 0; r < s->lines.gone.rows; r++) {
        ptrdiff_t o[FV_ND_OPERANDS];
        fv_nd_row(&s->lines.gone, r, o);
        for (size_t i = 0; i < s->lines.gone.length; i++) {
            const ptrdiff_t k = o[0] + (ptrdiff_t)i * s->lines.gone.step[0];
            if (product)
                acc *= k == skip ? 1 : (double)x[k];
            else
                acc += x[k] == y;
        }
    }
    return acc;
}

static fv_real slope(const reduce *s, ptrdiff_t at, ptrdiff_t k, fv_real y, fv_real ties) {
    const fv_real v = ((const fv_real *)s->x->data)[at + k];
    switch (s->kind) {
    case FV_ND_MAX:
    case FV_ND_MIN:
        return v == y ? 1 / ties : 0;
    case FV_ND_L1:
        return (fv_real)((v > 0) - (v < 0));
    case FV_ND_L2:
        return y > 0 ? v / y : 0;
    case FV_ND_SUM_SQUARE:
        return 2 * v;
    case FV_ND_LOG_SUM:
        return fv_exp(-y);
    case FV_ND_LOG_SUM_EXP:
        return fv_exp(v - y);
    default:
        return v != 0 ? y / v : (fv_real)over_set(s, at, 0, k, true);
    }
}

static void grad_one(const reduce *s, ptrdiff_t at, ptrdiff_t result) {
    const fv_real y = ((const fv_real *)s->y->data)[result], dy = ((const fv_real *)s->dy->data)[result];
    const bool extreme = s->kind == FV_ND_MAX || s->kind == FV_ND_MIN;
    const fv_real ties = extreme ? (fv_real)fv_max_size((size_t)over_set(s, at, y, 0, false), 1) : 1;
    for (size_t r = 0; r < s->lines.gone.rows && s->number; r++) {
        ptrdiff_t o[FV_ND_OPERANDS];
        fv_nd_row(&s->lines.gone, r, o);
        for (size_t i = 0; i < s->lines.gone.length; i++) {
            const ptrdiff_t k = o[0] + (ptrdiff_t)i * s->lines.gone.step[0];
            ((fv_real *)s->dx->data)[at + k] = dy * slope(s, at, k, y, ties);
        }
    }
}

static void run_reduce_grad(void *arg, size_t piece, void *scratch) {
    (void)scratch;
    each_result(arg, piece, grad_one);
}

/* dy and y lie alike (accumulated gradients have their value's layout). */
static fv_status reduce_grad_plan(fv_plan_op *p) {
    const fv_value *in = p->node->in;
    const fv_value_info *x = &p->values[in[1]];
    unsigned axes;
    reduce *s;
    FV_FORWARD(fv_nd_axes(p->node, x->shape.rank, &axes));
    FV_FORWARD(fv_plan_state(p, sizeof *s, (void **)&s));
    *s = (reduce){.dy = fv_plan_buffer(p, in[0]),
                  .x = fv_plan_buffer(p, in[1]),
                  .y = fv_plan_buffer(p, in[2]),
                  .dx = fv_plan_buffer(p, p->node->out[0]),
                  .type = x->dtype,
                  .kind = p->node->attr.nd.kind};
    fv_nd_lines_make(&s->lines, x, &p->values[in[2]], axes, p->node->attr.nd.keep);
    s->number = s->lines.gone.rows * s->lines.gone.length;
    if (fv_shape_count(&x->shape) == 0) return FV_OK;
    s->cut = fv_nd_cut_make(&s->lines.kept);
    s->cut.rows_per_piece = fv_rows_per_piece(s->lines.kept.length * s->number);
    s->cut.pieces = fv_div_up(s->lines.kept.rows, s->cut.rows_per_piece) * s->cut.pieces_per_row;
    p->algorithm = "reduce";
    return fv_plan_phase(p, false, run_reduce_grad, s, s->cut.pieces);
}

const fv_op fv_op_reduce_grad = {"reduce_grad", 3, 3, 1, FV_OP_ANY_LAYOUT, reduce_grad_infer, reduce_grad_plan, NULL};
