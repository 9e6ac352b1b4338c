/* The other kinds of pooling, global pooling, unpooling, and rows at a pitch. bytes: inputs and outputs once. */
#include "bench.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef enum pool_kind {
    AVERAGE,
    AVERAGE_GRAD,
    LP2,
    LP2_GRAD,
    LP3,
    WEIGHTED,
    WEIGHTED_GRAD,
    UNPOOL,
    COPY,
    SCALE,
    INNER
} pool_kind;

typedef struct pool_row {
    const char *name;
    pool_kind kind;
    int32_t images, channels, size, window, stride, pad;
    double
        values; /* tensors of the input's size that are read and written besides those of the output's, which are one */
} pool_row;

static const pool_row rows[] = {
    {"pool.average_global", AVERAGE, 1, 2048, 7, 7, 7, 0, 1},
    {"pool.average_global", AVERAGE, 16, 512, 14, 14, 14, 0, 1},
    {"pool.average_global_grad", AVERAGE_GRAD, 16, 512, 14, 14, 14, 0, 1},
    {"pool.lp2", LP2, 64, 32, 28, 2, 2, 0, 1},
    {"pool.lp2_grad", LP2_GRAD, 64, 32, 28, 2, 2, 0, 2.25},
    {"pool.lp3", LP3, 64, 32, 28, 2, 2, 0, 1},
    {"pool.weighted", WEIGHTED, 1, 64, 112, 3, 2, 1, 1},
    {"pool.weighted_grad", WEIGHTED_GRAD, 1, 64, 112, 3, 2, 1, 1},
    {"pool.unpool", UNPOOL, 1, 64, 112, 2, 2, 0, 1.25},
    {"rows.copy", COPY, 1, 64, 112, 1, 1, 0, 1},
    {"rows.scale", SCALE, 1, 64, 112, 1, 1, 0, 1},
    {"rows.inner", INNER, 1, 64, 112, 1, 1, 0, 2},
};

typedef struct pool_state {
    fv_kernels k;
    const pool_row *row;
    fv_pool_desc d;
    float *x, *y, *dy, *dx;
    int32_t *place;
    fv_range in, out;
} pool_state;

static void drop(void *state) {
    pool_state *s = state;
    if (!s) return;
    free(s->x);
    free(s->y);
    free(s->dy);
    free(s->dx);
    free(s->place);
    free(s);
}

static void describe(pool_state *s) {
    const pool_row *r = s->row;
    const int32_t out = (r->size + 2 * r->pad - r->window) / r->stride + 1;
    const ptrdiff_t c = r->channels;
    s->d = (fv_pool_desc){.images = r->images,
                          .channels = r->channels,
                          .in = {1, r->size, r->size},
                          .out = {1, out, out},
                          .window = {1, r->window, r->window},
                          .stride = {1, r->stride, r->stride},
                          .dilation = {1, 1, 1},
                          .pad = {0, r->pad, r->pad},
                          .pad_after = {0, r->pad, r->pad},
                          .places = r->kind == UNPOOL};
    memcpy(s->d.in_pitch, (ptrdiff_t[4]){c * r->size * r->size, c * r->size * r->size, c * r->size, c},
           sizeof s->d.in_pitch);
    memcpy(s->d.out_pitch, (ptrdiff_t[4]){c * out * out, c * out * out, c * out, c}, sizeof s->d.out_pitch);
    s->in.end = (size_t)r->images * (size_t)(r->size * r->size);
    s->out.end = (size_t)r->images * (size_t)(out * out);
}

static void *make(const fv_bench_case *b, const fv_kernels *k) {
    pool_state *s = calloc(1, sizeof *s);
    if (!s) return NULL;
    s->k = *k;
    s->row = b->spec;
    describe(s);
    const size_t values = s->in.end * (size_t)s->d.channels;
    s->x = fv_bench_values(values);
    s->y = fv_bench_values(values);
    s->dy = fv_bench_values(values);
    s->dx = fv_bench_values(values);
    s->place = calloc(values, sizeof *s->place);
    if (!s->x || !s->y || !s->dy || !s->dx || !s->place) {
        drop(s);
        return NULL;
    }
    if (s->row->kind == UNPOOL) s->k.pool.max(&s->d, s->x, s->y, s->place, s->out);
    if (s->row->kind == LP2_GRAD) s->k.pool.lp(&s->d, 2, s->x, s->y, s->out);
    return s;
}

static void run(void *state) {
    pool_state *s = state;
    const fv_pool_kernels *k = &s->k.pool;
    const size_t width = (size_t)s->d.channels, pixels = s->in.end;
    const fv_unpool_desc u = {s->out.end, s->in.end, width, (size_t)s->d.out[2], (size_t)s->d.in[2]};
    switch (s->row->kind) {
    case AVERAGE:
        k->average(&s->d, s->x, s->y, s->out);
        break;
    case AVERAGE_GRAD:
        k->average_grad(&s->d, s->dy, s->dx, s->in);
        break;
    case LP2:
        k->lp(&s->d, 2, s->x, s->y, s->out);
        break;
    case LP2_GRAD:
        k->lp_grad(&s->d, 2, s->x, s->y, s->dy, s->dx, s->in);
        break;
    case LP3:
        k->lp(&s->d, 3, s->x, s->y, s->out);
        break;
    case WEIGHTED:
        k->weighted(&s->d, s->dy, s->x, s->y, s->out);
        break;
    case WEIGHTED_GRAD:
        k->weighted_grad(&s->d, s->x, s->dy, s->dx, s->in);
        break;
    case UNPOOL:
        for (size_t c = 0; c < width; c += FV_UNPOOL_CHANNELS)
            k->unpool(&u, s->y, s->place, s->dx, (fv_range){c, c + FV_UNPOOL_CHANNELS});
        break;
    case COPY:
        s->k.rows.copy(s->x, (ptrdiff_t)width, s->y, 2 * (ptrdiff_t)width, width, pixels / 2);
        break;
    case SCALE:
        s->k.rows.scale(s->x, s->dy, s->y, (ptrdiff_t)width, width, pixels);
        break;
    case INNER:
        s->k.rows.inner(s->x, s->dy, (ptrdiff_t)width, s->y, width, pixels);
        break;
    }
}

void fv_bench_pool(fv_bench_add_fn add, void *user) {
    for (size_t i = 0; i < FV_ARRAY_SIZE(rows); i++) {
        const pool_row *r = &rows[i];
        const double in = (double)r->images * r->channels * r->size * r->size;
        fv_bench_case c = {.spec = r, .make = make, .run = run, .drop = drop};
        c.bytes = 4 * in * (r->values + (r->kind == INNER ? 0 : 1.0 / (r->stride * r->stride)));
        if (r->kind == COPY) c.bytes /= 2;
        snprintf(c.name, sizeof c.name, "%s/N%d_C%d_%dx%d_%dx%d_s%d", r->name, r->images, r->channels, r->size, r->size,
                 r->window, r->window, r->stride);
        add(user, &c);
    }
}
