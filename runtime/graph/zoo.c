/* The built-in networks, each a few builder calls. */
#include "graph/zoo.h"

#include <stdio.h>
#include <string.h>

static fv_value conv_relu(fv_graph *g, fv_value x, int32_t maps, int32_t kernel, int32_t pad, const char *name) {
    fv_conv_settings s;
    fv_conv_settings_default(&s);
    s.out_channels = maps;
    for (int i = 0; i < 2; i++) {
        s.kernel[i] = kernel;
        s.pad_before[i] = s.pad_after[i] = pad;
    }
    return fv_graph_relu(g, fv_graph_conv(g, x, &s, name), NULL);
}

static fv_value max_pool(fv_graph *g, fv_value x, const char *name) {
    fv_pool_settings s;
    fv_pool_settings_default(&s);
    return fv_graph_pool(g, x, &s, name);
}

fv_value fv_zoo_input(fv_graph *g, const zoo_shape *s) {
    const int64_t shape[4] = {0, s->channels, s->height, s->width};
    return fv_graph_input(g, "input", 4, shape);
}

/* SPEC section 7, after LeCun et al. 1998: 61,706 parameters at 1x28x28. */
static fv_value lenet5(fv_graph *g, const zoo_shape *s) {
    fv_value x = max_pool(g, conv_relu(g, fv_zoo_input(g, s), 6, 5, 2, "conv1"), "pool1");
    x = max_pool(g, conv_relu(g, x, 16, 5, 0, "conv2"), "pool2");
    x = fv_graph_relu(g, fv_graph_linear(g, x, 120, true, FV_INIT_HE, "fc1"), NULL);
    x = fv_graph_relu(g, fv_graph_linear(g, x, 84, true, FV_INIT_HE, "fc2"), NULL);
    return fv_graph_linear(g, x, s->classes, true, FV_INIT_LECUN, "fc3");
}

/* SPEC section 9: the lecture's worked example. Its one unit ends in ReLU; the bias begins at 1, where that has a
 * gradient. Several units are the logits of as many classes. */
static fv_value lecture(fv_graph *g, const zoo_shape *s) {
    fv_value x = max_pool(g, conv_relu(g, fv_zoo_input(g, s), 3, 5, 0, "conv1"), "pool1");
    x = max_pool(g, conv_relu(g, x, 9, 5, 0, "conv2"), "pool2");
    if (s->classes > 1 || x == FV_NONE) return fv_graph_linear(g, x, s->classes, true, FV_INIT_LECUN, "fc");
    const fv_shape *in = &g->values[x].shape;
    const int64_t weight[2] = {1, in->dim[1] * in->dim[2] * in->dim[3]};
    const fv_value w = fv_graph_parameter(g, "fc.weight", 2, weight, NULL, FV_INIT_LECUN, true);
    const fv_value b = fv_graph_parameter(g, "fc.bias", 1, weight, NULL, FV_INIT_ONES, true);
    return fv_graph_relu(g, fv_graph_linear_with(g, x, w, b, "fc"), "y");
}

static fv_value cnn(fv_graph *g, const zoo_shape *s) {
    fv_value x = conv_relu(g, conv_relu(g, fv_zoo_input(g, s), 32, 3, 1, "conv1"), 32, 3, 1, "conv2");
    x = fv_graph_dropout(g, max_pool(g, x, "pool1"), 0.25f, "dropout1");
    x = conv_relu(g, conv_relu(g, x, 64, 3, 1, "conv3"), 64, 3, 1, "conv4");
    x = fv_graph_dropout(g, max_pool(g, x, "pool2"), 0.25f, "dropout2");
    x = fv_graph_relu(g, fv_graph_linear(g, x, 128, true, FV_INIT_HE, "fc1"), NULL);
    return fv_graph_linear(g, fv_graph_dropout(g, x, 0.5f, "dropout3"), s->classes, true, FV_INIT_LECUN, "fc2");
}

/* Filters, tanh with a gain a map, rectification, contrast normalization, average pooling: a stage of Jarrett et al.
 * 2009. */
