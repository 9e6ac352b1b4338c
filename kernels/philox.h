/* Philox4x32-10 (Salmon, Moraes, Dror, Shaw: "Parallel random numbers: as easy as 1, 2, 3", SC 2011). */
#ifndef FV_KERNELS_PHILOX_H
#define FV_KERNELS_PHILOX_H

#include <stdint.h>

#define FV_PHILOX_M0 0xD2511F53u
#define FV_PHILOX_M1 0xCD9E8D57u
#define FV_PHILOX_W0 0x9E3779B9u
#define FV_PHILOX_W1 0xBB67AE85u

static inline void fv_philox_words(const uint32_t key[2], const uint32_t counter[4], uint32_t out[4]) {
    uint32_t k0 = key[0], k1 = key[1], c0 = counter[0], c1 = counter[1], c2 = counter[2], c3 = counter[3];
    for (int round = 0; round < 10; round++) {
        const uint64_t p0 = (uint64_t)FV_PHILOX_M0 * c0, p1 = (uint64_t)FV_PHILOX_M1 * c2;
        c0 = (uint32_t)(p1 >> 32) ^ c1 ^ k0;
        c1 = (uint32_t)p1;
        c2 = (uint32_t)(p0 >> 32) ^ c3 ^ k1;
        c3 = (uint32_t)p0;
        k0 += FV_PHILOX_W0;
        k1 += FV_PHILOX_W1;
    }
    out[0] = c0;
    out[1] = c1;
    out[2] = c2;
    out[3] = c3;
}

/* The counter of element block `block` of a tensor's stream. */
static inline void fv_philox_block(uint64_t block, const uint32_t stream[2], const uint32_t key[2], uint32_t out[4]) {
    const uint32_t counter[4] = {(uint32_t)block, (uint32_t)(block >> 32), stream[0], stream[1]};
    fv_philox_words(key, counter, out);
}

#endif
