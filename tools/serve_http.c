/* The HTTP side: a connection whose request runs is suspended and resumed by the batcher's answer, so that a few
 * threads carry all. */
#define _GNU_SOURCE
#include "serve.h"

#include "cli.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static const double least_bytes_per_second = 65536; /* a slower body does not count as arriving */

/* ---- connections ---- */

static void set_phase(server *s, serve_connection *c, serve_phase phase) {
    pthread_mutex_lock(&s->lock);
    c->phase = phase;
    c->since = cli_seconds();
    c->received = 0;
    pthread_mutex_unlock(&s->lock);
}

static void unlink_connection(server *s, serve_connection *c) {
    *(c->previous ? &c->previous->next : &s->connections) = c->next;
    if (c->next) c->next->previous = c->previous;
}

static void on_connection(void *arg, struct MHD_Connection *connection, void **context,
                          enum MHD_ConnectionNotificationCode code) {
    server *s = arg;
    if (code == MHD_CONNECTION_NOTIFY_STARTED) {
        serve_connection *c = calloc(1, sizeof *c);
        *context = c;
        if (!c) return; /* its requests are refused */
        c->socket = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd;
        c->since = cli_seconds();
        pthread_mutex_lock(&s->lock);
        c->next = s->connections;
        if (c->next) c->next->previous = c;
        s->connections = c;
        pthread_mutex_unlock(&s->lock);
        return;
    }
    serve_connection *c = *context;
    if (!c) return;
    pthread_mutex_lock(&s->lock); /* the socket is closed after this: serve_end_slow never meets another's */
    unlink_connection(s, c);
    pthread_mutex_unlock(&s->lock);
    free(c);
}

void serve_end_slow(server *s) {
    const double now = cli_seconds();
    pthread_mutex_lock(&s->lock);
    for (serve_connection *c = s->connections; c; c = c->next) {
        const double allowed = 2 * s->timeout + (double)c->received / least_bytes_per_second;
        if (c->phase != SERVE_RUNNING && now - c->since > allowed) shutdown(c->socket, SHUT_RDWR);
    }
    pthread_mutex_unlock(&s->lock);
}

/* ---- answers ---- */

static enum MHD_Result send_reply(exchange *e, int code) {
    server *s = e->server;
    if (e->reply.failed) {
        e->reply = (serve_text){0};
        code = serve_refuse(e, 503, "out of memory");
    }
    struct MHD_Response *r = MHD_create_response_from_buffer(e->reply.size, e->reply.data, MHD_RESPMEM_MUST_FREE);
    if (!r) return MHD_NO;
    e->reply = (serve_text){0}; /* the response's now */
    char length[24];
    snprintf(length, sizeof length, "%zu", e->json_bytes);
    if (e->json_bytes) MHD_add_response_header(r, "Inference-Header-Content-Length", length);
    MHD_add_response_header(r, MHD_HTTP_HEADER_CONTENT_TYPE,
                            e->json_bytes   ? "application/octet-stream"
                            : e->code == -1 ? "text/plain; version=0.0.4"
                                            : "application/json");
    if (code == 405) MHD_add_response_header(r, MHD_HTTP_HEADER_ALLOW, e->infer ? "POST" : "GET, HEAD");
    if (code == 503) MHD_add_response_header(r, "Retry-After", "1");
    if (s->draining || code == 413) MHD_add_response_header(r, MHD_HTTP_HEADER_CONNECTION, "close");
    set_phase(s, e->slot, SERVE_WRITING);
    s->answers[code]++;
    const enum MHD_Result result = MHD_queue_response(e->connection, (unsigned)code, r);
    MHD_destroy_response(r);
    return result;
}

