/* The kernel table: one struct a family, built once per context for the best ISA allowed, then const. */
#ifndef FV_KERNELS_KERNELS_H
#define FV_KERNELS_KERNELS_H

#include "kernels/contrast.h"
#include "kernels/conv.h"
#include "kernels/conv_pooled.h"
#include "kernels/convert.h"
#include "kernels/depthwise.h"
#include "kernels/measure.h"
#include "kernels/norm.h"
#include "kernels/optimizer.h"
#include "kernels/pointwise.h"
#include "kernels/pool.h"
#include "kernels/reduce.h"
#include "kernels/rows.h"
#include "kernels/softmax.h"
#include "kernels/winograd.h"

typedef struct fv_kernels {
    fv_conv_kernels conv;
    fv_conv_pooled_kernels conv_pooled;
    fv_depthwise_kernels depthwise;
    fv_winograd_kernels winograd;
    fv_pool_kernels pool;
    fv_contrast_kernels contrast;
    fv_pointwise_kernels pointwise;
    fv_softmax_kernels softmax;
    fv_reduce_kernels reduce;
    fv_norm_kernels norm;
    fv_rows_kernels rows;
    fv_optimizer_kernels optimizer;
    fv_convert_kernels convert;
    fv_measure_kernels measure;
} fv_kernels;

enum { FV_CPU_AVX2_FMA = 1, FV_CPU_NEON = 2 };

typedef struct fv_isa {
    const char *name;
    unsigned needs;                       /* FV_CPU_ bits */
    void (*init)(fv_kernels *k);          /* overwrites only the slots it improves */
} fv_isa;

/* Weakest first, ends with a NULL name. The first row, scalar, fills every slot. Holds the ISAs compiled in. */
extern const fv_isa fv_isa_table[];

/* What this CPU (and OS) offers: FV_CPU_ bits. Detected once, thread-safe. */
unsigned fv_cpu_detect(void);
/* Fills k for the ISA `name` (every row up to and including it that the CPU offers). false: unknown or not offered here; k untouched. */
bool fv_kernels_for(const char *name, fv_kernels *k);
/* Name of the strongest row this CPU offers. */
const char *fv_isa_best(void);

/* Family initializers: each scalar one fills its whole struct. */
void fv_kernels_init_scalar(fv_kernels *k);
void fv_conv_init_scalar(fv_conv_kernels *k);
void fv_conv_pooled_init_scalar(fv_conv_pooled_kernels *k);
void fv_depthwise_init_scalar(fv_depthwise_kernels *k);
void fv_winograd_init_scalar(fv_winograd_kernels *k);
void fv_pool_init_scalar(fv_pool_kernels *k);
void fv_contrast_init_scalar(fv_contrast_kernels *k);
void fv_pointwise_init_scalar(fv_pointwise_kernels *k);
void fv_softmax_init_scalar(fv_softmax_kernels *k);
void fv_reduce_init_scalar(fv_reduce_kernels *k);
void fv_norm_init_scalar(fv_norm_kernels *k);
void fv_rows_init_scalar(fv_rows_kernels *k);
void fv_optimizer_init_scalar(fv_optimizer_kernels *k);
void fv_convert_init_scalar(fv_convert_kernels *k);
void fv_measure_init_scalar(fv_measure_kernels *k);

void fv_kernels_init_avx2(fv_kernels *k);
void fv_conv_init_avx2(fv_conv_kernels *k);
void fv_conv_pooled_init_avx2(fv_conv_pooled_kernels *k);
void fv_depthwise_init_avx2(fv_depthwise_kernels *k);
void fv_winograd_init_avx2(fv_winograd_kernels *k);
void fv_pool_init_avx2(fv_pool_kernels *k);
void fv_contrast_init_avx2(fv_contrast_kernels *k);
void fv_pointwise_init_avx2(fv_pointwise_kernels *k);
void fv_softmax_init_avx2(fv_softmax_kernels *k);
void fv_reduce_init_avx2(fv_reduce_kernels *k);
void fv_norm_init_avx2(fv_norm_kernels *k);
void fv_rows_init_avx2(fv_rows_kernels *k);
void fv_optimizer_init_avx2(fv_optimizer_kernels *k);
void fv_convert_init_avx2(fv_convert_kernels *k);
void fv_measure_init_avx2(fv_measure_kernels *k);

void fv_kernels_init_neon(fv_kernels *k);
void fv_conv_init_neon(fv_conv_kernels *k);
void fv_conv_pooled_init_neon(fv_conv_pooled_kernels *k);
void fv_depthwise_init_neon(fv_depthwise_kernels *k);
void fv_winograd_init_neon(fv_winograd_kernels *k);
void fv_pool_init_neon(fv_pool_kernels *k);
void fv_contrast_init_neon(fv_contrast_kernels *k);
void fv_pointwise_init_neon(fv_pointwise_kernels *k);
void fv_softmax_init_neon(fv_softmax_kernels *k);
void fv_reduce_init_neon(fv_reduce_kernels *k);
void fv_norm_init_neon(fv_norm_kernels *k);
void fv_rows_init_neon(fv_rows_kernels *k);
void fv_optimizer_init_neon(fv_optimizer_kernels *k);
void fv_convert_init_neon(fv_convert_kernels *k);
void fv_measure_init_neon(fv_measure_kernels *k);

#endif
