/* The scalar functions of kernels/scalar_math.h where its names would meet those of the context. */
#ifndef FV_OPS_ND_MATH_H
#define FV_OPS_ND_MATH_H

#include "kernels/base.h"

#include <math.h>

fv_real fv_nd_exp(fv_real x);
fv_real fv_nd_log(fv_real x);

#endif
