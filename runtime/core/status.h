/* Errors inside the library: a status and one sentence kept per thread. */
#ifndef FV_CORE_STATUS_H
#define FV_CORE_STATUS_H

#include "fovea.h"

/* Stores the sentence (printf-style, no newline, at most 511 bytes; longer ones end in "...") and returns `status`. */
fv_status fv_fail(fv_status status, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Puts "prefix: " before the current sentence and returns `status`: context added on the way up. */
fv_status fv_fail_within(fv_status status, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Returns `status` itself, so that the compiler sees that a failure is never FV_OK. */
#define FV_RETURN_IF(condition, status, ...)                                                                           \
    do {                                                                                                               \
        if (condition) {                                                                                               \
            const fv_status fv_failed = (status);                                                                      \
            (void)fv_fail(fv_failed, __VA_ARGS__);                                                                     \
            return fv_failed;                                                                                          \
        }                                                                                                              \
    } while (0)

/* Returns the status of a failed call; its sentence stands. */
#define FV_FORWARD(call)                                                                                               \
    do {                                                                                                               \
        const fv_status fv_forwarded = (call);                                                                         \
        if (fv_forwarded != FV_OK) return fv_forwarded;                                                                \
    } while (0)

/* *out = a * b, a + b: false on overflow (nothing written). */
static inline bool fv_mul_size(size_t a, size_t b, size_t *out) { return !__builtin_mul_overflow(a, b, out); }
static inline bool fv_add_size(size_t a, size_t b, size_t *out) { return !__builtin_add_overflow(a, b, out); }

#endif
