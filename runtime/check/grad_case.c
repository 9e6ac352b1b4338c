#include "check/grad_case.h"

#include "core/rng.h"
#include "ops/window.h"
#include "train/autodiff.h"
#include "train/build_step.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST = 32 }; /* inputs, outputs, variables of a case */

typedef struct variable {
    fv_value value, gradient; /* in the graph that runs */
    fv_real *data;
} variable;

/* An input as a row asked for it. */
typedef struct drawn_input {
    fv_grad_values values;
    float limit;
} drawn_input;

struct fv_grad_draw {
    fv_graph *graph;
    fv_check_random random; /* of the geometry */
    fv_value outputs[MOST];
    drawn_input inputs[MOST];
    size_t output_count, input_count;
    bool has_loss, fuse_residual, probabilities, soft_targets, surrogate;
    double amplification;
    fv_loss loss;
    fv_reduction reduction;
    float smoothing;
};

typedef struct grad_case {
    fv_grad_case shown; /* first: the two are cast */
    fv_context *context;
    fv_model *model;
    fv_graph *graph; /* prepared, differentiated */
    fv_plan *plan;
    fv_run_info run;
    fv_grad_draw draw;
    fv_check_random random; /* of the values */
    int64_t batch;
    fv_grad_variable listed[MOST];
    variable own[MOST];
    size_t first_weight; /* variables from here are weights of outputs */
    bool want_inputs;
    fv_value target, loss_rows;
    int64_t classes;
    void *target_data;
} grad_case;

/* ---- what rows call ---- */

void fv_grad_amplify(fv_grad_draw *d, double factor) { d->amplification = factor; }
void fv_grad_surrogate(fv_grad_draw *d) { d->surrogate = true; }
fv_graph *fv_grad_graph(fv_grad_draw *d) { return d->graph; }
fv_check_random *fv_grad_random(fv_grad_draw *d) { return &d->random; }
void fv_grad_fuse_residual(fv_grad_draw *d) { d->fuse_residual = true; }

fv_value fv_grad_input(fv_grad_draw *d, fv_grad_values values, float limit, int32_t rank, const int64_t *shape) {
    char name[16];
    if (d->input_count == MOST) return fv_graph_fail(d->graph, FV_ERR_LIMIT, "a case has more than %d inputs", MOST);
    snprintf(name, sizeof name, "x%zu", d->input_count);
    d->inputs[d->input_count++] = (drawn_input){values, limit};
    return fv_graph_input(d->graph, name, rank, shape);
}

void fv_grad_output(fv_grad_draw *d, fv_value v) {
    if (d->output_count < MOST) d->outputs[d->output_count++] = v;
}

void fv_grad_loss(fv_grad_draw *d, fv_value v, fv_loss loss, fv_reduction reduction, float label_smoothing) {
    fv_grad_output(d, v);
    d->has_loss = true;
    d->loss = loss;
    d->reduction = reduction;
    d->smoothing = label_smoothing;
}

void fv_grad_loss_form(fv_grad_draw *d, fv_loss_input input, bool soft_targets) {
    d->probabilities = input == FV_LOSS_FROM_PROBABILITIES;
    d->soft_targets = soft_targets;
}

/* ---- values ---- */

static void fill_uniform(fv_check_random *r, double *x, size_t n, float low, float high) {
    for (size_t i = 0; i < n; i++) x[i] = check_uniform(r, low, high);
}

/* An even number of places, so that none is at zero; each value within the middle half of its place; then shuffled. */
static void fill_spaced(fv_check_random *r, double *x, size_t n, float limit) {
    const float place = 2 * limit / (float)(n + n % 2);
    const size_t first = n % 2 ? check_below(r, 2) : 0;
    for (size_t i = 0; i < n; i++)
        x[i] = (float)((float)(first + i) * place - limit + check_uniform(r, 0.25f, 0.75f) * place);
    for (size_t i = n; i > 1; i--) {
        const size_t k = check_below(r, i);
        const double kept = x[k];
        x[k] = x[i - 1];
        x[i - 1] = kept;
    }
}

static void fill_parameter(fv_check_random *r, const fv_value_info *v, double *x, size_t n) {
    const float limit = sqrtf(3 / (float)v->fan_in);
    if (v->shape.rank > 1)
        fill_uniform(r, x, n, -limit, limit);
    else
        fill_uniform(r, x, n, v->init == FV_INIT_ONES ? 0.5f : -0.5f, v->init == FV_INIT_ONES ? 1.5f : 0.5f);
}

