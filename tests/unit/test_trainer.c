/* Trainers: updates against a few lines in double, schedules by value, the same bits on any team, what is refused. */
#include "training.h"

#include <math.h>

/* ---- a linear layer trained in double: 4 features, 3 classes ---- */

enum { features = 4, classes = 3, weights = features * classes, all = weights + classes };

typedef struct twin {
    fv_trainer_settings s;
    double w[all], m[all], v[all], loss, norm; /* weight (classes, features), then bias */
    int steps;
} twin;

static void twin_gradient(twin *t, const float *x, const int32_t *label, int n, double *g) {
    const double low = (double)t->s.label_smoothing / classes,
                 scale = t->s.reduction == FV_REDUCTION_MEAN ? 1.0 / n : 1;
    memset(g, 0, all * sizeof *g);
    t->loss = 0;
    for (int i = 0; i < n; i++) {
        double z[classes], target[classes], d[classes], sum = 0;
        for (int k = 0; k < classes; k++) {
            z[k] = t->w[weights + k];
            for (int f = 0; f < features; f++) z[k] += t->w[k * features + f] * (double)x[i * features + f];
            sum += exp(z[k]);
            target[k] = t->s.loss == FV_LOSS_SQUARED_ERROR ? k == label[i]
                                                           : low + (k == label[i]) * (1 - (double)t->s.label_smoothing);
        }
        for (int k = 0; k < classes; k++) {
            if (t->s.loss == FV_LOSS_SQUARED_ERROR) {
                d[k] = z[k] - target[k];
                t->loss += scale * 0.5 * d[k] * d[k];
            } else {
                d[k] = exp(z[k]) / sum - target[k];
                t->loss -= scale * target[k] * (z[k] - log(sum));
            }
            g[weights + k] += scale * d[k];
            for (int f = 0; f < features; f++) g[k * features + f] += scale * d[k] * (double)x[i * features + f];
        }
    }
}

static void twin_step(twin *t, const float *x, const int32_t *label, int n) {
    double g[all], lr = (double)t->s.lr, b1 = (double)t->s.beta1, b2 = (double)t->s.beta2, mu = (double)t->s.momentum,
                   norm = 0;
    const double decay = (double)t->s.weight_decay, clip = (double)t->s.clip;
    twin_gradient(t, x, label, n, g);
    for (int i = 0; i < all; i++) norm += g[i] * g[i];
    t->norm = sqrt(norm);
    const double shrink = clip > 0 && t->norm > clip ? clip / t->norm : 1;
    t->steps++;
    for (int i = 0; i < all; i++) {
        const double wd = i < weights ? decay : 0; /* not on the bias */
        double d = g[i] * shrink + (t->s.optimizer == FV_ADAMW ? 0 : wd * t->w[i]);
        switch (t->s.optimizer) {
        case FV_SGD:
            t->w[i] -= lr * d;
            break;
        case FV_MOMENTUM:
            t->w[i] -= lr * (t->m[i] = mu * t->m[i] + d);
            break;
        case FV_NESTEROV:
            t->m[i] = mu * t->m[i] + d;
            t->w[i] -= lr * (d + mu * t->m[i]);
            break;
        case FV_ADAMW:
            t->w[i] -= lr * wd * t->w[i]; /* fall through */
        case FV_ADAM:
            t->m[i] = b1 * t->m[i] + (1 - b1) * d;
            t->v[i] = b2 * t->v[i] + (1 - b2) * d * d;
            t->w[i] -= lr * (t->m[i] / (1 - pow(b1, t->steps))) /
                       (sqrt(t->v[i] / (1 - pow(b2, t->steps))) + (double)t->s.epsilon);
            break;
        }
    }
}

static fv_model *linear_model(fv_context *c, bool softmax) {
    const int64_t shape[2] = {0, features};
    fv_graph *g = NULL;
    fv_model *m = NULL;
    ok(fv_graph_create(c, &g));
    fv_value y = fv_graph_linear(g, fv_graph_input(g, "x", 2, shape), classes, true, FV_INIT_XAVIER, "fc");
    if (softmax) y = fv_graph_softmax(g, y, "softmax");
    ok(fv_graph_output(g, y, "y"));
    ok(fv_model_create(g, 17, &m));
    fv_graph_free(g);
    return m;
}

