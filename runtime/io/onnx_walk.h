/* A bounded walk over an ONNX file before protobuf-c sees it. protobuf-c has no depth limit and copies every byte it
 * parses; this checks depth, counts and lengths first and makes a skeleton: the fields of onnx.proto alone, with the
 * bytes of every tensor's raw_data replaced by their place in the file (fv_onnx_place). */
#ifndef FV_IO_ONNX_WALK_H
#define FV_IO_ONNX_WALK_H

#include "core/file.h"

/* What raw_data holds in a skeleton. */
typedef struct fv_onnx_place {
    uint64_t offset, bytes; /* within the file */
} fv_onnx_place;

typedef struct fv_onnx_skeleton {
    uint8_t *data; /* freed by fv_release */
    size_t bytes;
} fv_onnx_skeleton;

/* @return FV_ERR_FORMAT for anything that is not protobuf wire format of a Model, FV_ERR_LIMIT beyond the limits of
 * onnx_walk.c. Sentences tell the byte. */
fv_status fv_onnx_walk(const fv_context *c, const fv_mapping *file, fv_onnx_skeleton *out);

/* The same of a file that is one Tensor. */
fv_status fv_onnx_walk_tensor(const fv_context *c, const fv_mapping *file, fv_onnx_skeleton *out);

#endif
