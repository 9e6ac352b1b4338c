/* Inside the check engine: what a slot's case is given, and the tools it is written with. */
#ifndef FV_KERNELS_CHECK_ENGINE_H
#define FV_KERNELS_CHECK_ENGINE_H

#include "kernels/check/check.h"
#include "kernels/check/random.h"

#include <float.h>
#include <math.h>
#include <string.h>

/* A length in 1..most: often small, often one off a multiple of a vector. */
size_t fv_check_length(fv_check_random *r, size_t most);

/* ---- running error analysis ----
 * A value with a bound on the error that any sensible float evaluation of the same formula makes: eps is twice the unit
 * roundoff, so both fused and separate multiply-adds fit. FLT_MIN stands for a flushed denormal. In an exact case
 * (small integers) eps and the bound are zero. */

typedef struct fv_approx {
    double value, error;
} fv_approx;

static inline fv_approx approx(double value) { return (fv_approx){value, 0}; }
static inline fv_approx approx_round(double value, double error, double eps) {
    return (fv_approx){value, error + eps * fabs(value)};
}
static inline fv_approx approx_add(fv_approx a, fv_approx b, double eps) {
    return approx_round(a.value + b.value, a.error + b.error, eps);
}
static inline fv_approx approx_sub(fv_approx a, fv_approx b, double eps) {
    return approx_round(a.value - b.value, a.error + b.error, eps);
}
static inline fv_approx approx_mul(fv_approx a, fv_approx b, double eps) {
    const double error = fabs(a.value) * b.error + fabs(b.value) * a.error + a.error * b.error;
    return approx_round(a.value * b.value, error + (eps > 0 ? FLT_MIN : 0), eps);
}
static inline fv_approx approx_div(fv_approx a, fv_approx b, double eps) {
    const double low = fabs(b.value) - b.error, value = a.value / b.value;
    const double error = low > 0 ? (a.error + fabs(value) * b.error) / low : INFINITY;
    return approx_round(value, error + (eps > 0 ? FLT_MIN : 0), eps);
}
static inline fv_approx approx_sqrt(fv_approx a, double eps) {
    const double value = sqrt(a.value);
    const double error = value > 0 ? fmin(a.error / value, sqrt(a.error)) : sqrt(a.error);
    return approx_round(value, error + (eps > 0 ? sqrt(FLT_MIN) * (value == 0) : 0), eps);
}
/* exp and log as kernels/pointwise.h bounds them: 1.1 and 0.9 ULP, each at most 1.1 eps. The argument of exp is one
 * that rounding keeps <= 0. */
static inline fv_approx approx_exp(fv_approx a, double eps) {
    const double value = exp(a.value);
    const double error = a.error < 0.5 ? value * expm1(a.error) : exp(fmin(a.value + a.error, 0)) - value;
    return approx_round(value, error + FLT_MIN, 1.1 * eps);
}
static inline fv_approx approx_log(fv_approx a, double eps) {
    const double value = log(a.value), low = a.value - a.error;
    return approx_round(value, low > 0 ? a.error / low : INFINITY, 1.1 * eps);
}

/* A sum of n terms added in any order: error (n + 1) * eps * sum|term| besides the terms' own (the derived bound of
 * STYLE.md section 6; Higham, "Accuracy and Stability of Numerical Algorithms", section 4.2). */
typedef struct fv_approx_sum {
    double value, magnitude, error;
    size_t terms;
} fv_approx_sum;

static inline void approx_sum_add(fv_approx_sum *s, fv_approx term) {
    s->value += term.value;
    s->magnitude += fabs(term.value);
    s->error += term.error;
    s->terms++;
}
static inline fv_approx approx_sum(const fv_approx_sum *s, double eps) {
    const double count = (double)s->terms + 1;
    return (fv_approx){s->value, s->error + eps * count * s->magnitude + (eps > 0 ? count * FLT_MIN : 0)};
}

/* ---- a case ---- */

typedef enum fv_check_values {
    FV_VALUES_INTEGER,  /* 1..4 and -1..-4: every sum of products is exact */
    FV_VALUES_FLOAT,    /* uniform */
    FV_VALUES_NASTY,    /* zeros, -0, denormals, 1e-30 .. 1e15 */
    FV_VALUES_NONFINITE /* uniform with a few NaN and infinities */
} fv_check_values;

enum { FV_CHECK_BUFFERS = 24, FV_CHECK_BUFFER_BYTES = 16 << 20, FV_CHECK_MARGIN = 128 };

typedef struct fv_check_buffer {
    unsigned char *region; /* FV_CHECK_BUFFER_BYTES between two pages without access */
    unsigned char *data;   /* the part handed out */
    size_t bytes;
    bool input; /* must not change */
    uint64_t sum;
    const char *name;
} fv_check_buffer;

