#include "evaluate.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void to_probabilities(float *row, int32_t classes, bool already) {
    if (already) return;
    float top = row[0];
    for (int32_t i = 1; i < classes; i++) top = fmaxf(top, row[i]);
    double sum = 0;
    for (int32_t i = 0; i < classes; i++) sum += exp((double)row[i] - top);
    for (int32_t i = 0; i < classes; i++) row[i] = (float)(exp((double)row[i] - top) / sum);
}

int32_t largest(const float *row, int32_t classes) {
    int32_t best = 0;
    for (int32_t i = 1; i < classes; i++)
        if (row[i] > row[best]) best = i;
    return best;
}

/* What the first output is; false: nothing that the program measures. */
static bool kind_of(const fv_tensor *in, const fv_tensor *out, model_kind *kind, int32_t *classes) {
    *classes = 0;
    if (out->rank == 4) {
        *kind = GIVES_IMAGES;
        return memcmp(in->shape + 1, out->shape + 1, 3 * sizeof *in->shape) == 0;
    }
    if (out->rank != 2 || out->shape[1] < 1 || out->shape[1] > 1 << 20) return false;
    *classes = (int32_t)out->shape[1];
    *kind = *classes == 1 ? GIVES_VALUE : GIVES_CLASSES;
    return true;
}

fv_status fits(const fv_model *m, int32_t channels, int32_t height, int32_t width, model_kind *kind, int32_t *classes,
               const char **why) {
    static _Thread_local char sentence[256];
    const char *name = "";
    fv_tensor in, out;
    fv_status status = fv_model_input(m, 0, &name, &in);
    if (status == FV_OK) status = fv_model_output(m, 0, NULL, &out);
    *why = fv_last_error();
    if (status != FV_OK) return status;
    *why = sentence;
    if (in.rank != 4) {
        snprintf(sentence, sizeof sentence, "the model's input \"%s\" has rank %d, images need 4 (N,C,H,W)", name,
                 in.rank);
        return FV_ERR_SHAPE;
    }
    if (in.shape[1] != channels || in.shape[2] != height || in.shape[3] != width) {
        snprintf(sentence, sizeof sentence,
                 "the images are %dx%d with %d channels, but the model's input \"%s\" takes %lldx%lld with %lld",
                 height, width, channels, name, (long long)in.shape[2], (long long)in.shape[3], (long long)in.shape[1]);
        return FV_ERR_SHAPE;
    }
    if (kind_of(&in, &out, kind, classes)) return FV_OK;
    snprintf(
        sentence, sizeof sentence,
        "the model's output is neither (N,classes) nor images of the input's shape (others train in C: fv_trainer)");
    return FV_ERR_SHAPE;
}

fv_status open_images(const fv_dataset *d, int64_t batch, float noise, uint64_t seed, fv_loader **out) {
    fv_loader_settings s;
    fv_loader_settings_default(&s);
    s.batch = batch;
    s.shuffle = false;
    s.once = true;
    s.noise = noise;
    s.seed = ~seed;
    return fv_loader_create(d, &s, out);
}

fv_status run_batch(const fv_model *m, const fv_session_settings *base, const fv_tensor *x, fv_session **session,
                    int64_t *planned, float *outputs) {
    const int64_t n = x->shape[0];
    fv_tensor y;
    fv_status status = fv_model_output(m, 0, NULL, &y);
    if (status == FV_OK && (!*session || *planned != n)) {
        fv_session_settings settings;
        fv_session_settings_default(&settings);
        if (base) settings = *base;
        settings.batch = n;
        settings.input_layout = settings.output_layout = FV_NHWC;
        fv_session_free(*session);
        *session = NULL;
        status = fv_session_create(m, &settings, session);
        *planned = n;
    }
    if (status != FV_OK) return status;
    y.layout = y.rank == 4 ? FV_NHWC : FV_PLAIN;
    y.shape[0] = n;
    y.data = outputs;
    return fv_session_run(*session, x, 1, &y, 1);
}

