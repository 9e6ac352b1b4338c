/* Element-wise kernels over a vector wrapper; included by (isa)/pointwise_(isa).c after vec_(isa).h. A tail takes the
 * same steps on a part of a vector, so that an element's bits do not depend on its place. */
#include "kernels/philox.h"
#include "kernels/vec_math.h"

typedef vf (*unary_step)(vf x, vf a, vf b);
typedef vf (*pair_step)(vf x1, vf x2, vf a, vf b);

FV_ALWAYS_INLINE void run_unary(unary_step step, const float *x, float *y, size_t n, float a, float b) {
    const vf va = v_set(a), vb = v_set(b);
    size_t i = 0;
    for (; i + VW <= n; i += VW) v_store(y + i, step(v_load(x + i), va, vb));
    if (i < n) v_store_part(y + i, step(v_load_part(x + i, n - i), va, vb), n - i);
}

FV_ALWAYS_INLINE void run_pair(pair_step step, const float *x1, const float *x2, float *y, size_t n, float a, float b) {
    const vf va = v_set(a), vb = v_set(b);
    size_t i = 0;
    for (; i + VW <= n; i += VW) v_store(y + i, step(v_load(x1 + i), v_load(x2 + i), va, vb));
    if (i == n) return;
    const vf tail1 = v_load_part(x1 + i, n - i), tail2 = v_load_part(x2 + i, n - i);
    v_store_part(y + i, step(tail1, tail2, va, vb), n - i);
}

static inline vf relu_step(vf x, vf a, vf b) {
    (void)a, (void)b;
    return v_at_least(x, v_zero());
}

static inline vf sigmoid_step(vf x, vf a, vf b) {
    (void)a, (void)b;
    return v_sigmoid(x);
}

static inline vf tanh_step(vf x, vf a, vf b) {
    (void)a, (void)b;
    return v_tanh(x);
}

static inline vf exp_step(vf x, vf a, vf b) {
    (void)a, (void)b;
    return v_exp(x);
}

static inline vf clamp_step(vf x, vf a, vf b) { return v_at_most(v_at_least(x, a), b); }

static inline vf linear_step(vf x, vf a, vf b) { return v_add(v_mul(x, a), b); }

static inline vf relu_grad_step(vf y, vf dy, vf a, vf b) {
    (void)a, (void)b;
    return v_where(v_gt(y, v_zero()), dy);
}

static inline vf sigmoid_grad_step(vf y, vf dy, vf a, vf b) {
    (void)a, (void)b;
    return v_mul(dy, v_mul(y, v_sub(v_set(1.0f), y)));
}

static inline vf tanh_grad_step(vf y, vf dy, vf a, vf b) {
    (void)a, (void)b;
    return v_mul(dy, v_sub(v_set(1.0f), v_mul(y, y)));
}

static inline vf clamp_grad_step(vf y, vf dy, vf a, vf b) { return v_where(v_both(v_gt(y, a), v_lt(y, b)), dy); }

static inline vf linear_grad_step(vf dy, vf a, vf b) {
    (void)b;
    return v_mul(dy, a);
}

/* ---- kinds whose gradient reads the input ---- */

static inline vf minus_abs(vf x) { return v_or(x, v_set(-0.0f)); }

static inline vf softplus_step(vf x, vf k, vf b) {
    (void)b;
    return v_add(v_at_least(x, v_zero()), v_div(v_log1p_unit(v_exp(minus_abs(v_mul(k, x)))), k));
}

static inline vf smooth_abs_step(vf x, vf k, vf b) {
    (void)b;
    return v_fma(v_log_mean(minus_abs(v_mul(k, x))), v_div(v_set(2.0f), k), v_abs(x));
}

static inline vf abs_step(vf x, vf a, vf b) {
    (void)a, (void)b;
    return v_abs(x);
}

static inline vf leaky_relu_step(vf x, vf a, vf b) {
    (void)b;
    return v_select(v_gt(x, v_zero()), x, v_mul(a, x));
}

static inline vf elu_step(vf x, vf a, vf b) {
    return v_mul(b, v_select(v_gt(x, v_zero()), x, v_mul(a, v_expm1_below(v_at_most(x, v_zero())))));
}

