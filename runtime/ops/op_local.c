/* local: x (N,C,H,W), weight (K,C,H',W',kh,kw) -> y (N,K,H',W'): a convolution whose kernel is another at every
 * position, without sharing (SPEC section 1, the lecture's equations 1 and 2). local_grad_input: dy, weight, x (its
 * shape) -> dx; local_grad_weight: dy, x, weight (shape and layout) -> dw.
 *
 * A position is one product whose pixels are the images. Its weights are read once: in training they are packed in the
 * thread's scratch just before they are used, in inference once for all runs. The data gradient gathers: a product for
 * every input pixel, over the (position, kernel place) pairs that read it. */
#include "ops/conv_plan.h"
#include "ops/pieces.h"

#include <math.h>
#include <string.h>

typedef struct local local;
typedef struct room room;
/* The taps of one place, in the room, as those of d. */
typedef void (*place_fn)(const local *s, size_t place, const room *r, fv_conv_desc *d);

struct local {
    const fv_conv_kernels *kernels;
    fv_conv_geometry g;
    fv_conv_desc desc;                        /* of every position, taps and place aside */
    fv_conv_weights source;                   /* strides of (position * taps + tap), c, k; data is `weight`'s */
    const fv_buffer *x, *weight, *packed, *y; /* packed: NULL in training */
    size_t places, chunk;                     /* products: positions, or input pixels */
    size_t panels, packed_count;
    place_fn set_place;
    bool swapped; /* the weight's c and k change roles: data gradient */
    bool plain;   /* of the weight's gradient */
};

/* ---- shapes ---- */

static fv_status local_infer(fv_node *n, fv_value_info *values) {
    const fv_shape *x = &values[n->in[0]].shape, *w = &values[n->in[1]].shape;
    FV_RETURN_IF(
        x->rank != 4 || w->rank != 6 || w->dim[1] != x->dim[1], FV_ERR_SHAPE,
        "node \"%s\": a locally connected layer takes maps (N,C,H,W) and a weight (K,C,H',W',kh,kw), got %s and %s",
        n->name, fv_shape_print(x).text, fv_shape_print(w).text);
    FV_RETURN_IF(n->attr.conv.groups != 1, FV_ERR_ARGUMENT,
                 "node \"%s\": a locally connected layer has one group, not %d", n->name, n->attr.conv.groups);
    fv_window_attr *window = &n->attr.conv.window;
    const int64_t in[3] = {1, x->dim[2], x->dim[3]};
    int32_t out[3];
    for (int a = 1; a < 3; a++) {
        FV_RETURN_IF(w->dim[3 + a] > INT32_MAX / 4, FV_ERR_SHAPE, "node \"%s\": its weight is %s", n->name,
                     fv_shape_print(w).text);
        window->kernel[a] = (int32_t)w->dim[3 + a];
    }
    FV_FORWARD(fv_window_resolve(n->name, window, in, false, out));
    FV_RETURN_IF(w->dim[2] != out[1] || w->dim[3] != out[2], FV_ERR_SHAPE,
                 "node \"%s\": its weight %s does not fit %dx%d positions", n->name, fv_shape_print(w).text, out[1],
                 out[2]);
    const fv_shape of_taps = {4, {out[1], out[2], w->dim[4], w->dim[5]}};
    FV_RETURN_IF(fv_shape_count(&of_taps) > INT32_MAX, FV_ERR_LIMIT, "node \"%s\": its weight %s is too large", n->name,
                 fv_shape_print(w).text);
    const fv_shape y = {4, {x->dim[0], w->dim[0], out[1], out[2]}};
    fv_infer_shape(&values[n->out[0]], FV_REAL_DTYPE, &y);
    return FV_OK;
}

