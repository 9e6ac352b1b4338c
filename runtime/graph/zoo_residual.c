/* Residual networks of the zoo: convolutions without bias, batch normalization after each. */
#include "graph/zoo.h"

#include <stdio.h>

typedef struct layer {
    int32_t maps, kernel, stride, groups;
} layer;

/* NAME.conv and NAME.norm. */
static fv_value conv_norm(fv_graph *g, fv_value x, const layer *l, const char *name) {
    char full[64];
    fv_conv_settings s;
    fv_conv_settings_default(&s);
    s.out_channels = l->maps;
    s.groups = l->groups;
    s.bias = false;
    for (int i = 0; i < 2; i++) {
        s.kernel[i] = l->kernel;
        s.stride[i] = l->stride;
        s.pad_before[i] = s.pad_after[i] = l->kernel / 2;
    }
    snprintf(full, sizeof full, "%s.conv", name);
    const fv_value y = fv_graph_conv(g, x, &s, full);
    snprintf(full, sizeof full, "%s.norm", name);
    return fv_graph_batch_norm(g, y, NULL, full);
}

static fv_value input(fv_graph *g, const zoo_shape *s) {
    const int64_t shape[4] = {0, s->channels, s->height, s->width};
    return fv_graph_input(g, "input", 4, shape);
}

static fv_value classifier(fv_graph *g, fv_value x, const zoo_shape *s) {
    fv_pool_settings pool;
    fv_pool_settings_default(&pool);
    pool.kind = FV_POOL_AVERAGE;
    pool.global = true;
    return fv_graph_linear(g, fv_graph_pool(g, x, &pool, "pool"), s->classes, true, FV_INIT_LECUN, "fc");
}

/* Two 3x3 convolutions beside the identity, or beside a 1x1 one where the shape changes. */
static fv_value basic_block(fv_graph *g, fv_value x, int32_t maps, int32_t stride, bool project, const char *name) {
    char full[48];
    const layer first = {maps, 3, stride, 1}, second = {maps, 3, 1, 1}, beside = {maps, 1, stride, 1};
    snprintf(full, sizeof full, "%s.1", name);
    const fv_value y = fv_graph_relu(g, conv_norm(g, x, &first, full), NULL);
    snprintf(full, sizeof full, "%s.2", name);
    const fv_value z = conv_norm(g, y, &second, full);
    snprintf(full, sizeof full, "%s.skip", name);
    return fv_graph_relu(g, fv_graph_add(g, z, project ? conv_norm(g, x, &beside, full) : x, NULL), NULL);
}

fv_value fv_zoo_resnet18_cifar(fv_graph *g, const zoo_shape *s) {
    const layer stem = {64, 3, 1, 1};
    fv_value x = fv_graph_relu(g, conv_norm(g, input(g, s), &stem, "stem"), NULL);
    for (int32_t stage = 0; stage < 4; stage++)
        for (int32_t block = 0; block < 2; block++) {
            char name[32];
            const bool down = stage > 0 && block == 0;
            snprintf(name, sizeof name, "stage%d.%d", stage + 1, block + 1);
            x = basic_block(g, x, 64 << stage, down ? 2 : 1, down, name);
        }
    return classifier(g, x, s);
}

/* 1x1 up by `expand`, depthwise 3x3, 1x1 down without activation; the input added where nothing changes shape. */
static fv_value inverted_residual(fv_graph *g, fv_value x, int32_t in, int32_t out, int32_t expand, int32_t stride,
                                  const char *name) {
    char full[48];
    const layer up = {in * expand, 1, 1, 1}, depthwise = {in * expand, 3, stride, in * expand}, down = {out, 1, 1, 1};
    fv_value y = x;
    if (expand > 1) {
        snprintf(full, sizeof full, "%s.up", name);
        y = fv_graph_clip(g, conv_norm(g, y, &up, full), 0, 6, NULL);
    }
    snprintf(full, sizeof full, "%s.depthwise", name);
    y = fv_graph_clip(g, conv_norm(g, y, &depthwise, full), 0, 6, NULL);
    snprintf(full, sizeof full, "%s.down", name);
    y = conv_norm(g, y, &down, full);
    return in == out && stride == 1 ? fv_graph_add(g, x, y, NULL) : y;
}

fv_value fv_zoo_mobilenet_cifar(fv_graph *g, const zoo_shape *s) {
    static const struct {
        int32_t expand, maps, blocks, stride;
    } stages[] = {{1, 16, 1, 1}, {6, 24, 2, 1}, {6, 32, 3, 2}, {6, 64, 4, 2}, {6, 96, 3, 1}, {6, 160, 3, 2}, {6, 320, 1, 1}};
    const layer stem = {32, 3, 1, 1}, head = {1280, 1, 1, 1};
    fv_value x = fv_graph_clip(g, conv_norm(g, input(g, s), &stem, "stem"), 0, 6, NULL);
    int32_t in = stem.maps;
    for (size_t stage = 0; stage < FV_ARRAY_SIZE(stages); stage++)
        for (int32_t block = 0; block < stages[stage].blocks; block++) {
            char name[32];
            snprintf(name, sizeof name, "stage%zu.%d", stage + 1, block + 1);
            x = inverted_residual(g, x, in, stages[stage].maps, stages[stage].expand, block == 0 ? stages[stage].stride : 1,
                                  name);
            in = stages[stage].maps;
        }
    return classifier(g, fv_graph_clip(g, conv_norm(g, x, &head, "head"), 0, 6, NULL), s);
}
