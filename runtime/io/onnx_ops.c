/* What readers of operators share, and who reads which. */
#include "io/onnx_scope.h"

#include <stdio.h>
#include <string.h>

/* Input i of a node: NULL when left out. */
fv_status fv_onnx_input(const fv_onnx_reader *r, const FvOnnx__Node *n, size_t i, const fv_onnx_name **out) {
    *out = NULL;
    if (i >= n->n_input || !*n->input[i]) return FV_OK;
    *out = fv_onnx_find(r, n->input[i]);
    if (*out && (*out)->absent) {
        *out = NULL;
        return FV_OK;
    }
    FV_RETURN_IF(!*out, FV_ERR_FORMAT, "node \"%.100s\" (%.60s) uses \"%.200s\", which nothing before it makes",
                 n->name ? n->name : "", n->op_type, n->input[i]);
    return FV_OK;
}

/* ---- constants as parameters ---- */

static void make_plain(const fv_onnx_tensor *t, const void *arg, fv_real *out) {
    (void)arg;
    if (t->type == FV_ONNX_FLOAT && sizeof(fv_real) == sizeof(float)) {
        fv_onnx_tensor_copy(t, out);
        return;
    }
    for (size_t i = 0; i < t->count; i++) out[i] = fv_onnx_tensor_float(t, i);
}

static void make_values(const fv_onnx_name *entry, fv_onnx_make_fn make, const void *arg, void *out) {
    fv_onnx_tensor t = entry->tensor;
    if (make != make_plain) fv_onnx_tensor_need(&t);
    make(&t, arg, out);
}

/* Values of the source that are the parameter as they lie; nothing writes to what plans share. */
static bool lies_ready(const fv_onnx_tensor *t, size_t count, fv_dtype dtype, fv_onnx_make_fn make) {
    return (!make || make == make_plain) && !t->wide && t->count == count && count > 0 && t->type == fv_onnx_type_of(dtype) &&
           (uintptr_t)t->data % FV_ALIGNMENT == 0;
}

static fv_status fill_shared(fv_onnx_reader *r, const fv_onnx_name *entry, const char *kind, size_t count, fv_dtype dtype,
                             fv_onnx_make_fn make, const void *arg, void **out) {
    bool fresh;
    if (lies_ready(&entry->tensor, count, dtype, make)) {
        *out = (void *)(uintptr_t)entry->tensor.data;
        return FV_OK;
    }
    FV_FORWARD(fv_onnx_share(r->source, entry->tensor.data, kind, count, dtype, out, &fresh));
    if (fresh && make) make_values(entry, make, arg, *out);
    if (fresh && !make) fv_onnx_tensor_copy(&entry->tensor, *out);
    fv_onnx_share_end(r->source);
    return FV_OK;
}

fv_value fv_onnx_made_parameter(fv_onnx_reader *r, const fv_onnx_name *entry, const char *name, int32_t rank, const int64_t *shape,
                                const char *kind, fv_onnx_make_fn make, const void *arg, bool trainable) {
    size_t count = 1;
    void *data = NULL;
    fv_status status = FV_OK;
    const bool shared = r->source && !entry->made;
    for (int32_t i = 0; i < rank; i++)
        if (!fv_mul_size(count, (size_t)shape[i], &count)) return fv_graph_fail(r->graph, FV_ERR_LIMIT, "\"%.200s\" has too many elements", name);
    if (shared)
        status = fill_shared(r, entry, kind, count, FV_REAL_DTYPE, make, arg, &data);
    else if ((status = fv_alloc_unset(r->context, fv_max_size(count, 1), sizeof(fv_real), name, &data)) == FV_OK)
        make_values(entry, make, arg, data);
    if (status != FV_OK) return fv_build_keep_error(r->graph, status);
    char own[600];
    for (int k = 2; fv_graph_find_name(r->graph, name) != FV_NONE && r->depth > 0; k++) { /* bodies and branches repeat names */
        snprintf(own, sizeof own, "%.500s.%d", entry->name, k);
        name = own;
    }
    const fv_value v = fv_graph_parameter(r->graph, name, rank, shape, NULL, FV_INIT_ZEROS, trainable);
    if (v == FV_NONE) {
        if (!shared) fv_release(r->context, data);
        return v;
    }
    r->graph->values[v].data = data;
    r->graph->values[v].shared = shared;
    return v;
}

