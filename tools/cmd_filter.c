#include "cli.h"

#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { largest_side = 63, jpeg_quality = 95 };

typedef enum border { VALID, ZERO, REFLECT } border;
static const char *const border_names[] = {"valid", "zero", "reflect"};

typedef struct kernel {
    int32_t height, width;
    float weight[largest_side * largest_side];
    float divisor; /* the sum where that is positive, else 1 */
} kernel;

typedef struct filter {
    const char *in, *out, *kernel_text, *border_text;
    int64_t stride, levels;
    bool convolve, absolute, json;
    border border;
    kernel kernel;
    fv_context *context;
    json_t *written;
} filter;

/* gauss5 is the lecture's: it sums to 56 and is not symmetric, which tells convolution from correlation. */
static const struct {
    const char *name, *text;
} named[] = {
    {"box3", "1 1 1; 1 1 1; 1 1 1"},
    {"box5", "1 1 1 1 1; 1 1 1 1 1; 1 1 1 1 1; 1 1 1 1 1; 1 1 1 1 1"},
    {"gauss3", "1 2 1; 2 4 2; 1 2 1"},
    {"gauss5", "0 1 2 1 0; 1 3 4 3 1; 2 5 9 5 2; 1 3 5 3 1; 0 1 2 1 0"},
    {"binomial5", "1 4 6 4 1; 4 16 24 16 4; 6 24 36 24 6; 4 16 24 16 4; 1 4 6 4 1"},
    {"sobel-x", "-1 0 1; -2 0 2; -1 0 1"},
    {"sobel-y", "-1 -2 -1; 0 0 0; 1 2 1"},
    {"laplace", "0 1 0; 1 -4 1; 0 1 0"},
    {"sharpen", "0 -1 0; -1 5 -1; 0 -1 0"},
    {"emboss", "-2 -1 0; -1 1 1; 0 1 2"},
};
enum { named_count = sizeof named / sizeof *named };

/* ---- the kernel ---- */

/* One row of numbers, separated by spaces or commas, up to ';' or the end. Returns where it ends, NULL with a message.
 */
static const char *parse_row(kernel *k, const char *text, const char *whole) {
    int32_t count = 0;
    for (;;) {
        text += strspn(text, " ,\t");
        if (*text == ';' || *text == '\0') break;
        char *end;
        const double value = strtod(text, &end);
        if (end == text || !isfinite((float)value) || !strchr(" ,\t;", *end)) {
            cli_usage(&cmd_filter, "--kernel \"%s\": \"%.*s\" is not a number", whole, (int)strcspn(text, " ,\t;"),
                      text);
            return NULL;
        }
        if (count == largest_side) {
            cli_usage(&cmd_filter, "--kernel: a row has more than %d numbers", largest_side);
            return NULL;
        }
        k->weight[k->height * largest_side + count++] = (float)value;
        text = end;
    }
    if (k->height == 0) k->width = count;
    if (count == 0 || count != k->width) {
        cli_usage(&cmd_filter, "--kernel \"%s\": row %d has %d numbers, %s", whole, k->height + 1, count,
                  count == 0 ? "but needs some" : "unlike the first");
        return NULL;
    }
    return text;
}

static int parse_kernel(const char *text, kernel *k) {
    const char *rows = text;
    char names[256] = "";
    for (size_t i = 0; i < named_count; i++) {
        if (strcmp(named[i].name, text) == 0) rows = named[i].text;
        const size_t used = strlen(names);
        snprintf(names + used, sizeof names - used, "%s%s", i ? ", " : "", named[i].name);
    }
    if (rows == text && !strpbrk(text, "0123456789"))
        return cli_usage(&cmd_filter, "unknown kernel \"%s\": there are %s, or rows of numbers such as \"0 1;1 0\"",
                         text, names);
    *k = (kernel){0};
    double sum = 0, size = 0;
    for (const char *at = rows;; at++) {
        if (k->height == largest_side) return cli_usage(&cmd_filter, "--kernel has more than %d rows", largest_side);
        at = parse_row(k, at, text);
        if (!at) return CLI_USAGE;
        k->height++;
        if (*at == '\0') break;
    }
    for (int32_t y = 0; y < k->height; y++)
        for (int32_t x = 0; x < k->width; x++) {
            const float w = k->weight[y * largest_side + x];
            k->weight[y * k->width + x] = w; /* rows close up */
            sum += (double)w;
            size += fabs((double)w);
        }
    k->divisor = sum > 1e-6 * size ? (float)sum : 1;
    return -1;
}

