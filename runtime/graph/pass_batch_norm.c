/* Batch normalization in graphs. For training: what its gradient needs is kept. For inference: behind a convolution or
 * fully connected layer that nothing else reads, its map goes into the weights and the bias, w' = w * scale /
 * sqrt(variance + epsilon), b' = bias + (b - mean) * scale / sqrt(variance + epsilon), computed in double and rounded
 * once. So a weight is off by half a unit in the last place, as the product's own terms are. */
#include "graph/model.h"
#include "ops/window.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

fv_status fv_pass_norm_kept(fv_graph *g) {
    for (size_t i = 0; i < g->node_count; i++) {
        if (g->nodes[i].op != &fv_op_batch_norm && g->nodes[i].op != &fv_op_group_norm) continue;
        for (int k = 1; k < 3; k++) {
            if (g->nodes[i].out[k] != FV_NONE) continue;
            const fv_value v = fv_graph_new_value(g, FV_VALUE_ACTIVATION, NULL, FV_REAL_DTYPE, NULL);
            FV_FORWARD(fv_graph_status(g));
            g->nodes[i].out[k] = v;
            g->values[v].producer = (int32_t)i;
        }
        FV_FORWARD(g->nodes[i].op->infer(&g->nodes[i], g->values));
    }
    return FV_OK;
}

/* ---- folding ---- */

typedef struct fold {
    fv_node *product;
    const fv_node *norm;
    size_t rows, row; /* of the weight: output channels, values each */
} fold;

static bool is_constant(const fv_graph *g, fv_value v) {
    return g->values[v].kind == FV_VALUE_PARAMETER && g->values[v].data && fv_graph_lasts(g, v);
}

/* A product without clamp or residual whose only reader is the norm, all of whose numbers are known. */
static bool match(fv_graph *g, size_t i, fold *f) {
    const fv_node *n = &g->nodes[i];
    const int32_t producer = n->op == &fv_op_batch_norm ? g->values[n->in[0]].producer : -1;
    if (producer < 0 || n->attr.norm.batch_moments || fv_graph_uses(g, n->in[0]) != 1) return false;
    fv_node *product = &g->nodes[producer];
    if ((product->op != &fv_op_conv && product->op != &fv_op_linear) || product->attr.conv.residual) return false;
    if (!isinf(product->attr.conv.act_low) || !isinf(product->attr.conv.act_high)) return false;
    for (int32_t k = 1; k < n->in_count; k++)
        if (!is_constant(g, n->in[k])) return false;
    for (int32_t k = 1; k < product->in_count; k++)
        if (product->in[k] != FV_NONE && !is_constant(g, product->in[k])) return false;
    const fv_value_info *w = &g->values[product->in[1]];
    *f = (fold){product, n, (size_t)w->shape.dim[0], fv_shape_count(&w->shape) / (size_t)w->shape.dim[0]};
    return w->layout == FV_PLAIN;
}

static fv_value bias_of(const fv_node *product) { return product->in_count > 2 ? product->in[2] : FV_NONE; }

static void fill(const fv_graph *g, const fold *f, fv_real *weight, fv_real *shift) {
    const fv_real *parameter[5], *w = g->values[f->product->in[1]].data;
    const fv_value bias = bias_of(f->product);
    const fv_real *b = bias == FV_NONE ? NULL : g->values[bias].data;
    for (int k = 1; k < 5; k++) parameter[k] = g->values[f->norm->in[k]].data;
    for (size_t o = 0; o < f->rows; o++) {
        const double gain =
            (double)parameter[1][o] / sqrt((double)parameter[4][o] + (double)f->norm->attr.norm.epsilon);
        for (size_t k = 0; k < f->row; k++) weight[o * f->row + k] = (fv_real)((double)w[o * f->row + k] * gain);
        shift[o] = (fv_real)((double)parameter[2][o] + ((b ? (double)b[o] : 0) - (double)parameter[3][o]) * gain);
    }
}

/* What folded numbers come from; they belong to the model, and sessions share them. */
typedef struct fold_key {
    char what[16];
    const void *data[5];
    double epsilon;
} fold_key;

typedef struct folded {
    fv_packed_entry *weight, *bias;
} folded;

