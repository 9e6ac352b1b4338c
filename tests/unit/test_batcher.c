/* The batcher: right answers from many threads, batches, full queues, cancelling, deadlines, drain, figures, failures,
 * misuse. */
#define _GNU_SOURCE
#include "unit.h"

#include <dlfcn.h>
#include <errno.h>
#include <fenv.h>
#include <math.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* ---- a thread that cannot be made: the n-th call fails ---- */

static atomic_int creations, refuse_at;

int pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*run)(void *), void *arg) {
    static int (*real)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);
    if (!real) *(void **)&real = dlsym(RTLD_NEXT, "pthread_create");
    return atomic_fetch_add(&creations, 1) + 1 == refuse_at ? EAGAIN : real(thread, attr, run, arg);
}

/* ---- images and what a plain session says to them ---- */

enum { images = 32 };
static float pictures[images][net_in], wanted[images][net_out];

static void expect_answers(const fv_model *m) {
    fv_session *s = NULL;
    ok(fv_session_create(m, NULL, &s));
    for (int i = 0; i < images; i++) {
        draw_all(pictures[i], net_in, (uint32_t)i + 1);
        const fv_tensor in = maps(pictures[i], 1, net_c, net_h, net_w), out = rows(wanted[i], 1, net_out);
        ok(fv_session_run(s, &in, 1, &out, 1));
    }
    fv_session_free(s);
}

static bool right(const float *y, int image) {
    for (int k = 0; k < net_out; k++)
        if (!(fabsf(y[k] - wanted[image][k]) <= 1e-5f)) return false;
    return true;
}

typedef struct fixture {
    fv_context *context;
    fv_model *model;
    fv_batcher *batcher;
} fixture;

static fv_batcher_settings defaults(void) {
    fv_batcher_settings s;
    fv_batcher_settings_default(&s);
    return s;
}

static fixture start(fv_backend backend, int threads, const fv_batcher_settings *s) {
    fixture f = {.context = context_of(backend, threads)};
    f.model = small_model(f.context, false);
    expect_answers(f.model);
    ok(fv_batcher_create(f.model, s, &f.batcher));
    return f;
}

static void finish(fixture *f) {
    fv_batcher_free(f->batcher);
    fv_model_free(f->model);
    fv_context_free(f->context);
}

static fv_status run_one(fv_batcher *b, int image, float *y, int64_t deadline) {
    const fv_tensor in = maps(pictures[image], 1, net_c, net_h, net_w), out = rows(y, 1, net_out);
    return fv_batcher_run(b, &in, 1, &out, 1, deadline);
}

static fv_batcher_stats stats_of(fv_batcher *b) {
    fv_batcher_stats s;
    ok(fv_batcher_get_stats(b, &s));
    ck_assert_uint_eq(s.accepted,
                      s.answered + s.failed + s.cancelled + s.expired + (uint64_t)s.queued + (uint64_t)s.running);
    return s;
}

/* ---- many threads ---- */

typedef struct client {
    fv_batcher *batcher;
    int number, rounds, wrong, answered;
} client;

static void *ask_often(void *arg) {
    client *c = arg;
    for (int i = 0; i < c->rounds; i++) {
        float y[net_out] = {0};
        const int image = (c->number * 7 + i) % images;
        const fv_status status = run_one(c->batcher, image, y, 0);
        if (status == FV_ERR_STATE) break; /* drained */
        c->answered++;
        if (status != FV_OK || !right(y, image)) c->wrong++;
    }
    return NULL;
}

START_TEST(many_threads_get_right_answers) {
    fv_backend backends[3];
    const size_t n = backends_here(backends);
    for (size_t k = 0; k < n; k++)
        for (int workers = 1; workers <= 3; workers += 2) {
            fv_batcher_settings s = defaults();
            s.workers = workers;
            s.max_batch = workers == 1 ? 8 : 11;
            s.max_delay_us = 200;
            fixture f = start(backends[k], 2, &s);
            pthread_t threads[16];
            client clients[16];
            for (int i = 0; i < 16; i++) {
                clients[i] = (client){f.batcher, i, 60, 0, 0};
                ck_assert_int_eq(pthread_create(&threads[i], NULL, ask_often, &clients[i]), 0);
            }
            for (int i = 0; i < 16; i++) {
                pthread_join(threads[i], NULL);
                ck_assert_int_eq(clients[i].wrong, 0);
                ck_assert_int_eq(clients[i].answered, 60);
            }
            const fv_batcher_stats seen = stats_of(f.batcher);
            ck_assert_uint_eq(seen.answered, 16 * 60);
            ck_assert_uint_eq(seen.items, 16 * 60);
            ck_assert_uint_lt(seen.batches, seen.items); /* they did run together */
            ck_assert(fv_batcher_percentile(&seen, 0.5) > 0 && fv_batcher_percentile(&seen, 1) < INFINITY);
            finish(&f);
        }
}
END_TEST

