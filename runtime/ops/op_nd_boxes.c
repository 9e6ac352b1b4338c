/* nms: boxes (N,B,4), scores (N,C,B) -> selected (b[0],3) int64: image, class and box in the order of images, classes and scores;
 * attr.nd: a[0]: most of a class and image; b[0]: the planned number, with fewer boxes the last rows are -1, more are left out;
 * keep: centers; flag: beta is a least score; alpha: the overlap. Boxes that are no numbers overlap nothing. */
#include "ops/nd_boxes.h"
#include "ops/nd_type.h"

/* Corners in order: y0, x0, y1, x1. */
static void corners(const float *box, bool centers, double c[4]) {
    const double b[4] = {(double)box[0], (double)box[1], (double)box[2], (double)box[3]};
    for (int i = 0; i < 2; i++) {
        const double low = centers ? b[1 - i] - b[3 - i] / 2 : b[i], high = centers ? b[1 - i] + b[3 - i] / 2 : b[i + 2];
        c[i] = low < high ? low : high;
        c[i + 2] = low < high ? high : low;
    }
}

/* Of corners; most boxes are apart. */
static bool overlap(const double a[4], const double b[4], double most) {
    double side[2];
    for (int i = 0; i < 2; i++) {
        side[i] = (a[i + 2] < b[i + 2] ? a[i + 2] : b[i + 2]) - (a[i] > b[i] ? a[i] : b[i]);
        if (!(side[i] > 0)) return false;
    }
    const double both = side[0] * side[1], all = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both;
    return all > 0 && both / all > most;
}

size_t fv_nms_select(const fv_nms *s, const float *boxes, const float *scores, fv_nd_place *heap, double (*kept)[4],
                     int64_t *out, size_t capacity) {
    size_t count = 0;
    for (size_t group = 0; group < s->batches * s->classes; group++) {
        const float *own = boxes + group / s->classes * s->boxes * 4, *score = scores + group * s->boxes;
        size_t left = 0, chosen = 0;
        for (size_t i = 0; i < s->boxes; i++)
            if (score[i] == score[i] && (!s->has_score || (double)score[i] > s->score))
                heap[left++] = (fv_nd_place){fv_nd_key(FV_F32, score, (ptrdiff_t)i), i};
        fv_nd_heap_make(heap, left);
        for (; left && chosen < s->most; left--) {
            const size_t box = fv_nd_heap_take(heap, left).index;
            bool free = true;
            corners(own + 4 * box, s->centers, kept[chosen]);
            for (size_t k = 0; k < chosen && free; k++) free = !overlap(kept[chosen], kept[k], s->overlap);
            if (!free) continue;
            chosen++;
            if (out && count < capacity) {
                const int64_t row[3] = {(int64_t)(group / s->classes), (int64_t)(group % s->classes), (int64_t)box};
                memcpy(out + 3 * count, row, sizeof row);
            }
            count++;
        }
    }
    return count;
}

typedef struct nms {
    fv_nms settings;
    const fv_buffer *boxes, *scores, *out, *heap, *kept;
    size_t capacity;
} nms;

static fv_status nms_infer(fv_node *n, fv_value_info *values) {
    const fv_value_info *boxes = &values[n->in[0]], *scores = &values[n->in[1]];
    const fv_shape *b = &boxes->shape, *s = &scores->shape, y = {2, {n->attr.nd.b[0], 3}};
    FV_RETURN_IF(boxes->dtype != FV_F32 || scores->dtype != FV_F32, FV_ERR_UNSUPPORTED, "node \"%s\": boxes of %s", n->name,
                 fv_dtype_name(boxes->dtype));
    FV_RETURN_IF(b->rank != 3 || s->rank != 3 || b->dim[2] != 4 || b->dim[0] != s->dim[0] || b->dim[1] != s->dim[2], FV_ERR_SHAPE,
                 "node \"%s\": boxes %s with scores %s", n->name, fv_shape_print(b).text, fv_shape_print(s).text);
    FV_RETURN_IF(y.dim[0] < 0 || y.dim[0] > INT32_MAX, FV_ERR_LIMIT, "node \"%s\": %lld boxes", n->name, (long long)y.dim[0]);
    fv_nd_infer(&values[n->out[0]], FV_I64, &y);
    return FV_OK;
}

static void run_nms(void *arg, size_t piece, void *scratch) {
    (void)piece, (void)scratch;
    const nms *s = arg;
    int64_t *out = s->out->data;
    const size_t count =
        fv_nms_select(&s->settings, s->boxes->data, s->scores->data, s->heap->data, s->kept->data, out, s->capacity);
    for (size_t i = 3 * count; i < 3 * s->capacity; i++) out[i] = -1;
}

static fv_status nms_plan(fv_plan_op *p) {
    const fv_nd_attr *a = &p->node->attr.nd;
    const fv_shape *scores = &p->values[p->node->in[1]].shape;
    fv_buffer *heap, *kept;
    nms *s;
    FV_FORWARD(fv_plan_state(p, sizeof *s, (void **)&s));
    const size_t boxes = (size_t)scores->dim[2];
    FV_FORWARD(fv_plan_workspace(p, (boxes + 1) * sizeof(fv_nd_place), &heap));
    FV_FORWARD(fv_plan_workspace(p, (boxes + 1) * sizeof(double[4]), &kept));
    *s = (nms){{(size_t)scores->dim[0], (size_t)scores->dim[1], boxes, a->a[0] > 0 ? (size_t)a->a[0] : 0, a->keep, a->flag,
                a->alpha, a->beta},
               fv_plan_buffer(p, p->node->in[0]),
               fv_plan_buffer(p, p->node->in[1]),
               fv_plan_buffer(p, p->node->out[0]),
               heap,
               kept,
               (size_t)a->b[0]};
    p->algorithm = "greedy";
    return fv_plan_phase(p, false, run_nms, s, s->capacity > 0);
}

const fv_op fv_op_nms = {"nms", 2, 2, 1, FV_OP_PLAIN | FV_OP_NO_GRADIENT, nms_infer, nms_plan, NULL};
