/* What fuzzing found in the reader of general tensors, limits that a caller sets, and the n-th allocation refused while an open model is
 * loaded, lowered, run and lowered again. */
#include "onnx_files.h"

/* x (any sizes) -> Shape -> Reshape back -> Softmax -> y */
static wire open_model(const char *input, const char *output) {
    wire g = {0};
    w_message(&g, G_NODE, node_of("Shape", "s", "x", "sizes"));
    w_message(&g, G_NODE, node_of("Reshape", "r", "x sizes", "z"));
    w_message(&g, G_NODE, node_of("Softmax", "p", "z", "y"));
    w_message(&g, G_INPUT, value_info_of(input, DIMS(0, 0)));
    w_message(&g, G_OUTPUT, value_info_of(output, DIMS(0, 0)));
    return model_of(g);
}

START_TEST(open_borders_have_names) {
    enter();
    fv_model *m;
    ok(load_wire(context, open_model("x", "y"), &m));
    fv_model_free(m);
    refused(open_model("", "y"), FV_ERR_FORMAT, "no name");
    refused(open_model("x", ""), FV_ERR_FORMAT, "");
    wire g = {0}; /* no name at all, not an empty one */
    w_message(&g, G_NODE, node_of("Shape", "s", "x", "sizes"));
    w_message(&g, G_NODE, node_of("Reshape", "r", "x sizes", "y"));
    w_message(&g, G_INPUT, value_info_of("x", DIMS(0, 0)));
    w_message(&g, G_INPUT, (wire){0});
    w_message(&g, G_OUTPUT, value_info_of("y", DIMS(0, 0)));
    w_message(&g, G_OUTPUT, (wire){0});
    refused(model_of(g), FV_ERR_FORMAT, "no name");
    leave();
}
END_TEST

START_TEST(nodes_without_outputs) {
    enter();
    static const char *const ops[] = {"Shape", "Size", "Identity", "Constant", "Split", "If", "MaxPool", "Abs"};
    for (size_t i = 0; i < sizeof ops / sizeof ops[0]; i++) refused(with_node(node_of(ops[i], "none", "x", "")), FV_ERR_FORMAT, "has no output");
    leave();
}
END_TEST

/* A 1-D window over x (1,1,9): no layer of maps, the general reader's own. */
static wire windowed(const char *op, const char *attribute, int64_t value, bool same) {
    wire g = {0}, n = node_of(op, "win", strcmp(op, "MaxPool") == 0 ? "x" : "x w", "y");
    if (strcmp(op, "MaxPool") == 0) node_attr(&n, attr_ints("kernel_shape", 1, (int64_t[]){2}));
    if (same) node_attr(&n, attr_text("auto_pad", "SAME_UPPER"));
    node_attr(&n, attr_ints(attribute, strcmp(attribute, "pads") == 0 ? 2 : 1, (int64_t[]){value, value}));
    w_message(&g, G_INITIALIZER, tensor_of("w", DIMS(1, 1, 2)));
    w_message(&g, G_NODE, n);
    w_message(&g, G_INPUT, value_info_of("x", DIMS(1, 1, 9)));
    w_message(&g, G_OUTPUT, value_info_of("y", DIMS(1, 1, 9)));
    return model_of(g);
}

START_TEST(general_windows_of_any_number) {
    enter();
    static const char *const ops[] = {"MaxPool", "Conv", "ConvTranspose"};
    static const char *const attributes[] = {"strides", "dilations", "pads"};
    static const int64_t values[] = {INT64_MAX, INT64_MIN, (int64_t)1 << 31};
    for (int op = 0; op < 3; op++)
        for (int a = 0; a < 3; a++)
            for (int v = 0; v < 3; v++)
                for (int same = 0; same < (a < 2 ? 2 : 1); same++) refused(windowed(ops[op], attributes[a], values[v], same), FV_ERR_SHAPE, "win");
    refused(windowed("ConvTranspose", "output_shape", INT64_MIN, false), FV_ERR_SHAPE, "out of range");
    refused(windowed("ConvTranspose", "output_padding", INT64_MAX, false), FV_ERR_SHAPE, "out of range");
    leave();
}
END_TEST

