/* nd_recurrent_grad: through time. The inputs' part of every gate again; then each row of the batch in each direction,
 * alone: its steps forward, kept, and back; then what the rows' gates say of the weights, added row by row in the order
 * of time. Sums in double. */
#include "ops/nd_cell.h"

#include <string.h>

typedef struct recurrent {
    const fv_buffer *x, *w, *r, *bias, *lengths, *h0, *c0, *peep, *dy, *dlast_h, *dlast_c;
    const fv_buffer *dx, *dw, *dr, *dbias, *dh0, *dc0, *dpeep;
    /* [D][T][N][G*H]: gates before their activation; their gradients; the gradients of the state's part of them. */
    const fv_buffer *gates, *dgates, *dparts;
    const fv_buffer *kept; /* [D][T][N][3*H]: h before the step; c before it, or what a GRU's last product reads; c
                            * after it, or that product */
    size_t steps, batch, inputs, hidden, cells, directions;
    int32_t kind, mode;
    bool batch_first, flag;
    double clip;
    int32_t activation[2][3];
} recurrent;

static double bias_of(const recurrent *s, size_t d, bool of_state, size_t row) {
    const size_t rows = s->cells * s->hidden;
    return s->bias ? ((const fv_real *)s->bias->data)[(2 * d + of_state) * rows + row] : 0;
}

static bool bias_apart(const recurrent *s, size_t row) { return s->kind == FV_ND_GRU && row >= 2 * s->hidden; }

static const fv_real *input_at(const recurrent *s, size_t t, size_t n) {
    return (const fv_real *)s->x->data + (s->batch_first ? n * s->steps + t : t * s->batch + n) * s->inputs;
}

static void run_inputs(void *arg, size_t piece, void *scratch) {
    (void)scratch;
    const recurrent *s = arg;
    const size_t rows = s->cells * s->hidden, n = piece % s->batch, t = piece / s->batch % s->steps,
                 d = piece / s->batch / s->steps;
    fv_real *to = (fv_real *)s->gates->data + piece * rows;
    for (size_t row = 0; row < rows; row++) {
        const double sum =
            fv_nd_dot((const fv_real *)s->w->data + (d * rows + row) * s->inputs, input_at(s, t, n), s->inputs);
        to[row] = (fv_real)(sum + bias_of(s, d, false, row) + (bias_apart(s, row) ? 0 : bias_of(s, d, true, row)));
    }
}

/* One row of the batch in one direction at one time. */
typedef struct cell {
    const recurrent *s;
    const fv_real *weights, *peep;
    const int32_t *activation;
    fv_real *gates, *dgates, *dparts, *h, *second, *third;
    size_t d, n;
} cell;

static cell cell_at(const recurrent *s, size_t d, size_t n, size_t t) {
    const size_t rows = s->cells * s->hidden, at = (d * s->steps + t) * s->batch + n;
    fv_real *kept = (fv_real *)s->kept->data + at * 3 * s->hidden;
    return (cell){.s = s,
                  .weights = (const fv_real *)s->r->data + d * rows * s->hidden,
                  .peep = s->peep ? (const fv_real *)s->peep->data + d * 3 * s->hidden : NULL,
                  .activation = s->activation[d],
                  .gates = (fv_real *)s->gates->data + at * rows,
                  .dgates = (fv_real *)s->dgates->data + at * rows,
                  .dparts = (fv_real *)s->dparts->data + at * rows,
                  .h = kept,
                  .second = kept + s->hidden,
                  .third = kept + 2 * s->hidden,
                  .d = d,
                  .n = n};
}

static double value_of(const cell *k, int f, double x) {
    return fv_nd_activate(k->activation[f], fv_nd_clipped(k->s->clip, x));
}

static double slope_of(const cell *k, int f, double x) {
    const double clip = k->s->clip;
    return clip > 0 && fabs(x) > clip ? 0 : fv_nd_activation_slope(k->activation[f], x);
}

static void add_state(const cell *k, size_t first, size_t count, const fv_real *state) {
    const size_t h = k->s->hidden;
    for (size_t row = first; row < first + count; row++)
        k->gates[row] = (fv_real)(k->gates[row] + fv_nd_dot(k->weights + row * h, state, h));
}

