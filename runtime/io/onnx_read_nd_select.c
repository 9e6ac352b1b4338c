/* Operators whose results are shaped by values: these must be constants, or inputs given when the plan is made. */
#include "io/onnx_nd.h"
#include "ops/nd_boxes.h"
#include "ops/nd_type.h"

#include <math.h>
#include <string.h>

static fv_status one_integer(const fv_onnx_reader *r, const FvOnnx__Node *n, size_t i, int64_t otherwise, int64_t *out) {
    const fv_onnx_tensor *t;
    FV_FORWARD(fv_onnx_constant(r, n, i, &t));
    FV_ONNX_REFUSE_IF(t && t->count != 1, n, "input %zu has %zu numbers", i, t->count);
    FV_ONNX_REFUSE_IF(t && t->type == FV_ONNX_FLOAT && !(fabsf(fv_onnx_tensor_float(t, 0)) < 0x1p31f), n, "input %zu is no whole number", i);
    *out = t ? fv_onnx_tensor_int(t, 0) : otherwise;
    return FV_OK;
}

static fv_status read_trilu(fv_onnx_reader *r, const FvOnnx__Node *n) {
    fv_attributes attr = {.nd = {.kind = fv_onnx_attribute_int(n, "upper", 1) != 0}};
    FV_FORWARD(one_integer(r, n, 1, 0, &attr.nd.a[0]));
    return fv_onnx_node_over(r, n, &fv_op_trilu, 1, &attr);
}

static fv_status read_one_hot(fv_onnx_reader *r, const FvOnnx__Node *n) {
    fv_value in[2];
    fv_attributes attr = {.nd = {.a = {fv_onnx_attribute_int(n, "axis", -1)}}};
    FV_FORWARD(one_integer(r, n, 1, 0, &attr.nd.b[0]));
    FV_FORWARD(fv_onnx_value(r, n, 0, &in[0]));
    FV_FORWARD(fv_onnx_value(r, n, 2, &in[1]));
    return fv_onnx_done(r, n, fv_graph_node(r->graph, &fv_op_one_hot, fv_onnx_node_name(n), in, 2, 1, &attr));
}

/* ---- constants ---- */

/* A constant's values in their own type, to be released. */
static fv_status values_of(const fv_onnx_reader *r, const fv_onnx_tensor *t, fv_dtype *dtype, void **out) {
    FV_FORWARD(fv_onnx_dtype(t->type, "a constant", dtype));
    FV_FORWARD(fv_alloc_array(r->context, t->count + 1, 8, "a constant", out));
    fv_onnx_tensor_copy(t, *out);
    return FV_OK;
}

static fv_status define(fv_onnx_reader *r, const FvOnnx__Node *n, size_t i, fv_dtype dtype, const fv_shape *shape,
                        const void *data) {
    if (i >= n->n_output || !*n->output[i]) return FV_OK;
    return fv_onnx_define_constant(r, n->output[i], dtype, shape, data);
}

static fv_status read_eye(fv_onnx_reader *r, const FvOnnx__Node *n) {
    fv_value x;
    fv_dtype dtype;
    void *data;
    FV_FORWARD(fv_onnx_value(r, n, 0, &x));
    const fv_shape shape = *fv_onnx_shape(r, x);
    dtype = fv_emit_info(r->graph, x)->dtype;
    if (fv_onnx_attribute(n, "dtype"))
        FV_FORWARD(fv_onnx_dtype((int32_t)fv_onnx_attribute_int(n, "dtype", 1), "EyeLike", &dtype));
    FV_ONNX_REFUSE_IF(shape.rank != 2 || dtype == FV_F16, n, "a diagonal of a tensor of rank %d of %s", shape.rank,
                      fv_dtype_name(dtype));
    const int64_t k = fv_onnx_attribute_int(n, "k", 0), count = shape.dim[0] * shape.dim[1];
    FV_ONNX_REFUSE_IF(count > 1 << 28 || k < -INT32_MAX || k > INT32_MAX, n, "diagonal %lld of %lld numbers", (long long)k,
                      (long long)count);
    FV_FORWARD(fv_alloc_array(r->context, (size_t)count + 1, 8, "a constant", &data));
    for (int64_t i = 0; i < shape.dim[0]; i++)
        if (i + k >= 0 && i + k < shape.dim[1]) fv_nd_set_number(dtype, data, (ptrdiff_t)(i * shape.dim[1] + i + k), 1);
    const fv_status status = define(r, n, 0, dtype, &shape, data);
    fv_release(r->context, data);
    return status;
}

