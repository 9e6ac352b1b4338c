#include "io/onnx_function.h"

#include <string.h>

FvOnnx__Node *fv_onnx_make_call(fv_onnx_writer *w, const char *function, char *name, size_t inputs, char *output) {
    FvOnnx__Node *n = fv_onnx_make_node(w, function, name, inputs, output);
    if (n) n->domain = (char *)FV_ONNX_DOMAIN;
    return n;
}

/* The names in a text, as an array in the arena; NULL on failure. */
static char **split(fv_onnx_writer *w, const char *text, size_t *count) {
    char *copy = fv_onnx_text(w, "%s", text, 0);
    char **names = fv_onnx_take(w, (strlen(text) / 2 + 1) * sizeof *names);
    *count = 0;
    if (!copy || !names) return NULL;
    char *rest = copy;
    for (char *name = strtok_r(copy, " ", &rest); name; name = strtok_r(NULL, " ", &rest)) names[(*count)++] = name;
    return names;
}

FvOnnx__Node *fv_onnx_body(fv_onnx_writer *w, FvOnnx__Function *f, const char *op, const char *inputs,
                           const char *outputs) {
    FvOnnx__Node *n = fv_onnx_take(w, sizeof *n);
    FvOnnx__Node **grown = fv_onnx_take(w, (f ? f->n_node + 1 : 1) * sizeof *grown);
    if (!n || !grown || !f) return NULL;
    fv_onnx__node__init(n);
    n->op_type = (char *)op;
    n->input = split(w, inputs, &n->n_input);
    n->output = split(w, outputs, &n->n_output);
    if (f->n_node) memcpy(grown, f->node, f->n_node * sizeof *grown);
    grown[f->n_node++] = n;
    f->node = grown;
    return w->status == FV_OK ? n : NULL;
}

void fv_onnx_body_tensor(fv_onnx_writer *w, FvOnnx__Function *f, const char *name, int32_t rank, const int64_t *shape,
                         int32_t type, const void *data, size_t bytes) {
    FvOnnx__Node *n = fv_onnx_body(w, f, "Constant", "", name);
    FvOnnx__Attribute *a = fv_onnx_make_attribute(w, n, "value", FV_ONNX_ATTR_TENSOR);
    void *copy = fv_onnx_take(w, bytes);
    if (!a || !copy) return;
    if (bytes) memcpy(copy, data, bytes);
    a->t = fv_onnx_new_tensor(w, n->output[0], rank, shape, type, copy, bytes);
}

void fv_onnx_body_float(fv_onnx_writer *w, FvOnnx__Function *f, const char *name, float value) {
    fv_onnx_body_tensor(w, f, name, 0, NULL, FV_ONNX_FLOAT, &value, sizeof value);
}

void fv_onnx_body_ints(fv_onnx_writer *w, FvOnnx__Function *f, const char *name, size_t count, const int64_t *values) {
    const int64_t shape = (int64_t)count;
    fv_onnx_body_tensor(w, f, name, 1, &shape, FV_ONNX_INT64, values, count * sizeof *values);
}

void fv_onnx_make_reference(fv_onnx_writer *w, FvOnnx__Node *n, const char *name, int32_t type, const char *attribute) {
    FvOnnx__Attribute *a = fv_onnx_make_attribute(w, n, name, type);
    if (a) a->ref_attr_name = (char *)attribute;
}

void fv_onnx_body_reduce(fv_onnx_writer *w, FvOnnx__Function *f, const char *op, const char *in, const char *out, size_t count,
                         const int32_t *axes) {
    int64_t list[FV_MAX_RANK];
    if (w->opset < 18) {
        fv_onnx_make_ints(w, fv_onnx_body(w, f, op, in, out), "axes", count, axes);
        return;
    }
    char *name = fv_onnx_text(w, "%s_axes", out, 0), *inputs = fv_onnx_text(w, "%s ", in, 0);
    for (size_t i = 0; i < count; i++) list[i] = axes[i];
    if (!name || !inputs) return;
    fv_onnx_body_ints(w, f, name, count, list);
    char *both = fv_onnx_take(w, strlen(inputs) + strlen(name) + 1);
    if (both) fv_onnx_body(w, f, op, strcat(strcpy(both, inputs), name), out);
}

/* ---- definitions ---- */

/* What tells one definition from another: its inputs and outputs, and the attributes' names and types, or all of them.
 */
