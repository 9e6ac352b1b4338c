/* Brightness over a vector wrapper: x^-mu without a quotient or a detour, and windows of maps. Part of contrast_body.h.
 */

/* ---- x^-mu ---- */

typedef enum power_kind { POWER_ONE, POWER_HALF, POWER_THREE_QUARTERS, POWER_ANY } power_kind;

typedef struct power_plan {
    vf mu;
    vi low, span; /* bits of x from which on, and by how much more, x and its power are normal */
    power_kind kind;
} power_plan;

static inline power_plan plan_power(float mu) {
    const power_kind kind = mu == 1       ? POWER_ONE
                            : mu == 0.5f  ? POWER_HALF
                            : mu == 0.75f ? POWER_THREE_QUARTERS
                                          : POWER_ANY;
    const int32_t most = mu > 1 ? (int32_t)(125 / mu) : 125;
    return (power_plan){v_set(-mu), vi_set((127 - most) << 23), vi_set(2 * most << 23), kind};
}

/* Vectors side by side, so that the steps of one fill the time that those of another take. */
enum { POWERS = 3, POWER_RUN = 1024 };

/* By pairs of terms, half as long a chain for one product more; the first term last, so that it is rounded once. */
FV_ALWAYS_INLINE void polynomials(const vf *x, vf *p, const size_t vectors, const float *a, const size_t degree) {
    for (size_t k = 0; k < vectors; k++) {
        const vf square = v_mul(x[k], x[k]);
        size_t d = 1 + (degree - 1) / 2 * 2;
        vf sum = d < degree ? v_fma(x[k], v_set(a[d + 1]), v_set(a[d])) : v_set(a[d]);
        while (d > 1) {
            d -= 2;
            sum = v_fma(square, sum, v_fma(x[k], v_set(a[d + 1]), v_set(a[d])));
        }
        p[k] = v_fma(x[k], sum, v_set(a[0]));
    }
}

/* x^-1/2 or x^-3/4: v is x^-1/2 to 3.5 %, or x^-1/4 to 3.2 %, by its bits alone; t = x v^2 - 1, or x v^4 - 1, says how
 * far off it is, and a polynomial, (1 + t)^-1/2 to 2.4e-8 or (1 + t)^-3/4 to 7.2e-8, does the rest: 7 or 10 products
 * instead of two roots and a quotient. */
FV_ALWAYS_INLINE void powers_by_bits(const vf *x, vf *power, const size_t vectors, const bool three_quarters) {
    static const float half[4] = {-0.4999983465f, 0.3750016916f, -0.3139330561f, 0.2736415684f},
                       more[5] = {-0.7500001303f, 0.6561976691f, -0.6014641749f, 0.5750199208f, -0.5495514939f};
    vf t[POWERS], p[POWERS];
    for (size_t k = 0; k < vectors; k++) {
        const vi bits = v_bits(x[k]);
        const vf v = vi_floats(three_quarters ? vi_sub(vi_set(0x4f581000), vi_quarter(bits))
                                              : vi_sub(vi_set(0x5f37642f), vi_half(bits)));
        const vf square = v_mul(v, v), first = three_quarters ? v_mul(x[k], square) : x[k];
        t[k] = v_fma(first, square, v_set(-1));
        power[k] = three_quarters ? v_mul(square, v) : v;
    }
    polynomials(t, p, vectors, three_quarters ? more : half, three_quarters ? 4 : 3);
    for (size_t k = 0; k < vectors; k++) power[k] = v_fma(v_mul(power[k], t[k]), p[k], power[k]);
}

