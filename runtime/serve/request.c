/* Requests: accepted into the queue, answered, waited for, cancelled. */
#include "serve/batcher.h"

#include <string.h>

static _Thread_local const fv_batcher *calling_back;

bool fv_batcher_in_callback(const fv_batcher *b) { return calling_back == b; }

#define REFUSE_FORKED(b)                                                                                               \
    FV_RETURN_IF(fv_batcher_forked(b), FV_ERR_STATE,                                                                   \
                 "a forked child has none of the batcher's threads; make a new batcher in the child")

/* ---- the queue ---- */

void fv_request_append(request_list *l, fv_request *r) {
    r->next = NULL;
    r->previous = l->last;
    *(l->last ? &l->last->next : &l->first) = r;
    l->last = r;
    l->count++;
}

void fv_request_unlink(request_list *l, fv_request *r) {
    *(r->previous ? &r->previous->next : &l->first) = r->next;
    *(r->next ? &r->next->previous : &l->last) = r->previous;
    l->count--;
}

/* ---- life ---- */

/* Without a reference to b. */
static void init_request(fv_batcher *b, fv_request *r) {
    *r = (fv_request){.batcher = b, .out = r->in + b->input_count};
    r->event = &b->events[0];
    atomic_init(&r->state, REQUEST_NEW);
}

static fv_status make_request(fv_batcher *b, fv_request **out) {
    fv_request *r = NULL;
    const size_t bytes = sizeof *r + (b->input_count + b->output_count) * sizeof *r->in;
    FV_FORWARD(fv_alloc(b->context, bytes, "a request", (void **)&r));
    init_request(b, r);
    *out = r;
    return FV_OK;
}

fv_status fv_request_create(fv_batcher *b, fv_request **out) {
    FV_RETURN_IF(!b || !out, FV_ERR_ARGUMENT, "fv_request_create needs a batcher and a place for the request");
    REFUSE_FORKED(b);
    FV_FORWARD(make_request(b, out));
    atomic_fetch_add_explicit(&b->references, 1, memory_order_relaxed);
    return FV_OK;
}

static bool under_way(const fv_request *r) {
    const int state = atomic_load_explicit(&r->state, memory_order_acquire);
    return state != REQUEST_NEW && state != REQUEST_ANSWERED;
}

bool fv_request_done(const fv_request *r) { return !r || !under_way(r); }

static void wait_answer(fv_request *r) {
    for (;;) {
        const unsigned seen = fv_event_value(r->event);
        if (!under_way(r)) return;
        fv_event_wait(r->event, seen, 0);
    }
}

void fv_request_free(fv_request *r) {
    if (!r) return;
    fv_batcher *b = r->batcher;
    if (!fv_batcher_forked(b) && under_way(r) && fv_request_cancel(r) != FV_OK) wait_answer(r);
    fv_release(b->context, r);
    fv_batcher_release(b);
}

/* ---- submitting ---- */

static fv_status check(const fv_batcher *b, const fv_request *r, const fv_job *job) {
    FV_RETURN_IF(!b || !r || !job || !job->inputs || !job->outputs, FV_ERR_ARGUMENT,
                 "fv_batcher_submit needs a batcher, a request and a job with inputs and outputs");
    FV_RETURN_IF(r->batcher != b, FV_ERR_ARGUMENT, "the request was made for another batcher");
    FV_RETURN_IF(job->deadline_us < 0, FV_ERR_ARGUMENT, "a deadline of %lld us; it is 0 (none) or more",
                 (long long)job->deadline_us);
    REFUSE_FORKED(b);
    return fv_session_check(b->workers[0].sessions[0], job->inputs, job->input_count, job->outputs, job->output_count);
}

static int64_t after(int64_t from, int64_t us) { return us < (INT64_MAX - from) / 1000 ? from + us * 1000 : INT64_MAX; }

static void fill(fv_batcher *b, fv_request *r, const fv_job *job) {
    for (size_t i = 0; i < b->input_count; i++) r->in[i] = job->inputs[i].data;
    for (size_t i = 0; i < b->output_count; i++) r->out[i] = job->outputs[i].data;
    r->answered = job->answered;
    r->user = job->user;
    r->submitted = fv_batcher_now();
    r->launch = after(r->submitted, b->settings.max_delay_us);
    r->deadline = job->deadline_us ? after(r->submitted, job->deadline_us) : INT64_MAX;
}

