/* Normalization over any axes and ranks, of moments and element-wise operators. What the layers of fovea.h do, they do
 * first (onnx_read_norm.c). */
#include "io/onnx_nd.h"
#include "ops/window.h"

#include <string.h>

typedef struct moments {
    fv_value mean, variance;
} moments;

static moments moments_over(fv_onnx_reader *r, fv_value x, int32_t axes, bool keep) {
    const fv_attributes attr = {.nd = {.mode = axes, .keep = keep}};
    const fv_value mean = fv_graph_node(r->graph, &fv_op_nd_moments, NULL, &x, 1, 2, &attr);
    return (moments){mean, mean == FV_NONE ? FV_NONE : mean + 1};
}

static fv_value mean_over(fv_onnx_reader *r, fv_value x, int32_t axes) {
    const fv_attributes attr = {.nd = {.mode = axes, .keep = true}};
    return x == FV_NONE ? FV_NONE : fv_graph_node(r->graph, &fv_op_nd_moments, NULL, &x, 1, 1, &attr);
}

static int32_t axes_from(int32_t first, int32_t rank) { return (int32_t)((1u << rank) - (1u << first)); }

/* (x - mean) * factor * scale + bias; the last two may be FV_NONE, the axes of each but x stand before `trailing`
 * others. */
static fv_value affine(fv_onnx_reader *r, fv_value x, fv_value mean, fv_value factor, int32_t of_moments,
                       fv_value scale, fv_value bias, int32_t trailing, const char *name) {
    fv_value y = fv_onnx_binary(r, FV_ND_SUB, x, mean, of_moments, NULL);
    y = fv_onnx_binary(r, FV_ND_MUL, y, factor, of_moments, scale == FV_NONE && bias == FV_NONE ? name : NULL);
    if (scale != FV_NONE) y = fv_onnx_binary(r, FV_ND_MUL, y, scale, trailing, bias == FV_NONE ? name : NULL);
    if (bias != FV_NONE) y = fv_onnx_binary(r, FV_ND_ADD, y, bias, trailing, name);
    return y;
}

/* Values one a channel: a tensor of rank 1. */
static fv_status check_channels(const fv_onnx_reader *r, const FvOnnx__Node *n, const char *what, fv_value v,
                                fv_value x) {
    const fv_shape *shape = &fv_emit_info(r->graph, v)->shape;
    const int64_t channels = fv_emit_info(r->graph, x)->shape.dim[1];
    FV_RETURN_IF(shape->rank != 1 || shape->dim[0] != channels, FV_ERR_SHAPE,
                 "node \"%.100s\" (%.60s): the %s is %s, not one value for each of %lld channels",
                 n->name ? n->name : "", n->op_type, what, fv_shape_print(shape).text, (long long)channels);
    return FV_OK;
}

static fv_status check_stretched(const fv_onnx_reader *r, const FvOnnx__Node *n, const char *what, fv_value v,
                                 fv_value x) {
    if (v == FV_NONE) return FV_OK;
    const fv_shape *shape = &fv_emit_info(r->graph, v)->shape, *over = &fv_emit_info(r->graph, x)->shape;
    bool fits = shape->rank <= over->rank;
    for (int32_t i = 1; fits && i <= shape->rank; i++)
        fits = shape->dim[shape->rank - i] == 1 || shape->dim[shape->rank - i] == over->dim[over->rank - i];
    FV_RETURN_IF(!fits, FV_ERR_SHAPE, "node \"%.100s\" (%.60s): the %s %s does not stretch over %s",
                 n->name ? n->name : "", n->op_type, what, fv_shape_print(shape).text, fv_shape_print(over).text);
    return FV_OK;
}

