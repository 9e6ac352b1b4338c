/* Depthwise convolution and its gradients on MobileNet's maps, EfficientNet's 5x5 and small maps of many channels. FLOPs count
 * every tap of every output, in padding too, in all three; bytes the maps once. Forwards beside oneDNN where it is found. */
#include "bench.h"

#include <stdio.h>
#include <stdlib.h>

typedef struct depthwise_spec {
    int32_t channels, size, kernel, stride;
} depthwise_spec;

static const depthwise_spec specs[] = {{32, 112, 3, 1}, {96, 112, 3, 2}, {144, 56, 3, 1}, {144, 56, 3, 2}, {192, 28, 3, 1},
                                       {384, 14, 3, 1}, {512, 14, 3, 1}, {960, 7, 3, 1},  {240, 28, 5, 1}, {480, 14, 5, 1}};

typedef enum depthwise_kind { FORWARD, DATA_GRADIENT, WEIGHT_GRADIENT, KINDS } depthwise_kind;

typedef struct depthwise_state {
    fv_depthwise_kernels k;
    fv_depthwise_desc d;
    int32_t kind;
    float *x, *y, *w, *bias, *packed;
} depthwise_state;

static fv_depthwise_desc desc_of(const depthwise_spec *s) {
    const int32_t pad = s->kernel / 2, out = (s->size + 2 * pad - s->kernel) / s->stride + 1;
    return (fv_depthwise_desc){.images = 1,
                               .channels = s->channels,
                               .in = {s->size, s->size},
                               .out = {out, out},
                               .kernel = {s->kernel, s->kernel},
                               .stride = {s->stride, s->stride},
                               .dilation = {1, 1},
                               .pad = {pad, pad},
                               .act_low = 0,
                               .act_high = 6};
}

static void drop_depthwise(void *state) {
    depthwise_state *s = state;
    if (!s) return;
    free(s->x);
    free(s->y);
    free(s->w);
    free(s->bias);
    free(s->packed);
    free(s);
}

static void *make_depthwise(const fv_bench_case *c, const fv_kernels *kernels) {
    depthwise_state *s = calloc(1, sizeof *s);
    if (!s) return NULL;
    s->k = kernels->depthwise;
    s->kind = c->kind;
    s->d = desc_of(c->spec);
    const fv_depthwise_desc *d = &s->d;
    s->x = fv_bench_values((size_t)(d->in[0] * d->in[1] * d->channels));
    s->y = fv_bench_values((size_t)(d->out[0] * d->out[1] * d->channels));
    s->w = fv_bench_values((size_t)(fv_depthwise_taps(d) * d->channels));
    s->bias = fv_bench_values((size_t)d->channels);
    s->packed = fv_bench_values(s->k.packed_size(d));
    if (!s->x || !s->y || !s->w || !s->bias || !s->packed) {
        drop_depthwise(s);
        return NULL;
    }
    const fv_conv_weights w = {s->w, 1, d->channels, 0, 0};
    s->k.pack(d, &w, s->packed, (fv_range){0, (size_t)d->channels});
    return s;
}

static void run_depthwise(void *state) {
    depthwise_state *s = state;
    const fv_depthwise_desc *d = &s->d;
    const fv_range in = {0, (size_t)d->in[0]}, out = {0, (size_t)d->out[0]}, channels = {0, (size_t)d->channels};
    if (s->kind == FORWARD) s->k.forward(d, s->x, s->packed, s->bias, NULL, s->y, out, channels);
    if (s->kind == DATA_GRADIENT) s->k.data_grad(d, s->y, s->packed, NULL, s->x, in, channels);
    if (s->kind == WEIGHT_GRADIENT) s->k.weight_grad(d, s->x, s->y, s->w, d->channels, s->bias, out, channels);
}

#ifdef FV_BENCH_DNNL
static void *make_peer(const fv_bench_case *c) {
    const fv_depthwise_desc d = desc_of(c->spec);
    return fv_peer_depthwise(&d);
}
#endif

void fv_bench_depthwise(fv_bench_add_fn add, void *user) {
    static const char *const names[KINDS] = {"depthwise.forward", "depthwise.data_grad", "depthwise.weight_grad"};
    for (int32_t kind = 0; kind < KINDS; kind++)
        for (size_t i = 0; i < FV_ARRAY_SIZE(specs); i++) {
            const depthwise_spec *s = &specs[i];
            const fv_depthwise_desc d = desc_of(s);
            fv_bench_case c = {.spec = s, .kind = kind, .make = make_depthwise, .run = run_depthwise, .drop = drop_depthwise};
            snprintf(c.name, sizeof c.name, "%s/C%d_%dx%d_%dx%d_s%d", names[kind], s->channels, s->size, s->size, s->kernel,
                     s->kernel, s->stride);
            c.flops = 2.0 * d.out[0] * d.out[1] * fv_depthwise_taps(&d) * (double)s->channels;
            c.bytes = 4.0 * s->channels * (d.in[0] * d.in[1] + d.out[0] * d.out[1]);
#ifdef FV_BENCH_DNNL
            if (kind == FORWARD) c.make_peer = make_peer, c.run_peer = fv_peer_run, c.drop_peer = fv_peer_drop;
#endif
            add(user, &c);
        }
}
