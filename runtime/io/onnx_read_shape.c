/* Constants, sizes, and nodes that change nothing. */
#include "io/onnx_scope.h"

#include <math.h>
#include <string.h>

/* Of any kind: a constant stays one. */
static fv_status read_identity(fv_onnx_reader *r, const FvOnnx__Node *n) {
    const fv_onnx_name *x;
    FV_FORWARD(fv_onnx_input(r, n, 0, &x));
    FV_RETURN_IF(!x || n->n_output < 1 || !*n->output[0], FV_ERR_FORMAT,
                 "node \"%.100s\" (%.60s) has no input or no output", n->name ? n->name : "", n->op_type);
    if (!x->constant && x->value == FV_NONE) return fv_onnx_refuse(n, "it needs what an unsupported node makes");
    return fv_onnx_define_alias(r, n->output[0], x);
}

/* ---- Constant: a tensor, or numbers ---- */

static fv_status define_ints(fv_onnx_reader *r, const FvOnnx__Node *n, const int64_t *values, size_t count,
                             bool scalar) {
    const fv_shape shape = {scalar ? 0 : 1, {(int64_t)count}};
    return fv_onnx_define_constant(r, n->output[0], FV_I64, &shape, values);
}

static fv_status define_floats(fv_onnx_reader *r, const FvOnnx__Node *n, const float *values, size_t count,
                               bool scalar) {
    const fv_shape shape = {scalar ? 0 : 1, {(int64_t)count}};
    return fv_onnx_define_constant(r, n->output[0], FV_F32, &shape, values);
}

static fv_status read_constant(fv_onnx_reader *r, const FvOnnx__Node *n) {
    const FvOnnx__Attribute *a;
    FV_RETURN_IF(n->n_output != 1 || !*n->output[0], FV_ERR_FORMAT, "a Constant node has no output");
    if ((a = fv_onnx_attribute(n, "value_int")) && a->has_i) return define_ints(r, n, &a->i, 1, true);
    if ((a = fv_onnx_attribute(n, "value_ints"))) return define_ints(r, n, a->ints, a->n_ints, false);
    if ((a = fv_onnx_attribute(n, "value_float")) && a->has_f) return define_floats(r, n, &a->f, 1, true);
    if ((a = fv_onnx_attribute(n, "value_floats"))) return define_floats(r, n, a->floats, a->n_floats, false);
    fv_onnx_name entry = {.name = n->output[0], .constant = true, .value = FV_NONE};
    if (!(a = fv_onnx_attribute(n, "value")) || !a->t) return fv_onnx_refuse(n, "only numbers in \"value\" are read");
    FV_FORWARD(fv_onnx_tensor_view(a->t, r->file, r->files, &entry.tensor));
    return fv_onnx_define(r, &entry);
}

/* A shape that a constant tells. */
static fv_status shape_from(const FvOnnx__Node *n, const fv_onnx_tensor *t, fv_shape *out) {
    FV_RETURN_IF(!t || t->shape.rank > 1 || t->count > FV_MAX_RANK, FV_ERR_UNSUPPORTED,
                 "node \"%.100s\" (%.60s): its shape has rank %zu", n->name ? n->name : "", n->op_type,
                 t ? t->count : 0);
    *out = (fv_shape){.rank = (int32_t)t->count};
    for (size_t i = 0; i < t->count; i++) {
        out->dim[i] = fv_onnx_tensor_int(t, i);
        FV_RETURN_IF(out->dim[i] < 0 || out->dim[i] > INT32_MAX, FV_ERR_SHAPE,
                     "node \"%.100s\" (%.60s): its shape has size %lld", n->name ? n->name : "", n->op_type,
                     (long long)out->dim[i]);
    }
    return FV_OK;
}

