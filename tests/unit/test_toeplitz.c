/* The matrix of a convolution: the lecture's, and T x and T' y against the layers themselves. */
#include "graph/graph.h"
#include "unit.h"

#include <math.h>

enum { MOST = 1 << 12 };

static fv_context *context;

/* 3x3 image, 2x2 mask: 4 rows of 9. */
START_TEST(the_lectures_matrix) {
    static const float w[4] = {1, 2, 3, 4};
    static const float want[36] = {1, 2, 0, 3, 4, 0, 0, 0, 0, 0, 1, 2, 0, 3, 4, 0, 0, 0,
                                   0, 0, 0, 1, 2, 0, 3, 4, 0, 0, 0, 0, 0, 1, 2, 0, 3, 4};
    static const float turned[36] = {4, 3, 0, 2, 1, 0, 0, 0, 0, 0, 4, 3, 0, 2, 1, 0, 0, 0,
                                     0, 0, 0, 4, 3, 0, 2, 1, 0, 0, 0, 0, 0, 4, 3, 0, 2, 1};
    float matrix[36];
    size_t rows, columns;
    fv_conv_settings s;
    fv_conv_settings_default(&s);
    s.kernel[0] = s.kernel[1] = 2;
    ok(fv_toeplitz_size(&s, 1, 3, 3, &rows, &columns));
    ck_assert(rows == 4 && columns == 9);
    ok(fv_toeplitz(&s, w, 1, 3, 3, matrix, 36));
    ck_assert_mem_eq(matrix, want, sizeof want);
    s.true_convolution = true;
    ok(fv_toeplitz(&s, w, 1, 3, 3, matrix, 36));
    ck_assert_mem_eq(matrix, turned, sizeof turned);
}
END_TEST

/* ---- against the layers ---- */

/* One input, one output, one image. */
static void run_graph(fv_graph *g, fv_value y, const float *const *x, float *out) {
    fv_model *m = NULL;
    fv_session *s = NULL;
    fv_tensor in[2], to;
    ok(fv_graph_status(g));
    ok(fv_graph_output(g, y, "y"));
    ok(fv_model_create(g, 1, &m));
    ok(fv_session_create(m, NULL, &s));
    for (size_t i = 0; i < fv_model_input_count(m); i++) {
        ok(fv_model_input(m, i, NULL, &in[i]));
        in[i].shape[0] = 1;
        in[i].data = (void *)(uintptr_t)x[i];
    }
    ok(fv_model_output(m, 0, NULL, &to));
    to.shape[0] = 1;
    to.data = out;
    ok(fv_session_run(s, in, fv_model_input_count(m), &to, 1));
    fv_session_free(s);
    fv_model_free(m);
    fv_graph_free(g);
}

typedef struct layer {
    fv_conv_settings s;
    int64_t c, h, w, out_h, out_w;
    const float *weight;
} layer;

static fv_value weight_of(fv_graph *g, const layer *l) {
    const int64_t shape[4] = {l->s.out_channels, l->c / l->s.groups, l->s.kernel[0], l->s.kernel[1]};
    return fv_graph_parameter(g, "w", 4, shape, l->weight, FV_INIT_HE, true);
}

static void convolve(const layer *l, const float *x, float *y) {
    const int64_t in[4] = {0, l->c, l->h, l->w};
    fv_graph *g = NULL;
    ok(fv_graph_create(context, &g));
    run_graph(g, fv_graph_conv_with(g, fv_graph_input(g, "x", 4, in), weight_of(g, l), FV_NONE, &l->s, "c"), &x, y);
}

/* The data gradient, which is the transposed convolution: as the convolution's backward makes it. */
static void transpose(const layer *l, const float *x, const float *dy, float *dx) {
    const int64_t in[4] = {0, l->c, l->h, l->w}, out[4] = {0, l->s.out_channels, l->out_h, l->out_w};
    const float *const inputs[2] = {x, dy};
    fv_graph *g = NULL;
    ok(fv_graph_create(context, &g));
    const fv_value at = fv_graph_input(g, "x", 4, in), w = weight_of(g, l);
    const fv_value three[3] = {fv_graph_input(g, "dy", 4, out), w, at};
    ok((fv_graph_conv_with(g, at, w, FV_NONE, &l->s, "c"), fv_graph_status(g)));
    const fv_attributes attr = g->nodes[0].attr;
    run_graph(g, fv_graph_node(g, &fv_op_conv_grad_input, "dx", three, 3, 1, &attr), inputs, dx);
}

/* y = T x, or with `turned` T' x. */
static void multiply(const float *t, size_t rows, size_t columns, bool turned, const float *x, double *y) {
    for (size_t i = 0; i < (turned ? columns : rows); i++) y[i] = 0;
    for (size_t i = 0; i < rows; i++)
        for (size_t j = 0; j < columns; j++)
            y[turned ? j : i] += (double)t[i * columns + j] * (double)x[turned ? i : j];
}

static void same(const float *got, const double *want, size_t n, int round) {
    for (size_t i = 0; i < n; i++)
        ck_assert_msg(fabs((double)got[i] - want[i]) <= 2e-6 * (1 + fabs(want[i])),
                      "round %d, value %zu: %g, T gives %g", round, i, (double)got[i], want[i]);
}

