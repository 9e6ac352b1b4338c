/* divisive_norm: x (N,C,H,W) -> y = x / max(c, sigma), sigma (N,1 or C,H,W), c (N, 1 or C). divisive_norm_grad: dy, x,
 * sigma, c -> dx. SPEC section 4.
 *
 * Backwards, with D = max(c, sigma), s = dy * x (summed across maps), q = sigma^2: dD = -s / D^2 goes to sigma where
 * sigma > c and else to c, and from c evenly to every sigma of the image; u = dsigma / sigma, dx = dy / D + x * B'u (a
 * share of 1/C across maps). */
#include "ops/contrast_plan.h"

#include <string.h>

typedef struct divisive {
    fv_contrast_plan plan;
    const fv_buffer *x, *sigma, *c, *y; /* y: dx backwards */
    const fv_buffer *dy, *products, *k; /* backwards: s of every pixel, across maps; what every sigma gets from c */
    const fv_buffer *parts;             /* [image][strip][means] sums towards c, or its gradient */
    size_t means;                       /* of an image */
} divisive;

static fv_status divisive_infer(fv_node *n, fv_value_info *values) {
    const fv_shape *x = &values[n->in[0]].shape;
    FV_FORWARD(fv_contrast_infer(n, x));
    const int64_t maps = n->attr.contrast.across ? 1 : x->dim[1];
    const fv_shape sigma = {4, {x->dim[0], maps, x->dim[2], x->dim[3]}}, c = {2, {x->dim[0], maps}};
    fv_infer_like(&values[n->out[0]], &values[n->in[0]]);
    fv_infer_shape(&values[n->out[1]], FV_REAL_DTYPE, &sigma);
    fv_infer_shape(&values[n->out[2]], FV_REAL_DTYPE, &c);
    return FV_OK;
}

static fv_real *part_of(const divisive *s, size_t image, size_t strip) {
    return (fv_real *)s->parts->data + (image * s->plan.strips + strip) * s->means;
}

static const fv_real *row_of(const fv_buffer *b, const divisive *s, size_t image, size_t row) {
    return (const fv_real *)b->data + fv_contrast_at(&s->plan, image, row);
}

static const fv_real *map_row_of(const fv_buffer *b, const divisive *s, size_t image, size_t row) {
    return (const fv_real *)b->data + fv_contrast_map_at(&s->plan, image, row);
}

/* sigma and c of so many rows from one on: across maps a row is one pixel of width channels. */
static fv_sigma sigma_of(const divisive *s, size_t image, size_t row, size_t rows) {
    const bool across = s->plan.across;
    return (fv_sigma){map_row_of(s->sigma, s, image, row), (const fv_real *)s->c->data + image * s->means, across,
                      across ? s->plan.width : s->plan.channels, across ? rows : rows * s->plan.width};
}

/* ---- forwards ---- */

static void make_squares(const void *state, size_t image, size_t row, fv_real *out) {
    const divisive *s = state;
    s->plan.kernels->contrast.sum[FV_MAP_SQUARES](row_of(s->x, s, image, row), NULL, out, s->plan.channels,
                                                  s->plan.width, s->plan.share);
}

static void keep_sigma(const void *state, size_t image, size_t row, const fv_real *blurred, fv_real *spare) {
    (void)spare;
    const divisive *s = state;
    memcpy((fv_real *)s->sigma->data + fv_contrast_map_at(&s->plan, image, row), blurred,
           s->plan.width * sizeof *blurred);
}

static void spread(const divisive *s, size_t image, size_t strip, fv_range rows, void *scratch) {
    const fv_kernels *k = s->plan.kernels;
    const fv_real *sigma = map_row_of(s->sigma, s, image, rows.begin);
    const size_t pixels = (rows.end - rows.begin) * s->plan.width;
    if (s->plan.across) {
        fv_contrast_stream(&s->plan, s, image, rows, make_squares, FV_BLUR_ROOT, keep_sigma, scratch);
        *part_of(s, image, strip) = k->reduce.sum(sigma, pixels);
        return;
    }
    k->contrast.blur[FV_BLUR_SIGMA](&s->plan.map, row_of(s->x, s, image, 0), (fv_real *)(uintptr_t)sigma, rows,
                                    scratch);
    k->reduce.sum_rows(sigma, (ptrdiff_t)s->means, pixels, s->means, part_of(s, image, strip));
}

