/* Parameter updates over a vector wrapper; included by (isa)/optimizer_(isa).c after vec_(isa).h. Memory sets their
 * pace, so they round as the scalar definition does, without fused steps, and every ISA gives the same bits. */
#include "kernels/vec_math.h"

typedef struct update_vectors {
    vf lr, decay, momentum, rest, beta2, rest2, epsilon, scale, correction1, correction2;
} update_vectors;

static inline update_vectors spread(const fv_update *u) {
    return (update_vectors){v_set(u->lr),          v_set(u->weight_decay), v_set(u->momentum), v_set(1 - u->momentum),
                            v_set(u->beta2),       v_set(1 - u->beta2),    v_set(u->epsilon),  v_set(u->grad_scale),
                            v_set(u->correction1), v_set(u->correction2)};
}

static inline vf gradient(const update_vectors *u, vf g, vf w) { return v_add(v_mul(g, u->scale), v_mul(u->decay, w)); }

static inline void sgd_step(const update_vectors *u, vf g, vf *w, vf *m, vf *v) {
    (void)m, (void)v;
    *w = v_sub(*w, v_mul(u->lr, gradient(u, g, *w)));
}

static inline void momentum_step(const update_vectors *u, vf g, vf *w, vf *m, vf *v) {
    (void)v;
    *m = v_add(v_mul(u->momentum, *m), gradient(u, g, *w));
    *w = v_sub(*w, v_mul(u->lr, *m));
}

static inline void nesterov_step(const update_vectors *u, vf g, vf *w, vf *m, vf *v) {
    (void)v;
    const vf d = gradient(u, g, *w);
    *m = v_add(v_mul(u->momentum, *m), d);
    *w = v_sub(*w, v_mul(u->lr, v_add(d, v_mul(u->momentum, *m))));
}

static inline void adam_move(const update_vectors *u, vf d, vf *w, vf *m, vf *v) {
    *m = v_add(v_mul(u->momentum, *m), v_mul(u->rest, d));
    *v = v_add(v_mul(u->beta2, *v), v_mul(u->rest2, v_mul(d, d)));
    const vf root = v_add(v_sqrt(v_mul(*v, u->correction2)), u->epsilon);
    *w = v_sub(*w, v_div(v_mul(u->lr, v_mul(*m, u->correction1)), root));
}

static inline void adam_step(const update_vectors *u, vf g, vf *w, vf *m, vf *v) {
    adam_move(u, gradient(u, g, *w), w, m, v);
}

static inline void adamw_step(const update_vectors *u, vf g, vf *w, vf *m, vf *v) {
    *w = v_sub(*w, v_mul(v_mul(u->lr, u->decay), *w));
    adam_move(u, v_mul(g, u->scale), w, m, v);
}

typedef void (*update_step)(const update_vectors *u, vf g, vf *w, vf *m, vf *v);

/* A state the rule does not use is NULL and stays untouched. */
FV_ALWAYS_INLINE void run_update(update_step step, const fv_update *settings, const float *g, float *w, float *m,
                                 float *v, size_t n) {
    const update_vectors u = spread(settings);
    for (size_t i = 0; i < n; i += VW) {
        const size_t left = n - i;
        vf new_w = v_load_next(w + i, left);
        vf new_m = m ? v_load_next(m + i, left) : v_zero(), new_v = v ? v_load_next(v + i, left) : v_zero();
        step(&u, v_load_next(g + i, left), &new_w, &new_m, &new_v);
        v_store_next(w + i, new_w, left);
        if (m) v_store_next(m + i, new_m, left);
        if (v) v_store_next(v + i, new_v, left);
    }
}

static void update_sgd(const fv_update *u, const float *g, float *w, float *m, float *v, size_t n) {
    (void)m, (void)v;
    run_update(sgd_step, u, g, w, NULL, NULL, n);
}

static void update_momentum(const fv_update *u, const float *g, float *w, float *m, float *v, size_t n) {
    (void)v;
    run_update(momentum_step, u, g, w, m, NULL, n);
}

static void update_nesterov(const fv_update *u, const float *g, float *w, float *m, float *v, size_t n) {
    (void)v;
    run_update(nesterov_step, u, g, w, m, NULL, n);
}

static void update_adam(const fv_update *u, const float *g, float *w, float *m, float *v, size_t n) {
    run_update(adam_step, u, g, w, m, v, n);
}

static void update_adamw(const fv_update *u, const float *g, float *w, float *m, float *v, size_t n) {
    run_update(adamw_step, u, g, w, m, v, n);
}

static void init_optimizer(fv_optimizer_kernels *k) {
    *k = (fv_optimizer_kernels){update_sgd, update_momentum, update_nesterov, update_adam, update_adamw};
}
