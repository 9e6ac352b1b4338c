#include "kernels/kernels.h"

#include "kernels/neon/vec_neon.h"

#include "kernels/pointwise_body.h"

void fv_pointwise_init_neon(fv_pointwise_kernels *k) { init_pointwise(k); }
