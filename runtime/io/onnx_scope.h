/* Inside the reader: memory of one reading, names and their scopes, the model's source. */
#ifndef FV_IO_ONNX_SCOPE_H
#define FV_IO_ONNX_SCOPE_H

#include "core/file.h"
#include "io/onnx_internal.h"

#include <pthread.h>

/* Bump memory, freed as a whole. */
typedef struct fv_onnx_memory {
    const fv_context *context;
    struct fv_onnx_piece *pieces;
    size_t left; /* bytes free at the end of the newest piece */
    char *at;
} fv_onnx_memory;
fv_status fv_onnx_take_bytes(fv_onnx_memory *m, size_t bytes, void **out); /* zeroed, 64-byte aligned */
void fv_onnx_memory_free(fv_onnx_memory *m);

/* Names of the graph, of a branch, of a function's body, in the reading's memory. A scope looks in its parent for what it lacks: a branch does, a function's body has none. */
struct fv_onnx_names {
    fv_onnx_names *parent;
    fv_onnx_name **slots;
    fv_onnx_name **list; /* in the order they were defined: [size/2] */
    size_t size, count;
};
fv_status fv_onnx_new_scope(const fv_onnx_reader *r, fv_onnx_names *parent, fv_onnx_names **out);
fv_onnx_name *fv_onnx_find_in(const fv_onnx_names *names, const char *name);
/* The scope forgets what was defined after it had `count` names. */
void fv_onnx_forget(fv_onnx_names *names, size_t count);

/* ---- what the file says, kept as long as its model ---- */

/* A parameter made of a constant of the file, shared by every graph that is lowered from it. */
typedef struct fv_onnx_shared {
    struct fv_onnx_shared *next;
    const void *of; /* the tensor's data */
    const char *kind;
    size_t count;
    fv_dtype dtype;
    void *data;
} fv_onnx_shared;

enum { FV_ONNX_SHARED = 1024 };

typedef struct fv_onnx_source {
    fv_context *context;
    fv_mapping file; /* while loading; then every tensor's raw_data is its values, no longer their place */
    fv_onnx_files *files;
    FvOnnx__Model *model;
    pthread_mutex_t lock; /* of `shared` and `files` */
    fv_onnx_shared *shared[FV_ONNX_SHARED]; /* by a hash of `of` */
} fv_onnx_source;

/* Finds it, or makes it: *fresh, then *out has room for count elements to be filled before fv_onnx_share_end. */
fv_status fv_onnx_share(fv_onnx_source *s, const void *of, const char *kind, size_t count, fv_dtype dtype, void **out, bool *fresh);
void fv_onnx_share_end(fv_onnx_source *s);
void fv_onnx_source_free(void *source);

/* Reads the graph once. wanted NULL: with an open batch. *again: more inputs became constants in `pinned`, *missing: see fv_onnx_reader. */
fv_status fv_onnx_read_model(fv_onnx_source *s, const fv_lowering *wanted, bool share, bool *pinned, fv_graph **out, bool *again, bool *missing);
/* What the file says of its interface, for looking at: inputs, and outputs that nothing makes. */
fv_status fv_onnx_read_interface(fv_onnx_source *s, fv_graph **out);
/* Every operator of the file has a reader; else all that have none are named. */
fv_status fv_onnx_check_operators(const FvOnnx__Model *model);

/* External data: files beside the model, opened without following links or leaving its folder. */
fv_status fv_onnx_files_open(const fv_context *c, const char *model_path, fv_onnx_files **out);
void fv_onnx_files_free(fv_onnx_files *f);
fv_status fv_onnx_files_check(const fv_onnx_files *f); /* each is whole, see fv_check_mapping */
/* Mappings go; what fv_onnx_files_place would map from here on it refuses. */
void fv_onnx_files_end(fv_onnx_files *f);
fv_status fv_onnx_files_place(fv_onnx_files *f, const FvOnnx__Tensor *t, size_t bytes, const void **out, const fv_mapping **map);

#endif
