/* The other kinds of pooling, unpooling, values joined and cut, attention: against nested loops in double, against
 * PyTorch (the files of tests/golden/pool_torch.py, gradients too), what is refused, and ONNX there and back. */
#include "graph/graph.h"
#include "train/autodiff.h"
#include "wire.h"

#include <math.h>

static fv_context *context;

static void enter(void) {
    wire_enter();
    context = context_of(FV_BACKEND_PTHREADS, 2);
}

static void leave(void) {
    fv_context_free(context);
    wire_leave();
}

static void near(const char *what, const float *got, const double *want, size_t n, double tolerance) {
    for (size_t i = 0; i < n; i++)
        ck_assert_msg(fabs((double)got[i] - want[i]) <= tolerance * (1 + fabs(want[i])), "%s[%zu]: %g, expected %g",
                      what, i, (double)got[i], want[i]);
}

/* ---- pooling against its definition ---- */

static double weight_of(const fv_pool_settings *s, int u, int v) {
    const int32_t *n = s->window;
    const double side = n[0] > n[1] ? n[0] : n[1], sigma = s->sigma == 0 ? side / 4 : (double)s->sigma;
    double sum = 0, mine = 0;
    for (int i = 0; i < n[0]; i++)
        for (int k = 0; k < n[1]; k++) {
            const double y = i - (n[0] - 1) / 2.0, x = k - (n[1] - 1) / 2.0,
                         w = exp(-(y * y + x * x) / (2 * sigma * sigma));
            sum += w;
            if (i == u && k == v) mine = w;
        }
    return mine / sum;
}

static double expect_window(const fv_pool_settings *s, int h, int w, const float *x, int oy, int ox) {
    double sum = 0;
    if (s->kind == FV_POOL_STRIDE) return x[oy * s->stride[0] * w + ox * s->stride[1]];
    for (int u = 0; u < s->window[0]; u++)
        for (int v = 0; v < s->window[1]; v++) {
            const int yy = oy * s->stride[0] + u * s->dilation[0] - s->pad_before[0],
                      xx = ox * s->stride[1] + v * s->dilation[1] - s->pad_before[1];
            if (yy < 0 || yy >= h || xx < 0 || xx >= w) continue;
            const double value = x[yy * w + xx];
            sum += s->kind == FV_POOL_LP ? pow(fabs(value), (double)s->p) : weight_of(s, u, v) * value;
        }
    return s->kind == FV_POOL_LP ? pow(sum, 1 / (double)s->p) : sum;
}

static int size_of(const fv_pool_settings *s, int a, int in) {
    if (s->kind == FV_POOL_STRIDE) return (in + s->stride[a] - 1) / s->stride[a];
    const int room = in + s->pad_before[a] + s->pad_after[a] - s->dilation[a] * (s->window[a] - 1) - 1;
    const int size = (s->ceil_mode ? (room + s->stride[a] - 1) / s->stride[a] : room / s->stride[a]) + 1;
    return s->ceil_mode && (size - 1) * s->stride[a] >= in + s->pad_before[a] ? size - 1 : size;
}

static fv_session *session_of(fv_graph *g, fv_model **m, int64_t batch) {
    fv_session_settings settings;
    fv_session *s = NULL;
    fv_session_settings_default(&settings);
    settings.batch = batch;
    ok(fv_graph_status(g));
    ok(fv_model_create(g, 1, m));
    ok(fv_session_create(*m, &settings, &s));
    return s;
}

static int draw_in(uint32_t *state, int low, int high) {
    return low + (int)((draw_u32(state) >> 8) % (uint32_t)(high - low + 1));
}

static void check_pool(const fv_pool_settings *s, int n, int c, int h, int w, uint32_t seed) {
    static float x[8192], y[8192];
    const int64_t shape[4] = {0, c, h, w};
    const int oh = s->global ? 1 : size_of(s, 0, h), ow = s->global ? 1 : size_of(s, 1, w);
    fv_graph *g = NULL;
    fv_model *m = NULL;
    draw_all(x, (size_t)(n * c * h * w), seed);
    ok(fv_graph_create(context, &g));
    ok(fv_graph_output(g, fv_graph_pool(g, fv_graph_input(g, "x", 4, shape), s, NULL), "y"));
    fv_session *session = session_of(g, &m, n);
    const fv_tensor in = maps(x, n, c, h, w), out = maps(y, n, c, oh, ow);
    ok(fv_session_run(session, &in, 1, &out, 1));
    for (int i = 0; i < n * c * oh * ow; i++) {
        const int map = i / (oh * ow), oy = i / ow % oh, ox = i % ow;
        const double want = expect_window(s, h, w, x + map * h * w, oy, ox);
        near("y", y + i, &want, 1, 1e-5);
    }
    fv_session_free(session);
    fv_model_free(m);
    fv_graph_free(g);
}

