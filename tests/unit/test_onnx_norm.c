/* Normalization in ONNX files of others: forms that are read, and what is refused with which sentence. */
#include "onnx_files.h"

#include <math.h>

static wire values(const char *name, size_t n, const float *data) {
    const int64_t dims = (int64_t)n;
    wire t = tensor_head(name, 1, 1, &dims);
    w_bytes(&t, 9, data, n * sizeof *data);
    return t;
}

static const float two[2] = {1.5f, -0.5f}, some[2] = {0.25f, 1}, mean[2] = {0.5f, -0.25f}, variance[2] = {0.3f, 2},
                   bad[2] = {0.3f, -1}, three[3] = {1, 2, 3};

/* x (N,2,4,3) or (N,2) -> n -> y, with every constant of this file. */
static wire around(wire n, int64_t opset, bool maps) {
    wire g = {0}, m = {0};
    w_message(&g, G_INITIALIZER, values("scale", 2, two));
    w_message(&g, G_INITIALIZER, values("bias", 2, some));
    w_message(&g, G_INITIALIZER, values("mean", 2, mean));
    w_message(&g, G_INITIALIZER, values("variance", 2, variance));
    w_message(&g, G_INITIALIZER, values("bad", 2, bad));
    w_message(&g, G_INITIALIZER, values("three", 3, three));
    wire shaped = tensor_head("maps", 1, 3, (int64_t[]){2, 1, 1});
    w_bytes(&shaped, 9, two, sizeof two);
    w_message(&g, G_INITIALIZER, shaped);
    w_message(&g, G_INITIALIZER, tensor_of("all", DIMS(2, 4, 3)));
    w_message(&g, G_NODE, n);
    if (maps) {
        w_message(&g, G_INPUT, value_info_of("x", DIMS(0, 2, 4, 3)));
        w_message(&g, G_OUTPUT, value_info_of("y", DIMS(0, 2, 4, 3)));
    } else {
        w_message(&g, G_INPUT, value_info_of("x", DIMS(0, 2)));
        w_message(&g, G_OUTPUT, value_info_of("y", DIMS(0, 2)));
    }
    w_int(&m, 1, 8);
    w_message(&m, 7, g);
    w_message(&m, 8, opset_of(NULL, opset));
    return m;
}

static wire batch_node(const char *inputs, const char *outputs) { return node_of("BatchNormalization", "bn", inputs, outputs); }
static const char *const all_inputs = "x scale bias mean variance";

static wire with_attribute(wire n, wire a) {
    node_attr(&n, a);
    return n;
}

START_TEST(batch_normalization_is_the_running_map) {
    float x[24], y[24], again[24];
    enter();
    accepted(around(with_attribute(batch_node(all_inputs, "y"), attr_float("epsilon", 0.01f)), 15, true), y, 24);
    draw_all(x, 24, 21);
    for (int i = 0; i < 24; i++) {
        const int c = i / 12;
        const double want =
            ((double)x[i] - (double)mean[c]) / sqrt((double)variance[c] + 0.01) * (double)two[c] + (double)some[c];
        ck_assert_msg(fabs((double)y[i] - want) < 1e-6, "%g instead of %g", (double)y[i], want);
    }
    /* older forms: spatial, outputs left out by empty names */
    wire n = with_attribute(batch_node(all_inputs, "y - - - -"), attr_float("epsilon", 0.01f));
    accepted(around(with_attribute(n, attr_int("spatial", 1)), 7, true), again, 24);
    ck_assert_int_eq(memcmp(y, again, sizeof y), 0);
    accepted(around(with_attribute(batch_node(all_inputs, "y"), attr_float("epsilon", 0.01f)), 9, true), again, 24);
    ck_assert_int_eq(memcmp(y, again, sizeof y), 0);
    leave();
}
END_TEST

/* One constant as bias and running mean: training must not write the one into the other. */
START_TEST(merged_constants_come_apart) {
    fv_model *m = NULL;
    enter();
    ok(load_wire(context, around(batch_node("x scale mean mean variance", "y"), 15, true), &m));
    ck_assert_uint_eq(fv_model_parameter_count(m), 4);
    size_t fixed = 0;
    for (size_t i = 0; i < 4; i++) {
        bool trainable;
        const char *name;
        ok(fv_model_parameter(m, i, &name, NULL, &trainable));
        fixed += !trainable;
        if (strcmp(name, "mean") == 0) ck_assert(trainable);
        if (strcmp(name, "bn.running_mean") == 0) ck_assert(!trainable);
    }
    ck_assert_uint_eq(fixed, 2);
    fv_model_free(m);
    leave();
}
END_TEST

