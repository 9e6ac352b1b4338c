#include "kernels/kernels.h"

#include "kernels/neon/vec_neon.h"

#include "kernels/norm_body.h"

void fv_norm_init_neon(fv_norm_kernels *k) { init_norm(k); }
