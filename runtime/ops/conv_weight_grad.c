/* Weight gradients of convolutions and fully connected layers: products over chunks of pixels, or by Winograd of tiles, and the
 * sums of their parts in the order of the chunks. */
#include "ops/conv_product.h"
#include "ops/depthwise_plan.h"

typedef struct weight_grad {
    fv_conv_desc desc;
    fv_conv_taps taps;
    const fv_kernels *kernels;
    const fv_buffer *x, *dy, *dw, *db, *parts, *bias_parts;
    const fv_buffer *at; /* dy is that of the pooled map, at its places (conv_pooled.h); NULL: dy is the output's own */
    int32_t m;           /* Winograd's F(m x m, 3x3): rows count input channels, every piece has some panels; 0: the direct sum */
    size_t panels, panel_chunk, panel_chunks;
    fv_conv_pooled_desc pooled;
    size_t pixels, rows, out; /* pixels: of dy, with `at` images, with `m` tiles; rows = taps*C; out: channels of all groups */
    size_t pixel_chunk, pixel_chunks, row_chunk, row_chunks;
    size_t bias_rows, bias_chunk, bias_chunks; /* rows: of dy */
    size_t reduce_chunk, reduce_chunks;
    bool plain; /* dw is (O,I,taps); parts hold [taps][I][O] */
} weight_grad;

static fv_real *part_of(const weight_grad *c, size_t chunk) {
    fv_real *base = c->parts ? c->parts->data : c->dw->data;
    return base + chunk * c->rows * c->out;
}

static void run_winograd(const weight_grad *c, size_t chunk, size_t part, fv_range tiles, void *scratch) {
    const size_t i = part / c->panel_chunks * c->row_chunk, j = part % c->panel_chunks * c->panel_chunk;
    c->kernels->winograd.weight_grad(&c->desc, c->m, c->x->data, c->dy->data, part_of(c, chunk), (ptrdiff_t)c->out, tiles,
                                     (fv_range){i, fv_min_size(i + c->row_chunk, (size_t)c->desc.in_channels)},
                                     (fv_range){j, fv_min_size(j + c->panel_chunk, c->panels)}, scratch);
}

/* Pieces: every chunk of pixels times every chunk of rows (and panels), then the bias's chunks. */
static void run_weight_grad(void *arg, size_t piece, void *scratch) {
    const weight_grad *c = arg;
    const size_t parts = c->row_chunks * c->panel_chunks, products = c->pixel_chunks * parts;
    if (piece < products) {
        const size_t i = piece / parts, j = piece % parts;
        const fv_range pixels = {i * c->pixel_chunk, fv_min_size((i + 1) * c->pixel_chunk, c->pixels)};
        const fv_range rows = {j * c->row_chunk, fv_min_size((j + 1) * c->row_chunk, c->rows)};
        if (c->m)
            run_winograd(c, i, j, pixels, scratch);
        else if (c->at)
            c->kernels->conv_pooled.weight_grad(&c->pooled, c->x->data, c->dy->data, c->at->data, part_of(c, i),
                                                (ptrdiff_t)c->out, pixels, (fv_range){0, c->out}, scratch);
        else
            c->kernels->conv.weight_grad(&c->desc, c->x->data, c->dy->data, part_of(c, i), (ptrdiff_t)c->out, pixels, rows,
                                         scratch);
        return;
    }
    const size_t i = piece - products, begin = i * c->bias_chunk, end = fv_min_size(begin + c->bias_chunk, c->bias_rows);
    fv_real *out = (fv_real *)(c->bias_chunks > 1 ? c->bias_parts->data : c->db->data) + i * c->out;
    c->kernels->reduce.sum_rows((const fv_real *)c->dy->data + begin * c->out, (ptrdiff_t)c->out, end - begin, c->out, out);
}

/* parts[t][i][o] summed over the chunks -> dw (O,I,taps), for the weight rows of this piece. */
static void reduce_plain(const weight_grad *c, size_t begin, size_t end) {
    const size_t taps = (size_t)c->desc.taps, channels = (size_t)c->desc.in_channels;
    fv_real *dw = c->dw->data;
    for (size_t i = begin; i < end; i++) {
        const size_t row = i / c->out, o = i % c->out, t = row / channels, channel = row % channels;
        fv_real sum = part_of(c, 0)[i];
        for (size_t k = 1; k < c->pixel_chunks; k++) sum += part_of(c, k)[i];
        dw[(o * channels + channel) * taps + t] = sum;
    }
}

