/* scale_maps: x (N,C,H,W), s (N,C) -> y = s[n,c] * x (squeeze-and-excitation); scale_pixels: x, m (N,1,H,W) -> y =
 * m[n,y,x] * x (a spatial mask). Their gradients: dy, x, factors -> dx, dfactors. SPEC section 7. */
#include "ops/pieces.h"

typedef struct attention {
    const fv_kernels *kernels;
    const fv_buffer *x, *factors, *y; /* forwards, and dx = factors * dy */
    const fv_buffer *other, *dfactors, *parts;
    size_t images, channels, pixels; /* of one image */
    size_t chunk, chunks;            /* pixels a piece, pieces an image */
} attention;

static fv_status make(fv_plan_op *p, fv_value x, fv_value factors, fv_value y, attention **out) {
    attention *s;
    const fv_shape *shape = &p->values[x].shape;
    FV_FORWARD(fv_plan_state(p, sizeof *s, (void **)&s));
    *s = (attention){.kernels = p->kernels,
                     .x = fv_plan_buffer(p, x),
                     .factors = fv_plan_buffer(p, factors),
                     .y = fv_plan_buffer(p, y)};
    s->images = (size_t)shape->dim[0];
    s->channels = (size_t)shape->dim[1];
    s->pixels = (size_t)(shape->dim[2] * shape->dim[3]);
    s->chunk = fv_rows_per_piece(s->channels);
    s->chunks = fv_div_up(s->pixels, s->chunk);
    p->algorithm = "pointwise";
    p->flops = (double)fv_shape_count(shape);
    *out = s;
    return FV_OK;
}

typedef struct place {
    size_t image, count, pixel; /* pixel: of the whole batch */
} place;

static place place_of(const attention *s, size_t piece) {
    const size_t image = piece / s->chunks, first = piece % s->chunks * s->chunk;
    return (place){image, fv_min_size(s->chunk, s->pixels - first), image * s->pixels + first};
}

/* ---- maps ---- */

static fv_status scale_maps_infer(fv_node *n, fv_value_info *values) {
    const fv_shape *x = &values[n->in[0]].shape, *s = &values[n->in[1]].shape;
    const bool one = s->rank == 2 || (s->rank == 4 && s->dim[2] == 1 && s->dim[3] == 1);
    FV_RETURN_IF(x->rank != 4 || !one || s->dim[0] != x->dim[0] || s->dim[1] != x->dim[1], FV_ERR_SHAPE,
                 "node \"%s\": factors %s do not fit the maps of %s", n->name, fv_shape_print(s).text,
                 fv_shape_print(x).text);
    fv_infer_like(&values[n->out[0]], &values[n->in[0]]);
    return FV_OK;
}

static void run_scale_maps(void *arg, size_t piece, void *scratch) {
    (void)scratch;
    const attention *s = arg;
    const place at = place_of(s, piece);
    const ptrdiff_t pitch = (ptrdiff_t)s->channels;
    s->kernels->pointwise.gain((const fv_real *)s->x->data + at.pixel * s->channels, pitch,
                               (const fv_real *)s->factors->data + at.image * s->channels, NULL,
                               (fv_real *)s->y->data + at.pixel * s->channels, pitch, s->channels, at.count);
}

static fv_status scale_maps_plan(fv_plan_op *p) {
    attention *s;
    FV_FORWARD(make(p, p->node->in[0], p->node->in[1], p->node->out[0], &s));
    return fv_plan_phase(p, false, run_scale_maps, s, s->images * s->chunks);
}

static fv_status backward(fv_backward *b, const fv_op *op) {
    const fv_value in[3] = {b->dout[0], b->node->in[0], b->node->in[1]};
    const fv_value dx = fv_emit_node(b->graph, op, in, 3, 2, NULL);
    b->din[0] = dx;
    b->din[1] = dx == FV_NONE ? FV_NONE : dx + 1;
    return FV_OK;
}

static fv_status scale_maps_backward(fv_backward *b) { return backward(b, &fv_op_scale_maps_grad); }

const fv_op fv_op_scale_maps = {"scale_maps",       2, 2, 1, FV_OP_IN_PLACE, scale_maps_infer, scale_maps_plan,
                                scale_maps_backward};

static fv_status grad_infer(fv_node *n, fv_value_info *values) {
    fv_infer_like(&values[n->out[0]], &values[n->in[1]]);
    fv_infer_like(&values[n->out[1]], &values[n->in[2]]);
    return FV_OK;
}

