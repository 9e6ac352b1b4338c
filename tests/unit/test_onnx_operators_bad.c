/* ONNX nodes whose attributes or operands should not be (HARDENING D), of general operators: each is refused with a sentence that names
 * the node, whether the operand stands in the file or comes with the run. And files that are legal and odd: huge, long, full of holes. */
#include "onnx_files.h"

#include <math.h>
#include <time.h>

/* ---- D: one node over x (2,3,4,4) ---- */

typedef struct bad_node {
    const char *op, *inputs; /* x, and what stands in `operands` */
    const char *ints, *one;  /* attributes: a list, a number */
    int64_t list[4], number;
    int count; /* of the list */
    const char *part; /* of the sentence; NULL: any that names the node */
} bad_node;

static void operand(wire *g, const char *name, size_t n, const int64_t *values) {
    const int64_t dim = (int64_t)n;
    wire t = tensor_head(name, 7, 1, &dim);
    w_bytes(&t, 9, values, n * sizeof *values);
    w_message(g, G_INITIALIZER, t);
}

static void number(wire *g, const char *name, float value) {
    wire t = tensor_head(name, 1, 0, NULL);
    w_bytes(&t, 9, &value, sizeof value);
    w_message(g, G_INITIALIZER, t);
}

#define OPERAND(g, name, ...) operand(g, name, sizeof((int64_t[]){__VA_ARGS__}) / 8, (int64_t[]){__VA_ARGS__})

static void operands(wire *g) {
    OPERAND(g, "two_open", -1, -1, 6);
    OPERAND(g, "copies_beyond", 2, 3, 16, 1, 0);
    OPERAND(g, "other_product", 5, 7);
    OPERAND(g, "lowest", INT64_MIN, 1);
    OPERAND(g, "most", INT64_MAX, INT64_MAX);
    OPERAND(g, "half", (int64_t)1 << 32, (int64_t)1 << 32, 96);
    OPERAND(g, "zero", 0);
    OPERAND(g, "one", 1);
    OPERAND(g, "two", 2);
    OPERAND(g, "seven", 7);
    OPERAND(g, "minus", -1);
    OPERAND(g, "twice", 2, 2);
    OPERAND(g, "pair", 1, 2);
    OPERAND(g, "five", 1, 1, 1, 1, 1);
    OPERAND(g, "shrinks", 0, 0, -5, 0, 0, 0, 0, 0);
    OPERAND(g, "overflows", 0, 0, INT64_MAX, 0, 0, 0, 1, 0);
    OPERAND(g, "reflects", 0, 0, 4, 0, 0, 0, 0, 0);
    OPERAND(g, "huge", 1, 1, (int64_t)1 << 40, (int64_t)1 << 40);
    number(g, "nan", NAN);
    number(g, "negative", -1);
    number(g, "nothing", 0);
    number(g, "scale", 0.5f);
    static const float two_scales[] = {0.5f, 0.25f};
    wire t = tensor_head("scales", 1, DIMS(2));
    w_bytes(&t, 9, two_scales, sizeof two_scales);
    w_message(g, G_INITIALIZER, t);
    t = tensor_head("byte", 2, DIMS(1));
    w_bytes(&t, 9, "\x80", 1);
    w_message(g, G_INITIALIZER, t);
    t = tensor_head("bytes", 2, DIMS(2));
    w_bytes(&t, 9, "\x80\x81", 2);
    w_message(g, G_INITIALIZER, t);
}

static wire model_with(wire n) {
    wire g = {0};
    operands(&g);
    w_message(&g, G_NODE, n);
    w_message(&g, G_INPUT, value_info_of("x", DIMS(2, 3, 4, 4)));
    w_message(&g, G_OUTPUT, value_info_of("y", DIMS(2, 3, 4, 4)));
    return model_of(g);
}

static wire node_with(const bad_node *b) {
    wire n = node_of(b->op, "bad", b->inputs, "y");
    if (b->ints) node_attr(&n, attr_ints(b->ints, (size_t)b->count, b->list));
    if (b->one) node_attr(&n, attr_int(b->one, b->number));
    return n;
}

