/* Depthwise and transposed convolution: random geometry against nested loops in double, PyTorch's values and gradients, threads,
 * errors, ONNX both ways. */
#include "onnx_files.h"

#include <math.h>

enum { MOST = 1 << 15 };

static uint32_t state = 7;
static int32_t between(int32_t low, int32_t high) {
    return low + (int32_t)((draw_u32(&state) >> 8) % (uint32_t)(high - low + 1));
}
static bool chance(int32_t percent) { return between(0, 99) < percent; }

/* ---- one layer: its settings are a transposed convolution's, those of a convolution a part of them ---- */

typedef struct layer {
    fv_conv_transpose_settings s;
    bool transposed, depthwise;
    int32_t relu; /* 1: relu after it, 2: clip to -0.5 .. 0.5 */
    int64_t in[4], out[4];
} layer;

static fv_value build(fv_graph *g, fv_value x, const layer *l) {
    fv_value y;
    if (l->transposed) {
        y = fv_graph_conv_transpose(g, x, &l->s, "layer");
    } else {
        fv_conv_settings s;
        fv_conv_settings_default(&s);
        s.out_channels = l->s.out_channels;
        s.groups = l->s.groups;
        s.padding = l->s.padding;
        s.bias = l->s.bias;
        s.true_convolution = l->s.true_convolution;
        for (int i = 0; i < 2; i++) {
            s.kernel[i] = l->s.kernel[i];
            s.stride[i] = l->s.stride[i];
            s.dilation[i] = l->s.dilation[i];
            s.pad_before[i] = l->s.pad_before[i];
            s.pad_after[i] = l->s.pad_after[i];
        }
        y = fv_graph_conv(g, x, &s, "layer");
    }
    return l->relu == 0 ? y : l->relu == 1 ? fv_graph_relu(g, y, NULL) : fv_graph_clip(g, y, -0.5f, 0.5f, NULL);
}

static fv_model *model_with(fv_context *c, const layer *l) {
    fv_graph *g = NULL;
    fv_model *m = NULL;
    const int64_t shape[4] = {0, l->in[1], l->in[2], l->in[3]};
    ok(fv_graph_create(c, &g));
    fv_graph_output(g, build(g, fv_graph_input(g, "x", 4, shape), l), "y");
    ok(fv_graph_status(g));
    ok(fv_model_create(g, 5, &m));
    fv_graph_free(g);
    return m;
}

/* y; sets l->out. */
static const float *run_layer(const fv_model *m, layer *l, float *x, fv_layout input_layout, float *y) {
    fv_session_settings settings;
    fv_session *s = NULL;
    fv_tensor in = maps(x, l->in[0], l->in[1], l->in[2], l->in[3]), out;
    size_t count;
    fv_session_settings_default(&settings);
    settings.batch = l->in[0];
    settings.input_layout = in.layout = input_layout;
    ok(fv_session_create(m, &settings, &s));
    ok(fv_model_output(m, 0, NULL, &out));
    out.shape[0] = l->in[0];
    out.data = y;
    ok(fv_tensor_count(&out, &count));
    ck_assert_uint_le(count, MOST);
    memcpy(l->out, out.shape, sizeof l->out);
    ok(fv_session_run(s, &in, 1, &out, 1));
    fv_session_free(s);
    return y;
}

/* ---- the definition: every pair of an input and an output value that a weight joins ---- */

/* Sums, before bias and clamp. The transposed layer's small side is its input. */
static void define(const layer *l, const float *x, const float *weight, double *y) {
    const int64_t *small = l->transposed ? l->in : l->out, *large = l->transposed ? l->out : l->in;
    const int64_t g = l->s.groups, ks = small[1] / g, kl = large[1] / g, kh = l->s.kernel[0], kw = l->s.kernel[1];
    for (int64_t i = 0; i < l->out[0] * l->out[1] * l->out[2] * l->out[3]; i++) y[i] = 0;
    for (int64_t n = 0; n < small[0]; n++)
        for (int64_t c = 0; c < small[1]; c++)
            for (int64_t k = 0; k < kl; k++)
                for (int64_t at = 0; at < small[2] * small[3] * kh * kw; at++) {
                    const int64_t v = at % kw, u = at / kw % kh, sx = at / kw / kh % small[3], sy = at / kw / kh / small[3];
                    const int64_t ly = sy * l->s.stride[0] + u * l->s.dilation[0] - l->s.pad_before[0];
                    const int64_t lx = sx * l->s.stride[1] + v * l->s.dilation[1] - l->s.pad_before[1];
                    if (ly < 0 || ly >= large[2] || lx < 0 || lx >= large[3]) continue;
                    const int64_t t = l->s.true_convolution ? kh * kw - 1 - (u * kw + v) : u * kw + v;
                    const double w = (double)weight[(c * kl + k) * kh * kw + t];
                    const int64_t is = ((n * small[1] + c) * small[2] + sy) * small[3] + sx;
                    const int64_t il = ((n * large[1] + c / ks * kl + k) * large[2] + ly) * large[3] + lx;
                    if (l->transposed)
                        y[il] += w * (double)x[is];
                    else
                        y[is] += w * (double)x[il];
                }
}

