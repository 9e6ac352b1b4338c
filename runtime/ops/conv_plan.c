#include "ops/conv_plan.h"

#include "ops/conv_product.h"
#include "ops/depthwise_plan.h"
#include "ops/untied_bias.h"
#include "ops/window.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

fv_conv_geometry fv_conv_geometry_of(const fv_conv_attr *a, const fv_shape *x, const fv_shape *weight, const fv_shape *y) {
    fv_conv_geometry g = {.images = (int32_t)x->dim[0], .groups = a->groups, .true_convolution = a->true_convolution,
                          .act_low = a->act_low, .act_high = a->act_high};
    const bool maps = x->rank == 4, conv = weight->rank == 4;
    const int64_t in[3] = {1, maps ? x->dim[2] : 1, maps ? x->dim[3] : 1};
    const int64_t out[3] = {1, conv ? y->dim[2] : 1, conv ? y->dim[3] : 1};
    for (int i = 0; i < 3; i++) {
        g.in[i] = (int32_t)in[i];
        g.out[i] = (int32_t)out[i];
        g.kernel[i] = conv ? a->window.kernel[i] : g.in[i]; /* fully connected: the whole map */
        g.stride[i] = conv ? a->window.stride[i] : 1;
        g.dilation[i] = conv ? a->window.dilation[i] : 1;
        g.pad[i] = conv ? a->window.pad_before[i] : 0;
    }
    g.in_channels = (int32_t)(x->dim[1] / a->groups);
    g.out_channels = (int32_t)(y->dim[1] / a->groups);
    return g;
}

double fv_conv_flops(const fv_conv_geometry *g) {
    double n = 2.0 * g->images * g->groups * g->in_channels * (double)g->out_channels * fv_conv_kernel_taps(g);
    for (int a = 0; a < 3; a++) n *= g->out[a];
    return n;
}

fv_status fv_conv_make_taps(fv_plan_op *p, const fv_conv_geometry *g, fv_conv_taps *taps) {
    const size_t count = (size_t)fv_conv_kernel_taps(g);
    FV_FORWARD(fv_plan_state(p, count * sizeof *taps->tap, (void **)&taps->tap));
    return fv_plan_state(p, count * sizeof *taps->weight_tap, (void **)&taps->weight_tap);
}

/* ---- products with packed weights ---- */

static void run_pack(void *arg, size_t piece, void *scratch) {
    (void)scratch;
    const fv_conv_product *c = arg;
    fv_conv_weights w = c->weights;
    w.data = c->weight->data;
    c->kernels->conv.pack(&c->desc, &w, c->packed->data, fv_conv_panel_range(c, piece));
}

static void run_product(void *arg, size_t piece, void *scratch) {
    const fv_conv_product *c = arg;
    c->kernels->conv.forward(&c->desc, c->x->data, c->packed->data, c->bias ? c->bias->data : NULL,
                             c->residual ? c->residual->data : NULL, (fv_real *)c->y->data + c->y_offset,
                             fv_conv_pixel_range(c, piece), fv_conv_panel_range(c, piece), scratch);
}

/* Pixels first: a piece that has all panels reads its input once. Few pixels (fully connected at small batches): panels too.
 * Pieces of more than an image are whole images: their input overlaps no other's, and kernels have ways of their own for them. */
static void cut(fv_conv_product *c) {
    enum { most_chunks = 64, least_pixels = 96, enough_pieces = 16 };
    const size_t mr = (size_t)c->kernels->conv.mr;
    const double work = 2.0 * (double)c->desc.taps * c->desc.in_channels * c->desc.out_channels * c->desc.groups;
    const size_t least = (size_t)fmax(least_pixels, 60e3 / fmax(work, 1));
    c->pixels = fv_conv_out_pixels(&c->desc);
    c->panels = (size_t)c->desc.groups * fv_div_up((size_t)c->desc.out_channels, (size_t)c->kernels->conv.nr);
    const size_t chunks = fv_max_size(1, fv_min_size(most_chunks, c->pixels / least));
    const size_t even = fv_div_up(c->pixels, chunks), image = c->desc.images ? c->pixels / (size_t)c->desc.images : 0;
    c->pixel_chunk = fv_max_size(mr, fv_round_up(even, image >= mr && even >= image ? image : mr));
    c->pixel_chunks = fv_div_up(c->pixels, c->pixel_chunk);
    const size_t wanted = c->pixel_chunks ? fv_div_up(enough_pieces, c->pixel_chunks) : 1;
    const double piece_work = work * (double)c->pixel_chunk;
    const size_t split = fv_min_size(fv_min_size(wanted, c->panels), (size_t)fmax(1, piece_work / 200e3));
    c->panel_chunk = fv_div_up(c->panels, fv_max_size(1, split));
    c->panel_chunks = fv_div_up(c->panels, c->panel_chunk);
}

