/* Protobuf wire format written by hand, and the ONNX messages made of it: files of any kind for the reader's tests. */
#ifndef FV_TESTS_WIRE_H
#define FV_TESTS_WIRE_H

#include "unit.h"

#include <unistd.h>

typedef struct wire {
    uint8_t *data;
    size_t n, capacity;
} wire;

static inline void w_raw(wire *w, const void *data, size_t n) {
    if (w->n + n > w->capacity) {
        w->capacity = 2 * (w->n + n) + 64;
        w->data = realloc(w->data, w->capacity);
        ck_assert_ptr_nonnull(w->data);
    }
    if (n) memcpy(w->data + w->n, data, n);
    w->n += n;
}

static inline void w_varint(wire *w, uint64_t value) {
    do {
        const uint8_t byte = (uint8_t)((value & 0x7f) | (value > 0x7f ? 0x80 : 0));
        w_raw(w, &byte, 1);
        value >>= 7;
    } while (value);
}

static inline void w_tag(wire *w, uint64_t field, unsigned type) { w_varint(w, field << 3 | type); }
static inline void w_int(wire *w, uint64_t field, int64_t value) {
    w_tag(w, field, 0);
    w_varint(w, (uint64_t)value);
}
static inline void w_float(wire *w, uint64_t field, float value) {
    w_tag(w, field, 5);
    w_raw(w, &value, 4);
}
static inline void w_bytes(wire *w, uint64_t field, const void *data, size_t n) {
    w_tag(w, field, 2);
    w_varint(w, n);
    w_raw(w, data, n);
}
static inline void w_text(wire *w, uint64_t field, const char *text) { w_bytes(w, field, text, strlen(text)); }
static inline void w_free(wire *w) {
    free(w->data);
    *w = (wire){0};
}
/* Ends `part`, which becomes a field of w. */
static inline void w_message(wire *w, uint64_t field, wire part) {
    w_bytes(w, field, part.data, part.n);
    w_free(&part);
}

/* ---- ONNX: fields of onnx.proto by number ---- */

static inline wire attr_int(const char *name, int64_t value) {
    wire a = {0};
    w_text(&a, 1, name);
    w_int(&a, 3, value);
    w_int(&a, 20, 2);
    return a;
}
static inline wire attr_float(const char *name, float value) {
    wire a = {0};
    w_text(&a, 1, name);
    w_float(&a, 2, value);
    w_int(&a, 20, 1);
    return a;
}
static inline wire attr_text(const char *name, const char *value) {
    wire a = {0};
    w_text(&a, 1, name);
    w_text(&a, 4, value);
    w_int(&a, 20, 3);
    return a;
}
static inline wire attr_ints(const char *name, size_t n, const int64_t *values) {
    wire a = {0};
    w_text(&a, 1, name);
    for (size_t i = 0; i < n; i++) w_int(&a, 8, values[i]);
    w_int(&a, 20, 7);
    return a;
}

/* inputs, outputs: names separated by spaces; "-" is the empty name. */
static inline void node_names(wire *n, uint64_t field, const char *names) {
    char copy[512];
    snprintf(copy, sizeof copy, "%s", names);
    for (char *save = NULL, *name = strtok_r(copy, " ", &save); name; name = strtok_r(NULL, " ", &save))
        w_text(n, field, strcmp(name, "-") == 0 ? "" : name);
}
static inline wire node_of(const char *op, const char *name, const char *inputs, const char *outputs) {
    wire n = {0};
    node_names(&n, 1, inputs);
    node_names(&n, 2, outputs);
    if (name) w_text(&n, 3, name);
    w_text(&n, 4, op);
    return n;
}
static inline void node_attr(wire *n, wire attribute) { w_message(n, 5, attribute); }

static inline wire tensor_head(const char *name, int64_t type, size_t rank, const int64_t *dims) {
    wire t = {0};
    for (size_t i = 0; i < rank; i++) w_int(&t, 1, dims[i]);
    w_int(&t, 2, type);
    w_text(&t, 8, name);
    return t;
}
/* float, values by a fixed draw, as raw bytes. */
static inline wire tensor_of(const char *name, size_t rank, const int64_t *dims) {
    wire t = tensor_head(name, 1, rank, dims);
    size_t count = 1;
    for (size_t i = 0; i < rank; i++) count *= (size_t)dims[i];
    float *values = calloc(count + 1, sizeof *values);
    draw_all(values, count, 7);
    w_bytes(&t, 9, values, count * sizeof *values);
    free(values);
    return t;
}

