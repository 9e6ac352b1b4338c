/* Reductions over a vector wrapper; included by (isa)/reduce_(isa).c. Sums run in four vector chains over blocks of 4096 values,
 * whose totals are added in order. */

enum { block = 4096 };

static inline float block_sum(const float *x, size_t n, bool squares) {
    vf s[4] = {v_zero(), v_zero(), v_zero(), v_zero()};
    size_t i = 0;
    for (; i + 4 * VW <= n; i += 4 * VW)
        for (int k = 0; k < 4; k++) {
            const vf v = v_load(x + i + (size_t)k * VW);
            s[k] = squares ? v_fma(v, v, s[k]) : v_add(s[k], v);
        }
    for (; i < n; i += VW) {
        const vf v = n - i >= VW ? v_load(x + i) : v_load_part(x + i, n - i);
        s[0] = squares ? v_fma(v, v, s[0]) : v_add(s[0], v);
    }
    return v_sum(v_add(v_add(s[0], s[1]), v_add(s[2], s[3])));
}

static float sum(const float *x, size_t n) {
    float total = 0;
    for (size_t i = 0; i < n; i += block) total += block_sum(x + i, fv_min_size(n - i, block), false);
    return total;
}

static float sum_squares(const float *x, size_t n) {
    float total = 0;
    for (size_t i = 0; i < n; i += block) total += block_sum(x + i, fv_min_size(n - i, block), true);
    return total;
}

/* x2 NULL: plain sums. One to four vectors of channels at a time go down all the pixels in registers. */
static inline void columns(const float *x1, ptrdiff_t pitch1, const float *x2, ptrdiff_t pitch2, size_t pixels, float *y,
                           size_t vectors, size_t part) {
    vf s[4] = {v_zero(), v_zero(), v_zero(), v_zero()};
    for (size_t p = 0; p < pixels; p++, x1 += pitch1) {
        for (size_t k = 0; k < vectors; k++) {
            const size_t n = k + 1 == vectors ? part : VW;
            const vf v = n == VW ? v_load(x1 + k * VW) : v_load_part(x1 + k * VW, n);
            if (x2)
                s[k] = v_fma(v, n == VW ? v_load(x2 + k * VW) : v_load_part(x2 + k * VW, n), s[k]);
            else
                s[k] = v_add(s[k], v);
        }
        if (x2) x2 += pitch2;
    }
    for (size_t k = 0; k < vectors; k++)
        if (k + 1 == vectors && part < VW)
            v_store_part(y + k * VW, s[k], part);
        else
            v_store(y + k * VW, s[k]);
}

static void dot_rows(const float *x1, ptrdiff_t pitch1, const float *x2, ptrdiff_t pitch2, size_t pixels, size_t channels,
                     float *y) {
    size_t c = 0;
    for (; c + 4 * VW <= channels; c += 4 * VW) columns(x1 + c, pitch1, x2 ? x2 + c : NULL, pitch2, pixels, y + c, 4, VW);
    for (; c < channels; c += VW)
        columns(x1 + c, pitch1, x2 ? x2 + c : NULL, pitch2, pixels, y + c, 1, fv_min_size(channels - c, VW));
}

static void sum_rows(const float *x, ptrdiff_t pitch, size_t pixels, size_t channels, float *y) {
    dot_rows(x, pitch, NULL, 0, pixels, channels, y);
}

static void add_parts(const float *x, size_t part_pitch, size_t parts, float *y, size_t n) {
    for (size_t i = 0; i < n; i += VW) {
        const size_t rest = fv_min_size(n - i, VW);
        vf s = v_zero();
        for (size_t k = 0; k < parts; k++) {
            const vf v = rest == VW ? v_load(x + k * part_pitch + i) : v_load_part(x + k * part_pitch + i, rest);
            s = k == 0 ? v : v_add(s, v);
        }
        if (rest == VW)
            v_store(y + i, s);
        else
            v_store_part(y + i, s, rest);
    }
}

static void init_reduce(fv_reduce_kernels *k) {
    *k = (fv_reduce_kernels){sum, sum_squares, sum_rows, dot_rows, add_parts};
}
