/* core/file.h: files written beside and renamed, files mapped. */
#define _GNU_SOURCE
#include "unit.h"

#include "core/file.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static char folder[64], target[128];
static fv_context *context;

static void enter(void) {
    snprintf(folder, sizeof folder, "/tmp/fovea-file-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(folder));
    snprintf(target, sizeof target, "%s/model", folder);
    context = context_of(FV_BACKEND_SERIAL, 1);
}

static void leave(void) {
    char command[128];
    fv_context_free(context);
    snprintf(command, sizeof command, "rm -r %s", folder);
    ck_assert_int_eq(system(command), 0);
}

static int files_there(void) {
    int n = 0;
    DIR *d = opendir(folder);
    ck_assert_ptr_nonnull(d);
    for (struct dirent *e; (e = readdir(d));) n += e->d_name[0] != '.' || strlen(e->d_name) > 2;
    closedir(d);
    return n;
}

static void put(const char *path, const char *text) {
    FILE *f = fopen(path, "w");
    ck_assert_ptr_nonnull(f);
    fputs(text, f);
    fclose(f);
}

static void holds(const char *path, const char *text) {
    char found[256] = "";
    FILE *f = fopen(path, "r");
    ck_assert_ptr_nonnull(f);
    const size_t n = fread(found, 1, sizeof found - 1, f);
    found[n] = '\0';
    fclose(f);
    ck_assert_str_eq(found, text);
}

START_TEST(a_target_is_replaced_whole) {
    fv_writer *w = NULL;
    enter();
    put(target, "old");
    ck_assert_int_eq(chmod(target, 0640), 0);
    ok(fv_writer_open(context, target, &w));
    ok(fv_writer_write(w, "new ", 4));
    ok(fv_writer_write(w, NULL, 0));
    ok(fv_writer_write(w, "text", 4));
    holds(target, "old"); /* until it is committed */
    ck_assert_int_eq(files_there(), 2);
    ok(fv_writer_commit(w));
    holds(target, "new text");
    ck_assert_int_eq(files_there(), 1);
    struct stat info;
    ck_assert_int_eq(stat(target, &info), 0);
    ck_assert_uint_eq(info.st_mode & 07777, 0640); /* the mode it had */
    leave();
}
END_TEST

START_TEST(abandoned_files_leave_nothing) {
    fv_writer *w = NULL;
    enter();
    put(target, "old");
    ok(fv_writer_open(context, target, &w));
    ok(fv_writer_write(w, "half", 4));
    fv_writer_abandon(w);
    fv_writer_abandon(NULL);
    holds(target, "old");
    ck_assert_int_eq(files_there(), 1);
    leave();
}
END_TEST

START_TEST(fresh_files_obey_the_umask) {
    fv_writer *w = NULL;
    struct stat info;
    enter();
    umask(027);
    ok(fv_writer_open(context, target, &w));
    ok(fv_writer_commit(w));
    ck_assert_int_eq(stat(target, &info), 0);
    ck_assert_uint_eq(info.st_mode & 07777, 0640);
    leave();
}
END_TEST

START_TEST(links_are_followed) {
    char link[160];
    struct stat info;
    fv_writer *w = NULL;
    enter();
    put(target, "old");
    snprintf(link, sizeof link, "%s/link", folder);
    ck_assert_int_eq(symlink(target, link), 0);
    ok(fv_writer_open(context, link, &w));
    ok(fv_writer_write(w, "new", 3));
    ok(fv_writer_commit(w));
    holds(target, "new");
    ck_assert_int_eq(lstat(link, &info), 0);
    ck_assert(S_ISLNK(info.st_mode));
    leave();
}
END_TEST

/* A full disk stands in as a file size limit: write gives EFBIG after the first bytes. */
START_TEST(a_failed_write_keeps_the_old_file) {
    static char block[3000];
    fv_writer *w = NULL;
    enter();
    put(target, "old");
    memset(block, 'x', sizeof block);
    signal(SIGXFSZ, SIG_IGN);
    ok(fv_writer_open(context, target, &w));
    const struct rlimit small = {4096, RLIM_INFINITY}, none = {RLIM_INFINITY, RLIM_INFINITY};
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &small), 0);
    ok(fv_writer_write(w, block, sizeof block));
    fails(fv_writer_write(w, block, sizeof block), FV_ERR_IO,
          target); /* 1096 bytes of it fit: the rest is not forgotten */
    fails(fv_writer_write(w, block, 1), FV_ERR_IO, "earlier write failed");
    ck_assert_int_eq(fv_writer_commit(w), FV_ERR_IO);
    setrlimit(RLIMIT_FSIZE, &none);
    holds(target, "old");
    ck_assert_int_eq(files_there(), 1);
    leave();
}
END_TEST

