/* Normalization: passes over maps of the networks that have it, bounded by memory. bytes: maps read and written once. */
#include "bench.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

typedef enum norm_kind { MOMENTS, APPLY, GRAD_SUMS, GRAD_INPUT, NORM_KINDS } norm_kind;

static const struct {
    const char *name;
    double maps; /* read and written */
} kinds[NORM_KINDS] = {[MOMENTS] = {"norm.moments", 1},
                       [APPLY] = {"norm.apply", 2},
                       [GRAD_SUMS] = {"norm.grad_sums", 2},
                       [GRAD_INPUT] = {"norm.grad_input", 3}};

/* ResNet-18 at 32x32 and batch 16, the narrow first maps of MobileNet, and one chunk as a piece of work has it. */
typedef struct norm_spec {
    int32_t channels, pixels, chunk;
} norm_spec;

static const norm_spec specs[] = {{64, 16384, 256}, {128, 4096, 128},  {256, 1024, 64},
                                  {512, 256, 32},   {16, 16384, 1024}, {64, 256, 256}};

typedef struct norm_state {
    fv_kernels k;
    norm_kind kind;
    norm_spec spec;
    fv_norm_map map;
    float *x, *dy, *y, *coefficients; /* 7 arrays of channels */
} norm_state;

static void drop_norm(void *state) {
    norm_state *s = state;
    if (!s) return;
    free(s->x);
    free(s->dy);
    free(s->y);
    free(s->coefficients);
    free(s);
}

static void *make_norm(const fv_bench_case *b, const fv_kernels *k) {
    norm_state *s = calloc(1, sizeof *s);
    if (!s) return NULL;
    s->k = *k;
    s->kind = (norm_kind)b->kind;
    s->spec = *(const norm_spec *)b->spec;
    const size_t c = (size_t)s->spec.channels, values = c * (size_t)s->spec.pixels;
    s->x = fv_bench_values(values);
    s->dy = fv_bench_values(values);
    s->y = fv_bench_values(values);
    s->coefficients = fv_bench_values(7 * c);
    if (!s->x || !s->dy || !s->y || !s->coefficients) {
        drop_norm(s);
        return NULL;
    }
    s->map = (fv_norm_map){s->coefficients, s->coefficients + c, s->coefficients + 2 * c, 0, INFINITY};
    return s;
}

/* Chunk after chunk, as the operator's pieces run. With a clamp, the form that training has. */
static void run_norm(void *state) {
    norm_state *s = state;
    const fv_norm_kernels *k = &s->k.norm;
    const size_t c = (size_t)s->spec.channels, chunk = (size_t)s->spec.chunk;
    const ptrdiff_t pitch = s->spec.channels;
    float *out = s->coefficients + 5 * c;
    for (size_t p = 0; p < (size_t)s->spec.pixels; p += chunk) {
        const size_t at = p * c;
        if (s->kind == MOMENTS) k->moments(s->x + at, pitch, chunk, c, out, out + c);
        if (s->kind == APPLY) k->apply(&s->map, s->x + at, pitch, s->y + at, pitch, c, chunk);
        if (s->kind == GRAD_SUMS) k->grad_sums(&s->map, s->dy + at, pitch, s->x + at, pitch, c, chunk, out, out + c);
        if (s->kind == GRAD_INPUT)
            k->grad_input(&s->map, s->coefficients + 3 * c, s->coefficients + 4 * c, s->dy + at, pitch, s->x + at, pitch,
                          s->y + at, pitch, c, chunk);
    }
}

void fv_bench_norm(fv_bench_add_fn add, void *user) {
    for (int32_t kind = 0; kind < NORM_KINDS; kind++)
        for (size_t i = 0; i < FV_ARRAY_SIZE(specs); i++) {
            fv_bench_case c = {.kind = kind,
                               .spec = &specs[i],
                               .make = make_norm,
                               .run = run_norm,
                               .drop = drop_norm,
                               .bytes = 4.0 * kinds[kind].maps * specs[i].channels * specs[i].pixels};
            snprintf(c.name, sizeof c.name, "%s/C%d_%d", kinds[kind].name, specs[i].channels, specs[i].pixels);
            add(user, &c);
        }
}
