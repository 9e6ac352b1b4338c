/* Graphs inside: the arrays behind fovea.h's fv_graph, copying, rewriting, planning. */
#ifndef FV_GRAPH_GRAPH_H
#define FV_GRAPH_GRAPH_H

#include "graph/choices.h"
#include "ops/op.h"

/* Passes that say what they did; names in pass_report.c. */
typedef enum fv_pass_kind {
    FV_PASS_CONSTANTS, /* nodes of a file whose answer was known while it was read */
    FV_PASS_SPELLED,   /* layers that a file spells out in several nodes */
    FV_PASS_BATCH_NORM,
    FV_PASS_DEAD,
    FV_PASS_TRAINING, /* dropout and the like */
    FV_PASS_PAD,
    FV_PASS_TRANSPOSE, /* there and back */
    FV_PASS_FLATTEN,
    FV_PASS_BIAS, /* untied; a tied one is part of its product from the start */
    FV_PASS_ACTIVATION,
    FV_PASS_RESIDUAL,
    FV_PASS_LAYOUT, /* conversions that are left */
    FV_PASS_LAYOUT_CANCEL,
    FV_PASS_JOIN,
    FV_PASS_IN_PLACE,
    FV_PASS_COUNT
} fv_pass_kind;
typedef struct fv_pass_effect {
    size_t count, nodes; /* how often; nodes less */
    double bytes;        /* not read and written in a run; in place: not needed in the arena */
} fv_pass_effect;

struct fv_graph {
    fv_context *context;
    fv_value_info *values;
    size_t value_count, value_capacity;
    fv_node *nodes; /* in an order that runs */
    size_t node_count, node_capacity;
    fv_value *inputs, *outputs;
    size_t input_count, input_capacity, output_count, output_capacity;
    fv_value *names; /* hash of the values' names: value + 1, 0 free; those from `indexed` on are not in yet */
    size_t name_capacity, name_count, indexed;
    fv_pass_effect passes[FV_PASS_COUNT];
    bool borrowed;    /* parameters' data belong to another graph */
    fv_status status; /* first builder error, its sentence in error */
    char error[512];
};

/* Deep copy, parameters' data included (share_data: pointers are shared instead, and the copy must not outlive the
 * source). */
fv_status fv_graph_copy(const fv_graph *g, bool share_data, fv_graph **out);
/* Builder pieces used by ONNX, autodiff and the zoo: -1 and a sticky error on failure. */
fv_value fv_graph_new_value(fv_graph *g, fv_value_kind kind, const char *name, fv_dtype dtype, const fv_shape *shape);
fv_value fv_graph_node(fv_graph *g, const fv_op *op, const char *name, const fv_value *in, int32_t in_count,
                       int32_t outs, const fv_attributes *attr);
/* A parameter that training leaves alone, of any type and rank (0 too), its data copied; in memory sizes of 0 are
 * allowed. */
fv_value fv_graph_constant(fv_graph *g, const char *name, fv_dtype dtype, const fv_shape *shape, const void *data);
/* An input of any type and rank; sizes of 0 are sizes. */
fv_value fv_graph_any_input(fv_graph *g, const char *name, fv_dtype dtype, const fv_shape *shape);
/* The value of this name, FV_NONE. */
fv_value fv_graph_find_name(fv_graph *g, const char *name);
/* What a graph being built was, and back to it: later values and nodes are freed, an error is forgotten. */
typedef struct fv_graph_mark {
    size_t values, nodes, inputs, outputs;
} fv_graph_mark;
fv_graph_mark fv_graph_marked(const fv_graph *g);
void fv_graph_rewind(fv_graph *g, fv_graph_mark m);
/* A parameter's data outlive every plan of the model, so that what is made of them may be shared between sessions. */
static inline bool fv_graph_lasts(const fv_graph *g, fv_value v) { return g->borrowed || g->values[v].shared; }
/* v in the given layout: itself, its twin, or a conversion added to the graph. FV_NONE on error. */
fv_value fv_graph_in_layout(fv_graph *g, fv_value v, fv_layout layout);
/* Sets the first error (later ones are ignored) and returns FV_NONE. */
fv_value fv_graph_fail(fv_graph *g, fv_status status, const char *format, ...) __attribute__((format(printf, 3, 4)));
/* Pieces of the builder's files (build*.c): the graph is there and has no error; v is one of its values, else an error
 * that calls it `what`; the layer's name, or one made of its kind and its number; a parameter NAME.suffix; the window
 * of settings (arrays are y, x). */
typedef struct fv_layer_name {
    char text[512];
} fv_layer_name;
/* The thread's last sentence becomes the graph's; FV_NONE. */
fv_value fv_build_keep_error(fv_graph *g, fv_status status);
bool fv_build_usable(const fv_graph *g);
bool fv_build_valid(fv_graph *g, fv_value v, const char *what);
fv_layer_name fv_build_name(const fv_graph *g, const char *name, const char *kind);
fv_value fv_build_owned(fv_graph *g, const char *name, const char *suffix, int32_t rank, const int64_t *shape,
                        fv_init init, bool trainable);
