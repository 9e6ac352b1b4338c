/* Resize and Upsample; Pad and Tile. */
#include "io/onnx_nd.h"
#include "ops/nd_resize.h"

#include <math.h>
#include <string.h>

/* ---- padding ---- */

static fv_status read_pad(fv_onnx_reader *r, const FvOnnx__Node *n) {
    static const char *const modes[] = {"constant", "reflect", "edge", "wrap"};
    fv_value in[2] = {FV_NONE, FV_NONE};
    fv_onnx_list pads, axes = {0};
    fv_attributes attr = {.nd = {.kind = FV_ND_PAD_CONSTANT}};
    const bool old = r->opset < 11;
    FV_FORWARD(fv_onnx_value(r, n, 0, &in[0]));
    const fv_value_info *x = fv_emit_info(r->graph, in[0]);
    const fv_dtype type = x->dtype;
    const int32_t rank = attr.nd.count = x->shape.rank;
    while (attr.nd.kind < 4 && !fv_onnx_text_is(n, "mode", modes[attr.nd.kind], attr.nd.kind == 0)) attr.nd.kind++;
    if (attr.nd.kind == 4) return fv_onnx_refuse(n, "an unknown mode");
    FV_FORWARD(fv_onnx_list_of(r, n, old ? (r->opset < 2 ? "paddings" : "pads") : NULL, 1, &pads));
    if (!old) FV_FORWARD(fv_onnx_axes(r, n, NULL, 3, rank, &axes));
    const int32_t count = axes.given ? axes.count : rank;
    FV_ONNX_REFUSE_IF(!pads.given || pads.count != 2 * count, n, "%d pads for %d axes", pads.count, count);
    for (int32_t i = 0; i < count; i++) {
        const int64_t axis = axes.given ? axes.value[i] : i;
        attr.nd.a[axis] = pads.value[i];
        attr.nd.b[axis] = pads.value[count + i];
    }
    const fv_onnx_name *entry = NULL;
    if (!old && attr.nd.kind == FV_ND_PAD_CONSTANT) FV_FORWARD(fv_onnx_input(r, n, 2, &entry));
    if (entry) FV_FORWARD(fv_onnx_value(r, n, 2, &in[1]));
    const fv_real value = (fv_real)fv_onnx_attribute_float(n, "value", 0);
    if (old && value != 0 && type == FV_REAL_DTYPE)
        in[1] = fv_graph_constant(r->graph, NULL, FV_REAL_DTYPE, &(fv_shape){0}, &value);
    return fv_onnx_done(r, n, fv_graph_node(r->graph, &fv_op_pad, fv_onnx_node_name(n), in, in[1] == FV_NONE ? 1 : 2, 1, &attr));
}

static fv_status read_tile(fv_onnx_reader *r, const FvOnnx__Node *n) { return fv_onnx_node_sized(r, n, &fv_op_tile, "repeats"); }

/* The middle of what is too long, zeros around what is too short. */
static fv_status read_center(fv_onnx_reader *r, const FvOnnx__Node *n) {
    fv_value x;
    fv_onnx_list sizes, axes;
    FV_FORWARD(fv_onnx_value(r, n, 0, &x));
    const fv_shape shape = *fv_onnx_shape(r, x);
    FV_FORWARD(fv_onnx_list_of(r, n, NULL, 1, &sizes));
    FV_FORWARD(fv_onnx_axes(r, n, "axes", 0, shape.rank, &axes));
    FV_ONNX_REFUSE_IF(!sizes.given || sizes.count != (axes.given ? axes.count : shape.rank), n, "%d sizes for its axes",
                      sizes.count);
    fv_attributes attr = {.nd = {.kind = FV_ND_PAD_CONSTANT, .count = shape.rank}};
    for (int32_t i = 0; i < sizes.count; i++) {
        const int64_t axis = axes.given ? axes.value[i] : i, wanted = sizes.value[i];
        FV_ONNX_REFUSE_IF(wanted < 0 || wanted > INT32_MAX, n, "size %lld", (long long)wanted);
        const int64_t more = wanted - shape.dim[axis];
        attr.nd.a[axis] = more >= 0 ? more / 2 : -(-more / 2); /* of an odd number the last element is added or cut */
        attr.nd.b[axis] = more - attr.nd.a[axis];
    }
    return fv_onnx_node_of(r, n, &fv_op_pad, x, &attr);
}

