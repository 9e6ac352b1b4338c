/* Operators through the public interface: SPEC section 11's values, and random geometry against nested loops in double.
 */
#include "fovea.h"

#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MOST = 1 << 14 }; /* values of a tensor here */

static fv_context *context;

static void setup(void) {
    fv_context_settings s;
    fv_context_settings_default(&s);
    s.threads = 1;
    ck_assert_int_eq(fv_context_create(&s, &context), FV_OK);
}
static void teardown(void) { fv_context_free(context); }

/* ---- random numbers ---- */

static uint64_t state = 1;
static uint32_t next(void) { return (uint32_t)((state = state * 6364136223846793005u + 1442695040888963407u) >> 33); }
static int32_t between(int32_t low, int32_t high) { return low + (int32_t)(next() % (uint32_t)(high - low + 1)); }
static float real(void) { return (float)(next() % 20001) / 10000 - 1; }
static void fill(float *x, size_t n) {
    for (size_t i = 0; i < n; i++) x[i] = real();
}

/* ---- running one operator ---- */

typedef struct maps {
    int64_t n, c, h, w;
} maps;

static size_t count(maps m) { return (size_t)(m.n * m.c * m.h * m.w); }

typedef fv_value (*build_fn)(fv_graph *g, fv_value x, const void *arg);

/* y: the output in NCHW; its shape. Run in both layouts, which must give the same bits. */
static maps run(maps in, int32_t rank, const float *x, build_fn build, const void *arg, float *y) {
    static float other[MOST], turned[MOST];
    fv_graph *g;
    fv_model *m;
    fv_session *s;
    fv_tensor out;
    const int64_t shape[4] = {0, in.c, in.h, in.w};
    ck_assert_uint_le(count(in), MOST);
    ck_assert_int_eq(fv_graph_create(context, &g), FV_OK);
    fv_graph_output(g, build(g, fv_graph_input(g, "x", rank, shape), arg), "y");
    ck_assert_msg(fv_graph_status(g) == FV_OK, "%s", fv_last_error());
    ck_assert_int_eq(fv_model_create(g, 1, &m), FV_OK);
    ck_assert_int_eq(fv_model_output(m, 0, NULL, &out), FV_OK);
    maps result = {in.n, out.shape[1], out.rank == 4 ? out.shape[2] : 1, out.rank == 4 ? out.shape[3] : 1};
    ck_assert_uint_le(count(result), MOST);
    fv_session_settings settings;
    fv_session_settings_default(&settings);
    settings.batch = out.shape[0] = in.n;
    fv_tensor input = {.dtype = FV_F32, .rank = rank, .shape = {in.n, in.c, in.h, in.w}, .data = (void *)(uintptr_t)x};
    out.data = y;
    ck_assert_int_eq(fv_session_create(m, &settings, &s), FV_OK);
    ck_assert_msg(fv_session_run(s, &input, 1, &out, 1) == FV_OK, "%s", fv_last_error());
    fv_session_free(s);
    for (size_t i = 0; i < count(in); i++) {
        const size_t pixels = (size_t)(in.h * in.w), c = i / pixels % (size_t)in.c;
        turned[rank == 4 ? (i / pixels / (size_t)in.c * pixels + i % pixels) * (size_t)in.c + c : i] = x[i];
    }
    settings.input_layout = input.layout = FV_NHWC;
    input.data = turned;
    out.data = other;
    ck_assert_int_eq(fv_session_create(m, &settings, &s), FV_OK);
    ck_assert_int_eq(fv_session_run(s, &input, 1, &out, 1), FV_OK);
    ck_assert_mem_eq(other, y, count(result) * sizeof *y);
    fv_session_free(s);
    fv_model_free(m);
    fv_graph_free(g);
    return result;
}

static void close_to(const float *got, const double *want, size_t n, double tolerance) {
    for (size_t i = 0; i < n; i++)
        ck_assert_msg(fabs((double)got[i] - want[i]) <= tolerance * (1 + fabs(want[i])), "value %zu: %g, expected %g",
                      i, (double)got[i], want[i]);
}

