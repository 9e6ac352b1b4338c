/* From a prepared graph to phases over one arena. Everything that can fail, allocates or chooses happens here; a run
 * walks the phases. */
#include "graph/arena.h"
#include "graph/cost.h"
#include "graph/model.h"
#include "ops/window.h"

#include <string.h>

typedef struct state_block {
    struct state_block *next;
    _Alignas(64) char data[];
} state_block;

/* A piece of the arena and the buffers that point at it (several when values share memory in place). */
typedef struct workspace {
    struct workspace *next;
    fv_buffer buffer;
    size_t node;
} workspace;

typedef struct planned_node {
    const char *algorithm;
    double flops, work, bytes;
    fv_prediction predicted;
    size_t workspace_bytes, packed_bytes;
    size_t first_phase, phases, pieces;
} planned_node;

/* A parameter that phases of this plan pack. */
typedef struct packing {
    fv_value weight;
    size_t node;
    fv_packed_entry *entry;
} packing;

typedef struct phase_list {
    fv_phase *list;
    size_t count, capacity;
} phase_list;

struct fv_plan {
    const fv_context *context;
    const fv_graph *graph;
    fv_plan_settings settings;
    fv_buffer *buffers; /* [value_count] */
    state_block *states;
    workspace *workspaces;
    size_t workspace_count;
    phase_list run, prepare;
    planned_node *nodes; /* [node_count] */
    packing *packings;
    size_t packing_count, packing_capacity;
    size_t current; /* node being planned */
    size_t scratch_bytes, arena_bytes, packed_bytes;
    void *arena;
    bool owns_arena;
    fv_pass_effect in_place;
    fv_rates rates;
    int threads;
    fv_parallel *team;
    bool owns_team;
    double *seconds; /* [run.count] summed over profiled runs */
    size_t profiled;
};

/* ---- what operators call ---- */

fv_buffer *fv_plan_buffer(const fv_plan_op *p, fv_value v) { return v == FV_NONE ? NULL : &p->plan->buffers[v]; }

fv_status fv_plan_state(fv_plan_op *p, size_t bytes, void **out) {
    state_block *b = NULL;
    size_t total;
    FV_RETURN_IF(!fv_add_size(bytes, sizeof *b, &total), FV_ERR_LIMIT, "node \"%s\" is too large", p->node->name);
    FV_FORWARD(fv_alloc_zero(p->context, total, "a plan", (void **)&b));
    b->next = p->plan->states;
    p->plan->states = b;
    *out = b->data;
    return FV_OK;
}

fv_status fv_plan_workspace(fv_plan_op *p, size_t bytes, fv_buffer **out) {
    workspace *w = NULL;
    FV_FORWARD(fv_plan_state(p, sizeof *w, (void **)&w));
    *w = (workspace){.next = p->plan->workspaces, .buffer = {NULL, bytes}, .node = p->plan->current};
    p->plan->workspaces = w;
    p->plan->workspace_count++;
    p->workspace_bytes += bytes;
    *out = &w->buffer;
    return FV_OK;
}

void fv_plan_scratch(fv_plan_op *p, size_t bytes) {
    p->plan->scratch_bytes = fv_max_size(p->plan->scratch_bytes, bytes);
}

fv_status fv_plan_algorithm(fv_plan_op *p, const int32_t *m, size_t count, int32_t *out) {
    const fv_plan_settings *s = &p->plan->settings;
    *out = s->forced ? s->forced_m : -1;
    if (s->mode != FV_PLAN_MEASURE || s->forced || count < 2 || p->node->op != &fv_op_conv) return FV_OK;
    return fv_plan_measure(p, s, m, count, out);
}

bool fv_plan_packs_in_run(const fv_plan_op *p, fv_value weight) {
    return !p->plan->settings.packed || p->values[weight].kind != FV_VALUE_PARAMETER;
}

