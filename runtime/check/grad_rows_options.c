/* Options of convolution, fully connected, pooling and losses one by one: every case of a row has the option its name
 * says, where the operators' own rows draw it now and then. The table of tests/spec.csv fills its cells from these. */
#include "check/grad_draw.h"

/* ---- convolution ---- */

typedef void (*conv_option)(fv_grad_draw *d, fv_conv_settings *s);

/* Kernels of 1 to 4 on each axis, a map that they fit by some steps. */
static void build_conv_option(fv_grad_draw *d, conv_option set) {
    fv_conv_settings s;
    fv_conv_settings_default(&s);
    s.kernel[0] = between(d, 1, 4);
    s.kernel[1] = between(d, 1, 4);
    s.out_channels = between(d, 1, 20);
    set(d, &s);
    int64_t shape[4] = {0, s.groups * between(d, 1, 5), 1, 1};
    for (int i = 0; i < 2; i++) shape[2 + i] = s.dilation[i] * (s.kernel[i] - 1) + 1 + between(d, 0, 5);
    fv_grad_output(d, fv_graph_conv(fv_grad_graph(d), fv_grad_input(d, FV_GRAD_UNIFORM, 1, 4, shape), &s, "conv"));
}

static void set_valid(fv_grad_draw *d, fv_conv_settings *s) { (void)d, s->padding = FV_PAD_VALID; }
static void set_true(fv_grad_draw *d, fv_conv_settings *s) {
    s->true_convolution = true;
    s->kernel[between(d, 0, 1)] = between(d, 2, 4);
}
static void set_stride(fv_grad_draw *d, fv_conv_settings *s) {
    for (int i = 0; i < 2; i++) s->stride[i] = between(d, 2, 4);
}
static void set_dilation(fv_grad_draw *d, fv_conv_settings *s) {
    for (int i = 0; i < 2; i++) {
        s->dilation[i] = between(d, 2, 3);
        s->kernel[i] = between(d, 2, 3);
    }
}
static void set_padding(fv_grad_draw *d, fv_conv_settings *s) {
    for (int i = 0; i < 2; i++) {
        s->kernel[i] = between(d, 2, 4);
        s->pad_before[i] = between(d, 0, s->kernel[i] - 1);
        s->pad_after[i] = s->pad_before[i] ? between(d, 0, s->kernel[i] - 1) : between(d, 1, s->kernel[i] - 1);
    }
}
static void set_same_upper(fv_grad_draw *d, fv_conv_settings *s) {
    s->padding = FV_PAD_SAME_UPPER;
    s->kernel[between(d, 0, 1)] = 2 * between(d, 1, 2); /* even: the sides differ */
}
static void set_same_lower(fv_grad_draw *d, fv_conv_settings *s) {
    set_same_upper(d, s);
    s->padding = FV_PAD_SAME_LOWER;
}
static void set_groups(fv_grad_draw *d, fv_conv_settings *s) {
    s->groups = between(d, 2, 4);
    s->out_channels = s->groups * between(d, 1, 5);
}
static void set_rectangle(fv_grad_draw *d, fv_conv_settings *s) {
    const int even = between(d, 0, 1);
    s->kernel[even] = 2 * between(d, 1, 2);
    s->kernel[1 - even] = 2 * between(d, 0, 1) + 1;
}
static void set_no_bias(fv_grad_draw *d, fv_conv_settings *s) { (void)d, s->bias = FV_BIAS_NONE; }
static void set_tied_bias(fv_grad_draw *d, fv_conv_settings *s) { (void)d, s->bias = FV_BIAS_TIED; }

ROW(conv_valid) { build_conv_option(d, set_valid); }
ROW(conv_true) { build_conv_option(d, set_true); }
ROW(conv_stride) { build_conv_option(d, set_stride); }
ROW(conv_dilation) { build_conv_option(d, set_dilation); }
ROW(conv_padding) { build_conv_option(d, set_padding); }
ROW(conv_same_upper) { build_conv_option(d, set_same_upper); }
ROW(conv_same_lower) { build_conv_option(d, set_same_lower); }
ROW(conv_groups) { build_conv_option(d, set_groups); }
ROW(conv_rectangle) { build_conv_option(d, set_rectangle); }
ROW(conv_no_bias) { build_conv_option(d, set_no_bias); }
ROW(conv_tied_bias) { build_conv_option(d, set_tied_bias); }

/* 1-D: maps of one row. */
ROW(conv_line) {
    fv_conv_settings s;
    fv_conv_settings_default(&s);
    s.kernel[0] = 1;
    s.kernel[1] = between(d, 2, 5);
    s.stride[1] = between(d, 1, 3);
    s.pad_before[1] = between(d, 0, s.kernel[1] - 1);
    s.out_channels = between(d, 1, 20);
    const int64_t shape[4] = {0, between(d, 1, 5), 1, s.kernel[1] + between(d, 0, 12)};
    fv_grad_output(d, fv_graph_conv(fv_grad_graph(d), fv_grad_input(d, FV_GRAD_UNIFORM, 1, 4, shape), &s, "conv"));
}