/* Twelve steps of sizes 1 to 12 side by side: more sizes than a trainer keeps plans for. */
static void compare_with_twin(const fv_model *m, const fv_trainer_settings *s) {
    twin w = {.s = *s};
    float start[all], now[all], x[12 * features];
    int32_t label[12];
    uint32_t state = 9;
    ck_assert_uint_eq(parameters_of(m, start, all), all);
    for (int i = 0; i < all; i++) w.w[i] = (double)start[i];
    fv_trainer *t = trainer_of(m, s);
    for (int n = 1; n <= 12; n++) {
        fv_step step;
        for (int i = 0; i < n * features; i++) x[i] = 2 * draw(&state);
        for (int i = 0; i < n; i++) label[i] = (int32_t)(draw_u32(&state) >> 16) % classes;
        const fv_tensor in = rows(x, n, features), target = labels_of(label, n);
        ok(fv_trainer_step(t, &in, &target, &step));
        twin_step(&w, x, label, n);
        trained_parameters(t, now, all);
        ck_assert_msg(fabs(step.loss - w.loss) < 1e-5 * (1 + fabs(w.loss)), "step %d: loss %g, not %g", n, step.loss,
                      w.loss);
        if (s->clip > 0) ck_assert(fabs(step.grad_norm - w.norm) < 1e-5 * (1 + w.norm));
        for (int i = 0; i < all; i++)
            ck_assert_msg(fabs((double)now[i] - w.w[i]) < 3e-6 * (1 + fabs(w.w[i])),
                          "optimizer %d, step %d: parameter %d is %.8g, not %.8g", (int)s->optimizer, n, i,
                          (double)now[i], w.w[i]);
    }
    ck_assert_int_eq(fv_trainer_steps(t), 12);
    fv_trainer_free(t);
    parameters_of(m, now, all);
    ck_assert_int_eq(memcmp(start, now, sizeof now), 0); /* the model itself is as it was */
}

START_TEST(every_optimizer_is_as_defined) {
    fv_context *c = context_of(FV_BACKEND_PTHREADS, 2);
    fv_model *m = linear_model(c, false);
    for (int optimizer = FV_SGD; optimizer <= FV_ADAMW; optimizer++)
        for (int variant = 0; variant < 6; variant++) {
            fv_trainer_settings s = train_settings(12, (fv_optimizer)optimizer);
            s.momentum = 0.8f;
            s.epsilon = 1e-4f;
            if (variant == 1) s.weight_decay = 0.1f;
            if (variant == 2) s.clip = 0.4f;
            if (variant == 3) s.label_smoothing = 0.2f;
            if (variant == 4) s.reduction = FV_REDUCTION_SUM, s.lr = 0.01f;
            if (variant == 5) s.loss = FV_LOSS_SQUARED_ERROR, s.weight_decay = 0.05f, s.clip = 1.0f;
            compare_with_twin(m, &s);
        }
    fv_model_free(m);
    fv_context_free(c);
}
END_TEST

START_TEST(a_last_softmax_is_part_of_cross_entropy) {
    float found[2][all];
    fv_context *c = context_of(FV_BACKEND_PTHREADS, 2);
    for (int softmax = 0; softmax < 2; softmax++) {
        fv_model *m = linear_model(c, softmax);
        const fv_trainer_settings s = train_settings(4, FV_MOMENTUM);
        fv_trainer *t = trainer_of(m, &s);
        float x[4 * features];
        int32_t label[4] = {0, 2, 1, 2};
        draw_all(x, 4 * features, 2);
        const fv_tensor in = rows(x, 4, features), target = labels_of(label, 4);
        for (int i = 0; i < 5; i++) ok(fv_trainer_step(t, &in, &target, NULL));
        trained_parameters(t, found[softmax], all);
        fv_model *out = NULL;
        ok(fv_trainer_model(t, &out));
        ck_assert(fv_model_gives_probabilities(out) == (softmax == 1));
        fv_model_free(out);
        fv_trainer_free(t);
        fv_model_free(m);
    }
    ck_assert_int_eq(memcmp(found[0], found[1], sizeof found[0]), 0);
    fv_context_free(c);
}
END_TEST

