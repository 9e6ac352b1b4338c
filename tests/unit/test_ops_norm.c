/* Normalization: PyTorch's values (tests/golden/norm.py), nested loops in double, folding, training, checkpoints. */
#include "norm.h"
#include "training.h"
#include "wire.h"

/* ---- golden values ---- */

typedef struct golden {
    fv_tensor file;
    const float *at;
} golden;

static const float *part(golden *g, size_t n) {
    size_t count;
    const float *from = g->at;
    ok(fv_tensor_count(&g->file, &count));
    g->at += n;
    ck_assert(g->at <= (const float *)g->file.data + count);
    return from;
}

static golden open_golden(fv_context *c) {
    golden g = {0};
    ok(fv_npy_read(c, "tests/golden/norm.npy", &g.file));
    g.at = g.file.data;
    return g;
}

/* y, dx, dscale, dbias in the file's order. */
static void same_results(const layer_run *r, golden *g, const char *what) {
    float got[norm_most];
    for (int i = 0; i < 4; i++) {
        const size_t n = (size_t)(i < 2 ? r->n * r->c * r->pixels : r->c);
        layer_result(r, i, got);
        close_to(got, part(g, n), n, 3e-6, what);
    }
}

START_TEST(values_are_those_of_pytorch) {
    static layer_run r;
    static const char *const isas[] = {NULL, "scalar"};
    for (int isa = 0; isa < 2; isa++) {
        fv_context_settings settings = settings_of(FV_BACKEND_SERIAL, 1);
        settings.isa = isas[isa];
        fv_context *c = context_with(&settings);
        golden g = open_golden(c);
        fv_norm_settings s;
        const int64_t maps[4] = {3, 5, 2, 3}, groups[4] = {2, 6, 2, 3}, rows[2] = {3, 7};
        const float *x[3] = {part(&g, 90), part(&g, 90), part(&g, 90)}, *scale = part(&g, 5), *bias = part(&g, 5),
                    *w = part(&g, 90);
        fv_norm_settings_default(&s);
        s.unbiased_running_variance = true;
        layer_enter(&r, c, batch_layer, &s, 4, maps, scale, bias);
        const float *mean = NULL, *variance = NULL;
        for (int step = 0; step < 3; step++) {
            layer_step(&r, x[step], w);
            same_results(&r, &g, "batch");
            close_to(layer_parameter(&r, "mean"), mean = part(&g, 5), 5, 1e-6, "running mean");
            close_to(layer_parameter(&r, "variance"), variance = part(&g, 5), 5, 1e-6, "running variance");
        }
        layer_leave(&r);
        const float *evaluated = part(&g, 90);
        for (int i = 0; i < 90; i++) { /* one map a channel */
            const int k = i / 6 % 5;
            const double y =
                ((double)x[0][i] - (double)mean[k]) / sqrt((double)variance[k] + 1e-5) * (double)scale[k] + (double)bias[k];
            ck_assert_msg(fabs(y - (double)evaluated[i]) < 1e-5, "%g instead of %g", y, (double)evaluated[i]);
        }
        const float *gx = part(&g, 72);
        scale = part(&g, 6), bias = part(&g, 6), w = part(&g, 72);
        for (int i = 0; i < 3; i++) {
            const int32_t count[] = {3, 1, 6};
            layer_enter(&r, c, group_layer, &count[i], 4, groups, scale, bias);
            layer_step(&r, gx, w);
            same_results(&r, &g, "groups");
            layer_leave(&r);
        }
        const int32_t one = 1;
        gx = part(&g, 21), scale = part(&g, 7), bias = part(&g, 7), w = part(&g, 21);
        layer_enter(&r, c, group_layer, &one, 2, rows, scale, bias);
        layer_step(&r, gx, w);
        same_results(&r, &g, "rows");
        layer_leave(&r);
        size_t all;
        ok(fv_tensor_count(&g.file, &all));
        ck_assert(g.at == (const float *)g.file.data + all);
        fv_npy_free(c, &g.file);
        fv_context_free(c);
    }
}
END_TEST

/* ---- against the definition ---- */

