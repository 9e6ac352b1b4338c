#include "cli.h"

#include <jansson.h>

static int run(int argc, char **argv) {
    cli_compute compute = {0};
    bool json = false;
    const cli_option options[] = {
        CLI_MACHINE_OPTIONS(&compute),
        {"json", NULL, CLI_FLAG, &json, 0, 0, "one JSON object"},
        CLI_END,
    };
    int positional;
    int status = cli_parse(&cmd_info, options, argc, argv, &positional);
    if (status >= 0) return status;
    if (positional) return cli_usage(&cmd_info, "takes no argument, got \"%s\"", argv[1]);
    fv_context *context;
    if ((status = cli_context(&cmd_info, &compute, &context)) >= 0) return status;
    fv_cpu_info cpu;
    fv_peak peak;
    if (fv_context_info(context, &cpu) != FV_OK || fv_measure_peak(context, 0.2, &peak) != FV_OK) {
        fv_context_free(context);
        return cli_library(&cmd_info);
    }
    if (json) {
        json_t *o = json_pack("{s:s, s:s, s:s, s:s, s:s, s:i, s:i, s:f, s:I, s:I, s:I, s:f, s:f, s:b}", "version",
                              fv_version(), "cpu", cpu.name, "isa", cpu.isa, "isas", cpu.isas, "backend", cpu.backend,
                              "threads", cpu.threads, "cpus", cpu.cpus, "quota", cpu.quota, "l1", (json_int_t)cpu.l1,
                              "l2", (json_int_t)cpu.l2, "l3", (json_int_t)cpu.l3, "peak_gflops", peak.gflops,
                              "clock_ghz", peak.clock_ghz, "peak_valid", peak.valid);
        json_dumpf(o, stdout, JSON_INDENT(2));
        putchar('\n');
        json_decref(o);
    } else {
        printf("fovea    %s\ncpu      %s\nisa      %s (here: %s)\nthreads  %d on %s (%d CPUs in the affinity mask, ",
               fv_version(), cpu.name, cpu.isa, cpu.isas, cpu.threads, cpu.backend, cpu.cpus);
        if (cpu.quota > 0)
            printf("quota %.2f)\n", cpu.quota);
        else
            puts("no quota)");
        printf("caches   L1 %zu KiB, L2 %zu KiB, L3 %zu KiB\n", cpu.l1 >> 10, cpu.l2 >> 10, cpu.l3 >> 10);
        printf("peak     %.1f GFLOP/s a core, %.1f FLOP a cycle at the %.2f GHz that dependent additions show%s\n",
               peak.gflops, peak.flops_per_cycle, peak.clock_ghz,
               peak.valid ? "" : " (not valid: below 97 % of the limit)");
        puts("networks");
        const char *about;
        for (size_t i = 0; fv_zoo_name(i, &about); i++) printf("  %-14s %s\n", fv_zoo_name(i, NULL), about);
    }
    fv_context_free(context);
    return CLI_DONE;
}

const cli_command cmd_info = {"info", "[OPTIONS]",
                              "Shows version, CPU, instruction sets, caches, threads and the built-in networks.",
                              "  fovea info\n  fovea info --json | jq .peak_gflops\n", run};
