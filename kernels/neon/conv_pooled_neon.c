#include "kernels/kernels.h"

#include "kernels/neon/vec_neon.h"

#include "kernels/conv_pooled_body.h"

void fv_conv_pooled_init_neon(fv_conv_pooled_kernels *k) { init_conv_pooled(k); }
