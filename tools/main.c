/* fovea: the program. One file a subcommand; this one finds it. */
#include "cli.h"

#include <string.h>

static const cli_command *const commands[] = {
    &cmd_new, &cmd_train, &cmd_eval, &cmd_predict, &cmd_run, &cmd_conformance, &cmd_check, &cmd_bench, &cmd_explain, &cmd_filter, &cmd_show, &cmd_info,
};
enum { command_count = sizeof commands / sizeof *commands };

static void print_help(FILE *out) {
    fputs("fovea runs and trains convolutional networks on CPUs.\n\nUsage: fovea COMMAND [OPTIONS]\n\nCommands:\n",
          out);
    for (size_t i = 0; i < command_count; i++) {
        const char *about = commands[i]->about;
        fprintf(out, "  %-11s %.*s\n", commands[i]->name, (int)strcspn(about, "\n"), about);
    }
    fputs("\nfovea COMMAND --help explains each and gives examples.\n"
          "Exit status: 0 done, 1 failed, 2 wrong usage, 3 a check found a mismatch.\n\n"
          "Start here:\n"
          "  fovea train --data fashion-mnist --model lenet5 --epochs 3 --out m.onnx\n"
          "  fovea eval m.onnx --data fashion-mnist\n"
          "  fovea predict m.onnx --data fashion-mnist --count 12 --out picture.png\n",
          out);
}

int main(int argc, char **argv) {
    if (argc < 2) {
        print_help(stderr);
        return CLI_USAGE;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "help") == 0) {
        print_help(stdout);
        return CLI_DONE;
    }
    if (strcmp(argv[1], "--version") == 0) {
        printf("fovea %s\n", fv_version());
        return CLI_DONE;
    }
    for (size_t i = 0; i < command_count; i++) {
        if (strcmp(argv[1], commands[i]->name) != 0) continue;
        int status = commands[i]->run(argc - 1, argv + 1);
        if ((fflush(stdout) != 0 || ferror(stdout)) && status == CLI_DONE)
            status = cli_fail(commands[i], "cannot write to standard output");
        return status;
    }
    fprintf(stderr, "fovea: unknown command \"%s\"; see fovea --help\n", argv[1]);
    return CLI_USAGE;
}
