/* Register tiles of the indirect matrix product. */
#include "kernels/conv_few.h"
#include "kernels/kernels.h"
#include <immintrin.h>
#include <math.h>

#define ALWAYS_INLINE static inline __attribute__((always_inline))

/* Accumulators are named one by one, and rows is a constant after inlining: gcc 12 spills arrays of them. */
#define ROWS_6(M) M(0) M(1) M(2) M(3) M(4) M(5)
#define ROWS_10(M) ROWS_6(M) M(6) M(7) M(8) M(9)

/* The first n of 8 lanes; n >= 8: all. */
ALWAYS_INLINE __m256i lane_mask(size_t n) {
    static const int32_t lanes[16] = {-1, -1, -1, -1, -1, -1, -1, -1};
    return _mm256_loadu_si256((const __m256i *)(const void *)(lanes + 8 - (n < 8 ? n : 8)));
}

/* The columns of a tile that has fewer than its shape. */
static void store_rows(const fv_real *tile, size_t tile_pitch, size_t rows, size_t columns, fv_real *y,
                       const ptrdiff_t *y_pixel) {
    for (size_t r = 0; r < rows; r++) fv_conv_copy_few(y + y_pixel[r], tile + r * tile_pitch, columns);
}

/* The clamp passes NaN: max and min give their second operand where one is NaN. */
ALWAYS_INLINE __m256 activate(const fv_conv_forward_args *a, __m256 sum) {
    return _mm256_min_ps(_mm256_set1_ps(a->high), _mm256_max_ps(_mm256_set1_ps(a->low), sum));
}
/* The same for all sums of a tile; they take the units of the multiply-adds, so that a side without bound is left out. */
#define CLAMP(ROWS, MOST, LEAST)                                                                                       \
    if (a->low > -INFINITY) {                                                                                          \
        const __m256 bound = _mm256_set1_ps(a->low);                                                                   \
        ROWS(LEAST)                                                                                                    \
    }                                                                                                                  \
    if (a->high < INFINITY) {                                                                                          \
        const __m256 bound = _mm256_set1_ps(a->high);                                                                  \
        ROWS(MOST)                                                                                                     \
    }

/* rows pixels x 16 channels: 12 accumulators, 2 weights, 1 broadcast. The next panel comes all the time, so that memory is never
 * idle. */