/* Loading or planning refuses it, and the sentence names the node. */
static void node_refused(wire n, const char *op, const char *part) {
    fv_model *m = NULL;
    fv_session *s = NULL;
    fv_status status = load_wire(context, model_with(n), &m);
    if (status == FV_OK) status = fv_session_create(m, NULL, &s);
    ck_assert_msg(status == FV_ERR_FORMAT || status == FV_ERR_SHAPE || status == FV_ERR_ARGUMENT || status == FV_ERR_LIMIT ||
                      status == FV_ERR_UNSUPPORTED,
                  "%s (%s): %s: %s", op, part, fv_status_name(status), fv_last_error());
    ck_assert_msg(strstr(fv_last_error(), "bad") != NULL && strstr(fv_last_error(), part) != NULL, "%s lacks \"%s\": %s", op, part,
                  fv_last_error());
    ck_assert_ptr_null(s);
    fv_model_free(m);
}

#define LIST(name, ...) .ints = name, .list = {__VA_ARGS__}, .count = (int)(sizeof((int64_t[]){__VA_ARGS__}) / 8)
#define ONE(name, value) .one = name, .number = value

START_TEST(attributes_and_operands_of_any_number) {
    static const bad_node all[] = {
        /* 43 */
        {"Reshape", "x two_open", .part = NULL},
        {"Reshape", "x copies_beyond", .part = NULL},
        {"Reshape", "x other_product", .part = NULL},
        {"Reshape", "x lowest", .part = NULL},
        {"Reshape", "x most", .part = NULL},
        {"Reshape", "x half", .part = NULL}, /* the product wraps to 0 */
        {"Reshape", "x nan", .part = NULL},
        {"Slice", "x zero two seven", .part = NULL},
        {"Slice", "x zero two minus zero", .part = NULL}, /* step 0 */
        {"Slice", "x zero pair", .part = NULL},
        {"Slice", "x five five", .part = NULL},
        {"Slice", "x pair pair twice", .part = NULL}, /* an axis twice */
        {"Slice", "x nan two", .part = NULL},
        {"Split", "x seven", .part = NULL},
        {"Split", "x pair", ONE("axis", 2)}, /* 1 + 2 of 4 */
        {"Split", "x lowest", ONE("axis", 2)},
        {"Split", "x", ONE("axis", INT64_MIN)},
        {"Split", "x", ONE("num_outputs", 0)},
        {"Split", "x", ONE("num_outputs", INT64_MAX)},
        {"Gather", "x seven", ONE("axis", 2), .part = "7"},
        {"Gather", "x lowest", ONE("axis", 2)},
        {"Gather", "x zero", ONE("axis", 4)},
        {"Gather", "x zero", ONE("axis", INT64_MIN)},
        {"Gather", "x nan", .part = NULL}, /* places that are no integers */
        {"GatherElements", "x zero", .part = NULL},
        {"GatherND", "x five", .part = NULL},
        {"GatherND", "x zero", ONE("batch_dims", -1)},
        {"GatherND", "x zero", ONE("batch_dims", 1000)},
        {"ScatterND", "x five x", .part = NULL},
        {"ScatterElements", "x zero x", .part = NULL},
        {"Expand", "x seven", .part = NULL},
        {"Expand", "x most", .part = NULL},
        {"Expand", "x minus", .part = NULL},
        {"Tile", "x minus", .part = NULL},
        {"Tile", "x huge", .part = NULL},
        {"Tile", "x pair", .part = NULL},
        {"Trilu", "x nan", .part = "no whole number"},
        {"ConstantOfShape", "huge", .part = NULL},
        {"ConstantOfShape", "minus", .part = NULL},
        {"Range", "nothing nan negative", .part = NULL},
        {"Range", "nothing negative nothing", .part = "a step of 0"}, /* a step of 0 */
        {"OneHot", "zero lowest pair", .part = NULL},
        {"TopK", "x seven", .part = NULL},
        {"TopK", "x minus", .part = NULL},
        {"TopK", "x lowest", ONE("axis", 1)},
        {"CumSum", "x seven", .part = NULL},
        {"CumSum", "x lowest", .part = NULL},
        /* 44 */
        {"Transpose", "x", LIST("perm", 0, 1, 1, 3)},
        {"Transpose", "x", LIST("perm", 0, 1, 2)},
        {"Transpose", "x", LIST("perm", 0, 1, 2, 4)},
        {"Transpose", "x", LIST("perm", 0, 1, 2, INT64_MIN)},
        {"Concat", "x x", ONE("axis", 4)},
        {"Concat", "x x", ONE("axis", -5)},
        {"Concat", "x x", ONE("axis", INT64_MAX)},
        {"Concat", "x x", .part = NULL}, /* no axis */
        {"Concat", "x zero", ONE("axis", 0)},
        {"Squeeze", "x one", .part = NULL},
        {"Squeeze", "x seven", .part = NULL},
        {"Squeeze", "x lowest", .part = NULL},
        {"Unsqueeze", "x seven", .part = NULL},
        {"Unsqueeze", "x twice", .part = NULL},
        {"Unsqueeze", "x five", .part = NULL}, /* rank 9 */
        {"Flatten", "x", ONE("axis", 5)},
        /* 45 */
        {"Softmax", "x", ONE("axis", -5)},
        {"LogSoftmax", "x", ONE("axis", INT64_MAX)},
        {"Hardmax", "x", ONE("axis", 4)},
        {"Pad", "x shrinks", .part = "leave nothing"},
        {"Pad", "x overflows", .part = NULL},
        {"Pad", "x five", .part = NULL},
        {"Pad", "x five - twice", .part = NULL},
        {"Resize", "x - five", .part = NULL},
        {"Resize", "x - - minus", .part = NULL},
        {"Resize", "x - - huge", .part = NULL},
        {"Resize", "x", .part = NULL},
        {"Upsample", "x nan", .part = NULL},
        {"ReduceSum", "x seven", .part = NULL},
        {"ReduceSum", "x twice", .part = NULL},
        {"ReduceMean", "x", LIST("axes", INT64_MIN)},
        {"ArgMax", "x", ONE("axis", 4)},
        {"DepthToSpace", "x", ONE("blocksize", 0)},
        {"DepthToSpace", "x", ONE("blocksize", 2)}, /* 3 channels are not 4 groups */
        {"DepthToSpace", "x", ONE("blocksize", (int64_t)1 << 32)},
        {"SpaceToDepth", "x", ONE("blocksize", -1)},
        {"SpaceToDepth", "x", ONE("blocksize", 3)},
        {"SpaceToDepth", "x", .part = NULL},
        {"LRN", "x", ONE("size", 0)},
        {"LRN", "x", ONE("size", -3)},
        {"LpNormalization", "x", ONE("p", 7)},
        {"LpNormalization", "x", ONE("axis", 9)},
        {"LayerNormalization", "x seven", .part = NULL},
        {"LayerNormalization", "x seven", ONE("axis", 17)},
        {"InstanceNormalization", "x nan nan", .part = NULL},
        {"GroupNormalization", "x one one", ONE("num_groups", 0)},
        {"GroupNormalization", "x one one", ONE("num_groups", 2)},
        {"Cast", "x", ONE("to", 0)},
        {"Cast", "x", ONE("to", 27)},
        {"Cast", "x", ONE("to", INT64_MAX)},
        {"Einsum", "x", .part = NULL},
        {"MaxUnpool", "x zero", LIST("kernel_shape", 2, 2)},
        {"GRU", "x x x", ONE("hidden_size", -1)},
        {"LSTM", "x x x", ONE("hidden_size", INT64_MAX)},
        {"MatMul", "x five", .part = NULL},
        {"Gemm", "x x", .part = "it takes matrices"},
        {"Where", "x x x", .part = NULL}, /* a condition of floats */
        {"Mod", "x zero", .part = NULL},
        {"NonMaxSuppression", "x x", .part = NULL},
        {"RoiAlign", "x x zero", .part = NULL},
        /* 46 */
        {"QuantizeLinear", "x nothing", .part = "scale 0 of input 1 is 0"},
        {"QuantizeLinear", "x nan", .part = "scale 0 of input 1 is nan"},
        {"QuantizeLinear", "x negative", .part = "scale 0 of input 1 is -1"},
        {"QuantizeLinear", "x five", .part = NULL},
        {"QuantizeLinear", "x scale zero", .part = "not int64"},
        {"QuantizeLinear", "x scales", .part = "2 numbers for an axis of size 3"},
        {"QuantizeLinear", "x scale bytes", .part = "2 zero points for 1 scales"},
        {"QuantizeLinear", "x scale byte", ONE("block_size", 2), .part = "blocks"},
        {"QuantizeLinear", "x scales byte", ONE("axis", 4), .part = "axis 4"},
        {"DequantizeLinear", "x scale", .part = "not float32"},
        {"DequantizeLinear", "byte negative", .part = "scale 0 of input 1 is -1"},
        {"DequantizeLinear", "byte scale zero", .part = "a zero point of int64 for uint8"},
        {"DequantizeLinear", "byte zero", .part = "its scale is of integers"},
        {"QLinearConv", "x scale byte x scale byte scale byte", .part = "not float32"},
        {"QLinearMatMul", "byte nan byte byte scale byte scale byte", .part = "is nan"},
        {"QLinearMatMul", "byte scale byte byte scale byte nothing byte", .part = "is 0"},
        {"ConvInteger", "x x", .part = "not float32"},
        {"MatMulInteger", "x x", .part = "not float32"},
        {"MatMulInteger", "bytes bytes scale", .part = "a zero point of float32"},
    };
    enter();
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) node_refused(node_with(&all[i]), all[i].op, all[i].part ? all[i].part : "");
    leave();
}
END_TEST