/* Random shapes, some with several chunks of pixels and panels of channels, some far from zero. */
START_TEST(values_are_those_of_the_definition) {
    static layer_run r;
    static float x[norm_most], w[norm_most], y[norm_most], want[norm_most], scale[512], bias[512];
    static const int64_t shapes[][4] = {{3, 5, 4, 7},    {2, 130, 3, 3}, {4, 16, 20, 25}, {1, 3, 60, 60},
                                        {2, 64, 15, 16}, {5, 10, 1, 1},  {1, 70, 20, 20}};
    fv_context *c = context_of(FV_BACKEND_PTHREADS, 2);
    fv_norm_settings s;
    fv_norm_settings_default(&s);
    for (size_t i = 0; i < FV_ARRAY_SIZE(shapes); i++)
        for (int far = 0; far < 2; far++) {
            const int64_t *m = shapes[i], pixels = m[2] * m[3], width = m[1] % 5 == 0 ? 5 : m[1] % 2 == 0 ? 2 : 1;
            const size_t count = (size_t)(m[0] * m[1] * pixels);
            const int32_t groups = (int32_t)(m[1] / width);
            draw_all(x, count, (uint32_t)i + 5);
            draw_all(w, count, 9);
            draw_all(scale, (size_t)m[1], 3);
            draw_all(bias, (size_t)m[1], 4);
            for (size_t k = 0; far && k < count; k++) x[k] += 300;
            for (int kind = 0; kind < 2; kind++) {
                const void *arg = kind ? (const void *)&groups : &s;
                layer_enter(&r, c, kind ? group_layer : batch_layer, arg, 4, m, scale, bias);
                layer_step(&r, x, w);
                layer_result(&r, 0, y);
                for (int64_t n = 0; n < (kind ? m[0] : 1); n++)
                    for (int64_t k = 0; k < m[1]; k += kind ? width : 1)
                        normalize(x, m[1], pixels, n, kind ? n + 1 : m[0], k, k + (kind ? width : 1), scale, bias, want);
                /* x itself is only known to a part in 2^24: 300/0.6 of it, times the number of roundings */
                close_to(y, want, count, far ? 2e-4 : 2e-6, kind ? "groups" : "batch");
                layer_leave(&r);
            }
        }
    fv_context_free(c);
}
END_TEST

/* One value a channel: the deviation is nothing, y the bias; the running variance does not become NaN. */
START_TEST(one_value_has_no_deviation) {
    static layer_run r;
    const float x[3] = {1, -2, 3}, scale[3] = {2, 2, 2}, bias[3] = {0.5f, 0.25f, -1}, w[3] = {1, 1, 1};
    const int64_t shape[2] = {1, 3};
    float y[3];
    fv_context *c = context_of(FV_BACKEND_SERIAL, 1);
    fv_norm_settings s;
    fv_norm_settings_default(&s);
    for (int unbiased = 0; unbiased < 2; unbiased++) {
        s.unbiased_running_variance = unbiased;
        layer_enter(&r, c, batch_layer, &s, 2, shape, scale, bias);
        layer_step(&r, x, w);
        layer_result(&r, 0, y);
        for (int i = 0; i < 3; i++) ck_assert_float_eq_tol(y[i], bias[i], 1e-4f); /* x * scale/sqrt(epsilon) is about 2000 */
        for (int i = 0; i < 3; i++) ck_assert_float_eq_tol(layer_parameter(&r, "variance")[i], 0.9f, 1e-6f);
        layer_leave(&r);
    }
    fv_context_free(c);
}
END_TEST

/* ---- networks ---- */

static fv_conv_settings convolution(int32_t maps, bool bias) {
    fv_conv_settings s;
    fv_conv_settings_default(&s);
    s.out_channels = maps;
    s.bias = bias;
    s.pad_before[0] = s.pad_before[1] = s.pad_after[0] = s.pad_after[1] = 1;
    return s;
}

/* Every kind of normalization, for images of net_c x net_h x net_w. */
static fv_model *normalized_model(fv_context *c, bool unbiased) {
    const int64_t shape[4] = {0, net_c, net_h, net_w};
    fv_graph *g = NULL;
    fv_model *m = NULL;
    fv_conv_settings conv = convolution(6, false);
    fv_pool_settings pool;
    fv_norm_settings s;
    fv_norm_settings_default(&s);
    s.unbiased_running_variance = unbiased;
    fv_pool_settings_default(&pool);
    ok(fv_graph_create(c, &g));
    fv_value x = fv_graph_conv(g, fv_graph_input(g, "x", 4, shape), &conv, "conv1");
    x = fv_graph_relu(g, fv_graph_batch_norm(g, x, &s, "norm1"), NULL);
    x = fv_graph_group_norm(g, fv_graph_pool(g, x, &pool, NULL), 3, 1e-5f, "group");
    const fv_value skip = x;
    conv.bias = true;
    x = fv_graph_batch_norm(g, fv_graph_conv(g, x, &conv, "conv2"), NULL, "norm2");
    x = fv_graph_relu(g, fv_graph_add(g, x, fv_graph_instance_norm(g, skip, 1e-4f, "instance"), NULL), NULL);
    x = fv_graph_linear(g, fv_graph_layer_norm(g, x, 1e-5f, "layer"), 13, true, FV_INIT_HE, "fc1");
    x = fv_graph_relu(g, fv_graph_batch_norm(g, x, NULL, "norm3"), NULL);
    x = fv_graph_group_norm(g, fv_graph_layer_norm(g, x, 1e-5f, "layer2"), 13, 1e-1f, "groups2");
    ok(fv_graph_output(g, fv_graph_linear(g, x, net_out, true, FV_INIT_LECUN, "fc2"), "y"));
    ok(fv_model_create(g, 3, &m));
    fv_graph_free(g);
    return m;
}

