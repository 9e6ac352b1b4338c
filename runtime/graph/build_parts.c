/* Values joined and cut, and attention. */
#include "graph/graph.h"

#include "ops/window.h"

#include <string.h>

fv_value fv_graph_concat(fv_graph *g, const fv_value *x, int32_t count, int32_t axis, const char *name) {
    const fv_attributes attr = {.parts = {.axis = axis}};
    if (!fv_build_usable(g)) return FV_NONE;
    if (!x || count < 1 || count > FV_MOST_PARTS)
        return fv_graph_fail(g, FV_ERR_ARGUMENT, "a concatenation joins 1 to %d values, not %d", FV_MOST_PARTS, count);
    for (int32_t i = 0; i < count; i++)
        if (!fv_build_valid(g, x[i], "a concatenation's input")) return FV_NONE;
    return fv_graph_node(g, &fv_op_concat, fv_build_name(g, name, "concat").text, x, count, 1, &attr);
}

fv_status fv_graph_split(fv_graph *g, fv_value x, int32_t axis, int32_t count, const int32_t *sizes, fv_value *parts,
                         const char *name) {
    fv_attributes attr = {.parts = {.axis = axis, .count = count}};
    FV_RETURN_IF(!g, FV_ERR_ARGUMENT, "the graph is NULL");
    FV_FORWARD(fv_graph_status(g));
    if (!parts || !sizes || count < 1 || count > FV_MOST_PARTS) {
        (void)fv_graph_fail(g, FV_ERR_ARGUMENT, "a split makes 1 to %d parts of given sizes, not %d", FV_MOST_PARTS,
                            count);
    } else if (fv_build_valid(g, x, "a split's input")) {
        memcpy(attr.parts.size, sizes, (size_t)count * sizeof *sizes);
        const fv_value first =
            fv_graph_node(g, &fv_op_split, fv_build_name(g, name, "split").text, &x, 1, count, &attr);
        for (int32_t i = 0; i < count && first != FV_NONE; i++) parts[i] = first + i;
    }
    return fv_graph_status(g);
}

fv_value fv_graph_slice(fv_graph *g, fv_value x, int32_t axis, int32_t begin, int32_t size, const char *name) {
    if (!fv_build_usable(g) || !fv_build_valid(g, x, "a slice's input")) return FV_NONE;
    const fv_shape *in = &g->values[x].shape;
    if (axis < 1 || axis >= in->rank || begin < 0 || size < 1 || (int64_t)begin + size > in->dim[axis])
        return fv_graph_fail(g, FV_ERR_SHAPE, "a slice of %d from %d on along axis %d of %s", size, begin, axis,
                             fv_shape_print(in).text);
    if (size == in->dim[axis]) return x;
    const fv_attributes attr = {
        .parts = {.axis = axis, .count = 3, .size = {begin, size, (int32_t)in->dim[axis] - begin - size}}};
    return fv_graph_node(g, &fv_op_slice, fv_build_name(g, name, "slice").text, &x, 1, 1, &attr);
}

static fv_value attend(fv_graph *g, const fv_op *op, fv_value x, fv_value factors, const char *name) {
    const fv_value in[2] = {x, factors};
    if (!fv_build_usable(g) || !fv_build_valid(g, x, "a layer's input") ||
        !fv_build_valid(g, factors, "a layer's factors"))
        return FV_NONE;
    return fv_graph_node(g, op, fv_build_name(g, name, op->name).text, in, 2, 1, NULL);
}

fv_value fv_graph_scale_maps(fv_graph *g, fv_value x, fv_value s, const char *name) {
    return attend(g, &fv_op_scale_maps, x, s, name);
}
fv_value fv_graph_scale_pixels(fv_graph *g, fv_value x, fv_value m, const char *name) {
    return attend(g, &fv_op_scale_pixels, x, m, name);
}