/* 2^(-mu log2 x). log2 to 2.7e-8 of itself, 2^f to 2e-9. */
FV_ALWAYS_INLINE void powers_by_logarithm(const vf *x, vf *power, const power_plan *plan, const size_t vectors) {
    static const float
        log2[9] = {1.442695004f,   -0.7213473468f, 0.4809106429f,  -0.3607036828f, 0.2879162481f,
                   -0.2389448218f, 0.2157156068f,  -0.2072697432f, 0.1258370131f},
        exp2[7] = {1, 0.6931472029f, 0.2402264791f, 5.550332471e-2f, 9.618437358e-3f, 1.339887441e-3f, 1.535336190e-4f};
    const vi root_half = vi_set(0x3f3504f3), to_one = vi_sub(vi_set(0x3f800000), root_half);
    const vf magic = v_set(12582912.0f);
    vf e[POWERS], m[POWERS], p[POWERS], t[POWERS];
    for (size_t k = 0; k < vectors; k++) {
        const vi bits = vi_add(v_bits(x[k]), to_one);
        e[k] = vi_to_float(vi_sub(vi_exponent(bits), vi_set(127)));
        m[k] = v_sub(vi_floats(vi_add(vi_and(bits, vi_set(0x007fffff)), root_half)), v_set(1));
    }
    polynomials(m, p, vectors, log2, 8);
    for (size_t k = 0; k < vectors; k++) {
        const vf by = v_fma(m[k], p[k], e[k]);
        t[k] = v_fma(by, plan->mu, magic);
        m[k] = v_fma(by, plan->mu, v_sub(magic, t[k]));
    }
    polynomials(m, p, vectors, exp2, 6);
    for (size_t k = 0; k < vectors; k++) power[k] = v_scale(p[k], v_bits(t[k]));
}

static vf power_by_definition(vf x, const power_plan *plan) {
    if (plan->kind == POWER_HALF) return v_div(v_set(1), v_sqrt(x));
    if (plan->kind == POWER_THREE_QUARTERS) return v_div(v_set(1), v_mul(v_sqrt(x), v_sqrt(v_sqrt(x))));
    return v_exp(v_mul(plan->mu, v_log(x)));
}

/* Unsigned, at most the span within reach: a sign is far above, and so are zero and what is less than low. */
FV_ALWAYS_INLINE vi reach_of(vf x, const power_plan *plan) { return vi_sub(v_bits(x), plan->low); }
FV_ALWAYS_INLINE vm in_reach(vi reach, const power_plan *plan) {
    return vi_eq(vi_unsigned_max(reach, plan->span), plan->span);
}

/* Lanes that the short ways do not reach: zeros, denormals, infinities, NaN, powers far from 1. */
static __attribute__((noinline)) void powers_far(const vf *x, vf *power, const power_plan *plan, size_t vectors) {
    for (size_t k = 0; k < vectors; k++)
        power[k] = v_select(in_reach(reach_of(x[k], plan), plan), power[k], power_by_definition(x[k], plan));
}

FV_ALWAYS_INLINE void powers_of(const vf *x, vf *power, const power_plan *plan, const size_t vectors,
                                const power_kind kind) {
    if (kind == POWER_ONE) {
        for (size_t k = 0; k < vectors; k++) power[k] = v_div(v_set(1), x[k]);
        return;
    }
    vi reach = reach_of(x[0], plan);
    for (size_t k = 1; k < vectors; k++) reach = vi_unsigned_max(reach, reach_of(x[k], plan));
    if (kind == POWER_ANY)
        powers_by_logarithm(x, power, plan, vectors);
    else
        powers_by_bits(x, power, vectors, kind == POWER_THREE_QUARTERS);
    if (__builtin_expect(v_lanes(in_reach(reach, plan)) != (1u << VW) - 1, 0)) powers_far(x, power, plan, vectors);
}

/* a = (x + plus)^-mu, times `by` if there is any; with b: b = (x + plus)^-mu / (x + plus). Of so many vectors, or n
 * values of one. */
FV_ALWAYS_INLINE void power_step(const float *x, vf plus, const float *by, float *a, float *b, const power_plan *plan,
                                 const size_t vectors, size_t n, const power_kind kind) {
    vf of[POWERS], power[POWERS];
    for (size_t k = 0; k < vectors; k++) of[k] = v_add(v_load_next(x + k * VW, n), plus);
    powers_of(of, power, plan, vectors, kind);
    for (size_t k = 0; k < vectors; k++) {
        v_store_next(a + k * VW, by ? v_mul(v_load_next(by + k * VW, n), power[k]) : power[k], n);
        if (b) v_store_next(b + k * VW, v_div(power[k], of[k]), n);
    }
}

