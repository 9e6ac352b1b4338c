/* SPEC section 1 beyond the plain convolution: paddings and windows against PyTorch and ONNX Runtime, untied bias,
 * connection tables, locally connected layers; their files. */
#include "onnx_files.h"

#include <math.h>

enum { MOST = 1 << 13 };

/* ---- running a model on given values ---- */

static size_t run_on(const fv_model *m, int64_t batch, float *x, float *y) {
    fv_session_settings settings;
    fv_session *s = NULL;
    fv_tensor in, out;
    size_t count;
    fv_session_settings_default(&settings);
    settings.batch = batch;
    ok(fv_session_create(m, &settings, &s));
    ok(fv_model_input(m, 0, NULL, &in));
    ok(fv_model_output(m, 0, NULL, &out));
    in.shape[0] = out.shape[0] = batch;
    in.data = x;
    out.data = y;
    ok(fv_tensor_count(&out, &count));
    ck_assert_uint_le(count, MOST);
    ok(fv_session_run(s, &in, 1, &out, 1));
    fv_session_free(s);
    return count;
}

/* Ends g with output y. */
static fv_model *model_from(fv_graph *g, fv_value y) {
    fv_model *m = NULL;
    ok(fv_graph_status(g));
    ok(fv_graph_output(g, y, "y"));
    ok(fv_model_create(g, 5, &m));
    fv_graph_free(g);
    return m;
}

static fv_graph *new_graph(void) {
    fv_graph *g = NULL;
    ok(fv_graph_create(context, &g));
    return g;
}

static void close_to(const float *got, const double *want, size_t n) {
    for (size_t i = 0; i < n; i++)
        ck_assert_msg(fabs((double)got[i] - want[i]) <= 3e-6 * (1 + fabs(want[i])), "value %zu: %g, expected %g", i,
                      (double)got[i], want[i]);
}

/* ---- golden values ---- */

typedef struct golden {
    const char *name;
    fv_padding padding;
    int32_t in[3], outs, kernel[2], stride[2], dilation[2], pads[4]; /* in: C, H, W; pads: y, x before, y, x after */
    fv_bias bias;
    const uint8_t *table;
    int32_t local[2]; /* H', W' of a locally connected layer */
} golden;

static const uint8_t some_edges[12] = {1, 0, 1, 0, 1, 0, 1, 1, 1, 0, 0, 1};
static const golden goldens[] = {
    {.name = "same_upper_even",
     .padding = FV_PAD_SAME_UPPER,
     .in = {2, 5, 6},
     .outs = 3,
     .kernel = {2, 4},
     .stride = {1, 1},
     .dilation = {1, 1}},
    {.name = "same_lower_even",
     .padding = FV_PAD_SAME_LOWER,
     .in = {2, 5, 6},
     .outs = 3,
     .kernel = {2, 4},
     .stride = {1, 1},
     .dilation = {1, 1}},
    {.name = "same_upper_skip",
     .padding = FV_PAD_SAME_UPPER,
     .in = {2, 5, 6},
     .outs = 3,
     .kernel = {3, 2},
     .stride = {2, 3},
     .dilation = {1, 1}},
    {.name = "same_lower_skip",
     .padding = FV_PAD_SAME_LOWER,
     .in = {2, 5, 6},
     .outs = 3,
     .kernel = {3, 2},
     .stride = {2, 3},
     .dilation = {1, 1}},
    {.name = "even",
     .in = {2, 7, 8},
     .outs = 3,
     .kernel = {4, 2},
     .stride = {1, 1},
     .dilation = {1, 1},
     .pads = {1, 0, 2, 1}},
    {.name = "rectangular",
     .in = {2, 7, 8},
     .outs = 3,
     .kernel = {1, 5},
     .stride = {1, 1},
     .dilation = {1, 1},
     .pads = {0, 2, 0, 2}},
    {.name = "skip", .in = {2, 7, 8}, .outs = 3, .kernel = {3, 1}, .stride = {3, 2}, .dilation = {1, 1}},
    {.name = "dilated",
     .in = {2, 7, 8},
     .outs = 3,
     .kernel = {2, 3},
     .stride = {2, 1},
     .dilation = {2, 3},
     .pads = {1, 2, 0, 3}},
    {.name = "untied",
     .in = {2, 5, 6},
     .outs = 3,
     .kernel = {3, 3},
     .stride = {1, 1},
     .dilation = {1, 1},
     .bias = FV_BIAS_UNTIED,
     .local = {3, 4}},
    {.name = "table",
     .in = {3, 5, 5},
     .outs = 4,
     .kernel = {3, 3},
     .stride = {1, 1},
     .dilation = {1, 1},
     .table = some_edges},
    {.name = "local",
     .in = {2, 5, 6},
     .outs = 3,
     .kernel = {2, 3},
     .stride = {1, 1},
     .dilation = {1, 1},
     .local = {4, 4}},
    {.name = "local_padded",
     .in = {2, 5, 6},
     .outs = 3,
     .kernel = {2, 3},
     .stride = {2, 2},
     .dilation = {2, 2},
     .pads = {1, 1, 1, 1},
     .local = {3, 2}},
};

