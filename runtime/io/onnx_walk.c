#include "io/onnx_walk.h"

#include <string.h>

enum {
    max_fields = 20 * 1000 * 1000,
    max_string = 1 << 20, /* names and string attributes */
    length_bytes = 5,     /* a nested message's length, written as a padded varint once it is known */
};
static const size_t max_skeleton = (size_t)1 << 30;

typedef enum message_kind {
    MODEL,
    GRAPH,
    NODE,
    ATTRIBUTE,
    TENSOR,
    VALUE_INFO,
    TYPE,
    TENSOR_TYPE,
    SHAPE,
    DIMENSION,
    OPSET,
    ENTRY,
    FUNCTION,
    SCALAR,
    TEXT,
    BYTES,
    NUMBERS,
    RAW,
    REFUSED,
} message_kind;

/* The fields of onnx.proto. A field with no row is left out of the skeleton. */
typedef struct field_row {
    message_kind parent;
    uint32_t field;
    message_kind kind;
} field_row;

static const field_row fields[] = {
    {MODEL, 1, SCALAR},      {MODEL, 2, TEXT},        {MODEL, 3, TEXT},        {MODEL, 7, GRAPH},
    {MODEL, 8, OPSET},       {OPSET, 1, TEXT},        {OPSET, 2, SCALAR},      {GRAPH, 1, NODE},
    {GRAPH, 2, TEXT},        {GRAPH, 5, TENSOR},      {GRAPH, 11, VALUE_INFO}, {GRAPH, 12, VALUE_INFO},
    {GRAPH, 15, REFUSED},    {NODE, 1, TEXT},         {NODE, 2, TEXT},         {NODE, 3, TEXT},
    {NODE, 4, TEXT},         {NODE, 5, ATTRIBUTE},    {NODE, 7, TEXT},         {ATTRIBUTE, 1, TEXT},
    {ATTRIBUTE, 2, SCALAR},  {ATTRIBUTE, 3, SCALAR},  {ATTRIBUTE, 4, BYTES},   {ATTRIBUTE, 5, TENSOR},
    {ATTRIBUTE, 7, NUMBERS}, {ATTRIBUTE, 8, NUMBERS}, {ATTRIBUTE, 20, SCALAR}, {TENSOR, 1, NUMBERS},
    {TENSOR, 2, SCALAR},     {TENSOR, 3, REFUSED},    {TENSOR, 4, NUMBERS},    {TENSOR, 5, NUMBERS},
    {TENSOR, 7, NUMBERS},    {TENSOR, 8, TEXT},       {TENSOR, 9, RAW},        {TENSOR, 10, NUMBERS},
    {TENSOR, 13, ENTRY},     {TENSOR, 14, SCALAR},    {ENTRY, 1, TEXT},        {ENTRY, 2, TEXT},
    {VALUE_INFO, 1, TEXT},   {VALUE_INFO, 2, TYPE},   {TYPE, 1, TENSOR_TYPE},  {TENSOR_TYPE, 1, SCALAR},
    {TENSOR_TYPE, 2, SHAPE}, {SHAPE, 1, DIMENSION},   {DIMENSION, 1, SCALAR},  {DIMENSION, 2, TEXT},
    {MODEL, 25, FUNCTION},   {FUNCTION, 1, TEXT},     {FUNCTION, 4, TEXT},     {FUNCTION, 5, TEXT},
    {FUNCTION, 6, TEXT},     {FUNCTION, 7, NODE},     {FUNCTION, 9, OPSET},    {FUNCTION, 10, TEXT},
    {FUNCTION, 11, ATTRIBUTE},
    {ATTRIBUTE, 6, GRAPH},   {ATTRIBUTE, 9, BYTES},   {TENSOR, 11, NUMBERS},
    {ATTRIBUTE, 21, TEXT},   {MODEL, 14, ENTRY},
};

/* Bytes of a UTF-8 character by its first byte; 0: none begins so. */
static size_t character_bytes(uint8_t first) {
    if (first < 0x80) return first != 0;
    if (first >> 5 == 6) return 2;
    if (first >> 4 == 14) return 3;
    return first >> 3 == 30 ? 4 : 0;
}

