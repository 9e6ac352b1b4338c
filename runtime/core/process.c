#include "core/process.h"

#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

static pthread_once_t once = PTHREAD_ONCE_INIT;
static atomic_int known; /* 0: ask */

static void ask(void) { atomic_store_explicit(&known, (int)getpid(), memory_order_relaxed); }
static void watch(void) {
    if (pthread_atfork(NULL, NULL, ask) == 0) ask();
}

pid_t fv_process(void) {
    const int process = atomic_load_explicit(&known, memory_order_relaxed);
    if (process) return process;
    pthread_once(&once, watch);
    return getpid();
}