/* sum[i] += what the gradients of rows first.. say of element i of the state. */
static void add_back(const cell *k, size_t first, size_t count, double *sum) {
    const size_t h = k->s->hidden;
    for (size_t row = first; row < first + count; row++)
        for (size_t i = 0; i < h; i++) sum[i] += (double)k->dparts[row] * k->weights[row * h + i];
}

/* ---- one step on: h (and c) of the step to `next`, `memory` ---- */

static void lstm_on(const cell *k, fv_real *next, fv_real *memory) {
    const size_t h = k->s->hidden;
    add_state(k, 0, 4 * h, k->h);
    for (size_t i = 0; i < h; i++) {
        const double old = k->second[i];
        if (k->peep) {
            k->gates[i] = (fv_real)(k->gates[i] + k->peep[i] * old);
            k->gates[2 * h + i] = (fv_real)(k->gates[2 * h + i] + k->peep[2 * h + i] * old);
        }
        const double in = value_of(k, 0, k->gates[i]),
                     forget = k->s->flag ? 1 - in : value_of(k, 0, k->gates[2 * h + i]);
        const double c = forget * old + in * value_of(k, 1, k->gates[3 * h + i]);
        if (k->peep) k->gates[h + i] = (fv_real)(k->gates[h + i] + k->peep[h + i] * c);
        k->third[i] = memory[i] = (fv_real)c;
        next[i] = (fv_real)(value_of(k, 0, k->gates[h + i]) * fv_nd_activate(k->activation[2], c));
    }
}

static void gru_on(const cell *k, fv_real *next) {
    const size_t h = k->s->hidden;
    add_state(k, 0, 2 * h, k->h);
    for (size_t i = 0; i < h; i++)
        k->second[i] = k->s->flag ? k->h[i] : (fv_real)(value_of(k, 0, k->gates[h + i]) * k->h[i]);
    for (size_t i = 0; i < h; i++) {
        const size_t row = 2 * h + i;
        const double part = fv_nd_dot(k->weights + row * h, k->second, h) + bias_of(k->s, k->d, true, row);
        const double reset = k->s->flag ? value_of(k, 0, k->gates[h + i]) : 1, z = value_of(k, 0, k->gates[i]);
        k->third[i] = (fv_real)part;
        k->gates[row] = (fv_real)(k->gates[row] + reset * part);
        next[i] = (fv_real)((1 - z) * value_of(k, 1, k->gates[row]) + z * (double)k->h[i]);
    }
}

static void step_on(const cell *k, fv_real *state) {
    const size_t h = k->s->hidden;
    memcpy(k->h, state, h * sizeof *state);
    memcpy(k->second, state + h, h * sizeof *state);
    if (k->s->kind == FV_ND_LSTM) {
        lstm_on(k, state, state + h);
    } else if (k->s->kind == FV_ND_GRU) {
        gru_on(k, state);
    } else {
        add_state(k, 0, h, k->h);
        for (size_t i = 0; i < h; i++) state[i] = (fv_real)value_of(k, 0, k->gates[i]);
    }
}

/* ---- and back: dh and dc of after the step become those of before it ---- */

static void rnn_back(const cell *k, double *dh, double *before) {
    const size_t h = k->s->hidden;
    for (size_t i = 0; i < h; i++) k->dgates[i] = k->dparts[i] = (fv_real)(dh[i] * slope_of(k, 0, k->gates[i]));
    add_back(k, 0, h, before);
}

