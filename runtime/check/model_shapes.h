/* Which kernel slots a model's nodes use, forwards and backwards, and on which shapes. */
#ifndef FV_CHECK_MODEL_SHAPES_H
#define FV_CHECK_MODEL_SHAPES_H

#include "graph/graph.h"
#include "kernels/check/check.h"

typedef struct fv_model_shapes {
    const fv_check_options *options; /* print: lines about shapes that are left out */
    const fv_graph *graph;           /* prepared as for training, batch 1 */
    fv_kernels kernels;              /* of the ISA checked, the best where all are: what algorithms a plan may choose */
    fv_check_given *list;
    size_t count, capacity;
    void **taps; /* memory of the list's taps */
    size_t tap_count, tap_capacity;
} fv_model_shapes;

/* Fills list; what it points to lives until fv_model_shapes_free, after a failure too. */
fv_status fv_model_shapes_collect(fv_model_shapes *s);
void fv_model_shapes_free(fv_model_shapes *s);

#endif