static fv_conv_settings settings_of_golden(const golden *c) {
    fv_conv_settings s;
    fv_conv_settings_default(&s);
    s.out_channels = c->outs;
    s.padding = c->padding;
    s.connections = c->table;
    for (int i = 0; i < 2; i++) {
        s.kernel[i] = c->kernel[i];
        s.stride[i] = c->stride[i];
        s.dilation[i] = c->dilation[i];
        s.pad_before[i] = c->pads[i];
        s.pad_after[i] = c->pads[2 + i];
    }
    return s;
}

START_TEST(values_of_pytorch_and_onnxruntime) {
    const golden *c = &goldens[_i];
    char path[96];
    fv_tensor all;
    static float y[MOST];
    double want[MOST];
    enter();
    snprintf(path, sizeof path, "tests/golden/local/%s.npy", c->name);
    ok(fv_npy_read(context, path, &all));
    float *data = all.data;
    const fv_conv_settings s = settings_of_golden(c);
    const bool local = strncmp(c->name, "local", 5) == 0;
    fv_graph *g = new_graph();
    const int64_t in[4] = {0, c->in[0], c->in[1], c->in[2]};
    const int64_t shape[6] = {
        c->outs,      c->in[0],    local ? c->local[0] : c->kernel[0], local ? c->local[1] : c->kernel[1],
        c->kernel[0], c->kernel[1]};
    const int64_t bias[3] = {c->outs, c->local[0], c->local[1]};
    const size_t x_count = (size_t)(2 * c->in[0] * c->in[1] * c->in[2]),
                 positions = local ? (size_t)(c->local[0] * c->local[1]) : 1;
    const size_t w_count = (size_t)(c->outs * c->in[0] * c->kernel[0] * c->kernel[1]) * positions;
    const bool untied = c->local[0] > 0;
    const size_t b_count = (size_t)c->outs * (untied ? (size_t)(c->local[0] * c->local[1]) : 1);
    const fv_value x = fv_graph_input(g, "x", 4, in);
    const fv_value w = fv_graph_parameter(g, "w", local ? 6 : 4, shape, data + x_count, FV_INIT_HE, true);
    const fv_value b = fv_graph_parameter(g, "b", untied ? 3 : 1, bias, data + x_count + w_count, FV_INIT_HE, true);
    fv_model *m = model_from(g, local ? fv_graph_local_with(g, x, w, b, &s, "local")
                                      : fv_graph_conv_with(g, x, w, b, &s, "conv"));
    const size_t n = run_on(m, 2, data, y), before = x_count + w_count + b_count;
    ck_assert_int_eq((int64_t)(before + n), all.shape[0]);
    for (size_t i = 0; i < n; i++) want[i] = (double)data[before + i];
    close_to(y, want, n);
    fv_model_free(m);
    fv_npy_free(context, &all);
    leave();
}
END_TEST

/* ---- sizes ---- */

