/* Places in the order of their keys: largest key first, of equal ones the first place. */
#ifndef FV_OPS_ND_HEAP_H
#define FV_OPS_ND_HEAP_H

#include <stddef.h>
#include <stdint.h>

typedef struct fv_nd_place {
    int64_t key;
    size_t index;
} fv_nd_place;

/* a comes later in the order. */
static inline int fv_nd_after(const fv_nd_place *a, const fv_nd_place *b) {
    return a->key != b->key ? a->key < b->key : a->index > b->index;
}

static inline void fv_nd_sink(fv_nd_place *heap, size_t i, size_t n) {
    const fv_nd_place moved = heap[i];
    for (size_t child; (child = 2 * i + 1) < n; i = child) {
        if (child + 1 < n && fv_nd_after(&heap[child], &heap[child + 1])) child++;
        if (!fv_nd_after(&moved, &heap[child])) break;
        heap[i] = heap[child];
    }
    heap[i] = moved;
}

/* n places become a heap, its first in front; and the first leaves a heap of n. */
static inline void fv_nd_heap_make(fv_nd_place *heap, size_t n) {
    for (size_t i = n / 2; i-- > 0;) fv_nd_sink(heap, i, n);
}
static inline fv_nd_place fv_nd_heap_take(fv_nd_place *heap, size_t n) {
    const fv_nd_place first = heap[0];
    heap[0] = heap[n - 1];
    if (n > 1) fv_nd_sink(heap, 0, n - 1);
    return first;
}

#endif
