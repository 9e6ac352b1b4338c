/* Contrast normalization (SPEC section 4): values and gradients against nested loops in double and other libraries'
 * figures, cuts of an image, constants and zeros, errors, ONNX. */
#include "graph/graph.h"
#include "onnx_files.h"
#include "train/autodiff.h"

#include "ops/window.h"

#include <math.h>

enum { MOST = 1 << 16 };

typedef struct norm {
    char kind; /* s, d or b */
    fv_contrast_settings contrast;
    fv_brightness_settings brightness;
} norm;

static norm contrast_of(char kind, int32_t window, float sigma, bool box, bool across) {
    return (norm){.kind = kind, .contrast = {window, sigma, box, across}};
}
static norm brightness_of(float kappa, float lambda, float mu, int32_t maps_) {
    return (norm){.kind = 'b', .brightness = {kappa, lambda, mu, maps_}};
}

static fv_value add_norm(fv_graph *g, fv_value x, const norm *n) {
    if (n->kind == 's') return fv_graph_subtractive_norm(g, x, &n->contrast, "norm");
    if (n->kind == 'd') return fv_graph_divisive_norm(g, x, &n->contrast, "norm");
    return fv_graph_brightness_norm(g, x, &n->brightness, "norm");
}

/* (N,H,W,C), as maps lie inside. */
typedef struct shape {
    int64_t n, h, w, c;
} shape;
static size_t count_of(shape s) { return (size_t)(s.n * s.h * s.w * s.c); }

/* Forwards and backwards through a plan, as a training step has it. */
static void run_both(fv_context *c, const norm *n, shape s, float *x, float *dy, float *y, float *dx) {
    const int64_t dims[4] = {0, s.c, s.h, s.w};
    fv_graph *g;
    fv_plan *plan;
    fv_run_info info = {0};
    ok(fv_graph_create(c, &g));
    const fv_value in = fv_graph_input(g, "x", 4, dims), seed = fv_graph_input(g, "dy", 4, dims),
                   out = add_norm(g, in, n);
    ok(fv_graph_output(g, out, "y"));
    ok(fv_graph_prepare(g, true, FV_NHWC, FV_NHWC));
    fv_value gradients[64];
    const size_t values = g->value_count;
    ck_assert_uint_lt(values, 64);
    ok(fv_autodiff(g, &out, &seed, 1, &in, 1, values, gradients));
    ok(fv_graph_output(g, gradients[in], "dx"));
    ok(fv_graph_set_batch(g, s.n));
    ok(fv_plan_create(g, &(fv_plan_settings){.training = true, .run = &info}, &plan));
    fv_plan_bind(plan, in, x);
    fv_plan_bind(plan, seed, dy);
    fv_plan_run(plan);
    memcpy(y, fv_plan_data(plan, out), count_of(s) * sizeof *y);
    memcpy(dx, fv_plan_data(plan, gradients[in]), count_of(s) * sizeof *dx);
    fv_plan_free(plan);
    fv_graph_free(g);
}

/* ---- the definitions in double ---- */

/* Weight of the tap (v,u) of pixel (y,x) in the mean over the window, 0 outside. */
static double tap_weight(const fv_contrast_settings *k, shape s, int64_t y, int64_t x, int64_t v, int64_t u) {
    const double sigma = k->sigma == 0 ? k->window / 4.0 : (double)k->sigma;
    double sum = 0, own = 0;
    const int64_t before = (k->window - 1) / 2;
    for (int64_t b = -before; b < k->window - before; b++)
        for (int64_t a = -before; a < k->window - before; a++) {
            if (y + b < 0 || y + b >= s.h || x + a < 0 || x + a >= s.w) continue;
            const double w = k->box ? 1 : exp(-(double)(a * a + b * b) / (2 * sigma * sigma));
            sum += w;
            if (y + b == v && x + a == u) own = w;
        }
    return own / sum;
}

