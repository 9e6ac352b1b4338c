/* Operators together: random small networks that mix convolutions of all kinds, connection tables, untied biases, normalization,
 * clamps, sums, pooling and constants are trained and run in several ways that must agree. */
#include "unit.h"

#include <math.h>
#include <unistd.h>

enum { channels = 4, side = 8, most_batch = 3, outputs = 3, room = 1 << 16 };

/* One drawn network: the same numbers give the same graph. With `apart` no clamp is one that graph passes know: none is fused or
 * taken through the pooling. */
typedef struct network {
    uint32_t seed;
    bool apart, whole; /* whole: nothing is constant */
} network;

static uint32_t state;
static int32_t between(int32_t low, int32_t high) {
    return low + (int32_t)((draw_u32(&state) >> 8) % (uint32_t)(high - low + 1));
}
static bool chance(int32_t percent) { return between(0, 99) < percent; }

static fv_value clamp(fv_graph *g, fv_value y, bool apart) {
    const int32_t kind = between(0, 2);
    if (kind == 0) return y;
    return apart ? fv_graph_leaky_relu(g, y, 0, NULL) : fv_graph_relu(g, y, NULL);
}

static fv_value transposed(fv_graph *g, fv_value x) {
    fv_conv_transpose_settings s;
    fv_conv_transpose_settings_default(&s);
    s.out_channels = channels;
    s.pad_before[0] = s.pad_before[1] = s.pad_after[0] = s.pad_after[1] = 1;
    if (chance(40)) s.groups = channels;
    return fv_graph_conv_transpose(g, x, &s, NULL);
}

/* Keeps the shape. */
static fv_value layer(fv_graph *g, fv_value x, bool apart) {
    const int32_t kind = between(0, 10);
    uint8_t table[channels * channels];
    fv_norm_settings norm;
    fv_conv_settings s;
    fv_conv_settings_default(&s);
    fv_norm_settings_default(&norm);
    s.out_channels = channels;
    s.padding = FV_PAD_SAME_UPPER;
    s.bias = (fv_bias)between(0, 2);
    s.true_convolution = chance(30);
    for (int i = 0; i < channels * channels; i++) table[i] = i % channels == i / channels || chance(50);
    if (kind < 4 && chance(50)) s.connections = table;
    if (kind == 4) s.groups = channels;
    if (kind == 5) return clamp(g, transposed(g, x), apart);
    if (kind == 6) return clamp(g, fv_graph_local(g, x, &s, NULL), apart);
    if (kind == 7) return clamp(g, fv_graph_batch_norm(g, x, &norm, NULL), apart);
    if (kind == 8) return fv_graph_untied_bias(g, x, NULL);
    if (kind == 10) return fv_graph_dropout(g, x, 0.3f, NULL);
    if (kind == 9) return fv_graph_prelu(g, x, chance(50), NULL);
    fv_value y = fv_graph_conv(g, x, &s, NULL);
    if (chance(30)) y = fv_graph_batch_norm(g, y, &norm, NULL);
    if (chance(30)) y = fv_graph_untied_bias(g, y, NULL);
    return clamp(g, y, apart);
}

/* One weight read twice: by a convolution with a connection table, and by one without it or a transposed one. */
static fv_value twice(fv_graph *g, fv_value x, int stage, bool apart) {
    const int64_t shape[4] = {channels, channels, 3, 3};
    uint8_t table[channels * channels];
    float weight[channels * channels * 9];
    fv_conv_settings s;
    fv_conv_transpose_settings t;
    fv_conv_settings_default(&s);
    fv_conv_transpose_settings_default(&t);
    for (int i = 0; i < channels * channels; i++) table[i] = i % channels == i / channels || chance(50);
    for (int i = 0; i < channels * channels * 9; i++) weight[i] = table[i / 9] ? 0.3f * (draw(&state) - 0.5f) : 0;
    const fv_value w = fv_graph_parameter(g, stage ? "twice" : "once", 4, shape, weight, FV_INIT_ZEROS, true);
    s.padding = FV_PAD_SAME_UPPER;
    s.connections = table;
    for (int i = 0; i < 2; i++) t.pad_before[i] = t.pad_after[i] = 1;
    const fv_value y = clamp(g, fv_graph_conv_with(g, x, w, FV_NONE, &s, NULL), apart);
    s.connections = NULL;
    const fv_value z = chance(50) ? fv_graph_conv_with(g, y, w, FV_NONE, &s, NULL)
                                  : fv_graph_conv_transpose_with(g, y, w, FV_NONE, &t, NULL);
    return clamp(g, z, apart);
}

