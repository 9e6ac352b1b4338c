/* Locally connected layers: a product a position, whose pixels are the images. Weights are read once, so memory bounds small
 * batches. bytes: maps and weights once. */
#include "bench.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { KERNEL = 3, TAPS = KERNEL * KERNEL };

typedef struct local_spec {
    int32_t images, channels, size, maps;
} local_spec;

static const local_spec specs[] = {{1, 16, 28, 16}, {64, 16, 14, 16}, {64, 32, 8, 32}};

typedef enum local_kind { FORWARD, TRAINING, WEIGHT_GRADIENT, KINDS } local_kind;

typedef struct local_state {
    fv_conv_kernels k;
    const local_spec *spec;
    local_kind kind;
    fv_conv_desc d;
    int32_t tap[TAPS][3], weight_tap[TAPS];
    size_t positions, packed_count, panels;
    float *x, *y, *w, *packed;
    void *scratch;
} local_state;

static void drop_local(void *state) {
    local_state *s = state;
    if (!s) return;
    free(s->x);
    free(s->y);
    free(s->w);
    free(s->packed);
    free(s->scratch);
    free(s);
}

/* Maps keep their size: a border of one pixel is padding. */
static void set_position(local_state *s, size_t position) {
    const int32_t size = s->spec->size, at[2] = {(int32_t)position / size, (int32_t)position % size};
    for (int32_t t = 0; t < TAPS; t++) {
        s->tap[t][0] = 0;
        s->tap[t][1] = at[0] + t / KERNEL - KERNEL / 2;
        s->tap[t][2] = at[1] + t % KERNEL - KERNEL / 2;
        s->weight_tap[t] = (int32_t)position * TAPS + t;
    }
}

static void describe(local_state *s) {
    const ptrdiff_t channels = s->spec->channels, maps = s->spec->maps, size = s->spec->size;
    s->d = (fv_conv_desc){.images = s->spec->images,
                          .taps = TAPS,
                          .in_channels = s->spec->channels,
                          .out_channels = s->spec->maps,
                          .groups = 1,
                          .in = {1, s->spec->size, s->spec->size},
                          .out = {1, 1, 1},
                          .step = {1, 1, 1},
                          .act_low = -INFINITY,
                          .act_high = INFINITY};
    const ptrdiff_t in[4] = {size * size * channels, size * size * channels, size * channels, channels};
    const ptrdiff_t out[4] = {size * size * maps, maps, maps, maps};
    memcpy(s->d.in_pitch, in, sizeof in);
    memcpy(s->d.out_pitch, out, sizeof out);
    memcpy(s->d.residual_pitch, out, sizeof out);
    s->d.tap = (const int32_t(*)[3])s->tap;
    s->d.weight_tap = s->weight_tap;
}

static void pack(local_state *s, float *packed) {
    const ptrdiff_t channels = s->spec->channels, maps = s->spec->maps;
    const fv_conv_weights w = {s->w, 0, channels * maps, maps, 1};
    s->k.pack(&s->d, &w, packed, (fv_range){0, s->panels});
}

static void *make_local(const fv_bench_case *c, const fv_kernels *kernels) {
    local_state *s = calloc(1, sizeof *s);
    if (!s) return NULL;
    s->k = kernels->conv;
    s->spec = c->spec;
    s->kind = (local_kind)c->kind;
    describe(s);
    set_position(s, 0);
    s->positions = (size_t)s->spec->size * (size_t)s->spec->size;
    s->panels = fv_div_up((size_t)s->spec->maps, (size_t)s->k.nr);
    s->packed_count = fv_round_up(s->k.packed_size(&s->d), FV_ALIGNMENT / sizeof(float));
    const size_t in = (size_t)s->spec->images * s->positions * (size_t)s->spec->channels;
    size_t scratch = 1;
    for (size_t i = 0; i < s->positions; i++) {
        set_position(s, i);
        scratch = fv_max_size(scratch, fv_max_size(s->k.forward_scratch(&s->d), s->k.weight_grad_scratch(&s->d)));
    }
    s->x = fv_bench_values(in);
    s->y = fv_bench_values((size_t)s->spec->images * s->positions * (size_t)s->spec->maps);
    s->w = fv_bench_values(s->positions * TAPS * (size_t)s->spec->channels * (size_t)s->spec->maps);
    s->packed = fv_bench_values(s->packed_count * s->positions);
    s->scratch = aligned_alloc(FV_ALIGNMENT, fv_round_up(scratch, FV_ALIGNMENT));
    if (!s->x || !s->y || !s->w || !s->packed || !s->scratch) {
        drop_local(s);
        return NULL;
    }
    for (size_t i = 0; i < s->positions; i++) {
        set_position(s, i);
        pack(s, s->packed + i * s->packed_count);
    }
    return s;
}

static void run_local(void *state) {
    local_state *s = state;
    const size_t maps = (size_t)s->spec->maps, weights = TAPS * (size_t)s->spec->channels;
    const fv_range images = {0, (size_t)s->spec->images};
    for (size_t i = 0; i < s->positions; i++) {
        float *packed = s->packed + (s->kind == FORWARD ? i * s->packed_count : 0), *y = s->y + i * maps;
        set_position(s, i);
        if (s->kind == TRAINING) pack(s, packed);
        if (s->kind == WEIGHT_GRADIENT)
            s->k.weight_grad(&s->d, s->x, y, s->w + i * weights * maps, (ptrdiff_t)maps, images, (fv_range){0, weights},
                             s->scratch);
        else
            s->k.forward(&s->d, s->x, packed, NULL, NULL, y, images, (fv_range){0, s->panels}, s->scratch);
    }
}

void fv_bench_local(fv_bench_add_fn add, void *user) {
    static const char *const names[KINDS] = {"local.forward", "local.training", "local.weight_grad"};
    for (int32_t kind = 0; kind < KINDS; kind++)
        for (size_t i = 0; i < FV_ARRAY_SIZE(specs); i++) {
            const local_spec *s = &specs[i];
            const double positions = (double)s->size * s->size, weights = positions * TAPS * s->channels * s->maps;
            fv_bench_case c = {.spec = s, .kind = kind, .make = make_local, .run = run_local, .drop = drop_local};
            c.flops = 2 * weights * s->images;
            c.bytes = 4 * (weights + s->images * positions * (s->channels + s->maps));
            snprintf(c.name, sizeof c.name, "%s/N%d_C%d_%dx%d_K%d_%dx%d", names[kind], s->images, s->channels, s->size,
                     s->size, s->maps, KERNEL, KERNEL);
            add(user, &c);
        }
}