static void run_reduce(void *arg, size_t piece, void *scratch) {
    (void)scratch;
    const weight_grad *c = arg;
    const size_t n = c->rows * c->out;
    if (piece < c->reduce_chunks) {
        const size_t begin = piece * c->reduce_chunk, end = fv_min_size(begin + c->reduce_chunk, n);
        if (c->plain)
            reduce_plain(c, begin, end);
        else
            c->kernels->reduce.add_parts((const fv_real *)c->parts->data + begin, n, c->pixel_chunks,
                                         (fv_real *)c->dw->data + begin, end - begin);
        return;
    }
    c->kernels->reduce.add_parts(c->bias_parts->data, c->out, c->bias_chunks, c->db->data, c->out);
}

/* What a connection table leaves out has no gradient. */
typedef struct absent {
    const fv_buffer *dw;
    const uint8_t *edges; /* [out][in] */
    size_t out, in, taps;
    bool plain;
} absent;

static void run_absent(void *arg, size_t out, void *scratch) {
    (void)scratch;
    const absent *a = arg;
    fv_real *dw = a->dw->data;
    for (size_t i = 0; i < a->in; i++)
        for (size_t t = 0; t < a->taps && !a->edges[out * a->in + i]; t++)
            dw[a->plain ? (out * a->in + i) * a->taps + t : (t * a->in + i) * a->out + out] = 0;
}

/* dw is the gradient of the node's last input. */
static fv_status plan_absent(fv_plan_op *p, const fv_conv_geometry *g, fv_value dw) {
    absent *a;
    const uint8_t *edges = p->values[p->node->in[p->node->in_count - 1]].edges;
    if (!edges) return FV_OK;
    FV_FORWARD(fv_plan_state(p, sizeof *a, (void **)&a));
    *a = (absent){fv_plan_buffer(p, dw), edges, (size_t)g->groups * (size_t)g->out_channels, (size_t)g->in_channels,
                  (size_t)fv_conv_kernel_taps(g), p->values[dw].layout != FV_TAPS_LAST_OUT};
    return fv_plan_phase(p, false, run_absent, a, a->out);
}

enum { enough_pieces = 16 };

/* Chunks of pixels first, as far as parts of the gradient cost little: each copies its input once, chunks of rows all of it. Rows
 * where that gives too few pieces. */
static void cut_products(weight_grad *c) {
    enum { most_parts = 2 << 20, least_pixels = 256 };
    const size_t least_rows = 24 + 24 * (size_t)c->desc.taps; /* a chunk's box has what all taps read */
    const size_t unit = (size_t)c->kernels->conv.grad_rows, size = c->rows * c->out;
    const size_t affordable = fv_max_size(1, most_parts / fv_max_size(size, 1));
    const size_t split = fv_max_size(1, fv_min_size(fv_min_size(enough_pieces, affordable), c->pixels / least_pixels));
    c->pixel_chunk = fv_max_size(1, fv_div_up(c->pixels, split));
    c->pixel_chunks = fv_max_size(1, fv_div_up(c->pixels, c->pixel_chunk));
    const size_t row_split = fv_max_size(1, fv_min_size(fv_div_up(enough_pieces, c->pixel_chunks), c->rows / least_rows));
    c->row_chunk = fv_round_up(fv_div_up(c->rows, row_split), unit);
    c->row_chunks = fv_div_up(c->rows, c->row_chunk);
}

/* Frequencies of the sums of a piece stay in L2, or little beyond it: chunks of channels and panels; each chunk of them makes the
 * frequencies of its pixels anew. Chunks of tiles for the pieces that are still missing, as far as parts of the gradient cost
 * little. */
static void cut_winograd(weight_grad *c) {
    enum { MOST_CHANNELS = 128, LEAST_TILES = 64, MOST_PARTS = 4 << 20 };
    const fv_winograd_kernels *k = &c->kernels->winograd;
    const size_t channels = (size_t)c->desc.in_channels, size = c->rows * c->out;
    c->panels = fv_winograd_panels(k, &c->desc);
    c->row_chunk = fv_div_up(channels, fv_div_up(channels, MOST_CHANNELS));
    c->row_chunks = fv_div_up(channels, c->row_chunk);
    c->panel_chunk = fv_div_up(c->panels, fv_div_up(c->panels * (size_t)k->nr, MOST_CHANNELS));
    c->panel_chunks = fv_div_up(c->panels, c->panel_chunk);
    c->pixels = fv_winograd_tiles(&c->desc, c->m);
    const size_t affordable = fv_max_size(1, MOST_PARTS / size), pieces = c->row_chunks * c->panel_chunks;
    const size_t split = fv_min_size(fv_min_size(affordable, fv_div_up(enough_pieces, pieces)), c->pixels / LEAST_TILES);
    c->pixel_chunk = fv_div_up(c->pixels, fv_max_size(1, split));
    c->pixel_chunks = fv_div_up(c->pixels, c->pixel_chunk);
}

