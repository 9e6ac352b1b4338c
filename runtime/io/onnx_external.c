/* Values in files beside the model: opened below its folder without following a link, regular, with one name, and read. */
#include "io/onnx_scope.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { most_files = 4096 };

typedef struct external {
    struct external *next;
    fv_mapping map;
    char name[];
} external;

struct fv_onnx_files {
    const fv_context *context;
    int folder;
    pthread_mutex_t lock; /* sessions read at the same time */
    size_t count;
    external *first;
    bool ended; /* nothing is read once a model is loaded */
};

fv_status fv_onnx_files_open(const fv_context *c, const char *model_path, fv_onnx_files **out) {
    char folder[PATH_MAX];
    const char *slash = strrchr(model_path, '/');
    const size_t length = slash ? (size_t)(slash - model_path) + 1 : 1;
    fv_onnx_files *f = NULL;
    FV_RETURN_IF(length >= sizeof folder, FV_ERR_ARGUMENT, "a path of %zu characters cannot be read", strlen(model_path));
    memcpy(folder, slash ? model_path : ".", length);
    folder[length] = '\0';
    FV_FORWARD(fv_alloc_zero(c, sizeof *f, "the model's files", (void **)&f));
    f->context = c;
    pthread_mutex_init(&f->lock, NULL);
    f->folder = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    *out = f; /* without a folder every tensor outside the model is refused */
    return FV_OK;
}

fv_status fv_onnx_files_check(const fv_onnx_files *f) {
    for (const external *e = f->first; e; e = e->next) FV_FORWARD(fv_check_mapping(&e->map, e->name));
    return FV_OK;
}

void fv_onnx_files_end(fv_onnx_files *f) {
    for (external *e = f->first, *next; e; e = next) {
        next = e->next;
        fv_unmap_file(&e->map);
        fv_release(f->context, e);
    }
    f->first = NULL;
    f->count = 0;
    f->ended = true;
}

void fv_onnx_files_free(fv_onnx_files *f) {
    if (!f) return;
    fv_onnx_files_end(f);
    if (f->folder >= 0) close(f->folder);
    pthread_mutex_destroy(&f->lock);
    fv_release(f->context, f);
}

/* No root, no "..", no empty part: what is left names a file below the folder. */
static bool is_below(const char *name) {
    if (!*name || *name == '/') return false;
    for (const char *part = name; part; part = strchr(part, '/')) {
        if (*part == '/') part++;
        const size_t length = strcspn(part, "/");
        if (length == 0 || (length == 1 && part[0] == '.') || (length == 2 && part[0] == '.' && part[1] == '.')) return false;
    }
    return true;
}

/* A kernel before 5.6 has no openat2: then each part is opened by itself. */
static int open_parts(int folder, const char *name) {
    int at = dup(folder);
    while (at >= 0) {
        char part[NAME_MAX + 1];
        const size_t length = strcspn(name, "/");
        if (length > NAME_MAX) {
            close(at);
            errno = ENAMETOOLONG;
            return -1;
        }
        memcpy(part, name, length);
        part[length] = '\0';
        const bool last = name[length] == '\0';
        const int next = openat(at, part, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | (last ? 0 : O_DIRECTORY));
        const int error = errno;
        close(at);
        errno = error;
        if (last || next < 0) return next;
        at = next;
        name += length + 1;
    }
    return -1;
}

static int open_below(int folder, const char *name) {
    struct open_how how = {.flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW, .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS};
    const long file = syscall(SYS_openat2, folder, name, &how, sizeof how);
    if (file >= 0 || (errno != ENOSYS && errno != EPERM)) return (int)file;
    return open_parts(folder, name);
}

static fv_status map_open(int file, const char *name, fv_mapping *out) {
    struct stat info;
    FV_RETURN_IF(fstat(file, &info) != 0, FV_ERR_IO, "cannot read %.200s: %s", name, strerror(errno));
    FV_RETURN_IF(!S_ISREG(info.st_mode), FV_ERR_IO, "external data \"%.200s\" is not a regular file", name);
    FV_RETURN_IF(info.st_nlink > 1, FV_ERR_IO, "external data \"%.200s\" has several names (a hard link), which may reach outside the model's folder",
                 name);
    return fv_map_open_lazy(file, name, out);
}