enum { model_parameters = 4000 };

START_TEST(any_team_trains_the_same_bits) {
    static float first[model_parameters], other[model_parameters];
    size_t count = 0;
    for (int threads = 1; threads <= 5; threads += 2) {
        fv_context *c = context_of(FV_BACKEND_PTHREADS, threads);
        fv_model *m = normalized_model(c, false);
        const fv_trainer_settings s = train_settings(4, FV_MOMENTUM);
        fv_trainer *t = trainer_of(m, &s);
        train_steps(t, 0, 5);
        const size_t n = trained_parameters(t, threads == 1 ? first : other, model_parameters);
        if (threads == 1) count = n;
        ck_assert_uint_eq(n, count);
        if (threads > 1) ck_assert_int_eq(memcmp(first, other, n * sizeof *first), 0);
        fv_trainer_free(t);
        fv_model_free(m);
        fv_context_free(c);
    }
}
END_TEST

static const float *find(const fv_model *m, const char *wanted, bool *trainable) {
    for (size_t i = 0; i < fv_model_parameter_count(m); i++) {
        const char *name;
        fv_tensor t;
        ok(fv_model_parameter(m, i, &name, &t, trainable));
        if (strcmp(name, wanted) == 0) return t.data;
    }
    ck_abort_msg("no parameter %s", wanted);
    return NULL;
}

/* Running moments are in the model given out and in the checkpoint, and go on bit by bit. */
START_TEST(training_keeps_running_moments) {
    static float whole[model_parameters], resumed[model_parameters];
    bool trainable = true;
    wire_enter();
    fv_context *c = context_of(FV_BACKEND_PTHREADS, 2);
    fv_model *m = normalized_model(c, true), *now = NULL;
    const fv_trainer_settings s = train_settings(4, FV_ADAM);
    fv_trainer *t = trainer_of(m, &s), *again = trainer_of(m, &s);
    train_steps(t, 0, 4);
    ok(fv_trainer_save(t, wire_path));
    ok(fv_trainer_model(t, &now));
    ck_assert_float_ne(find(now, "norm1.running_mean", &trainable)[0], 0);
    ck_assert(!trainable);
    ck_assert_float_ne(find(now, "norm3.running_variance", &trainable)[0], 1);
    ck_assert_float_eq(find(m, "norm1.running_mean", &trainable)[0], 0);
    train_steps(t, 4, 9);
    ok(fv_trainer_load(again, wire_path));
    train_steps(again, 4, 9);
    const size_t n = trained_parameters(t, whole, model_parameters);
    ck_assert_uint_eq(trained_parameters(again, resumed, model_parameters), n);
    ck_assert_int_eq(memcmp(whole, resumed, n * sizeof *whole), 0);
    fv_trainer_free(again);
    fv_trainer_free(t);
    fv_model_free(now);
    fv_model_free(m);
    fv_context_free(c);
    wire_leave();
}
END_TEST

/* ---- folding ---- */

