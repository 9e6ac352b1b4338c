/* Normalization over a vector wrapper; included by (isa)/norm_(isa).c. Sums over pixels go down in registers, some
 * vectors of channels at a time; element-wise passes go along the rows. */

/* n = VW except in the last vector of a row. */
static inline vf load_some(const float *p, size_t n) { return n == VW ? v_load(p) : v_load_part(p, n); }
static inline void store_some(float *p, vf a, size_t n) {
    if (n == VW)
        v_store(p, a);
    else
        v_store_part(p, a, n);
}

/* Sums go down the pixels: of narrow maps in registers, of wide ones a few pixels at a time along a panel of channels,
 * so that memory is read in long runs, with the sums so far in a buffer. Both add in one order. */
enum {
    GROUP = 2,
    PANEL = 256,
    BLOCK = 4
}; /* vectors in registers; channels of a panel, narrower ones from 32; pixels at a time */

static inline size_t panel_of(size_t channels) { return channels < 32 ? 0 : fv_min_size(channels / VW * VW, PANEL); }

/* The next block's lines of a vector: so many short runs are more than the hardware follows. Not of runs that are long, nor
 * of pixels that share their sets of L1, which the lines fetched would leave before they are read. */
FV_ALWAYS_INLINE void fetch_block(const float *x, ptrdiff_t pitch) {
    for (size_t p = 0; p < BLOCK && pitch < 512; p++) __builtin_prefetch(x + (ptrdiff_t)(BLOCK + p) * pitch);
}

/* ---- moments ---- */

/* Sums of d = x - near and of d^2, of every second pixel: chains of additions would bound narrow maps. */
typedef struct moment_sums {
    vf even1, even2, odd1, odd2;
} moment_sums;

FV_ALWAYS_INLINE void add_moments(moment_sums *s, const float *x, ptrdiff_t pitch, vf near, const size_t pixels,
                                  size_t part) {
    for (size_t p = 0; p < pixels; p++, x += pitch) {
        const vf d = v_sub(load_some(x, part), near);
        vf *s1 = p % 2 ? &s->odd1 : &s->even1, *s2 = p % 2 ? &s->odd2 : &s->even2;
        *s1 = v_add(*s1, d);
        *s2 = v_fma(d, d, *s2);
    }
}

/* So many vectors, or `part` channels of one. */
FV_ALWAYS_INLINE void sums_down(const float *x, ptrdiff_t pitch, size_t pixels, const vf *near, moment_sums *s,
                                const size_t vectors, size_t part) {
    const vf zero = v_zero();
    for (size_t k = 0; k < vectors; k++) s[k] = (moment_sums){zero, zero, zero, zero};
    size_t p = 0;
    for (; p + 2 <= pixels; p += 2, x += 2 * pitch)
        for (size_t k = 0; k < vectors; k++) add_moments(&s[k], x + k * VW, pitch, near[k], 2, part);
    for (size_t k = 0; k < vectors && p < pixels; k++) add_moments(&s[k], x + k * VW, pitch, near[k], 1, part);
}

/* Mean and M2 of the sums; the lanes whose m0 was near enough. */
static inline vm moments_of(const moment_sums *s, vf near, vf n, vf *mean, vf *m2) {
    const vf s1 = v_add(s->even1, s->odd1), off = v_div(s1, n), shifted = v_mul(s1, off);
    *mean = v_add(near, off);
    *m2 = v_sub(v_add(s->even2, s->odd2), shifted);
    return v_not_below(*m2, shifted);
}

/* Of one vector, made again about the mean where m0 was not near enough. */
static inline void finish_moments(const float *x, ptrdiff_t pitch, size_t pixels, vf near, const moment_sums *s,
                                  float *mean, float *m2, size_t part) {
    const vf n = v_set((float)pixels);
    vf middle, squares, better, exact;
    const vm good = moments_of(s, near, n, &middle, &squares);
    if (v_lanes(good) != (1u << VW) - 1) {
        moment_sums again;
        sums_down(x, pitch, pixels, &middle, &again, 1, part);
        (void)moments_of(&again, middle, n, &better, &exact);
        middle = v_select(good, middle, better);
        squares = v_select(good, squares, exact);
    }
    store_some(mean, middle, part);
    store_some(m2, squares, part);
}

