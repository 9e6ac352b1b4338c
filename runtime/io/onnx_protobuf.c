#include "io/onnx_protobuf.h"

static void *parse_alloc(void *user, size_t bytes) {
    fv_onnx_parsed *p = user;
    void *memory = NULL;
    if (p->status == FV_OK) p->status = fv_alloc(p->context, bytes, p->what, &memory);
    return memory;
}

static void parse_free(void *user, void *memory) { fv_release(((fv_onnx_parsed *)user)->context, memory); }

ProtobufCAllocator fv_onnx_parse_memory(fv_onnx_parsed *parsed) { return (ProtobufCAllocator){parse_alloc, parse_free, parsed}; }

typedef struct stream {
    ProtobufCBuffer base;
    fv_writer *file;
    fv_status status;
} stream;

static void append(ProtobufCBuffer *buffer, size_t bytes, const uint8_t *data) {
    stream *s = (stream *)buffer;
    if (s->status == FV_OK) s->status = fv_writer_write(s->file, data, bytes);
}

fv_status fv_onnx_write_message(const fv_context *c, const ProtobufCMessage *message, const char *path) {
    stream s = {.base = {append}};
    FV_FORWARD(fv_writer_open(c, path, &s.file));
    protobuf_c_message_pack_to_buffer(message, &s.base);
    if (s.status == FV_OK) return fv_writer_commit(s.file);
    fv_writer_abandon(s.file);
    return s.status;
}
