#define _GNU_SOURCE
#include "cli.h"
#include "serve.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

typedef struct serve_options {
    const char *host, *name;
    int64_t port, max_batch, max_delay, queue, workers, connections, deadline_ms, max_body;
    double timeout, grace;
} serve_options;

static fv_status describe(const fv_model *m, bool inputs, serve_tensor **out, size_t *count) {
    *count = inputs ? fv_model_input_count(m) : fv_model_output_count(m);
    if (!(*out = calloc(*count, sizeof **out))) return FV_ERR_MEMORY;
    for (size_t i = 0; i < *count; i++) {
        serve_tensor *t = &(*out)[i];
        fv_status status = (inputs ? fv_model_input : fv_model_output)(m, i, &t->name, &t->shape);
        t->shape.data = NULL;
        fv_tensor item = t->shape;
        if (item.shape[0] == 0) item.shape[0] = 1;
        if (status == FV_OK) status = fv_tensor_count(&item, &t->item_count);
        if (status != FV_OK) return status;
        t->number_bytes = fv_dtype_bytes(t->shape.dtype);
    }
    return FV_OK;
}

/* Room for a full batch in JSON, 32 characters a number, with what stands around it. */
static size_t usual_body(const server *s) {
    size_t numbers = 0;
    for (size_t i = 0; i < s->input_count; i++) numbers += s->inputs[i].item_count;
    return 65536 + 32 * numbers * (size_t)s->max_batch;
}

static char *name_of(const char *model) {
    const char *slash = strrchr(model, '/');
    char *name = strdup(slash ? slash + 1 : model);
    char *end = name ? strstr(name, ".onnx") : NULL;
    if (end && !end[5]) *end = '\0';
    return name;
}

static fv_status prepare(server *s, const serve_options *o, const fv_session_settings *session, int64_t threads) {
    fv_batcher_settings batching;
    fv_batcher_stats stats;
    fv_batcher_settings_default(&batching);
    batching.max_batch = o->max_batch;
    batching.max_delay_us = o->max_delay;
    batching.queue_capacity = o->queue;
    batching.workers = (int32_t)o->workers;
    batching.threads = (int32_t)threads;
    batching.plan = session->plan;
    batching.choices = session->choices;
    fv_status status = describe(s->model, true, &s->inputs, &s->input_count);
    if (status == FV_OK) status = describe(s->model, false, &s->outputs, &s->output_count);
    if (status == FV_OK) status = fv_batcher_create(s->model, &batching, &s->batcher);
    if (status == FV_OK) status = fv_batcher_get_stats(s->batcher, &stats);
    if (status != FV_OK) return status;
    s->max_batch = stats.max_batch;
    s->queue = o->queue;
    s->timeout = o->timeout;
    s->deadline_us = 1000 * o->deadline_ms;
    s->max_body = o->max_body ? (size_t)o->max_body : usual_body(s);
    return FV_OK;
}

/* Until SIGTERM or SIGINT, which every other thread has blocked; meanwhile slow connections are ended. */
static void wait_for_signal(server *s, const sigset_t *signals) {
    const struct timespec quarter = {0, 250000000};
    for (;;) {
        if (sigtimedwait(signals, NULL, &quarter) > 0) return;
        serve_end_slow(s);
    }
}

static int serve(server *s, const serve_options *o) {
    sigset_t signals;
    int64_t port = o->port;
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    pthread_sigmask(SIG_BLOCK, &signals, NULL); /* MHD's threads come after this */
    signal(SIGPIPE, SIG_IGN);
    if (!serve_listen(s, o->host, o->connections, &port))
        return cli_fail(&cmd_serve, "cannot listen on %s, port %lld: %s", o->host, (long long)o->port, strerror(errno));
    printf(strchr(o->host, ':') ? "%s: http://[%s]:%lld/v2/models/%s\n" : "%s: http://%s:%lld/v2/models/%s\n", s->name,
           o->host, (long long)port, s->name);
    fflush(stdout);
    wait_for_signal(s, &signals);
    return serve_drain(s, o->grace)
               ? CLI_DONE
               : cli_fail(&cmd_serve, "requests were still coming in after %g seconds; their connections were cut",
                          o->grace);
}

