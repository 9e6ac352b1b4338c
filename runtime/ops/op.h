/* One operator, one file: how it infers shapes, plans its phases, and what graph its gradient is.
 * graph/ implements the functions that ops call back (fv_plan_*, fv_emit_*): declared here so that includes point down. */
#ifndef FV_OPS_OP_H
#define FV_OPS_OP_H

#include "ops/ir.h"
#include "parallel/parallel.h"

/* ---- infer: shapes in -> shapes out ---- */

/* values[i]: the graph's; node->in are known. Sets shape, dtype and layout of every out value (the builder made them), checks attributes and
 * resolves paddings. A batch of 0 stays 0. Errors name the node: fv_fail(..., "node \"%s\": ...", node->name, ...). */
typedef fv_status (*fv_infer_fn)(fv_node *node, fv_value_info *values);

/* ---- plan: descriptor, algorithm, memory, phases ---- */

/* Memory whose address the session sets before a run (arena, parameter, or the caller's tensor). Read .data inside phases only. */
typedef struct fv_buffer {
    void *data;
    size_t bytes;
} fv_buffer;

/* What changes from run to run, read by phases. */
typedef struct fv_run_info {
    uint64_t step;        /* training step, from 0 */
    uint32_t dropout_key[2];
    fv_real lr, correction1, correction2;
    fv_real momentum, beta2, epsilon, weight_decay, clip; /* constant in a trainer */
} fv_run_info;

typedef struct fv_plan fv_plan;

typedef struct fv_plan_op {
    fv_plan *plan;
    const fv_context *context;
    const fv_kernels *kernels;
    const fv_node *node;
    const fv_value_info *values; /* shapes with the batch filled in */
    const fv_run_info *run;      /* lives as long as the plan */
    bool training, lean; /* lean: the least memory */
    /* Filled in by the operator for explain: */
    const char *algorithm; /* static string */
    double flops;
    double work; /* FLOPs at the units' full rate that take as long as what is really done; 0: flops */
    size_t workspace_bytes, packed_bytes;
} fv_plan_op;

fv_buffer *fv_plan_buffer(const fv_plan_op *p, fv_value v); /* never NULL for a value of the node; NULL for FV_NONE */
/* Operator state, zeroed, freed with the plan. */
fv_status fv_plan_state(fv_plan_op *p, size_t bytes, void **out);
/* Arena memory that lives while this node runs. */
fv_status fv_plan_workspace(fv_plan_op *p, size_t bytes, fv_buffer **out);
/* Every thread's scratch will have at least so many bytes. */
void fv_plan_scratch(fv_plan_op *p, size_t bytes);
/* Packed weights. Inference with a parameter as `weight`: memory shared by all sessions of the model, found by (weight, key); *fresh says that this
 * plan must fill it, by phases with prepare = true, which run once. Otherwise (training, or a weight computed by the graph): arena memory that
 * lives while this node runs, *fresh is true and the filling phases must have prepare = *in_run == false. */
fv_status fv_plan_packed(fv_plan_op *p, fv_value weight, const void *key, size_t key_bytes, size_t bytes, fv_buffer **out,
                         bool *fresh, bool *in_run);
/* Which m of the candidates (F(m x m, 3x3), 0: direct) a product of p->node uses: -1: the one its cost says. */
fv_status fv_plan_algorithm(fv_plan_op *p, const int32_t *m, size_t count, int32_t *out);
/* Whether fv_plan_packed would say *in_run. */
bool fv_plan_packs_in_run(const fv_plan_op *p, fv_value weight);
fv_status fv_plan_phase(fv_plan_op *p, bool prepare, fv_piece_fn run, void *arg, size_t pieces);

typedef fv_status (*fv_plan_fn)(fv_plan_op *p);

/* ---- backward: the gradient as graph ---- */

/* graph: opaque here; values and nodes may move while nodes are emitted: use these functions. */
typedef struct fv_graph fv_graph;
const fv_value_info *fv_emit_info(const fv_graph *g, fv_value v);
/* Adds a node with `outs` new activation values (infer sets their shapes); returns the first, the rest follow it; FV_NONE on error (sticky in g).
 * attr may be NULL. */
fv_value fv_emit_node(fv_graph *g, const fv_op *op, const fv_value *in, int32_t in_count, int32_t outs, const fv_attributes *attr);

/* v as it is, or converted to the layout (graph.h: fv_graph_in_layout). */
fv_value fv_emit_in_layout(fv_graph *g, fv_value v, fv_layout layout);

typedef struct fv_backward {
    fv_graph *graph;
    const fv_node *node;  /* a copy: stays valid */
    const fv_value *dout; /* [out_count] gradient of each output, FV_NONE where nothing flows */
    const bool *wanted;   /* [in_count] whose gradient is needed */
    fv_value *din;        /* [in_count] filled by the operator; FV_NONE: zero */
} fv_backward;
typedef fv_status (*fv_backward_fn)(fv_backward *b);

