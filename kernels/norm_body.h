/* Normalization over a vector wrapper; included by (isa)/norm_(isa).c. Sums over pixels go down in registers, some vectors
 * of channels at a time; element-wise passes go along the rows. */

/* n = VW except in the last vector of a row. */
static inline vf load_some(const float *p, size_t n) { return n == VW ? v_load(p) : v_load_part(p, n); }
static inline void store_some(float *p, vf a, size_t n) {
    if (n == VW)
        v_store(p, a);
    else
        v_store_part(p, a, n);
}

/* vectors * VW channels, or one vector of `part` channels. Four pixels at a time are added up before they join the sums, whatever
 * `vectors` is: a chain of additions a pixel would bound narrow maps. */
FV_ALWAYS_INLINE void moments_columns(const float *x, ptrdiff_t pitch, size_t pixels, float *mean, float *m2, size_t vectors,
                                      size_t part) {
    const vf n = v_set((float)pixels);
    vf near[4], s1[4], s2[4];
    for (size_t k = 0; k < vectors; k++) near[k] = s1[k] = s2[k] = v_zero();
    const float *row = x;
    size_t p = 0;
    for (; p + 4 <= pixels; p += 4, row += 4 * pitch)
        for (size_t k = 0; k < vectors; k++) {
            const float *at = row + k * VW;
            const vf two = v_add(load_some(at, part), load_some(at + pitch, part));
            near[k] = v_add(near[k], v_add(two, v_add(load_some(at + 2 * pitch, part), load_some(at + 3 * pitch, part))));
        }
    for (; p < pixels; p++, row += pitch)
        for (size_t k = 0; k < vectors; k++) near[k] = v_add(near[k], load_some(row + k * VW, part));
    for (size_t k = 0; k < vectors; k++) near[k] = v_div(near[k], n);
    row = x;
    for (p = 0; p + 4 <= pixels; p += 4, row += 4 * pitch)
        for (size_t k = 0; k < vectors; k++) {
            const float *at = row + k * VW;
            const vf d0 = v_sub(load_some(at, part), near[k]), d1 = v_sub(load_some(at + pitch, part), near[k]);
            const vf d2 = v_sub(load_some(at + 2 * pitch, part), near[k]), d3 = v_sub(load_some(at + 3 * pitch, part), near[k]);
            s1[k] = v_add(s1[k], v_add(v_add(d0, d1), v_add(d2, d3)));
            s2[k] = v_add(s2[k], v_add(v_fma(d1, d1, v_mul(d0, d0)), v_fma(d3, d3, v_mul(d2, d2))));
        }
    for (; p < pixels; p++, row += pitch)
        for (size_t k = 0; k < vectors; k++) {
            const vf d = v_sub(load_some(row + k * VW, part), near[k]);
            s1[k] = v_add(s1[k], d);
            s2[k] = v_fma(d, d, s2[k]);
        }
    for (size_t k = 0; k < vectors; k++) {
        const vf correction = v_div(s1[k], n);
        store_some(mean + k * VW, v_add(near[k], correction), part);
        store_some(m2 + k * VW, v_sub(s2[k], v_mul(s1[k], correction)), part);
    }
}

static void moments(const float *x, ptrdiff_t pitch, size_t pixels, size_t channels, float *mean, float *m2) {
    size_t c = 0;
    for (; c + 4 * VW <= channels; c += 4 * VW) moments_columns(x + c, pitch, pixels, mean + c, m2 + c, 4, VW);
    for (; c + 2 * VW <= channels; c += 2 * VW) moments_columns(x + c, pitch, pixels, mean + c, m2 + c, 2, VW);
    for (; c + VW <= channels; c += VW) moments_columns(x + c, pitch, pixels, mean + c, m2 + c, 1, VW);
    if (c < channels) moments_columns(x + c, pitch, pixels, mean + c, m2 + c, 1, channels - c);
}

static void merge(const float *mean, const float *m2, ptrdiff_t part_pitch, size_t parts, size_t count, size_t last,
                  size_t channels, float *out_mean, float *out_m2) {
    for (size_t c = 0; c < channels; c += VW) {
        const size_t rest = fv_min_size(channels - c, VW);
        vf m = load_some(mean + c, rest), s = load_some(m2 + c, rest);
        for (size_t k = 1; k < parts; k++) {
            const size_t n = k * count, more = k + 1 == parts ? last : count;
            const float share = (float)more / (float)(n + more), weight = (float)n * share;
            const ptrdiff_t at = (ptrdiff_t)k * part_pitch + (ptrdiff_t)c;
            const vf delta = v_sub(load_some(mean + at, rest), m);
            m = v_add(m, v_mul(delta, v_set(share)));
            s = v_add(s, v_add(load_some(m2 + at, rest), v_mul(v_mul(delta, delta), v_set(weight))));
        }
        store_some(out_mean + c, m, rest);
        store_some(out_m2 + c, s, rest);
    }
}

static void combine(const float *mean, const float *m2, size_t count, size_t channels, float out[2]) {
    vf sum = v_zero(), squares = v_zero();
    for (size_t c = 0; c < channels; c += VW) sum = v_add(sum, load_some(mean + c, fv_min_size(channels - c, VW)));
    const float middle = v_sum(sum) / (float)channels;
    const vf n = v_set((float)count), at = v_set(middle);
    for (size_t c = 0; c < channels; c += VW) {
        const size_t rest = fv_min_size(channels - c, VW);
        const vf d = v_sub(load_some(mean + c, rest), at);
        const vf term = v_add(load_some(m2 + c, rest), v_mul(n, v_mul(d, d)));
        squares = v_add(squares, rest == VW ? term : v_keep(term, rest, v_zero()));
    }
    out[0] = middle;
    out[1] = v_sum(squares);
}