static fv_status read_constant_of_shape(fv_onnx_reader *r, const FvOnnx__Node *n) {
    const fv_onnx_tensor *t;
    const FvOnnx__Attribute *a = fv_onnx_attribute(n, "value");
    fv_onnx_tensor value = {.type = FV_ONNX_FLOAT, .count = 1, .data = &(const float){0}};
    fv_shape shape;
    fv_dtype dtype;
    size_t count = 1, bytes;
    uint64_t element = 0;
    void *data;
    FV_FORWARD(fv_onnx_constant(r, n, 0, &t));
    FV_FORWARD(shape_from(n, t, &shape));
    if (a && a->t) FV_FORWARD(fv_onnx_tensor_view(a->t, r->file, r->files, &value));
    FV_RETURN_IF(value.count != 1, FV_ERR_FORMAT, "node \"%.100s\" (ConstantOfShape): its value is not one number",
                 n->name ? n->name : "");
    FV_FORWARD(fv_onnx_dtype(value.type, "ConstantOfShape's value", &dtype));
    for (int32_t i = 0; i < shape.rank; i++)
        FV_RETURN_IF(!fv_mul_size(count, (size_t)shape.dim[i], &count), FV_ERR_LIMIT, "a constant is too large");
    FV_RETURN_IF(!fv_mul_size(count, fv_dtype_bytes(dtype), &bytes) || bytes > (size_t)1 << 28, FV_ERR_LIMIT,
                 "node \"%.100s\" (ConstantOfShape) makes %zu numbers", n->name ? n->name : "", count);
    FV_FORWARD(fv_onnx_take_bytes(r->memory, bytes, &data));
    fv_onnx_tensor_copy(&value, &element);
    for (size_t i = 0; i < count; i++)
        memcpy((char *)data + i * fv_dtype_bytes(dtype), &element, fv_dtype_bytes(dtype));
    fv_onnx_name entry = {.name = n->output[0],
                          .constant = true,
                          .value = FV_NONE,
                          .made = true,
                          .tensor = {.shape = shape, .count = count, .type = value.type, .data = data}};
    return fv_onnx_define(r, &entry);
}

/* ---- sizes ---- */

/* The shape of input 0, a constant's too. */
static fv_status known_shape(fv_onnx_reader *r, const FvOnnx__Node *n, fv_shape *out) {
    const fv_onnx_name *x;
    FV_FORWARD(fv_onnx_input(r, n, 0, &x));
    FV_RETURN_IF(!x, FV_ERR_FORMAT, "node \"%.100s\" (%.60s) has no input", n->name ? n->name : "", n->op_type);
    if (x->constant) {
        *out = x->tensor.shape;
        return FV_OK;
    }
    if (x->value == FV_NONE || x->as_maps) return fv_onnx_refuse(n, "it needs what an unsupported node makes");
    *out = r->graph->values[x->value].shape;
    return FV_OK;
}

static int64_t place(int64_t at, int32_t rank) { return at < -rank ? 0 : at < 0 ? at + rank : at > rank ? rank : at; }

static fv_status read_shape(fv_onnx_reader *r, const FvOnnx__Node *n) {
    fv_shape x, part = {.rank = 0};
    FV_FORWARD(known_shape(r, n, &x));
    const int64_t begin = place(fv_onnx_attribute_int(n, "start", 0), x.rank),
                  end = place(fv_onnx_attribute_int(n, "end", x.rank), x.rank);
    for (int64_t i = begin; i < end; i++) part.dim[part.rank++] = x.dim[i];
    FV_FORWARD(fv_onnx_known_shape(r, n, &part));
    return define_ints(r, n, part.dim, (size_t)part.rank, false);
}

static fv_status read_size(fv_onnx_reader *r, const FvOnnx__Node *n) {
    fv_shape x;
    int64_t count = 1;
    FV_FORWARD(known_shape(r, n, &x));
    FV_FORWARD(fv_onnx_known_shape(r, n, &x));
    for (int32_t i = 0; i < x.rank; i++) count *= x.dim[i]; /* checked when the value was made */
    return define_ints(r, n, &count, 1, true);
}

/* ---- Range: its three numbers shape it ---- */

static double number(const fv_onnx_tensor *t) {
    if (t->type != FV_ONNX_DOUBLE)
        return t->type == FV_ONNX_FLOAT ? (double)fv_onnx_tensor_float(t, 0) : (double)fv_onnx_tensor_int(t, 0);
    double value;
    memcpy(&value, t->data, sizeof value);
    return value;
}

static void put(fv_dtype dtype, void *data, size_t i, const fv_onnx_tensor *start, const fv_onnx_tensor *step) {
    const int64_t whole = fv_onnx_tensor_int(start, 0) + (int64_t)i * fv_onnx_tensor_int(step, 0);
    switch (dtype) {
    case FV_F32:
        ((float *)data)[i] = (float)(number(start) + (double)i * number(step));
        break;
    case FV_F64:
        ((double *)data)[i] = number(start) + (double)i * number(step);
        break;
    default:
        memcpy((char *)data + i * fv_dtype_bytes(dtype), &whole, fv_dtype_bytes(dtype));
    }
}

