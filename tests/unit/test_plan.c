/* Plans of the least memory, and measured ones with their file of choices. */
#include "unit.h"

#include <math.h>
#include <unistd.h>

enum { side = 32, classes = 10, values = 3 * side * side };

static void write_file(const char *path, const char *text, size_t bytes) {
    FILE *f = fopen(path, "w");
    ck_assert_ptr_nonnull(f);
    ck_assert_uint_eq(fwrite(text, 1, bytes, f), bytes);
    fclose(f);
}

static fv_context *context_here(void) { return context_of(FV_BACKEND_PTHREADS, 2); }

static fv_model *net(fv_context *c, const char *name) {
    fv_zoo_settings small;
    fv_zoo_settings_default(&small);
    small.height = small.width = side;
    small.channels = 3;
    small.classes = classes;
    fv_model *m = NULL;
    ok(fv_model_zoo(c, name, &small, &m));
    return m;
}

static fv_session *session_of(const fv_model *m, fv_plan_mode plan, const char *choices, int64_t batch) {
    fv_session_settings s;
    fv_session *session = NULL;
    fv_session_settings_default(&s);
    s.plan = plan;
    s.choices = choices;
    s.batch = batch;
    ok(fv_session_create(m, &s, &session));
    return session;
}

static void run_on(fv_session *s, const float *x, int64_t n, float *y) {
    const fv_tensor in = maps((float *)x, n, 3, side, side), out = rows(y, n, classes);
    ok(fv_session_run(s, &in, 1, &out, 1));
}

static float largest_difference(const float *a, const float *b, size_t n) {
    float most = 0;
    for (size_t i = 0; i < n; i++) most = fmaxf(most, fabsf(a[i] - b[i]));
    return most;
}

static bool uses(const fv_session *s, const char *word) {
    for (size_t i = 0; i < fv_session_node_count(s); i++) {
        fv_node_info n;
        ok(fv_session_node(s, i, &n));
        if (strstr(n.algorithm, word)) return true;
    }
    return false;
}

/* Also with batch normalization folded, depthwise layers, and fully connected ones over maps. */
START_TEST(lean_holds_every_weight_once) {
    static const char *const names[] = {"resnet18-cifar", "mobilenet-cifar", "squeezenet1_1", "lenet5", "cnn"};
    static float x[3 * values], fast[3 * classes], lean[3 * classes];
    fv_context *c = context_here();
    draw_all(x, 3 * values, 3);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        fv_model *a = net(c, names[i]), *b = net(c, names[i]);
        fv_session *first = session_of(a, FV_PLAN_FAST, NULL, 3), *second = session_of(b, FV_PLAN_LEAN, NULL, 3);
        fv_memory held, less;
        ok(fv_session_memory(first, &held));
        ok(fv_session_memory(second, &less));
        ck_assert_msg(!uses(second, "winograd"), "%s uses Winograd", names[i]);
        ck_assert_msg(less.packed <= held.packed && less.arena <= held.arena, "%s takes more", names[i]);
        ck_assert_msg(less.weights < held.packed / 4, "%s keeps %zu bytes beside %zu packed", names[i], less.weights,
                      less.packed);
        ck_assert_uint_ge(held.weights, less.weights + less.packed / 2);
        run_on(first, x, 3, fast);
        run_on(second, x, 3, lean);
        ck_assert_float_le(largest_difference(fast, lean, 3 * classes), 1e-3f);
        /* Other batches of the same model find what was packed; an image's bits are the same. */
        fv_session *alone = session_of(b, FV_PLAN_LEAN, NULL, 1);
        run_on(alone, x + values, 1, fast);
        ck_assert_int_eq(memcmp(fast, lean + classes, classes * sizeof *fast), 0);
        fv_session_free(alone);
        fv_session_free(second);
        fv_session_free(first);
        fv_model_free(b);
        fv_model_free(a);
    }
    fv_context_free(c);
}
END_TEST