/* ---- a worker held in a callback, so that the queue stands still ---- */

typedef struct gate {
    pthread_mutex_t lock;
    pthread_cond_t moved;
    bool entered, open;
    fv_status status;
} gate;

static void hold(void *user, fv_status status) {
    gate *g = user;
    pthread_mutex_lock(&g->lock);
    g->status = status;
    g->entered = true;
    pthread_cond_broadcast(&g->moved);
    while (!g->open) pthread_cond_wait(&g->moved, &g->lock);
    pthread_mutex_unlock(&g->lock);
}

static void open_gate(gate *g) {
    pthread_mutex_lock(&g->lock);
    g->open = true;
    pthread_cond_broadcast(&g->moved);
    pthread_mutex_unlock(&g->lock);
}

static void wait_held(gate *g) {
    pthread_mutex_lock(&g->lock);
    while (!g->entered) pthread_cond_wait(&g->moved, &g->lock);
    pthread_mutex_unlock(&g->lock);
}

typedef struct asked {
    fv_request *request;
    float y[net_out];
    fv_tensor in, out;
    atomic_int calls;
    _Atomic fv_status status;
} asked;

static void note(void *user, fv_status status) {
    asked *a = user;
    a->status = status;
    a->calls++;
}

static void prepare(fv_batcher *b, asked *a, int image) {
    memset(a, 0, sizeof *a);
    ok(fv_request_create(b, &a->request));
    a->in = maps(pictures[image], 1, net_c, net_h, net_w);
    a->out = rows(a->y, 1, net_out);
}

static fv_job job_of(asked *a, int64_t deadline, bool callback) {
    return (fv_job){&a->in, 1, &a->out, 1, deadline, callback ? note : NULL, a};
}

/* Submits one that holds the only worker. */
static void stop_worker(fv_batcher *b, asked *a, gate *g) {
    *g = (gate){.lock = PTHREAD_MUTEX_INITIALIZER, .moved = PTHREAD_COND_INITIALIZER};
    prepare(b, a, 0);
    fv_job job = job_of(a, 0, false);
    job.answered = hold;
    job.user = g;
    ok(fv_batcher_submit(b, a->request, &job));
    wait_held(g);
    ck_assert_int_eq(g->status, FV_OK);
}

START_TEST(a_full_queue_says_so) {
    fv_batcher_settings s = defaults();
    s.queue_capacity = 5;
    s.max_delay_us = 0;
    fixture f = start(FV_BACKEND_PTHREADS, 2, &s);
    asked holder, a[6];
    gate g;
    stop_worker(f.batcher, &holder, &g);
    for (int i = 0; i < 6; i++) {
        prepare(f.batcher, &a[i], i);
        const fv_job job = job_of(&a[i], 0, false);
        if (i < 5)
            ok(fv_batcher_submit(f.batcher, a[i].request, &job));
        else
            fails(fv_batcher_submit(f.batcher, a[i].request, &job), FV_ERR_FULL,
                  "the batcher's queue is full: 5 requests wait");
    }
    float y[net_out];
    fails(run_one(f.batcher, 0, y, 0), FV_ERR_FULL, "full");
    const fv_batcher_stats before = stats_of(f.batcher);
    ck_assert_int_eq(before.queued, 5);
    ck_assert_uint_eq(before.refused, 2);
    ck_assert_uint_eq(before.accepted, 6);
    fails(fv_request_wait(a[5].request, -1), FV_ERR_STATE, "not submitted");
    fails(fv_request_wait(a[0].request, 2000), FV_ERR_DEADLINE, "no answer within 2000 us");
    ck_assert(!fv_request_done(a[0].request) && fv_request_done(a[5].request));
    const fv_job again = job_of(&a[0], 0, false);
    fails(fv_batcher_submit(f.batcher, a[0].request, &again), FV_ERR_BUSY, "under way");
    open_gate(&g);
    for (int i = 0; i < 5; i++) {
        ok(fv_request_wait(a[i].request, -1));
        ok(fv_request_wait(a[i].request, 0)); /* the answer stays */
        ck_assert(right(a[i].y, i));
    }
    const fv_job now = job_of(&a[5], 0, false);
    ok(fv_batcher_submit(f.batcher, a[5].request, &now)); /* a refused request can be tried again */
    ok(fv_request_wait(a[5].request, -1));
    ck_assert(right(a[5].y, 5));
    for (int i = 0; i < 6; i++) fv_request_free(a[i].request);
    fv_request_free(holder.request);
    finish(&f);
}
END_TEST

