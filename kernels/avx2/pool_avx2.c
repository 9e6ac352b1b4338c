#include "kernels/kernels.h"

#include "kernels/avx2/vec_avx2.h"

#include "kernels/pool_body.h"

#include "kernels/pool_grad_body.h"

void fv_pool_init_avx2(fv_pool_kernels *k) { init_pool(k); }