static fv_value jarrett_stage(fv_graph *g, fv_value x, int32_t maps, int32_t pad, int32_t window,
                              const char *const names[4]) {
    fv_conv_settings filters;
    fv_contrast_settings contrast;
    fv_pool_settings pool;
    fv_conv_settings_default(&filters);
    fv_contrast_settings_default(&contrast);
    fv_pool_settings_default(&pool);
    filters.out_channels = maps;
    filters.init = FV_INIT_LECUN;
    pool.kind = FV_POOL_AVERAGE;
    for (int i = 0; i < 2; i++) {
        filters.kernel[i] = 5;
        filters.pad_before[i] = filters.pad_after[i] = pad;
        pool.window[i] = window;
    }
    x = fv_graph_gain(g, fv_graph_tanh(g, fv_graph_conv(g, x, &filters, names[0]), NULL), true, names[1]);
    x = fv_graph_subtractive_norm(g, fv_graph_abs(g, x, NULL), &contrast, names[2]);
    return fv_graph_pool(g, fv_graph_divisive_norm(g, x, &contrast, names[3]), &pool, NULL);
}

static fv_value jarrett(fv_graph *g, const zoo_shape *s) {
    static const char *const names[2][4] = {{"filters1", "gain1", "subtractive1", "divisive1"},
                                            {"filters2", "gain2", "subtractive2", "divisive2"}};
    fv_value x = jarrett_stage(g, fv_zoo_input(g, s), 32, 2, 4, names[0]);
    x = jarrett_stage(g, x, 64, 0, 3, names[1]);
    return fv_graph_linear(g, x, s->classes, true, FV_INIT_LECUN, "fc");
}

static fv_value conv_stride(fv_graph *g, fv_value x, int32_t maps, const char *name) {
    fv_conv_settings s;
    fv_conv_settings_default(&s);
    s.out_channels = maps;
    s.stride[0] = s.stride[1] = 2;
    s.padding = FV_PAD_SAME_UPPER;
    return fv_graph_relu(g, fv_graph_conv(g, x, &s, name), NULL);
}

fv_value fv_zoo_global_average(fv_graph *g, fv_value x, const char *name) {
    fv_pool_settings s;
    fv_pool_settings_default(&s);
    s.kind = FV_POOL_AVERAGE;
    s.global = true;
    return fv_graph_pool(g, x, &s, name);
}

/* Springenberg et al. 2015, "All-CNN-C" with fewer maps: a convolution of stride 2 where others pool, and no fully
 * connected layer. */
static fv_value allconv(fv_graph *g, const zoo_shape *s) {
    fv_value x = conv_relu(g, conv_relu(g, fv_zoo_input(g, s), 32, 3, 1, "conv1"), 32, 3, 1, "conv2");
    x = fv_graph_dropout(g, conv_stride(g, x, 32, "down1"), 0.25f, "dropout1");
    x = conv_relu(g, conv_relu(g, x, 64, 3, 1, "conv3"), 64, 3, 1, "conv4");
    x = fv_graph_dropout(g, conv_stride(g, x, 64, "down2"), 0.25f, "dropout2");
    x = conv_relu(g, conv_relu(g, x, 64, 3, 1, "conv5"), 64, 1, 0, "conv6");
    fv_conv_settings last;
    fv_conv_settings_default(&last);
    last.out_channels = s->classes;
    last.kernel[0] = last.kernel[1] = 1;
    last.init = FV_INIT_LECUN;
    x = fv_graph_conv(g, x, &last, "conv7");
    return fv_graph_flatten(g, fv_zoo_global_average(g, x, "pool"), "flatten");
}

/* Squeeze-and-excitation (SPEC section 7): what a map is worth, from the means of all maps. */
static fv_value excite(fv_graph *g, fv_value x, int32_t maps, const char *squeeze, const char *excite,
                       const char *name) {
    fv_value s = fv_graph_relu(
        g, fv_graph_linear(g, fv_zoo_global_average(g, x, NULL), maps / 8, true, FV_INIT_HE, squeeze), NULL);
    s = fv_graph_sigmoid(g, fv_graph_linear(g, s, maps, true, FV_INIT_LECUN, excite), NULL);
    return fv_graph_scale_maps(g, x, s, name);
}

