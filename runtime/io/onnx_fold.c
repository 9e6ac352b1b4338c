/* Layers that opset 17 spells out become one node again: GELU in both forms, SiLU, mish, hard swish, softsign. Only what nothing else reads
 * is taken in. */
#include "io/onnx_internal.h"

#include <math.h>

/* The node that makes v for one reader alone, if it is of this operator and function; else NULL. */
static const fv_node *maker(const fv_graph *g, fv_value v, const fv_op *op, int32_t kind) {
    const int32_t producer = g->values[v].producer;
    if (producer < 0 || g->nodes[producer].op != op || fv_graph_uses(g, v) != 1) return NULL;
    return g->nodes[producer].attr.pointwise.kind == kind ? &g->nodes[producer] : NULL;
}

static bool is_near(fv_real value, double wanted) { return fabs((double)value - wanted) <= 1e-5 * fabs(wanted); }

static bool is_linear(const fv_node *n, double a, double b) {
    return n && n->op == &fv_op_unary && n->attr.pointwise.kind == FV_UNARY_LINEAR && is_near(n->attr.pointwise.a, a) &&
           is_near(n->attr.pointwise.b, b);
}

/* The input of v = a*x + b, FV_NONE if v is not that. */
static fv_value linear_of(const fv_graph *g, fv_value v, double a, double b) {
    const fv_node *n = maker(g, v, &fv_op_unary, FV_UNARY_LINEAR);
    return is_linear(n, a, b) ? n->in[0] : FV_NONE;
}

static fv_value unary_of(const fv_graph *g, fv_value v, fv_unary kind) {
    const fv_node *n = v == FV_NONE ? NULL : maker(g, v, &fv_op_unary, kind);
    return n ? n->in[0] : FV_NONE;
}

/* v is u times w, or u + w, in any order. */
static bool pair_of(const fv_graph *g, fv_value v, fv_binary kind, fv_value u, fv_value *w) {
    const fv_node *n = v == FV_NONE ? NULL : maker(g, v, &fv_op_binary, kind);
    if (!n || (n->in[0] != u && n->in[1] != u)) return false;
    *w = n->in[0] == u ? n->in[1] : n->in[0];
    return true;
}

/* v = 1 + erf(x/sqrt 2). */
static bool is_erf_sum(const fv_graph *g, fv_value v, fv_value x) {
    const fv_value erf = linear_of(g, v, 1, 1), scaled = unary_of(g, erf, FV_UNARY_ERF);
    return scaled != FV_NONE && linear_of(g, scaled, sqrt(0.5), 0) == x;
}

/* v = 1 + tanh(sqrt(2/pi)(x + 0.044715 x^3)). */
static bool is_tanh_sum(const fv_graph *g, fv_value v, fv_value x) {
    const fv_value tanh = linear_of(g, v, 1, 1), scaled = unary_of(g, tanh, FV_UNARY_TANH);
    const fv_value sum = scaled == FV_NONE ? FV_NONE : linear_of(g, scaled, 0.7978845608028654, 0);
    fv_value term, square, other;
    if (!pair_of(g, sum, FV_BINARY_ADD, x, &term)) return false;
    const fv_value cube = linear_of(g, term, 0.044715, 0);
    return pair_of(g, cube, FV_BINARY_MUL, x, &square) && pair_of(g, square, FV_BINARY_MUL, x, &other) && other == x;
}

static fv_unary gelu_kind(const fv_graph *g, fv_value factor, fv_value x) {
    return is_erf_sum(g, factor, x) ? FV_UNARY_GELU : is_tanh_sum(g, factor, x) ? FV_UNARY_GELU_TANH : FV_UNARY_COUNT;
}

/* v = min(max(x + 3, 0), 6), all of it times `scale`, or (scale 1/6) a hard sigmoid that is the same. */
static bool is_hard_gate(const fv_graph *g, fv_value v, fv_value x, double scale) {
    const fv_node *gate = maker(g, v, &fv_op_unary, FV_UNARY_HARD_SIGMOID);
    if (gate && scale != 1) return gate->in[0] == x && is_near(gate->attr.pointwise.a, 1.0 / 6) && is_near(gate->attr.pointwise.b, 0.5);
    if (scale != 1) v = linear_of(g, v, scale, 0);
    const fv_node *clamp = v == FV_NONE ? NULL : maker(g, v, &fv_op_unary, FV_UNARY_CLAMP);
    return clamp && clamp->attr.pointwise.a == 0 && is_near(clamp->attr.pointwise.b, 6) && linear_of(g, clamp->in[0], 1, 3) == x;
}

