/* Element-wise operators. */
#include "io/onnx_internal.h"

#include <math.h>
#include <string.h>

static fv_status read_unary(fv_onnx_reader *r, const FvOnnx__Node *n) {
    fv_value x;
    FV_FORWARD(fv_onnx_value(r, n, 0, &x));
    if (strcmp(n->op_type, "Relu") == 0) return fv_onnx_done(r, n, fv_graph_relu(r->graph, x, fv_onnx_node_name(n)));
    if (strcmp(n->op_type, "Sigmoid") == 0)
        return fv_onnx_done(r, n, fv_graph_sigmoid(r->graph, x, fv_onnx_node_name(n)));
    if (strcmp(n->op_type, "Tanh") == 0) return fv_onnx_done(r, n, fv_graph_tanh(r->graph, x, fv_onnx_node_name(n)));
    return fv_onnx_done(r, n, fv_graph_exp(r->graph, x, fv_onnx_node_name(n)));
}

static fv_status read_clip(fv_onnx_reader *r, const FvOnnx__Node *n) {
    fv_value x;
    float low = fv_onnx_attribute_float(n, "min", -INFINITY), high = fv_onnx_attribute_float(n, "max", INFINITY);
    FV_FORWARD(fv_onnx_value(r, n, 0, &x));
    for (size_t i = 1; i <= 2; i++) {
        const fv_onnx_tensor *t;
        FV_FORWARD(fv_onnx_constant(r, n, i, &t));
        if (!t) continue;
        FV_RETURN_IF(t->count != 1, FV_ERR_SHAPE, "node \"%.100s\" (Clip): a bound has %zu values",
                     n->name ? n->name : "", t->count);
        *(i == 1 ? &low : &high) = fv_onnx_tensor_float(t, 0);
    }
    return fv_onnx_done(r, n, fv_graph_clip(r->graph, x, low, high, fv_onnx_node_name(n)));
}

bool fv_onnx_is_per_map(const fv_onnx_tensor *t, const fv_shape *x) {
    const int64_t channels = x->rank > 1 ? x->dim[1] : 0;
    if ((int64_t)t->count != channels) return false;
    const int32_t axis = t->shape.rank - (x->rank - 1); /* where the map axis lies when aligned to the right */
    return axis >= 0 && axis < t->shape.rank && t->shape.dim[axis] == channels;
}

/* One addend for each value of an image: the shape of x without its batch, with 1 in its place or nothing. */
static bool is_per_value(const fv_onnx_tensor *t, const fv_shape *x) {
    const int32_t before = x->rank - t->shape.rank; /* axes of x that t leaves out */
    if (before < 0 || before > 1 || (x->rank != 2 && x->rank != 4) || (t->count == 1 && before > 0)) return false;
    for (int32_t i = before; i < x->rank; i++)
        if (t->shape.dim[i - before] != (i == 0 ? 1 : x->dim[i])) return false;
    return true;
}

static fv_status read_untied_bias(fv_onnx_reader *r, const FvOnnx__Node *n, fv_value x, const fv_onnx_name *entry) {
    const fv_shape shape = fv_emit_info(r->graph, x)->shape;
    fv_value bias;
    FV_FORWARD(fv_onnx_parameter(r, entry, shape.rank - 1, shape.dim + 1, &bias));
    return fv_onnx_done(r, n, fv_graph_untied_bias_with(r->graph, x, bias, fv_onnx_node_name(n)));
}