static inline vf erf_step(vf x, vf a, vf b) {
    (void)a, (void)b;
    return v_erf(x);
}

static inline vf v_normal(vf x) {
    const vf half = v_set(0.5f);
    return v_fma(half, v_erf(v_mul(x, v_set(0.707106781186547524f))), half);
}

static inline vf gelu_step(vf x, vf a, vf b) {
    (void)a, (void)b;
    return v_mul(x, v_normal(x));
}

static inline vf gelu_tanh_argument(vf x) {
    const vf cube = v_mul(x, v_mul(x, x));
    return v_mul(v_set(1.59576912160573071f), v_fma(v_set(0.044715f), cube, x));
}

static inline vf gelu_tanh_step(vf x, vf a, vf b) {
    (void)a, (void)b;
    return v_mul(x, v_sigmoid(gelu_tanh_argument(x)));
}

static inline vf silu_step(vf x, vf a, vf b) {
    (void)a, (void)b;
    return v_mul(x, v_sigmoid(x));
}

typedef struct mish_parts {
    vf e, over, rest;
} mish_parts;

static inline mish_parts mish_of(vf x) {
    const vm below = v_lt(x, v_zero());
    const vf e = v_exp(minus_abs(x)), two = v_set(2.0f);
    return (mish_parts){e, v_select(below, v_mul(e, v_add(e, two)), v_add(v_add(e, e), v_set(1.0f))),
                        v_select(below, two, v_mul(two, v_mul(e, e)))};
}

static inline vf mish_step(vf x, vf a, vf b) {
    (void)a, (void)b;
    const mish_parts m = mish_of(x);
    return v_mul(x, v_div(m.over, v_add(m.over, m.rest)));
}

static inline vf v_clamped(vf x, float low, float high) { return v_at_most(v_at_least(x, v_set(low)), v_set(high)); }

static inline vf hard_sigmoid_step(vf x, vf a, vf b) { return v_clamped(v_add(v_mul(a, x), b), 0.0f, 1.0f); }

static inline vf hard_swish_step(vf x, vf a, vf b) {
    (void)a, (void)b;
    return v_mul(x, v_clamped(v_add(v_mul(x, v_set((float)(1.0 / 6))), v_set(0.5f)), 0.0f, 1.0f));
}

static inline vf softsign_step(vf x, vf a, vf b) {
    (void)a, (void)b;
    return v_div(x, v_add(v_set(1.0f), v_abs(x)));
}

static inline vf softplus_grad_step(vf x, vf dy, vf k, vf b) {
    (void)b;
    return v_mul(dy, v_sigmoid(v_mul(k, x)));
}

static inline vf smooth_abs_grad_step(vf x, vf dy, vf k, vf b) {
    (void)b;
    return v_mul(dy, v_tanh(v_mul(v_mul(k, v_set(0.5f)), x)));
}

static inline vf abs_grad_step(vf x, vf dy, vf a, vf b) {
    (void)a, (void)b;
    const vf minus = v_select(v_lt(x, v_zero()), v_mul(dy, v_set(-1.0f)), v_zero());
    return v_select(v_gt(x, v_zero()), dy, minus);
}

static inline vf leaky_relu_grad_step(vf x, vf dy, vf a, vf b) {
    (void)b;
    return v_select(v_gt(x, v_zero()), dy, v_mul(a, dy));
}

static inline vf elu_grad_step(vf x, vf dy, vf a, vf b) {
    return v_mul(dy, v_mul(b, v_select(v_gt(x, v_zero()), v_set(1.0f), v_mul(a, v_exp(x)))));
}

static inline vf erf_grad_step(vf x, vf dy, vf a, vf b) {
    (void)a, (void)b;
    return v_mul(dy, v_mul(v_set(1.12837916709551257f), v_exp(minus_abs(v_mul(x, x)))));
}

static inline vf gelu_grad_step(vf x, vf dy, vf a, vf b) {
    (void)a, (void)b;
    const vf v = v_clamped(x, -20.0f, 20.0f);
    const vf density = v_mul(v_set(0.398942280401432678f), v_exp(v_mul(v_set(-0.5f), v_mul(v, v))));
    return v_mul(dy, v_fma(v, density, v_normal(v)));
}