static void lstm_back(const cell *k, double *dh, double *dc, double *before) {
    const size_t h = k->s->hidden;
    const fv_real *g = k->gates, *peep = k->peep;
    for (size_t i = 0; i < h; i++) {
        const double c = k->third[i], old = k->second[i], in = value_of(k, 0, g[i]),
                     cell = value_of(k, 1, g[3 * h + i]);
        const double forget = k->s->flag ? 1 - in : value_of(k, 0, g[2 * h + i]);
        const double dout = dh[i] * fv_nd_activate(k->activation[2], c) * slope_of(k, 0, g[h + i]);
        const double dcell = dc[i] + dh[i] * value_of(k, 0, g[h + i]) * fv_nd_activation_slope(k->activation[2], c) +
                             (peep ? dout * peep[h + i] : 0);
        const double dforget = k->s->flag ? 0 : dcell * old * slope_of(k, 0, g[2 * h + i]);
        const double din = dcell * (k->s->flag ? cell - old : cell) * slope_of(k, 0, g[i]);
        k->dgates[i] = (fv_real)din;
        k->dgates[h + i] = (fv_real)dout;
        k->dgates[2 * h + i] = (fv_real)dforget;
        k->dgates[3 * h + i] = (fv_real)(dcell * in * slope_of(k, 1, g[3 * h + i]));
        dc[i] = dcell * forget + (peep ? din * peep[i] + dforget * peep[2 * h + i] : 0);
    }
    memcpy(k->dparts, k->dgates, 4 * h * sizeof *k->dparts);
    add_back(k, 0, 4 * h, before);
}

static void gru_back(const cell *k, double *dh, double *before, double *product) {
    const size_t h = k->s->hidden;
    const fv_real *g = k->gates;
    memset(product, 0, h * sizeof *product);
    for (size_t i = 0; i < h; i++) {
        const double z = value_of(k, 0, g[i]), inner = dh[i] * (1 - z) * slope_of(k, 1, g[2 * h + i]);
        const double dz = dh[i] * (k->h[i] - value_of(k, 1, g[2 * h + i])) * slope_of(k, 0, g[i]);
        k->dgates[i] = k->dparts[i] = (fv_real)dz;
        k->dgates[2 * h + i] = (fv_real)inner;
        k->dparts[2 * h + i] = (fv_real)(k->s->flag ? inner * value_of(k, 0, g[h + i]) : inner);
        before[i] += dh[i] * z;
    }
    add_back(k, 2 * h, h, product);
    for (size_t i = 0; i < h; i++) {
        const double reset = value_of(k, 0, g[h + i]), slope = slope_of(k, 0, g[h + i]);
        const double dreset = k->s->flag ? k->dgates[2 * h + i] * (double)k->third[i] : product[i] * k->h[i];
        k->dgates[h + i] = k->dparts[h + i] = (fv_real)(dreset * slope);
        before[i] += k->s->flag ? product[i] : product[i] * reset;
    }
    add_back(k, 0, 2 * h, before);
}

/* ---- one row of the batch in one direction ---- */

static size_t state_place(const recurrent *s, size_t d, size_t n) {
    return (s->batch_first ? n * s->directions + d : d * s->batch + n) * s->hidden;
}

static void take(const fv_buffer *from, size_t at, size_t count, double *to) {
    for (size_t i = 0; i < count; i++) to[i] = from ? ((const fv_real *)from->data)[at + i] : 0;
}

static void put(const fv_buffer *to, size_t at, size_t count, const double *from) {
    for (size_t i = 0; i < count; i++) ((fv_real *)to->data)[at + i] = (fv_real)from[i];
}

static void step_back(const recurrent *s, const cell *k, size_t t, double *dh, double *dc, double *more) {
    const size_t h = s->hidden, y = s->batch_first ? (k->n * s->steps + t) * s->directions + k->d
                                                   : (t * s->directions + k->d) * s->batch + k->n;
    double *before = more, *product = more + h;
    for (size_t i = 0; i < h && s->dy; i++) dh[i] += ((const fv_real *)s->dy->data)[y * h + i];
    memset(before, 0, h * sizeof *before);
    if (s->kind == FV_ND_LSTM)
        lstm_back(k, dh, dc, before);
    else if (s->kind == FV_ND_GRU)
        gru_back(k, dh, before, product);
    else
        rnn_back(k, dh, before);
    memcpy(dh, before, h * sizeof *dh);
}

