#include "graph/choices.h"

#include "core/file.h"
#include "core/status.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char head[] =
    "fovea choices 1\n# CPU | ISA | threads | version | convolution | algorithm | microseconds of every candidate\n";
static const char *const names[] = {"indirect", "F(2,3)", "F(4,3)", "F(6,3)"}; /* m = 2 i; one that plans do not offer is measured anew */
static const char gap[] = " | ";
enum { KEY_FIELDS = 5, FIELDS = 7, LINE = 640, MOST_LINES = 100000 };

typedef struct choice {
    struct choice *next;
    int32_t m;
    size_t key_length;
    char line[];
} choice;

struct fv_choices {
    const fv_context *context;
    choice *first;
    bool fresh;
};

fv_status fv_choices_create(const fv_context *c, fv_choices **out) {
    fv_choices *t = NULL;
    FV_FORWARD(fv_alloc_zero(c, sizeof *t, "choices", (void **)&t));
    t->context = c;
    *out = t;
    return FV_OK;
}

void fv_choices_free(fv_choices *t) {
    if (!t) return;
    for (choice *c = t->first, *next; c; c = next) {
        next = c->next;
        fv_release(t->context, c);
    }
    fv_release(t->context, t);
}

static choice *find(const fv_choices *t, const char *key, size_t length) {
    for (choice *c = t->first; c; c = c->next)
        if (c->key_length == length && memcmp(c->line, key, length) == 0) return c;
    return NULL;
}

/* Takes the place of one with the same key. */
static fv_status put(fv_choices *t, const char *line, size_t length, size_t key_length, int32_t m) {
    choice *c = NULL, *old = find(t, line, key_length);
    FV_FORWARD(fv_alloc_zero(t->context, sizeof *c + length + 1, "choices", (void **)&c));
    c->m = m;
    c->key_length = key_length;
    memcpy(c->line, line, length);
    choice **at = &t->first;
    while (*at && *at != old) at = &(*at)->next;
    c->next = old ? old->next : NULL;
    *at = c;
    fv_release(t->context, old);
    return FV_OK;
}

int32_t fv_choices_find(const fv_choices *t, const fv_choice_key *key) {
    const choice *c = find(t, key->text, strlen(key->text));
    return c ? c->m : -1;
}

fv_status fv_choices_add(fv_choices *t, const fv_choice_key *key, const int32_t *m, const double *seconds, size_t count,
                         size_t best) {
    char line[LINE];
    const size_t length = strlen(key->text);
    int used = snprintf(line, sizeof line, "%s%s%s", key->text, gap, names[m[best] / 2]);
    for (size_t i = 0; i < count && used < (int)sizeof line; i++)
        used += snprintf(line + used, sizeof line - (size_t)used, "%s%s %.1f", i ? ", " : gap, names[m[i] / 2],
                         1e6 * seconds[i]);
    t->fresh = true;
    return put(t, line, fv_min_size((size_t)used, sizeof line - 1), length, m[best]);
}

/* ---- files ---- */

static int32_t algorithm_of(const char *text, size_t length) {
    for (int32_t i = 0; i < (int32_t)FV_ARRAY_SIZE(names); i++)
        if (strlen(names[i]) == length && strncmp(names[i], text, length) == 0) return 2 * i;
    return -1;
}

static fv_status read_line(fv_choices *t, const char *path, size_t number, const char *line, size_t length) {
    const char *field[FIELDS] = {line};
    size_t fields = 1;
    for (size_t i = 0; length < LINE && i + strlen(gap) <= length && fields <= FIELDS; i++) {
        if (memcmp(line + i, gap, strlen(gap)) != 0) continue;
        if (fields < FIELDS) field[fields] = line + i + strlen(gap);
        fields++;
    }
    int32_t m = -1;
    size_t key = 0;
    if (fields == FIELDS && !memchr(line, '\0', length)) {
        m = algorithm_of(field[KEY_FIELDS], (size_t)(field[KEY_FIELDS + 1] - field[KEY_FIELDS]) - strlen(gap));
        key = (size_t)(field[KEY_FIELDS] - line) - strlen(gap);
    }
    FV_RETURN_IF(m < 0, FV_ERR_FORMAT,
                 "the choices file %.300s, line %zu, is not CPU | ISA | threads | version | convolution | algorithm | "
                 "times: remove the "
                 "line, or the file",
                 path, number);
    return put(t, line, length, key, m);
}

static fv_status read_lines(fv_choices *t, const char *path, const char *text, size_t bytes) {
    const char *end = text + bytes;
    size_t number = 1;
    const size_t first = strcspn(head, "\n") + 1;
    FV_RETURN_IF(bytes < first || memcmp(text, head, first) != 0, FV_ERR_FORMAT,
                 "%.300s is not a choices file of this version: its first line must be \"fovea choices 1\"", path);
    for (const char *line = text, *next; line < end; line = next, number++) {
        const char *stop = memchr(line, '\n', (size_t)(end - line));
        const size_t length = (size_t)((stop ? stop : end) - line);
        next = stop ? stop + 1 : end;
        FV_RETURN_IF(number > MOST_LINES, FV_ERR_LIMIT, "the choices file %.300s has more than %d lines", path,
                     MOST_LINES);
        if (number > 1 && length && *line != '#') FV_FORWARD(read_line(t, path, number, line, length));
    }
    return FV_OK;
}

fv_status fv_choices_read(fv_choices *t, const char *path) {
    fv_mapping file;
    fv_status status = fv_map_file(path, &file);
    if (status == FV_ERR_NOT_FOUND) return FV_OK;
    FV_FORWARD(status);
    status = read_lines(t, path, (const char *)file.data, file.bytes);
    if (status == FV_OK) status = fv_check_mapping(&file, path);
    fv_unmap_file(&file);
    return status;
}

fv_status fv_choices_write(fv_choices *t, const char *path) {
    fv_writer *w = NULL;
    if (!t->fresh) return FV_OK;
    FV_FORWARD(fv_writer_open(t->context, path, &w));
    fv_status status = fv_writer_write(w, head, sizeof head - 1);
    for (const choice *c = t->first; c && status == FV_OK; c = c->next) {
        status = fv_writer_write(w, c->line, strlen(c->line));
        if (status == FV_OK) status = fv_writer_write(w, "\n", 1);
    }
    if (status != FV_OK) {
        fv_writer_abandon(w);
        return status;
    }
    FV_FORWARD(fv_writer_commit(w));
    t->fresh = false;
    return FV_OK;
}
