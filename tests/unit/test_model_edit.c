/* New models from old ones: everything exposed, parameters frozen, another last layer, a normalized input. */
#include "training.h"

#include <math.h>

/* ---- exposed ---- */

START_TEST(every_activation_is_an_output) {
    static const char *const names[] = {"y", "conv1", "relu1", "pool1", "conv2", "tanh1", "pool2", "fc1", "relu2"};
    static const size_t counts[] = {net_out,   6 * 11 * 9, 6 * 11 * 9, 6 * 5 * 4, 7 * 5 * 4,
                                    7 * 5 * 4, 7 * 4 * 3,  13,         13};
    enum { outputs = sizeof names / sizeof *names };
    fv_context *c = context_of(FV_BACKEND_SERIAL, 1);
    fv_model *m = small_model(c, true), *all = NULL;
    ok(fv_model_expose(m, &all));
    ck_assert_uint_eq(fv_model_output_count(m), 1);
    ck_assert_uint_eq(fv_model_output_count(all), outputs);
    float x[2 * net_in], plain[2 * net_out];
    draw_all(x, 2 * net_in, 5);
    const fv_tensor in = maps(x, 2, net_c, net_h, net_w), y = rows(plain, 2, net_out);
    fv_tensor out[outputs];
    for (size_t i = 0; i < outputs; i++) {
        const char *name;
        size_t count;
        ok(fv_model_output(all, i, &name, &out[i]));
        ck_assert_str_eq(name, names[i]);
        out[i].shape[0] = 2;
        ok(fv_tensor_count(&out[i], &count));
        ck_assert_uint_eq(count, 2 * counts[i]);
        out[i].data = malloc(count * sizeof(float));
    }
    fv_session_settings s;
    fv_session_settings_default(&s);
    s.batch = 2;
    fv_session *session = NULL, *whole = NULL;
    ok(fv_session_create(m, &s, &session));
    ok(fv_session_create(all, &s, &whole));
    fv_model_free(m); /* the exposed model has its own parameters */
    ok(fv_session_run(session, &in, 1, &y, 1));
    ok(fv_session_run(whole, &in, 1, out, outputs));
    ck_assert_mem_eq(out[0].data, plain, sizeof plain);
    const float *conv = out[1].data, *relu = out[2].data, *pool = out[3].data;
    for (size_t i = 0; i < 2 * counts[1]; i++) ck_assert_float_eq(relu[i], conv[i] > 0 ? conv[i] : 0);
    ck_assert_float_eq(pool[0], fmaxf(fmaxf(relu[0], relu[1]), fmaxf(relu[9], relu[10])));
    for (size_t i = 0; i < outputs; i++) free(out[i].data);
    fv_session_free(session);
    fv_session_free(whole);
    fv_model_free(all);
    fv_context_free(c);
}
END_TEST

/* A node whose name an input has is exposed under another. */
START_TEST(exposed_names_are_their_own) {
    const int64_t shape[2] = {0, 3};
    fv_context *c = context_of(FV_BACKEND_SERIAL, 1);
    fv_graph *g = NULL;
    fv_model *m = NULL, *all = NULL;
    const char *name;
    ok(fv_graph_create(c, &g));
    const fv_value x = fv_graph_input(g, "x", 2, shape);
    ok(fv_graph_output(g, fv_graph_tanh(g, fv_graph_relu(g, x, "x"), "last"), "y"));
    ok(fv_model_create(g, 1, &m));
    ok(fv_model_expose(m, &all));
    ok(fv_model_output(all, 1, &name, NULL));
    ck_assert_str_eq(name, "x:1");
    fails(fv_model_expose(NULL, &all), FV_ERR_ARGUMENT, "fv_model_expose");
    fv_model_free(all);
    fv_model_free(m);
    fv_graph_free(g);
    fv_context_free(c);
}
END_TEST

/* ---- frozen ---- */

START_TEST(frozen_parameters_stay) {
    fv_context *c = context_of(FV_BACKEND_SERIAL, 1);
    fv_model *m = small_model(c, false), *frozen = NULL, *after = NULL;
    size_t matched = 0;
    ok(fv_model_freeze(m, "conv?.*", &matched, &frozen));
    ck_assert_uint_eq(matched, 4);
    const fv_trainer_settings s = train_settings(4, FV_ADAM);
    fv_trainer *t = trainer_of(frozen, &s);
    train_steps(t, 0, 4);
    ok(fv_trainer_model(t, &after));
    for (size_t i = 0; i < fv_model_parameter_count(m); i++) {
        fv_tensor a, b;
        const char *name;
        bool trainable;
        size_t count;
        ok(fv_model_parameter(frozen, i, &name, &a, &trainable));
        ok(fv_model_parameter(after, i, NULL, &b, NULL));
        ok(fv_tensor_count(&a, &count));
        ck_assert_int_eq(trainable, strncmp(name, "conv", 4) != 0);
        ck_assert_msg((memcmp(a.data, b.data, count * sizeof(float)) != 0) == trainable, "%s", name);
    }
    fv_model *none = NULL;
    fails(fv_model_freeze(m, "conv", NULL, &none), FV_ERR_NOT_FOUND, "\"conv\"");
    fails(fv_model_freeze(m, NULL, NULL, &none), FV_ERR_ARGUMENT, "pattern");
    ok(fv_model_freeze(m, "*", &matched, &none));
    ck_assert_uint_eq(matched, 8);
    fv_trainer *stuck = NULL;
    fails(fv_trainer_create(none, &s, &stuck), FV_ERR_UNSUPPORTED, "no parameter");
    fv_model_free(none);
    fv_trainer_free(t);
    fv_model_free(after);
    fv_model_free(frozen);
    fv_model_free(m);
    fv_context_free(c);
}
END_TEST

