/* parallel/: every piece once, barriers, scratch, nesting, many callers, forks, threads that cannot be made, idle CPU,
 * FP modes. */
#define _GNU_SOURCE
#include "unit.h"

#include "parallel/parallel.h"

#include <dlfcn.h>
#include <errno.h>
#include <fenv.h>
#include <sched.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

/* TSan allows no thread in a forked child; a child of gcc 12's ASan waits for ever for its allocator where a thread of the parent's was
 * freeing at the fork (the C library's own allocator is whole in a child). */
#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
enum { children_are_bare = 1 };
#elif defined(__has_feature)
enum { children_are_bare = __has_feature(thread_sanitizer) || __has_feature(address_sanitizer) };
#else
enum { children_are_bare = 0 };
#endif

static const int thread_counts[] = {1, 2, 3, 8};
enum { counts = 4 };

/* ---- a thread that cannot be made: the n-th call fails ---- */

static atomic_int creations, refuse_at;

int pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*run)(void *), void *arg) {
    static int (*real)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);
    if (!real) *(void **)&real = dlsym(RTLD_NEXT, "pthread_create");
    return atomic_fetch_add(&creations, 1) + 1 == refuse_at ? EAGAIN : real(thread, attr, run, arg);
}

/* ---- phases that check themselves ---- */

enum { most_pieces = 1000, most_phases = 6 };
static const size_t pieces_of[most_phases] = {1, 2, 7, 1000, 0, 64};

typedef struct job {
    atomic_int ran[most_phases][most_pieces];
    atomic_size_t done[most_phases];
    atomic_int early, crooked, shared;
    size_t scratch_bytes;
    struct job_phase {
        struct job *job;
        size_t index;
    } args[most_phases];
    fv_phase phases[most_phases];
} job;

static void run_piece(void *arg, size_t piece, void *scratch) {
    const struct job_phase *p = arg;
    job *j = p->job;
    if (p->index > 0 &&
        atomic_load_explicit(&j->done[p->index - 1], memory_order_relaxed) != j->phases[p->index - 1].pieces)
        j->early++;
    if ((uintptr_t)scratch % 64) j->crooked++;
    unsigned char *mine = scratch; /* nobody else writes here meanwhile */
    memset(mine, (int)(piece & 0xff), j->scratch_bytes);
    for (int k = 0; k < 20; k++) __asm__ volatile("" ::: "memory");
    for (size_t k = 0; k < j->scratch_bytes; k += 97)
        if (mine[k] != (piece & 0xff)) j->shared++;
    atomic_fetch_add_explicit(&j->ran[p->index][piece], 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&j->done[p->index], 1, memory_order_relaxed);
}

static job *new_job(size_t scratch_bytes) {
    job *j = calloc(1, sizeof *j);
    ck_assert_ptr_nonnull(j);
    j->scratch_bytes = scratch_bytes;
    for (size_t i = 0; i < most_phases; i++) {
        j->args[i] = (struct job_phase){j, i};
        j->phases[i] = (fv_phase){run_piece, &j->args[i], pieces_of[i], (int32_t)i, i % 3 == 1};
    }
    return j;
}

/* One run: NULL, or what was wrong. */
static const char *run_job(fv_parallel *team, job *j, double *seconds) {
    memset(j->ran, 0, sizeof j->ran);
    memset(j->done, 0, sizeof j->done);
    fv_parallel_run(team, j->phases, most_phases, seconds);
    for (size_t i = 0; i < most_phases; i++)
        for (size_t k = 0; k < most_pieces; k++)
            if (j->ran[i][k] != (k < pieces_of[i])) return "a piece did not run exactly once";
    return j->early     ? "a phase began before the one before it was over"
           : j->crooked ? "scratch is not aligned"
           : j->shared  ? "scratch is shared"
                        : NULL;
}

static void check_job(fv_parallel *team, job *j, double *seconds) {
    const char *wrong = run_job(team, j, seconds);
    ck_assert_msg(!wrong, "%s", wrong);
}

static fv_parallel *team_of(fv_context *c, size_t scratch) {
    fv_parallel *team = NULL;
    ok(fv_parallel_create(c, 0, scratch, &team));
    return team;
}

