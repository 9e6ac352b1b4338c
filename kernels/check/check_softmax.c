/* Softmax and losses: the formulas in double, errors carried along (engine.h). */
#include "kernels/check/engine.h"

typedef struct rows {
    size_t classes, count;
    const float *x;
} rows;

static rows draw_rows(fv_case *c, size_t most) {
    rows s = {.classes = fv_check_size(c, 0, most), .count = fv_check_size(c, 1, 12)};
    float *x = fv_check_input(c, "x", s.classes * s.count);
    if (c->values == FV_VALUES_FLOAT && check_chance(&c->random, 0.5)) /* logits of any size */
        for (size_t i = 0; i < s.classes * s.count; i++) x[i] *= check_chance(&c->random, 0.5) ? 20.0f : 1000.0f;
    for (size_t i = 0; i < s.classes * s.count; i++)
        if (isinf(x[i]) && x[i] > 0) x[i] = -x[i]; /* +inf - +inf is nobody's contract */
    s.x = x;
    return s;
}

/* exp(x - max) of a row, their sum, and the same for x - max itself. */
typedef struct row_terms {
    fv_approx *shifted, *e, sum, all;
} row_terms;

static row_terms expect_terms(fv_case *c, const float *x, size_t classes) {
    double top = x[0];
    row_terms t = {fv_check_plain(c, classes * sizeof *t.e), fv_check_plain(c, classes * sizeof *t.e), {0, 0}, {0, 0}};
    for (size_t i = 1; i < classes; i++)
        if (x[i] > top || top != top) top = x[i];
    fv_approx_sum sum = {0}, all = {0};
    for (size_t i = 0; i < classes; i++) {
        t.shifted[i] = approx_sub(approx(x[i]), approx(top), c->eps);
        t.e[i] = approx_exp(t.shifted[i], c->eps);
        if (x[i] == -INFINITY && top == top) t.e[i] = (fv_approx){0, FLT_MIN};
        approx_sum_add(&sum, t.e[i]);
        approx_sum_add(&all, t.shifted[i]);
    }
    t.sum = approx_sum(&sum, c->eps);
    t.all = approx_sum(&all, c->eps);
    return t;
}

static void only_nan(fv_case *c, float *x, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (isinf(x[i])) x[i] = NAN;
    (void)c;
}

static void check_rows(fv_case *c, bool logarithm) {
    const fv_softmax_fn candidate = logarithm ? c->candidate->softmax.log_softmax : c->candidate->softmax.softmax;
    const fv_softmax_fn reference = logarithm ? c->reference->softmax.log_softmax : c->reference->softmax.softmax;
    fv_check_inexact(c);
    const rows s = draw_rows(c, 150);
    const size_t n = s.classes * s.count;
    /* A row of nothing but -inf has no maximum to take off. */
    if (c->values == FV_VALUES_NONFINITE && s.classes < 4) only_nan(c, (float *)s.x, n);
    const float *in_place = check_chance(&c->random, 0.4) ? s.x : NULL;
    fv_check_shape(c, "rows %zu classes %zu%s", s.count, s.classes, in_place ? " in place" : "");
    fv_check_freeze(c);
    fv_approx *expected = fv_check_expected(c, n);
    for (size_t r = 0; r < s.count; r++) {
        const row_terms t = expect_terms(c, s.x + r * s.classes, s.classes);
        for (size_t i = 0; i < s.classes; i++)
            expected[r * s.classes + i] = logarithm ? approx_sub(t.shifted[i], approx_log(t.sum, c->eps), c->eps)
                                                    : approx_div(t.e[i], t.sum, c->eps);
    }
    float *y[3];
    for (int i = 0; i < 3; i++) y[i] = fv_check_start(c, "y", in_place, n);
    const fv_range all = {0, s.count};
    candidate(in_place ? y[0] : s.x, y[0], s.classes, all);
    reference(in_place ? y[1] : s.x, y[1], s.classes, all);
    fv_check_compare(c, "y", y[0], y[1], expected, n);
    const fv_check_cut cut = fv_check_cut_range(c, all);
    for (size_t i = 0; i < cut.parts; i++) candidate(in_place ? y[2] : s.x, y[2], s.classes, cut.part[i]);
    fv_check_same_bits(c, "y cut into ranges", y[2], y[0], n);
}

void fv_check_softmax(fv_case *c) { check_rows(c, false); }
void fv_check_log_softmax(fv_case *c) { check_rows(c, true); }

