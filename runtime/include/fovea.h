/** fovea: convolutional networks on CPUs, run and trained, from C.
 *
 *  In five lines: make a context; load or build a model; make a session; run it. To train: make a trainer on a model,
 *  step it over batches, take its model back and save it as ONNX.
 *
 *  Conventions. Every function that can fail returns fv_status; on failure outputs are untouched unless said otherwise and
 *  fv_last_error() gives one sentence. `free` functions take NULL. Shapes are logical (N,C,H,W) whatever the layout of the data.
 *  Objects keep what they were made from alive (a session its model, a model its context), so they may be freed in any order.
 *  Settings structs are filled by their `_default` function first, then changed.
 *  Nothing here prints, exits or aborts on input. */
#ifndef FOVEA_H
#define FOVEA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#if defined(__GNUC__)
#define FV_API __attribute__((visibility("default")))
#else
#define FV_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* ---- Version, status ------------------------------------------------------------------------------------------------- */

#define FV_VERSION_MAJOR 0
#define FV_VERSION_MINOR 1
#define FV_VERSION_PATCH 0

/** "0.1.0". Static. */
FV_API const char *fv_version(void);

typedef enum fv_status {
    FV_OK = 0,
    FV_ERR_ARGUMENT = 10, /**< NULL, out of range, unknown name */
    FV_ERR_SHAPE = 11,    /**< shapes that do not fit together or differ from the plan */
    FV_ERR_STATE = 12,    /**< call not allowed now */
    FV_ERR_BUSY = 13,     /**< two threads on one session */
    FV_ERR_FULL = 14,     /**< a batcher's queue has no room: try later, or elsewhere */
    FV_ERR_CANCELLED = 15,/**< a request was taken back */
    FV_ERR_DEADLINE = 16, /**< a request had not begun to run by its deadline, or a wait took as long as it may */
    FV_ERR_MEMORY = 20,   /**< the allocator said no */
    FV_ERR_LIMIT = 21,    /**< a size overflows or passes a limit */
    FV_ERR_IO = 30,       /**< the system refused a file operation */
    FV_ERR_NOT_FOUND = 31,/**< file, data set, image */
    FV_ERR_FORMAT = 40,   /**< a file that is not what it should be */
    FV_ERR_UNSUPPORTED = 41, /**< legal, but not built in or not implemented: the message names it */
    FV_ERR_THREAD = 50    /**< a thread could not be made */
} fv_status;

/** The sentence of the calling thread's last failed call. Never NULL; valid until that thread's next failing call. */
FV_API const char *fv_last_error(void);
/** "FV_ERR_SHAPE" and so on; "unknown status" for others. Static. */
FV_API const char *fv_status_name(fv_status s);

/* ---- Context --------------------------------------------------------------------------------------------------------- */

typedef struct fv_context fv_context;

typedef enum fv_backend { FV_BACKEND_OPENMP = 0, FV_BACKEND_PTHREADS = 1, FV_BACKEND_SERIAL = 2 } fv_backend;
typedef enum fv_log_level { FV_LOG_DEBUG = 0, FV_LOG_INFO = 1, FV_LOG_WARNING = 2 } fv_log_level;

typedef struct fv_context_settings {
    fv_backend backend;  /**< default: pthreads; openmp shares its team with a host that uses OpenMP */
    int threads;         /**< 0: as many as the affinity mask and the cgroup quota allow */
    const char *isa;     /**< NULL: $FOVEA_ISA if set, else the best; "scalar", "avx2", "neon" cap it */
    size_t memory_limit; /**< bytes one object may allocate at once; 0: none */
    /** All memory goes through these; NULL: the C library. alloc gets a power-of-two alignment of at most 64. */
    void *(*alloc)(void *user, size_t bytes, size_t alignment);
    void (*free)(void *user, void *memory);
    void *alloc_user;
    void (*log)(void *user, fv_log_level level, const char *sentence); /**< NULL: silent */
    void *log_user;
    bool no_winograd; /**< 3x3 convolutions by their direct sum alone: slower, less rounding (kernels/winograd.h) */
    /** Sessions run one image at a time: an image's bits do not depend on the batch it travels in, nor on its place there. A session of more
     *  than one image is refused (FV_ERR_UNSUPPORTED) where layers may mix images, where the file fixes the batch, and for models that are
     *  planned anew for each shape. Training is not affected. */
    bool batch_invariant;
    /** Runs use every thread they may. Else a plan that is faster on fewer, by what its shapes say, is run on those: a small network on the
     *  calling thread alone. Answers are the same bits either way. */
    bool all_threads;
    int32_t model_nodes; /**< nodes a model file may hold, those of functions and branches counted wherever they are used; 0: 1,000,000 */
    int32_t model_depth; /**< how deep its messages, functions and branches may lie in each other, at most 256; 0: 32 */
    unsigned char reserved[52];
} fv_context_settings;

FV_API void fv_context_settings_default(fv_context_settings *s);
/** @param s NULL: the defaults. @return FV_ERR_ARGUMENT for an ISA this CPU lacks or a backend not built in, or thread count outside 0..1024. */
FV_API fv_status fv_context_create(const fv_context_settings *s, fv_context **out);
FV_API void fv_context_free(fv_context *c);

typedef struct fv_cpu_info {
    char name[64];
    const char *isa;       /**< chosen for this context */
    char isas[64];         /**< every ISA built in and offered by this CPU, separated by spaces */
    const char *backend;   /**< "openmp", "pthreads", "serial" */
    int threads;           /**< of this context */
    int cpus;              /**< in the affinity mask */
    double quota;          /**< CPUs the cgroup allows, 0: unlimited */
    size_t l1, l2, l3;     /**< bytes, 0 where unknown */
} fv_cpu_info;

FV_API fv_status fv_context_info(const fv_context *c, fv_cpu_info *out);

typedef struct fv_peak {
    double gflops;          /**< fused multiply-adds from registers, one core, float32, this context's ISA */
    double clock_ghz;       /**< seen by a chain of dependent integer additions in the same call */
    double flops_per_cycle; /**< gflops / clock_ghz: 32 is the limit of a core with two 8-wide FMA units */
    bool valid;             /**< AVX2: flops_per_cycle >= 0.97 * 32 */
} fv_peak;

/** Measures the calling core for about `seconds` (0: 0.1). */
FV_API fv_status fv_measure_peak(const fv_context *c, double seconds, fv_peak *out);

/* ---- Tensors --------------------------------------------------------------------------------------------------------- */

#define FV_MAX_RANK 8

/** Element types. Networks compute in FV_F32; the others carry labels, indices, conditions, quantized values and what a Cast makes. */
typedef enum fv_dtype {
    FV_F32 = 0,
    FV_I32 = 1,
    FV_U8 = 2,
    FV_F64 = 3,
    FV_I64 = 4,
    FV_BOOL = 5, /**< one byte, 0 or 1 */
    FV_I8 = 6,
    FV_I16 = 7,
    FV_U16 = 8,
    FV_U32 = 9,
    FV_U64 = 10,
    FV_F16 = 11 /**< IEEE binary16 in a uint16_t */
} fv_dtype;
typedef enum fv_layout {
    FV_PLAIN = 0, /**< row-major in the logical order: NCHW for maps */
    FV_NHWC = 1   /**< channels last; shape is still (N,C,H,W) */
} fv_layout;

/** A view: describes memory somebody else owns. */
typedef struct fv_tensor {
    fv_dtype dtype;
    fv_layout layout;
    int32_t rank;
    int64_t shape[FV_MAX_RANK];
    void *data;
} fv_tensor;