/* ---- another head ---- */

static const float *values(const fv_model *m, size_t i, fv_tensor *t) {
    ok(fv_model_parameter(m, i, NULL, t, NULL));
    return t->data;
}

START_TEST(a_new_head_has_its_own_weights) {
    fv_context *c = context_of(FV_BACKEND_SERIAL, 1);
    fv_model *m = NULL, *three = NULL, *other = NULL;
    fv_tensor a, b;
    ok(small_try(c, false, true, 3, &m));
    ok(fv_model_new_head(m, 3, 9, &three));
    ok(fv_model_new_head(m, 3, 10, &other));
    ok(fv_model_output(three, 0, NULL, &a));
    ck_assert_int_eq(a.shape[1], 3);
    ck_assert(fv_model_gives_probabilities(three));
    for (size_t i = 0; i < 6; i++) { /* all but the head are the same */
        const float *before = values(m, i, &a), *now = values(three, i, &b);
        size_t count;
        ok(fv_tensor_count(&a, &count));
        ck_assert_mem_eq(before, now, count * sizeof(float));
    }
    const float *w = values(three, 6, &a), *v = values(other, 6, &b);
    ck_assert_int_eq(a.shape[0], 3);
    ck_assert_int_eq(a.shape[1], 13);
    ck_assert_mem_ne(w, v, 39 * sizeof(float));
    for (int i = 0; i < 39; i++) ck_assert(fabsf(w[i]) <= sqrtf(3.0f / 13) && w[i] != 0);
    const float *bias = values(three, 7, &b);
    for (int i = 0; i < 3; i++) ck_assert_float_eq(bias[i], 0);
    float x[net_in], y[3];
    draw_all(x, net_in, 1);
    const fv_tensor in = maps(x, 1, net_c, net_h, net_w), out = rows(y, 1, 3);
    fv_session *s = NULL;
    ok(fv_session_create(three, NULL, &s));
    ok(fv_session_run(s, &in, 1, &out, 1));
    ck_assert_float_eq_tol(y[0] + y[1] + y[2], 1, 1e-6);
    fv_model *none = NULL;
    fails(fv_model_new_head(m, 0, 1, &none), FV_ERR_ARGUMENT, "0 outputs");
    ck_assert_ptr_null(none);
    fv_session_free(s);
    fv_model_free(other);
    fv_model_free(three);
    fv_model_free(m);
    fv_context_free(c);
}
END_TEST

/* A weight that two layers share cannot be replaced for one, and without a fully connected layer there is no head. */
START_TEST(heads_that_cannot_be_replaced) {
    const int64_t shape[2] = {0, 4}, square[2] = {4, 4}, image[4] = {0, 1, 3, 3};
    fv_context *c = context_of(FV_BACKEND_SERIAL, 1);
    fv_model *m = NULL, *none = NULL;
    fv_conv_settings conv;
    fv_conv_settings_default(&conv);
    for (int shared = 0; shared < 2; shared++) {
        fv_graph *g = NULL;
        ok(fv_graph_create(c, &g));
        fv_value x;
        if (shared) {
            const fv_value w = fv_graph_parameter(g, "w", 2, square, NULL, FV_INIT_HE, true);
            x = fv_graph_linear_with(g, fv_graph_input(g, "x", 2, shape), w, FV_NONE, "a");
            x = fv_graph_linear_with(g, x, w, FV_NONE, "b");
        } else {
            x = fv_graph_conv(g, fv_graph_input(g, "x", 4, image), &conv, "conv");
        }
        ok(fv_graph_output(g, x, "y"));
        ok(fv_model_create(g, 1, &m));
        fails(fv_model_new_head(m, 2, 1, &none), FV_ERR_UNSUPPORTED, shared ? "used elsewhere" : "no fully connected");
        fv_model_free(m);
        fv_graph_free(g);
    }
    fv_context_free(c);
}
END_TEST

/* ---- normalized ---- */

static void run_one(const fv_model *m, float *x, float *y) {
    fv_session *s = NULL;
    const fv_tensor in = maps(x, 1, net_c, net_h, net_w), out = rows(y, 1, net_out);
    ok(fv_session_create(m, NULL, &s));
    ok(fv_session_run(s, &in, 1, &out, 1));
    fv_session_free(s);
}

