/* ONNX files that should not be: each gets a status and a sentence that names what is wrong; legal oddities must load. */
#include "wire.h"

#include <unistd.h>

static fv_context *context;

static void enter(void) {
    fv_context_settings s = settings_of(FV_BACKEND_SERIAL, 1);
    s.memory_limit = (size_t)256 << 20;
    wire_enter();
    context = context_with(&s);
}

static void leave(void) {
    fv_context_free(context);
    wire_leave();
}

/* Ends w: it must not load, with a sentence that names the file and holds `part`. */
static void refused(wire w, fv_status wanted, const char *part) {
    fv_model *m = NULL;
    fails(load_wire(context, w, &m), wanted, part);
    ck_assert_msg(strstr(fv_last_error(), wire_path) != NULL, "%s", fv_last_error());
    ck_assert_ptr_null(m);
}

/* Ends w: it must load, plan and run. */
static void accepted(wire w, float *y, size_t count) {
    static float x[4096];
    fv_model *m = NULL;
    fv_session *s = NULL;
    fv_tensor in, out;
    size_t inputs, outputs;
    ok(load_wire(context, w, &m));
    ok(fv_session_create(m, NULL, &s));
    ok(fv_model_input(m, 0, NULL, &in));
    ok(fv_model_output(m, 0, NULL, &out));
    in.shape[0] = out.shape[0] = 1;
    in.data = x;
    out.data = y;
    ok(fv_tensor_count(&in, &inputs));
    ok(fv_tensor_count(&out, &outputs));
    ck_assert(inputs <= 4096);
    ck_assert_uint_eq(outputs, count);
    draw_all(x, inputs, 3);
    ok(fv_session_run(s, &in, 1, &out, 1));
    fv_session_free(s);
    fv_model_free(m);
}

/* ---- a good model: x (N,2,6,6) -> Conv -> Relu -> Flatten -> Gemm -> y (N,3) ---- */

static void good_conv(wire *g) {
    w_message(g, G_INITIALIZER, tensor_of("w", DIMS(4, 2, 3, 3)));
    w_message(g, G_INITIALIZER, tensor_of("b", DIMS(4)));
    w_message(g, G_NODE, node_of("Conv", "c", "x w b", "c.y"));
}

static void good_rest(wire *g) {
    w_message(g, G_INITIALIZER, tensor_of("fw", DIMS(3, 64)));
    wire gemm = node_of("Gemm", "fc", "f.y fw", "y");
    node_attr(&gemm, attr_int("transB", 1));
    w_message(g, G_NODE, node_of("Relu", "r", "c.y", "r.y"));
    w_message(g, G_NODE, node_of("Flatten", "f", "r.y", "f.y"));
    w_message(g, G_NODE, gemm);
}

static void borders(wire *g) {
    w_message(g, G_INPUT, value_info_of("x", DIMS(0, 2, 6, 6)));
    w_message(g, G_OUTPUT, value_info_of("y", DIMS(0, 3)));
}

static wire good_graph(void) {
    wire g = {0};
    good_conv(&g);
    good_rest(&g);
    borders(&g);
    return g;
}

static void good_answer(float y[3]) { accepted(model_of(good_graph()), y, 3); }

static void same_answer(wire w) {
    float want[3], y[3];
    good_answer(want);
    accepted(w, y, 3);
    ck_assert_int_eq(memcmp(want, y, sizeof y), 0);
}

static wire bytes_of(const char *bytes, size_t n) {
    wire w = {0};
    w_raw(&w, bytes, n);
    return w;
}

#define BYTES(text) bytes_of(text, sizeof text - 1)

/* ---- A: the wire ---- */

