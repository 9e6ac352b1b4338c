/* Element-wise operators on general tensors: their kinds, and what their files share. Inputs of one type broadcast to
 * one shape; the output lies channels last if an operand of its rank does. float16 is computed in float or double and
 * rounded once. */
#ifndef FV_OPS_ND_POINTWISE_H
#define FV_OPS_ND_POINTWISE_H

#include "kernels/half.h"
#include "ops/nd.h"

/* Whole numbers wrap; a division by 0 gives 0. The first comparison gives bool. */
typedef enum fv_nd_binary {
    FV_ND_ADD,
    FV_ND_SUB,
    FV_ND_MUL,
    FV_ND_DIV,
    FV_ND_POW,
    FV_ND_LEAST, /* NaN passes */
    FV_ND_LARGEST,
    FV_ND_MOD,   /* sign of the divisor */
    FV_ND_FMOD,  /* sign of the dividend */
    FV_ND_PRELU, /* a > 0 ? a : b * a */
    FV_ND_BIT_AND,
    FV_ND_BIT_OR,
    FV_ND_BIT_XOR,    /* on bool: the logical ones */
    FV_ND_SHIFT_LEFT, /* by the width or more: 0 */
    FV_ND_SHIFT_RIGHT,
    FV_ND_EQUAL,
    FV_ND_LESS,
    FV_ND_LESS_EQUAL,
    FV_ND_BINARY_COUNT
} fv_nd_binary;

/* a, b: the node's alpha and beta. */
typedef enum fv_nd_unary {
    FV_ND_NEG,
    FV_ND_ABS,
    FV_ND_SIGN,
    FV_ND_RELU,
    FV_ND_BIT_NOT,    /* on bool: not */
    FV_ND_RECIPROCAL, /* from here floats only */
    FV_ND_SQRT,
    FV_ND_FLOOR,
    FV_ND_CEIL,
    FV_ND_ROUND, /* half to even */
    FV_ND_EXP,
    FV_ND_LOG,
    FV_ND_SIN,
    FV_ND_COS,
    FV_ND_TAN,
    FV_ND_ASIN,
    FV_ND_ACOS,
    FV_ND_ATAN,
    FV_ND_SINH,
    FV_ND_COSH,
    FV_ND_TANH,
    FV_ND_ASINH,
    FV_ND_ACOSH,
    FV_ND_ATANH,
    FV_ND_ERF,
    FV_ND_SIGMOID,
    FV_ND_SOFTPLUS,
    FV_ND_SOFTSIGN,
    FV_ND_HARD_SIGMOID, /* min(max(a x + b, 0), 1) */
    FV_ND_HARD_SWISH,
    FV_ND_MISH,
    FV_ND_GELU,
    FV_ND_GELU_TANH,
    FV_ND_LEAKY_RELU,  /* x < 0 ? a x : x */
    FV_ND_ELU,         /* x < 0 ? b a (e^x - 1) : b x */
    FV_ND_CELU,        /* x < 0 ? a (e^(x/a) - 1) : x */
    FV_ND_THRESHOLDED, /* x > a ? x : 0 */
    FV_ND_SHRINK,      /* x < -a ? x + b : x > a ? x - b : 0 */
    FV_ND_LINEAR,      /* a x + b */
    FV_ND_RSQRT,       /* 1 / sqrt(x + a) */
    FV_ND_IS_NAN,      /* to bool from here: nd_test */
    FV_ND_IS_INF,      /* mode: bit 0 positive, bit 1 negative */
    FV_ND_UNARY_COUNT
} fv_nd_unary;

static inline bool fv_nd_is_floating(fv_dtype t) { return t == FV_F32 || t == FV_F64 || t == FV_F16; }
/* An element of a floating type. */
static inline double fv_nd_floating(fv_dtype t, const void *data, ptrdiff_t i) {
    return t == FV_F32   ? ((const float *)data)[i]
           : t == FV_F64 ? ((const double *)data)[i]
                         : fv_half_to_float(((const uint16_t *)data)[i]);
}
static inline void fv_nd_set_floating(fv_dtype t, void *data, ptrdiff_t i, double v) {
    if (t == FV_F32)
        ((float *)data)[i] = (float)v;
    else if (t == FV_F64)
        ((double *)data)[i] = v;
    else
        ((uint16_t *)data)[i] = fv_half_from_double(v);
}