/* Names are C strings from here on: no zero byte, and UTF-8 as protobuf wants it. */
static bool is_text(const uint8_t *s, size_t n) {
    static const uint32_t least[5] = {0, 0, 0x80, 0x800, 0x10000};
    for (size_t i = 0; i < n;) {
        const size_t length = character_bytes(s[i]);
        if (length == 0 || length > n - i) return false;
        uint32_t code = length == 1 ? s[i] : s[i] & (0x7fu >> length);
        for (size_t k = 1; k < length; k++) {
            if (s[i + k] >> 6 != 2) return false;
            code = code << 6 | (s[i + k] & 0x3f);
        }
        if (code < least[length] || code > 0x10ffff || code >> 11 == 0x1b) return false; /* overlong, too large, a surrogate */
        i += length;
    }
    return true;
}

typedef struct walk {
    const fv_context *context;
    const fv_mapping *map;
    const uint8_t *file; /* its bytes [there, ends) are known to be read */
    size_t there, ends;
    size_t at;
    size_t fields, nodes;
    uint8_t *out;
    size_t used, capacity;
} walk;

static fv_status emit(walk *w, const void *data, size_t bytes) {
    size_t need;
    if (!fv_add_size(w->used, bytes, &need) || need > max_skeleton)
        return fv_fail(FV_ERR_LIMIT, "the model holds more than %zu bytes besides its weights", max_skeleton);
    FV_FORWARD(fv_grow(w->context, (void **)&w->out, &w->capacity, need, 1, "the model's structure"));
    if (bytes) memcpy(w->out + w->used, data, bytes);
    w->used = need;
    return FV_OK;
}

static uint8_t byte_at(walk *w, size_t at) {
    if (at < w->there || at >= w->ends) {
        w->there = at;
        w->ends = fv_map_need(w->map, at, 1);
    }
    return w->file[at];
}

static fv_status read_varint(walk *w, size_t end, uint64_t *out) {
    uint64_t value = 0;
    for (int shift = 0; shift < 70; shift += 7) {
        FV_RETURN_IF(w->at >= end, FV_ERR_FORMAT, "not an ONNX model: it ends inside a number at byte %zu", w->at);
        const uint8_t byte = byte_at(w, w->at++);
        FV_RETURN_IF(shift == 63 && byte > 1, FV_ERR_FORMAT,
                     "not an ONNX model: a number of more than 64 bits at byte %zu", w->at - 1);
        value |= (uint64_t)(byte & 0x7f) << shift;
        if (!(byte & 0x80)) {
            *out = value;
            return FV_OK;
        }
    }
    return fv_fail(FV_ERR_FORMAT, "not an ONNX model: an endless number at byte %zu", w->at);
}

/* Moves past a field's value; [*begin, w->at) is the payload. */
static fv_status read_payload(walk *w, size_t end, unsigned wire, size_t *begin) {
    uint64_t length = 0;
    *begin = w->at;
    switch (wire) {
    case 0:
        return read_varint(w, end, &length);
    case 1:
        length = 8;
        break;
    case 5:
        length = 4;
        break;
    case 2:
        FV_FORWARD(read_varint(w, end, &length));
        break;
    default:
        return fv_fail(FV_ERR_FORMAT, "not an ONNX model: wire type %u at byte %zu", wire, w->at);
    }
    *begin = w->at;
    FV_RETURN_IF(length > end - w->at, FV_ERR_FORMAT,
                 "not a whole ONNX model: a field of %llu bytes at byte %zu runs past the end of its message",
                 (unsigned long long)length, w->at);
    w->at += (size_t)length;
    return FV_OK;
}

static fv_status emit_varint(walk *w, uint64_t value, int least) {
    uint8_t bytes[10];
    size_t n = 0;
    do {
        bytes[n] = (uint8_t)(value & 0x7f);
        value >>= 7;
        if (value || (int)n + 1 < least) bytes[n] |= 0x80;
        n++;
    } while (value || (int)n < least);
    return emit(w, bytes, n);
}

static message_kind kind_of(message_kind parent, uint32_t field, bool *known) {
    for (size_t i = 0; i < FV_ARRAY_SIZE(fields); i++)
        if (fields[i].parent == parent && fields[i].field == field) {
            *known = true;
            return fields[i].kind;
        }
    *known = false;
    return SCALAR;
}

static fv_status walk_message(walk *w, message_kind kind, size_t end, int depth);

