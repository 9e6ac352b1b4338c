/* Graphs: what fusing, sharing memory and layouts must not change, on random networks; and the builder's errors. */
#include "unit.h"

#include <math.h>

/* ---- random networks ---- */

enum { most_values = 16, batch = 2, room = batch * 9 * 12 * 12 };

typedef struct shape {
    int64_t c, h, w;
} shape;

typedef struct network {
    fv_graph *graph;
    fv_value values[most_values];
    shape shapes[most_values];
    int count;
    uint32_t state;
} network;

static int pick(network *n, int below) { return (int)((draw_u32(&n->state) >> 8) % (uint32_t)below); }

static void keep(network *n, fv_value v, shape s) {
    n->values[n->count] = v;
    n->shapes[n->count++] = s;
}

static void add_conv(network *n, fv_value x, shape s) {
    fv_conv_settings conv;
    fv_conv_settings_default(&conv);
    conv.out_channels = (int32_t)s.c;
    if (pick(n, 2)) conv.out_channels = 1 + pick(n, 9);
    if (pick(n, 4) == 0 && conv.out_channels == s.c) conv.groups = (int32_t)s.c;
    conv.kernel[0] = conv.kernel[1] = 1 + 2 * pick(n, 2);
    conv.padding = FV_PAD_SAME_UPPER;
    conv.bias = pick(n, 2);
    conv.true_convolution = pick(n, 4) == 0;
    keep(n, fv_graph_conv(n->graph, x, &conv, NULL), (shape){conv.out_channels, s.h, s.w});
}

static void add_pool(network *n, fv_value x, shape s) {
    fv_pool_settings pool;
    fv_pool_settings_default(&pool);
    pool.kind = pick(n, 2) ? FV_POOL_MAX : FV_POOL_AVERAGE;
    const int stride = 1 + pick(n, 2);
    pool.stride[0] = pool.stride[1] = stride;
    keep(n, fv_graph_pool(n->graph, x, &pool, NULL), (shape){s.c, (s.h - 2) / stride + 1, (s.w - 2) / stride + 1});
}

static void add_binary(network *n, int at) {
    int other[most_values], found = 0;
    for (int i = 0; i < n->count; i++)
        if (memcmp(&n->shapes[i], &n->shapes[at], sizeof(shape)) == 0) other[found++] = i; /* itself included */
    const fv_value a = n->values[at], b = n->values[other[pick(n, found)]];
    fv_value sum;
    switch (pick(n, 4)) {
    case 0:
        sum = fv_graph_multiply(n->graph, a, b, NULL);
        break;
    case 1:
        sum = fv_graph_subtract(n->graph, a, b, NULL);
        break;
    case 2:
        sum = fv_graph_add(n->graph, b, a, NULL);
        break;
    default:
        sum = fv_graph_add(n->graph, a, b, NULL);
        break;
    }
    keep(n, sum, n->shapes[at]);
}

static void add_node(network *n) {
    const int at = pick(n, 3) ? n->count - 1 : pick(n, n->count); /* mostly a chain, with branches */
    const fv_value x = n->values[at];
    const shape s = n->shapes[at];
    switch (pick(n, 11)) {
    case 0:
    case 1:
        keep(n, fv_graph_relu(n->graph, x, NULL), s);
        break;
    case 2:
        keep(n, fv_graph_tanh(n->graph, x, NULL), s);
        break;
    case 3:
        keep(n, fv_graph_clip(n->graph, x, -0.5f, 0.5f, NULL), s);
        break;
    case 4:
        keep(n, fv_graph_scale(n->graph, x, 0.5f, 0.1f, NULL), s);
        break;
    case 5:
        keep(n, fv_graph_gain(n->graph, x, true, NULL), s);
        break;
    case 6:
        keep(n, fv_graph_dropout(n->graph, x, 0.5f, NULL), s);
        break;
    case 7:
        if (s.h > 2 && s.w > 2) {
            add_pool(n, x, s);
            break;
        } /* fall through */
    case 8:
    case 9:
        add_conv(n, x, s);
        break;
    default:
        add_binary(n, at);
        break;
    }
}

/* The same network for the same seed; `every`: each value is an output too, which leaves nothing to fuse or to
 * overwrite. */
