/* Pointwise layers of SPEC section 3, log-softmax, and cross-entropy in all its forms: against PyTorch's values (tests/golden/
 * activation.py), formulas in double, SPEC's values; gradients by value; ONNX there and back. Tests run in the project's root. */
#include "onnx_files.h"

#include "graph/graph.h"
#include "train/autodiff.h"

#include <math.h>

/* ---- value and gradient of one layer ---- */

typedef fv_value (*build_fn)(fv_graph *g, fv_value x);

static fv_value softplus1(fv_graph *g, fv_value x) { return fv_graph_softplus(g, x, 1, "f"); }
static fv_value softplus3(fv_graph *g, fv_value x) { return fv_graph_softplus(g, x, 3, "f"); }
static fv_value smooth_abs3(fv_graph *g, fv_value x) { return fv_graph_smooth_abs(g, x, 3, "f"); }
static fv_value absolute(fv_graph *g, fv_value x) { return fv_graph_abs(g, x, "f"); }
static fv_value leaky(fv_graph *g, fv_value x) { return fv_graph_leaky_relu(g, x, 0.2f, "f"); }
static fv_value prelu1(fv_graph *g, fv_value x) {
    const int64_t one = 1;
    const float slope = 0.3f;
    return fv_graph_prelu_with(g, x, fv_graph_parameter(g, "slope", 1, &one, &slope, FV_INIT_ZEROS, true), "f");
}
static fv_value elu(fv_graph *g, fv_value x) { return fv_graph_elu(g, x, 0.7f, "f"); }
static fv_value selu(fv_graph *g, fv_value x) { return fv_graph_selu(g, x, "f"); }
static fv_value gelu(fv_graph *g, fv_value x) { return fv_graph_gelu(g, x, false, "f"); }
static fv_value gelu_tanh(fv_graph *g, fv_value x) { return fv_graph_gelu(g, x, true, "f"); }
static fv_value silu(fv_graph *g, fv_value x) { return fv_graph_silu(g, x, "f"); }
static fv_value mish(fv_graph *g, fv_value x) { return fv_graph_mish(g, x, "f"); }
static fv_value hard_sigmoid(fv_graph *g, fv_value x) { return fv_graph_hard_sigmoid(g, x, 1.0f / 6, 0.5f, "f"); }
static fv_value hard_swish(fv_graph *g, fv_value x) { return fv_graph_hard_swish(g, x, "f"); }
static fv_value softsign(fv_graph *g, fv_value x) { return fv_graph_softsign(g, x, "f"); }
static fv_value erf_layer(fv_graph *g, fv_value x) { return fv_graph_erf(g, x, "f"); }
static fv_value surrogate3(fv_graph *g, fv_value x) { return fv_graph_relu_surrogate(g, x, 3, "f"); }
static fv_value log_softmax(fv_graph *g, fv_value x) { return fv_graph_log_softmax(g, x, "f"); }

/* Those of the golden file, in its order, then the others. */
static const build_fn layers[] = {softplus1,    softplus3,  smooth_abs3, absolute,  leaky,      prelu1,
                                  elu,          selu,       gelu,        gelu_tanh, silu,       mish,
                                  hard_sigmoid, hard_swish, softsign,    erf_layer, surrogate3, log_softmax};
enum { golden_layers = 16, every_layer = sizeof layers / sizeof *layers };

/* y and dx of a layer on (rows, columns). through: of an activation that the layer's output might overwrite. */
static void gradient_of(build_fn layer, int64_t rows, int64_t columns, bool through, float *x, float *dy, float *y, float *dx) {
    const int64_t shape[2] = {0, columns};
    const fv_plan_settings settings = {.training = true};
    fv_graph *g = NULL;
    fv_plan *plan = NULL;
    fv_value gradients[64];
    ok(fv_graph_create(context, &g));
    const fv_value in = fv_graph_input(g, "x", 2, shape), seed = fv_graph_input(g, "dy", 2, shape);
    const fv_value out = layer(g, through ? fv_graph_scale(g, in, 1, 0, "through") : in);
    ok(fv_graph_status(g));
    ok(fv_autodiff(g, &out, &seed, 1, &in, 1, g->value_count, gradients));
    const fv_value din = gradients[in];
    if (!through) ok(fv_graph_output(g, out, "y"));
    ok(fv_graph_output(g, din, "dx"));
    ok(fv_graph_set_batch(g, rows));
    ok(fv_plan_create(g, &settings, &plan));
    fv_plan_bind(plan, in, x);
    fv_plan_bind(plan, seed, dy);
    fv_plan_run(plan);
    const size_t bytes = (size_t)(rows * columns) * sizeof(float);
    if (!through) memcpy(y, fv_plan_data(plan, out), bytes);
    memcpy(dx, fv_plan_data(plan, din), bytes);
    fv_plan_free(plan);
    fv_graph_free(g);
}

