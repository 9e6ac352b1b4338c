/* The only file with OpenMP pragmas. libgomp keeps its team between regions of the same size; if the system refuses it a thread it
 * ends the process, which is why services use the pthreads backend (README.md). */
#include "core/process.h"
#include "parallel/parallel.h"

#include <omp.h>
#include <stdatomic.h>

typedef struct openmp_state {
    const fv_context *context;
    void *team;
    fv_work_fn work;
    int threads;
} openmp_state;

static fv_status openmp_start(const fv_context *c, int threads, void *team, fv_work_fn work, void **state) {
    openmp_state *s = NULL;
    FV_FORWARD(fv_alloc_zero(c, sizeof *s, "an OpenMP team", (void **)&s));
    *s = (openmp_state){c, team, work, threads};
    *state = s;
    return FV_OK;
}

/* libgomp's threads do not come along in a fork, and its next region waits for them for ever: a child of a process that has had
 * regions works alone, in teams made after the fork too. */
static bool threads_were_lost(void) {
    static atomic_long user; /* the process whose regions came first */
    const long me = fv_process();
    long first = 0;
    return !atomic_compare_exchange_strong(&user, &first, me) && first != me;
}

static void openmp_run(void *state) {
    const openmp_state *s = state;
    if (threads_were_lost()) {
        s->work(s->team, 0, 1);
        return;
    }
#pragma omp parallel num_threads(s->threads)
    s->work(s->team, omp_get_thread_num(), omp_get_num_threads());
}

static void openmp_stop(void *state, bool own_process) {
    (void)own_process;
    openmp_state *s = state;
    fv_release(s->context, s);
}

const fv_backend_ops fv_backend_openmp = {"openmp", openmp_start, openmp_run, openmp_stop};
