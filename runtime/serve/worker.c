/* A worker takes a batch when it is complete or its oldest item has waited long enough, runs it and answers. */
#include "serve/batcher.h"

#include "ops/window.h"

#include <string.h>

/* ---- taking ---- */

/* Those whose deadline has passed, out of the queue and into w->batch, at most max_batch of them at once. */
static size_t take_expired(batch_worker *w, int64_t now) {
    fv_batcher *b = w->batcher;
    size_t count = 0;
    for (fv_request *r = b->with_deadline ? b->queue.first : NULL, *next; r && count < (size_t)b->settings.max_batch;
         r = next) {
        next = r->next;
        if (r->deadline > now) continue;
        fv_request_unlink(&b->queue, r);
        atomic_store_explicit(&r->state, REQUEST_CLAIMED, memory_order_relaxed);
        b->with_deadline--;
        w->batch[count++] = r;
    }
    b->stats.expired += count;
    return count;
}

static int64_t earliest(const fv_batcher *b) {
    int64_t at = b->queue.first->launch;
    for (const fv_request *r = b->with_deadline ? b->queue.first->next : NULL; r; r = r->next)
        if (r->launch < at) at = r->launch;
    return at;
}

/* The largest planned size that the queue fills; what is left goes next. */
static size_t take_batch(batch_worker *w, size_t *size) {
    fv_batcher *b = w->batcher;
    for (*size = b->size_count - 1; b->sizes[*size] > b->queue.count;) --*size;
    const size_t count = (size_t)b->sizes[*size];
    for (size_t i = 0; i < count; i++) {
        fv_request *r = w->batch[i] = b->queue.first;
        fv_request_unlink(&b->queue, r);
        atomic_store_explicit(&r->state, REQUEST_RUNNING, memory_order_relaxed);
        b->with_deadline -= r->deadline != INT64_MAX;
    }
    b->stats.running += (int64_t)count;
    b->slot = (b->slot + 1) % wait_slots; /* who comes from now on waits with others of a later batch */
    if (b->queue.count && b->sleeping) pthread_cond_signal(&b->work); /* somebody minds the rest */
    return count;
}

static void sleep_until(fv_batcher *b, int64_t until) {
    b->sleeping++;
    if (until == INT64_MAX) {
        pthread_cond_wait(&b->work, &b->lock);
    } else {
        const struct timespec at = {until / 1000000000, until % 1000000000};
        if (until < b->armed) b->armed = until;
        pthread_cond_timedwait(&b->work, &b->lock, &at);
        b->armed = INT64_MAX; /* another that sleeps until a time may be woken once too often */
    }
    b->sleeping--;
}

typedef enum work_kind { WORK_END, WORK_EXPIRED, WORK_BATCH } work_kind;

/* Under the lock: waits for the next thing to do. */
static work_kind next_work(batch_worker *w, size_t *count, size_t *size) {
    fv_batcher *b = w->batcher;
    for (;;) {
        const int64_t now = fv_batcher_now();
        if ((*count = take_expired(w, now)) > 0) return WORK_EXPIRED;
        if (b->queue.count == 0) {
            if (b->quit) return WORK_END;
            sleep_until(b, INT64_MAX);
            continue;
        }
        const int64_t at = b->closing || b->queue.count >= b->settings.max_batch ? now : earliest(b);
        if (at <= now) {
            *count = take_batch(w, size);
            return WORK_BATCH;
        }
        sleep_until(b, at);
    }
}

/* ---- running ---- */

/* Items lie one behind the other in a batch's tensor, whatever the layout: the batch is the outermost axis. */
static void copy_items(const batch_worker *w, size_t tensor, size_t count, bool in) {
    const fv_batcher *b = w->batcher;
    const size_t bytes = b->item_bytes[tensor];
    for (size_t i = 0; i < count; i++) {
        char *there = (char *)w->buffers[tensor] + i * bytes;
        if (in)
            memcpy(there, w->batch[i]->in[tensor], bytes);
        else
            memcpy(w->batch[i]->out[tensor - b->input_count], there, bytes);
    }
}