static size_t at(shape s, int64_t n, int64_t y, int64_t x, int64_t c) {
    return (size_t)(((n * s.h + y) * s.w + x) * s.c + c);
}

/* weights[pixel][pixel] of one image: only for small maps. */
static double *all_weights(const fv_contrast_settings *k, shape s) {
    const size_t pixels = (size_t)(s.h * s.w);
    double *w = calloc(pixels * pixels, sizeof *w);
    ck_assert_ptr_nonnull(w);
    for (size_t p = 0; p < pixels; p++)
        for (size_t q = 0; q < pixels; q++) {
            const int64_t y = (int64_t)p / s.w, x = (int64_t)p % s.w, v = (int64_t)q / s.w, u = (int64_t)q % s.w;
            const int64_t before = (k->window - 1) / 2, after = k->window / 2;
            if (v - y < -before || v - y > after || u - x < -before || u - x > after) continue;
            w[p * pixels + q] = tap_weight(k, s, y, x, v, u);
        }
    return w;
}

/* One image, maps first..last of it under one window's mean. */
typedef struct part {
    shape s;
    int64_t image, first, last;
    const double *weight;
} part;

static double value(const part *p, const float *x, size_t pixel, int64_t c) {
    return (double)x[at(p->s, p->image, (int64_t)pixel / p->s.w, (int64_t)pixel % p->s.w, c)];
}
static double *place(const part *p, double *x, size_t pixel, int64_t c) {
    return &x[at(p->s, p->image, (int64_t)pixel / p->s.w, (int64_t)pixel % p->s.w, c)];
}

static void direct_subtractive(const part *p, const float *x, const float *dy, double *y, double *dx) {
    const size_t pixels = (size_t)(p->s.h * p->s.w);
    const double maps_ = (double)(p->last - p->first + 1);
    for (size_t i = 0; i < pixels; i++)
        for (int64_t c = p->first; c <= p->last; c++) {
            *place(p, y, i, c) += value(p, x, i, c);
            *place(p, dx, i, c) += value(p, dy, i, c);
            for (size_t k = 0; k < pixels; k++)
                for (int64_t m = p->first; m <= p->last; m++) {
                    *place(p, y, i, c) -= p->weight[i * pixels + k] / maps_ * value(p, x, k, m);
                    *place(p, dx, k, m) -= p->weight[i * pixels + k] / maps_ * value(p, dy, i, c);
                }
        }
}

static void direct_divisive(const part *p, const float *x, const float *dy, double *y, double *dx) {
    const size_t pixels = (size_t)(p->s.h * p->s.w);
    const double maps_ = (double)(p->last - p->first + 1);
    double sigma[4096], c_mean = 0, dc = 0;
    for (size_t i = 0; i < pixels; i++) {
        double q = 0;
        for (size_t k = 0; k < pixels; k++)
            for (int64_t c = p->first; c <= p->last; c++)
                q += p->weight[i * pixels + k] / maps_ * value(p, x, k, c) * value(p, x, k, c);
        c_mean += (sigma[i] = sqrt(q)) / (double)pixels;
    }
    double dsigma[4096] = {0};
    for (size_t i = 0; i < pixels; i++)
        for (int64_t c = p->first; c <= p->last; c++) {
            const double largest = fmax(sigma[i], c_mean);
            if (largest == 0) continue;
            *place(p, y, i, c) = value(p, x, i, c) / largest;
            *place(p, dx, i, c) += value(p, dy, i, c) / largest;
            *(sigma[i] > c_mean ? &dsigma[i] : &dc) -= value(p, dy, i, c) * value(p, x, i, c) / largest / largest;
        }
    for (size_t i = 0; i < pixels; i++)
        for (size_t k = 0; k < pixels && sigma[i] > 0; k++)
            for (int64_t c = p->first; c <= p->last; c++)
                *place(p, dx, k, c) += (dsigma[i] + dc / (double)pixels) / sigma[i] * p->weight[i * pixels + k] /
                                       maps_ * value(p, x, k, c);
}