static inline vf gelu_tanh_grad_step(vf x, vf dy, vf a, vf b) {
    (void)a, (void)b;
    const vf v = v_clamped(x, -20.0f, 20.0f), w = gelu_tanh_argument(v), one = v_set(1.0f);
    const vf e = v_exp(minus_abs(w)), s = v_add(one, e), half = v_div(v_select(v_lt(w, v_zero()), e, one), s);
    const vf inner = v_mul(v_set(1.59576912160573071f), v_fma(v_set(3 * 0.044715f), v_mul(v, v), one));
    return v_mul(dy, v_fma(v, v_mul(v_div(e, v_mul(s, s)), inner), half));
}

static inline vf silu_grad_step(vf x, vf dy, vf a, vf b) {
    (void)a, (void)b;
    const vf v = v_clamped(x, -100.0f, 100.0f), one = v_set(1.0f), e = v_exp(minus_abs(v)), s = v_add(one, e);
    const vf sigmoid = v_div(v_select(v_lt(v, v_zero()), e, one), s);
    return v_mul(dy, v_fma(v, v_div(e, v_mul(s, s)), sigmoid));
}

static inline vf mish_grad_step(vf x, vf dy, vf a, vf b) {
    (void)a, (void)b;
    const vf v = v_clamped(x, -100.0f, 100.0f), one = v_set(1.0f);
    const mish_parts m = mish_of(v);
    const vf sum = v_add(m.over, m.rest), t = v_div(m.over, sum);
    const vf sigmoid = v_div(v_select(v_lt(v, v_zero()), m.e, one), v_add(one, m.e));
    const vf slope = v_mul(v_mul(v_div(m.rest, sum), v_add(one, t)), sigmoid);
    return v_mul(dy, v_fma(v, slope, t));
}

static inline vf hard_sigmoid_grad_step(vf y, vf dy, vf a, vf b) {
    (void)b;
    return v_where(v_both(v_gt(y, v_zero()), v_lt(y, v_set(1.0f))), v_mul(dy, a));
}

static inline vf hard_swish_grad_step(vf x, vf dy, vf a, vf b) {
    (void)a, (void)b;
    const vf three = v_set(3.0f), inside = v_add(v_mul(x, v_set((float)(1.0 / 3))), v_set(0.5f));
    const vf upper = v_select(v_lt(x, three), inside, v_set(1.0f));
    return v_mul(dy, v_where(v_gt(x, v_set(-3.0f)), upper));
}

static inline vf softsign_grad_step(vf x, vf dy, vf a, vf b) {
    (void)a, (void)b;
    const vf s = v_add(v_set(1.0f), v_abs(x));
    return v_div(dy, v_mul(s, s));
}

static inline vf add_step(vf x1, vf x2, vf a, vf b) {
    (void)a, (void)b;
    return v_add(x1, x2);
}

static inline vf sub_step(vf x1, vf x2, vf a, vf b) {
    (void)a, (void)b;
    return v_sub(x1, x2);
}

static inline vf mul_step(vf x1, vf x2, vf a, vf b) {
    (void)a, (void)b;
    return v_mul(x1, x2);
}

static void unary_relu(const float *x, float *y, size_t n, float a, float b) { run_unary(relu_step, x, y, n, a, b); }

static void unary_sigmoid(const float *x, float *y, size_t n, float a, float b) {
    run_unary(sigmoid_step, x, y, n, a, b);
}

static void unary_tanh(const float *x, float *y, size_t n, float a, float b) { run_unary(tanh_step, x, y, n, a, b); }

static void unary_exp(const float *x, float *y, size_t n, float a, float b) { run_unary(exp_step, x, y, n, a, b); }

static void unary_clamp(const float *x, float *y, size_t n, float a, float b) { run_unary(clamp_step, x, y, n, a, b); }

static void unary_linear(const float *x, float *y, size_t n, float a, float b) {
    run_unary(linear_step, x, y, n, a, b);
}