static fv_status read_layer(fv_onnx_reader *r, const FvOnnx__Node *n) {
    const float epsilon = fv_onnx_attribute_float(n, "epsilon", 1e-5f);
    fv_value x, scale, bias;
    int32_t axis;
    FV_FORWARD(fv_onnx_value(r, n, 0, &x));
    FV_FORWARD(fv_onnx_value(r, n, 1, &scale));
    FV_FORWARD(fv_onnx_optional(r, n, 2, &bias));
    FV_FORWARD(check_stretched(r, n, "scale", scale, x));
    FV_FORWARD(check_stretched(r, n, "bias", bias, x));
    const int32_t rank = fv_onnx_shape(r, x)->rank;
    const fv_dtype type = fv_onnx_dtype_of(r, x);
    FV_FORWARD(fv_nd_axis(fv_onnx_node_name(n), fv_onnx_attribute_int(n, "axis", -1), rank, false, &axis));
    const fv_value wide =
        type == FV_F16 ? fv_onnx_cast(r, x, FV_F32, NULL) : x; /* stash_type 1: the first stage is one of floats */
    const moments m = moments_over(r, wide, axes_from(axis, rank), true);
    const fv_value inverse = fv_onnx_unary(r, FV_ND_RSQRT, m.variance, epsilon, 0, NULL);
    fv_value y[3] = {FV_NONE, m.mean, inverse};
    if (type == FV_F16) {
        const fv_value normal =
            fv_onnx_cast(r, affine(r, wide, m.mean, inverse, 0, FV_NONE, FV_NONE, 0, NULL), FV_F16, NULL);
        y[0] = fv_onnx_binary(r, FV_ND_MUL, normal, scale, 0, bias == FV_NONE ? fv_onnx_node_name(n) : NULL);
        if (bias != FV_NONE) y[0] = fv_onnx_binary(r, FV_ND_ADD, y[0], bias, 0, fv_onnx_node_name(n));
    } else {
        y[0] = affine(r, x, m.mean, inverse, 0, scale, bias, 0, fv_onnx_node_name(n));
    }
    return fv_onnx_done_all(r, n, y, 3);
}

static fv_status read_instance(fv_onnx_reader *r, const FvOnnx__Node *n) {
    const float epsilon = fv_onnx_attribute_float(n, "epsilon", 1e-5f);
    fv_value x, scale, bias;
    FV_FORWARD(fv_onnx_value(r, n, 0, &x));
    FV_FORWARD(fv_onnx_value(r, n, 1, &scale));
    FV_FORWARD(fv_onnx_value(r, n, 2, &bias));
    const int32_t rank = fv_onnx_shape(r, x)->rank;
    FV_RETURN_IF(rank < 3, FV_ERR_SHAPE, "node \"%.100s\" (InstanceNormalization): a tensor of rank %d has no maps",
                 n->name ? n->name : "", rank);
    FV_FORWARD(check_channels(r, n, "scale", scale, x));
    FV_FORWARD(check_channels(r, n, "bias", bias, x));
    const moments m = moments_over(r, x, axes_from(2, rank), true);
    const fv_value inverse = fv_onnx_unary(r, FV_ND_RSQRT, m.variance, epsilon, 0, NULL);
    return fv_onnx_done(r, n, affine(r, x, m.mean, inverse, 0, scale, bias, rank - 2, fv_onnx_node_name(n)));
}

/* old * momentum + fresh * (1 - momentum). */
static fv_value running(fv_onnx_reader *r, fv_value old, fv_value fresh, float momentum) {
    return fv_onnx_binary(r, FV_ND_ADD, fv_onnx_unary(r, FV_ND_LINEAR, old, momentum, 0, NULL),
                          fv_onnx_unary(r, FV_ND_LINEAR, fresh, 1 - (double)momentum, 0, NULL), 0, NULL);
}

static fv_status read_batch(fv_onnx_reader *r, const FvOnnx__Node *n) {
    static const char *const names[4] = {"scale", "bias", "mean", "variance"};
    const fv_onnx_name *given;
    const float epsilon = fv_onnx_attribute_float(n, "epsilon", 1e-5f),
                momentum = fv_onnx_attribute_float(n, "momentum", 0.9f);
    const bool training = r->opset >= 14 ? fv_onnx_attribute_int(n, "training_mode", 0) != 0
                                         : r->opset < 7 && !fv_onnx_attribute_int(n, "is_test", 0);
    fv_value in[5];
    for (size_t i = 0; i < 5; i++) FV_FORWARD(fv_onnx_value(r, n, i, &in[i]));
    const int32_t rank = fv_onnx_shape(r, in[0])->rank, trailing = rank > 2 ? rank - 2 : 0;
    FV_RETURN_IF(rank < 2, FV_ERR_SHAPE, "node \"%.100s\" (BatchNormalization): a tensor of rank %d has no channels",
                 n->name ? n->name : "", rank);
    if (!fv_onnx_attribute_int(n, "spatial", 1))
        return fv_onnx_refuse(n, "statistics of every value (spatial 0) are not read");
    if (training && r->opset < 14) return fv_onnx_refuse(n, "training is read from operator set 14 on");
    for (size_t i = 1; i < 5; i++) FV_FORWARD(check_channels(r, n, names[i - 1], in[i], in[0]));
    FV_FORWARD(fv_onnx_input(r, n, 4, &given));
    if (given->constant && !training) FV_FORWARD(fv_onnx_check_variance(n, &given->tensor, epsilon));
    fv_value mean = in[3], variance = in[4];
    if (training) {
        const moments m = moments_over(r, in[0], axes_from(2, rank) | 1, false);
        mean = m.mean;
        variance = m.variance;
    }
    const fv_value factor =
        fv_onnx_binary(r, FV_ND_MUL, fv_onnx_unary(r, FV_ND_RSQRT, variance, epsilon, 0, NULL), in[1], 0, NULL);
    fv_value y[3] = {affine(r, in[0], mean, factor, trailing, FV_NONE, in[2], trailing, fv_onnx_node_name(n)), FV_NONE,
                     FV_NONE};
    if (!training) return fv_onnx_done(r, n, y[0]);
    y[1] = running(r, in[3], mean, momentum);
    y[2] = running(r, in[4], variance, momentum);
    return fv_onnx_done_all(r, n, y, 3);
}

