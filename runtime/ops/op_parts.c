/* concat: parts... -> y along one axis; split: x -> parts...; each is the other's gradient. slice: x -> the second of
 * three parts; slice_grad: dy -> dx, zero beside it. All are copies of rows at a pitch. SPEC section 7. */
#include "ops/pieces.h"

typedef struct part {
    const fv_kernels *kernels;
    const fv_buffer *whole, *part; /* part NULL: zeros */
    size_t offset, width, pitch;   /* elements of a row */
    size_t rows, chunk;
    bool join;
} part;

static void run_part(void *arg, size_t piece, void *scratch) {
    (void)scratch;
    const part *s = arg;
    const size_t first = piece * s->chunk, rows = fv_min_size(s->chunk, s->rows - first);
    fv_real *whole = (fv_real *)s->whole->data + first * s->pitch + s->offset;
    fv_real *one = s->part ? (fv_real *)s->part->data + first * s->width : NULL;
    if (s->join)
        s->kernels->rows.copy(one, (ptrdiff_t)s->width, whole, (ptrdiff_t)s->pitch, s->width, rows);
    else
        s->kernels->rows.copy(whole, (ptrdiff_t)s->pitch, one, (ptrdiff_t)s->width, s->width, rows);
}

/* Rows and the width of one step along the axis, as the value lies. */
static void geometry(const fv_value_info *v, int32_t axis, size_t *rows, size_t *inner) {
    static const int32_t channels_last[4] = {0, 2, 3, 1};
    const bool turned = v->shape.rank == 4 && v->layout == FV_NHWC;
    bool before = true;
    *rows = *inner = 1;
    for (int32_t i = 0; i < v->shape.rank; i++) {
        const int32_t a = turned ? channels_last[i] : i;
        if (a == axis)
            before = false;
        else
            *(before ? rows : inner) *= (size_t)v->shape.dim[a];
    }
}

/* One phase a part that does not lie there yet; parts[k] FV_NONE: zeros, or nothing where x is split. */
static fv_status plan_parts(fv_plan_op *p, fv_value whole, const fv_value *parts, bool join) {
    const fv_parts_attr *a = &p->node->attr.parts;
    size_t rows, inner, offset = 0;
    geometry(&p->values[whole], a->axis, &rows, &inner);
    const size_t pitch = inner * (size_t)p->values[whole].shape.dim[a->axis];
    p->algorithm = "copy";
    bool moved = false;
    for (int32_t k = 0; k < a->count; k++) {
        const size_t width = inner * (size_t)a->size[k];
        part *s;
        const bool there = join && parts[k] != FV_NONE && p->values[parts[k]].inside.is;
        moved |= width && !there;
        if (width && !there && (join || parts[k] != FV_NONE)) {
            FV_FORWARD(fv_plan_state(p, sizeof *s, (void **)&s));
            *s = (part){p->kernels,
                        fv_plan_buffer(p, whole),
                        fv_plan_buffer(p, parts[k]),
                        offset,
                        width,
                        pitch,
                        rows,
                        fv_rows_per_piece(width),
                        join};
            FV_FORWARD(fv_plan_phase(p, false, run_part, s, fv_div_up(rows, s->chunk)));
        }
        offset += width;
    }
    if (!moved) p->algorithm = "in place";
    return FV_OK;
}

static fv_status check_axis(const fv_node *n, const fv_shape *s) {
    FV_RETURN_IF(n->attr.parts.axis < 1 || n->attr.parts.axis >= s->rank, FV_ERR_SHAPE,
                 "node \"%s\": axis %d of %s; the batch is not cut", n->name, n->attr.parts.axis,
                 fv_shape_print(s).text);
    return FV_OK;
}

static void set_size(fv_value_info *out, const fv_value_info *like, int32_t axis, int64_t size) {
    fv_infer_like(out, like);
    out->shape.dim[axis] = size;
}

/* ---- concat ---- */

static fv_status concat_infer(fv_node *n, fv_value_info *values) {
    fv_parts_attr *a = &n->attr.parts;
    const fv_value_info *first = NULL;
    int64_t total = 0;
    for (int32_t k = 0; k < n->in_count; k++) {
        const fv_value_info *v = n->in[k] == FV_NONE ? NULL : &values[n->in[k]];
        if (v && !first) {
            first = v;
            FV_FORWARD(check_axis(n, &v->shape));
        }
        if (v) {
            fv_shape like = v->shape;
            if (like.rank == first->shape.rank) like.dim[a->axis] = first->shape.dim[a->axis];
            FV_RETURN_IF(v->dtype != FV_REAL_DTYPE || !fv_shape_same(&like, &first->shape), FV_ERR_SHAPE,
                         "node \"%s\": inputs %s and %s do not join along axis %d", n->name,
                         fv_shape_print(&first->shape).text, fv_shape_print(&v->shape).text, a->axis);
            a->size[k] = (int32_t)v->shape.dim[a->axis];
        }
        total += a->size[k];
    }
    a->count = n->in_count;
    FV_RETURN_IF(!first, FV_ERR_ARGUMENT, "node \"%s\": nothing to join", n->name);
    FV_RETURN_IF(total > INT32_MAX, FV_ERR_LIMIT, "node \"%s\": size %lld on axis %d", n->name, (long long)total,
                 a->axis);
    const fv_value_info like = *first;
    set_size(&values[n->out[0]], &like, a->axis, total);
    return FV_OK;
}

