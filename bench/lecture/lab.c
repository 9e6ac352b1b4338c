#include "lab.h"

#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

enum { BATCH = 64 };

void lab_fail(const char *what) {
    fprintf(stderr, "fovea-lecture: %s: %s\n", what, fv_last_error());
    exit(1);
}

static void *need(void *memory) {
    if (memory) return memory;
    fprintf(stderr, "fovea-lecture: out of memory\n");
    exit(1);
}

lab_spread lab_summary(const double *values, int count) {
    lab_spread s = {.count = count};
    for (int i = 0; i < count; i++) s.mean += values[i] / count;
    for (int i = 0; i < count; i++) s.deviation += (values[i] - s.mean) * (values[i] - s.mean);
    s.deviation = count > 1 ? sqrt(s.deviation / (count - 1)) : 0;
    return s;
}

/* ---- data ---- */

size_t lab_image(const lab_data *d) { return (size_t)d->channels * (size_t)d->height * (size_t)d->width; }

static lab_data read_split(const lab *l, const char *spec, bool test) {
    fv_dataset *set;
    fv_dataset_info info;
    fv_dataset_settings s;
    fv_dataset_settings_default(&s);
    s.test = test;
    LAB_OK(fv_dataset_open(l->context, spec, &s, &set));
    LAB_OK(fv_dataset_get_info(set, &info));
    lab_data d = {
        .count = info.count, .channels = info.channels, .height = info.height, .width = info.width, .classes = info.classes};
    const size_t image = lab_image(&d);
    d.x = need(malloc((size_t)d.count * image * sizeof *d.x));
    d.labels = need(malloc((size_t)d.count * sizeof *d.labels));
    for (int64_t i = 0; i < d.count; i++) {
        const uint8_t *pixels;
        LAB_OK(fv_dataset_item(set, i, &pixels, &d.labels[i]));
        for (size_t k = 0; k < image; k++) d.x[(size_t)i * image + k] = (float)pixels[k] / 255;
    }
    fv_dataset_free(set);
    return d;
}

void lab_open(lab *l, const char *spec) {
    LAB_OK(fv_context_create(NULL, &l->context));
    l->train = read_split(l, spec, false);
    l->test = read_split(l, spec, true);
    if (l->images > 0 && l->images < l->train.count) l->train.count = l->images;
}

void lab_free(lab_data *d) {
    free(d->x);
    free(d->labels);
    *d = (lab_data){0};
}

void lab_close(lab *l) {
    lab_free(&l->train);
    lab_free(&l->test);
    fv_context_free(l->context);
}

lab_data lab_copy(const lab_data *d, int64_t count) {
    lab_data c = *d;
    c.count = count < d->count ? count : d->count;
    const size_t values = (size_t)c.count * lab_image(d);
    c.x = need(malloc(values * sizeof *c.x));
    c.labels = need(malloc((size_t)c.count * sizeof *c.labels));
    memcpy(c.x, d->x, values * sizeof *c.x);
    memcpy(c.labels, d->labels, (size_t)c.count * sizeof *c.labels);
    return c;
}

lab_data lab_first(const lab *l, int64_t count) {
    lab_data d = l->train;
    if (count < d.count) d.count = count;
    return d;
}

/* splitmix64 (Steele, Lea, Flood 2014) */
double lab_random(uint64_t *state) {
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return (double)((z ^ (z >> 31)) >> 11) * 0x1p-53;
}

static void shuffle(size_t *order, size_t count, uint64_t *state) {
    for (size_t i = count; i > 1; i--) {
        const size_t j = (size_t)(lab_random(state) * (double)i);
        const size_t kept = order[i - 1];
        order[i - 1] = order[j];
        order[j] = kept;
    }
}

void lab_permute(lab_data *d, uint64_t seed) {
    const size_t image = lab_image(d);
    size_t *order = need(malloc(image * sizeof *order));
    float *copy = need(malloc(image * sizeof *copy));
    for (size_t i = 0; i < image; i++) order[i] = i;
    shuffle(order, image, &seed);
    for (int64_t n = 0; n < d->count; n++) {
        float *x = d->x + (size_t)n * image;
        memcpy(copy, x, image * sizeof *copy);
        for (size_t i = 0; i < image; i++) x[i] = copy[order[i]];
    }
    free(copy);
    free(order);
}