/* The mean of some pixels. */
static inline vf sample_mean(const float *x, ptrdiff_t pitch, size_t pixels, size_t part) {
    const size_t samples = fv_min_size(pixels, 8), apart = pixels / samples;
    vf sum = v_zero();
    for (size_t i = 0; i < samples; i++) sum = v_add(sum, load_some(x + (ptrdiff_t)(i * apart) * pitch, part));
    return v_div(sum, v_set((float)samples));
}

FV_ALWAYS_INLINE void moments_columns(const float *x, ptrdiff_t pitch, size_t pixels, float *mean, float *m2,
                                      const size_t vectors, size_t part) {
    vf near[GROUP];
    moment_sums s[GROUP];
    for (size_t k = 0; k < vectors; k++) near[k] = sample_mean(x + k * VW, pitch, pixels, part);
    sums_down(x, pitch, pixels, near, s, vectors, part);
    for (size_t k = 0; k < vectors; k++)
        finish_moments(x + k * VW, pitch, pixels, near[k], &s[k], mean + k * VW, m2 + k * VW, part);
}

FV_ALWAYS_INLINE void moments_block(const float *x, ptrdiff_t pitch, const vf *near, moment_sums *s, size_t vectors,
                                    const size_t pixels, bool more) {
    for (size_t k = 0; k < vectors; k++) {
        if (more && k % (16 / VW) == 0) fetch_block(x + k * VW, pitch);
        moment_sums own = s[k];
        add_moments(&own, x + k * VW, pitch, near[k], pixels, VW);
        s[k] = own;
    }
}

static void moments_panel(const float *x, ptrdiff_t pitch, size_t pixels, float *mean, float *m2, size_t channels) {
    const size_t vectors = channels / VW;
    const float *at = x;
    vf near[PANEL / VW];
    moment_sums s[PANEL / VW];
    for (size_t k = 0; k < vectors; k++) {
        near[k] = sample_mean(x + k * VW, pitch, pixels, VW);
        s[k] = (moment_sums){v_zero(), v_zero(), v_zero(), v_zero()};
    }
    size_t p = 0;
    for (; p + BLOCK <= pixels; p += BLOCK, at += BLOCK * pitch)
        moments_block(at, pitch, near, s, vectors, BLOCK, p + 2 * BLOCK <= pixels);
    for (; p + 2 <= pixels; p += 2, at += 2 * pitch) moments_block(at, pitch, near, s, vectors, 2, false);
    if (p < pixels) moments_block(at, pitch, near, s, vectors, 1, false);
    for (size_t k = 0; k < vectors; k++)
        finish_moments(x + k * VW, pitch, pixels, near[k], &s[k], mean + k * VW, m2 + k * VW, VW);
}

static void moments(const float *x, ptrdiff_t pitch, size_t pixels, size_t channels, float *mean, float *m2) {
    size_t c = 0;
    for (size_t n; (n = panel_of(channels - c)) > 0; c += n) moments_panel(x + c, pitch, pixels, mean + c, m2 + c, n);
    for (; c + GROUP * VW <= channels; c += GROUP * VW)
        moments_columns(x + c, pitch, pixels, mean + c, m2 + c, GROUP, VW);
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
        for (; c + VW <= channels; c += VW)
            v_store(y + c, v_at_most(v_at_least(map_step(m, v_load(x + c), c, VW), low), high));
        if (c == channels) continue;
        const size_t n = channels - c;
        v_store_part(y + c, v_at_most(v_at_least(map_step(m, v_load_part(x + c, n), c, n), low), high), n);
    }
}

/* The map of a vector of channels, in registers. */
typedef struct channel_map {
    vf gain, shift, mean;
} channel_map;

FV_ALWAYS_INLINE channel_map map_of(const fv_norm_map *m, bool with_gain, size_t c, size_t n) {
    return (channel_map){with_gain ? load_some(m->gain + c, n) : v_zero(),
                         with_gain ? load_some(m->shift + c, n) : v_zero(), load_some(m->mean + c, n)};
}

/* What the clamp lets through of dy. */
FV_ALWAYS_INLINE vf passed(const channel_map *m, bool clamps, vf low, vf high, vf dy, vf x) {
    if (!clamps) return dy;
    const vf z = v_add(v_mul(x, m->gain), m->shift);
    return v_where(v_both(v_gt(z, low), v_lt(z, high)), dy);
}