/* ---- convolution ---- */

typedef struct conv {
    fv_conv_settings s;
    int64_t in_channels;        /* of a group */
    const float *weight, *bias; /* bias NULL: none */
} conv;

static fv_value build_conv(fv_graph *g, fv_value x, const void *arg) {
    const conv *c = arg;
    const int64_t shape[4] = {c->s.out_channels, c->in_channels, c->s.kernel[0], c->s.kernel[1]};
    const fv_value w = fv_graph_parameter(g, "w", 4, shape, c->weight, FV_INIT_HE, true);
    const fv_value b = c->bias ? fv_graph_parameter(g, "b", 1, shape, c->bias, FV_INIT_HE, true) : FV_NONE;
    return fv_graph_conv_with(g, x, w, b, &c->s, NULL);
}

static conv one_map(int32_t kernel, const float *weight, bool true_convolution) {
    conv c = {.in_channels = 1, .weight = weight};
    fv_conv_settings_default(&c.s);
    c.s.kernel[0] = c.s.kernel[1] = kernel;
    c.s.true_convolution = true_convolution;
    return c;
}

START_TEST(the_lectures_correlation) {
    static const float x[25] = {0, 0, 1, 1, 0, 1, 0, 1, 1, 1, 0, 0, 1, 1, 1, 0, 0, 0, 0, 1, 1, 1, 0, 0, 0};
    static const float w[9] = {1, 2, 1, 1, 1, 1, 1, 2, 1};
    static const double want[9] = {4, 8, 10, 3, 5, 8, 4, 4, 5};
    float y[9];
    const conv c = one_map(3, w, false);
    const maps out = run((maps){1, 1, 5, 5}, 4, x, build_conv, &c, y);
    ck_assert(out.h == 3 && out.w == 3);
    close_to(y, want, 9, 0);
}
END_TEST

/* An impulse in the middle gives the kernel under convolution, the rotated kernel under correlation. */
START_TEST(convolution_is_not_correlation) {
    static const float w[25] = {0, 1, 2, 1, 0, 1, 3, 4, 3, 1, 2, 5, 9, 5, 2, 1, 3, 5, 3, 1, 0, 1, 2, 1, 0};
    float x[81] = {0}, y[25];
    double sum = 0, turned[25], as_it_is[25];
    x[40] = 1;
    for (int i = 0; i < 25; i++) {
        as_it_is[i] = w[i];
        turned[i] = w[24 - i];
        sum += w[i];
    }
    ck_assert(sum == 56 && memcmp(turned, as_it_is, sizeof turned) != 0);
    const conv correlation = one_map(5, w, false), convolution = one_map(5, w, true);
    run((maps){1, 1, 9, 9}, 4, x, build_conv, &correlation, y);
    close_to(y, turned, 25, 0);
    run((maps){1, 1, 9, 9}, 4, x, build_conv, &convolution, y);
    close_to(y, as_it_is, 25, 0);
}
END_TEST

START_TEST(the_box_filter) {
    static const double first[8] = {0, 10, 20, 30, 30, 30, 20, 10}, last[8] = {10, 10, 10, 0, 0, 0, 0, 0};
    float x[100] = {0}, w[9], y[64];
    for (int r = 2; r <= 6; r++)
        for (int c = 3; c <= 7; c++) x[10 * r + c] = 90;
    x[10 * 5 + 4] = 0;
    x[10 * 8 + 2] = 90;
    for (int i = 0; i < 9; i++) w[i] = 1.0f / 9;
    const conv c = one_map(3, w, false);
    const maps out = run((maps){1, 1, 10, 10}, 4, x, build_conv, &c, y);
    ck_assert(out.h == 8 && out.w == 8);
    close_to(y, first, 8, 1e-6);
    close_to(y + 56, last, 8, 1e-6);
}
END_TEST