static fv_status read_range(fv_onnx_reader *r, const FvOnnx__Node *n) {
    const fv_onnx_tensor *t[3];
    fv_dtype dtype;
    void *data;
    for (size_t i = 0; i < 3; i++) {
        FV_FORWARD(fv_onnx_constant(r, n, i, &t[i]));
        FV_RETURN_IF(!t[i] || t[i]->count != 1 || t[i]->type != t[0]->type, FV_ERR_SHAPE,
                     "node \"%.100s\" (Range): it takes three numbers of one type", n->name ? n->name : "");
    }
    FV_FORWARD(fv_onnx_dtype(t[0]->type, "Range's start", &dtype));
    if (dtype == FV_F16 || dtype == FV_BOOL) return fv_onnx_refuse(n, "float16 is not read");
    if (number(t[2]) == 0) return fv_onnx_refuse(n, "a step of 0");
    const double steps = ceil((number(t[1]) - number(t[0])) / number(t[2]));
    FV_RETURN_IF(isnan(steps) || steps * (double)fv_dtype_bytes(dtype) > 0x1p28, FV_ERR_LIMIT,
                 "node \"%.100s\" (Range) makes %g numbers", n->name ? n->name : "", steps);
    const size_t count = steps > 0 ? (size_t)steps : 0;
    FV_FORWARD(fv_onnx_take_bytes(r->memory, count * fv_dtype_bytes(dtype), &data));
    for (size_t i = 0; i < count; i++) put(dtype, data, i, t[0], t[2]);
    fv_onnx_name entry = {.name = n->output[0],
                          .constant = true,
                          .value = FV_NONE,
                          .made = true,
                          .tensor = {.shape = {1, {(int64_t)count}}, .count = count, .type = t[0]->type, .data = data}};
    return fv_onnx_define(r, &entry);
}

/* ---- Dropout where it drops nothing: the mask is true ---- */

static fv_status define_mask(fv_onnx_reader *r, const FvOnnx__Node *n) {
    fv_shape shape;
    size_t count = 1;
    void *ones;
    FV_FORWARD(known_shape(r, n, &shape));
    FV_FORWARD(fv_onnx_known_shape(r, n, &shape));
    for (int32_t i = 0; i < shape.rank; i++) count *= (size_t)shape.dim[i]; /* checked when the value was made */
    const fv_dtype dtype = r->opset < 10 ? FV_F32 : FV_BOOL;                /* of x's type at first */
    FV_FORWARD(fv_onnx_take_bytes(r->memory, count * fv_dtype_bytes(dtype), &ones));
    for (size_t i = 0; i < count && dtype == FV_BOOL; i++) ((uint8_t *)ones)[i] = 1;
    for (size_t i = 0; i < count && dtype == FV_F32; i++) ((float *)ones)[i] = 1;
    return fv_onnx_define_constant(r, n->output[1], dtype, &shape, ones);
}

static fv_status read_dropout(fv_onnx_reader *r, const FvOnnx__Node *n) {
    const fv_onnx_tensor *ratio, *training;
    FV_FORWARD(fv_onnx_constant(r, n, 1, &ratio));
    FV_FORWARD(fv_onnx_constant(r, n, 2, &training));
    const float share =
        ratio && ratio->count ? fv_onnx_tensor_float(ratio, 0) : fv_onnx_attribute_float(n, "ratio", 0.5f);
    FV_RETURN_IF(!(share >= 0 && share < 1), FV_ERR_ARGUMENT,
                 "node \"%.100s\" (Dropout): its ratio is %g, not from 0 to below 1", n->name ? n->name : "",
                 (double)share);
    if (training && training->count && fv_onnx_tensor_int(training, 0) && share != 0)
        return fv_onnx_refuse(n, "training_mode draws random numbers");
    if (n->n_output > 1 && *n->output[1]) FV_FORWARD(define_mask(r, n));
    return read_identity(r, n);
}

const fv_onnx_read_row fv_onnx_read_shape[] = {
    {"Identity", read_identity},
    {"Constant", read_constant},
    {"ConstantOfShape", read_constant_of_shape},
    {"Shape", read_shape},
    {"Size", read_size},
    {"Range", read_range},
    {"Dropout", read_dropout},
    {NULL, NULL},
};
