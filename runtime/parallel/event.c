#include "parallel/event.h"

#ifdef __linux__
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif
#include <limits.h>
#include <sched.h>
#include <stddef.h>

static void relax(void) {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

void fv_relax(int i) {
    if (i % 64 == 63)
        sched_yield();
    else
        relax();
}

void fv_event_init(fv_event *e) {
    atomic_init(&e->value, 0);
    atomic_init(&e->sleepers, 0);
}

static void sleep_while(fv_event *e, unsigned old) {
#ifdef __linux__
    syscall(SYS_futex, &e->value, FUTEX_WAIT_PRIVATE, old, NULL, NULL, 0);
#else
    (void)e, (void)old;
    sched_yield();
#endif
}

void fv_event_wait(fv_event *e, unsigned old, int spins) {
    for (int i = 0; i < spins; i++) {
        if (fv_event_value(e) != old) return;
        relax();
    }
    /* The sleeper announces itself before the kernel compares, the signaller changes the value before it looks for sleepers:
     * one of the two sees the other (both are sequentially consistent). */
    atomic_fetch_add(&e->sleepers, 1);
    while (atomic_load(&e->value) == old) sleep_while(e, old);
    atomic_fetch_sub(&e->sleepers, 1);
}

void fv_event_signal(fv_event *e) {
    atomic_fetch_add(&e->value, 1);
    if (atomic_load(&e->sleepers) == 0) return;
#ifdef __linux__
    syscall(SYS_futex, &e->value, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0);
#endif
}
