#include "kernels/kernels.h"

#include "kernels/neon/vec_neon.h"

#include "kernels/optimizer_body.h"

void fv_optimizer_init_neon(fv_optimizer_kernels *k) { init_optimizer(k); }