static fv_status read_with_constant(fv_onnx_reader *r, const FvOnnx__Node *n, fv_value x, const fv_onnx_name *entry,
                                    bool first) {
    const char op = n->op_type[0]; /* Add, Sub, Mul */
    if (op == 'A' && is_per_value(&entry->tensor, &fv_emit_info(r->graph, x)->shape))
        return read_untied_bias(r, n, x, entry);
    const fv_shape *shape = &fv_emit_info(r->graph, x)->shape;
    const bool one_map = op == 'M' && entry->tensor.shape.rank == shape->rank - 1 &&
                         fv_onnx_is_per_map(&entry->tensor, shape); /* a gain */
    if (entry->tensor.count == 1 && !one_map) {
        const float k = fv_onnx_tensor_float(&entry->tensor, 0);
        if (op == 'M') return fv_onnx_done(r, n, fv_graph_scale(r->graph, x, k, 0, fv_onnx_node_name(n)));
        if (op == 'A') return fv_onnx_done(r, n, fv_graph_scale(r->graph, x, 1, k, fv_onnx_node_name(n)));
        return fv_onnx_done(r, n,
                            fv_graph_scale(r->graph, x, first ? -1.0f : 1.0f, first ? k : -k, fv_onnx_node_name(n)));
    }
    if (op != 'M' || !fv_onnx_is_per_map(&entry->tensor, &fv_emit_info(r->graph, x)->shape))
        return fv_onnx_refuse(
            n, "only one number, a factor a map, or an addend a value of the image is combined as a constant");
    fv_value gain;
    const int64_t channels = (int64_t)entry->tensor.count;
    FV_FORWARD(fv_onnx_parameter(r, entry, 1, &channels, &gain));
    return fv_onnx_done(r, n, fv_graph_gain_with(r->graph, x, gain, fv_onnx_node_name(n)));
}

/* Mul of maps with one factor an image and map, or an image and pixel; x and y may stand in either order. *out FV_NONE:
 * neither. */
static fv_status read_attention(fv_onnx_reader *r, const FvOnnx__Node *n, const fv_onnx_name *x, const fv_onnx_name *y,
                                fv_value *out) {
    *out = FV_NONE;
    if (n->op_type[0] != 'M' || x->value == FV_NONE || y->value == FV_NONE) return FV_OK;
    const fv_shape *maps = &fv_emit_info(r->graph, x->value)->shape,
                   *factors = &fv_emit_info(r->graph, y->value)->shape;
    if (maps->rank != 4 || (!y->as_maps && factors->rank != 4)) return FV_OK;
    const int64_t pixels = y->as_maps ? 1 : factors->dim[2] * factors->dim[3];
    const bool by_map = pixels == 1 && factors->dim[1] == maps->dim[1] && maps->dim[2] * maps->dim[3] != 1;
    const bool by_pixel = !y->as_maps && factors->dim[1] == 1 && maps->dim[1] != 1 && factors->dim[2] == maps->dim[2] &&
                          factors->dim[3] == maps->dim[3];
    if (y->as_maps || by_map)
        *out = fv_graph_scale_maps(r->graph, x->value, y->value, fv_onnx_node_name(n));
    else if (by_pixel)
        *out = fv_graph_scale_pixels(r->graph, x->value, y->value, fv_onnx_node_name(n));
    return fv_graph_status(r->graph);
}

static fv_status read_binary(fv_onnx_reader *r, const FvOnnx__Node *n) {
    const fv_onnx_name *a, *b;
    fv_value x, y;
    FV_FORWARD(fv_onnx_input(r, n, 0, &a));
    FV_FORWARD(fv_onnx_input(r, n, 1, &b));
    FV_RETURN_IF(!a || !b, FV_ERR_FORMAT, "node \"%.100s\" (%.60s) needs two inputs", n->name ? n->name : "",
                 n->op_type);
    if (a->constant || b->constant) {
        FV_FORWARD(fv_onnx_value(r, n, a->constant ? 1 : 0, &x));
        return read_with_constant(r, n, x, a->constant ? a : b, a->constant);
    }
    FV_FORWARD(read_attention(r, n, a, b, &x));
    if (x == FV_NONE) FV_FORWARD(read_attention(r, n, b, a, &x));
    if (x != FV_NONE) return fv_onnx_done(r, n, x);
    FV_FORWARD(fv_onnx_value(r, n, 0, &x));
    FV_FORWARD(fv_onnx_value(r, n, 1, &y));
    if (n->op_type[0] == 'A') return fv_onnx_done(r, n, fv_graph_add(r->graph, x, y, fv_onnx_node_name(n)));
    if (n->op_type[0] == 'S') return fv_onnx_done(r, n, fv_graph_subtract(r->graph, x, y, fv_onnx_node_name(n)));
    return fv_onnx_done(r, n, fv_graph_multiply(r->graph, x, y, fv_onnx_node_name(n)));
}

const fv_onnx_read_row fv_onnx_read_pointwise[] = {
    {"Relu", read_unary}, {"Sigmoid", read_unary}, {"Tanh", read_unary}, {"Exp", read_unary}, {"Clip", read_clip},
    {"Add", read_binary}, {"Sub", read_binary},    {"Mul", read_binary}, {NULL, NULL},
};
