/* Quantization and products of quantized numbers, of casts, differences and products: right, not fast. */
#include "io/onnx_nd.h"
#include "ops/nd_matrix.h"
#include "ops/nd_window.h"

#include <math.h>

/* A scale or zero point of one axis of a tensor: how many axes follow it. One number stands for all. */
static int32_t behind(const fv_onnx_reader *r, fv_value v, int32_t rank, int32_t axis) {
    const fv_shape s = *fv_onnx_shape(r, v);
    return s.rank != 1 || s.dim[0] == 1 ? 0 : rank - axis - 1;
}

static bool is_quantized(fv_dtype t) { return t == FV_U8 || t == FV_I8 || t == FV_U16 || t == FV_I16 || t == FV_I32; }

fv_status fv_onnx_check_point(const fv_onnx_reader *r, const FvOnnx__Node *n, fv_value x, fv_value zero) {
    const fv_dtype type = fv_onnx_dtype_of(r, x), point = zero == FV_NONE ? type : fv_onnx_dtype_of(r, zero);
    FV_ONNX_REFUSE_IF(!is_quantized(type), n, "it takes integers of 8 to 32 bits, not %s", fv_dtype_name(type));
    FV_ONNX_REFUSE_IF(point != type, n, "a zero point of %s for %s", fv_dtype_name(point), fv_dtype_name(type));
    return FV_OK;
}

/* Input i, where the file holds it: no number of it is negative, infinite or none at all, nor 0 where others are divided by it. */
static fv_status check_scale(const fv_onnx_reader *r, const FvOnnx__Node *n, size_t i, bool divides) {
    const fv_onnx_name *entry;
    FV_FORWARD(fv_onnx_input(r, n, i, &entry));
    if (!entry || !entry->constant) return FV_OK;
    const fv_onnx_tensor *t = &entry->tensor;
    FV_ONNX_REFUSE_IF(t->type != FV_ONNX_FLOAT && t->type != FV_ONNX_FLOAT16 && t->type != FV_ONNX_DOUBLE, n, "its scale is of integers");
    for (size_t k = 0; k < t->count; k++) {
        const float scale = fv_onnx_tensor_float(t, k);
        FV_ONNX_REFUSE_IF(!(scale >= 0) || isinf(scale) || (divides && scale == 0), n, "scale %zu of input %zu is %g", k, i, (double)scale);
    }
    return FV_OK;
}

/* A scale of one axis has a number for each place on it. */
static fv_status check_along(const fv_onnx_reader *r, const FvOnnx__Node *n, fv_value v, const fv_shape *x, int32_t axis) {
    const fv_shape s = *fv_onnx_shape(r, v);
    FV_ONNX_REFUSE_IF(s.rank > 1 || (s.rank == 1 && s.dim[0] != 1 && s.dim[0] != x->dim[axis]), n,
                      "a scale of rank %d with %lld numbers for an axis of size %lld", s.rank,
                      (long long)(s.rank ? s.dim[0] : 1), (long long)x->dim[axis]);
    return FV_OK;
}

/* x, its scale and zero point (FV_NONE: none), and how many axes follow the scale's. */
static fv_status read_scaled(fv_onnx_reader *r, const FvOnnx__Node *n, fv_value *x, fv_value *scale, fv_value *zero,
                             int32_t *trailing) {
    int32_t axis = 0;
    FV_FORWARD(fv_onnx_value(r, n, 0, x));
    FV_FORWARD(fv_onnx_value(r, n, 1, scale));
    FV_FORWARD(fv_onnx_optional(r, n, 2, zero));
    const int32_t rank = fv_onnx_shape(r, *x)->rank;
    const bool along = fv_onnx_shape(r, *scale)->rank == 1 && fv_onnx_shape(r, *scale)->dim[0] != 1;
    if (along) FV_FORWARD(fv_nd_axis(fv_onnx_node_name(n), fv_onnx_attribute_int(n, "axis", 1), rank, false, &axis));
    if (fv_onnx_attribute_int(n, "block_size", 0)) return fv_onnx_refuse(n, "scales of blocks are not read");
    if (rank) FV_FORWARD(check_along(r, n, *scale, fv_onnx_shape(r, *x), axis));
    FV_ONNX_REFUSE_IF(*zero != FV_NONE && fv_shape_count(fv_onnx_shape(r, *zero)) != fv_shape_count(fv_onnx_shape(r, *scale)), n,
                      "%zu zero points for %zu scales", fv_shape_count(fv_onnx_shape(r, *zero)),
                      fv_shape_count(fv_onnx_shape(r, *scale)));
    *trailing = behind(r, *scale, rank, axis);
    return FV_OK;
}