START_TEST(places_that_cannot_be_written) {
    char path[PATH_MAX + 10];
    fv_writer *w = NULL;
    enter();
    snprintf(path, sizeof path, "%s/no/such/file", folder);
    fails(fv_writer_open(context, path, &w), FV_ERR_NOT_FOUND, path);
    fails(fv_writer_open(context, "", &w), FV_ERR_ARGUMENT, "0 characters");
    memset(path, 'p', sizeof path - 1);
    path[sizeof path - 1] = '\0';
    fails(fv_writer_open(context, path, &w), FV_ERR_ARGUMENT, "characters");
    put(target, "old");
    snprintf(path, sizeof path, "%s/below", target);
    fails(fv_writer_open(context, path, &w), FV_ERR_NOT_FOUND, "below");
    fails(fv_writer_open(context, "/proc/fovea", &w), FV_ERR_NOT_FOUND, "/proc/fovea");
    snprintf(path, sizeof path, "%s/", folder); /* a folder is not replaced by a file */
    fv_status status = fv_writer_open(context, path, &w);
    if (status == FV_OK) status = fv_writer_commit(w);
    ck_assert_int_eq(status, FV_ERR_IO);
    ck_assert_int_eq(files_there(), 1);
    leave();
}
END_TEST

/* A pipe gets the bytes and stays a pipe; a device stays a device and tells that it is full. */
START_TEST(pipes_and_devices_are_written_not_replaced) {
    fv_writer *w = NULL;
    struct stat there;
    char got[8] = "";
    enter();
    ck_assert_int_eq(mkfifo(target, 0600), 0);
    ck_assert_int_eq(fv_writer_open(context, target, &w), FV_ERR_IO); /* nobody reads */
    const int reader = open(target, O_RDONLY | O_NONBLOCK);
    ck_assert_int_ge(reader, 0);
    ck_assert_int_eq(fv_writer_open(context, target, &w), FV_OK);
    ck_assert_int_eq(fv_writer_write(w, "piped", 5), FV_OK);
    ck_assert_int_eq(fv_writer_commit(w), FV_OK);
    ck_assert_int_eq(read(reader, got, sizeof got), 5);
    ck_assert_str_eq(got, "piped");
    close(reader);
    ck_assert_int_eq(stat(target, &there), 0);
    ck_assert(S_ISFIFO(there.st_mode));
    ck_assert_int_eq(files_there(), 1);
    ck_assert_int_eq(fv_writer_open(context, "/dev/full", &w), FV_OK);
    ck_assert_int_eq(fv_writer_write(w, "lost", 4), FV_ERR_IO);
    fv_writer_abandon(w);
    ck_assert_int_eq(stat("/dev/full", &there), 0);
    ck_assert(S_ISCHR(there.st_mode));
    leave();
}
END_TEST

static void interrupt(int signal) { (void)signal; }

static void *read_slowly(void *arg) {
    const int *file = arg;
    static unsigned char block[5000];
    size_t wrong = 0, at = 0;
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, NULL); /* the writer is interrupted, not this thread */
    for (ssize_t got; (got = read(*file, block, sizeof block)) > 0;) {
        for (ssize_t i = 0; i < got; i++, at++) wrong += block[i] != (unsigned char)(at % 251);
        if (at % 50000 < 5000) nanosleep(&(struct timespec){0, 500000}, NULL);
    }
    return (void *)(uintptr_t)(wrong + (at != 1000000));
}