/* The two sums so far, over so many more pixels. */
FV_ALWAYS_INLINE void add_sums(const channel_map *map, bool clamps, vf low, vf high, const float *dy,
                               ptrdiff_t dy_pitch, const float *x, ptrdiff_t x_pitch, const size_t pixels, size_t part,
                               vf *sum, vf *dot) {
    for (size_t p = 0; p < pixels; p++, dy += dy_pitch, x += x_pitch) {
        const vf value = load_some(x, part), g = passed(map, clamps, low, high, load_some(dy, part), value);
        *sum = v_add(*sum, g);
        *dot = v_fma(g, v_sub(value, map->mean), *dot);
    }
}

/* dy and x point at channel c. */
FV_ALWAYS_INLINE void sums_columns(const fv_norm_map *m, bool clamps, const float *dy, ptrdiff_t dy_pitch,
                                   const float *x, ptrdiff_t x_pitch, size_t pixels, size_t c, float *sum, float *dot,
                                   const size_t vectors, size_t part) {
    const vf low = v_set(m->low), high = v_set(m->high);
    channel_map map[GROUP];
    vf s[GROUP], d[GROUP];
    for (size_t k = 0; k < vectors; k++) {
        map[k] = map_of(m, clamps, c + k * VW, part);
        s[k] = d[k] = v_zero();
    }
    for (size_t p = 0; p < pixels; p++, dy += dy_pitch, x += x_pitch)
        for (size_t k = 0; k < vectors; k++)
            add_sums(&map[k], clamps, low, high, dy + k * VW, dy_pitch, x + k * VW, x_pitch, 1, part, &s[k], &d[k]);
    for (size_t k = 0; k < vectors; k++) {
        store_some(sum + c + k * VW, s[k], part);
        store_some(dot + c + k * VW, d[k], part);
    }
}

FV_ALWAYS_INLINE void sums_block(const fv_norm_map *m, bool clamps, const float *dy, ptrdiff_t dy_pitch, const float *x,
                                 ptrdiff_t x_pitch, size_t c, float *sum, float *dot, size_t channels,
                                 const size_t pixels, bool more) {
    const vf low = v_set(m->low), high = v_set(m->high);
    for (const size_t end = c + channels; c < end; c += VW, dy += VW, x += VW) {
        const channel_map map = map_of(m, clamps, c, VW);
        if (more && c % 16 == 0) fetch_block(x, x_pitch), fetch_block(dy, dy_pitch);
        vf s = v_load(sum + c), d = v_load(dot + c);
        add_sums(&map, clamps, low, high, dy, dy_pitch, x, x_pitch, pixels, VW, &s, &d);
        v_store(sum + c, s);
        v_store(dot + c, d);
    }
}

FV_ALWAYS_INLINE void sums_with(const fv_norm_map *given, bool clamps, const float *dy, ptrdiff_t dy_pitch,
                                const float *x, ptrdiff_t x_pitch, size_t channels, size_t pixels, float *sum,
                                float *dot) {
    const fv_norm_map own = *given, *const m = &own; /* stores of vectors may change anything but what is our own */
    size_t c = 0;
    for (size_t n; (n = panel_of(channels - c)) > 0; c += n) {
        for (size_t k = c; k < c + n; k += VW) v_store(sum + k, v_zero()), v_store(dot + k, v_zero());
        size_t p = 0;
        for (; p + BLOCK <= pixels; p += BLOCK)
            sums_block(m, clamps, dy + (ptrdiff_t)p * dy_pitch + (ptrdiff_t)c, dy_pitch,
                       x + (ptrdiff_t)p * x_pitch + (ptrdiff_t)c, x_pitch, c, sum, dot, n, BLOCK,
                       p + 2 * BLOCK <= pixels);
        for (; p < pixels; p++)
            sums_block(m, clamps, dy + (ptrdiff_t)p * dy_pitch + (ptrdiff_t)c, dy_pitch,
                       x + (ptrdiff_t)p * x_pitch + (ptrdiff_t)c, x_pitch, c, sum, dot, n, 1, false);
    }
    for (; c + GROUP * VW <= channels; c += GROUP * VW)
        sums_columns(m, clamps, dy + c, dy_pitch, x + c, x_pitch, pixels, c, sum, dot, GROUP, VW);
    for (; c + VW <= channels; c += VW)
        sums_columns(m, clamps, dy + c, dy_pitch, x + c, x_pitch, pixels, c, sum, dot, 1, VW);
    if (c < channels) sums_columns(m, clamps, dy + c, dy_pitch, x + c, x_pitch, pixels, c, sum, dot, 1, channels - c);
}