static bool is_true(fv_dtype dtype, const void *data, size_t i) {
    if (dtype == FV_F16) return (((const uint16_t *)data)[i] & 0x7fff) != 0;
    return fv_nd_is_float(dtype) ? fv_nd_number(dtype, data, (ptrdiff_t)i) != 0 : fv_nd_integer(dtype, data, (ptrdiff_t)i) != 0;
}

/* places: [rank][count] of the t->count values. */
static size_t places_of(const fv_onnx_tensor *t, fv_dtype dtype, const void *data, int64_t *places, size_t stride) {
    size_t count = 0;
    for (size_t i = 0; i < t->count; i++) {
        size_t rest = i;
        if (!is_true(dtype, data, i)) continue;
        for (int32_t a = t->shape.rank; places && a-- > 0;) {
            places[(size_t)a * stride + count] = (int64_t)(rest % (size_t)t->shape.dim[a]);
            rest /= (size_t)t->shape.dim[a];
        }
        count++;
    }
    return count;
}

static fv_status read_non_zero(fv_onnx_reader *r, const FvOnnx__Node *n) {
    const fv_onnx_tensor *t;
    fv_dtype dtype;
    void *data, *places = NULL;
    FV_FORWARD(fv_onnx_constant(r, n, 0, &t));
    FV_ONNX_REFUSE_IF(!t, n, "it has no input");
    FV_FORWARD(values_of(r, t, &dtype, &data));
    const size_t count = places_of(t, dtype, data, NULL, 0);
    const fv_shape shape = {2, {t->shape.rank, (int64_t)count}};
    fv_status status = fv_alloc_array(r->context, count * (size_t)t->shape.rank + 1, sizeof(int64_t), "a constant", &places);
    if (status == FV_OK) places_of(t, dtype, data, places, count);
    if (status == FV_OK) status = define(r, n, 0, FV_I64, &shape, places);
    fv_release(r->context, places);
    fv_release(r->context, data);
    return status;
}

/* Slices at the places of true conditions: a gather. */
static fv_status read_compress(fv_onnx_reader *r, const FvOnnx__Node *n) {
    fv_value in[2];
    const fv_onnx_tensor *t;
    int32_t axis = 0;
    int64_t *places;
    FV_FORWARD(fv_onnx_value(r, n, 0, &in[0]));
    FV_FORWARD(fv_onnx_constant(r, n, 1, &t));
    const fv_shape shape = *fv_onnx_shape(r, in[0]);
    const fv_shape flat = {1, {(int64_t)fv_shape_count(&shape)}};
    if (fv_onnx_attribute(n, "axis"))
        FV_FORWARD(fv_onnx_axis(n, "axis", 0, shape.rank, false, &axis));
    else
        in[0] = fv_emit_reshape(r->graph, in[0], &flat);
    FV_FORWARD(fv_graph_status(r->graph));
    const int64_t size = fv_onnx_shape(r, in[0])->dim[axis];
    FV_ONNX_REFUSE_IF(!t || t->shape.rank != 1 || (int64_t)t->count > size, n, "its conditions do not fit axis %d of size %lld",
                      axis, (long long)size);
    FV_FORWARD(fv_alloc_array(r->context, t->count + 1, sizeof *places, "a constant", (void **)&places));
    fv_shape count = {1, {0}};
    for (size_t i = 0; i < t->count; i++)
        if (fv_onnx_tensor_int(t, i)) places[count.dim[0]++] = (int64_t)i;
    in[1] = fv_graph_constant(r->graph, NULL, FV_I64, &count, places);
    fv_release(r->context, places);
    const fv_attributes attr = {.nd = {.a = {axis}}};
    return fv_onnx_done(r, n, fv_graph_node(r->graph, &fv_op_gather, fv_onnx_node_name(n), in, 2, 1, &attr));
}

/* ---- Unique ---- */

typedef struct slices {
    const void *data;
    fv_dtype dtype;
    size_t outer, count, inner;
} slices;

static int compare(const slices *s, size_t a, size_t b) {
    for (size_t o = 0; o < s->outer; o++)
        for (size_t i = 0; i < s->inner; i++) {
            const int64_t x = fv_nd_key(s->dtype, s->data, (ptrdiff_t)((o * s->count + a) * s->inner + i));
            const int64_t y = fv_nd_key(s->dtype, s->data, (ptrdiff_t)((o * s->count + b) * s->inner + i));
            if (x != y) return x < y ? -1 : 1;
        }
    return 0;
}