/* ---- the convolution: the library's, each colour an image of one map ---- */

static fv_status make_session(const filter *f, const int64_t shape[4], int32_t stride, fv_session **session,
                              fv_tensor *output) {
    const kernel *k = &f->kernel;
    const int64_t open[4] = {0, 1, shape[2], shape[3]}, weight[4] = {1, 1, k->height, k->width};
    fv_conv_settings conv;
    fv_conv_settings_default(&conv);
    conv.true_convolution = f->convolve;
    for (int i = 0; i < 2; i++) {
        const int32_t size = i ? k->width : k->height;
        conv.kernel[i] = size;
        conv.stride[i] = stride;
        conv.pad_before[i] = f->border == ZERO ? (size - 1) / 2 : 0;
        conv.pad_after[i] = f->border == ZERO ? size / 2 : 0;
    }
    fv_graph *g = NULL;
    fv_model *m = NULL;
    fv_status status = fv_graph_create(f->context, &g);
    if (status != FV_OK) return status;
    const fv_value x = fv_graph_input(g, "image", 4, open);
    const fv_value w = fv_graph_parameter(g, "kernel", 4, weight, k->weight, FV_INIT_ZEROS, false);
    status = fv_graph_output(g, fv_graph_conv_with(g, x, w, FV_NONE, &conv, "filter"), "filtered");
    if (status == FV_OK) status = fv_model_create(g, 0, &m);
    if (status == FV_OK) status = fv_model_output(m, 0, NULL, output);
    fv_session_settings settings;
    fv_session_settings_default(&settings);
    settings.batch = shape[0];
    if (status == FV_OK) status = fv_session_create(m, &settings, session);
    output->shape[0] = shape[0];
    fv_model_free(m);
    fv_graph_free(g);
    return status;
}

/* Place i of n continued by reflection that does not repeat the edge: ... 2 1 0 1 2 ... */
static int64_t reflected(int64_t i, int64_t n) {
    const int64_t period = 2 * (n - 1);
    if (n == 1) return 0;
    i = ((i % period) + period) % period;
    return i < n ? i : period - i;
}

/* Colours as planes of floats 0..255, with the reflected border around them where that is asked for. */
static void fill_planes(const filter *f, const fv_image *in, const fv_tensor *x) {
    const bool reflect = f->border == REFLECT;
    const int64_t top = reflect ? (f->kernel.height - 1) / 2 : 0, left = reflect ? (f->kernel.width - 1) / 2 : 0;
    float *to = x->data;
    for (int64_t c = 0; c < x->shape[0]; c++)
        for (int64_t i = 0; i < x->shape[2]; i++)
            for (int64_t j = 0; j < x->shape[3]; j++) {
                const int64_t row = reflected(i - top, in->height), column = reflected(j - left, in->width);
                *to++ = in->pixels[(row * in->width + column) * in->channels + c];
            }
}

static uint8_t to_byte(float sum, float divisor, bool absolute) {
    float v = sum / divisor;
    if (absolute) v = fabsf(v);
    return v >= 255 ? 255 : v > 0 ? (uint8_t)(v + 0.5f) : 0;
}

/* Alpha is that of the pixel under the kernel's centre. */
static void fill_image(const filter *f, const fv_image *in, const fv_tensor *y, int32_t stride, fv_image *out) {
    const int64_t colors = y->shape[0], count = y->shape[2] * y->shape[3];
    const int32_t top = f->border == VALID ? (f->kernel.height - 1) / 2 : 0,
                  left = f->border == VALID ? (f->kernel.width - 1) / 2 : 0;
    const float *sums = y->data;
    for (int64_t i = 0; i < count; i++) {
        uint8_t *to = out->pixels + i * out->channels;
        for (int64_t c = 0; c < colors; c++) to[c] = to_byte(sums[c * count + i], f->kernel.divisor, f->absolute);
        if (out->channels == colors) continue;
        const int64_t row = i / out->width * stride + top, column = i % out->width * stride + left;
        to[colors] = in->pixels[(row * in->width + column) * in->channels + colors];
    }
}

