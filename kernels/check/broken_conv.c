/* Broken convolutions: direct, through max pooling, depthwise, Winograd. */
#include "kernels/check/broken.h"

static volatile float sink;

/* ---- convolution ---- */

static size_t panels_of(const fv_conv_desc *d) {
    return (size_t)d->groups * fv_div_up((size_t)d->out_channels, (size_t)fv_check_good->conv.nr);
}

static float *last_pixel(const fv_conv_desc *d, float *y) {
    return y + (d->images - 1) * d->out_pitch[0] + (d->out[0] - 1) * d->out_pitch[1] +
           (d->out[1] - 1) * d->out_pitch[2] + (d->out[2] - 1) * d->out_pitch[3];
}

static void forward_channel_tail(const fv_conv_desc *d, const float *x, const float *packed, const float *bias,
                                 const float *residual, float *y, fv_range pixels, fv_range panels, void *scratch) {
    fv_check_good->conv.forward(d, x, packed, bias, residual, y, pixels, panels, scratch);
    if (d->out_channels % fv_check_good->conv.nr && panels.end == panels_of(d) && pixels.end == fv_conv_out_pixels(d))
        last_pixel(d, y)[d->groups * d->out_channels - 1] *= 1.01f;
}

/* Around scalar, whose plan has no boxes: the last tap of the first pixel falls into padding. */
static void forward_lost_tap(const fv_conv_desc *d, const float *x, const float *packed, const float *bias,
                             const float *residual, float *y, fv_range pixels, fv_range panels, void *scratch) {
    fv_kernels scalar;
    fv_kernels_init_scalar(&scalar);
    int32_t tap[2048][3];
    if (pixels.begin == 0 && pixels.end > 0 && d->taps > 0 && d->taps <= 2048) {
        fv_conv_desc other = *d;
        memcpy(tap, d->tap, (size_t)d->taps * sizeof tap[0]);
        tap[d->taps - 1][2] = -1000000;
        other.tap = (const int32_t(*)[3])tap;
        scalar.conv.forward(&other, x, packed, bias, residual, y, (fv_range){0, 1}, panels, scratch);
        pixels.begin = 1;
    }
    scalar.conv.forward(d, x, packed, bias, residual, y, pixels, panels, scratch);
}

static void forward_last_bias(const fv_conv_desc *d, const float *x, const float *packed, const float *bias,
                              const float *residual, float *y, fv_range pixels, fv_range panels, void *scratch) {
    const size_t last = panels_of(d) - 1;
    if (bias && last > 0 && d->groups == 1 && panels.end == last + 1) {
        fv_check_good->conv.forward(d, x, packed, bias - fv_check_good->conv.nr, residual, y, pixels,
                                    (fv_range){last, last + 1}, scratch);
        panels.end = last;
    }
    if (panels.begin < panels.end)
        fv_check_good->conv.forward(d, x, packed, bias, residual, y, pixels, panels, scratch);
}

static void forward_no_residual(const fv_conv_desc *d, const float *x, const float *packed, const float *bias,
                                const float *residual, float *y, fv_range pixels, fv_range panels, void *scratch) {
    (void)residual;
    fv_check_good->conv.forward(d, x, packed, bias, NULL, y, pixels, panels, scratch);
}

static void forward_no_clamp(const fv_conv_desc *d, const float *x, const float *packed, const float *bias,
                             const float *residual, float *y, fv_range pixels, fv_range panels, void *scratch) {
    fv_conv_desc other = *d;
    other.act_high = INFINITY;
    fv_check_good->conv.forward(&other, x, packed, bias, residual, y, pixels, panels, scratch);
}

static void forward_reads_on(const fv_conv_desc *d, const float *x, const float *packed, const float *bias,
                             const float *residual, float *y, fv_range pixels, fv_range panels, void *scratch) {
    fv_check_good->conv.forward(d, x, packed, bias, residual, y, pixels, panels, scratch);
    if (bias) sink = bias[d->groups * d->out_channels];
}

static void forward_scratch_overrun(const fv_conv_desc *d, const float *x, const float *packed, const float *bias,
                                    const float *residual, float *y, fv_range pixels, fv_range panels, void *scratch) {
    fv_check_good->conv.forward(d, x, packed, bias, residual, y, pixels, panels, scratch);
    if (scratch) ((unsigned char *)scratch)[fv_check_good->conv.forward_scratch(d)] = 0;
}

