/* Sums: integers exactly, floats within (n + 1) * eps * sum|terms|; the order may depend on the arguments alone, so the
 * same values at another address give the same bits. */
#include "kernels/check/engine.h"

void fv_check_sum(fv_case *c) {
    const bool squares = c->argument == 1;
    const size_t most = check_chance(&c->random, 0.02) ? 20000 : 600, n = fv_check_length(&c->random, most);
    const float *x = fv_check_input(c, "x", n);
    float *elsewhere = fv_check_place(c, "x elsewhere", n * sizeof *x, sizeof *x, true);
    memcpy(elsewhere, x, n * sizeof *x);
    fv_check_shape(c, "n%zu", n);
    fv_check_freeze(c);
    fv_approx_sum sum = {0};
    for (size_t i = 0; i < n; i++) approx_sum_add(&sum, approx(squares ? (double)x[i] * x[i] : (double)x[i]));
    const fv_approx expected = approx_sum(&sum, c->eps);
    const fv_sum_fn f = squares ? c->candidate->reduce.sum_squares : c->candidate->reduce.sum;
    const fv_sum_fn g = squares ? c->reference->reduce.sum_squares : c->reference->reduce.sum;
    const float got = f(x, n), scalar = g(x, n), again = f(elsewhere, n);
    fv_check_compare(c, "sum", &got, &scalar, &expected, 1);
    fv_check_same_bits(c, "sum at another address", &again, &got, 1);
}

/* ---- by columns ---- */

typedef struct columns {
    size_t channels, pixels;
    ptrdiff_t pitch1, pitch2;
    const float *x1, *x2; /* x2 NULL: plain sums */
} columns;

static const float *draw_matrix(fv_case *c, const char *name, const columns *m, ptrdiff_t *pitch) {
    *pitch = (ptrdiff_t)m->channels + check_between(&c->random, 0, 4);
    return fv_check_input(c, name, m->pixels ? (m->pixels - 1) * (size_t)*pitch + m->channels : 0);
}

static void run_columns(const fv_kernels *k, const columns *m, size_t first, size_t count, float *y) {
    if (m->x2)
        k->reduce.dot_rows(m->x1 + first, m->pitch1, m->x2 + first, m->pitch2, m->pixels, count, y + first);
    else
        k->reduce.sum_rows(m->x1 + first, m->pitch1, m->pixels, count, y + first);
}

static void check_columns(fv_case *c, bool product) {
    columns m = {.channels = fv_check_length(&c->random, 120)};
    m.pixels = check_chance(&c->random, 0.02) ? 0 : fv_check_length(&c->random, 60);
    m.x1 = draw_matrix(c, "x1", &m, &m.pitch1);
    if (product) m.x2 = draw_matrix(c, "x2", &m, &m.pitch2);
    fv_check_shape(c, "pixels %zu channels %zu pitches %zd, %zd", m.pixels, m.channels, m.pitch1, m.pitch2);
    fv_check_freeze(c);
    fv_approx *expected = fv_check_expected(c, m.channels);
    for (size_t i = 0; i < m.channels; i++) {
        fv_approx_sum sum = {0};
        float in_order = 0; /* plain sums: the contract fixes the order, and so the bits */
        for (size_t p = 0; p < m.pixels; p++) {
            const float x1 = m.x1[p * (size_t)m.pitch1 + i];
            approx_sum_add(&sum, approx(product ? (double)x1 * m.x2[p * (size_t)m.pitch2 + i] : (double)x1));
            in_order += x1;
        }
        expected[i] = product ? approx_sum(&sum, c->eps) : approx(in_order);
    }
    float *y = fv_check_output(c, "y", m.channels), *scalar = fv_check_output(c, "y", m.channels);
    run_columns(c->candidate, &m, 0, m.channels, y);
    run_columns(c->reference, &m, 0, m.channels, scalar);
    fv_check_compare(c, "y", y, scalar, expected, m.channels);
    float *parts = fv_check_output(c, "y", m.channels);
    const fv_check_cut cut = fv_check_cut_range(c, (fv_range){0, m.channels});
    for (size_t i = 0; i < cut.parts; i++)
        run_columns(c->candidate, &m, cut.part[i].begin, cut.part[i].end - cut.part[i].begin, parts);
    fv_check_same_bits(c, "y by parts of the channels", parts, y, m.channels);
}

void fv_check_sum_rows(fv_case *c) { check_columns(c, false); }
void fv_check_dot_rows(fv_case *c) { check_columns(c, true); }

/* ---- parts ---- */

void fv_check_add_parts(fv_case *c) {
    fv_check_random *r = &c->random;
    const size_t n = fv_check_length(r, 300), parts = fv_check_length(r, 9), pitch = n + check_below(r, 5);
    const size_t size = (parts - 1) * pitch + n;
    const float *x = fv_check_input(c, "x", size);
    const bool in_place = check_chance(r, 0.4);
    fv_check_shape(c, "n%zu parts %zu pitch %zu%s", n, parts, pitch, in_place ? " in place" : "");
    fv_check_freeze(c);
    fv_approx *expected = fv_check_expected(c, in_place ? size : n);
    for (size_t i = 0; in_place && i < size; i++) expected[i] = approx(x[i]);
    for (size_t i = 0; i < n; i++) {
        float sum = x[i];
        for (size_t k = 1; k < parts; k++) sum += x[k * pitch + i];
        expected[i] = approx(sum);
    }
    float *y[3];
    for (int i = 0; i < 3; i++) y[i] = in_place ? fv_check_copy(c, "y", x, size) : fv_check_output(c, "y", n);
    c->candidate->reduce.add_parts(in_place ? y[0] : x, pitch, parts, y[0], n);
    c->reference->reduce.add_parts(in_place ? y[1] : x, pitch, parts, y[1], n);
    fv_check_compare(c, "y", y[0], y[1], expected, in_place ? size : n);
    const fv_check_cut cut = fv_check_cut_range(c, (fv_range){0, n});
    for (size_t i = 0; i < cut.parts; i++) {
        const fv_range p = cut.part[i];
        c->candidate->reduce.add_parts((in_place ? y[2] : x) + p.begin, pitch, parts, y[2] + p.begin, p.end - p.begin);
    }
    fv_check_same_bits(c, "y in parts", y[2], y[0], in_place ? size : n);
}