static layer draw_layer(int round) {
    static const fv_padding paddings[] = {FV_PAD_EXPLICIT, FV_PAD_EXPLICIT, FV_PAD_VALID, FV_PAD_SAME_UPPER,
                                          FV_PAD_SAME_LOWER};
    layer l = {.h = 5 + round % 4, .w = 4 + round % 5};
    fv_conv_settings_default(&l.s);
    l.s.groups = 1 + round % 2;
    l.c = l.s.groups * (1 + round % 3);
    l.s.out_channels = l.s.groups * (1 + round / 2 % 4);
    l.s.padding = paddings[round % 5];
    l.s.true_convolution = round / 3 % 2;
    for (int i = 0; i < 2; i++) {
        l.s.kernel[i] = 1 + (round >> i) % 4;
        l.s.stride[i] = 1 + (round >> (i + 2)) % 3;
        l.s.dilation[i] = l.s.kernel[i] < 3 ? 1 + round % 2 : 1;
        l.s.pad_before[i] = (round >> i) % 2;
        l.s.pad_after[i] = round % 3;
    }
    return l;
}

START_TEST(the_layers_are_the_matrix) {
    static float matrix[1 << 18], weight[MOST], x[MOST], y[MOST], dy[MOST], dx[MOST];
    static double want[MOST];
    for (int round = 0; round < 60; round++) {
        layer l = draw_layer(round);
        size_t rows, columns;
        l.weight = weight;
        ok(fv_toeplitz_size(&l.s, l.c, l.h, l.w, &rows, &columns));
        ck_assert(rows <= MOST && columns <= MOST && rows * columns <= sizeof matrix / sizeof *matrix);
        draw_all(weight, (size_t)(l.s.out_channels * l.c / l.s.groups * l.s.kernel[0] * l.s.kernel[1]),
                 (uint32_t)round + 1);
        draw_all(x, columns, (uint32_t)round + 100);
        draw_all(dy, rows, (uint32_t)round + 200);
        ok(fv_toeplitz(&l.s, weight, l.c, l.h, l.w, matrix, rows * columns));
        const int64_t extent = l.s.dilation[0] * (l.s.kernel[0] - 1) + 1;
        l.out_h = l.s.padding == FV_PAD_EXPLICIT
                      ? (l.h + l.s.pad_before[0] + l.s.pad_after[0] - extent) / l.s.stride[0] + 1
                  : l.s.padding == FV_PAD_VALID ? (l.h - extent) / l.s.stride[0] + 1
                                                : (l.h + l.s.stride[0] - 1) / l.s.stride[0];
        l.out_w = (int64_t)rows / l.s.out_channels / l.out_h;
        ck_assert_int_eq(l.out_w * l.out_h * l.s.out_channels, (int64_t)rows);
        convolve(&l, x, y);
        multiply(matrix, rows, columns, false, x, want);
        same(y, want, rows, round);
        transpose(&l, x, dy, dx);
        multiply(matrix, rows, columns, true, dy, want);
        same(dx, want, columns, round);
    }
}
END_TEST

START_TEST(connections_leave_gaps) {
    static const uint8_t table[4] = {1, 0, 0, 1};
    static const float w[4] = {2, 3, 5, 7};
    static const float want[4] = {2, 0, 0, 7};
    float matrix[4];
    fv_conv_settings s;
    fv_conv_settings_default(&s);
    s.kernel[0] = s.kernel[1] = 1;
    s.out_channels = 2;
    s.connections = table;
    ok(fv_toeplitz(&s, w, 2, 1, 1, matrix, 4));
    ck_assert_mem_eq(matrix, want, sizeof want);
}
END_TEST

START_TEST(what_does_not_fit_is_refused) {
    static const float w[9] = {0};
    float matrix[9];
    size_t rows = 7, columns = 7;
    fv_conv_settings s;
    fv_conv_settings_default(&s);
    fails(fv_toeplitz_size(&s, 1, 2, 9, &rows, &columns), FV_ERR_SHAPE, "a window of 3 does not fit the height of 2");
    s.groups = 2;
    fails(fv_toeplitz_size(&s, 2, 5, 5, &rows, &columns), FV_ERR_SHAPE,
          "2 groups, 2 input and 1 output maps do not fit");
    s.groups = 1;
    s.out_channels = INT32_MAX;
    fails(fv_toeplitz_size(&s, INT32_MAX, 1 << 20, 1 << 20, &rows, &columns), FV_ERR_LIMIT, "too large");
    s.out_channels = 1;
    fails(fv_toeplitz_size(&s, 1, 1 << 29, 1 << 29, &rows, &columns), FV_ERR_LIMIT, "too large");
    ck_assert(rows == 7 && columns == 7);
    fails(fv_toeplitz(&s, w, 1, 3, 3, matrix, 8), FV_ERR_SHAPE, "has 1 x 9 values, the place given has 8");
    fails(fv_toeplitz(&s, NULL, 1, 3, 3, matrix, 9), FV_ERR_ARGUMENT, "needs a weight");
    fails(fv_toeplitz_size(NULL, 1, 3, 3, &rows, &columns), FV_ERR_ARGUMENT, "needs settings");
}
END_TEST

int main(void) {
    const TTest *const tests[] = {the_lectures_matrix, the_layers_are_the_matrix, connections_leave_gaps,
                                  what_does_not_fit_is_refused, NULL};
    const fv_context_settings s = settings_of(FV_BACKEND_SERIAL, 1);
    if (fv_context_create(&s, &context) != FV_OK) return 1;
    const int failed = run_tests("toeplitz", tests, 60);
    fv_context_free(context);
    return failed;
}
