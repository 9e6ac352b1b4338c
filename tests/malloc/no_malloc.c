/* fv_session_run and fv_trainer_step ask nobody for memory: not the library, not libgomp, not libc, on no thread. */
#define _GNU_SOURCE
#include "fovea.h"

#include "watch.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <dirent.h>
#include <unistd.h>

enum { side = 28, classes = 10, batch = 8 };
static float images[batch * side * side], scores[batch * classes];
static int32_t labels[batch];
static int failures;

static void need(fv_status status, const char *what) {
    if (status == FV_OK) return;
    fprintf(stderr, "%s: %s\n", what, fv_last_error());
    exit(1);
}

static void expect_none(watch_counts found, const char *what, const char *where) {
    if (found.calls == 0 && found.system_calls == 0) return;
    printf("%s, %s: %d calls, %d system calls\n", where, what, found.calls, found.system_calls);
    failures++;
}

/* ---- the watch itself ---- */

void *__libc_malloc(size_t bytes);
void __libc_free(void *memory);

static void *nothing(void *arg) { return arg; }

/* On a thread that was there before, calls are seen as well. */
typedef struct elsewhere {
    pthread_barrier_t barrier;
} elsewhere;

static void *call_elsewhere(void *arg) {
    elsewhere *e = arg;
    pthread_barrier_wait(&e->barrier);
    void *volatile memory = malloc(100);
    free(memory);
    memory = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    munmap(memory, 4096);
    pthread_barrier_wait(&e->barrier);
    return NULL;
}

static void expect(bool seen, const char *what) {
    if (seen) return;
    printf("the watch does not see %s\n", what);
    failures++;
}

static void check_watch(bool filter) {
    void *volatile memory;
    elsewhere e;
    pthread_t thread;
    watch_begin();
    memory = malloc(10);
    memory = realloc(memory, 20);
    free(memory);
    expect(watch_end().calls == 3, "malloc, realloc and free");
    watch_begin();
    memory = strdup("text"); /* inside libc */
    free(memory);
    expect(watch_end().calls == 2, "what libc allocates");
    pthread_barrier_init(&e.barrier, NULL, 2);
    pthread_create(&thread, NULL, call_elsewhere, &e);
    watch_begin();
    pthread_barrier_wait(&e.barrier);
    pthread_barrier_wait(&e.barrier);
    const watch_counts there = watch_end();
    expect(there.calls == 4, "other threads");
    pthread_join(thread, NULL);
    watch_begin();
    expect(watch_end().calls == 0, "that nothing was called");
    if (!filter) return;
    expect(there.system_calls >= 2, "system calls of other threads");
    watch_begin();
    memory = __libc_malloc((size_t)4 << 20); /* past the functions above: libc maps it by a call of its own */
    __libc_free(memory);
    watch_counts found = watch_end();
    expect(found.calls == 0 && found.system_calls == 2, "mmap and munmap inside libc");
    watch_begin();
    (void)syscall(SYS_brk, 0);
    expect(watch_end().system_calls == 1, "brk");
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, (size_t)64 << 20); /* larger than any in libc's store */
    watch_begin();
    pthread_create(&thread, &attributes, nothing, NULL);
    pthread_join(thread, NULL);
    expect(watch_end().system_calls > 0, "the stack of a new thread");
    pthread_attr_destroy(&attributes);
}

/* ---- runs and steps ---- */

static void watch_runs(const fv_model *m, int warm, const char *where) {
    fv_session_settings settings;
    fv_session *s = NULL;
    const fv_tensor in = {FV_F32, FV_PLAIN, 4, {4, 1, side, side}, images},
                    out = {FV_F32, FV_PLAIN, 2, {4, classes}, scores};
    fv_session_settings_default(&settings);
    settings.batch = 4;
    settings.profile = true;
    need(fv_session_create(m, &settings, &s), where);
    for (int i = 0; i < warm; i++) need(fv_session_run(s, &in, 1, &out, 1), where);
    watch_begin();
    for (int i = 0; i < 5; i++) need(fv_session_run(s, &in, 1, &out, 1), where);
    expect_none(watch_end(), "runs", where);
    fv_session_free(s);
}