static void find_c(const divisive *s, size_t image) {
    fv_real *c = (fv_real *)s->c->data + image * s->means;
    s->plan.kernels->reduce.add_parts(part_of(s, image, 0), s->means, s->plan.strips, c, s->means);
    for (size_t m = 0; m < s->means; m++) c[m] /= (fv_real)(s->plan.rows * s->plan.width);
}

static void apply(const divisive *s, size_t image, fv_range rows, void *scratch) {
    const fv_contrast_kernels *k = &s->plan.kernels->contrast;
    fv_real *y = (fv_real *)s->y->data + fv_contrast_at(&s->plan, image, rows.begin), *factors = scratch;
    if (!s->plan.across) {
        const fv_sigma sigma = sigma_of(s, image, rows.begin, rows.end - rows.begin);
        k->divide(&sigma, row_of(s->x, s, image, rows.begin), y);
        return;
    }
    for (size_t row = rows.begin; row < rows.end; row++, y += s->plan.width * s->plan.channels) {
        const fv_sigma sigma = sigma_of(s, image, row, 1);
        k->divide(&sigma, NULL, factors);
        k->scale(row_of(s->x, s, image, row), factors, NULL, NULL, y, s->plan.channels, s->plan.width);
    }
}

static void run_spread(void *arg, size_t piece, void *scratch) {
    const divisive *s = arg;
    spread(s, fv_contrast_image(&s->plan, piece), piece % s->plan.strips, fv_contrast_rows(&s->plan, piece), scratch);
}

static void run_c(void *arg, size_t image, void *scratch) {
    (void)scratch;
    find_c(arg, image);
}

static void run_apply(void *arg, size_t piece, void *scratch) {
    const divisive *s = arg;
    apply(s, fv_contrast_image(&s->plan, piece), fv_contrast_rows(&s->plan, piece), scratch);
}

/* An image that is not cut goes through all of it at once. */
static void run_image(void *arg, size_t image, void *scratch) {
    run_spread(arg, image, scratch);
    find_c(arg, image);
    run_apply(arg, image, scratch);
}

static fv_status make(fv_plan_op *p, fv_value x, bool transposed, divisive **out) {
    divisive *s;
    fv_buffer *parts;
    FV_FORWARD(fv_plan_state(p, sizeof *s, (void **)&s));
    FV_FORWARD(fv_contrast_describe(p, &p->values[x].shape, transposed, &s->plan));
    s->means = (size_t)s->plan.map.channels;
    FV_FORWARD(fv_plan_workspace(p, fv_contrast_pieces(&s->plan) * s->means * sizeof(fv_real), &parts));
    s->x = fv_plan_buffer(p, x);
    s->y = fv_plan_buffer(p, p->node->out[0]);
    s->parts = parts;
    *out = s;
    return FV_OK;
}

/* Three steps with barriers between them, or all in one where images are not cut. */
static fv_status plan_steps(fv_plan_op *p, divisive *s, fv_piece_fn whole, const fv_piece_fn steps[3]) {
    const size_t pieces = fv_contrast_pieces(&s->plan);
    if (s->plan.strips == 1) return fv_plan_phase(p, false, whole, s, pieces);
    FV_FORWARD(fv_plan_phase(p, false, steps[0], s, pieces));
    FV_FORWARD(fv_plan_phase(p, false, steps[1], s, s->plan.images));
    return fv_plan_phase(p, false, steps[2], s, pieces);
}

static fv_status divisive_plan(fv_plan_op *p) {
    static const fv_piece_fn steps[3] = {run_spread, run_c, run_apply};
    divisive *s;
    FV_FORWARD(make(p, p->node->in[0], false, &s));
    s->sigma = fv_plan_buffer(p, p->node->out[1]);
    s->c = fv_plan_buffer(p, p->node->out[2]);
    return plan_steps(p, s, run_image, steps);
}

static fv_status divisive_backward(fv_backward *b) {
    const fv_node *n = b->node;
    const fv_value in[4] = {b->dout[0], n->in[0], n->out[1], n->out[2]};
    b->din[0] = fv_emit_node(b->graph, &fv_op_divisive_norm_grad, in, 4, 1, &n->attr);
    return FV_OK;
}

const fv_op fv_op_divisive_norm = {"divisive_norm", 1, 1, 3, 0, divisive_infer, divisive_plan, divisive_backward};

/* ---- backwards ---- */

static fv_status divisive_grad_infer(fv_node *n, fv_value_info *values) {
    fv_infer_like(&values[n->out[0]], &values[n->in[1]]);
    return FV_OK;
}

