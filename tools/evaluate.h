/* A model over a whole data set: loss, accuracy, confusion matrix; squared error of images. */
#ifndef FOVEA_TOOLS_EVALUATE_H
#define FOVEA_TOOLS_EVALUATE_H

#include "fovea.h"

#include "progress.h"

/* What a model makes of an image. */
typedef enum model_kind {
    GIVES_CLASSES, /* (N,classes): a number a class */
    GIVES_VALUE,   /* (N,1): one unit, which is to give 1 for images of a class and 0 for others */
    GIVES_IMAGES   /* the input's shape: an autoencoder, which is to give the image without its noise */
} model_kind;

typedef struct evaluation {
    model_kind kind;
    int64_t count, correct;
    double loss;    /* mean cross-entropy */
    double squared; /* mean of half the squared error, against one-hot labels or the wanted value */
    double output_error,
        input_error;    /* images: mean squared difference a value from the clean image, of output and noisy input */
    int32_t classes;    /* of the confusion matrix: 2 for GIVES_VALUE, 0 for GIVES_IMAGES */
    int64_t *confusion; /* [true][predicted], freed by evaluation_free */
} evaluation;

typedef struct evaluate_settings {
    int64_t batch;
    float noise;    /* deviation of the noise on the images */
    uint64_t seed;  /* of the noise */
    int32_t detect; /* the class that GIVES_VALUE is to find */
} evaluate_settings;

/* bar may be NULL. On failure fv_last_error() tells why. */
fv_status evaluate(const fv_model *m, const fv_dataset *d, const evaluate_settings *s, progress *bar, evaluation *out);
void evaluation_free(evaluation *e);
/* The images once and in order, with noise; never that of training with the same seed. */
fv_status open_images(const fv_dataset *d, int64_t batch, float noise, uint64_t seed, fv_loader **out);
/* Probabilities of one row of outputs, in place, unless they are probabilities already. */
void to_probabilities(float *row, int32_t classes, bool already);
/* The mean squared difference. */
double squared_error(const float *a, const float *b, size_t count);
int32_t largest(const float *row, int32_t classes);
/* base: the session's settings but for batch and layout; NULL: the defaults.
 * The first output for a batch x FV_NHWC: (rows, classes), or maps FV_NHWC; *session and *planned are kept between
 * calls and remade when the number of images changes. */
fv_status run_batch(const fv_model *m, const fv_session_settings *base, const fv_tensor *x, fv_session **session,
                    int64_t *planned, float *outputs);
/* Checks that the images fit the model's input and gives what it makes of them; *classes: its outputs, 0 for images. */
fv_status fits(const fv_model *m, int32_t channels, int32_t height, int32_t width, model_kind *kind, int32_t *classes,
               const char **why);

#endif