typedef struct fv_check_memory {
    fv_check_buffer buffer[FV_CHECK_BUFFERS];
    int used;
    unsigned char *plain; /* the engine's own arrays */
    size_t plain_used;
} fv_check_memory;
enum { FV_CHECK_PLAIN_BYTES = 64 << 20 };

typedef struct fv_case {
    const fv_kernels *candidate, *reference; /* the same pointer: scalar is checked by itself */
    const fv_check_given *given;             /* NULL: a random shape */
    int argument;                            /* of the slot: which unary function, ... */
    fv_check_random random;
    fv_check_values values;
    double eps;          /* of fv_approx: FLT_EPSILON, 0 in an integer case */
    bool same_as_scalar; /* the contract promises the scalar definition's bits on every ISA, NaN's payload aside */
    fv_check_memory *memory;
    bool failed;
    char shape[320], message[320];
    double worst_ratio; /* error / bound, largest so far */
    uint64_t worst_ulp; /* from the scalar definition's result */
} fv_case;

/* Size `axis` of the given shape (fv_check_given), or a length in 1..most. */
static inline size_t fv_check_size(fv_case *c, int axis, size_t most) {
    return c->given && c->given->size[axis] ? c->given->size[axis] : fv_check_length(&c->random, most);
}

/* The first failure of the case; later ones are ignored. */
void fv_check_fail(fv_case *c, const char *format, ...) __attribute__((format(printf, 2, 3)));
void fv_check_shape(fv_case *c, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Memory of the case, freed with it. name: for messages. Inputs must be filled before the first kernel call:
 * fv_check_freeze. */
void *fv_check_place(fv_case *c, const char *name, size_t bytes, size_t alignment, bool input);
float *fv_check_input(fv_case *c, const char *name, size_t n);                /* filled as c->values says */
float *fv_check_output(fv_case *c, const char *name, size_t n);               /* canaries, to be compared */
float *fv_check_copy(fv_case *c, const char *name, const float *x, size_t n); /* an output that begins as x: in place */
void *fv_check_scratch(fv_case *c, size_t bytes); /* FV_ALIGNMENT-aligned, garbage; NULL if bytes is 0 */
void *fv_check_plain(fv_case *c, size_t bytes);   /* the engine's own, zeroed */
void fv_check_fill(fv_case *c, float *x, size_t n);
void fv_check_freeze(fv_case *c); /* inputs are what they will be */

static inline void fv_check_finite_only(fv_case *c) {
    if (c->values == FV_VALUES_NONFINITE) c->values = FV_VALUES_NASTY;
}
static inline void fv_check_inexact(fv_case *c) { c->eps = FLT_EPSILON; } /* a formula that rounds integers too */

/* Expected outputs: n values, all "must not be touched" at first. */
fv_approx *fv_check_expected(fv_case *c, size_t n);
/* got (the candidate's) and scalar's (NULL: the candidate is scalar) against the expected values. */
void fv_check_compare(fv_case *c, const char *name, const float *got, const float *scalar, const fv_approx *expected,
                      size_t n);
void fv_check_same_bits(fv_case *c, const char *name, const void *got, const void *want,
                        size_t n); /* n words of 4 bytes */
/* As fv_check_same_bits, but NaN equals NaN: its sign is that of an operand, and compilers exchange operands. */
void fv_check_same_values(fv_case *c, const char *name, const float *got, const float *want, size_t n);
uint64_t fv_check_ulp(float a, float b); /* steps between them; infinity follows FLT_MAX; UINT64_MAX if one is NaN */

/* Cuts [0, n) at random into at most 4 parts, given in a random order. */
typedef struct fv_check_cut {
    fv_range part[4];
    size_t parts;
} fv_check_cut;
fv_check_cut fv_check_cut_range(fv_case *c, fv_range whole);

/* n values in parts, each from pointers of its own. */
#define FV_EACH_PART(c, n, part_)                                                                                      \
    const fv_check_cut cut = fv_check_cut_range(c, (fv_range){0, n});                                                  \
    for (const fv_range *part_ = cut.part; part_ < cut.part + cut.parts; part_++)

/* An output, which begins as in_place unless that is NULL. */
static inline float *fv_check_start(fv_case *c, const char *name, const float *in_place, size_t n) {
    return in_place ? fv_check_copy(c, name, in_place, n) : fv_check_output(c, name, n);
}

/* ---- the table of slots ---- */

typedef struct fv_check_slot {
    const char *name;
    void (*run)(fv_case *c);
    int argument;
    size_t offset; /* of its function in fv_kernels */
} fv_check_slot;
extern const fv_check_slot fv_check_slots[];
extern const size_t fv_check_slot_count;

void fv_check_conv_pack(fv_case *c);
void fv_check_conv_forward(fv_case *c);
void fv_check_conv_weight_grad(fv_case *c);
void fv_check_conv_pooled_pack(fv_case *c);
void fv_check_conv_pooled_weight_grad(fv_case *c);
void fv_check_conv_pooled_input_grad(fv_case *c);
void fv_check_depthwise_pack(fv_case *c);
void fv_check_depthwise_forward(fv_case *c);
void fv_check_depthwise_data_grad(fv_case *c);
void fv_check_depthwise_weight_grad(fv_case *c);
void fv_check_winograd(fv_case *c); /* argument: what is cut: 0 pack, 1 input, 2 output */
void fv_check_winograd_weight_grad(fv_case *c);
void fv_check_pool_max(fv_case *c);
void fv_check_pool_max_grad(fv_case *c);
void fv_check_pool_average(fv_case *c);
void fv_check_pool_average_grad(fv_case *c);
void fv_check_blur(fv_case *c);      /* argument: fv_blur */
void fv_check_map_sum(fv_case *c);   /* argument: fv_map_sum */
void fv_check_map_apply(fv_case *c); /* argument 0: shift, 1: scale */
void fv_check_divide(fv_case *c);
void fv_check_divide_add(fv_case *c);
void fv_check_below_dot(fv_case *c);
void fv_check_sigma_grad(fv_case *c);
void fv_check_power(fv_case *c); /* argument 1: power_grad */
void fv_check_local(fv_case *c); /* argument 1: local_grad */
void fv_check_pool_kind(fv_case *c); /* argument 1: Lp, 0: weighted */
void fv_check_pool_kind_grad(fv_case *c);
void fv_check_unpool(fv_case *c); /* argument 1: its gradient */
void fv_check_rows_copy(fv_case *c);
void fv_check_rows_scale(fv_case *c);
void fv_check_rows_inner(fv_case *c);
void fv_check_unary(fv_case *c);
void fv_check_unary_grad(fv_case *c);
void fv_check_binary(fv_case *c);
void fv_check_gain(fv_case *c);
void fv_check_dropout(fv_case *c);
void fv_check_prelu(fv_case *c);
void fv_check_prelu_grad(fv_case *c);
void fv_check_softmax(fv_case *c);
void fv_check_softmax_grad(fv_case *c);
void fv_check_log_softmax(fv_case *c);
void fv_check_log_softmax_grad(fv_case *c);
void fv_check_cross_entropy(fv_case *c);
void fv_check_soft_cross_entropy(fv_case *c);
void fv_check_entropy(fv_case *c);
void fv_check_squared_error(fv_case *c);
void fv_check_sum(fv_case *c); /* argument 0: sum, 1: sum_squares */
void fv_check_sum_rows(fv_case *c);
void fv_check_dot_rows(fv_case *c);
void fv_check_add_parts(fv_case *c);
void fv_check_moments(fv_case *c);
void fv_check_merge_moments(fv_case *c);
void fv_check_combine_moments(fv_case *c);
void fv_check_norm_apply(fv_case *c);
void fv_check_norm_grad_sums(fv_case *c);
void fv_check_norm_grad_input(fv_case *c);
void fv_check_optimizer(fv_case *c);
void fv_check_transpose(fv_case *c);
void fv_check_u8_to_real(fv_case *c);
void fv_check_measure(fv_case *c);

/* One slot of one table. stop_at: failures after which it ends. Returns the failures. */
typedef struct fv_check_job {
    const fv_check_slot *slot;
    const char *isa;
    const fv_kernels *candidate, *reference;
    uint64_t first_case, cases;
    double seconds;
    int stop_at;
    void (*tick)(void *user, uint64_t cases); /* so many more are done; NULL: none */
    void *tick_user;
    uint64_t done, failures; /* results */
    double worst_ratio;
    uint64_t worst_ulp;
} fv_check_job;
bool fv_check_memory_create(fv_check_memory **out);
void fv_check_memory_free(fv_check_memory *m);
void fv_check_memory_reset(fv_check_memory *m);
void fv_check_memory_verify(fv_case *c);
void fv_check_do_job(const fv_check_options *o, fv_check_job *job, fv_check_memory *memory);
/* How many shapes are given for the slot, and the one of case `number`. */
size_t fv_check_given_count(const fv_check_options *o, const fv_check_slot *slot);
void fv_check_print(const fv_check_options *o, const char *format, ...) __attribute__((format(printf, 2, 3)));
bool fv_check_slot_matches(const fv_check_slot *slot, const char *op);
/* SIGSEGV and SIGBUS become failures of the case that runs in the thread, from begin to end. */
void fv_check_signals_begin(void);
void fv_check_signals_end(void);

#endif
