/* A thread of the library's own. */
#ifndef FV_PARALLEL_THREAD_H
#define FV_PARALLEL_THREAD_H

#include <pthread.h>
#include <signal.h>

/* pthread_create with every signal blocked: signals stay with the host's threads. @return 0 or the error number. */
static inline int fv_thread_start(pthread_t *thread, void *(*run)(void *), void *arg) {
    sigset_t all, old;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    const int error = pthread_create(thread, NULL, run, arg);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    return error;
}

#endif
