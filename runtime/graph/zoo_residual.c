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

static fv_value classifier(fv_graph *g, fv_value x, const zoo_shape *s) {
    return fv_graph_linear(g, fv_zoo_global_average(g, x, "pool"), s->classes, true, FV_INIT_LECUN, "fc");
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

/* 1x1, 3x3 and 1x1 to four times the maps, beside the same. */
static fv_value bottleneck(fv_graph *g, fv_value x, int32_t maps, int32_t stride, bool project, const char *name) {
    char full[48];
    const layer in = {maps, 1, 1, 1}, middle = {maps, 3, stride, 1}, out = {4 * maps, 1, 1, 1},
                beside = {4 * maps, 1, stride, 1};
    snprintf(full, sizeof full, "%s.1", name);
    fv_value y = fv_graph_relu(g, conv_norm(g, x, &in, full), NULL);
    snprintf(full, sizeof full, "%s.2", name);
    y = fv_graph_relu(g, conv_norm(g, y, &middle, full), NULL);
    snprintf(full, sizeof full, "%s.3", name);
    y = conv_norm(g, y, &out, full);
    snprintf(full, sizeof full, "%s.skip", name);
    return fv_graph_relu(g, fv_graph_add(g, y, project ? conv_norm(g, x, &beside, full) : x, NULL), NULL);
}

typedef fv_value (*residual_block)(fv_graph *g, fv_value x, int32_t maps, int32_t stride, bool project,
                                   const char *name);

/* Four stages of 64, 128, 256 and 512 maps; each but the first halves the map. */
static fv_value residual_stages(fv_graph *g, fv_value x, residual_block block, const int32_t blocks[4]) {
    for (int32_t stage = 0; stage < 4; stage++)
        for (int32_t i = 0; i < blocks[stage]; i++) {
            char name[32];
            snprintf(name, sizeof name, "stage%d.%d", stage + 1, i + 1);
            x = block(g, x, 64 << stage, stage > 0 && i == 0 ? 2 : 1, i == 0 && (stage > 0 || block == bottleneck),
                      name);
        }
    return x;
}

fv_value fv_zoo_resnet18_cifar(fv_graph *g, const zoo_shape *s) {
    static const int32_t blocks[4] = {2, 2, 2, 2};
    const layer stem = {64, 3, 1, 1};
    const fv_value x = fv_graph_relu(g, conv_norm(g, fv_zoo_input(g, s), &stem, "stem"), NULL);
    return classifier(g, residual_stages(g, x, basic_block, blocks), s);
}

static fv_value resnet(fv_graph *g, const zoo_shape *s, residual_block block, const int32_t blocks[4]) {
    const layer stem = {64, 7, 2, 1};
    fv_pool_settings pool;
    fv_pool_settings_default(&pool);
    for (int i = 0; i < 2; i++) {
        pool.window[i] = 3;
        pool.pad_before[i] = pool.pad_after[i] = 1;
    }
    fv_value x = fv_graph_relu(g, conv_norm(g, fv_zoo_input(g, s), &stem, "stem"), NULL);
    x = fv_graph_pool(g, x, &pool, "stem.pool");
    return classifier(g, residual_stages(g, x, block, blocks), s);
}

fv_value fv_zoo_resnet18(fv_graph *g, const zoo_shape *s) {
    static const int32_t blocks[4] = {2, 2, 2, 2};
    return resnet(g, s, basic_block, blocks);
}

fv_value fv_zoo_resnet50(fv_graph *g, const zoo_shape *s) {
    static const int32_t blocks[4] = {3, 4, 6, 3};
    return resnet(g, s, bottleneck, blocks);
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

/* The head of 1280 maps; its dropout is of the network for 224x224 alone. */
static fv_value mobilenet(fv_graph *g, const zoo_shape *s, int32_t stem_stride, int32_t stage2_stride, float dropout) {
    const struct {
        int32_t expand, maps, blocks, stride;
    } stages[] = {{1, 16, 1, 1}, {6, 24, 2, stage2_stride}, {6, 32, 3, 2}, {6, 64, 4, 2}, {6, 96, 3, 1}, {6, 160, 3, 2},
                  {6, 320, 1, 1}};
    const layer stem = {32, 3, stem_stride, 1}, head = {1280, 1, 1, 1};
    fv_value x = fv_graph_clip(g, conv_norm(g, fv_zoo_input(g, s), &stem, "stem"), 0, 6, NULL);
    int32_t in = stem.maps;
    for (size_t stage = 0; stage < FV_ARRAY_SIZE(stages); stage++)
        for (int32_t block = 0; block < stages[stage].blocks; block++) {
            char name[32];
            snprintf(name, sizeof name, "stage%zu.%d", stage + 1, block + 1);
            x = inverted_residual(g, x, in, stages[stage].maps, stages[stage].expand,
                                  block == 0 ? stages[stage].stride : 1, name);
            in = stages[stage].maps;
        }
    x = fv_graph_clip(g, conv_norm(g, x, &head, "head"), 0, 6, NULL);
    if (dropout == 0) return classifier(g, x, s);
    x = fv_graph_dropout(g, fv_zoo_global_average(g, x, "pool"), dropout, "dropout");
    return fv_graph_linear(g, x, s->classes, true, FV_INIT_LECUN, "fc");
}

fv_value fv_zoo_mobilenet_cifar(fv_graph *g, const zoo_shape *s) { return mobilenet(g, s, 1, 1, 0); }
fv_value fv_zoo_mobilenet_v2(fv_graph *g, const zoo_shape *s) { return mobilenet(g, s, 2, 2, 0.2f); }
