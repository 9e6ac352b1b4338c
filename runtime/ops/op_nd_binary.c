/* nd_binary: a, b broadcast -> y. nd_binary_grad: dy, a, b -> the gradient of one of them. nd_sum_to: dy -> summed to a
 * smaller shape. */
#include "kernels/half.h"
#include "kernels/math64.h"
#include "ops/nd_pointwise.h"

/* Steps are 0 or 1 where rows are long; those loops vectorize. */
typedef void (*row_fn)(const void *a, ptrdiff_t a_step, const void *b, ptrdiff_t b_step, void *y, size_t n);

#define ROW(name, T, U, load, store, expression)                                                                       \
    static void name(const void *a_data, ptrdiff_t a_step, const void *b_data, ptrdiff_t b_step, void *y_data,         \
                     size_t n) {                                                                                       \
        const T *a = a_data, *b = b_data;                                                                              \
        U *y = y_data;                                                                                                 \
        if (a_step == 1 && b_step == 1) {                                                                              \
            for (size_t i = 0; i < n; i++) {                                                                           \
                const __typeof__(load(*a)) x = load(a[i]), z = load(b[i]);                                             \
                y[i] = store(expression);                                                                              \
            }                                                                                                          \
        } else if (a_step == 1 && b_step == 0) {                                                                       \
            const __typeof__(load(*a)) z = n ? load(*b) : 0;                                                           \
            for (size_t i = 0; i < n; i++) {                                                                           \
                const __typeof__(load(*a)) x = load(a[i]);                                                             \
                y[i] = store(expression);                                                                              \
            }                                                                                                          \
        } else {                                                                                                       \
            for (ptrdiff_t i = 0; i < (ptrdiff_t)n; i++) {                                                             \
                const __typeof__(load(*a)) x = load(a[i * a_step]), z = load(b[i * b_step]);                           \
                y[i] = store(expression);                                                                              \
            }                                                                                                          \
        }                                                                                                              \
    }

#define SAME(x) (x)

static inline uint64_t power_of(uint64_t x, int64_t y) {
    uint64_t r = 1;
    if (y < 0) return x == 1 ? 1 : x == UINT64_MAX ? (y & 1 ? x : 1) : 0;
    for (; y; y >>= 1, x *= x)
        if (y & 1) r *= x;
    return r;
}