START_TEST(a_normalized_model_takes_raw_images) {
    static const float mean[net_c] = {0.5f, -1, 0.25f}, deviation[net_c] = {2, 0.5f, 0.3f};
    float raw[net_in], normal[net_in], y[net_out], wanted[net_out], again[net_out];
    fv_context *c = context_of(FV_BACKEND_SERIAL, 1);
    fv_model *m = small_model(c, false), *n = NULL, *loaded = NULL, *after = NULL;
    draw_all(raw, net_in, 4);
    for (int i = 0; i < net_in; i++) {
        const int channel = i / (net_h * net_w);
        normal[i] = (raw[i] - mean[channel]) / deviation[channel];
    }
    ok(fv_model_normalize(m, mean, deviation, net_c, &n));
    run_one(m, normal, wanted);
    run_one(n, raw, y);
    for (int i = 0; i < net_out; i++) ck_assert_float_eq_tol(y[i], wanted[i], 2e-6);
    char path[] = "/tmp/fovea-normalize-XXXXXX";
    const int file = mkstemp(path);
    ck_assert_int_ge(file, 0);
    ok(fv_model_save(n, path));
    ok(fv_model_load(c, path, &loaded));
    run_one(loaded, raw, again);
    ck_assert_mem_eq(y, again, sizeof y);
    fclose(fdopen(file, "r"));
    remove(path);
    /* training changes every parameter but the two of the normalization */
    const fv_trainer_settings s = train_settings(4, FV_MOMENTUM);
    fv_trainer *t = trainer_of(n, &s);
    train_steps(t, 0, 3);
    ok(fv_trainer_model(t, &after));
    for (size_t i = 0; i < fv_model_parameter_count(n); i++) {
        const char *name;
        fv_tensor a, b;
        size_t count;
        ok(fv_model_parameter(n, i, &name, &a, NULL));
        ok(fv_model_parameter(after, i, NULL, &b, NULL));
        ok(fv_tensor_count(&a, &count));
        const bool same = memcmp(a.data, b.data, count * sizeof(float)) == 0;
        ck_assert_msg(same == (strncmp(name, "normalize.", 10) == 0), "%s", name);
    }
    fv_model *none = NULL;
    fails(fv_model_normalize(n, mean, deviation, net_c, &none), FV_ERR_STATE, "already");
    fails(fv_model_normalize(m, mean, deviation, 2, &none), FV_ERR_SHAPE, "2 channels");
    fails(fv_model_normalize(m, mean, NULL, net_c, &none), FV_ERR_ARGUMENT, "deviations");
    const float zero[net_c] = {1, 0, 1};
    fails(fv_model_normalize(m, mean, zero, net_c, &none), FV_ERR_ARGUMENT, "channel 1");
    float far[net_c] = {1e30f}, little[net_c]; /* each is a number, their quotient none */
    for (int k = 0; k < net_c; k++) little[k] = 1e-30f;
    fails(fv_model_normalize(m, far, little, net_c, &none), FV_ERR_ARGUMENT, "channel 0");
    ck_assert_ptr_null(none);
    fv_trainer_free(t);
    fv_model_free(after);
    fv_model_free(loaded);
    fv_model_free(n);
    fv_model_free(m);
    fv_context_free(c);
}
END_TEST

/* Each allocation refused in turn: a status, and nothing kept. */
START_TEST(editing_survives_refused_memory) {
    static const float mean[net_c] = {0, 0, 0}, deviation[net_c] = {1, 1, 1};
    ledger l = {0};
    fv_context_settings s = settings_of(FV_BACKEND_SERIAL, 1);
    ledger_use(&s, &l);
    fv_context *c = context_with(&s);
    fv_model *m = small_model(c, true);
    const long kept = atomic_load(&l.blocks);
    for (int what = 0; what < 4; what++) {
        fv_status status = FV_ERR_MEMORY;
        for (long at = 1; status != FV_OK; at++) {
            fv_model *made = NULL;
            atomic_store(&l.calls, 0);
            l.fail_at = at;
            status = what == 0   ? fv_model_expose(m, &made)
                     : what == 1 ? fv_model_freeze(m, "fc*", NULL, &made)
                     : what == 2 ? fv_model_new_head(m, 3, 1, &made)
                                 : fv_model_normalize(m, mean, deviation, net_c, &made);
            l.fail_at = 0;
            if (status != FV_OK) ck_assert_int_eq(status, FV_ERR_MEMORY);
            fv_model_free(made);
            ck_assert_int_eq(atomic_load(&l.blocks), kept);
            ck_assert_int_lt(at, 1000);
        }
    }
    fv_model_free(m);
    fv_context_free(c);
}
END_TEST

int main(void) {
    const TTest *const tests[] = {every_activation_is_an_output,   exposed_names_are_their_own,
                                  frozen_parameters_stay,          a_new_head_has_its_own_weights,
                                  heads_that_cannot_be_replaced,   a_normalized_model_takes_raw_images,
                                  editing_survives_refused_memory, NULL};
    return run_tests("model_edit", tests, 120);
}