static fv_model *random_model(fv_context *c, uint32_t seed, bool every, shape *in) {
    network n = {.state = seed};
    fv_model *m = NULL;
    ok(fv_graph_create(c, &n.graph));
    *in = (shape){1 + pick(&n, 8), 3 + pick(&n, 10), 3 + pick(&n, 10)};
    const int64_t dims[4] = {0, in->c, in->h, in->w};
    keep(&n, fv_graph_input(n.graph, "x", 4, dims), *in);
    const int nodes = 3 + pick(&n, most_values - 4);
    for (int i = 0; i < nodes; i++) add_node(&n);
    fv_value last = n.values[n.count - 1];
    if (pick(&n, 2))
        last = fv_graph_linear(n.graph, pick(&n, 2) ? fv_graph_flatten(n.graph, last, NULL) : last, 7, true,
                               FV_INIT_LECUN, NULL);
    ok(fv_graph_output(n.graph, last, "y"));
    for (int i = 0; every && i < n.count; i++) ok(fv_graph_output(n.graph, n.values[i], NULL));
    ok(fv_model_create(n.graph, seed, &m));
    fv_graph_free(n.graph);
    return m;
}

static size_t first_output(const fv_model *m, shape s, fv_layout layout, float *y) {
    static float x[room], rest[most_values][room];
    fv_session_settings settings;
    fv_session *session = NULL;
    fv_tensor out[most_values + 1], in = maps(x, batch, s.c, s.h, s.w);
    size_t count = 0, first = 0;
    fv_session_settings_default(&settings);
    settings.batch = batch;
    settings.output_layout = layout;
    ok(fv_session_create(m, &settings, &session));
    draw_all(x, (size_t)(batch * s.c * s.h * s.w), 77);
    for (size_t i = 0; i < fv_model_output_count(m); i++) {
        ok(fv_model_output(m, i, NULL, &out[i]));
        out[i].shape[0] = batch;
        out[i].layout = layout;
        out[i].data = i ? rest[i - 1] : y;
        ok(fv_tensor_count(&out[i], &count));
        ck_assert_uint_le(count, room);
        if (i == 0) first = count;
    }
    for (int again = 0; again < 2; again++) ok(fv_session_run(session, &in, 1, out, fv_model_output_count(m)));
    fv_session_free(session);
    return first;
}

START_TEST(planning_changes_no_number) {
    static float planned[room], plain[room], last[room];
    for (uint32_t seed = 1; seed <= 400; seed++) {
        fv_context *c = context_of(FV_BACKEND_PTHREADS, 1 + (int)seed % 3);
        shape s;
        fv_model *a = random_model(c, seed * 7919, false, &s), *b = random_model(c, seed * 7919, true, &s);
        fv_tensor y;
        const size_t n = first_output(a, s, FV_PLAIN, planned);
        ck_assert_uint_eq(first_output(b, s, FV_PLAIN, plain), n);
        for (size_t i = 0; i < n; i++)
            ck_assert_msg(fabsf(planned[i] - plain[i]) <= 1e-5f * (1 + fabsf(plain[i])),
                          "seed %u, %zu of %zu: %g, not %g", seed, i, n, (double)planned[i], (double)plain[i]);
        ck_assert_uint_eq(first_output(a, s, FV_NHWC, last), n);
        ok(fv_model_output(a, 0, NULL, &y));
        const size_t maps_out = (size_t)y.shape[1], pixels = y.rank == 4 ? (size_t)(y.shape[2] * y.shape[3]) : 1;
        for (size_t i = 0; i < n; i++) { /* i counts plainly: image, map, pixel */
            const size_t image = i / (maps_out * pixels), map = i / pixels % maps_out, pixel = i % pixels;
            ck_assert(planned[i] == last[(image * pixels + pixel) * maps_out + map]);
        }
        fv_model_free(a);
        fv_model_free(b);
        fv_context_free(c);
    }
}
END_TEST

/* ---- outputs that need memory of their own ---- */