/* ---- resizing ---- */

static fv_status pick(const FvOnnx__Node *n, const char *name, const char *const *texts, int32_t count, int32_t otherwise,
                      int32_t *out) {
    *out = otherwise;
    if (!fv_onnx_attribute(n, name)) return FV_OK;
    for (*out = 0; *out < count; ++*out)
        if (fv_onnx_text_is(n, name, texts[*out], false)) return FV_OK;
    return fv_fail(FV_ERR_UNSUPPORTED, "node \"%.100s\" (%.60s): an unknown %s", n->name ? n->name : "", n->op_type, name);
}

static fv_status read_modes(const fv_onnx_reader *r, const FvOnnx__Node *n, fv_nd_attr *a) {
    static const char *const kinds[] = {"nearest", "linear", "cubic", "bilinear"};
    static const char *const coordinates[] = {"half_pixel", "half_pixel_symmetric", "pytorch_half_pixel", "align_corners",
                                              "asymmetric", "tf_half_pixel_for_nn", "tf_crop_and_resize"};
    static const char *const roundings[] = {"round_prefer_floor", "round_prefer_ceil", "floor", "ceil"};
    const bool old = r->opset < 11, upsample = strcmp(n->op_type, "Upsample") == 0;
    int32_t coordinate, rounding;
    FV_FORWARD(pick(n, "mode", kinds, 4, 0, &a->kind));
    if (a->kind == 3) a->kind = FV_RESIZE_LINEAR;
    FV_FORWARD(pick(n, "coordinate_transformation_mode", coordinates, FV_RESIZE_COORDINATES,
                    old ? FV_RESIZE_ASYMMETRIC : FV_RESIZE_HALF_PIXEL, &coordinate));
    FV_FORWARD(pick(n, "nearest_mode", roundings, 4,
                    old ? (upsample ? FV_RESIZE_FLOOR : FV_RESIZE_SIMPLE) : FV_RESIZE_ROUND_PREFER_FLOOR, &rounding));
    a->mode = coordinate + 16 * rounding;
    a->flag = fv_onnx_attribute_int(n, "antialias", 0) != 0 && a->kind != FV_RESIZE_NEAREST;
    a->keep = fv_onnx_attribute_int(n, "exclude_outside", 0) != 0;
    a->alpha = (double)fv_onnx_attribute_float(n, "cubic_coeff_a", -0.75f);
    a->beta = (double)fv_onnx_attribute_float(n, "extrapolation_value", 0);
    return FV_OK;
}

/* Scales: of the sizes floor(size * scale). */
static fv_status take_scales(const FvOnnx__Node *n, fv_nd_attr *a, const fv_shape *x, const fv_onnx_list *axes,
                             const fv_onnx_tensor *t, const FvOnnx__Attribute *given) {
    const size_t count = t ? t->count : given->n_floats;
    FV_ONNX_REFUSE_IF(count != (axes->given ? (size_t)axes->count : (size_t)x->rank), n, "%zu scales for %s", count,
                      fv_shape_print(x).text);
    for (size_t i = 0; i < count; i++) {
        const int64_t axis = axes->given ? axes->value[i] : (int64_t)i;
        const float scale = t ? fv_onnx_tensor_float(t, i) : given->floats[i], size = floorf((float)x->dim[axis] * scale);
        FV_ONNX_REFUSE_IF(!(scale > 0 && size >= 0 && size < 2147483648.0f), n, "axis %lld of %s scaled by %g", (long long)axis,
                          fv_shape_print(x).text, (double)scale);
        fv_resize_set_scale(a, (int32_t)axis, (double)scale);
        a->a[axis] = (int64_t)size;
    }
    return FV_OK;
}