START_TEST(every_piece_runs_once_after_the_phase_before) {
    fv_backend backends[3];
    const size_t n = backends_here(backends);
    for (size_t b = 0; b < n; b++)
        for (int t = 0; t < counts; t++) {
            fv_context *c = context_of(backends[b], thread_counts[t]);
            fv_parallel *team = team_of(c, 1000);
            job *j = new_job(1000);
            double seconds[most_phases] = {0};
            ck_assert_int_eq(fv_parallel_threads(team), backends[b] == FV_BACKEND_SERIAL ? 1 : thread_counts[t]);
            for (int i = 0; i < 60; i++) check_job(team, j, i & 1 ? seconds : NULL);
            for (int i = 0; i < most_phases; i++) ck_assert(seconds[i] >= 0 && seconds[i] < 60);
            ck_assert(seconds[3] > 0);
            fv_parallel_run(team, j->phases, 0, NULL); /* no phases at all */
            fv_parallel_free(team);
            fv_context_free(c);
            free(j);
        }
    fv_parallel_free(NULL);
}
END_TEST

static void tiny_piece(void *arg, size_t piece, void *scratch) {
    (void)scratch;
    atomic_fetch_add_explicit((atomic_size_t *)arg, piece + 1, memory_order_relaxed);
}

START_TEST(many_short_runs) {
    fv_backend backends[3];
    const size_t n = backends_here(backends);
    for (size_t b = 0; b < n; b++)
        for (int t = 1; t < counts; t++) {
            fv_context *c = context_of(backends[b], thread_counts[t]);
            fv_parallel *team = team_of(c, 0);
            atomic_size_t sum = 0;
            fv_phase phases[3];
            const size_t runs = t == counts - 1 ? 300 : 2000;
            for (size_t i = 0; i < 3; i++) phases[i] = (fv_phase){tiny_piece, &sum, 4, 0, false};
            for (size_t i = 0; i < runs; i++) fv_parallel_run(team, phases, 3, NULL);
            ck_assert_uint_eq(sum, 30 * runs);
            fv_parallel_free(team);
            fv_context_free(c);
        }
}
END_TEST

/* ---- a run inside a piece of another run ---- */

typedef struct nested {
    fv_parallel *inner[4];
    job *jobs[4];
    atomic_int wrong;
} nested;

static void nested_piece(void *arg, size_t piece, void *scratch) {
    (void)scratch;
    nested *n = arg;
    for (int i = 0; i < 5; i++)
        if (run_job(n->inner[piece], n->jobs[piece], NULL)) n->wrong++;
}

START_TEST(teams_may_run_inside_pieces) {
    fv_backend backends[3];
    const size_t n = backends_here(backends);
    for (size_t outer = 0; outer < n; outer++)
        for (size_t inner = 0; inner < n; inner++) {
            fv_context *a = context_of(backends[outer], 2), *b = context_of(backends[inner], 3);
            fv_parallel *team = team_of(a, 0);
            nested state = {0};
            for (int i = 0; i < 4; i++) {
                state.inner[i] = team_of(b, 100);
                state.jobs[i] = new_job(100);
            }
            const fv_phase phase = {nested_piece, &state, 4, 0, false};
            for (int i = 0; i < 5; i++) fv_parallel_run(team, &phase, 1, NULL);
            ck_assert_int_eq(state.wrong, 0);
            for (int i = 0; i < 4; i++) {
                fv_parallel_free(state.inner[i]);
                free(state.jobs[i]);
            }
            fv_parallel_free(team);
            fv_context_free(a);
            fv_context_free(b);
        }
}
END_TEST

/* ---- sixteen callers, each with a team of its own ---- */

typedef struct caller {
    fv_context *context;
    const char *wrong;
} caller;

static void *call(void *arg) {
    caller *c = arg;
    fv_parallel *team = NULL;
    job *j = new_job(200);
    if (fv_parallel_create(c->context, 0, 200, &team) != FV_OK) {
        c->wrong = "no team";
    } else {
        for (int i = 0; i < 30 && !c->wrong; i++) c->wrong = run_job(team, j, NULL);
    }
    fv_parallel_free(team);
    free(j);
    return NULL;
}