START_TEST(broken_wires) {
    enter();
    refused((wire){0}, FV_ERR_FORMAT, "empty");
    for (int i = 0; i < 256; i++) {
        const char byte = (char)i;
        refused(bytes_of(&byte, 1), FV_ERR_FORMAT, "");
    }
    refused(BYTES("\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"), FV_ERR_FORMAT, "64 bits");            /* 11 bytes */
    refused(BYTES("\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f"), FV_ERR_FORMAT, "64 bits");                /* 70 bits */
    refused(BYTES("\x00\x01"), FV_ERR_FORMAT, "field number 0");
    refused(BYTES("\x80\x80\x80\x80\x10\x01"), FV_ERR_FORMAT, "field number");                               /* 2^29 */
    refused(BYTES("\x3a\x7f\x01"), FV_ERR_FORMAT, "runs past the end");
    refused(BYTES("\x3a\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01"), FV_ERR_FORMAT, "9223372036854775808");    /* 2^63 bytes */
    refused(BYTES("\x3a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"), FV_ERR_FORMAT, "18446744073709551615");
    refused(BYTES("\x3b\x3c"), FV_ERR_FORMAT, "wire type 3"); /* groups */
    refused(BYTES("\x3c"), FV_ERR_FORMAT, "wire type 4");
    refused(BYTES("\x0f\x01"), FV_ERR_FORMAT, "wire type 7");
    refused(BYTES("\x38\x01"), FV_ERR_FORMAT, "wire type 0"); /* the graph as a number */
    refused(BYTES("\x0a\x01\x08"), FV_ERR_FORMAT, "wrong type"); /* ir_version as bytes */
    leave();
}
END_TEST

START_TEST(legal_wires) {
    enter();
    float unused[3];
    good_answer(unused);
    wire m = model_of(good_graph()); /* unknown fields at the end, singular fields twice: the last counts */
    w_int(&m, 1, 7);
    w_text(&m, 999, "what");
    w_float(&m, 536870911, 1);
    w_tag(&m, 100, 1);
    w_raw(&m, "12345678", 8);
    same_answer(m);
    wire first = {0}, second = {0}, split = {0}; /* one message in two parts merges */
    good_conv(&first);
    good_rest(&second);
    borders(&second);
    w_int(&split, 1, 8);
    w_message(&split, 7, first);
    w_message(&split, 8, opset_of("", 17));
    w_message(&split, 7, second);
    same_answer(split);
    for (int form = 0; form < 2; form++) { /* dims packed, or one packed and the rest alone: both mean the same */
        wire g = {0}, t = {0}, dims = {0};
        static float values[72], bias[4];
        draw_all(values, 72, 7);
        draw_all(bias, 4, 7);
        w_varint(&dims, 4);
        if (form == 0) {
            w_varint(&dims, 2);
            w_varint(&dims, 3);
            w_varint(&dims, 3);
        }
        w_message(&t, 1, dims);
        for (int i = 0; form == 1 && i < 3; i++) w_int(&t, 1, i == 0 ? 2 : 3);
        w_int(&t, 2, 1);
        for (int i = 0; form == 1 && i < 36; i++) w_float(&t, 4, values[i]); /* float_data alone, then packed */
        w_bytes(&t, 4, values + (form ? 36 : 0), form ? 144 : 288);
        w_text(&t, 8, "w");
        w_message(&g, G_INITIALIZER, t);
        w_message(&g, G_INITIALIZER, tensor_of("b", DIMS(4)));
        w_message(&g, G_NODE, node_of("Conv", "c", "x w b", "c.y"));
        good_rest(&g);
        borders(&g);
        same_answer(model_of(g));
    }
    wire overlong = {0}; /* a number with a needless zero byte is legal */
    w_raw(&overlong, "\x08\x88\x00", 3);
    w_message(&overlong, 7, good_graph());
    w_message(&overlong, 8, opset_of("ai.onnx", 17));
    same_answer(overlong);
    leave();
}
END_TEST

START_TEST(deep_nesting) {
    enter();
    wire inner = {0};
    for (int i = 0; i < 20000; i++) { /* If: attribute g holds a graph, whose node has an attribute g, ... */
        wire outer = {0};
        w_message(&outer, i % 3 == 0 ? 6 : i % 3 == 1 ? 5 : 1, inner);
        inner = outer;
        if (inner.n > 60000) break;
    }
    wire n = node_of("If", "deep", "x", "c.y"), g = {0};
    w_message(&n, 5, inner);
    w_message(&g, G_NODE, n);
    good_rest(&g);
    borders(&g);
    refused(model_of(g), FV_ERR_UNSUPPORTED, "If");
    leave();
}
END_TEST

static wire renamed(const char *name, size_t n) {
    wire g = {0}, relu = {0};
    good_conv(&g);
    w_text(&relu, 1, "c.y");
    w_bytes(&relu, 2, name, n);
    w_text(&relu, 4, "Relu");
    w_message(&g, G_NODE, relu);
    good_rest(&g);
    borders(&g);
    return model_of(g);
}

