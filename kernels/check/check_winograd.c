/* winograd.pack, input, output and weight_grad against the direct sums in double. The bound is that of the algorithm's own terms:
 * the roundings of the transforms and of the sum over channels or tiles, times the transforms of absolute values. Of inputs and
 * weights that are +-1 every step of m = 2 is exact, and m = 4 and 6 keep far within a term, so that a lost one is found. */
#include "kernels/check/conv_case.h"

#include <stdio.h>

enum { SIDE = FV_WINOGRAD_MOST_SIDE, ROUNDINGS = 30 /* of the three transforms, two passes each, bias and residual */ };

static const double part_of_a_term = 1.0 / 64; /* the bound where all terms are +-1 */

/* |B^T|, |G| and |A^T| from the points. */
typedef struct sizes {
    double input[SIDE][SIDE], weight[SIDE][3], output[FV_WINOGRAD_MOST][SIDE];
} sizes;

static sizes sizes_of(int32_t m) {
    static const double small[SIDE - 1] = {0, 1, -1, 2, -2, 0.5, -0.5}, of_four[] = {0, 0.625, -0.625, 1.5, -1.5};
    const double *point = m == 4 ? of_four : small;
    const int32_t points = m + 1;
    sizes s;
    memset(&s, 0, sizeof s);
    for (int32_t p = 0; p <= points; p++) { /* the last one is infinity */
        double row[SIDE] = {1}, scale = 1;
        int32_t degree = 0;
        for (int32_t q = 0; q < points; q++) {
            if (q == p) continue;
            degree++;
            for (int32_t i = degree; i >= 0; i--) row[i] = (i ? row[i - 1] : 0) - point[q] * row[i];
            if (p < points) scale *= point[p] - point[q];
        }
        for (int32_t i = 0; i <= degree; i++) s.input[p][i] = fabs(row[i]);
        for (int32_t i = 0; i < 3; i++) s.weight[p][i] = p == points ? i == 2 : fabs(pow(point[p], i) / scale);
        for (int32_t i = 0; i < m; i++) s.output[i][p] = p == points ? i == m - 1 : fabs(pow(point[p], i));
    }
    return s;
}

typedef struct winograd_case {
    fv_conv_desc d;
    int32_t m;
    size_t x_size, y_size, residual_size;
    const float *x, *bias, *residual, *start; /* start: y begins as the residual */
    fv_conv_weights w;
    sizes size;
} winograd_case;

static void draw_desc(fv_case *c, winograd_case *p) {
    fv_check_random *r = &c->random;
    const size_t budget = check_chance(r, 0.02) ? 2000000 : 30000;
    size_t channels = budget > 30000 ? 200 : 70;
    int32_t most = 20;
    fv_conv_desc *d = &p->d;
    const fv_conv_desc base = *d;
    do {
        *d = base;
        d->images = check_between(r, 1, 3);
        for (int i = 1; i < 3; i++) {
            d->in[i] = check_between(r, 1, most);
            d->out[i] = check_chance(r, 0.7) ? d->in[i] : check_between(r, 1, most);
        }
        d->in_channels = (int32_t)fv_check_length(r, channels);
        d->out_channels = (int32_t)fv_check_length(r, channels);
        p->x_size = fv_check_conv_pitches(r, d->in_pitch, d->images, d->in, d->in_channels);
        p->y_size = fv_check_conv_pitches(r, d->out_pitch, d->images, d->out, d->out_channels);
        p->residual_size = fv_check_conv_pitches(r, d->residual_pitch, d->images, d->out, d->out_channels);
        if (most > 5) most--;
        if (channels > 4) channels = channels * 7 / 8;
    } while (fv_conv_out_pixels(d) * (size_t)d->in_channels * (size_t)d->out_channels > budget);
}

