/* Convolution: forward, data gradient, weight gradient and packing, each over all its pixels in one call on one core. The weights are
 * packed outside the timed run, in rows of their own. */
#include "bench.h"

#include "ops/conv_geometry.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct conv_spec {
    int32_t images, channels, size, maps, kernel, stride, pad;
} conv_spec;

static const conv_spec specs[] = {
    {1, 64, 56, 64, 3, 1, 1},     {1, 128, 28, 128, 3, 1, 1}, {1, 256, 14, 256, 3, 1, 1}, {16, 512, 7, 512, 3, 1, 1},
    {1, 64, 224, 64, 3, 1, 1},    {1, 256, 56, 128, 1, 1, 0}, {1, 64, 56, 256, 1, 1, 0},  {1, 512, 28, 128, 1, 1, 0},
    {1, 1024, 14, 256, 1, 1, 0},  {1, 2048, 7, 512, 1, 1, 0}, {1, 256, 56, 512, 1, 2, 0}, {1, 3, 224, 64, 7, 2, 3},
    {64, 1, 28, 6, 5, 1, 2},      {64, 6, 14, 16, 5, 1, 0},   {64, 32, 28, 32, 3, 1, 1},  {64, 64, 14, 64, 3, 1, 1},
    {64, 400, 1, 120, 1, 1, 0},
};

enum { FORWARD, DATA_GRADIENT, WEIGHT_GRADIENT, PACK, KINDS };
enum { MOST_TAPS = 49, MOST_PHASES = 4 };

/* A product with its own taps. */
typedef struct part {
    fv_conv_desc desc;
    int32_t tap[MOST_TAPS][3], weight_tap[MOST_TAPS];
    fv_conv_weights weights;
    float *packed;
    ptrdiff_t offset;
} part;

typedef struct conv_state {
    const fv_conv_kernels *kernels;
    int32_t kind, parts;
    part part[MOST_PHASES];
    float *x, *w, *bias, *y, *dw;
    void *scratch;
    fv_kernels table;
} conv_state;

static fv_conv_geometry geometry_of(const conv_spec *s) {
    fv_conv_geometry g = {.images = s->images, .groups = 1, .in_channels = s->channels, .out_channels = s->maps,
                          .act_low = -INFINITY, .act_high = INFINITY};
    for (int a = 0; a < 3; a++) {
        g.in[a] = a ? s->size : 1;
        g.kernel[a] = a ? s->kernel : 1;
        g.stride[a] = a ? s->stride : 1;
        g.dilation[a] = 1;
        g.pad[a] = a ? s->pad : 0;
        g.out[a] = (g.in[a] + 2 * g.pad[a] - g.kernel[a]) / g.stride[a] + 1;
    }
    return g;
}

static void drop_conv(void *state) {
    conv_state *c = state;
    if (!c) return;
    for (int32_t i = 0; i < c->parts; i++) free(c->part[i].packed);
    free(c->x);
    free(c->w);
    free(c->bias);
    free(c->y);
    free(c->dw);
    free(c->scratch);
    free(c);
}

/* Packs a part's weights and grows the scratch to what it needs. */
static int ready_product(conv_state *c, part *p) {
    const fv_conv_kernels *k = c->kernels;
    p->packed = fv_bench_values(k->packed_size(&p->desc) + 1);
    if (!p->packed) return 0;
    p->weights.data = c->w;
    k->pack(&p->desc, &p->weights, p->packed, (fv_range){0, (size_t)(p->desc.out_channels + k->nr - 1) / (size_t)k->nr});
    return 1;
}

static void describe(conv_state *c, const fv_conv_geometry *g) {
    const ptrdiff_t in = g->in_channels, out = g->out_channels;
    const int32_t phases = c->kind == DATA_GRADIENT ? fv_conv_phases(g) : 1;
    for (int32_t i = 0; i < phases; i++) {
        part *p = &c->part[c->parts];
        const fv_conv_taps memory = {p->tap, p->weight_tap};
        p->weights = (fv_conv_weights){NULL, 0, in * out, out, 1};
        if (c->kind == DATA_GRADIENT) {
            p->weights = (fv_conv_weights){NULL, 0, in * out, 1, out};
            if (!fv_conv_input_grad_desc(g, i, memory, &p->desc, &p->offset)) continue;
        } else if (c->kind == WEIGHT_GRADIENT) {
            fv_conv_weight_grad_desc(g, memory, &p->desc);
        } else {
            fv_conv_forward_desc(g, memory, &p->desc);
        }
        c->parts++;
    }
}