/* ---- transposed convolution ---- */

typedef void (*transposed_option)(fv_grad_draw *d, fv_conv_transpose_settings *s);

static void build_transposed_option(fv_grad_draw *d, transposed_option set) {
    fv_conv_transpose_settings s;
    fv_conv_transpose_settings_default(&s);
    s.out_channels = between(d, 1, 20);
    for (int i = 0; i < 2; i++) s.kernel[i] = between(d, 1, 4);
    set(d, &s);
    const int64_t shape[4] = {0, s.groups * between(d, 1, 5), between(d, 3, 5), between(d, 3, 5)};
    fv_grad_output(d,
                   fv_graph_conv_transpose(fv_grad_graph(d), fv_grad_input(d, FV_GRAD_UNIFORM, 1, 4, shape), &s, "up"));
}

static void up_stride(fv_grad_draw *d, fv_conv_transpose_settings *s) {
    for (int i = 0; i < 2; i++) s->stride[i] = between(d, 2, 4);
}
static void up_padding(fv_grad_draw *d, fv_conv_transpose_settings *s) {
    for (int i = 0; i < 2; i++) {
        s->kernel[i] = between(d, 2, 4);
        s->pad_before[i] = between(d, 0, s->kernel[i] / 2);
        s->pad_after[i] = s->pad_before[i] ? between(d, 0, s->kernel[i] / 2) : 1;
    }
}
static void up_same(fv_grad_draw *d, fv_conv_transpose_settings *s) {
    s->padding = chance(d, 0.5) ? FV_PAD_SAME_UPPER : FV_PAD_SAME_LOWER;
    for (int i = 0; i < 2; i++) {
        s->stride[i] = between(d, 1, 3);
        s->kernel[i] = s->stride[i] + between(d, 0, 2);
    }
}
static void up_dilation(fv_grad_draw *d, fv_conv_transpose_settings *s) {
    for (int i = 0; i < 2; i++) {
        s->dilation[i] = between(d, 2, 3);
        s->kernel[i] = between(d, 2, 3);
    }
}
static void up_output_padding(fv_grad_draw *d, fv_conv_transpose_settings *s) {
    for (int i = 0; i < 2; i++) {
        s->stride[i] = between(d, 2, 4);
        s->output_padding[i] = between(d, 1, s->stride[i] - 1);
    }
}
static void up_groups(fv_grad_draw *d, fv_conv_transpose_settings *s) {
    s->groups = between(d, 2, 4);
    s->out_channels = s->groups * between(d, 1, 5);
}
static void up_no_bias(fv_grad_draw *d, fv_conv_transpose_settings *s) { (void)d, s->bias = false; }
static void up_true(fv_grad_draw *d, fv_conv_transpose_settings *s) {
    s->true_convolution = true;
    s->kernel[between(d, 0, 1)] = between(d, 2, 4);
}

ROW(transposed_stride) { build_transposed_option(d, up_stride); }
ROW(transposed_padding) { build_transposed_option(d, up_padding); }
ROW(transposed_same) { build_transposed_option(d, up_same); }
ROW(transposed_dilation) { build_transposed_option(d, up_dilation); }
ROW(transposed_output_padding) { build_transposed_option(d, up_output_padding); }
ROW(transposed_groups) { build_transposed_option(d, up_groups); }
ROW(transposed_no_bias) { build_transposed_option(d, up_no_bias); }
ROW(transposed_true) { build_transposed_option(d, up_true); }

/* ---- fully connected ---- */

ROW(linear_maps) {
    const fv_value x = maps(d, FV_GRAD_UNIFORM, 12);
    fv_grad_output(d, fv_graph_linear(fv_grad_graph(d), x, between(d, 1, 20), true, FV_INIT_HE, "linear"));
}
ROW(linear_vector) {
    const fv_value x = vector(d, FV_GRAD_UNIFORM, 1, 40);
    fv_grad_output(d, fv_graph_linear(fv_grad_graph(d), x, between(d, 1, 40), chance(d, 0.5), FV_INIT_HE, "linear"));
}

/* ---- pooling ---- */

typedef void (*pool_option)(fv_grad_draw *d, fv_pool_settings *s);