static void take_case(fv_case *c, winograd_case *p) {
    int32_t(*tap)[3] = fv_check_place(c, "tap", 9 * sizeof *tap, sizeof(int32_t), true);
    int32_t *list = fv_check_place(c, "weight_tap", 9 * sizeof *list, sizeof(int32_t), true);
    fv_conv_desc *d = &p->d;
    p->m = c->given->m;
    *d = c->given->conv;
    memcpy(tap, d->tap, 9 * sizeof *tap);
    memcpy(list, d->weight_tap, 9 * sizeof *list);
    d->tap = (const int32_t(*)[3])tap;
    d->weight_tap = list;
    memcpy(d->residual_pitch, d->out_pitch, sizeof d->out_pitch);
    p->x_size = (size_t)d->images * (size_t)d->in_pitch[0];
    p->y_size = p->residual_size = (size_t)d->images * (size_t)d->out_pitch[0];
}

static void draw_taps(fv_case *c, winograd_case *p) {
    const int32_t pad[2] = {check_chance(&c->random, 0.6) ? 1 : check_between(&c->random, -2, 4),
                            check_chance(&c->random, 0.6) ? 1 : check_between(&c->random, -2, 4)};
    int32_t(*tap)[3] = fv_check_place(c, "tap", 9 * sizeof *tap, sizeof(int32_t), true);
    int32_t *list = fv_check_place(c, "weight_tap", 9 * sizeof *list, sizeof(int32_t), true);
    for (int32_t t = 0; t < 9; t++) {
        tap[t][0] = 0;
        tap[t][1] = t / 3 - pad[0];
        tap[t][2] = t % 3 - pad[1];
        list[t] = 8 - t;
    }
    p->d = (fv_conv_desc){.out = {1},
                          .in = {1},
                          .step = {1, 1, 1},
                          .taps = 9,
                          .tap = (const int32_t(*)[3])tap,
                          .weight_tap = check_chance(&c->random, 0.5) ? list : NULL,
                          .groups = 1};
}

/* The unit of weights and of gradients whose terms are exact, or within part_of_a_term. */
static float unit_of(int32_t m) { return m == 2 ? 4 : 1; }

static double bound_of_signs(const fv_case *c, int32_t m) { return c->eps == 0 && m > 2 ? part_of_a_term : 0; }

/* Values +-unit. */
static const float *signs(fv_case *c, const char *name, size_t n, float unit) {
    float *x = fv_check_place(c, name, n * sizeof *x, sizeof *x, true);
    for (size_t i = 0; i < n; i++) x[i] = check_chance(&c->random, 0.5) ? unit : -unit;
    return x;
}

static void draw_case(fv_case *c, winograd_case *p) {
    fv_check_random *r = &c->random;
    fv_check_finite_only(c); /* non-finite values spread over tiles */
    p->m = 2 * check_between(r, 1, 3);
    if (c->given) take_case(c, p);
    p->size = sizes_of(p->m);
    const bool exact = c->eps == 0;
    if (!c->given) {
        draw_taps(c, p);
        draw_desc(c, p);
    }
    if (!fv_winograd_suits(&p->d)) fv_check_fail(c, "nine taps side by side are not what suits");
    fv_check_conv_clamp(r, &p->d);
    const size_t outs = (size_t)p->d.out_channels, weights = 9 * (size_t)p->d.in_channels * outs;
    p->x = exact ? signs(c, "x", p->x_size, 1) : fv_check_input(c, "x", p->x_size);
    p->w = fv_check_conv_weights(
        r, &p->d, 9, exact ? signs(c, "weights", weights, unit_of(p->m)) : fv_check_input(c, "weights", weights));
    if (check_chance(r, 0.6)) p->bias = fv_check_input(c, "bias", outs);
    const int residual = check_between(r, 0, 5); /* 1: a tensor of its own, 2: y itself */
    if (residual == 1) p->residual = fv_check_input(c, "residual", p->residual_size);
    if (residual == 2) {
        memcpy(p->d.residual_pitch, p->d.out_pitch, sizeof p->d.out_pitch);
        p->residual = p->start = fv_check_input(c, "residual", p->y_size);
    }
    const fv_conv_desc *d = &p->d;
    fv_check_shape(c, "%s F(%d,3) n%d in %dx%d out %dx%d first tap %d,%d C%d K%d in pitch %d,%d out pitch %d,%d%s",
                   c->given ? c->given->name : "random", p->m, d->images, d->in[1], d->in[2], d->out[1], d->out[2],
                   d->tap[0][1], d->tap[0][2], d->in_channels, d->out_channels, (int)d->in_pitch[2], (int)d->in_pitch[3],
                   (int)d->out_pitch[2], (int)d->out_pitch[3], residual == 2 ? " residual in y" : "");
}

