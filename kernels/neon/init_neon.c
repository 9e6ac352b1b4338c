#include "kernels/kernels.h"

void fv_kernels_init_neon(fv_kernels *k) {
    fv_conv_init_neon(&k->conv);
    fv_conv_pooled_init_neon(&k->conv_pooled);
    fv_depthwise_init_neon(&k->depthwise);
    fv_winograd_init_neon(&k->winograd);
    fv_pool_init_neon(&k->pool);
    fv_contrast_init_neon(&k->contrast);
    fv_pointwise_init_neon(&k->pointwise);
    fv_softmax_init_neon(&k->softmax);
    fv_reduce_init_neon(&k->reduce);
    fv_norm_init_neon(&k->norm);
    fv_rows_init_neon(&k->rows);
    fv_optimizer_init_neon(&k->optimizer);
    fv_convert_init_neon(&k->convert);
    fv_measure_init_neon(&k->measure);
}
