/* Counts what a stretch of a program asks memory for, on all its threads. */
#ifndef FV_TESTS_WATCH_H
#define FV_TESTS_WATCH_H

#include <stdbool.h>

typedef struct watch_counts {
    int calls; /* malloc, calloc, realloc, reallocarray, memalign, aligned_alloc, posix_memalign, valloc, pvalloc, free
                  of non-NULL, and mmap, mremap, munmap, brk, sbrk as functions */
    int system_calls; /* mmap, mremap, munmap, brk as the kernel sees them, whoever makes them */
} watch_counts;

/* Before any other thread there is. false: the kernel lets nobody watch, and system_calls stays 0. */
bool watch_install(void);
void watch_begin(void);
watch_counts watch_end(void);

#endif
