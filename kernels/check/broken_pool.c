/* Broken pooling, unpooling and rows. */
#include "kernels/check/broken.h"

#include "kernels/pool_cursor.h"

/* ---- pooling ---- */

static void max_last_tie(const fv_pool_desc *d, const float *x, float *y, int32_t *index, fv_range pixels) {
    fv_check_good->pool.max(d, x, y, index, pixels);
    for (size_t p = pixels.begin; index && p < pixels.end; p++) {
        const fv_pool_pixel o = fv_pool_out_pixel(d, p);
        for (fv_pool_tap t = fv_pool_first_tap(d, &o); fv_pool_has_tap(&t); fv_pool_next_tap(d, &t))
            for (int32_t c = 0; c < d->channels; c++)
                if (x[fv_pool_tap_offset(d, &o, &t) + c] == y[fv_pool_offset(d->out_pitch, &o) + c])
                    index[p * (size_t)d->channels + (size_t)c] = fv_pool_tap_index(d, &t);
    }
}

static void max_index_off(const fv_pool_desc *d, const float *x, float *y, int32_t *index, fv_range pixels) {
    fv_check_good->pool.max(d, x, y, index, pixels);
    if (index && pixels.end > pixels.begin) index[pixels.end * (size_t)d->channels - 1]++;
}

static void average_padding(const fv_pool_desc *d, const float *x, float *y, fv_range pixels) {
    fv_pool_desc other = *d;
    other.count_padding = true;
    fv_check_good->pool.average(&other, x, y, pixels);
}

static void max_grad_one_window(const fv_pool_desc *d, const int32_t *index, const float *dy, float *dx,
                                fv_range pixels) {
    fv_pool_desc other = *d;
    if (other.out[2] > 1) other.out[2]--; /* the last column of windows is forgotten; d's pitches hold */
    if (d->out[2] == 1 || d->images * d->out[0] * d->out[1] > 1)
        fv_check_good->pool.max_grad(d, index, dy, dx, pixels);
    else
        fv_check_good->pool.max_grad(&other, index, dy, dx, pixels);
}

static void average_grad_no_edge(const fv_pool_desc *d, const float *dy, float *dx, fv_range pixels) {
    fv_pool_desc other = *d;
    other.count_padding = true;
    for (int i = 0; i < 3; i++) other.pad_after[i] = d->window[i] * d->dilation[i];
    fv_check_good->pool.average_grad(&other, dy, dx, pixels);
}

/* ---- the other kinds of pooling, rows ---- */

static void lp_squares_only(const fv_pool_desc *d, float p, const float *x, float *y, fv_range pixels) {
    fv_check_good->pool.lp(d, p == 1 ? 2 : p, x, y, pixels);
}

static void lp_grad_no_sign(const fv_pool_desc *d, float p, const float *x, const float *y, const float *dy, float *dx,
                            fv_range pixels) {
    fv_check_good->pool.lp_grad(d, p, x, y, dy, dx, pixels);
    if (pixels.end == (size_t)(d->images * d->in[0] * d->in[1] * d->in[2]) && pixels.end > pixels.begin)
        dx[(d->images - 1) * d->in_pitch[0] + (d->in[0] - 1) * d->in_pitch[1] + (d->in[1] - 1) * d->in_pitch[2] +
           (d->in[2] - 1) * d->in_pitch[3]] *= -1;
}

static void weighted_turned(const fv_pool_desc *d, const float *weight, const float *x, float *y, fv_range pixels) {
    float turned[2048];
    const int32_t n = d->window[0] * d->window[1] * d->window[2];
    for (int32_t i = 0; i < n && n <= 2048; i++) turned[i] = weight[n - 1 - i];
    fv_check_good->pool.weighted(d, n <= 2048 ? turned : weight, x, y, pixels);
}

static void weighted_grad_unweighted(const fv_pool_desc *d, const float *weight, const float *dy, float *dx,
                                     fv_range pixels) {
    (void)weight;
    fv_check_good->pool.average_grad(d, dy, dx, pixels);
}

