/* Concatenations without copies: the same bits as with them, in every kind of convolution that may write there. */
#include "unit.h"

enum { side = 14, channels = 8, classes = 3, images = 2 };

static fv_value conv_of(fv_graph *g, fv_value x, int32_t maps_out, int32_t kernel, int32_t groups, const char *name) {
    fv_conv_settings s;
    fv_conv_settings_default(&s);
    s.out_channels = maps_out;
    s.groups = groups;
    for (int i = 0; i < 2; i++) {
        s.kernel[i] = kernel;
        s.pad_before[i] = s.pad_after[i] = kernel / 2;
    }
    return fv_graph_relu(g, fv_graph_conv(g, x, &s, name), NULL);
}

/* 1x1, 3x3 (Winograd where that is chosen), 5x5 with a residual, depthwise (copied), a part read twice (copied), the input (copied), and a
 * concatenation within one. */
static fv_value network(fv_graph *g) {
    const int64_t shape[4] = {0, channels, side, side};
    const fv_value x = fv_graph_input(g, "x", 4, shape);
    const fv_value twice = conv_of(g, x, 5, 3, 1, "twice");
    const fv_value inner[2] = {conv_of(g, twice, 17, 1, 1, "inner1"), conv_of(g, twice, 16, 3, 1, "inner3")};
    fv_value parts[6] = {conv_of(g, x, 7, 1, 1, "one"), conv_of(g, x, 48, 3, 1, "three"), FV_NONE, conv_of(g, x, channels, 3, channels, "deep"), twice, x};
    const fv_value joined = fv_graph_concat(g, inner, 2, 1, "inner");
    parts[2] = fv_graph_add(g, conv_of(g, joined, channels, 5, 1, "five"), x, NULL);
    fv_value y = fv_graph_concat(g, parts, 6, 1, "outer");
    const fv_value last[2] = {y, joined};
    y = conv_of(g, fv_graph_concat(g, last, 2, 1, "last"), 4, 1, 1, "after");
    return fv_graph_linear(g, y, classes, true, FV_INIT_LECUN, "fc");
}

static void run_all(const fv_model *m, float *x, float *y, float *rest, size_t *joins) {
    fv_session_settings s;
    fv_session_settings_default(&s);
    s.batch = images;
    fv_session *session = NULL;
    ok(fv_session_create(m, &s, &session));
    const fv_tensor in = maps(x, images, channels, side, side);
    fv_tensor out[64];
    for (size_t i = 0, used = 0; i < fv_model_output_count(m); i++) {
        size_t count;
        ok(fv_model_output(m, i, NULL, &out[i]));
        out[i].shape[0] = images;
        ok(fv_tensor_count(&out[i], &count));
        out[i].data = i == 0 ? y : rest + used;
        used += i == 0 ? 0 : count;
    }
    ok(fv_session_run(session, &in, 1, out, fv_model_output_count(m)));
    *joins = 0;
    for (size_t i = 0; i < fv_session_node_count(session); i++) {
        fv_node_info n;
        ok(fv_session_node(session, i, &n));
        *joins += strcmp(n.op, "concat") == 0 && n.phases == 0;
    }
    fv_session_free(session);
}

START_TEST(the_same_bits_as_with_copies) {
    static float x[images * channels * side * side], rest[1 << 19];
    for (int ways = 0; ways < 4; ways++) {
        fv_context_settings settings = settings_of(FV_BACKEND_PTHREADS, 1 + ways % 2);
        settings.no_winograd = ways / 2;
        fv_context *c = context_with(&settings);
        fv_graph *g = NULL;
        fv_model *m = NULL, *exposed = NULL;
        float y[images * classes], z[images * classes];
        size_t joined, copied;
        ok(fv_graph_create(c, &g));
        ok(fv_graph_output(g, network(g), "y"));
        ok(fv_model_create(g, 5, &m));
        ok(fv_model_expose(m, &exposed));
        draw_all(x, images * channels * side * side, 2);
        run_all(m, x, y, rest, &joined);
        run_all(exposed, x, z, rest, &copied);
        ck_assert_uint_eq(joined, 1); /* the inner one; the others copy some of their parts */
        ck_assert_uint_eq(copied, 0);
        ck_assert_int_eq(memcmp(y, z, sizeof y), 0);
        fv_model_free(exposed);
        fv_model_free(m);
        fv_graph_free(g);
        fv_context_free(c);
    }
}
END_TEST

START_TEST(fire_modules_copy_nothing) {
    fv_context *c = context_of(FV_BACKEND_SERIAL, 1);
    fv_zoo_settings small;
    fv_zoo_settings_default(&small);
    small.height = small.width = 64;
    fv_model *m = NULL;
    fv_session *session = NULL;
    size_t joins = 0;
    ok(fv_model_zoo(c, "squeezenet1_1", &small, &m));
    ok(fv_session_create(m, NULL, &session));
    for (size_t i = 0; i < fv_session_node_count(session); i++) {
        fv_node_info n;
        ok(fv_session_node(session, i, &n));
        if (strcmp(n.op, "concat") != 0) continue;
        ck_assert_uint_eq(n.phases, 0);
        ck_assert_str_eq(n.algorithm, "in place");
        joins++;
    }
    ck_assert_uint_eq(joins, 8);
    fv_session_free(session);
    fv_model_free(m);
    fv_context_free(c);
}
END_TEST

int main(void) {
    const TTest *const tests[] = {the_same_bits_as_with_copies, fire_modules_copy_nothing, NULL};
    return run_tests("join", tests, 120);
}
