/* A model run once on tensors of any type: a session for their shapes, outputs as it says. */
#ifndef FOVEA_TOOLS_INFER_H
#define FOVEA_TOOLS_INFER_H

#include "fovea.h"

typedef struct inference {
    fv_context *context;
    fv_session *session;
    fv_tensor *outputs;
    size_t count;
} inference;

/* base: the session's settings but for its inputs; NULL: the defaults.
 * inputs NULL: a session of the model's own sizes alone, nothing is run. On failure nothing is left to free. */
fv_status infer(fv_context *c, const fv_model *m, const fv_session_settings *base, const fv_tensor *inputs, size_t count,
                inference *out);
void inference_free(inference *i);

#endif