/* The lecture's skipping factor: ceil((H - (k-1))/(skip+1)) rows. */
START_TEST(sizes_with_skipping_factors) {
    enter();
    for (int32_t h = 1; h <= 14; h++)
        for (int32_t k = 1; k <= 5 && k <= h; k++)
            for (int32_t skip = 0; skip <= 3; skip++) {
                fv_conv_settings s;
                fv_tensor out;
                fv_conv_settings_default(&s);
                s.kernel[0] = k;
                s.kernel[1] = 1;
                s.stride[0] = skip + 1;
                s.stride[1] = skip + 2;
                fv_graph *g = new_graph();
                const int64_t shape[4] = {0, 1, h, 9};
                fv_model *m = model_from(g, fv_graph_conv(g, fv_graph_input(g, "x", 4, shape), &s, "c"));
                ok(fv_model_output(m, 0, NULL, &out));
                ck_assert_int_eq(out.shape[2], (h - (k - 1) + skip) / (skip + 1));
                ck_assert_int_eq(out.shape[3], (9 + skip + 1) / (skip + 2));
                fv_model_free(m);
            }
    leave();
}
END_TEST

/* ---- against loops ---- */

typedef struct local_case {
    int64_t n, c, h, w;
    fv_conv_settings s;
    int64_t out_h, out_w;
} local_case;

/* The definition, in double: every position its own kernel. */
static void local_by_loops(const local_case *t, const float *x, const float *weight, double *y) {
    const int64_t kh = t->s.kernel[0], kw = t->s.kernel[1];
    for (int64_t i = 0; i < t->n * t->s.out_channels * t->out_h * t->out_w; i++) {
        const int64_t ox = i % t->out_w, oy = i / t->out_w % t->out_h, k = i / t->out_w / t->out_h % t->s.out_channels;
        const int64_t n = i / t->out_w / t->out_h / t->s.out_channels;
        y[i] = 0;
        for (int64_t c = 0; c < t->c; c++)
            for (int64_t u = 0; u < kh; u++)
                for (int64_t v = 0; v < kw; v++) {
                    const int64_t iy = oy * t->s.stride[0] + u * t->s.dilation[0] - t->s.pad_before[0];
                    const int64_t ix = ox * t->s.stride[1] + v * t->s.dilation[1] - t->s.pad_before[1];
                    if (iy < 0 || iy >= t->h || ix < 0 || ix >= t->w) continue;
                    const int64_t a = t->s.true_convolution ? kh - 1 - u : u,
                                  b = t->s.true_convolution ? kw - 1 - v : v;
                    const double kernel =
                        (double)weight[((((k * t->c + c) * t->out_h + oy) * t->out_w + ox) * kh + a) * kw + b];
                    y[i] += kernel * (double)x[((n * t->c + c) * t->h + iy) * t->w + ix];
                }
    }
}

