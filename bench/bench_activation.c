/* Pointwise layers of SPEC section 3, forward and backward, PReLU, log-softmax, losses of soft targets and of probabilities.
 * bytes: inputs and outputs once. */
#include "bench.h"

#include <stdio.h>
#include <stdlib.h>

enum { VALUES = 64 * 1024, CHANNELS = 64, CLASSES = 10 };

typedef enum row_kind { FORWARD, BACKWARD, PRELU, PRELU_GRAD, LOG_SOFTMAX, LOG_SOFTMAX_GRAD,
               SOFT_CROSS_ENTROPY, ENTROPY } row_kind;

typedef struct row {
    const char *name;
    row_kind kind;
    fv_unary unary;
    float a, b;
    double values; /* read and written a value */
} row;

#define BOTH(name, unary, a, b) {name, FORWARD, unary, a, b, 2}, {name "_grad", BACKWARD, unary, a, b, 3}

static const row rows[] = {
    BOTH("softplus", FV_UNARY_SOFTPLUS, 2, 0), BOTH("smooth_abs", FV_UNARY_SMOOTH_ABS, 2, 0), BOTH("abs", FV_UNARY_ABS, 0, 0),
    BOTH("leaky_relu", FV_UNARY_LEAKY_RELU, 0.01f, 0), BOTH("elu", FV_UNARY_ELU, 1, 1), BOTH("erf", FV_UNARY_ERF, 0, 0),
    BOTH("gelu", FV_UNARY_GELU, 0, 0), BOTH("gelu_tanh", FV_UNARY_GELU_TANH, 0, 0), BOTH("silu", FV_UNARY_SILU, 0, 0),
    BOTH("mish", FV_UNARY_MISH, 0, 0), BOTH("hard_sigmoid", FV_UNARY_HARD_SIGMOID, 0.2f, 0.5f),
    BOTH("hard_swish", FV_UNARY_HARD_SWISH, 0, 0),
    BOTH("softsign", FV_UNARY_SOFTSIGN, 0, 0), {"prelu", PRELU, 0, 0, 0, 2}, {"prelu_grad", PRELU_GRAD, 0, 0, 0, 3},
    {"log_softmax", LOG_SOFTMAX, 0, 0, 0, 2}, {"log_softmax_grad", LOG_SOFTMAX_GRAD, 0, 0, 0, 3},
    {"soft_cross_entropy", SOFT_CROSS_ENTROPY, 0, 0, 0, 3}, {"entropy", ENTROPY, 0, 0, 0, 3},
};

typedef struct state {
    fv_kernels k;
    const row *row;
    float *x, *y, *z, *loss;
} state;

static void drop(void *memory) {
    state *s = memory;
    if (!s) return;
    free(s->x);
    free(s->y);
    free(s->z);
    free(s->loss);
    free(s);
}

static void *make(const fv_bench_case *c, const fv_kernels *k) {
    state *s = calloc(1, sizeof *s);
    if (!s) return NULL;
    s->k = *k;
    s->row = c->spec;
    s->x = fv_bench_values(VALUES);
    s->y = fv_bench_values(VALUES);
    s->z = fv_bench_values(VALUES);
    s->loss = fv_bench_values(VALUES);
    if (!s->x || !s->y || !s->z || !s->loss) {
        drop(s);
        return NULL;
    }
    for (size_t i = 0; i < VALUES; i++) {
        s->x[i] = s->row->kind == ENTROPY ? s->x[i] * s->x[i] : 4 * s->x[i];
        s->y[i] = s->row->kind >= SOFT_CROSS_ENTROPY ? s->y[i] * s->y[i] : s->y[i];
    }
    return s;
}

static void run(void *memory) {
    const state *s = memory;
    const row *r = s->row;
    const fv_pointwise_kernels *p = &s->k.pointwise;
    const fv_softmax_kernels *f = &s->k.softmax;
    const fv_range all = {0, VALUES / CLASSES};
    switch (r->kind) {
    case FORWARD: p->unary[r->unary](s->x, s->z, VALUES, r->a, r->b); break;
    case BACKWARD: p->unary_grad[r->unary](s->x, s->y, s->z, VALUES, r->a, r->b); break;
    case PRELU: p->prelu(s->x, CHANNELS, s->y, s->z, CHANNELS, CHANNELS, VALUES / CHANNELS); break;
    case PRELU_GRAD: p->prelu_grad(s->x, s->y, s->y, s->z, s->loss, CHANNELS, CHANNELS, VALUES / CHANNELS); break;
    case LOG_SOFTMAX: f->log_softmax(s->x, s->z, CLASSES, all); break;
    case LOG_SOFTMAX_GRAD: f->log_softmax_grad(s->x, s->y, s->z, CLASSES, all); break;
    case SOFT_CROSS_ENTROPY: f->soft_cross_entropy(s->x, s->y, s->loss, s->z, CLASSES, 0.1f, 1, all); break;
    default: f->entropy(s->x, NULL, s->y, s->loss, s->z, CLASSES, 0.1f, 1, all);
    }
}

void fv_bench_activation(fv_bench_add_fn add, void *user) {
    for (size_t i = 0; i < FV_ARRAY_SIZE(rows); i++) {
        fv_bench_case c = {.spec = &rows[i], .make = make, .run = run, .drop = drop, .bytes = 4.0 * VALUES * rows[i].values};
        snprintf(c.name, sizeof c.name, "%s/%d", rows[i].name, VALUES);
        add(user, &c);
    }
}