/* SPEC section 1: no padding gives ceil((H - (k-1))/(skip + 1)), and H - 2h for k = 2h + 1. */
START_TEST(sizes_with_skip_factors) {
    static float x[MOST], y[MOST];
    const float w[25] = {1};
    for (int32_t size = 5; size <= 12; size++)
        for (int32_t k = 1; k <= 5; k++)
            for (int32_t skip = 0; skip <= 3; skip++) {
                conv c = one_map(k, w, false);
                c.s.stride[0] = skip + 1;
                const maps out = run((maps){1, 1, size, size}, 4, x, build_conv, &c, y);
                ck_assert_int_eq(out.h, (size - (k - 1) + skip) / (skip + 1));
                ck_assert_int_eq(out.w, size - (k - 1));
                c.s.padding = FV_PAD_SAME_UPPER;
                ck_assert_int_eq(run((maps){1, 1, size, size}, 4, x, build_conv, &c, y).h, (size + skip) / (skip + 1));
            }
}
END_TEST

/* Padding of one axis as ONNX defines SAME, or as given. */
static void pads_of(fv_padding padding, int64_t in, int32_t kernel, int32_t stride, int32_t dilation, int32_t *before,
                    int32_t *after) {
    if (padding == FV_PAD_EXPLICIT) return;
    *before = *after = 0;
    if (padding == FV_PAD_VALID) return;
    const int32_t total =
        (int32_t)((in + stride - 1) / stride - 1) * stride + dilation * (kernel - 1) + 1 - (int32_t)in;
    if (total <= 0) return;
    *before = padding == FV_PAD_SAME_UPPER ? total / 2 : total - total / 2;
    *after = total - *before;
}

static void expect_conv(const conv *c, maps in, maps out, const float *x, double *y) {
    const fv_conv_settings *s = &c->s;
    int32_t before[2] = {s->pad_before[0], s->pad_before[1]}, after[2] = {s->pad_after[0], s->pad_after[1]};
    const int64_t size[2] = {in.h, in.w}, per_group = s->out_channels / s->groups, area = s->kernel[0] * s->kernel[1];
    for (int i = 0; i < 2; i++)
        pads_of(s->padding, size[i], s->kernel[i], s->stride[i], s->dilation[i], &before[i], &after[i]);
    ck_assert_int_eq(out.h, (in.h + before[0] + after[0] - s->dilation[0] * (s->kernel[0] - 1) - 1) / s->stride[0] + 1);
    ck_assert_int_eq(out.w, (in.w + before[1] + after[1] - s->dilation[1] * (s->kernel[1] - 1) - 1) / s->stride[1] + 1);
    for (int64_t o = 0; o < (int64_t)count(out); o++) {
        const int64_t ox = o % out.w, oy = o / out.w % out.h, k = o / out.w / out.h % out.c,
                      n = o / out.w / out.h / out.c;
        double sum = c->bias ? (double)c->bias[k] : 0;
        for (int64_t t = 0; t < c->in_channels * area; t++) {
            const int64_t u = t % area / s->kernel[1], v = t % s->kernel[1],
                          j = k / per_group * c->in_channels + t / area;
            const int64_t yy = oy * s->stride[0] + u * s->dilation[0] - before[0],
                          xx = ox * s->stride[1] + v * s->dilation[1] - before[1];
            if (yy < 0 || yy >= in.h || xx < 0 || xx >= in.w) continue;
            const int64_t place = s->true_convolution ? area - 1 - t % area : t % area;
            sum += (double)c->weight[(k * c->in_channels + t / area) * area + place] *
                   (double)x[((n * in.c + j) * in.h + yy) * in.w + xx];
        }
        y[o] = sum;
    }
}

