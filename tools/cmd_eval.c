#include "cli.h"
#include "evaluate.h"

#include <jansson.h>

/* By classes cross-entropy, by value half the squared error, as in training. */
static double loss_of(const evaluation *e) { return e->kind == GIVES_VALUE ? e->squared : e->loss; }

static void print_text(const evaluation *e, const fv_dataset *d, int64_t detect) {
    printf("images    %lld\n", (long long)e->count);
    if (e->kind == GIVES_IMAGES) {
        printf("squared error a value, against the image without noise\noutput    %.5f\ninput     %.5f\n",
               e->output_error, e->input_error);
        if (e->input_error > 0) printf("ratio     %.3f\n", e->output_error / e->input_error);
        return;
    }
    printf("loss      %.4f\naccuracy  %.4f\n\nconfusion: rows are the true class, columns the predicted\n%14s",
           loss_of(e), (double)e->correct / (double)e->count, "");
    for (int32_t j = 0; j < e->classes; j++) printf(" %5d", j);
    putchar('\n');
    for (int32_t i = 0; i < e->classes; i++) {
        const char *name = e->kind == GIVES_CLASSES ? fv_dataset_class_name(d, i)
                           : i                      ? fv_dataset_class_name(d, (int32_t)detect)
                                                    : "others";
        printf("%2d %-11.11s", i, name ? name : "");
        for (int32_t j = 0; j < e->classes; j++) printf(" %5lld", (long long)e->confusion[i * e->classes + j]);
        putchar('\n');
    }
}

static void dump(json_t *o) {
    json_dumpf(o, stdout, JSON_INDENT(2));
    putchar('\n');
    json_decref(o);
}

static void print_json(const evaluation *e) {
    if (e->kind == GIVES_IMAGES) {
        dump(json_pack("{s:I, s:f, s:f}", "images", (json_int_t)e->count, "output_squared_error", e->output_error,
                       "input_squared_error", e->input_error));
        return;
    }
    json_t *rows = json_array();
    for (int32_t i = 0; i < e->classes; i++) {
        json_t *row = json_array();
        for (int32_t j = 0; j < e->classes; j++)
            json_array_append_new(row, json_integer(e->confusion[i * e->classes + j]));
        json_array_append_new(rows, row);
    }
    dump(json_pack("{s:I, s:f, s:f, s:o}", "images", (json_int_t)e->count, "loss", loss_of(e), "accuracy",
                   (double)e->correct / (double)e->count, "confusion", rows));
}

/* fv_last_error() or *why tells what failed. */
static fv_status measure(const fv_model *m, const fv_dataset *d, const evaluate_settings *s, evaluation *e,
                         const char **why) {
    fv_dataset_info info;
    model_kind kind;
    int32_t classes;
    fv_status status = fv_dataset_get_info(d, &info);
    if (status == FV_OK && (status = fits(m, info.channels, info.height, info.width, &kind, &classes, why)) != FV_OK)
        return status;
    *why = NULL;
    if (status != FV_OK) return status;
    if (kind == GIVES_VALUE && s->detect < 0)
        *why = "the model is one unit: --detect CLASS says which images it is to give 1";
    if (kind != GIVES_VALUE && s->detect >= 0) *why = "--detect is for models of one unit; this one has more outputs";
    if (s->detect >= info.classes) *why = "--detect: the data has no such class";
    if (*why) return FV_ERR_ARGUMENT;
    progress bar;
    progress_start(&bar, "eval", info.count);
    status = evaluate(m, d, s, &bar, e);
    progress_clear(&bar);
    return status;
}

static int run(int argc, char **argv) {
    cli_compute compute = {0};
    const char *data = NULL;
    const char *size = NULL;
    int64_t batch = 100, limit = 0, detect = -1;
    double noise = 0;
    uint64_t seed = 1;
    bool json = false, training = false;
    const cli_option options[] = {
        {"data", "D", CLI_TEXT, &data, 0, 0, "fashion-mnist, idx:DIR, cifar10:DIR or folder:DIR (needed)"},
        {"train-split", NULL, CLI_FLAG, &training, 0, 0, "the training images instead of the test images"},
        {"size", "H,W", CLI_TEXT, &size, 0, 0, "folder: scale the images to this"},
        {"limit", "N", CLI_INT, &limit, 1, 1e15, "only the first N images"},
        {"batch", "N", CLI_INT, &batch, 1, 1 << 16, "images at a time (default 100)"},
        {"noise", "SIGMA", CLI_REAL, &noise, 0, 1e6,
         "normal noise of this deviation on the images, whose numbers go from 0 to 1"},
        {"seed", "N", CLI_SEED, &seed, 0, 0, "seed of the noise (default 1)"},
        {"detect", "CLASS", CLI_INT, &detect, 0, 1e6, "a model of one unit: the class for which it is to give 1"},
        CLI_COMPUTE_OPTIONS(&compute),
        {"json", NULL, CLI_FLAG, &json, 0, 0,
         "one JSON object: images, loss, accuracy, confusion; of an autoencoder images and squared errors"},
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
    const evaluate_settings how = {.batch = batch, .noise = (float)noise, .seed = seed, .detect = (int32_t)detect};
    const char *why = NULL;
    if (fv_model_load(context, argv[1], &model) != FV_OK || fv_dataset_open(context, data, &settings, &set) != FV_OK ||
        measure(model, set, &how, &e, &why) != FV_OK) {
        status = cli_fail(&cmd_eval, "%s", why ? why : fv_last_error());
    } else if (e.count == 0) {
        status = cli_fail(&cmd_eval, "no image of %s has a label below the model's %d classes", data, e.classes);
    } else {
        status = CLI_DONE;
        json ? print_json(&e) : print_text(&e, set, detect);
    }
    evaluation_free(&e);
    fv_dataset_free(set);
    fv_model_free(model);
    fv_context_free(context);
    return status;
}

const cli_command cmd_eval = {"eval", "F.onnx --data D [OPTIONS]",
                              "Measures a model on a data set: loss, accuracy, confusion matrix.\n"
                              "Of an autoencoder: the squared error of its output and of its noisy input, a value.",
                              "  fovea eval m.onnx --data fashion-mnist\n"
                              "  fovea eval m.onnx --data idx:data/fashion-mnist-sample --json | jq .accuracy\n"
                              "  fovea eval ae.onnx --data fashion-mnist --noise 0.3\n"
                              "  fovea eval bag.onnx --data fashion-mnist --detect 8\n",
                              run};
