/* grid_sample: maps (N,C,H,W), grid (N,h,w,2) of (x, y) in -1..1 -> y (N,C,h,w); kind 0: bilinear, 1: nearest, 2: bicubic (a =
 * -0.75); mode 0: zeros outside, 1: border, 2: reflection; flag: corners aligned. roi_align: maps, rois (R,4) x0 y0 x1 y1, image
 * (R) -> y (R,C,a[0],a[1]); kind 0: mean, 1: largest; a[2]: samples a side, 0: as many as pixels; alpha: scale; flag: half a
 * pixel off. An image outside goes to the nearest. */
#include "ops/nd_copy.h"
#include "ops/nd_type.h"

#include <math.h>

typedef struct sample {
    const fv_buffer *x, *at, *image, *y;
    ptrdiff_t x_stride[FV_MAX_RANK], y_stride[FV_MAX_RANK];
    int64_t images, channels, height, width, rows, columns; /* of the maps; of a result */
    fv_dtype image_type;
    int32_t kind, mode, samples;
    bool flag;
    double scale;
} sample;

static fv_real value_at(const sample *s, const fv_real *map, int64_t y, int64_t x) {
    return map[y * s->x_stride[2] + x * s->x_stride[3]];
}

/* ---- grid ---- */

static fv_status grid_infer(fv_node *n, fv_value_info *values) {
    const fv_value_info x = values[n->in[0]], grid = values[n->in[1]];
    const fv_shape *a = &x.shape, *g = &grid.shape;
    FV_RETURN_IF(x.dtype != FV_REAL_DTYPE || grid.dtype != FV_REAL_DTYPE, FV_ERR_UNSUPPORTED, "node \"%s\": maps of %s", n->name,
                 fv_dtype_name(x.dtype));
    FV_RETURN_IF(a->rank != 4 && a->rank == g->rank, FV_ERR_UNSUPPORTED, "node \"%s\": maps of rank %d, only 4 is sampled",
                 n->name, a->rank);
    FV_RETURN_IF(a->rank != 4 || g->rank != 4 || g->dim[0] != a->dim[0] || g->dim[3] != 2, FV_ERR_SHAPE,
                 "node \"%s\": a grid %s for maps %s", n->name, fv_shape_print(g).text, fv_shape_print(a).text);
    FV_RETURN_IF(a->dim[2] * a->dim[3] == 0 && g->dim[1] * g->dim[2] > 0, FV_ERR_SHAPE, "node \"%s\": samples of nothing: %s",
                 n->name, fv_shape_print(a).text);
    const fv_shape y = {4, {a->dim[0], a->dim[1], g->dim[1], g->dim[2]}};
    fv_nd_infer_maps(&values[n->out[0]], FV_REAL_DTYPE, &y, x.layout);
    return FV_OK;
}

/* Back and forth between the outer edges, or with aligned corners the centers, of the first and last pixel. */
static double reflected(double at, int64_t size, bool aligned) {
    const double low = aligned ? 0 : -0.5, range = aligned ? (double)(size - 1) : (double)size;
    if (range == 0) return 0;
    double way = fabs(at - low);
    const double turns = floor(way / range);
    way -= turns * range;
    return fmod(turns, 2) == 0 ? low + way : low + range - way;
}

static double grid_place(const sample *s, fv_real at, int64_t size) {
    const double v = (double)at == (double)at ? (double)at : -1; /* what is no number lies in the corner */
    const double place = s->flag ? (v + 1) / 2 * (double)(size - 1) : ((v + 1) * (double)size - 1) / 2;
    return place < -1e9 ? -1e9 : place > 1e9 ? 1e9 : place;
}

/* The pixel that stands for place `i`, -1: zero. */
static int64_t grid_pixel(const sample *s, double i, int64_t size) {
    if (i >= 0 && i < (double)size) return (int64_t)i;
    if (s->mode == 0) return -1;
    if (s->mode == 2) i = reflected(i, size, s->flag);
    return i < 0 ? 0 : i > (double)(size - 1) ? size - 1 : (int64_t)i;
}

static void cubic_weights(double t, double w[4]) {
    const double a = -0.75;
    for (int k = 0; k < 4; k++) {
        const double x = fabs(t + 1 - k);
        w[k] = x <= 1 ? ((a + 2) * x - (a + 3)) * x * x + 1 : ((a * x - 5 * a) * x + 8 * a) * x - 4 * a;
    }
}

