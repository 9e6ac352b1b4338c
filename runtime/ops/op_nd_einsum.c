/* einsum: one or two inputs of a number type -> y; y[l] is the sum, over the labels that y lacks, of the products. attr.nd: a, b,
 * c: the labels of input 0, input 1 and y, byte k the label of axis k, 0 past the last; a label may stand twice in an input (a
 * diagonal). Sums of real values go through double. The reader resolves ellipses. */
#include "ops/nd_reduce.h"
#include "ops/nd_type.h"

enum { LABELS = 2 * FV_MAX_RANK };

typedef struct einsum {
    fv_nd_loop kept, gone; /* operands: y, x0, x1; x0, x1 */
    fv_nd_cut cut;
    const fv_buffer *x[2], *y;
    fv_dtype type;
    bool two;
} einsum;

/* The labels of an expression, those of y first, and their sizes. */
typedef struct labels {
    int32_t count, kept;
    int64_t label[LABELS], size[LABELS];
} labels;

static int32_t find(const labels *l, int64_t label) {
    for (int32_t i = 0; i < l->count; i++)
        if (l->label[i] == label) return i;
    return -1;
}

static fv_status add_labels(const fv_node *n, labels *l, const int64_t *list, const fv_shape *shape) {
    for (int32_t k = 0; k < shape->rank; k++) {
        int32_t at = find(l, list[k]);
        if (at < 0) {
            FV_RETURN_IF(l->count == LABELS, FV_ERR_LIMIT, "node \"%s\": more than %d labels", n->name, LABELS);
            at = l->count++;
            l->label[at] = list[k];
            l->size[at] = -1;
        }
        const int64_t size = shape->dim[k];
        FV_RETURN_IF(list[k] == 0 || (l->size[at] >= 0 && l->size[at] != size && size != 1 && l->size[at] != 1), FV_ERR_SHAPE,
                     "node \"%s\": axis %d of %s has size %lld where %lld stands for it", n->name, k, fv_shape_print(shape).text,
                     (long long)size, (long long)l->size[at]);
        if (l->size[at] < 0 || l->size[at] == 1) l->size[at] = size;
    }
    return FV_OK;
}

static fv_status resolve(const fv_node *n, const fv_value_info *values, labels *l) {
    const fv_nd_attr *a = &n->attr.nd;
    *l = (labels){0};
    for (int32_t k = 0; k < a->count; k++) {
        FV_RETURN_IF(find(l, a->c[k]) >= 0, FV_ERR_SHAPE, "node \"%s\": a label stands twice in its result", n->name);
        l->label[l->count] = a->c[k];
        l->size[l->count++] = -1;
    }
    l->kept = l->count;
    FV_FORWARD(add_labels(n, l, a->a, &values[n->in[0]].shape));
    if (n->in_count > 1) FV_FORWARD(add_labels(n, l, a->b, &values[n->in[1]].shape));
    for (int32_t k = 0; k < l->kept; k++)
        FV_RETURN_IF(l->size[k] < 0, FV_ERR_SHAPE, "node \"%s\": a label of its result stands in no input", n->name);
    FV_RETURN_IF(l->count - l->kept > FV_MAX_RANK, FV_ERR_LIMIT, "node \"%s\": a sum over more than %d labels", n->name,
                 FV_MAX_RANK);
    return FV_OK;
}

static fv_status einsum_infer(fv_node *n, fv_value_info *values) {
    const fv_dtype type = values[n->in[0]].dtype;
    labels l;
    FV_RETURN_IF(n->in_count > 1 && values[n->in[1]].dtype != type, FV_ERR_ARGUMENT, "node \"%s\": inputs of two types", n->name);
    FV_RETURN_IF(!fv_nd_is_number(type), FV_ERR_UNSUPPORTED, "node \"%s\": sums of %s", n->name, fv_dtype_name(type));
    FV_FORWARD(resolve(n, values, &l));
    fv_shape y = {.rank = l.kept};
    memcpy(y.dim, l.size, (size_t)l.kept * sizeof *l.size);
    fv_nd_infer(&values[n->out[0]], type, &y);
    return FV_OK;
}

