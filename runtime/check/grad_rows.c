/* Convolution, pooling, element-wise layers, losses, networks: each row draws geometry and builds a small graph around
 * its operator. */
#include "check/grad_draw.h"

/* ---- convolution, fully connected ---- */

/* A size that `window`, less its padding, fits by a few steps. */
static int32_t axis_size(fv_grad_draw *d, int32_t window) { return (window > 1 ? window : 1) + between(d, 0, 5); }

/* Some tap of some position along the axis reads the input, not padding: else no weight has a gradient. */
static bool reads_input(const fv_conv_settings *s, int i, int64_t size) {
    const int64_t last = size + s->pad_before[i] + s->pad_after[i] - s->dilation[i] * (s->kernel[i] - 1) - 1;
    for (int64_t at = 0; at <= last; at += s->stride[i])
        for (int32_t k = 0; k < s->kernel[i]; k++) {
            const int64_t from = at + k * s->dilation[i] - s->pad_before[i];
            if (from >= 0 && from < size) return true;
        }
    return false;
}

static int64_t draw_axis(fv_grad_draw *d, fv_conv_settings *s, int i, bool whole_map) {
    int64_t size;
    do {
        s->kernel[i] = chance(d, 0.2) ? 1 : between(d, 1, 4);
        s->stride[i] = chance(d, 0.5) ? 1 : between(d, 2, 3);
        s->dilation[i] = chance(d, 0.7) ? 1 : between(d, 2, 3);
        s->pad_before[i] = chance(d, 0.4) ? 0 : between(d, 0, s->kernel[i]);
        s->pad_after[i] = chance(d, 0.4) ? 0 : between(d, 0, s->kernel[i]);
        if (s->padding != FV_PAD_EXPLICIT) s->pad_before[i] = s->pad_after[i] = 0;
        size = axis_size(d, s->dilation[i] * (s->kernel[i] - 1) + 1 - s->pad_before[i] - s->pad_after[i]);
        if (whole_map) {
            s->dilation[i] = 1;
            s->pad_before[i] = 0;
            size = s->kernel[i];
        }
    } while (!reads_input(s, i, size));
    return size;
}

static void draw_conv(fv_grad_draw *d, fv_conv_settings *s, int64_t shape[4]) {
    fv_conv_settings_default(s);
    s->groups = chance(d, 0.7) ? 1 : between(d, 2, 4);
    const int32_t in = chance(d, 0.1) ? 1 : between(d, 1, s->groups > 1 ? 3 : 9);
    s->out_channels = s->groups * (s->groups > 1 ? between(d, 1, 4) : between(d, 1, 20));
    s->padding = chance(d, 0.7) ? FV_PAD_EXPLICIT : (fv_padding)between(d, FV_PAD_VALID, FV_PAD_SAME_LOWER);
    s->bias = chance(d, 0.7);
    s->true_convolution = chance(d, 0.3);
    shape[0] = 0;
    shape[1] = s->groups * in;
    const bool whole_map = chance(d, 0.1); /* a kernel as large as its input, with padding after it or none */
    for (int i = 0; i < 2; i++) shape[2 + i] = draw_axis(d, s, i, whole_map);
}

static fv_value draw_conv_layer(fv_grad_draw *d) {
    fv_conv_settings s;
    int64_t shape[4];
    draw_conv(d, &s, shape);
    return fv_graph_conv(fv_grad_graph(d), fv_grad_input(d, FV_GRAD_UNIFORM, 1, 4, shape), &s, "conv");
}

ROW(conv) { fv_grad_output(d, draw_conv_layer(d)); }

ROW(depthwise) {
    fv_conv_settings s;
    int64_t shape[4];
    draw_conv(d, &s, shape);
    shape[1] = between(d, 2, 20);
    s.groups = (int32_t)shape[1];
    s.out_channels = s.groups * between(d, 1, 2);
    fv_grad_output(d, fv_graph_conv(fv_grad_graph(d), fv_grad_input(d, FV_GRAD_UNIFORM, 1, 4, shape), &s, "conv"));
}