/* ---- legal and odd ---- */

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* A chain of so many nodes, each with a weight of its own, over x (1,1). */
static wire chain(int nodes, bool weights) {
    wire g = {0};
    char from[24], to[24], weight[24], inputs[64];
    for (int i = 0; i < nodes; i++) {
        snprintf(from, sizeof from, i ? "v%d" : "x", i);
        snprintf(to, sizeof to, i + 1 < nodes ? "v%d" : "y", i + 1);
        snprintf(weight, sizeof weight, "w%d", i);
        snprintf(inputs, sizeof inputs, weights ? "%s %s" : "%s", from, weight);
        if (weights) w_message(&g, G_INITIALIZER, tensor_of(weight, DIMS(1, 1)));
        w_message(&g, G_NODE, node_of(weights ? "MatMul" : "Neg", NULL, inputs, to));
    }
    w_message(&g, G_INPUT, value_info_of("x", DIMS(1, 1)));
    w_message(&g, G_OUTPUT, value_info_of("y", DIMS(1, 1)));
    return model_of(g);
}

/* Work grows with the file, not with its square: ten times the names take less than forty times as long. */
START_TEST(many_names_are_no_burden) {
    double seconds[2];
    enter();
    for (int i = 0; i < 2; i++) {
        seconds[i] = 1e9;
        for (int again = 0; again < 3; again++) {
            fv_model *m;
            wire w = chain(i ? 20000 : 2000, true);
            const double began = now();
            ok(load_wire(context, w, &m));
            seconds[i] = fmin(seconds[i], now() - began);
            fv_model_free(m);
        }
    }
    ck_assert_msg(seconds[1] < 40 * seconds[0], "%g s for 2,000 nodes, %g s for 20,000", seconds[0], seconds[1]);
    leave();
}
END_TEST