START_TEST(random_convolutions) {
    static float x[MOST], w[MOST], b[64], y[MOST];
    static double want[MOST];
    for (int i = 0; i < 200; i++) {
        conv c = {.weight = w, .bias = next() % 2 ? b : NULL};
        fv_conv_settings_default(&c.s);
        c.s.groups = next() % 3 ? 1 : between(2, 3);
        c.in_channels = between(1, 5);
        c.s.out_channels = c.s.groups * between(1, 18);
        c.s.padding = (fv_padding)between(FV_PAD_EXPLICIT, FV_PAD_SAME_LOWER);
        c.s.true_convolution = next() % 2;
        maps in = {between(1, 3), c.s.groups * c.in_channels, 0, 0};
        for (int a = 0; a < 2; a++) {
            c.s.kernel[a] = between(1, 4);
            c.s.stride[a] = between(1, 3);
            c.s.dilation[a] = between(1, 2);
            c.s.pad_before[a] = between(0, 3);
            c.s.pad_after[a] = between(0, 3);
            *(a ? &in.w : &in.h) = c.s.dilation[a] * (c.s.kernel[a] - 1) + between(1, 5);
        }
        fill(x, count(in));
        fill(w, (size_t)(c.s.out_channels * c.in_channels * c.s.kernel[0] * c.s.kernel[1]));
        fill(b, 64);
        const maps out = run(in, 4, x, build_conv, &c, y);
        expect_conv(&c, in, out, x, want);
        close_to(y, want, count(out), 1e-5);
    }
}
END_TEST

/* ---- fully connected ---- */

typedef struct linear {
    int64_t out, features;
    const float *weight, *bias;
    bool flatten;
} linear;

static fv_value build_linear(fv_graph *g, fv_value x, const void *arg) {
    const linear *l = arg;
    const int64_t shape[2] = {l->out, l->features};
    const fv_value w = fv_graph_parameter(g, "w", 2, shape, l->weight, FV_INIT_HE, true);
    const fv_value b = fv_graph_parameter(g, "b", 1, shape, l->bias, FV_INIT_HE, true);
    return fv_graph_linear_with(g, l->flatten ? fv_graph_flatten(g, x, NULL) : x, w, b, NULL);
}

START_TEST(random_fully_connected) {
    static float x[MOST], w[MOST], b[64], y[MOST];
    static double want[MOST];
    for (int i = 0; i < 100; i++) {
        const bool vector = next() % 2;
        const maps in = {between(1, 9), between(1, 12), vector ? 1 : between(1, 4), vector ? 1 : between(1, 4)};
        const linear l = {between(1, 40), in.c * in.h * in.w, w, b, !vector && next() % 2};
        fill(x, count(in));
        fill(w, (size_t)(l.out * l.features));
        fill(b, 64);
        for (int64_t n = 0; n < in.n; n++)
            for (int64_t k = 0; k < l.out; k++) {
                double sum = b[k];
                for (int64_t f = 0; f < l.features; f++)
                    sum += (double)w[k * l.features + f] * (double)x[n * l.features + f];
                want[n * l.out + k] = sum;
            }
        const maps out = run(in, vector ? 2 : 4, x, build_linear, &l, y);
        ck_assert(out.c == l.out && out.h == 1);
        close_to(y, want, count(out), 1e-5);
    }
}
END_TEST

/* ---- pooling ---- */

static fv_value build_pool(fv_graph *g, fv_value x, const void *arg) { return fv_graph_pool(g, x, arg, NULL); }

static int64_t pool_size(const fv_pool_settings *s, int a, int64_t in) {
    const int64_t room = in + s->pad_before[a] + s->pad_after[a] - s->dilation[a] * (s->window[a] - 1) - 1;
    int64_t size = (s->ceil_mode ? (room + s->stride[a] - 1) / s->stride[a] : room / s->stride[a]) + 1;
    return s->ceil_mode && (size - 1) * s->stride[a] >= in + s->pad_before[a] ? size - 1 : size;
}