static void set_geometry(local *s, const fv_plan_op *p, fv_value x, fv_value weight, fv_value y) {
    const fv_value_info *w = &p->values[weight];
    const fv_conv_attr *a = &p->node->attr.conv;
    const fv_shape *in = &p->values[x].shape, *out = &p->values[y].shape;
    s->g = (fv_conv_geometry){.images = (int32_t)in->dim[0],
                              .in = {1, (int32_t)in->dim[2], (int32_t)in->dim[3]},
                              .out = {1, (int32_t)out->dim[2], (int32_t)out->dim[3]},
                              .in_channels = (int32_t)in->dim[1],
                              .out_channels = (int32_t)out->dim[1],
                              .groups = 1,
                              .true_convolution = a->true_convolution};
    for (int i = 0; i < 3; i++) {
        s->g.kernel[i] = a->window.kernel[i];
        s->g.stride[i] = a->window.stride[i];
        s->g.dilation[i] = a->window.dilation[i];
        s->g.pad[i] = a->window.pad_before[i];
    }
    const ptrdiff_t channels = s->g.in_channels, outs = s->g.out_channels;
    const ptrdiff_t taps = (ptrdiff_t)fv_conv_kernel_taps(&s->g) * s->g.out[1] * s->g.out[2]; /* of all positions */
    s->plain = w->layout != FV_TAPS_LAST_OUT;
    s->source = s->plain ? (fv_conv_weights){NULL, 0, 1, taps, channels * taps}
                         : (fv_conv_weights){NULL, 0, channels * outs, outs, 1};
}

/* The product of one place: maps `in` of `in_channels`, one output pixel of `out_channels` in every image of `pixels`.
 */
static void set_desc(local *s, const int32_t in[3], int32_t in_channels, size_t pixels, int32_t out_channels) {
    fv_conv_desc *d = &s->desc;
    const int64_t size[3] = {in[0], in[1], in[2]};
    *d = (fv_conv_desc){.images = s->g.images,
                        .taps = fv_conv_kernel_taps(&s->g),
                        .in_channels = in_channels,
                        .out_channels = out_channels,
                        .groups = 1,
                        .act_low = -(fv_real)INFINITY,
                        .act_high = (fv_real)INFINITY};
    for (int i = 0; i < 3; i++) {
        d->in[i] = in[i];
        d->out[i] = d->step[i] = 1;
        d->out_pitch[i + 1] = d->residual_pitch[i + 1] = out_channels;
    }
    fv_map_pitch(size, in_channels, d->in_pitch);
    d->out_pitch[0] = d->residual_pitch[0] = (ptrdiff_t)pixels * out_channels;
    s->places = pixels;
}

/* Pieces are runs of places, some ten microseconds or more each. */
static void cut(local *s) {
    const double work = 2.0 * s->g.images * s->desc.taps * s->desc.in_channels * (double)s->desc.out_channels;
    s->chunk = fv_min_size(s->places, (size_t)fmax(1, 400e3 / fmax(work, 1)));
    s->panels = fv_div_up((size_t)s->desc.out_channels, (size_t)s->kernels->nr);
    s->packed_count = fv_round_up(s->kernels->packed_size(&s->desc), FV_ALIGNMENT / sizeof(fv_real));
}

static fv_status make(fv_plan_op *p, local **out) {
    FV_FORWARD(fv_plan_state(p, sizeof **out, (void **)out));
    (*out)->kernels = &p->kernels->conv;
    p->algorithm = "product a position";
    return FV_OK;
}

/* ---- what a piece has in its scratch ---- */

struct room {
    int32_t (*tap)[3];
    int32_t *weight_tap;
    fv_real *weights; /* packed, or their gradient */
    void *scratch;    /* of the kernel */
};

static size_t room_bytes(const local *s, size_t weights, size_t scratch) {
    const size_t taps = (size_t)fv_conv_kernel_taps(&s->g) * sizeof(int32_t);
    return fv_round_up(4 * taps, FV_ALIGNMENT) + fv_round_up(weights * sizeof(fv_real), FV_ALIGNMENT) + scratch;
}

static room carve(const local *s, size_t weights, void *memory) {
    const size_t taps = (size_t)fv_conv_kernel_taps(&s->g);
    char *after = (char *)memory + fv_round_up(4 * taps * sizeof(int32_t), FV_ALIGNMENT);
    return (room){memory, (int32_t *)memory + 3 * taps, (fv_real *)(void *)after,
                  after + fv_round_up(weights * sizeof(fv_real), FV_ALIGNMENT)};
}

