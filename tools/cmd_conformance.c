/* ONNX's backend test cases: a folder with model.onnx and test_data_set_N/{input,output}_K.pb. */
#include "cli.h"
#include "infer.h"

#include <dirent.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { most_tensors = 64, most_path = 4096 };
static const double relative = 1e-3, absolute = 1e-7; /* the suite's own */

typedef enum result { PASS, FAIL, UNSUPPORTED } result;
static const char *const result_names[] = {"pass", "fail", "unsupported"};

typedef struct tally {
    char op[64];
    size_t count[3];
} tally;

typedef struct suite {
    fv_context *context;
    FILE *csv;
    const char *rewrite; /* folder of rewritten files; NULL: cases run from their own */
    tally *ops;
    size_t op_count, count[3];
    bool broken; /* out of memory, or a folder that cannot be read */
} suite;

/* Too long a path names no file. */
static void __attribute__((format(printf, 2, 3))) make_path(char path[most_path], const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    if (vsnprintf(path, most_path, format, arguments) >= most_path) path[0] = '\0';
    va_end(arguments);
}

/* ---- comparing ---- */

static double half(uint16_t h) {
    const int exponent = h >> 10 & 31, fraction = h & 1023;
    const double size = exponent == 31 ? (fraction ? NAN : INFINITY)
                        : exponent     ? ldexp(1024 + fraction, exponent - 25)
                                       : ldexp(fraction, -24);
    return h & 0x8000 ? -size : size;
}

static double number(const fv_tensor *t, size_t i) {
    switch (t->dtype) {
    case FV_F32:
        return ((const float *)t->data)[i];
    case FV_F64:
        return ((const double *)t->data)[i];
    case FV_I32:
        return ((const int32_t *)t->data)[i];
    case FV_I64:
        return (double)((const int64_t *)t->data)[i];
    case FV_U8:
    case FV_BOOL:
        return ((const uint8_t *)t->data)[i];
    case FV_I8:
        return ((const int8_t *)t->data)[i];
    case FV_I16:
        return ((const int16_t *)t->data)[i];
    case FV_U16:
        return ((const uint16_t *)t->data)[i];
    case FV_U32:
        return ((const uint32_t *)t->data)[i];
    case FV_U64:
        return (double)((const uint64_t *)t->data)[i];
    case FV_F16:
        return half(((const uint16_t *)t->data)[i]);
    }
    return NAN;
}

static bool is_close(double a, double b) {
    if (isnan(a) || isnan(b)) return isnan(a) && isnan(b);
    return a == b || fabs(a - b) <= absolute + relative * fabs(b);
}

/* What is wrong with `got`, in `why`. */
static bool same(const fv_tensor *got, const fv_tensor *want, size_t output, char why[256]) {
    size_t count;
    bool shape = got->rank == want->rank;
    for (int32_t a = 0; shape && a < got->rank; a++) shape = got->shape[a] == want->shape[a];
    if (!shape || got->dtype != want->dtype || fv_tensor_count(got, &count) != FV_OK) {
        int used = snprintf(why, 256, "output %zu is %s (", output, fv_dtype_name(got->dtype));
        for (int32_t a = 0; a < got->rank && used < 200; a++)
            used += snprintf(why + used, 256 - (size_t)used, "%lld,", (long long)got->shape[a]);
        used += snprintf(why + used, 256 - (size_t)used, "), not %s (", fv_dtype_name(want->dtype));
        for (int32_t a = 0; a < want->rank && used < 240; a++)
            used += snprintf(why + used, 256 - (size_t)used, "%lld,", (long long)want->shape[a]);
        snprintf(why + used, 256 - (size_t)used, ")");
        return false;
    }
    for (size_t i = 0; i < count; i++) {
        if (is_close(number(got, i), number(want, i))) continue;
        snprintf(why, 256, "output %zu at %zu of %zu is %.9g, not %.9g", output, i, count, number(got, i),
                 number(want, i));
        return false;
    }
    return true;
}

/* ---- one case ---- */

typedef struct tensors {
    fv_tensor list[most_tensors];
    size_t count;
} tensors;

static void free_tensors(fv_context *c, tensors *t) {
    for (size_t i = 0; i < t->count; i++) fv_tensor_free(c, &t->list[i]);
    t->count = 0;
}

static bool exists(const char *path) {
    struct stat info;
    return stat(path, &info) == 0;
}

/* DIR/WHAT_0.pb, DIR/WHAT_1.pb, ... */
static fv_status load_all(fv_context *c, const char *folder, const char *what, tensors *out) {
    for (; out->count < most_tensors; out->count++) {
        char path[most_path];
        make_path(path, "%s/%s_%zu.pb", folder, what, out->count);
        if (!exists(path)) break;
        const fv_status status = fv_tensor_load(c, path, &out->list[out->count]);
        if (status != FV_OK) return status;
    }
    return FV_OK;
}