/** Elements of a shape. @return FV_ERR_SHAPE for a bad rank or a negative size, FV_ERR_LIMIT on overflow of elements or bytes. */
FV_API fv_status fv_tensor_count(const fv_tensor *t, size_t *out);
FV_API size_t fv_dtype_bytes(fv_dtype t); /**< of one element; 0: no such type */
FV_API const char *fv_dtype_name(fv_dtype t); /**< "float32", "int64", ...; "unknown" */

/* ---- Graphs: building a network -------------------------------------------------------------------------------------- */

typedef struct fv_graph fv_graph;
/** A value of a graph; negative: none. Builder functions return -1 after any error and the graph remembers the first one, so a
 *  chain of calls needs one check at its end (fv_graph_status or fv_model_create). */
typedef int32_t fv_value;
#define FV_NONE ((fv_value)-1)

FV_API fv_status fv_graph_create(fv_context *c, fv_graph **out);
FV_API void fv_graph_free(fv_graph *g);
/** FV_OK, or the first builder error; its sentence is then fv_last_error(). */
FV_API fv_status fv_graph_status(const fv_graph *g);

/** An input of logical shape (N,C,H,W) or (N,F). shape[0] may be 0: the batch, chosen by the session. */
FV_API fv_value fv_graph_input(fv_graph *g, const char *name, int32_t rank, const int64_t *shape);
FV_API fv_status fv_graph_output(fv_graph *g, fv_value v, const char *name);

typedef enum fv_init {
    FV_INIT_HE,     /**< uniform in +-sqrt(6/fan_in) */
    FV_INIT_XAVIER, /**< uniform in +-sqrt(6/(fan_in+fan_out)) */
    FV_INIT_LECUN,  /**< uniform in +-sqrt(3/fan_in) */
    FV_INIT_ZEROS,
    FV_INIT_ONES
} fv_init;

/** A learned tensor. data NULL: initialized by `init` when the model is made; else copied (plain layout). trainable false: a constant. */
FV_API fv_value fv_graph_parameter(fv_graph *g, const char *name, int32_t rank, const int64_t *shape, const float *data,
                                   fv_init init, bool trainable);

typedef enum fv_padding { FV_PAD_EXPLICIT = 0, FV_PAD_VALID, FV_PAD_SAME_UPPER, FV_PAD_SAME_LOWER } fv_padding;

/** SPEC section 1: none, one number a map, or one a map and position (the lecture's matrix B). */
typedef enum fv_bias { FV_BIAS_NONE = 0, FV_BIAS_TIED = 1, FV_BIAS_UNTIED = 2 } fv_bias;

/** SPEC section 1. Arrays are y, x. */
typedef struct fv_conv_settings {
    int32_t out_channels;
    int32_t kernel[2], stride[2], dilation[2];
    int32_t pad_before[2], pad_after[2];
    fv_padding padding;    /**< explicit: the pads above */
    int32_t groups;
    fv_bias bias;
    bool true_convolution; /**< kernel rotated by 180 degrees */
    fv_init init;
    /** Connection table, SPEC section 1: [out_channels][C] of 0 and 1, whether an input map feeds an output map; one group only. Copied.
     *  The kernel of an absent edge is zeros that no training step changes, has no gradient, and is no parameter of
     *  fv_model_weight_count. (It is multiplied: an infinite input gives NaN through it.) NULL: every map feeds every map. */
    const uint8_t *connections;
} fv_conv_settings;

/** kernel 3x3, stride 1, no padding, one group, tied bias, HE. */
FV_API void fv_conv_settings_default(fv_conv_settings *s);
/** x (N,C,H,W) -> (N,out_channels,H',W'). Makes parameters NAME.weight (out,in/groups,kh,kw) and NAME.bias (out),
 *  or untied (out,H',W'): then the graph has a second node, NAME.untied, which runs as part of the convolution. */
FV_API fv_value fv_graph_conv(fv_graph *g, fv_value x, const fv_conv_settings *s, const char *name);
/** The same with given values: weight (K,C/groups,kh,kw), bias (K) or untied (K,H',W') or FV_NONE. out_channels, kernel and bias of s are ignored. */
FV_API fv_value fv_graph_conv_with(fv_graph *g, fv_value x, fv_value weight, fv_value bias, const fv_conv_settings *s,
                                   const char *name);
/** x + NAME.bias (C,H,W) in every image (SPEC section 1: the untied bias), for vectors NAME.bias (F). Starts at 0. */
FV_API fv_value fv_graph_untied_bias(fv_graph *g, fv_value x, const char *name);
FV_API fv_value fv_graph_untied_bias_with(fv_graph *g, fv_value x, fv_value bias, const char *name);
/** A convolution without sharing (SPEC section 1, the lecture's equations 1 and 2): an own kernel at every position. x (N,C,H,W) ->
 *  (N,out_channels,H',W'), NAME.weight (out,C,H',W',kh,kw); with any kind of bias, one a unit: NAME.bias (out,H',W'), added by a
 *  second node, NAME.untied. One group, no connection table. */
FV_API fv_value fv_graph_local(fv_graph *g, fv_value x, const fv_conv_settings *s, const char *name);
/** The same with given values, bias FV_NONE or (K,H',W'). out_channels, kernel, bias and init of s are ignored. */
FV_API fv_value fv_graph_local_with(fv_graph *g, fv_value x, fv_value weight, fv_value bias, const fv_conv_settings *s,
                                    const char *name);
/** Transposed convolution, SPEC section 2: the transpose of the convolution with these settings, from its output to its input. Arrays are
 *  y, x. An output side is (side - 1)*stride - pad_before - pad_after + dilation*(kernel - 1) + 1 + output_padding. */
typedef struct fv_conv_transpose_settings {
    int32_t out_channels;
    int32_t kernel[2], stride[2], dilation[2];
    int32_t pad_before[2], pad_after[2]; /**< cut off the output */
    int32_t output_padding[2]; /**< added after the last row and column; below the larger of stride and dilation */
    fv_padding padding;        /**< explicit: the pads above; SAME: pads that make the output side the input's times the stride */
    int32_t groups;
    bool bias;
    bool true_convolution;     /**< the transpose of a true convolution: kernel rotated by 180 degrees */
    fv_init init;              /**< HE and LECUN count as fan-in the weights that meet in one output, on average */
    unsigned char reserved[32];
} fv_conv_transpose_settings;

/** kernel 3x3, stride 1, no padding, one group, bias, HE. */
FV_API void fv_conv_transpose_settings_default(fv_conv_transpose_settings *s);
/** x (N,C,H,W) -> (N,out_channels,H',W'). Makes parameters NAME.weight (C,out_channels/groups,kh,kw), as ONNX has it, and NAME.bias
 *  (out_channels). */
FV_API fv_value fv_graph_conv_transpose(fv_graph *g, fv_value x, const fv_conv_transpose_settings *s, const char *name);
/** The same with given values: weight (C,K/groups,kh,kw), bias (K) or FV_NONE. out_channels, kernel and bias of s are ignored. */
FV_API fv_value fv_graph_conv_transpose_with(fv_graph *g, fv_value x, fv_value weight, fv_value bias,
                                             const fv_conv_transpose_settings *s, const char *name);
/** Fully connected, SPEC section 6: x (N,F), or maps (N,C,H,W) flattened map by map -> (N,out). NAME.weight (out,F), NAME.bias (out). */
FV_API fv_value fv_graph_linear(fv_graph *g, fv_value x, int32_t out_features, bool bias, fv_init init, const char *name);
FV_API fv_value fv_graph_linear_with(fv_graph *g, fv_value x, fv_value weight, fv_value bias, const char *name);