static fv_status walk_nested(walk *w, message_kind kind, size_t begin, uint64_t tag, int depth) {
    const size_t end = w->at;
    FV_RETURN_IF(depth >= w->context->settings.model_depth, FV_ERR_LIMIT, "the model nests messages deeper than %d at byte %zu",
                 w->context->settings.model_depth, begin);
    FV_FORWARD(emit_varint(w, tag, 1));
    const size_t length_at = w->used;
    FV_FORWARD(emit_varint(w, 0, length_bytes));
    w->at = begin;
    FV_FORWARD(walk_message(w, kind, end, depth + 1));
    size_t length = w->used - length_at - length_bytes;
    for (int i = 0; i < length_bytes; i++, length >>= 7)
        w->out[length_at + (size_t)i] = (uint8_t)((length & 0x7f) | (i + 1 < length_bytes ? 0x80 : 0));
    return FV_OK;
}

static fv_status walk_field(walk *w, message_kind parent, size_t end, int depth) {
    const size_t tag_at = w->at;
    uint64_t tag;
    size_t begin;
    bool known;
    FV_FORWARD(read_varint(w, end, &tag));
    FV_RETURN_IF(tag >> 3 == 0 || tag >> 3 > 0x1fffffff, FV_ERR_FORMAT,
                 "not an ONNX model: field number %llu at byte %zu", (unsigned long long)(tag >> 3), tag_at);
    FV_RETURN_IF(++w->fields > max_fields, FV_ERR_LIMIT, "the model has more than %d fields", max_fields);
    FV_FORWARD(read_payload(w, end, (unsigned)(tag & 7), &begin));
    const message_kind kind = kind_of(parent, (uint32_t)(tag >> 3), &known);
    if (!known) return FV_OK;
    const bool bytes = (tag & 7) == 2;
    FV_RETURN_IF(kind == REFUSED, FV_ERR_UNSUPPORTED, "the model has a %s, which fovea does not read",
                 parent == GRAPH ? "sparse initializer" : "tensor in segments");
    FV_RETURN_IF(kind != SCALAR && kind != NUMBERS && !bytes, FV_ERR_FORMAT,
                 "not an ONNX model: wire type %u at byte %zu", (unsigned)(tag & 7), tag_at);
    FV_RETURN_IF((kind == TEXT || kind == BYTES) && w->at - begin > max_string, FV_ERR_LIMIT,
                 "the model has a string of %zu bytes at byte %zu", w->at - begin, begin);
    if (kind >= SCALAR && kind != RAW) (void)fv_map_need(w->map, tag_at, w->at - tag_at);
    FV_RETURN_IF(kind == TEXT && !is_text(w->file + begin, w->at - begin), FV_ERR_FORMAT,
                 "not an ONNX model: a name at byte %zu is not UTF-8 text", begin);
    FV_RETURN_IF(kind == NODE && ++w->nodes > (size_t)w->context->settings.model_nodes, FV_ERR_LIMIT,
                 "the model has too many nodes: more than %d", w->context->settings.model_nodes);
    if (kind == RAW) {
        const fv_onnx_place place = {begin, w->at - begin};
        FV_FORWARD(emit_varint(w, tag, 1));
        FV_FORWARD(emit_varint(w, sizeof place, 1));
        return emit(w, &place, sizeof place);
    }
    if (kind < SCALAR) return walk_nested(w, kind, begin, tag, depth);
    return emit(w, w->file + tag_at, w->at - tag_at);
}

static fv_status walk_message(walk *w, message_kind kind, size_t end, int depth) {
    while (w->at < end) FV_FORWARD(walk_field(w, kind, end, depth));
    return FV_OK;
}

static fv_status walk_all(const fv_context *c, const fv_mapping *file, message_kind kind, fv_onnx_skeleton *out) {
    walk w = {.context = c, .map = file, .file = file->data};
    const fv_status status = walk_message(&w, kind, file->bytes, 0);
    if (status != FV_OK) {
        fv_release(c, w.out);
        return status;
    }
    *out = (fv_onnx_skeleton){w.out, w.used};
    return FV_OK;
}

fv_status fv_onnx_walk(const fv_context *c, const fv_mapping *file, fv_onnx_skeleton *out) {
    FV_RETURN_IF(file->bytes == 0, FV_ERR_FORMAT, "not an ONNX model: the file is empty");
    return walk_all(c, file, MODEL, out);
}

fv_status fv_onnx_walk_tensor(const fv_context *c, const fv_mapping *file, fv_onnx_skeleton *out) {
    return walk_all(c, file, TENSOR, out);
}
