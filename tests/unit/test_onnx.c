/* ONNX out and in: the same outputs and the same bytes again, names, shared weights, prefixes, corruption, refused
 * memory. */
#include "wire.h"

#include <unistd.h>

/* Written, read and written again: the same outputs, bit for bit, and the same bytes. */
static void check_round(fv_context *c, const fv_model *m) {
    static float first[run_most], second[run_most];
    char again[112];
    fv_model *back = NULL;
    ok(fv_model_save(m, wire_path));
    ok(fv_model_load(c, wire_path, &back));
    snprintf(again, sizeof again, "%s.again", wire_path);
    ok(fv_model_save(back, again));
    const size_t n = run_model(m, 2, first);
    ck_assert_uint_eq(run_model(back, 2, second), n);
    ck_assert_int_eq(memcmp(first, second, n * sizeof *first), 0);
    ck_assert_uint_eq(fv_model_parameter_count(m), fv_model_parameter_count(back));
    for (size_t i = 0; i < fv_model_output_count(m); i++) {
        const char *a, *b;
        ok(fv_model_output(m, i, &a, NULL));
        ok(fv_model_output(back, i, &b, NULL));
        if (*a) ck_assert_str_eq(a, b);
    }
    wire one = wire_get(wire_path), two = wire_get(again);
    ck_assert_uint_eq(one.n, two.n);
    ck_assert_int_eq(memcmp(one.data, two.data, one.n), 0);
    w_free(&one);
    w_free(&two);
    fv_model_free(back);
}

/* Every operator of the builder. */
static fv_value everything(fv_graph *g, fv_value *second) {
    const int64_t shape[4] = {0, 4, 13, 10};
    fv_conv_settings conv;
    fv_pool_settings pool;
    fv_conv_settings_default(&conv);
    fv_pool_settings_default(&pool);
    conv.out_channels = 6;
    conv.groups = 2;
    conv.dilation[1] = 2;
    conv.padding = FV_PAD_SAME_UPPER;
    fv_value x = fv_graph_conv(g, fv_graph_input(g, "x", 4, shape), &conv, "grouped");
    x = fv_graph_clip(g, x, -0.5f, 0.75f, "clip");
    conv.groups = 1;
    conv.true_convolution = true;
    conv.padding = FV_PAD_EXPLICIT;
    conv.dilation[1] = 1;
    conv.pad_before[0] = conv.pad_after[1] = 2;
    conv.bias = false;
    x = fv_graph_tanh(g, fv_graph_conv(g, x, &conv, "true"), "tanh");
    pool.ceil_mode = true;
    pool.window[0] = 3;
    x = fv_graph_gain(g, fv_graph_pool(g, x, &pool, "max"), true, "gain");
    const fv_value kept = x;
    x = fv_graph_add(g, fv_graph_relu(g, x, NULL),
                     fv_graph_scale(g, fv_graph_sigmoid(g, x, NULL), -2.0f, 0.25f, "scale"), "sum");
    x = fv_graph_multiply(
        g, x, fv_graph_subtract(g, kept, fv_graph_exp(g, fv_graph_scale(g, x, 0.1f, 0, "tenth"), NULL), "difference"),
        NULL);
    x = fv_graph_scale(g, x, 1, 0.5f, "shift");
    pool.kind = FV_POOL_AVERAGE;
    pool.count_padding = true;
    pool.pad_before[0] = pool.pad_before[1] = 1;
    x = fv_graph_pool(g, x, &pool, "average");
    *second = fv_graph_flatten(g, fv_graph_clip(g, x, 0, 1.0f / 0.0f, "floor"), "flat");
    x = fv_graph_dropout(g, fv_graph_linear(g, x, 9, false, FV_INIT_HE, "fc1"), 0.5f, "drop");
    return fv_graph_softmax(g, fv_graph_linear(g, fv_graph_gain(g, x, true, "gain2"), 5, true, FV_INIT_HE, "fc2"),
                            "softmax");
}