START_TEST(too_many_nodes_are_counted_first) {
    fv_model *m;
    enter();
    const double began = now();
    fails(load_wire(context, chain(1000001, false), &m), FV_ERR_LIMIT, "");
    ck_assert_double_lt(now() - began, 20);
    leave();
}
END_TEST

/* A file of this size that is nearly all hole: `head`, a field whose length is the hole's, `tail`. */
static void put_hole(wire head, uint64_t field, uint64_t hole, wire tail) {
    FILE *f = fopen(wire_path, "wb");
    ck_assert_ptr_nonnull(f);
    w_tag(&head, field, 2);
    w_varint(&head, hole);
    ck_assert_uint_eq(fwrite(head.data, 1, head.n, f), head.n);
    ck_assert_int_eq(fseeko(f, (off_t)hole, SEEK_CUR), 0);
    if (tail.n) ck_assert_uint_eq(fwrite(tail.data, 1, tail.n, f), tail.n);
    ck_assert_int_eq(fflush(f), 0);
    if (!tail.n) ck_assert_int_eq(ftruncate(fileno(f), (off_t)(head.n + hole)), 0);
    fclose(f);
    w_free(&head);
    w_free(&tail);
}

START_TEST(files_of_gigabytes) {
    static const uint64_t large = (uint64_t)3 << 30;
    enter();
    fv_model *m;
    float y[run_most], want[3];
    good_answer(want);
    put_hole((wire){0}, 999, large, model_of(good_graph())); /* what nobody knows is passed over, not read */
    ok(fv_model_load(context, wire_path, &m));
    ck_assert_uint_eq(run_model(m, 1, y), 3);
    ck_assert_mem_eq(y, want, sizeof want);
    fv_model_free(m);
    put_hole((wire){0}, 2, large, model_of(good_graph())); /* the producer's name, of 3 GiB */
    fails(fv_model_load(context, wire_path, &m), FV_ERR_LIMIT, "a string of 3221225472 bytes");
    put_hole((wire){0}, 7, large, (wire){0}); /* a graph of zeros */
    fails(fv_model_load(context, wire_path, &m), FV_ERR_FORMAT, "field number 0");
    wire g = {0}, t = tensor_head("w", 1, DIMS(768 << 10, 1, 32, 32)), outer = {0}; /* 3 GiB of weights under a limit of 256 MiB */
    w_tag(&t, 9, 2);
    w_varint(&t, large);
    w_tag(&g, G_INITIALIZER, 2);
    w_varint(&g, t.n + large);
    w_raw(&g, t.data, t.n);
    wire rest = {0};
    w_message(&rest, G_NODE, node_of("Conv", "c", "x w", "y"));
    w_message(&rest, G_INPUT, value_info_of("x", DIMS(0, 1, 32, 32)));
    w_message(&rest, G_OUTPUT, value_info_of("y", DIMS(0, 768 << 10, 1, 1)));
    w_int(&outer, 1, 8);
    w_message(&outer, 8, opset_of(NULL, 17));
    w_tag(&outer, 7, 2);
    w_varint(&outer, g.n + large + rest.n);
    w_raw(&outer, g.data, g.n);
    FILE *f = fopen(wire_path, "wb");
    ck_assert_ptr_nonnull(f);
    ck_assert_uint_eq(fwrite(outer.data, 1, outer.n, f), outer.n);
    ck_assert_int_eq(fseeko(f, (off_t)large, SEEK_CUR), 0);
    ck_assert_uint_eq(fwrite(rest.data, 1, rest.n, f), rest.n);
    fclose(f);
    fails(fv_model_load(context, wire_path, &m), FV_ERR_LIMIT, "memory limit");
    w_free(&outer);
    w_free(&rest);
    w_free(&g);
    w_free(&t);
    leave();
}
END_TEST

/* NaN, infinities and denormals are weights like others. */
START_TEST(weights_of_any_value) {
    static const float odd[4] = {NAN, INFINITY, -INFINITY, 0x1p-140f};
    float y[4];
    enter();
    wire g = {0}, t = tensor_head("w", 1, DIMS(1, 4));
    w_bytes(&t, 9, odd, sizeof odd);
    w_message(&g, G_INITIALIZER, t);
    w_message(&g, G_NODE, node_of("MatMul", "m", "x w", "y"));
    w_message(&g, G_INPUT, value_info_of("x", DIMS(1, 1)));
    w_message(&g, G_OUTPUT, value_info_of("y", DIMS(1, 4)));
    accepted(model_of(g), y, 4);
    ck_assert(isnan(y[0]) && isinf(y[1]) && isinf(y[2]) && (y[1] > 0) != (y[2] > 0) && fabsf(y[3]) <= 0x1p-140f);
    leave();
}
END_TEST

int main(void) {
    const TTest *const tests[] = {attributes_and_operands_of_any_number, many_names_are_no_burden, too_many_nodes_are_counted_first,
                                  files_of_gigabytes, weights_of_any_value, NULL};
    return run_tests("onnx_operators_bad", tests, 120);
}