typedef enum fv_pool_kind {
    FV_POOL_MAX = 0,
    FV_POOL_AVERAGE = 1,
    FV_POOL_LP = 2,       /**< (sum of |x|^p)^(1/p) */
    FV_POOL_WEIGHTED = 3, /**< sum of w x, w a Gaussian in the distance from the window's centre, of sum 1; padding counts as 0 */
    FV_POOL_STRIDE = 4    /**< keeps every r-th row and t-th column, from the first on: stride alone counts, and 1x1 is x itself */
} fv_pool_kind;

/** SPEC section 5. Arrays are y, x. */
typedef struct fv_pool_settings {
    fv_pool_kind kind;
    int32_t window[2], stride[2], dilation[2];
    int32_t pad_before[2], pad_after[2];
    fv_padding padding;
    bool ceil_mode;
    bool count_padding; /**< average: ONNX count_include_pad */
    bool global;        /**< the window is the whole map; the other sizes are ignored. max, average and Lp */
    float p;            /**< Lp: 1 to 1000; default 2 */
    float sigma;        /**< weighted: of the Gaussian, in pixels; 0 (default): a quarter of the larger side of the window */
} fv_pool_settings;

/** max, window and stride 2x2, no padding. */
FV_API void fv_pool_settings_default(fv_pool_settings *s);
/** (N,C,H,W) -> (N,C,h,w). Lp's gradient is dY sgn(x) (|x|/Y)^(p-1), 0 where Y = 0. Dilation: max, Lp and weighted; ONNX has none for Lp and
 *  no p but whole ones: a model with such a layer cannot be saved. */
FV_API fv_value fv_graph_pool(fv_graph *g, fv_value x, const fv_pool_settings *s, const char *name);
/** Max pooling that also tells where each value was: *indices is (N,C,h,w) of int64, for fv_graph_max_unpool and as an output of the graph, where
 *  it lies in the plain layout (also in sessions whose other outputs are FV_NHWC) and counts as ONNX does: ((n*C + c)*H + y)*W + x. -1: a window
 *  without input. */
FV_API fv_value fv_graph_max_pool_indices(fv_graph *g, fv_value x, const fv_pool_settings *s, fv_value *indices, const char *name);
/** x (N,C,h,w) and indices of its shape -> (N,C,height,width), zero but for each value of x at the place its index names in that output. Of values
 *  with one place the last in row-major order stays, and it alone has the gradient. An index outside its own map keeps nothing. */
FV_API fv_value fv_graph_max_unpool(fv_graph *g, fv_value x, fv_value indices, int32_t height, int32_t width, const char *name);
/** An input of int64 indices (N,C,h,w), given in the plain layout. shape[0] may be 0. */
FV_API fv_value fv_graph_input_indices(fv_graph *g, const char *name, const int64_t shape[4]);

/** Values joined along an axis (1: maps); they agree in all other sizes. 1 to 32 of them. The batch (axis 0) cannot be joined. */
FV_API fv_value fv_graph_concat(fv_graph *g, const fv_value *x, int32_t count, int32_t axis, const char *name);
/** x cut along an axis into `count` parts (1 to 32) of the given sizes, which together are x's; parts[count] gets them. */
FV_API fv_status fv_graph_split(fv_graph *g, fv_value x, int32_t axis, int32_t count, const int32_t *sizes, fv_value *parts, const char *name);
/** Places begin to begin + size of an axis: a range of maps with axis 1. The whole axis is x itself. */
FV_API fv_value fv_graph_slice(fv_graph *g, fv_value x, int32_t axis, int32_t begin, int32_t size, const char *name);

/** Attention over maps (squeeze-and-excitation's last step, SPEC section 7): x (N,C,H,W) times s (N,C), or (N,C,1,1), one factor an image and
 *  map. Both have gradients. */
FV_API fv_value fv_graph_scale_maps(fv_graph *g, fv_value x, fv_value s, const char *name);
/** A spatial mask: x (N,C,H,W) times m (N,1,H,W), one factor an image and pixel. Both have gradients. */
FV_API fv_value fv_graph_scale_pixels(fv_graph *g, fv_value x, fv_value m, const char *name);

/** Windows of subtractive and divisive normalization, SPEC section 4. */
typedef struct fv_contrast_settings {
    int32_t window;   /**< side, 1..4095; the part of it outside the map is left out and the rest scaled up again to sum 1 */
    float sigma;      /**< of the Gaussian in pixels, 0: window/4 */
    bool box;         /**< all weights alike; sigma is ignored */
    bool across_maps; /**< one mean or spread a pixel for all maps; false: each map by itself */
} fv_contrast_settings;

/** Gaussian of 9x9, sigma window/4, across maps. */
FV_API void fv_contrast_settings_default(fv_contrast_settings *s);
/** x (N,C,H,W) -> x less its mean under the window, of the same shape: an input of one constant gives 0 to rounding, borders included.
 *  An even window reaches one pixel further down and to the right. In ONNX files a function of domain "fovea". */
FV_API fv_value fv_graph_subtractive_norm(fv_graph *g, fv_value x, const fv_contrast_settings *s, const char *name);
/** x (N,C,H,W) -> x / max(c, sigma), of the same shape: sigma^2 is the mean of x^2 under the window (across maps: and over the maps), c
 *  the mean of sigma over the image, or over the map. Both have gradients; where sigma equals c it is c's, where sigma is 0 it has none.
 *  0 where both are 0. In ONNX files a function of domain "fovea". */
FV_API fv_value fv_graph_divisive_norm(fv_graph *g, fv_value x, const fv_contrast_settings *s, const char *name);

/** SPEC section 4. ONNX's LRN has lambda = alpha / maps: a file keeps a lambda that is no such quotient to one rounding. */
typedef struct fv_brightness_settings {
    float kappa, lambda, mu; /**< kappa > 0, the others >= 0; mu of 1, 1/2 and 3/4 cost no exp and log */
    int32_t maps;            /**< neighbours in the window, itself among them: (maps-1)/2 before, maps/2 after; 0: all maps */
} fv_brightness_settings;

/** 1, 1e-4, 0.75, all maps. */
FV_API void fv_brightness_settings_default(fv_brightness_settings *s);
/** x (N,C,H,W) -> x / (kappa + lambda * the sum of x^2 over the window of maps)^mu, of the same shape. ONNX LRN. */
FV_API fv_value fv_graph_brightness_norm(fv_graph *g, fv_value x, const fv_brightness_settings *s, const char *name);

