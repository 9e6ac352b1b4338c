#include "core/rng.h"

#include "kernels/philox.h"
#include "kernels/scalar_math.h"

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

/* Marsaglia's polar method: points of the square until one lies in the circle, two a block. */
void fv_rng_normals(const uint32_t key[2], uint32_t stream, uint64_t pair, fv_real out[2]) {
    fv_real u = 0, v = 0, s = 0;
    for (uint32_t tried = 0; !(s > 0 && s < 1); tried++) {
        const uint32_t streams[2] = {stream, tried / 2};
        uint32_t words[4];
        fv_philox_block(pair, streams, key, words);
        u = (fv_real)(words[tried % 2 * 2] >> 8) * (fv_real)0x1p-23 - 1;
        v = (fv_real)(words[tried % 2 * 2 + 1] >> 8) * (fv_real)0x1p-23 - 1;
        s = u * u + v * v;
    }
    const fv_real factor = fv_sqrt(-2 * fv_log(s) / s);
    out[0] = u * factor;
    out[1] = v * factor;
}
