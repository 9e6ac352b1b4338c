/* Sessions: right numbers against plain loops, memory the caller brings, layouts, many at once, misuse. */
#include "unit.h"

#include <math.h>
#include <time.h>

static void run_into(const fv_model *m, const fv_session_settings *s, float *x, float *y, fv_layout in_layout) {
    fv_session *session = NULL;
    ok(fv_session_create(m, s, &session));
    fv_tensor in = maps(x, s->batch, net_c, net_h, net_w), out = rows(y, s->batch, net_out);
    in.layout = in_layout;
    ok(fv_session_run(session, &in, 1, &out, 1));
    fv_session_free(session);
}

static fv_session_settings batch_of(int64_t n) {
    fv_session_settings s;
    fv_session_settings_default(&s);
    s.batch = n;
    return s;
}

/* ---- the small network in double, by nested loops ---- */

static const float *parameter(const fv_model *m, const char *wanted) {
    for (size_t i = 0; i < fv_model_parameter_count(m); i++) {
        const char *name;
        fv_tensor t;
        ok(fv_model_parameter(m, i, &name, &t, NULL));
        if (strcmp(name, wanted) == 0) return t.data;
    }
    ck_abort_msg("no parameter %s", wanted);
    return NULL;
}

static void conv3x3(const double *x, int c, int h, int w, const float *k, const float *b, int maps_out, double *y) {
    for (int o = 0; o < maps_out; o++)
        for (int i = 0; i < h; i++)
            for (int j = 0; j < w; j++) {
                double sum = (double)b[o];
                for (int a = 0; a < c; a++)
                    for (int u = -1; u <= 1; u++)
                        for (int v = -1; v <= 1; v++)
                            if (i + u >= 0 && i + u < h && j + v >= 0 && j + v < w)
                                sum +=
                                    x[(a * h + i + u) * w + j + v] * (double)k[((o * c + a) * 3 + u + 1) * 3 + v + 1];
                y[(o * h + i) * w + j] = sum;
            }
}

static void pool2x2(const double *x, int c, int h, int w, int stride, bool max, double *y) {
    const int oh = (h - 2) / stride + 1, ow = (w - 2) / stride + 1;
    for (int a = 0; a < c; a++)
        for (int i = 0; i < oh; i++)
            for (int j = 0; j < ow; j++) {
                const double *p = x + (a * h + i * stride) * w + j * stride;
                y[(a * oh + i) * ow + j] =
                    max ? fmax(fmax(p[0], p[1]), fmax(p[w], p[w + 1])) : (p[0] + p[1] + p[w] + p[w + 1]) / 4;
            }
}

static void linear(const double *x, int n, const float *w, const float *b, int out, double *y) {
    for (int o = 0; o < out; o++) {
        y[o] = (double)b[o];
        for (int i = 0; i < n; i++) y[o] += x[i] * (double)w[o * n + i];
    }
}

static void reference(const fv_model *m, const float *image, double *y) {
    double a[6 * net_h * net_w], b[6 * net_h * net_w];
    for (int i = 0; i < net_in; i++) b[i] = (double)image[i];
    conv3x3(b, net_c, net_h, net_w, parameter(m, "conv1.weight"), parameter(m, "conv1.bias"), 6, a);
    for (int i = 0; i < 6 * net_h * net_w; i++) a[i] = fmax(a[i], 0);
    pool2x2(a, 6, net_h, net_w, 2, true, b);
    conv3x3(b, 6, 5, 4, parameter(m, "conv2.weight"), parameter(m, "conv2.bias"), 7, a);
    for (int i = 0; i < 7 * 20; i++) a[i] = tanh(a[i]);
    pool2x2(a, 7, 5, 4, 1, false, b);
    linear(b, 7 * 12, parameter(m, "fc1.weight"), parameter(m, "fc1.bias"), 13, a);
    for (int i = 0; i < 13; i++) a[i] = fmax(a[i], 0);
    linear(a, 13, parameter(m, "fc2.weight"), parameter(m, "fc2.bias"), net_out, y);
}