/* n = x times the gate over 6, before or after the product. */
static bool is_hard_swish(const fv_graph *g, const fv_node *n, fv_value *x) {
    const bool after = is_linear(n, 1.0 / 6, 0);
    const fv_node *product = after ? maker(g, n->in[0], &fv_op_binary, FV_BINARY_MUL) : n;
    if (!product || product->op != &fv_op_binary || product->attr.pointwise.kind != FV_BINARY_MUL) return false;
    for (int side = 0; side < 2; side++) {
        *x = product->in[side];
        if (is_hard_gate(g, product->in[1 - side], *x, after ? 1 : 1.0 / 6)) return true;
    }
    return false;
}

/* What node n computes of *x in one step, FV_UNARY_COUNT: nothing known. */
static fv_unary layer_of(const fv_graph *g, const fv_node *n, fv_value *x) {
    if (is_linear(n, 0.5, 0)) { /* half of x times the factor */
        const fv_node *product = maker(g, n->in[0], &fv_op_binary, FV_BINARY_MUL);
        for (int side = 0; product && side < 2; side++) {
            *x = product->in[side];
            const fv_unary kind = gelu_kind(g, product->in[1 - side], *x);
            if (kind != FV_UNARY_COUNT) return kind;
        }
    }
    if (is_hard_swish(g, n, x)) return FV_UNARY_HARD_SWISH;
    if (n->op != &fv_op_binary || n->attr.pointwise.kind != FV_BINARY_MUL) return FV_UNARY_COUNT;
    for (int side = 0; side < 2; side++) {
        const fv_value factor = n->in[1 - side], half = linear_of(g, n->in[side], 0.5, 0);
        *x = n->in[side];
        if (unary_of(g, factor, FV_UNARY_SIGMOID) == *x) return FV_UNARY_SILU;
        const fv_value softplus = unary_of(g, factor, FV_UNARY_TANH);
        const fv_node *made = softplus == FV_NONE ? NULL : maker(g, softplus, &fv_op_unary, FV_UNARY_SOFTPLUS);
        if (made && made->in[0] == *x && made->attr.pointwise.a == 1) return FV_UNARY_MISH;
        if (half == FV_NONE) continue;
        *x = half;
        const fv_unary kind = gelu_kind(g, factor, half);
        if (kind != FV_UNARY_COUNT) return kind;
    }
    return FV_UNARY_COUNT;
}

/* x / (1 + |x|), as PyTorch exports it. */
fv_value fv_onnx_fold_division(fv_onnx_reader *r, fv_value x, fv_value divisor, const char *name) {
    const fv_graph *g = r->graph;
    const int32_t sum = g->values[divisor].producer;
    const int32_t size = sum >= 0 && is_linear(&g->nodes[sum], 1, 1) ? g->values[g->nodes[sum].in[0]].producer : -1;
    const fv_node *n = size >= 0 ? &g->nodes[size] : NULL;
    if (!n || n->op != &fv_op_unary || n->attr.pointwise.kind != FV_UNARY_ABS || n->in[0] != x) return FV_NONE;
    r->folded = true;
    return fv_graph_softsign(r->graph, x, name);
}

fv_status fv_onnx_fold(fv_onnx_reader *r) {
    fv_graph *g = r->graph;
    for (size_t i = 0; i < g->node_count; i++) {
        fv_node *n = &g->nodes[i];
        fv_value x = FV_NONE;
        const fv_unary kind = layer_of(g, n, &x);
        if (kind == FV_UNARY_COUNT) continue;
        n->op = &fv_op_unary;
        n->in_count = 1;
        n->in[0] = x;
        n->attr = (fv_attributes){.pointwise = {kind, 0, 0}};
        r->folded = true;
        fv_pass_note(g, FV_PASS_SPELLED, 1, 0, 0);
    }
    const size_t before = g->node_count;
    if (r->folded) FV_FORWARD(fv_pass_dead(g));
    fv_pass_note(g, FV_PASS_SPELLED, 0, before - g->node_count, 0);
    return FV_OK;
}
