#ifndef FV_TRAIN_BUILD_STEP_H
#define FV_TRAIN_BUILD_STEP_H

#include "train/trainer.h"

/* Turns t->graph, a copy of the model's, into the graph of a step, and names its values in t. */
fv_status fv_build_step(fv_trainer *t);

/* Weights that one kind of node alone reads: to FV_TAPS_LAST_OUT, their data too. */
fv_status fv_relayout_weights(fv_graph *g);

#endif