static void grad_relu(const float *y, const float *dy, float *dx, size_t n, float a, float b) {
    run_pair(relu_grad_step, y, dy, dx, n, a, b);
}

static void grad_sigmoid(const float *y, const float *dy, float *dx, size_t n, float a, float b) {
    run_pair(sigmoid_grad_step, y, dy, dx, n, a, b);
}

static void grad_tanh(const float *y, const float *dy, float *dx, size_t n, float a, float b) {
    run_pair(tanh_grad_step, y, dy, dx, n, a, b);
}

static void grad_exp(const float *y, const float *dy, float *dx, size_t n, float a, float b) {
    run_pair(mul_step, y, dy, dx, n, a, b);
}

static void grad_clamp(const float *y, const float *dy, float *dx, size_t n, float a, float b) {
    run_pair(clamp_grad_step, y, dy, dx, n, a, b);
}

static void grad_linear(const float *kept, const float *dy, float *dx, size_t n, float a, float b) {
    (void)kept;
    run_unary(linear_grad_step, dy, dx, n, a, b);
}

static void unary_softplus(const float *x, float *y, size_t n, float a, float b) { run_unary(softplus_step, x, y, n, a, b); }
static void unary_smooth_abs(const float *x, float *y, size_t n, float a, float b) { run_unary(smooth_abs_step, x, y, n, a, b); }
static void unary_abs(const float *x, float *y, size_t n, float a, float b) { run_unary(abs_step, x, y, n, a, b); }
static void unary_leaky_relu(const float *x, float *y, size_t n, float a, float b) { run_unary(leaky_relu_step, x, y, n, a, b); }
static void unary_elu(const float *x, float *y, size_t n, float a, float b) { run_unary(elu_step, x, y, n, a, b); }
static void unary_erf(const float *x, float *y, size_t n, float a, float b) { run_unary(erf_step, x, y, n, a, b); }
static void unary_gelu(const float *x, float *y, size_t n, float a, float b) { run_unary(gelu_step, x, y, n, a, b); }
static void unary_gelu_tanh(const float *x, float *y, size_t n, float a, float b) { run_unary(gelu_tanh_step, x, y, n, a, b); }
static void unary_silu(const float *x, float *y, size_t n, float a, float b) { run_unary(silu_step, x, y, n, a, b); }
static void unary_mish(const float *x, float *y, size_t n, float a, float b) { run_unary(mish_step, x, y, n, a, b); }
static void unary_hard_sigmoid(const float *x, float *y, size_t n, float a, float b) {
    run_unary(hard_sigmoid_step, x, y, n, a, b);
}
static void unary_hard_swish(const float *x, float *y, size_t n, float a, float b) { run_unary(hard_swish_step, x, y, n, a, b); }
static void unary_softsign(const float *x, float *y, size_t n, float a, float b) { run_unary(softsign_step, x, y, n, a, b); }

static void grad_softplus(const float *kept, const float *dy, float *dx, size_t n, float a, float b) {
    run_pair(softplus_grad_step, kept, dy, dx, n, a, b);
}
static void grad_smooth_abs(const float *kept, const float *dy, float *dx, size_t n, float a, float b) {
    run_pair(smooth_abs_grad_step, kept, dy, dx, n, a, b);
}
static void grad_abs(const float *kept, const float *dy, float *dx, size_t n, float a, float b) {
    run_pair(abs_grad_step, kept, dy, dx, n, a, b);
}
static void grad_leaky_relu(const float *kept, const float *dy, float *dx, size_t n, float a, float b) {
    run_pair(leaky_relu_grad_step, kept, dy, dx, n, a, b);
}
static void grad_elu(const float *kept, const float *dy, float *dx, size_t n, float a, float b) {
    run_pair(elu_grad_step, kept, dy, dx, n, a, b);
}
static void grad_erf(const float *kept, const float *dy, float *dx, size_t n, float a, float b) {
    run_pair(erf_grad_step, kept, dy, dx, n, a, b);
}
static void grad_gelu(const float *kept, const float *dy, float *dx, size_t n, float a, float b) {
    run_pair(gelu_grad_step, kept, dy, dx, n, a, b);
}
static void grad_gelu_tanh(const float *kept, const float *dy, float *dx, size_t n, float a, float b) {
    run_pair(gelu_tanh_grad_step, kept, dy, dx, n, a, b);
}
static void grad_silu(const float *kept, const float *dy, float *dx, size_t n, float a, float b) {
    run_pair(silu_grad_step, kept, dy, dx, n, a, b);
}
static void grad_mish(const float *kept, const float *dy, float *dx, size_t n, float a, float b) {
    run_pair(mish_grad_step, kept, dy, dx, n, a, b);
}
static void grad_hard_sigmoid(const float *kept, const float *dy, float *dx, size_t n, float a, float b) {
    run_pair(hard_sigmoid_grad_step, kept, dy, dx, n, a, b);
}
static void grad_hard_swish(const float *kept, const float *dy, float *dx, size_t n, float a, float b) {
    run_pair(hard_swish_grad_step, kept, dy, dx, n, a, b);
}
static void grad_softsign(const float *kept, const float *dy, float *dx, size_t n, float a, float b) {
    run_pair(softsign_grad_step, kept, dy, dx, n, a, b);
}