static void draw_layer(layer *l, bool transposed, bool depthwise) {
    *l = (layer){.transposed = transposed, .depthwise = depthwise, .relu = between(0, 2)};
    fv_conv_transpose_settings *s = &l->s;
    fv_conv_transpose_settings_default(s);
    s->groups = chance(50) ? 1 : between(2, 4);
    l->in[0] = between(1, 2);
    l->in[1] = s->groups * between(1, 5);
    s->out_channels = s->groups * between(1, 9);
    if (depthwise) l->in[1] = s->groups = s->out_channels = between(2, 40);
    s->bias = chance(70);
    s->true_convolution = chance(30);
    const bool same = chance(20);
    const int32_t usual = chance(60) ? between(3, 5) : 0;
    for (int i = 0; i < 2; i++) {
        s->kernel[i] = usual ? usual : between(1, 5);
        s->stride[i] = between(1, 3);
        s->dilation[i] = usual || same ? 1 : between(1, 3);
        const int32_t extent = s->dilation[i] * (s->kernel[i] - 1) + 1,
                      larger = s->stride[i] > s->dilation[i] ? s->stride[i] : s->dilation[i];
        l->in[2 + i] = transposed ? between(1, 6) : extent + between(0, 9);
        if (same && !transposed) continue;
        if (same) {
            s->kernel[i] = s->stride[i] + between(0, 2);
            continue;
        }
        s->output_padding[i] = transposed ? between(0, larger - 1) : 0;
        s->pad_before[i] = between(0, (extent - 1) / 2);
        s->pad_after[i] = between(0, (extent - 1) / 2);
    }
    if (same) s->padding = chance(50) ? FV_PAD_SAME_UPPER : FV_PAD_SAME_LOWER;
}

/* What SAME stands for, written out for the definition. */
static void resolve_same(layer *l) {
    if (l->s.padding == FV_PAD_EXPLICIT) return;
    for (int i = 0; i < 2; i++) {
        const int64_t small = l->transposed ? l->in[2 + i] : l->out[2 + i], large = l->transposed ? l->out[2 + i] : l->in[2 + i];
        const int64_t over = (small - 1) * l->s.stride[i] + l->s.dilation[i] * (l->s.kernel[i] - 1) + 1 - large;
        const int32_t total = over > 0 ? (int32_t)over : 0;
        if (l->transposed) ck_assert_int_eq(large, small * l->s.stride[i]);
        l->s.pad_before[i] = l->s.padding == FV_PAD_SAME_UPPER ? total / 2 : total - total / 2;
        l->s.pad_after[i] = total - l->s.pad_before[i];
    }
}

