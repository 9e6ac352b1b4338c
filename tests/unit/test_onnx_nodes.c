/* ONNX tensors, attributes and shapes that should not be. */
#include "onnx_files.h"

/* ---- C: tensors ---- */

static wire with_weight(wire t) {
    wire g = {0};
    w_message(&g, G_INITIALIZER, t);
    w_message(&g, G_NODE, node_of("Conv", "c", "x w", "c.y"));
    good_rest(&g);
    borders(&g);
    return model_of(g);
}

static wire weight_raw(int64_t type, size_t bytes, size_t rank, const int64_t *dims) {
    static const char zeros[1024];
    wire t = tensor_head("w", type, rank, dims);
    w_bytes(&t, 9, zeros, bytes);
    return t;
}

START_TEST(broken_tensors) {
    enter();
    const int64_t half = (int64_t)1 << 32;
    refused(with_weight(weight_raw(1, 288, DIMS(half, half, 3, 3))), FV_ERR_LIMIT,
            "\"w\" has too many elements"); /* wraps to 0 */
    refused(with_weight(weight_raw(1, 0, DIMS(half, half))), FV_ERR_LIMIT, "too many elements");
    refused(with_weight(weight_raw(1, 288, DIMS(INT64_MAX, 2, 3, 3))), FV_ERR_LIMIT, "too many elements");
    refused(with_weight(weight_raw(1, 288, DIMS(4, -2, 3, 3))), FV_ERR_SHAPE, "negative size -2");
    refused(with_weight(weight_raw(1, 0, DIMS(4, 0, 3, 3))), FV_ERR_SHAPE, "\"c\": weights (4,0,3,3)");
    refused(with_weight(weight_raw(1, 4, 0, NULL)), FV_ERR_SHAPE, "\"c\" (Conv): weights of rank 0"); /* a scalar */
    static int64_t ones[1000];
    for (int i = 0; i < 1000; i++) ones[i] = 1;
    refused(with_weight(weight_raw(1, 4, 1000, ones)), FV_ERR_LIMIT, "rank 1000");
    refused(with_weight(weight_raw(1, 287, DIMS(4, 2, 3, 3))), FV_ERR_FORMAT,
            "needs 288 bytes for its shape, but has 287");
    refused(with_weight(weight_raw(1, 292, DIMS(4, 2, 3, 3))), FV_ERR_FORMAT, "but has 292");
    refused(with_weight(weight_raw(1, 0, DIMS(4, 2, 3, 3))), FV_ERR_FORMAT, "but has 0");
    refused(with_weight(tensor_head("w", 1, DIMS(4, 2, 3, 3))), FV_ERR_FORMAT,
            "0 values of its type for a shape of 72");
    wire t = weight_raw(1, 288, DIMS(4, 2, 3, 3));
    w_float(&t, 4, 1);
    refused(with_weight(t), FV_ERR_FORMAT, "values twice");
    t = tensor_head("w", 1, DIMS(4, 2, 3, 3));
    for (int i = 0; i < 72; i++) w_int(&t, 7, i); /* int64_data for floats */
    refused(with_weight(t), FV_ERR_FORMAT, "\"w\"");
    static const int64_t types[] = {0, 27, -1, 8, 14, 15, 16, INT64_MAX};
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        refused(with_weight(weight_raw(types[i], 288, DIMS(4, 2, 3, 3))), FV_ERR_UNSUPPORTED, "data type");
    t = weight_raw(1, 288, DIMS(4, 2, 3, 3));
    w_message(&t, 3, (wire){0});
    refused(with_weight(t), FV_ERR_UNSUPPORTED, "segments");
    t = tensor_head("w", 1, DIMS(4, 2, 3, 3));
    w_int(&t, 14, 1);
    refused(with_weight(t), FV_ERR_FORMAT, "no location");
    t = tensor_head("w", 1, DIMS(4, 2, 3, 3));
    wire place = {0};
    w_text(&place, 1, "location");
    w_text(&place, 2, "../../etc/passwd");
    w_message(&t, 13, place);
    refused(with_weight(t), FV_ERR_FORMAT, "not the name of a file in the model's folder");
    wire g = good_graph();
    w_message(&g, 15, (wire){0});
    refused(model_of(g), FV_ERR_UNSUPPORTED, "sparse initializer");
    refused(with_weight(tensor_of("", DIMS(4, 2, 3, 3))), FV_ERR_FORMAT, "initializer 0 has no name");
    float y[3];
    t = tensor_head("w", 11, DIMS(4, 2, 3, 3)); /* doubles are read */
    double values[72];
    for (int i = 0; i < 72; i++) values[i] = i % 5 - 2;
    w_bytes(&t, 10, values, sizeof values);
    accepted(with_weight(t), y, 3);
    t = tensor_head("w", 6, DIMS(4, 2, 3, 3));
    for (int i = 0; i < 72; i++) w_int(&t, 5, i % 5 - 2);
    float z[3];
    accepted(with_weight(t), z, 3);
    ck_assert_int_eq(memcmp(y, z, sizeof y), 0);
    leave();
}
END_TEST