/* ---- the operator ---- */

enum { FV_OP_IN_PLACE = 1 /* out[0] may share in[0]'s memory when that dies here */, FV_OP_IN_PLACE_SECOND = 2 /* ... in[1]'s */,
       FV_OP_EFFECT = 4 /* never dead: writes parameters or state */,
       FV_OP_ANY_LAYOUT = 8 /* takes its inputs as they lie and sets its outputs' layout itself */,
       FV_OP_NO_GRADIENT = 32 /* its outputs are indices, or chosen by values: nothing flows back, and no gradient check meets it; nor is there
                              * a gradient of samples of maps and of determinants */,
       FV_OP_PLAIN = 16 /* takes and gives every tensor in FV_PLAIN; without this and ANY_LAYOUT: activations of rank 4 channels last.
                         * fv_graph_node puts the conversions in */ };

struct fv_op {
    const char *name;
    int32_t in_min, in_max, out_count; /* outs beyond the first may be FV_NONE */
    unsigned flags;
    fv_infer_fn infer;
    fv_plan_fn plan;
    fv_backward_fn backward; /* NULL: no gradient */
};

/* Forward operators. Inputs -> outputs (see each file). */
extern const fv_op fv_op_conv;      /* x, weight (K,C/g,kh,kw), [bias (K)], [residual] -> y */
extern const fv_op fv_op_local;     /* x, weight (K,C,H',W',kh,kw) -> y */
extern const fv_op fv_op_untied_bias; /* x, bias (C,H,W) or (F) -> y */
extern const fv_op fv_op_conv_transpose; /* x, weight (C,K/g,kh,kw), [bias (K)] -> y */
extern const fv_op fv_op_linear;    /* x (N,F) or (N,C,H,W), weight (O,F), [bias (O)] -> y (N,O) */
extern const fv_op fv_op_pool;      /* x -> y, [index int32 dense (pixels, C): training with max] */
extern const fv_op fv_op_subtractive_norm; /* x -> y */
extern const fv_op fv_op_divisive_norm;    /* x -> y, sigma, c */
extern const fv_op fv_op_brightness_norm;  /* x -> y */
extern const fv_op fv_op_unary;     /* x -> y */
extern const fv_op fv_op_binary;    /* a, b of one shape -> y */
extern const fv_op fv_op_gain;      /* x, gain (C) -> y */
extern const fv_op fv_op_batch_norm; /* x, scale, bias, running mean, running variance (C) -> y, [mean, inverse deviation (C): training] */
extern const fv_op fv_op_group_norm; /* x, scale, bias (C) -> y, [mean, inverse deviation (N, groups): training] */
extern const fv_op fv_op_flatten;   /* x (N,C,H,W) -> (N,C*H*W) map by map */
extern const fv_op fv_op_layout;    /* x -> the same values in the other layout: out[0]'s layout is set by who emits it */
extern const fv_op fv_op_unpool;    /* x (N,C,h,w), positions (its shape) -> y (N,C,H,W) */
extern const fv_op fv_op_indices;   /* positions int32, places in a map -> indices int64 in the plain layout, places in the whole tensor */
extern const fv_op fv_op_positions; /* indices -> positions; -1 where an index lies outside its own map */
extern const fv_op fv_op_concat;    /* parts... (FV_NONE: zeros) -> y */
extern const fv_op fv_op_split;     /* x -> parts... */
extern const fv_op fv_op_slice;     /* x -> the second of three parts */
extern const fv_op fv_op_scale_maps;   /* x (N,C,H,W), s (N,C) or (N,C,1,1) -> y */
extern const fv_op fv_op_scale_pixels; /* x (N,C,H,W), m (N,1,H,W) -> y */
extern const fv_op fv_op_dropout;   /* x -> y; the identity outside training */
extern const fv_op fv_op_prelu;     /* x, slope (C) or (1) -> y */
extern const fv_op fv_op_softmax;   /* x (N,F) -> y */
extern const fv_op fv_op_log_softmax; /* x (N,F) -> y */
/* Losses: -> loss (N) one per row, dx (gradient of the reduced loss; with FV_REDUCTION_MEAN divided by N), correct int32 (N): 1 where the largest is the label. */
extern const fv_op fv_op_cross_entropy; /* x (N,F), labels int32 (N) or targets (N,F) -> loss, dx, correct */
extern const fv_op fv_op_squared_error; /* x, target of x's shape -> loss, dx */
/* Gradients: one op each, planned like any other. */
extern const fv_op fv_op_conv_grad_input;  /* dy, weight, x (for its shape) -> dx */
extern const fv_op fv_op_conv_grad_weight; /* dy, x, weight (for its shape and layout) -> dw, [db] */
extern const fv_op fv_op_local_grad_input, fv_op_local_grad_weight; /* as conv's, no bias */
extern const fv_op fv_op_untied_bias_grad;   /* dy, bias (for its shape and layout) -> dbias */
extern const fv_op fv_op_linear_grad_input, fv_op_linear_grad_weight; /* as conv's */
extern const fv_op fv_op_conv_transpose_grad_input;  /* dy, weight, x (for its shape) -> dx */
extern const fv_op fv_op_conv_transpose_grad_weight; /* dy, x, weight (for its shape) -> dw, [db] */
extern const fv_op fv_op_conv_pooled_grad_input;  /* dy of the pooled map, index, weight, x (for its shape) -> dx */
extern const fv_op fv_op_conv_pooled_grad_weight; /* dy of the pooled map, index, x, weight (shape and layout) -> dw, [db] */
extern const fv_op fv_op_subtractive_norm_grad; /* dy -> dx */
extern const fv_op fv_op_divisive_norm_grad;    /* dy, x, sigma, c -> dx */
extern const fv_op fv_op_brightness_norm_grad;  /* dy, x -> dx */
extern const fv_op fv_op_pool_grad;        /* dy, x (shape only, but for Lp), [index; Lp: y] -> dx */
extern const fv_op fv_op_unpool_grad;      /* dy, positions -> dx */
extern const fv_op fv_op_slice_grad;       /* dy -> dx, zero beside the slice */
extern const fv_op fv_op_scale_maps_grad;  /* dy, x, s -> dx, ds */
extern const fv_op fv_op_scale_pixels_grad; /* dy, x, m -> dx, dm */
extern const fv_op fv_op_unary_grad;       /* y, or x (fv_unary_keeps_input), dy -> dx; also undoes a fused clamp */
extern const fv_op fv_op_prelu_grad;       /* dy, x, slope -> dx, dslope */
extern const fv_op fv_op_gain_grad;        /* dy, x, gain -> dx, dgain */
extern const fv_op fv_op_batch_norm_grad, fv_op_group_norm_grad; /* dy, x, scale, bias, mean, inverse -> dx, dscale, dbias */
extern const fv_op fv_op_flatten_grad;     /* dy, x (shape only) -> dx */
extern const fv_op fv_op_softmax_grad;     /* y, dy -> dx */
extern const fv_op fv_op_log_softmax_grad; /* y, dy -> dx */
/* General tensors (ops/nd.h): attr.nd as the head of each file says. */
extern const fv_op fv_op_reshape;           /* x -> y */
extern const fv_op fv_op_transpose;         /* x -> y */
extern const fv_op fv_op_depth_to_space, fv_op_space_to_depth; /* x (N,C,H,W) -> y */
extern const fv_op fv_op_nd_slice;          /* x -> y */
extern const fv_op fv_op_nd_slice_grad;     /* dy, x (shape only) -> dx */
extern const fv_op fv_op_nd_concat;         /* parts... -> y */
extern const fv_op fv_op_expand;            /* x -> y */
extern const fv_op fv_op_reduce;            /* x -> y */
extern const fv_op fv_op_reduce_grad;       /* dy, x, y -> dx */
extern const fv_op fv_op_gather, fv_op_gather_elements, fv_op_gather_nd; /* data, indices -> y */
extern const fv_op fv_op_gather_grad;       /* dy, indices, data (shape only) -> ddata */
extern const fv_op fv_op_scatter_elements, fv_op_scatter_nd; /* data, indices, updates -> y */
extern const fv_op fv_op_arg;               /* x -> index */
extern const fv_op fv_op_top_k;             /* x -> values, index */
extern const fv_op fv_op_cumsum;            /* x -> y */
extern const fv_op fv_op_reverse_sequence;  /* x, lengths -> y */
extern const fv_op fv_op_pad;               /* x, [value] -> y */
extern const fv_op fv_op_tile;              /* x -> y */
extern const fv_op fv_op_map_grad;          /* dy, x (shape only) -> dx of pad and tile */
extern const fv_op fv_op_resize;            /* x -> y */
extern const fv_op fv_op_resize_grad;       /* dy, x (shape only) -> dx */
extern const fv_op fv_op_trilu;             /* x -> y */
extern const fv_op fv_op_one_hot;           /* indices, values -> y */
extern const fv_op fv_op_nms;               /* boxes, scores -> selected */
extern const fv_op fv_op_einsum;            /* x0, [x1] -> y */
extern const fv_op fv_op_grid_sample;       /* maps, grid -> y */
extern const fv_op fv_op_roi_align;         /* maps, regions, image -> y */
extern const fv_op fv_op_det;               /* x -> y */
/* x as another shape of as many elements. */
fv_value fv_emit_reshape(fv_graph *g, fv_value x, const fv_shape *shape);
/* Training. */
extern const fv_op fv_op_grad_norm; /* gradients... -> norm (1): global 2-norm in a fixed order */
extern const fv_op fv_op_update;    /* w, dw, [m], [v], [norm] -> nothing; writes w, m, v in place */

/* Every operator, NULL-terminated. */
extern const fv_op *const fv_op_registry[];

#endif
