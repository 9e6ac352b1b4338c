#include "kernels/kernels.h"

#include "kernels/avx2/vec_avx2.h"

#include "kernels/depthwise_body.h"

void fv_depthwise_init_avx2(fv_depthwise_kernels *k) { init_depthwise(k); }