START_TEST(odd_names) {
    enter();
    refused(renamed("a\xff", 2), FV_ERR_FORMAT, "UTF-8");
    refused(renamed("\xc0\x80", 2), FV_ERR_FORMAT, "UTF-8");         /* an overlong zero */
    refused(renamed("\xed\xa0\x80", 3), FV_ERR_FORMAT, "UTF-8");     /* half of a surrogate pair */
    refused(renamed("\xf5\x80\x80\x80", 4), FV_ERR_FORMAT, "UTF-8"); /* beyond Unicode */
    refused(renamed("\xe2\x82", 2), FV_ERR_FORMAT, "UTF-8");         /* cut off */
    refused(renamed("a\0b", 3), FV_ERR_FORMAT, "UTF-8");
    refused(renamed("", 0), FV_ERR_FORMAT, "has no output");
    refused(renamed("x", 1), FV_ERR_FORMAT, "\"x\" is given to two values");
    refused(renamed("c.y", 3), FV_ERR_FORMAT, "\"c.y\" is given to two values");
    same_answer(renamed("\xe2\x82\xac \xf0\x9f\x98\x80\n\x1b", 10));
    char *longest = malloc((1 << 20) + 1);
    ck_assert_ptr_nonnull(longest);
    memset(longest, 'n', (1 << 20) + 1);
    same_answer(renamed(longest, 1 << 20));
    refused(renamed(longest, (1 << 20) + 1), FV_ERR_LIMIT, "a string of 1048577 bytes");
    longest[1 << 20] = '\0';
    wire g = {0}; /* a name of a megabyte for node, weight and operator */
    w_message(&g, G_INITIALIZER, tensor_of(longest, DIMS(4, 2, 3, 3)));
    wire n = {0};
    w_text(&n, 1, "x");
    w_text(&n, 1, longest);
    w_text(&n, 2, "c.y");
    w_text(&n, 3, longest);
    w_text(&n, 4, "Conv");
    w_message(&g, G_NODE, n);
    good_rest(&g);
    borders(&g);
    float y[3];
    accepted(model_of(g), y, 3);
    g = (wire){0};
    w_message(&g, G_NODE, node_of("Relu", longest, "nothing", "c.y"));
    good_rest(&g);
    borders(&g);
    refused(model_of(g), FV_ERR_FORMAT, "nothing before it makes");
    free(longest);
    leave();
}
END_TEST

/* ---- B: structure ---- */

START_TEST(broken_models) {
    enter();
    wire m = {0};
    w_int(&m, 1, 8);
    w_message(&m, 8, opset_of(NULL, 17));
    refused(m, FV_ERR_FORMAT, "no graph");
    m = (wire){0};
    w_int(&m, 1, 8);
    w_message(&m, 7, good_graph());
    refused(m, FV_ERR_FORMAT, "no operator set");
    static const int64_t versions[] = {0, 2, 14, -1, INT64_MAX}, opsets[] = {5, 23, -1, INT64_MAX, INT64_MIN};
    for (int i = 0; i < 5; i++) {
        m = (wire){0};
        w_message(&m, 7, good_graph());
        w_message(&m, 8, opset_of(NULL, 17));
        w_int(&m, 1, versions[i]);
        refused(m, FV_ERR_UNSUPPORTED, "IR version");
        m = (wire){0};
        w_int(&m, 1, 8);
        w_message(&m, 7, good_graph());
        w_message(&m, 8, opset_of(NULL, opsets[i]));
        refused(m, FV_ERR_UNSUPPORTED, "operator set");
    }
    m = model_of(good_graph());
    w_message(&m, 8, opset_of("ai.onnx", 13));
    refused(m, FV_ERR_FORMAT, "twice");
    m = model_of(good_graph());
    w_message(&m, 8, opset_of("com.example", 13)); /* another domain's does no harm */
    same_answer(m);
    wire g = {0};
    refused(model_of(g), FV_ERR_FORMAT, "no output");
    w_message(&g, G_INPUT, value_info_of("x", DIMS(0, 3)));
    w_message(&g, G_OUTPUT, value_info_of("x", DIMS(0, 3)));
    float y[3];
    accepted(model_of(g), y, 3); /* no node at all: legal */
    g = (wire){0};
    good_conv(&g);
    good_rest(&g);
    w_message(&g, G_INPUT, value_info_of("x", DIMS(0, 2, 6, 6)));
    refused(model_of(g), FV_ERR_FORMAT, "no output");
    g = (wire){0};
    good_conv(&g);
    good_rest(&g);
    borders(&g);
    w_message(&g, G_OUTPUT, value_info_of("nobody", DIMS(0, 3)));
    refused(model_of(g), FV_ERR_FORMAT, "nothing makes the output \"nobody\"");
    leave();
}
END_TEST

