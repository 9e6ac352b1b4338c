#include "kernels/kernels.h"

void fv_kernels_init_avx2(fv_kernels *k) {
    fv_conv_init_avx2(&k->conv);
    fv_conv_pooled_init_avx2(&k->conv_pooled);
    fv_depthwise_init_avx2(&k->depthwise);
    fv_winograd_init_avx2(&k->winograd);
    fv_pool_init_avx2(&k->pool);
    fv_contrast_init_avx2(&k->contrast);
    fv_pointwise_init_avx2(&k->pointwise);
    fv_softmax_init_avx2(&k->softmax);
    fv_reduce_init_avx2(&k->reduce);
    fv_norm_init_avx2(&k->norm);
    fv_rows_init_avx2(&k->rows);
    fv_optimizer_init_avx2(&k->optimizer);
    fv_convert_init_avx2(&k->convert);
    fv_measure_init_avx2(&k->measure);
}
