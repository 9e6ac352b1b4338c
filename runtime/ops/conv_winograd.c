/* Planning a convolution by Winograd: one phase where pieces of tiles make their own frequencies, two where all panels share
 * them. Large weights that change with every run, as in training, are transformed by the pieces that use them, a few panels at a
 * time, when all frequencies of the input fit L3: written out whole they would go through memory and back. */
#include "ops/conv_product.h"

#include <math.h>

static void run_pack(void *arg, size_t piece, void *scratch) {
    (void)scratch;
    const fv_conv_product *c = arg;
    fv_conv_weights w = c->weights;
    w.data = c->weight->data;
    c->kernels->winograd.pack(&c->desc, c->m, &w, c->packed->data, (fv_range){piece, piece + 1});
}

/* Frequencies of the tiles of a chunk lie together: output takes them as a block. */
static fv_real *frequencies_of(const fv_conv_product *c, fv_range tiles) {
    return (fv_real *)c->frequencies->data +
           tiles.begin / c->pixel_chunk * c->kernels->winograd.input_size(&c->desc, c->m, c->pixel_chunk);
}

enum { INPUT_TILES = 4 }; /* of a piece of the first phase */

static void run_input(void *arg, size_t piece, void *scratch) {
    (void)scratch;
    const fv_conv_product *c = arg;
    const size_t parts = fv_div_up(c->pixel_chunk, INPUT_TILES), begin = piece / parts * c->pixel_chunk;
    const fv_range block = {begin, fv_min_size(begin + c->pixel_chunk, c->pixels)};
    const fv_range tiles = {begin + piece % parts * INPUT_TILES,
                            fv_min_size(begin + (piece % parts + 1) * INPUT_TILES, block.end)};
    if (tiles.begin < tiles.end) c->kernels->winograd.input(&c->desc, c->m, c->x->data, frequencies_of(c, block), block, tiles);
}

static void run_product(void *arg, size_t piece, void *scratch) {
    const fv_conv_product *c = arg;
    const fv_winograd_kernels *k = &c->kernels->winograd;
    const fv_range tiles = fv_conv_pixel_range(c, piece), panels = fv_conv_panel_range(c, piece);
    const fv_real *bias = c->bias ? c->bias->data : NULL, *residual = c->residual ? c->residual->data : NULL;
    fv_real *y = (fv_real *)c->y->data + c->y_offset;
    if (c->frequencies)
        k->output(&c->desc, c->m, frequencies_of(c, tiles), c->packed->data, bias, residual, y, tiles, panels, scratch);
    else
        fv_winograd_forward(k, &c->desc, c->m, c->x->data, c->packed->data, bias, residual, y, tiles, panels, scratch);
}

/* Elements of the panels' packed weights. */
static size_t own_packed_size(const fv_conv_product *c, fv_conv_desc *part) {
    *part = c->desc;
    part->out_channels = (int32_t)fv_min_size((size_t)c->desc.out_channels, c->panel_chunk * (size_t)c->kernels->winograd.nr);
    return fv_round_up(c->kernels->winograd.packed_size(part, c->m), FV_ALIGNMENT / sizeof(fv_real));
}

/* A piece: some panels for all tiles. */
static void run_own_panels(void *arg, size_t piece, void *scratch) {
    const fv_conv_product *c = arg;
    const fv_winograd_kernels *k = &c->kernels->winograd;
    const size_t first = piece * c->panel_chunk * (size_t)k->nr;
    fv_conv_desc d;
    fv_real *rest = (fv_real *)scratch + own_packed_size(c, &d);
    d.out_channels = (int32_t)fv_min_size((size_t)d.out_channels, (size_t)c->desc.out_channels - first);
    const fv_range panels = {0, fv_winograd_panels(k, &d)};
    fv_conv_weights w = c->weights;
    w.data = (const fv_real *)c->weight->data + (ptrdiff_t)first * w.out;
    k->pack(&d, c->m, &w, scratch, panels);
    for (size_t begin = 0; begin < c->pixels; begin += c->pixel_chunk) {
        const fv_range tiles = {begin, fv_min_size(begin + c->pixel_chunk, c->pixels)};
        k->output(&d, c->m, frequencies_of(c, tiles), scratch, c->bias ? (const fv_real *)c->bias->data + first : NULL,
                  c->residual ? (const fv_real *)c->residual->data + first : NULL,
                  (fv_real *)c->y->data + c->y_offset + first, tiles, panels, rest);
    }
}

/* Chunks of tiles and panels, enough pieces of them, that move the least: every block of tiles reads the weights, every chunk of
 * panels all frequencies, each chunk of tiles being one block then. With one chunk of panels frequencies never leave L2. */