static void check_layer(layer *l) {
    static float x[MOST], turned[MOST], y[MOST], again[MOST];
    static double want[MOST];
    fv_tensor weight, bias = {0};
    fv_model *m = model_with(context, l);
    const size_t count = (size_t)(l->in[0] * l->in[1] * l->in[2] * l->in[3]), pixels = (size_t)(l->in[2] * l->in[3]);
    ck_assert_uint_le(count, MOST);
    draw_all(x, count, (uint32_t)count);
    run_layer(m, l, x, FV_PLAIN, y);
    for (size_t i = 0; i < count; i++) {
        const size_t c = i / pixels % (size_t)l->in[1], n = i / pixels / (size_t)l->in[1];
        turned[(n * pixels + i % pixels) * (size_t)l->in[1] + c] = x[i];
    }
    run_layer(m, l, turned, FV_NHWC, again);
    resolve_same(l);
    for (int i = 0; i < 2; i++)
        if (l->transposed) /* SPEC section 2's size */
            ck_assert_int_eq(l->out[2 + i], (l->in[2 + i] - 1) * l->s.stride[i] - l->s.pad_before[i] - l->s.pad_after[i] +
                                                l->s.dilation[i] * (l->s.kernel[i] - 1) + 1 + l->s.output_padding[i]);
    ok(fv_model_parameter(m, 0, NULL, &weight, NULL));
    if (l->s.bias) ok(fv_model_parameter(m, 1, NULL, &bias, NULL));
    define(l, x, weight.data, want);
    const size_t outputs = (size_t)(l->out[0] * l->out[1] * l->out[2] * l->out[3]), map = (size_t)(l->out[2] * l->out[3]);
    ck_assert_mem_eq(y, again, outputs * sizeof *y);
    for (size_t i = 0; i < outputs; i++) {
        double value = want[i] + (bias.data ? (double)((const float *)bias.data)[i / map % (size_t)l->out[1]] : 0);
        if (l->relu == 1) value = fmax(value, 0);
        if (l->relu == 2) value = fmin(fmax(value, -0.5), 0.5);
        ck_assert_msg(fabs((double)y[i] - value) <= 2e-5 * (1 + fabs(value)),
                      "y[%zu] is %.9g, wanted %.9g; transposed %d groups %d", i, (double)y[i], value, l->transposed, l->s.groups);
    }
    fv_model_free(m);
}

START_TEST(definition) {
    layer l;
    enter();
    for (int i = 0; i < 240; i++) {
        draw_layer(&l, i % 3 != 0, i % 2 == 0);
        check_layer(&l);
    }
    leave();
}
END_TEST

/* ---- PyTorch's values (tests/golden/conv_transpose.py) ---- */

typedef struct golden {
    const char *name;
    layer l;
} golden;

#define GOLDEN(file, t, n, c, h, w, k, g, kh, kw, sy, sx, dy, dx, py, px, oy, ox)                                                \
    {                                                                                                                            \
        file, {                                                                                                                  \
            .transposed = t, .in = {n, c, h, w}, .s = {                                                                          \
                .out_channels = k,                                                                                               \
                .kernel = {kh, kw},                                                                                              \
                .stride = {sy, sx},                                                                                              \
                .dilation = {dy, dx},                                                                                            \
                .pad_before = {py, px},                                                                                          \
                .pad_after = {py, px},                                                                                           \
                .output_padding = {oy, ox},                                                                                      \
                .groups = g,                                                                                                     \
                .bias = true                                                                                                     \
            }                                                                                                                    \
        }                                                                                                                        \
    }

static const golden goldens[] = {
    GOLDEN("transposed", true, 2, 4, 3, 4, 6, 2, 3, 4, 2, 3, 2, 1, 1, 2, 1, 2),
    GOLDEN("transposed_depthwise", true, 2, 5, 4, 3, 5, 5, 4, 3, 2, 2, 1, 1, 1, 1, 0, 1),
    GOLDEN("depthwise_3x3_s2", false, 1, 9, 7, 6, 9, 9, 3, 3, 2, 2, 1, 1, 1, 1, 0, 0),
    GOLDEN("depthwise_5x5", false, 1, 9, 6, 5, 9, 9, 5, 5, 1, 1, 1, 1, 2, 2, 0, 0),
    GOLDEN("depthwise_multiplier", false, 2, 3, 5, 4, 6, 3, 3, 2, 1, 2, 2, 1, 2, 0, 0, 0),
};

static void near_all(const char *what, const float *got, const float *want, size_t n, double tolerance) {
    for (size_t i = 0; i < n; i++)
        ck_assert_msg(fabs((double)got[i] - (double)want[i]) <= tolerance, "%s[%zu] is %.9g, PyTorch has %.9g", what, i,
                      (double)got[i], (double)want[i]);
}

