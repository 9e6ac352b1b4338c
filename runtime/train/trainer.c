#include "train/trainer.h"

#include "core/rng.h"
#include "ops/window.h"
#include "train/build_step.h"
#include "train/schedule.h"

#include <math.h>
#include <string.h>

void fv_trainer_settings_default(fv_trainer_settings *s) {
    if (!s) return;
    *s = (fv_trainer_settings){.batch = 64,
                               .optimizer = FV_MOMENTUM,
                               .lr = 0.05f,
                               .momentum = 0.9f,
                               .beta1 = 0.9f,
                               .beta2 = 0.999f,
                               .epsilon = 1e-8f,
                               .schedule_factor = 0.5f,
                               .seed = 1};
}

static bool within(double x, double low, double high) { return x >= low && x <= high; }

static fv_status check_settings(const fv_trainer_settings *s) {
    FV_RETURN_IF(s->batch < 1 || s->batch > INT32_MAX, FV_ERR_ARGUMENT,
                 "a training batch of %lld; it must be 1 or more", (long long)s->batch);
    FV_RETURN_IF(s->input_layout != FV_PLAIN && s->input_layout != FV_NHWC, FV_ERR_ARGUMENT, "unknown input layout %d",
                 (int)s->input_layout);
    FV_RETURN_IF(s->loss != FV_LOSS_CROSS_ENTROPY && s->loss != FV_LOSS_SQUARED_ERROR, FV_ERR_ARGUMENT,
                 "unknown loss %d", (int)s->loss);
    FV_RETURN_IF(s->reduction != FV_REDUCTION_MEAN && s->reduction != FV_REDUCTION_SUM, FV_ERR_ARGUMENT,
                 "unknown reduction %d", (int)s->reduction);
    FV_RETURN_IF(s->loss_input != FV_LOSS_FROM_LOGITS && s->loss_input != FV_LOSS_FROM_PROBABILITIES, FV_ERR_ARGUMENT,
                 "unknown input of the loss %d", (int)s->loss_input);
    FV_RETURN_IF(s->loss != FV_LOSS_CROSS_ENTROPY && (s->soft_targets || s->loss_input != FV_LOSS_FROM_LOGITS),
                 FV_ERR_ARGUMENT, "soft targets and a loss from probabilities belong to cross-entropy");
    FV_RETURN_IF((int)s->optimizer < FV_SGD || s->optimizer > FV_ADAMW, FV_ERR_ARGUMENT, "unknown optimizer %d",
                 (int)s->optimizer);
    FV_RETURN_IF((int)s->schedule < FV_SCHEDULE_CONSTANT || s->schedule > FV_SCHEDULE_COSINE, FV_ERR_ARGUMENT,
                 "unknown schedule %d", (int)s->schedule);
    FV_RETURN_IF(!within(s->lr, 0, 1e30) || !within(s->weight_decay, 0, 1e30) || !within(s->clip, 0, 1e30),
                 FV_ERR_ARGUMENT, "learning rate, weight decay and clip are numbers of 0 or more");
    FV_RETURN_IF(!within(s->momentum, 0, 0.9999999) || !within(s->beta1, 0, 0.9999999) ||
                     !within(s->beta2, 0, 0.9999999),
                 FV_ERR_ARGUMENT, "momentum, beta1 and beta2 lie in 0 to below 1");
    FV_RETURN_IF(!within(s->label_smoothing, 0, 0.9999999) || !within(s->epsilon, 0, 1e30), FV_ERR_ARGUMENT,
                 "label smoothing lies in 0 to below 1, epsilon is 0 or more");
    FV_RETURN_IF(s->warmup_steps < 0 || s->total_steps < 0 || s->schedule_step < 0, FV_ERR_ARGUMENT,
                 "schedules count steps from 0");
    FV_RETURN_IF(s->schedule == FV_SCHEDULE_COSINE && s->total_steps < 1, FV_ERR_ARGUMENT,
                 "a cosine schedule needs its total_steps");
    const bool stepped = s->schedule == FV_SCHEDULE_STEP;
    FV_RETURN_IF(stepped && (s->schedule_step < 1 || !within(s->schedule_factor, 0, 1e30)), FV_ERR_ARGUMENT,
                 "a step schedule needs a schedule_step of 1 or more and a schedule_factor of 0 or more");
    return FV_OK;
}

