#include "core/context.h"

#include <stdlib.h>
#include <time.h>

enum { rounds = 15 };

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int by_value(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* One addition a cycle, whatever the core: each waits for the one before. */
static double add_rate(size_t iterations) {
    uint64_t x = 1, y = 3;
    const double began = now();
    for (size_t i = 0; i < iterations; i++) {
        x += y;
        __asm__ volatile("" : "+r"(x));
        x += y;
        __asm__ volatile("" : "+r"(x));
        x += y;
        __asm__ volatile("" : "+r"(x));
        x += y;
        __asm__ volatile("" : "+r"(x));
        x += y;
        __asm__ volatile("" : "+r"(x));
        x += y;
        __asm__ volatile("" : "+r"(x));
        x += y;
        __asm__ volatile("" : "+r"(x));
        x += y;
        __asm__ volatile("" : "+r"(x));
    }
    return 8.0 * (double)iterations / (now() - began);
}

static double fma_rate(const fv_measure_kernels *k, size_t iterations) {
    volatile float keep;
    float sink = 0;
    const double began = now();
    k->fma_loop(iterations, &sink);
    const double seconds = now() - began;
    keep = sink;
    (void)keep;
    return k->flops_per_iteration * (double)iterations / seconds;
}

fv_status fv_measure_peak(const fv_context *c, double seconds, fv_peak *out) {
    FV_RETURN_IF(!c || !out, FV_ERR_ARGUMENT, "fv_measure_peak needs a context and a place for the answer");
    FV_RETURN_IF(!(seconds >= 0 && seconds <= 60), FV_ERR_ARGUMENT, "a peak is measured in 0 to 60 seconds, not %g", seconds);
    const double slice = (seconds > 0 ? seconds : 0.1) / (2 * rounds);
    const fv_measure_kernels *k = &c->kernels.measure;
    const size_t probe = 20000;
    (void)fma_rate(k, probe); /* wakes the wide units */
    const size_t fma_count = (size_t)(slice * fma_rate(k, probe) / k->flops_per_iteration) + 1;
    const size_t add_count = (size_t)(slice * add_rate(probe) / 8) + 1;
    double fma[rounds], add[rounds];
    for (int i = 0; i < rounds; i++) {
        fma[i] = fma_rate(k, fma_count);
        add[i] = add_rate(add_count);
    }
    qsort(fma, rounds, sizeof *fma, by_value);
    qsort(add, rounds, sizeof *add, by_value);
    out->gflops = 1e-9 * fma[rounds / 2];
    out->clock_ghz = 1e-9 * add[rounds / 2];
    out->flops_per_cycle = out->gflops / out->clock_ghz;
    out->valid = k->flops_per_cycle == 0 || out->flops_per_cycle >= 0.97 * k->flops_per_cycle;
    return FV_OK;
}
