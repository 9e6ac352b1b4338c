/* Convolution, pooling and unpooling of 1, 2 and 3 spatial axes. Float maps (N,C,H,W) are read by the layers of fovea.h first. */
#include "io/onnx_nd.h"
#include "ops/nd_window.h"

#include <string.h>

/* An attribute of exactly `wanted` integers; left out, *out stays. */
static bool is_same(const FvOnnx__Node *n) {
    return fv_onnx_text_is(n, "auto_pad", "SAME_UPPER", false) || fv_onnx_text_is(n, "auto_pad", "SAME_LOWER", false);
}

static bool fits(int64_t size) { return size >= -INT32_MAX && size <= INT32_MAX; }

/* strides, dilations, pads of a window over x's spatial axes. The kernel is there already. */
static fv_status window_of(const fv_onnx_reader *r, const FvOnnx__Node *n, fv_value x, fv_nd_window *w) {
    const fv_shape shape = *fv_onnx_shape(r, x);
    int64_t pads[2 * FV_ND_SPATIAL] = {0};
    const bool known = is_same(n) || fv_onnx_text_is(n, "auto_pad", "VALID", false) || fv_onnx_text_is(n, "auto_pad", "NOTSET", true);
    FV_RETURN_IF(!known, FV_ERR_FORMAT, "node \"%.100s\" (%.60s): unknown auto_pad", n->name ? n->name : "", n->op_type);
    w->axes = shape.rank - 2;
    if (w->axes < 1 || w->axes > FV_ND_SPATIAL) return fv_onnx_refuse(n, "windows have 1 to 3 axes");
    for (int32_t i = 0; i < w->axes; i++) w->stride[i] = w->dilation[i] = 1;
    FV_FORWARD(fv_onnx_whole_list(n, "strides", (size_t)w->axes, w->stride));
    FV_FORWARD(fv_onnx_whole_list(n, "dilations", (size_t)w->axes, w->dilation));
    FV_FORWARD(fv_onnx_whole_list(n, "pads", 2 * (size_t)w->axes, pads));
    for (int32_t i = 0; i < w->axes; i++) {
        w->before[i] = pads[i];
        w->after[i] = pads[w->axes + i];
        FV_RETURN_IF(w->stride[i] < 1 || w->dilation[i] < 1 || w->kernel[i] < 1 || w->kernel[i] > INT32_MAX || w->dilation[i] > INT32_MAX ||
                         w->stride[i] > INT32_MAX || w->dilation[i] * (w->kernel[i] - 1) > INT32_MAX, FV_ERR_SHAPE,
                     "node \"%.100s\" (%.60s): a window of %lld, stride %lld, dilation %lld", n->name ? n->name : "", n->op_type,
                     (long long)w->kernel[i], (long long)w->stride[i], (long long)w->dilation[i]);
        FV_RETURN_IF(!fits(w->before[i]) || !fits(w->after[i]), FV_ERR_SHAPE, "node \"%.100s\" (%.60s): pads of %lld and %lld", n->name ? n->name : "",
                     n->op_type, (long long)w->before[i], (long long)w->after[i]);
    }
    return FV_OK;
}

static void share_out(const FvOnnx__Node *n, int64_t total, int64_t *before, int64_t *after) {
    const int64_t more = total < 0 ? 0 : total;
    *before = fv_onnx_text_is(n, "auto_pad", "SAME_LOWER", false) ? (more + 1) / 2 : more / 2;
    *after = more - *before;
}

/* auto_pad of a window that slides over x. */
static void pad_alone(const fv_onnx_reader *r, const FvOnnx__Node *n, fv_value x, fv_nd_window *w) {
    for (int32_t i = 0; i < w->axes; i++) {
        const int64_t in = fv_onnx_shape(r, x)->dim[2 + i], out = (in + w->stride[i] - 1) / w->stride[i];
        if (is_same(n)) share_out(n, (out - 1) * w->stride[i] + w->dilation[i] * (w->kernel[i] - 1) + 1 - in, &w->before[i], &w->after[i]);
        if (fv_onnx_text_is(n, "auto_pad", "VALID", false)) w->before[i] = w->after[i] = 0;
    }
}