START_TEST(squared_error_takes_targets_or_labels) {
    float found[2][all], x[2 * features], onehot[2 * classes] = {0, 1, 0, 0, 0, 1};
    int32_t label[2] = {1, 2};
    fv_context *c = context_of(FV_BACKEND_SERIAL, 1);
    fv_model *m = linear_model(c, false);
    fv_trainer_settings s = train_settings(2, FV_SGD);
    s.loss = FV_LOSS_SQUARED_ERROR;
    draw_all(x, 2 * features, 3);
    for (int k = 0; k < 2; k++) {
        fv_trainer *t = trainer_of(m, &s);
        const fv_tensor in = rows(x, 2, features), target = k ? labels_of(label, 2) : rows(onehot, 2, classes);
        fv_step step;
        for (int i = 0; i < 5; i++) ok(fv_trainer_step(t, &in, &target, &step));
        ck_assert_int_eq(step.correct, -1);
        trained_parameters(t, found[k], all);
        fv_trainer_free(t);
    }
    ck_assert_int_eq(memcmp(found[0], found[1], sizeof found[0]), 0);
    fv_model_free(m);
    fv_context_free(c);
}
END_TEST

/* ---- schedules ---- */

static void check_schedule(const fv_model *m, fv_trainer_settings s, const double *want, int n) {
    float x[features] = {1, 2, 3, 4};
    int32_t label = 1;
    fv_trainer *t = trainer_of(m, &s);
    const fv_tensor in = rows(x, 1, features), target = labels_of(&label, 1);
    for (int i = 0; i < n; i++) {
        fv_step step;
        ok(fv_trainer_step(t, &in, &target, &step));
        ck_assert_msg(fabs(step.lr - want[i] * (double)s.lr) < 1e-12, "step %d: %.15g, not %.15g", i, step.lr,
                      want[i] * (double)s.lr);
    }
    fv_trainer_free(t);
}

START_TEST(schedules_by_value) {
    static const double constant[] = {1, 1, 1, 1}, steps[] = {1, 1, 1, 0.1, 0.1, 0.1, 0.01, 0.01},
                        warm[] = {0.25, 0.5, 0.75, 1, 1, 1};
    const double pi = 3.14159265358979323846;
    double cosine[11], warm_cosine[9];
    for (int i = 0; i < 11; i++) cosine[i] = i < 8 ? 0.5 * (1 + cos(pi * i / 8)) : 0;
    for (int i = 0; i < 9; i++) warm_cosine[i] = i < 2 ? (i + 1) / 2.0 : 0.5 * (1 + cos(pi * (i - 2) / 7));
    fv_context *c = context_of(FV_BACKEND_SERIAL, 1);
    fv_model *m = linear_model(c, false);
    fv_trainer_settings s = train_settings(1, FV_SGD);
    s.lr = 0.125f;
    check_schedule(m, s, constant, 4);
    s.warmup_steps = 4;
    check_schedule(m, s, warm, 6);
    s.warmup_steps = 0;
    s.schedule = FV_SCHEDULE_STEP;
    s.schedule_step = 3;
    s.schedule_factor = 0.1f;
    double exact[8];
    for (int i = 0; i < 8; i++) exact[i] = pow((double)0.1f, (int)(-log10(steps[i]) + 0.5));
    check_schedule(m, s, exact, 8);
    s.schedule = FV_SCHEDULE_COSINE;
    s.total_steps = 8;
    check_schedule(m, s, cosine, 11);
    s.warmup_steps = 2;
    s.total_steps = 9;
    check_schedule(m, s, warm_cosine, 9);
    fv_model_free(m);
    fv_context_free(c);
}
END_TEST

/* ---- the same bits ---- */

static void train_on(fv_backend backend, int threads, const char *isa, fv_optimizer optimizer, float *found) {
    fv_context_settings settings = settings_of(backend, threads);
    settings.isa = isa;
    fv_context *c = context_with(&settings);
    fv_model *m = small_model(c, true);
    fv_trainer_settings s = train_settings(4, optimizer);
    s.clip = 1;
    s.weight_decay = 1e-3f;
    fv_trainer *t = trainer_of(m, &s);
    train_steps(t, 0, 7);
    ck_assert_uint_eq(trained_parameters(t, found, small_parameters), small_parameters);
    fv_trainer_free(t);
    fv_model_free(m);
    fv_context_free(c);
}

