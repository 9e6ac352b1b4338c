/* Depthwise convolution by oneDNN on one thread, in the memory formats that it prefers. Built where libdnnl-dev is. */
#include "bench.h"

#include <oneapi/dnnl/dnnl.h>

#include <omp.h>
#include <stdlib.h>

enum { SOURCE, WEIGHTS, BIAS, RESULT, ARGUMENTS };

typedef struct peer {
    dnnl_engine_t engine;
    dnnl_stream_t stream;
    dnnl_primitive_desc_t description;
    dnnl_primitive_t primitive;
    dnnl_exec_arg_t argument[ARGUMENTS];
    float *values[ARGUMENTS];
} peer;

void fv_peer_drop(void *state) {
    peer *s = state;
    if (!s) return;
    for (int i = 0; i < ARGUMENTS; i++) {
        dnnl_memory_destroy(s->argument[i].memory);
        free(s->values[i]);
    }
    dnnl_primitive_destroy(s->primitive);
    dnnl_primitive_desc_destroy(s->description);
    dnnl_stream_destroy(s->stream);
    dnnl_engine_destroy(s->engine);
    free(s);
}

static bool describe(peer *s, const fv_depthwise_desc *d) {
    const dnnl_dim_t n = d->images, c = d->channels;
    const dnnl_dims_t strides = {d->stride[0], d->stride[1]}, dilates = {d->dilation[0] - 1, d->dilation[1] - 1},
                      before = {d->pad[0], d->pad[1]};
    dnnl_dims_t after = {0};
    for (int a = 0; a < 2; a++)
        after[a] = (d->out[a] - 1) * d->stride[a] + (d->kernel[a] - 1) * d->dilation[a] + 1 - d->in[a] - d->pad[a];
    const dnnl_dims_t x_dims = {n, c, d->in[0], d->in[1]}, w_dims = {c, 1, 1, d->kernel[0], d->kernel[1]}, bias_dims = {c},
                      y_dims = {n, c, d->out[0], d->out[1]};
    dnnl_memory_desc_t x, w, bias, y;
    dnnl_convolution_desc_t convolution;
    dnnl_post_ops_t clamp = NULL;
    dnnl_primitive_attr_t attributes = NULL;
    const bool described =
        dnnl_memory_desc_init_by_tag(&x, 4, x_dims, dnnl_f32, dnnl_format_tag_any) == dnnl_success &&
        dnnl_memory_desc_init_by_tag(&w, 5, w_dims, dnnl_f32, dnnl_format_tag_any) == dnnl_success &&
        dnnl_memory_desc_init_by_tag(&bias, 1, bias_dims, dnnl_f32, dnnl_a) == dnnl_success &&
        dnnl_memory_desc_init_by_tag(&y, 4, y_dims, dnnl_f32, dnnl_format_tag_any) == dnnl_success &&
        dnnl_dilated_convolution_forward_desc_init(&convolution, dnnl_forward_inference, dnnl_convolution_direct, &x, &w, &bias,
                                                   &y, strides, dilates, before, after) == dnnl_success &&
        dnnl_post_ops_create(&clamp) == dnnl_success &&
        dnnl_post_ops_append_eltwise(clamp, 1, dnnl_eltwise_clip, d->act_low, d->act_high) == dnnl_success &&
        dnnl_primitive_attr_create(&attributes) == dnnl_success &&
        dnnl_primitive_attr_set_post_ops(attributes, clamp) == dnnl_success &&
        dnnl_primitive_desc_create(&s->description, &convolution, attributes, s->engine, NULL) == dnnl_success &&
        dnnl_primitive_create(&s->primitive, s->description) == dnnl_success;
    dnnl_post_ops_destroy(clamp);
    dnnl_primitive_attr_destroy(attributes);
    return described;
}

static bool allocate(peer *s) {
    static const struct {
        dnnl_query_t what;
        int index, argument;
    } kinds[ARGUMENTS] = {[SOURCE] = {dnnl_query_src_md, 0, DNNL_ARG_SRC},
                          [WEIGHTS] = {dnnl_query_weights_md, 0, DNNL_ARG_WEIGHTS},
                          [BIAS] = {dnnl_query_weights_md, 1, DNNL_ARG_BIAS},
                          [RESULT] = {dnnl_query_dst_md, 0, DNNL_ARG_DST}};
    for (int i = 0; i < ARGUMENTS; i++) {
        const dnnl_memory_desc_t *memory = dnnl_primitive_desc_query_md(s->description, kinds[i].what, kinds[i].index);
        s->values[i] = fv_bench_values(dnnl_memory_desc_get_size(memory) / sizeof(float));
        s->argument[i].arg = kinds[i].argument;
        if (!s->values[i] || dnnl_memory_create(&s->argument[i].memory, memory, s->engine, s->values[i]) != dnnl_success)
            return false;
    }
    return true;
}

void *fv_peer_depthwise(const fv_depthwise_desc *d) {
    peer *s = calloc(1, sizeof *s);
    omp_set_num_threads(1);
    if (s && dnnl_engine_create(&s->engine, dnnl_cpu, 0) == dnnl_success &&
        dnnl_stream_create(&s->stream, s->engine, dnnl_stream_default_flags) == dnnl_success && describe(s, d) && allocate(s))
        return s;
    fv_peer_drop(s);
    return NULL;
}

void fv_peer_run(void *state) {
    peer *s = state;
    dnnl_primitive_execute(s->primitive, s->stream, ARGUMENTS, s->argument);
    dnnl_stream_wait(s->stream);
}