FV_API fv_value fv_graph_relu(fv_graph *g, fv_value x, const char *name);
FV_API fv_value fv_graph_sigmoid(fv_graph *g, fv_value x, const char *name);
FV_API fv_value fv_graph_tanh(fv_graph *g, fv_value x, const char *name);
FV_API fv_value fv_graph_exp(fv_graph *g, fv_value x, const char *name);
/** min(max(x, low), high). */
FV_API fv_value fv_graph_clip(fv_graph *g, fv_value x, float low, float high, const char *name);
/** a*x + b. */
FV_API fv_value fv_graph_scale(fv_graph *g, fv_value x, float a, float b, const char *name);
/** SPEC section 3. ln(1+e^{kx})/k, finite for every finite x; tends to ReLU as k grows. k > 0. */
FV_API fv_value fv_graph_softplus(fv_graph *g, fv_value x, float k, const char *name);
/** Rectification: |x|; its gradient at 0 is 0. */
FV_API fv_value fv_graph_abs(fv_graph *g, fv_value x, const char *name);
/** Smooth rectification, 0 at 0: |x| + (2/k)(ln(1+e^{-k|x|}) - ln 2), within 3 * 2^-23 |x|; tends to |x| as k grows. k > 0. */
FV_API fv_value fv_graph_smooth_abs(fv_graph *g, fv_value x, float k, const char *name);
/** A surrogate gradient: max(0,x) forwards, and backwards the derivative of softplus(k), 1/(1+e^{-kx}). k > 0. */
FV_API fv_value fv_graph_relu_surrogate(fv_graph *g, fv_value x, float k, const char *name);
/** x > 0 ? x : slope*x. */
FV_API fv_value fv_graph_leaky_relu(fv_graph *g, fv_value x, float slope, const char *name);
/** x > 0 ? x : slope*x with learned slopes, NAME.slope, that start at 0.25: one a map (axis 1), (C), or a single one, (1). */
FV_API fv_value fv_graph_prelu(fv_graph *g, fv_value x, bool one_a_map, const char *name);
FV_API fv_value fv_graph_prelu_with(fv_graph *g, fv_value x, fv_value slope, const char *name);
/** x > 0 ? x : alpha*(e^x - 1). */
FV_API fv_value fv_graph_elu(fv_graph *g, fv_value x, float alpha, const char *name);
#define FV_SELU_ALPHA 1.67326324235437728481f
#define FV_SELU_GAMMA 1.05070098735548049342f
/** gamma times ELU of alpha, with the two constants above or with others. */
FV_API fv_value fv_graph_selu(fv_graph *g, fv_value x, const char *name);
FV_API fv_value fv_graph_selu_with(fv_graph *g, fv_value x, float alpha, float gamma, const char *name);
/** x/2 (1 + erf(x/sqrt 2)); by_tanh: x/2 (1 + tanh(sqrt(2/pi)(x + 0.044715 x^3))). */
FV_API fv_value fv_graph_gelu(fv_graph *g, fv_value x, bool by_tanh, const char *name);
/** Swish: x/(1+e^-x). */
FV_API fv_value fv_graph_silu(fv_graph *g, fv_value x, const char *name);
/** x tanh(ln(1+e^x)). */
FV_API fv_value fv_graph_mish(fv_graph *g, fv_value x, const char *name);
/** min(max(a*x + b, 0), 1). PyTorch's is a = 1/6, b = 1/2; ONNX's default a = 0.2, b = 1/2. */
FV_API fv_value fv_graph_hard_sigmoid(fv_graph *g, fv_value x, float a, float b, const char *name);
/** x min(max(x/6 + 1/2, 0), 1). */
FV_API fv_value fv_graph_hard_swish(fv_graph *g, fv_value x, const char *name);
/** x/(1+|x|). */
FV_API fv_value fv_graph_softsign(fv_graph *g, fv_value x, const char *name);
FV_API fv_value fv_graph_erf(fv_graph *g, fv_value x, const char *name);
/** One factor a map (axis 1), NAME.gain (C), starts at 1. */
FV_API fv_value fv_graph_gain(fv_graph *g, fv_value x, bool trainable, const char *name);
FV_API fv_value fv_graph_gain_with(fv_graph *g, fv_value x, fv_value gain, const char *name);
/** SPEC section 7. */
typedef struct fv_norm_settings {
    float epsilon;                  /**< added to variances; default 1e-5 */
    float momentum;                 /**< what a training step takes of its batch: running = (1 - momentum)*running + momentum*batch, as
                                         PyTorch counts it; ONNX's momentum is 1 minus this. Default 0.1 */
    bool unbiased_running_variance; /**< the running variance takes the batch's sum of squares over n - 1, as PyTorch (a batch of one
                                         value over 1); default: over n, as ONNX */
    bool batch_moments;             /**< sessions too take the batch's own moments: ONNX's training_mode 1. Default false */
} fv_norm_settings;

FV_API void fv_norm_settings_default(fv_norm_settings *s);
/** Batch normalization of (N,C,H,W) over N, H and W, or of (N,F) over N: y = scale*(x - mean)/sqrt(variance + epsilon) + bias a channel.
 *  Training takes the batch's own mean and (biased) variance and moves the running ones; everything else takes the running ones, folded
 *  into a convolution or fully connected layer before it where that has no other reader. Makes the parameters NAME.scale (C) of ones,
 *  NAME.bias (C) of zeros, and NAME.running_mean and NAME.running_variance (C), which are saved with the model but not trainable.
 *  s NULL: the defaults. */
FV_API fv_value fv_graph_batch_norm(fv_graph *g, fv_value x, const fv_norm_settings *s, const char *name);
/** The same with given parameters, each (C); the running ones become not trainable. */
FV_API fv_value fv_graph_batch_norm_with(fv_graph *g, fv_value x, fv_value scale, fv_value bias, fv_value running_mean,
                                         fv_value running_variance, const fv_norm_settings *s, const char *name);
/** Group normalization of (N,C,H,W) or (N,F): of every image, each of `groups` runs of C/groups channels has its own mean and (biased)
 *  variance over channels and pixels; then scale and bias a channel. Makes NAME.scale (C) of ones and NAME.bias (C) of zeros. */
FV_API fv_value fv_graph_group_norm(fv_graph *g, fv_value x, int32_t groups, float epsilon, const char *name);
FV_API fv_value fv_graph_group_norm_with(fv_graph *g, fv_value x, fv_value scale, fv_value bias, int32_t groups, float epsilon,
                                         const char *name);
/** Layer normalization: all channels and pixels of an image together (one group); scale and bias a channel (of (N,F): a feature). */
FV_API fv_value fv_graph_layer_norm(fv_graph *g, fv_value x, float epsilon, const char *name);
/** Instance normalization of maps: each map of each image by itself (C groups). */
FV_API fv_value fv_graph_instance_norm(fv_graph *g, fv_value x, float epsilon, const char *name);
/** Same shapes. */
FV_API fv_value fv_graph_add(fv_graph *g, fv_value a, fv_value b, const char *name);
FV_API fv_value fv_graph_subtract(fv_graph *g, fv_value a, fv_value b, const char *name);
FV_API fv_value fv_graph_multiply(fv_graph *g, fv_value a, fv_value b, const char *name);
/** (N,C,H,W) -> (N,C*H*W), map by map. */
FV_API fv_value fv_graph_flatten(fv_graph *g, fv_value x, const char *name);
/** Zeroes a share `ratio` in training and scales the rest by 1/(1-ratio); the identity otherwise. 0 <= ratio < 1. */
FV_API fv_value fv_graph_dropout(fv_graph *g, fv_value x, float ratio, const char *name);
/** Over axis 1 of (N,F). */
FV_API fv_value fv_graph_softmax(fv_graph *g, fv_value x, const char *name);
/** ln of softmax, over axis 1 of (N,F), stable for values of any size. */
FV_API fv_value fv_graph_log_softmax(fv_graph *g, fv_value x, const char *name);

/** The matrix T of a convolution without bias (SPEC section 1), row-major: vec(Y) = T vec(X) for one image, maps one after the other,
 *  row by row. Its transpose is the matrix of the transposed convolution and of the data gradient. kernel, stride, dilation, padding,
 *  groups, out_channels, true_convolution and connections of s count. rows: out_channels*H'*W'; columns: channels*height*width.
 *  @return FV_ERR_LIMIT where the matrix is larger than memory can be. */
