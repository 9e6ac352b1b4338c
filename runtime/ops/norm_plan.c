#include "ops/norm_plan.h"

#include "ops/pieces.h"

#include <math.h>

enum { PANEL = 64 }; /* channels of a piece where channels do not meet */

typedef struct norm {
    const fv_kernels *kernels;
    const fv_buffer *x, *scale, *bias, *y, *mean, *inverse, *running_mean, *running_variance;
    const fv_buffer *dy, *dscale, *dbias;
    const fv_buffer *parts;        /* [images][chunks][2][C]: moments, or sums of the gradient */
    const fv_buffer *coefficients; /* [images][2][C] gain, shift; backwards [5]: slope, offset, mean after them */
    fv_norm_shape s;
    size_t width;         /* channels of a group */
    size_t chunk, chunks; /* pixels of a chunk, chunks of an image */
    size_t units;         /* (image, chunk) pairs of a piece */
    size_t panel, panels; /* channels of a panel, panels of an image */
    size_t sets;          /* [C] arrays an image in coefficients */
    fv_real epsilon, momentum, low, high;
    bool unbiased;
} norm;

/* ---- checks and shapes ---- */

fv_status fv_norm_check(const fv_node *n, const fv_value_info *values) {
    const fv_shape *x = &values[n->in[0]].shape;
    FV_RETURN_IF(x->rank != 2 && x->rank != 4, FV_ERR_SHAPE, "node \"%s\": normalization takes (N,F) or (N,C,H,W), not %s",
                 n->name, fv_shape_print(x).text);
    for (int32_t i = 1; i < n->in_count; i++) {
        const fv_shape *v = &values[n->in[i]].shape;
        FV_RETURN_IF(v->rank != 1 || v->dim[0] != x->dim[1], FV_ERR_SHAPE,
                     "node \"%s\": input %d has shape %s, but x %s has %lld channels", n->name, i, fv_shape_print(v).text,
                     fv_shape_print(x).text, (long long)x->dim[1]);
    }
    FV_RETURN_IF(!(n->attr.norm.epsilon >= 0 && n->attr.norm.epsilon <= FV_REAL_MAX), FV_ERR_ARGUMENT,
                 "node \"%s\": epsilon is a number of 0 or more, not %g", n->name, (double)n->attr.norm.epsilon);
    return FV_OK;
}

fv_status fv_norm_grad_infer(fv_node *n, fv_value_info *values) {
    fv_infer_like(&values[n->out[0]], &values[n->in[1]]);
    fv_infer_like(&values[n->out[1]], &values[n->in[2]]);
    fv_infer_like(&values[n->out[2]], &values[n->in[3]]);
    return FV_OK;
}

fv_status fv_norm_backward(fv_backward *b, const fv_op *op) {
    const fv_node *n = b->node;
    FV_RETURN_IF(n->out[1] == FV_NONE || n->out[2] == FV_NONE, FV_ERR_STATE, "node \"%s\" does not keep its moments", n->name);
    const fv_value in[6] = {b->dout[0], n->in[0], n->in[1], n->in[2], n->out[1], n->out[2]};
    const fv_value dx = fv_emit_node(b->graph, op, in, 6, 3, &n->attr);
    for (int i = 0; i < 3; i++) b->din[i] = dx == FV_NONE ? FV_NONE : dx + i;
    return FV_OK;
}

/* ---- pieces ---- */

static fv_status make(fv_plan_op *p, const fv_norm_shape *shape, size_t sets, norm **out) {
    norm *s;
    FV_FORWARD(fv_plan_state(p, sizeof *s, (void **)&s));
    *s = (norm){.kernels = p->kernels,
                .s = *shape,
                .sets = sets,
                .epsilon = p->node->attr.norm.epsilon,
                .momentum = p->node->attr.norm.momentum,
                .low = p->node->attr.norm.act_low,
                .high = p->node->attr.norm.act_high,
                .unbiased = p->node->attr.norm.unbiased};
    s->width = shape->channels / shape->groups;
    s->chunk = fv_min_size(fv_rows_per_piece(shape->channels), fv_max_size(shape->pixels, 1));
    s->chunks = fv_div_up(shape->pixels, s->chunk);
    s->units = fv_rows_per_piece(s->chunk * shape->channels);
    s->panel = s->width == 1 ? PANEL : shape->channels;
    s->panels = fv_div_up(shape->channels, s->panel);
    *out = s;
    return FV_OK;
}

static size_t unit_count(const norm *s) { return s->s.images * s->chunks; }
static size_t unit_pieces(const norm *s) { return fv_div_up(unit_count(s), s->units); }

