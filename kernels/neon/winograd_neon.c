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

#include "kernels/winograd_body.h"

void fv_winograd_init_neon(fv_winograd_kernels *k) { init_winograd(k); }
