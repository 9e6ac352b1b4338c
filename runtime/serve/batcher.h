/* The batcher inside. One lock guards queue and counters; a worker holds it to take a batch and to book it, never while
 * it runs, copies or calls back. A request is touched by its answerer up to the store of its last state and not after:
 * its owner may free it then. */
#ifndef FV_SERVE_BATCHER_H
#define FV_SERVE_BATCHER_H

#include "graph/graph.h"
#include "parallel/event.h"
#include "parallel/parallel.h"
#include "parallel/thread.h"

#include <unistd.h>

enum { max_sizes = 64, wait_slots = 64 };

typedef enum request_state {
    REQUEST_NEW,
    REQUEST_CLAIMED,
    REQUEST_QUEUED,
    REQUEST_RUNNING,
    REQUEST_ANSWERED
} request_state;

struct fv_request {
    fv_batcher *batcher;
    fv_request *next, *previous; /* in the queue */
    atomic_int state;            /* request_state; leaves QUEUED under the batcher's lock alone */
    fv_event *event;             /* the batcher's */
    fv_status status;
    int64_t submitted, launch, deadline; /* ns; launch: runs no later if a worker is free; deadline INT64_MAX: none */
    void (*answered)(void *user, fv_status status);
    void *user;
    void **out; /* [outputs], behind in */
    void *in[]; /* [inputs] */
};

typedef struct request_list {
    fv_request *first, *last;
    int64_t count;
} request_list;

/* Sessions of every planned size over one arena and one team: one of them runs at a time. */
typedef struct batch_worker {
    fv_batcher *batcher;
    pthread_t thread;
    bool started;
    fv_parallel *team;
    void *arena;
    fv_session *sessions[max_sizes];
    fv_tensor *tensors; /* [inputs + outputs] of the run in progress; data of batches of more than one in buffers */
    void **buffers;     /* [inputs + outputs], of max_batch items */
    fv_request **batch; /* [max_batch] */
} batch_worker;

struct fv_batcher {
    fv_model *model;
    const fv_context *context;
    fv_batcher_settings settings; /* max_batch as used */
    int64_t sizes[max_sizes];     /* ascending, from 1 to max_batch */
    int64_t fixed_batch;          /* of an item, where the model has one; else 0 */
    size_t size_count, input_count, output_count;
    size_t *item_bytes; /* [inputs + outputs] */
    pid_t process;
    atomic_int references; /* the owner's and one a request */
    batch_worker *workers;
    fv_event events[wait_slots]; /* waiting threads sleep here: memory that outlives every request */

    pthread_mutex_t lock;
    pthread_cond_t work, idle; /* for workers; for who drains */
    request_list queue;
    int64_t with_deadline; /* of those queued */
    int64_t outstanding;   /* accepted, and not yet answered to the end of the callback */
    int64_t armed;         /* when the first sleeping worker looks again; INT64_MAX: none will by itself */
    int sleeping;          /* workers that wait for work */
    int slot;              /* of events: requests of a batch mostly share one, and are woken at once */
    bool closing, quit;
    double typical; /* seconds of a batch, a running mean */
    fv_batcher_stats stats;
};

int64_t fv_batcher_now(void); /* ns, monotonic */
bool fv_batcher_forked(const fv_batcher *b);
bool fv_batcher_in_callback(const fv_batcher *b);
void fv_batcher_release(fv_batcher *b); /* gives a reference back */

/* request.c; the list functions under the lock. */
void fv_request_unlink(request_list *l, fv_request *r);
void fv_request_append(request_list *l, fv_request *r);
/* Answers and books the end of `outstanding`; without the lock. */
void fv_request_answer(fv_batcher *b, fv_request *const *requests, size_t count, fv_status status);

/* worker.c */
fv_status fv_worker_init(batch_worker *w, fv_batcher *b);
void fv_worker_deinit(batch_worker *w);
void *fv_worker_main(void *worker);

/* latency.c */
void fv_latency_count(fv_batcher_stats *s, double seconds);

#endif