static fv_value build(fv_graph *g, const network *n) {
    const int64_t shape[4] = {0, channels, side, side};
    fv_pool_settings pool;
    fv_pool_settings_default(&pool);
    state = n->seed;
    fv_value x = fv_graph_input(g, "x", 4, shape);
    for (int stage = 0; stage < 2; stage++) {
        if (chance(20)) x = twice(g, x, stage, n->apart);
        for (int i = between(1, 3); i > 0; i--) {
            const fv_value y = layer(g, x, n->apart);
            x = chance(40) ? fv_graph_add(g, chance(50) ? x : y, y, NULL) : y;
            if (chance(20)) x = fv_graph_untied_bias(g, x, NULL);
        }
        const fv_value small = fv_graph_pool(g, x, &pool, NULL);
        pool.kind = chance(20) ? FV_POOL_AVERAGE : FV_POOL_MAX;
        x = chance(20) ? fv_graph_add(g, small, fv_graph_pool(g, x, &pool, NULL), NULL) : small;
        pool.kind = FV_POOL_MAX;
    }
    return fv_graph_linear(g, x, outputs, true, FV_INIT_HE, "head");
}

/* Freezes some parameters. */
static fv_model *model_of(fv_context *c, const network *n) {
    fv_graph *g = NULL;
    fv_model *m = NULL;
    ok(fv_graph_create(c, &g));
    fv_graph_output(g, build(g, n), "y");
    ok(fv_graph_status(g));
    ok(fv_model_create(g, 7, &m));
    fv_graph_free(g);
    for (int i = n->whole ? 0 : between(0, 3); i > 0; i--) {
        const char *name;
        fv_model *frozen = NULL;
        ok(fv_model_parameter(m, (size_t)between(0, (int32_t)fv_model_parameter_count(m) - 3), &name, NULL, NULL));
        ok(fv_model_freeze(m, name, NULL, &frozen));
        fv_model_free(m);
        m = frozen;
    }
    return m;
}

static void draw_images(float *x, uint32_t seed) {
    uint32_t own = seed * 2654435761u + 3u;
    for (int i = 0; i < most_batch * channels * side * side; i++) x[i] = 2 * draw(&own) - 1;
}

static void new_trainer(const fv_model *m, uint32_t seed, fv_trainer **t) {
    fv_trainer_settings s;
    fv_trainer_settings_default(&s);
    s.batch = most_batch;
    s.clip = seed % 3 ? 0 : 0.5f;
    s.lr = 0.1f;
    ok(fv_trainer_create(m, &s, t));
}

/* Goes on in another trainer. */
static void resume(const fv_model *m, uint32_t seed, fv_trainer **t) {
    char path[] = "/tmp/fovea-mixed-XXXXXX";
    const int file = mkstemp(path);
    ck_assert_int_ge(file, 0);
    ok(fv_trainer_save(*t, path));
    fv_trainer_free(*t);
    new_trainer(m, seed, t);
    ok(fv_trainer_load(*t, path));
    close(file);
    unlink(path);
}

/* Steps of batches 3, 2, 3, ...: all parameters after them, their number in *count. */
static fv_model *trained(fv_model *m, uint32_t seed, bool resumed, int steps, float *to, size_t *count) {
    static float x[most_batch * channels * side * side];
    int32_t label[most_batch] = {(int32_t)seed % outputs, 1, 2};
    fv_trainer *t = NULL;
    fv_model *after = NULL;
    new_trainer(m, seed, &t);
    for (int step = 0; step < steps; step++) {
        if (resumed && step == 1) resume(m, seed, &t);
        draw_images(x, seed + (uint32_t)step * 100000u);
        const int64_t rows = most_batch - step % 2;
        const fv_tensor in = maps(x, rows, channels, side, side), target = labels_of(label, rows);
        ok(fv_trainer_step(t, &in, &target, NULL));
    }
    ok(fv_trainer_model(t, &after));
    fv_trainer_free(t);
    *count = 0;
    for (size_t i = 0; i < fv_model_parameter_count(after); i++) {
        fv_tensor p;
        size_t n;
        ok(fv_model_parameter(after, i, NULL, &p, NULL));
        ok(fv_tensor_count(&p, &n));
        ck_assert_uint_le(*count + n, room);
        memcpy(to + *count, p.data, n * sizeof *to);
        *count += n;
    }
    return after;
}

