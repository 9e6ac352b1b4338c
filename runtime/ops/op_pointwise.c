/* unary: x -> y; binary: a, b of one shape -> y; unary_grad: y or x (fv_unary_keeps_input), dy -> dx. SPEC section 3.
 */
#include "ops/pieces.h"

#include <math.h>

typedef struct pointwise {
    const fv_kernels *kernels;
    const fv_buffer *a, *b, *out;
    size_t count;
    int32_t kind;
    fv_real low, high;
} pointwise;

static fv_status make(fv_plan_op *p, fv_piece_fn run) {
    const fv_node *n = p->node;
    pointwise *s;
    FV_FORWARD(fv_plan_state(p, sizeof *s, (void **)&s));
    *s = (pointwise){p->kernels,
                     fv_plan_buffer(p, n->in[0]),
                     n->in_count > 1 ? fv_plan_buffer(p, n->in[1]) : NULL,
                     fv_plan_buffer(p, n->out[0]),
                     fv_shape_count(&p->values[n->out[0]].shape),
                     n->attr.pointwise.kind,
                     n->attr.pointwise.a,
                     n->attr.pointwise.b};
    p->algorithm = "pointwise";
    p->flops = (double)s->count;
    return fv_plan_phase(p, false, run, s, fv_run_pieces(s->count));
}

/* ---- unary ---- */

#define FV_LEAST_K ((fv_real)1.17549435e-38) /* a normal float: 1/k does not overflow */

static fv_status unary_infer(fv_node *n, fv_value_info *values) {
    const int32_t kind = n->attr.pointwise.kind;
    FV_RETURN_IF(kind < 0 || kind >= FV_UNARY_COUNT, FV_ERR_ARGUMENT, "node \"%s\": unknown function %d", n->name,
                 kind);
    FV_RETURN_IF(kind == FV_UNARY_CLAMP && !(n->attr.pointwise.a <= n->attr.pointwise.b), FV_ERR_ARGUMENT,
                 "node \"%s\": clip from %g to %g", n->name, (double)n->attr.pointwise.a, (double)n->attr.pointwise.b);
    const bool has_k = kind == FV_UNARY_SOFTPLUS || kind == FV_UNARY_SMOOTH_ABS || kind == FV_UNARY_RELU_SURROGATE;
    FV_RETURN_IF(has_k && !(n->attr.pointwise.a >= FV_LEAST_K && isfinite(n->attr.pointwise.a)), FV_ERR_ARGUMENT,
                 "node \"%s\": k is %g; it must be a number above 0", n->name, (double)n->attr.pointwise.a);
    const bool free_pair = kind == FV_UNARY_LEAKY_RELU || kind == FV_UNARY_ELU || kind == FV_UNARY_HARD_SIGMOID;
    FV_RETURN_IF(free_pair && !(isfinite(n->attr.pointwise.a) && isfinite(n->attr.pointwise.b)), FV_ERR_ARGUMENT,
                 "node \"%s\": its parameters %g and %g are not numbers", n->name, (double)n->attr.pointwise.a,
                 (double)n->attr.pointwise.b);
    fv_infer_like(&values[n->out[0]], &values[n->in[0]]);
    return FV_OK;
}

static void run_unary(void *arg, size_t piece, void *scratch) {
    (void)scratch;
    const pointwise *s = arg;
    const fv_range r = fv_run_of(piece, s->count);
    s->kernels->pointwise.unary[s->kind]((const fv_real *)s->a->data + r.begin, (fv_real *)s->out->data + r.begin,
                                         r.end - r.begin, s->low, s->high);
}

static fv_status unary_plan(fv_plan_op *p) { return make(p, run_unary); }

static fv_status unary_backward(fv_backward *b) {
    const bool input = fv_unary_keeps_input((fv_unary)b->node->attr.pointwise.kind);
    const fv_value in[2] = {input ? b->node->in[0] : b->node->out[0], b->dout[0]};
    b->din[0] = fv_emit_node(b->graph, &fv_op_unary_grad, in, 2, 1, &b->node->attr);
    return FV_OK;
}