/* Identifies a packing of a weight: whoever has the same may share it. */
typedef struct pack_key {
    char role[8];
    const void *pack;
    int32_t m, taps, in_channels, out_channels, groups, true_convolution, phase;
    int32_t stride[2], dilation[2], pad[2]; /* which taps a phase has */
} pack_key;

fv_status fv_conv_plan_packing(fv_plan_op *p, fv_conv_product *c, fv_value weight, const char *role, int32_t phase,
                               size_t elements, fv_piece_fn pack) {
    pack_key key;
    memset(&key, 0, sizeof key); /* padding bytes are compared too */
    snprintf(key.role, sizeof key.role, "%s", role);
    memcpy(&key.pack, c->m ? (const void *)&p->kernels->winograd.pack : (const void *)&p->kernels->conv.pack, sizeof key.pack);
    key.m = c->m;
    key.taps = c->desc.taps;
    key.in_channels = c->desc.in_channels;
    key.out_channels = c->desc.out_channels;
    key.groups = c->desc.groups;
    key.true_convolution = p->node->attr.conv.true_convolution;
    key.phase = phase;
    for (int i = 0; i < 2; i++) {
        key.stride[i] = p->node->attr.conv.window.stride[i + 1];
        key.dilation[i] = p->node->attr.conv.window.dilation[i + 1];
        key.pad[i] = p->node->attr.conv.window.pad_before[i + 1];
    }
    bool fresh, in_run;
    fv_buffer *packed;
    size_t bytes;
    FV_RETURN_IF(!fv_mul_size(elements, sizeof(fv_real), &bytes), FV_ERR_LIMIT, "node \"%s\": its weights are too large",
                 p->node->name);
    FV_FORWARD(fv_plan_packed(p, weight, &key, sizeof key, bytes, &packed, &fresh, &in_run));
    c->packed = packed;
    p->packed_bytes += bytes;
    return fresh && bytes ? fv_plan_phase(p, !in_run, pack, c, c->m ? c->panels : c->panel_chunks) : FV_OK;
}

static const char *algorithm_name(const fv_conv_kernels *k, bool in_run) {
    static const struct {
        int32_t mr, nr;
        const char *names[2];
    } known[] = {{6, 16, {"indirect 6x16", "indirect 6x16 + pack"}}, {12, 8, {"indirect 12x8", "indirect 12x8 + pack"}}};
    for (size_t i = 0; i < FV_ARRAY_SIZE(known); i++)
        if (known[i].mr == k->mr && known[i].nr == k->nr) return known[i].names[in_run];
    return in_run ? "indirect + pack" : "indirect";
}

/* By cost, or what the plan was told or has measured. */
static fv_status choose(fv_plan_op *p, const fv_conv_desc *d, bool packs, const fv_conv_algorithm **out) {
    const bool winograd = !p->context->settings.no_winograd && !p->lean;
    const fv_conv_algorithm *of[FV_CONV_ALGORITHMS];
    int32_t m[FV_CONV_ALGORITHMS], chosen;
    const size_t count = fv_conv_candidates(p->kernels, d, winograd, of);
    for (size_t i = 0; i < count; i++) m[i] = of[i]->m;
    FV_FORWARD(fv_plan_algorithm(p, m, count, &chosen));
    *out = fv_conv_choose(p->kernels, d, packs, winograd);
    for (size_t i = 0; i < count; i++)
        if (m[i] == chosen) *out = of[i];
    return FV_OK;
}

static fv_status plan_product(fv_plan_op *p, fv_conv_product *c, fv_value weight, const char *role, int32_t phase) {
    const fv_conv_kernels *k = &p->kernels->conv;
    const bool packs = fv_plan_packs_in_run(p, weight);
    const fv_conv_algorithm *a;
    FV_FORWARD(choose(p, &c->desc, packs, &a));
    p->work += 2 * a->cost(a, p->kernels, &c->desc, packs);
    p->algorithm = a->m ? a->names[packs] : algorithm_name(k, packs);
    if (a->m) return fv_conv_plan_winograd(p, c, a->m, weight, role, phase);
    c->kernels = p->kernels;
    c->weight = fv_plan_buffer(p, weight);
    cut(c);
    FV_FORWARD(fv_conv_plan_packing(p, c, weight, role, phase, k->packed_size(&c->desc), run_pack));
    fv_plan_scratch(p, k->forward_scratch(&c->desc));
    return fv_plan_phase(p, false, run_product, c, c->pixel_chunks * c->panel_chunks);
}

fv_conv_weights fv_conv_weight_strides(const fv_conv_geometry *g, const fv_value_info *w) {
    const ptrdiff_t taps = fv_conv_kernel_taps(g), c = g->in_channels, k = g->out_channels;
    if (w->layout == FV_TAPS_LAST_OUT) return (fv_conv_weights){NULL, k, c * k * g->groups, k * g->groups, 1};
    return (fv_conv_weights){NULL, k * c * taps, 1, taps, c * taps};
}