static inline vf map_step(const fv_norm_map *m, vf x, size_t c, size_t n) {
    return v_add(v_mul(x, load_some(m->gain + c, n)), load_some(m->shift + c, n));
}

static void apply(const fv_norm_map *m, const float *x, ptrdiff_t x_pitch, float *y, ptrdiff_t y_pitch, size_t channels,
                  size_t pixels) {
    const vf low = v_set(m->low), high = v_set(m->high);
    for (size_t p = 0; p < pixels; p++, x += x_pitch, y += y_pitch) {
        size_t c = 0;
        for (; c + VW <= channels; c += VW) v_store(y + c, v_at_most(v_at_least(map_step(m, v_load(x + c), c, VW), low), high));
        if (c == channels) continue;
        const size_t n = channels - c;
        v_store_part(y + c, v_at_most(v_at_least(map_step(m, v_load_part(x + c, n), c, n), low), high), n);
    }
}

/* What the clamp lets through of dy. */
FV_ALWAYS_INLINE vf passed(const fv_norm_map *m, bool clamps, vf dy, vf x, size_t c, size_t n) {
    if (!clamps) return dy;
    const vf z = map_step(m, x, c, n);
    return v_where(v_both(v_gt(z, v_set(m->low)), v_lt(z, v_set(m->high))), dy);
}

/* dy and x point at channel c. */
FV_ALWAYS_INLINE void sums_columns(const fv_norm_map *m, bool clamps, const float *dy, ptrdiff_t dy_pitch, const float *x,
                                   ptrdiff_t x_pitch, size_t pixels, size_t c, float *sum, float *dot, size_t vectors,
                                   size_t part) {
    vf s[4], d[4];
    for (size_t k = 0; k < vectors; k++) s[k] = d[k] = v_zero();
    for (size_t p = 0; p < pixels; p++, dy += dy_pitch, x += x_pitch)
        for (size_t k = 0; k < vectors; k++) {
            const size_t at = c + k * VW;
            const vf value = load_some(x + k * VW, part);
            const vf g = passed(m, clamps, load_some(dy + k * VW, part), value, at, part);
            s[k] = v_add(s[k], g);
            d[k] = v_fma(g, v_sub(value, load_some(m->mean + at, part)), d[k]);
        }
    for (size_t k = 0; k < vectors; k++) {
        store_some(sum + c + k * VW, s[k], part);
        store_some(dot + c + k * VW, d[k], part);
    }
}

FV_ALWAYS_INLINE void sums_with(const fv_norm_map *m, bool clamps, const float *dy, ptrdiff_t dy_pitch, const float *x,
                                ptrdiff_t x_pitch, size_t channels, size_t pixels, float *sum, float *dot) {
    size_t c = 0;
    for (; c + 4 * VW <= channels; c += 4 * VW)
        sums_columns(m, clamps, dy + c, dy_pitch, x + c, x_pitch, pixels, c, sum, dot, 4, VW);
    for (; c + VW <= channels; c += VW) sums_columns(m, clamps, dy + c, dy_pitch, x + c, x_pitch, pixels, c, sum, dot, 1, VW);
    if (c < channels) sums_columns(m, clamps, dy + c, dy_pitch, x + c, x_pitch, pixels, c, sum, dot, 1, channels - c);
}

static void grad_sums(const fv_norm_map *m, const float *dy, ptrdiff_t dy_pitch, const float *x, ptrdiff_t x_pitch,
                      size_t channels, size_t pixels, float *sum, float *dot) {
    if (fv_norm_clamps(m))
        sums_with(m, true, dy, dy_pitch, x, x_pitch, channels, pixels, sum, dot);
    else
        sums_with(m, false, dy, dy_pitch, x, x_pitch, channels, pixels, sum, dot);
}

FV_ALWAYS_INLINE void input_step(const fv_norm_map *m, bool clamps, const float *slope, const float *offset, const float *dy,
                                 const float *x, float *dx, size_t c, size_t n) {
    const vf value = load_some(x + c, n);
    const vf g = passed(m, clamps, load_some(dy + c, n), value, c, n);
    const vf line = v_add(v_mul(v_sub(value, load_some(m->mean + c, n)), load_some(slope + c, n)), load_some(offset + c, n));
    store_some(dx + c, v_add(v_mul(g, load_some(m->gain + c, n)), line), n);
}

FV_ALWAYS_INLINE void input_with(const fv_norm_map *m, bool clamps, const float *slope, const float *offset, const float *dy,
                                 ptrdiff_t dy_pitch, const float *x, ptrdiff_t x_pitch, float *dx, ptrdiff_t dx_pitch,
                                 size_t channels, size_t pixels) {
    for (size_t p = 0; p < pixels; p++, dy += dy_pitch, x += x_pitch, dx += dx_pitch) {
        size_t c = 0;
        for (; c + VW <= channels; c += VW) input_step(m, clamps, slope, offset, dy, x, dx, c, VW);
        if (c < channels) input_step(m, clamps, slope, offset, dy, x, dx, c, channels - c);
    }
}

static void grad_input(const fv_norm_map *m, const float *slope, const float *offset, const float *dy, ptrdiff_t dy_pitch,
                       const float *x, ptrdiff_t x_pitch, float *dx, ptrdiff_t dx_pitch, size_t channels, size_t pixels) {
    if (fv_norm_clamps(m))
        input_with(m, true, slope, offset, dy, dy_pitch, x, x_pitch, dx, dx_pitch, channels, pixels);
    else
        input_with(m, false, slope, offset, dy, dy_pitch, x, x_pitch, dx, dx_pitch, channels, pixels);
}

static void init_norm(fv_norm_kernels *k) { *k = (fv_norm_kernels){moments, merge, combine, apply, grad_sums, grad_input}; }
