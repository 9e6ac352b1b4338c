/* The gradient check catches gradients that are wrong, forgotten or of the wrong mask, and fails where it proves
 * nothing. */
#include "check/grad.h"
#include "check/model_check.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void print_line(void *user, const char *line) {
    (void)user;
    puts(line);
}

static fv_check_options quick(const char *op) {
    fv_check_options o = fv_check_defaults();
    o.cases = 4;
    o.op = op;
    o.quiet = true;
    o.print = print_line;
    return o;
}

START_TEST(every_row_agrees) {
    fv_check_options o = quick(NULL);
    o.cases = 6; /* reaches every operator */
    fv_check_report r;
    ck_assert_int_eq(fv_grad_check(&o, &r), FV_CHECK_AGREE);
    ck_assert_uint_eq(r.slots, fv_grad_row_count());
    ck_assert_uint_eq(r.cases, r.slots * o.cases);
}
END_TEST

/* Builds that are wrong on purpose, each around a good one. */
static void scale_largest(const fv_grad_build *good, fv_grad_case *c, double factor) {
    fv_grad_variable *v = NULL;
    good->run(c);
    for (size_t i = 0; i < c->variable_count; i++)
        if (c->variables[i].gradient && (!v || c->variables[i].count > v->count)) v = &c->variables[i];
    for (size_t e = 0; v && e < v->count; e++) v->gradient[e] *= factor;
}
static void double_off(fv_grad_case *c) { scale_largest(&f64_fv_grad_double, c, 1.00001); }
static void float_off(fv_grad_case *c) { scale_largest(&fv_grad_float, c, 1.0001); }
static void all_zero(fv_grad_case *c) {
    f64_fv_grad_double.run(c);
    for (size_t i = 0; i < c->variable_count; i++)
        for (size_t e = 0; c->variables[i].gradient && e < c->variables[i].count; e++) c->variables[i].gradient[e] = 0;
    c->loss = 0;
}
static fv_status other_mask(const fv_grad_request *r, fv_grad_case **out) {
    fv_grad_request other = *r;
    other.attempt++; /* other values and another mask */
    return fv_grad_float.create(&other, out);
}
static bool has_nothing(const fv_grad_case *c, const char *op) {
    (void)c, (void)op;
    return false;
}

static fv_check_result checked(const char *op, const fv_grad_build *exact, const fv_grad_build *library) {
    fv_check_options o = quick(op);
    o.print = NULL;
    return fv_grad_check_builds(&o, exact, library, NULL);
}

START_TEST(wrong_builds_are_caught) {
    static const char *const rows[] = {"conv", "linear", "pool", "unary", "binary", "gain", "softmax", "loss", "graph"};
    fv_grad_build exact = f64_fv_grad_double, library = fv_grad_float;
    exact.run = double_off;
    library.run = float_off;
    for (size_t i = 0; i < FV_ARRAY_SIZE(rows); i++) {
        ck_assert_int_eq(checked(rows[i], &f64_fv_grad_double, &fv_grad_float), FV_CHECK_AGREE);
        ck_assert_int_eq(checked(rows[i], &exact, &fv_grad_float), FV_CHECK_MISMATCH);
        ck_assert_int_eq(checked(rows[i], &f64_fv_grad_double, &library), FV_CHECK_MISMATCH);
    }
}
END_TEST

START_TEST(other_values_are_caught) {
    fv_grad_build library = fv_grad_float;
    library.create = other_mask;
    ck_assert_int_eq(checked("dropout", &f64_fv_grad_double, &library), FV_CHECK_MISMATCH);
    ck_assert_int_eq(checked("conv", &f64_fv_grad_double, &library), FV_CHECK_MISMATCH);
}
END_TEST

START_TEST(zero_on_both_sides_fails) {
    fv_grad_build exact = f64_fv_grad_double;
    exact.run = all_zero;
    ck_assert_int_eq(checked("linear", &exact, &fv_grad_float), FV_CHECK_MISMATCH);
}
END_TEST

START_TEST(an_operator_left_out_fails) {
    fv_grad_build exact = f64_fv_grad_double;
    exact.has = has_nothing;
    ck_assert_int_eq(checked(NULL, &exact, &fv_grad_float), FV_CHECK_NOTHING);
}
END_TEST

