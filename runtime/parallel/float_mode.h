/* Denormals flushed, rounding to nearest and no traps while a run lasts; the caller's mode is put back. */
#ifndef FV_PARALLEL_FLOAT_MODE_H
#define FV_PARALLEL_FLOAT_MODE_H

#include <stdint.h>

#if defined(__x86_64__)
#include <xmmintrin.h>

typedef unsigned fv_float_mode;
static inline fv_float_mode fv_float_mode_enter(void) {
    const unsigned old = _mm_getcsr();
    _mm_setcsr((old & ~0x6000u) | 0x9fc0u); /* round to nearest, FTZ, DAZ, every exception masked */
    return old;
}
static inline void fv_float_mode_leave(fv_float_mode old) { _mm_setcsr((_mm_getcsr() & 0x3fu) | (old & ~0x3fu)); }

#elif defined(__aarch64__)

typedef uint64_t fv_float_mode;
static inline fv_float_mode fv_float_mode_enter(void) {
    uint64_t old;
    __asm__ volatile("mrs %0, fpcr" : "=r"(old));
    __asm__ volatile("msr fpcr, %0" ::"r"((old & ~(3ull << 22 | 0x9f00ull)) | (1ull << 24)));
    return old;
}
static inline void fv_float_mode_leave(fv_float_mode old) { __asm__ volatile("msr fpcr, %0" ::"r"(old)); }

#else

typedef int fv_float_mode;
static inline fv_float_mode fv_float_mode_enter(void) { return 0; }
static inline void fv_float_mode_leave(fv_float_mode old) { (void)old; }

#endif
#endif
