#include "ops/depthwise_plan.h"

#include <math.h>
#include <string.h>

bool fv_depthwise_fits(const fv_conv_geometry *g) {
    return g->groups > 1 && g->in_channels == 1 && g->out_channels == 1 && g->kernel[0] == 1 && g->in[0] == 1 && g->out[0] == 1;
}

void fv_depthwise_describe(const fv_conv_geometry *g, fv_depthwise_desc *d) {
    *d = (fv_depthwise_desc){.images = g->images,
                             .channels = g->groups,
                             .true_convolution = g->true_convolution,
                             .act_low = -(fv_real)INFINITY,
                             .act_high = (fv_real)INFINITY};
    for (int i = 0; i < 2; i++) {
        d->in[i] = g->in[i + 1];
        d->out[i] = g->out[i + 1];
        d->kernel[i] = g->kernel[i + 1];
        d->stride[i] = g->stride[i + 1];
        d->dilation[i] = g->dilation[i + 1];
        d->pad[i] = g->pad[i + 1];
    }
}

/* Map rows of all images times channels, in pieces. */
typedef struct cuts {
    size_t rows, row_chunk, row_chunks, channels, channel_chunk, channel_chunks;
} cuts;

/* Rows first, whole images where a piece has more than one; channels too where that gives too few pieces. A piece is worth
 * some microseconds. */
static cuts cut(size_t images, size_t map_rows, size_t channels, double flops, size_t most_chunks) {
    enum { enough_pieces = 16, channel_unit = 64 }; /* channels: whole cache lines, and whole blocks of every ISA */
    const double least_work = 400e3;
    cuts c = {.rows = images * map_rows, .channels = channels, .channel_chunk = channels, .channel_chunks = 1};
    const size_t affordable = (size_t)fmax(1, flops / least_work);
    const size_t chunks = fv_max_size(1, fv_min_size(fv_min_size(most_chunks, affordable), c.rows));
    const size_t even = fv_max_size(1, fv_div_up(c.rows, chunks));
    c.row_chunk = even >= map_rows ? fv_round_up(even, fv_max_size(map_rows, 1)) : even;
    c.row_chunks = fv_div_up(c.rows, c.row_chunk);
    if (c.row_chunks == 0 || c.row_chunks >= enough_pieces) return c;
    const size_t split = fv_min_size(fv_div_up(enough_pieces, c.row_chunks), affordable / c.row_chunks);
    if (split < 2) return c;
    c.channel_chunk = fv_round_up(fv_div_up(channels, split), channel_unit);
    c.channel_chunks = fv_div_up(channels, c.channel_chunk);
    return c;
}

static fv_range rows_of(const cuts *c, size_t piece) {
    const size_t begin = piece / c->channel_chunks * c->row_chunk;
    return (fv_range){begin, fv_min_size(begin + c->row_chunk, c->rows)};
}

static fv_range channels_of(const cuts *c, size_t piece) {
    const size_t begin = piece % c->channel_chunks * c->channel_chunk;
    return (fv_range){begin, fv_min_size(begin + c->channel_chunk, c->channels)};
}

/* ---- forward and data gradient ---- */

typedef struct layer {
    fv_depthwise_desc desc;
    const fv_depthwise_kernels *kernels;
    fv_conv_weights weights; /* strides; data is `weight`'s */
    const fv_buffer *x, *weight, *packed, *bias, *residual, *y;
    cuts cut;
} layer;

enum { PACK_CHANNELS = 1024 };

static void run_pack(void *arg, size_t piece, void *scratch) {
    (void)scratch;
    const layer *l = arg;
    fv_conv_weights w = l->weights;
    w.data = l->weight->data;
    const size_t begin = piece * PACK_CHANNELS;
    l->kernels->pack(&l->desc, &w, l->packed->data, (fv_range){begin, fv_min_size(begin + PACK_CHANNELS, l->cut.channels)});
}

static const fv_real *data_or_null(const fv_buffer *b) { return b ? b->data : NULL; }

static void run_forward(void *arg, size_t piece, void *scratch) {
    (void)scratch;
    const layer *l = arg;
    l->kernels->forward(&l->desc, l->x->data, l->packed->data, data_or_null(l->bias), data_or_null(l->residual), l->y->data,
                        rows_of(&l->cut, piece), channels_of(&l->cut, piece));
}

