/* Softmax and losses over a vector wrapper; included by (isa)/softmax_(isa).c after vec_(isa).h. A row is added up in
 * VW chains, then across; the order depends on the row's length alone. */
#include "kernels/vec_math.h"

/* NaN is passed over: it comes back through the exponentials. */
static inline float row_largest(const float *x, size_t classes) {
    vf top = v_set(-INFINITY);
    size_t c = 0;
    for (; c + VW <= classes; c += VW) top = v_at_least(top, v_load(x + c));
    if (c < classes) top = v_at_least(top, v_keep(v_load_part(x + c, classes - c), classes - c, top));
    return v_largest(top);
}

typedef struct exponential_row {
    float sum, shifted_sum; /* of e^(x - top); of x - top */
    vf tail;                /* e^(x - top) past the row's last whole vector: read back it would wait for its stores */
} exponential_row;

/* Stores e^(x - top) of whole vectors where out is not NULL. */
static inline exponential_row exponentiate_row(const float *x, float *out, size_t classes, float top) {
    const vf base = v_set(top);
    vf sum = v_zero(), shifted_sum = v_zero(), tail = v_zero();
    size_t c = 0;
    for (; c + VW <= classes; c += VW) {
        const vf shifted = v_sub(v_load(x + c), base), e = v_exp(shifted);
        sum = v_add(sum, e);
        shifted_sum = v_add(shifted_sum, shifted);
        if (out) v_store(out + c, e);
    }
    if (c < classes) {
        const size_t n = classes - c;
        const vf shifted = v_sub(v_load_part(x + c, n), base);
        tail = v_keep(v_exp(shifted), n, v_zero());
        sum = v_add(sum, tail);
        shifted_sum = v_add(shifted_sum, v_keep(shifted, n, v_zero()));
    }
    return (exponential_row){v_sum(sum), v_sum(shifted_sum), tail};
}

static void softmax(const float *x, float *y, size_t classes, fv_range rows) {
    for (size_t r = rows.begin; r < rows.end; r++) {
        const float *in = x + r * classes;
        float *out = y + r * classes;
        const exponential_row row = exponentiate_row(in, out, classes, row_largest(in, classes));
        const vf sum = v_set(row.sum);
        size_t c = 0;
        for (; c + VW <= classes; c += VW) v_store(out + c, v_div(v_load(out + c), sum));
        if (c < classes) v_store_part(out + c, v_div(row.tail, sum), classes - c);
    }
}

static void softmax_grad(const float *y, const float *dy, float *dx, size_t classes, fv_range rows) {
    for (size_t r = rows.begin; r < rows.end; r++) {
        const size_t begin = r * classes, end = begin + classes;
        vf dot = v_zero();
        for (size_t i = begin; i < end; i += VW)
            dot = v_fma(v_load_next(dy + i, end - i), v_load_next(y + i, end - i), dot);
        const vf total = v_set(v_sum(dot));
        for (size_t i = begin; i < end; i += VW) {
            const vf difference = v_sub(v_load_next(dy + i, end - i), total);
            v_store_next(dx + i, v_mul(v_load_next(y + i, end - i), difference), end - i);
        }
    }
}

/* Target of a row: `high` at the label, `low` elsewhere. */
typedef struct target_shares {
    float low, high;
} target_shares;

static inline vf entropy_grad(vf e, vf sum, vf share, vf scale) { return v_mul(v_sub(v_div(e, sum), share), scale); }

/* dx holds the whole vectors of e^(x - top); `hot` is that of the label. */
static inline void entropy_row_grad(float *dx, size_t classes, size_t label, float hot, const exponential_row *row,
                                    target_shares t, float scale) {
    const vf sum = v_set(row->sum), low = v_set(t.low), factor = v_set(scale);
    size_t c = 0;
    for (; c + VW <= classes; c += VW) v_store(dx + c, entropy_grad(v_load(dx + c), sum, low, factor));
    if (c < classes) v_store_part(dx + c, entropy_grad(row->tail, sum, low, factor), classes - c);
    v_store_part(dx + label, entropy_grad(v_exp(v_set(hot)), sum, v_set(t.high), factor), 1);
}

