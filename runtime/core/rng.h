/* Counter-based random numbers: Philox4x32-10 (Salmon et al., SC 2011), keyed by seed and purpose. No state: the same
 * (seed, purpose, stream, index) gives the same number on any machine, in any order. */
#ifndef FV_CORE_RNG_H
#define FV_CORE_RNG_H

#include "kernels/base.h"

#include <stdint.h>

typedef enum fv_purpose {
    FV_PURPOSE_INIT = 1,    /* stream: parameter number */
    FV_PURPOSE_SHUFFLE = 2, /* stream: epoch */
    FV_PURPOSE_AUGMENT = 3, /* stream: epoch, index: image */
    FV_PURPOSE_DROPOUT = 4, /* stream: step, node */
    FV_PURPOSE_CHECK = 5,
    FV_PURPOSE_SPLIT = 6, /* index: image of the smaller part */
    FV_PURPOSE_NOISE = 7  /* stream: epoch, index: image and place */
} fv_purpose;

/* key = mix of seed and purpose; used by kernels that draw themselves (dropout). */
void fv_rng_key(uint64_t seed, fv_purpose purpose, uint32_t key[2]);
uint32_t fv_rng_u32(uint64_t seed, fv_purpose purpose, uint64_t stream, uint64_t index);
double fv_rng_uniform(uint64_t seed, fv_purpose purpose, uint64_t stream, uint64_t index); /* in [0,1), 24 bits */
/* In [0, n), unbiased enough for n < 2^32 (multiply-high of 32 bits). n > 0. */
uint32_t fv_rng_below(uint64_t seed, fv_purpose purpose, uint64_t stream, uint64_t index, uint32_t n);
/* Two independent draws of the normal distribution, from key, stream and pair alone, without libm's log. */
void fv_rng_normals(const uint32_t key[2], uint32_t stream, uint64_t pair, fv_real out[2]);

#endif