START_TEST(every_operator_comes_back) {
    wire_enter();
    fv_context *c = context_of(FV_BACKEND_PTHREADS, 2);
    fv_graph *g = NULL;
    fv_model *m = NULL;
    fv_value second;
    ok(fv_graph_create(c, &g));
    ok(fv_graph_output(g, everything(g, &second), "y"));
    ok(fv_graph_output(g, second, "maps"));
    ok(fv_model_create(g, 9, &m));
    ck_assert_uint_gt(fv_model_node_count(m), 20);
    check_round(c, m);
    fv_model_free(m);
    fv_graph_free(g);
    fv_zoo_settings small;
    fv_zoo_settings_default(&small);
    small.height = small.width = 32;
    for (size_t i = 0; fv_zoo_name(i, NULL); i++) {
        ok(fv_model_zoo(c, fv_zoo_name(i, NULL), &small, &m));
        check_round(c, m);
        fv_model_free(m);
    }
    fv_context_free(c);
    wire_leave();
}
END_TEST

/* One weight, four uses: correlation twice, true convolution twice. */
START_TEST(shared_weights_keep_their_forms) {
    const int64_t shape[4] = {0, 2, 6, 6}, weight[4] = {2, 2, 3, 3};
    static float y[run_most], z[run_most], w[36];
    wire_enter();
    fv_context *c = context_of(FV_BACKEND_SERIAL, 1);
    for (int first = 0; first < 2; first++) {
        fv_graph *g = NULL;
        fv_model *m = NULL, *back = NULL;
        fv_conv_settings conv;
        fv_conv_settings_default(&conv);
        conv.padding = FV_PAD_SAME_LOWER;
        draw_all(w, 36, 1);
        ok(fv_graph_create(c, &g));
        fv_value x = fv_graph_input(g, "x", 4, shape);
        const fv_value v = fv_graph_parameter(g, "w", 4, weight, w, FV_INIT_ZEROS, true);
        for (int i = 0; i < 4; i++) {
            conv.true_convolution = (i & 1) == first;
            x = fv_graph_conv_with(g, x, v, FV_NONE, &conv, NULL);
        }
        ok(fv_graph_output(g, x, "y"));
        ok(fv_model_create(g, 1, &m));
        ok(fv_model_save(m, wire_path));
        ok(fv_model_load(c, wire_path, &back));
        const size_t n = run_model(m, 1, y);
        ck_assert_uint_eq(run_model(back, 1, z), n);
        ck_assert_int_eq(memcmp(y, z, n * sizeof *y), 0);
        ck_assert_uint_eq(fv_model_parameter_count(back), 2);
        fv_model_free(back);
        fv_model_free(m);
        fv_graph_free(g);
    }
    fv_context_free(c);
    wire_leave();
}
END_TEST

/* Names that clash with those the writer makes for values without one. */
START_TEST(odd_names_are_kept_apart) {
    static const char *const names[] = {"v3", "v4", "v5", "v5_", "y.min", "y.flat", "relu1"};
    const int64_t shape[2] = {0, 3}, gain = 3;
    wire_enter();
    fv_context *c = context_of(FV_BACKEND_SERIAL, 1);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        fv_graph *g = NULL;
        fv_model *m = NULL;
        ok(fv_graph_create(c, &g));
        const fv_value v = fv_graph_parameter(g, names[i], 1, &gain, NULL, FV_INIT_ONES, true);
        fv_value x = fv_graph_relu(g, fv_graph_gain_with(g, fv_graph_input(g, "x", 2, shape), v, NULL), NULL);
        x = fv_graph_tanh(g, fv_graph_sigmoid(g, x, NULL), NULL);
        ok(fv_graph_output(g, fv_graph_clip(g, x, 0.5f, 2, NULL), "y"));
        ok(fv_model_create(g, 1, &m));
        if (strcmp(names[i], "y.min") == 0) {
            fails(fv_model_save(m, wire_path), FV_ERR_UNSUPPORTED, "two values would be called \"y.min\"");
        } else {
            check_round(c, m);
        }
        fv_model_free(m);
        fv_graph_free(g);
    }
    fv_graph *g = NULL;
    fv_model *m = NULL;
    ok(fv_graph_create(c, &g));
    const fv_value y = fv_graph_relu(g, fv_graph_input(g, "x", 2, shape), NULL);
    fails(fv_graph_output(g, y, "x"), FV_ERR_ARGUMENT, "got \"x\"");
    fv_graph_free(g);
    ok(fv_graph_create(c, &g));
    const fv_value z = fv_graph_relu(g, fv_graph_input(g, "x", 2, shape), NULL);
    ok(fv_graph_output(g, z, "y"));
    ok(fv_graph_output(g, z, "again"));
    ok(fv_model_create(g, 1, &m));
    fails(fv_model_save(m, wire_path), FV_ERR_UNSUPPORTED, "one value is output 0 and 1");
    fv_model_free(m);
    fv_graph_free(g);
    fv_context_free(c);
    wire_leave();
}
END_TEST