/* loss = log(sum) - sum_c t_c (x_c - top), with t = (1-s) onehot + s/classes. VW rows share a logarithm. */
static void cross_entropy(const float *x, const int32_t *label, float *loss, float *dx, size_t classes, float smoothing,
                          float scale, fv_range rows) {
    const float low = smoothing / (float)classes;
    const target_shares shares = {low, 1 - smoothing + low};
    for (size_t r = rows.begin; r < rows.end; r += VW) {
        const size_t count = fv_min_size(rows.end - r, VW);
        float sum[VW] = {0}, linear[VW] = {0};
        for (size_t i = 0; i < count; i++) {
            const size_t at = (r + i) * classes, target = (size_t)label[r + i];
            const float top = row_largest(x + at, classes), hot = x[at + target] - top;
            float *out = dx ? dx + at : NULL;
            const exponential_row row = exponentiate_row(x + at, out, classes, top);
            sum[i] = row.sum;
            linear[i] = smoothing == 0 ? hot : (1 - smoothing) * hot + low * row.shifted_sum;
            if (out) entropy_row_grad(out, classes, target, hot, &row, shares, scale);
        }
        v_store_next(loss + r, v_sub(v_log(v_load(sum)), v_load(linear)), count);
    }
}

static void squared_error(const float *x, const float *target, float *loss, float *dx, size_t classes, float scale,
                          fv_range rows) {
    for (size_t r = rows.begin; r < rows.end; r++) {
        const size_t begin = r * classes, end = begin + classes;
        vf sum = v_zero();
        for (size_t i = begin; i < end; i += VW) {
            const vf d = v_sub(v_load_next(x + i, end - i), v_load_next(target + i, end - i));
            sum = v_fma(d, d, sum);
            if (dx) v_store_next(dx + i, v_mul(d, v_set(scale)), end - i);
        }
        loss[r] = v_sum(sum) / 2;
    }
}

/* VW rows share a logarithm. */
static void log_softmax(const float *x, float *y, size_t classes, fv_range rows) {
    for (size_t r = rows.begin; r < rows.end; r += VW) {
        const size_t count = fv_min_size(rows.end - r, VW);
        float sum[VW] = {0}, top[VW] = {0}, log_sum[VW];
        for (size_t k = 0; k < count; k++) {
            const float *in = x + (r + k) * classes;
            top[k] = row_largest(in, classes);
            sum[k] = exponentiate_row(in, NULL, classes, top[k]).sum;
        }
        v_store(log_sum, v_log(v_load(sum)));
        for (size_t k = 0; k < count; k++) {
            const size_t begin = (r + k) * classes, end = begin + classes;
            const vf base = v_set(top[k]), less = v_set(log_sum[k]);
            for (size_t i = begin; i < end; i += VW)
                v_store_next(y + i, v_sub(v_sub(v_load_next(x + i, end - i), base), less), end - i);
        }
    }
}

static void log_softmax_grad(const float *y, const float *dy, float *dx, size_t classes, fv_range rows) {
    for (size_t r = rows.begin; r < rows.end; r++) {
        const size_t begin = r * classes, end = begin + classes;
        vf sum = v_zero();
        for (size_t i = begin; i < end; i += VW) sum = v_add(sum, v_load_next(dy + i, end - i));
        const vf total = v_set(-v_sum(sum));
        for (size_t i = begin; i < end; i += VW)
            v_store_next(dx + i, v_fma(v_exp(v_load_next(y + i, end - i)), total, v_load_next(dy + i, end - i)), end - i);
    }
}

static inline vf soft_target(const float *target, size_t left, vf keep, vf low) {
    return v_fma(keep, v_load_next(target, left), low);
}

typedef struct soft_row {
    float sum, weight, linear; /* of e^(x - top), of t, of t (x - top) */
} soft_row;

