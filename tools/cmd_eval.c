#include "cli.h"
#include "evaluate.h"

#include <jansson.h>

static void print_text(const evaluation *e, const fv_dataset *d) {
    printf("images    %lld\nloss      %.4f\naccuracy  %.4f\n\nconfusion: rows are the true class, columns the "
           "predicted\n%14s",
           (long long)e->count, e->loss, (double)e->correct / (double)e->count, "");
    for (int32_t j = 0; j < e->classes; j++) printf(" %5d", j);
    putchar('\n');
    for (int32_t i = 0; i < e->classes; i++) {
        const char *name = fv_dataset_class_name(d, i);
        printf("%2d %-11.11s", i, name ? name : "");
        for (int32_t j = 0; j < e->classes; j++) printf(" %5lld", (long long)e->confusion[i * e->classes + j]);
        putchar('\n');
    }
}

static void print_json(const evaluation *e) {
    json_t *rows = json_array();
    for (int32_t i = 0; i < e->classes; i++) {
        json_t *row = json_array();
        for (int32_t j = 0; j < e->classes; j++)
            json_array_append_new(row, json_integer(e->confusion[i * e->classes + j]));
        json_array_append_new(rows, row);
    }
    json_t *o = json_pack("{s:I, s:f, s:f, s:o}", "images", (json_int_t)e->count, "loss", e->loss, "accuracy",
                          (double)e->correct / (double)e->count, "confusion", rows);
    json_dumpf(o, stdout, JSON_INDENT(2));
    putchar('\n');
    json_decref(o);
}

/* fv_last_error() or *why tells what failed. */
static fv_status measure(const fv_model *m, const fv_dataset *d, int64_t batch, evaluation *e, const char **why) {
    fv_dataset_info info;
    int32_t classes;
    fv_status status = fv_dataset_get_info(d, &info);
    if (status == FV_OK && (status = fits(m, info.channels, info.height, info.width, &classes, why)) != FV_OK)
        return status;
    *why = NULL;
    if (status != FV_OK) return status;
    progress bar;
    progress_start(&bar, "eval", info.count);
    status = evaluate(m, d, batch, &bar, e);
    progress_clear(&bar);
    return status;
}

static int run(int argc, char **argv) {
    cli_compute compute = {0};
    const char *data = NULL;
    const char *size = NULL;
    int64_t batch = 100, limit = 0;
    bool json = false, training = false;
    const cli_option options[] = {
        {"data", "D", CLI_TEXT, &data, 0, 0, "fashion-mnist, idx:DIR, cifar10:DIR or folder:DIR (needed)"},
        {"train-split", NULL, CLI_FLAG, &training, 0, 0, "the training images instead of the test images"},
        {"size", "H,W", CLI_TEXT, &size, 0, 0, "folder: scale the images to this"},
        {"limit", "N", CLI_INT, &limit, 1, 1e15, "only the first N images"},
        {"batch", "N", CLI_INT, &batch, 1, 1 << 16, "images at a time (default 100)"},
        CLI_COMPUTE_OPTIONS(&compute),
        {"json", NULL, CLI_FLAG, &json, 0, 0, "one JSON object: images, loss, accuracy, confusion"},
        CLI_END,
    };
    int positional;
    int status = cli_parse(&cmd_eval, options, argc, argv, &positional);
    if (status >= 0) return status;
    if (positional != 1) return cli_usage(&cmd_eval, "needs one model file");
    if (!data) return cli_usage(&cmd_eval, "needs --data; see fovea eval --help");
    fv_dataset_settings settings;
    fv_dataset_settings_default(&settings);
    if ((status = cli_size(&cmd_eval, size, &settings.height, &settings.width)) >= 0) return status;
    fv_context *context;
    if ((status = cli_context(&cmd_eval, &compute, &context)) >= 0) return status;
    settings.test = !training;
    settings.limit = limit;
    fv_model *model = NULL;
    fv_dataset *set = NULL;
    evaluation e = {0};
    const char *why = NULL;
    if (fv_model_load(context, argv[1], &model) != FV_OK || fv_dataset_open(context, data, &settings, &set) != FV_OK ||
        measure(model, set, batch, &e, &why) != FV_OK) {
        status = cli_fail(&cmd_eval, "%s", why ? why : fv_last_error());
    } else if (e.count == 0) {
        status = cli_fail(&cmd_eval, "no image of %s has a label below the model's %d classes", data, e.classes);
    } else {
        status = CLI_DONE;
        json ? print_json(&e) : print_text(&e, set);
    }
    evaluation_free(&e);
    fv_dataset_free(set);
    fv_model_free(model);
    fv_context_free(context);
    return status;
}

const cli_command cmd_eval = {"eval", "F.onnx --data D [OPTIONS]",
                              "Measures a model on a data set: loss, accuracy, confusion matrix.",
                              "  fovea eval m.onnx --data fashion-mnist\n"
                              "  fovea eval m.onnx --data idx:data/fashion-mnist-sample --json | jq .accuracy\n",
                              run};
