/* A convolutional autoencoder: what training against the clean images makes a remover of noise. */
#include "graph/zoo.h"

/* Half the size on each axis, rounded up. */
static fv_value down(fv_graph *g, fv_value x, int32_t maps, const char *name) {
    fv_conv_settings s;
    fv_conv_settings_default(&s);
    s.out_channels = maps;
    for (int i = 0; i < 2; i++) {
        s.stride[i] = 2;
        s.pad_before[i] = s.pad_after[i] = 1;
    }
    return fv_graph_relu(g, fv_graph_conv(g, x, &s, name), NULL);
}

/* Back to `size`: twice the input's, or one less. */
static fv_value up(fv_graph *g, fv_value x, int32_t maps, const int64_t size[2], fv_init init, const char *name) {
    fv_conv_transpose_settings s;
    fv_conv_transpose_settings_default(&s);
    s.out_channels = maps;
    s.init = init;
    for (int i = 0; i < 2; i++) {
        s.stride[i] = 2;
        s.pad_before[i] = s.pad_after[i] = 1;
        s.output_padding[i] = size[i] % 2 == 0;
    }
    return fv_graph_conv_transpose(g, x, &s, name);
}

fv_value fv_zoo_autoencoder(fv_graph *g, const zoo_shape *s) {
    const int64_t shape[4] = {0, s->channels, s->height, s->width}, half[2] = {(s->height + 1) / 2, (s->width + 1) / 2};
    fv_value x = down(g, fv_graph_input(g, "input", 4, shape), 16, "down1");
    x = down(g, x, 32, "down2");
    x = fv_graph_relu(g, up(g, x, 16, half, FV_INIT_HE, "up1"), NULL);
    return fv_graph_sigmoid(g, up(g, x, s->channels, shape + 2, FV_INIT_LECUN, "up2"), NULL);
}
