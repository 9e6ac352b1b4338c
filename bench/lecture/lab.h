/* What the experiments share: images in memory, training and testing of a network from a builder function, rows of results,
 * plots. Everything follows from the seed. */
#ifndef FV_BENCH_LECTURE_LAB_H
#define FV_BENCH_LECTURE_LAB_H

#include "fovea.h"

#include <stdio.h>

enum { LAB_SEEDS = 16 }; /* the most that a run may use */

/* Images as floats, channels last; for points in the plane height and width are 1 and channels 2. */
typedef struct lab_data {
    float *x;
    int32_t *labels;
    int64_t count;
    int32_t channels, height, width, classes;
} lab_data;

typedef struct lab {
    fv_context *context;
    lab_data train, test;
    const char *folder; /* results are written there */
    FILE *table;        /* Markdown */
    int seeds, epochs;
    int64_t images; /* of the training set that a run uses */
    bool quick;
} lab;

/* Builds a network on input x (N,C,H,W) with `arg`; returns its logits. */
typedef fv_value (*lab_build)(fv_graph *g, fv_value x, const void *arg);

typedef struct lab_net {
    lab_build build;
    const void *arg;
    int32_t channels, height, width; /* of its input */
} lab_net;

/* Mean and standard deviation of n values. */
typedef struct lab_spread {
    double mean, deviation;
    int count;
} lab_spread;
lab_spread lab_summary(const double *values, int count);

size_t lab_image(const lab_data *d); /* values of one image */
void lab_fail(const char *what);     /* prints the library's last sentence and ends the program */
#define LAB_OK(call)                                                                                                             \
    do {                                                                                                                         \
        if ((call) != FV_OK) lab_fail(#call);                                                                                    \
    } while (0)

void lab_open(lab *l, const char *spec);
void lab_close(lab *l);
lab_data lab_copy(const lab_data *d, int64_t count);
/* The first `count` training images or all, a view. */
lab_data lab_first(const lab *l, int64_t count);
void lab_free(lab_data *d);

fv_model *lab_model(const lab *l, const lab_net *net, uint64_t seed);
/* Momentum 0.9, cosine from lr to 0, batch 64. */
fv_model *lab_train(const lab *l, const lab_net *net, const lab_data *d, double lr, int epochs, uint64_t seed);
double lab_accuracy(const fv_model *m, const lab_data *d);
/* The same, and the class of the largest output of every image. */
double lab_answers(const fv_model *m, const lab_data *d, int32_t *classes);
/* The first output of the model for every image, rows of `width` values, freed by the caller. */
float *lab_outputs(const fv_model *m, const lab_data *d, size_t *width);
size_t lab_parameters(const fv_model *m);

/* A conv, 3x3 unless said, with bias and ReLU. */
fv_value lab_conv_relu(fv_graph *g, fv_value x, int32_t maps, int32_t kernel, int32_t stride, int32_t pad, const char *name);
fv_value lab_pool(fv_graph *g, fv_value x, fv_pool_kind kind, int32_t size, const char *name);
/* Two stages of convolution, ReLU and pooling, two fully connected layers: what most experiments vary. */
fv_value lab_lenet(fv_graph *g, fv_value x, const void *arg);
/* 784-256-128-10 with ReLU. */
fv_value lab_dense(fv_graph *g, fv_value x, const void *arg);

/* Out comes `in` shifted by (dy, dx), scaled and turned by radians about its centre; outside is 0. */
void lab_transform(const lab_data *in, double dy, double dx, double scale, double radians, lab_data *out);
/* Every image's pixels in one fixed order drawn from seed. */
void lab_permute(lab_data *d, uint64_t seed);
/* A random number in [0, 1), the next of a sequence that begins with *state = seed. */
double lab_random(uint64_t *state);

/* ---- results ---- */

void lab_heading(lab *l, const char *title, const char *columns);
void lab_row(lab *l, const char *format, ...) __attribute__((format(printf, 2, 3)));

typedef struct lab_curve {
    const char *name;
    const double *x, *y, *deviation; /* deviation: NULL or [count] */
    int count;
} lab_curve;
/* FOLDER/NAME.png, a line a curve; nothing where the build has no cairo. */
void lab_plot(const lab *l, const char *name, const char *title, const char *x_label, const char *y_label,
              const lab_curve *curves, int count, bool logarithmic);
/* FOLDER/NAME.png from side x side class numbers a picture, `count` pictures in a row with captions; points are drawn over it. */
typedef struct lab_region {
    const char *caption;
    uint8_t *classes;
} lab_region;
void lab_regions(const lab *l, const char *name, const lab_region *regions, int count, int side, const lab_data *points);

/* ---- the experiments, one a file ---- */

void lab_vanishing(lab *l);
void lab_smooth(lab *l);
void lab_contrast(lab *l);
void lab_pooling(lab *l);
void lab_invariance(lab *l);
void lab_topology(lab *l);
void lab_robustness(lab *l);
void lab_skips(lab *l);
void lab_boundaries(lab *l);

#endif
