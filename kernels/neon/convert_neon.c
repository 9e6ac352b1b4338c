#include "kernels/kernels.h"

#include "kernels/neon/vec_neon.h"

static inline void transpose_block(const float *x, ptrdiff_t x_pitch, float *y, ptrdiff_t y_pitch) {
    const float32x4_t r0 = vld1q_f32(x), r1 = vld1q_f32(x + x_pitch);
    const float32x4_t r2 = vld1q_f32(x + 2 * x_pitch), r3 = vld1q_f32(x + 3 * x_pitch);
    const float32x4_t a = vtrn1q_f32(r0, r1), b = vtrn2q_f32(r0, r1), c = vtrn1q_f32(r2, r3), d = vtrn2q_f32(r2, r3);
    vst1q_f32(y, vcombine_f32(vget_low_f32(a), vget_low_f32(c)));
    vst1q_f32(y + y_pitch, vcombine_f32(vget_low_f32(b), vget_low_f32(d)));
    vst1q_f32(y + 2 * y_pitch, vcombine_f32(vget_high_f32(a), vget_high_f32(c)));
    vst1q_f32(y + 3 * y_pitch, vcombine_f32(vget_high_f32(b), vget_high_f32(d)));
}

#include "kernels/convert_body.h"

void fv_convert_init_neon(fv_convert_kernels *k) { init_convert(k); }
