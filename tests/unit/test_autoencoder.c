/* Squared error over maps: targets of the output's shape in either layout, and the autoencoder, which learns to remove noise. */
#include "training.h"

#include <math.h>

enum { side = 28, pixels = side * side, most = 32 };

/* ---- against its definition ---- */

static fv_model *one_conv(fv_context *c, int32_t maps_out) {
    const int64_t shape[4] = {0, 2, 3, 4};
    fv_conv_settings s;
    fv_graph *g = NULL;
    fv_model *m = NULL;
    fv_conv_settings_default(&s);
    s.out_channels = maps_out;
    s.kernel[0] = s.kernel[1] = 1;
    ok(fv_graph_create(c, &g));
    ok(fv_graph_output(g, fv_graph_conv(g, fv_graph_input(g, "x", 4, shape), &s, "conv"), "y"));
    ok(fv_model_create(g, 3, &m));
    fv_graph_free(g);
    return m;
}

/* [n][c][12] to [n][12][c]. */
static void channels_last(const float *plain, float *to, int n, int c) {
    for (int i = 0; i < n; i++)
        for (int k = 0; k < c; k++)
            for (int p = 0; p < 12; p++) to[(i * 12 + p) * c + k] = plain[(i * c + k) * 12 + p];
}

/* The mean over images of half the sum of squares, and one step down its gradient by the weights. */
static double defined_step(const fv_model *m, const float *x, const float *target, float lr, double weight[6], double bias[3]) {
    fv_tensor w, b;
    double loss = 0;
    ok(fv_model_parameter(m, 0, NULL, &w, NULL));
    ok(fv_model_parameter(m, 1, NULL, &b, NULL));
    for (int i = 0; i < 6; i++) weight[i] = (double)((const float *)w.data)[i];
    for (int i = 0; i < 3; i++) bias[i] = (double)((const float *)b.data)[i];
    for (int n = 0; n < 2; n++)
        for (int k = 0; k < 3; k++)
            for (int p = 0; p < 12; p++) {
                const double x0 = (double)x[n * 24 + p], x1 = (double)x[n * 24 + 12 + p];
                const double e = (double)((const float *)w.data)[2 * k] * x0 + (double)((const float *)w.data)[2 * k + 1] * x1 +
                                 (double)((const float *)b.data)[k] - (double)target[(n * 3 + k) * 12 + p];
                loss += 0.5 * e * e / 2;
                weight[2 * k] -= (double)lr * e * x0 / 2;
                weight[2 * k + 1] -= (double)lr * e * x1 / 2;
                bias[k] -= (double)lr * e / 2;
            }
    return loss;
}

START_TEST(maps_have_targets_in_either_layout) {
    float x[48], target[72], x_last[48], target_last[72], found[9];
    double weight[6], bias[3];
    fv_context *c = context_of(FV_BACKEND_SERIAL, 1);
    fv_model *m = one_conv(c, 3);
    fv_trainer_settings s = train_settings(2, FV_SGD);
    s.loss = FV_LOSS_SQUARED_ERROR;
    draw_all(x, 48, 1);
    draw_all(target, 72, 2);
    channels_last(x, x_last, 2, 2);
    channels_last(target, target_last, 2, 3);
    const double loss = defined_step(m, x, target, s.lr, weight, bias);
    for (int last = 0; last < 2; last++) {
        s.input_layout = last ? FV_NHWC : FV_PLAIN;
        fv_trainer *t = trainer_of(m, &s);
        fv_tensor in = maps(last ? x_last : x, 2, 2, 3, 4), y = maps(last ? target_last : target, 2, 3, 3, 4);
        in.layout = y.layout = s.input_layout;
        fv_step step;
        ok(fv_trainer_step(t, &in, &y, &step));
        ck_assert_double_eq_tol(step.loss, loss, 1e-5);
        ck_assert_int_eq(step.correct, -1);
        trained_parameters(t, found, 9);
        for (int i = 0; i < 6; i++) ck_assert_double_eq_tol((double)found[i], weight[i], 1e-5);
        for (int i = 0; i < 3; i++) ck_assert_double_eq_tol((double)found[6 + i], bias[i], 1e-5);
        fv_trainer_free(t);
    }
    fv_model_free(m);
    fv_context_free(c);
}
END_TEST

