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

/* A regular file mapped read-only (empty files: data NULL, bytes 0). Refuses directories, FIFOs and devices. */
typedef struct fv_mapping {
    const uint8_t *data;
    size_t bytes;
} fv_mapping;
fv_status fv_map_file(const char *path, fv_mapping *out);
void fv_unmap_file(fv_mapping *m);

#endif
