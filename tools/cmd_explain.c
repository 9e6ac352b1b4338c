#include "roofline.h"

#include <jansson.h>
#include <stdlib.h>

static void shape_text(const fv_node_info *n, char *out, size_t size) {
    size_t used = 0;
    out[0] = '\0';
    for (int32_t i = 0; i < n->rank && used < size; i++)
        used += (size_t)snprintf(out + used, size - used, "%s%lld", i ? "x" : "", (long long)n->shape[i]);
}

/* The bound of a node: of what its algorithm computes, on the threads that runs use. */
static bound predicted(roofline *r, const fv_session *s, const fv_node_info *n) {
    const int allowed = r->cpu.threads;
    r->cpu.threads = fv_session_threads(s);
    const bound b = roof_bound(r, n->work, n->bytes);
    r->cpu.threads = allowed;
    return n->phases ? b : (bound){0, "-"};
}

static fv_status print_nodes(const fv_session *s, roofline *r) {
    double flops = 0, seconds = 0, expected = 0;
    printf("%-22s %-12s %-16s %-22s %9s %9s %7s %7s %10s %10s %-6s\n", "node", "operator", "output", "algorithm",
           "MFLOP", "KiB", "pieces", "field", "predicted", "us", "bound");
    for (size_t i = 0; i < fv_session_node_count(s); i++) {
        fv_node_info n;
        char shape[96], field[32] = "-";
        const fv_status status = fv_session_node(s, i, &n);
        if (status != FV_OK) return status;
        const bound b = predicted(r, s, &n);
        shape_text(&n, shape, sizeof shape);
        if (n.receptive_field[0]) snprintf(field, sizeof field, "%dx%d", n.receptive_field[0], n.receptive_field[1]);
        printf("%-22.22s %-12.12s %-16.16s %-22.22s %9.3f %9.1f %7zu %7s %10.2f %10.2f %-6s\n", n.name ? n.name : "",
               n.op, shape, n.algorithm ? n.algorithm : "", 1e-6 * n.flops, n.bytes / 1024, n.pieces, field,
               1e6 * b.seconds, 1e6 * n.seconds, b.by);
        flops += n.flops;
        seconds += n.seconds;
        expected += b.seconds;
    }
    printf("\ntotal     %.3f MFLOP, %.1f us predicted, %.1f us measured\n", 1e-6 * flops, 1e6 * expected,
           1e6 * seconds);
    return FV_OK;
}

static fv_status print_passes(const fv_session *s) {
    printf("\n%-22s %8s %12s %14s\n", "pass", "times", "nodes less", "KiB saved");
    for (size_t i = 0; i < fv_session_pass_count(s); i++) {
        fv_pass_info p;
        const fv_status status = fv_session_pass(s, i, &p);
        if (status != FV_OK) return status;
        printf("%-22s %8zu %12zu %14.1f\n", p.name, p.count, p.nodes, p.bytes / 1024);
    }
    return FV_OK;
}

static fv_status print_plan(const fv_session *s, const char *mode, roofline *r) {
    fv_memory held;
    fv_status status = print_nodes(s, r);
    if (status == FV_OK) status = fv_session_memory(s, &held);
    if (status != FV_OK) return status;
    printf(
        "plan      %s, on %d of %d threads\narena     %zu bytes\nscratch   %zu bytes\npacked    %zu bytes of weights\n"
        "weights   %zu bytes beside them\n",
        mode, fv_session_threads(s), r->cpu.threads, held.arena, held.scratch, held.packed, held.weights);
    if (fv_session_parts(s) > 1)
        printf("batch     in %lld equal parts, one after the other\n", (long long)fv_session_parts(s));
    return print_passes(s);
}

static json_t *nodes_json(const fv_session *s, roofline *r) {
    json_t *nodes = json_array();
    fv_node_info n;
    for (size_t i = 0; i < fv_session_node_count(s) && fv_session_node(s, i, &n) == FV_OK; i++) {
        const bound b = predicted(r, s, &n);
        json_array_append_new(nodes, json_pack("{s:s, s:s, s:s, s:f, s:f, s:I, s:f, s:f, s:s}", "name",
                                               n.name ? n.name : "", "op", n.op, "algorithm",
                                               n.algorithm ? n.algorithm : "", "mflop", 1e-6 * n.flops, "bytes",
                                               n.bytes, "pieces", (json_int_t)n.pieces, "predicted_us", 1e6 * b.seconds,
                                               "measured_us", 1e6 * n.seconds, "bound", b.by));
    }
    return nodes;
}

