/* Compiled against an installed fovea alone: makes a network, runs it, writes it and reads it back. */
#include <fovea.h>

#include <stdio.h>
#include <string.h>

static float image[28 * 28], first[10], second[10];

static fv_status run(const fv_model *m, float *scores) {
    fv_session *s = NULL;
    const fv_tensor in = {FV_F32, FV_PLAIN, 4, {1, 1, 28, 28}, image}, out = {FV_F32, FV_PLAIN, 2, {1, 10}, scores};
    fv_status status = fv_session_create(m, NULL, &s);
    if (status == FV_OK) status = fv_session_run(s, &in, 1, &out, 1);
    fv_session_free(s);
    return status;
}

int main(int argc, char **argv) {
    fv_context *c = NULL;
    fv_model *m = NULL, *back = NULL;
    const char *path = argc > 1 ? argv[1] : "installed.onnx";
    for (int i = 0; i < 28 * 28; i++) image[i] = (float)(i % 29) / 29;
    fv_status status = fv_context_create(NULL, &c);
    if (status == FV_OK) status = fv_model_zoo(c, "lenet5", NULL, &m);
    if (status == FV_OK) status = run(m, first);
    if (status == FV_OK) status = fv_model_save(m, path);
    if (status == FV_OK) status = fv_model_load(c, path, &back);
    if (status == FV_OK) status = run(back, second);
    if (status != FV_OK) fprintf(stderr, "%s: %s\n", fv_status_name(status), fv_last_error());
    const int same = memcmp(first, second, sizeof first) == 0 && first[0] != first[1];
    printf("fovea %s\n", fv_version());
    fv_model_free(back);
    fv_model_free(m);
    fv_context_free(c);
    return status != FV_OK || !same;
}