static result outcome(fv_status status, char why[256]) {
    if (status == FV_OK) return PASS;
    snprintf(why, 256, "%s", fv_last_error());
    return status == FV_ERR_UNSUPPORTED ? UNSUPPORTED : FAIL;
}

/* Two runs gave the same bits. */
static bool same_bits(const inference *a, const inference *b, char why[256]) {
    bool equal = a->count == b->count;
    for (size_t i = 0; equal && i < a->count; i++) {
        const fv_tensor *x = &a->outputs[i], *y = &b->outputs[i];
        size_t count;
        equal = x->rank == y->rank && x->dtype == y->dtype && fv_tensor_count(x, &count) == FV_OK;
        for (int32_t k = 0; equal && k < x->rank; k++) equal = x->shape[k] == y->shape[k];
        equal = equal && memcmp(x->data, y->data, count * fv_dtype_bytes(x->dtype)) == 0;
        if (!equal) snprintf(why, 256, "output %zu of the rewritten model has other bits", i);
    }
    return equal;
}

/* again: the same model rewritten, which must give the same; NULL: there is none. */
static result run_set(fv_context *c, const fv_model *m, const fv_model *again, const char *folder, char why[256]) {
    tensors in = {.count = 0}, want = {.count = 0};
    inference done = {0}, second = {0};
    fv_status status = load_all(c, folder, "input", &in);
    if (status == FV_OK) status = load_all(c, folder, "output", &want);
    if (status == FV_OK) status = infer(c, m, NULL, in.list, in.count, &done);
    result r = outcome(status, why);
    if (r == PASS && again && (status = infer(c, again, NULL, in.list, in.count, &second)) != FV_OK) {
        snprintf(why, 256, "rewritten: %.200s", fv_last_error());
        r = FAIL;
    }
    if (r == PASS && again && !same_bits(&done, &second, why)) r = FAIL;
    if (r == PASS && done.count != want.count) {
        snprintf(why, 256, "%zu outputs, not %zu", done.count, want.count);
        r = FAIL;
    }
    for (size_t i = 0; r == PASS && i < want.count; i++)
        if (!same(&done.outputs[i], &want.list[i], i, why)) r = FAIL;
    inference_free(&done);
    inference_free(&second);
    free_tensors(c, &in);
    free_tensors(c, &want);
    return r;
}

static bool same_files(const char *a, const char *b) {
    FILE *x = fopen(a, "rb"), *y = fopen(b, "rb");
    int one = 0, other = 0;
    while (x && y && one != EOF && one == other) {
        one = getc(x);
        other = getc(y);
    }
    const bool equal = x && y && one == other;
    if (x) fclose(x);
    if (y) fclose(y);
    return equal;
}

/* The model written to DIR/NAME.onnx and read back; written once more, the file must be the same. */
static result rewrite(const suite *s, const fv_model *m, const char *name, fv_model **again, char why[256]) {
    char path[most_path], second[most_path];
    make_path(path, "%s/%s.onnx", s->rewrite, name);
    make_path(second, "%s/%s.again", s->rewrite, name);
    fv_status status = fv_model_save(m, path);
    if (status == FV_OK) status = fv_model_load(s->context, path, again);
    if (status == FV_OK) status = fv_model_save(*again, second);
    if (status != FV_OK) {
        snprintf(why, 256, "rewriting: %.200s", fv_last_error());
        return FAIL;
    }
    const bool equal = same_files(path, second);
    if (equal) remove(second);
    if (!equal) snprintf(why, 256, "rewriting: the second file differs from the first");
    return equal ? PASS : FAIL;
}

static result run_case(const suite *s, const char *folder, const char *name, char why[256]) {
    char path[most_path];
    fv_context *c = s->context;
    fv_model *m, *again = NULL;
    make_path(path, "%s/model.onnx", folder);
    result r = outcome(fv_model_load(c, path, &m), why);
    if (r != PASS) return r;
    bool tried = false;
    size_t sets = 0;
    for (; r == PASS; sets++) {
        make_path(path, "%s/test_data_set_%zu", folder, sets);
        if (!exists(path)) break;
        r = run_set(c, m, NULL, path, why); /* what cannot run need not be written */
        if (r == PASS && s->rewrite && !tried) r = rewrite(s, m, name, &again, why);
        tried = true;
        if (r == PASS && again) r = run_set(c, m, again, path, why);
    }
    if (r == PASS && sets == 0) {
        snprintf(why, 256, "it has no test_data_set_0");
        r = FAIL;
    }
    fv_model_free(again);
    fv_model_free(m);
    return r;
}

/* ---- all of them ---- */

static void count_op(suite *s, const char *op, result r) {
    size_t i = 0;
    while (i < s->op_count && strcmp(s->ops[i].op, op) != 0) i++;
    if (i == s->op_count) {
        tally *grown = realloc(s->ops, (i + 1) * sizeof *grown);
        if (!grown) {
            s->broken = true;
            return;
        }
        s->ops = grown;
        s->ops[i] = (tally){.count = {0}};
        snprintf(s->ops[i].op, sizeof s->ops[i].op, "%.63s", op);
        s->op_count++;
    }
    s->ops[i].count[r]++;
}