static fv_context *context_by(const char *isa, int threads, bool no_winograd) {
    fv_context_settings s = settings_of(FV_BACKEND_PTHREADS, threads);
    fv_context *c = NULL;
    s.isa = isa;
    s.no_winograd = no_winograd;
    ok(fv_context_create(&s, &c));
    return c;
}

static void near_all(const char *what, uint32_t seed, const float *a, const float *b, size_t count) {
    double largest = 0, scale = 0;
    for (size_t i = 0; i < count; i++) {
        largest = fmax(largest, fabs((double)a[i] - (double)b[i]));
        scale = fmax(scale, fabs((double)b[i]));
    }
    ck_assert_msg(largest <= 2e-4 * fmax(scale, 1), "network %u, %s: off by %g at a scale of %g", seed, what, largest, scale);
}

/* Every session's last output is the network's own. */
static void infer(const fv_model *m, uint32_t seed, float y[most_batch * outputs]) {
    static float x[most_batch * channels * side * side], memory[64][most_batch * channels * side * side];
    fv_session_settings s;
    fv_session *session = NULL;
    fv_tensor out[64];
    const size_t count = fv_model_output_count(m);
    fv_session_settings_default(&s);
    s.batch = most_batch;
    draw_images(x, seed);
    ck_assert_uint_le(count, 64);
    for (size_t i = 0; i < count; i++) {
        ok(fv_model_output(m, i, NULL, &out[i]));
        out[i].shape[0] = most_batch;
        out[i].data = i == 0 ? (void *)y : memory[i];
    }
    const fv_tensor in = maps(x, most_batch, channels, side, side);
    ok(fv_session_create(m, &s, &session));
    ok(fv_session_run(session, &in, 1, out, count));
    fv_session_free(session);
}

static const uint32_t first = 1, last = 250;

START_TEST(every_way_of_training_agrees) {
    static float once[room], usual[room], other[room];
    for (uint32_t seed = first; seed <= last; seed++) {
        /* Scalar kernels round otherwise: a second step may find a kink of noise, as of a bias before a normalization. */
        static const struct {
            const char *what, *isa;
            int threads, steps;
            bool no_winograd, apart;
        } ways[] = {
            {"three threads and a resumed run", NULL, 3, 2, false, false},
            {"scalar kernels", "scalar", 1, 1, false, false},
            {"direct sums", NULL, 1, 2, true, false},
            {"nothing fused", NULL, 2, 2, false, true},
        };
        size_t count, same;
        network n = {seed, false, false};
        fv_context *c = context_by(NULL, 1, false);
        fv_model *m = model_of(c, &n), *after = trained(m, seed, false, 1, once, &count);
        fv_model_free(after);
        after = trained(m, seed, false, 2, usual, &count);
        fv_model_free(after);
        fv_model_free(m);
        fv_context_free(c);
        for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
            n.apart = ways[i].apart;
            c = context_by(ways[i].isa, ways[i].threads, ways[i].no_winograd);
            m = model_of(c, &n);
            after = trained(m, seed, i == 0, ways[i].steps, other, &same);
            ck_assert_uint_eq(count, same);
            const bool equal = memcmp(usual, other, count * sizeof *usual) == 0;
            ck_assert_msg(i > 0 || equal, "network %u: threads or resuming change bits", seed);
            near_all(ways[i].what, seed, other, ways[i].steps == 1 ? once : usual, count);
            fv_model_free(after);
            fv_model_free(m);
            fv_context_free(c);
        }
    }
}
END_TEST

/* Written and read again: same outputs, same bytes written, same training. */
START_TEST(files_keep_networks) {
    static float usual[room], other[room];
    for (uint32_t seed = first; seed <= last; seed++) {
        float y[most_batch * outputs], again[most_batch * outputs];
        char path[] = "/tmp/fovea-mixed-XXXXXX";
        size_t count, same;
        const network n = {seed, false, true};
        fv_context *c = context_by(NULL, 1, false);
        fv_model *m = model_of(c, &n), *read = NULL;
        const int file = mkstemp(path);
        ck_assert_int_ge(file, 0);
        close(file);
        ok(fv_model_save(m, path));
        ok(fv_model_load(c, path, &read));
        unlink(path);
        infer(m, seed, y);
        infer(read, seed, again);
        ck_assert_msg(memcmp(y, again, sizeof y) == 0, "network %u: a file changes its outputs", seed);
        ck_assert_uint_eq(fv_model_weight_count(m), fv_model_weight_count(read));
        fv_model *after = trained(m, seed, false, 2, usual, &count), *read_after = trained(read, seed, false, 2, other, &same);
        ck_assert_uint_eq(count, same);
        infer(after, seed, y);
        infer(read_after, seed, again);
        near_all("trained from a file", seed, y, again, most_batch * outputs);
        fv_model_free(read_after);
        fv_model_free(after);
        fv_model_free(read);
        fv_model_free(m);
        fv_context_free(c);
    }
}
END_TEST

