/* Winograd in whole networks: where it is chosen, how far it is from the direct sum, the same bits on any number of threads, and
 * the switch that forbids it. */
#include "training.h"

#include <math.h>

enum { side = 28, in_values = 3 * side * side, classes = 10, batch = 3 };

/* Eight convolutions 3x3 of 32 to 96 maps, He weights, odd sizes below. smooth: without kinks, at which the least difference in
 * rounding sends a gradient another way. */
static fv_model *stack(fv_context *c, bool smooth) {
    static const int32_t maps_of[] = {32, 32, 0, 48, 64, 64, 0, 96, 96, 70};
    const int64_t shape[4] = {0, 3, side, side};
    fv_graph *g = NULL;
    fv_model *m = NULL;
    fv_conv_settings conv;
    fv_pool_settings pool;
    fv_conv_settings_default(&conv);
    fv_pool_settings_default(&pool);
    conv.pad_before[0] = conv.pad_before[1] = conv.pad_after[0] = conv.pad_after[1] = 1;
    if (smooth) pool.kind = FV_POOL_AVERAGE;
    ok(fv_graph_create(c, &g));
    fv_value x = fv_graph_input(g, "x", 4, shape);
    for (size_t i = 0; i < sizeof maps_of / sizeof *maps_of; i++) {
        char name[16];
        snprintf(name, sizeof name, "layer%zu", i);
        conv.out_channels = maps_of[i];
        conv.pad_before[0] = conv.pad_after[1] = i == 4 ? 0 : i == 7 ? 2 : 1; /* paddings apart, and one kernel turned */
        conv.true_convolution = i == 5;
        x = maps_of[i] ? fv_graph_conv(g, x, &conv, name) : fv_graph_pool(g, x, &pool, name);
        if (maps_of[i]) x = smooth ? fv_graph_tanh(g, x, NULL) : fv_graph_relu(g, x, NULL);
    }
    x = fv_graph_linear(g, x, classes, true, FV_INIT_LECUN, "fc");
    ok(fv_graph_output(g, x, "y"));
    ok(fv_model_create(g, 5, &m));
    fv_graph_free(g);
    return m;
}

/* Layers of 180 maps and a little more: weights large enough that a training step transforms them where it uses them. */
static fv_model *wide(fv_context *c) {
    const int64_t shape[4] = {0, 3, side, side};
    fv_graph *g = NULL;
    fv_model *m = NULL;
    fv_conv_settings conv;
    fv_pool_settings pool;
    fv_conv_settings_default(&conv);
    fv_pool_settings_default(&pool);
    pool.kind = FV_POOL_AVERAGE;
    conv.pad_before[0] = conv.pad_before[1] = conv.pad_after[0] = conv.pad_after[1] = 1;
    ok(fv_graph_create(c, &g));
    fv_value x = fv_graph_pool(g, fv_graph_input(g, "x", 4, shape), &pool, "pool");
    for (int i = 0; i < 3; i++) {
        char name[16];
        snprintf(name, sizeof name, "layer%d", i);
        conv.out_channels = 180 + 5 * i;
        x = fv_graph_tanh(g, fv_graph_conv(g, x, &conv, name), NULL);
        if (i == 0) x = fv_graph_pool(g, x, &pool, NULL);
    }
    pool.global = true;
    x = fv_graph_linear(g, fv_graph_pool(g, x, &pool, "mean"), classes, true, FV_INIT_LECUN, "fc");
    ok(fv_graph_output(g, x, "y"));
    ok(fv_model_create(g, 7, &m));
    fv_graph_free(g);
    return m;
}

static fv_context *context_for(fv_backend backend, int threads, bool no_winograd) {
    fv_context_settings s = settings_of(backend, threads);
    s.no_winograd = no_winograd;
    return context_with(&s);
}

static bool is_scalar(const fv_context *c) {
    fv_cpu_info info;
    ok(fv_context_info(c, &info));
    return strcmp(info.isa, "scalar") == 0;
}

static size_t winograds(const fv_session *s) {
    size_t n = 0;
    for (size_t i = 0; i < fv_session_node_count(s); i++) {
        fv_node_info info;
        ok(fv_session_node(s, i, &info));
        n += strncmp(info.algorithm, "winograd F(", 11) == 0;
    }
    return n;
}

