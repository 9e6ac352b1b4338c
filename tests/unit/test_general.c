/* A network of most kinds of general operators (tests/golden/general_onnxruntime.py): ONNX Runtime's answers, the same bits for any number of
 * threads and every backend, empty axes. */
#include "unit.h"

#include <math.h>

enum { x_count = 2 * 6 * 20 * 18, most_z = 2 * 9 * 16, y_count = 2 * 12, r_count = 2 * 3 };

typedef struct answers {
    float y[y_count], r[r_count];
} answers;

static void fill(float *to, int count) {
    for (int i = 0; i < count; i++) to[i] = (float)(i * 7919 % 997) / 997.0f - 0.5f;
}

/* Runs twice: what a run leaves behind does not matter. */
static answers run_general(fv_backend backend, int threads, int64_t k) {
    static float x[x_count], z[most_z];
    answers a;
    fv_context *c = context_of(backend, threads);
    fv_model *m = NULL;
    fv_session *s = NULL;
    fv_session_settings settings;
    fill(x, x_count);
    fill(z, most_z);
    const fv_tensor in[2] = {maps(x, 2, 6, 20, 18), {FV_F32, FV_PLAIN, 3, {2, k, 16}, z}};
    const fv_tensor out[2] = {rows(a.y, 2, 12), rows(a.r, 2, 3)};
    ok(fv_model_load(c, "tests/golden/general.onnx", &m));
    fv_session_settings_default(&settings);
    settings.inputs = in;
    settings.input_count = 2;
    ok(fv_session_create(m, &settings, &s));
    for (int i = 0; i < 2; i++) ok(fv_session_run(s, in, 2, out, 2));
    fv_session_free(s);
    fv_model_free(m);
    fv_context_free(c);
    return a;
}

static void near_golden(const char *path, const float *got, size_t count) {
    fv_context *c = context_of(FV_BACKEND_SERIAL, 1);
    fv_tensor t;
    size_t n;
    ok(fv_npy_read(c, path, &t));
    ok(fv_tensor_count(&t, &n));
    ck_assert_uint_eq(n, count);
    float most = 0;
    for (size_t i = 0; i < n; i++) most = fmaxf(most, fabsf(((const float *)t.data)[i]));
    for (size_t i = 0; i < n; i++)
        ck_assert_msg(fabsf(got[i] - ((const float *)t.data)[i]) <= 1e-5f * most, "%s: %zu is %.9g, not %.9g", path, i, (double)got[i],
                      (double)((const float *)t.data)[i]);
    fv_npy_free(c, &t);
    fv_context_free(c);
}

START_TEST(values_are_onnx_runtimes) {
    const answers a = run_general(FV_BACKEND_SERIAL, 1, 9);
    near_golden("tests/golden/general_y.npy", a.y, y_count);
    near_golden("tests/golden/general_r.npy", a.r, r_count);
}
END_TEST

START_TEST(bits_do_not_depend_on_threads) {
    static const int threads[] = {1, 2, 3, 8};
    fv_backend backends[3];
    const size_t count = backends_here(backends);
    const answers first = run_general(FV_BACKEND_SERIAL, 1, 9);
    for (size_t b = 0; b < count; b++)
        for (size_t i = 0; i < sizeof threads / sizeof *threads; i++) {
            const answers a = run_general(backends[b], threads[i], 9);
            ck_assert_msg(memcmp(&a, &first, sizeof a) == 0, "backend %d with %d threads gives other bits", (int)backends[b], threads[i]);
        }
}
END_TEST

/* What is summed over an empty axis is 0: the bias alone is left, in both rows. */
START_TEST(empty_axes_run) {
    fv_backend backends[3];
    const size_t count = backends_here(backends);
    const answers full = run_general(FV_BACKEND_SERIAL, 1, 9);
    for (size_t b = 0; b < count; b++) {
        const answers a = run_general(backends[b], 3, 0);
        ck_assert_mem_eq(a.y, full.y, sizeof a.y);
        near_golden("tests/golden/general_empty.npy", a.r, r_count);
    }
}
END_TEST

int main(void) {
    const TTest *const tests[] = {values_are_onnx_runtimes, bits_do_not_depend_on_threads, empty_axes_run, NULL};
    return run_tests("general", tests, 120);
}