fv_status fv_conv_plan_forward_op(fv_plan_op *p, const fv_conv_geometry *g, fv_value x, fv_value weight, fv_value bias,
                                  fv_value residual, fv_value y) {
    fv_conv_product *c;
    if (fv_depthwise_fits(g) && !p->node->attr.conv.untied) return fv_depthwise_plan_forward(p, g, x, weight, bias, residual, y);
    FV_FORWARD(fv_plan_state(p, sizeof *c, (void **)&c));
    FV_FORWARD(fv_conv_make_taps(p, g, &c->taps));
    fv_conv_forward_desc(g, c->taps, &c->desc);
    c->weights = fv_conv_weight_strides(g, &p->values[weight]);
    c->x = fv_plan_buffer(p, x);
    c->y = fv_plan_buffer(p, y);
    if (p->values[y].inside.is) {
        const int64_t out[3] = {g->out[0], g->out[1], g->out[2]};
        fv_map_pitch(out, p->values[p->values[y].inside.whole].shape.dim[1], c->desc.out_pitch);
    }
    c->bias = fv_plan_buffer(p, bias);
    c->residual = fv_plan_buffer(p, residual);
    if (p->node->attr.conv.untied) {
        FV_FORWARD(fv_untied_bias_dense(p, residual, &c->residual));
        c->desc.residual_pitch[0] = 0;
    }
    p->flops = fv_conv_flops(g);
    return plan_product(p, c, weight, "forward", 0);
}

/* A kernel that is its whole map, without padding: the gradient is one plain product from O to taps*C channels, as long as the
 * weight's (tap, channel) pairs lie at one stride. */
static bool is_whole_map(const fv_conv_geometry *g, const fv_value_info *w) {
    for (int a = 0; a < 3; a++)
        if (g->kernel[a] != g->in[a] || g->out[a] != 1 || g->pad[a] != 0 || g->dilation[a] != 1) return false;
    if (g->groups != 1 || g->true_convolution) return false;
    return w->layout == FV_TAPS_LAST_OUT || fv_conv_kernel_taps(g) == 1;
}

static void whole_map_desc(const fv_conv_geometry *g, const fv_value_info *w, fv_conv_product *c) {
    fv_conv_geometry flat = {.images = g->images, .in = {1, 1, 1}, .out = {1, 1, 1}, .kernel = {1, 1, 1}, .stride = {1, 1, 1},
                             .dilation = {1, 1, 1}, .groups = 1, .in_channels = g->out_channels,
                             .out_channels = g->in_channels * fv_conv_kernel_taps(g), .act_low = -(fv_real)INFINITY,
                             .act_high = (fv_real)INFINITY};
    fv_conv_forward_desc(&flat, c->taps, &c->desc);
    const ptrdiff_t k = g->out_channels;
    c->weights = w->layout == FV_TAPS_LAST_OUT ? (fv_conv_weights){NULL, 0, 0, 1, k}
                                               : (fv_conv_weights){NULL, 0, 0, g->in_channels, 1};
}

fv_status fv_conv_plan_input_grad(fv_plan_op *p, const fv_conv_geometry *g, fv_value dy, fv_value weight, const fv_conv_end *end,
                                  fv_value dx) {
    if (fv_depthwise_fits(g)) return fv_depthwise_plan_input_grad(p, g, dy, weight, end, dx);
    const bool whole = !end && is_whole_map(g, &p->values[weight]);
    const int32_t phases = whole ? 1 : fv_conv_phases(g);
    p->flops = fv_conv_flops(g);
    for (int32_t i = 0; i < phases; i++) {
        fv_conv_product *c;
        FV_FORWARD(fv_plan_state(p, sizeof *c, (void **)&c));
        FV_FORWARD(fv_conv_make_taps(p, g, &c->taps));
        if (whole) {
            whole_map_desc(g, &p->values[weight], c);
        } else {
            const fv_conv_weights w = fv_conv_weight_strides(g, &p->values[weight]);
            c->weights = (fv_conv_weights){NULL, w.group, w.tap, w.out, w.in};
            if (!fv_conv_input_grad_desc(g, i, c->taps, &c->desc, &c->y_offset)) continue;
        }
        if (end) {
            c->desc.act_low = end->act_low;
            c->desc.act_high = end->act_high;
            c->bias = fv_plan_buffer(p, end->bias);
        }
        c->x = fv_plan_buffer(p, dy);
        c->y = fv_plan_buffer(p, dx);
        FV_FORWARD(plan_product(p, c, weight, whole ? "dx-map" : "dx", i));
    }
    return FV_OK;
}
