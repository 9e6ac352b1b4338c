/* Register tiles of the indirect matrix product. */
#include "kernels/conv_driver.h"
#include "kernels/kernels.h"
#include "kernels/neon/vec_neon.h"

#define ALWAYS_INLINE static inline __attribute__((always_inline))

/* Accumulators are named one by one, and rows is a constant after inlining, so that none lives in memory. */
#define ROWS_12(M) M(0) M(1) M(2) M(3) M(4) M(5) M(6) M(7) M(8) M(9) M(10) M(11)

/* *p in a vector register, by a plain load: compilers prefer ld1r, which takes a slot of the multipliers. */
ALWAYS_INLINE fv_real load_value(const fv_real *p) {
    fv_real value = *p;
    __asm__("" : "+w"(value));
    return value;
}

/* The first n of 4 columns; n >= 4: all. */
ALWAYS_INLINE vf load_first(const fv_real *p, size_t n) { return n >= 4 ? v_load(p) : v_load_part(p, n); }

ALWAYS_INLINE void store_first(fv_real *p, size_t n, vf value) {
    if (n >= 4)
        v_store(p, value);
    else
        v_store_part(p, value, n);
}

ALWAYS_INLINE vf activate(const fv_conv_forward_args *a, vf sum) {
    return v_at_most(v_at_least(sum, v_set(a->low)), v_set(a->high));
}