ROW(conv_clamp) {
    fv_graph *g = fv_grad_graph(d);
    const fv_value y = draw_conv_layer(d);
    fv_grad_output(d, chance(d, 0.5) ? fv_graph_relu(g, y, NULL)
                                     : fv_graph_clip(g, y, chance(d, 0.5) ? 0 : -0.5f, 0.75f, NULL));
}

/* The add is fused into the product in half of the cases, a clamp after it too. */
ROW(residual) {
    fv_graph *g = fv_grad_graph(d);
    fv_conv_settings s;
    fv_conv_settings_default(&s);
    const bool linear = chance(d, 0.3);
    const fv_value x = linear ? vector(d, FV_GRAD_UNIFORM, 1, 20) : maps(d, FV_GRAD_UNIFORM, 20);
    const int64_t channels = between(d, 1, 20);
    fv_value y[2];
    for (int i = 0; i < 2; i++) {
        const char *name = i ? "second" : "first";
        s.out_channels = (int32_t)channels;
        s.kernel[0] = s.kernel[1] = i ? 3 : 1;
        s.padding = FV_PAD_SAME_UPPER;
        y[i] =
            linear ? fv_graph_linear(g, x, (int32_t)channels, true, FV_INIT_HE, name) : fv_graph_conv(g, x, &s, name);
    }
    if (chance(d, 0.5)) fv_grad_fuse_residual(d);
    const fv_value sum = chance(d, 0.5) ? fv_graph_add(g, y[0], y[1], NULL) : fv_graph_add(g, y[1], y[0], NULL);
    fv_grad_output(d, chance(d, 0.5) ? fv_graph_relu(g, sum, NULL) : sum);
}

/* A clamp or none, then max pooling whose windows lie apart: the gradients go through the places of the largest. */
ROW(conv_pooled) {
    fv_graph *g = fv_grad_graph(d);
    fv_conv_settings s;
    fv_pool_settings pool;
    int64_t shape[4];
    do {
        draw_conv(d, &s, shape);
    } while (s.groups != 1 || s.dilation[1] != 1);
    fv_pool_settings_default(&pool);
    for (int i = 0; i < 2; i++) {
        pool.window[i] = pool.stride[i] = between(d, 1, 3);
        shape[2 + i] +=
            s.stride[i] * (pool.window[i] + between(d, 0, 2)); /* a window or more, and something left over */
    }
    fv_value y = fv_graph_conv(g, fv_grad_input(d, FV_GRAD_UNIFORM, 1, 4, shape), &s, "conv");
    if (chance(d, 0.7)) y = chance(d, 0.6) ? fv_graph_relu(g, y, NULL) : fv_graph_clip(g, y, -0.5f, 0.75f, NULL);
    fv_grad_output(d, fv_graph_pool(g, y, &pool, NULL));
}

static fv_value draw_linear(fv_grad_draw *d, fv_value x) {
    return fv_graph_linear(fv_grad_graph(d), x, between(d, 1, 40), chance(d, 0.7), FV_INIT_HE, "linear");
}

ROW(linear) { fv_grad_output(d, draw_linear(d, maps_or_vector(d, FV_GRAD_UNIFORM))); }

ROW(flatten_linear) {
    fv_graph *g = fv_grad_graph(d);
    const fv_value y = draw_linear(d, fv_graph_flatten(g, maps(d, FV_GRAD_UNIFORM, 12), NULL));
    fv_grad_output(d, chance(d, 0.5) ? fv_graph_relu(g, y, NULL) : y);
}

ROW(flatten) { fv_grad_output(d, fv_graph_flatten(fv_grad_graph(d), maps(d, FV_GRAD_UNIFORM, 20), NULL)); }

/* ---- pooling ---- */