static void pack_overrun(const fv_conv_desc *d, const fv_conv_weights *w, float *packed, fv_range panels) {
    fv_check_good->conv.pack(d, w, packed, panels);
    packed[fv_check_good->conv.packed_size(d)] = 0;
}

static void pack_tap_order(const fv_conv_desc *d, const fv_conv_weights *w, float *packed, fv_range panels) {
    fv_conv_desc other = *d;
    other.weight_tap = NULL;
    fv_check_good->conv.pack(&other, w, packed, panels);
}

static void pack_parts(const fv_conv_desc *d, const fv_conv_weights *w, float *packed, fv_range panels) {
    if (panels.begin > 0 && panels.end < panels_of(d)) panels.end--;
    if (panels.begin < panels.end) fv_check_good->conv.pack(d, w, packed, panels);
}

static void weight_grad_last_pixel(const fv_conv_desc *d, const float *x, const float *dy, float *dw, ptrdiff_t pitch,
                                   fv_range pixels, fv_range rows, void *scratch) {
    if (pixels.end > pixels.begin) pixels.end--;
    fv_check_good->conv.weight_grad(d, x, dy, dw, pitch, pixels, rows, scratch);
}

static void weight_grad_cut(const fv_conv_desc *d, const float *x, const float *dy, float *dw, ptrdiff_t pitch,
                            fv_range pixels, fv_range rows, void *scratch) {
    fv_check_good->conv.weight_grad(d, x, dy, dw, pitch, pixels, rows, scratch);
    if (rows.begin % 4 && rows.end > rows.begin) dw[(ptrdiff_t)rows.begin * pitch] += dw[(ptrdiff_t)rows.begin * pitch];
}

/* ---- convolution through max pooling ---- */

static void pooled_pack_unturned(const fv_conv_pooled_desc *d, const fv_conv_weights *w, float *packed, fv_range maps) {
    fv_conv_pooled_desc other = *d;
    other.true_convolution = false;
    fv_check_good->conv_pooled.pack(&other, w, packed, maps);
}

static void pooled_weight_grad_last_image(const fv_conv_pooled_desc *d, const float *x, const float *g,
                                          const int32_t *at, float *dw, ptrdiff_t pitch, fv_range images, fv_range maps,
                                          void *scratch) {
    if (images.end - images.begin > 1) images.end--;
    fv_check_good->conv_pooled.weight_grad(d, x, g, at, dw, pitch, images, maps, scratch);
}

static void pooled_input_grad_last_value(const fv_conv_pooled_desc *d, const float *packed, const float *g,
                                         const int32_t *at, float *dx, fv_range images, void *scratch) {
    fv_check_good->conv_pooled.input_grad(d, packed, g, at, dx, images, scratch);
    dx[images.end * (size_t)d->in[0] * (size_t)d->in[1] * (size_t)d->channels - 1] *= 1.01f;
}

/* ---- depthwise ---- */

static void depthwise_pack_unturned(const fv_depthwise_desc *d, const fv_conv_weights *w, float *packed,
                                    fv_range channels) {
    fv_depthwise_desc other = *d;
    other.true_convolution = false;
    fv_check_good->depthwise.pack(&other, w, packed, channels);
}

static void depthwise_forward_edge(const fv_depthwise_desc *d, const float *x, const float *packed, const float *bias,
                                   const float *residual, float *y, fv_range rows, fv_range channels) {
    fv_check_good->depthwise.forward(d, x, packed, bias, residual, y, rows, channels);
    const size_t last = (size_t)d->out[1] * (size_t)d->channels;
    if (rows.end > rows.begin && d->pad[1] > 0)
        y[rows.end * last - 1] *= 1.01f; /* the last pixel of a row that has padding */
}

static void depthwise_data_grad_no_bias(const fv_depthwise_desc *d, const float *dy, const float *packed,
                                        const float *bias, float *dx, fv_range rows, fv_range channels) {
    (void)bias;
    fv_check_good->depthwise.data_grad(d, dy, packed, NULL, dx, rows, channels);
}

static void depthwise_weight_grad_last_row(const fv_depthwise_desc *d, const float *x, const float *dy, float *dw,
                                           ptrdiff_t pitch, float *db, fv_range rows, fv_range channels) {
    if (rows.end > rows.begin) rows.end--;
    fv_check_good->depthwise.weight_grad(d, x, dy, dw, pitch, db, rows, channels);
}

/* ---- Winograd ---- */

