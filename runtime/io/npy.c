/* npy, numpy.lib.format: "\x93NUMPY", version, header length, a Python dictionary, the elements. */
#include "core/file.h"

#include <stdio.h>
#include <string.h>

enum { magic_bytes = 6, header_alignment = 64 };
static const char magic[] = "\x93NUMPY";

static const struct {
    const char *descr;
    fv_dtype dtype;
} types[] = {{"<f4", FV_F32}, {"<f8", FV_F64}, {"<i4", FV_I32}, {"<i8", FV_I64}, {"|u1", FV_U8}, {"<u1", FV_U8},
             {"|b1", FV_BOOL}, {"|i1", FV_I8},  {"<i1", FV_I8},  {"<i2", FV_I16}, {"<u2", FV_U16}, {"<u4", FV_U32},
             {"<u8", FV_U64}, {"<f2", FV_F16}};

/* ---- the dictionary ---- */

typedef struct scanner {
    const char *at, *end;
} scanner;

static void skip_blanks(scanner *s) {
    while (s->at < s->end && (*s->at == ' ' || *s->at == '\n' || *s->at == '\t' || *s->at == '\r')) s->at++;
}

static bool take(scanner *s, const char *word) {
    const size_t length = strlen(word);
    skip_blanks(s);
    if ((size_t)(s->end - s->at) < length || memcmp(s->at, word, length) != 0) return false;
    s->at += length;
    return true;
}

/* A quoted string without escapes. */
static bool take_string(scanner *s, char *out, size_t size) {
    skip_blanks(s);
    if (s->at >= s->end || (*s->at != '\'' && *s->at != '"')) return false;
    const char *close = memchr(s->at + 1, *s->at, (size_t)(s->end - s->at - 1));
    if (!close || (size_t)(close - s->at) > size) return false;
    const size_t length = (size_t)(close - s->at - 1);
    memcpy(out, s->at + 1, length);
    out[length] = '\0';
    s->at = close + 1;
    return true;
}

static fv_status take_descr(scanner *s, fv_tensor *t) {
    char descr[32];
    FV_RETURN_IF(!take_string(s, descr, sizeof descr), FV_ERR_UNSUPPORTED,
                 "its type is not a number or bool");
    for (size_t i = 0; i < FV_ARRAY_SIZE(types); i++)
        if (strcmp(descr, types[i].descr) == 0) {
            t->dtype = types[i].dtype;
            return FV_OK;
        }
    FV_RETURN_IF(descr[0] == '>', FV_ERR_UNSUPPORTED, "its type \"%s\" is big-endian; little-endian is read", descr);
    FV_RETURN_IF(strchr(descr, 'O'), FV_ERR_UNSUPPORTED, "it holds Python objects, which are not read");
    return fv_fail(FV_ERR_UNSUPPORTED, "its type is \"%s\"; bool, integers and floats of at most 64 bits are read", descr);
}

static bool take_size(scanner *s, int64_t *out) {
    skip_blanks(s);
    const char *begin = s->at;
    for (*out = 0; s->at < s->end && *s->at >= '0' && *s->at <= '9'; s->at++)
        if (__builtin_mul_overflow(*out, 10, out) || __builtin_add_overflow(*out, *s->at - '0', out)) return false;
    return s->at > begin;
}

static fv_status take_shape(scanner *s, fv_tensor *t) {
    t->rank = 0;
    FV_RETURN_IF(!take(s, "("), FV_ERR_FORMAT, "its shape is not a tuple");
    while (!take(s, ")")) {
        FV_RETURN_IF(t->rank == FV_MAX_RANK, FV_ERR_LIMIT, "it has more than %d axes", FV_MAX_RANK);
        FV_RETURN_IF(!take_size(s, &t->shape[t->rank++]), FV_ERR_FORMAT, "axis %d of its shape is not a size",
                     t->rank - 1);
        FV_RETURN_IF(!take(s, ",") && (s->at >= s->end || *s->at != ')' || t->rank == 1), FV_ERR_FORMAT,
                     "its shape is not a tuple");
    }
    return FV_OK;
}

static fv_status read_dictionary(scanner *s, fv_tensor *t) {
    enum { descr = 1, order = 2, shape = 4, all = 7 };
    int seen = 0;
    FV_RETURN_IF(!take(s, "{"), FV_ERR_FORMAT, "its header is not a dictionary");
    while (!take(s, "}")) {
        char key[32];
        FV_RETURN_IF(!take_string(s, key, sizeof key) || !take(s, ":"), FV_ERR_FORMAT,
                     "its header is not a dictionary");
        const int which = strcmp(key, "descr") == 0           ? descr
                          : strcmp(key, "fortran_order") == 0 ? order
                          : strcmp(key, "shape") == 0         ? shape
                                                              : 0;
        FV_RETURN_IF(which == 0 || (seen & which), FV_ERR_FORMAT, "its header has the key \"%s\"%s", key,
                     which ? " twice" : "");
        seen |= which;
        if (which == descr) FV_FORWARD(take_descr(s, t));
        if (which == shape) FV_FORWARD(take_shape(s, t));
        if (which == order && !take(s, "False")) {
            FV_RETURN_IF(take(s, "True"), FV_ERR_UNSUPPORTED, "it is in Fortran order; C order is read");
            return fv_fail(FV_ERR_FORMAT, "its fortran_order is neither True nor False");
        }
        if (!take(s, ","))
            FV_RETURN_IF(s->at >= s->end || *s->at != '}', FV_ERR_FORMAT, "its header is not a dictionary");
    }
    skip_blanks(s);
    FV_RETURN_IF(s->at != s->end, FV_ERR_FORMAT, "its header goes on after the dictionary");
    FV_RETURN_IF(seen != all, FV_ERR_FORMAT, "its header lacks descr, fortran_order or shape");
    return FV_OK;
}