/* A constant as a parameter of the graph, made at its first use with the given shape. */
fv_status fv_onnx_parameter(fv_onnx_reader *r, const fv_onnx_name *entry, int32_t rank, const int64_t *shape,
                           fv_value *out) {
    fv_onnx_name *mine = (fv_onnx_name *)entry; /* the reader owns the table */
    if (entry->value == FV_NONE) mine->value = fv_onnx_made_parameter(r, entry, entry->name, rank, shape, "plain", make_plain, NULL, true);
    FV_RETURN_IF(entry->turned, FV_ERR_UNSUPPORTED, "\"%.200s\" is used by two nodes in different ways", entry->name);
    *out = entry->value;
    return fv_graph_status(r->graph);
}

/* Operators whose constants of several floats are weights. What others read (grids, regions, scales of quantization) stays as it is. */
static bool learns(const FvOnnx__Node *n) {
    static const char *const names[] = {"MatMul", "Gemm", "Einsum", "Add", "Sub", "Mul", "Div", "Conv", "ConvTranspose", "PRelu",
                                        "Gather", "Concat", "Expand", "LayerNormalization", "InstanceNormalization", "GroupNormalization", "GRU", "LSTM",
                                        "RNN"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(n->op_type, names[i]) == 0) return true;
    return false;
}

/* The constant as it is, in its own type. */
static fv_status plain_value(fv_onnx_reader *r, const FvOnnx__Node *n, fv_onnx_name *entry, fv_value *out) {
    fv_dtype dtype;
    void *data = NULL;
    *out = entry->plain;
    FV_FORWARD(fv_onnx_dtype(entry->tensor.type, entry->name, &dtype));
    const bool trainable = entry->learned && dtype == FV_REAL_DTYPE && learns(n);
    if (entry->plain > 0) {
        r->graph->values[entry->plain].trainable |= trainable;
        return FV_OK;
    }
    const bool shared = r->source && !entry->made;
    if (shared)
        FV_FORWARD(fill_shared(r, entry, "own", entry->tensor.count, dtype, NULL, NULL, &data));
    else {
        FV_FORWARD(fv_alloc_unset(r->context, fv_max_size(entry->tensor.count, 1), fv_dtype_bytes(dtype), entry->name, &data));
        fv_onnx_tensor_copy(&entry->tensor, data);
    }
    const bool named = fv_graph_find_name(r->graph, entry->name) != FV_NONE;
    const fv_value v = fv_graph_new_value(r->graph, FV_VALUE_PARAMETER, named ? NULL : entry->name, dtype, &entry->tensor.shape);
    if (v == FV_NONE) {
        if (!shared) fv_release(r->context, data);
        return fv_graph_status(r->graph);
    }
    r->graph->values[v].data = data;
    r->graph->values[v].shared = shared;
    r->graph->values[v].trainable = trainable;
    if (v > 0) entry->plain = v; /* 0 is for none: the very first value is made anew each time */
    *out = v;
    return FV_OK;
}

static fv_status check_narrow(const fv_onnx_reader *r, const FvOnnx__Node *n, const fv_onnx_name *entry) {
    if (!r->narrow) return FV_OK;
    const fv_value_info *v = entry->constant || entry->value == FV_NONE ? NULL : &r->graph->values[entry->value];
    FV_RETURN_IF(entry->constant, FV_ERR_UNSUPPORTED, "node \"%.100s\" (%.60s) takes the constant \"%.100s\" as data",
                 n->name ? n->name : "", n->op_type, entry->name);
    const bool indices = v && v->dtype == FV_I64 && strcmp(n->op_type, "MaxUnpool") == 0;
    FV_RETURN_IF(v && v->dtype != FV_REAL_DTYPE && !indices, FV_ERR_UNSUPPORTED, "node \"%.100s\" (%.60s) takes \"%.100s\" of %s",
                 n->name ? n->name : "", n->op_type, entry->name, fv_dtype_name(v->dtype));
    FV_RETURN_IF(v && v->shape.rank < 1, FV_ERR_UNSUPPORTED, "node \"%.100s\" (%.60s) takes \"%.100s\" of rank 0",
                 n->name ? n->name : "", n->op_type, entry->name);
    return FV_OK;
}

