#include "kernels/kernels.h"

#include <immintrin.h>

/* Twelve chains: more than the 4 cycles x 2 pipes of latency, and one register each for factor and addend. */
static void fma_loop_avx2(size_t iterations, float *sink) {
    const __m256 f = _mm256_set1_ps(0.999f), d = _mm256_set1_ps(0.001f);
    __m256 a0 = f, a1 = d, a2 = f, a3 = d, a4 = f, a5 = d, a6 = f, a7 = d, a8 = f, a9 = d, a10 = f, a11 = d;
    for (size_t i = 0; i < iterations; i++) {
        a0 = _mm256_fmadd_ps(a0, f, d);
        a1 = _mm256_fmadd_ps(a1, f, d);
        a2 = _mm256_fmadd_ps(a2, f, d);
        a3 = _mm256_fmadd_ps(a3, f, d);
        a4 = _mm256_fmadd_ps(a4, f, d);
        a5 = _mm256_fmadd_ps(a5, f, d);
        a6 = _mm256_fmadd_ps(a6, f, d);
        a7 = _mm256_fmadd_ps(a7, f, d);
        a8 = _mm256_fmadd_ps(a8, f, d);
        a9 = _mm256_fmadd_ps(a9, f, d);
        a10 = _mm256_fmadd_ps(a10, f, d);
        a11 = _mm256_fmadd_ps(a11, f, d);
        /* Keeps the chains apart from the optimizer without touching memory. */
        __asm__ volatile("" : "+x"(a0), "+x"(a1), "+x"(a2), "+x"(a3), "+x"(a4), "+x"(a5), "+x"(a6), "+x"(a7), "+x"(a8),
                              "+x"(a9), "+x"(a10), "+x"(a11));
    }
    const __m256 s0 = _mm256_add_ps(_mm256_add_ps(a0, a1), _mm256_add_ps(a2, a3));
    const __m256 s1 = _mm256_add_ps(_mm256_add_ps(a4, a5), _mm256_add_ps(a6, a7));
    const __m256 s2 = _mm256_add_ps(_mm256_add_ps(a8, a9), _mm256_add_ps(a10, a11));
    float lanes[8];
    _mm256_storeu_ps(lanes, _mm256_add_ps(_mm256_add_ps(s0, s1), s2));
    for (int i = 0; i < 8; i++) *sink += lanes[i];
}

void fv_measure_init_avx2(fv_measure_kernels *k) {
    *k = (fv_measure_kernels){fma_loop_avx2, 12 * 16, 32};
}
