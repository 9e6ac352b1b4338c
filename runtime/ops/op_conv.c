/* conv: x (N,C,H,W), weight (K,C/groups,kh,kw), [bias (K)], [residual] -> y (N,K,H',W'). SPEC section 1. */
#include "ops/conv_plan.h"
#include "ops/pieces.h"

#include <math.h>

static fv_status check_channels(const fv_node *n, const fv_shape *x, const fv_shape *w) {
    const int32_t groups = n->attr.conv.groups;
    FV_RETURN_IF(groups < 1, FV_ERR_ARGUMENT, "node \"%s\": %d groups", n->name, groups);
    FV_RETURN_IF(x->dim[1] % groups || w->dim[0] % groups || w->dim[0] < 1, FV_ERR_SHAPE,
                 "node \"%s\": %d groups do not divide %lld input and %lld output channels", n->name, groups,
                 (long long)x->dim[1], (long long)w->dim[0]);
    FV_RETURN_IF(w->dim[1] != x->dim[1] / groups, FV_ERR_SHAPE,
                 "node \"%s\": its weight %s wants %lld input channels a group, but the input %s has %lld", n->name,
                 fv_shape_print(w).text, (long long)w->dim[1], fv_shape_print(x).text, (long long)(x->dim[1] / groups));
    return FV_OK;
}

static fv_status conv_infer(fv_node *n, fv_value_info *values) {
    const fv_shape *x = &values[n->in[0]].shape, *w = &values[n->in[1]].shape;
    FV_RETURN_IF(x->rank != 4 || w->rank != 4, FV_ERR_SHAPE, "node \"%s\": a convolution takes maps (N,C,H,W) and a weight (K,C,kh,kw), got %s and %s",
                 n->name, fv_shape_print(x).text, fv_shape_print(w).text);
    FV_FORWARD(check_channels(n, x, w));
    if (n->in_count > 2 && n->in[2] != FV_NONE) {
        const fv_shape *b = &values[n->in[2]].shape;
        FV_RETURN_IF(b->rank != 1 || b->dim[0] != w->dim[0], FV_ERR_SHAPE, "node \"%s\": its bias %s does not fit %lld output channels",
                     n->name, fv_shape_print(b).text, (long long)w->dim[0]);
    }
    fv_window_attr *window = &n->attr.conv.window;
    const int64_t in[3] = {1, x->dim[2], x->dim[3]};
    int32_t out[3];
    window->kernel[0] = 1;
    for (int a = 0; a < 2; a++) {
        FV_RETURN_IF(w->dim[2 + a] < 1 || w->dim[2 + a] > INT32_MAX / 4, FV_ERR_SHAPE, "node \"%s\": its weight is %s", n->name,
                     fv_shape_print(w).text);
        window->kernel[1 + a] = (int32_t)w->dim[2 + a];
    }
    FV_FORWARD(fv_window_resolve(n->name, window, in, false, out));
    const fv_shape y = {4, {x->dim[0], w->dim[0], out[1], out[2]}};
    fv_infer_shape(&values[n->out[0]], FV_REAL_DTYPE, &y);
    return FV_OK;
}

static fv_value input_or_none(const fv_node *n, int32_t i) { return i < n->in_count ? n->in[i] : FV_NONE; }

static fv_status conv_plan(fv_plan_op *p) {
    const fv_node *n = p->node;
    const fv_conv_geometry g = fv_conv_geometry_of(&n->attr.conv, &p->values[n->in[0]].shape, &p->values[n->in[1]].shape,
                                                   &p->values[n->out[0]].shape);
    return fv_conv_plan_forward_op(p, &g, n->in[0], n->in[1], input_or_none(n, 2), input_or_none(n, 3), n->out[0]);
}

/* Shared by conv and linear: dy is first taken back through the fused clamp. */
static fv_status product_backward(fv_backward *b, const fv_op *grad_input, const fv_op *grad_weight) {
    const fv_node *n = b->node;
    fv_value dy = b->dout[0];
    const fv_conv_attr *a = &n->attr.conv;
    if (!isinf(a->act_low) || !isinf(a->act_high)) {
        fv_attributes clamp = {.pointwise = {FV_UNARY_CLAMP, a->act_low, a->act_high}};
        if (a->act_low == 0 && isinf(a->act_high)) clamp.pointwise.kind = FV_UNARY_RELU;
        const fv_value in[2] = {n->out[0], dy};
        dy = fv_emit_node(b->graph, &fv_op_unary_grad, in, 2, 1, &clamp);
    }
    if (n->in_count > 3 && n->in[3] != FV_NONE && b->wanted[3]) {
        const fv_value in[2] = {dy, n->in[3]};
        b->din[3] = a->untied ? fv_emit_node(b->graph, &fv_op_untied_bias_grad, in, 2, 1, NULL) : dy;
    }
    if (b->wanted[0]) {
        const fv_value in[3] = {dy, n->in[1], n->in[0]};
        b->din[0] = fv_emit_node(b->graph, grad_input, in, 3, 1, &n->attr);
    }
    const bool bias = n->in_count > 2 && n->in[2] != FV_NONE && b->wanted[2];
    if (!b->wanted[1] && !bias) return FV_OK;
    const fv_value in[3] = {dy, n->in[0], n->in[1]};
    const fv_value dw = fv_emit_node(b->graph, grad_weight, in, 3, bias ? 2 : 1, &n->attr);
    b->din[1] = dw;
    if (bias) b->din[2] = dw + 1;
    return FV_OK;
}

