/* nd_cast: x -> the same values in another type. Floats to whole numbers: towards zero, held within the type, NaN to 0;
 * whole numbers among themselves wrap; anything but 0 is true. Every conversion rounds once, to nearest and even. attr.nd.flag: for
 * files, which must say that numbers are held. */
#include "kernels/half.h"
#include "ops/nd_pointwise.h"

#include <math.h>
#include <string.h>

enum { BLOCK = 256 };

typedef struct cast {
    const fv_buffer *x, *y;
    size_t count;
    fv_dtype from, to;
} cast;

static fv_status cast_infer(fv_node *n, fv_value_info *values) {
    const fv_value_info x = values[n->in[0]];
    FV_RETURN_IF(fv_dtype_bytes(n->attr.nd.dtype) == 0, FV_ERR_ARGUMENT, "node \"%s\": a cast to the unknown type %d",
                 n->name, (int)n->attr.nd.dtype);
    fv_nd_infer(&values[n->out[0]], n->attr.nd.dtype, &x.shape);
    return FV_OK;
}

#define LOAD(T, convert)                                                                                               \
    for (size_t i = 0; i < n; i++) to[i] = convert(((const T *)x)[first + i]);                                         \
    return
#define LOAD_SMALL                                                                                                     \
    case FV_I32:                                                                                                       \
        LOAD(int32_t, AS_IS);                                                                                          \
    case FV_U32:                                                                                                       \
        LOAD(uint32_t, AS_IS);                                                                                         \
    case FV_I16:                                                                                                       \
        LOAD(int16_t, AS_IS);                                                                                          \
    case FV_U16:                                                                                                       \
        LOAD(uint16_t, AS_IS);                                                                                         \
    case FV_I8:                                                                                                        \
        LOAD(int8_t, AS_IS);                                                                                           \
    default:                                                                                                           \
        LOAD(uint8_t, AS_IS);
#define AS_IS(x) (x)
#define AS_DOUBLE(x) (double)(x)
#define AS_INTEGER(x) (int64_t)(x)

static void load_double(fv_dtype t, const void *x, size_t first, size_t n, double *to) {
    switch (t) {
    case FV_F32:
        LOAD(float, AS_IS);
    case FV_F64:
        LOAD(double, AS_IS);
    case FV_F16:
        LOAD(uint16_t, fv_half_to_float);
    case FV_I64:
        LOAD(int64_t, AS_DOUBLE);
    case FV_U64:
        LOAD(uint64_t, AS_DOUBLE);
        LOAD_SMALL
    }
}

/* Bits of 64; those of uint64 too. */
static void load_integer(fv_dtype t, const void *x, size_t first, size_t n, int64_t *to) {
    switch (t) {
    case FV_I64:
    case FV_U64:
        LOAD(int64_t, AS_IS);
        LOAD_SMALL
    }
}

#define STORE(T, convert)                                                                                              \
    for (size_t i = 0; i < n; i++) ((T *)y)[first + i] = (T)convert(from[i]);                                          \
    return

static void store_integer(fv_dtype t, const int64_t *from, size_t first, size_t n, void *y) {
    switch (t) {
    case FV_I64:
    case FV_U64:
        STORE(int64_t, AS_IS);
    case FV_I32:
    case FV_U32:
        STORE(uint32_t, AS_IS);
    case FV_I16:
    case FV_U16:
        STORE(uint16_t, AS_IS);
    case FV_I8:
    case FV_U8:
        STORE(uint8_t, AS_IS);
    default:
        STORE(uint8_t, 0 !=);
    }
}

#define HELD(low, high, T)                                                                                             \
    for (size_t i = 0; i < n; i++) {                                                                                   \
        const double d = from[i];                                                                                      \
        ((T *)y)[first + i] = d != d ? 0 : d <= (low) ? (T)(low) : d >= (high) ? (T)(high) : (T)d;                     \
    }                                                                                                                  \
    return

