#include "cli.h"

#include <errno.h>
#include <getopt.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { max_options = 64 };

static void print_help(FILE *out, const cli_command *command, const cli_option *options) {
    fprintf(out, "Usage: fovea %s %s\n\n%s\n\nOptions:\n", command->name, command->synopsis, command->about);
    for (const cli_option *o = options; o->name; o++) {
        char left[64];
        snprintf(left, sizeof left, "--%s%s%s", o->name, o->value ? " " : "", o->value ? o->value : "");
        fprintf(out, "  %-24s %s\n", left, o->help);
    }
    fprintf(out, "  %-24s %s\n\nExamples:\n%s", "--help", "this text", command->examples);
}

static void complain(const cli_command *command, const char *format, va_list arguments) {
    fflush(stdout);
    fprintf(stderr, "fovea %s: ", command->name);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
}

int cli_fail(const cli_command *command, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    complain(command, format, arguments);
    va_end(arguments);
    return CLI_FAILED;
}

int cli_usage(const cli_command *command, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    complain(command, format, arguments);
    va_end(arguments);
    return CLI_USAGE;
}

int cli_library(const cli_command *command) { return cli_fail(command, "%s", fv_last_error()); }

/* -1 when the text is the option's kind of value and within its bounds. */
static int store(const cli_command *command, const cli_option *o, const char *text) {
    char *end = NULL;
    errno = 0;
    switch (o->kind) {
    case CLI_FLAG:
        *(bool *)o->target = true;
        return -1;
    case CLI_TEXT:
        if (!*text) return cli_usage(command, "--%s needs a value", o->name);
        *(const char **)o->target = text;
        return -1;
    case CLI_LIST: {
        cli_list *list = o->target;
        if (!*text) return cli_usage(command, "--%s needs a value", o->name);
        if (list->count == CLI_LIST_MOST) return cli_usage(command, "--%s is given more than %d times", o->name, CLI_LIST_MOST);
        list->items[list->count++] = text;
        return -1;
    }
    case CLI_INT: {
        const long long value = strtoll(text, &end, 10);
        if (end == text || *end || errno || (double)value < o->low || (double)value > o->high)
            return cli_usage(command, "--%s takes a whole number from %.0f to %.0f, not \"%s\"", o->name, o->low,
                             o->high, text);
        *(int64_t *)o->target = value;
        return -1;
    }
    case CLI_SEED: {
        const unsigned long long value = strtoull(text, &end, 0);
        if (end == text || *end || errno || *text == '-')
            return cli_usage(command, "--%s takes a number from 0 to 2^64-1, not \"%s\"", o->name, text);
        *(uint64_t *)o->target = value;
        return -1;
    }
    case CLI_REAL: {
        const double value = strtod(text, &end);
        if (end == text || *end || !isfinite(value) || value < o->low || value > o->high)
            return cli_usage(command, "--%s takes a number from %g to %g, not \"%s\"", o->name, o->low, o->high, text);
        *(double *)o->target = value;
        return -1;
    }
    }
    return CLI_USAGE;
}

int cli_parse(const cli_command *command, const cli_option *options, int argc, char **argv, int *positional) {
    struct option long_options[max_options] = {{0}};
    size_t count = 0;
    for (; options[count].name && count + 2 < max_options; count++)
        long_options[count] =
            (struct option){options[count].name, options[count].kind != CLI_FLAG, NULL, 256 + (int)count};
    long_options[count] = (struct option){"help", 0, NULL, 'h'};
    opterr = 0;
    optind = 1;
    for (int c; (c = getopt_long(argc, argv, ":", long_options, NULL)) != -1;) {
        if (c == 'h') {
            print_help(stdout, command, options);
            return CLI_DONE;
        }
        const char *given = argv[optind - 1];
        if (c == ':') return cli_usage(command, "%s needs a value; see fovea %s --help", given, command->name);
        if (c < 256) return cli_usage(command, "unknown option %s; see fovea %s --help", given, command->name);
        const int status = store(command, &options[c - 256], optarg);
        if (status >= 0) return status;
    }
    *positional = argc - optind;
    memmove(argv + 1, argv + optind, (size_t)*positional * sizeof *argv);
    return -1;
}

int cli_context(const cli_command *command, const cli_compute *compute, fv_context **out) {
    fv_context_settings settings;
    fv_context_settings_default(&settings);
    settings.threads = (int)compute->threads;
    settings.isa = compute->isa;
    settings.no_winograd = compute->no_winograd;
    settings.batch_invariant = compute->batch_invariant;
    if (compute->backend) {
        static const char *const names[] = {"openmp", "pthreads", "serial"};
        static const fv_backend backends[] = {FV_BACKEND_OPENMP, FV_BACKEND_PTHREADS, FV_BACKEND_SERIAL};
        size_t i = 0;
        while (i < 3 && strcmp(names[i], compute->backend) != 0) i++;
        if (i == 3)
            return cli_usage(command, "--backend takes openmp, pthreads or serial, not \"%s\"", compute->backend);
        settings.backend = backends[i];
    }
    return fv_context_create(&settings, out) == FV_OK ? -1 : cli_library(command);
}

int cli_session(const cli_command *command, const cli_compute *compute, fv_session_settings *out) {
    static const char *const names[] = {"fast", "lean", "measure"};
    static const fv_plan_mode modes[] = {FV_PLAN_FAST, FV_PLAN_LEAN, FV_PLAN_MEASURE};
    size_t i = 0;
    while (compute->plan && i < 3 && strcmp(names[i], compute->plan) != 0) i++;
    if (i == 3) return cli_usage(command, "--plan takes fast, lean or measure, not \"%s\"", compute->plan);
    if (compute->choices && modes[i] != FV_PLAN_MEASURE) return cli_usage(command, "--choices goes with --plan measure");
    fv_session_settings_default(out);
    out->plan = modes[i];
    out->choices = compute->choices;
    return -1;
}

static bool in_zoo(const char *name) {
    for (size_t i = 0; fv_zoo_name(i, NULL); i++)
        if (strcmp(fv_zoo_name(i, NULL), name) == 0) return true;
    return false;
}

int cli_model(const cli_command *command, fv_context *context, const char *name, const fv_zoo_settings *zoo,
              fv_model **out) {
    if (in_zoo(name)) return fv_model_zoo(context, name, zoo, out) == FV_OK ? -1 : cli_library(command);
    if (!strpbrk(name, "./") && access(name, F_OK) != 0) {
        char names[512] = "";
        for (size_t i = 0; fv_zoo_name(i, NULL); i++) {
            const size_t used = strlen(names);
            snprintf(names + used, sizeof names - used, "%s%s", i ? ", " : "", fv_zoo_name(i, NULL));
        }
        return cli_fail(command, "\"%s\" is neither a built-in network (%s) nor a file", name, names);
    }
    return fv_model_load(context, name, out) == FV_OK ? -1 : cli_library(command);
}

int cli_size(const cli_command *command, const char *text, int32_t *height, int32_t *width) {
    char rest;
    if (text && (sscanf(text, "%d,%d%c", height, width, &rest) != 2 || *height < 1 || *width < 1 || *height > 16384 ||
                 *width > 16384))
        return cli_usage(command, "--size takes HEIGHT,WIDTH from 1 to 16384 such as 32,32, not \"%s\"", text);
    return -1;
}

double cli_seconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}
