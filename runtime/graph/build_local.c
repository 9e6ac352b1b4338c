/* Builder: untied bias. SPEC section 1. */
#include "graph/graph.h"

#include <stdio.h>

fv_value fv_graph_untied_bias_with(fv_graph *g, fv_value x, fv_value bias, const char *name) {
    if (!fv_build_usable(g) || !fv_build_valid(g, x, "an untied bias's input") || !fv_build_valid(g, bias, "an untied bias")) return FV_NONE;
    const fv_value in[2] = {x, bias};
    return fv_graph_node(g, &fv_op_untied_bias, fv_build_name(g, name, "untied").text, in, 2, 1, NULL);
}

fv_value fv_graph_untied_bias(fv_graph *g, fv_value x, const char *name) {
    if (!fv_build_usable(g) || !fv_build_valid(g, x, "an untied bias's input")) return FV_NONE;
    const fv_layer_name n = fv_build_name(g, name, "untied");
    const fv_shape shape = g->values[x].shape;
    return fv_graph_untied_bias_with(g, x, fv_build_owned(g, n.text, "bias", shape.rank - 1, shape.dim + 1, FV_INIT_ZEROS, true), n.text);
}

fv_value fv_build_untied(fv_graph *g, fv_value x, fv_value bias, const char *layer) {
    char name[520];
    snprintf(name, sizeof name, "%s.untied", layer);
    if (x == FV_NONE || bias == FV_NONE) return FV_NONE;
    return fv_graph_untied_bias_with(g, x, bias, name);
}