static void step(fv_trainer *t, int64_t n, const char *where) {
    const fv_tensor x = {FV_F32, FV_PLAIN, 4, {n, 1, side, side}, images}, y = {FV_I32, FV_PLAIN, 1, {n}, labels};
    fv_step done;
    need(fv_trainer_step(t, &x, &y, &done), where);
}

static void watch_steps(const fv_model *m, fv_optimizer optimizer, const char *where) {
    fv_trainer_settings settings;
    fv_trainer *t = NULL;
    fv_trainer_settings_default(&settings);
    settings.batch = batch;
    settings.optimizer = optimizer;
    settings.lr = 0.001f;
    settings.clip = 1;
    need(fv_trainer_create(m, &settings, &t), where);
    step(t, batch, where);
    step(t, 5, where);
    watch_begin();
    step(t, batch, where);
    step(t, 5, where); /* a partial batch of a size seen before */
    step(t, batch, where);
    expect_none(watch_end(), "steps", where);
    fv_trainer_free(t);
}

/* Requests to the batcher, one by one and several together, waited for and by callback. */
static atomic_int answers;

static void count(void *user, fv_status status) {
    (void)user;
    if (status == FV_OK) answers++;
}

static void ask(fv_batcher *b, fv_request **requests, const char *where) {
    enum { together = 6 };
    static float y[together][classes];
    answers = 0;
    for (int i = 0; i < together; i++) {
        const fv_tensor in = {FV_F32, FV_PLAIN, 4, {1, 1, side, side}, images}, out = {FV_F32, FV_PLAIN, 2, {1, classes}, y[i]};
        const fv_job job = {&in, 1, &out, 1, i % 2 ? 1000000 : 0, count, NULL};
        need(fv_batcher_submit(b, requests[i], &job), where);
    }
    while (answers < together) usleep(100);
    const fv_tensor in = {FV_F32, FV_PLAIN, 4, {1, 1, side, side}, images}, out = {FV_F32, FV_PLAIN, 2, {1, classes}, y[0]};
    need(fv_batcher_run(b, &in, 1, &out, 1, 0), where);
}

static size_t thread_count(void) {
    size_t count = 0;
    DIR *tasks = opendir("/proc/self/task");
    while (tasks && readdir(tasks)) count++;
    if (tasks) closedir(tasks);
    return count;
}

/* libgomp's threads of a worker that ended go after it, on their own, and give their stacks back. */
static void await_threads(size_t most) {
    for (int i = 0; i < 2000 && thread_count() > most; i++) usleep(1000);
}

static void watch_batcher(const fv_model *m, int warm, const char *where) {
    const size_t threads = thread_count();
    fv_batcher_settings settings;
    fv_batcher *b = NULL;
    fv_request *requests[6];
    fv_batcher_stats stats;
    fv_batcher_settings_default(&settings);
    settings.max_batch = 4;
    need(fv_batcher_create(m, &settings, &b), where);
    for (int i = 0; i < 6; i++) need(fv_request_create(b, &requests[i]), where);
    for (int i = 0; i < warm; i++) ask(b, requests, where);
    watch_begin();
    for (int i = 0; i < 5; i++) ask(b, requests, where);
    need(fv_batcher_get_stats(b, &stats), where);
    expect_none(watch_end(), "requests", where);
    for (int i = 0; i < 6; i++) fv_request_free(requests[i]);
    fv_batcher_free(b);
    await_threads(threads);
}

/* NULL: no OpenMP in this build. */
static fv_context *context_for(fv_backend backend, int threads, const char *network, char where[64]) {
    static const char *const names[] = {"openmp", "pthreads", "serial"};
    fv_context_settings settings;
    fv_context *c = NULL;
    fv_context_settings_default(&settings);
    settings.backend = backend;
    settings.threads = threads;
    settings.all_threads = true;
    snprintf(where, 64, "%s on %s with %d threads", network, names[backend], threads);
    const fv_status status = fv_context_create(&settings, &c);
    if (status != FV_ERR_UNSUPPORTED) need(status, where);
    return c;
}

