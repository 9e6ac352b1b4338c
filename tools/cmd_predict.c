#include "cli.h"
#include "evaluate.h"
#include "picture.h"
#include "restore.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

enum { max_pictures = 600 };

typedef struct prediction {
    const char *source; /* file, or NULL: number of the data set */
    int64_t number;
    int32_t label; /* -1: unknown */
    const uint8_t *pixels;
    int32_t height, width, channels;
    float *probability; /* [classes] */
} prediction;

typedef struct predict {
    fv_context *context;
    fv_model *model;
    model_kind kind;
    fv_dataset *set;
    const char *labels_file, *out;
    char **names;
    int32_t name_count, classes;
    int64_t top;
    bool json;
    double noise;
    uint64_t seed;
    fv_session_settings settings;
    fv_session *session;
    int64_t planned;
} predict;

static int read_labels(predict *p) {
    FILE *f = p->labels_file ? fopen(p->labels_file, "r") : NULL;
    if (!p->labels_file) return -1;
    if (!f) return cli_fail(&cmd_predict, "cannot read %s: %s", p->labels_file, strerror(errno));
    p->names = calloc((size_t)p->classes, sizeof *p->names);
    char line[256];
    while (p->names && p->name_count < p->classes && fgets(line, sizeof line, f)) {
        line[strcspn(line, "\r\n")] = '\0';
        if (!(p->names[p->name_count] = strdup(line))) break;
        p->name_count++;
    }
    fclose(f);
    if (p->name_count < p->classes)
        return cli_fail(&cmd_predict, "%s has %d lines, the model has %d classes", p->labels_file, p->name_count,
                        p->classes);
    return -1;
}

static void class_name(const predict *p, int32_t label, char *out, size_t size) {
    const char *known = label < p->name_count      ? p->names[label]
                        : p->set && !p->name_count ? fv_dataset_class_name(p->set, label)
                                                   : NULL;
    if (known)
        snprintf(out, size, "%s", known);
    else
        snprintf(out, size, "%d", label);
}

/* One image (H,W,C) of bytes through the network. */
static fv_status run_pixels(predict *p, const uint8_t *pixels, const fv_tensor *input, float *probability) {
    const int64_t count = input->shape[1] * input->shape[2] * input->shape[3];
    float *x = malloc((size_t)count * sizeof *x);
    if (!x) return FV_ERR_MEMORY;
    for (int64_t i = 0; i < count; i++) x[i] = (float)pixels[i] * (1.0f / 255.0f);
    fv_tensor tensor = *input;
    tensor.shape[0] = 1;
    tensor.layout = FV_NHWC;
    tensor.data = x;
    const fv_status status = run_batch(p->model, &p->settings, &tensor, &p->session, &p->planned, probability);
    free(x);
    if (status == FV_OK && p->classes > 1)
        to_probabilities(probability, p->classes, fv_model_gives_probabilities(p->model));
    return status;
}

static int32_t next_best(const float *probability, int32_t classes, const bool *taken) {
    int32_t best = -1;
    for (int32_t i = 0; i < classes; i++)
        if (!taken[i] && (best < 0 || probability[i] > probability[best])) best = i;
    return best;
}

static void source_name(const prediction *r, char *out, size_t size) {
    if (r->source)
        snprintf(out, size, "%s", r->source);
    else
        snprintf(out, size, "image %lld", (long long)r->number);
}

/* Of a network of one unit. */
static json_t *print_value(const predict *p, const prediction *r) {
    char source[4096], name[256];
    source_name(r, source, sizeof source);
    if (!p->json) printf("%s: %.4f", source, (double)r->probability[0]);
    if (!p->json && r->label >= 0) {
        class_name(p, r->label, name, sizeof name);
        printf("  (is %s)", name);
    }
    if (!p->json) putchar('\n');
    json_t *o = json_pack("{s:s, s:f}", "source", source, "value", (double)r->probability[0]);
    if (r->label >= 0) json_object_set_new(o, "label", json_integer(r->label));
    return o;
}

static json_t *print_one(const predict *p, const prediction *r) {
    char source[4096], name[256];
    source_name(r, source, sizeof source);
    bool *taken = calloc((size_t)p->classes, sizeof *taken);
    json_t *classes = json_array();
    if (!p->json) printf("%s:", source);
    for (int64_t k = 0; taken && k < p->top && k < p->classes; k++) {
        const int32_t best = next_best(r->probability, p->classes, taken);
        taken[best] = true;
        class_name(p, best, name, sizeof name);
        if (!p->json) printf("%s %s %.1f %%", k ? "," : "", name, 100.0 * r->probability[best]);
        json_array_append_new(classes, json_pack("{s:s, s:i, s:f}", "name", name, "class", best, "probability",
                                                 (double)r->probability[best]));
    }
    free(taken);
    if (!p->json && r->label >= 0) {
        class_name(p, r->label, name, sizeof name);
        printf("  (is %s)", name);
    }
    if (!p->json) putchar('\n');
    json_t *o = json_pack("{s:s, s:o}", "source", source, "classes", classes);
    if (r->label >= 0) json_object_set_new(o, "label", json_integer(r->label));
    return o;
}

