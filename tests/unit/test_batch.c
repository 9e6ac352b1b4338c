/* Batches: in parts where maps are large, one image at a time where that is asked for. */
#include "unit.h"

#include <stdlib.h>

enum { side = 128, wide = 32, batch = 16, classes = 4 };

/* Maps of 2 MB an image. `own`: the batch the model is fixed to, or 0. */
static fv_model *large_maps(fv_context *c, int64_t own) {
    const int64_t shape[4] = {own, 1, side, side};
    fv_graph *g = NULL;
    fv_model *m = NULL;
    fv_conv_settings conv;
    fv_conv_settings_default(&conv);
    conv.out_channels = wide;
    conv.kernel[0] = conv.kernel[1] = 1;
    fv_pool_settings pool, mean;
    fv_pool_settings_default(&pool);
    fv_pool_settings_default(&mean);
    mean.kind = FV_POOL_AVERAGE;
    mean.global = true;
    ok(fv_graph_create(c, &g));
    fv_value x = fv_graph_pool(g, fv_graph_conv(g, fv_graph_input(g, "x", 4, shape), &conv, "conv"), &pool, "pool");
    x = fv_graph_linear(g, fv_graph_pool(g, x, &mean, "mean"), classes, true, FV_INIT_LECUN, "fc");
    ok(fv_graph_output(g, x, "y"));
    ok(fv_model_create(g, 3, &m));
    fv_graph_free(g);
    return m;
}

static int64_t run_of(const fv_model *m, int64_t n, float *x, int64_t h, float *y, int64_t out) {
    fv_session_settings s;
    fv_session *session = NULL;
    fv_session_settings_default(&s);
    s.batch = n;
    ok(fv_session_create(m, &s, &session));
    fv_tensor shape;
    ok(fv_model_input(m, 0, NULL, &shape));
    const fv_tensor in = maps(x, n, shape.shape[1], h, h), to = rows(y, n, out);
    ok(fv_session_run(session, &in, 1, &to, 1));
    const int64_t parts = fv_session_parts(session);
    fv_session_free(session);
    return parts;
}

START_TEST(large_maps_go_in_parts) {
    static float x[batch * side * side], y[batch * classes], alone[classes];
    fv_context *c = context_of(FV_BACKEND_PTHREADS, 2);
    fv_model *m = large_maps(c, 0);
    draw_all(x, batch * side * side, 1);
    ck_assert_int_eq(run_of(m, batch, x, side, y, classes), 4);
    for (int i = 0; i < batch; i++) {
        ck_assert_int_eq(run_of(m, 1, x + i * side * side, side, alone, classes), 1);
        for (int k = 0; k < classes; k++) ck_assert_float_eq_tol(y[i * classes + k], alone[k], 1e-5f);
    }
    ck_assert_int_eq(run_of(m, 13, x, side, y, classes), 1); /* a prime: no equal parts that are worth it */
    fv_session_settings s;
    size_t sixteen, four;
    fv_session_settings_default(&s);
    s.batch = batch;
    ok(fv_session_bytes(m, &s, &sixteen));
    s.batch = 4;
    ok(fv_session_bytes(m, &s, &four));
    ck_assert_uint_eq(sixteen, four);
    fv_model_free(m);
    fv_context_free(c);
}
END_TEST

START_TEST(nodes_tell_of_the_whole_batch) {
    fv_context *c = context_of(FV_BACKEND_SERIAL, 1);
    fv_model *m = large_maps(c, 0), *fixed = large_maps(c, batch);
    fv_session_settings s;
    fv_session_settings_default(&s);
    s.batch = batch;
    fv_session *parts = NULL, *whole = NULL;
    ok(fv_session_create(m, &s, &parts));
    ok(fv_session_create(fixed, &s, &whole));
    ck_assert_int_eq(fv_session_parts(parts), 4);
    ck_assert_int_eq(fv_session_parts(whole), 1);
    ck_assert_uint_eq(fv_session_node_count(parts), fv_session_node_count(whole));
    for (size_t i = 0; i < fv_session_node_count(parts); i++) {
        fv_node_info a, b;
        ok(fv_session_node(parts, i, &a));
        ok(fv_session_node(whole, i, &b));
        ck_assert_double_eq(a.flops, b.flops);
        ck_assert_int_eq(a.shape[0], b.shape[0]);
        ck_assert_double_ge(a.bytes, b.bytes); /* weights are read by each part */
    }
    fv_session_free(parts);
    fv_session_free(whole);
    fv_model_free(fixed);
    fv_model_free(m);
    fv_context_free(c);
}
END_TEST

static fv_context *invariant_context(int threads) {
    fv_context_settings s = settings_of(FV_BACKEND_PTHREADS, threads);
    s.batch_invariant = true;
    return context_with(&s);
}

static size_t elements(const fv_tensor *t) {
    size_t count;
    ok(fv_tensor_count(t, &count));
    return count;
}

