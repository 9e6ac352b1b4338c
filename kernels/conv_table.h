/* The table entries of an ISA's product; included after its tiles and `static const fv_conv_isa isa`. */
#ifndef FV_KERNELS_CONV_TABLE_H
#define FV_KERNELS_CONV_TABLE_H

#include "kernels/conv_driver.h"

static size_t packed_size(const fv_conv_desc *d) { return fv_conv_drive_packed_size(&isa, d); }

static void pack(const fv_conv_desc *d, const fv_conv_weights *w, fv_real *packed, fv_range panels) {
    fv_conv_drive_pack(&isa, d, w, packed, panels);
}

static size_t forward_scratch(const fv_conv_desc *d) { return fv_conv_drive_forward_scratch(d); }

static size_t weight_grad_scratch(const fv_conv_desc *d) { return fv_conv_drive_grad_scratch(&isa, d); }

static void forward(const fv_conv_desc *d, const fv_real *x, const fv_real *packed, const fv_real *bias,
                    const fv_real *residual, fv_real *y, fv_range pixels, fv_range panels, void *scratch) {
    fv_conv_drive_forward(&isa, d, x, packed, bias, residual, y, pixels, panels, scratch);
}

static void weight_grad(const fv_conv_desc *d, const fv_real *x, const fv_real *dy, fv_real *dw, ptrdiff_t dw_pitch,
                        fv_range pixels, fv_range rows, void *scratch) {
    fv_conv_drive_weight_grad(&isa, d, x, dy, dw, dw_pitch, pixels, rows, scratch);
}

static void init_conv(fv_conv_kernels *k) {
    *k = (fv_conv_kernels){
        .mr = (int32_t)isa.wide.rows,
        .nr = (int32_t)isa.wide.columns,
        .grad_rows = (int32_t)isa.wide.rows,
        .packed_size = packed_size,
        .pack = pack,
        .forward_scratch = forward_scratch,
        .weight_grad_scratch = weight_grad_scratch,
        .forward = forward,
        .weight_grad = weight_grad,
    };
}

#endif