START_TEST(kinds_are_their_definitions) {
    static const float powers[4] = {1, 2, 3, 2.5f};
    uint32_t state = 3;
    enter();
    for (int i = 0; i < 240; i++) {
        fv_pool_settings s;
        int size[2];
        fv_pool_settings_default(&s);
        s.kind = (fv_pool_kind)draw_in(&state, FV_POOL_LP, FV_POOL_STRIDE);
        s.p = powers[draw_in(&state, 0, 3)];
        s.ceil_mode = draw_in(&state, 0, 1);
        if (draw_in(&state, 0, 1)) s.sigma = 1.25f;
        const int most = s.kind == FV_POOL_WEIGHTED ? 7 : 4; /* from 5 on in two passes */
        for (int a = 0; a < 2; a++) {
            s.window[a] = draw_in(&state, 1, most);
            s.stride[a] = draw_in(&state, 1, 3);
            s.dilation[a] = draw_in(&state, 1, 4) == 1 ? 2 : 1;
            s.pad_before[a] = draw_in(&state, 0, s.window[a] - 1);
            s.pad_after[a] = draw_in(&state, 0, s.window[a] - 1);
            size[a] = s.dilation[a] * (s.window[a] - 1) + draw_in(&state, 1, 6);
        }
        check_pool(&s, draw_in(&state, 1, 2), draw_in(&state, 1, 20), size[0], size[1], state);
        s.kind = FV_POOL_LP;
        s.global = true;
        for (int a = 0; a < 2; a++) {
            s.window[a] = size[a];
            s.dilation[a] = 1;
            s.pad_before[a] = s.pad_after[a] = 0;
        }
        check_pool(&s, 2, draw_in(&state, 1, 20), size[0], size[1], state);
    }
    leave();
}
END_TEST

/* HARDENING D37: the last window begins in the padding after the input, and is left out; one that begins in the last
 * column stays. */
START_TEST(sizes_rounded_up) {
    enter();
    fv_pool_settings s;
    fv_pool_settings_default(&s);
    s.kind = FV_POOL_LP;
    s.ceil_mode = true;
    for (int a = 0; a < 2; a++) s.pad_before[a] = s.pad_after[a] = 1;
    ck_assert_int_eq(size_of(&s, 0, 1), 1);
    ck_assert_int_eq(size_of(&s, 0, 2), 2);
    for (int size = 1; size < 6; size++) check_pool(&s, 1, 3, size, 6 - size, 9);
    leave();
}
END_TEST

/* ---- PyTorch ---- */

typedef struct golden {
    const char *name, *inputs[4]; /* NULL-terminated */
    fv_value (*build)(fv_graph *g, const fv_value *in);
} golden;

static fv_value lp(fv_graph *g, fv_value x, float p, int32_t height, int32_t width, int32_t down, int32_t right) {
    fv_pool_settings s;
    fv_pool_settings_default(&s);
    s = (fv_pool_settings){FV_POOL_LP,      {height, width}, {down, right}, {1, 1}, {0, 0}, {0, 0},
                           FV_PAD_EXPLICIT, false,           false,         false,  p,      0};
    return fv_graph_pool(g, x, &s, NULL);
}

static fv_value build_lp3(fv_graph *g, const fv_value *in) { return lp(g, in[0], 3, 3, 2, 2, 1); }
static fv_value build_lp2(fv_graph *g, const fv_value *in) { return lp(g, in[0], 2, 2, 2, 2, 2); }

static fv_value build_unpool(fv_graph *g, const fv_value *in) {
    fv_pool_settings s;
    fv_value indices;
    fv_pool_settings_default(&s);
    const fv_value pooled = fv_graph_max_pool_indices(g, in[0], &s, &indices, "pool");
    return fv_graph_max_unpool(g, fv_graph_scale(g, pooled, 2, 0, NULL), indices, 7, 6, "unpool");
}

