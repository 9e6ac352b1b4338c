/* The matrix of a convolution. SPEC section 1. */
#include "graph/graph.h"
#include "ops/window.h"

#include <string.h>

typedef struct toeplitz {
    fv_window_attr window;
    int64_t in[3], channels, outs; /* of a group: channels */
    int32_t out[3], groups;
    size_t rows, columns, count;
} toeplitz;

static fv_status describe(const fv_conv_settings *s, int64_t channels, int64_t height, int64_t width, toeplitz *t) {
    FV_RETURN_IF(!s, FV_ERR_ARGUMENT, "a convolution's matrix needs settings");
    FV_RETURN_IF(s->groups < 1 || s->out_channels < 1 || channels < 1 || channels > INT32_MAX || channels % s->groups ||
                     s->out_channels % s->groups,
                 FV_ERR_SHAPE, "a convolution's matrix: %d groups, %lld input and %d output maps do not fit", s->groups,
                 (long long)channels, s->out_channels);
    FV_RETURN_IF(s->connections && s->groups != 1, FV_ERR_ARGUMENT,
                 "a convolution's matrix: a connection table needs one group");
    *t = (toeplitz){
        .in = {1, height, width}, .channels = channels / s->groups, .outs = s->out_channels, .groups = s->groups};
    fv_build_window(&t->window, s->kernel, s->stride, s->dilation, s->pad_before, s->pad_after, s->padding);
    FV_FORWARD(fv_window_resolve("matrix", &t->window, t->in, false, t->out));
    size_t bytes;
    FV_RETURN_IF(!fv_mul_size((size_t)t->outs * (size_t)t->out[1], (size_t)t->out[2], &t->rows) ||
                     !fv_mul_size((size_t)channels * (size_t)height, (size_t)width, &t->columns) ||
                     !fv_mul_size(t->rows, t->columns, &t->count) || !fv_mul_size(t->count, sizeof(float), &bytes),
                 FV_ERR_LIMIT, "a convolution's matrix of %lld maps %lldx%lld is too large", (long long)channels,
                 (long long)height, (long long)width);
    return FV_OK;
}

fv_status fv_toeplitz_size(const fv_conv_settings *s, int64_t channels, int64_t height, int64_t width, size_t *rows,
                           size_t *columns) {
    toeplitz t;
    FV_RETURN_IF(!rows || !columns, FV_ERR_ARGUMENT, "fv_toeplitz_size needs places for its sizes");
    FV_FORWARD(describe(s, channels, height, width, &t));
    *rows = t.rows;
    *columns = t.columns;
    return FV_OK;
}

/* The row of output map k at (y,x): the kernels of its group, laid where they lie on the input. */
static void fill_row(const toeplitz *t, const fv_conv_settings *s, const float *weight, int64_t k, int64_t y, int64_t x,
                     float *row) {
    const fv_window_attr *w = &t->window;
    const int64_t taps = (int64_t)w->kernel[1] * w->kernel[2], first = k / (t->outs / t->groups) * t->channels;
    for (int64_t c = 0; c < t->channels; c++) {
        if (s->connections && !s->connections[k * t->channels + c]) continue;
        const float *kernel = weight + (k * t->channels + c) * taps;
        for (int64_t u = 0; u < taps; u++) {
            const int64_t iy = y * w->stride[1] + u / w->kernel[2] * w->dilation[1] - w->pad_before[1];
            const int64_t ix = x * w->stride[2] + u % w->kernel[2] * w->dilation[2] - w->pad_before[2];
            if (iy < 0 || iy >= t->in[1] || ix < 0 || ix >= t->in[2]) continue;
            row[((first + c) * t->in[1] + iy) * t->in[2] + ix] = kernel[s->true_convolution ? taps - 1 - u : u];
        }
    }
}

fv_status fv_toeplitz(const fv_conv_settings *s, const float *weight, int64_t channels, int64_t height, int64_t width,
                      float *matrix, size_t count) {
    toeplitz t;
    FV_RETURN_IF(!weight || !matrix, FV_ERR_ARGUMENT, "fv_toeplitz needs a weight and a place for the matrix");
    FV_FORWARD(describe(s, channels, height, width, &t));
    FV_RETURN_IF(count != t.count, FV_ERR_SHAPE, "the matrix has %zu x %zu values, the place given has %zu", t.rows,
                 t.columns, count);
    memset(matrix, 0, count * sizeof *matrix);
    float *row = matrix;
    for (int64_t k = 0; k < t.outs; k++)
        for (int64_t y = 0; y < t.out[1]; y++)
            for (int64_t x = 0; x < t.out[2]; x++, row += t.columns) fill_row(&t, s, weight, k, y, x, row);
    return FV_OK;
}