FV_ALWAYS_INLINE void power_run(const power_plan *given, const float *x, float plus, const float *by, float *a,
                                float *b, size_t n, const power_kind kind) {
    const power_plan own = *given; /* stores of vectors may change anything but what is our own */
    size_t i = 0;
    for (; i + POWERS * VW <= n; i += POWERS * VW)
        power_step(x + i, v_set(plus), by ? by + i : NULL, a + i, b ? b + i : NULL, &own, POWERS, VW, kind);
    for (; i < n; i += VW)
        power_step(x + i, v_set(plus), by ? by + i : NULL, a + i, b ? b + i : NULL, &own, 1, n - i, kind);
}

static void powers(const power_plan *plan, const float *x, float plus, float *a, size_t n) {
    if (plan->kind == POWER_ONE) power_run(plan, x, plus, NULL, a, NULL, n, POWER_ONE);
    if (plan->kind == POWER_HALF) power_run(plan, x, plus, NULL, a, NULL, n, POWER_HALF);
    if (plan->kind == POWER_THREE_QUARTERS) power_run(plan, x, plus, NULL, a, NULL, n, POWER_THREE_QUARTERS);
    if (plan->kind == POWER_ANY) power_run(plan, x, plus, NULL, a, NULL, n, POWER_ANY);
}

static void powers_and_slopes(const power_plan *plan, const float *x, float plus, float *a, float *b, size_t n) {
    if (plan->kind == POWER_ONE) power_run(plan, x, plus, NULL, a, b, n, POWER_ONE);
    if (plan->kind == POWER_HALF) power_run(plan, x, plus, NULL, a, b, n, POWER_HALF);
    if (plan->kind == POWER_THREE_QUARTERS) power_run(plan, x, plus, NULL, a, b, n, POWER_THREE_QUARTERS);
    if (plan->kind == POWER_ANY) power_run(plan, x, plus, NULL, a, b, n, POWER_ANY);
}

/* a = by * x^-mu. */
static void power_products(const power_plan *plan, const float *x, const float *by, float *a, size_t n) {
    if (plan->kind == POWER_ONE) power_run(plan, x, 0, by, a, NULL, n, POWER_ONE);
    if (plan->kind == POWER_HALF) power_run(plan, x, 0, by, a, NULL, n, POWER_HALF);
    if (plan->kind == POWER_THREE_QUARTERS) power_run(plan, x, 0, by, a, NULL, n, POWER_THREE_QUARTERS);
    if (plan->kind == POWER_ANY) power_run(plan, x, 0, by, a, NULL, n, POWER_ANY);
}

static void power(const fv_brightness *d, const float *q, float *a, size_t n) {
    const power_plan plan = plan_power(d->mu);
    powers(&plan, q, d->kappa, a, n);
}

static void power_grad(const fv_brightness *d, const float *q, const float *s, float *a, float *b, size_t n) {
    const power_plan plan = plan_power(d->mu);
    const vf factor = v_set(-2 * d->lambda * d->mu);
    for (size_t i = 0; i < n; i += POWER_RUN) {
        const size_t some = fv_min_size(n - i, POWER_RUN);
        powers_and_slopes(&plan, q + i, d->kappa, a + i, b + i, some);
        for (size_t k = i; k < i + some; k += VW) {
            const vf by = v_mul(factor, v_load_next(s + k, i + some - k));
            v_store_next(b + k, v_mul(by, v_load_next(b + k, i + some - k)), i + some - k);
        }
    }
}

/* ---- windows of maps ---- */

/* Of a block of pixels the squares lie in scratch with zeros around each, so that windows are sums of shifted loads;
 * what the powers are taken of, and the powers, lie without gaps as x does. Three short steps rather than one: their
 * chains of operations are longer than the hardware looks ahead. */
typedef struct local_plan {
    fv_brightness d;
    power_plan power;
    size_t channels, count, row; /* maps of a window; values of a padded pixel */
    float *squares, *shares, *sums, *slopes;
} local_plan;