static void count_classes(const fv_model *m, float *outputs, const int32_t *labels, int64_t n, evaluation *e) {
    const bool probabilities = fv_model_gives_probabilities(m);
    for (int64_t i = 0; i < n; i++) {
        float *row = outputs + i * e->classes;
        if (labels[i] < 0 || labels[i] >= e->classes) continue;
        const int32_t predicted = largest(row, e->classes);
        for (int32_t c = 0; c < e->classes; c++) {
            const double error = (double)row[c] - (c == labels[i]);
            e->squared += 0.5 * error * error;
        }
        if (!probabilities) { /* log-sum-exp: exact where a probability would round to 0 */
            double sum = 0;
            for (int32_t c = 0; c < e->classes; c++) sum += exp((double)row[c] - row[predicted]);
            e->loss += log(sum) + row[predicted] - row[labels[i]];
        } else {
            e->loss -= log(fmax(row[labels[i]], 1e-38));
        }
        e->confusion[(int64_t)labels[i] * e->classes + predicted]++;
        e->correct += predicted == labels[i];
        e->count++;
    }
}

/* 1 is wanted for images of the class, 0 for others; which of them a value means is decided at a half. */
static void count_values(const float *outputs, const int32_t *labels, int64_t n, int32_t detect, evaluation *e) {
    for (int64_t i = 0; i < n; i++) {
        const int wanted = labels[i] == detect, said = outputs[i] > 0.5f;
        const double error = (double)outputs[i] - wanted;
        e->squared += 0.5 * error * error;
        e->confusion[2 * wanted + said]++;
        e->correct += said == wanted;
        e->count++;
    }
}

double squared_error(const float *a, const float *b, size_t count) {
    double sum = 0;
    for (size_t i = 0; i < count; i++) sum += ((double)a[i] - (double)b[i]) * ((double)a[i] - (double)b[i]);
    return sum / (double)count;
}

static void count_images(const float *outputs, const float *noisy, const float *clean, int64_t n, size_t values,
                         evaluation *e) {
    for (size_t i = 0; i < (size_t)n; i++) { /* an image at a time: the same sum with any batch */
        e->output_error += squared_error(outputs + i * values, clean + i * values, values);
        e->input_error += squared_error(noisy + i * values, clean + i * values, values);
    }
    e->count += n;
}

/* Batch after batch of the loader. */
static fv_status measure(const fv_model *m, fv_loader *loader, float *outputs, size_t values, int32_t detect,
                         progress *bar, evaluation *e) {
    fv_session *session = NULL;
    int64_t planned = 0, done = 0;
    fv_status status = FV_OK;
    while (status == FV_OK) {
        fv_tensor x, labels, clean;
        status = fv_loader_next(loader, &x, &labels);
        if (status != FV_OK || x.shape[0] == 0) break;
        status = fv_loader_clean(loader, &clean);
        if (status == FV_OK) status = run_batch(m, NULL, &x, &session, &planned, outputs);
        if (status != FV_OK) break;
        if (e->kind == GIVES_CLASSES) count_classes(m, outputs, labels.data, x.shape[0], e);
        if (e->kind == GIVES_VALUE) count_values(outputs, labels.data, x.shape[0], detect, e);
        if (e->kind == GIVES_IMAGES) count_images(outputs, x.data, clean.data, x.shape[0], values, e);
        if (bar) progress_update(bar, done += x.shape[0], NULL);
    }
    fv_session_free(session);
    return status;
}

fv_status evaluate(const fv_model *m, const fv_dataset *d, const evaluate_settings *s, progress *bar, evaluation *out) {
    evaluation e = {0};
    fv_tensor in, shape;
    size_t values;
    fv_status status = fv_model_input(m, 0, NULL, &in);
    if (status == FV_OK) status = fv_model_output(m, 0, NULL, &shape);
    if (status != FV_OK) return status;
    if (!kind_of(&in, &shape, &e.kind, &e.classes)) return FV_ERR_SHAPE;
    if (e.kind == GIVES_VALUE) e.classes = 2;
    shape.shape[0] = 1;
    if ((status = fv_tensor_count(&shape, &values)) != FV_OK) return status;
    e.confusion = calloc((size_t)e.classes * (size_t)e.classes + 1, sizeof *e.confusion);
    float *outputs = calloc((size_t)s->batch * values, sizeof *outputs);
    fv_loader *loader = NULL;
    status = e.confusion && outputs ? open_images(d, s->batch, s->noise, s->seed, &loader) : FV_ERR_MEMORY;
    if (status == FV_OK) status = measure(m, loader, outputs, values, s->detect, bar, &e);
    fv_loader_free(loader);
    free(outputs);
    double *const means[] = {&e.loss, &e.squared, &e.output_error, &e.input_error};
    for (int i = 0; i < 4 && e.count; i++) *means[i] /= (double)e.count;
    if (status != FV_OK)
        evaluation_free(&e);
    else
        *out = e;
    return status;
}

void evaluation_free(evaluation *e) {
    free(e->confusion);
    e->confusion = NULL;
}