/* Under the lock. A worker is woken when a batch is complete or has to begin before any would look. */
static void enqueue(fv_batcher *b, fv_request *r) {
    if (r->deadline != INT64_MAX) {
        const int64_t leaves = r->deadline - (r->deadline - r->submitted) / 4 -
                               (int64_t)(1.5e9 * b->typical); /* a quarter for waking late */
        if (leaves < r->launch) r->launch = leaves;
        b->with_deadline++;
    }
    r->event = &b->events[b->slot];
    fv_request_append(&b->queue, r);
    atomic_store_explicit(&r->state, REQUEST_QUEUED, memory_order_release);
    b->stats.accepted++;
    b->outstanding++;
    if (b->sleeping && (b->queue.count % b->settings.max_batch == 0 || r->launch < b->armed))
        pthread_cond_signal(&b->work);
}

static fv_status accept(fv_batcher *b, fv_request *r) {
    FV_RETURN_IF(b->closing, FV_ERR_STATE, "the batcher is draining: it takes no more requests");
    if (b->queue.count >= b->settings.queue_capacity) {
        b->stats.refused++;
        return fv_fail(FV_ERR_FULL, "the batcher's queue is full: %lld requests wait", (long long)b->queue.count);
    }
    enqueue(b, r);
    return FV_OK;
}

fv_status fv_batcher_submit(fv_batcher *b, fv_request *r, const fv_job *job) {
    FV_FORWARD(check(b, r, job));
    int before = atomic_load_explicit(&r->state, memory_order_acquire);
    FV_RETURN_IF((before != REQUEST_NEW && before != REQUEST_ANSWERED) ||
                     !atomic_compare_exchange_strong(&r->state, &before, REQUEST_CLAIMED),
                 FV_ERR_BUSY, "the request is under way; submit it again after its answer");
    fill(b, r, job);
    pthread_mutex_lock(&b->lock);
    const fv_status status = accept(b, r);
    pthread_mutex_unlock(&b->lock);
    if (status != FV_OK) atomic_store(&r->state, REQUEST_NEW);
    return status;
}

/* ---- answers ---- */

static fv_status sentence(fv_status status) {
    if (status == FV_OK) return FV_OK;
    if (status == FV_ERR_CANCELLED) return fv_fail(status, "the request was cancelled");
    if (status == FV_ERR_DEADLINE) return fv_fail(status, "the request had not begun to run by its deadline");
    return fv_fail(status, "the batch's run failed (%s)", fv_status_name(status));
}

/* *event: where sleepers of requests answered before are still to be woken; once for all of a batch that share it. */
static void answer(fv_batcher *b, fv_request *r, fv_status status, fv_event **event) {
    void (*const answered)(void *, fv_status) = r->answered;
    void *const user = r->user;
    if (*event && *event != r->event) fv_event_signal(*event);
    *event = r->event;
    r->status = status;
    atomic_store(&r->state, REQUEST_ANSWERED); /* from here on r is its owner's */
    if (!answered) return;
    fv_event_signal(*event);
    *event = NULL;
    const fv_batcher *outer = calling_back;
    calling_back = b;
    answered(user, sentence(status));
    calling_back = outer;
}

void fv_request_answer(fv_batcher *b, fv_request *const *requests, size_t count, fv_status status) {
    fv_event *event = NULL;
    for (size_t i = 0; i < count; i++) answer(b, requests[i], status, &event);
    if (event) fv_event_signal(event);
    pthread_mutex_lock(&b->lock);
    b->outstanding -= (int64_t)count;
    if (b->outstanding == 0 && b->closing) pthread_cond_broadcast(&b->idle);
    pthread_mutex_unlock(&b->lock);
}

