/* IDX, plain or gzip: http://yann.lecun.com/exdb/mnist. A big-endian magic and sizes, then bytes. */
#include "core/file.h"
#include "io/dataset.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

enum { images_magic = 0x803, labels_magic = 0x801, largest_side = 16384, deflate_ratio = 1032 };

/* ---- the bytes of a file, unpacked where it is gzip ---- */

typedef struct byte_source {
    const fv_context *context;
    char path[fv_path_bytes];
    fv_mapping file;
    size_t at; /* bytes of the file consumed */
    bool zipped, inflating, ended;
    z_stream z;
} byte_source;

static void *zlib_alloc(void *context, uInt items, uInt size) {
    void *memory = NULL;
    return fv_alloc_array(context, items, size, "unpacking", &memory) == FV_OK ? memory : NULL;
}

static void zlib_free(void *context, void *memory) { fv_release(context, memory); }

/* s->path is set. On failure nothing is left open. */
static fv_status source_open(byte_source *s, fv_context *c) {
    s->context = c;
    FV_FORWARD(fv_map_file(s->path, &s->file));
    s->zipped = s->file.bytes >= 2 && s->file.data[0] == 0x1f && s->file.data[1] == 0x8b;
    s->ended = !s->zipped;
    if (!s->zipped) return FV_OK;
    s->z = (z_stream){.zalloc = zlib_alloc, .zfree = zlib_free, .opaque = c};
    s->inflating = inflateInit2(&s->z, 15 + 16) == Z_OK; /* 16: gzip */
    if (s->inflating) return FV_OK;
    fv_unmap_file(&s->file);
    return fv_fail(FV_ERR_MEMORY, "%s: out of memory for unpacking", s->path);
}

static void source_close(byte_source *s) {
    if (s->inflating) inflateEnd(&s->z);
    s->inflating = false;
    fv_unmap_file(&s->file);
}

/* Bytes the rest of the file can hold at most. */
static size_t source_most(const byte_source *s) {
    const size_t rest = s->file.bytes - s->at;
    size_t most;
    if (!s->zipped) return rest;
    return fv_mul_size(s->file.bytes, deflate_ratio, &most) ? most : SIZE_MAX;
}

static fv_status inflate_some(byte_source *s, uint8_t *out, size_t bytes, size_t *got) {
    const size_t give = fv_min_size(s->file.bytes - s->at, 1u << 30), want = fv_min_size(bytes, 1u << 30);
    s->z.next_in = (Bytef *)(uintptr_t)(s->file.data + s->at);
    s->z.avail_in = (uInt)give;
    s->z.next_out = out;
    s->z.avail_out = (uInt)want;
    const int result = inflate(&s->z, Z_NO_FLUSH);
    *got = want - s->z.avail_out;
    s->at += give - s->z.avail_in;
    FV_RETURN_IF(result == Z_MEM_ERROR, FV_ERR_MEMORY, "%s: out of memory for unpacking", s->path);
    FV_RETURN_IF(result != Z_OK && result != Z_STREAM_END && result != Z_BUF_ERROR, FV_ERR_FORMAT, "%s is damaged: %s",
                 s->path, s->z.msg ? s->z.msg : "not gzip data");
    if (result == Z_STREAM_END) {
        s->ended = s->at == s->file.bytes;
        if (!s->ended) inflateReset(&s->z); /* gzip files may be put one after the other */
        return FV_OK;
    }
    FV_RETURN_IF(*got == 0 && s->at == s->file.bytes, FV_ERR_FORMAT, "%s is truncated: its gzip data ends too early",
                 s->path);
    return FV_OK;
}

static fv_status source_read(byte_source *s, void *out, size_t bytes) {
    uint8_t *to = out;
    if (!s->zipped) {
        const size_t rest = s->file.bytes - s->at;
        FV_RETURN_IF(rest < bytes, FV_ERR_FORMAT, "%s is truncated: it has %zu bytes, %zu are missing", s->path,
                     s->file.bytes, bytes - rest);
        memcpy(to, s->file.data + s->at, bytes);
        s->at += bytes;
        return FV_OK;
    }
    while (bytes > 0) {
        size_t got;
        FV_RETURN_IF(s->ended, FV_ERR_FORMAT, "%s is truncated: %zu bytes are missing", s->path, bytes);
        FV_FORWARD(inflate_some(s, to, bytes, &got));
        to += got;
        bytes -= got;
    }
    return FV_OK;
}

/* Nothing may follow; also the check sum at the end of gzip data has to be there and right. */
static fv_status source_finish(byte_source *s) {
    uint8_t more;
    size_t got = s->zipped ? 0 : s->file.bytes - s->at;
    while (got == 0 && !s->ended) FV_FORWARD(inflate_some(s, &more, 1, &got));
    FV_RETURN_IF(got, FV_ERR_FORMAT, "%s is longer than its header says", s->path);
    return FV_OK;
}

/* ---- IDX ---- */

