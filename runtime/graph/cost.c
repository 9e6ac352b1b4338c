#include "graph/cost.h"

#include <math.h>

/* A 3 GHz core with AVX2 or NEON, measured: products of small maps at half the peak and more, a thread that helps with
 * a phase costs the run some 0.7 us, 3 with the system's part in waking it. */
fv_rates fv_rates_of(const fv_kernels *k) {
    const double clock = 3e9, cycle = k->measure.flops_per_cycle > 0 ? 0.7 * k->measure.flops_per_cycle : 0.5;
    return (fv_rates){.flops = clock * cycle,
                      .l2 = 40e9,
                      .memory = 12e9,
                      .l2_bytes = 512 << 10,
                      .phase = 0.1e-6,
                      .hand = 1e-6,
                      .wake = 5e-6};
}

fv_prediction fv_predict(const fv_rates *r, double flops, double bytes, size_t phases) {
    const bool far = bytes > (double)r->l2_bytes;
    const double fma = flops / r->flops, moved = bytes / (far ? r->memory : r->l2), calls = (double)phases * r->phase;
    const double most = fmax(fma, moved);
    if (calls > most) return (fv_prediction){most + calls, "call"};
    return (fv_prediction){most + calls, fma >= moved ? "FMA" : far ? "memory" : "L2"};
}

double fv_phase_seconds(const fv_rates *r, double alone, size_t pieces, int threads) {
    if (threads < 2 || pieces < 2) return alone;
    const double rounds = (double)fv_div_up(pieces, (size_t)threads);
    return fmin(alone, alone * rounds / (double)pieces + r->hand);
}

bool fv_phase_shared(const fv_rates *r, double alone, size_t pieces, int threads) {
    return fv_phase_seconds(r, alone, pieces, threads) < alone;
}
