/* nd_matmul: a, b -> y, matrices of the last two axes, leading axes broadcast. float32 goes through the product of the
 * convolutions: b's matrices are packed (once a model where b is a parameter), rows of a are its pixels. Other types:
 * plain loops along k. */
#include "kernels/half.h"
#include "ops/nd_matrix.h"
#include "ops/nd_pointwise.h"

#include <math.h>
#include <string.h>

typedef struct matmul matmul;
typedef void (*rows_fn)(const matmul *s, const void *a, const void *b, void *y, fv_range rows);

struct matmul {
    const fv_kernels *kernels;
    const fv_buffer *a, *b, *y, *packed, *turned; /* turned: a's matrices transposed, where they come so */
    size_t m, k, n, batches;
    size_t a_batches, b_batches;                            /* matrices there are */
    fv_shape leading;                                       /* of y */
    ptrdiff_t a_stride[FV_MAX_RANK], b_stride[FV_MAX_RANK]; /* of its axes, in matrices */
    ptrdiff_t a_row, a_column, b_row, b_column;
    size_t element, chunk, chunks, panels, packed_each; /* chunk: rows of a piece */
    fv_conv_desc desc;
    rows_fn run;
};

/* A vector as a matrix. */
static fv_shape as_matrix(const fv_shape *s, bool left) {
    fv_shape m = *s;
    if (s->rank == 1) m = left ? (fv_shape){2, {1, s->dim[0]}} : (fv_shape){2, {s->dim[0], 1}};
    return m;
}

static fv_status matmul_infer(fv_node *n, fv_value_info *values) {
    const fv_value_info *x = &values[n->in[0]], *z = &values[n->in[1]];
    const bool turn_a = n->attr.nd.mode & 1, turn_b = n->attr.nd.mode & 2;
    FV_RETURN_IF(x->dtype != z->dtype, FV_ERR_SHAPE, "node \"%s\": its inputs are %s and %s", n->name,
                 fv_dtype_name(x->dtype), fv_dtype_name(z->dtype));
    FV_RETURN_IF(x->dtype == FV_BOOL, FV_ERR_UNSUPPORTED, "node \"%s\": a product of bool", n->name);
    FV_RETURN_IF(x->shape.rank < 1 || z->shape.rank < 1, FV_ERR_SHAPE, "node \"%s\": a product with a single number",
                 n->name);
    const fv_shape a = as_matrix(&x->shape, true), b = as_matrix(&z->shape, false);
    const int64_t m = a.dim[a.rank - (turn_a ? 1 : 2)], k = a.dim[a.rank - (turn_a ? 2 : 1)];
    const int64_t l = b.dim[b.rank - (turn_b ? 1 : 2)], columns = b.dim[b.rank - (turn_b ? 2 : 1)];
    FV_RETURN_IF(k != l, FV_ERR_SHAPE, "node \"%s\": the product of %s and %s", n->name, fv_shape_print(&x->shape).text,
                 fv_shape_print(&z->shape).text);
    fv_shape left = a, right = b, y;
    left.rank -= 2;
    right.rank -= 2;
    FV_FORWARD(fv_nd_broadcast(n->name, &left, &right, &y));
    if (x->shape.rank > 1) y.dim[y.rank++] = m;
    if (z->shape.rank > 1) y.dim[y.rank++] = columns;
    fv_nd_infer(&values[n->out[0]], x->dtype, &y);
    return FV_OK;
}

#define ROWS(name, T, S, load, store)                                                                                  \
    static void name(const matmul *s, const void *a_data, const void *b_data, void *y_data, fv_range rows) {           \
        enum { WIDTH = 64 };                                                                                           \
        for (size_t i = rows.begin; i < rows.end; i++)                                                                 \
            for (size_t first = 0; first < s->n; first += WIDTH) {                                                     \
                const size_t width = fv_min_size(WIDTH, s->n - first);                                                 \
                S sum[WIDTH] = {0};                                                                                    \
                for (size_t c = 0; c < s->k; c++) {                                                                    \
                    const S x = load(((const T *)a_data)[(ptrdiff_t)i * s->a_row + (ptrdiff_t)c * s->a_column]);       \
                    const T *z = (const T *)b_data + (ptrdiff_t)c * s->b_row + (ptrdiff_t)first * s->b_column;         \
                    for (size_t j = 0; j < width; j++) sum[j] += x * (S)load(z[(ptrdiff_t)j * s->b_column]);           \
                }                                                                                                      \
                for (size_t j = 0; j < width; j++) ((T *)y_data)[i * s->n + first + j] = (T)store(sum[j]);             \
            }                                                                                                          \
    }
