/* Parameter updates: the formulas of kernels/optimizer.h in double with their rounding errors carried along. */
#include "kernels/check/engine.h"

enum { SGD, MOMENTUM, NESTEROV, ADAM, ADAMW };
static const char *const rule_name[] = {"sgd", "momentum", "nesterov", "adam", "adamw"};

typedef struct state {
    fv_approx w, m, v;
} state;

static fv_approx scaled_gradient(const fv_update *u, float g, fv_approx w, bool decay, double eps) {
    const fv_approx d = approx_mul(approx(g), approx(u->grad_scale), eps);
    return decay ? approx_add(d, approx_mul(approx(u->weight_decay), w, eps), eps) : d;
}

static fv_approx blend(fv_approx a, double beta, fv_approx b, double eps) {
    const fv_approx rest = approx_sub(approx(1), approx(beta), eps);
    return approx_add(approx_mul(approx(beta), a, eps), approx_mul(rest, b, eps), eps);
}

static state step(int rule, const fv_update *u, float g, state s, double eps) {
    const fv_approx lr = approx(u->lr), momentum = approx(u->momentum);
    const fv_approx before = s.w;
    if (rule == ADAMW) {
        const fv_approx shrink = approx_mul(approx_mul(lr, approx(u->weight_decay), eps), before, eps);
        s.w = approx_sub(before, shrink, eps);
    }
    fv_approx d = scaled_gradient(u, g, before, rule != ADAMW, eps);
    if (rule == MOMENTUM || rule == NESTEROV) {
        s.m = approx_add(approx_mul(momentum, s.m, eps), d, eps);
        d = rule == MOMENTUM ? s.m : approx_add(d, approx_mul(momentum, s.m, eps), eps);
    }
    if (rule < ADAM) {
        s.w = approx_sub(s.w, approx_mul(lr, d, eps), eps);
        return s;
    }
    s.m = blend(s.m, u->momentum, d, eps);
    s.v = blend(s.v, u->beta2, approx_mul(d, d, eps), eps);
    const fv_approx root = approx_sqrt(approx_mul(s.v, approx(u->correction2), eps), eps);
    const fv_approx move = approx_mul(lr, approx_mul(s.m, approx(u->correction1), eps), eps);
    s.w = approx_sub(s.w, approx_div(move, approx_add(root, approx(u->epsilon), eps), eps), eps);
    return s;
}

static fv_update draw_update(fv_case *c) {
    fv_check_random *r = &c->random;
    if (c->values == FV_VALUES_INTEGER && c->argument < ADAM)
        return (fv_update){.lr = 2, .weight_decay = (float)check_below(r, 2), .momentum = 3, .grad_scale = 2};
    fv_check_inexact(c);
    fv_update u = {.lr = check_uniform(r, 0, 0.1f), .momentum = check_chance(r, 0.5) ? 0.9f : check_uniform(r, 0, 1)};
    u.weight_decay = check_chance(r, 0.5) ? 0 : check_uniform(r, 0, 0.01f);
    u.beta2 = check_chance(r, 0.5) ? 0.999f : check_uniform(r, 0.5f, 1);
    u.epsilon = check_chance(r, 0.5) ? 1e-8f : 1e-3f;
    u.grad_scale = check_chance(r, 0.5) ? 1 : check_uniform(r, 0, 1);
    const int t = check_between(r, 1, 100);
    u.correction1 = (float)(1 / (1 - pow(u.momentum, t)));
    u.correction2 = (float)(1 / (1 - pow(u.beta2, t)));
    return u;
}

typedef struct buffers {
    float *w, *m, *v;
} buffers;

static buffers copy_state(fv_case *c, const buffers *s, size_t n) {
    return (buffers){fv_check_copy(c, "w", s->w, n), s->m ? fv_check_copy(c, "m", s->m, n) : NULL,
                     s->v ? fv_check_copy(c, "v", s->v, n) : NULL};
}

static void run_rule(const fv_kernels *k, int rule, const fv_update *u, const float *g, const buffers *s, fv_range p) {
    const fv_update_fn f[] = {k->optimizer.sgd, k->optimizer.momentum, k->optimizer.nesterov, k->optimizer.adam,
                              k->optimizer.adamw};
    f[rule](u, g + p.begin, s->w + p.begin, s->m ? s->m + p.begin : NULL, s->v ? s->v + p.begin : NULL,
            p.end - p.begin);
}

void fv_check_optimizer(fv_case *c) {
    const int rule = c->argument;
    fv_check_finite_only(c);
    const size_t n = fv_check_length(&c->random, 300);
    const fv_update u = draw_update(c);
    const float *g = fv_check_input(c, "g", n);
    const buffers first = {fv_check_input(c, "w", n), rule > SGD ? fv_check_input(c, "m", n) : NULL,
                           rule >= ADAM ? fv_check_input(c, "v", n) : NULL};
    for (size_t i = 0; first.v && i < n; i++) first.v[i] = fabsf(first.v[i]);
    fv_check_shape(c, "%s n%zu lr %.9g decay %.9g momentum %.9g beta2 %.9g epsilon %.9g scale %.9g", rule_name[rule], n,
                   (double)u.lr, (double)u.weight_decay, (double)u.momentum, (double)u.beta2, (double)u.epsilon,
                   (double)u.grad_scale);
    c->same_as_scalar = true;
    fv_check_freeze(c);
    fv_approx *w = fv_check_expected(c, n), *m = fv_check_expected(c, n), *v = fv_check_expected(c, n);
    for (size_t i = 0; i < n; i++) {
        const state s = {approx(first.w[i]), approx(first.m ? first.m[i] : 0), approx(first.v ? first.v[i] : 0)};
        const state next = step(rule, &u, g[i], s, c->eps);
        w[i] = next.w, m[i] = next.m, v[i] = next.v;
    }
    const fv_range all = {0, n};
    const buffers whole = copy_state(c, &first, n), scalar = copy_state(c, &first, n), parts = copy_state(c, &first, n);
    run_rule(c->candidate, rule, &u, g, &whole, all);
    run_rule(c->reference, rule, &u, g, &scalar, all);
    const fv_check_cut cut = fv_check_cut_range(c, all);
    for (size_t i = 0; i < cut.parts; i++) run_rule(c->candidate, rule, &u, g, &parts, cut.part[i]);
    fv_check_compare(c, "w", whole.w, scalar.w, w, n);
    fv_check_same_bits(c, "w in parts", parts.w, whole.w, n);
    if (first.m) fv_check_compare(c, "m", whole.m, scalar.m, m, n);
    if (first.m) fv_check_same_bits(c, "m in parts", parts.m, whole.m, n);
    if (first.v) fv_check_compare(c, "v", whole.v, scalar.v, v, n);
    if (first.v) fv_check_same_bits(c, "v in parts", parts.v, whole.v, n);
}
