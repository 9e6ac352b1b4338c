#include "ops/nd_math.h"

#include "kernels/scalar_math.h"

fv_real fv_nd_exp(fv_real x) { return fv_exp(x); }
fv_real fv_nd_log(fv_real x) { return fv_log(x); }