/* A signal every 200 us cuts writes to a pipe short: the rest follows. */
START_TEST(interrupted_writes_go_on) {
    static unsigned char bytes[1000000];
    const struct itimerval often = {{0, 200}, {0, 200}}, never = {{0, 0}, {0, 0}};
    struct sigaction action = {.sa_handler = interrupt}; /* no SA_RESTART */
    fv_writer *w = NULL;
    pthread_t reader;
    void *wrong;
    enter();
    for (size_t i = 0; i < sizeof bytes; i++) bytes[i] = (unsigned char)(i % 251);
    ck_assert_int_eq(mkfifo(target, 0600), 0);
    int file = open(target, O_RDONLY | O_NONBLOCK);
    ck_assert_int_ge(file, 0);
    ok(fv_writer_open(context, target, &w));
    ck_assert_int_eq(fcntl(file, F_SETFL, 0), 0);
    ck_assert_int_eq(pthread_create(&reader, NULL, read_slowly, &file), 0);
    sigaction(SIGALRM, &action, NULL);
    setitimer(ITIMER_REAL, &often, NULL);
    const fv_status written = fv_writer_write(w, bytes, sizeof bytes);
    setitimer(ITIMER_REAL, &never, NULL);
    ok(written);
    ok(fv_writer_commit(w));
    pthread_join(reader, &wrong);
    ck_assert_ptr_null(wrong);
    close(file);
    leave();
}
END_TEST

START_TEST(only_regular_files_are_mapped) {
    fv_mapping m;
    char path[160];
    enter();
    fails(fv_map_file(target, &m), FV_ERR_NOT_FOUND, target);
    fails(fv_map_file(folder, &m), FV_ERR_IO, "not a regular file");
    fails(fv_map_file("/dev/zero", &m), FV_ERR_IO, "not a regular file");
    snprintf(path, sizeof path, "%s/fifo", folder);
    ck_assert_int_eq(mkfifo(path, 0600), 0);
    fails(fv_map_file(path, &m), FV_ERR_IO, "not a regular file"); /* and does not wait for a writer */
    put(target, "");
    ok(fv_map_file(target, &m));
    ck_assert_ptr_null(m.data);
    ck_assert_uint_eq(m.bytes, 0);
    fv_unmap_file(&m);
    put(target, "text");
    ok(fv_map_file(target, &m));
    ck_assert_uint_eq(m.bytes, 4);
    ck_assert_int_eq(memcmp(m.data, "text", 4), 0);
    fv_unmap_file(&m);
    fv_unmap_file(&m);
    leave();
}
END_TEST

/* A file that is there whole does not see what becomes of it; of one that is read as needed what comes too late is zeros, and told. */
START_TEST(files_cut_while_they_are_read) {
    static const size_t sizes[2] = {100, (4 << 20) + 100};
    fv_mapping m;
    enter();
    for (int i = 0; i < 2; i++) {
        put(target, "text");
        ck_assert_int_eq(truncate(target, (off_t)sizes[i]), 0);
        ok(fv_map_lazy(target, &m));
        ck_assert_uint_eq(m.bytes, sizes[i]);
        ck_assert_uint_ge(fv_map_need(&m, 0, 4), 4);
        ok(fv_check_mapping(&m, target));
        ck_assert_int_eq(truncate(target, i == 0 ? 0 : (off_t)sizes[i] - 1), 0);
        for (int k = 0; k < 2 && i == 1; k++) { /* within the last page, and far behind the end */
            fails(fv_check_mapping(&m, target), FV_ERR_IO, "changed while it was read");
            ck_assert_int_eq(truncate(target, 0), 0);
            char got[70000];
            memset(got, 1, sizeof got);
            fv_map_read(&m, 2000000, sizeof got, got);
            for (size_t b = 0; b < sizeof got; b++) ck_assert_int_eq(got[b], 0);
            ck_assert_uint_eq(fv_map_need(&m, sizes[i] - 5, 5), sizes[i]);
            ck_assert_int_eq(truncate(target, (off_t)sizes[i]), 0); /* as long as before: still told */
        }
        if (i == 0)
            ok(fv_check_mapping(&m, target));
        else
            fails(fv_check_mapping(&m, target), FV_ERR_IO, "changed while it was read");
        ck_assert_int_eq(memcmp(m.data, "text", 4), 0);
        ck_assert_int_eq(m.data[sizes[i] - 1], 0);
        fv_unmap_file(&m);
        ok(fv_check_mapping(&m, target));
    }
    leave();
}
END_TEST

int main(void) {
    const TTest *const tests[] = {a_target_is_replaced_whole,        abandoned_files_leave_nothing,
                                  fresh_files_obey_the_umask,        links_are_followed,
                                  a_failed_write_keeps_the_old_file, places_that_cannot_be_written,
                                  pipes_and_devices_are_written_not_replaced, interrupted_writes_go_on, only_regular_files_are_mapped,
                                  files_cut_while_they_are_read, NULL};
    return run_tests("file", tests, 60);
}