static fv_tensor golden(const char *path) {
    fv_tensor t;
    ok(fv_npy_read(context, path, &t));
    ck_assert_int_eq(t.dtype, FV_F64);
    return t;
}

static void near_all(const char *what, size_t layer, const float *got, const double *want, size_t n, double tolerance) {
    for (size_t i = 0; i < n; i++)
        ck_assert_msg(fabs((double)got[i] - want[i]) <= tolerance * (1 + fabs(want[i])),
                      "layer %zu, %s[%zu]: %.9g, expected %.9g", layer, what, i, (double)got[i], want[i]);
}

START_TEST(pytorch_agrees) {
    float x[64], dy[64], y[64], dx[64], again[64];
    enter();
    fv_tensor t = golden("tests/golden/activation.npy");
    const double *rows = t.data;
    const size_t n = (size_t)t.shape[1];
    ck_assert_int_eq(t.shape[0], 2 + 2 * golden_layers);
    ck_assert_uint_le(n, 64);
    for (size_t i = 0; i < n; i++) x[i] = (float)rows[i], dy[i] = (float)rows[n + i];
    for (size_t l = 0; l < golden_layers; l++) {
        gradient_of(layers[l], 1, (int64_t)n, false, x, dy, y, dx);
        near_all("y", l, y, rows + (2 + 2 * l) * n, n, 3e-7);
        near_all("dx", l, dx, rows + (3 + 2 * l) * n, n, 4e-7);
        gradient_of(layers[l], 1, (int64_t)n, true, x, dy, y, again); /* nothing was overwritten before it was read */
        ck_assert_mem_eq(again, dx, n * sizeof *dx);
    }
    fv_npy_free(context, &t);
    leave();
}
END_TEST

/* Forwards ReLU, backwards dy/(1+e^{-kx}). */
START_TEST(the_surrogate_gradient) {
    float x[41], dy[41], y[41], dx[41];
    double want_y[41], want_dx[41];
    enter();
    draw_all(dy, 41, 5);
    for (int i = 0; i < 41; i++) {
        x[i] = (float)(i - 20) / 8;
        want_y[i] = fmax(0, (double)x[i]);
        want_dx[i] = (double)dy[i] / (1 + exp(-3 * (double)x[i]));
    }
    gradient_of(surrogate3, 1, 41, false, x, dy, y, dx);
    near_all("y", 0, y, want_y, 41, 0);
    near_all("dx", 0, dx, want_dx, 41, 2e-7);
    leave();
}
END_TEST

/* SPEC sections 3 and 11: 0 at 0; no overflow for any x and k; they tend to |x| and ReLU as k grows; their slopes at 0. */
START_TEST(values_of_the_spec) {
    static const float ks[] = {1e-3f, 0.5f, 1, 30, 1e4f, 1e30f}, xs[] = {0, 1, -1, 1e-20f, 90, -90, 3e38f, -3e38f};
    enter();
    const fv_kernels *k = &context->kernels;
    for (size_t i = 0; i < sizeof ks / sizeof *ks; i++) {
        float y[8], s[8];
        k->pointwise.unary[FV_UNARY_SOFTPLUS](xs, s, 8, ks[i], 0);
        k->pointwise.unary[FV_UNARY_SMOOTH_ABS](xs, y, 8, ks[i], 0);
        ck_assert(y[0] == 0);
        for (int j = 0; j < 8; j++) {
            const double x = (double)xs[j], far = log(2) / (double)ks[i];
            ck_assert_msg(isfinite(y[j]) && isfinite(s[j]), "k %g x %g: %g, %g", (double)ks[i], x, (double)y[j], (double)s[j]);
            ck_assert((double)s[j] >= fmax(0, x) && (double)s[j] <= (fmax(0, x) + far) * (1 + 1e-6));
            ck_assert((double)y[j] >= (fabs(x) - 2 * far) * (1 - 1e-6) - 1e-6 * fabs(x) && (double)y[j] <= fabs(x) * (1 + 1e-6));
        }
    }
    float zero = 0, one = 1, slope;
    k->pointwise.unary_grad[FV_UNARY_SOFTPLUS](&zero, &one, &slope, 1, 7, 0);
    ck_assert(slope == 0.5f);
    k->pointwise.unary_grad[FV_UNARY_SMOOTH_ABS](&zero, &one, &slope, 1, 7, 0);
    ck_assert(slope == 0);
    k->pointwise.unary_grad[FV_UNARY_ABS](&zero, &one, &slope, 1, 0, 0);
    ck_assert(slope == 0);
    leave();
}
END_TEST

