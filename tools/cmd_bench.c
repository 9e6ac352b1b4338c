#include "roofline.h"

#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct bench {
    fv_context *context;
    fv_model *model;
    const char *name, *json;
    int64_t batch;
    double seconds;
    bool train;
    fv_session_settings settings;
    double *times;
    size_t count, capacity;
    double flops; /* a round */
    json_t *layers;
    roofline roof;
} bench;

static int by_value(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double percentile(const bench *b, double share) {
    const size_t i = (size_t)(share * (double)(b->count - 1) + 0.5);
    return b->times[i];
}

static bool keep(bench *b, double seconds) {
    if (b->count == b->capacity) {
        const size_t capacity = b->capacity ? 2 * b->capacity : 4096;
        double *times = realloc(b->times, capacity * sizeof *times);
        if (!times) return false;
        b->times = times;
        b->capacity = capacity;
    }
    b->times[b->count++] = seconds;
    return true;
}

/* Rounds until the time is up, at least 5; the first (warm-up) is not kept. */
static fv_status time_rounds(bench *b, fv_status (*round)(void *), void *arg) {
    fv_status status = round(arg);
    const double began = cli_seconds();
    for (double before = began; status == FV_OK && (b->count < 5 || before - began < b->seconds);) {
        status = round(arg);
        const double after = cli_seconds();
        if (!keep(b, after - before)) return FV_ERR_MEMORY;
        before = after;
    }
    return status;
}

typedef struct inference {
    fv_session *session;
    fv_tensor in, out;
} inference;

static fv_status run_once(void *arg) {
    inference *r = arg;
    return fv_session_run(r->session, &r->in, 1, &r->out, 1);
}

/* Values between 0 and 1 that are no two alike: a fixed linear congruence. Zeros for other types than float. */
static fv_status filled(fv_tensor *t) {
    size_t count;
    const fv_status status = fv_tensor_count(t, &count);
    if (status != FV_OK) return status;
    float *values = calloc(count + 1, fv_dtype_bytes(t->dtype));
    if (!values) return FV_ERR_MEMORY;
    uint32_t state = 1;
    for (size_t i = 0; t->dtype == FV_F32 && i < count; i++) values[i] = (float)((state = state * 1664525u + 1013904223u) >> 8) * 0x1p-24f;
    t->data = values;
    return FV_OK;
}

static fv_status add_layers(bench *b, const fv_session *s) {
    for (size_t i = 0; i < fv_session_node_count(s); i++) {
        fv_node_info n;
        const fv_status status = fv_session_node(s, i, &n);
        if (status != FV_OK) return status;
        const bound least = roof_bound(&b->roof, n.flops, n.bytes);
        b->flops += n.flops;
        json_array_append_new(
            b->layers,
            json_pack("{s:s, s:s, s:s, s:f, s:f, s:f, s:f, s:s, s:f}", "name", n.name ? n.name : "", "op", n.op,
                      "algorithm", n.algorithm ? n.algorithm : "", "ms", 1e3 * n.seconds, "mflop", 1e-6 * n.flops,
                      "gflops", n.seconds > 0 ? 1e-9 * n.flops / n.seconds : 0.0, "mbytes", 1e-6 * n.bytes, "bound",
                      least.by, "bound_share", n.seconds > 0 ? least.seconds / n.seconds : 0.0));
    }
    return FV_OK;
}

/* The layers' times come from a second, profiled session, so that profiling does not touch the percentiles. */
static fv_status bench_run(bench *b) {
    inference r = {0}, profiled;
    fv_session_settings s = b->settings;
    s.batch = b->batch;
    fv_status status = fv_session_create(b->model, &s, &r.session);
    if (status == FV_OK) status = fv_session_input(r.session, 0, NULL, &r.in);
    if (status == FV_OK) status = fv_session_output(r.session, 0, NULL, &r.out);
    if (status == FV_OK) status = filled(&r.in);
    if (status == FV_OK) status = filled(&r.out);
    if (status == FV_OK) status = time_rounds(b, run_once, &r);
    profiled = r;
    profiled.session = NULL;
    s.profile = true;
    if (status == FV_OK) status = fv_session_create(b->model, &s, &profiled.session);
    for (size_t i = 0; i < 20 && status == FV_OK; i++) status = run_once(&profiled);
    if (status == FV_OK) status = add_layers(b, profiled.session);
    fv_session_free(profiled.session);
    fv_session_free(r.session);
    free(r.in.data);
    free(r.out.data);
    return status;
}

typedef struct training {
    fv_trainer *trainer;
    fv_tensor x, labels;
} training;

static fv_status step_once(void *arg) {
    training *t = arg;
    return fv_trainer_step(t->trainer, &t->x, &t->labels, NULL);
}

static fv_status bench_train(bench *b) {
    training t = {0};
    fv_trainer_settings s;
    fv_trainer_settings_default(&s);
    s.batch = b->batch;
    s.input_layout = FV_NHWC;
    s.lr = 1e-4f;
    fv_tensor out;
    fv_status status = fv_model_input(b->model, 0, NULL, &t.x);
    if (status == FV_OK) status = fv_model_output(b->model, 0, NULL, &out);
    t.x.shape[0] = b->batch;
    if (status == FV_OK) status = filled(&t.x);
    t.x.layout = FV_NHWC;
    int32_t *labels = calloc((size_t)b->batch, sizeof *labels);
    if (status == FV_OK && !labels) status = FV_ERR_MEMORY;
    for (int64_t i = 0; status == FV_OK && i < b->batch; i++) labels[i] = (int32_t)(i % out.shape[1]);
    t.labels = (fv_tensor){.dtype = FV_I32, .rank = 1, .shape = {b->batch}, .data = labels};
    if (status == FV_OK) status = fv_trainer_create(b->model, &s, &t.trainer);
    if (status == FV_OK) status = time_rounds(b, step_once, &t);
    fv_trainer_free(t.trainer);
    free(t.x.data);
    free(labels);
    return status;
}

static int print_results(bench *b, const fv_cpu_info *cpu, const fv_peak *peak) {
    qsort(b->times, b->count, sizeof *b->times, by_value);
    const double median = percentile(b, 0.5), images = (double)b->batch / median;
    const double gflops = 1e-9 * b->flops / median, share = gflops / (peak->gflops * cpu->threads);
    json_t *o = json_pack("{s:s, s:I, s:i, s:b, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:b, s:o}", "model", b->name,
                          "batch", (json_int_t)b->batch, "threads", cpu->threads, "train", b->train, "median_ms",
                          1e3 * median, "p90_ms", 1e3 * percentile(b, 0.9), "p99_ms", 1e3 * percentile(b, 0.99),
                          "images_per_s", images, "gflops", gflops, "peak_share", share, "peak_gflops_per_core",
                          peak->gflops, "peak_valid", peak->valid, "layers", json_incref(b->layers));
    int status = CLI_DONE;
    if (b->json && json_dump_file(o, b->json, JSON_INDENT(2)) != 0)
        status = cli_fail(&cmd_bench, "cannot write %s", b->json);
    json_decref(o);
    printf("%s, batch %lld, %d threads, %s%s: %zu rounds\n", b->name, (long long)b->batch, cpu->threads, cpu->isa,
           b->train ? ", training step" : "", b->count);
    printf("latency      median %.4f ms, 90 %% %.4f, 99 %% %.4f\nthroughput   %.0f images/s\n", 1e3 * median,
           1e3 * percentile(b, 0.9), 1e3 * percentile(b, 0.99), images);
    if (!b->train)
        printf("arithmetic   %.2f GFLOP/s, %.1f %% of %d x %.1f GFLOP/s measured%s\n", gflops, 100 * share,
               cpu->threads, peak->gflops, peak->valid ? "" : " (peak not valid)");
    size_t i;
    json_t *layer;
    json_array_foreach(b->layers, i, layer) {
        if (i == 0)
            printf("\n%-24s %-12s %-22s %10s %10s %9s %9s %-6s\n", "layer", "operator", "algorithm", "ms", "GFLOP/s",
                   "MB", "of bound", "by");
        printf("%-24.24s %-12.12s %-22.22s %10.4f %10.2f %9.3f %7.0f %% %-6s\n",
               json_string_value(json_object_get(layer, "name")), json_string_value(json_object_get(layer, "op")),
               json_string_value(json_object_get(layer, "algorithm")), json_real_value(json_object_get(layer, "ms")),
               json_real_value(json_object_get(layer, "gflops")), json_real_value(json_object_get(layer, "mbytes")),
               100 * json_real_value(json_object_get(layer, "bound_share")),
               json_string_value(json_object_get(layer, "bound")));
    }
    return status;
}

static int measure(bench *b) {
    if (fv_model_input_count(b->model) != 1 || fv_model_output_count(b->model) != 1)
        return cli_fail(&cmd_bench, "bench runs networks of one input and one output, this one has %zu and %zu",
                        fv_model_input_count(b->model), fv_model_output_count(b->model));
    b->layers = json_array();
    if (roof_open(&b->roof, b->context) != FV_OK || (b->train ? bench_train(b) : bench_run(b)) != FV_OK)
        return cli_library(&cmd_bench);
    return print_results(b, &b->roof.cpu, &b->roof.peak);
}

static int run(int argc, char **argv) {
    cli_compute compute = {0};
    bench b = {.batch = 1, .seconds = 2};
    const cli_option options[] = {
        {"batch", "N", CLI_INT, &b.batch, 1, 1 << 16, "images a run (default 1)"},
        {"train", NULL, CLI_FLAG, &b.train, 0, 0, "time training steps instead of runs"},
        {"seconds", "X", CLI_REAL, &b.seconds, 0.01, 3600, "how long (default 2)"},
        {"json", "F", CLI_TEXT, &b.json, 0, 0, "write the figures here"},
        CLI_COMPUTE_OPTIONS(&compute),
        CLI_PLAN_OPTIONS(&compute),
        CLI_END,
    };
    int positional;
    int status = cli_parse(&cmd_bench, options, argc, argv, &positional);
    if (status >= 0) return status;
    if (positional != 1) return cli_usage(&cmd_bench, "needs one model file or network name");
    b.name = argv[1];
    if ((status = cli_session(&cmd_bench, &compute, &b.settings)) >= 0) return status;
    if (b.train && compute.plan) return cli_usage(&cmd_bench, "--plan is for runs; training steps have one plan");
    if ((status = cli_context(&cmd_bench, &compute, &b.context)) >= 0) return status;
    fv_zoo_settings zoo;
    fv_zoo_settings_default(&zoo);
    status = cli_model(&cmd_bench, b.context, b.name, &zoo, &b.model);
    if (status < 0) status = measure(&b);
    json_decref(b.layers);
    free(b.times);
    fv_model_free(b.model);
    fv_context_free(b.context);
    return status;
}

const cli_command cmd_bench = {
    "bench", "F.onnx|NETWORK [OPTIONS]",
    "Times a network: latency percentiles, images/s, GFLOP/s, share of this machine's measured peak.",
    "  fovea bench lenet5 --threads 1\n"
    "  fovea bench lenet5 --train --batch 64 --threads 2\n"
    "  fovea bench m.onnx --batch 16 --seconds 5 --json figures.json\n",
    run};