static void build_pool(fv_grad_draw *d, fv_pool_kind kind) {
    fv_pool_settings s;
    fv_pool_settings_default(&s);
    int64_t shape[4] = {0, between(d, 1, 20), 1, 1};
    s.kind = kind;
    s.global = chance(d, 0.1);
    s.ceil_mode = chance(d, 0.4);
    s.count_padding = chance(d, 0.5);
    s.padding = chance(d, 0.7) ? FV_PAD_EXPLICIT : (fv_padding)between(d, FV_PAD_VALID, FV_PAD_SAME_LOWER);
    for (int i = 0; i < 2; i++) {
        s.window[i] = between(d, 1, 3);
        s.stride[i] = between(d, 1, 3);
        s.dilation[i] = kind == FV_POOL_AVERAGE || chance(d, 0.7) ? 1 : 2;
        if (chance(d, 0.5)) s.pad_before[i] = between(d, 0, s.window[i] - 1);
        if (chance(d, 0.5)) s.pad_after[i] = between(d, 0, s.window[i] - 1);
        shape[2 + i] = axis_size(d, s.dilation[i] * (s.window[i] - 1) + 1); /* every window holds something */
    }
    const fv_value x = fv_grad_input(d, kind == FV_POOL_MAX ? FV_GRAD_SPACED : FV_GRAD_UNIFORM, 2, 4, shape);
    fv_grad_output(d, fv_graph_pool(fv_grad_graph(d), x, &s, NULL));
}

ROW(pool_max) { build_pool(d, FV_POOL_MAX); }
ROW(pool_average) { build_pool(d, FV_POOL_AVERAGE); }

/* ---- element-wise ---- */

ROW(relu) { fv_grad_output(d, fv_graph_relu(fv_grad_graph(d), maps_or_vector(d, FV_GRAD_SPACED), NULL)); }
ROW(sigmoid) { fv_grad_output(d, fv_graph_sigmoid(fv_grad_graph(d), maps_or_vector(d, FV_GRAD_UNIFORM), NULL)); }
ROW(tanh) { fv_grad_output(d, fv_graph_tanh(fv_grad_graph(d), maps_or_vector(d, FV_GRAD_UNIFORM), NULL)); }
ROW(exp) { fv_grad_output(d, fv_graph_exp(fv_grad_graph(d), maps_or_vector(d, FV_GRAD_UNIFORM), NULL)); }

ROW(clip) {
    const fv_value x = maps_or_vector(d, FV_GRAD_SPACED);
    const float low = check_uniform(fv_grad_random(d), -1.5f, -0.25f);
    fv_grad_output(d, fv_graph_clip(fv_grad_graph(d), x, low, low + check_uniform(fv_grad_random(d), 1, 2.5f), NULL));
}

ROW(scale) {
    const fv_value x = maps_or_vector(d, FV_GRAD_UNIFORM);
    const float a = check_uniform(fv_grad_random(d), 0.5f, 2) * (chance(d, 0.5) ? 1 : -1);
    fv_grad_output(d, fv_graph_scale(fv_grad_graph(d), x, a, check_uniform(fv_grad_random(d), -1, 1), NULL));
}

typedef fv_value (*binary_fn)(fv_graph *g, fv_value a, fv_value b, const char *name);

static void build_binary(fv_grad_draw *d, binary_fn binary) {
    int64_t shape[4] = {0, between(d, 1, 20), between(d, 1, 5), between(d, 1, 5)};
    const int32_t rank = chance(d, 0.5) ? 4 : 2;
    const fv_value a = fv_grad_input(d, FV_GRAD_UNIFORM, 2, rank, shape);
    const fv_value b = chance(d, 0.2) ? a : fv_grad_input(d, FV_GRAD_UNIFORM, 2, rank, shape);
    /* a - a has no gradient at all: the second use is scaled */
    fv_graph *g = fv_grad_graph(d);
    fv_grad_output(d, binary(g, a, a == b ? fv_graph_scale(g, b, 0.5f, 0.25f, NULL) : b, NULL));
}

ROW(add) { build_binary(d, fv_graph_add); }
ROW(subtract) { build_binary(d, fv_graph_subtract); }
ROW(multiply) { build_binary(d, fv_graph_multiply); }