/* Input i as a value computed by the graph. */
fv_status fv_onnx_value(const fv_onnx_reader *reader, const FvOnnx__Node *n, size_t i, fv_value *out) {
    fv_onnx_reader *r = (fv_onnx_reader *)reader; /* parameters are made when first used */
    const fv_onnx_name *entry;
    FV_FORWARD(fv_onnx_input(r, n, i, &entry));
    FV_RETURN_IF(!entry, FV_ERR_FORMAT, "node \"%.100s\" (%.60s) lacks input %zu", n->name ? n->name : "", n->op_type,
                 i);
    FV_FORWARD(check_narrow(r, n, entry));
    FV_RETURN_IF(entry->as_maps, FV_ERR_UNSUPPORTED, "node \"%.100s\" (%.60s) takes \"%.100s\" as maps (N,C,1,1), which only scale other maps",
                 n->name ? n->name : "", n->op_type, entry->name);
    if (entry->constant) return plain_value(r, n, (fv_onnx_name *)entry, out);
    FV_RETURN_IF(entry->value == FV_NONE, FV_ERR_UNSUPPORTED,
                 "node \"%.100s\" (%.60s) needs what an unsupported node makes", n->name ? n->name : "", n->op_type);
    *out = entry->value;
    return FV_OK;
}

/* ---- values that shape the graph ---- */

/* The inputs that `entry` is computed from, marked in `wanted`; through constants no further. */
static fv_status find_origins(const fv_onnx_reader *r, fv_onnx_name *entry, bool *wanted, size_t depth) {
    FV_RETURN_IF(depth > 20000, FV_ERR_LIMIT, "\"%.200s\" is more than 20000 nodes away from what depends on it", entry->name);
    entry->traced = wanted;
    if (entry->input) wanted[entry->input - 1] = true;
    if (entry->constant || entry->input || !entry->node) return FV_OK;
    for (size_t i = 0; i < entry->node->n_input; i++) {
        fv_onnx_name *from = *entry->node->input[i] ? fv_onnx_find_in(entry->scope, entry->node->input[i]) : NULL;
        if (from && from->traced != wanted) FV_FORWARD(find_origins(r, from, wanted, depth + 1));
    }
    return FV_OK;
}

/* The inputs that n's input i comes from become constants, if their data were given. */
static fv_status pin_origins(fv_onnx_reader *r, const FvOnnx__Node *n, size_t i, const fv_onnx_name *entry) {
    const size_t count = r->wanted->input_count;
    bool *wanted;
    FV_FORWARD(fv_onnx_take_bytes(r->memory, r->model->graph->n_input + 1, (void **)&wanted));
    FV_FORWARD(find_origins(r, (fv_onnx_name *)entry, wanted, 0));
    for (size_t k = 0; k < r->model->graph->n_input; k++) {
        if (!wanted[k] || r->pinned[k]) continue;
        if (k >= count || !r->wanted->inputs[k].data) {
            r->missing = true;
            return fv_fail(FV_ERR_UNSUPPORTED, "node \"%.100s\" (%.60s) needs the values of input \"%.100s\" for its plan: give them in settings.inputs",
                           n->name ? n->name : "", n->op_type, r->graph->values[r->graph->inputs[k]].name);
        }
        r->pinned[k] = r->again = true;
    }
    return fv_fail(FV_ERR_UNSUPPORTED, "node \"%.100s\" (%.60s) needs input %zu to be a constant", n->name ? n->name : "", n->op_type, i);
}

/* Input i as a constant; NULL when left out. */
fv_status fv_onnx_constant(const fv_onnx_reader *reader, const FvOnnx__Node *n, size_t i, const fv_onnx_tensor **out) {
    fv_onnx_reader *r = (fv_onnx_reader *)reader; /* what is found out about inputs is kept there */
    const fv_onnx_name *entry;
    *out = NULL;
    FV_FORWARD(fv_onnx_input(r, n, i, &entry));
    if (!entry) return FV_OK;
    if (!entry->constant && r->wanted && r->last && !r->narrow) return pin_origins(r, n, i, entry);
    FV_RETURN_IF(!entry->constant, FV_ERR_UNSUPPORTED, "node \"%.100s\" (%.60s) needs input %zu to be a constant",
                 n->name ? n->name : "", n->op_type, i);
    *out = &entry->tensor;
    return FV_OK;
}

fv_status fv_onnx_known_shape(fv_onnx_reader *r, const FvOnnx__Node *n, const fv_shape *s) {
    for (int32_t i = 0; i < s->rank && !r->wanted; i++)
        if (s->dim[i] == 0) return fv_onnx_refuse(n, "it needs sizes that are known only with the batch");
    return FV_OK;
}