START_TEST(any_team_trains_the_same_bits) {
    static float first[small_parameters], found[small_parameters];
    static const char *const isas[] = {NULL, "scalar"};
    fv_backend backends[3];
    const size_t n = backends_here(backends);
    for (int isa = 0; isa < 2; isa++)
        for (int optimizer = FV_MOMENTUM; optimizer <= FV_ADAM; optimizer += 2) {
            train_on(FV_BACKEND_SERIAL, 1, isas[isa], (fv_optimizer)optimizer, first);
            for (size_t b = 0; b < n; b++)
                for (int threads = 1; threads <= 8; threads = threads == 3 ? 8 : threads + 1) {
                    train_on(backends[b], threads, isas[isa], (fv_optimizer)optimizer, found);
                    ck_assert_msg(memcmp(first, found, sizeof found) == 0, "backend %d, %d threads, ISA %s",
                                  (int)backends[b], threads, isas[isa] ? isas[isa] : "best");
                }
        }
}
END_TEST

START_TEST(layouts_train_the_same_bits) {
    static float x[4 * net_in], last[4 * net_in], found[2][small_parameters];
    int32_t label[4];
    fv_context *c = context_of(FV_BACKEND_PTHREADS, 2);
    fv_model *m = small_model(c, false);
    uint32_t state = 3;
    draw_batch(x, label, 4, &state);
    for (int i = 0; i < 4; i++)
        for (int p = 0; p < net_h * net_w; p++)
            for (int a = 0; a < net_c; a++) last[i * net_in + p * net_c + a] = x[i * net_in + a * net_h * net_w + p];
    for (int k = 0; k < 2; k++) {
        fv_trainer_settings s = train_settings(4, FV_NESTEROV);
        s.input_layout = k ? FV_NHWC : FV_PLAIN;
        fv_trainer *t = trainer_of(m, &s);
        fv_tensor in = maps(k ? last : x, 4, net_c, net_h, net_w);
        const fv_tensor target = labels_of(label, 4);
        in.layout = s.input_layout;
        for (int i = 0; i < 4; i++) ok(fv_trainer_step(t, &in, &target, NULL));
        trained_parameters(t, found[k], small_parameters);
        fv_trainer_free(t);
    }
    ck_assert_int_eq(memcmp(found[0], found[1], sizeof found[0]), 0);
    fv_model_free(m);
    fv_context_free(c);
}
END_TEST

/* ---- learning ---- */

START_TEST(the_loss_falls_and_rows_are_counted) {
    for (int optimizer = FV_SGD; optimizer <= FV_ADAMW; optimizer++) {
        static float x[16 * net_in];
        int32_t label[16];
        uint32_t state = 1;
        fv_context *c = context_of(FV_BACKEND_PTHREADS, 2);
        fv_model *m = small_model(c, true), *trained = NULL;
        const fv_trainer_settings s = train_settings(16, (fv_optimizer)optimizer);
        fv_trainer *t = trainer_of(m, &s);
        fv_step first, step;
        for (int i = 0; i < 120; i++) {
            draw_batch(x, label, 16, &state);
            const fv_tensor in = maps(x, 16, net_c, net_h, net_w), target = labels_of(label, 16);
            ok(fv_trainer_step(t, &in, &target, i ? &step : &first));
        }
        ck_assert_msg(step.loss < 0.5 * first.loss, "optimizer %d: %g after %g", optimizer, step.loss, first.loss);
        ck_assert(step.correct >= 10 && step.correct <= 16);
        ck_assert_uint_gt(fv_trainer_arena_bytes(t), 0);
        ok(fv_trainer_model(t, &trained)); /* what was learned is in the model given out */
        fv_session *session = NULL;
        fv_session_settings batch;
        float y[16 * net_out];
        int right = 0;
        fv_session_settings_default(&batch);
        batch.batch = 16;
        ok(fv_session_create(trained, &batch, &session));
        const fv_tensor in = maps(x, 16, net_c, net_h, net_w), out = rows(y, 16, net_out);
        ok(fv_session_run(session, &in, 1, &out, 1));
        for (int i = 0; i < 16; i++) {
            int best = 0;
            for (int k = 1; k < net_out; k++)
                if (y[i * net_out + k] > y[i * net_out + best]) best = k;
            right += best == label[i];
        }
        ck_assert_int_ge(right, 14);
        fv_session_free(session);
        fv_trainer_free(t);
        fv_model_free(trained);
        fv_model_free(m);
        fv_context_free(c);
    }
}
END_TEST