/* Index in the stored layout of the i-th value in the logical order. */
static size_t stored_index(const fv_value_info *v, size_t i) {
    const fv_shape *s = &v->shape;
    if (v->layout == FV_TAPS_LAST_OUT) {
        const size_t taps = (size_t)v->taps, out = (size_t)s->dim[0], in = fv_shape_count(s) / out / taps;
        return (i % taps * in + i / taps % in) * out + i / taps / in;
    }
    if (v->layout != FV_NHWC || s->rank != 4) return i;
    const size_t pixels = (size_t)(s->dim[2] * s->dim[3]), channels = (size_t)s->dim[1];
    return (i / pixels / channels * pixels + i % pixels) * channels + i / pixels % channels;
}

static void store(const fv_value_info *v, const double *from, fv_real *to) {
    const size_t n = fv_shape_count(&v->shape), taps = v->edges ? n / (size_t)(v->shape.dim[0] * v->shape.dim[1]) : 1;
    for (size_t i = 0; i < n; i++) to[stored_index(v, i)] = v->edges && !v->edges[i / taps] ? 0 : (fv_real)from[i];
}

static void fetch(const fv_value_info *v, const fv_real *from, double *to) {
    for (size_t i = 0, n = fv_shape_count(&v->shape); i < n; i++) to[i] = (double)from[stored_index(v, i)];
}

/* ---- from the row to a graph with gradients ---- */

static fv_status copy_of_model(grad_case *c) {
    for (size_t i = 0; i < c->draw.output_count; i++)
        FV_FORWARD(fv_graph_output(c->draw.graph, c->draw.outputs[i], NULL));
    FV_FORWARD(fv_model_create(c->draw.graph, 1, &c->model));
    FV_FORWARD(fv_graph_copy(c->model->graph, false, &c->graph));
    return fv_graph_set_batch(c->graph, c->batch);
}

/* As a trainer does it, and the variants that it does not always take. */
static fv_status prepare(grad_case *c) {
    fv_check_random *r = &c->draw.random;
    const fv_layout layout = check_chance(r, 0.5) ? FV_PLAIN : FV_NHWC;
    const bool relayout = check_chance(r, 0.6);
    if (c->draw.fuse_residual) FV_FORWARD(fv_pass_fuse(c->graph, false));
    FV_FORWARD(fv_graph_prepare(c->graph, true, layout, FV_NHWC));
    return relayout ? fv_relayout_weights(c->graph) : FV_OK;
}

static fv_status add_variable(grad_case *c, const char *name, fv_value value, fv_value wanted) {
    FV_RETURN_IF(c->shown.variable_count == MOST, FV_ERR_LIMIT, "a case has more than %d variables", MOST);
    const size_t i = c->shown.variable_count++;
    c->listed[i].name = name;
    c->own[i] = (variable){.value = value, .gradient = wanted};
    return FV_OK;
}

/* What the layout pass made of an input, or itself. */
static fv_value inside_of(const fv_graph *g, fv_value input) {
    for (size_t i = 0; i < g->node_count && g->values[input].layout == FV_PLAIN; i++)
        if (g->nodes[i].op == &fv_op_layout && g->nodes[i].in[0] == input) return g->nodes[i].out[0];
    return input;
}

static fv_status add_variables(grad_case *c) {
    const fv_graph *g = c->graph;
    for (size_t i = 0; i < g->input_count; i++)
        FV_FORWARD(add_variable(c, g->values[g->inputs[i]].name, g->inputs[i], inside_of(g, g->inputs[i])));
    for (size_t v = 0; v < g->value_count; v++)
        if (g->values[v].kind == FV_VALUE_PARAMETER && g->values[v].trainable) /* others have no gradient */
            FV_FORWARD(add_variable(c, g->values[v].name, (fv_value)v, (fv_value)v));
    c->want_inputs = c->shown.variable_count == g->input_count || check_chance(&c->draw.random, 0.8);
    c->first_weight = c->shown.variable_count;
    return FV_OK;
}

static fv_value add_input(fv_graph *g, fv_dtype dtype, const fv_shape *shape) {
    const fv_value v = fv_graph_new_value(g, FV_VALUE_INPUT, NULL, dtype, shape);
    if (v == FV_NONE || fv_grow(g->context, (void **)&g->inputs, &g->input_capacity, g->input_count + 1,
                                sizeof *g->inputs, "a graph") != FV_OK)
        return FV_NONE;
    g->inputs[g->input_count++] = v;
    return v;
}

