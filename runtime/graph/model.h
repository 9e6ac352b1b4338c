/* Packed weights shared by the sessions of a model. Plans are made one at a time a model (fv_planning_enter), so that a weight
 * is packed once; entries of a plan that failed go with it. */
#ifndef FV_GRAPH_MODEL_H
#define FV_GRAPH_MODEL_H

#include "graph/graph.h"

typedef struct fv_packed_entry {
    struct fv_packed_entry *next;
    const void *weight; /* the parameter's data: the same for every copy of the graph that shares it */
    size_t key_bytes, bytes;
    bool ready;
    bool shares_slab; /* data is a part of a slab */
    bool borrowed; /* data are another entry's: what this one held was freed when it had been packed */
    bool packed;   /* in a kernel's order, which nobody else can read */
    void *data;
    unsigned char key[];
} fv_packed_entry;

fv_status fv_packed_create(const fv_context *c, fv_packed_cache **out);
void fv_packed_free(fv_packed_cache *p);
void fv_packed_lock(fv_packed_cache *p);
/* all_ready: the plan was made and its prepare phases have run. */
void fv_packed_unlock(fv_packed_cache *p, bool all_ready);
/* Finds or makes the entry; under the lock. plain: of numbers that are packed next and may then be freed, in memory of their own. */
fv_status fv_packed_get(fv_packed_cache *p, const void *weight, const void *key, size_t key_bytes, size_t bytes, bool plain,
                        fv_packed_entry **out);
/* Under the lock: who holds the numbers `old` (a parameter of the model's graph, or an entry) frees them, and `fresh` is what
 * they are found by from now on. */
void fv_packed_replace(fv_packed_cache *p, fv_graph *g, const void *old, fv_packed_entry *fresh);
/* The numbers at `data` were freed, and what is there is packed. */
bool fv_packed_away(const fv_packed_cache *p, const void *data);
/* Bytes of entries in plain order. */
size_t fv_packed_plain_bytes(fv_packed_cache *p);

/* Sessions of a model are made one at a time; those alive are counted. */
void fv_planning_enter(fv_packed_cache *p);
void fv_planning_leave(fv_packed_cache *p);

#endif
