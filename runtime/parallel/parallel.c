/* One region a run: every thread walks the phases, a barrier after each. A phase's pieces are split into one contiguous share a
 * thread, so that a thread meets the same part of the data in every phase; who is done takes from the others' shares. */
#include "parallel/parallel.h"

#include "parallel/event.h"
#include "parallel/float_mode.h"

#include <time.h>
#include <unistd.h>

/* Pauses before a waiting thread sleeps: some 20 microseconds; hardly any where threads share a CPU. */
enum { spins_alone = 600, spins_crowded = 4 };

typedef struct share {
    _Alignas(64) atomic_size_t next;
    size_t end;
} share;

struct fv_parallel {
    const fv_context *context;
    const fv_backend_ops *backend;
    void *state;
    int threads, spins;
    pid_t process;
    char *scratch;
    size_t scratch_stride;
    share *shares; /* [2][threads], by the parity of the phase */
    /* of the run in progress */
    const fv_phase *phases;
    size_t count;
    double *seconds;
    atomic_int arrived;
    fv_event passed;
};

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void barrier(fv_parallel *p, int team) {
    const unsigned generation = fv_event_value(&p->passed);
    if (atomic_fetch_add_explicit(&p->arrived, 1, memory_order_acq_rel) + 1 == team) {
        atomic_store_explicit(&p->arrived, 0, memory_order_relaxed);
        fv_event_signal(&p->passed);
    } else {
        fv_event_wait(&p->passed, generation, p->spins);
    }
}

/* Thread t's share of phase i. Written while phase i-1 runs: phase i-2, which used the same row, is over then. */
static void set_share(fv_parallel *p, size_t i, int t) {
    if (i >= p->count) return;
    const size_t pieces = p->phases[i].pieces, n = (size_t)p->threads;
    share *s = &p->shares[(i & 1) * n + (size_t)t];
    s->end = pieces * ((size_t)t + 1) / n;
    atomic_store_explicit(&s->next, pieces * (size_t)t / n, memory_order_relaxed);
}

static void run_share(const fv_phase *phase, share *s, void *scratch) {
    for (size_t piece; (piece = atomic_fetch_add_explicit(&s->next, 1, memory_order_relaxed)) < s->end;)
        phase->run(phase->arg, piece, scratch);
}

static void run_phase(fv_parallel *p, size_t i, int thread, void *scratch) {
    share *row = &p->shares[(i & 1) * (size_t)p->threads];
    for (int k = 0; k < p->threads; k++) {
        share *s = &row[(thread + k) % p->threads];
        if (atomic_load_explicit(&s->next, memory_order_relaxed) < s->end) run_share(&p->phases[i], s, scratch);
    }
}

static void work(void *team, int thread, int threads) {
    fv_parallel *p = team;
    const fv_float_mode mode = fv_float_mode_enter();
    void *scratch = p->scratch + (size_t)thread * p->scratch_stride;
    double before = thread == 0 && p->seconds ? now() : 0;
    for (size_t i = 0; i < p->count; i++) {
        run_phase(p, i, thread, scratch);
        set_share(p, i + 1, thread);
        if (thread == 0) /* threads that did not come leave their shares to the others */
            for (int t = threads; t < p->threads; t++) set_share(p, i + 1, t);
        if (threads > 1) barrier(p, threads);
        if (thread == 0 && p->seconds) {
            const double after = now();
            p->seconds[i] += after - before;
            before = after;
        }
    }
    fv_float_mode_leave(mode);
}

static void run_alone(fv_parallel *p) {
    const fv_float_mode mode = fv_float_mode_enter();
    double before = p->seconds ? now() : 0;
    for (size_t i = 0; i < p->count; i++) {
        for (size_t piece = 0; piece < p->phases[i].pieces; piece++) p->phases[i].run(p->phases[i].arg, piece, p->scratch);
        if (p->seconds) {
            const double after = now();
            p->seconds[i] += after - before;
            before = after;
        }
    }
    fv_float_mode_leave(mode);
}

void fv_parallel_run(fv_parallel *p, const fv_phase *phases, size_t count, double *seconds) {
    p->phases = phases;
    p->count = count;
    p->seconds = seconds;
    if (p->threads == 1 || count == 0 || getpid() != p->process) { /* a forked child has lost the team */
        run_alone(p);
        return;
    }
    for (int t = 0; t < p->threads; t++) set_share(p, 0, t);
    p->backend->run(p->state);
}

int fv_parallel_threads(const fv_parallel *p) { return p->threads; }

static const fv_backend_ops *backend_of(const fv_context *c, int threads) {
    if (threads == 1) return &fv_backend_serial;
#ifdef FV_HAVE_OPENMP
    if (c->settings.backend == FV_BACKEND_OPENMP) return &fv_backend_openmp;
#endif
    return c->settings.backend == FV_BACKEND_SERIAL ? &fv_backend_serial : &fv_backend_pthreads;
}

static fv_status allocate(fv_parallel *p, size_t scratch_bytes) {
    size_t bytes;
    /* A page between two threads' scratch: neither shares a line nor a prefetched neighbour. */
    FV_RETURN_IF(!fv_add_size(scratch_bytes, 4096 + FV_ALIGNMENT, &bytes), FV_ERR_LIMIT, "scratch of %zu bytes", scratch_bytes);
    p->scratch_stride = bytes / FV_ALIGNMENT * FV_ALIGNMENT;
    FV_RETURN_IF(!fv_mul_size(p->scratch_stride, (size_t)p->threads, &bytes), FV_ERR_LIMIT, "scratch of %zu bytes a thread",
                 p->scratch_stride);
    FV_FORWARD(fv_alloc(p->context, bytes, "the threads' scratch", (void **)&p->scratch));
    return fv_alloc_array(p->context, 2 * (size_t)p->threads, sizeof(share), "the threads' shares", (void **)&p->shares);
}

fv_status fv_parallel_create(const fv_context *c, size_t scratch_bytes, fv_parallel **out) {
    fv_parallel *p = NULL;
    FV_FORWARD(fv_alloc_zero(c, sizeof *p, "a team of threads", (void **)&p));
    double quota;
    const int cpus = fv_cpu_count(&quota);
    p->context = c;
    p->threads = c->settings.threads;
    p->spins = p->threads <= cpus && (quota <= 0 || p->threads <= quota) ? spins_alone : spins_crowded;
    p->process = getpid();
    p->backend = backend_of(c, p->threads);
    atomic_init(&p->arrived, 0);
    fv_event_init(&p->passed);
    fv_status status = allocate(p, scratch_bytes);
    if (status == FV_OK) status = p->backend->start(c, p->threads, p, work, &p->state);
    if (status != FV_OK) {
        fv_release(c, p->scratch);
        fv_release(c, p->shares);
        fv_release(c, p);
        return status;
    }
    *out = p;
    return FV_OK;
}

void fv_parallel_free(fv_parallel *p) {
    if (!p) return;
    p->backend->stop(p->state, getpid() == p->process);
    fv_release(p->context, p->scratch);
    fv_release(p->context, p->shares);
    fv_release(p->context, p);
}