/* Every image's groups of `width` channels of 12 pixels, 2 channels. */
static void grouped(const float *y, int width, double epsilon) {
    float x[24];
    draw_all(x, 24, 21);
    for (int first = 0; first < 24; first += 12 * width) {
        double sum = 0, squares = 0;
        for (int i = 0; i < 12 * width; i++) sum += (double)x[first + i];
        for (int i = 0; i < 12 * width; i++) squares += pow((double)x[first + i] - sum / (12 * width), 2);
        for (int i = 0; i < 12 * width; i++) {
            const int c = (first + i) / 12;
            const double z = ((double)x[first + i] - sum / (12 * width)) / sqrt(squares / (12 * width) + epsilon);
            const double want = z * (double)two[c] + (double)some[c];
            ck_assert_msg(fabs((double)y[first + i] - want) < 3e-6, "%g instead of %g", (double)y[first + i], want);
        }
    }
}

/* 0.9 of the old mean and 0.1 of that of the one image's map. */
static void moved_mean(const fv_model *m) {
    const int64_t image[4] = {1, 2, 4, 3}, two_values[1] = {2};
    float x[24], y[2];
    fv_session_settings settings;
    fv_session *s = NULL;
    fv_tensor in, out;
    draw_all(x, 24, 21);
    fv_session_settings_default(&settings);
    settings.batch = 1;
    ok(fv_session_create(m, &settings, &s));
    in = (fv_tensor){.dtype = FV_F32, .rank = 4, .data = x};
    out = (fv_tensor){.dtype = FV_F32, .rank = 1, .data = y};
    memcpy(in.shape, image, sizeof image);
    memcpy(out.shape, two_values, sizeof two_values);
    ok(fv_session_run(s, &in, 1, &out, 1));
    for (int c = 0; c < 2; c++) {
        double sum = 0;
        for (int i = 0; i < 12; i++) sum += (double)x[12 * c + i];
        ck_assert_double_eq_tol((double)y[c], 0.9 * (double)mean[c] + 0.1 * sum / 12, 1e-6);
    }
    fv_session_free(s);
}

/* training_mode: the batch's own moments, in sessions too; the moved ones are outputs, read or not. */
START_TEST(training_mode) {
    float y[24], again[24];
    enter();
    wire n = with_attribute(batch_node(all_inputs, "y m v"), attr_int("training_mode", 1));
    accepted(around(n, 15, true), y, 24);
    grouped(y, 1, 1e-5); /* of one image, the batch's moments are those of each map */
    fv_model *m = NULL, *back = NULL;
    n = with_attribute(batch_node(all_inputs, "y m v"), attr_int("training_mode", 1));
    ok(load_wire(context, around(n, 15, true), &m));
    ok(fv_model_save(m, wire_path));
    ok(fv_model_load(context, wire_path, &back));
    static float room[run_most];
    ck_assert_uint_eq(run_model(back, 1, room), 24);
    memcpy(again, room, sizeof again);
    ck_assert_int_eq(memcmp(y, again, sizeof y), 0);
    fv_model_free(m);
    fv_model_free(back);
    n = with_attribute(batch_node(all_inputs, "m y v"), attr_int("training_mode", 1));
    ok(load_wire(context, around(n, 15, true), &m)); /* the moved mean is the output */
    moved_mean(m);
    fv_model_free(m);
    leave();
}
END_TEST

START_TEST(broken_batch_normalization) {
    enter();
    refused(around(batch_node("x scale bias mean bad", "y"), 15, true), FV_ERR_FORMAT,
            "\"bn\" (BatchNormalization): the variance of channel 1 is -1");
    wire g = {0}; /* of a rank that no layer has */
    w_message(&g, G_INITIALIZER, values("scale", 2, two));
    w_message(&g, G_INITIALIZER, values("bad", 2, bad));
    w_message(&g, G_NODE, batch_node("x scale scale scale bad", "y"));
    w_message(&g, G_INPUT, value_info_of("x", DIMS(0, 2, 5)));
    w_message(&g, G_OUTPUT, value_info_of("y", DIMS(0, 2, 5)));
    refused(model_of(g), FV_ERR_FORMAT, "\"bn\" (BatchNormalization): the variance of channel 1 is -1");
    refused(around(with_attribute(batch_node(all_inputs, "y"), attr_float("epsilon", -1)), 15, true), FV_ERR_ARGUMENT,
            "epsilon is -1");
    refused(around(with_attribute(batch_node(all_inputs, "y"), attr_float("epsilon", NAN)), 15, true), FV_ERR_ARGUMENT,
            "epsilon is");
    refused(around(with_attribute(batch_node(all_inputs, "y"), attr_float("momentum", 2)), 15, true), FV_ERR_ARGUMENT,
            "the momentum");
    refused(around(batch_node("x three bias mean variance", "y"), 15, true), FV_ERR_SHAPE,
            "the scale has 3 values for 2 channels");
    refused(around(batch_node("x scale bias mean three", "y"), 15, true), FV_ERR_SHAPE, "the variance has 3 values");
    refused(around(batch_node("x scale bias mean", "y"), 15, true), FV_ERR_FORMAT, "lacks its variance");
    refused(around(batch_node("x scale bias x variance", "y"), 15, true), FV_ERR_SHAPE,
            "\"bn\" (BatchNormalization): the mean is (1,2,4,3), not one value for each of 2 channels");
    refused(around(with_attribute(batch_node(all_inputs, "y"), attr_int("spatial", 0)), 7, true), FV_ERR_UNSUPPORTED,
            "spatial 0");
    leave();
}
END_TEST