ALWAYS_INLINE void forward_16(fv_conv_forward_args *a, const size_t rows) {
#define DECLARE(r)                                                                                                     \
    const fv_real *const x##r = a->x + a->pixel[r < rows ? r : 0];                                                     \
    __m256 low##r = _mm256_setzero_ps(), high##r = low##r;
    ROWS_6(DECLARE)
#undef DECLARE
    const char *next = a->ahead[1].at;
    const size_t next_step = a->ahead[1].per_k;
    for (const fv_conv_run *run = a->run, *last = run + a->runs; run < last; run++) {
        const fv_real *panel = a->panel + run->k * 16;
        const ptrdiff_t end = run->x + (ptrdiff_t)run->length;
        for (ptrdiff_t i = run->x; i < end; i++, panel += 16, next += next_step) {
            __builtin_prefetch(next, 0, 2);
            const __m256 weight_low = _mm256_load_ps(panel), weight_high = _mm256_load_ps(panel + 8);
#define MULTIPLY(r)                                                                                                    \
    if (r < rows) {                                                                                                    \
        const __m256 value = _mm256_broadcast_ss(x##r + i);                                                            \
        low##r = _mm256_fmadd_ps(value, weight_low, low##r);                                                           \
        high##r = _mm256_fmadd_ps(value, weight_high, high##r);                                                        \
    }
            ROWS_6(MULTIPLY)
#undef MULTIPLY
        }
    }
    a->ahead[1].at = next;
    const __m256i mask = lane_mask(a->columns - 8);
    if (a->bias) {
        const __m256 bias_low = _mm256_loadu_ps(a->bias), bias_high = _mm256_maskload_ps(a->bias + 8, mask);
#define ADD_BIAS(r)                                                                                                    \
    if (r < rows) {                                                                                                    \
        low##r = _mm256_add_ps(low##r, bias_low);                                                                      \
        high##r = _mm256_add_ps(high##r, bias_high);                                                                   \
    }
        ROWS_6(ADD_BIAS)
#undef ADD_BIAS
    }
    if (a->residual) {
#define ADD_RESIDUAL(r)                                                                                                \
    if (r < rows) {                                                                                                    \
        const fv_real *residual = a->residual + a->residual_pixel[r];                                                  \
        low##r = _mm256_add_ps(low##r, _mm256_loadu_ps(residual));                                                     \
        high##r = _mm256_add_ps(high##r, _mm256_maskload_ps(residual + 8, mask));                                      \
    }
        ROWS_6(ADD_RESIDUAL)
#undef ADD_RESIDUAL
    }
#define AT_LEAST(r)                                                                                                    \
    if (r < rows) {                                                                                                    \
        low##r = _mm256_max_ps(bound, low##r);                                                                         \
        high##r = _mm256_max_ps(bound, high##r);                                                                       \
    }
#define AT_MOST(r)                                                                                                     \
    if (r < rows) {                                                                                                    \
        low##r = _mm256_min_ps(bound, low##r);                                                                         \
        high##r = _mm256_min_ps(bound, high##r);                                                                       \
    }
    CLAMP(ROWS_6, AT_MOST, AT_LEAST)
#undef AT_LEAST
#undef AT_MOST
#define STORE(r, y)                                                                                                    \
    if (r < rows) {                                                                                                    \
        _mm256_storeu_ps(y, low##r);                                                                                   \
        _mm256_storeu_ps(y + 8, high##r);                                                                              \
    }
#define STORE_WHOLE(r) STORE(r, a->y + a->y_pixel[r])
#define STORE_TILE(r) STORE(r, tile[r])
    if (a->columns == 16) {
        ROWS_6(STORE_WHOLE)
    } else {
        fv_real tile[6][16];
        ROWS_6(STORE_TILE)
        store_rows(tile[0], 16, rows, a->columns, a->y, a->y_pixel);
    }
#undef STORE
#undef STORE_WHOLE
#undef STORE_TILE
}

/* rows pixels x 8 channels: 10 accumulators, 1 weight, 1 broadcast. */
ALWAYS_INLINE void forward_8(fv_conv_forward_args *a, const size_t rows) {
    fv_conv_prefetch(&a->ahead[1]);
#define DECLARE(r)                                                                                                     \
    const fv_real *const x##r = a->x + a->pixel[r < rows ? r : 0];                                                     \
    __m256 sum##r = _mm256_setzero_ps();
    ROWS_10(DECLARE)
#undef DECLARE
    for (const fv_conv_run *run = a->run, *last = run + a->runs; run < last; run++) {
        const fv_real *panel = a->panel + run->k * 8;
        const ptrdiff_t end = run->x + (ptrdiff_t)run->length;
        for (ptrdiff_t i = run->x; i < end; i++, panel += 8) {
            const __m256 weight = _mm256_load_ps(panel);
#define MULTIPLY(r)                                                                                                    \
    if (r < rows) sum##r = _mm256_fmadd_ps(_mm256_broadcast_ss(x##r + i), weight, sum##r);
            ROWS_10(MULTIPLY)
#undef MULTIPLY
        }
    }
    const __m256i mask = lane_mask(a->columns);
    if (a->bias) {
        const __m256 bias = _mm256_maskload_ps(a->bias, mask);
#define ADD_BIAS(r)                                                                                                    \
    if (r < rows) sum##r = _mm256_add_ps(sum##r, bias);
        ROWS_10(ADD_BIAS)
#undef ADD_BIAS
    }
    if (a->residual) {
#define ADD_RESIDUAL(r)                                                                                                \
    if (r < rows) sum##r = _mm256_add_ps(sum##r, _mm256_maskload_ps(a->residual + a->residual_pixel[r], mask));
        ROWS_10(ADD_RESIDUAL)
#undef ADD_RESIDUAL
    }
#define AT_LEAST(r)                                                                                                    \
    if (r < rows) sum##r = _mm256_max_ps(bound, sum##r);
#define AT_MOST(r)                                                                                                     \
    if (r < rows) sum##r = _mm256_min_ps(bound, sum##r);
    CLAMP(ROWS_10, AT_MOST, AT_LEAST)
#undef AT_LEAST
#undef AT_MOST
#define STORE(r, y)                                                                                                    \
    if (r < rows) _mm256_storeu_ps(y, sum##r);
#define STORE_WHOLE(r) STORE(r, a->y + a->y_pixel[r])
#define STORE_TILE(r) STORE(r, tile[r])
    if (a->columns == 8) {
        ROWS_10(STORE_WHOLE)
    } else {
        fv_real tile[10][8];
        ROWS_10(STORE_TILE)
        store_rows(tile[0], 8, rows, a->columns, a->y, a->y_pixel);
    }
#undef STORE
#undef STORE_WHOLE
#undef STORE_TILE
}

/* One pixel x 16 channels of each of so many panels: 8 accumulators, 1 broadcast, weights from memory. */
ALWAYS_INLINE void forward_row(const fv_conv_forward_args *a, const size_t panels) {
#define PANELS_4(M) M(0) M(1) M(2) M(3)
    const fv_real *const x = a->x + a->pixel[0];
    const ptrdiff_t pitch = a->panel_pitch;
#define DECLARE(p) __m256 low##p = _mm256_setzero_ps(), high##p = low##p;
    PANELS_4(DECLARE)
#undef DECLARE
    for (const fv_conv_run *run = a->run, *last = run + a->runs; run < last; run++) {
        const fv_real *panel = a->panel + run->k * 16;
        const ptrdiff_t end = run->x + (ptrdiff_t)run->length;
        for (ptrdiff_t i = run->x; i < end; i++, panel += 16) {
            const __m256 value = _mm256_broadcast_ss(x + i);
#define MULTIPLY(p)                                                                                                    \
    if (p < panels) {                                                                                                  \
        low##p = _mm256_fmadd_ps(value, _mm256_load_ps(panel + p * pitch), low##p);                                    \
        high##p = _mm256_fmadd_ps(value, _mm256_load_ps(panel + p * pitch + 8), high##p);                              \
    }
            PANELS_4(MULTIPLY)
#undef MULTIPLY
        }
    }
    const fv_real *const bias = a->bias, *const residual = a->residual ? a->residual + a->residual_pixel[0] : NULL;
    fv_real *const y = a->y + a->y_pixel[0];
#define FINISH(sum, k)                                                                                                 \
    if (bias) sum = _mm256_add_ps(sum, _mm256_loadu_ps(bias + k));                                                     \
    if (residual) sum = _mm256_add_ps(sum, _mm256_loadu_ps(residual + k));                                             \
    _mm256_storeu_ps(y + k, activate(a, sum));
#define FINISH_PANEL(p)                                                                                                \
    if (p < panels) {                                                                                                  \
        FINISH(low##p, 16 * p)                                                                                         \
        FINISH(high##p, 16 * p + 8)                                                                                    \
    }
    PANELS_4(FINISH_PANEL)
#undef FINISH
#undef FINISH_PANEL
#undef PANELS_4
}

static void conv_forward_f32_1x32_avx2(const fv_conv_forward_args *a) { forward_row(a, 2); }
static void conv_forward_f32_1x48_avx2(const fv_conv_forward_args *a) { forward_row(a, 3); }
static void conv_forward_f32_1x64_avx2(const fv_conv_forward_args *a) { forward_row(a, 4); }

/* Two quads of pixels, i values on. */
ALWAYS_INLINE __m256 load_quads(const fv_real *first, const fv_real *second, ptrdiff_t i) {
    return _mm256_insertf128_ps(_mm256_castps128_ps256(_mm_loadu_ps(first + i)), _mm_loadu_ps(second + i), 1);
}

/* Six maps of two quads, pixels along the lanes, turned to maps along the lanes: part i of a quad is its values 4*i to 4*i + 3. */
ALWAYS_INLINE void turn_quads(const __m256 map[6], __m256 part[6]) {
    const __m256 low_01 = _mm256_unpacklo_ps(map[0], map[1]), high_01 = _mm256_unpackhi_ps(map[0], map[1]);
    const __m256 low_23 = _mm256_unpacklo_ps(map[2], map[3]), high_23 = _mm256_unpackhi_ps(map[2], map[3]);
    const __m256 low_45 = _mm256_unpacklo_ps(map[4], map[5]), high_45 = _mm256_unpackhi_ps(map[4], map[5]);
    part[0] = _mm256_shuffle_ps(low_01, low_23, 0x44);
    part[1] = _mm256_shuffle_ps(low_45, low_01, 0xe4);
    part[2] = _mm256_shuffle_ps(low_23, low_45, 0xee);
    part[3] = _mm256_shuffle_ps(high_01, high_23, 0x44);
    part[4] = _mm256_shuffle_ps(high_45, high_01, 0xe4);
    part[5] = _mm256_shuffle_ps(high_23, high_45, 0xee);
}

/* Quads q and q + 1. */
ALWAYS_INLINE void store_quads(const fv_conv_few_args *a, size_t q, const __m256 map[6]) {
    __m256 part[6];
    turn_quads(map, part);
    if (a->whole) {
        for (int i = 0; i < 6; i++) _mm_storeu_ps(a->y[q] + 4 * i, _mm256_castps256_ps128(part[i]));
        for (int i = 0; i < 6; i++) _mm_storeu_ps(a->y[q + 1] + 4 * i, _mm256_extractf128_ps(part[i], 1));
        return;
    }
    fv_real quad[2][4 * FV_CONV_FEW_MAPS];
    for (int i = 0; i < 6; i++) _mm_storeu_ps(quad[0] + 4 * i, _mm256_castps256_ps128(part[i]));
    for (int i = 0; i < 6; i++) _mm_storeu_ps(quad[1] + 4 * i, _mm256_extractf128_ps(part[i], 1));
    for (size_t h = 0; h < 2; h++)
        for (size_t i = 0; i < a->pixels[q + h]; i++)
            fv_conv_copy_few(a->y[q + h] + (ptrdiff_t)i * a->y_pitch, quad[h] + i * FV_CONV_FEW_MAPS, a->maps);
}

/* 16 pixels x 6 maps: 12 accumulators, 2 vectors of pixels, 1 broadcast weight. */
static void conv_few_f32_16x6_avx2(const fv_conv_few_args *a) {
    const fv_real *const x0 = a->x[0], *const x1 = a->x[1], *const x2 = a->x[2], *const x3 = a->x[3];
#define DECLARE(m) __m256 low##m = _mm256_setzero_ps(), high##m = low##m;
    ROWS_6(DECLARE)
#undef DECLARE
    const fv_real *panel = a->panel;
    for (const ptrdiff_t *offset = a->offset, *end = offset + a->values; offset < end; offset++, panel += 8) {
        const __m256 low = load_quads(x0, x1, *offset), high = load_quads(x2, x3, *offset);
#define MULTIPLY(m)                                                                                                    \
    {                                                                                                                  \
        const __m256 weight = _mm256_broadcast_ss(panel + m);                                                          \
        low##m = _mm256_fmadd_ps(low, weight, low##m);                                                                 \
        high##m = _mm256_fmadd_ps(high, weight, high##m);                                                              \
    }
        ROWS_6(MULTIPLY)
#undef MULTIPLY
    }
    const __m256 least = _mm256_set1_ps(a->low), most = _mm256_set1_ps(a->high);
    if (a->bias) {
#define ADD_BIAS(m)                                                                                                    \
    {                                                                                                                  \
        const __m256 bias = _mm256_broadcast_ss(a->bias + (m < a->maps ? m : 0));                                      \
        low##m = _mm256_add_ps(low##m, bias);                                                                          \
        high##m = _mm256_add_ps(high##m, bias);                                                                        \
    }
        ROWS_6(ADD_BIAS)
#undef ADD_BIAS
    }
#define ACTIVATE(m)                                                                                                    \
    low##m = _mm256_min_ps(most, _mm256_max_ps(least, low##m));                                                        \
    high##m = _mm256_min_ps(most, _mm256_max_ps(least, high##m));
    ROWS_6(ACTIVATE)
#undef ACTIVATE
    store_quads(a, 0, (const __m256[6]){low0, low1, low2, low3, low4, low5});
    store_quads(a, 2, (const __m256[6]){high0, high1, high2, high3, high4, high5});
}

/* For stores that many pixels pay for: maskstore takes some 20 cycles on AMD. */
ALWAYS_INLINE void store_first(fv_real *p, __m256i mask, bool whole, __m256 value) {
    if (whole)
        _mm256_storeu_ps(p, value);
    else
        _mm256_maskstore_ps(p, mask, value);
}

/* rows weight rows x 16 channels, as forward_16. */
ALWAYS_INLINE void grad_16(const fv_conv_grad_args *a, const size_t rows) {
    const __m256i mask = lane_mask(a->columns - 8);
#define DECLARE(r)                                                                                                     \
    const fv_real *const x##r = a->row[r < rows ? r : 0];                                                              \
    fv_real *const dw##r = a->dw + (ptrdiff_t)r * a->dw_pitch;                                                         \
    __m256 low##r = _mm256_setzero_ps(), high##r = low##r;                                                             \
    if (r < rows && a->accumulate) {                                                                                   \
        low##r = _mm256_loadu_ps(dw##r);                                                                               \
        high##r = _mm256_maskload_ps(dw##r + 8, mask);                                                                 \
    }
    ROWS_6(DECLARE)
#undef DECLARE
    const fv_real *dy = a->dy;
    for (const ptrdiff_t *pixel = a->pixel, *end = pixel + a->pixels; pixel < end; pixel++, dy += 16) {
        const ptrdiff_t i = *pixel;
        const __m256 dy_low = _mm256_load_ps(dy), dy_high = _mm256_load_ps(dy + 8);
#define MULTIPLY(r)                                                                                                    \
    if (r < rows) {                                                                                                    \
        const __m256 value = _mm256_broadcast_ss(x##r + i);                                                            \
        low##r = _mm256_fmadd_ps(value, dy_low, low##r);                                                               \
        high##r = _mm256_fmadd_ps(value, dy_high, high##r);                                                            \
    }
        ROWS_6(MULTIPLY)
#undef MULTIPLY
    }
#define STORE(r)                                                                                                       \
    if (r < rows) {                                                                                                    \
        _mm256_storeu_ps(dw##r, low##r);                                                                               \
        store_first(dw##r + 8, mask, a->columns == 16, high##r);                                                       \
    }
    ROWS_6(STORE)
#undef STORE
}

/* rows weight rows x 8 channels, as forward_8. */
ALWAYS_INLINE void grad_8(const fv_conv_grad_args *a, const size_t rows) {
    const __m256i mask = lane_mask(a->columns);
#define DECLARE(r)                                                                                                     \
    const fv_real *const x##r = a->row[r < rows ? r : 0];                                                              \
    fv_real *const dw##r = a->dw + (ptrdiff_t)r * a->dw_pitch;                                                         \
    __m256 sum##r = _mm256_setzero_ps();                                                                               \
    if (r < rows && a->accumulate) sum##r = _mm256_maskload_ps(dw##r, mask);
    ROWS_10(DECLARE)
#undef DECLARE
    const fv_real *dy = a->dy;
    for (const ptrdiff_t *pixel = a->pixel, *end = pixel + a->pixels; pixel < end; pixel++, dy += 8) {
        const ptrdiff_t i = *pixel;
        const __m256 dy_p = _mm256_load_ps(dy);
#define MULTIPLY(r)                                                                                                    \
    if (r < rows) sum##r = _mm256_fmadd_ps(_mm256_broadcast_ss(x##r + i), dy_p, sum##r);
        ROWS_10(MULTIPLY)
#undef MULTIPLY
    }
#define STORE(r)                                                                                                       \
    if (r < rows) store_first(dw##r, mask, a->columns == 8, sum##r);
    ROWS_10(STORE)
#undef STORE
}

#define TILES(columns, most, r)                                                                                        \
    FV_CONV_FORWARD_TILES(conv_forward_f32_##r##x##columns##_avx2, forward_##columns, r, most)                         \
    static void conv_grad_f32_##r##x##columns##_avx2(const fv_conv_grad_args *a) { grad_##columns(a, r); }
#define TILES_6X16(columns, r) TILES(columns, 6, r)
#define TILES_10X8(columns, r) TILES(columns, 10, r)
#define TO_6(M, columns) M(columns, 1) M(columns, 2) M(columns, 3) M(columns, 4) M(columns, 5) M(columns, 6)
#define TO_10(M, columns) TO_6(M, columns) M(columns, 7) M(columns, 8) M(columns, 9) M(columns, 10)
TO_6(TILES_6X16, 16)
TO_10(TILES_10X8, 8)
#undef TILES
#undef TILES_6X16
#undef TILES_10X8

#define FORWARD(columns, r) [r - 1] = conv_forward_f32_##r##x##columns##_avx2,
#define GRAD(columns, r) [r - 1] = conv_grad_f32_##r##x##columns##_avx2,
static const fv_conv_isa isa = {
    .wide = {.rows = 6, .columns = 16, .forward = {TO_6(FORWARD, 16)}, .grad = {TO_6(GRAD, 16)}},
    .narrow = {.rows = 10, .columns = 8, .forward = {TO_10(FORWARD, 8)}, .grad = {TO_10(GRAD, 8)}},
    .row = {NULL, conv_forward_f32_1x32_avx2, conv_forward_f32_1x48_avx2, conv_forward_f32_1x64_avx2},
};

#include "kernels/conv_table.h"

static size_t conv_forward_scratch_avx2(const fv_conv_desc *d) {
    return fv_max_size(fv_conv_drive_forward_scratch(d), fv_conv_few_scratch(d));
}

static void conv_forward_avx2(const fv_conv_desc *d, const fv_real *x, const fv_real *packed, const fv_real *bias,
                              const fv_real *residual, fv_real *y, fv_range pixels, fv_range panels, void *scratch) {
    if (!residual && fv_conv_few_forward(&isa, conv_few_f32_16x6_avx2, d, x, packed, bias, y, pixels, panels, scratch)) return;
    fv_conv_drive_forward(&isa, d, x, packed, bias, residual, y, pixels, panels, scratch);
}

void fv_conv_init_avx2(fv_conv_kernels *k) {
    init_conv(k);
    k->forward_scratch = conv_forward_scratch_avx2;
    k->forward = conv_forward_avx2;
}