/* Unit u: its image, first row in all of x, and number of rows. */
typedef struct unit {
    size_t image, row, rows;
} unit;

static unit unit_of(const norm *s, size_t u) {
    const size_t image = u / s->chunks, begin = u % s->chunks * s->chunk;
    return (unit){image, image * s->s.pixels + begin, fv_min_size(s->chunk, s->s.pixels - begin)};
}

static fv_range units_of(const norm *s, size_t piece) {
    return (fv_range){piece * s->units, fv_min_size((piece + 1) * s->units, unit_count(s))};
}

static fv_real *part_of(const norm *s, size_t u) { return (fv_real *)s->parts->data + u * 2 * s->s.channels; }
static fv_real *coefficient_of(const norm *s, size_t image, size_t set) {
    return (fv_real *)s->coefficients->data + (image * s->sets + set) * s->s.channels;
}
static fv_norm_map map_of(const norm *s, size_t image) {
    return (fv_norm_map){s->sets > 2 ? coefficient_of(s, image, 4) : NULL, coefficient_of(s, image, 0),
                         coefficient_of(s, image, 1), s->low, s->high};
}

/* ---- forward ---- */

static void run_moments(void *arg, size_t piece, void *scratch) {
    (void)scratch;
    const norm *s = arg;
    const fv_range r = units_of(s, piece);
    for (size_t u = r.begin; u < r.end; u++) {
        const unit at = unit_of(s, u);
        fv_real *part = part_of(s, u);
        s->kernels->norm.moments((const fv_real *)s->x->data + at.row * s->s.channels, (ptrdiff_t)s->s.channels, at.rows,
                                 s->s.channels, part, part + s->s.channels);
    }
}

/* Gain and shift of the channels [c, c + width) of group g. */
static void set_map(const norm *s, size_t image, size_t g, fv_real mean, fv_real inverse) {
    const fv_real *scale = s->scale->data, *bias = s->bias->data;
    fv_real *gain = coefficient_of(s, image, 0), *shift = coefficient_of(s, image, 1);
    for (size_t c = g * s->width; c < (g + 1) * s->width; c++) {
        gain[c] = scale[c] * inverse;
        shift[c] = bias[c] - mean * gain[c];
        if (s->sets > 2) coefficient_of(s, image, 4)[c] = mean;
    }
}

static void update_running(const norm *s, size_t c, fv_real mean, fv_real m2, size_t count) {
    fv_real *running_mean = s->running_mean->data, *running_variance = s->running_variance->data;
    const fv_real variance = m2 / (fv_real)(s->unbiased && count > 1 ? count - 1 : count);
    running_mean[c] = (1 - s->momentum) * running_mean[c] + s->momentum * mean;
    running_variance[c] = (1 - s->momentum) * running_variance[c] + s->momentum * variance;
}

/* The chunks' moments of an image (a panel of its channels) joined, then groups, then the map. */
static void run_finish(void *arg, size_t piece, void *scratch) {
    (void)scratch;
    const norm *s = arg;
    const size_t image = piece / s->panels, first = piece % s->panels * s->panel, channels = s->s.channels;
    const size_t count = fv_min_size(s->panel, channels - first), values = s->s.pixels * s->width;
    fv_real *mean = part_of(s, image * s->chunks), *m2 = mean + channels;
    s->kernels->norm.merge(mean + first, m2 + first, (ptrdiff_t)(2 * channels), s->chunks, s->chunk,
                           s->s.pixels - (s->chunks - 1) * s->chunk, count, mean + first, m2 + first);
    for (size_t g = first / s->width; g < (first + count) / s->width; g++) {
        fv_real both[2] = {mean[g], m2[g]};
        if (s->width > 1) s->kernels->norm.combine(mean + g * s->width, m2 + g * s->width, s->s.pixels, s->width, both);
        const fv_real inverse = 1 / (fv_real)sqrt((double)(both[1] / (fv_real)values + s->epsilon));
        set_map(s, image, g, both[0], inverse);
        if (s->mean) ((fv_real *)s->mean->data)[image * s->s.groups + g] = both[0];
        if (s->inverse) ((fv_real *)s->inverse->data)[image * s->s.groups + g] = inverse;
        if (s->running_mean) update_running(s, g, both[0], both[1], values);
    }
}

