/* What a session runs for one set of input shapes: the graph, its plan, and the values of inputs that went into them.
 */
#ifndef FV_GRAPH_PLANNED_H
#define FV_GRAPH_PLANNED_H

#include "graph/graph.h"

typedef struct fv_field {
    int64_t size[2], jump[2]; /* receptive field and distance of neighbours, in input pixels; size 0: unknown */
} fv_field;

typedef struct fv_planned {
    struct fv_planned *next;
    fv_graph *graph; /* prepared, sizes fixed; its lasting parameters are the model's */
    fv_graph *part;  /* the same for a part of the batch, which is what the plan runs; NULL: the whole batch at once */
    int64_t parts;
    fv_plan *plan;
    fv_field *fields; /* [value_count] */
    void **pinned;    /* [input_count] copies of the inputs' data that shaped the plan, NULL: any values will do */
    uint64_t used;    /* the session's count of when this was last asked for */
} fv_planned;

/* inputs NULL: the model's own sizes with settings' batch. team: the threads to run on, NULL: its own. */
fv_status fv_planned_create(const fv_model *m, const fv_session_settings *s, const fv_tensor *inputs, size_t count,
                            fv_parallel *team, fv_planned **out);
/* Bytes of its arena alone. */
fv_status fv_planned_bytes(const fv_model *m, const fv_session_settings *s, size_t *out);
void fv_planned_free(fv_planned *p);
/* Whether it runs these shapes, and the data where they are given and matter. */
bool fv_planned_serves(const fv_planned *p, const fv_tensor *inputs, size_t count);
/* Input i holds the values it was planned for. */
bool fv_planned_has(const fv_planned *p, size_t i, const void *data);

#endif
