/* What `fovea serve` says beside inference: metadata and figures. */
#include "serve.h"

#include "cli.h"

#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

void serve_append(serve_text *t, const void *data, size_t bytes) {
    if (t->failed || bytes == 0) return;
    if (bytes > t->capacity - t->size) {
        size_t capacity = t->capacity ? t->capacity : 1024;
        while (capacity - t->size < bytes && capacity <= SIZE_MAX / 2) capacity *= 2;
        char *more = capacity - t->size < bytes ? NULL : realloc(t->data, capacity);
        if (!more) {
            t->failed = true;
            return;
        }
        t->data = more;
        t->capacity = capacity;
    }
    memcpy(t->data + t->size, data, bytes);
    t->size += bytes;
}

void serve_print(serve_text *t, const char *format, ...) {
    char line[1024];
    va_list arguments;
    va_start(arguments, format);
    const int length = vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    serve_append(t, line, length < (int)sizeof line ? (size_t)length : sizeof line - 1);
}

void serve_quote(serve_text *t, const char *string) {
    json_t *s = json_string(string);
    char *quoted = s ? json_dumps(s, JSON_ENCODE_ANY) : NULL;
    if (quoted)
        serve_append(t, quoted, strlen(quoted));
    else
        serve_append(t, "\"?\"", 3); /* a name that is not UTF-8 */
    free(quoted);
    json_decref(s);
}

const char *serve_datatype(fv_dtype type) {
    static const char *const names[] = {[FV_F32] = "FP32",  [FV_I32] = "INT32",  [FV_U8] = "UINT8",   [FV_F64] = "FP64",
                                        [FV_I64] = "INT64", [FV_BOOL] = "BOOL",  [FV_I8] = "INT8",    [FV_I16] = "INT16",
                                        [FV_U16] = "UINT16", [FV_U32] = "UINT32", [FV_U64] = "UINT64", [FV_F16] = "FP16"};
    return (size_t)type < sizeof names / sizeof *names ? names[type] : "?";
}

void serve_write_server(serve_text *t) {
    serve_print(t, "{\"name\":\"fovea\",\"version\":\"%s\",\"extensions\":[\"binary_tensor_data\"]}", fv_version());
}

static void write_tensors(serve_text *t, const serve_tensor *tensors, size_t count) {
    for (size_t i = 0; i < count; i++) {
        const fv_tensor *shape = &tensors[i].shape;
        serve_print(t, "%s{\"name\":", i ? "," : "");
        serve_quote(t, tensors[i].name);
        serve_print(t, ",\"datatype\":\"%s\",\"shape\":[", serve_datatype(shape->dtype));
        for (int32_t a = 0; a < shape->rank; a++)
            serve_print(t, "%s%lld", a ? "," : "", a == 0 && shape->shape[0] == 0 ? -1LL : (long long)shape->shape[a]);
        serve_print(t, "]}");
    }
}

void serve_write_model(const server *s, serve_text *t) {
    serve_print(t, "{\"name\":");
    serve_quote(t, s->name);
    serve_print(t, ",\"versions\":[\"1\"],\"platform\":\"fovea\",\"inputs\":[");
    write_tensors(t, s->inputs, s->input_count);
    serve_print(t, "],\"outputs\":[");
    write_tensors(t, s->outputs, s->output_count);
    serve_print(t, "]}");
}

/* ---- Prometheus ---- */

static void metric(serve_text *t, const char *name, const char *type, const char *about, double value) {
    serve_print(t, "# HELP fovea_%s %s\n# TYPE fovea_%s %s\nfovea_%s %.17g\n", name, about, name, type, name, value);
}

static void write_histogram(serve_text *t, const fv_batcher_stats *f) {
    uint64_t below = 0;
    serve_print(t, "# HELP fovea_latency_seconds From an item's acceptance to its answer.\n# TYPE "
                   "fovea_latency_seconds histogram\n");
    for (size_t i = 0; i < FV_LATENCY_BUCKETS; i++) {
        below += f->latency[i];
        if (i % 8 == 0 && i + 1 < FV_LATENCY_BUCKETS) /* whole octaves */
            serve_print(t, "fovea_latency_seconds_bucket{le=\"%.9g\"} %llu\n", fv_latency_bound(i),
                        (unsigned long long)below);
    }
    serve_print(t,
                "fovea_latency_seconds_bucket{le=\"+Inf\"} %llu\nfovea_latency_seconds_sum "
                "%.9g\nfovea_latency_seconds_count %llu\n",
                (unsigned long long)below, f->latency_seconds, (unsigned long long)below);
}

void serve_write_metrics(server *s, serve_text *t) {
    fv_batcher_stats f;
    if (fv_batcher_get_stats(s->batcher, &f) != FV_OK) return;
    serve_print(
        t, "# HELP fovea_http_responses_total Answers by HTTP status.\n# TYPE fovea_http_responses_total counter\n");
    for (int code = 0; code < serve_codes; code++)
        if (s->answers[code]) serve_print(t, "fovea_http_responses_total{code=\"%d\"} %lu\n", code, s->answers[code]);
    metric(t, "items_accepted_total", "counter", "Items taken into the queue.", (double)f.accepted);
    metric(t, "items_answered_total", "counter", "Items run and answered.", (double)f.answered);
    metric(t, "items_refused_total", "counter", "Items refused because the queue was full.", (double)f.refused);
    metric(t, "items_expired_total", "counter", "Items whose deadline passed while they waited.", (double)f.expired);
    metric(t, "items_cancelled_total", "counter", "Items taken back.", (double)f.cancelled);
    metric(t, "items_failed_total", "counter", "Items whose run failed.", (double)f.failed);
    metric(t, "batches_total", "counter", "Batches run.", (double)f.batches);
    metric(t, "batch_seconds_total", "counter", "Time spent in batches.", f.run_seconds);
    metric(t, "queue_length", "gauge", "Items that wait now.", (double)f.queued);
    metric(t, "items_running", "gauge", "Items that run now.", (double)f.running);
    metric(t, "max_batch", "gauge", "Items a batch at most.", (double)f.max_batch);
    write_histogram(t, &f);
}
