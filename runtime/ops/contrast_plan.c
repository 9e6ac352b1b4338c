#include "ops/contrast_plan.h"

#include <math.h>

fv_status fv_contrast_infer(const fv_node *n, const fv_shape *x) {
    const fv_contrast_attr *a = &n->attr.contrast;
    FV_RETURN_IF(x->rank != 4 || x->dim[1] < 1 || x->dim[2] < 1 || x->dim[3] < 1, FV_ERR_SHAPE,
                 "node \"%s\": contrast normalization takes maps (N,C,H,W), got %s", n->name, fv_shape_print(x).text);
    FV_RETURN_IF(a->window < 1 || a->window > FV_CONTRAST_WINDOW, FV_ERR_ARGUMENT,
                 "node \"%s\": a window of %d is not in 1..%d", n->name, a->window, FV_CONTRAST_WINDOW);
    FV_RETURN_IF(!a->box && !(a->sigma > 0 && a->sigma < (fv_real)INFINITY), FV_ERR_ARGUMENT,
                 "node \"%s\": a Gaussian's sigma is positive and finite, got %g", n->name, (double)a->sigma);
    return FV_OK;
}

/* Weights that can be reached, and 1 / the sum of those inside, along axis a of the map. */
static fv_status describe_axis(fv_plan_op *p, const fv_real *weight, bool transposed, int axis, fv_contrast_desc *d) {
    const int32_t window = p->node->attr.contrast.window, last = d->in[axis] - 1;
    const int32_t before = (window - 1) / 2 < last ? (window - 1) / 2 : last,
                  after = window / 2 < last ? window / 2 : last;
    const fv_real *first = weight + (window - 1) / 2 - before;
    fv_real *table = NULL;
    d->taps[axis] = before + after + 1;
    d->before[axis] = transposed ? after : before;
    FV_FORWARD(fv_plan_state(p, ((size_t)d->taps[axis] + (size_t)d->in[axis]) * sizeof *table, (void **)&table));
    fv_real *norm = table + d->taps[axis];
    for (int32_t t = 0; t <= before + after; t++) table[transposed ? before + after - t : t] = first[t];
    for (int32_t i = 0; i <= last; i++) {
        double sum = 0;
        for (int32_t t = 0; t <= before + after; t++)
            if (i + t >= before && i + t - before <= last) sum += (double)first[t];
        norm[i] = (fv_real)(1 / sum);
    }
    d->weight[axis] = table;
    d->norm[axis] = norm;
    return FV_OK;
}

enum { TOGETHER = 2 }; /* rows that a blur makes at a time */

static size_t ring_of(const fv_contrast_plan *s) { return fv_min_size((size_t)s->map.taps[0] + TOGETHER - 1, s->rows); }

/* Of a strip as well as of the stream. */
static size_t scratch_of(const fv_contrast_plan *s) {
    const size_t row = s->width * (size_t)s->map.channels;
    return fv_round_up(((ring_of(s) + TOGETHER) * row + s->width) * sizeof(fv_real), FV_ALIGNMENT) +
           fv_blur_scratch(&s->map);
}

fv_status fv_contrast_describe(fv_plan_op *p, const fv_shape *x, bool transposed, fv_contrast_plan *s) {
    enum { TEAM = 8 }; /* pieces that keep a few threads busy */
    const fv_contrast_attr *a = &p->node->attr.contrast;
    fv_real weight[FV_CONTRAST_WINDOW];
    *s = (fv_contrast_plan){.kernels = p->kernels,
                            .across = a->across,
                            .images = (size_t)x->dim[0],
                            .channels = (size_t)x->dim[1],
                            .rows = (size_t)x->dim[2],
                            .width = (size_t)x->dim[3]};
    s->share = a->across ? 1 / (fv_real)s->channels : 1;
    s->map = (fv_contrast_desc){.channels = a->across ? 1 : (int32_t)x->dim[1],
                                .in = {(int32_t)x->dim[2], (int32_t)x->dim[3]},
                                .transposed = transposed,
                                .ring = (int32_t)x->dim[2]};
    fv_contrast_weights(a->window, a->box ? (fv_real)INFINITY : a->sigma, weight);
    for (int axis = 0; axis < 2; axis++) FV_FORWARD(describe_axis(p, weight, transposed, axis, &s->map));
    const size_t most = s->rows / (2 * (size_t)s->map.taps[0]), wanted = fv_div_up(TEAM, fv_max_size(s->images, 1));
    const size_t strips = s->rows * s->width * s->channels < 2 * FV_RUN ? 1 : fv_max_size(1, fv_min_size(most, wanted));
    s->strip = fv_div_up(s->rows, strips);
    s->strips = fv_div_up(s->rows, s->strip);
    p->algorithm = a->across ? "separable, across maps" : "separable, by map";
    p->flops = (double)fv_shape_count(x) * 3 + 2.0 * (double)(s->map.taps[0] + s->map.taps[1]) *
                                                   (double)(s->images * s->rows * s->width) * s->map.channels;
    fv_plan_scratch(p, scratch_of(s));
    return FV_OK;
}

/* ---- rows one after another ---- */

void fv_contrast_stream(const fv_contrast_plan *s, const void *state, size_t image, fv_range rows,
                        fv_contrast_make_fn make, fv_blur kind, fv_contrast_use_fn use, void *scratch) {
    fv_contrast_desc d = s->map;
    const size_t ring = ring_of(s), row = s->width * (size_t)d.channels;
    const size_t before = (size_t)d.before[0], after = (size_t)(d.taps[0] - d.before[0] - 1);
    fv_real *kept = (fv_real *)((char *)scratch + fv_blur_scratch(&d)), *blurred = kept + ring * row,
            *spare = blurred + TOGETHER * row;
    d.ring = (int32_t)ring;
    size_t next = rows.begin > before ? rows.begin - before : 0;
    for (size_t y = rows.begin; y < rows.end; y += TOGETHER) {
        const size_t end = fv_min_size(y + TOGETHER, rows.end);
        for (; next < s->rows && next < end + after; next++) make(state, image, next, kept + next % ring * row);
        s->kernels->contrast.blur[kind](&d, kept, blurred, (fv_range){y, end}, scratch);
        for (size_t r = y; r < end; r++) use(state, image, r, blurred + (r - y) * row, spare);
    }
}