static fv_status kernel_of_weights(const fv_onnx_reader *r, const FvOnnx__Node *n, fv_value x, fv_value weights, fv_nd_window *w) {
    const fv_shape shape = *fv_onnx_shape(r, weights);
    FV_RETURN_IF(shape.rank != fv_onnx_shape(r, x)->rank || shape.rank < 3, FV_ERR_SHAPE, "node \"%.100s\" (%.60s): weights of rank %d for a tensor of rank %d",
                 n->name ? n->name : "", n->op_type, shape.rank, fv_onnx_shape(r, x)->rank);
    if (shape.rank > 2 + FV_ND_SPATIAL) return fv_onnx_refuse(n, "windows have 1 to 3 axes");
    int64_t given[FV_ND_SPATIAL] = {0};
    FV_FORWARD(fv_onnx_whole_list(n, "kernel_shape", (size_t)shape.rank - 2, given));
    for (int32_t i = 0; i < shape.rank - 2; i++) {
        w->kernel[i] = shape.dim[2 + i];
        FV_RETURN_IF(fv_onnx_attribute(n, "kernel_shape") && given[i] != w->kernel[i], FV_ERR_SHAPE, "node \"%.100s\" (%.60s): kernel_shape disagrees with its weight",
                     n->name ? n->name : "", n->op_type);
    }
    return FV_OK;
}

fv_status fv_onnx_conv_window(const fv_onnx_reader *r, const FvOnnx__Node *n, fv_value x, fv_value weights, fv_attributes *attr) {
    fv_nd_window w = {0};
    const int64_t groups = fv_onnx_attribute_int(n, "group", 1);
    FV_FORWARD(kernel_of_weights(r, n, x, weights, &w));
    FV_FORWARD(window_of(r, n, x, &w));
    pad_alone(r, n, x, &w);
    FV_RETURN_IF(groups < 1 || groups > INT32_MAX, FV_ERR_SHAPE, "node \"%.100s\" (%.60s) has %lld groups", n->name ? n->name : "", n->op_type,
                 (long long)groups);
    *attr = (fv_attributes){.nd = {.kind = (int32_t)groups}};
    fv_nd_window_put(&w, &attr->nd);
    return FV_OK;
}

static fv_status read_conv(fv_onnx_reader *r, const FvOnnx__Node *n) {
    fv_attributes attr;
    fv_value in[3];
    FV_FORWARD(fv_onnx_value(r, n, 0, &in[0]));
    FV_FORWARD(fv_onnx_value(r, n, 1, &in[1]));
    FV_FORWARD(fv_onnx_optional(r, n, 2, &in[2]));
    FV_FORWARD(fv_onnx_conv_window(r, n, in[0], in[1], &attr));
    return fv_onnx_done(r, n, fv_graph_node(r->graph, &fv_op_nd_conv, fv_onnx_node_name(n), in, in[2] == FV_NONE ? 2 : 3, 1, &attr));
}

