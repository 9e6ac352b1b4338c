/* A folder of images a class: DIR/train/CLASS/IMAGE and DIR/test/CLASS/IMAGE, or DIR/CLASS/IMAGE for both splits.
 * Classes, image size and channels come from the training images, so that both splits agree. */
#include "io/dataset.h"
#include "io/image.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

typedef struct name_list {
    const fv_context *context;
    char **names;
    size_t count, capacity;
} name_list;

/* The images of one split. */
typedef struct image_list {
    name_list paths;
    int32_t *labels; /* [paths.capacity] or fewer, grown beside them */
    size_t label_capacity;
} image_list;

static void free_names(name_list *l) {
    for (size_t i = 0; i < l->count; i++) fv_release(l->context, l->names[i]);
    fv_release(l->context, l->names);
    *l = (name_list){.context = l->context};
}

static void free_images(image_list *l) {
    free_names(&l->paths);
    fv_release(l->paths.context, l->labels);
    l->labels = NULL;
}

static fv_status add_name(name_list *l, const char *name) {
    FV_FORWARD(
        fv_grow(l->context, (void **)&l->names, &l->capacity, l->count + 1, sizeof *l->names, "a list of files"));
    FV_FORWARD(fv_strdup(l->context, name, &l->names[l->count]));
    l->count++;
    return FV_OK;
}

