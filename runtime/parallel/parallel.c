/* One region a run: every thread walks the phases. A phase's pieces are split into one contiguous share a thread, so
 * that a thread meets the same part of the data in every phase; who is done takes from the others' shares. The thread
 * that finishes a phase's last piece opens the next one: a thread that the system holds up between pieces is not waited
 * for, and joins in where the others are, be it a later run. */
#include "parallel/parallel.h"

#include "core/process.h"
#include "parallel/event.h"
#include "parallel/float_mode.h"

#include <time.h>

/* Pauses before a waiting thread sleeps: some 20 microseconds; hardly any where threads share a CPU. */
enum { spins_alone = 600, spins_crowded = 4 };

/* A thread's part of the phase in progress: the phase's number above the next piece's. A late thread that takes from a
 * share thus learns what it took; numbers at or past the share's end are nothing. */
typedef struct share {
    _Alignas(64) _Atomic uint64_t next;
} share;
enum { phase_shift = 32 };

struct fv_parallel {
    const fv_context *context;
    const fv_backend_ops *backend;
    void *state;
    int threads, spins;
    pid_t process;
    char *scratch;
    size_t scratch_stride;
    share *shares; /* [threads] */
    /* of the run in progress */
    const fv_phase *phases;
    size_t count;
    double *seconds, began;              /* of the phase in progress; written by who opens a phase */
    _Alignas(64) atomic_size_t finished; /* its pieces */
    atomic_int inside;                   /* threads that read what belongs to the run */
    atomic_bool open;                    /* a run is in progress: who is inside and sees this may read on */
    fv_event opened;
};

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static size_t share_begin(const fv_parallel *p, size_t phase, size_t t) {
    return p->phases[phase].pieces * t / (size_t)p->threads;
}

static void phase_done(fv_parallel *p, size_t i) {
    if (!p->seconds) return;
    const double after = now();
    p->seconds[i] += after - p->began;
    p->began = after;
}

/* The phases from i on that nobody shares; the number of the next one. */
static size_t run_small(fv_parallel *p, size_t i, void *scratch) {
    for (; i < p->count && (p->phases[i].alone || p->phases[i].pieces == 0); i++) {
        for (size_t piece = 0; piece < p->phases[i].pieces; piece++) p->phases[i].run(p->phases[i].arg, piece, scratch);
        phase_done(p, i);
    }
    return i;
}

/* Phase i is open to takers, or with i == count the run is over. */
static void open_phase(fv_parallel *p, size_t i) {
    atomic_store_explicit(&p->finished, 0, memory_order_relaxed);
    for (size_t t = 0; t < (size_t)p->threads; t++) {
        const uint64_t begin = i < p->count ? share_begin(p, i, t) : 0;
        atomic_store_explicit(&p->shares[t].next, (uint64_t)i << phase_shift | begin, memory_order_release);
    }
}

static void close_phase(fv_parallel *p, size_t i, void *scratch) {
    phase_done(p, i);
    open_phase(p, run_small(p, i + 1, scratch));
    fv_event_signal(&p->opened);
}

/* Does taking from share t's next give a piece, and of which phase? */
static bool has_piece(const fv_parallel *p, uint64_t next, size_t t, size_t *phase, size_t *piece) {
    *phase = (size_t)(next >> phase_shift);
    *piece = (size_t)(next & UINT32_MAX);
    return *phase < p->count && *piece < share_begin(p, *phase, t + 1);
}

/* Runs what is left of share t. Returns how many pieces that were, all of the phase in *phase: while one of a phase's
 * pieces is not counted as finished, no other phase opens. */
static size_t run_share(fv_parallel *p, size_t t, size_t *phase, void *scratch) {
    _Atomic uint64_t *next = &p->shares[t].next;
    size_t done = 0, of, piece;
    while (has_piece(p, atomic_load_explicit(next, memory_order_relaxed), t, &of, &piece) &&
           has_piece(p, atomic_fetch_add_explicit(next, 1, memory_order_acq_rel), t, &of, &piece)) {
        p->phases[of].run(p->phases[of].arg, piece, scratch);
        *phase = of;
        done++;
    }
    return done;
}

/* Takes part in the phase in progress. false: the run is over. */
static bool take_part(fv_parallel *p, int thread, bool *last) {
    *last = false;
    if (!atomic_load(&p->open) ||
        atomic_load_explicit(&p->shares[0].next, memory_order_acquire) >> phase_shift >= p->count)
        return false;
    void *scratch = p->scratch + (size_t)thread * p->scratch_stride; /* read inside a run: between runs it may move */
    size_t phase = 0, done = 0;
    for (size_t k = 0; k < (size_t)p->threads; k++)
        done += run_share(p, ((size_t)thread + k) % (size_t)p->threads, &phase, scratch);
    *last =
        done && atomic_fetch_add_explicit(&p->finished, done, memory_order_acq_rel) + done == p->phases[phase].pieces;
    if (*last) close_phase(p, phase, scratch);
    return true;
}

