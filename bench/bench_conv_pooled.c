/* Gradients of convolution + max pooling 2x2 through the places of the largest values. FLOPs count the products of the direct
 * gradient (conv.weight_grad, conv.data_grad), so a share of the peak above 100 % is work left out. */
#include "bench.h"

#include <stdio.h>
#include <stdlib.h>

typedef struct pooled_spec {
    int32_t images, channels, size, maps, kernel, pad;
} pooled_spec;

static const pooled_spec specs[] = {{64, 1, 28, 6, 5, 2}, {64, 6, 14, 16, 5, 0}, {64, 32, 28, 32, 3, 1}, {64, 64, 14, 64, 3, 1}};

enum { WEIGHT_GRADIENT, DATA_GRADIENT };

typedef struct pooled_state {
    fv_conv_pooled_kernels k;
    fv_conv_pooled_desc d;
    int32_t kind;
    float *x, *g, *w, *packed;
    int32_t *at;
    void *scratch;
} pooled_state;

static fv_conv_pooled_desc desc_of(const pooled_spec *s) {
    const int32_t out = s->size + 2 * s->pad - s->kernel + 1;
    return (fv_conv_pooled_desc){.images = s->images, .channels = s->channels, .maps = s->maps, .in = {s->size, s->size},
                                 .kernel = {s->kernel, s->kernel}, .stride = {1, 1}, .dilation = {1, 1}, .pad = {s->pad, s->pad},
                                 .pooled = {out / 2, out / 2}, .window = {2, 2}};
}

static void drop_pooled(void *state) {
    pooled_state *s = state;
    if (!s) return;
    free(s->x);
    free(s->g);
    free(s->w);
    free(s->packed);
    free(s->at);
    free(s->scratch);
    free(s);
}

static void *make_pooled(const fv_bench_case *c, const fv_kernels *kernels) {
    pooled_state *s = calloc(1, sizeof *s);
    if (!s) return NULL;
    s->k = kernels->conv_pooled;
    s->kind = c->kind;
    s->d = desc_of(c->spec);
    const fv_conv_pooled_desc *d = &s->d;
    const size_t values = (size_t)d->images * (size_t)(d->pooled[0] * d->pooled[1] * d->maps);
    const size_t weights = (size_t)(fv_conv_pooled_taps(d) * d->channels * d->maps);
    s->x = fv_bench_values((size_t)d->images * (size_t)(d->in[0] * d->in[1] * d->channels));
    s->g = fv_bench_values(values);
    s->w = fv_bench_values(weights);
    s->packed = fv_bench_values(s->k.packed_size(d));
    s->at = calloc(values, sizeof *s->at);
    s->scratch = fv_bench_values(fv_max_size(s->k.weight_grad_scratch(d), s->k.input_grad_scratch(d)) / sizeof(float) + 16);
    if (!s->x || !s->g || !s->w || !s->packed || !s->at || !s->scratch) {
        drop_pooled(s);
        return NULL;
    }
    uint32_t state = 7;
    for (size_t i = 0; i < values; i++) s->at[i] = (int32_t)((state = state * 1664525u + 1013904223u) >> 30);
    const fv_conv_weights w = {s->w, 0, (ptrdiff_t)d->channels * d->maps, d->maps, 1};
    s->k.pack(d, &w, s->packed, (fv_range){0, (size_t)d->maps});
    return s;
}

static void run_pooled(void *state) {
    pooled_state *s = state;
    const fv_range images = {0, (size_t)s->d.images}, maps = {0, (size_t)s->d.maps};
    if (s->kind == WEIGHT_GRADIENT)
        s->k.weight_grad(&s->d, s->x, s->g, s->at, s->w, s->d.maps, images, maps, s->scratch);
    else
        s->k.input_grad(&s->d, s->packed, s->g, s->at, s->x, images, s->scratch);
}

void fv_bench_conv_pooled(fv_bench_add_fn add, void *user) {
    static const char *const names[] = {"conv_pooled.weight_grad", "conv_pooled.input_grad"};
    for (int32_t kind = 0; kind < 2; kind++)
        for (size_t i = 0; i < FV_ARRAY_SIZE(specs); i++) {
            const pooled_spec *s = &specs[i];
            const fv_conv_pooled_desc d = desc_of(s);
            fv_bench_case c = {.spec = s, .kind = kind, .make = make_pooled, .run = run_pooled, .drop = drop_pooled};
            snprintf(c.name, sizeof c.name, "%s/N%d_C%d_%dx%d_K%d_%dx%d_pool2", names[kind], s->images, s->channels, s->size, s->size, s->maps,
                     s->kernel, s->kernel);
            c.flops = 2.0 * s->images * 4 * d.pooled[0] * d.pooled[1] * fv_conv_pooled_taps(&d) * (double)s->channels * s->maps;
            add(user, &c);
        }
}