START_TEST(inputs_parameters_and_twins_as_outputs) {
    const int64_t dims[4] = {0, 2, 3, 3}, weight[2] = {batch, 3};
    float x[batch * 18], y[4][batch * 18], w[batch * 3];
    fv_context *c = context_of(FV_BACKEND_PTHREADS, 2);
    fv_graph *g = NULL;
    fv_model *m = NULL;
    fv_session *s = NULL;
    fv_session_settings settings;
    draw_all(x, batch * 18, 5);
    draw_all(w, batch * 3, 6);
    ok(fv_graph_create(c, &g));
    const fv_value in = fv_graph_input(g, "x", 4, dims),
                   p = fv_graph_parameter(g, "w", 2, weight, w, FV_INIT_ZEROS, true), r = fv_graph_relu(g, in, NULL);
    ok(fv_graph_output(g, in, "same"));
    ok(fv_graph_output(g, r, "relu"));
    ok(fv_graph_output(g, r, "twin"));
    ok(fv_graph_output(g, p, "w"));
    ok(fv_model_create(g, 1, &m));
    fv_session_settings_default(&settings);
    settings.batch = batch;
    ok(fv_session_create(m, &settings, &s));
    const fv_tensor input = maps(x, batch, 2, 3, 3);
    const fv_tensor out[4] = {maps(y[0], batch, 2, 3, 3), maps(y[1], batch, 2, 3, 3), maps(y[2], batch, 2, 3, 3),
                              rows(y[3], batch, 3)};
    ok(fv_session_run(s, &input, 1, out, 4));
    ck_assert_int_eq(memcmp(y[0], x, sizeof x), 0);
    ck_assert_int_eq(memcmp(y[1], y[2], sizeof x), 0);
    for (int i = 0; i < batch * 18; i++) ck_assert(y[1][i] == (x[i] > 0 ? x[i] : 0));
    ck_assert_int_eq(memcmp(y[3], w, sizeof w), 0);
    fv_session_free(s);
    fv_model_free(m);
    fv_graph_free(g);
    fv_context_free(c);
}
END_TEST

/* ---- the builder ---- */

static const int64_t one = 1;

static void unknown_value(fv_graph *g, fv_value x) { (void)x, fv_graph_relu(g, 99, "r"); }
static void name_twice(fv_graph *g, fv_value x) { (void)x, fv_graph_input(g, "x", 1, &one); }
static void huge_parameter(fv_graph *g, fv_value x) {
    static const int64_t huge[4] = {INT32_MAX, INT32_MAX, INT32_MAX, INT32_MAX};
    (void)x, fv_graph_parameter(g, "p", 4, huge, NULL, FV_INIT_HE, true);
}
static void negative_parameter(fv_graph *g, fv_value x) {
    static const int64_t negative = -1;
    (void)x, fv_graph_parameter(g, "p", 1, &negative, NULL, FV_INIT_HE, true);
}
static void no_rank(fv_graph *g, fv_value x) { (void)x, fv_graph_input(g, "z", 0, &one); }
static void unknown_init(fv_graph *g, fv_value x) {
    (void)x, fv_graph_parameter(g, "p", 1, &one, NULL, (fv_init)9, true);
}
static void no_settings(fv_graph *g, fv_value x) { fv_graph_conv(g, x, NULL, "c"); }
static void no_pool_settings(fv_graph *g, fv_value x) { fv_graph_pool(g, x, NULL, "p"); }
static void unknown_pool(fv_graph *g, fv_value x) {
    const fv_pool_settings pool = {.kind = (fv_pool_kind)9, .window = {2, 2}, .stride = {1, 1}, .dilation = {1, 1}};
    fv_graph_pool(g, x, &pool, "p");
}
static void empty_window(fv_graph *g, fv_value x) {
    const fv_pool_settings pool = {.window = {0, 2}, .stride = {1, 1}, .dilation = {1, 1}};
    fv_graph_pool(g, x, &pool, "p");
}
static void other_shape(fv_graph *g, fv_value x) {
    static const int64_t small[4] = {0, 4, 4, 4};
    fv_graph_add(g, x, fv_graph_input(g, "z", 4, small), "a");
}
static void clip_turned(fv_graph *g, fv_value x) { fv_graph_clip(g, x, 2, 1, "k"); }
static void clip_nan(fv_graph *g, fv_value x) { fv_graph_clip(g, x, (float)NAN, 1, "k"); }
static void drop_all(fv_graph *g, fv_value x) { fv_graph_dropout(g, x, 1, "d"); }
static void drop_nan(fv_graph *g, fv_value x) { fv_graph_dropout(g, x, (float)NAN, "d"); }
static void softmax_of_maps(fv_graph *g, fv_value x) { fv_graph_softmax(g, x, "s"); }
static void no_features(fv_graph *g, fv_value x) { fv_graph_linear(g, x, 0, true, FV_INIT_HE, "f"); }
static void negative_features(fv_graph *g, fv_value x) { fv_graph_linear(g, x, -5, true, FV_INIT_HE, "f"); }
static void wrong_weight(fv_graph *g, fv_value x) {
    fv_graph_linear_with(g, x, fv_graph_parameter(g, "p", 1, &one, NULL, FV_INIT_HE, true), FV_NONE, "l");
}
static void layer_twice(fv_graph *g, fv_value x) {
    fv_conv_settings conv;
    fv_conv_settings_default(&conv);
    fv_graph_conv(g, fv_graph_conv(g, x, &conv, "c"), &conv, "c");
}