/* g_i f(x): dg_i is the sum of dy f(x), on maps and vectors; slopes of PReLU likewise, one a map or one for all. */
START_TEST(gains_and_slopes_are_learned) {
    enum { n = 2, c = 5, pixels = 6, count = n * c * pixels };
    static const bool per_map[2] = {true, false};
    const int64_t shape[4] = {0, c, 2, 3};
    float x[count], target[n * count];
    enter();
    draw_all(x, count, 3);
    draw_all(target, count, 4);
    for (int kind = 0; kind < 3; kind++) { /* gain of smooth rectification, PReLU per map, PReLU with one slope */
        fv_graph *g = NULL;
        fv_model *m = NULL, *trained = NULL;
        fv_trainer *t = NULL;
        fv_trainer_settings s;
        ok(fv_graph_create(context, &g));
        fv_value v = fv_graph_input(g, "x", 4, shape);
        v = kind == 0 ? fv_graph_gain(g, fv_graph_smooth_abs(g, v, 2, "f"), true, "layer")
                      : fv_graph_prelu(g, v, per_map[kind - 1], "layer");
        ok(fv_graph_output(g, fv_graph_flatten(g, v, NULL), "y"));
        ok(fv_model_create(g, 1, &m));
        fv_trainer_settings_default(&s);
        s.loss = FV_LOSS_SQUARED_ERROR;
        s.reduction = FV_REDUCTION_SUM;
        s.optimizer = FV_SGD;
        s.lr = 0.125f;
        s.batch = n;
        ok(fv_trainer_create(m, &s, &t));
        const fv_tensor in = maps(x, n, c, 2, 3), goal = rows(target, n, c * pixels);
        ok(fv_trainer_step(t, &in, &goal, NULL));
        ok(fv_trainer_model(t, &trained));
        fv_tensor learned;
        ok(fv_model_parameter(trained, 0, NULL, &learned, NULL));
        double gradient[c] = {0}, first = kind == 0 ? 1 : 0.25;
        for (int i = 0; i < count; i++) {
            const double z = (double)x[i], f = kind == 0 ? fabs(z) + log((1 + exp(-2 * fabs(z))) / 2) : z > 0 ? 0 : z;
            const double y = kind == 0 ? f : z > 0 ? z : 0.25 * z;
            gradient[kind == 2 ? 0 : i / pixels % c] += (y - (double)target[i]) * f;
        }
        ck_assert_int_eq(learned.shape[0], kind == 2 ? 1 : c);
        for (int i = 0; i < learned.shape[0]; i++)
            ck_assert_msg(fabs((double)((float *)learned.data)[i] - (first - 0.125 * gradient[i])) < 1e-6,
                          "kind %d, map %d: %g, wanted %g", kind, i, (double)((float *)learned.data)[i],
                          first - 0.125 * gradient[i]);
        fv_model_free(trained);
        fv_trainer_free(t);
        fv_model_free(m);
        fv_graph_free(g);
    }
    leave();
}
END_TEST

/* ---- losses ---- */

typedef enum ending { LOGITS, SOFTMAX, SIGMOID } ending;

typedef struct stepped {
    double loss;
    int64_t correct;
    float weight[25];
} stepped;

