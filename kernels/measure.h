/* Fused multiply-adds from registers: what an ISA's FMA units can do at most. */
#ifndef FV_KERNELS_MEASURE_H
#define FV_KERNELS_MEASURE_H

#include "kernels/base.h"

/* `iterations` rounds of independent multiply-adds; *sink keeps the compiler honest. */
typedef void (*fv_fma_loop_fn)(size_t iterations, float *sink);

typedef struct fv_measure_kernels {
    fv_fma_loop_fn fma_loop;
    double flops_per_iteration;
    double flops_per_cycle; /* of a core with the usual units: 2 x lanes x pipes; 0: unknown */
} fv_measure_kernels;

#endif
