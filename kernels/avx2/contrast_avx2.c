#include "kernels/kernels.h"

#include "kernels/avx2/vec_avx2.h"

#include "kernels/contrast_body.h"

void fv_contrast_init_avx2(fv_contrast_kernels *k) { init_contrast(k); }