static void run_row(void *arg, size_t piece, void *scratch) {
    const recurrent *s = arg;
    const size_t d = piece / s->batch, n = piece % s->batch, h = s->hidden, at = state_place(s, d, n),
                 rows = s->cells * h;
    double *dh = scratch, *dc = dh + h, *more = dc + h;
    fv_real *state = (fv_real *)(void *)(more + 2 * h);
    const int64_t given = s->lengths ? ((const int32_t *)s->lengths->data)[n] : (int64_t)s->steps;
    const size_t length = given < 0 ? 0 : fv_min_size((size_t)given, s->steps);
    const bool turned = s->mode == 1 || d == 1;
    memset(state, 0, 2 * h * sizeof *state);
    if (s->h0) memcpy(state, (const fv_real *)s->h0->data + at, h * sizeof *state);
    if (s->c0) memcpy(state + h, (const fv_real *)s->c0->data + at, h * sizeof *state);
    for (size_t i = 0; i < length; i++) {
        const cell k = cell_at(s, d, n, turned ? length - 1 - i : i);
        step_on(&k, state);
    }
    for (size_t t = length; t < s->steps; t++) { /* beyond the row's length nothing happened */
        const cell k = cell_at(s, d, n, t);
        memset(k.h, 0, 3 * h * sizeof *k.h);
        memset(k.dgates, 0, rows * sizeof *k.dgates);
        memset(k.dparts, 0, rows * sizeof *k.dparts);
    }
    take(s->dlast_h, at, h, dh);
    take(s->dlast_c, at, h, dc);
    for (size_t i = length; i-- > 0;) {
        const size_t t = turned ? length - 1 - i : i;
        const cell k = cell_at(s, d, n, t);
        step_back(s, &k, t, dh, dc, more);
    }
    put(s->dh0, at, h, dh);
    put(s->dc0, at, h, dc);
}

/* ---- what follows from the gates' gradients ---- */

static void run_dx(void *arg, size_t piece, void *scratch) {
    const recurrent *s = arg;
    const size_t rows = s->cells * s->hidden, n = piece % s->batch, t = piece / s->batch;
    double *sum = scratch;
    memset(sum, 0, s->inputs * sizeof *sum);
    for (size_t d = 0; d < s->directions; d++) {
        const cell k = cell_at(s, d, n, t);
        const fv_real *w = (const fv_real *)s->w->data + d * rows * s->inputs;
        for (size_t row = 0; row < rows; row++)
            for (size_t i = 0; i < s->inputs; i++) sum[i] += (double)k.dgates[row] * w[row * s->inputs + i];
    }
    put(s->dx, (s->batch_first ? n * s->steps + t : t * s->batch + n) * s->inputs, s->inputs, sum);
}

/* One row of the weights of one direction. */
static void run_weights(void *arg, size_t piece, void *scratch) {
    const recurrent *s = arg;
    const size_t h = s->hidden, rows = s->cells * h, d = piece / rows, row = piece % rows;
    double *of_input = scratch, *of_state = of_input + s->inputs, bias[2] = {0, 0};
    memset(of_input, 0, (s->inputs + h) * sizeof *of_input);
    for (size_t t = 0; t < s->steps; t++)
        for (size_t n = 0; n < s->batch; n++) {
            const cell k = cell_at(s, d, n, t);
            const fv_real *x = input_at(s, t, n), *state = bias_apart(s, row) ? k.second : k.h;
            for (size_t i = 0; i < s->inputs; i++) of_input[i] += (double)k.dgates[row] * x[i];
            for (size_t i = 0; i < h; i++) of_state[i] += (double)k.dparts[row] * state[i];
            bias[0] += k.dgates[row];
            bias[1] += k.dparts[row];
        }
    put(s->dw, piece * s->inputs, s->inputs, of_input);
    put(s->dr, piece * h, h, of_state);
    put(s->dbias, 2 * d * rows + row, 1, &bias[0]);
    put(s->dbias, (2 * d + 1) * rows + row, 1, &bias[1]);
}

/* Peepholes i, o, f of one direction: c after the step is what the output's gate sees. */
static void run_peepholes(void *arg, size_t piece, void *scratch) {
    (void)scratch;
    const recurrent *s = arg;
    const size_t h = s->hidden;
    for (size_t i = 0; i < 3 * h; i++) {
        double sum = 0;
        for (size_t t = 0; t < s->steps && s->kind == FV_ND_LSTM; t++)
            for (size_t n = 0; n < s->batch; n++) {
                const cell k = cell_at(s, piece, n, t);
                sum += (double)k.dgates[i] * (i / h == 1 ? k.third : k.second)[i % h];
            }
        put(s->dpeep, piece * 3 * h + i, 1, &sum);
    }
}