/* One step of rate 1 of y = ending(W x) from W = 1 on rows that are the logits themselves. */
static stepped step_once(const fv_trainer_settings *settings, ending end, float *x, int64_t n, const fv_tensor *targets) {
    const int64_t shape[2] = {0, 5}, square[2] = {5, 5};
    float identity[25] = {0};
    for (int i = 0; i < 5; i++) identity[6 * i] = 1;
    fv_graph *g = NULL;
    fv_model *m = NULL, *trained = NULL;
    fv_trainer *t = NULL;
    fv_tensor w;
    fv_step step;
    ok(fv_graph_create(context, &g));
    fv_value y = fv_graph_linear_with(g, fv_graph_input(g, "x", 2, shape),
                                      fv_graph_parameter(g, "w", 2, square, identity, FV_INIT_HE, true), FV_NONE, "fc");
    if (end == SOFTMAX) y = fv_graph_softmax(g, y, "p");
    if (end == SIGMOID) y = fv_graph_sigmoid(g, y, "p");
    ok(fv_graph_output(g, y, "y"));
    ok(fv_model_create(g, 1, &m));
    ok(fv_trainer_create(m, settings, &t));
    const fv_tensor in = rows(x, n, 5);
    ok(fv_trainer_step(t, &in, targets, &step));
    ok(fv_trainer_model(t, &trained));
    ok(fv_model_parameter(trained, 0, NULL, &w, NULL));
    stepped result = {step.loss, step.correct, {0}};
    memcpy(result.weight, w.data, sizeof result.weight);
    fv_model_free(trained);
    fv_trainer_free(t);
    fv_model_free(m);
    fv_graph_free(g);
    return result;
}

static fv_trainer_settings loss_settings(float smoothing, fv_reduction reduction) {
    fv_trainer_settings s;
    fv_trainer_settings_default(&s);
    s.optimizer = FV_SGD;
    s.lr = 1;
    s.label_smoothing = smoothing;
    s.reduction = reduction;
    return s;
}

/* W after the step is 1 - dlogits^T x. */
static void weights_follow(const stepped *s, const float *x, const double *dlogits, int64_t n) {
    for (int64_t o = 0; o < 5; o++)
        for (int64_t i = 0; i < 5; i++) {
            double want = o == i;
            for (int64_t r = 0; r < n; r++) want -= dlogits[r * 5 + o] * (double)x[r * 5 + i];
            ck_assert_msg(fabs((double)s->weight[o * 5 + i] - want) < 3e-6, "w[%d][%d] %g, wanted %g", (int)o, (int)i,
                          (double)s->weight[o * 5 + i], want);
        }
}

START_TEST(losses_as_pytorch_has_them) {
    float x[20], soft[20], y[20], dx[20];
    int32_t label[4];
    enter();
    fv_tensor t = golden("tests/golden/losses.npy");
    const double *v = t.data;
    for (int i = 0; i < 20; i++) x[i] = (float)v[i], soft[i] = (float)v[20 + i];
    for (int i = 0; i < 4; i++) label[i] = (int32_t)v[40 + i];
    v += 44;
    gradient_of(log_softmax, 4, 5, false, x, soft, y, dx);
    double log_product[20];
    for (int i = 0; i < 20; i++) log_product[i] = v[i] / (double)soft[i];
    near_all("log-softmax", 0, y, log_product, 20, 1e-6);
    near_all("its gradient", 0, dx, v + 20, 20, 1e-6);
    v += 40;
    const fv_tensor labels = labels_of(label, 4), targets = rows(soft, 4, 5);
    fv_trainer_settings s = loss_settings(0, FV_REDUCTION_MEAN);
    s.soft_targets = true;
    stepped got = step_once(&s, LOGITS, x, 4, &targets);
    ck_assert(fabs(got.loss - v[0]) < 1e-6 && got.correct >= 0);
    weights_follow(&got, x, v + 1, 4);
    v += 21;
    s.label_smoothing = 0.125f;
    for (int form = 0; form < 2; form++) { /* fused, and -sum t ln y after a softmax */
        s.loss_input = form ? FV_LOSS_FROM_PROBABILITIES : FV_LOSS_FROM_LOGITS;
        got = step_once(&s, SOFTMAX, x, 4, &targets);
        ck_assert_msg(fabs(got.loss - v[0]) < 2e-6, "form %d: %g, wanted %g", form, got.loss, v[0]);
        weights_follow(&got, x, v + 1, 4);
    }
    v += 21;
    s = loss_settings(0.125f, FV_REDUCTION_SUM);
    for (int form = 0; form < 4; form++) { /* labels as they are or made one-hot, fused or not */
        s.loss_input = form % 2 ? FV_LOSS_FROM_PROBABILITIES : FV_LOSS_FROM_LOGITS;
        s.soft_targets = form > 1;
        got = step_once(&s, SOFTMAX, x, 4, &labels);
        ck_assert_msg(fabs(got.loss - v[0]) < 1e-5, "form %d: %g, wanted %g", form, got.loss, v[0]);
        weights_follow(&got, x, v + 1, 4);
    }
    v += 21;
    s = loss_settings(0, FV_REDUCTION_MEAN);
    s.loss_input = FV_LOSS_FROM_PROBABILITIES;
    got = step_once(&s, SIGMOID, x, 4, &labels);
    ck_assert(fabs(got.loss - v[0]) < 1e-6);
    weights_follow(&got, x, v + 1, 4);
    fv_npy_free(context, &t);
    leave();
}
END_TEST