START_TEST(numbers_are_right_in_both_layouts_and_all_batches) {
    static const char *const isas[] = {NULL, "scalar"};
    for (int isa = 0; isa < 2; isa++) {
        fv_context_settings s = settings_of(FV_BACKEND_PTHREADS, 2);
        s.isa = isas[isa];
        fv_context *c = context_with(&s);
        fv_model *m = small_model(c, true); /* dropout does nothing here */
        for (int64_t n = 1; n <= 5; n++) {
            float x[5 * net_in], last[5 * net_in], y[5 * net_out], z[5 * net_out];
            draw_all(x, (size_t)n * net_in, (uint32_t)n);
            for (int64_t i = 0; i < n; i++)
                for (int p = 0; p < net_h * net_w; p++)
                    for (int a = 0; a < net_c; a++)
                        last[i * net_in + p * net_c + a] = x[i * net_in + a * net_h * net_w + p];
            fv_session_settings settings = batch_of(n);
            run_into(m, &settings, x, y, FV_PLAIN);
            settings.input_layout = FV_NHWC;
            run_into(m, &settings, last, z, FV_NHWC);
            for (int64_t i = 0; i < n; i++) {
                double want[net_out];
                reference(m, x + i * net_in, want);
                for (int k = 0; k < net_out; k++) {
                    ck_assert_msg(fabs((double)y[i * net_out + k] - want[k]) < 2e-5, "%g instead of %g",
                                  (double)y[i * net_out + k], want[k]);
                    ck_assert(y[i * net_out + k] == z[i * net_out + k]);
                }
            }
        }
        fv_model_free(m);
        fv_context_free(c);
    }
}
END_TEST

/* ---- the same bits on any team ---- */

static fv_model *zoo(fv_context *c, const char *name) {
    fv_zoo_settings s;
    fv_model *m = NULL;
    fv_zoo_settings_default(&s);
    s.classes = 10;
    ok(fv_model_zoo(c, name, &s, &m));
    return m;
}

START_TEST(any_team_gives_the_same_bits) {
    static const char *const names[] = {"lenet5", "cnn", "lecture", "lenet5-1998", "allconv", "se-cnn"};
    static float x[3 * 784], first[30], y[30];
    fv_backend backends[3];
    const size_t n = backends_here(backends);
    draw_all(x, 3 * 784, 8);
    for (size_t model = 0; model < sizeof names / sizeof *names; model++)
        for (size_t b = 0; b < n; b++)
            for (int threads = 1; threads <= 8; threads = threads == 3 ? 8 : threads + 1) {
                fv_context *c = context_of(backends[b], threads);
                fv_model *m = zoo(c, names[model]);
                const fv_session_settings settings = batch_of(3);
                fv_session *s = NULL;
                const fv_tensor in = maps(x, 3, 1, 28, 28), out = rows(y, 3, 10);
                ok(fv_session_create(m, &settings, &s));
                for (int again = 0; again < 3; again++) {
                    memset(y, 0, sizeof y);
                    ok(fv_session_run(s, &in, 1, &out, 1));
                    if (b == 0 && threads == 1 && again == 0) memcpy(first, y, sizeof y);
                    ck_assert_msg(memcmp(first, y, sizeof y) == 0, "%s differs on backend %d with %d threads",
                                  names[model], (int)backends[b], threads);
                }
                fv_session_free(s);
                fv_model_free(m);
                fv_context_free(c);
            }
}
END_TEST

/* ---- memory ---- */