static inline local_plan plan_local(const fv_brightness *d, void *scratch) {
    const size_t row = fv_local_row(d), part = FV_LOCAL_BLOCK * row;
    float *first = scratch;
    memset(scratch, 0, 2 * part * sizeof(float));
    return (local_plan){
        *d,           plan_power(d->mu), (size_t)d->channels, (size_t)d->before + (size_t)d->after + 1, row, first,
        first + part, first + 2 * part,  first + 3 * part};
}

/* The sum of `count` values that follow each lane's own. */
FV_ALWAYS_INLINE vf neighbours(const float *padded, size_t count) {
    vf even = v_load(padded), odd = v_zero();
    size_t k = 1;
    for (; k + 1 < count; k += 2) {
        odd = v_add(odd, v_load(padded + k));
        even = v_add(even, v_load(padded + k + 1));
    }
    if (k < count) odd = v_add(odd, v_load(padded + k));
    return v_add(even, odd);
}

static inline void put_squares(const local_plan *l, const float *x, size_t pixels) {
    for (size_t p = 0; p < pixels; p++, x += l->channels)
        for (size_t c = 0; c < l->channels; c += VW) {
            const vf v = v_load_next(x + c, l->channels - c);
            v_store(l->squares + p * l->row + (size_t)l->d.before + c, v_mul(v, v));
        }
}

/* A last vector of a pixel reaches into the next pixel's place, which is written after it. */
FV_ALWAYS_INLINE void put_sums(const local_plan *l, size_t pixels, const size_t count) {
    const vf kappa = v_set(l->d.kappa), lambda = v_set(l->d.lambda);
    for (size_t p = 0; p < pixels; p++)
        for (size_t c = 0; c < l->channels; c += VW)
            v_store(l->sums + p * l->channels + c,
                    v_fma(neighbours(l->squares + p * l->row + c, count), lambda, kappa));
}

/* b with zeros around each pixel. */
static inline void put_shares(const local_plan *l, const float *x, const float *dy, size_t pixels) {
    const vf factor = v_set(-2 * l->d.lambda * l->d.mu);
    for (size_t p = 0; p < pixels; p++)
        for (size_t c = 0; c < l->channels; c += VW) {
            const size_t at = p * l->channels + c, n = l->channels - c;
            const vf product = v_mul(v_load_next(dy + at, n), v_load_next(x + at, n));
            const vf share = v_mul(v_mul(factor, product), v_load(l->slopes + at));
            v_store(l->shares + p * l->row + (size_t)l->d.after + c, n < VW ? v_keep(share, n, v_zero()) : share);
        }
}

FV_ALWAYS_INLINE void put_gradient(const local_plan *l, const float *x, const float *dy, float *dx, size_t pixels,
                                   const size_t count) {
    for (size_t p = 0; p < pixels; p++)
        for (size_t c = 0; c < l->channels; c += VW) {
            const size_t at = p * l->channels + c, n = l->channels - c;
            const vf own = v_mul(v_load_next(dy + at, n), v_load(l->sums + at));
            v_store_next(dx + at, v_fma(v_load_next(x + at, n), neighbours(l->shares + p * l->row + c, count), own), n);
        }
}

/* Windows of one map: nothing is near. Of so many vectors, or n values of one. */
FV_ALWAYS_INLINE void lone_step(const local_plan *l, const float *x, const float *dy, float *y, const size_t vectors,
                                size_t n, const power_kind kind) {
    const vf kappa = v_set(l->d.kappa), lambda = v_set(l->d.lambda), factor = v_set(-2 * l->d.lambda * l->d.mu);
    vf v[POWERS], q[POWERS], f[POWERS];
    for (size_t k = 0; k < vectors; k++) {
        v[k] = v_load_next(x + k * VW, n);
        q[k] = v_fma(v_mul(v[k], v[k]), lambda, kappa);
    }
    powers_of(q, f, &l->power, vectors, kind);
    for (size_t k = 0; k < vectors; k++) {
        const vf g = v_load_next(dy ? dy + k * VW : x + k * VW, n), own = v_mul(g, f[k]);
        const vf share = v_mul(v_mul(factor, v_mul(g, v[k])), v_div(f[k], q[k]));
        v_store_next(y + k * VW, dy ? v_fma(v[k], share, own) : own, n);
    }
}

