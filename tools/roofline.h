/* What a layer could take on this machine: its arithmetic at the units' rate, or its bytes once at the rate of a copy
 * of as many. */
#ifndef FOVEA_TOOLS_ROOFLINE_H
#define FOVEA_TOOLS_ROOFLINE_H

#include "cli.h"

enum { COPY_LEAST = 16, COPY_SIZES = 14 }; /* 64 KiB to 512 MiB, read and written together */

typedef struct roofline {
    fv_cpu_info cpu;
    fv_peak peak;
    double copy_rates[COPY_SIZES]; /* bytes a second; 0: not measured yet */
} roofline;

typedef struct bound {
    double seconds;
    const char *by; /* "FMA", "L2", "memory" (L3 too) */
} bound;

fv_status roof_open(roofline *r, const fv_context *c);
/* On every thread of r->cpu. */
bound roof_bound(roofline *r, double flops, double bytes);

#endif