static fv_status add_loss(grad_case *c, fv_value y, fv_value *seed) {
    fv_graph *g = c->graph;
    const bool cross_entropy = c->draw.loss == FV_LOSS_CROSS_ENTROPY;
    const fv_shape shape = g->values[y].shape, rows = {1, {shape.dim[0]}};
    const fv_attributes attr = {.loss = {(fv_real)c->draw.smoothing, c->draw.reduction, c->draw.probabilities}};
    c->target = cross_entropy && !c->draw.soft_targets ? add_input(g, FV_I32, &rows) : add_input(g, FV_REAL_DTYPE, &shape);
    const fv_value in[2] = {y, c->target};
    c->classes = shape.rank > 1 ? shape.dim[1] : 0;
    c->loss_rows = fv_graph_node(g, cross_entropy ? &fv_op_cross_entropy : &fv_op_squared_error, "loss", in, 2,
                                 cross_entropy ? 3 : 2, &attr);
    *seed = c->loss_rows + 1;
    return fv_graph_status(g);
}

/* Seeds of the outputs: random weights, which are inputs, or what the loss gives. */
static fv_status add_seeds(grad_case *c, fv_value *seeds) {
    static const char *const names[] = {"output 0", "output 1", "output 2"};
    const size_t outputs = c->graph->output_count;
    FV_RETURN_IF(outputs > FV_ARRAY_SIZE(names), FV_ERR_LIMIT, "a case has %zu outputs", outputs);
    c->target = c->loss_rows = FV_NONE;
    if (c->draw.has_loss) return add_loss(c, c->graph->outputs[0], seeds);
    for (size_t i = 0; i < outputs; i++) {
        const fv_shape shape = c->graph->values[c->graph->outputs[i]].shape;
        seeds[i] = add_input(c->graph, FV_REAL_DTYPE, &shape);
        FV_FORWARD(add_variable(c, names[i], seeds[i], c->graph->outputs[i]));
        c->listed[c->shown.variable_count - 1].output = true;
    }
    return fv_graph_status(c->graph);
}

static fv_status keep(fv_graph *g, fv_value v) {
    if (v == FV_NONE) return FV_OK;
    FV_FORWARD(fv_grow(g->context, (void **)&g->outputs, &g->output_capacity, g->output_count + 1, sizeof *g->outputs,
                       "a graph"));
    g->outputs[g->output_count++] = v;
    return FV_OK;
}

static fv_status differentiate(grad_case *c) {
    fv_graph *g = c->graph;
    fv_value seeds[MOST], wanted[MOST], outputs[MOST], *gradients = NULL;
    size_t count = 0;
    FV_FORWARD(add_seeds(c, seeds));
    const size_t values = g->value_count, output_count = g->output_count;
    memcpy(outputs, g->outputs, output_count * sizeof *outputs);
    if (c->draw.has_loss) g->output_count = 0; /* as in training, nobody keeps it */
    for (size_t i = c->want_inputs ? 0 : c->draw.input_count; i < c->first_weight; i++)
        wanted[count++] = c->own[i].gradient;
    FV_FORWARD(fv_alloc_array(g->context, values, sizeof *gradients, "gradients", (void **)&gradients));
    fv_status status = fv_autodiff(g, outputs, seeds, output_count, wanted, count, values, gradients);
    for (size_t i = 0; i < c->first_weight && status == FV_OK; i++) {
        c->own[i].gradient = gradients[c->own[i].gradient];
        status = keep(g, c->own[i].gradient);
    }
    fv_release(g->context, gradients);
    if (status == FV_OK) status = keep(g, c->loss_rows);
    if (status == FV_OK) status = fv_pass_dead(g);
    if (status == FV_OK) status = fv_pass_pooled_gradients(g); /* as a training step does */
    return status == FV_OK ? fv_graph_infer(g) : status;
}

/* ---- memory and first values ---- */

static fv_status take(size_t count, size_t size, void *out) {
    void *p = calloc(count ? count : 1, size);
    FV_RETURN_IF(!p, FV_ERR_MEMORY, "out of memory for a gradient case");
    memcpy(out, &p, sizeof p);
    return FV_OK;
}