START_TEST(locally_connected_is_its_definition) {
    static float x[MOST], y[MOST], again[MOST];
    static double want[MOST];
    enter();
    fv_context *threads = context_of(FV_BACKEND_PTHREADS, 3);
    for (int round = 0; round < 40; round++) {
        uint32_t seed = (uint32_t)round * 7919 + 1;
        local_case t = {.n = 1 + round % 9, .c = 1 + round % 5, .h = 4 + round % 6, .w = 3 + round % 7};
        fv_conv_settings_default(&t.s);
        t.s.out_channels = 1 + round * 5 % 23;
        t.s.bias = FV_BIAS_NONE;
        t.s.true_convolution = round % 3 == 0;
        for (int i = 0; i < 2; i++) {
            t.s.kernel[i] = 1 + (round >> i) % 3;
            t.s.stride[i] = 1 + (round >> (i + 1)) % 2;
            t.s.pad_before[i] = round % 2;
            t.s.pad_after[i] = round / 2 % 2;
        }
        const int64_t shape[4] = {0, t.c, t.h, t.w};
        fv_graph *g = new_graph();
        fv_model *m = model_from(g, fv_graph_local(g, fv_graph_input(g, "x", 4, shape), &t.s, "local"));
        fv_tensor weight, out;
        ok(fv_model_parameter(m, 0, NULL, &weight, NULL));
        ok(fv_model_output(m, 0, NULL, &out));
        t.out_h = out.shape[2];
        t.out_w = out.shape[3];
        draw_all(x, (size_t)(t.n * t.c * t.h * t.w), draw_u32(&seed));
        local_by_loops(&t, x, weight.data, want);
        const size_t n = run_on(m, t.n, x, y);
        close_to(y, want, n);
        fv_session *session = NULL;
        fv_node_info info = {.name = NULL};
        ok(fv_session_create(m, NULL, &session));
        for (size_t i = 0; i < fv_session_node_count(session); i++) {
            ok(fv_session_node(session, i, &info));
            if (strcmp(info.op, "local") == 0) break;
        }
        ck_assert_str_eq(info.op, "local");
        ck_assert_int_eq(info.receptive_field[0], t.s.kernel[0]);
        ck_assert_int_eq(info.receptive_field[1], t.s.kernel[1]);
        fv_session_free(session);
        ok(fv_model_save(m, wire_path)); /* and the same bits from a file, on three threads */
        fv_model_free(m);
        ok(fv_model_load(threads, wire_path, &m));
        ck_assert_uint_eq(run_on(m, t.n, x, again), n);
        ck_assert_int_eq(memcmp(y, again, n * sizeof *y), 0);
        fv_model_free(m);
    }
    fv_context_free(threads);
    leave();
}
END_TEST

/* ---- untied bias ---- */

static fv_trainer *trainer_of(const fv_model *m, fv_optimizer optimizer, float decay) {
    fv_trainer_settings s;
    fv_trainer *t = NULL;
    fv_trainer_settings_default(&s);
    s.loss = FV_LOSS_SQUARED_ERROR;
    s.reduction = FV_REDUCTION_SUM;
    s.optimizer = optimizer;
    s.lr = 0.01f;
    s.weight_decay = decay;
    ok(fv_trainer_create(m, &s, &t));
    return t;
}

static const float *parameter(const fv_model *m, const char *name, size_t *count) {
    for (size_t i = 0; i < fv_model_parameter_count(m); i++) {
        const char *found;
        fv_tensor t;
        ok(fv_model_parameter(m, i, &found, &t, NULL));
        if (strcmp(found, name) != 0) continue;
        ok(fv_tensor_count(&t, count));
        return t.data;
    }
    ck_abort_msg("no parameter %s", name);
}

/* One step of plain descent: B -= lr * (sum over the images alone of y - t), and weight decay leaves it. */
START_TEST(untied_bias_sums_over_images_alone) {
    enum { n = 3, units = 4 * 3 * 5 };
    static float x[n * 2 * 5 * 7], target[n * units], y[MOST];
    enter();
    fv_conv_settings s;
    fv_conv_settings_default(&s);
    s.out_channels = 4;
    s.bias = FV_BIAS_UNTIED;
    const int64_t shape[4] = {0, 2, 5, 7};
    fv_graph *g = new_graph();
    fv_model *m = model_from(g, fv_graph_flatten(g, fv_graph_conv(g, fv_graph_input(g, "x", 4, shape), &s, "c"), "f")),
             *after = NULL;
    draw_all(x, sizeof x / sizeof *x, 3);
    draw_all(target, n * units, 4);
    ck_assert_uint_eq(run_on(m, n, x, y), n * units);
    fv_trainer *t = trainer_of(m, FV_SGD, 0.5f);
    const fv_tensor in = maps(x, n, 2, 5, 7), wanted = rows(target, n, units);
    ok(fv_trainer_step(t, &in, &wanted, NULL));
    ok(fv_trainer_model(t, &after));
    size_t count;
    const float *bias = parameter(after, "c.bias", &count);
    ck_assert_uint_eq(count, units);
    double want[units] = {0};
    for (int i = 0; i < units; i++)
        for (int k = 0; k < n; k++)
            want[i] -= (double)0.01f * ((double)y[k * units + i] - (double)target[k * units + i]);
    close_to(bias, want, units);
    fv_trainer_free(t);
    fv_model_free(after);
    fv_model_free(m);
    leave();
}
END_TEST

