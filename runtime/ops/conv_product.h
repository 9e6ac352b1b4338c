/* A product with packed weights, as conv_plan.c and conv_winograd.c plan it: forward passes and data gradients. */
#ifndef FV_OPS_CONV_PRODUCT_H
#define FV_OPS_CONV_PRODUCT_H

#include "ops/conv_choice.h"
#include "ops/conv_plan.h"

typedef struct fv_conv_product {
    fv_conv_desc desc;
    fv_conv_taps taps;
    const fv_kernels *kernels;
    fv_conv_weights weights; /* strides; data is `weight`'s */
    const fv_buffer *x, *weight, *packed, *bias, *residual, *y;
    ptrdiff_t y_offset;
    /* Pieces: chunks of pixels, or of tiles, times chunks of panels of output channels. */
    size_t pixels, pixel_chunk, pixel_chunks, panels, panel_chunk, panel_chunks;
    int32_t m;                    /* Winograd's F(m x m, 3x3) */
    const fv_buffer *frequencies; /* of all tiles; NULL: a piece makes its own */
} fv_conv_product;

/* Memory for the taps of a descriptor of g. */
fv_status fv_conv_make_taps(fv_plan_op *p, const fv_conv_geometry *g, fv_conv_taps *taps);
/* c's tensors, desc and weights are set. role and phase tell packings of a weight from each other. */
fv_status fv_conv_plan_winograd(fv_plan_op *p, fv_conv_product *c, int32_t m, fv_value weight, const char *role, int32_t phase);
/* Packed weights of c by `pack` phases over chunks of its panels; `elements`: their number. */
fv_status fv_conv_plan_packing(fv_plan_op *p, fv_conv_product *c, fv_value weight, const char *role, int32_t phase,
                               size_t elements, fv_piece_fn pack);

static inline fv_range fv_conv_pixel_range(const fv_conv_product *c, size_t piece) {
    const size_t begin = piece / c->panel_chunks * c->pixel_chunk;
    return (fv_range){begin, fv_min_size(begin + c->pixel_chunk, c->pixels)};
}
static inline fv_range fv_conv_panel_range(const fv_conv_product *c, size_t piece) {
    const size_t begin = piece % c->panel_chunks * c->panel_chunk;
    return (fv_range){begin, fv_min_size(begin + c->panel_chunk, c->panels)};
}

#endif
