/* The definition of the indirect matrix product: plain loops over pixels, taps and channels. */
#include "kernels/kernels.h"

/* Packed weights: panel p of `PANEL` output channels of one group is [t*C + c][PANEL], zeros past K. */
enum { PANEL = 8 };

typedef struct position {
    int32_t n, o[3];
} position;

static position position_of(const fv_conv_desc *d, size_t pixel) {
    position p;
    for (int axis = 2; axis >= 0; axis--) {
        p.o[axis] = (int32_t)(pixel % (size_t)d->out[axis]);
        pixel /= (size_t)d->out[axis];
    }
    p.n = (int32_t)pixel;
    return p;
}

static ptrdiff_t out_offset(const position *p, const ptrdiff_t pitch[4]) {
    return p->n * pitch[0] + p->o[0] * pitch[1] + p->o[1] * pitch[2] + p->o[2] * pitch[3];
}

/* The input pixel that output pixel p reads through tap t; false: padding. */
static bool in_offset(const fv_conv_desc *d, const position *p, int32_t t, ptrdiff_t *offset) {
    *offset = p->n * d->in_pitch[0];
    for (int axis = 0; axis < 3; axis++) {
        const int64_t i = (int64_t)p->o[axis] * d->step[axis] + d->tap[t][axis];
        if (i < 0 || i >= d->in[axis]) return false;
        *offset += (ptrdiff_t)i * d->in_pitch[axis + 1];
    }
    return true;
}

static size_t group_panels(const fv_conv_desc *d) { return fv_div_up((size_t)d->out_channels, PANEL); }

static size_t panel_size(const fv_conv_desc *d) { return (size_t)d->taps * (size_t)d->in_channels * PANEL; }

static size_t conv_packed_size_scalar(const fv_conv_desc *d) {
    return (size_t)d->groups * group_panels(d) * panel_size(d);
}

static void conv_pack_scalar(const fv_conv_desc *d, const fv_conv_weights *w, fv_real *packed, fv_range panels) {
    for (size_t panel = panels.begin; panel < panels.end; panel++) {
        const ptrdiff_t group = (ptrdiff_t)(panel / group_panels(d));
        const int32_t first = (int32_t)(panel % group_panels(d)) * PANEL;
        fv_real *out = packed + panel * panel_size(d);
        for (int32_t t = 0; t < d->taps; t++) {
            const ptrdiff_t tap = d->weight_tap ? d->weight_tap[t] : t;
            for (int32_t c = 0; c < d->in_channels; c++)
                for (int32_t k = first; k < first + PANEL; k++)
                    *out++ =
                        k < d->out_channels ? w->data[group * w->group + tap * w->tap + c * w->in + k * w->out] : 0;
        }
    }
}

static size_t conv_scratch_scalar(const fv_conv_desc *d) {
    (void)d;
    return 0;
}

/* sum[k] = the sums over taps and channels of one pixel and one panel; x points at the group's first channel. */
static void product(const fv_conv_desc *d, const fv_real *x, const position *p, const fv_real *panel, fv_real *sum) {
    for (int32_t k = 0; k < PANEL; k++) sum[k] = 0;
    for (int32_t t = 0; t < d->taps; t++) {
        ptrdiff_t offset;
        const bool inside = in_offset(d, p, t, &offset);
        for (int32_t c = 0; c < d->in_channels; c++, panel += PANEL) {
            const fv_real value = inside ? x[offset + c] : 0;
            for (int32_t k = 0; k < PANEL; k++) sum[k] += value * panel[k];
        }
    }
}

static fv_real clamp(fv_real value, fv_real low, fv_real high) {
    return value < low ? low : value > high ? high : value; /* NaN passes */
}

static void conv_forward_scalar(const fv_conv_desc *d, const fv_real *x, const fv_real *packed, const fv_real *bias,
                                const fv_real *residual, fv_real *y, fv_range pixels, fv_range panels, void *scratch) {
    (void)scratch;
    for (size_t pixel = pixels.begin; pixel < pixels.end; pixel++) {
        const position p = position_of(d, pixel);
        for (size_t panel = panels.begin; panel < panels.end; panel++) {
            const int32_t group = (int32_t)(panel / group_panels(d));
            const int32_t first = (int32_t)(panel % group_panels(d)) * PANEL;
            const int32_t columns = d->out_channels - first < PANEL ? d->out_channels - first : PANEL;
            const ptrdiff_t channel = (ptrdiff_t)group * d->out_channels + first;
            fv_real sum[PANEL];
            product(d, x + (ptrdiff_t)group * d->in_channels, &p, packed + panel * panel_size(d), sum);
            for (int32_t k = 0; k < columns; k++) {
                if (bias) sum[k] += bias[channel + k];
                if (residual) sum[k] += residual[out_offset(&p, d->residual_pitch) + channel + k];
                y[out_offset(&p, d->out_pitch) + channel + k] = clamp(sum[k], d->act_low, d->act_high);
            }
        }
    }
}

static void conv_weight_grad_scalar(const fv_conv_desc *d, const fv_real *x, const fv_real *dy, fv_real *dw,
                                    ptrdiff_t dw_pitch, fv_range pixels, fv_range rows, void *scratch) {
    (void)scratch;
    const int32_t channels = d->groups * d->out_channels;
    for (size_t row = rows.begin; row < rows.end; row++) {
        const int32_t t = (int32_t)(row / (size_t)d->in_channels), c = (int32_t)(row % (size_t)d->in_channels);
        fv_real *out = dw + (ptrdiff_t)row * dw_pitch;
        for (int32_t k = 0; k < channels; k++) out[k] = 0;
        for (size_t pixel = pixels.begin; pixel < pixels.end; pixel++) {
            const position p = position_of(d, pixel);
            ptrdiff_t offset;
            if (!in_offset(d, &p, t, &offset)) continue;
            const fv_real *dy_pixel = dy + out_offset(&p, d->out_pitch);
            for (int32_t g = 0; g < d->groups; g++) {
                const fv_real value = x[offset + (ptrdiff_t)g * d->in_channels + c];
                for (int32_t k = g * d->out_channels; k < (g + 1) * d->out_channels; k++) out[k] += value * dy_pixel[k];
            }
        }
    }
}

void fv_conv_init_scalar(fv_conv_kernels *k) {
    *k = (fv_conv_kernels){
        .mr = 1,
        .nr = PANEL,
        .grad_rows = 1,
        .packed_size = conv_packed_size_scalar,
        .pack = conv_pack_scalar,
        .forward_scratch = conv_scratch_scalar,
        .weight_grad_scratch = conv_scratch_scalar,
        .forward = conv_forward_scalar,
        .weight_grad = conv_weight_grad_scalar,
    };
}