static fv_value build_global(fv_graph *g, const fv_value *in) {
    fv_pool_settings s;
    fv_value both[2];
    fv_pool_settings_default(&s);
    s.global = true;
    both[0] = fv_graph_pool(g, in[0], &s, NULL);
    s.kind = FV_POOL_AVERAGE;
    both[1] = fv_graph_pool(g, in[0], &s, NULL);
    return fv_graph_concat(g, both, 2, 1, NULL);
}

static fv_value build_parts(fv_graph *g, const fv_value *in) {
    const int32_t sizes[3] = {2, 4, 1};
    fv_value p[3];
    if (fv_graph_split(g, in[0], 1, 3, sizes, p, "split") != FV_OK) return FV_NONE;
    const fv_value joined[4] = {fv_graph_tanh(g, p[2], NULL), p[0], fv_graph_slice(g, p[1], 1, 1, 2, NULL), p[0]};
    return fv_graph_concat(g, joined, 4, 1, "concat");
}

static fv_value build_squeeze(fv_graph *g, const fv_value *in) {
    fv_pool_settings s;
    fv_pool_settings_default(&s);
    s.kind = FV_POOL_AVERAGE;
    s.global = true;
    fv_value v =
        fv_graph_relu(g, fv_graph_linear_with(g, fv_graph_pool(g, in[0], &s, NULL), in[1], FV_NONE, NULL), NULL);
    v = fv_graph_sigmoid(g, fv_graph_linear_with(g, v, in[2], FV_NONE, NULL), NULL);
    return fv_graph_scale_maps(g, in[0], v, NULL);
}

static fv_value build_mask(fv_graph *g, const fv_value *in) { return fv_graph_scale_pixels(g, in[0], in[1], NULL); }

static const golden goldens[] = {
    {"lp3", {"x"}, build_lp3},        {"lp2", {"x"}, build_lp2},     {"unpool", {"x"}, build_unpool},
    {"global", {"x"}, build_global},  {"parts", {"x"}, build_parts}, {"squeeze", {"x", "w1", "w2"}, build_squeeze},
    {"mask", {"x", "m"}, build_mask},
};

static fv_tensor golden_of(const char *name, const char *part) {
    char path[128];
    fv_tensor t;
    snprintf(path, sizeof path, "tests/golden/pool_%s_%s.npy", name, part);
    ok(fv_npy_read(context, path, &t));
    return t;
}

static void close_to_golden(const char *name, const char *part, const float *got) {
    fv_tensor t = golden_of(name, part);
    double want[1024];
    size_t count;
    ok(fv_tensor_count(&t, &count));
    ck_assert_uint_le(count, 1024);
    for (size_t i = 0; i < count; i++) want[i] = ((const float *)t.data)[i];
    near(part, got, want, count, 2e-6);
    fv_npy_free(context, &t);
}

/* Maps are inputs of the graph, matrices parameters; the loss is sum(dy * y), and its gradients are outputs. */
static void check_golden(const golden *o) {
    static float y[5][1024];
    fv_graph *g = NULL;
    fv_model *m = NULL;
    fv_value in[4], gradients[256];
    fv_tensor given[5], outs[5];
    size_t inputs = 0, wanted = 0;
    ok(fv_graph_create(context, &g));
    fv_tensor tensors[4], seed = golden_of(o->name, "dy");
    for (; wanted < 4 && o->inputs[wanted]; wanted++) {
        fv_tensor *t = &tensors[wanted];
        *t = golden_of(o->name, o->inputs[wanted]);
        if (t->rank == 4)
            in[wanted] = fv_graph_input(g, o->inputs[wanted], 4, t->shape), given[inputs++] = *t;
        else
            in[wanted] = fv_graph_parameter(g, o->inputs[wanted], t->rank, t->shape, t->data, FV_INIT_ZEROS, true);
    }
    const fv_value out = o->build(g, in), dy = fv_graph_input(g, "dy", seed.rank, seed.shape);
    ok(fv_graph_status(g));
    ok(fv_pass_pool_index(g));
    given[inputs++] = seed;
    ok(fv_autodiff(g, &out, &dy, 1, in, wanted, g->value_count, gradients));
    ok(fv_graph_output(g, out, "y"));
    outs[0] = seed;
    for (size_t i = 0; i < wanted; i++) {
        ok(fv_graph_output(g, gradients[in[i]], NULL));
        outs[1 + i] = tensors[i];
    }
    for (size_t i = 0; i <= wanted; i++) outs[i].data = y[i];
    fv_session *s = session_of(g, &m, seed.shape[0]);
    ok(fv_session_run(s, given, inputs, outs, 1 + wanted));
    close_to_golden(o->name, "y", y[0]);
    for (size_t i = 0; i < wanted; i++) {
        char part[16];
        snprintf(part, sizeof part, "d%s", o->inputs[i]);
        close_to_golden(o->name, part, y[1 + i]);
        fv_npy_free(context, &tensors[i]);
    }
    fv_npy_free(context, &seed);
    fv_session_free(s);
    fv_model_free(m);
    fv_graph_free(g);
}

