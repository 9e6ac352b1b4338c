#include "kernels/kernels.h"

#include "kernels/neon/vec_neon.h"

#include "kernels/reduce_body.h"

void fv_reduce_init_neon(fv_reduce_kernels *k) { init_reduce(k); }
