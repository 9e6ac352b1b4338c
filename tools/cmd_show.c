#include "cli.h"
#include "picture.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { most_maps = 512, vector_columns = 64 };

typedef struct show {
    const char *model_file, *image_file, *data, *out, *size;
    int64_t index, maps;
    fv_context *context;
    fv_model *model, *exposed;
    fv_dataset *set;
    picture_band *bands; /* filters, the image, a band a layer */
    size_t band_count;
} show;

static int no_memory(void) { return cli_fail(&cmd_show, "out of memory"); }

/* ---- bands ---- */

/* Adds a band of `count` cells of height x width x channels; NULL when out of memory. */
static picture_band *add_band(show *s, size_t count, int32_t height, int32_t width, int32_t channels) {
    picture_band *bands = realloc(s->bands, (s->band_count + 1) * sizeof *bands);
    if (!bands) return NULL;
    s->bands = bands;
    picture_band *b = &bands[s->band_count];
    const size_t bytes = (size_t)height * (size_t)width * (size_t)channels;
    *b = (picture_band){.cells = calloc(count, sizeof *b->cells), .pixels = calloc(count, bytes), .count = count};
    s->band_count++; /* freed with the others */
    if (!b->cells || !b->pixels) return NULL;
    for (size_t i = 0; i < count; i++)
        b->cells[i] =
            (picture_cell){.pixels = b->pixels + i * bytes, .height = height, .width = width, .channels = channels};
    return b;
}

static void free_bands(show *s) {
    for (size_t i = 0; i < s->band_count; i++) {
        free(s->bands[i].cells);
        free(s->bands[i].pixels);
    }
    free(s->bands);
}

static uint8_t scaled(float v, float low, float high) {
    const float share = high > low ? (v - low) / (high - low) : 0.5f;
    return share >= 1 ? 255 : share > 0 ? (uint8_t)(255 * share + 0.5f) : 0;
}

/* ---- first-layer filters ---- */

/* The weight (K,C,kh,kw) that reads the model's input; false: none. */
static bool first_filters(const fv_model *m, int64_t channels, const char **name, fv_tensor *weight) {
    for (size_t i = 0; i < fv_model_parameter_count(m); i++)
        if (fv_model_parameter(m, i, name, weight, NULL) == FV_OK && weight->rank == 4 &&
            weight->shape[1] == channels && weight->shape[2] * weight->shape[3] > 1)
            return true;
    return false;
}

/* Zero is middle grey. Three input channels are colours; of others each has a cell of its own. */
static int add_filters(show *s, const fv_tensor *input) {
    fv_tensor w;
    const char *name = "";
    if (!first_filters(s->model, input->shape[1], &name, &w)) return -1;
    const bool color = w.shape[1] == 3;
    const int64_t taps = w.shape[2] * w.shape[3], channels = color ? 3 : 1;
    const int64_t all = w.shape[0] * w.shape[1] / channels, shown = all < s->maps ? all : s->maps;
    picture_band *b = add_band(s, (size_t)shown, (int32_t)w.shape[2], (int32_t)w.shape[3], (int32_t)channels);
    if (!b) return no_memory();
    const float *v = w.data;
    float most = 0;
    for (int64_t i = 0; i < w.shape[0] * w.shape[1] * taps; i++) most = fmaxf(most, fabsf(v[i]));
    for (int64_t i = 0; i < shown; i++)
        for (int64_t c = 0; c < channels; c++)
            for (int64_t t = 0; t < taps; t++)
                b->pixels[(i * taps + t) * channels + c] = scaled(v[(i * channels + c) * taps + t], -most, most);
    snprintf(b->title, sizeof b->title, "%.80s: %lldx%lldx%lldx%lld, largest %.3g%s", name, (long long)w.shape[0],
             (long long)w.shape[1], (long long)w.shape[2], (long long)w.shape[3], (double)most,
             shown < all ? " (first ones)" : "");
    return -1;
}

/* ---- the image and what the layers make of it ---- */

static int read_image(show *s, const fv_tensor *input, fv_image *image) {
    fv_image read;
    if (fv_image_read(s->context, s->image_file, (int32_t)input->shape[1], &read) != FV_OK)
        return cli_library(&cmd_show);
    const fv_status status =
        fv_image_resize(s->context, &read, (int32_t)input->shape[2], (int32_t)input->shape[3], image);
    fv_image_free(&read);
    return status == FV_OK ? -1 : cli_library(&cmd_show);
}