/* A trained model, so that no moment is 0 or 1; `keep` makes every normalization's input an output, which stops folding. */
static fv_model *folding_model(fv_context *c, bool keep) {
    static float values[4][16];
    const int64_t shape[4] = {0, net_c, net_h, net_w};
    fv_graph *g = NULL;
    fv_model *m = NULL;
    fv_conv_settings conv = convolution(6, true);
    ok(fv_graph_create(c, &g));
    for (int i = 0; i < 4; i++) draw_all(values[i], 16, (uint32_t)i + 2);
    for (int i = 0; i < 16; i++) values[3][i] = 0.05f + values[3][i] * values[3][i];
    fv_value x = fv_graph_input(g, "x", 4, shape), between[3], skip = FV_NONE;
    for (int layer = 0; layer < 3; layer++) {
        static const char *const names[3][5] = {
            {"conv1", "s1", "b1", "m1", "v1"}, {"conv2", "s2", "b2", "m2", "v2"}, {"fc", "s3", "b3", "m3", "v3"}};
        fv_value p[4];
        const int64_t channels = layer == 2 ? 13 : 6;
        conv.bias = layer == 0;
        conv.groups = layer == 0 ? 3 : 1;
        x = layer == 2 ? fv_graph_linear(g, x, 13, true, FV_INIT_HE, names[layer][0])
                       : fv_graph_conv(g, x, &conv, names[layer][0]);
        between[layer] = x;
        for (int k = 0; k < 4; k++)
            p[k] = fv_graph_parameter(g, names[layer][1 + k], 1, &channels, values[k], FV_INIT_ZEROS, k < 2);
        x = fv_graph_batch_norm_with(g, x, p[0], p[1], p[2], p[3], NULL, layer == 2 ? "norm3" : layer ? "norm2" : "norm1");
        if (layer == 1) x = fv_graph_add(g, x, skip, NULL);
        x = fv_graph_relu(g, x, NULL);
        skip = x;
    }
    ok(fv_graph_output(g, x, "y"));
    for (int i = 0; keep && i < 3; i++) ok(fv_graph_output(g, between[i], NULL));
    ok(fv_model_create(g, 7, &m));
    fv_graph_free(g);
    return m;
}

static size_t nodes_of(const fv_model *m, const char *op, const char *name) {
    fv_session *s = NULL;
    fv_node_info info;
    size_t found = 0;
    ok(fv_session_create(m, NULL, &s));
    for (size_t i = 0; i < fv_session_node_count(s); i++) {
        ok(fv_session_node(s, i, &info));
        found += (!op || strcmp(info.op, op) == 0) && (!name || strcmp(info.name, name) == 0);
    }
    fv_session_free(s);
    return found;
}

/* The weights are rounded once more: some units in the last place of the largest. */
START_TEST(folded_is_unfolded) {
    static float folded[run_most], plain[run_most];
    fv_context *c = context_of(FV_BACKEND_PTHREADS, 2);
    fv_model *a = folding_model(c, false), *b = folding_model(c, true);
    ck_assert_uint_eq(nodes_of(a, "batch_norm", NULL), 0);
    ck_assert_uint_eq(nodes_of(a, "conv", "conv1+norm1") + nodes_of(a, "conv", "conv2+norm2") + nodes_of(a, "linear", "fc+norm3"),
                      3);
    ck_assert_uint_eq(nodes_of(a, "unary", NULL) + nodes_of(a, "binary", NULL), 0); /* the clamps and the add went in too */
    ck_assert_uint_eq(nodes_of(b, "batch_norm", NULL), 3);
    ck_assert_uint_eq(nodes_of(b, "batch_norm", "norm1"), 1);
    for (int round = 0; round < 2; round++) { /* a second session shares the first one's numbers */
        run_model(a, 4, folded);
        run_model(b, 4, plain);
        close_to(folded, plain, 4 * 13, 2e-6, "folded");
    }
    fv_model_free(a);
    fv_model_free(b);
    fv_context_free(c);
}
END_TEST

/* ---- files ---- */

START_TEST(files_come_back) {
    static float first[run_most], second[run_most];
    char again[112];
    wire_enter();
    fv_context *c = context_of(FV_BACKEND_PTHREADS, 2);
    for (int unbiased = 0; unbiased < 2; unbiased++) {
        fv_model *m = normalized_model(c, unbiased), *trained = NULL, *back = NULL;
        const fv_trainer_settings s = train_settings(4, FV_SGD);
        fv_trainer *t = trainer_of(m, &s);
        train_steps(t, 0, 3);
        ok(fv_trainer_model(t, &trained));
        ok(fv_model_save(trained, wire_path));
        ok(fv_model_load(c, wire_path, &back));
        snprintf(again, sizeof again, "%s.again", wire_path);
        ok(fv_model_save(back, again));
        const size_t n = run_model(trained, 3, first);
        ck_assert_uint_eq(run_model(back, 3, second), n);
        ck_assert_int_eq(memcmp(first, second, n * sizeof *first), 0);
        bool trainable = true;
        ck_assert_float_ne(find(back, "norm1.running_mean", &trainable)[0], 0);
        ck_assert(!trainable);
        wire one = wire_get(wire_path), two = wire_get(again);
        ck_assert_uint_eq(one.n, two.n);
        ck_assert_int_eq(memcmp(one.data, two.data, one.n), 0);
        w_free(&one);
        w_free(&two);
        fv_trainer_free(t);
        fv_model_free(back);
        fv_model_free(trained);
        fv_model_free(m);
    }
    fv_context_free(c);
    wire_leave();
}
END_TEST

