#include "core/file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

struct fv_writer {
    const fv_context *context;
    int file;
    fv_status status;
    char target[PATH_MAX], temporary[PATH_MAX + 16]; /* temporary "": written straight into a device or pipe */
};

/* The file a symbolic link points at is replaced, not the link. */
static fv_status resolve(const char *path, char target[PATH_MAX]) {
    char *real = realpath(path, NULL);
    const char *use = real ? real : path;
    const size_t length = strlen(use);
    if (length > 0 && length < PATH_MAX) memcpy(target, use, length + 1);
    free(real);
    FV_RETURN_IF(length == 0 || length >= PATH_MAX, FV_ERR_ARGUMENT, "a path of %zu characters cannot be written", length);
    return FV_OK;
}

static fv_status cannot(const char *path, int error) {
    return fv_fail(error == ENOENT || error == ENOTDIR ? FV_ERR_NOT_FOUND : FV_ERR_IO, "cannot write %s: %s", path,
                   strerror(error));
}

/* What is there and no file (/dev/stdout, a pipe) stays what it is: it is written to, not replaced. */
static fv_status open_special(const char *path, const struct stat *there, fv_writer *w) {
    FV_RETURN_IF(S_ISDIR(there->st_mode), FV_ERR_IO, "cannot write %s: %s", path, strerror(EISDIR));
    FV_RETURN_IF(!S_ISCHR(there->st_mode) && !S_ISFIFO(there->st_mode), FV_ERR_IO, "cannot write %s: it is neither a file nor a pipe", path);
    w->file = open(path, O_WRONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK); /* a pipe that nobody reads must not hang */
    if (w->file < 0) return cannot(path, errno);
    (void)fcntl(w->file, F_SETFL, fcntl(w->file, F_GETFL) & ~O_NONBLOCK);
    return FV_OK;
}

static fv_status create(fv_writer *w) {
    const char *slash = strrchr(w->target, '/');
    const int folder = slash ? (int)(slash - w->target + 1) : 0;
    snprintf(w->temporary, sizeof w->temporary, "%.*s.%s.XXXXXX", folder, w->target, w->target + folder);
    w->file = mkstemp(w->temporary);
    if (w->file < 0) return cannot(w->target, errno);
    struct stat old;
    mode_t mode = 0;
    if (stat(w->target, &old) == 0) {
        mode = old.st_mode & 07777;
    } else { /* the umask can only be read by setting it, which other threads would see */
        FILE *status = fopen("/proc/self/status", "re");
        char line[128];
        unsigned mask = 022;
        while (status && fgets(line, sizeof line, status))
            if (sscanf(line, "Umask: %o", &mask) == 1) break;
        if (status) fclose(status);
        mode = 0666 & ~(mode_t)mask;
    }
    if (fchmod(w->file, mode) == 0) return FV_OK;
    const int error = errno;
    close(w->file);
    unlink(w->temporary);
    return cannot(w->target, error);
}

fv_status fv_writer_open(const fv_context *c, const char *path, fv_writer **out) {
    fv_writer *w;
    FV_FORWARD(fv_alloc_zero(c, sizeof *w, "a file writer", (void **)&w));
    w->context = c;
    struct stat there;
    fv_status status = resolve(path, w->target);
    if (status == FV_OK) status = stat(path, &there) == 0 && !S_ISREG(there.st_mode) ? open_special(path, &there, w) : create(w);
    if (status != FV_OK) {
        fv_release(c, w);
        return status;
    }
    *out = w;
    return FV_OK;
}

fv_status fv_writer_write(fv_writer *w, const void *data, size_t bytes) {
    const char *at = data;
    FV_RETURN_IF(w->status != FV_OK, w->status, "cannot write %s: an earlier write failed", w->target);
    while (bytes > 0) {
        const ssize_t written = write(w->file, at, bytes < (1u << 30) ? bytes : 1u << 30);
        if (written < 0 && errno == EINTR) continue;
        if (written <= 0) return w->status = cannot(w->target, written < 0 ? errno : ENOSPC);
        at += written;
        bytes -= (size_t)written;
    }
    return FV_OK;
}

