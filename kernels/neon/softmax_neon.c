#include "kernels/kernels.h"

#include "kernels/neon/vec_neon.h"

#include "kernels/softmax_body.h"

void fv_softmax_init_neon(fv_softmax_kernels *k) { init_softmax(k); }