static double bright_sum(const norm *n, shape s, const float *x, int64_t c) {
    const int64_t size = n->brightness.maps ? n->brightness.maps : 2 * s.c;
    double sum = 0;
    for (int64_t m = c - (size - 1) / 2; m <= c + size / 2; m++)
        if (m >= 0 && m < s.c) sum += (double)x[m] * x[m];
    return (double)n->brightness.kappa + (double)n->brightness.lambda * sum;
}

static void direct_brightness(const norm *n, shape s, const float *x, const float *dy, double *y, double *dx) {
    const int64_t size = n->brightness.maps ? n->brightness.maps : 2 * s.c;
    const double mu = (double)n->brightness.mu;
    for (size_t i = 0; i < count_of(s); i += (size_t)s.c)
        for (int64_t c = 0; c < s.c; c++) {
            const double d = bright_sum(n, s, x + i, c);
            y[i + (size_t)c] = (double)x[i + (size_t)c] * pow(d, -mu);
            dx[i + (size_t)c] += (double)dy[i + (size_t)c] * pow(d, -mu);
            for (int64_t m = c - (size - 1) / 2; m <= c + size / 2; m++)
                if (m >= 0 && m < s.c)
                    dx[i + (size_t)m] -= 2 * (double)n->brightness.lambda * mu * (double)dy[i + (size_t)c] *
                                         (double)x[i + (size_t)c] * pow(d, -mu - 1) * (double)x[i + (size_t)m];
        }
}

static void direct(const norm *n, shape s, const float *x, const float *dy, double *y, double *dx) {
    memset(y, 0, count_of(s) * sizeof *y);
    memset(dx, 0, count_of(s) * sizeof *dx);
    if (n->kind == 'b') {
        direct_brightness(n, s, x, dy, y, dx);
        return;
    }
    double *weight = all_weights(&n->contrast, s);
    const int64_t parts = n->contrast.across_maps ? 1 : s.c;
    for (int64_t i = 0; i < s.n * parts; i++) {
        const int64_t first = i % parts;
        const part p = {s, i / parts, first, parts == 1 ? s.c - 1 : first, weight};
        if (n->kind == 's')
            direct_subtractive(&p, x, dy, y, dx);
        else
            direct_divisive(&p, x, dy, y, dx);
    }
    free(weight);
}

static void close_to(const char *what, const float *got, const double *want, size_t n, double tolerance) {
    for (size_t i = 0; i < n; i++)
        ck_assert_msg(fabs((double)got[i] - want[i]) <= tolerance * (1 + fabs(want[i])), "%s[%zu]: %.9g, expected %.9g",
                      what, i, (double)got[i], want[i]);
}

static float x[MOST], dy[MOST], y[MOST], dx[MOST];
static double want_y[MOST], want_dx[MOST];

static void hold(const norm *n, shape s) {
    ck_assert_uint_le(count_of(s), MOST);
    run_both(context, n, s, x, dy, y, dx);
    direct(n, s, x, dy, want_y, want_dx);
    close_to("y", y, want_y, count_of(s), 2e-6);
    close_to("dx", dx, want_dx, count_of(s), 1e-5);
}

START_TEST(definitions) {
    enter();
    static const shape shapes[] = {{2, 7, 5, 3}, {1, 1, 9, 4}, {3, 6, 1, 9}, {1, 2, 2, 1}, {2, 10, 11, 8}};
    static const int32_t windows[] = {2, 3, 4, 9, 40};
    draw_all(x, MOST, 5);
    draw_all(dy, MOST, 6);
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        for (size_t k = 0; k < sizeof windows / sizeof *windows; k++)
            for (int variant = 0; variant < 8; variant++) {
                const norm n =
                    contrast_of(variant & 1 ? 's' : 'd', windows[k], k % 2 ? 0 : 1.3f, variant & 2, variant & 4);
                hold(&n, shapes[i]);
            }
        static const float powers[] = {1, 0.5f, 0.75f, 0.6f};
        for (int32_t k = 0; k < 8; k++) {
            const norm n = brightness_of(1.25f, 0.5f, powers[k % 4], k);
            hold(&n, shapes[i]);
        }
    }
    leave();
}
END_TEST