static void fill(grad_case *c, size_t i, const fv_value_info *v, double *x, size_t n) {
    if (i >= c->first_weight)
        fill_uniform(&c->random, x, n, -1, 1);
    else if (v->kind == FV_VALUE_PARAMETER)
        fill_parameter(&c->random, v, x, n);
    else if (c->draw.inputs[i].values == FV_GRAD_SPACED)
        fill_spaced(&c->random, x, n, c->draw.inputs[i].limit);
    else
        fill_uniform(&c->random, x, n, -c->draw.inputs[i].limit, c->draw.inputs[i].limit);
}

static fv_status place_variables(grad_case *c) {
    for (size_t i = 0; i < c->shown.variable_count; i++) {
        fv_grad_variable *v = &c->listed[i];
        const fv_value_info *info = &c->graph->values[c->own[i].value];
        v->count = fv_shape_count(&info->shape);
        FV_FORWARD(take(v->count, sizeof(double), &v->value));
        if (i >= c->draw.input_count || c->want_inputs) FV_FORWARD(take(v->count, sizeof(double), &v->gradient));
        FV_FORWARD(take(v->count, sizeof(fv_real), &c->own[i].data));
        fill(c, i, info, v->value, v->count);
        if (info->kind == FV_VALUE_PARAMETER) {
            free(c->own[i].data);
            c->own[i].data = NULL;
        }
    }
    return FV_OK;
}

static fv_status place_target(grad_case *c) {
    if (c->target == FV_NONE) return FV_OK;
    const fv_shape *s = &c->graph->values[c->target].shape;
    const size_t n = fv_shape_count(s);
    FV_FORWARD(take(n, sizeof(double), &c->target_data));
    for (size_t i = 0; i < n; i++)
        if (c->draw.soft_targets)
            ((fv_real *)c->target_data)[i] = check_chance(&c->random, 0.2) ? 0 : check_uniform(&c->random, 0, 1);
        else if (c->draw.loss == FV_LOSS_CROSS_ENTROPY)
            ((int32_t *)c->target_data)[i] = (int32_t)check_below(&c->random, (size_t)c->classes);
        else
            ((fv_real *)c->target_data)[i] = check_uniform(&c->random, -1, 1);
    fv_plan_bind(c->plan, c->target, c->target_data);
    return FV_OK;
}

static void describe(grad_case *c) {
    const fv_graph *g = c->model->graph;
    size_t used = (size_t)snprintf(c->shown.shape, sizeof c->shown.shape, "N=%lld", (long long)c->batch);
    for (size_t i = 0; i < c->first_weight && used < sizeof c->shown.shape; i++) {
        const fv_value_info *v = &c->graph->values[c->own[i].value];
        used += (size_t)snprintf(c->shown.shape + used, sizeof c->shown.shape - used, " %s%s", v->name,
                                 fv_shape_print(&v->shape).text);
    }
    for (size_t i = 0; i < g->output_count && used < sizeof c->shown.shape; i++)
        used += (size_t)snprintf(c->shown.shape + used, sizeof c->shown.shape - used, " ->%s",
                                 fv_shape_print(&g->values[g->outputs[i]].shape).text);
}

/* ---- life ---- */

/* The row's graph, and the model made from it. */
static fv_status draw_case(grad_case *c, const fv_grad_request *r) {
    fv_context_settings settings;
    fv_context_settings_default(&settings);
    settings.backend = FV_BACKEND_SERIAL;
    settings.threads = 1;
    settings.isa = r->isa;
    FV_FORWARD(fv_context_create(&settings, &c->context));
    FV_FORWARD(fv_graph_create(c->context, &c->draw.graph));
    c->draw.random.state =
        r->seed * 0x9e3779b97f4a7c15u ^ r->number * 0xd1342543de82ef95u ^ (r->row + 1) * 0xaf251af3b0f025b5u;
    c->random.state = check_bits(&c->draw.random) + r->attempt;
    c->batch = check_between(&c->draw.random, 1, 4);
    c->draw.amplification = 1;
    fv_grad_row_at(r->row)->build(&c->draw);
    c->shown.amplification = c->draw.amplification;
    c->shown.surrogate = c->draw.surrogate;
    FV_FORWARD(fv_graph_status(c->draw.graph));
    c->shown.has_loss = c->draw.has_loss;
    return copy_of_model(c);
}

static fv_status fill_case(grad_case *c, const fv_grad_request *r) {
    FV_FORWARD(draw_case(c, r));
    FV_FORWARD(prepare(c));
    FV_FORWARD(add_variables(c));
    FV_FORWARD(differentiate(c));
    c->run.step = check_below(&c->random, 1000);
    fv_rng_key(r->seed + r->attempt, FV_PURPOSE_DROPOUT, c->run.dropout_key);
    const fv_plan_settings planned = {.training = true, .run = &c->run};
    FV_FORWARD(fv_plan_create(c->graph, &planned, &c->plan));
    FV_FORWARD(place_variables(c));
    describe(c);
    return place_target(c);
}