/* One item runs on its caller's memory, several through the worker's. */
static fv_status run_batch(batch_worker *w, size_t count, size_t size) {
    const fv_batcher *b = w->batcher;
    const fv_graph *g = fv_session_graph(w->sessions[size]);
    const size_t tensors = b->input_count + b->output_count;
    for (size_t i = 0; i < tensors; i++) {
        const bool in = i < b->input_count;
        const fv_value_info *v = &g->values[in ? g->inputs[i] : g->outputs[i - b->input_count]];
        fv_tensor *t = &w->tensors[i];
        *t = (fv_tensor){.dtype = v->dtype, .rank = v->shape.rank};
        t->layout = v->shape.rank != 4 || v->dtype == FV_I64 ? FV_PLAIN
                    : in                                     ? b->settings.input_layout
                                                             : b->settings.output_layout;
        memcpy(t->shape, v->shape.dim, sizeof t->shape);
        t->data = count > 1 ? w->buffers[i] : in ? w->batch[0]->in[i] : w->batch[0]->out[i - b->input_count];
        if (in && count > 1) copy_items(w, i, count, true);
    }
    FV_FORWARD(
        fv_session_run(w->sessions[size], w->tensors, b->input_count, w->tensors + b->input_count, b->output_count));
    for (size_t i = b->input_count; i < tensors && count > 1; i++) copy_items(w, i, count, false);
    return FV_OK;
}

/* Under the lock. */
static void book(batch_worker *w, size_t count, fv_status status, int64_t began, int64_t ended) {
    fv_batcher *b = w->batcher;
    const double seconds = 1e-9 * (double)(ended - began);
    b->typical = b->stats.batches ? 0.9 * b->typical + 0.1 * seconds : seconds;
    b->stats.batches++;
    b->stats.items += count;
    b->stats.running -= (int64_t)count;
    b->stats.run_seconds += seconds;
    *(status == FV_OK ? &b->stats.answered : &b->stats.failed) += count;
    for (size_t i = 0; i < count && status == FV_OK; i++)
        fv_latency_count(&b->stats, 1e-9 * (double)(ended - w->batch[i]->submitted));
}

void *fv_worker_main(void *worker) {
    batch_worker *w = worker;
    fv_batcher *b = w->batcher;
    size_t count = 0, size = 0;
    for (;;) {
        pthread_mutex_lock(&b->lock);
        const work_kind kind = next_work(w, &count, &size);
        pthread_mutex_unlock(&b->lock);
        if (kind == WORK_END) return NULL;
        fv_status status = FV_ERR_DEADLINE;
        if (kind == WORK_BATCH) {
            const int64_t began = fv_batcher_now();
            status = run_batch(w, count, size);
            const int64_t ended = fv_batcher_now();
            pthread_mutex_lock(&b->lock);
            book(w, count, status, began, ended);
            pthread_mutex_unlock(&b->lock);
        }
        fv_request_answer(b, w->batch, count, status);
    }
}

/* ---- life ---- */

static fv_session_settings session_settings(const fv_batcher *b, int64_t items) {
    fv_session_settings s;
    fv_session_settings_default(&s);
    s.batch = b->fixed_batch ? b->fixed_batch : items;
    s.input_layout = b->settings.input_layout;
    s.output_layout = b->settings.output_layout;
    s.threads = b->settings.threads;
    s.plan = b->settings.plan;
    s.choices = b->settings.choices;
    return s;
}

static fv_status make_arena(batch_worker *w, size_t *bytes) {
    const fv_batcher *b = w->batcher;
    *bytes = 0;
    for (size_t i = 0; i < b->size_count; i++) {
        const fv_session_settings s = session_settings(b, b->sizes[i]);
        size_t needed;
        FV_FORWARD(fv_session_bytes(b->model, &s, &needed));
        *bytes = fv_max_size(*bytes, needed);
    }
    return fv_alloc(b->context, *bytes, "a batcher's arena", &w->arena);
}

