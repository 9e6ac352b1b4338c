#include "kernels/kernels.h"

#include "kernels/avx2/vec_avx2.h"

#include "kernels/softmax_body.h"

void fv_softmax_init_avx2(fv_softmax_kernels *k) { init_softmax(k); }