START_TEST(cancelled_requests_do_not_run) {
    fixture f = start(FV_BACKEND_PTHREADS, 1, NULL);
    asked holder, a[4];
    gate g;
    stop_worker(f.batcher, &holder, &g);
    for (int i = 0; i < 4; i++) {
        prepare(f.batcher, &a[i], i);
        const fv_job job = job_of(&a[i], 0, i == 1);
        ok(fv_batcher_submit(f.batcher, a[i].request, &job));
    }
    ok(fv_request_cancel(a[1].request)); /* in the middle, by callback, before it returns */
    ck_assert_int_eq(a[1].calls, 1);
    ck_assert_int_eq(a[1].status, FV_ERR_CANCELLED);
    ck_assert_str_eq(fv_last_error(), "the request was cancelled");
    ok(fv_request_cancel(a[3].request)); /* the last, waited for */
    fails(fv_request_wait(a[3].request, -1), FV_ERR_CANCELLED, "the request was cancelled");
    fails(fv_request_cancel(a[3].request), FV_ERR_STATE, "not waiting");
    fv_request_free(a[0].request); /* freeing the first cancels it */
    fails(fv_request_cancel(holder.request), FV_ERR_STATE, "not waiting");
    ck_assert_int_eq(stats_of(f.batcher).queued, 1);
    open_gate(&g);
    ok(fv_request_wait(a[2].request, -1));
    ck_assert(right(a[2].y, 2));
    const fv_batcher_stats s = stats_of(f.batcher);
    ck_assert_uint_eq(s.cancelled, 3);
    ck_assert_uint_eq(s.answered, 2);
    const float zero[net_out] = {0};
    ck_assert_int_eq(memcmp(a[1].y, zero, sizeof zero), 0);
    ck_assert_int_eq(memcmp(a[3].y, zero, sizeof zero), 0);
    for (int i = 1; i < 4; i++) fv_request_free(a[i].request);
    fv_request_free(holder.request);
    finish(&f);
}
END_TEST

START_TEST(deadlines_pass) {
    fixture f = start(FV_BACKEND_PTHREADS, 1, NULL);
    asked holder, a[3];
    gate g;
    float y[net_out];
    stop_worker(f.batcher, &holder, &g);
    for (int i = 0; i < 3; i++) prepare(f.batcher, &a[i], i);
    const fv_job soon = job_of(&a[0], 3000, true), late = job_of(&a[1], 60 * 1000000, false),
                 waited = job_of(&a[2], 5000, false);
    ok(fv_batcher_submit(f.batcher, a[0].request, &soon));
    ok(fv_batcher_submit(f.batcher, a[1].request, &late));
    ok(fv_batcher_submit(f.batcher, a[2].request, &waited));
    fails(fv_request_wait(a[2].request, -1), FV_ERR_DEADLINE,
          "had not begun to run by its deadline"); /* with the worker held */
    fails(run_one(f.batcher, 0, y, 2000), FV_ERR_DEADLINE, "deadline");
    open_gate(&g);
    ok(fv_request_wait(a[1].request, -1));
    ck_assert(right(a[1].y, 1));
    ok(fv_batcher_drain(f.batcher));
    ck_assert_int_eq(a[0].calls, 1);
    ck_assert_int_eq(a[0].status, FV_ERR_DEADLINE);
    ck_assert_uint_eq(stats_of(f.batcher).expired, 3);
    for (int i = 0; i < 3; i++) fv_request_free(a[i].request);
    fv_request_free(holder.request);
    finish(&f);
}
END_TEST

static double seconds_now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