START_TEST(targets_that_do_not_fit) {
    float x[48] = {0}, target[72] = {0};
    int32_t label[2] = {0, 1};
    fv_context *c = context_of(FV_BACKEND_SERIAL, 1);
    fv_model *m = one_conv(c, 3);
    fv_trainer_settings s = train_settings(2, FV_SGD);
    fv_trainer *t = NULL;
    fails(fv_trainer_create(m, &s, &t), FV_ERR_UNSUPPORTED, "cross-entropy");
    s.loss = FV_LOSS_SQUARED_ERROR;
    t = trainer_of(m, &s);
    const fv_tensor in = maps(x, 2, 2, 3, 4), labels = labels_of(label, 2), flat = rows(target, 2, 36);
    fv_tensor y = maps(target, 2, 3, 3, 4);
    fails(fv_trainer_step(t, &in, &labels, NULL), FV_ERR_ARGUMENT, "float targets");
    fails(fv_trainer_step(t, &in, &flat, NULL), FV_ERR_SHAPE, "(2,3,3,4)");
    y.layout = FV_NHWC;
    fails(fv_trainer_step(t, &in, &y, NULL), FV_ERR_SHAPE, "layout");
    y = maps(target, 1, 3, 3, 4);
    fails(fv_trainer_step(t, &in, &y, NULL), FV_ERR_SHAPE, "(2,3,3,4)");
    y = maps(target, 2, 3, 3, 4);
    ok(fv_trainer_step(t, &in, &y, NULL));
    fv_trainer_free(t);
    fv_model_free(m);
    fv_context_free(c);
}
END_TEST

/* ---- the network ---- */

START_TEST(the_output_has_the_inputs_shape) {
    static const int32_t sizes[][3] = {{1, 28, 28}, {3, 32, 32}, {2, 13, 10}, {1, 1, 7}, {4, 30, 31}};
    fv_context *c = context_of(FV_BACKEND_SERIAL, 1);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        const fv_zoo_settings z = {.channels = sizes[i][0], .height = sizes[i][1], .width = sizes[i][2], .seed = 1};
        fv_model *m = NULL;
        fv_tensor y;
        ok(fv_model_zoo(c, "autoencoder", &z, &m));
        ok(fv_model_output(m, 0, NULL, &y));
        ck_assert_int_eq(y.rank, 4);
        for (int k = 0; k < 3; k++) ck_assert_int_eq(y.shape[k + 1], sizes[i][k]);
        fv_model_free(m);
    }
    fv_context_free(c);
}
END_TEST

/* Half the squared distance an image. */
static double distance(const float *a, const float *b, size_t n) {
    double sum = 0;
    for (size_t i = 0; i < n * pixels; i++) sum += 0.5 * ((double)a[i] - (double)b[i]) * ((double)a[i] - (double)b[i]);
    return sum / (double)n;
}

static void add_noise(const float *clean, float *noisy, size_t n, uint32_t *state) {
    for (size_t i = 0; i < n * pixels; i++) noisy[i] = clean[i] + 0.9f * draw(state);
}

START_TEST(it_learns_to_remove_noise) {
    static float clean[most * pixels], noisy[most * pixels], out[most * pixels];
    uint32_t state = 7;
    fv_context *c = context_of(FV_BACKEND_PTHREADS, 2);
    fv_dataset *d = NULL;
    fv_loader *l = NULL;
    fv_model *m = NULL, *trained = NULL;
    fv_loader_settings batches;
    fv_trainer_settings s = train_settings(most, FV_ADAM);
    fv_step first = {0}, step;
    fv_loader_settings_default(&batches);
    batches.batch = most;
    s.loss = FV_LOSS_SQUARED_ERROR;
    s.input_layout = FV_NHWC;
    ok(fv_dataset_open(c, "idx:data/fashion-mnist-sample", NULL, &d));
    ok(fv_loader_create(d, &batches, &l));
    ok(fv_model_zoo(c, "autoencoder", NULL, &m));
    fv_trainer *t = trainer_of(m, &s);
    for (int i = 0; i < 100; i++) {
        fv_tensor x, labels;
        ok(fv_loader_next(l, &x, &labels));
        const int64_t n = x.shape[0];
        memcpy(clean, x.data, (size_t)n * pixels * sizeof *clean);
        add_noise(clean, noisy, (size_t)n, &state);
        const fv_tensor in = maps(noisy, n, 1, side, side), target = maps(clean, n, 1, side, side);
        ok(fv_trainer_step(t, &in, &target, i ? &step : &first));
    }
    ck_assert_msg(step.loss < 0.25 * first.loss, "%g after %g", step.loss, first.loss);
    ok(fv_trainer_model(t, &trained));
    fv_session_settings planned;
    fv_session *session = NULL;
    fv_session_settings_default(&planned);
    planned.batch = 16;
    ok(fv_session_create(trained, &planned, &session));
    add_noise(clean, noisy, 16, &state); /* noise it has not seen */
    const fv_tensor in = maps(noisy, 16, 1, side, side), y = maps(out, 16, 1, side, side);
    ok(fv_session_run(session, &in, 1, &y, 1));
    const double before = distance(noisy, clean, 16), after = distance(out, clean, 16);
    ck_assert_msg(after < 0.25 * before, "%g of %g", after, before);
    fv_session_free(session);
    fv_trainer_free(t);
    fv_loader_free(l);
    fv_dataset_free(d);
    fv_model_free(trained);
    fv_model_free(m);
    fv_context_free(c);
}
END_TEST

int main(void) {
    const TTest *const tests[] = {maps_have_targets_in_either_layout, targets_that_do_not_fit, the_output_has_the_inputs_shape,
                                  it_learns_to_remove_noise, NULL};
    return run_tests("autoencoder", tests, 120);
}