static int by_name(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

/* Adds the folders (or the regular files) in `folder`, sorted; hidden ones do not count. */
static fv_status list_folder(const char *folder, bool folders, name_list *out) {
    DIR *dir = opendir(folder);
    FV_RETURN_IF(!dir, errno == ENOENT ? FV_ERR_NOT_FOUND : FV_ERR_IO, "cannot read %s: %s", folder, strerror(errno));
    const size_t first = out->count;
    fv_status status = FV_OK;
    for (const struct dirent *e; status == FV_OK && (e = readdir(dir));) {
        char path[fv_path_bytes];
        struct stat info;
        if (e->d_name[0] == '.') continue;
        status = fv_path_join(path, folder, e->d_name);
        if (status != FV_OK || stat(path, &info) != 0) continue; /* gone meanwhile, or a link to nowhere */
        if (folders ? S_ISDIR(info.st_mode) : S_ISREG(info.st_mode)) status = add_name(out, folders ? e->d_name : path);
    }
    closedir(dir);
    if (out->count > first) qsort(out->names + first, out->count - first, sizeof *out->names, by_name);
    return status;
}

/* Every file of one class; those that are no images are left out and logged. */
static fv_status list_class(const char *folder, const char *name, int32_t label, image_list *out) {
    char path[fv_path_bytes];
    const size_t first = out->paths.count;
    FV_FORWARD(fv_path_join(path, folder, name));
    FV_FORWARD(list_folder(path, false, &out->paths));
    FV_FORWARD(fv_grow(out->paths.context, (void **)&out->labels, &out->label_capacity, out->paths.count,
                       sizeof *out->labels, "labels"));
    for (size_t i = first; i < out->paths.count; i++) out->labels[i] = label;
    return FV_OK;
}

static fv_status list_images(const char *folder, const name_list *classes, image_list *out) {
    for (size_t i = 0; i < classes->count; i++) {
        char path[fv_path_bytes];
        FV_FORWARD(fv_path_join(path, folder, classes->names[i]));
        const fv_status found = fv_check_folder(path);
        if (found == FV_ERR_NOT_FOUND) continue; /* a class may be missing among the test images */
        FV_FORWARD(found);
        FV_FORWARD(list_class(folder, classes->names[i], (int32_t)i, out));
    }
    return FV_OK;
}

/* Leaves out what is neither PNG nor JPEG. height and width: of the first image. channels: 1 where all are grey. */
static fv_status probe(image_list *l, int32_t *height, int32_t *width, int32_t *channels) {
    size_t kept = 0;
    fv_status status = FV_OK;
    *channels = 1;
    for (size_t i = 0; i < l->paths.count; i++) {
        fv_image image;
        char *path = l->paths.names[i];
        const fv_status found = status == FV_OK ? fv_image_probe(l->paths.context, path, &image) : FV_OK;
        if (found == FV_ERR_UNSUPPORTED) {
            fv_log_message(l->paths.context, FV_LOG_WARNING, "%s is left out", fv_last_error());
            fv_release(l->paths.context, path);
            continue;
        }
        if (found != FV_OK) status = found;
        l->paths.names[kept] = path;
        l->labels[kept] = l->labels[i];
        if (status == FV_OK && kept == 0) {
            *height = image.height;
            *width = image.width;
        }
        if (status == FV_OK && image.channels == 3) *channels = 3;
        kept++;
    }
    l->paths.count = kept;
    return status;
}

static fv_status read_one(fv_dataset *d, const char *path, uint8_t *pixels) {
    fv_image read, scaled;
    FV_FORWARD(fv_image_read(d->context, path, d->info.channels, &read));
    fv_status status = FV_OK;
    if (read.height == d->info.height && read.width == d->info.width) {
        memcpy(pixels, read.pixels, fv_dataset_image_bytes(d));
    } else if ((status = fv_image_resize(d->context, &read, d->info.height, d->info.width, &scaled)) == FV_OK) {
        memcpy(pixels, scaled.pixels, fv_dataset_image_bytes(d));
        fv_image_free(&scaled);
    }
    fv_image_free(&read);
    return status;
}

static fv_status read_images(fv_dataset *d, const image_list *l, const fv_dataset_settings *s, int32_t height,
                             int32_t width, int32_t channels) {
    size_t count = l->paths.count;
    if (s->limit && (uint64_t)s->limit < count) count = (size_t)s->limit;
    FV_FORWARD(fv_dataset_allocate(d, count, s->height ? s->height : height, s->width ? s->width : width, channels));
    memcpy(d->labels, l->labels, count * sizeof *d->labels);
    for (size_t i = 0; i < count; i++)
        FV_FORWARD(read_one(d, l->paths.names[i], d->pixels + i * fv_dataset_image_bytes(d)));
    return FV_OK;
}

/* A class among the test images that training does not know would shift every label after it. */
static fv_status check_test_classes(const char *test, const name_list *classes) {
    name_list found = {.context = classes->context};
    fv_status status = list_folder(test, true, &found);
    for (size_t i = 0; i < found.count && status == FV_OK; i++)
        if (!bsearch(&found.names[i], classes->names, classes->count, sizeof *classes->names, by_name))
            status =
                fv_fail(FV_ERR_FORMAT, "%s has the class \"%s\", but the training images do not", test, found.names[i]);
    free_names(&found);
    return status;
}

static fv_status read_splits(fv_dataset *d, const char *train, const char *test, const fv_dataset_settings *s,
                             name_list *classes, image_list *of_train, image_list *of_test) {
    int32_t height = 0, width = 0, channels = 0, unused;
    FV_FORWARD(list_folder(train, true, classes));
    FV_RETURN_IF(classes->count == 0, FV_ERR_FORMAT, "%s has no folders; there has to be one a class", train);
    FV_RETURN_IF(classes->count > INT32_MAX, FV_ERR_LIMIT, "%s has too many classes", train);
    FV_FORWARD(list_images(train, classes, of_train));
    FV_FORWARD(probe(of_train, &height, &width, &channels));
    FV_RETURN_IF(of_train->paths.count == 0, FV_ERR_FORMAT, "%s has no PNG or JPEG images in its class folders", train);
    FV_FORWARD(fv_dataset_set_names(d, (const char *const *)classes->names, classes->count));
    if (!s->test || !test) return read_images(d, of_train, s, height, width, channels);
    FV_FORWARD(check_test_classes(test, classes));
    FV_FORWARD(list_images(test, classes, of_test));
    FV_FORWARD(probe(of_test, &unused, &unused, &unused));
    FV_RETURN_IF(of_test->paths.count == 0, FV_ERR_FORMAT, "%s has no PNG or JPEG images in its class folders", test);
    return read_images(d, of_test, s, height, width, channels);
}

fv_status fv_dataset_read_folder(fv_dataset *d, const char *folder, const fv_dataset_settings *s) {
    char train[fv_path_bytes], test[fv_path_bytes];
    name_list classes = {.context = d->context};
    image_list of_train = {.paths.context = d->context}, of_test = {.paths.context = d->context};
    FV_FORWARD(fv_check_folder(folder));
    FV_FORWARD(fv_path_join(train, folder, "train"));
    FV_FORWARD(fv_path_join(test, folder, "test"));
    const bool apart = fv_check_folder(train) == FV_OK && fv_check_folder(test) == FV_OK;
    const fv_status status =
        read_splits(d, apart ? train : folder, apart ? test : NULL, s, &classes, &of_train, &of_test);
    free_images(&of_train);
    free_images(&of_test);
    free_names(&classes);
    return status;
}