START_TEST(batches_form_within_the_delay) {
    fv_batcher_settings s = defaults();
    s.max_batch = 4;
    s.max_delay_us = 20 * 1000000;
    fixture f = start(FV_BACKEND_PTHREADS, 1, &s);
    asked a[4];
    for (int i = 0; i < 4; i++) {
        prepare(f.batcher, &a[i], i);
        const fv_job job = job_of(&a[i], 0, false);
        ok(fv_batcher_submit(f.batcher, a[i].request, &job));
    }
    const double began = seconds_now();
    for (int i = 0; i < 4; i++) {
        ok(fv_request_wait(a[i].request, -1)); /* complete: at once */
        ck_assert(right(a[i].y, i));
    }
    ck_assert(seconds_now() - began < 10);
    fv_batcher_stats seen = stats_of(f.batcher);
    ck_assert_uint_eq(seen.batches, 1);
    float y[net_out];
    ok(run_one(f.batcher, 2, y, 50000)); /* alone it would wait 20 s; its deadline has it run in time */
    ck_assert(right(y, 2));
    const fv_job job = job_of(&a[0], 0, false);
    ok(fv_batcher_submit(f.batcher, a[0].request, &job));
    ok(fv_batcher_drain(f.batcher)); /* waits for no company */
    ok(fv_request_wait(a[0].request, 0));
    ck_assert(seconds_now() - began < 10);
    for (int i = 0; i < 4; i++) fv_request_free(a[i].request);
    finish(&f);
    s.max_delay_us = 30000;
    f = start(FV_BACKEND_PTHREADS, 1, &s);
    ok(run_one(f.batcher, 3, y, 0));
    seen = stats_of(f.batcher);
    ck_assert_msg(seen.latency_seconds >= 0.03 && fv_batcher_percentile(&seen, 0.99) >= 0.03, "alone it took %g s",
                  seen.latency_seconds);
    finish(&f);
}
END_TEST

/* ---- draining under load ---- */

START_TEST(drain_answers_everything_accepted) {
    fixture f = start(FV_BACKEND_PTHREADS, 2, NULL);
    pthread_t threads[8];
    client clients[8];
    uint64_t answered = 0;
    for (int i = 0; i < 8; i++) {
        clients[i] = (client){f.batcher, i, 1 << 30, 0, 0};
        ck_assert_int_eq(pthread_create(&threads[i], NULL, ask_often, &clients[i]), 0);
    }
    while (stats_of(f.batcher).answered < 200) usleep(1000);
    ok(fv_batcher_drain(f.batcher));
    for (int i = 0; i < 8; i++) {
        pthread_join(threads[i], NULL);
        ck_assert_int_eq(clients[i].wrong, 0);
        answered += (uint64_t)clients[i].answered;
    }
    const fv_batcher_stats s = stats_of(f.batcher);
    ck_assert_uint_eq(s.accepted, answered);
    ck_assert_uint_eq(s.answered, answered);
    float y[net_out];
    fails(run_one(f.batcher, 0, y, 0), FV_ERR_STATE, "draining");
    ok(fv_batcher_drain(f.batcher)); /* twice is fine */
    finish(&f);
}
END_TEST

/* ---- callbacks ---- */

typedef struct chain {
    fv_batcher *batcher;
    asked asked;
    int left, wrong;
    fv_status drain, run, wait;
    atomic_bool over;
    int round;
    float up;
} chain;

static float rounded(void) {
    volatile float one = 1, small = 1e-9f;
    return one + small;
}

static void next_in_chain(void *user, fv_status status) {
    chain *c = user;
    float y[net_out];
    c->wrong += status != FV_OK || !right(c->asked.y, 5);
    c->round = fegetround();
    c->up = rounded();
    c->drain = fv_batcher_drain(c->batcher);
    fv_batcher_free(c->batcher); /* refused, with a sentence */
    c->wrong += strstr(fv_last_error(), "a callback cannot free") == NULL;
    c->run = run_one(c->batcher, 0, y, 0);
    fv_batcher_stats s;
    c->wrong += fv_batcher_get_stats(c->batcher, &s) != FV_OK || fv_request_cancel(c->asked.request) != FV_ERR_STATE;
    if (--c->left == 0) {
        fv_request_free(c->asked.request); /* in its own callback */
        c->over = true;
        return;
    }
    memset(c->asked.y, 0, sizeof c->asked.y);
    fv_job job = job_of(&c->asked, 0, false);
    job.answered = next_in_chain;
    job.user = c;
    c->wrong += fv_batcher_submit(c->batcher, c->asked.request, &job) != FV_OK;
}