static int answer_code(exchange *e) {
    const fv_status status = e->status;
    switch (status) {
    case FV_OK:
        serve_write_infer(e);
        return 200;
    case FV_ERR_FULL:
        return serve_refuse(e, 503, "the queue is full; try again later");
    case FV_ERR_STATE:
        return serve_refuse(e, 503, "the server is stopping");
    case FV_ERR_DEADLINE:
        return serve_refuse(e, 504, "the request had not begun to run by its deadline");
    case FV_ERR_MEMORY:
        return serve_refuse(e, 503, "out of memory");
    default:
        return serve_refuse(e, 500, "the run failed: %s", fv_status_name(status));
    }
}

/* ---- inference ---- */

static void note_status(exchange *e, fv_status status) {
    fv_status none = FV_OK;
    if (status != FV_OK) atomic_compare_exchange_strong(&e->status, &none, status);
}

static void give_back(exchange *e, long items) {
    if (atomic_fetch_sub(&e->left, items) == items) MHD_resume_connection(e->connection);
}

static void on_answer(void *user, fv_status status) {
    exchange *e = ((serve_item *)user)->owner;
    note_status(e, status);
    give_back(e, 1);
}

static fv_tensor item_of(const serve_tensor *t, void *all, int64_t i) {
    fv_tensor one = t->shape;
    if (one.shape[0] == 0) one.shape[0] = 1;
    one.data = (char *)all + (size_t)i * t->item_count * t->number_bytes;
    return one;
}

static fv_status submit(exchange *e, int64_t i, fv_tensor *tensors) {
    server *s = e->server;
    for (size_t k = 0; k < s->input_count; k++) tensors[k] = item_of(&s->inputs[k], e->in[k], i);
    for (size_t k = 0; k < s->output_count; k++) tensors[s->input_count + k] = item_of(&s->outputs[k], e->out[k], i);
    const fv_job job = {tensors,        s->input_count, tensors + s->input_count, s->output_count,
                        e->deadline_us, on_answer,      &e->requests[i]};
    e->requests[i].owner = e;
    const fv_status status = fv_request_create(s->batcher, &e->requests[i].request);
    return status == FV_OK ? fv_batcher_submit(s->batcher, e->requests[i].request, &job) : status;
}

/* Every item is a request of its own; if one finds no place, those before it are taken back. One count is held until
 * all are in. */
static void start_infer(exchange *e) {
    const server *s = e->server;
    fv_tensor *tensors = calloc(s->input_count + s->output_count, sizeof *tensors);
    e->requests = calloc((size_t)e->items, sizeof *e->requests);
    e->left = e->items + 1;
    e->running = true;
    set_phase(e->server, e->slot, SERVE_RUNNING);
    MHD_suspend_connection(e->connection);
    int64_t i = 0;
    fv_status status = tensors && e->requests ? FV_OK : FV_ERR_MEMORY;
    while (status == FV_OK && i < e->items) {
        status = submit(e, i, tensors);
        i += status == FV_OK;
    }
    if (status != FV_OK) {
        note_status(e, status);
        for (int64_t k = 0; k < i; k++) (void)fv_request_cancel(e->requests[k].request);
    }
    free(tensors);
    give_back(e, 1 + (long)(e->items - i));
}

/* ---- paths ---- */

/* The rest of the path behind the model's name and version, NULL where that is not one here. */
static const char *model_path(const server *s, const char *path) {
    const size_t length = strlen(s->name);
    if (strncmp(path, s->name, length) != 0) return NULL;
    path += length;
    if (strncmp(path, "/versions/1", 11) == 0 && (path[11] == '/' || !path[11])) path += 11;
    return *path == '/' || !*path ? path : NULL;
}

static bool is_infer(const server *s, const char *path) {
    const char *rest = strncmp(path, "/v2/models/", 11) == 0 ? model_path(s, path + 11) : NULL;
    return rest && strcmp(rest, "/infer") == 0;
}

static void write_ready(const server *s, serve_text *t) {
    serve_print(t, "{\"name\":");
    serve_quote(t, s->name);
    serve_print(t, ",\"ready\":true}");
}

