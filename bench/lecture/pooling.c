/* Max against average pooling against a stride in the convolution (Springenberg et al. 2015, "Striving for simplicity"), and skip
 * factors: what a larger stride of the first convolution costs and saves. */
#include "lab.h"

#include <stdlib.h>

typedef enum reduction { MAX, AVERAGE, STRIDE } reduction;

static fv_value stage(fv_graph *g, fv_value x, reduction how, int32_t maps, const char *name) {
    if (how == STRIDE) return lab_conv_relu(g, x, maps, 3, 2, 1, name);
    return lab_pool(g, lab_conv_relu(g, x, maps, 3, 1, 1, name), how == MAX ? FV_POOL_MAX : FV_POOL_AVERAGE, 2, NULL);
}

static fv_value build(fv_graph *g, fv_value x, const void *arg) {
    const reduction how = *(const reduction *)arg;
    x = stage(g, stage(g, x, how, 16, "conv1"), how, 32, "conv2");
    x = fv_graph_relu(g, fv_graph_linear(g, x, 64, true, FV_INIT_HE, "fc1"), NULL);
    return fv_graph_linear(g, x, 10, true, FV_INIT_LECUN, "fc2");
}

void lab_pooling(lab *l) {
    static const char *const names[] = {"max 2x2", "average 2x2", "convolution with stride 2"};
    lab_heading(l, "Pooling: test accuracy of two stages that halve the maps", "| how | parameters | accuracy |");
    for (int how = MAX; how <= STRIDE; how++) {
        const reduction r = (reduction)how;
        const lab_net net = {build, &r, l->train.channels, l->train.height, l->train.width};
        double accuracy[LAB_SEEDS];
        size_t parameters = 0;
        for (int seed = 0; seed < l->seeds; seed++) {
            fv_model *m = lab_train(l, &net, &l->train, 0.05, l->epochs, 1 + (uint64_t)seed);
            accuracy[seed] = lab_accuracy(m, &l->test);
            parameters = lab_parameters(m);
            fv_model_free(m);
        }
        const lab_spread s = lab_summary(accuracy, l->seeds);
        lab_row(l, "| %s | %zu | %.4f ± %.4f |", names[how], parameters, s.mean, s.deviation);
    }
}

static fv_value build_skip(fv_graph *g, fv_value x, const void *arg) {
    x = lab_conv_relu(g, x, 16, 5, 1 + *(const int32_t *)arg, 2, "conv1");
    x = lab_conv_relu(g, x, 16, 3, 1, 1, "conv2");
    return fv_graph_linear(g, x, 10, true, FV_INIT_LECUN, "fc");
}

void lab_skips(lab *l) {
    double skips[4], mean[4], deviation[4];
    lab_heading(l, "Skip factors of the first convolution (stride = skip + 1)", "| skip | maps | parameters | accuracy |");
    for (int32_t skip = 0; skip < 4; skip++) {
        const lab_net net = {build_skip, &skip, l->train.channels, l->train.height, l->train.width};
        double accuracy[LAB_SEEDS];
        size_t parameters = 0;
        for (int seed = 0; seed < l->seeds; seed++) {
            fv_model *m = lab_train(l, &net, &l->train, 0.02, l->epochs, 1 + (uint64_t)seed);
            accuracy[seed] = lab_accuracy(m, &l->test);
            parameters = lab_parameters(m);
            fv_model_free(m);
        }
        const lab_spread s = lab_summary(accuracy, l->seeds);
        const int32_t size = (l->train.height + 4 - 5) / (skip + 1) + 1;
        skips[skip] = skip;
        mean[skip] = s.mean;
        deviation[skip] = s.deviation;
        lab_row(l, "| %d | %dx%d | %zu | %.4f ± %.4f |", skip, size, size, parameters, s.mean, s.deviation);
    }
    const lab_curve curve = {"accuracy", skips, mean, deviation, 4};
    lab_plot(l, "skips", "Skip factor of the first convolution", "skip", "test accuracy", &curve, 1, false);
}