static double expect_window(const fv_pool_settings *s, maps in, const float *x, int64_t oy, int64_t ox) {
    double sum = 0, most = -HUGE_VAL;
    int64_t inside = 0, counted = 0;
    for (int64_t u = 0; u < s->window[0]; u++)
        for (int64_t v = 0; v < s->window[1]; v++) {
            const int64_t yy = oy * s->stride[0] + u * s->dilation[0] - s->pad_before[0];
            const int64_t xx = ox * s->stride[1] + v * s->dilation[1] - s->pad_before[1];
            counted += yy < in.h + s->pad_after[0] && xx < in.w + s->pad_after[1];
            if (yy < 0 || yy >= in.h || xx < 0 || xx >= in.w) continue;
            inside++;
            sum += (double)x[yy * in.w + xx];
            most = fmax(most, (double)x[yy * in.w + xx]);
        }
    return s->kind == FV_POOL_MAX ? most : sum / (double)(s->count_padding ? counted : inside);
}

START_TEST(random_pooling) {
    static float x[MOST], y[MOST];
    static double want[MOST];
    for (int i = 0; i < 200; i++) {
        fv_pool_settings s;
        fv_pool_settings_default(&s);
        maps in = {between(1, 3), between(1, 20), 0, 0};
        s.kind = next() % 2 ? FV_POOL_MAX : FV_POOL_AVERAGE;
        s.ceil_mode = next() % 2;
        s.count_padding = next() % 2;
        s.global = next() % 10 == 0;
        for (int a = 0; a < 2; a++) {
            s.window[a] = between(1, 4);
            s.stride[a] = between(1, 3);
            s.dilation[a] = s.kind == FV_POOL_MAX ? between(1, 2) : 1;
            s.pad_before[a] = between(0, s.window[a] - 1);
            s.pad_after[a] = between(0, s.window[a] - 1);
            *(a ? &in.w : &in.h) = s.dilation[a] * (s.window[a] - 1) + between(1, 6);
        }
        fill(x, count(in));
        const maps out = run(in, 4, x, build_pool, &s, y);
        if (s.global) {
            s = (fv_pool_settings){
                .kind = s.kind, .window = {(int32_t)in.h, (int32_t)in.w}, .stride = {1, 1}, .dilation = {1, 1}};
        }
        ck_assert_int_eq(out.h, pool_size(&s, 0, in.h));
        ck_assert_int_eq(out.w, pool_size(&s, 1, in.w));
        for (int64_t o = 0; o < (int64_t)count(out); o++)
            want[o] = expect_window(&s, in, x + o / out.w / out.h * in.h * in.w, o / out.w % out.h, o % out.w);
        close_to(y, want, count(out), s.kind == FV_POOL_MAX ? 0 : 1e-6);
    }
}
END_TEST

/* ---- element-wise ---- */

enum { RELU, SIGMOID, TANH, EXP, CLIP, SCALE, ADD, SUBTRACT, MULTIPLY, DROPOUT, FLATTEN, KINDS };

static fv_value build_kind(fv_graph *g, fv_value x, const void *arg) {
    const int kind = *(const int *)arg;
    const fv_value other =
        kind == ADD || kind == SUBTRACT || kind == MULTIPLY ? fv_graph_scale(g, x, 2, 1, NULL) : FV_NONE;
    switch (kind) {
    case RELU:
        return fv_graph_relu(g, x, NULL);
    case SIGMOID:
        return fv_graph_sigmoid(g, x, NULL);
    case TANH:
        return fv_graph_tanh(g, x, NULL);
    case EXP:
        return fv_graph_exp(g, x, NULL);
    case CLIP:
        return fv_graph_clip(g, x, -0.25f, 0.5f, NULL);
    case SCALE:
        return fv_graph_scale(g, x, -3, 0.5f, NULL);
    case ADD:
        return fv_graph_add(g, x, other, NULL);
    case SUBTRACT:
        return fv_graph_subtract(g, x, other, NULL);
    case MULTIPLY:
        return fv_graph_multiply(g, x, other, NULL);
    case DROPOUT:
        return fv_graph_dropout(g, x, 0.5f, NULL);
    case FLATTEN:
        return fv_graph_flatten(g, x, NULL);
    default:
        return FV_NONE;
    }
}

