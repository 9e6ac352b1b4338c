/* nd_recurrent: RNN, GRU and LSTM. First the inputs' part of every gate at every step, then the steps one after the
 * other, each a phase. A piece is one row of the batch in one direction; the two directions of a step run side by side.
 * Sums in double. */
#include "ops/nd_cell.h"

#include <string.h>

typedef struct recurrent {
    const fv_buffer *x, *w, *r, *bias, *lengths, *h0, *c0, *peep, *y, *last_h, *last_c;
    const fv_buffer *gates;                                 /* [D][T][N][G*H]: w x + bias */
    const fv_buffer *state;                                 /* [D][N][2H]: h, c */
    const fv_buffer *fresh;                                 /* [D][N][3H]: h of the step; a GRU's gates z and r */
    size_t steps, batch, inputs, hidden, cells, directions; /* cells: gates of the kind */
    int32_t kind, mode;
    bool batch_first, flag;
    double clip;
    int32_t activation[2][3];
} recurrent;

typedef struct step {
    recurrent *s;
    size_t time;
} step;

static fv_status fits(const fv_node *n, const fv_value_info *values, int32_t i, int32_t rank, int64_t a, int64_t b,
                      int64_t c) {
    if (i >= n->in_count || n->in[i] == FV_NONE) return FV_OK;
    const fv_value_info *v = &values[n->in[i]];
    const int64_t dim[3] = {a, b, c};
    bool same = v->shape.rank == rank && v->dtype == (i == 4 ? FV_I32 : FV_REAL_DTYPE);
    for (int32_t k = 0; same && k < rank; k++) same = v->shape.dim[k] == dim[k];
    FV_RETURN_IF(!same, FV_ERR_SHAPE, "node \"%s\": input %d is %s %s, which does not fit its cells", n->name, i,
                 fv_dtype_name(v->dtype), fv_shape_print(&v->shape).text);
    return FV_OK;
}

static fv_status recurrent_infer(fv_node *n, fv_value_info *values) {
    const fv_nd_attr *attr = &n->attr.nd;
    const fv_value_info x = values[n->in[0]];
    FV_RETURN_IF(attr->kind < 0 || attr->kind > FV_ND_LSTM || attr->mode < 0 || attr->mode > 2 || attr->count < 1,
                 FV_ERR_ARGUMENT, "node \"%s\": %d hidden cells of kind %d", n->name, attr->count, attr->kind);
    FV_RETURN_IF(x.dtype != FV_REAL_DTYPE || x.shape.rank != 3, FV_ERR_UNSUPPORTED, "node \"%s\": a sequence %s of %s",
                 n->name, fv_shape_print(&x.shape).text, fv_dtype_name(x.dtype));
    const int64_t d = attr->mode == 2 ? 2 : 1, h = attr->count, g = (int64_t)fv_nd_cell_gates(attr->kind) * h;
    const int64_t t = x.shape.dim[attr->keep ? 1 : 0], batch = x.shape.dim[attr->keep ? 0 : 1];
    FV_FORWARD(fits(n, values, 1, 3, d, g, x.shape.dim[2]));
    FV_FORWARD(fits(n, values, 2, 3, d, g, h));
    FV_FORWARD(fits(n, values, 3, 2, d, 2 * g, 0));
    FV_FORWARD(fits(n, values, 4, 1, batch, 0, 0));
    for (int32_t i = 5; i <= 6; i++)
        FV_FORWARD(fits(n, values, i, 3, attr->keep ? batch : d, attr->keep ? d : batch, h));
    FV_FORWARD(fits(n, values, 7, 2, d, 3 * h, 0));
    const fv_shape all = attr->keep ? (fv_shape){4, {batch, t, d, h}} : (fv_shape){4, {t, d, batch, h}};
    const fv_shape last = attr->keep ? (fv_shape){3, {batch, d, h}} : (fv_shape){3, {d, batch, h}};
    for (int32_t i = 0; i < 3; i++)
        if (n->out[i] != FV_NONE) fv_nd_infer(&values[n->out[i]], FV_REAL_DTYPE, i ? &last : &all);
    return FV_OK;
}