static fv_status note_packing(fv_plan_op *p, fv_value weight, fv_packed_entry *entry) {
    fv_plan *plan = p->plan;
    if (!plan->settings.frees) return FV_OK;
    FV_FORWARD(fv_grow(p->context, (void **)&plan->packings, &plan->packing_capacity, plan->packing_count + 1,
                       sizeof *plan->packings, "a plan"));
    plan->packings[plan->packing_count++] = (packing){weight, plan->current, entry};
    return FV_OK;
}

fv_status fv_plan_packed(fv_plan_op *p, fv_value weight, const void *key, size_t key_bytes, size_t bytes,
                         fv_buffer **out, bool *fresh, bool *in_run) {
    const fv_value_info *w = &p->values[weight];
    if (fv_plan_packs_in_run(p, weight)) {
        *fresh = *in_run = true;
        return fv_plan_workspace(p, bytes, out);
    }
    fv_packed_entry *entry;
    fv_buffer *buffer = NULL;
    FV_FORWARD(fv_plan_state(p, sizeof *buffer, (void **)&buffer));
    if (!fv_graph_lasts(p->plan->graph, weight)) { /* its address may be another's one day: this plan's own */
        FV_FORWARD(fv_plan_state(p, bytes, &buffer->data));
        buffer->bytes = bytes;
        p->plan->packed_bytes += bytes;
        *fresh = true;
        *in_run = false;
        *out = buffer;
        return FV_OK;
    }
    FV_FORWARD(fv_packed_get(p->plan->settings.packed, w->data, key, key_bytes, bytes, false, &entry));
    entry->packed = true;
    FV_FORWARD(note_packing(p, weight, entry));
    *buffer = (fv_buffer){entry->data, bytes};
    p->plan->packed_bytes += bytes;
    *fresh = !entry->ready;
    *in_run = false;
    *out = buffer;
    return FV_OK;
}

fv_status fv_plan_phase(fv_plan_op *p, bool prepare, fv_piece_fn run, void *arg, size_t pieces) {
    phase_list *l = prepare ? &p->plan->prepare : &p->plan->run;
    if (pieces == 0) return FV_OK;
    FV_FORWARD(fv_grow(p->context, (void **)&l->list, &l->capacity, l->count + 1, sizeof *l->list, "a plan"));
    l->list[l->count++] = (fv_phase){.run = run, .arg = arg, .pieces = pieces, .node = (int32_t)p->plan->current};
    return FV_OK;
}

/* ---- planning nodes ---- */

static size_t value_bytes(const fv_value_info *v) { return fv_shape_count(&v->shape) * fv_dtype_bytes(v->dtype); }

static fv_status plan_node(fv_plan *p, size_t i) {
    fv_plan_op op = {.plan = p,
                     .context = p->context,
                     .kernels = &p->context->kernels,
                     .node = &p->graph->nodes[i],
                     .values = p->graph->values,
                     .run = p->settings.run,
                     .training = p->settings.training,
                     .lean = p->settings.mode == FV_PLAN_LEAN};
    planned_node *n = &p->nodes[i];
    p->current = i;
    n->first_phase = p->run.count;
    FV_FORWARD(op.node->op->plan(&op));
    n->algorithm = op.algorithm ? op.algorithm : "";
    n->flops = op.flops;
    n->work = op.work > 0 ? op.work : op.flops;
    n->workspace_bytes = op.workspace_bytes;
    n->packed_bytes = op.packed_bytes;
    n->phases = p->run.count - n->first_phase;
    for (size_t k = n->first_phase; k < p->run.count; k++) n->pieces += p->run.list[k].pieces;
    n->bytes = n->phases ? fv_graph_node_traffic(p->graph, op.node) : 0; /* without phases nothing moves */
    n->predicted = fv_predict(&p->rates, n->work, n->bytes, n->phases);
    return FV_OK;
}

/* ---- threads ---- */

/* Of phase k on one thread: a node's phases count alike. */
static double phase_alone(const fv_plan *p, size_t k) {
    const planned_node *n = &p->nodes[p->run.list[k].node];
    return n->predicted.seconds / (double)n->phases;
}

