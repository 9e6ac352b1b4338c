/* A data set in memory, and what its readers share. */
#ifndef FV_IO_DATASET_H
#define FV_IO_DATASET_H

#include "core/context.h"

struct fv_dataset {
    fv_context *context;
    atomic_int references; /* the caller's and one a loader; released by fv_dataset_free */
    fv_dataset_info info;
    uint8_t *pixels; /* [count][height][width][channels] */
    int32_t *labels; /* [count], each in [0, classes) */
    char **names;    /* [classes] */
};

fv_dataset *fv_dataset_retain(const fv_dataset *d); /* const is cast away for the count */

/* One row of the table in dataset.c: fills info, pixels and labels (checked to be below info.classes), and names where
 * the files know them. What it has allocated when it fails is freed by the caller. */
typedef fv_status (*fv_dataset_reader)(fv_dataset *d, const char *folder, const fv_dataset_settings *s);
fv_status fv_dataset_read_idx(fv_dataset *d, const char *folder, const fv_dataset_settings *s);
fv_status fv_dataset_read_cifar10(fv_dataset *d, const char *folder, const fv_dataset_settings *s);
fv_status fv_dataset_read_folder(fv_dataset *d, const char *folder, const fv_dataset_settings *s);

/* Sets d->info but for classes, and allocates pixels and labels. */
fv_status fv_dataset_allocate(fv_dataset *d, size_t count, int32_t height, int32_t width, int32_t channels);
static inline size_t fv_dataset_image_bytes(const fv_dataset *d) {
    return (size_t)d->info.height * (size_t)d->info.width * (size_t)d->info.channels;
}
/* Class names: copies, once a data set. Also sets info.classes. */
fv_status fv_dataset_set_names(fv_dataset *d, const char *const *names, size_t count);
/* The same from a text file, a name a line; empty lines at its end do not count. */
fv_status fv_dataset_read_names(fv_dataset *d, const char *path);

/* folder/file; FV_ERR_ARGUMENT where it does not fit. */
enum { fv_path_bytes = 4096 };
fv_status fv_path_join(char path[fv_path_bytes], const char *folder, const char *file);
fv_status fv_check_folder(const char *folder);

#endif
