#include "infer.h"

#include <stdlib.h>

void inference_free(inference *i) {
    for (size_t k = 0; k < i->count; k++) free(i->outputs[k].data);
    free(i->outputs);
    fv_session_free(i->session);
    *i = (inference){0};
}

static fv_status make_outputs(inference *i) {
    i->outputs = calloc(fv_session_output_count(i->session) + 1, sizeof *i->outputs);
    if (!i->outputs) return FV_ERR_MEMORY;
    for (; i->count < fv_session_output_count(i->session); i->count++) {
        fv_tensor *t = &i->outputs[i->count];
        size_t elements;
        fv_status status = fv_session_output(i->session, i->count, NULL, t);
        if (status == FV_OK) status = fv_tensor_count(t, &elements);
        if (status != FV_OK) return status;
        t->layout = FV_PLAIN;
        t->data = malloc(elements * fv_dtype_bytes(t->dtype) + 1);
        if (!t->data) return FV_ERR_MEMORY;
    }
    return FV_OK;
}

fv_status infer(fv_context *c, const fv_model *m, const fv_session_settings *base, const fv_tensor *inputs, size_t count,
                inference *out) {
    inference made = {.context = c};
    fv_session_settings settings;
    fv_session_settings_default(&settings);
    if (base) settings = *base;
    settings.inputs = inputs;
    settings.input_count = count;
    fv_status status = fv_session_create(m, &settings, &made.session);
    if (status == FV_OK) status = make_outputs(&made);
    if (status == FV_OK && inputs) status = fv_session_run(made.session, inputs, count, made.outputs, made.count);
    if (status == FV_OK)
        *out = made;
    else
        inference_free(&made);
    return status;
}