/* out->pixels is malloc'ed. *why: a sentence of our own, or NULL. */
static fv_status apply(const filter *f, const fv_image *in, int32_t stride, fv_image *out, const char **why) {
    const bool reflect = f->border == REFLECT;
    const int64_t colors = in->channels - (in->channels % 2 == 0);
    fv_tensor x = {
        FV_F32,
        FV_PLAIN,
        4,
        {colors, 1, in->height + (reflect ? f->kernel.height - 1 : 0), in->width + (reflect ? f->kernel.width - 1 : 0)},
        NULL};
    fv_tensor y;
    fv_session *session = NULL;
    if (f->border == VALID && (in->height < f->kernel.height || in->width < f->kernel.width)) {
        *why = "the image is smaller than the kernel; --border zero or reflect keep its size";
        return FV_ERR_SHAPE;
    }
    fv_status status = make_session(f, x.shape, stride, &session, &y);
    if (status != FV_OK) return status;
    *out = (fv_image){(int32_t)y.shape[2], (int32_t)y.shape[3], in->channels, NULL, NULL};
    x.data = malloc((size_t)(colors * x.shape[2] * x.shape[3]) * sizeof(float));
    y.data = malloc((size_t)(colors * y.shape[2] * y.shape[3]) * sizeof(float));
    out->pixels = malloc((size_t)out->height * (size_t)out->width * (size_t)out->channels);
    if (!x.data || !y.data || !out->pixels) {
        *why = "out of memory";
        status = FV_ERR_MEMORY;
    } else {
        fill_planes(f, in, &x);
        status = fv_session_run(session, &x, 1, &y, 1);
        if (status == FV_OK) fill_image(f, in, &y, stride, out);
    }
    free(x.data);
    free(y.data);
    fv_session_free(session);
    return status;
}

/* ---- files ---- */

static bool ends_in(const char *path, const char *suffix) {
    const size_t n = strlen(path), s = strlen(suffix);
    return n > s && strcasecmp(path + n - s, suffix) == 0;
}

static bool is_jpeg(const char *path) { return ends_in(path, ".jpg") || ends_in(path, ".jpeg"); }

static int write_image(filter *f, const char *path, const fv_image *i) {
    const fv_status status = is_jpeg(path) ? fv_image_write_jpeg(f->context, path, i, jpeg_quality)
                                           : fv_image_write_png(f->context, path, i);
    if (status != FV_OK) return cli_library(&cmd_filter);
    json_array_append_new(f->written, json_pack("{s:s, s:i, s:i, s:i}", "file", path, "height", i->height, "width",
                                                i->width, "channels", i->channels));
    return -1;
}

/* OUT-0.png is the image itself, each further level the last one filtered, every second row and column of it. */
static int write_pyramid(filter *f, const fv_image *image) {
    const char *dot = strrchr(f->out, '.');
    fv_image level = *image;
    int status = -1;
    for (int64_t i = 0; i < f->levels && status < 0; i++) {
        char path[4096];
        fv_image next = {0};
        const char *why = NULL;
        const int length = snprintf(path, sizeof path, "%.*s-%lld%s", (int)(dot - f->out), f->out, (long long)i, dot);
        if (length >= (int)sizeof path) status = cli_fail(&cmd_filter, "%.100s...: the path is too long", f->out);
        if (status < 0) status = write_image(f, path, &level);
        if (status < 0 && i + 1 < f->levels && apply(f, &level, 2, &next, &why) != FV_OK)
            status = cli_fail(&cmd_filter, "level %lld: %s", (long long)i + 1, why ? why : fv_last_error());
        if (level.pixels != image->pixels) free(level.pixels);
        level = next;
    }
    if (level.pixels != image->pixels) free(level.pixels);
    return status;
}

static int write_filtered(filter *f, const fv_image *image) {
    fv_image out = {0};
    const char *why = NULL;
    int status = -1;
    if (apply(f, image, (int32_t)f->stride, &out, &why) != FV_OK)
        status = cli_fail(&cmd_filter, "%s: %s", f->in, why ? why : fv_last_error());
    if (status < 0) status = write_image(f, f->out, &out);
    free(out.pixels);
    return status;
}

static void print_json(const filter *f) {
    const kernel *k = &f->kernel;
    json_t *rows = json_array();
    for (int32_t y = 0; y < k->height; y++) {
        json_t *row = json_array();
        for (int32_t x = 0; x < k->width; x++)
            json_array_append_new(row, json_real((double)k->weight[y * k->width + x]));
        json_array_append_new(rows, row);
    }
    json_t *o = json_pack("{s:s, s:o, s:f, s:b, s:s, s:I, s:O}", "input", f->in, "kernel", rows, "divisor",
                          (double)k->divisor, "convolve", f->convolve, "border", border_names[f->border], "stride",
                          (json_int_t)(f->levels ? 2 : f->stride), "outputs", f->written);
    json_dumpf(o, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(9));
    putchar('\n');
    json_decref(o);
}

