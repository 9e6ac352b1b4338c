/* What rows of the gradient check draw with. */
#ifndef FV_CHECK_GRAD_DRAW_H
#define FV_CHECK_GRAD_DRAW_H

#include "check/grad_case.h"

#define ROW(name) static void build_##name(fv_grad_draw *d)

static inline int32_t between(fv_grad_draw *d, int32_t low, int32_t high) {
    return check_between(fv_grad_random(d), low, high);
}
static inline bool chance(fv_grad_draw *d, double p) { return check_chance(fv_grad_random(d), p); }

/* Maps (N,C,H,W), and vectors (N,F). */
static inline fv_value maps(fv_grad_draw *d, fv_grad_values values, int32_t most_channels) {
    const int64_t shape[4] = {0, between(d, 1, most_channels), between(d, 1, 6), between(d, 1, 6)};
    return fv_grad_input(d, values, 2, 4, shape);
}

static inline fv_value vector(fv_grad_draw *d, fv_grad_values values, int32_t low, int32_t high) {
    const int64_t shape[2] = {0, between(d, low, high)};
    return fv_grad_input(d, values, 2, 2, shape);
}

static inline fv_value maps_or_vector(fv_grad_draw *d, fv_grad_values values) {
    return chance(d, 0.5) ? maps(d, values, 20) : vector(d, values, 1, 40);
}

#endif
