/* Files of others in forms that no layer takes, read as general operators: what they give, against plain sums. */
#include "onnx_files.h"

#include <math.h>

enum { planes = 2, side = 6, all = planes * side * side };

static wire list_of(const char *name, size_t n, const int64_t *values) {
    const int64_t dims = (int64_t)n;
    wire t = tensor_head(name, 7, 1, &dims);
    w_bytes(&t, 9, values, n * sizeof *values);
    return t;
}

/* x (N,2,6,6) -> what g holds -> y, of the shape given. */
static wire between(wire g, size_t rank, const int64_t *shape) {
    w_message(&g, G_INPUT, value_info_of("x", DIMS(0, planes, side, side)));
    w_message(&g, G_OUTPUT, value_info_of("y", rank, shape));
    return model_of(g);
}

static wire one_node(wire n) {
    wire g = {0};
    w_message(&g, G_NODE, n);
    return g;
}

static wire with_int(wire n, const char *name, int64_t value) {
    node_attr(&n, attr_int(name, value));
    return n;
}

/* Ends w: of one image it must give one output of this shape. */
static void gives(wire w, float *y, size_t rank, const int64_t *shape) {
    static float x[all];
    fv_model *m;
    fv_session *s = NULL;
    fv_session_settings settings;
    fv_tensor out;
    const fv_tensor in = {FV_F32, FV_PLAIN, 4, {1, planes, side, side}, x};
    draw_all(x, all, 21);
    ok(load_wire(context, w, &m));
    fv_session_settings_default(&settings);
    settings.inputs = &in;
    settings.input_count = 1;
    ok(fv_session_create(m, &settings, &s));
    ok(fv_session_output(s, 0, NULL, &out));
    ck_assert_uint_eq((size_t)out.rank, rank);
    for (size_t i = 0; i < rank; i++) ck_assert_int_eq(out.shape[i], shape[i]);
    out.data = y;
    ok(fv_session_run(s, &in, 1, &out, 1));
    fv_session_free(s);
    fv_model_free(m);
}

/* Softmax over the columns, which is its axis from operator set 13 on when none is given, and over an axis between others. */
START_TEST(softmax_of_maps) {
    static float x[all], y[all];
    enter();
    draw_all(x, all, 21);
    for (int axis = 2; axis < 4; axis++) {
        wire n = node_of("Softmax", "s", "x", "y");
        if (axis == 2) n = with_int(n, "axis", -2);
        accepted(between(one_node(n), DIMS(0, planes, side, side)), y, all);
        const int step = axis == 2 ? side : 1;
        for (int i = 0; i < all; i++) {
            const int first = i - i / step % side * step;
            double sum = 0;
            for (int k = 0; k < side; k++) sum += exp((double)x[first + k * step]);
            ck_assert_double_eq_tol((double)y[i], exp((double)x[i]) / sum, 1e-6);
        }
    }
    leave();
}
END_TEST

START_TEST(flatten_at_any_axis) {
    static float x[all], y[all];
    enter();
    draw_all(x, all, 21);
    gives(between(one_node(with_int(node_of("Flatten", "f", "x", "y"), "axis", 2)), DIMS(2, 36)), y, DIMS(2, 36));
    ck_assert_mem_eq(x, y, sizeof x);
    gives(between(one_node(with_int(node_of("Flatten", "f", "x", "y"), "axis", -4)), DIMS(1, 72)), y, DIMS(1, 72));
    ck_assert_mem_eq(x, y, sizeof x);
    leave();
}
END_TEST

/* Bounds computed from x: nothing that stands in the file. */
START_TEST(clip_between_computed_bounds) {
    static float x[all], y[all];
    wire g = {0};
    const float third = 1.0f / 3;
    wire factor = tensor_head("third", 1, 0, NULL), highest = node_of("ReduceMax", "r", "x", "most");
    enter();
    w_bytes(&factor, 9, &third, sizeof third);
    w_message(&g, G_INITIALIZER, factor);
    w_message(&g, G_NODE, with_int(highest, "keepdims", 0));
    w_message(&g, G_NODE, node_of("Mul", "m", "most third", "high"));
    w_message(&g, G_NODE, node_of("Neg", "n", "high", "low"));
    w_message(&g, G_NODE, node_of("Clip", "c", "x low high", "y"));
    accepted(between(g, DIMS(0, planes, side, side)), y, all);
    draw_all(x, all, 21);
    float most = x[0];
    int cut = 0;
    for (int i = 1; i < all; i++) most = fmaxf(most, x[i]);
    const float high = most * third;
    for (int i = 0; i < all; i++) {
        ck_assert_float_eq(y[i], fminf(fmaxf(x[i], -high), high));
        cut += y[i] != x[i];
    }
    ck_assert(cut > 10 && cut < all - 10);
    leave();
}
END_TEST

