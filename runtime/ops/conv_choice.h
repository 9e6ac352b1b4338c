/* Which way a product of conv.h's kind is computed: an ordered list of algorithms, each with the descriptors it supports and a
 * cost that is a function of shape and ISA alone (never of threads, caches or measurements), so that the same network has the
 * same bits everywhere on an ISA. */
#ifndef FV_OPS_CONV_CHOICE_H
#define FV_OPS_CONV_CHOICE_H

#include "ops/op.h"

typedef struct fv_conv_algorithm {
    const char *names[2]; /* for explain; [1]: weights are packed in every run */
    int32_t m;            /* Winograd's F(m x m, 3x3); 0: the indirect product */
    bool (*supports)(const fv_kernels *k, const fv_conv_desc *d);
    /* In multiply-adds at the units' full rate. packs: the weights' packing counts too. */
    double (*cost)(const struct fv_conv_algorithm *a, const fv_kernels *k, const fv_conv_desc *d, bool packs);
} fv_conv_algorithm;

/* The cheapest that supports d, the first of equals. winograd: false leaves those with m > 0 out. */
const fv_conv_algorithm *fv_conv_choose(const fv_kernels *k, const fv_conv_desc *d, bool packs, bool winograd);
/* Those that support d, in their order; at most FV_CONV_ALGORITHMS. */
enum { FV_CONV_ALGORITHMS = 3 };
size_t fv_conv_candidates(const fv_kernels *k, const fv_conv_desc *d, bool winograd, const fv_conv_algorithm **out);
/* The m of Winograd's F(m x m, 3x3) for the weight gradient of the forward product d; 0: its direct sum. */
int32_t fv_conv_choose_weight_grad(const fv_kernels *k, const fv_conv_desc *d);

#endif