START_TEST(what_pytorch_gives) {
    enter();
    for (size_t i = 0; i < sizeof goldens / sizeof *goldens; i++) check_golden(&goldens[i]);
    leave();
}
END_TEST

/* ---- indices ---- */

START_TEST(indices_count_in_the_whole_tensor) {
    enter();
    fv_tensor x = golden_of("unpool", "x"), want = golden_of("unpool", "indices");
    int64_t got[54];
    float y[54];
    fv_graph *g = NULL;
    fv_model *m = NULL;
    fv_pool_settings s;
    fv_value indices;
    fv_pool_settings_default(&s);
    ok(fv_graph_create(context, &g));
    ok(fv_graph_output(
        g, fv_graph_max_pool_indices(g, fv_graph_input(g, "x", 4, (int64_t[]){0, 3, 7, 6}), &s, &indices, NULL), "y"));
    ok(fv_graph_output(g, indices, "places"));
    fv_session *session = session_of(g, &m, 2);
    const fv_tensor out[2] = {maps(y, 2, 3, 3, 3), {FV_I64, FV_PLAIN, 4, {2, 3, 3, 3}, got}};
    ok(fv_session_run(session, &x, 1, out, 2));
    for (int i = 0; i < 54; i++) {
        ck_assert_int_eq(got[i], (int64_t)((const float *)want.data)[i]);
        ck_assert(y[i] == ((const float *)x.data)[got[i]]);
    }
    fv_npy_free(context, &x);
    fv_npy_free(context, &want);
    fv_session_free(session);
    fv_model_free(m);
    fv_graph_free(g);
    leave();
}
END_TEST

/* HARDENING D42: an index outside the tensor, or in another image's or map's part of it, keeps nothing; of equal ones
 * the last value stays. */
START_TEST(indices_from_outside) {
    enter();
    const int64_t shape[4] = {0, 2, 1, 2};
    int64_t at[8] = {3, 3, 11, 2, INT64_MAX, INT64_MIN, -1, 31};
    float x[8] = {1, 2, 3, 4, 5, 6, 7, 8}, y[32], want[32] = {0};
    fv_graph *g = NULL;
    fv_model *m = NULL, *back = NULL;
    ok(fv_graph_create(context, &g));
    const fv_value v = fv_graph_input(g, "x", 4, shape), i = fv_graph_input_indices(g, "i", shape);
    ok(fv_graph_output(g, fv_graph_max_unpool(g, v, i, 2, 4, "unpool"), "y"));
    fv_session *session = session_of(g, &m, 2);
    const fv_tensor in[2] = {maps(x, 2, 2, 1, 2), {FV_I64, FV_PLAIN, 4, {2, 2, 1, 2}, at}}, out = maps(y, 2, 2, 2, 4);
    want[3] = 2;
    want[11] = 3;
    want[31] = 8;
    ok(fv_session_run(session, in, 2, &out, 1));
    ck_assert_mem_eq(y, want, sizeof y);
    fv_session_free(session);
    ok(fv_model_save(m, wire_path)); /* an int64 input in the file too */
    ok(fv_model_load(context, wire_path, &back));
    ok(fv_session_create(back, &(fv_session_settings){.batch = 2}, &session));
    memset(y, 1, sizeof y);
    ok(fv_session_run(session, in, 2, &out, 1));
    ck_assert_mem_eq(y, want, sizeof y);
    fv_session_free(session);
    fv_model_free(back);
    fv_model_free(m);
    fv_graph_free(g);
    leave();
}
END_TEST

/* ---- refused ---- */

typedef fv_value (*mistake)(fv_graph *g, fv_value x);

