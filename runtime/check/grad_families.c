#include "check/grad_case.h"

#include "kernels/base.h"

static const fv_grad_row *const families[] = {
    fv_grad_rows_layers,         fv_grad_rows_local, fv_grad_rows_contrast, fv_grad_rows_activation, fv_grad_rows_norm,
    fv_grad_rows_conv_transpose, fv_grad_rows_pool,  fv_grad_rows_options,  fv_grad_rows_winograd,   fv_grad_rows_nd,
    fv_grad_rows_nd_math,
    fv_grad_rows_nd_recurrent,
};

const fv_grad_row *fv_grad_row_at(size_t i) {
    for (size_t k = 0; k < FV_ARRAY_SIZE(families); k++)
        for (const fv_grad_row *row = families[k]; row->name; row++)
            if (i-- == 0) return row;
    return NULL;
}

size_t fv_grad_row_count(void) {
    size_t count = 0;
    while (fv_grad_row_at(count)) count++;
    return count;
}