static int draw(const predict *p, const prediction *all, size_t count) {
    picture_cell *cells = calloc(count, sizeof *cells);
    if (!cells) return cli_fail(&cmd_predict, "out of memory");
    for (size_t i = 0; i < count; i++) {
        const prediction *r = &all[i];
        const int32_t best = largest(r->probability, p->classes);
        const bool value = p->kind == GIVES_VALUE;
        char name[40];
        if (!value) class_name(p, best, name, sizeof name);
        cells[i] = (picture_cell){.pixels = r->pixels,
                                  .height = r->height,
                                  .width = r->width,
                                  .channels = r->channels,
                                  .right = best == r->label,
                                  .judged = r->label >= 0 && !value};
        if (value)
            snprintf(cells[i].title, sizeof cells[i].title, "%.3f", (double)r->probability[0]);
        else
            snprintf(cells[i].title, sizeof cells[i].title, "%s %.0f %%", name, 100.0 * r->probability[best]);
        if (r->label >= 0 && (value || best != r->label)) {
            class_name(p, r->label, name, sizeof name);
            snprintf(cells[i].detail, sizeof cells[i].detail, "is %s", name);
        }
    }
    const char *why = "";
    const bool ok = picture_grid(cells, count, p->out, &why);
    free(cells);
    return ok ? CLI_DONE : cli_fail(&cmd_predict, "%s", why);
}

static int report(const predict *p, const prediction *all, size_t count) {
    json_t *array = json_array();
    for (size_t i = 0; i < count; i++)
        json_array_append_new(array, p->kind == GIVES_VALUE ? print_value(p, &all[i]) : print_one(p, &all[i]));
    if (p->json) {
        json_dumpf(array, stdout, JSON_INDENT(2));
        putchar('\n');
    }
    json_decref(array);
    return p->out ? draw(p, all, count) : CLI_DONE;
}

/* Reads file i as the model wants it; *image keeps the pixels. */
static fv_status predict_file(predict *p, const char *path, const fv_tensor *input, fv_image *image, prediction *r) {
    fv_image read;
    fv_status status = fv_image_read(p->context, path, (int32_t)input->shape[1], &read);
    if (status != FV_OK) return status;
    status = fv_image_resize(p->context, &read, (int32_t)input->shape[2], (int32_t)input->shape[3], image);
    fv_image_free(&read);
    if (status != FV_OK) return status;
    *r = (prediction){path, 0, -1, image->pixels, image->height, image->width, image->channels, r->probability};
    return run_pixels(p, image->pixels, input, r->probability);
}

static fv_status predict_item(predict *p, int64_t i, const fv_tensor *input, prediction *r) {
    fv_dataset_info info;
    const uint8_t *pixels;
    int32_t label;
    fv_status status = fv_dataset_get_info(p->set, &info);
    if (status == FV_OK) status = fv_dataset_item(p->set, i, &pixels, &label);
    if (status != FV_OK) return status;
    const bool known = label < p->classes || p->kind == GIVES_VALUE;
    *r = (prediction){NULL, i, known ? label : -1, pixels, info.height, info.width, info.channels, r->probability};
    return run_pixels(p, pixels, input, r->probability);
}

static int predict_all(predict *p, char **files, size_t count, const fv_tensor *input) {
    prediction *all = calloc(count, sizeof *all);
    fv_image *images = calloc(count, sizeof *images);
    float *probability = calloc(count * (size_t)p->classes, sizeof *probability);
    int status = all && images && probability ? -1 : cli_fail(&cmd_predict, "out of memory");
    for (size_t i = 0; status < 0 && i < count; i++) {
        all[i].probability = probability + i * (size_t)p->classes;
        const fv_status done =
            files ? predict_file(p, files[i], input, &images[i], &all[i]) : predict_item(p, (int64_t)i, input, &all[i]);
        if (done != FV_OK) status = cli_library(&cmd_predict);
    }
    if (status < 0) status = report(p, all, count);
    for (size_t i = 0; images && i < count; i++) fv_image_free(&images[i]);
    free(images);
    free(all);
    free(probability);
    return status;
}