/* y (dy - sum dy y), or of the log-softmax dy - exp(y) sum dy. */
static void expect_row_grad(fv_case *c, const float *y, const float *dy, size_t classes, bool logarithm,
                            fv_approx *dx) {
    fv_approx_sum sum = {0};
    for (size_t i = 0; i < classes; i++) approx_sum_add(&sum, approx(logarithm ? (double)dy[i] : (double)y[i] * dy[i]));
    const fv_approx total = approx_sum(&sum, c->eps);
    for (size_t i = 0; i < classes; i++) {
        if (logarithm)
            dx[i] = approx_sub(approx(dy[i]), approx_mul(approx_exp(approx(y[i]), c->eps), total, c->eps), c->eps);
        else
            dx[i] = approx_mul(approx(y[i]), approx_sub(approx(dy[i]), total, c->eps), c->eps);
    }
}

static void check_rows_grad(fv_case *c, bool logarithm) {
    const fv_softmax_grad_fn candidate =
        logarithm ? c->candidate->softmax.log_softmax_grad : c->candidate->softmax.softmax_grad;
    const fv_softmax_grad_fn reference =
        logarithm ? c->reference->softmax.log_softmax_grad : c->reference->softmax.softmax_grad;
    const size_t classes = fv_check_size(c, 0, 150), count = fv_check_size(c, 1, 12), n = classes * count;
    float *y = fv_check_input(c, "y", n);
    const float *dy = fv_check_input(c, "dy", n);
    for (size_t i = 0; logarithm && i < n; i++) y[i] = -fabsf(y[i]);
    if (logarithm) fv_check_inexact(c);
    const float *in_place = check_chance(&c->random, 0.4) ? dy : NULL;
    fv_check_shape(c, "rows %zu classes %zu%s", count, classes, in_place ? " in place" : "");
    fv_check_freeze(c);
    fv_approx *expected = fv_check_expected(c, n);
    for (size_t r = 0; r < n; r += classes) expect_row_grad(c, y + r, dy + r, classes, logarithm, expected + r);
    float *dx[3];
    for (int i = 0; i < 3; i++) dx[i] = fv_check_start(c, "dx", in_place, n);
    const fv_range all = {0, count};
    candidate(y, in_place ? dx[0] : dy, dx[0], classes, all);
    reference(y, in_place ? dx[1] : dy, dx[1], classes, all);
    fv_check_compare(c, "dx", dx[0], dx[1], expected, n);
    const fv_check_cut cut = fv_check_cut_range(c, all);
    for (size_t i = 0; i < cut.parts; i++) candidate(y, in_place ? dx[2] : dy, dx[2], classes, cut.part[i]);
    fv_check_same_bits(c, "dx cut into ranges", dx[2], dx[0], n);
}

void fv_check_softmax_grad(fv_case *c) { check_rows_grad(c, false); }
void fv_check_log_softmax_grad(fv_case *c) { check_rows_grad(c, true); }

/* ---- losses ---- */

typedef enum loss_kind { CROSS_ENTROPY, SOFT_CROSS_ENTROPY, ENTROPY, SQUARED_ERROR } loss_kind;

typedef struct loss_case {
    rows s;
    loss_kind kind;
    const int32_t *label; /* NULL: target */
    const float *target;
    float smoothing, scale;
    bool gradient, in_place;
} loss_case;

typedef struct loss_result {
    float *loss, *dx;
} loss_result;

static loss_result run_loss(fv_case *c, const fv_kernels *k, const loss_case *l, bool whole) {
    const size_t n = l->s.classes * l->s.count;
    loss_result out = {fv_check_output(c, "loss", l->s.count), NULL};
    if (l->gradient) out.dx = l->in_place ? fv_check_copy(c, "dx", l->s.x, n) : fv_check_output(c, "dx", n);
    const float *x = l->in_place ? out.dx : l->s.x;
    fv_check_cut cut = {.part = {{0, l->s.count}}, .parts = 1};
    if (!whole) cut = fv_check_cut_range(c, (fv_range){0, l->s.count});
    const fv_softmax_kernels *f = &k->softmax;
    const size_t classes = l->s.classes;
    for (const fv_range *part = cut.part; part < cut.part + cut.parts; part++) switch (l->kind) {
        case CROSS_ENTROPY:
            f->cross_entropy(x, l->label, out.loss, out.dx, classes, l->smoothing, l->scale, *part);
            break;
        case SOFT_CROSS_ENTROPY:
            f->soft_cross_entropy(x, l->target, out.loss, out.dx, classes, l->smoothing, l->scale, *part);
            break;
        case ENTROPY:
            f->entropy(x, l->label, l->target, out.loss, out.dx, classes, l->smoothing, l->scale, *part);
            break;
        default:
            f->squared_error(x, l->target, out.loss, out.dx, classes, l->scale, *part);
        }
    return out;
}