/* Merges runs of growing length, from list to other and back; equal ones keep their order. Returns the sorted one of the two. */
static int64_t *sort_slices(const slices *s, int64_t *list, int64_t *other) {
    for (size_t width = 1; width < s->count; width *= 2) {
        for (size_t begin = 0; begin < s->count; begin += 2 * width) {
            const size_t middle = fv_min_size(begin + width, s->count), end = fv_min_size(begin + 2 * width, s->count);
            for (size_t a = begin, b = middle, k = begin; k < end; k++)
                other[k] = b == end || (a < middle && compare(s, (size_t)list[a], (size_t)list[b]) <= 0) ? list[a++] : list[b++];
        }
        int64_t *swap = list;
        list = other;
        other = swap;
    }
    return list;
}

/* first: [groups] the first slice of each; group: [count] of each slice; number: [groups] how many. */
typedef struct groups {
    int64_t *first, *group, *number, *rank;
    size_t count;
} groups;

static void find_groups(const slices *s, const int64_t *order, bool sorted, groups *g) {
    for (size_t i = 0; i < s->count; i++) {
        const bool fresh = i == 0 || compare(s, (size_t)order[i - 1], (size_t)order[i]) != 0;
        if (fresh) g->first[g->count] = order[i], g->number[g->count++] = 0;
        g->group[order[i]] = (int64_t)g->count - 1;
        g->number[g->count - 1]++;
    }
    if (sorted) return;
    size_t next = 0; /* in the order in which they first stand */
    for (size_t i = 0; i < s->count; i++)
        if (g->first[g->group[i]] == (int64_t)i) g->rank[g->group[i]] = (int64_t)next++;
    int64_t *first = g->rank + s->count, *number = first + s->count;
    for (size_t k = 0; k < g->count; k++) first[g->rank[k]] = g->first[k], number[g->rank[k]] = g->number[k];
    memcpy(g->first, first, g->count * sizeof *first);
    memcpy(g->number, number, g->count * sizeof *number);
    for (size_t i = 0; i < s->count; i++) g->group[i] = g->rank[g->group[i]];
}

static fv_status define_groups(fv_onnx_reader *r, const FvOnnx__Node *n, const slices *s, const groups *g, const fv_shape *y) {
    const size_t element = fv_dtype_bytes(s->dtype), bytes = s->inner * element;
    const fv_shape each = {1, {(int64_t)g->count}}, all = {1, {(int64_t)s->count}};
    char *picked;
    FV_FORWARD(fv_alloc_array(r->context, s->outer * g->count * s->inner + 1, element, "a constant", (void **)&picked));
    for (size_t o = 0; o < s->outer; o++)
        for (size_t k = 0; k < g->count; k++)
            memcpy(picked + (o * g->count + k) * bytes, (const char *)s->data + (o * s->count + (size_t)g->first[k]) * bytes,
                   bytes);
    fv_status status = define(r, n, 0, s->dtype, y, picked);
    fv_release(r->context, picked);
    if (status == FV_OK) status = define(r, n, 1, FV_I64, &each, g->first);
    if (status == FV_OK) status = define(r, n, 2, FV_I64, &all, g->group);
    return status == FV_OK ? define(r, n, 3, FV_I64, &each, g->number) : status;
}

static fv_status unique_of(fv_onnx_reader *r, const FvOnnx__Node *n, const fv_onnx_tensor *t, const void *data, fv_dtype dtype) {
    slices s = {data, dtype, 1, t->count, 1};
    fv_shape y = {1, {0}};
    int32_t axis = 0;
    int64_t *lists;
    if (fv_onnx_attribute(n, "axis")) {
        FV_FORWARD(fv_onnx_axis(n, "axis", 0, t->shape.rank, false, &axis));
        y = t->shape;
        s.count = (size_t)y.dim[axis];
        for (int32_t i = 0; i < y.rank; i++)
            if (i != axis) *(i < axis ? &s.outer : &s.inner) *= (size_t)y.dim[i];
    }
    FV_FORWARD(fv_alloc_array(r->context, 8 * s.count + 1, sizeof *lists, "a constant", (void **)&lists));
    groups g = {lists + 2 * s.count, lists + 3 * s.count, lists + 4 * s.count, lists + 5 * s.count, 0};
    for (size_t i = 0; i < s.count; i++) lists[i] = (int64_t)i;
    find_groups(&s, sort_slices(&s, lists, lists + s.count), fv_onnx_attribute_int(n, "sorted", 1) != 0, &g);
    y.dim[axis] = (int64_t)g.count;
    const fv_status status = define_groups(r, n, &s, &g, &y);
    fv_release(r->context, lists);
    return status;
}