/* first (C,C,1,1) -> the layer with its weight and bias -> y, flattened for training. */
static fv_model *golden_model(const golden *c, const float *first, const float *weight, const float *bias, bool flat) {
    const layer *l = &c->l;
    fv_graph *g = NULL;
    fv_model *m = NULL;
    const int64_t shape[4] = {0, l->in[1], l->in[2], l->in[3]}, square[4] = {l->in[1], l->in[1], 1, 1},
                  maps_out = l->s.out_channels;
    const int64_t of_weight[4] = {l->transposed ? l->in[1] : maps_out, (l->transposed ? maps_out : l->in[1]) / l->s.groups,
                                  l->s.kernel[0], l->s.kernel[1]};
    fv_conv_settings plain;
    ok(fv_graph_create(context, &g));
    fv_conv_settings_default(&plain);
    fv_value x = fv_graph_input(g, "x", 4, shape);
    x = fv_graph_conv_with(g, x, fv_graph_parameter(g, "first", 4, square, first, FV_INIT_ZEROS, true), FV_NONE, &plain, "first");
    const fv_value w = fv_graph_parameter(g, "weight", 4, of_weight, weight, FV_INIT_ZEROS, true);
    const fv_value b = fv_graph_parameter(g, "bias", 1, &maps_out, bias, FV_INIT_ZEROS, true);
    for (int i = 0; i < 2; i++) {
        plain.stride[i] = l->s.stride[i];
        plain.dilation[i] = l->s.dilation[i];
        plain.pad_before[i] = plain.pad_after[i] = l->s.pad_before[i];
    }
    plain.groups = l->s.groups;
    x = l->transposed ? fv_graph_conv_transpose_with(g, x, w, b, &l->s, "layer")
                      : fv_graph_conv_with(g, x, w, b, &plain, "layer");
    fv_graph_output(g, flat ? fv_graph_flatten(g, x, NULL) : x, "y");
    ok(fv_graph_status(g));
    ok(fv_model_create(g, 1, &m));
    fv_graph_free(g);
    return m;
}

static void check_golden(const golden *c) {
    static float y[MOST];
    char path[128];
    fv_tensor file, out;
    layer l = c->l;
    snprintf(path, sizeof path, "tests/golden/conv_%s.npy", c->name);
    ok(fv_npy_read(context, path, &file));
    const size_t maps_in = (size_t)l.in[1], n = (size_t)l.in[0];
    const size_t of_x = n * maps_in * (size_t)(l.in[2] * l.in[3]), of_first = maps_in * maps_in,
                 of_bias = (size_t)l.s.out_channels;
    const size_t of_weight = maps_in * of_bias / (size_t)l.s.groups * (size_t)(l.s.kernel[0] * l.s.kernel[1]);
    float *x = file.data, *first = x + of_x, *weight = first + of_first, *bias = weight + of_weight, *target = bias + of_bias;
    fv_model *m = golden_model(c, first, weight, bias, false);
    run_layer(m, &l, x, FV_PLAIN, y);
    ok(fv_model_output(m, 0, NULL, &out));
    const size_t of_y = n * (size_t)(out.shape[1] * out.shape[2] * out.shape[3]);
    ck_assert_int_eq(file.shape[0], (int64_t)(of_x + 2 * (of_first + of_weight + of_bias + of_y)));
    near_all("y", y, target + of_y, of_y, 1e-5);
    fv_model_free(m);
    /* One step of plain SGD at a rate of 1: what the parameters lost is their gradient. */
    fv_trainer_settings s;
    fv_trainer *t = NULL;
    fv_trainer_settings_default(&s);
    s.batch = l.in[0];
    s.optimizer = FV_SGD;
    s.loss = FV_LOSS_SQUARED_ERROR;
    s.reduction = FV_REDUCTION_SUM;
    s.lr = 1;
    m = golden_model(c, first, weight, bias, true);
    ok(fv_trainer_create(m, &s, &t));
    fv_model_free(m);
    const fv_tensor in = maps(x, l.in[0], l.in[1], l.in[2], l.in[3]), targets = rows(target, l.in[0], (int64_t)(of_y / n));
    ok(fv_trainer_step(t, &in, &targets, NULL));
    ok(fv_trainer_model(t, &m));
    const float *before[3] = {first, weight, bias},
                *gradient[3] = {target + 2 * of_y, target + 2 * of_y + of_first, target + 2 * of_y + of_first + of_weight};
    const size_t sizes[3] = {of_first, of_weight, of_bias};
    for (size_t i = 0; i < 3; i++) {
        fv_tensor now;
        ok(fv_model_parameter(m, i, NULL, &now, NULL));
        for (size_t k = 0; k < sizes[i]; k++) y[k] = before[i][k] - ((const float *)now.data)[k];
        near_all(i == 0   ? "gradient of first"
                 : i == 1 ? "gradient of weight"
                          : "gradient of bias",
                 y, gradient[i], sizes[i], 3e-5);
    }
    fv_model_free(m);
    fv_trainer_free(t);
    fv_npy_free(context, &file);
}

