/* Files with pooling, joins and cuts in forms that fovea does not write, and with what must be refused. */
#include "onnx_files.h"

/* int64 values as raw bytes. */
static wire list_of(const char *name, size_t n, const int64_t *values) {
    const int64_t dims = (int64_t)n;
    wire t = tensor_head(name, 7, 1, &dims);
    w_bytes(&t, 9, values, n * sizeof *values);
    return t;
}

/* x (N,4,6,6) through node n, which makes y (N,c,h,w). */
static wire around(wire g, wire n, int64_t c, int64_t h, int64_t w) {
    w_message(&g, G_NODE, n);
    w_message(&g, G_INPUT, value_info_of("x", DIMS(0, 4, 6, 6)));
    w_message(&g, G_OUTPUT, value_info_of("y", DIMS(0, c, h, w)));
    return model_of(g);
}

static wire slice_of(size_t n, const int64_t *starts, const int64_t *ends, const int64_t *axes, const int64_t *steps,
                     int64_t c, int64_t h, int64_t w) {
    wire g = {0};
    w_message(&g, G_INITIALIZER, list_of("s", n, starts));
    w_message(&g, G_INITIALIZER, list_of("e", n, ends));
    w_message(&g, G_INITIALIZER, list_of("a", n, axes));
    w_message(&g, G_INITIALIZER, list_of("t", n, steps));
    return around(g, node_of("Slice", "n", "x s e a t", "y"), c, h, w);
}

/* Counted from the end, beyond the end, and with steps of rows and columns. */
START_TEST(slices_of_any_form) {
    static float x[4 * 36], y[4 * 36];
    enter();
    draw_all(x, 4 * 36, 21); /* what accepted() runs on */
    accepted(slice_of(3, (int64_t[]){-3, INT64_MIN, 1}, (int64_t[]){-1, INT64_MAX, 6}, (int64_t[]){1, -2, 3},
                      (int64_t[]){1, 2, 3}, 2, 3, 2),
             y, 12);
    for (int i = 0; i < 12; i++) ck_assert(y[i] == x[(1 + i / 6) * 36 + 2 * (i / 2 % 3) * 6 + 1 + 3 * (i % 2)]);
    refused(slice_of(1, (int64_t[]){0}, (int64_t[]){2}, (int64_t[]){1}, (int64_t[]){0}, 2, 6, 6), FV_ERR_SHAPE,
            "a step of 0");
    accepted(slice_of(1, (int64_t[]){5}, (int64_t[]){0}, (int64_t[]){1}, (int64_t[]){-1}, 3, 6, 6), y, 108);
    for (int i = 0; i < 108; i++) ck_assert(y[i] == x[(3 - i / 36) * 36 + i % 36]);
    refused(slice_of(1, (int64_t[]){0}, (int64_t[]){2}, (int64_t[]){4}, (int64_t[]){1}, 4, 6, 6), FV_ERR_SHAPE,
            "axis 4 of a tensor of rank 4");
    leave();
}
END_TEST

static wire split_of(const char *outputs, int64_t axis, size_t n, const int64_t *sizes) {
    wire g = {0}, node = node_of("Split", "n", n ? "x s" : "x", outputs);
    if (n) w_message(&g, G_INITIALIZER, list_of("s", n, sizes));
    node_attr(&node, attr_int("axis", axis));
    return around(g, node, 3, 6, 6);
}

START_TEST(splits_and_joins) {
    static float x[4 * 36], y[4 * 36];
    wire g = {0}, join = node_of("Concat", "n", "x x", "y");
    enter();
    draw_all(x, 4 * 36, 21);
    accepted(split_of("a y", -3, 2, (int64_t[]){1, 3}), y, 108);
    ck_assert_mem_eq(y, x + 36, 108 * sizeof *y);
    refused(split_of("a y", 1, 2, (int64_t[]){1, 2}), FV_ERR_SHAPE, "its parts have 3 together");
    refused(split_of("a y", 1, 2, (int64_t[]){INT64_MIN, 4}), FV_ERR_SHAPE, "part 0 has size");
    refused(split_of("a y", 1, 3, (int64_t[]){1, 1, 2}), FV_ERR_SHAPE, "node \"n\" (Split): 3 sizes for 2 outputs");
    refused(split_of("a b c d e y", 1, 0, NULL), FV_ERR_SHAPE, "node \"n\" (Split): an axis of size 4 is not cut into 6 equal parts");
    node_attr(&join, attr_int("axis", -9));
    refused(around(g, join, 8, 6, 6), FV_ERR_SHAPE, "axis -9 of a tensor of rank 4");
    leave();
}
END_TEST