/* ---- reading ---- */

/* t but for its data, and where the elements begin. */
static fv_status read_header(const fv_mapping *file, fv_tensor *t, size_t *begin) {
    const uint8_t *d = file->data;
    FV_RETURN_IF(file->bytes < magic_bytes + 4 || memcmp(d, magic, magic_bytes) != 0, FV_ERR_FORMAT,
                 "it is not an npy file");
    const unsigned version = d[magic_bytes];
    FV_RETURN_IF(version < 1 || version > 3 || d[magic_bytes + 1] != 0, FV_ERR_UNSUPPORTED,
                 "its version is %u.%u; 1.0 to 3.0 are read", version, d[magic_bytes + 1]);
    const size_t prefix = version == 1 ? magic_bytes + 4 : magic_bytes + 6;
    FV_RETURN_IF(file->bytes < prefix, FV_ERR_FORMAT, "it is truncated");
    size_t length = (size_t)d[8] | (size_t)d[9] << 8;
    if (version > 1) length |= (size_t)d[10] << 16 | (size_t)d[11] << 24;
    FV_RETURN_IF(length > file->bytes - prefix, FV_ERR_FORMAT,
                 "it is truncated: its header has %zu bytes, the file %zu", length, file->bytes);
    scanner s = {(const char *)d + prefix, (const char *)d + prefix + length};
    *t = (fv_tensor){.layout = FV_PLAIN};
    *begin = prefix + length;
    return read_dictionary(&s, t);
}

static fv_status read_mapped(fv_context *c, const fv_mapping *file, fv_tensor *out) {
    fv_tensor t;
    size_t begin, count;
    FV_FORWARD(read_header(file, &t, &begin));
    FV_FORWARD(fv_tensor_count(&t, &count)); /* also that the bytes do not overflow */
    const size_t bytes = count * fv_dtype_bytes(t.dtype), stored = file->bytes - begin;
    FV_RETURN_IF(stored < bytes, FV_ERR_FORMAT, "it is truncated: its shape needs %zu bytes, %zu are there", bytes,
                 stored);
    FV_RETURN_IF(stored > bytes, FV_ERR_FORMAT, "%zu bytes follow those its shape needs", stored - bytes);
    FV_FORWARD(fv_alloc(c, bytes, "an npy array", &t.data));
    if (bytes) memcpy(t.data, file->data + begin, bytes);
    *out = t;
    return FV_OK;
}

fv_status fv_npy_read(fv_context *c, const char *path, fv_tensor *t) {
    FV_RETURN_IF(!c || !path || !t, FV_ERR_ARGUMENT, "fv_npy_read needs a context, a path and a place for the tensor");
    fv_mapping file;
    FV_FORWARD(fv_map_file(path, &file));
    fv_tensor read;
    fv_status status = read_mapped(c, &file, &read);
    if (status == FV_OK && (status = fv_check_mapping(&file, "the file")) != FV_OK) fv_npy_free(c, &read);
    if (status == FV_OK) *t = read;
    fv_unmap_file(&file);
    return status == FV_OK ? FV_OK : fv_fail_within(status, "%s", path);
}

void fv_npy_free(fv_context *c, fv_tensor *t) {
    if (!c || !t) return;
    fv_release(c, t->data);
    t->data = NULL;
}

/* ---- writing ---- */

/* Version 1.0, padded with blanks so that the elements begin at a multiple of 64. @return its bytes. */
static size_t make_header(const fv_tensor *t, char header[512]) {
    size_t used = magic_bytes + 4;
    const char *descr = "";
    for (size_t i = FV_ARRAY_SIZE(types); i-- > 0;)
        if (types[i].dtype == t->dtype) descr = types[i].descr; /* the first of a type */
    used += (size_t)snprintf(header + used, 512 - used, "{'descr': '%s', 'fortran_order': False, 'shape': (", descr);
    for (int32_t i = 0; i < t->rank; i++)
        used += (size_t)snprintf(header + used, 512 - used, "%s%lld%s", i ? " " : "", (long long)t->shape[i],
                                 i + 1 < t->rank || t->rank == 1 ? "," : "");
    used += (size_t)snprintf(header + used, 512 - used, "), }");
    while ((used + 1) % header_alignment) header[used++] = ' ';
    header[used++] = '\n';
    const size_t length = used - magic_bytes - 4;
    memcpy(header, magic, magic_bytes);
    header[6] = 1;
    header[7] = 0;
    header[8] = (char)(length & 0xff);
    header[9] = (char)(length >> 8);
    return used;
}

fv_status fv_npy_write(fv_context *c, const char *path, const fv_tensor *t) {
    FV_RETURN_IF(!c || !path || !t, FV_ERR_ARGUMENT, "fv_npy_write needs a context, a path and a tensor");
    size_t count;
    char header[512];
    FV_FORWARD(fv_tensor_count(t, &count));
    FV_RETURN_IF(t->layout != FV_PLAIN, FV_ERR_UNSUPPORTED, "%s: npy takes tensors in plain layout", path);
    FV_RETURN_IF(count && !t->data, FV_ERR_ARGUMENT, "%s: the tensor has no data", path);
    fv_writer *w;
    FV_FORWARD(fv_writer_open(c, path, &w));
    fv_status status = fv_writer_write(w, header, make_header(t, header));
    if (status == FV_OK) status = fv_writer_write(w, t->data, count * fv_dtype_bytes(t->dtype));
    if (status == FV_OK) return fv_writer_commit(w);
    fv_writer_abandon(w);
    return status;
}