/* The good graph with `n` in the place of its convolution. */
static wire with_node(wire n) {
    wire g = {0};
    w_message(&g, G_INITIALIZER, tensor_of("w", DIMS(4, 2, 3, 3)));
    w_message(&g, G_INITIALIZER, tensor_of("b", DIMS(4)));
    w_message(&g, G_NODE, n);
    good_rest(&g);
    borders(&g);
    return model_of(g);
}

START_TEST(broken_wiring) {
    enter();
    refused(with_node(node_of("Conv", "c", "nowhere w b", "c.y")), FV_ERR_FORMAT, "node \"c\" (Conv) uses \"nowhere\"");
    refused(with_node(node_of("Conv", "c", "c.y w b", "c.y")), FV_ERR_FORMAT, "uses \"c.y\", which nothing before it makes"); /* self loop */
    refused(with_node(node_of("Conv", "c", "y w b", "c.y")), FV_ERR_FORMAT, "uses \"y\"");                                     /* cycle */
    refused(with_node(node_of("Conv", "c", "x w b", "y")), FV_ERR_FORMAT, "uses \"c.y\""); /* and then two producers of y */
    refused(with_node(node_of("Conv", "c", "x w b", "w")), FV_ERR_FORMAT, "\"w\" is given to two values");
    refused(with_node(node_of("Conv", "c", "x w b", "x")), FV_ERR_FORMAT, "\"x\" is given to two values");
    refused(with_node(node_of("Conv", "c", "x w b", "")), FV_ERR_FORMAT, "no output");
    refused(with_node(node_of("Conv", NULL, "x w b", "")), FV_ERR_FORMAT, "no output");
    refused(with_node(node_of("Conv", "c", "x w b", "-")), FV_ERR_FORMAT, "no output");
    refused(with_node(node_of("Conv", "c", "x w b", "c.y c.z")), FV_ERR_UNSUPPORTED, "second output \"c.z\"");
    refused(with_node(node_of("Conv", "c", "- w b", "c.y")), FV_ERR_FORMAT, "lacks input 0");
    refused(with_node(node_of("Conv", "c", "", "c.y")), FV_ERR_FORMAT, "lacks input 0");
    refused(with_node(node_of("Conv", "c", "x", "c.y")), FV_ERR_UNSUPPORTED, "weight");
    refused(with_node(node_of("Conv", "c", "x -", "c.y")), FV_ERR_UNSUPPORTED, "weight");
    refused(with_node(node_of("Conv", "c", "x x b", "c.y")), FV_ERR_UNSUPPORTED, "weight must be a constant");
    refused(with_node(node_of("Conv", "c", "w w b", "c.y")), FV_ERR_UNSUPPORTED, "takes the constant \"w\" as data");
    refused(with_node(node_of("Relu", "c", "", "c.y")), FV_ERR_FORMAT, "lacks input 0");
    refused(with_node(node_of("Add", "c", "x", "c.y")), FV_ERR_FORMAT, "two inputs");
    refused(with_node(node_of("Clip", "c", "x x", "c.y")), FV_ERR_UNSUPPORTED, "to be a constant");
    refused(with_node(node_of("Constant", "c", "", "c.y")), FV_ERR_UNSUPPORTED, "\"value\"");
    wire nameless = {0};
    w_text(&nameless, 1, "x");
    w_text(&nameless, 2, "c.y");
    refused(with_node(nameless), FV_ERR_FORMAT, "no operator");
    wire g = {0}; /* nodes in the wrong order */
    good_rest(&g);
    good_conv(&g);
    borders(&g);
    refused(model_of(g), FV_ERR_FORMAT, "uses \"c.y\"");
    g = (wire){0}; /* input = initializer is IR version 3's way */
    w_message(&g, G_INPUT, value_info_of("w", DIMS(4, 2, 3, 3)));
    good_conv(&g);
    good_rest(&g);
    borders(&g);
    same_answer(model_of(g));
    g = (wire){0};
    good_conv(&g);
    good_rest(&g);
    borders(&g);
    w_message(&g, G_INPUT, value_info_of("x", DIMS(0, 2, 6, 6)));
    refused(model_of(g), FV_ERR_ARGUMENT, "\"x\"");
    g = (wire){0};
    good_conv(&g);
    w_message(&g, G_INITIALIZER, tensor_of("b", DIMS(4)));
    good_rest(&g);
    borders(&g);
    refused(model_of(g), FV_ERR_FORMAT, "\"b\" is given to two values");
    leave();
}
END_TEST