static int read_item(show *s, const fv_tensor *input, fv_image *image) {
    fv_dataset_settings settings;
    fv_dataset_info info;
    const uint8_t *pixels;
    fv_dataset_settings_default(&settings);
    settings.test = true;
    const int status = cli_size(&cmd_show, s->size, &settings.height, &settings.width);
    if (status >= 0) return status;
    if (fv_dataset_open(s->context, s->data, &settings, &s->set) != FV_OK ||
        fv_dataset_get_info(s->set, &info) != FV_OK || fv_dataset_item(s->set, s->index, &pixels, NULL) != FV_OK)
        return cli_library(&cmd_show);
    if (info.channels != input->shape[1] || info.height != input->shape[2] || info.width != input->shape[3])
        return cli_fail(&cmd_show, "the images are %dx%d with %d channels, but the model takes %lldx%lld with %lld",
                        info.height, info.width, info.channels, (long long)input->shape[2], (long long)input->shape[3],
                        (long long)input->shape[1]);
    *image = (fv_image){info.height, info.width, info.channels, (uint8_t *)(uintptr_t)pixels, NULL};
    return -1;
}

static int add_image(show *s, const fv_image *image) {
    picture_band *b = add_band(s, 1, image->height, image->width, image->channels);
    if (!b) return no_memory();
    memcpy(b->pixels, image->pixels, (size_t)image->height * (size_t)image->width * (size_t)image->channels);
    snprintf(b->title, sizeof b->title, "input: %dx%dx%d", image->channels, image->height, image->width);
    return -1;
}

/* One layer: its maps, or its vector in rows of 64, from the layer's smallest value (black) to its largest (white). */
static int add_layer(show *s, const char *name, const fv_tensor *y) {
    const float *v = y->data;
    size_t count = 1;
    for (int32_t i = 1; i < y->rank; i++) count *= (size_t)y->shape[i];
    const bool maps = y->rank == 4;
    const int64_t all = maps ? y->shape[1] : 1, shown = all < s->maps ? all : s->maps;
    const size_t columns = count < vector_columns ? count : vector_columns;
    const int32_t height = maps ? (int32_t)y->shape[2] : (int32_t)((count + columns - 1) / columns);
    const int32_t width = maps ? (int32_t)y->shape[3] : (int32_t)columns;
    picture_band *b = add_band(s, (size_t)shown, height, width, 1);
    if (!b) return no_memory();
    float low = INFINITY, high = -INFINITY;
    for (size_t i = 0; i < count; i++) {
        low = fminf(low, v[i]);
        high = fmaxf(high, v[i]);
    }
    const size_t pixels = (size_t)shown * (size_t)height * (size_t)width;
    for (size_t i = 0; i < pixels; i++) b->pixels[i] = i < count ? scaled(v[i], low, high) : 255;
    int used = snprintf(b->title, sizeof b->title, "%.80s: ", name);
    for (int32_t i = 1; i < y->rank; i++)
        used += snprintf(b->title + used, sizeof b->title - (size_t)used, "%s%lld", i > 1 ? "x" : "",
                         (long long)y->shape[i]);
    snprintf(b->title + used, sizeof b->title - (size_t)used, ", %.3g to %.3g%s", (double)low, (double)high,
             shown < all ? " (first ones)" : "");
    return -1;
}

/* Outputs of the exposed model with memory; *count of them. */
static fv_status make_outputs(const show *s, fv_tensor **out, size_t *count) {
    *count = fv_model_output_count(s->exposed);
    fv_tensor *outputs = *out = calloc(*count, sizeof *outputs);
    for (size_t i = 0; i < *count; i++) {
        size_t elements;
        if (!outputs || fv_model_output(s->exposed, i, NULL, &outputs[i]) != FV_OK) return FV_ERR_MEMORY;
        outputs[i].shape[0] = 1;
        if (fv_tensor_count(&outputs[i], &elements) != FV_OK) return FV_ERR_LIMIT;
        outputs[i].data = malloc(elements * sizeof(float));
        if (!outputs[i].data) return FV_ERR_MEMORY;
    }
    return FV_OK;
}

/* The image through the network; bands in the order of the layers, the model's own outputs last. */
static int run_layers(show *s, const fv_tensor *input, fv_tensor *outputs, size_t count) {
    fv_session *session = NULL;
    int status = -1;
    if (fv_session_create(s->exposed, NULL, &session) != FV_OK ||
        fv_session_run(session, input, 1, outputs, count) != FV_OK)
        status = cli_library(&cmd_show);
    const size_t own = fv_model_output_count(s->model);
    for (size_t i = 0; status < 0 && i < count; i++) {
        const size_t k = (i + own) % count;
        const char *name = "";
        (void)fv_model_output(s->exposed, k, &name, NULL);
        if (outputs[k].rank == 4 || outputs[k].rank == 2) status = add_layer(s, name, &outputs[k]);
    }
    fv_session_free(session);
    return status;
}

