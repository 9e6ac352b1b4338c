#include "kernels/kernels.h"

#include "kernels/avx2/vec_avx2.h"

#include "kernels/pointwise_body.h"

void fv_pointwise_init_avx2(fv_pointwise_kernels *k) { init_pointwise(k); }