/* Whether a node, a branch or the graph's outputs want this name; branches are not looked into, so any of their names counts. */
static bool is_read(const fv_onnx_reader *r, const char *name) {
    const FvOnnx__Graph *g = r->model->graph;
    if (r->depth > 0) return true;
    for (size_t i = 0; i < g->n_output; i++)
        if (g->output[i]->name && strcmp(g->output[i]->name, name) == 0) return true;
    for (size_t i = 0; i < g->n_node; i++) {
        for (size_t k = 0; k < g->node[i]->n_input; k++)
            if (strcmp(g->node[i]->input[k], name) == 0) return true;
        for (size_t k = 0; k < g->node[i]->n_attribute; k++)
            if (g->node[i]->attribute[k]->g) return true;
    }
    return false;
}

/* How many outputs the standard knows, the optional ones counted. */
static size_t most_outputs(const char *op) {
    static const struct {
        const char *op;
        size_t count;
    } several[] = {{"BatchNormalization", 5}, {"Dropout", 2}, {"GRU", 2},     {"LSTM", 3}, {"LayerNormalization", 3},
                   {"MaxPool", 2},            {"RNN", 2},     {"Split", 256}, {"TopK", 2}, {"SoftmaxCrossEntropyLoss", 2}};
    for (size_t i = 0; i < sizeof several / sizeof *several; i++)
        if (strcmp(op, several[i].op) == 0) return several[i].count;
    return 1;
}

fv_status fv_onnx_done(fv_onnx_reader *r, const FvOnnx__Node *n, fv_value v) {
    FV_FORWARD(fv_graph_status(r->graph));
    FV_RETURN_IF(n->n_output < 1 || !*n->output[0], FV_ERR_FORMAT, "node \"%.100s\" (%.60s) has no output",
                 n->name ? n->name : "", n->op_type);
    const size_t most = most_outputs(n->op_type);
    FV_RETURN_IF(n->n_output > most, FV_ERR_FORMAT, "node \"%.100s\" (%.60s) has %zu outputs, %zu %s possible", n->name ? n->name : "",
                 n->op_type, n->n_output, most, most == 1 ? "is" : "are");
    for (size_t i = 1; i < n->n_output; i++)
        FV_RETURN_IF(*n->output[i] && is_read(r, n->output[i]), FV_ERR_UNSUPPORTED, "node \"%.100s\" (%.60s) has a second output \"%.100s\"",
                     n->name ? n->name : "", n->op_type, n->output[i]);
    FV_FORWARD(fv_graph_name_value(r->graph, v, n->output[0], false));
    return fv_onnx_define(r, &(fv_onnx_name){.name = n->output[0], .value = v});
}

fv_status fv_onnx_done_all(fv_onnx_reader *r, const FvOnnx__Node *n, const fv_value *v, size_t count) {
    FV_FORWARD(fv_graph_status(r->graph));
    FV_RETURN_IF(n->n_output < 1 || n->n_output > count, FV_ERR_FORMAT, "node \"%.100s\" (%.60s) has %zu outputs", n->name ? n->name : "", n->op_type,
                 n->n_output);
    for (size_t i = 0; i < n->n_output; i++) {
        if (!*n->output[i]) continue;
        FV_FORWARD(fv_graph_name_value(r->graph, v[i], n->output[i], false));
        FV_FORWARD(fv_onnx_define(r, &(fv_onnx_name){.name = n->output[i], .value = v[i]}));
    }
    return FV_OK;
}

fv_status fv_onnx_refuse(const FvOnnx__Node *n, const char *what) {
    return fv_fail(FV_ERR_UNSUPPORTED, "node \"%.100s\" (%.60s): %s", n->name ? n->name : "", n->op_type, what);
}

const char *fv_onnx_node_name(const FvOnnx__Node *n) {
    return n->name && *n->name ? n->name : n->n_output ? n->output[0] : NULL;
}

fv_status fv_onnx_ints(const FvOnnx__Node *n, const char *name, size_t count, int32_t *out) {
    const FvOnnx__Attribute *a = fv_onnx_attribute(n, name);
    if (!a) return FV_OK;
    if (a->n_ints != count) return fv_onnx_refuse(n, "only 2-D windows are read");
    for (size_t i = 0; i < count; i++) {
        FV_RETURN_IF(a->ints[i] < INT32_MIN || a->ints[i] > INT32_MAX, FV_ERR_LIMIT,
                     "node \"%.100s\" (%.60s): %s holds %lld", n->name ? n->name : "", n->op_type, name,
                     (long long)a->ints[i]);
        out[i] = (int32_t)a->ints[i];
    }
    return FV_OK;
}

