/* Transposition moves bits; pixels become numbers within two roundings; the measuring loop runs and stays finite. */
#include "kernels/check/engine.h"

typedef struct matrix {
    const float *x;
    size_t rows, columns, y_size;
    ptrdiff_t x_pitch, y_pitch;
} matrix;

static float *transposed(fv_case *c, const fv_kernels *k, const matrix *m, bool whole) {
    float *y = fv_check_output(c, "y", m->y_size);
    fv_check_cut cut = {.part = {{0, m->rows}}, .parts = 1};
    if (!whole) cut = fv_check_cut_range(c, (fv_range){0, m->rows});
    for (size_t i = 0; i < cut.parts; i++)
        k->convert.transpose(m->x, m->x_pitch, y, m->y_pitch, m->columns, cut.part[i]);
    return y;
}

void fv_check_transpose(fv_case *c) {
    fv_check_random *r = &c->random;
    matrix m = {.rows = fv_check_length(r, 70), .columns = fv_check_length(r, 70)};
    m.x_pitch = (ptrdiff_t)m.columns + check_between(r, 0, 5);
    m.y_pitch = (ptrdiff_t)m.rows + check_between(r, 0, 5);
    m.y_size = (m.columns - 1) * (size_t)m.y_pitch + m.rows;
    m.x = fv_check_input(c, "x", (m.rows - 1) * (size_t)m.x_pitch + m.columns);
    fv_check_shape(c, "rows %zu columns %zu pitches %zd, %zd", m.rows, m.columns, m.x_pitch, m.y_pitch);
    fv_check_freeze(c);
    float *expected = fv_check_output(c, "expected", m.y_size);
    for (size_t i = 0; i < m.rows; i++)
        for (size_t k = 0; k < m.columns; k++)
            memcpy(&expected[k * (size_t)m.y_pitch + i], &m.x[i * (size_t)m.x_pitch + k], sizeof(float));
    fv_check_same_bits(c, "y", transposed(c, c->candidate, &m, true), expected, m.y_size);
    fv_check_same_bits(c, "y cut into ranges", transposed(c, c->candidate, &m, false), expected, m.y_size);
}

void fv_check_u8_to_real(fv_case *c) {
    fv_check_random *r = &c->random;
    const size_t channels = check_chance(r, 0.7) ? (size_t)check_between(r, 1, 4) : fv_check_length(r, 40);
    const size_t pixels = fv_check_length(r, 100), n = pixels * channels;
    uint8_t *x = fv_check_place(c, "x", n, 1, true);
    for (size_t i = 0; i < n; i++) x[i] = (uint8_t)check_bits(r);
    const float *scale = fv_check_input(c, "scale", channels), *shift = fv_check_input(c, "shift", channels);
    fv_check_shape(c, "pixels %zu channels %zu", pixels, channels);
    fv_check_freeze(c);
    fv_approx *expected = fv_check_expected(c, n);
    for (size_t i = 0; i < n; i++) {
        const fv_approx product = approx_mul(approx(x[i]), approx(scale[i % channels]), c->eps);
        expected[i] = approx_add(product, approx(shift[i % channels]), c->eps);
    }
    float *y = fv_check_output(c, "y", n), *scalar = fv_check_output(c, "y", n), *parts = fv_check_output(c, "y", n);
    c->candidate->convert.u8_to_real(x, y, pixels, channels, scale, shift);
    c->reference->convert.u8_to_real(x, scalar, pixels, channels, scale, shift);
    fv_check_compare(c, "y", y, scalar, expected, n);
    const fv_check_cut cut = fv_check_cut_range(c, (fv_range){0, pixels});
    for (size_t i = 0; i < cut.parts; i++) {
        const fv_range p = cut.part[i];
        c->candidate->convert.u8_to_real(x + p.begin * channels, parts + p.begin * channels, p.end - p.begin, channels,
                                         scale, shift);
    }
    fv_check_same_bits(c, "y in parts", parts, y, n);
}

void fv_check_measure(fv_case *c) {
    const fv_measure_kernels *k = &c->candidate->measure;
    const size_t rounds = fv_check_length(&c->random, 500);
    float *sink = fv_check_place(c, "sink", sizeof *sink, sizeof *sink, false);
    *sink = 0;
    fv_check_shape(c, "iterations %zu", rounds);
    fv_check_freeze(c);
    k->fma_loop(rounds, sink);
    if (!isfinite(*sink)) fv_check_fail(c, "sink: got %g, expected a number", (double)*sink);
    if (!(k->flops_per_iteration > 0) || k->flops_per_cycle < 0) fv_check_fail(c, "no operation count");
}
