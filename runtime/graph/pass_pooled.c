/* conv [+ clamp] -> max pooling, backwards. Of a window one value alone has a gradient, and the clamp lets it pass as
 * it lets the window's largest pass: the clamp's gradient moves behind the pooling, and the convolution's gradients
 * take the pooled map's. */
#include "graph/graph.h"

#include "ops/conv_plan.h"

#include <math.h>
#include <string.h>

typedef struct pooled_match {
    size_t pool_grad;
    int32_t clamp;  /* node that undoes the clamp, -1: none */
    fv_value dense; /* the gradient of the convolution's output, which goes away */
    fv_value pooled, index;
} pooled_match;

bool fv_pool_windows_lie_apart(const fv_pool_attr *a, const fv_shape *in, const fv_shape *out) {
    if (a->places) return false;
    for (int i = 0; i < 3; i++) {
        const fv_window_attr *w = &a->window;
        if (w->stride[i] != w->kernel[i] || w->dilation[i] != 1 || w->pad_before[i] != 0) return false;
        if (i > 0 && out->dim[1 + i] * w->kernel[i] > in->dim[1 + i]) return false;
    }
    return a->window.kernel[0] == 1;
}

static bool reads(const fv_node *n, fv_value v) {
    for (int32_t k = 0; k < n->in_count; k++)
        if (n->in[k] == v) return true;
    return false;
}

/* The node that alone reads v, -1: none or several. */
static int32_t only_reader(const fv_graph *g, fv_value v) {
    int32_t reader = -1;
    if (fv_graph_uses(g, v) != 1) return -1;
    for (size_t i = 0; i < g->node_count; i++)
        if (reads(&g->nodes[i], v)) reader = (int32_t)i;
    return reader;
}

/* Of the very map y that was pooled: a sum, or an untied bias, between them passes gradients on as they are. */
static bool undoes_clamp(const fv_node *n, fv_value y, fv_value dy) {
    const int32_t kind = n->attr.pointwise.kind;
    return n->op == &fv_op_unary_grad && n->in[0] == y && n->in[1] == dy &&
           (kind == FV_UNARY_RELU || kind == FV_UNARY_CLAMP);
}

/* A gradient of a convolution that the kernels can take through the pooling. */
static bool gradient_suits(const fv_graph *g, const fv_node *n, const pooled_match *m) {
    const bool input = n->op == &fv_op_conv_grad_input;
    if ((!input && n->op != &fv_op_conv_grad_weight) || n->in[0] != m->dense || n->attr.conv.groups != 1) return false;
    const fv_pool_attr *pool = &g->nodes[m->pool_grad].attr.pool;
    const fv_shape *y = &g->values[m->pooled].shape;
    const fv_conv_pooled pooled = {.pooled = {(int32_t)y->dim[2], (int32_t)y->dim[3]},
                                   .window = {pool->window.kernel[1], pool->window.kernel[2]}};
    fv_conv_geometry geometry = fv_conv_geometry_of(&n->attr.conv, &g->values[n->in[input ? 2 : 1]].shape,
                                                    &g->values[n->in[input ? 1 : 2]].shape, &g->values[m->dense].shape);
    fv_conv_pooled_desc d;
    geometry.images = 1; /* the batch is chosen later, and decides nothing */
    fv_conv_pooled_describe(&geometry, &pooled, &d);
    return g->context->kernels.conv_pooled.suits(&d);
}

static bool match(const fv_graph *g, size_t i, pooled_match *m) {
    const fv_node *n = &g->nodes[i];
    if (n->op != &fv_op_pool_grad || n->attr.pool.kind != FV_POOL_MAX || n->in_count < 3 || n->in[2] == FV_NONE)
        return false;
    const int32_t pool = g->values[n->in[2]].producer;
    if (pool < 0 || !fv_pool_windows_lie_apart(&n->attr.pool, &g->values[n->in[1]].shape, &g->values[n->in[0]].shape))
        return false;
    *m = (pooled_match){.pool_grad = i,
                        .clamp = only_reader(g, n->out[0]),
                        .dense = n->out[0],
                        .pooled = g->nodes[pool].out[0],
                        .index = n->in[2]};
    if (m->clamp >= 0 && !undoes_clamp(&g->nodes[m->clamp], n->in[1], n->out[0])) m->clamp = -1;
    if (m->clamp >= 0) m->dense = g->nodes[m->clamp].out[0];
    size_t readers = 0;
    for (size_t k = 0; k < g->node_count; k++) {
        if (!reads(&g->nodes[k], m->dense)) continue;
        if (!gradient_suits(g, &g->nodes[k], m)) return false;
        readers++;
    }
    return readers > 0 && readers == fv_graph_uses(g, m->dense);
}

/* n becomes the pooled form of itself, reading the pooled map's gradient. */
static fv_status rewrite_gradient(fv_graph *g, fv_node *n, fv_value gradient, const pooled_match *m,
                                  const fv_pool_attr *pool) {
    fv_value *in = NULL;
    FV_FORWARD(fv_alloc_array(g->context, 4, sizeof *in, "a node", (void **)&in));
    in[0] = gradient;
    in[1] = m->index;
    in[2] = n->in[1];
    in[3] = n->in[2];
    fv_release(g->context, n->in);
    n->in = in;
    n->in_count = 4;
    n->op = n->op == &fv_op_conv_grad_input ? &fv_op_conv_pooled_grad_input : &fv_op_conv_pooled_grad_weight;
    for (int i = 0; i < 2; i++) n->attr.conv.pooled_window[i] = pool->window.kernel[i + 1];
    return FV_OK;
}

/* The pool_grad node takes the clamp's place over the pooled map, or goes. */
static fv_status rewrite(fv_graph *g, const pooled_match *m, bool *dead) {
    fv_node *pool_grad = &g->nodes[m->pool_grad];
    const fv_pool_attr pool = pool_grad->attr.pool;
    fv_value gradient = pool_grad->in[0];
    if (m->clamp >= 0) {
        pool_grad->op = &fv_op_unary_grad;
        pool_grad->attr = g->nodes[m->clamp].attr;
        pool_grad->in[1] = gradient;
        pool_grad->in[0] = m->pooled;
        pool_grad->in_count = 2;
        gradient = pool_grad->out[0];
        g->values[gradient].shape = g->values[m->pooled].shape;
    }
    dead[m->clamp >= 0 ? (size_t)m->clamp : m->pool_grad] = true;
    for (size_t k = 0; k < g->node_count; k++)
        if (!dead[k] && reads(&g->nodes[k], m->dense) && k != m->pool_grad)
            FV_FORWARD(rewrite_gradient(g, &g->nodes[k], gradient, m, &pool));
    return FV_OK;
}

fv_status fv_pass_pooled_gradients(fv_graph *g) {
    bool *dead = NULL;
    fv_status status = fv_alloc_array(g->context, g->node_count + 1, sizeof *dead, "a graph pass", (void **)&dead);
    for (size_t i = 0; i < g->node_count && status == FV_OK; i++) {
        pooled_match m;
        if (match(g, i, &m)) status = rewrite(g, &m, dead);
    }
    if (status == FV_OK) fv_graph_remove(g, dead);
    fv_release(g->context, dead);
    return status;
}