static void run_apply(void *arg, size_t piece, void *scratch) {
    (void)scratch;
    const norm *s = arg;
    const fv_range r = units_of(s, piece);
    for (size_t u = r.begin; u < r.end; u++) {
        const unit at = unit_of(s, u);
        const fv_norm_map map = map_of(s, at.image);
        const size_t offset = at.row * s->s.channels;
        s->kernels->norm.apply(&map, (const fv_real *)s->x->data + offset, (ptrdiff_t)s->s.channels,
                               (fv_real *)s->y->data + offset, (ptrdiff_t)s->s.channels, s->s.channels, at.rows);
    }
}

static fv_status take(fv_plan_op *p, size_t a, size_t b, const fv_buffer **out) {
    fv_buffer *buffer;
    size_t bytes;
    FV_RETURN_IF(!fv_mul_size(a, b, &bytes) || !fv_mul_size(bytes, sizeof(fv_real), &bytes), FV_ERR_LIMIT,
                 "node \"%s\" is too large", p->node->name);
    FV_FORWARD(fv_plan_workspace(p, bytes, &buffer));
    *out = buffer;
    return FV_OK;
}

fv_status fv_norm_plan(fv_plan_op *p, const fv_norm_shape *shape) {
    const fv_node *n = p->node;
    norm *s;
    FV_FORWARD(make(p, shape, 2, &s));
    s->x = fv_plan_buffer(p, n->in[0]);
    s->scale = fv_plan_buffer(p, n->in[1]);
    s->bias = fv_plan_buffer(p, n->in[2]);
    if (n->in_count > 4 && p->training) {
        s->running_mean = fv_plan_buffer(p, n->in[3]);
        s->running_variance = fv_plan_buffer(p, n->in[4]);
    }
    s->y = fv_plan_buffer(p, n->out[0]);
    s->mean = fv_plan_buffer(p, n->out[1]);
    s->inverse = fv_plan_buffer(p, n->out[2]);
    FV_FORWARD(take(p, unit_count(s), 2 * shape->channels, &s->parts));
    FV_FORWARD(take(p, shape->images, 2 * shape->channels, &s->coefficients));
    p->algorithm = "two passes";
    p->flops = 7.0 * (double)(shape->images * shape->pixels) * (double)shape->channels;
    FV_FORWARD(fv_plan_phase(p, false, run_moments, s, unit_pieces(s)));
    FV_FORWARD(fv_plan_phase(p, false, run_finish, s, shape->images * s->panels));
    return fv_plan_phase(p, false, run_apply, s, unit_pieces(s));
}

fv_status fv_norm_apply_plan(fv_plan_op *p, size_t rows, size_t channels, const fv_buffer *coefficients) {
    const fv_norm_shape shape = {1, rows, channels, channels};
    norm *s;
    FV_FORWARD(make(p, &shape, 2, &s));
    s->x = fv_plan_buffer(p, p->node->in[0]);
    s->y = fv_plan_buffer(p, p->node->out[0]);
    s->coefficients = coefficients;
    p->flops = 2.0 * (double)rows * (double)channels;
    return fv_plan_phase(p, false, run_apply, s, unit_pieces(s));
}

/* ---- backward ----
 * With xhat = (x - mean) * inverse over the m values of a group, g = dy through the clamp, S1 = sum scale*g, S2 = sum
 * scale*g*xhat: dx = inverse * (scale*g - S1/m - xhat*S2/m) = g*gain + (x - mean)*slope + offset. */

static void run_maps(void *arg, size_t piece, void *scratch) {
    (void)scratch;
    const norm *s = arg;
    const size_t image = piece / s->panels, first = piece % s->panels * s->panel, at = image * s->s.groups;
    const size_t count = fv_min_size(s->panel, s->s.channels - first);
    const fv_real *mean = s->mean->data, *inverse = s->inverse->data;
    for (size_t g = first / s->width; g < (first + count) / s->width; g++) set_map(s, image, g, mean[at + g], inverse[at + g]);
}

static void run_sums(void *arg, size_t piece, void *scratch) {
    (void)scratch;
    const norm *s = arg;
    const fv_range r = units_of(s, piece);
    for (size_t u = r.begin; u < r.end; u++) {
        const unit at = unit_of(s, u);
        const fv_norm_map map = map_of(s, at.image);
        const size_t offset = at.row * s->s.channels;
        fv_real *part = part_of(s, u);
        s->kernels->norm.grad_sums(&map, (const fv_real *)s->dy->data + offset, (ptrdiff_t)s->s.channels,
                                   (const fv_real *)s->x->data + offset, (ptrdiff_t)s->s.channels, s->s.channels, at.rows, part,
                                   part + s->s.channels);
    }
}

