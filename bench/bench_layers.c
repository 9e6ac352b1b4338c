/* Everything that is not a product: rows that memory or a special function bounds. bytes: inputs and outputs once. */
#include "bench.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Maps of lenet5 and cnn at batch 64, and one of ResNet's size. */
typedef struct map_spec {
    int32_t images, channels, size, window, stride, pad;
} map_spec;

static const map_spec maps[] = {{64, 6, 28, 2, 2, 0}, {64, 16, 10, 2, 2, 0}, {64, 32, 28, 2, 2, 0}, {1, 64, 112, 3, 2, 1}};

enum { VALUES = 64 * 1024, CLASSES = 10, ROWS = 64 };

typedef enum layer_kind {
    MAX, MAX_GRAD, AVERAGE, AVERAGE_GRAD, RELU, SIGMOID, TANH, EXP, RELU_GRAD, ADD, MULTIPLY, GAIN, DROPOUT, SOFTMAX, CROSS_ENTROPY,
    SQUARED_ERROR, SUM, SUM_ROWS, SGD, MOMENTUM, NESTEROV, ADAM, ADAMW, TRANSPOSE, U8_TO_REAL, LAYER_KINDS
} layer_kind;

typedef struct layer_info {
    const char *name;
    double values; /* read and written a value */
} layer_info;

static const layer_info layers[LAYER_KINDS] = {
    [MAX] = {"pool.max", 0}, [MAX_GRAD] = {"pool.max_grad", 0}, [AVERAGE] = {"pool.average", 0}, [AVERAGE_GRAD] = {"pool.average_grad", 0},
    [RELU] = {"relu", 2}, [SIGMOID] = {"sigmoid", 2}, [TANH] = {"tanh", 2}, [EXP] = {"exp", 2}, [RELU_GRAD] = {"relu_grad", 3},
    [ADD] = {"add", 3}, [MULTIPLY] = {"multiply", 3}, [GAIN] = {"gain", 2}, [DROPOUT] = {"dropout", 2}, [SOFTMAX] = {"softmax", 2},
    [CROSS_ENTROPY] = {"cross_entropy", 2}, [SQUARED_ERROR] = {"squared_error", 3}, [SUM] = {"sum", 1}, [SUM_ROWS] = {"sum_rows", 1},
    [SGD] = {"sgd", 3}, [MOMENTUM] = {"momentum", 5}, [NESTEROV] = {"nesterov", 5}, [ADAM] = {"adam", 7}, [ADAMW] = {"adamw", 7},
    [TRANSPOSE] = {"transpose", 2}, [U8_TO_REAL] = {"u8_to_real", 1.25},
};

typedef struct layer_state {
    fv_kernels k;
    layer_kind kind;
    fv_pool_desc pool;
    float *x, *y, *m, *v;
    int32_t *index;
    fv_range in, out;
} layer_state;

static void drop_layer(void *state) {
    layer_state *s = state;
    if (!s) return;
    free(s->x);
    free(s->y);
    free(s->m);
    free(s->v);
    free(s->index);
    free(s);
}

static void describe_pool(layer_state *s, const map_spec *m) {
    const int32_t out = (m->size + 2 * m->pad - m->window) / m->stride + 1;
    s->pool = (fv_pool_desc){.images = m->images, .channels = m->channels, .in = {1, m->size, m->size}, .out = {1, out, out},
                             .window = {1, m->window, m->window}, .stride = {1, m->stride, m->stride}, .dilation = {1, 1, 1},
                             .pad = {0, m->pad, m->pad}, .pad_after = {0, m->pad, m->pad}};
    const ptrdiff_t c = m->channels;
    memcpy(s->pool.in_pitch, (ptrdiff_t[4]){c * m->size * m->size, c * m->size * m->size, c * m->size, c}, sizeof s->pool.in_pitch);
    memcpy(s->pool.out_pitch, (ptrdiff_t[4]){c * out * out, c * out * out, c * out, c}, sizeof s->pool.out_pitch);
    s->in.end = (size_t)m->images * (size_t)(m->size * m->size);
    s->out.end = (size_t)m->images * (size_t)(out * out);
}

static void *make_layer(const fv_bench_case *b, const fv_kernels *k) {
    layer_state *s = calloc(1, sizeof *s);
    if (!s) return NULL;
    s->k = *k;
    s->kind = (layer_kind)b->kind;
    size_t values = VALUES;
    if (b->spec) {
        describe_pool(s, b->spec);
        values = s->in.end * (size_t)s->pool.channels;
    }
    s->x = fv_bench_values(values);
    s->y = fv_bench_values(values);
    s->m = fv_bench_values(values);
    s->v = fv_bench_values(values);
    s->index = calloc(values, sizeof *s->index);
    if (!s->x || !s->y || !s->m || !s->v || !s->index) {
        drop_layer(s);
        return NULL;
    }
    for (size_t i = 0; i < values; i++) {
        s->v[i] = s->v[i] < 0 ? -s->v[i] : s->v[i];
        s->index[i] = (int32_t)(i % CLASSES);
    }
    if (s->kind == MAX_GRAD) s->k.pool.max(&s->pool, s->x, s->y, s->index, s->out);
    return s;
}

