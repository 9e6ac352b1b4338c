/* Walking the kernel table: jobs (a slot on an ISA), cases, faults, threads. */
#include "kernels/check/engine.h"

#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define SLOT(family, member, run, argument)                                                                            \
    { #family "." #member, run, argument, offsetof(fv_kernels, family.member) }
#define SLOT_AT(name, member, run, argument)                                                                           \
    { name, run, argument, offsetof(fv_kernels, member) }
#define UNARY_SLOTS(name, kind)                                                                                        \
    SLOT_AT("pointwise." name, pointwise.unary[kind], fv_check_unary, kind),                                           \
        SLOT_AT("pointwise." name "_grad", pointwise.unary_grad[kind], fv_check_unary_grad, kind)

const fv_check_slot fv_check_slots[] = {
    SLOT(conv, pack, fv_check_conv_pack, 0),
    SLOT(conv, forward, fv_check_conv_forward, 0),
    SLOT(conv, weight_grad, fv_check_conv_weight_grad, 0),
    SLOT(conv_pooled, pack, fv_check_conv_pooled_pack, 0),
    SLOT(conv_pooled, weight_grad, fv_check_conv_pooled_weight_grad, 0),
    SLOT(conv_pooled, input_grad, fv_check_conv_pooled_input_grad, 0),
    SLOT(depthwise, pack, fv_check_depthwise_pack, 0),
    SLOT(depthwise, forward, fv_check_depthwise_forward, 0),
    SLOT(depthwise, data_grad, fv_check_depthwise_data_grad, 0),
    SLOT(depthwise, weight_grad, fv_check_depthwise_weight_grad, 0),
    SLOT(winograd, pack, fv_check_winograd, 0),
    SLOT(winograd, input, fv_check_winograd, 1),
    SLOT(winograd, output, fv_check_winograd, 2),
    SLOT(winograd, weight_grad, fv_check_winograd_weight_grad, 0),
    SLOT(pool, max, fv_check_pool_max, 0),
    SLOT(pool, max_grad, fv_check_pool_max_grad, 0),
    SLOT(pool, average, fv_check_pool_average, 0),
    SLOT(pool, average_grad, fv_check_pool_average_grad, 0),
    SLOT_AT("contrast.blur", contrast.blur[FV_BLUR_PLAIN], fv_check_blur, FV_BLUR_PLAIN),
    SLOT_AT("contrast.blur_subtract", contrast.blur[FV_BLUR_SUBTRACT], fv_check_blur, FV_BLUR_SUBTRACT),
    SLOT_AT("contrast.blur_root", contrast.blur[FV_BLUR_ROOT], fv_check_blur, FV_BLUR_ROOT),
    SLOT_AT("contrast.blur_sigma", contrast.blur[FV_BLUR_SIGMA], fv_check_blur, FV_BLUR_SIGMA),
    SLOT_AT("contrast.sum", contrast.sum[FV_MAP_SUM], fv_check_map_sum, FV_MAP_SUM),
    SLOT_AT("contrast.squares", contrast.sum[FV_MAP_SQUARES], fv_check_map_sum, FV_MAP_SQUARES),
    SLOT_AT("contrast.dot", contrast.sum[FV_MAP_DOT], fv_check_map_sum, FV_MAP_DOT),
    SLOT(contrast, shift, fv_check_map_apply, 0),
    SLOT(contrast, scale, fv_check_map_apply, 1),
    SLOT(contrast, divide, fv_check_divide, 0),
    SLOT(contrast, divide_add, fv_check_divide_add, 0),
    SLOT(contrast, below_dot, fv_check_below_dot, 0),
    SLOT(contrast, sigma_grad, fv_check_sigma_grad, 0),
    SLOT(contrast, power, fv_check_power, 0),
    SLOT(contrast, power_grad, fv_check_power, 1),
    SLOT(contrast, local, fv_check_local, 0),
    SLOT(contrast, local_grad, fv_check_local, 1),
    SLOT(pool, lp, fv_check_pool_kind, 1),
    SLOT(pool, lp_grad, fv_check_pool_kind_grad, 1),
    SLOT(pool, weighted, fv_check_pool_kind, 0),
    SLOT(pool, weighted_grad, fv_check_pool_kind_grad, 0),
    SLOT(pool, unpool, fv_check_unpool, 0),
    SLOT(pool, unpool_grad, fv_check_unpool, 1),
    SLOT(rows, copy, fv_check_rows_copy, 0),
    SLOT(rows, scale, fv_check_rows_scale, 0),
    SLOT(rows, inner, fv_check_rows_inner, 0),
    UNARY_SLOTS("relu", FV_UNARY_RELU),
    UNARY_SLOTS("sigmoid", FV_UNARY_SIGMOID),
    UNARY_SLOTS("tanh", FV_UNARY_TANH),
    UNARY_SLOTS("exp", FV_UNARY_EXP),
    UNARY_SLOTS("clamp", FV_UNARY_CLAMP),
    UNARY_SLOTS("linear", FV_UNARY_LINEAR),
    UNARY_SLOTS("softplus", FV_UNARY_SOFTPLUS),
    UNARY_SLOTS("smooth_abs", FV_UNARY_SMOOTH_ABS),
    UNARY_SLOTS("relu_surrogate", FV_UNARY_RELU_SURROGATE),
    UNARY_SLOTS("abs", FV_UNARY_ABS),
    UNARY_SLOTS("leaky_relu", FV_UNARY_LEAKY_RELU),
    UNARY_SLOTS("elu", FV_UNARY_ELU),
    UNARY_SLOTS("erf", FV_UNARY_ERF),
    UNARY_SLOTS("gelu", FV_UNARY_GELU),
    UNARY_SLOTS("gelu_tanh", FV_UNARY_GELU_TANH),
    UNARY_SLOTS("silu", FV_UNARY_SILU),
    UNARY_SLOTS("mish", FV_UNARY_MISH),
    UNARY_SLOTS("hard_sigmoid", FV_UNARY_HARD_SIGMOID),
    UNARY_SLOTS("hard_swish", FV_UNARY_HARD_SWISH),
    UNARY_SLOTS("softsign", FV_UNARY_SOFTSIGN),
    SLOT_AT("pointwise.add", pointwise.binary[FV_BINARY_ADD], fv_check_binary, FV_BINARY_ADD),
    SLOT_AT("pointwise.sub", pointwise.binary[FV_BINARY_SUB], fv_check_binary, FV_BINARY_SUB),
    SLOT_AT("pointwise.mul", pointwise.binary[FV_BINARY_MUL], fv_check_binary, FV_BINARY_MUL),
    SLOT(pointwise, gain, fv_check_gain, 0),
    SLOT(pointwise, prelu, fv_check_prelu, 0),
    SLOT(pointwise, prelu_grad, fv_check_prelu_grad, 0),
    SLOT(pointwise, dropout, fv_check_dropout, 0),
    SLOT(softmax, softmax, fv_check_softmax, 0),
    SLOT(softmax, softmax_grad, fv_check_softmax_grad, 0),
    SLOT(softmax, log_softmax, fv_check_log_softmax, 0),
    SLOT(softmax, log_softmax_grad, fv_check_log_softmax_grad, 0),
    SLOT(softmax, cross_entropy, fv_check_cross_entropy, 0),
    SLOT(softmax, soft_cross_entropy, fv_check_soft_cross_entropy, 0),
    SLOT(softmax, entropy, fv_check_entropy, 0),
    SLOT(softmax, squared_error, fv_check_squared_error, 0),
    SLOT(reduce, sum, fv_check_sum, 0),
    SLOT(reduce, sum_squares, fv_check_sum, 1),
    SLOT(reduce, sum_rows, fv_check_sum_rows, 0),
    SLOT(reduce, dot_rows, fv_check_dot_rows, 0),
    SLOT(reduce, add_parts, fv_check_add_parts, 0),
    SLOT(norm, moments, fv_check_moments, 0),
    SLOT(norm, merge, fv_check_merge_moments, 0),
    SLOT(norm, combine, fv_check_combine_moments, 0),
    SLOT(norm, apply, fv_check_norm_apply, 0),
    SLOT(norm, grad_sums, fv_check_norm_grad_sums, 0),
    SLOT(norm, grad_input, fv_check_norm_grad_input, 0),
    SLOT(optimizer, sgd, fv_check_optimizer, 0),
    SLOT(optimizer, momentum, fv_check_optimizer, 1),
    SLOT(optimizer, nesterov, fv_check_optimizer, 2),
    SLOT(optimizer, adam, fv_check_optimizer, 3),
    SLOT(optimizer, adamw, fv_check_optimizer, 4),
    SLOT(convert, transpose, fv_check_transpose, 0),
    SLOT(convert, u8_to_real, fv_check_u8_to_real, 0),
    SLOT(measure, fma_loop, fv_check_measure, 0),
};
const size_t fv_check_slot_count = FV_ARRAY_SIZE(fv_check_slots);

/* ---- faults ---- */

static _Thread_local sigjmp_buf fault_exit;
static _Thread_local volatile sig_atomic_t fault_armed;
static struct sigaction previous[2];
static const int fault_signals[2] = {SIGSEGV, SIGBUS};

static void on_fault(int number) {
    if (fault_armed) siglongjmp(fault_exit, 1);
    signal(number, SIG_DFL); /* not ours: the instruction is run again and ends the process as usual */
}

void fv_check_signals_begin(void) {
    struct sigaction action = {.sa_handler = on_fault, .sa_flags = SA_NODEFER};
    sigemptyset(&action.sa_mask);
    for (int i = 0; i < 2; i++) sigaction(fault_signals[i], &action, &previous[i]);
}

void fv_check_signals_end(void) {
    for (int i = 0; i < 2; i++) sigaction(fault_signals[i], &previous[i], NULL);
}

/* ---- one job ---- */

void fv_check_print(const fv_check_options *o, const char *format, ...) {
    if (!o->print) return;
    char line[1024];
    va_list list;
    va_start(list, format);
    vsnprintf(line, sizeof line, format, list);
    va_end(list);
    o->print(o->user, line);
}

static uint64_t case_seed(uint64_t seed, const char *slot, uint64_t number) {
    uint64_t hash = 14695981039346656037u ^ seed;
    for (; *slot; slot++) hash = (hash ^ (unsigned char)*slot) * 1099511628211u;
    fv_check_random r = {hash + number * 0xd1342543de82ef95u};
    return check_bits(&r);
}

static fv_check_values draw_values(fv_check_random *r) {
    const size_t k = check_below(r, 20);
    return k < 7 ? FV_VALUES_INTEGER : k < 13 ? FV_VALUES_FLOAT : k < 17 ? FV_VALUES_NASTY : FV_VALUES_NONFINITE;
}

static void run_case(fv_case *c, const fv_check_slot *slot) {
    fv_check_memory_reset(c->memory);
    if (sigsetjmp(fault_exit, 0) == 0) {
        fault_armed = 1;
        slot->run(c);
    } else {
        c->failed = false; /* the fault is the finding */
        fv_check_fail(c, "touched memory outside its tensors (fault)");
    }
    fault_armed = 0;
    fv_check_memory_verify(c);
}

static double seconds_now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

size_t fv_check_given_count(const fv_check_options *o, const fv_check_slot *slot) {
    size_t count = 0;
    for (size_t i = 0; o->given && i < o->given_count; i++) count += strcmp(o->given[i].slot, slot->name) == 0;
    return count;
}

/* Cases take the slot's shapes in turn. */
static const fv_check_given *given_for(const fv_check_options *o, const fv_check_slot *slot, uint64_t number) {
    const size_t count = fv_check_given_count(o, slot);
    size_t wanted = count ? (size_t)(number % count) : 0;
    for (size_t i = 0; count && i < o->given_count; i++)
        if (strcmp(o->given[i].slot, slot->name) == 0 && wanted-- == 0) return &o->given[i];
    return NULL;
}

void fv_check_do_job(const fv_check_options *o, fv_check_job *job, fv_check_memory *memory) {
    const double end = job->seconds > 0 ? seconds_now() + job->seconds : INFINITY;
    for (uint64_t i = 0; i < job->cases; i++) {
        const uint64_t number = job->first_case + i;
        if (i > 0 && i % 16 == 0 && seconds_now() > end) break;
        fv_case c = {.candidate = job->candidate, .reference = job->reference, .argument = job->slot->argument};
        c.memory = memory;
        c.given = given_for(o, job->slot, number);
        c.random.state = case_seed(o->seed, job->slot->name, number);
        c.values = draw_values(&c.random);
        c.eps = c.values == FV_VALUES_INTEGER ? 0 : FLT_EPSILON;
        run_case(&c, job->slot);
        job->done++;
        if (job->tick && (i % 64 == 63 || c.given)) job->tick(job->tick_user, c.given ? 1 : 64);
        job->worst_ratio = fmax(job->worst_ratio, c.worst_ratio);
        if (c.worst_ulp > job->worst_ulp) job->worst_ulp = c.worst_ulp;
        if (!c.failed) continue;
        fv_check_print(o,
                       "MISMATCH %s on %s, case %llu, seed %llu: %s; shape: %s; repeat: fovea check --op %s --isa %s "
                       "--seed %llu --case %llu%s",
                       job->slot->name, job->isa, (unsigned long long)number, (unsigned long long)o->seed, c.message,
                       c.shape, job->slot->name, job->isa, (unsigned long long)o->seed, (unsigned long long)number,
                       o->repeat_with ? o->repeat_with : "");
        if (++job->failures >= (uint64_t)job->stop_at) break;
    }
}

/* ---- all jobs ---- */

fv_check_options fv_check_defaults(void) {
    return (fv_check_options){.cases = 2000, .seed = 1, .only_case = -1, .threads = 1};
}

const char *fv_check_sentence(fv_check_result r) {
    switch (r) {
    case FV_CHECK_AGREE:
        return "all agree";
    case FV_CHECK_MISMATCH:
        return "MISMATCH";
    case FV_CHECK_NOTHING:
        return "nothing was checked";
    default:
        return "out of memory";
    }
}

/* "conv" matches "conv.forward", "conv.forward" matches itself alone. */
bool fv_check_slot_matches(const fv_check_slot *slot, const char *op) {
    if (!op) return true;
    const size_t n = strlen(op);
    return strncmp(slot->name, op, n) == 0 && (slot->name[n] == '\0' || slot->name[n] == '.');
}

static bool own_function(const fv_check_slot *slot, const fv_kernels *k, const fv_kernels *scalar) {
    return memcmp((const char *)k + slot->offset, (const char *)scalar + slot->offset, sizeof(fv_conv_pack_fn)) != 0;
}

typedef struct walk {
    const fv_check_options *o;
    fv_kernels tables[8]; /* a row of fv_isa_table each */
    fv_check_job *jobs;
    size_t count;
    atomic_size_t next;
    atomic_bool no_memory;
    double begin;
    uint64_t ticked; /* cases, under the lock */
    pthread_mutex_t lock;
} walk;

static void locked_print(void *user, const char *line) {
    walk *w = user;
    pthread_mutex_lock(&w->lock);
    if (w->o->print) w->o->print(w->o->user, line);
    pthread_mutex_unlock(&w->lock);
}

static void locked_tick(void *user, uint64_t cases) {
    walk *w = user;
    const fv_check_options *o = w->o;
    pthread_mutex_lock(&w->lock);
    w->ticked += cases;
    double all = 0;
    for (size_t i = 0; i < w->count; i++) all += (double)w->jobs[i].cases;
    const double share = o->seconds > 0 ? (seconds_now() - w->begin) / o->seconds : (double)w->ticked / all;
    o->progress(o->user, fmin(share, 1));
    pthread_mutex_unlock(&w->lock);
}

static bool walk_init(walk *w, const fv_check_options *o) {
    *w = (walk){.o = o};
    w->jobs = calloc(fv_check_slot_count * FV_ARRAY_SIZE(w->tables), sizeof *w->jobs);
    if (!w->jobs) return false;
    size_t row = 0;
    for (const fv_isa *isa = fv_isa_table; isa->name && row < FV_ARRAY_SIZE(w->tables); isa++) {
        if (!fv_kernels_for(isa->name, &w->tables[row])) continue;
        const size_t table = row++;
        if (o->isa && strcmp(o->isa, isa->name) != 0) continue;
        for (size_t s = 0; s < fv_check_slot_count; s++) {
            const size_t shapes = fv_check_given_count(o, &fv_check_slots[s]);
            if (!fv_check_slot_matches(&fv_check_slots[s], o->op) || (o->given && shapes == 0)) continue;
            w->jobs[w->count++] = (fv_check_job){.slot = &fv_check_slots[s],
                                                 .isa = isa->name,
                                                 .candidate = &w->tables[table],
                                                 .reference = &w->tables[0],
                                                 .first_case = o->only_case < 0 ? 0 : (uint64_t)o->only_case,
                                                 .cases = o->only_case >= 0 ? 1 : o->cases * (shapes ? shapes : 1),
                                                 .stop_at = 3,
                                                 .tick = o->progress ? locked_tick : NULL,
                                                 .tick_user = w};
        }
    }
    return true;
}

static void finish_job(walk *w, const fv_check_options *o, const fv_check_job *j) {
    if (o->quiet && j->failures == 0) return;
    const bool own = own_function(j->slot, j->candidate, &w->tables[0]);
    fv_check_print(o, "%-8s %-26s %9llu cases  error/bound %5.3f  max ULP from scalar %-10llu %s%s", j->isa,
                   j->slot->name, (unsigned long long)j->done, j->worst_ratio, (unsigned long long)j->worst_ulp,
                   j->failures ? "MISMATCH" : "ok", own || j->candidate == j->reference ? "" : " (scalar's function)");
}

static void *work(void *argument) {
    walk *w = argument;
    fv_check_memory *memory;
    if (!fv_check_memory_create(&memory)) {
        atomic_store(&w->no_memory, true);
        return NULL;
    }
    fv_check_options o = *w->o;
    o.print = locked_print;
    o.user = w;
    const size_t threads = o.threads > 1 ? (size_t)o.threads : 1;
    for (size_t i; (i = atomic_fetch_add(&w->next, 1)) < w->count;) {
        fv_check_job *j = &w->jobs[i];
        const double left = o.seconds - (seconds_now() - w->begin);
        if (o.seconds > 0) j->seconds = fmax(left, 1e-3) / (double)fv_div_up(w->count - i, threads);
        fv_check_do_job(&o, j, memory);
        finish_job(w, &o, j);
    }
    fv_check_memory_free(memory);
    return NULL;
}

static fv_check_result conclude(const walk *w, fv_check_report *report) {
    fv_check_report r = {0};
    for (size_t i = 0; i < w->count; i++) {
        r.slots += w->jobs[i].done > 0;
        r.cases += w->jobs[i].done;
        r.mismatches += w->jobs[i].failures > 0;
    }
    if (report) *report = r;
    if (atomic_load(&w->no_memory)) return FV_CHECK_NO_MEMORY;
    return r.mismatches ? FV_CHECK_MISMATCH : r.slots < w->count || r.cases == 0 ? FV_CHECK_NOTHING : FV_CHECK_AGREE;
}

fv_check_result fv_check_run(const fv_check_options *options, fv_check_report *report) {
    walk w;
    if (report) *report = (fv_check_report){0};
    if (!walk_init(&w, options)) return FV_CHECK_NO_MEMORY;
    pthread_mutex_init(&w.lock, NULL);
    w.begin = seconds_now();
    fv_check_signals_begin();
    pthread_t helper[16];
    int helpers = 0;
    while (helpers < options->threads - 1 && helpers < 16 && pthread_create(&helper[helpers], NULL, work, &w) == 0)
        helpers++;
    work(&w);
    for (int i = 0; i < helpers; i++) pthread_join(helper[i], NULL);
    fv_check_signals_end();
    const fv_check_result result = conclude(&w, report);
    pthread_mutex_destroy(&w.lock);
    free(w.jobs);
    return result;
}

fv_check_result fv_check_list(const fv_check_options *options) {
    walk w;
    if (!walk_init(&w, options)) return FV_CHECK_NO_MEMORY;
    for (size_t i = 0; i < w.count; i++) {
        const fv_check_job *j = &w.jobs[i];
        const bool own = j->candidate == j->reference || own_function(j->slot, j->candidate, j->reference);
        fv_check_print(options, "%-8s %-26s %s", j->isa, j->slot->name, own ? "own" : "scalar");
    }
    const fv_check_result result = w.count ? FV_CHECK_AGREE : FV_CHECK_NOTHING;
    free(w.jobs);
    return result;
}
