/* Types and small maths shared by every kernel. Includes nothing of the project. */
#ifndef FV_KERNELS_BASE_H
#define FV_KERNELS_BASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The arithmetic type of every tensor. The library is compiled with float; a second, private build
 * with FV_REAL_F64 compiles the scalar definitions and the runtime above them in double, as the
 * reference of gradient checks. SIMD folders are compiled for float alone. */
#ifdef FV_REAL_F64
typedef double fv_real;
#define FV_REAL_EPSILON 2.220446049250313e-16
#define FV_REAL_MAX 1.7976931348623157e308
#else
typedef float fv_real;
#define FV_REAL_EPSILON 1.1920929e-07
#define FV_REAL_MAX 3.40282347e38f
#endif

#define FV_ALIGNMENT 64 /* bytes: packed weights, arenas, scratch */
/* For bodies whose arguments (a step function, a tile size)
 * must become constants. */
#define FV_ALWAYS_INLINE static inline __attribute__((always_inline))

/* Half-open: begin <= i < end. */
typedef struct fv_range {
    size_t begin, end;
} fv_range;

#define FV_ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

static inline size_t fv_min_size(size_t a, size_t b) { return a < b ? a : b; }
static inline size_t fv_max_size(size_t a, size_t b) { return a > b ? a : b; }
static inline size_t fv_div_up(size_t a, size_t b) { return (a + b - 1) / b; }
static inline size_t fv_round_up(size_t a, size_t b) { return fv_div_up(a, b) * b; }

#endif
