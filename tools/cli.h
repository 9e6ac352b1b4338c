/* What every subcommand shares: options, messages, the context and the model a user names. */
#ifndef FOVEA_TOOLS_CLI_H
#define FOVEA_TOOLS_CLI_H

#include "fovea.h"

#include <stdio.h>

enum { CLI_DONE = 0, CLI_FAILED = 1, CLI_USAGE = 2, CLI_MISMATCH = 3 };

typedef enum cli_kind { CLI_FLAG, CLI_INT, CLI_SEED, CLI_REAL, CLI_TEXT, CLI_LIST } cli_kind;

/* An option that may be given several times. */
enum { CLI_LIST_MOST = 64 };
typedef struct cli_list {
    const char *items[CLI_LIST_MOST];
    size_t count;
} cli_list;

/* target: bool (CLI_FLAG), int64_t, uint64_t, double, const char * or cli_list. */
typedef struct cli_option {
    const char *name, *value; /* value: its placeholder in the help; NULL for a flag */
    cli_kind kind;
    void *target;
    double low, high; /* bounds of CLI_INT and CLI_REAL */
    const char *help;
} cli_option;

typedef struct cli_command {
    const char *name, *synopsis, *about, *examples;
    int (*run)(int argc, char **argv);
} cli_command;

extern const cli_command cmd_new, cmd_train, cmd_eval, cmd_predict, cmd_check, cmd_bench, cmd_explain, cmd_info,
    cmd_filter, cmd_show, cmd_run, cmd_conformance, cmd_serve;

/* Options common to all that compute. */
typedef struct cli_compute {
    int64_t threads;
    const char *isa, *backend;
    bool no_winograd, batch_invariant;
    const char *plan, *choices;
} cli_compute;

#define CLI_MACHINE_OPTIONS(c)                                                                                         \
    {"threads", "N", CLI_INT, &(c)->threads, 0, 1024, "threads; 0: as many as this process may use (default)"},        \
        {"isa", "NAME", CLI_TEXT, &(c)->isa, 0, 0, "cap the instruction set: scalar, avx2, neon"}, {                   \
        "backend", "NAME", CLI_TEXT, &(c)->backend, 0, 0, "openmp, pthreads or serial"                                 \
    }
/* Of what runs an image at a time anyway. */
#define CLI_IMAGE_OPTIONS(c)                                                                                           \
    CLI_MACHINE_OPTIONS(c), {                                                                                          \
        "no-winograd", NULL, CLI_FLAG, &(c)->no_winograd, 0, 0, "3x3 convolutions by their direct sum alone"           \
    }
#define CLI_COMPUTE_OPTIONS(c)                                                                                         \
    CLI_IMAGE_OPTIONS(c), {                                                                                            \
        "batch-invariant", NULL, CLI_FLAG, &(c)->batch_invariant, 0, 0, "an image's bits do not depend on its batch"   \
    }
/* Of commands that run a model as it is. */
#define CLI_PLAN_OPTIONS(c)                                                                                            \
    {"plan", "MODE", CLI_TEXT, &(c)->plan, 0, 0, "fast (default), lean: the least memory, or measure: the fastest here"}, { \
        "choices", "F", CLI_TEXT, &(c)->choices, 0, 0, "--plan measure: a file of what was measured, read and written" \
    }
#define CLI_END                                                                                                        \
    { NULL, NULL, CLI_FLAG, NULL, 0, 0, NULL }

/* Parses argv[1..]. Returns -1 to go on, or the exit status (after --help or a wrong usage, already explained).
 * Positional arguments are left in argv[1..*positional]. */
int cli_parse(const cli_command *command, const cli_option *options, int argc, char **argv, int *positional);

/* "fovea COMMAND: sentence" on stderr; returns the status. */
int cli_fail(const cli_command *command, const char *format, ...) __attribute__((format(printf, 2, 3)));
int cli_usage(const cli_command *command, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* cli_fail with the library's last sentence. */
int cli_library(const cli_command *command);

/* The context the options describe. Prints and returns the exit status on failure, -1 when fine. */
int cli_context(const cli_command *command, const cli_compute *compute, fv_context **out);
/* The default session settings with --plan and --choices in them. Prints and returns the exit status on failure, -1 when fine. */
int cli_session(const cli_command *command, const cli_compute *compute, fv_session_settings *out);
/* A zoo name or an ONNX file. height, width, channels, classes: for a zoo network, 0 its own. */
int cli_model(const cli_command *command, fv_context *context, const char *name, const fv_zoo_settings *zoo,
              fv_model **out);

/* "H,W" of --size; NULL leaves both alone. */
int cli_size(const cli_command *command, const char *text, int32_t *height, int32_t *width);

double cli_seconds(void); /* monotonic */

#endif
