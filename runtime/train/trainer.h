/* The trainer inside. */
#ifndef FV_TRAIN_TRAINER_H
#define FV_TRAIN_TRAINER_H

#include "graph/graph.h"

enum { FV_TRAINER_PLANS = 8 };

/* A plan for one number of rows. */
typedef struct fv_trainer_plan {
    int64_t rows;
    fv_graph *graph;
    fv_plan *plan;
    int64_t used; /* step of its last use: the oldest makes room */
} fv_trainer_plan;

struct fv_trainer {
    fv_model *model; /* what training began from: names and structure of the models given out */
    fv_graph *graph; /* forward, loss, gradients, updates; batch open. Owns parameters and optimizer state */
    fv_trainer_settings settings;
    fv_run_info run;
    int64_t steps;
    fv_value input, target, loss, correct, norm; /* correct, norm: FV_NONE without */
    fv_trainer_plan plans[FV_TRAINER_PLANS];
    fv_real *one_hot; /* squared error or soft targets, with labels: [batch][classes] */
    int64_t classes;  /* values a row of the output; 0: it is no row */
};

/* The whole parameter and state values, in order: what checkpoints hold. NULL past the end. */
fv_value_info *fv_trainer_value(const fv_trainer *t, size_t i);

/* Parameters of rank 2 and more from the layout FV_TAPS_LAST_OUT [taps][I][O] to FV_PLAIN (O,I,taps). */
void fv_taps_to_plain(const fv_real *taps_last_out, fv_real *plain, size_t out, size_t in, size_t taps);

#endif