START_TEST(the_caller_may_bring_the_arena) {
    fv_context *c = context_of(FV_BACKEND_PTHREADS, 2);
    fv_model *m = small_model(c, false);
    fv_session_settings s = batch_of(2);
    fv_session *session = NULL;
    float x[2 * net_in], y[2 * net_out], z[2 * net_out];
    size_t bytes;
    draw_all(x, 2 * net_in, 4);
    run_into(m, &s, x, z, FV_PLAIN);
    ok(fv_session_bytes(m, &s, &bytes));
    ck_assert_uint_gt(bytes, 0);
    char *memory = NULL;
    ck_assert_int_eq(posix_memalign((void **)&memory, 64, bytes + 128), 0);
    memset(memory, 0x5a, bytes + 128);
    s.arena = memory + 64;
    s.arena_bytes = bytes - 1;
    fails(fv_session_create(m, &s, &session), FV_ERR_LIMIT, "the arena given has");
    s.arena_bytes = bytes;
    s.arena = memory + 32;
    fails(fv_session_create(m, &s, &session), FV_ERR_ARGUMENT, "not 64-byte aligned");
    ck_assert_ptr_null(session);
    s.arena = memory + 64;
    ok(fv_session_create(m, &s, &session));
    ck_assert_uint_eq(fv_session_arena_bytes(session), bytes);
    const fv_tensor in = maps(x, 2, net_c, net_h, net_w), out = rows(y, 2, net_out);
    for (int i = 0; i < 3; i++) {
        ok(fv_session_run(session, &in, 1, &out, 1));
        ck_assert_int_eq(memcmp(y, z, sizeof y), 0);
        memset(memory + 64, 0xff, bytes); /* NaN everywhere: nothing is kept there between runs */
    }
    for (size_t i = 0; i < 64; i++) ck_assert(memory[i] == 0x5a && memory[64 + bytes + i] == 0x5a);
    fv_session_free(session);
    free(memory);
    fv_model_free(m);
    fv_context_free(c);
}
END_TEST

START_TEST(packed_weights_are_shared) {
    ledger l = {0};
    fv_context_settings settings = settings_of(FV_BACKEND_PTHREADS, 2);
    ledger_use(&settings, &l);
    fv_context *c = context_with(&settings);
    fv_model *m = zoo(c, "lenet5");
    fv_session *a = NULL, *b = NULL;
    float x[784], y[10], z[10];
    draw_all(x, 784, 2);
    const fv_tensor in = maps(x, 1, 1, 28, 28), out = rows(y, 1, 10), other = rows(z, 1, 10);
    size_t unused;
    const long empty = l.bytes;
    ok(fv_session_bytes(m, NULL, &unused)); /* asking leaves nothing behind */
    ck_assert_int_eq(l.bytes, empty);
    ok(fv_session_create(m, NULL, &a));
    const long one = l.bytes;
    ok(fv_session_create(m, NULL, &b));
    const long two = l.bytes;
    const size_t packed = fv_session_packed_bytes(a);
    ck_assert_uint_ge(packed, 61706 * 4 - 1000);
    ck_assert_uint_eq(fv_session_packed_bytes(b), packed);
    ck_assert_int_gt(one - empty, (long)packed);
    ck_assert_msg(two - one <= one - empty - (long)packed,
                  "the second session takes %ld bytes, the first %ld with %zu of weights", two - one, one - empty,
                  packed);
    ok(fv_session_run(a, &in, 1, &out, 1));
    fv_session_free(a);
    ok(fv_session_run(b, &in, 1, &other, 1)); /* does not need the one that packed */
    ck_assert_int_eq(memcmp(y, z, sizeof y), 0);
    fv_session_free(b);
    fv_model_free(m);
    fv_context_free(c);
    ck_assert_int_eq(l.blocks, 0);
}
END_TEST

/* ---- tensors of the caller ---- */

START_TEST(tensors_need_no_more_than_element_alignment) {
    fv_context *c = context_of(FV_BACKEND_PTHREADS, 2);
    fv_model *m = small_model(c, false);
    float want[net_out];
    _Alignas(64) float x[net_in + 16], y[net_out + 16];
    for (int offset = 0; offset < 16; offset++) {
        const fv_session_settings s = batch_of(1);
        draw_all(x + offset, net_in, 6);
        memset(y, 0x5a, sizeof y);
        run_into(m, &s, x + offset, y + offset, FV_PLAIN);
        if (offset == 0) memcpy(want, y, sizeof want);
        ck_assert_int_eq(memcmp(want, y + offset, sizeof want), 0);
        for (int i = 0; i < net_out + 16; i++) /* and only the output is written */
            if (i < offset || i >= offset + net_out) ck_assert_int_eq(memcmp(&y[i], "ZZZZ", 4), 0);
    }
    fv_model_free(m);
    fv_context_free(c);
}
END_TEST

