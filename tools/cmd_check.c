#include "check/grad.h"
#include "check/model_check.h"
#include "cli.h"
#include "kernels/check/check.h"
#include "progress.h"
#include "spec.h"

#include <string.h>
#include <unistd.h>

typedef struct output {
    progress bar;
} output;

static void print_line(void *user, const char *line) {
    output *o = user;
    progress_clear(&o->bar);
    puts(line);
    fflush(stdout);
}

static void show_share(void *user, double share) {
    output *o = user;
    progress_update(&o->bar, (int64_t)(1e6 * share), NULL);
}

typedef struct request {
    fv_check_options check;
    int64_t cases, only, threads; /* cases 0, only -1: not given */
    const char *model, *spec, *json, *neon;
    bool list, self_test, grad;
} request;

static int exit_status(fv_check_result r) {
    if (r == FV_CHECK_NO_MEMORY) return cli_fail(&cmd_check, "out of memory");
    if (r == FV_CHECK_NOTHING)
        return cli_fail(&cmd_check,
                        "nothing was checked: no slot and instruction set here matches, or no case was done"),
               CLI_MISMATCH;
    return r == FV_CHECK_AGREE ? CLI_DONE : CLI_MISMATCH;
}

static void print_summary(const char *what, const char *unit, const fv_check_report *r, uint64_t seed,
                          fv_check_result result) {
    printf("%s: %llu %s, %llu cases, %llu mismatches, seed %llu: %s\n", what, (unsigned long long)r->slots, unit,
           (unsigned long long)r->cases, (unsigned long long)r->mismatches, (unsigned long long)seed,
           fv_check_sentence(result));
}

/* What each mode checks, what its parts are called, and how many cases it does of each unless told. */
typedef struct mode {
    const char *what, *unit;
    uint64_t cases;
    fv_check_result (*run)(const fv_check_options *o, fv_check_report *r);
} mode;

static const mode kernels = {"kernels", "slots", 2000, fv_check_run};
static const mode broken = {"broken kernels", "faults", 2000, fv_check_self_test};
static const mode gradients = {"gradients", "rows", 50, fv_grad_check};

static int check(request *q, output *out) {
    const mode *m = q->self_test ? &broken : q->grad ? &gradients : &kernels;
    fv_check_report report;
    if (q->cases == 0) q->check.cases = m->cases;
    progress_start(&out->bar, "check", 1000000);
    const fv_check_result result = m->run(&q->check, &report);
    progress_clear(&out->bar);
    print_summary(m->what, m->unit, &report, q->check.seed, result);
    return exit_status(result);
}

/* ---- a model's own shapes and nodes ---- */

static int open_model(const request *q, const char *isa, fv_context **context, fv_model **model) {
    const cli_compute compute = {.threads = 1, .isa = isa};
    fv_zoo_settings zoo;
    fv_zoo_settings_default(&zoo);
    const int status = cli_context(&cmd_check, &compute, context);
    return status >= 0 ? status : cli_model(&cmd_check, *context, q->model, &zoo, model);
}

/* -1: the nodes agree, or the exit status. */
static int check_nodes(const request *q, const fv_model *scalar, const char *isa, fv_check_report *total) {
    fv_context *context = NULL;
    fv_model *fast = NULL;
    fv_check_report r = {0};
    int status = open_model(q, isa, &context, &fast);
    if (status < 0) {
        const fv_check_result result = fv_model_check_nodes(fast, scalar, isa, &q->check, &r);
        status = result == FV_CHECK_AGREE ? -1 : exit_status(result);
    }
    total->slots += r.slots;
    total->mismatches += r.mismatches;
    fv_model_free(fast);
    fv_context_free(context);
    return status;
}

