/* Memory of one reading, names and scopes. */
#include "io/onnx_scope.h"

#include <string.h>

struct fv_onnx_piece {
    struct fv_onnx_piece *next;
};

enum { piece_bytes = 64 * 1024, place_bytes = 64 };

fv_status fv_onnx_take_bytes(fv_onnx_memory *m, size_t bytes, void **out) {
    size_t wanted;
    FV_RETURN_IF(!fv_add_size(bytes, place_bytes - 1, &wanted), FV_ERR_LIMIT, "a constant has too many bytes");
    wanted &= ~(size_t)(place_bytes - 1);
    if (wanted > m->left) {
        const size_t size = fv_max_size(wanted, piece_bytes);
        struct fv_onnx_piece *p = NULL;
        size_t total;
        FV_RETURN_IF(!fv_add_size(size, place_bytes, &total), FV_ERR_LIMIT, "a constant has too many bytes");
        FV_FORWARD(fv_alloc_zero(m->context, total, "the model's structure", (void **)&p));
        p->next = m->pieces;
        m->pieces = p;
        m->at = (char *)p + place_bytes;
        m->left = size;
    }
    *out = m->at;
    m->at += wanted;
    m->left -= wanted;
    return FV_OK;
}

void fv_onnx_memory_free(fv_onnx_memory *m) {
    for (struct fv_onnx_piece *p = m->pieces, *next; p; p = next) {
        next = p->next;
        fv_release(m->context, p);
    }
    m->pieces = NULL;
    m->left = 0;
}

/* ---- names: open addressing ---- */

static uint64_t hash(const char *text) {
    uint64_t h = 1469598103934665603u;
    for (; *text; text++) h = (h ^ (unsigned char)*text) * 1099511628211u;
    return h ^ h >> 32;
}

static fv_onnx_name **slot_of(const fv_onnx_names *names, const char *name) {
    size_t i = (size_t)hash(name) & (names->size - 1);
    while (names->slots[i] && strcmp(names->slots[i]->name, name) != 0) i = (i + 1) & (names->size - 1);
    return &names->slots[i];
}

/* Twice the room; what it was stays in the reading's memory. */
static fv_status grow(const fv_onnx_reader *r, fv_onnx_names *names) {
    const size_t size = names->size ? 2 * names->size : 16;
    fv_onnx_name **slots, **list;
    FV_FORWARD(fv_onnx_take_bytes(r->memory, size * sizeof *slots, (void **)&slots));
    FV_FORWARD(fv_onnx_take_bytes(r->memory, size / 2 * sizeof *list, (void **)&list));
    if (names->count) memcpy(list, names->list, names->count * sizeof *list);
    names->slots = slots;
    names->list = list;
    names->size = size;
    for (size_t i = 0; i < names->count; i++) *slot_of(names, list[i]->name) = list[i];
    return FV_OK;
}

fv_status fv_onnx_new_scope(const fv_onnx_reader *r, fv_onnx_names *parent, fv_onnx_names **out) {
    FV_FORWARD(fv_onnx_take_bytes(r->memory, sizeof **out, (void **)out));
    (*out)->parent = parent;
    return grow(r, *out);
}

fv_onnx_name *fv_onnx_find_in(const fv_onnx_names *names, const char *name) {
    for (; names; names = names->parent) {
        fv_onnx_name *found = names->size ? *slot_of(names, name) : NULL;
        if (found) return found;
    }
    return NULL;
}

const fv_onnx_name *fv_onnx_find(const fv_onnx_reader *r, const char *name) { return fv_onnx_find_in(r->names, name); }

fv_status fv_onnx_define(fv_onnx_reader *r, const fv_onnx_name *entry) {
    fv_onnx_names *names = r->names;
    fv_onnx_name *mine = NULL;
    FV_RETURN_IF(*slot_of(names, entry->name), FV_ERR_FORMAT, "the name \"%.200s\" is given to two values",
                 entry->name);
    if (2 * (names->count + 1) > names->size) FV_FORWARD(grow(r, names));
    FV_FORWARD(fv_onnx_take_bytes(r->memory, sizeof *mine, (void **)&mine));
    *mine = *entry;
    if (!mine->node) mine->node = r->node;
    if (!mine->scope) mine->scope = names;
    *slot_of(names, mine->name) = mine;
    names->list[names->count++] = mine;
    return FV_OK;
}

void fv_onnx_forget(fv_onnx_names *names, size_t count) {
    while (names->count > count)
        *slot_of(names, names->list[--names->count]->name) = NULL; /* the newest is in nobody's way */
}

fv_status fv_onnx_define_constant(fv_onnx_reader *r, const char *name, fv_dtype dtype, const fv_shape *shape,
                                  const void *data) {
    fv_onnx_name entry = {.name = name,
                          .constant = true,
                          .value = FV_NONE,
                          .made = true,
                          .tensor = {.shape = *shape, .count = 1, .type = fv_onnx_type_of(dtype)}};
    void *copy;
    size_t bytes;
    for (int32_t i = 0; i < shape->rank; i++)
        FV_RETURN_IF(!fv_mul_size(entry.tensor.count, (size_t)shape->dim[i], &entry.tensor.count), FV_ERR_LIMIT,
                     "\"%.200s\" has too many elements", name);
    FV_RETURN_IF(!fv_mul_size(entry.tensor.count, fv_dtype_bytes(dtype), &bytes), FV_ERR_LIMIT,
                 "\"%.200s\" has too many bytes", name);
    FV_FORWARD(fv_onnx_take_bytes(r->memory, bytes, &copy));
    if (bytes) memcpy(copy, data, bytes);
    entry.tensor.data = copy;
    return fv_onnx_define(r, &entry);
}

fv_status fv_onnx_define_alias(fv_onnx_reader *r, const char *name, const fv_onnx_name *of) {
    fv_onnx_name entry = *of;
    entry.name = name;
    entry.node = NULL;
    entry.scope = NULL;
    entry.input = 0;
    return fv_onnx_define(r, &entry);
}