/* Sizes of a transposed convolution: given, or what its input reaches; pads follow from sizes and auto_pad. */
static fv_status transposed_sizes(const fv_onnx_reader *r, const FvOnnx__Node *n, fv_value x, fv_nd_window *w, int64_t *out) {
    int64_t more[FV_ND_SPATIAL] = {0}, given[FV_ND_SPATIAL] = {0};
    const bool sizes = fv_onnx_attribute(n, "output_shape") != NULL;
    FV_FORWARD(fv_onnx_whole_list(n, "output_padding", (size_t)w->axes, more));
    FV_FORWARD(fv_onnx_whole_list(n, "output_shape", (size_t)w->axes, given));
    for (int32_t i = 0; i < w->axes; i++) {
        const int64_t in = fv_onnx_shape(r, x)->dim[2 + i], asked = sizes ? given[i] : 0;
        FV_RETURN_IF(!fits(in) || !fits(more[i]) || !fits(asked), FV_ERR_SHAPE, "node \"%.100s\" (ConvTranspose): a size is out of range",
                     n->name ? n->name : "");
        const int64_t reach = (in - 1) * w->stride[i] + more[i] + w->dilation[i] * (w->kernel[i] - 1) + 1;
        if (fv_onnx_text_is(n, "auto_pad", "VALID", false)) w->before[i] = w->after[i] = 0;
        out[i] = sizes ? asked : is_same(n) ? in * w->stride[i] : reach - w->before[i] - w->after[i];
        if (sizes || is_same(n)) share_out(n, reach - out[i], &w->before[i], &w->after[i]);
        FV_RETURN_IF(more[i] < 0 || (more[i] > 0 && more[i] >= w->stride[i] && more[i] >= w->dilation[i]), FV_ERR_SHAPE,
                     "node \"%.100s\" (ConvTranspose): output padding %lld; it must be below its stride %lld or its dilation %lld", n->name ? n->name : "",
                     (long long)more[i], (long long)w->stride[i], (long long)w->dilation[i]);
        FV_RETURN_IF(out[i] < 0 || (sizes && out[i] < 1) || out[i] > INT32_MAX, FV_ERR_SHAPE, "node \"%.100s\" (ConvTranspose): an output of size %lld", n->name ? n->name : "",
                     (long long)out[i]);
    }
    return FV_OK;
}

static fv_status read_conv_transpose(fv_onnx_reader *r, const FvOnnx__Node *n) {
    fv_nd_window w = {0};
    fv_value in[3];
    FV_FORWARD(fv_onnx_value(r, n, 0, &in[0]));
    FV_FORWARD(fv_onnx_value(r, n, 1, &in[1]));
    FV_FORWARD(fv_onnx_optional(r, n, 2, &in[2]));
    FV_FORWARD(kernel_of_weights(r, n, in[0], in[1], &w));
    FV_FORWARD(window_of(r, n, in[0], &w));
    const int64_t groups = fv_onnx_attribute_int(n, "group", 1);
    FV_RETURN_IF(groups < 1 || groups > INT32_MAX, FV_ERR_SHAPE, "node \"%.100s\" (ConvTranspose) has %lld groups", n->name ? n->name : "",
                 (long long)groups);
    fv_attributes attr = {.nd = {.kind = (int32_t)groups}};
    FV_FORWARD(transposed_sizes(r, n, in[0], &w, attr.nd.c + 4));
    fv_nd_window_put(&w, &attr.nd);
    return fv_onnx_done(r, n, fv_graph_node(r->graph, &fv_op_nd_conv_transpose, fv_onnx_node_name(n), in, in[2] == FV_NONE ? 2 : 3, 1, &attr));
}

/* ---- pooling ---- */

static fv_status read_pool(fv_onnx_reader *r, const FvOnnx__Node *n) {
    const bool global = strncmp(n->op_type, "Global", 6) == 0;
    const char *name = n->op_type + (global ? 6 : 0);
    const bool largest = name[0] == 'M';
    fv_nd_window w = {0};
    fv_value x, y[2] = {FV_NONE, FV_NONE};
    FV_FORWARD(fv_onnx_value(r, n, 0, &x));
    const fv_shape shape = *fv_onnx_shape(r, x);
    if (shape.rank < 3 || shape.rank > 2 + FV_ND_SPATIAL) return fv_onnx_refuse(n, "windows have 1 to 3 axes");
    for (int32_t i = 0; i < shape.rank - 2; i++) w.kernel[i] = shape.dim[2 + i];
    if (!global) FV_FORWARD(fv_onnx_whole_list(n, "kernel_shape", (size_t)shape.rank - 2, w.kernel));
    FV_RETURN_IF(!global && !fv_onnx_attribute(n, "kernel_shape"), FV_ERR_FORMAT, "node \"%.100s\" (%.60s): kernel_shape is missing",
                 n->name ? n->name : "", n->op_type);
    FV_FORWARD(window_of(r, n, x, &w));
    pad_alone(r, n, x, &w);
    fv_attributes attr = {.nd = {.kind = largest ? FV_ND_POOL_MAX : name[0] == 'A' ? FV_ND_POOL_AVERAGE : FV_ND_POOL_LP,
                                 .mode = (int32_t)fv_onnx_attribute_int(n, "storage_order", 0), .keep = fv_onnx_attribute_int(n, "ceil_mode", 0) != 0,
                                 .flag = fv_onnx_attribute_int(n, "count_include_pad", 0) != 0}};
    const FvOnnx__Attribute *p = fv_onnx_attribute(n, "p");
    attr.nd.alpha = p && p->has_f ? p->f : (double)fv_onnx_attribute_int(n, "p", 2); /* a float before version 2 */
    fv_nd_window_put(&w, &attr.nd);
    const bool indices = largest && n->n_output > 1 && *n->output[1];
    y[0] = fv_graph_node(r->graph, &fv_op_nd_pool, fv_onnx_node_name(n), &x, 1, indices ? 2 : 1, &attr);
    if (indices && y[0] != FV_NONE) y[1] = y[0] + 1;
    return fv_onnx_done_all(r, n, y, indices ? 2 : 1);
}

