/* The gradient check catches gradients that are wrong, forgotten or of the wrong mask, and fails where it proves
 * nothing. */
#include "check/grad.h"
#include "check/model_check.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>

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
    ck_assert_int_eq(fv_model_check_shapes(m, &o, &r), FV_CHECK_AGREE);
    ck_assert_uint_eq(r.cases, r.slots / 5 * 4 * (5 + 10 + 5 + 2 + 2)); /* 5 products, 2 pools */
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
    tcase_add_test(t, checking_nothing_fails);
    suite_add_tcase(s, t);
    SRunner *runner = srunner_create(s);
    srunner_run_all(runner, CK_ENV);
    const int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