FV_API fv_status fv_toeplitz_size(const fv_conv_settings *s, int64_t channels, int64_t height, int64_t width, size_t *rows, size_t *columns);
/** Writes it. @param weight (out_channels,channels/groups,kh,kw) @param count rows*columns, the floats that `matrix` has room for.
 *  Where padding or a gap lies, 0. @return FV_ERR_SHAPE for another count. */
FV_API fv_status fv_toeplitz(const fv_conv_settings *s, const float *weight, int64_t channels, int64_t height, int64_t width, float *matrix,
                             size_t count);

/* ---- Models ---------------------------------------------------------------------------------------------------------- */

/** An immutable network with its parameters. Any number of threads and sessions may share one. */
typedef struct fv_model fv_model;

/** Copies the graph; parameters without data are initialized from `seed`. The graph stays the caller's. */
FV_API fv_status fv_model_create(const fv_graph *g, uint64_t seed, fv_model **out);
FV_API void fv_model_free(fv_model *m);

typedef struct fv_zoo_settings {
    int32_t classes;                  /**< 0: the network's own */
    int32_t channels, height, width;  /**< 0: the network's own */
    uint64_t seed;
} fv_zoo_settings;

FV_API void fv_zoo_settings_default(fv_zoo_settings *s);
/** `name` of a built-in network, for example "lenet5"; fv_zoo_name lists them all. Their outputs are logits (N,classes), but for
 *  "autoencoder": images 0..1 of the input's shape, to be trained by squared error against images without noise; classes mean nothing
 *  to it.
 *  @return FV_ERR_NOT_FOUND naming the ones there are. */
FV_API fv_status fv_model_zoo(fv_context *c, const char *name, const fv_zoo_settings *s, fv_model **out);
/** Name of the i-th, its sentence in *about (may be NULL); NULL past the end. Static. */
FV_API const char *fv_zoo_name(size_t i, const char **about);

/** Reads an ONNX file. Parameters are trainable but those that fv_model_save wrote as constants (metadata "fovea.constant:NAME", which
 *  others ignore) and running moments. @return FV_ERR_UNSUPPORTED naming every node that cannot run, at once. */
FV_API fv_status fv_model_load(fv_context *c, const char *path, fv_model **out);
/** Writes ONNX beside `path` and renames: an existing file is replaced whole or not at all. Operator set 17, or the first that has
 *  every operator of the model. A model of open sizes that is planned anew for each shape is written as it was read, the values of
 *  other files put in. @return FV_ERR_UNSUPPORTED naming the node and the operator that has no ONNX form. */
FV_API fv_status fv_model_save(const fv_model *m, const char *path);

FV_API size_t fv_model_input_count(const fv_model *m);
FV_API size_t fv_model_output_count(const fv_model *m);
/** Name (owned by the model) and shape (shape[0] 0: the batch; data NULL) of an input or output. */
FV_API fv_status fv_model_input(const fv_model *m, size_t i, const char **name, fv_tensor *shape);
FV_API fv_status fv_model_output(const fv_model *m, size_t i, const char **name, fv_tensor *shape);
/** The first output is a softmax: probabilities, not logits. */
FV_API bool fv_model_gives_probabilities(const fv_model *m);
FV_API size_t fv_model_parameter_count(const fv_model *m);
/** Name and values, plain layout, of parameter i; owned by the model, do not write. */
FV_API fv_status fv_model_parameter(const fv_model *m, size_t i, const char **name, fv_tensor *view, bool *trainable);
/** Numbers that training can change: the elements of the trainable parameters, less the kernels that connection tables leave out. */
FV_API size_t fv_model_weight_count(const fv_model *m);
/* New models from old ones: the old one is not changed, parameters are copied. */

/** The model with every activation among its outputs: its own outputs first, in their order, then the first output of every other node in
 *  the order they run, named after its node (NAME:1 where something else has that name). A dropout's output is its input and is left out.
 *  For looking inside: layers are not fused then. */
FV_API fv_status fv_model_expose(const fv_model *m, fv_model **out);
/** The model with the parameters whose names match `pattern` (as a shell does: * ? [...]; '.' and '/' are ordinary) as constants, which
 *  training leaves alone. *matched, where not NULL: how many. @return FV_ERR_NOT_FOUND if none matches. */
FV_API fv_status fv_model_freeze(const fv_model *m, const char *pattern, size_t *matched, fv_model **out);
/** The model with its last fully connected layer replaced by one of `outputs` outputs: weights from `seed` (FV_INIT_LECUN), bias 0, names
 *  kept. @return FV_ERR_UNSUPPORTED without such a layer or where its weights are used elsewhere too. */
FV_API fv_status fv_model_new_head(const fv_model *m, int32_t outputs, uint64_t seed, fv_model **out);
/** The model with (x - mean[c]) / deviation[c] of its only input (N,channels,H,W) before its first layer: a 1x1 convolution "normalize" of
 *  each channel by itself with constant weights, in files as in memory, so that whoever runs the model applies the same.
 *  @return FV_ERR_STATE if it has one already. */
FV_API fv_status fv_model_normalize(const fv_model *m, const float *mean, const float *deviation, int32_t channels, fv_model **out);

/** Nodes in the graph, and one by one its operator, name and output shape (for printing). */
FV_API size_t fv_model_node_count(const fv_model *m);

/* ---- Sessions: running ----------------------------------------------------------------------------------------------- */

/** One plan of a model with its memory. One thread at a time; a second one gets FV_ERR_BUSY. */
typedef struct fv_session fv_session;

/** What a plan is made for. */
typedef enum fv_plan_mode {
    FV_PLAN_FAST = 0, /**< the least time by fixed costs of the shapes: the same plan, and the same bits, everywhere on an ISA */
    FV_PLAN_LEAN = 1, /**< the least memory: no Winograd, an image at a time where layers keep images apart, every weight held once. The model's own
                           copy of a convolution's or fully connected layer's weight is freed once packed, if this is its only session: then other
                           plans of the model, training, saving and reading its parameters give FV_ERR_STATE. No other thread may use the model
                           while its first lean session is made. Models planned anew for each shape keep their weights */
    FV_PLAN_MEASURE = 2 /**< convolutions by the algorithm that is fastest here, each timed once a model: bits may differ between machines and
                             runs, unless `choices` keeps them */
} fv_plan_mode;

typedef struct fv_session_settings {
    int64_t batch;          /**< images a run; default 1 */
    fv_layout input_layout, output_layout; /**< of maps; default FV_PLAIN (NCHW) */
    void *arena;            /**< the caller's memory, 64-byte aligned, of fv_session_bytes; NULL: allocated */
    size_t arena_bytes;
    bool profile;           /**< measure every node of every run */
    int32_t threads;        /**< of a run, at most; 0: the context's count. Answers are the same bits with any number */
    int32_t plan_cache;     /**< plans kept for shapes that come back (fv_session_prepare), the current one among them; default, also for 0: 8 */
    /** Shapes of every input, in the model's order; NULL: the file's own, with `batch` where the first axis is open and 1 for other open
     *  axes. Data may be NULL, but for inputs whose values decide shapes (axes, pads, sizes, trip counts): their values become part of the
     *  plan, and a run with others fails (FV_ERR_STATE) until fv_session_prepare was called. Read during creation alone. */
    const fv_tensor *inputs;
    size_t input_count;
    fv_plan_mode plan;
    /** FV_PLAN_MEASURE: a file of what was measured, read before and, where something new was, written after (beside and renamed): a line a CPU,
     *  ISA, thread count, library version and convolution. NULL, or it is not there yet: nothing is known. Of other modes: must be NULL. */
    const char *choices;
    unsigned char reserved[24];
} fv_session_settings;