/* Offset of an input pixel; -1: padding. */
static ptrdiff_t pixel_of(const fv_conv_desc *d, ptrdiff_t image, ptrdiff_t y, ptrdiff_t x) {
    const bool inside = y >= 0 && y < d->in[1] && x >= 0 && x < d->in[2];
    return inside ? image * d->in_pitch[0] + y * d->in_pitch[2] + x * d->in_pitch[3] : -1;
}

static double weight(const winograd_case *p, int32_t t, int32_t c, int32_t k) {
    return p->w.data[(p->d.weight_tap ? p->d.weight_tap[t] : t) * p->w.tap + c * p->w.in + k * p->w.out];
}

/* |T| v |T|^T, v and the result with SIDE elements a row. */
static void spread(const double *t, int32_t pitch, int32_t rows, int32_t columns, double v[SIDE][SIDE], double out[SIDE][SIDE]) {
    for (int32_t i = 0; i < rows; i++)
        for (int32_t j = 0; j < rows; j++) {
            out[i][j] = 0;
            for (int32_t k = 0; k < columns; k++)
                for (int32_t l = 0; l < columns; l++) out[i][j] += t[i * pitch + k] * v[k][l] * t[j * pitch + l];
        }
}

/* Sizes of a tile's frequencies, [C][SIDE][SIDE], or of a map's weights. */
static void input_sizes(const winograd_case *p, size_t tile, double (*v)[SIDE][SIDE]) {
    const fv_winograd_tile at = fv_winograd_tile_at(&p->d, p->m, tile);
    const int32_t a = p->m + 2;
    for (int32_t c = 0; c < p->d.in_channels; c++) {
        double in[SIDE][SIDE];
        for (int32_t i = 0; i < a * a; i++) {
            const ptrdiff_t from = pixel_of(&p->d, at.image, at.y + i / a + p->d.tap[0][1], at.x + i % a + p->d.tap[0][2]);
            in[i / a][i % a] = from < 0 ? 0 : fabs((double)p->x[from + c]);
        }
        spread(p->size.input[0], SIDE, a, a, in, v[c]);
    }
}

static void weight_sizes(const winograd_case *p, int32_t k, double (*u)[SIDE][SIDE]) {
    for (int32_t c = 0; c < p->d.in_channels; c++) {
        double g[SIDE][SIDE];
        for (int32_t t = 0; t < 9; t++) g[t / 3][t % 3] = fabs(weight(p, t, c, k));
        spread(p->size.weight[0], 3, p->m + 2, 3, g, u[c]);
    }
}

/* Bounds of a tile's m x m values of one map: eps * roundings * |A^T| sum |U||V| |A|, and a flushed denormal in each factor. */
static void tile_bounds(const fv_case *c, const winograd_case *p, double (*u)[SIDE][SIDE], double (*v)[SIDE][SIDE],
                        double out[SIDE][SIDE]) {
    const int32_t a = p->m + 2;
    const double roundings = p->d.in_channels + ROUNDINGS, tiny = c->eps > 0 ? 16 * (double)FLT_MIN : 0;
    double sum[SIDE][SIDE] = {{0}};
    for (int32_t i = 0; i < a * a; i++)
        for (int32_t k = 0; k < p->d.in_channels; k++) {
            const double x = v[k][i / a][i % a], w = u[k][i / a][i % a];
            sum[i / a][i % a] += c->eps * roundings * x * w + tiny * (x + w + 1);
        }
    for (int32_t i = 0; i < p->m; i++)
        for (int32_t j = 0; j < p->m; j++) {
            out[i][j] = 0;
            for (int32_t k = 0; k < a * a; k++)
                out[i][j] += p->size.output[i][k / a] * sum[k / a][k % a] * p->size.output[j][k % a];
        }
}

