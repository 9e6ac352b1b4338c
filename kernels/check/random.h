/* Random numbers of the checks: splitmix64 (Steele, Lea, Flood 2014). */
#ifndef FV_KERNELS_CHECK_RANDOM_H
#define FV_KERNELS_CHECK_RANDOM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct fv_check_random {
    uint64_t state;
} fv_check_random;

static inline uint64_t check_bits(fv_check_random *r) {
    uint64_t z = r->state += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

/* 0 <= result < n, n > 0 */
static inline size_t check_below(fv_check_random *r, size_t n) { return (size_t)((check_bits(r) >> 32) * n >> 32); }
static inline int32_t check_between(fv_check_random *r, int32_t low, int32_t high) {
    return low + (int32_t)check_below(r, (size_t)(high - low + 1));
}
static inline bool check_chance(fv_check_random *r, double p) { return (double)(check_bits(r) >> 11) < p * 0x1p53; }
static inline float check_uniform(fv_check_random *r, float low, float high) {
    return low + (high - low) * (float)((double)(check_bits(r) >> 40) * 0x1p-24);
}

#endif
