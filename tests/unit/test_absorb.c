/* What a plan takes into a layer or leaves out: padding before a convolution, transposes there and back. */
#include "graph/graph.h"
#include "unit.h"

enum { side = 9, channels = 8, out_channels = 5, images = 2, most = 4096 };

static fv_value general(fv_graph *g, const fv_op *op, fv_value x, fv_value more, const fv_nd_attr *a) {
    const fv_attributes attr = {.nd = *a};
    const fv_value in[2] = {x, more};
    return fv_graph_node(g, op, NULL, in, more == FV_NONE ? 1 : 2, 1, &attr);
}

static fv_value conv_of(fv_graph *g, fv_value x, const int32_t before[2], const int32_t after[2]) {
    fv_conv_settings s;
    fv_conv_settings_default(&s);
    s.out_channels = out_channels;
    for (int i = 0; i < 2; i++) {
        s.kernel[i] = 3;
        s.stride[i] = 2;
        s.pad_before[i] = before[i];
        s.pad_after[i] = after[i];
    }
    return fv_graph_conv(g, x, &s, "conv");
}

/* Runs the network; how many nodes of its plan are of this operator. */
static size_t run(fv_graph *g, fv_value y, const char *op, float *out, size_t *count) {
    static float x[images * channels * side * side];
    fv_model *m = NULL;
    fv_session *session = NULL;
    fv_session_settings s;
    fv_tensor t;
    size_t found = 0;
    draw_all(x, sizeof x / sizeof *x, 3);
    ok(fv_graph_output(g, y, "y"));
    ok(fv_model_create(g, 11, &m));
    fv_session_settings_default(&s);
    s.batch = images;
    ok(fv_session_create(m, &s, &session));
    ok(fv_session_output(session, 0, NULL, &t));
    ok(fv_tensor_count(&t, count));
    ck_assert_uint_le(*count, most);
    t.layout = FV_PLAIN;
    t.data = out;
    const fv_tensor in = maps(x, images, channels, side, side);
    ok(fv_session_run(session, &in, 1, &t, 1));
    for (size_t i = 0; i < fv_session_node_count(session); i++) {
        fv_node_info n;
        ok(fv_session_node(session, i, &n));
        found += strcmp(n.op, op) == 0;
    }
    fv_session_free(session);
    fv_model_free(m);
    fv_graph_free(g);
    return found;
}

static fv_graph *begin(fv_context *c, fv_value *x) {
    const int64_t shape[4] = {0, channels, side, side};
    fv_graph *g = NULL;
    ok(fv_graph_create(c, &g));
    *x = fv_graph_input(g, "x", 4, shape);
    return g;
}

/* Rows 1 and 2, columns 0 and 3, beside the convolution's own 1 all around; then with another value, and on maps. */
START_TEST(padding_goes_into_the_convolution) {
    static const int32_t own[2] = {1, 1}, before[2] = {2, 1}, after[2] = {3, 4};
    static float a[most], b[most];
    fv_context *c = context_of(FV_BACKEND_SERIAL, 1);
    const fv_shape single = {0};
    const float zero = 0, one = 1;
    fv_value x;
    size_t left, right;
    fv_graph *g = begin(c, &x);
    ck_assert_uint_eq(run(g, conv_of(g, x, before, after), "pad", a, &left), 0);
    for (int form = 0; form < 5; form++) {
        fv_nd_attr pad = {
            .kind = form == 2 ? FV_ND_PAD_EDGE : FV_ND_PAD_CONSTANT, .count = 4, .a = {0, 0, 1, 0}, .b = {0, 0, 2, 3}};
        g = begin(c, &x);
        const fv_value fill = form == 1   ? fv_graph_constant(g, NULL, FV_F32, &single, &one)
                              : form == 4 ? fv_graph_constant(g, NULL, FV_F32, &single, &zero)
                                          : FV_NONE;
        if (form == 3) pad.a[2] = -1; /* cut */
        const size_t pads = run(g, conv_of(g, general(g, &fv_op_pad, x, fill, &pad), own, own), "pad", b, &right);
        ck_assert_msg(pads == (form > 0 && form < 4), "form %d: %zu nodes pad", form, pads);
        if (form >= 3) continue; /* other sizes; another number of parameters, and so other weights */
        ck_assert_uint_eq(left, right);
        ck_assert_msg((memcmp(a, b, left * sizeof *a) == 0) == (form == 0), "form %d", form);
    }
    fv_context_free(c);
}
END_TEST

/* To pixels first and back, into a convolution or as the output; a third of the way round is none back. */
START_TEST(transposes_there_and_back_are_gone) {
    static const int32_t own[2] = {1, 1};
    static float a[most], b[most];
    const fv_nd_attr there = {.count = 4, .a = {0, 2, 3, 1}}, back = {.count = 4, .a = {0, 3, 1, 2}};
    fv_context *c = context_of(FV_BACKEND_SERIAL, 1);
    fv_value x;
    size_t left, right;
    for (int form = 0; form < 3; form++) {
        fv_graph *g = begin(c, &x);
        ck_assert_uint_eq(
            run(g, form == 0 ? conv_of(g, x, own, own) : fv_graph_relu(g, x, NULL), "transpose", a, &left), 0);
        g = begin(c, &x);
        if (form) x = fv_graph_relu(g, x, NULL);
        fv_value y = general(g, &fv_op_transpose, x, FV_NONE, &there);
        y = general(g, &fv_op_transpose, y, FV_NONE, form == 2 ? &there : &back);
        const size_t turned = run(g, form == 0 ? conv_of(g, y, own, own) : y, "transpose", b, &right);
        ck_assert_msg(turned == (form == 2 ? 2 : 0), "form %d: %zu transposes", form, turned);
        ck_assert_uint_eq(left, right);
        if (form < 2) ck_assert_mem_eq(a, b, left * sizeof *a);
    }
    fv_context_free(c);
}
END_TEST

int main(void) {
    const TTest *const tests[] = {padding_goes_into_the_convolution, transposes_there_and_back_are_gone, NULL};
    return run_tests("absorb", tests, 60);
}
