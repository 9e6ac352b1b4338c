#include "cli.h"

static int parse_input(const char *text, fv_zoo_settings *zoo) {
    if (!text) return -1;
    char rest;
    if (sscanf(text, "%d,%d,%d%c", &zoo->channels, &zoo->height, &zoo->width, &rest) != 3 || zoo->channels < 1 ||
        zoo->height < 1 || zoo->width < 1)
        return cli_usage(&cmd_new, "--input takes CHANNELS,HEIGHT,WIDTH such as 3,32,32, not \"%s\"", text);
    return -1;
}

static int run(int argc, char **argv) {
    const char *out = NULL, *input = NULL;
    int64_t classes = 0;
    fv_zoo_settings zoo;
    fv_zoo_settings_default(&zoo);
    const cli_option options[] = {
        {"out", "F.onnx", CLI_TEXT, &out, 0, 0, "the file to write (needed)"},
        {"seed", "N", CLI_SEED, &zoo.seed, 0, 0, "seed of the weights"},
        {"classes", "N", CLI_INT, &classes, 1, 1 << 20, "outputs; default: the network's own"},
        {"input", "C,H,W", CLI_TEXT, &input, 0, 0, "input size; default: the network's own"},
        CLI_END,
    };
    int positional;
    int status = cli_parse(&cmd_new, options, argc, argv, &positional);
    if (status >= 0) return status;
    if (positional != 1) return cli_usage(&cmd_new, "needs one network name; fovea info lists them");
    if (!out) return cli_usage(&cmd_new, "needs --out F.onnx");
    if ((status = parse_input(input, &zoo)) >= 0) return status;
    zoo.classes = (int32_t)classes;
    const cli_compute compute = {.threads = 1, .backend = "serial"};
    fv_context *context;
    if ((status = cli_context(&cmd_new, &compute, &context)) >= 0) return status;
    fv_model *model = NULL;
    status = CLI_DONE;
    if (fv_model_zoo(context, argv[1], &zoo, &model) != FV_OK || fv_model_save(model, out) != FV_OK)
        status = cli_library(&cmd_new);
    fv_model_free(model);
    fv_context_free(context);
    return status;
}

const cli_command cmd_new = {
    "new", "NETWORK --out F.onnx [OPTIONS]", "Writes a built-in network with seeded weights as an ONNX file.",
    "  fovea new lenet5 --out lenet5.onnx\n  fovea new cnn --input 3,32,32 --classes 100 --seed 7 --out c100.onnx\n",
    run};
