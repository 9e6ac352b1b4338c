/* batch_norm: x, scale, bias, running mean, running variance (C) -> y, [mean, inverse deviation (C): kept in training]. SPEC
 * section 7. Training takes the batch's own moments (the variance biased) and moves the running ones, parameters that are not
 * trained: running = (1 - momentum) * running + momentum * batch. Inference is a map a channel of the running moments, made once.
 * The clamp is fused both ways. batch_norm_grad: dy, x, scale, bias, mean, inverse -> dx, dscale, dbias. */
#include "ops/norm_plan.h"
#include "ops/pieces.h"

#include <math.h>
#include <string.h>

static fv_norm_shape shape_of(const fv_shape *x) {
    const size_t channels = (size_t)x->dim[1], rows = channels ? fv_shape_count(x) / channels : 0;
    return (fv_norm_shape){1, rows, channels, channels};
}

static fv_status batch_norm_infer(fv_node *n, fv_value_info *values) {
    FV_FORWARD(fv_norm_check(n, values));
    FV_RETURN_IF(!(n->attr.norm.momentum >= 0 && n->attr.norm.momentum <= 1), FV_ERR_ARGUMENT,
                 "node \"%s\": the momentum of batch normalization lies in 0 to 1, not %g", n->name,
                 (double)n->attr.norm.momentum);
    for (int i = 1; i < 5; i++)
        FV_RETURN_IF(values[n->in[i]].kind != FV_VALUE_PARAMETER, FV_ERR_ARGUMENT,
                     "node \"%s\": scale, bias, running mean and variance must be parameters", n->name);
    FV_RETURN_IF(n->in[3] == n->in[4], FV_ERR_ARGUMENT, "node \"%s\": one parameter is both running mean and variance", n->name);
    fv_infer_like(&values[n->out[0]], &values[n->in[0]]);
    for (int i = 1; i < 3; i++)
        if (n->out[i] != FV_NONE) fv_infer_like(&values[n->out[i]], &values[n->in[1]]);
    return FV_OK;
}

/* ---- inference ---- */

typedef struct affine {
    const fv_buffer *scale, *bias, *mean, *variance;
    fv_buffer *coefficients; /* gain (C), shift (C) */
    size_t channels;
    fv_real epsilon;
} affine;

static void run_affine(void *arg, size_t piece, void *scratch) {
    (void)piece, (void)scratch;
    const affine *s = arg;
    const fv_real *scale = s->scale->data, *bias = s->bias->data, *mean = s->mean->data, *variance = s->variance->data;
    fv_real *gain = s->coefficients->data, *shift = gain + s->channels;
    for (size_t c = 0; c < s->channels; c++) {
        gain[c] = scale[c] / (fv_real)sqrt((double)(variance[c] + s->epsilon));
        shift[c] = bias[c] - mean[c] * gain[c];
    }
}

/* Everything the coefficients come from: what two nodes must share to share them. */
typedef struct affine_key {
    char what[16];
    const void *data[3];
    double epsilon;
} affine_key;

static fv_status plan_inference(fv_plan_op *p, const fv_norm_shape *shape) {
    const fv_node *n = p->node;
    affine *s;
    bool fresh, in_run;
    affine_key key;
    memset(&key, 0, sizeof key);
    memcpy(key.what, "batch_norm", sizeof "batch_norm");
    for (int i = 0; i < 3; i++) key.data[i] = p->values[n->in[2 + i]].data;
    key.epsilon = (double)n->attr.norm.epsilon;
    FV_FORWARD(fv_plan_state(p, sizeof *s, (void **)&s));
    *s = (affine){fv_plan_buffer(p, n->in[1]),
                  fv_plan_buffer(p, n->in[2]),
                  fv_plan_buffer(p, n->in[3]),
                  fv_plan_buffer(p, n->in[4]),
                  NULL,
                  shape->channels,
                  n->attr.norm.epsilon};
    FV_FORWARD(
        fv_plan_packed(p, n->in[1], &key, sizeof key, 2 * shape->channels * sizeof(fv_real), &s->coefficients, &fresh, &in_run));
    p->algorithm = "map a channel";
    if (fresh) FV_FORWARD(fv_plan_phase(p, !in_run, run_affine, s, 1));
    return fv_norm_apply_plan(p, shape->pixels, shape->channels, s->coefficients);
}

static fv_status batch_norm_plan(fv_plan_op *p) {
    const fv_norm_shape shape = shape_of(&p->values[p->node->in[0]].shape);
    return p->training || p->node->attr.norm.batch_moments ? fv_norm_plan(p, &shape) : plan_inference(p, &shape);
}

static fv_status batch_norm_backward(fv_backward *b) { return fv_norm_backward(b, &fv_op_batch_norm_grad); }

const fv_op fv_op_batch_norm = {"batch_norm", 5, 5, 3, FV_OP_IN_PLACE, batch_norm_infer, batch_norm_plan, batch_norm_backward};

static fv_status batch_norm_grad_plan(fv_plan_op *p) {
    const fv_norm_shape shape = shape_of(&p->values[p->node->in[1]].shape);
    return fv_norm_grad_plan(p, &shape);
}

const fv_op fv_op_batch_norm_grad = {"batch_norm_grad", 6, 6, 3, FV_OP_IN_PLACE, fv_norm_grad_infer, batch_norm_grad_plan, NULL};
