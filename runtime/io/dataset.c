#include "io/dataset.h"

#include "core/file.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static const char fashion_folder[] = "/usr/share/datasets/fashion-mnist";
static const char *const fashion_names[] = {"T-shirt/top", "Trouser", "Pullover", "Dress", "Coat",
                                            "Sandal",      "Shirt",   "Sneaker",  "Bag",   "Ankle boot"};

/* ---- what readers share ---- */

fv_status fv_path_join(char path[fv_path_bytes], const char *folder, const char *file) {
    const int length = snprintf(path, fv_path_bytes, "%s/%s", folder, file);
    FV_RETURN_IF(length < 0 || length >= fv_path_bytes, FV_ERR_ARGUMENT, "the path %.100s.../%.100s is too long",
                 folder, file);
    return FV_OK;
}

fv_status fv_check_folder(const char *folder) {
    struct stat info;
    FV_RETURN_IF(stat(folder, &info) != 0, errno == ENOENT || errno == ENOTDIR ? FV_ERR_NOT_FOUND : FV_ERR_IO,
                 "cannot read %s: %s", folder, strerror(errno));
    FV_RETURN_IF(!S_ISDIR(info.st_mode), FV_ERR_NOT_FOUND, "cannot read %s: it is not a folder", folder);
    return FV_OK;
}

fv_status fv_dataset_allocate(fv_dataset *d, size_t count, int32_t height, int32_t width, int32_t channels) {
    FV_RETURN_IF(count == 0, FV_ERR_FORMAT, "there is no image");
    FV_RETURN_IF(count > UINT32_MAX, FV_ERR_LIMIT, "%zu images are more than a data set holds", count);
    size_t bytes;
    d->info.count = (int64_t)count;
    d->info.height = height;
    d->info.width = width;
    d->info.channels = channels;
    FV_RETURN_IF(!fv_mul_size((size_t)height, (size_t)width, &bytes) || !fv_mul_size(bytes, (size_t)channels, &bytes) ||
                     !fv_mul_size(bytes, count, &bytes),
                 FV_ERR_LIMIT, "%zu images of %dx%d are too large", count, height, width);
    FV_FORWARD(fv_alloc(d->context, bytes, "the images of a data set", (void **)&d->pixels));
    return fv_alloc_array(d->context, count, sizeof *d->labels, "the labels of a data set", (void **)&d->labels);
}

fv_status fv_dataset_set_names(fv_dataset *d, const char *const *names, size_t count) {
    FV_FORWARD(fv_alloc_array(d->context, count, sizeof *d->names, "class names", (void **)&d->names));
    d->info.classes = (int32_t)count;
    for (size_t i = 0; i < count; i++) FV_FORWARD(fv_strdup(d->context, names[i], &d->names[i]));
    return FV_OK;
}

/* Cuts `text` into lines in place. @return how many; lines may be NULL to count. */
static size_t cut_lines(char *text, size_t bytes, const char **lines) {
    size_t count = 0, used = 0;
    for (char *line = text, *end = text + bytes; line < end;) {
        char *stop = memchr(line, '\n', (size_t)(end - line));
        char *next = stop ? stop + 1 : end;
        if (!stop) stop = end;
        while (stop > line && (stop[-1] == '\r' || stop[-1] == ' ')) stop--;
        if (lines) {
            *stop = '\0';
            lines[count] = line;
        }
        count++;
        if (stop > line) used = count;
        line = next;
    }
    return used;
}

fv_status fv_dataset_read_names(fv_dataset *d, const char *path) {
    fv_mapping file;
    char *text = NULL;
    const char **lines = NULL;
    FV_FORWARD(fv_map_file(path, &file));
    fv_status status = FV_OK;
    if (file.bytes > 1 << 20)
        status = fv_fail(FV_ERR_LIMIT, "%s has %zu bytes: too many for class names", path, file.bytes);
    if (status == FV_OK) status = fv_alloc_zero(d->context, file.bytes + 1, "class names", (void **)&text);
    if (status == FV_OK && file.bytes) memcpy(text, file.data, file.bytes);
    if (status == FV_OK && strlen(text) != file.bytes) status = fv_fail(FV_ERR_FORMAT, "%s holds a zero byte", path);
    if (status == FV_OK) /* at most a line a byte */
        status = fv_alloc_array(d->context, file.bytes + 1, sizeof *lines, "class names", (void **)&lines);
    if (status == FV_OK) {
        const size_t count = cut_lines(text, file.bytes, lines);
        status = count ? fv_dataset_set_names(d, lines, count) : fv_fail(FV_ERR_FORMAT, "%s holds no class name", path);
    }
    fv_release(d->context, lines);
    fv_release(d->context, text);
    fv_unmap_file(&file);
    return status;
}

/* ---- opening ---- */

void fv_dataset_settings_default(fv_dataset_settings *s) {
    if (s) *s = (fv_dataset_settings){0};
}

static fv_status read_fashion(fv_dataset *d, const char *folder, const fv_dataset_settings *s) {
    const char *own = getenv("FOVEA_DATA");
    (void)folder;
    if (own && !*own) own = NULL;
    const fv_status found = fv_check_folder(own ? own : fashion_folder);
    if (found != FV_OK && !own)
        return fv_fail(found,
                       "fashion-mnist is not installed: apt-get install dataset-fashion-mnist, or set FOVEA_DATA to a "
                       "folder with its four files");
    if (found != FV_OK) return fv_fail_within(found, "fashion-mnist: FOVEA_DATA");
    FV_FORWARD(fv_dataset_set_names(d, fashion_names, FV_ARRAY_SIZE(fashion_names)));
    return fv_dataset_read_idx(d, own ? own : fashion_folder, s);
}