static const struct {
    void (*make)(fv_graph *g, fv_value x);
    fv_status status;
    const char *part;
} mistakes[] = {
    {unknown_value, FV_ERR_ARGUMENT, "not a value"},
    {name_twice, FV_ERR_ARGUMENT, "got \"x\""},
    {huge_parameter, FV_ERR_SHAPE, "too many elements"},
    {negative_parameter, FV_ERR_SHAPE, "size -1"},
    {no_rank, FV_ERR_SHAPE, "rank 0"},
    {unknown_init, FV_ERR_ARGUMENT, "initialization 9"},
    {no_settings, FV_ERR_ARGUMENT, "settings"},
    {no_pool_settings, FV_ERR_ARGUMENT, "settings"},
    {unknown_pool, FV_ERR_ARGUMENT, "kind"},
    {empty_window, FV_ERR_ARGUMENT, "kernel height is 0"},
    {other_shape, FV_ERR_SHAPE, "differ in shape"},
    {clip_turned, FV_ERR_ARGUMENT, "clip from 2 to 1"},
    {clip_nan, FV_ERR_ARGUMENT, "clip from nan"},
    {drop_all, FV_ERR_ARGUMENT, "node \"d\""},
    {drop_nan, FV_ERR_ARGUMENT, "node \"d\""},
    {softmax_of_maps, FV_ERR_SHAPE, "node \"s\""},
    {no_features, FV_ERR_SHAPE, "\"f.weight\""},
    {negative_features, FV_ERR_SHAPE, "\"f.weight\""},
    {wrong_weight, FV_ERR_SHAPE, "node \"l\""},
    {layer_twice, FV_ERR_ARGUMENT, "got \"c.weight\""},
};

/* Convolutions with one setting wrong; 0: the default's. */
static const struct {
    int32_t groups, kernel, stride, dilation, pad, padding;
    fv_status status;
    const char *part;
} bad_convs[] = {
    {.groups = 3, .status = FV_ERR_SHAPE, .part = "node \"c\": 3 groups"},
    {.groups = -1, .status = FV_ERR_SHAPE, .part = "-1 groups"},
    {.kernel = 9, .status = FV_ERR_SHAPE, .part = "does not fit"},
    {.kernel = -1, .status = FV_ERR_SHAPE, .part = "size -1"},
    {.stride = -1, .status = FV_ERR_ARGUMENT, .part = "stride -1"},
    {.dilation = -1, .status = FV_ERR_ARGUMENT, .part = "dilation -1"},
    {.dilation = INT32_MAX, .status = FV_ERR_LIMIT, .part = "too large"},
    {.pad = -1, .status = FV_ERR_ARGUMENT, .part = "negative padding"},
    {.pad = INT32_MAX, .status = FV_ERR_LIMIT, .part = "too large"},
    {.padding = 9, .status = FV_ERR_ARGUMENT, .part = "unknown padding 9"},
};

