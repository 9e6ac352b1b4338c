/* Learning rates and Adam's corrections as functions of the step: arithmetic of our own, so that they are the same on any machine. */
#ifndef FV_TRAIN_SCHEDULE_H
#define FV_TRAIN_SCHEDULE_H

#include "fovea.h"

/* step counts from 0. */
double fv_schedule_lr(const fv_trainer_settings *s, int64_t step);
/* base^n by squaring. */
double fv_power(double base, uint64_t n);

#endif