static fv_approx expected_value(const fv_case *c, const winograd_case *p, const ptrdiff_t at[3], int32_t k, double bound) {
    const fv_conv_desc *d = &p->d;
    double value = 0, more = 0;
    for (int32_t t = 0; t < 9; t++) {
        const ptrdiff_t from = pixel_of(d, at[0], at[1] + d->tap[t][1], at[2] + d->tap[t][2]);
        for (int32_t i = 0; from >= 0 && i < d->in_channels; i++) value += weight(p, t, i, k) * p->x[from + i];
    }
    bound += c->eps * 3 * fabs(value);
    if (p->bias) more = p->bias[k];
    value += more;
    bound += c->eps * 3 * fabs(more);
    more = p->residual
               ? p->residual[at[0] * d->residual_pitch[0] + at[1] * d->residual_pitch[2] + at[2] * d->residual_pitch[3] + k]
               : 0;
    value += more;
    bound += c->eps * 3 * fabs(more);
    return (fv_approx){value < d->act_low ? d->act_low : value > d->act_high ? d->act_high : value, bound};
}

/* A tile of map k from the sizes of both. */
static void expect_tile(const fv_case *c, const winograd_case *p, size_t tile, size_t k, double (*u)[SIDE][SIDE],
                        double (*v)[SIDE][SIDE], fv_approx *e) {
    const fv_conv_desc *d = &p->d;
    const fv_winograd_tile t = fv_winograd_tile_at(d, p->m, tile);
    double bound[SIDE][SIDE];
    tile_bounds(c, p, u, v, bound);
    for (int32_t i = 0; i < p->m * p->m; i++) {
        const ptrdiff_t at[3] = {t.image, t.y + i / p->m, t.x + i % p->m};
        if (at[1] >= d->out[1] || at[2] >= d->out[2]) continue;
        e[at[0] * d->out_pitch[0] + at[1] * d->out_pitch[2] + at[2] * d->out_pitch[3] + (ptrdiff_t)k] =
            expected_value(c, p, at, (int32_t)k, bound[i / p->m][i % p->m] + bound_of_signs(c, p->m));
    }
}

static fv_approx *expect(fv_case *c, const winograd_case *p) {
    const fv_conv_desc *d = &p->d;
    const size_t tiles = fv_winograd_tiles(d, p->m), maps = (size_t)d->out_channels, channels = (size_t)d->in_channels;
    const bool few_tiles = tiles < maps; /* the fewer are kept, the others made one after the other */
    fv_approx *e = fv_check_expected(c, p->y_size);
    double(*kept)[SIDE][SIDE] = fv_check_plain(c, channels * fv_min_size(tiles, maps) * sizeof *kept);
    double(*one)[SIDE][SIDE] = fv_check_plain(c, channels * sizeof *one);
    for (size_t tile = 0; few_tiles && tile < tiles; tile++) input_sizes(p, tile, kept + tile * channels);
    for (size_t k = 0; few_tiles && k < maps; k++) {
        weight_sizes(p, (int32_t)k, one);
        for (size_t tile = 0; tile < tiles; tile++) expect_tile(c, p, tile, k, one, kept + tile * channels, e);
    }
    for (size_t k = 0; !few_tiles && k < maps; k++) weight_sizes(p, (int32_t)k, kept + k * channels);
    for (size_t tile = 0; !few_tiles && tile < tiles; tile++) {
        input_sizes(p, tile, one);
        for (size_t k = 0; k < maps; k++) expect_tile(c, p, tile, k, kept + k * channels, one, e);
    }
    for (size_t i = 0; p->start && i < p->y_size; i++)
        if (e[i].error < 0) e[i] = approx(p->start[i]); /* in place the gaps of y hold the residual's */
    return e;
}

