#include "kernels/kernels.h"

#include "kernels/avx2/vec_avx2.h"

#include "kernels/reduce_body.h"

void fv_reduce_init_avx2(fv_reduce_kernels *k) { init_reduce(k); }
