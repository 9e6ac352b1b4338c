/* What a planned node should take: its arithmetic at the units' rate or its bytes at that of the memory they lie in,
 * whichever is longer. Shapes and rates decide, so that with the fixed rates a plan is the same everywhere on an ISA.
 */
#ifndef FV_GRAPH_COST_H
#define FV_GRAPH_COST_H

#include "core/context.h"

typedef struct fv_rates {
    double flops;      /* a second, of one core: the share of the FMA units' peak that products reach */
    double l2, memory; /* bytes a second, read and written, of one core */
    size_t l2_bytes;   /* what counts as lying there */
    double phase, hand,
        wake; /* seconds: of a phase on one thread; more where several share it; of a run that wakes the others */
} fv_rates;

/* Fixed ones of an ISA. */
fv_rates fv_rates_of(const fv_kernels *k);

typedef struct fv_prediction {
    double seconds; /* on one thread */
    const char *by; /* "FMA", "L2", "memory"; "call" where the phases' own cost is more than half */
} fv_prediction;

fv_prediction fv_predict(const fv_rates *r, double flops, double bytes, size_t phases);

/* A phase of `pieces` alike on so many threads. */
double fv_phase_seconds(const fv_rates *r, double alone, size_t pieces, int threads);
/* Whether others should help with it. */
bool fv_phase_shared(const fv_rates *r, double alone, size_t pieces, int threads);

#endif
