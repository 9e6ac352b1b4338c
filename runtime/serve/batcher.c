/* The batcher's life, drain and figures. */
#include "serve/batcher.h"

#include "core/process.h"

#include <string.h>
#include <time.h>

int64_t fv_batcher_now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

bool fv_batcher_forked(const fv_batcher *b) { return fv_process() != b->process; }

void fv_batcher_settings_default(fv_batcher_settings *s) {
    if (s) *s = (fv_batcher_settings){.max_batch = 8, .max_delay_us = 1000, .queue_capacity = 256, .workers = 1};
}

static fv_status check_settings(const fv_batcher_settings *s) {
    FV_RETURN_IF(s->max_batch < 1 || s->max_batch > 1024, FV_ERR_ARGUMENT, "max_batch is %lld; allowed are 1 to 1024",
                 (long long)s->max_batch);
    FV_RETURN_IF(s->max_delay_us < 0, FV_ERR_ARGUMENT, "max_delay_us is %lld; it must be 0 or more",
                 (long long)s->max_delay_us);
    FV_RETURN_IF(s->queue_capacity < 1, FV_ERR_ARGUMENT, "queue_capacity is %lld; it must be 1 or more",
                 (long long)s->queue_capacity);
    FV_RETURN_IF(s->workers < 1 || s->workers > 256, FV_ERR_ARGUMENT, "%d workers; allowed are 1 to 256", s->workers);
    FV_RETURN_IF(s->threads < 0 || s->threads > 1024, FV_ERR_ARGUMENT,
                 "%d threads; allowed are 0 (the context's count) to 1024", s->threads);
    return FV_OK; /* layouts are checked by the sessions */
}

/* Every size to 8, then four an octave: a queue of any length loses little by what does not fill a size, and runs it
 * next. */
static void choose_sizes(fv_batcher *b) {
    int64_t step = 1;
    for (int64_t n = 1; n < b->settings.max_batch; n += step) {
        b->sizes[b->size_count++] = n;
        if (n >= 8 && (n & (n - 1)) == 0) step = n / 4;
    }
    b->sizes[b->size_count++] = b->settings.max_batch;
}

static int64_t fixed_batch(const fv_model *m) {
    for (size_t i = 0; i < m->graph->input_count; i++) {
        const fv_shape *s = &m->graph->values[m->graph->inputs[i]].shape;
        if (s->rank > 0 && s->dim[0] != 0) return s->dim[0];
    }
    return 0;
}

static void init_locks(fv_batcher *b) {
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_mutex_init(&b->lock, NULL);
    pthread_cond_init(&b->work, &monotonic);
    pthread_cond_init(&b->idle, NULL);
    pthread_condattr_destroy(&monotonic);
    for (int i = 0; i < wait_slots; i++) fv_event_init(&b->events[i]);
}

static fv_status fill(fv_batcher *b) {
    const int32_t workers = b->settings.workers;
    b->fixed_batch = fixed_batch(b->model);
    if (b->fixed_batch) b->settings.max_batch = 1;
    b->input_count = b->model->graph->input_count;
    b->output_count = b->model->graph->output_count;
    b->stats.max_batch = b->settings.max_batch;
    choose_sizes(b);
    FV_FORWARD(fv_alloc_array(b->context, (size_t)workers, sizeof *b->workers, "a batcher", (void **)&b->workers));
    for (int32_t i = 0; i < workers; i++) FV_FORWARD(fv_worker_init(&b->workers[i], b));
    for (int32_t i = 0; i < workers; i++) {
        const int error = fv_thread_start(&b->workers[i].thread, fv_worker_main, &b->workers[i]);
        FV_RETURN_IF(error, FV_ERR_THREAD, "cannot start worker %d of %d: %s", i + 1, workers, strerror(error));
        b->workers[i].started = true;
    }
    return FV_OK;
}

fv_status fv_batcher_create(const fv_model *m, const fv_batcher_settings *s, fv_batcher **out) {
    FV_RETURN_IF(!m || !out, FV_ERR_ARGUMENT, "fv_batcher_create needs a model and a place for the batcher");
    fv_batcher *b = NULL;
    if (s) FV_FORWARD(check_settings(s));
    FV_FORWARD(fv_alloc_zero(m->graph->context, sizeof *b, "a batcher", (void **)&b));
    b->model = fv_model_retain(m);
    b->context = m->graph->context;
    fv_batcher_settings_default(&b->settings);
    if (s) b->settings = *s;
    b->process = fv_process();
    b->armed = INT64_MAX;
    atomic_init(&b->references, 1);
    init_locks(b);
    const fv_status status = fill(b);
    if (status == FV_OK)
        *out = b;
    else
        fv_batcher_free(b);
    return status;
}

/* ---- the end ---- */

fv_status fv_batcher_drain(fv_batcher *b) {
    FV_RETURN_IF(!b, FV_ERR_ARGUMENT, "fv_batcher_drain needs a batcher");
    FV_RETURN_IF(fv_batcher_forked(b), FV_ERR_STATE, "a forked child has none of the batcher's threads");
    FV_RETURN_IF(fv_batcher_in_callback(b), FV_ERR_STATE, "a callback cannot drain the batcher that waits for it");
    pthread_mutex_lock(&b->lock);
    b->closing = true;
    pthread_cond_broadcast(&b->work);
    while (b->outstanding > 0) pthread_cond_wait(&b->idle, &b->lock);
    pthread_mutex_unlock(&b->lock);
    return FV_OK;
}

static void stop_workers(fv_batcher *b) {
    (void)fv_batcher_drain(b);
    pthread_mutex_lock(&b->lock);
    b->quit = true;
    pthread_cond_broadcast(&b->work);
    pthread_mutex_unlock(&b->lock);
    for (int32_t i = 0; b->workers && i < b->settings.workers; i++)
        if (b->workers[i].started) pthread_join(b->workers[i].thread, NULL);
}

void fv_batcher_release(fv_batcher *b) {
    if (atomic_fetch_sub_explicit(&b->references, 1, memory_order_acq_rel) != 1) return;
    fv_model *m = b->model;
    if (!fv_batcher_forked(b)) { /* a child may have them locked, by threads it has not */
        pthread_mutex_destroy(&b->lock);
        pthread_cond_destroy(&b->work);
        pthread_cond_destroy(&b->idle);
    }
    fv_release(b->context, b->item_bytes);
    fv_release(b->context, b);
    fv_model_free(m);
}

void fv_batcher_free(fv_batcher *b) {
    if (!b) return;
    if (fv_batcher_in_callback(b)) {
        (void)fv_fail(FV_ERR_STATE, "a callback cannot free the batcher that waits for it");
        return;
    }
    if (!fv_batcher_forked(b)) stop_workers(b);
    for (int32_t i = 0; b->workers && i < b->settings.workers; i++) fv_worker_deinit(&b->workers[i]);
    fv_release(b->context, b->workers);
    b->workers = NULL;
    fv_batcher_release(b);
}

/* ---- figures ---- */

fv_status fv_batcher_get_stats(fv_batcher *b, fv_batcher_stats *out) {
    FV_RETURN_IF(!b || !out, FV_ERR_ARGUMENT, "fv_batcher_get_stats needs a batcher and a place for the figures");
    FV_RETURN_IF(fv_batcher_forked(b), FV_ERR_STATE, "a forked child has none of the batcher's threads");
    pthread_mutex_lock(&b->lock);
    *out = b->stats;
    out->queued = b->queue.count;
    pthread_mutex_unlock(&b->lock);
    return FV_OK;
}