static double expect_kind(int kind, double x) {
    switch (kind) {
    case RELU:
        return fmax(0, x);
    case SIGMOID:
        return 1 / (1 + exp(-x));
    case TANH:
        return tanh(x);
    case EXP:
        return exp(x);
    case CLIP:
        return fmin(fmax(x, -0.25), 0.5);
    case SCALE:
        return -3 * x + 0.5;
    case ADD:
        return x + (2 * x + 1);
    case SUBTRACT:
        return x - (2 * x + 1);
    case MULTIPLY:
        return x * (2 * x + 1);
    default:
        return x;
    }
}

START_TEST(element_wise) {
    static float x[MOST], y[MOST];
    static double want[MOST];
    for (int kind = 0; kind < KINDS; kind++)
        for (int i = 0; i < 20; i++) {
            const bool vector = kind != FLATTEN && next() % 2;
            const maps in = {between(1, 3), between(1, 24), vector ? 1 : between(1, 6), vector ? 1 : between(1, 6)};
            fill(x, count(in));
            for (size_t k = 0; k < count(in); k++) {
                x[k] *= 4;
                want[k] = expect_kind(kind, (double)x[k]);
            }
            const maps out = run(in, vector ? 2 : 4, x, build_kind, &kind, y);
            ck_assert_uint_eq(count(out), count(in)); /* flatten: map by map, as NCHW lies */
            close_to(y, want, count(in), 2e-6);
        }
}
END_TEST

static fv_value build_gain(fv_graph *g, fv_value x, const void *arg) {
    const int64_t channels = *(const int64_t *)arg;
    float gain[24];
    for (int i = 0; i < 24; i++) gain[i] = 0.5f * (float)i - 3;
    return fv_graph_gain_with(g, x, fv_graph_parameter(g, "gain", 1, &channels, gain, FV_INIT_ONES, true), NULL);
}

START_TEST(gain_by_map) {
    static float x[MOST], y[MOST];
    static double want[MOST];
    for (int i = 0; i < 20; i++) {
        const maps in = {between(1, 3), between(1, 24), between(1, 6), between(1, 6)};
        fill(x, count(in));
        for (size_t k = 0; k < count(in); k++)
            want[k] = (double)x[k] * (0.5 * (double)(k / (size_t)(in.h * in.w) % (size_t)in.c) - 3);
        run(in, 4, x, build_gain, &in.c, y);
        close_to(y, want, count(in), 1e-6);
    }
}
END_TEST

static fv_value build_softmax(fv_graph *g, fv_value x, const void *arg) {
    (void)arg;
    return fv_graph_softmax(g, x, NULL);
}

/* Rows moved by any number give the same probabilities; logits of any size do not overflow. */
START_TEST(softmax_of_any_logits) {
    static float x[MOST], y[MOST];
    static double want[MOST];
    for (int i = 0; i < 40; i++) {
        const maps in = {between(1, 9), between(1, 40), 1, 1};
        const float far = i % 4 == 0 ? 1e4f : 0;
        fill(x, count(in));
        for (int64_t n = 0; n < in.n; n++) {
            double sum = 0;
            for (int64_t c = 0; c < in.c; c++) {
                x[n * in.c + c] += far; /* what is left after rounding is what counts */
                sum += exp((double)x[n * in.c + c] - (double)far);
            }
            for (int64_t c = 0; c < in.c; c++) want[n * in.c + c] = exp((double)x[n * in.c + c] - (double)far) / sum;
        }
        run(in, 2, x, build_softmax, NULL, y);
        close_to(y, want, count(in), 1e-6);
    }
}
END_TEST

START_TEST(not_a_number_passes) {
    float x[16], y[16];
    const int relu = RELU, clip = CLIP;
    fv_pool_settings pool;
    fv_pool_settings_default(&pool);
    fill(x, 16);
    x[6] = NAN;
    run((maps){1, 1, 4, 4}, 4, x, build_kind, &relu, y);
    ck_assert(isnan(y[6]) && !isnan(y[5]));
    run((maps){1, 1, 4, 4}, 4, x, build_kind, &clip, y);
    ck_assert(isnan(y[6]) && !isnan(y[7]));
    run((maps){1, 1, 4, 4}, 4, x, build_pool, &pool, y);
    ck_assert(isnan(y[1]) && !isnan(y[0]) && !isnan(y[2]) && !isnan(y[3]));
}
END_TEST