/* ---- D: attributes and shapes ---- */

static wire conv_with(wire attribute) {
    wire n = node_of("Conv", "c", "x w b", "c.y");
    node_attr(&n, attribute);
    return with_node(n);
}

static wire pool_with(const char *op, size_t n, const int64_t *window, wire attribute) {
    wire pool = node_of(op, "p", "x", "c.y");
    node_attr(&pool, attr_ints("kernel_shape", n, window));
    if (attribute.n) node_attr(&pool, attribute);
    return with_node(pool);
}

/* Any error of the reader's will do, as long as it names the node. */
static void refused_somehow(wire w, const char *node) {
    fv_model *m;
    const fv_status status = load_wire(context, w, &m);
    ck_assert_msg(status == FV_ERR_FORMAT || status == FV_ERR_SHAPE || status == FV_ERR_ARGUMENT ||
                      status == FV_ERR_LIMIT || status == FV_ERR_UNSUPPORTED,
                  "%s: %s", fv_status_name(status), fv_last_error());
    ck_assert_msg(strstr(fv_last_error(), node) != NULL, "%s", fv_last_error());
    ck_assert_ptr_null(m);
}

START_TEST(broken_windows) {
    enter();
    static const int64_t pairs[][2] = {{0, 1}, {1, 0}, {-1, 1}, {1, INT64_MIN}, {INT64_MAX, 1}};
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        refused_somehow(conv_with(attr_ints("strides", 2, pairs[i])), "node \"c\"");
        refused_somehow(conv_with(attr_ints("dilations", 2, pairs[i])), "node \"c\"");
        refused_somehow(conv_with(attr_ints("kernel_shape", 2, pairs[i])), "node \"c\"");
        refused_somehow(pool_with("MaxPool", 2, pairs[i], (wire){0}), "node \"p\"");
        refused_somehow(pool_with("AveragePool", DIMS(2, 2), attr_ints("strides", 2, pairs[i])), "node \"p\"");
        refused_somehow(pool_with("MaxPool", DIMS(2, 2), attr_ints("dilations", 2, pairs[i])), "node \"p\"");
    }
    refused(conv_with(attr_ints("dilations", DIMS(3, 1))), FV_ERR_SHAPE, "window of 7 does not fit"); /* 7 > 6 */
    refused_somehow(conv_with(attr_ints("dilations", DIMS(INT32_MAX, 1))), "node \"c\""); /* d*(k-1)+1 overflows */
    refused_somehow(pool_with("MaxPool", DIMS(7, 2), (wire){0}), "node \"p\"");
    refused_somehow(pool_with("MaxPool", DIMS(INT32_MAX, INT32_MAX), (wire){0}), "node \"p\"");
    refused(conv_with(attr_ints("pads", DIMS(-1, 0, 0, 0))), FV_ERR_ARGUMENT, "negative padding");
    refused_somehow(conv_with(attr_ints("pads", DIMS(0, INT64_MAX, 0, 0))), "node \"c\"");
    refused_somehow(conv_with(attr_ints("pads", DIMS(INT32_MAX, INT32_MAX, INT32_MAX, INT32_MAX))), "node \"c\"");
    refused_somehow(conv_with(attr_ints("pads", DIMS(1, 1))), "node \"c\"");
    refused_somehow(conv_with(attr_ints("pads", DIMS(1, 1, 1, 1, 1))), "node \"c\"");
    refused_somehow(conv_with(attr_ints("strides", DIMS(1))), "node \"c\"");
    refused_somehow(conv_with(attr_ints("strides", DIMS(1, 1, 1))), "node \"c\"");
    refused(conv_with(attr_int("strides", 2)), FV_ERR_SHAPE, "strides has 0 values, not 2"); /* a number where a list belongs */
    refused(conv_with(attr_ints("kernel_shape", DIMS(3, 2))), FV_ERR_SHAPE, "kernel_shape disagrees");
    refused(conv_with(attr_ints("kernel_shape", DIMS(0, 0))), FV_ERR_SHAPE, "kernel_shape disagrees");
    refused_somehow(pool_with("MaxPool", DIMS(2, 2), attr_ints("pads", DIMS(2, 0, 0, 0))),
                    "node \"p\""); /* padding >= window */
    wire bare = node_of("MaxPool", "p", "x", "c.y");
    refused(with_node(bare), FV_ERR_FORMAT, "kernel_shape is missing");
    leave();
}
END_TEST

