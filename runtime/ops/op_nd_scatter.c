/* scatter_elements, scatter_nd: data, indices, updates -> y: data with the updates put where gather_elements and gather_nd would
 * take them from, in the order of the indices. kind: fv_scatter; with flag data is zero (its shape counts), with keep the updates
 * are. Of updates at one place that replace each other the last stays; the gradient of each is what flows to that place. */
#include "ops/nd_scatter.h"
#include "ops/nd_type.h"

static void combine_real(int32_t kind, fv_real *to, fv_real u) {
    switch (kind) {
    case FV_SCATTER_ADD:
        *to += u;
        break;
    case FV_SCATTER_MUL:
        *to *= u;
        break;
    case FV_SCATTER_MAX:
        *to = u > *to || u != u ? u : *to;
        break;
    default:
        *to = u < *to || u != u ? u : *to;
        break;
    }
}

/* to[i] and from[k] of a type; from NULL: zero. */
static void combine(fv_dtype t, int32_t kind, void *to, size_t i, const void *from, size_t k) {
    static const uint64_t zero = 0;
    const size_t element = fv_dtype_bytes(t);
    if (!from) from = &zero, k = 0;
    if (kind == FV_SCATTER_SET) {
        memcpy((char *)to + i * element, (const char *)from + k * element, element);
        return;
    }
    if (t == FV_REAL_DTYPE) {
        combine_real(kind, (fv_real *)to + i, ((const fv_real *)from)[k]);
        return;
    }
    const ptrdiff_t at = (ptrdiff_t)i, source = (ptrdiff_t)k;
    if (kind == FV_SCATTER_MAX || kind == FV_SCATTER_MIN) {
        const int64_t old = fv_nd_key(t, to, at), fresh = fv_nd_key(t, from, source);
        if (fresh == INT64_MAX || (kind == FV_SCATTER_MAX ? fresh > old : fresh < old))
            memcpy((char *)to + i * element, (const char *)from + k * element, element);
    } else if (fv_nd_is_float(t)) {
        const double a = fv_nd_number(t, to, at), b = fv_nd_number(t, from, source);
        fv_nd_set_number(t, to, at, kind == FV_SCATTER_ADD ? a + b : a * b);
    } else {
        const uint64_t a = (uint64_t)fv_nd_integer(t, to, at), b = (uint64_t)fv_nd_integer(t, from, source);
        fv_nd_set_integer(t, to, at, (int64_t)(kind == FV_SCATTER_ADD ? a + b : a * b));
    }
}

/* n neighbours. */
static void combine_row(fv_dtype t, int32_t kind, void *to, size_t i, const void *from, size_t k, size_t n) {
    const size_t element = fv_dtype_bytes(t);
    if (kind == FV_SCATTER_SET && from) {
        memcpy((char *)to + i * element, (const char *)from + k * element, n * element);
    } else if (kind == FV_SCATTER_SET) {
        memset((char *)to + i * element, 0, n * element);
    } else if (kind == FV_SCATTER_ADD && t == FV_REAL_DTYPE && from) {
        fv_real *sum = (fv_real *)to + i;
        const fv_real *u = (const fv_real *)from + k;
        for (size_t c = 0; c < n; c++) sum[c] += u[c];
    } else {
        for (size_t c = 0; c < n; c++) combine(t, kind, to, i + c, from, k + c);
    }
}

typedef struct scatter {
    fv_nd_element_lines lines;
    fv_nd_tuples tuples;
    const fv_buffer *indices, *updates, *y; /* updates NULL: zeros */
    fv_dtype type;
    int32_t kind;
} scatter;

static fv_status check_common(const fv_node *n, const fv_value_info *values) {
    const fv_value_info *data = &values[n->in[0]], *updates = &values[n->in[2]];
    FV_RETURN_IF(n->attr.nd.kind < 0 || n->attr.nd.kind > FV_SCATTER_MIN, FV_ERR_ARGUMENT, "node \"%s\": unknown reduction",
                 n->name);
    FV_RETURN_IF(data->dtype != updates->dtype, FV_ERR_ARGUMENT, "node \"%s\": updates of %s for data of %s", n->name,
                 fv_dtype_name(updates->dtype), fv_dtype_name(data->dtype));
    FV_RETURN_IF(n->attr.nd.kind != FV_SCATTER_SET && !fv_nd_is_number(data->dtype), FV_ERR_UNSUPPORTED,
                 "node \"%s\": a reduction of %s", n->name, fv_dtype_name(data->dtype));
    return FV_OK;
}

static fv_status set_output(fv_node *n, fv_value_info *values) {
    const fv_value_info data = values[n->in[0]];
    fv_nd_infer(&values[n->out[0]], data.dtype, &data.shape);
    return FV_OK;
}

/* y starts as data. */
static fv_status start(fv_plan_op *p, scatter **out) {
    const fv_value *in = p->node->in;
    const fv_value_info *data = &p->values[in[0]];
    scatter *s;
    FV_FORWARD(fv_plan_state(p, sizeof *s, (void **)&s));
    *s = (scatter){.indices = fv_plan_buffer(p, in[1]),
                   .updates = p->node->attr.nd.keep ? NULL : fv_plan_buffer(p, in[2]),
                   .y = fv_plan_buffer(p, p->node->out[0]),
                   .type = data->dtype,
                   .kind = p->node->attr.nd.kind};
    *out = s;
    if (p->node->attr.nd.flag) return fv_nd_zero_plan(p, p->node->out[0]);
    fv_nd_copy c = {.in = fv_plan_buffer(p, in[0]), .out = s->y, .shape = data->shape, .element = fv_dtype_bytes(data->dtype)};
    fv_nd_strides(&data->shape, FV_PLAIN, c.in_stride);
    fv_nd_strides(&data->shape, FV_PLAIN, c.out_stride);
    return fv_nd_copy_plan(p, &c);
}

