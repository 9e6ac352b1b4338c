/* One step of an optimizer as the training operators have it: R, T, then every X, every G, and the state of each; the
 * new ones in the same order. */
#include "io/onnx_nd.h"

#include <string.h>

typedef struct step {
    fv_onnx_reader *r;
    const FvOnnx__Node *n;
    fv_value rate, time; /* time as float */
    fv_value x, g, state[2], fresh[3];
} step;

static fv_value scaled(const step *s, fv_value x, double factor, double more) {
    return fv_onnx_unary(s->r, FV_ND_LINEAR, x, factor, more, NULL);
}
static fv_value of(const step *s, fv_nd_binary kind, fv_value a, fv_value b) {
    return fv_onnx_binary(s->r, kind, a, b, 0, NULL);
}
static double number(const step *s, const char *name, float otherwise) {
    return fv_onnx_attribute_float(s->n, name, otherwise);
}

/* G with the pull towards 0. */
static fv_value pulled(const step *s) {
    const double norm = number(s, "norm_coefficient", 0);
    return norm == 0 ? s->g : of(s, FV_ND_ADD, scaled(s, s->x, norm, 0), s->g);
}

/* b from the second step on, a in the first. */
static fv_value unless_first(const step *s, fv_value a, fv_value b) {
    const fv_attributes attr = {0};
    const fv_value in[3] = {of(s, FV_ND_LESS, scaled(s, s->time, 0, 0), s->time), b, a};
    return in[0] == FV_NONE || a == FV_NONE || b == FV_NONE
               ? FV_NONE
               : fv_graph_node(s->r->graph, &fv_op_nd_where, NULL, in, 3, 1, &attr);
}

static void adagrad(step *s) {
    const fv_value g = pulled(s), decay = scaled(s, s->time, number(s, "decay_factor", 0), 1);
    s->fresh[1] = of(s, FV_ND_ADD, s->state[0], of(s, FV_ND_MUL, g, g));
    const fv_value root =
        scaled(s, fv_onnx_unary(s->r, FV_ND_SQRT, s->fresh[1], 0, 0, NULL), 1, number(s, "epsilon", 0));
    const fv_value move = of(s, FV_ND_MUL, of(s, FV_ND_DIV, s->rate, decay), of(s, FV_ND_DIV, g, root));
    s->fresh[0] = of(s, FV_ND_SUB, s->x, move);
}

static void momentum(step *s) {
    const double alpha = number(s, "alpha", 0), beta = number(s, "beta", 0);
    const fv_value g = pulled(s), weight = unless_first(s, scaled(s, s->time, 0, 1), scaled(s, s->time, 0, beta));
    s->fresh[1] = of(s, FV_ND_ADD, scaled(s, s->state[0], alpha, 0), of(s, FV_ND_MUL, g, weight));
    fv_value move = s->fresh[1];
    if (fv_onnx_text_is(s->n, "mode", "nesterov", false)) move = of(s, FV_ND_ADD, g, scaled(s, move, alpha, 0));
    s->fresh[0] = of(s, FV_ND_SUB, s->x, of(s, FV_ND_MUL, s->rate, move));
}

/* 1 - base^T. */
static fv_value less_power(const step *s, double base) {
    return scaled(s, of(s, FV_ND_POW, scaled(s, s->time, 0, base), s->time), -1, 1);
}

static void adam(step *s) {
    const double alpha = number(s, "alpha", 0.9f), beta = number(s, "beta", 0.999f),
                 after = number(s, "norm_coefficient_post", 0);
    const fv_value g = pulled(s);
    s->fresh[1] = of(s, FV_ND_ADD, scaled(s, s->state[0], alpha, 0), scaled(s, g, 1 - alpha, 0));
    s->fresh[2] = of(s, FV_ND_ADD, scaled(s, s->state[1], beta, 0), scaled(s, of(s, FV_ND_MUL, g, g), 1 - beta, 0));
    const fv_value root =
        scaled(s, fv_onnx_unary(s->r, FV_ND_SQRT, s->fresh[2], 0, 0, NULL), 1, number(s, "epsilon", 1e-6f));
    const fv_value unbiased =
        of(s, FV_ND_DIV, fv_onnx_unary(s->r, FV_ND_SQRT, less_power(s, beta), 0, 0, NULL), less_power(s, alpha));
    const fv_value rate = unless_first(s, s->rate, of(s, FV_ND_MUL, s->rate, unbiased));
    s->fresh[0] = of(s, FV_ND_SUB, s->x, of(s, FV_ND_MUL, rate, of(s, FV_ND_DIV, s->fresh[1], root)));
    if (after != 0) s->fresh[0] = scaled(s, s->fresh[0], 1 - after, 0);
}

static fv_status read_step(fv_onnx_reader *r, const FvOnnx__Node *n) {
    enum { most = 64 };
    const bool is_adam = strcmp(n->op_type, "Adam") == 0;
    void (*const run)(step *) = is_adam ? adam : strcmp(n->op_type, "Momentum") == 0 ? momentum : adagrad;
    const size_t states = is_adam ? 2 : 1, each = 2 + states;
    fv_value y[most * 3], time;
    step s = {.r = r, .n = n};
    FV_RETURN_IF(n->n_input < 2 + each || (n->n_input - 2) % each, FV_ERR_FORMAT,
                 "node \"%.100s\" (%.60s) has %zu inputs", n->name ? n->name : "", n->op_type, n->n_input);
    const size_t count = (n->n_input - 2) / each;
    if (count > most) return fv_onnx_refuse(n, "more than 64 tensors are updated at once");
    FV_FORWARD(fv_onnx_value(r, n, 0, &s.rate));
    FV_FORWARD(fv_onnx_value(r, n, 1, &time));
    for (size_t i = 0; i < count; i++) {
        FV_FORWARD(fv_onnx_value(r, n, 2 + i, &s.x));
        FV_FORWARD(fv_onnx_value(r, n, 2 + count + i, &s.g));
        for (size_t k = 0; k < states; k++) FV_FORWARD(fv_onnx_value(r, n, 2 + (2 + k) * count + i, &s.state[k]));
        s.time = fv_onnx_cast(r, time, fv_onnx_dtype_of(r, s.rate), NULL);
        run(&s);
        FV_FORWARD(fv_graph_status(r->graph));
        for (size_t k = 0; k <= states; k++) y[k * count + i] = s.fresh[k];
    }
    return fv_onnx_done_all(r, n, y, count * (1 + states));
}

const fv_onnx_read_row fv_onnx_read_nd_optimizer[] = {
    {"Adagrad", read_step},
    {"Momentum", read_step},
    {"Adam", read_step},
    {NULL, NULL},
};