static void store_double(fv_dtype t, const double *from, size_t first, size_t n, void *y) {
    switch (t) {
    case FV_F32:
        STORE(float, AS_IS);
    case FV_F64:
        STORE(double, AS_IS);
    case FV_F16:
        STORE(uint16_t, fv_half_from_double);
    case FV_I64:
        for (size_t i = 0; i < n; i++)
            ((int64_t *)y)[first + i] = from[i] != from[i]   ? 0
                                        : from[i] >= 0x1p63  ? INT64_MAX
                                        : from[i] <= -0x1p63 ? INT64_MIN
                                                             : (int64_t)from[i];
        return;
    case FV_U64:
        for (size_t i = 0; i < n; i++)
            ((uint64_t *)y)[first + i] = !(from[i] > 0) ? 0 : from[i] >= 0x1p64 ? UINT64_MAX : (uint64_t)from[i];
        return;
    case FV_I32:
        HELD(INT32_MIN, INT32_MAX, int32_t);
    case FV_U32:
        HELD(0, UINT32_MAX, uint32_t);
    case FV_I16:
        HELD(INT16_MIN, INT16_MAX, int16_t);
    case FV_U16:
        HELD(0, UINT16_MAX, uint16_t);
    case FV_I8:
        HELD(INT8_MIN, INT8_MAX, int8_t);
    case FV_U8:
        HELD(0, UINT8_MAX, uint8_t);
    default:
        STORE(uint8_t, 0 !=);
    }
}

static void run_cast(void *arg, size_t piece, void *scratch) {
    (void)scratch;
    const cast *s = arg;
    const fv_range r = fv_run_of(piece, s->count);
    const bool whole = !fv_nd_is_floating(s->from) && !fv_nd_is_floating(s->to);
    for (size_t first = r.begin; first < r.end; first += BLOCK) {
        const size_t n = fv_min_size(BLOCK, r.end - first);
        union {
            double d[BLOCK];
            int64_t i[BLOCK];
        } block;
        if (whole) {
            load_integer(s->from, s->x->data, first, n, block.i);
            store_integer(s->to, block.i, first, n, s->y->data);
        } else {
            load_double(s->from, s->x->data, first, n, block.d);
            store_double(s->to, block.d, first, n, s->y->data);
        }
    }
}

/* What keeps its type is copied, bits and all. */
static void run_same(void *arg, size_t piece, void *scratch) {
    (void)scratch;
    const cast *s = arg;
    const fv_range r = fv_run_of(piece, s->count);
    const size_t size = fv_dtype_bytes(s->to);
    memcpy((char *)s->y->data + r.begin * size, (const char *)s->x->data + r.begin * size, (r.end - r.begin) * size);
}

static fv_status cast_plan(fv_plan_op *p) {
    const fv_value_info *x = &p->values[p->node->in[0]];
    cast *s;
    FV_FORWARD(fv_plan_state(p, sizeof *s, (void **)&s));
    *s = (cast){fv_plan_buffer(p, p->node->in[0]), fv_plan_buffer(p, p->node->out[0]), fv_shape_count(&x->shape),
                x->dtype, p->node->attr.nd.dtype};
    p->algorithm = s->from == s->to ? "copy" : "convert";
    return fv_plan_phase(p, false, s->from == s->to ? run_same : run_cast, s, fv_run_pieces(s->count));
}

/* Between the reals' own type and itself alone: training computes in no other. */
static fv_status cast_backward(fv_backward *b) {
    const fv_dtype from = fv_emit_info(b->graph, b->node->in[0])->dtype;
    FV_RETURN_IF(from != b->node->attr.nd.dtype, FV_ERR_UNSUPPORTED,
                 "node \"%s\": no gradient goes through a cast from %s to %s", b->node->name, fv_dtype_name(from),
                 fv_dtype_name(b->node->attr.nd.dtype));
    b->din[0] = b->dout[0];
    return FV_OK;
}

const fv_op fv_op_nd_cast = {"nd_cast", 1, 1, 1, FV_OP_PLAIN, cast_infer, cast_plan, cast_backward};