/* A cast whose flag tells the writer that numbers outside the type are held within it. */
static fv_value held(fv_onnx_reader *r, fv_value x, fv_dtype to, const char *name) {
    const fv_attributes attr = {.nd = {.dtype = to, .flag = true}};
    return x == FV_NONE ? FV_NONE : fv_graph_node(r->graph, &fv_op_nd_cast, name, &x, 1, 1, &attr);
}

/* saturate(round(x / scale) + zero point). */
static fv_value quantize(fv_onnx_reader *r, fv_value x, fv_value scale, fv_value zero, fv_dtype to, int32_t trailing,
                         const char *name) {
    const fv_dtype type = fv_onnx_dtype_of(r, scale);
    fv_value y = fv_onnx_binary(r, FV_ND_DIV, fv_onnx_cast(r, x, type, NULL), scale, trailing, NULL);
    y = fv_onnx_unary(r, FV_ND_ROUND, y, 0, 0, NULL);
    if (zero != FV_NONE) y = fv_onnx_binary(r, FV_ND_ADD, y, fv_onnx_cast(r, zero, type, NULL), trailing, NULL);
    return held(r, y, to, name);
}

static fv_status read_quantize(fv_onnx_reader *r, const FvOnnx__Node *n) {
    fv_value x, scale, zero;
    fv_dtype to = FV_U8;
    int32_t trailing = 0;
    FV_FORWARD(read_scaled(r, n, &x, &scale, &zero, &trailing));
    FV_FORWARD(check_scale(r, n, 1, true));
    if (zero != FV_NONE) FV_FORWARD(fv_onnx_check_point(r, n, zero, FV_NONE));
    if (zero != FV_NONE)
        to = fv_onnx_dtype_of(r, zero);
    else if (fv_onnx_attribute_int(n, "output_dtype", 0))
        FV_FORWARD(fv_onnx_type_named(n, fv_onnx_attribute_int(n, "output_dtype", 0), &to));
    return fv_onnx_done(r, n, quantize(r, x, scale, zero, to, trailing, fv_onnx_node_name(n)));
}

/* x less its zero point, as int32. */
static fv_value centred(fv_onnx_reader *r, fv_value x, fv_value zero, int32_t trailing) {
    x = fv_onnx_cast(r, x, FV_I32, NULL);
    return zero == FV_NONE ? x : fv_onnx_binary(r, FV_ND_SUB, x, fv_onnx_cast(r, zero, FV_I32, NULL), trailing, NULL);
}

static fv_status read_dequantize(fv_onnx_reader *r, const FvOnnx__Node *n) {
    fv_value x, scale, zero;
    int32_t trailing = 0;
    FV_FORWARD(read_scaled(r, n, &x, &scale, &zero, &trailing));
    FV_FORWARD(check_scale(r, n, 1, false));
    FV_FORWARD(fv_onnx_check_point(r, n, x, zero));
    fv_dtype to = fv_onnx_dtype_of(r, scale);
    const fv_value y = fv_onnx_cast(r, centred(r, x, zero, trailing), to, NULL);
    const int64_t asked = fv_onnx_attribute_int(n, "output_dtype", 0);
    if (asked) FV_FORWARD(fv_onnx_type_named(n, asked, &to));
    const bool same = to == fv_onnx_dtype_of(r, scale);
    const fv_value real = fv_onnx_binary(r, FV_ND_MUL, y, scale, trailing, same ? fv_onnx_node_name(n) : NULL);
    return fv_onnx_done(r, n, same ? real : fv_onnx_cast(r, real, to, fv_onnx_node_name(n)));
}