START_TEST(broken_convolutions) {
    enter();
    static const int64_t groups[] = {0, -1, 3, 4, INT64_MIN, INT64_MAX, (int64_t)1 << 32};
    for (size_t i = 0; i < sizeof groups / sizeof *groups; i++)
        refused_somehow(conv_with(attr_int("group", groups[i])), "node \"c\"");
    refused_somehow(conv_with(attr_int("group", 2)),
                    "node \"c\""); /* divides, but then the weight has too many channels */
    refused(conv_with(attr_text("auto_pad", "SIDEWAYS")), FV_ERR_FORMAT, "unknown auto_pad");
    refused(conv_with(attr_text("auto_pad", "")), FV_ERR_FORMAT, "unknown auto_pad");
    wire n = node_of("Conv", "c", "x w b", "c.y");
    node_attr(&n, attr_text("auto_pad", "SAME_UPPER"));
    node_attr(&n, attr_ints("pads", DIMS(1, 1, 1, 1)));
    refused(with_node(n), FV_ERR_FORMAT, "exclude each other");
    n = node_of("Conv", "c", "x w b", "c.y");
    node_attr(&n, attr_text("auto_pad", "VALID"));
    node_attr(&n, attr_ints("pads", DIMS(0, 0, 0, 0))); /* says the same twice */
    same_answer(with_node(n));
    static const struct {
        size_t rank;
        int64_t dims[5];
        const char *part;
    } weights[] = {{3, {4, 2, 9}, "weights of rank 3 for a tensor of rank 4"},
                   {5, {4, 2, 3, 3, 1}, "weights of rank 5 for a tensor of rank 4"},
                   {4, {4, 3, 3, 3}, "weights (4,3,3,3) in 1 groups do not fit (1,2,6,6)"},
                   {4, {4, 1, 3, 3}, "weights (4,1,3,3) in 1 groups do not fit (1,2,6,6)"},
                   {4, {4, 2, 7, 3}, "does not fit"}};
    for (size_t i = 0; i < sizeof weights / sizeof *weights; i++) {
        fv_model *m;
        const fv_status status = load_wire(context, with_weight(tensor_of("w", weights[i].rank, weights[i].dims)), &m);
        ck_assert(status == FV_ERR_UNSUPPORTED || status == FV_ERR_SHAPE);
        ck_assert_msg(strstr(fv_last_error(), weights[i].part) != NULL, "%s", fv_last_error());
    }
    static const int64_t bias[][2] = {{3, 0}, {5, 0}, {4, 1}};
    for (int i = 0; i < 3; i++) {
        wire g = {0};
        w_message(&g, G_INITIALIZER, tensor_of("w", DIMS(4, 2, 3, 3)));
        w_message(&g, G_INITIALIZER, tensor_of("b", i == 2 ? 2 : 1, bias[i]));
        w_message(&g, G_NODE, node_of("Conv", "c", "x w b", "c.y"));
        good_rest(&g);
        borders(&g);
        refused_somehow(model_of(g), "node \"c\"");
    }
    wire same = node_of("Conv", "c", "x w b", "h"), pool = node_of("MaxPool", "p", "h", "c.y"),
         g = {0}; /* SAME with a stride beyond the input */
    node_attr(&same, attr_text("auto_pad", "SAME_LOWER"));
    node_attr(&same, attr_ints("strides", DIMS(100, 100)));
    node_attr(&pool, attr_ints("kernel_shape", DIMS(1, 1)));
    w_message(&g, G_INITIALIZER, tensor_of("w", DIMS(4, 2, 3, 3)));
    w_message(&g, G_INITIALIZER, tensor_of("b", DIMS(4)));
    w_message(&g, G_NODE, same);
    w_message(&g, G_NODE, pool);
    w_message(&g, G_NODE, node_of("Flatten", "f", "c.y", "y"));
    w_message(&g, G_INPUT, value_info_of("x", DIMS(0, 2, 6, 6)));
    w_message(&g, G_OUTPUT, value_info_of("y", DIMS(0, 4)));
    float y[4];
    accepted(model_of(g), y, 4);
    leave();
}
END_TEST