static fv_tensor reshaped(fv_tensor t, int32_t rank, int axis, int64_t size) {
    t.rank = rank;
    t.shape[axis] = size;
    return t;
}

START_TEST(what_does_not_fit_is_refused_and_nothing_written) {
    fv_context *c = context_of(FV_BACKEND_PTHREADS, 2);
    fv_model *m = small_model(c, false);
    const fv_session_settings settings = batch_of(2);
    fv_session *s = NULL;
    static float x[4 * net_in];
    _Alignas(8) char room[2 * net_out * sizeof(float) + 8];
    float *y = (float *)room;
    memset(room, 0x5a, sizeof room);
    ok(fv_session_create(m, &settings, &s));
    const fv_tensor in = maps(x, 2, net_c, net_h, net_w), out = rows(y, 2, net_out);
    fv_tensor t = reshaped(in, 4, 0, 1);
    fails(fv_session_run(s, &t, 1, &out, 1), FV_ERR_SHAPE,
          "input \"x\" has shape (1,3,11,9), but the session was planned for (2,3,11,9)");
    t = reshaped(in, 4, 3, net_w + 1);
    fails(fv_session_run(s, &t, 1, &out, 1), FV_ERR_SHAPE, "(2,3,11,10)");
    t = reshaped(in, 3, 0, 2);
    fails(fv_session_run(s, &t, 1, &out, 1), FV_ERR_SHAPE, "(2,3,11)");
    t = reshaped(in, FV_MAX_RANK + 1, 0, 2);
    fails(fv_session_run(s, &t, 1, &out, 1), FV_ERR_SHAPE, "rank 9");
    t = reshaped(in, -1, 0, 2);
    fails(fv_session_run(s, &t, 1, &out, 1), FV_ERR_SHAPE, "rank -1");
    t = in;
    t.layout = FV_NHWC;
    fails(fv_session_run(s, &t, 1, &out, 1), FV_ERR_SHAPE, "layout");
    t = in;
    t.dtype = FV_F64;
    fails(fv_session_run(s, &t, 1, &out, 1), FV_ERR_ARGUMENT, "element type");
    t = in;
    t.data = NULL;
    fails(fv_session_run(s, &t, 1, &out, 1), FV_ERR_ARGUMENT, "input \"x\" has no data");
    t.data = (char *)x + 1;
    fails(fv_session_run(s, &t, 1, &out, 1), FV_ERR_ARGUMENT, "not aligned");
    t = reshaped(out, 2, 1, net_out + 1);
    fails(fv_session_run(s, &in, 1, &t, 1), FV_ERR_SHAPE, "output \"y\"");
    t = out;
    t.data = room + 2;
    fails(fv_session_run(s, &in, 1, &t, 1), FV_ERR_ARGUMENT, "not aligned");
    t.data = x + 2 * net_in - 1; /* overlaps the input by one element */
    fails(fv_session_run(s, &in, 1, &t, 1), FV_ERR_ARGUMENT, "overlaps");
    t.data = x + 2 * net_in;
    ok(fv_session_run(s, &in, 1, &t, 1)); /* side by side is fine */
    fails(fv_session_run(s, &in, 0, &out, 1), FV_ERR_ARGUMENT, "0 inputs and 1 outputs");
    fails(fv_session_run(s, &in, 1, &out, 2), FV_ERR_ARGUMENT, "2 outputs");
    fails(fv_session_run(NULL, &in, 1, &out, 1), FV_ERR_ARGUMENT, "needs");
    fails(fv_session_run(s, NULL, 1, &out, 1), FV_ERR_ARGUMENT, "needs");
    fails(fv_session_run(s, &in, 1, NULL, 1), FV_ERR_ARGUMENT, "needs");
    for (size_t i = 0; i < sizeof room; i++) ck_assert_int_eq(room[i], 0x5a);
    ok(fv_session_run(s, &in, 1, &out, 1)); /* a refused run leaves the session as it was */
    ck_assert_int_ne(room[0], 0x5a);
    fv_session_free(s);
    fv_model_free(m);
    fv_context_free(c);
}
END_TEST