static fv_value pool_of(fv_graph *g, fv_value x, fv_pool_kind kind, float p, float sigma, bool global) {
    fv_pool_settings s;
    fv_pool_settings_default(&s);
    s.kind = kind;
    s.p = p;
    s.sigma = sigma;
    s.global = global;
    return fv_graph_pool(g, x, &s, "layer");
}

static fv_value p_half(fv_graph *g, fv_value x) { return pool_of(g, x, FV_POOL_LP, 0.5f, 0, false); }
static fv_value p_nan(fv_graph *g, fv_value x) { return pool_of(g, x, FV_POOL_LP, NAN, 0, false); }
static fv_value sigma_negative(fv_graph *g, fv_value x) { return pool_of(g, x, FV_POOL_WEIGHTED, 2, -1, false); }
static fv_value weighted_global(fv_graph *g, fv_value x) { return pool_of(g, x, FV_POOL_WEIGHTED, 2, 1, true); }
static fv_value kind_unknown(fv_graph *g, fv_value x) { return pool_of(g, x, (fv_pool_kind)5, 2, 0, false); }
static fv_value pad_too_large(fv_graph *g, fv_value x) {
    fv_pool_settings s;
    fv_pool_settings_default(&s);
    s.kind = FV_POOL_LP;
    s.pad_before[0] = 2;
    return fv_graph_pool(g, x, &s, "layer");
}
static fv_value indices_of_average(fv_graph *g, fv_value x) {
    fv_pool_settings s;
    fv_value indices;
    fv_pool_settings_default(&s);
    s.kind = FV_POOL_AVERAGE;
    return fv_graph_max_pool_indices(g, x, &s, &indices, "layer");
}
static fv_value unpool_by_values(fv_graph *g, fv_value x) { return fv_graph_max_unpool(g, x, x, 4, 4, "layer"); }
static fv_value concat_nothing(fv_graph *g, fv_value x) { return fv_graph_concat(g, &x, 0, 1, "layer"); }
static fv_value concat_batch(fv_graph *g, fv_value x) { return fv_graph_concat(g, (fv_value[]){x, x}, 2, 0, "layer"); }
static fv_value concat_other(fv_graph *g, fv_value x) {
    return fv_graph_concat(g, (fv_value[]){x, fv_graph_flatten(g, x, NULL)}, 2, 1, "layer");
}
static fv_value split_short(fv_graph *g, fv_value x) {
    fv_value parts[2] = {FV_NONE, FV_NONE};
    (void)fv_graph_split(g, x, 1, 2, (int32_t[]){1, 1}, parts, "layer");
    return parts[0];
}
static fv_value slice_far(fv_graph *g, fv_value x) { return fv_graph_slice(g, x, 1, 2, 2, "layer"); }
static fv_value scale_by_itself(fv_graph *g, fv_value x) { return fv_graph_scale_maps(g, x, x, "layer"); }
static fv_value mask_by_itself(fv_graph *g, fv_value x) { return fv_graph_scale_pixels(g, x, x, "layer"); }

START_TEST(mistakes_have_sentences) {
    static const struct {
        mistake make;
        fv_status status;
        const char *part;
    } list[] = {
        {p_half, FV_ERR_ARGUMENT, "node \"layer\": Lp pooling with p = 0.5"},
        {p_nan, FV_ERR_ARGUMENT, "node \"layer\": Lp pooling with p ="},
        {sigma_negative, FV_ERR_ARGUMENT, "node \"layer\": weighted pooling with sigma -1"},
        {weighted_global, FV_ERR_ARGUMENT, "no global form"},
        {kind_unknown, FV_ERR_ARGUMENT, "known kind"},
        {pad_too_large, FV_ERR_ARGUMENT, "is not less than the window's extent 2"},
        {indices_of_average, FV_ERR_ARGUMENT, "max pooling alone has indices"},
        {unpool_by_values, FV_ERR_ARGUMENT, "no indices of max pooling"},
        {concat_nothing, FV_ERR_ARGUMENT, "joins 1 to 32 values, not 0"},
        {concat_batch, FV_ERR_SHAPE, "node \"layer\": axis 0"},
        {concat_other, FV_ERR_SHAPE, "do not join along axis 1"},
        {split_short, FV_ERR_SHAPE, "its parts have 2 together"},
        {slice_far, FV_ERR_SHAPE, "a slice of 2 from 2 on along axis 1"},
        {scale_by_itself, FV_ERR_SHAPE, "do not fit the maps"},
        {mask_by_itself, FV_ERR_SHAPE, "does not fit the pixels"},
    };
    enter();
    for (size_t i = 0; i < sizeof list / sizeof *list; i++) {
        fv_graph *g = NULL;
        ok(fv_graph_create(context, &g));
        ck_assert_int_eq(list[i].make(g, fv_graph_input(g, "x", 4, (int64_t[]){0, 3, 4, 4})), FV_NONE);
        fails(fv_graph_status(g), list[i].status, list[i].part);
        fv_graph_free(g);
    }
    leave();
}
END_TEST

