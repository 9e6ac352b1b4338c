#include "kernels/kernels.h"

#include "kernels/avx2/vec_avx2.h"

/* 8x8: pairs, quads, then halves change places. */
static inline void transpose_block(const float *x, ptrdiff_t x_pitch, float *y, ptrdiff_t y_pitch) {
    __m256 r[8], t[8];
    for (int i = 0; i < 8; i++) r[i] = _mm256_loadu_ps(x + i * x_pitch);
    for (int i = 0; i < 8; i += 2) {
        t[i] = _mm256_unpacklo_ps(r[i], r[i + 1]);
        t[i + 1] = _mm256_unpackhi_ps(r[i], r[i + 1]);
    }
    for (int i = 0; i < 8; i += 4) {
        r[i] = _mm256_shuffle_ps(t[i], t[i + 2], 0x44);
        r[i + 1] = _mm256_shuffle_ps(t[i], t[i + 2], 0xee);
        r[i + 2] = _mm256_shuffle_ps(t[i + 1], t[i + 3], 0x44);
        r[i + 3] = _mm256_shuffle_ps(t[i + 1], t[i + 3], 0xee);
    }
    for (int i = 0; i < 4; i++) {
        _mm256_storeu_ps(y + i * y_pitch, _mm256_permute2f128_ps(r[i], r[i + 4], 0x20));
        _mm256_storeu_ps(y + (i + 4) * y_pitch, _mm256_permute2f128_ps(r[i], r[i + 4], 0x31));
    }
}

#include "kernels/convert_body.h"

void fv_convert_init_avx2(fv_convert_kernels *k) { init_convert(k); }