/* ---- connection tables ---- */

/* LeNet-5's C3 (LeCun et al. 1998, table I): 16 maps from 6. */
static void c3_table(uint8_t table[16 * 6]) {
    static const char *const fed[16] = {"012",  "123",  "234",  "345",  "045",  "015",  "0123", "1234",
                                        "2345", "0345", "0145", "0125", "0134", "1245", "0235", "012345"};
    memset(table, 0, 16 * 6);
    for (int k = 0; k < 16; k++)
        for (const char *c = fed[k]; *c; c++) table[k * 6 + (*c - '0')] = 1;
}

static fv_model *c3(void) {
    uint8_t table[16 * 6];
    fv_conv_settings s;
    fv_conv_settings_default(&s);
    c3_table(table);
    s.out_channels = 16;
    s.kernel[0] = s.kernel[1] = 5;
    s.connections = table;
    const int64_t shape[4] = {0, 6, 7, 7};
    fv_graph *g = new_graph();
    return model_from(g, fv_graph_flatten(g, fv_graph_conv(g, fv_graph_input(g, "x", 4, shape), &s, "c3"), "f"));
}

/* Absent kernels hold +0, the others something else. */
static void zeros_where_absent(const fv_model *m, const float *not_these) {
    uint8_t table[16 * 6];
    size_t count;
    const float *w = parameter(m, "c3.weight", &count);
    c3_table(table);
    ck_assert_uint_eq(count, 16 * 6 * 25);
    for (size_t i = 0; i < count; i++) {
        if (table[i / 25])
            ck_assert(w[i] != 0 && (!not_these || w[i] != not_these[i]));
        else
            ck_assert(w[i] == 0 && !signbit(w[i]));
    }
}

START_TEST(absent_edges_stay_absent) {
    enum { n = 4 };
    static float x[n * 6 * 49], target[n * 16 * 9];
    enter();
    fv_model *m = c3();
    size_t count;
    ck_assert_uint_eq(fv_model_weight_count(m), 1516); /* as in the paper */
    zeros_where_absent(m, NULL);
    draw_all(x, sizeof x / sizeof *x, 8);
    draw_all(target, sizeof target / sizeof *target, 9);
    const fv_tensor in = maps(x, n, 6, 7, 7), wanted = rows(target, n, 16 * 9);
    for (fv_optimizer o = FV_SGD; o <= FV_ADAMW; o++) {
        fv_model *after = NULL;
        fv_trainer *t = trainer_of(m, o, 0.1f);
        for (int i = 0; i < 5; i++) ok(fv_trainer_step(t, &in, &wanted, NULL));
        ok(fv_trainer_model(t, &after));
        zeros_where_absent(after, parameter(m, "c3.weight", &count));
        ck_assert_uint_eq(fv_model_weight_count(after), 1516);
        fv_trainer_free(t);
        fv_model_free(after);
    }
    fv_model_free(m);
    leave();
}
END_TEST

/* ---- sentences ---- */

static void sentence(fv_graph *g, fv_value v, fv_status wanted, const char *part) {
    ck_assert_int_eq(v, FV_NONE);
    fails(fv_graph_status(g), wanted, part);
    fv_graph_free(g);
}

static const int64_t in_shape[4] = {0, 2, 5, 6};
#define WITH_INPUT                                                                                                     \
    g = new_graph();                                                                                                   \
    x = fv_graph_input(g, "x", 4, in_shape)

