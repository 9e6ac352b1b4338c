/* Shared by the unit tests: checks that print the library's sentence, memory hooks that count and refuse, contexts, a
 * small network. */
#ifndef FV_TESTS_UNIT_H
#define FV_TESTS_UNIT_H

#include "fovea.h"

#include <check.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ok(call)                                                                                                       \
    do {                                                                                                               \
        const fv_status ok_status = (call);                                                                            \
        ck_assert_msg(ok_status == FV_OK, "%s: %s: %s", #call, fv_status_name(ok_status), fv_last_error());            \
    } while (0)

/* The call fails with this status and a sentence that holds `part`. */
#define fails(call, wanted, part)                                                                                      \
    do {                                                                                                               \
        const fv_status fails_status = (call);                                                                         \
        ck_assert_msg(fails_status == (wanted), "%s: %s, wanted %s; %s", #call, fv_status_name(fails_status),          \
                      fv_status_name(wanted), fv_last_error());                                                        \
        ck_assert_msg(strstr(fv_last_error(), part) != NULL, "%s: the sentence lacks \"%s\": %s", #call, part,         \
                      fv_last_error());                                                                                \
    } while (0)

/* ---- memory hooks ---- */

typedef struct ledger {
    atomic_long calls, blocks, bytes;
    atomic_size_t largest;
    long fail_at; /* that call (from 1) gets NULL; 0: none */
} ledger;

/* The size lies 64 bytes before what the caller sees. */
static inline void *ledger_alloc(void *user, size_t bytes, size_t alignment) {
    ledger *l = user;
    char *memory;
    if (alignment > 64 || (alignment & (alignment - 1))) return NULL;
    if (atomic_fetch_add(&l->calls, 1) + 1 == l->fail_at) return NULL;
    if (posix_memalign((void **)&memory, 64, bytes + 64) != 0) return NULL;
    memcpy(memory, &bytes, sizeof bytes);
    atomic_fetch_add(&l->blocks, 1);
    atomic_fetch_add(&l->bytes, (long)bytes);
    size_t seen = atomic_load(&l->largest);
    while (seen < bytes && !atomic_compare_exchange_weak(&l->largest, &seen, bytes)) continue;
    return memory + 64;
}

static inline void ledger_free(void *user, void *memory) {
    ledger *l = user;
    size_t bytes;
    memcpy(&bytes, (char *)memory - 64, sizeof bytes);
    atomic_fetch_sub(&l->blocks, 1);
    atomic_fetch_sub(&l->bytes, (long)bytes);
    free((char *)memory - 64);
}

static inline void ledger_use(fv_context_settings *s, ledger *l) {
    s->alloc = ledger_alloc;
    s->free = ledger_free;
    s->alloc_user = l;
}

/* ---- contexts ---- */

static inline fv_context_settings settings_of(fv_backend backend, int threads) {
    fv_context_settings s;
    fv_context_settings_default(&s);
    s.backend = backend;
    s.threads = threads;
    s.all_threads = true; /* small networks are what is tested here */
    return s;
}

static inline fv_context *context_with(const fv_context_settings *s) {
    fv_context *c = NULL;
    ok(fv_context_create(s, &c));
    return c;
}

static inline fv_context *context_of(fv_backend backend, int threads) {
    const fv_context_settings s = settings_of(backend, threads);
    return context_with(&s);
}

/* Backends of this build: the first is one with threads. */
static inline size_t backends_here(fv_backend list[3]) {
    const fv_context_settings s = settings_of(FV_BACKEND_OPENMP, 1);
    fv_context *c = NULL;
    size_t n = 0;
    list[n++] = FV_BACKEND_PTHREADS;
    list[n++] = FV_BACKEND_SERIAL;
    if (fv_context_create(&s, &c) == FV_OK) list[n++] = FV_BACKEND_OPENMP;
    fv_context_free(c);
    return n;
}

/* ---- numbers and tensors ---- */

static inline uint32_t draw_u32(uint32_t *state) { return *state = *state * 1664525u + 1013904223u; }
static inline float draw(uint32_t *state) {
    return (float)(int32_t)(draw_u32(state) & 0xffffff00u) * 0x1p-31f;
} /* [-1, 1) */
static inline void draw_all(float *to, size_t n, uint32_t seed) {
    for (size_t i = 0; i < n; i++) to[i] = draw(&seed);
}

static inline fv_tensor maps(float *data, int64_t n, int64_t c, int64_t h, int64_t w) {
    return (fv_tensor){FV_F32, FV_PLAIN, 4, {n, c, h, w}, data};
}
static inline fv_tensor rows(float *data, int64_t n, int64_t f) {
    return (fv_tensor){FV_F32, FV_PLAIN, 2, {n, f}, data};
}
static inline fv_tensor labels_of(int32_t *data, int64_t n) { return (fv_tensor){FV_I32, FV_PLAIN, 1, {n}, data}; }

/* ---- a small network: two convolutions, max and average pooling, two fully connected layers, odd sizes everywhere
 * ---- */

enum { net_c = 3, net_h = 11, net_w = 9, net_in = net_c * net_h * net_w, net_out = 5 };

static inline fv_value small_layers(fv_graph *g, bool dropout) {
    const int64_t shape[4] = {0, net_c, net_h, net_w};
    fv_conv_settings conv;
    fv_pool_settings pool;
    fv_conv_settings_default(&conv);
    fv_pool_settings_default(&pool);
    conv.out_channels = 6;
    conv.pad_before[0] = conv.pad_before[1] = conv.pad_after[0] = conv.pad_after[1] = 1;
    fv_value x = fv_graph_conv(g, fv_graph_input(g, "x", 4, shape), &conv, "conv1");
    x = fv_graph_pool(g, fv_graph_relu(g, x, "relu1"), &pool, "pool1"); /* 6 x 5 x 4 */
    conv.out_channels = 7;
    x = fv_graph_tanh(g, fv_graph_conv(g, x, &conv, "conv2"), "tanh1");
    pool.kind = FV_POOL_AVERAGE;
    pool.stride[0] = pool.stride[1] = 1;
    x = fv_graph_pool(g, x, &pool, "pool2"); /* 7 x 4 x 3 */
    if (dropout) x = fv_graph_dropout(g, x, 0.25f, "drop");
    x = fv_graph_relu(g, fv_graph_linear(g, x, 13, true, FV_INIT_HE, "fc1"), "relu2");
    return fv_graph_linear(g, x, net_out, true, FV_INIT_LECUN, "fc2");
}

static inline fv_status small_try(fv_context *c, bool dropout, bool softmax, uint64_t seed, fv_model **out) {
    fv_graph *g = NULL;
    fv_status status = fv_graph_create(c, &g);
    if (status != FV_OK) return status;
    fv_value y = small_layers(g, dropout);
    if (softmax) y = fv_graph_softmax(g, y, "softmax");
    status = fv_graph_output(g, y, "y");
    if (status == FV_OK) status = fv_model_create(g, seed, out);
    fv_graph_free(g);
    return status;
}

static inline fv_model *small_model(fv_context *c, bool dropout) {
    fv_model *m = NULL;
    ok(small_try(c, dropout, false, 3, &m));
    return m;
}

/* Runs every test of a NULL-terminated list, each in a process of its own. */
static inline int run_tests(const char *name, const TTest *const *tests, double seconds) {
    Suite *suite = suite_create(name);
    TCase *tcase = tcase_create(name);
    tcase_set_timeout(tcase, seconds);
    for (; *tests; tests++) tcase_add_test(tcase, *tests);
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    const int failed = srunner_ntests_failed(runner), ran = srunner_ntests_run(runner);
    srunner_free(runner);
    return ran == 0 || failed != 0;
}

#endif