static void run_weigh(void *arg, size_t piece, void *scratch) {
    const divisive *s = arg;
    const size_t image = fv_contrast_image(&s->plan, piece);
    const fv_range rows = fv_contrast_rows(&s->plan, piece);
    const size_t count = rows.end - rows.begin;
    const fv_kernels *k = s->plan.kernels;
    const fv_sigma sigma = sigma_of(s, image, rows.begin, count);
    const fv_real *dy = row_of(s->dy, s, image, rows.begin), *x = row_of(s->x, s, image, rows.begin);
    fv_real *part = part_of(s, image, piece % s->plan.strips), *columns = scratch;
    if (!s->plan.across) {
        k->contrast.below_dot(&sigma, dy, x, part);
        return;
    }
    fv_real *products = (fv_real *)s->products->data + fv_contrast_map_at(&s->plan, image, rows.begin);
    k->contrast.sum[FV_MAP_DOT](dy, x, products, s->plan.channels, count * s->plan.width, 1);
    k->contrast.below_dot(&sigma, products, NULL, columns);
    *part = k->reduce.sum(columns, s->plan.width);
}

static void run_share(void *arg, size_t image, void *scratch) {
    (void)scratch;
    const divisive *s = arg;
    const fv_real *c = (const fv_real *)s->c->data + image * s->means;
    fv_real *share = (fv_real *)s->k->data + image * s->means;
    s->plan.kernels->reduce.add_parts(part_of(s, image, 0), s->means, s->plan.strips, share, s->means);
    for (size_t m = 0; m < s->means; m++)
        share[m] = c[m] == 0 ? 0 : -share[m] / c[m] / c[m] / (fv_real)(s->plan.rows * s->plan.width);
}

static void make_sigma_grad(const void *state, size_t image, size_t row, fv_real *out) {
    const divisive *s = state;
    const fv_sigma sigma = sigma_of(s, image, row, 1);
    const fv_real *share = (const fv_real *)s->k->data + image * s->means;
    const fv_real *first = s->plan.across ? map_row_of(s->products, s, image, row) : row_of(s->dy, s, image, row);
    s->plan.kernels->contrast.sigma_grad(&sigma, first, s->plan.across ? NULL : row_of(s->x, s, image, row), share,
                                         s->plan.share, out);
}

static void put_gradient(const void *state, size_t image, size_t row, const fv_real *blurred, fv_real *factors) {
    const divisive *s = state;
    const fv_contrast_kernels *k = &s->plan.kernels->contrast;
    const fv_sigma sigma = sigma_of(s, image, row, 1);
    const fv_real *dy = row_of(s->dy, s, image, row), *x = row_of(s->x, s, image, row);
    fv_real *dx = (fv_real *)s->y->data + fv_contrast_at(&s->plan, image, row);
    if (!s->plan.across) {
        k->divide_add(&sigma, dy, x, blurred, dx);
        return;
    }
    k->divide(&sigma, NULL, factors);
    k->scale(dy, factors, x, blurred, dx, s->plan.channels, s->plan.width);
}

static void run_gradient(void *arg, size_t piece, void *scratch) {
    const divisive *s = arg;
    fv_contrast_stream(&s->plan, s, fv_contrast_image(&s->plan, piece), fv_contrast_rows(&s->plan, piece),
                       make_sigma_grad, FV_BLUR_PLAIN, put_gradient, scratch);
}

static void run_image_gradient(void *arg, size_t image, void *scratch) {
    run_weigh(arg, image, scratch);
    run_share(arg, image, scratch);
    run_gradient(arg, image, scratch);
}

static fv_status divisive_grad_plan(fv_plan_op *p) {
    static const fv_piece_fn steps[3] = {run_weigh, run_share, run_gradient};
    const fv_node *n = p->node;
    divisive *s;
    fv_buffer *products = NULL, *k;
    FV_FORWARD(make(p, n->in[1], true, &s));
    const size_t pixels = s->plan.images * s->plan.rows * s->plan.width;
    if (s->plan.across) FV_FORWARD(fv_plan_workspace(p, pixels * sizeof(fv_real), &products));
    FV_FORWARD(fv_plan_workspace(p, s->plan.images * s->means * sizeof(fv_real), &k));
    s->dy = fv_plan_buffer(p, n->in[0]);
    s->sigma = fv_plan_buffer(p, n->in[2]);
    s->c = fv_plan_buffer(p, n->in[3]);
    s->products = products;
    s->k = k;
    return plan_steps(p, s, run_image_gradient, steps);
}

const fv_op fv_op_divisive_norm_grad = {"divisive_norm_grad", 4,   4, 1, 0, divisive_grad_infer,
                                        divisive_grad_plan,   NULL};