/* Place of a kernel's tap t: of its weight, or the other way round. */
static int32_t turned(const fv_conv_geometry *g, int32_t t) {
    return g->true_convolution ? fv_conv_kernel_taps(g) - 1 - t : t;
}

/* Most bytes that the kernel wants at any place: they hang on its taps. */
static fv_status plan_room(fv_plan_op *p, const local *s, fv_conv_scratch_fn scratch, size_t weights) {
    void *memory;
    size_t most = 0;
    FV_FORWARD(fv_plan_state(p, room_bytes(s, 0, 0), &memory));
    const room r = carve(s, 0, memory);
    for (size_t i = 0; i < s->places; i++) {
        fv_conv_desc d = s->desc;
        s->set_place(s, i, &r, &d);
        most = fv_max_size(most, scratch(&d));
    }
    fv_plan_scratch(p, room_bytes(s, weights, most));
    return FV_OK;
}

/* The taps of a position, in the order of the input they read or (`by_weight`) of its weights. */
static void set_taps(const local *s, size_t position, bool by_weight, const room *r, fv_conv_desc *d) {
    const fv_conv_geometry *g = &s->g;
    const int32_t taps = fv_conv_kernel_taps(g),
                  at[2] = {(int32_t)(position / (size_t)g->out[2]), (int32_t)(position % (size_t)g->out[2])};
    for (int32_t t = 0; t < taps; t++) {
        const int32_t u = by_weight ? turned(g, t) : t, place[2] = {u / g->kernel[2], u % g->kernel[2]};
        r->tap[t][0] = 0;
        for (int a = 0; a < 2; a++)
            r->tap[t][a + 1] = at[a] * g->stride[a + 1] + place[a] * g->dilation[a + 1] - g->pad[a + 1];
        r->weight_tap[t] = (int32_t)position * taps + turned(g, u);
    }
    d->tap = (const int32_t(*)[3])r->tap;
    d->weight_tap = r->weight_tap;
}

static void set_position(const local *s, size_t place, const room *r, fv_conv_desc *d) {
    set_taps(s, place, false, r, d);
}
static void set_weights(const local *s, size_t place, const room *r, fv_conv_desc *d) {
    set_taps(s, place, true, r, d);
}

/* ---- products ---- */

static void pack(const local *s, const fv_conv_desc *d, fv_real *packed) {
    fv_conv_weights w = s->source;
    w.data = s->weight->data;
    if (s->swapped) w.in = s->source.out, w.out = s->source.in;
    s->kernels->pack(d, &w, packed, (fv_range){0, s->panels});
}

static void run_pack(void *arg, size_t piece, void *scratch) {
    const local *s = arg;
    const room r = carve(s, 0, scratch);
    const size_t end = fv_min_size((piece + 1) * s->chunk, s->places);
    for (size_t i = piece * s->chunk; i < end; i++) {
        fv_conv_desc d = s->desc;
        s->set_place(s, i, &r, &d);
        pack(s, &d, (fv_real *)s->packed->data + i * s->packed_count);
    }
}

static void run_products(void *arg, size_t piece, void *scratch) {
    const local *s = arg;
    const room r = carve(s, s->packed_count, scratch);
    const size_t end = fv_min_size((piece + 1) * s->chunk, s->places);
    for (size_t i = piece * s->chunk; i < end; i++) {
        fv_conv_desc d = s->desc;
        s->set_place(s, i, &r, &d);
        if (!s->packed) pack(s, &d, r.weights);
        s->kernels->forward(&d, s->x->data,
                            s->packed ? (const fv_real *)s->packed->data + i * s->packed_count : r.weights, NULL, NULL,
                            (fv_real *)s->y->data + i * (size_t)d.out_channels, (fv_range){0, (size_t)d.images},
                            (fv_range){0, s->panels}, r.scratch);
    }
}

typedef struct pack_key {
    char role[8];
    const void *pack;
    int32_t taps, in_channels, out_channels, positions, true_convolution, unused;
} pack_key;