static int run(int argc, char **argv) {
    cli_compute compute = {0};
    serve_options o = {.host = "127.0.0.1",
                       .port = 8000,
                       .max_batch = 8,
                       .max_delay = 1000,
                       .queue = 256,
                       .workers = 1,
                       .connections = 1000,
                       .timeout = 10,
                       .grace = 30};
    const cli_option options[] = {
        {"port", "N", CLI_INT, &o.port, 0, 65535, "TCP port (default 8000); 0: any free one, which is printed"},
        {"host", "ADDRESS", CLI_TEXT, &o.host, 0, 0,
         "IPv4 or IPv6 address to listen on (default 127.0.0.1); 0.0.0.0: all"},
        {"name", "NAME", CLI_TEXT, &o.name, 0, 0, "the model's name in paths (default: the file's, without .onnx)"},
        {"max-batch", "N", CLI_INT, &o.max_batch, 1, 1024, "items run together at most (default 8)"},
        {"max-delay", "US", CLI_INT, &o.max_delay, 0, 60000000, "microseconds an item waits for others (default 1000)"},
        {"queue", "N", CLI_INT, &o.queue, 1, 65536, "items that may wait; more are refused with 503 (default 256)"},
        {"workers", "N", CLI_INT, &o.workers, 1, 256, "batches at once, each with --threads threads (default 1)"},
        {"deadline", "MS", CLI_INT, &o.deadline_ms, 0, 3600000,
         "items that waited so long are answered 504 (default 0: never)"},
        {"max-body", "BYTES", CLI_INT, &o.max_body, 0, 1ll << 40,
         "largest request body (default: what a full batch takes in JSON)"},
        {"connections", "N", CLI_INT, &o.connections, 2, 65536, "open at once (default 1000)"},
        {"timeout", "S", CLI_REAL, &o.timeout, 0.1, 3600,
         "seconds a client may be silent; slow ones get twice that (default 10)"},
        {"grace", "S", CLI_REAL, &o.grace, 0, 3600, "seconds for open requests after SIGTERM (default 30)"},
        CLI_COMPUTE_OPTIONS(&compute),
        CLI_PLAN_OPTIONS(&compute),
        CLI_END,
    };
    int positional;
    int status = cli_parse(&cmd_serve, options, argc, argv, &positional);
    if (status >= 0) return status;
    if (positional != 1) return cli_usage(&cmd_serve, "needs one model file or network name");
    if (o.name && strchr(o.name, '/'))
        return cli_usage(&cmd_serve, "--name takes a name without slashes, not \"%s\"", o.name);
    server s = {.lock = PTHREAD_MUTEX_INITIALIZER};
    fv_session_settings session;
    if ((status = cli_session(&cmd_serve, &compute, &session)) >= 0) return status;
    if ((status = cli_context(&cmd_serve, &compute, &s.context)) >= 0) return status;
    char *own = o.name ? NULL : name_of(argv[1]);
    s.name = o.name ? o.name : own ? own : "model";
    fv_zoo_settings zoo;
    fv_zoo_settings_default(&zoo);
    status = cli_model(&cmd_serve, s.context, argv[1], &zoo, &s.model);
    if (status < 0) status = prepare(&s, &o, &session, compute.threads) == FV_OK ? serve(&s, &o) : cli_library(&cmd_serve);
    fv_batcher_free(s.batcher);
    fv_model_free(s.model);
    fv_context_free(s.context);
    free(s.inputs);
    free(s.outputs);
    free(own);
    return status;
}

const cli_command cmd_serve = {
    "serve", "F.onnx|NETWORK [OPTIONS]",
    "Serves a model over HTTP: Open Inference Protocol v2, requests run in batches.\n\n"
    "Paths: /v2, /v2/health/live, /v2/health/ready, /v2/models/NAME, /v2/models/NAME/ready, /v2/models/NAME/infer "
    "(POST; JSON,\n"
    "or binary tensors with the header Inference-Header-Content-Length), /metrics (Prometheus). A request may bring "
    "several\n"
    "items along its first axis: each is queued by itself. parameters.timeout of a request is its deadline in "
    "microseconds.\n"
    "NaN and infinity are null in JSON answers. SIGTERM and SIGINT stop it: what was accepted is answered, then it "
    "exits with 0.",
    "  fovea serve m.onnx --port 8000 --max-batch 16 --max-delay 2000\n"
    "  curl -d '{\"inputs\":[{\"name\":\"input\",\"shape\":[1,1,28,28],\"datatype\":\"FP32\",\"data\":[0,...]}]}' "
    "localhost:8000/v2/models/m/infer\n",
    run};
