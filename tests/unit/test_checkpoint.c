/* Checkpoints: training goes on bit for bit, and no damaged or foreign file is taken. */
#include "training.h"

#include <signal.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static char folder[48], path[64];
static unsigned char bytes[1 << 16];

static void enter(void) {
    snprintf(folder, sizeof folder, "/tmp/fovea-checkpoint-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/state", folder);
}

static void leave(void) {
    char command[64];
    snprintf(command, sizeof command, "rm -r %s", folder);
    ck_assert_int_eq(system(command), 0);
}

static size_t read_file(void) {
    FILE *f = fopen(path, "rb");
    ck_assert_ptr_nonnull(f);
    const size_t n = fread(bytes, 1, sizeof bytes, f);
    ck_assert(n < sizeof bytes);
    fclose(f);
    return n;
}

static void write_file(size_t n) {
    FILE *f = fopen(path, "wb");
    ck_assert_ptr_nonnull(f);
    ck_assert_uint_eq(fwrite(bytes, 1, n, f), n);
    fclose(f);
}

static fv_trainer *small_trainer(fv_context *c, fv_optimizer optimizer, fv_model **m) {
    fv_trainer_settings s = train_settings(4, optimizer);
    s.clip = 1;
    s.schedule = FV_SCHEDULE_COSINE;
    s.total_steps = 20;
    *m = small_model(c, true);
    return trainer_of(*m, &s);
}

START_TEST(training_goes_on_bit_for_bit) {
    static float whole[small_parameters], resumed[small_parameters];
    enter();
    for (int optimizer = FV_SGD; optimizer <= FV_ADAMW; optimizer++) {
        fv_model *m;
        fv_context *c = context_of(FV_BACKEND_PTHREADS, 2);
        fv_trainer *t = small_trainer(c, (fv_optimizer)optimizer, &m);
        train_steps(t, 0, 4);
        ok(fv_trainer_save(t, path));
        const fv_step last = train_steps(t, 4, 9);
        trained_parameters(t, whole, small_parameters);
        fv_trainer_free(t);
        fv_model_free(m);
        fv_context_free(c);
        c = context_of(FV_BACKEND_SERIAL, 1); /* another team */
        t = small_trainer(c, (fv_optimizer)optimizer, &m);
        train_steps(t, 11, 13); /* what was there before is gone */
        ok(fv_trainer_load(t, path));
        ck_assert_int_eq(fv_trainer_steps(t), 4);
        const fv_step again = train_steps(t, 4, 9);
        ck_assert(again.loss == last.loss && again.lr == last.lr && again.grad_norm == last.grad_norm);
        ck_assert_int_eq(fv_trainer_steps(t), 9);
        trained_parameters(t, resumed, small_parameters);
        ck_assert_int_eq(memcmp(whole, resumed, sizeof whole), 0);
        fv_trainer_free(t);
        fv_model_free(m);
        fv_context_free(c);
    }
    leave();
}
END_TEST

static fv_model *tiny_model(fv_context *c, int32_t out) {
    const int64_t shape[2] = {0, 3};
    fv_graph *g = NULL;
    fv_model *m = NULL;
    ok(fv_graph_create(c, &g));
    ok(fv_graph_output(g, fv_graph_linear(g, fv_graph_input(g, "x", 2, shape), out, true, FV_INIT_HE, "fc"), "y"));
    ok(fv_model_create(g, 5, &m));
    fv_graph_free(g);
    return m;
}

static fv_trainer *tiny_trainer(const fv_model *m, fv_optimizer optimizer, uint64_t seed) {
    fv_trainer_settings s = train_settings(2, optimizer);
    float x[6] = {1, 2, 3, 4, 5, 6};
    int32_t label[2] = {0, 1};
    s.seed = seed;
    fv_trainer *t = trainer_of(m, &s);
    const fv_tensor in = rows(x, 2, 3), target = labels_of(label, 2);
    for (int i = 0; i < 3; i++) ok(fv_trainer_step(t, &in, &target, NULL));
    return t;
}

START_TEST(no_torn_or_damaged_file_is_taken) {
    float before[8], after[8];
    enter();
    fv_context *c = context_of(FV_BACKEND_SERIAL, 1);
    fv_model *m = tiny_model(c, 2);
    fv_trainer *t = tiny_trainer(m, FV_MOMENTUM, 1);
    ok(fv_trainer_save(t, path));
    const size_t whole = read_file();
    ck_assert_uint_gt(whole, 100);
    ck_assert_uint_lt(whole, 300);
    trained_parameters(t, before, 8);
    for (size_t n = 0; n < whole; n++) {
        write_file(n);
        fails(fv_trainer_load(t, path), FV_ERR_FORMAT, path);
    }
    for (size_t i = 0; i < 8 * whole; i++) {
        bytes[i / 8] ^= (unsigned char)(1 << i % 8);
        write_file(whole);
        fails(fv_trainer_load(t, path), FV_ERR_FORMAT, path);
        bytes[i / 8] ^= (unsigned char)(1 << i % 8);
    }
    bytes[whole] = 0;
    write_file(whole + 1); /* something after it */
    fails(fv_trainer_load(t, path), FV_ERR_FORMAT, path);
    trained_parameters(t, after, 8);
    ck_assert_int_eq(memcmp(before, after, sizeof after), 0);
    ck_assert_int_eq(fv_trainer_steps(t), 3);
    write_file(whole);
    ok(fv_trainer_load(t, path));
    fv_trainer_free(t);
    fv_model_free(m);
    fv_context_free(c);
    leave();
}
END_TEST

