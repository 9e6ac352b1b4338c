#include "check/grad.h"

#include "ops/op.h"

#include <float.h>
#include <math.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { MOST_ISAS = 8, MOST_OPS = 512, MOST_VARIABLES = 64, ELEMENTS = 32, ATTEMPTS = 40, PROBES = 4 };

static const double step = 1e-4, tolerance = 1e-6;
/* What a sum and a chain of operators may add to the error that rounding the inputs makes: see estimate_error. */
static const double bound_factor = 16;

typedef struct row_result {
    uint64_t cases, failures, redrawn;
    fv_grad_held held;
    double difference;         /* largest, of the variable's largest gradient: double against differences */
    double error, error_ratio; /* float against double, and of its bound */
    const char *worst_isa;
    bool done;
} row_result;

typedef struct check {
    const fv_check_options *o;
    const fv_grad_build *exact, *library;
    const char *isas[MOST_ISAS];
    size_t isa_count;
    bool one_row; /* a name that a row has takes that row alone, not its family */
    row_result *results;
    atomic_bool seen[MOST_OPS]; /* of fv_op_registry */
    atomic_size_t next;
    uint64_t done, planned; /* cases, under the lock */
    double begin;
    pthread_mutex_t lock;
} check;

static double seconds_now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void say(check *k, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void say(check *k, const char *format, ...) {
    char line[1024];
    va_list list;
    va_start(list, format);
    vsnprintf(line, sizeof line, format, list);
    va_end(list);
    pthread_mutex_lock(&k->lock);
    if (k->o->print) k->o->print(k->o->user, line);
    pthread_mutex_unlock(&k->lock);
}

static bool matches(const char *row, const char *op) {
    if (!op) return true;
    const size_t n = strlen(op);
    return strncmp(row, op, n) == 0 && (row[n] == '\0' || row[n] == '.');
}

/* ---- one case ---- */

typedef enum verdict { AGREES, DRAW_AGAIN, FAILS } verdict;

typedef struct trial {
    check *k;
    fv_grad_request request;
    row_result *result;
    fv_grad_case *exact;
    double *gradient[MOST_VARIABLES]; /* [variable_count] in double, as first computed; NULL: not differentiated */
    double scale[MOST_VARIABLES];     /* largest of them */
    double bound[MOST_VARIABLES];     /* of the float library's error */
    double loss, loss_bound;
    fv_check_random random;
} trial;

static verdict mismatch(trial *t, const char *format, ...) __attribute__((format(printf, 2, 3)));
static verdict mismatch(trial *t, const char *format, ...) {
    char what[512];
    va_list list;
    va_start(list, format);
    vsnprintf(what, sizeof what, format, list);
    va_end(list);
    const char *row = fv_grad_row_at(t->request.row)->name;
    say(t->k,
        "MISMATCH %s, case %llu, seed %llu: %s; shape: %s; repeat: fovea check --grad --op %s --seed %llu --case %llu",
        row, (unsigned long long)t->request.number, (unsigned long long)t->request.seed, what,
        t->exact ? t->exact->shape : "none", row, (unsigned long long)t->request.seed,
        (unsigned long long)t->request.number);
    return FAILS;
}

static double largest(const double *x, size_t n) {
    double most = 0;
    for (size_t i = 0; i < n; i++) most = fabs(x[i]) > most || isnan(x[i]) ? fabs(x[i]) : most;
    return most;
}

static verdict keep_gradients(trial *t) {
    t->k->exact->run(t->exact);
    t->loss = t->exact->loss;
    for (size_t i = 0; i < t->exact->variable_count; i++) {
        const fv_grad_variable *v = &t->exact->variables[i];
        if (!v->gradient) continue;
        t->gradient[i] = malloc((v->count ? v->count : 1) * sizeof(double));
        if (!t->gradient[i]) return mismatch(t, "out of memory");
        memcpy(t->gradient[i], v->gradient, v->count * sizeof(double));
        t->scale[i] = largest(v->gradient, v->count);
        if (!isfinite(t->scale[i])) return mismatch(t, "the gradient of %s is not finite", v->name);
    }
    return AGREES;
}

/* The loss with every variable moved by `by` along `direction` (NULL: element `element` of variable `i` alone). */
static double loss_at(trial *t, size_t i, size_t element, double by, double *const *direction) {
    fv_grad_case *c = t->exact;
    const double kept = c->variables[i].value[element];
    if (!direction) {
        c->variables[i].value[element] = kept + by;
        t->k->exact->run(c);
        c->variables[i].value[element] = kept;
        return c->loss;
    }
    for (int sign = 1; sign >= -1; sign -= 2) {
        for (size_t v = 0; v < c->variable_count; v++)
            for (size_t e = 0; direction[v] && e < c->variables[v].count; e++)
                c->variables[v].value[e] += sign * by * direction[v][e];
        if (sign == 1) t->k->exact->run(c);
    }
    return c->loss;
}

/* Central differences at h and h/2 and the gradient's value against them. scale: what `allowed` is a part of. */
static verdict hold(trial *t, size_t i, size_t element, double *const *direction, double h, double gradient,
                    double scale, const char *what) {
    const double first = (loss_at(t, i, element, h, direction) - loss_at(t, i, element, -h, direction)) / (2 * h);
    const double second = (loss_at(t, i, element, h / 2, direction) - loss_at(t, i, element, -h / 2, direction)) / h;
    const double difference = (4 * second - first) / 3;
    const double most = fmax(scale, fabs(difference));
    if (fabs(first - second) > 0.5 * tolerance * most) return DRAW_AGAIN;
    if (most > 0) t->result->difference = fmax(t->result->difference, fabs(difference - gradient) / most);
    if (fabs(difference - gradient) <= tolerance * most) return AGREES;
    return mismatch(t, "gradient of %s[%zu] in double: %.10g, by central differences %.10g", what, element, gradient,
                    difference);
}

static verdict hold_elements(trial *t) {
    for (size_t i = 0; i < t->exact->variable_count; i++) {
        const fv_grad_variable *v = &t->exact->variables[i];
        const size_t tried = v->count < ELEMENTS ? v->count : ELEMENTS;
        for (size_t n = 0; n < tried && t->gradient[i]; n++) {
            const size_t element = v->count <= ELEMENTS ? n : check_below(&t->random, v->count);
            const verdict found = hold(t, i, element, NULL, step, t->gradient[i][element], t->scale[i], v->name);
            if (found != AGREES) return found;
        }
    }
    return AGREES;
}

/* One direction through every element of every variable. */
static verdict hold_direction(trial *t) {
    double *direction[MOST_VARIABLES] = {0}, gradient = 0, squares = 0;
    verdict found = AGREES;
    for (size_t i = 0; i < t->exact->variable_count; i++) {
        const size_t n = t->exact->variables[i].count;
        if (!t->gradient[i]) continue;
        direction[i] = malloc((n ? n : 1) * sizeof(double));
        if (!direction[i]) found = mismatch(t, "out of memory");
        for (size_t e = 0; direction[i] && e < n; e++) {
            direction[i][e] = check_chance(&t->random, 0.5) ? 1 : -1;
            gradient += direction[i][e] * t->gradient[i][e];
            squares += t->gradient[i][e] * t->gradient[i][e];
        }
    }
    if (found == AGREES)
        found = hold(t, 0, 0, direction, step / 16, gradient, sqrt(squares), "all variables along a direction");
    for (size_t i = 0; i < t->exact->variable_count; i++) free(direction[i]);
    return found;
}

/* How far rounding to float may move a gradient. In double every variable is moved by one unit of float's rounding, up
 * or down at random, PROBES times; the largest change of a variable's gradient, with one rounding of the gradient
 * itself, is what a computation that rounds its inputs alone would show. Each operator rounds again, and a sum of n
 * terms some sqrt(n) times: bound_factor covers the few operators and the few hundred terms of a case. Measured over
 * 27 rows x 300 cases: 2.6 of the 16 allowed at most. */
static verdict estimate_error(trial *t) {
    fv_grad_case *c = t->exact;
    for (size_t i = 0; i < c->variable_count; i++) t->bound[i] = FLT_EPSILON * t->scale[i] + FLT_MIN;
    t->loss_bound = FLT_EPSILON * fabs(t->loss) + FLT_MIN;
    double *kept[MOST_VARIABLES] = {0};
    verdict found = AGREES;
    for (size_t i = 0; i < c->variable_count && found == AGREES; i++) {
        kept[i] = malloc((c->variables[i].count ? c->variables[i].count : 1) * sizeof(double));
        if (!kept[i])
            found = mismatch(t, "out of memory");
        else
            memcpy(kept[i], c->variables[i].value, c->variables[i].count * sizeof(double));
    }
    for (int probe = 0; probe < PROBES && found == AGREES; probe++) {
        double change[MOST_VARIABLES] = {0};
        for (size_t i = 0; i < c->variable_count; i++)
            for (size_t e = 0; e < c->variables[i].count; e++)
                c->variables[i].value[e] =
                    kept[i][e] * (1 + (check_chance(&t->random, 0.5) ? FLT_EPSILON : -FLT_EPSILON));
        t->k->exact->run(c);
        for (size_t i = 0; i < c->variable_count; i++)
            for (size_t e = 0; t->gradient[i] && e < c->variables[i].count; e++)
                change[i] = fmax(change[i], fabs(c->variables[i].gradient[e] - t->gradient[i][e]));
        for (size_t i = 0; i < c->variable_count; i++)
            t->bound[i] = fmax(t->bound[i], change[i] + FLT_EPSILON * t->scale[i]);
        t->loss_bound = fmax(t->loss_bound, fabs(c->loss - t->loss) + FLT_EPSILON * fabs(t->loss));
    }
    for (size_t i = 0; i < c->variable_count; i++) {
        if (kept[i]) memcpy(c->variables[i].value, kept[i], c->variables[i].count * sizeof(double));
        free(kept[i]);
        t->bound[i] *= c->amplification;
    }
    return found;
}

/* A training loss has no output that is held: its value is. */
static verdict hold_loss(trial *t, const fv_grad_case *c, const char *isa) {
    if (!c->has_loss) return AGREES;
    t->result->held.outputs++;
    const double error = fabs(c->loss - t->loss);
    if (error <= bound_factor * t->loss_bound) return AGREES;
    t->result->held.output_failures++;
    return mismatch(t, "loss on %s: %.9g, in double %.9g, error %.3g, allowed %.3g", isa, c->loss, t->loss, error,
                    bound_factor * t->loss_bound);
}

static verdict hold_library(trial *t, const char *isa) {
    fv_grad_case *c = NULL;
    fv_grad_request request = t->request;
    request.isa = isa;
    if (t->k->library->create(&request, &c) != FV_OK) return mismatch(t, "on %s: %s", isa, t->k->library->error());
    verdict found = c->variable_count == t->exact->variable_count
                        ? AGREES
                        : mismatch(t, "on %s the graph has other variables", isa);
    if (found == AGREES) t->k->library->run(c);
    if (found == AGREES) found = hold_loss(t, c, isa);
    for (size_t i = 0; i < c->variable_count && found == AGREES; i++) {
        const fv_grad_variable *v = &c->variables[i];
        if (t->gradient[i]) *(v->output ? &t->result->held.outputs : &t->result->held.gradients) += v->count;
        for (size_t e = 0; t->gradient[i] && e < v->count && found == AGREES; e++) {
            const double error = fabs(v->gradient[e] - t->gradient[i][e]), ratio = error / t->bound[i];
            if (ratio > t->result->error_ratio || !t->result->worst_isa) {
                t->result->error_ratio = ratio;
                t->result->error = t->scale[i] > 0 ? error / t->scale[i] : 0;
                t->result->worst_isa = isa;
            }
            if (ratio <= bound_factor) continue;
            t->result->held.output_failures += v->output;
            found = mismatch(t, "gradient of %s[%zu] on %s: %.9g, in double %.9g, error %.3g, allowed %.3g", v->name, e,
                             isa, v->gradient[e], t->gradient[i][e], error, bound_factor * t->bound[i]);
        }
    }
    t->k->library->free(c);
    return found;
}

static verdict try_case(trial *t) {
    verdict found = keep_gradients(t);
    for (size_t i = 0; i < t->exact->variable_count && found == AGREES; i++)
        if (t->gradient[i] && t->scale[i] == 0) found = DRAW_AGAIN;
    if (found == AGREES && !t->exact->surrogate) {
        found = hold_elements(t);
        if (found == AGREES) found = hold_direction(t);
        t->result->held.differences++;
    }
    if (found == AGREES) found = estimate_error(t);
    for (size_t i = 0; i < t->k->isa_count && found == AGREES; i++) found = hold_library(t, t->k->isas[i]);
    for (size_t i = 0; i < MOST_OPS && fv_op_registry[i] && found == AGREES; i++)
        if (t->k->exact->has(t->exact, fv_op_registry[i]->name)) atomic_store(&t->k->seen[i], true);
    return found;
}

static bool run_case(check *k, row_result *result, size_t row, uint64_t number) {
    verdict found = DRAW_AGAIN;
    for (uint32_t attempt = 0; attempt < ATTEMPTS && found == DRAW_AGAIN; attempt++) {
        trial t = {.k = k, .result = result, .request = {row, k->o->seed, number, attempt, "scalar"}};
        t.random.state = k->o->seed + number * 0x9e3779b97f4a7c15u + attempt;
        if (k->exact->create(&t.request, &t.exact) != FV_OK) return mismatch(&t, "%s", k->exact->error()) == AGREES;
        found = t.exact->variable_count > MOST_VARIABLES ? mismatch(&t, "too many variables") : try_case(&t);
        result->redrawn += found == DRAW_AGAIN;
        if (found == DRAW_AGAIN && attempt == ATTEMPTS - 1)
            found = mismatch(&t, "every draw is at a kink, or has a gradient that is zero everywhere");
        for (size_t i = 0; i < MOST_VARIABLES; i++) free(t.gradient[i]);
        k->exact->free(t.exact);
    }
    result->cases++;
    result->failures += found == FAILS;
    return found == AGREES;
}

/* ---- all rows ---- */

static void tick(check *k) {
    const fv_check_options *o = k->o;
    pthread_mutex_lock(&k->lock);
    k->done++;
    const double share =
        o->seconds > 0 ? (seconds_now() - k->begin) / o->seconds : (double)k->done / (double)k->planned;
    if (o->progress) o->progress(o->user, fmin(share, 1));
    pthread_mutex_unlock(&k->lock);
}

static void run_row(check *k, size_t row, size_t rows_left) {
    const fv_check_options *o = k->o;
    row_result *r = &k->results[row];
    const size_t threads = o->threads > 1 ? (size_t)o->threads : 1;
    const double begin = seconds_now(), left = fmax(o->seconds - (begin - k->begin), 1e-3);
    const double end = o->seconds > 0 ? begin + left / (double)fv_div_up(rows_left, threads) : INFINITY;
    const uint64_t cases = o->only_case < 0 ? o->cases : 1, first = o->only_case < 0 ? 0 : (uint64_t)o->only_case;
    for (uint64_t i = 0; i < cases && r->failures < 3 && (i == 0 || seconds_now() < end); i++) {
        (void)run_case(k, r, row, first + i);
        tick(k);
    }
    r->done = r->cases > 0;
    if (o->quiet && r->failures == 0) return;
    say(k, "%-28s %6llu cases  double/differences %8.1e  float/double %8.1e, %.3f of its bound, on %-7s %s",
        fv_grad_row_at(row)->name, (unsigned long long)r->cases, r->difference, r->error, r->error_ratio / bound_factor,
        r->worst_isa ? r->worst_isa : "none", r->failures ? "MISMATCH" : "ok");
}

static size_t next_row(check *k, size_t from) {
    const char *op = k->o->op;
    while (from < fv_grad_row_count()) {
        const fv_grad_row *row = fv_grad_row_at(from);
        if (k->one_row ? fv_grad_row_matches(row, op) : matches(row->name, op)) break;
        from++;
    }
    return from;
}

static void *work(void *argument) {
    check *k = argument;
    for (;;) {
        pthread_mutex_lock(&k->lock);
        const size_t row = next_row(k, atomic_load(&k->next));
        atomic_store(&k->next, row + 1);
        size_t left = 0;
        for (size_t r = row; (r = next_row(k, r)) < fv_grad_row_count(); r++) left++;
        pthread_mutex_unlock(&k->lock);
        if (row >= fv_grad_row_count()) return NULL;
        run_row(k, row, left);
    }
}

/* Every operator took part that gives values or gradients: all but the clipping norm, the updates, indices at the
 * borders, and what has no gradient. */
static bool all_seen(check *k) {
    bool all = true;
    for (size_t i = 0; fv_op_registry[i]; i++) {
        const fv_op *op = fv_op_registry[i];
        const bool needed = op != &fv_op_grad_norm && op != &fv_op_update && op != &fv_op_indices &&
                            op != &fv_op_positions && !(op->flags & FV_OP_NO_GRADIENT);
        if (!needed || (i < MOST_OPS && atomic_load(&k->seen[i]))) continue;
        say(k, "no case reached operator %s", op->name);
        all = false;
    }
    return all;
}

static fv_check_result conclude(check *k, fv_check_report *report, fv_grad_held *held) {
    fv_check_report r = {0};
    for (size_t i = 0; held && i < fv_grad_row_count(); i++) {
        const row_result *row = &k->results[i];
        held->outputs += row->held.outputs;
        held->gradients += row->held.gradients;
        held->differences += row->held.differences;
        held->output_failures += row->held.output_failures;
        held->gradient_failures += row->failures - row->held.output_failures;
    }
    for (size_t i = 0; i < fv_grad_row_count(); i++) {
        r.slots += k->results[i].done;
        r.cases += k->results[i].cases;
        r.mismatches += k->results[i].failures > 0;
    }
    if (report) *report = r;
    if (r.mismatches) return FV_CHECK_MISMATCH;
    if (r.cases == 0 || k->isa_count == 0) return FV_CHECK_NOTHING;
    return k->o->op || k->o->only_case >= 0 || all_seen(k) ? FV_CHECK_AGREE : FV_CHECK_NOTHING;
}

static void find_isas(check *k) {
    fv_kernels table;
    for (const fv_isa *isa = fv_isa_table; isa->name && k->isa_count < MOST_ISAS; isa++)
        if ((!k->o->isa || strcmp(isa->name, k->o->isa) == 0) && fv_kernels_for(isa->name, &table))
            k->isas[k->isa_count++] = isa->name;
}

static fv_check_result check_rows(const fv_check_options *options, const fv_grad_build *exact,
                                  const fv_grad_build *library, fv_check_report *report, fv_grad_held *held) {
    check k = {.o = options, .exact = exact, .library = library, .begin = seconds_now(), .one_row = held != NULL};
    if (report) *report = (fv_check_report){0};
    if (held) *held = (fv_grad_held){0};
    k.results = calloc(fv_grad_row_count(), sizeof *k.results);
    if (!k.results) return FV_CHECK_NO_MEMORY;
    find_isas(&k);
    for (size_t r = 0; (r = next_row(&k, r)) < fv_grad_row_count(); r++)
        k.planned += options->only_case < 0 ? options->cases : 1;
    pthread_mutex_init(&k.lock, NULL);
    pthread_t helper[16];
    int helpers = 0;
    if (k.isa_count > 0) {
        while (helpers < options->threads - 1 && helpers < 16 && pthread_create(&helper[helpers], NULL, work, &k) == 0)
            helpers++;
        work(&k);
    }
    for (int i = 0; i < helpers; i++) pthread_join(helper[i], NULL);
    const fv_check_result result = conclude(&k, report, held);
    pthread_mutex_destroy(&k.lock);
    free(k.results);
    return result;
}

fv_check_result fv_grad_check_builds(const fv_check_options *options, const fv_grad_build *exact,
                                     const fv_grad_build *library, fv_check_report *report) {
    return check_rows(options, exact, library, report, NULL);
}

fv_check_result fv_grad_check(const fv_check_options *options, fv_check_report *report) {
    return fv_grad_check_builds(options, &f64_fv_grad_double, &fv_grad_float, report);
}

fv_check_result fv_grad_check_held(const fv_check_options *options, fv_grad_held *held) {
    return check_rows(options, &f64_fv_grad_double, &fv_grad_float, NULL, held);
}

bool fv_grad_row_matches(const fv_grad_row *row, const char *op) {
    for (size_t i = 0; op && i < fv_grad_row_count(); i++)
        if (strcmp(fv_grad_row_at(i)->name, op) == 0) return strcmp(row->name, op) == 0;
    return matches(row->name, op);
}

fv_check_result fv_grad_list(const fv_check_options *options) {
    bool any = false;
    for (size_t i = 0; i < fv_grad_row_count(); i++) {
        if (!matches(fv_grad_row_at(i)->name, options->op)) continue;
        any = true;
        if (options->print) options->print(options->user, fv_grad_row_at(i)->name);
    }
    return any ? FV_CHECK_AGREE : FV_CHECK_NOTHING;
}