static bool make_key(fv_onnx_writer *w, const FvOnnx__Node *call, const char *inputs, const char *outputs,
                     bool by_value, fv_onnx_definition *d) {
    const size_t names[2] = {strlen(inputs) + 1, strlen(outputs) + 1};
    size_t bytes = names[0] + names[1];
    for (size_t i = 0; i < call->n_attribute; i++) bytes += fv_onnx__attribute__get_packed_size(call->attribute[i]);
    uint8_t *out = fv_onnx_take(w, bytes);
    if (!out) return false;
    memcpy(out, inputs, names[0]);
    memcpy(out + names[0], outputs, names[1]);
    d->key = out;
    d->key_bytes = names[0] + names[1];
    for (size_t i = 0; i < call->n_attribute; i++) {
        FvOnnx__Attribute named = FV_ONNX__ATTRIBUTE__INIT;
        named.name = call->attribute[i]->name;
        named.has_type = true;
        named.type = call->attribute[i]->type;
        d->key_bytes += fv_onnx__attribute__pack(by_value ? call->attribute[i] : &named, out + d->key_bytes);
    }
    return true;
}

/* Every attribute is a value of its name in the body: by this also runtimes that look for an attribute's use find one.
 */
static void make_attribute_values(fv_onnx_writer *w, FvOnnx__Function *f, const FvOnnx__Node *call) {
    f->attribute = fv_onnx_take(w, (call->n_attribute + 1) * sizeof *f->attribute);
    for (size_t i = 0; f->attribute && i < call->n_attribute; i++) {
        const FvOnnx__Attribute *a = call->attribute[i];
        const char *kept = a->type == FV_ONNX_ATTR_FLOAT    ? "value_float"
                           : a->type == FV_ONNX_ATTR_INT    ? "value_int"
                           : a->type == FV_ONNX_ATTR_STRING ? "value_string"
                           : a->type == FV_ONNX_ATTR_FLOATS ? "value_floats"
                           : a->type == FV_ONNX_ATTR_INTS   ? "value_ints"
                                                            : "value";
        f->attribute[f->n_attribute++] = a->name;
        fv_onnx_make_reference(w, fv_onnx_body(w, f, "Constant", "", a->name), kept, a->type, a->name);
    }
}

static fv_onnx_definition *new_definition(fv_onnx_writer *w, const char *base, int64_t number) {
    fv_onnx_definition *d = fv_onnx_take(w, sizeof *d);
    FvOnnx__OperatorSetId *opset = fv_onnx_take(w, sizeof *opset), **opsets = fv_onnx_take(w, sizeof *opsets);
    if (!d || !opset || !opsets) return NULL;
    w->status = fv_grow(w->context, (void **)&w->functions, &w->function_capacity, w->function_count + 1,
                        sizeof *w->functions, "the model file");
    if (w->status != FV_OK) return NULL;
    fv_onnx__operator_set_id__init(opset);
    opset->domain = (char *)"";
    opset->has_version = true;
    opset->version = w->opset ? w->opset : FV_ONNX_OPSET;
    *opsets = opset;
    fv_onnx__function__init(&d->message);
    d->message.domain = (char *)FV_ONNX_DOMAIN;
    d->message.name = number == 1 ? (char *)base : fv_onnx_text(w, "%s.%lld", base, number);
    d->message.n_opset_import = 1;
    d->message.opset_import = opsets;
    d->base = base;
    return d;
}

FvOnnx__Function *fv_onnx_define_function(fv_onnx_writer *w, FvOnnx__Node *call, const char *inputs,
                                          const char *outputs, bool by_value) {
    fv_onnx_definition wanted;
    int64_t number = 1;
    if (!call || w->status != FV_OK || !make_key(w, call, inputs, outputs, by_value, &wanted)) return NULL;
    for (size_t i = 0; i < w->function_count; i++) {
        const fv_onnx_definition *known = w->functions[i];
        if (strcmp(known->base, call->op_type) != 0) continue;
        number++;
        if (known->key_bytes != wanted.key_bytes || memcmp(known->key, wanted.key, wanted.key_bytes) != 0) continue;
        call->op_type = known->message.name;
        return NULL;
    }
    fv_onnx_definition *d = new_definition(w, call->op_type, number);
    if (!d) return NULL;
    d->key = wanted.key;
    d->key_bytes = wanted.key_bytes;
    d->message.input = split(w, inputs, &d->message.n_input);
    d->message.output = split(w, outputs, &d->message.n_output);
    make_attribute_values(w, &d->message, call);
    if (w->status != FV_OK) return NULL;
    call->op_type = d->message.name;
    w->functions[w->function_count++] = d;
    return &d->message;
}