START_TEST(groups_of_others_are_read) {
    float y[24], z[2];
    enter();
    accepted(
        around(with_attribute(node_of("InstanceNormalization", "in", "x scale bias", "y"), attr_float("epsilon", 0.1f)), 6, true),
        y, 24);
    grouped(y, 1, 0.1);
    accepted(
        around(with_attribute(node_of("GroupNormalization", "gn", "x scale bias", "y"), attr_int("num_groups", 2)), 21, true), y,
        24);
    grouped(y, 1, 1e-5);
    accepted(
        around(with_attribute(node_of("GroupNormalization", "gn", "x scale bias", "y"), attr_int("num_groups", 1)), 21, true), y,
        24);
    grouped(y, 2, 1e-5);
    accepted(around(with_attribute(node_of("LayerNormalization", "ln", "x maps bias", "y"), attr_int("axis", -3)), 17, true), y,
             24);
    grouped(y, 2, 1e-5);
    accepted(around(node_of("LayerNormalization", "ln", "x scale", "y"), 17, false), z, 2); /* axis -1, no bias */
    float x[24], all[24];
    double sum = 0, squares = 0;
    accepted(around(with_attribute(node_of("LayerNormalization", "ln", "x all", "y"), attr_int("axis", 1)), 17, true), y, 24);
    draw_all(x, 24, 21);
    draw_all(all, 24, 7); /* a scale for each value */
    for (int i = 0; i < 24; i++) sum += (double)x[i] / 24;
    for (int i = 0; i < 24; i++) squares += pow((double)x[i] - sum, 2) / 24;
    for (int i = 0; i < 24; i++) ck_assert_double_eq_tol((double)y[i], ((double)x[i] - sum) / sqrt(squares + 1e-5) * (double)all[i], 3e-6);
    ck_assert_float_eq_tol(fabsf(z[0]), 1.5f, 1e-2f);
    ck_assert_float_eq_tol(fabsf(z[1]), 0.5f, 1e-2f);
    leave();
}
END_TEST

START_TEST(broken_groups) {
    enter();
    refused(around(node_of("GroupNormalization", "gn", "x scale bias", "y"), 21, true), FV_ERR_ARGUMENT, "0 groups");
    refused(around(with_attribute(node_of("GroupNormalization", "gn", "x scale bias", "y"), attr_int("num_groups", 3)), 21, true),
            FV_ERR_ARGUMENT, "3 groups do not divide");
    refused(around(with_attribute(node_of("GroupNormalization", "gn", "x scale bias", "y"), attr_int("num_groups", 2)), 18, true),
            FV_ERR_UNSUPPORTED, "from operator set 21 on");
    refused(around(node_of("InstanceNormalization", "in", "x scale three", "y"), 6, true), FV_ERR_SHAPE, "the bias has 3 values");
    refused(around(node_of("InstanceNormalization", "in", "x scale bias", "y"), 6, false), FV_ERR_SHAPE, "a tensor of rank 2 has no maps");
    refused(around(node_of("LayerNormalization", "ln", "x scale bias", "y"), 17, true), FV_ERR_SHAPE,
            "\"ln\" (LayerNormalization): the scale (2) does not stretch over (1,2,4,3)");
    leave();
}
END_TEST

/* The sum over an open first axis is of the batch that runs. */
START_TEST(norms_over_the_batch) {
    float y[2];
    enter();
    for (int p = 1; p <= 2; p++) {
        wire n = with_attribute(node_of("LpNormalization", "lp", "x", "y"), attr_int("p", p));
        accepted(around(with_attribute(n, attr_int("axis", 0)), 22, false), y, 2);
        for (int i = 0; i < 2; i++) ck_assert_float_eq_tol(fabsf(y[i]), 1, 1e-6f);
    }
    leave();
}
END_TEST

int main(void) {
    const TTest *const tests[] = {batch_normalization_is_the_running_map,
                                  merged_constants_come_apart,
                                  training_mode, broken_batch_normalization,
                                  groups_of_others_are_read,
                                  broken_groups,
                                  norms_over_the_batch,
                                  NULL};
    return run_tests("onnx_norm", tests, 60);
}
