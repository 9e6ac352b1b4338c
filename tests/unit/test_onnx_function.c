/* Model-local functions: what the writer defines, what the reader refuses. */
#include "io/onnx_function.h"
#include "onnx_files.h"

#include <math.h>

enum { M_OPSET = 8, M_FUNCTIONS = 25 };

/* ---- writing ---- */

static char *value_of(fv_onnx_writer *w, fv_value v) { return fv_onnx_value_name(w, v); }

/* y = |k x| as a function that takes k by reference. */
static void write_rectification(fv_onnx_writer *w, char *name, char *x, char *y, float k) {
    FvOnnx__Node *n = fv_onnx_make_call(w, "rectification", name, 1, y);
    if (!n) return;
    n->input[0] = x;
    fv_onnx_make_float(w, n, "k", k);
    FvOnnx__Function *f = fv_onnx_define_function(w, n, "x", "y", false);
    if (!f) return;
    fv_onnx_body(w, f, "Mul", "x k", "scaled");
    fv_onnx_body(w, f, "Abs", "scaled", "y");
}

/* y = x + k as a function of which k is a part. */
static void write_shift(fv_onnx_writer *w, char *name, char *x, char *y, float k) {
    FvOnnx__Node *n = fv_onnx_make_call(w, "shift", name, 1, y);
    if (!n) return;
    n->input[0] = x;
    fv_onnx_make_float(w, n, "k", k);
    FvOnnx__Function *f = fv_onnx_define_function(w, n, "x", "y", true);
    if (!f) return;
    fv_onnx_body_float(w, f, "addend", k);
    fv_onnx_body(w, f, "Add", "x addend", "y");
}

/* Runs `what` on a writer over the graph x -> relu -> y, whose node it does not write. */
static void write_with(void (*what)(fv_onnx_writer *w, char *x, char *y), const char *path) {
    const int64_t shape[2] = {0, 6};
    fv_graph *g = NULL;
    ok(fv_graph_create(context, &g));
    ok(fv_graph_output(g, fv_graph_relu(g, fv_graph_input(g, "x", 2, shape), "r"), "y"));
    fv_onnx_writer w = {.context = context, .graph = g};
    what(&w, value_of(&w, g->inputs[0]), value_of(&w, g->outputs[0]));
    ok(w.status);
    ok(fv_onnx_write_made(&w, path));
    fv_onnx_release(&w);
    fv_graph_free(g);
}

static size_t count_text(const wire *w, const char *text) {
    const size_t n = strlen(text);
    size_t count = 0;
    for (size_t i = 0; i + n <= w->n; i++) count += memcmp(w->data + i, text, n) == 0;
    return count;
}

static void by_reference(fv_onnx_writer *w, char *x, char *y) {
    write_rectification(w, (char *)"a", x, (char *)"h", 2);
    write_rectification(w, (char *)"b", (char *)"h", y, 3);
    ck_assert_uint_eq(w->function_count, 1);
    ck_assert_str_eq(w->nodes[1]->op_type, "rectification");
}

static void by_value(fv_onnx_writer *w, char *x, char *y) {
    write_shift(w, (char *)"a", x, (char *)"h", 2);
    write_shift(w, (char *)"b", (char *)"h", (char *)"i", 3);
    write_shift(w, (char *)"c", (char *)"i", y, 2);
    ck_assert_uint_eq(w->function_count, 2);
    ck_assert_str_eq(w->nodes[0]->op_type, "shift");
    ck_assert_str_eq(w->nodes[1]->op_type, "shift.2");
    ck_assert_str_eq(w->nodes[2]->op_type, "shift");
}

START_TEST(definitions_are_shared) {
    enter();
    fv_model *m = NULL;
    write_with(by_reference, wire_path);
    wire file = wire_get(wire_path);
    ck_assert_uint_eq(count_text(&file, "scaled"), 2); /* one body: made and used */
    w_free(&file);
    float x[6], y[run_most];
    draw_all(x, 6, 21);
    ok(fv_model_load(context, wire_path, &m)); /* a body that is not known by name is opened */
    ck_assert_uint_eq(run_model(m, 1, y), 6);
    for (int i = 0; i < 6; i++) ck_assert_float_eq_tol(y[i], 6 * fabsf(x[i]), 1e-5f);
    fv_model_free(m);
    write_with(by_value, wire_path);
    file = wire_get(wire_path);
    ck_assert_uint_eq(count_text(&file, "addend"), 6);  /* two bodies: the constant, its tensor, its use */
    ck_assert_uint_eq(count_text(&file, "shift.2"), 2); /* the definition and its call */
    w_free(&file);
    ok(fv_model_load(context, wire_path, &m));
    ck_assert_uint_eq(run_model(m, 1, y), 6);
    for (int i = 0; i < 6; i++) ck_assert_float_eq_tol(y[i], x[i] + 7, 1e-5f);
    fv_model_free(m);
    leave();
}
END_TEST

/* ---- reading ---- */

static wire function_of(const char *name, wire node) {
    wire f = {0};
    w_text(&f, 1, name);
    w_text(&f, 4, "x");
    w_text(&f, 5, "y");
    w_message(&f, 7, node);
    w_text(&f, 10, "fovea");
    return f;
}

START_TEST(functions_are_walked) {
    enter();
    wire m = model_of(good_graph()); /* a function that no node calls changes nothing */
    wire reference = {0};
    w_text(&reference, 1, "alpha");
    w_int(&reference, 20, 1);
    w_text(&reference, 21, "k");
    wire n = node_of("LeakyRelu", "l", "x", "y");
    w_message(&n, 5, reference);
    w_message(&m, M_FUNCTIONS, function_of("leaky", n));
    w_message(&m, M_OPSET, opset_of("fovea", 1));
    same_answer(m);

    m = model_of(good_graph());
    w_message(&m, M_OPSET, opset_of("fovea", 2));
    refused(m, FV_ERR_UNSUPPORTED, "version 2 of fovea's functions; 1 is read");

    m = model_of(good_graph());
    w_int(&m, M_FUNCTIONS, 3); /* not a message */
    refused(m, FV_ERR_FORMAT, "wire type 0");

    m = model_of(good_graph());
    wire f = function_of("leaky", node_of("Relu", "l", "x", "y"));
    w_bytes(&f, 7, "\x22\x7f", 2); /* a node whose operator's name runs past its end */
    w_message(&m, M_FUNCTIONS, f);
    refused(m, FV_ERR_FORMAT, "runs past the end of its message");

    m = model_of(good_graph());
    f = function_of("leaky", node_of("Relu", "l", "x", "y"));
    w_bytes(&f, 1, "a\0b", 3);
    w_message(&m, M_FUNCTIONS, f);
    refused(m, FV_ERR_FORMAT, "not UTF-8 text");
    leave();
}
END_TEST

START_TEST(unknown_functions_are_named) {
    enter();
    static const char *const names[] = {"nothing", "nothing.2", ".2", "Conv", "Relu"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char sentence[100];
        wire n = node_of(names[i], "c", "x w b", "c.y");
        w_text(&n, 7, "fovea");
        snprintf(sentence, sizeof sentence, "node \"c\": operator %s of domain fovea is not supported", names[i]);
        refused(with_node(n), FV_ERR_UNSUPPORTED, sentence);
    }
    leave();
}
END_TEST

int main(void) {
    const TTest *const tests[] = {definitions_are_shared, functions_are_walked, unknown_functions_are_named, NULL};
    return run_tests("onnx_function", tests, 60);
}
