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

enum { RATES = 4, IMAGES = 15000, QUICK_IMAGES = 5000 };
static const double rates[RATES] = {0.02, 0.05, 0.1, 0.2};

/* The rate whose net answers most of `held` rightly, by the first seed, and that net. */
static double best_rate(const lab *l, const lab_net *net, const lab_data *train, const lab_data *held, int epochs,
                        fv_model **best) {
    double chosen = 0, most = -1;
    *best = NULL;
    for (int i = 0; i < RATES; i++) {
        fv_model *m = lab_train(l, net, train, rates[i], epochs, 1);
        const double right = lab_accuracy(m, held);
        if (right > most) {
            fv_model_free(*best);
            *best = m;
            most = right;
            chosen = rates[i];
        } else {
            fv_model_free(m);
        }
    }
    return chosen;
}

/* The step that suits one of the four may be too long or too short for another: each has its own. */
void lab_contrast(lab *l) {
    static const char *const names[] = {"no", "yes"};
    const lab_data all = lab_first(l, l->quick ? QUICK_IMAGES : IMAGES), train = lab_first(l, all.count * 4 / 5);
    lab_data held = all;
    held.x += (size_t)train.count * lab_image(&all);
    held.labels += train.count;
    held.count -= train.count;
    const int epochs = l->quick ? l->epochs : 2 * l->epochs;
    char title[240];
    snprintf(title, sizeof title,
             "Rectification and contrast normalization: 5x5 filters (16, 32 maps), tanh, [abs], [9x9 normalization], average "
             "pooling (%lld images, %d epochs; rate: the best of four on %lld others)",
             (long long)train.count, epochs, (long long)held.count);
    lab_heading(l, title, "| rectification | normalization | rate | accuracy | accuracy on the training images |");
    for (int i = 0; i < 4; i++) {
        const stages how = {.rectified = i & 1, .normalized = i & 2};
        const lab_net net = {build, &how, l->train.channels, l->train.height, l->train.width};
        double tested[LAB_SEEDS], trained[LAB_SEEDS];
        fv_model *m;
        const double rate = best_rate(l, &net, &train, &held, epochs, &m);
        for (int seed = 0; seed < l->seeds; seed++) {
            if (seed) m = lab_train(l, &net, &train, rate, epochs, 1 + (uint64_t)seed);
            tested[seed] = lab_accuracy(m, &l->test);
            trained[seed] = lab_accuracy(m, &train);
            fv_model_free(m);
        }
        const lab_spread a = lab_summary(tested, l->seeds), b = lab_summary(trained, l->seeds);
        lab_row(l, "| %s | %s | %g | %.4f ± %.4f | %.4f ± %.4f |", names[how.rectified], names[how.normalized], rate, a.mean,
                a.deviation, b.mean, b.deviation);
    }
}