static fv_status folded_values(fv_graph *g, const fold *f, fv_packed_cache *packed, folded *out) {
    const fv_value bias = bias_of(f->product);
    const void *weight = g->values[f->product->in[1]].data;
    fold_key key;
    size_t bytes;
    memset(&key, 0, sizeof key);
    memcpy(key.what, "folded", sizeof "folded");
    for (int k = 0; k < 4; k++) key.data[k] = g->values[f->norm->in[1 + k]].data;
    key.data[4] = bias == FV_NONE ? NULL : g->values[bias].data;
    key.epsilon = (double)f->norm->attr.norm.epsilon;
    FV_RETURN_IF(!fv_mul_size(f->row, f->rows * sizeof(fv_real), &bytes), FV_ERR_LIMIT, "node \"%s\" is too large",
                 f->product->name);
    FV_FORWARD(fv_packed_get(packed, weight, &key, sizeof key, bytes, true, &out->weight));
    memcpy(key.what, "folded bias", sizeof "folded bias");
    FV_FORWARD(fv_packed_get(packed, weight, &key, sizeof key, f->rows * sizeof(fv_real), true, &out->bias));
    if (!out->weight->ready) {
        fv_small_pages(g->context, out->weight->data, bytes);
        fill(g, f, out->weight->data, out->bias->data);
    }
    return FV_OK;
}

static fv_value known(fv_graph *g, const fv_shape *shape, fv_real *data) {
    const fv_value v = fv_graph_new_value(g, FV_VALUE_PARAMETER, NULL, FV_REAL_DTYPE, shape);
    if (v != FV_NONE) g->values[v].data = data, g->values[v].shared = true;
    return v;
}

/* The product reads the folded numbers, is called "product+norm", and gives what the norm gave. */
static fv_status rewrite(fv_graph *g, const fold *f, const folded *numbers, size_t at) {
    fv_node *product = f->product;
    const fv_node *norm = f->norm;
    const fv_shape weight = g->values[product->in[1]].shape, rows = {1, {weight.dim[0]}};
    char name[1100];
    fv_value *in = NULL;
    char *both = NULL;
    snprintf(name, sizeof name, "%.512s+%.512s", product->name, norm->name);
    const fv_value w = known(g, &weight, numbers->weight->data), b = known(g, &rows, numbers->bias->data);
    FV_FORWARD(fv_graph_status(g));
    FV_FORWARD(fv_strdup(g->context, name, &both));
    const fv_status status = fv_alloc_array(g->context, 4, sizeof *in, "a node", (void **)&in);
    if (status != FV_OK) {
        fv_release(g->context, both);
        return status;
    }
    in[0] = product->in[0];
    in[1] = w;
    in[2] = b;
    fv_release(g->context, product->in);
    fv_release(g->context, product->name);
    product->in = in;
    product->in_count = 3;
    product->name = both;
    product->out[0] = norm->out[0];
    g->values[norm->out[0]].producer = (int32_t)at;
    return FV_OK;
}

/* The values of a weight that was folded live on under its entry: g is a copy that shares them. */
static void free_unfolded(fv_graph *g, fv_graph *frees, fv_packed_cache *packed, const void *old,
                          const folded *numbers) {
    numbers->bias->ready = true;
    fv_packed_replace(packed, frees, old, numbers->weight);
    for (size_t i = 0; i < g->value_count; i++)
        if (g->values[i].data == old) g->values[i].data = numbers->weight->data;
}

static fv_status fold_all(fv_graph *g, fv_packed_cache *packed, fv_graph *frees, bool *dead) {
    for (size_t i = 0; i < g->node_count; i++) {
        fold f;
        folded numbers;
        if (!match(g, i, &f)) continue;
        const void *weight = g->values[f.product->in[1]].data;
        FV_FORWARD(folded_values(g, &f, packed, &numbers));
        FV_FORWARD(rewrite(g, &f, &numbers, (size_t)(f.product - g->nodes)));
        if (frees && weight != numbers.weight->data && fv_graph_readers(g, weight) == 0)
            free_unfolded(g, frees, packed, weight, &numbers);
        dead[i] = true;
    }
    return FV_OK;
}

fv_status fv_pass_fold_batch_norm(fv_graph *g, fv_packed_cache *packed, fv_graph *frees) {
    bool *dead = NULL;
    FV_FORWARD(fv_alloc_array(g->context, g->node_count + 1, sizeof *dead, "a graph pass", (void **)&dead));
    fv_packed_lock(packed);
    const fv_status status = fold_all(g, packed, frees, dead);
    fv_packed_unlock(packed, status == FV_OK);
    if (status == FV_OK) fv_graph_remove(g, dead);
    fv_release(g->context, dead);
    return status;
}