#define AS_IS(x) (x)
ROWS(rows_f32, float, float, AS_IS, AS_IS)
ROWS(rows_f64, double, double, AS_IS, AS_IS)
ROWS(rows_f16, uint16_t, float, fv_half_to_float, fv_half_from_float)
ROWS(rows_8, uint8_t, uint32_t, AS_IS, AS_IS)
ROWS(rows_16, uint16_t, uint32_t, AS_IS, AS_IS)
ROWS(rows_32, uint32_t, uint32_t, AS_IS, AS_IS)
ROWS(rows_64, uint64_t, uint64_t, AS_IS, AS_IS)

static rows_fn rows_of(fv_dtype t) {
    if (t == FV_F32) return rows_f32;
    if (t == FV_F64) return rows_f64;
    if (t == FV_F16) return rows_f16;
    return fv_dtype_bytes(t) == 1   ? rows_8
           : fv_dtype_bytes(t) == 2 ? rows_16
           : fv_dtype_bytes(t) == 4 ? rows_32
                                    : rows_64;
}

/* Numbers of a's and b's matrices in batch `batch` of y. */
static void matrices_of(const matmul *s, size_t batch, size_t *a, size_t *b) {
    ptrdiff_t x = 0, z = 0;
    for (int32_t i = s->leading.rank; i-- > 0;) {
        const ptrdiff_t at = (ptrdiff_t)(batch % (size_t)s->leading.dim[i]);
        batch /= (size_t)s->leading.dim[i];
        x += at * s->a_stride[i];
        z += at * s->b_stride[i];
    }
    *a = (size_t)x;
    *b = (size_t)z;
}

static void run_plain(void *arg, size_t piece, void *scratch) {
    (void)scratch;
    const matmul *s = arg;
    const size_t batch = piece / s->chunks, chunk = piece % s->chunks;
    size_t a, b;
    matrices_of(s, batch, &a, &b);
    s->run(s, (const char *)s->a->data + a * s->m * s->k * s->element,
           (const char *)s->b->data + b * s->k * s->n * s->element,
           (char *)s->y->data + batch * s->m * s->n * s->element,
           (fv_range){chunk * s->chunk, fv_min_size((chunk + 1) * s->chunk, s->m)});
}

/* ---- float, through the product ---- */

static void run_pack(void *arg, size_t piece, void *scratch) {
    (void)scratch;
    const matmul *s = arg;
    const size_t matrix = piece / s->panels, panel = piece % s->panels;
    const fv_conv_weights w = {(const fv_real *)s->b->data + matrix * s->k * s->n, 0, 0, s->b_row, s->b_column};
    s->kernels->conv.pack(&s->desc, &w, (fv_real *)s->packed->data + matrix * s->packed_each,
                          (fv_range){panel, panel + 1});
}

static void run_turn(void *arg, size_t piece, void *scratch) {
    (void)scratch;
    const matmul *s = arg;
    const size_t at = piece * s->m * s->k;
    s->kernels->convert.transpose((const fv_real *)s->a->data + at, (ptrdiff_t)s->m, (fv_real *)s->turned->data + at,
                                  (ptrdiff_t)s->k, s->m, (fv_range){0, s->k});
}

static void run_product(void *arg, size_t piece, void *scratch) {
    const matmul *s = arg;
    const size_t batch = piece / s->chunks, chunk = piece % s->chunks;
    size_t a, b;
    matrices_of(s, batch, &a, &b);
    s->kernels->conv.forward(
        &s->desc, (const fv_real *)(s->turned ? s->turned : s->a)->data + a * s->m * s->k,
        (const fv_real *)s->packed->data + b * s->packed_each, NULL, NULL, (fv_real *)s->y->data + batch * s->m * s->n,
        (fv_range){chunk * s->chunk, fv_min_size((chunk + 1) * s->chunk, s->m)}, (fv_range){0, s->panels}, scratch);
}

