/* group_norm: x, scale (C), bias (C) -> y, [mean, inverse deviation (N, groups): kept in training]. Of every image, the channels
 * of a group and their pixels have mean 0 and variance 1 (biased) before scale and bias: one group is layer normalization, as
 * many groups as channels instance normalization. The clamp is fused both ways. group_norm_grad: dy, x, scale, bias, mean,
 * inverse -> dx, dscale, dbias. */
#include "ops/norm_plan.h"
#include "ops/pieces.h"

static fv_norm_shape shape_of(const fv_shape *x, int32_t groups) {
    const size_t images = (size_t)x->dim[0], channels = (size_t)x->dim[1], values = fv_shape_count(x);
    return (fv_norm_shape){images, values ? values / images / channels : 0, channels, (size_t)groups};
}

static fv_status group_norm_infer(fv_node *n, fv_value_info *values) {
    FV_FORWARD(fv_norm_check(n, values));
    const fv_shape *x = &values[n->in[0]].shape;
    const int32_t groups = n->attr.norm.groups;
    FV_RETURN_IF(groups < 1 || x->dim[1] % groups, FV_ERR_ARGUMENT,
                 "node \"%s\": %d groups do not divide the %lld channels of %s", n->name, groups, (long long)x->dim[1],
                 fv_shape_print(x).text);
    const fv_shape kept = {2, {x->dim[0], groups}};
    fv_infer_like(&values[n->out[0]], &values[n->in[0]]);
    for (int i = 1; i < 3; i++)
        if (n->out[i] != FV_NONE) fv_infer_shape(&values[n->out[i]], FV_REAL_DTYPE, &kept);
    return FV_OK;
}

static fv_status group_norm_plan(fv_plan_op *p) {
    const fv_norm_shape shape = shape_of(&p->values[p->node->in[0]].shape, p->node->attr.norm.groups);
    return fv_norm_plan(p, &shape);
}

static fv_status group_norm_backward(fv_backward *b) { return fv_norm_backward(b, &fv_op_group_norm_grad); }

const fv_op fv_op_group_norm = {"group_norm", 3, 3, 3, FV_OP_IN_PLACE, group_norm_infer, group_norm_plan, group_norm_backward};

static fv_status group_norm_grad_plan(fv_plan_op *p) {
    const fv_norm_shape shape = shape_of(&p->values[p->node->in[1]].shape, p->node->attr.norm.groups);
    return fv_norm_grad_plan(p, &shape);
}

const fv_op fv_op_group_norm_grad = {"group_norm_grad", 6, 6, 3, FV_OP_IN_PLACE, fv_norm_grad_infer, group_norm_grad_plan, NULL};
