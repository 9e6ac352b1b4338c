#ifndef FV_TRAIN_BUILD_STEP_H
#define FV_TRAIN_BUILD_STEP_H

#include "train/trainer.h"

/* Turns t->graph, a copy of the model's, into the graph of a step, and names its values in t. */
fv_status fv_build_step(fv_trainer *t);

#endif