FV_API void fv_session_settings_default(fv_session_settings *s);
/** Bytes of the arena a session with these settings needs (weights packed for the session not counted). */
FV_API fv_status fv_session_bytes(const fv_model *m, const fv_session_settings *s, size_t *out);
FV_API fv_status fv_session_create(const fv_model *m, const fv_session_settings *s, fv_session **out);
/** Waits for a run in progress on another thread; no run may begin from here on. */
FV_API void fv_session_free(fv_session *s);
/** Plans for other input shapes, or values of inputs that decide shapes, as settings.inputs does. Plans are kept for when they come back, at
 *  most settings.plan_cache of them; weights are shared by all. Allocates; after a failure the old plan stands. A caller's arena serves
 *  every plan that fits into it. */
FV_API fv_status fv_session_prepare(fv_session *s, const fv_tensor *inputs, size_t input_count);
/** As planned now: name (owned by the session), type, shape and layout; data NULL. */
FV_API fv_status fv_session_input(const fv_session *s, size_t i, const char **name, fv_tensor *shape);
FV_API fv_status fv_session_output(const fv_session *s, size_t i, const char **name, fv_tensor *shape);
FV_API size_t fv_session_input_count(const fv_session *s);
FV_API size_t fv_session_output_count(const fv_session *s);
/** Runs the network. inputs and outputs in the model's order, with the planned types, shapes and layouts; data is the caller's
 *  and may have any element alignment; outputs are written there and must not overlap inputs.
 *  Allocates nothing. Only bad handles and shapes fail (nothing is written then). */
FV_API fv_status fv_session_run(fv_session *s, const fv_tensor *inputs, size_t input_count, const fv_tensor *outputs,
                                size_t output_count);

typedef struct fv_node_info {
    const char *name, *op, *algorithm; /**< owned by the session */
    int32_t rank;
    int64_t shape[FV_MAX_RANK]; /**< of its first output */
    double flops;               /**< a run; a multiply-add is 2 */
    double bytes;               /**< inputs, weights and outputs read and written once */
    size_t phases, pieces;      /**< how it is cut */
    size_t workspace_bytes, packed_bytes;
    int32_t receptive_field[2]; /**< y, x, in input pixels; 0 where it has no meaning */
    double seconds;             /**< mean over profiled runs, 0 when not profiled */
    double work;                /**< FLOPs at the units' full rate that take as long as the algorithm: Winograd's are fewer than `flops` */
} fv_node_info;

/** Threads that runs as planned now use: of those allowed as many as are worth it (fv_context_settings.all_threads). */
FV_API int fv_session_threads(const fv_session *s);
/** Planned nodes (after graph passes), in the order they run. */
FV_API size_t fv_session_node_count(const fv_session *s);
FV_API fv_status fv_session_node(const fv_session *s, size_t i, fv_node_info *out);
/** What a rewrite of the graph did. */
typedef struct fv_pass_info {
    const char *name; /**< "batch-norm folding", "activation fusion", ... */
    size_t count;     /**< how often; 0: there was nothing to do */
    size_t nodes;     /**< nodes less */
    double bytes;     /**< not read and written in a run; in-place reuse: not needed in the arena */
} fv_pass_info;

FV_API size_t fv_session_pass_count(const fv_session *s);
FV_API fv_status fv_session_pass(const fv_session *s, size_t i, fv_pass_info *out);

/** A run goes through the network so many times, with an equal part of the batch each time: large maps thus stay in the cache. A function of
 *  shapes alone. */
FV_API int64_t fv_session_parts(const fv_session *s);
FV_API size_t fv_session_arena_bytes(const fv_session *s);
FV_API size_t fv_session_packed_bytes(const fv_session *s);

/** What a session holds, in bytes as allocated. Its plan takes a few hundred bytes a node beside it. */
typedef struct fv_memory {
    size_t arena;   /**< activations: the session's own, or the caller's */
    size_t scratch; /**< its threads' scratch */
    size_t packed;  /**< packed weights it reads: in memory once for all sessions of a model */
    size_t weights; /**< what the model holds beside them: its own parameters, and those with batch normalization folded in */
} fv_memory;

FV_API fv_status fv_session_memory(const fv_session *s, fv_memory *out);

/* ---- Batcher: requests of many threads, run together ---------------------------------------------------------------- */

/** Takes requests of one item (batch 1) from any number of threads, runs them in batches and answers each. Its threads are its own and
 *  sleep when there is nothing to do; a request costs no allocation. All calls but fv_batcher_free may come from any thread at any
 *  time, callbacks included. In a forked child every call gives FV_ERR_STATE; fv_batcher_free and fv_request_free work there. */
typedef struct fv_batcher fv_batcher;
/** One request at a time: a caller's handle to submit, wait for and cancel, used again and again. */
typedef struct fv_request fv_request;

typedef struct fv_batcher_settings {
    int64_t max_batch;      /**< items a run at most, 1 to 1024; default 8. A model whose inputs have a fixed batch runs item by item */
    int64_t max_delay_us;   /**< how long an item may wait for others to run with while threads are free; default 1000, 0: not at all */
    int64_t queue_capacity; /**< items accepted and not yet running, at most; default 256 */
    int32_t workers;        /**< batches at once, 1 to 256; default 1 */
    int32_t threads;        /**< of each batch; 0: the context's count */
    fv_layout input_layout, output_layout; /**< of maps; default FV_PLAIN (NCHW) */
    fv_plan_mode plan;      /**< as fv_session_settings'; the model counts as having one session while the batcher is made */
    const char *choices;    /**< as fv_session_settings'; read during creation alone */
    unsigned char reserved[48];
} fv_batcher_settings;

FV_API void fv_batcher_settings_default(fv_batcher_settings *s);
/** Plans every batch size from 1 to 8 and four an octave from there to max_batch; packed weights and, for each worker, arena and threads are
 *  shared by them. s NULL: the defaults. Keeps the model alive.
 *  @return FV_ERR_UNSUPPORTED for an output that is not one row (or block of rows) an item, FV_ERR_THREAD, FV_ERR_MEMORY. */
FV_API fv_status fv_batcher_create(const fv_model *m, const fv_batcher_settings *s, fv_batcher **out);
/** fv_batcher_drain, then frees. Not from a callback: nothing happens then but a sentence in fv_last_error(). */
FV_API void fv_batcher_free(fv_batcher *b);
/** Ends the taking of requests for good and returns when all accepted ones are answered and their callbacks have returned.
 *  @return FV_ERR_STATE in a callback. */
FV_API fv_status fv_batcher_drain(fv_batcher *b);

/** What to run: the model's inputs and outputs as for a session of batch 1. The descriptors are read during fv_batcher_submit; the memory they
 *  name is lent until the answer: inputs must not change, outputs are written by another thread, and nobody else may have them. */
typedef struct fv_job {
    const fv_tensor *inputs;
    size_t input_count;
    const fv_tensor *outputs;
    size_t output_count;
    int64_t deadline_us; /**< from submission; 0: none. Who has not begun to run by then is answered FV_ERR_DEADLINE, at most one batch late;
                              an item with a deadline waits for others no longer than leaves time to run it */
    /** The answer, on a thread of the batcher (floating-point mode of the thread that made the batcher, all signals blocked) or on the one
     *  that cancels; status and fv_last_error() say how it went. The request may be submitted again or freed in it. Other answers of
     *  that worker wait meanwhile: be brief. NULL: fv_request_wait takes the answer. */
    void (*answered)(void *user, fv_status status);
    void *user;
} fv_job;

