/* A model over a whole data set: loss, accuracy, confusion matrix. */
#ifndef FOVEA_TOOLS_EVALUATE_H
#define FOVEA_TOOLS_EVALUATE_H

#include "fovea.h"

#include "progress.h"

typedef struct evaluation {
    int64_t count, correct;
    double loss;    /* mean cross-entropy */
    double squared; /* mean of half the squared error against one-hot labels */
    int32_t classes;
    int64_t *confusion; /* [true][predicted], freed by evaluation_free */
} evaluation;

/* bar may be NULL. On failure fv_last_error() tells why. */
fv_status evaluate(const fv_model *m, const fv_dataset *d, int64_t batch, progress *bar, evaluation *out);
void evaluation_free(evaluation *e);
/* Probabilities of one row of outputs, in place, unless they are probabilities already. */
void to_probabilities(float *row, int32_t classes, bool already);
int32_t largest(const float *row, int32_t classes);
/* Outputs (rows, classes) of the first output for a batch x (n,C,H,W) FV_NHWC; *session and *planned are kept between
 * calls and remade when n changes. */
fv_status run_batch(const fv_model *m, const fv_tensor *x, fv_session **session, int64_t *planned, float *outputs,
                    int32_t classes);
/* Checks that the images fit the model's input and gives the number of outputs. */
fv_status fits(const fv_model *m, int32_t channels, int32_t height, int32_t width, int32_t *classes, const char **why);

#endif
