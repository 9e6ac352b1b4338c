#include "kernels/kernels.h"

#include "kernels/avx2/vec_avx2.h"

#include "kernels/conv_pooled_body.h"

void fv_conv_pooled_init_avx2(fv_conv_pooled_kernels *k) { init_conv_pooled(k); }