START_TEST(sessions_agree_with_what_is_not_fused) {
    static float spare[room];
    for (uint32_t seed = first; seed <= last; seed++) {
        float y[most_batch * outputs], whole[most_batch * outputs];
        size_t count;
        const network n = {seed, false, false};
        fv_context *c = context_by(NULL, 1, false);
        fv_model *m = model_of(c, &n), *after = trained(m, seed, false, 2, spare, &count), *exposed = NULL;
        ok(fv_model_expose(after, &exposed));
        infer(after, seed, y);
        infer(exposed, seed, whole);
        near_all("exposed", seed, y, whole, most_batch * outputs);
        fv_model_free(exposed);
        fv_model_free(after);
        fv_model_free(m);
        fv_context_free(c);
    }
}
END_TEST

/* ---- a weight of two transposed convolutions ---- */

/* A weight 4x4 under stride 2 and two paddings, with one output or both. */
static void run_shifts(int only, float y[2][9 * 9]) {
    const int64_t shape[4] = {0, 1, 4, 4}, kernel[4] = {1, 1, 4, 4};
    fv_context *c = context_by(NULL, 1, false);
    fv_graph *g = NULL;
    fv_model *m = NULL;
    fv_session *s = NULL;
    float weight[16], image[16];
    fv_tensor out[2];
    for (int i = 0; i < 16; i++) weight[i] = (float)(i + 1), image[i] = (float)(i * i % 7) - 3;
    ok(fv_graph_create(c, &g));
    const fv_value x = fv_graph_input(g, "x", 4, shape), w = fv_graph_parameter(g, "w", 4, kernel, weight, FV_INIT_ZEROS, true);
    for (int i = 0; i < 2; i++) {
        fv_conv_transpose_settings settings;
        fv_conv_transpose_settings_default(&settings);
        settings.stride[0] = settings.stride[1] = 2;
        settings.pad_before[0] = settings.pad_before[1] = i;
        settings.pad_after[0] = settings.pad_after[1] = 1;
        if (only < 0 || only == i)
            fv_graph_output(g, fv_graph_conv_transpose_with(g, x, w, FV_NONE, &settings, NULL), i ? "b" : "a");
    }
    ok(fv_model_create(g, 1, &m));
    for (size_t i = 0; i < fv_model_output_count(m); i++) {
        ok(fv_model_output(m, i, NULL, &out[i]));
        out[i].shape[0] = 1;
        out[i].data = y[only < 0 ? i : (size_t)only];
    }
    const fv_tensor in = maps(image, 1, 1, 4, 4);
    ok(fv_session_create(m, NULL, &s));
    ok(fv_session_run(s, &in, 1, out, fv_model_output_count(m)));
    fv_session_free(s);
    fv_model_free(m);
    fv_graph_free(g);
    fv_context_free(c);
}

START_TEST(a_weight_serves_transposed_convolutions_of_two_paddings) {
    float both[2][81] = {{0}}, alone[2][81] = {{0}};
    run_shifts(-1, both);
    run_shifts(0, alone);
    run_shifts(1, alone);
    ck_assert_mem_eq(both, alone, sizeof both);
}
END_TEST

/* ---- a weight with a connection table that a depthwise convolution reads as well ---- */