ROW(gain) { fv_grad_output(d, fv_graph_gain(fv_grad_graph(d), maps_or_vector(d, FV_GRAD_UNIFORM), true, "gain")); }

ROW(dropout) {
    fv_graph *g = fv_grad_graph(d);
    fv_value x = maps_or_vector(d, FV_GRAD_UNIFORM);
    const int32_t count = between(d, 1, 2); /* the second one has a mask of its own */
    for (int32_t i = 0; i < count; i++) x = fv_graph_dropout(g, x, check_uniform(fv_grad_random(d), 0, 0.6f), NULL);
    fv_grad_output(d, x);
}

/* ---- rows and losses ---- */

ROW(softmax) { fv_grad_output(d, fv_graph_softmax(fv_grad_graph(d), vector(d, FV_GRAD_UNIFORM, 2, 40), NULL)); }

static fv_reduction draw_reduction(fv_grad_draw *d) { return chance(d, 0.5) ? FV_REDUCTION_MEAN : FV_REDUCTION_SUM; }
static float draw_smoothing(fv_grad_draw *d) {
    return chance(d, 0.5) ? 0 : check_uniform(fv_grad_random(d), 0.01f, 0.5f);
}

ROW(cross_entropy) {
    const fv_value x = vector(d, FV_GRAD_UNIFORM, 2, 40);
    const fv_reduction reduction = draw_reduction(d);
    fv_grad_loss(d, x, FV_LOSS_CROSS_ENTROPY, reduction, draw_smoothing(d));
}

ROW(squared_error) {
    const fv_value x = vector(d, FV_GRAD_UNIFORM, 1, 40);
    fv_grad_loss(d, x, FV_LOSS_SQUARED_ERROR, draw_reduction(d), 0);
}

/* ---- graphs ---- */

/* One value read by several nodes: its gradients are added. No product of it with its own sigmoid, which a file's
 * reader takes for SiLU. */
ROW(used_twice) {
    fv_graph *g = fv_grad_graph(d);
    const fv_value x = fv_graph_tanh(g, maps_or_vector(d, FV_GRAD_UNIFORM), NULL);
    const fv_value y = fv_graph_multiply(g, fv_graph_exp(g, x, NULL), x, NULL);
    fv_grad_output(d, fv_graph_add(g, y, x, NULL));
    if (chance(d, 0.5)) fv_grad_output(d, fv_graph_sigmoid(g, x, NULL));
}

/* One weight, two convolutions. */
ROW(shared_weight) {
    fv_graph *g = fv_grad_graph(d);
    fv_conv_settings s;
    fv_conv_settings_default(&s);
    s.padding = FV_PAD_SAME_UPPER;
    const int64_t channels = between(d, 1, 18), weight[4] = {channels, channels, between(d, 1, 3), between(d, 1, 3)};
    const int64_t shape[4] = {0, channels, between(d, 1, 5), between(d, 1, 5)};
    const fv_value w = fv_graph_parameter(g, "w", 4, weight, NULL, FV_INIT_HE, true);
    const fv_value b = fv_graph_parameter(g, "b", 1, &channels, NULL, FV_INIT_ZEROS, true);
    const fv_value x = fv_graph_conv_with(g, fv_grad_input(d, FV_GRAD_UNIFORM, 1, 4, shape), w, b, &s, "first");
    fv_grad_output(d, fv_graph_conv_with(g, fv_graph_tanh(g, x, NULL), w, b, &s, "second"));
}

static fv_value conv_layer(fv_grad_draw *d, fv_value x, int32_t maps_out, int32_t kernel, int32_t pad,
                           const char *name) {
    fv_conv_settings s;
    fv_conv_settings_default(&s);
    s.out_channels = maps_out;
    s.true_convolution = chance(d, 0.2);
    for (int i = 0; i < 2; i++) {
        s.kernel[i] = kernel;
        s.pad_before[i] = s.pad_after[i] = pad;
    }
    return fv_graph_conv(fv_grad_graph(d), x, &s, name);
}

