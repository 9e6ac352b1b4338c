/* As a service uses it: 64 sessions, 4 on each of 16 threads, on one model, and a batcher beside them: right answers,
 * memory that stays, and no CPU when idle. FOVEA_TEST_SECONDS: how long (2). */
#include "unit.h"

#include <math.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { threads_here = 16, sessions_each = 4, images = 8, pixels = 28 * 28, classes = 10 };

static float pictures[images][pixels], wanted[images][classes];

static double seconds_of(clockid_t clock) {
    struct timespec t;
    clock_gettime(clock, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static double test_seconds(void) {
    const char *text = getenv("FOVEA_TEST_SECONDS");
    return text ? atof(text) : 2;
}

static long resident_bytes(void) {
    long pages = 0, resident = 0;
    FILE *f = fopen("/proc/self/statm", "r");
    if (f && fscanf(f, "%ld %ld", &pages, &resident) != 2) resident = 0;
    if (f) fclose(f);
    return resident * sysconf(_SC_PAGESIZE);
}

static fv_model *prepared_model(fv_context *c) {
    fv_model *m = NULL;
    fv_session *s = NULL;
    ok(fv_model_zoo(c, "lenet5", NULL, &m));
    ok(fv_session_create(m, NULL, &s));
    for (int i = 0; i < images; i++) {
        draw_all(pictures[i], pixels, (uint32_t)i + 1);
        const fv_tensor in = maps(pictures[i], 1, 1, 28, 28), out = rows(wanted[i], 1, classes);
        ok(fv_session_run(s, &in, 1, &out, 1));
    }
    fv_session_free(s);
    return m;
}

typedef struct worker {
    pthread_t thread;
    fv_session *sessions[sessions_each];
    fv_batcher *batcher; /* NULL: none */
    atomic_bool *stop;
    long runs, wrong;
} worker;

static void *work(void *arg) {
    worker *w = arg;
    float y[classes];
    for (int i = 0; !*w->stop; i++) {
        const fv_tensor in = maps(pictures[i % images], 1, 1, 28, 28), out = rows(y, 1, classes);
        const fv_status status = w->batcher && i % 5 == 4
                                     ? fv_batcher_run(w->batcher, &in, 1, &out, 1, 0)
                                     : fv_session_run(w->sessions[i % sessions_each], &in, 1, &out, 1);
        bool right = status == FV_OK;
        for (int k = 0; k < classes; k++) right &= fabsf(y[k] - wanted[i % images][k]) < 1e-4f;
        w->wrong += !right;
        w->runs++;
    }
    return NULL;
}

START_TEST(sixty_four_sessions_and_a_batcher) {
    static worker workers[threads_here];
    fv_context *c = context_of(FV_BACKEND_PTHREADS, 2);
    fv_model *m = prepared_model(c);
    fv_batcher *b = NULL;
    atomic_bool stop = false;
    ok(fv_batcher_create(m, NULL, &b));
    for (int i = 0; i < threads_here; i++) {
        workers[i] = (worker){.stop = &stop, .batcher = i % 2 ? b : NULL};
        for (int k = 0; k < sessions_each; k++) {
            fv_session_settings s;
            fv_session_settings_default(&s);
            s.threads = 1 + k % 2;
            ok(fv_session_create(m, &s, &workers[i].sessions[k]));
        }
    }
    for (int i = 0; i < threads_here; i++)
        ck_assert_int_eq(pthread_create(&workers[i].thread, NULL, work, &workers[i]), 0);
    const double began = seconds_of(CLOCK_MONOTONIC), all = test_seconds();
    while (seconds_of(CLOCK_MONOTONIC) - began < all / 6) usleep(10000);
    const long early = resident_bytes();
    while (seconds_of(CLOCK_MONOTONIC) - began < all) usleep(10000);
    const long late = resident_bytes();
    stop = true;
    long runs = 0;
    for (int i = 0; i < threads_here; i++) {
        pthread_join(workers[i].thread, NULL);
        ck_assert_int_eq(workers[i].wrong, 0);
        ck_assert_int_gt(workers[i].runs, 0);
        runs += workers[i].runs;
    }
    printf("%ld runs in %.0f s; %ld bytes resident after a sixth, %+ld at the end\n", runs, all, early, late - early);
#if !defined(__SANITIZE_THREAD__) && !defined(__SANITIZE_ADDRESS__)
    ck_assert_msg(late - early <= 1 << 20, "%ld bytes resident became %ld", early, late);
#endif
    for (int i = 0; i < threads_here; i++)
        for (int k = 0; k < sessions_each; k++) fv_session_free(workers[i].sessions[k]);
    fv_batcher_free(b);
    fv_model_free(m);
    fv_context_free(c);
}
END_TEST

/* A sixth of the test's time: at 60 s, 10 s of idling may take 1 ms. Shorter looks allow the clock's grain. */
START_TEST(warm_sessions_idle_for_nothing) {
    fv_context *c = context_of(FV_BACKEND_PTHREADS, 2);
    fv_model *m = prepared_model(c);
    fv_batcher *b = NULL;
    fv_session *sessions[8] = {NULL};
    float y[classes];
    const fv_tensor in = maps(pictures[0], 1, 1, 28, 28), out = rows(y, 1, classes);
    ok(fv_batcher_create(m, NULL, &b));
    for (int i = 0; i < 8; i++) {
        ok(fv_session_create(m, NULL, &sessions[i]));
        ok(fv_session_run(sessions[i], &in, 1, &out, 1));
    }
    ok(fv_batcher_run(b, &in, 1, &out, 1, 0));
    usleep(10000);
    const double before = seconds_of(CLOCK_PROCESS_CPUTIME_ID), idle = test_seconds() / 6;
    usleep((useconds_t)(1e6 * idle));
    const double used = seconds_of(CLOCK_PROCESS_CPUTIME_ID) - before;
    printf("%.3f ms of CPU in %.1f s of idling\n", 1e3 * used, idle);
#if !defined(__SANITIZE_THREAD__) && !defined(__SANITIZE_ADDRESS__) /* they have threads of their own */
    ck_assert_msg(used <= 1e-3, "%.3f ms of CPU in %.1f s of idling", 1e3 * used, idle);
#endif
    for (int i = 0; i < 8; i++) fv_session_free(sessions[i]);
    fv_batcher_free(b);
    fv_model_free(m);
    fv_context_free(c);
}
END_TEST

static int child_status(pid_t child) {
    int status = -1;
    if (waitpid(child, &status, 0) != child) return -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* A child of a process with sessions: they run alone there, and new ones may be made. */
START_TEST(sessions_work_on_in_a_forked_child) {
    fv_backend backends[3];
    const size_t n = backends_here(backends);
    for (size_t i = 0; i < n; i++) {
        fv_context *c = context_of(backends[i], 2);
        fv_model *m = prepared_model(c);
        fv_session *s = NULL;
        float y[classes];
        const fv_tensor in = maps(pictures[1], 1, 1, 28, 28), out = rows(y, 1, classes);
        ok(fv_session_create(m, NULL, &s));
        ok(fv_session_run(s, &in, 1, &out, 1));
        const pid_t child = fork();
        ck_assert_int_ge(child, 0);
        if (child == 0) {
            alarm(20);
            memset(y, 0, sizeof y);
            if (fv_session_run(s, &in, 1, &out, 1) != FV_OK || memcmp(y, wanted[1], sizeof y) != 0) _exit(1);
            fv_session_free(s);
            _exit(0);
        }
        ck_assert_msg(child_status(child) == 0, "backend %d: the child failed", (int)backends[i]);
        fv_session_free(s);
        fv_model_free(m);
        fv_context_free(c);
    }
}
END_TEST

int main(void) {
    const TTest *const tests[] = {sixty_four_sessions_and_a_batcher, warm_sessions_idle_for_nothing,
                                  sessions_work_on_in_a_forked_child, NULL};
    return run_tests("service", tests, 60 + 2 * test_seconds());
}