static void build_pool_option(fv_grad_draw *d, fv_pool_kind kind, pool_option set) {
    fv_pool_settings s;
    fv_pool_settings_default(&s);
    s.kind = kind;
    for (int i = 0; i < 2; i++) s.window[i] = s.stride[i] = between(d, 2, 3);
    set(d, &s);
    int64_t shape[4] = {0, between(d, 1, 20), 1, 1};
    for (int i = 0; i < 2; i++) {
        shape[2 + i] = s.dilation[i] * (s.window[i] - 1) + 1 + between(d, 0, 4);
        /* what is left over begins a window of its own */
        if (s.ceil_mode) shape[2 + i] = s.window[i] + s.stride[i] * between(d, 0, 1) + between(d, 1, s.stride[i] - 1);
    }
    const fv_value x = fv_grad_input(d, kind == FV_POOL_MAX ? FV_GRAD_SPACED : FV_GRAD_UNIFORM, 2, 4, shape);
    fv_grad_output(d, fv_graph_pool(fv_grad_graph(d), x, &s, NULL));
}

static void set_apart(fv_grad_draw *d, fv_pool_settings *s) { (void)d, (void)s; }
static void set_overlap(fv_grad_draw *d, fv_pool_settings *s) {
    for (int i = 0; i < 2; i++) s->stride[i] = between(d, 1, s->window[i] - 1);
}
static void set_padded(fv_grad_draw *d, fv_pool_settings *s) {
    for (int i = 0; i < 2; i++) {
        s->pad_before[i] = between(d, 1, s->window[i] - 1);
        s->pad_after[i] = between(d, 0, s->window[i] - 1);
    }
}
static void set_counted(fv_grad_draw *d, fv_pool_settings *s) {
    set_padded(d, s);
    s->count_padding = true;
}
static void set_dilated(fv_grad_draw *d, fv_pool_settings *s) {
    for (int i = 0; i < 2; i++) s->dilation[i] = between(d, 2, 3);
}
static void set_ceil(fv_grad_draw *d, fv_pool_settings *s) { (void)d, s->ceil_mode = true; }
static void set_global(fv_grad_draw *d, fv_pool_settings *s) { (void)d, s->global = true; }

ROW(max_apart) { build_pool_option(d, FV_POOL_MAX, set_apart); }
ROW(max_overlap) { build_pool_option(d, FV_POOL_MAX, set_overlap); }
ROW(max_padded) { build_pool_option(d, FV_POOL_MAX, set_padded); }
ROW(max_dilated) { build_pool_option(d, FV_POOL_MAX, set_dilated); }
ROW(max_ceil) { build_pool_option(d, FV_POOL_MAX, set_ceil); }
ROW(max_global) { build_pool_option(d, FV_POOL_MAX, set_global); }
ROW(average_apart) { build_pool_option(d, FV_POOL_AVERAGE, set_apart); }
ROW(average_overlap) { build_pool_option(d, FV_POOL_AVERAGE, set_overlap); }
ROW(average_padded) { build_pool_option(d, FV_POOL_AVERAGE, set_padded); }
ROW(average_counted) { build_pool_option(d, FV_POOL_AVERAGE, set_counted); }
ROW(average_ceil) { build_pool_option(d, FV_POOL_AVERAGE, set_ceil); }
ROW(average_global) { build_pool_option(d, FV_POOL_AVERAGE, set_global); }

/* ---- architectures ---- */

static fv_value smooth_conv(fv_grad_draw *d, fv_value x, int32_t maps_out, int32_t stride, const char *name) {
    fv_conv_settings s;
    fv_conv_settings_default(&s);
    s.out_channels = maps_out;
    for (int i = 0; i < 2; i++) {
        s.stride[i] = stride;
        s.pad_before[i] = s.pad_after[i] = 1;
    }
    return fv_graph_tanh(fv_grad_graph(d), fv_graph_conv(fv_grad_graph(d), x, &s, name), NULL);
}

static fv_value network_input(fv_grad_draw *d) {
    const int64_t shape[4] = {0, between(d, 1, 3), 2 * between(d, 2, 3), 2 * between(d, 2, 3)};
    return fv_grad_input(d, FV_GRAD_UNIFORM, 1, 4, shape);
}

/* Paths of their own, joined along the maps. */
ROW(multipath) {
    const fv_value x = network_input(d);
    const fv_value paths[2] = {smooth_conv(d, x, 3, 1, "left"),
                               smooth_conv(d, smooth_conv(d, x, 2, 1, "right1"), 4, 1, "right2")};
    fv_grad_output(d, smooth_conv(d, fv_graph_concat(fv_grad_graph(d), paths, 2, 1, NULL), 3, 1, "last"));
}

ROW(encoder_decoder) {
    fv_conv_transpose_settings s;
    fv_conv_transpose_settings_default(&s);
    s.out_channels = between(d, 1, 3);
    for (int i = 0; i < 2; i++) {
        s.kernel[i] = 4;
        s.stride[i] = 2;
        s.pad_before[i] = s.pad_after[i] = 1;
    }
    const fv_value code = smooth_conv(d, smooth_conv(d, network_input(d), 4, 1, "conv"), 6, 2, "down");
    fv_grad_output(d, fv_graph_conv_transpose(fv_grad_graph(d), code, &s, "up"));
}