static void run_data_grad(void *arg, size_t piece, void *scratch) {
    (void)scratch;
    const layer *l = arg;
    l->kernels->data_grad(&l->desc, l->x->data, l->packed->data, data_or_null(l->bias), l->y->data, rows_of(&l->cut, piece),
                          channels_of(&l->cut, piece));
}

/* Identifies a packing of a weight: whoever has the same may share it. y and dx read one packing. */
typedef struct pack_key {
    char role[12];
    const void *pack;
    int32_t taps, channels, true_convolution;
} pack_key;

static fv_status plan_pack(fv_plan_op *p, layer *l, const fv_conv_geometry *g, fv_value weight) {
    pack_key key;
    memset(&key, 0, sizeof key); /* padding bytes are compared too */
    memcpy(key.role, "depthwise", sizeof "depthwise");
    memcpy(&key.pack, &l->kernels->pack, sizeof key.pack);
    key.taps = fv_depthwise_taps(&l->desc);
    key.channels = l->desc.channels;
    key.true_convolution = l->desc.true_convolution;
    bool fresh, in_run;
    fv_buffer *packed;
    size_t bytes;
    FV_RETURN_IF(!fv_mul_size(l->kernels->packed_size(&l->desc), sizeof(fv_real), &bytes), FV_ERR_LIMIT,
                 "node \"%s\": its weights are too large", p->node->name);
    l->weight = fv_plan_buffer(p, weight);
    l->weights = fv_conv_weight_strides(g, &p->values[weight]);
    FV_FORWARD(fv_plan_packed(p, weight, &key, sizeof key, bytes, &packed, &fresh, &in_run));
    l->packed = packed;
    p->packed_bytes += bytes;
    if (!fresh) return FV_OK;
    return fv_plan_phase(p, !in_run, run_pack, l, fv_div_up(l->cut.channels, PACK_CHANNELS));
}

static fv_status begin_layer(fv_plan_op *p, const fv_conv_geometry *g, size_t map_rows, layer **out) {
    enum { most_chunks = 64 };
    layer *l;
    FV_FORWARD(fv_plan_state(p, sizeof *l, (void **)&l));
    fv_depthwise_describe(g, &l->desc);
    l->kernels = &p->kernels->depthwise;
    p->flops = fv_conv_flops(g);
    l->cut = cut((size_t)g->images, map_rows, (size_t)g->groups, p->flops, most_chunks);
    *out = l;
    return FV_OK;
}

fv_status fv_depthwise_plan_forward(fv_plan_op *p, const fv_conv_geometry *g, fv_value x, fv_value weight, fv_value bias,
                                    fv_value residual, fv_value y) {
    layer *l;
    FV_FORWARD(begin_layer(p, g, (size_t)g->out[1], &l));
    l->desc.act_low = g->act_low;
    l->desc.act_high = g->act_high;
    l->x = fv_plan_buffer(p, x);
    l->y = fv_plan_buffer(p, y);
    l->bias = fv_plan_buffer(p, bias);
    l->residual = fv_plan_buffer(p, residual);
    p->algorithm = "depthwise";
    FV_FORWARD(plan_pack(p, l, g, weight));
    return fv_plan_phase(p, false, run_forward, l, l->cut.row_chunks * l->cut.channel_chunks);
}

fv_status fv_depthwise_plan_input_grad(fv_plan_op *p, const fv_conv_geometry *g, fv_value dy, fv_value weight,
                                       const fv_conv_end *end, fv_value dx) {
    layer *l;
    FV_FORWARD(begin_layer(p, g, (size_t)g->in[1], &l));
    if (end) {
        l->desc.act_low = end->act_low;
        l->desc.act_high = end->act_high;
        l->bias = fv_plan_buffer(p, end->bias);
    }
    l->x = fv_plan_buffer(p, dy);
    l->y = fv_plan_buffer(p, dx);
    p->algorithm = "depthwise";
    FV_FORWARD(plan_pack(p, l, g, weight));
    return fv_plan_phase(p, false, run_data_grad, l, l->cut.row_chunks * l->cut.channel_chunks);
}

/* ---- weight gradient ---- */