static double clipped(const recurrent *s, double x) { return fv_nd_clipped(s->clip, x); }

static double bias_of(const recurrent *s, size_t d, bool of_state, size_t row) {
    const size_t rows = s->cells * s->hidden;
    return s->bias ? ((const fv_real *)s->bias->data)[(2 * d + of_state) * rows + row] : 0;
}

/* The hidden gate of a GRU whose reset comes after the product keeps that product's bias. */
static bool bias_apart(const recurrent *s, size_t row) { return s->kind == FV_ND_GRU && row >= 2 * s->hidden; }

static void run_inputs(void *arg, size_t piece, void *scratch) {
    (void)scratch;
    const recurrent *s = arg;
    const size_t rows = s->cells * s->hidden, n = piece % s->batch, t = piece / s->batch % s->steps,
                 d = piece / s->batch / s->steps;
    const fv_real *x = (const fv_real *)s->x->data + (s->batch_first ? n * s->steps + t : t * s->batch + n) * s->inputs;
    fv_real *to = (fv_real *)s->gates->data + piece * rows;
    for (size_t row = 0; row < rows; row++) {
        const double sum = fv_nd_dot((const fv_real *)s->w->data + (d * rows + row) * s->inputs, x, s->inputs);
        to[row] = (fv_real)(sum + bias_of(s, d, false, row) + (bias_apart(s, row) ? 0 : bias_of(s, d, true, row)));
    }
}

static size_t state_place(const recurrent *s, size_t d, size_t n) {
    return (s->batch_first ? n * s->directions + d : d * s->batch + n) * s->hidden;
}

static void run_start(void *arg, size_t piece, void *scratch) {
    (void)scratch;
    const recurrent *s = arg;
    const size_t d = piece / s->batch, n = piece % s->batch, h = s->hidden;
    fv_real *state = (fv_real *)s->state->data + piece * 2 * h;
    memset(state, 0, 2 * h * sizeof *state);
    if (s->h0) memcpy(state, (const fv_real *)s->h0->data + state_place(s, d, n), h * sizeof *state);
    if (s->c0) memcpy(state + h, (const fv_real *)s->c0->data + state_place(s, d, n), h * sizeof *state);
}

/* Where a piece stands in its sequence: direction, row, and the element of time it reads; false: beyond the row's
 * length. */
typedef struct spot {
    size_t d, n, t;
    const fv_real *gates, *weights;
    fv_real *state, *fresh;
    bool inside;
} spot;

static spot spot_of(const step *k, size_t piece) {
    const recurrent *s = k->s;
    const size_t h = s->hidden, rows = s->cells * h;
    spot p = {.d = piece / s->batch, .n = piece % s->batch};
    const int64_t given = s->lengths ? ((const int32_t *)s->lengths->data)[p.n] : (int64_t)s->steps;
    const size_t length = given < 0 ? 0 : fv_min_size((size_t)given, s->steps);
    p.inside = k->time < length;
    p.t = (s->mode == 1 || p.d == 1) && p.inside ? length - 1 - k->time : k->time;
    p.gates = (const fv_real *)s->gates->data + ((p.d * s->steps + p.t) * s->batch + p.n) * rows;
    p.weights = (const fv_real *)s->r->data + p.d * rows * h;
    p.state = (fv_real *)s->state->data + piece * 2 * h;
    p.fresh = (fv_real *)s->fresh->data + piece * 3 * h;
    return p;
}

static void give(const recurrent *s, const spot *p) {
    const size_t h = s->hidden;
    for (size_t i = 0; i < h && p->inside; i++) p->state[i] = p->fresh[i];
    if (!s->y) return;
    const size_t at = s->batch_first ? (p->n * s->steps + p->t) * s->directions + p->d
                                     : (p->t * s->directions + p->d) * s->batch + p->n;
    fv_real *y = (fv_real *)s->y->data + at * h;
    for (size_t i = 0; i < h; i++) y[i] = p->inside ? p->state[i] : 0;
}