fv_status fv_onnx_padding(const FvOnnx__Node *n, fv_padding *mode, int32_t before[2], int32_t after[2]) {
    static const char *const names[] = {"NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER"};
    static const fv_padding modes[] = {FV_PAD_EXPLICIT, FV_PAD_VALID, FV_PAD_SAME_UPPER, FV_PAD_SAME_LOWER};
    int32_t pads[4] = {0};
    FV_FORWARD(fv_onnx_ints(n, "pads", 4, pads));
    memcpy(before, pads, 2 * sizeof *pads);
    memcpy(after, pads + 2, 2 * sizeof *pads);
    *mode = FV_PAD_EXPLICIT;
    const FvOnnx__Attribute *a = fv_onnx_attribute(n, "auto_pad");
    if (!a) return FV_OK;
    size_t i = 0;
    while (i < FV_ARRAY_SIZE(names) && (a->s.len != strlen(names[i]) || memcmp(a->s.data, names[i], a->s.len) != 0)) i++;
    FV_RETURN_IF(i == FV_ARRAY_SIZE(names), FV_ERR_FORMAT, "node \"%.100s\" (%.60s): unknown auto_pad",
                 n->name ? n->name : "", n->op_type);
    *mode = modes[i];
    FV_RETURN_IF(*mode != FV_PAD_EXPLICIT && (pads[0] || pads[1] || pads[2] || pads[3]), FV_ERR_FORMAT,
                 "node \"%.100s\" (%.60s): auto_pad %s and pads exclude each other", n->name ? n->name : "", n->op_type,
                 names[i]);
    return FV_OK;
}

/* Layers of float maps and rows with parameters of their own: asked first, since they are what is trained, fused and fast. */
static const fv_onnx_read_row *const narrow_families[] = {
    fv_onnx_read_conv, fv_onnx_read_pointwise, fv_onnx_read_rest, fv_onnx_read_norm, fv_onnx_read_activation,
    fv_onnx_read_contrast, fv_onnx_read_conv_transpose, fv_onnx_read_pool, fv_onnx_read_parts, NULL,
};

/* Operators on tensors of any type and rank: asked next. Constants are values to them as well. */
static const fv_onnx_read_row *const general_families[] = {
    fv_onnx_read_shape,
    fv_onnx_read_nd_pointwise, fv_onnx_read_nd_matrix, fv_onnx_read_nd_norm, fv_onnx_read_nd_window,
    fv_onnx_read_nd_quantize, fv_onnx_read_nd_optimizer, fv_onnx_read_nd_loss, fv_onnx_read_nd_recurrent,
    fv_onnx_read_nd_shape, fv_onnx_read_nd_gather, fv_onnx_read_nd_reduce, fv_onnx_read_nd_resize, fv_onnx_read_nd_select,
    fv_onnx_read_nd_rest,
    NULL,
};

/* Domain "fovea", NULL-terminated. */
static const fv_onnx_read_row *const functions[] = {
    fv_onnx_read_conv_functions, fv_onnx_read_norm_functions, fv_onnx_read_local_functions, fv_onnx_read_activation_functions,
    fv_onnx_read_contrast_functions, fv_onnx_functions_pool, NULL,
};

/* ... of general tensors. */
static const fv_onnx_read_row *const general_functions[] = {fv_onnx_read_nd_functions, NULL};

typedef struct asked {
    fv_status (*read[8])(fv_onnx_reader *r, const FvOnnx__Node *n);
    size_t count, narrow; /* the first `narrow` of them */
} asked;

/* The readers of an operator whose name is the first `length` bytes of op. */
static void find_rows(const fv_onnx_read_row *const *families, const char *op, size_t length, asked *a) {
    for (; *families; families++)
        for (const fv_onnx_read_row *row = *families; row->op; row++)
            if (strncmp(row->op, op, length) == 0 && row->op[length] == 0 && a->count < FV_ARRAY_SIZE(a->read)) a->read[a->count++] = row->read;
}

static bool is_standard(const FvOnnx__Node *n) {
    return !n->domain || !*n->domain || strcmp(n->domain, "ai.onnx") == 0 || strcmp(n->domain, "ai.onnx.preview.training") == 0;
}

