#include "ops/conv_choice.h"

#include <math.h>

static bool any(const fv_kernels *k, const fv_conv_desc *d) {
    (void)k, (void)d;
    return true;
}

static double round_up(int32_t n, int32_t unit) { return (double)fv_round_up((size_t)n, (size_t)unit); }

static double direct_cost(const fv_conv_algorithm *a, const fv_kernels *k, const fv_conv_desc *d, bool packs) {
    (void)a;
    const double channels = (double)d->taps * d->in_channels * d->groups;
    const double products = (double)fv_conv_out_pixels(d) * channels * round_up(d->out_channels, k->conv.nr);
    return products / 0.94 + (packs ? 20 * channels * d->out_channels : 0);
}

/* Scalar kernels are the definition of the direct sum. Below 16 channels transforms outweigh what is saved. */
static bool winograd_supports(const fv_kernels *k, const fv_conv_desc *d) {
    return k->winograd.nr > 1 && d->in_channels >= 16 && d->out_channels >= 16 && fv_conv_out_pixels(d) > 0 &&
           fv_winograd_suits(d);
}

/* What transforms cost, measured on AVX2 (bench_winograd), in multiply-adds a tile and channel, and a weight. */
typedef struct transforms {
    double input, output, weight;
} transforms;

static transforms transforms_of(int32_t m) {
    static const transforms of[3] = {{115, 90, 250}, {340, 240, 400}, {800, 600, 600}};
    return of[m / 2 - 1];
}

/* Every block of tiles reads all weights: `stream` tiles' worth of time, of which few tiles hide nothing; beyond what
 * L3 holds more. Packing writes them: beyond what L2 and a share of L3 take up, `write` multiply-adds an element. */
static double winograd_cost(const fv_conv_algorithm *a, const fv_kernels *k, const fv_conv_desc *d, bool packs) {
    enum { L3_ELEMENTS = 4 << 20, WRITTEN_ELEMENTS = 1 << 20 };
    const double write = 40;
    const transforms t = transforms_of(a->m);
    const double frequencies = (a->m + 2) * (a->m + 2), in = round_up(d->in_channels, k->winograd.nr / 2);
    const double out = round_up(d->out_channels, k->winograd.nr), weights = frequencies * d->in_channels * out;
    const size_t tiles = fv_winograd_tiles(d, a->m), block = fv_winograd_block(&k->winograd, d, a->m, tiles);
    const double blocks = (double)fv_div_up(tiles, block), stream = weights > L3_ELEMENTS ? 6 : 3,
                 least = weights > L3_ELEMENTS ? 13 : 8;
    const double products = weights * blocks * (stream + fmax((double)tiles / blocks, least)) / 0.94;
    const double packing = t.weight * d->in_channels * out + write * fmax(0, weights - WRITTEN_ELEMENTS);
    return products + (double)tiles * (t.input * in + t.output * out) + (packs ? packing : 0);
}

/* F(6,3) is left to the weight gradient: over the nine layers that it would take of Inception-v3, whose 94 convolutions follow each
 * other, its error alone is 2e-4 of the largest output, and it saves 2 % of VGG-16 at most. */
static const fv_conv_algorithm algorithms[FV_CONV_ALGORITHMS] = {
    {{"indirect", "indirect + pack"}, 0, any, direct_cost},
    {{"winograd F(2,3)", "winograd F(2,3) + pack"}, 2, winograd_supports, winograd_cost},
    {{"winograd F(4,3)", "winograd F(4,3) + pack"}, 4, winograd_supports, winograd_cost},
};

size_t fv_conv_candidates(const fv_kernels *k, const fv_conv_desc *d, bool winograd, const fv_conv_algorithm **out) {
    size_t count = 0;
    for (size_t i = 0; i < FV_ARRAY_SIZE(algorithms); i++)
        if ((winograd || algorithms[i].m == 0) && algorithms[i].supports(k, d)) out[count++] = &algorithms[i];
    return count;
}

const fv_conv_algorithm *fv_conv_choose(const fv_kernels *k, const fv_conv_desc *d, bool packs, bool winograd) {
    const double worth_an_error = 0.9; /* of the cost so far: larger tiles round more */
    const fv_conv_algorithm *of[FV_CONV_ALGORITHMS];
    const size_t count = fv_conv_candidates(k, d, winograd, of);
    size_t best = 0;
    double least = of[0]->cost(of[0], k, d, packs);
    for (size_t i = 1; i < count; i++) {
        const double cost = of[i]->cost(of[i], k, d, packs);
        if (cost >= worth_an_error * least) continue;
        best = i;
        least = cost;
    }
    return of[best];
}

/* Of a weight gradient, in multiply-adds at the units' full rate: transforms of both maps, and of the sums. */
static double grad_cost(const fv_kernels *k, const fv_conv_desc *d, int32_t m) {
    const double in = d->in_channels, out = round_up(d->out_channels, k->winograd.nr);
    if (m == 0) return (double)fv_conv_out_pixels(d) * d->taps * in * out / 0.8;
    const transforms t = transforms_of(m);
    const double tiles = (double)fv_winograd_tiles(d, m), again_in = ceil(out / 128), again_out = ceil(in / 128);
    return tiles * ((m + 2) * (m + 2) * in * out / 0.8 + t.input * in * again_in + t.output * out * again_out) +
           t.weight * in * out;
}

int32_t fv_conv_choose_weight_grad(const fv_kernels *k, const fv_conv_desc *d) {
    const double worth_an_error = 0.9;
    int32_t best = 0;
    if (!winograd_supports(k, d)) return 0;
    for (int32_t m = 2; m <= FV_WINOGRAD_MOST; m += 2)
        if (grad_cost(k, d, m) < worth_an_error * grad_cost(k, d, best)) best = m;
    return best;
}
