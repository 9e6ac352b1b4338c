#define _GNU_SOURCE
#include "watch.h"

#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

static atomic_int watching, calls, system_calls, listener = -1;

static void seen(void) {
    if (atomic_load(&watching)) atomic_fetch_add(&calls, 1);
}

/* ---- the malloc family, over glibc's own names for it ---- */

#define EXPORTED __attribute__((visibility("default")))
void *__libc_malloc(size_t bytes);
void *__libc_calloc(size_t count, size_t bytes);
void *__libc_realloc(void *memory, size_t bytes);
void *__libc_memalign(size_t alignment, size_t bytes);
void __libc_free(void *memory);

EXPORTED void *malloc(size_t bytes) {
    seen();
    return __libc_malloc(bytes);
}

EXPORTED void *calloc(size_t count, size_t bytes) {
    seen();
    return __libc_calloc(count, bytes);
}

EXPORTED void *realloc(void *memory, size_t bytes) {
    seen();
    return __libc_realloc(memory, bytes);
}

EXPORTED void *reallocarray(void *memory, size_t count, size_t bytes) {
    size_t total;
    seen();
    if (__builtin_mul_overflow(count, bytes, &total)) {
        errno = ENOMEM;
        return NULL;
    }
    return __libc_realloc(memory, total);
}

EXPORTED void *memalign(size_t alignment, size_t bytes) {
    seen();
    return __libc_memalign(alignment, bytes);
}

EXPORTED void *aligned_alloc(size_t alignment, size_t bytes) { return memalign(alignment, bytes); }
EXPORTED void *valloc(size_t bytes) { return memalign(4096, bytes); }
EXPORTED void *pvalloc(size_t bytes) { return memalign(4096, (bytes + 4095) / 4096 * 4096); }

EXPORTED int posix_memalign(void **out, size_t alignment, size_t bytes) {
    void *memory = memalign(alignment, bytes);
    if (memory) *out = memory;
    return memory ? 0 : ENOMEM;
}

EXPORTED void free(void *memory) {
    if (memory) seen();
    __libc_free(memory);
}

/* ---- maps and breaks as functions ---- */

EXPORTED void *mmap(void *at, size_t bytes, int protection, int flags, int file, off_t offset) {
    seen();
    return (void *)syscall(SYS_mmap, at, bytes, protection, flags, file, offset);
}

EXPORTED int munmap(void *at, size_t bytes) {
    seen();
    return (int)syscall(SYS_munmap, at, bytes);
}

EXPORTED void *mremap(void *at, size_t old, size_t bytes, int flags, ...) {
    va_list arguments;
    va_start(arguments, flags);
    void *fixed = flags & MREMAP_FIXED ? va_arg(arguments, void *) : NULL;
    va_end(arguments);
    seen();
    return (void *)syscall(SYS_mremap, at, old, bytes, flags, fixed);
}

EXPORTED int brk(void *to) {
    seen();
    return (uintptr_t)syscall(SYS_brk, to) >= (uintptr_t)to ? 0 : -1;
}

EXPORTED void *sbrk(intptr_t more) {
    seen();
    const uintptr_t old = (uintptr_t)syscall(SYS_brk, 0);
    return more && (uintptr_t)syscall(SYS_brk, old + (uintptr_t)more) != old + (uintptr_t)more ? (void *)-1
                                                                                               : (void *)old;
}

/* ---- system calls: the kernel asks the supervisor about each, which counts and lets it go on ---- */

static void *supervise(void *arg) {
    (void)arg;
    int file;
    while ((file = atomic_load(&listener)) < 0) usleep(100);
    for (;;) {
        struct seccomp_notif asked;
        struct seccomp_notif_resp answer;
        memset(&asked, 0, sizeof asked);
        if (ioctl(file, SECCOMP_IOCTL_NOTIF_RECV, &asked) != 0) continue;
        if (atomic_load(&watching)) atomic_fetch_add(&system_calls, 1);
        memset(&answer, 0, sizeof answer);
        answer.id = asked.id;
        answer.flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE;
        (void)ioctl(file, SECCOMP_IOCTL_NOTIF_SEND, &answer);
    }
    return NULL;
}

static int filter_memory_calls(void) {
    static struct sock_filter rules[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_mmap, 4, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_munmap, 3, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_mremap, 2, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_brk, 1, 0),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF),
    };
    const struct sock_fprog program = {sizeof rules / sizeof *rules, rules};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return -1;
    return (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER, &program);
}

/* The filter holds for this thread and those it makes from now on; the supervisor, made before, is free of it. */
bool watch_install(void) {
    pthread_t supervisor;
    if (pthread_create(&supervisor, NULL, supervise, NULL) != 0) return false;
    pthread_detach(supervisor);
    const int file = filter_memory_calls();
    if (file < 0) return false;
    atomic_store(&listener, file);
    return true;
}

void watch_begin(void) {
    atomic_store(&calls, 0);
    atomic_store(&system_calls, 0);
    atomic_store(&watching, 1);
}

watch_counts watch_end(void) {
    atomic_store(&watching, 0);
    return (watch_counts){atomic_load(&calls), atomic_load(&system_calls)};
}
