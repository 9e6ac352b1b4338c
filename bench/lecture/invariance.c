/* Pooled features change less under a shift by one pixel than the features they come from; and accuracy against shift, scale and
 * rotation of the test images, for a net with pooling, the same without, and a fully connected one. */
#include "lab.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* conv1 of lab_lenet, before or after its pooling, with the trained weights copied in by name. */
static fv_value build_features(fv_graph *g, fv_value x, const void *arg) {
    x = lab_conv_relu(g, x, 8, 5, 1, 2, "conv1");
    return *(const int *)arg ? lab_pool(g, x, *(const int *)arg == 1 ? FV_POOL_MAX : FV_POOL_AVERAGE, 2, "pool1") : x;
}

/* A model of `net` with the values that parameters of the same names have in `trained`. */
static fv_model *with_weights(const lab *l, const lab_net *net, const fv_model *trained) {
    fv_model *m = lab_model(l, net, 1);
    for (size_t i = 0; i < fv_model_parameter_count(m); i++)
        for (size_t k = 0; k < fv_model_parameter_count(trained); k++) {
            const char *name, *other;
            fv_tensor to, from;
            size_t count;
            LAB_OK(fv_model_parameter(m, i, &name, &to, NULL));
            LAB_OK(fv_model_parameter(trained, k, &other, &from, NULL));
            LAB_OK(fv_tensor_count(&to, &count));
            if (strcmp(name, other) == 0) memcpy(to.data, from.data, count * sizeof(float)); /* nothing is planned from it yet */
        }
    return m;
}

/* Mean over the images of |f(x) - f(shifted x)| / |f(x)|, features of one image as a vector. */
static double change(const fv_model *m, const lab_data *still, const lab_data *moved) {
    size_t width;
    float *a = lab_outputs(m, still, &width), *b = lab_outputs(m, moved, &width);
    double mean = 0;
    for (int64_t n = 0; n < still->count; n++) {
        double difference = 0, size = 0;
        for (size_t k = 0; k < width; k++) {
            const double x = a[(size_t)n * width + k], y = b[(size_t)n * width + k];
            difference += (x - y) * (x - y);
            size += x * x;
        }
        mean += size > 0 ? sqrt(difference / size) / (double)still->count : 0;
    }
    free(a);
    free(b);
    return mean;
}

void lab_invariance(lab *l) {
    static const char *const names[] = {"conv1, unpooled", "max pooled 2x2", "average pooled 2x2"};
    const lab_net net = {lab_lenet, NULL, l->train.channels, l->train.height, l->train.width};
    lab_data still = lab_copy(&l->test, 1000), moved = lab_copy(&l->test, 1000);
    lab_transform(&l->test, 0, 1, 1, 0, &moved);
    double values[3][LAB_SEEDS], shares[3][LAB_SEEDS];
    for (int seed = 0; seed < l->seeds; seed++) {
        fv_model *trained = lab_train(l, &net, &l->train, 0.02, l->epochs, 1 + (uint64_t)seed);
        for (int how = 0; how < 3; how++) {
            const lab_net features = {build_features, &how, net.channels, net.height, net.width};
            fv_model *m = with_weights(l, &features, trained);
            values[how][seed] = change(m, &still, &moved);
            shares[how][seed] = values[how][seed] / values[0][seed];
            fv_model_free(m);
        }
        fv_model_free(trained);
    }
    lab_heading(l, "Invariance: relative change of features when the image moves by one pixel",
                "| features | change | of the unpooled |");
    for (int how = 0; how < 3; how++) {
        const lab_spread s = lab_summary(values[how], l->seeds), share = lab_summary(shares[how], l->seeds);
        lab_row(l, "| %s | %.3f ± %.3f | %.3f ± %.3f |", names[how], s.mean, s.deviation, share.mean, share.deviation);
    }
    lab_free(&still);
    lab_free(&moved);
}

static fv_value build_unpooled(fv_graph *g, fv_value x, const void *arg) {
    (void)arg;
    x = lab_conv_relu(g, lab_conv_relu(g, x, 8, 5, 2, 2, "conv1"), 16, 5, 2, 2, "conv2");
    x = fv_graph_relu(g, fv_graph_linear(g, x, 64, true, FV_INIT_HE, "fc1"), NULL);
    return fv_graph_linear(g, x, 10, true, FV_INIT_LECUN, "fc2");
}

typedef struct change_kind {
    const char *name, *file, *label;
    double value[5]; /* shift in pixels, scale, or degrees */
} change_kind;

void lab_robustness(lab *l) {
    static const change_kind kinds[] = {{"shift to the right", "shift", "pixels", {0, 1, 2, 4, 6}},
                                        {"scale", "scale", "factor", {0.6, 0.8, 1, 1.2, 1.5}},
                                        {"rotation", "rotation", "degrees", {0, 10, 20, 30, 45}}};
    static const char *const names[] = {"convolution and max pooling", "convolution with strides", "fully connected"};
    const lab_net nets[] = {{lab_lenet, NULL, l->train.channels, l->train.height, l->train.width},
                            {build_unpooled, NULL, l->train.channels, l->train.height, l->train.width},
                            {lab_dense, NULL, l->train.channels, l->train.height, l->train.width}};
    double accuracy[3][3][5][LAB_SEEDS]; /* kind, net, value, seed */
    lab_data changed = lab_copy(&l->test, l->quick ? 1000 : 5000);
    for (int net = 0; net < 3; net++)
        for (int seed = 0; seed < l->seeds; seed++) {
            fv_model *m = lab_train(l, &nets[net], &l->train, 0.02, l->epochs, 1 + (uint64_t)seed);
            for (int kind = 0; kind < 3; kind++)
                for (int i = 0; i < 5; i++) {
                    const double v = kinds[kind].value[i];
                    lab_transform(&l->test, 0, kind == 0 ? v : 0, kind == 1 ? v : 1, kind == 2 ? v * 3.14159265358979 / 180 : 0,
                                  &changed);
                    accuracy[kind][net][i][seed] = lab_accuracy(m, &changed);
                }
            fv_model_free(m);
        }
    for (int kind = 0; kind < 3; kind++) {
        double mean[3][5], deviation[3][5];
        lab_curve curves[3];
        char title[96];
        snprintf(title, sizeof title, "Accuracy against %s of the test images (%s)", kinds[kind].name, kinds[kind].label);
        lab_heading(l, title, "| net | 1st | 2nd | 3rd | 4th | 5th value |");
        lab_row(l, "| *value* | %g | %g | %g | %g | %g |", kinds[kind].value[0], kinds[kind].value[1], kinds[kind].value[2],
                kinds[kind].value[3], kinds[kind].value[4]);
        for (int net = 0; net < 3; net++) {
            for (int i = 0; i < 5; i++) {
                const lab_spread s = lab_summary(accuracy[kind][net][i], l->seeds);
                mean[net][i] = s.mean;
                deviation[net][i] = s.deviation;
            }
            lab_row(l, "| %s | %.3f ± %.3f | %.3f ± %.3f | %.3f ± %.3f | %.3f ± %.3f | %.3f ± %.3f |", names[net], mean[net][0],
                    deviation[net][0], mean[net][1], deviation[net][1], mean[net][2], deviation[net][2], mean[net][3],
                    deviation[net][3], mean[net][4], deviation[net][4]);
            curves[net] = (lab_curve){names[net], kinds[kind].value, mean[net], deviation[net], 5};
        }
        lab_plot(l, kinds[kind].file, title, kinds[kind].label, "test accuracy", curves, 3, false);
    }
    lab_free(&changed);
}
