#include "graph/arena.h"

#include <stdlib.h>

/* By size, the larger first; equal ones by place in the list, so that the plan is the same everywhere. */
static int larger_first(const void *a, const void *b) {
    const fv_arena_item *x = *(fv_arena_item *const *)a, *y = *(fv_arena_item *const *)b;
    if (x->bytes != y->bytes) return x->bytes < y->bytes ? 1 : -1;
    return (x > y) - (x < y);
}

static bool alive_together(const fv_arena_item *a, const fv_arena_item *b) { return a->first <= b->last && b->first <= a->last; }

/* `placed` is sorted by offset and holds only items alive together with `item`. */
static size_t lowest_place(const fv_arena_item *item, fv_arena_item *const *placed, size_t count) {
    size_t at = 0;
    for (size_t i = 0; i < count; i++) {
        const fv_arena_item *p = placed[i];
        if (!alive_together(item, p)) continue;
        if (p->offset >= at && p->offset - at >= item->bytes) return at;
        if (p->offset + p->bytes > at) at = p->offset + p->bytes;
    }
    return at;
}

static void insert_by_offset(fv_arena_item **placed, size_t count, fv_arena_item *item) {
    size_t i = count;
    for (; i > 0 && placed[i - 1]->offset > item->offset; i--) placed[i] = placed[i - 1];
    placed[i] = item;
}

fv_status fv_arena_place(const fv_context *c, fv_arena_item *items, size_t count, size_t *bytes) {
    fv_arena_item **order = NULL;
    FV_FORWARD(fv_alloc_array(c, 2 * count + 1, sizeof *order, "the memory plan", (void **)&order));
    fv_arena_item **placed = order + count;
    size_t total = 0;
    for (size_t i = 0; i < count; i++) {
        items[i].bytes = fv_round_up(items[i].bytes, FV_ALIGNMENT);
        order[i] = &items[i];
    }
    qsort(order, count, sizeof *order, larger_first);
    for (size_t i = 0; i < count; i++) {
        fv_arena_item *item = order[i];
        item->offset = lowest_place(item, placed, i);
        insert_by_offset(placed, i, item);
        if (item->offset > SIZE_MAX / 2 - item->bytes) {
            fv_release(c, order);
            return fv_fail(FV_ERR_LIMIT, "the network needs more memory than can be addressed");
        }
        if (item->offset + item->bytes > total) total = item->offset + item->bytes;
    }
    fv_release(c, order);
    *bytes = total;
    return FV_OK;
}