void fv_build_window(fv_window_attr *w, const int32_t kernel[2], const int32_t stride[2], const int32_t dilation[2],
                     const int32_t before[2], const int32_t after[2], fv_padding padding);
/* The untied bias of layer `name`, as a node of its own. */
fv_value fv_build_untied(fv_graph *g, fv_value x, fv_value bias, const char *layer);
/* Gives a weight its connection table, copied. */
fv_status fv_graph_set_edges(const fv_graph *g, fv_value_info *weight, const uint8_t *edges);
/* Names a value that has no name, or with `again` any value but inputs and parameters (FV_ERR_UNSUPPORTED for those).
 */
fv_status fv_graph_name_value(fv_graph *g, fv_value v, const char *name, bool again);
/* Fixes the batch (inputs' dim[0] 0 -> batch) and infers every shape again. */
fv_status fv_graph_set_batch(fv_graph *g, int64_t batch);
fv_status fv_graph_infer(fv_graph *g);           /* every shape again */
void fv_graph_move_last(fv_graph *g, size_t at); /* the last node to place `at` */
/* After nodes moved: producers again. */
void fv_graph_relink(fv_graph *g);
/* Every use of `old` (also as an output) becomes `fresh`. */
void fv_graph_replace(fv_graph *g, fv_value old, fv_value fresh);
/* Drops the nodes marked; frees them. */
void fv_graph_remove(fv_graph *g, const bool *dead);
bool fv_graph_is_output(const fv_graph *g, fv_value v);
size_t fv_graph_uses(const fv_graph *g, fv_value v); /* by nodes and as outputs */
/* The same of all values whose numbers lie at `data`. */
size_t fv_graph_readers(const fv_graph *g, const void *data);

/* Bytes of a node's inputs and outputs. */
double fv_graph_node_traffic(const fv_graph *g, const fv_node *n);
void fv_pass_note(fv_graph *g, fv_pass_kind kind, size_t count, size_t nodes, double bytes);
/* Notes the nodes and bytes that are gone between the two. */
typedef struct fv_pass_watch {
    size_t nodes;
    double bytes;
} fv_pass_watch;
fv_pass_watch fv_pass_begin(const fv_graph *g);
void fv_pass_end(fv_graph *g, fv_pass_kind kind, fv_pass_watch before);

/* Rewrite passes, in the order they are applied by fv_graph_prepare. Each leaves a graph that computes the same. */
fv_status fv_pass_dead(fv_graph *g);                /* nodes no output or effect needs */
fv_status fv_pass_inference(fv_graph *g);           /* dropout removed, a surrogate gradient forgotten */
fv_status fv_pass_pad(fv_graph *g);                 /* padding with zeros into the convolution that reads it */
fv_status fv_pass_transpose(fv_graph *g);           /* there and back is nothing */
fv_status fv_pass_flatten_linear(fv_graph *g);      /* flatten + linear -> linear over maps */
fv_status fv_pass_fuse(fv_graph *g, bool training); /* conv/linear + relu or clip; inference: + add before it */
fv_status fv_pass_layout(fv_graph *g, fv_layout input_layout, fv_layout output_layout); /* conversions at the borders */
fv_status fv_pass_layout_cancel(fv_graph *g);                                           /* there and back is nothing */
fv_status fv_pass_pool_index(fv_graph *g); /* training: max pooling keeps where its values came from */
fv_status fv_pass_norm_kept(fv_graph *g);  /* training: normalization keeps its moments */
/* Of a training step, after its gradients: pool_grad and the gradients of the convolution before it become one each,
 * which leave the zeros out (kernels/conv_pooled.h). */
fv_status fv_pass_pooled_gradients(fv_graph *g);
/* Windows that neither overlap nor reach out of the map: what that pass needs. */
bool fv_pool_windows_lie_apart(const fv_pool_attr *a, const fv_shape *in, const fv_shape *out);
/* Inference, after layouts: convolutions that a concatenation of maps alone reads write into its pixels. */
void fv_pass_join(fv_graph *g);
fv_status fv_graph_prepare(fv_graph *g, bool training, fv_layout input_layout, fv_layout output_layout);

/* Of a graph prepared for inference with its batch set: the first node whose images are not each computed from the
 * inputs' alone, or NULL: then the batch may run in parts, which must divide it. */
const fv_node *fv_batch_joins(const fv_graph *g, int64_t batch);
/* Images a part: so few that what a layer reads and writes stays in a cache of 16 MB, but enough of them that reading
 * the weights again for each part costs less than the maps do. A function of shapes alone. */
int64_t fv_batch_part(const fv_graph *g, int64_t batch);

/* ---- Model: a graph that no longer changes ---- */

typedef struct fv_packed_cache fv_packed_cache; /* packed weights shared by sessions, locked inside */
/* Inference, before fv_graph_prepare, on a graph that shares a model's data: batch normalization goes into the product
 * before it. The folded numbers are the model's; with `frees`, its graph, in place of the weights they come from. */
