#include "kernels/kernels.h"

#include "kernels/neon/vec_neon.h"

#include "kernels/rows_body.h"

void fv_rows_init_neon(fv_rows_kernels *k) { init_rows(k); }