START_TEST(pytorch) {
    enter();
    for (size_t i = 0; i < sizeof goldens / sizeof *goldens; i++) check_golden(&goldens[i]);
    leave();
}
END_TEST

/* ---- the same bits on any number of threads; the algorithm has its name ---- */

START_TEST(threads) {
    static float x[MOST], one[MOST], many[MOST];
    enter();
    fv_context *three = context_of(FV_BACKEND_PTHREADS, 3);
    layer l = {.in = {2, 24, 17, 15},
               .s = {.out_channels = 24, .kernel = {3, 3}, .stride = {1, 1}, .dilation = {1, 1}, .groups = 24, .bias = true}};
    for (int transposed = 0; transposed < 2; transposed++) {
        l.transposed = transposed;
        fv_model *a = model_with(context, &l), *b = model_with(three, &l);
        draw_all(x, 2 * 24 * 17 * 15, 3);
        run_layer(a, &l, x, FV_PLAIN, one);
        run_layer(b, &l, x, FV_PLAIN, many);
        ck_assert_mem_eq(one, many, (size_t)(l.out[0] * l.out[1] * l.out[2] * l.out[3]) * sizeof *one);
        fv_session *s = NULL;
        fv_node_info info = {0};
        bool found = false;
        ok(fv_session_create(a, NULL, &s));
        for (size_t i = 0; i < fv_session_node_count(s); i++) {
            ok(fv_session_node(s, i, &info));
            found = found || strcmp(info.algorithm, "depthwise") == 0;
        }
        ck_assert(found);
        fv_session_free(s);
        fv_model_free(a);
        fv_model_free(b);
    }
    fv_context_free(three);
    leave();
}
END_TEST

/* ---- errors ---- */

static void refuse(const fv_conv_transpose_settings *s, int64_t channels, fv_status status, const char *part) {
    fv_graph *g = NULL;
    const int64_t shape[4] = {0, channels, 4, 5};
    ok(fv_graph_create(context, &g));
    const fv_value y = fv_graph_conv_transpose(g, fv_graph_input(g, "x", 4, shape), s, "up");
    ck_assert_int_eq(y, FV_NONE);
    fails(fv_graph_status(g), status, part);
    fv_graph_free(g);
}

START_TEST(errors) {
    fv_conv_transpose_settings s;
    enter();
#define REFUSED(change, channels, status, part)                                                                                  \
    do {                                                                                                                         \
        fv_conv_transpose_settings_default(&s);                                                                                  \
        change;                                                                                                                  \
        refuse(&s, channels, status, part);                                                                                      \
    } while (0)
    REFUSED(s.output_padding[0] = 1, 2, FV_ERR_ARGUMENT, "output padding 1; it must be below its stride 1 or its dilation 1");
    REFUSED((s.stride[1] = 2, s.dilation[1] = 3, s.output_padding[1] = 3), 2, FV_ERR_ARGUMENT, "output padding 3");
    REFUSED(s.output_padding[1] = -1, 2, FV_ERR_ARGUMENT, "output padding -1");
    REFUSED(s.stride[0] = 0, 2, FV_ERR_ARGUMENT, "stride 0");
    REFUSED(s.dilation[1] = 0, 2, FV_ERR_ARGUMENT, "dilation 0");
    REFUSED(s.pad_before[0] = -1, 2, FV_ERR_ARGUMENT, "negative padding (-1, 0)");
    REFUSED((s.pad_before[0] = 3, s.pad_after[0] = 3), 2, FV_ERR_SHAPE, "padding (3, 3) leaves nothing of an output side of 6");
    REFUSED(s.groups = 2, 3, FV_ERR_SHAPE, "2 groups");
    REFUSED((s.groups = 2, s.out_channels = 3), 2, FV_ERR_SHAPE, "3 output channels");
    REFUSED(s.groups = 0, 2, FV_ERR_SHAPE, "0 groups");
    REFUSED((s.padding = FV_PAD_SAME_UPPER, s.stride[0] = 5), 2, FV_ERR_SHAPE, "cannot fill a stride of 5");
    REFUSED(s.padding = (fv_padding)9, 2, FV_ERR_ARGUMENT, "unknown padding 9");
    REFUSED(s.stride[0] = INT32_MAX / 2, 2, FV_ERR_LIMIT, "too large");
    REFUSED(s.dilation[0] = INT32_MAX / 2, 2, FV_ERR_LIMIT, "too large");
#undef REFUSED
    fv_graph *g = NULL;
    const int64_t shape[4] = {0, 2, 4, 4}, weight[4] = {3, 1, 2, 2}, five = 5, good[4] = {2, 1, 2, 2};
    fv_conv_transpose_settings_default(&s);
    ok(fv_graph_create(context, &g));
    fv_value x = fv_graph_input(g, "x", 4, shape);
    fv_graph_conv_transpose_with(g, x, fv_graph_parameter(g, "w", 4, weight, NULL, FV_INIT_HE, true), FV_NONE, &s, "up");
    fails(fv_graph_status(g), FV_ERR_SHAPE, "its weight (3,1,2,2) does not fit the 2 channels");
    fv_graph_free(g);
    ok(fv_graph_create(context, &g));
    x = fv_graph_input(g, "x", 4, shape);
    fv_graph_conv_transpose_with(g, x, fv_graph_parameter(g, "w", 4, good, NULL, FV_INIT_HE, true),
                                 fv_graph_parameter(g, "b", 1, &five, NULL, FV_INIT_ZEROS, true), &s, "up");
    fails(fv_graph_status(g), FV_ERR_SHAPE, "its bias (5) does not fit 1 output channels");
    fv_graph_free(g);
    ok(fv_graph_create(context, &g));
    fv_graph_conv_transpose(g, fv_graph_input(g, "x", 4, shape), NULL, "up");
    fails(fv_graph_status(g), FV_ERR_ARGUMENT, "needs settings");
    fv_graph_free(g);
    leave();
}
END_TEST