/* Sums over an image in its first part, dot products turned into those with xhat; then slope and offset. */
static void run_slopes(void *arg, size_t piece, void *scratch) {
    (void)scratch;
    const norm *s = arg;
    const size_t image = piece / s->panels, first = piece % s->panels * s->panel, channels = s->s.channels;
    const size_t count = fv_min_size(s->panel, channels - first);
    fv_real *sum = part_of(s, image * s->chunks), *dot = sum + channels;
    fv_real *slope = coefficient_of(s, image, 2), *offset = coefficient_of(s, image, 3);
    const fv_real *scale = s->scale->data, values = (fv_real)(s->s.pixels * s->width);
    s->kernels->reduce.add_parts(sum + first, 2 * channels, s->chunks, sum + first, count);
    s->kernels->reduce.add_parts(dot + first, 2 * channels, s->chunks, dot + first, count);
    for (size_t g = first / s->width; g < (first + count) / s->width; g++) {
        const fv_real inverse = ((const fv_real *)s->inverse->data)[image * s->s.groups + g];
        fv_real s1 = 0, s2 = 0;
        for (size_t c = g * s->width; c < (g + 1) * s->width; c++) {
            dot[c] *= inverse;
            s1 += scale[c] * sum[c];
            s2 += scale[c] * dot[c];
        }
        for (size_t c = g * s->width; c < (g + 1) * s->width; c++) {
            slope[c] = -inverse * inverse * (s2 / values);
            offset[c] = -inverse * (s1 / values);
        }
    }
}

static void run_grad_input(void *arg, size_t piece, void *scratch) {
    (void)scratch;
    const norm *s = arg;
    const fv_range r = units_of(s, piece);
    for (size_t u = r.begin; u < r.end; u++) {
        const unit at = unit_of(s, u);
        const fv_norm_map map = map_of(s, at.image);
        const size_t offset = at.row * s->s.channels;
        const ptrdiff_t pitch = (ptrdiff_t)s->s.channels;
        s->kernels->norm.grad_input(&map, coefficient_of(s, at.image, 2), coefficient_of(s, at.image, 3),
                                    (const fv_real *)s->dy->data + offset, pitch, (const fv_real *)s->x->data + offset, pitch,
                                    (fv_real *)s->y->data + offset, pitch, s->s.channels, at.rows);
    }
}

/* Over the images, in their order. */
static void run_parameters(void *arg, size_t piece, void *scratch) {
    (void)scratch;
    const norm *s = arg;
    const size_t first = piece * PANEL, count = fv_min_size(PANEL, s->s.channels - first), pitch = s->chunks * 2 * s->s.channels;
    const fv_real *sum = part_of(s, 0) + first;
    s->kernels->reduce.add_parts(sum, pitch, s->s.images, (fv_real *)s->dbias->data + first, count);
    s->kernels->reduce.add_parts(sum + s->s.channels, pitch, s->s.images, (fv_real *)s->dscale->data + first, count);
}

fv_status fv_norm_grad_plan(fv_plan_op *p, const fv_norm_shape *shape) {
    const fv_node *n = p->node;
    norm *s;
    FV_FORWARD(make(p, shape, 5, &s));
    s->dy = fv_plan_buffer(p, n->in[0]);
    s->x = fv_plan_buffer(p, n->in[1]);
    s->scale = fv_plan_buffer(p, n->in[2]);
    s->bias = fv_plan_buffer(p, n->in[3]);
    s->mean = fv_plan_buffer(p, n->in[4]);
    s->inverse = fv_plan_buffer(p, n->in[5]);
    s->y = fv_plan_buffer(p, n->out[0]);
    s->dscale = fv_plan_buffer(p, n->out[1]);
    s->dbias = fv_plan_buffer(p, n->out[2]);
    FV_FORWARD(take(p, unit_count(s), 2 * shape->channels, &s->parts));
    FV_FORWARD(take(p, shape->images, 5 * shape->channels, &s->coefficients));
    p->algorithm = "two passes";
    p->flops = 9.0 * (double)(shape->images * shape->pixels) * (double)shape->channels;
    FV_FORWARD(fv_plan_phase(p, false, run_maps, s, shape->images * s->panels));
    FV_FORWARD(fv_plan_phase(p, false, run_sums, s, unit_pieces(s)));
    FV_FORWARD(fv_plan_phase(p, false, run_slopes, s, shape->images * s->panels));
    FV_FORWARD(fv_plan_phase(p, false, run_grad_input, s, unit_pieces(s)));
    return fv_plan_phase(p, false, run_parameters, s, fv_div_up(shape->channels, PANEL));
}