/* On every instruction set here but scalar itself. */
static int check_all_nodes(const request *q, const fv_model *scalar) {
    fv_context *any = NULL;
    fv_cpu_info cpu;
    fv_check_report total = {0};
    const cli_compute compute = {.threads = 1};
    int status = cli_context(&cmd_check, &compute, &any);
    if (status >= 0) return status;
    if (fv_context_info(any, &cpu) != FV_OK) status = cli_library(&cmd_check);
    fv_context_free(any);
    char *rest = cpu.isas;
    for (char *isa; status < 0 && (isa = strtok_r(rest, " ", &rest));)
        if (strcmp(isa, "scalar") != 0 && (!q->check.isa || strcmp(isa, q->check.isa) == 0))
            status = check_nodes(q, scalar, isa, &total);
    if (total.slots)
        printf("nodes: %llu, %llu mismatches, seed %llu\n", (unsigned long long)total.slots,
               (unsigned long long)total.mismatches, (unsigned long long)q->check.seed);
    return status;
}

static int check_shapes(request *q, output *out, const fv_model *scalar) {
    fv_check_report report = {0};
    char repeat[512];
    snprintf(repeat, sizeof repeat, " --model %s", q->model);
    q->check.repeat_with = repeat;
    if (q->cases == 0) q->check.cases = 8;
    progress_start(&out->bar, "check", 1000000);
    const fv_check_result result = fv_model_check_shapes(scalar, &q->check, &report);
    progress_clear(&out->bar);
    print_summary("kernels on the model's shapes", "slots", &report, q->check.seed, result);
    return result == FV_CHECK_AGREE ? -1 : exit_status(result);
}

static int check_model(request *q, output *out) {
    fv_context *context = NULL;
    fv_model *scalar = NULL;
    int status = open_model(q, "scalar", &context, &scalar);
    if (status < 0) status = check_shapes(q, out, scalar);
    if (status < 0 && !q->check.op && q->only < 0) status = check_all_nodes(q, scalar);
    fv_model_free(scalar);
    fv_context_free(context);
    return status < 0 ? CLI_DONE : status;
}

/* ---- the table of operators and options ---- */

/* NEON's kernels, where they are built for qemu beside this tree and this CPU has none. */
static const char *neon_here(const request *q) {
    static const char program[] = "build/aarch64/tests/kernels/check_main";
    fv_kernels table;
    if (fv_kernels_for("neon", &table)) return NULL;
    if (q->neon) return q->neon;
    return access(program, X_OK) == 0 ? "qemu-aarch64 -L /usr/aarch64-linux-gnu build/aarch64/tests/kernels/check_main"
                                      : NULL;
}

static int check_table(const request *q) {
    const spec_request r = {q->spec, q->json, neon_here(q), q->cases ? (uint64_t)q->cases : 500, q->check.seed};
    return check_spec(&r);
}

/* Options that a mode would ignore are refused. */
static int refuse(const request *q) {
    const bool schedule = q->only >= 0 || q->check.seconds > 0 || q->threads > 1;
    if (q->spec &&
        (q->model || q->list || q->self_test || q->grad || schedule || q->check.op || q->check.isa || q->check.quiet))
        return cli_usage(&cmd_check, "--spec goes with --cases, --seed, --json and --neon-with alone");
    if (!q->spec && (q->json || q->neon)) return cli_usage(&cmd_check, "--json and --neon-with go with --spec");
    if (q->list && q->self_test) return cli_usage(&cmd_check, "--list and --self-test exclude each other");
    if (q->model && (q->list || q->self_test || q->grad))
        return cli_usage(&cmd_check, "--model does not go with --list, --self-test and --grad");
    if (q->self_test && q->grad)
        return cli_usage(&cmd_check, "--self-test is about kernels: it does not go with --grad");
    if ((q->list || q->self_test) && schedule)
        return cli_usage(&cmd_check, "--case, --budget and --threads do not go with --list and --self-test");
    if (q->list && q->cases) return cli_usage(&cmd_check, "--cases does not go with --list");
    if (q->list && q->grad && q->check.isa)
        return cli_usage(&cmd_check, "--isa does not go with --list --grad: rows are the same everywhere");
    return -1;
}