static void run_pool(layer_state *s) {
    const fv_pool_kernels *k = &s->k.pool;
    if (s->kind == MAX) k->max(&s->pool, s->x, s->y, s->index, s->out);
    if (s->kind == MAX_GRAD) k->max_grad(&s->pool, s->index, s->y, s->x, s->in);
    if (s->kind == AVERAGE) k->average(&s->pool, s->x, s->y, s->out);
    if (s->kind == AVERAGE_GRAD) k->average_grad(&s->pool, s->y, s->x, s->in);
}

static void run_pointwise(layer_state *s) {
    static const fv_unary unary[LAYER_KINDS] = {[RELU] = FV_UNARY_RELU, [SIGMOID] = FV_UNARY_SIGMOID, [TANH] = FV_UNARY_TANH, [EXP] = FV_UNARY_EXP};
    const fv_pointwise_kernels *k = &s->k.pointwise;
    const uint32_t key[2] = {1, 2}, stream[2] = {3, 4};
    switch (s->kind) {
    case RELU_GRAD: k->unary_grad[FV_UNARY_RELU](s->x, s->y, s->m, VALUES, 0, 0); break;
    case ADD: k->binary[FV_BINARY_ADD](s->x, s->y, s->m, VALUES); break;
    case MULTIPLY: k->binary[FV_BINARY_MUL](s->x, s->y, s->m, VALUES); break;
    case GAIN: k->gain(s->x, 64, s->v, NULL, s->y, 64, 64, VALUES / 64); break;
    case DROPOUT: k->dropout(s->x, s->y, VALUES, 0, key, stream, 0.5f); break;
    default: k->unary[unary[s->kind]](s->x, s->y, VALUES, 0, 0);
    }
}

static void run_rest(layer_state *s) {
    const fv_update u = {.lr = 1e-6f, .momentum = 0.9f, .beta2 = 0.999f, .epsilon = 1e-8f, .grad_scale = 1, .correction1 = 1, .correction2 = 1};
    const fv_optimizer_kernels *o = &s->k.optimizer;
    const float scale[1] = {1.0f / 255}, shift[1] = {0};
    const fv_range rows = {0, VALUES / CLASSES};
    volatile float keep;
    switch (s->kind) {
    case SOFTMAX: s->k.softmax.softmax(s->x, s->y, CLASSES, rows); break;
    case CROSS_ENTROPY: s->k.softmax.cross_entropy(s->x, s->index, s->m, s->y, CLASSES, 0, 1.0f / ROWS, rows); break;
    case SQUARED_ERROR: s->k.softmax.squared_error(s->x, s->v, s->m, s->y, CLASSES, 1, rows); break;
    case SUM: keep = s->k.reduce.sum(s->x, VALUES), (void)keep; break;
    case SUM_ROWS: s->k.reduce.sum_rows(s->x, 64, VALUES / 64, 64, s->y); break;
    case SGD: o->sgd(&u, s->x, s->y, s->m, s->v, VALUES); break;
    case MOMENTUM: o->momentum(&u, s->x, s->y, s->m, s->v, VALUES); break;
    case NESTEROV: o->nesterov(&u, s->x, s->y, s->m, s->v, VALUES); break;
    case ADAM: o->adam(&u, s->x, s->y, s->m, s->v, VALUES); break;
    case ADAMW: o->adamw(&u, s->x, s->y, s->m, s->v, VALUES); break;
    case TRANSPOSE: s->k.convert.transpose(s->x, 64, s->y, VALUES / 64, 64, (fv_range){0, VALUES / 64}); break;
    default: s->k.convert.u8_to_real((const uint8_t *)s->x, s->y, VALUES, 1, scale, shift);
    }
}

static void run_layer(void *state) {
    layer_state *s = state;
    if (s->kind <= AVERAGE_GRAD)
        run_pool(s);
    else if (s->kind <= DROPOUT)
        run_pointwise(s);
    else
        run_rest(s);
}

void fv_bench_layers(fv_bench_add_fn add, void *user) {
    for (int32_t kind = 0; kind < LAYER_KINDS; kind++) {
        fv_bench_case c = {.kind = kind, .make = make_layer, .run = run_layer, .drop = drop_layer, .bytes = 4.0 * VALUES * layers[kind].values};
        if (kind > AVERAGE_GRAD) {
            snprintf(c.name, sizeof c.name, "%s/%d", layers[kind].name, VALUES);
            add(user, &c);
            continue;
        }
        for (size_t i = 0; i < FV_ARRAY_SIZE(maps); i++) {
            const map_spec *m = &maps[i];
            const double in = (double)m->images * m->channels * m->size * m->size;
            c.spec = m;
            c.bytes = 4 * in * (1 + (kind <= MAX_GRAD ? 2.0 : 1.0) / (m->stride * m->stride)); /* max: places too */
            snprintf(c.name, sizeof c.name, "%s/N%d_C%d_%dx%d_%dx%d_s%d", layers[kind].name, m->images, m->channels, m->size, m->size,
                     m->window, m->window, m->stride);
            add(user, &c);
        }
    }
}

float *fv_bench_values(size_t count) {
    float *values = aligned_alloc(64, fv_round_up((count ? count : 1) * sizeof *values, 64));
    uint32_t state = 1;
    for (size_t i = 0; values && i < count; i++)
        values[i] = (float)(int32_t)(state = state * 1664525u + 1013904223u) * 0x1p-31f;
    return values;
}