static int predict_with(predict *p, char **files, size_t count) {
    fv_tensor input;
    const char *why;
    if (fv_model_input(p->model, 0, NULL, &input) != FV_OK) return cli_library(&cmd_predict);
    fv_dataset_info info = {0, 1, 1, 1, 1};
    if (input.rank == 4)
        info = (fv_dataset_info){0, (int32_t)input.shape[1], (int32_t)input.shape[2], (int32_t)input.shape[3], 1};
    if (p->set && fv_dataset_get_info(p->set, &info) != FV_OK) return cli_library(&cmd_predict);
    if (fits(p->model, info.channels, info.height, info.width, &p->kind, &p->classes, &why) != FV_OK)
        return cli_fail(&cmd_predict, "%s", why);
    if (!p->set && input.shape[1] != 1 && input.shape[1] != 3)
        return cli_fail(&cmd_predict, "the model takes %lld channels; images have 1 or 3", (long long)input.shape[1]);
    if (p->set && (int64_t)count > info.count) count = (size_t)info.count;
    if (p->kind == GIVES_IMAGES) {
        const restore r = {p->context, p->model, &p->settings, p->set, p->set ? NULL : files, count, (float)p->noise,
                           p->seed,    p->json,  p->out};
        if (p->labels_file) return cli_fail(&cmd_predict, "--labels is for classes; this network gives images");
        return restore_images(&r);
    }
    if (p->noise > 0)
        return cli_fail(&cmd_predict, "--noise is for networks that give images; this one gives %s",
                        p->kind == GIVES_VALUE ? "one value" : "classes");
    const int status = read_labels(p);
    if (status >= 0) return status;
    return predict_all(p, p->set ? NULL : files, count, &input);
}

static int open_inputs(predict *p, const cli_compute *compute, const char *model, const char *data, const char *size) {
    fv_dataset_settings s;
    fv_dataset_settings_default(&s);
    s.test = true;
    int status = cli_size(&cmd_predict, size, &s.height, &s.width);
    if (status < 0) status = cli_session(&cmd_predict, compute, &p->settings);
    if (status < 0) status = cli_context(&cmd_predict, compute, &p->context);
    if (status >= 0) return status;
    if (fv_model_load(p->context, model, &p->model) != FV_OK) return cli_library(&cmd_predict);
    if (data && fv_dataset_open(p->context, data, &s, &p->set) != FV_OK) return cli_library(&cmd_predict);
    return -1;
}

static int run(int argc, char **argv) {
    cli_compute compute = {0};
    predict p = {.top = 3, .seed = 1};
    const char *data = NULL, *size = NULL;
    int64_t count = 12;
    const cli_option options[] = {
        {"data", "D", CLI_TEXT, &data, 0, 0, "the first test images of a data set instead of files"},
        {"count", "N", CLI_INT, &count, 1, max_pictures, "how many of them (default 12)"},
        {"size", "H,W", CLI_TEXT, &size, 0, 0, "folder: scale the images to this"},
        {"top", "K", CLI_INT, &p.top, 1, 1e6, "classes to show (default 3)"},
        {"noise", "SIGMA", CLI_REAL, &p.noise, 0, 1e6,
         "autoencoders: normal noise of this deviation on the images of --data, whose numbers go from 0 to 1"},
        {"seed", "N", CLI_SEED, &p.seed, 0, 0, "seed of the noise (default 1)"},
        {"labels", "F", CLI_TEXT, &p.labels_file, 0, 0, "class names, a line each"},
        {"out", "F.png", CLI_TEXT, &p.out, 0, 0,
         "a picture of the images with their labels; of an autoencoder rows: clean, noisy, output"},
        {"json", NULL, CLI_FLAG, &p.json, 0, 0,
         "an array of {source, classes, label}; of an autoencoder {source, squared errors}"},
        CLI_COMPUTE_OPTIONS(&compute),
        CLI_PLAN_OPTIONS(&compute),
        CLI_END,
    };
    int positional;
    int status = cli_parse(&cmd_predict, options, argc, argv, &positional);
    if (status >= 0) return status;
    if (positional < 1 || (positional == 1) == !data)
        return cli_usage(&cmd_predict, "needs a model file and either images or --data; see fovea predict --help");
    if (p.noise > 0 && !data)
        return cli_usage(&cmd_predict, "--noise goes with --data; images of files are taken as they are");
    if (p.out && !picture_available())
        return cli_fail(&cmd_predict,
                        "--out needs a build with cairo (apt-get install libcairo2-dev, then build again)");
    status = open_inputs(&p, &compute, argv[1], data, size);
    if (status < 0) status = predict_with(&p, argv + 2, data ? (size_t)count : (size_t)positional - 1);
    for (int32_t i = 0; i < p.name_count; i++) free(p.names[i]);
    free(p.names);
    fv_session_free(p.session);
    fv_dataset_free(p.set);
    fv_model_free(p.model);
    fv_context_free(p.context);
    return status;
}

const cli_command cmd_predict = {
    "predict", "F.onnx IMAGE... | F.onnx --data D [OPTIONS]",
    "Classifies PNG and JPEG images, or test images of a data set; what gives images draws them.\n"
    "Images are scaled to the model's input and to numbers from 0 to 1.",
    "  fovea predict m.onnx shirt.png shoe.jpg\n"
    "  fovea predict m.onnx --data fashion-mnist --count 12 --out picture.png\n"
    "  fovea predict ae.onnx --data fashion-mnist --noise 0.3 --count 16 --out rows.png\n",
    run};
