/* Values joined and cut, and attention. */
#include "io/onnx_writer.h"

static void write_concat(fv_onnx_writer *w, const fv_node *source) {
    FvOnnx__Node *n =
        fv_onnx_make_node(w, "Concat", source->name, (size_t)source->in_count, fv_onnx_value_name(w, source->out[0]));
    if (!n) return;
    for (int32_t i = 0; i < source->in_count; i++) n->input[i] = fv_onnx_value_name(w, source->in[i]);
    fv_onnx_make_int(w, n, "axis", source->attr.parts.axis);
}

static void write_split(fv_onnx_writer *w, const fv_node *source) {
    const fv_parts_attr *a = &source->attr.parts;
    int64_t sizes[FV_MOST_PARTS];
    FvOnnx__Node *n = fv_onnx_make_node(w, "Split", source->name, 2, fv_onnx_value_name(w, source->out[0]));
    if (!n) return;
    for (int32_t i = 0; i < a->count; i++) sizes[i] = a->size[i];
    for (int32_t i = 1; i < a->count; i++) fv_onnx_make_output(w, n, fv_onnx_value_name(w, source->out[i]));
    n->input[0] = fv_onnx_value_name(w, source->in[0]);
    n->input[1] = fv_onnx_make_list(w, n->output[0], "sizes", (size_t)a->count, sizes);
    fv_onnx_make_int(w, n, "axis", a->axis);
}

static void write_slice(fv_onnx_writer *w, const fv_node *source) {
    const fv_parts_attr *a = &source->attr.parts;
    const int64_t start = a->size[0], end = start + a->size[1], axis = a->axis;
    FvOnnx__Node *n = fv_onnx_make_node(w, "Slice", source->name, 4, fv_onnx_value_name(w, source->out[0]));
    if (!n) return;
    n->input[0] = fv_onnx_value_name(w, source->in[0]);
    n->input[1] = fv_onnx_make_list(w, n->output[0], "starts", 1, &start);
    n->input[2] = fv_onnx_make_list(w, n->output[0], "ends", 1, &end);
    n->input[3] = fv_onnx_make_list(w, n->output[0], "axes", 1, &axis);
}

/* Mul with broadcasting: factors (N,C) get two axes first. */
static void write_scale(fv_onnx_writer *w, const fv_node *source) {
    const int64_t axes[2] = {2, 3};
    char *out = fv_onnx_value_name(w, source->out[0]), *factors = fv_onnx_value_name(w, source->in[1]);
    if (w->graph->values[source->in[1]].shape.rank == 2) {
        char *as_maps = fv_onnx_text(w, "%s.factors", out ? out : "", 0);
        FvOnnx__Node *n =
            fv_onnx_make_node(w, "Unsqueeze", fv_onnx_text(w, "%s.unsqueeze", source->name, 0), 2, as_maps);
        if (!n) return;
        n->input[0] = factors;
        n->input[1] = fv_onnx_make_list(w, out, "axes", 2, axes);
        factors = as_maps;
    }
    FvOnnx__Node *n = fv_onnx_make_node(w, "Mul", source->name, 2, out);
    if (!n) return;
    n->input[0] = fv_onnx_value_name(w, source->in[0]);
    n->input[1] = factors;
}

const fv_onnx_write_row fv_onnx_write_parts[] = {
    {&fv_op_concat, write_concat},    {&fv_op_split, write_split},        {&fv_op_slice, write_slice},
    {&fv_op_scale_maps, write_scale}, {&fv_op_scale_pixels, write_scale}, {NULL, NULL},
};