/* An image large enough to be cut into strips: against the definition, against the same image among eight (which are
 * not cut), and the same bits on any team. */
START_TEST(cut_images) {
    enter();
    const shape one = {1, 44, 44, 17}, eight = {8, 44, 44, 17};
    const size_t n = count_of(one);
    static float many[8 * MOST], seeds[8 * MOST], outs[8 * MOST], ins[8 * MOST], again[MOST], back[MOST];
    draw_all(x, n, 8);
    draw_all(dy, n, 9);
    for (size_t i = 0; i < 8; i++) {
        memcpy(many + i * n, x, n * sizeof *x);
        memcpy(seeds + i * n, dy, n * sizeof *dy);
    }
    fv_context *team = context_of(FV_BACKEND_PTHREADS, 3);
    for (int variant = 0; variant < 4; variant++) {
        const norm k = contrast_of(variant & 1 ? 's' : 'd', 3, 0, false, variant & 2);
        hold(&k, one);
        run_both(context, &k, eight, many, seeds, outs, ins);
        for (size_t i = 0; i < n; i++) {
            ck_assert(fabsf(outs[7 * n + i] - y[i]) < 1e-5f);
            ck_assert(fabsf(ins[7 * n + i] - dx[i]) < 1e-5f);
        }
        run_both(team, &k, one, x, dy, again, back);
        ck_assert_mem_eq(again, y, n * sizeof *y);
        ck_assert_mem_eq(back, dx, n * sizeof *dx);
    }
    fv_context_free(team);
    leave();
}
END_TEST

START_TEST(a_constant_has_no_contrast) {
    enter();
    const shape s = {2, 12, 13, 5};
    for (size_t i = 0; i < count_of(s); i++) x[i] = 3.7f;
    draw_all(dy, count_of(s), 2);
    for (int32_t window = 1; window < 30; window += 4)
        for (int variant = 0; variant < 4; variant++) {
            const norm n = contrast_of('s', window, 0, variant & 1, variant & 2);
            run_both(context, &n, s, x, dy, y, dx);
            for (size_t i = 0; i < count_of(s); i++)
                ck_assert_msg(fabsf(y[i]) < 3e-6f, "window %d: %g", window, (double)y[i]);
        }
    leave();
}
END_TEST

/* A map of nothing but zeros gives 0 and gets 0; zeros beside others have no spread's derivative where their window is
 * empty. */
START_TEST(zeros) {
    enter();
    const shape s = {1, 9, 9, 2};
    draw_all(dy, count_of(s), 3);
    for (size_t i = 0; i < count_of(s); i++)
        x[i] = i % 2 ? 0 : i == 0 ? 2.0f : 0; /* map 1 is empty, map 0 has one value in its corner */
    for (int across = 0; across < 2; across++) {
        const norm n = contrast_of('d', 3, 0, false, across);
        hold(&n, s);
        for (size_t i = 1; i < count_of(s) && !across; i += 2) ck_assert(y[i] == 0 && dx[i] == 0);
    }
    memset(x, 0, sizeof x);
    const norm n = contrast_of('d', 3, 0, false, true);
    run_both(context, &n, s, x, dy, y, dx);
    for (size_t i = 0; i < count_of(s); i++) ck_assert(y[i] == 0 && dx[i] == 0);
    leave();
}
END_TEST

/* ---- other libraries' figures ---- */

