/* A number threads wait on: spin a little, then sleep in the kernel. */
#ifndef FV_PARALLEL_EVENT_H
#define FV_PARALLEL_EVENT_H

#include <stdatomic.h>
#include <stdint.h>

typedef struct fv_event {
    _Alignas(64) atomic_uint value;
    atomic_uint sleepers;
} fv_event;

void fv_event_init(fv_event *e);
static inline unsigned fv_event_value(fv_event *e) { return atomic_load_explicit(&e->value, memory_order_acquire); }
/* Returns once the value differs from `old`. What the signaller wrote before is then visible. */
void fv_event_wait(fv_event *e, unsigned old, int spins);
/* The same, but returns at `until` (CLOCK_MONOTONIC, ns; INT64_MAX: never) at the latest, and without spinning. */
void fv_event_wait_until(fv_event *e, unsigned old, int64_t until);
/* Changes the value by one and wakes every sleeper. */
void fv_event_signal(fv_event *e);

/* The i-th look at something that is about to change: a pause, now and then a turn for others. */
void fv_relax(int i);

#endif
