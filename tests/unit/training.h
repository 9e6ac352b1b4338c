/* Shared by the tests of training: synthetic batches, trainers on the small network, parameters compared. */
#ifndef FV_TESTS_TRAINING_H
#define FV_TESTS_TRAINING_H

#include "unit.h"

/* Class k is bright in rows 2k and 2k+1, in noise. */
static inline void draw_batch(float *x, int32_t *label, int64_t n, uint32_t *state) {
    for (int64_t i = 0; i < n; i++) {
        label[i] = (int32_t)((draw_u32(state) >> 16) % net_out);
        for (int p = 0; p < net_in; p++)
            x[i * net_in + p] = 0.3f * draw(state) + ((p / net_w % net_h) / 2 == label[i] ? 0.8f : 0.0f);
    }
}

static inline fv_trainer_settings train_settings(int64_t batch, fv_optimizer optimizer) {
    fv_trainer_settings s;
    fv_trainer_settings_default(&s);
    s.batch = batch;
    s.optimizer = optimizer;
    if (optimizer >= FV_ADAM) s.lr = 0.01f;
    return s;
}

static inline fv_trainer *trainer_of(const fv_model *m, const fv_trainer_settings *s) {
    fv_trainer *t = NULL;
    ok(fv_trainer_create(m, s, &t));
    return t;
}

/* Steps [from, to) of one fixed sequence of batches, the sizes going 4, 3, 1, 4, ... */
static inline fv_step train_steps(fv_trainer *t, int from, int to) {
    static const int64_t sizes[] = {4, 3, 1};
    float x[4 * net_in];
    int32_t label[4];
    fv_step step = {0};
    for (int i = from; i < to; i++) {
        uint32_t state = (uint32_t)i * 77u + 5u;
        const int64_t n = sizes[i % 3];
        draw_batch(x, label, n, &state);
        const fv_tensor in = maps(x, n, net_c, net_h, net_w), target = labels_of(label, n);
        ok(fv_trainer_step(t, &in, &target, &step));
    }
    return step;
}

/* All parameters of a model in order; returns how many. */
static inline size_t parameters_of(const fv_model *m, float *to, size_t room) {
    size_t total = 0;
    for (size_t i = 0; i < fv_model_parameter_count(m); i++) {
        fv_tensor t;
        size_t count;
        ok(fv_model_parameter(m, i, NULL, &t, NULL));
        ok(fv_tensor_count(&t, &count));
        ck_assert_uint_le(total + count, room);
        memcpy(to + total, t.data, count * sizeof *to);
        total += count;
    }
    return total;
}

static inline size_t trained_parameters(const fv_trainer *t, float *to, size_t room) {
    fv_model *m = NULL;
    ok(fv_trainer_model(t, &m));
    const size_t count = parameters_of(m, to, room);
    fv_model_free(m);
    return count;
}

enum { small_parameters = 6 * 27 + 6 + 7 * 54 + 7 + 13 * 84 + 13 + 13 * 5 + 5 };

#endif