static size_t read_columns(const char *path, size_t columns, double *to, size_t most) {
    FILE *f = fopen(path, "r");
    size_t n = 0;
    ck_assert_msg(f != NULL, "%s", path);
    while (n < most && fscanf(f, n % columns + 1 == columns ? "%lf" : "%lf,", &to[n]) == 1) n++;
    fclose(f);
    ck_assert_uint_eq(n % columns, 0);
    return n / columns;
}

START_TEST(pytorch_local_response) {
    enter();
    static const struct {
        int32_t size;
        float mu;
    } kinds[] = {{1, 0.75f}, {4, 0.5f}, {5, 1}, {13, 0.6f}};
    static double table[168 * 10];
    const shape s = {2, 3, 4, 7};
    ck_assert_uint_eq(read_columns("tests/golden/contrast_lrn.csv", 10, table, 168 * 10), 168);
    for (size_t k = 0; k < 4; k++) {
        const norm n = brightness_of(1.5f, 0.9f / (float)kinds[k].size, kinds[k].mu, kinds[k].size);
        for (size_t i = 0; i < 168; i++) { /* NCHW there */
            const size_t inside = at(s, (int64_t)i / 84, (int64_t)i / 4 % 3, (int64_t)i % 4, (int64_t)i / 12 % 7);
            x[inside] = (float)table[i * 10];
            dy[inside] = (float)table[i * 10 + 1];
            want_y[inside] = table[i * 10 + 2 + 2 * k];
            want_dx[inside] = table[i * 10 + 3 + 2 * k];
        }
        run_both(context, &n, s, x, dy, y, dx);
        close_to("y", y, want_y, 168, 1e-6);
        close_to("dx", dx, want_dx, 168, 1e-6);
    }
    leave();
}
END_TEST

START_TEST(scipy_gaussian) {
    enter();
    static double table[182 * 2];
    const shape s = {1, 14, 13, 1};
    ck_assert_uint_eq(read_columns("tests/golden/contrast_blur.csv", 2, table, 182 * 2), 182);
    for (size_t i = 0; i < 182; i++) x[i] = (float)table[2 * i];
    norm n = {.kind = 's'};
    fv_contrast_settings_default(&n.contrast);
    run_both(context, &n, s, x, dy, y, dx);
    for (int64_t row = 4; row < 10; row++)
        for (int64_t column = 4; column < 9; column++) {
            const double want = table[2 * (row * 13 + column) + 1];
            close_to("y", &y[row * 13 + column], &want, 1, 1e-6);
        }
    leave();
}
END_TEST

/* ---- errors ---- */

static void refuses(const norm *n, int32_t rank, bool settings, const char *part) {
    const int64_t dims[4] = {0, 3, 4, 4};
    fv_graph *g;
    ok(fv_graph_create(context, &g));
    const fv_value in = fv_graph_input(g, "x", rank, dims);
    const fv_value out = settings         ? add_norm(g, in, n)
                         : n->kind == 'b' ? fv_graph_brightness_norm(g, in, NULL, NULL)
                         : n->kind == 's' ? fv_graph_subtractive_norm(g, in, NULL, NULL)
                                          : fv_graph_divisive_norm(g, in, NULL, NULL);
    ck_assert_int_eq(out, FV_NONE);
    ck_assert_int_ne(fv_graph_status(g), FV_OK);
    ck_assert_msg(strstr(fv_last_error(), part) != NULL, "%s", fv_last_error());
    fv_graph_free(g);
}

START_TEST(errors) {
    enter();
    norm n = contrast_of('s', 0, 0, false, true);
    refuses(&n, 4, true, "node \"norm\": a window of 0 is not in 1..4095");
    n.contrast.window = 4096;
    refuses(&n, 4, true, "4096");
    n = contrast_of('d', 5, -1, false, true);
    refuses(&n, 4, true, "sigma is positive and finite, got -1");
    n.contrast.sigma = INFINITY;
    refuses(&n, 4, true, "positive and finite");
    n.contrast.sigma = 1;
    refuses(&n, 2, true, "takes maps (N,C,H,W)");
    refuses(&n, 4, false, "needs settings");
    n = brightness_of(0, 1, 1, 0);
    refuses(&n, 4, true, "kappa is positive");
    n = brightness_of(1, -1, 1, 0);
    refuses(&n, 4, true, "kappa 1, lambda -1, mu 1");
    n = brightness_of(1, 1, NAN, 0);
    refuses(&n, 4, true, "kappa is positive");
    n = brightness_of(1, 1, 1, -2);
    refuses(&n, 4, true, "a window of -2 maps");
    refuses(&n, 4, false, "needs settings");
    leave();
}
END_TEST

