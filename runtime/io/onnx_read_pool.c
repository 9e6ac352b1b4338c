/* Pooling and unpooling. */
#include "io/onnx_internal.h"

static fv_status read_window(const FvOnnx__Node *n, fv_pool_settings *s) {
    if (!fv_onnx_attribute(n, "kernel_shape")) return fv_onnx_refuse(n, "kernel_shape is missing");
    FV_FORWARD(fv_onnx_ints(n, "kernel_shape", 2, s->window));
    FV_FORWARD(fv_onnx_ints(n, "strides", 2, s->stride));
    FV_FORWARD(fv_onnx_ints(n, "dilations", 2, s->dilation));
    return fv_onnx_padding(n, &s->padding, s->pad_before, s->pad_after);
}

/* Max pooling's second output. */
static fv_status read_indices(fv_onnx_reader *r, const FvOnnx__Node *n, fv_value x, const fv_pool_settings *s) {
    fv_value indices;
    if (fv_onnx_attribute_int(n, "storage_order", 0) != 0)
        return fv_onnx_refuse(n, "indices of column-major maps are not read");
    const fv_value y = fv_graph_max_pool_indices(r->graph, x, s, &indices, fv_onnx_node_name(n));
    FV_FORWARD(fv_graph_status(r->graph));
    const fv_value made[2] = {y, indices};
    return fv_onnx_done_all(r, n, made, 2);
}

static fv_status read_pool(fv_onnx_reader *r, const FvOnnx__Node *n, fv_pool_kind kind, bool global) {
    fv_pool_settings s;
    fv_value x;
    fv_pool_settings_default(&s);
    s.kind = kind;
    s.global = global;
    s.stride[0] = s.stride[1] = 1; /* ONNX's default */
    s.p = (float)fv_onnx_attribute_int(n, "p", 2);
    FV_FORWARD(fv_onnx_value(r, n, 0, &x));
    if (!global) {
        FV_FORWARD(read_window(n, &s));
        if (kind == FV_POOL_AVERAGE && (s.dilation[0] != 1 || s.dilation[1] != 1))
            return fv_onnx_refuse(n, "dilations are not read");
        s.ceil_mode = fv_onnx_attribute_int(n, "ceil_mode", 0) != 0;
        s.count_padding = fv_onnx_attribute_int(n, "count_include_pad", 0) != 0;
    }
    if (kind == FV_POOL_MAX && !global && n->n_output > 1 && *n->output[1]) return read_indices(r, n, x, &s);
    return fv_onnx_done(r, n, fv_graph_pool(r->graph, x, &s, fv_onnx_node_name(n)));
}

static fv_status read_max_pool(fv_onnx_reader *r, const FvOnnx__Node *n) { return read_pool(r, n, FV_POOL_MAX, false); }
static fv_status read_average_pool(fv_onnx_reader *r, const FvOnnx__Node *n) {
    return read_pool(r, n, FV_POOL_AVERAGE, false);
}
static fv_status read_lp_pool(fv_onnx_reader *r, const FvOnnx__Node *n) { return read_pool(r, n, FV_POOL_LP, false); }
static fv_status read_global_max(fv_onnx_reader *r, const FvOnnx__Node *n) {
    return read_pool(r, n, FV_POOL_MAX, true);
}
static fv_status read_global_average(fv_onnx_reader *r, const FvOnnx__Node *n) {
    return read_pool(r, n, FV_POOL_AVERAGE, true);
}
static fv_status read_global_lp(fv_onnx_reader *r, const FvOnnx__Node *n) { return read_pool(r, n, FV_POOL_LP, true); }

/* The size of what is unpooled: output_shape, or from the attributes of the pooling. Indices count in it. */
static fv_status read_unpool(fv_onnx_reader *r, const FvOnnx__Node *n) {
    fv_value x, indices;
    fv_pool_settings s;
    const fv_onnx_tensor *wanted;
    fv_pool_settings_default(&s);
    s.stride[0] = s.stride[1] = 1;
    FV_FORWARD(fv_onnx_value(r, n, 0, &x));
    FV_FORWARD(fv_onnx_value(r, n, 1, &indices));
    FV_FORWARD(fv_onnx_constant(r, n, 2, &wanted));
    FV_FORWARD(read_window(n, &s));
    const fv_shape shape = fv_emit_info(r->graph, x)->shape;
    if (shape.rank != 4) return fv_onnx_refuse(n, "only maps (N,C,H,W) are unpooled");
    if (fv_emit_info(r->graph, indices)->dtype != FV_I64)
        return fv_onnx_refuse(n, "its second input is no indices of max pooling");
    int64_t size[2];
    for (int i = 0; i < 2; i++)
        size[i] = (shape.dim[2 + i] - 1) * s.stride[i] - s.pad_before[i] - (int64_t)s.pad_after[i] + s.window[i];
    if (wanted) {
        FV_RETURN_IF(wanted->count != 4 || fv_onnx_tensor_int(wanted, 1) != shape.dim[1], FV_ERR_SHAPE,
                     "node \"%.100s\" (MaxUnpool): output_shape does not fit its input", n->name ? n->name : "");
        const bool other = fv_onnx_tensor_int(wanted, 2) != size[0] || fv_onnx_tensor_int(wanted, 3) != size[1];
        if (other && fv_emit_info(r->graph, indices)->producer <
                         0) /* not a pooling's here: they count in what the window gives */
            return fv_onnx_refuse(n, "its indices do not count in its output");
        for (size_t i = 0; i < 2; i++) size[i] = fv_onnx_tensor_int(wanted, 2 + i);
    }
    FV_RETURN_IF(size[0] < 1 || size[1] < 1 || size[0] > INT32_MAX || size[1] > INT32_MAX, FV_ERR_SHAPE,
                 "node \"%.100s\" (MaxUnpool): an output of %lldx%lld", n->name ? n->name : "", (long long)size[0],
                 (long long)size[1]);
    return fv_onnx_done(
        r, n, fv_graph_max_unpool(r->graph, x, indices, (int32_t)size[0], (int32_t)size[1], fv_onnx_node_name(n)));
}

const fv_onnx_read_row fv_onnx_read_pool[] = {
    {"MaxPool", read_max_pool},
    {"AveragePool", read_average_pool},
    {"LpPool", read_lp_pool},
    {"GlobalMaxPool", read_global_max},
    {"GlobalAveragePool", read_global_average},
    {"GlobalLpPool", read_global_lp},
    {"MaxUnpool", read_unpool},
    {NULL, NULL},
};

static fv_status read_weighted(fv_onnx_reader *r, const FvOnnx__Node *n) {
    fv_pool_settings s;
    fv_value x;
    fv_pool_settings_default(&s);
    s.kind = FV_POOL_WEIGHTED;
    FV_FORWARD(fv_onnx_value(r, n, 0, &x));
    FV_FORWARD(read_window(n, &s));
    s.sigma = fv_onnx_attribute_float(n, "sigma", 0);
    return fv_onnx_done(r, n, fv_graph_pool(r->graph, x, &s, fv_onnx_node_name(n)));
}

const fv_onnx_read_row fv_onnx_functions_pool[] = {
    {"weighted_pool", read_weighted},
    {NULL, NULL},
};