static void loss_off(fv_grad_case *c) {
    fv_grad_float.run(c);
    c->loss *= 1.0001;
}
static void outputs_off(fv_grad_case *c) {
    fv_grad_float.run(c);
    for (size_t i = 0; i < c->variable_count; i++)
        if (c->variables[i].output) c->variables[i].gradient[0] *= 1.001;
}

/* What a row's forward pass gives is held as its gradient is: outputs, or the value of a training loss. */
START_TEST(wrong_outputs_and_losses_are_caught) {
    fv_grad_build library = fv_grad_float;
    library.run = loss_off;
    ck_assert_int_eq(checked("loss.cross_entropy.sum", &f64_fv_grad_double, &library), FV_CHECK_MISMATCH);
    ck_assert_int_eq(checked("loss.squared_error.mean", &f64_fv_grad_double, &library), FV_CHECK_MISMATCH);
    library.run = outputs_off;
    ck_assert_int_eq(checked("conv.true", &f64_fv_grad_double, &library), FV_CHECK_MISMATCH);
    fv_check_options o = quick("conv.stride");
    fv_grad_held held;
    ck_assert_int_eq(fv_grad_check_held(&o, &held), FV_CHECK_AGREE);
    ck_assert_uint_ge(held.outputs, 4);
    ck_assert_uint_gt(held.gradients, held.outputs / 100);
    ck_assert_uint_eq(held.output_failures + held.gradient_failures, 0);
    o.op = "no-such-row";
    ck_assert_int_eq(fv_grad_check_held(&o, &held), FV_CHECK_NOTHING);
    ck_assert_uint_eq(held.outputs + held.gradients, 0);
}
END_TEST

static fv_model *network(fv_context *c, const char *name, uint64_t seed) {
    fv_zoo_settings zoo;
    fv_model *m;
    fv_zoo_settings_default(&zoo);
    zoo.seed = seed;
    ck_assert_int_eq(fv_model_zoo(c, name, &zoo, &m), FV_OK);
    return m;
}

/* A model's shapes and nodes; the same network with other weights differs in every node with weights. */
START_TEST(models_are_checked) {
    fv_check_options o = quick(NULL);
    fv_check_report r;
    fv_context *c;
    fv_context_settings settings;
    fv_context_settings_default(&settings);
    settings.isa = "scalar";
    settings.threads = 1;
    ck_assert_int_eq(fv_context_create(&settings, &c), FV_OK);
    fv_model *m = network(c, "lenet5", 1), *other = network(c, "lenet5", 2);
    o.isa = "scalar"; /* which has no Winograd */
    ck_assert_int_eq(fv_model_check_shapes(m, &o, &r), FV_CHECK_AGREE);
    ck_assert_uint_eq(r.slots, 3 + 3 + 2 + 1);
    ck_assert_uint_eq(r.cases, 4 * (5 + 10 + 5 + 3 * 2 + 2 + 2 + 4)); /* 5 products, 2 through pools, 2 pools, 4 clamps */
    o.isa = NULL;
    ck_assert_int_eq(fv_model_check_nodes(m, m, "scalar", &o, &r), FV_CHECK_AGREE);
    ck_assert_uint_eq(r.slots, 7);
    o.print = NULL;
    ck_assert_int_eq(fv_model_check_nodes(m, other, "scalar", &o, &r), FV_CHECK_MISMATCH);
    ck_assert_uint_eq(r.mismatches, 7);
    o.op = "gain";
    ck_assert_int_eq(fv_model_check_shapes(m, &o, NULL), FV_CHECK_NOTHING);
    fv_model_free(other);
    fv_model_free(m);
    fv_context_free(c);
}
END_TEST

/* A convolution that Winograd suits, pooled; depthwise; locally connected; transposed. */
static fv_model *mixed(fv_context *c) {
    const int64_t shape[4] = {0, 32, 12, 12};
    fv_graph *g;
    fv_model *m;
    fv_conv_settings s;
    fv_pool_settings pool;
    fv_conv_transpose_settings up;
    fv_conv_settings_default(&s);
    fv_pool_settings_default(&pool);
    fv_conv_transpose_settings_default(&up);
    ck_assert_int_eq(fv_graph_create(c, &g), FV_OK);
    s.out_channels = 32;
    for (int i = 0; i < 2; i++) {
        s.kernel[i] = 3;
        s.pad_before[i] = s.pad_after[i] = 1;
        up.stride[i] = 2;
    }
    fv_value x = fv_graph_relu(g, fv_graph_conv(g, fv_graph_input(g, "x", 4, shape), &s, "conv"), NULL);
    x = fv_graph_pool(g, x, &pool, "pool");
    s.groups = 32;
    s.true_convolution = true;
    x = fv_graph_conv(g, x, &s, "depthwise");
    s.groups = 1;
    s.out_channels = 5;
    s.dilation[1] = 2;
    x = fv_graph_local(g, x, &s, "local");
    up.out_channels = 3;
    ck_assert_int_eq(fv_graph_output(g, fv_graph_conv_transpose(g, x, &up, "up"), "y"), FV_OK);
    ck_assert_int_eq(fv_model_create(g, 3, &m), FV_OK);
    fv_graph_free(g);
    return m;
}

