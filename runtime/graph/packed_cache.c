#include "graph/model.h"

#include <pthread.h>
#include <string.h>

/* Weights too small for large pages of their own lie side by side in slabs of one: a product reads its panels in a straight
 * line, and without large pages the processor's prefetching stops at every 4 KiB. */
enum { SLAB_BYTES = 2 << 20 };

typedef struct slab {
    struct slab *next;
    char *data;
    size_t used;
} slab;

struct fv_packed_cache {
    const fv_context *context;
    pthread_mutex_t lock, planning;
    fv_packed_entry *first;
    slab *slabs;  /* the newest first */
    size_t bytes; /* of all entries */
};

fv_status fv_packed_create(const fv_context *c, fv_packed_cache **out) {
    fv_packed_cache *p = NULL;
    FV_FORWARD(fv_alloc_zero(c, sizeof *p, "packed weights", (void **)&p));
    p->context = c;
    pthread_mutex_init(&p->lock, NULL);
    pthread_mutex_init(&p->planning, NULL);
    *out = p;
    return FV_OK;
}

/* The first SLAB_BYTES of a network go without: a slab would cost a small one more memory than all it has. */
static bool fits_slab(const fv_packed_cache *p, size_t bytes) {
    const fv_context_settings *s = &p->context->settings;
    return !s->alloc && (!s->memory_limit || s->memory_limit >= SLAB_BYTES) && p->bytes >= SLAB_BYTES && bytes < SLAB_BYTES;
}

static fv_status take_slab(fv_packed_cache *p, size_t bytes, void **out) {
    slab *s = p->slabs;
    while (s && SLAB_BYTES - s->used < bytes) s = s->next;
    if (!s) {
        FV_FORWARD(fv_alloc_zero(p->context, sizeof *s, "packed weights", (void **)&s));
        const fv_status status = fv_alloc_large(p->context, SLAB_BYTES, "packed weights", (void **)&s->data);
        if (status != FV_OK) {
            fv_release(p->context, s);
            return status;
        }
        s->next = p->slabs;
        p->slabs = s;
    }
    *out = s->data + s->used;
    s->used += fv_round_up(bytes, FV_ALIGNMENT);
    return FV_OK;
}

/* The newest entries go first, so each ends where its slab does; what is left of a slab is taken again. */
static void give_back(fv_packed_cache *p, const fv_packed_entry *e) {
    const char *data = e->data, *end = data + fv_round_up(e->bytes, FV_ALIGNMENT);
    for (slab *s = p->slabs; e->shares_slab && s; s = s->next)
        if (end == s->data + s->used) s->used = (size_t)(data - s->data);
}

static void release_entry(fv_packed_cache *p, fv_packed_entry *e) {
    p->bytes -= e->bytes;
    if (!e->shares_slab && !e->borrowed) fv_release(p->context, e->data);
    fv_release(p->context, e);
}

void fv_packed_free(fv_packed_cache *p) {
    if (!p) return;
    for (fv_packed_entry *e = p->first, *next; e; e = next) {
        next = e->next;
        release_entry(p, e);
    }
    for (slab *s = p->slabs, *next; s; s = next) {
        next = s->next;
        fv_release(p->context, s->data);
        fv_release(p->context, s);
    }
    pthread_mutex_destroy(&p->lock);
    pthread_mutex_destroy(&p->planning);
    fv_release(p->context, p);
}

void fv_packed_lock(fv_packed_cache *p) { pthread_mutex_lock(&p->lock); }

void fv_packed_unlock(fv_packed_cache *p, bool all_ready) {
    for (fv_packed_entry **at = &p->first; *at;) {
        fv_packed_entry *e = *at;
        if (e->ready || all_ready) {
            e->ready = true;
            at = &e->next;
        } else { /* the plan that would have filled it failed */
            *at = e->next;
            give_back(p, e);
            release_entry(p, e);
        }
    }
    pthread_mutex_unlock(&p->lock);
}

void fv_planning_enter(fv_packed_cache *p) { pthread_mutex_lock(&p->planning); }
void fv_planning_leave(fv_packed_cache *p) { pthread_mutex_unlock(&p->planning); }

bool fv_packed_away(const fv_packed_cache *p, const void *data) {
    for (const fv_packed_entry *e = p->first; e; e = e->next)
        if (e->packed && e->data == data) return true;
    return false;
}

size_t fv_packed_plain_bytes(fv_packed_cache *p) {
    size_t bytes = 0;
    fv_packed_lock(p);
    for (const fv_packed_entry *e = p->first; e; e = e->next) bytes += e->borrowed || e->packed ? 0 : e->bytes;
    pthread_mutex_unlock(&p->lock);
    return bytes;
}

void fv_packed_replace(fv_packed_cache *p, fv_graph *g, const void *old, fv_packed_entry *fresh) {
    void *gone = NULL;
    fresh->ready = true; /* the model depends on it now */
    for (fv_packed_entry *e = p->first; e; e = e->next) {
        if (e->weight == old) e->weight = fresh->data;
        if (e->data != old || e == fresh) continue;
        if (!e->borrowed && !e->shares_slab) gone = e->data;
        e->data = fresh->data;
        e->borrowed = true;
    }
    for (size_t i = 0; i < g->value_count; i++) {
        fv_value_info *v = &g->values[i];
        if (v->data != old) continue;
        if (!v->shared) gone = v->data;
        v->data = fresh->data;
        v->shared = v->away = true;
    }
    fv_release(p->context, gone);
}

fv_status fv_packed_get(fv_packed_cache *p, const void *weight, const void *key, size_t key_bytes, size_t bytes,
                        bool plain, fv_packed_entry **out) {
    for (fv_packed_entry *e = p->first; e; e = e->next)
        if (e->weight == weight && e->key_bytes == key_bytes && e->bytes == bytes &&
            memcmp(e->key, key, key_bytes) == 0) {
            *out = e;
            return FV_OK;
        }
    FV_RETURN_IF(
        fv_packed_away(p, weight), FV_ERR_STATE,
        "the model's weights were packed for a session of FV_PLAN_LEAN and freed: load it again for another plan");
    fv_packed_entry *e = NULL;
    FV_FORWARD(fv_alloc_zero(p->context, sizeof *e + key_bytes, "packed weights", (void **)&e));
    const bool shares_slab = !plain && fits_slab(p, bytes);
    const fv_status status =
        shares_slab ? take_slab(p, bytes, &e->data) : fv_alloc_large(p->context, bytes, "packed weights", &e->data);
    if (status != FV_OK) {
        fv_release(p->context, e);
        return status;
    }
    e->weight = weight;
    e->shares_slab = shares_slab;
    p->bytes += bytes;
    e->key_bytes = key_bytes;
    e->bytes = bytes;
    memcpy(e->key, key, key_bytes);
    e->next = p->first;
    p->first = e;
    *out = e;
    return FV_OK;
}
