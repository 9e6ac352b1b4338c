#include "roofline.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Bytes a second, read and written, of one core's memcpy of 2^(COPY_LEAST + i) bytes in all: the best of some runs. */
static double copy_rate(roofline *r, size_t i) {
    const size_t half = (size_t)1 << (COPY_LEAST + i) >> 1;
    if (r->copy_rates[i] > 0) return r->copy_rates[i];
    char *from = malloc(half), *to = malloc(half);
    if (from && to) {
        memset(from, 1, half);
        memset(to, 2, half);
        const double began = cli_seconds();
        for (double before = began, after; before - began < 0.02 || r->copy_rates[i] == 0; before = after) {
            memcpy(to, from, half);
            after = cli_seconds();
            from[0] = to[half - 1]; /* each copy is of something new */
            if (after > before) r->copy_rates[i] = fmax(r->copy_rates[i], 2.0 * (double)half / (after - before));
        }
    }
    free(from);
    free(to);
    return r->copy_rates[i];
}

bound roof_bound(roofline *r, double flops, double bytes) {
    size_t i = 0;
    while (i + 1 < COPY_SIZES && (double)((size_t)1 << (COPY_LEAST + i)) < bytes) i++;
    const double rate = copy_rate(r, i), cores = (double)r->cpu.threads;
    const double fma = flops / (1e9 * r->peak.gflops * cores), memory = rate > 0 ? bytes / (rate * cores) : 0;
    const bool near = r->cpu.l2 && bytes <= (double)r->cpu.l2 * cores;
    return fma >= memory ? (bound){fma, "FMA"} : (bound){memory, near ? "L2" : "memory"};
}

/* The best of a few tries: on a machine shared with others one alone may be half the truth. */
fv_status roof_open(roofline *r, const fv_context *c) {
    fv_status status = fv_context_info(c, &r->cpu);
    for (int i = 0; i < 5 && status == FV_OK && !r->peak.valid; i++) {
        fv_peak peak;
        status = fv_measure_peak(c, 0.1, &peak);
        if (status == FV_OK && (peak.valid || peak.gflops > r->peak.gflops)) r->peak = peak;
    }
    return status;
}
