/* Shared by the tests of files: a folder of a test's own, files of given bytes in it, every prefix of a file. */
#ifndef FV_TESTS_FILES_H
#define FV_TESTS_FILES_H

#include "unit.h"

#include <dirent.h>
#include <sys/stat.h>
#include <unistd.h>

static char folder[64];
static fv_context *context;
static ledger memory; /* every block of the context */

static inline void enter(void) {
    fv_context_settings s = settings_of(FV_BACKEND_SERIAL, 1);
    ledger_use(&s, &memory);
    snprintf(folder, sizeof folder, "/tmp/fovea-test-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(folder));
    context = context_with(&s);
}

/* Also that nothing the library allocated is left. */
static inline void leave(void) {
    char command[512];
    fv_context_free(context);
    ck_assert_int_eq(atomic_load(&memory.blocks), 0);
    if (getenv("FOVEA_KEEP")) { /* seeds for tests/fuzz */
        snprintf(command, sizeof command, "cd %s && for f in *; do [ ! -f \"$f\" ] || cp \"$f\" \"$FOVEA_KEEP/%d-$f\"; done", folder, (int)getpid());
        ck_assert_int_eq(system(command), 0);
    }
    snprintf(command, sizeof command, "rm -r %s", folder);
    ck_assert_int_eq(system(command), 0);
}

/* folder/name, in one of four buffers that take turns. */
static inline const char *at(const char *name) {
    static char paths[4][256];
    static unsigned turn;
    char *path = paths[turn++ % 4];
    snprintf(path, sizeof paths[0], "%s/%s", folder, name);
    return path;
}

static inline void make_folder(const char *name) { ck_assert_int_eq(mkdir(at(name), 0777), 0); }

static inline void put(const char *name, const void *bytes, size_t count) {
    FILE *f = fopen(at(name), "wb");
    ck_assert_ptr_nonnull(f);
    ck_assert_uint_eq(fwrite(bytes, 1, count, f), count);
    ck_assert_int_eq(fclose(f), 0);
}

/* The whole file; freed by the caller. */
static inline uint8_t *get(const char *name, size_t *count) {
    FILE *f = fopen(at(name), "rb");
    ck_assert_ptr_nonnull(f);
    ck_assert_int_eq(fseek(f, 0, SEEK_END), 0);
    *count = (size_t)ftell(f);
    rewind(f);
    uint8_t *bytes = malloc(*count + 1);
    ck_assert_ptr_nonnull(bytes);
    ck_assert_uint_eq(fread(bytes, 1, *count, f), *count);
    fclose(f);
    return bytes;
}

/* Entries of the folder, hidden ones too. */
static inline int entries(void) {
    int n = 0;
    DIR *d = opendir(folder);
    ck_assert_ptr_nonnull(d);
    for (const struct dirent *e; (e = readdir(d));) n += strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0;
    closedir(d);
    return n;
}

/* Cuts the file to every shorter length: each time `read` has to fail, with a sentence that names the file and without
 * leaving memory behind. The file is whole again afterwards. */
static inline void every_prefix_fails(const char *name, fv_status (*read)(void)) {
    size_t count;
    uint8_t *bytes = get(name, &count);
    const long blocks = atomic_load(&memory.blocks);
    for (size_t n = 0; n < count; n++) {
        put(name, bytes, n);
        const fv_status status = read();
        ck_assert_msg(status != FV_OK, "%s was read from its first %zu of %zu bytes", name, n, count);
        ck_assert_msg(strstr(fv_last_error(), name) != NULL, "%zu bytes: %s", n, fv_last_error());
        ck_assert_int_eq(atomic_load(&memory.blocks), blocks);
    }
    put(name, bytes, count);
    ck_assert_int_eq(read(), FV_OK);
    free(bytes);
}

/* Refuses the n-th allocation for n = 1, 2, ... until `read` succeeds: before, it says so and leaves nothing. */
static inline void every_allocation_may_fail(fv_status (*read)(void)) {
    const long blocks = atomic_load(&memory.blocks);
    for (long n = 1;; n++) {
        ck_assert_int_lt(n, 10000);
        atomic_store(&memory.calls, 0);
        memory.fail_at = n;
        const fv_status status = read();
        memory.fail_at = 0;
        ck_assert_int_eq(atomic_load(&memory.blocks), blocks);
        if (atomic_load(&memory.calls) < n) {
            ck_assert_int_eq(status, FV_OK);
            ck_assert_int_gt(n, 1);
            return;
        }
        ck_assert_msg(status == FV_ERR_MEMORY, "allocation %ld: %s", n, fv_last_error());
    }
}

#endif