/* The caller leaves a run, and only those that are inside this very moment are waited for: whoever comes later finds it
 * closed. */
static void close_run(fv_parallel *p) {
    atomic_store(&p->open, false);
    for (int i = 0; atomic_load(&p->inside) > 0; i++) fv_relax(i);
}

static void work(void *team, int thread, int threads) {
    (void)threads; /* those that did not come leave their shares to the others */
    fv_parallel *p = team;
    const fv_float_mode mode = fv_float_mode_enter();
    for (bool more = true, last; more;) {
        const unsigned seen = fv_event_value(&p->opened);
        atomic_fetch_add(&p->inside, 1);
        more = take_part(p, thread, &last);
        atomic_fetch_sub(&p->inside, 1);
        if (more && !last) fv_event_wait(&p->opened, seen, p->spins);
    }
    if (thread == 0) close_run(p);
    fv_float_mode_leave(mode);
}

static void run_alone(fv_parallel *p) {
    for (size_t i = 0; i < p->count; i++) {
        for (size_t piece = 0; piece < p->phases[i].pieces; piece++)
            p->phases[i].run(p->phases[i].arg, piece, p->scratch);
        phase_done(p, i);
    }
}

void fv_parallel_run(fv_parallel *p, const fv_phase *phases, size_t count, double *seconds) {
    p->phases = phases; /* nobody is inside, and nobody gets in before the run opens */
    p->count = count;
    p->seconds = seconds;
    p->began = seconds ? now() : 0;
    const fv_float_mode mode = fv_float_mode_enter();
    size_t first = 0;
    if (p->threads == 1 || fv_process() != p->process) /* a forked child has lost the team */
        run_alone(p);
    else
        first = run_small(p, 0, p->scratch);
    fv_float_mode_leave(mode);
    if (p->threads == 1 || first == count || fv_process() != p->process) return;
    open_phase(p, first);
    atomic_store(&p->open, true);
    p->backend->run(p->state);
}

int fv_parallel_threads(const fv_parallel *p) { return p->threads; }

int fv_parallel_count(const fv_context *c, int threads) {
    return threads == 0 || c->settings.backend == FV_BACKEND_SERIAL ? c->settings.threads : threads;
}

static const fv_backend_ops *backend_of(const fv_context *c, int threads) {
    if (threads == 1) return &fv_backend_serial;
#ifdef FV_HAVE_OPENMP
    if (c->settings.backend == FV_BACKEND_OPENMP) return &fv_backend_openmp;
#endif
    return c->settings.backend == FV_BACKEND_SERIAL ? &fv_backend_serial : &fv_backend_pthreads;
}

size_t fv_parallel_scratch_bytes(const fv_parallel *p) { return p->scratch_stride * (size_t)p->threads; }

fv_status fv_parallel_reserve(fv_parallel *p, size_t scratch_bytes) {
    size_t stride, bytes;
    void *scratch = NULL;
    /* A page between two threads' scratch: neither shares a line nor a prefetched neighbour. */
    FV_RETURN_IF(!fv_add_size(scratch_bytes, 4096 + FV_ALIGNMENT, &stride), FV_ERR_LIMIT, "scratch of %zu bytes",
                 scratch_bytes);
    stride = stride / FV_ALIGNMENT * FV_ALIGNMENT;
    if (p->scratch && stride <= p->scratch_stride) return FV_OK;
    FV_RETURN_IF(!fv_mul_size(stride, (size_t)p->threads, &bytes), FV_ERR_LIMIT, "scratch of %zu bytes a thread",
                 stride);
    FV_FORWARD(fv_alloc_large(p->context, bytes, "the threads' scratch", &scratch));
    fv_release(p->context, p->scratch);
    p->scratch = scratch;
    p->scratch_stride = stride;
    return FV_OK;
}

static fv_status allocate(fv_parallel *p, size_t scratch_bytes) {
    FV_FORWARD(fv_parallel_reserve(p, scratch_bytes));
    return fv_alloc_array(p->context, (size_t)p->threads, sizeof(share), "the threads' shares", (void **)&p->shares);
}

fv_status fv_parallel_create(const fv_context *c, int threads, size_t scratch_bytes, fv_parallel **out) {
    fv_parallel *p = NULL;
    FV_FORWARD(fv_alloc_zero(c, sizeof *p, "a team of threads", (void **)&p));
    double quota;
    const int cpus = fv_cpu_count(&quota);
    p->context = c;
    p->threads = fv_parallel_count(c, threads);
    p->spins = p->threads <= cpus && (quota <= 0 || p->threads <= quota) ? spins_alone : spins_crowded;
    p->process = fv_process();
    p->backend = backend_of(c, p->threads);
    atomic_init(&p->finished, 0);
    atomic_init(&p->inside, 0);
    atomic_init(&p->open, false);
    fv_event_init(&p->opened);
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
    p->backend->stop(p->state, fv_process() == p->process);
    fv_release(p->context, p->scratch);
    fv_release(p->context, p->shares);
    fv_release(p->context, p);
}