static double gate(const recurrent *s, const spot *p, size_t row) {
    return p->gates[row] + fv_nd_dot(p->weights + row * s->hidden, p->state, s->hidden);
}

static void run_rnn(void *arg, size_t piece, void *scratch) {
    (void)scratch;
    const step *k = arg;
    const recurrent *s = k->s;
    const spot p = spot_of(k, piece);
    for (size_t i = 0; i < s->hidden && p.inside; i++)
        p.fresh[i] = (fv_real)fv_nd_activate(s->activation[p.d][0], clipped(s, gate(s, &p, i)));
    give(s, &p);
}

/* Gates i, o, f, c. */
static void run_lstm(void *arg, size_t piece, void *scratch) {
    (void)scratch;
    const step *k = arg;
    const recurrent *s = k->s;
    const spot p = spot_of(k, piece);
    const size_t h = s->hidden;
    const fv_real *peep = s->peep ? (const fv_real *)s->peep->data + p.d * 3 * h : NULL;
    const int32_t *f = s->activation[p.d];
    for (size_t i = 0; i < h && p.inside; i++) {
        const double old = p.state[h + i];
        const double in = fv_nd_activate(f[0], clipped(s, gate(s, &p, i) + (peep ? peep[i] * old : 0)));
        const double forget =
            s->flag ? 1 - in : fv_nd_activate(f[0], clipped(s, gate(s, &p, 2 * h + i) + (peep ? peep[2 * h + i] * old : 0)));
        const double c = forget * old + in * fv_nd_activate(f[1], clipped(s, gate(s, &p, 3 * h + i)));
        const double out = fv_nd_activate(f[0], clipped(s, gate(s, &p, h + i) + (peep ? peep[h + i] * c : 0)));
        p.fresh[i] = (fv_real)(out * fv_nd_activate(f[2], c));
        p.state[h + i] = (fv_real)c; /* read by this cell alone */
    }
    give(s, &p);
}

/* Gates z, r, then h. */
static void run_gru(void *arg, size_t piece, void *scratch) {
    (void)scratch;
    const step *k = arg;
    const recurrent *s = k->s;
    const spot p = spot_of(k, piece);
    const size_t h = s->hidden;
    fv_real *z = p.fresh + h, *reset = p.fresh + 2 * h;
    for (size_t i = 0; i < h && p.inside; i++) {
        z[i] = (fv_real)fv_nd_activate(s->activation[p.d][0], clipped(s, gate(s, &p, i)));
        reset[i] = (fv_real)fv_nd_activate(s->activation[p.d][0], clipped(s, gate(s, &p, h + i)));
        if (!s->flag) reset[i] *= p.state[i]; /* what the product reads */
    }
    for (size_t i = 0; i < h && p.inside; i++) {
        const size_t row = 2 * h + i;
        const fv_real *w = p.weights + row * h;
        const double bias = bias_of(s, p.d, true, row);
        const double part = s->flag ? reset[i] * (fv_nd_dot(w, p.state, h) + bias) : fv_nd_dot(w, reset, h) + bias;
        const double hidden = fv_nd_activate(s->activation[p.d][1], clipped(s, p.gates[row] + part));
        p.fresh[i] = (fv_real)((1 - z[i]) * hidden + z[i] * (double)p.state[i]);
    }
    give(s, &p);
}

static void run_last(void *arg, size_t piece, void *scratch) {
    (void)scratch;
    const recurrent *s = arg;
    const size_t h = s->hidden, at = state_place(s, piece / s->batch, piece % s->batch);
    const fv_real *state = (const fv_real *)s->state->data + piece * 2 * h;
    if (s->last_h) memcpy((fv_real *)s->last_h->data + at, state, h * sizeof *state);
    if (s->last_c) memcpy((fv_real *)s->last_c->data + at, state + h, h * sizeof *state);
}

static const fv_buffer *input(const fv_plan_op *p, int32_t i) {
    return i < p->node->in_count ? fv_plan_buffer(p, p->node->in[i]) : NULL;
}