static void unpool_adds(const fv_unpool_desc *d, const float *x, const int32_t *place, float *y, fv_range channels) {
    fv_check_good->pool.unpool(d, x, place, y, channels);
    for (size_t i = 0; i + 1 < d->pooled; i++) {
        const size_t at = i * d->channels + channels.begin, next = at + d->channels;
        if (place[at] == place[next] && place[at] >= 0 && (size_t)place[at] < d->pixels)
            y[(size_t)place[at] * d->channels + channels.begin] += x[at];
    }
}

static void unpool_grad_to_all(const fv_unpool_desc *d, const int32_t *place, const float *dy, float *dx,
                               fv_range channels, void *scratch) {
    (void)scratch;
    for (size_t i = 0; i < d->pooled; i++)
        for (size_t c = channels.begin; c < channels.end; c++) {
            const int32_t to = place[i * d->channels + c];
            dx[i * d->channels + c] = to >= 0 && (size_t)to < d->pixels ? dy[(size_t)to * d->channels + c] : 0;
        }
}

static void copy_fills_gap(const float *x, ptrdiff_t x_pitch, float *y, ptrdiff_t y_pitch, size_t width, size_t rows) {
    fv_check_good->rows.copy(x, x_pitch, y, y_pitch, width, rows);
    if (rows > 1 && y_pitch > (ptrdiff_t)width) y[width] = 0;
}

static void scale_by_first(const float *x, const float *scale, float *y, ptrdiff_t pitch, size_t width, size_t rows) {
    for (size_t r = 0; r < rows; r++)
        fv_check_good->rows.scale(x + (ptrdiff_t)r * pitch, scale, y + (ptrdiff_t)r * pitch, pitch, width, 1);
}

static void inner_loses_tail(const float *x1, const float *x2, ptrdiff_t pitch, float *y, size_t width, size_t rows) {
    fv_check_good->rows.inner(x1, x2, pitch, y, width > 8 ? width - width % 8 : width, rows);
}

/* ---- the list ---- */

INSTALL(max_last_tie, pool.max)
INSTALL(max_index_off, pool.max)
INSTALL(max_grad_one_window, pool.max_grad)
INSTALL(average_padding, pool.average)
INSTALL(average_grad_no_edge, pool.average_grad)
INSTALL(lp_squares_only, pool.lp)
INSTALL(lp_grad_no_sign, pool.lp_grad)
INSTALL(weighted_turned, pool.weighted)
INSTALL(weighted_grad_unweighted, pool.weighted_grad)
INSTALL(unpool_adds, pool.unpool)
INSTALL(unpool_grad_to_all, pool.unpool_grad)
INSTALL(copy_fills_gap, rows.copy)
INSTALL(scale_by_first, rows.scale)
INSTALL(inner_loses_tail, rows.inner)

const fv_check_fault fv_check_broken_pool[] = {
    {"pool.max", "ties go to the last", install_max_last_tie},
    {"pool.max", "index off by one", install_max_index_off},
    {"pool.max_grad", "last window of a row missing", install_max_grad_one_window},
    {"pool.average", "padding counted", install_average_padding},
    {"pool.average_grad", "divides by the whole window at the edge", install_average_grad_no_edge},
    {"pool.lp", "p = 1 taken as 2", install_lp_squares_only},
    {"pool.lp_grad", "last pixel's sign turned", install_lp_grad_no_sign},
    {"pool.weighted", "window turned", install_weighted_turned},
    {"pool.weighted_grad", "the average's", install_weighted_grad_unweighted},
    {"pool.unpool", "values of one place added", install_unpool_adds},
    {"pool.unpool_grad", "values that did not stay have a gradient", install_unpool_grad_to_all},
    {"rows.copy", "writes between the rows", install_copy_fills_gap},
    {"rows.scale", "first row's number for all", install_scale_by_first},
    {"rows.inner", "tail of a row missing", install_inner_loses_tail},
    {NULL, NULL, NULL},
};