START_TEST(inputs_without_a_shape) {
    enter();
    static const struct {
        int64_t dims[4];
        const char *part;
    } cases[] = {{{0, 2, 0, 6}, "no fixed size on axis 2"}, {{0, 2, -6, 6}, "axis 2"}, {{-3, 2, 6, 6}, "negative"}, {{0, 2, 6, INT64_MAX}, "axis 3"}};
    for (int i = 0; i < 4; i++) {
        wire g = {0};
        good_conv(&g);
        good_rest(&g);
        w_message(&g, G_INPUT, value_info_of("x", 4, cases[i].dims));
        w_message(&g, G_OUTPUT, value_info_of("y", DIMS(0, 3)));
        refused(model_of(g), i < 2 ? FV_ERR_UNSUPPORTED : FV_ERR_SHAPE, cases[i].part);
    }
    const int64_t many[9] = {0, 1, 1, 1, 1, 1, 1, 1, 1};
    for (size_t rank = 0; rank <= 9; rank += 9) {
        wire g = {0};
        good_conv(&g);
        good_rest(&g);
        w_message(&g, G_INPUT, value_info_of("x", rank, many));
        w_message(&g, G_OUTPUT, value_info_of("y", DIMS(0, 3)));
        refused(model_of(g), FV_ERR_UNSUPPORTED, "rank");
    }
    leave();
}
END_TEST

