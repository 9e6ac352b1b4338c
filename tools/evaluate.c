#include "evaluate.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

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

fv_status fits(const fv_model *m, int32_t channels, int32_t height, int32_t width, int32_t *classes, const char **why) {
    static _Thread_local char sentence[256];
    const char *name = "";
    fv_tensor in, out;
    fv_status status = fv_model_input(m, 0, &name, &in);
    if (status == FV_OK) status = fv_model_output(m, 0, NULL, &out);
    *why = fv_last_error();
    if (status != FV_OK) return status;
    *why = sentence;
    if (in.rank != 4 || in.shape[1] != channels || in.shape[2] != height || in.shape[3] != width) {
        if (in.rank == 4)
            snprintf(sentence, sizeof sentence,
                     "the images are %dx%d with %d channels, but the model's input \"%s\" takes %lldx%lld with %lld",
                     height, width, channels, name, (long long)in.shape[2], (long long)in.shape[3],
                     (long long)in.shape[1]);
        else
            snprintf(sentence, sizeof sentence, "the model's input \"%s\" has rank %d, images need 4 (N,C,H,W)", name,
                     in.rank);
        return FV_ERR_SHAPE;
    }
    if (out.rank != 2 || out.shape[1] < 1 || out.shape[1] > 1 << 20) {
        snprintf(sentence, sizeof sentence, "the model's output has rank %d; this takes classifiers, whose output is (N,classes) (others train in C: fv_trainer)", out.rank);
        return FV_ERR_SHAPE;
    }
    *classes = (int32_t)out.shape[1];
    return FV_OK;
}

fv_status run_batch(const fv_model *m, const fv_tensor *x, fv_session **session, int64_t *planned, float *outputs,
                    int32_t classes) {
    const int64_t n = x->shape[0];
    if (!*session || *planned != n) {
        fv_session_settings settings;
        fv_session_settings_default(&settings);
        settings.batch = n;
        settings.input_layout = FV_NHWC;
        fv_session_free(*session);
        *session = NULL;
        const fv_status status = fv_session_create(m, &settings, session);
        if (status != FV_OK) return status;
        *planned = n;
    }
    const fv_tensor y = {.dtype = FV_F32, .rank = 2, .shape = {n, classes}, .data = outputs};
    return fv_session_run(*session, x, 1, &y, 1);
}

static void count_rows(const fv_model *m, float *outputs, const int32_t *labels, int64_t n, evaluation *e) {
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

fv_status evaluate(const fv_model *m, const fv_dataset *d, int64_t batch, progress *bar, evaluation *out) {
    evaluation e = {0};
    fv_tensor shape;
    fv_status status = fv_model_output(m, 0, NULL, &shape);
    if (status != FV_OK) return status;
    e.classes = (int32_t)shape.shape[1];
    e.confusion = calloc((size_t)e.classes * (size_t)e.classes, sizeof *e.confusion);
    float *outputs = calloc((size_t)batch * (size_t)e.classes, sizeof *outputs);
    fv_loader_settings settings;
    fv_loader_settings_default(&settings);
    settings.batch = batch;
    settings.shuffle = false;
    settings.once = true;
    fv_loader *loader = NULL;
    fv_session *session = NULL;
    int64_t planned = 0, done = 0;
    status = e.confusion && outputs ? fv_loader_create(d, &settings, &loader) : FV_ERR_MEMORY;
    while (status == FV_OK) {
        fv_tensor x, labels;
        status = fv_loader_next(loader, &x, &labels);
        if (status != FV_OK || x.shape[0] == 0) break;
        status = run_batch(m, &x, &session, &planned, outputs, e.classes);
        if (status == FV_OK) count_rows(m, outputs, labels.data, x.shape[0], &e);
        if (bar) progress_update(bar, done += x.shape[0], NULL);
    }
    fv_session_free(session);
    fv_loader_free(loader);
    free(outputs);
    if (e.count) {
        e.loss /= (double)e.count;
        e.squared /= (double)e.count;
    }
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