static fv_value build_itself(fv_graph *g, fv_value x, const void *arg) {
    (void)g, (void)arg;
    return x;
}

/* An output that is an input is a copy of it, of any rank. */
START_TEST(an_output_may_be_an_input) {
    float x[60], y[60];
    double want[60];
    fill(x, 60);
    for (int i = 0; i < 60; i++) want[i] = (double)x[i];
    run((maps){2, 30, 1, 1}, 2, x, build_itself, NULL, y);
    close_to(y, want, 60, 0);
    run((maps){1, 3, 4, 5}, 4, x, build_itself, NULL, y);
    close_to(y, want, 60, 0);
}
END_TEST

/* y = sigmoid(w x) at w = 0: y = 1/2, and with x = 1, t = -1/2 a step of rate 1 on 1/2 (y-t)^2 moves w by minus
 * sigmoid'(0). */
START_TEST(the_slope_of_the_sigmoid) {
    const float zero = 0;
    float x = 1, target = -0.5f;
    const int64_t shape[2] = {0, 1}, weight[2] = {1, 1};
    fv_graph *g;
    fv_model *m, *trained;
    fv_trainer *t;
    fv_tensor w;
    ck_assert_int_eq(fv_graph_create(context, &g), FV_OK);
    const fv_value p = fv_graph_parameter(g, "w", 2, weight, &zero, FV_INIT_ZEROS, true);
    fv_graph_output(
        g, fv_graph_sigmoid(g, fv_graph_linear_with(g, fv_graph_input(g, "x", 2, shape), p, FV_NONE, NULL), NULL), "y");
    ck_assert_int_eq(fv_model_create(g, 1, &m), FV_OK);
    fv_trainer_settings s;
    fv_trainer_settings_default(&s);
    s.loss = FV_LOSS_SQUARED_ERROR;
    s.optimizer = FV_SGD;
    s.lr = 1;
    ck_assert_int_eq(fv_trainer_create(m, &s, &t), FV_OK);
    const fv_tensor in = {.dtype = FV_F32, .rank = 2, .shape = {1, 1}, .data = &x},
                    goal = {.dtype = FV_F32, .rank = 2, .shape = {1, 1}, .data = &target};
    fv_step step;
    ck_assert_int_eq(fv_trainer_step(t, &in, &goal, &step), FV_OK);
    ck_assert(fabs(step.loss - 0.5) < 1e-7);
    ck_assert_int_eq(fv_trainer_model(t, &trained), FV_OK);
    ck_assert_int_eq(fv_model_parameter(trained, 0, NULL, &w, NULL), FV_OK);
    ck_assert(fabs((double)*(float *)w.data + 0.25) < 1e-7);
    fv_model_free(trained);
    fv_trainer_free(t);
    fv_model_free(m);
    fv_graph_free(g);
}
END_TEST

int main(void) {
    Suite *s = suite_create("ops");
    TCase *t = tcase_create("ops");
    tcase_set_timeout(t, 120);
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, the_lectures_correlation);
    tcase_add_test(t, convolution_is_not_correlation);
    tcase_add_test(t, the_box_filter);
    tcase_add_test(t, sizes_with_skip_factors);
    tcase_add_test(t, random_convolutions);
    tcase_add_test(t, random_fully_connected);
    tcase_add_test(t, random_pooling);
    tcase_add_test(t, element_wise);
    tcase_add_test(t, gain_by_map);
    tcase_add_test(t, softmax_of_any_logits);
    tcase_add_test(t, not_a_number_passes);
    tcase_add_test(t, an_output_may_be_an_input);
    tcase_add_test(t, the_slope_of_the_sigmoid);
    suite_add_tcase(s, t);
    SRunner *runner = srunner_create(s);
    srunner_run_all(runner, CK_ENV);
    const int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
