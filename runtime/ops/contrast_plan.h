/* Windows and strips of contrast normalization, shared by op_subtractive.c and op_divisive.c. */
#ifndef FV_OPS_CONTRAST_PLAN_H
#define FV_OPS_CONTRAST_PLAN_H

#include "ops/pieces.h"

/* A piece is a strip of rows of one image. An image is cut into several where the batch alone gives threads too little,
 * and never so finely that the rows around a strip are more than half of it: a function of the shape alone. */
typedef struct fv_contrast_plan {
    const fv_kernels *kernels;
    fv_contrast_desc map; /* of what is blurred: one channel across maps, else all of them */
    bool across;
    size_t images, rows, width, channels, strips, strip;
    fv_real share; /* of a map in the sum over maps: 1/C across, else 1 */
} fv_contrast_plan;

/* Checks x, and the attributes of a node that has them. */
fv_status fv_contrast_infer(const fv_node *n, const fv_shape *x);
fv_status fv_contrast_describe(fv_plan_op *p, const fv_shape *x, bool transposed, fv_contrast_plan *out);

static inline size_t fv_contrast_pieces(const fv_contrast_plan *s) { return s->images * s->strips; }
static inline size_t fv_contrast_image(const fv_contrast_plan *s, size_t piece) { return piece / s->strips; }
static inline fv_range fv_contrast_rows(const fv_contrast_plan *s, size_t piece) {
    const size_t at = piece % s->strips * s->strip;
    return (fv_range){at, fv_min_size(at + s->strip, s->rows)};
}
/* First value of a row of the maps, and of what is blurred. */
static inline size_t fv_contrast_at(const fv_contrast_plan *s, size_t image, size_t row) {
    return (image * s->rows + row) * s->width * s->channels;
}
static inline size_t fv_contrast_map_at(const fv_contrast_plan *s, size_t image, size_t row) {
    return (image * s->rows + row) * s->width * (size_t)s->map.channels;
}

/* make writes the row that is blurred; use gets it blurred, with `spare`, a row of width values. */
typedef void (*fv_contrast_make_fn)(const void *state, size_t image, size_t row, fv_real *out);
typedef void (*fv_contrast_use_fn)(const void *state, size_t image, size_t row, const fv_real *blurred, fv_real *spare);
/* Makes rows as the window comes to them, so that `use` finds in cache what `make` read there. */
void fv_contrast_stream(const fv_contrast_plan *s, const void *state, size_t image, fv_range rows,
                        fv_contrast_make_fn make, fv_blur kind, fv_contrast_use_fn use, void *scratch);

#endif