static float *pack(fv_case *c, const fv_winograd_kernels *k, const winograd_case *p, bool in_parts) {
    const size_t n = k->packed_size(&p->d, p->m);
    float *packed = fv_check_place(c, "packed weights", n * sizeof *packed, FV_ALIGNMENT, false);
    const fv_range all = {0, fv_winograd_panels(k, &p->d)};
    fv_check_cut cut = {.part = {all}, .parts = 1};
    if (in_parts) cut = fv_check_cut_range(c, all);
    memset(packed, 0xff, n * sizeof *packed);
    for (size_t i = 0; i < cut.parts; i++) k->pack(&p->d, p->m, &p->w, packed, cut.part[i]);
    return packed;
}

static float *make_output(fv_case *c, const winograd_case *p) {
    return p->start ? fv_check_copy(c, "y", p->start, p->y_size) : fv_check_output(c, "y", p->y_size);
}

static float *whole(fv_case *c, const fv_winograd_kernels *k, const winograd_case *p) {
    const size_t tiles = fv_winograd_tiles(&p->d, p->m);
    const float *packed = pack(c, k, p, false);
    float *y = make_output(c, p);
    void *scratch = fv_check_scratch(c, fv_winograd_forward_scratch(k, &p->d, p->m, tiles) * sizeof(float));
    fv_winograd_forward(k, &p->d, p->m, p->x, packed, p->bias, p->start ? y : p->residual, y, (fv_range){0, tiles},
                        (fv_range){0, fv_winograd_panels(k, &p->d)}, scratch);
    return y;
}

/* Blocks of tiles, their inputs, and their outputs by panels, all cut at random; scratch as small as it may be. */
static float *parts(fv_case *c, const fv_winograd_kernels *k, const winograd_case *p, bool cut_pack, bool cut_input) {
    const float *packed = pack(c, k, p, cut_pack);
    float *y = make_output(c, p);
    const fv_check_cut blocks = fv_check_cut_range(c, (fv_range){0, fv_winograd_tiles(&p->d, p->m)});
    for (size_t i = 0; i < blocks.parts; i++) {
        const fv_range block = blocks.part[i];
        const int mark = c->memory->used;
        float *v = fv_check_scratch(c, k->input_size(&p->d, p->m, block.end - block.begin) * sizeof(float));
        void *scratch = fv_check_scratch(c, k->output_scratch(&p->d, p->m, block.end - block.begin));
        fv_check_cut inputs = {.part = {block}, .parts = 1};
        if (cut_input) inputs = fv_check_cut_range(c, block);
        for (size_t j = 0; j < inputs.parts; j++) k->input(&p->d, p->m, p->x, v, block, inputs.part[j]);
        const fv_check_cut panels = fv_check_cut_range(c, (fv_range){0, fv_winograd_panels(k, &p->d)});
        for (size_t j = 0; j < panels.parts; j++)
            k->output(&p->d, p->m, v, packed, p->bias, p->start ? y : p->residual, y, block, panels.part[j], scratch);
        fv_check_memory_verify(c);
        c->memory->used = mark;
    }
    return y;
}

void fv_check_winograd(fv_case *c) {
    winograd_case p = {.m = 0};
    draw_case(c, &p);
    fv_check_freeze(c);
    const fv_winograd_kernels *k = &c->candidate->winograd;
    const float *got = whole(c, k, &p), *scalar = c->reference == c->candidate ? NULL : whole(c, &c->reference->winograd, &p);
    fv_check_compare(c, "y", got, scalar, expect(c, &p), p.y_size);
    fv_check_same_values(c, "y cut into ranges", parts(c, k, &p, c->argument == 0, c->argument == 1), got, p.y_size);
}

/* ---- weight gradient ---- */

typedef struct gradient {
    const float *dy;
    ptrdiff_t pitch;
    size_t size;
    fv_range tiles;
} gradient;

