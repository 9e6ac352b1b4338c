#include "core/rng.h"

#include "kernels/philox.h"

void fv_rng_key(uint64_t seed, fv_purpose purpose, uint32_t key[2]) {
    key[0] = (uint32_t)seed;
    key[1] = (uint32_t)(seed >> 32) ^ ((uint32_t)purpose * 0x85EBCA6Bu);
}

uint32_t fv_rng_u32(uint64_t seed, fv_purpose purpose, uint64_t stream, uint64_t index) {
    uint32_t key[2], out[4];
    const uint64_t block = index / 4;
    const uint32_t counter[4] = {(uint32_t)block, (uint32_t)(block >> 32), (uint32_t)stream, (uint32_t)(stream >> 32)};
    fv_rng_key(seed, purpose, key);
    fv_philox_words(key, counter, out);
    return out[index % 4];
}

double fv_rng_uniform(uint64_t seed, fv_purpose purpose, uint64_t stream, uint64_t index) {
    return (double)(fv_rng_u32(seed, purpose, stream, index) >> 8) * 0x1p-24;
}

uint32_t fv_rng_below(uint64_t seed, fv_purpose purpose, uint64_t stream, uint64_t index, uint32_t n) {
    return (uint32_t)(((uint64_t)fv_rng_u32(seed, purpose, stream, index) * n) >> 32);
}