static void make_conv(fv_graph *g, fv_value x, size_t i) {
    fv_conv_settings conv;
    fv_conv_settings_default(&conv);
    if (bad_convs[i].groups) conv.groups = bad_convs[i].groups;
    if (bad_convs[i].kernel) conv.kernel[1] = bad_convs[i].kernel;
    if (bad_convs[i].stride) conv.stride[0] = bad_convs[i].stride;
    if (bad_convs[i].dilation) conv.dilation[1] = bad_convs[i].dilation;
    conv.pad_after[0] = bad_convs[i].pad;
    conv.padding = (fv_padding)bad_convs[i].padding;
    fv_graph_conv(g, x, &conv, "c");
}

START_TEST(the_first_mistake_sticks) {
    const size_t layers = sizeof mistakes / sizeof *mistakes, convs = sizeof bad_convs / sizeof *bad_convs;
    const int64_t dims[4] = {0, 4, 8, 8};
    fv_context *c = context_of(FV_BACKEND_SERIAL, 1);
    for (size_t k = 0; k < layers + convs; k++) {
        const fv_status status = k < layers ? mistakes[k].status : bad_convs[k - layers].status;
        const char *part = k < layers ? mistakes[k].part : bad_convs[k - layers].part;
        fv_graph *g = NULL;
        fv_model *m = NULL;
        ok(fv_graph_create(c, &g));
        const fv_value x = fv_graph_input(g, "x", 4, dims);
        if (k < layers)
            mistakes[k].make(g, x);
        else
            make_conv(g, x, k - layers);
        ck_assert_int_eq(fv_graph_relu(g, x, "later"), FV_NONE); /* nothing is added after it */
        ck_assert_int_eq(fv_graph_softmax(g, 1234, "worse"), FV_NONE);
        fails(fv_graph_status(g), status, part);
        fails(fv_graph_output(g, x, "y"), status, part);
        fails(fv_model_create(g, 1, &m), status, part);
        ck_assert_ptr_null(m);
        fv_graph_free(g);
    }
    fv_context_free(c);
}
END_TEST

START_TEST(null_everywhere) {
    fv_context *c = context_of(FV_BACKEND_SERIAL, 1);
    fv_graph *g = NULL;
    fv_model *m = NULL;
    fv_tensor t;
    fails(fv_graph_create(NULL, &g), FV_ERR_ARGUMENT, "needs");
    fails(fv_graph_create(c, NULL), FV_ERR_ARGUMENT, "needs");
    fails(fv_graph_status(NULL), FV_ERR_ARGUMENT, "NULL");
    fails(fv_graph_output(NULL, 0, "y"), FV_ERR_ARGUMENT, "NULL");
    ck_assert_int_eq(fv_graph_relu(NULL, 0, "r"), FV_NONE);
    ck_assert_int_eq(fv_graph_input(NULL, "x", 1, (const int64_t[]){1}), FV_NONE);
    ck_assert_int_eq(fv_graph_conv(NULL, 0, NULL, NULL), FV_NONE);
    fails(fv_model_create(NULL, 1, &m), FV_ERR_ARGUMENT, "needs");
    ok(fv_graph_create(c, &g));
    fails(fv_model_create(g, 1, &m), FV_ERR_ARGUMENT, "no input");
    const fv_value x = fv_graph_input(g, "x", 2, (const int64_t[]){0, 3});
    fails(fv_model_create(g, 1, &m), FV_ERR_ARGUMENT, "no output");
    ok(fv_graph_output(g, fv_graph_relu(g, x, NULL), NULL));
    fails(fv_model_create(g, 1, NULL), FV_ERR_ARGUMENT, "needs");
    ok(fv_model_create(g, 1, &m));
    fails(fv_model_input(m, 1, NULL, &t), FV_ERR_ARGUMENT, "no input 1");
    fails(fv_model_output(m, 1, NULL, &t), FV_ERR_ARGUMENT, "no output 1");
    fails(fv_model_parameter(m, 0, NULL, &t, NULL), FV_ERR_ARGUMENT, "no parameter 0");
    fails(fv_model_input(NULL, 0, NULL, &t), FV_ERR_ARGUMENT, "no input");
    fails(fv_model_parameter(NULL, 0, NULL, &t, NULL), FV_ERR_ARGUMENT, "NULL");
    ok(fv_model_input(m, 0, NULL, NULL));
    ck_assert_uint_eq(fv_model_input_count(NULL) + fv_model_output_count(NULL) + fv_model_node_count(NULL) +
                          fv_model_parameter_count(NULL),
                      0);
    ck_assert(!fv_model_gives_probabilities(NULL) && !fv_model_gives_probabilities(m));
    fails(fv_model_zoo(NULL, "lenet5", NULL, &m), FV_ERR_ARGUMENT, "needs");
    fails(fv_model_zoo(c, NULL, NULL, &m), FV_ERR_ARGUMENT, "needs");
    fails(fv_model_zoo(c, "lenet", NULL, &m), FV_ERR_NOT_FOUND, "lenet5, lecture");
    fv_model_free(m);
    fv_graph_free(g);
    fv_graph_free(NULL);
    fv_model_free(NULL);
    fv_conv_settings_default(NULL);
    fv_pool_settings_default(NULL);
    fv_zoo_settings_default(NULL);
    ck_assert_ptr_null(fv_zoo_name(99, NULL));
    fv_context_free(c);
}
END_TEST