START_TEST(frozen_parameters_stay) {
    const int64_t shape[2] = {0, features}, weight[2] = {5, features};
    float values[5 * features], x[features] = {1, -2, 3, 1};
    int32_t label = 2;
    fv_context *c = context_of(FV_BACKEND_SERIAL, 1);
    fv_graph *g = NULL;
    fv_model *m = NULL, *trained = NULL;
    draw_all(values, 5 * features, 1);
    ok(fv_graph_create(c, &g));
    const fv_value frozen = fv_graph_parameter(g, "frozen", 2, weight, values, FV_INIT_ZEROS, false);
    fv_value y =
        fv_graph_tanh(g, fv_graph_linear_with(g, fv_graph_input(g, "x", 2, shape), frozen, FV_NONE, "fc1"), NULL);
    ok(fv_graph_output(g, fv_graph_linear(g, y, classes, true, FV_INIT_XAVIER, "fc2"), "y"));
    ok(fv_model_create(g, 1, &m));
    fv_trainer_settings s = train_settings(1, FV_ADAMW);
    s.weight_decay = 0.1f;
    fv_trainer *t = trainer_of(m, &s);
    const fv_tensor in = rows(x, 1, features), target = labels_of(&label, 1);
    for (int i = 0; i < 5; i++) ok(fv_trainer_step(t, &in, &target, NULL));
    ok(fv_trainer_model(t, &trained));
    for (size_t i = 0; i < 3; i++) {
        const char *name;
        fv_tensor before, after;
        bool trainable;
        ok(fv_model_parameter(m, i, NULL, &before, NULL));
        ok(fv_model_parameter(trained, i, &name, &after, &trainable));
        const int same = memcmp(before.data, after.data, sizeof(float)) == 0;
        ck_assert_int_eq(trainable, i > 0);
        ck_assert_msg(same == (i == 0), "%s", name);
        if (i == 0) ck_assert_int_eq(memcmp(after.data, values, sizeof values), 0);
    }
    fv_trainer_free(t);
    fv_model_free(trained);
    fv_model_free(m);
    fv_graph_free(g);
    fv_context_free(c);
}
END_TEST

/* ---- misuse ---- */

START_TEST(bad_steps_change_nothing) {
    static float x[4 * net_in], before[small_parameters], after[small_parameters];
    _Alignas(8) int32_t label[5] = {0, 1, 2, 3, 4};
    fv_context *c = context_of(FV_BACKEND_PTHREADS, 2);
    fv_model *m = small_model(c, true);
    const fv_trainer_settings s = train_settings(4, FV_MOMENTUM);
    fv_trainer *t = trainer_of(m, &s);
    fv_step step = {.loss = 42};
    train_steps(t, 0, 2);
    trained_parameters(t, before, small_parameters);
    const fv_tensor in = maps(x, 4, net_c, net_h, net_w), target = labels_of(label, 4);
    for (int32_t bad = -1; bad <= net_out; bad += net_out + 1) {
        label[2] = bad;
        fails(fv_trainer_step(t, &in, &target, &step), FV_ERR_ARGUMENT, "of image 2 is outside 0 to 4");
    }
    label[2] = 2;
    fv_tensor w = in;
    w.shape[0] = 5;
    fails(fv_trainer_step(t, &w, &target, &step), FV_ERR_SHAPE, "5 images; planned are 1 to 4");
    w.shape[0] = 0;
    fails(fv_trainer_step(t, &w, &target, &step), FV_ERR_SHAPE, "0 images");
    w = in, w.shape[2]++;
    fails(fv_trainer_step(t, &w, &target, &step), FV_ERR_SHAPE, "axis 2");
    w = in, w.rank = 2;
    fails(fv_trainer_step(t, &w, &target, &step), FV_ERR_SHAPE, "rank 2");
    w = in, w.layout = FV_NHWC;
    fails(fv_trainer_step(t, &w, &target, &step), FV_ERR_SHAPE, "layout");
    w = in, w.dtype = FV_U8;
    fails(fv_trainer_step(t, &w, &target, &step), FV_ERR_ARGUMENT, "float");
    w = in, w.data = (char *)x + 2;
    fails(fv_trainer_step(t, &w, &target, &step), FV_ERR_ARGUMENT, "aligned");
    w = target, w.shape[0] = 3;
    fails(fv_trainer_step(t, &in, &w, &step), FV_ERR_SHAPE, "as many labels");
    w = target, w.rank = 2;
    fails(fv_trainer_step(t, &in, &w, &step), FV_ERR_SHAPE, "as many labels");
    w = target, w.dtype = FV_I64;
    fails(fv_trainer_step(t, &in, &w, &step), FV_ERR_ARGUMENT, "int32 labels");
    w = target, w.data = (char *)label + 1;
    fails(fv_trainer_step(t, &in, &w, &step), FV_ERR_ARGUMENT, "aligned");
    w = target, w.data = NULL;
    fails(fv_trainer_step(t, &in, &w, &step), FV_ERR_ARGUMENT, "targets with data");
    fails(fv_trainer_step(NULL, &in, &target, &step), FV_ERR_ARGUMENT, "needs");
    fails(fv_trainer_step(t, NULL, &target, &step), FV_ERR_ARGUMENT, "needs");
    fails(fv_trainer_step(t, &in, NULL, &step), FV_ERR_ARGUMENT, "needs");
    ck_assert(step.loss == 42);
    ck_assert_int_eq(fv_trainer_steps(t), 2);
    trained_parameters(t, after, small_parameters);
    ck_assert_int_eq(memcmp(before, after, sizeof after), 0);
    fv_trainer_free(t);
    fv_model_free(m);
    fv_context_free(c);
}
END_TEST

