/* SPEC section 9, the lecture's part 4: the gradients of the worked example. The network and the terms of its
 * backpropagation are written here as the lecture writes them, in double. Each term is held against central
 * differences, and what the trainer changes against the terms. */
#include "unit.h"

#include <math.h>

enum {
    side = 20,
    k = 5,
    maps1 = 3,
    side1 = side - k + 1,
    half1 = side1 / 2,
    maps2 = 9,
    side2 = half1 - k + 1,
    half2 = side2 / 2
};

/* Parameters in the order of the model: first convolution, second convolution, fully connected unit. */
typedef struct weights {
    double k1[maps1][k][k], b1[maps1], k2[maps2][maps1][k][k], b2[maps2], w[maps2][half2][half2], b;
} weights;
enum { weight_count = sizeof(weights) / sizeof(double) };

/* Y(1) before f, Y(2) after pooling with the places of the maxima, Y(3), Y(4), z, y. */
typedef struct forward {
    double y1[maps1][side1][side1], y2[maps1][half1][half1], y3[maps2][side2][side2], y4[maps2][half2][half2], z, y,
        loss;
    int at2[maps1][half1][half1], at4[maps2][half2][half2]; /* 2 * row + column in the window */
} forward;

static const double target = 0.25;
static double relu(double v) { return v > 0 ? v : 0; }
static double slope(double v) { return v > 0 ? 1 : 0; }
static double loss_of(double y) { return 0.5 * (y - target) * (y - target); }

static int place_of_max(double a, double b, double c, double d) {
    const double v[4] = {a, b, c, d};
    int best = 0;
    for (int i = 1; i < 4; i++)
        if (v[i] > v[best]) best = i;
    return best;
}

static void first_stage(const weights *p, const float x[side][side], forward *f) {
    for (int i = 0; i < maps1; i++) {
        for (int r = 0; r < side1; r++)
            for (int c = 0; c < side1; c++) {
                f->y1[i][r][c] = p->b1[i];
                for (int u = 0; u < k; u++)
                    for (int v = 0; v < k; v++) f->y1[i][r][c] += p->k1[i][u][v] * (double)x[r + u][c + v];
            }
        for (int r = 0; r < half1; r++)
            for (int c = 0; c < half1; c++) {
                const double(*y)[side1] = (const double(*)[side1])f->y1[i];
                const int at = place_of_max(relu(y[2 * r][2 * c]), relu(y[2 * r][2 * c + 1]), relu(y[2 * r + 1][2 * c]),
                                            relu(y[2 * r + 1][2 * c + 1]));
                f->at2[i][r][c] = at;
                f->y2[i][r][c] = relu(y[2 * r + at / 2][2 * c + at % 2]);
            }
    }
}

static void second_stage(const weights *p, forward *f) {
    for (int i = 0; i < maps2; i++) {
        for (int r = 0; r < side2; r++)
            for (int c = 0; c < side2; c++) {
                f->y3[i][r][c] = p->b2[i];
                for (int j = 0; j < maps1; j++)
                    for (int u = 0; u < k; u++)
                        for (int v = 0; v < k; v++) f->y3[i][r][c] += p->k2[i][j][u][v] * f->y2[j][r + u][c + v];
            }
        for (int r = 0; r < half2; r++)
            for (int c = 0; c < half2; c++) {
                const double(*y)[side2] = (const double(*)[side2])f->y3[i];
                const int at = place_of_max(relu(y[2 * r][2 * c]), relu(y[2 * r][2 * c + 1]), relu(y[2 * r + 1][2 * c]),
                                            relu(y[2 * r + 1][2 * c + 1]));
                f->at4[i][r][c] = at;
                f->y4[i][r][c] = relu(y[2 * r + at / 2][2 * c + at % 2]);
            }
    }
}

static void run_forward(const weights *p, const float x[side][side], forward *f) {
    first_stage(p, x, f);
    second_stage(p, f);
    f->z = p->b;
    for (int i = 0; i < maps2; i++)
        for (int r = 0; r < half2; r++)
            for (int c = 0; c < half2; c++) f->z += p->w[i][r][c] * f->y4[i][r][c];
    f->y = relu(f->z);
    f->loss = loss_of(f->y);
}

/* ---- the lecture's terms ---- */

/* dL/dw(r,s,k) = (y - t) f'(z) Y(4)(r,s); returns dL/dz. */
static double unit_terms(const forward *f, weights *d) {
    const double dy = f->y - target, dz = dy * slope(f->z);
    for (int i = 0; i < maps2; i++)
        for (int r = 0; r < half2; r++)
            for (int c = 0; c < half2; c++) d->w[i][r][c] = dz * f->y4[i][r][c];
    d->b = dz;
    return dz;
}