static void binary_add(const float *x1, const float *x2, float *y, size_t n) { run_pair(add_step, x1, x2, y, n, 0, 0); }

static void binary_sub(const float *x1, const float *x2, float *y, size_t n) { run_pair(sub_step, x1, x2, y, n, 0, 0); }

static void binary_mul(const float *x1, const float *x2, float *y, size_t n) { run_pair(mul_step, x1, x2, y, n, 0, 0); }

static inline vf gain_step(vf x, vf factor, vf shift) { return v_add(v_mul(x, factor), shift); }

/* No shift is a shift by -0, which leaves every value as it is. */
static void gain(const float *x, ptrdiff_t x_pitch, const float *factor, const float *shift, float *y,
                 ptrdiff_t y_pitch, size_t channels, size_t pixels) {
    for (size_t p = 0; p < pixels; p++, x += x_pitch, y += y_pitch) {
        size_t c = 0;
        for (; c + VW <= channels; c += VW) {
            const vf s = shift ? v_load(shift + c) : v_set(-0.0f);
            v_store(y + c, gain_step(v_load(x + c), v_load(factor + c), s));
        }
        if (c == channels) continue;
        const size_t n = channels - c;
        const vf s = shift ? v_load_part(shift + c, n) : v_set(-0.0f);
        v_store_part(y + c, gain_step(v_load_part(x + c, n), v_load_part(factor + c, n), s), n);
    }
}

static inline vf prelu_step(vf x, vf slope) { return v_select(v_gt(x, v_zero()), x, v_mul(slope, x)); }

static void prelu(const float *x, ptrdiff_t x_pitch, const float *slope, float *y, ptrdiff_t y_pitch, size_t channels,
                  size_t pixels) {
    for (size_t p = 0; p < pixels; p++, x += x_pitch, y += y_pitch) {
        size_t c = 0;
        for (; c + VW <= channels; c += VW) v_store(y + c, prelu_step(v_load(x + c), v_load(slope + c)));
        if (c == channels) continue;
        const size_t n = channels - c;
        v_store_part(y + c, prelu_step(v_load_part(x + c, n), v_load_part(slope + c, n)), n);
    }
}

/* `vectors` vectors of channels go down all the pixels; `last` lanes of the last one. */
FV_ALWAYS_INLINE void prelu_columns(const float *x, const float *slope, const float *dy, float *dx, float *dslope,
                                    ptrdiff_t pitch, size_t pixels, size_t vectors, size_t last) {
    vf sum[2] = {v_zero(), v_zero()};
    for (size_t p = 0; p < pixels; p++, x += pitch, dy += pitch, dx += pitch)
        for (size_t k = 0; k < vectors; k++) {
            const size_t n = k + 1 == vectors ? last : VW;
            const vf v = v_load_next(x + k * VW, n), g = v_load_next(dy + k * VW, n);
            const vm above = v_gt(v, v_zero());
            sum[k] = v_select(above, sum[k], v_fma(v, g, sum[k]));
            v_store_next(dx + k * VW, v_select(above, g, v_mul(v_load_next(slope + k * VW, n), g)), n);
        }
    for (size_t k = 0; k < vectors; k++) v_store_next(dslope + k * VW, sum[k], k + 1 == vectors ? last : VW);
}

