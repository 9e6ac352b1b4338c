/* A pooling drawn at random or given, and where its windows read: what the checks of all its kinds share. */
#ifndef FV_KERNELS_CHECK_POOLING_H
#define FV_KERNELS_CHECK_POOLING_H

#include "kernels/check/engine.h"

typedef struct fv_check_pooling {
    fv_pool_desc d;
    size_t x_size, y_size, out_pixels, in_pixels;
} fv_check_pooling;

typedef struct fv_check_pixel {
    int32_t image, at[3];
} fv_check_pixel;

fv_check_pixel fv_check_pixel_at(const int32_t size[3], size_t p);
ptrdiff_t fv_check_pixel_offset(const ptrdiff_t pitch[4], const fv_check_pixel *p);
/* average: every window holds something to divide by. */
void fv_check_draw_pooling(fv_case *c, fv_check_pooling *g, bool average);
/* Offset of window position k of output o; -1: padding. counted: whether an average with padding counts it. */
ptrdiff_t fv_check_pool_source(const fv_pool_desc *d, const fv_check_pixel *o, int32_t k, bool *counted);
int32_t fv_check_pool_window(const fv_pool_desc *d);

#endif