/* Sizes of the frequencies of a tile's gradient, [K][SIDE][SIDE]. */
static void gradient_sizes(const winograd_case *p, const float *dy, size_t tile, double (*u)[SIDE][SIDE]) {
    const fv_conv_desc *d = &p->d;
    const fv_winograd_tile at = fv_winograd_tile_at(d, p->m, tile);
    const int32_t m = p->m, a = m + 2;
    double turned[SIDE][SIDE];
    for (int32_t i = 0; i < a * m; i++) turned[i / m][i % m] = p->size.output[i % m][i / m];
    for (int32_t k = 0; k < d->out_channels; k++) {
        double in[SIDE][SIDE];
        for (int32_t i = 0; i < m * m; i++) {
            const ptrdiff_t y = at.y + i / m, x = at.x + i % m;
            const bool inside = y < d->out[1] && x < d->out[2];
            in[i / m][i % m] =
                inside ? fabs((double)dy[at.image * d->out_pitch[0] + y * d->out_pitch[2] + x * d->out_pitch[3] + k]) : 0;
        }
        spread(turned[0], SIDE, a, m, in, u[k]);
    }
}

/* The direct sum for one tap and channel, over the pixels of the tiles. */
static double direct_sum(const winograd_case *p, const gradient *w, int32_t t, int32_t c, int32_t k) {
    const fv_conv_desc *d = &p->d;
    double sum = 0;
    for (size_t tile = w->tiles.begin; tile < w->tiles.end; tile++) {
        const fv_winograd_tile at = fv_winograd_tile_at(d, p->m, tile);
        for (ptrdiff_t y = at.y; y < at.y + p->m && y < d->out[1]; y++)
            for (ptrdiff_t x = at.x; x < at.x + p->m && x < d->out[2]; x++) {
                const ptrdiff_t from = pixel_of(d, at.image, y + d->tap[t][1], x + d->tap[t][2]);
                if (from < 0) continue;
                const ptrdiff_t to = at.image * d->out_pitch[0] + y * d->out_pitch[2] + x * d->out_pitch[3];
                sum += (double)p->x[from + c] * w->dy[to + k];
            }
    }
    return sum;
}

/* eps * roundings * |G^T| sum |U||V| |G| for the nine taps, and a flushed denormal in each factor; terms: that sum. */
static void tap_bounds(const fv_case *c, const winograd_case *p, double roundings, double terms[SIDE][SIDE], double out[3][3]) {
    const int32_t a = p->m + 2;
    for (int32_t i = 0; i < 3; i++)
        for (int32_t j = 0; j < 3; j++) {
            out[i][j] = 0;
            for (int32_t f = 0; f < a * a; f++)
                out[i][j] += p->size.weight[f / a][i] * c->eps * roundings * terms[f / a][f % a] * p->size.weight[f % a][j];
        }
}

static fv_approx *expect_gradient(fv_case *c, const winograd_case *p, const gradient *w) {
    const fv_conv_desc *d = &p->d;
    const size_t channels = (size_t)d->in_channels, maps = (size_t)d->out_channels;
    const double roundings = (double)(w->tiles.end - w->tiles.begin) + ROUNDINGS, tiny = c->eps > 0 ? 16 * (double)FLT_MIN : 0;
    fv_approx *e = fv_check_expected(c, w->size);
    double(*v)[SIDE][SIDE] = fv_check_plain(c, channels * sizeof *v), (*u)[SIDE][SIDE] = fv_check_plain(c, maps * sizeof *u);
    double(*terms)[SIDE][SIDE] = fv_check_plain(c, channels * maps * sizeof *terms);
    for (size_t tile = w->tiles.begin; tile < w->tiles.end; tile++) {
        input_sizes(p, tile, v);
        gradient_sizes(p, w->dy, tile, u);
        for (size_t i = 0; i < channels * maps; i++)
            for (int32_t f = 0; f < SIDE * SIDE; f++) {
                const double x = v[i / maps][f / SIDE][f % SIDE], y = u[i % maps][f / SIDE][f % SIDE];
                terms[i][f / SIDE][f % SIDE] += x * y + (tiny > 0 ? tiny / c->eps * (x + y + 1) : 0);
            }
    }
    for (int32_t i = 0; i < d->in_channels * d->out_channels; i++) {
        const int32_t channel = i / d->out_channels, k = i % d->out_channels;
        double bound[3][3];
        tap_bounds(c, p, roundings, terms[i], bound);
        for (int32_t t = 0; t < 9; t++) {
            const ptrdiff_t row = (d->weight_tap ? d->weight_tap[t] : t) * (ptrdiff_t)d->in_channels + channel;
            e[row * w->pitch + k] = (fv_approx){direct_sum(p, w, t, channel, k), bound[t / 3][t % 3] + bound_of_signs(c, p->m)};
        }
    }
    return e;
}