/* dL/dK(3) = (y - t) f'(z) sum over the maxima of w f'(Y(3)) Y(2); d2: dL/dY(2). */
static void second_terms(const weights *p, const forward *f, double dz, weights *d, double d2[maps1][half1][half1]) {
    for (int i = 0; i < maps2; i++)
        for (int r = 0; r < half2; r++)
            for (int c = 0; c < half2; c++) {
                const int y = 2 * r + f->at4[i][r][c] / 2, x = 2 * c + f->at4[i][r][c] % 2;
                const double d3 = dz * p->w[i][r][c] * slope(f->y3[i][y][x]);
                d->b2[i] += d3;
                for (int j = 0; j < maps1; j++)
                    for (int u = 0; u < k; u++)
                        for (int v = 0; v < k; v++) {
                            d->k2[i][j][u][v] += d3 * f->y2[j][y + u][x + v];
                            d2[j][y + u][x + v] += d3 * p->k2[i][j][u][v];
                        }
            }
}

/* dL/dK(1): the same one layer further down. */
static void first_terms(const forward *f, const float x[side][side], double d2[maps1][half1][half1], weights *d) {
    for (int j = 0; j < maps1; j++)
        for (int r = 0; r < half1; r++)
            for (int c = 0; c < half1; c++) {
                const int row = 2 * r + f->at2[j][r][c] / 2, column = 2 * c + f->at2[j][r][c] % 2;
                const double d1 = d2[j][r][c] * slope(f->y1[j][row][column]);
                d->b1[j] += d1;
                for (int u = 0; u < k; u++)
                    for (int v = 0; v < k; v++) d->k1[j][u][v] += d1 * (double)x[row + u][column + v];
            }
}

static void all_terms(const weights *p, const forward *f, const float x[side][side], weights *d) {
    double d2[maps1][half1][half1] = {{{0}}};
    memset(d, 0, sizeof *d);
    const double dz = unit_terms(f, d);
    second_terms(p, f, dz, d, d2);
    first_terms(f, x, d2, d);
}

/* ---- the network of the zoo ---- */

static fv_model *worked_example(fv_context *c, uint64_t seed) {
    fv_zoo_settings s;
    fv_model *m = NULL;
    fv_zoo_settings_default(&s);
    s.height = s.width = side;
    s.seed = seed;
    ok(fv_model_zoo(c, "lecture", &s, &m));
    return m;
}

static void parameters(const fv_model *m, double *to) {
    size_t total = 0, count;
    for (size_t i = 0; i < fv_model_parameter_count(m); i++) {
        fv_tensor t;
        ok(fv_model_parameter(m, i, NULL, &t, NULL));
        ok(fv_tensor_count(&t, &count));
        ck_assert_uint_le(total + count, weight_count);
        for (size_t e = 0; e < count; e++) to[total++] = (double)((const float *)t.data)[e];
    }
    ck_assert_uint_eq(total, weight_count);
}

/* What a plain step of a large rate takes off each parameter, over the rate: rounding is then that of the gradient
 * itself. */
static void trained_gradient(const fv_model *m, const float x[side][side], double *gradient, double *loss) {
    enum { rate = 4096 };
    double before[weight_count], after[weight_count];
    fv_trainer_settings s;
    fv_trainer *t = NULL;
    fv_model *stepped = NULL;
    fv_step step;
    float image[side][side], wanted[1] = {(float)target};
    memcpy(image, x, sizeof image);
    fv_trainer_settings_default(&s);
    s.loss = FV_LOSS_SQUARED_ERROR;
    s.reduction = FV_REDUCTION_SUM;
    s.optimizer = FV_SGD;
    s.lr = rate;
    s.batch = 1;
    const fv_tensor in = maps(&image[0][0], 1, 1, side, side), out = rows(wanted, 1, 1);
    ok(fv_trainer_create(m, &s, &t));
    ok(fv_trainer_step(t, &in, &out, &step));
    ok(fv_trainer_model(t, &stepped));
    parameters(m, before);
    parameters(stepped, after);
    for (int i = 0; i < weight_count; i++) gradient[i] = (before[i] - after[i]) / rate;
    *loss = step.loss;
    fv_model_free(stepped);
    fv_trainer_free(t);
}

static double largest(const double *x, int n) {
    double most = 0;
    for (int i = 0; i < n; i++) most = fmax(most, fabs(x[i]));
    return most;
}

/* ---- tests ---- */

static float image[side][side];

static void fill_image(uint32_t seed) {
    for (int r = 0; r < side; r++)
        for (int c = 0; c < side; c++) image[r][c] = (float)(draw_u32(&seed) >> 24) / 255;
}