static void describe(matmul *s) {
    static const int32_t tap[1][3] = {{0, 0, 0}};
    const ptrdiff_t in = (ptrdiff_t)s->k, out = (ptrdiff_t)s->n, rows = (ptrdiff_t)s->m;
    s->desc = (fv_conv_desc){.images = 1,
                             .out = {1, 1, (int32_t)s->m},
                             .in = {1, 1, (int32_t)s->m},
                             .step = {1, 1, 1},
                             .taps = 1,
                             .tap = tap,
                             .in_channels = (int32_t)s->k,
                             .out_channels = (int32_t)s->n,
                             .groups = 1,
                             .in_pitch = {in * rows, in * rows, in * rows, in},
                             .out_pitch = {out * rows, out * rows, out * rows, out},
                             .act_low = -INFINITY,
                             .act_high = INFINITY};
}

static fv_status plan_product(fv_plan_op *p, matmul *s) {
    const struct {
        char kind[8];
        int64_t k, n, mode;
    } key = {"matmul", (int64_t)s->k, (int64_t)s->n, p->node->attr.nd.mode & 2};
    bool fresh, in_run;
    fv_buffer *packed, *turned;
    size_t bytes;
    describe(s);
    s->packed_each = s->kernels->conv.packed_size(&s->desc);
    s->panels = fv_div_up(s->n, (size_t)s->kernels->conv.nr);
    FV_RETURN_IF(!fv_mul_size(s->packed_each * sizeof(fv_real), s->b_batches, &bytes), FV_ERR_LIMIT,
                 "node \"%s\" is too large", p->node->name);
    FV_FORWARD(fv_plan_packed(p, p->node->in[1], &key, sizeof key, bytes, &packed, &fresh, &in_run));
    s->packed = packed;
    if (fresh) FV_FORWARD(fv_plan_phase(p, !in_run, run_pack, s, s->b_batches * s->panels));
    if (p->node->attr.nd.mode & 1 && s->m > 1 && s->k > 1) {
        FV_FORWARD(fv_plan_workspace(p, s->a_batches * s->m * s->k * sizeof(fv_real), &turned));
        s->turned = turned;
        FV_FORWARD(fv_plan_phase(p, false, run_turn, s, s->a_batches));
    }
    const size_t mr = (size_t)s->kernels->conv.mr,
                 wide = fv_max_size(1, 65536 / fv_max_size(1, s->k + s->n)); /* 256 KiB of a and y */
    s->chunk = fv_round_up(fv_min_size(wide, s->m), mr);
    s->chunks = fv_div_up(s->m, s->chunk);
    fv_plan_scratch(p, s->kernels->conv.forward_scratch(&s->desc));
    p->algorithm = "product";
    p->packed_bytes = bytes;
    return fv_plan_phase(p, false, run_product, s, s->batches * s->chunks);
}

static size_t matrices_in(const fv_shape *s) {
    size_t count = 1;
    for (int32_t i = 0; i < s->rank - 2; i++) count *= (size_t)s->dim[i];
    return count;
}

/* Leading axes of an operand in y's, in matrices. */
static void lead(const fv_shape *operand, const fv_shape *leading, ptrdiff_t stride[FV_MAX_RANK]) {
    fv_value_info info = {.shape = *operand, .layout = FV_PLAIN};
    info.shape.rank -= 2;
    fv_nd_operand(leading, &info, stride);
}