static int answer_get(exchange *e, const char *path) {
    server *s = e->server;
    serve_text *t = &e->reply;
    if (strcmp(path, "/v2") == 0 || strcmp(path, "/v2/") == 0) {
        serve_write_server(t);
    } else if (strcmp(path, "/v2/health/live") == 0) {
        serve_print(t, "{\"live\":true}");
    } else if (strcmp(path, "/v2/health/ready") == 0) {
        serve_print(t, "{\"ready\":%s}", s->draining ? "false" : "true");
        return s->draining ? 503 : 200;
    } else if (strcmp(path, "/metrics") == 0) {
        serve_write_metrics(s, t);
        e->code = -1; /* plain text */
    } else {
        const char *rest = strncmp(path, "/v2/models/", 11) == 0 ? model_path(s, path + 11) : NULL;
        if (rest && !*rest)
            serve_write_model(s, t);
        else if (rest && strcmp(rest, "/ready") == 0)
            write_ready(s, t);
        else
            return serve_refuse(e, 404, "nothing is at %.200s; the model is /v2/models/%.100s", path, s->name);
    }
    return 200;
}

static enum MHD_Result answer_request(exchange *e, const char *path) {
    if (!e->infer) return send_reply(e, answer_get(e, path));
    if (e->too_large)
        return send_reply(e,
                          serve_refuse(e, 413, "the body is larger than the %zu bytes allowed", e->server->max_body));
    if (e->running) return send_reply(e, answer_code(e));
    const int code = serve_read_infer(
        e, MHD_lookup_connection_value(e->connection, MHD_HEADER_KIND, "Inference-Header-Content-Length"));
    if (code) return send_reply(e, code);
    start_infer(e);
    return MHD_YES;
}

/* ---- MHD's calls: headers, pieces of the body, its end, and again after a resume ---- */

static enum MHD_Result begin(server *s, struct MHD_Connection *connection, const char *path, const char *method,
                             void **context) {
    serve_connection *slot = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT)->socket_context;
    exchange *e = slot ? calloc(1, sizeof *e) : NULL;
    if (!e) return MHD_NO;
    *e = (exchange){.server = s, .connection = connection, .slot = slot, .infer = is_infer(s, path)};
    *context = e;
    set_phase(s, slot, SERVE_READING);
    const bool get = strcmp(method, "GET") == 0 || strcmp(method, "HEAD") == 0;
    if (e->infer ? strcmp(method, "POST") != 0 : !get)
        return send_reply(e, serve_refuse(e, 405, "%.20s is not a method of %.200s", method, path));
    const char *coding = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, MHD_HTTP_HEADER_CONTENT_ENCODING);
    if (coding && strcmp(coding, "identity") != 0)
        return send_reply(
            e, serve_refuse(e, 415, "bodies are taken as they are, not with Content-Encoding %.40s", coding));
    const char *length = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, MHD_HTTP_HEADER_CONTENT_LENGTH);
    if (length && strtoull(length, NULL, 10) > s->max_body)
        return send_reply(e, serve_refuse(e, 413, "the body is larger than the %zu bytes allowed", s->max_body));
    return MHD_YES;
}

static void take_body(exchange *e, const char *data, size_t bytes) {
    e->too_large |= bytes > e->server->max_body - e->body.size;
    if (!e->too_large && e->infer) serve_append(&e->body, data, bytes);
    e->too_large |= e->body.failed;
    pthread_mutex_lock(&e->server->lock);
    e->slot->received += e->too_large ? 0 : bytes;
    pthread_mutex_unlock(&e->server->lock);
}

static enum MHD_Result on_request(void *arg, struct MHD_Connection *connection, const char *path, const char *method,
                                  const char *version, const char *data, size_t *bytes, void **context) {
    exchange *e = *context;
    (void)version;
    if (!e) return begin(arg, connection, path, method, context);
    if (*bytes == 0) return answer_request(e, path);
    take_body(e, data, *bytes);
    *bytes = 0;
    return MHD_YES;
}