static void run_dots(void *arg, size_t piece, void *scratch) {
    (void)scratch;
    const attention *s = arg;
    const place at = place_of(s, piece);
    const ptrdiff_t pitch = (ptrdiff_t)s->channels;
    s->kernels->reduce.dot_rows((const fv_real *)s->x->data + at.pixel * s->channels, pitch,
                                (const fv_real *)s->other->data + at.pixel * s->channels, pitch, at.count, s->channels,
                                (fv_real *)s->parts->data + piece * s->channels);
}

static void run_sum(void *arg, size_t image, void *scratch) {
    (void)scratch;
    const attention *s = arg;
    s->kernels->reduce.add_parts((const fv_real *)s->parts->data + image * s->chunks * s->channels, s->channels,
                                 s->chunks, (fv_real *)s->dfactors->data + image * s->channels, s->channels);
}

static fv_status scale_maps_grad_plan(fv_plan_op *p) {
    const fv_node *n = p->node;
    attention *s;
    FV_FORWARD(make(p, n->in[0], n->in[2], n->out[0], &s));
    s->other = fv_plan_buffer(p, n->in[1]);
    s->dfactors = s->parts = fv_plan_buffer(p, n->out[1]); /* one piece an image is the sum already */
    if (s->chunks > 1) {
        fv_buffer *parts;
        FV_FORWARD(fv_plan_workspace(p, s->images * s->chunks * s->channels * sizeof(fv_real), &parts));
        s->parts = parts;
    }
    FV_FORWARD(fv_plan_phase(p, false, run_dots, s, s->images * s->chunks)); /* before dx, which may take dy's place */
    if (s->chunks > 1) FV_FORWARD(fv_plan_phase(p, false, run_sum, s, s->images));
    return fv_plan_phase(p, false, run_scale_maps, s, s->images * s->chunks);
}

const fv_op fv_op_scale_maps_grad = {"scale_maps_grad",    3,   3, 2, FV_OP_IN_PLACE, grad_infer,
                                     scale_maps_grad_plan, NULL};

/* ---- pixels ---- */

static fv_status scale_pixels_infer(fv_node *n, fv_value_info *values) {
    const fv_shape *x = &values[n->in[0]].shape, *m = &values[n->in[1]].shape;
    FV_RETURN_IF(x->rank != 4 || m->rank != 4 || m->dim[0] != x->dim[0] || m->dim[1] != 1 || m->dim[2] != x->dim[2] ||
                     m->dim[3] != x->dim[3],
                 FV_ERR_SHAPE, "node \"%s\": a mask %s does not fit the pixels of %s", n->name, fv_shape_print(m).text,
                 fv_shape_print(x).text);
    fv_infer_like(&values[n->out[0]], &values[n->in[0]]);
    return FV_OK;
}

static void run_scale_pixels(void *arg, size_t piece, void *scratch) {
    (void)scratch;
    const attention *s = arg;
    const place at = place_of(s, piece);
    const fv_real *x = (const fv_real *)s->x->data + at.pixel * s->channels,
                  *mask = (const fv_real *)s->factors->data + at.pixel;
    const ptrdiff_t pitch = (ptrdiff_t)s->channels;
    if (s->other) /* x is dy, which dx may overwrite */
        s->kernels->rows.inner(x, (const fv_real *)s->other->data + at.pixel * s->channels, pitch,
                               (fv_real *)s->dfactors->data + at.pixel, s->channels, at.count);
    s->kernels->rows.scale(x, mask, (fv_real *)s->y->data + at.pixel * s->channels, pitch, s->channels, at.count);
}

static fv_status scale_pixels_plan(fv_plan_op *p) {
    attention *s;
    FV_FORWARD(make(p, p->node->in[0], p->node->in[1], p->node->out[0], &s));
    return fv_plan_phase(p, false, run_scale_pixels, s, s->images * s->chunks);
}

static fv_status scale_pixels_backward(fv_backward *b) { return backward(b, &fv_op_scale_pixels_grad); }

const fv_op fv_op_scale_pixels = {"scale_pixels",       2, 2, 1, FV_OP_IN_PLACE, scale_pixels_infer, scale_pixels_plan,
                                  scale_pixels_backward};

static fv_status scale_pixels_grad_plan(fv_plan_op *p) {
    const fv_node *n = p->node;
    attention *s;
    FV_FORWARD(make(p, n->in[0], n->in[2], n->out[0], &s));
    s->other = fv_plan_buffer(p, n->in[1]);
    s->dfactors = fv_plan_buffer(p, n->out[1]);
    return fv_plan_phase(p, false, run_scale_pixels, s, s->images * s->chunks);
}

const fv_op fv_op_scale_pixels_grad = {"scale_pixels_grad",    3,   3, 2, FV_OP_IN_PLACE, grad_infer,
                                       scale_pixels_grad_plan, NULL};
