/* The lecture: sigmoid's gradients vanish with depth, ReLU's do not. Gradient norms by layer of fully connected nets of 2 to 16
 * layers at their initialization, read off one step of plain gradient descent at rate 1: what a weight lost is its gradient. */
#include "lab.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { WIDTH = 64, MOST_DEPTH = 16, IMAGES = 256 };

typedef struct deep {
    int depth;
    bool sigmoid;
} deep;

static fv_value build(fv_graph *g, fv_value x, const void *arg) {
    const deep *d = arg;
    for (int i = 1; i < d->depth; i++) {
        char name[16];
        snprintf(name, sizeof name, "layer%d", i);
        x = fv_graph_linear(g, x, WIDTH, true, d->sigmoid ? FV_INIT_XAVIER : FV_INIT_HE, name);
        x = d->sigmoid ? fv_graph_sigmoid(g, x, NULL) : fv_graph_relu(g, x, NULL);
    }
    return fv_graph_linear(g, x, 10, true, FV_INIT_LECUN, "last");
}

static double distance(const fv_tensor *a, const fv_tensor *b) {
    size_t count;
    double sum = 0;
    LAB_OK(fv_tensor_count(a, &count));
    const float *x = a->data, *y = b->data;
    for (size_t i = 0; i < count; i++) sum += ((double)x[i] - y[i]) * ((double)x[i] - y[i]);
    return sqrt(sum);
}

/* norms[i]: of the gradient of weight i, the first layer first. */
static void gradient_norms(const lab *l, const deep *d, uint64_t seed, double *norms) {
    const lab_net net = {build, d, l->train.channels, l->train.height, l->train.width};
    fv_trainer_settings s;
    fv_trainer *t;
    fv_model *before = lab_model(l, &net, seed), *after;
    fv_trainer_settings_default(&s);
    s.batch = IMAGES;
    s.input_layout = FV_NHWC;
    s.optimizer = FV_SGD;
    s.lr = 1;
    LAB_OK(fv_trainer_create(before, &s, &t));
    const int64_t n = l->train.count < IMAGES ? l->train.count : IMAGES;
    const fv_tensor x = {
        .dtype = FV_F32, .layout = FV_NHWC, .rank = 4, .shape = {n, net.channels, net.height, net.width}, .data = l->train.x};
    const fv_tensor y = {.dtype = FV_I32, .rank = 1, .shape = {n}, .data = l->train.labels};
    LAB_OK(fv_trainer_step(t, &x, &y, NULL));
    LAB_OK(fv_trainer_model(t, &after));
    int layer = 0;
    for (size_t i = 0; i < fv_model_parameter_count(before); i++) {
        const char *name;
        fv_tensor a, b;
        LAB_OK(fv_model_parameter(before, i, &name, &a, NULL));
        LAB_OK(fv_model_parameter(after, i, NULL, &b, NULL));
        if (strstr(name, ".weight")) norms[layer++] = distance(&a, &b);
    }
    fv_trainer_free(t);
    fv_model_free(before);
    fv_model_free(after);
}

void lab_vanishing(lab *l) {
    static const int depths[] = {2, 4, 8, 16};
    static double layer[MOST_DEPTH], norm[2][MOST_DEPTH];
    lab_heading(l,
                "Gradients by depth at the initialization: norm of the first layer's over the last hidden layer's (depth 2: the "
                "output layer's)",
                "| depth | sigmoid | ReLU |");
    for (size_t i = 0; i < 4; i++) {
        lab_spread ratio[2];
        for (int sigmoid = 0; sigmoid < 2; sigmoid++) {
            double values[LAB_SEEDS];
            memset(norm[sigmoid], 0, sizeof norm[sigmoid]);
            for (int seed = 0; seed < l->seeds; seed++) {
                const deep d = {depths[i], sigmoid};
                double norms[MOST_DEPTH];
                gradient_norms(l, &d, 1 + (uint64_t)seed, norms);
                values[seed] = norms[0] / norms[depths[i] > 2 ? depths[i] - 2 : 1];
                for (int k = 0; k < depths[i]; k++) norm[sigmoid][k] += norms[k] / l->seeds;
            }
            ratio[sigmoid] = lab_summary(values, l->seeds);
        }
        lab_row(l, "| %d | %.2g ± %.1g | %.2g ± %.1g |", depths[i], ratio[1].mean, ratio[1].deviation, ratio[0].mean,
                ratio[0].deviation);
    }
    for (int k = 0; k < MOST_DEPTH; k++) layer[k] = k + 1;
    const lab_curve curves[] = {{"ReLU", layer, norm[0], NULL, MOST_DEPTH}, {"sigmoid", layer, norm[1], NULL, MOST_DEPTH}};
    lab_plot(l, "gradients", "Norm of a layer's gradient, 16 layers", "layer, the input's first", "norm", curves, 2, true);
}