static void grad_sums(const fv_norm_map *m, const float *dy, ptrdiff_t dy_pitch, const float *x, ptrdiff_t x_pitch,
                      size_t channels, size_t pixels, float *sum, float *dot) {
    if (fv_norm_clamps(m))
        sums_with(m, true, dy, dy_pitch, x, x_pitch, channels, pixels, sum, dot);
    else
        sums_with(m, false, dy, dy_pitch, x, x_pitch, channels, pixels, sum, dot);
}

/* Pixels that share what is loaded of their channels. From WIDE channels on a pixel at a time: its lines come faster in
 * one run than the coefficients cost. */
enum { ROWS = 4, WIDE = 128 };

/* n channels from c on, of so many pixels. */
FV_ALWAYS_INLINE void input_step(const fv_norm_map *m, bool clamps, const float *slope, const float *offset,
                                 const float *dy, ptrdiff_t dy_pitch, const float *x, ptrdiff_t x_pitch, float *dx,
                                 ptrdiff_t dx_pitch, size_t c, size_t n, const size_t rows) {
    const channel_map map = map_of(m, true, c, n);
    const vf low = v_set(m->low), high = v_set(m->high), by = load_some(slope + c, n), plus = load_some(offset + c, n);
    vf out[ROWS];
    for (size_t r = 0; r < rows; r++) {
        const vf value = load_some(x + (ptrdiff_t)r * x_pitch + (ptrdiff_t)c, n);
        const vf g = passed(&map, clamps, low, high, load_some(dy + (ptrdiff_t)r * dy_pitch + (ptrdiff_t)c, n), value);
        out[r] = v_add(v_mul(g, map.gain), v_add(v_mul(v_sub(value, map.mean), by), plus));
    }
    for (size_t r = 0; r < rows; r++) store_some(dx + (ptrdiff_t)r * dx_pitch + (ptrdiff_t)c, out[r], n);
}

FV_ALWAYS_INLINE void input_rows(const fv_norm_map *m, bool clamps, const float *slope, const float *offset,
                                 const float *dy, ptrdiff_t dy_pitch, const float *x, ptrdiff_t x_pitch, float *dx,
                                 ptrdiff_t dx_pitch, size_t channels, const size_t rows) {
    size_t c = 0;
    for (; c + VW <= channels; c += VW)
        input_step(m, clamps, slope, offset, dy, dy_pitch, x, x_pitch, dx, dx_pitch, c, VW, rows);
    if (c < channels)
        input_step(m, clamps, slope, offset, dy, dy_pitch, x, x_pitch, dx, dx_pitch, c, channels - c, rows);
}

FV_ALWAYS_INLINE void input_with(const fv_norm_map *given, bool clamps, const float *slope, const float *offset,
                                 const float *dy, ptrdiff_t dy_pitch, const float *x, ptrdiff_t x_pitch, float *dx,
                                 ptrdiff_t dx_pitch, size_t channels, size_t pixels) {
    const fv_norm_map own = *given, *const m = &own; /* stores of vectors may change anything but what is our own */
    size_t p = 0;
    for (; p + ROWS <= pixels && channels < WIDE; p += ROWS, dy += ROWS * dy_pitch, x += ROWS * x_pitch, dx += ROWS * dx_pitch)
        input_rows(m, clamps, slope, offset, dy, dy_pitch, x, x_pitch, dx, dx_pitch, channels, ROWS);
    for (; p < pixels; p++, dy += dy_pitch, x += x_pitch, dx += dx_pitch)
        input_rows(m, clamps, slope, offset, dy, dy_pitch, x, x_pitch, dx, dx_pitch, channels, 1);
}

static void grad_input(const fv_norm_map *m, const float *slope, const float *offset, const float *dy,
                       ptrdiff_t dy_pitch, const float *x, ptrdiff_t x_pitch, float *dx, ptrdiff_t dx_pitch,
                       size_t channels, size_t pixels) {
    if (fv_norm_clamps(m))
        input_with(m, true, slope, offset, dy, dy_pitch, x, x_pitch, dx, dx_pitch, channels, pixels);
    else
        input_with(m, false, slope, offset, dy, dy_pitch, x, x_pitch, dx, dx_pitch, channels, pixels);
}

static void init_norm(fv_norm_kernels *k) {
    *k = (fv_norm_kernels){moments, merge, combine, apply, grad_sums, grad_input};
}