static void on_completed(void *arg, struct MHD_Connection *connection, void **context,
                         enum MHD_RequestTerminationCode why) {
    exchange *e = *context;
    (void)connection, (void)why;
    if (!e) return;
    set_phase(arg, e->slot, SERVE_IDLE);
    serve_free_infer(e);
    free(e->body.data);
    free(e->reply.data);
    free(e);
    *context = NULL;
}

/* ---- life ---- */

static bool address_of(const char *host, int64_t port, struct sockaddr_storage *out, bool *v6) {
    struct sockaddr_in *four = (struct sockaddr_in *)out;
    struct sockaddr_in6 *six = (struct sockaddr_in6 *)out;
    memset(out, 0, sizeof *out);
    *v6 = inet_pton(AF_INET6, host, &six->sin6_addr) == 1;
    if (*v6) {
        six->sin6_family = AF_INET6;
        six->sin6_port = htons((uint16_t)port);
        return true;
    }
    four->sin_family = AF_INET;
    four->sin_port = htons((uint16_t)port);
    return inet_pton(AF_INET, host, &four->sin_addr) == 1;
}

bool serve_listen(server *s, const char *host, int64_t connections, int64_t *port) {
    struct sockaddr_storage address;
    bool v6;
    errno = EINVAL;
    if (!address_of(host, *port, &address, &v6)) return false;
    const unsigned flags =
        MHD_USE_EPOLL_INTERNAL_THREAD | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ITC | (v6 ? MHD_USE_IPv6 : 0);
    s->daemon = MHD_start_daemon(flags, (uint16_t)*port, NULL, NULL, on_request, s, MHD_OPTION_SOCK_ADDR,
                                 (struct sockaddr *)&address, MHD_OPTION_NOTIFY_CONNECTION, on_connection, s,
                                 MHD_OPTION_NOTIFY_COMPLETED, on_completed, s, MHD_OPTION_CONNECTION_LIMIT,
                                 (unsigned)connections, MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)(s->timeout + 0.999),
                                 MHD_OPTION_THREAD_POOL_SIZE, 2u, MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)65536,
                                 MHD_OPTION_END);
    if (!s->daemon) return false;
    *port = MHD_get_daemon_info(s->daemon, MHD_DAEMON_INFO_BIND_PORT)->port;
    return true;
}

/* Connections that the system has accepted and nobody has taken yet are served too. */
static void stop_listening(server *s) {
    const int socket = MHD_quiesce_daemon(s->daemon);
    if (socket == MHD_INVALID_SOCKET) return;
    for (;;) {
        struct sockaddr_storage address;
        socklen_t length = sizeof address;
        const int taken = accept4(socket, (struct sockaddr *)&address, &length, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (taken < 0) break;
        (void)MHD_add_connection(s->daemon, taken, (struct sockaddr *)&address, length);
    }
    close(socket);
}

/* Connections there are, and whether one is in the middle of a request. */
static size_t look(server *s, bool *busy) {
    size_t count = 0;
    *busy = false;
    pthread_mutex_lock(&s->lock);
    for (const serve_connection *c = s->connections; c; c = c->next, count++) *busy |= c->phase != SERVE_IDLE;
    pthread_mutex_unlock(&s->lock);
    return count;
}

bool serve_drain(server *s, double grace) {
    const double linger = 0.3, began = cli_seconds(); /* for requests on their way over connections that stay open */
    bool busy = true;
    s->draining = true;
    stop_listening(s);
    for (double now = began; now - began < grace; now = cli_seconds()) {
        if (look(s, &busy) == 0 || (!busy && now - began > linger)) break;
        serve_end_slow(s);
        usleep(5000);
    }
    (void)fv_batcher_drain(s->batcher); /* nobody is suspended after this */
    MHD_stop_daemon(s->daemon);
    return !busy;
}