static int add_layers(show *s, fv_tensor *input, const fv_image *image) {
    const size_t pixels = (size_t)image->height * (size_t)image->width, channels = (size_t)image->channels;
    fv_tensor *outputs = NULL;
    size_t count = 0;
    float *x = malloc(pixels * channels * sizeof *x);
    int status = -1;
    if (fv_model_expose(s->model, &s->exposed) != FV_OK) status = cli_library(&cmd_show);
    if (status < 0 && (!x || make_outputs(s, &outputs, &count) != FV_OK)) status = no_memory();
    for (size_t i = 0; status < 0 && i < pixels * channels; i++)
        x[i] = (float)image->pixels[i % pixels * channels + i / pixels] * (1.0f / 255.0f);
    input->shape[0] = 1;
    input->data = x;
    if (status < 0) status = run_layers(s, input, outputs, count);
    for (size_t i = 0; outputs && i < count; i++) free(outputs[i].data);
    free(outputs);
    free(x);
    return status;
}

static int draw(show *s) {
    fv_tensor input;
    fv_image image = {0};
    const char *why = "";
    if (fv_model_load(s->context, s->model_file, &s->model) != FV_OK ||
        fv_model_input(s->model, 0, NULL, &input) != FV_OK)
        return cli_library(&cmd_show);
    if (input.rank != 4)
        return cli_fail(&cmd_show, "%s takes no images: its input has rank %d", s->model_file, input.rank);
    if (fv_model_input_count(s->model) != 1) return cli_fail(&cmd_show, "%s has several inputs", s->model_file);
    int status = add_filters(s, &input);
    if (status < 0 && s->image_file) status = read_image(s, &input, &image);
    if (status < 0 && s->data) status = read_item(s, &input, &image);
    if (status < 0 && image.pixels) status = add_image(s, &image);
    if (status < 0 && image.pixels) status = add_layers(s, &input, &image);
    fv_image_free(&image);
    if (status >= 0) return status;
    if (s->band_count == 0)
        return cli_fail(&cmd_show, "%s has no convolution to show; give an image for its layers", s->model_file);
    return picture_bands(s->bands, s->band_count, s->out, &why) ? CLI_DONE : cli_fail(&cmd_show, "%s", why);
}

static int run(int argc, char **argv) {
    cli_compute compute = {0};
    show s = {.maps = 16, .index = -1};
    const cli_option options[] = {
        {"out", "F.png", CLI_TEXT, &s.out, 0, 0, "the picture to write (needed)"},
        {"data", "D", CLI_TEXT, &s.data, 0, 0, "a test image of a data set instead of a file"},
        {"index", "N", CLI_INT, &s.index, 0, 1e12, "which of them (default 0)"},
        {"size", "H,W", CLI_TEXT, &s.size, 0, 0, "folder: scale the images to this"},
        {"maps", "N", CLI_INT, &s.maps, 1, most_maps, "filters and maps of a layer to draw, at most (default 16)"},
        CLI_IMAGE_OPTIONS(&compute),
        CLI_END,
    };
    int positional;
    int status = cli_parse(&cmd_show, options, argc, argv, &positional);
    if (status >= 0) return status;
    if (positional < 1 || positional > 2) return cli_usage(&cmd_show, "needs a model file and at most one image");
    s.model_file = argv[1];
    s.image_file = positional == 2 ? argv[2] : NULL;
    if (!s.out) return cli_usage(&cmd_show, "needs --out F.png");
    if (s.image_file && s.data) return cli_usage(&cmd_show, "takes an image or --data, not both");
    if (!s.data && (s.size || s.index >= 0)) return cli_usage(&cmd_show, "--index and --size go with --data");
    if (s.index < 0) s.index = 0;
    if (!picture_available())
        return cli_fail(&cmd_show, "needs a build with cairo (apt-get install libcairo2-dev, then build again)");
    status = cli_context(&cmd_show, &compute, &s.context);
    if (status < 0) status = draw(&s);
    free_bands(&s);
    fv_dataset_free(s.set);
    fv_model_free(s.exposed);
    fv_model_free(s.model);
    fv_context_free(s.context);
    return status;
}

const cli_command cmd_show = {
    "show", "F.onnx [IMAGE | --data D] --out F.png [OPTIONS]",
    "Draws a network's first-layer filters and what every layer makes of an image, as one picture.\n"
    "Filters: zero is middle grey. Layers: from the smallest value (black) to the largest (white) of the layer, which\n"
    "stand beside its name and shape.",
    "  fovea show m.onnx --data fashion-mnist --index 7 --out layers.png\n"
    "  fovea show m.onnx shoe.png --maps 32 --out layers.png\n"
    "  fovea show m.onnx --out filters.png\n",
    run};