static void cut(fv_conv_product *c) {
    enum { LEAST_TILES = 12, MOST_PIECES = 16, MOST_FREQUENCIES = 8 << 20 };
    const fv_winograd_kernels *k = &c->kernels->winograd;
    c->pixels = fv_winograd_tiles(&c->desc, c->m);
    c->panels = fv_winograd_panels(k, &c->desc);
    const double weights = (double)k->packed_size(&c->desc, c->m), values = (double)k->input_size(&c->desc, c->m, c->pixels);
    size_t wanted = 1; /* pieces of ten microseconds, but more than eight only of a hundred */
    while (wanted < MOST_PIECES && weights * (double)c->pixels / (double)(2 * wanted) > (wanted < 8 ? 0.6e6 : 3e6)) wanted *= 2;
    double least = INFINITY;
    for (size_t chunks = 1; chunks <= fv_max_size(1, c->pixels / LEAST_TILES) && chunks <= 2 * MOST_PIECES; chunks++)
        for (size_t split = 1; split <= c->panels; split++) {
            const size_t tiles = fv_div_up(c->pixels, chunks), panels = fv_div_up(c->panels, split);
            const size_t pieces = fv_div_up(c->pixels, tiles) * fv_div_up(c->panels, panels);
            const size_t block = fv_winograd_block(k, &c->desc, c->m, tiles);
            if (split > 1 && (values > MOST_FREQUENCIES || tiles > block)) break;
            const double reads = (double)(chunks * fv_div_up(tiles, block));
            const double moved = weights * reads + values * (split > 1 ? (double)split + 1 : 0.5);
            const double cost = moved * (pieces < wanted ? 4.0 * (double)wanted / (double)pieces : 1);
            if (cost >= least) continue;
            least = cost;
            c->pixel_chunk = tiles;
            c->panel_chunk = panels;
        }
    c->pixel_chunks = fv_div_up(c->pixels, c->pixel_chunk);
    c->panel_chunks = fv_div_up(c->panels, c->panel_chunk);
}

static bool packs_own_panels(const fv_plan_op *p, const fv_conv_product *c, fv_value weight) {
    enum { MOST_FREQUENCIES = 4 << 20, LEAST_WEIGHTS = 1 << 20 };
    const fv_winograd_kernels *k = &c->kernels->winograd;
    const size_t frequencies = k->input_size(&c->desc, c->m, fv_winograd_tiles(&c->desc, c->m));
    return fv_plan_packs_in_run(p, weight) && frequencies <= MOST_FREQUENCIES && k->packed_size(&c->desc, c->m) >= LEAST_WEIGHTS;
}

/* Blocks of tiles as few as they may be, and panels enough to pay for reading all frequencies. */
static void cut_own_panels(fv_conv_product *c) {
    enum { PACKED_ELEMENTS = 600 << 10, LEAST_PIECES = 8 };
    const fv_winograd_kernels *k = &c->kernels->winograd;
    c->pixels = fv_winograd_tiles(&c->desc, c->m);
    c->pixel_chunk = fv_winograd_block(k, &c->desc, c->m, c->pixels);
    c->pixel_chunks = fv_div_up(c->pixels, c->pixel_chunk);
    c->panels = fv_winograd_panels(k, &c->desc);
    const size_t panel = k->packed_size(&c->desc, c->m) / c->panels;
    c->panel_chunk = fv_max_size(1, fv_min_size(PACKED_ELEMENTS / panel, c->panels / LEAST_PIECES));
    c->panel_chunks = fv_div_up(c->panels, c->panel_chunk);
}

/* Room for the frequencies of all tiles, and the phase that fills it. */
static fv_status plan_frequencies(fv_plan_op *p, fv_conv_product *c) {
    size_t bytes;
    fv_buffer *frequencies;
    const size_t chunk = c->kernels->winograd.input_size(&c->desc, c->m, c->pixel_chunk);
    FV_RETURN_IF(!fv_mul_size(c->pixel_chunks * sizeof(fv_real), chunk, &bytes), FV_ERR_LIMIT,
                 "node \"%s\" is too large", p->node->name);
    FV_FORWARD(fv_plan_workspace(p, bytes, &frequencies));
    c->frequencies = frequencies;
    return fv_plan_phase(p, false, run_input, c, c->pixel_chunks * fv_div_up(c->pixel_chunk, INPUT_TILES));
}

fv_status fv_conv_plan_winograd(fv_plan_op *p, fv_conv_product *c, int32_t m, fv_value weight, const char *role, int32_t phase) {
    const fv_winograd_kernels *k = &p->kernels->winograd;
    c->kernels = p->kernels;
    c->m = m;
    c->weight = fv_plan_buffer(p, weight);
    if (packs_own_panels(p, c, weight)) {
        fv_conv_desc part;
        cut_own_panels(c);
        const size_t packed = own_packed_size(c, &part) * sizeof(fv_real);
        fv_plan_scratch(p, packed + k->output_scratch(&part, m, c->pixel_chunk));
        FV_FORWARD(plan_frequencies(p, c));
        return fv_plan_phase(p, false, run_own_panels, c, c->panel_chunks);
    }
    cut(c);
    FV_FORWARD(fv_conv_plan_packing(p, c, weight, role, phase, k->packed_size(&c->desc, m), run_pack));
    if (c->panel_chunks > 1) {
        fv_plan_scratch(p, k->output_scratch(&c->desc, m, c->pixel_chunk));
        FV_FORWARD(plan_frequencies(p, c));
    } else {
        fv_plan_scratch(p, fv_winograd_forward_scratch(k, &c->desc, m, c->pixel_chunk) * sizeof(fv_real));
    }
    return fv_plan_phase(p, false, run_product, c, c->pixel_chunks * c->panel_chunks);
}