/* ---- ONNX ---- */

/* Written, read, written again: the same outputs and bytes; depthwise and transposed layers of every kind. */
START_TEST(onnx_round) {
    static float first[run_most], second[run_most];
    char again[112];
    layer l;
    enter();
    snprintf(again, sizeof again, "%s.again", wire_path);
    for (int i = 0; i < 24;) {
        fv_model *back = NULL;
        fv_tensor out;
        draw_layer(&l, i % 3 != 0, i % 2 == 0);
        fv_model *m = model_with(context, &l);
        ok(fv_model_output(m, 0, NULL, &out));
        if (out.shape[1] * out.shape[2] * out.shape[3] * 2 > run_most || l.in[1] * l.in[2] * l.in[3] * 2 > run_most) {
            fv_model_free(m);
            continue;
        }
        i++;
        ok(fv_model_save(m, wire_path));
        ok(fv_model_load(context, wire_path, &back));
        ok(fv_model_save(back, again));
        const size_t n = run_model(m, 2, first);
        ck_assert_uint_eq(run_model(back, 2, second), n);
        ck_assert_mem_eq(first, second, n * sizeof *first);
        wire one = wire_get(wire_path), two = wire_get(again);
        ck_assert_uint_eq(one.n, two.n);
        ck_assert_mem_eq(one.data, two.data, one.n);
        w_free(&one);
        w_free(&two);
        fv_model_free(m);
        fv_model_free(back);
    }
    leave();
}
END_TEST

/* x (1,1,3,3) -> ConvTranspose, weight (1,1,3,3) -> y (1,1,h,w), with these attributes. */
static wire transposed_file(const wire *attributes, size_t count, int64_t h, int64_t w) {
    const int64_t x[4] = {1, 1, 3, 3}, y[4] = {1, 1, h, w};
    wire g = {0}, n = node_of("ConvTranspose", "up", "x w", "y");
    for (size_t i = 0; i < count; i++) node_attr(&n, attributes[i]);
    w_message(&g, G_INITIALIZER, tensor_of("w", 4, x));
    w_message(&g, G_NODE, n);
    w_message(&g, G_INPUT, value_info_of("x", 4, x));
    w_message(&g, G_OUTPUT, value_info_of("y", 4, y));
    return model_of(g);
}

static void loaded_size(const wire *attributes, size_t count, int64_t h, int64_t w) {
    fv_model *m = NULL;
    fv_tensor out;
    ok(load_wire(context, transposed_file(attributes, count, h, w), &m));
    ok(fv_model_output(m, 0, NULL, &out));
    ck_assert_int_eq(out.shape[2], h);
    ck_assert_int_eq(out.shape[3], w);
    fv_model_free(m);
}