static fv_status plan_packed(fv_plan_op *p, local *s, fv_value weight) {
    pack_key key = {.role = "local",
                    .taps = s->desc.taps,
                    .in_channels = s->desc.in_channels,
                    .out_channels = s->desc.out_channels,
                    .positions = (int32_t)s->places,
                    .true_convolution = s->g.true_convolution};
    memcpy(&key.pack, &s->kernels->pack, sizeof key.pack);
    bool fresh, in_run;
    size_t bytes;
    fv_buffer *packed;
    FV_RETURN_IF(!fv_mul_size(s->packed_count, s->places, &bytes) || !fv_mul_size(bytes, sizeof(fv_real), &bytes),
                 FV_ERR_LIMIT, "node \"%s\": its weights are too large", p->node->name);
    FV_FORWARD(fv_plan_packed(p, weight, &key, sizeof key, bytes, &packed, &fresh, &in_run));
    s->packed = packed;
    p->packed_bytes += bytes;
    return fresh ? fv_plan_phase(p, !in_run, run_pack, s, fv_div_up(s->places, s->chunk)) : FV_OK;
}

static fv_status local_plan(fv_plan_op *p) {
    const fv_node *n = p->node;
    local *s;
    FV_FORWARD(make(p, &s));
    s->set_place = set_position;
    set_geometry(s, p, n->in[0], n->in[1], n->out[0]);
    set_desc(s, s->g.in, s->g.in_channels, (size_t)s->g.out[1] * (size_t)s->g.out[2], s->g.out_channels);
    cut(s);
    s->x = fv_plan_buffer(p, n->in[0]);
    s->weight = fv_plan_buffer(p, n->in[1]);
    s->y = fv_plan_buffer(p, n->out[0]);
    p->flops = fv_conv_flops(&s->g);
    if (!p->training) FV_FORWARD(plan_packed(p, s, n->in[1]));
    FV_FORWARD(plan_room(p, s, s->kernels->forward_scratch, s->packed_count));
    return fv_plan_phase(p, false, run_products, s, fv_div_up(s->places, s->chunk));
}

static fv_status local_backward(fv_backward *b) {
    const fv_node *n = b->node;
    if (b->wanted[0]) {
        const fv_value in[3] = {b->dout[0], n->in[1], n->in[0]};
        b->din[0] = fv_emit_node(b->graph, &fv_op_local_grad_input, in, 3, 1, &n->attr);
    }
    if (b->wanted[1]) {
        const fv_value in[3] = {b->dout[0], n->in[0], n->in[1]};
        b->din[1] = fv_emit_node(b->graph, &fv_op_local_grad_weight, in, 3, 1, &n->attr);
    }
    return FV_OK;
}

const fv_op fv_op_local = {"local", 2, 2, 1, 0, local_infer, local_plan, local_backward};

/* ---- gradients ---- */

static fv_status like_third(fv_node *n, fv_value_info *values) {
    fv_infer_like(&values[n->out[0]], &values[n->in[2]]);
    return FV_OK;
}

/* The output that reads input coordinate `in` of axis a at kernel place u, -1: none. */
static int32_t reader(const fv_conv_geometry *g, int a, int32_t in, int32_t u) {
    const int64_t reach = (int64_t)in + g->pad[a] - (int64_t)u * g->dilation[a];
    return reach >= 0 && reach % g->stride[a] == 0 && reach / g->stride[a] < g->out[a] ? (int32_t)(reach / g->stride[a])
                                                                                       : -1;
}

/* Ordered by output, so that the taps of a row rise in x. */
int32_t fv_local_readers(const fv_conv_geometry *g, size_t pixel, fv_conv_taps taps) {
    const int32_t kernel = fv_conv_kernel_taps(g), y = (int32_t)(pixel / (size_t)g->in[2]),
                  x = (int32_t)(pixel % (size_t)g->in[2]);
    int32_t count = 0;
    for (int32_t t = kernel - 1; t >= 0; t--) {
        const int32_t out[2] = {reader(g, 1, y, t / g->kernel[2]), reader(g, 2, x, t % g->kernel[2])};
        if (out[0] < 0 || out[1] < 0) continue;
        taps.tap[count][0] = 0;
        taps.tap[count][1] = out[0];
        taps.tap[count][2] = out[1];
        taps.weight_tap[count++] = (out[0] * g->out[2] + out[1]) * kernel + turned(g, t);
    }
    return count;
}

