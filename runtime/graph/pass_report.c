/* What the passes did to a graph, for people who read plans. */
#include "graph/planned.h"
#include "ops/window.h"

static const char *const names[FV_PASS_COUNT] = {"constant folding",  "spelled-out layers", "batch-norm folding", "dead nodes",
                                                 "training only",     "padding fusion",     "transposes",         "flatten",
                                                 "bias fusion",       "activation fusion",  "residual fusion",    "layout",
                                                 "layout cancelled",  "joined in place",    "in-place reuse"};

double fv_graph_node_traffic(const fv_graph *g, const fv_node *n) {
    double bytes = 0;
    for (int32_t k = 0; k < n->in_count + n->out_count; k++) {
        const fv_value v = k < n->in_count ? n->in[k] : n->out[k - n->in_count];
        if (v != FV_NONE)
            bytes += (double)fv_shape_count(&g->values[v].shape) * (double)fv_dtype_bytes(g->values[v].dtype);
    }
    return bytes;
}

static double traffic(const fv_graph *g) {
    double bytes = 0;
    for (size_t i = 0; i < g->node_count; i++) bytes += fv_graph_node_traffic(g, &g->nodes[i]);
    return bytes;
}

void fv_pass_note(fv_graph *g, fv_pass_kind kind, size_t count, size_t nodes, double bytes) {
    fv_pass_effect *e = &g->passes[kind];
    e->count += count;
    e->nodes += nodes;
    e->bytes += bytes;
}

fv_pass_watch fv_pass_begin(const fv_graph *g) { return (fv_pass_watch){g->node_count, traffic(g)}; }

void fv_pass_end(fv_graph *g, fv_pass_kind kind, fv_pass_watch before) {
    const size_t gone = before.nodes > g->node_count ? before.nodes - g->node_count : 0;
    fv_pass_note(g, kind, gone, gone, gone ? before.bytes - traffic(g) : 0);
}

size_t fv_session_pass_count(const fv_session *s) { return s ? FV_PASS_COUNT : 0; }

fv_status fv_session_pass(const fv_session *s, size_t i, fv_pass_info *out) {
    FV_RETURN_IF(!s || !out || i >= FV_PASS_COUNT, FV_ERR_ARGUMENT, "the session has no pass %zu", i);
    const fv_pass_effect *e = &fv_session_graph(s)->passes[i];
    *out = (fv_pass_info){names[i], e->count, e->nodes, e->bytes};
    return FV_OK;
}