START_TEST(callbacks_may_call_back) {
    fv_batcher_settings s = defaults();
    s.max_delay_us = 0;
    fesetround(FE_UPWARD); /* the mode of whoever makes the batcher */
    fixture f = start(FV_BACKEND_PTHREADS, 2, &s);
    fesetround(FE_TONEAREST);
    chain c = {.batcher = f.batcher, .left = 50};
    prepare(f.batcher, &c.asked, 5);
    fv_job job = job_of(&c.asked, 0, false);
    job.answered = next_in_chain;
    job.user = &c;
    ok(fv_batcher_submit(f.batcher, c.asked.request, &job));
    while (!c.over) usleep(1000);
    ck_assert_int_eq(c.wrong, 0);
    ck_assert_int_eq(c.drain, FV_ERR_STATE);
    ck_assert_int_eq(c.run, FV_ERR_STATE);
#if defined(__x86_64__) || defined(__aarch64__)
    ck_assert_int_eq(c.round, FE_UPWARD);
    ck_assert(c.up > 1);
#endif
    finish(&f);
}
END_TEST

/* ---- failures ---- */

static fv_status live_and_die(const fv_model *m, float *y) {
    fv_batcher_settings s = defaults();
    fv_batcher *b = NULL;
    fv_request *r = NULL;
    s.workers = 2;
    s.max_batch = 3;
    s.max_delay_us = 0;
    fv_status status = fv_batcher_create(m, &s, &b);
    if (status == FV_OK) status = fv_request_create(b, &r);
    if (status == FV_OK) status = run_one(b, 1, y, 0);
    fv_request_free(r);
    fv_batcher_free(b);
    return status;
}

START_TEST(every_allocation_may_fail) {
    ledger l = {0};
    fv_context_settings s = settings_of(FV_BACKEND_PTHREADS, 2);
    ledger_use(&s, &l);
    fv_context *c = context_with(&s);
    fv_model *m = small_model(c, false);
    float y[net_out];
    expect_answers(m);
    const long blocks = l.blocks;
    ok(live_and_die(m, y));
    long at = 1;
    for (;; at++) {
        l.calls = 0;
        l.fail_at = at;
        const fv_status status = live_and_die(m, y);
        const bool reached = l.calls >= at;
        l.fail_at = 0;
        ck_assert_int_eq(l.blocks, blocks);
        if (!reached) break;
        ck_assert_msg(status == FV_ERR_MEMORY, "allocation %ld: %s: %s", at, fv_status_name(status), fv_last_error());
        ck_assert(strstr(fv_last_error(), "out of memory") != NULL);
    }
    ck_assert_int_gt(at, 50);
    ok(live_and_die(m, y));
    ck_assert(right(y, 1));
    fv_model_free(m);
    fv_context_free(c);
    ck_assert_int_eq(l.blocks, 0);
}
END_TEST

START_TEST(threads_may_be_refused) {
    fv_context *c = context_of(FV_BACKEND_PTHREADS, 2);
    fv_model *m = small_model(c, false);
    float y[net_out];
    expect_answers(m);
    for (int at = 1; at <= 4; at++) { /* two teams of two, two workers */
        creations = 0;
        refuse_at = at;
        fails(live_and_die(m, y), FV_ERR_THREAD, "cannot start");
    }
    refuse_at = 0;
    ok(live_and_die(m, y));
    fv_model_free(m);
    fv_context_free(c);
}
END_TEST

START_TEST(a_forked_child_is_told) {
    fixture f = start(FV_BACKEND_PTHREADS, 2, NULL);
    asked a;
    float y[net_out];
    prepare(f.batcher, &a, 1);
    ok(run_one(f.batcher, 0, y, 0));
    const pid_t child = fork();
    ck_assert_int_ge(child, 0);
    if (child == 0) {
        alarm(20);
        const fv_job job = job_of(&a, 0, false);
        fv_batcher_stats s;
        if (fv_batcher_submit(f.batcher, a.request, &job) != FV_ERR_STATE || !strstr(fv_last_error(), "forked child"))
            _exit(1);
        if (run_one(f.batcher, 0, y, 0) != FV_ERR_STATE || fv_batcher_drain(f.batcher) != FV_ERR_STATE) _exit(2);
        if (fv_batcher_get_stats(f.batcher, &s) != FV_ERR_STATE || fv_request_wait(a.request, -1) != FV_ERR_STATE)
            _exit(3);
        fv_batcher_free(f.batcher);
        fv_request_free(a.request);
        _exit(0);
    }
    int status = -1;
    ok(run_one(f.batcher, 1, y, 0)); /* the parent goes on */
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 0, "the child ended with %#x", status);
    fv_batcher_free(f.batcher);
    fv_request_free(a.request); /* after its batcher: freed in any order */
    fv_model_free(f.model);
    fv_context_free(f.context);
}
END_TEST

