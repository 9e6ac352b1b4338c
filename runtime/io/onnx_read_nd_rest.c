/* Einsum, samples of maps, determinants. */
#include "io/onnx_nd.h"

#include <string.h>

/* ---- Einsum ---- */

/* Labels of one operand: letters, and 256 + i for the i-th axis from the last that an ellipsis stands for. */
typedef struct term {
    int32_t count, dots; /* dots: where the ellipsis stood, -1: nowhere */
    int64_t label[FV_MAX_RANK];
} term;

/* The next term of the text, up to a comma or an arrow. rank < 0: as many as there are, with `dots` axes for an ellipsis. */
static fv_status parse_term(const FvOnnx__Node *n, const char **text, const char *end, int32_t rank, int32_t dots, term *t) {
    char letters[FV_MAX_RANK + 1];
    int32_t count = 0, at = -1;
    const char *c = *text;
    for (; c < end && *c != ',' && *c != '-'; c++) {
        const bool letter = (*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z');
        if (*c == ' ') continue;
        if (end - c >= 3 && memcmp(c, "...", 3) == 0 && at < 0) {
            at = count;
            c += 2;
            continue;
        }
        FV_ONNX_REFUSE_IF(!letter || count == FV_MAX_RANK, n, "its equation is not understood at \"%.8s\"",
                          letter ? "too many labels" : "a sign");
        letters[count++] = *c;
    }
    *text = c;
    const int32_t more = at < 0 ? 0 : rank < 0 ? dots : rank - count;
    FV_ONNX_REFUSE_IF(more < 0 || (rank >= 0 && count + more != rank) || count + more > FV_MAX_RANK, n,
                      "%d labels for a tensor of rank %d", count, rank);
    *t = (term){.dots = more};
    for (int32_t i = 0; i <= count; i++) {
        for (int32_t k = 0; i == at && k < more; k++) t->label[t->count++] = 256 + more - 1 - k;
        if (i < count) t->label[t->count++] = letters[i];
    }
    return FV_OK;
}

static bool has(const term *t, int64_t label) {
    for (int32_t i = 0; i < t->count; i++)
        if (t->label[i] == label) return true;
    return false;
}

/* Without an arrow: the ellipsis, then in order every letter that stands once. */
static fv_status implicit_result(const FvOnnx__Node *n, const term *in, size_t inputs, int32_t dots, term *out) {
    *out = (term){0};
    for (int32_t k = dots; k-- > 0;) out->label[out->count++] = 256 + k;
    for (int64_t letter = 'A'; letter <= 'z'; letter++) {
        int32_t times = 0;
        for (size_t i = 0; i < inputs; i++)
            for (int32_t k = 0; k < in[i].count; k++) times += in[i].label[k] == letter;
        FV_ONNX_REFUSE_IF(times == 1 && out->count == FV_MAX_RANK, n, "a result of more than %d axes", FV_MAX_RANK);
        if (times == 1) out->label[out->count++] = letter;
    }
    return FV_OK;
}

static fv_status parse_equation(const fv_onnx_reader *r, const FvOnnx__Node *n, const fv_value *values, term *in, term *out) {
    const FvOnnx__Attribute *a = fv_onnx_attribute(n, "equation");
    int32_t dots = 0;
    FV_ONNX_REFUSE_IF(!a, n, "it has no equation");
    const char *text = (const char *)a->s.data, *end = text + a->s.len;
    for (size_t i = 0; i < n->n_input; i++) {
        FV_FORWARD(parse_term(n, &text, end, fv_onnx_shape(r, values[i])->rank, 0, &in[i]));
        if (in[i].dots > dots) dots = in[i].dots;
        FV_ONNX_REFUSE_IF(i + 1 < n->n_input && (text == end || *text++ != ','), n, "its equation has fewer than %zu terms",
                          n->n_input);
    }
    if (text == end) return implicit_result(n, in, n->n_input, dots, out);
    FV_ONNX_REFUSE_IF(end - text < 2 || text[1] != '>', n, "its equation has no arrow");
    text += 2;
    FV_FORWARD(parse_term(n, &text, end, -1, dots, out));
    FV_ONNX_REFUSE_IF(text != end, n, "its equation goes on after its result");
    return FV_OK;
}

/* What must stay of two operands for those after them and the result. */
static term between(const term *a, const term *b, const term *rest, size_t count, const term *out) {
    term t = {0};
    for (int pass = 0; pass < 2; pass++) {
        const term *from = pass ? b : a;
        for (int32_t i = 0; i < from->count; i++) {
            bool needed = has(out, from->label[i]);
            for (size_t k = 0; k < count; k++) needed = needed || has(&rest[k], from->label[i]);
            if (needed && !has(&t, from->label[i]) && t.count < FV_MAX_RANK) t.label[t.count++] = from->label[i];
        }
    }
    return t;
}

static fv_status read_einsum(fv_onnx_reader *r, const FvOnnx__Node *n) {
    enum { most = 8 };
    fv_value values[most];
    term in[most], out;
    FV_ONNX_REFUSE_IF(n->n_input < 1 || n->n_input > most, n, "%zu inputs", n->n_input);
    for (size_t i = 0; i < n->n_input; i++) FV_FORWARD(fv_onnx_value(r, n, i, &values[i]));
    FV_FORWARD(parse_equation(r, n, values, in, &out));
    fv_value made = values[0];
    term known = in[0];
    for (size_t i = n->n_input > 1; i < n->n_input; i++) {
        const bool last = i + 1 == n->n_input;
        const term to = last ? out : between(&known, &in[i], in + i + 1, n->n_input - i - 1, &out);
        const fv_value pair[2] = {made, values[i]};
        fv_attributes attr = {.nd = {.count = to.count}};
        memcpy(attr.nd.a, known.label, sizeof known.label);
        if (i) memcpy(attr.nd.b, in[i].label, sizeof known.label);
        memcpy(attr.nd.c, to.label, sizeof to.label);
        made = fv_graph_node(r->graph, &fv_op_einsum, last ? fv_onnx_node_name(n) : NULL, pair, i ? 2 : 1, 1, &attr);
        FV_FORWARD(fv_graph_status(r->graph));
        known = to;
    }
    return fv_onnx_done(r, n, made);
}

/* ---- samples ---- */

static fv_status read_grid_sample(fv_onnx_reader *r, const FvOnnx__Node *n) {
    fv_attributes attr = {.nd = {.flag = fv_onnx_attribute_int(n, "align_corners", 0) != 0}};
    if (fv_onnx_text_is(n, "mode", "nearest", false)) attr.nd.kind = 1;
    if (fv_onnx_text_is(n, "mode", "bicubic", false) || fv_onnx_text_is(n, "mode", "cubic", false)) attr.nd.kind = 2;
    if (fv_onnx_text_is(n, "padding_mode", "border", false)) attr.nd.mode = 1;
    if (fv_onnx_text_is(n, "padding_mode", "reflection", false)) attr.nd.mode = 2;
    return fv_onnx_node_over(r, n, &fv_op_grid_sample, 2, &attr);
}

static fv_status read_roi_align(fv_onnx_reader *r, const FvOnnx__Node *n) {
    const bool aligned = r->opset >= 16 && fv_onnx_text_is(n, "coordinate_transformation_mode", "half_pixel", true);
    const fv_attributes attr = {
        .nd = {.kind = fv_onnx_text_is(n, "mode", "max", false),
               .flag = aligned,
               .a = {fv_onnx_attribute_int(n, "output_height", 1), fv_onnx_attribute_int(n, "output_width", 1),
                     fv_onnx_attribute_int(n, "sampling_ratio", 0)},
               .alpha = (double)fv_onnx_attribute_float(n, "spatial_scale", 1)}};
    return fv_onnx_node_over(r, n, &fv_op_roi_align, 3, &attr);
}

static fv_status read_det(fv_onnx_reader *r, const FvOnnx__Node *n) { return fv_onnx_node_over(r, n, &fv_op_det, 1, NULL); }

const fv_onnx_read_row fv_onnx_read_nd_rest[] = {
    {"Einsum", read_einsum}, {"GridSample", read_grid_sample}, {"RoiAlign", read_roi_align}, {"Det", read_det}, {NULL, NULL},
};