const fv_op fv_op_unary = {"unary",       1, 1, 1, FV_OP_IN_PLACE | FV_OP_ANY_LAYOUT, unary_infer, unary_plan,
                           unary_backward};

static fv_status unary_grad_infer(fv_node *n, fv_value_info *values) {
    fv_infer_like(&values[n->out[0]], &values[n->in[1]]);
    return FV_OK;
}

static void run_unary_grad(void *arg, size_t piece, void *scratch) {
    (void)scratch;
    const pointwise *s = arg;
    const fv_range r = fv_run_of(piece, s->count);
    s->kernels->pointwise.unary_grad[s->kind]((const fv_real *)s->a->data + r.begin,
                                              (const fv_real *)s->b->data + r.begin, (fv_real *)s->out->data + r.begin,
                                              r.end - r.begin, s->low, s->high);
}

static fv_status unary_grad_plan(fv_plan_op *p) { return make(p, run_unary_grad); }

const fv_op fv_op_unary_grad = {"unary_grad",    2,   2, 1, FV_OP_IN_PLACE_SECOND | FV_OP_ANY_LAYOUT, unary_grad_infer,
                                unary_grad_plan, NULL};

/* ---- binary ---- */

static fv_status binary_infer(fv_node *n, fv_value_info *values) {
    const fv_shape *a = &values[n->in[0]].shape, *b = &values[n->in[1]].shape;
    FV_RETURN_IF(n->attr.pointwise.kind < 0 || n->attr.pointwise.kind >= FV_BINARY_COUNT, FV_ERR_ARGUMENT,
                 "node \"%s\": unknown function %d", n->name, n->attr.pointwise.kind);
    FV_RETURN_IF(!fv_shape_same(a, b), FV_ERR_SHAPE, "node \"%s\": its inputs %s and %s differ in shape", n->name,
                 fv_shape_print(a).text, fv_shape_print(b).text);
    fv_infer_like(&values[n->out[0]], &values[n->in[0]]);
    return FV_OK;
}

static void run_binary(void *arg, size_t piece, void *scratch) {
    (void)scratch;
    const pointwise *s = arg;
    const fv_range r = fv_run_of(piece, s->count);
    s->kernels->pointwise.binary[s->kind]((const fv_real *)s->a->data + r.begin, (const fv_real *)s->b->data + r.begin,
                                          (fv_real *)s->out->data + r.begin, r.end - r.begin);
}

static fv_status binary_plan(fv_plan_op *p) { return make(p, run_binary); }

/* The gradient of input i of a product is dy times the other input; of the second of a difference -dy. */
static fv_status binary_backward(fv_backward *b) {
    const fv_attributes multiply = {.pointwise = {FV_BINARY_MUL, 0, 0}},
                        negate = {.pointwise = {FV_UNARY_LINEAR, -1, 0}};
    const fv_value dy = b->dout[0];
    const int32_t kind = b->node->attr.pointwise.kind;
    for (int i = 0; i < 2; i++) {
        const fv_value in[2] = {dy, b->node->in[1 - i]};
        if (!b->wanted[i]) continue;
        b->din[i] = dy;
        if (kind == FV_BINARY_MUL) b->din[i] = fv_emit_node(b->graph, &fv_op_binary, in, 2, 1, &multiply);
        if (kind == FV_BINARY_SUB && i == 1) b->din[i] = fv_emit_node(b->graph, &fv_op_unary, in, 1, 1, &negate);
    }
    return FV_OK;
}

const fv_op fv_op_binary = {
    "binary",       2, 2, 1, FV_OP_IN_PLACE | FV_OP_IN_PLACE_SECOND | FV_OP_ANY_LAYOUT, binary_infer, binary_plan,
    binary_backward};
