#include "kernels/kernels.h"

#include "kernels/avx2/vec_avx2.h"

#include "kernels/rows_body.h"

void fv_rows_init_avx2(fv_rows_kernels *k) { init_rows(k); }
