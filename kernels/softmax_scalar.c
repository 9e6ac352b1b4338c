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

void fv_softmax_init_scalar(fv_softmax_kernels *k) {
    *k = (fv_softmax_kernels){softmax_scalar, softmax_grad_scalar, cross_entropy_scalar, squared_error_scalar};
}