START_TEST(probabilities_of_zero_stay_finite) {
    float x[5] = {300, 0, 0, 0, 0};
    int32_t label = 1;
    enter();
    fv_trainer_settings s = loss_settings(0, FV_REDUCTION_MEAN);
    s.loss_input = FV_LOSS_FROM_PROBABILITIES;
    const fv_tensor labels = labels_of(&label, 1);
    const stepped got = step_once(&s, SOFTMAX, x, 1, &labels);
    ck_assert(got.loss > 87 && got.loss < 88);
    for (int i = 0; i < 25; i++) ck_assert(isfinite(got.weight[i]));
    leave();
}
END_TEST

/* ---- mistakes ---- */

START_TEST(mistakes_have_sentences) {
    static const struct {
        float k;
        const char *part;
    } bad[] = {{0, "node \"f\": k is 0; it must be a number above 0"}, {-1, "above 0"}, {NAN, "above 0"}, {INFINITY, "above 0"}};
    const int64_t shape[4] = {0, 3, 2, 2}, four = 4;
    enter();
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        for (int kind = 0; kind < 3; kind++) {
            fv_graph *g = NULL;
            ok(fv_graph_create(context, &g));
            const fv_value x = fv_graph_input(g, "x", 4, shape);
            if (kind == 0) (void)fv_graph_softplus(g, x, bad[i].k, "f");
            if (kind == 1) (void)fv_graph_smooth_abs(g, x, bad[i].k, "f");
            if (kind == 2) (void)fv_graph_relu_surrogate(g, x, bad[i].k, "f");
            fails(fv_graph_status(g), FV_ERR_ARGUMENT, bad[i].part);
            fv_graph_free(g);
        }
    fv_graph *g = NULL;
    ok(fv_graph_create(context, &g));
    fv_value x = fv_graph_input(g, "x", 4, shape);
    (void)fv_graph_prelu_with(g, x, fv_graph_parameter(g, "s", 1, &four, NULL, FV_INIT_ONES, true), "p");
    fails(fv_graph_status(g), FV_ERR_SHAPE, "node \"p\": slopes (4) do not fit the maps of (N,3,2,2)");
    fv_graph_free(g);
    ok(fv_graph_create(context, &g));
    (void)fv_graph_elu(g, fv_graph_input(g, "x", 4, shape), NAN, "e");
    fails(fv_graph_status(g), FV_ERR_ARGUMENT, "node \"e\": its parameters");
    fv_graph_free(g);
    ok(fv_graph_create(context, &g));
    (void)fv_graph_log_softmax(g, fv_graph_input(g, "x", 4, shape), "l");
    fails(fv_graph_status(g), FV_ERR_SHAPE, "node \"l\": log_softmax takes (N,F)");
    fv_graph_free(g);
    ok(fv_graph_create(context, &g));
    fails((fv_graph_gelu(g, 7, false, NULL), fv_graph_status(g)), FV_ERR_ARGUMENT,
          "a layer's input is not a value of this graph");
    fv_graph_free(g);
    leave();
}
END_TEST