static void *make_conv(const fv_bench_case *b, const fv_kernels *kernels) {
    const fv_conv_geometry g = geometry_of(b->spec);
    const size_t taps = (size_t)fv_conv_kernel_taps(&g), channels = (size_t)g.in_channels, maps = (size_t)g.out_channels;
    const size_t in = (size_t)g.images * (size_t)(g.in[1] * g.in[2]) * channels;
    const size_t out = (size_t)g.images * (size_t)(g.out[1] * g.out[2]) * maps;
    conv_state *c = calloc(1, sizeof *c);
    if (!c) return NULL;
    c->table = *kernels;
    c->kernels = &c->table.conv;
    c->kind = b->kind;
    c->x = fv_bench_values(in);
    c->y = fv_bench_values(out);
    c->w = fv_bench_values(taps * channels * maps);
    c->dw = fv_bench_values(taps * channels * maps);
    c->bias = fv_bench_values(maps);
    int fine = c->x && c->y && c->w && c->dw && c->bias;
    describe(c, &g);
    size_t scratch = 0;
    for (int32_t i = 0; i < c->parts && fine; i++) {
        const fv_conv_desc *d = &c->part[i].desc;
        scratch = fv_max_size(scratch, c->kind == WEIGHT_GRADIENT ? c->kernels->weight_grad_scratch(d) : c->kernels->forward_scratch(d));
        fine = c->kind == WEIGHT_GRADIENT || ready_product(c, &c->part[i]);
    }
    if (fine) fine = (c->scratch = fv_bench_values(scratch / sizeof(float) + 16)) != NULL;
    if (fine) return c;
    drop_conv(c);
    return NULL;
}

static fv_range all_panels(const conv_state *c, const fv_conv_desc *d) {
    return (fv_range){0, fv_div_up((size_t)d->out_channels, (size_t)c->kernels->nr)};
}

static void run_conv(void *state) {
    conv_state *c = state;
    const fv_conv_kernels *k = c->kernels;
    const fv_conv_desc *d = &c->part[0].desc;
    const fv_range pixels = {0, fv_conv_out_pixels(d)};
    switch (c->kind) {
    case FORWARD:
        k->forward(d, c->x, c->part[0].packed, c->bias, NULL, c->y, pixels, all_panels(c, d), c->scratch);
        break;
    case DATA_GRADIENT:
        for (int32_t i = 0; i < c->parts; i++) {
            const part *p = &c->part[i];
            k->forward(&p->desc, c->y, p->packed, NULL, NULL, c->x + p->offset, (fv_range){0, fv_conv_out_pixels(&p->desc)},
                       all_panels(c, &p->desc), c->scratch);
        }
        break;
    case WEIGHT_GRADIENT:
        k->weight_grad(d, c->x, c->y, c->dw, d->out_channels, pixels, (fv_range){0, (size_t)d->taps * (size_t)d->in_channels}, c->scratch);
        break;
    default:
        k->pack(d, &c->part[0].weights, c->part[0].packed, all_panels(c, d));
    }
}

void fv_bench_conv(fv_bench_add_fn add, void *user) {
    static const char *const names[KINDS] = {"conv.forward", "conv.data_grad", "conv.weight_grad", "conv.pack"};
    for (int32_t kind = 0; kind < KINDS; kind++)
        for (size_t i = 0; i < FV_ARRAY_SIZE(specs); i++) {
            const conv_spec *s = &specs[i];
            const fv_conv_geometry g = geometry_of(s);
            const double weights = (double)fv_conv_kernel_taps(&g) * s->channels * s->maps;
            const double in = (double)s->images * s->size * s->size * s->channels;
            const double out = (double)s->images * g.out[1] * g.out[2] * s->maps;
            fv_bench_case c = {.spec = s, .kind = kind, .make = make_conv, .run = run_conv, .drop = drop_conv};
            snprintf(c.name, sizeof c.name, "%s/N%d_C%d_%dx%d_K%d_%dx%d_s%d", names[kind], s->images, s->channels, s->size, s->size,
                     s->maps, s->kernel, s->kernel, s->stride);
            c.flops = kind == PACK ? 0 : 2 * weights * s->images * g.out[1] * g.out[2];
            c.bytes = 4 * (kind == PACK ? 2 * weights : in + out + weights);
            add(user, &c);
        }
}