/* y of `batch` images; *found: nodes that took Winograd. */
static void infer(fv_context *c, float *y, size_t *found) {
    static float x[batch * in_values];
    fv_model *m = stack(c, false);
    fv_session *s = NULL;
    fv_session_settings settings;
    fv_session_settings_default(&settings);
    settings.batch = batch;
    draw_all(x, batch * in_values, 11);
    ok(fv_session_create(m, &settings, &s));
    const fv_tensor in = maps(x, batch, 3, side, side), out = rows(y, batch, classes);
    ok(fv_session_run(s, &in, 1, &out, 1));
    *found = winograds(s);
    fv_session_free(s);
    fv_model_free(m);
}

static double distance(const float *a, const float *b, size_t n) {
    double most = 0, largest = 0;
    for (size_t i = 0; i < n; i++) {
        most = fmax(most, fabs((double)a[i] - (double)b[i]));
        largest = fmax(largest, fabs((double)b[i]));
    }
    return most / largest;
}

START_TEST(chosen_and_close_to_the_direct_sum) {
    float fast[batch * classes], direct[batch * classes];
    size_t found;
    fv_context *c = context_for(FV_BACKEND_SERIAL, 1, false), *plain = context_for(FV_BACKEND_SERIAL, 1, true);
    infer(plain, direct, &found);
    ck_assert_uint_eq(found, 0);
    infer(c, fast, &found);
    if (is_scalar(c)) {
        ck_assert_uint_eq(found, 0);
        ck_assert_mem_eq(fast, direct, sizeof direct);
    } else {
        ck_assert_uint_ge(found, 6);
        ck_assert(memcmp(fast, direct, sizeof direct) != 0);
        ck_assert_double_lt(distance(fast, direct, batch * classes), 2e-5);
    }
    fv_context_free(c);
    fv_context_free(plain);
}
END_TEST

START_TEST(same_bits_on_any_threads) {
    float want[batch * classes], got[batch * classes];
    fv_backend list[3];
    size_t found;
    fv_context *c = context_for(FV_BACKEND_SERIAL, 1, false);
    infer(c, want, &found);
    fv_context_free(c);
    for (size_t b = 0; b < backends_here(list); b++)
        for (int threads = 1; threads <= 3; threads++) {
            c = context_for(list[b], threads, false);
            infer(c, got, &found);
            ck_assert_mem_eq(got, want, sizeof want);
            fv_context_free(c);
        }
}
END_TEST

enum { room = 800000 };

/* Parameters after some steps. */
static size_t train(fv_context *c, bool large, float *to) {
    static float x[batch * in_values];
    int32_t label[batch];
    fv_model *m = large ? wide(c) : stack(c, true);
    fv_trainer_settings settings = train_settings(batch, FV_MOMENTUM);
    settings.lr = 0.01f;
    fv_trainer *t = trainer_of(m, &settings);
    fv_step step;
    for (uint32_t i = 0; i < 3; i++) {
        draw_all(x, batch * in_values, i + 1);
        for (int k = 0; k < batch; k++) label[k] = (int32_t)(i * batch + (uint32_t)k) % classes;
        const fv_tensor in = maps(x, batch, 3, side, side), target = labels_of(label, batch);
        ok(fv_trainer_step(t, &in, &target, &step));
    }
    const size_t n = trained_parameters(t, to, room);
    fv_trainer_free(t);
    fv_model_free(m);
    return n;
}

static void hold_training(bool large) {
    static float direct[room], fast[room], again[room];
    fv_context *c = context_for(FV_BACKEND_SERIAL, 1, true);
    const size_t n = train(c, large, direct);
    fv_context_free(c);
    c = context_for(FV_BACKEND_SERIAL, 1, false);
    ck_assert_uint_eq(train(c, large, fast), n);
    ck_assert_double_lt(distance(fast, direct, n), 2e-6);
    ck_assert(is_scalar(c) == (memcmp(fast, direct, n * sizeof *fast) == 0));
    fv_context_free(c);
    for (int threads = 2; threads <= 3; threads++) {
        c = context_for(FV_BACKEND_PTHREADS, threads, false);
        ck_assert_uint_eq(train(c, large, again), n);
        ck_assert_mem_eq(again, fast, n * sizeof *fast);
        fv_context_free(c);
    }
}

START_TEST(training_is_close_and_the_same_on_any_threads) { hold_training(false); }
END_TEST

START_TEST(training_wide_layers_too) { hold_training(true); }
END_TEST

int main(void) {
    const TTest *tests[] = {chosen_and_close_to_the_direct_sum, same_bits_on_any_threads,
                            training_is_close_and_the_same_on_any_threads, training_wide_layers_too, NULL};
    return run_tests("winograd", tests, 200);
}
