/* What the batcher costs: a closed loop of 2 x max_batch clients of one image each against plain runs of full batches,
 * in turns. fovea-bench-serve NETWORK|F.onnx [max_batch] [max_delay_us] [threads] [rounds] [callbacks] */
#include "fovea.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { most_clients = 2048, most_rounds = 1000 };
static const double round_seconds = 0.3;

typedef struct bench {
    fv_model *model;
    fv_batcher *batcher;
    fv_session *session;
    fv_tensor in, out; /* of one item; data of max_batch items */
    int64_t batch, delay;
    bool callbacks;
    atomic_long answered;
    double *latencies; /* of a round */
} bench;

typedef struct client {
    bench *bench;
    pthread_t thread;
    fv_request *request;
    fv_tensor in, out;
    int64_t left;
    double asked;
} client;

static void need(fv_status status) {
    if (status == FV_OK) return;
    fprintf(stderr, "fovea-bench-serve: %s\n", fv_last_error());
    exit(1);
}

static double seconds_of(clockid_t clock) {
    struct timespec t;
    clock_gettime(clock, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void give_memory(fv_tensor *t, int64_t items) {
    size_t count;
    t->shape[0] = items;
    need(fv_tensor_count(t, &count));
    float *data = malloc(count * sizeof *data);
    if (!data) exit(1);
    for (size_t i = 0; i < count; i++) data[i] = (float)(i * 7919 % 997) / 997;
    t->data = data;
}

/* ---- the two loops: items a second of one round, and CPU seconds an item ---- */

static int by_value(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

typedef struct figures {
    double rate, cpu, p99;
} figures;

static figures plain_round(bench *b) {
    fv_tensor in = b->in, out = b->out;
    const double cpu = seconds_of(CLOCK_PROCESS_CPUTIME_ID), began = seconds_of(CLOCK_MONOTONIC);
    int64_t runs = 0;
    double now = began;
    in.shape[0] = out.shape[0] = b->batch;
    for (; now - began < round_seconds; now = seconds_of(CLOCK_MONOTONIC), runs++)
        need(fv_session_run(b->session, &in, 1, &out, 1));
    const double items = (double)(runs * b->batch);
    return (figures){items / (now - began), (seconds_of(CLOCK_PROCESS_CPUTIME_ID) - cpu) / items, 0};
}

/* One more answer; the time of the next question is that of this answer. */
static void keep(client *c) {
    const double now = seconds_of(CLOCK_MONOTONIC);
    c->bench->latencies[atomic_fetch_add(&c->bench->answered, 1)] = now - c->asked;
    c->asked = now;
    c->left--;
}

static void *ask(void *arg) {
    for (client *c = arg; c->left > 0; keep(c)) need(fv_batcher_run(c->bench->batcher, &c->in, 1, &c->out, 1, 0));
    return NULL;
}

static void ask_again(void *user, fv_status status) {
    client *c = user;
    need(status);
    keep(c);
    if (c->left == 0) return;
    const fv_job job = {&c->in, 1, &c->out, 1, 0, ask_again, c};
    need(fv_batcher_submit(c->bench->batcher, c->request, &job));
}

/* So many questions of every client, from the first to the last answer. */
static figures batcher_round(bench *b, client *clients, int64_t each) {
    const int count = (int)(2 * b->batch);
    const int64_t all = count * each;
    b->latencies = realloc(b->latencies, (size_t)all * sizeof *b->latencies);
    if (!b->latencies) exit(1);
    b->answered = 0;
    const double cpu = seconds_of(CLOCK_PROCESS_CPUTIME_ID), began = seconds_of(CLOCK_MONOTONIC);
    for (int i = 0; i < count; i++) {
        clients[i].left = each;
        clients[i].asked = seconds_of(CLOCK_MONOTONIC);
        const fv_job job = {&clients[i].in, 1, &clients[i].out, 1, 0, ask_again, &clients[i]};
        if (b->callbacks)
            need(fv_batcher_submit(b->batcher, clients[i].request, &job));
        else if (pthread_create(&clients[i].thread, NULL, ask, &clients[i]) != 0)
            exit(1);
    }
    for (int i = 0; i < count && !b->callbacks; i++) pthread_join(clients[i].thread, NULL);
    while (b->answered < all) nanosleep(&(struct timespec){0, 200000}, NULL);
    const double passed = seconds_of(CLOCK_MONOTONIC) - began, used = seconds_of(CLOCK_PROCESS_CPUTIME_ID) - cpu;
    qsort(b->latencies, (size_t)all, sizeof *b->latencies, by_value);
    return (figures){(double)all / passed, used / (double)all, b->latencies[all * 99 / 100]};
}

static double median(double *values, int count) {
    qsort(values, (size_t)count, sizeof *values, by_value);
    return values[count / 2];
}

static void compare(bench *b, client *clients, int rounds) {
    static double rate[most_rounds], ratio[most_rounds], cpu[most_rounds], beyond[most_rounds], p99[most_rounds],
        bound[most_rounds];
    const int64_t each = 1 + (int64_t)(plain_round(b).rate * round_seconds / (double)(2 * b->batch));
    (void)batcher_round(b, clients, each);
    for (int i = 0; i < rounds; i++) {
        const figures plain = plain_round(b), batched = batcher_round(b, clients, each);
        rate[i] = plain.rate;
        ratio[i] = batched.rate / plain.rate;
        cpu[i] = plain.cpu;
        beyond[i] = batched.cpu - plain.cpu;
        p99[i] = batched.p99;
        bound[i] = 1e-6 * (double)b->delay + 2 * (double)b->batch / plain.rate;
    }
    fv_batcher_stats s;
    need(fv_batcher_get_stats(b->batcher, &s));
    printf("medians of %d rounds; %lld clients %s, max_batch %lld, mean batch %.2f\n", rounds,
           (long long)(2 * b->batch), b->callbacks ? "by callback" : "waiting", (long long)b->batch,
           (double)s.items / (double)s.batches);
    printf("plain runs   %.0f items/s, %.2f us of CPU an item\n", median(rate, rounds), 1e6 * median(cpu, rounds));
    printf("batcher      %.3f of that, %+.2f us of CPU an item beyond it\n", median(ratio, rounds),
           1e6 * median(beyond, rounds));
    printf("latency      p99 %.3f ms; max_delay and two batches are %.3f ms\n", 1e3 * median(p99, rounds),
           1e3 * median(bound, rounds));
}

static void start(bench *b, const char *name, int threads) {
    fv_context *c = NULL;
    fv_context_settings settings;
    fv_batcher_settings batching;
    fv_session_settings plain;
    fv_context_settings_default(&settings);
    settings.threads = threads;
    need(fv_context_create(&settings, &c));
    need(strchr(name, '.') ? fv_model_load(c, name, &b->model) : fv_model_zoo(c, name, NULL, &b->model));
    need(fv_model_input(b->model, 0, NULL, &b->in));
    need(fv_model_output(b->model, 0, NULL, &b->out));
    give_memory(&b->in, b->batch);
    give_memory(&b->out, b->batch);
    fv_session_settings_default(&plain);
    plain.batch = b->batch;
    need(fv_session_create(b->model, &plain, &b->session));
    fv_batcher_settings_default(&batching);
    batching.max_batch = b->batch;
    batching.max_delay_us = b->delay;
    batching.queue_capacity = 2 * b->batch;
    need(fv_batcher_create(b->model, &batching, &b->batcher));
    fv_context_free(c);
}

int main(int argc, char **argv) {
    static client clients[most_clients];
    const char *name = argc > 1 ? argv[1] : "lenet5";
    bench b = {
        .batch = argc > 2 ? atoll(argv[2]) : 8, .delay = argc > 3 ? atoll(argv[3]) : 1000, .callbacks = argc > 6};
    const int threads = argc > 4 ? atoi(argv[4]) : 0, rounds = argc > 5 ? atoi(argv[5]) : 15;
    if (b.batch < 1 || b.batch > most_clients / 2 || rounds < 1 || rounds > most_rounds) return 2;
    start(&b, name, threads);
    printf("%s: ", name);
    for (int64_t i = 0; i < 2 * b.batch; i++) {
        clients[i] = (client){.bench = &b, .in = b.in, .out = b.out};
        give_memory(&clients[i].in, 1);
        give_memory(&clients[i].out, 1);
        need(fv_request_create(b.batcher, &clients[i].request));
    }
    compare(&b, clients, rounds);
    for (int64_t i = 0; i < 2 * b.batch; i++) {
        fv_request_free(clients[i].request);
        free(clients[i].in.data);
        free(clients[i].out.data);
    }
    fv_batcher_free(b.batcher);
    fv_session_free(b.session);
    fv_model_free(b.model);
    free(b.latencies);
    free(b.in.data);
    free(b.out.data);
    return 0;
}