static void take_case(suite *s, const char *folder) {
    char why[256] = "", path[most_path], op[4096];
    const char *slash = strrchr(folder, '/'), *name = slash ? slash + 1 : folder;
    const result r = run_case(s, folder, name, why);
    make_path(path, "%s/model.onnx", folder);
    if (fv_onnx_operators(s->context, path, op, sizeof op) != FV_OK) snprintf(op, sizeof op, "unreadable");
    if (strchr(op, ' ')) snprintf(op, sizeof op, "several");
    s->count[r]++;
    count_op(s, op, r);
    if (r != PASS) printf("%s %s (%s): %s\n", result_names[r], name, op, why);
    if (s->csv) fprintf(s->csv, "%s,%s,%s\n", name, result_names[r], op);
}

static int is_visible(const struct dirent *e) { return e->d_name[0] != '.'; }

static void walk(suite *s, const char *folder, int depth) {
    char path[most_path];
    struct dirent **entries = NULL;
    struct stat info;
    make_path(path, "%s/model.onnx", folder);
    if (exists(path)) {
        take_case(s, folder);
        return;
    }
    const int count = depth < 16 ? scandir(folder, &entries, is_visible, alphasort) : 0;
    if (count < 0) s->broken = true;
    for (int i = 0; i < count; i++) {
        make_path(path, "%s/%s", folder, entries[i]->d_name);
        if (stat(path, &info) == 0 && S_ISDIR(info.st_mode)) walk(s, path, depth + 1);
        free(entries[i]);
    }
    free(entries);
}

static int by_name(const void *a, const void *b) { return strcmp(((const tally *)a)->op, ((const tally *)b)->op); }

static void print_tallies(suite *s) {
    qsort(s->ops, s->op_count, sizeof *s->ops, by_name);
    printf("%-28s %6s %6s %11s\n", "operator", "pass", "fail", "unsupported");
    for (size_t i = 0; i < s->op_count; i++)
        printf("%-28s %6zu %6zu %11zu\n", s->ops[i].op, s->ops[i].count[PASS], s->ops[i].count[FAIL],
               s->ops[i].count[UNSUPPORTED]);
    printf("%zu passed, %zu failed, %zu unsupported\n", s->count[PASS], s->count[FAIL], s->count[UNSUPPORTED]);
}

static int run(int argc, char **argv) {
    cli_compute compute = {0};
    const char *csv = NULL;
    suite s = {0};
    const cli_option options[] = {
        {"csv", "F", CLI_TEXT, &csv, 0, 0, "write case,result,operator, a line a case"},
        {"rewrite", "DIR", CLI_TEXT, &s.rewrite, 0, 0, "write each model that passes to DIR/CASE.onnx and run that"},
        CLI_COMPUTE_OPTIONS(&compute),
        CLI_END,
    };
    int positional;
    int status = cli_parse(&cmd_conformance, options, argc, argv, &positional);
    if (status >= 0) return status;
    if (positional < 1) return cli_usage(&cmd_conformance, "needs a folder of cases");
    if ((status = cli_context(&cmd_conformance, &compute, &s.context)) >= 0) return status;
    if (csv && !(s.csv = fopen(csv, "w"))) {
        fv_context_free(s.context);
        return cli_fail(&cmd_conformance, "cannot write %s", csv);
    }
    if (s.csv) fputs("case,result,operator\n", s.csv);
    for (int i = 1; i <= positional; i++) walk(&s, argv[i], 0);
    if (s.csv && fclose(s.csv) != 0) s.broken = true;
    fv_context_free(s.context);
    const bool none = s.count[PASS] + s.count[FAIL] + s.count[UNSUPPORTED] == 0;
    if (!none) print_tallies(&s);
    free(s.ops);
    if (s.broken || none)
        return cli_fail(&cmd_conformance,
                        none ? "there is no case in these folders" : "not everything could be read or written");
    return s.count[FAIL] ? CLI_MISMATCH : CLI_DONE;
}

const cli_command cmd_conformance = {
    "conformance", "DIR... [--csv F] [--rewrite DIR]",
    "Runs ONNX's backend test cases and counts what passes.\n"
    "DIR is a case (model.onnx, test_data_set_0/input_0.pb, output_0.pb, ...) or a tree of cases. Outputs may differ "
    "by 1e-7 + 1e-3 |b|.\n"
    "Cases that fail or are not supported are printed; exit status 3 if any fails.\n"
    "With --rewrite the model is read, written and read again: the outputs must have the same bits, and the file "
    "written a second time the same bytes.",
    "  fovea conformance /usr/share/libonnx-testdata/data/node\n"
    "  fovea conformance --csv results.csv /usr/share/libonnx-testdata/data/{node,simple}\n",
    run};