static fv_value se_cnn(fv_graph *g, const zoo_shape *s) {
    fv_value x = conv_relu(g, conv_relu(g, fv_zoo_input(g, s), 32, 3, 1, "conv1"), 32, 3, 1, "conv2");
    x = excite(g, x, 32, "squeeze1", "excite1", "scale1");
    x = fv_graph_dropout(g, max_pool(g, x, "pool1"), 0.25f, "dropout1");
    x = conv_relu(g, conv_relu(g, x, 64, 3, 1, "conv3"), 64, 3, 1, "conv4");
    x = excite(g, x, 64, "squeeze2", "excite2", "scale2");
    x = fv_graph_dropout(g, max_pool(g, x, "pool2"), 0.25f, "dropout2");
    x = fv_graph_relu(g, fv_graph_linear(g, x, 128, true, FV_INIT_HE, "fc1"), NULL);
    return fv_graph_linear(g, fv_graph_dropout(g, x, 0.5f, "dropout3"), s->classes, true, FV_INIT_LECUN, "fc2");
}

/* LeCun et al. 1998. Sub-sampling is an average over 2x2, a coefficient and a bias a map (a depthwise 1x1 convolution),
 * tanh; the third layer's maps see the maps of its table I; the output is linear. */
static fv_value conv_tanh(fv_graph *g, fv_value x, int32_t maps, int32_t pad, const uint8_t *table, const char *name) {
    fv_conv_settings s;
    fv_conv_settings_default(&s);
    s.out_channels = maps;
    s.connections = table;
    s.init = FV_INIT_LECUN;
    for (int i = 0; i < 2; i++) {
        s.kernel[i] = 5;
        s.pad_before[i] = s.pad_after[i] = pad;
    }
    return fv_graph_tanh(g, fv_graph_conv(g, x, &s, name), NULL);
}

static fv_value subsample(fv_graph *g, fv_value x, int32_t maps, const char *pool, const char *gain) {
    fv_pool_settings p;
    fv_conv_settings s;
    fv_pool_settings_default(&p);
    p.kind = FV_POOL_AVERAGE;
    fv_conv_settings_default(&s);
    s.out_channels = s.groups = maps;
    s.kernel[0] = s.kernel[1] = 1;
    s.init = FV_INIT_LECUN;
    return fv_graph_tanh(g, fv_graph_conv(g, fv_graph_pool(g, x, &p, pool), &s, gain), NULL);
}

static fv_value lenet5_1998(fv_graph *g, const zoo_shape *s) {
    static const uint8_t table[16][6] = {
        {1, 1, 1},          {0, 1, 1, 1},       {0, 0, 1, 1, 1},    {0, 0, 0, 1, 1, 1},
        {1, 0, 0, 0, 1, 1}, {1, 1, 0, 0, 0, 1}, {1, 1, 1, 1},       {0, 1, 1, 1, 1},
        {0, 0, 1, 1, 1, 1}, {1, 0, 0, 1, 1, 1}, {1, 1, 0, 0, 1, 1}, {1, 1, 1, 0, 0, 1},
        {1, 1, 0, 1, 1},    {0, 1, 1, 0, 1, 1}, {1, 0, 1, 1, 0, 1}, {1, 1, 1, 1, 1, 1}};
    fv_value x = subsample(g, conv_tanh(g, fv_zoo_input(g, s), 6, 2, NULL, "c1"), 6, "s2.pool", "s2");
    x = subsample(g, conv_tanh(g, x, 16, 0, table[0], "c3"), 16, "s4.pool", "s4");
    x = fv_graph_tanh(g, fv_graph_linear(g, x, 120, true, FV_INIT_LECUN, "c5"), NULL);
    x = fv_graph_tanh(g, fv_graph_linear(g, x, 84, true, FV_INIT_LECUN, "f6"), NULL);
    return fv_graph_linear(g, x, s->classes, true, FV_INIT_LECUN, "output");
}