START_TEST(other_broken_operators) {
    enter();
    wire n = node_of("Softmax", "s", "x", "c.y");
    node_attr(&n, attr_int("axis", 4));
    refused(with_node(n), FV_ERR_SHAPE, "node \"s\": axis 4 of a tensor of rank 4");
    refused_somehow(with_node(node_of("Gemm", "g", "x w", "c.y")), "node \"g\"");
    refused_somehow(with_node(node_of("MatMul", "g", "x w", "c.y")), "node \"g\"");
    refused_somehow(with_node(node_of("Reshape", "g", "x w", "c.y")), "node \"g\"");
    refused_somehow(with_node(node_of("Mul", "g", "x w", "c.y")), "node \"g\"");
    refused_somehow(with_node(node_of("Add", "g", "x b", "c.y")), "node \"g\"");
    static const float ratios[] = {1, 2, -1};
    for (int i = 0; i < 3; i++) {
        n = node_of("Dropout", "d", "x", "c.y");
        node_attr(&n, attr_float("ratio", ratios[i]));
        refused_somehow(with_node(n), "node \"d\"");
    }
    n = node_of("Dropout", "d", "x", "c.y");
    node_attr(&n, attr_float("ratio", 0.0f / 0.0f));
    refused_somehow(with_node(n), "node \"d\"");
    n = node_of("Flatten", "f", "x", "c.y");
    node_attr(&n, attr_int("axis", -5));
    refused(with_node(n), FV_ERR_SHAPE, "axis -5");
    leave();
}
END_TEST

/* One matrix of two layers, read straight by one and turned by the other: x w w' and x w' w. */
START_TEST(one_matrix_both_ways) {
    float w[9], x[3], h[3], y[3];
    enter();
    draw_all(w, 9, 7);
    draw_all(x, 3, 21);
    for (int square = 0; square < 2; square++) {
        wire g = {0};
        for (int i = 0; i < 2; i++) {
            wire gemm = node_of("Gemm", i ? "second" : "first", i ? "h w" : "x w", i ? "y" : "h");
            node_attr(&gemm, attr_int("transB", i == square));
            w_message(&g, G_NODE, gemm);
        }
        w_message(&g, G_INITIALIZER, tensor_of("w", DIMS(3, 3)));
        w_message(&g, G_INPUT, value_info_of("x", DIMS(0, 3)));
        w_message(&g, G_OUTPUT, value_info_of("y", DIMS(0, 3)));
        accepted(model_of(g), y, 3);
        for (int layer = 0; layer < 2; layer++) {
            const bool turned = layer == square;
            const float *from = layer ? h : x;
            float sum[3];
            for (int o = 0; o < 3; o++) {
                sum[o] = 0;
                for (int i = 0; i < 3; i++) sum[o] += from[i] * w[turned ? o * 3 + i : i * 3 + o];
            }
            memcpy(h, sum, sizeof h);
        }
        for (int o = 0; o < 3; o++) ck_assert_float_eq_tol(y[o], h[o], 1e-5f);
    }
    leave();
}
END_TEST

START_TEST(other_names_for_one_value) {
    enter();
    float y[3], want[3];
    const char *name;
    fv_model *m;
    wire g = {0}; /* an output made by Identity has the output's name */
    good_conv(&g);
    good_rest(&g);
    w_message(&g, G_NODE, node_of("Identity", "i", "y", "answer"));
    w_message(&g, G_INPUT, value_info_of("x", DIMS(0, 2, 6, 6)));
    w_message(&g, G_OUTPUT, value_info_of("answer", DIMS(0, 3)));
    good_answer(want);
    ok(load_wire(context, model_of(g), &m));
    ok(fv_model_output(m, 0, &name, NULL));
    ck_assert_str_eq(name, "answer");
    ok(fv_model_save(m, wire_path));
    fv_model_free(m);
    accepted(wire_get(wire_path), y, 3);
    ck_assert_int_eq(memcmp(y, want, sizeof y), 0);
    g = (wire){0};
    w_message(&g, G_NODE, node_of("Identity", "i", "x", "y"));
    borders(&g);
    {
        fv_model *copy; /* an output that is the input is a copy of it */
        ok(load_wire(context, model_of(g), &copy));
        fv_model_free(copy);
    }
    g = good_graph();
    w_message(&g, G_NODE, node_of("Identity", "i", "y", "z"));
    w_message(&g, G_OUTPUT, value_info_of("z", DIMS(0, 3)));
    ok(load_wire(context, model_of(g), &m)); /* one value under two names */
    ck_assert_uint_eq(fv_model_output_count(m), 2);
    fv_model_free(m);
    leave();
}
END_TEST

int main(void) {
    const TTest *const tests[] = {
        broken_tensors, broken_windows, broken_convolutions, other_broken_operators, one_matrix_both_ways, other_names_for_one_value, NULL};
    return run_tests("onnx_nodes", tests, 120);
}
