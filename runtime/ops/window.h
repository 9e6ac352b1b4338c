/* Sizes of sliding windows (SPEC sections 1 and 5), shared by convolution and pooling. */
#ifndef FV_OPS_WINDOW_H
#define FV_OPS_WINDOW_H

#include "ops/ir.h"

/* Checks w against an input of in[3] (z,y,x), resolves its padding into pad_before and pad_after, and gives the output's size:
 * floor((in + pads - dilation*(kernel-1) - 1)/stride) + 1, or with ceil_mode the ceiling, less a last window that would start beyond
 * the input and its left padding. Errors name the node. */
fv_status fv_window_resolve(const char *node, fv_window_attr *w, const int64_t in[3], bool ceil_mode, int32_t out[3]);

/* The kernels' descriptor of pooling dense maps x -> y. */
void fv_pool_describe(const fv_pool_attr *a, const fv_shape *x, const fv_shape *y, fv_pool_desc *d);

/* The spatial sizes z, y, x of maps (N,C,H,W). */
static inline void fv_map_size(const fv_shape *s, int64_t size[3]) {
    size[0] = 1;
    size[1] = s->dim[2];
    size[2] = s->dim[3];
}
/* Dense channels-last pitches (image, z, y, x) of maps of `channels`. */
static inline void fv_map_pitch(const int64_t size[3], int64_t channels, ptrdiff_t pitch[4]) {
    pitch[3] = (ptrdiff_t)channels;
    pitch[2] = pitch[3] * (ptrdiff_t)size[2];
    pitch[1] = pitch[2] * (ptrdiff_t)size[1];
    pitch[0] = pitch[1] * (ptrdiff_t)size[0];
}
/* Elements of a shape whose sizes were checked when it was inferred. */
static inline size_t fv_shape_count(const fv_shape *s) {
    size_t n = 1;
    for (int32_t i = 0; i < s->rank; i++) n *= (size_t)s->dim[i];
    return n;
}
static inline bool fv_shape_same(const fv_shape *a, const fv_shape *b) {
    if (a->rank != b->rank) return false;
    for (int32_t i = 0; i < a->rank; i++)
        if (a->dim[i] != b->dim[i]) return false;
    return true;
}
/* "(1,3,28,28)" in a buffer of its own per call site. */
typedef struct fv_shape_text {
    char text[160];
} fv_shape_text;
fv_shape_text fv_shape_print(const fv_shape *s);

#endif
