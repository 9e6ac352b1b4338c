#include "graph/arena.h"

#include <stdlib.h>

/* By size, the larger first; equal ones by place in the list, so that the plan is the same everywhere. */
static int larger_first(const void *a, const void *b) {
    const fv_arena_item *x = *(fv_arena_item *const *)a, *y = *(fv_arena_item *const *)b;
    if (x->bytes != y->bytes) return x->bytes < y->bytes ? 1 : -1;
    return (x > y) - (x < y);
}

static bool alive_together(const fv_arena_item *a, const fv_arena_item *b) {
    return a->first <= b->last && b->first <= a->last;
}

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

/* The size times the life, the larger first. */
static int heavier_first(const void *a, const void *b) {
    const fv_arena_item *x = *(fv_arena_item *const *)a, *y = *(fv_arena_item *const *)b;
    const double p = (double)x->bytes * (double)(x->last - x->first + 1),
                 q = (double)y->bytes * (double)(y->last - y->first + 1);
    return p != q ? (p < q ? 1 : -1) : larger_first(a, b);
}

static int earlier_first(const void *a, const void *b) {
    const fv_arena_item *x = *(fv_arena_item *const *)a, *y = *(fv_arena_item *const *)b;
    return x->first != y->first ? (x->first > y->first ? 1 : -1) : larger_first(a, b);
}

typedef int (*order_fn)(const void *a, const void *b);

/* Items in that order, each at the lowest place. SIZE_MAX: more than can be addressed. */
static size_t place(fv_arena_item *items, size_t count, order_fn before, fv_arena_item **order) {
    fv_arena_item **placed = order + count;
    size_t total = 0;
    for (size_t i = 0; i < count; i++) order[i] = &items[i];
    qsort(order, count, sizeof *order, before);
    for (size_t i = 0; i < count; i++) {
        fv_arena_item *item = order[i];
        item->offset = lowest_place(item, placed, i);
        insert_by_offset(placed, i, item);
        if (item->offset > SIZE_MAX / 2 - item->bytes) return SIZE_MAX;
        total = fv_max_size(total, item->offset + item->bytes);
    }
    return total;
}

fv_status fv_arena_place(const fv_context *c, fv_arena_item *items, size_t count, bool tight, size_t *bytes) {
    static const order_fn orders[] = {larger_first, heavier_first, earlier_first};
    fv_arena_item **order = NULL;
    order_fn best = orders[0];
    FV_FORWARD(fv_alloc_array(c, 2 * count + 1, sizeof *order, "the memory plan", (void **)&order));
    for (size_t i = 0; i < count; i++) items[i].bytes = fv_round_up(items[i].bytes, FV_ALIGNMENT);
    size_t least = place(items, count, best, order);
    for (size_t k = 1; tight && k < FV_ARRAY_SIZE(orders); k++) {
        const size_t total = place(items, count, orders[k], order);
        if (total >= least) continue;
        least = total;
        best = orders[k];
    }
    if (tight) (void)place(items, count, best, order);
    fv_release(c, order);
    FV_RETURN_IF(least == SIZE_MAX, FV_ERR_LIMIT, "the network needs more memory than can be addressed");
    *bytes = least;
    return FV_OK;
}
