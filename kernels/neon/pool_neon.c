#include "kernels/kernels.h"

#include "kernels/neon/vec_neon.h"

#include "kernels/pool_body.h"

#include "kernels/pool_grad_body.h"

void fv_pool_init_neon(fv_pool_kernels *k) { init_pool(k); }