START_TEST(every_refusal_says_why) {
    enter();
    fv_graph *g;
    fv_value x;
    fv_conv_settings s, plain;
    uint8_t table[6] = {1, 0, 1, 1, 0, 2};
    const int64_t three[3] = {3, 4, 4}, four[4] = {3, 2, 3, 3}, six[6] = {3, 2, 3, 3, 3, 3};
    float ones[54];
    for (int i = 0; i < 54; i++) ones[i] = 1;
    fv_conv_settings_default(&plain);
    plain.out_channels = 3;
    s = plain;
    s.bias = (fv_bias)3;
    WITH_INPUT;
    sentence(g, fv_graph_conv(g, x, &s, "c"), FV_ERR_ARGUMENT, "\"c\": unknown kind of bias 3");
    WITH_INPUT;
    sentence(g,
             fv_graph_conv_with(g, x, fv_graph_parameter(g, "w", 4, four, NULL, FV_INIT_HE, true),
                                fv_graph_parameter(g, "b", 3, three, NULL, FV_INIT_HE, true), &plain, "c"),
             FV_ERR_SHAPE, "\"c.untied\": an untied bias (3,4,4) does not fit the maps of (N,3,3,4)");
    WITH_INPUT;
    sentence(g, fv_graph_untied_bias_with(g, x, FV_NONE, "u"), FV_ERR_ARGUMENT, "an untied bias is not a value");
    s = plain;
    s.connections = table;
    WITH_INPUT;
    sentence(g, fv_graph_conv(g, x, &s, "c"), FV_ERR_ARGUMENT,
             "\"c\": the connection table at map 2 from map 1 is neither 0 nor 1");
    table[5] = 1;
    WITH_INPUT;
    sentence(g, fv_graph_conv_with(g, x, fv_graph_parameter(g, "w", 4, four, ones, FV_INIT_HE, true), FV_NONE, &s, "c"),
             FV_ERR_ARGUMENT, "at map 0 from map 1 is 0, but its kernel is not");
    WITH_INPUT;
    sentence(g, fv_graph_local(g, x, &s, "l"), FV_ERR_ARGUMENT,
             "\"l\": a locally connected layer takes no connection table");
    s.out_channels = 4;
    s.groups = 2;
    WITH_INPUT;
    sentence(g, fv_graph_conv(g, x, &s, "c"), FV_ERR_ARGUMENT,
             "\"c\": a connection table needs a weight of its own and one group");
    s.connections = NULL;
    WITH_INPUT;
    sentence(g, fv_graph_local(g, x, &s, "l"), FV_ERR_ARGUMENT,
             "\"l\": a locally connected layer has one group, not 2");
    s = plain;
    s.kernel[0] = 7;
    WITH_INPUT;
    sentence(g, fv_graph_local(g, x, &s, "l"), FV_ERR_SHAPE, "\"l\": a window of 7 does not fit the height of 5");
    WITH_INPUT;
    sentence(
        g, fv_graph_local_with(g, x, fv_graph_parameter(g, "w", 6, six, NULL, FV_INIT_HE, true), FV_NONE, &plain, "l"),
        FV_ERR_SHAPE, "\"l\": its weight (3,2,3,3,3,3) does not fit 3x4 positions");
    WITH_INPUT;
    sentence(
        g, fv_graph_local_with(g, x, fv_graph_parameter(g, "w", 4, four, NULL, FV_INIT_HE, true), FV_NONE, &plain, "l"),
        FV_ERR_SHAPE, "\"l\": a locally connected layer takes maps (N,C,H,W) and a weight (K,C,H',W',kh,kw)");
    leave();
}
END_TEST

/* ---- files ---- */

static fv_value all_of_them(fv_graph *g, fv_value x) {
    static const uint8_t table[12] = {1, 0, 1, 1, 0, 1, 1, 1, 0, 1, 0, 0};
    fv_conv_settings s;
    fv_conv_settings_default(&s);
    s.out_channels = 3;
    s.bias = FV_BIAS_UNTIED;
    s.padding = FV_PAD_SAME_LOWER;
    x = fv_graph_relu(g, fv_graph_conv(g, x, &s, "untied"), "relu");
    s.out_channels = 4;
    s.connections = table;
    s.bias = FV_BIAS_TIED;
    x = fv_graph_tanh(g, fv_graph_conv(g, x, &s, "tied_table"), "tanh");
    s.connections = NULL;
    s.out_channels = 3;
    x = fv_graph_local(g, x, &s, "local");
    s.bias = FV_BIAS_NONE;
    s.connections = table;
    s.out_channels = 4;
    s.true_convolution = true;
    x = fv_graph_conv(g, x, &s, "table");
    s.connections = NULL;
    s.padding = FV_PAD_EXPLICIT;
    s.stride[0] = s.pad_before[1] = 2;
    s.dilation[1] = 2;
    x = fv_graph_local(g, x, &s, "true_local");
    return fv_graph_untied_bias(g, fv_graph_flatten(g, x, "flat"), "vector");
}