static double product_of(const einsum *s, ptrdiff_t x0, ptrdiff_t x1) {
    const double a = fv_nd_number(s->type, s->x[0]->data, x0);
    return s->two ? a * fv_nd_number(s->type, s->x[1]->data, x1) : a;
}

static double sum_row(const einsum *s, ptrdiff_t x0, ptrdiff_t x1) {
    const size_t n = s->gone.length;
    const ptrdiff_t step0 = s->gone.step[0], step1 = s->gone.step[1];
    double sum = 0;
    if (s->type == FV_REAL_DTYPE && s->two) {
        const fv_real *a = (const fv_real *)s->x[0]->data + x0, *b = (const fv_real *)s->x[1]->data + x1;
        for (size_t i = 0; i < n; i++) sum += (double)a[(ptrdiff_t)i * step0] * (double)b[(ptrdiff_t)i * step1];
        return sum;
    }
    for (size_t i = 0; i < n; i++) sum += product_of(s, x0 + (ptrdiff_t)i * step0, x1 + (ptrdiff_t)i * step1);
    return sum;
}

static uint64_t whole_row(const einsum *s, ptrdiff_t x0, ptrdiff_t x1) {
    uint64_t sum = 0;
    for (size_t i = 0; i < s->gone.length; i++) {
        const uint64_t a = (uint64_t)fv_nd_integer(s->type, s->x[0]->data, x0 + (ptrdiff_t)i * s->gone.step[0]);
        sum += s->two ? a * (uint64_t)fv_nd_integer(s->type, s->x[1]->data, x1 + (ptrdiff_t)i * s->gone.step[1]) : a;
    }
    return sum;
}

static void one_sum(const einsum *s, ptrdiff_t y, ptrdiff_t x0, ptrdiff_t x1) {
    double sum = 0;
    uint64_t whole = 0;
    for (size_t r = 0; r < s->gone.rows; r++) {
        ptrdiff_t o[FV_ND_OPERANDS];
        fv_nd_row(&s->gone, r, o);
        if (fv_nd_is_float(s->type))
            sum += sum_row(s, x0 + o[0], x1 + o[1]);
        else
            whole += whole_row(s, x0 + o[0], x1 + o[1]);
    }
    if (fv_nd_is_float(s->type))
        fv_nd_set_number(s->type, s->y->data, y, sum);
    else
        fv_nd_set_integer(s->type, s->y->data, y, (int64_t)whole);
}

static void run_einsum(void *arg, size_t piece, void *scratch) {
    (void)scratch;
    const einsum *s = arg;
    const fv_nd_piece at = fv_nd_piece_of(&s->kept, &s->cut, piece);
    for (size_t row = at.first_row; row < at.end_row; row++) {
        ptrdiff_t o[FV_ND_OPERANDS];
        fv_nd_row(&s->kept, row, o);
        for (size_t i = at.columns.begin; i < at.columns.end; i++) {
            const ptrdiff_t k = (ptrdiff_t)i;
            one_sum(s, o[0] + k * s->kept.step[0], o[1] + k * s->kept.step[1], o[2] + k * s->kept.step[2]);
        }
    }
}

/* The strides of an input by labels; a label that stands twice walks the diagonal, one of size 1 stands still. */
static void by_label(const labels *l, const int64_t *list, const fv_value_info *x, ptrdiff_t stride[LABELS]) {
    ptrdiff_t own[FV_MAX_RANK] = {0};
    fv_nd_strides(&x->shape, x->layout, own);
    for (int32_t k = 0; k < x->shape.rank; k++)
        if (x->shape.dim[k] != 1) stride[find(l, list[k])] += own[k];
}

