#include "restore.h"

#include "evaluate.h"
#include "picture.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

enum { CLEAN, NOISY, OUTPUT, ROWS };

typedef struct work {
    const restore *r;
    fv_tensor shape; /* (1,C,H,W) */
    size_t values;   /* of an image */
    float *rows[ROWS];
    fv_session *session;
    int64_t planned;
    json_t *list;
} work;

/* Image i through the network, from rows[NOISY] to rows[OUTPUT]. */
static fv_status run_one(work *w, size_t i) {
    fv_tensor x = w->shape;
    x.data = w->rows[NOISY] + i * w->values;
    return run_batch(w->r->model, w->r->settings, &x, &w->session, &w->planned, w->rows[OUTPUT] + i * w->values);
}

static fv_status run_items(work *w) {
    fv_loader *loader = NULL;
    fv_status status = open_images(w->r->set, 1, w->r->noise, w->r->seed, &loader);
    for (size_t i = 0; i < w->r->count && status == FV_OK; i++) {
        fv_tensor x, labels, clean;
        status = fv_loader_next(loader, &x, &labels);
        if (status == FV_OK) status = fv_loader_clean(loader, &clean);
        if (status != FV_OK) break;
        memcpy(w->rows[CLEAN] + i * w->values, clean.data, w->values * sizeof(float));
        memcpy(w->rows[NOISY] + i * w->values, x.data, w->values * sizeof(float));
        status = run_one(w, i);
    }
    fv_loader_free(loader);
    return status;
}

static fv_status run_files(work *w) {
    fv_status status = FV_OK;
    for (size_t i = 0; i < w->r->count && status == FV_OK; i++) {
        fv_image read = {0}, image = {0};
        status = fv_image_read(w->r->context, w->r->files[i], (int32_t)w->shape.shape[1], &read);
        if (status == FV_OK)
            status =
                fv_image_resize(w->r->context, &read, (int32_t)w->shape.shape[2], (int32_t)w->shape.shape[3], &image);
        for (size_t k = 0; status == FV_OK && k < w->values; k++)
            w->rows[NOISY][i * w->values + k] = w->rows[CLEAN][i * w->values + k] =
                (float)image.pixels[k] * (1.0f / 255.0f);
        if (status == FV_OK) status = run_one(w, i);
        fv_image_free(&read);
        fv_image_free(&image);
    }
    return status;
}

/* Squared errors a value; of a file the clean image is not known. */
static void report_one(work *w, size_t i) {
    const float *clean = w->rows[CLEAN] + i * w->values;
    const double output = squared_error(w->rows[OUTPUT] + i * w->values, clean, w->values);
    const double input = squared_error(w->rows[NOISY] + i * w->values, clean, w->values);
    char source[4096];
    if (w->r->files)
        snprintf(source, sizeof source, "%s", w->r->files[i]);
    else
        snprintf(source, sizeof source, "image %zu", i);
    if (w->r->json)
        json_array_append_new(w->list, json_pack("{s:s, s:f, s:f}", "source", source, "output_squared_error", output,
                                                 "input_squared_error", input));
    else if (w->r->noise > 0)
        printf("%s: squared error %.5f, of the noisy image %.5f\n", source, output, input);
    else
        printf("%s: squared difference of output and input %.5f\n", source, output);
}

static uint8_t byte_of(float v) { return v >= 1 ? 255 : v > 0 ? (uint8_t)(255 * v + 0.5f) : 0; }

static bool fill_band(const work *w, const float *row, picture_band *b) {
    const size_t count = w->r->count;
    b->count = count;
    b->cells = calloc(count, sizeof *b->cells);
    b->pixels = malloc(count * w->values);
    if (!b->cells || !b->pixels) return false;
    for (size_t i = 0; i < count * w->values; i++) b->pixels[i] = byte_of(row[i]);
    for (size_t i = 0; i < count; i++)
        b->cells[i] = (picture_cell){.pixels = b->pixels + i * w->values,
                                     .height = (int32_t)w->shape.shape[2],
                                     .width = (int32_t)w->shape.shape[3],
                                     .channels = (int32_t)w->shape.shape[1]};
    return true;
}

static int draw(const work *w) {
    picture_band bands[ROWS] = {{.title = "clean"}, {.title = "noisy"}, {.title = "output"}};
    const size_t first = w->r->noise > 0 ? CLEAN : NOISY;
    const char *why = "out of memory";
    bool ok = true;
    if (first == NOISY) snprintf(bands[NOISY].title, sizeof bands[NOISY].title, "input");
    for (size_t k = first; k < ROWS && ok; k++) ok = fill_band(w, w->rows[k], &bands[k]);
    ok = ok && picture_bands(bands + first, ROWS - first, w->r->out, &why);
    for (size_t k = 0; k < ROWS; k++) {
        free(bands[k].cells);
        free(bands[k].pixels);
    }
    return ok ? CLI_DONE : cli_fail(&cmd_predict, "%s", why);
}

static int report(work *w) {
    w->list = json_array();
    for (size_t i = 0; i < w->r->count; i++) report_one(w, i);
    if (w->r->json) {
        json_dumpf(w->list, stdout, JSON_INDENT(2));
        putchar('\n');
    }
    json_decref(w->list);
    return w->r->out ? draw(w) : CLI_DONE;
}

int restore_images(const restore *r) {
    work w = {.r = r};
    int status = -1;
    if (fv_model_input(r->model, 0, NULL, &w.shape) != FV_OK) return cli_library(&cmd_predict);
    w.shape.shape[0] = 1;
    w.shape.layout = FV_NHWC;
    if (fv_tensor_count(&w.shape, &w.values) != FV_OK) return cli_library(&cmd_predict);
    for (size_t k = 0; k < ROWS; k++)
        if (!(w.rows[k] = calloc(r->count * w.values, sizeof(float)))) status = cli_fail(&cmd_predict, "out of memory");
    if (status < 0 && (r->set ? run_items(&w) : run_files(&w)) != FV_OK) status = cli_library(&cmd_predict);
    if (status < 0) status = report(&w);
    fv_session_free(w.session);
    for (size_t k = 0; k < ROWS; k++) free(w.rows[k]);
    return status;
}
