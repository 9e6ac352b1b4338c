/* 3x3 convolutions of channels and maps enough that Winograd is taken, forwards and for the data gradient. */
#include "check/grad_draw.h"

ROW(winograd) {
    fv_conv_settings s;
    const int64_t shape[4] = {0, between(d, 16, 17), between(d, 11, 12), between(d, 11, 12)};
    fv_conv_settings_default(&s);
    s.out_channels = between(d, 16, 17);
    fv_grad_amplify(d, 8); /* kernels/winograd.h: seven times the root mean square of the direct sum's errors */
    for (int i = 0; i < 2; i++) {
        s.pad_before[i] = between(d, 1, 2);
        s.pad_after[i] = between(d, 1, 2);
    }
    s.bias = chance(d, 0.7);
    s.true_convolution = chance(d, 0.3);
    fv_grad_output(d, fv_graph_conv(fv_grad_graph(d), fv_grad_input(d, FV_GRAD_UNIFORM, 1, 4, shape), &s, "conv"));
}

const fv_grad_row fv_grad_rows_winograd[] = {{"conv.winograd", build_winograd}, {NULL, NULL}};