/* loss = log(sum) - ((1-s)(x_t - max) + s/classes * sum(x - max)); gradient (e/sum - target) * scale */
static fv_approx expect_cross_entropy(fv_case *c, const loss_case *l, size_t r, fv_approx *dx) {
    const double eps = c->eps;
    const size_t classes = l->s.classes, hot = (size_t)l->label[r];
    const row_terms t = expect_terms(c, l->s.x + r * classes, classes);
    const fv_approx low = approx_div(approx(l->smoothing), approx((double)classes), eps);
    const fv_approx rest = approx_sub(approx(1), approx(l->smoothing), eps), high = approx_add(rest, low, eps);
    for (size_t i = 0; i < classes; i++) {
        const fv_approx p = approx_div(t.e[i], t.sum, eps);
        dx[i] = approx_mul(approx_sub(p, i == hot ? high : low, eps), approx(l->scale), eps);
    }
    const fv_approx direct = approx_mul(rest, t.shifted[hot], eps), spread = approx_mul(low, t.all, eps);
    const fv_approx aim = l->smoothing == 0 ? t.shifted[hot] : approx_add(direct, spread, eps);
    return approx_sub(approx_log(t.sum, eps), aim, eps);
}

/* (1-s) * target + s/classes */
static fv_approx expect_target(fv_case *c, const loss_case *l, size_t r, size_t i) {
    const fv_approx low = approx_div(approx(l->smoothing), approx((double)l->s.classes), c->eps);
    const fv_approx keep = approx_sub(approx(1), approx(l->smoothing), c->eps);
    const float target = l->target ? l->target[r * l->s.classes + i] : (size_t)l->label[r] == i;
    return approx_add(approx_mul(keep, approx(target), c->eps), low, c->eps);
}

/* loss = log(sum) sum t - sum t (x - max); gradient (e/sum * sum t - t) * scale */
static fv_approx expect_soft(fv_case *c, const loss_case *l, size_t r, fv_approx *dx) {
    const double eps = c->eps;
    const size_t classes = l->s.classes;
    const row_terms terms = expect_terms(c, l->s.x + r * classes, classes);
    fv_approx_sum all = {0}, linear = {0};
    for (size_t i = 0; i < classes; i++) {
        const fv_approx t = expect_target(c, l, r, i);
        approx_sum_add(&all, t);
        approx_sum_add(&linear, approx_mul(t, terms.shifted[i], eps));
    }
    const fv_approx weight = approx_sum(&all, eps);
    for (size_t i = 0; i < classes; i++) {
        const fv_approx p = approx_mul(approx_div(terms.e[i], terms.sum, eps), weight, eps);
        dx[i] = approx_mul(approx_sub(p, expect_target(c, l, r, i), eps), approx(l->scale), eps);
    }
    return approx_sub(approx_mul(approx_log(terms.sum, eps), weight, eps), approx_sum(&linear, eps), eps);
}

/* loss = -sum t ln y; gradient -t/y * scale */
static fv_approx expect_entropy(fv_case *c, const loss_case *l, size_t r, fv_approx *dx) {
    fv_approx_sum sum = {0};
    for (size_t i = 0; i < l->s.classes; i++) {
        const float x = l->s.x[r * l->s.classes + i];
        const fv_approx y = approx(x < FLT_MIN ? FLT_MIN : x), t = expect_target(c, l, r, i);
        approx_sum_add(&sum, approx_mul(t, approx_log(y, c->eps), c->eps));
        dx[i] = approx_mul(approx_div(t, y, c->eps), approx(-l->scale), c->eps);
    }
    fv_approx loss = approx_sum(&sum, c->eps);
    loss.value = -loss.value;
    return loss;
}

static fv_approx expect_squares(fv_case *c, const loss_case *l, size_t r, fv_approx *dx) {
    fv_approx_sum sum = {0};
    for (size_t i = 0, at = r * l->s.classes; i < l->s.classes; i++, at++) {
        const fv_approx d = approx_sub(approx(l->s.x[at]), approx(l->target[at]), c->eps);
        approx_sum_add(&sum, approx_mul(d, d, c->eps));
        dx[i] = approx_mul(d, approx(l->scale), c->eps);
    }
    fv_approx loss = approx_sum(&sum, c->eps);
    return (fv_approx){loss.value / 2, loss.error / 2};
}

