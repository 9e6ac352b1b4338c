/* Workers made once, asleep between runs. A run does not wait for a worker that the system holds up: it comes too late and goes back
 * to sleep, or joins the next run. */
#include "parallel/parallel.h"

#include "parallel/event.h"
#include "parallel/thread.h"

#include <string.h>

enum { idle_spins = 600 }; /* some 20 microseconds, then sleep: an idle program uses no CPU */

typedef struct pool pool;
typedef struct worker {
    pool *owner;
    pthread_t thread;
    int index;
} worker;

struct pool {
    const fv_context *context;
    void *team;
    fv_work_fn work;
    int threads, started;
    atomic_bool quit;
    fv_event begin;
    worker workers[];
};

static void *worker_main(void *arg) {
    worker *w = arg;
    pool *p = w->owner;
    for (unsigned seen = 0;;) {
        fv_event_wait(&p->begin, seen, idle_spins);
        seen = fv_event_value(&p->begin);
        if (atomic_load_explicit(&p->quit, memory_order_acquire)) return NULL;
        p->work(p->team, w->index, p->threads);
    }
}

static void pthreads_run(void *state) {
    pool *p = state;
    fv_event_signal(&p->begin);
    p->work(p->team, 0, p->threads);
}

static void pthreads_stop(void *state, bool own_process) {
    pool *p = state;
    atomic_store_explicit(&p->quit, true, memory_order_release);
    fv_event_signal(&p->begin);
    for (int i = 0; own_process && i < p->started; i++) pthread_join(p->workers[i].thread, NULL);
    fv_release(p->context, p);
}

static fv_status pthreads_start(const fv_context *c, int threads, void *team, fv_work_fn work, void **state) {
    pool *p = NULL;
    const size_t bytes = sizeof *p + (size_t)threads * sizeof *p->workers;
    FV_FORWARD(fv_alloc_zero(c, bytes, "a thread pool", (void **)&p));
    p->context = c;
    p->team = team;
    p->work = work;
    p->threads = threads;
    fv_event_init(&p->begin);
    atomic_init(&p->quit, false);
    for (int i = 0; i < threads - 1; i++) {
        p->workers[i] = (worker){.owner = p, .index = i + 1};
        const int error = fv_thread_start(&p->workers[i].thread, worker_main, &p->workers[i]);
        if (error) {
            pthreads_stop(p, true);
            return fv_fail(FV_ERR_THREAD, "cannot start thread %d of %d: %s", i + 2, threads, strerror(error));
        }
        p->started++;
    }
    *state = p;
    return FV_OK;
}

const fv_backend_ops fv_backend_pthreads = {"pthreads", pthreads_start, pthreads_run, pthreads_stop};