/* ---- many threads ---- */

typedef struct runner {
    const fv_model *model;
    fv_session *session; /* NULL: makes its own */
    float *x, y[2 * net_out];
    const float *want;
    atomic_int *stop;
    int busy, wrong;
} runner;

static void *run_often(void *arg) {
    runner *r = arg;
    const fv_session_settings settings = batch_of(2);
    fv_session *s = r->session;
    const fv_tensor in = maps(r->x, 2, net_c, net_h, net_w), out = rows(r->y, 2, net_out);
    if (!s && fv_session_create(r->model, &settings, &s) != FV_OK) r->wrong++;
    for (int i = 0; s && (r->session ? !*r->stop : i < 50); i++) {
        memset(r->y, 0, sizeof r->y);
        const fv_status status = fv_session_run(s, &in, 1, &out, 1);
        if (status == FV_ERR_BUSY) {
            *r->stop = 1;
            r->busy++;
        } else if (status != FV_OK || memcmp(r->y, r->want, sizeof r->y) != 0) {
            r->wrong++;
        }
    }
    if (!r->session) fv_session_free(s);
    return NULL;
}

START_TEST(many_sessions_share_a_model) {
    static float x[2 * net_in], want[2 * net_out];
    fv_backend backends[3];
    const size_t n = backends_here(backends);
    draw_all(x, 2 * net_in, 11);
    for (size_t b = 0; b < n; b++) {
        fv_context *c = context_of(backends[b], 2);
        fv_model *m = small_model(c, false), *other = small_model(c, false);
        const fv_session_settings settings = batch_of(2);
        run_into(other, &settings, x, want, FV_PLAIN); /* m's weights are packed by whichever thread is first */
        pthread_t threads[8];
        runner runners[8];
        for (int i = 0; i < 8; i++) {
            runners[i] = (runner){.model = m, .x = x, .want = want};
            ck_assert_int_eq(pthread_create(&threads[i], NULL, run_often, &runners[i]), 0);
        }
        for (int i = 0; i < 8; i++) {
            pthread_join(threads[i], NULL);
            ck_assert_int_eq(runners[i].wrong, 0);
        }
        fv_model_free(m);
        fv_model_free(other);
        fv_context_free(c);
    }
}
END_TEST

START_TEST(a_session_serves_one_thread_at_a_time) {
    static float x[2 * net_in], want[2 * net_out];
    atomic_int stop = 0;
    fv_context *c = context_of(FV_BACKEND_SERIAL, 1);
    fv_model *m = small_model(c, false);
    const fv_session_settings settings = batch_of(2);
    fv_session *s = NULL;
    pthread_t threads[2];
    runner runners[2];
    draw_all(x, 2 * net_in, 12);
    run_into(m, &settings, x, want, FV_PLAIN);
    ok(fv_session_create(m, &settings, &s));
    for (int i = 0; i < 2; i++) {
        runners[i] = (runner){.model = m, .session = s, .x = x, .want = want, .stop = &stop};
        ck_assert_int_eq(pthread_create(&threads[i], NULL, run_often, &runners[i]), 0);
    }
    for (int i = 0; i < 2; i++) {
        pthread_join(threads[i], NULL); /* ends when one was told FV_ERR_BUSY; the test's time limit otherwise */
        ck_assert_int_eq(runners[i].wrong, 0);
    }
    ck_assert_int_ge(runners[0].busy + runners[1].busy, 1);
    fv_session_free(s);
    fv_model_free(m);
    fv_context_free(c);
}
END_TEST

/* ---- freed while it runs ---- */

enum { long_batch = 1024 };
typedef struct long_run {
    fv_session *session;
    float *x, *y;
    atomic_int done;
    fv_status status;
} long_run;