START_TEST(misuse_is_refused) {
    fixture f = start(FV_BACKEND_SERIAL, 1, NULL);
    fv_batcher *other = NULL, *none = NULL;
    fv_batcher_stats stats;
    asked a;
    ok(fv_batcher_create(f.model, NULL, &other));
    prepare(f.batcher, &a, 0);
    fv_job job = job_of(&a, 0, false);
    fails(fv_batcher_submit(other, a.request, &job), FV_ERR_ARGUMENT, "another batcher");
    fails(fv_batcher_submit(NULL, a.request, &job), FV_ERR_ARGUMENT, "needs");
    fails(fv_batcher_submit(f.batcher, NULL, &job), FV_ERR_ARGUMENT, "needs");
    fails(fv_batcher_submit(f.batcher, a.request, NULL), FV_ERR_ARGUMENT, "needs");
    job.deadline_us = -1;
    fails(fv_batcher_submit(f.batcher, a.request, &job), FV_ERR_ARGUMENT, "deadline");
    job = job_of(&a, 0, false);
    a.in.shape[0] = 2;
    fails(fv_batcher_submit(f.batcher, a.request, &job), FV_ERR_SHAPE, "(2,3,11,9)");
    a.in.shape[0] = 1;
    a.in.dtype = FV_F64;
    fails(fv_batcher_submit(f.batcher, a.request, &job), FV_ERR_ARGUMENT, "element type");
    a.in.dtype = FV_F32;
    a.out.data = a.in.data;
    fails(fv_batcher_submit(f.batcher, a.request, &job), FV_ERR_ARGUMENT, "overlaps");
    a.out.data = a.y;
    job.input_count = 0;
    fails(fv_batcher_submit(f.batcher, a.request, &job), FV_ERR_ARGUMENT, "0 inputs");
    job = job_of(&a, INT64_MAX, true); /* far beyond the clock: none */
    ok(fv_batcher_submit(f.batcher, a.request, &job));
    while (a.calls == 0) usleep(100);
    fails(fv_request_wait(a.request, 0), FV_ERR_STATE, "callback");
    fails(fv_request_wait(NULL, 0), FV_ERR_ARGUMENT, "needs");
    fails(fv_request_cancel(NULL), FV_ERR_ARGUMENT, "needs");
    fails(fv_request_create(NULL, &a.request), FV_ERR_ARGUMENT, "needs");
    fails(fv_request_create(f.batcher, NULL), FV_ERR_ARGUMENT, "needs");
    fails(fv_batcher_run(NULL, &a.in, 1, &a.out, 1, 0), FV_ERR_ARGUMENT, "needs");
    fails(fv_batcher_run(f.batcher, NULL, 1, &a.out, 1, 0), FV_ERR_ARGUMENT, "needs");
    fails(fv_batcher_drain(NULL), FV_ERR_ARGUMENT, "needs");
    fails(fv_batcher_get_stats(NULL, &stats), FV_ERR_ARGUMENT, "needs");
    fails(fv_batcher_get_stats(f.batcher, NULL), FV_ERR_ARGUMENT, "needs");
    fails(fv_batcher_create(NULL, NULL, &none), FV_ERR_ARGUMENT, "needs");
    fails(fv_batcher_create(f.model, NULL, NULL), FV_ERR_ARGUMENT, "needs");
    static const fv_batcher_settings bad[] = {
        {.max_batch = 0, .queue_capacity = 1, .workers = 1},
        {.max_batch = 1025, .queue_capacity = 1, .workers = 1},
        {.max_batch = 1, .queue_capacity = 0, .workers = 1},
        {.max_batch = 1, .queue_capacity = 1, .workers = 0},
        {.max_batch = 1, .queue_capacity = 1, .workers = 257},
        {1, -1, 1, 1, 0, FV_PLAIN, FV_PLAIN, FV_PLAN_FAST, NULL, {0}},
        {1, 0, 1, 1, -1, FV_PLAIN, FV_PLAIN, FV_PLAN_FAST, NULL, {0}},
        {1, 0, 1, 1, 1 << 20, FV_PLAIN, FV_PLAIN, FV_PLAN_FAST, NULL, {0}},
        {1, 0, 1, 1, 1, (fv_layout)7, FV_PLAIN, FV_PLAN_FAST, NULL, {0}},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        fails(fv_batcher_create(f.model, &bad[i], &none), FV_ERR_ARGUMENT, "");
    ck_assert_ptr_null(none);
    ck_assert(fv_request_done(NULL));
    fv_batcher_settings_default(NULL);
    fv_batcher_free(NULL);
    fv_request_free(NULL);
    fv_request_free(a.request);
    fv_batcher_free(other);
    finish(&f);
}
END_TEST

/* ---- models that batches do not suit ---- */

START_TEST(models_of_a_fixed_batch_run_item_by_item) {
    fv_context *c = context_of(FV_BACKEND_PTHREADS, 1);
    fv_graph *g = NULL;
    fv_model *m = NULL;
    fv_batcher *b = NULL;
    const int64_t shape[2] = {3, 4};
    float x[12], y[6];
    ok(fv_graph_create(c, &g));
    ok(fv_graph_output(g, fv_graph_linear(g, fv_graph_input(g, "x", 2, shape), 2, true, FV_INIT_HE, "fc"), "y"));
    ok(fv_model_create(g, 1, &m));
    ok(fv_batcher_create(m, NULL, &b));
    ck_assert_int_eq(stats_of(b).max_batch, 1);
    const fv_tensor in = rows(x, 3, 4), out = rows(y, 3, 2);
    draw_all(x, 12, 1);
    ok(fv_batcher_run(b, &in, 1, &out, 1, 0));
    fv_batcher_free(b);
    fv_model_free(m);
    fv_graph_free(g);
    fv_context_free(c);
}
END_TEST

START_TEST(places_in_the_whole_batch_are_refused) {
    fv_context *c = context_of(FV_BACKEND_PTHREADS, 1);
    fv_graph *g = NULL;
    fv_model *m = NULL;
    fv_batcher *b = NULL;
    fv_batcher_settings s = defaults();
    const int64_t shape[4] = {0, 1, 4, 4};
    fv_pool_settings pool;
    fv_value indices;
    fv_pool_settings_default(&pool);
    ok(fv_graph_create(c, &g));
    ok(fv_graph_output(g, fv_graph_max_pool_indices(g, fv_graph_input(g, "x", 4, shape), &pool, &indices, "pool"),
                       "y"));
    ok(fv_graph_output(g, indices, "places"));
    ok(fv_model_create(g, 1, &m));
    fails(fv_batcher_create(m, &s, &b), FV_ERR_UNSUPPORTED, "counts places over the whole batch");
    s.max_batch = 1;
    ok(fv_batcher_create(m, &s, &b));
    float x[16], y[4];
    int64_t places[4];
    draw_all(x, 16, 1);
    const fv_tensor in = maps(x, 1, 1, 4, 4),
                    out[2] = {maps(y, 1, 1, 2, 2), {FV_I64, FV_PLAIN, 4, {1, 1, 2, 2}, places}};
    ok(fv_batcher_run(b, &in, 1, out, 2, 0));
    for (int i = 0; i < 4; i++) ck_assert(places[i] >= 0 && places[i] < 16 && y[i] == x[places[i]]);
    fv_batcher_free(b);
    fv_model_free(m);
    fv_graph_free(g);
    fv_context_free(c);
}
END_TEST

/* ---- memory, figures, idling ---- */

START_TEST(sizes_share_memory) {
    ledger l = {0};
    fv_context_settings settings = settings_of(FV_BACKEND_PTHREADS, 2);
    fv_batcher_settings s = defaults();
    fv_model *m = NULL;
    fv_batcher *b = NULL;
    fv_session *session = NULL;
    fv_session_settings largest;
    fv_memory memory;
    ledger_use(&settings, &l);
    fv_context *c = context_with(&settings);
    fv_zoo_settings zoo;
    fv_zoo_settings_default(&zoo);
    ok(fv_model_zoo(c, "cnn", &zoo, &m));
    fv_session_settings_default(&largest);
    largest.batch = s.max_batch;
    ok(fv_session_create(m, &largest, &session));
    ok(fv_session_memory(session, &memory));
    fails(fv_session_memory(NULL, &memory), FV_ERR_ARGUMENT, "needs");
    size_t asked_bytes;
    ok(fv_session_bytes(m, &largest, &asked_bytes));
    ck_assert_uint_eq(memory.arena, asked_bytes);
    ck_assert_uint_eq(memory.packed, fv_session_packed_bytes(session));
    const long before = l.bytes;
    creations = 0;
    ok(fv_batcher_create(m, &s, &b)); /* eight sizes: one arena, one scratch, the weights packed once */
    ck_assert_int_eq(creations, 2);   /* a worker and the second thread of its team */
    const long more = l.bytes - before, tensors = 8 * (784 + 10) * 4, plans = 8 * 200 * 1024;
    ck_assert_msg(more < (long)(memory.arena + memory.scratch + memory.arena / 4) + tensors + plans,
                  "%ld bytes for a batcher; an arena is %zu, scratch %zu, packed %zu", more, memory.arena,
                  memory.scratch, memory.packed);
    fv_batcher_free(b);
    ck_assert_int_eq(l.bytes, before);
    fv_session_free(session);
    fv_model_free(m);
    fv_context_free(c);
    ck_assert_int_eq(l.blocks, 0);
}
END_TEST

START_TEST(latencies_fall_into_their_buckets) {
    ck_assert(fv_latency_bound(0) == 1e-6);
    ck_assert(fv_latency_bound(1) == 1.125e-6 && fv_latency_bound(8) == 2e-6 && fv_latency_bound(14) == 3.5e-6);
    for (size_t i = 1; i + 1 < FV_LATENCY_BUCKETS; i++) ck_assert(fv_latency_bound(i) > fv_latency_bound(i - 1));
    ck_assert(fv_latency_bound(FV_LATENCY_BUCKETS - 2) > 60 && isinf(fv_latency_bound(FV_LATENCY_BUCKETS - 1)));
    fv_batcher_stats s = {0};
    ck_assert(fv_batcher_percentile(&s, 0.5) == 0 && fv_batcher_percentile(NULL, 0.5) == 0);
    s.latency[3] = 98;
    s.latency[10] = 2;
    ck_assert(fv_batcher_percentile(&s, 0) == fv_latency_bound(3) &&
              fv_batcher_percentile(&s, 0.98) == fv_latency_bound(3));
    ck_assert(fv_batcher_percentile(&s, 0.99) == fv_latency_bound(10) &&
              fv_batcher_percentile(&s, 1) == fv_latency_bound(10));
}
END_TEST

static double cpu_seconds(void) {
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) + 1e-6 * (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec);
}

