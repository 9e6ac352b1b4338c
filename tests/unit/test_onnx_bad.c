/* ONNX files that should not be, by wire and structure: each gets a status and a sentence that names what is wrong;
 * legal oddities load. */
#include "onnx_files.h"

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
    refused(BYTES("\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"), FV_ERR_FORMAT, "64 bits"); /* 11 bytes */
    refused(BYTES("\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f"), FV_ERR_FORMAT, "64 bits");     /* 70 bits */
    refused(BYTES("\x00\x01"), FV_ERR_FORMAT, "field number 0");
    refused(BYTES("\x80\x80\x80\x80\x10\x01"), FV_ERR_FORMAT, "field number"); /* 2^29 */
    refused(BYTES("\x3a\x7f\x01"), FV_ERR_FORMAT, "runs past the end");
    refused(BYTES("\x3a\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01"), FV_ERR_FORMAT,
            "9223372036854775808"); /* 2^63 bytes */
    refused(BYTES("\x3a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"), FV_ERR_FORMAT, "18446744073709551615");
    refused(BYTES("\x3b\x3c"), FV_ERR_FORMAT, "wire type 3"); /* groups */
    refused(BYTES("\x3c"), FV_ERR_FORMAT, "wire type 4");
    refused(BYTES("\x0f\x01"), FV_ERR_FORMAT, "wire type 7");
    refused(BYTES("\x38\x01"), FV_ERR_FORMAT, "wire type 0");    /* the graph as a number */
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
    refused(model_of(g), FV_ERR_LIMIT, "deeper than 32");
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
    static const int64_t versions[] = {0, 2, 15, -1, INT64_MAX}, opsets[] = {-2, 29, -1, INT64_MAX, INT64_MIN};
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

START_TEST(broken_wiring) {
    enter();
    refused(with_node(node_of("Conv", "c", "nowhere w b", "c.y")), FV_ERR_FORMAT, "node \"c\" (Conv) uses \"nowhere\"");
    refused(with_node(node_of("Conv", "c", "c.y w b", "c.y")), FV_ERR_FORMAT,
            "uses \"c.y\", which nothing before it makes");                                /* self loop */
    refused(with_node(node_of("Conv", "c", "y w b", "c.y")), FV_ERR_FORMAT, "uses \"y\""); /* cycle */
    refused(with_node(node_of("Conv", "c", "x w b", "y")), FV_ERR_FORMAT,
            "uses \"c.y\""); /* and then two producers of y */
    refused(with_node(node_of("Conv", "c", "x w b", "w")), FV_ERR_FORMAT, "\"w\" is given to two values");
    refused(with_node(node_of("Conv", "c", "x w b", "x")), FV_ERR_FORMAT, "\"x\" is given to two values");
    refused(with_node(node_of("Conv", "c", "x w b", "")), FV_ERR_FORMAT, "no output");
    refused(with_node(node_of("Conv", NULL, "x w b", "")), FV_ERR_FORMAT, "no output");
    refused(with_node(node_of("Conv", "c", "x w b", "-")), FV_ERR_FORMAT, "no output");
    refused(with_node(node_of("Conv", "c", "x w b", "c.y c.z")), FV_ERR_FORMAT, "node \"c\" (Conv) has 2 outputs, 1 is possible");
    refused(with_node(node_of("Conv", "c", "- w b", "c.y")), FV_ERR_FORMAT, "lacks input 0");
    refused(with_node(node_of("Conv", "c", "", "c.y")), FV_ERR_FORMAT, "lacks input 0");
    refused(with_node(node_of("Conv", "c", "x", "c.y")), FV_ERR_FORMAT, "node \"c\" (Conv) lacks input 1");
    refused(with_node(node_of("Conv", "c", "x -", "c.y")), FV_ERR_FORMAT, "node \"c\" (Conv) lacks input 1");
    refused(with_node(node_of("Conv", "c", "x x b", "c.y")), FV_ERR_SHAPE, "node \"c\": a bias (4) for 1 channels");
    refused(with_node(node_of("Conv", "c", "w w b", "c.y")), FV_ERR_SHAPE, "\"fc\": the product of (4,4) and (3,64)");
    refused(with_node(node_of("Relu", "c", "", "c.y")), FV_ERR_FORMAT, "lacks input 0");
    refused(with_node(node_of("Add", "c", "x", "c.y")), FV_ERR_FORMAT, "two inputs");
    refused(with_node(node_of("Clip", "c", "x x", "c.y")), FV_ERR_SHAPE, "its min is (1,2,6,6), not one number");
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
    } cases[] = {{{0, 2, -6, 6}, "negative"},
                 {{-3, 2, 6, 6}, "negative"},
                 {{0, 2, 6, INT64_MAX}, "axis 3"}};
    for (int i = 0; i < 3; i++) {
        wire g = {0};
        good_conv(&g);
        good_rest(&g);
        w_message(&g, G_INPUT, value_info_of("x", 4, cases[i].dims));
        w_message(&g, G_OUTPUT, value_info_of("y", DIMS(0, 3)));
        refused(model_of(g), FV_ERR_SHAPE, cases[i].part);
    }
    const int64_t many[9] = {0, 1, 1, 1, 1, 1, 1, 1, 1};
    for (size_t rank = 0; rank <= 9; rank += 9) {
        wire g = {0};
        good_conv(&g);
        good_rest(&g);
        w_message(&g, G_INPUT, value_info_of("x", rank, many));
        w_message(&g, G_OUTPUT, value_info_of("y", DIMS(0, 3)));
        refused(model_of(g), rank ? FV_ERR_UNSUPPORTED : FV_ERR_SHAPE, rank ? "rank 9" : "a tensor of rank 0");
    }
    leave();
}
END_TEST

START_TEST(unsupported_nodes_are_named_all_at_once) {
    enter();
    wire g = {0};
    good_conv(&g);
    w_message(&g, G_NODE, node_of("StringNormalizer", "memory", "x", "a"));
    w_message(&g, G_NODE, node_of("Relu", "fine", "x", "bb"));
    w_message(&g, G_NODE, node_of("Scan", "sum", "bb", "d"));
    wire foreign = node_of("Relu", "theirs", "x", "e");
    w_text(&foreign, 7, "com.example");
    w_message(&g, G_NODE, foreign);
    good_rest(&g);
    borders(&g);
    fv_model *m;
    fails(load_wire(context, model_of(g), &m), FV_ERR_UNSUPPORTED, "3 nodes cannot run");
    ck_assert_ptr_nonnull(strstr(fv_last_error(), "StringNormalizer \"memory\""));
    ck_assert_ptr_nonnull(strstr(fv_last_error(), "Scan \"sum\""));
    ck_assert_ptr_nonnull(strstr(fv_last_error(), "Relu \"theirs\""));
    ck_assert_ptr_null(strstr(fv_last_error(), "fine"));
    refused(with_node(node_of("If", "flow", "x", "c.y")), FV_ERR_FORMAT, "(If) lacks a branch"); /* control flow */
    refused(with_node(node_of("Loop", "flow", "x", "c.y")), FV_ERR_UNSUPPORTED, "Loop");
    refused(with_node(node_of("Scan", "flow", "x", "c.y")), FV_ERR_UNSUPPORTED, "Scan");
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

int main(void) {
    const TTest *const tests[] = {
        broken_wires,  legal_wires,   deep_nesting,           odd_names,
        broken_models, broken_wiring, inputs_without_a_shape, unsupported_nodes_are_named_all_at_once,
        NULL};
    return run_tests("onnx_bad", tests, 120);
}