/* ---- the file of a small network: some 2 KB, all kinds of fields ---- */

static fv_model *compact(fv_context *c) {
    const int64_t shape[4] = {0, 1, 6, 5};
    fv_graph *g = NULL;
    fv_model *m = NULL;
    fv_conv_settings conv;
    fv_pool_settings pool;
    fv_conv_settings_default(&conv);
    fv_pool_settings_default(&pool);
    conv.out_channels = 2;
    conv.padding = FV_PAD_SAME_UPPER;
    ok(fv_graph_create(c, &g));
    fv_value x = fv_graph_clip(g, fv_graph_conv(g, fv_graph_input(g, "x", 4, shape), &conv, "c1"), 0, 6, "clip");
    x = fv_graph_dropout(g, fv_graph_pool(g, x, &pool, "p1"), 0.5f, "d1");
    x = fv_graph_linear(g, fv_graph_scale(g, fv_graph_gain(g, x, true, "g1"), 2, 1, "s1"), 3, true, FV_INIT_HE, "fc");
    ok(fv_graph_output(g, fv_graph_softmax(g, x, "sm"), "y"));
    ok(fv_model_create(g, 1, &m));
    fv_graph_free(g);
    return m;
}

static wire compact_file(void) {
    fv_context *c = context_of(FV_BACKEND_SERIAL, 1);
    fv_model *m = compact(c);
    ok(fv_model_save(m, wire_path));
    fv_model_free(m);
    fv_context_free(c);
    return wire_get(wire_path);
}

static fv_context *limited(void) {
    fv_context_settings s = settings_of(FV_BACKEND_SERIAL, 1);
    s.memory_limit = (size_t)64 << 20;
    return context_with(&s);
}

START_TEST(no_prefix_is_a_model) {
    wire_enter();
    wire whole = compact_file();
    fv_context *c = limited();
    fv_model *m = NULL;
    for (size_t n = 0; n < whole.n; n++) {
        wire_put(whole.data, n);
        const fv_status status = fv_model_load(c, wire_path, &m);
        ck_assert_msg(status == FV_ERR_FORMAT || status == FV_ERR_UNSUPPORTED, "%zu of %zu bytes: %s", n, whole.n,
                      fv_status_name(status));
        ck_assert_ptr_null(m);
        ck_assert_msg(strstr(fv_last_error(), wire_path) != NULL, "%s", fv_last_error());
    }
    wire_put(whole.data, whole.n);
    ok(fv_model_load(c, wire_path, &m));
    fv_model_free(m);
    fv_context_free(c);
    w_free(&whole);
    wire_leave();
}
END_TEST