typedef struct weight_grad {
    fv_depthwise_desc desc;
    const fv_kernels *kernels;
    const fv_buffer *x, *dy, *dw, *db, *parts, *bias_parts; /* parts: [row_chunks][taps][channels], or NULL */
    cuts cut;
    size_t taps, reduce_chunks;
    bool plain; /* dw is (channels, taps); parts hold [taps][channels] */
} weight_grad;

enum { REDUCE_RUN = 8192 };

static void run_weight_grad(void *arg, size_t piece, void *scratch) {
    (void)scratch;
    const weight_grad *w = arg;
    const size_t chunk = piece / w->cut.channel_chunks, channels = w->cut.channels;
    fv_real *dw = w->parts ? (fv_real *)w->parts->data + chunk * w->taps * channels : w->dw->data;
    fv_real *db = w->bias_parts ? (fv_real *)w->bias_parts->data + chunk * channels : w->db ? w->db->data : NULL;
    w->kernels->depthwise.weight_grad(&w->desc, w->x->data, w->dy->data, dw, (ptrdiff_t)channels, db, rows_of(&w->cut, piece),
                                      channels_of(&w->cut, piece));
}

/* parts[t][c] summed over the chunks -> dw (channels, taps). */
static void reduce_plain(const weight_grad *w, size_t begin, size_t end) {
    const size_t n = w->taps * w->cut.channels;
    const fv_real *parts = w->parts->data;
    fv_real *dw = w->dw->data;
    for (size_t i = begin; i < end; i++) {
        fv_real sum = parts[i];
        for (size_t k = 1; k < w->cut.row_chunks; k++) sum += parts[k * n + i];
        dw[i % w->cut.channels * w->taps + i / w->cut.channels] = sum;
    }
}

static void run_reduce(void *arg, size_t piece, void *scratch) {
    (void)scratch;
    const weight_grad *w = arg;
    const size_t n = w->taps * w->cut.channels, begin = piece * REDUCE_RUN, end = fv_min_size(begin + REDUCE_RUN, n);
    if (piece == w->reduce_chunks)
        w->kernels->reduce.add_parts(w->bias_parts->data, w->cut.channels, w->cut.row_chunks, w->db->data, w->cut.channels);
    else if (w->plain)
        reduce_plain(w, begin, end);
    else
        w->kernels->reduce.add_parts((const fv_real *)w->parts->data + begin, n, w->cut.row_chunks,
                                     (fv_real *)w->dw->data + begin, end - begin);
}

fv_status fv_depthwise_plan_weight_grad(fv_plan_op *p, const fv_conv_geometry *g, fv_value dy, fv_value x, fv_value dw,
                                        fv_value db) {
    enum { most_chunks = 16 };
    weight_grad *w;
    fv_buffer *parts = NULL;
    FV_FORWARD(fv_plan_state(p, sizeof *w, (void **)&w));
    fv_depthwise_describe(g, &w->desc);
    w->kernels = p->kernels;
    w->x = fv_plan_buffer(p, x);
    w->dy = fv_plan_buffer(p, dy);
    w->dw = fv_plan_buffer(p, dw);
    w->db = fv_plan_buffer(p, db);
    w->taps = (size_t)fv_depthwise_taps(&w->desc);
    w->plain = p->values[dw].layout != FV_TAPS_LAST_OUT;
    p->algorithm = "depthwise";
    p->flops = fv_conv_flops(g);
    w->cut = cut((size_t)g->images, (size_t)g->out[1], (size_t)g->groups, p->flops, most_chunks);
    const size_t chunks = w->cut.row_chunks, row_bytes = w->cut.channels * sizeof(fv_real);
    if (w->plain || chunks > 1) {
        FV_FORWARD(fv_plan_workspace(p, chunks * w->taps * row_bytes, &parts));
        w->parts = parts;
        w->reduce_chunks = fv_div_up(w->taps * w->cut.channels, REDUCE_RUN);
    }
    if (w->db && chunks > 1) {
        FV_FORWARD(fv_plan_workspace(p, chunks * row_bytes, &parts));
        w->bias_parts = parts;
    }
    FV_FORWARD(fv_plan_phase(p, false, run_weight_grad, w, chunks * w->cut.channel_chunks));
    const size_t reductions = w->reduce_chunks + (w->bias_parts != NULL);
    return reductions ? fv_plan_phase(p, false, run_reduce, w, reductions) : FV_OK;
}