/* Over channels and panels, whole or cut at random; scratch as small as it may be. */
static float *weight_gradient(fv_case *c, const fv_winograd_kernels *k, const winograd_case *p, const gradient *w,
                              bool in_parts) {
    float *dw = fv_check_output(c, "dw", w->size);
    const fv_range channels = {0, (size_t)p->d.in_channels}, panels = {0, fv_winograd_panels(k, &p->d)};
    fv_check_cut rows = {.part = {channels}, .parts = 1}, columns = {.part = {panels}, .parts = 1};
    if (in_parts) {
        rows = fv_check_cut_range(c, channels);
        columns = fv_check_cut_range(c, panels);
    }
    for (size_t i = 0; i < rows.parts * columns.parts; i++) {
        const fv_range some = rows.part[i / columns.parts], maps = columns.part[i % columns.parts];
        const int mark = c->memory->used;
        void *scratch = fv_check_scratch(c, k->weight_grad_scratch(&p->d, p->m, some.end - some.begin, maps.end - maps.begin));
        k->weight_grad(&p->d, p->m, p->x, w->dy, dw, w->pitch, w->tiles, some, maps, scratch);
        fv_check_memory_verify(c);
        c->memory->used = mark;
    }
    return dw;
}

void fv_check_winograd_weight_grad(fv_case *c) {
    fv_check_random *r = &c->random;
    winograd_case p = {.m = 2 * check_between(r, 1, 3)};
    fv_check_finite_only(c);
    p.size = sizes_of(p.m);
    const bool exact = c->eps == 0;
    draw_taps(c, &p);
    draw_desc(c, &p);
    const size_t outs = (size_t)p.d.out_channels, tiles = fv_winograd_tiles(&p.d, p.m);
    p.x = exact ? signs(c, "x", p.x_size, 1) : fv_check_input(c, "x", p.x_size);
    gradient w = {.dy = exact ? signs(c, "dy", p.y_size, unit_of(p.m)) : fv_check_input(c, "dy", p.y_size), .tiles = {0, tiles}};
    w.pitch = (ptrdiff_t)outs + check_between(r, 0, 3);
    w.size = (9 * (size_t)p.d.in_channels - 1) * (size_t)w.pitch + outs;
    if (check_chance(r, 0.5)) {
        w.tiles.begin = check_below(r, tiles);
        w.tiles.end = w.tiles.begin + check_below(r, tiles - w.tiles.begin + 1);
    }
    fv_check_shape(c, "F(%d,3) n%d in %dx%d out %dx%d first tap %d,%d C%d K%d tiles %zu..%zu", p.m, p.d.images, p.d.in[1],
                   p.d.in[2], p.d.out[1], p.d.out[2], p.d.tap[0][1], p.d.tap[0][2], p.d.in_channels, p.d.out_channels,
                   w.tiles.begin, w.tiles.end);
    fv_check_freeze(c);
    const fv_winograd_kernels *k = &c->candidate->winograd;
    const float *got = weight_gradient(c, k, &p, &w, false);
    const float *scalar = c->reference == c->candidate ? NULL : weight_gradient(c, &c->reference->winograd, &p, &w, false);
    fv_check_compare(c, "dw", got, scalar, expect_gradient(c, &p, &w), w.size);
    fv_check_same_values(c, "dw cut into ranges", weight_gradient(c, k, &p, &w, true), got, w.size);
}