/* Bilinear between the pixels of one grey or coloured image; 0 outside. */
static float sample(const lab_data *d, const float *x, double y, double column, int32_t channel) {
    const double fy = floor(y), fx = floor(column);
    double sum = 0;
    for (int i = 0; i < 2; i++)
        for (int j = 0; j < 2; j++) {
            const double py = fy + i, px = fx + j;
            if (py < 0 || px < 0 || py >= d->height || px >= d->width) continue;
            const double share = (i ? y - fy : 1 - (y - fy)) * (j ? column - fx : 1 - (column - fx));
            sum += share * x[((size_t)py * (size_t)d->width + (size_t)px) * (size_t)d->channels + (size_t)channel];
        }
    return (float)sum;
}

void lab_transform(const lab_data *in, double dy, double dx, double scale, double radians, lab_data *out) {
    const size_t image = lab_image(in);
    const double cy = (in->height - 1) / 2.0, cx = (in->width - 1) / 2.0, c = cos(radians) / scale, s = sin(radians) / scale;
    for (int64_t n = 0; n < out->count; n++)
        for (int32_t y = 0; y < in->height; y++)
            for (int32_t x = 0; x < in->width; x++)
                for (int32_t k = 0; k < in->channels; k++) {
                    const double v = y - cy - dy, u = x - cx - dx;
                    out->x[(size_t)n * image + ((size_t)y * (size_t)in->width + (size_t)x) * (size_t)in->channels + (size_t)k] =
                        sample(in, in->x + (size_t)n * image, cy + c * v - s * u, cx + s * v + c * u, k);
                }
}

/* ---- networks ---- */

fv_model *lab_model(const lab *l, const lab_net *net, uint64_t seed) {
    fv_graph *g;
    fv_model *m;
    const int64_t shape[4] = {0, net->channels, net->height, net->width};
    LAB_OK(fv_graph_create(l->context, &g));
    const fv_value x = fv_graph_input(g, "input", 4, shape);
    LAB_OK(fv_graph_output(g, net->build(g, x, net->arg), "output"));
    LAB_OK(fv_model_create(g, seed, &m));
    fv_graph_free(g);
    return m;
}

size_t lab_parameters(const fv_model *m) {
    size_t total = 0;
    for (size_t i = 0; i < fv_model_parameter_count(m); i++) {
        fv_tensor t;
        size_t count;
        LAB_OK(fv_model_parameter(m, i, NULL, &t, NULL));
        LAB_OK(fv_tensor_count(&t, &count));
        total += count;
    }
    return total;
}

static void train_epoch(fv_trainer *t, const lab_data *d, const size_t *order, float *batch, int32_t *labels) {
    const size_t image = lab_image(d);
    for (int64_t first = 0; first < d->count; first += BATCH) {
        const int64_t n = d->count - first < BATCH ? d->count - first : BATCH;
        for (int64_t i = 0; i < n; i++) {
            memcpy(batch + (size_t)i * image, d->x + order[first + i] * image, image * sizeof *batch);
            labels[i] = d->labels[order[first + i]];
        }
        const fv_tensor x = {
            .dtype = FV_F32, .layout = FV_NHWC, .rank = 4, .shape = {n, d->channels, d->height, d->width}, .data = batch};
        const fv_tensor y = {.dtype = FV_I32, .rank = 1, .shape = {n}, .data = labels};
        LAB_OK(fv_trainer_step(t, &x, &y, NULL));
    }
}

fv_model *lab_train(const lab *l, const lab_net *net, const lab_data *d, double lr, int epochs, uint64_t seed) {
    fv_trainer_settings s;
    fv_trainer *t;
    fv_model *m = lab_model(l, net, seed), *trained;
    fv_trainer_settings_default(&s);
    s.batch = BATCH;
    s.input_layout = FV_NHWC;
    s.lr = (float)lr;
    s.schedule = FV_SCHEDULE_COSINE;
    s.total_steps = epochs * ((d->count + BATCH - 1) / BATCH);
    s.seed = seed;
    LAB_OK(fv_trainer_create(m, &s, &t));
    size_t *order = need(malloc((size_t)d->count * sizeof *order));
    float *batch = need(malloc(BATCH * lab_image(d) * sizeof *batch));
    int32_t labels[BATCH];
    for (int64_t i = 0; i < d->count; i++) order[i] = (size_t)i;
    for (int e = 0; e < epochs; e++) {
        shuffle(order, (size_t)d->count, &seed);
        train_epoch(t, d, order, batch, labels);
    }
    LAB_OK(fv_trainer_model(t, &trained));
    free(batch);
    free(order);
    fv_trainer_free(t);
    fv_model_free(m);
    return trained;
}

