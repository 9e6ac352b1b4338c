/* protobuf-c with the library's memory and files. protobuf-c tells a refused allocation and a wrong field alike, and a
 * write has no status: both are kept here. */
#ifndef FV_IO_ONNX_PROTOBUF_H
#define FV_IO_ONNX_PROTOBUF_H

#include "core/file.h"

#include <protobuf-c/protobuf-c.h>

typedef struct fv_onnx_parsed {
    const fv_context *context;
    const char *what; /* is parsed, for the sentence of a refused allocation */
    fv_status status;
} fv_onnx_parsed;
/* What unpack and free_unpacked take. `parsed` outlives it. */
ProtobufCAllocator fv_onnx_parse_memory(fv_onnx_parsed *parsed);

/* Writes a message to `path`, whole or not at all. */
fv_status fv_onnx_write_message(const fv_context *c, const ProtobufCMessage *message, const char *path);

#endif