static void *run_long(void *arg) {
    long_run *r = arg;
    const fv_tensor in = maps(r->x, long_batch, net_c, net_h, net_w), out = rows(r->y, long_batch, net_out);
    do
        r->status = fv_session_run(r->session, &in, 1, &out, 1);
    while (r->status == FV_ERR_BUSY); /* with the looking below */
    r->done = 1;
    return NULL;
}

START_TEST(freeing_waits_for_the_run) {
    static float x[long_batch * net_in], y[long_batch * net_out], want[long_batch * net_out];
    fv_context *c = context_of(FV_BACKEND_SERIAL, 1);
    fv_model *m = small_model(c, false);
    const fv_session_settings settings = batch_of(long_batch);
    const fv_tensor in = maps(x, long_batch, net_c, net_h, net_w);
    draw_all(x, sizeof x / sizeof *x, 12);
    run_into(m, &settings, x, want, FV_PLAIN);
    int seen = 0;
    for (int i = 0; i < 20; i++) {
        long_run r = {.x = x, .y = y};
        pthread_t thread;
        memset(y, 0x5a, sizeof y);
        ok(fv_session_create(m, &settings, &r.session));
        ck_assert_int_eq(pthread_create(&thread, NULL, run_long, &r), 0);
        while (!r.done && fv_session_prepare(r.session, &in, 1) != FV_ERR_BUSY) sched_yield();
        seen += !r.done; /* it runs */
        fv_session_free(r.session);
        const bool whole = memcmp(y, want, sizeof y) == 0;
        pthread_join(thread, NULL);
        ok(r.status);
        ck_assert(whole);
    }
    ck_assert_int_gt(seen, 0);
    fv_model_free(m);
    fv_context_free(c);
}
END_TEST

/* ---- what a session tells ---- */

START_TEST(nodes_are_described) {
    static const struct {
        const char *name;
        int32_t field;
        int64_t maps, side;
    } want[] = {{"conv1", 5, 6, 28}, {"pool1", 6, 6, 14}, {"conv2", 14, 16, 10}, {"pool2", 16, 16, 5},
                {"fc1", 0, 120, 0},  {"fc2", 0, 84, 0},   {"fc3", 0, 10, 0}};
    static float x[8 * 784], y[80];
    for (int profile = 0; profile < 2; profile++) {
        fv_context *c = context_of(FV_BACKEND_PTHREADS, 2);
        fv_model *m = zoo(c, "lenet5");
        fv_session_settings settings = batch_of(8);
        fv_session *s = NULL;
        fv_node_info info;
        size_t found = 0;
        double sum = 0;
        settings.profile = profile;
        ok(fv_session_create(m, &settings, &s));
        const fv_tensor in = maps(x, 8, 1, 28, 28), out = rows(y, 8, 10);
        for (int i = 0; i < 5; i++) ok(fv_session_run(s, &in, 1, &out, 1));
        for (size_t i = 0; i < fv_session_node_count(s); i++) {
            ok(fv_session_node(s, i, &info));
            ck_assert(info.name && info.op && info.algorithm && info.phases > 0 && info.pieces > 0 && info.bytes > 0);
            sum += info.seconds;
            for (size_t k = 0; k < sizeof want / sizeof *want; k++)
                if (strcmp(info.name, want[k].name) == 0) {
                    found++;
                    ck_assert_int_eq(info.receptive_field[0], want[k].field);
                    ck_assert_int_eq(info.receptive_field[1], want[k].field);
                    ck_assert_int_eq(info.shape[0], 8);
                    ck_assert_int_eq(info.shape[1], want[k].maps);
                    if (want[k].side)
                        ck_assert(info.rank == 4 && info.shape[2] == want[k].side && info.shape[3] == want[k].side);
                }
            if (strcmp(info.name, "conv2") == 0) ck_assert(info.flops == 2.0 * 8 * 16 * 100 * 6 * 25);
        }
        ck_assert_uint_eq(found, 7);
        ck_assert(profile ? sum > 0 && sum < 1 : sum == 0);
        fails(fv_session_node(s, fv_session_node_count(s), &info), FV_ERR_ARGUMENT, "no node");
        fv_session_free(s);
        fv_model_free(m);
        fv_context_free(c);
    }
}
END_TEST

