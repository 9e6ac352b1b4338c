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
    unsigned char reserved[64];
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

typedef enum fv_dtype { FV_F32 = 0, FV_I32 = 1, FV_U8 = 2, FV_F64 = 3, FV_I64 = 4 } fv_dtype;
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
FV_API size_t fv_dtype_bytes(fv_dtype t);

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
/** Fully connected, SPEC section 6: x (N,F), or maps (N,C,H,W) flattened map by map -> (N,out). NAME.weight (out,F), NAME.bias (out). */
FV_API fv_value fv_graph_linear(fv_graph *g, fv_value x, int32_t out_features, bool bias, fv_init init, const char *name);
FV_API fv_value fv_graph_linear_with(fv_graph *g, fv_value x, fv_value weight, fv_value bias, const char *name);

typedef enum fv_pool_kind {
    FV_POOL_MAX = 0,
    FV_POOL_AVERAGE = 1,
    FV_POOL_LP = 2,       /**< (sum of |x|^p)^(1/p) */
    FV_POOL_WEIGHTED = 3, /**< sum of w x, w a Gaussian in the distance from the window's centre, of sum 1; padding counts as 0 */
    FV_POOL_STRIDE = 4    /**< keeps every r-th row and t-th column, from the first on: stride alone counts */
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
/** Places begin to begin + size of an axis: a range of maps with axis 1. */
FV_API fv_value fv_graph_slice(fv_graph *g, fv_value x, int32_t axis, int32_t begin, int32_t size, const char *name);

/** Attention over maps (squeeze-and-excitation's last step, SPEC section 7): x (N,C,H,W) times s (N,C), or (N,C,1,1), one factor an image and
 *  map. Both have gradients. */
FV_API fv_value fv_graph_scale_maps(fv_graph *g, fv_value x, fv_value s, const char *name);
/** A spatial mask: x (N,C,H,W) times m (N,1,H,W), one factor an image and pixel. Both have gradients. */
FV_API fv_value fv_graph_scale_pixels(fv_graph *g, fv_value x, fv_value m, const char *name);

FV_API fv_value fv_graph_relu(fv_graph *g, fv_value x, const char *name);
FV_API fv_value fv_graph_sigmoid(fv_graph *g, fv_value x, const char *name);
FV_API fv_value fv_graph_tanh(fv_graph *g, fv_value x, const char *name);
FV_API fv_value fv_graph_exp(fv_graph *g, fv_value x, const char *name);
/** min(max(x, low), high). */
FV_API fv_value fv_graph_clip(fv_graph *g, fv_value x, float low, float high, const char *name);
/** a*x + b. */
FV_API fv_value fv_graph_scale(fv_graph *g, fv_value x, float a, float b, const char *name);
/** One factor a map (axis 1), NAME.gain (C), starts at 1. */
FV_API fv_value fv_graph_gain(fv_graph *g, fv_value x, bool trainable, const char *name);
FV_API fv_value fv_graph_gain_with(fv_graph *g, fv_value x, fv_value gain, const char *name);
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
/** `name` of a built-in network: "lenet5", "lecture", "cnn", "lenet5-1998", "allconv", "se-cnn". @return FV_ERR_NOT_FOUND naming the ones there are. */
FV_API fv_status fv_model_zoo(fv_context *c, const char *name, const fv_zoo_settings *s, fv_model **out);
/** Name of the i-th, its sentence in *about (may be NULL); NULL past the end. Static. */
FV_API const char *fv_zoo_name(size_t i, const char **about);

/** Reads an ONNX file. @return FV_ERR_UNSUPPORTED naming every node that cannot run, at once. */
FV_API fv_status fv_model_load(fv_context *c, const char *path, fv_model **out);
/** Writes ONNX beside `path` and renames: an existing file is replaced whole or not at all. */
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
/** Nodes in the graph, and one by one its operator, name and output shape (for printing). */
FV_API size_t fv_model_node_count(const fv_model *m);

/* ---- Sessions: running ----------------------------------------------------------------------------------------------- */

/** One plan of a model with its memory. One thread at a time; a second one gets FV_ERR_BUSY. */
typedef struct fv_session fv_session;

typedef struct fv_session_settings {
    int64_t batch;          /**< images a run; default 1 */
    fv_layout input_layout, output_layout; /**< of maps; default FV_PLAIN (NCHW) */
    void *arena;            /**< the caller's memory, 64-byte aligned, of fv_session_bytes; NULL: allocated */
    size_t arena_bytes;
    bool profile;           /**< measure every node of every run */
    unsigned char reserved[64];
} fv_session_settings;

FV_API void fv_session_settings_default(fv_session_settings *s);
/** Bytes of the arena a session with these settings needs (weights packed for the session not counted). */
FV_API fv_status fv_session_bytes(const fv_model *m, const fv_session_settings *s, size_t *out);
FV_API fv_status fv_session_create(const fv_model *m, const fv_session_settings *s, fv_session **out);
FV_API void fv_session_free(fv_session *s);
/** Runs the network. inputs and outputs in the model's order, float32, with the planned shapes and layouts; data is the caller's
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
} fv_node_info;

/** Planned nodes (after graph passes), in the order they run. */
FV_API size_t fv_session_node_count(const fv_session *s);
FV_API fv_status fv_session_node(const fv_session *s, size_t i, fv_node_info *out);
FV_API size_t fv_session_arena_bytes(const fv_session *s);
FV_API size_t fv_session_packed_bytes(const fv_session *s);

/* ---- Training -------------------------------------------------------------------------------------------------------- */

typedef struct fv_trainer fv_trainer;

typedef enum fv_loss { FV_LOSS_CROSS_ENTROPY = 0, FV_LOSS_SQUARED_ERROR = 1 } fv_loss;
typedef enum fv_reduction { FV_REDUCTION_MEAN = 0, FV_REDUCTION_SUM = 1 } fv_reduction;
typedef enum fv_optimizer { FV_SGD = 0, FV_MOMENTUM, FV_NESTEROV, FV_ADAM, FV_ADAMW } fv_optimizer;
typedef enum fv_schedule { FV_SCHEDULE_CONSTANT = 0, FV_SCHEDULE_STEP, FV_SCHEDULE_COSINE } fv_schedule;

typedef struct fv_trainer_settings {
    int64_t batch;            /**< largest batch a step may bring; default 64 */
    fv_layout input_layout;   /**< of the maps given to steps; default FV_PLAIN */
    fv_loss loss;             /**< cross-entropy takes int32 labels (N) and fuses the model's last softmax, or takes its output as logits;
                                   squared error takes float targets of the output's shape, or labels made one-hot */
    fv_reduction reduction;   /**< over the batch */
    float label_smoothing;
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
    int64_t correct;   /**< rows whose largest output is the label; -1 with squared error */
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
 *  continues bit-exactly: the same steps on the same batches give the same bits as without interruption. */
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

enum { FV_AUGMENT_SHIFT = 1, FV_AUGMENT_FLIP = 2, FV_AUGMENT_CROP = 4 }; /* +-2 pixels; left-right; pad 4 and crop */

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
} fv_loader_settings;

FV_API void fv_loader_settings_default(fv_loader_settings *s);
FV_API fv_status fv_loader_create(const fv_dataset *d, const fv_loader_settings *s, fv_loader **out);
FV_API void fv_loader_free(fv_loader *l);
/** The next batch: x float32 (n,C,H,W) FV_NHWC, labels int32 (n), owned by the loader until its next call. */
FV_API fv_status fv_loader_next(fv_loader *l, fv_tensor *x, fv_tensor *labels);
/** Batches in one epoch. */
FV_API int64_t fv_loader_steps_per_epoch(const fv_loader *l);

/* ---- Files ----------------------------------------------------------------------------------------------------------- */

/** Bytes (height,width,channels), 1 (grey) or 3 (RGB) channels; pixels are freed by fv_image_free. */
typedef struct fv_image {
    int32_t height, width, channels;
    uint8_t *pixels;
    void *owner;
} fv_image;

/** PNG or JPEG by its first bytes. 16-bit is reduced to 8, palettes are expanded, alpha is blended on black, CMYK refused. channels: 1 or 3 to
 *  convert (grey = (299R+587G+114B+500)/1000), 0 as in the file. At most 2^26 pixels. */
FV_API fv_status fv_image_read(fv_context *c, const char *path, int32_t channels, fv_image *out);
FV_API void fv_image_free(fv_image *i);
FV_API fv_status fv_image_write_png(fv_context *c, const char *path, const fv_image *i);
/** Scaled by area averaging (down) or bilinear (up) to height x width; out is a new image. */
FV_API fv_status fv_image_resize(fv_context *c, const fv_image *in, int32_t height, int32_t width, fv_image *out);

/** npy, versions 1 to 3, little-endian float32, float64, int32, int64, uint8, C order. t->data is freed by fv_npy_free. */
FV_API fv_status fv_npy_read(fv_context *c, const char *path, fv_tensor *t);
FV_API void fv_npy_free(fv_context *c, fv_tensor *t);
FV_API fv_status fv_npy_write(fv_context *c, const char *path, const fv_tensor *t);

#ifdef __cplusplus
}
#endif

#endif
