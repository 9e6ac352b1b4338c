#include "kernels/kernels.h"

#include "kernels/neon/vec_neon.h"

#include "kernels/contrast_body.h"

void fv_contrast_init_neon(fv_contrast_kernels *k) { init_contrast(k); }
