#include "ops/nd_taps.h"

#include <string.h>

fv_status fv_nd_taps_make(fv_plan_op *p, int64_t out, size_t taps, fv_nd_taps *t) {
    FV_FORWARD(fv_plan_state(p, ((size_t)out + 1) * sizeof *t->first, (void **)&t->first));
    FV_FORWARD(fv_plan_state(p, (taps + 1) * sizeof *t->index, (void **)&t->index));
    return fv_plan_state(p, (taps + 1) * sizeof *t->weight, (void **)&t->weight);
}

fv_status fv_nd_taps_transpose(fv_plan_op *p, const fv_nd_taps *t, int64_t out, int64_t in, fv_nd_taps *back) {
    const int32_t taps = t->first[out];
    FV_FORWARD(fv_nd_taps_make(p, in + 1, (size_t)taps, back));
    for (int32_t i = 0; i < taps; i++) back->first[t->index[i] + 2]++; /* counts, two places on; then where each begins */
    for (int64_t i = 2; i <= in; i++) back->first[i] += back->first[i - 1];
    for (int64_t o = 0; o < out; o++)
        for (int32_t i = t->first[o]; i < t->first[o + 1]; i++) {
            const int32_t at = back->first[t->index[i] + 1]++;
            back->index[at] = (int32_t)o;
            back->weight[at] = t->weight[i];
        }
    return FV_OK;
}

fv_status fv_nd_taps_of_map(fv_plan_op *p, const int32_t *table, int64_t out, fv_nd_taps *t) {
    FV_FORWARD(fv_nd_taps_make(p, out, (size_t)out, t));
    int32_t taps = 0;
    for (int64_t o = 0; o < out; o++) {
        if (table[o] >= 0) {
            t->index[taps] = table[o];
            t->weight[taps++] = 1;
        }
        t->first[o + 1] = taps;
    }
    return FV_OK;
}

typedef struct stage {
    fv_nd_taps taps;
    const fv_buffer *in, *out;
    size_t outer, x_count, y_count, inner, chunk, chunks; /* inner: neighbours that go together, `chunk` to a piece */
    size_t group;                                         /* elements of the axis to a piece */
} stage;

/* One axis of the array (outer, count, inner). */
static void run_stage(void *arg, size_t piece, void *scratch) {
    (void)scratch;
    const stage *s = arg;
    const size_t first = piece % s->chunks * s->chunk, n = fv_min_size(s->chunk, s->inner - first),
                 begin = piece / s->chunks * s->group;
    for (size_t row = begin, end = fv_min_size(begin + s->group, s->outer * s->y_count); row < end; row++) {
        const size_t outer = row / s->y_count, o = row % s->y_count;
        const fv_real *x = (const fv_real *)s->in->data + outer * s->x_count * s->inner + first;
        fv_real *y = (fv_real *)s->out->data + row * s->inner + first;
        for (size_t i = 0; i < n; i++) y[i] = 0;
        for (int32_t t = s->taps.first[o]; t < s->taps.first[o + 1]; t++) {
            const fv_real *from = x + (size_t)s->taps.index[t] * s->inner;
            const fv_real w = s->taps.weight[t];
            for (size_t i = 0; i < n; i++) y[i] += w * from[i];
        }
    }
}

/* The innermost axis: a whole row to a piece. */
static void run_row(void *arg, size_t piece, void *scratch) {
    (void)scratch;
    const stage *s = arg;
    for (size_t row = piece * s->chunk, end = fv_min_size(row + s->chunk, s->outer); row < end; row++) {
        const fv_real *x = (const fv_real *)s->in->data + row * s->x_count;
        fv_real *y = (fv_real *)s->out->data + row * s->y_count;
        for (size_t o = 0; o < s->y_count; o++) {
            fv_real sum = 0;
            for (int32_t t = s->taps.first[o]; t < s->taps.first[o + 1]; t++) sum += s->taps.weight[t] * x[s->taps.index[t]];
            y[o] = sum;
        }
    }
}

static fv_status plan_stage(fv_plan_op *p, const fv_nd_taps *taps, const fv_buffer *in, const fv_buffer *out, const size_t *dim,
                            int32_t rank, int32_t k, size_t to) {
    stage *s;
    FV_FORWARD(fv_plan_state(p, sizeof *s, (void **)&s));
    *s = (stage){.taps = *taps, .in = in, .out = out, .outer = 1, .x_count = dim[k], .y_count = to, .inner = 1};
    for (int32_t i = 0; i < k; i++) s->outer *= dim[i];
    for (int32_t i = k + 1; i < rank; i++) s->inner *= dim[i];
    if (s->outer * s->y_count * s->inner == 0) return FV_OK;
    if (s->inner == 1) {
        s->chunk = fv_rows_per_piece(s->y_count);
        return fv_plan_phase(p, false, run_row, s, fv_div_up(s->outer, s->chunk));
    }
    s->chunk = fv_min_size(s->inner, FV_RUN);
    s->chunks = fv_div_up(s->inner, s->chunk);
    s->group = fv_rows_per_piece(s->inner);
    return fv_plan_phase(p, false, run_stage, s, fv_div_up(s->outer * s->y_count, s->group) * s->chunks);
}

static fv_status plan_plain_copy(fv_plan_op *p, fv_value x, fv_value y) {
    const fv_value_info *in = &p->values[x], *out = &p->values[y];
    fv_nd_copy c = {.in = fv_plan_buffer(p, x),
                    .out = fv_plan_buffer(p, y),
                    .shape = out->shape,
                    .layout = out->layout,
                    .element = sizeof(fv_real)};
    fv_nd_strides(&in->shape, in->layout, c.in_stride);
    fv_nd_strides(&out->shape, out->layout, c.out_stride);
    return fv_nd_copy_plan(p, &c);
}

/* Axis after axis, from the outermost, through two buffers of the node. x and y lie alike. */
fv_status fv_nd_taps_plan(fv_plan_op *p, fv_value x, fv_value y, const fv_nd_taps taps[FV_MAX_RANK]) {
    const fv_value_info *in = &p->values[x], *out = &p->values[y];
    int32_t axis[FV_MAX_RANK], left = 0;
    size_t dim[FV_MAX_RANK], most = 1;
    fv_nd_order(in->shape.rank, in->layout, axis);
    for (int32_t k = 0; k < in->shape.rank; k++) {
        dim[k] = (size_t)in->shape.dim[axis[k]];
        left += taps[axis[k]].first != NULL;
        most *= (size_t)fv_max_size((size_t)in->shape.dim[k], (size_t)out->shape.dim[k]);
    }
    if (!p->algorithm) p->algorithm = "axis by axis";
    if (left == 0) return plan_plain_copy(p, x, y);
    const fv_buffer *from = fv_plan_buffer(p, x);
    fv_buffer *between[2] = {NULL, NULL};
    for (int32_t k = 0, turn = 0; k < in->shape.rank; k++) {
        const size_t to = (size_t)out->shape.dim[axis[k]];
        if (!taps[axis[k]].first) continue;
        if (--left && !between[turn]) FV_FORWARD(fv_plan_workspace(p, most * sizeof(fv_real), &between[turn]));
        const fv_buffer *into = left ? between[turn] : fv_plan_buffer(p, y);
        FV_FORWARD(plan_stage(p, &taps[axis[k]], from, into, dim, in->shape.rank, k, to));
        dim[k] = to;
        from = into;
        turn = 1 - turn;
    }
    return FV_OK;
}
