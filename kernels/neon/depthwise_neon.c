#include "kernels/kernels.h"

#include "kernels/neon/vec_neon.h"

#include "kernels/depthwise_body.h"

void fv_depthwise_init_neon(fv_depthwise_kernels *k) { init_depthwise(k); }