static fv_value extreme(fv_onnx_reader *r, fv_value x, fv_nd_reduction kind) {
    const fv_attributes attr = {.nd = {.kind = (int32_t)kind}};
    return fv_graph_node(r->graph, &fv_op_reduce, NULL, &x, 1, 1, &attr);
}

/* Scale and zero point of the range of x, which 0 belongs to. */
static fv_status read_dynamic(fv_onnx_reader *r, const FvOnnx__Node *n) {
    const fv_shape single = {0};
    const float zero = 0;
    fv_value x;
    FV_FORWARD(fv_onnx_value(r, n, 0, &x));
    const fv_value nothing = fv_graph_constant(r->graph, NULL, FV_F32, &single, &zero);
    FV_FORWARD(fv_graph_status(r->graph));
    const fv_value low = fv_onnx_binary(r, FV_ND_LEAST, extreme(r, x, FV_ND_MIN), nothing, 0, NULL);
    const fv_value high = fv_onnx_binary(r, FV_ND_LARGEST, extreme(r, x, FV_ND_MAX), nothing, 0, NULL);
    const fv_value range = fv_onnx_binary(r, FV_ND_SUB, high, low, 0, NULL);
    const fv_value scale = fv_onnx_unary(r, FV_ND_LINEAR, range, 1.0 / 255, 0, NULL);
    const fv_value place =
        fv_onnx_binary(r, FV_ND_SUB, nothing, fv_onnx_binary(r, FV_ND_DIV, low, scale, 0, NULL), 0, NULL);
    const fv_value point = held(r, fv_onnx_unary(r, FV_ND_ROUND, place, 0, 0, NULL), FV_U8, NULL);
    const fv_value y[3] = {quantize(r, x, scale, point, FV_U8, 0, fv_onnx_node_name(n)), scale, point};
    return fv_onnx_done_all(r, n, y, 3);
}

static fv_value convolve(fv_onnx_reader *r, fv_value x, fv_value w, fv_value bias, const fv_attributes *attr,
                         const char *name) {
    const fv_value in[3] = {x, w, bias};
    return fv_graph_node(r->graph, &fv_op_nd_conv, name, in, bias == FV_NONE ? 2 : 3, 1, attr);
}

static fv_status read_conv_integer(fv_onnx_reader *r, const FvOnnx__Node *n) {
    fv_value x, w, x_zero, w_zero;
    fv_attributes attr;
    FV_FORWARD(fv_onnx_value(r, n, 0, &x));
    FV_FORWARD(fv_onnx_value(r, n, 1, &w));
    FV_FORWARD(fv_onnx_optional(r, n, 2, &x_zero));
    FV_FORWARD(fv_onnx_optional(r, n, 3, &w_zero));
    FV_FORWARD(fv_onnx_check_point(r, n, x, x_zero));
    FV_FORWARD(fv_onnx_check_point(r, n, w, w_zero));
    FV_FORWARD(fv_onnx_conv_window(r, n, x, w, &attr));
    const int32_t trailing = w_zero == FV_NONE ? 0 : behind(r, w_zero, fv_onnx_shape(r, w)->rank, 0);
    const fv_value left = centred(r, x, x_zero, 0), right = centred(r, w, w_zero, trailing);
    FV_FORWARD(fv_graph_status(r->graph));
    return fv_onnx_done(r, n, convolve(r, left, right, FV_NONE, &attr, fv_onnx_node_name(n)));
}

/* Whole sums times both scales, quantized again. */
static fv_value requantized(fv_onnx_reader *r, fv_value sum, fv_value scale, int32_t trailing, fv_value y_scale,
                            fv_value y_zero, const char *name) {
    const fv_value real = fv_onnx_binary(r, FV_ND_MUL, fv_onnx_cast(r, sum, FV_F32, NULL), scale, trailing, NULL);
    return real == FV_NONE ? FV_NONE : quantize(r, real, y_scale, y_zero, fv_onnx_dtype_of(r, y_zero), 0, name);
}