/* A model whose graph is made for each shape is trained at the largest batch, and at no other. */
static fv_status fix_batch(fv_trainer *t) {
    const fv_lowering wanted = {NULL, 0, t->settings.batch};
    fv_model *whole = t->model, *fixed = NULL;
    fv_graph *lowered = NULL, *own = NULL;
    bool *pinned = NULL;
    if (!whole->source.lower) return FV_OK;
    FV_FORWARD(fv_alloc_array(whole->graph->context, whole->graph->input_count + 1, sizeof *pinned, "a trainer",
                              (void **)&pinned));
    fv_status status = whole->source.lower(whole->source.self, &wanted, &lowered, pinned);
    fv_release(whole->graph->context, pinned);
    if (status != FV_OK) return fv_fail_within(status, "at a training batch of %lld", (long long)t->settings.batch);
    status = fv_graph_copy(lowered, false, &own);
    fv_graph_free(lowered);
    if (status == FV_OK) status = fv_model_adopt(own, 0, &fixed);
    FV_FORWARD(status);
    t->model = fixed;
    fv_model_free(whole);
    return FV_OK;
}

static fv_status fill_trainer(fv_trainer *t) {
    const fv_trainer_settings *s = &t->settings;
    FV_FORWARD(check_settings(s));
    FV_FORWARD(fix_batch(t));
    FV_FORWARD(fv_graph_copy(t->model->graph, false, &t->graph));
    FV_FORWARD(fv_build_step(t));
    const bool adam = s->optimizer == FV_ADAM || s->optimizer == FV_ADAMW;
    t->run = (fv_run_info){.momentum = (fv_real)(adam ? s->beta1 : s->momentum),
                           .beta2 = (fv_real)s->beta2,
                           .epsilon = (fv_real)s->epsilon,
                           .weight_decay = (fv_real)s->weight_decay,
                           .clip = (fv_real)s->clip};
    fv_rng_key(s->seed, FV_PURPOSE_DROPOUT, t->run.dropout_key);
    if (t->classes == 0 || (s->loss != FV_LOSS_SQUARED_ERROR && !s->soft_targets)) return FV_OK;
    size_t count;
    FV_RETURN_IF(!fv_mul_size((size_t)s->batch, (size_t)t->classes, &count), FV_ERR_LIMIT,
                 "a batch of %lld is too large", (long long)s->batch);
    return fv_alloc_array(t->graph->context, count, sizeof *t->one_hot, "training targets", (void **)&t->one_hot);
}

fv_status fv_trainer_create(const fv_model *m, const fv_trainer_settings *s, fv_trainer **out) {
    FV_RETURN_IF(!m || !out, FV_ERR_ARGUMENT, "fv_trainer_create needs a model and a place for the trainer");
    FV_FORWARD(fv_model_check_weights(m, "fv_trainer_create"));
    fv_trainer *t = NULL;
    FV_FORWARD(fv_alloc_zero(m->graph->context, sizeof *t, "a trainer", (void **)&t));
    t->model = fv_model_retain(m);
    fv_trainer_settings_default(&t->settings);
    if (s) t->settings = *s;
    const fv_status status = fill_trainer(t);
    if (status == FV_OK)
        *out = t;
    else
        fv_trainer_free(t);
    return status;
}

static void free_plan(fv_trainer_plan *p) {
    fv_plan_free(p->plan);
    fv_graph_free(p->graph);
    *p = (fv_trainer_plan){0};
}

void fv_trainer_free(fv_trainer *t) {
    if (!t) return;
    fv_model *m = t->model;
    for (int i = 0; i < FV_TRAINER_PLANS; i++) free_plan(&t->plans[i]);
    fv_graph_free(t->graph);
    fv_release(m->graph->context, t->one_hot);
    fv_release(m->graph->context, t);
    fv_model_free(m);
}

/* ---- plans by number of rows ---- */

static fv_status make_plan(fv_trainer *t, int64_t rows, fv_trainer_plan *p) {
    const fv_plan_settings settings = {.training = true, .run = &t->run};
    FV_FORWARD(fv_graph_copy(t->graph, true, &p->graph));
    FV_FORWARD(fv_graph_set_batch(p->graph, rows));
    FV_FORWARD(fv_plan_create(p->graph, &settings, &p->plan));
    p->rows = rows;
    return FV_OK;
}

/* The plan for so many rows; a new one takes a free place, or that of the one used longest ago. */
static fv_status plan_for(fv_trainer *t, int64_t rows, fv_trainer_plan **out) {
    fv_trainer_plan *place = &t->plans[0];
    for (int i = 0; i < FV_TRAINER_PLANS; i++) {
        fv_trainer_plan *p = &t->plans[i];
        if (p->plan && p->rows == rows) {
            *out = p;
            return FV_OK;
        }
        if (p->used < place->used) place = p; /* a free place was last used at step 0 */
    }
    free_plan(place);
    const fv_status status = make_plan(t, rows, place);
    if (status == FV_OK)
        *out = place;
    else
        free_plan(place);
    return status;
}