START_TEST(unsupported_nodes_are_named_all_at_once) {
    enter();
    wire g = {0};
    good_conv(&g);
    w_message(&g, G_NODE, node_of("LSTM", "memory", "x", "a"));
    w_message(&g, G_NODE, node_of("Relu", "fine", "x", "bb"));
    w_message(&g, G_NODE, node_of("Einsum", "sum", "bb", "d"));
    wire foreign = node_of("Relu", "theirs", "x", "e");
    w_text(&foreign, 7, "com.example");
    w_message(&g, G_NODE, foreign);
    good_rest(&g);
    borders(&g);
    fv_model *m;
    fails(load_wire(context, model_of(g), &m), FV_ERR_UNSUPPORTED, "3 nodes cannot run");
    ck_assert_ptr_nonnull(strstr(fv_last_error(), "LSTM \"memory\""));
    ck_assert_ptr_nonnull(strstr(fv_last_error(), "Einsum \"sum\""));
    ck_assert_ptr_nonnull(strstr(fv_last_error(), "Relu \"theirs\""));
    ck_assert_ptr_null(strstr(fv_last_error(), "fine"));
    for (int i = 0; i < 3; i++) { /* control flow */
        static const char *const ops[] = {"If", "Loop", "Scan"};
        refused(with_node(node_of(ops[i], "flow", "x", "c.y")), FV_ERR_UNSUPPORTED, ops[i]);
    }
    g = (wire){0};
    for (int i = 0; i < 1000; i++) {
        char name[16], out[16];
        snprintf(name, sizeof name, "n%d", i);
        snprintf(out, sizeof out, "o%d", i);
        w_message(&g, G_NODE, node_of("Mystery", name, "x", out));
    }
    good_conv(&g);
    good_rest(&g);
    borders(&g);
    refused(model_of(g), FV_ERR_UNSUPPORTED, "1000 nodes cannot run: Mystery \"n0\", Mystery \"n1\"");
    leave();
}
END_TEST

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
    refused(with_weight(weight_raw(1, 288, DIMS(half, half, 3, 3))), FV_ERR_LIMIT, "\"w\" has too many elements"); /* wraps to 0 */
    refused(with_weight(weight_raw(1, 0, DIMS(half, half))), FV_ERR_LIMIT, "too many elements");
    refused(with_weight(weight_raw(1, 288, DIMS(INT64_MAX, 2, 3, 3))), FV_ERR_LIMIT, "too many elements");
    refused(with_weight(weight_raw(1, 288, DIMS(4, -2, 3, 3))), FV_ERR_SHAPE, "negative size -2");
    refused(with_weight(weight_raw(1, 0, DIMS(4, 0, 3, 3))), FV_ERR_SHAPE, "\"w\"");
    refused(with_weight(weight_raw(1, 4, 0, NULL)), FV_ERR_UNSUPPORTED, "rank 4"); /* a scalar */
    static int64_t ones[1000];
    for (int i = 0; i < 1000; i++) ones[i] = 1;
    refused(with_weight(weight_raw(1, 4, 1000, ones)), FV_ERR_LIMIT, "rank 1000");
    refused(with_weight(weight_raw(1, 287, DIMS(4, 2, 3, 3))), FV_ERR_FORMAT, "needs 288 bytes for its shape, but has 287");
    refused(with_weight(weight_raw(1, 292, DIMS(4, 2, 3, 3))), FV_ERR_FORMAT, "but has 292");
    refused(with_weight(weight_raw(1, 0, DIMS(4, 2, 3, 3))), FV_ERR_FORMAT, "but has 0");
    refused(with_weight(tensor_head("w", 1, DIMS(4, 2, 3, 3))), FV_ERR_FORMAT, "0 values of its type for a shape of 72");
    wire t = weight_raw(1, 288, DIMS(4, 2, 3, 3));
    w_float(&t, 4, 1);
    refused(with_weight(t), FV_ERR_FORMAT, "values twice");
    t = tensor_head("w", 1, DIMS(4, 2, 3, 3));
    for (int i = 0; i < 72; i++) w_int(&t, 7, i); /* int64_data for floats */
    refused(with_weight(t), FV_ERR_FORMAT, "\"w\"");
    static const int64_t types[] = {0, 27, -1, 8, 2, 10, 16, INT64_MAX};
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        refused(with_weight(weight_raw(types[i], 288, DIMS(4, 2, 3, 3))), FV_ERR_UNSUPPORTED, "data type");
    t = weight_raw(1, 288, DIMS(4, 2, 3, 3));
    w_message(&t, 3, (wire){0});
    refused(with_weight(t), FV_ERR_UNSUPPORTED, "segments");
    t = tensor_head("w", 1, DIMS(4, 2, 3, 3));
    w_int(&t, 14, 1);
    refused(with_weight(t), FV_ERR_UNSUPPORTED, "another file");
    t = tensor_head("w", 1, DIMS(4, 2, 3, 3));
    wire place = {0};
    w_text(&place, 1, "location");
    w_text(&place, 2, "../../etc/passwd");
    w_message(&t, 13, place);
    refused(with_weight(t), FV_ERR_UNSUPPORTED, "another file");
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
    ck_assert_msg(status == FV_ERR_FORMAT || status == FV_ERR_SHAPE || status == FV_ERR_ARGUMENT || status == FV_ERR_LIMIT ||
                      status == FV_ERR_UNSUPPORTED,
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
    refused(conv_with(attr_ints("dilations", DIMS(3, 1))), FV_ERR_SHAPE, "window of 7 does not fit");                  /* 7 > 6 */
    refused_somehow(conv_with(attr_ints("dilations", DIMS(INT32_MAX, 1))), "node \"c\"");                             /* d*(k-1)+1 overflows */
    refused_somehow(pool_with("MaxPool", DIMS(7, 2), (wire){0}), "node \"p\"");
    refused_somehow(pool_with("MaxPool", DIMS(INT32_MAX, INT32_MAX), (wire){0}), "node \"p\"");
    refused(conv_with(attr_ints("pads", DIMS(-1, 0, 0, 0))), FV_ERR_ARGUMENT, "negative padding");
    refused_somehow(conv_with(attr_ints("pads", DIMS(0, INT64_MAX, 0, 0))), "node \"c\"");
    refused_somehow(conv_with(attr_ints("pads", DIMS(INT32_MAX, INT32_MAX, INT32_MAX, INT32_MAX))), "node \"c\"");
    refused_somehow(conv_with(attr_ints("pads", DIMS(1, 1))), "node \"c\"");
    refused_somehow(conv_with(attr_ints("pads", DIMS(1, 1, 1, 1, 1))), "node \"c\"");
    refused_somehow(conv_with(attr_ints("strides", DIMS(1))), "node \"c\"");
    refused_somehow(conv_with(attr_ints("strides", DIMS(1, 1, 1))), "node \"c\"");
    refused(conv_with(attr_int("strides", 2)), FV_ERR_UNSUPPORTED, "2-D"); /* a number where a list belongs */
    refused(conv_with(attr_ints("kernel_shape", DIMS(3, 2))), FV_ERR_SHAPE, "kernel_shape disagrees");
    refused(conv_with(attr_ints("kernel_shape", DIMS(0, 0))), FV_ERR_SHAPE, "kernel_shape disagrees");
    refused_somehow(pool_with("MaxPool", DIMS(2, 2), attr_ints("pads", DIMS(2, 0, 0, 0))), "node \"p\""); /* padding >= window */
    wire bare = node_of("MaxPool", "p", "x", "c.y");
    refused(with_node(bare), FV_ERR_UNSUPPORTED, "kernel_shape is missing");
    leave();
}
END_TEST