static void refused_file(const wire *attributes, size_t count, fv_status status, const char *part) {
    refused(transposed_file(attributes, count, 1, 1), status, part);
}

#define ATTRIBUTES(...) (const wire[]){__VA_ARGS__}, sizeof((const wire[]){__VA_ARGS__}) / sizeof(wire) /* evaluated once */
#define PAIR(name, a, b) attr_ints(name, 2, (const int64_t[]){a, b})

START_TEST(onnx_attributes) {
    enter();
    const int64_t four[4] = {1, 0, 0, 1};
    loaded_size(NULL, 0, 5, 5);
    loaded_size(ATTRIBUTES(PAIR("strides", 2, 3), PAIR("output_padding", 1, 2)), 8, 11);
    loaded_size(ATTRIBUTES(PAIR("dilations", 2, 1), PAIR("output_padding", 1, 0)), 8, 5);
    loaded_size(ATTRIBUTES(attr_ints("pads", 4, four)), 4, 4);
    loaded_size(ATTRIBUTES(PAIR("strides", 2, 2), attr_text("auto_pad", "SAME_UPPER")), 6, 6);
    loaded_size(ATTRIBUTES(PAIR("strides", 2, 3), attr_text("auto_pad", "SAME_LOWER")), 6, 9);
    loaded_size(ATTRIBUTES(PAIR("strides", 3, 3), PAIR("output_shape", 8, 9)), 8, 9);
    loaded_size(ATTRIBUTES(PAIR("strides", 3, 3), PAIR("output_shape", 8, 7), attr_text("auto_pad", "SAME_UPPER")), 8, 7);
    refused_file(ATTRIBUTES(PAIR("output_padding", 1, 0)), FV_ERR_ARGUMENT, "output padding 1");
    refused_file(ATTRIBUTES(PAIR("output_shape", 6, 5)), FV_ERR_SHAPE, "output_shape holds 6, possible are 1 to 5");
    refused_file(ATTRIBUTES(PAIR("output_shape", 0, 5)), FV_ERR_SHAPE, "output_shape holds 0");
    refused_file(ATTRIBUTES(PAIR("output_shape", -7, 5)), FV_ERR_SHAPE, "output_shape holds -7");
    refused_file(ATTRIBUTES(attr_ints("output_shape", 4, four)), FV_ERR_SHAPE, "output_shape has 4 values, not 2");
    refused_file(ATTRIBUTES(PAIR("strides", 0, 1)), FV_ERR_ARGUMENT, "stride 0");
    refused_file(ATTRIBUTES(PAIR("kernel_shape", 2, 3)), FV_ERR_SHAPE, "kernel_shape disagrees");
    refused_file(ATTRIBUTES(attr_int("group", 2)), FV_ERR_SHAPE, "2 groups");
    refused_file(ATTRIBUTES(attr_int("group", -1)), FV_ERR_ARGUMENT, "group is -1");
    refused_file(ATTRIBUTES(attr_text("auto_pad", "SAME")), FV_ERR_FORMAT, "unknown auto_pad");
    leave();
}
END_TEST

/* Where the odd row of a SAME padding or an output_shape goes: all weights 1, so an output counts the inputs that reach it. */
START_TEST(onnx_same_side) {
    static const struct {
        const char *mode;
        int32_t first;
    } cases[] = {{"SAME_UPPER", 0}, {"SAME_LOWER", 1}};
    enter();
    for (int i = 0; i < 2; i++) {
        layer l = {.in = {1, 1, 3, 3}};
        static float x[9], y[MOST];
        fv_tensor weight;
        fv_model *m = NULL;
        ok(load_wire(context, transposed_file(ATTRIBUTES(PAIR("strides", 2, 2), attr_text("auto_pad", cases[i].mode)), 6, 6),
                     &m));
        ok(fv_model_parameter(m, 0, NULL, &weight, NULL));
        x[0] = 1;
        run_layer(m, &l, x, FV_PLAIN, y);
        ck_assert(y[0] == ((const float *)weight.data)[cases[i].first * 4]); /* weight (first, first) of 3x3 */
        fv_model_free(m);
    }
    leave();
}
END_TEST

int main(void) {
    const TTest *const tests[] = {definition, pytorch, threads, errors, onnx_round, onnx_attributes, onnx_same_side, NULL};
    return run_tests("ops_conv_transpose", tests, 120);
}