/* ---- a step ---- */

static fv_status check_input(const fv_trainer *t, const fv_tensor *x) {
    const fv_value_info *in = &t->graph->values[t->input];
    const fv_shape *want = &in->shape;
    FV_RETURN_IF(!x->data || x->dtype != FV_REAL_DTYPE, FV_ERR_ARGUMENT,
                 "a training step takes float images with data");
    FV_RETURN_IF(x->rank != want->rank, FV_ERR_SHAPE, "a training step got images of rank %d, the model takes rank %d",
                 x->rank, want->rank);
    FV_RETURN_IF(x->shape[0] < 1 || x->shape[0] > t->settings.batch, FV_ERR_SHAPE,
                 "a training step got %lld images; planned are 1 to %lld", (long long)x->shape[0],
                 (long long)t->settings.batch);
    for (int32_t i = 1; i < x->rank; i++)
        FV_RETURN_IF(x->shape[i] != want->dim[i], FV_ERR_SHAPE,
                     "a training step got images with size %lld on axis %d, the model takes %s", (long long)x->shape[i],
                     i, fv_shape_print(want).text);
    const bool same_bytes = x->rank != 4 || x->shape[1] == 1 || x->shape[2] * x->shape[3] == 1;
    FV_RETURN_IF(!same_bytes && x->layout != t->settings.input_layout, FV_ERR_SHAPE,
                 "a training step got images in another layout than planned");
    FV_RETURN_IF((uintptr_t)x->data % sizeof(fv_real), FV_ERR_ARGUMENT,
                 "a training step got images not aligned to their elements");
    return FV_OK;
}

static fv_status check_labels(const fv_trainer *t, const fv_tensor *labels, int64_t rows) {
    FV_RETURN_IF(labels->rank != 1 || labels->shape[0] != rows, FV_ERR_SHAPE,
                 "a training step of %lld images needs as many labels", (long long)rows);
    const int32_t *label = labels->data;
    for (int64_t i = 0; i < rows; i++)
        FV_RETURN_IF(label[i] < 0 || label[i] >= t->classes, FV_ERR_ARGUMENT,
                     "label %d of image %lld is outside 0 to %lld", label[i], (long long)i, (long long)t->classes - 1);
    return FV_OK;
}

/* Of the output's shape, for so many images. */
static fv_status check_floats(const fv_trainer *t, const fv_tensor *targets, int64_t rows) {
    fv_shape want = t->graph->values[t->target].shape;
    want.dim[0] = rows;
    bool fits = targets->rank == want.rank;
    for (int32_t i = 0; fits && i < want.rank; i++) fits = targets->shape[i] == want.dim[i];
    FV_RETURN_IF(!fits, FV_ERR_SHAPE, "a training step needs targets of shape %s", fv_shape_print(&want).text);
    const bool same_bytes = want.rank != 4 || want.dim[1] == 1 || want.dim[2] * want.dim[3] == 1;
    FV_RETURN_IF(!same_bytes && targets->layout != t->settings.input_layout, FV_ERR_SHAPE,
                 "a training step got targets in another layout than its images");
    return FV_OK;
}

/* *target: what the plan reads. */
static fv_status check_targets(fv_trainer *t, const fv_tensor *targets, int64_t rows, void **target) {
    FV_RETURN_IF(!targets->data, FV_ERR_ARGUMENT, "a training step needs targets with data");
    const size_t element = targets->dtype == FV_I32 ? sizeof(int32_t) : sizeof(fv_real);
    FV_RETURN_IF((uintptr_t)targets->data % element, FV_ERR_ARGUMENT,
                 "a training step got targets not aligned to their elements");
    *target = targets->data;
    if (targets->dtype == FV_I32) {
        FV_RETURN_IF(t->classes == 0, FV_ERR_ARGUMENT,
                     "the model's output is not one row of values an image: it takes float targets of its shape");
        FV_FORWARD(check_labels(t, targets, rows));
        if (t->settings.loss == FV_LOSS_CROSS_ENTROPY && !t->settings.soft_targets) return FV_OK;
        const int32_t *label = targets->data;
        memset(t->one_hot, 0, (size_t)(rows * t->classes) * sizeof *t->one_hot);
        for (int64_t i = 0; i < rows; i++) t->one_hot[i * t->classes + label[i]] = 1;
        *target = t->one_hot;
        return FV_OK;
    }
    const bool floats = t->settings.loss == FV_LOSS_SQUARED_ERROR || t->settings.soft_targets;
    FV_RETURN_IF(!floats || targets->dtype != FV_REAL_DTYPE, FV_ERR_ARGUMENT,
                 "cross-entropy takes int32 labels, squared error and soft_targets labels or float targets");
    FV_FORWARD(check_floats(t, targets, rows));
    const fv_real *value = targets->data;
    for (int64_t i = 0; t->settings.soft_targets && i < rows * t->classes; i++)
        FV_RETURN_IF(!(value[i] >= 0) || isinf(value[i]), FV_ERR_ARGUMENT,
                     "target %g of image %lld; soft targets are numbers of 0 or more", (double)value[i],
                     (long long)(i / t->classes));
    return FV_OK;
}