START_TEST(sixteen_callers_at_once) {
    fv_backend backends[3];
    const size_t n = backends_here(backends);
    for (size_t b = 0; b < n; b++) {
        fv_context *c = context_of(backends[b], 2);
        pthread_t threads[16];
        caller callers[16];
        for (int i = 0; i < 16; i++) {
            callers[i] = (caller){c, NULL};
            ck_assert_int_eq(pthread_create(&threads[i], NULL, call, &callers[i]), 0);
        }
        for (int i = 0; i < 16; i++) {
            pthread_join(threads[i], NULL);
            ck_assert_msg(!callers[i].wrong, "caller %d: %s", i, callers[i].wrong);
        }
        fv_context_free(c);
    }
}
END_TEST

/* ---- forks ---- */

/* In the child: 0 when the parent's team and a new one both work, within the alarm's time. */
static int child_of(fv_context *c, fv_parallel *team, job *j) {
    alarm(20);
    if (run_job(team, j, NULL)) return 1;
    if (children_are_bare) return 0;
    fv_parallel *fresh = NULL;
    if (fv_parallel_create(c, 0, 1000, &fresh) != FV_OK) return 2;
    for (int i = 0; i < 10; i++)
        if (run_job(fresh, j, NULL)) return 3;
    fv_parallel_free(fresh);
    fv_parallel_free(team); /* waits for nobody */
    return 0;
}

START_TEST(forked_children_work) {
    fv_backend backends[3];
    const size_t n = backends_here(backends);
    for (size_t b = 0; b < n; b++) {
        fv_context *c = context_of(backends[b], 3);
        fv_parallel *team = team_of(c, 1000);
        job *j = new_job(1000);
        check_job(team, j, NULL);
        const pid_t child = fork();
        if (child == 0) _exit(child_of(c, team, j));
        int status = -1;
        ck_assert_int_gt(child, 0);
        check_job(team, j, NULL); /* the parent goes on meanwhile */
        ck_assert_int_eq(waitpid(child, &status, 0), child);
        ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 0, "backend %d: the child ended with %#x",
                      (int)backends[b], status);
        check_job(team, j, NULL);
        fv_parallel_free(team);
        fv_context_free(c);
        free(j);
    }
}
END_TEST

/* ---- threads that cannot be made ---- */

START_TEST(a_refused_thread_is_an_error) {
    ledger l = {0};
    fv_context_settings s = settings_of(FV_BACKEND_PTHREADS, 8);
    ledger_use(&s, &l);
    fv_context *c = context_with(&s);
    fv_parallel *team = NULL;
    const long before = l.blocks;
    for (int at = 1; at <= 7; at++) {
        creations = 0;
        refuse_at = at;
        fails(fv_parallel_create(c, 0, 64, &team), FV_ERR_THREAD, "cannot start thread");
        ck_assert_ptr_null(team);
        ck_assert_int_eq(l.blocks, before);
        ck_assert_int_eq(creations, at);
    }
    creations = 0;
    refuse_at = 2;
    fv_model *m = small_model(c, false), *twin = small_model(c, false);
    fv_session *session = NULL;
    fails(fv_session_create(m, NULL, &session), FV_ERR_THREAD, "thread 3 of 8");
    ck_assert_ptr_null(session);
    refuse_at = 0;
    ok(fv_session_create(m, NULL,
                         &session)); /* later there is room again, and the packed weights of the failed one are gone */
    float x[net_in], y[net_out], z[net_out];
    const fv_tensor in = maps(x, 1, net_c, net_h, net_w), out = rows(y, 1, net_out), other = rows(z, 1, net_out);
    draw_all(x, net_in, 1);
    ok(fv_session_run(session, &in, 1, &out, 1));
    fv_session_free(session);
    ok(fv_session_create(twin, NULL, &session));
    ok(fv_session_run(session, &in, 1, &other, 1));
    ck_assert_int_eq(memcmp(y, z, sizeof y), 0);
    fv_session_free(session);
    fv_model_free(twin);
    fv_model_free(m);
    fv_context_free(c);
    ck_assert_int_eq(l.blocks, 0);
}
END_TEST

/* ---- idle ---- */

static double cpu_seconds(void) {
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) + 1e-6 * (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec);
}

static void pause_ms(long ms) {
    const struct timespec t = {ms / 1000, ms % 1000 * 1000000};
    nanosleep(&t, NULL);
}

