/* General tensors: values of any type, empty axes, indices outside at run time, and what is refused. */
#include "graph/graph.h"
#include "ops/nd_resize.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

static fv_context *context;
static fv_graph *graph;

static void enter(void) {
    ck_assert_int_eq(fv_context_create(NULL, &context), FV_OK);
    ck_assert_int_eq(fv_graph_create(context, &graph), FV_OK);
}

static void leave(void) {
    fv_graph_free(graph);
    fv_context_free(context);
}

static fv_value constant(fv_dtype dtype, fv_shape shape, const void *data) {
    return fv_graph_constant(graph, NULL, dtype, &shape, data);
}

/* Runs the graph up to v and copies what it holds. */
static void values_of(fv_value v, void *out, size_t bytes) {
    static const fv_run_info nothing;
    fv_run_info run = nothing;
    const fv_plan_settings settings = {.run = &run};
    fv_plan *plan;
    ck_assert_msg(v != FV_NONE, "%s", fv_last_error());
    ck_assert_int_eq(fv_graph_output(graph, v, NULL), FV_OK);
    ck_assert_int_eq(fv_plan_create(graph, &settings, &plan), FV_OK);
    fv_plan_run(plan);
    if (bytes) memcpy(out, fv_plan_data(plan, v), bytes);
    fv_plan_free(plan);
}

static fv_value apply(const fv_op *op, int32_t count, const fv_value *in, fv_nd_attr a) {
    const fv_attributes attr = {.nd = a};
    return fv_graph_node(graph, op, NULL, in, count, 1, &attr);
}

static void refused(const fv_op *op, int32_t count, const fv_value *in, fv_nd_attr a, const char *words) {
    const fv_graph_mark before = fv_graph_marked(graph);
    ck_assert_int_eq(apply(op, count, in, a), FV_NONE);
    ck_assert_msg(strstr(fv_last_error(), words) != NULL, "\"%s\" lacks \"%s\"", fv_last_error(), words);
    fv_graph_rewind(graph, before);
}

START_TEST(small_types_keep_their_bits) {
    const uint16_t x[6] = {1, 2, 3, 4, 5, 65535};
    uint16_t y[6];
    enter();
    const fv_value in = constant(FV_F16, (fv_shape){2, {2, 3}}, x);
    values_of(apply(&fv_op_transpose, 1, &in, (fv_nd_attr){.count = 2, .a = {1, 0}}), y, sizeof y);
    for (int i = 0; i < 6; i++) ck_assert_uint_eq(y[i], x[i % 2 * 3 + i / 2]);
    const uint8_t flags[3] = {1, 0, 1};
    uint8_t z[7];
    const fv_value some = constant(FV_BOOL, (fv_shape){1, {3}}, flags);
    values_of(apply(&fv_op_pad, 1, &some, (fv_nd_attr){.count = 1, .kind = FV_ND_PAD_WRAP, .a = {2}, .b = {2}}), z, sizeof z);
    ck_assert_mem_eq(z, ((uint8_t[]){0, 1, 1, 0, 1, 1, 0}), 7);
    leave();
}
END_TEST

START_TEST(sums_of_integers_wrap_and_empty_sets_are_neutral) {
    const int32_t x[4] = {INT32_MAX, 1, -5, 3};
    int32_t sum[2], least[3];
    enter();
    const fv_value in = constant(FV_I32, (fv_shape){2, {2, 2}}, x);
    values_of(apply(&fv_op_reduce, 1, &in, (fv_nd_attr){.kind = FV_ND_SUM, .count = 1, .a = {-1}}), sum, sizeof sum);
    ck_assert_int_eq(sum[0], INT32_MIN);
    ck_assert_int_eq(sum[1], -2);
    const fv_value none = constant(FV_I32, (fv_shape){2, {0, 3}}, x);
    values_of(apply(&fv_op_reduce, 1, &none, (fv_nd_attr){.kind = FV_ND_MIN, .count = 1, .a = {0}}), least, sizeof least);
    for (int i = 0; i < 3; i++) ck_assert_int_eq(least[i], INT32_MAX);
    leave();
}
END_TEST

START_TEST(empty_axes_are_axes) {
    enter();
    const fv_value none = constant(FV_F32, (fv_shape){2, {0, 3}}, "");
    const fv_value two[2] = {none, none};
    const fv_value y = apply(&fv_op_nd_concat, 2, two, (fv_nd_attr){.a = {1}});
    ck_assert_int_eq(graph->values[y].shape.dim[1], 6);
    values_of(apply(&fv_op_reshape, 1, &y, (fv_nd_attr){.count = 2, .a = {2, 0}, .flag = true}), NULL, 0);
    values_of(apply(&fv_op_nd_slice, 1, &y, (fv_nd_attr){.count = 2, .b = {1, 1}, .c = {0, -1}}), NULL, 0);
    values_of(apply(&fv_op_tile, 1, &y, (fv_nd_attr){.count = 2, .a = {3, 0}}), NULL, 0);
    values_of(apply(&fv_op_transpose, 1, &y, (fv_nd_attr){.count = 2, .a = {1, 0}}), NULL, 0);
    leave();
}
END_TEST

