/* Networks of convolutions with biases: no normalization, no residuals. */
#include "graph/zoo.h"

#include <stdio.h>

static fv_value conv_relu(fv_graph *g, fv_value x, int32_t maps, int32_t kernel, int32_t stride, int32_t pad, const char *name) {
    fv_conv_settings s;
    fv_conv_settings_default(&s);
    s.out_channels = maps;
    for (int i = 0; i < 2; i++) {
        s.kernel[i] = kernel;
        s.stride[i] = stride;
        s.pad_before[i] = s.pad_after[i] = pad;
    }
    return fv_graph_relu(g, fv_graph_conv(g, x, &s, name), NULL);
}

static fv_value max_pool(fv_graph *g, fv_value x, int32_t window, const char *name) {
    fv_pool_settings s;
    fv_pool_settings_default(&s);
    s.window[0] = s.window[1] = window;
    s.ceil_mode = window > 2;
    return fv_graph_pool(g, x, &s, name);
}

static fv_value hidden(fv_graph *g, fv_value x, const char *name, const char *dropout) {
    return fv_graph_dropout(g, fv_graph_relu(g, fv_graph_linear(g, x, 4096, true, FV_INIT_HE, name), NULL), 0.5f, dropout);
}

fv_value fv_zoo_vgg16(fv_graph *g, const zoo_shape *s) {
    static const struct {
        int32_t maps, layers;
    } stages[] = {{64, 2}, {128, 2}, {256, 3}, {512, 3}, {512, 3}};
    fv_value x = fv_zoo_input(g, s);
    for (size_t stage = 0; stage < FV_ARRAY_SIZE(stages); stage++) {
        char name[32];
        for (int32_t i = 0; i < stages[stage].layers; i++) {
            snprintf(name, sizeof name, "conv%zu.%d", stage + 1, i + 1);
            x = conv_relu(g, x, stages[stage].maps, 3, 1, 1, name);
        }
        snprintf(name, sizeof name, "pool%zu", stage + 1);
        x = max_pool(g, x, 2, name);
    }
    x = hidden(g, hidden(g, x, "fc1", "dropout1"), "fc2", "dropout2");
    return fv_graph_linear(g, x, s->classes, true, FV_INIT_LECUN, "fc3");
}

/* 1x1 down to `squeeze` maps; from them 1x1 and 3x3 side by side, `maps` each. */
static fv_value fire(fv_graph *g, fv_value x, int32_t squeeze, int32_t maps, const char *name) {
    char full[48];
    snprintf(full, sizeof full, "%s.squeeze", name);
    x = conv_relu(g, x, squeeze, 1, 1, 0, full);
    snprintf(full, sizeof full, "%s.1x1", name);
    fv_value parts[2] = {conv_relu(g, x, maps, 1, 1, 0, full), FV_NONE};
    snprintf(full, sizeof full, "%s.3x3", name);
    parts[1] = conv_relu(g, x, maps, 3, 1, 1, full);
    snprintf(full, sizeof full, "%s.concat", name);
    return fv_graph_concat(g, parts, 2, 1, full);
}

fv_value fv_zoo_squeezenet1_1(fv_graph *g, const zoo_shape *s) {
    static const int32_t squeeze[] = {16, 16, 32, 32, 48, 48, 64, 64};
    fv_value x = max_pool(g, conv_relu(g, fv_zoo_input(g, s), 64, 3, 2, 0, "conv1"), 3, "pool1");
    for (size_t i = 0; i < FV_ARRAY_SIZE(squeeze); i++) {
        char name[32];
        snprintf(name, sizeof name, "fire%zu", i + 2);
        x = fire(g, x, squeeze[i], 4 * squeeze[i], name);
        if (i == 1) x = max_pool(g, x, 3, "pool3");
        if (i == 3) x = max_pool(g, x, 3, "pool5");
    }
    x = conv_relu(g, fv_graph_dropout(g, x, 0.5f, "dropout"), s->classes, 1, 1, 0, "conv10");
    return fv_graph_flatten(g, fv_zoo_global_average(g, x, "pool10"), "flatten");
}
