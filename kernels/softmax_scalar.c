#include "kernels/kernels.h"
#include "kernels/scalar_math.h"

static fv_real row_max(const fv_real *x, size_t n) {
    fv_real top = x[0];
    for (size_t c = 1; c < n; c++) top = x[c] > top ? x[c] : top;
    return top;
}

static void softmax_scalar(const fv_real *x, fv_real *y, size_t classes, fv_range rows) {
    for (size_t r = rows.begin; r < rows.end; r++) {
        const fv_real *in = x + r * classes;
        fv_real *out = y + r * classes;
        const fv_real top = row_max(in, classes);
        fv_real sum = 0;
        for (size_t c = 0; c < classes; c++) sum += out[c] = fv_exp(in[c] - top);
        for (size_t c = 0; c < classes; c++) out[c] = out[c] / sum;
    }
}

static void softmax_grad_scalar(const fv_real *y, const fv_real *dy, fv_real *dx, size_t classes, fv_range rows) {
    for (size_t r = rows.begin; r < rows.end; r++) {
        const size_t at = r * classes;
        fv_real dot = 0;
        for (size_t c = 0; c < classes; c++) dot += dy[at + c] * y[at + c];
        for (size_t c = 0; c < classes; c++) dx[at + c] = y[at + c] * (dy[at + c] - dot);
    }
}

/* loss = log(sum) - sum_c t_c (x_c - top), with t = (1-s) onehot + s/classes. */
static void cross_entropy_scalar(const fv_real *x, const int32_t *label, fv_real *loss, fv_real *dx, size_t classes,
                                 fv_real smoothing, fv_real scale, fv_range rows) {
    const fv_real low = smoothing / (fv_real)classes, high = 1 - smoothing + low;
    for (size_t r = rows.begin; r < rows.end; r++) {
        const fv_real *in = x + r * classes;
        const size_t target = (size_t)label[r];
        const fv_real top = row_max(in, classes);
        fv_real sum = 0, all = 0;
        for (size_t c = 0; c < classes; c++) sum += fv_exp(in[c] - top), all += in[c] - top;
        const fv_real log_sum = fv_log(sum);
        loss[r] = smoothing == 0 ? log_sum - (in[target] - top)
                                 : log_sum - ((1 - smoothing) * (in[target] - top) + low * all);
        if (!dx) continue;
        const fv_real hot = in[target];
        fv_real *out = dx + r * classes;
        for (size_t c = 0; c < classes; c++)
            if (c != target) out[c] = (fv_exp(in[c] - top) / sum - low) * scale;
        out[target] = (fv_exp(hot - top) / sum - high) * scale;
    }
}

static void squared_error_scalar(const fv_real *x, const fv_real *target, fv_real *loss, fv_real *dx, size_t classes,
                                 fv_real scale, fv_range rows) {
    for (size_t r = rows.begin; r < rows.end; r++) {
        fv_real sum = 0;
        for (size_t i = r * classes; i < (r + 1) * classes; i++) {
            const fv_real d = x[i] - target[i];
            sum += d * d;
            if (dx) dx[i] = d * scale;
        }
        loss[r] = sum / 2;
    }
}

static void log_softmax_scalar(const fv_real *x, fv_real *y, size_t classes, fv_range rows) {
    for (size_t r = rows.begin; r < rows.end; r++) {
        const fv_real *in = x + r * classes, top = row_max(in, classes);
        fv_real *out = y + r * classes, sum = 0;
        for (size_t c = 0; c < classes; c++) sum += fv_exp(in[c] - top);
        const fv_real log_sum = fv_log(sum);
        for (size_t c = 0; c < classes; c++) out[c] = (in[c] - top) - log_sum;
    }
}

static void log_softmax_grad_scalar(const fv_real *y, const fv_real *dy, fv_real *dx, size_t classes, fv_range rows) {
    for (size_t r = rows.begin; r < rows.end; r++) {
        const size_t begin = r * classes, end = begin + classes;
        fv_real sum = 0;
        for (size_t i = begin; i < end; i++) sum += dy[i];
        for (size_t i = begin; i < end; i++) dx[i] = dy[i] - fv_exp(y[i]) * sum;
    }
}

/* loss = log(sum) sum_c t_c - sum_c t_c (x_c - top) */
static void soft_cross_entropy_scalar(const fv_real *x, const fv_real *target, fv_real *loss, fv_real *dx, size_t classes,
                                      fv_real smoothing, fv_real scale, fv_range rows) {
    const fv_real low = smoothing / (fv_real)classes, keep = 1 - smoothing;
    for (size_t r = rows.begin; r < rows.end; r++) {
        const fv_real *in = x + r * classes, *aim = target + r * classes, top = row_max(in, classes);
        fv_real sum = 0, weight = 0, linear = 0;
        for (size_t c = 0; c < classes; c++) {
            const fv_real t = keep * aim[c] + low;
            sum += fv_exp(in[c] - top), weight += t, linear += t * (in[c] - top);
        }
        loss[r] = fv_log(sum) * weight - linear;
        for (size_t c = 0; dx && c < classes; c++)
            dx[r * classes + c] = (fv_exp(in[c] - top) / sum * weight - (keep * aim[c] + low)) * scale;
    }
}

static void entropy_scalar(const fv_real *y, const int32_t *label, const fv_real *target, fv_real *loss, fv_real *dx,
                           size_t classes, fv_real smoothing, fv_real scale, fv_range rows) {
    const fv_real low = smoothing / (fv_real)classes, keep = 1 - smoothing, least = FV_LEAST_PROBABILITY;
    for (size_t r = rows.begin; r < rows.end; r++) {
        fv_real sum = 0;
        for (size_t c = 0; c < classes; c++) {
            const size_t i = r * classes + c;
            const fv_real p = y[i] < least ? least : y[i];
            const fv_real t = keep * (target ? target[i] : (fv_real)((size_t)label[r] == c)) + low;
            sum += t * fv_log(p);
            if (dx) dx[i] = -(t / p) * scale;
        }
        loss[r] = -sum;
    }
}

void fv_softmax_init_scalar(fv_softmax_kernels *k) {
    *k = (fv_softmax_kernels){softmax_scalar, softmax_grad_scalar, cross_entropy_scalar, squared_error_scalar,
                              log_softmax_scalar, log_softmax_grad_scalar, soft_cross_entropy_scalar, entropy_scalar};
}