static fv_status conv_backward(fv_backward *b) { return product_backward(b, &fv_op_conv_grad_input, &fv_op_conv_grad_weight); }

const fv_op fv_op_conv = {"conv", 2, 4, 1, 0, conv_infer, conv_plan, conv_backward};

/* ---- linear: x (N,F) or maps flattened map by map, weight (O,F), [bias (O)] -> y (N,O). SPEC section 6 ---- */

static fv_status linear_infer(fv_node *n, fv_value_info *values) {
    const fv_shape *x = &values[n->in[0]].shape, *w = &values[n->in[1]].shape;
    FV_RETURN_IF((x->rank != 2 && x->rank != 4) || w->rank != 2, FV_ERR_SHAPE,
                 "node \"%s\": a fully connected layer takes (N,F) or maps, and a weight (O,F), got %s and %s", n->name,
                 fv_shape_print(x).text, fv_shape_print(w).text);
    int64_t features = x->dim[1];
    if (x->rank == 4) features *= x->dim[2] * x->dim[3];
    FV_RETURN_IF(features != w->dim[1] || w->dim[0] < 1 || features < 1, FV_ERR_SHAPE,
                 "node \"%s\": its weight %s does not fit the %lld features of its input %s", n->name, fv_shape_print(w).text,
                 (long long)features, fv_shape_print(x).text);
    if (n->in_count > 2 && n->in[2] != FV_NONE) {
        const fv_shape *b = &values[n->in[2]].shape;
        FV_RETURN_IF(b->rank != 1 || b->dim[0] != w->dim[0], FV_ERR_SHAPE, "node \"%s\": its bias %s does not fit %lld outputs", n->name,
                     fv_shape_print(b).text, (long long)w->dim[0]);
    }
    const fv_shape y = {2, {x->dim[0], w->dim[0]}};
    fv_infer_shape(&values[n->out[0]], FV_REAL_DTYPE, &y);
    return FV_OK;
}

static fv_status linear_backward(fv_backward *b) {
    return product_backward(b, &fv_op_linear_grad_input, &fv_op_linear_grad_weight);
}

const fv_op fv_op_linear = {"linear", 2, 4, 1, 0, linear_infer, conv_plan, linear_backward};

/* ---- gradients: dy, weight, x -> dx; dy, x, weight -> dw, [db] ---- */

static fv_status grad_input_infer(fv_node *n, fv_value_info *values) {
    fv_infer_like(&values[n->out[0]], &values[n->in[2]]);
    return FV_OK;
}

static fv_status grad_input_plan(fv_plan_op *p) {
    const fv_node *n = p->node;
    const fv_conv_geometry g = fv_conv_geometry_of(&n->attr.conv, &p->values[n->in[2]].shape, &p->values[n->in[1]].shape,
                                                   &p->values[n->in[0]].shape);
    return fv_conv_plan_input_grad(p, &g, n->in[0], n->in[1], n->out[0]);
}

static fv_status grad_weight_infer(fv_node *n, fv_value_info *values) {
    const fv_value_info *w = &values[n->in[2]];
    fv_infer_like(&values[n->out[0]], w);
    if (n->out_count < 2 || n->out[1] == FV_NONE) return FV_OK;
    const fv_shape db = {1, {w->shape.dim[0]}};
    fv_infer_shape(&values[n->out[1]], FV_REAL_DTYPE, &db);
    return FV_OK;
}

static fv_status grad_weight_plan(fv_plan_op *p) {
    const fv_node *n = p->node;
    const fv_conv_geometry g = fv_conv_geometry_of(&n->attr.conv, &p->values[n->in[1]].shape, &p->values[n->in[2]].shape,
                                                   &p->values[n->in[0]].shape);
    return fv_conv_plan_weight_grad(p, &g, n->in[0], n->in[1], n->out[0], n->out_count > 1 ? n->out[1] : FV_NONE, NULL);
}

const fv_op fv_op_conv_grad_input = {"conv_grad_input", 3, 3, 1, 0, grad_input_infer, grad_input_plan, NULL};
const fv_op fv_op_conv_grad_weight = {"conv_grad_weight", 3, 3, 2, 0, grad_weight_infer, grad_weight_plan, NULL};
const fv_op fv_op_linear_grad_input = {"linear_grad_input", 3, 3, 1, 0, grad_input_infer, grad_input_plan, NULL};
const fv_op fv_op_linear_grad_weight = {"linear_grad_weight", 3, 3, 2, 0, grad_weight_infer, grad_weight_plan, NULL};
