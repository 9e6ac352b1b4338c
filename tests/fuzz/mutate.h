/* Mutations that keep protobuf's lengths right: a field somewhere in the tree is changed, dropped, doubled or replaced by another
 * of its kind, and every length around it is written anew. Bytes alone would break a length at nearly every step. */
#ifndef FV_TESTS_FUZZ_MUTATE_H
#define FV_TESTS_FUZZ_MUTATE_H

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t most);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t most, unsigned seed);

typedef struct proto_field {
    size_t begin, body, end; /* tag and length, then body */
    unsigned type;
} proto_field;

enum { proto_most = 4096 };

static bool proto_number(const uint8_t *data, size_t size, size_t *at, uint64_t *value) {
    *value = 0;
    for (unsigned shift = 0; shift < 64 && *at < size; shift += 7) {
        const uint8_t byte = data[(*at)++];
        *value |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80) return true;
    }
    return false;
}

static size_t proto_put(uint8_t *to, uint64_t value) {
    size_t n = 0;
    for (; value > 0x7f; value >>= 7) to[n++] = (uint8_t)(value | 0x80);
    to[n++] = (uint8_t)value;
    return n;
}

/* Fields of a message, none where the bytes are no message. */
static size_t proto_split(const uint8_t *data, size_t size, proto_field *out) {
    size_t n = 0;
    for (size_t at = 0; at < size && n < proto_most; n++) {
        uint64_t tag, value;
        out[n].begin = at;
        if (!proto_number(data, size, &at, &tag) || tag < 8 || tag >> 3 > 1000) return 0;
        out[n].type = tag & 7;
        out[n].body = at;
        switch (out[n].type) {
        case 0:
            if (!proto_number(data, size, &at, &value)) return 0;
            break;
        case 1: value = 8; goto skip;
        case 5: value = 4; goto skip;
        case 2:
            if (!proto_number(data, size, &at, &value)) return 0;
            out[n].body = at;
        skip:
            if (value > size - at) return 0;
            at += value;
            break;
        default: return 0;
        }
        out[n].end = at;
    }
    return n;
}

static size_t proto_change(uint8_t *data, size_t size, size_t most, int depth);

/* data[from, to) becomes bytes[n]; the new size, the old one where there is no room. */
static size_t proto_splice(uint8_t *data, size_t size, size_t most, size_t from, size_t to, const uint8_t *bytes, size_t n) {
    if (size - (to - from) + n > most) return size;
    memmove(data + from + n, data + to, size - to);
    if (n) memcpy(data + from, bytes, n);
    return size - (to - from) + n;
}

static size_t proto_rewrite(uint8_t *data, size_t size, size_t most, const proto_field *f, int depth) {
    static const uint64_t odd[] = {0, 1, 2, 3, 4, 7, 8, 16, 100, 1000, 65536, 1u << 30,
                                   UINT32_MAX, INT64_MAX, 1ull << 63, UINT64_MAX, UINT64_MAX - 1};
    const size_t body = f->end - f->body, room = 2 * body + 128;
    if (f->type != 0 && f->type != 2) { /* floats */
        LLVMFuzzerMutate(data + f->body, body, body);
        return size;
    }
    uint8_t *fresh = malloc(room + 32), head[16];
    if (!fresh) return size;
    size_t at = f->begin, n;
    uint64_t tag;
    proto_number(data, size, &at, &tag);
    size_t length = proto_put(head, tag);
    if (f->type == 0) {
        n = proto_put(fresh, rand() % 3 ? odd[(size_t)rand() % (sizeof odd / sizeof odd[0])] : (uint64_t)(rand() % 40));
    } else {
        memcpy(fresh, data + f->body, body);
        n = depth < 12 && rand() % 8 ? proto_change(fresh, body, room, depth + 1) : LLVMFuzzerMutate(fresh, body, room);
        length += proto_put(head + length, n);
    }
    memmove(fresh + length, fresh, n);
    memcpy(fresh, head, length);
    size = proto_splice(data, size, most, f->begin, f->end, fresh, length + n);
    free(fresh);
    return size;
}

static size_t proto_change(uint8_t *data, size_t size, size_t most, int depth) {
    proto_field *fields = malloc(proto_most * sizeof *fields);
    const size_t n = fields ? proto_split(data, size, fields) : 0;
    if (n == 0) {
        free(fields);
        return LLVMFuzzerMutate(data, size, most);
    }
    const proto_field f = fields[(size_t)rand() % n], other = fields[(size_t)rand() % n];
    const int kind = rand() % 16;
    free(fields);
    if (kind >= 4) return proto_rewrite(data, size, most, &f, depth);
    if (kind == 0) return proto_splice(data, size, most, f.begin, f.end, NULL, 0);
    const size_t from = other.begin, bytes = other.end - other.begin, to = kind == 1 ? f.begin : f.end;
    uint8_t *copy = malloc(bytes + 1); /* 1, 2: one more; 3: another in its place */
    if (!copy) return size;
    memcpy(copy, data + from, bytes);
    size = proto_splice(data, size, most, kind == 3 ? f.begin : to, to, copy, bytes);
    free(copy);
    return size;
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t most, unsigned seed) {
    srand(seed);
    for (int i = 1 + rand() % 4; i > 0; i--) size = proto_change(data, size, most, 0);
    return size ? size : 1;
}

#endif
