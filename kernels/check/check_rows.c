/* Rows at a pitch: copies bit by bit, products of one rounding, sums within their bound. */
#include "kernels/check/engine.h"

typedef struct matrix {
    size_t width, rows, size;
    ptrdiff_t pitch;
} matrix;

static matrix draw_matrix(fv_case *c) {
    matrix m = {.width = fv_check_length(&c->random, 80), .rows = fv_check_length(&c->random, 40)};
    m.pitch = (ptrdiff_t)m.width + (check_chance(&c->random, 0.4) ? 0 : check_between(&c->random, 1, 9));
    m.size = (m.rows - 1) * (size_t)m.pitch + m.width;
    return m;
}

void fv_check_rows_copy(fv_case *c) {
    const matrix x = draw_matrix(c);
    matrix y = x;
    y.pitch = (ptrdiff_t)y.width + (check_chance(&c->random, 0.4) ? 0 : check_between(&c->random, 1, 9));
    y.size = (y.rows - 1) * (size_t)y.pitch + y.width;
    const bool zeros = check_chance(&c->random, 0.2);
    const float *from = zeros ? NULL : fv_check_input(c, "x", x.size);
    fv_check_shape(c, "width %zu rows %zu pitches %zd, %zd%s", x.width, x.rows, x.pitch, y.pitch,
                   zeros ? " zeros" : "");
    fv_check_freeze(c);
    fv_approx *e = fv_check_expected(c, y.size);
    for (size_t r = 0; r < x.rows; r++)
        for (size_t i = 0; i < x.width; i++)
            e[r * (size_t)y.pitch + i] = approx(zeros ? 0 : (double)from[r * (size_t)x.pitch + i]);
    float *whole = fv_check_output(c, "y", y.size), *scalar = fv_check_output(c, "y", y.size);
    c->candidate->rows.copy(from, x.pitch, whole, y.pitch, x.width, x.rows);
    c->reference->rows.copy(from, x.pitch, scalar, y.pitch, x.width, x.rows);
    fv_check_compare(c, "y", whole, scalar, e, y.size);
    fv_check_same_bits(c, "y and the scalar definition's", whole, scalar, y.size);
}

void fv_check_rows_scale(fv_case *c) {
    const matrix m = draw_matrix(c);
    const float *x = fv_check_input(c, "x", m.size), *scale = fv_check_input(c, "scale", m.rows);
    const bool in_place = check_chance(&c->random, 0.4);
    fv_check_shape(c, "width %zu rows %zu pitch %zd%s", m.width, m.rows, m.pitch, in_place ? " in place" : "");
    fv_check_freeze(c);
    c->same_as_scalar = true;
    fv_approx *e = fv_check_expected(c, m.size);
    for (size_t i = 0; in_place && i < m.size; i++) e[i] = approx(x[i]);
    for (size_t r = 0; r < m.rows; r++)
        for (size_t i = 0; i < m.width; i++) {
            const size_t at = r * (size_t)m.pitch + i;
            e[at] = approx_mul(approx(x[at]), approx(scale[r]), c->eps);
        }
    float *y[3];
    for (int i = 0; i < 3; i++) y[i] = in_place ? fv_check_copy(c, "y", x, m.size) : fv_check_output(c, "y", m.size);
    c->candidate->rows.scale(in_place ? y[0] : x, scale, y[0], m.pitch, m.width, m.rows);
    c->reference->rows.scale(in_place ? y[1] : x, scale, y[1], m.pitch, m.width, m.rows);
    fv_check_compare(c, "y", y[0], y[1], e, m.size);
    const fv_check_cut cut = fv_check_cut_range(c, (fv_range){0, m.rows});
    for (size_t i = 0; i < cut.parts; i++) {
        const size_t at = cut.part[i].begin * (size_t)m.pitch;
        c->candidate->rows.scale((in_place ? y[2] : x) + at, scale + cut.part[i].begin, y[2] + at, m.pitch, m.width,
                                 cut.part[i].end - cut.part[i].begin);
    }
    fv_check_same_values(c, "y cut into ranges", y[2], y[0], m.size);
}

void fv_check_rows_inner(fv_case *c) {
    const matrix m = draw_matrix(c);
    const float *x1 = fv_check_input(c, "x1", m.size), *x2 = fv_check_input(c, "x2", m.size);
    fv_check_shape(c, "width %zu rows %zu pitch %zd", m.width, m.rows, m.pitch);
    fv_check_freeze(c);
    fv_approx *e = fv_check_expected(c, m.rows);
    for (size_t r = 0; r < m.rows; r++) {
        fv_approx_sum sum = {0};
        for (size_t i = 0; i < m.width; i++) {
            const size_t at = r * (size_t)m.pitch + i;
            approx_sum_add(&sum, approx((double)x1[at] * x2[at]));
        }
        e[r] = approx_sum(&sum, c->eps);
    }
    float *y[3];
    for (int i = 0; i < 3; i++) y[i] = fv_check_output(c, "y", m.rows);
    c->candidate->rows.inner(x1, x2, m.pitch, y[0], m.width, m.rows);
    c->reference->rows.inner(x1, x2, m.pitch, y[1], m.width, m.rows);
    fv_check_compare(c, "y", y[0], y[1], e, m.rows);
    const fv_check_cut cut = fv_check_cut_range(c, (fv_range){0, m.rows});
    for (size_t i = 0; i < cut.parts; i++) {
        const size_t at = cut.part[i].begin * (size_t)m.pitch;
        c->candidate->rows.inner(x1 + at, x2 + at, m.pitch, y[2] + cut.part[i].begin, m.width,
                                 cut.part[i].end - cut.part[i].begin);
    }
    fv_check_same_bits(c, "y cut into ranges", y[2], y[0], m.rows);
}
