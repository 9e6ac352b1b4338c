/* Contrast normalization. bytes: maps of C channels read and written once; flops of a blur: its multiply-adds, which
 * bound it for a window of nine. */
#include "bench.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

typedef struct map_spec {
    int32_t channels, size, window;
} map_spec;

static const map_spec maps[] = {{64, 56, 9}, {32, 28, 9}, {16, 112, 5}, {1, 224, 9}};

typedef enum contrast_kind {
    BLUR,
    SUBTRACT,
    SIGMA,
    MAP_SUM,
    MAP_SQUARES,
    MAP_DOT,
    SHIFT,
    SCALE,
    SCALE_ADD,
    DIVIDE,
    DIVIDE_ADD,
    BELOW_DOT,
    SIGMA_GRAD,
    POWER_3_4,
    POWER_3_5,
    LOCAL,
    LOCAL_GRAD,
    CONTRAST_KINDS
} contrast_kind;

static const struct {
    const char *name;
    double maps, single; /* moved a call: maps of all channels, and of one */
} kinds[CONTRAST_KINDS] = {
    [BLUR] = {"contrast.blur", 2, 0},
    [SUBTRACT] = {"contrast.blur_subtract", 2, 0},
    [SIGMA] = {"contrast.blur_sigma", 2, 0},
    [MAP_SUM] = {"contrast.sum", 1, 1},
    [MAP_SQUARES] = {"contrast.squares", 1, 1},
    [MAP_DOT] = {"contrast.dot", 2, 1},
    [SHIFT] = {"contrast.shift", 2, 1},
    [SCALE] = {"contrast.scale", 2, 1},
    [SCALE_ADD] = {"contrast.scale_add", 3, 1},
    [DIVIDE] = {"contrast.divide", 3, 0},
    [DIVIDE_ADD] = {"contrast.divide_add", 5, 0},
    [BELOW_DOT] = {"contrast.below_dot", 3, 0},
    [SIGMA_GRAD] = {"contrast.sigma_grad", 4, 0},
    [POWER_3_4] = {"contrast.power_0.75", 2, 0},
    [POWER_3_5] = {"contrast.power_0.6", 2, 0},
    [LOCAL] = {"contrast.local_5", 2, 0},
    [LOCAL_GRAD] = {"contrast.local_grad_5", 3, 0},
};

typedef struct contrast_state {
    fv_contrast_kernels k;
    contrast_kind kind;
    fv_contrast_desc d;
    size_t channels, pixels;
    float *x, *y, *z, *sigma, *row, *weight;
    void *scratch;
} contrast_state;

static void drop_contrast(void *state) {
    contrast_state *s = state;
    if (!s) return;
    free(s->x);
    free(s->y);
    free(s->z);
    free(s->sigma);
    free(s->row);
    free(s->weight);
    free(s->scratch);
    free(s);
}

static fv_brightness brightness_of(const contrast_state *s, float mu) {
    const int32_t side = s->channels > 2 ? 2 : (int32_t)s->channels - 1;
    return (fv_brightness){1, 0.5f, mu, (int32_t)s->channels, side, side};
}

static void *make_contrast(const fv_bench_case *b, const fv_kernels *k) {
    const map_spec *m = b->spec;
    contrast_state *s = calloc(1, sizeof *s);
    if (!s) return NULL;
    s->k = k->contrast;
    s->kind = (contrast_kind)b->kind;
    s->channels = (size_t)m->channels;
    s->pixels = (size_t)m->size * (size_t)m->size;
    const size_t values = s->channels * s->pixels;
    s->x = fv_bench_values(values);
    s->y = fv_bench_values(values);
    s->z = fv_bench_values(values);
    s->sigma = fv_bench_values(values);
    s->row = fv_bench_values(s->pixels + s->channels);
    s->weight = fv_bench_values((size_t)(m->window + m->size));
    s->d = (fv_contrast_desc){.channels = m->channels,
                              .in = {m->size, m->size},
                              .taps = {m->window, m->window},
                              .before = {m->window / 2, m->window / 2},
                              .weight = {s->weight, s->weight},
                              .norm = {s->weight + m->window, s->weight + m->window},
                              .ring = m->size};
    const fv_brightness local = brightness_of(s, 0.75f);
    const size_t scratch = fv_max_size(fv_blur_scratch(&s->d), fv_local_scratch(&local));
    s->scratch = aligned_alloc(FV_ALIGNMENT, fv_round_up(scratch, FV_ALIGNMENT));
    if (!s->x || !s->y || !s->z || !s->sigma || !s->row || !s->weight || !s->scratch) {
        drop_contrast(s);
        return NULL;
    }
    for (size_t i = 0; i < values; i++) s->sigma[i] = fabsf(s->sigma[i]) + 0.5f;
    for (size_t i = 0; i < s->pixels + s->channels; i++) s->row[i] = fabsf(s->row[i]) + 0.5f;
    for (int32_t i = 0; i < m->window + m->size; i++) s->weight[i] = i < m->window ? 1 : 1.0f / (float)m->window;
    return s;
}