/* Cases of each kind of convolution, and on how many ISAs. */
START_TEST(every_kind_of_convolution_is_checked) {
    static const struct {
        const char *op;
        uint64_t shapes;
    } slots[] = {{"depthwise.pack", 1},         {"depthwise.forward", 1},      {"depthwise.data_grad", 1},
                 {"depthwise.weight_grad", 1},  {"conv_pooled.pack", 1},       {"conv_pooled.weight_grad", 1},
                 {"conv_pooled.input_grad", 1}, {"conv.pack", 1 + 9 + 1},      {"conv.weight_grad", 1 + 9 + 1},
                 {"conv.forward", 2 + 18 + 5} /* the transposed one has four phases */};
    fv_context *c;
    ck_assert_int_eq(fv_context_create(NULL, &c), FV_OK);
    fv_model *m = mixed(c);
    for (size_t i = 0; i < sizeof slots / sizeof *slots; i++) {
        const fv_check_options o = quick(slots[i].op);
        fv_check_report r;
        ck_assert_msg(fv_model_check_shapes(m, &o, &r) == FV_CHECK_AGREE, "%s", slots[i].op);
        ck_assert_msg(r.cases == 4 * slots[i].shapes * r.slots, "%s: %d cases in %d slots", slots[i].op,
                      (int)r.cases, (int)r.slots);
    }
    const fv_check_options o = quick("winograd"), norms = quick("contrast");
    fv_check_report r;
    fv_model *jarrett = network(c, "jarrett", 1);
    ck_assert_int_eq(fv_model_check_shapes(jarrett, &norms, &r), FV_CHECK_AGREE);
    ck_assert_uint_eq(r.cases, r.slots / 10 * 4 * 2 * (3 + 8 - 1 + 1)); /* blur in both */
    fv_model_free(jarrett);
    const fv_check_result want = strcmp(fv_isa_best(), "scalar") == 0 ? FV_CHECK_NOTHING : FV_CHECK_AGREE;
    ck_assert_int_eq(fv_model_check_shapes(m, &o, NULL), want);
    fv_model_free(m);
    fv_context_free(c);
}
END_TEST

START_TEST(checking_nothing_fails) {
    fv_check_options o = quick("no-such-row");
    ck_assert_int_eq(fv_grad_check(&o, NULL), FV_CHECK_NOTHING);
    ck_assert_int_eq(fv_grad_list(&o), FV_CHECK_NOTHING);
    o = quick("linear");
    o.isa = "no-such-isa";
    ck_assert_int_eq(fv_grad_check(&o, NULL), FV_CHECK_NOTHING);
    o = quick("linear");
    o.cases = 0;
    ck_assert_int_eq(fv_grad_check(&o, NULL), FV_CHECK_NOTHING);
}
END_TEST

int main(void) {
    Suite *s = suite_create("grad");
    TCase *t = tcase_create("grad");
    tcase_set_timeout(t, 120);
    tcase_add_test(t, every_row_agrees);
    tcase_add_test(t, wrong_builds_are_caught);
    tcase_add_test(t, other_values_are_caught);
    tcase_add_test(t, zero_on_both_sides_fails);
    tcase_add_test(t, an_operator_left_out_fails);
    tcase_add_test(t, wrong_outputs_and_losses_are_caught);
    tcase_add_test(t, models_are_checked);
    tcase_add_test(t, every_kind_of_convolution_is_checked);
    tcase_add_test(t, checking_nothing_fails);
    suite_add_tcase(s, t);
    SRunner *runner = srunner_create(s);
    srunner_run_all(runner, CK_ENV);
    const int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