static fv_status concat_plan(fv_plan_op *p) { return plan_parts(p, p->node->out[0], p->node->in, true); }

static fv_status concat_backward(fv_backward *b) {
    const fv_value parts = fv_emit_node(b->graph, &fv_op_split, b->dout, 1, b->node->in_count, &b->node->attr);
    for (int32_t k = 0; k < b->node->in_count; k++) b->din[k] = parts == FV_NONE ? FV_NONE : parts + k;
    return FV_OK;
}

const fv_op fv_op_concat = {"concat", 0, FV_MOST_PARTS, 1, 0, concat_infer, concat_plan, concat_backward};

/* ---- split ---- */

static fv_status check_sizes(const fv_node *n, const fv_shape *x) {
    const fv_parts_attr *a = &n->attr.parts;
    int64_t total = 0;
    FV_FORWARD(check_axis(n, x));
    for (int32_t k = 0; k < a->count; k++) {
        FV_RETURN_IF(a->size[k] < (n->op == &fv_op_split), FV_ERR_ARGUMENT, "node \"%s\": part %d has size %d", n->name,
                     k, a->size[k]);
        total += a->size[k];
    }
    FV_RETURN_IF(total != x->dim[a->axis], FV_ERR_SHAPE,
                 "node \"%s\": its parts have %lld together, axis %d of %s has %lld", n->name, (long long)total,
                 a->axis, fv_shape_print(x).text, (long long)x->dim[a->axis]);
    return FV_OK;
}

static fv_status split_infer(fv_node *n, fv_value_info *values) {
    const fv_value_info x = values[n->in[0]];
    FV_FORWARD(check_sizes(n, &x.shape));
    FV_RETURN_IF(x.dtype != FV_REAL_DTYPE || n->attr.parts.count != n->out_count, FV_ERR_ARGUMENT,
                 "node \"%s\": %d sizes for %d outputs", n->name, n->attr.parts.count, n->out_count);
    for (int32_t k = 0; k < n->out_count; k++)
        if (n->out[k] != FV_NONE) set_size(&values[n->out[k]], &x, n->attr.parts.axis, n->attr.parts.size[k]);
    return FV_OK;
}

static fv_status split_plan(fv_plan_op *p) { return plan_parts(p, p->node->in[0], p->node->out, false); }

static fv_status split_backward(fv_backward *b) {
    b->din[0] = fv_emit_node(b->graph, &fv_op_concat, b->dout, b->node->out_count, 1, &b->node->attr);
    return FV_OK;
}

const fv_op fv_op_split = {"split", 1, 1, 1, 0, split_infer, split_plan, split_backward};

/* ---- slice ---- */

static fv_status slice_infer(fv_node *n, fv_value_info *values) {
    const fv_value_info x = values[n->in[0]];
    FV_RETURN_IF(x.dtype != FV_REAL_DTYPE, FV_ERR_ARGUMENT, "node \"%s\": only real values are cut", n->name);
    FV_FORWARD(check_sizes(n, &x.shape));
    FV_RETURN_IF(n->attr.parts.size[1] < 1, FV_ERR_SHAPE, "node \"%s\": a slice of size %d", n->name,
                 n->attr.parts.size[1]);
    set_size(&values[n->out[0]], &x, n->attr.parts.axis, n->attr.parts.size[1]);
    return FV_OK;
}

static fv_status slice_plan(fv_plan_op *p) {
    const fv_value parts[3] = {FV_NONE, p->node->out[0], FV_NONE};
    return plan_parts(p, p->node->in[0], parts, false);
}

static fv_status slice_backward(fv_backward *b) {
    b->din[0] = fv_emit_node(b->graph, &fv_op_slice_grad, b->dout, 1, 1, &b->node->attr);
    return FV_OK;
}

const fv_op fv_op_slice = {"slice", 1, 1, 1, 0, slice_infer, slice_plan, slice_backward};

static fv_status slice_grad_infer(fv_node *n, fv_value_info *values) {
    const fv_parts_attr *a = &n->attr.parts;
    const fv_value_info dy = values[n->in[0]];
    set_size(&values[n->out[0]], &dy, a->axis, (int64_t)a->size[0] + a->size[1] + a->size[2]);
    return FV_OK;
}

static fv_status slice_grad_plan(fv_plan_op *p) {
    const fv_value parts[3] = {FV_NONE, p->node->in[0], FV_NONE};
    return plan_parts(p, p->node->out[0], parts, true);
}

const fv_op fv_op_slice_grad = {"slice_grad", 1, 1, 1, 0, slice_grad_infer, slice_grad_plan, NULL};
