/* A row of the benchmark: one kernel on one shape, run on every ISA of this machine. C functions; shim.cc hands them to
 * Google Benchmark. */
#ifndef FV_BENCH_BENCH_H
#define FV_BENCH_BENCH_H

#ifdef __cplusplus
extern "C" {
#endif

#include "kernels/kernels.h"

typedef struct fv_bench_case fv_bench_case;
struct fv_bench_case {
    char name[96];       /* kernel/shape */
    double flops, bytes; /* of a run: multiply-adds twice, tensors read and written once. 0: not what the row is about */
    const void *spec;    /* what make reads; static */
    int32_t kind;        /* which of the family's kernels */
    void *(*make)(const fv_bench_case *c, const fv_kernels *k); /* NULL: no memory */
    void (*run)(void *state);
    void (*drop)(void *state);
    /* The same by another library, or NULL; make_peer gives NULL where it cannot. */
    void *(*make_peer)(const fv_bench_case *c);
    void (*run_peer)(void *state), (*drop_peer)(void *state);
};

typedef void (*fv_bench_add_fn)(void *user, const fv_bench_case *c);
void fv_bench_conv(fv_bench_add_fn add, void *user);
void fv_bench_conv_pooled(fv_bench_add_fn add, void *user);
void fv_bench_depthwise(fv_bench_add_fn add, void *user);
void fv_bench_winograd(fv_bench_add_fn add, void *user);
void fv_bench_layers(fv_bench_add_fn add, void *user);
void fv_bench_contrast(fv_bench_add_fn add, void *user);
void fv_bench_norm(fv_bench_add_fn add, void *user);
void fv_bench_activation(fv_bench_add_fn add, void *user);
void fv_bench_pool(fv_bench_add_fn add, void *user);

/* oneDNN's depthwise convolution (peers/dnnl.c); NULL: it cannot, or memory ran out. */
void *fv_peer_depthwise(const fv_depthwise_desc *d);
void fv_peer_run(void *state);
void fv_peer_drop(void *state);

/* count values in [-1, 1) that are no two alike, 64-byte aligned; NULL: no memory. free() releases them. */
float *fv_bench_values(size_t count);

#ifdef __cplusplus
}
#endif
#endif