static fv_status read_unique(fv_onnx_reader *r, const FvOnnx__Node *n) {
    const fv_onnx_tensor *t;
    fv_dtype dtype;
    void *data;
    FV_FORWARD(fv_onnx_constant(r, n, 0, &t));
    FV_ONNX_REFUSE_IF(!t || t->type == FV_ONNX_FLOAT16, n, "values of no type that is compared");
    FV_FORWARD(values_of(r, t, &dtype, &data));
    const fv_status status = unique_of(r, n, t, data, dtype);
    fv_release(r->context, data);
    return status;
}

/* ---- non-maximum suppression ---- */

/* Of constant boxes: how many there are. */
static fv_status count_boxes(fv_onnx_reader *r, const FvOnnx__Node *n, const fv_shape *s, fv_nd_attr *a) {
    const fv_onnx_tensor *boxes, *scores;
    const fv_nms settings = {(size_t)s->dim[0], (size_t)s->dim[1], (size_t)s->dim[2], (size_t)a->a[0],
                             a->keep,           a->flag,           a->alpha,          a->beta};
    char *memory;
    FV_FORWARD(fv_onnx_constant(r, n, 0, &boxes));
    FV_FORWARD(fv_onnx_constant(r, n, 1, &scores));
    FV_ONNX_REFUSE_IF(!boxes || !scores || boxes->count != settings.batches * settings.boxes * 4 ||
                          boxes->type != FV_ONNX_FLOAT || scores->type != FV_ONNX_FLOAT,
                      n, "its boxes do not fit its scores");
    const size_t places = (settings.boxes + 1) * sizeof(fv_nd_place), list = (settings.boxes + 1) * sizeof(double[4]);
    const size_t box_bytes = boxes->count * sizeof(float), score_bytes = scores->count * sizeof(float);
    FV_FORWARD(fv_alloc(r->context, places + list + box_bytes + score_bytes, "boxes", (void **)&memory));
    float *copies = (float *)(void *)(memory + places + list);
    memcpy(copies, boxes->data, box_bytes);
    memcpy(copies + boxes->count, scores->data, score_bytes);
    a->b[0] = (int64_t)fv_nms_select(&settings, copies, copies + boxes->count, (fv_nd_place *)(void *)memory,
                                     (double(*)[4])(void *)(memory + places), NULL, 0);
    fv_release(r->context, memory);
    return FV_OK;
}

static fv_status one_number(const fv_onnx_reader *r, const FvOnnx__Node *n, size_t i, double *out, bool *given) {
    const fv_onnx_tensor *t;
    FV_FORWARD(fv_onnx_constant(r, n, i, &t));
    *given = t && t->count;
    if (*given) *out = (double)fv_onnx_tensor_float(t, 0);
    return FV_OK;
}

/* Boxes known now are counted; else as many are planned as there may be. */
static fv_status read_nms(fv_onnx_reader *r, const FvOnnx__Node *n) {
    fv_value in[2];
    const fv_onnx_name *names[2];
    fv_attributes attr = {.nd = {.keep = fv_onnx_attribute_int(n, "center_point_box", 0) != 0}};
    fv_nd_attr *a = &attr.nd;
    bool given, known = true;
    FV_FORWARD(one_integer(r, n, 2, 0, &a->a[0]));
    FV_FORWARD(one_number(r, n, 3, &a->alpha, &given));
    FV_FORWARD(one_number(r, n, 4, &a->beta, &a->flag));
    for (size_t i = 0; i < 2; i++) {
        FV_FORWARD(fv_onnx_input(r, n, i, &names[i]));
        FV_FORWARD(fv_onnx_value(r, n, i, &in[i]));
        known = known && (names[i]->constant || names[i]->input);
    }
    const fv_shape s = *fv_onnx_shape(r, in[1]);
    FV_ONNX_REFUSE_IF(s.rank != 3, n, "scores of rank %d", s.rank);
    a->a[0] = a->a[0] < 0 ? 0 : a->a[0] < s.dim[2] ? a->a[0] : s.dim[2];
    a->b[0] = s.dim[0] * s.dim[1] * a->a[0];
    if (known) FV_FORWARD(count_boxes(r, n, &s, a));
    return fv_onnx_done(r, n, fv_graph_node(r->graph, &fv_op_nms, fv_onnx_node_name(n), in, 2, 1, &attr));
}

const fv_onnx_read_row fv_onnx_read_nd_select[] = {
    {"Trilu", read_trilu},       {"OneHot", read_one_hot}, {"EyeLike", read_eye},           {"NonZero", read_non_zero},
    {"Compress", read_compress}, {"Unique", read_unique},  {"NonMaxSuppression", read_nms}, {NULL, NULL},
};
