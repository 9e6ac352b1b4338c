#include "cli.h"
#include "infer.h"

#include <stdlib.h>
#include <string.h>

/* "NAME=FILE" whose NAME is this one: FILE, else NULL. */
static const char *file_of(const cli_list *list, const char *name) {
    const size_t length = strlen(name);
    for (size_t i = 0; i < list->count; i++)
        if (strncmp(list->items[i], name, length) == 0 && list->items[i][length] == '=')
            return list->items[i] + length + 1;
    return NULL;
}

/* Every NAME= of a list names one of `count` things. */
static int check_names(const cli_list *list, const char *what, const char *const *names, size_t count) {
    for (size_t i = 0; i < list->count; i++) {
        const char *equals = strchr(list->items[i], '=');
        if (!equals || equals == list->items[i] || !equals[1])
            return cli_usage(&cmd_run, "--%s takes NAME=FILE, not \"%s\"", what, list->items[i]);
        bool known = false;
        for (size_t k = 0; k < count; k++)
            known = known || (strlen(names[k]) == (size_t)(equals - list->items[i]) &&
                              strncmp(names[k], list->items[i], strlen(names[k])) == 0);
        if (!known)
            return cli_fail(&cmd_run, "the model has no %s \"%.*s\"", what, (int)(equals - list->items[i]),
                            list->items[i]);
    }
    return -1;
}

static int load_inputs(fv_context *c, const fv_model *m, const cli_list *list, fv_tensor *inputs) {
    const char *names[CLI_LIST_MOST];
    const size_t count = fv_model_input_count(m);
    if (count > CLI_LIST_MOST)
        return cli_fail(&cmd_run, "the model has %zu inputs; at most %d are given", count, CLI_LIST_MOST);
    for (size_t i = 0; i < count; i++)
        if (fv_model_input(m, i, &names[i], NULL) != FV_OK) return cli_library(&cmd_run);
    const int status = check_names(list, "input", names, count);
    if (status >= 0) return status;
    for (size_t i = 0; i < count; i++) {
        const char *file = file_of(list, names[i]);
        if (!file) return cli_usage(&cmd_run, "needs --input %s=FILE", names[i]);
        if (fv_tensor_load(c, file, &inputs[i]) != FV_OK) return cli_library(&cmd_run);
    }
    return -1;
}

static int save_outputs(fv_context *c, const inference *done, const cli_list *list) {
    const char *names[CLI_LIST_MOST];
    const size_t count = done->count < CLI_LIST_MOST ? done->count : CLI_LIST_MOST;
    for (size_t i = 0; i < count; i++)
        if (fv_session_output(done->session, i, &names[i], NULL) != FV_OK) return cli_library(&cmd_run);
    const int status = check_names(list, "output", names, count);
    if (status >= 0) return status;
    for (size_t i = 0; i < count; i++) {
        const char *file = file_of(list, names[i]);
        if (file && fv_tensor_save(c, file, names[i], &done->outputs[i]) != FV_OK) return cli_library(&cmd_run);
        if (list->count) continue;
        printf("%s: %s (", names[i], fv_dtype_name(done->outputs[i].dtype)); /* nothing to write: what there would be */
        for (int32_t a = 0; a < done->outputs[i].rank; a++)
            printf("%s%lld", a ? "," : "", (long long)done->outputs[i].shape[a]);
        puts(")");
    }
    return CLI_DONE;
}

static int run_model(fv_context *c, const fv_session_settings *settings, const char *path,
                     const cli_list *in, const cli_list *out) {
    fv_tensor inputs[CLI_LIST_MOST] = {0};
    fv_model *model = NULL;
    inference done = {0};
    if (fv_model_load(c, path, &model) != FV_OK) return cli_library(&cmd_run);
    int status = load_inputs(c, model, in, inputs);
    if (status < 0) {
        if (infer(c, model, settings, inputs, fv_model_input_count(model), &done) != FV_OK)
            status = cli_library(&cmd_run);
        else
            status = save_outputs(c, &done, out);
    }
    inference_free(&done);
    for (size_t i = 0; i < CLI_LIST_MOST; i++) fv_tensor_free(c, &inputs[i]);
    fv_model_free(model);
    return status;
}

static int run(int argc, char **argv) {
    cli_compute compute = {0};
    cli_list in = {.count = 0}, out = {.count = 0};
    const cli_option options[] = {
        {"input", "NAME=F", CLI_LIST, &in, 0, 0,
         "an input's tensor, npy or ONNX TensorProto (.pb); once for each input"},
        {"output", "NAME=F", CLI_LIST, &out, 0, 0,
         "where an output goes, .npy or .pb; without any their shapes are printed"},
        CLI_COMPUTE_OPTIONS(&compute),
        CLI_PLAN_OPTIONS(&compute),
        CLI_END,
    };
    int positional;
    int status = cli_parse(&cmd_run, options, argc, argv, &positional);
    if (status >= 0) return status;
    if (positional != 1) return cli_usage(&cmd_run, "needs one model file");
    fv_context *context;
    fv_session_settings settings;
    if ((status = cli_session(&cmd_run, &compute, &settings)) >= 0) return status;
    if ((status = cli_context(&cmd_run, &compute, &context)) >= 0) return status;
    status = run_model(context, &settings, argv[1], &in, &out);
    fv_context_free(context);
    return status;
}

const cli_command cmd_run = {
    "run", "F.onnx --input NAME=F.npy ... [--output NAME=F.npy ...]",
    "Runs a model on tensors from files and writes what it gives.\n"
    "Shapes are the tensors' own; values that shape the network (axes, sizes, pads) are taken from them too.",
    "  fovea run m.onnx --input x=image.npy --output y=answer.npy\n"
    "  fovea run m.onnx --input x=x.pb --input shape=shape.pb\n",
    run};
