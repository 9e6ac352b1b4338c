/* Softplus(k) and smooth rectification tend to ReLU and |x| as k grows: largest difference over [-4,4] and, in a small net, test
 * accuracy and the share of the test images that it answers like the net with the limit itself trained from the same seed. */
#include "lab.h"

#include <math.h>
#include <stdlib.h>

enum { STEPS = 8001, GAINS = 5, FORMS = 3 };

typedef enum form { SOFTPLUS, SMOOTH_ABS, SURROGATE } form;

typedef struct activation {
    form form;
    double k; /* 0: the limit, ReLU or |x| */
} activation;

static fv_value activate(fv_graph *g, fv_value x, const activation *a) {
    if (a->k == 0) return a->form == SMOOTH_ABS ? fv_graph_abs(g, x, NULL) : fv_graph_relu(g, x, NULL);
    if (a->form == SOFTPLUS) return fv_graph_softplus(g, x, (float)a->k, NULL);
    if (a->form == SMOOTH_ABS) return fv_graph_smooth_abs(g, x, (float)a->k, NULL);
    return fv_graph_relu_surrogate(g, x, (float)a->k, NULL);
}

static fv_value build_alone(fv_graph *g, fv_value x, const void *arg) { return activate(g, x, arg); }

static fv_value conv(fv_graph *g, fv_value x, int32_t maps, const char *name) {
    fv_conv_settings s;
    fv_conv_settings_default(&s);
    s.out_channels = maps;
    for (int i = 0; i < 2; i++) {
        s.kernel[i] = 5;
        s.stride[i] = 2;
        s.pad_before[i] = s.pad_after[i] = 2;
    }
    return fv_graph_conv(g, x, &s, name);
}

static fv_value build(fv_graph *g, fv_value x, const void *arg) {
    x = activate(g, conv(g, x, 8, "conv1"), arg);
    x = activate(g, conv(g, x, 16, "conv2"), arg);
    return fv_graph_linear(g, x, 10, true, FV_INIT_LECUN, "fc");
}

static double largest_difference(const lab *l, const activation *a) {
    static float x[STEPS];
    static int32_t label;
    const lab_data line = {.x = x, .labels = &label, .count = 1, .channels = 1, .height = 1, .width = STEPS, .classes = 1};
    const lab_net net = {build_alone, a, 1, 1, STEPS};
    double most = 0;
    size_t width;
    for (int i = 0; i < STEPS; i++) x[i] = (float)(i - STEPS / 2) / 1000;
    fv_model *m = lab_model(l, &net, 1);
    float *y = lab_outputs(m, &line, &width);
    for (int i = 0; i < STEPS; i++) most = fmax(most, fabs(y[i] - (a->form == SMOOTH_ABS ? fabs(x[i]) : fmax(x[i], 0))));
    free(y);
    fv_model_free(m);
    return most;
}

static void answers(const lab *l, const lab_data *train, const activation *a, int seed, int32_t *classes, double *accuracy) {
    const lab_net net = {build, a, l->train.channels, l->train.height, l->train.width};
    fv_model *m = lab_train(l, &net, train, 0.02, l->epochs, 1 + (uint64_t)seed);
    *accuracy = lab_answers(m, &l->test, classes);
    fv_model_free(m);
}

/* Accuracy and agreement of one form at every k, and of its limit at [GAINS]. */
static void measure(const lab *l, const lab_data *train, form f, const double *k, lab_spread *accuracy, lab_spread *agreement) {
    double right[GAINS + 1][LAB_SEEDS], same[GAINS + 1][LAB_SEEDS];
    int32_t *limit = malloc((size_t)l->test.count * sizeof *limit), *classes = malloc((size_t)l->test.count * sizeof *classes);
    if (!limit || !classes) exit(1);
    for (int seed = 0; seed < l->seeds; seed++) {
        answers(l, train, &(activation){f, 0}, seed, limit, &right[GAINS][seed]);
        same[GAINS][seed] = 1;
        for (int i = 0; i < GAINS; i++) {
            int64_t equal = 0;
            answers(l, train, &(activation){f, k[i]}, seed, classes, &right[i][seed]);
            for (int64_t n = 0; n < l->test.count; n++) equal += classes[n] == limit[n];
            same[i][seed] = (double)equal / (double)l->test.count;
        }
    }
    for (int i = 0; i <= GAINS; i++) {
        accuracy[i] = lab_summary(right[i], l->seeds);
        agreement[i] = lab_summary(same[i], l->seeds);
    }
    free(limit);
    free(classes);
}

void lab_smooth(lab *l) {
    static const char *const names[] = {"softplus(k)", "smooth rectification(k)", "ReLU, softplus(k)'s gradient"},
                             *const limits[] = {"ReLU", "abs", "ReLU"};
    static const double k[GAINS] = {1, 10, 100, 1000, 10000};
    static double logarithm[GAINS], mean[FORMS][GAINS], deviation[FORMS][GAINS];
    const lab_data train = lab_first(l, 10000);
    lab_curve curves[FORMS];
    char title[160];
    snprintf(title, sizeof title,
             "Smooth activations and their limits (5x5 convolutions of 8 and 16 maps, stride 2; %lld images)",
             (long long)train.count);
    lab_heading(l, title, "| activation | k | largest difference on [-4,4] | accuracy | answers as with the limit |");
    for (int f = 0; f < FORMS; f++) {
        lab_spread accuracy[GAINS + 1], agreement[GAINS + 1];
        measure(l, &train, (form)f, k, accuracy, agreement);
        for (int i = 0; i < GAINS; i++) {
            lab_row(l, "| %s | %g | %.3g | %.4f ± %.4f | %.4f ± %.4f |", names[f], k[i],
                    largest_difference(l, &(activation){(form)f, k[i]}), accuracy[i].mean, accuracy[i].deviation,
                    agreement[i].mean, agreement[i].deviation);
            logarithm[i] = log10(k[i]);
            mean[f][i] = accuracy[i].mean;
            deviation[f][i] = accuracy[i].deviation;
        }
        lab_row(l, "| %s | | 0 | %.4f ± %.4f | 1 |", limits[f], accuracy[GAINS].mean, accuracy[GAINS].deviation);
        curves[f] = (lab_curve){names[f], logarithm, mean[f], deviation[f], GAINS};
    }
    lab_plot(l, "smooth", "Smooth activations: accuracy by k", "log10 k", "test accuracy", curves, FORMS, false);
}
