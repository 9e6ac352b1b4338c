/* Nodes that stand for others: a branch of If, a call of a model-local function. What they hold is read in a scope of
 * its own. */
#include "io/onnx_scope.h"

#include <string.h>

/* The function calls that a node is inside of, and what their attributes are. */
typedef struct fv_onnx_frame {
    const struct fv_onnx_frame *outer;
    const FvOnnx__Function *function;
    const FvOnnx__Node *call;
} fv_onnx_frame;

static fv_status deeper(fv_onnx_reader *r, const FvOnnx__Node *n) {
    FV_RETURN_IF(r->depth >= r->context->settings.model_depth, FV_ERR_LIMIT,
                 "node \"%.100s\" (%.60s): functions and branches lie more than %d deep", n->name ? n->name : "",
                 n->op_type, r->context->settings.model_depth);
    r->depth++;
    return FV_OK;
}

/* What the inner scope calls `inside` is output i of n outside. */
static fv_status hand_out(fv_onnx_reader *r, const fv_onnx_names *inside_scope, const char *inside,
                          const FvOnnx__Node *n, size_t i) {
    if (i >= n->n_output || !*n->output[i]) return FV_OK;
    const fv_onnx_name *known = fv_onnx_find_in(inside_scope, inside);
    FV_RETURN_IF(!known || known->absent, FV_ERR_FORMAT, "node \"%.100s\" (%.60s): nothing in it makes \"%.200s\"",
                 n->name ? n->name : "", n->op_type, inside);
    return fv_onnx_define_alias(r, n->output[i], known);
}

/* ---- If ---- */

static fv_status read_branch(fv_onnx_reader *r, const FvOnnx__Node *n, const FvOnnx__Graph *g) {
    fv_onnx_names *outside = r->names;
    FV_RETURN_IF(g->n_output < n->n_output, FV_ERR_FORMAT, "node \"%.100s\" (If): a branch gives %zu of %zu outputs",
                 n->name ? n->name : "", g->n_output, n->n_output);
    FV_FORWARD(fv_onnx_new_scope(r, outside, &r->names));
    fv_onnx_names *inside = r->names;
    fv_status status = fv_onnx_read_initializers(r, g);
    if (status == FV_OK) status = fv_onnx_read_nodes(r, g->node, g->n_node);
    r->names = outside;
    r->node = n;
    for (size_t i = 0; i < g->n_output && status == FV_OK; i++)
        status = hand_out(r, inside, g->output[i]->name ? g->output[i]->name : "", n, i);
    return status; /* the scope lives on: values that come from it are looked for there */
}

fv_status fv_onnx_read_if(fv_onnx_reader *r, const FvOnnx__Node *n) {
    const fv_onnx_tensor *condition;
    const FvOnnx__Attribute *then = fv_onnx_attribute(n, "then_branch"),
                            *otherwise = fv_onnx_attribute(n, "else_branch");
    FV_RETURN_IF(!then || !then->g || !otherwise || !otherwise->g, FV_ERR_FORMAT, "node \"%.100s\" (If) lacks a branch",
                 n->name ? n->name : "");
    r->narrow = false;
    r->last = true;
    FV_FORWARD(fv_onnx_constant(r, n, 0, &condition));
    if (!condition || condition->count != 1) return fv_onnx_refuse(n, "its condition must be one constant");
    FV_FORWARD(deeper(r, n));
    const fv_status status = read_branch(r, n, fv_onnx_tensor_int(condition, 0) ? then->g : otherwise->g);
    r->depth--;
    return status;
}

/* ---- functions ---- */

static const FvOnnx__Function *find_function(const fv_onnx_reader *r, const FvOnnx__Node *n) {
    const char *domain = n->domain ? n->domain : "";
    for (size_t i = 0; i < r->model->n_functions; i++) {
        const FvOnnx__Function *f = r->model->functions[i];
        if (f->name && strcmp(f->name, n->op_type) == 0 && strcmp(f->domain ? f->domain : "", domain) == 0) return f;
    }
    return NULL;
}