/* Pixels and weights along one axis; returns how many. */
static int grid_taps(const sample *s, double at, int64_t size, int64_t pixel[4], double weight[4]) {
    if (s->kind != 2 && s->mode == 1) at = at < 0 ? 0 : at > (double)(size - 1) ? (double)(size - 1) : at;
    if (s->kind != 2 && s->mode == 2)
        at = reflected(at, size, s->flag), at = at < 0 ? 0 : at > (double)(size - 1) ? (double)(size - 1) : at;
    if (s->kind == 1) {
        const double low = floor(at), off = at - low;
        const double near = off > 0.5 || (off == 0.5 && fmod(low, 2) != 0) ? low + 1 : low; /* halves to even */
        pixel[0] = grid_pixel(s, near, size);
        weight[0] = 1;
        return 1;
    }
    const int count = s->kind == 2 ? 4 : 2;
    const double low = floor(at);
    weight[0] = 1 - (at - low), weight[1] = at - low;
    if (count == 4) cubic_weights(at - low, weight);
    for (int k = 0; k < count; k++) pixel[k] = grid_pixel(s, low + k - (count == 4), size);
    return count;
}

static void run_grid(void *arg, size_t piece, void *scratch) {
    (void)scratch;
    const sample *s = arg;
    const int64_t image = (int64_t)piece / s->rows, row = (int64_t)piece % s->rows;
    for (int64_t column = 0; column < s->columns; column++) {
        const fv_real *at = (const fv_real *)s->at->data + ((size_t)piece * (size_t)s->columns + (size_t)column) * 2;
        int64_t px[4], py[4];
        double wx[4], wy[4];
        const int nx = grid_taps(s, grid_place(s, at[0], s->width), s->width, px, wx);
        const int ny = grid_taps(s, grid_place(s, at[1], s->height), s->height, py, wy);
        for (int64_t c = 0; c < s->channels; c++) {
            const fv_real *map = (const fv_real *)s->x->data + image * s->x_stride[0] + c * s->x_stride[1];
            double sum = 0;
            for (int i = 0; i < ny; i++)
                for (int k = 0; k < nx; k++)
                    if (py[i] >= 0 && px[k] >= 0) sum += wy[i] * wx[k] * (double)value_at(s, map, py[i], px[k]);
            ((fv_real *)
                 s->y->data)[image * s->y_stride[0] + c * s->y_stride[1] + row * s->y_stride[2] + column * s->y_stride[3]] =
                (fv_real)sum;
        }
    }
}

static fv_status describe(fv_plan_op *p, sample **out) {
    const fv_node *n = p->node;
    const fv_value_info *x = &p->values[n->in[0]], *y = &p->values[n->out[0]];
    sample *s;
    FV_FORWARD(fv_plan_state(p, sizeof *s, (void **)&s));
    *s = (sample){.x = fv_plan_buffer(p, n->in[0]),
                  .at = fv_plan_buffer(p, n->in[1]),
                  .y = fv_plan_buffer(p, n->out[0]),
                  .images = x->shape.dim[0],
                  .channels = x->shape.dim[1],
                  .height = x->shape.dim[2],
                  .width = x->shape.dim[3],
                  .rows = y->shape.dim[2],
                  .columns = y->shape.dim[3],
                  .kind = n->attr.nd.kind,
                  .mode = n->attr.nd.mode,
                  .samples = (int32_t)n->attr.nd.a[2],
                  .flag = n->attr.nd.flag,
                  .scale = n->attr.nd.alpha};
    fv_nd_strides(&x->shape, x->layout, s->x_stride);
    fv_nd_strides(&y->shape, y->layout, s->y_stride);
    *out = s;
    return FV_OK;
}

static fv_status grid_plan(fv_plan_op *p) {
    sample *s;
    FV_FORWARD(describe(p, &s));
    p->algorithm = "sample";
    return fv_plan_phase(p, false, run_grid, s, (size_t)(s->images * s->rows));
}

/* The grid must be plain: readers convert it. */
const fv_op fv_op_grid_sample = {"grid_sample", 2, 2, 1, FV_OP_PLAIN | FV_OP_NO_GRADIENT, grid_infer, grid_plan, NULL};

/* ---- regions ---- */

