/* subtractive_norm: x (N,C,H,W) -> y = x - B x, or minus the blurred mean over maps. subtractive_norm_grad: dy -> dx,
 * the same with B transposed. SPEC section 4. */
#include "ops/contrast_plan.h"

typedef struct subtractive {
    fv_contrast_plan plan;
    const fv_buffer *x, *y;
} subtractive;

static fv_status subtractive_infer(fv_node *n, fv_value_info *values) {
    FV_FORWARD(fv_contrast_infer(n, &values[n->in[0]].shape));
    fv_infer_like(&values[n->out[0]], &values[n->in[0]]);
    return FV_OK;
}

static void make_mean(const void *state, size_t image, size_t row, fv_real *out) {
    const subtractive *s = state;
    const fv_real *x = (const fv_real *)s->x->data + fv_contrast_at(&s->plan, image, row);
    s->plan.kernels->contrast.sum[FV_MAP_SUM](x, NULL, out, s->plan.channels, s->plan.width, s->plan.share);
}

static void subtract(const void *state, size_t image, size_t row, const fv_real *blurred, fv_real *spare) {
    (void)spare;
    const subtractive *s = state;
    const size_t at = fv_contrast_at(&s->plan, image, row);
    s->plan.kernels->contrast.shift((const fv_real *)s->x->data + at, blurred, (fv_real *)s->y->data + at,
                                    s->plan.channels, s->plan.width);
}

static void run_subtractive(void *arg, size_t piece, void *scratch) {
    const subtractive *s = arg;
    const size_t image = fv_contrast_image(&s->plan, piece);
    const fv_range rows = fv_contrast_rows(&s->plan, piece);
    if (s->plan.across) {
        fv_contrast_stream(&s->plan, s, image, rows, make_mean, FV_BLUR_PLAIN, subtract, scratch);
        return;
    }
    s->plan.kernels->contrast.blur[FV_BLUR_SUBTRACT](
        &s->plan.map, (const fv_real *)s->x->data + fv_contrast_at(&s->plan, image, 0),
        (fv_real *)s->y->data + fv_contrast_at(&s->plan, image, rows.begin), rows, scratch);
}

static fv_status make(fv_plan_op *p, bool transposed) {
    subtractive *s;
    FV_FORWARD(fv_plan_state(p, sizeof *s, (void **)&s));
    FV_FORWARD(fv_contrast_describe(p, &p->values[p->node->in[0]].shape, transposed, &s->plan));
    s->x = fv_plan_buffer(p, p->node->in[0]);
    s->y = fv_plan_buffer(p, p->node->out[0]);
    return fv_plan_phase(p, false, run_subtractive, s, fv_contrast_pieces(&s->plan));
}

static fv_status subtractive_plan(fv_plan_op *p) { return make(p, false); }
static fv_status subtractive_grad_plan(fv_plan_op *p) { return make(p, true); }

static fv_status subtractive_backward(fv_backward *b) {
    b->din[0] = fv_emit_node(b->graph, &fv_op_subtractive_norm_grad, b->dout, 1, 1, &b->node->attr);
    return FV_OK;
}

const fv_op fv_op_subtractive_norm = {"subtractive_norm",  1, 1, 1, 0, subtractive_infer, subtractive_plan,
                                      subtractive_backward};
const fv_op fv_op_subtractive_norm_grad = {"subtractive_norm_grad", 1,   1, 1, 0, subtractive_infer,
                                           subtractive_grad_plan,   NULL};