START_TEST(absent_kernels_stay_absent_in_depthwise_layers) {
    enum { count = 5, taps = 9 };
    static const uint8_t table[count] = {1, 0, 1, 1, 0};
    const int64_t shape[4] = {0, 1, side, side}, kernels[4] = {count, 1, 3, 3};
    float weight[count * taps], x[2 * side * side];
    int32_t label[2] = {0, 2};
    uint32_t own = 9;
    fv_context *c = context_by(NULL, 1, false);
    fv_graph *g = NULL;
    fv_model *m = NULL, *after = NULL;
    fv_trainer *t = NULL;
    fv_tensor w;
    fv_conv_settings s;
    for (int i = 0; i < count * taps; i++) weight[i] = table[i / taps] ? draw(&own) : 0;
    for (int i = 0; i < 2 * side * side; i++) x[i] = draw(&own);
    fv_conv_settings_default(&s);
    ok(fv_graph_create(c, &g));
    const fv_value p = fv_graph_parameter(g, "w", 4, kernels, weight, FV_INIT_ZEROS, true);
    s.connections = table;
    const fv_value bias = fv_graph_parameter(g, "b", 1, kernels, NULL, FV_INIT_ONES, true);
    fv_value y = fv_graph_conv_with(g, fv_graph_input(g, "x", 4, shape), p, bias, &s, NULL);
    s.connections = NULL;
    s.groups = count;
    y = fv_graph_linear(g, fv_graph_conv_with(g, y, p, FV_NONE, &s, NULL), outputs, true, FV_INIT_HE, NULL);
    ok(fv_graph_output(g, y, "y"));
    ok(fv_model_create(g, 1, &m));
    new_trainer(m, 1, &t);
    const fv_tensor in = maps(x, 2, 1, side, side), target = labels_of(label, 2);
    ok(fv_trainer_step(t, &in, &target, NULL));
    ok(fv_trainer_model(t, &after));
    ok(fv_model_parameter(after, 0, NULL, &w, NULL));
    for (int i = 0; i < count * taps; i++) {
        const float now = ((const float *)w.data)[i];
        ck_assert_msg(table[i / taps] ? now != weight[i] : now == 0, "weight %d is %g, was %g", i, (double)now,
                      (double)weight[i]);
    }
    fv_model_free(after);
    fv_trainer_free(t);
    fv_model_free(m);
    fv_graph_free(g);
    fv_context_free(c);
}
END_TEST

/* x + conv(x), max-pooled: the field is the convolution's, whatever side of the sum it is on; an unpooled map has none. */
START_TEST(sums_have_the_larger_receptive_field) {
    for (int side_of = 0; side_of < 2; side_of++) {
        const int64_t shape[4] = {0, channels, side, side};
        fv_context *c = context_by(NULL, 1, false);
        fv_graph *g = NULL;
        fv_model *m = NULL, *exposed = NULL;
        fv_session *session = NULL;
        fv_node_info info;
        fv_conv_settings s;
        fv_pool_settings pool;
        fv_conv_settings_default(&s);
        fv_pool_settings_default(&pool);
        s.out_channels = channels;
        s.padding = FV_PAD_SAME_UPPER;
        ok(fv_graph_create(c, &g));
        const fv_value x = fv_graph_input(g, "x", 4, shape), y = fv_graph_tanh(g, fv_graph_conv(g, x, &s, NULL), NULL),
                       start = fv_graph_tanh(g, x, NULL);
        fv_value sum = side_of ? fv_graph_add(g, y, start, NULL) : fv_graph_add(g, start, y, NULL), indices;
        sum = fv_graph_max_pool_indices(g, sum, &pool, &indices, "pool");
        ok(fv_graph_output(g, fv_graph_max_unpool(g, sum, indices, side, side, "unpool"), "y"));
        ok(fv_model_create(g, 1, &m));
        ok(fv_model_expose(m, &exposed));
        ok(fv_session_create(exposed, NULL, &session));
        for (size_t i = 0; i < fv_session_node_count(session); i++) {
            ok(fv_session_node(session, i, &info));
            if (strcmp(info.name, "pool") == 0) ck_assert_int_eq(info.receptive_field[0], 4);
            if (strcmp(info.name, "unpool") == 0) ck_assert_int_eq(info.receptive_field[1], 0);
        }
        fv_session_free(session);
        fv_model_free(exposed);
        fv_model_free(m);
        fv_graph_free(g);
        fv_context_free(c);
    }
}
END_TEST

int main(void) {
    const TTest *const tests[] = {every_way_of_training_agrees, files_keep_networks, sessions_agree_with_what_is_not_fused,
                                         a_weight_serves_transposed_convolutions_of_two_paddings,
                                         absent_kernels_stay_absent_in_depthwise_layers,
                                         sums_have_the_larger_receptive_field, NULL};
    return run_tests("mixed", tests, 280);
}