FV_ALWAYS_INLINE void lone_run(const local_plan *given, const float *x, const float *dy, float *y, size_t n,
                               const power_kind kind) {
    const local_plan own = *given; /* stores of vectors may change anything but what is our own */
    size_t i = 0;
    for (; i + POWERS * VW <= n; i += POWERS * VW) lone_step(&own, x + i, dy ? dy + i : NULL, y + i, POWERS, VW, kind);
    for (; i < n; i += VW) lone_step(&own, x + i, dy ? dy + i : NULL, y + i, 1, n - i, kind);
}

static void lone(const local_plan *l, const float *x, float *y, size_t n) {
    if (l->power.kind == POWER_ONE) lone_run(l, x, NULL, y, n, POWER_ONE);
    if (l->power.kind == POWER_HALF) lone_run(l, x, NULL, y, n, POWER_HALF);
    if (l->power.kind == POWER_THREE_QUARTERS) lone_run(l, x, NULL, y, n, POWER_THREE_QUARTERS);
    if (l->power.kind == POWER_ANY) lone_run(l, x, NULL, y, n, POWER_ANY);
}

static void lone_grad(const local_plan *l, const float *x, const float *dy, float *dx, size_t n) {
    if (l->power.kind == POWER_ONE) lone_run(l, x, dy, dx, n, POWER_ONE);
    if (l->power.kind == POWER_HALF) lone_run(l, x, dy, dx, n, POWER_HALF);
    if (l->power.kind == POWER_THREE_QUARTERS) lone_run(l, x, dy, dx, n, POWER_THREE_QUARTERS);
    if (l->power.kind == POWER_ANY) lone_run(l, x, dy, dx, n, POWER_ANY);
}

/* count: of the maps of a window, known where it is the usual one. */
FV_ALWAYS_INLINE void local_block(const local_plan *l, const float *x, float *y, size_t pixels, const size_t count) {
    put_squares(l, x, pixels);
    put_sums(l, pixels, count);
    power_products(&l->power, l->sums, x, y, pixels * l->channels);
}

FV_ALWAYS_INLINE void local_grad_block(const local_plan *l, const float *x, const float *dy, float *dx, size_t pixels,
                                       const size_t count) {
    put_squares(l, x, pixels);
    put_sums(l, pixels, count);
    powers_and_slopes(&l->power, l->sums, 0, l->sums, l->slopes, pixels * l->channels);
    put_shares(l, x, dy, pixels);
    put_gradient(l, x, dy, dx, pixels, count);
}

static void local(const fv_brightness *d, const float *x, float *y, fv_range pixels, void *scratch) {
    const local_plan l = plan_local(d, scratch);
    const size_t at = pixels.begin * l.channels;
    if (l.count == 1) lone(&l, x + at, y + at, (pixels.end - pixels.begin) * l.channels);
    for (size_t p = pixels.begin; p < pixels.end && l.count > 1; p += FV_LOCAL_BLOCK) {
        const size_t some = fv_min_size(FV_LOCAL_BLOCK, pixels.end - p), i = p * l.channels;
        if (l.count == 5)
            local_block(&l, x + i, y + i, some, 5);
        else
            local_block(&l, x + i, y + i, some, l.count);
    }
}

static void local_grad(const fv_brightness *d, const float *x, const float *dy, float *dx, fv_range pixels,
                       void *scratch) {
    const local_plan l = plan_local(d, scratch);
    const size_t at = pixels.begin * l.channels;
    if (l.count == 1) lone_grad(&l, x + at, dy + at, dx + at, (pixels.end - pixels.begin) * l.channels);
    for (size_t p = pixels.begin; p < pixels.end && l.count > 1; p += FV_LOCAL_BLOCK) {
        const size_t some = fv_min_size(FV_LOCAL_BLOCK, pixels.end - p), i = p * l.channels;
        if (l.count == 5)
            local_grad_block(&l, x + i, dy + i, dx + i, some, 5);
        else
            local_grad_block(&l, x + i, dy + i, dx + i, some, l.count);
    }
}