static double predicted_seconds(const fv_plan *p, int threads) {
    double seconds = threads > 1 ? p->rates.wake : 0;
    for (size_t k = 0; k < p->run.count; k++)
        seconds += fv_phase_seconds(&p->rates, phase_alone(p, k), p->run.list[k].pieces, threads);
    return seconds;
}

/* As many threads as make the run faster by a share worth another busy core, and which phases they share. A team that
 * others use too is not made smaller. */
static void choose_threads(fv_plan *p) {
    const double worth = 0.9;
    const fv_plan_settings *s = &p->settings;
    const int asked = s->team ? fv_parallel_threads(s->team) : fv_parallel_count(p->context, s->threads);
    double least = predicted_seconds(p, 1);
    p->threads = 1;
    if (p->context->settings.all_threads || asked == 1) {
        p->threads = asked;
        return;
    }
    for (int n = 2; n <= asked; n = n < asked && 2 * n > asked ? asked : 2 * n) {
        const double seconds = predicted_seconds(p, n);
        if (seconds >= worth * least) continue;
        least = seconds;
        p->threads = n;
    }
    for (size_t k = 0; k < p->run.count; k++)
        p->run.list[k].alone =
            p->threads == 1 || !fv_phase_shared(&p->rates, phase_alone(p, k), p->run.list[k].pieces, p->threads);
}

/* ---- memory ---- */

typedef struct memory_plan {
    fv_arena_item *items;
    size_t count;
    int32_t *item_of; /* [value_count], -1: not in the arena */
    size_t *last_use; /* [value_count] */
    bool *pinned;     /* [value_count]: an output */
    fv_pass_effect in_place;
} memory_plan;

/* A value whose memory this node may take over: it dies here, and it lies in the arena. */
static int32_t taken_over(const fv_plan *p, const memory_plan *m, const fv_node *n, size_t step) {
    const unsigned flags[2] = {FV_OP_IN_PLACE, FV_OP_IN_PLACE_SECOND};
    if (n->out_count < 1 || n->out[0] == FV_NONE || m->pinned[n->out[0]]) return -1;
    for (int32_t k = 0; k < 2 && k < n->in_count; k++) {
        const fv_value v = n->in[k];
        if (!(n->op->flags & flags[k]) || v == FV_NONE || m->item_of[v] < 0) continue;
        const bool twice = n->in_count > 1 && n->in[1 - k] == v;
        if (m->last_use[v] == step && !m->pinned[v] && !twice &&
            value_bytes(&p->graph->values[v]) == value_bytes(&p->graph->values[n->out[0]]))
            return m->item_of[v];
    }
    return -1;
}

static void find_lives(const fv_plan *p, memory_plan *m) {
    const fv_graph *g = p->graph;
    for (size_t i = 0; i < g->node_count; i++) {
        for (int32_t k = 0; k < g->nodes[i].out_count; k++)
            if (g->nodes[i].out[k] != FV_NONE) m->last_use[g->nodes[i].out[k]] = i;
        for (int32_t k = 0; k < g->nodes[i].in_count; k++)
            if (g->nodes[i].in[k] != FV_NONE) m->last_use[g->nodes[i].in[k]] = i;
    }
    for (size_t i = 0; i < g->output_count; i++) {
        m->pinned[g->outputs[i]] = true;
        m->last_use[g->outputs[i]] = g->node_count;
    }
}