static const struct {
    const char *name;
    bool folder; /* NAME:DIR */
    fv_dataset_reader read;
} readers[] = {
    {"fashion-mnist", false, read_fashion},
    {"idx", true, fv_dataset_read_idx},
    {"cifar10", true, fv_dataset_read_cifar10},
    {"folder", true, fv_dataset_read_folder},
};

static fv_status read_by_spec(fv_dataset *d, const char *spec, const fv_dataset_settings *s) {
    const char *colon = strchr(spec, ':');
    const size_t length = colon ? (size_t)(colon - spec) : strlen(spec);
    for (size_t i = 0; i < FV_ARRAY_SIZE(readers); i++) {
        if (strlen(readers[i].name) != length || strncmp(readers[i].name, spec, length) != 0) continue;
        const bool given = colon && colon[1];
        FV_RETURN_IF(readers[i].folder && !given, FV_ERR_ARGUMENT, "the data \"%.200s\" lacks a folder: %s:DIR", spec,
                     readers[i].name);
        FV_RETURN_IF(!readers[i].folder && colon, FV_ERR_ARGUMENT, "%s takes no folder, got \"%.200s\"",
                     readers[i].name, spec);
        return readers[i].read(d, given ? colon + 1 : NULL, s);
    }
    return fv_fail(FV_ERR_NOT_FOUND,
                   "unknown data \"%.200s\": there are fashion-mnist, idx:DIR, cifar10:DIR and folder:DIR", spec);
}

/* Every class has a name, be it its number. */
static fv_status name_classes(fv_dataset *d) {
    if (d->names) return FV_OK;
    FV_FORWARD(
        fv_alloc_array(d->context, (size_t)d->info.classes, sizeof *d->names, "class names", (void **)&d->names));
    for (int32_t i = 0; i < d->info.classes; i++) {
        char number[16];
        snprintf(number, sizeof number, "%d", i);
        FV_FORWARD(fv_strdup(d->context, number, &d->names[i]));
    }
    return FV_OK;
}

fv_status fv_dataset_open(fv_context *c, const char *spec, const fv_dataset_settings *s, fv_dataset **out) {
    FV_RETURN_IF(!c || !spec || !out, FV_ERR_ARGUMENT,
                 "fv_dataset_open needs a context, a name and a place for the data set");
    fv_dataset_settings wanted;
    fv_dataset_settings_default(&wanted);
    if (s) wanted = *s;
    FV_RETURN_IF(wanted.limit < 0, FV_ERR_ARGUMENT, "the limit is %lld images", (long long)wanted.limit);
    FV_RETURN_IF(wanted.height < 0 || wanted.width < 0 || !wanted.height != !wanted.width || wanted.height > 16384 ||
                     wanted.width > 16384,
                 FV_ERR_ARGUMENT, "images cannot be scaled to %dx%d; both sizes from 1 to 16384, or neither",
                 wanted.height, wanted.width);
    fv_dataset *d;
    FV_FORWARD(fv_alloc_zero(c, sizeof *d, "a data set", (void **)&d));
    d->context = fv_context_retain(c);
    atomic_init(&d->references, 1);
    fv_status status = read_by_spec(d, spec, &wanted);
    if (status == FV_OK) status = name_classes(d);
    if (status != FV_OK) {
        fv_dataset_free(d);
        return status;
    }
    *out = d;
    return FV_OK;
}

fv_dataset *fv_dataset_retain(const fv_dataset *d) {
    fv_dataset *mine = (fv_dataset *)(uintptr_t)d;
    atomic_fetch_add_explicit(&mine->references, 1, memory_order_relaxed);
    return mine;
}

void fv_dataset_free(fv_dataset *d) {
    if (!d || atomic_fetch_sub_explicit(&d->references, 1, memory_order_acq_rel) != 1) return;
    fv_context *c = d->context;
    for (int32_t i = 0; d->names && i < d->info.classes; i++) fv_release(c, d->names[i]);
    fv_release(c, d->names);
    fv_release(c, d->labels);
    fv_release(c, d->pixels);
    fv_release(c, d);
    fv_context_free(c);
}

/* ---- what it holds ---- */

fv_status fv_dataset_get_info(const fv_dataset *d, fv_dataset_info *out) {
    FV_RETURN_IF(!d || !out, FV_ERR_ARGUMENT, "fv_dataset_get_info needs a data set and a place for its sizes");
    *out = d->info;
    return FV_OK;
}

const char *fv_dataset_class_name(const fv_dataset *d, int32_t label) {
    return d && label >= 0 && label < d->info.classes ? d->names[label] : NULL;
}

fv_status fv_dataset_item(const fv_dataset *d, int64_t i, const uint8_t **pixels, int32_t *label) {
    FV_RETURN_IF(!d, FV_ERR_ARGUMENT, "fv_dataset_item needs a data set");
    FV_RETURN_IF(i < 0 || i >= d->info.count, FV_ERR_ARGUMENT, "there is no image %lld; the data set has %lld",
                 (long long)i, (long long)d->info.count);
    if (pixels) *pixels = d->pixels + (size_t)i * fv_dataset_image_bytes(d);
    if (label) *label = d->labels[i];
    return FV_OK;
}