float *lab_outputs(const fv_model *m, const lab_data *d, size_t *width) {
    enum { ROWS = 100 };
    fv_tensor y;
    LAB_OK(fv_model_output(m, 0, NULL, &y));
    *width = 1;
    for (int32_t i = 1; i < y.rank; i++) *width *= (size_t)y.shape[i];
    float *out = need(malloc((size_t)d->count * *width * sizeof *out));
    fv_session *session = NULL;
    int64_t planned = 0;
    for (int64_t first = 0; first < d->count; first += ROWS) {
        const int64_t n = d->count - first < ROWS ? d->count - first : ROWS;
        if (n != planned) {
            fv_session_settings s;
            fv_session_free(session);
            fv_session_settings_default(&s);
            s.batch = planned = n;
            s.input_layout = FV_NHWC;
            LAB_OK(fv_session_create(m, &s, &session));
        }
        const fv_tensor x = {.dtype = FV_F32,
                             .layout = FV_NHWC,
                             .rank = 4,
                             .shape = {n, d->channels, d->height, d->width},
                             .data = d->x + (size_t)first * lab_image(d)};
        y.shape[0] = n;
        y.data = out + (size_t)first * *width;
        LAB_OK(fv_session_run(session, &x, 1, &y, 1));
    }
    fv_session_free(session);
    return out;
}

double lab_answers(const fv_model *m, const lab_data *d, int32_t *classes) {
    size_t width;
    float *out = lab_outputs(m, d, &width);
    int64_t right = 0;
    for (int64_t n = 0; n < d->count; n++) {
        size_t best = 0;
        for (size_t k = 1; k < width; k++)
            if (out[(size_t)n * width + k] > out[(size_t)n * width + best]) best = k;
        classes[n] = (int32_t)best;
        right += classes[n] == d->labels[n];
    }
    free(out);
    return (double)right / (double)d->count;
}

double lab_accuracy(const fv_model *m, const lab_data *d) {
    int32_t *classes = need(malloc((size_t)d->count * sizeof *classes));
    const double accuracy = lab_answers(m, d, classes);
    free(classes);
    return accuracy;
}

fv_value lab_conv_relu(fv_graph *g, fv_value x, int32_t maps, int32_t kernel, int32_t stride, int32_t pad, const char *name) {
    fv_conv_settings s;
    fv_conv_settings_default(&s);
    s.out_channels = maps;
    for (int i = 0; i < 2; i++) {
        s.kernel[i] = kernel;
        s.stride[i] = stride;
        s.pad_before[i] = s.pad_after[i] = pad;
    }
    return fv_graph_relu(g, fv_graph_conv(g, x, &s, name), NULL);
}

fv_value lab_pool(fv_graph *g, fv_value x, fv_pool_kind kind, int32_t size, const char *name) {
    fv_pool_settings s;
    fv_pool_settings_default(&s);
    s.kind = kind;
    for (int i = 0; i < 2; i++) s.window[i] = s.stride[i] = size;
    return fv_graph_pool(g, x, &s, name);
}

fv_value lab_lenet(fv_graph *g, fv_value x, const void *arg) {
    (void)arg;
    x = lab_pool(g, lab_conv_relu(g, x, 8, 5, 1, 2, "conv1"), FV_POOL_MAX, 2, "pool1");
    x = lab_pool(g, lab_conv_relu(g, x, 16, 5, 1, 0, "conv2"), FV_POOL_MAX, 2, "pool2");
    x = fv_graph_relu(g, fv_graph_linear(g, x, 64, true, FV_INIT_HE, "fc1"), NULL);
    return fv_graph_linear(g, x, 10, true, FV_INIT_LECUN, "fc2");
}

fv_value lab_dense(fv_graph *g, fv_value x, const void *arg) {
    (void)arg;
    x = fv_graph_relu(g, fv_graph_linear(g, x, 256, true, FV_INIT_HE, "fc1"), NULL);
    x = fv_graph_relu(g, fv_graph_linear(g, x, 128, true, FV_INIT_HE, "fc2"), NULL);
    return fv_graph_linear(g, x, 10, true, FV_INIT_LECUN, "fc3");
}

/* ---- the table ---- */

void lab_heading(lab *l, const char *title, const char *columns) {
    int bars = 0;
    for (const char *c = columns; *c; c++) bars += *c == '|';
    fprintf(l->table, "\n## %s\n\n%s\n|", title, columns);
    for (int i = 1; i < bars; i++) fprintf(l->table, "---|");
    fputc('\n', l->table);
    printf("%s\n", title);
    fflush(stdout);
}

void lab_row(lab *l, const char *format, ...) {
    va_list list, again;
    va_start(list, format);
    va_copy(again, list);
    vfprintf(l->table, format, list);
    fputc('\n', l->table);
    fflush(l->table);
    vprintf(format, again);
    putchar('\n');
    fflush(stdout);
    va_end(again);
    va_end(list);
}
