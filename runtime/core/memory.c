#include "core/context.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { LARGE_PAGE = 2 << 20 };

static fv_status allocate(const fv_context *c, size_t bytes, size_t alignment, const char *what, void **out) {
    const fv_context_settings *s = &c->settings;
    FV_RETURN_IF(s->memory_limit && bytes > s->memory_limit, FV_ERR_LIMIT, "%s needs %zu bytes, the memory limit is %zu", what,
                 bytes, s->memory_limit);
    FV_RETURN_IF(bytes > PTRDIFF_MAX - FV_ALIGNMENT, FV_ERR_LIMIT, "%s needs %zu bytes", what, bytes);
    void *memory = NULL;
    const size_t size = bytes ? bytes : 1;
    if (s->alloc)
        memory = s->alloc(s->alloc_user, size, FV_ALIGNMENT);
    else if (posix_memalign(&memory, alignment, size) != 0)
        memory = NULL;
    FV_RETURN_IF(!memory, FV_ERR_MEMORY, "out of memory: %s needs %zu bytes", what, bytes);
    if ((uintptr_t)memory % FV_ALIGNMENT != 0) {
        fv_release(c, memory);
        return fv_fail(FV_ERR_MEMORY, "the allocator gave memory that is not %d-byte aligned for %s", FV_ALIGNMENT, what);
    }
    *out = memory;
    return FV_OK;
}

fv_status fv_alloc(const fv_context *c, size_t bytes, const char *what, void **out) {
    return allocate(c, bytes, FV_ALIGNMENT, what, out);
}

fv_status fv_alloc_large(const fv_context *c, size_t bytes, const char *what, void **out) {
    if (bytes < LARGE_PAGE || c->settings.alloc) return fv_alloc(c, bytes, what, out);
    FV_FORWARD(allocate(c, bytes, LARGE_PAGE, what, out));
#ifdef MADV_HUGEPAGE
    (void)madvise(*out, bytes / LARGE_PAGE * LARGE_PAGE, MADV_HUGEPAGE);
#endif
    return FV_OK;
}

void fv_forget(const fv_context *c, void *data, size_t bytes) {
#ifdef MADV_DONTNEED
    const uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), begin = ((uintptr_t)data + page - 1) / page * page;
    const uintptr_t end = ((uintptr_t)data + bytes) / page * page;
    if (!c->settings.alloc && end > begin) (void)madvise((void *)begin, end - begin, MADV_DONTNEED);
#else
    (void)c, (void)data, (void)bytes;
#endif
}

fv_status fv_alloc_zero(const fv_context *c, size_t bytes, const char *what, void **out) {
    FV_FORWARD(fv_alloc(c, bytes, what, out));
    memset(*out, 0, bytes);
    return FV_OK;
}

fv_status fv_alloc_array(const fv_context *c, size_t count, size_t element, const char *what, void **out) {
    size_t bytes;
    FV_RETURN_IF(!fv_mul_size(count, element, &bytes), FV_ERR_LIMIT, "%s is too large: %zu elements", what, count);
    return fv_alloc_zero(c, bytes, what, out);
}

fv_status fv_alloc_unset(const fv_context *c, size_t count, size_t element, const char *what, void **out) {
    size_t bytes;
    FV_RETURN_IF(!fv_mul_size(count, element, &bytes), FV_ERR_LIMIT, "%s is too large: %zu elements", what, count);
    return fv_alloc(c, bytes, what, out);
}

void fv_small_pages(const fv_context *c, void *memory, size_t bytes) {
#ifdef MADV_NOHUGEPAGE
    if (bytes >= LARGE_PAGE && !c->settings.alloc) (void)madvise(memory, bytes / LARGE_PAGE * LARGE_PAGE, MADV_NOHUGEPAGE);
#else
    (void)c, (void)memory, (void)bytes;
#endif
}

fv_status fv_strdup(const fv_context *c, const char *text, char **out) {
    const size_t bytes = strlen(text) + 1;
    FV_FORWARD(fv_alloc(c, bytes, "a name", (void **)out));
    memcpy(*out, text, bytes);
    return FV_OK;
}

fv_status fv_grow(const fv_context *c, void **array, size_t *capacity, size_t need, size_t element, const char *what) {
    if (need <= *capacity) return FV_OK;
    size_t grown = *capacity ? *capacity : 16;
    while (grown < need) FV_RETURN_IF(!fv_mul_size(grown, 2, &grown), FV_ERR_LIMIT, "%s is too large", what);
    void *fresh = NULL;
    FV_FORWARD(fv_alloc_array(c, grown, element, what, &fresh));
    if (*array) memcpy(fresh, *array, *capacity * element);
    fv_release(c, *array);
    *array = fresh;
    *capacity = grown;
    return FV_OK;
}

void fv_release(const fv_context *c, void *memory) {
    if (!memory) return;
    if (c->settings.free)
        c->settings.free(c->settings.alloc_user, memory);
    else
        free(memory);
}

void fv_log_message(const fv_context *c, fv_log_level level, const char *format, ...) {
    if (!c->settings.log) return;
    char sentence[512];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(sentence, sizeof sentence, format, arguments);
    va_end(arguments);
    c->settings.log(c->settings.log_user, level, sentence);
}