static fv_status einsum_plan(fv_plan_op *p) {
    const fv_node *n = p->node;
    ptrdiff_t stride[2][LABELS] = {{0}}, kept[3][FV_MAX_RANK] = {{0}}, gone[2][FV_MAX_RANK] = {{0}};
    labels l;
    einsum *s;
    FV_FORWARD(resolve(n, p->values, &l));
    FV_FORWARD(fv_plan_state(p, sizeof *s, (void **)&s));
    const bool two = n->in_count > 1;
    *s = (einsum){.x = {fv_plan_buffer(p, n->in[0]), fv_plan_buffer(p, n->in[two ? 1 : 0])},
                  .y = fv_plan_buffer(p, n->out[0]),
                  .type = p->values[n->out[0]].dtype,
                  .two = two};
    by_label(&l, n->attr.nd.a, &p->values[n->in[0]], stride[0]);
    if (two) by_label(&l, n->attr.nd.b, &p->values[n->in[1]], stride[1]);
    fv_shape outer = {.rank = l.kept}, inner = {.rank = l.count - l.kept};
    for (int32_t i = 0; i < l.count; i++) *(i < l.kept ? &outer.dim[i] : &inner.dim[i - l.kept]) = l.size[i];
    fv_nd_strides(&outer, FV_PLAIN, kept[0]);
    for (int32_t k = 0; k < 2; k++) {
        memcpy(kept[1 + k], stride[k], (size_t)l.kept * sizeof *stride[k]);
        memcpy(gone[k], stride[k] + l.kept, (size_t)inner.rank * sizeof *stride[k]);
    }
    fv_nd_loop_make(&s->kept, &outer, 3, kept, NULL);
    fv_nd_loop_make(&s->gone, &inner, 2, gone, NULL);
    if (fv_shape_count(&outer) == 0) return FV_OK;
    s->cut = fv_nd_cut_make(&s->kept);
    const size_t each = fv_max_size(fv_shape_count(&inner), 1);
    s->cut.rows_per_piece = fv_rows_per_piece(s->kept.length * each);
    s->cut.pieces = fv_div_up(s->kept.rows, s->cut.rows_per_piece) * s->cut.pieces_per_row;
    p->algorithm = "sum of products";
    p->flops = 2.0 * (double)fv_shape_count(&outer) * (double)each;
    return fv_plan_phase(p, false, run_einsum, s, s->cut.pieces);
}

/* The gradient of an input is a sum of products of dy with the other, when every label of the input stands in one of these. */
static fv_status einsum_backward(fv_backward *b) {
    const fv_nd_attr *a = &b->node->attr.nd;
    for (int32_t k = 0; k < b->node->in_count; k++) {
        const fv_shape own = fv_emit_info(b->graph, b->node->in[k])->shape;
        const int64_t *mine = k ? a->b : a->a, *other = k ? a->a : a->b;
        fv_attributes back = {.nd = {.count = own.rank}};
        labels known = {0};
        if (!b->wanted[k]) continue;
        memcpy(back.nd.a, a->c, sizeof a->c);
        memcpy(back.nd.b, other, sizeof back.nd.b);
        memcpy(back.nd.c, mine, sizeof back.nd.c);
        const fv_shape dy = fv_emit_info(b->graph, b->dout[0])->shape;
        FV_FORWARD(add_labels(b->node, &known, a->c, &dy));
        if (b->node->in_count > 1)
            FV_FORWARD(add_labels(b->node, &known, other, &fv_emit_info(b->graph, b->node->in[1 - k])->shape));
        for (int32_t i = 0; i < own.rank; i++) {
            bool plain = find(&known, mine[i]) >= 0 && known.size[find(&known, mine[i])] == own.dim[i];
            for (int32_t j = 0; j < i; j++) plain = plain && mine[j] != mine[i];
            FV_RETURN_IF(
                !plain, FV_ERR_UNSUPPORTED,
                "node \"%s\": an einsum whose input %d has a diagonal, a stretched axis or one summed alone has no gradient",
                b->node->name, k);
        }
        const fv_value in[2] = {b->dout[0], b->node->in_count > 1 ? b->node->in[1 - k] : FV_NONE};
        b->din[k] = fv_emit_node(b->graph, &fv_op_einsum, in, b->node->in_count, 1, &back);
    }
    return FV_OK;
}

const fv_op fv_op_einsum = {"einsum", 1, 2, 1, FV_OP_PLAIN, einsum_infer, einsum_plan, einsum_backward};
