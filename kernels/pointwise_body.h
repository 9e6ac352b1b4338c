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
        .unary = {unary_relu, unary_sigmoid, unary_tanh, unary_exp, unary_clamp, unary_linear},
        .unary_grad = {grad_relu, grad_sigmoid, grad_tanh, grad_exp, grad_clamp, grad_linear},
        .binary = {binary_add, binary_sub, binary_mul},
        .gain = gain,
        .dropout = dropout,
    };
}
