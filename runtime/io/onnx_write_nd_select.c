/* Values put to places, searched for and chosen; lines of one axis; samples of maps. */
#include "io/onnx_write_nd.h"
#include "ops/nd.h"

#include <string.h>

static void write_scatter(fv_onnx_writer *w, const fv_node *source) {
    static const char *const reductions[] = {"none", "add", "mul", "max", "min"};
    const fv_nd_attr *a = &source->attr.nd;
    const bool elements = source->op == &fv_op_scatter_elements;
    if (a->flag || a->keep) fv_onnx_cannot(w, source, "a scatter of gradients");
    if (a->kind == FV_SCATTER_MAX || a->kind == FV_SCATTER_MIN) fv_onnx_need(w, 18);
    FvOnnx__Node *n = fv_onnx_begin(w, source, elements ? "ScatterElements" : "ScatterND", 3);
    if (!n) return;
    if (elements) fv_onnx_make_int(w, n, "axis", a->a[0]);
    if (a->kind != FV_SCATTER_SET) fv_onnx_make_text(w, n, "reduction", reductions[a->kind]);
}

static void write_top_k(fv_onnx_writer *w, const fv_node *source) {
    const fv_nd_attr *a = &source->attr.nd;
    FvOnnx__Node *n = fv_onnx_begin(w, source, "TopK", 2);
    fv_onnx_list_input(w, n, 1, "k", 1, a->b);
    if (!n) return;
    fv_onnx_make_int(w, n, "axis", a->a[0]);
    if (a->kind == 1) fv_onnx_make_int(w, n, "largest", 0);
    if (n->n_output == 1) fv_onnx_make_output(w, n, fv_onnx_text(w, "%s.places", n->output[0], 0));
}

static void write_cumsum(fv_onnx_writer *w, const fv_node *source) {
    const fv_nd_attr *a = &source->attr.nd;
    FvOnnx__Node *n = fv_onnx_begin(w, source, "CumSum", 2);
    fv_onnx_integer_input(w, n, 1, "axis", a->a[0]);
    if (!n) return;
    if (a->keep) fv_onnx_make_int(w, n, "exclusive", 1);
    if (a->flag) fv_onnx_make_int(w, n, "reverse", 1);
}

static void write_reverse_sequence(fv_onnx_writer *w, const fv_node *source) {
    FvOnnx__Node *n = fv_onnx_begin(w, source, "ReverseSequence", 2);
    if (!n) return;
    fv_onnx_make_int(w, n, "time_axis", source->attr.nd.a[0]);
    fv_onnx_make_int(w, n, "batch_axis", source->attr.nd.b[0]);
}

static void write_trilu(fv_onnx_writer *w, const fv_node *source) {
    FvOnnx__Node *n = fv_onnx_begin(w, source, "Trilu", 2);
    fv_onnx_integer_input(w, n, 1, "diagonal", source->attr.nd.a[0]);
    if (n && source->attr.nd.kind == 0) fv_onnx_make_int(w, n, "upper", 0);
}

static void write_one_hot(fv_onnx_writer *w, const fv_node *source) {
    FvOnnx__Node *n = fv_onnx_begin(w, source, "OneHot", 3);
    if (!n) return;
    n->input[2] = n->input[1];
    fv_onnx_integer_input(w, n, 1, "depth", source->attr.nd.b[0]);
    fv_onnx_make_int(w, n, "axis", source->attr.nd.a[0]);
}

/* ---- boxes and samples ---- */

static void write_nms(fv_onnx_writer *w, const fv_node *source) {
    const fv_nd_attr *a = &source->attr.nd;
    const float overlap = (float)a->alpha, score = (float)a->beta;
    FvOnnx__Node *n = fv_onnx_begin(w, source, "NonMaxSuppression", a->flag ? 5 : 4);
    fv_onnx_list_input(w, n, 2, "most", 1, a->a);
    if (!n) return;
    const int64_t one = 1;
    n->input[3] = fv_onnx_made_tensor(w, n->output[0], "overlap", 1, &one, FV_F32, &overlap);
    if (a->flag) n->input[4] = fv_onnx_made_tensor(w, n->output[0], "score", 1, &one, FV_F32, &score);
    if (a->keep) fv_onnx_make_int(w, n, "center_point_box", 1);
}

static void write_grid_sample(fv_onnx_writer *w, const fv_node *source) {
    const fv_nd_attr *a = &source->attr.nd;
    const char *const modes[] = {w->opset >= 20 ? "linear" : "bilinear", "nearest",
                                 w->opset >= 20 ? "cubic" : "bicubic"};
    static const char *const outside[] = {"zeros", "border", "reflection"};
    FvOnnx__Node *n = fv_onnx_begin(w, source, "GridSample", 2);
    if (!n) return;
    fv_onnx_make_text(w, n, "mode", modes[a->kind]);
    fv_onnx_make_text(w, n, "padding_mode", outside[a->mode]);
    if (a->flag) fv_onnx_make_int(w, n, "align_corners", 1);
}

static void write_roi_align(fv_onnx_writer *w, const fv_node *source) {
    const fv_nd_attr *a = &source->attr.nd;
    FvOnnx__Node *n = fv_onnx_begin(w, source, "RoiAlign", 3);
    if (!n) return;
    fv_onnx_make_text(w, n, "mode", a->kind == 1 ? "max" : "avg");
    fv_onnx_make_text(w, n, "coordinate_transformation_mode", a->flag ? "half_pixel" : "output_half_pixel");
    fv_onnx_make_int(w, n, "output_height", a->a[0]);
    fv_onnx_make_int(w, n, "output_width", a->a[1]);
    fv_onnx_make_int(w, n, "sampling_ratio", a->a[2]);
    fv_onnx_make_float(w, n, "spatial_scale", (float)a->alpha);
}

const fv_onnx_write_row fv_onnx_write_nd_select[] = {
    {&fv_op_scatter_elements, write_scatter},
    {&fv_op_scatter_nd, write_scatter},
    {&fv_op_top_k, write_top_k},
    {&fv_op_cumsum, write_cumsum},
    {&fv_op_reverse_sequence, write_reverse_sequence},
    {&fv_op_trilu, write_trilu},
    {&fv_op_one_hot, write_one_hot},
    {&fv_op_nms, write_nms},
    {&fv_op_grid_sample, write_grid_sample},
    {&fv_op_roi_align, write_roi_align},
    {NULL, NULL},
};