static fv_status read_header(byte_source *s, uint32_t magic, uint32_t sizes[], size_t rank) {
    uint8_t bytes[16];
    FV_FORWARD(source_read(s, bytes, 4 + 4 * rank));
    for (size_t i = 0; i <= rank; i++) {
        const uint8_t *b = bytes + 4 * i;
        const uint32_t value = (uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 | b[3];
        if (i > 0)
            sizes[i - 1] = value;
        else
            FV_RETURN_IF(value != magic, FV_ERR_FORMAT, "%s is not an IDX file of %s: it begins with %08x, not %08x",
                         s->path, magic == images_magic ? "images" : "labels", value, magic);
    }
    size_t need = 1;
    for (size_t i = 0; i < rank; i++)
        FV_RETURN_IF(!fv_mul_size(need, sizes[i], &need), FV_ERR_LIMIT, "%s claims more bytes than fit in memory",
                     s->path);
    FV_RETURN_IF(need > source_most(s), FV_ERR_FORMAT,
                 "%s is truncated: it claims %zu bytes, but has no room for more than %zu", s->path, need,
                 source_most(s));
    return FV_OK;
}

static fv_status read_images(fv_dataset *d, byte_source *s, const fv_dataset_settings *settings, uint32_t *stored) {
    uint32_t sizes[3];
    FV_FORWARD(read_header(s, images_magic, sizes, 3));
    FV_RETURN_IF(sizes[0] == 0, FV_ERR_FORMAT, "%s holds no image", s->path);
    FV_RETURN_IF(sizes[1] < 1 || sizes[1] > largest_side || sizes[2] < 1 || sizes[2] > largest_side, FV_ERR_FORMAT,
                 "%s claims images of %ux%u", s->path, sizes[1], sizes[2]);
    size_t count = sizes[0];
    if (settings->limit && (uint64_t)settings->limit < count) count = (size_t)settings->limit;
    FV_FORWARD(fv_dataset_allocate(d, count, (int32_t)sizes[1], (int32_t)sizes[2], 1));
    FV_FORWARD(source_read(s, d->pixels, count * fv_dataset_image_bytes(d)));
    *stored = sizes[0];
    return count == sizes[0] ? source_finish(s) : FV_OK;
}

/* All labels are read, whatever the limit: the number of classes must not depend on it. */
static fv_status read_labels(fv_dataset *d, byte_source *s, uint32_t images) {
    uint32_t count, classes = 0;
    uint8_t *labels = NULL;
    FV_FORWARD(read_header(s, labels_magic, &count, 1));
    FV_RETURN_IF(count != images, FV_ERR_FORMAT, "%s has %u labels for %u images", s->path, count, images);
    FV_FORWARD(fv_alloc(d->context, count, "labels", (void **)&labels));
    fv_status status = source_read(s, labels, count);
    if (status == FV_OK) status = source_finish(s);
    for (uint32_t i = 0; status == FV_OK && i < count; i++) {
        if (labels[i] >= classes) classes = labels[i] + 1u;
        if (d->names && labels[i] >= d->info.classes)
            status = fv_fail(FV_ERR_FORMAT, "%s: label %u is %u, but there are %d classes", s->path, i, labels[i],
                             d->info.classes);
        if ((int64_t)i < d->info.count) d->labels[i] = labels[i];
    }
    fv_release(d->context, labels);
    if (status == FV_OK && !d->names) d->info.classes = (int32_t)classes;
    return status;
}

/* Both spellings, plain and .gz. */
static fv_status find(char path[fv_path_bytes], const char *folder, bool test, const char *kind) {
    char file[64];
    for (int i = 0; i < 4; i++) {
        snprintf(file, sizeof file, "%s-%s%cidx%d-ubyte%s", test ? "t10k" : "train", kind, i & 2 ? '.' : '-',
                 *kind == 'i' ? 3 : 1, i & 1 ? ".gz" : "");
        FV_FORWARD(fv_path_join(path, folder, file));
        if (access(path, F_OK) == 0) return FV_OK;
    }
    return fv_fail(FV_ERR_NOT_FOUND, "%s has no %s-%s-idx%d-ubyte, plain or .gz", folder, test ? "t10k" : "train", kind,
                   *kind == 'i' ? 3 : 1);
}

fv_status fv_dataset_read_idx(fv_dataset *d, const char *folder, const fv_dataset_settings *s) {
    byte_source images = {0}, labels = {0};
    char names[fv_path_bytes];
    uint32_t count = 0;
    FV_FORWARD(fv_check_folder(folder));
    FV_FORWARD(find(images.path, folder, s->test, "images"));
    FV_FORWARD(find(labels.path, folder, s->test, "labels"));
    FV_FORWARD(fv_path_join(names, folder, "classes.txt"));
    if (!d->names && access(names, F_OK) == 0) FV_FORWARD(fv_dataset_read_names(d, names));
    FV_FORWARD(source_open(&images, d->context));
    fv_status status = read_images(d, &images, s, &count);
    if (status == FV_OK) status = fv_check_mapping(&images.file, images.path);
    source_close(&images);
    if (status == FV_OK && (status = source_open(&labels, d->context)) == FV_OK) {
        status = read_labels(d, &labels, count);
        if (status == FV_OK) status = fv_check_mapping(&labels.file, labels.path);
        source_close(&labels);
    }
    return status;
}