/* Out of the queue with this answer, if it is still there. */
static bool take_back(fv_batcher *b, fv_request *r, fv_status status, uint64_t *counter) {
    atomic_fetch_add_explicit(&b->references, 1, memory_order_relaxed); /* a callback may free r */
    pthread_mutex_lock(&b->lock);
    const bool waiting = atomic_load(&r->state) == REQUEST_QUEUED;
    if (waiting) {
        fv_request_unlink(&b->queue, r);
        atomic_store(&r->state, REQUEST_CLAIMED);
        b->with_deadline -= r->deadline != INT64_MAX;
        ++*counter;
    }
    pthread_mutex_unlock(&b->lock);
    if (waiting) fv_request_answer(b, &r, 1, status);
    fv_batcher_release(b);
    return waiting;
}

fv_status fv_request_cancel(fv_request *r) {
    FV_RETURN_IF(!r, FV_ERR_ARGUMENT, "fv_request_cancel needs a request");
    REFUSE_FORKED(r->batcher);
    FV_RETURN_IF(!take_back(r->batcher, r, FV_ERR_CANCELLED, &r->batcher->stats.cancelled), FV_ERR_STATE,
                 "the request is not waiting: it is running, answered or was never submitted");
    return FV_OK;
}

/* Until the answer or `until`; a deadline that passes while the request waits answers it here, whatever the workers do.
 */
static bool wait_until(fv_request *r, int64_t until) {
    bool queued = true; /* perhaps */
    for (;;) {
        const unsigned seen = fv_event_value(r->event);
        if (!under_way(r)) return true;
        if (until == INT64_MAX && r->deadline == INT64_MAX) { /* no clock to look at */
            fv_event_wait(r->event, seen, 0);
            continue;
        }
        const int64_t now = fv_batcher_now();
        if (queued && now >= r->deadline) {
            queued = false;
            (void)take_back(r->batcher, r, FV_ERR_DEADLINE, &r->batcher->stats.expired);
            continue;
        }
        if (now >= until) return false;
        fv_event_wait_until(r->event, seen, queued && r->deadline < until ? r->deadline : until);
    }
}

static fv_status wait(fv_request *r, int64_t timeout_us) {
    const int64_t until = timeout_us < 0 ? INT64_MAX : after(fv_batcher_now(), timeout_us);
    FV_RETURN_IF(!wait_until(r, until), FV_ERR_DEADLINE, "no answer within %lld us; the request goes on",
                 (long long)timeout_us);
    return sentence(r->status);
}

fv_status fv_request_wait(fv_request *r, int64_t timeout_us) {
    FV_RETURN_IF(!r, FV_ERR_ARGUMENT, "fv_request_wait needs a request");
    REFUSE_FORKED(r->batcher);
    FV_RETURN_IF(atomic_load(&r->state) == REQUEST_NEW, FV_ERR_STATE,
                 "the request was not submitted: there is nothing to wait for");
    FV_RETURN_IF(r->answered, FV_ERR_STATE, "the request answers through its callback");
    return wait(r, timeout_us);
}

/* ---- submit and wait in one ---- */

static fv_status run_with(fv_batcher *b, fv_request *r, const fv_job *job) {
    FV_FORWARD(fv_batcher_submit(b, r, job));
    return wait(r, -1);
}

fv_status fv_batcher_run(fv_batcher *b, const fv_tensor *inputs, size_t input_count, const fv_tensor *outputs,
                         size_t output_count, int64_t deadline_us) {
    enum { here = 32 }; /* tensors of a request on the stack */
    const fv_job job = {inputs, input_count, outputs, output_count, deadline_us, NULL, NULL};
    FV_RETURN_IF(!b, FV_ERR_ARGUMENT, "fv_batcher_run needs a batcher");
    REFUSE_FORKED(b);
    FV_RETURN_IF(fv_batcher_in_callback(b), FV_ERR_STATE, "a callback cannot wait for another request; submit it");
    fv_request *r = NULL;
    if (b->input_count + b->output_count <= here) {
        _Alignas(fv_request) char room[sizeof *r + here * sizeof(void *)];
        r = (fv_request *)room;
        init_request(b, r);
        return run_with(b, r, &job);
    }
    FV_FORWARD(make_request(b, &r));
    const fv_status status = run_with(b, r, &job);
    fv_release(b->context, r);
    return status;
}