/* A graph's input or output: float, the sizes given (0: an open one called N). */
static inline wire value_info_of(const char *name, size_t rank, const int64_t *dims) {
    wire info = {0}, type = {0}, tensor = {0}, shape = {0};
    for (size_t i = 0; i < rank; i++) {
        wire d = {0};
        if (dims[i])
            w_int(&d, 1, dims[i]);
        else
            w_text(&d, 2, "N");
        w_message(&shape, 1, d);
    }
    w_int(&tensor, 1, 1);
    w_message(&tensor, 2, shape);
    w_message(&type, 1, tensor);
    w_text(&info, 1, name);
    w_message(&info, 2, type);
    return info;
}

enum { G_NODE = 1, G_NAME = 2, G_INITIALIZER = 5, G_INPUT = 11, G_OUTPUT = 12 };

static inline wire opset_of(const char *domain, int64_t version) {
    wire o = {0};
    if (domain) w_text(&o, 1, domain);
    w_int(&o, 2, version);
    return o;
}
/* A model around a graph (which it ends). */
static inline wire model_of(wire graph) {
    wire m = {0};
    w_int(&m, 1, 8);
    w_message(&m, 7, graph);
    w_message(&m, 8, opset_of(NULL, 17));
    return m;
}

#define DIMS(...)                                                                                                      \
    sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t), (int64_t[]) { __VA_ARGS__ }

/* ---- files ---- */

static char wire_folder[64], wire_path[96];

static inline void wire_enter(void) {
    snprintf(wire_folder, sizeof wire_folder, "/dev/shm/fovea-onnx-XXXXXX"); /* in memory: saving waits for no disk */
    if (!mkdtemp(wire_folder)) {
        snprintf(wire_folder, sizeof wire_folder, "/tmp/fovea-onnx-XXXXXX");
        ck_assert_ptr_nonnull(mkdtemp(wire_folder));
    }
    snprintf(wire_path, sizeof wire_path, "%s/m.onnx", wire_folder);
}
static inline void wire_leave(void) {
    char command[96];
    snprintf(command, sizeof command, "rm -r %s", wire_folder);
    ck_assert_int_eq(system(command), 0);
}
static inline void wire_put(const uint8_t *data, size_t n) {
    FILE *f = fopen(wire_path, "wb");
    ck_assert_ptr_nonnull(f);
    ck_assert_uint_eq(fwrite(data, 1, n, f), n);
    fclose(f);
}
static inline wire wire_get(const char *path) {
    wire w = {0};
    char block[4096];
    FILE *f = fopen(path, "rb");
    ck_assert_ptr_nonnull(f);
    for (size_t n; (n = fread(block, 1, sizeof block, f)) > 0;) w_raw(&w, block, n);
    fclose(f);
    return w;
}
/* A copy in $FOVEA_KEEP, where that is set: seeds for tests/fuzz. */
static inline void wire_keep(wire w) {
    static int number;
    char path[256];
    if (!getenv("FOVEA_KEEP")) return;
    snprintf(path, sizeof path, "%.200s/%d-%d.onnx", getenv("FOVEA_KEEP"), (int)getpid(), number++);
    FILE *f = fopen(path, "wb");
    ck_assert_ptr_nonnull(f);
    ck_assert_uint_eq(fwrite(w.n ? w.data : (const uint8_t *)"", 1, w.n, f), w.n);
    fclose(f);
}

/* Ends w; loads it as a file. */
static inline fv_status load_wire(fv_context *c, wire w, fv_model **out) {
    *out = NULL;
    wire_keep(w);
    wire_put(w.data ? w.data : (const uint8_t *)"", w.n);
    w_free(&w);
    return fv_model_load(c, wire_path, out);
}

/* ---- running ---- */

enum { run_most = 16384 };

/* Runs a model of one input on a fixed draw; y [run_most] gets its outputs one after the other. Returns how many
 * numbers came out. */
static inline size_t run_model(const fv_model *m, int64_t batch, float *y) {
    static float x[run_most];
    fv_session_settings settings;
    fv_session *s = NULL;
    fv_tensor in, out[4];
    size_t count, total = 0;
    fv_session_settings_default(&settings);
    settings.batch = batch;
    ok(fv_session_create(m, &settings, &s));
    ok(fv_model_input(m, 0, NULL, &in));
    in.shape[0] = batch;
    ok(fv_tensor_count(&in, &count));
    ck_assert_uint_le(count, run_most);
    draw_all(x, count, 21);
    in.data = x;
    for (size_t i = 0; i < fv_model_output_count(m); i++) {
        ok(fv_model_output(m, i, NULL, &out[i]));
        out[i].shape[0] = batch;
        out[i].data = y + total;
        ok(fv_tensor_count(&out[i], &count));
        ck_assert_uint_le(total += count, run_most);
    }
    ok(fv_session_run(s, &in, 1, out, fv_model_output_count(m)));
    fv_session_free(s);
    return total;
}

#endif