static void prelu_grad(const float *x, const float *slope, const float *dy, float *dx, float *dslope, ptrdiff_t pitch,
                       size_t channels, size_t pixels) {
    size_t c = 0;
    for (; c + 2 * VW <= channels; c += 2 * VW)
        prelu_columns(x + c, slope + c, dy + c, dx + c, dslope + c, pitch, pixels, 2, VW);
    for (; c < channels; c += VW)
        prelu_columns(x + c, slope + c, dy + c, dx + c, dslope + c, pitch, pixels, 1, fv_min_size(channels - c, VW));
}

/* The words of VW blocks from `first` on, block after block. */
static inline void philox_blocks(uint64_t first, const uint32_t key[2], const uint32_t stream[2],
                                 int32_t words[4 * VW]) {
    vi c0, c1, c2 = vi_set((int32_t)stream[0]), c3 = vi_set((int32_t)stream[1]);
    vi_count(first, &c0, &c1);
    uint32_t k0 = key[0], k1 = key[1];
    for (int round = 0; round < 10; round++, k0 += FV_PHILOX_W0, k1 += FV_PHILOX_W1) {
        vi high0, low0, high1, low1;
        vi_multiply(c0, FV_PHILOX_M0, &high0, &low0);
        vi_multiply(c2, FV_PHILOX_M1, &high1, &low1);
        c0 = vi_xor(vi_xor(high1, c1), vi_set((int32_t)k0));
        c1 = low1;
        c2 = vi_xor(vi_xor(high0, c3), vi_set((int32_t)k1));
        c3 = low0;
    }
    vi_store_4(words, c0, c1, c2, c3);
}

/* The first turn reaches to the end of its VW blocks, so that later ones begin at a block's first word. */
static void dropout(const float *x, float *y, size_t n, uint64_t first, const uint32_t key[2], const uint32_t stream[2],
                    float ratio) {
    const uint32_t threshold = (uint32_t)(ratio * 16777216);
    const vf divisor = v_set(1 - ratio);
    for (size_t done = 0, count; done < n; done += count) {
        const size_t skip = (size_t)((first + done) % 4);
        count = fv_min_size(n - done, 4 * VW - skip);
        int32_t words[4 * VW];
        philox_blocks((first + done) / 4, key, stream, words);
        for (size_t i = 0; i < count; i += VW) {
            const size_t left = count - i;
            const int32_t *word = words + skip + i;
            const vm keeps = vi_keeps(left < VW ? vi_load_part(word, left) : vi_load(word), threshold);
            const vf value = v_div(v_load_next(x + done + i, left), divisor);
            v_store_next(y + done + i, v_where(keeps, value), left);
        }
    }
}

static void init_pointwise(fv_pointwise_kernels *k) {
    *k = (fv_pointwise_kernels){
        .unary = {unary_relu, unary_sigmoid, unary_tanh, unary_exp, unary_clamp, unary_linear, unary_softplus,
                  unary_smooth_abs, unary_relu, unary_abs, unary_leaky_relu, unary_elu, unary_erf, unary_gelu,
                  unary_gelu_tanh, unary_silu, unary_mish, unary_hard_sigmoid, unary_hard_swish, unary_softsign},
        .unary_grad = {grad_relu, grad_sigmoid, grad_tanh, grad_exp, grad_clamp, grad_linear, grad_softplus,
                       grad_smooth_abs, grad_softplus, grad_abs, grad_leaky_relu, grad_elu, grad_erf, grad_gelu,
                       grad_gelu_tanh, grad_silu, grad_mish, grad_hard_sigmoid, grad_hard_swish, grad_softsign},
        .binary = {binary_add, binary_sub, binary_mul},
        .gain = gain,
        .prelu = prelu,
        .prelu_grad = prelu_grad,
        .dropout = dropout,
    };
}
