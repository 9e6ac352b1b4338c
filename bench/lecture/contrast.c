/* Jarrett et al. 2009, "What is the best multi-stage architecture for object recognition?": two stages of filters, tanh, average
 * pooling, with and without rectification, with and without subtractive and divisive contrast normalization. */
#include "lab.h"

typedef struct stages {
    bool rectified, normalized;
} stages;

static fv_value filters(fv_graph *g, fv_value x, int32_t maps, int32_t pad, const char *name) {
    fv_conv_settings s;
    fv_conv_settings_default(&s);
    s.out_channels = maps;
    s.init = FV_INIT_LECUN;
    for (int i = 0; i < 2; i++) {
        s.kernel[i] = 5;
        s.pad_before[i] = s.pad_after[i] = pad;
    }
    return fv_graph_tanh(g, fv_graph_conv(g, x, &s, name), NULL);
}

static fv_value stage(fv_graph *g, fv_value x, const stages *how, int32_t maps, int32_t pad, int32_t window, const char *name) {
    fv_contrast_settings contrast;
    fv_pool_settings pool;
    fv_contrast_settings_default(&contrast);
    fv_pool_settings_default(&pool);
    pool.kind = FV_POOL_AVERAGE;
    pool.window[0] = pool.window[1] = window;
    x = filters(g, x, maps, pad, name);
    if (how->rectified) x = fv_graph_abs(g, x, NULL);
    if (how->normalized) x = fv_graph_divisive_norm(g, fv_graph_subtractive_norm(g, x, &contrast, NULL), &contrast, NULL);
    return fv_graph_pool(g, x, &pool, NULL);
}

static fv_value build(fv_graph *g, fv_value x, const void *arg) {
    x = stage(g, x, arg, 16, 2, 4, "filters1");
    x = stage(g, x, arg, 32, 0, 3, "filters2");
    return fv_graph_linear(g, x, 10, true, FV_INIT_LECUN, "fc");
}

void lab_contrast(lab *l) {
    static const char *const names[] = {"no", "yes"};
    const lab_data train = lab_first(l, 10000);
    char title[200];
    snprintf(title, sizeof title,
             "Rectification and contrast normalization: 5x5 filters (16, 32 maps), tanh, [abs], [9x9 normalization], average "
             "pooling (%lld images)",
             (long long)train.count);
    lab_heading(l, title, "| rectification | normalization | accuracy | accuracy on the training images |");
    for (int i = 0; i < 4; i++) {
        const stages how = {.rectified = i & 1, .normalized = i & 2};
        const lab_net net = {build, &how, l->train.channels, l->train.height, l->train.width};
        double tested[LAB_SEEDS], trained[LAB_SEEDS];
        for (int seed = 0; seed < l->seeds; seed++) {
            fv_model *m = lab_train(l, &net, &train, 0.05, l->epochs, 1 + (uint64_t)seed);
            tested[seed] = lab_accuracy(m, &l->test);
            trained[seed] = lab_accuracy(m, &train);
            fv_model_free(m);
        }
        const lab_spread a = lab_summary(tested, l->seeds), b = lab_summary(trained, l->seeds);
        lab_row(l, "| %s | %s | %.4f ± %.4f | %.4f ± %.4f |", names[how.rectified], names[how.normalized], a.mean, a.deviation,
                b.mean, b.deviation);
    }
}
