/* 3x3 convolution by Winograd beside the direct product, each over all its pixels in one call on one core; weights are packed
 * outside the timed run, in rows of their own. The weight gradient goes in chunks of channels as its plan has them, and counts
 * its own transforms. FLOPs are those of the direct sum. */
#include "bench.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

typedef struct winograd_spec {
    int32_t images, channels, size;
} winograd_spec;

static const winograd_spec specs[] = {
    {1, 64, 56},   {1, 128, 28},  {1, 256, 14},  {1, 512, 7},  {16, 512, 7},  {1, 64, 224},  {16, 64, 56},  {16, 128, 28},
    {16, 256, 28}, {16, 256, 14}, {16, 512, 14}, {64, 64, 32}, {64, 128, 16}, {64, 256, 8}, {64, 512, 4},
};

/* kind: m of F(m x m, 3x3), 0 for the direct product, + 8 * what. */
enum { PRODUCT, PACK, WEIGHT_GRADIENT, WHATS };
enum { GRAD_CHANNELS = 128 }; /* of a call for the weight gradient */

typedef struct winograd_state {
    fv_conv_desc desc;
    int32_t tap[9][3];
    fv_conv_weights weights;
    fv_kernels table;
    int32_t m, what;
    float *x, *w, *bias, *y, *packed, *scratch;
} winograd_state;

static void drop_winograd(void *state) {
    winograd_state *s = state;
    if (!s) return;
    free(s->x);
    free(s->w);
    free(s->bias);
    free(s->y);
    free(s->packed);
    free(s->scratch);
    free(s);
}

static void describe(winograd_state *s, const winograd_spec *spec) {
    const ptrdiff_t c = spec->channels, n = spec->size;
    for (int32_t t = 0; t < 9; t++) {
        s->tap[t][1] = t / 3 - 1;
        s->tap[t][2] = t % 3 - 1;
    }
    s->desc = (fv_conv_desc){.images = spec->images,
                             .out = {1, spec->size, spec->size},
                             .in = {1, spec->size, spec->size},
                             .step = {1, 1, 1},
                             .taps = 9,
                             .tap = (const int32_t(*)[3])s->tap,
                             .in_channels = spec->channels,
                             .out_channels = spec->channels,
                             .groups = 1,
                             .act_low = 0,
                             .act_high = INFINITY};
    const ptrdiff_t pitch[4] = {n * n * c, n * n * c, n * c, c};
    for (int i = 0; i < 4; i++) s->desc.in_pitch[i] = s->desc.out_pitch[i] = s->desc.residual_pitch[i] = pitch[i];
    s->weights = (fv_conv_weights){s->w, 0, c * c, c, 1};
}

static void pack_weights(winograd_state *s) {
    const fv_kernels *k = &s->table;
    if (s->m)
        k->winograd.pack(&s->desc, s->m, &s->weights, s->packed,
                         (fv_range){0, fv_winograd_panels(&k->winograd, &s->desc)});
    else
        k->conv.pack(&s->desc, &s->weights, s->packed,
                     (fv_range){0, fv_div_up((size_t)s->desc.out_channels, (size_t)k->conv.nr)});
}

static size_t grad_panels(const winograd_state *s) {
    return fv_min_size(fv_winograd_panels(&s->table.winograd, &s->desc), (size_t)(GRAD_CHANNELS / s->table.winograd.nr));
}

/* Elements. */
static size_t scratch_size(const winograd_state *s) {
    const fv_winograd_kernels *k = &s->table.winograd;
    const bool gradient = s->what == WEIGHT_GRADIENT;
    const fv_conv_kernels *direct = &s->table.conv;
    if (!s->m) return (gradient ? direct->weight_grad_scratch : direct->forward_scratch)(&s->desc) / sizeof(float);
    const size_t channels = fv_min_size(GRAD_CHANNELS, (size_t)s->desc.in_channels);
    return gradient ? k->weight_grad_scratch(&s->desc, s->m, channels, grad_panels(s)) / sizeof(float)
                    : fv_winograd_forward_scratch(k, &s->desc, s->m, fv_winograd_tiles(&s->desc, s->m));
}