static void run_contrast(void *state) {
    contrast_state *s = state;
    const fv_contrast_kernels *k = &s->k;
    const size_t c = s->channels, p = s->pixels;
    const fv_range rows = {0, (size_t)s->d.in[0]}, pixels = {0, p};
    const fv_sigma sigma = {s->sigma, s->row, false, c, p};
    const fv_brightness bright = brightness_of(s, s->kind == POWER_3_5 ? 0.6f : 0.75f);
    switch (s->kind) {
    case BLUR:
        k->blur[FV_BLUR_PLAIN](&s->d, s->x, s->y, rows, s->scratch);
        break;
    case SUBTRACT:
        k->blur[FV_BLUR_SUBTRACT](&s->d, s->x, s->y, rows, s->scratch);
        break;
    case SIGMA:
        k->blur[FV_BLUR_SIGMA](&s->d, s->x, s->y, rows, s->scratch);
        break;
    case MAP_SUM:
        k->sum[FV_MAP_SUM](s->x, NULL, s->row, c, p, 1);
        break;
    case MAP_SQUARES:
        k->sum[FV_MAP_SQUARES](s->x, NULL, s->row, c, p, 1);
        break;
    case MAP_DOT:
        k->sum[FV_MAP_DOT](s->x, s->z, s->row, c, p, 1);
        break;
    case SHIFT:
        k->shift(s->x, s->row, s->y, c, p);
        break;
    case SCALE:
        k->scale(s->x, s->row, NULL, NULL, s->y, c, p);
        break;
    case SCALE_ADD:
        k->scale(s->x, s->row, s->z, s->row, s->y, c, p);
        break;
    case DIVIDE:
        k->divide(&sigma, s->x, s->y);
        break;
    case DIVIDE_ADD:
        k->divide_add(&sigma, s->x, s->z, s->x, s->y);
        break;
    case BELOW_DOT:
        k->below_dot(&sigma, s->x, s->z, s->y);
        break;
    case SIGMA_GRAD:
        k->sigma_grad(&sigma, s->x, s->z, s->row, 1, s->y);
        break;
    case POWER_3_4:
    case POWER_3_5:
        k->power(&bright, s->sigma, s->y, c * p);
        break;
    case LOCAL:
        k->local(&bright, s->x, s->y, pixels, s->scratch);
        break;
    default:
        k->local_grad(&bright, s->x, s->z, s->y, pixels, s->scratch);
    }
}

void fv_bench_contrast(fv_bench_add_fn add, void *user) {
    for (int32_t kind = 0; kind < CONTRAST_KINDS; kind++)
        for (size_t i = 0; i < FV_ARRAY_SIZE(maps); i++) {
            const map_spec *m = &maps[i];
            const double values = (double)m->channels * m->size * m->size;
            fv_bench_case c = {.kind = kind,
                               .spec = m,
                               .make = make_contrast,
                               .run = run_contrast,
                               .drop = drop_contrast,
                               .bytes = 4 * values * (kinds[kind].maps + kinds[kind].single / m->channels),
                               .flops = kind <= SIGMA ? 4.0 * m->window * values : 0};
            snprintf(c.name, sizeof c.name, "%s/C%d_%dx%d_w%d", kinds[kind].name, m->channels, m->size, m->size,
                     m->window);
            add(user, &c);
        }
}