typedef fv_approx (*expect_fn)(fv_case *c, const loss_case *l, size_t r, fv_approx *dx);
static const expect_fn expect_loss[] = {expect_cross_entropy, expect_soft, expect_entropy, expect_squares};

static void check_loss(fv_case *c, const loss_case *l) {
    const size_t n = l->s.classes * l->s.count;
    fv_check_freeze(c);
    fv_approx *loss = fv_check_expected(c, l->s.count), *dx = fv_check_expected(c, n);
    for (size_t r = 0; r < l->s.count; r++) loss[r] = expect_loss[l->kind](c, l, r, dx + r * l->s.classes);
    const loss_result whole = run_loss(c, c->candidate, l, true), scalar = run_loss(c, c->reference, l, true);
    const loss_result parts = run_loss(c, c->candidate, l, false);
    fv_check_compare(c, "loss", whole.loss, scalar.loss, loss, l->s.count);
    fv_check_same_bits(c, "loss cut into ranges", parts.loss, whole.loss, l->s.count);
    if (!l->gradient) return;
    fv_check_compare(c, "dx", whole.dx, scalar.dx, dx, n);
    fv_check_same_bits(c, "dx cut into ranges", parts.dx, whole.dx, n);
}

static void draw_loss(fv_case *c, loss_case *l, bool may_be_in_place) {
    l->scale = c->values == FV_VALUES_INTEGER ? 2 : check_uniform(&c->random, 0, 1);
    l->gradient = check_chance(&c->random, 0.7);
    l->in_place = may_be_in_place && l->gradient && check_chance(&c->random, 0.4);
}

static void draw_labels(fv_case *c, loss_case *l) {
    int32_t *label = fv_check_place(c, "label", l->s.count * sizeof *label, sizeof *label, true);
    for (size_t r = 0; r < l->s.count; r++) label[r] = (int32_t)check_below(&c->random, l->s.classes);
    l->label = label;
}

static void draw_target(fv_case *c, loss_case *l) {
    float *target = fv_check_input(c, "target", l->s.classes * l->s.count);
    for (size_t i = 0; i < l->s.classes * l->s.count; i++)
        target[i] = check_chance(&c->random, 0.3) ? 0 : check_uniform(&c->random, 0, 1);
    l->target = target;
}

static void check_entropy_loss(fv_case *c, loss_kind kind) {
    fv_check_inexact(c);
    fv_check_finite_only(c);
    loss_case l = {.s = draw_rows(c, 150), .kind = kind};
    float *x = (float *)l.s.x;
    for (size_t i = 0; kind == ENTROPY && i < l.s.classes * l.s.count; i++)
        x[i] = check_chance(&c->random, 0.02) ? 0 : fabsf(x[i]);
    draw_loss(c, &l, true);
    l.smoothing = check_chance(&c->random, 0.5) ? 0 : check_uniform(&c->random, 0, 0.9f);
    if (kind == CROSS_ENTROPY || (kind == ENTROPY && check_chance(&c->random, 0.5)))
        draw_labels(c, &l);
    else
        draw_target(c, &l);
    fv_check_shape(c, "rows %zu classes %zu %s smoothing %.9g scale %.9g%s%s", l.s.count, l.s.classes,
                   l.label ? "labels" : "targets", (double)l.smoothing, (double)l.scale,
                   l.gradient ? "" : " loss alone", l.in_place ? " in place" : "");
    check_loss(c, &l);
}

void fv_check_cross_entropy(fv_case *c) { check_entropy_loss(c, CROSS_ENTROPY); }
void fv_check_soft_cross_entropy(fv_case *c) { check_entropy_loss(c, SOFT_CROSS_ENTROPY); }
void fv_check_entropy(fv_case *c) { check_entropy_loss(c, ENTROPY); }

void fv_check_squared_error(fv_case *c) {
    loss_case l = {.s = draw_rows(c, 300), .kind = SQUARED_ERROR};
    draw_loss(c, &l, false);
    l.target = fv_check_input(c, "target", l.s.classes * l.s.count);
    fv_check_shape(c, "rows %zu classes %zu scale %.9g%s", l.s.count, l.s.classes, (double)l.scale,
                   l.gradient ? "" : " loss alone");
    check_loss(c, &l);
}
