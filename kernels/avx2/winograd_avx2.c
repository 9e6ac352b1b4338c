/* Register tiles of Winograd's products. */
#include "kernels/avx2/vec_avx2.h"
#include "kernels/kernels.h"

/* What the tile brings into L2: a place further on with every channel, so that memory is busy all the time. */
typedef struct ahead {
    const char *at;
    size_t step;
} ahead;

/* product[r*16 + k] = sum_c v[r*pitch + c] * panel[c*16 + k], one chain in the order of c. */
typedef void (*product_tile)(const float *v, size_t pitch, const float *panel, size_t channels, float *product, ahead next);

enum { TILE_ROWS = 6 };
#define ROWS_6(M) M(0) M(1) M(2) M(3) M(4) M(5)

/* rows tiles x 16 channels: 12 accumulators named one by one, 2 weights, 1 broadcast. */
FV_ALWAYS_INLINE void product_16(const size_t rows, const float *v, size_t pitch, const float *panel, size_t channels,
                                 float *product, ahead next) {
#define DECLARE(r)                                                                                                               \
    const float *const v##r = v + (r < rows ? r : 0) * pitch;                                                                    \
    __m256 low##r = _mm256_setzero_ps(), high##r = low##r;
    ROWS_6(DECLARE)
#undef DECLARE
    for (size_t c = 0; c < channels; c++, panel += 16, next.at += next.step) {
        __builtin_prefetch(next.at, 0, 2);
        const __m256 weight_low = _mm256_load_ps(panel), weight_high = _mm256_load_ps(panel + 8);
#define MULTIPLY(r)                                                                                                              \
    if (r < rows) {                                                                                                              \
        const __m256 value = _mm256_broadcast_ss(v##r + c);                                                                      \
        low##r = _mm256_fmadd_ps(value, weight_low, low##r);                                                                     \
        high##r = _mm256_fmadd_ps(value, weight_high, high##r);                                                                  \
    }
        ROWS_6(MULTIPLY)
#undef MULTIPLY
    }
#define STORE(r)                                                                                                                 \
    if (r < rows) {                                                                                                              \
        _mm256_store_ps(product + 16 * r, low##r);                                                                               \
        _mm256_store_ps(product + 16 * r + 8, high##r);                                                                          \
    }
    ROWS_6(STORE)
#undef STORE
}

#define PRODUCT_TILE(rows)                                                                                                       \
    static void winograd_product_##rows##x16_avx2(const float *v, size_t pitch, const float *panel, size_t channels,             \
                                                  float *product, ahead next) {                                                  \
        product_16(rows, v, pitch, panel, channels, product, next);                                                              \
    }
PRODUCT_TILE(1)
PRODUCT_TILE(2)
PRODUCT_TILE(3)
PRODUCT_TILE(4)
PRODUCT_TILE(5)
PRODUCT_TILE(6)

static const product_tile product_tiles[TILE_ROWS] = {winograd_product_1x16_avx2, winograd_product_2x16_avx2,
                                                      winograd_product_3x16_avx2, winograd_product_4x16_avx2,
                                                      winograd_product_5x16_avx2, winograd_product_6x16_avx2};

/* sums[r*16 + k] (+)= sum_t v[t*pitch + r] * u[t*16 + k], one chain in the order of t. */
typedef void (*sum_tile)(const float *v, size_t pitch, const float *u, size_t tiles, float *sums, bool accumulate);

/* rows input channels x 16 output channels, as product_16. */
FV_ALWAYS_INLINE void sum_16(const size_t rows, const float *v, size_t pitch, const float *u, size_t tiles, float *sums,
                             bool accumulate) {
#define DECLARE(r) __m256 low##r = _mm256_setzero_ps(), high##r = low##r;
    ROWS_6(DECLARE)
#undef DECLARE
#define BEGIN(r)                                                                                                                 \
    if (r < rows) {                                                                                                              \
        low##r = _mm256_load_ps(sums + 16 * r);                                                                                  \
        high##r = _mm256_load_ps(sums + 16 * r + 8);                                                                             \
    }
    if (accumulate) {
        ROWS_6(BEGIN)
    }
#undef BEGIN
    for (const float *end = u + 16 * tiles; u < end; u += 16, v += pitch) {
        const __m256 u_low = _mm256_load_ps(u), u_high = _mm256_load_ps(u + 8);
#define MULTIPLY(r)                                                                                                              \
    if (r < rows) {                                                                                                              \
        const __m256 value = _mm256_broadcast_ss(v + r);                                                                         \
        low##r = _mm256_fmadd_ps(value, u_low, low##r);                                                                          \
        high##r = _mm256_fmadd_ps(value, u_high, high##r);                                                                       \
    }
        ROWS_6(MULTIPLY)
#undef MULTIPLY
    }
#define STORE(r)                                                                                                                 \
    if (r < rows) {                                                                                                              \
        _mm256_store_ps(sums + 16 * r, low##r);                                                                                  \
        _mm256_store_ps(sums + 16 * r + 8, high##r);                                                                             \
    }
    ROWS_6(STORE)
#undef STORE
}

#define SUM_TILE(rows)                                                                                                           \
    static void winograd_sum_##rows##x16_avx2(const float *v, size_t pitch, const float *u, size_t tiles, float *sums,           \
                                              bool accumulate) {                                                                 \
        sum_16(rows, v, pitch, u, tiles, sums, accumulate);                                                                      \
    }
SUM_TILE(1)
SUM_TILE(2)
SUM_TILE(3)
SUM_TILE(4)
SUM_TILE(5)
SUM_TILE(6)

static const sum_tile sum_tiles[TILE_ROWS] = {winograd_sum_1x16_avx2, winograd_sum_2x16_avx2, winograd_sum_3x16_avx2,
                                              winograd_sum_4x16_avx2, winograd_sum_5x16_avx2, winograd_sum_6x16_avx2};

#include "kernels/winograd_body.h"

void fv_winograd_init_avx2(fv_winograd_kernels *k) { init_winograd(k); }