static void set_readers(const local *s, size_t pixel, const room *r, fv_conv_desc *d) {
    d->taps = fv_local_readers(&s->g, pixel, (fv_conv_taps){r->tap, r->weight_tap});
    d->tap = (const int32_t(*)[3])r->tap;
    d->weight_tap = r->weight_tap;
}

static fv_status input_grad_plan(fv_plan_op *p) {
    const fv_node *n = p->node;
    local *s;
    FV_FORWARD(make(p, &s));
    s->set_place = set_readers;
    s->swapped = true;
    set_geometry(s, p, n->in[2], n->in[1], n->in[0]);
    set_desc(s, s->g.out, s->g.out_channels, (size_t)s->g.in[1] * (size_t)s->g.in[2], s->g.in_channels);
    cut(s);
    s->x = fv_plan_buffer(p, n->in[0]);
    s->weight = fv_plan_buffer(p, n->in[1]);
    s->y = fv_plan_buffer(p, n->out[0]);
    p->flops = fv_conv_flops(&s->g);
    FV_FORWARD(plan_room(p, s, s->kernels->forward_scratch, s->packed_count));
    return fv_plan_phase(p, false, run_products, s, fv_div_up(s->places, s->chunk));
}

/* From [tap][c][k] of a position into the plain gradient. */
static void spread(const local *s, size_t position, const fv_real *from) {
    const size_t taps = (size_t)s->desc.taps, channels = (size_t)s->g.in_channels, outs = (size_t)s->g.out_channels;
    fv_real *to = (fv_real *)s->y->data + position * taps;
    for (size_t t = 0; t < taps; t++)
        for (size_t c = 0; c < channels; c++)
            for (size_t k = 0; k < outs; k++)
                to[(ptrdiff_t)t + (ptrdiff_t)c * s->source.in + (ptrdiff_t)k * s->source.out] =
                    from[(t * channels + c) * outs + k];
}

static void run_weight_grad(void *arg, size_t piece, void *scratch) {
    const local *s = arg;
    const size_t rows = (size_t)s->desc.taps * (size_t)s->g.in_channels, outs = (size_t)s->g.out_channels;
    const room r = carve(s, s->packed_count, scratch);
    const size_t end = fv_min_size((piece + 1) * s->chunk, s->places);
    for (size_t i = piece * s->chunk; i < end; i++) {
        fv_conv_desc d = s->desc;
        s->set_place(s, i, &r, &d);
        fv_real *dw = s->plain ? r.weights : (fv_real *)s->y->data + i * rows * outs;
        s->kernels->weight_grad(&d, s->x->data, (const fv_real *)s->weight->data + i * outs, dw, (ptrdiff_t)outs,
                                (fv_range){0, (size_t)d.images}, (fv_range){0, rows}, r.scratch);
        if (s->plain) spread(s, i, dw);
    }
}

static fv_status weight_grad_plan(fv_plan_op *p) {
    const fv_node *n = p->node;
    local *s;
    FV_FORWARD(make(p, &s));
    s->set_place = set_weights;
    set_geometry(s, p, n->in[1], n->in[2], n->in[0]);
    set_desc(s, s->g.in, s->g.in_channels, (size_t)s->g.out[1] * (size_t)s->g.out[2], s->g.out_channels);
    cut(s);
    s->packed_count = s->plain ? (size_t)s->desc.taps * (size_t)s->g.in_channels * (size_t)s->g.out_channels : 0;
    s->x = fv_plan_buffer(p, n->in[1]);
    s->weight = fv_plan_buffer(p, n->in[0]); /* dy */
    s->y = fv_plan_buffer(p, n->out[0]);
    p->flops = fv_conv_flops(&s->g);
    FV_FORWARD(plan_room(p, s, s->kernels->weight_grad_scratch, s->packed_count));
    return fv_plan_phase(p, false, run_weight_grad, s, fv_div_up(s->places, s->chunk));
}

const fv_op fv_op_local_grad_input = {"local_grad_input", 3, 3, 1, 0, like_third, input_grad_plan, NULL};
const fv_op fv_op_local_grad_weight = {"local_grad_weight", 3, 3, 1, 0, like_third, weight_grad_plan, NULL};
