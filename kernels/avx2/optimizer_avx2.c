#include "kernels/kernels.h"

#include "kernels/avx2/vec_avx2.h"

#include "kernels/optimizer_body.h"

void fv_optimizer_init_avx2(fv_optimizer_kernels *k) { init_optimizer(k); }