static json_t *passes_json(const fv_session *s) {
    json_t *passes = json_array();
    fv_pass_info p;
    for (size_t i = 0; i < fv_session_pass_count(s) && fv_session_pass(s, i, &p) == FV_OK; i++)
        json_array_append_new(passes, json_pack("{s:s, s:I, s:I, s:f}", "name", p.name, "count", (json_int_t)p.count,
                                                "nodes", (json_int_t)p.nodes, "bytes", p.bytes));
    return passes;
}

static fv_status write_json(const fv_session *s, const char *name, int64_t batch, const char *mode, roofline *r,
                            const char *path) {
    fv_memory held;
    const fv_status status = fv_session_memory(s, &held);
    if (status != FV_OK) return status;
    json_t *all =
        json_pack("{s:s, s:I, s:s, s:i, s:i, s:I, s:I, s:I, s:I, s:I, s:o, s:o}", "model", name, "batch",
                  (json_int_t)batch, "plan", mode, "threads", fv_session_threads(s), "threads_allowed", r->cpu.threads,
                  "parts", (json_int_t)fv_session_parts(s), "arena_bytes", (json_int_t)held.arena, "scratch_bytes",
                  (json_int_t)held.scratch, "packed_bytes", (json_int_t)held.packed, "weight_bytes",
                  (json_int_t)held.weights, "passes", passes_json(s), "nodes", nodes_json(s, r));
    const int failed = json_dump_file(all, path, JSON_INDENT(1));
    json_decref(all);
    return failed ? FV_ERR_IO : FV_OK;
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
static fv_status exercise(fv_session *s) {
    fv_tensor in, out;
    size_t in_count, out_count;
    if (fv_session_input_count(s) != 1 || fv_session_output_count(s) != 1) return FV_OK; /* plan only */
    fv_status status = fv_session_input(s, 0, NULL, &in);
    if (status == FV_OK) status = fv_session_output(s, 0, NULL, &out);
    if (status == FV_OK) status = fv_tensor_count(&in, &in_count);
    if (status == FV_OK) status = fv_tensor_count(&out, &out_count);
    if (status != FV_OK) return status;
    in.data = calloc(in_count + 1, fv_dtype_bytes(in.dtype));
    out.data = calloc(out_count + 1, fv_dtype_bytes(out.dtype));
    const double began = cli_seconds();
    for (int i = 0; in.data && out.data && status == FV_OK && (i < 5 || cli_seconds() - began < 0.5); i++)
        status = fv_session_run(s, &in, 1, &out, 1);
    free(in.data);
    free(out.data);
    return status;
}

static int run(int argc, char **argv) {
    cli_compute compute = {0};
    const char *trace = NULL, *json = NULL;
    int64_t batch = 1;
    const cli_option options[] = {
        {"batch", "N", CLI_INT, &batch, 1, 1 << 16, "images a run (default 1)"},
        {"trace", "F.json", CLI_TEXT, &trace, 0, 0, "a Chrome trace (chrome://tracing) of the measured runs"},
        {"json", "F", CLI_TEXT, &json, 0, 0, "write the plan, its passes and its memory here"},
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
    roofline roof = {0};
    const char *mode = compute.plan ? compute.plan : "fast";
    status = cli_model(&cmd_explain, context, argv[1], &zoo, &model);
    if (status < 0) {
        status = CLI_DONE;
        if (fv_session_create(model, &settings, &session) != FV_OK || exercise(session) != FV_OK ||
            roof_open(&roof, context) != FV_OK || print_plan(session, mode, &roof) != FV_OK)
            status = cli_library(&cmd_explain);
        else if (json && write_json(session, argv[1], batch, mode, &roof, json) != FV_OK)
            status = cli_fail(&cmd_explain, "cannot write %s", json);
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
    "Shows the plan of a network: algorithm, cut, work, bytes, receptive field, predicted and measured time of every "
    "node, and what\n"
    "bounds it: multiply-adds (FMA) or the bytes it moves once, from L2 or from memory (L3 too). Then the memory it "
    "takes, and what\n"
    "each pass over the graph did and saved: bytes that a run does not move, or (in-place reuse) that the arena does "
    "not have.",
    "  fovea explain lenet5\n  fovea explain m.onnx --batch 16 --threads 2 --trace trace.json\n", run};
