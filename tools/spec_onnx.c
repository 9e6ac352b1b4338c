#include "spec.h"

#include "fovea.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { most_values = 8, batch = 2 };

static _Thread_local char sentence[768];

/* Inputs and outputs of one model, and what it gave. */
typedef struct side {
    fv_session *session;
    fv_tensor in[most_values], out[most_values];
    size_t in_count, out_count;
} side;

static fv_status make_tensor(fv_tensor *t, uint64_t seed) {
    size_t count;
    t->shape[0] = batch;
    const fv_status status = fv_tensor_count(t, &count);
    if (status != FV_OK) return status;
    float *x = t->data = calloc(count ? count : 1, sizeof *x);
    fv_check_random random = {seed};
    for (size_t i = 0; x && i < count; i++) x[i] = seed ? check_uniform(&random, -1, 1) : 0;
    return x ? FV_OK : FV_ERR_MEMORY;
}

static fv_status run_side(const fv_model *m, uint64_t seed, side *s) {
    fv_session_settings settings;
    fv_session_settings_default(&settings);
    settings.batch = batch;
    fv_status status = fv_session_create(m, &settings, &s->session);
    const size_t ins = fv_model_input_count(m), outs = fv_model_output_count(m);
    if (ins > most_values || outs > most_values) return FV_ERR_LIMIT;
    for (; status == FV_OK && s->in_count < ins; s->in_count++) {
        status = fv_model_input(m, s->in_count, NULL, &s->in[s->in_count]);
        if (status == FV_OK) status = make_tensor(&s->in[s->in_count], seed + s->in_count + 1);
    }
    for (; status == FV_OK && s->out_count < outs; s->out_count++) {
        status = fv_model_output(m, s->out_count, NULL, &s->out[s->out_count]);
        if (status == FV_OK) status = make_tensor(&s->out[s->out_count], 0);
    }
    return status == FV_OK ? fv_session_run(s->session, s->in, ins, s->out, outs) : status;
}

static void free_side(side *s) {
    for (size_t i = 0; i < most_values; i++) {
        free(s->in[i].data);
        free(s->out[i].data);
    }
    fv_session_free(s->session);
}

static bool same_outputs(const side *a, const side *b) {
    if (a->out_count != b->out_count) return false;
    for (size_t i = 0; i < a->out_count; i++) {
        size_t n = 0, m = 0;
        if (fv_tensor_count(&a->out[i], &n) != FV_OK || fv_tensor_count(&b->out[i], &m) != FV_OK || n != m)
            return false;
        if (memcmp(a->out[i].data, b->out[i].data, n * sizeof(float)) != 0) return false;
    }
    return true;
}

/* The whole file; NULL where it cannot be read. */
static char *contents(const char *path, size_t *bytes) {
    FILE *f = fopen(path, "rb");
    char *all = NULL;
    if (f && fseek(f, 0, SEEK_END) == 0 && ftell(f) >= 0) {
        *bytes = (size_t)ftell(f);
        rewind(f);
        all = malloc(*bytes + 1);
        if (all && fread(all, 1, *bytes, f) != *bytes) *bytes = 0;
    }
    if (f) fclose(f);
    return all;
}

/* A node's domain (field 7) is "fovea": a call of a model-local function. */
static bool calls_function(const char *all, size_t bytes) {
    static const char call[] = "\x3a\x05"
                               "fovea";
    for (size_t i = 0; i + sizeof call - 1 <= bytes; i++)
        if (memcmp(all + i, call, sizeof call - 1) == 0) return true;
    return false;
}

static const char *compare_files(const char *first, const char *second, bool *function) {
    size_t a_bytes = 0, b_bytes = 0;
    char *a = contents(first, &a_bytes), *b = contents(second, &b_bytes);
    const bool same = a && b && a_bytes == b_bytes && a_bytes > 0 && memcmp(a, b, a_bytes) == 0;
    *function = a && calls_function(a, a_bytes);
    free(a);
    free(b);
    return same ? NULL : "saved again, the file differs";
}

/* One network through two files. NULL: the same. */
static const char *trip(const fv_model *m, fv_context *c, const char *first, const char *second, uint64_t seed,
                        bool *function) {
    fv_model *loaded = NULL;
    side before = {0}, after = {0};
    const char *bad = NULL;
    if (fv_model_save(m, first) != FV_OK || fv_model_load(c, first, &loaded) != FV_OK ||
        run_side(m, seed, &before) != FV_OK || run_side(loaded, seed, &after) != FV_OK ||
        fv_model_save(loaded, second) != FV_OK)
        bad = fv_last_error();
    else if (!same_outputs(&before, &after))
        bad = "loaded, it gives other outputs";
    else
        bad = compare_files(first, second, function);
    free_side(&before);
    free_side(&after);
    fv_model_free(loaded);
    return bad;
}

static const char *one_case(size_t row, uint64_t seed, uint64_t number, char *const files[2], bool *function) {
    const fv_grad_request request = {row, seed, number, 0, NULL};
    fv_context *c = NULL;
    fv_model *m = NULL;
    const char *bad = fv_grad_model(&request, &c, &m) == FV_OK ? trip(m, c, files[0], files[1], seed + number, function)
                                                               : fv_last_error();
    if (bad)
        snprintf(sentence, sizeof sentence, "MISMATCH ONNX of %s, case %llu, seed %llu: %s", fv_grad_row_at(row)->name,
                 (unsigned long long)number, (unsigned long long)seed, bad);
    fv_model_free(m);
    fv_context_free(c);
    return bad ? sentence : NULL;
}

fv_spec_cell check_round_trip(const char *op, const char *form, uint64_t cases, uint64_t seed, const char **why) {
    const char *tmp = getenv("TMPDIR");
    char folder[256], first[300], second[300];
    char *const files[2] = {first, second};
    fv_spec_cell cell = {FV_SPEC_FAILED, 0};
    bool any = false;
    *why = "no such row of the gradient check";
    snprintf(folder, sizeof folder, "%s/fovea-spec-XXXXXX", tmp && *tmp ? tmp : "/tmp");
    if (!mkdtemp(folder)) {
        *why = "cannot make a folder for temporary files";
        return cell;
    }
    snprintf(first, sizeof first, "%s/1.onnx", folder);
    snprintf(second, sizeof second, "%s/2.onnx", folder);
    const char *bad = NULL;
    for (size_t row = 0; row < fv_grad_row_count() && !bad; row++)
        for (uint64_t i = 0; fv_grad_row_matches(fv_grad_row_at(row), op) && i < cases && !bad; i++, cell.cases++) {
            bool function = false;
            bad = one_case(row, seed, i, files, &function);
            any = any || function;
        }
    unlink(first);
    unlink(second);
    rmdir(folder);
    if (bad) *why = bad;
    if (bad || cell.cases == 0) return cell;
    *why = any ? "its file calls a function, where standard operators are stated" : "its file calls no function";
    if (any == (strcmp(form, "function") == 0)) cell.state = FV_SPEC_OK;
    return cell;
}