static fv_status find(fv_onnx_files *f, const char *name, const fv_mapping **out) {
    for (external *e = f->first; e; e = e->next)
        if (strcmp(e->name, name) == 0) {
            *out = &e->map;
            return FV_OK;
        }
    FV_RETURN_IF(!is_below(name), FV_ERR_FORMAT, "external data \"%.200s\" is not the name of a file in the model's folder", name);
    FV_RETURN_IF(f->count >= most_files, FV_ERR_LIMIT, "the model's values lie in more than %d files", most_files);
    external *e = NULL;
    FV_FORWARD(fv_alloc_zero(f->context, sizeof *e + strlen(name) + 1, "the model's files", (void **)&e));
    strcpy(e->name, name);
    const int file = open_below(f->folder, name);
    fv_status status = FV_OK;
    if (file < 0)
        status = errno == ENOENT            ? fv_fail(FV_ERR_NOT_FOUND, "external data \"%.200s\" is not there", name)
                 : errno == ELOOP || errno == EXDEV ? fv_fail(FV_ERR_IO, "external data \"%.200s\" goes through a symbolic link", name)
                                            : fv_fail(FV_ERR_IO, "cannot read external data \"%.200s\": %s", name, strerror(errno));
    else {
        status = map_open(file, name, &e->map);
        close(file);
    }
    if (status != FV_OK) {
        fv_release(f->context, e);
        return status;
    }
    e->next = f->first;
    f->first = e;
    f->count++;
    *out = &e->map;
    return FV_OK;
}

static bool take_number(const char *text, uint64_t *out) {
    *out = 0;
    if (!*text) return false;
    for (; *text; text++) {
        if (*text < '0' || *text > '9') return false;
        if (__builtin_mul_overflow(*out, 10u, out) || __builtin_add_overflow(*out, (uint64_t)(*text - '0'), out)) return false;
    }
    return true;
}

fv_status fv_onnx_files_place(fv_onnx_files *f, const FvOnnx__Tensor *t, size_t bytes, const void **out,
                              const fv_mapping **from) {
    const char *location = NULL, *tensor = t->name ? t->name : "";
    uint64_t offset = 0, length = bytes;
    for (size_t i = 0; i < t->n_external_data; i++) {
        const char *key = t->external_data[i]->key ? t->external_data[i]->key : "", *value = t->external_data[i]->value;
        FV_RETURN_IF(!value, FV_ERR_FORMAT, "tensor \"%.200s\": its external data's \"%.60s\" is missing", tensor, key);
        const bool is_offset = strcmp(key, "offset") == 0, is_length = strcmp(key, "length") == 0;
        if (strcmp(key, "location") == 0) location = value;
        FV_RETURN_IF((is_offset || is_length) && !take_number(value, is_offset ? &offset : &length), FV_ERR_FORMAT,
                     "tensor \"%.200s\": its external data's %s is \"%.60s\"", tensor, key, value);
        FV_RETURN_IF(!is_offset && !is_length && strcmp(key, "location") != 0 && strcmp(key, "checksum") != 0, FV_ERR_FORMAT,
                     "tensor \"%.200s\": its external data has the unknown key \"%.60s\"", tensor, key);
    }
    FV_RETURN_IF(!location, FV_ERR_FORMAT, "tensor \"%.200s\": its external data has no location", tensor);
    FV_RETURN_IF(length != bytes, FV_ERR_FORMAT, "tensor \"%.200s\" needs %zu bytes for its shape, but has %llu", tensor, bytes,
                 (unsigned long long)length);
    const fv_mapping *map;
    pthread_mutex_lock(&f->lock);
    const fv_status status = find(f, location, &map);
    pthread_mutex_unlock(&f->lock);
    FV_FORWARD(status);
    FV_RETURN_IF(offset > map->bytes || length > map->bytes - offset, FV_ERR_FORMAT,
                 "tensor \"%.200s\" lies outside \"%.200s\", which has %zu bytes", tensor, location, map->bytes);
    FV_RETURN_IF(f->ended, FV_ERR_IO,
                 "tensor \"%.200s\": \"%.200s\" could not be read when the model was loaded", tensor, location);
    *from = map->data ? map : NULL;
    *out = map->data ? map->data + offset : (const uint8_t *)"";
    return FV_OK;
}