/* ---- wrong arguments ---- */

typedef fv_value (*wrong_fn)(fv_graph *g, fv_value maps, fv_value rows);

static fv_value wrong_input(fv_graph *g, fv_value maps, fv_value rows) {
    return (void)maps, (void)rows, fv_graph_batch_norm(g, 99, NULL, "n");
}
static fv_value wrong_epsilon(fv_graph *g, fv_value maps, fv_value rows) {
    return (void)rows, fv_graph_layer_norm(g, maps, -1, "n");
}
static fv_value wrong_momentum(fv_graph *g, fv_value maps, fv_value rows) {
    const fv_norm_settings s = {.epsilon = 1e-5f, .momentum = 1.5f};
    return (void)maps, fv_graph_batch_norm(g, rows, &s, "n");
}
static fv_value wrong_groups(fv_graph *g, fv_value maps, fv_value rows) {
    return (void)rows, fv_graph_group_norm(g, maps, 4, 1e-5f, "n");
}
static fv_value no_groups(fv_graph *g, fv_value maps, fv_value rows) {
    return (void)rows, fv_graph_group_norm(g, maps, 0, 1e-5f, "n");
}
static fv_value instance_of_rows(fv_graph *g, fv_value maps, fv_value rows) {
    return (void)maps, fv_graph_instance_norm(g, rows, 1e-5f, "n");
}
static fv_value wrong_scale(fv_graph *g, fv_value maps, fv_value rows) {
    const int64_t five = 5;
    const fv_value p = fv_graph_parameter(g, "p", 1, &five, NULL, FV_INIT_ONES, true);
    return (void)rows, fv_graph_group_norm_with(g, maps, p, p, 1, 1e-5f, "n");
}
static fv_value computed_moments(fv_graph *g, fv_value maps, fv_value rows) {
    const int64_t six = 6;
    const fv_value p = fv_graph_parameter(g, "p", 1, &six, NULL, FV_INIT_ONES, true);
    return (void)rows, fv_graph_batch_norm_with(g, maps, p, p, fv_graph_relu(g, p, NULL), p, NULL, "n");
}
static fv_value one_moment(fv_graph *g, fv_value maps, fv_value rows) {
    const int64_t six = 6;
    const fv_value p = fv_graph_parameter(g, "p", 1, &six, NULL, FV_INIT_ONES, true);
    return (void)rows, fv_graph_batch_norm_with(g, maps, p, p, p, p, NULL, "n");
}

START_TEST(wrong_arguments) {
    static const struct {
        wrong_fn build;
        fv_status status;
        const char *part;
    } cases[] = {{wrong_input, FV_ERR_ARGUMENT, "is not a value of this graph"},
                 {wrong_epsilon, FV_ERR_ARGUMENT, "\"n\": epsilon"},
                 {wrong_momentum, FV_ERR_ARGUMENT, "\"n\": the momentum"},
                 {wrong_groups, FV_ERR_ARGUMENT, "4 groups do not divide the 6"},
                 {no_groups, FV_ERR_ARGUMENT, "0 groups"},
                 {instance_of_rows, FV_ERR_SHAPE, "takes maps"},
                 {wrong_scale, FV_ERR_SHAPE, "input 1 has shape (5)"},
                 {computed_moments, FV_ERR_ARGUMENT, "must be parameters"},
                 {one_moment, FV_ERR_ARGUMENT, "both running mean and variance"}};
    fv_context *c = context_of(FV_BACKEND_SERIAL, 1);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const int64_t maps[4] = {0, 6, 3, 3}, rows[2] = {0, 6};
        fv_graph *g = NULL;
        ok(fv_graph_create(c, &g));
        const fv_value a = fv_graph_input(g, "a", 4, maps), b = fv_graph_input(g, "b", 2, rows);
        ck_assert_int_eq(cases[i].build(g, a, b), FV_NONE);
        fails(fv_graph_status(g), cases[i].status, cases[i].part);
        fv_graph_free(g);
    }
    fv_context_free(c);
}
END_TEST

int main(void) {
    const TTest *const tests[] = {values_are_those_of_pytorch,
                                  values_are_those_of_the_definition,
                                  one_value_has_no_deviation,
                                  any_team_trains_the_same_bits,
                                  training_keeps_running_moments,
                                  folded_is_unfolded,
                                  files_come_back,
                                  wrong_arguments,
                                  NULL};
    return run_tests("ops_norm", tests, 60);
}
