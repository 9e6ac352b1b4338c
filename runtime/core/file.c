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

static const size_t piece = (size_t)1 << 14, most_copied = (size_t)1 << 18;

static fv_status cannot_read(const char *name, int error) {
    return fv_fail(FV_ERR_IO, "cannot read %s: %s", name, strerror(error));
}

static fv_status changed(const char *name, size_t bytes) {
    return fv_fail(FV_ERR_IO, "cannot read %s: it had %zu bytes and was changed while it was read", name, bytes);
}

/* The bytes read: fewer where the file ends, or with *error where it cannot be read. */
static size_t read_at(int file, uint8_t *to, size_t at, size_t bytes, int *error) {
    size_t done = 0;
    *error = 0;
    while (done < bytes) {
        const ssize_t got = pread(file, to + done, bytes - done, (off_t)(at + done));
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) *error = errno;
        if (got <= 0) break;
        done += (size_t)got;
    }
    return done;
}

static size_t room_of(size_t bytes) { return (bytes + piece - 1) / piece * piece; }
static size_t mapped_bytes(size_t bytes, bool lazy) { return room_of(bytes) + (lazy ? 1 + room_of(bytes) / piece : 0); }

static fv_status map_whole(int file, const char *name, size_t bytes, fv_mapping *m) {
    int error;
    const size_t got = read_at(file, (uint8_t *)(uintptr_t)m->data, 0, bytes, &error);
    if (error) return cannot_read(name, error);
    return got == bytes ? FV_OK : changed(name, bytes);
}

static fv_status map_open(int file, const char *name, bool lazy, fv_mapping *out) {
    struct stat info;
    *out = (fv_mapping){NULL, 0, -1, NULL};
    if (fstat(file, &info) != 0) return cannot_read(name, errno);
    FV_RETURN_IF(!S_ISREG(info.st_mode), FV_ERR_IO, "cannot read %s: it is not a regular file", name);
    const size_t bytes = (size_t)info.st_size;
    if (bytes == 0) return FV_OK;
    lazy = lazy && bytes > most_copied;
    void *data = mmap(NULL, mapped_bytes(bytes, lazy), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (data == MAP_FAILED) return cannot_read(name, errno);
    fv_mapping m = {data, bytes, -1, NULL};
    fv_status status = FV_OK;
    if (lazy) {
        m.have = (uint8_t *)data + room_of(bytes);
        if ((m.file = fcntl(file, F_DUPFD_CLOEXEC, 0)) < 0) status = cannot_read(name, errno);
    } else {
        status = map_whole(file, name, bytes, &m);
    }
    if (status == FV_OK)
        *out = m;
    else
        fv_unmap_file(&m);
    return status;
}

static fv_status map_path(const char *path, bool lazy, fv_mapping *out) {
    const int file = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a FIFO must not hang */
    FV_RETURN_IF(file < 0, errno == ENOENT ? FV_ERR_NOT_FOUND : FV_ERR_IO, "cannot read %s: %s", path, strerror(errno));
    const fv_status status = map_open(file, path, lazy, out);
    close(file);
    return status;
}

fv_status fv_map_file(const char *path, fv_mapping *out) { return map_path(path, false, out); }
fv_status fv_map_lazy(const char *path, fv_mapping *out) { return map_path(path, true, out); }
fv_status fv_map_open_lazy(int file, const char *name, fv_mapping *out) { return map_open(file, name, true, out); }

static void take(const fv_mapping *m, size_t at, size_t bytes, uint8_t *to) {
    int error;
    const size_t got = read_at(m->file, to, at, bytes, &error);
    if (got == bytes) return;
    memset(to + got, 0, bytes - got);
    m->have[0] = 1;
}

size_t fv_map_need(const fv_mapping *m, size_t at, size_t bytes) {
    if (!m->have || bytes == 0) return m->have ? at : m->bytes;
    size_t first = at / piece;
    const size_t last = (at + bytes - 1) / piece;
    for (; first <= last; first++) {
        size_t end = first;
        while (end <= last && !m->have[1 + end]) m->have[1 + end++] = 1;
        const size_t from = first * piece;
        if (end > first) take(m, from, fv_min_size(end * piece, m->bytes) - from, (uint8_t *)(uintptr_t)m->data + from);
        if (end > first) first = end - 1;
    }
    return fv_min_size((last + 1) * piece, m->bytes);
}

void fv_map_read(const fv_mapping *m, size_t at, size_t bytes, void *to) {
    if (bytes == 0) return;
    if (m->have && bytes >= piece) {
        take(m, at, bytes, to);
        return;
    }
    (void)fv_map_need(m, at, bytes);
    memcpy(to, m->data + at, bytes);
}

fv_status fv_check_mapping(const fv_mapping *m, const char *name) {
    struct stat info;
    if (!m->have) return FV_OK;
    if (fstat(m->file, &info) != 0) return cannot_read(name, errno);
    return (size_t)info.st_size == m->bytes && !m->have[0] ? FV_OK : changed(name, m->bytes);
}

void fv_unmap_file(fv_mapping *m) {
    if (m->data) munmap((void *)(uintptr_t)m->data, mapped_bytes(m->bytes, m->have != NULL));
    if (m->file >= 0) close(m->file);
    *m = (fv_mapping){NULL, 0, -1, NULL};
}