/* An answer is cut out of a batch's outputs: each must be n times that of one item. */
static fv_status check_outputs(const fv_session *one, const fv_session *many, int64_t n) {
    const fv_graph *a = fv_session_graph(one), *g = fv_session_graph(many);
    for (size_t i = 0; i < g->output_count; i++) {
        const fv_value_info *v = &g->values[g->outputs[i]];
        fv_shape wanted = a->values[a->outputs[i]].shape;
        if (wanted.rank > 0) wanted.dim[0] *= n;
        FV_RETURN_IF(wanted.rank == 0 || !fv_shape_same(&wanted, &v->shape), FV_ERR_UNSUPPORTED,
                     "output \"%s\" has shape %s for %lld items: it cannot be cut into theirs; use max_batch 1",
                     v->name ? v->name : "", fv_shape_print(&v->shape).text, (long long)n);
    }
    for (size_t i = 0; i < g->node_count; i++)
        FV_RETURN_IF(g->nodes[i].op == &fv_op_indices || g->nodes[i].op == &fv_op_positions, FV_ERR_UNSUPPORTED,
                     "node \"%s\" counts places over the whole batch; use max_batch 1", g->nodes[i].name);
    return FV_OK;
}

/* The largest first: it packs what the others share, and the team's scratch has its size at once. */
static fv_status make_sessions(batch_worker *w) {
    const fv_batcher *b = w->batcher;
    size_t bytes;
    FV_FORWARD(make_arena(w, &bytes));
    FV_FORWARD(fv_parallel_create(b->context, b->settings.threads, 0, &w->team));
    for (size_t i = b->size_count; i-- > 0;) {
        fv_session_settings s = session_settings(b, b->sizes[i]);
        s.arena = w->arena;
        s.arena_bytes = bytes;
        FV_FORWARD(fv_session_create_on(b->model, &s, w->team, &w->sessions[i]));
    }
    for (size_t i = 1; i < b->size_count; i++) FV_FORWARD(check_outputs(w->sessions[0], w->sessions[i], b->sizes[i]));
    return FV_OK;
}

static fv_status make_buffers(batch_worker *w) {
    const fv_batcher *b = w->batcher;
    const size_t tensors = b->input_count + b->output_count, most = (size_t)b->settings.max_batch;
    FV_FORWARD(fv_alloc_array(b->context, tensors, sizeof *w->tensors, "a batcher", (void **)&w->tensors));
    FV_FORWARD(fv_alloc_array(b->context, tensors, sizeof *w->buffers, "a batcher", (void **)&w->buffers));
    FV_FORWARD(fv_alloc_array(b->context, most, sizeof *w->batch, "a batcher", (void **)&w->batch));
    for (size_t i = 0; i < tensors && most > 1; i++)
        FV_FORWARD(fv_alloc_array(b->context, most, b->item_bytes[i], "a batch's tensors", &w->buffers[i]));
    return FV_OK;
}

/* b->item_bytes, from the first worker's session of one item. */
static fv_status measure_items(fv_batcher *b, const fv_graph *g) {
    FV_FORWARD(fv_alloc_array(b->context, b->input_count + b->output_count, sizeof *b->item_bytes, "a batcher",
                              (void **)&b->item_bytes));
    for (size_t i = 0; i < b->input_count + b->output_count; i++) {
        const fv_value_info *v = &g->values[i < b->input_count ? g->inputs[i] : g->outputs[i - b->input_count]];
        b->item_bytes[i] = fv_shape_count(&v->shape) * fv_dtype_bytes(v->dtype);
    }
    return FV_OK;
}

fv_status fv_worker_init(batch_worker *w, fv_batcher *b) {
    w->batcher = b;
    FV_FORWARD(make_sessions(w));
    if (!b->item_bytes) FV_FORWARD(measure_items(b, fv_session_graph(w->sessions[0])));
    return make_buffers(w);
}

void fv_worker_deinit(batch_worker *w) {
    const fv_batcher *b = w->batcher;
    if (!b) return; /* never begun */
    for (size_t i = 0; i < b->size_count; i++) fv_session_free(w->sessions[i]);
    fv_parallel_free(w->team);
    fv_release(b->context, w->arena);
    for (size_t i = 0; w->buffers && i < b->input_count + b->output_count; i++) fv_release(b->context, w->buffers[i]);
    fv_release(b->context, w->buffers);
    fv_release(b->context, w->tensors);
    fv_release(b->context, w->batch);
}
