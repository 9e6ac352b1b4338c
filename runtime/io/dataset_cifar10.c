/* CIFAR-10's binary version: records of a label and 32x32 red, green and blue planes. */
#include "core/file.h"
#include "io/dataset.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { side = 32, channels = 3, plane = side * side, record = 1 + channels * plane, classes = 10, train_files = 5 };

static fv_status map_records(const char *path, fv_mapping *out) {
    FV_FORWARD(fv_map_file(path, out));
    if (out->bytes > 0 && out->bytes % record == 0) return FV_OK;
    const size_t bytes = out->bytes;
    fv_unmap_file(out);
    return fv_fail(FV_ERR_FORMAT,
                   "%s has %zu bytes, CIFAR-10 files have a multiple of %d: truncated, or not the binary version", path,
                   bytes, record);
}

/* Records of one file into images [first, ...) until the data set is full. */
static fv_status read_records(fv_dataset *d, const char *path, const fv_mapping *file, int64_t *first) {
    for (const uint8_t *r = file->data; r < file->data + file->bytes && *first < d->info.count;
         r += record, (*first)++) {
        FV_RETURN_IF(r[0] >= classes, FV_ERR_FORMAT, "%s: the label of image %td is %d, CIFAR-10 has %d classes", path,
                     (r - file->data) / record, r[0], classes);
        d->labels[*first] = r[0];
        uint8_t *to = d->pixels + (size_t)*first * fv_dataset_image_bytes(d);
        for (int i = 0; i < plane; i++)
            for (int c = 0; c < channels; c++) *to++ = r[1 + c * plane + i];
    }
    return FV_OK;
}

static fv_status read_names(fv_dataset *d, const char *folder) {
    char path[fv_path_bytes];
    FV_FORWARD(fv_path_join(path, folder, "batches.meta.txt"));
    if (access(path, F_OK) != 0) {
        d->info.classes = classes;
        return FV_OK;
    }
    FV_FORWARD(fv_dataset_read_names(d, path));
    FV_RETURN_IF(d->info.classes != classes, FV_ERR_FORMAT, "%s names %d classes, CIFAR-10 has %d", path,
                 d->info.classes, classes);
    return FV_OK;
}

fv_status fv_dataset_read_cifar10(fv_dataset *d, const char *folder, const fv_dataset_settings *s) {
    char paths[train_files][fv_path_bytes];
    fv_mapping files[train_files] = {{0}};
    const int count = s->test ? 1 : train_files;
    size_t images = 0;
    FV_FORWARD(fv_check_folder(folder));
    fv_status status = read_names(d, folder);
    for (int i = 0; i < count && status == FV_OK; i++) {
        char name[32];
        snprintf(name, sizeof name, s->test ? "test_batch.bin" : "data_batch_%d.bin", i + 1);
        status = fv_path_join(paths[i], folder, name);
        if (status == FV_OK) status = map_records(paths[i], &files[i]);
        images += files[i].bytes / record;
    }
    if (s->limit && (uint64_t)s->limit < images) images = (size_t)s->limit;
    if (status == FV_OK) status = fv_dataset_allocate(d, images, side, side, channels);
    int64_t first = 0;
    for (int i = 0; i < count && status == FV_OK; i++) status = read_records(d, paths[i], &files[i], &first);
    for (int i = 0; i < count && status == FV_OK; i++) status = fv_check_mapping(&files[i], paths[i]);
    for (int i = 0; i < count; i++) fv_unmap_file(&files[i]);
    return status;
}