static int check_options(filter *f) {
    if (!is_jpeg(f->out) && !ends_in(f->out, ".png"))
        return cli_usage(&cmd_filter, "writes .png, .jpg and .jpeg files, not \"%s\"", f->out);
    if (!f->kernel_text && !f->levels) return cli_usage(&cmd_filter, "needs --kernel; see fovea filter --help");
    if (f->levels && f->stride > 1) return cli_usage(&cmd_filter, "--stride does not go with --pyramid, which halves");
    f->border = f->levels ? REFLECT : VALID;
    if (f->border_text) {
        int i = 0;
        while (i < 3 && strcmp(border_names[i], f->border_text) != 0) i++;
        if (i == 3) return cli_usage(&cmd_filter, "--border takes valid, zero or reflect, not \"%s\"", f->border_text);
        f->border = (border)i;
    }
    return parse_kernel(f->kernel_text ? f->kernel_text : "binomial5", &f->kernel);
}

static int run(int argc, char **argv) {
    cli_compute compute = {0};
    filter f = {.stride = 1};
    const cli_option options[] = {
        {"kernel", "K", CLI_TEXT, &f.kernel_text, 0, 0,
         "box3, box5, gauss3, gauss5, binomial5, sobel-x, sobel-y, laplace, sharpen, emboss, or \"rows;of;numbers\""},
        {"convolve", NULL, CLI_FLAG, &f.convolve, 0, 0, "true convolution: the kernel rotated by 180 degrees"},
        {"border", "NAME", CLI_TEXT, &f.border_text, 0, 0,
         "valid (no border: a smaller image, default), zero, reflect (default of --pyramid)"},
        {"abs", NULL, CLI_FLAG, &f.absolute, 0, 0, "absolute values, before they are clamped to 0..255"},
        {"stride", "N", CLI_INT, &f.stride, 1, 1 << 14, "every N-th row and column (default 1)"},
        {"pyramid", "L", CLI_INT, &f.levels, 1, 32,
         "L images OUT-0.png (the input), OUT-1.png (half its size) and so on; --kernel is then binomial5 unless "
         "given"},
        {"json", NULL, CLI_FLAG, &f.json, 0, 0, "one JSON object: the kernel, and the files written with their sizes"},
        CLI_IMAGE_OPTIONS(&compute),
        CLI_END,
    };
    int positional;
    int status = cli_parse(&cmd_filter, options, argc, argv, &positional);
    if (status >= 0) return status;
    if (positional != 2) return cli_usage(&cmd_filter, "needs an input and an output image; see fovea filter --help");
    f.in = argv[1];
    f.out = argv[2];
    if ((status = check_options(&f)) >= 0) return status;
    if ((status = cli_context(&cmd_filter, &compute, &f.context)) >= 0) return status;
    f.written = json_array();
    fv_image image;
    if (fv_image_read(f.context, f.in, is_jpeg(f.out) ? 0 : FV_IMAGE_STORED, &image) != FV_OK) {
        status = cli_library(&cmd_filter);
    } else {
        status = f.levels ? write_pyramid(&f, &image) : write_filtered(&f, &image);
        if (status < 0 && f.json) print_json(&f);
        if (status < 0) status = CLI_DONE;
        fv_image_free(&image);
    }
    json_decref(f.written);
    fv_context_free(f.context);
    return status;
}

const cli_command cmd_filter = {
    "filter", "IN OUT --kernel K [OPTIONS]",
    "Filters a PNG or JPEG image with a small kernel, by the library's own convolution.\n"
    "Cross-correlation, or true convolution with --convolve, of grey or each colour. The sum is divided by the "
    "kernel's\n"
    "sum where that is positive, rounded and clamped to 0..255. Alpha is kept: that of the pixel under the kernel's\n"
    "centre; JPEG has none, so it is blended on black there. Even kernels have their centre above and left of the "
    "middle.\n"
    "gauss5 is the lecture's (sum 56, not symmetric), binomial5 the symmetric one.",
    "  fovea filter photo.jpg soft.png --kernel gauss5 --border reflect\n"
    "  fovea filter photo.png edges.png --kernel sobel-x --abs\n"
    "  fovea filter photo.png out.png --kernel \"0 1 0;1 -4 1;0 1 0\" --convolve --border zero\n"
    "  fovea filter photo.png level.png --pyramid 4   # level-0.png to level-3.png\n",
    run};