/* Two layers of the same numbers, batch normalization folded into both: what is folded is held once, by two values. */
static fv_model *twins(fv_context *c, int64_t channels) {
    fv_graph *g;
    fv_model *m;
    const int64_t in[4] = {0, 3, side, side}, first[4] = {channels, 3, 3, 3}, w[4] = {channels, channels, 3, 3}, each[1] = {channels};
    fv_conv_settings s;
    fv_conv_settings_default(&s);
    s.padding = FV_PAD_SAME_UPPER;
    ok(fv_graph_create(c, &g));
    fv_value y = fv_graph_input(g, "x", 4, in);
    const fv_value shared = fv_graph_parameter(g, "w", 4, w, NULL, FV_INIT_HE, true),
                   gain = fv_graph_parameter(g, "gain", 1, each, NULL, FV_INIT_ONES, true),
                   shift = fv_graph_parameter(g, "shift", 1, each, NULL, FV_INIT_ZEROS, true),
                   mean = fv_graph_parameter(g, "mean", 1, each, NULL, FV_INIT_ZEROS, false),
                   variance = fv_graph_parameter(g, "variance", 1, each, NULL, FV_INIT_ONES, false);
    y = fv_graph_conv_with(g, y, fv_graph_parameter(g, "first", 4, first, NULL, FV_INIT_HE, true), FV_NONE, &s, NULL);
    for (int i = 0; i < 2; i++) {
        y = fv_graph_conv_with(g, y, shared, FV_NONE, &s, NULL);
        y = fv_graph_relu(g, fv_graph_batch_norm_with(g, y, gain, shift, mean, variance, NULL, NULL), NULL);
    }
    ok(fv_graph_output(g, fv_graph_linear(g, fv_graph_flatten(g, y, NULL), classes, true, FV_INIT_HE, NULL), "y"));
    ok(fv_model_create(g, 7, &m));
    fv_graph_free(g);
    return m;
}

START_TEST(lean_frees_nothing_that_another_layer_reads) {
    static float x[values], fast[classes], lean[classes];
    fv_context *c = context_here();
    draw_all(x, values, 3);
    fv_model *a = twins(c, 64), *b = twins(c, 64);
    fv_session *first = session_of(a, FV_PLAN_FAST, NULL, 1), *second = session_of(b, FV_PLAN_LEAN, NULL, 1);
    run_on(first, x, 1, fast);
    run_on(second, x, 1, lean);
    float most = 0;
    for (int i = 0; i < classes; i++) most = fmaxf(most, fabsf(fast[i]));
    ck_assert_float_gt(most, 0.01f);
    ck_assert_float_le(largest_difference(fast, lean, classes), 1e-3f * most);
    fv_session_free(first);
    fv_session_free(second);
    fv_model_free(a);
    fv_model_free(b);
    fv_context_free(c);
}
END_TEST

/* Its weights are its own, whatever became of those it began with. */
START_TEST(a_trained_model_is_whole) {
    fv_context *c = context_here();
    fv_model *m = net(c, "lenet5"), *trained = NULL;
    fv_trainer_settings settings;
    fv_trainer_settings_default(&settings);
    fv_trainer *t = NULL;
    ok(fv_trainer_create(m, &settings, &t));
    fv_session *s = session_of(m, FV_PLAN_LEAN, NULL, 1);
    ok(fv_trainer_model(t, &trained));
    ok(fv_model_save(trained, "trained.onnx"));
    (void)unlink("trained.onnx");
    fv_session_free(s);
    fv_model_free(trained);
    fv_trainer_free(t);
    fv_model_free(m);
    fv_context_free(c);
}
END_TEST