/* A run cannot fail: indices outside go to the nearest end. Behind a node they are not checked ahead. */
START_TEST(indices_outside_stay_inside) {
    const float data[3] = {10, 20, 30};
    const int64_t places[4] = {INT64_MIN, -3, 2, INT64_MAX};
    float y[4], z[3];
    enter();
    const fv_value fixed = constant(FV_I64, (fv_shape){1, {4}}, places);
    fv_value in[3] = {constant(FV_F32, (fv_shape){1, {3}}, data),
                      apply(&fv_op_reshape, 1, &fixed, (fv_nd_attr){.count = 1, .a = {4}})};
    const float wanted[4] = {10, 10, 30, 30};
    values_of(apply(&fv_op_gather, 2, in, (fv_nd_attr){.a = {0}}), y, sizeof y);
    ck_assert_mem_eq(y, wanted, sizeof y);
    values_of(apply(&fv_op_gather_elements, 2, in, (fv_nd_attr){.a = {0}}), y, sizeof y);
    ck_assert_mem_eq(y, wanted, sizeof y);
    in[2] = constant(FV_F32, (fv_shape){1, {4}}, ((float[]){1, 2, 3, 4}));
    values_of(apply(&fv_op_scatter_elements, 3, in, (fv_nd_attr){.kind = FV_SCATTER_ADD, .a = {0}}), z, sizeof z);
    ck_assert_mem_eq(z, ((float[]){13, 20, 37}), sizeof z);
    in[1] = fixed;
    refused(&fv_op_gather, 2, in, (fv_nd_attr){.a = {0}}, "index -9223372036854775808 into an axis of size 3");
    leave();
}
END_TEST

START_TEST(nonsense_is_refused) {
    const float x[6] = {0};
    enter();
    const fv_value in[2] = {constant(FV_F32, (fv_shape){2, {2, 3}}, x), constant(FV_I32, (fv_shape){2, {2, 3}}, x)};
    refused(&fv_op_reshape, 1, in, (fv_nd_attr){.count = 2, .a = {-1, -1}}, "-1 on axes 0 and 1");
    refused(&fv_op_reshape, 1, in, (fv_nd_attr){.count = 3, .a = {2, 3, 0}}, "copies axis 2");
    refused(&fv_op_reshape, 1, in, (fv_nd_attr){.count = 1, .a = {5}}, "has 6 elements");
    refused(&fv_op_reshape, 1, in, (fv_nd_attr){.count = 1, .a = {INT64_MIN}}, "size -9223372036854775808");
    refused(&fv_op_transpose, 1, in, (fv_nd_attr){.count = 2, .a = {1, 1}}, "no permutation");
    refused(&fv_op_nd_concat, 2, in, (fv_nd_attr){.a = {1}}, "do not join");
    refused(&fv_op_nd_concat, 1, in, (fv_nd_attr){.a = {2}}, "axis 2");
    refused(&fv_op_nd_slice, 1, in, (fv_nd_attr){.count = 2, .a = {0, 2}, .b = {1, 1}, .c = {-1, 2}}, "axis 1");
    refused(&fv_op_reduce, 1, in, (fv_nd_attr){.count = 1, .a = {2}}, "axis 2");
    refused(&fv_op_pad, 1, in, (fv_nd_attr){.count = 2, .kind = FV_ND_PAD_REFLECT, .a = {2, 0}}, "reach beyond axis 0");
    refused(&fv_op_pad, 1, in, (fv_nd_attr){.count = 2, .a = {-3, 0}}, "leave nothing");
    refused(&fv_op_tile, 1, in, (fv_nd_attr){.count = 2, .a = {-1, 1}}, "-1 times");
    refused(&fv_op_top_k, 1, in, (fv_nd_attr){.a = {1}, .b = {4}}, "the 4 largest");
    refused(&fv_op_expand, 1, in, (fv_nd_attr){.count = 2, .a = {2, 4}}, "do not broadcast");
    fv_nd_attr scaled = {.count = 2, .a = {2, 3}};
    fv_resize_set_scale(&scaled, 0, 1);
    fv_resize_set_scale(&scaled, 1, 0.0 / 0.0);
    refused(&fv_op_resize, 1, in, scaled, "axis 1");
    leave();
}
END_TEST

int main(void) {
    Suite *s = suite_create("ops_nd");
    TCase *t = tcase_create("ops_nd");
    tcase_add_test(t, small_types_keep_their_bits);
    tcase_add_test(t, sums_of_integers_wrap_and_empty_sets_are_neutral);
    tcase_add_test(t, empty_axes_are_axes);
    tcase_add_test(t, indices_outside_stay_inside);
    tcase_add_test(t, nonsense_is_refused);
    suite_add_tcase(s, t);
    SRunner *runner = srunner_create(s);
    srunner_run_all(runner, CK_ENV);
    const int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