START_TEST(batches_out_of_range) {
    fv_context_settings limited = settings_of(FV_BACKEND_SERIAL, 1);
    limited.memory_limit = (size_t)1 << 30;
    fv_context *c = context_with(&limited);
    fv_model *m = zoo(c, "lenet5");
    fv_session *s = NULL;
    size_t bytes = 7;
    static const int64_t bad[] = {0, -1, INT64_MIN, INT64_MAX, (int64_t)INT32_MAX + 1};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        const fv_session_settings settings = batch_of(bad[i]);
        fails(fv_session_create(m, &settings, &s), FV_ERR_ARGUMENT, "batch");
        fails(fv_session_bytes(m, &settings, &bytes), FV_ERR_ARGUMENT, "batch");
    }
    ck_assert_uint_eq(bytes, 7);
    const fv_session_settings settings = batch_of(INT32_MAX);
    fails(fv_session_create(m, &settings, &s), FV_ERR_LIMIT, ""); /* 2^31 images: refused, not tried */
    fv_session_settings odd = batch_of(1);
    odd.input_layout = (fv_layout)5;
    fails(fv_session_create(m, &odd, &s), FV_ERR_ARGUMENT, "layout");
    fails(fv_session_create(NULL, NULL, &s), FV_ERR_ARGUMENT, "needs");
    fails(fv_session_create(m, NULL, NULL), FV_ERR_ARGUMENT, "needs");
    fails(fv_session_bytes(NULL, NULL, &bytes), FV_ERR_ARGUMENT, "needs");
    fails(fv_session_bytes(m, NULL, NULL), FV_ERR_ARGUMENT, "needs");
    fails(fv_session_node(NULL, 0, NULL), FV_ERR_ARGUMENT, "no node");
    ck_assert_ptr_null(s);
    ck_assert_uint_eq(fv_session_node_count(NULL) + fv_session_arena_bytes(NULL) + fv_session_packed_bytes(NULL), 0);
    fv_session_settings_default(NULL);
    fv_session_free(NULL);
    fv_model_free(m);
    fv_context_free(c);
}
END_TEST

/* Without all_threads: lenet5 is done before another thread is awake, squeezenet1_1 has phases of both kinds. */
START_TEST(small_networks_stay_on_few_threads) {
    static const struct {
        const char *name;
        int64_t side, channels, classes;
        int threads;
    } nets[] = {{"lenet5", 28, 1, 10, 1}, {"squeezenet1_1", 96, 3, 20, 2}};
    static float x[3 * 96 * 96], few[20], all[20];
    for (size_t n = 0; n < 2; n++)
        for (int every = 0; every < 2; every++) {
            fv_context_settings s = settings_of(FV_BACKEND_PTHREADS, 2);
            s.all_threads = every;
            fv_context *c = context_with(&s);
            fv_zoo_settings zoo;
            fv_zoo_settings_default(&zoo);
            zoo.height = zoo.width = (int32_t)nets[n].side;
            zoo.classes = (int32_t)nets[n].classes;
            fv_model *m = NULL;
            fv_session *session = NULL;
            ok(fv_model_zoo(c, nets[n].name, &zoo, &m));
            ok(fv_session_create(m, NULL, &session));
            fv_cpu_info cpu;
            ok(fv_context_info(c, &cpu));
            if (strcmp(cpu.isa, "scalar") != 0) /* everything takes long there */
                ck_assert_int_eq(fv_session_threads(session), every ? 2 : nets[n].threads);
            draw_all(x, (size_t)(nets[n].channels * nets[n].side * nets[n].side), 5);
            const fv_tensor in = maps(x, 1, nets[n].channels, nets[n].side, nets[n].side),
                            out = rows(every ? all : few, 1, nets[n].classes);
            for (int again = 0; again < 20; again++) {
                ok(fv_session_run(session, &in, 1, &out, 1));
                if (every) ck_assert_int_eq(memcmp(few, all, sizeof *few * (size_t)nets[n].classes), 0);
            }
            fv_session_free(session);
            fv_model_free(m);
            fv_context_free(c);
        }
}
END_TEST