/* rows pixels x 8 channels: 24 accumulators, 2 weights, 1 value. */
ALWAYS_INLINE void forward_8(fv_conv_forward_args *a, const size_t rows) {
    fv_conv_prefetch(&a->ahead[1]);
#define DECLARE(r)                                                                                                     \
    const fv_real *const x##r = a->x + a->pixel[r < rows ? r : 0];                                                     \
    vf low##r = v_zero(), high##r = v_zero();
    ROWS_12(DECLARE)
#undef DECLARE
    for (const fv_conv_run *run = a->run, *last = run + a->runs; run < last; run++) {
        const fv_real *panel = a->panel + run->k * 8;
        const ptrdiff_t end = run->x + (ptrdiff_t)run->length;
        for (ptrdiff_t i = run->x; i < end; i++, panel += 8) {
            const vf weight_low = v_load(panel), weight_high = v_load(panel + 4);
#define MULTIPLY(r)                                                                                                    \
    if (r < rows) {                                                                                                    \
        const fv_real value = load_value(x##r + i);                                                                    \
        low##r = vfmaq_n_f32(low##r, weight_low, value);                                                               \
        high##r = vfmaq_n_f32(high##r, weight_high, value);                                                            \
    }
            ROWS_12(MULTIPLY)
#undef MULTIPLY
        }
    }
    const size_t rest = a->columns - 4;
    if (a->bias) {
        const vf bias_low = v_load(a->bias), bias_high = load_first(a->bias + 4, rest);
#define ADD_BIAS(r)                                                                                                    \
    low##r = v_add(low##r, bias_low);                                                                                  \
    high##r = v_add(high##r, bias_high);
        ROWS_12(ADD_BIAS)
#undef ADD_BIAS
    }
    if (a->residual) {
#define ADD_RESIDUAL(r)                                                                                                \
    if (r < rows) {                                                                                                    \
        const fv_real *residual = a->residual + a->residual_pixel[r];                                                  \
        low##r = v_add(low##r, v_load(residual));                                                                      \
        high##r = v_add(high##r, load_first(residual + 4, rest));                                                      \
    }
        ROWS_12(ADD_RESIDUAL)
#undef ADD_RESIDUAL
    }
#define STORE(r)                                                                                                       \
    if (r < rows) {                                                                                                    \
        v_store(a->y + a->y_pixel[r], activate(a, low##r));                                                            \
        store_first(a->y + a->y_pixel[r] + 4, rest, activate(a, high##r));                                             \
    }
    ROWS_12(STORE)
#undef STORE
}

/* rows pixels x 4 channels: 12 accumulators, 12 times 4 values, 1 weight. */
ALWAYS_INLINE void forward_4(fv_conv_forward_args *a, const size_t rows) {
    fv_conv_prefetch(&a->ahead[1]);
#define DECLARE(r)                                                                                                     \
    const fv_real *const x##r = a->x + a->pixel[r < rows ? r : 0];                                                     \
    vf sum##r = v_zero();
    ROWS_12(DECLARE)
#undef DECLARE
    for (const fv_conv_run *run = a->run, *last = run + a->runs; run < last; run++) {
        const fv_real *panel = a->panel + run->k * 4;
        const ptrdiff_t end = run->x + (ptrdiff_t)run->length;
        ptrdiff_t i = run->x;
        for (; end - i >= 4; i += 4, panel += 16) {
#define LOAD(r) const vf value##r = r < rows ? v_load(x##r + i) : v_zero();
            ROWS_12(LOAD)
#undef LOAD
#define MULTIPLY(r)                                                                                                    \
    if (r < rows) sum##r = vfmaq_laneq_f32(sum##r, weight, value##r, LANE);
#define LANE 0
            vf weight = v_load(panel);
            ROWS_12(MULTIPLY)
#undef LANE
#define LANE 1
            weight = v_load(panel + 4);
            ROWS_12(MULTIPLY)
#undef LANE
#define LANE 2
            weight = v_load(panel + 8);
            ROWS_12(MULTIPLY)
#undef LANE
#define LANE 3
            weight = v_load(panel + 12);
            ROWS_12(MULTIPLY)
#undef LANE
#undef MULTIPLY
        }
        for (; i < end; i++, panel += 4) {
            const vf weight = v_load(panel);
#define MULTIPLY(r)                                                                                                    \
    if (r < rows) sum##r = vfmaq_n_f32(sum##r, weight, load_value(x##r + i));
            ROWS_12(MULTIPLY)
#undef MULTIPLY
        }
    }
    if (a->bias) {
        const vf bias = load_first(a->bias, a->columns);
#define ADD_BIAS(r) sum##r = v_add(sum##r, bias);
        ROWS_12(ADD_BIAS)
#undef ADD_BIAS
    }
    if (a->residual) {
#define ADD_RESIDUAL(r)                                                                                                \
    if (r < rows) sum##r = v_add(sum##r, load_first(a->residual + a->residual_pixel[r], a->columns));
        ROWS_12(ADD_RESIDUAL)
#undef ADD_RESIDUAL
    }
#define STORE(r)                                                                                                       \
    if (r < rows) store_first(a->y + a->y_pixel[r], a->columns, activate(a, sum##r));
    ROWS_12(STORE)
#undef STORE
}

/* rows weight rows x 8 channels, as forward_8. */
ALWAYS_INLINE void grad_8(const fv_conv_grad_args *a, const size_t rows) {
    const size_t rest = a->columns - 4;
#define DECLARE(r)                                                                                                     \
    const fv_real *const x##r = a->row[r < rows ? r : 0];                                                              \
    fv_real *const dw##r = a->dw + (ptrdiff_t)r * a->dw_pitch;                                                         \
    vf low##r = v_zero(), high##r = v_zero();                                                                          \
    if (r < rows && a->accumulate) {                                                                                   \
        low##r = v_load(dw##r);                                                                                        \
        high##r = load_first(dw##r + 4, rest);                                                                         \
    }
    ROWS_12(DECLARE)
#undef DECLARE
    const fv_real *dy = a->dy;
    for (const ptrdiff_t *pixel = a->pixel, *end = pixel + a->pixels; pixel < end; pixel++, dy += 8) {
        const ptrdiff_t i = *pixel;
        const vf dy_low = v_load(dy), dy_high = v_load(dy + 4);
#define MULTIPLY(r)                                                                                                    \
    if (r < rows) {                                                                                                    \
        const fv_real value = load_value(x##r + i);                                                                    \
        low##r = vfmaq_n_f32(low##r, dy_low, value);                                                                   \
        high##r = vfmaq_n_f32(high##r, dy_high, value);                                                                \
    }
        ROWS_12(MULTIPLY)
#undef MULTIPLY
    }
#define STORE(r)                                                                                                       \
    if (r < rows) {                                                                                                    \
        v_store(dw##r, low##r);                                                                                        \
        store_first(dw##r + 4, rest, high##r);                                                                         \
    }
    ROWS_12(STORE)
#undef STORE
}

/* Rows of a 4-channel gradient tile: their accumulators, begun and stored. */
#define DECLARE_GRAD_4(r)                                                                                              \
    const fv_real *const x##r = a->row[r < rows ? r : 0];                                                              \
    fv_real *const dw##r = a->dw + (ptrdiff_t)r * a->dw_pitch;                                                         \
    vf sum##r = v_zero();                                                                                              \
    if (r < rows && a->accumulate) sum##r = load_first(dw##r, a->columns);
#define STORE_GRAD_4(r)                                                                                                \
    if (r < rows) store_first(dw##r, a->columns, sum##r);

/* rows weight rows x 4 channels, wherever the rows lie: 12 accumulators, 1 dy, 1 value. One load a product. */
ALWAYS_INLINE void grad_4_scattered(const fv_conv_grad_args *a, const size_t rows) {
    ROWS_12(DECLARE_GRAD_4)
    const fv_real *dy = a->dy;
    for (const ptrdiff_t *pixel = a->pixel, *end = pixel + a->pixels; pixel < end; pixel++, dy += 4) {
        const ptrdiff_t i = *pixel;
        const vf dy_p = v_load(dy);
#define MULTIPLY(r)                                                                                                    \
    if (r < rows) sum##r = vfmaq_n_f32(sum##r, dy_p, load_value(x##r + i));
        ROWS_12(MULTIPLY)
#undef MULTIPLY
    }
    ROWS_12(STORE_GRAD_4)
}

ALWAYS_INLINE void transpose(vf *a, vf *b, vf *c, vf *d) {
    const float32x4x2_t first = vzipq_f32(*a, *c), second = vzipq_f32(*b, *d);
    const float32x4x2_t low = vzipq_f32(first.val[0], second.val[0]), high = vzipq_f32(first.val[1], second.val[1]);
    *a = low.val[0];
    *b = low.val[1];
    *c = high.val[0];
    *d = high.val[1];
}

#define FOURS(M) M(0, 1, 2, 3) M(4, 5, 6, 7) M(8, 9, 10, 11)

/* Every four rows follow each other in memory: one load serves them. Their accumulators lie transposed. */
ALWAYS_INLINE void grad_4(const fv_conv_grad_args *a, const size_t rows) {
    ROWS_12(DECLARE_GRAD_4)
#define TRANSPOSE(k, l, m, n)                                                                                          \
    if (n < rows) transpose(&sum##k, &sum##l, &sum##m, &sum##n);
    FOURS(TRANSPOSE)
    const fv_real *dy = a->dy;
    for (const ptrdiff_t *pixel = a->pixel, *end = pixel + a->pixels; pixel < end; pixel++, dy += 4) {
        const ptrdiff_t i = *pixel;
        const vf dy_p = v_load(dy);
#define MULTIPLY_FOUR(k, l, m, n)                                                                                      \
    if (n < rows) {                                                                                                    \
        const vf values = v_load(x##k + i);                                                                            \
        sum##k = vfmaq_laneq_f32(sum##k, values, dy_p, 0);                                                             \
        sum##l = vfmaq_laneq_f32(sum##l, values, dy_p, 1);                                                             \
        sum##m = vfmaq_laneq_f32(sum##m, values, dy_p, 2);                                                             \
        sum##n = vfmaq_laneq_f32(sum##n, values, dy_p, 3);                                                             \
    }
        FOURS(MULTIPLY_FOUR)
#undef MULTIPLY_FOUR
#define MULTIPLY(r)                                                                                                    \
    if (r >= rows / 4 * 4 && r < rows) sum##r = vfmaq_n_f32(sum##r, dy_p, load_value(x##r + i));
        ROWS_12(MULTIPLY)
#undef MULTIPLY
    }
    FOURS(TRANSPOSE)
#undef TRANSPOSE
    ROWS_12(STORE_GRAD_4)
}

ALWAYS_INLINE bool fours_follow(const fv_conv_grad_args *a, const size_t rows) {
    bool follow = true;
    for (size_t r = 0; r < rows / 4 * 4; r++) follow &= a->row[r] == a->row[r / 4 * 4] + r % 4;
    return follow;
}

#define HEIGHTS(M) M(1) M(2) M(3) M(4) M(5) M(6) M(7) M(8) M(9) M(10) M(11) M(12)
#define TILES(r)                                                                                                       \
    FV_CONV_FORWARD_TILES(conv_forward_f32_##r##x8_neon, forward_8, r, 12)                                             \
    FV_CONV_FORWARD_TILES(conv_forward_f32_##r##x4_neon, forward_4, r, 12)                                             \
    static void conv_grad_f32_##r##x8_neon(const fv_conv_grad_args *a) { grad_8(a, r); }                               \
    static __attribute__((noinline)) void conv_grad_scattered_f32_##r##x4_neon(const fv_conv_grad_args *a) {           \
        grad_4_scattered(a, r);                                                                                        \
    }                                                                                                                  \
    static void conv_grad_f32_##r##x4_neon(const fv_conv_grad_args *a) {                                               \
        if (fours_follow(a, r))                                                                                        \
            grad_4(a, r);                                                                                              \
        else                                                                                                           \
            conv_grad_scattered_f32_##r##x4_neon(a);                                                                   \
    }
HEIGHTS(TILES)
#undef TILES

#define FORWARD_8(r) [r - 1] = conv_forward_f32_##r##x8_neon,
#define FORWARD_4(r) [r - 1] = conv_forward_f32_##r##x4_neon,
#define GRAD_8(r) [r - 1] = conv_grad_f32_##r##x8_neon,
#define GRAD_4(r) [r - 1] = conv_grad_f32_##r##x4_neon,
static const fv_conv_isa isa = {
    .wide = {.rows = 12, .columns = 8, .forward = {HEIGHTS(FORWARD_8)}, .grad = {HEIGHTS(GRAD_8)}},
    .narrow = {.rows = 12, .columns = 4, .forward = {HEIGHTS(FORWARD_4)}, .grad = {HEIGHTS(GRAD_4)}},
};

#include "kernels/conv_table.h"

void fv_conv_init_neon(fv_conv_kernels *k) { init_conv(k); }