START_TEST(wrong_targets_have_sentences) {
    float x[net_in], target[net_out] = {1, 0, -1, 0, 0};
    enter();
    fv_model *m = small_model(context, false);
    fv_trainer *t = NULL;
    fv_trainer_settings s = loss_settings(0, FV_REDUCTION_MEAN);
    draw_all(x, net_in, 1);
    s.loss = FV_LOSS_SQUARED_ERROR;
    s.soft_targets = true;
    fails(fv_trainer_create(m, &s, &t), FV_ERR_ARGUMENT, "belong to cross-entropy");
    s.loss = FV_LOSS_CROSS_ENTROPY;
    s.loss_input = (fv_loss_input)2;
    fails(fv_trainer_create(m, &s, &t), FV_ERR_ARGUMENT, "unknown input of the loss 2");
    s.loss_input = FV_LOSS_FROM_LOGITS;
    ok(fv_trainer_create(m, &s, &t));
    const fv_tensor in = maps(x, 1, net_c, net_h, net_w), negative = rows(target, 1, net_out),
                    narrow = rows(target, 1, net_out - 1);
    fails(fv_trainer_step(t, &in, &negative, NULL), FV_ERR_ARGUMENT, "target -1 of image 0");
    fails(fv_trainer_step(t, &in, &narrow, NULL), FV_ERR_SHAPE, "targets of shape (1,5)");
    ck_assert_int_eq(fv_trainer_steps(t), 0);
    fv_trainer_free(t);
    s.soft_targets = false;
    ok(fv_trainer_create(m, &s, &t));
    fails(fv_trainer_step(t, &in, &negative, NULL), FV_ERR_ARGUMENT, "cross-entropy takes int32 labels");
    fv_trainer_free(t);
    fv_model_free(m);
    leave();
}
END_TEST

/* ---- ONNX ---- */

/* As built, written, read and written again: the same node, outputs and bytes. */
static void there_and_back(const fv_graph *g, const char *op) {
    static float first[run_most], second[run_most];
    char again[112];
    fv_model *m = NULL, *back = NULL;
    ok(fv_model_create(g, 1, &m));
    ok(fv_model_save(m, wire_path));
    ok(fv_model_load(context, wire_path, &back));
    ck_assert_uint_eq(fv_model_node_count(back), fv_model_node_count(m));
    ck_assert_str_eq(back->graph->nodes[0].op->name, op);
    ck_assert_str_eq(back->graph->nodes[0].name, m->graph->nodes[0].name);
    snprintf(again, sizeof again, "%s.again", wire_path);
    ok(fv_model_save(back, again));
    const size_t n = run_model(m, 2, first);
    ck_assert_uint_eq(run_model(back, 2, second), n);
    ck_assert_mem_eq(first, second, n * sizeof *first);
    wire one = wire_get(wire_path), two = wire_get(again);
    ck_assert(one.n == two.n && memcmp(one.data, two.data, one.n) == 0);
    w_free(&one);
    w_free(&two);
    fv_model_free(back);
    fv_model_free(m);
}

START_TEST(layers_come_back_from_files) {
    const char *keep = getenv("FOVEA_KEEP_ONNX"); /* a folder: the files stay there, to be run elsewhere */
    enter();
    for (size_t l = 0; l < every_layer; l++)
        for (int32_t rank = 2; rank <= (layers[l] == log_softmax ? 2 : 4); rank += 2) {
            const int64_t shape[4] = {0, 6, 5, 7};
            fv_graph *g = NULL;
            ok(fv_graph_create(context, &g));
            ok(fv_graph_output(g, layers[l](g, fv_graph_input(g, "x", rank, shape)), "y"));
            ok(fv_graph_status(g));
            there_and_back(g, layers[l] == log_softmax ? "log_softmax" : layers[l] == prelu1 ? "prelu" : "unary");
            char command[256];
            snprintf(command, sizeof command, "cp %s %s/%zu-%d.onnx", wire_path, keep ? keep : "", l, rank);
            if (keep) ck_assert_int_eq(system(command), 0);
            fv_graph_free(g);
        }
    fv_graph *g = NULL;
    const int64_t shape[4] = {0, 6, 5, 7};
    ok(fv_graph_create(context, &g));
    ok(fv_graph_output(g, fv_graph_prelu(g, fv_graph_input(g, "x", 4, shape), true, "p"), "y"));
    there_and_back(g, "prelu");
    fv_graph_free(g);
    leave();
}
END_TEST