/* ---- the operator ---- */

static fv_status grad_infer(fv_node *n, fv_value_info *values) {
    const fv_nd_attr *a = &n->attr.nd;
    const fv_shape x = values[n->in[0]].shape, w = values[n->in[1]].shape, r = values[n->in[2]].shape;
    const int64_t d = a->mode == 2 ? 2 : 1, batch = x.dim[a->keep ? 0 : 1];
    const fv_shape state = {3, {a->keep ? batch : d, a->keep ? d : batch, a->count}};
    const fv_shape shapes[7] = {x, w, r, {2, {d, 2 * w.dim[1]}}, state, state, {2, {d, 3 * (int64_t)a->count}}};
    for (int32_t i = 0; i < 7; i++) fv_nd_infer(&values[n->out[i]], FV_REAL_DTYPE, &shapes[i]);
    return FV_OK;
}

static void bind_buffers(const fv_plan_op *p, recurrent *s) {
    const fv_buffer **const in[11] = {&s->x,  &s->w,    &s->r,  &s->bias,    &s->lengths, &s->h0,
                                      &s->c0, &s->peep, &s->dy, &s->dlast_h, &s->dlast_c};
    const fv_buffer **const out[7] = {&s->dx, &s->dw, &s->dr, &s->dbias, &s->dh0, &s->dc0, &s->dpeep};
    for (int32_t i = 0; i < 11; i++) *in[i] = fv_plan_buffer(p, p->node->in[i]);
    for (int32_t i = 0; i < 7; i++) *out[i] = fv_plan_buffer(p, p->node->out[i]);
}

static fv_status grad_plan(fv_plan_op *p) {
    const fv_nd_attr *a = &p->node->attr.nd;
    const fv_shape *x = &p->values[p->node->in[0]].shape;
    recurrent *s;
    fv_buffer *memory[4];
    FV_FORWARD(fv_plan_state(p, sizeof *s, (void **)&s));
    *s = (recurrent){.steps = (size_t)x->dim[a->keep ? 1 : 0],
                     .batch = (size_t)x->dim[a->keep ? 0 : 1],
                     .inputs = (size_t)x->dim[2],
                     .hidden = (size_t)a->count,
                     .cells = fv_nd_cell_gates(a->kind),
                     .directions = a->mode == 2 ? 2 : 1,
                     .kind = a->kind,
                     .mode = a->mode,
                     .batch_first = a->keep,
                     .flag = a->flag,
                     .clip = a->alpha};
    bind_buffers(p, s);
    for (int d = 0; d < 2; d++)
        for (int i = 0; i < 3; i++) s->activation[d][i] = (int32_t)a->a[3 * d + i];
    const size_t rows = s->batch * s->directions, each = s->cells * s->hidden, cells = rows * s->steps;
    for (int i = 0; i < 4; i++)
        FV_FORWARD(fv_plan_workspace(p, cells * (i == 3 ? 3 * s->hidden : each) * sizeof(fv_real), &memory[i]));
    s->gates = memory[0];
    s->dgates = memory[1];
    s->dparts = memory[2];
    s->kept = memory[3];
    fv_plan_scratch(p, fv_max_size(6 * s->hidden, s->inputs + s->hidden) * sizeof(double));
    p->algorithm = "back through time";
    p->flops = 6 * (double)cells * (double)each * (double)(s->inputs + s->hidden);
    FV_FORWARD(fv_plan_phase(p, false, run_inputs, s, cells));
    FV_FORWARD(fv_plan_phase(p, false, run_row, s, rows));
    FV_FORWARD(fv_plan_phase(p, false, run_dx, s, s->steps * s->batch));
    FV_FORWARD(fv_plan_phase(p, false, run_weights, s, s->directions * each));
    return fv_plan_phase(p, false, run_peepholes, s, s->directions);
}

const fv_op fv_op_nd_recurrent_grad = {"nd_recurrent_grad", 3, 11, 7, FV_OP_PLAIN, grad_infer, grad_plan, NULL};