/** A handle for requests to b, which stays in memory as long as it. */
FV_API fv_status fv_request_create(fv_batcher *b, fv_request **out);
/** Cancels what is waiting, waits for what is running. */
FV_API void fv_request_free(fv_request *r);
/** Accepts the job (it will be answered exactly once) or returns at once:
 *  FV_ERR_FULL, FV_ERR_BUSY (r is under way), FV_ERR_STATE (draining), or what fv_session_run would say to these tensors. */
FV_API fv_status fv_batcher_submit(fv_batcher *b, fv_request *r, const fv_job *job);
/** Waits for the answer of a request without callback and returns it: FV_OK (outputs are written), FV_ERR_CANCELLED, FV_ERR_DEADLINE.
 *  After the answer it returns the same again. timeout_us < 0: without limit; else FV_ERR_DEADLINE after that time, the request going on
 *  (fv_request_done tells). @return FV_ERR_STATE if it was never submitted or has a callback. */
FV_API fv_status fv_request_wait(fv_request *r, int64_t timeout_us);
/** Answered, or never submitted. */
FV_API bool fv_request_done(const fv_request *r);
/** Takes a request that is still waiting out of the queue: it is answered FV_ERR_CANCELLED, a callback before this returns.
 *  @return FV_ERR_STATE if it is running or answered: its answer stands. */
FV_API fv_status fv_request_cancel(fv_request *r);
/** Submits and waits. */
FV_API fv_status fv_batcher_run(fv_batcher *b, const fv_tensor *inputs, size_t input_count, const fv_tensor *outputs, size_t output_count,
                                int64_t deadline_us);

#define FV_LATENCY_BUCKETS 216

/** Since creation, in one consistent look. accepted = answered + failed + cancelled + expired + queued + running. */
typedef struct fv_batcher_stats {
    uint64_t accepted, answered, failed, cancelled, expired;
    uint64_t refused;              /**< FV_ERR_FULL; not accepted */
    uint64_t batches, items;       /**< run; items / batches is the mean batch */
    int64_t queued, running;       /**< now */
    int64_t max_batch;             /**< as used */
    double run_seconds;            /**< all batches together */
    double latency_seconds;        /**< from submission to answer, all answered items together */
    uint64_t latency[FV_LATENCY_BUCKETS]; /**< answered items by that time: bucket i counts those of at most fv_latency_bound(i) seconds and
                                               more than the bound before; the last one all that took longer */
} fv_batcher_stats;

FV_API fv_status fv_batcher_get_stats(fv_batcher *b, fv_batcher_stats *out);
/** Upper bound of a bucket in seconds: 1, 1.125, 1.25 and so on to 2 microseconds, 2.25, 2.5: eight an octave; infinity from the last one on. */
FV_API double fv_latency_bound(size_t i);
/** The bound of the bucket in which the given share (0..1) of the answered items is reached, in seconds; 0 without any. */
FV_API double fv_batcher_percentile(const fv_batcher_stats *s, double share);

/* ---- Training -------------------------------------------------------------------------------------------------------- */

typedef struct fv_trainer fv_trainer;

typedef enum fv_loss { FV_LOSS_CROSS_ENTROPY = 0, FV_LOSS_SQUARED_ERROR = 1 } fv_loss;
typedef enum fv_loss_input { FV_LOSS_FROM_LOGITS = 0, FV_LOSS_FROM_PROBABILITIES = 1 } fv_loss_input;
typedef enum fv_reduction { FV_REDUCTION_MEAN = 0, FV_REDUCTION_SUM = 1 } fv_reduction;
typedef enum fv_optimizer { FV_SGD = 0, FV_MOMENTUM, FV_NESTEROV, FV_ADAM, FV_ADAMW } fv_optimizer;
typedef enum fv_schedule { FV_SCHEDULE_CONSTANT = 0, FV_SCHEDULE_STEP, FV_SCHEDULE_COSINE } fv_schedule;

typedef struct fv_trainer_settings {
    int64_t batch;            /**< largest batch a step may bring; default 64. A model whose nodes depend on its batch (exported with a fixed
                                   one, or with sizes computed from it) is trained at this batch alone, and what comes of it has it fixed */
    fv_layout input_layout;   /**< of the maps given to steps; default FV_PLAIN */
    fv_loss loss;             /**< cross-entropy takes int32 labels (N) and fuses the model's last softmax, or takes its output as logits;
                                   squared error takes float targets of the output's shape (maps in input_layout; an image's
                                   loss is half the sum of squares over all its values), or for outputs (N,classes) labels made one-hot */
    fv_loss_input loss_input; /**< cross-entropy: from logits as above, or -sum t ln y of the model's output y > 0 as it is, after a softmax
                                   or any positive layer (a y below 2^-126 counts as that) */
    bool soft_targets;        /**< cross-entropy: steps take float targets (N,classes) of 0 or more, as they are; or labels, made one-hot */
    fv_reduction reduction;   /**< over the batch */
    float label_smoothing;    /**< cross-entropy: s: targets become (1-s) t + s/classes */
    fv_optimizer optimizer;
    float lr, momentum, beta1, beta2, epsilon, weight_decay; /**< weight decay acts on parameters of rank 2 and more but untied biases */
    float clip;               /**< largest global gradient norm; 0: none */
    fv_schedule schedule;
    int64_t warmup_steps;     /**< lr rises linearly over them */
    int64_t total_steps;      /**< cosine: falls to 0 there; needed */
    int64_t schedule_step;    /**< step: lr is multiplied by schedule_factor every so many steps; needed */
    float schedule_factor;
    uint64_t seed;            /**< of dropout */
    unsigned char reserved[64];
} fv_trainer_settings;

/** batch 64, cross-entropy, mean, momentum 0.9, lr 0.05, constant, seed 1. */
FV_API void fv_trainer_settings_default(fv_trainer_settings *s);
/** Copies the model's parameters; the model is not changed. @return FV_ERR_UNSUPPORTED naming a node without gradient. */
FV_API fv_status fv_trainer_create(const fv_model *m, const fv_trainer_settings *s, fv_trainer **out);
FV_API void fv_trainer_free(fv_trainer *t);

typedef struct fv_step {
    double loss;       /**< of this batch, reduced as set, before the update */
    int64_t correct;   /**< rows whose largest output is the label (or the largest target); -1 with squared error */
    double lr;
    double grad_norm;  /**< global, before clipping; 0 when neither clipping nor asked for */
} fv_step;

/** One step on x (n,C,H,W), n <= batch, and its targets. Allocates nothing after the first step of each n.
 *  @return FV_ERR_SHAPE, or FV_ERR_ARGUMENT for a label out of range; parameters are untouched then. out may be NULL. */
FV_API fv_status fv_trainer_step(fv_trainer *t, const fv_tensor *x, const fv_tensor *targets, fv_step *out);
/** Steps done, also after a checkpoint was loaded. */
FV_API int64_t fv_trainer_steps(const fv_trainer *t);
/** A new model with the parameters as they are now. */
FV_API fv_status fv_trainer_model(const fv_trainer *t, fv_model **out);
/** The whole state (step, parameters, optimizer state), written beside and renamed; loading checks that model and settings fit and
 *  continues bit-exactly: the same steps on the same batches give the same bits as without interruption. Batch size, learning rate and its
 *  schedule may be others, for a training that goes on longer: all else of the settings is the file's. */