START_TEST(a_session_has_threads_of_its_own) {
    fv_context *c = context_of(FV_BACKEND_PTHREADS, 2);
    fv_model *m = zoo(c, "cnn");
    static float x[2 * 784], first[20], y[20];
    draw_all(x, 2 * 784, 5);
    const fv_tensor in = maps(x, 2, 1, 28, 28), out = rows(y, 2, 10);
    fv_session_settings settings = batch_of(2);
    fv_session *s = NULL;
    fv_memory one = {0}, four = {0};
    for (int threads = 0; threads <= 4; threads++) {
        settings.threads = threads;
        ok(fv_session_create(m, &settings, &s));
        ok(fv_session_run(s, &in, 1, &out, 1));
        if (threads == 0) memcpy(first, y, sizeof y);
        ck_assert_int_eq(memcmp(first, y, sizeof y), 0);
        ok(fv_session_memory(s, threads == 1 ? &one : &four));
        fv_session_free(s);
    }
    ck_assert_uint_eq(four.arena, one.arena);
    ck_assert_uint_eq(four.scratch, 4 * one.scratch);
    ck_assert_uint_eq(four.packed, one.packed);
    s = NULL;
    static const int32_t bad[] = {-1, 1025, 1 << 20, INT32_MIN};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        settings.threads = bad[i];
        fails(fv_session_create(m, &settings, &s), FV_ERR_ARGUMENT, "threads");
    }
    ck_assert_ptr_null(s);
    fails(fv_session_memory(NULL, &one), FV_ERR_ARGUMENT, "needs");
    fv_model_free(m);
    fv_context_free(c);
}
END_TEST

/* ---- denormal inputs cost nothing ---- */

static double best_run(fv_session *s, const fv_tensor *in, const fv_tensor *out) {
    double best = 1e9;
    for (int i = 0; i < 15; i++) {
        struct timespec a, b;
        clock_gettime(CLOCK_MONOTONIC, &a);
        ok(fv_session_run(s, in, 1, out, 1));
        clock_gettime(CLOCK_MONOTONIC, &b);
        best = fmin(best, (double)(b.tv_sec - a.tv_sec) + 1e-9 * (double)(b.tv_nsec - a.tv_nsec));
    }
    return best;
}

START_TEST(denormals_are_not_slow) {
    static float x[8 * 784], tiny[8 * 784], y[80];
    fv_context *c = context_of(FV_BACKEND_PTHREADS, 2);
    fv_model *m = zoo(c, "lenet5");
    const fv_session_settings settings = batch_of(8);
    fv_session *s = NULL;
    draw_all(x, 8 * 784, 3);
    for (int i = 0; i < 8 * 784; i++) tiny[i] = x[i] * 1e-39f;
    ok(fv_session_create(m, &settings, &s));
    const fv_tensor in = maps(x, 8, 1, 28, 28), low = maps(tiny, 8, 1, 28, 28), out = rows(y, 8, 10);
    const double normal = best_run(s, &in, &out), denormal = best_run(s, &low, &out);
    ck_assert_msg(denormal < 2 * normal, "%.0f us for denormals, %.0f us for others", 1e6 * denormal, 1e6 * normal);
    fv_session_free(s);
    fv_model_free(m);
    fv_context_free(c);
}
END_TEST

int main(void) {
    const TTest *const tests[] = {numbers_are_right_in_both_layouts_and_all_batches,
                                  any_team_gives_the_same_bits,
                                  the_caller_may_bring_the_arena,
                                  packed_weights_are_shared,
                                  tensors_need_no_more_than_element_alignment,
                                  what_does_not_fit_is_refused_and_nothing_written,
                                  many_sessions_share_a_model,
                                  a_session_serves_one_thread_at_a_time,
                                  freeing_waits_for_the_run,
                                  nodes_are_described,
                                  batches_out_of_range,
                                  small_networks_stay_on_few_threads,
                                  a_session_has_threads_of_its_own,
                                  denormals_are_not_slow,
                                  NULL};
    return run_tests("session", tests, 120);
}