#ifdef FV_TEST_IO
/* General operators, planned for the shapes of the inputs. */
static void check_general(fv_backend backend, int threads) {
    static float x[2 * 6 * 20 * 18], z[2 * 9 * 16], y[2 * 12], r[2 * 3];
    char where[64];
    fv_context *c = context_for(backend, threads, "general operators", where);
    fv_model *m = NULL;
    fv_session *s = NULL;
    fv_session_settings settings;
    const fv_tensor in[2] = {{FV_F32, FV_PLAIN, 4, {2, 6, 20, 18}, x}, {FV_F32, FV_PLAIN, 3, {2, 9, 16}, z}};
    const fv_tensor out[2] = {{FV_F32, FV_PLAIN, 2, {2, 12}, y}, {FV_F32, FV_PLAIN, 2, {2, 3}, r}};
    if (!c) return;
    fv_session_settings_default(&settings);
    settings.inputs = in;
    settings.input_count = 2;
    need(fv_model_load(c, "tests/golden/general.onnx", &m), where);
    need(fv_session_create(m, &settings, &s), where);
    if (backend == FV_BACKEND_OPENMP) need(fv_session_run(s, in, 2, out, 2), where);
    watch_begin();
    for (int i = 0; i < 5; i++) need(fv_session_run(s, in, 2, out, 2), where);
    expect_none(watch_end(), "runs", where);
    fv_session_free(s);
    fv_model_free(m);
    fv_context_free(c);
}

/* Steps of a loaded model whose gradients are general operators. */
static void check_finetune(fv_backend backend, int threads) {
    char where[64];
    fv_context *c = context_for(backend, threads, "fine-tuning", where);
    fv_model *m = NULL;
    fv_trainer *t = NULL;
    fv_trainer_settings settings;
    static int32_t label[4] = {0, 1, 2, 3};
    const fv_tensor x = {FV_F32, FV_PLAIN, 4, {4, 2, 12, 12}, images}, target = {FV_I32, FV_PLAIN, 1, {4}, label};
    if (!c) return;
    fv_trainer_settings_default(&settings);
    need(fv_model_load(c, "tests/golden/finetune_general.onnx", &m), where);
    need(fv_trainer_create(m, &settings, &t), where);
    need(fv_trainer_step(t, &x, &target, NULL), where);
    watch_begin();
    for (int i = 0; i < 3; i++) need(fv_trainer_step(t, &x, &target, NULL), where);
    expect_none(watch_end(), "steps", where);
    fv_trainer_free(t);
    fv_model_free(m);
    fv_context_free(c);
}
#endif

static void check(fv_backend backend, int threads, const char *network) {
    char where[64];
    fv_context *c = context_for(backend, threads, network, where);
    fv_model *m = NULL;
    if (!c) return;
    const fv_zoo_settings shape = {.channels = 1, .height = side, .width = side, .classes = classes};
    need(fv_model_zoo(c, network, &shape, &m), where);
    watch_runs(m, backend == FV_BACKEND_OPENMP ? 1 : 0,
               where); /* libgomp makes its threads in the first region; others are clean at once */
    watch_batcher(m, backend == FV_BACKEND_OPENMP ? 1 : 0, where);
    watch_steps(m, FV_MOMENTUM, where);
    watch_steps(m, FV_ADAM, where);
    fv_model_free(m);
    fv_context_free(c);
}

int main(void) {
    const bool filter = watch_install();
    for (int i = 0; i < batch * side * side; i++) images[i] = (float)(i * 7919 % 997) / 997;
    for (int i = 0; i < batch; i++) labels[i] = i % classes;
    check_watch(filter);
    for (int backend = FV_BACKEND_OPENMP; backend <= FV_BACKEND_SERIAL; backend++)
        for (int threads = 1; threads <= 2; threads++) {
            check((fv_backend)backend, threads, "lenet5");
            check((fv_backend)backend, threads, "cnn");
            check((fv_backend)backend, threads, "jarrett");
            check((fv_backend)backend, threads, "mobilenet-cifar");
#ifdef FV_TEST_IO
            check_general((fv_backend)backend, threads);
            check_finetune((fv_backend)backend, threads);
#endif
        }
    if (!filter) printf("no seccomp filter here: system calls were not watched\n");
    return failures ? 1 : filter ? 0 : 77;
}