/* Inputs 0 to 7: two factors, each with scale and zero point, and those of the result. */
static fv_status check_factors(const fv_onnx_reader *r, const FvOnnx__Node *n, const fv_value *in) {
    for (size_t i = 0; i < 6; i += 3) {
        FV_FORWARD(fv_onnx_check_point(r, n, in[i], in[i + 2]));
        FV_FORWARD(check_scale(r, n, i + 1, false));
    }
    FV_FORWARD(check_scale(r, n, 6, true));
    return fv_onnx_check_point(r, n, in[7], FV_NONE);
}

/* x, its scale and zero point, w, its two, y's two, [bias int32]. */
static fv_status read_qlinear_conv(fv_onnx_reader *r, const FvOnnx__Node *n) {
    fv_value in[9];
    fv_attributes attr;
    for (size_t i = 0; i < 8; i++) FV_FORWARD(fv_onnx_value(r, n, i, &in[i]));
    FV_FORWARD(fv_onnx_optional(r, n, 8, &in[8]));
    FV_FORWARD(check_factors(r, n, in));
    FV_FORWARD(fv_onnx_conv_window(r, n, in[0], in[3], &attr));
    const int32_t rank = fv_onnx_shape(r, in[0])->rank;
    const fv_value x = centred(r, in[0], in[2], 0), w = centred(r, in[3], in[5], behind(r, in[5], rank, 0));
    FV_FORWARD(fv_graph_status(r->graph));
    const fv_value sum = convolve(r, x, w, in[8], &attr, NULL),
                   scale = fv_onnx_binary(r, FV_ND_MUL, in[4], in[1], 0, NULL);
    FV_FORWARD(fv_graph_status(r->graph));
    return fv_onnx_done(r, n,
                        requantized(r, sum, scale, behind(r, scale, rank, 1), in[6], in[7], fv_onnx_node_name(n)));
}

/* a, scale, zero point, b, its two, y's two: numbers a row of a, a column of b, or one. */
static fv_status read_qlinear_matmul(fv_onnx_reader *r, const FvOnnx__Node *n) {
    static const size_t scales[] = {1, 4, 6};
    const fv_attributes attr = {0};
    fv_value in[8];
    for (size_t i = 0; i < 8; i++) FV_FORWARD(fv_onnx_value(r, n, i, &in[i]));
    FV_FORWARD(check_factors(r, n, in));
    for (size_t i = 0; i < 3; i++) in[scales[i]] = fv_onnx_cast(r, in[scales[i]], FV_F32, NULL); /* they may be float16 */
    FV_FORWARD(fv_graph_status(r->graph));
    const fv_value factors[2] = {centred(r, in[0], in[2], behind(r, in[2], 2, 0)), centred(r, in[3], in[5], 0)};
    FV_FORWARD(fv_graph_status(r->graph));
    const fv_value sum = fv_graph_node(r->graph, &fv_op_nd_matmul, NULL, factors, 2, 1, &attr);
    const fv_value rows =
        fv_onnx_binary(r, FV_ND_MUL, fv_onnx_cast(r, sum, FV_F32, NULL), in[1], behind(r, in[1], 2, 0), NULL);
    FV_FORWARD(fv_graph_status(r->graph));
    const fv_value y = fv_onnx_binary(r, FV_ND_MUL, rows, in[4], 0, NULL);
    FV_FORWARD(fv_graph_status(r->graph));
    return fv_onnx_done(
        r, n, quantize(r, y, in[6], in[7], fv_onnx_dtype_of(r, in[7]), behind(r, in[6], 2, 0), fv_onnx_node_name(n)));
}

const fv_onnx_read_row fv_onnx_read_nd_quantize[] = {
    {"QuantizeLinear", read_quantize},
    {"DequantizeLinear", read_dequantize},
    {"DynamicQuantizeLinear", read_dynamic},
    {"ConvInteger", read_conv_integer},
    {"QLinearConv", read_qlinear_conv},
    {"QLinearMatMul", read_qlinear_matmul},
    {NULL, NULL},
};