/* n images of x through a session made for them. */
static void infer(const fv_model *m, float *x, int64_t n, float *y) {
    fv_session_settings s;
    fv_session *session = NULL;
    fv_tensor in, out;
    fv_session_settings_default(&s);
    s.batch = n;
    ok(fv_session_create(m, &s, &session));
    ok(fv_session_input(session, 0, NULL, &in));
    ok(fv_session_output(session, 0, NULL, &out));
    in.data = x;
    out.data = y;
    ok(fv_session_run(session, &in, 1, &out, 1));
    ck_assert_int_eq(fv_session_parts(session), n);
    fv_session_free(session);
}

/* Sixteen images, no two alike: each is to have the bits it has alone at every place of batches 1, 2, 3, 7 and 16. */
static void check_net(fv_context *c, const char *name, const fv_zoo_settings *zoo) {
    static const int64_t sizes[] = {1, 2, 3, 7, batch};
    fv_model *m = NULL;
    fv_tensor in, out;
    ok(fv_model_zoo(c, name, zoo, &m));
    ok(fv_model_input(m, 0, NULL, &in));
    ok(fv_model_output(m, 0, NULL, &out));
    in.shape[0] = out.shape[0] = 1;
    const size_t image = elements(&in), row = elements(&out);
    float *x = malloc(batch * image * sizeof *x), *alone = malloc(batch * row * sizeof *alone), *y = malloc(batch * row * sizeof *y);
    ck_assert(x && alone && y);
    draw_all(x, batch * image, 7);
    for (size_t i = 0; i < batch; i++) infer(m, x + i * image, 1, alone + i * row);
    ck_assert_msg(memcmp(alone, alone + row, row * sizeof *alone) != 0, "%s tells no images apart", name);
    for (size_t b = 0; b < sizeof sizes / sizeof *sizes; b++)
        for (int64_t begin = 0; begin + sizes[b] <= batch && begin < sizes[b]; begin++) { /* image i at every place */
            infer(m, x + (size_t)begin * image, sizes[b], y);
            ck_assert_msg(memcmp(y, alone + (size_t)begin * row, (size_t)sizes[b] * row * sizeof *y) == 0,
                          "%s gives other bits in a batch of %d that begins with image %d", name, (int)sizes[b], (int)begin);
        }
    free(y);
    free(alone);
    free(x);
    fv_model_free(m);
}

START_TEST(an_image_has_its_bits_in_every_batch) {
    static const char *const nets[] = {"lenet5", "resnet18-cifar", "mobilenet-cifar", "squeezenet1_1"};
    fv_context *c = invariant_context(2);
    fv_zoo_settings small;
    fv_zoo_settings_default(&small);
    small.height = small.width = 32;
    small.channels = 3;
    small.classes = 10;
    for (size_t n = 0; n < sizeof nets / sizeof *nets; n++) check_net(c, nets[n], &small);
    fv_context_free(c);
}
END_TEST

/* The whole zoo at its own sizes takes a minute: with FOVEA_TEST_ZOO set alone. */
START_TEST(so_it_has_in_every_network_of_the_zoo) {
    if (!getenv("FOVEA_TEST_ZOO")) return;
    fv_context *c = invariant_context(2);
    fv_zoo_settings own;
    fv_zoo_settings_default(&own);
    for (size_t i = 0; fv_zoo_name(i, NULL); i++) check_net(c, fv_zoo_name(i, NULL), &own);
    fv_context_free(c);
}
END_TEST

START_TEST(what_mixes_images_is_refused) {
    fv_context *c = invariant_context(1);
    fv_model *fixed = large_maps(c, batch), *m = NULL;
    fv_session *session = NULL;
    fv_session_settings s;
    fv_session_settings_default(&s);
    s.batch = batch;
    fails(fv_session_create(fixed, &s, &session), FV_ERR_UNSUPPORTED, "own batch of 16");
    fv_graph *g = NULL;
    const int64_t shape[4] = {0, 1, 4, 4};
    fv_pool_settings pool;
    fv_pool_settings_default(&pool);
    fv_value places;
    ok(fv_graph_create(c, &g));
    fv_graph_max_pool_indices(g, fv_graph_input(g, "x", 4, shape), &pool, &places, "pool");
    ok(fv_graph_output(g, places, "places"));
    ok(fv_model_create(g, 1, &m));
    fails(fv_session_create(m, &s, &session), FV_ERR_UNSUPPORTED, "several images");
    s.batch = 1;
    ok(fv_session_create(m, &s, &session));
    fv_session_free(session);
    fv_graph_free(g);
    fv_model_free(m);
    fv_model_free(fixed);
    fv_context_free(c);
}
END_TEST

int main(void) {
    const TTest *const tests[] = {large_maps_go_in_parts, nodes_tell_of_the_whole_batch, an_image_has_its_bits_in_every_batch,
                                  so_it_has_in_every_network_of_the_zoo,
                                  what_mixes_images_is_refused, NULL};
    return run_tests("batch", tests, getenv("FOVEA_TEST_ZOO") ? 900 : 120);
}