/* What others write: Gelu and Mish as operators, GELU with its half taken first, attributes left out. */
static void reads_as(wire node, int64_t opset, fv_unary kind, fv_real a, fv_real b) {
    fv_model *m = NULL;
    wire g = {0}, file = {0};
    w_message(&g, G_NODE, node);
    w_message(&g, G_INPUT, value_info_of("x", DIMS(0, 6)));
    w_message(&g, G_OUTPUT, value_info_of("y", DIMS(0, 6)));
    w_int(&file, 1, 8);
    w_message(&file, 7, g);
    w_message(&file, 8, opset_of(NULL, opset));
    ok(load_wire(context, file, &m));
    const fv_node *n = &m->graph->nodes[0];
    ck_assert_uint_eq(m->graph->node_count, 1);
    ck_assert(n->attr.pointwise.kind == (int32_t)kind && n->attr.pointwise.a == a && n->attr.pointwise.b == b);
    fv_model_free(m);
}

START_TEST(operators_of_other_files) {
    enter();
    reads_as(node_of("Gelu", "n", "x", "y"), 20, FV_UNARY_GELU, 0, 0);
    wire by_tanh = node_of("Gelu", "n", "x", "y");
    node_attr(&by_tanh, attr_text("approximate", "tanh"));
    reads_as(by_tanh, 20, FV_UNARY_GELU_TANH, 0, 0);
    reads_as(node_of("Mish", "n", "x", "y"), 18, FV_UNARY_MISH, 0, 0);
    reads_as(node_of("LeakyRelu", "n", "x", "y"), 17, FV_UNARY_LEAKY_RELU, 0.01f, 0);
    reads_as(node_of("Elu", "n", "x", "y"), 17, FV_UNARY_ELU, 1, 1);
    reads_as(node_of("Selu", "n", "x", "y"), 17, FV_UNARY_ELU, FV_SELU_ALPHA, FV_SELU_GAMMA);
    reads_as(node_of("HardSigmoid", "n", "x", "y"), 17, FV_UNARY_HARD_SIGMOID, 0.2f, 0.5f);
    fv_model *m = NULL;
    wire bad = node_of("Gelu", "n", "x", "y"), g = {0};
    node_attr(&bad, attr_text("approximate", "sigmoid"));
    w_message(&g, G_NODE, bad);
    w_message(&g, G_INPUT, value_info_of("x", DIMS(0, 6)));
    w_message(&g, G_OUTPUT, value_info_of("y", DIMS(0, 6)));
    fails(load_wire(context, model_of(g), &m), FV_ERR_FORMAT, "node \"n\" (Gelu): unknown approximation");
    leave();
}
END_TEST

/* x / (1 + |x|), as PyTorch writes softsign; of anything else it stays a division. */
START_TEST(softsign_in_three_nodes) {
    const float one = 1;
    enter();
    for (int good = 1; good >= 0; good--) {
        fv_model *m = NULL;
        wire g = {0}, constant = tensor_head("one", 1, 0, NULL);
        w_bytes(&constant, 9, &one, sizeof one);
        w_message(&g, G_INITIALIZER, constant);
        w_message(&g, G_NODE, node_of(good ? "Abs" : "Tanh", "a", "x", "size"));
        w_message(&g, G_NODE, node_of("Add", "s", "size one", "sum"));
        w_message(&g, G_NODE, node_of("Div", "d", "x sum", "y"));
        w_message(&g, G_INPUT, value_info_of("x", DIMS(0, 6)));
        w_message(&g, G_OUTPUT, value_info_of("y", DIMS(0, 6)));
        ok(load_wire(context, model_of(g), &m));
        if (!good) {
            float x[6], y[run_most];
            draw_all(x, 6, 21);
            ck_assert_uint_eq(run_model(m, 1, y), 6);
            for (int i = 0; i < 6; i++) ck_assert_float_eq_tol(y[i], x[i] / (tanhf(x[i]) + 1), 1e-5f * fabsf(y[i]));
            fv_model_free(m);
            continue;
        }
        ck_assert_uint_eq(m->graph->node_count, 1);
        ck_assert_int_eq(m->graph->nodes[0].attr.pointwise.kind, FV_UNARY_SOFTSIGN);
        fv_model_free(m);
    }
    leave();
}
END_TEST

/* Hard swish as exporters spell it: the gate of a clip or of a hard sigmoid, divided by 6 before or after; with another bound it
 * stays what it is. */
