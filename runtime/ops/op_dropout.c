/* dropout: x -> y, some elements zeroed and the rest scaled up in training; the identity otherwise. Its gradient is the
 * same operator on dy: the mask is drawn again from (seed, stream, step, element), so nothing is kept. */
#include "ops/pieces.h"

#include <string.h>

typedef struct dropout {
    const fv_kernels *kernels;
    const fv_run_info *run;
    const fv_buffer *in, *out;
    size_t count;
    fv_real ratio;
    uint32_t stream;
    bool training;
} dropout;

static fv_status dropout_infer(fv_node *n, fv_value_info *values) {
    FV_RETURN_IF(!(n->attr.dropout.ratio >= 0 && n->attr.dropout.ratio < 1), FV_ERR_ARGUMENT,
                 "node \"%s\": dropout takes a ratio from 0 to below 1, not %g", n->name,
                 (double)n->attr.dropout.ratio);
    fv_infer_like(&values[n->out[0]], &values[n->in[0]]);
    return FV_OK;
}

static void run_dropout(void *arg, size_t piece, void *scratch) {
    (void)scratch;
    const dropout *s = arg;
    const fv_range r = fv_run_of(piece, s->count);
    const fv_real *in = (const fv_real *)s->in->data + r.begin;
    fv_real *out = (fv_real *)s->out->data + r.begin;
    if (s->training) {
        const uint32_t stream[2] = {s->stream, (uint32_t)s->run->step};
        s->kernels->pointwise.dropout(in, out, r.end - r.begin, r.begin, s->run->dropout_key, stream, s->ratio);
    } else if (in != out) {
        memcpy(out, in, (r.end - r.begin) * sizeof *out);
    }
}

static fv_status dropout_plan(fv_plan_op *p) {
    dropout *s;
    FV_FORWARD(fv_plan_state(p, sizeof *s, (void **)&s));
    *s = (dropout){p->kernels,
                   p->run,
                   fv_plan_buffer(p, p->node->in[0]),
                   fv_plan_buffer(p, p->node->out[0]),
                   fv_shape_count(&p->values[p->node->in[0]].shape),
                   p->node->attr.dropout.ratio,
                   (uint32_t)p->node->attr.dropout.stream,
                   p->training};
    p->algorithm = p->training ? "Philox" : "identity";
    return fv_plan_phase(p, false, run_dropout, s, fv_run_pieces(s->count));
}

static fv_status dropout_backward(fv_backward *b) {
    b->din[0] = fv_emit_node(b->graph, &fv_op_dropout, &b->dout[0], 1, 1, &b->node->attr);
    return FV_OK;
}

const fv_op fv_op_dropout = {"dropout",       1, 1, 1, FV_OP_IN_PLACE | FV_OP_ANY_LAYOUT, dropout_infer, dropout_plan,
                             dropout_backward};