static void weight_gradient(winograd_state *s) {
    const fv_winograd_kernels *k = &s->table.winograd;
    const fv_conv_desc *d = &s->desc;
    const size_t channels = (size_t)d->in_channels, panels = fv_winograd_panels(k, d), step = grad_panels(s);
    if (!s->m) {
        s->table.conv.weight_grad(d, s->x, s->y, s->w, (ptrdiff_t)channels, (fv_range){0, fv_conv_out_pixels(d)},
                                  (fv_range){0, 9 * channels}, s->scratch);
        return;
    }
    for (size_t c = 0; c < channels; c += GRAD_CHANNELS)
        for (size_t p = 0; p < panels; p += step)
            k->weight_grad(d, s->m, s->x, s->y, s->w, (ptrdiff_t)channels, (fv_range){0, fv_winograd_tiles(d, s->m)},
                           (fv_range){c, fv_min_size(c + GRAD_CHANNELS, channels)}, (fv_range){p, fv_min_size(p + step, panels)},
                           s->scratch);
}

static void *make_winograd(const fv_bench_case *b, const fv_kernels *kernels) {
    const winograd_spec *spec = b->spec;
    const size_t c = (size_t)spec->channels, values = (size_t)spec->images * (size_t)(spec->size * spec->size) * c;
    winograd_state *s = calloc(1, sizeof *s);
    if (!s) return NULL;
    s->table = *kernels;
    s->m = b->kind % 8;
    s->what = b->kind / 8;
    s->x = fv_bench_values(values);
    s->y = fv_bench_values(values);
    s->w = fv_bench_values(9 * c * c);
    s->bias = fv_bench_values(c);
    describe(s, spec);
    const int32_t m = s->m;
    const size_t packed = m ? kernels->winograd.packed_size(&s->desc, m) : kernels->conv.packed_size(&s->desc);
    s->packed = fv_bench_values(packed);
    s->scratch = fv_bench_values(scratch_size(s) + 16);
    if (s->x && s->y && s->w && s->bias && s->packed && s->scratch) {
        pack_weights(s);
        return s;
    }
    drop_winograd(s);
    return NULL;
}

static void run_winograd(void *state) {
    winograd_state *s = state;
    const fv_kernels *k = &s->table;
    const fv_conv_desc *d = &s->desc;
    if (s->what == PACK)
        pack_weights(s);
    else if (s->what == WEIGHT_GRADIENT)
        weight_gradient(s);
    else if (s->m)
        fv_winograd_forward(&k->winograd, d, s->m, s->x, s->packed, s->bias, NULL, s->y,
                            (fv_range){0, fv_winograd_tiles(d, s->m)}, (fv_range){0, fv_winograd_panels(&k->winograd, d)},
                            s->scratch);
    else
        k->conv.forward(d, s->x, s->packed, s->bias, NULL, s->y, (fv_range){0, fv_conv_out_pixels(d)},
                        (fv_range){0, fv_div_up((size_t)d->out_channels, (size_t)k->conv.nr)}, s->scratch);
}

void fv_bench_winograd(fv_bench_add_fn add, void *user) {
    static const char *const names[WHATS] = {"", ".pack", ".weight_grad"};
    for (size_t i = 0; i < FV_ARRAY_SIZE(specs); i++)
        for (int32_t kind = 0; kind < 8 * WHATS; kind += 2) {
            const winograd_spec *s = &specs[i];
            const int32_t m = kind % 8, what = kind / 8;
            const double c = s->channels, pixels = (double)s->images * s->size * s->size;
            fv_bench_case b = {.spec = s, .kind = kind, .make = make_winograd, .run = run_winograd, .drop = drop_winograd};
            char name[16] = "direct";
            if (m) snprintf(name, sizeof name, "F(%d,3)", m);
            snprintf(b.name, sizeof b.name, "winograd/N%d_C%d_%dx%d/%s%s", s->images, s->channels, s->size, s->size, name,
                     names[what]);
            b.flops = what == PACK ? 0 : 18 * c * c * pixels;
            b.bytes = 4 * (what == PACK ? (9 + (double)((m + 2) * (m + 2))) * c * c : 2 * pixels * c + 9 * c * c);
            if (m || what != PACK) add(user, &b);
        }
}
