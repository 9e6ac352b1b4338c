/* Core alone: trains a network of the zoo for some steps on synthetic images and prints a 64-bit hash of all its parameters.
 * core_train [--steps N] [--threads N] [--backend NAME] [--isa NAME] [--model NAME] [--batch N] [--time] */
#include "fovea.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { classes = 10 };

/* Class k is a bright bar at a place of its own, in noise from a linear congruence. */
static void draw(const fv_tensor *shape, float *images, int32_t *labels, int64_t batch, uint32_t *state) {
    const int64_t channels = shape->shape[1], height = shape->shape[2], width = shape->shape[3];
    for (int64_t i = 0; i < batch; i++) {
        labels[i] = (int32_t)((*state = *state * 1664525u + 1013904223u) >> 16) % classes;
        for (int64_t y = 0; y < channels * height; y++)
            for (int64_t x = 0; x < width; x++) {
                const float noise = (float)((*state = *state * 1664525u + 1013904223u) >> 8) * 0x1p-24f;
                const bool on = labels[i] < 5 ? y % height * 28 / height / 5 == labels[i] : x * 28 / width / 5 == labels[i] - 5;
                images[(i * channels * height + y) * width + x] = 0.3f * noise + (on ? 0.7f : 0.0f);
            }
    }
}

static uint64_t hash_of(const fv_model *m) {
    uint64_t h = 1469598103934665603u;
    for (size_t i = 0; i < fv_model_parameter_count(m); i++) {
        fv_tensor t;
        size_t count;
        if (fv_model_parameter(m, i, NULL, &t, NULL) != FV_OK || fv_tensor_count(&t, &count) != FV_OK) return 0;
        const unsigned char *bytes = t.data;
        for (size_t k = 0; k < count * sizeof(float); k++) h = (h ^ bytes[k]) * 1099511628211u;
    }
    return h;
}

typedef struct options {
    int64_t steps, batch;
    const char *model;
    bool time;
    fv_context_settings context;
} options;

static int parse(int argc, char **argv, options *o) {
    static const char *const names[] = {"openmp", "pthreads", "serial"};
    *o = (options){.steps = 20, .batch = 64, .model = "lenet5"};
    fv_context_settings_default(&o->context);
    o->context.threads = 1;
    for (int i = 1; i < argc; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : "";
        if (strcmp(argv[i], "--time") == 0) {
            o->time = true;
            continue;
        }
        i++;
        if (strcmp(argv[i - 1], "--steps") == 0) o->steps = atoll(value);
        else if (strcmp(argv[i - 1], "--batch") == 0) o->batch = atoll(value);
        else if (strcmp(argv[i - 1], "--threads") == 0) o->context.threads = atoi(value);
        else if (strcmp(argv[i - 1], "--isa") == 0) o->context.isa = value;
        else if (strcmp(argv[i - 1], "--model") == 0) o->model = value;
        else if (strcmp(argv[i - 1], "--backend") == 0) {
            for (int k = 0; k < 3; k++)
                if (strcmp(value, names[k]) == 0) o->context.backend = (fv_backend)k;
        } else return 2;
    }
    return 0;
}

static fv_status train(fv_trainer *t, const options *o, const fv_tensor *shape, float *images, int32_t *labels) {
    uint32_t state = 1;
    fv_step first = {0}, last = {0};
    double best = 1e9, sum = 0;
    for (int64_t i = 0; i < o->steps; i++) {
        struct timespec a, b;
        const int64_t n = i % 5 == 4 ? o->batch - o->batch / 3 : o->batch; /* partial batches too */
        const fv_tensor x = {FV_F32, FV_PLAIN, 4, {o->time ? o->batch : n, shape->shape[1], shape->shape[2], shape->shape[3]}, images};
        const fv_tensor y = {FV_I32, FV_PLAIN, 1, {o->time ? o->batch : n}, labels};
        draw(shape, images, labels, o->batch, &state);
        clock_gettime(CLOCK_MONOTONIC, &a);
        const fv_status status = fv_trainer_step(t, &x, &y, i == 0 ? &first : &last);
        clock_gettime(CLOCK_MONOTONIC, &b);
        if (status != FV_OK) return status;
        const double ms = 1e3 * (double)(b.tv_sec - a.tv_sec) + 1e-6 * (double)(b.tv_nsec - a.tv_nsec);
        if (ms < best) best = ms;
        sum += ms;
    }
    if (o->time) fprintf(stderr, "best %.3f ms, mean %.3f ms a step\n", best, sum / (double)o->steps);
    fprintf(stderr, "loss %.4f -> %.4f\n", first.loss, last.loss);
    return isfinite(last.loss) ? FV_OK : FV_ERR_STATE;
}

int main(int argc, char **argv) {
    options o;
    if (parse(argc, argv, &o) != 0 || o.steps < 1 || o.batch < 3) {
        fprintf(stderr, "core_train: wrong usage\n");
        return 2;
    }
    fv_context *context = NULL;
    fv_model *model = NULL, *trained = NULL;
    fv_trainer *trainer = NULL;
    fv_trainer_settings settings;
    fv_trainer_settings_default(&settings);
    settings.batch = o.batch;
    fv_tensor shape;
    size_t count = 0;
    float *images = NULL;
    int32_t *labels = malloc((size_t)o.batch * sizeof *labels);
    fv_status status = labels ? fv_context_create(&o.context, &context) : FV_ERR_MEMORY;
    if (status == FV_OK) status = fv_model_zoo(context, o.model, NULL, &model);
    if (status == FV_OK) status = fv_model_input(model, 0, NULL, &shape);
    if (status == FV_OK) {
        shape.shape[0] = o.batch;
        status = fv_tensor_count(&shape, &count);
        images = malloc(count * sizeof *images);
        if (!images) status = FV_ERR_MEMORY;
    }
    if (status == FV_OK) status = fv_trainer_create(model, &settings, &trainer);
    if (status == FV_OK) status = train(trainer, &o, &shape, images, labels);
    if (status == FV_OK) status = fv_trainer_model(trainer, &trained);
    if (status == FV_OK)
        printf("%016llx\n", (unsigned long long)hash_of(trained));
    else
        fprintf(stderr, "core_train: %s\n", fv_last_error());
    fv_model_free(trained);
    fv_trainer_free(trainer);
    fv_model_free(model);
    fv_context_free(context);
    free(images);
    free(labels);
    return status != FV_OK;
}