/* The rename itself is made durable; a file system that cannot sync a folder is not an error. */
static void sync_folder(const char *path) {
    char folder[PATH_MAX];
    const char *slash = strrchr(path, '/');
    snprintf(folder, sizeof folder, "%.*s", slash ? (int)(slash - path + 1) : 1, slash ? path : ".");
    const int file = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (file < 0) return;
    (void)fsync(file);
    close(file);
}

fv_status fv_writer_commit(fv_writer *w) {
    fv_status status = w->status;
    if (status == FV_OK && fsync(w->file) != 0 && errno != EINVAL) status = cannot(w->target, errno);
    if (close(w->file) != 0 && status == FV_OK) status = cannot(w->target, errno);
    if (*w->temporary) {
        if (status == FV_OK && rename(w->temporary, w->target) != 0) status = cannot(w->target, errno);
        if (status == FV_OK)
            sync_folder(w->target);
        else
            unlink(w->temporary);
    }
    fv_release(w->context, w);
    return status;
}

void fv_writer_abandon(fv_writer *w) {
    if (!w) return;
    close(w->file);
    if (*w->temporary) unlink(w->temporary);
    fv_release(w->context, w);
}

/* ---- reading ---- */

static const size_t most_copied = (size_t)1 << 20;

static fv_status cannot_read(const char *name, int error) {
    return fv_fail(FV_ERR_IO, "cannot read %s: %s", name, strerror(error));
}

static fv_status changed(const char *name, size_t bytes) {
    return fv_fail(FV_ERR_IO, "cannot read %s: it had %zu bytes and was changed while it was read", name, bytes);
}

static fv_status copy_file(int file, const char *name, uint8_t *to, size_t bytes) {
    for (size_t at = 0; at < bytes;) {
        const ssize_t got = pread(file, to + at, bytes - at, (off_t)at);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return cannot_read(name, errno);
        if (got == 0) return changed(name, bytes);
        at += (size_t)got;
    }
    return FV_OK;
}

fv_status fv_map_open(int file, const char *name, fv_mapping *out) {
    struct stat info;
    *out = (fv_mapping){NULL, 0, -1};
    if (fstat(file, &info) != 0) return cannot_read(name, errno);
    FV_RETURN_IF(!S_ISREG(info.st_mode), FV_ERR_IO, "cannot read %s: it is not a regular file", name);
    const size_t bytes = (size_t)info.st_size;
    const bool copied = bytes <= most_copied;
    if (bytes == 0) return FV_OK;
    void *data = copied ? mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
                        : mmap(NULL, bytes, PROT_READ, MAP_PRIVATE, file, 0);
    if (data == MAP_FAILED) return cannot_read(name, errno);
    fv_mapping m = {data, bytes, -1};
    fv_status status = FV_OK;
    if (copied)
        status = copy_file(file, name, data, bytes);
    else if ((m.file = fcntl(file, F_DUPFD_CLOEXEC, 0)) < 0)
        status = cannot_read(name, errno);
    if (status == FV_OK)
        *out = m;
    else
        fv_unmap_file(&m);
    return status;
}

fv_status fv_map_file(const char *path, fv_mapping *out) {
    const int file = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a FIFO must not hang */
    FV_RETURN_IF(file < 0, errno == ENOENT ? FV_ERR_NOT_FOUND : FV_ERR_IO, "cannot read %s: %s", path, strerror(errno));
    const fv_status status = fv_map_open(file, path, out);
    close(file);
    return status;
}

fv_status fv_check_mapping(const fv_mapping *m, const char *name) {
    struct stat info;
    if (!m->data || m->file < 0) return FV_OK;
    if (fstat(m->file, &info) != 0) return cannot_read(name, errno);
    return (size_t)info.st_size == m->bytes ? FV_OK : changed(name, m->bytes);
}

void fv_mapped_copied(const void *data, size_t bytes) {
    const uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), begin = ((uintptr_t)data + page - 1) / page * page;
    const uintptr_t end = ((uintptr_t)data + bytes) / page * page;
    if (bytes > most_copied && end > begin) /* more than a copied file has */
        (void)madvise((void *)begin, end - begin, MADV_DONTNEED);
}

void fv_unmap_file(fv_mapping *m) {
    if (m->data) {
        munmap((void *)(uintptr_t)m->data, m->bytes);
        if (m->file >= 0) close(m->file);
    }
    *m = (fv_mapping){NULL, 0, -1};
}