START_TEST(an_idle_batcher_sleeps) {
    fv_batcher_settings s = defaults();
    s.workers = 3;
    fixture f = start(FV_BACKEND_PTHREADS, 2, &s);
    float y[net_out];
    double least = 1;
    for (int i = 0; i < 3; i++) { /* the machine may be busy elsewhere */
        ok(run_one(f.batcher, i, y, 0));
        const double soon = cpu_seconds();
        usleep(200000);
        least = fmin(least, cpu_seconds() - soon);
    }
    ck_assert_msg(least < 0.002, "%.2f ms of CPU in 200 ms of idling", 1e3 * least);
    finish(&f);
}
END_TEST

int main(void) {
    const TTest *const tests[] = {many_threads_get_right_answers,
                                  a_full_queue_says_so,
                                  cancelled_requests_do_not_run,
                                  deadlines_pass,
                                  batches_form_within_the_delay,
                                  drain_answers_everything_accepted,
                                  callbacks_may_call_back,
                                  every_allocation_may_fail,
                                  threads_may_be_refused,
                                  a_forked_child_is_told,
                                  misuse_is_refused,
                                  models_of_a_fixed_batch_run_item_by_item,
                                  places_in_the_whole_batch_are_refused,
                                  sizes_share_memory,
                                  latencies_fall_into_their_buckets,
                                  an_idle_batcher_sleeps,
                                  NULL};
    return run_tests("batcher", tests, 120);
}