static asked readers_of(const FvOnnx__Node *n) {
    asked a = {.count = 0};
    if (is_standard(n)) {
        find_rows(narrow_families, n->op_type, strlen(n->op_type), &a);
        a.narrow = a.count;
        find_rows(general_families, n->op_type, strlen(n->op_type), &a);
    } else if (strcmp(n->domain, FV_ONNX_DOMAIN) == 0) { /* "name.2": another definition of the same layer */
        find_rows(functions, n->op_type, strcspn(n->op_type, "."), &a);
        a.narrow = a.count;
        find_rows(general_functions, n->op_type, strcspn(n->op_type, "."), &a);
    }
    return a;
}

bool fv_onnx_is_known(const FvOnnx__Node *n) { return n->op_type && readers_of(n).count > 0; }

/* ---- one node ---- */

/* Before and after a reader that could not read the node. */
typedef struct mark {
    fv_graph_mark graph;
    size_t names;
    bool folded;
} mark;

static void go_back(fv_onnx_reader *r, const FvOnnx__Node *n, const mark *m) {
    fv_graph_rewind(r->graph, m->graph);
    fv_onnx_forget(r->names, m->names);
    r->folded = m->folded;
    for (size_t i = 0; i < n->n_input; i++) {
        fv_onnx_name *entry = *n->input[i] ? fv_onnx_find_in(r->names, n->input[i]) : NULL;
        if (!entry || !entry->constant) continue;
        if (entry->value != FV_NONE && (size_t)entry->value >= m->graph.values) entry->value = FV_NONE, entry->turned = false;
        if ((size_t)entry->plain >= m->graph.values) entry->plain = 0;
    }
}

/* What a later reader says counts, unless it only does not read such nodes while an earlier one found a fault. */
static void keep_sentence(fv_status status, fv_status *kept, char sentence[512]) {
    if (*kept != FV_OK && *kept != FV_ERR_UNSUPPORTED && status == FV_ERR_UNSUPPORTED) return;
    *kept = status;
    snprintf(sentence, 512, "%s", fv_last_error());
}

static fv_status ask(fv_onnx_reader *r, const FvOnnx__Node *n) {
    const asked a = readers_of(n);
    const mark before = {fv_graph_marked(r->graph), r->names->count, r->folded};
    char sentence[512] = "";
    fv_status kept = FV_OK;
    for (size_t i = 0; i < a.count; i++) {
        r->narrow = i < a.narrow;
        r->last = i + 1 == a.count;
        const fv_status status = a.read[i](r, n);
        const bool built = r->graph->status != FV_OK; /* the layer's own shapes do not fit: a tensor's may */
        if (status == FV_OK || (status != FV_ERR_UNSUPPORTED && !(status == FV_ERR_SHAPE && built))) return status;
        keep_sentence(status, &kept, sentence);
        go_back(r, n, &before);
    }
    if (kept != FV_OK) return fv_fail(kept, "%s", sentence);
    return fv_fail(FV_ERR_UNSUPPORTED, "node \"%.100s\": operator %.60s%s%.60s is not supported", n->name ? n->name : "", n->op_type,
                   is_standard(n) ? "" : " of domain ", is_standard(n) ? "" : n->domain);
}

fv_status fv_onnx_ask_readers(fv_onnx_reader *r, const FvOnnx__Node *n) {
    const bool narrow = r->narrow, last = r->last;
    const fv_status status = ask(r, n);
    r->narrow = narrow;
    r->last = last;
    return status;
}

fv_status fv_onnx_read_node(fv_onnx_reader *r, const FvOnnx__Node *n) {
    bool done;
    FV_RETURN_IF(!n->op_type, FV_ERR_FORMAT, "a node has no operator");
    FV_RETURN_IF(!n->n_output, FV_ERR_FORMAT, "node \"%.100s\" (%.60s) has no output", n->name ? n->name : "", n->op_type);
    FV_RETURN_IF(*r->budget == 0, FV_ERR_LIMIT, "the model has too many nodes once functions and branches are opened");
    --*r->budget;
    FV_FORWARD(fv_onnx_resolve(r, &n));
    r->node = n;
    if (is_standard(n) && strcmp(n->op_type, "If") == 0) return fv_onnx_read_if(r, n);
    if (!fv_onnx_is_known(n)) {
        FV_FORWARD(fv_onnx_inline(r, n, &done));
        if (done) return FV_OK;
    }
    FV_FORWARD(fv_onnx_compute(r, n, &done));
    return done ? FV_OK : fv_onnx_ask_readers(r, n);
}