static fv_status roi_infer(fv_node *n, fv_value_info *values) {
    const fv_value_info x = values[n->in[0]], rois = values[n->in[1]], image = values[n->in[2]];
    const fv_nd_attr *a = &n->attr.nd;
    const fv_shape *r = &rois.shape;
    FV_RETURN_IF(x.dtype != FV_REAL_DTYPE || rois.dtype != FV_REAL_DTYPE || !fv_nd_is_index(image.dtype), FV_ERR_UNSUPPORTED,
                 "node \"%s\": maps of %s", n->name, fv_dtype_name(x.dtype));
    FV_RETURN_IF(x.shape.rank != 4 || r->rank != 2 || r->dim[1] != 4 || image.shape.rank != 1 || image.shape.dim[0] != r->dim[0],
                 FV_ERR_SHAPE, "node \"%s\": regions %s of maps %s", n->name, fv_shape_print(r).text,
                 fv_shape_print(&x.shape).text);
    FV_RETURN_IF(a->a[0] < 0 || a->a[1] < 0 || a->a[0] > INT32_MAX || a->a[1] > INT32_MAX || a->a[2] < 0 || a->a[2] > 4096 ||
                     (r->dim[0] && x.shape.dim[0] * x.shape.dim[2] * x.shape.dim[3] == 0),
                 FV_ERR_SHAPE, "node \"%s\": regions of %lldx%lld with %lld samples", n->name, (long long)a->a[0],
                 (long long)a->a[1], (long long)a->a[2]);
    const fv_shape y = {4, {r->dim[0], x.shape.dim[1], a->a[0], a->a[1]}};
    fv_nd_infer_maps(&values[n->out[0]], FV_REAL_DTYPE, &y, x.layout);
    return FV_OK;
}

/* Along one axis: the pixels around a place and their weights; false outside the map. */
static bool roi_taps(double at, int64_t size, int64_t pixel[2], double weight[2]) {
    if (!(at >= -1 && at <= (double)size)) return false;
    if (at < 0) at = 0;
    pixel[0] = (int64_t)at;
    if (pixel[0] >= size - 1) pixel[0] = size - 1, at = (double)(size - 1);
    pixel[1] = pixel[0] + 1 < size ? pixel[0] + 1 : pixel[0];
    weight[1] = at - (double)pixel[0];
    weight[0] = 1 - weight[1];
    return true;
}

/* The mean, or the largest of the four weighted pixels, over a grid of places. */
static double roi_cell(const sample *s, const fv_real *map, const double start[2], const double step[2], const int64_t count[2]) {
    double sum = 0, largest = 0;
    bool any = false;
    for (int64_t i = 0; i < count[0]; i++)
        for (int64_t k = 0; k < count[1]; k++) {
            int64_t py[2], px[2];
            double wy[2], wx[2];
            if (!roi_taps(start[0] + ((double)i + 0.5) * step[0] / (double)count[0], s->height, py, wy)) continue;
            if (!roi_taps(start[1] + ((double)k + 0.5) * step[1] / (double)count[1], s->width, px, wx)) continue;
            for (int a = 0; a < 2; a++)
                for (int b = 0; b < 2; b++) {
                    const double v = wy[a] * wx[b] * (double)value_at(s, map, py[a], px[b]);
                    sum += v;
                    if (!any || v > largest) largest = v, any = true;
                }
        }
    return s->kind == 1 ? largest : sum / (double)(count[0] * count[1]);
}

static void run_roi(void *arg, size_t piece, void *scratch) {
    (void)scratch;
    const sample *s = arg;
    const int64_t roi = (int64_t)piece / s->rows, row = (int64_t)piece % s->rows;
    const fv_real *box = (const fv_real *)s->at->data + 4 * roi;
    const ptrdiff_t image = fv_nd_index(s->image_type, s->image->data, roi, s->images);
    const double off = s->flag ? 0.5 : 0, least = s->flag ? 0 : 1;
    const double x0 = (double)box[0] * s->scale - off, y0 = (double)box[1] * s->scale - off;
    double width = (double)box[2] * s->scale - off - x0, height = (double)box[3] * s->scale - off - y0;
    if (!(width > least)) width = least;
    if (!(height > least)) height = least;
    const double step[2] = {height / (double)s->rows, width / (double)s->columns};
    int64_t count[2];
    for (int i = 0; i < 2; i++)
        count[i] = s->samples ? s->samples : step[i] > 4096 ? 4096 : step[i] > 1 ? (int64_t)ceil(step[i]) : 1;
    for (int64_t column = 0; column < s->columns; column++)
        for (int64_t c = 0; c < s->channels; c++) {
            const fv_real *map = (const fv_real *)s->x->data + image * s->x_stride[0] + c * s->x_stride[1];
            const double start[2] = {y0 + (double)row * step[0], x0 + (double)column * step[1]};
            ((fv_real *)s->y->data)[roi * s->y_stride[0] + c * s->y_stride[1] + row * s->y_stride[2] + column * s->y_stride[3]] =
                (fv_real)roi_cell(s, map, start, step, count);
        }
}