static fv_status bind_inputs(fv_onnx_reader *r, const fv_onnx_names *outside, const FvOnnx__Function *f,
                             const FvOnnx__Node *n) {
    FV_RETURN_IF(n->n_input > f->n_input || n->n_output > f->n_output, FV_ERR_FORMAT,
                 "node \"%.100s\" (%.60s): its function takes %zu inputs and gives %zu outputs", n->name ? n->name : "",
                 n->op_type, f->n_input, f->n_output);
    for (size_t i = 0; i < f->n_input; i++) {
        const char *given = i < n->n_input ? n->input[i] : "";
        const fv_onnx_name *known = *given ? fv_onnx_find_in(outside, given) : NULL;
        FV_RETURN_IF(*given && !known, FV_ERR_FORMAT,
                     "node \"%.100s\" (%.60s) uses \"%.200s\", which nothing before it makes", n->name ? n->name : "",
                     n->op_type, given);
        if (!known) {
            FV_FORWARD(fv_onnx_define(r, &(fv_onnx_name){.name = f->input[i], .value = FV_NONE, .absent = true}));
            continue;
        }
        fv_onnx_name entry = *known; /* its origin is where it was made */
        entry.name = f->input[i];
        FV_FORWARD(fv_onnx_define(r, &entry));
    }
    return FV_OK;
}

static fv_status read_body(fv_onnx_reader *r, const FvOnnx__Function *f, const FvOnnx__Node *n) {
    fv_onnx_names *outside = r->names;
    FV_FORWARD(fv_onnx_new_scope(r, NULL, &r->names));
    fv_onnx_names *inside = r->names;
    fv_status status = bind_inputs(r, outside, f, n);
    if (status == FV_OK) status = fv_onnx_read_nodes(r, f->node, f->n_node);
    r->names = outside;
    r->node = n;
    for (size_t i = 0; i < f->n_output && status == FV_OK; i++) status = hand_out(r, inside, f->output[i], n, i);
    return status;
}

fv_status fv_onnx_inline(fv_onnx_reader *r, const FvOnnx__Node *n, bool *done) {
    const FvOnnx__Function *f = find_function(r, n);
    *done = f != NULL;
    if (!f) return FV_OK;
    for (const fv_onnx_frame *frame = r->frame; frame; frame = frame->outer)
        FV_RETURN_IF(frame->function == f, FV_ERR_FORMAT, "node \"%.100s\": function %.60s calls itself",
                     n->name ? n->name : "", n->op_type);
    const fv_onnx_frame frame = {r->frame, f, n};
    const int64_t opset = r->opset;
    FV_FORWARD(deeper(r, n));
    r->frame = &frame;
    for (size_t i = 0; i < f->n_opset_import; i++) {
        const char *domain = f->opset_import[i]->domain;
        if (!domain || !*domain || strcmp(domain, "ai.onnx") == 0) r->opset = f->opset_import[i]->version;
    }
    const fv_status status = read_body(r, f, n);
    r->opset = opset;
    r->frame = frame.outer;
    r->depth--;
    return status;
}

/* ---- attributes ---- */

static const FvOnnx__Attribute *given_or_default(const fv_onnx_frame *frame, const char *name) {
    const FvOnnx__Attribute *given = fv_onnx_attribute(frame->call, name);
    for (size_t i = 0; !given && i < frame->function->n_attribute_proto; i++) {
        const FvOnnx__Attribute *a = frame->function->attribute_proto[i];
        if (a->name && strcmp(a->name, name) == 0) given = a;
    }
    return given;
}

fv_status fv_onnx_resolve(fv_onnx_reader *r, const FvOnnx__Node **n) {
    bool refers = false;
    for (size_t i = 0; i < (*n)->n_attribute; i++)
        refers = refers || ((*n)->attribute[i]->ref_attr_name && *(*n)->attribute[i]->ref_attr_name);
    if (!refers) return FV_OK;
    FV_RETURN_IF(!r->frame, FV_ERR_FORMAT,
                 "node \"%.100s\" (%.60s): an attribute refers to a function's, outside of any",
                 (*n)->name ? (*n)->name : "", (*n)->op_type);
    FvOnnx__Node *copy;
    FV_FORWARD(fv_onnx_take_bytes(r->memory, sizeof *copy, (void **)&copy));
    *copy = **n;
    FV_FORWARD(
        fv_onnx_take_bytes(r->memory, (copy->n_attribute + 1) * sizeof *copy->attribute, (void **)&copy->attribute));
    copy->n_attribute = 0;
    for (size_t i = 0; i < (*n)->n_attribute; i++) {
        FvOnnx__Attribute *a = (*n)->attribute[i];
        if (a->ref_attr_name && *a->ref_attr_name) {
            const FvOnnx__Attribute *given = given_or_default(r->frame, a->ref_attr_name);
            if (!given) continue; /* left out: the operator's own default */
            FvOnnx__Attribute *named;
            FV_FORWARD(fv_onnx_take_bytes(r->memory, sizeof *named, (void **)&named));
            *named = *given;
            named->name = a->name;
            named->ref_attr_name = NULL;
            a = named;
        }
        copy->attribute[copy->n_attribute++] = a;
    }
    *n = copy;
    return FV_OK;
}
