/* The graph's data: values, nodes, attributes. One representation serves building, ONNX, rewriting, autodiff and
 * planning; forward, gradient and update nodes are the same kind of thing. Functions over whole graphs are in graph/.
 */
#ifndef FV_OPS_IR_H
#define FV_OPS_IR_H

#include "core/context.h"

typedef struct fv_op fv_op;

typedef struct fv_shape {
    int32_t rank;
    int64_t dim[FV_MAX_RANK]; /* logical: (N,C,H,W), (N,F); dim[0] 0 before a session chose the batch */
} fv_shape;

typedef enum fv_value_kind {
    FV_VALUE_ACTIVATION, /* made by a node, lives in the arena */
    FV_VALUE_INPUT,      /* the caller's, given at every run */
    FV_VALUE_PARAMETER,  /* data owned by the graph (or, in a trainer, by the trainer) */
    FV_VALUE_STATE       /* optimizer state: as a parameter, zero at first, never saved in models */
} fv_value_kind;

/* A physical layout of parameters besides FV_PLAIN: logical (O, I, taps) stored [taps][I][O]; what weight gradients
 * write and packing reads fastest. A linear layer over maps (C,H,W) has taps = H*W, I = C. Only inside trainers. */
#define FV_TAPS_LAST_OUT ((fv_layout)16)

typedef struct fv_value_info {
    char *name; /* may be NULL for values inside; owned by the graph */
    fv_value_kind kind;
    fv_dtype dtype;   /* FV_REAL_DTYPE; FV_I32 for labels, indices, counts; any for general tensors (ops/nd.h) */
    fv_layout layout; /* maps are FV_NHWC inside (rank 3 to 5: channels last); everything else FV_PLAIN */
    fv_shape shape;
    int32_t producer; /* node, -1: none */
    void *data;       /* parameters and state with given values; else NULL */
    bool shared;      /* data belong to somebody who outlives the graph */
    bool away;        /* data stand for numbers that were freed (graph/model.h: fv_packed_replace) */
    bool trainable;
    fv_init init;
    int64_t fan_in, fan_out; /* for init */
    int32_t taps;            /* of FV_TAPS_LAST_OUT */
    fv_value twin;           /* the same activation in the other layout, made when first needed; FV_NONE */
    uint8_t *edges; /* connection table of a weight (K,C,...): [K][C], 0 where its kernel is absent and stays zero;
                     * NULL: none is. Owned as data is */
    /* Inference: the value lies in the pixels of a concatenation, from a channel of it on; its pixels are as far apart
     * as those. */
    struct {
        bool is;
        fv_value whole;
        int64_t channel;
    } inside;
} fv_value_info;

/* Geometry in 3 axes z, y, x; 2-D has z = 1. */
typedef struct fv_window_attr {
    int32_t kernel[3], stride[3], dilation[3], pad_before[3], pad_after[3];
    int32_t output_padding[3]; /* of a transposed convolution: rows and columns after the last that an input reaches */
    fv_padding padding;        /* resolved into the pads by infer, which leaves it as given for files */
} fv_window_attr;

typedef struct fv_conv_attr {
    fv_window_attr window; /* kernel follows from the weight */
    int32_t groups;
    bool true_convolution;
    fv_real act_low, act_high; /* fused clamp; infinities: none */
    bool residual;             /* fused: the last input is added before the clamp */
    bool untied;               /* ... and is an untied bias, the same for every image */
    int32_t pooled_window[2];  /* y, x: of the max pooling that a pooled gradient goes through */
} fv_conv_attr;

typedef struct fv_pool_attr {
    fv_window_attr window;
    fv_pool_kind kind;
    bool ceil_mode, count_padding, global;
    bool places;      /* max: its index is the place in the map, and part of the graph */
    fv_real p, sigma; /* Lp; weighted */
} fv_pool_attr;

/* Subtractive and divisive normalization (kernels/contrast.h: fv_contrast_weights). */
typedef struct fv_contrast_attr {
    int32_t window; /* 1..FV_CONTRAST_WINDOW */
    fv_real sigma;  /* of the Gaussian; of a box 1 */
    bool across, box;
} fv_contrast_attr;
enum { FV_CONTRAST_WINDOW = 4095 };

typedef struct fv_brightness_attr {
    int32_t maps; /* in the window, 0: all */
    fv_real kappa, lambda, mu;
} fv_brightness_attr;
enum { FV_MOST_PARTS = 32 }; /* of a concatenation or a split */

/* One value and its parts along an axis. */
typedef struct fv_parts_attr {
    int32_t axis, count, size[FV_MOST_PARTS];
} fv_parts_attr;

typedef enum fv_nd_reduction {
    FV_ND_SUM,
    FV_ND_MEAN,
    FV_ND_MAX,
    FV_ND_MIN,
    FV_ND_PROD,
    FV_ND_L1,
    FV_ND_L2,
    FV_ND_LOG_SUM,
    FV_ND_LOG_SUM_EXP,
    FV_ND_SUM_SQUARE,
    FV_ND_REDUCTIONS
} fv_nd_reduction;
typedef enum fv_nd_pad { FV_ND_PAD_CONSTANT, FV_ND_PAD_REFLECT, FV_ND_PAD_EDGE, FV_ND_PAD_WRAP, FV_ND_TILE } fv_nd_pad;
typedef enum fv_scatter { FV_SCATTER_SET, FV_SCATTER_ADD, FV_SCATTER_MUL, FV_SCATTER_MAX, FV_SCATTER_MIN } fv_scatter;

/* Of operators on general tensors (ops/nd.h): what each means stands at the head of the operator's file. */
typedef struct fv_nd_attr {
    int32_t kind, mode, count; /* count: entries of a, b and c */
    bool keep, flag;
    fv_dtype dtype;
    int64_t a[FV_MAX_RANK], b[FV_MAX_RANK], c[FV_MAX_RANK];
    double alpha, beta;
} fv_nd_attr;

typedef union fv_attributes {
    fv_nd_attr nd;
    fv_conv_attr conv; /* conv, conv_transpose, linear, and their gradients */
    fv_pool_attr pool;
    fv_contrast_attr contrast;
    fv_brightness_attr brightness;
    struct {
        int32_t kind;
        fv_real a, b;
    } pointwise; /* fv_unary or fv_binary */
    struct {
        fv_real ratio;
        int32_t stream;
    } dropout; /* stream: number of the dropout node, for its random numbers */
    struct {
        fv_real smoothing;
        fv_reduction reduction;
        bool probabilities;
    } loss; /* of probabilities, not logits */
    struct {
        fv_real epsilon, momentum, act_low, act_high;
        int32_t groups;
        bool unbiased, batch_moments;
    } norm; /* clamp fused as conv's; momentum and unbiased: batch */
    struct {
        fv_optimizer optimizer;
        bool decay;
    } update;
    struct {
        int64_t shape[FV_MAX_RANK];
        int32_t rank;
    } reshape;
    fv_parts_attr parts; /* concat, split; slice and its gradient: three, of which the second is it */
    struct {
        int32_t height, width;
    } map; /* unpool, indices, positions */
} fv_attributes;

typedef struct fv_node {
    const fv_op *op;
    char *name; /* unique among forward nodes; owned by the graph */
    int32_t in_count, out_count;
    fv_value *in, *out; /* owned by the graph; FV_NONE: an optional input left out, an output nobody wants */
    fv_attributes attr;
} fv_node;

#endif
