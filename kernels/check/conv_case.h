/* What the cases of every convolution family draw alike. */
#ifndef FV_KERNELS_CHECK_CONV_CASE_H
#define FV_KERNELS_CHECK_CONV_CASE_H

#include "kernels/check/engine.h"

/* Pitches with gaps now and then; returns the elements from the first pixel to the end of the last. */
size_t fv_check_conv_pitches(fv_check_random *r, ptrdiff_t pitch[4], int32_t images, const int32_t size[3], int32_t channels);
void fv_check_conv_clamp(fv_check_random *r, fv_conv_desc *d);
/* Source weights in one of the orders in use: [K][C][taps], [taps][C][K], and both with C and K exchanged. */
fv_conv_weights fv_check_conv_weights(fv_check_random *r, const fv_conv_desc *d, int32_t source_taps, const float *data);

#endif
