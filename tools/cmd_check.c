#include "cli.h"
#include "kernels/check/check.h"
#include "progress.h"

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

typedef struct mode {
    bool list, self_test;
} mode;

static const char *sentence(fv_check_result r) {
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
           (unsigned long long)r->cases, (unsigned long long)r->mismatches, (unsigned long long)seed, sentence(result));
}

static int check_slots(const fv_check_options *o, output *out, bool self_test) {
    fv_check_report report;
    progress_start(&out->bar, "check", 1000000);
    const fv_check_result result = self_test ? fv_check_self_test(o, &report) : fv_check_run(o, &report);
    progress_clear(&out->bar);
    print_summary(self_test ? "broken kernels" : "kernels", self_test ? "faults" : "slots", &report, o->seed, result);
    return exit_status(result);
}

static int run(int argc, char **argv) {
    fv_check_options o = fv_check_defaults();
    output out = {{0}};
    mode m = {0};
    int64_t cases = (int64_t)o.cases, only = -1, threads = 1;
    const cli_option options[] = {
        {"op", "SLOT", CLI_TEXT, &o.op, 0, 0, "one slot (conv.forward) or family (conv); default: all"},
        {"isa", "NAME", CLI_TEXT, &o.isa, 0, 0, "one instruction set: scalar, avx2, neon; default: every one here"},
        {"cases", "N", CLI_INT, &cases, 1, 1e12, "random cases a slot and instruction set (default 2000)"},
        {"budget", "S", CLI_REAL, &o.seconds, 0.01, 1e6, "at most so many seconds in all, shared by the slots"},
        {"seed", "S", CLI_SEED, &o.seed, 0, 0, "of the cases (default 1)"},
        {"case", "I", CLI_INT, &only, 0, 1e15, "this case alone, as a mismatch names it"},
        {"threads", "N", CLI_INT, &threads, 1, 16, "slots checked side by side (default 1)"},
        {"quiet", NULL, CLI_FLAG, &o.quiet, 0, 0, "print mismatches and the summary alone"},
        {"list", NULL, CLI_FLAG, &m.list, 0, 0, "list slots and instruction sets instead"},
        {"self-test", NULL, CLI_FLAG, &m.self_test, 0, 0, "show that kernels broken on purpose are caught"},
        CLI_END,
    };
    int positional;
    const int status = cli_parse(&cmd_check, options, argc, argv, &positional);
    if (status >= 0) return status;
    if (positional != 0) return cli_usage(&cmd_check, "takes no argument such as \"%s\"", argv[1]);
    if (m.list + m.self_test > 1) return cli_usage(&cmd_check, "--list and --self-test exclude each other");
    o.cases = (uint64_t)cases;
    o.only_case = only;
    o.threads = (int)threads;
    o.print = print_line;
    o.progress = show_share;
    o.user = &out;
    return m.list ? exit_status(fv_check_list(&o)) : check_slots(&o, &out, m.self_test);
}

const cli_command cmd_check = {
    "check", "[OPTIONS]",
    "Proves the kernels: every slot of every instruction set here against its scalar definition.\n"
    "Random and nasty shapes and values, guarded memory, split ranges against whole, small integers bit-equal, floats\n"
    "within a derived bound. Exit status 3: a mismatch, or nothing was checked.",
    "  fovea check --cases 20000 --threads 2\n"
    "  fovea check --op conv --isa avx2 --budget 60\n"
    "  fovea check --op conv.forward --isa avx2 --seed 1 --case 17\n"
    "  fovea check --list\n"
    "  fovea check --self-test\n",
    run};