/* Indices that the model computes, as a pooling's, are places in the output, as ONNX Runtime has it. The standard does not say what
 * those given from outside count in where output_shape is another size than the window gives: its reference and its suite
 * take the window's size, and so do we. */
static fv_status read_unpool(fv_onnx_reader *r, const FvOnnx__Node *n) {
    const fv_onnx_tensor *sizes = NULL;
    fv_nd_window w = {0};
    fv_value in[2];
    FV_FORWARD(fv_onnx_value(r, n, 0, &in[0]));
    FV_FORWARD(fv_onnx_value(r, n, 1, &in[1]));
    if (n->n_input > 2 && *n->input[2]) FV_FORWARD(fv_onnx_constant(r, n, 2, &sizes));
    const fv_shape shape = *fv_onnx_shape(r, in[0]);
    if (shape.rank < 3 || shape.rank > 2 + FV_ND_SPATIAL) return fv_onnx_refuse(n, "windows have 1 to 3 axes");
    FV_FORWARD(fv_onnx_whole_list(n, "kernel_shape", (size_t)shape.rank - 2, w.kernel));
    FV_FORWARD(window_of(r, n, in[0], &w));
    fv_attributes attr = {.nd = {.count = shape.rank}};
    FV_RETURN_IF(sizes && sizes->count != (size_t)shape.rank, FV_ERR_SHAPE, "node \"%.100s\" (MaxUnpool): %zu sizes for a tensor of rank %d",
                 n->name ? n->name : "", sizes->count, shape.rank);
    for (int32_t i = 0; i < shape.rank; i++) {
        const int32_t k = i - 2;
        attr.nd.b[i] = k < 0 ? shape.dim[i] : (shape.dim[i] - 1) * w.stride[k] + w.kernel[k] - w.before[k] - w.after[k];
        attr.nd.a[i] = sizes ? fv_onnx_tensor_int(sizes, (size_t)i) : attr.nd.b[i];
        if (fv_emit_info(r->graph, in[1])->producer >= 0) attr.nd.b[i] = attr.nd.a[i];
        if (k < 0) continue;
        attr.nd.c[k] = w.kernel[k];
        attr.nd.c[3 + k] = w.stride[k];
        attr.nd.a[5 + k] = w.before[k] + w.after[k];
    }
    return fv_onnx_done(r, n, fv_graph_node(r->graph, &fv_op_nd_unpool, fv_onnx_node_name(n), in, 2, 1, &attr));
}

const fv_onnx_read_row fv_onnx_read_nd_window[] = {
    {"Conv", read_conv},
    {"ConvTranspose", read_conv_transpose},
    {"MaxPool", read_pool},
    {"AveragePool", read_pool},
    {"LpPool", read_pool},
    {"GlobalMaxPool", read_pool},
    {"GlobalAveragePool", read_pool},
    {"GlobalLpPool", read_pool},
    {"MaxUnpool", read_unpool},
    {NULL, NULL},
};
