/* A good ONNX model by parts, to be spoilt, and what must become of it. */
#ifndef FV_TESTS_ONNX_FILES_H
#define FV_TESTS_ONNX_FILES_H

#include "wire.h"

static fv_context *context;

static inline void enter(void) {
    fv_context_settings s = settings_of(FV_BACKEND_SERIAL, 1);
    s.memory_limit = (size_t)256 << 20;
    wire_enter();
    context = context_with(&s);
}

static inline void leave(void) {
    fv_context_free(context);
    wire_leave();
}

/* Ends w: it must not load, with a sentence that names the file and holds `part`. */
static inline void refused(wire w, fv_status wanted, const char *part) {
    fv_model *m = NULL;
    fails(load_wire(context, w, &m), wanted, part);
    ck_assert_msg(strstr(fv_last_error(), wire_path) != NULL, "%s", fv_last_error());
    ck_assert_ptr_null(m);
}

/* Ends w: it must load, plan and run; its outputs have `count` values. */
static inline void accepted(wire w, float *y, size_t count) {
    static float room[run_most];
    fv_model *m = NULL;
    ok(load_wire(context, w, &m));
    ck_assert_uint_eq(run_model(m, 1, room), count);
    memcpy(y, room, count * sizeof *y);
    fv_model_free(m);
}

/* ---- a good model: x (N,2,6,6) -> Conv -> Relu -> Flatten -> Gemm -> y (N,3) ---- */

static inline void good_conv(wire *g) {
    w_message(g, G_INITIALIZER, tensor_of("w", DIMS(4, 2, 3, 3)));
    w_message(g, G_INITIALIZER, tensor_of("b", DIMS(4)));
    w_message(g, G_NODE, node_of("Conv", "c", "x w b", "c.y"));
}

static inline void good_rest(wire *g) {
    w_message(g, G_INITIALIZER, tensor_of("fw", DIMS(3, 64)));
    wire gemm = node_of("Gemm", "fc", "f.y fw", "y");
    node_attr(&gemm, attr_int("transB", 1));
    w_message(g, G_NODE, node_of("Relu", "r", "c.y", "r.y"));
    w_message(g, G_NODE, node_of("Flatten", "f", "r.y", "f.y"));
    w_message(g, G_NODE, gemm);
}

static inline void borders(wire *g) {
    w_message(g, G_INPUT, value_info_of("x", DIMS(0, 2, 6, 6)));
    w_message(g, G_OUTPUT, value_info_of("y", DIMS(0, 3)));
}

static inline wire good_graph(void) {
    wire g = {0};
    good_conv(&g);
    good_rest(&g);
    borders(&g);
    return g;
}

static inline void good_answer(float y[3]) { accepted(model_of(good_graph()), y, 3); }

static inline void same_answer(wire w) {
    float want[3], y[3];
    good_answer(want);
    accepted(w, y, 3);
    ck_assert_int_eq(memcmp(want, y, sizeof y), 0);
}

/* The good graph with `n` in the place of its convolution. */
static inline wire with_node(wire n) {
    wire g = {0};
    w_message(&g, G_INITIALIZER, tensor_of("w", DIMS(4, 2, 3, 3)));
    w_message(&g, G_INITIALIZER, tensor_of("b", DIMS(4)));
    w_message(&g, G_NODE, n);
    good_rest(&g);
    borders(&g);
    return model_of(g);
}

#endif
