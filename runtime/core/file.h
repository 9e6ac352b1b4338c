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
 * A process that touches a page which its file no longer has dies of SIGBUS. Therefore a file of up to 1 MiB is copied; a larger
 * one is mapped, for as long as a load lasts and no longer, and whoever writes it meanwhile has to replace it (rename), not cut
 * it. What was read of it counts only if fv_check_mapping still finds it whole: a cut within the last page reads as zeros. */
typedef struct fv_mapping {
    const uint8_t *data;
    size_t bytes;
    int file; /* of a mapping; -1 of a copy */
} fv_mapping;
fv_status fv_map_file(const char *path, fv_mapping *out);
/* The same of an open file, which stays the caller's; `name` is in the sentences. */
fv_status fv_map_open(int file, const char *name, fv_mapping *out);
/* FV_ERR_IO: the file has another size than when it was mapped. */
fv_status fv_check_mapping(const fv_mapping *m, const char *name);
void fv_unmap_file(fv_mapping *m);
/* `bytes` of a mapping's values were copied: what memory their pages take may be given back (they are read anew if they are
 * wanted again). Data of a file that was copied stay. */
void fv_mapped_copied(const void *data, size_t bytes);

#endif