static fv_status matmul_plan(fv_plan_op *p) {
    const fv_node *n = p->node;
    const fv_value_info *x = &p->values[n->in[0]], *z = &p->values[n->in[1]];
    const fv_shape a = as_matrix(&x->shape, true), b = as_matrix(&z->shape, false);
    const bool turn_a = n->attr.nd.mode & 1, turn_b = n->attr.nd.mode & 2;
    matmul *s;
    FV_FORWARD(fv_plan_state(p, sizeof *s, (void **)&s));
    *s = (matmul){.kernels = p->kernels,
                  .a = fv_plan_buffer(p, n->in[0]),
                  .b = fv_plan_buffer(p, n->in[1]),
                  .y = fv_plan_buffer(p, n->out[0]),
                  .m = (size_t)a.dim[a.rank - (turn_a ? 1 : 2)],
                  .k = (size_t)a.dim[a.rank - (turn_a ? 2 : 1)],
                  .n = (size_t)b.dim[b.rank - (turn_b ? 2 : 1)],
                  .a_batches = matrices_in(&a),
                  .b_batches = matrices_in(&b),
                  .element = fv_dtype_bytes(x->dtype)};
    s->leading = p->values[n->out[0]].shape;
    s->leading.rank -= (x->shape.rank > 1) + (z->shape.rank > 1);
    lead(&a, &s->leading, s->a_stride);
    lead(&b, &s->leading, s->b_stride);
    s->batches = 1;
    for (int32_t i = 0; i < s->leading.rank; i++) s->batches *= (size_t)s->leading.dim[i];
    if (s->b_batches == 1 && !turn_a && s->a_batches == s->batches) { /* one matrix for all: the batches are rows */
        s->m *= s->batches;
        s->batches = s->a_batches = 1;
        s->leading.rank = 0;
    }
    s->a_row = turn_a ? 1 : (ptrdiff_t)s->k;
    s->a_column = turn_a ? (ptrdiff_t)s->m : 1;
    s->b_row = turn_b ? 1 : (ptrdiff_t)s->n;
    s->b_column = turn_b ? (ptrdiff_t)s->k : 1;
    p->flops = 2 * (double)s->m * (double)s->k * (double)s->n * (double)s->batches;
    if (s->m == 0 || s->n == 0 || s->batches == 0) return FV_OK;
    const bool fits = s->m <= INT32_MAX && s->k <= INT32_MAX && s->n <= INT32_MAX;
    if (x->dtype == FV_REAL_DTYPE && s->k > 0 && fits) return plan_product(p, s);
    s->run = rows_of(x->dtype);
    s->chunk = fv_rows_per_piece(s->n * fv_max_size(1, s->k / 16));
    s->chunks = fv_div_up(s->m, s->chunk);
    p->algorithm = "loops";
    return fv_plan_phase(p, false, run_plain, s, s->batches * s->chunks);
}

static fv_value product(fv_backward *b, fv_value left, fv_value right, bool turn_left, bool turn_right) {
    const fv_value in[2] = {left, right};
    const fv_attributes attr = {.nd = {.mode = turn_left | turn_right << 1}};
    return fv_emit_node(b->graph, &fv_op_nd_matmul, in, 2, 1, &attr);
}

/* A vector as the matrix that the product took it for; y with the axis that then was left out. */
static fv_value widened(fv_backward *b, fv_value v, bool row) {
    const fv_shape shape = fv_emit_info(b->graph, v)->shape;
    const fv_shape wide = as_matrix(&shape, row);
    return shape.rank == 1 ? fv_emit_reshape(b->graph, v, &wide) : v;
}

static fv_value widened_gradient(fv_backward *b, bool row, bool column) {
    fv_shape y = fv_emit_info(b->graph, b->dout[0])->shape;
    if (column) y.dim[y.rank++] = 1;
    if (row) {
        y.dim[y.rank] = y.dim[y.rank - 1];
        y.dim[y.rank++ - 1] = 1;
    }
    return row || column ? fv_emit_reshape(b->graph, b->dout[0], &y) : b->dout[0];
}

/* da summed to the matrix that stands for v, in v's shape. */
static fv_value narrowed(fv_backward *b, fv_value gradient, fv_value matrix, fv_value v) {
    const fv_shape shape = fv_emit_info(b->graph, v)->shape;
    gradient = fv_nd_sum_to(b->graph, gradient, matrix, 0);
    return matrix == v ? gradient : fv_emit_reshape(b->graph, gradient, &shape);
}

static fv_status matmul_backward(fv_backward *b) {
    const fv_value left = b->node->in[0], right = b->node->in[1];
    const bool turn_a = b->node->attr.nd.mode & 1, turn_b = b->node->attr.nd.mode & 2;
    const bool row = fv_emit_info(b->graph, left)->shape.rank == 1,
               column = fv_emit_info(b->graph, right)->shape.rank == 1;
    const fv_value x = widened(b, left, true), z = widened(b, right, false), dy = widened_gradient(b, row, column);
    if (x == FV_NONE || z == FV_NONE || dy == FV_NONE) return FV_OK; /* the graph holds the error */
    if (b->wanted[0]) {
        const fv_value da = turn_a ? product(b, z, dy, turn_b, true) : product(b, dy, z, false, !turn_b);
        b->din[0] = narrowed(b, da, x, left);
    }
    if (b->wanted[1]) {
        const fv_value db = turn_b ? product(b, dy, x, true, turn_a) : product(b, x, dy, !turn_a, false);
        b->din[1] = narrowed(b, db, z, right);
    }
    return FV_OK;
}

const fv_op fv_op_nd_matmul = {"nd_matmul", 2, 2, 1, FV_OP_PLAIN, matmul_infer, matmul_plan, matmul_backward};