/* Whatever still loads must also plan and run. */
static int try_out(fv_context *c) {
    static float x[1 << 16], y[1 << 16];
    fv_model *m = NULL;
    fv_session *s = NULL;
    fv_tensor in, out;
    size_t inputs, outputs;
    if (fv_model_load(c, wire_path, &m) != FV_OK) return 0;
    if (fv_session_create(m, NULL, &s) == FV_OK) {
        ok(fv_model_input(m, 0, NULL, &in));
        ok(fv_model_output(m, 0, NULL, &out));
        in.shape[0] = out.shape[0] = 1;
        in.data = x;
        out.data = y;
        ok(fv_tensor_count(&in, &inputs));
        ok(fv_tensor_count(&out, &outputs));
        if (inputs <= 1 << 16 && outputs <= 1 << 16 && fv_model_input_count(m) == 1 && fv_model_output_count(m) == 1)
            ok(fv_session_run(s, &in, 1, &out, 1));
    }
    fv_session_free(s);
    fv_model_free(m);
    return 1;
}

START_TEST(corruption_never_crashes) {
    uint32_t state = 2024;
    int loaded = 0;
    wire_enter();
    wire whole = compact_file();
    fv_context *c = limited();
    uint8_t *bad = malloc(2 * whole.n);
    ck_assert_ptr_nonnull(bad);
    for (int i = 0; i < 4500; i++) {
        size_t n = whole.n;
        memcpy(bad, whole.data, n);
        const size_t at = (draw_u32(&state) >> 8) % n;
        if (i < 3000) { /* one byte */
            bad[at] ^= (uint8_t)(1 + (draw_u32(&state) >> 8) % 255);
        } else if (i < 4000) { /* a byte gone, one too many, a few changed */
            if (i % 3 == 0) memmove(bad + at, bad + at + 1, n-- - at - 1);
            if (i % 3 == 1) memmove(bad + at + 1, bad + at, n++ - at);
            for (int k = 0; i % 3 == 2 && k < 4; k++)
                bad[(draw_u32(&state) >> 8) % n] = (uint8_t)(draw_u32(&state) >> 24);
        } else { /* a piece of the file again elsewhere */
            const size_t from = (draw_u32(&state) >> 8) % n,
                         length = (draw_u32(&state) >> 8) % (n - (at > from ? at : from));
            memmove(bad + at, whole.data + from, length);
        }
        wire_put(bad, n);
        loaded += try_out(c);
    }
    ck_assert_msg(loaded > 100 && loaded < 4000, "%d of 4500 load", loaded); /* weights may change, structure may not */
    free(bad);
    fv_context_free(c);
    w_free(&whole);
    wire_leave();
}
END_TEST

START_TEST(any_allocation_may_fail) {
    wire_enter();
    wire whole = compact_file();
    long calls = 0;
    for (long at = 0; at <= calls; at++) {
        ledger l = {.fail_at = 0};
        fv_context_settings s = settings_of(FV_BACKEND_SERIAL, 1);
        ledger_use(&s, &l);
        fv_context *c = context_with(&s);
        fv_model *m = NULL;
        const long before = l.calls;
        l.fail_at = at ? before + at : 0;
        fv_status status = fv_model_load(c, wire_path, &m);
        if (at == 0) {
            ok(status);
            ok(fv_model_save(m, wire_path));
            calls = l.calls - before;
            ck_assert_int_gt(calls, 100);
        } else {
            if (status == FV_OK) status = fv_model_save(m, wire_path);
            ck_assert_msg(status == FV_ERR_MEMORY, "allocation %ld of %ld: %s: %s", at, calls, fv_status_name(status),
                          fv_last_error());
        }
        fv_model_free(m);
        fv_context_free(c);
        ck_assert_msg(l.blocks == 0, "allocation %ld refused: %ld blocks leak", at, (long)l.blocks);
        wire now = wire_get(wire_path); /* and the file stays whole */
        ck_assert(now.n == whole.n && memcmp(now.data, whole.data, now.n) == 0);
        w_free(&now);
    }
    w_free(&whole);
    wire_leave();
}
END_TEST

