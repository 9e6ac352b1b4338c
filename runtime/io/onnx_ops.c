/* What readers of operators share, and who reads which. */
#include "io/onnx_internal.h"

#include <string.h>

/* Input i of a node: NULL when left out. */
fv_status fv_onnx_input(const fv_onnx_reader *r, const FvOnnx__Node *n, size_t i, const fv_onnx_name **out) {
    *out = NULL;
    if (i >= n->n_input || !*n->input[i]) return FV_OK;
    *out = fv_onnx_find(r, n->input[i]);
    FV_RETURN_IF(!*out, FV_ERR_FORMAT, "node \"%.100s\" (%.60s) uses \"%.200s\", which nothing before it makes",
                 n->name ? n->name : "", n->op_type, n->input[i]);
    return FV_OK;
}

/* A constant as a parameter of the graph, made at its first use with the given shape. */
fv_status fv_onnx_parameter(fv_onnx_reader *r, const fv_onnx_name *entry, int32_t rank, const int64_t *shape,
                           fv_value *out) {
    fv_onnx_name *mine = (fv_onnx_name *)entry; /* the reader owns the table */
    if (entry->value == FV_NONE) {
        float *values;
        FV_FORWARD(fv_alloc_array(r->context, entry->tensor.count ? entry->tensor.count : 1, sizeof *values,
                                  entry->name, (void **)&values));
        for (size_t i = 0; i < entry->tensor.count; i++) values[i] = fv_onnx_tensor_float(&entry->tensor, i);
        mine->value = fv_graph_parameter(r->graph, entry->name, rank, shape, values, FV_INIT_ZEROS, true);
        fv_release(r->context, values);
    }
    FV_RETURN_IF(entry->turned, FV_ERR_UNSUPPORTED, "\"%.200s\" is used by two nodes in different ways", entry->name);
    *out = entry->value;
    return fv_graph_status(r->graph);
}

/* Input i as a value computed by the graph. */
fv_status fv_onnx_value(const fv_onnx_reader *r, const FvOnnx__Node *n, size_t i, fv_value *out) {
    const fv_onnx_name *entry;
    FV_FORWARD(fv_onnx_input(r, n, i, &entry));
    FV_RETURN_IF(!entry, FV_ERR_FORMAT, "node \"%.100s\" (%.60s) lacks input %zu", n->name ? n->name : "", n->op_type,
                 i);
    FV_RETURN_IF(entry->constant, FV_ERR_UNSUPPORTED, "node \"%.100s\" (%.60s) takes the constant \"%.100s\" as data",
                 n->name ? n->name : "", n->op_type, entry->name);
    FV_RETURN_IF(entry->as_maps, FV_ERR_UNSUPPORTED, "node \"%.100s\" (%.60s) takes \"%.100s\" as maps (N,C,1,1), which only scale other maps",
                 n->name ? n->name : "", n->op_type, entry->name);
    FV_RETURN_IF(entry->value == FV_NONE, FV_ERR_UNSUPPORTED,
                 "node \"%.100s\" (%.60s) needs what an unsupported node makes", n->name ? n->name : "", n->op_type);
    *out = entry->value;
    return FV_OK;
}

/* Input i as a constant; NULL when left out. */
fv_status fv_onnx_constant(const fv_onnx_reader *r, const FvOnnx__Node *n, size_t i, const fv_onnx_tensor **out) {
    const fv_onnx_name *entry;
    *out = NULL;
    FV_FORWARD(fv_onnx_input(r, n, i, &entry));
    if (!entry) return FV_OK;
    FV_RETURN_IF(!entry->constant, FV_ERR_UNSUPPORTED, "node \"%.100s\" (%.60s) needs input %zu to be a constant",
                 n->name ? n->name : "", n->op_type, i);
    *out = &entry->tensor;
    return FV_OK;
}

fv_status fv_onnx_done(fv_onnx_reader *r, const FvOnnx__Node *n, fv_value v) {
    FV_FORWARD(fv_graph_status(r->graph));
    FV_RETURN_IF(n->n_output < 1 || !*n->output[0], FV_ERR_FORMAT, "node \"%.100s\" (%.60s) has no output",
                 n->name ? n->name : "", n->op_type);
    for (size_t i = 1; i < n->n_output; i++)
        FV_RETURN_IF(*n->output[i], FV_ERR_UNSUPPORTED, "node \"%.100s\" (%.60s) has a second output \"%.100s\"",
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

static const fv_onnx_read_row *const families[] = {
    fv_onnx_read_conv, fv_onnx_read_pointwise, fv_onnx_read_rest, fv_onnx_read_norm, fv_onnx_read_activation,
    fv_onnx_read_contrast, fv_onnx_read_conv_transpose, fv_onnx_read_pool, fv_onnx_read_parts,
    fv_onnx_read_nd_shape, fv_onnx_read_nd_gather, fv_onnx_read_nd_reduce, fv_onnx_read_nd_resize,
};

/* Domain "fovea", NULL-terminated. */
static const fv_onnx_read_row *const functions[] = {
    fv_onnx_read_conv_functions, fv_onnx_read_norm_functions, fv_onnx_read_local_functions, fv_onnx_read_activation_functions,
    fv_onnx_read_contrast_functions, fv_onnx_functions_pool, NULL,
};

/* Of a family, the row of an operator whose name is the first `length` bytes of op. */
static const fv_onnx_read_row *find_row(const fv_onnx_read_row *row, const char *op, size_t length) {
    for (; row->op; row++)
        if (strncmp(row->op, op, length) == 0 && row->op[length] == 0) return row;
    return NULL;
}

fv_status fv_onnx_read_node(fv_onnx_reader *r, const FvOnnx__Node *n) {
    const fv_onnx_read_row *row = NULL;
    FV_RETURN_IF(!n->op_type, FV_ERR_FORMAT, "a node has no operator");
    const bool standard = !n->domain || !*n->domain || strcmp(n->domain, "ai.onnx") == 0;
    if (standard)
        for (size_t k = 0; !row && k < FV_ARRAY_SIZE(families); k++) row = find_row(families[k], n->op_type, strlen(n->op_type));
    else if (strcmp(n->domain, FV_ONNX_DOMAIN) == 0) /* "name.2": another definition of the same layer */
        for (size_t k = 0; !row && functions[k]; k++) row = find_row(functions[k], n->op_type, strcspn(n->op_type, "."));
    if (row) return row->read(r, n);
    return fv_fail(FV_ERR_UNSUPPORTED, "node \"%.100s\": operator %.60s%s%.60s is not supported",
                   n->name ? n->name : "", n->op_type, standard ? "" : " of domain ", standard ? "" : n->domain);
}