static void winograd_pack_parts(const fv_conv_desc *d, int32_t m, const fv_conv_weights *w, float *packed,
                                fv_range panels) {
    if (panels.begin > 0) panels.begin++;
    if (panels.begin < panels.end) fv_check_good->winograd.pack(d, m, w, packed, panels);
}

static void winograd_pack_unturned(const fv_conv_desc *d, int32_t m, const fv_conv_weights *w, float *packed,
                                   fv_range panels) {
    fv_conv_desc other = *d;
    other.weight_tap = NULL;
    fv_check_good->winograd.pack(&other, m, w, packed, panels);
}

static void winograd_input_last_tile(const fv_conv_desc *d, int32_t m, const float *x, float *v, fv_range block,
                                     fv_range tiles) {
    fv_check_good->winograd.input(d, m, x, v, block, tiles);
    if (tiles.end == block.end && tiles.end - tiles.begin > 1)
        fv_check_good->winograd.input(d, m, x, v, (fv_range){block.begin + 1, block.end + 1},
                                      (fv_range){tiles.end - 1, tiles.end});
}

static void winograd_input_channel(const fv_conv_desc *d, int32_t m, const float *x, float *v, fv_range block,
                                   fv_range tiles) {
    fv_conv_desc other = *d;
    if (d->in_channels > 1) other.in_pitch[3]--;
    fv_check_good->winograd.input(&other, m, x, v, block, tiles);
}

static void winograd_output_no_residual(const fv_conv_desc *d, int32_t m, const float *v, const float *packed,
                                        const float *bias, const float *residual, float *y, fv_range block,
                                        fv_range panels, void *scratch) {
    (void)residual;
    fv_check_good->winograd.output(d, m, v, packed, bias, NULL, y, block, panels, scratch);
}

static void winograd_output_rough(const fv_conv_desc *d, int32_t m, const float *v, const float *packed,
                                  const float *bias, const float *residual, float *y, fv_range block, fv_range panels,
                                  void *scratch) {
    fv_check_good->winograd.output(d, m, v, packed, bias, residual, y, block, panels, scratch);
    const fv_winograd_tile t = fv_winograd_tile_at(d, m, block.begin);
    if (panels.begin == 0) y[t.image * d->out_pitch[0] + t.y * d->out_pitch[2] + t.x * d->out_pitch[3]] *= 1.000001f;
}

static void winograd_output_over_edge(const fv_conv_desc *d, int32_t m, const float *v, const float *packed,
                                      const float *bias, const float *residual, float *y, fv_range block,
                                      fv_range panels, void *scratch) {
    fv_conv_desc other = *d;
    if (d->out[2] % m && d->images * d->out[1] == 1) other.out[2]++;
    fv_check_good->winograd.output(&other, m, v, packed, bias, residual, y, block, panels, scratch);
}

static void winograd_weight_grad_last_tile(const fv_conv_desc *d, int32_t m, const float *x, const float *dy, float *dw,
                                           ptrdiff_t pitch, fv_range tiles, fv_range channels, fv_range panels,
                                           void *scratch) {
    if (tiles.end > tiles.begin) tiles.end--;
    fv_check_good->winograd.weight_grad(d, m, x, dy, dw, pitch, tiles, channels, panels, scratch);
}

static void winograd_weight_grad_unturned(const fv_conv_desc *d, int32_t m, const float *x, const float *dy, float *dw,
                                          ptrdiff_t pitch, fv_range tiles, fv_range channels, fv_range panels,
                                          void *scratch) {
    fv_conv_desc other = *d;
    other.weight_tap = NULL;
    fv_check_good->winograd.weight_grad(&other, m, x, dy, dw, pitch, tiles, channels, panels, scratch);
}

static void winograd_weight_grad_first_channel(const fv_conv_desc *d, int32_t m, const float *x, const float *dy,
                                               float *dw, ptrdiff_t pitch, fv_range tiles, fv_range channels,
                                               fv_range panels, void *scratch) {
    fv_check_good->winograd.weight_grad(d, m, channels.begin > 0 ? x - 1 : x, dy, dw, pitch, tiles, channels, panels,
                                        scratch);
}

/* ---- the list ---- */