FV_API fv_status fv_trainer_save(const fv_trainer *t, const char *path);
FV_API fv_status fv_trainer_load(fv_trainer *t, const char *path);
/** Planned memory of a step in bytes. */
FV_API size_t fv_trainer_arena_bytes(const fv_trainer *t);

/* ---- Data ------------------------------------------------------------------------------------------------------------ */

typedef struct fv_dataset fv_dataset;

typedef struct fv_dataset_settings {
    bool test;               /**< the test split, else training */
    int32_t height, width;   /**< folder: images are scaled to this; 0: the first image's size */
    int64_t limit;           /**< use only the first so many; 0: all */
} fv_dataset_settings;

FV_API void fv_dataset_settings_default(fv_dataset_settings *s);
/** spec: "fashion-mnist" (Debian's dataset-fashion-mnist, or the directory $FOVEA_DATA), "idx:DIR", "cifar10:DIR", "folder:DIR"
 *  (DIR/train/CLASS/IMAGE and DIR/test/CLASS/IMAGE, or DIR/CLASS/IMAGE for both). Images are kept as bytes in memory. */
FV_API fv_status fv_dataset_open(fv_context *c, const char *spec, const fv_dataset_settings *s, fv_dataset **out);
FV_API void fv_dataset_free(fv_dataset *d);

typedef struct fv_dataset_info {
    int64_t count;
    int32_t channels, height, width, classes;
} fv_dataset_info;

FV_API fv_status fv_dataset_get_info(const fv_dataset *d, fv_dataset_info *out);
/** Owned by the data set; "7" where the set has no names; NULL out of range. */
FV_API const char *fv_dataset_class_name(const fv_dataset *d, int32_t label);
/** Image i, bytes (H,W,C), owned by the data set, and its label. */
FV_API fv_status fv_dataset_item(const fv_dataset *d, int64_t i, const uint8_t **pixels, int32_t *label);

/** Two new data sets from one: *part has the share (0..1, rounded to whole images, neither side empty) drawn by seed, *rest the others, both
 *  in the old order. Pixels are copied. */
FV_API fv_status fv_dataset_split(const fv_dataset *d, double share, uint64_t seed, fv_dataset **rest, fv_dataset **part);
/** Mean and standard deviation of every channel over all images, of bytes scaled to 0..1; a channel that is constant has deviation 1.
 *  What fv_model_normalize takes. */
FV_API fv_status fv_dataset_moments(const fv_dataset *d, float *mean, float *deviation);

/** Augmentations; what comes in from outside the image is 0. */
enum {
    FV_AUGMENT_SHIFT = 1, /**< by -2 to 2 pixels on each axis */
    FV_AUGMENT_FLIP = 2,  /**< left-right, every second image */
    FV_AUGMENT_CROP = 4   /**< padded by 4 pixels on every side, then cut to its size at a random place */
};

typedef struct fv_loader fv_loader;

typedef struct fv_loader_settings {
    int64_t batch;
    bool shuffle;      /**< a new order every epoch, from the seed */
    bool drop_last;    /**< leave out the last partial batch of an epoch */
    bool once;         /**< end after one epoch: next gives n = 0 */
    unsigned augment;  /**< FV_AUGMENT_ bits, from seed, epoch and image alone */
    uint64_t seed;
    int64_t start_step;/**< continue there: batch number since the first epoch's beginning */
    int32_t prefetch;  /**< batches prepared ahead by a thread of its own; 0: none */
    float scale, shift;/**< byte*scale + shift; default 1/255, 0 */
    float noise;       /**< deviation of the normal noise added to these numbers (not cut off at 0 and 1), from seed, epoch, image and
                            place alone; 0: none */
} fv_loader_settings;

FV_API void fv_loader_settings_default(fv_loader_settings *s);
FV_API fv_status fv_loader_create(const fv_dataset *d, const fv_loader_settings *s, fv_loader **out);
FV_API void fv_loader_free(fv_loader *l);
/** The next batch: x float32 (n,C,H,W) FV_NHWC, labels int32 (n), owned by the loader until its next call. */
FV_API fv_status fv_loader_next(fv_loader *l, fv_tensor *x, fv_tensor *labels);
/** The same images without their noise: what an autoencoder's output is trained against. Owned by the loader until its next call.
 *  @return FV_ERR_STATE before the first fv_loader_next. */
FV_API fv_status fv_loader_clean(const fv_loader *l, fv_tensor *x);
/** Batches in one epoch. */
FV_API int64_t fv_loader_steps_per_epoch(const fv_loader *l);

/* ---- Files ----------------------------------------------------------------------------------------------------------- */

/** Bytes (height,width,channels): 1 channel (grey), 2 (grey, alpha), 3 (RGB) or 4 (RGB, alpha). pixels are freed by fv_image_free. */
typedef struct fv_image {
    int32_t height, width, channels;
    uint8_t *pixels;
    void *owner;
} fv_image;

enum { FV_IMAGE_STORED = -1 };

/** PNG or JPEG by its first bytes. 16-bit is reduced to 8, palettes are expanded, CMYK refused. At most 2^26 pixels.
 *  channels: 1 or 3 to convert (grey = (299R+587G+114B+500)/1000), 0 grey or RGB as in the file; alpha is then blended on black.
 *  2 or 4 to convert with alpha kept (255 where the file has none); FV_IMAGE_STORED for the channels that the file has, alpha included. */
FV_API fv_status fv_image_read(fv_context *c, const char *path, int32_t channels, fv_image *out);
FV_API void fv_image_free(fv_image *i);
/** 1 to 4 channels; written beside `path` and renamed. */
FV_API fv_status fv_image_write_png(fv_context *c, const char *path, const fv_image *i);
/** 1 or 3 channels, each side at most 65500 pixels, quality 1 to 100; written beside `path` and renamed. */
FV_API fv_status fv_image_write_jpeg(fv_context *c, const char *path, const fv_image *i, int32_t quality);
/** Scaled by area averaging (down) or bilinear (up) to height x width; 1 or 3 channels; out is a new image. */
FV_API fv_status fv_image_resize(fv_context *c, const fv_image *in, int32_t height, int32_t width, fv_image *out);

/** npy, versions 1 to 3, little-endian, every type of fv_dtype, C order. t->data is freed by fv_npy_free. */
FV_API fv_status fv_npy_read(fv_context *c, const char *path, fv_tensor *t);
FV_API void fv_npy_free(fv_context *c, fv_tensor *t);
FV_API fv_status fv_npy_write(fv_context *c, const char *path, const fv_tensor *t);

/** A tensor by its file's ending: ".npy", or ".pb" for an ONNX TensorProto. t->data is freed by fv_tensor_free.
 *  @return FV_ERR_UNSUPPORTED for strings, complex numbers, sequences and other endings. */
FV_API fv_status fv_tensor_load(fv_context *c, const char *path, fv_tensor *t);
/** Plain layout; written beside `path` and renamed. name: the TensorProto's, may be NULL. */
FV_API fv_status fv_tensor_save(fv_context *c, const char *path, const char *name, const fv_tensor *t);
FV_API void fv_tensor_free(fv_context *c, fv_tensor *t);
/** The operators of an ONNX file's graph, each once, separated by spaces, cut off where `size` ends: for saying what a file that cannot be
 *  loaded wants. */
FV_API fv_status fv_onnx_operators(fv_context *c, const char *path, char *text, size_t size);

#ifdef __cplusplus
}
#endif

#endif