START_TEST(a_model_whose_weights_went_says_so) {
    fv_context *c = context_here();
    fv_model *m = net(c, "resnet18-cifar"), *other = NULL;
    fv_session *lean = session_of(m, FV_PLAN_LEAN, NULL, 1), *none = NULL;
    fv_trainer *t = NULL;
    fv_tensor w;
    fails(fv_session_create(m, NULL, &none), FV_ERR_STATE, "load it again");
    fails(fv_trainer_create(m, NULL, &t), FV_ERR_STATE, "load it again");
    fails(fv_model_save(m, "never.onnx"), FV_ERR_STATE, "load it again");
    fails(fv_model_parameter(m, 0, NULL, &w, NULL), FV_ERR_STATE, "load it again");
    fails(fv_model_expose(m, &other), FV_ERR_STATE, "load it again");
    fv_session_free(lean);
    fv_model_free(m);
    /* Beside another session nothing goes. */
    m = net(c, "resnet18-cifar");
    fv_session *fast = session_of(m, FV_PLAN_FAST, NULL, 1);
    lean = session_of(m, FV_PLAN_LEAN, NULL, 1);
    ok(fv_model_parameter(m, 0, NULL, &w, NULL));
    none = session_of(m, FV_PLAN_FAST, NULL, 2);
    fv_session_free(none);
    fv_session_free(lean);
    fv_session_free(fast);
    fv_model_free(m);
    fv_context_free(c);
}
END_TEST

START_TEST(measured_choices_are_kept_and_obeyed) {
    static float x[values], first[classes], again[classes];
    char path[] = "/tmp/fovea-choices-XXXXXX", line[1024], text[1 << 16] = "";
    fv_context *c = context_here();
    fv_cpu_info cpu;
    ok(fv_context_info(c, &cpu));
    if (strcmp(cpu.isa, "scalar") == 0) { /* one algorithm: nothing to measure */
        fv_context_free(c);
        return;
    }
    const int file = mkstemp(path);
    ck_assert_int_ge(file, 0);
    close(file);
    remove(path);
    draw_all(x, values, 3);
    fv_model *m = net(c, "resnet18-cifar");
    fv_session *s = session_of(m, FV_PLAN_MEASURE, path, 1);
    run_on(s, x, 1, first);
    fv_session_free(s);
    fv_model_free(m);
    FILE *f = fopen(path, "r");
    ck_assert_ptr_nonnull(f);
    /* Every choice is turned to the direct sum: the file decides. */
    while (fgets(line, sizeof line, f)) {
        char *algorithm = strstr(line, " | F("), *rest = algorithm ? strstr(algorithm + 3, " | ") : NULL;
        if (rest) {
            *algorithm = '\0';
            strcat(strcat(strcat(text, line), " | indirect"), rest);
        } else
            strcat(text, line);
    }
    fclose(f);
    ck_assert_ptr_nonnull(strstr(text, "N1 C64 32x32 K64"));
    write_file(path, text, strlen(text));
    m = net(c, "resnet18-cifar");
    s = session_of(m, FV_PLAN_MEASURE, path, 1);
    ck_assert(!uses(s, "winograd"));
    run_on(s, x, 1, again);
    ck_assert_float_le(largest_difference(first, again, classes), 1e-3f);
    fv_session_free(s);
    fv_model_free(m);
    remove(path);
    fv_context_free(c);
}
END_TEST

START_TEST(a_bad_file_of_choices_is_named) {
    static const struct {
        const char *text, *words;
    } bad[] = {{"", "first line"},
               {"fovea choices 2\n", "first line"},
               {"fovea choices 1\n# x\n\na | b | c\n", "line 4"},
               {"fovea choices 1\na | b | c | d | e | F(3,3) | 1\n", "line 2"},
               {"fovea choices 1\na | b | c | d | e | F(2,3) | 1 | 2\n", "line 2"}};
    fv_context *c = context_here();
    fv_model *m = net(c, "lenet5");
    fv_session *session = NULL;
    fv_session_settings s;
    fv_session_settings_default(&s);
    s.plan = FV_PLAN_MEASURE;
    char path[] = "/tmp/fovea-choices-XXXXXX";
    const int file = mkstemp(path);
    ck_assert_int_ge(file, 0);
    close(file);
    s.choices = path;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        write_file(s.choices, bad[i].text, strlen(bad[i].text));
        fails(fv_session_create(m, &s, &session), FV_ERR_FORMAT, bad[i].words);
    }
    remove(s.choices);
    s.plan = FV_PLAN_FAST;
    fails(fv_session_create(m, &s, &session), FV_ERR_ARGUMENT, "FV_PLAN_MEASURE's alone");
    s.choices = NULL;
    s.plan = (fv_plan_mode)7;
    fails(fv_session_create(m, &s, &session), FV_ERR_ARGUMENT, "not 7");
    fv_model_free(m);
    fv_context_free(c);
}
END_TEST