INSTALL(forward_channel_tail, conv.forward)
INSTALL(forward_last_bias, conv.forward)
INSTALL(forward_no_residual, conv.forward)
INSTALL(forward_no_clamp, conv.forward)
INSTALL(forward_reads_on, conv.forward)
INSTALL(forward_scratch_overrun, conv.forward)
INSTALL(pack_overrun, conv.pack)
INSTALL(pack_tap_order, conv.pack)
INSTALL(pack_parts, conv.pack)
INSTALL(weight_grad_last_pixel, conv.weight_grad)
INSTALL(weight_grad_cut, conv.weight_grad)
INSTALL(pooled_pack_unturned, conv_pooled.pack)
INSTALL(pooled_weight_grad_last_image, conv_pooled.weight_grad)
INSTALL(pooled_input_grad_last_value, conv_pooled.input_grad)
INSTALL(depthwise_pack_unturned, depthwise.pack)
INSTALL(depthwise_forward_edge, depthwise.forward)
INSTALL(depthwise_data_grad_no_bias, depthwise.data_grad)
INSTALL(depthwise_weight_grad_last_row, depthwise.weight_grad)
INSTALL(winograd_pack_parts, winograd.pack)
INSTALL(winograd_pack_unturned, winograd.pack)
INSTALL(winograd_input_last_tile, winograd.input)
INSTALL(winograd_input_channel, winograd.input)
INSTALL(winograd_output_no_residual, winograd.output)
INSTALL(winograd_output_rough, winograd.output)
INSTALL(winograd_output_over_edge, winograd.output)
INSTALL(winograd_weight_grad_last_tile, winograd.weight_grad)
INSTALL(winograd_weight_grad_unturned, winograd.weight_grad)
INSTALL(winograd_weight_grad_first_channel, winograd.weight_grad)

static void install_forward_lost_tap(fv_kernels *k) {
    fv_conv_init_scalar(&k->conv);
    k->conv.forward = forward_lost_tap;
}

const fv_check_fault fv_check_broken_conv[] = {
    {"conv.forward", "last channel of a partial panel wrong in one pixel", install_forward_channel_tail},
    {"conv.forward", "one tap dropped for one pixel", install_forward_lost_tap},
    {"conv.forward", "last panel takes another panel's bias", install_forward_last_bias},
    {"conv.forward", "residual ignored", install_forward_no_residual},
    {"conv.forward", "upper clamp ignored", install_forward_no_clamp},
    {"conv.forward", "reads one value past the bias", install_forward_reads_on},
    {"conv.forward", "writes one byte past the scratch", install_forward_scratch_overrun},
    {"conv.pack", "writes one value past the packed weights", install_pack_overrun},
    {"conv.pack", "weight_tap ignored", install_pack_tap_order},
    {"conv.pack", "a part in the middle forgets its last panel", install_pack_parts},
    {"conv.weight_grad", "last pixel missing", install_weight_grad_last_pixel},
    {"conv.weight_grad", "first row doubled where the range begins off a tile", install_weight_grad_cut},
    {"conv_pooled.pack", "kernel of a true convolution not turned", install_pooled_pack_unturned},
    {"conv_pooled.weight_grad", "last of several images missing", install_pooled_weight_grad_last_image},
    {"conv_pooled.input_grad", "last value wrong", install_pooled_input_grad_last_value},
    {"depthwise.pack", "kernel of a true convolution not turned", install_depthwise_pack_unturned},
    {"depthwise.forward", "last pixel of a padded row wrong", install_depthwise_forward_edge},
    {"depthwise.data_grad", "bias ignored", install_depthwise_data_grad_no_bias},
    {"depthwise.weight_grad", "last row missing", install_depthwise_weight_grad_last_row},
    {"winograd.pack", "first panel of a part missing", install_winograd_pack_parts},
    {"winograd.pack", "weight_tap ignored", install_winograd_pack_unturned},
    {"winograd.input", "last tile of a block in the place before", install_winograd_input_last_tile},
    {"winograd.input", "pixels lie one channel closer", install_winograd_input_channel},
    {"winograd.output", "residual ignored", install_winograd_output_no_residual},
    {"winograd.output", "one value off by eight roundings", install_winograd_output_rough},
    {"winograd.output", "a tile at the edge writes on", install_winograd_output_over_edge},
    {"winograd.weight_grad", "last tile missing", install_winograd_weight_grad_last_tile},
    {"winograd.weight_grad", "weight_tap ignored", install_winograd_weight_grad_unturned},
    {"winograd.weight_grad", "a part of the channels reads one before", install_winograd_weight_grad_first_channel},
    {NULL, NULL, NULL},
};