/* The image is a constant, the weights are computed from the input. */
START_TEST(convolution_of_a_constant) {
    static float x[all], k[all], w[4 * planes * 9], y[64];
    enter();
    draw_all(x, all, 21);
    draw_all(k, all, 7);
    draw_all(w, 4 * planes * 9, 7);
    for (int computed = 0; computed < 2; computed++) {
        wire g = {0};
        w_message(&g, G_INITIALIZER, tensor_of("k", DIMS(1, planes, side, side)));
        w_message(&g, G_INITIALIZER, tensor_of("w", DIMS(4, planes, 3, 3)));
        w_message(&g, G_INITIALIZER, list_of("from", 2, (const int64_t[]){0, 0}));
        w_message(&g, G_INITIALIZER, list_of("to", 2, (const int64_t[]){3, 3}));
        w_message(&g, G_INITIALIZER, list_of("axes", 2, (const int64_t[]){2, 3}));
        w_message(&g, G_NODE, node_of("Slice", "s", "x from to axes", "corner"));
        w_message(&g, G_NODE, node_of("Conv", "c", computed ? "k corner" : "k w", "z"));
        w_message(&g, G_NODE, node_of("Identity", "i", "z", "y"));
        gives(between(g, DIMS(1, computed ? 1 : 4, 4, 4)), y, DIMS(1, computed ? 1 : 4, 4, 4));
        for (int i = 0; i < (computed ? 16 : 64); i++) {
            double sum = 0;
            for (int j = 0; j < planes * 9; j++) {
                const int c = j / 9, u = j / 3 % 3, v = j % 3;
                const float weight = computed ? x[c * 36 + u * 6 + v] : w[i / 16 * planes * 9 + j];
                sum += (double)weight * (double)k[c * 36 + (i / 4 % 4 + u) * 6 + i % 4 + v];
            }
            ck_assert_double_eq_tol((double)y[i], sum, 1e-5);
        }
    }
    leave();
}
END_TEST

/* The second and third outputs of LayerNormalization: the mean and one over the deviation of each row. */
START_TEST(layer_normalization_gives_its_moments) {
    static float x[all], y[2 * planes * side];
    wire g = {0};
    enter();
    w_message(&g, G_INITIALIZER, tensor_of("scale", DIMS(side)));
    w_message(&g, G_NODE, node_of("LayerNormalization", "ln", "x scale", "z y v"));
    w_message(&g, G_OUTPUT, value_info_of("v", DIMS(0, planes, side, 1)));
    accepted(between(g, DIMS(0, planes, side, 1)), y, 2 * planes * side);
    draw_all(x, all, 21);
    for (int row = 0; row < planes * side; row++) {
        double sum = 0, squares = 0;
        for (int i = 0; i < side; i++) sum += (double)x[row * side + i] / side;
        for (int i = 0; i < side; i++) squares += pow((double)x[row * side + i] - sum, 2) / side;
        ck_assert_double_eq_tol((double)y[planes * side + row], sum, 1e-6);
        ck_assert_double_eq_tol((double)y[row] * sqrt(squares + 1e-5), 1, 1e-5);
    }
    leave();
}
END_TEST

/* An output that is the input, and one value as two outputs. */
START_TEST(names_for_one_value) {
    static float x[all], y[2 * all];
    wire g = {0};
    enter();
    draw_all(x, all, 21);
    accepted(between(one_node(node_of("Identity", "i", "x", "y")), DIMS(0, planes, side, side)), y, all);
    ck_assert_mem_eq(x, y, sizeof x);
    w_message(&g, G_NODE, node_of("Neg", "n", "x", "y"));
    w_message(&g, G_NODE, node_of("Identity", "i", "y", "z"));
    w_message(&g, G_OUTPUT, value_info_of("z", DIMS(0, planes, side, side)));
    accepted(between(g, DIMS(0, planes, side, side)), y, 2 * all);
    for (int i = 0; i < 2 * all; i++) ck_assert(y[i] == -x[i % all]);
    leave();
}
END_TEST