START_TEST(files_that_cannot_be) {
    wire_enter();
    fv_context *c = context_of(FV_BACKEND_SERIAL, 1);
    fv_model *m = compact(c), *out = NULL;
    char path[112];
    fails(fv_model_load(c, wire_path, &out), FV_ERR_NOT_FOUND, wire_path);
    fails(fv_model_load(c, wire_folder, &out), FV_ERR_IO, "not a regular file");
    snprintf(path, sizeof path, "%s/none/m.onnx", wire_folder);
    fails(fv_model_save(m, path), FV_ERR_NOT_FOUND, path);
    fails(fv_model_load(NULL, path, &out), FV_ERR_ARGUMENT, "needs");
    fails(fv_model_load(c, NULL, &out), FV_ERR_ARGUMENT, "needs");
    fails(fv_model_load(c, path, NULL), FV_ERR_ARGUMENT, "needs");
    fails(fv_model_save(NULL, path), FV_ERR_ARGUMENT, "needs");
    fails(fv_model_save(m, NULL), FV_ERR_ARGUMENT, "needs");
    ck_assert_ptr_null(out);
    fv_model_free(m);
    fv_context_free(c);
    wire_leave();
}
END_TEST

/* What training leaves alone it leaves alone after a file too, once more saved as well. */
START_TEST(constants_stay_constant) {
    const int64_t shape[4] = {0, 2, 6, 6};
    const float mean[2] = {0.5f, 0.25f}, deviation[2] = {2, 4};
    fv_context *c = context_of(FV_BACKEND_SERIAL, 1);
    fv_graph *g = NULL;
    fv_model *plain = NULL, *normal = NULL, *m = NULL, *back = NULL, *again = NULL;
    size_t constants = 0;
    wire_enter();
    ok(fv_graph_create(c, &g));
    fv_conv_settings conv;
    fv_conv_settings_default(&conv);
    fv_value x = fv_graph_conv(g, fv_graph_input(g, "x", 4, shape), &conv, "conv");
    x = fv_graph_batch_norm(g, fv_graph_gain(g, fv_graph_tanh(g, x, NULL), false, "fixed"), NULL, "norm");
    x = fv_graph_gain(g, fv_graph_tanh(g, x, NULL), true, "free");
    ok(fv_graph_output(g, fv_graph_linear(g, fv_graph_linear(g, x, 5, true, FV_INIT_HE, "fc"), 3, true, FV_INIT_HE, "head"), "y"));
    ok(fv_model_create(g, 1, &plain));
    ok(fv_model_normalize(plain, mean, deviation, 2, &normal));
    ok(fv_model_freeze(normal, "fc.*", NULL, &m));
    ok(fv_model_save(m, wire_path));
    ok(fv_model_load(c, wire_path, &back));
    ok(fv_model_save(back, wire_path));
    ok(fv_model_load(c, wire_path, &again));
    ck_assert_uint_eq(fv_model_parameter_count(m), fv_model_parameter_count(again));
    for (size_t i = 0; i < fv_model_parameter_count(m); i++) {
        const char *name;
        bool found = false, is_found = false, trainable, is;
        ok(fv_model_parameter(m, i, &name, NULL, &trainable));
        constants += !trainable;
        for (size_t k = 0; k < fv_model_parameter_count(again); k++) {
            const char *other;
            ok(fv_model_parameter(again, k, &other, NULL, &is));
            if (strcmp(name, other) != 0) continue;
            found = true;
            is_found = is;
        }
        ck_assert_msg(found && is_found == trainable, "%s", name);
    }
    ck_assert_uint_eq(constants, 2 + 1 + 2 + 2); /* normalize, the gain, running moments, fc */
    fv_model_free(again);
    fv_model_free(back);
    fv_model_free(m);
    fv_model_free(normal);
    fv_model_free(plain);
    fv_graph_free(g);
    fv_context_free(c);
    wire_leave();
}
END_TEST

int main(void) {
    const TTest *const tests[] = {
        every_operator_comes_back, shared_weights_keep_their_forms, odd_names_are_kept_apart, no_prefix_is_a_model,
        corruption_never_crashes,  any_allocation_may_fail,         files_that_cannot_be,     constants_stay_constant,
        NULL};
    return run_tests("onnx", tests, 150);
}