static void add_items(const fv_plan *p, memory_plan *m) {
    const fv_graph *g = p->graph;
    for (size_t i = 0; i < g->value_count; i++) m->item_of[i] = -1;
    for (size_t i = 0; i < g->node_count; i++) {
        const fv_node *n = &g->nodes[i];
        const int32_t shared = taken_over(p, m, n, i);
        for (int32_t k = 0; k < n->out_count; k++) {
            const fv_value v = n->out[k];
            if (v == FV_NONE || (m->pinned[v] && p->settings.bind_outputs) || m->item_of[v] >= 0) continue;
            if (k == 0 && shared >= 0) {
                m->item_of[v] = shared;
                m->in_place.count++;
                m->in_place.bytes += (double)value_bytes(&g->values[v]);
                m->items[shared].last = fv_max_size(m->items[shared].last, m->last_use[v]);
                continue;
            }
            const fv_value whole = g->values[v].inside.is ? g->values[v].inside.whole : v;
            if (m->item_of[whole] < 0) {
                m->item_of[whole] = (int32_t)m->count;
                m->items[m->count++] = (fv_arena_item){value_bytes(&g->values[whole]), i, m->last_use[whole], 0};
            }
            m->item_of[v] = m->item_of[whole];
        }
    }
    for (const workspace *w = p->workspaces; w; w = w->next)
        m->items[m->count++] = (fv_arena_item){w->buffer.bytes, w->node, w->node, 0};
}

static fv_status plan_memory(fv_plan *p, memory_plan *m) {
    const size_t values = p->graph->value_count + 1;
    FV_FORWARD(fv_alloc_array(p->context, values + p->workspace_count, sizeof *m->items, "the memory plan",
                              (void **)&m->items));
    FV_FORWARD(fv_alloc_array(p->context, values, sizeof *m->item_of, "the memory plan", (void **)&m->item_of));
    FV_FORWARD(fv_alloc_array(p->context, values, sizeof *m->last_use, "the memory plan", (void **)&m->last_use));
    FV_FORWARD(fv_alloc_array(p->context, values, sizeof *m->pinned, "the memory plan", (void **)&m->pinned));
    find_lives(p, m);
    add_items(p, m);
    p->in_place = m->in_place;
    return fv_arena_place(p->context, m->items, m->count, p->settings.mode == FV_PLAN_LEAN, &p->arena_bytes);
}

static void point_buffers(fv_plan *p, const memory_plan *m) {
    char *base = p->arena;
    for (size_t v = 0; v < p->graph->value_count; v++) {
        const fv_value_info *info = &p->graph->values[v];
        p->buffers[v].bytes = value_bytes(info);
        p->buffers[v].data = m->item_of[v] >= 0 ? base + m->items[m->item_of[v]].offset : info->data;
        if (info->inside.is) p->buffers[v].data = (fv_real *)p->buffers[v].data + info->inside.channel;
    }
    size_t i = m->count - p->workspace_count;
    for (workspace *w = p->workspaces; w; w = w->next) w->buffer.data = base + m->items[i++].offset;
}

static fv_status take_arena(fv_plan *p) {
    const fv_plan_settings *s = &p->settings;
    if (!s->arena) {
        p->owns_arena = true;
        return fv_alloc_large(p->context, p->arena_bytes, "the network's arena", &p->arena);
    }
    FV_RETURN_IF(s->arena_bytes < p->arena_bytes, FV_ERR_LIMIT, "the arena given has %zu bytes, the network needs %zu",
                 s->arena_bytes, p->arena_bytes);
    FV_RETURN_IF((uintptr_t)s->arena % FV_ALIGNMENT, FV_ERR_ARGUMENT, "the arena given is not %d-byte aligned",
                 FV_ALIGNMENT);
    p->arena = s->arena;
    return FV_OK;
}

static fv_status take_team(fv_plan *p) {
    const fv_plan_settings *s = &p->settings;
    p->owns_team = !s->team;
    if (!s->team) return fv_parallel_create(p->context, p->threads, p->scratch_bytes, &p->team);
    p->team = s->team;
    return fv_parallel_reserve(p->team, p->scratch_bytes);
}

/* ---- life ---- */

static fv_status plan_nodes(fv_plan *p) {
    FV_FORWARD(
        fv_alloc_array(p->context, p->graph->value_count + 1, sizeof *p->buffers, "a plan", (void **)&p->buffers));
    FV_FORWARD(fv_alloc_array(p->context, p->graph->node_count + 1, sizeof *p->nodes, "a plan", (void **)&p->nodes));
    for (size_t i = 0; i < p->graph->node_count; i++) FV_FORWARD(plan_node(p, i));
    choose_threads(p);
    return FV_OK;
}