static void end_network(fv_grad_draw *d, fv_value y) {
    const bool cross_entropy = chance(d, 0.7);
    const fv_reduction reduction = draw_reduction(d);
    fv_grad_loss(d, y, cross_entropy ? FV_LOSS_CROSS_ENTROPY : FV_LOSS_SQUARED_ERROR, reduction,
                 cross_entropy ? draw_smoothing(d) : 0);
}

/* LeNet-5 at 8x8 with few maps. */
ROW(lenet) {
    fv_graph *g = fv_grad_graph(d);
    fv_pool_settings pool;
    fv_pool_settings_default(&pool);
    const int64_t shape[4] = {0, between(d, 1, 2), 8, 8};
    fv_value x = fv_grad_input(d, FV_GRAD_UNIFORM, 1, 4, shape);
    x = fv_graph_relu(g, conv_layer(d, x, 3, 3, 1, "conv1"), NULL);
    x = fv_graph_pool(g, x, &pool, NULL);
    pool.kind = chance(d, 0.5) ? FV_POOL_MAX : FV_POOL_AVERAGE;
    x = fv_graph_relu(g, conv_layer(d, x, 4, 3, 0, "conv2"), NULL);
    x = fv_graph_pool(g, x, &pool, NULL);
    x = fv_graph_relu(g, fv_graph_linear(g, x, 7, true, FV_INIT_HE, "fc1"), NULL);
    if (chance(d, 0.3)) x = fv_graph_dropout(g, x, 0.3f, NULL);
    end_network(d, fv_graph_linear(g, x, 5, true, FV_INIT_LECUN, "fc2"));
}

/* A block with a skip, gains and a global average, smooth throughout. */
ROW(residual_network) {
    fv_graph *g = fv_grad_graph(d);
    fv_pool_settings pool;
    fv_pool_settings_default(&pool);
    pool.kind = FV_POOL_AVERAGE;
    pool.global = true;
    const int64_t shape[4] = {0, 2, between(d, 3, 6), between(d, 3, 6)};
    const fv_value x =
        fv_graph_tanh(g, conv_layer(d, fv_grad_input(d, FV_GRAD_UNIFORM, 1, 4, shape), 4, 3, 1, "conv1"), NULL);
    const fv_value y = fv_graph_gain(g, fv_graph_sigmoid(g, conv_layer(d, x, 4, 3, 1, "conv2"), NULL), true, "gain");
    const fv_value z = fv_graph_pool(g, fv_graph_add(g, x, y, NULL), &pool, NULL);
    end_network(d, fv_graph_linear(g, fv_graph_flatten(g, z, NULL), 4, true, FV_INIT_LECUN, "fc"));
}

const fv_grad_row fv_grad_rows_layers[] = {
    {"conv", build_conv},
    {"conv.depthwise", build_depthwise},
    {"conv.clamp", build_conv_clamp},
    {"conv.residual", build_residual},
    {"conv.pooled", build_conv_pooled},
    {"linear", build_linear},
    {"linear.flatten", build_flatten_linear},
    {"flatten", build_flatten},
    {"pool.max", build_pool_max},
    {"pool.average", build_pool_average},
    {"unary.relu", build_relu},
    {"unary.sigmoid", build_sigmoid},
    {"unary.tanh", build_tanh},
    {"unary.exp", build_exp},
    {"unary.clip", build_clip},
    {"unary.scale", build_scale},
    {"binary.add", build_add},
    {"binary.subtract", build_subtract},
    {"binary.multiply", build_multiply},
    {"gain", build_gain},
    {"dropout", build_dropout},
    {"softmax", build_softmax},
    {"loss.cross_entropy", build_cross_entropy},
    {"loss.squared_error", build_squared_error},
    {"graph.used_twice", build_used_twice},
    {"graph.shared_weight", build_shared_weight},
    {"graph.lenet", build_lenet},
    {"graph.residual", build_residual_network},
    {NULL, NULL},
};
