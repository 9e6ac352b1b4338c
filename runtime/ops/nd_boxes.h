/* Non-maximum suppression, where it is planned and where it is computed ahead. */
#ifndef FV_OPS_ND_BOXES_H
#define FV_OPS_ND_BOXES_H

#include "ops/nd.h"
#include "ops/nd_heap.h"

typedef struct fv_nms {
    size_t batches, classes, boxes, most; /* most: of one class and image */
    bool centers;                         /* boxes are (x, y, width, height) of their centers; else two corners (y, x) */
    bool has_score;
    double overlap, score; /* boxes that overlap more than this, or score no more than this, are left out */
} fv_nms;

/* Writes the (image, class, box) of those kept, at most `capacity` of them; `heap` has room for `boxes` places, `kept` for the corners
 * of as many. Returns how many there are, which may be more. out NULL: only counts. */
size_t fv_nms_select(const fv_nms *s, const float *boxes, const float *scores, fv_nd_place *heap, double (*kept)[4],
                     int64_t *out, size_t capacity);

#endif
