/* What regions nets of one, two and three layers can cut out of the plane: XOR, and two classes meshed into each other. */
#include "lab.h"

#include <math.h>
#include <stdlib.h>

enum { POINTS = 1200, SIDE = 160, LAYERS = 3 };

static fv_value build(fv_graph *g, fv_value x, const void *arg) {
    const int layers = *(const int *)arg;
    for (int i = 1; i < layers; i++) {
        char name[16];
        snprintf(name, sizeof name, "layer%d", i);
        x = fv_graph_tanh(g, fv_graph_linear(g, x, 16, true, FV_INIT_XAVIER, name), NULL);
    }
    return fv_graph_linear(g, x, 2, true, FV_INIT_LECUN, "last");
}

/* Class of a point of the square [-1,1]^2: XOR of the signs, or two spirals of one and a half turns. */
static int32_t class_of(bool meshed, double x, double y) {
    if (!meshed) return (x > 0) != (y > 0);
    const double turn = atan2(y, x) / 6.283185307 + 1.5 * sqrt(x * x + y * y);
    return turn - floor(turn) < 0.5;
}

static lab_data points(bool meshed, int64_t count, uint64_t seed) {
    lab_data d = {.count = count, .channels = 2, .height = 1, .width = 1, .classes = 2};
    d.x = malloc((size_t)count * 2 * sizeof *d.x);
    d.labels = malloc((size_t)count * sizeof *d.labels);
    for (int64_t i = 0; i < count; i++) {
        for (int k = 0; k < 2; k++) d.x[2 * i + k] = (float)(2 * lab_random(&seed) - 1);
        d.labels[i] = class_of(meshed, d.x[2 * i], d.x[2 * i + 1]);
    }
    return d;
}

static lab_data grid(void) {
    lab_data d = {.count = SIDE * SIDE, .channels = 2, .height = 1, .width = 1, .classes = 2};
    d.x = malloc((size_t)d.count * 2 * sizeof *d.x);
    d.labels = calloc((size_t)d.count, sizeof *d.labels);
    for (int i = 0; i < SIDE * SIDE; i++) {
        d.x[2 * i] = 2.0f * (float)(i % SIDE) / (SIDE - 1) - 1;
        d.x[2 * i + 1] = 1 - 2.0f * (float)(i / SIDE) / (SIDE - 1);
    }
    return d;
}

static void regions_of(const fv_model *m, const lab_data *where, uint8_t *classes) {
    size_t width;
    float *out = lab_outputs(m, where, &width);
    for (int64_t i = 0; i < where->count; i++) classes[i] = out[2 * i + 1] > out[2 * i];
    free(out);
}

void lab_boundaries(lab *l) {
    static const char *const tasks[] = {"XOR", "meshed classes"}, *const files[] = {"xor", "meshed"};
    static const char *const captions[] = {"one layer", "two layers", "three layers"};
    static uint8_t classes[LAYERS][SIDE * SIDE];
    lab_data where = grid();
    lab_heading(l, "Decision regions: accuracy on fresh points by the number of layers (16 tanh units each)",
                "| task | one layer | two layers | three layers |");
    for (int meshed = 0; meshed < 2; meshed++) {
        lab_data train = points(meshed, POINTS, 1), test = points(meshed, POINTS, 2);
        lab_spread s[LAYERS];
        lab_region regions[LAYERS];
        for (int layers = 1; layers <= LAYERS; layers++) {
            const lab_net net = {build, &layers, 2, 1, 1};
            double accuracy[LAB_SEEDS];
            for (int seed = l->seeds - 1; seed >= 0; seed--) {
                fv_model *m = lab_train(l, &net, &train, 0.1, 400, 1 + (uint64_t)seed);
                accuracy[seed] = lab_accuracy(m, &test);
                if (seed == 0) regions_of(m, &where, classes[layers - 1]);
                fv_model_free(m);
            }
            s[layers - 1] = lab_summary(accuracy, l->seeds);
            regions[layers - 1] = (lab_region){captions[layers - 1], classes[layers - 1]};
        }
        lab_row(l, "| %s | %.3f ± %.3f | %.3f ± %.3f | %.3f ± %.3f |", tasks[meshed], s[0].mean, s[0].deviation, s[1].mean,
                s[1].deviation, s[2].mean, s[2].deviation);
        lab_regions(l, files[meshed], regions, LAYERS, SIDE, &train);
        lab_free(&train);
        lab_free(&test);
    }
    lab_free(&where);
}