#define INT_ROWS(S, T)                                                                                                 \
    ROW(add_##S, T, T, SAME, SAME, (T)((uint64_t)x + (uint64_t)z))                                                     \
    ROW(sub_##S, T, T, SAME, SAME, (T)((uint64_t)x - (uint64_t)z))                                                     \
    ROW(mul_##S, T, T, SAME, SAME, (T)((uint64_t)x * (uint64_t)z))                                                     \
    ROW(pow_##S, T, T, SAME, SAME, (T)power_of((uint64_t)x, (int64_t)z))                                               \
    ROW(min_##S, T, T, SAME, SAME, x < z ? x : z)                                                                      \
    ROW(max_##S, T, T, SAME, SAME, x > z ? x : z)                                                                      \
    ROW(prelu_##S, T, T, SAME, SAME, x > 0 ? x : (T)((uint64_t)x * (uint64_t)z))                                       \
    ROW(and_##S, T, T, SAME, SAME, (T)(x & z))                                                                         \
    ROW(or_##S, T, T, SAME, SAME, (T)(x | z))                                                                          \
    ROW(xor_##S, T, T, SAME, SAME, (T)(x ^ z))                                                                         \
    ROW(left_##S, T, T, SAME, SAME, (uint64_t)z >= 8 * sizeof(T) ? 0 : (T)((uint64_t)x << z))                          \
    /* All bits out leave copies of the sign. */                                                                       \
    ROW(right_##S, T, T, SAME, SAME,                                                                                   \
        (T)((uint64_t)z >= 8 * sizeof(T) ? x >> (8 * sizeof(T) - 1) >> 1 : x >> z))                                    \
    ROW(equal_##S, T, uint8_t, SAME, SAME, x == z)                                                                     \
    ROW(less_##S, T, uint8_t, SAME, SAME, x < z)                                                                       \
    ROW(less_equal_##S, T, uint8_t, SAME, SAME, x <= z)

/* No divisor makes these trap: by 0 is 0, and -1 negates. */
static inline int64_t divide(int64_t x, int64_t z) { return z == 0 ? 0 : z == -1 ? (int64_t)(0 - (uint64_t)x) : x / z; }
static inline int64_t remain(int64_t x, int64_t z) { return z == 0 || z == -1 ? 0 : x % z; }
static inline int64_t remain_floor(int64_t x, int64_t z) {
    const int64_t r = remain(x, z);
    return r != 0 && (r < 0) != (z < 0) ? r + z : r;
}

#define SIGNED_ROWS(S, T)                                                                                              \
    INT_ROWS(S, T)                                                                                                     \
    ROW(div_##S, T, T, SAME, SAME, (T)divide(x, z))                                                                    \
    ROW(fmod_##S, T, T, SAME, SAME, (T)remain(x, z))                                                                   \
    ROW(mod_##S, T, T, SAME, SAME, (T)remain_floor(x, z))
#define UNSIGNED_ROWS(S, T)                                                                                            \
    INT_ROWS(S, T)                                                                                                     \
    ROW(div_##S, T, T, SAME, SAME, z == 0 ? 0 : (T)(x / z))                                                            \
    ROW(fmod_##S, T, T, SAME, SAME, z == 0 ? 0 : (T)(x % z))

SIGNED_ROWS(i8, int8_t)
SIGNED_ROWS(i16, int16_t)
SIGNED_ROWS(i32, int32_t)
SIGNED_ROWS(i64, int64_t)
UNSIGNED_ROWS(u8, uint8_t)
UNSIGNED_ROWS(u16, uint16_t)
UNSIGNED_ROWS(u32, uint32_t)
UNSIGNED_ROWS(u64, uint64_t)

static inline double modulo(double x, double z) {
    const double r = fmod(x, z);
    return r != 0 && (r < 0) != (z < 0) ? r + z : r;
}

#define FLOAT_ROWS(S, T, load, store, POWER, FMOD)                                                                     \
    ROW(add_##S, T, T, load, store, x + z)                                                                             \
    ROW(sub_##S, T, T, load, store, x - z)                                                                             \
    ROW(mul_##S, T, T, load, store, x *z)                                                                              \
    ROW(div_##S, T, T, load, store, x / z)                                                                             \
    ROW(pow_##S, T, T, load, POWER, fv_pow64(x, z))                                                                    \
    ROW(min_##S, T, T, load, store, x < z || x != x ? x : z)                                                           \
    ROW(max_##S, T, T, load, store, x > z || x != x ? x : z)                                                           \
    ROW(mod_##S, T, T, load, POWER, modulo(x, z))                                                                      \
    ROW(fmod_##S, T, T, load, store, FMOD(x, z))                                                                       \
    ROW(prelu_##S, T, T, load, store, x > 0 ? x : x * z)                                                               \
    ROW(equal_##S, T, uint8_t, load, SAME, x == z)                                                                     \
    ROW(less_##S, T, uint8_t, load, SAME, x < z)                                                                       \
    ROW(less_equal_##S, T, uint8_t, load, SAME, x <= z)

#define TO_FLOAT(x) (float)(x)
FLOAT_ROWS(f32, float, SAME, SAME, TO_FLOAT, fmodf)
FLOAT_ROWS(f64, double, SAME, SAME, SAME, fmod)
FLOAT_ROWS(f16, uint16_t, fv_half_to_float, fv_half_from_float, fv_half_from_double, fmodf)

#define FLOAT_TABLE(S)                                                                                                 \
    {                                                                                                                  \
        add_##S, sub_##S, mul_##S, div_##S, pow_##S, min_##S, max_##S, mod_##S, fmod_##S, prelu_##S, NULL, NULL, NULL, \
            NULL, NULL, equal_##S, less_##S, less_equal_##S                                                            \
    }
#define INT_TABLE(S, mod)                                                                                              \
    {                                                                                                                  \
        add_##S, sub_##S, mul_##S, div_##S, pow_##S, min_##S, max_##S, mod, fmod_##S, prelu_##S, and_##S, or_##S,      \
            xor_##S, left_##S, right_##S, equal_##S, less_##S, less_equal_##S                                          \
    }

static const row_fn table[12][FV_ND_BINARY_COUNT] = {
    [FV_F32] = FLOAT_TABLE(f32),
    [FV_F64] = FLOAT_TABLE(f64),
    [FV_F16] = FLOAT_TABLE(f16),
    [FV_I8] = INT_TABLE(i8, mod_i8),
    [FV_I16] = INT_TABLE(i16, mod_i16),
    [FV_I32] = INT_TABLE(i32, mod_i32),
    [FV_I64] = INT_TABLE(i64, mod_i64),
    [FV_U8] = INT_TABLE(u8, fmod_u8),
    [FV_U16] = INT_TABLE(u16, fmod_u16),
    [FV_U32] = INT_TABLE(u32, fmod_u32),
    [FV_U64] = INT_TABLE(u64, fmod_u64),
    [FV_BOOL] = {[FV_ND_BIT_AND] = and_u8, or_u8, xor_u8, [FV_ND_EQUAL] = equal_u8},
};

void fv_nd_rows_make(const fv_plan_op *p, fv_nd_rows *s, int32_t inputs, const int32_t *trailing) {
    const fv_node *n = p->node;
    const fv_value_info *y = &p->values[n->out[0]];
    ptrdiff_t stride[FV_ND_OPERANDS][FV_MAX_RANK];
    int32_t order[FV_MAX_RANK];
    for (int32_t k = 0; k <= inputs; k++) {
        const fv_value v = k == inputs ? n->out[0] : n->in[k];
        s->buffer[k] = fv_plan_buffer(p, v == FV_NONE ? n->out[0] : v);
        s->bytes[k] = fv_dtype_bytes(p->values[v == FV_NONE ? n->out[0] : v].dtype);
        for (int32_t i = 0; i < FV_MAX_RANK; i++) stride[k][i] = 0;
        if (v != FV_NONE) fv_nd_operand_before(&y->shape, &p->values[v], trailing ? trailing[k] : 0, stride[k]);
    }
    fv_nd_order(y->shape.rank, y->layout, order);
    fv_nd_loop_make(&s->loop, &y->shape, inputs + 1, stride, order);
    s->cut = fv_nd_cut_make(&s->loop);
}

/* ---- forward ---- */

typedef struct binary {
    fv_nd_rows rows;
    row_fn run;
    fv_binary_fn dense; /* of rows without gaps, or NULL */
} binary;

static fv_status broadcast_of(const fv_node *n, const fv_value_info *values, int32_t a, int32_t b, fv_shape *out) {
    fv_shape second = values[n->in[b]].shape;
    FV_RETURN_IF(n->attr.nd.mode < 0 || second.rank + n->attr.nd.mode > FV_MAX_RANK, FV_ERR_SHAPE,
                 "node \"%s\": %d axes behind those of %s", n->name, n->attr.nd.mode, fv_shape_print(&second).text);
    for (int32_t i = 0; i < n->attr.nd.mode; i++) second.dim[second.rank++] = 1;
    return fv_nd_broadcast(n->name, &values[n->in[a]].shape, &second, out);
}

static fv_status binary_infer(fv_node *n, fv_value_info *values) {
    const fv_dtype type = values[n->in[0]].dtype;
    const int32_t kind = n->attr.nd.kind;
    fv_shape shape;
    FV_RETURN_IF(kind < 0 || kind >= FV_ND_BINARY_COUNT, FV_ERR_ARGUMENT, "node \"%s\": unknown function %d", n->name,
                 kind);
    FV_RETURN_IF(type != values[n->in[1]].dtype, FV_ERR_SHAPE, "node \"%s\": its inputs are %s and %s", n->name,
                 fv_dtype_name(type), fv_dtype_name(values[n->in[1]].dtype));
    FV_RETURN_IF(!table[type][kind], FV_ERR_UNSUPPORTED, "node \"%s\": this function does not take %s", n->name,
                 fv_dtype_name(type));
    FV_FORWARD(broadcast_of(n, values, 0, 1, &shape));
    const fv_dtype made = kind >= FV_ND_EQUAL ? FV_BOOL : type;
    const fv_layout layout = fv_nd_layout(n, values, made, shape.rank);
    fv_nd_infer(&values[n->out[0]], made, &shape);
    values[n->out[0]].layout = layout;
    return FV_OK;
}

static void run_binary(void *arg, size_t piece, void *scratch) {
    (void)scratch;
    const binary *s = arg;
    const ptrdiff_t a = s->rows.loop.step[0], b = s->rows.loop.step[1];
    FV_ND_EACH_ROW(&s->rows, piece, at, count, {
        if (s->dense && a == 1 && b == 1)
            s->dense((const fv_real *)(void *)at[0], (const fv_real *)(void *)at[1], (fv_real *)(void *)at[2], count);
        else
            s->run(at[0], a, at[1], b, at[2], count);
    });
}

static fv_status binary_plan(fv_plan_op *p) {
    const fv_node *n = p->node;
    const fv_dtype type = p->values[n->in[0]].dtype;
    const int32_t trailing[3] = {0, n->attr.nd.mode, 0};
    binary *s;
    FV_FORWARD(fv_plan_state(p, sizeof *s, (void **)&s));
    fv_nd_rows_make(p, &s->rows, 2, trailing);
    s->run = table[type][n->attr.nd.kind];
    if (type == FV_REAL_DTYPE && n->attr.nd.kind <= FV_ND_MUL) s->dense = p->kernels->pointwise.binary[n->attr.nd.kind];
    p->algorithm = s->rows.loop.rows == 1 ? "pointwise" : "broadcast";
    p->flops = (double)fv_shape_count(&p->values[n->out[0]].shape);
    return fv_plan_phase(p, false, run_binary, s, s->rows.cut.pieces);
}

static fv_status binary_backward(fv_backward *b) {
    const fv_value in[3] = {b->dout[0], b->node->in[0], b->node->in[1]};
    FV_RETURN_IF(b->node->attr.nd.kind >= FV_ND_BIT_AND, FV_ERR_UNSUPPORTED,
                 "node \"%s\": this function has no gradient", b->node->name);
    for (int i = 0; i < 2; i++) {
        if (!b->wanted[i]) continue;
        fv_attributes attr = b->node->attr;
        attr.nd.flag = i;
        const int32_t kind = attr.nd.kind;
        const bool passes = kind == FV_ND_ADD || (kind == FV_ND_SUB && i == 0);
        const fv_value full = passes ? b->dout[0] : fv_emit_node(b->graph, &fv_op_nd_binary_grad, in, 3, 1, &attr);
        b->din[i] = fv_nd_sum_to(b->graph, full, b->node->in[i], i ? attr.nd.mode : 0);
    }
    return FV_OK;
}

const fv_op fv_op_nd_binary = {"nd_binary", 2, 2, 1, FV_OP_ANY_LAYOUT, binary_infer, binary_plan, binary_backward};

/* ---- the gradient of one operand, in the output's shape ---- */

static double slope_of(int32_t kind, bool second, double a, double b) {
    switch (kind) {
    case FV_ND_SUB:
        return second ? -1 : 1;
    case FV_ND_MUL:
        return second ? a : b;
    case FV_ND_DIV:
        return second ? -a / (b * b) : 1 / b;
    case FV_ND_POW:
        if (second) return a > 0 ? fv_pow64(a, b) * fv_log64(a) : 0;
        return b == 0 ? 0 : b * fv_pow64(a, b - 1);
    case FV_ND_LEAST:
        return second ? b < a : !(b < a);
    case FV_ND_LARGEST:
        return second ? b > a : !(b > a);
    case FV_ND_MOD:
        return second ? -floor(a / b) : 1;
    case FV_ND_FMOD:
        return second ? -trunc(a / b) : 1;
    case FV_ND_PRELU:
        return second ? (a > 0 ? 0 : a) : (a > 0 ? 1 : b);
    default:
        return 1;
    }
}

typedef struct binary_grad {
    fv_nd_rows rows;
    int32_t kind;
    bool second;
} binary_grad;

static fv_status binary_grad_infer(fv_node *n, fv_value_info *values) {
    fv_shape shape;
    FV_FORWARD(broadcast_of(n, values, 1, 2, &shape));
    FV_RETURN_IF(!fv_shape_same(&shape, &values[n->in[0]].shape), FV_ERR_SHAPE, "node \"%s\": a gradient %s of %s",
                 n->name, fv_shape_print(&values[n->in[0]].shape).text, fv_shape_print(&shape).text);
    fv_infer_like(&values[n->out[0]], &values[n->in[0]]);
    return FV_OK;
}

static void run_binary_grad(void *arg, size_t piece, void *scratch) {
    (void)scratch;
    const binary_grad *s = arg;
    const ptrdiff_t *step = s->rows.loop.step;
    FV_ND_EACH_ROW(&s->rows, piece, at, count, {
        const fv_real *dy = (void *)at[0], *a = (void *)at[1], *b = (void *)at[2];
        fv_real *dx = (void *)at[3];
        for (ptrdiff_t i = 0; i < (ptrdiff_t)count; i++)
            dx[i] = (fv_real)(dy[i * step[0]] * slope_of(s->kind, s->second, a[i * step[1]], b[i * step[2]]));
    });
}

static fv_status binary_grad_plan(fv_plan_op *p) {
    const int32_t trailing[4] = {0, 0, p->node->attr.nd.mode, 0};
    binary_grad *s;
    FV_FORWARD(fv_plan_state(p, sizeof *s, (void **)&s));
    fv_nd_rows_make(p, &s->rows, 3, trailing);
    s->kind = p->node->attr.nd.kind;
    s->second = p->node->attr.nd.flag;
    p->algorithm = "broadcast";
    p->flops = (double)fv_shape_count(&p->values[p->node->out[0]].shape);
    return fv_plan_phase(p, false, run_binary_grad, s, s->rows.cut.pieces);
}

const fv_op fv_op_nd_binary_grad = {"nd_binary_grad", 3,   3, 1, FV_OP_ANY_LAYOUT, binary_grad_infer,
                                    binary_grad_plan, NULL};

/* ---- sums over stretched axes ---- */

enum { COLUMNS = 256 };

/* kept: rows of the output, dy beside it; summed: the axes that go, dy alone. */
typedef struct sum_to {
    fv_nd_rows kept;
    fv_nd_loop summed;
} sum_to;

fv_value fv_nd_sum_to(fv_graph *g, fv_value dy, fv_value v, int32_t trailing) {
    const fv_value in[2] = {dy, v};
    const fv_attributes attr = {.nd = {.mode = trailing}};
    if (dy == FV_NONE || (!trailing && fv_shape_same(&fv_emit_info(g, dy)->shape, &fv_emit_info(g, v)->shape)))
        return dy;
    return fv_emit_node(g, &fv_op_nd_sum_to, in, 2, 1, &attr);
}

static fv_status sum_to_infer(fv_node *n, fv_value_info *values) {
    fv_shape shape;
    FV_FORWARD(broadcast_of(n, values, 0, 1, &shape));
    FV_RETURN_IF(!fv_shape_same(&shape, &values[n->in[0]].shape), FV_ERR_SHAPE, "node \"%s\": %s is not summed to %s",
                 n->name, fv_shape_print(&values[n->in[0]].shape).text, fv_shape_print(&values[n->in[1]].shape).text);
    fv_infer_like(&values[n->out[0]], &values[n->in[1]]);
    values[n->out[0]].dtype = values[n->in[0]].dtype;
    if (values[n->out[0]].layout != FV_NHWC) values[n->out[0]].layout = FV_PLAIN;
    return FV_OK;
}

static void run_sum_to(void *arg, size_t piece, void *scratch) {
    (void)scratch;
    const sum_to *s = arg;
    const fv_nd_loop *r = &s->summed;
    FV_ND_EACH_ROW(&s->kept, piece, at, count, {
        for (size_t first = 0; first < count; first += COLUMNS) {
            const size_t width = fv_min_size(COLUMNS, count - first);
            double sum[COLUMNS] = {0};
            for (size_t row = 0; row < r->rows; row++) {
                ptrdiff_t offset[FV_ND_OPERANDS];
                fv_nd_row(r, row, offset);
                const fv_real *dy =
                    (const fv_real *)(void *)at[0] + (ptrdiff_t)first * s->kept.loop.step[0] + offset[0];
                for (size_t k = 0; k < r->length; k++, dy += r->step[0])
                    for (size_t i = 0; i < width; i++) sum[i] += dy[(ptrdiff_t)i * s->kept.loop.step[0]];
            }
            for (size_t i = 0; i < width; i++) ((fv_real *)(void *)at[1])[first + i] = (fv_real)sum[i];
        }
    });
}

static fv_status sum_to_plan(fv_plan_op *p) {
    const fv_node *n = p->node;
    const fv_value_info *dy = &p->values[n->in[0]], *out = &p->values[n->out[0]];
    ptrdiff_t stride[FV_ND_OPERANDS][FV_MAX_RANK] = {{0}}, whole[FV_ND_OPERANDS][FV_MAX_RANK] = {{0}};
    int32_t order[FV_MAX_RANK];
    sum_to *s;
    FV_FORWARD(fv_plan_state(p, sizeof *s, (void **)&s));
    fv_nd_strides(&dy->shape, dy->layout, stride[0]);
    fv_nd_operand_before(&dy->shape, out, n->attr.nd.mode, stride[1]);
    fv_shape kept = dy->shape, summed = dy->shape;
    for (int32_t i = 0; i < dy->shape.rank; i++) {
        const bool stays = stride[1][i] != 0 || dy->shape.dim[i] == 1;
        *(stays ? &summed.dim[i] : &kept.dim[i]) = 1;
        whole[0][i] = stride[0][i];
    }
    fv_nd_order(dy->shape.rank, n->attr.nd.mode ? FV_PLAIN : out->layout, order);
    fv_nd_loop_make(&s->kept.loop, &kept, 2, stride, order);
    fv_nd_loop_make(&s->summed, &summed, 1, whole, NULL);
    s->kept.cut = fv_nd_cut_make(&s->kept.loop);
    s->kept.buffer[0] = fv_plan_buffer(p, n->in[0]);
    s->kept.buffer[1] = fv_plan_buffer(p, n->out[0]);
    s->kept.bytes[0] = s->kept.bytes[1] = sizeof(fv_real);
    p->algorithm = "sum";
    p->flops = (double)fv_shape_count(&dy->shape);
    return fv_plan_phase(p, false, run_sum_to, s, s->kept.cut.pieces);
}

const fv_op fv_op_nd_sum_to = {"nd_sum_to", 2, 2, 1, FV_OP_ANY_LAYOUT, sum_to_infer, sum_to_plan, NULL};