static fv_status roi_plan(fv_plan_op *p) {
    sample *s;
    FV_FORWARD(describe(p, &s));
    s->image = fv_plan_buffer(p, p->node->in[2]);
    s->image_type = p->values[p->node->in[2]].dtype;
    p->algorithm = "sample";
    return s->columns ? fv_plan_phase(p, false, run_roi, s, (size_t)(p->values[p->node->out[0]].shape.dim[0] * s->rows)) : FV_OK;
}

const fv_op fv_op_roi_align = {"roi_align", 3, 3, 1, FV_OP_ANY_LAYOUT | FV_OP_NO_GRADIENT, roi_infer, roi_plan, NULL};

/* ---- determinants ---- */

/* det: x (..., n, n) -> y (...), by elimination with the largest pivot, in double. */
static fv_status det_infer(fv_node *n, fv_value_info *values) {
    const fv_value_info x = values[n->in[0]];
    fv_shape y = x.shape;
    FV_RETURN_IF(y.rank < 2 || y.dim[y.rank - 1] != y.dim[y.rank - 2] || !fv_nd_is_float(x.dtype), FV_ERR_SHAPE,
                 "node \"%s\": the determinant of %s of %s", n->name, fv_shape_print(&y).text, fv_dtype_name(x.dtype));
    y.rank -= 2;
    fv_nd_infer(&values[n->out[0]], x.dtype, &y);
    return FV_OK;
}

static double determinant(double *m, size_t n) {
    double product = 1;
    for (size_t k = 0; k < n; k++) {
        size_t pivot = k;
        for (size_t i = k + 1; i < n; i++)
            if (fabs(m[i * n + k]) > fabs(m[pivot * n + k])) pivot = i;
        if (m[pivot * n + k] == 0) return 0;
        for (size_t j = k; j < n && pivot != k; j++) {
            const double kept = m[k * n + j];
            m[k * n + j] = m[pivot * n + j];
            m[pivot * n + j] = kept;
        }
        product *= pivot != k ? -m[k * n + k] : m[k * n + k];
        for (size_t i = k + 1; i < n; i++) {
            const double factor = m[i * n + k] / m[k * n + k];
            for (size_t j = k; j < n; j++) m[i * n + j] -= factor * m[k * n + j];
        }
    }
    return product;
}

typedef struct det {
    const fv_buffer *x, *y;
    fv_dtype type;
    size_t n;
} det;

static void run_det(void *arg, size_t piece, void *scratch) {
    const det *s = arg;
    double *m = scratch;
    for (size_t i = 0; i < s->n * s->n; i++) m[i] = fv_nd_number(s->type, s->x->data, (ptrdiff_t)(piece * s->n * s->n + i));
    fv_nd_set_number(s->type, s->y->data, (ptrdiff_t)piece, determinant(m, s->n));
}

static fv_status det_plan(fv_plan_op *p) {
    const fv_value_info *x = &p->values[p->node->in[0]];
    det *s;
    FV_FORWARD(fv_plan_state(p, sizeof *s, (void **)&s));
    *s = (det){fv_plan_buffer(p, p->node->in[0]), fv_plan_buffer(p, p->node->out[0]), x->dtype,
               (size_t)x->shape.dim[x->shape.rank - 1]};
    fv_plan_scratch(p, (s->n * s->n + 1) * sizeof(double));
    p->algorithm = "elimination";
    return fv_plan_phase(p, false, run_det, s, fv_shape_count(&p->values[p->node->out[0]].shape));
}

const fv_op fv_op_det = {"det", 1, 1, 1, FV_OP_PLAIN | FV_OP_NO_GRADIENT, det_infer, det_plan, NULL};
