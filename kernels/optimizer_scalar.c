#include "kernels/kernels.h"
#include "kernels/scalar_math.h"

static void sgd_scalar(const fv_update *u, const fv_real *g, fv_real *w, fv_real *m, fv_real *v, size_t n) {
    (void)m, (void)v;
    for (size_t i = 0; i < n; i++) w[i] -= u->lr * (g[i] * u->grad_scale + u->weight_decay * w[i]);
}

static void momentum_scalar(const fv_update *u, const fv_real *g, fv_real *w, fv_real *m, fv_real *v, size_t n) {
    (void)v;
    for (size_t i = 0; i < n; i++) {
        m[i] = u->momentum * m[i] + (g[i] * u->grad_scale + u->weight_decay * w[i]);
        w[i] -= u->lr * m[i];
    }
}

static void nesterov_scalar(const fv_update *u, const fv_real *g, fv_real *w, fv_real *m, fv_real *v, size_t n) {
    (void)v;
    for (size_t i = 0; i < n; i++) {
        const fv_real d = g[i] * u->grad_scale + u->weight_decay * w[i];
        m[i] = u->momentum * m[i] + d;
        w[i] -= u->lr * (d + u->momentum * m[i]);
    }
}

static void adam_step(const fv_update *u, fv_real d, fv_real *w, fv_real *m, fv_real *v) {
    *m = u->momentum * *m + (1 - u->momentum) * d;
    *v = u->beta2 * *v + (1 - u->beta2) * (d * d);
    *w -= u->lr * (*m * u->correction1) / (fv_sqrt(*v * u->correction2) + u->epsilon);
}

static void adam_scalar(const fv_update *u, const fv_real *g, fv_real *w, fv_real *m, fv_real *v, size_t n) {
    for (size_t i = 0; i < n; i++) adam_step(u, g[i] * u->grad_scale + u->weight_decay * w[i], &w[i], &m[i], &v[i]);
}

static void adamw_scalar(const fv_update *u, const fv_real *g, fv_real *w, fv_real *m, fv_real *v, size_t n) {
    for (size_t i = 0; i < n; i++) {
        w[i] -= u->lr * u->weight_decay * w[i];
        adam_step(u, g[i] * u->grad_scale, &w[i], &m[i], &v[i]);
    }
}

void fv_optimizer_init_scalar(fv_optimizer_kernels *k) {
    *k = (fv_optimizer_kernels){sgd_scalar, momentum_scalar, nesterov_scalar, adam_scalar, adamw_scalar};
}