static fv_status recurrent_plan(fv_plan_op *p) {
    const fv_node *n = p->node;
    const fv_nd_attr *attr = &n->attr.nd;
    const fv_shape *x = &p->values[n->in[0]].shape;
    recurrent *s;
    step *steps;
    fv_buffer *memory[3];
    FV_FORWARD(fv_plan_state(p, sizeof *s, (void **)&s));
    *s = (recurrent){.x = input(p, 0),
                     .w = input(p, 1),
                     .r = input(p, 2),
                     .bias = input(p, 3),
                     .lengths = input(p, 4),
                     .h0 = input(p, 5),
                     .c0 = input(p, 6),
                     .peep = input(p, 7),
                     .y = fv_plan_buffer(p, n->out[0]),
                     .last_h = fv_plan_buffer(p, n->out[1]),
                     .last_c = fv_plan_buffer(p, n->out[2]),
                     .steps = (size_t)x->dim[attr->keep ? 1 : 0],
                     .batch = (size_t)x->dim[attr->keep ? 0 : 1],
                     .inputs = (size_t)x->dim[2],
                     .hidden = (size_t)attr->count,
                     .cells = fv_nd_cell_gates(attr->kind),
                     .directions = attr->mode == 2 ? 2 : 1,
                     .kind = attr->kind,
                     .mode = attr->mode,
                     .batch_first = attr->keep,
                     .flag = attr->flag,
                     .clip = attr->alpha};
    for (int d = 0; d < 2; d++)
        for (int i = 0; i < 3; i++) s->activation[d][i] = (int32_t)attr->a[3 * d + i];
    const size_t rows = s->batch * s->directions, each = s->cells * s->hidden;
    const size_t bytes[3] = {rows * s->steps * each * sizeof(fv_real), rows * 2 * s->hidden * sizeof(fv_real),
                             rows * 3 * s->hidden * sizeof(fv_real)};
    for (int i = 0; i < 3; i++) FV_FORWARD(fv_plan_workspace(p, bytes[i], &memory[i]));
    s->gates = memory[0];
    s->state = memory[1];
    s->fresh = memory[2];
    p->algorithm = "steps";
    p->flops = 2 * (double)rows * (double)s->steps * (double)each * (double)(s->inputs + s->hidden);
    FV_FORWARD(fv_plan_state(p, (s->steps + 1) * sizeof *steps, (void **)&steps));
    FV_FORWARD(fv_plan_phase(p, false, run_inputs, s, rows * s->steps));
    FV_FORWARD(fv_plan_phase(p, false, run_start, s, rows));
    for (size_t t = 0; t < s->steps; t++) {
        steps[t] = (step){s, t};
        FV_FORWARD(fv_plan_phase(p, false,
                                 s->kind == FV_ND_RNN   ? run_rnn
                                 : s->kind == FV_ND_GRU ? run_gru
                                                        : run_lstm,
                                 &steps[t], rows));
    }
    return fv_plan_phase(p, false, run_last, s, rows);
}

/* Whatever part of the gradient is asked for, all of it is made in one go. */
static fv_status recurrent_backward(fv_backward *b) {
    static const int32_t of_input[] = {0, 1, 2, 3, -1, 4, 5, 6}; /* the outputs of nd_recurrent_grad */
    fv_value in[11];
    for (int32_t i = 0; i < 8; i++) in[i] = i < b->node->in_count ? b->node->in[i] : FV_NONE;
    for (int32_t i = 0; i < 3; i++) in[8 + i] = b->dout[i];
    const fv_value first = fv_emit_node(b->graph, &fv_op_nd_recurrent_grad, in, 11, 7, &b->node->attr);
    for (int32_t i = 0; i < b->node->in_count && first != FV_NONE; i++)
        if (b->wanted[i] && of_input[i] >= 0) b->din[i] = first + of_input[i];
    return FV_OK;
}

const fv_op fv_op_nd_recurrent = {"nd_recurrent", 3,   8, 3, FV_OP_PLAIN, recurrent_infer, recurrent_plan,
                                  recurrent_backward};