START_TEST(callers_set_limits) {
    fv_context_settings s = settings_of(FV_BACKEND_SERIAL, 1);
    fv_context *c = NULL;
    fv_model *m = NULL;
    wire_enter();
    s.model_nodes = -1;
    fails(fv_context_create(&s, &c), FV_ERR_ARGUMENT, "nodes");
    s.model_nodes = 3; /* the good graph has 4 */
    c = context_with(&s);
    fails(load_wire(c, model_of(good_graph()), &m), FV_ERR_LIMIT, "too many nodes");
    fv_context_free(c);
    s.model_nodes = 4;
    s.model_depth = 257;
    fails(fv_context_create(&s, &c), FV_ERR_ARGUMENT, "256");
    s.model_depth = 2; /* model, graph, node, attribute */
    c = context_with(&s);
    fails(load_wire(c, model_of(good_graph()), &m), FV_ERR_LIMIT, "deeper than 2");
    fv_context_free(c);
    s.model_depth = 0;
    s.memory_limit = 1500; /* a context fits, the model does not */
    c = context_with(&s);
    fails(load_wire(c, model_of(good_graph()), &m), FV_ERR_LIMIT, "");
    fv_context_free(c);
    s.memory_limit = 0;
    c = context_with(&s);
    ok(load_wire(c, model_of(good_graph()), &m));
    fv_model_free(m);
    fv_context_free(c);
    wire_leave();
}
END_TEST

/* Load, lower for one shape, run, lower for another, run. */
static fv_status life(fv_context *c) {
    static float x[12], y[12];
    fv_model *m = NULL;
    fv_session *session = NULL;
    fv_session_settings s;
    fv_session_settings_default(&s);
    const fv_tensor in = rows(x, 3, 4), out = rows(y, 3, 4), in2 = rows(x, 2, 5), out2 = rows(y, 2, 5);
    s.inputs = &in;
    s.input_count = 1;
    fv_status status = load_wire(c, open_model("x", "y"), &m);
    if (status == FV_OK) status = fv_session_create(m, &s, &session);
    if (status == FV_OK) status = fv_session_run(session, &in, 1, &out, 1);
    if (status == FV_OK) {
        status = fv_session_prepare(session, &in2, 1);
        if (status == FV_OK) status = fv_session_run(session, &in2, 1, &out2, 1);
        else ok(fv_session_run(session, &in, 1, &out, 1)); /* the old plan stands */
    }
    fv_session_free(session);
    fv_model_free(m);
    return status;
}

START_TEST(any_allocation_of_a_lowering_may_fail) {
    wire_enter();
    long calls = 0;
    for (long at = 0; at <= calls; at++) {
        ledger l = {0};
        fv_context_settings s = settings_of(FV_BACKEND_SERIAL, 1);
        ledger_use(&s, &l);
        fv_context *c = context_with(&s);
        const long before = l.calls;
        l.fail_at = at ? before + at : 0;
        const fv_status status = life(c);
        if (at == 0) {
            ok(status);
            calls = l.calls - before;
            ck_assert_int_gt(calls, 100);
        } else {
            ck_assert_msg(status == FV_ERR_MEMORY, "allocation %ld of %ld: %s: %s", at, calls, fv_status_name(status), fv_last_error());
        }
        fv_context_free(c);
        ck_assert_msg(l.blocks == 0, "allocation %ld refused: %ld blocks leak", at, (long)l.blocks);
    }
    wire_leave();
}
END_TEST

int main(void) {
    const TTest *const tests[] = {open_borders_have_names, nodes_without_outputs, general_windows_of_any_number, callers_set_limits,
                                  any_allocation_of_a_lowering_may_fail, NULL};
    return run_tests("hardening", tests, 120);
}
