/* The gradient check: every operator's backward, and whole small networks, in graphs prepared, differentiated and
 * planned as a trainer does it, with random geometry.
 *
 * A case is held twice:
 *   - in double (the scalar definitions and the runtime compiled for it): the gradient against central differences of
 * the loss, for up to 32 elements of every input and parameter and for one direction through all of them at once. h =
 * 1e-4 and h/2 are combined (Richardson), so the differences are exact to some 1e-11; allowed is 1e-6 of the variable's
 * largest gradient. A step over a kink makes the two differ from each other, whatever the gradient: the case is drawn
 * again.
 *   - the float library on every ISA against the gradient in double, on the same inputs. The bound is derived beside
 * estimate_error in grad.c. The outputs are held like gradients: they are those of the loss's random weights. A
 * gradient that is zero everywhere proves nothing: the case is drawn again, and 40 such draws are a failure. */
#ifndef FV_CHECK_GRAD_H
#define FV_CHECK_GRAD_H

#include "check/grad_case.h"
#include "kernels/check/check.h"

/* options->op names a row ("conv.clamp") or a family ("conv"); cases are of each row. Without a filter every operator
 * of the registry that has a backward, and both losses, must have been part of a case: else FV_CHECK_NOTHING.
 * report->slots counts rows. */
fv_check_result fv_grad_check(const fv_check_options *options, fv_check_report *report);

/* What a check held: values of the float library's outputs (or losses) and gradients against those in double, over
 * every ISA, cases held against differences, and cases that failed by the one or the other. */
typedef struct fv_grad_held {
    uint64_t outputs, gradients, differences, output_failures, gradient_failures;
} fv_grad_held;
/* options->op as fv_grad_row_matches takes it. */
fv_check_result fv_grad_check_held(const fv_check_options *options, fv_grad_held *held);
/* A name that a row has means that row alone; else its family. */
bool fv_grad_row_matches(const fv_grad_row *row, const char *op);

/* The same with other builds, for tests of the check. */
fv_check_result fv_grad_check_builds(const fv_check_options *options, const fv_grad_build *exact,
                                     const fv_grad_build *library, fv_check_report *report);

/* Names of the rows. */
fv_check_result fv_grad_list(const fv_check_options *options);

#endif