START_TEST(hard_swish_in_several_nodes) {
    const int64_t shape[2] = {0, 6};
    enter();
    for (int form = 0; form < 5; form++) {
        fv_graph *g = NULL;
        fv_model *m = NULL, *back = NULL;
        float a[run_most], b[run_most];
        ok(fv_graph_create(context, &g));
        const fv_value x = fv_graph_input(g, "x", 2, shape), z = fv_graph_scale(g, x, 4, 0.5f, "z");
        const fv_value gate = fv_graph_clip(g, fv_graph_scale(g, z, 1, 3, "more"), 0, form == 3 ? 5 : 6, "gate");
        fv_value y = form == 1   ? fv_graph_scale(g, fv_graph_multiply(g, z, gate, "m"), 1.0f / 6, 0, "sixth")
                     : form == 2 ? fv_graph_multiply(g, fv_graph_hard_sigmoid(g, z, 1.0f / 6, 0.5f, "gate of one"), z, "m")
                                 : fv_graph_multiply(g, fv_graph_scale(g, gate, form == 4 ? 0.25f : 1.0f / 6, 0, "sixth"), z, "m");
        ok(fv_graph_output(g, y, "y"));
        ok(fv_model_create(g, 1, &m));
        ok(fv_model_save(m, wire_path));
        ok(fv_model_load(context, wire_path, &back));
        size_t found = 0;
        for (size_t i = 0; i < back->graph->node_count; i++)
            found += back->graph->nodes[i].op == &fv_op_unary && back->graph->nodes[i].attr.pointwise.kind == FV_UNARY_HARD_SWISH;
        ck_assert_msg(found == (form < 3), "form %d: %zu hard swishes", form, found);
        const size_t count = run_model(m, 1, a);
        ck_assert_uint_eq(run_model(back, 1, b), count);
        for (size_t i = 0; i < count; i++) ck_assert_float_eq_tol(a[i], b[i], 1e-6f);
        fv_model_free(back);
        fv_model_free(m);
        fv_graph_free(g);
    }
    leave();
}
END_TEST

/* x sigmoid(x) is one layer, but not where the sigmoid is read by others or of something else. */
START_TEST(only_whole_patterns_fold) {
    const int64_t shape[2] = {0, 6};
    enter();
    for (int form = 0; form < 4; form++) {
        fv_graph *g = NULL;
        fv_model *m = NULL, *back = NULL;
        ok(fv_graph_create(context, &g));
        const fv_value x = fv_graph_input(g, "x", 2, shape), z = fv_graph_tanh(g, x, "z");
        const fv_value s = fv_graph_sigmoid(g, form == 1 ? x : z, "s");
        const fv_value half = fv_graph_scale(g, z, 0.5f, 0, "half");
        const fv_value sum = fv_graph_scale(g, fv_graph_erf(g, fv_graph_scale(g, z, 0.70710678f, 0, "r"), "e"), 1, 1, "one");
        ok(fv_graph_output(g, form == 3 ? fv_graph_multiply(g, half, sum, "m") : fv_graph_multiply(g, s, z, "m"), "y"));
        if (form == 2) ok(fv_graph_output(g, s, "t"));
        ok(fv_model_create(g, 1, &m));
        ok(fv_model_save(m, wire_path));
        ok(fv_model_load(context, wire_path, &back));
        size_t left = 0;
        for (size_t i = 0; i < back->graph->node_count; i++) left += back->graph->nodes[i].op == &fv_op_binary;
        ck_assert_msg(left == (form == 1 || form == 2), "form %d: %zu products left", form, left);
        fv_model_free(back);
        fv_model_free(m);
        fv_graph_free(g);
    }
    leave();
}
END_TEST

int main(void) {
    const TTest *const tests[] = {pytorch_agrees,
                                  the_surrogate_gradient,
                                  values_of_the_spec,
                                  gains_and_slopes_are_learned,
                                  losses_as_pytorch_has_them,
                                  probabilities_of_zero_stay_finite,
                                  mistakes_have_sentences,
                                  wrong_targets_have_sentences,
                                  layers_come_back_from_files,
                                  operators_of_other_files,
                                  softsign_in_three_nodes,
                                  hard_swish_in_several_nodes,
                                  only_whole_patterns_fold,
                                  NULL};
    return run_tests("ops_activation", tests, 120);
}