static void case_free(fv_grad_case *shown) {
    grad_case *c = (grad_case *)shown;
    if (!c) return;
    for (size_t i = 0; i < c->shown.variable_count; i++) {
        free(c->listed[i].value);
        free(c->listed[i].gradient);
        free(c->own[i].data);
    }
    free(c->target_data);
    fv_plan_free(c->plan);
    fv_graph_free(c->graph);
    fv_graph_free(c->draw.graph);
    fv_model_free(c->model);
    fv_context_free(c->context);
    free(c);
}

static fv_status case_create(const fv_grad_request *r, fv_grad_case **out) {
    grad_case *c = NULL;
    FV_FORWARD(take(1, sizeof *c, &c));
    c->shown.variables = c->listed;
    const fv_status status = fill_case(c, r);
    if (status == FV_OK)
        *out = &c->shown;
    else
        case_free(&c->shown);
    return status;
}

static fv_status fill_model(grad_case *c) {
    fv_graph *g = c->model->graph;
    for (size_t i = 0; i < g->value_count; i++) {
        fv_value_info *v = &g->values[i];
        const size_t count = fv_shape_count(&v->shape);
        double *values = NULL;
        if (v->kind != FV_VALUE_PARAMETER || v->dtype != FV_REAL_DTYPE) continue;
        FV_FORWARD(take(count, sizeof *values, &values));
        fill_parameter(&c->random, v, values, count);
        store(v, values, v->data);
        free(values);
    }
    return FV_OK;
}

fv_status fv_grad_model(const fv_grad_request *r, fv_context **context, fv_model **model) {
    grad_case *c = NULL;
    FV_FORWARD(take(1, sizeof *c, &c));
    fv_status status = draw_case(c, r);
    if (status == FV_OK) status = fill_model(c);
    if (status == FV_OK) {
        *model = c->model;
        *context = c->context;
        c->model = NULL;
        c->context = NULL;
    }
    case_free(&c->shown);
    return status;
}

/* ---- running ---- */

static double loss_of(const grad_case *c) {
    double sum = 0;
    if (c->loss_rows != FV_NONE) {
        const fv_real *rows = fv_plan_data(c->plan, c->loss_rows);
        for (int64_t i = 0; i < c->batch; i++) sum += (double)rows[i];
        return c->draw.reduction == FV_REDUCTION_MEAN ? sum / (double)c->batch : sum;
    }
    for (size_t i = c->first_weight; i < c->shown.variable_count;
         i++) /* an output's weights and their gradient, the output */
        for (size_t k = 0; k < c->listed[i].count; k++) sum += c->listed[i].value[k] * c->listed[i].gradient[k];
    return sum;
}

static void case_run(fv_grad_case *shown) {
    grad_case *c = (grad_case *)shown;
    for (size_t i = 0; i < c->shown.variable_count; i++) {
        const fv_value_info *info = &c->graph->values[c->own[i].value];
        fv_real *data = c->own[i].data ? c->own[i].data : info->data;
        store(info, c->listed[i].value, data);
        if (c->own[i].data) fv_plan_bind(c->plan, c->own[i].value, data);
    }
    fv_plan_run(c->plan);
    for (size_t i = 0; i < c->shown.variable_count; i++) {
        const fv_value gradient = c->own[i].gradient;
        if (!c->listed[i].gradient) continue;
        if (gradient == FV_NONE)
            memset(c->listed[i].gradient, 0, c->listed[i].count * sizeof(double));
        else
            fetch(&c->graph->values[gradient], fv_plan_data(c->plan, gradient), c->listed[i].gradient);
    }
    c->shown.loss = loss_of(c);
}

static bool case_has(const fv_grad_case *shown, const char *op) {
    const grad_case *c = (const grad_case *)shown;
    for (size_t i = 0; i < c->graph->node_count; i++)
        if (strcmp(c->graph->nodes[i].op->name, op) == 0) return true;
    return false;
}

#ifdef FV_REAL_F64
const fv_grad_build fv_grad_double
#else
const fv_grad_build fv_grad_float
#endif
    = {case_create, case_free, case_run, case_has, fv_last_error};
