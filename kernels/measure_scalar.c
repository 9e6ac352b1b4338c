#include "kernels/kernels.h"

/* Eight independent chains of multiply and add. */
static void fma_loop_scalar(size_t iterations, float *sink) {
    float a[8] = {1, 2, 3, 4, 5, 6, 7, 8};
    for (size_t i = 0; i < iterations; i++) {
        for (int k = 0; k < 8; k++) a[k] = a[k] * 0.999f + 0.001f;
        __asm__ volatile("" : "+m"(a));
    }
    for (int k = 0; k < 8; k++) *sink += a[k];
}

void fv_measure_init_scalar(fv_measure_kernels *k) {
    *k = (fv_measure_kernels){fma_loop_scalar, 16, 0};
}