/* What changes from step to step. */
static void set_run(fv_trainer *t, double lr) {
    const fv_trainer_settings *s = &t->settings;
    const uint64_t n = (uint64_t)t->steps + 1;
    t->run.step = (uint64_t)t->steps;
    t->run.lr = (fv_real)lr;
    t->run.correction1 = (fv_real)(1 / (1 - fv_power((double)s->beta1, n)));
    t->run.correction2 = (fv_real)(1 / (1 - fv_power((double)s->beta2, n)));
}

static void report(const fv_trainer *t, const fv_trainer_plan *p, double lr, fv_step *out) {
    const fv_real *rows = fv_plan_data(p->plan, t->loss);
    *out = (fv_step){.lr = lr, .correct = t->correct == FV_NONE ? -1 : 0};
    for (int64_t i = 0; i < p->rows; i++) out->loss += (double)rows[i];
    if (t->settings.reduction == FV_REDUCTION_MEAN) out->loss /= (double)p->rows;
    const int32_t *correct = t->correct == FV_NONE ? NULL : fv_plan_data(p->plan, t->correct);
    for (int64_t i = 0; i < p->rows && correct; i++) out->correct += correct[i];
    if (t->norm != FV_NONE) out->grad_norm = (double)*(const fv_real *)fv_plan_data(p->plan, t->norm);
}

fv_status fv_trainer_step(fv_trainer *t, const fv_tensor *x, const fv_tensor *targets, fv_step *out) {
    FV_RETURN_IF(!t || !x || !targets, FV_ERR_ARGUMENT, "fv_trainer_step needs a trainer, images and targets");
    fv_trainer_plan *p;
    void *target = NULL;
    FV_FORWARD(check_input(t, x));
    FV_FORWARD(check_targets(t, targets, x->shape[0], &target));
    FV_FORWARD(plan_for(t, x->shape[0], &p));
    const double lr = fv_schedule_lr(&t->settings, t->steps);
    set_run(t, lr);
    fv_plan_bind(p->plan, t->input, x->data);
    fv_plan_bind(p->plan, t->target, target);
    fv_plan_run(p->plan);
    p->used = ++t->steps;
    if (out) report(t, p, lr, out);
    return FV_OK;
}

/* ---- what there is ---- */

int64_t fv_trainer_steps(const fv_trainer *t) { return t ? t->steps : 0; }

size_t fv_trainer_arena_bytes(const fv_trainer *t) {
    size_t bytes = 0;
    for (int i = 0; t && i < FV_TRAINER_PLANS; i++)
        if (t->plans[i].plan) bytes = fv_max_size(bytes, fv_plan_arena_bytes(t->plans[i].plan));
    return bytes;
}

fv_value_info *fv_trainer_value(const fv_trainer *t, size_t i) {
    for (size_t v = 0; v < t->graph->value_count; v++) {
        fv_value_info *info = &t->graph->values[v];
        if (info->kind != FV_VALUE_PARAMETER && info->kind != FV_VALUE_STATE) continue;
        if (i-- == 0) return info;
    }
    return NULL;
}

/* The step's graph grew from a copy of the model's: its first values are the same. */
fv_status fv_trainer_model(const fv_trainer *t, fv_model **out) {
    FV_RETURN_IF(!t || !out, FV_ERR_ARGUMENT, "fv_trainer_model needs a trainer and a place for the model");
    fv_graph *g;
    FV_FORWARD(fv_graph_copy(t->model->graph, false, &g));
    for (size_t v = 0; v < g->value_count; v++) {
        const fv_value_info *now = &t->graph->values[v];
        if (now->kind != FV_VALUE_PARAMETER) continue;
        const size_t count = fv_shape_count(&now->shape), rows = (size_t)now->shape.dim[0];
        if (now->layout == FV_TAPS_LAST_OUT)
            fv_taps_to_plain(now->data, g->values[v].data, rows, count / rows / (size_t)now->taps, (size_t)now->taps);
        else
            memcpy(g->values[v].data, now->data, count * sizeof(fv_real));
    }
    return fv_model_adopt(g, 0, out);
}
