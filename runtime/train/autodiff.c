#include "train/autodiff.h"

#include <string.h>

typedef struct reverse {
    fv_graph *g;
    size_t value_count, node_count; /* at entry: what is differentiated */
    bool *needs;                    /* [value_count] a wanted value is upstream, or is this one */
    fv_value *gradients;            /* [value_count] */
} reverse;

static void find_needs(reverse *r, const fv_value *wanted, size_t count) {
    for (size_t i = 0; i < count; i++) r->needs[wanted[i]] = true;
    for (size_t i = 0; i < r->node_count; i++) {
        const fv_node *n = &r->g->nodes[i];
        bool needed = false;
        for (int32_t k = 0; k < n->in_count; k++) needed = needed || (n->in[k] != FV_NONE && r->needs[n->in[k]]);
        for (int32_t k = 0; k < n->out_count && needed; k++)
            if (n->out[k] != FV_NONE && r->g->values[n->out[k]].dtype == FV_REAL_DTYPE) r->needs[n->out[k]] = true;
    }
}

/* A value used several times has the sum of what its uses give. */
static void accumulate(reverse *r, fv_value v, fv_value gradient) {
    if (gradient == FV_NONE) return;
    if (fv_emit_info(r->g, v)->kind == FV_VALUE_ACTIVATION)
        gradient = fv_emit_in_layout(r->g, gradient, fv_emit_info(r->g, v)->layout);
    if (r->gradients[v] == FV_NONE) {
        r->gradients[v] = gradient;
        return;
    }
    const fv_attributes add = {.pointwise = {FV_BINARY_ADD, 0, 0}};
    const fv_value in[2] = {r->gradients[v], gradient};
    r->gradients[v] = fv_emit_node(r->g, &fv_op_binary, in, 2, 1, &add);
}

static fv_status reverse_lists(reverse *r, const fv_node n, fv_value *dout, fv_value *din, bool *wanted) {
    bool any = false, flows = false;
    for (int32_t k = 0; k < n.out_count; k++) {
        dout[k] = n.out[k] == FV_NONE ? FV_NONE : r->gradients[n.out[k]];
        flows = flows || dout[k] != FV_NONE;
    }
    for (int32_t k = 0; k < n.in_count; k++) {
        din[k] = FV_NONE;
        wanted[k] = n.in[k] != FV_NONE && r->needs[n.in[k]];
        any = any || wanted[k];
    }
    if (!any || !flows) return FV_OK;
    FV_RETURN_IF(!n.op->backward, FV_ERR_UNSUPPORTED, "node \"%s\" (%s) has no gradient", n.name, n.op->name);
    fv_backward b = {r->g, &n, dout, wanted, din};
    FV_FORWARD(n.op->backward(&b));
    for (int32_t k = 0; k < n.in_count; k++)
        if (wanted[k]) accumulate(r, n.in[k], din[k]);
    return fv_graph_status(r->g);
}

static fv_status reverse_node(reverse *r, size_t i) {
    enum { most = FV_MOST_PARTS };
    const fv_node n = r->g->nodes[i]; /* the array moves while nodes are emitted; its lists do not */
    fv_value few[2 * most], *lists = few;
    bool few_wanted[most], *wanted = few_wanted;
    if (n.in_count <= most && n.out_count <= most) return reverse_lists(r, n, few, few + most, few_wanted);
    const size_t count = (size_t)n.in_count + (size_t)n.out_count;
    FV_FORWARD(fv_alloc_array(r->g->context, count, sizeof *lists, "autodiff", (void **)&lists));
    fv_status status = fv_alloc_array(r->g->context, count, sizeof *wanted, "autodiff", (void **)&wanted);
    if (status == FV_OK) {
        status = reverse_lists(r, n, lists, lists + n.out_count, wanted);
        fv_release(r->g->context, wanted);
    }
    fv_release(r->g->context, lists);
    return status;
}

static fv_status differentiate(reverse *r, const fv_value *outputs, const fv_value *seeds, size_t count,
                               const fv_value *wanted, size_t wanted_count) {
    for (size_t i = 0; i < r->value_count; i++) r->gradients[i] = FV_NONE;
    find_needs(r, wanted, wanted_count);
    for (size_t i = 0; i < count; i++) accumulate(r, outputs[i], seeds[i]);
    for (size_t i = r->node_count; i-- > 0;) FV_FORWARD(reverse_node(r, i));
    return fv_graph_status(r->g);
}

fv_status fv_autodiff(fv_graph *g, const fv_value *outputs, const fv_value *seeds, size_t count, const fv_value *wanted,
                      size_t wanted_count, size_t value_count, fv_value *gradients) {
    reverse r = {.g = g, .value_count = value_count, .node_count = g->node_count, .gradients = gradients};
    FV_FORWARD(fv_alloc_array(g->context, g->value_count + 1, sizeof *r.needs, "autodiff", (void **)&r.needs));
    const fv_status status = differentiate(&r, outputs, seeds, count, wanted, wanted_count);
    fv_release(g->context, r.needs);
    return status;
}