static void refused(const fv_model *m, const fv_trainer_settings *s, const char *part) {
    fv_trainer *t = NULL;
    fails(fv_trainer_create(m, s, &t), FV_ERR_ARGUMENT, part);
    ck_assert_ptr_null(t);
}

START_TEST(settings_out_of_range) {
    fv_context *c = context_of(FV_BACKEND_SERIAL, 1);
    fv_model *m = linear_model(c, false);
    const fv_trainer_settings good = train_settings(4, FV_SGD);
    fv_trainer_settings s;
    s = good, s.batch = 0, refused(m, &s, "batch of 0");
    s = good, s.batch = (int64_t)1 << 40, refused(m, &s, "batch");
    s = good, s.loss = (fv_loss)7, refused(m, &s, "loss 7");
    s = good, s.reduction = (fv_reduction)7, refused(m, &s, "reduction 7");
    s = good, s.optimizer = (fv_optimizer)7, refused(m, &s, "optimizer 7");
    s = good, s.optimizer = (fv_optimizer)-1, refused(m, &s, "optimizer -1");
    s = good, s.schedule = (fv_schedule)7, refused(m, &s, "schedule 7");
    s = good, s.input_layout = (fv_layout)7, refused(m, &s, "layout 7");
    s = good, s.lr = -1, refused(m, &s, "learning rate");
    s = good, s.lr = (float)NAN, refused(m, &s, "learning rate");
    s = good, s.clip = (float)NAN, refused(m, &s, "clip");
    s = good, s.weight_decay = -1, refused(m, &s, "weight decay");
    s = good, s.momentum = 1, refused(m, &s, "momentum");
    s = good, s.beta2 = 1, refused(m, &s, "beta2");
    s = good, s.label_smoothing = 1, refused(m, &s, "smoothing");
    s = good, s.epsilon = -1, refused(m, &s, "epsilon");
    s = good, s.warmup_steps = -1, refused(m, &s, "schedules");
    s = good, s.schedule = FV_SCHEDULE_COSINE,
    refused(m, &s, "total_steps"); /* without it the rate would be 0 for ever */
    s = good, s.schedule = FV_SCHEDULE_STEP, refused(m, &s, "schedule_step");
    s = good, s.schedule = FV_SCHEDULE_STEP, s.schedule_step = 2, s.schedule_factor = (float)NAN,
    refused(m, &s, "schedule_factor");
    refused(NULL, &good, "needs");
    fails(fv_trainer_create(m, &good, NULL), FV_ERR_ARGUMENT, "needs");
    fv_model *out = NULL;
    fails(fv_trainer_model(NULL, &out), FV_ERR_ARGUMENT, "needs");
    ck_assert_int_eq(fv_trainer_steps(NULL), 0);
    ck_assert_uint_eq(fv_trainer_arena_bytes(NULL), 0);
    fv_trainer_settings_default(NULL);
    fv_trainer_free(NULL);
    fv_model_free(m);
    fv_context_free(c);
}
END_TEST

int main(void) {
    const TTest *const tests[] = {every_optimizer_is_as_defined,
                                  a_last_softmax_is_part_of_cross_entropy,
                                  squared_error_takes_targets_or_labels,
                                  schedules_by_value,
                                  any_team_trains_the_same_bits,
                                  layouts_train_the_same_bits,
                                  the_loss_falls_and_rows_are_counted,
                                  frozen_parameters_stay,
                                  bad_steps_change_nothing,
                                  settings_out_of_range,
                                  NULL};
    return run_tests("trainer", tests, 150);
}