/* ---- ONNX ---- */

/* Every form of this file's layers in one network. */
static fv_value everything(fv_graph *g) {
    fv_pool_settings s;
    fv_value indices, parts[3];
    fv_pool_settings_default(&s);
    const fv_value x = fv_graph_input(g, "x", 4, (int64_t[]){0, 6, 11, 9});
    fv_value y = fv_graph_max_pool_indices(g, x, &s, &indices, "max");
    y = fv_graph_max_unpool(g, y, indices, 11, 9, "unpool");
    s.kind = FV_POOL_WEIGHTED;
    s.ceil_mode = true;
    s.window[0] = 5;
    s.window[1] = 4;
    s.padding = FV_PAD_SAME_UPPER;
    y = fv_graph_add(g, fv_graph_scale(g, y, 0.5f, 0, NULL), x, NULL);
    fv_value a = fv_graph_pool(g, y, &s, "weighted");
    s.padding = FV_PAD_EXPLICIT;
    s.sigma = 2;
    s.pad_before[0] = 2;
    fv_value b = fv_graph_pool(g, y, &s, "weighted2");
    s.kind = FV_POOL_LP;
    s.p = 3;
    b = fv_graph_concat(g, (fv_value[]){b, fv_graph_pool(g, y, &s, "lp")}, 2, 1, "joined");
    s.kind = FV_POOL_STRIDE;
    y = fv_graph_concat(g, (fv_value[]){a, fv_graph_pool(g, y, &s, "stride")}, 2, 2, "rows");
    if (fv_graph_split(g, y, 1, 3, (int32_t[]){1, 2, 3}, parts, "split") != FV_OK) return FV_NONE;
    y = fv_graph_scale_pixels(g, parts[2], fv_graph_sigmoid(g, parts[0], NULL), "mask");
    y = fv_graph_concat(g, (fv_value[]){y, parts[1]}, 2, 1, NULL);
    s.global = true;
    s.kind = FV_POOL_LP;
    s.p = 2;
    const fv_value means = fv_graph_pool(g, b, &s, "global");
    y = fv_graph_scale_maps(g, y, fv_graph_slice(g, means, 1, 3, 5, "five"), "by maps");
    y = fv_graph_scale_maps(g, y, fv_graph_linear(g, means, 5, true, FV_INIT_HE, "fc"), "by rows");
    return y;
}

START_TEST(files_come_back) {
    static float first[run_most], second[run_most];
    char again[112];
    enter();
    fv_graph *g = NULL;
    fv_model *m = NULL, *back = NULL;
    ok(fv_graph_create(context, &g));
    ok(fv_graph_output(g, everything(g), "y"));
    ok(fv_model_create(g, 9, &m));
    ok(fv_model_save(m, wire_path));
    ok(fv_model_load(context, wire_path, &back));
    snprintf(again, sizeof again, "%s.again", wire_path);
    ok(fv_model_save(back, again));
    const size_t n = run_model(m, 2, first);
    ck_assert_uint_eq(run_model(back, 2, second), n);
    ck_assert_mem_eq(first, second, n * sizeof *first);
    wire one = wire_get(wire_path), two = wire_get(again);
    ck_assert_uint_eq(one.n, two.n);
    ck_assert_mem_eq(one.data, two.data, one.n);
    w_free(&one);
    w_free(&two);
    fv_model_free(back);
    fv_model_free(m);
    fv_graph_free(g);
    leave();
}
END_TEST

int main(void) {
    const TTest *const tests[] = {
        kinds_are_their_definitions, sizes_rounded_up,        what_pytorch_gives, indices_count_in_the_whole_tensor,
        indices_from_outside,        mistakes_have_sentences, files_come_back,    NULL};
    return run_tests("ops_pool", tests, 60);
}
