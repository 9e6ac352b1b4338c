/* The scheduler: runs a list of phases in one parallel region. Operators plan phases; only this runs them.
 *
 * A phase is `pieces` independent calls of one function; a barrier separates phases. A phase marked `alone` is run by whoever
 * finished the one before it, without telling the others; the first ones by the caller, who does not even wake them when that is all.
 * Results never depend on which thread runs a piece. Denormals are flushed (FTZ/DAZ, FZ) while a run lasts, on every thread, and
 * the caller's mode is restored. */
#ifndef FV_PARALLEL_PARALLEL_H
#define FV_PARALLEL_PARALLEL_H

#include "core/context.h"

/* scratch: this thread's own, of the bytes fv_parallel_create was told, FV_ALIGNMENT-aligned. */
typedef void (*fv_piece_fn)(void *arg, size_t piece, void *scratch);

typedef struct fv_phase {
    fv_piece_fn run;
    void *arg;
    size_t pieces;
    int32_t node; /* for profiles: which node this phase belongs to */
    bool alone;   /* too small to be shared */
} fv_phase;

typedef struct fv_parallel fv_parallel;

/* A team of the context's backend; threads 0: of the context's count. pthreads makes its workers here (FV_ERR_THREAD if
 * the system refuses), they sleep between runs. One caller at a time. */
fv_status fv_parallel_create(const fv_context *c, int threads, size_t scratch_bytes, fv_parallel **out);
void fv_parallel_free(fv_parallel *p);
/* Between runs: each thread's scratch becomes at least so large. The team is as it was after a failure. */
fv_status fv_parallel_reserve(fv_parallel *p, size_t scratch_bytes);
size_t fv_parallel_scratch_bytes(const fv_parallel *p); /* of all threads together, as allocated */
/* Runs the phases in order. seconds (may be NULL): [phases] wall time of each is added there. Cannot fail; allocates
 * nothing. In a forked child, or where fewer threads came than asked for, the threads there are do all the work. */
void fv_parallel_run(fv_parallel *p, const fv_phase *phases, size_t count, double *seconds);
int fv_parallel_threads(const fv_parallel *p);
/* Of a team that is asked for so many. */
int fv_parallel_count(const fv_context *c, int threads);

typedef void (*fv_work_fn)(void *team, int thread, int threads);

/* One file a backend. run calls work(team, i, n) on n <= threads threads, the caller being 0, and returns when the
 * caller is back: another thread may come late, find the run closed and leave, or join the next run. stop waits for all
 * of them; own_process is false in a forked child, where there is nobody to wait for. */
typedef struct fv_backend_ops {
    const char *name;
    fv_status (*start)(const fv_context *c, int threads, void *team, fv_work_fn work, void **state);
    void (*run)(void *state);
    void (*stop)(void *state, bool own_process);
} fv_backend_ops;

extern const fv_backend_ops fv_backend_serial, fv_backend_pthreads;
#ifdef FV_HAVE_OPENMP
extern const fv_backend_ops fv_backend_openmp;
#endif

#endif
