#include "kernels/kernels.h"

#include "kernels/avx2/vec_avx2.h"

#include "kernels/norm_body.h"

void fv_norm_init_avx2(fv_norm_kernels *k) { init_norm(k); }
