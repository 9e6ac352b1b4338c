/* How attr.nd of a resize is written: a: the sizes; b: the scales, doubles' bits; c: of tf_crop_and_resize the region's start and
 * end on each axis, two floats' bits; kind: fv_resize_kind; mode: fv_resize_coordinate + 16 * fv_resize_nearest; flag: antialias;
 * keep: exclude_outside; alpha: the cubic coefficient; beta: what stands outside a cropped region. */
#ifndef FV_OPS_ND_RESIZE_H
#define FV_OPS_ND_RESIZE_H

#include "ops/ir.h"

#include <string.h>

typedef enum fv_resize_kind { FV_RESIZE_NEAREST, FV_RESIZE_LINEAR, FV_RESIZE_CUBIC } fv_resize_kind;
typedef enum fv_resize_coordinate {
    FV_RESIZE_HALF_PIXEL,
    FV_RESIZE_HALF_PIXEL_SYMMETRIC,
    FV_RESIZE_PYTORCH_HALF_PIXEL,
    FV_RESIZE_ALIGN_CORNERS,
    FV_RESIZE_ASYMMETRIC,
    FV_RESIZE_TF_HALF_PIXEL_FOR_NN,
    FV_RESIZE_TF_CROP_AND_RESIZE,
    FV_RESIZE_COORDINATES
} fv_resize_coordinate;
typedef enum fv_resize_nearest {
    FV_RESIZE_ROUND_PREFER_FLOOR,
    FV_RESIZE_ROUND_PREFER_CEIL,
    FV_RESIZE_FLOOR,
    FV_RESIZE_CEIL,
    FV_RESIZE_SIMPLE /* of operator set 10: floor where it grows, ceil where it shrinks */
} fv_resize_nearest;

static inline double fv_resize_scale(const fv_nd_attr *a, int32_t axis) {
    double scale;
    memcpy(&scale, &a->b[axis], sizeof scale);
    return scale;
}
static inline void fv_resize_set_scale(fv_nd_attr *a, int32_t axis, double scale) { memcpy(&a->b[axis], &scale, sizeof scale); }
static inline void fv_resize_region(const fv_nd_attr *a, int32_t axis, float region[2]) {
    memcpy(region, &a->c[axis], 2 * sizeof *region);
}
static inline void fv_resize_set_region(fv_nd_attr *a, int32_t axis, const float region[2]) {
    memcpy(&a->c[axis], region, 2 * sizeof *region);
}

#endif