/* x's strides as an operand over `shape` when `trailing` axes of size 1 are put behind its own. */
static inline void fv_nd_operand_before(const fv_shape *shape, const fv_value_info *value, int32_t trailing,
                                        ptrdiff_t stride[FV_MAX_RANK]) {
    fv_nd_operand(shape, value, stride);
    if (!trailing) return;
    fv_shape outer = *shape;
    outer.rank -= trailing;
    fv_nd_operand(&outer, value, stride);
    for (int32_t i = outer.rank; i < shape->rank; i++) stride[i] = 0;
}

/* Sets `order` to how a tensor of this rank and layout lies, outermost first. */
static inline void fv_nd_order(int32_t rank, fv_layout layout, int32_t order[FV_MAX_RANK]) {
    const bool last = layout == FV_NHWC && rank > 2;
    for (int32_t i = 0; i < rank; i++) order[i] = !last || i == 0 ? i : i == rank - 1 ? 1 : i + 1;
}

/* The layout of an element-wise output: channels last if one of its inputs is. Only reals of rank 4 ever are. */
static inline fv_layout fv_nd_layout(const fv_node *n, const fv_value_info *values, fv_dtype dtype, int32_t rank) {
    for (int32_t i = 0; i < n->in_count && dtype == FV_REAL_DTYPE && rank == 4; i++)
        if (n->in[i] != FV_NONE && values[n->in[i]].shape.rank == rank && values[n->in[i]].layout == FV_NHWC)
            return FV_NHWC;
    return FV_PLAIN;
}

/* A strided element-wise node: rows of operands 0.. (inputs, then the output, whose step is 1). */
typedef struct fv_nd_rows {
    fv_nd_loop loop;
    fv_nd_cut cut;
    const fv_buffer *buffer[FV_ND_OPERANDS];
    size_t bytes[FV_ND_OPERANDS]; /* of an element */
} fv_nd_rows;

/* Calls row(at, columns) for the pieces' rows. */
#define FV_ND_EACH_ROW(s, piece, at, count, ...)                                                                       \
    do {                                                                                                               \
        const fv_nd_piece each_ = fv_nd_piece_of(&(s)->loop, &(s)->cut, piece);                                        \
        const size_t count = each_.columns.end - each_.columns.begin;                                                  \
        for (size_t row_ = each_.first_row; row_ < each_.end_row; row_++) {                                            \
            ptrdiff_t offset_[FV_ND_OPERANDS];                                                                         \
            char *at[FV_ND_OPERANDS];                                                                                  \
            fv_nd_row(&(s)->loop, row_, offset_);                                                                      \
            for (int32_t k_ = 0; k_ < (s)->loop.operands; k_++)                                                        \
                at[k_] =                                                                                               \
                    (char *)(s)->buffer[k_]->data +                                                                    \
                    (offset_[k_] + (ptrdiff_t)each_.columns.begin * (s)->loop.step[k_]) * (ptrdiff_t)(s)->bytes[k_];   \
            __VA_ARGS__                                                                                                \
        }                                                                                                              \
    } while (0)

/* Operands: the node's first `inputs` inputs (an absent one stands still on the output's memory, unread), then its
 * first output. trailing[k]: see fv_nd_operand_before; NULL: none. */
void fv_nd_rows_make(const fv_plan_op *p, fv_nd_rows *s, int32_t inputs, const int32_t *trailing);

/* dy summed over the axes along which `v` was stretched, as a node; dy itself where it was not. */
fv_value fv_nd_sum_to(fv_graph *g, fv_value dy, fv_value v, int32_t trailing);

extern const fv_op fv_op_nd_binary; /* a, b -> y; attr.nd: kind, mode: axes of size 1 put behind b's */
extern const fv_op
    fv_op_nd_binary_grad;           /* dy, a, b -> the gradient of a (flag: of b) before it is summed to its shape */
extern const fv_op fv_op_nd_sum_to; /* dy, v (for its shape) -> dy summed to it; mode as nd_binary's */
extern const fv_op fv_op_nd_unary;  /* x -> y; attr.nd: kind, alpha, beta */
extern const fv_op fv_op_nd_test;   /* x -> bool; attr.nd: kind, mode */
extern const fv_op fv_op_nd_unary_grad; /* x, dy -> dx */
extern const fv_op fv_op_nd_where;      /* condition, x, y -> x or y; flag: absent ones are 0 */
extern const fv_op fv_op_nd_cast;       /* x -> attr.nd.dtype */
extern const fv_op
    fv_op_nd_moments; /* x -> mean, [variance] over the axes of attr.nd.mode, a bit each; keep: they stay with size 1 */

#endif