static const struct {
    const char *name, *about;
    fv_value (*build)(fv_graph *g, const zoo_shape *s);
    zoo_shape shape;
} zoo[] = {
    {"lenet5", "LeNet-5 with ReLU and max-pooling, 61,706 parameters at 1x28x28", lenet5, {1, 28, 28, 10}},
    {"lecture", "the worked example: two convolutions of 3 and 9 maps, pooling, one unit", lecture, {1, 28, 28, 1}},
    {"jarrett",
     "two stages of filters, tanh, rectification, contrast normalization and average pooling",
     jarrett,
     {1, 28, 28, 10}},
    {"cnn", "four 3x3 convolutions of 32 and 64 maps, dropout", cnn, {1, 28, 28, 10}},
    {"lenet5-1998",
     "LeNet-5 as published: connection table, tanh, average sub-sampling with gain and bias",
     lenet5_1998,
     {1, 28, 28, 10}},
    {"allconv",
     "convolutions alone: stride 2 instead of pooling, a global average at the end",
     allconv,
     {1, 28, 28, 10}},
    {"se-cnn", "cnn with squeeze-and-excitation after each pair of convolutions", se_cnn, {1, 28, 28, 10}},
    {"resnet18-cifar",
     "ResNet-18 for 32x32: 3x3 stem, four stages of two blocks, batch normalization",
     fv_zoo_resnet18_cifar,
     {3, 32, 32, 10}},
    {"mobilenet-cifar",
     "MobileNetV2 for 32x32: inverted residuals, batch normalization, clip 0..6",
     fv_zoo_mobilenet_cifar,
     {3, 32, 32, 10}},
    {"resnet18", "ResNet-18 for 224x224: 11,689,512 parameters", fv_zoo_resnet18, {3, 224, 224, 1000}},
    {"resnet50", "ResNet-50 for 224x224: 25,557,032 parameters", fv_zoo_resnet50, {3, 224, 224, 1000}},
    {"vgg16",
     "VGG-16 for 224x224: 138,357,544 parameters, most of them in its fully connected layers",
     fv_zoo_vgg16,
     {3, 224, 224, 1000}},
    {"mobilenet_v2", "MobileNetV2 for 224x224: 3,504,872 parameters", fv_zoo_mobilenet_v2, {3, 224, 224, 1000}},
    {"squeezenet1_1",
     "SqueezeNet 1.1 for 224x224: fire modules, 1,235,496 parameters",
     fv_zoo_squeezenet1_1,
     {3, 224, 224, 1000}},
    {"autoencoder",
     "two convolutions down, two transposed ones up: images 0..1 to images, for removing noise",
     fv_zoo_autoencoder,
     {1, 28, 28, 10}},
};

void fv_zoo_settings_default(fv_zoo_settings *s) {
    if (s) *s = (fv_zoo_settings){.seed = 1};
}

const char *fv_zoo_name(size_t i, const char **about) {
    if (i >= FV_ARRAY_SIZE(zoo)) return NULL;
    if (about) *about = zoo[i].about;
    return zoo[i].name;
}

static fv_status build(fv_context *c, size_t i, const fv_zoo_settings *s, fv_model **out) {
    fv_graph *g;
    zoo_shape shape = zoo[i].shape;
    FV_RETURN_IF(s->classes < 0 || s->channels < 0 || s->height < 0 || s->width < 0, FV_ERR_ARGUMENT,
                 "a network cannot have negative sizes");
    if (s->classes) shape.classes = s->classes;
    if (s->channels) shape.channels = s->channels;
    if (s->height) shape.height = s->height;
    if (s->width) shape.width = s->width;
    FV_FORWARD(fv_graph_create(c, &g));
    fv_status status = fv_graph_output(g, zoo[i].build(g, &shape), "output");
    if (status != FV_OK) {
        fv_graph_free(g);
        return fv_fail_within(status, "%s at %dx%dx%d", zoo[i].name, shape.channels, shape.height, shape.width);
    }
    return fv_model_adopt(g, s->seed, out);
}

fv_status fv_model_zoo(fv_context *c, const char *name, const fv_zoo_settings *s, fv_model **out) {
    fv_zoo_settings wanted;
    FV_RETURN_IF(!c || !name || !out, FV_ERR_ARGUMENT,
                 "fv_model_zoo needs a context, a name and a place for the model");
    fv_zoo_settings_default(&wanted);
    if (s) wanted = *s;
    for (size_t i = 0; i < FV_ARRAY_SIZE(zoo); i++)
        if (strcmp(zoo[i].name, name) == 0) return build(c, i, &wanted, out);
    char names[512] = "";
    for (size_t i = 0; i < FV_ARRAY_SIZE(zoo); i++) {
        const size_t used = strlen(names);
        snprintf(names + used, sizeof names - used, "%s%s", i ? ", " : "", zoo[i].name);
    }
    return fv_fail(FV_ERR_NOT_FOUND, "there is no network \"%.100s\"; there are %s", name, names);
}