/* What flows to the data stays but where an update replaced it; to an update flows what reached its place. */
static fv_status scatter_backward(fv_backward *b) {
    const bool by_tuple = b->node->op == &fv_op_scatter_nd;
    const fv_value *in = b->node->in, dy = b->dout[0];
    fv_attributes attr = b->node->attr;
    FV_RETURN_IF(attr.nd.kind > FV_SCATTER_ADD, FV_ERR_UNSUPPORTED,
                 "node \"%s\": a scatter that multiplies or compares has no gradient", b->node->name);
    if (b->wanted[0]) {
        const fv_value masked[3] = {dy, in[1], in[2]};
        attr.nd.keep = true;
        b->din[0] = attr.nd.kind == FV_SCATTER_ADD ? dy : fv_emit_node(b->graph, b->node->op, masked, 3, 1, &attr);
    }
    if (b->wanted[2]) {
        const fv_value taken[2] = {dy, in[1]};
        b->din[2] = fv_emit_node(b->graph, by_tuple ? &fv_op_gather_nd : &fv_op_gather_elements, taken, 2, 1, &b->node->attr);
    }
    return FV_OK;
}

/* ---- elements ---- */

static fv_status elements_infer(fv_node *n, fv_value_info *values) {
    fv_nd_element_lines l;
    FV_FORWARD(check_common(n, values));
    FV_FORWARD(fv_nd_lines_describe(n, &values[n->in[0]], &values[n->in[1]], &l));
    FV_FORWARD(fv_nd_check_indices(n, &values[n->in[1]], l.size));
    FV_RETURN_IF(!fv_shape_same(&values[n->in[1]].shape, &values[n->in[2]].shape), FV_ERR_SHAPE,
                 "node \"%s\": indices %s for updates %s", n->name, fv_shape_print(&values[n->in[1]].shape).text,
                 fv_shape_print(&values[n->in[2]].shape).text);
    return set_output(n, values);
}

static void run_elements(void *arg, size_t piece, void *scratch) {
    (void)scratch;
    const scatter *s = arg;
    const size_t end = fv_min_size((piece + 1) * s->lines.per_piece, s->lines.lines);
    for (size_t line = piece * s->lines.per_piece; line < end; line++) {
        ptrdiff_t data, own;
        fv_nd_line(&s->lines, line, &data, &own);
        for (size_t i = 0; i < s->lines.count; i++, own += s->lines.step) {
            const ptrdiff_t at =
                data + fv_nd_index(s->lines.index_type, s->indices->data, own, s->lines.size) * s->lines.data_step;
            combine(s->type, s->kind, s->y->data, (size_t)at, s->updates ? s->updates->data : NULL, (size_t)own);
        }
    }
}

static fv_status elements_plan(fv_plan_op *p) {
    const fv_value *in = p->node->in;
    scatter *s;
    FV_FORWARD(start(p, &s));
    FV_FORWARD(fv_nd_lines_describe(p->node, &p->values[in[0]], &p->values[in[1]], &s->lines));
    p->algorithm = "scatter";
    return s->lines.count ? fv_plan_phase(p, false, run_elements, s, fv_div_up(s->lines.lines, s->lines.per_piece)) : FV_OK;
}

const fv_op fv_op_scatter_elements = {"scatter_elements", 3, 3, 1, FV_OP_PLAIN, elements_infer, elements_plan, scatter_backward};

/* ---- tuples ---- */

enum { COLUMNS = 1024 }; /* of a slice to a piece, which does every tuple's: tuples may name one place twice */

static fv_status tuples_infer(fv_node *n, fv_value_info *values) {
    fv_nd_tuples t;
    fv_shape wanted;
    FV_FORWARD(check_common(n, values));
    FV_FORWARD(fv_nd_tuples_describe(n, &values[n->in[0]], &values[n->in[1]], &t));
    FV_FORWARD(fv_nd_tuples_shape(n, &values[n->in[0]], &values[n->in[1]], &wanted));
    FV_RETURN_IF(!fv_shape_same(&wanted, &values[n->in[2]].shape), FV_ERR_SHAPE,
                 "node \"%s\": updates %s where the indices name %s", n->name, fv_shape_print(&values[n->in[2]].shape).text,
                 fv_shape_print(&wanted).text);
    return set_output(n, values);
}

static void run_tuples(void *arg, size_t piece, void *scratch) {
    (void)scratch;
    const scatter *s = arg;
    const fv_nd_tuples *t = &s->tuples;
    const size_t blocks = fv_div_up(t->width, COLUMNS), batch = piece / blocks, first = piece % blocks * COLUMNS;
    const size_t n = fv_min_size(COLUMNS, t->width - first);
    for (size_t i = batch * t->count; i < (batch + 1) * t->count; i++) {
        const size_t at = fv_nd_tuple(t, s->indices->data, i) + first;
        combine_row(s->type, s->kind, s->y->data, at, s->updates ? s->updates->data : NULL, i * t->width + first, n);
    }
}

static fv_status tuples_plan(fv_plan_op *p) {
    const fv_value *in = p->node->in;
    scatter *s;
    FV_FORWARD(start(p, &s));
    FV_FORWARD(fv_nd_tuples_describe(p->node, &p->values[in[0]], &p->values[in[1]], &s->tuples));
    p->algorithm = "scatter";
    return fv_plan_phase(p, false, run_tuples, s, s->tuples.batches * fv_div_up(s->tuples.width, COLUMNS));
}

const fv_op fv_op_scatter_nd = {"scatter_nd", 3, 3, 1, FV_OP_PLAIN, tuples_infer, tuples_plan, scatter_backward};
