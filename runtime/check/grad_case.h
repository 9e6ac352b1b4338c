/* One random case of the gradient check, in one build of the library. grad_case.c and grad_rows.c are compiled twice:
 * in float, beside the library, and in double inside libfovea_f64, whose symbols begin with f64_. What passes between
 * the two is double or plain. */
#ifndef FV_CHECK_GRAD_CASE_H
#define FV_CHECK_GRAD_CASE_H

#include "fovea.h"
#include "kernels/check/random.h"

/* ---- what a row of the table writes ---- */

typedef struct fv_grad_draw fv_grad_draw; /* a case being drawn */

/* Values of an input. FV_GRAD_SPACED: no two alike and none near zero, by at least half the range over their number, so
 * that what compares them (maxima, |x|) is far from ties. */
typedef enum fv_grad_values { FV_GRAD_UNIFORM, FV_GRAD_SPACED } fv_grad_values;

/* An input (N, shape[1..]) with N drawn by the case and values within +-limit; its gradient is checked. */
fv_value fv_grad_input(fv_grad_draw *d, fv_grad_values values, float limit, int32_t rank, const int64_t *shape);
/* The loss is the sum of v times random weights (over all calls); how a single operator is checked. */
void fv_grad_output(fv_grad_draw *d, fv_value v);
/* ... or one of the training losses on v (N,F), with random targets. */
void fv_grad_loss(fv_grad_draw *d, fv_value v, fv_loss loss, fv_reduction reduction, float label_smoothing);
/* The cross-entropy of fv_grad_loss takes probabilities, soft targets. */
void fv_grad_loss_form(fv_grad_draw *d, fv_loss_input input, bool soft_targets);
/* Residuals are fused as for inference, where training would leave an add. */
void fv_grad_fuse_residual(fv_grad_draw *d);

/* The library takes an algorithm that rounds so much more than a sum of products does. */
void fv_grad_amplify(fv_grad_draw *d, double factor);
/* The gradient is by intent not that of the value: held against the scalar definitions alone, not against differences. */
void fv_grad_surrogate(fv_grad_draw *d);

fv_graph *fv_grad_graph(fv_grad_draw *d);
fv_check_random *fv_grad_random(fv_grad_draw *d);

/* To check another operator, add a row. */
typedef struct fv_grad_row {
    const char *name; /* "conv", "pool.max" */
    void (*build)(
        fv_grad_draw *); /* builds with fovea.h; ends with fv_grad_output or fv_grad_loss. Errors stick to the graph */
} fv_grad_row;
/* The rows of a family, in its own file, end with a NULL name. */
extern const fv_grad_row fv_grad_rows_layers[], fv_grad_rows_local[], fv_grad_rows_conv_transpose[], fv_grad_rows_pool[],
    fv_grad_rows_contrast[], fv_grad_rows_activation[], fv_grad_rows_norm[], fv_grad_rows_options[],
    fv_grad_rows_winograd[], fv_grad_rows_nd[], fv_grad_rows_nd_math[], fv_grad_rows_nd_recurrent[];

/* Row i over all families, NULL past the last. */
const fv_grad_row *fv_grad_row_at(size_t i);
size_t fv_grad_row_count(void);

/* ---- what the driver sees ---- */

typedef struct fv_grad_request {
    size_t row;
    uint64_t seed, number;
    uint32_t attempt; /* the same graph with other values */
    const char *isa;
} fv_grad_request;

/* An input, a parameter, or the random weights of an output (whose gradient is the output: so the forward pass is held
 * too). In the logical order of the shape, exact in float at first. */
typedef struct fv_grad_variable {
    const char *name;
    bool output; /* its gradient is an output of the graph */
    size_t count;
    double *value, *gradient;
} fv_grad_variable;

typedef struct fv_grad_case {
    fv_grad_variable *variables;
    size_t variable_count;
    double loss, amplification; /* see fv_grad_amplify; 1 without */
    bool has_loss;              /* of a training loss: the outputs are not held, the loss is */
    bool surrogate;             /* see fv_grad_surrogate */
    char shape[256]; /* the graph in words */
} fv_grad_case;

typedef struct fv_grad_build {
    fv_status (*create)(const fv_grad_request *r, fv_grad_case **out);
    void (*free)(fv_grad_case *c);
    /* Forward and backward with the variables' values; sets loss and gradients. Dropout draws the same mask every time.
     */
    void (*run)(fv_grad_case *c);
    /* The graph that ran had a node of this operator. */
    bool (*has)(const fv_grad_case *c, const char *op);
    const char *(*error)(void);
} fv_grad_build;
/* The network that a row draws, as a model with the case's random parameters, in a context of the request's ISA (both
 * the caller's to free): for what is about models, such as files. */
fv_status fv_grad_model(const fv_grad_request *r, fv_context **context, fv_model **model);

extern const fv_grad_build fv_grad_float;      /* this library */
extern const fv_grad_build f64_fv_grad_double; /* the scalar definitions in double */

#endif