START_TEST(terms_equal_central_differences) {
    const double h = 1e-6;
    static forward f, moved;
    union {
        weights named;
        double all[weight_count];
    } p, d;
    fv_context *c = context_of(FV_BACKEND_SERIAL, 1);
    for (uint32_t seed = 1; seed <= 3; seed++) {
        fv_model *m = worked_example(c, seed);
        parameters(m, p.all);
        fv_model_free(m);
        fill_image(seed);
        run_forward(&p.named, (const float(*)[side])image, &f);
        ck_assert_double_gt(f.z, 0);
        all_terms(&p.named, &f, (const float(*)[side])image, &d.named);
        ck_assert_double_eq_tol(f.y - target, (loss_of(f.y + h) - loss_of(f.y - h)) / (2 * h), 1e-8);
        ck_assert_double_eq_tol(d.named.b, (loss_of(relu(f.z + h)) - loss_of(relu(f.z - h))) / (2 * h), 1e-8);
        for (int i = 0; i < weight_count; i++) {
            double side_loss[2];
            const double kept = p.all[i];
            for (int s = 0; s < 2; s++) {
                p.all[i] = kept + (s ? -h : h);
                run_forward(&p.named, (const float(*)[side])image, &moved);
                side_loss[s] = moved.loss;
            }
            p.all[i] = kept;
            const double difference = (side_loss[0] - side_loss[1]) / (2 * h);
            ck_assert_msg(fabs(difference - d.all[i]) <= 1e-7 * (1 + fabs(difference)),
                          "parameter %d: %.10g, differences %.10g", i, d.all[i], difference);
        }
    }
    fv_context_free(c);
}
END_TEST

/* Each group of parameters against its own term, on every instruction set. */
START_TEST(the_trainer_gives_the_terms) {
    static const struct {
        const char *term;
        size_t at, count;
    } groups[] = {
        {"dL/dK(1)", offsetof(weights, k1), maps1 * k * k},         {"dL/dB(1)", offsetof(weights, b1), maps1},
        {"dL/dK(3)", offsetof(weights, k2), maps2 * maps1 * k * k}, {"dL/dB(3)", offsetof(weights, b2), maps2},
        {"dL/dw", offsetof(weights, w), maps2 * half2 * half2},     {"dL/dz", offsetof(weights, b), 1}};
    static forward f;
    union {
        weights named;
        double all[weight_count];
    } p, d;
    double trained[weight_count], loss;
    for (int fast = 0; fast < 2; fast++)
        for (uint32_t seed = 1; seed <= 3; seed++) {
            fv_context_settings settings = settings_of(FV_BACKEND_SERIAL, 1);
            if (!fast) settings.isa = "scalar";
            fv_context *c = context_with(&settings);
            fv_model *m = worked_example(c, seed);
            parameters(m, p.all);
            fill_image(seed);
            run_forward(&p.named, (const float(*)[side])image, &f);
            all_terms(&p.named, &f, (const float(*)[side])image, &d.named);
            trained_gradient(m, (const float(*)[side])image, trained, &loss);
            ck_assert_double_eq_tol(loss, f.loss, 1e-6);
            for (size_t g = 0; g < sizeof groups / sizeof *groups; g++) {
                const double *want = d.all + groups[g].at / sizeof(double),
                             *got = trained + groups[g].at / sizeof(double);
                const double most = largest(want, (int)groups[g].count);
                ck_assert_double_gt(most, 0);
                for (size_t i = 0; i < groups[g].count; i++)
                    ck_assert_msg(fabs(got[i] - want[i]) <= 4e-6 * most, "%s[%zu]: %.9g, the term is %.9g",
                                  groups[g].term, i, got[i], want[i]);
            }
            fv_model_free(m);
            fv_context_free(c);
        }
}
END_TEST

/* One ReLU unit unless classes are asked for, which are logits. */
START_TEST(one_unit_or_classes) {
    fv_context *c = context_of(FV_BACKEND_SERIAL, 1);
    fv_zoo_settings s;
    fv_model *m = NULL;
    fv_tensor shape;
    float x[28 * 28] = {0}, y[10];
    ok(fv_model_zoo(c, "lecture", NULL, &m));
    ok(fv_model_output(m, 0, NULL, &shape));
    ck_assert_int_eq(shape.shape[1], 1);
    fv_session *session = NULL;
    const fv_tensor in = maps(x, 1, 1, 28, 28), out = rows(y, 1, 1);
    ok(fv_session_create(m, NULL, &session));
    ok(fv_session_run(session, &in, 1, &out, 1));
    ck_assert_float_eq(y[0], 1); /* the bias */
    fv_session_free(session);
    fv_model_free(m);
    fv_zoo_settings_default(&s);
    s.classes = 10;
    ok(fv_model_zoo(c, "lecture", &s, &m));
    ok(fv_model_output(m, 0, NULL, &shape));
    ck_assert_int_eq(shape.shape[1], 10);
    fv_model_free(m);
    fv_context_free(c);
}
END_TEST

int main(void) {
    const TTest *const tests[] = {terms_equal_central_differences, the_trainer_gives_the_terms, one_unit_or_classes,
                                  NULL};
    return run_tests("lecture", tests, 120);
}
