/* What pooling and its gradient plan alike. */
#ifndef FV_OPS_POOL_PLAN_H
#define FV_OPS_POOL_PLAN_H

#include "ops/pieces.h"

typedef struct fv_pool_plan {
    const fv_kernels *kernels;
    fv_pool_desc desc;
    const fv_buffer *in, *out, *index; /* of the gradient: dy, dx */
    const fv_buffer *x, *y;            /* the gradient of Lp reads them */
    fv_pool_kind kind;
    fv_real p;
    size_t pixels, chunk, block, blocks, pieces;
    /* Weighted: the window's table, and where two passes are taken, what each does and the values between them. */
    const fv_real *weight, *weight_y, *weight_x;
    bool separable;
    fv_pool_desc along_x, along_y;
    const fv_buffer *between;
} fv_pool_plan;

fv_status fv_pool_plan_make(fv_plan_op *p, const fv_shape *x, const fv_shape *y, fv_pool_plan **out);
/* A pass along one axis, forwards or backwards, by rows of pixels. */
void fv_pool_run_pass(const fv_pool_plan *s, const fv_pool_desc *d, const fv_real *weight, bool back, const void *from,
                      void *to, size_t piece);
size_t fv_pool_pass_pieces(const fv_pool_desc *d, bool back);
/* The Gaussian of a weighted window: both axes' product (kernel y times x values), and each by itself. */
void fv_pool_weights(const fv_kernels *k, const fv_pool_attr *a, fv_real *both, fv_real *y, fv_real *x);

#endif