/* ---- ONNX ---- */

static fv_model *model_with(const norm *kinds, size_t count) {
    const int64_t dims[4] = {0, 3, 7, 6};
    fv_graph *g;
    fv_model *m;
    ok(fv_graph_create(context, &g));
    fv_value v = fv_graph_input(g, "x", 4, dims);
    for (size_t i = 0; i < count; i++) {
        char name[16];
        snprintf(name, sizeof name, "norm%zu", i);
        v = kinds[i].kind == 's'   ? fv_graph_subtractive_norm(g, v, &kinds[i].contrast, name)
            : kinds[i].kind == 'd' ? fv_graph_divisive_norm(g, v, &kinds[i].contrast, name)
                                   : fv_graph_brightness_norm(g, v, &kinds[i].brightness, name);
    }
    ok(fv_graph_output(g, v, "y"));
    ok(fv_model_create(g, 1, &m));
    fv_graph_free(g);
    return m;
}

START_TEST(onnx_there_and_back) {
    enter();
    char second[300];
    float first_y[run_most], second_y[run_most];
    const norm kinds[] = {contrast_of('s', 5, 0, false, true), contrast_of('d', 4, 1.5f, false, false),
                          contrast_of('s', 3, 0, true, false), contrast_of('d', 9, 0, true, true),
                          brightness_of(1, 0.3f, 0.75f, 2),    brightness_of(2, 0.123f, 0.6f, 0),
                          contrast_of('s', 5, 0, false, true)};
    fv_model *m = model_with(kinds, 7), *loaded;
    ok(fv_model_save(m, wire_path));
    ok(fv_model_load(context, wire_path, &loaded));
    const size_t n = run_model(m, 2, first_y);
    ck_assert_uint_eq(run_model(loaded, 2, second_y), n);
    ck_assert_mem_eq(first_y, second_y, n * sizeof *first_y);
    wire before = wire_get(wire_path);
    snprintf(second, sizeof second, "%s.again", wire_path);
    ok(fv_model_save(loaded, second));
    wire after = wire_get(second);
    ck_assert_uint_eq(before.n, after.n);
    ck_assert_mem_eq(before.data, after.data, before.n);
    remove(second);
    w_free(&before);
    w_free(&after);
    fv_model_free(m);
    fv_model_free(loaded);
    leave();
}
END_TEST

START_TEST(onnx_read) {
    enter();
    wire n = node_of("LRN", "l", "x", "c.y");
    refused(with_node(n), FV_ERR_UNSUPPORTED, "size is not a number of maps");
    n = node_of("LRN", "l", "x", "c.y");
    node_attr(&n, attr_int("size", (int64_t)1 << 40));
    refused(with_node(n), FV_ERR_UNSUPPORTED, "size is not a number of maps");
    n = node_of("divisive_norm", "d", "x", "c.y");
    w_text(&n, 7, "fovea");
    node_attr(&n, attr_int("window", 5000));
    refused(with_node(n), FV_ERR_UNSUPPORTED, "window is not in 1..4095");
    leave();
}
END_TEST

int main(void) {
    const TTest *const tests[] = {
        definitions,    cut_images, a_constant_has_no_contrast, zeros,     pytorch_local_response,
        scipy_gaussian, errors,     onnx_there_and_back,        onnx_read, NULL};
    return run_tests("ops_contrast", tests, 120);
}
