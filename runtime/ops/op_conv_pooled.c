/* Gradients of a convolution through the max pooling after it, made by fv_pass_pooled_gradients alone:
 * conv_pooled_grad_input: g, index, weight, x (its shape) -> dx; conv_pooled_grad_weight: g, index, x, weight -> dw, [db]. */
#include "ops/conv_plan.h"
#include "ops/pieces.h"

void fv_conv_pooled_describe(const fv_conv_geometry *g, const fv_conv_pooled *pooled, fv_conv_pooled_desc *d) {
    *d = (fv_conv_pooled_desc){.images = g->images, .channels = g->in_channels, .maps = g->out_channels,
                               .true_convolution = g->true_convolution};
    for (int i = 0; i < 2; i++) {
        d->in[i] = g->in[i + 1];
        d->kernel[i] = g->kernel[i + 1];
        d->stride[i] = g->stride[i + 1];
        d->dilation[i] = g->dilation[i + 1];
        d->pad[i] = g->pad[i + 1];
        d->pooled[i] = pooled->pooled[i];
        d->window[i] = pooled->window[i];
    }
}

/* x, weight: the node's; the first two inputs are the pooled map's gradient and its index. */
static void read_node(const fv_plan_op *p, fv_value x, fv_value weight, fv_conv_geometry *g, fv_conv_pooled *pooled) {
    const fv_node *n = p->node;
    const fv_shape *y = &p->values[n->in[0]].shape;
    fv_shape output = *y;
    *pooled = (fv_conv_pooled){.at = n->in[1]};
    for (int i = 0; i < 2; i++) {
        pooled->pooled[i] = (int32_t)y->dim[2 + i];
        pooled->window[i] = n->attr.conv.pooled_window[i];
        output.dim[2 + i] *= pooled->window[i]; /* what the windows cover */
    }
    *g = fv_conv_geometry_of(&n->attr.conv, &p->values[x].shape, &p->values[weight].shape, &output);
}

static fv_status grad_weight_infer(fv_node *n, fv_value_info *values) {
    const fv_value_info *w = &values[n->in[3]];
    fv_infer_like(&values[n->out[0]], w);
    if (n->out_count < 2 || n->out[1] == FV_NONE) return FV_OK;
    const fv_shape db = {1, {w->shape.dim[0]}};
    fv_infer_shape(&values[n->out[1]], FV_REAL_DTYPE, &db);
    return FV_OK;
}

static fv_status grad_weight_plan(fv_plan_op *p) {
    const fv_node *n = p->node;
    fv_conv_geometry g;
    fv_conv_pooled pooled;
    read_node(p, n->in[2], n->in[3], &g, &pooled);
    return fv_conv_plan_weight_grad(p, &g, n->in[0], n->in[2], n->out[0], n->out_count > 1 ? n->out[1] : FV_NONE, &pooled);
}

typedef struct input_grad {
    fv_conv_pooled_desc desc;
    const fv_conv_pooled_kernels *kernels;
    fv_conv_weights weights; /* strides; data is `weight`'s */
    const fv_buffer *g, *at, *weight, *packed, *dx;
    size_t map_chunk, image_chunk;
} input_grad;

static void run_pack(void *arg, size_t piece, void *scratch) {
    (void)scratch;
    const input_grad *c = arg;
    fv_conv_weights w = c->weights;
    w.data = c->weight->data;
    const size_t begin = piece * c->map_chunk;
    c->kernels->pack(&c->desc, &w, c->packed->data, (fv_range){begin, fv_min_size(begin + c->map_chunk, (size_t)c->desc.maps)});
}

static void run_input_grad(void *arg, size_t piece, void *scratch) {
    const input_grad *c = arg;
    const size_t begin = piece * c->image_chunk;
    c->kernels->input_grad(&c->desc, c->packed->data, c->g->data, c->at->data, c->dx->data,
                           (fv_range){begin, fv_min_size(begin + c->image_chunk, (size_t)c->desc.images)}, scratch);
}

static fv_status grad_input_infer(fv_node *n, fv_value_info *values) {
    fv_infer_like(&values[n->out[0]], &values[n->in[3]]);
    return FV_OK;
}

static fv_status grad_input_plan(fv_plan_op *p) {
    enum { most_chunks = 32, packed_weights = 8192 };
    const fv_node *n = p->node;
    fv_conv_geometry g;
    fv_conv_pooled pooled;
    input_grad *c;
    FV_FORWARD(fv_plan_state(p, sizeof *c, (void **)&c));
    read_node(p, n->in[3], n->in[2], &g, &pooled);
    fv_conv_pooled_describe(&g, &pooled, &c->desc);
    c->kernels = &p->kernels->conv_pooled;
    c->weights = fv_conv_weight_strides(&g, &p->values[n->in[2]]);
    c->g = fv_plan_buffer(p, n->in[0]);
    c->at = fv_plan_buffer(p, n->in[1]);
    c->weight = fv_plan_buffer(p, n->in[2]);
    c->dx = fv_plan_buffer(p, n->out[0]);
    fv_buffer *packed;
    p->packed_bytes = c->kernels->packed_size(&c->desc) * sizeof(fv_real);
    FV_FORWARD(fv_plan_workspace(p, p->packed_bytes, &packed)); /* the weights are new at every step */
    c->packed = packed;
    p->algorithm = "scatter of places";
    p->flops = fv_conv_flops(&g);
    fv_plan_scratch(p, c->kernels->input_grad_scratch(&c->desc));
    const size_t of_map = (size_t)g.in_channels * (size_t)fv_conv_kernel_taps(&g);
    c->map_chunk = fv_max_size(1, packed_weights / of_map);
    c->image_chunk = fv_div_up((size_t)g.images, fv_min_size(most_chunks, (size_t)g.images));
    FV_FORWARD(fv_plan_phase(p, false, run_pack, c, fv_div_up((size_t)g.out_channels, c->map_chunk)));
    return fv_plan_phase(p, false, run_input_grad, c, fv_div_up((size_t)g.images, c->image_chunk));
}

const fv_op fv_op_conv_pooled_grad_input = {"conv_pooled_grad_input", 4, 4, 1, 0, grad_input_infer, grad_input_plan, NULL};
const fv_op fv_op_conv_pooled_grad_weight = {"conv_pooled_grad_weight", 4, 4, 2, 0, grad_weight_infer, grad_weight_plan, NULL};