static fv_pass_info pass_of(const fv_session *s, const char *name) {
    fv_pass_info p = {0};
    for (size_t i = 0; i < fv_session_pass_count(s); i++) {
        ok(fv_session_pass(s, i, &p));
        if (strcmp(p.name, name) == 0) return p;
    }
    ck_abort_msg("no pass %s", name);
}

/* Convolution, normalization, clamp; again; sum with the first clamp's output; softplus in place; a node nobody reads.
 */
START_TEST(passes_tell_what_they_did) {
    enum { maps_here = 16, edge = 8, bytes = 4 * maps_here * edge * edge };
    const int64_t shape[4] = {0, maps_here, edge, edge};
    fv_context *c = context_here();
    fv_graph *g = NULL;
    fv_model *m = NULL;
    fv_conv_settings conv;
    fv_conv_settings_default(&conv);
    conv.out_channels = maps_here;
    conv.padding = FV_PAD_SAME_UPPER;
    ok(fv_graph_create(c, &g));
    const fv_value x = fv_graph_input(g, "x", 4, shape);
    const fv_value first = fv_graph_relu(g, fv_graph_batch_norm(g, fv_graph_conv(g, x, &conv, "a"), NULL, "an"), "ar");
    fv_graph_tanh(g, first, "unread");
    const fv_value sum = fv_graph_add(g, fv_graph_conv(g, first, &conv, "b"), first, "sum");
    ok(fv_graph_output(g, fv_graph_tanh(g, fv_graph_sigmoid(g, sum, "s"), "t"), "y"));
    ok(fv_model_create(g, 1, &m));
    fv_session *s = session_of(m, FV_PLAN_FAST, NULL, 1);
    static const struct {
        const char *name;
        size_t count, nodes;
        double bytes;
    } wanted[] = {{"dead nodes", 1, 1, 2 * bytes},
                  {"batch-norm folding", 1, 1, 2 * bytes + 4 * 4 * maps_here},
                  {"activation fusion", 1, 1, 2 * bytes},
                  {"residual fusion", 1, 1, 2 * bytes},
                  {"layout", 2, 0, 0},
                  {"constant folding", 0, 0, 0}};
    for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++) {
        const fv_pass_info p = pass_of(s, wanted[i].name);
        ck_assert_msg(p.count == wanted[i].count && p.nodes == wanted[i].nodes && p.bytes == wanted[i].bytes,
                      "%s: %zu times, %zu nodes, %g bytes", p.name, p.count, p.nodes, p.bytes);
    }
    ck_assert_uint_ge(pass_of(s, "in-place reuse").count, 1);
    fv_session_free(s);
    fv_model_free(m);
    fv_graph_free(g);
    fv_context_free(c);
}
END_TEST

int main(void) {
    const TTest *const tests[] = {lean_holds_every_weight_once, lean_frees_nothing_that_another_layer_reads, a_trained_model_is_whole, passes_tell_what_they_did,
                                  a_model_whose_weights_went_says_so, measured_choices_are_kept_and_obeyed,
                                  a_bad_file_of_choices_is_named,     NULL};
    return run_tests("plan", tests, 120);
}