/* dx (may be NULL) = (softmax * sum t - t) * scale; holds e^(x - top) in between. */
static inline soft_row soft_row_of(const float *x, const float *target, float *dx, size_t classes, vf keep, vf low, vf scale) {
    const vf top = v_set(row_largest(x, classes));
    vf sum = v_zero(), weight = v_zero(), linear = v_zero();
    for (size_t c = 0; c < classes; c += VW) {
        const size_t n = fv_min_size(classes - c, VW);
        const vf shifted = v_sub(v_load_next(x + c, n), top), t = v_keep(soft_target(target + c, n, keep, low), n, v_zero());
        const vf e = v_keep(v_exp(shifted), n, v_zero());
        sum = v_add(sum, e);
        weight = v_add(weight, t);
        linear = v_add(linear, v_mul(t, shifted));
        if (dx) v_store_next(dx + c, e, n);
    }
    const soft_row row = {v_sum(sum), v_sum(weight), v_sum(linear)};
    const vf all = v_set(row.sum), share = v_set(row.weight);
    for (size_t c = 0; dx && c < classes; c += VW) {
        const size_t n = fv_min_size(classes - c, VW);
        const vf p = v_div(v_load_next(dx + c, n), all), t = soft_target(target + c, n, keep, low);
        v_store_next(dx + c, v_mul(v_sub(v_mul(p, share), t), scale), n);
    }
    return row;
}

/* VW rows share a logarithm. */
static void soft_cross_entropy(const float *x, const float *target, float *loss, float *dx, size_t classes, float smoothing,
                               float scale, fv_range rows) {
    const vf low = v_set(smoothing / (float)classes), keep = v_set(1 - smoothing), factor = v_set(scale);
    for (size_t r = rows.begin; r < rows.end; r += VW) {
        const size_t count = fv_min_size(rows.end - r, VW);
        float sum[VW] = {0}, weight[VW] = {0}, linear[VW] = {0};
        for (size_t k = 0; k < count; k++) {
            const size_t at = (r + k) * classes;
            const soft_row row = soft_row_of(x + at, target + at, dx ? dx + at : NULL, classes, keep, low, factor);
            sum[k] = row.sum, weight[k] = row.weight, linear[k] = row.linear;
        }
        v_store_next(loss + r, v_sub(v_mul(v_log(v_load(sum)), v_load(weight)), v_load(linear)), count);
    }
}

/* Of labels every class has the target `low` at first; the label's is put right after the row. */
static void entropy(const float *y, const int32_t *label, const float *target, float *loss, float *dx, size_t classes,
                    float smoothing, float scale, fv_range rows) {
    const vf least = v_set(FV_LEAST_PROBABILITY), low = v_set(smoothing / (float)classes), keep = v_set(1 - smoothing);
    const vf factor = v_set(-scale);
    for (size_t r = rows.begin; r < rows.end; r++) {
        const size_t begin = r * classes, end = begin + classes;
        const vf hot = label ? v_at_least(v_set(y[begin + (size_t)label[r]]), least) : v_set(1.0f);
        vf sum = v_zero();
        for (size_t i = begin; i < end; i += VW) {
            const size_t n = fv_min_size(end - i, VW);
            const vf p = v_at_least(v_load_next(y + i, n), least), t = label ? low : soft_target(target + i, n, keep, low);
            sum = v_add(sum, v_keep(v_mul(t, v_log(p)), n, v_zero()));
            if (dx) v_store_next(dx + i, v_mul(v_div(t, p), factor), n);
        }
        const vf total = v_add(v_set(v_sum(sum)), v_mul(keep, v_log(hot))); /* log 1 is 0 */
        v_store_part(loss + r, v_sub(v_zero(), total), 1);
        if (label && dx) v_store_part(dx + begin + (size_t)label[r], v_mul(v_div(v_add(keep, low), hot), factor), 1);
    }
}

static void init_softmax(fv_softmax_kernels *k) {
    *k = (fv_softmax_kernels){softmax, softmax_grad, cross_entropy, squared_error, log_softmax, log_softmax_grad,
                              soft_cross_entropy, entropy};
}
