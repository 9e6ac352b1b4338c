/* Files written beside and renamed: the target is replaced whole or not at all. */
#ifndef FV_CORE_FILE_H
#define FV_CORE_FILE_H

#include "core/context.h"

typedef struct fv_writer fv_writer;

/* Opens a temporary file in path's directory (mode 0666 & ~umask; an existing target's mode is kept). */
fv_status fv_writer_open(const fv_context *c, const char *path, fv_writer **out);
/* Writes all of it (EINTR and short writes are continued). After a failure every further write fails with the same sentence. */
fv_status fv_writer_write(fv_writer *w, const void *data, size_t bytes);
/* fsync, close, rename, fsync of the directory; frees w in every case. A failure removes the temporary file. */
fv_status fv_writer_commit(fv_writer *w);
void fv_writer_abandon(fv_writer *w); /* removes the temporary file; NULL allowed */

/* A regular file to be read (empty files: data NULL, bytes 0). Refuses directories, FIFOs and devices.
 * A process that touches a mapped page which its file no longer has dies of SIGBUS: nothing is mapped, all of it is read. A file
 * that is cut meanwhile is an error. */
typedef struct fv_mapping {
    const uint8_t *data;
    size_t bytes;
    int file;      /* of fv_map_lazy; -1: all of it is there */
    uint8_t *have; /* of fv_map_lazy: whether something was not there, then a byte for each piece that was read */
} fv_mapping;
fv_status fv_map_file(const char *path, fv_mapping *out);
/* As much of it as is asked for, when it is asked for: data is room for the file, and what lies there counts after fv_map_need alone.
 * One thread at a time. */
fv_status fv_map_lazy(const char *path, fv_mapping *out);
/* The same of an open file, which stays the caller's; `name` is in the sentences. */
fv_status fv_map_open_lazy(int file, const char *name, fv_mapping *out);
/* Bytes [at, at + bytes) are read, those around them perhaps too; returns where what is known to be there ends. What cannot be read is
 * zeros, and fv_check_mapping says so. */
size_t fv_map_need(const fv_mapping *m, size_t at, size_t bytes);
/* The same into memory of the caller's, which much is read straight into. */
void fv_map_read(const fv_mapping *m, size_t at, size_t bytes, void *to);
/* FV_ERR_IO: something could not be read, or the file has another size than when it was opened. */
fv_status fv_check_mapping(const fv_mapping *m, const char *name);
void fv_unmap_file(fv_mapping *m);

#endif