static fv_status take_sizes(const FvOnnx__Node *n, fv_nd_attr *a, const fv_shape *x, const fv_onnx_list *axes,
                            const fv_onnx_list *sizes) {
    const bool larger = fv_onnx_text_is(n, "keep_aspect_ratio_policy", "not_smaller", false);
    const bool one = larger || fv_onnx_text_is(n, "keep_aspect_ratio_policy", "not_larger", false);
    double common = 0;
    FV_ONNX_REFUSE_IF(sizes->count != (axes->given ? axes->count : x->rank), n, "%d sizes for %s", sizes->count,
                      fv_shape_print(x).text);
    for (int32_t i = 0; i < sizes->count; i++) {
        const int64_t axis = axes->given ? axes->value[i] : i, size = sizes->value[i];
        FV_ONNX_REFUSE_IF(size < 0 || size > INT32_MAX, n, "size %lld", (long long)size);
        const double scale = x->dim[axis] && size ? (double)size / (double)x->dim[axis] : 1;
        if (i == 0 || (larger ? scale > common : scale < common)) common = scale;
        fv_resize_set_scale(a, (int32_t)axis, scale);
        a->a[axis] = size;
    }
    for (int32_t i = 0; i < sizes->count && one; i++) {
        const int64_t axis = axes->given ? axes->value[i] : i;
        fv_resize_set_scale(a, (int32_t)axis, common);
        a->a[axis] = (int64_t)floor(common * (double)x->dim[axis] + 0.5);
    }
    return FV_OK;
}

static fv_status read_resize(fv_onnx_reader *r, const FvOnnx__Node *n) {
    fv_value x;
    fv_onnx_list axes, sizes = {0};
    const fv_onnx_tensor *scales = NULL, *region = NULL;
    fv_attributes attr = {0};
    const bool old = r->opset < 11 || strcmp(n->op_type, "Upsample") == 0;
    const FvOnnx__Attribute *given = fv_onnx_attribute(n, "scales");
    FV_FORWARD(fv_onnx_value(r, n, 0, &x));
    const fv_shape shape = *fv_onnx_shape(r, x);
    attr.nd.count = shape.rank;
    for (int32_t i = 0; i < shape.rank; i++) {
        const float all[2] = {0, 1};
        fv_resize_set_scale(&attr.nd, i, 1);
        fv_resize_set_region(&attr.nd, i, all);
        attr.nd.a[i] = shape.dim[i];
    }
    FV_FORWARD(read_modes(r, n, &attr.nd));
    FV_FORWARD(fv_onnx_axes(r, n, "axes", 0, shape.rank, &axes));
    if (!given) FV_FORWARD(fv_onnx_constant(r, n, old ? 1 : 2, &scales));
    if (!old) FV_FORWARD(fv_onnx_list_of(r, n, NULL, 3, &sizes));
    const bool crop = (attr.nd.mode & 15) == FV_RESIZE_TF_CROP_AND_RESIZE;
    if (!old && crop) FV_FORWARD(fv_onnx_constant(r, n, 1, &region));
    const size_t count = axes.given ? (size_t)axes.count : (size_t)shape.rank;
    FV_ONNX_REFUSE_IF(crop && (!region || region->count != 2 * count), n, "it needs a region of %zu numbers", 2 * count);
    for (size_t i = 0; i < count && crop; i++) {
        const float part[2] = {fv_onnx_tensor_float(region, i), fv_onnx_tensor_float(region, count + i)};
        fv_resize_set_region(&attr.nd, axes.given ? (int32_t)axes.value[i] : (int32_t)i, part);
    }
    if (given || (scales && scales->count))
        FV_FORWARD(take_scales(n, &attr.nd, &shape, &axes, scales, given));
    else if (sizes.given && sizes.count)
        FV_FORWARD(take_sizes(n, &attr.nd, &shape, &axes, &sizes));
    else
        FV_ONNX_REFUSE_IF(shape.rank, n, "it has neither scales nor sizes");
    return fv_onnx_node_of(r, n, &fv_op_resize, x, &attr);
}

const fv_onnx_read_row fv_onnx_read_nd_resize[] = {
    {"Pad", read_pad},       {"Tile", read_tile},       {"CenterCropPad", read_center},
    {"Resize", read_resize}, {"Upsample", read_resize}, {NULL, NULL},
};