static int run(int argc, char **argv) {
    output out = {{0}};
    request q = {.check = fv_check_defaults(), .only = -1, .threads = 1};
    fv_check_options *o = &q.check;
    const cli_option options[] = {
        {"grad", NULL, CLI_FLAG, &q.grad, 0, 0, "every operator's backward against central differences instead"},
        {"model", "F", CLI_TEXT, &q.model, 0, 0,
         "an ONNX file or network name: its shapes instead of random ones, and its nodes against scalar's"},
        {"spec", "F.csv", CLI_TEXT, &q.spec, 0, 0,
         "a table of every operator and option of the file, each cell filled by checks run now: --cases (default 500) "
         "of "
         "each slot, a tenth of each gradient row, a twentieth of each file"},
        {"json", "F", CLI_TEXT, &q.json, 0, 0, "--spec: write the table there, too"},
        {"neon-with", "COMMAND", CLI_TEXT, &q.neon, 0, 0,
         "--spec: check_main for NEON, such as under qemu (default: build/aarch64's, where it is built)"},
        {"list", NULL, CLI_FLAG, &q.list, 0, 0, "list slots and instruction sets (with --grad: rows) instead"},
        {"self-test", NULL, CLI_FLAG, &q.self_test, 0, 0, "show that kernels broken on purpose are caught"},
        {"op", "NAME", CLI_TEXT, &o->op, 0, 0, "one slot or row (conv.forward) or a family (conv); default: all"},
        {"isa", "NAME", CLI_TEXT, &o->isa, 0, 0, "one instruction set: scalar, avx2, neon; default: every one here"},
        {"cases", "N", CLI_INT, &q.cases, 1, 1e12,
         "random cases of each slot and instruction set (default 2000), row of --grad (50), shape of --model (8)"},
        {"budget", "S", CLI_REAL, &o->seconds, 0.01, 1e6, "at most so many seconds in all, shared evenly"},
        {"seed", "S", CLI_SEED, &o->seed, 0, 0, "of the cases (default 1)"},
        {"case", "I", CLI_INT, &q.only, 0, 1e15, "this case alone, as a mismatch names it"},
        {"threads", "N", CLI_INT, &q.threads, 1, 16, "slots or rows checked side by side (default 1)"},
        {"quiet", NULL, CLI_FLAG, &o->quiet, 0, 0, "print mismatches and the summary alone"},
        CLI_END,
    };
    int positional;
    int status = cli_parse(&cmd_check, options, argc, argv, &positional);
    if (status >= 0 || (status = refuse(&q)) >= 0) return status;
    if (positional != 0) return cli_usage(&cmd_check, "takes no argument such as \"%s\"", argv[1]);
    o->cases = (uint64_t)q.cases;
    o->only_case = q.only;
    o->threads = (int)q.threads;
    o->print = print_line;
    o->progress = show_share;
    o->user = &out;
    if (q.model) return check_model(&q, &out);
    if (q.spec) return check_table(&q);
    if (!q.list) return check(&q, &out);
    return exit_status(q.grad ? fv_grad_list(o) : fv_check_list(o));
}

const cli_command cmd_check = {
    "check", "[OPTIONS]",
    "Proves the kernels: every slot of every instruction set here against its scalar definition.\n"
    "Random and nasty shapes and values, guarded memory, split ranges against whole, small integers bit-equal, floats\n"
    "within a derived bound. --grad: gradients in double against central differences, and the library's against "
    "those.\n"
    "--spec: the table of tests/spec.csv, each cell from checks run there and then; what should fill and does not "
    "fails.\n"
    "Exit status 3: a mismatch, or nothing was checked.",
    "  fovea check --cases 20000 --threads 2\n"
    "  fovea check --op conv --isa avx2 --budget 60\n"
    "  fovea check --op conv.forward --isa avx2 --seed 1 --case 17\n"
    "  fovea check --grad --cases 200 --threads 2\n"
    "  fovea check --model lenet5\n"
    "  fovea check --spec tests/spec.csv --cases 200\n"
    "  fovea check --list\n"
    "  fovea check --self-test\n",
    run};