fv_status fv_pass_fold_batch_norm(fv_graph *g, fv_packed_cache *packed, fv_graph *frees);

/* Where graphs come from when shapes are known only in the session. `lower` may be called by several threads at once.
 */
typedef struct fv_lowering {
    /* In the model's order: shapes, and data where values may shape the graph; NULL: the file's sizes. */
    const fv_tensor *inputs;
    size_t input_count;
    int64_t batch; /* of open first axes, where the file's sizes are taken */
} fv_lowering;
typedef struct fv_model_source {
    /* A graph of fixed sizes, owned by the caller, whose shared parameters belong to the source. *pinned:
     * [input_count], what of the inputs' data went into it. */
    fv_status (*lower)(void *self, const fv_lowering *l, fv_graph **out, bool *pinned);
    void (*free)(void *self);
    /* Writes what graphs are lowered from; NULL: `graph` says all of it. */
    fv_status (*save)(void *self, const char *path);
    void *self;
} fv_model_source;

struct fv_model {
    fv_graph *graph;        /* with a source: of default sizes, for looking at; it may have no nodes */
    fv_model_source source; /* lower NULL: the graph serves every batch */
    fv_packed_cache *packed;
    fv_choices *choices; /* what its sessions of FV_PLAN_MEASURE found; NULL before the first */
    atomic_int references, sessions;
};

fv_model *fv_model_retain(const fv_model *m);
/* Takes the graph over (freed on failure too) and fills parameters without data from seed. */
fv_status fv_model_adopt(fv_graph *g, uint64_t seed, fv_model **out);
/* Its parameters are all there; else FV_ERR_STATE: a lean session has freed some. */
fv_status fv_model_check_weights(const fv_model *m, const char *what);
/* Bytes of the parameters it holds in plain order, folded ones included. */
size_t fv_model_plain_bytes(const fv_model *m);
/* The graph serves every batch; else FV_ERR_UNSUPPORTED: it is read anew for each session's shapes. */
fv_status fv_model_check_open(const fv_model *m, const char *what);
/* The same with a source, freed on failure too. */
fv_status fv_model_adopt_source(fv_graph *g, const fv_model_source *source, fv_model **out);

/* ---- Plan ---- */

typedef struct fv_plan_settings {
    bool training, profile;
    /* Outputs are written to what fv_plan_bind says; else they stay in the arena until the next run. */
    bool bind_outputs;
    fv_packed_cache *packed; /* NULL: weights are packed in the run */
    fv_plan_mode mode;
    fv_choices *choices; /* FV_PLAN_MEASURE: what is known, and grows */
    bool forced;         /* convolutions are computed with this m, as far as it is one of theirs */
    int32_t forced_m;
    fv_graph *frees; /* FV_PLAN_LEAN: the model's graph, whose weights go once packed; NULL: they stay */
    void *arena;     /* the caller's, or NULL */
    size_t arena_bytes;
    fv_run_info *run;
    int threads;       /* 0: the context's */
    fv_parallel *team; /* borrowed, shared by plans that never run at once; NULL: the plan's own */
} fv_plan_settings;

/* The best m of the candidates for the convolution p->node: known, or measured now. */
fv_status fv_plan_measure(fv_plan_op *p, const fv_plan_settings *s, const int32_t *m, size_t count, int32_t *out);

/* g must be prepared, with its batch set; it must outlive the plan. fv_plan_size makes nothing that lasts. */
fv_status fv_plan_create(const fv_graph *g, const fv_plan_settings *s, fv_plan **out);
fv_status fv_plan_size(const fv_graph *g, const fv_plan_settings *s, size_t *bytes);
void fv_plan_free(fv_plan *p);
void fv_plan_bind(fv_plan *p, fv_value v, void *data); /* inputs, outputs, parameters, state: before a run */
void *fv_plan_data(const fv_plan *p, fv_value v);      /* of a value kept after the run: graph outputs */
void fv_plan_run(fv_plan *p);
size_t fv_plan_arena_bytes(const fv_plan *p);
size_t fv_plan_packed_bytes(const fv_plan *p);
size_t fv_plan_scratch_bytes(const fv_plan *p);
int fv_plan_threads(const fv_plan *p); /* that it runs on: as many as are worth it */
size_t fv_plan_node_count(const fv_plan *p);
fv_pass_effect fv_plan_in_place(const fv_plan *p);
void fv_plan_node(const fv_plan *p, size_t i, fv_node_info *out);

/* ---- Sessions, for the batcher ---- */

/* A session on a team that others use too, of which one runs at a time; the team outlives it. */
fv_status fv_session_create_on(const fv_model *m, const fv_session_settings *s, fv_parallel *team, fv_session **out);
/* What fv_session_run says to these tensors, without running. Any number of threads. */
fv_status fv_session_check(const fv_session *s, const fv_tensor *inputs, size_t input_count, const fv_tensor *outputs,
                           size_t output_count);
const fv_graph *fv_session_graph(const fv_session *s); /* prepared: its inputs and outputs have the planned shapes */

#endif