static fv_status read_mean_variance(fv_onnx_reader *r, const FvOnnx__Node *n) {
    fv_value x;
    fv_onnx_list axes;
    int32_t mask = 0, axis;
    FV_FORWARD(fv_onnx_value(r, n, 0, &x));
    FV_FORWARD(fv_onnx_axes(r, n, "axes", 0, fv_onnx_shape(r, x)->rank, &axes));
    if (!axes.given) axes = (fv_onnx_list){.count = 3, .value = {0, 2, 3}};
    for (int32_t i = 0; i < axes.count; i++) {
        FV_FORWARD(fv_nd_axis(fv_onnx_node_name(n), axes.value[i], fv_onnx_shape(r, x)->rank, false, &axis));
        mask |= 1 << axis;
    }
    const moments m = moments_over(r, x, mask, true);
    const fv_value deviation =
        fv_onnx_unary(r, FV_ND_LINEAR, fv_onnx_unary(r, FV_ND_SQRT, m.variance, 0, 0, NULL), 1, 1e-9, NULL);
    const fv_value y = fv_onnx_binary(r, FV_ND_SUB, x, m.mean, 0, NULL);
    return fv_onnx_done(r, n, fv_onnx_binary(r, FV_ND_DIV, y, deviation, 0, fv_onnx_node_name(n)));
}

/* A norm of 0 leaves its zeros. */
static fv_status read_lp(fv_onnx_reader *r, const FvOnnx__Node *n) {
    const int64_t p = fv_onnx_attribute_int(n, "p", 2);
    const fv_shape single = {0};
    const float least = 1.17549435e-38f;
    fv_value x;
    int32_t axis;
    FV_FORWARD(fv_onnx_value(r, n, 0, &x));
    const fv_shape shape = *fv_onnx_shape(r, x);
    FV_FORWARD(fv_nd_axis(fv_onnx_node_name(n), fv_onnx_attribute_int(n, "axis", -1), shape.rank, false, &axis));
    if (p != 1 && p != 2) return fv_onnx_refuse(n, "only the norms p = 1 and p = 2 are defined");
    if (axis == 0) FV_FORWARD(fv_onnx_known_shape(r, n, &shape)); /* the sum is a mean times the axis's size */
    const fv_value size =
        p == 1 ? fv_onnx_unary(r, FV_ND_ABS, x, 0, 0, NULL) : fv_onnx_binary(r, FV_ND_MUL, x, x, 0, NULL);
    fv_value norm = fv_onnx_unary(r, FV_ND_LINEAR, mean_over(r, size, 1 << axis), (double)shape.dim[axis], 0, NULL);
    if (p == 2) norm = fv_onnx_unary(r, FV_ND_SQRT, norm, 0, 0, NULL);
    FV_FORWARD(fv_graph_status(r->graph));
    const fv_value floor =
        fv_onnx_cast(r, fv_graph_constant(r->graph, NULL, FV_F32, &single, &least), fv_onnx_dtype_of(r, x), NULL);
    norm = fv_onnx_binary(r, FV_ND_LARGEST, norm, floor, 0, NULL);
    return fv_onnx_done(r, n, fv_onnx_binary(r, FV_ND_DIV, x, norm, 0, fv_onnx_node_name(n)));
}

const fv_onnx_read_row fv_onnx_read_nd_norm[] = {
    {"LayerNormalization", read_layer}, {"InstanceNormalization", read_instance},
    {"BatchNormalization", read_batch}, {"MeanVarianceNormalization", read_mean_variance},
    {"LpNormalization", read_lp},       {NULL, NULL},
};