START_TEST(idle_workers_sleep) {
    fv_context *c = context_of(FV_BACKEND_PTHREADS, 2);
    fv_parallel *team = team_of(c, 1000);
    job *j = new_job(1000);
    double least = 1;
    for (int i = 0; i < 3; i++) { /* the machine may be busy elsewhere */
        check_job(team, j, NULL);
        const double soon = cpu_seconds();
        pause_ms(100);
        const double used = cpu_seconds() - soon;
        if (used < least) least = used;
    }
    ck_assert_msg(least < 0.005, "%.1f ms of CPU in 100 ms of idling", 1e3 * least);
    fv_parallel_free(team);
    fv_context_free(c);
    free(j);
}
END_TEST

/* ---- floating-point modes ---- */

typedef struct modes {
    atomic_int denormals, rounded, ran;
} modes;

static void look_at_modes(void *arg, size_t piece, void *scratch) {
    (void)piece, (void)scratch;
    modes *m = arg;
    volatile float tiny = 1e-38f, half = 0.25f, one = 1, small = 1e-9f, zero = 0;
    const volatile float product = tiny * half, sum = one + small, invalid = zero / zero, infinite = one / zero;
    (void)invalid, (void)infinite; /* must not trap */
    if (product != 0) m->denormals++;
    if (sum != 1) m->rounded++;
    m->ran++;
}

static int trapped(void) {
#if defined(__x86_64__)
    return (int)(~_mm_getcsr() & 0x1f80);
#else
    return 0;
#endif
}

static float rounded_by_caller(void) {
    volatile float one = 1, small = 1e-9f, tiny = 1e-38f, half = 0.25f;
    ck_assert(tiny * half != 0); /* denormals live here */
    return one + small;
}

START_TEST(the_callers_mode_comes_back) {
    fv_backend backends[3];
    const size_t n = backends_here(backends);
    for (size_t b = 0; b < n; b++)
        for (int t = 0; t < 3; t++) {
            fv_context *c = context_of(backends[b], thread_counts[t]);
            fv_parallel *team = team_of(c, 0);
            modes m = {0};
            const fv_phase phase = {look_at_modes, &m, 50, 0, false};
            fesetround(FE_UPWARD);
            feenableexcept(FE_DIVBYZERO | FE_INVALID | FE_OVERFLOW);
            const int before = trapped();
            fv_parallel_run(team, &phase, 1, NULL);
            const int round = fegetround(), after = trapped();
            const float up = rounded_by_caller();
            fedisableexcept(FE_ALL_EXCEPT);
            fesetround(FE_TONEAREST);
            ck_assert_int_eq(round, FE_UPWARD);
            ck_assert_int_eq(after, before);
            ck_assert(up > 1);
            ck_assert_int_eq(m.ran, 50);
            ck_assert_int_eq(m.denormals, 0);
            ck_assert_int_eq(m.rounded, 0);
            ck_assert(rounded_by_caller() == 1);
            fv_parallel_free(team);
            fv_context_free(c);
        }
}
END_TEST

/* ---- one CPU ---- */

START_TEST(one_cpu_is_enough) {
    cpu_set_t one;
    fv_cpu_info info;
    fv_backend backends[3];
    const size_t n = backends_here(backends);
    CPU_ZERO(&one);
    CPU_SET((size_t)sched_getcpu(), &one);
    ck_assert_int_eq(sched_setaffinity(0, sizeof one, &one), 0);
    for (size_t b = 0; b < n; b++)
        for (int threads = 0; threads <= 8; threads += 4) { /* 0: as many as fit */
            fv_context *c = context_of(backends[b], threads);
            ok(fv_context_info(c, &info));
            ck_assert_int_eq(info.threads, threads && backends[b] != FV_BACKEND_SERIAL ? threads : 1);
            fv_parallel *team = team_of(c, 64);
            job *j = new_job(64);
            for (int i = 0; i < 20; i++) check_job(team, j, NULL);
            fv_parallel_free(team);
            fv_context_free(c);
            free(j);
        }
}
END_TEST

int main(void) {
    const TTest *const tests[] = {every_piece_runs_once_after_the_phase_before,
                                  many_short_runs,
                                  teams_may_run_inside_pieces,
                                  sixteen_callers_at_once,
                                  forked_children_work,
                                  a_refused_thread_is_an_error,
                                  idle_workers_sleep,
                                  the_callers_mode_comes_back,
                                  one_cpu_is_enough,
                                  NULL};
    return run_tests("parallel", tests, 120);
}