/* A stride where others pool. */
ROW(all_convolutional) {
    fv_pool_settings pool;
    fv_pool_settings_default(&pool);
    pool.kind = FV_POOL_AVERAGE;
    pool.global = true;
    fv_graph *g = fv_grad_graph(d);
    const fv_value x = smooth_conv(d, smooth_conv(d, network_input(d), 4, 2, "conv1"), 5, 1, "conv2");
    fv_grad_loss(d, fv_graph_flatten(g, fv_graph_pool(g, x, &pool, NULL), NULL), FV_LOSS_CROSS_ENTROPY,
                 FV_REDUCTION_MEAN, 0);
}

/* ---- losses ---- */

ROW(entropy_mean) { fv_grad_loss(d, vector(d, FV_GRAD_UNIFORM, 2, 40), FV_LOSS_CROSS_ENTROPY, FV_REDUCTION_MEAN, 0); }
ROW(entropy_sum) { fv_grad_loss(d, vector(d, FV_GRAD_UNIFORM, 2, 40), FV_LOSS_CROSS_ENTROPY, FV_REDUCTION_SUM, 0); }
ROW(entropy_smoothed) {
    const fv_value x = vector(d, FV_GRAD_UNIFORM, 2, 40);
    fv_grad_loss(d, x, FV_LOSS_CROSS_ENTROPY, FV_REDUCTION_MEAN, check_uniform(fv_grad_random(d), 0.01f, 0.5f));
}
ROW(squared_mean) { fv_grad_loss(d, vector(d, FV_GRAD_UNIFORM, 1, 40), FV_LOSS_SQUARED_ERROR, FV_REDUCTION_MEAN, 0); }
ROW(squared_sum) { fv_grad_loss(d, vector(d, FV_GRAD_UNIFORM, 1, 40), FV_LOSS_SQUARED_ERROR, FV_REDUCTION_SUM, 0); }
ROW(squared_maps) {
    fv_grad_loss(d, fv_graph_tanh(fv_grad_graph(d), maps(d, FV_GRAD_UNIFORM, 6), NULL), FV_LOSS_SQUARED_ERROR,
                 FV_REDUCTION_MEAN, 0);
}

const fv_grad_row fv_grad_rows_options[] = {
    {"conv.valid", build_conv_valid},
    {"conv.true", build_conv_true},
    {"conv.stride", build_conv_stride},
    {"conv.dilation", build_conv_dilation},
    {"conv.padding", build_conv_padding},
    {"conv.same_upper", build_conv_same_upper},
    {"conv.same_lower", build_conv_same_lower},
    {"conv.groups", build_conv_groups},
    {"conv.rectangle", build_conv_rectangle},
    {"conv.no_bias", build_conv_no_bias},
    {"conv.tied_bias", build_conv_tied_bias},
    {"conv.line", build_conv_line},
    {"conv_transpose.stride", build_transposed_stride},
    {"conv_transpose.padding", build_transposed_padding},
    {"conv_transpose.same", build_transposed_same},
    {"conv_transpose.dilation", build_transposed_dilation},
    {"conv_transpose.output_padding", build_transposed_output_padding},
    {"conv_transpose.groups", build_transposed_groups},
    {"conv_transpose.no_bias", build_transposed_no_bias},
    {"conv_transpose.true", build_transposed_true},
    {"linear.maps", build_linear_maps},
    {"linear.vector", build_linear_vector},
    {"pool.max.apart", build_max_apart},
    {"pool.max.overlap", build_max_overlap},
    {"pool.max.padded", build_max_padded},
    {"pool.max.dilated", build_max_dilated},
    {"pool.max.ceil", build_max_ceil},
    {"pool.max.global", build_max_global},
    {"pool.average.apart", build_average_apart},
    {"pool.average.overlap", build_average_overlap},
    {"pool.average.padded", build_average_padded},
    {"pool.average.counted", build_average_counted},
    {"pool.average.ceil", build_average_ceil},
    {"pool.average.global", build_average_global},
    {"graph.multipath", build_multipath},
    {"graph.encoder_decoder", build_encoder_decoder},
    {"graph.all_convolutional", build_all_convolutional},
    {"loss.cross_entropy.mean", build_entropy_mean},
    {"loss.cross_entropy.sum", build_entropy_sum},
    {"loss.cross_entropy.smoothed", build_entropy_smoothed},
    {"loss.squared_error.mean", build_squared_mean},
    {"loss.squared_error.sum", build_squared_sum},
    {"loss.squared_error.maps", build_squared_maps},
    {NULL, NULL},
};
