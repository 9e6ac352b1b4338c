#include "cli.h"

#include <jansson.h>
#include <stdlib.h>

static void shape_text(const fv_node_info *n, char *out, size_t size) {
    size_t used = 0;
    out[0] = '\0';
    for (int32_t i = 0; i < n->rank && used < size; i++)
        used += (size_t)snprintf(out + used, size - used, "%s%lld", i ? "x" : "", (long long)n->shape[i]);
}

static fv_status print_plan(const fv_session *s) {
    double flops = 0, seconds = 0;
    printf("%-22s %-12s %-16s %-22s %9s %9s %7s %7s %10s\n", "node", "operator", "output", "algorithm", "MFLOP", "KiB",
           "pieces", "field", "us");
    for (size_t i = 0; i < fv_session_node_count(s); i++) {
        fv_node_info n;
        char shape[96], field[32] = "-";
        const fv_status status = fv_session_node(s, i, &n);
        if (status != FV_OK) return status;
        shape_text(&n, shape, sizeof shape);
        if (n.receptive_field[0]) snprintf(field, sizeof field, "%dx%d", n.receptive_field[0], n.receptive_field[1]);
        printf("%-22.22s %-12.12s %-16.16s %-22.22s %9.3f %9.1f %7zu %7s %10.2f\n", n.name ? n.name : "", n.op, shape,
               n.algorithm ? n.algorithm : "", 1e-6 * n.flops, n.bytes / 1024, n.pieces, field, 1e6 * n.seconds);
        flops += n.flops;
        seconds += n.seconds;
    }
    printf("\ntotal     %.3f MFLOP, %.1f us measured\narena     %zu bytes\npacked    %zu bytes of weights\n",
           1e-6 * flops, 1e6 * seconds, fv_session_arena_bytes(s), fv_session_packed_bytes(s));
    if (fv_session_parts(s) > 1) printf("batch     in %lld equal parts, one after the other\n", (long long)fv_session_parts(s));
    return FV_OK;
}

/* Chrome's trace event format: complete events, microseconds. */
static fv_status write_trace(const fv_session *s, const char *path) {
    json_t *events = json_array();
    double at = 0;
    for (size_t i = 0; i < fv_session_node_count(s); i++) {
        fv_node_info n;
        const fv_status status = fv_session_node(s, i, &n);
        if (status != FV_OK) {
            json_decref(events);
            return status;
        }
        json_array_append_new(events, json_pack("{s:s, s:s, s:s, s:f, s:f, s:i, s:i, s:{s:s, s:f}}", "name",
                                                n.name ? n.name : n.op, "cat", n.op, "ph", "X", "ts", 1e6 * at, "dur",
                                                1e6 * n.seconds, "pid", 1, "tid", 1, "args", "algorithm",
                                                n.algorithm ? n.algorithm : "", "mflop", 1e-6 * n.flops));
        at += n.seconds;
    }
    json_t *trace = json_pack("{s:o}", "traceEvents", events);
    const int failed = json_dump_file(trace, path, JSON_INDENT(1));
    json_decref(trace);
    return failed ? FV_ERR_IO : FV_OK;
}

/* Runs on zeros until half a second has passed (5 runs at least): the measured column. */
static fv_status exercise(const fv_model *m, fv_session *s, int64_t batch) {
    fv_tensor in, out;
    size_t in_count, out_count;
    fv_status status = fv_model_input(m, 0, NULL, &in);
    if (status == FV_OK) status = fv_model_output(m, 0, NULL, &out);
    if (status != FV_OK) return status;
    if (fv_model_input_count(m) != 1 || fv_model_output_count(m) != 1) return FV_OK; /* plan only */
    in.shape[0] = out.shape[0] = batch;
    status = fv_tensor_count(&in, &in_count);
    if (status == FV_OK) status = fv_tensor_count(&out, &out_count);
    if (status != FV_OK) return status;
    in.data = calloc(in_count, sizeof(float));
    out.data = calloc(out_count, sizeof(float));
    const double began = cli_seconds();
    for (int i = 0; in.data && out.data && status == FV_OK && (i < 5 || cli_seconds() - began < 0.5); i++)
        status = fv_session_run(s, &in, 1, &out, 1);
    free(in.data);
    free(out.data);
    return status;
}

static int run(int argc, char **argv) {
    cli_compute compute = {0};
    const char *trace = NULL;
    int64_t batch = 1;
    const cli_option options[] = {
        {"batch", "N", CLI_INT, &batch, 1, 1 << 16, "images a run (default 1)"},
        {"trace", "F.json", CLI_TEXT, &trace, 0, 0, "a Chrome trace (chrome://tracing) of the measured runs"},
        CLI_COMPUTE_OPTIONS(&compute),
        CLI_PLAN_OPTIONS(&compute),
        CLI_END,
    };
    int positional;
    int status = cli_parse(&cmd_explain, options, argc, argv, &positional);
    if (status >= 0) return status;
    if (positional != 1) return cli_usage(&cmd_explain, "needs one model file or network name");
    fv_context *context;
    fv_session_settings settings;
    if ((status = cli_session(&cmd_explain, &compute, &settings)) >= 0) return status;
    if ((status = cli_context(&cmd_explain, &compute, &context)) >= 0) return status;
    fv_zoo_settings zoo;
    fv_zoo_settings_default(&zoo);
    settings.batch = batch;
    settings.profile = true;
    fv_model *model = NULL;
    fv_session *session = NULL;
    status = cli_model(&cmd_explain, context, argv[1], &zoo, &model);
    if (status < 0) {
        status = CLI_DONE;
        if (fv_session_create(model, &settings, &session) != FV_OK || exercise(model, session, batch) != FV_OK ||
            print_plan(session) != FV_OK)
            status = cli_library(&cmd_explain);
        else if (trace && write_trace(session, trace) != FV_OK)
            status = cli_fail(&cmd_explain, "cannot write %s", trace);
    }
    fv_session_free(session);
    fv_model_free(model);
    fv_context_free(context);
    return status;
}

const cli_command cmd_explain = {
    "explain", "F.onnx|NETWORK [OPTIONS]",
    "Shows the plan of a network: algorithm, cut, work, bytes, receptive field and measured time of every node.",
    "  fovea explain lenet5\n  fovea explain m.onnx --batch 16 --threads 2 --trace trace.json\n", run};
