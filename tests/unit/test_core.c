/* core/: sentences, sizes, memory through hooks, limits, random numbers, quotas, ISA caps. */
#include "unit.h"

#include "core/context.h"
#include "core/rng.h"

#include "kernels/philox.h"

#include <math.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- sentences ---- */

START_TEST(long_sentences_end_in_dots) {
    char text[700];
    memset(text, 'a', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    ck_assert_int_eq(fv_fail(FV_ERR_IO, "%s", text), FV_ERR_IO);
    ck_assert_uint_eq(strlen(fv_last_error()), 511);
    ck_assert_str_eq(fv_last_error() + 508, "...");
    ck_assert_int_eq(fv_last_error()[507], 'a');
    text[511] = '\0'; /* exactly full: nothing was cut */
    fv_fail(FV_ERR_IO, "%s", text);
    ck_assert_str_eq(fv_last_error(), text);
    text[510] = '\0';
    fv_fail(FV_ERR_IO, "%s", text);
    ck_assert_str_eq(fv_last_error(), text);
    fv_fail_within(FV_ERR_IO, "b");
    ck_assert_uint_eq(strlen(fv_last_error()), 511);
    ck_assert_int_eq(strncmp(fv_last_error(), "b: aaa", 6), 0);
    ck_assert_str_eq(fv_last_error() + 508, "...");
    text[510] = 'a';
    text[511] = 'a';
    fv_fail_within(FV_ERR_IO, "%s", text); /* the prefix alone is too long */
    ck_assert_uint_eq(strlen(fv_last_error()), 511);
    ck_assert_str_eq(fv_last_error() + 508, "...");
}
END_TEST

START_TEST(sentences_nest) {
    fv_fail(FV_ERR_FORMAT, "tensor \"%s\" is short", "w");
    ck_assert_int_eq(fv_fail_within(FV_ERR_FORMAT, "node %d", 4), FV_ERR_FORMAT);
    fv_fail_within(FV_ERR_FORMAT, "%s", "m.onnx");
    ck_assert_str_eq(fv_last_error(), "m.onnx: node 4: tensor \"w\" is short");
    fv_fail(FV_ERR_IO, "again: %s", fv_last_error()); /* the old sentence as an argument */
    ck_assert_str_eq(fv_last_error(), "again: m.onnx: node 4: tensor \"w\" is short");
    fv_fail_within(FV_ERR_IO, "<%s>", fv_last_error() + strlen(fv_last_error()) - 8);
    ck_assert_str_eq(fv_last_error(), "<is short>: again: m.onnx: node 4: tensor \"w\" is short");
    fv_fail(FV_ERR_IO, "a\nb\x1b[2Jc\x7f"); /* names from files cannot reach the terminal's control */
    ck_assert_str_eq(fv_last_error(), "a?b?[2Jc?");
}
END_TEST

static void *fresh_thread(void *arg) {
    char *seen = arg;
    snprintf(seen, 16, "%s", fv_last_error());
    fv_fail(FV_ERR_IO, "theirs");
    return NULL;
}

START_TEST(every_thread_has_its_own_sentence) {
    char seen[16] = "?";
    pthread_t thread;
    fv_fail(FV_ERR_IO, "mine");
    ck_assert_int_eq(pthread_create(&thread, NULL, fresh_thread, seen), 0);
    pthread_join(thread, NULL);
    ck_assert_str_eq(seen, "");
    ck_assert_str_eq(fv_last_error(), "mine");
    ck_assert_str_eq(fv_status_name(FV_ERR_BUSY), "FV_ERR_BUSY");
    ck_assert_str_eq(fv_status_name((fv_status)99), "unknown status");
    ck_assert_str_eq(fv_version(), FV_VERSION);
}
END_TEST

/* ---- sizes ---- */

START_TEST(counts_are_checked) {
    size_t count = 7;
    fv_tensor t = {FV_F32, FV_PLAIN, 3, {2, 3, 4}, NULL};
    ok(fv_tensor_count(&t, &count));
    ck_assert_uint_eq(count, 24);
    t.rank = 0;
    ok(fv_tensor_count(&t, &count));
    ck_assert_uint_eq(count, 1);
    t = (fv_tensor){FV_F32, FV_PLAIN, 2, {INT64_MAX, 3}, NULL};
    fails(fv_tensor_count(&t, &count), FV_ERR_LIMIT, "too many");
    t = (fv_tensor){FV_U8, FV_PLAIN, 2, {(int64_t)1 << 32, (int64_t)1 << 32}, NULL}; /* wraps to exactly 0 */
    fails(fv_tensor_count(&t, &count), FV_ERR_LIMIT, "too many elements");
    t = (fv_tensor){FV_F64, FV_PLAIN, 1, {INT64_MAX / 4}, NULL}; /* the elements fit, their bytes do not */
    fails(fv_tensor_count(&t, &count), FV_ERR_LIMIT, "too many bytes");
    t = (fv_tensor){FV_F32, FV_PLAIN, 1, {-1}, NULL};
    fails(fv_tensor_count(&t, &count), FV_ERR_SHAPE, "size -1 on axis 0");
    t.rank = FV_MAX_RANK + 1;
    fails(fv_tensor_count(&t, &count), FV_ERR_SHAPE, "rank 9");
    t.rank = -1;
    fails(fv_tensor_count(&t, &count), FV_ERR_SHAPE, "rank -1");
    t = (fv_tensor){(fv_dtype)77, FV_PLAIN, 1, {1}, NULL};
    fails(fv_tensor_count(&t, &count), FV_ERR_ARGUMENT, "type 77");
    fails(fv_tensor_count(NULL, &count), FV_ERR_ARGUMENT, "needs");
    fails(fv_tensor_count(&t, NULL), FV_ERR_ARGUMENT, "needs");
    ck_assert_uint_eq(count, 1);
    t = (fv_tensor){FV_F32, FV_PLAIN, 2, {0, INT64_MAX}, NULL};
    ok(fv_tensor_count(&t, &count));
    ck_assert_uint_eq(count, 0);
}
END_TEST

START_TEST(arrays_grow_and_are_checked) {
    fv_context *c = context_of(FV_BACKEND_SERIAL, 1);
    void *memory = NULL;
    fails(fv_alloc_array(c, SIZE_MAX / 4, 8, "a list", &memory), FV_ERR_LIMIT, "a list is too large");
    fails(fv_alloc(c, SIZE_MAX - 10, "a block", &memory), FV_ERR_LIMIT, "a block needs");
    ck_assert_ptr_null(memory);
    uint32_t *numbers = NULL;
    size_t capacity = 0;
    for (uint32_t i = 0; i < 1000; i++) {
        ok(fv_grow(c, (void **)&numbers, &capacity, i + 1, sizeof *numbers, "numbers"));
        ck_assert_uint_gt(capacity, i);
        ck_assert_uint_eq(numbers[capacity - 1], 0);
        numbers[i] = i;
    }
    for (uint32_t i = 0; i < 1000; i++) ck_assert_uint_eq(numbers[i], i);
    fails(fv_grow(c, (void **)&numbers, &capacity, SIZE_MAX, sizeof *numbers, "numbers"), FV_ERR_LIMIT, "numbers");
    ck_assert_uint_eq(numbers[999], 999);
    fv_release(c, numbers);
    ok(fv_alloc(c, 0, "nothing", &memory)); /* unique and aligned */
    ck_assert_ptr_nonnull(memory);
    ck_assert_uint_eq((uintptr_t)memory % 64, 0);
    fv_release(c, memory);
    fv_release(c, NULL);
    fv_context_free(c);
}
END_TEST

/* ---- allocators that refuse ---- */

/* All that allocates: context, graph, model, sessions, a run, a trainer, two steps of different sizes, a model taken
 * out. */
static fv_status life(ledger *l, fv_backend backend, int threads) {
    static float x[2 * net_in], y[2 * net_out];
    static int32_t label[2] = {1, 4};
    fv_context_settings s = settings_of(backend, threads);
    fv_session_settings session_settings;
    fv_trainer_settings trainer_settings;
    fv_context *c = NULL;
    fv_model *m = NULL, *trained = NULL;
    fv_session *session = NULL;
    fv_trainer *t = NULL;
    ledger_use(&s, l);
    fv_session_settings_default(&session_settings);
    fv_trainer_settings_default(&trainer_settings);
    session_settings.batch = 2;
    trainer_settings.optimizer = FV_ADAM;
    trainer_settings.clip = 1;
    fv_status status = fv_context_create(&s, &c);
    if (status == FV_OK) status = small_try(c, true, true, 1, &m);
    if (status == FV_OK) status = fv_session_create(m, &session_settings, &session);
    const fv_tensor in = maps(x, 2, net_c, net_h, net_w), one = maps(x, 1, net_c, net_h, net_w),
                    out = rows(y, 2, net_out);
    const fv_tensor target = labels_of(label, 2), target_one = labels_of(label, 1);
    if (status == FV_OK) status = fv_session_run(session, &in, 1, &out, 1);
    if (status == FV_OK) status = fv_trainer_create(m, &trainer_settings, &t);
    if (status == FV_OK) status = fv_trainer_step(t, &in, &target, NULL);
    if (status == FV_OK) status = fv_trainer_step(t, &one, &target_one, NULL);
    if (status == FV_OK) status = fv_trainer_model(t, &trained);
    fv_context_free(c); /* in any order */
    fv_model_free(m);
    fv_session_free(session);
    fv_trainer_free(t);
    fv_model_free(trained);
    return status;
}

START_TEST(any_allocation_may_fail) {
    fv_backend backends[3];
    const size_t n = backends_here(backends);
    for (size_t b = 0; b < n; b++) {
        ledger whole = {0};
        ok(life(&whole, backends[b], 2));
        ck_assert_int_eq(whole.blocks, 0);
        ck_assert_int_eq(whole.bytes, 0);
        ck_assert_int_gt(whole.calls, 200);
        for (long at = 1; at <= whole.calls; at++) {
            ledger l = {.fail_at = at};
            const fv_status status = life(&l, backends[b], 2);
            ck_assert_msg(status == FV_ERR_MEMORY, "allocation %ld of %ld: %s: %s", at, (long)whole.calls,
                          fv_status_name(status), fv_last_error());
            ck_assert_msg(strstr(fv_last_error(), "out of memory") != NULL, "allocation %ld: %s", at, fv_last_error());
            ck_assert_msg(l.blocks == 0, "allocation %ld refused: %ld blocks leak", at, (long)l.blocks);
        }
    }
}
END_TEST

/* A trainer whose plan could not be made still steps once memory is there, with the same numbers. */
START_TEST(a_failed_step_may_be_repeated) {
    static float x[2 * net_in];
    static int32_t label[2] = {1, 4};
    double loss[2];
    draw_all(x, 2 * net_in, 5);
    for (int refused = 0; refused < 2; refused++) {
        ledger l = {0};
        fv_context_settings s = settings_of(FV_BACKEND_PTHREADS, 2);
        ledger_use(&s, &l);
        fv_context *c = context_with(&s);
        fv_model *m = small_model(c, true);
        fv_trainer *t = NULL;
        fv_step step;
        const fv_tensor in = maps(x, 2, net_c, net_h, net_w), target = labels_of(label, 2);
        ok(fv_trainer_create(m, NULL, &t));
        if (refused) {
            const long before = l.blocks;
            for (long at = 1; at < 30; at++) {
                l.fail_at = l.calls + at;
                fails(fv_trainer_step(t, &in, &target, NULL), FV_ERR_MEMORY, "out of memory");
                ck_assert_int_eq(l.blocks, before);
            }
            l.fail_at = 0;
        }
        for (int i = 0; i < 3; i++) ok(fv_trainer_step(t, &in, &target, &step));
        ck_assert_int_eq(fv_trainer_steps(t), 3);
        loss[refused] = step.loss;
        fv_trainer_free(t);
        fv_model_free(m);
        fv_context_free(c);
    }
    ck_assert(loss[0] == loss[1]);
}
END_TEST

static atomic_int freed;
static _Alignas(64) char crooked[4096];
static void *crooked_alloc(void *user, size_t bytes, size_t alignment) {
    (void)user, (void)alignment;
    return bytes <= sizeof crooked - 1 ? crooked + 1 : NULL;
}
static void crooked_free(void *user, void *memory) {
    (void)user, (void)memory;
    freed++;
}

START_TEST(misaligned_memory_is_refused) {
    fv_context_settings s = settings_of(FV_BACKEND_SERIAL, 1);
    fv_context *c = NULL;
    s.alloc = crooked_alloc;
    fails(fv_context_create(&s, &c), FV_ERR_ARGUMENT, "come together");
    s.free = crooked_free;
    fails(fv_context_create(&s, &c), FV_ERR_MEMORY, "not 64-byte aligned");
    ck_assert_ptr_null(c);
    ck_assert_int_eq(freed, 1);
}
END_TEST

START_TEST(the_memory_limit_holds_exactly) {
    ledger l = {0};
    ok(life(&l, FV_BACKEND_SERIAL, 1));
    for (int over = 0; over < 2; over++) {
        fv_context_settings s = settings_of(FV_BACKEND_SERIAL, 1);
        fv_session_settings big;
        fv_session_settings_default(&big);
        size_t bytes;
        fv_context *c = context_with(&s);
        fv_model *m = small_model(c, false);
        big.batch = 64;
        ok(fv_session_bytes(m, &big, &bytes)); /* by far the largest piece */
        fv_model_free(m);
        fv_context_free(c);
        s.memory_limit = bytes - (size_t)over;
        c = context_with(&s);
        m = small_model(c, false);
        fv_session *session = NULL;
        if (over) {
            fails(fv_session_create(m, &big, &session), FV_ERR_LIMIT, "the memory limit is");
            ck_assert_ptr_null(session);
        } else {
            ok(fv_session_create(m, &big, &session));
        }
        fv_session_free(session);
        fv_model_free(m);
        fv_context_free(c);
    }
}
END_TEST

/* ---- random numbers ---- */

/* kat_vectors of the authors' Random123. */
START_TEST(philox_gives_the_published_words) {
    static const uint32_t vectors[3][10] = {
        {0, 0, 0, 0, 0, 0, 0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8},
        {0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0x408f276d, 0x41c83b0e, 0xa20bc7c6,
         0x6d5451fd},
        {0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344, 0xa4093822, 0x299f31d0, 0xd16cfe09, 0x94fdcceb, 0x5001e420,
         0x24126ea1},
    };
    for (int i = 0; i < 3; i++) {
        uint32_t out[4];
        fv_philox_words(vectors[i] + 4, vectors[i], out);
        for (int k = 0; k < 4; k++) ck_assert_uint_eq(out[k], vectors[i][6 + k]);
    }
}
END_TEST

START_TEST(numbers_follow_seed_purpose_stream_and_index) {
    uint32_t key[2], words[4];
    const uint64_t seed = 0x123456789abcdef0u, stream = 0x1122334455667788u, index = 0x2000000007u;
    fv_rng_key(seed, FV_PURPOSE_SHUFFLE, key);
    const uint32_t counter[4] = {(uint32_t)(index / 4), (uint32_t)(index / 4 >> 32), 0x55667788, 0x11223344};
    fv_philox_words(key, counter, words);
    ck_assert_uint_eq(fv_rng_u32(seed, FV_PURPOSE_SHUFFLE, stream, index), words[3]);
    ck_assert_uint_ne(fv_rng_u32(seed, FV_PURPOSE_INIT, stream, index), words[3]);
    ck_assert_uint_ne(fv_rng_u32(seed ^ ((uint64_t)1 << 63), FV_PURPOSE_SHUFFLE, stream, index), words[3]);
    ck_assert_uint_ne(fv_rng_u32(seed, FV_PURPOSE_SHUFFLE, stream + ((uint64_t)1 << 40), index), words[3]);
    double sum = 0, low = 1, high = 0;
    int counts[7] = {0};
    for (uint64_t i = 0; i < 70000; i++) {
        const double u = fv_rng_uniform(1, FV_PURPOSE_INIT, 2, i);
        sum += u;
        if (u < low) low = u;
        if (u > high) high = u;
        const uint32_t k = fv_rng_below(1, FV_PURPOSE_SHUFFLE, 0, i, 7);
        ck_assert_uint_lt(k, 7);
        counts[k]++;
    }
    ck_assert(low >= 0 && low < 1e-3 && high < 1 && high > 0.999);
    ck_assert(sum / 70000 > 0.495 && sum / 70000 < 0.505);                        /* 4.6 standard deviations */
    for (int k = 0; k < 7; k++) ck_assert(counts[k] > 9540 && counts[k] < 10460); /* 5 of them */
    ck_assert_uint_eq(fv_rng_below(9, FV_PURPOSE_SHUFFLE, 1, 1, 1), 0);
}
END_TEST

/* Moments 1 to 4 of the normal distribution within five of their standard deviations, and a draw beyond each of +-3.5. */
START_TEST(normal_numbers) {
    enum { pairs = 50000 };
    double sum[4] = {0}, product = 0, low = 0, high = 0;
    uint32_t key[2];
    fv_rng_key(3, FV_PURPOSE_NOISE, key);
    for (uint64_t i = 0; i < pairs; i++) {
        float v[2], again[2];
        fv_rng_normals(key, 1, i, v);
        fv_rng_normals(key, 1, i, again);
        ck_assert_mem_eq(v, again, sizeof v);
        product += (double)v[0] * (double)v[1];
        for (int k = 0; k < 2; k++) {
            const double x = (double)v[k];
            low = fmin(low, x);
            high = fmax(high, x);
            for (int p = 0; p < 4; p++) sum[p] += pow(x, p + 1);
        }
    }
    const double n = 2 * pairs, root = sqrt(n);
    ck_assert_double_eq_tol(sum[0] / n, 0, 5 / root);
    ck_assert_double_eq_tol(sum[1] / n, 1, 5 * sqrt(2) / root);
    ck_assert_double_eq_tol(sum[2] / n, 0, 5 * sqrt(15) / root);
    ck_assert_double_eq_tol(sum[3] / n, 3, 5 * sqrt(96) / root);
    ck_assert_double_eq_tol(product / pairs, 0, 5 / sqrt(pairs));
    ck_assert(low < -3.5 && high > 3.5);
}
END_TEST

/* ---- cgroups ---- */

static char tree[] = "/tmp/fovea-core-XXXXXX";

static void put(const char *folder, const char *name, const char *text) {
    char path[512];
    snprintf(path, sizeof path, "%s%s", tree, folder);
    for (char *at = path + strlen(tree) + 1; *at; at++) { /* mkdir -p */
        if (*at != '/') continue;
        *at = '\0';
        mkdir(path, 0700);
        *at = '/';
    }
    mkdir(path, 0700);
    snprintf(path, sizeof path, "%s%s/%s", tree, folder, name);
    FILE *f = fopen(path, "w");
    ck_assert_ptr_nonnull(f);
    fputs(text, f);
    fclose(f);
}

static double quota(const char *membership) { return fv_cgroup_quota(membership, tree); }

START_TEST(quotas_of_made_up_groups) {
    ck_assert_ptr_nonnull(mkdtemp(tree));
    ck_assert(quota("0::/a/b\n") == 0); /* no files at all */
    put("/a/b", "cpu.max", "max 100000\n");
    ck_assert(quota("0::/a/b\n") == 0);
    put("/a", "cpu.max", "150000 100000\n");
    ck_assert(quota("0::/a/b\n") == 1.5); /* an ancestor's holds */
    put("/a/b", "cpu.max", "50000 100000\n");
    ck_assert(quota("0::/a/b\n") == 0.5);
    ck_assert(quota("0::/a/b") == 0.5);
    ck_assert(quota("0::/a\n") == 1.5);
    ck_assert(quota("0::/\n") == 0);
    put("/junk", "cpu.max", "many 100000\n");
    put("/zero", "cpu.max", "100000 0\n");
    put("/minus", "cpu.max", "-5 100000\n");
    put("/empty", "cpu.max", "");
    ck_assert(quota("0::/junk\n") == 0 && quota("0::/zero\n") == 0 && quota("0::/minus\n") == 0 &&
              quota("0::/empty\n") == 0);
    put("/cpu,cpuacct/docker/x", "cpu.cfs_quota_us", "250000\n");
    put("/cpu,cpuacct/docker/x", "cpu.cfs_period_us", "100000\n");
    ck_assert(quota("12:memory:/docker/x\n4:cpu,cpuacct:/docker/x\n") == 2.5); /* version 1 */
    ck_assert(quota("4:cpuset:/docker/x\n") == 0);
    put("/cpu,cpuacct/docker/x", "cpu.cfs_quota_us", "-1\n");
    ck_assert(quota("4:cpu,cpuacct:/docker/x\n") == 0);
    put("/cpu,cpuacct/docker/x", "cpu.cfs_quota_us", "250000\n");
    ck_assert(quota("4:cpu,cpuacct:/docker/x\n0::/a\n") == 1.5); /* hybrid: the tighter */
    static const char *const odd[] = {
        "", "\n", "0", "0:", "0::", "::", ":::\n", "garbage\nmore", "0::/../../..\n", "4:cpu\n"};
    for (size_t i = 0; i < sizeof odd / sizeof *odd; i++) ck_assert(quota(odd[i]) >= 0);
    char longest[6000] = "0::/";
    memset(longest + 4, 'd', sizeof longest - 5);
    ck_assert(quota(longest) == 0);
    double mine;
    ck_assert_int_ge(fv_cpu_count(&mine), 1);
    ck_assert(mine >= 0);
    char command[64];
    snprintf(command, sizeof command, "rm -r %s", tree);
    ck_assert_int_eq(system(command), 0);
}
END_TEST

/* ---- contexts ---- */

START_TEST(wrong_settings_are_named) {
    fv_context *c = NULL;
    fv_context_settings s = settings_of(FV_BACKEND_PTHREADS, -1);
    fails(fv_context_create(&s, &c), FV_ERR_ARGUMENT, "thread count is -1");
    s.threads = 1025;
    fails(fv_context_create(&s, &c), FV_ERR_ARGUMENT, "1025");
    s = settings_of((fv_backend)9, 1);
    fails(fv_context_create(&s, &c), FV_ERR_ARGUMENT, "backend 9");
    fails(fv_context_create(&s, NULL), FV_ERR_ARGUMENT, "place");
    fv_cpu_info info;
    fails(fv_context_info(NULL, &info), FV_ERR_ARGUMENT, "needs");
    fv_context_settings_default(NULL);
    fv_context_free(NULL);
    ck_assert_ptr_null(c);
    ok(fv_context_create(NULL, &c));
    ok(fv_context_info(c, &info));
    ck_assert_int_ge(info.threads, 1);
    ck_assert(info.threads <= info.cpus);
    ck_assert(info.quota <= 0 || info.threads < info.quota + 1);
    ck_assert_ptr_nonnull(strstr(info.isas, info.isa));
    ck_assert_ptr_nonnull(strstr(info.isas, "scalar"));
    fails(fv_context_info(c, NULL), FV_ERR_ARGUMENT, "needs");
    fv_context_free(c);
}
END_TEST

START_TEST(isas_are_capped) {
    fv_context *c = NULL;
    fv_cpu_info info;
    fv_context_settings s = settings_of(FV_BACKEND_SERIAL, 1);
    static const char *const junk[] = {"junk", "AVX2", " scalar", "scalar,avx2", "avx1024", "%s%n"};
    for (size_t i = 0; i < sizeof junk / sizeof *junk; i++) {
        setenv("FOVEA_ISA", junk[i], 1);
        fails(fv_context_create(&s, &c), FV_ERR_ARGUMENT, "FOVEA_ISA");
        ck_assert_ptr_nonnull(strstr(fv_last_error(), junk[i]));
    }
    s.isa = "scalar"; /* what the program says goes before the environment */
    ok(fv_context_create(&s, &c));
    ok(fv_context_info(c, &info));
    ck_assert_str_eq(info.isa, "scalar");
    ck_assert_str_eq(info.backend, "serial");
    fv_context_free(c);
    s.isa = "";
    fails(fv_context_create(&s, &c), FV_ERR_ARGUMENT, "\"\"");
    s.isa = NULL;
    setenv("FOVEA_ISA", "scalar", 1);
    ok(fv_context_create(&s, &c));
    ok(fv_context_info(c, &info));
    ck_assert_str_eq(info.isa, "scalar");
    fv_context_free(c);
    setenv("FOVEA_ISA", "", 1); /* set but empty: as if it were not */
    ok(fv_context_create(&s, &c));
    ok(fv_context_info(c, &info));
    ck_assert_str_eq(info.isa, fv_isa_best());
    fv_context_free(c);
    for (const fv_isa *row = fv_isa_table; row->name;
         row++) { /* a row of the table that this CPU lacks is refused as well */
        s.isa = row->name;
        c = NULL;
        const bool here = (row->needs & fv_cpu_detect()) == row->needs;
        ck_assert_int_eq(fv_context_create(&s, &c), here ? FV_OK : FV_ERR_ARGUMENT);
        fv_context_free(c);
    }
}
END_TEST

typedef struct heard {
    int sentences;
    fv_log_level level;
    char last[128];
} heard;

static void hear(void *user, fv_log_level level, const char *sentence) {
    heard *h = user;
    h->sentences++;
    h->level = level;
    snprintf(h->last, sizeof h->last, "%s", sentence);
}

START_TEST(the_log_hook_hears_what_was_chosen) {
    heard h = {0};
    fv_context_settings s = settings_of(FV_BACKEND_PTHREADS, 3);
    s.isa = "scalar";
    s.log = hear;
    s.log_user = &h;
    fv_context_free(context_with(&s));
    ck_assert_int_eq(h.sentences, 1);
    ck_assert_int_eq(h.level, FV_LOG_DEBUG);
    ck_assert_str_eq(h.last, "fovea " FV_VERSION ": scalar kernels, pthreads, 3 threads");
}
END_TEST

START_TEST(peaks_are_measured) {
    fv_context *c = context_of(FV_BACKEND_SERIAL, 1);
    fv_peak p = {0};
    ok(fv_measure_peak(c, 0.02, &p));
    ck_assert(p.gflops > 0 && p.clock_ghz > 0.05 && p.clock_ghz < 20);
    fails(fv_measure_peak(c, -1, &p), FV_ERR_ARGUMENT, "seconds");
    fails(fv_measure_peak(c, 0.0 / 0.0, &p), FV_ERR_ARGUMENT, "seconds");
    fails(fv_measure_peak(NULL, 0, &p), FV_ERR_ARGUMENT, "needs");
    fv_context_free(c);
}
END_TEST

int main(void) {
    const TTest *const tests[] = {long_sentences_end_in_dots,
                                  sentences_nest,
                                  every_thread_has_its_own_sentence,
                                  counts_are_checked,
                                  arrays_grow_and_are_checked,
                                  any_allocation_may_fail,
                                  a_failed_step_may_be_repeated,
                                  misaligned_memory_is_refused,
                                  the_memory_limit_holds_exactly,
                                  philox_gives_the_published_words,
                                  numbers_follow_seed_purpose_stream_and_index, normal_numbers,
                                  quotas_of_made_up_groups,
                                  wrong_settings_are_named,
                                  isas_are_capped,
                                  the_log_hook_hears_what_was_chosen,
                                  peaks_are_measured,
                                  NULL};
    return run_tests("core", tests, 120);
}
