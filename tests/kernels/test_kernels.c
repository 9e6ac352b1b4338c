/* The kernel check as Check tests: a few hundred cases a slot, the broken kernels, and filters that match nothing. */
#include "kernels/check/check.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void print_line(void *user, const char *line) {
    (void)user;
    puts(line);
}

static fv_check_options quick(void) {
    fv_check_options o = fv_check_defaults();
    o.cases = 300;
    o.quiet = true;
    o.print = print_line;
    return o;
}

START_TEST(every_slot_agrees) {
    const fv_check_options o = quick();
    fv_check_report r;
    ck_assert_int_eq(fv_check_run(&o, &r), FV_CHECK_AGREE);
    ck_assert_uint_ge(r.slots, 41);
    ck_assert_uint_eq(r.cases, r.slots * o.cases);
    ck_assert_uint_eq(r.mismatches, 0);
}
END_TEST

START_TEST(broken_kernels_are_caught) {
    fv_check_options o = quick();
    o.cases = 2000;
    fv_check_report r;
    ck_assert_int_eq(fv_check_self_test(&o, &r), FV_CHECK_AGREE);
    ck_assert_uint_ge(r.slots, 15);
    o.isa = "scalar";
    o.op = "pool";
    ck_assert_int_eq(fv_check_self_test(&o, &r), FV_CHECK_AGREE);
}
END_TEST

START_TEST(checking_nothing_fails) {
    fv_check_options o = quick();
    o.op = "conv.forwar";
    ck_assert_int_eq(fv_check_run(&o, NULL), FV_CHECK_NOTHING);
    ck_assert_int_eq(fv_check_list(&o), FV_CHECK_NOTHING);
    ck_assert_int_eq(fv_check_self_test(&o, NULL), FV_CHECK_NOTHING);
    o = quick();
    o.isa = "no-such-isa";
    ck_assert_int_eq(fv_check_run(&o, NULL), FV_CHECK_NOTHING);
    ck_assert_int_eq(fv_check_self_test(&o, NULL), FV_CHECK_NOTHING);
    o = quick();
    o.cases = 0;
    ck_assert_int_eq(fv_check_run(&o, NULL), FV_CHECK_NOTHING);
}
END_TEST

START_TEST(a_budget_reaches_every_slot) {
    fv_check_options o = quick();
    o.cases = 1000000;
    o.seconds = 0.5;
    o.op = "pointwise";
    fv_check_report r;
    ck_assert_int_eq(fv_check_run(&o, &r), FV_CHECK_AGREE);
    ck_assert_uint_ge(r.slots, 17);
    ck_assert_uint_lt(r.cases, 1000000);
}
END_TEST

static void count_line(void *user, const char *line) {
    (void)line;
    ++*(size_t *)user;
}

START_TEST(the_list_names_slots) {
    fv_check_options o = quick();
    size_t lines = 0;
    o.print = count_line;
    o.user = &lines;
    o.op = "conv.forward";
    o.isa = "scalar";
    ck_assert_int_eq(fv_check_list(&o), FV_CHECK_AGREE);
    ck_assert_uint_eq(lines, 1);
}
END_TEST

int main(void) {
    Suite *s = suite_create("kernels");
    TCase *t = tcase_create("check");
    tcase_set_timeout(t, 120);
    tcase_add_test(t, every_slot_agrees);
    tcase_add_test(t, broken_kernels_are_caught);
    tcase_add_test(t, checking_nothing_fails);
    tcase_add_test(t, a_budget_reaches_every_slot);
    tcase_add_test(t, the_list_names_slots);
    suite_add_tcase(s, t);
    SRunner *runner = srunner_create(s);
    srunner_run_all(runner, CK_ENV);
    const int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
