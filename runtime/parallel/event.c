#include "parallel/event.h"

#ifdef __linux__
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif
#include <errno.h>
#include <limits.h>
#include <sched.h>
#include <stdbool.h>
#include <stddef.h>
#include <time.h>

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

/* until NULL: no limit. May return early. false: it was so late. */
static bool sleep_while(fv_event *e, unsigned old, const struct timespec *until) {
#ifdef __linux__
    return syscall(SYS_futex, &e->value, FUTEX_WAIT_BITSET | FUTEX_PRIVATE_FLAG, old, until, NULL, FUTEX_BITSET_MATCH_ANY) == 0 ||
           errno != ETIMEDOUT;
#else
    struct timespec now;
    (void)e, (void)old;
    sched_yield();
    clock_gettime(CLOCK_MONOTONIC, &now);
    return !until || now.tv_sec < until->tv_sec || (now.tv_sec == until->tv_sec && now.tv_nsec < until->tv_nsec);
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
    while (atomic_load(&e->value) == old) (void)sleep_while(e, old, NULL);
    atomic_fetch_sub(&e->sleepers, 1);
}

void fv_event_wait_until(fv_event *e, unsigned old, int64_t until) {
    const struct timespec at = {until / 1000000000, until % 1000000000};
    atomic_fetch_add(&e->sleepers, 1);
    while (atomic_load(&e->value) == old && sleep_while(e, old, until == INT64_MAX ? NULL : &at)) continue;
    atomic_fetch_sub(&e->sleepers, 1);
}

void fv_event_signal(fv_event *e) {
    atomic_fetch_add(&e->value, 1);
    if (atomic_load(&e->sleepers) == 0) return;
#ifdef __linux__
    syscall(SYS_futex, &e->value, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0);
#endif
}
