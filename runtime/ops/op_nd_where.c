/* nd_where: condition (bool), x, y of one type, broadcast -> x where the condition holds, else y. With `flag` x or y
 * may be absent: zeros. */
#include "ops/nd_pointwise.h"

#include <string.h>

typedef struct where {
    fv_nd_rows rows;
    bool absent[2];
} where;

static fv_status where_infer(fv_node *n, fv_value_info *values) {
    const fv_value known = n->in[1] != FV_NONE ? n->in[1] : n->in[2];
    fv_shape shape;
    FV_RETURN_IF(known == FV_NONE || (!n->attr.nd.flag && n->in[2] == FV_NONE), FV_ERR_ARGUMENT,
                 "node \"%s\" lacks an input", n->name);
    FV_RETURN_IF(values[n->in[0]].dtype != FV_BOOL, FV_ERR_SHAPE, "node \"%s\": its condition is %s, not bool", n->name,
                 fv_dtype_name(values[n->in[0]].dtype));
    FV_FORWARD(fv_nd_broadcast(n->name, &values[n->in[0]].shape, &values[known].shape, &shape));
    if (n->in[2] != FV_NONE && n->in[1] != FV_NONE) {
        FV_RETURN_IF(values[n->in[1]].dtype != values[n->in[2]].dtype, FV_ERR_SHAPE,
                     "node \"%s\": its choices are %s and %s", n->name, fv_dtype_name(values[n->in[1]].dtype),
                     fv_dtype_name(values[n->in[2]].dtype));
        FV_FORWARD(fv_nd_broadcast(n->name, &shape, &values[n->in[2]].shape, &shape));
    }
    const fv_layout layout = fv_nd_layout(n, values, values[known].dtype, shape.rank);
    fv_nd_infer(&values[n->out[0]], values[known].dtype, &shape);
    values[n->out[0]].layout = layout;
    return FV_OK;
}

#define CHOOSE(T)                                                                                                      \
    for (ptrdiff_t i = 0; i < (ptrdiff_t)count; i++) {                                                                 \
        const bool x = condition[i * step[0]];                                                                         \
        const ptrdiff_t from = i * step[x ? 1 : 2];                                                                    \
        ((T *)(void *)at[3])[i] = s->absent[x ? 0 : 1] ? 0 : ((const T *)(void *)at[x ? 1 : 2])[from];                 \
    }

static void run_where(void *arg, size_t piece, void *scratch) {
    (void)scratch;
    const where *s = arg;
    const ptrdiff_t *step = s->rows.loop.step;
    FV_ND_EACH_ROW(&s->rows, piece, at, count, {
        const uint8_t *condition = (const uint8_t *)at[0];
        if (s->rows.bytes[3] == 1)
            CHOOSE(uint8_t)
        else if (s->rows.bytes[3] == 2)
            CHOOSE(uint16_t)
        else if (s->rows.bytes[3] == 4)
            CHOOSE(uint32_t)
        else
            CHOOSE(uint64_t)
    });
}

static fv_status where_plan(fv_plan_op *p) {
    where *s;
    FV_FORWARD(fv_plan_state(p, sizeof *s, (void **)&s));
    fv_nd_rows_make(p, &s->rows, 3, NULL);
    for (int i = 0; i < 2; i++) s->absent[i] = p->node->in[1 + i] == FV_NONE;
    p->algorithm = "broadcast";
    p->flops = (double)fv_shape_count(&p->values[p->node->out[0]].shape);
    return fv_plan_phase(p, false, run_where, s, s->rows.cut.pieces);
}

static fv_status where_backward(fv_backward *b) {
    const fv_value none = FV_NONE, dy = b->dout[0], condition = b->node->in[0];
    const fv_attributes attr = {.nd = {.flag = true}};
    for (int i = 1; i <= 2; i++) {
        const fv_value in[3] = {condition, i == 1 ? dy : none, i == 2 ? dy : none};
        if (!b->wanted[i]) continue;
        const fv_value full = fv_emit_node(b->graph, &fv_op_nd_where, in, 3, 1, &attr);
        b->din[i] = fv_nd_sum_to(b->graph, full, b->node->in[i], 0);
    }
    return FV_OK;
}

const fv_op fv_op_nd_where = {"nd_where", 1, 3, 1, FV_OP_ANY_LAYOUT, where_infer, where_plan, where_backward};