START_TEST(files_hold_all_of_it) {
    static float x[2 * 2 * 7 * 6], y[MOST], again[MOST];
    char second[112];
    enter();
    const int64_t shape[4] = {0, 2, 7, 6};
    fv_graph *g = new_graph();
    fv_model *m = model_from(g, all_of_them(g, fv_graph_input(g, "x", 4, shape))), *back = NULL;
    draw_all(x, sizeof x / sizeof *x, 2);
    snprintf(second, sizeof second, "%s.again", wire_path);
    ok(fv_model_save(m, wire_path));
    ok(fv_model_load(context, wire_path, &back));
    ok(fv_model_save(back, second));
    const size_t n = run_on(m, 2, x, y);
    ck_assert_uint_eq(run_on(back, 2, x, again), n);
    ck_assert_int_eq(memcmp(y, again, n * sizeof *y), 0);
    ck_assert_uint_eq(fv_model_weight_count(m), fv_model_weight_count(back));
    ck_assert_uint_eq(fv_model_parameter_count(m), fv_model_parameter_count(back));
    wire one = wire_get(wire_path), two = wire_get(second);
    ck_assert_uint_eq(one.n, two.n);
    ck_assert_int_eq(memcmp(one.data, two.data, one.n), 0);
    w_free(&one);
    w_free(&two);
    fv_model_free(m);
    fv_model_free(back);
    leave();
}
END_TEST

static wire table_node(size_t n, const int64_t *table) {
    wire node = node_of("conv_table", "c", "x w b", "c.y");
    w_text(&node, 7, "fovea");
    node_attr(&node, attr_ints("table", n, table));
    return node;
}

START_TEST(bad_files_are_refused) {
    static const int64_t ones[9] = {1, 1, 1, 1, 1, 1, 1, 1, 1}, two[8] = {1, 1, 2, 1, 1, 1, 1, 1},
                         absent[8] = {0, 1, 1, 1, 1, 1, 1, 1};
    enter();
    same_answer(with_node(table_node(8, ones)));
    refused(with_node(table_node(7, ones)), FV_ERR_UNSUPPORTED, "an entry for every kernel");
    refused(with_node(table_node(9, ones)), FV_ERR_UNSUPPORTED, "an entry for every kernel");
    refused(with_node(table_node(8, two)), FV_ERR_ARGUMENT, "is neither 0 nor 1");
    refused(with_node(table_node(8, absent)), FV_ERR_ARGUMENT, "is 0, but its kernel is not");
    wire node = node_of("locally_connected", "c", "x w", "c.y");
    w_text(&node, 7, "fovea");
    refused(with_node(node), FV_ERR_UNSUPPORTED, "the weight must be a constant of rank 6");
    leave();
}
END_TEST

int main(void) {
    Suite *suite = suite_create("ops_local");
    TCase *tcase = tcase_create("ops_local");
    const TTest *const tests[] = {sizes_with_skipping_factors,
                                  locally_connected_is_its_definition,
                                  untied_bias_sums_over_images_alone,
                                  absent_edges_stay_absent,
                                  every_refusal_says_why,
                                  files_hold_all_of_it,
                                  bad_files_are_refused};
    tcase_set_timeout(tcase, 60);
    tcase_add_loop_test(tcase, values_of_pytorch_and_onnxruntime, 0, sizeof goldens / sizeof *goldens);
    for (size_t i = 0; i < sizeof tests / sizeof *tests; i++) tcase_add_test(tcase, tests[i]);
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    const int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