/* By images, a piece being some ten microseconds or more. */
static void cut_pooled(weight_grad *c) {
    const double work = (double)c->bias_rows * (double)c->rows * (double)c->out;
    const size_t split = fv_min_size(fv_min_size(enough_pieces, c->pixels), (size_t)(work / 2e5));
    c->row_chunk = c->rows;
    c->row_chunks = 1;
    c->pixel_chunk = fv_max_size(1, fv_div_up(c->pixels, fv_max_size(1, split)));
    c->pixel_chunks = fv_max_size(1, fv_div_up(c->pixels, c->pixel_chunk));
}

static void cut_weight_grad(weight_grad *c, bool bias) {
    enum { bias_pixels = 1024, reduce_run = 8192 };
    c->panel_chunks = 1;
    if (c->m)
        cut_winograd(c);
    else if (c->at)
        cut_pooled(c);
    else
        cut_products(c);
    if (bias) {
        const size_t chunks = fv_max_size(1, fv_min_size(enough_pieces, c->bias_rows / bias_pixels));
        c->bias_chunk = fv_max_size(1, fv_div_up(c->bias_rows, chunks));
        c->bias_chunks = fv_max_size(1, fv_div_up(c->bias_rows, c->bias_chunk));
    }
    c->reduce_chunk = reduce_run;
    c->reduce_chunks = c->plain || c->pixel_chunks > 1 ? fv_div_up(c->rows * c->out, reduce_run) : 0;
}

static const char *const winograd_names[] = {"winograd F(2,3)", "winograd F(4,3)", "winograd F(6,3)"};

fv_status fv_conv_plan_weight_grad(fv_plan_op *p, const fv_conv_geometry *g, fv_value dy, fv_value x, fv_value dw, fv_value db,
                                   const fv_conv_pooled *pooled) {
    weight_grad *c;
    if (!pooled && fv_depthwise_fits(g)) {
        FV_FORWARD(fv_depthwise_plan_weight_grad(p, g, dy, x, dw, db));
        return plan_absent(p, g, dw);
    }
    FV_FORWARD(fv_plan_state(p, sizeof *c, (void **)&c));
    FV_FORWARD(fv_conv_make_taps(p, g, &c->taps));
    fv_conv_forward_desc(g, c->taps, &c->desc);
    c->kernels = p->kernels;
    if (!pooled && !p->context->settings.no_winograd) c->m = fv_conv_choose_weight_grad(c->kernels, &c->desc);
    if (!c->m) fv_conv_weight_grad_desc(g, c->taps, &c->desc);
    c->x = fv_plan_buffer(p, x);
    c->dy = fv_plan_buffer(p, dy);
    c->dw = fv_plan_buffer(p, dw);
    c->db = fv_plan_buffer(p, db);
    c->pixels = c->bias_rows = fv_conv_out_pixels(&c->desc);
    if (pooled) {
        c->at = fv_plan_buffer(p, pooled->at);
        fv_conv_pooled_describe(g, pooled, &c->pooled);
        c->pixels = (size_t)g->images;
        c->bias_rows = c->pixels * (size_t)pooled->pooled[0] * (size_t)pooled->pooled[1];
    }
    c->rows = (size_t)c->desc.taps * (size_t)g->in_channels;
    c->out = (size_t)g->groups * (size_t)g->out_channels;
    c->plain = p->values[dw].layout != FV_TAPS_LAST_OUT;
    cut_weight_grad(c, db != FV_NONE);
    fv_buffer *parts = NULL;
    if (c->reduce_chunks) {
        FV_FORWARD(fv_plan_workspace(p, c->pixel_chunks * c->rows * c->out * sizeof(fv_real), &parts));
        c->parts = parts;
    }
    if (c->bias_chunks > 1) {
        FV_FORWARD(fv_plan_workspace(p, c->bias_chunks * c->out * sizeof(fv_real), &parts));
        c->bias_parts = parts;
    }
    p->algorithm = c->m ? winograd_names[c->m / 2 - 1] : pooled ? "outer product of places" : "outer product";
    p->flops = fv_conv_flops(g);
    fv_plan_scratch(p, c->m     ? p->kernels->winograd.weight_grad_scratch(&c->desc, c->m, c->row_chunk, c->panel_chunk)
                       : pooled ? p->kernels->conv_pooled.weight_grad_scratch(&c->pooled)
                                : p->kernels->conv.weight_grad_scratch(&c->desc));
    FV_FORWARD(fv_plan_phase(p, false, run_weight_grad, c, c->pixel_chunks * c->row_chunks * c->panel_chunks + c->bias_chunks));
    const size_t reductions = c->reduce_chunks + (c->bias_chunks > 1);
    if (reductions) FV_FORWARD(fv_plan_phase(p, false, run_reduce, c, reductions));
    return plan_absent(p, g, dw);
}
