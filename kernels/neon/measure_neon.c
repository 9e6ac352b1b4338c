#include "kernels/kernels.h"

#include <arm_neon.h>

enum { chains = 12 };

static void fma_loop_neon(size_t iterations, float *sink) {
    const float32x4_t f = vdupq_n_f32(0.999f);
    float32x4_t a[chains];
    for (int k = 0; k < chains; k++) a[k] = vdupq_n_f32((float)k);
    for (size_t i = 0; i < iterations; i++)
        for (int k = 0; k < chains; k++) {
            a[k] = vfmaq_f32(a[k], f, f);
            __asm__ volatile("" : "+w"(a[k]));
        }
    for (int k = 0; k < chains; k++) *sink += vaddvq_f32(a[k]);
}

void fv_measure_init_neon(fv_measure_kernels *k) {
    *k = (fv_measure_kernels){fma_loop_neon, chains * 8, 16};
}
