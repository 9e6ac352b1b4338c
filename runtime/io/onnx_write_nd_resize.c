/* Resizing. The plan keeps sizes and scales of every axis: written are those of the two that give both back. */
#include "io/onnx_write_nd.h"
#include "ops/nd_resize.h"

#include <math.h>
#include <string.h>

typedef struct resize {
    const fv_nd_attr *a;
    const fv_shape *x;
    int32_t count, axis[FV_MAX_RANK]; /* those that change */
} resize;

static bool by_scales(const resize *s) {
    for (int32_t i = 0; i < s->count; i++) {
        const double scale = fv_resize_scale(s->a, s->axis[i]);
        const float size = floorf((float)s->x->dim[s->axis[i]] * (float)scale);
        if ((double)(float)scale != scale || (int64_t)size != s->a->a[s->axis[i]]) return false;
    }
    return true;
}

/* What reading the size gives as the scale. */
static double scale_of(const resize *s, int32_t axis, int64_t size) {
    return s->x->dim[axis] && size ? (double)size / (double)s->x->dim[axis] : 1;
}

static bool by_sizes(const resize *s) {
    for (int32_t i = 0; i < s->count; i++)
        if (scale_of(s, s->axis[i], s->a->a[s->axis[i]]) != fv_resize_scale(s->a, s->axis[i])) return false;
    return true;
}

/* One scale for all, which the size of at least one axis gives exactly; the others' sizes then only must not give less.
 */
static bool by_one_scale(const resize *s, int64_t *sizes) {
    const double common = s->count ? fv_resize_scale(s->a, s->axis[0]) : 1;
    bool exact = false;
    for (int32_t i = 0; i < s->count; i++) {
        const int32_t axis = s->axis[i];
        sizes[i] = s->a->a[axis];
        if (fv_resize_scale(s->a, axis) != common || (int64_t)floor(common * (double)s->x->dim[axis] + 0.5) != sizes[i])
            return false;
        if (scale_of(s, axis, sizes[i]) < common) sizes[i]++;
        exact = exact || scale_of(s, axis, sizes[i]) == common;
    }
    return exact;
}

static const char *rounding_of(fv_onnx_writer *w, const fv_node *source, const resize *s) {
    static const char *const roundings[] = {"round_prefer_floor", "round_prefer_ceil", "floor", "ceil"};
    const int32_t rounding = s->a->mode / 16;
    bool grows = false, shrinks = false;
    if (rounding != FV_RESIZE_SIMPLE) return roundings[rounding];
    for (int32_t i = 0; i < s->count; i++) {
        grows = grows || fv_resize_scale(s->a, s->axis[i]) > 1;
        shrinks = shrinks || fv_resize_scale(s->a, s->axis[i]) < 1;
    }
    if (grows && shrinks)
        fv_onnx_cannot(w, source, "neighbours of operator set 10 where one axis grows and another shrinks");
    return roundings[shrinks ? FV_RESIZE_CEIL : FV_RESIZE_FLOOR];
}

static void make_modes(fv_onnx_writer *w, FvOnnx__Node *n, const fv_node *source, const resize *s) {
    static const char *const kinds[] = {"nearest", "linear", "cubic"};
    static const char *const coordinates[] = {"half_pixel",        "half_pixel_symmetric", "pytorch_half_pixel",
                                              "align_corners",     "asymmetric",           "tf_half_pixel_for_nn",
                                              "tf_crop_and_resize"};
    const int32_t coordinate = s->a->mode % 16;
    fv_onnx_make_text(w, n, "mode", kinds[s->a->kind]);
    fv_onnx_make_text(w, n, "coordinate_transformation_mode", coordinates[coordinate]);
    if (coordinate == FV_RESIZE_HALF_PIXEL_SYMMETRIC) fv_onnx_need(w, 19);
    if (s->a->kind == FV_RESIZE_NEAREST) fv_onnx_make_text(w, n, "nearest_mode", rounding_of(w, source, s));
    if (s->a->kind == FV_RESIZE_CUBIC) fv_onnx_make_float(w, n, "cubic_coeff_a", (float)s->a->alpha);
    if (s->a->keep) fv_onnx_make_int(w, n, "exclude_outside", 1);
    if (coordinate == FV_RESIZE_TF_CROP_AND_RESIZE) fv_onnx_make_float(w, n, "extrapolation_value", (float)s->a->beta);
    if (!s->a->flag) return;
    fv_onnx_make_int(w, n, "antialias", 1);
    fv_onnx_need(w, 18);
}

static void make_region(fv_onnx_writer *w, FvOnnx__Node *n, const resize *s) {
    float region[2 * FV_MAX_RANK], part[2];
    const int64_t shape = 2 * s->count;
    for (int32_t i = 0; i < s->count; i++) {
        fv_resize_region(s->a, s->axis[i], part);
        region[i] = part[0];
        region[s->count + i] = part[1];
    }
    n->input[1] = fv_onnx_made_tensor(w, n->output[0], "region", 1, &shape, FV_F32, region);
}

static void make_scales(fv_onnx_writer *w, FvOnnx__Node *n, const resize *s) {
    float scales[FV_MAX_RANK];
    const int64_t shape = s->count;
    for (int32_t i = 0; i < s->count; i++) scales[i] = (float)fv_resize_scale(s->a, s->axis[i]);
    n->input[2] = fv_onnx_made_tensor(w, n->output[0], "scales", 1, &shape, FV_F32, scales);
}

static void write_resize(fv_onnx_writer *w, const fv_node *source) {
    resize s = {&source->attr.nd, &w->graph->values[source->in[0]].shape, 0, {0}};
    int64_t sizes[FV_MAX_RANK], axes[FV_MAX_RANK];
    for (int32_t i = 0; i < s.x->rank; i++) s.axis[s.count++] = i;
    const bool scales = by_scales(&s), plain = scales || by_sizes(&s);
    if (!plain) { /* axes that stay are left out */
        s.count = 0;
        for (int32_t i = 0; i < s.x->rank; i++)
            if (fv_resize_scale(s.a, i) != 1 || s.a->a[i] != s.x->dim[i]) s.axis[s.count++] = i;
        if (!by_one_scale(&s, sizes)) fv_onnx_cannot(w, source, "sizes and scales that no attribute gives both of");
        fv_onnx_need(w, 18);
    }
    FvOnnx__Node *n = fv_onnx_begin(w, source, "Resize", scales ? 3 : 4);
    if (!n) return;
    if (s.a->mode % 16 == FV_RESIZE_TF_CROP_AND_RESIZE) make_region(w, n, &s);
    for (int32_t i = 0; i < s.count && plain; i++) sizes[i] = s.a->a[s.axis[i]];
    if (scales)
        make_scales(w, n, &s);
    else
        fv_onnx_list_input(w, n, 3, "sizes", s.count, sizes);
    make_modes(w, n, source, &s);
    if (plain) return;
    for (int32_t i = 0; i < s.count; i++) axes[i] = s.axis[i];
    fv_onnx_list_attribute(w, n, "axes", s.count, axes);
    fv_onnx_make_text(w, n, "keep_aspect_ratio_policy", "not_larger");
}

const fv_onnx_write_row fv_onnx_write_nd_resize[] = {
    {&fv_op_resize, write_resize},
    {NULL, NULL},
};