static wire unpool_of(int64_t kernel, int64_t stride, const int64_t *size) {
    wire g = {0}, pool = node_of("MaxPool", "p", "x", "v i"),
         back = node_of("MaxUnpool", "n", size ? "v i s" : "v i", "y");
    node_attr(&pool, attr_ints("kernel_shape", 2, (int64_t[]){2, 2}));
    node_attr(&pool, attr_ints("strides", 2, (int64_t[]){2, 2}));
    node_attr(&back, attr_ints("kernel_shape", 2, (int64_t[]){kernel, kernel}));
    node_attr(&back, attr_ints("strides", 2, (int64_t[]){stride, stride}));
    if (size) w_message(&g, G_INITIALIZER, list_of("s", 4, size));
    w_message(&g, G_NODE, pool);
    return around(g, back, 4, 6, 6);
}

/* With output_shape the batch in it counts for nothing. */
START_TEST(unpooling_has_a_size) {
    static float y[4 * 36], z[4 * 36];
    enter();
    accepted(unpool_of(2, 2, NULL), y, 144);
    accepted(unpool_of(3, 1, (int64_t[]){7, 4, 6, 6}), z, 144);
    ck_assert_mem_eq(y, z, sizeof y);
    refused(unpool_of(2, 2, (int64_t[]){1, 3, 6, 6}), FV_ERR_SHAPE, "output_shape does not fit");
    refused(unpool_of(2, 2, (int64_t[]){1, 4, 6, INT64_MIN}), FV_ERR_SHAPE, "an output of 6x");
    refused(unpool_of(0, -1, NULL), FV_ERR_SHAPE, "an output of -2x-2");
    leave();
}
END_TEST

/* Maps that windows of 2 do not fill, given back by output_shape: indices of a pooling are places in them, on 1 to 3 axes. */
START_TEST(unpooling_finds_odd_sizes) {
    static const int64_t twos[3] = {2, 2, 2}, shape[5] = {1, 2, 5, 7, 3};
    static float x[210], y[210];
    enter();
    for (size_t axes = 1; axes <= 3; axes++) {
        wire g = {0}, pool = node_of("MaxPool", "p", "x", "v i"), back = node_of("MaxUnpool", "n", "v i s", "y");
        size_t count = 2;
        for (size_t i = 0; i < axes; i++) count *= (size_t)shape[2 + i];
        for (int i = 0; i < 2; i++) {
            node_attr(i ? &back : &pool, attr_ints("kernel_shape", axes, twos));
            node_attr(i ? &back : &pool, attr_ints("strides", axes, twos));
        }
        w_message(&g, G_INITIALIZER, list_of("s", axes + 2, shape));
        w_message(&g, G_NODE, pool);
        w_message(&g, G_NODE, back);
        w_message(&g, G_INPUT, value_info_of("x", axes + 2, shape));
        w_message(&g, G_OUTPUT, value_info_of("y", axes + 2, shape));
        draw_all(x, count, 21);
        accepted(model_of(g), y, count);
        for (size_t i = 0; i < count; i++) { /* kept: the largest of its window */
            size_t rest = i, corner = i, step[3] = {0}, width = 1;
            bool largest = true;
            for (size_t a = axes; a-- > 0; width *= (size_t)shape[2 + a]) {
                const size_t at = rest % (size_t)shape[2 + a];
                rest /= (size_t)shape[2 + a];
                step[a] = width;
                corner -= at % 2 * width;
                largest = largest && at / 2 * 2 + 1 < (size_t)shape[2 + a];
            }
            for (size_t k = 0; largest && k < (size_t)1 << axes; k++)
                largest = x[corner + (k & 1) * step[0] + (k >> 1 & 1) * step[1] + (k >> 2) * step[2]] <= x[i];
            ck_assert_msg(y[i] == (largest ? x[i] : 0), "%zu axes: %g at %zu", axes, (double)y[i], i);
        }
    }
    leave();
}
END_TEST

int main(void) {
    const TTest *const tests[] = {slices_of_any_form, splits_and_joins, unpooling_has_a_size, unpooling_finds_odd_sizes, NULL};
    return run_tests("onnx_pool", tests, 60);
}