/* Nobody but this node reads the plain numbers. */
static bool frees(const fv_plan *p, const packing *at) {
    const fv_node *n = &p->graph->nodes[at->node];
    return (n->op == &fv_op_conv || n->op == &fv_op_linear) && at->weight == n->in[1] &&
           fv_graph_readers(p->graph, p->graph->values[at->weight].data) == 1 && p->graph->values[at->weight].data != at->entry->data;
}

static void free_plain(fv_plan *p, size_t i) {
    for (size_t k = 0; k < p->packing_count; k++) {
        const packing *at = &p->packings[k];
        if (at->node == i && frees(p, at))
            fv_packed_replace(p->settings.packed, p->settings.frees, p->graph->values[at->weight].data, at->entry);
    }
}

typedef struct one_piece {
    const fv_phase *phase;
    size_t piece;
} one_piece;

static void run_one(void *arg, size_t piece, void *scratch) {
    const one_piece *one = arg;
    (void)piece;
    one->phase->run(one->phase->arg, one->piece, scratch);
}

/* The packing of node i whose plain numbers, in rows of output channels as its pieces are, go with it; NULL: none is
 * worth it. */
static const packing *freed_in_parts(const fv_plan *p, size_t i) {
    const size_t least = (size_t)8 << 20;
    const fv_node *n = &p->graph->nodes[i];
    for (size_t k = 0; k < p->packing_count; k++) {
        const packing *at = &p->packings[k];
        const fv_value_info *w = &p->graph->values[at->weight];
        if (at->node == i && frees(p, at) && w->layout == FV_PLAIN && n->attr.conv.groups == 1 &&
            value_bytes(w) >= least)
            return at;
    }
    return NULL;
}

/* A piece at a time, what it has read given back. Pieces are alike but for the last, and each packs as many rows as its
 * share or more. */
static void pack_in_parts(fv_plan *p, const fv_phase *phase, const packing *at) {
    const fv_value_info *w = &p->graph->values[at->weight];
    const size_t rows = (size_t)w->shape.dim[0], row = value_bytes(w) / rows;
    for (size_t piece = 0, begin = 0; piece < phase->pieces; piece++) {
        one_piece one = {phase, piece};
        const fv_phase alone = {.run = run_one, .arg = &one, .pieces = 1, .alone = true};
        fv_parallel_run(p->team, &alone, 1, NULL);
        const size_t end = rows * (piece + 1) / phase->pieces;
        fv_forget(p->context, (char *)w->data + begin * row, (end - begin) * row);
        begin = end;
    }
}

/* Node by node where plain numbers are freed, so that never more than one weight is there twice, and a large one in
 * parts. */
static void pack(fv_plan *p) {
    const fv_phase *list = p->prepare.list;
    for (size_t begin = 0, end; begin < p->prepare.count; begin = end) {
        for (end = begin + 1; end < p->prepare.count; end++)
            if (p->settings.frees && list[end].node != list[begin].node) break;
        const packing *large =
            p->settings.frees && end == begin + 1 ? freed_in_parts(p, (size_t)list[begin].node) : NULL;
        if (large)
            pack_in_parts(p, &list[begin], large);
        else
            fv_parallel_run(p->team, list + begin, end - begin, NULL);
        if (p->settings.frees) free_plain(p, (size_t)list[begin].node);
    }
}

static fv_status realize(fv_plan *p, const memory_plan *m) {
    FV_FORWARD(take_arena(p));
    point_buffers(p, m);
    FV_FORWARD(fv_alloc_array(p->context, p->run.count + 1, sizeof *p->seconds, "a plan", (void **)&p->seconds));
    FV_FORWARD(take_team(p));
    pack(p);
    return FV_OK;
}