START_TEST(the_zoo_has_its_sizes) {
    static const struct {
        const char *name;
        size_t parameters;
    } sizes[] = {{"lenet5", 61706},
                 {"lecture", 3 * 25 + 3 + 9 * 75 + 9 + 144 + 1},
                 {"cnn", 32 * 10 + 32 * 289 + 64 * 289 + 64 * 577 + 128 * 3137 + 10 * 129},
                 {"lenet5-1998", 156 + 12 + 16 * 151 + 32 + 120 * 401 + 84 * 121 + 10 * 85},
                 {"allconv", 32 * 10 + 2 * 32 * 289 + 64 * 289 + 3 * 64 * 577 + 64 * 65 + 10 * 65},
                 {"se-cnn", 32 * 10 + 32 * 289 + 64 * 289 + 64 * 577 + 128 * 3137 + 10 * 129 + 4 * 33 + 32 * 5 + 8 * 65 + 64 * 9},
                 {"resnet18-cifar", 11173962 + 2 * 4800},   /* He et al.: of them 2 x 4800 running moments */
                 {"mobilenet-cifar", 2236682 + 2 * 17056}, /* Sandler et al. */
                 {"resnet18", 11689512 + 2 * 4800}, /* from here on torchvision's counts */
                 {"resnet50", 25557032 + 2 * 26560},
                 {"vgg16", 138357544 - 4096 * 512 * 48}, /* at 32x32: fc1 sees 1 pixel, not 49 */
                 {"mobilenet_v2", 3504872 + 2 * 17056},
                 {"squeezenet1_1", 1235496},
                 {"autoencoder", 16 * 10 + 32 * 145 + 32 * 16 * 9 + 16 + 16 * 9 + 1}};
    fv_context *c = context_of(FV_BACKEND_SERIAL, 1);
    fv_model *m = NULL;
    fv_zoo_settings s;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        size_t total = 0, count;
        fv_tensor t;
        fv_zoo_settings_default(&s);
        s.height = s.width = strcmp(sizes[i].name, "vgg16") == 0 ? 32 : 0;
        ok(fv_model_zoo(c, sizes[i].name, &s, &m));
        for (size_t k = 0; k < fv_model_parameter_count(m); k++) {
            ok(fv_model_parameter(m, k, NULL, &t, NULL));
            ok(fv_tensor_count(&t, &count));
            total += count;
        }
        ck_assert_uint_eq(total, sizes[i].parameters);
        fv_model_free(m);
    }
    fv_zoo_settings_default(&s);
    s.height = 4;
    m = NULL;
    fails(fv_model_zoo(c, "lenet5", &s, &m), FV_ERR_SHAPE, "lenet5 at 1x4x28");
    s.height = -4;
    fails(fv_model_zoo(c, "lenet5", &s, &m), FV_ERR_ARGUMENT, "negative");
    ck_assert_ptr_null(m);
    fv_context_free(c);
}
END_TEST

int main(void) {
    const TTest *const tests[] = {planning_changes_no_number, inputs_parameters_and_twins_as_outputs,
                                  the_first_mistake_sticks,   null_everywhere,
                                  the_zoo_has_its_sizes,      NULL};
    return run_tests("graph", tests, 120);
}
