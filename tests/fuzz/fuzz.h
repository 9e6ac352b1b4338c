/* Shared by the fuzz targets: a context whose memory is bounded and counted, the input as a file. */
#ifndef FV_TESTS_FUZZ_H
#define FV_TESTS_FUZZ_H

#include "fovea.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static size_t fuzz_held; /* bytes the library holds */
static const size_t fuzz_most = (size_t)256 << 20;

/* The size lies 64 bytes before what the library sees. */
static inline void *fuzz_alloc(void *user, size_t bytes, size_t alignment) {
    char *memory;
    (void)user;
    if (alignment > 64 || bytes > fuzz_most - fuzz_held) return NULL;
    if (posix_memalign((void **)&memory, 64, bytes + 64) != 0) return NULL;
    memcpy(memory, &bytes, sizeof bytes);
    fuzz_held += bytes;
    return memory + 64;
}

static inline void fuzz_free(void *user, void *memory) {
    size_t bytes;
    (void)user;
    memcpy(&bytes, (char *)memory - 64, sizeof bytes);
    fuzz_held -= bytes;
    free((char *)memory - 64);
}

static inline void fuzz_check(int right, const char *what) {
    if (right) return;
    fprintf(stderr, "fuzz: %s: %s\n", what, fv_last_error());
    abort();
}

/* A fresh context every time: what an input leaves behind is found at its end. */
static inline fv_context *fuzz_enter(void) {
    fv_context_settings s;
    fv_context *c = NULL;
    fv_context_settings_default(&s);
    s.backend = FV_BACKEND_SERIAL;
    s.threads = 1;
    s.memory_limit = (size_t)64 << 20;
    s.alloc = fuzz_alloc;
    s.free = fuzz_free;
    fuzz_check(fv_context_create(&s, &c) == FV_OK, "no context");
    return c;
}

static inline void fuzz_leave(fv_context *c) {
    fv_context_free(c);
    fuzz_check(fuzz_held == 0, "memory is left");
}

static char fuzz_folder[64];
static inline void fuzz_remove(void) {
    char command[96];
    snprintf(command, sizeof command, "rm -rf %s", fuzz_folder);
    if (system(command) != 0) fprintf(stderr, "fuzz: %s stays\n", fuzz_folder);
}

/* folder/name, a file of these bytes; the folder is one a process, removed at its end. */
static inline const char *fuzz_file(const char *name, const uint8_t *data, size_t size) {
    static char path[128];
    if (!fuzz_folder[0]) {
        snprintf(fuzz_folder, sizeof fuzz_folder, "%s/fovea-fuzz-XXXXXX", access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
        fuzz_check(mkdtemp(fuzz_folder) != NULL, "no folder");
        atexit(fuzz_remove);
    }
    snprintf(path, sizeof path, "%s/%s", fuzz_folder, name);
    const int file = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    fuzz_check(file >= 0 && write(file, data, size) == (ssize_t)size && close(file) == 0, path);
    return path;
}

#endif
