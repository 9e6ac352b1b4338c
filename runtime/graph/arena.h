/* Places in one arena for pieces of memory that live from one step to another: two that live at the same time never overlap. */
#ifndef FV_GRAPH_ARENA_H
#define FV_GRAPH_ARENA_H

#include "core/context.h"

typedef struct fv_arena_item {
    size_t bytes;
    size_t first, last; /* steps, both included */
    size_t offset;      /* the answer: a multiple of FV_ALIGNMENT */
} fv_arena_item;

/* Largest first, each at the lowest place free during its life; tight: the best of that and some other orders. */
fv_status fv_arena_place(const fv_context *c, fv_arena_item *items, size_t count, bool tight, size_t *bytes);

#endif