START_TEST(broken_convolutions) {
    enter();
    static const int64_t groups[] = {0, -1, 3, 4, INT64_MIN, INT64_MAX, (int64_t)1 << 32};
    for (size_t i = 0; i < sizeof groups / sizeof *groups; i++) refused_somehow(conv_with(attr_int("group", groups[i])), "node \"c\"");
    refused_somehow(conv_with(attr_int("group", 2)), "node \"c\""); /* divides, but then the weight has too many channels */
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
    } weights[] = {{3, {4, 2, 9}, "rank 4"}, {5, {4, 2, 3, 3, 1}, "rank 4"}, {4, {4, 3, 3, 3}, "channels"}, {4, {4, 1, 3, 3}, "channels"}, {4, {4, 2, 7, 3}, "does not fit"}};
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
    wire same = node_of("Conv", "c", "x w b", "h"), pool = node_of("MaxPool", "p", "h", "c.y"), g = {0}; /* SAME with a stride beyond the input */
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
    refused(with_node(n), FV_ERR_UNSUPPORTED, "axis 1 of (N,F)");
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
    refused(with_node(n), FV_ERR_UNSUPPORTED, "axis 1");
    for (int square = 0; square < 2; square++) { /* one matrix, read straight and turned: not the same parameter */
        wire g = {0};
        for (int i = 0; i < 2; i++) {
            wire gemm = node_of("Gemm", i ? "second" : "first", i ? "h w" : "x w", i ? "y" : "h");
            node_attr(&gemm, attr_int("transB", i == square));
            w_message(&g, G_NODE, gemm);
        }
        w_message(&g, G_INITIALIZER, tensor_of("w", DIMS(3, 3)));
        w_message(&g, G_INPUT, value_info_of("x", DIMS(0, 3)));
        w_message(&g, G_OUTPUT, value_info_of("y", DIMS(0, 3)));
        refused(model_of(g), FV_ERR_UNSUPPORTED, "way");
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
    refused(model_of(g), FV_ERR_UNSUPPORTED, "\"y\" is only another name of \"x\"");
    g = good_graph();
    w_message(&g, G_NODE, node_of("Identity", "i", "y", "z"));
    w_message(&g, G_OUTPUT, value_info_of("z", DIMS(0, 3)));
    refused(model_of(g), FV_ERR_UNSUPPORTED, "\"z\" is the same value as output 0");
    leave();
}
END_TEST

int main(void) {
    const TTest *const tests[] = {broken_wires, legal_wires, deep_nesting, odd_names, broken_models, broken_wiring, inputs_without_a_shape,
                                  unsupported_nodes_are_named_all_at_once, broken_tensors, broken_windows, broken_convolutions,
                                  other_broken_operators, other_names_for_one_value, NULL};
    return run_tests("onnx_bad", tests, 120);
}
