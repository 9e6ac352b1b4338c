/* Models exported from PyTorch, trained on: the losses of 50 steps of SGD with momentum are PyTorch's (tests/golden/finetune_torch.py). */
#include "wire.h"

#include <math.h>

enum { side = 12, classes = 5, images = 8, steps = 50, values = images * 2 * side * side };

/* The batch of a step, as the script makes it. */
static void make_batch(int step, float x[values], int32_t label[images]) {
    for (int i = 0; i < values; i++) {
        uint32_t h = (uint32_t)i + (uint32_t)step * 7919u;
        h = (h ^ h >> 16) * 0x7feb352du;
        h = (h ^ h >> 15) * 0x846ca68bu;
        x[i] = (float)(h >> 8) * 0x1p-24f - 0.5f;
    }
    for (int n = 0; n < images; n++) {
        label[n] = (n * 7 + step * 3) % classes;
        for (int c = 0; c < 2; c++)
            for (int i = 0; i < 2 * side; i++) x[((n * 2 + c) * side + 2 * label[n]) * side + i] += 0.25f;
    }
}

/* Losses of the plain and of the general network. */
static void read_losses(double losses[2][steps]) {
    FILE *f = fopen("tests/golden/finetune_losses.csv", "r");
    char head[64];
    ck_assert_ptr_nonnull(f);
    ck_assert_ptr_nonnull(fgets(head, sizeof head, f));
    for (int i = 0, step; i < steps; i++) {
        ck_assert_int_eq(fscanf(f, "%d,%lf,%lf", &step, &losses[0][i], &losses[1][i]), 3);
        ck_assert_int_eq(step, i);
    }
    fclose(f);
}

static void follow(const char *path, int column, fv_backend backend, int threads) {
    static float x[values];
    double losses[2][steps];
    int32_t label[images];
    fv_context *c = context_of(backend, threads);
    fv_model *m = NULL;
    fv_trainer *t = NULL;
    fv_trainer_settings s;
    read_losses(losses);
    ok(fv_model_load(c, path, &m));
    fv_trainer_settings_default(&s);
    s.batch = images;
    s.optimizer = FV_MOMENTUM;
    s.lr = 0.02f;
    ok(fv_trainer_create(m, &s, &t));
    double worst = 0;
    for (int i = 0; i < steps; i++) {
        fv_step done;
        make_batch(i, x, label);
        const fv_tensor in = maps(x, images, 2, side, side), target = labels_of(label, images);
        ok(fv_trainer_step(t, &in, &target, &done));
        const double apart = fabs(done.loss - losses[column][i]) / losses[column][i];
        worst = apart > worst ? apart : worst;
        ck_assert_msg(apart <= 1e-4, "%s: the loss of step %d is %.9g, PyTorch's %.9g", path, i, done.loss, losses[column][i]);
    }
    if (getenv("FOVEA_TEST_VERBOSE")) printf("%s: %.2g\n", path, worst);
    fv_trainer_free(t);
    fv_model_free(m);
    fv_context_free(c);
}

START_TEST(plain_network_follows_pytorch) { follow("tests/golden/finetune_plain.onnx", 0, FV_BACKEND_PTHREADS, 2); }
END_TEST

START_TEST(general_operators_follow_pytorch) { follow("tests/golden/finetune_general.onnx", 1, FV_BACKEND_PTHREADS, 2); }
END_TEST

/* x (N,2,3) flattened, by Flatten or by arithmetic on its shape, and a matrix. */
static wire flattening(bool by_shape) {
    wire g = {0}, axes = {0}, rest = {0}, join = node_of("Concat", "j", "row rest", "to");
    if (by_shape) {
        axes = tensor_head("first", 7, DIMS(1));
        w_bytes(&axes, 9, (int64_t[]){0}, 8);
        w_message(&g, G_INITIALIZER, axes);
        rest = tensor_head("rest", 7, DIMS(1));
        w_bytes(&rest, 9, (int64_t[]){-1}, 8);
        w_message(&g, G_INITIALIZER, rest);
        w_message(&g, G_NODE, node_of("Shape", "s", "x", "sizes"));
        w_message(&g, G_NODE, node_of("Gather", "g", "sizes first", "row"));
        node_attr(&join, attr_int("axis", 0));
        w_message(&g, G_NODE, join);
        w_message(&g, G_NODE, node_of("Reshape", "r", "x to", "h"));
    } else {
        w_message(&g, G_NODE, node_of("Flatten", "r", "x", "h"));
        w_free(&join);
    }
    w_message(&g, G_INITIALIZER, tensor_of("w", DIMS(6, 5)));
    w_message(&g, G_NODE, node_of("MatMul", "m", "h w", "y"));
    w_message(&g, G_INPUT, value_info_of("x", DIMS(0, 2, 3)));
    w_message(&g, G_OUTPUT, value_info_of("y", DIMS(0, 5)));
    return model_of(g);
}

/* Sizes computed from the batch fix it: the trainer's. */
START_TEST(models_made_for_a_batch_are_trained_at_it) {
    static float x[images * 6];
    int32_t label[images];
    double last[2] = {0, 1};
    fv_context *c = context_of(FV_BACKEND_SERIAL, 1);
    fv_trainer_settings s;
    wire_enter();
    fv_trainer_settings_default(&s);
    s.batch = images;
    draw_all(x, images * 6, 4);
    for (int i = 0; i < images; i++) label[i] = i % classes;
    for (int by_shape = 0; by_shape < 2; by_shape++) {
        fv_model *m = NULL, *trained = NULL;
        fv_trainer *t = NULL;
        fv_step done;
        fv_tensor in = {FV_F32, FV_PLAIN, 3, {images, 2, 3}, x}, target = labels_of(label, images);
        ok(load_wire(c, flattening(by_shape), &m));
        ok(fv_trainer_create(m, &s, &t));
        fv_model_free(m);
        for (int i = 0; i < 3; i++) ok(fv_trainer_step(t, &in, &target, &done));
        last[by_shape] = done.loss;
        ok(fv_trainer_model(t, &trained));
        fv_model_free(trained);
        in.shape[0] = target.shape[0] = 3;
        if (by_shape)
            fails(fv_trainer_step(t, &in, &target, &done), FV_ERR_SHAPE, "fixed batch of 8, not 3");
        else
            ok(fv_trainer_step(t, &in, &target, &done));
        fv_trainer_free(t);
    }
    ck_assert(last[0] == last[1]);
    wire_leave();
    fv_context_free(c);
}
END_TEST

int main(void) {
    const TTest *const tests[] = {plain_network_follows_pytorch, general_operators_follow_pytorch,
                                  models_made_for_a_batch_are_trained_at_it, NULL};
    return run_tests("finetune", tests, 60);
}
