/* The kernel check and the gradient check as a program of their own, core only: also what runs under qemu-user for
 * other ISAs. check_main [--op SLOT|FAMILY] [--isa ISA] [--cases N] [--seconds S] [--seed S] [--case I] [--threads N]
 * [--quiet]
 *            [--list | --self-test | --grad | --spec tests/spec.csv: its slots, a line "isa,slot,ok|failed,cases" each]
 * Exit status: 0 all agree, 2 wrong usage, 3 a mismatch, or nothing was checked. */
#include "check/spec.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void print_line(void *user, const char *line) {
    (void)user;
    puts(line);
    fflush(stdout);
}

typedef enum mode { RUN, LIST, SELF_TEST, GRAD, SPEC } mode;

static int usage(const char *what) {
    fprintf(stderr, "check_main: what is \"%s\"? See the head of tests/kernels/check_main.c\n", what);
    return 2;
}

static int check_spec(const fv_check_options *o, const char *path) {
    fv_spec spec;
    const char *why;
    if (!fv_spec_read(path, &spec, &why)) {
        fprintf(stderr, "check_main: %s\n", why);
        return 2;
    }
    fv_spec_run_slots(&spec, o);
    fv_spec_print_slots(&spec, print_line, NULL);
    int status = 0;
    for (size_t i = 0; i < spec.slot_count; i++)
        for (int isa = 0; isa < FV_SPEC_ISAS; isa++)
            if (spec.slots[i].isa[isa].state == FV_SPEC_FAILED) status = 3;
    fv_spec_free(&spec);
    return status;
}

static const char *spec_path;

/* Takes the option at argv[i]; returns how many words it had, 0: unknown. */
static int take(fv_check_options *o, mode *m, char **argv, const char *value) {
    if (strcmp(argv[0], "--list") == 0) return *m = LIST, 1;
    if (strcmp(argv[0], "--self-test") == 0) return *m = SELF_TEST, 1;
    if (strcmp(argv[0], "--grad") == 0) return *m = GRAD, 1;
    if (strcmp(argv[0], "--quiet") == 0) return o->quiet = true, 1;
    if (!value) return 0;
    if (strcmp(argv[0], "--spec") == 0) return *m = SPEC, spec_path = value, 2;
    if (strcmp(argv[0], "--op") == 0) return o->op = value, 2;
    if (strcmp(argv[0], "--isa") == 0) return o->isa = value, 2;
    if (strcmp(argv[0], "--cases") == 0) return o->cases = strtoull(value, NULL, 10), 2;
    if (strcmp(argv[0], "--seconds") == 0) return o->seconds = strtod(value, NULL), 2;
    if (strcmp(argv[0], "--seed") == 0) return o->seed = strtoull(value, NULL, 10), 2;
    if (strcmp(argv[0], "--case") == 0) return o->only_case = strtoll(value, NULL, 10), 2;
    if (strcmp(argv[0], "--threads") == 0) return o->threads = atoi(value), 2;
    return 0;
}

int main(int argc, char **argv) {
    fv_check_options o = fv_check_defaults();
    o.print = print_line;
    mode m = RUN;
    for (int i = 1; i < argc;) {
        const int words = take(&o, &m, argv + i, i + 1 < argc ? argv[i + 1] : NULL);
        if (words == 0) return usage(argv[i]);
        i += words;
    }
    if (m == SPEC) return check_spec(&o, spec_path);
    fv_check_report report = {0};
    fv_check_result result;
    if (m == LIST)
        result = fv_check_list(&o);
    else if (m == SELF_TEST)
        result = fv_check_self_test(&o, &report);
    else if (m == GRAD)
        result = fv_grad_check(&o, &report);
    else
        result = fv_check_run(&o, &report);
    printf("%llu slots, %llu cases, %llu mismatches, seed %llu: %s\n", (unsigned long long)report.slots,
           (unsigned long long)report.cases, (unsigned long long)report.mismatches, (unsigned long long)o.seed,
           fv_check_sentence(result));
    return result == FV_CHECK_AGREE ? 0 : 3;
}
