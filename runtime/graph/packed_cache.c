#include "graph/model.h"

#include <pthread.h>
#include <string.h>

struct fv_packed_cache {
    const fv_context *context;
    pthread_mutex_t lock;
    fv_packed_entry *first;
};

fv_status fv_packed_create(const fv_context *c, fv_packed_cache **out) {
    fv_packed_cache *p = NULL;
    FV_FORWARD(fv_alloc_zero(c, sizeof *p, "packed weights", (void **)&p));
    p->context = c;
    pthread_mutex_init(&p->lock, NULL);
    *out = p;
    return FV_OK;
}

void fv_packed_free(fv_packed_cache *p) {
    if (!p) return;
    for (fv_packed_entry *e = p->first, *next; e; e = next) {
        next = e->next;
        fv_release(p->context, e->data);
        fv_release(p->context, e);
    }
    pthread_mutex_destroy(&p->lock);
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
            fv_release(p->context, e->data);
            fv_release(p->context, e);
        }
    }
    pthread_mutex_unlock(&p->lock);
}

fv_status fv_packed_get(fv_packed_cache *p, const void *weight, const void *key, size_t key_bytes, size_t bytes,
                        fv_packed_entry **out) {
    for (fv_packed_entry *e = p->first; e; e = e->next)
        if (e->weight == weight && e->key_bytes == key_bytes && e->bytes == bytes &&
            memcmp(e->key, key, key_bytes) == 0) {
            *out = e;
            return FV_OK;
        }
    fv_packed_entry *e = NULL;
    void *data = NULL;
    FV_FORWARD(fv_alloc_large(p->context, bytes, "packed weights", &data));
    const fv_status status = fv_alloc_zero(p->context, sizeof *e + key_bytes, "packed weights", (void **)&e);
    if (status != FV_OK) {
        fv_release(p->context, data);
        return status;
    }
    e->weight = weight;
    e->key_bytes = key_bytes;
    e->bytes = bytes;
    e->data = data;
    memcpy(e->key, key, key_bytes);
    e->next = p->first;
    p->first = e;
    *out = e;
    return FV_OK;
}