static fv_status make(const fv_graph *g, const fv_plan_settings *s, bool only_size, fv_plan **out) {
    fv_plan *p = NULL;
    memory_plan m = {0};
    FV_FORWARD(fv_alloc_zero(g->context, sizeof *p, "a plan", (void **)&p));
    p->context = g->context;
    p->graph = g;
    p->settings = *s;
    p->rates = fv_rates_of(&g->context->kernels);
    if (s->packed) fv_packed_lock(s->packed);
    fv_status status = plan_nodes(p);
    if (status == FV_OK) status = plan_memory(p, &m);
    if (status == FV_OK && !only_size) status = realize(p, &m);
    if (s->packed) fv_packed_unlock(s->packed, status == FV_OK && !only_size);
    fv_release(p->context, m.items);
    fv_release(p->context, m.item_of);
    fv_release(p->context, m.last_use);
    fv_release(p->context, m.pinned);
    if (status == FV_OK)
        *out = p;
    else
        fv_plan_free(p);
    return status;
}

fv_status fv_plan_create(const fv_graph *g, const fv_plan_settings *s, fv_plan **out) { return make(g, s, false, out); }

fv_status fv_plan_size(const fv_graph *g, const fv_plan_settings *s, size_t *bytes) {
    fv_plan *p;
    FV_FORWARD(make(g, s, true, &p));
    *bytes = p->arena_bytes;
    fv_plan_free(p);
    return FV_OK;
}

void fv_plan_free(fv_plan *p) {
    if (!p) return;
    if (p->owns_team) fv_parallel_free(p->team);
    if (p->owns_arena) fv_release(p->context, p->arena);
    for (state_block *b = p->states, *next; b; b = next) {
        next = b->next;
        fv_release(p->context, b);
    }
    fv_release(p->context, p->run.list);
    fv_release(p->context, p->prepare.list);
    fv_release(p->context, p->nodes);
    fv_release(p->context, p->packings);
    fv_release(p->context, p->buffers);
    fv_release(p->context, p->seconds);
    fv_release(p->context, p);
}

void fv_plan_bind(fv_plan *p, fv_value v, void *data) { p->buffers[v].data = data; }
void *fv_plan_data(const fv_plan *p, fv_value v) { return p->buffers[v].data; }

void fv_plan_run(fv_plan *p) {
    fv_parallel_run(p->team, p->run.list, p->run.count, p->settings.profile ? p->seconds : NULL);
    p->profiled += p->settings.profile;
}

/* ---- what there is ---- */

size_t fv_plan_arena_bytes(const fv_plan *p) { return p->arena_bytes; }
size_t fv_plan_packed_bytes(const fv_plan *p) { return p->packed_bytes; }
size_t fv_plan_scratch_bytes(const fv_plan *p) { return fv_parallel_scratch_bytes(p->team); }
fv_pass_effect fv_plan_in_place(const fv_plan *p) { return p->in_place; }
int fv_plan_threads(const fv_plan *p) { return p->threads; }
size_t fv_plan_node_count(const fv_plan *p) { return p->graph->node_count; }

void fv_plan_node(const fv_plan *p, size_t i, fv_node_info *out) {
    const fv_node *n = &p->graph->nodes[i];
    const planned_node *planned = &p->nodes[i];
    *out = (fv_node_info){.name = n->name,
                          .op = n->op->name,
                          .algorithm = planned->algorithm,
                          .flops = planned->flops,
                          .bytes = planned->bytes,
                          .work = planned->work,
                          .phases = planned->phases,
                          .pieces = planned->pieces,
                          .workspace_bytes = planned->workspace_bytes,
                          .packed_bytes = planned->packed_bytes};
    if (n->out_count && n->out[0] != FV_NONE) {
        out->rank = p->graph->values[n->out[0]].shape.rank;
        memcpy(out->shape, p->graph->values[n->out[0]].shape.dim, sizeof out->shape);
    }
    for (size_t k = 0; k < planned->phases && p->profiled; k++)
        out->seconds += p->seconds[planned->first_phase + k] / (double)p->profiled;
}
