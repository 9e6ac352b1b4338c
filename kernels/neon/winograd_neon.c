/* Register tiles of Winograd's products. */
#include "kernels/kernels.h"
#include "kernels/neon/vec_neon.h"

/* What the tile brings into L2: a place further on with every channel, so that memory is busy all the time. */
typedef struct ahead {
    const char *at;
    size_t step;
} ahead;

/* product[r*8 + k] = sum_c v[r*pitch + c] * panel[c*8 + k], one chain in the order of c. */
typedef void (*product_tile)(const float *v, size_t pitch, const float *panel, size_t channels, float *product, ahead next);

enum { TILE_ROWS = 12 };
#define ROWS_12(M) M(0) M(1) M(2) M(3) M(4) M(5) M(6) M(7) M(8) M(9) M(10) M(11)

/* *p in a vector register, by a plain load, as in conv_neon.c. */
FV_ALWAYS_INLINE float load_value(const float *p) {
    float value = *p;
    __asm__("" : "+w"(value));
    return value;
}

/* rows tiles x 8 channels: 24 accumulators named one by one, 2 weights, 1 value. */
FV_ALWAYS_INLINE void product_8(const size_t rows, const float *v, size_t pitch, const float *panel, size_t channels,
                                float *product, ahead next) {
#define DECLARE(r)                                                                                                               \
    const float *const v##r = v + (r < rows ? r : 0) * pitch;                                                                    \
    vf low##r = v_zero(), high##r = v_zero();
    ROWS_12(DECLARE)
#undef DECLARE
    for (size_t c = 0; c < channels; c++, panel += 8, next.at += next.step) {
        __builtin_prefetch(next.at, 0, 2);
        const vf weight_low = v_load(panel), weight_high = v_load(panel + 4);
#define MULTIPLY(r)                                                                                                              \
    if (r < rows) {                                                                                                              \
        const float value = load_value(v##r + c);                                                                                \
        low##r = vfmaq_n_f32(low##r, weight_low, value);                                                                         \
        high##r = vfmaq_n_f32(high##r, weight_high, value);                                                                      \
    }
        ROWS_12(MULTIPLY)
#undef MULTIPLY
    }
#define STORE(r)                                                                                                                 \
    if (r < rows) {                                                                                                              \
        v_store(product + 8 * r, low##r);                                                                                        \
        v_store(product + 8 * r + 4, high##r);                                                                                   \
    }
    ROWS_12(STORE)
#undef STORE
}

#define HEIGHTS(M) M(1) M(2) M(3) M(4) M(5) M(6) M(7) M(8) M(9) M(10) M(11) M(12)
#define TILE(r)                                                                                                                  \
    static void winograd_product_##r##x8_neon(const float *v, size_t pitch, const float *panel, size_t channels, float *product, \
                                              ahead next) {                                                                      \
        product_8(r, v, pitch, panel, channels, product, next);                                                                  \
    }
HEIGHTS(TILE)
#undef TILE

#define ENTRY(r) [r - 1] = winograd_product_##r##x8_neon,
static const product_tile product_tiles[TILE_ROWS] = {HEIGHTS(ENTRY)};
#undef ENTRY

/* sums[r*8 + k] (+)= sum_t v[t*pitch + r] * u[t*8 + k], one chain in the order of t. */
typedef void (*sum_tile)(const float *v, size_t pitch, const float *u, size_t tiles, float *sums, bool accumulate);

/* rows input channels x 8 output channels, as product_8. */
FV_ALWAYS_INLINE void sum_8(const size_t rows, const float *v, size_t pitch, const float *u, size_t tiles, float *sums,
                            bool accumulate) {
#define DECLARE(r) vf low##r = v_zero(), high##r = v_zero();
    ROWS_12(DECLARE)
#undef DECLARE
#define BEGIN(r)                                                                                                                 \
    if (r < rows) {                                                                                                              \
        low##r = v_load(sums + 8 * r);                                                                                           \
        high##r = v_load(sums + 8 * r + 4);                                                                                      \
    }
    if (accumulate) {
        ROWS_12(BEGIN)
    }
#undef BEGIN
    for (const float *end = u + 8 * tiles; u < end; u += 8, v += pitch) {
        const vf u_low = v_load(u), u_high = v_load(u + 4);
#define MULTIPLY(r)                                                                                                              \
    if (r < rows) {                                                                                                              \
        const float value = load_value(v + r);                                                                                   \
        low##r = vfmaq_n_f32(low##r, u_low, value);                                                                              \
        high##r = vfmaq_n_f32(high##r, u_high, value);                                                                           \
    }
        ROWS_12(MULTIPLY)
#undef MULTIPLY
    }
#define STORE(r)                                                                                                                 \
    if (r < rows) {                                                                                                              \
        v_store(sums + 8 * r, low##r);                                                                                           \
        v_store(sums + 8 * r + 4, high##r);                                                                                      \
    }
    ROWS_12(STORE)
#undef STORE
}

#define SUM_TILE(r)                                                                                                              \
    static void winograd_sum_##r##x8_neon(const float *v, size_t pitch, const float *u, size_t tiles, float *sums,               \
                                          bool accumulate) {                                                                     \
        sum_8(r, v, pitch, u, tiles, sums, accumulate);                                                                          \
    }
HEIGHTS(SUM_TILE)
#undef SUM_TILE

#define ENTRY(r) [r - 1] = winograd_sum_##r##x8_neon,
static const sum_tile sum_tiles[TILE_ROWS] = {HEIGHTS(ENTRY)};
#undef ENTRY

#include "kernels/winograd_body.h"

void fv_winograd_init_neon(fv_winograd_kernels *k) { init_winograd(k); }
