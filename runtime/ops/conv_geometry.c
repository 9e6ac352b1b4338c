#include "ops/conv_geometry.h"

#include "ops/window.h"

#include <math.h>

/* Kernel position t as u[z,y,x], and the place of its weight. */
static void kernel_position(const fv_conv_geometry *g, int32_t t, int32_t u[3]) {
    u[2] = t % g->kernel[2];
    u[1] = t / g->kernel[2] % g->kernel[1];
    u[0] = t / g->kernel[2] / g->kernel[1];
}

static int32_t weight_of(const fv_conv_geometry *g, int32_t t) {
    return g->true_convolution ? fv_conv_kernel_taps(g) - 1 - t : t;
}

static void dense_pitch(const int32_t size[3], int32_t channels, ptrdiff_t pitch[4]) {
    const int64_t wide[3] = {size[0], size[1], size[2]};
    fv_map_pitch(wide, channels, pitch);
}

static void common(const fv_conv_geometry *g, fv_conv_taps taps, fv_conv_desc *d) {
    *d = (fv_conv_desc){.images = g->images, .groups = g->groups, .tap = (const int32_t(*)[3])taps.tap,
                        .weight_tap = taps.weight_tap, .in_channels = g->in_channels, .out_channels = g->out_channels,
                        .act_low = g->act_low, .act_high = g->act_high};
    for (int a = 0; a < 3; a++) {
        d->in[a] = g->in[a];
        d->out[a] = g->out[a];
        d->step[a] = g->stride[a];
    }
    dense_pitch(g->in, g->in_channels * g->groups, d->in_pitch);
    dense_pitch(g->out, g->out_channels * g->groups, d->out_pitch);
    for (int i = 0; i < 4; i++) d->residual_pitch[i] = d->out_pitch[i];
}

void fv_conv_forward_desc(const fv_conv_geometry *g, fv_conv_taps taps, fv_conv_desc *d) {
    common(g, taps, d);
    d->taps = fv_conv_kernel_taps(g);
    for (int32_t t = 0; t < d->taps; t++) {
        int32_t u[3];
        kernel_position(g, t, u);
        for (int a = 0; a < 3; a++) taps.tap[t][a] = u[a] * g->dilation[a] - g->pad[a];
        taps.weight_tap[t] = weight_of(g, t);
    }
}

void fv_conv_weight_grad_desc(const fv_conv_geometry *g, fv_conv_taps taps, fv_conv_desc *d) {
    common(g, taps, d);
    d->taps = fv_conv_kernel_taps(g);
    d->act_low = -(fv_real)INFINITY;
    d->act_high = (fv_real)INFINITY;
    for (int32_t t = 0; t < d->taps; t++) {
        int32_t u[3];
        kernel_position(g, weight_of(g, t), u); /* its own inverse */
        for (int a = 0; a < 3; a++) taps.tap[t][a] = u[a] * g->dilation[a] - g->pad[a];
        taps.weight_tap[t] = t;
    }
}

/* Input pixel i = stride*j + phase got from output o through kernel position u when o*stride = i + pad - u*dilation: then
 * o = j + (phase + pad - u*dilation)/stride, an offset that is the same for the whole phase. Ordered by output, so that taps of a
 * row rise in x. */
bool fv_conv_input_grad_desc(const fv_conv_geometry *g, int32_t phase, fv_conv_taps taps, fv_conv_desc *d, ptrdiff_t *offset) {
    const int32_t at[3] = {phase / (g->stride[1] * g->stride[2]), phase / g->stride[2] % g->stride[1], phase % g->stride[2]};
    common(g, taps, d);
    d->in_channels = g->out_channels;
    d->out_channels = g->in_channels;
    d->act_low = -(fv_real)INFINITY;
    d->act_high = (fv_real)INFINITY;
    ptrdiff_t dx[4];
    dense_pitch(g->in, g->in_channels * g->groups, dx);
    dense_pitch(g->out, g->out_channels * g->groups, d->in_pitch);
    *offset = 0;
    d->out_pitch[0] = dx[0];
    for (int a = 0; a < 3; a++) {
        if (at[a] >= g->in[a]) return false;
        d->in[a] = g->out[a];
        d->out[a] = (g->in[a] - at[a] + g->stride[a] - 1) / g->stride[a];
        d->step[a] = 1;
        d->out_pitch[a + 1] = dx[a + 1] * g->stride[a];
        *offset += at[a] * dx[a + 1];
    }
    for (int32_t t = fv_conv_kernel_taps(g) - 1; t >= 0; t--) {
        int32_t u[3];
        bool hit = true;
        kernel_position(g, t, u);
        for (int a = 0; a < 3; a++) {
            const int32_t reach = at[a] + g->pad[a] - u[a] * g->dilation[a];
            hit = hit && reach % g->stride[a] == 0;
            taps.tap[d->taps][a] = reach / g->stride[a];
        }
        if (hit) taps.weight_tap[d->taps++] = weight_of(g, t);
    }
    return true;
}
