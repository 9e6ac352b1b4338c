/* LD_PRELOAD library: the FAULT_NTH-th call of the process that could meet a full disk fails with ENOSPC, that one
 * alone: a program that overlooks it would go on. Calls on standard output and error do not count: it has to say what
 * went wrong. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

static bool disk_full(int file) {
    static atomic_long calls;
    const char *nth = getenv("FAULT_NTH");
    if (!nth || file == STDOUT_FILENO || file == STDERR_FILENO) return false;
    if (atomic_fetch_add(&calls, 1) + 1 != atol(nth)) return false;
    errno = ENOSPC;
    return true;
}

#define REAL(result, name, ...) ((result(*)(__VA_ARGS__))dlsym(RTLD_NEXT, #name))

ssize_t write(int file, const void *data, size_t bytes) {
    return disk_full(file) ? -1 : REAL(ssize_t, write, int, const void *, size_t)(file, data, bytes);
}

ssize_t pwrite(int file, const void *data, size_t bytes, off_t at) {
    return disk_full(file) ? -1 : REAL(ssize_t, pwrite, int, const void *, size_t, off_t)(file, data, bytes, at);
}

ssize_t writev(int file, const struct iovec *parts, int count) {
    return disk_full(file) ? -1 : REAL(ssize_t, writev, int, const struct iovec *, int)(file, parts, count);
}

int fsync(int file) { return disk_full(file) ? -1 : REAL(int, fsync, int)(file); }

int fdatasync(int file) { return disk_full(file) ? -1 : REAL(int, fdatasync, int)(file); }

int ftruncate(int file, off_t bytes) { return disk_full(file) ? -1 : REAL(int, ftruncate, int, off_t)(file, bytes); }

int mkstemp(char *name) { return disk_full(-1) ? -1 : REAL(int, mkstemp, char *)(name); }

int rename(const char *from, const char *to) {
    return disk_full(-1) ? -1 : REAL(int, rename, const char *, const char *)(from, to);
}