/* Rows that the file leaves open: the session says how many. */
START_TEST(an_open_axis_beside_the_batch) {
    static float x[all], y[all];
    const int64_t open_sizes[4] = {0, planes, 0, side};
    wire g = one_node(node_of("Neg", "n", "x", "y"));
    fv_model *m;
    fv_session *s = NULL;
    fv_session_settings settings;
    enter();
    draw_all(x, all, 21);
    w_message(&g, G_INPUT, value_info_of("x", 4, open_sizes));
    w_message(&g, G_OUTPUT, value_info_of("y", 4, open_sizes));
    ok(load_wire(context, model_of(g), &m));
    for (int64_t rows = 1; rows <= side; rows += 2) {
        const fv_tensor in = {FV_F32, FV_PLAIN, 4, {1, planes, rows, side}, x}, out = {FV_F32, FV_PLAIN, 4, {1, planes, rows, side}, y};
        fv_session_settings_default(&settings);
        settings.inputs = &in;
        settings.input_count = 1;
        ok(fv_session_create(m, &settings, &s));
        ok(fv_session_run(s, &in, 1, &out, 1));
        for (int i = 0; i < planes * (int)rows * side; i++) ck_assert(y[i] == -x[i]);
        fv_session_free(s);
    }
    fv_model_free(m);
    leave();
}
END_TEST

/* Nothing of the channels, two images of three, and a part of no channels. */
START_TEST(cuts_of_nothing_and_of_batches) {
    static float x[all], y[all];
    wire g = {0};
    enter();
    draw_all(x, all, 21);
    w_message(&g, G_INITIALIZER, list_of("one", 1, (const int64_t[]){1}));
    w_message(&g, G_INITIALIZER, list_of("zero", 1, (const int64_t[]){0}));
    w_message(&g, G_NODE, node_of("Slice", "s", "x one zero one", "none"));
    w_message(&g, G_NODE, with_int(node_of("Concat", "c", "none x", "y"), "axis", 1));
    accepted(between(g, DIMS(0, planes, side, side)), y, all);
    ck_assert_mem_eq(x, y, sizeof x);
    g = (wire){0};
    w_message(&g, G_INITIALIZER, list_of("sizes", 2, (const int64_t[]){0, 2}));
    w_message(&g, G_NODE, with_int(node_of("Split", "s", "x sizes", "none y"), "axis", 1));
    accepted(between(g, DIMS(0, planes, side, side)), y, all);
    ck_assert_mem_eq(x, y, sizeof x);
    g = (wire){0};
    w_message(&g, G_INITIALIZER, list_of("one", 1, (const int64_t[]){1}));
    w_message(&g, G_INITIALIZER, list_of("three", 1, (const int64_t[]){3}));
    w_message(&g, G_INITIALIZER, list_of("zero", 1, (const int64_t[]){0}));
    w_message(&g, G_NODE, node_of("Slice", "s", "x one three zero", "y"));
    w_message(&g, G_INPUT, value_info_of("x", DIMS(3, planes, 2, 6)));
    w_message(&g, G_OUTPUT, value_info_of("y", DIMS(2, planes, 2, 6)));
    fv_model *m;
    fv_session *s = NULL;
    ok(load_wire(context, model_of(g), &m));
    const fv_tensor in = {FV_F32, FV_PLAIN, 4, {3, planes, 2, 6}, x}, out = {FV_F32, FV_PLAIN, 4, {2, planes, 2, 6}, y};
    ok(fv_session_create(m, NULL, &s));
    ok(fv_session_run(s, &in, 1, &out, 1));
    ck_assert_mem_eq(y, x + 24, 48 * sizeof *y);
    fv_session_free(s);
    fv_model_free(m);
    leave();
}
END_TEST

/* Two channels into three parts, and seven columns into two before operator set 18 had uneven parts. */
START_TEST(cuts_that_do_not_divide) {
    enter();
    wire w = between(one_node(with_int(node_of("Split", "s", "x", "a b y"), "axis", 1)), DIMS(0, 1, side, side));
    refused(w, FV_ERR_SHAPE, "node \"s\" (Split): an axis of size 2 is not cut into 3 equal parts");
    for (int floats = 0; floats < 2; floats++) { /* as a layer, and as a general operator */
        wire g = one_node(with_int(node_of("Split", "s", "x", "a y"), "axis", floats ? 1 : 0));
        w_message(&g, G_INPUT, value_info_of("x", DIMS(7, 7, 1, 1)));
        w_message(&g, G_OUTPUT, value_info_of("y", DIMS(3, 7, 1, 1)));
        refused(model_of(g), FV_ERR_SHAPE, "an axis of size 7 is not cut into 2 equal parts");
    }
    leave();
}
END_TEST

int main(void) {
    const TTest *const tests[] = {softmax_of_maps, flatten_at_any_axis, clip_between_computed_bounds, convolution_of_a_constant,
                                  layer_normalization_gives_its_moments, names_for_one_value, an_open_axis_beside_the_batch,
                                  cuts_of_nothing_and_of_batches, cuts_that_do_not_divide, NULL};
    return run_tests("onnx_values", tests, 60);
}