/* A process killed at any moment of a save leaves the old file or the new one. */
START_TEST(killed_while_it_writes) {
    enter();
    fv_context *c = context_of(FV_BACKEND_SERIAL, 1);
    fv_model *m = tiny_model(c, 2);
    fv_trainer *t = tiny_trainer(m, FV_MOMENTUM, 1);
    ok(fv_trainer_save(t, path));
    uint32_t state = 1;
    int unfinished = 0;
    for (int i = 0; i < 40; i++) {
        const pid_t child = fork();
        ck_assert_int_ge(child, 0);
        while (child == 0) (void)fv_trainer_save(t, path);
        nanosleep(&(struct timespec){0, 100000 + (long)(draw_u32(&state) >> 12)}, NULL);
        ck_assert_int_eq(kill(child, SIGKILL), 0);
        ck_assert_int_eq(waitpid(child, NULL, 0), child);
        ok(fv_trainer_load(t, path));
        char command[96];
        snprintf(command, sizeof command, "rm %s/.state.* 2>/dev/null", folder);
        unfinished += system(command) == 0;
    }
    ck_assert_int_gt(unfinished, 0); /* at least one was killed between beginning and rename */
    fv_trainer_free(t);
    fv_model_free(m);
    fv_context_free(c);
    leave();
}
END_TEST

START_TEST(foreign_files_are_named) {
    enter();
    fv_context *c = context_of(FV_BACKEND_SERIAL, 1);
    fv_model *m = tiny_model(c, 2), *wider = tiny_model(c, 3);
    fv_trainer *t = tiny_trainer(m, FV_MOMENTUM, 1),
               *others[3] = {tiny_trainer(wider, FV_MOMENTUM, 1), tiny_trainer(m, FV_ADAM, 1),
                             tiny_trainer(m, FV_MOMENTUM, 2)};
    ok(fv_trainer_save(t, path));
    for (int i = 0; i < 3; i++) {
        fails(fv_trainer_load(others[i], path), FV_ERR_STATE,
              "written by a training of another model, optimizer, loss or seed");
        ck_assert_int_eq(fv_trainer_steps(others[i]), 3);
        fv_trainer_free(others[i]);
    }
    char other[96];
    snprintf(other, sizeof other, "%s/none", folder);
    fails(fv_trainer_load(t, other), FV_ERR_NOT_FOUND, other);
    fails(fv_trainer_load(t, folder), FV_ERR_IO, "not a regular file");
    snprintf(other, sizeof other, "%s/none/state", folder);
    fails(fv_trainer_save(t, other), FV_ERR_NOT_FOUND, other);
    fails(fv_trainer_load(NULL, path), FV_ERR_ARGUMENT, "needs");
    fails(fv_trainer_load(t, NULL), FV_ERR_ARGUMENT, "needs");
    fails(fv_trainer_save(NULL, path), FV_ERR_ARGUMENT, "needs");
    fails(fv_trainer_save(t, NULL), FV_ERR_ARGUMENT, "needs");
    ok(fv_trainer_load(t, path));
    fv_trainer_free(t);
    fv_model_free(m);
    fv_model_free(wider);
    fv_context_free(c);
    leave();
}
END_TEST

/* Whatever makes another step of the same batch is in the file; the learning rate is not. */
START_TEST(other_settings_are_refused) {
    fv_context *c = context_of(FV_BACKEND_SERIAL, 1);
    fv_model *m = tiny_model(c, 2);
    const fv_trainer_settings same = train_settings(2, FV_MOMENTUM);
    fv_trainer_settings s[12];
    enter();
    for (int i = 0; i < 12; i++) s[i] = same;
    s[0].label_smoothing = 0.1f;
    s[1].loss_input = FV_LOSS_FROM_PROBABILITIES;
    s[2].soft_targets = true;
    s[3].loss = FV_LOSS_SQUARED_ERROR;
    s[4].reduction = FV_REDUCTION_SUM;
    s[5].optimizer = FV_NESTEROV;
    s[6].momentum = 0.5f;
    s[7].weight_decay = 1e-3f;
    s[8].seed = 2;
    s[9].clip = 1;
    s[10].lr = 0.01f;
    s[11].schedule = FV_SCHEDULE_COSINE;
    s[11].total_steps = 9;
    fv_trainer *t = trainer_of(m, &same);
    ok(fv_trainer_save(t, path));
    fv_trainer_free(t);
    for (int i = 0; i < 12; i++) {
        t = trainer_of(m, &s[i]);
        if (i < 10)
            fails(fv_trainer_load(t, path), FV_ERR_STATE, "written by a training of another");
        else
            ok(fv_trainer_load(t, path));
        fv_trainer_free(t);
    }
    fv_model_free(m);
    fv_context_free(c);
    leave();
}
END_TEST

int main(void) {
    const TTest *const tests[] = {training_goes_on_bit_for_bit, no_torn_or_damaged_file_is_taken, killed_while_it_writes,
                                  foreign_files_are_named, other_settings_are_refused, NULL};
    return run_tests("checkpoint", tests, 120);
}
